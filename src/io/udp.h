/* udp: one datagram socket on the loop, IPv4 or IPv6, many datagrams per system call.
 *
 * Ownership  the socket is the udp's; a datagram is valid during the call of fn
 * Threads    the loop's thread
 * Errors     sending is best effort: what the system does not take at once is dropped and counted
 */
#pragma once
#include "base/addr.h"

struct loop;
struct udp;

#define UDP_DATAGRAM_LEN_MAX 2048u /* longer ones are dropped and counted */

struct udp_counters {
    uint64_t n_received, n_sent, n_too_long, n_send_failed, n_send_full;
};

/* Bound to bind (port 0: any). fn gets every datagram; after_batch (may be NULL) is called once
 * all that were waiting (at most 1024 per turn) have been handed over: a place to send replies. */
enum err_code udp_new(struct udp **out, struct loop *l, const struct addr *bind,
                      void (*fn)(void *ctx, const struct addr *from, struct bytes b),
                      void (*after_batch)(void *ctx), void *ctx, struct err *err) MUST_USE;
void udp_free(struct udp *u);              /* NULL is fine */
struct addr udp_addr(const struct udp *u); /* where it is bound */
/* Queued; leaves with others in one system call, at the latest before the loop sleeps. */
void udp_send(struct udp *u, const struct addr *to, struct bytes b);
/* During fn only: the same, but from the address that the datagram was sent to. On a machine with
 * several addresses a socket bound to all of them would answer from another one, and the far side
 * would not know the answer (BEP 15 clients compare it). */
void udp_reply(struct udp *u, const struct addr *to, struct bytes b);
void udp_flush(struct udp *u);
const struct udp_counters *udp_counters(const struct udp *u);
