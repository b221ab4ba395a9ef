#include "disk_fault.h"
#include "store/record_log.h"
#include "test_util.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEN 20u

struct world {
    char dir[TEST_PATH_CAP], path[TEST_PATH_CAP + 16];
    struct disk disk;
    struct record_log *log;
    uint32_t seen[64];
    size_t n_seen;
    struct fault fault;
    struct disk_hook hook;
};

static void record_of(uint32_t n, uint8_t out[LEN])
{
    memset(out, (int)(n * 7 % 251), LEN);
    memcpy(out, &n, sizeof n);
}

static bool see(void *ctx, const uint8_t *record)
{
    struct world *w = ctx;
    uint8_t want[LEN];
    uint32_t n;
    memcpy(&n, record, sizeof n);
    record_of(n, want);
    assert_memory_equal(record, want, LEN);
    assert_true(w->n_seen < 64);
    w->seen[w->n_seen++] = n;
    return true;
}

static enum err_code reopen(struct world *w)
{
    struct err err = {0};
    record_log_close(w->log);
    disk_close(&w->disk);
    w->n_seen = 0;
    w->log = NULL;
    assert_int_equal(disk_open(&w->disk, w->dir, &w->hook, &err), ERR_OK);
    enum err_code code = record_log_open(&w->log, &w->disk, "test.log", "testtest", LEN, &err);
    return code ? code : record_log_load(w->log, see, w, &err);
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof *w);
    test_temp_dir(w->dir);
    snprintf(w->path, sizeof w->path, "%s/test.log", w->dir);
    w->hook = (struct disk_hook){&w->fault, fault_before};
    assert_int_equal(reopen(w), ERR_OK);
    return w;
}

static void world_free(struct world *w)
{
    record_log_close(w->log);
    disk_close(&w->disk);
    test_remove_dir(w->dir);
    free(w);
}

static enum err_code append(struct world *w, uint32_t first, size_t n)
{
    uint8_t records[64 * LEN];
    struct err err;
    for (size_t i = 0; i < n; i++)
        record_of(first + (uint32_t)i, records + i * LEN);
    return record_log_append(w->log, records, n, &err);
}

static void assert_seen(const struct world *w, uint32_t n)
{
    assert_int_equal(w->n_seen, n);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(w->seen[i], i);
}

static uint64_t file_len(const struct world *w)
{
    struct stat st;
    assert_int_equal(stat(w->path, &st), 0);
    return (uint64_t)st.st_size;
}

static void keeps_batches_in_order(void **state)
{
    struct world *w = world_new();
    (void)state;
    assert_int_equal(append(w, 0, 3), ERR_OK);
    assert_int_equal(append(w, 3, 0), ERR_OK);
    assert_int_equal(append(w, 3, 1), ERR_OK);
    assert_int_equal(reopen(w), ERR_OK);
    assert_seen(w, 4);
    assert_int_equal(append(w, 4, 2), ERR_OK);
    assert_int_equal(reopen(w), ERR_OK);
    assert_seen(w, 6);
    assert_int_equal(record_log_n(w->log), 6);
    world_free(w);
}

/* As if the process had ended before the batch was synced. */
static void forget_mark(const struct world *w)
{
    int fd = open(w->path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "0123456789abcdef", 16, 16), 16);
    close(fd);
}

/* A batch of three cut off at every byte: it is there whole or not at all, and the log goes on. */
static void a_torn_batch_never_was(void **state)
{
    struct world *w = world_new();
    (void)state;
    assert_int_equal(append(w, 0, 2), ERR_OK);
    uint64_t before = file_len(w);
    assert_int_equal(append(w, 2, 3), ERR_OK);
    uint64_t after = file_len(w);
    for (uint64_t len = after; len-- > before;) {
        forget_mark(w);
        assert_int_equal(truncate(w->path, (off_t)len), 0);
        assert_int_equal(reopen(w), ERR_OK);
        assert_seen(w, 2);
        assert_int_equal(file_len(w), before);
        assert_int_equal(append(w, 2, 3), ERR_OK);
        assert_int_equal(reopen(w), ERR_OK);
        assert_seen(w, 5);
    }
    world_free(w);
}

