/* resolve: names to addresses (getaddrinfo) on threads of its own, so that a name server that does
 * not answer holds up neither the loop nor the end of the program.
 *
 * Ownership  the name is copied; the addresses given to fn are valid during the call
 * Threads    the loop's thread
 * Errors     ERR_NOT_FOUND, ERR_IO, ERR_LIMIT (RESOLVE_N_MAX waiting)
 */
#pragma once
#include "base/addr.h"

struct loop;
struct resolver;

#define RESOLVE_N_MAX       1024u /* waiting */
#define RESOLVE_N_THREADS   4u    /* look-ups at once */
#define RESOLVE_N_ADDRS_MAX 16u   /* per name */

enum err_code resolver_new(struct resolver **out, struct loop *l, struct err *err) MUST_USE;
void resolver_free(struct resolver *r); /* fn is not called any more */
/* fn is called exactly once, later, unless the resolver is freed; not at all on ERR_NO_MEMORY. */
enum err_code resolve_start(struct resolver *r, const char *name, uint16_t port,
                            void (*fn)(void *ctx, uint64_t job, const struct err *err,
                                       const struct addr *addrs, size_t n_addrs),
                            void *ctx, uint64_t job) MUST_USE;
