/* The rules of the reader, one small torrent each; the corpus test covers files from elsewhere. */
#include "test_util.h"
#include "torrent/bencode.h"
#include "torrent/merkle.h"
#include "torrent/metainfo.h"

#define HASH20  "aaaaaaaaaaaaaaaaaaaa"
#define ROOT32  "0123456789abcdef0123456789abcdef"
#define SINGLE  "6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:" HASH20
#define V2_TAIL "12:meta versioni2e4:name1:t12:piece lengthi16384e"
#define FILE2   "d0:d6:lengthi5e11:pieces root32:" ROOT32 "ee"

static enum err_code read_text(struct bytes text, struct mem *mem, struct metainfo **out,
                               struct err *err)
{
    uint8_t *copy = test_exact_copy(text);
    enum err_code code = metainfo_read(out, bytes_of(copy, text.len), mem, NULL, err);
    free(copy);
    if (code)
        assert_null(*out);
    else
        metainfo_check(*out);
    return code;
}

static const struct {
    const char *name, *info;
    enum err_code code;
} infos[] = {
    {"one file", SINGLE, ERR_OK},
    {"unsorted v1", "4:name1:a6:lengthi5e12:piece lengthi16384e6:pieces20:" HASH20, ERR_OK},
    {"a key twice", "6:lengthi5e" SINGLE, ERR_MALFORMED},
    {"a key twice further in",
     "5:filesld6:lengthi5e6:lengthi5e4:pathl1:xeee4:name1:a12:piece "
     "lengthi16384e6:pieces20:" HASH20,
     ERR_MALFORMED},
    {"name.utf-8 first",
     "6:lengthi5e4:name2:\xff\xff"
     "10:name.utf-81:a12:piece lengthi16384e6:pieces20:" HASH20,
     ERR_OK},
    {"piece length zero", "6:lengthi5e4:name1:a12:piece lengthi0e6:pieces0:", ERR_MALFORMED},
    {"piece length too long", "6:lengthi5e4:name1:a12:piece lengthi536870912e6:pieces20:" HASH20,
     ERR_LIMIT},
    {"odd v1 piece length", "6:lengthi5e4:name1:a12:piece lengthi7e6:pieces20:" HASH20, ERR_OK},
    {"no length", "4:name1:a12:piece lengthi16384e6:pieces20:" HASH20, ERR_MALFORMED},
    {"files is a dictionary", "5:filesde4:name1:a12:piece lengthi16384e6:pieces20:" HASH20,
     ERR_MALFORMED},
    {"no files", "5:filesle4:name1:a12:piece lengthi16384e6:pieces0:", ERR_MALFORMED},
    {"file is no dictionary",
     "5:filesli1ee4:name1:a12:piece lengthi16384e6:pieces0:", ERR_MALFORMED},
    {"empty path",
     "5:filesld6:lengthi5e4:pathleee4:name1:a12:piece lengthi16384e6:pieces20:" HASH20,
     ERR_MALFORMED},
    {"path of numbers",
     "5:filesld6:lengthi5e4:pathli1eeee4:name1:a12:piece lengthi16384e6:pieces20:" HASH20,
     ERR_MALFORMED},
    {"pad without path",
     "5:filesld6:lengthi5e4:pathl1:xeed4:attr1:p6:lengthi3eee4:name1:a12:piece "
     "lengthi16384e6:pieces20:" HASH20,
     ERR_OK},
    {"sum of lengths",
     "5:filesld6:lengthi9223372036854775807e4:pathl1:xeed6:lengthi9223372036854775807e4:pathl1:"
     "yeee4:name1:a12:piece lengthi16384e6:pieces20:" HASH20,
     ERR_LIMIT},
    {"meta version 3", "12:meta versioni3e" SINGLE, ERR_UNSUPPORTED},
    {"meta version 0", "12:meta versioni0e" SINGLE, ERR_UNSUPPORTED},
    {"meta version text", "12:meta version1:2" SINGLE, ERR_MALFORMED},
    {"meta version 1",
     "6:lengthi5e12:meta versioni1e4:name1:a12:piece lengthi16384e6:pieces20:" HASH20, ERR_OK},
    {"v2", "9:file treed1:x" FILE2 "e" V2_TAIL, ERR_OK},
    {"v2 unsorted", "12:meta versioni2e9:file treed1:x" FILE2 "e4:name1:t12:piece lengthi16384e",
     ERR_MALFORMED},
    {"v2 without a tree", V2_TAIL, ERR_MALFORMED},
    {"v2 empty tree", "9:file treede" V2_TAIL, ERR_MALFORMED},
    {"v2 folder without files", "9:file treed1:ade1:x" FILE2 "e" V2_TAIL, ERR_OK},
    {"v2 entry is a list", "9:file treed1:xlee" V2_TAIL, ERR_MALFORMED},
    {"v2 file is a list", "9:file treed1:xd0:leee" V2_TAIL, ERR_MALFORMED},
    {"v2 file and folder",
     "9:file treed1:xd0:d6:lengthi5e11:pieces root32:" ROOT32 "e1:y" FILE2 "ee" V2_TAIL,
     ERR_MALFORMED},
    {"v2 file at the top", "9:file tree" FILE2 V2_TAIL, ERR_MALFORMED},
    {"v2 pad file", "9:file treed1:xd0:d4:attr1:p6:lengthi5e11:pieces root32:" ROOT32 "eee" V2_TAIL,
     ERR_MALFORMED},
    {"v2 short root", "9:file treed1:xd0:d6:lengthi5e11:pieces root3:abceee" V2_TAIL,
     ERR_MALFORMED},
    {"v2 root of an empty file",
     "9:file treed1:xd0:d6:lengthi0e11:pieces root32:" ROOT32 "ee1:y" FILE2 "e" V2_TAIL,
     ERR_MALFORMED},
    {"v2 no bytes", "9:file treed1:xd0:d6:lengthi0eeee" V2_TAIL, ERR_MALFORMED},
    {"hybrid",
     "9:file treed1:x" FILE2
     "e5:filesld6:lengthi5e4:pathl1:xeee12:meta versioni2e4:name1:t12:piece "
     "lengthi16384e6:pieces20:" HASH20,
     ERR_OK},
    {"hybrid single", "9:file treed1:t" FILE2 "e6:lengthi5e" V2_TAIL "6:pieces20:" HASH20, ERR_OK},
    {"hybrid, folder of one file of its name",
     "9:file treed1:t" FILE2 "e5:filesld6:lengthi5e4:pathl1:teee" V2_TAIL "6:pieces20:" HASH20,
     ERR_OK},
    {"hybrid, other name",
     "9:file treed1:x" FILE2 "e5:filesld6:lengthi5e4:pathl1:yeee" V2_TAIL "6:pieces20:" HASH20,
     ERR_MALFORMED},
    {"hybrid, other length",
     "9:file treed1:x" FILE2 "e5:filesld6:lengthi6e4:pathl1:xeee" V2_TAIL "6:pieces20:" HASH20,
     ERR_MALFORMED},
    {"hybrid, one file more",
     "9:file treed1:x" FILE2 "e5:filesld6:lengthi5e4:pathl1:xeed6:lengthi5e4:pathl1:yeee" V2_TAIL
     "6:pieces20:" HASH20,
     ERR_MALFORMED},
    {"hybrid, single against tree",
     "9:file treed1:x" FILE2 "e6:lengthi5e" V2_TAIL "6:pieces20:" HASH20, ERR_MALFORMED},
    {"hybrid without pads",
     "9:file treed1:x" FILE2 "1:y" FILE2
     "e5:filesld6:lengthi5e4:pathl1:xeed6:lengthi5e4:pathl1:yeee" V2_TAIL "6:pieces20:" HASH20,
     ERR_MALFORMED},
    {"hybrid, a pad too many",
     "9:file treed1:x" FILE2 "e5:filesld6:lengthi5e4:pathl1:xeed4:attr1:p6:lengthi16380eee" V2_TAIL
     "6:pieces40:" HASH20 HASH20,
     ERR_MALFORMED},
    {"hybrid, the last pad there",
     "9:file treed1:x" FILE2 "e5:filesld6:lengthi5e4:pathl1:xeed4:attr1:p6:lengthi16379eee" V2_TAIL
     "6:pieces20:" HASH20,
     ERR_OK},
};

