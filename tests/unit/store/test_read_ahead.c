/* What was taken has come when the wait ends, and no more than promised was passed; what is
 * in the cache, small, absent or fails is left alone. Where the test's folder lies in memory (tmpfs)
 * nothing is ever cold: the tests that need it skip. */
#include "test_util.h"

#include "base/rng.h"
#include "base/size.h"
#include "store/read_ahead.h"
#include "torrent/metainfo_build.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#define KIB         1024u
#define MIB         (1024u * KIB)
#define N_FILES_MAX 5u
#define N_READERS   4u
#define LONG_LEN    (32u * MIB)

struct tree {
    char dir[TEST_PATH_CAP];
    struct mem mem;
    struct metainfo *m;
    struct build_file files[N_FILES_MAX];
    uint32_t n_opened;
    bool is_absent;
    atomic_bool is_cancelled;
    struct read_ahead ahead;
};

static char names[N_FILES_MAX][8];

/* --- files ----------------------------------------------------------------------------------- */

/* The n-th file of those that are no pads; in the piece space they come in the same order. */
static uint32_t number_of(const struct tree *t, uint32_t file)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < file; i++)
        n += !(t->m->files[i].flags & FILE_PAD);
    return n;
}

static int open_one(const struct tree *t, uint32_t n, int flags)
{
    char path[TEST_PATH_CAP];
    return open(test_join(path, t->dir, names[n]), flags | O_CLOEXEC, 0600);
}

static int open_file(void *ctx, uint32_t file)
{
    struct tree *t = ctx;
    t->n_opened++;
    return t->is_absent ? -1 : open_one(t, number_of(t, file), O_RDONLY);
}

/* On disk, out of the cache; not as a hole, which is as good as cached. */
static void write_cold(struct tree *t, uint32_t n)
{
    static const uint8_t block[64 * KIB];
    uint64_t len = t->files[n].len;
    int fd = open_one(t, n, O_RDWR | O_CREAT | O_TRUNC);
    assert_true(fd >= 0);
    for (uint64_t off = 0; off < len; off += sizeof block)
        assert_true(write(fd, block, (size_t)u64_min(sizeof block, len - off)) > 0);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
}

static void tree_begin(struct tree *t, const uint64_t *lens, uint32_t n, bool has_v2,
                       uint32_t piece_len)
{
    struct err err = {0};
    *t = (struct tree){0};
    mem_init(&t->mem, MEM_NO_BUDGET, NULL);
    test_temp_dir(t->dir);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "f%u", i);
        t->files[i] = (struct build_file){.path = names[i], .len = lens[i]};
        write_cold(t, i);
    }
    struct build_plan p = {.name = "top",
                           .files = t->files,
                           .n_files = n,
                           .is_multi_file = true,
                           .has_v1 = true,
                           .has_v2 = has_v2,
                           .piece_len = piece_len};
    if (metainfo_plan(&t->m, &p, &t->mem, &err))
        fail_msg("%s", err.what);
    read_ahead_init(&t->ahead, t->m, open_file, t, &t->is_cancelled);
}

static void tree_end(struct tree *t)
{
    read_ahead_clear(&t->ahead);
    metainfo_free(t->m);
    test_remove_dir(t->dir);
    mem_check_empty(&t->mem);
}

/* Is the byte of the n-th file in the cache? Asked so that the question brings nothing: a read with
 * RWF_NOWAIT starts the kernel's own read-ahead, and the file is no longer cold. */
static bool is_cached(const struct tree *t, uint32_t n, uint64_t off)
{
    const uint64_t page_len = (uint64_t)sysconf(_SC_PAGESIZE);
    uint8_t is_there = 0;
    int fd = open_one(t, n, O_RDONLY);
    assert_true(fd >= 0);
    void *page = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, (off_t)(off - off % page_len));
    assert_true(page != MAP_FAILED);
    assert_int_equal(mincore(page, 1, &is_there), 0);
    munmap(page, 1);
    close(fd);
    return is_there & 1;
}

