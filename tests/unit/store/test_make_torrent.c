/* From files on disk to a torrent and back: what is made verifies, and what is damaged is named. */
#include "base/rng.h"
#include "store/make_torrent.h"
#include "store/verify_files.h"
#include "test_util.h"
#include <fcntl.h>
#include <sys/stat.h>

struct fixture {
    char dir[TEST_PATH_CAP], top[TEST_PATH_CAP];
    struct mem mem;
};

static void put(const struct fixture *f, const char *name, size_t len, uint64_t seed)
{
    char path[TEST_PATH_CAP], folder[TEST_PATH_CAP];
    struct rng rng;
    test_join(path, f->top, name);
    snprintf(folder, sizeof folder, "%s", path);
    for (char *p = folder + strlen(f->top); *p; p++)
        if (*p == '/' && p > folder + strlen(f->top)) {
            *p = 0;
            mkdir(folder, 0777);
            *p = '/';
        }
    uint8_t *data = malloc(len + 1);
    rng_init(&rng, seed);
    rng_fill(&rng, data, len);
    test_write_file(path, bytes_of(data, len));
    free(data);
}

/* Sizes around every edge: nothing, a byte, blocks, pieces, more than the read buffer. */
static void make_tree(struct fixture *f)
{
    mem_init(&f->mem, MEM_NO_BUDGET, NULL);
    test_temp_dir(f->dir);
    test_join(f->top, f->dir, "tree");
    assert_int_equal(mkdir(f->top, 0777), 0);
    put(f, "b/exact", 65536, 1);
    put(f, "b/one", 1, 2);
    put(f, "b-c/block", 16384, 3);
    put(f, "a", 3 * 1048576 + 12345, 4);
    put(f, "empty", 0, 5);
    put(f, "z/deep/er/file.txt", 100000, 6);
    put(f, "z/twin", 200000, 7);
    put(f, "zz-twin", 200000, 7);
}

static void end_tree(struct fixture *f)
{
    test_remove_dir(f->dir);
    mem_check_empty(&f->mem);
}

static enum err_code make(struct fixture *f, struct make_torrent *t, struct buf *out,
                          struct err *err)
{
    if (!t->path)
        t->path = f->top;
    buf_init(out, &f->mem, 1 << 24);
    return make_torrent(t, &f->mem, out, err);
}

static void verify(struct fixture *f, const struct metainfo *m, struct verify_files *v,
                   unsigned n_threads)
{
    struct err err = {0};
    *v = (struct verify_files){
        .hash = {.info = m, .top = f->top, .mem = &f->mem, .n_threads = n_threads}};
    assert_int_equal(verify_files_run(v, &err), ERR_OK);
}

static const struct {
    bool has_v1, has_v2;
    uint32_t piece_len;
} kinds[] = {
    {true, false, 16384},  {true, false, 65536},   {true, false, 2 << 20}, {false, true, 16384},
    {false, true, 65536},  {false, true, 2 << 20}, {true, true, 16384},    {true, true, 65536},
    {true, true, 2 << 20}, {true, true, 8 << 20},
};

static void test_round_trip(void **state)
{
    (void)state;
    struct fixture f;
    make_tree(&f);
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        for (unsigned n_threads = 1; n_threads <= 3; n_threads += 2) {
            struct make_torrent t = {.has_v1 = kinds[i].has_v1,
                                     .has_v2 = kinds[i].has_v2,
                                     .piece_len = kinds[i].piece_len,
                                     .n_threads = n_threads};
            struct buf out;
            struct err err = {0};
            struct verify_files v;
            if (make(&f, &t, &out, &err))
                fail_msg("%s: %s", t.bad_path, err.what);
            metainfo_check(t.info);
            assert_int_equal(t.info->has_v1, kinds[i].has_v1);
            assert_int_equal(t.info->has_v2, kinds[i].has_v2);
            assert_int_equal(t.info->has_piece_layers, kinds[i].has_v2);
            assert_int_equal(t.info->layout.data_len, t.tree.total_len);
            verify(&f, t.info, &v, 4 - n_threads);
            assert_int_equal(v.n_bad + v.n_missing + v.n_bad_files, 0);
            verify_files_clear(&v);
            make_torrent_clear(&t);
            buf_clear(&out);
        }
    end_tree(&f);
}