static struct bytes wrap(const char *info, char *out, size_t out_cap)
{
    int n = snprintf(out, out_cap, "d4:infod%see", info);
    return bytes_of(out, (size_t)n);
}

static void test_infos(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(infos); i++) {
        char text[2048];
        struct mem mem;
        struct metainfo *m;
        struct err err = {0};
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        struct bytes file = wrap(infos[i].info, text, sizeof text);
        enum err_code code = read_text(file, &mem, &m, &err);
        if (code != infos[i].code)
            fail_msg("%s: %s", infos[i].name, code ? err.what : "accepted");
        if (code && code != ERR_UNSUPPORTED)
            assert_true(err.at <= file.len);
        metainfo_free(m);
        /* the same through BEP 9's door */
        struct bytes info = bytes_sub(file, 7, file.len - 8);
        assert_int_equal(metainfo_read_info(&m, info, &mem, NULL, &err), infos[i].code);
        metainfo_free(m);
        mem_check_empty(&mem);
    }
}

static void test_prefixes(void **state)
{
    (void)state;
    char text[2048];
    struct bytes file = wrap(infos[0].info, text, sizeof text);
    for (size_t len = 0; len < file.len; len++) {
        struct mem mem;
        struct metainfo *m;
        struct err err = {0};
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        assert_int_equal(read_text(bytes_of(file.data, len), &mem, &m, &err), ERR_TRUNCATED);
        mem_check_empty(&mem);
    }
}

