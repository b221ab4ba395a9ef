/* disk_volume: a byte of state per block, and the bytes of those that are wrong. */
#include "sim/disk_volume.h"
#include "base/size.h"
#include <assert.h>

#define MTIME_EPOCH_NS 1700000000000000000u
#define GARBAGE        0x5au

static enum block_state seen(const struct disk_volume *v, uint32_t block)
{
    return (enum block_state)(v->states[block] & 3);
}

static enum block_state durable(const struct disk_volume *v, uint32_t block)
{
    return (enum block_state)(v->states[block] >> 2 & 3);
}

static void set_states(struct disk_volume *v, uint32_t block, enum block_state now,
                       enum block_state later)
{
    v->states[block] = (uint8_t)(now | later << 2);
}

const struct layout *volume_layout(const struct disk_volume *v)
{
    return &v->content->info->layout;
}

static uint32_t block_index(const struct disk_volume *v, uint32_t piece, uint32_t k)
{
    return piece * v->n_per_piece + k;
}

static uint64_t block_off(uint32_t block)
{
    return (uint64_t)block * BLOCK_LEN;
}

static uint32_t block_len(const struct disk_volume *v, uint32_t block)
{
    return layout_block_len(volume_layout(v), block / v->n_per_piece, block % v->n_per_piece);
}

struct disk_volume *volume_new(struct disk *d, const struct content *c)
{
    struct disk_volume *v = world_calloc(d->w, 1, sizeof *v);
    v->d = d;
    v->content = c;
    v->n_per_piece = c->info->piece_len / BLOCK_LEN;
    v->n_blocks = c->info->n_pieces * v->n_per_piece;
    v->states = world_calloc(d->w, v->n_blocks, 1);
    v->files = world_calloc(d->w, c->info->n_files, sizeof *v->files);
    v->is_file_dirty = world_calloc(d->w, c->info->n_files, sizeof *v->is_file_dirty);
    map_init(&v->wrong, d->w->mem, rng_map_seed(&d->rng), sizeof(uint32_t), sizeof(uint8_t *),
             SIZE_MAX);
    list_push_back(&d->volumes, &v->in_volumes);
    return v;
}

static void forget_wrong(struct disk_volume *v, uint32_t block)
{
    uint8_t **slot = map_get(&v->wrong, &block);
    if (!slot)
        return;
    world_free(v->d->w, *slot);
    map_remove(&v->wrong, &block);
}

void volume_free(struct disk_volume *v)
{
    struct world *w = v->d->w;
    size_t cursor = 0;
    const void *key;
    void *value;
    while (map_next(&v->wrong, &cursor, &key, &value))
        world_free(w, *(uint8_t **)value);
    map_clear(&v->wrong);
    list_remove(&v->d->volumes, &v->in_volumes);
    world_free(w, v->states);
    world_free(w, v->dirty);
    world_free(w, v->files);
    world_free(w, v->is_file_dirty);
    world_free(w, v);
}

/* --- hashing --------------------------------------------------------------------------------- */

static void hash_zeros(struct sha1_state *s, uint64_t len)
{
    static const uint8_t zeros[4096];
    for (; len > 0; len -= u64_min(len, sizeof zeros))
        sha1_update(s, bytes_of(zeros, (size_t)u64_min(len, sizeof zeros)));
}

bool volume_hash(struct disk_volume *v, struct store_put *q)
{
    const struct content *c = v->content;
    bool is_good = true;
    for (uint32_t k = 0; k * BLOCK_LEN < q->len; k++) {
        uint32_t len = (uint32_t)u64_min(BLOCK_LEN, q->len - k * BLOCK_LEN);
        struct bytes core = bytes_of(q->blocks[k], content_core_len(c, len));
        if (q->v1)
            sha1_update(q->v1, core);
        if (q->v2_leaves)
            sha256(core, q->v2_leaves[k]);
        if (q->v2_leaves && q->v2_want && memcmp(q->v2_leaves[k], q->v2_want[k], SHA256_LEN) != 0)
            is_good = false;
    }
    if (q->v1 && q->v1_last) {
        uint8_t digest[SHA1_LEN];
        if (!c->is_phantom)
            hash_zeros(q->v1, q->v1_zeros);
        sha1_final(q->v1, digest);
        is_good = is_good && memcmp(digest, q->v1_want, SHA1_LEN) == 0;
    }
    return is_good;
}

