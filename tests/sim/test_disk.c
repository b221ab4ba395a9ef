/* Simulated content and disk: every kind of torrent reads back as itself, right and wrong bytes are
 * told apart, faults strike as planned, and a crash leaves what it may. */
#include "sim/disk.h"
#include "torrent/merkle.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PIECE_LEN 65536u

struct lab {
    struct mem mem;
    struct world w;
    struct disk d;
    struct content *c;
    uint64_t next_job;
    uint64_t n_done;
    struct err last;
    struct store_file_stat files[64];
};

static void on_done(void *ctx, uint64_t job, const struct err *err)
{
    struct lab *l = ctx;
    assert_true(job < l->next_job);
    l->n_done++;
    l->last = *err;
}

static struct lab *lab_new(const struct content_params *p, const struct disk_params *dp,
                           uint64_t rng_seed)
{
    struct lab *l = calloc(1, sizeof *l);
    struct err err = {0};
    mem_init(&l->mem, MEM_NO_BUDGET, NULL);
    world_init(&l->w, &l->mem, rng_seed);
    disk_init(&l->d, &l->w, 0, dp);
    disk_attach(&l->d, on_done, l);
    if (content_new(&l->c, &l->mem, p, &err))
        fail_msg("content: %s at %llu", err.what, (unsigned long long)err.at);
    return l;
}

static void lab_free(struct lab *l)
{
    disk_clear(&l->d);
    content_free(l->c);
    world_clear(&l->w);
    mem_check_empty(&l->mem);
    free(l);
}

static enum err_code lab_wait(struct lab *l)
{
    uint64_t n = l->n_done;
    while (l->n_done == n)
        assert_true(world_step(&l->w));
    return l->last.code;
}

static enum err_code lab_open(struct lab *l)
{
    struct store_open q = {.info = l->c->info, .files = l->files};
    disk_store_open(&l->d, l->next_job++, &q, l->c);
    return lab_wait(l);
}

/* A piece with its blocks, as the engine would have it. */
struct lab_piece {
    struct store_put q;
    struct sha1_state v1;
    uint8_t data[PIECE_LEN];
    const uint8_t *blocks[PIECE_LEN / BLOCK_LEN];
    uint8_t leaves[PIECE_LEN / BLOCK_LEN][SHA256_LEN];
};

static void piece_init(struct lab *l, struct lab_piece *p, uint32_t piece, uint8_t variant)
{
    const struct metainfo *info = l->c->info;
    uint32_t len = layout_piece_data_len(&info->layout, piece);
    *p = (struct lab_piece){.q = {.piece = piece, .len = len, .blocks = p->blocks}};
    content_fill(l->c, (uint64_t)piece * PIECE_LEN, variant, p->data, len);
    for (uint32_t k = 0; k < PIECE_LEN / BLOCK_LEN; k++)
        p->blocks[k] = p->data + (size_t)k * BLOCK_LEN;
    sha1_init(&p->v1);
    p->q.v1 = info->has_v1 ? &p->v1 : NULL;
    p->q.v1_last = true;
    p->q.v1_zeros = layout_piece_len(&info->layout, piece) - len;
    if (info->has_v1)
        memcpy(p->q.v1_want, metainfo_v1_piece_hash(info, piece), SHA1_LEN);
    p->q.v2_leaves = info->has_v2 ? p->leaves : NULL;
}

static enum err_code piece_put(struct lab *l, struct lab_piece *p)
{
    disk_store_put(&l->d, l->next_job++, &p->q);
    return lab_wait(l);
}

/* The leaves of a v2 piece against the torrent's own hashes. */
static void check_v2(struct lab *l, uint32_t piece, const uint8_t *leaves)
{
    const struct metainfo *info = l->c->info;
    uint32_t file, index;
    struct merkle_shape shape;
    uint8_t root[SHA256_LEN];
    if (!info->has_v2 || !layout_piece_file(&info->layout, piece, &file, &index))
        return;
    assert_true(merkle_shape_of(info->files[file].len, PIECE_LEN, &shape));
    merkle_piece_root(&shape, leaves, layout_n_blocks(&info->layout, piece), root);
    assert_memory_equal(root, metainfo_v2_piece_hash(info, piece), SHA256_LEN);
}