static void test_info_tail(void **state)
{
    (void)state;
    struct mem mem;
    struct metainfo *m;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(metainfo_read_info(&m, BYTES_LIT("d" SINGLE "e\n"), &mem, NULL, &err),
                     ERR_MALFORMED);
    assert_int_equal(metainfo_read_info(&m, BYTES_LIT("le"), &mem, NULL, &err), ERR_MALFORMED);
    assert_int_equal(metainfo_read_info(&m, BYTES_LIT("d" SINGLE "e"), &mem, NULL, &err), ERR_OK);
    uint8_t want[SHA1_LEN];
    sha1(BYTES_LIT("d" SINGLE "e"), want);
    assert_true(metainfo_has_hash(m, want, SHA1_LEN));
    assert_false(metainfo_has_hash(m, want, SHA256_LEN));
    assert_memory_equal(metainfo_key(m), want, SHA1_LEN);
    test_assert_bytes(m->info, BYTES_LIT("d" SINGLE "e"));
    metainfo_free(m);
    mem_check_empty(&mem);
}

/* --- names ----------------------------------------------------------------------------------- */

/* A v1 torrent whose files are given as bencoded parts of their dictionaries. */
static struct metainfo *read_files(struct mem *mem, const char *const *parts, size_t n,
                                   enum err_code *out_code)
{
    struct buf out;
    struct metainfo *m;
    struct err err = {0};
    buf_init(&out, mem, 1 << 24);
    buf_str(&out, "d4:infod5:filesl");
    for (size_t i = 0; i < n; i++)
        buf_printf(&out, "d%se", parts[i]);
    buf_printf(&out, "e4:name1:t12:piece lengthi1048576e6:pieces20:%see", HASH20);
    *out_code = read_text(buf_bytes(&out), mem, &m, &err);
    buf_clear(&out);
    return m;
}

#define PLAIN(path)        "6:lengthi1e4:pathl" path "e"
#define LINK(path, target) "4:attr1:l6:lengthi0e4:pathl" path "e12:symlink pathl" target "e"