/* The same bytes whatever the number of threads. */
static void test_deterministic(void **state)
{
    (void)state;
    struct fixture f;
    struct buf first = {0};
    make_tree(&f);
    for (unsigned n = 1; n <= 4; n++) {
        struct make_torrent t = {.has_v1 = true, .has_v2 = true, .n_threads = n};
        struct buf out;
        struct err err = {0};
        t.options.comment = "c";
        assert_int_equal(make(&f, &t, &out, &err), ERR_OK);
        make_torrent_clear(&t);
        if (n == 1) {
            first = out;
            continue;
        }
        test_assert_bytes(buf_bytes(&out), buf_bytes(&first));
        buf_clear(&out);
    }
    buf_clear(&first);
    end_tree(&f);
}

static void flip(const struct fixture *f, const char *name, off_t off)
{
    char path[TEST_PATH_CAP];
    uint8_t byte;
    int fd = open(test_join(path, f->top, name), O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, off), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, off), 1);
    close(fd);
}

static uint32_t find(const struct metainfo *m, const char *path)
{
    for (uint32_t i = 0; i < m->n_files; i++)
        if (strcmp(m->files[i].path, path) == 0)
            return i;
    fail_msg("no %s", path);
    return 0;
}

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct fixture f;
        make_tree(&f);
        struct make_torrent t = {
            .has_v1 = kinds[i].has_v1, .has_v2 = kinds[i].has_v2, .piece_len = kinds[i].piece_len};
        struct buf out;
        struct err err = {0};
        struct verify_files v;
        assert_int_equal(make(&f, &t, &out, &err), ERR_OK);
        flip(&f, "a", 1048576 + 77);
        verify(&f, t.info, &v, 2);
        uint32_t a = find(t.info, "tree/a");
        uint64_t off = t.info->files[a].off + 1048576 + 77;
        assert_int_equal(v.n_bad, 1);
        assert_int_equal(v.n_missing, 0);
        assert_int_equal(v.pieces[off / t.info->piece_len], VERIFY_BAD);
        assert_true(v.is_bad_file[a]);
        if (kinds[i].has_v2)
            assert_int_equal(v.n_bad_files, 1);
        verify_files_clear(&v);
        flip(&f, "a", 1048576 + 77);

        char path[TEST_PATH_CAP];
        assert_int_equal(truncate(test_join(path, f.top, "z/twin"), 150000), 0);
        assert_int_equal(remove(test_join(path, f.top, "b/one")), 0);
        assert_int_equal(truncate(test_join(path, f.top, "zz-twin"), 200001), 0);
        verify(&f, t.info, &v, 2);
        assert_int_equal(v.n_bad, 0);
        assert_true(v.n_missing > 0);
        uint32_t twin = find(t.info, "tree/z/twin"), one = find(t.info, "tree/b/one");
        assert_int_equal(v.hash.files[twin].state, HASH_FILE_WRONG_LEN);
        assert_int_equal(v.hash.files[twin].len, 150000);
        assert_int_equal(v.hash.files[one].state, HASH_FILE_ABSENT);
        assert_true(v.is_bad_file[twin] && v.is_bad_file[one]);
        assert_true(v.is_bad_file[find(t.info, "tree/zz-twin")]); /* one byte too long */
        verify_files_clear(&v);
        make_torrent_clear(&t);
        buf_clear(&out);
        end_tree(&f);
    }
}

