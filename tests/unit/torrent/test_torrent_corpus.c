/* Every torrent of the corpus comes out as its expectations.tsv says: accepted or refused, hashes,
 * version, files, bytes, piece length; and the names and lists that the reasons spell out.
 *
 * Reads tests/vectors/torrents (part of the source) and ../shared/torrents (when it is there). */
#include "base/utf8.h"
#include "test_util.h"
#include "torrent/metainfo.h"
#include <time.h>

static enum err_code read_torrent(const char *path, struct mem *mem, struct metainfo **out,
                                  struct err *err)
{
    struct span file = test_read_file(path);
    assert_non_null(file.data);
    uint8_t *exact = test_exact_copy(bytes_of(file.data, file.len));
    enum err_code code = metainfo_read(out, bytes_of(exact, file.len), mem, NULL, err);
    free(exact);
    free(file.data);
    return code;
}

static void assert_hash(const char *file, const char *want, bool has, const uint8_t *hash,
                        size_t len)
{
    char text[80];
    hex_encode(bytes_of(hash, len), text, sizeof text);
    if (strcmp(has ? text : "-", want) != 0)
        fail_msg("%s: info-hash %s, want %s", file, has ? text : "-", want);
}

/* "v1; 3 files; 850 bytes; piece 16384" somewhere in the reason. */
static void check_facts(const char *file, const char *reason, const struct metainfo *m)
{
    static const char *const kinds[] = {"v1; ", "v2; ", "hybrid; "};
    static const bool has_v1[] = {true, false, true}, has_v2[] = {false, true, true};
    for (size_t i = 0; i < 3; i++) {
        unsigned n_files, piece_len;
        unsigned long long len;
        const char *at = strstr(reason, kinds[i]);
        if (!at || (sscanf(at + strlen(kinds[i]), "%u file%*[^;]; %llu bytes; piece %u", &n_files,
                           &len, &piece_len) != 3 &&
                    sscanf(at + strlen(kinds[i]), "%u file; %llu bytes; piece %u", &n_files, &len,
                           &piece_len) != 3))
            continue;
        uint32_t n = 0;
        for (uint32_t k = 0; k < m->n_files; k++)
            n += !m->has_v2 || !(m->files[k].flags & FILE_PAD);
        if (m->has_v1 != has_v1[i] || m->has_v2 != has_v2[i] || n != n_files ||
            m->total_len != len || m->piece_len != piece_len)
            fail_msg("%s: v1 %d v2 %d, %u files, %llu bytes, piece %u; want %s", file, m->has_v1,
                     m->has_v2, n, (unsigned long long)m->total_len, m->piece_len, at);
        bool needs_layers = false;
        for (uint32_t k = 0; k < m->n_files; k++)
            needs_layers = needs_layers || m->files[k].n_layer > 0;
        if (needs_layers && m->has_piece_layers != !strstr(at, "piece layers absent"))
            fail_msg("%s: piece layers complete: %d; want %s", file, m->has_piece_layers, at);
        assert_int_equal(m->is_private, strstr(at, "; private") != NULL);
        return;
    }
    fail_msg("%s: no facts in '%s'", file, reason);
}

static void check_row(const char *folder, char *fields[5], unsigned *n_ok, unsigned *n_error)
{
    char path[2 * TEST_PATH_CAP];
    struct mem mem;
    struct metainfo *m;
    struct err err = {0};
    bool want_ok = strcmp(fields[1], "ok") == 0;
    struct timespec from, to;
    snprintf(path, sizeof path, "%s/%s", folder, fields[0]);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    enum err_code code = read_torrent(path, &mem, &m, &err);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    if (seconds > 5.0) /* well under one outside of sanitizers */
        fail_msg("%s: took %f s", fields[0], seconds);
    if (want_ok != (code == ERR_OK))
        fail_msg("%s: %s, want %s (%s)", fields[0], code ? err.what : "accepted", fields[1],
                 fields[2]);
    if (code == ERR_OK) {
        metainfo_check(m);
        assert_hash(fields[0], fields[3], m->has_v1, m->infohash_v1, SHA1_LEN);
        assert_hash(fields[0], fields[4], m->has_v2, m->infohash_v2, SHA256_LEN);
        check_facts(fields[0], fields[2], m);
        metainfo_free(m);
        ++*n_ok;
    } else {
        assert_non_null(err.what);
        assert_int_equal(err.code, code);
        assert_null(m);
        ++*n_error;
    }
    mem_check_empty(&mem);
}

