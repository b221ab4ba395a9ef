/* fetch: HTTP(S) client (libcurl, multi interface) on the loop.
 *
 * Limits of each request come from struct fetch: bytes of body after decompression, seconds for
 * the whole of it. At most FETCH_N_REDIRECTS_MAX redirects, to http and https only.
 *
 * What strangers name must not make us ask services of our own network. The rules look at the
 * addresses connected to, after name look-up and redirects:
 *   - never from a global to a local address, for anybody
 *   - is_tracker: a loopback, link-local or unspecified address only with a path that begins with
 *     /announce or /scrape; another private address only when its last element begins so (BEP 48)
 *
 * Ownership  the request is copied; the body given to fn is valid during the call
 * Threads    the loop's thread
 * Errors     ERR_LIMIT (body), ERR_IO (network; got: errno or 0), ERR_PROTOCOL (the rules above),
 *            ERR_MALFORMED (URL), ERR_CANCELLED (client freed); an HTTP status is no error
 */
#pragma once
#include "base/addr.h"
#include "torrent/host.h"

struct loop;
struct fetch_client;

#define FETCH_N_REDIRECTS_MAX 5u
#define FETCH_N_MAX           64u /* under way at once; more wait inside libcurl's queue */

enum err_code fetch_client_new(struct fetch_client **out, struct loop *l, const struct addr *bind4,
                               const struct addr *bind6, struct err *err) MUST_USE;
void fetch_client_free(struct fetch_client *c); /* what is under way is dropped; fn is not called */
/* fn is called exactly once, later, unless the client is freed; not at all on ERR_NO_MEMORY. */
enum err_code fetch_start(struct fetch_client *c, const struct fetch *request,
                          void (*fn)(void *ctx, uint64_t job, const struct err *err,
                                     uint32_t http_status, struct bytes body),
                          void *ctx, uint64_t job) MUST_USE;
size_t fetch_n_out(const struct fetch_client *c);
