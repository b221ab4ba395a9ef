#include "store/chain_files.h"
#include "base/map.h"
#include "crypto/random.h"
#include "crypto/sha.h"
#include <errno.h>
#include <limits.h>

#define NONE            UINT32_MAX
#define N_BLOCKS_MAX    (1u << 27) /* ours: more than this machine's lifetime of blocks */
#define RECORD_HEAD_LEN 8u
#define SYNC_EVERY      100000u /* index records between syncs while reindexing */

struct chain_files {
    struct mem mem;
    struct block_files *blocks;
    struct block_index *index;
    uint64_t n_data_lost, n_undo_lost;
};

static bool path_below(const char *dir, const char *name, char out[PATH_MAX], struct err *err)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    if (n > 0 && n < PATH_MAX)
        return true;
    err_set_at(err, ERR_IO, "the path is too long", 0, ENAMETOOLONG, 0);
    return false;
}

static enum err_code open_blocks(struct block_files **out, const struct chain_files_config *c,
                                 bool must_walk, struct err *err)
{
    char path[PATH_MAX];
    struct block_files_config blocks = {.dir = path,
                                        .file_len_max = c->file_len_max,
                                        .use_xor = c->use_xor,
                                        .must_walk = must_walk,
                                        .hook = c->hook};
    memcpy(blocks.magic, c->magic, sizeof blocks.magic);
    *out = NULL;
    return path_below(c->dir, "blocks", path, err) ? block_files_open(out, &blocks, err) : ERR_IO;
}

enum err_code chain_files_open(struct chain_files **out, const struct chain_files_config *c,
                               struct err *err)
{
    char path[PATH_MAX];
    struct chain_files *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f)
        return err_set(err, ERR_NO_MEMORY, "no memory for the chain's files");
    mem_init(&f->mem, MEM_NO_BUDGET, NULL);
    enum err_code code = open_blocks(&f->blocks, c, false, err);
    if (!code)
        code = path_below(c->dir, "index", path, err)
                   ? block_index_open_hooked(&f->index, path, c->hook, err)
                   : ERR_IO;
    if (code)
        chain_files_close(f);
    else
        *out = f;
    return code;
}

void chain_files_close(struct chain_files *f)
{
    if (!f)
        return;
    block_files_close(f->blocks);
    block_index_close(f->index);
    mem_check_empty(&f->mem);
    free(f);
}

/* --- the doors ------------------------------------------------------------------------------- */

static enum err_code put_block(void *ctx, struct bytes raw, uint32_t height, struct block_pos *out,
                               struct err *err)
{
    struct chain_files *f = ctx;
    return block_files_put_block(f->blocks, raw, height, out, err);
}

static enum err_code put_undo(void *ctx, uint32_t file, struct bytes undo,
                              const struct hash256 *prev, struct block_pos *out, struct err *err)
{
    struct chain_files *f = ctx;
    return block_files_put_undo(f->blocks, file, undo, prev, out, err);
}

static enum err_code read_block(void *ctx, struct block_pos at, struct buf *out, struct err *err)
{
    struct chain_files *f = ctx;
    return block_files_read_block(f->blocks, at, out, err);
}

static enum err_code read_undo(void *ctx, struct block_pos at, const struct hash256 *prev,
                               struct buf *out, struct err *err)
{
    struct chain_files *f = ctx;
    return block_files_read_undo(f->blocks, at, prev, out, err);
}

static enum err_code sync(void *ctx, struct err *err)
{
    struct chain_files *f = ctx;
    enum err_code code = block_files_sync(f->blocks, err);
    return code ? code : block_index_sync(f->index, err);
}

/* A million waiting records go to disk before the next one. */
static enum err_code put_record(void *ctx, const struct block_record *r, struct err *err)
{
    struct chain_files *f = ctx;
    enum err_code code = block_index_put(f->index, r, err);
    if (code != ERR_LIMIT)
        return code;
    code = sync(f, err);
    return code ? code : block_index_put(f->index, r, err);
}

struct loading {
    struct chain_files *f;
    bool (*each)(void *each_ctx, const struct block_record *r);
    void *each_ctx;
};

static bool load_one(void *ctx, const struct block_record *r)
{
    struct loading *l = ctx;
    struct block_record known = *r;
    if ((known.status & BLOCK_HAS_DATA) && !block_files_has(l->f->blocks, known.block, false)) {
        known.status &= ~(uint32_t)BLOCK_HAS_DATA;
        known.block = BLOCK_POS_NONE;
        l->f->n_data_lost++;
    }
    if ((known.status & BLOCK_HAS_UNDO) && !block_files_has(l->f->blocks, known.undo, true)) {
        known.status &= ~(uint32_t)BLOCK_HAS_UNDO;
        known.undo = BLOCK_POS_NONE;
        l->f->n_undo_lost++;
    }
    return l->each(l->each_ctx, &known);
}