static void check_table(const char *folder, unsigned *n_ok, unsigned *n_error)
{
    char path[TEST_PATH_CAP + 40], line[4096];
    snprintf(path, sizeof path, "%s/expectations.tsv", folder);
    FILE *f = fopen(path, "r");
    if (!f)
        return;
    while (fgets(line, sizeof line, f)) {
        char *fields[5] = {0}, *rest = line;
        line[strcspn(line, "\n")] = '\0';
        for (int i = 0; i < 5; i++)
            fields[i] = strsep(&rest, "\t");
        if (fields[4] && strlen(fields[0]) > 8 &&
            strcmp(fields[0] + strlen(fields[0]) - 8, ".torrent") == 0)
            check_row(folder, fields, n_ok, n_error);
    }
    fclose(f);
}

static void test_vectors(void **state)
{
    (void)state;
    char folder[TEST_PATH_CAP];
    unsigned n_ok = 0, n_error = 0;
    check_table(test_source_path(folder, "tests/vectors/torrents"), &n_ok, &n_error);
    assert_int_equal(n_ok, 59);
    assert_int_equal(n_error, 27);
}

static void test_shared(void **state)
{
    (void)state;
    char folder[TEST_PATH_CAP];
    unsigned n_ok = 0, n_error = 0;
    check_table(test_source_path(folder, "../shared/torrents"), &n_ok, &n_error);
    if (n_ok + n_error == 0)
        skip();
    print_message("%u accepted, %u refused\n", n_ok, n_error);
    assert_true(n_ok > 60 && n_error > 30);
}

/* --- what the reasons spell out -------------------------------------------------------------- */

static const struct {
    const char *file;
    const char *paths[4]; /* of its first files; NULL: not looked at */
} named[] = {
    {"invalid_directory_name", {"test2/_/foo", "test2/_/foo.1"}},
    {"invalid_filename", {"est2/f", "est2/_", NULL}},
    {"invalid_name2", {"b61560c2918f463768cd122b6d2fdd47b77bdb35/foo/bar.txt", NULL}},
    {"invalid_name3", {"foobar /foo/bar.txt", NULL}},
    {"slash_path", {"temp/_/_/bar", NULL}},
    {"slash_path2", {"temp/abc....def/_/bar", NULL}},
    {"slash_path3", {"temp....abc", NULL}},
    {"hidden_parent_path", {"temp/foo......bar/bar", NULL}},
    {"v2_invalid_filename", {"_estMB", NULL}},
    {"v2_invalid_filename2", {"test/_", "test/_.1", NULL}},
};

static struct metainfo *read_named(struct mem *mem, const char *name)
{
    char folder[TEST_PATH_CAP], path[TEST_PATH_CAP + 200];
    struct metainfo *m;
    struct err err = {0};
    snprintf(path, sizeof path, "%s/libtorrent/%s.torrent",
             test_source_path(folder, "tests/vectors/torrents"), name);
    mem_init(mem, MEM_NO_BUDGET, NULL);
    if (read_torrent(path, mem, &m, &err))
        fail_msg("%s: %s", name, err.what);
    return m;
}

static void end_named(struct mem *mem, struct metainfo *m)
{
    metainfo_free(m);
    mem_check_empty(mem);
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        struct mem mem;
        struct metainfo *m = read_named(&mem, named[i].file);
        for (size_t k = 0; k < 4 && named[i].paths[k]; k++)
            assert_string_equal(m->files[k].path, named[i].paths[k]);
        for (uint32_t k = 1; k < m->n_files; k++)
            assert_string_not_equal(m->files[k].path, m->files[k - 1].path);
        end_named(&mem, m);
    }
}

static void test_long_name(void **state)
{
    (void)state;
    struct mem mem;
    struct metainfo *m = read_named(&mem, "long_name");
    assert_in_range(strlen(m->name), 200, 240);
    assert_true(utf8_is_valid(bytes_of_str(m->name)));
    end_named(&mem, m);
}

