/* pex: what one connection gossips about the swarm (BEP 11), in both directions. Private torrents
 * (BEP 27) take no part: the engine does not create a pex for them and ignores what comes.
 *
 * pex_out keeps what the far side was told and makes the next message from the difference to
 * whom we are connected to now, at most once a minute, 50 added and 50 dropped at most; what does
 * not fit waits for the next. pex_in bounds what a peer may tell us.
 *
 * Ownership  pex_out owns its table; pex_in is a plain value
 * Threads    one owner
 * Errors     ERR_NO_MEMORY; ERR_LIMIT and ERR_PROTOCOL as described below
 */
#pragma once
#include "base/mem.h"
#include "base/timer.h"
#include "torrent/ut_pex.h"

#define PEX_INTERVAL_US    (60u * US_PER_S) /* BEP 11: "no more than 1 PEX message per minute" */
#define PEX_N_MAX          50u              /* BEP 11: added, and dropped, IPv4 and IPv6 together */
#define PEX_TOLD_MAX       200u             /* ours: contacts that one connection remembers */
#define PEX_FIRST_DELAY_US (10u * US_PER_S) /* ours: a swarm is met before it is told of */
#define PEX_OUT_LEN_MAX    UT_PEX_LEN_MAX(PEX_N_MAX, PEX_N_MAX)

struct pex_out {
    struct mem *mem;
    struct pex_peer *told; /* sorted by addr_compare */
    uint32_t n_told, cap;
    uint64_t next_at_us;
    uint64_t n_msgs;
};

void pex_out_init(struct pex_out *p, struct mem *mem, uint64_t now_us);
void pex_out_clear(struct pex_out *p);
/* When pex_out_write is due. */
uint64_t pex_out_deadline_us(const struct pex_out *p);
/* peers: those to tell of: fully handshaken connections of the torrent with the address at which
 * they listen (never the receiver's own), in any order, repetitions dropped; sorted in place.
 * Writes the payload of a message when one is due and there is something to say: returns true.
 * When due and nothing changed: false, and next_at_us moves on. *err ERR_NO_MEMORY: false. */
bool pex_out_write(struct pex_out *p, uint64_t now_us, struct pex_peer *peers, size_t n_peers,
                   struct writer *w, enum err_code *err);
void pex_out_check(const struct pex_out *p);

/* --- receiving ------------------------------------------------------------------------------- */

#define PEX_IN_BURST     3u /* ours: messages taken at once; one more each PEX_IN_REFILL_US */
#define PEX_IN_REFILL_US (50u * US_PER_S) /* ours: a minute, less their clock's slack */
#define PEX_IN_FIRST_MAX 200u             /* ours: BEP 11 lets the first message be larger */
#define PEX_IN_ADDED_MAX 100u /* ours: twice BEP 11's bound; what is beyond is ignored */
#define PEX_IN_EARLY_MAX 20u  /* ours: more messages too early than this: ERR_PROTOCOL */

struct pex_in {
    uint64_t refilled_at_us;
    uint32_t n_tokens, n_early;
    uint64_t n_msgs, n_taken, n_over, n_duplicate, n_undialable; /* counters */
};

void pex_in_init(struct pex_in *p, uint64_t now_us);
/* Contacts worth a look: dialable, no address twice (a second port of one IP is ignored as BEP 11
 * advises, but for loopback and private ones), none that is dropped by the same message.
 * out_cap >= PEX_IN_FIRST_MAX takes all that can come. ERR_LIMIT: too early, ignored;
 * ERR_PROTOCOL: too early too often, or ERR_MALFORMED: close. */
enum err_code pex_in_read(struct pex_in *p, uint64_t now_us, struct bytes payload,
                          struct pex_peer *out, size_t out_cap, size_t *out_n,
                          struct err *err) MUST_USE;
