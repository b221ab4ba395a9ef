#include "store/beneath.h"
#include "store/file_store.h"
#include "torrent_fixture.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#define PIECE_LEN 65536u

/* --- a world: a torrent, a folder, a store --------------------------------------------------- */

static const struct fixture_file tree[] = {
    {"a/one", 100000, "", NULL},      {"a/two", 3, "x", NULL},
    {"b/c/three", 200000, "", NULL},  {"empty", 0, "", NULL},
    {".pad/27677", 27677, "p", NULL}, {"four", 65536, "", NULL},
    {"link", 0, "l", "b/c/three"},    {"a/link2", 0, "l", "a/one"},
};

struct world {
    char dir[TEST_PATH_CAP];
    struct fixture *x;
    struct file_cache *cache;
    struct file_store *store;
    struct store_file_stat stats[16];
    struct store_open open;
};

static struct world world_make(const struct file_ops *ops, size_t n_fds_max)
{
    struct world w = {0};
    struct err err;
    test_temp_dir(w.dir);
    w.x = fixture_new(tree, COUNT_OF(tree), PIECE_LEN);
    assert_int_equal(file_cache_new(&w.cache, n_fds_max, ops, &err), ERR_OK);
    return w;
}

static enum err_code world_open(struct world *w, bool is_read_only, struct err *err)
{
    w->open = (struct store_open){.torrent = 1,
                                  .info = w->x->info,
                                  .dir = w->dir,
                                  .is_read_only = is_read_only,
                                  .files = w->stats};
    return file_store_open(&w->store, w->cache, &w->open, err);
}

static void world_clear(struct world *w)
{
    file_store_close(w->store);
    assert_int_equal(file_cache_n_open(w->cache), 0);
    file_cache_free(w->cache);
    fixture_free(w->x);
    test_remove_dir(w->dir);
}

struct put {
    struct store_put request;
    const uint8_t *blocks[64];
    struct sha1_state v1;
    uint8_t leaves[64][SHA256_LEN];
};

static void put_init(struct put *p, const struct world *w, uint32_t piece, uint32_t begin,
                     uint32_t len)
{
    memset(p, 0, sizeof *p);
    const uint8_t *data = w->x->data + (uint64_t)piece * PIECE_LEN + begin;
    for (uint32_t off = 0; off < len; off += BLOCK_LEN)
        p->blocks[off / BLOCK_LEN] = data + off;
    p->request = (struct store_put){
        .torrent = 1, .piece = piece, .begin = begin, .len = len, .blocks = p->blocks};
}

static enum err_code put_piece(struct world *w, uint32_t piece, struct err *err)
{
    struct put p;
    put_init(&p, w, piece, 0, layout_piece_data_len(&w->x->info->layout, piece));
    sha1_init(&p.v1);
    p.request.v1 = &p.v1;
    p.request.v1_last = true;
    p.request.v1_zeros = layout_piece_len(&w->x->info->layout, piece) - p.request.len;
    memcpy(p.request.v1_want, metainfo_v1_piece_hash(w->x->info, piece), SHA1_LEN);
    enum err_code code = file_store_put(w->store, &p.request, err);
    if (code == ERR_OK) {
        assert_false(p.request.is_bad);
        assert_true(p.request.is_written);
    }
    return code;
}

static void put_all(struct world *w)
{
    struct err err = {0};
    for (uint32_t i = 0; i < w->x->info->n_pieces; i++)
        assert_int_equal(put_piece(w, i, &err), ERR_OK);
}

static bool check_piece(struct world *w, uint32_t piece, bool *out_is_missing)
{
    static uint8_t scratch[2 * BLOCK_LEN];
    struct store_check c = {.torrent = 1, .piece = piece, .want_v1 = true};
    struct err err;
    assert_int_equal(file_store_check(w->store, &c, (struct span){scratch, sizeof scratch}, &err),
                     ERR_OK);
    *out_is_missing = c.is_missing;
    return !c.is_missing &&
           memcmp(c.v1_digest, metainfo_v1_piece_hash(w->x->info, piece), SHA1_LEN) == 0;
}

static char *in_dir(const struct world *w, const char *name)
{
    static char paths[2][TEST_PATH_CAP];
    static unsigned next;
    return test_join(paths[next++ % 2], w->dir, name);
}

