/* Whatever is hashed side by side is what an obvious model makes of the same files one piece after
 * the other: sizes around every edge (leaf, part, piece, buffer), one to many pieces, one or several
 * files and threads, files that are short, absent or fail. */
#include "test_util.h"

#include "base/rng.h"
#include "base/size.h"
#include "store/hash_files.h"
#include "torrent/merkle.h"
#include "torrent/metainfo_build.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#define N_FILES_MAX 6u
#define KIB         1024u

struct tree {
    char dir[TEST_PATH_CAP], top[TEST_PATH_CAP];
    struct mem mem;
    struct build_file files[N_FILES_MAX];
    uint8_t *data[N_FILES_MAX];
    uint32_t n;
};

static char file_names[N_FILES_MAX][8];

static void file_path(const struct tree *t, uint32_t file, char out[TEST_PATH_CAP])
{
    if (t->n == 1)
        snprintf(out, TEST_PATH_CAP, "%s", t->top);
    else
        test_join(out, t->top, file_names[file]);
}

static void tree_begin(struct tree *t, const uint64_t *lens, uint32_t n)
{
    char path[TEST_PATH_CAP];
    struct rng rng;
    *t = (struct tree){.n = n};
    rng_init(&rng, 7 + n + lens[0]);
    mem_init(&t->mem, MEM_NO_BUDGET, NULL);
    test_temp_dir(t->dir);
    test_join(t->top, t->dir, "top");
    if (n > 1)
        assert_int_equal(mkdir(t->top, 0777), 0);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(file_names[i], sizeof file_names[i], "f%u", i);
        t->files[i] = (struct build_file){.path = file_names[i], .len = lens[i]};
        t->data[i] = malloc(lens[i] + 1);
        rng_fill(&rng, t->data[i], lens[i]);
        file_path(t, i, path);
        test_write_file(path, bytes_of(t->data[i], lens[i]));
    }
}

static void tree_end(struct tree *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        free(t->data[i]);
    test_remove_dir(t->dir);
    mem_check_empty(&t->mem);
}

static struct metainfo *plan(struct tree *t, bool has_v1, bool has_v2, uint32_t piece_len)
{
    struct metainfo *m;
    struct err err = {0};
    struct build_plan p = {.name = "top",
                           .files = t->files,
                           .n_files = t->n,
                           .is_multi_file = t->n > 1,
                           .has_v1 = has_v1,
                           .has_v2 = has_v2,
                           .piece_len = piece_len};
    if (metainfo_plan(&m, &p, &t->mem, &err))
        fail_msg("%s", err.what);
    return m;
}

/* --- the model ------------------------------------------------------------------------------- */

/* The bytes of the plan's file i: pads are zeros, the others those of the tree in turn. */
static const uint8_t *model_data(const struct tree *t, const struct metainfo *m, uint32_t file)
{
    uint32_t n_before = 0;
    for (uint32_t i = 0; i < file; i++)
        n_before += !(m->files[i].flags & FILE_PAD);
    return m->files[file].flags & FILE_PAD ? NULL : t->data[n_before];
}

static void model_v1(const struct tree *t, const struct metainfo *m, uint8_t *out)
{
    struct sha1_state s;
    uint64_t at = 0;
    sha1_init(&s);
    for (uint32_t i = 0; i < m->n_files; i++) {
        const uint8_t *data = model_data(t, m, i);
        static const uint8_t zero[1];
        for (uint64_t off = 0, n; off < m->files[i].len; off += n) {
            n = data ? u64_min(m->files[i].len - off, m->piece_len - at % m->piece_len) : 1;
            sha1_update(&s, data ? bytes_of(data + off, n) : bytes_of(zero, 1));
            at += n;
            if (at % m->piece_len == 0) {
                sha1_final(&s, out + (at / m->piece_len - 1) * SHA1_LEN);
                sha1_init(&s);
            }
        }
    }
    if (at % m->piece_len)
        sha1_final(&s, out + at / m->piece_len * SHA1_LEN);
}