static void test_collisions(void **state)
{
    (void)state;
    static const char *const parts[] = {
        PLAIN("1:a"),       PLAIN("1:a1:b"),  PLAIN("5:x.txt"), PLAIN("5:x.txt"),
        PLAIN("7:x.1.txt"), PLAIN("5:x.txt"), PLAIN("1:/"),     PLAIN("1:."),
        PLAIN("1:d1:e1:f"), PLAIN("1:d1:e"),  PLAIN("5:X.TXT"), "4:attr1:p" PLAIN("1:a"),
    };
    static const char *const want[] = {
        "t/a.1", "t/a/b", "t/x.txt", "t/x.1.txt", "t/x.1.1.txt", "t/x.2.txt",
        "t/_",   "t/_.1", "t/d/e/f", "t/d/e.1",   "t/X.TXT",     "t/a", /* a pad: not on disk */
    };
    struct mem mem;
    enum err_code code;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    struct metainfo *m = read_files(&mem, parts, COUNT_OF(parts), &code);
    assert_int_equal(code, ERR_OK);
    for (size_t i = 0; i < COUNT_OF(want); i++)
        assert_string_equal(m->files[i].path, want[i]);
    metainfo_free(m);
    mem_check_empty(&mem);
}

static void test_too_many_collisions(void **state)
{
    (void)state;
    const char *parts[100];
    struct mem mem;
    enum err_code code;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        parts[i] = PLAIN("1:a");
    /* n equal names take n (n - 1) / 2 attempts */
    struct metainfo *m = read_files(&mem, parts, 32, &code);
    assert_int_equal(code, ERR_OK);
    assert_string_equal(m->files[31].path, "t/a.31");
    metainfo_free(m);
    read_files(&mem, parts, 33, &code);
    assert_int_equal(code, ERR_LIMIT);
    mem_check_empty(&mem);
}

static void test_links(void **state)
{
    (void)state;
    static const struct {
        const char *part, *target; /* NULL: becomes an empty file */
    } rows[] = {
        {PLAIN("3:dir1:f"), NULL},
        {LINK("2:l0", "3:dir1:f"), "t/dir/f"},
        {LINK("2:l1", "3:dir"), "t/dir"},
        {LINK("2:l2", "2:l11:f"), "t/l1/f"}, /* through another link */
        {LINK("2:l3", "4:none"), NULL},      /* leads nowhere */
        {LINK("2:l4", "2:..1:x"), NULL},     /* ".." is a name like any other, and not there */
        {LINK("2:l5", "2:l6"), NULL},        /* a circle of two */
        {LINK("2:l6", "2:l5"), NULL},
        {LINK("2:l7", "2:l7"), NULL},         /* of one */
        {LINK("3:dir1:g", "1:f"), "t/dir/f"}, /* relative to its own folder */
        {LINK("2:l8", "2:l3"), NULL},         /* to a link that leads nowhere */
        {LINK("3:dir2:up", ""), NULL},        /* no target */
        {LINK("2:l9", "1:/3:etc"), NULL},
    };
    const char *parts[COUNT_OF(rows)];
    struct mem mem;
    enum err_code code;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        parts[i] = rows[i].part;
    struct metainfo *m = read_files(&mem, parts, COUNT_OF(rows), &code);
    assert_int_equal(code, ERR_OK);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (!rows[i].target != !m->files[i].symlink)
            fail_msg("link %zu: %s", i, m->files[i].symlink ? m->files[i].symlink : "dropped");
        if (rows[i].target)
            assert_string_equal(m->files[i].symlink, rows[i].target);
    }
    metainfo_free(m);
    mem_check_empty(&mem);
}

/* Links that all lead through each other are given up on, not followed for ever. */
static void test_link_maze(void **state)
{
    (void)state;
    struct mem mem;
    struct buf out;
    struct metainfo *m;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, 1 << 24);
    buf_str(&out, "d4:infod5:filesld6:lengthi1e4:pathl1:xee");
    for (unsigned i = 0; i < 20000; i++)
        buf_printf(&out, "d4:attr1:l4:pathl6:l%05ue12:symlink pathl6:l%05uee", i, i + 1);
    buf_printf(&out, "e4:name1:t12:piece lengthi1048576e6:pieces20:%see", HASH20);
    assert_int_equal(read_text(buf_bytes(&out), &mem, &m, &err), ERR_OK);
    for (unsigned i = 1; i < m->n_files; i++)
        assert_null(m->files[i].symlink);
    buf_clear(&out);
    metainfo_free(m);
    mem_check_empty(&mem);
}

