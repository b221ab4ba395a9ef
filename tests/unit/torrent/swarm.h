/* swarm: a mem_host world around one torrent, for the session tests. */
#pragma once
#include "mem_host.h"
#include "sim/content.h"

struct swarm {
    struct mem_world *world;
    struct content *content;
    uint32_t torrents[MEM_NODES_MAX]; /* of each node; 0: none */
    uint32_t n_bad_pieces, n_banned, n_errors, n_metadata, n_stopped, n_goals;
    uint32_t n_pieces[MEM_NODES_MAX];
    struct addr banned;
};

struct swarm_params {
    uint64_t seed;
    enum content_version version;
    uint64_t len;
    uint32_t piece_len, n_files;
    size_t chunk_max;
};

struct swarm swarm_new(const struct swarm_params *p);
void swarm_free(struct swarm *sw);
struct mem_node *swarm_node(struct swarm *sw); /* added and up */
/* The whole content is on its disk. */
void swarm_fill_disk(struct swarm *sw, struct mem_node *n);
struct torrent_params swarm_params_of(struct swarm *sw, struct mem_node *n);
void swarm_add(struct swarm *sw, struct mem_node *n, const struct torrent_params *p);
void swarm_seed(struct swarm *sw, struct mem_node *n);
void swarm_leech(struct swarm *sw, struct mem_node *n);
void swarm_magnet(struct swarm *sw, struct mem_node *n);
void swarm_meet(struct swarm *sw, struct mem_node *a, struct mem_node *b); /* a learns of b */
struct torrent_stats swarm_stats(struct swarm *sw, struct mem_node *n);
enum torrent_state swarm_state(struct swarm *sw, struct mem_node *n);
uint64_t swarm_counter(struct mem_node *n, const char *name);
/* Until all nodes that are up seed, or seconds have gone by. */
bool swarm_run_to_seeding(struct swarm *sw, unsigned seconds);
bool swarm_run_to_state(struct swarm *sw, struct mem_node *n, enum torrent_state state,
                        unsigned seconds);
void swarm_assert_disk(struct swarm *sw, struct mem_node *n); /* equals the content */
void swarm_stop(struct swarm *sw, struct mem_node *n);        /* removed, session freed */
