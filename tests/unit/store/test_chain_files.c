#include "test_util.h"

#include "base/rng.h"
#include "crypto/sha.h"
#include "disk_fault.h"
#include "store/chain_files.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define N_BLOCKS  40u
#define BLOCK_LEN 300u

struct world {
    char dir[TEST_PATH_CAP];
    struct chain_files *files;
    struct chain_files_config config;
    struct chain_store store;
    struct fault death;
    struct disk_hook hook;
    struct err err;
    struct mem mem;
    struct buf buf;
    uint8_t raw[N_BLOCKS][BLOCK_LEN];
    struct hash256 hashes[N_BLOCKS];
    struct block_record seen[N_BLOCKS + 1];
    size_t n_seen;
    uint64_t damaged_len;
    uint32_t damaged_file, damaged_off;
};

static bool see(void *ctx, const struct block_record *r)
{
    struct world *w = ctx;
    assert_true(w->n_seen <= N_BLOCKS);
    w->seen[w->n_seen++] = *r;
    return true;
}

static enum err_code reopen(struct world *w)
{
    chain_files_close(w->files);
    w->files = NULL;
    w->n_seen = 0;
    enum err_code code = chain_files_open(&w->files, &w->config, &w->err);
    if (code)
        return code;
    chain_files_store(w->files, &w->store);
    return w->store.load(w->store.ctx, see, w, &w->err);
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof *w);
    struct rng rng;
    test_temp_dir(w->dir);
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    buf_init(&w->buf, &w->mem, 1u << 20);
    w->hook = (struct disk_hook){&w->death, fault_before};
    w->config = (struct chain_files_config){.dir = w->dir,
                                            .magic = {0xfa, 0xbf, 0xb5, 0xda},
                                            .file_len_max = 2000,
                                            .use_xor = true,
                                            .hook = &w->hook};
    rng_init(&rng, 4);
    for (uint32_t i = 0; i < N_BLOCKS; i++) { /* every fifth is on its grandparent */
        rng_fill(&rng, w->raw[i], BLOCK_LEN);
        if (i > 0)
            memcpy(w->raw[i] + 4, w->hashes[i - 1 - (i > 2 && i % 5 == 0)].b, 32);
        sha256(bytes_of(w->raw[i], BLOCK_HEADER_LEN), w->hashes[i].b);
        sha256(bytes_of(w->hashes[i].b, 32), w->hashes[i].b);
    }
    assert_int_equal(reopen(w), ERR_OK);
    return w;
}

static void world_free(struct world *w)
{
    chain_files_close(w->files);
    buf_clear(&w->buf);
    test_remove_dir(w->dir);
    free(w);
}

static void record_of(const struct world *w, uint32_t i, struct block_record *out)
{
    struct reader r = reader_init(bytes_of(w->raw[i], BLOCK_HEADER_LEN));
    *out = (struct block_record){.n_txs = 1, .sequence = i, .undo = BLOCK_POS_NONE};
    out->header.version = (int32_t)reader_u32le(&r);
    reader_copy(&r, out->header.prev.b, 32);
    reader_copy(&r, out->header.merkle_root.b, 32);
    out->header.time = reader_u32le(&r);
    out->header.bits = reader_u32le(&r);
    out->header.nonce = reader_u32le(&r);
}

static enum err_code put(struct world *w, uint32_t i, bool with_undo)
{
    const struct chain_store *s = &w->store;
    struct block_record r;
    record_of(w, i, &r);
    enum err_code code = s->put_block(s->ctx, bytes_of(w->raw[i], BLOCK_LEN), i, &r.block, &w->err);
    r.status |= BLOCK_HAS_DATA;
    if (!code && with_undo) {
        code = s->put_undo(s->ctx, r.block.file, bytes_of(w->raw[i], 90), &r.header.prev, &r.undo,
                           &w->err);
        r.status |= BLOCK_HAS_UNDO | BLOCK_IS_VALID;
    }
    return code ? code : s->put_record(s->ctx, &r, &w->err);
}