static void test_deep_path(void **state)
{
    (void)state;
    char part[1024];
    const char *parts[1] = {part};
    for (unsigned depth = 100; depth <= 102; depth++) {
        struct mem mem;
        enum err_code code;
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        snprintf(part, sizeof part, "6:lengthi1e4:pathl");
        for (unsigned i = 0; i < depth; i++)
            snprintf(part + strlen(part), sizeof part - strlen(part), "1:d");
        snprintf(part + strlen(part), sizeof part - strlen(part), "e");
        struct metainfo *m = read_files(&mem, parts, 1, &code);
        assert_int_equal(code, depth > METAINFO_DIR_DEPTH_MAX + 1 ? ERR_LIMIT : ERR_OK);
        metainfo_free(m);
        mem_check_empty(&mem);
    }
}

/* --- what stands beside ---------------------------------------------------------------------- */

static const char extras[] =
    "d8:announce9:http://a/13:announce-listl"
    "l9:http://b/7: udp://e2:xxl0:e3:yyyli7eel9:http://b/ee"
    "7:comment4:a\xff\0b10:created by1:c13:creation datei77e"
    "9:httpseedsl9:http://h/e4:infod" SINGLE "7:privatei1e6:source3:srce"
    "5:nodesll1:hi1eel1:hi0eel1:hi65536eeli1ei1eel0:i1eel1:hee8:url-list9:http://u/e";

static void test_extras(void **state)
{
    (void)state;
    struct mem mem;
    struct metainfo *m;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    /* an empty tier is none, a string among the tiers is a tier of one */
    assert_int_equal(read_text(bytes_of(extras, sizeof extras - 1), &mem, &m, &err), ERR_OK);
    static const struct {
        const char *url;
        uint32_t tier;
    } want[] = {{"http://b/", 0}, {"udp://", 0}, {"xx", 1}, {"yyy", 2}};
    assert_int_equal(m->n_trackers, COUNT_OF(want));
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        assert_string_equal(m->trackers[i].url, want[i].url);
        assert_int_equal(m->trackers[i].tier, want[i].tier);
    }
    assert_true(m->is_private && m->has_creation_date && m->creation_date == 77);
    assert_string_equal(m->source, "src");
    assert_string_equal(m->comment, "a\xef\xbf\xbd"
                                    "b");
    assert_string_equal(m->created_by, "c");
    assert_int_equal(m->n_webseeds, 2);
    assert_string_equal(m->webseeds[0].url, "http://u/");
    assert_true(m->webseeds[1].is_httpseed);
    assert_int_equal(m->n_nodes, 1);
    assert_int_equal(m->n_dropped, 3 + 5); /* "", 7, a double; nodes */
    metainfo_free(m);
    mem_check_empty(&mem);
}

static void test_overfull(void **state)
{
    (void)state;
    struct mem mem;
    struct buf out;
    struct metainfo *m;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, 1 << 20);
    buf_str(&out, "d13:announce-listl");
    for (unsigned i = 0; i < 300; i++)
        buf_printf(&out, "l14:http://t%06ue", i);
    buf_str(&out, "e11:collectionsl");
    for (unsigned i = 0; i < 300; i++)
        buf_printf(&out, "3:%03u", i);
    buf_str(&out, "e4:infod" SINGLE "e5:nodesl");
    for (unsigned i = 0; i < 300; i++)
        buf_printf(&out, "l3:%03ui%uee", i, i + 1);
    buf_str(&out, "e7:similarl");
    for (unsigned i = 0; i < 300; i++)
        buf_printf(&out, "20:%020u", i);
    buf_str(&out, "e8:url-listl");
    for (unsigned i = 0; i < 300; i++)
        buf_printf(&out, "14:http://u%06u", i);
    buf_str(&out, "ee");
    assert_int_equal(read_text(buf_bytes(&out), &mem, &m, &err), ERR_OK);
    assert_int_equal(m->n_trackers, METAINFO_N_TRACKERS_MAX);
    assert_int_equal(m->n_webseeds, METAINFO_N_WEBSEEDS_MAX);
    assert_int_equal(m->n_nodes, METAINFO_N_NODES_MAX);
    assert_int_equal(m->n_similar, METAINFO_N_SIMILAR_MAX);
    assert_int_equal(m->n_collections, METAINFO_N_SIMILAR_MAX);
    assert_int_equal(m->n_dropped, 5 * (300 - 256));
    assert_int_equal(metainfo_add_tracker(m, "http://late/", 0), ERR_OK);
    assert_int_equal(m->n_trackers, METAINFO_N_TRACKERS_MAX);
    buf_clear(&out);
    metainfo_free(m);
    mem_check_empty(&mem);
}

