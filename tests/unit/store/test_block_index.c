#include "test_util.h"

#include "base/rng.h"
#include "crypto/sha.h"
#include "disk_fault.h"
#include "store/block_index.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_MAX 20000u

struct world {
    char dir[TEST_PATH_CAP];
    struct block_index *index;
    struct block_record *seen;
    size_t n_seen;
    struct fault fault;
    struct disk_hook hook;
    struct err err;
};

static bool see(void *ctx, const struct block_record *r)
{
    struct world *w = ctx;
    assert_true(w->n_seen < N_MAX);
    w->seen[w->n_seen++] = *r;
    return true;
}

static enum err_code reopen(struct world *w)
{
    block_index_close(w->index);
    w->index = NULL;
    w->n_seen = 0;
    enum err_code code = block_index_open_hooked(&w->index, w->dir, &w->hook, &w->err);
    return code ? code : block_index_load(w->index, see, w, &w->err);
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof *w);
    w->seen = calloc(N_MAX, sizeof *w->seen);
    test_temp_dir(w->dir);
    w->hook = (struct disk_hook){&w->fault, fault_before};
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(w->n_seen, 0);
    return w;
}

static void world_free(struct world *w)
{
    block_index_close(w->index);
    test_remove_dir(w->dir);
    free(w->seen);
    free(w);
}

static void hash_of(const struct block_header *h, struct hash256 *out)
{
    uint8_t raw[BLOCK_HEADER_LEN];
    struct writer w = writer_init(raw, sizeof raw);
    writer_u32le(&w, (uint32_t)h->version);
    writer_put(&w, bytes_of(h->prev.b, 32));
    writer_put(&w, bytes_of(h->merkle_root.b, 32));
    writer_u32le(&w, h->time);
    writer_u32le(&w, h->bits);
    writer_u32le(&w, h->nonce);
    sha256(bytes_of(raw, sizeof raw), out->b);
    sha256(bytes_of(out->b, 32), out->b);
}

/* A block on prev; every field its own. */
static struct block_record made(uint32_t n, const struct hash256 *prev)
{
    struct block_record r;
    struct rng rng;
    rng_init(&rng, n);
    rng_fill(&rng, &r, sizeof r);
    r.header.prev = *prev;
    r.header.nonce = n;
    r.sequence = n;
    return r;
}

static void assert_same(const struct block_record *a, const struct block_record *b)
{
    assert_int_equal(a->header.version, b->header.version);
    assert_memory_equal(a->header.prev.b, b->header.prev.b, 32);
    assert_memory_equal(a->header.merkle_root.b, b->header.merkle_root.b, 32);
    assert_int_equal(a->header.time, b->header.time);
    assert_int_equal(a->header.bits, b->header.bits);
    assert_int_equal(a->header.nonce, b->header.nonce);
    assert_int_equal(a->n_txs, b->n_txs);
    assert_int_equal(a->status, b->status);
    assert_memory_equal(&a->block, &b->block, sizeof a->block);
    assert_memory_equal(&a->undo, &b->undo, sizeof a->undo);
    assert_int_equal(a->sequence, b->sequence);
}

static enum err_code put(struct world *w, const struct block_record *r)
{
    return block_index_put(w->index, r, &w->err);
}

static void the_last_record_of_a_block_counts(void **state)
{
    struct world *w = world_new();
    struct hash256 prev = {{0}};
    struct block_record a = made(1, &prev), b;
    (void)state;
    hash_of(&a.header, &prev);
    b = made(2, &prev);
    assert_int_equal(put(w, &a), ERR_OK);
    assert_int_equal(put(w, &b), ERR_OK);
    a.status = 77;
    assert_int_equal(put(w, &a), ERR_OK); /* before the sync */
    assert_int_equal(block_index_sync(w->index, &w->err), ERR_OK);
    uint64_t written = block_index_written(w->index);
    assert_int_equal(written, 32 + 2 * 132 + 16); /* head, two records (not three), mark */
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(w->n_seen, 2);
    assert_same(&w->seen[0], &a);
    assert_same(&w->seen[1], &b);
    b.n_txs = 5;
    assert_int_equal(put(w, &b), ERR_OK); /* after it */
    assert_int_equal(block_index_sync(w->index, &w->err), ERR_OK);
    assert_int_equal(put(w, &a), ERR_OK); /* never synced */
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(w->n_seen, 2);
    assert_same(&w->seen[1], &b);
    world_free(w);
}

