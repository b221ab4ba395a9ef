/* mem_host: the world in memory for tests of the engine: nodes with a session and a disk each,
 * pipes between them, one clock. Deterministic: what happens depends on the seed alone.
 *
 * Everything that a host may answer late waits in one queue and is answered by mem_world_step, in
 * order or shuffled; bytes are delivered in pieces of random size. When nothing is left to do at
 * this time, the clock moves to the next deadline.
 */
#pragma once
#include "base/mem.h"
#include "base/rng.h"
#include "torrent/session.h"

struct metainfo;

#define MEM_NODES_MAX   8u
#define MEM_FILES_MAX   64u
#define MEM_CONNS_MAX   256u
#define MEM_STORES_MAX  16u
#define MEM_RESUMES_MAX 16u
#define MEM_PIPE_CAP    (256u * 1024u)

struct mem_file {
    char path[256];
    uint8_t *data, *synced; /* synced: what survives mem_node_power_cut */
    uint64_t len, synced_len, mtime_ns;
    bool exists, was_synced;
};

struct mem_store {
    bool is_open;
    uint32_t torrent;
    const struct metainfo *info;
    char dir[128];
    bool is_read_only;
};

struct mem_resume {
    uint8_t key[20];
    uint8_t *data;
    size_t len;
    bool is_used;
};

enum mem_job_kind {
    MEM_OPEN,
    MEM_PUT,
    MEM_CHECK,
    MEM_READ,
    MEM_SYNC,
    MEM_STAT,
    MEM_CLOSE,
    MEM_RESUME,
    MEM_RESOLVE,
    MEM_FETCH,
    MEM_DATAGRAM
};

struct mem_job {
    enum mem_job_kind kind;
    uint64_t job;
    uint32_t torrent;
    void *request;
    uint8_t *copy; /* resume data, url */
    size_t copy_len;
    uint8_t key[20];
    uint16_t port;
    struct addr from; /* MEM_DATAGRAM */
    uint64_t at_us;   /* not answered before */
};

/* Faults that come at random: one in so many, 0: never. */
struct mem_storm {
    uint32_t alloc; /* allocations refused */
    uint32_t job;   /* answers that are errors, half of them although something was done */
    uint32_t delay; /* answers that come up to delay_us later */
    uint64_t delay_us;
    uint32_t connect; /* connects that fail */
    uint32_t cut;     /* deliveries after which the connection is gone */
};

struct mem_node {
    struct mem_world *world;
    uint32_t index;
    struct mem mem;
    struct session *session; /* NULL: down */
    struct torrent_host host;
    struct addr addr;
    struct mem_file files[MEM_FILES_MAX];
    uint32_t n_files;
    struct mem_store stores[MEM_STORES_MAX];
    struct mem_resume resumes[MEM_RESUMES_MAX];
    struct mem_job *jobs;
    size_t n_jobs, jobs_cap;
    /* faults */
    struct mem_storm storm;
    uint64_t fail_job_at;                /* this answer (1: the next) is ERR_IO, ... */
    bool is_fail_partial;                /* ... although a part of it was done */
    uint64_t delay_job_at, delay_job_us; /* this job (1: the next asked) is answered later */
    uint64_t fail_connect_at;            /* this connect (1: the next) fails */
    uint64_t n_jobs_answered;            /* counts answers */
    bool is_corrupting;                  /* blocks sent have a byte flipped... */
    uint32_t corrupt_piece;              /* ... of this piece (UINT32_MAX: of all) */
    bool is_mute;                        /* nothing that it sends arrives */
    bool is_put_held;                    /* store_put is not answered */
    bool is_save_broken;                 /* every resume_save is ERR_IO */
    bool is_listening;
    /* what was seen */
    uint64_t n_puts, put_len, n_checks, n_sent_blocks, sent_block_len, n_resumes, n_syncs;
    uint64_t n_connects, n_jobs_failed, n_cut;
};

struct mem_pipe_end {
    struct mem_node *node; /* NULL: this end is gone */
    uint32_t conn;
    uint8_t *out; /* bytes on their way to the other end */
    size_t out_len;
    size_t room_left; /* of what was announced */
    bool is_reading_paused, wants_room;
    bool is_raw;
    uint8_t *heard; /* is_raw: what came */
    size_t heard_len;
};

struct mem_conn {
    bool is_used, is_connecting;
    struct addr to, from;
    struct mem_pipe_end ends[2];
};

struct mem_world {
    struct mem mem;
    struct rng rng;
    uint64_t now_us;
    struct mem_node nodes[MEM_NODES_MAX];
    uint32_t n_nodes;
    struct mem_conn conns[MEM_CONNS_MAX];
    size_t chunk_max;  /* bytes delivered at once; 0: as many as there are */
    bool is_shuffling; /* jobs are answered in any order */
    bool is_checking;  /* session_check after each input */
    uint64_t n_steps;
    struct addr raw_listens; /* who is dialled there gets a hand-made peer: raw_dialled */
    uint32_t raw_dialled;    /* UINT32_MAX: nobody came */
    /* URLs answered: the tracker's */
    bool (*fetch)(struct mem_world *w, struct mem_node *n, const char *url, uint32_t *out_status,
                  uint8_t *out, size_t out_cap, size_t *out_len);
    /* What a datagram is answered with, in out (1500 bytes); 0: with nothing. A failing job is a
     * lost datagram. */
    size_t (*datagram)(struct mem_world *w, struct mem_node *n, struct bytes in, uint8_t *out);
    void (*on_event)(struct mem_world *w, struct mem_node *n, const struct session_event *e);
    void *ctx;
};

struct mem_world *mem_world_new(uint64_t seed);
void mem_world_free(struct mem_world *w);
struct mem_node *mem_world_add(struct mem_world *w); /* 10.0.0.<n>:6881; is down */
/* Base configuration: peer id made of the index, announce off. */
struct session_config mem_node_config(const struct mem_node *n);
/* config NULL: the base. False: out of memory. */
bool mem_node_up(struct mem_node *n, const struct session_config *config);
void mem_node_kill(struct mem_node *n);      /* -9: no goodbye; the disk stays */
void mem_node_power_cut(struct mem_node *n); /* the disk goes back to what was synced */
struct bytes mem_node_resume(const struct mem_node *n, const uint8_t key[20]);
void mem_node_put_file(struct mem_node *n, const char *path, struct bytes data); /* dir/path */
struct mem_file *mem_node_file(struct mem_node *n, const char *path);

/* One step; false when nothing will ever happen again before until_us (then now_us = until_us). */
bool mem_world_step(struct mem_world *w, uint64_t until_us);
/* Until cond(ctx) or until_us have come: returns cond(ctx). */
bool mem_world_run(struct mem_world *w, uint64_t until_us, bool (*cond)(void *ctx), void *ctx);
bool mem_world_run_for(struct mem_world *w, uint64_t us); /* always true */
/* A hand-made peer: dials the node, says what the test wants, keeps what it hears. */
uint32_t mem_raw_dial(struct mem_world *w, struct mem_node *n, const struct addr *from);
void mem_raw_send(struct mem_world *w, uint32_t raw, struct bytes b);
struct bytes mem_raw_heard(const struct mem_world *w, uint32_t raw);
void mem_raw_forget(struct mem_world *w, uint32_t raw, size_t n); /* the first n bytes heard */
bool mem_raw_is_closed(const struct mem_world *w, uint32_t raw);
void mem_raw_close(struct mem_world *w, uint32_t raw);