static void test_add_tracker(void **state)
{
    (void)state;
    struct mem mem;
    struct metainfo *m;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(metainfo_read_info(&m, BYTES_LIT("d" SINGLE "e"), &mem, NULL, &err), ERR_OK);
    assert_int_equal(metainfo_add_tracker(m, "http://c/", 2), ERR_OK);
    assert_int_equal(metainfo_add_tracker(m, "http://a/", 0), ERR_OK);
    assert_int_equal(metainfo_add_tracker(m, "http://b/", 0), ERR_OK);
    assert_int_equal(metainfo_add_tracker(m, "http://c/", 1), ERR_OK); /* a double */
    assert_int_equal(m->n_trackers, 3);
    assert_string_equal(m->trackers[0].url, "http://a/");
    assert_string_equal(m->trackers[1].url, "http://b/");
    assert_string_equal(m->trackers[2].url, "http://c/");
    metainfo_check(m);
    metainfo_free(m);
    mem_check_empty(&mem);
}

/* --- limits ---------------------------------------------------------------------------------- */

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        struct metainfo_limits l;
        enum err_code code;
    } rows[] = {
        {{1000, 100, 100, 2, 2}, ERR_OK},    {{50, 100, 100, 2, 2}, ERR_LIMIT},
        {{1000, 10, 100, 2, 2}, ERR_LIMIT},  {{1000, 100, 2, 2, 2}, ERR_LIMIT},
        {{1000, 100, 100, 1, 2}, ERR_LIMIT}, {{1000, 100, 100, 2, 1}, ERR_LIMIT},
    };
    static const char text[] =
        "d4:infod5:filesld6:lengthi16384e4:pathl1:xeed6:lengthi1e4:pathl1:yeee4:name1:a12:piece "
        "lengthi16384e6:pieces40:" HASH20 HASH20 "ee";
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct mem mem;
        struct metainfo *m;
        struct err err = {0};
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        assert_int_equal(metainfo_read(&m, bytes_of_str(text), &mem, &rows[i].l, &err),
                         rows[i].code);
        metainfo_free(m);
        mem_check_empty(&mem);
    }
}

/* --- piece layers ---------------------------------------------------------------------------- */

/* A v2 torrent of two equal files of three pieces each. */
static void write_layered(struct buf *out, const uint8_t *layer, bool has_layers)
{
    uint8_t root[SHA256_LEN];
    struct merkle_shape s;
    assert_true(merkle_shape_of(40000, 16384, &s));
    merkle_root(layer, 3, s.piece_height, s.root_height, root);
    buf_str(out, "d4:infod9:file treed");
    for (unsigned i = 0; i < 2; i++) {
        buf_printf(out, "1:%ud0:d6:lengthi40000e11:pieces root32:", i);
        buf_put(out, bytes_of(root, SHA256_LEN));
        buf_str(out, "ee");
    }
    buf_str(out, "e" V2_TAIL "e");
    if (has_layers) {
        buf_str(out, "12:piece layersd32:");
        buf_put(out, bytes_of(root, SHA256_LEN));
        buf_str(out, "96:");
        buf_put(out, bytes_of(layer, 96));
        buf_str(out, "e");
    }
    buf_str(out, "e");
}

