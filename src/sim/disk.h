/* disk: the simulated storage of one node: the store_* part of struct torrent_host with latency,
 * bandwidth, a size, faults on demand, and a memory that can lose what was not synced.
 *
 * Of each block a volume remembers only whether it is absent, right or wrong (compared with the
 * content that the bytes should be), what of it is synced, and the bytes of the wrong ones. So it
 * also knows the truth that an engine must not be ahead of (disk_piece_is_right).
 *
 * A crash of the process keeps what was answered; what was under way happened, or half of it, or
 * not. A loss of power may besides take back or tear every write since the last sync. Resume data
 * are replaced as a whole or not at all.
 *
 * Ownership  the disk outlives the processes that use it; requests are the caller's until answered
 *            or until disk_crash, after which they are never touched
 * Threads    one owner
 * Errors     as in host.h, through the answers
 */
#pragma once
#include "base/list.h"
#include "sim/content.h"
#include "sim/world.h"
#include "torrent/host.h"

struct disk_params {
    uint64_t latency_us;              /* of each request, up to twice as much by chance */
    uint64_t write_per_s, read_per_s; /* bytes; 0: no bound */
    uint64_t cap_len;                 /* ENOSPC beyond; 0: no bound */
};

/* Half of the writes that fail, or find no room, are torn: some blocks are there, one in part. */
enum disk_fault { DISK_WRITE, DISK_READ, DISK_SYNC, DISK_OPEN, DISK_SAVE, DISK_FAULT_COUNT };

struct disk_fault_plan {
    uint64_t after;  /* the next but `after` request of this kind fails */
    int err_no;      /* 0: no fault planned */
    bool is_lasting; /* and all that follow */
};

enum disk_op_kind { OP_OPEN, OP_PUT, OP_CHECK, OP_READ, OP_SYNC, OP_STAT, OP_CLOSE, OP_RESUME };

struct disk_stats {
    uint64_t written_len, read_len, n_puts, n_syncs, n_faults;
    uint64_t n_lost_blocks, n_torn_blocks;
    uint64_t n_rewrites; /* right blocks that were written again */
};

struct disk_volume;

struct disk {
    struct world *w;
    uint32_t node; /* in the trace */
    struct disk_params p;
    struct rng rng;
    void (*done)(void *ctx, uint64_t job, const struct err *err); /* NULL: nobody is attached */
    void *ctx;
    struct list ops, volumes, resumes;
    uint64_t busy_until_us, used_len;
    struct disk_fault_plan faults[DISK_FAULT_COUNT];
    uint64_t n_ops; /* requests whose time had come, ever */
    uint64_t crash_at_op;
    bool is_crash_after;
    void (*crash)(void *ctx);
    void *crash_ctx;
    struct disk_stats stats;
};

void disk_init(struct disk *d, struct world *w, uint32_t node, const struct disk_params *p);
void disk_clear(struct disk *d);

/* A process begins; done is called from events only. */
void disk_attach(struct disk *d, void (*done)(void *ctx, uint64_t job, const struct err *err),
                 void *ctx);
void disk_crash(struct disk *d, bool is_power_lost);
void disk_plan_fault(struct disk *d, enum disk_fault kind, uint64_t after, int err_no,
                     bool is_lasting);

/* When the time of request number `at_op` (1: the first) has come, `crash` is called, once, in its
 * place, or is_after in place of its answer: it ends the process (disk_crash). */
void disk_plan_crash(struct disk *d, uint64_t at_op, bool is_after, void (*crash)(void *ctx),
                     void *ctx);

/* struct torrent_host, less the torrent numbers of requests: volumes are found by the number given
 * in store_open until store_close. content: what the metainfo of the request describes. */
void disk_store_open(struct disk *d, uint64_t job, struct store_open *q, const struct content *c);
void disk_store_put(struct disk *d, uint64_t job, struct store_put *q);
void disk_store_check(struct disk *d, uint64_t job, struct store_check *q);
void disk_store_read(struct disk *d, uint64_t job, struct store_read *q);
void disk_store_sync(struct disk *d, uint64_t job, uint32_t torrent);
void disk_store_stat(struct disk *d, uint64_t job, uint32_t torrent, struct store_file_stat *out);
void disk_store_close(struct disk *d, uint64_t job, uint32_t torrent);
void disk_resume_save(struct disk *d, uint64_t job, struct bytes key, struct bytes resume,
                      bool is_final);

/* What a process finds at start; empty when there is none. Good until the next save. */
struct bytes disk_resume(const struct disk *d, struct bytes key);

enum disk_range { DISK_RIGHT, DISK_NOT_RIGHT, DISK_FAILED };
/* For send_block: are these bytes there and right? Counts as a read: *err for DISK_FAILED. */
enum disk_range disk_send(struct disk *d, uint32_t torrent, uint32_t piece, uint32_t begin,
                          uint32_t len, struct err *err);
const struct content *disk_content(const struct disk *d, uint32_t torrent); /* NULL: not open */
/* Bytes as they are, wherever they come from; false: cannot be read. */
bool disk_peek(struct disk *d, const struct content *c, uint32_t piece, uint32_t begin,
               uint32_t len, uint8_t *out);

/* The truth, and meddling with it. */
bool disk_piece_is_right(const struct disk *d, const struct content *c, uint32_t piece);
bool disk_piece_is_durable(const struct disk *d, const struct content *c, uint32_t piece);
void disk_fill(struct disk *d, const struct content *c); /* all is here, right and synced */
void disk_damage(struct disk *d, const struct content *c, uint32_t piece, uint32_t block,
                 bool is_time_kept);