/* Ends the test as skipped where a dropped file stays in memory. */
static void need_cold(struct tree *t, uint32_t n)
{
    if (is_cached(t, n, 0)) {
        tree_end(t);
        skip();
    }
}

/* --- tests ----------------------------------------------------------------------------------- */

static void test_brings_what_was_taken(void **state)
{
    (void)state;
    const uint64_t lens[] = {5 * MIB + 123, 3 * MIB, 100, 2 * MIB - 1};
    for (unsigned has_v2 = 0; has_v2 <= 1; has_v2++) {
        struct tree t;
        tree_begin(&t, lens, 4, has_v2, 256 * KIB);
        need_cold(&t, 0);
        for (uint64_t off = 0; off < t.m->layout.space_len; off += MIB) {
            uint64_t end = u64_min(off + MIB, t.m->layout.space_len);
            read_ahead_take(&t.ahead, end);
            read_ahead_wait(&t.ahead, end);
            assert_true(t.ahead.has_thread);
            for (uint32_t i = 0; i < t.m->n_files; i++) {
                const struct metainfo_file *f = &t.m->files[i];
                if (f->len >= READ_AHEAD_FILE_MIN && !(f->flags & FILE_PAD) && f->off < end)
                    assert_true(is_cached(&t, number_of(&t, i), u64_min(f->len, end - f->off) - 1));
            }
        }
        assert_int_equal(t.n_opened, 3); /* each but the small one, once */
        tree_end(&t);
    }
}

static void test_goes_no_farther(void **state)
{
    (void)state;
    const uint64_t len = LONG_LEN;
    struct tree t;
    tree_begin(&t, &len, 1, false, MIB);
    need_cold(&t, 0);
    read_ahead_take(&t.ahead, MIB);
    read_ahead_wait(&t.ahead, MIB);
    for (int i = 0; i < 1000 && atomic_load(&t.ahead.come_off) < MIB + READ_AHEAD_LEN; i++)
        usleep(1000);
    usleep(2000);
    assert_int_equal(atomic_load(&t.ahead.come_off), MIB + READ_AHEAD_LEN);
    assert_true(is_cached(&t, 0, MIB + READ_AHEAD_LEN - 1));
    tree_end(&t); /* while the thread waits */
}

static void test_cached_needs_no_thread(void **state)
{
    (void)state;
    const uint64_t lens[] = {3 * MIB, 2 * MIB};
    struct tree t;
    tree_begin(&t, lens, 2, false, 64 * KIB);
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t buf[64 * KIB];
        int fd = open_one(&t, i, O_RDONLY);
        while (read(fd, buf, sizeof buf) > 0)
            continue;
        close(fd);
    }
    read_ahead_take(&t.ahead, 5 * MIB);
    read_ahead_wait(&t.ahead, 5 * MIB);
    assert_false(t.ahead.has_thread);
    assert_int_equal(t.n_opened, 2);
    tree_end(&t);
}

/* The cache holds the beginning: the thread starts where it ends. */
static void test_starts_in_the_middle(void **state)
{
    (void)state;
    const uint64_t len = LONG_LEN;
    const uint64_t at = 12 * MIB;
    struct tree t;
    tree_begin(&t, &len, 1, false, MIB);
    need_cold(&t, 0);
    uint8_t byte;
    int fd = open_one(&t, 0, O_RDONLY);
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    for (uint64_t off = 0; off < at; off += MIB)
        assert_int_equal(pread(fd, &byte, 1, (off_t)off), 1);
    close(fd);
    read_ahead_take(&t.ahead, at - READ_AHEAD_LEN);
    assert_false(t.ahead.has_thread);
    read_ahead_take(&t.ahead, at + 10 * MIB);
    assert_true(t.ahead.has_thread);
    assert_true(atomic_load(&t.ahead.come_off) >= at);
    read_ahead_wait(&t.ahead, at + 10 * MIB);
    assert_true(is_cached(&t, 0, at + 10 * MIB - 1));
    tree_end(&t);
}