/* The root of the leaves of data, completed to `width` leaves. */
static void model_root(const uint8_t *data, uint64_t len, uint32_t width, uint8_t *out)
{
    uint8_t(*nodes)[SHA256_LEN] = calloc(width, SHA256_LEN);
    for (uint64_t off = 0; off < len; off += MERKLE_BLOCK_LEN)
        sha256(bytes_of(data + off, u64_min(len - off, MERKLE_BLOCK_LEN)),
               nodes[off / MERKLE_BLOCK_LEN]);
    for (; width > 1; width /= 2)
        for (uint32_t i = 0; i < width / 2; i++)
            sha256_pair(nodes[2 * i], nodes[2 * i + 1], nodes[i]);
    memcpy(out, nodes[0], SHA256_LEN);
    free(nodes);
}

static void model_v2(const struct tree *t, const struct metainfo *m, uint8_t *out)
{
    for (uint32_t i = 0; i < m->n_files; i++) {
        const struct metainfo_file *f = &m->files[i];
        const uint8_t *data = model_data(t, m, i);
        uint32_t width = m->piece_len / MERKLE_BLOCK_LEN;
        if (f->len <= m->piece_len)
            for (width = 1; (uint64_t)width * MERKLE_BLOCK_LEN < f->len;)
                width *= 2;
        for (uint64_t off = 0; data && off < f->len; off += m->piece_len)
            model_root(data + off, u64_min(f->len - off, m->piece_len), width,
                       out + (f->off + off) / m->piece_len * SHA256_LEN);
    }
}

/* --- comparing ------------------------------------------------------------------------------- */

static struct hash_files run(struct tree *t, const struct metainfo *m, unsigned n_threads)
{
    struct err err = {0};
    struct hash_files h = {.info = m,
                           .top = t->top,
                           .mem = &t->mem,
                           .n_threads = n_threads,
                           .want_v1 = m->has_v1,
                           .want_v2 = m->has_v2};
    if (hash_files_run(&h, &err))
        fail_msg("%s", err.what);
    return h;
}

/* Pieces that are there have the model's hashes. Returns how many are missing. */
static uint32_t compare(struct tree *t, const struct metainfo *m, unsigned n_threads)
{
    uint8_t *v1 = calloc(m->n_pieces, SHA1_LEN), *v2 = calloc(m->n_pieces, SHA256_LEN);
    struct hash_files h = run(t, m, n_threads);
    uint32_t n_missing = 0;
    if (m->has_v1)
        model_v1(t, m, v1);
    if (m->has_v2)
        model_v2(t, m, v2);
    for (uint32_t i = 0; i < m->n_pieces; i++) {
        n_missing += h.is_missing[i];
        if (h.is_missing[i])
            continue;
        if (m->has_v1)
            assert_memory_equal(h.v1 + (size_t)i * SHA1_LEN, v1 + (size_t)i * SHA1_LEN, SHA1_LEN);
        if (m->has_v2)
            assert_memory_equal(h.v2 + (size_t)i * SHA256_LEN, v2 + (size_t)i * SHA256_LEN,
                                SHA256_LEN);
    }
    hash_files_clear(&h);
    free(v1);
    free(v2);
    return n_missing;
}

static void compare_all(const uint64_t *lens, uint32_t n, uint32_t piece_len)
{
    struct tree t;
    tree_begin(&t, lens, n);
    for (unsigned kind = 1; kind <= 3; kind++) {
        struct metainfo *m = plan(&t, kind & 1, kind & 2, piece_len);
        for (unsigned n_threads = 1; n_threads <= 3; n_threads += 2)
            assert_int_equal(compare(&t, m, n_threads), 0);
        metainfo_free(m);
    }
    tree_end(&t);
}

/* --- tests ----------------------------------------------------------------------------------- */

static const uint32_t piece_lens[] = {16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, 1024 * KIB};

