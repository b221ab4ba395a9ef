/* stage: what the scenarios share: a world with one torrent, a tracker, machines and liars; the
 * loop that runs them and looks at them; the numbers at the end. Used by scenario*.c.
 *
 * Ownership  stage_clear frees everything
 * Threads    one owner
 * Errors     what goes wrong is said in the result; the first reason stays
 */
#pragma once
#include "sim/host.h"
#include "sim/liar.h"
#include "sim/scenario.h"
#include "sim/tracker_node.h"

enum stage_order { ORDER_RAREST, ORDER_RANDOM, ORDER_SEQUENTIAL };

struct stage_peer {
    struct sim_host *h;
    uint32_t torrent;
    bool is_seed, is_up, has_left;     /* has_left: for good, nobody waits for it */
    uint8_t class;                     /* the scenario's own: speed, kind */
    uint64_t joined_at_us, done_at_us; /* done_at_us: 0 not yet */
    uint64_t restart_at_us;            /* 0: not waiting */
    uint32_t n_crashes, n_fixes;
};

struct stage {
    struct mem mem;
    struct sim sim;
    const struct scenario_params *p;
    struct scenario_result *r;
    struct rng rng;
    const struct content *content;
    struct tracker_node *tracker;
    enum stage_order order;   /* of those that join from here on */
    struct stage_peer *peers; /* seeds and downloaders */
    uint32_t n_peers, peers_cap;
    struct liar **liars;
    uint32_t n_liars;
    uint64_t check_at_us, why_at_us;
    /* Called once a second of the virtual clock; may be NULL. */
    void (*on_second)(struct stage *s, void *ctx);
    void *ctx;
    void (*on_piece)(struct stage *s, struct sim_host *h); /* verified and written; may be NULL */
    bool is_broken;
    bool may_ban_honest; /* when liars can put the blame on others for a while */
};

void stage_init(struct stage *s, const struct scenario_params *p, struct scenario_result *r);
/* Whatever happens to honest machines, they are not banned by others. */
void stage_clear(struct stage *s); /* fills in the result first */
void stage_fail(struct stage *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* No engine may take more memory: what every scenario asserts, and docs/simulator.md states. */
size_t stage_engine_len_max(const struct scenario_params *p);
uint32_t stage_random_peer(struct stage *s);
/* One after the other over arrive_us, or at once. */
void stage_add_crowd(struct stage *s, uint32_t n_seeds, uint32_t n_peers);
struct sim_host_params stage_link(struct stage *s, bool is_seed); /* rates and delay by chance */
/* A machine that is up and has the torrent; NULL (and the stage broken) when the engine refuses. */
struct stage_peer *stage_add_peer(struct stage *s, const struct sim_host_params *hp, bool is_seed,
                                  const struct addr *knows);
struct liar *stage_add_liar(struct stage *s, enum liar_kind kind);
/* How many of a kind were banned by somebody; of *out_n_guilty that sent wrong bytes, in more than one
 * or two blocks that may have come too late to matter. */
uint32_t stage_n_found(const struct stage *s, enum liar_kind kind, uint32_t *out_n_guilty);
/* It goes for good, in order or not, and counts no more among those that must finish. */
void stage_leave(struct stage *s, struct stage_peer *p);
void stage_crash(struct stage *s, struct stage_peer *p, enum sim_crash how, uint64_t down_us);
bool stage_has_error(struct stage *s, const struct stage_peer *p); /* of storage */
/* The owner frees space or mends the disk, and says go on; fails when a verified piece is lost by
 * it. False: there is nothing to mend. */
bool stage_mend_disk(struct stage *s, struct stage_peer *p);
bool stage_is_done(const struct stage *s); /* every downloader has everything */
uint32_t stage_n_done(const struct stage *s);
/* Until everybody is done, or the limit, or the stage is broken. */
void stage_run(struct stage *s);
void stage_run_until(struct stage *s, uint64_t until_us);
/* Fails unless everybody is done; with a look at what the slowest wait for. */
void stage_want_all_done(struct stage *s);