/* Everything a record names is there. Returns how many blocks have data. */
static uint32_t check_all(struct world *w)
{
    uint32_t n = 0;
    for (size_t i = 0; i < w->n_seen; i++) {
        const struct block_record *r = &w->seen[i];
        if (r->status & BLOCK_HAS_DATA) {
            assert_int_equal(w->store.read_block(w->store.ctx, r->block, &w->buf, &w->err), ERR_OK);
            assert_memory_equal(w->buf.data + 4, r->header.prev.b, 32);
            assert_memory_equal(w->buf.data + 36, r->header.merkle_root.b, 32);
            n++;
        }
        if (r->status & BLOCK_HAS_UNDO) {
            assert_int_equal(
                w->store.read_undo(w->store.ctx, r->undo, &r->header.prev, &w->buf, &w->err),
                ERR_OK);
            assert_memory_equal(w->buf.data + 4, r->header.prev.b, 32);
        }
    }
    return n;
}

static void fill(struct world *w)
{
    for (uint32_t i = 0; i < N_BLOCKS; i++)
        assert_int_equal(put(w, i, true), ERR_OK);
    assert_int_equal(w->store.sync(w->store.ctx, &w->err), ERR_OK);
}

static void what_was_synced_is_there(void **state)
{
    struct world *w = world_new();
    struct chain_files_stats stats;
    (void)state;
    fill(w);
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(w->n_seen, N_BLOCKS);
    assert_int_equal(check_all(w), N_BLOCKS);
    chain_files_stats(w->files, &stats);
    assert_int_equal(stats.n_data_lost + stats.n_undo_lost + stats.n_torn, 0);
    assert_true(stats.last_file > 5);
    world_free(w);
}

/* The process ends at every operation of storing and syncing in three parts: what the index names
 * afterwards is there, what was synced is in it, and the rest can be stored again. */
static void death_at_each_operation(void **state)
{
    (void)state;
    for (uint64_t at = 1;; at++) {
        struct world *w = world_new();
        uint32_t n_synced = 0;
        w->death = (struct fault){
            .fail_at = at, .cut_len = at * 41 % 320, .err_no = EIO, .is_for_good = true};
        for (uint32_t i = 0; i < N_BLOCKS && w->death.n < at; i++) {
            if (put(w, i, i % 3 == 0))
                break;
            if (i % 13 == 12 && !w->store.sync(w->store.ctx, &w->err))
                n_synced = i + 1;
        }
        bool is_hit = w->death.n >= at;
        w->death = (struct fault){0};
        assert_int_equal(reopen(w), ERR_OK);
        assert_true(w->n_seen >= n_synced);
        assert_int_equal(check_all(w), w->n_seen);
        for (uint32_t i = (uint32_t)w->n_seen; i < N_BLOCKS; i++)
            assert_int_equal(put(w, i, true), ERR_OK);
        assert_int_equal(w->store.sync(w->store.ctx, &w->err), ERR_OK);
        assert_int_equal(reopen(w), ERR_OK);
        assert_int_equal(check_all(w), N_BLOCKS);
        world_free(w);
        if (!is_hit)
            break;
    }
}

static void files_taken_away_are_noticed(void **state)
{
    struct world *w = world_new();
    struct chain_files_stats stats;
    char path[TEST_PATH_CAP];
    uint32_t first, n;
    (void)state;
    fill(w);
    assert_int_equal(w->store.prune(w->store.ctx, 20, 0, &first, &n, &w->err), ERR_OK);
    assert_int_equal(n, first);
    test_join(path, w->dir, "blocks/rev00005.dat");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(reopen(w), ERR_OK); /* the index was not told of either */
    assert_int_equal(w->n_seen, N_BLOCKS);
    uint32_t n_left = check_all(w);
    chain_files_stats(w->files, &stats);
    assert_true(n_left < N_BLOCKS);
    assert_int_equal(stats.n_data_lost, N_BLOCKS - n_left);
    assert_int_equal(stats.n_undo_lost, stats.n_data_lost + 6); /* blocks in one file */
    assert_int_equal(stats.first_file, first);
    world_free(w);
}

static void note_damage(void *ctx, uint32_t file, uint32_t off, uint64_t len)
{
    struct world *w = ctx;
    w->damaged_file = file;
    w->damaged_off = off;
    w->damaged_len += len;
}