/* The core bytes of a block as they are read now. */
static void core_bytes(const struct disk_volume *v, uint32_t block, uint8_t out[BLOCK_LEN])
{
    uint32_t len = content_core_len(v->content, block_len(v, block));
    if (seen(v, block) == BLOCK_ABSENT)
        memset(out, 0, len);
    else if (seen(v, block) == BLOCK_RIGHT)
        content_fill(v->content, block_off(block), 0, out, len);
    else
        memcpy(out, *(uint8_t **)map_get(&v->wrong, &block), len);
}

/* Do the files reach over this range of a piece? */
static bool is_covered(const struct disk_volume *v, uint32_t piece, uint32_t begin, uint32_t len)
{
    struct layout_walk walk = layout_walk(volume_layout(v), piece, begin, len);
    struct layout_run run;
    while (layout_walk_next(&walk, &run))
        if (!run.is_pad && v->files[run.file].len < run.file_off + run.len)
            return false;
    return true;
}

void volume_check(struct disk_volume *v, struct store_check *q)
{
    const struct layout *l = volume_layout(v);
    uint32_t data_len = layout_piece_data_len(l, q->piece);
    uint8_t core[BLOCK_LEN];
    struct sha1_state s;
    q->is_missing = !is_covered(v, q->piece, 0, data_len);
    if (q->is_missing)
        return;
    sha1_init(&s);
    for (uint32_t k = 0; k < layout_n_blocks(l, q->piece); k++) {
        uint32_t block = block_index(v, q->piece, k);
        core_bytes(v, block, core);
        struct bytes in = bytes_of(core, content_core_len(v->content, block_len(v, block)));
        if (q->want_v1)
            sha1_update(&s, in);
        if (q->v2_leaves)
            sha256(in, q->v2_leaves[k]);
    }
    if (q->want_v1 && !v->content->is_phantom)
        hash_zeros(&s, layout_piece_len(l, q->piece) - data_len);
    if (q->want_v1)
        sha1_final(&s, q->v1_digest);
}

/* --- reading and writing --------------------------------------------------------------------- */

bool volume_read(const struct disk_volume *v, uint32_t piece, uint32_t begin, uint32_t len,
                 uint8_t *out)
{
    uint32_t data_len = layout_piece_data_len(volume_layout(v), piece);
    uint8_t core[BLOCK_LEN] = {0};
    if (!is_covered(v, piece, begin, len))
        return false;
    for (uint32_t done = 0; done < len;) {
        uint32_t at = begin + done, in_block = at % BLOCK_LEN;
        uint32_t n = (uint32_t)u64_min(BLOCK_LEN - in_block, len - done);
        memset(core, 0, sizeof core);
        if (at < data_len)
            core_bytes(v, block_index(v, piece, at / BLOCK_LEN), core);
        memcpy(out + done, core + in_block, n);
        done += n;
    }
    return true;
}

static void add_dirty(struct disk_volume *v, uint32_t block)
{
    if (v->n_dirty == v->dirty_cap) {
        v->dirty_cap = v->dirty_cap ? 2 * v->dirty_cap : 64;
        v->dirty = world_realloc(v->d->w, v->dirty, v->dirty_cap * sizeof *v->dirty);
    }
    v->dirty[v->n_dirty++] = block;
}

static void put_wrong(struct disk_volume *v, uint32_t block, const uint8_t *core)
{
    bool is_new;
    uint8_t **slot = map_put(&v->wrong, &block, &is_new);
    uint32_t len = content_core_len(v->content, block_len(v, block));
    assert(slot);
    if (is_new)
        *slot = world_alloc(v->d->w, len);
    memcpy(*slot, core, len);
}

static void put_block(struct disk_volume *v, uint32_t block, const uint8_t *data)
{
    bool is_right = content_is_right(v->content, block_off(block), data, block_len(v, block));
    if (is_right)
        forget_wrong(v, block);
    else
        put_wrong(v, block, data);
    set_states(v, block, is_right ? BLOCK_RIGHT : BLOCK_WRONG, durable(v, block));
    add_dirty(v, block);
}