/* A v2 info dictionary without its layers: files are compared as wholes. */
static void test_without_layers(void **state)
{
    (void)state;
    struct fixture f;
    struct make_torrent t = {.has_v2 = true, .piece_len = 16384};
    struct buf out;
    struct err err = {0};
    struct verify_files v;
    struct metainfo *m;
    make_tree(&f);
    assert_int_equal(make(&f, &t, &out, &err), ERR_OK);
    assert_int_equal(metainfo_read_info(&m, t.info->info, &f.mem, NULL, &err), ERR_OK);
    assert_false(m->has_piece_layers);
    verify(&f, m, &v, 2);
    assert_int_equal(v.n_bad + v.n_missing + v.n_bad_files, 0);
    verify_files_clear(&v);
    flip(&f, "z/twin", 123456);
    verify(&f, m, &v, 2);
    uint32_t n_bad;
    assert_int_equal(v.n_bad_files, 1);
    assert_true(verify_files_count(&v, find(m, "tree/z/twin"), &n_bad));
    assert_int_equal(n_bad, 13); /* all of it: which one is not to be told */
    verify_files_clear(&v);
    metainfo_free(m);
    make_torrent_clear(&t);
    buf_clear(&out);
    end_tree(&f);
}

static void test_links(void **state)
{
    (void)state;
    struct fixture f;
    char path[TEST_PATH_CAP];
    struct buf out;
    struct err err = {0};
    make_tree(&f);
    static const struct {
        const char *name, *to;
        const char *kept; /* NULL: left out */
    } rows[] = {
        {"l-file", "b/one", "tree/b/one"},
        {"b/l-up", "../a", "tree/a"},
        {"l-dir", "z/deep", "tree/z/deep"},
        {"l-link", "l-dir/er", "tree/l-dir/er"},
        {"l-outside", "../..", NULL},
        {"l-passwd", "/etc/passwd", NULL},
        {"l-broken", "nowhere", NULL},
        {"l-self", "l-self", NULL},
        {"l-top", ".", NULL},
        {"l-round", "../tree/a", "tree/a"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(symlink(rows[i].to, test_join(path, f.top, rows[i].name)), 0);
    assert_int_equal(mkfifo(test_join(path, f.top, "pipe"), 0666), 0);
    struct make_torrent t = {.has_v1 = true, .has_v2 = true};
    assert_int_equal(make(&f, &t, &out, &err), ERR_OK);
    assert_int_equal(t.tree.n_bad_links, 5);
    assert_int_equal(t.tree.n_special, 1);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (!rows[i].kept)
            continue;
        snprintf(path, sizeof path, "tree/%s", rows[i].name);
        const struct metainfo_file *file = &t.info->files[find(t.info, path)];
        assert_non_null(file->symlink);
        assert_string_equal(file->symlink, rows[i].kept);
    }
    struct verify_files v;
    verify(&f, t.info, &v, 1);
    assert_int_equal(v.n_bad_files, 0);
    verify_files_clear(&v);
    /* a link that was turned elsewhere, one replaced by a file */
    remove(test_join(path, f.top, "l-file"));
    assert_int_equal(symlink("a", path), 0);
    remove(test_join(path, f.top, "b/l-up"));
    test_write_file(path, BYTES_LIT("x"));
    verify(&f, t.info, &v, 1);
    assert_int_equal(v.n_bad_files, 2);
    verify_files_clear(&v);
    make_torrent_clear(&t);
    buf_clear(&out);

    /* v1 alone follows: a circle is left out, what is outside comes in */
    remove(test_join(path, f.top, "l-outside"));
    t = (struct make_torrent){.has_v1 = true};
    assert_int_equal(make(&f, &t, &out, &err), ERR_OK);
    assert_int_equal(t.tree.n_bad_links, 3); /* broken, self, top */
    find(t.info, "tree/l-passwd");
    find(t.info, "tree/l-dir/er/file.txt");
    make_torrent_clear(&t);
    buf_clear(&out);
    end_tree(&f);
}

static void test_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct buf out;
    struct err err = {0};
    char path[TEST_PATH_CAP];
    make_tree(&f);
    struct make_torrent t = {.has_v2 = true, .path = test_join(path, f.top, "none")};
    assert_int_equal(make(&f, &t, &out, &err), ERR_IO);
    assert_string_equal(t.bad_path, path);
    make_torrent_clear(&t);
    t = (struct make_torrent){.has_v2 = true, .path = test_join(path, f.top, "empty")};
    assert_int_equal(make(&f, &t, &out, &err), ERR_MALFORMED);
    make_torrent_clear(&t);
    static const char *const names[] = {"back\\slash", "con\ntrol", "bad\xff", "rtl\xe2\x80\xae"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        put(&f, names[i], 5, 1);
        t = (struct make_torrent){.has_v1 = true, .has_v2 = true};
        assert_int_equal(make(&f, &t, &out, &err), ERR_MALFORMED);
        assert_string_equal(t.bad_path, names[i]);
        make_torrent_clear(&t);
        remove(test_join(path, f.top, names[i]));
    }
    t = (struct make_torrent){.has_v2 = true, .piece_len = 20000};
    assert_int_equal(make(&f, &t, &out, &err), ERR_MALFORMED);
    make_torrent_clear(&t);
    /* BEP 52: a folder that holds just one file of its own name is written like that file */
    put(&f, "same/same", 5, 1);
    t = (struct make_torrent){.has_v2 = true, .path = test_join(path, f.top, "same")};
    assert_int_equal(make(&f, &t, &out, &err), ERR_UNSUPPORTED);
    make_torrent_clear(&t);
    buf_clear(&out);
    t = (struct make_torrent){.has_v1 = true, .has_v2 = true, .path = path};
    assert_int_equal(make(&f, &t, &out, &err), ERR_OK);
    assert_string_equal(t.info->files[0].path, "same/same");
    make_torrent_clear(&t);
    buf_clear(&out);
    t = (struct make_torrent){.has_v1 = true, .is_cancelled = true};
    enum err_code code = make(&f, &t, &out, &err);
    assert_true(code == ERR_OK || code == ERR_CANCELLED); /* by when it is noticed */
    make_torrent_clear(&t);
    buf_clear(&out);
    end_tree(&f);
}