static void check_piece(struct lab *l, uint32_t piece)
{
    const struct metainfo *info = l->c->info;
    uint8_t leaves[PIECE_LEN / BLOCK_LEN][SHA256_LEN];
    struct store_check q = {
        .piece = piece, .want_v1 = info->has_v1, .v2_leaves = info->has_v2 ? leaves : NULL};
    disk_store_check(&l->d, l->next_job++, &q);
    assert_int_equal(lab_wait(l), ERR_OK);
    assert_false(q.is_missing);
    if (info->has_v1)
        assert_memory_equal(q.v1_digest, metainfo_v1_piece_hash(info, piece), SHA1_LEN);
    check_v2(l, piece, leaves[0]);
}

static void test_every_kind_writes_and_reads_back(void **state)
{
    (void)state;
    for (int i = 0; i < 18; i++) {
        struct content_params p = {.name = "kind",
                                   .len = 1000001,
                                   .piece_len = PIECE_LEN,
                                   .n_files = i % 3 == 0 ? 1 : 7 * (uint32_t)(i % 3),
                                   .version = (enum content_version)(1 + i / 3 % 3),
                                   .is_phantom = i >= 9,
                                   .key = 99};
        struct lab *l = lab_new(&p, &(struct disk_params){.latency_us = 100}, 1);
        struct lab_piece piece;
        assert_int_equal(lab_open(l), ERR_OK);
        assert_false(l->files[0].exists);
        for (uint32_t k = 0; k < l->c->info->n_pieces; k++) {
            piece_init(l, &piece, k, 0);
            assert_int_equal(piece_put(l, &piece), ERR_OK);
            assert_true(piece.q.is_written && !piece.q.is_bad);
            check_v2(l, k, piece.leaves[0]);
            check_piece(l, k);
            assert_true(disk_piece_is_right(&l->d, l->c, k));
            assert_false(disk_piece_is_durable(&l->d, l->c, k));
        }
        disk_store_sync(&l->d, l->next_job++, 0);
        assert_int_equal(lab_wait(l), ERR_OK);
        assert_true(disk_piece_is_durable(&l->d, l->c, 3));
        lab_free(l);
    }
}

static void test_wrong_bytes_are_seen_and_kept(void **state)
{
    (void)state;
    struct content_params p = {
        .name = "wrong", .len = 300000, .piece_len = PIECE_LEN, .version = CONTENT_V1, .key = 5};
    struct lab *l = lab_new(&p, &(struct disk_params){0}, 1);
    struct lab_piece piece;
    assert_int_equal(lab_open(l), ERR_OK);
    piece_init(l, &piece, 1, 0);
    piece.data[BLOCK_LEN + 3] ^= 1;
    assert_int_equal(piece_put(l, &piece), ERR_OK);
    assert_true(piece.q.is_bad && !piece.q.is_written);
    /* a run that does not end the piece is written before its hash is known */
    piece_init(l, &piece, 1, 0);
    piece.data[BLOCK_LEN + 3] ^= 1;
    piece.q.len = 2 * BLOCK_LEN;
    piece.q.v1_last = false;
    assert_int_equal(piece_put(l, &piece), ERR_OK);
    assert_true(piece.q.is_written);
    assert_false(disk_piece_is_right(&l->d, l->c, 1));
    uint8_t back[2 * BLOCK_LEN];
    struct store_read read = {.piece = 1, .len = sizeof back, .out = back};
    disk_store_read(&l->d, l->next_job++, &read);
    assert_int_equal(lab_wait(l), ERR_OK);
    assert_memory_equal(back, piece.data, sizeof back);
    struct store_check check = {.piece = 1, .want_v1 = true};
    disk_store_check(&l->d, l->next_job++, &check);
    assert_int_equal(lab_wait(l), ERR_OK);
    assert_true(check.is_missing); /* the file ends inside the piece */
    piece_init(l, &piece, 1, 0);
    assert_int_equal(piece_put(l, &piece), ERR_OK);
    assert_true(disk_piece_is_right(&l->d, l->c, 1));
    check_piece(l, 1);
    lab_free(l);
}