static enum err_code load(void *ctx, bool (*each)(void *each_ctx, const struct block_record *r),
                          void *each_ctx, struct err *err)
{
    struct chain_files *f = ctx;
    struct loading l = {f, each, each_ctx};
    f->n_data_lost = f->n_undo_lost = 0;
    return block_index_load(f->index, load_one, &l, err);
}

static enum err_code prune(void *ctx, uint32_t below_height, uint64_t target_len,
                           uint32_t *out_first_kept, uint32_t *out_n_removed, struct err *err)
{
    struct chain_files *f = ctx;
    return block_files_prune(f->blocks, below_height, target_len, out_first_kept, out_n_removed,
                             err);
}

void chain_files_store(struct chain_files *f, struct chain_store *out)
{
    *out = (struct chain_store){
        .ctx = f,
        .put_block = put_block,
        .put_undo = put_undo,
        .read_block = read_block,
        .read_undo = read_undo,
        .put_record = put_record,
        .load = load,
        .sync = sync,
        .prune = prune,
    };
}

void chain_files_stats(const struct chain_files *f, struct chain_files_stats *out)
{
    *out = (struct chain_files_stats){
        .len = block_files_len(f->blocks),
        .written_len = block_files_written(f->blocks) + block_index_written(f->index),
        .n_data_lost = f->n_data_lost,
        .n_undo_lost = f->n_undo_lost,
        .n_torn = block_index_n_torn(f->index),
        .first_file = block_files_first(f->blocks),
        .last_file = block_files_last(f->blocks),
    };
}

/* --- reindex --------------------------------------------------------------------------------- */

/* A block found in the files. */
struct found {
    struct block_record record;
    struct hash256 hash;
    uint32_t first_child, next_sibling; /* NONE: none */
    uint32_t height;
};

struct rebuild {
    struct mem mem;
    struct reindex *r;
    struct block_files *blocks;
    struct block_index *index;
    struct found *found;
    size_t n, cap;
    struct map by_hash; /* hash -> number */
    uint32_t n_files;
    enum err_code code; /* why the walk was stopped */
};

static void header_of(struct bytes raw, struct block_header *out)
{
    struct reader r = reader_init(raw);
    out->version = (int32_t)reader_u32le(&r);
    reader_copy(&r, out->prev.b, sizeof out->prev.b);
    reader_copy(&r, out->merkle_root.b, sizeof out->merkle_root.b);
    out->time = reader_u32le(&r);
    out->bits = reader_u32le(&r);
    out->nonce = reader_u32le(&r);
}

static bool add_found(struct rebuild *b, const struct found *f)
{
    bool is_new;
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 1024;
        struct found *grown = mem_realloc(&b->mem, b->found, cap * sizeof *grown);
        if (!grown)
            return false;
        b->found = grown;
        b->cap = cap;
    }
    uint32_t *at = map_put(&b->by_hash, f->hash.b, &is_new);
    if (!at)
        return false;
    b->r->n_twice += !is_new;
    if (!is_new)
        return true;
    *at = (uint32_t)b->n;
    b->found[b->n++] = *f;
    return true;
}

static bool take_block(void *ctx, struct bytes raw, struct block_pos at)
{
    struct rebuild *b = ctx;
    struct found f = {.first_child = NONE, .next_sibling = NONE};
    f.record = (struct block_record){.n_txs = 1,
                                     .status = BLOCK_HAS_DATA,
                                     .block = at,
                                     .undo = BLOCK_POS_NONE,
                                     .sequence = b->n + 1};
    if (b->r->progress && b->n % 1024 == 0 &&
        !b->r->progress(b->r->ctx, at.file, b->n_files, b->n)) {
        b->code = ERR_CANCELLED;
        return false;
    }
    if (b->r->check && !b->r->check(b->r->ctx, raw, &f.record.n_txs)) {
        if (b->r->damaged)
            b->r->damaged(b->r->ctx, at.file, at.off, at.len);
        return true;
    }
    header_of(raw, &f.record.header);
    sha256(bytes_of(raw.data, BLOCK_HEADER_LEN), f.hash.b);
    sha256(bytes_of(f.hash.b, sizeof f.hash.b), f.hash.b);
    if (!add_found(b, &f))
        b->code = ERR_NO_MEMORY;
    return !b->code;
}