static void assert_file(const struct world *w, const char *name, uint32_t file)
{
    struct span got = test_read_file(in_dir(w, name));
    const struct metainfo_file *f = &w->x->info->files[file];
    test_assert_bytes(bytes_of(got.data, got.len), bytes_of(w->x->data + f->off, f->len));
    free(got.data);
}

/* --- writing and reading --------------------------------------------------------------------- */

static void writes_a_tree(void **state)
{
    (void)state;
    size_t n_fds = test_count_fds();
    struct world w = world_make(NULL, 0);
    struct err err;
    struct stat st;
    char target[256] = {0};
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    assert_false(w.stats[0].exists);
    put_all(&w);
    assert_int_equal(file_store_sync(w.store, &err), ERR_OK);
    assert_file(&w, "top/a/one", 0);
    assert_file(&w, "top/a/two", 1);
    assert_file(&w, "top/b/c/three", 2);
    assert_file(&w, "top/four", 5);
    assert_int_equal(stat(in_dir(&w, "top/empty"), &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(lstat(in_dir(&w, "top/.pad/27677"), &st), -1);
    assert_int_equal(stat(in_dir(&w, "top/a/two"), &st), 0);
    assert_true(st.st_mode & S_IXUSR);
    assert_int_equal(stat(in_dir(&w, "top/a/one"), &st), 0);
    assert_false(st.st_mode & S_IXUSR);
    assert_true(readlink(in_dir(&w, "top/link"), target, sizeof target - 1) > 0);
    assert_string_equal(target, "b/c/three");
    memset(target, 0, sizeof target);
    assert_true(readlink(in_dir(&w, "top/a/link2"), target, sizeof target - 1) > 0);
    assert_string_equal(target, "one");
    world_clear(&w);
    assert_int_equal(test_count_fds(), n_fds);
}

static void a_piece_in_runs_hashes_as_one(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    struct err err;
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    struct sha1_state v1;
    sha1_init(&v1);
    uint8_t leaf[SHA256_LEN];
    for (uint32_t begin = 0; begin < PIECE_LEN; begin += 2 * BLOCK_LEN) {
        struct put p;
        put_init(&p, &w, 1, begin, 2 * BLOCK_LEN);
        p.request.v1 = &v1;
        p.request.v2_leaves = p.leaves;
        p.request.v1_last = begin + 2 * BLOCK_LEN == PIECE_LEN;
        memcpy(p.request.v1_want, metainfo_v1_piece_hash(w.x->info, 1), SHA1_LEN);
        assert_int_equal(file_store_put(w.store, &p.request, &err), ERR_OK);
        assert_false(p.request.is_bad);
        assert_true(p.request.is_written);
        sha256(bytes_of(p.blocks[1], BLOCK_LEN), leaf);
        assert_memory_equal(leaf, p.leaves[1], SHA256_LEN);
    }
    bool is_missing;
    assert_true(check_piece(&w, 1, &is_missing));
    world_clear(&w);
}

/* Four puts at once, the last piece (short) among them: a bad one, and one outside its piece, do
 * not touch the others. */
static void puts_together_are_each_their_own(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    const struct layout *l = &w.x->info->layout;
    struct err err;
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    uint32_t n_pieces = w.x->info->n_pieces;
    uint32_t pieces[STORE_PUTS_MAX] = {0, n_pieces - 1, 1, 2};
    struct put p[STORE_PUTS_MAX];
    struct err errs[STORE_PUTS_MAX];
    struct store_put_item items[STORE_PUTS_MAX];
    for (uint32_t i = 0; i < STORE_PUTS_MAX; i++) {
        put_init(&p[i], &w, pieces[i], 0, layout_piece_data_len(l, pieces[i]));
        sha1_init(&p[i].v1);
        p[i].request.v1 = &p[i].v1;
        p[i].request.v1_last = true;
        p[i].request.v1_zeros = layout_piece_len(l, pieces[i]) - p[i].request.len;
        memcpy(p[i].request.v1_want, metainfo_v1_piece_hash(w.x->info, pieces[i]), SHA1_LEN);
        items[i] = (struct store_put_item){w.store, &p[i].request, &errs[i]};
    }
    p[2].request.v1_want[0] ^= 1;
    p[3].request.begin = PIECE_LEN;
    file_store_put_many(items, STORE_PUTS_MAX);
    bool is_missing;
    for (uint32_t i = 0; i < STORE_PUTS_MAX; i++) {
        assert_int_equal(errs[i].code, i == 3 ? ERR_LIMIT : ERR_OK);
        assert_int_equal(p[i].request.is_bad, i == 2);
        assert_int_equal(p[i].request.is_written, i < 2);
    }
    assert_true(check_piece(&w, 0, &is_missing));
    assert_true(check_piece(&w, n_pieces - 1, &is_missing));
    world_clear(&w);
}

/* Any pieces of a store are checked at once as they are one by one; those of a file that is gone, and
 * of one that cannot be opened, do not touch the others. */
static void checks_together_are_each_their_own(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    const struct layout *l = &w.x->info->layout;
    struct err err;
    static uint8_t scratch[STORE_PUTS_MAX * BLOCK_LEN];
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    put_all(&w);
    file_store_close(w.store); /* nothing stays open */
    assert_int_equal(world_open(&w, true, &err), ERR_OK);
    assert_int_equal(unlink(in_dir(&w, "top/a/one")), 0);
    assert_int_equal(unlink(in_dir(&w, "top/four")), 0);
    assert_int_equal(mkdir(in_dir(&w, "top/four"), 0777), 0);
    uint32_t n_pieces = w.x->info->n_pieces, n_good = 0;
    for (uint32_t first = 0; first < n_pieces; first++)
        for (uint32_t n = 1; n <= STORE_PUTS_MAX; n++) {
            struct store_check c[STORE_PUTS_MAX];
            uint8_t leaves[STORE_PUTS_MAX][PIECE_LEN / BLOCK_LEN][SHA256_LEN], leaf[SHA256_LEN];
            struct err errs[STORE_PUTS_MAX];
            struct store_check_item items[STORE_PUTS_MAX];
            for (uint32_t i = 0; i < n; i++) {
                c[i] = (struct store_check){.torrent = 1,
                                            .piece = (first + i) % n_pieces,
                                            .want_v1 = (first + n + i) % 5 != 0,
                                            .v2_leaves = i % 2 ? leaves[i] : NULL};
                items[i] = (struct store_check_item){w.store, &c[i], &errs[i]};
            }
            file_store_check_many(items, n, (struct span){scratch, sizeof scratch});
            for (uint32_t i = 0; i < n; i++) {
                const uint8_t *data = w.x->data + (size_t)c[i].piece * PIECE_LEN;
                bool is_gone = c[i].piece <= 100000 / PIECE_LEN;
                bool has_failed = c[i].piece + 1 == n_pieces;
                assert_int_equal(c[i].is_missing, is_gone);
                assert_int_equal(errs[i].code, has_failed ? ERR_IO : ERR_OK);
                if (is_gone || has_failed)
                    continue;
                n_good++;
                if (c[i].want_v1)
                    assert_memory_equal(c[i].v1_digest,
                                        metainfo_v1_piece_hash(w.x->info, c[i].piece), SHA1_LEN);
                for (uint32_t b = 0; c[i].v2_leaves && b < layout_n_blocks(l, c[i].piece); b++) {
                    sha256(
                        bytes_of(data + (size_t)b * BLOCK_LEN, layout_block_len(l, c[i].piece, b)),
                        leaf);
                    assert_memory_equal(leaves[i][b], leaf, SHA256_LEN);
                }
            }
        }
    assert_true(n_good > 0);
    world_clear(&w);
}

static void bad_runs_are_not_written(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    struct err err;
    struct stat st;
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    struct put p;
    put_init(&p, &w, 0, 0, PIECE_LEN);
    sha1_init(&p.v1);
    p.request.v1 = &p.v1;
    p.request.v1_last = true; /* v1_want is zeros */
    assert_int_equal(file_store_put(w.store, &p.request, &err), ERR_OK);
    assert_true(p.request.is_bad);
    assert_false(p.request.is_written);
    uint8_t want[4][SHA256_LEN];
    for (int i = 0; i < 4; i++)
        sha256(bytes_of(p.blocks[i], BLOCK_LEN), want[i]);
    want[2][5] ^= 1;
    put_init(&p, &w, 0, 0, PIECE_LEN);
    p.request.v2_leaves = p.leaves;
    p.request.v2_want = (const uint8_t(*)[SHA256_LEN])want;
    assert_int_equal(file_store_put(w.store, &p.request, &err), ERR_OK);
    assert_true(p.request.is_bad);
    want[2][5] ^= 1;
    p.request.is_hash_only = true;
    assert_int_equal(file_store_put(w.store, &p.request, &err), ERR_OK);
    assert_false(p.request.is_bad);
    assert_false(p.request.is_written);
    assert_int_equal(stat(in_dir(&w, "top/a/one"), &st), -1);
    world_clear(&w);
}

static void reads_any_range_with_pads_as_zeros(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    struct err err;
    fixture_write(w.x, w.dir);
    assert_int_equal(world_open(&w, true, &err), ERR_OK);
    assert_true(w.stats[0].exists);
    assert_int_equal(w.stats[2].len, 200000);
    assert_true(w.stats[2].mtime_ns > 1000000000000000000ull);
    static uint8_t out[PIECE_LEN];
    static const struct {
        uint32_t piece, begin, len;
    } ranges[] = {{0, 0, 1}, {0, 65535, 1}, {1, 34000, 1000}, {4, 30000, 20000}, {4, 0, 65536}};
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        struct store_read r = {1, ranges[i].piece, ranges[i].begin, ranges[i].len, out};
        assert_int_equal(file_store_read(w.store, &r, &err), ERR_OK);
        assert_memory_equal(out, w.x->data + (uint64_t)r.piece * PIECE_LEN + r.begin, r.len);
    }
    struct store_read outside = {1, 4, 60000, 20000, out};
    assert_int_equal(file_store_read(w.store, &outside, &err), ERR_LIMIT);
    world_clear(&w);
}

static void check_finds_good_bad_and_missing(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    struct err err;
    bool is_missing;
    fixture_write(w.x, w.dir);
    assert_int_equal(world_open(&w, true, &err), ERR_OK);
    for (uint32_t i = 0; i < w.x->info->n_pieces; i++)
        assert_true(check_piece(&w, i, &is_missing));
    int fd = open(in_dir(&w, "top/a/one"), O_RDWR);
    assert_int_equal(pwrite(fd, "!", 1, 70000), 1);
    assert_int_equal(ftruncate(fd, 99999), 0);
    close(fd);
    assert_true(check_piece(&w, 0, &is_missing));
    assert_false(check_piece(&w, 1, &is_missing)); /* its end is gone */
    assert_true(is_missing);
    assert_int_equal(truncate(in_dir(&w, "top/a/one"), 100000), 0);
    assert_false(check_piece(&w, 1, &is_missing));
    assert_false(is_missing);
    assert_int_equal(unlink(in_dir(&w, "top/b/c/three")), 0);
    file_store_close(w.store);
    assert_int_equal(world_open(&w, true, &err), ERR_OK);
    assert_false(check_piece(&w, 2, &is_missing));
    assert_true(is_missing);
    world_clear(&w);
}

static bool is_tmpfs(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static void memory_file_systems_are_known(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    struct err err;
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    assert_int_equal(file_store_is_in_memory(w.store), is_tmpfs(w.dir));
    file_store_close(w.store);
    if (is_tmpfs("/dev/shm")) {
        w.open.dir = "/dev/shm";
        w.open.is_read_only = true;
        assert_int_equal(file_store_open(&w.store, w.cache, &w.open, &err), ERR_OK);
        assert_true(file_store_is_in_memory(w.store));
        file_store_close(w.store);
    }
    w.store = NULL;
    world_clear(&w);
}

static void full_allocation_takes_the_space(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    struct err err;
    struct stat st;
    w.open = (struct store_open){
        .torrent = 1, .info = w.x->info, .dir = w.dir, .alloc = STORE_FULL, .files = w.stats};
    assert_int_equal(file_store_open(&w.store, w.cache, &w.open, &err), ERR_OK);
    assert_int_equal(put_piece(&w, 2, &err), ERR_OK);
    assert_int_equal(stat(in_dir(&w, "top/b/c/three"), &st), 0);
    assert_int_equal(st.st_size, 200000);
    assert_true(st.st_blocks * 512 >= 200000);
    world_clear(&w);
}

/* --- names ----------------------------------------------------------------------------------- */

static void planted_links_lead_nowhere(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    char outside[TEST_PATH_CAP], victim[TEST_PATH_CAP];
    struct err err;
    struct stat st;
    test_temp_dir(outside);
    test_write_file(test_join(victim, outside, "three"), BYTES_LIT("precious"));
    assert_int_equal(mkdir(in_dir(&w, "top"), 0777), 0);
    assert_int_equal(mkdir(in_dir(&w, "top/b"), 0777), 0);
    assert_int_equal(symlink(outside, in_dir(&w, "top/b/c")), 0); /* a folder's name */
    assert_int_equal(symlink(victim, in_dir(&w, "top/four")), 0); /* a file's name   */
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    assert_false(w.stats[5].exists);
    assert_int_equal(put_piece(&w, 2, &err), ERR_IO);
    assert_int_equal(err.at, 2);
    assert_true(err.got == ELOOP || err.got == ENOTDIR);
    assert_int_equal(put_piece(&w, 5, &err), ERR_IO);
    assert_int_equal(err.at, 5);
    assert_int_equal(err.got, ELOOP);
    assert_int_equal(stat(victim, &st), 0);
    assert_int_equal(st.st_size, 8);
    world_clear(&w);
    test_remove_dir(outside);
}

static void a_fifo_does_not_hold_us(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    struct err err;
    assert_int_equal(mkdir(in_dir(&w, "top"), 0777), 0);
    assert_int_equal(mkfifo(in_dir(&w, "top/four"), 0666), 0);
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    assert_int_equal(put_piece(&w, 5, &err), ERR_IO);
    assert_int_equal(err.at, 5);
    world_clear(&w);
}

static void beneath_refuses_what_leads_out(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool is_ok;
    } names[] = {
        {"d/f", true},
        {"f", true},
        {"../f", false},
        {"d/../f", false},
        {"/etc/passwd", false},
        {"d/l", false},
        {"ld/f", false},
        {"d/../../x", false},
        {"", false},
        {"d/f/", false},
    };
    int (*const opens[])(int, const char *, int, mode_t) = {beneath_open, beneath_open_walk};
    char dir[TEST_PATH_CAP], path[TEST_PATH_CAP];
    test_temp_dir(dir);
    assert_int_equal(mkdir(test_join(path, dir, "d"), 0777), 0);
    test_write_file(test_join(path, dir, "d/f"), BYTES_LIT("x"));
    test_write_file(test_join(path, dir, "f"), BYTES_LIT("x"));
    assert_int_equal(symlink("/etc/passwd", test_join(path, dir, "d/l")), 0);
    assert_int_equal(symlink("d", test_join(path, dir, "ld")), 0);
    int dir_fd = open(dir, O_PATH | O_DIRECTORY);
    for (size_t k = 0; k < COUNT_OF(opens); k++) {
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            int fd = opens[k](dir_fd, names[i].path, O_RDONLY, 0);
            bool is_inside = k == 0 && strcmp(names[i].path, "d/../f") == 0; /* stays beneath */
            if ((fd >= 0) != names[i].is_ok && !is_inside)
                fail_msg("open %zu of '%s': %d", k, names[i].path, fd);
            if (fd >= 0)
                close(fd);
        }
    }
    close(dir_fd);
    test_remove_dir(dir);
}