static void touch_files(struct disk_volume *v, uint32_t piece, uint32_t begin, uint32_t len)
{
    struct layout_walk walk = layout_walk(volume_layout(v), piece, begin, len);
    struct layout_run run;
    while (layout_walk_next(&walk, &run)) {
        struct store_file_stat *f = &v->files[run.file];
        if (run.is_pad)
            continue;
        f->exists = true;
        f->len = u64_max(f->len, run.file_off + run.len);
        f->mtime_ns = MTIME_EPOCH_NS + v->d->w->now_us * 1000;
        v->is_file_dirty[run.file] = true;
    }
}

uint64_t volume_need_len(const struct disk_volume *v, uint32_t piece, uint32_t begin, uint32_t len)
{
    uint64_t need = 0;
    for (uint32_t k = 0; k * BLOCK_LEN < len; k++)
        if (seen(v, block_index(v, piece, begin / BLOCK_LEN + k)) == BLOCK_ABSENT)
            need += u64_min(BLOCK_LEN, len - k * BLOCK_LEN);
    return need;
}

uint64_t volume_allocate(struct disk_volume *v)
{
    uint64_t need = 0;
    for (uint32_t i = 0; i < v->content->info->n_files; i++) {
        const struct metainfo_file *f = &v->content->info->files[i];
        if (f->flags & (FILE_PAD | FILE_SYMLINK) || v->files[i].len >= f->len)
            continue;
        need += f->len - v->files[i].len;
        v->files[i] = (struct store_file_stat){
            .len = f->len, .exists = true, .mtime_ns = MTIME_EPOCH_NS + v->d->w->now_us * 1000};
    }
    return need;
}

uint64_t volume_write(struct disk_volume *v, const struct store_put *q)
{
    uint64_t n_rewritten = 0;
    for (uint32_t k = 0; k * BLOCK_LEN < q->len; k++) {
        uint32_t block = block_index(v, q->piece, q->begin / BLOCK_LEN + k);
        n_rewritten += seen(v, block) == BLOCK_RIGHT;
        put_block(v, block, q->blocks[k]);
    }
    touch_files(v, q->piece, q->begin, q->len);
    return n_rewritten;
}

/* Half of it as it should be, the rest not: in a phantom the tag is neither. */
static void tear(struct disk_volume *v, uint32_t block)
{
    uint8_t core[BLOCK_LEN];
    uint32_t len = content_core_len(v->content, block_len(v, block));
    content_fill(v->content, block_off(block), 0, core, len);
    memset(core + len / 2, GARBAGE, len - len / 2);
    put_wrong(v, block, core);
    set_states(v, block, BLOCK_WRONG, BLOCK_WRONG);
}

uint64_t volume_write_part(struct disk_volume *v, const struct store_put *q, struct rng *rng)
{
    uint32_t n = (uint32_t)div_ceil(q->len, BLOCK_LEN), n_whole = rng_below(rng, n + 1);
    uint32_t first = block_index(v, q->piece, q->begin / BLOCK_LEN);
    for (uint32_t k = 0; k < n_whole; k++)
        put_block(v, first + k, q->blocks[k]);
    if (n_whole < n) {
        forget_wrong(v, first + n_whole);
        tear(v, first + n_whole);
    }
    uint32_t n_touched = n_whole < n ? n_whole + 1 : n;
    touch_files(v, q->piece, q->begin, (uint32_t)u64_min(q->len, (uint64_t)n_touched * BLOCK_LEN));
    return n_whole < n;
}

void volume_stat(const struct disk_volume *v, struct store_file_stat *out)
{
    memcpy(out, v->files, v->content->info->n_files * sizeof *out);
}

uint32_t volume_file_of(const struct disk_volume *v, uint32_t piece, uint32_t begin)
{
    struct layout_walk walk = layout_walk(volume_layout(v), piece, begin, 1);
    struct layout_run run = {0};
    (void)layout_walk_next(&walk, &run);
    return run.file;
}