static void test_faults_strike_as_planned(void **state)
{
    (void)state;
    struct content_params p = {
        .name = "faults", .len = 600000, .piece_len = PIECE_LEN, .version = CONTENT_V1, .key = 5};
    struct lab *l = lab_new(&p, &(struct disk_params){.cap_len = 5 * PIECE_LEN}, 1);
    struct lab_piece piece;
    assert_int_equal(lab_open(l), ERR_OK);
    disk_plan_fault(&l->d, DISK_WRITE, 1, EIO, false);
    for (uint32_t k = 0; k < 3; k++) {
        piece_init(l, &piece, k, 0);
        assert_int_equal(piece_put(l, &piece), k == 1 ? ERR_IO : ERR_OK);
        assert_int_equal(l->last.got, k == 1 ? EIO : 0);
        assert_int_equal(piece.q.is_written, k != 1);
    }
    for (uint32_t k = 3; k < 8; k++) {
        piece_init(l, &piece, k == 3 ? 1 : k, 0); /* the one that failed, again */
        assert_int_equal(piece_put(l, &piece), k < 6 ? ERR_OK : ERR_IO);
        assert_int_equal(l->last.got, k < 6 ? 0 : ENOSPC);
    }
    disk_plan_fault(&l->d, DISK_SYNC, 0, EIO, true);
    for (int i = 0; i < 2; i++) {
        disk_store_sync(&l->d, l->next_job++, 0);
        assert_int_equal(lab_wait(l), ERR_IO);
    }
    assert_false(disk_piece_is_durable(&l->d, l->c, 0));
    struct err err = {0};
    assert_int_equal(disk_send(&l->d, 0, 0, 0, BLOCK_LEN, &err), DISK_RIGHT);
    assert_int_equal(disk_send(&l->d, 0, 8, 0, BLOCK_LEN, &err), DISK_NOT_RIGHT);
    disk_plan_fault(&l->d, DISK_READ, 0, EIO, false);
    assert_int_equal(disk_send(&l->d, 0, 0, 0, BLOCK_LEN, &err), DISK_FAILED);
    assert_int_equal(err.code, ERR_IO);
    lab_free(l);
}

/* A write that fails leaves nothing or a part of it, never the whole as if it had not failed, and
 * the same write again makes it right. Resume data that cannot be saved are the old ones. */
static void test_failing_writes_are_torn(void **state)
{
    (void)state;
    uint32_t n_untouched = 0, n_part = 0, n_torn = 0;
    struct content_params p = {
        .name = "torn", .len = 600000, .piece_len = PIECE_LEN, .version = CONTENT_V1, .key = 5};
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct lab *l = lab_new(&p, &(struct disk_params){.latency_us = 50}, seed);
        struct bytes key = BYTES_LIT("key");
        struct lab_piece piece;
        struct err err;
        assert_int_equal(lab_open(l), ERR_OK);
        disk_plan_fault(&l->d, DISK_WRITE, 0, EIO, false);
        piece_init(l, &piece, 2, 0);
        assert_int_equal(piece_put(l, &piece), ERR_IO);
        bool is_first_right = disk_send(&l->d, 0, 2, 0, BLOCK_LEN, &err) == DISK_RIGHT;
        n_untouched += !l->files[0].exists && l->d.used_len == 0;
        n_part += is_first_right;
        n_torn += l->d.stats.n_torn_blocks > 0;
        assert_true(l->d.stats.n_torn_blocks > 0 || !is_first_right ||
                    disk_piece_is_right(&l->d, l->c, 2));
        piece_init(l, &piece, 2, 0);
        assert_int_equal(piece_put(l, &piece), ERR_OK);
        assert_true(disk_piece_is_right(&l->d, l->c, 2));
        disk_plan_fault(&l->d, DISK_SAVE, 1, ENOSPC, false);
        disk_resume_save(&l->d, l->next_job++, key, BYTES_LIT("old"), false);
        assert_int_equal(lab_wait(l), ERR_OK);
        disk_resume_save(&l->d, l->next_job++, key, BYTES_LIT("new"), false);
        assert_int_equal(lab_wait(l), ERR_IO);
        assert_true(bytes_equal_str(disk_resume(&l->d, key), "old"));
        lab_free(l);
    }
    assert_true(n_untouched > 0 && n_part > 0 && n_torn > 0);
}

/* What was synced stays through anything; what was not may be lost, torn or kept: over many seeds
 * all three happen. A killed process loses nothing that was answered. */