/* --- trouble --------------------------------------------------------------------------------- */

static struct {
    atomic_int write_errno, read_errno, sync_errno, allocate_errno;
    atomic_uint n_writes_until, n_syncs, n_dir_syncs;
    atomic_uint short_write_len;
} fault;

static ssize_t faulty_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    if (fault.write_errno && fault.n_writes_until-- == 0) {
        errno = fault.write_errno;
        return -1;
    }
    if (fault.short_write_len) {
        struct iovec one = {iov->iov_base, iov->iov_len < fault.short_write_len
                                               ? iov->iov_len
                                               : fault.short_write_len};
        return pwritev(fd, &one, 1, off);
    }
    return pwritev(fd, iov, n, off);
}

static ssize_t faulty_preadv(int fd, const struct iovec *iov, int n, off_t off)
{
    errno = fault.read_errno;
    return fault.read_errno ? -1 : preadv(fd, iov, n, off);
}

static int faulty_fallocate(int fd, off_t len)
{
    (void)fd;
    (void)len;
    errno = fault.allocate_errno;
    return fault.allocate_errno ? -1 : 0;
}

static int faulty_fdatasync(int fd)
{
    (void)fd;
    fault.n_syncs++;
    errno = fault.sync_errno;
    return fault.sync_errno ? -1 : 0;
}