static void test_small_files_are_left_alone(void **state)
{
    (void)state;
    const uint64_t lens[] = {MIB - 1, 100, MIB - 1, 64 * KIB};
    struct tree t;
    tree_begin(&t, lens, 4, true, 16 * KIB);
    read_ahead_take(&t.ahead, t.m->layout.space_len);
    read_ahead_wait(&t.ahead, t.m->layout.space_len);
    assert_int_equal(t.n_opened, 0);
    assert_false(t.ahead.has_thread);
    tree_end(&t);
}

static void test_absent_files(void **state)
{
    (void)state;
    const uint64_t lens[] = {20 * MIB, 2 * MIB};
    struct tree t;
    tree_begin(&t, lens, 2, false, MIB);
    t.is_absent = true;
    for (uint64_t end = MIB; end <= 22 * MIB; end += MIB) {
        read_ahead_take(&t.ahead, end);
        read_ahead_wait(&t.ahead, end);
    }
    assert_int_equal(t.n_opened, 2);
    assert_false(t.ahead.has_thread);
    tree_end(&t);
}

/* Shorter than the torrent says, or gone after the first was found to be cold. */
static void test_files_that_end_early(void **state)
{
    (void)state;
    const uint64_t lens[] = {2 * MIB, 20 * MIB, 3 * MIB};
    for (unsigned is_gone = 0; is_gone <= 1; is_gone++) {
        char path[TEST_PATH_CAP];
        struct tree t;
        tree_begin(&t, lens, 3, false, MIB);
        need_cold(&t, 0);
        test_join(path, t.dir, names[1]);
        assert_int_equal(is_gone ? unlink(path) : truncate(path, MIB + 1), 0);
        read_ahead_take(&t.ahead, 25 * MIB);
        read_ahead_wait(&t.ahead, 25 * MIB);
        assert_true(t.ahead.has_thread);
        assert_true(is_cached(&t, 0, 2 * MIB - 1));
        assert_true(is_cached(&t, 2, 3 * MIB - 1));
        assert_int_equal(t.n_opened, 3);
        tree_end(&t);
    }
}

struct user {
    struct tree *t;
    _Atomic uint32_t *next;
    pthread_t thread;
};

static void *use(void *arg)
{
    struct user *u = arg;
    const uint64_t space = u->t->m->layout.space_len, step = 3 * MIB / 2;
    for (;;) {
        uint64_t off = atomic_fetch_add(u->next, 1) * step;
        if (off >= space || atomic_load(&u->t->is_cancelled))
            return NULL;
        read_ahead_take(&u->t->ahead, off + step);
        for (uint64_t at = off; at < off + step; at += 128 * KIB)
            read_ahead_wait(&u->t->ahead, u64_min(at + 128 * KIB, space));
    }
}

/* Several take and wait in any order; all come to an end, called off or not. */
static void test_several_readers(void **state)
{
    (void)state;
    const uint64_t lens[] = {20 * MIB, 500, LONG_LEN, 7 * MIB + 7, MIB};
    for (unsigned is_cancelled = 0; is_cancelled <= 1; is_cancelled++) {
        _Atomic uint32_t next = 0;
        struct user users[N_READERS];
        struct tree t;
        tree_begin(&t, lens, 5, true, MIB);
        for (unsigned i = 0; i < N_READERS; i++) {
            users[i] = (struct user){.t = &t, .next = &next};
            assert_int_equal(pthread_create(&users[i].thread, NULL, use, &users[i]), 0);
        }
        if (is_cancelled)
            atomic_store(&t.is_cancelled, true);
        for (unsigned i = 0; i < N_READERS; i++)
            pthread_join(users[i].thread, NULL);
        if (t.ahead.has_thread && !is_cancelled)
            assert_true(atomic_load(&t.ahead.come_off) >= t.m->layout.space_len);
        tree_end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brings_what_was_taken),
        cmocka_unit_test(test_goes_no_farther),
        cmocka_unit_test(test_cached_needs_no_thread),
        cmocka_unit_test(test_starts_in_the_middle),
        cmocka_unit_test(test_small_files_are_left_alone),
        cmocka_unit_test(test_absent_files),
        cmocka_unit_test(test_files_that_end_early),
        cmocka_unit_test(test_several_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
