/* tracker_http: URLs for HTTP trackers, and their replies (BEP 3, 7, 21, 23, 24, 31, 48).
 *
 * Ownership  nothing is kept; text in a reply is copied and escaped
 * Threads    plain functions
 * Errors     URL: ERR_LIMIT (room), ERR_UNSUPPORTED (no scrape URL follows from this announce URL);
 *            replies: the bencode reader's, ERR_MALFORMED for a value of the wrong kind or length.
 *            A reply that holds a failure reason is read without error: reply->is_failure
 */
#pragma once
#include "base/buf.h"
#include "torrent/tracker.h"

#define TRACKER_URL_MAX        2048u      /* ours: of an announce URL */
#define TRACKER_HTTP_URL_MAX   8192u      /* ours: of a request made from it */
#define TRACKER_HTTP_REPLY_MAX (1u << 20) /* ours, as libtorrent: 1 MiB */

struct tracker_http_options {
    const char *ip;          /* BEP 3 ip=: only when the user set it; NULL */
    const struct addr *ipv4; /* BEP 7: our address of the other family, when known; NULL */
    const struct addr *ipv6;
    struct bytes tracker_id; /* from an earlier reply; may be empty */
};

/* The announce request, terminated, into out. The URL's own query stays in front; a fragment is
 * dropped. */
enum err_code tracker_http_announce_url(struct bytes announce_url,
                                        const struct tracker_announce *what,
                                        const struct tracker_http_options *options,
                                        struct writer *out) MUST_USE;
/* BEP 48: the last path element must begin with "announce"; it becomes "scrape". */
enum err_code tracker_http_scrape_url(struct bytes announce_url,
                                      const uint8_t (*infohashes)[SHA1_LEN], size_t n_infohashes,
                                      struct writer *out) MUST_USE;

/* mem: for the reader's tokens, freed before return. */
enum err_code tracker_http_read_reply(struct bytes body, struct mem *mem, struct tracker_reply *out,
                                      struct err *err) MUST_USE;
/* out[i] for infohashes[i]; unknown counts where the reply does not name it. ERR_PROTOCOL: the
 * reply is a failure reason. */
enum err_code tracker_http_read_scrape(struct bytes body, struct mem *mem,
                                       const uint8_t (*infohashes)[SHA1_LEN], size_t n_infohashes,
                                       struct tracker_scrape *out, struct err *err) MUST_USE;

/* An announce URL taken apart. Views of the text. */
enum tracker_scheme { TRACKER_SCHEME_NONE, TRACKER_HTTP, TRACKER_HTTPS, TRACKER_UDP };
struct tracker_url {
    enum tracker_scheme scheme;
    struct bytes host; /* ASCII; without the brackets of an IPv6 literal */
    uint16_t port;     /* the scheme's default when absent; UDP has none: ERR_MALFORMED */
    struct bytes path; /* from the first '/' or '?' to the end, without fragment; may be empty */
    bool is_ip;        /* host is an address literal: `ip` */
    struct addr ip;
};
/* ERR_UNSUPPORTED: another scheme (wss:, ...); ERR_MALFORMED; ERR_LIMIT: longer than TRACKER_URL_MAX. */
enum err_code tracker_url_parse(struct bytes text, struct tracker_url *out,
                                struct err *err) MUST_USE;