static int counted_fsync(int fd)
{
    fault.n_dir_syncs++;
    return fsync(fd);
}

static const struct file_ops faulty_ops = {
    .open = beneath_open_walk,
    .preadv = faulty_preadv,
    .pwritev = faulty_pwritev,
    .fallocate = faulty_fallocate,
    .ftruncate = ftruncate,
    .fdatasync = faulty_fdatasync,
    .fsync = counted_fsync,
};

static void fault_reset(void)
{
    memset(&fault, 0, sizeof fault);
}

static void errors_name_the_file(void **state)
{
    (void)state;
    fault_reset();
    struct world w = world_make(&faulty_ops, 0);
    struct err err;
    char text[200];
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    fault.write_errno = ENOSPC;
    assert_int_equal(put_piece(&w, 2, &err), ERR_IO);
    assert_int_equal(err.got, ENOSPC);
    assert_int_equal(err.at, 2);
    assert_string_equal(err_format(&err, text, sizeof text),
                        "cannot write a file: No space left on device");
    fault_reset();
    fault.write_errno = EIO;
    fault.n_writes_until = 1; /* piece 1 spans three files */
    assert_int_equal(put_piece(&w, 1, &err), ERR_IO);
    assert_int_equal(err.got, EIO);
    assert_int_equal(err.at, 1);
    fault_reset();
    put_all(&w); /* the same again when there is space */
    fault.read_errno = EIO;
    static uint8_t out[100];
    struct store_read r = {1, 0, 0, sizeof out, out};
    assert_int_equal(file_store_read(w.store, &r, &err), ERR_IO);
    assert_int_equal(err.got, EIO);
    assert_int_equal(err.at, 0);
    fault_reset();
    world_clear(&w);
}

