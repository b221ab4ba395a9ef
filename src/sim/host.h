/* host: a simulated machine that runs the production engine: struct torrent_host over the network
 * and disk of the simulator, on its virtual clock.
 *
 * struct sim is one world with its network, the contents that can be shared in it and the
 * machines. A machine (struct sim_host) has an address and a disk that stay, and a session that
 * comes and goes: sim_host_start, sim_host_crash, sim_host_start again finds on the disk what lasted.
 *
 * Every input of the engine is followed by a look at its events and its deadline. What the engine
 * believes is compared with the truth that the disk knows: a piece told as had that is not right
 * there, or a block sent that is not right, is counted as a lie (sim_host_stats), as is everything
 * it sends beyond the room announced.
 *
 * Ownership  struct sim owns all; sim_clear ends it. Allocations of a session come from the
 *            machine's own struct mem, which must be empty again when the session is freed
 * Threads    one owner
 * Errors     sim_host_start and sim_host_add: the engine's own
 */
#pragma once
#include "sim/disk.h"
#include "sim/network.h"
#include "torrent/session.h"

struct sim_host;

struct sim {
    struct mem *mem;
    struct world w;
    struct net n;
    struct content **contents;
    size_t n_contents;
    struct list hosts;
    struct log *log; /* NULL: silent; each line is the engine's own */
};

struct sim_host_params {
    struct net_params net;
    struct disk_params disk;
    struct session_config config; /* peer_id, user_agent and listen_port are filled in */
    size_t mem_budget;            /* 0: none */
};

struct sim_host_stats {
    uint64_t n_pieces, n_pieces_bad, n_banned, n_errors; /* events */
    uint64_t n_lies; /* pieces had or blocks sent that are not right on the disk */
    uint64_t n_ticks, n_inputs;
    uint64_t finished_at_us; /* TORRENT_SEEDING or TORRENT_FINISHED, since the start; 0: not yet */
    uint64_t fetched_len;
};

enum sim_crash {
    SIM_KILL,       /* the process ends: connections are reset, answered writes stay */
    SIM_POWER_LOSS, /* silence on the network; what was not synced may be lost or torn */
};

struct sim_host {
    struct list_node in_hosts;
    struct sim *sim;
    uint32_t index; /* of its node */
    struct net_node *node;
    struct disk disk;
    struct mem mem;
    struct session *session; /* NULL: down */
    struct torrent_host table;
    struct session_config config;
    struct rng rng;
    struct sim_event tick;
    uint64_t tick_at_us;
    uint32_t n_ticks_here; /* at one time: an engine that never rests */
    struct list jobs;      /* fetches, look-ups and failed sends under way */
    struct sim_host_stats stats;
    const char *user_agent;
    /* Called for each event of the engine, from inside the world's events; may be NULL. */
    void (*on_event)(void *ctx, struct sim_host *h, const struct session_event *e);
    void *ctx;
};

void sim_init(struct sim *s, struct mem *mem, uint64_t rng_seed);
void sim_clear(struct sim *s);
enum err_code sim_add_content(struct sim *s, const struct content_params *p,
                              const struct content **out, struct err *err) MUST_USE;

struct sim_host *sim_host_new(struct sim *s, const struct sim_host_params *p);
enum err_code sim_host_start(struct sim_host *h, struct err *err) MUST_USE;
void sim_host_crash(struct sim_host *h, enum sim_crash how);

struct sim_add {
    const struct content *content;
    bool is_magnet; /* only the link is known */
    bool is_sequential, is_random_order;
    enum torrent_check check;
    const struct addr *peers; /* told at once */
    size_t n_peers;
};
/* With resume data, if the disk has some. */
enum err_code sim_host_add(struct sim_host *h, const struct sim_add *a, uint32_t *out_torrent,
                           struct err *err) MUST_USE;
/* Ends the torrent in order: EVENT_STOPPED follows. */
void sim_host_remove(struct sim_host *h, uint32_t torrent);
void sim_host_add_peer(struct sim_host *h, uint32_t torrent, const struct addr *a);
void sim_host_resume(struct sim_host *h, uint32_t torrent); /* after an error or a pause */

/* session_check, and every piece it claims is right on the disk (lies are counted). */
void sim_host_check(struct sim_host *h, uint32_t torrent, const struct content *c);
