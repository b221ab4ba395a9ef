/* disk_volume: the blocks and files of one torrent on a simulated disk. Used by disk.c alone.
 *
 * A block is absent (zeros, if its file reaches so far), right or wrong, both as it is read now
 * and as it would be after a loss of power.
 *
 * Ownership  owns its memory; the content is borrowed
 * Threads    one owner
 * Errors     memory as in world.h
 */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "sim/disk.h"

enum block_state { BLOCK_ABSENT, BLOCK_RIGHT, BLOCK_WRONG };

#define VOLUME_MARKS_MAX 16u /* syncs under way at once */

struct volume_mark {
    uint64_t job, until; /* dirty blocks below `until`, counted from the first ever, are covered */
};

struct disk_volume {
    struct list_node in_volumes;
    struct disk *d;
    const struct content *content;
    bool is_open;
    uint32_t torrent, n_per_piece, n_blocks;
    uint64_t last_us; /* when the last request asked so far will be answered */
    uint8_t *states;  /* per block: seen | durable << 2 */
    struct map wrong; /* block -> uint8_t * with its core bytes */
    uint32_t *dirty;  /* written since it was synced, in order */
    uint32_t n_dirty, dirty_cap;
    uint64_t n_synced; /* dirty blocks that have left the list */
    struct volume_mark marks[VOLUME_MARKS_MAX];
    uint32_t n_marks;
    struct store_file_stat *files;
    bool *is_file_dirty;
};

struct disk_volume *volume_new(struct disk *d, const struct content *c);
void volume_free(struct disk_volume *v);
const struct layout *volume_layout(const struct disk_volume *v);

bool volume_hash(struct disk_volume *v, struct store_put *q); /* false: bad */
uint64_t volume_need_len(const struct disk_volume *v, uint32_t piece, uint32_t begin,
                         uint32_t len);          /* bytes that a write would add to what is used */
uint64_t volume_allocate(struct disk_volume *v); /* all files at full length; bytes added */
uint64_t volume_write(struct disk_volume *v,
                      const struct store_put *q); /* right blocks rewritten */
/* A write that a crash met: some blocks, one of them perhaps torn. Returns how many were torn. */
uint64_t volume_write_part(struct disk_volume *v, const struct store_put *q, struct rng *rng);
void volume_check(struct disk_volume *v, struct store_check *q);
bool volume_read(const struct disk_volume *v, uint32_t piece, uint32_t begin, uint32_t len,
                 uint8_t *out);
void volume_stat(const struct disk_volume *v, struct store_file_stat *out);
uint32_t volume_file_of(const struct disk_volume *v, uint32_t piece, uint32_t begin);

void volume_mark_sync(struct disk_volume *v, uint64_t job);
void volume_sync(struct disk_volume *v, uint64_t job);
void volume_forget_marks(struct disk_volume *v);
void volume_lose_power(struct disk_volume *v, struct rng *rng, struct disk_stats *stats);

bool volume_is_right(const struct disk_volume *v, uint32_t piece, uint32_t begin, uint32_t len);
bool volume_is_durable(const struct disk_volume *v, uint32_t piece);
uint64_t volume_fill(struct disk_volume *v); /* bytes added */
void volume_damage(struct disk_volume *v, uint32_t piece, uint32_t block, bool is_time_kept);