/* --- what lasts ------------------------------------------------------------------------------ */

void volume_mark_sync(struct disk_volume *v, uint64_t job)
{
    assert(v->n_marks < VOLUME_MARKS_MAX);
    v->marks[v->n_marks++] = (struct volume_mark){job, v->n_synced + v->n_dirty};
}

/* Drops the mark and makes what it covers last. */
void volume_sync(struct disk_volume *v, uint64_t job)
{
    uint32_t i = 0;
    while (i < v->n_marks && v->marks[i].job != job)
        i++;
    assert(i < v->n_marks);
    uint64_t until = v->marks[i].until;
    v->marks[i] = v->marks[--v->n_marks];
    if (until <= v->n_synced)
        return;
    uint32_t n = (uint32_t)(until - v->n_synced);
    for (uint32_t k = 0; k < n; k++)
        set_states(v, v->dirty[k], seen(v, v->dirty[k]), seen(v, v->dirty[k]));
    memmove(v->dirty, v->dirty + n, (v->n_dirty - n) * sizeof *v->dirty);
    v->n_dirty -= n;
    v->n_synced += n;
    if (v->n_dirty == 0)
        memset(v->is_file_dirty, 0, v->content->info->n_files * sizeof *v->is_file_dirty);
}

void volume_forget_marks(struct disk_volume *v)
{
    v->n_marks = 0;
}

/* An older state of the block comes back; of wrong bytes that were synced only garbage is known. */
static void take_back(struct disk_volume *v, uint32_t block)
{
    forget_wrong(v, block);
    if (durable(v, block) == BLOCK_WRONG)
        tear(v, block);
    else
        set_states(v, block, durable(v, block), durable(v, block));
}

void volume_lose_power(struct disk_volume *v, struct rng *rng, struct disk_stats *stats)
{
    for (uint32_t i = 0; i < v->n_dirty; i++) {
        uint32_t block = v->dirty[i];
        switch (rng_below(rng, 3)) {
        case 0:
            take_back(v, block);
            stats->n_lost_blocks++;
            break;
        case 1:
            tear(v, block);
            stats->n_torn_blocks++;
            break;
        default:
            set_states(v, block, seen(v, block), seen(v, block));
            break;
        }
    }
    v->n_synced += v->n_dirty;
    v->n_dirty = 0;
    /* the time of a file that was being written may be the new one or not */
    for (uint32_t i = 0; i < v->content->info->n_files; i++)
        if (v->is_file_dirty[i] && rng_below(rng, 2))
            v->files[i].mtime_ns -= 1;
    memset(v->is_file_dirty, 0, v->content->info->n_files * sizeof *v->is_file_dirty);
}

/* --- truth ----------------------------------------------------------------------------------- */

bool volume_is_right(const struct disk_volume *v, uint32_t piece, uint32_t begin, uint32_t len)
{
    uint32_t end = (uint32_t)u64_min(begin + len, layout_piece_data_len(volume_layout(v), piece));
    for (uint32_t at = begin; at < end; at += BLOCK_LEN - at % BLOCK_LEN)
        if (seen(v, block_index(v, piece, at / BLOCK_LEN)) != BLOCK_RIGHT)
            return false;
    return true;
}

bool volume_is_durable(const struct disk_volume *v, uint32_t piece)
{
    for (uint32_t k = 0; k < layout_n_blocks(volume_layout(v), piece); k++)
        if (durable(v, block_index(v, piece, k)) != BLOCK_RIGHT)
            return false;
    return true;
}

uint64_t volume_fill(struct disk_volume *v)
{
    for (uint32_t i = 0; i < v->n_blocks; i++)
        if (block_len(v, i) > 0)
            set_states(v, i, BLOCK_RIGHT, BLOCK_RIGHT);
    return volume_allocate(v);
}

void volume_damage(struct disk_volume *v, uint32_t piece, uint32_t block, bool is_time_kept)
{
    uint32_t index = block_index(v, piece, block);
    uint32_t file = volume_file_of(v, piece, block * BLOCK_LEN);
    tear(v, index);
    if (!is_time_kept)
        v->files[file].mtime_ns += 1000000000u;
}