/* However they were put, parents come first. */
static void parents_come_before_children(void **state)
{
    enum { N = 300 };
    struct world *w = world_new();
    struct block_record records[N];
    struct hash256 hashes[N];
    uint32_t order[N];
    struct rng rng;
    (void)state;
    rng_init(&rng, 3);
    for (uint32_t i = 0; i < N; i++) {
        struct hash256 none = {{9}};
        records[i] = made(i, i % 50 == 0 ? &none : &hashes[i - 1 - rng_below(&rng, i % 50)]);
        hash_of(&records[i].header, &hashes[i]);
        order[i] = i;
    }
    rng_shuffle_u32(&rng, order, N);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(put(w, &records[order[i]]), ERR_OK);
    assert_int_equal(block_index_sync(w->index, &w->err), ERR_OK);
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(w->n_seen, N);
    bool is_seen[N] = {false};
    for (uint32_t i = 0; i < N; i++) {
        uint32_t n = w->seen[i].header.nonce;
        assert_same(&w->seen[i], &records[n]);
        assert_false(is_seen[n]);
        is_seen[n] = true;
        for (uint32_t p = 0; p < N; p++)
            if (hash256_equal(&hashes[p], &records[n].header.prev))
                assert_true(is_seen[p]);
    }
    world_free(w);
}

static void a_long_log_is_compacted(void **state)
{
    struct world *w = world_new();
    struct hash256 prev = {{0}};
    char path[TEST_PATH_CAP];
    struct stat before, after;
    (void)state;
    for (uint32_t round = 0; round < 5; round++) {
        memset(&prev, 0, sizeof prev);
        for (uint32_t i = 0; i < 2000; i++) {
            struct block_record r = made(i, &prev);
            hash_of(&r.header, &prev);
            r.status = round;
            assert_int_equal(put(w, &r), ERR_OK);
        }
        assert_int_equal(block_index_sync(w->index, &w->err), ERR_OK);
    }
    test_join(path, w->dir, "index.log");
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_size, 32 + 132 * 10000);
    assert_int_equal(after.st_size, 32 + 132 * 2000);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(w->n_seen, 2000);
        for (uint32_t i = 0; i < 2000; i++) {
            assert_int_equal(w->seen[i].header.nonce, i);
            assert_int_equal(w->seen[i].status, 4);
        }
        assert_int_equal(reopen(w), ERR_OK);
    }
    world_free(w);
}

/* The disk fails at each operation of two syncs and a compaction: what was synced is there. */
static void what_was_synced_survives_each_failure(void **state)
{
    (void)state;
    for (uint64_t fail_at = 1;; fail_at++) {
        struct world *w = world_new();
        struct hash256 prev = {{0}};
        size_t n_synced = 0;
        w->fault = (struct fault){.fail_at = fail_at, .cut_len = fail_at * 37 % 200};
        for (uint32_t i = 0; i < 6; i++) {
            struct block_record r = made(i, &prev);
            hash_of(&r.header, &prev);
            assert_int_equal(put(w, &r), ERR_OK);
            if (i % 2 == 1 && !block_index_sync(w->index, &w->err))
                n_synced = i + 1;
        }
        bool is_hit = w->fault.n >= fail_at;
        w->fault = (struct fault){0};
        assert_int_equal(reopen(w), ERR_OK);
        assert_true(w->n_seen >= n_synced);
        for (uint32_t i = 0; i < w->n_seen; i++)
            assert_int_equal(w->seen[i].header.nonce, i);
        world_free(w);
        if (!is_hit)
            break;
    }
}

static bool stop(void *ctx, const struct block_record *r)
{
    (void)ctx;
    (void)r;
    return false;
}

static void loading_can_be_stopped(void **state)
{
    struct world *w = world_new();
    struct hash256 none = {{0}};
    struct block_record r = made(1, &none);
    (void)state;
    assert_int_equal(put(w, &r), ERR_OK);
    assert_int_equal(block_index_sync(w->index, &w->err), ERR_OK);
    assert_int_equal(block_index_load(w->index, stop, NULL, &w->err), ERR_CANCELLED);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_record_of_a_block_counts),
        cmocka_unit_test(parents_come_before_children),
        cmocka_unit_test(a_long_log_is_compacted),
        cmocka_unit_test(what_was_synced_survives_each_failure),
        cmocka_unit_test(loading_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
