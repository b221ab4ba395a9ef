/* swarm_table: who is in which swarm: the memory of a tracker.
 *
 * An announce costs one hash look-up for the swarm and, once arrays have grown, no allocation. A
 * peer is 8 bytes (IPv4) or 20 (IPv6): its compact address, the tick of its last announce, a byte
 * of flags. The peers of a swarm lie in one array per family, seeds first; up to
 * SWARM_LINEAR_MAX they are found by looking at all of them, beyond that through a hash index.
 *
 * Memory     see bench_tracker: 1,000,000 IPv4 peers in 100,000 swarms take 26 MB
 * Ownership  the table owns everything; answers are copied out
 * Threads    one owner
 * Errors     swarm_table_announce: ERR_NO_MEMORY (the peer is not in the table; counts are filled)
 * Limits     n_swarms_max: a new swarm takes the place of the smallest of 8 drawn by lot;
 *            n_peers_max: a new peer takes the place of the one longest silent among 16 drawn from
 *            the swarm that was looked after longest ago. Silent peers go after life_us
 */
#pragma once
#include "base/addr.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/timer.h"
#include "crypto/sha.h"
#include "torrent/tag_index.h"

#define SWARM_LINEAR_MAX   32u
#define SWARM_N_TICKS      32u /* ours: in life_us; peers are forgotten 1 to 2 ticks later */
#define SWARM_N_WHEEL      64u
#define SWARM_N_CHUNKS     4096u /* of swarms: they do not move while the table grows */
#define SWARM_CHUNK        1024u
#define SWARM_N_SWARMS_MAX (SWARM_N_CHUNKS * SWARM_CHUNK)

struct swarm_peers {
    uint8_t *peers;         /* n records of address, tick, flags */
    struct tag_index index; /* empty up to SWARM_LINEAR_MAX peers */
    uint32_t n, cap;
    uint32_t n_seeds;  /* the first of them */
    uint32_t n_paused; /* partial seeds (BEP 21), among the rest */
};

struct swarm {
    uint8_t infohash[SHA1_LEN];
    uint32_t n_completed;
    uint32_t prev, next;            /* in its wheel slot, or next in the free list */
    uint32_t wheel_slot;            /* SWARM_N_WHEEL: free */
    struct swarm_peers families[2]; /* IPv4, IPv6 */
};

struct swarm_table {
    struct mem *mem;
    struct rng rng;
    struct map_seed seed;
    struct tag_index by_hash;
    struct swarm *chunks[SWARM_N_CHUNKS];
    uint32_t n_slab, free_head;    /* swarms ever made; the first free one */
    uint32_t wheel[SWARM_N_WHEEL]; /* swarms by the tick at which they are swept */
    uint64_t tick, next_tick_at_us, tick_us;
    uint32_t n_swarms, n_swarms_max, n_peers[2], n_peers_max;
    uint64_t n_seeds;
    uint64_t n_expired, n_peers_evicted, n_swarms_evicted, n_refused_memory;
};

enum swarm_event { SWARM_ALIVE, SWARM_COMPLETED, SWARM_STOPPED };

struct swarm_announce {
    const uint8_t *infohash;
    struct addr peer;
    enum swarm_event event;
    bool is_seed;     /* left is 0 */
    bool is_paused;   /* partial seed (BEP 21) */
    bool is_unlisted; /* answered, but not kept: it cannot be dialled */
    uint32_t numwant;
};

struct swarm_counts {
    uint32_t n_seeders, n_leechers, n_completed, n_paused;
};

enum err_code swarm_table_init(struct swarm_table *t, struct mem *mem, uint64_t now_us,
                               uint64_t rng_seed, struct map_seed secret, uint32_t n_swarms_max,
                               uint32_t n_peers_max, uint64_t life_us) MUST_USE;
void swarm_table_clear(struct swarm_table *t);

bool swarm_table_has(const struct swarm_table *t, const uint8_t infohash[SHA1_LEN]);
/* Lists, renews or removes the peer. Writes up to numwant compact addresses of its family into out
 * (room for numwant of them), the asker left out; a seed hears of leechers only while there are any
 * (aria2 with a magnet link says that it has nothing left and needs a seed's address). Each other
 * peer has the same chance to be named. out_counts: of the asker's family. */
enum err_code swarm_table_announce(struct swarm_table *t, uint64_t now_us,
                                   const struct swarm_announce *a, uint8_t *out, uint32_t *out_n,
                                   struct swarm_counts *out_counts) MUST_USE;
/* Of both families together; zeros for a swarm that is not there. */
void swarm_table_scrape(const struct swarm_table *t, const uint8_t infohash[SHA1_LEN],
                        struct swarm_counts *out);
void swarm_table_remove(struct swarm_table *t, const uint8_t infohash[SHA1_LEN]);
/* Removes each swarm of which keep says false. */
void swarm_table_filter(struct swarm_table *t, bool (*keep)(void *ctx, const uint8_t *infohash),
                        void *ctx);
/* Forgets the silent; a bounded part of it per call: again at the deadline. */
void swarm_table_tick(struct swarm_table *t, uint64_t now_us);
uint64_t swarm_table_deadline_us(const struct swarm_table *t);
void swarm_table_check(const struct swarm_table *t);