static void short_writes_are_continued(void **state)
{
    (void)state;
    fault_reset();
    fault.short_write_len = 5000;
    struct world w = world_make(&faulty_ops, 0);
    struct err err;
    bool is_missing;
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    put_all(&w);
    for (uint32_t i = 0; i < w.x->info->n_pieces; i++)
        assert_true(check_piece(&w, i, &is_missing));
    world_clear(&w);
    fault_reset();
}

static void no_space_to_allocate(void **state)
{
    (void)state;
    fault_reset();
    fault.allocate_errno = ENOSPC;
    struct world w = world_make(&faulty_ops, 0);
    struct err err;
    w.open = (struct store_open){
        .torrent = 1, .info = w.x->info, .dir = w.dir, .alloc = STORE_FULL, .files = w.stats};
    assert_int_equal(file_store_open(&w.store, w.cache, &w.open, &err), ERR_OK);
    assert_int_equal(put_piece(&w, 2, &err), ERR_IO);
    assert_int_equal(err.got, ENOSPC);
    assert_int_equal(err.at, 2);
    world_clear(&w);
    fault_reset();
}

/* Only what was written since the last sync; again what could not be synced; folders once. */
static void sync_covers_what_is_dirty(void **state)
{
    (void)state;
    fault_reset();
    struct world w = world_make(&faulty_ops, 0);
    struct err err;
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    assert_int_equal(file_store_sync(w.store, &err), ERR_OK); /* "empty" */
    assert_int_equal(fault.n_syncs, 1);
    assert_int_equal(fault.n_dir_syncs, 2); /* top and the folder above it */
    put_all(&w);
    fault.n_syncs = fault.n_dir_syncs = 0;
    fault.sync_errno = EIO;
    assert_int_equal(file_store_sync(w.store, &err), ERR_IO);
    assert_int_equal(err.got, EIO);
    fault.sync_errno = 0;
    fault.n_syncs = 0;
    assert_int_equal(file_store_sync(w.store, &err), ERR_OK);
    assert_int_equal(fault.n_syncs, 4);
    assert_true(fault.n_dir_syncs >= 5);
    fault.n_syncs = fault.n_dir_syncs = 0;
    assert_int_equal(file_store_sync(w.store, &err), ERR_OK);
    assert_int_equal(fault.n_syncs, 0);
    assert_int_equal(put_piece(&w, 5, &err), ERR_OK);
    assert_int_equal(file_store_sync(w.store, &err), ERR_OK);
    assert_int_equal(fault.n_syncs, 1);
    assert_int_equal(fault.n_dir_syncs, 0);
    world_clear(&w);
    fault_reset();
}