/* One file of 1 to 9 pieces, and a byte, a leaf less or more. */
static void test_one_file(void **state)
{
    (void)state;
    static const int64_t around[] = {0, 1, -1, -(int64_t)MERKLE_BLOCK_LEN, MERKLE_BLOCK_LEN + 77};
    uint32_t whole_below = test_is_slow() ? 0 : 1024 * KIB;
    for (size_t i = 0; i < (test_is_slow() ? 3 : COUNT_OF(piece_lens)); i++)
        for (uint64_t n = 1; n <= 9; n++)
            for (size_t k = 0; k < COUNT_OF(around); k++) {
                uint64_t len = n * piece_lens[i] + (uint64_t)around[k];
                if (len > 0 && (piece_lens[i] < whole_below || k == n % COUNT_OF(around)))
                    compare_all(&len, 1, piece_lens[i]);
            }
}

/* More than one span, more than one buffer of small pieces. */
static void test_many_pieces(void **state)
{
    (void)state;
    uint64_t lens[] = {40 * 1024 * KIB + 5, 17 * 1024 * KIB};
    if (test_is_slow()) {
        lens[0] /= 10;
        lens[1] /= 10;
    }
    compare_all(lens, 1, 16 * KIB);
    compare_all(lens, 2, 1024 * KIB);
}

/* Odd sizes: in v2 each file begins a piece and no gap is hashed. */
static void test_several_files(void **state)
{
    (void)state;
    static const uint64_t lens[][N_FILES_MAX] = {
        {1, 1, 1, 1, 1, 1},
        {16384, 16383, 16385, 0, 32768, 1},
        {131072, 131071, 131073, 262144, 262145, 5},
        {300001, 1, 700003, 12, 1048577, 99999},
        {0, 1048576, 1048576, 1048576, 1048576, 0},
        {3 * 1048576 + 1, 2, 2 * 1048576 - 1, 524288, 524289, 524287},
    };
    for (size_t i = 0; i < COUNT_OF(lens); i++)
        for (size_t k = 0; k < COUNT_OF(piece_lens); k++)
            for (uint32_t n = 2; n <= N_FILES_MAX; n += 2)
                if (!test_is_slow() || (n == N_FILES_MAX && k == i % COUNT_OF(piece_lens)))
                    compare_all(lens[i], n, piece_lens[k]);
}

/* Out of the page cache, so that they are read ahead: files that are and are not worth it. */
static void drop_files(const struct tree *t)
{
    char path[TEST_PATH_CAP];
    for (uint32_t i = 0; i < t->n; i++) {
        file_path(t, i, path);
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(fsync(fd), 0);
        assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        close(fd);
    }
}

static void test_cold_files(void **state)
{
    (void)state;
    const uint64_t lens[] = {3000 * KIB, 100, 1024 * KIB, 9000 * KIB + 1, 70 * KIB, 1500 * KIB};
    for (size_t i = 0; i < COUNT_OF(piece_lens); i++) {
        struct tree t;
        tree_begin(&t, lens, COUNT_OF(lens));
        for (unsigned kind = 1; kind <= 3; kind++) {
            struct metainfo *m = plan(&t, kind & 1, kind & 2, piece_lens[i]);
            for (unsigned n_threads = 1; n_threads <= 3; n_threads += 2) {
                drop_files(&t);
                assert_int_equal(compare(&t, m, n_threads), 0);
            }
            metainfo_free(m);
        }
        tree_end(&t);
    }
}

/* A v1 torrent of another program may have any piece length. */
static void test_odd_piece_len(void **state)
{
    (void)state;
    static const uint32_t odd[] = {1, 1000, 16385, 131071, 131073, 300000, 1000003};
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        struct tree t;
        struct metainfo *m;
        struct err err = {0};
        uint64_t len = odd[i] < 1000 ? 100000 : 5ull * odd[i] + 7;
        uint32_t n_pieces = (uint32_t)div_ceil(len, odd[i]);
        char *text = calloc(n_pieces + 100u, SHA1_LEN);
        int head =
            snprintf(text, 200, "d4:infod6:lengthi%llue4:name3:top12:piece lengthi%ue6:pieces%u:",
                     (unsigned long long)len, odd[i], n_pieces * SHA1_LEN);
        size_t text_len = (size_t)head + (size_t)n_pieces * SHA1_LEN;
        memcpy(text + text_len, "ee", 2);
        tree_begin(&t, &len, 1);
        assert_int_equal(metainfo_read(&m, bytes_of(text, text_len + 2), &t.mem, NULL, &err),
                         ERR_OK);
        for (unsigned n_threads = 1; n_threads <= 3; n_threads++)
            assert_int_equal(compare(&t, m, n_threads), 0);
        metainfo_free(m);
        tree_end(&t);
        free(text);
    }
}