/* The payload that comes with the webtorrent fixtures matches its torrents. */
static void test_payload(void **state)
{
    (void)state;
    static const char *const names[] = {"alice", "folder", "numbers", "lots-of-numbers"};
    static const char *const tops[] = {"alice.txt", "folder", "numbers", "lots-of-numbers"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct fixture f;
        struct metainfo *m;
        struct verify_files v;
        struct err err = {0};
        char name[256], path[TEST_PATH_CAP];
        mem_init(&f.mem, MEM_NO_BUDGET, NULL);
        snprintf(name, sizeof name, "tests/vectors/torrents/webtorrent/%s.torrent", names[i]);
        struct span file = test_read_file(test_source_path(path, name));
        assert_non_null(file.data);
        assert_int_equal(metainfo_read(&m, bytes_of(file.data, file.len), &f.mem, NULL, &err),
                         ERR_OK);
        free(file.data);
        snprintf(name, sizeof name, "tests/vectors/torrents/payload/%s", tops[i]);
        test_source_path(f.top, name);
        verify(&f, m, &v, 2);
        assert_int_equal(v.n_bad + v.n_missing + v.n_bad_files, 0);
        verify_files_clear(&v);
        metainfo_free(m);
        mem_check_empty(&f.mem);
    }
}

static bool run_sweep(struct mem *mem, void *ctx)
{
    struct fixture *f = ctx;
    struct make_torrent t = {.path = f->top, .has_v1 = true, .has_v2 = true, .n_threads = 1};
    struct buf out;
    struct err err = {0};
    buf_init(&out, mem, 1 << 24);
    enum err_code code = make_torrent(&t, mem, &out, &err);
    make_torrent_clear(&t);
    buf_clear(&out);
    assert_true(code == ERR_OK || code == ERR_NO_MEMORY);
    return code == ERR_OK;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct fixture f;
    make_tree(&f);
    assert_true(test_fail_sweep(run_sweep, &f) > 10);
    end_tree(&f);
}

static void test_piece_len(void **state)
{
    (void)state;
    static const struct {
        uint64_t total_len;
        uint32_t piece_len;
    } rows[] = {
        {0, 16384},
        {1, 16384},
        {31 << 20, 16384},
        {100 << 20, 65536},
        {1ull << 30, 1 << 20},
        {1ull << 40, 16 << 20},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(metainfo_choose_piece_len(rows[i].total_len), rows[i].piece_len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_damage),     cmocka_unit_test(test_without_layers),
        cmocka_unit_test(test_links),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_payload),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_piece_len),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