static enum err_code walk_files(struct rebuild *b, struct err *err)
{
    uint32_t first = block_files_first(b->blocks), last = block_files_last(b->blocks);
    b->n_files = last - first + 1;
    for (uint32_t file = first; file <= last; file++) {
        uint64_t skipped;
        enum err_code code = block_files_walk(b->blocks, file, take_block, b, &skipped, err);
        if (code == ERR_CANCELLED && b->code)
            return err_set(err, b->code,
                           b->code == ERR_NO_MEMORY ? "no memory for the list of blocks"
                                                    : "reindex was stopped");
        if (code && code != ERR_NOT_FOUND)
            return code;
        if (!code && skipped && b->r->damaged)
            b->r->damaged(b->r->ctx, file, UINT32_MAX, skipped);
    }
    return ERR_OK;
}

/* Every block onto its parent's list of children. */
static void link_children(struct rebuild *b)
{
    for (size_t i = b->n; i-- > 0;) {
        const uint32_t *parent = map_get(&b->by_hash, b->found[i].record.header.prev.b);
        if (!parent)
            continue;
        b->found[i].next_sibling = b->found[*parent].first_child;
        b->found[*parent].first_child = (uint32_t)i;
    }
}

static enum err_code index_one(struct rebuild *b, const struct found *f, struct err *err)
{
    block_files_note_height(b->blocks, f->record.block.file, f->height);
    b->r->n_blocks++;
    enum err_code code = block_index_put(b->index, &f->record, err);
    if (!code && b->r->n_blocks % SYNC_EVERY == 0)
        code = block_index_sync(b->index, err);
    return code;
}

/* From genesis down the tree; the list of those to visit is threaded through their siblings. */
static enum err_code index_tree(struct rebuild *b, struct err *err)
{
    uint32_t *root = map_get(&b->by_hash, b->r->genesis.b);
    uint32_t *todo = mem_alloc(&b->mem, (b->n + 1) * sizeof *todo);
    size_t n_todo = 0;
    enum err_code code = ERR_OK;
    if (!todo)
        return err_set(err, ERR_NO_MEMORY, "no memory to order the blocks");
    if (root)
        todo[n_todo++] = *root;
    while (n_todo > 0 && !code) {
        const struct found *f = &b->found[todo[--n_todo]];
        code = index_one(b, f, err);
        for (uint32_t c = f->first_child; c != NONE; c = b->found[c].next_sibling) {
            b->found[c].height = f->height + 1;
            todo[n_todo++] = c;
        }
    }
    mem_free(&b->mem, todo);
    b->r->n_orphans = b->n - b->r->n_blocks;
    return code;
}

static enum err_code open_index_anew(struct rebuild *b, const struct chain_files_config *c,
                                     struct err *err)
{
    char path[PATH_MAX];
    struct disk d;
    if (!path_below(c->dir, "index", path, err))
        return ERR_IO;
    enum err_code code = disk_open(&d, path, c->hook, err);
    if (!code)
        code = disk_remove(&d, "index.log", err);
    if (!code)
        code = disk_sync_dir(&d, err);
    disk_close(&d);
    if (!code)
        code = block_index_open_hooked(&b->index, path, c->hook, err);
    return code;
}

static bool ignore_record(void *ctx, const struct block_record *r)
{
    (void)ctx;
    (void)r;
    return true;
}

static enum err_code rebuild_all(struct rebuild *b, const struct chain_files_config *c,
                                 struct err *err)
{
    /* files.log goes first and comes back last: in between only another reindex opens the folder. */
    enum err_code code = open_blocks(&b->blocks, c, true, err);
    if (!code)
        code = open_index_anew(b, c, err);
    if (!code)
        code = block_index_load(b->index, ignore_record, NULL, err);
    if (!code)
        code = block_files_drop_undo(b->blocks, err);
    if (!code)
        code = walk_files(b, err);
    if (code)
        return code;
    link_children(b);
    code = index_tree(b, err);
    if (!code)
        code = block_index_sync(b->index, err);
    return code ? code : block_files_sync(b->blocks, err);
}

enum err_code chain_files_reindex(const struct chain_files_config *c, struct reindex *r,
                                  struct err *err)
{
    struct rebuild b = {.r = r};
    mem_init(&b.mem, MEM_NO_BUDGET, NULL);
    map_init(&b.by_hash, &b.mem, (struct map_seed){random_u64(), random_u64()},
             sizeof(struct hash256), sizeof(uint32_t), N_BLOCKS_MAX);
    r->n_blocks = r->n_twice = r->n_orphans = 0;
    enum err_code code = rebuild_all(&b, c, err);
    block_files_close(b.blocks);
    block_index_close(b.index);
    map_clear(&b.by_hash);
    mem_free(&b.mem, b.found);
    return code;
}