/* The file ends before its time: pieces up to there are hashed, those behind are missing. */
static void test_short_file(void **state)
{
    (void)state;
    static const uint64_t lens[] = {9 * 256 * KIB, 70000};
    char path[TEST_PATH_CAP];
    for (uint32_t piece_len = 16 * KIB; piece_len <= 256 * KIB; piece_len *= 4)
        for (unsigned kind = 1; kind <= 3; kind++) {
            struct tree t;
            tree_begin(&t, lens, 2);
            struct metainfo *m = plan(&t, kind & 1, kind & 2, piece_len);
            file_path(&t, 0, path);
            for (uint64_t len = lens[0]; len > 0; len = len < 200000 ? 0 : len - 199999) {
                assert_int_equal(truncate(path, (off_t)len), 0);
                uint32_t want = (uint32_t)(div_ceil(lens[0], piece_len) - len / piece_len);
                assert_int_equal(compare(&t, m, 2), want);
            }
            assert_int_equal(remove(path), 0);
            assert_int_equal(compare(&t, m, 2), div_ceil(lens[0], piece_len));
            metainfo_free(m);
            tree_end(&t);
        }
}

static void *shrink(void *path)
{
    for (off_t len = 15 << 20; len >= 1 << 20; len -= 1 << 20)
        assert(truncate(path, len) == 0);
    return NULL;
}

/* While others read it a file shrinks to 1 MiB: what lies before that is hashed as it is. */
static void test_shrinking_file(void **state)
{
    (void)state;
    static const uint64_t len = 16 << 20;
    for (uint32_t piece_len = 16 * KIB; piece_len <= 256 * KIB; piece_len *= 16) {
        char path[TEST_PATH_CAP];
        pthread_t thread;
        struct tree t;
        tree_begin(&t, &len, 1);
        struct metainfo *m = plan(&t, true, true, piece_len);
        uint8_t *v1 = calloc(m->n_pieces, SHA1_LEN);
        model_v1(&t, m, v1);
        file_path(&t, 0, path);
        assert_int_equal(pthread_create(&thread, NULL, shrink, path), 0);
        struct hash_files h = run(&t, m, 2);
        pthread_join(thread, NULL);
        for (uint32_t i = 0; i < (1u << 20) / piece_len; i++)
            assert_false(h.is_missing[i]);
        assert_memory_equal(h.v1, v1, (1u << 20) / piece_len * SHA1_LEN);
        hash_files_clear(&h);
        free(v1);
        metainfo_free(m);
        tree_end(&t);
    }
}

/* A regular file whose reads fail at offset 0: that of the process's own memory. */
static void test_failing_file(void **state)
{
    (void)state;
    static const uint64_t lens[] = {300000, 300000, 300000};
    char path[TEST_PATH_CAP];
    struct tree t;
    tree_begin(&t, lens, 3);
    file_path(&t, 1, path);
    assert_int_equal(remove(path), 0);
    assert_int_equal(symlink("/proc/self/mem", path), 0);
    for (uint32_t piece_len = 16 * KIB; piece_len <= 256 * KIB; piece_len *= 4) {
        struct metainfo *m = plan(&t, true, false, piece_len);
        struct hash_files h = run(&t, m, 2);
        assert_int_equal(h.files[0].state, HASH_FILE_OK);
        assert_int_equal(h.files[1].state, HASH_FILE_FAILED);
        assert_int_equal(h.files[1].err_no, EIO);
        hash_files_clear(&h);
        uint32_t first = (uint32_t)(lens[0] / piece_len), last = (uint32_t)(599999 / piece_len);
        assert_int_equal(compare(&t, m, 2), last - first + 1);
        metainfo_free(m);
    }
    tree_end(&t);
}

struct sweep {
    struct tree t;
    struct metainfo *m;
    uint8_t *v1;
};