static void a_vanished_file_is_an_error(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 1);
    struct err err;
    fixture_write(w.x, w.dir);
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    assert_int_equal(unlink(in_dir(&w, "top/four")), 0); /* it was there when we opened */
    assert_int_equal(put_piece(&w, 5, &err), ERR_IO);
    assert_int_equal(err.got, ENOENT);
    assert_int_equal(err.at, 5);
    assert_int_equal(put_piece(&w, 2, &err), ERR_OK); /* written, then deleted while still open */
    assert_int_equal(unlink(in_dir(&w, "top/b/c/three")), 0);
    assert_int_equal(file_store_sync(w.store, &err), ERR_IO);
    assert_int_equal(err.got, ENOENT);
    assert_int_equal(err.at, 2);
    struct store_file_stat stats[16];
    assert_int_equal(file_store_stat(w.store, stats, &err), ERR_OK);
    assert_false(stats[2].exists);
    assert_true(stats[0].exists);
    world_clear(&w);
}

static void read_only_changes_nothing(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    struct err err;
    struct stat st;
    assert_int_equal(mkdir(in_dir(&w, "top"), 0777), 0);
    assert_int_equal(world_open(&w, true, &err), ERR_OK);
    assert_int_equal(put_piece(&w, 0, &err), ERR_IO);
    assert_int_equal(err.got, EROFS);
    assert_int_equal(lstat(in_dir(&w, "top/empty"), &st), -1);
    assert_int_equal(lstat(in_dir(&w, "top/link"), &st), -1);
    world_clear(&w);
}