static void test_symlinks(void **state)
{
    (void)state;
    static const char *const want[] = {"Headers", "Resources", "SDL2"};
    static const char *const files[] = {"overlapping_symlinks", "v2_symlinks"};
    struct mem mem;
    struct metainfo *m;
    for (size_t i = 0; i < 2; i++) {
        m = read_named(&mem, files[i]);
        for (uint32_t k = 0; k < 3; k++) {
            char target[128];
            snprintf(target, sizeof target, "SDL2.framework/Versions/Current/%s", want[k]);
            assert_true(m->files[k].flags & FILE_SYMLINK);
            assert_string_equal(m->files[k].symlink, target);
            assert_int_equal(m->files[k].len, 0);
        }
        end_named(&mem, m);
    }
    m = read_named(&mem, "symlink1");
    assert_string_equal(m->files[1].symlink, "temp/a/b/bar");
    end_named(&mem, m);
    m = read_named(&mem, "symlink_filtered_path");
    assert_string_equal(m->files[1].path, "temp/a/_/foo");
    assert_string_equal(m->files[1].symlink, "temp/a/_/bar");
    end_named(&mem, m);
    m = read_named(&mem, "symlink_zero_size");
    assert_non_null(m->files[1].symlink);
    end_named(&mem, m);
}

static void test_seeds(void **state)
{
    (void)state;
    static const struct {
        const char *file, *url;
        uint32_t n;
    } rows[] = {
        {"url_seed", "http://test.com/file", 1},
        {"url_seed_multi_single_file", "http://test.com/file/temp/foo/bar.txt", 1},
        {"url_seed_multi_space", "http://test.com/test%20file/foo%20bar/", 1},
        {"duplicate_web_seeds", NULL, 3},
        {"empty_httpseed", NULL, 0},
        {"url_list2", NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mem mem;
        struct metainfo *m = read_named(&mem, rows[i].file);
        assert_int_equal(m->n_webseeds, rows[i].n);
        if (rows[i].url)
            assert_string_equal(m->webseeds[0].url, rows[i].url);
        end_named(&mem, m);
    }
}

static void test_extras(void **state)
{
    (void)state;
    struct mem mem;
    struct metainfo *m = read_named(&mem, "whitespace_url");
    assert_string_equal(m->trackers[0].url, "udp://test.com/announce");
    end_named(&mem, m);
    m = read_named(&mem, "creation_date");
    assert_true(m->has_creation_date && m->creation_date == 1234567);
    end_named(&mem, m);
    m = read_named(&mem, "no_creation_date");
    assert_false(m->has_creation_date);
    end_named(&mem, m);
    m = read_named(&mem, "dht_nodes");
    assert_int_equal(m->n_nodes, 2);
    assert_string_equal(m->nodes[0].host, "127.0.0.1");
    assert_string_equal(m->nodes[1].host, "192.168.1.1");
    assert_int_equal(m->nodes[1].port, 6881);
    end_named(&mem, m);
    m = read_named(&mem, "similar");
    assert_int_equal(m->n_similar, 1);
    assert_memory_equal(m->similar[0], "aaaaaaaaaaaaaaaaaaaa", 20);
    end_named(&mem, m);
    static const char *const collections[] = {"collection", "collection2"};
    for (size_t i = 0; i < 2; i++) {
        m = read_named(&mem, collections[i]);
        assert_int_equal(m->n_collections, 2);
        assert_string_equal(m->collections[0], "bar");
        assert_string_equal(m->collections[1], "foo");
        end_named(&mem, m);
    }
}

static void test_roots(void **state)
{
    (void)state;
    static const struct {
        const char *file, *root;
    } rows[] = {
        {"v2", "60aae9c7b428f87e0713e88229e18f0adf12cd7b22a0dd8a92bb2485eb7af242"},
        {"v2_multipiece_file", "515ea9181744b817744ded9d2e8e9dc6a8450c0b0c52e24b5077f302ffbd9008"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct mem mem;
        struct metainfo *m = read_named(&mem, rows[i].file);
        char text[80];
        hex_encode(bytes_of(m->files[0].pieces_root, SHA256_LEN), text, sizeof text);
        assert_string_equal(text, rows[i].root);
        end_named(&mem, m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),  cmocka_unit_test(test_shared),
        cmocka_unit_test(test_names),    cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_symlinks), cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_extras),   cmocka_unit_test(test_roots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