static void test_layers(void **state)
{
    (void)state;
    struct mem mem;
    struct buf with, without, written;
    struct metainfo *m;
    struct err err = {0};
    uint8_t layer[96];
    for (size_t i = 0; i < 96; i++)
        layer[i] = (uint8_t)i;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&with, &mem, 1 << 16);
    buf_init(&without, &mem, 1 << 16);
    buf_init(&written, &mem, 1 << 16);
    write_layered(&with, layer, true);
    write_layered(&without, layer, false);

    assert_int_equal(read_text(buf_bytes(&with), &mem, &m, &err), ERR_OK);
    assert_true(m->has_piece_layers);
    assert_int_equal(m->n_pieces, 6);
    assert_memory_equal(metainfo_v2_piece_hash(m, 4), layer + 32, 32);
    metainfo_write(m, &written);
    test_assert_bytes(buf_bytes(&written), buf_bytes(&with));
    metainfo_free(m);

    assert_int_equal(read_text(buf_bytes(&without), &mem, &m, &err), ERR_OK);
    assert_false(m->has_piece_layers);
    assert_null(metainfo_v2_piece_hash(m, 4));
    layer[5] ^= 1;
    assert_int_equal(metainfo_set_piece_layer(m, 0, bytes_of(layer, 96), &err), ERR_MALFORMED);
    layer[5] ^= 1;
    assert_int_equal(metainfo_set_piece_layer(m, 0, bytes_of(layer, 64), &err), ERR_MALFORMED);
    assert_int_equal(metainfo_set_piece_layer(m, 2, bytes_of(layer, 96), &err), ERR_MALFORMED);
    assert_int_equal(metainfo_set_piece_layer(m, 0, bytes_of(layer, 96), &err), ERR_OK);
    assert_true(m->has_piece_layers); /* the other file is the same */
    metainfo_check(m);
    buf_reset(&written);
    metainfo_write(m, &written);
    test_assert_bytes(buf_bytes(&written), buf_bytes(&with));
    metainfo_free(m);
    buf_clear(&with);
    buf_clear(&without);
    buf_clear(&written);
    mem_check_empty(&mem);
}

/* --- memory ---------------------------------------------------------------------------------- */

static bool run_sweep(struct mem *mem, void *ctx)
{
    struct metainfo *m;
    struct err err = {0};
    enum err_code code = metainfo_read(&m, *(struct bytes *)ctx, mem, NULL, &err);
    metainfo_free(m);
    assert_true(code == ERR_OK || code == ERR_NO_MEMORY);
    return code == ERR_OK;
}

static void test_no_memory(void **state)
{
    (void)state;
    struct bytes in = bytes_of(extras, sizeof extras - 1);
    assert_true(test_fail_sweep(run_sweep, &in) > 5);
    static const char *const names[] = {"v2_hybrid", "v2_multipiece_file", "overlapping_symlinks",
                                        "v2_symlinks", "invalid_filename2"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[TEST_PATH_CAP], name[128];
        snprintf(name, sizeof name, "tests/vectors/torrents/libtorrent/%s.torrent", names[i]);
        struct span file = test_read_file(test_source_path(path, name));
        assert_non_null(file.data);
        in = bytes_of(file.data, file.len);
        assert_true(test_fail_sweep(run_sweep, &in) > 5);
        free(file.data);
    }
}

/* A budget that is too small is an error, never more memory. */
static void test_budget(void **state)
{
    (void)state;
    char text[2048];
    struct mem mem;
    struct metainfo *m;
    struct err err = {0};
    mem_init(&mem, 2000, NULL);
    assert_int_equal(read_text(wrap(infos[0].info, text, sizeof text), &mem, &m, &err),
                     ERR_NO_MEMORY);
    assert_true(mem.peak_len <= 2000);
    mem_check_empty(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_infos),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_info_tail),
        cmocka_unit_test(test_collisions),
        cmocka_unit_test(test_too_many_collisions),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_link_maze),
        cmocka_unit_test(test_deep_path),
        cmocka_unit_test(test_extras),
        cmocka_unit_test(test_overfull),
        cmocka_unit_test(test_add_tracker),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