static void a_folder_that_cannot_be_made(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 0);
    struct err err;
    char dir[TEST_PATH_CAP];
    test_write_file(in_dir(&w, "plain"), BYTES_LIT("x"));
    w.open = (struct store_open){.torrent = 1,
                                 .info = w.x->info,
                                 .dir = test_join(dir, w.dir, "plain/below"),
                                 .files = w.stats};
    assert_int_equal(file_store_open(&w.store, w.cache, &w.open, &err), ERR_IO);
    assert_int_equal(err.got, ENOTDIR);
    assert_true(err.at == STORE_NO_FILE);
    w.open.dir = test_join(dir, w.dir, "deep/er");
    assert_int_equal(file_store_open(&w.store, w.cache, &w.open, &err), ERR_OK);
    world_clear(&w);
}

/* --- descriptors ----------------------------------------------------------------------------- */

static void descriptors_are_bounded(void **state)
{
    (void)state;
    enum { N_FILES = 100, N_MAX = 7 };
    struct fixture_file files[N_FILES];
    static char names[N_FILES][16];
    for (int i = 0; i < N_FILES; i++) {
        snprintf(names[i], sizeof names[i], "f%d", i);
        files[i] = (struct fixture_file){names[i], 1000, "", NULL};
    }
    struct world w = {0};
    struct err err;
    struct store_file_stat stats[N_FILES];
    test_temp_dir(w.dir);
    w.x = fixture_new(files, N_FILES, PIECE_LEN);
    assert_int_equal(file_cache_new(&w.cache, N_MAX, NULL, &err), ERR_OK);
    w.open = (struct store_open){.torrent = 1, .info = w.x->info, .dir = w.dir, .files = stats};
    assert_int_equal(file_store_open(&w.store, w.cache, &w.open, &err), ERR_OK);
    size_t before = test_count_fds();
    put_all(&w);
    assert_true(test_count_fds() <= before + N_MAX);
    assert_int_equal(file_cache_n_open(w.cache), N_MAX);
    assert_true(file_cache_n_open_max(w.cache) <= N_MAX + 1);
    bool is_missing;
    assert_true(check_piece(&w, 0, &is_missing));
    assert_true(check_piece(&w, 1, &is_missing));
    assert_int_equal(file_store_sync(w.store, &err), ERR_OK);
    assert_true(file_cache_n_open_max(w.cache) <= N_MAX + 1);
    assert_null(
        file_store_open_file(w.store, 50)); /* long gone: uploads never open it themselves */
    world_clear(&w);
}