static void test_crash_keeps_what_was_synced(void **state)
{
    (void)state;
    uint32_t n_kept = 0, n_not = 0, n_resume_new = 0, n_resume_old = 0;
    uint32_t n_killed_new = 0, n_killed_old = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct content_params p = {.name = "crash",
                                   .len = 600000,
                                   .piece_len = PIECE_LEN,
                                   .version = CONTENT_V1,
                                   .is_phantom = seed % 2 == 0,
                                   .key = 5};
        struct lab *l = lab_new(&p, &(struct disk_params){.latency_us = 50}, seed);
        struct bytes key = BYTES_LIT("key");
        static struct lab_piece pieces[8];
        bool is_power_lost = seed % 3 != 0;
        assert_int_equal(lab_open(l), ERR_OK);
        for (uint32_t k = 0; k < 8; k++) {
            piece_init(l, &pieces[k], k, 0);
            disk_store_put(&l->d, l->next_job++, &pieces[k].q);
            if (k < 7)
                lab_wait(l);
            if (k == 3) {
                disk_store_sync(&l->d, l->next_job++, 0);
                lab_wait(l);
                disk_resume_save(&l->d, l->next_job++, key, BYTES_LIT("old"), true);
                lab_wait(l);
            }
        }
        disk_resume_save(&l->d, l->next_job++, key, BYTES_LIT("new"), false);
        bool is_save_answered = seed % 2;
        uint64_t n_wanted = l->n_done + 2;
        while (is_save_answered && l->n_done < n_wanted)
            lab_wait(l);
        disk_crash(&l->d, is_power_lost);
        assert_int_equal(world_next_us(&l->w), DEADLINE_NEVER); /* requests went with it */
        for (uint32_t k = 0; k < 7; k++) {
            bool is_right = disk_piece_is_right(&l->d, l->c, k);
            assert_true(is_right || (is_power_lost && k > 3));
            n_kept += is_right && k > 3;
            n_not += !is_right;
        }
        bool is_new = bytes_equal_str(disk_resume(&l->d, key), "new");
        assert_true(is_new || bytes_equal_str(disk_resume(&l->d, key), "old"));
        assert_true(is_new || is_power_lost || !is_save_answered);
        n_resume_new += is_new && is_power_lost;
        n_resume_old += !is_new;
        n_killed_new += is_new && !is_power_lost && !is_save_answered;
        n_killed_old += !is_new && !is_power_lost;
        disk_attach(&l->d, on_done, l);
        assert_int_equal(lab_open(l), ERR_OK);
        assert_true(l->files[0].exists);
        check_piece(l, 0);
        lab_free(l);
    }
    assert_true(n_kept > 0 && n_not > 0 && n_resume_new > 0 && n_resume_old > 0);
    assert_true(n_killed_new > 0 && n_killed_old > 0);
}

static void test_device_takes_its_time(void **state)
{
    (void)state;
    struct content_params p = {.name = "slow",
                               .len = 100 * PIECE_LEN,
                               .piece_len = PIECE_LEN,
                               .version = CONTENT_V1,
                               .is_phantom = true,
                               .key = 5};
    struct disk_params dp = {.latency_us = 5000, .write_per_s = 10 * PIECE_LEN};
    struct lab *l = lab_new(&p, &dp, 1);
    static struct lab_piece pieces[20];
    assert_int_equal(lab_open(l), ERR_OK);
    for (uint32_t k = 0; k < 20; k++) {
        piece_init(l, &pieces[k], k, 0);
        disk_store_put(&l->d, l->next_job++, &pieces[k].q);
    }
    while (l->n_done < 21)
        lab_wait(l);
    assert_in_range(l->w.now_us, 2000000, 2020000);
    assert_int_equal(l->d.stats.written_len, 20 * PIECE_LEN);
    disk_fill(&l->d, l->c);
    assert_true(disk_piece_is_durable(&l->d, l->c, 99));
    disk_damage(&l->d, l->c, 99, 2, true);
    assert_false(disk_piece_is_right(&l->d, l->c, 99));
    lab_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_writes_and_reads_back),
        cmocka_unit_test(test_wrong_bytes_are_seen_and_kept),
        cmocka_unit_test(test_faults_strike_as_planned),
        cmocka_unit_test(test_failing_writes_are_torn),
        cmocka_unit_test(test_crash_keeps_what_was_synced),
        cmocka_unit_test(test_device_takes_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