static bool run_with(struct mem *mem, void *ctx)
{
    struct sweep *w = ctx;
    struct err err = {0};
    struct hash_files h = {.info = w->m,
                           .top = w->t.top,
                           .mem = mem,
                           .n_threads = 2,
                           .want_v1 = true,
                           .want_v2 = true};
    enum err_code code = hash_files_run(&h, &err);
    if (code) {
        assert_int_equal(code, ERR_NO_MEMORY);
        assert_int_equal(err.code, code);
    } else {
        assert_memory_equal(h.v1, w->v1, w->m->n_pieces * (size_t)SHA1_LEN);
    }
    hash_files_clear(&h);
    return code == ERR_OK;
}

/* Nothing is hashed by halves: it fails as a whole, and the next time succeeds. */
static void test_each_allocation_fails(void **state)
{
    (void)state;
    static const uint64_t lens[] = {2000000, 1, 700000};
    for (uint32_t piece_len = 64 * KIB; piece_len <= 1024 * KIB; piece_len *= 4) {
        struct sweep w;
        tree_begin(&w.t, lens, 3);
        w.m = plan(&w.t, true, true, piece_len);
        w.v1 = calloc(w.m->n_pieces, SHA1_LEN);
        model_v1(&w.t, w.m, w.v1);
        assert_true(test_fail_sweep(run_with, &w) >= 7);
        free(w.v1);
        metainfo_free(w.m);
        tree_end(&w.t);
    }
}

static void cancel(void *ctx, uint64_t done_len, uint64_t total_len)
{
    struct hash_files *h = ctx;
    (void)done_len, (void)total_len;
    atomic_store(&h->is_cancelled, true);
}

static void test_cancelled(void **state)
{
    (void)state;
    const uint64_t len = (test_is_slow() ? 4 : 64) * 1024 * KIB;
    struct tree t;
    struct err err = {0};
    tree_begin(&t, &len, 1);
    for (uint32_t piece_len = 16 * KIB; piece_len <= 16 * 1024 * KIB; piece_len *= 32) {
        struct metainfo *m = plan(&t, true, true, piece_len);
        struct hash_files h = {
            .info = m, .top = t.top, .mem = &t.mem, .want_v1 = true, .want_v2 = true};
        h.is_cancelled = true;
        assert_int_equal(hash_files_run(&h, &err), ERR_CANCELLED);
        hash_files_clear(&h);
        h = (struct hash_files){
            .info = m, .top = t.top, .mem = &t.mem, .want_v1 = true, .want_v2 = true};
        h.progress = cancel;
        h.ctx = &h;
        enum err_code code = hash_files_run(&h, &err);
        assert_true(code == ERR_OK || code == ERR_CANCELLED); /* by when it is noticed */
        hash_files_clear(&h);
        metainfo_free(m);
    }
    tree_end(&t);
}

static void count(void *ctx, uint64_t done_len, uint64_t total_len)
{
    assert_true(done_len <= total_len);
    *(uint64_t *)ctx = done_len;
}

static void test_progress(void **state)
{
    (void)state;
    static const uint64_t lens[] = {1000003, 0, 555555};
    struct tree t;
    struct err err = {0};
    tree_begin(&t, lens, 3);
    for (uint32_t piece_len = 16 * KIB; piece_len <= 256 * KIB; piece_len *= 16) {
        uint64_t done_len = 0;
        struct metainfo *m = plan(&t, true, false, piece_len);
        struct hash_files h = {.info = m, .top = t.top, .mem = &t.mem, .want_v1 = true};
        h.progress = count;
        h.ctx = &done_len;
        assert_int_equal(hash_files_run(&h, &err), ERR_OK);
        assert_int_equal(done_len, 1000003 + 555555);
        hash_files_clear(&h);
        metainfo_free(m);
    }
    tree_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_file),      cmocka_unit_test(test_many_pieces),
        cmocka_unit_test(test_several_files), cmocka_unit_test(test_cold_files),
        cmocka_unit_test(test_odd_piece_len), cmocka_unit_test(test_short_file),
        cmocka_unit_test(test_failing_file),  cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_cancelled),     cmocka_unit_test(test_shrinking_file),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