/* The process has no descriptor left: idle ones are given up. */
static void out_of_descriptors(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 100);
    struct rlimit old, low;
    struct err err;
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    assert_int_equal(put_piece(&w, 0, &err), ERR_OK);
    assert_int_equal(put_piece(&w, 1, &err), ERR_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    int fillers[64], n_fillers = 0, last = -1;
    while (n_fillers < 64 && last < 40) /* no holes below the limit */
        last = fillers[n_fillers++] = open("/dev/null", O_RDONLY);
    low.rlim_cur = (rlim_t)last + 3; /* two more; a file that is made needs three */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    enum err_code code = put_piece(&w, 5, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    while (n_fillers > 0)
        close(fillers[--n_fillers]);
    assert_int_equal(code, ERR_OK);
    world_clear(&w);
}

/* --- threads --------------------------------------------------------------------------------- */

struct racer {
    struct world *w;
    uint32_t first;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct world *w = r->w;
    struct err err;
    bool is_missing;
    static _Thread_local uint8_t scratch[BLOCK_LEN];
    for (int round = 0; round < 20; round++)
        for (uint32_t i = 0; i < w->x->info->n_pieces; i++) {
            uint32_t piece = (i + r->first) % w->x->info->n_pieces;
            struct store_check c = {.torrent = 1, .piece = piece, .want_v1 = true};
            if (put_piece(w, piece, &err) || file_store_sync(w->store, &err) ||
                file_store_check(w->store, &c, (struct span){scratch, sizeof scratch}, &err) ||
                memcmp(c.v1_digest, metainfo_v1_piece_hash(w->x->info, piece), SHA1_LEN) != 0)
                abort();
            struct open_file *of = file_store_open_file(w->store, i);
            if (of)
                open_file_release(w->cache, of);
        }
    (void)is_missing;
    return NULL;
}

static void threads_share_a_store(void **state)
{
    (void)state;
    struct world w = world_make(NULL, 2);
    struct err err;
    pthread_t threads[4];
    struct racer racers[4];
    assert_int_equal(world_open(&w, false, &err), ERR_OK);
    for (uint32_t i = 0; i < 4; i++) {
        racers[i] = (struct racer){&w, i};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (uint32_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(file_cache_n_open_max(w.cache) <= 2 + 4);
    assert_int_equal(file_cache_n_open(w.cache), 2);
    world_clear(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_a_tree),
        cmocka_unit_test(a_piece_in_runs_hashes_as_one),
        cmocka_unit_test(puts_together_are_each_their_own),
        cmocka_unit_test(checks_together_are_each_their_own),
        cmocka_unit_test(bad_runs_are_not_written),
        cmocka_unit_test(reads_any_range_with_pads_as_zeros),
        cmocka_unit_test(check_finds_good_bad_and_missing),
        cmocka_unit_test(memory_file_systems_are_known),
        cmocka_unit_test(full_allocation_takes_the_space),
        cmocka_unit_test(planted_links_lead_nowhere),
        cmocka_unit_test(a_fifo_does_not_hold_us),
        cmocka_unit_test(beneath_refuses_what_leads_out),
        cmocka_unit_test(errors_name_the_file),
        cmocka_unit_test(short_writes_are_continued),
        cmocka_unit_test(no_space_to_allocate),
        cmocka_unit_test(sync_covers_what_is_dirty),
        cmocka_unit_test(a_vanished_file_is_an_error),
        cmocka_unit_test(read_only_changes_nothing),
        cmocka_unit_test(a_folder_that_cannot_be_made),
        cmocka_unit_test(descriptors_are_bounded),
        cmocka_unit_test(out_of_descriptors),
        cmocka_unit_test(threads_share_a_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