/* Sectors reach the disk in any order: a hole in the last batch is a torn batch as well. */
static void a_hole_in_the_last_batch_is_torn(void **state)
{
    struct world *w = world_new();
    (void)state;
    assert_int_equal(append(w, 0, 2), ERR_OK);
    uint64_t before = file_len(w);
    assert_int_equal(append(w, 2, 3), ERR_OK);
    forget_mark(w);
    int fd = open(w->path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\0\0\0\0\0", 5, (off_t)before + 1), 5);
    close(fd);
    assert_int_equal(reopen(w), ERR_OK);
    assert_seen(w, 2);
    assert_int_equal(record_log_n_torn(w->log), 3);
    world_free(w);
}

static void damage_in_the_middle_is_named(void **state)
{
    struct world *w = world_new();
    struct err err = {0};
    (void)state;
    assert_int_equal(append(w, 0, 2), ERR_OK);
    assert_int_equal(append(w, 2, 2), ERR_OK);
    uint64_t len = file_len(w), slot = (len - 32) / 4;
    int fd = open(w->path, O_RDWR | O_CLOEXEC);
    for (uint64_t at = 32; at < len; at++) { /* every byte: all of it was on disk */
        uint8_t byte, turned;
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        turned = byte ^ 0x10;
        assert_int_equal(pwrite(fd, &turned, 1, (off_t)at), 1);
        w->n_seen = 0;
        assert_int_equal(record_log_load(w->log, see, w, &err), ERR_MALFORMED);
        assert_int_equal(err.at, 32 + (at - 32) / slot * slot);
        assert_int_equal(w->n_seen, 0);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    close(fd);
    assert_int_equal(truncate(w->path, (off_t)len - 1), 0);
    assert_int_equal(reopen(w), ERR_MALFORMED);
    world_free(w);
    w = world_new();
    assert_int_equal(append(w, 0, 2), ERR_OK);
    assert_int_equal(append(w, 2, 2), ERR_OK);
    assert_int_equal(file_len(w), len);
    assert_int_equal(reopen(w), ERR_OK);
    assert_seen(w, 4);
    world_free(w);
}

static void another_file_is_refused(void **state)
{
    struct world *w = world_new();
    struct record_log *l;
    struct err err;
    (void)state;
    assert_int_equal(record_log_open(&l, &w->disk, "test.log", "testtest", LEN + 1, &err),
                     ERR_MALFORMED);
    assert_int_equal(record_log_open(&l, &w->disk, "test.log", "othertst", LEN, &err),
                     ERR_MALFORMED);
    world_free(w);
}

static void get(void *ctx, size_t i, uint8_t *out)
{
    (void)ctx;
    record_of((uint32_t)i, out);
}

/* Every operation of an append and of a rewrite fails once, writes after 0 to 30 bytes. */
static void a_full_disk_costs_nothing_that_was_there(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= 30; cut += 5)
        for (uint64_t at = 1;; at++) {
            struct world *w = world_new();
            struct err err;
            assert_int_equal(append(w, 0, 2), ERR_OK);
            w->fault = (struct fault){.fail_at = at, .cut_len = cut};
            enum err_code first = append(w, 2, 3);
            enum err_code second = first ? ERR_OK : record_log_rewrite(w->log, 5, get, NULL, &err);
            bool is_hit = w->fault.n >= at;
            w->fault = (struct fault){0};
            if (first && !w->disk.is_broken)
                assert_int_equal(append(w, 2, 3), ERR_OK);
            assert_int_equal(reopen(w), ERR_OK);
            assert_seen(w, first && w->n_seen == 2 ? 2 : 5);
            assert_int_equal(append(w, (uint32_t)w->n_seen, 1), ERR_OK);
            assert_int_equal(reopen(w), ERR_OK);
            assert_seen(w, (uint32_t)w->n_seen);
            world_free(w);
            if (!is_hit) {
                assert_false(first || second);
                break;
            }
            assert_true(first || second || at > 2);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_batches_in_order),
        cmocka_unit_test(a_torn_batch_never_was),
        cmocka_unit_test(a_hole_in_the_last_batch_is_torn),
        cmocka_unit_test(damage_in_the_middle_is_named),
        cmocka_unit_test(another_file_is_refused),
        cmocka_unit_test(a_full_disk_costs_nothing_that_was_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