static bool check_not_17(void *ctx, struct bytes raw, uint32_t *out_n_txs)
{
    struct world *w = ctx;
    *out_n_txs = 3;
    return memcmp(raw.data, w->raw[17], BLOCK_LEN) != 0;
}

static void reindexing_finds_every_block(void **state)
{
    struct world *w = world_new();
    struct reindex r = {.ctx = w, .genesis = w->hashes[0], .damaged = note_damage};
    char path[TEST_PATH_CAP];
    (void)state;
    /* In any order, one twice. */
    for (uint32_t i = 0; i < N_BLOCKS; i++)
        assert_int_equal(put(w, i * 7 % N_BLOCKS, true), ERR_OK);
    assert_int_equal(put(w, 3, true), ERR_OK);
    assert_int_equal(w->store.sync(w->store.ctx, &w->err), ERR_OK);
    chain_files_close(w->files);
    w->files = NULL;
    assert_int_equal(chain_files_reindex(&w->config, &r, &w->err), ERR_OK);
    assert_int_equal(r.n_blocks, N_BLOCKS);
    assert_int_equal(r.n_twice, 1);
    assert_int_equal(r.n_orphans, 0);
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(w->n_seen, N_BLOCKS);
    assert_int_equal(check_all(w), N_BLOCKS);
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        assert_int_equal(w->seen[i].status, BLOCK_HAS_DATA);
        assert_int_equal(w->seen[i].undo.file, UINT32_MAX);
    }
    /* Another block is refused: those that need it are orphans, and it can be stored again. */
    chain_files_close(w->files);
    w->files = NULL;
    r.check = check_not_17;
    assert_int_equal(chain_files_reindex(&w->config, &r, &w->err), ERR_OK);
    assert_int_equal(r.n_blocks, 17);
    assert_int_equal(r.n_orphans, N_BLOCKS - 18);
    assert_int_equal(w->damaged_len, BLOCK_LEN);
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(w->n_seen, 17);
    assert_int_equal(w->seen[0].n_txs, 3);
    assert_int_equal(put(w, 17, true), ERR_OK);
    assert_int_equal(w->store.sync(w->store.ctx, &w->err), ERR_OK);
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(check_all(w), 18);
    /* files.log lost: nothing goes until it is found out again. */
    test_join(path, w->dir, "blocks/files.log");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(reopen(w), ERR_MALFORMED);
    r.check = NULL;
    assert_int_equal(chain_files_reindex(&w->config, &r, &w->err), ERR_OK);
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(check_all(w), N_BLOCKS);
    world_free(w);
}

/* The process ends at each operation of a reindex: the next one comes to the same. */
static void death_while_reindexing(void **state)
{
    struct world *w = world_new();
    struct reindex r = {.ctx = w, .genesis = w->hashes[0]};
    (void)state;
    fill(w);
    chain_files_close(w->files);
    w->files = NULL;
    for (uint64_t at = 1;; at++) {
        w->death = (struct fault){
            .fail_at = at, .cut_len = at * 41 % 320, .err_no = EIO, .is_for_good = true};
        enum err_code code = chain_files_reindex(&w->config, &r, &w->err);
        bool is_hit = w->death.n >= at;
        w->death = (struct fault){0};
        if (!is_hit) {
            assert_int_equal(code, ERR_OK);
            break;
        }
        enum err_code opened = reopen(w);
        if (opened)
            assert_int_equal(opened, ERR_MALFORMED);
        else
            assert_int_equal(check_all(w), N_BLOCKS);
        chain_files_close(w->files);
        w->files = NULL;
        assert_int_equal(chain_files_reindex(&w->config, &r, &w->err), ERR_OK);
        assert_int_equal(r.n_blocks, N_BLOCKS);
    }
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(check_all(w), N_BLOCKS);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_synced_is_there),
        cmocka_unit_test(death_at_each_operation),
        cmocka_unit_test(files_taken_away_are_noticed),
        cmocka_unit_test(reindexing_finds_every_block),
        cmocka_unit_test(death_while_reindexing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
