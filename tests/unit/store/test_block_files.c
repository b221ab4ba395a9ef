#include "base/hex.h"
#include "base/rng.h"
#include "disk_fault.h"
#include "store/block_files.h"
#include "store/block_scan.h"
#include "test_util.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t magic[4] = {0xfa, 0xbf, 0xb5, 0xda};
static const struct hash256 parent = {{7, 7, 7}};

struct world {
    char dir[TEST_PATH_CAP];
    struct block_files_config config;
    struct block_files *files;
    struct mem mem;
    struct buf out;
    struct fault fault;
    struct disk_hook hook;
    struct err err;
};

static enum err_code reopen(struct world *w)
{
    block_files_close(w->files);
    w->files = NULL;
    return block_files_open(&w->files, &w->config, &w->err);
}

static struct world *world_new(uint64_t file_len_max, bool use_xor)
{
    struct world *w = calloc(1, sizeof *w);
    test_temp_dir(w->dir);
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    buf_init(&w->out, &w->mem, 1u << 26);
    w->hook = (struct disk_hook){&w->fault, fault_before};
    w->config = (struct block_files_config){
        .dir = w->dir, .file_len_max = file_len_max, .use_xor = use_xor, .hook = &w->hook};
    memcpy(w->config.magic, magic, 4);
    assert_int_equal(reopen(w), ERR_OK);
    return w;
}

static void world_free(struct world *w)
{
    block_files_close(w->files);
    buf_clear(&w->out);
    mem_check_empty(&w->mem);
    test_remove_dir(w->dir);
    free(w);
}

/* A block, or undo data, that can be told from all others. */
static struct bytes made(uint32_t n)
{
    static uint8_t data[4096];
    struct rng rng;
    rng_init(&rng, n);
    size_t len = BLOCK_SCAN_LEN_MIN + n % 7 * 50;
    rng_fill(&rng, data, len);
    return bytes_of(data, len);
}

static enum err_code put(struct world *w, uint32_t n, uint32_t height, struct block_pos *out)
{
    return block_files_put_block(w->files, made(n), height, out, &w->err);
}

static void assert_block(struct world *w, struct block_pos at, uint32_t n)
{
    assert_int_equal(block_files_read_block(w->files, at, &w->out, &w->err), ERR_OK);
    test_assert_bytes(buf_bytes(&w->out), made(n));
}

static void assert_undo(struct world *w, struct block_pos at, uint32_t n)
{
    assert_int_equal(block_files_read_undo(w->files, at, &parent, &w->out, &w->err), ERR_OK);
    test_assert_bytes(buf_bytes(&w->out), made(n));
}

static char *path_of(const struct world *w, const char *name)
{
    static char path[TEST_PATH_CAP + 32];
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    return path;
}

static uint64_t len_of(const struct world *w, const char *name)
{
    struct stat st;
    return stat(path_of(w, name), &st) == 0 ? (uint64_t)st.st_size : UINT64_MAX;
}

static void round_trip(bool use_xor)
{
    struct world *w = world_new(2000, use_xor);
    struct block_pos blocks[30], undos[30];
    for (uint32_t i = 0; i < 30; i++) {
        assert_int_equal(put(w, i, i, &blocks[i]), ERR_OK);
        assert_int_equal(block_files_put_undo(w->files, blocks[i].file, made(1000 + i), &parent,
                                              &undos[i], &w->err),
                         ERR_OK);
    }
    assert_true(blocks[29].file >= 3);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 30; i++) {
            assert_block(w, blocks[i], i);
            assert_undo(w, undos[i], 1000 + i);
            assert_true(block_files_has(w->files, blocks[i], false));
            assert_true(block_files_has(w->files, undos[i], true));
        }
        assert_int_equal(block_files_sync(w->files, &w->err), ERR_OK);
        assert_int_equal(reopen(w), ERR_OK);
    }
    assert_int_equal(len_of(w, "xor.dat"), use_xor ? 8 : UINT64_MAX);
    world_free(w);
}

static void gives_back_what_was_put(void **state)
{
    (void)state;
    round_trip(false);
    round_trip(true);
}

/* source: Bitcoin Core src/node/blockstorage.cpp: magic, u32 LE length, data; undo with SHA-256d of
 * the parent's hash and the undo data behind it (computed with Python's hashlib). */
static void writes_the_bytes_bitcoin_core_reads(void **state)
{
    struct world *w = world_new(0, false);
    struct block_pos at;
    uint8_t block[BLOCK_SCAN_LEN_MIN], got[256];
    char hex[513];
    (void)state;
    memset(block, 0xab, sizeof block);
    assert_int_equal(
        block_files_put_block(w->files, bytes_of(block, sizeof block), 0, &at, &w->err), ERR_OK);
    assert_int_equal(at.off, 8);
    struct hash256 prev = {{0}};
    for (uint8_t i = 0; i < 32; i++)
        prev.b[i] = i;
    assert_int_equal(
        block_files_put_undo(w->files, 0, BYTES_LIT("\x01\x02\x03"), &prev, &at, &w->err), ERR_OK);
    FILE *f = fopen(path_of(w, "blk00000.dat"), "rb");
    assert_int_equal(fread(got, 1, sizeof got, f), 8 + sizeof block);
    fclose(f);
    assert_string_equal(hex_encode(bytes_of(got, 10), hex, sizeof hex), "fabfb5da51000000abab");
    f = fopen(path_of(w, "rev00000.dat"), "rb");
    assert_int_equal(fread(got, 1, sizeof got, f), 8 + 3 + 32);
    fclose(f);
    assert_string_equal(hex_encode(bytes_of(got, 43), hex, sizeof hex),
                        "fabfb5da03000000010203"
                        "560c84d5d87ff59dc1bd225d22bffe75bce0277d75383388ffde2a5790e75513");
    world_free(w);
}

/* What was not synced is gone after a crash, torn or not; what was stays. */
static void what_was_not_synced_never_was(void **state)
{
    (void)state;
    for (int use_xor = 0; use_xor < 2; use_xor++) {
        struct world *w = world_new(0, use_xor);
        struct block_pos a, b, undo;
        assert_int_equal(put(w, 1, 1, &a), ERR_OK);
        assert_int_equal(block_files_sync(w->files, &w->err), ERR_OK);
        uint64_t before = len_of(w, "blk00000.dat");
        assert_int_equal(put(w, 2, 2, &b), ERR_OK);
        assert_int_equal(block_files_put_undo(w->files, 0, made(9), &parent, &undo, &w->err),
                         ERR_OK);
        uint64_t after = len_of(w, "blk00000.dat");
        for (uint64_t len = before; len <= after; len++) {
            assert_int_equal(truncate(path_of(w, "blk00000.dat"), (off_t)len), 0);
            assert_int_equal(reopen(w), ERR_OK);
            assert_int_equal(len_of(w, "blk00000.dat"), before);
            assert_int_equal(len_of(w, "rev00000.dat"), 0);
            assert_true(block_files_has(w->files, a, false));
            assert_false(block_files_has(w->files, b, false));
            assert_false(block_files_has(w->files, undo, true));
            assert_block(w, a, 1);
            assert_int_equal(put(w, 2, 2, &b), ERR_OK);
            assert_block(w, b, 2);
            assert_int_equal(len_of(w, "blk00000.dat"), after);
        }
        world_free(w);
    }
}

static void damage_is_named_with_file_and_offset(void **state)
{
    struct world *w = world_new(0, false);
    struct block_pos a, b, undo;
    (void)state;
    assert_int_equal(put(w, 1, 1, &a), ERR_OK);
    assert_int_equal(put(w, 2, 1, &b), ERR_OK);
    assert_int_equal(block_files_put_undo(w->files, 0, made(9), &parent, &undo, &w->err), ERR_OK);
    assert_int_equal(block_files_sync(w->files, &w->err), ERR_OK);
    int fd = open(path_of(w, "blk00000.dat"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, b.off - 8), 1);
    close(fd);
    assert_block(w, a, 1);
    assert_int_equal(block_files_read_block(w->files, b, &w->out, &w->err), ERR_MALFORMED);
    assert_int_equal(w->err.at, b.off - 8);
    assert_int_equal(w->err.got, 0);
    assert_int_equal(truncate(path_of(w, "blk00000.dat"), b.off + 5), 0);
    assert_int_equal(block_files_read_block(w->files, b, &w->out, &w->err), ERR_MALFORMED);
    /* Each byte of the undo record. */
    fd = open(path_of(w, "rev00000.dat"), O_RDWR | O_CLOEXEC);
    for (uint32_t i = undo.off - 8; i < undo.off + undo.len + 32; i++) {
        uint8_t byte, turned;
        assert_int_equal(pread(fd, &byte, 1, i), 1);
        turned = byte ^ 1;
        assert_int_equal(pwrite(fd, &turned, 1, i), 1);
        assert_int_equal(block_files_read_undo(w->files, undo, &parent, &w->out, &w->err),
                         ERR_MALFORMED);
        assert_int_equal(w->out.len, 0);
        assert_int_equal(pwrite(fd, &byte, 1, i), 1);
    }
    close(fd);
    assert_undo(w, undo, 9);
    assert_int_equal(
        block_files_read_undo(w->files, undo, &(struct hash256){{8}}, &w->out, &w->err),
        ERR_MALFORMED);
    /* Places that are none. */
    a.file = 5;
    assert_int_equal(block_files_read_block(w->files, a, &w->out, &w->err), ERR_NOT_FOUND);
    assert_int_equal(block_files_read_block(w->files, BLOCK_POS_NONE, &w->out, &w->err),
                     ERR_MALFORMED);
    world_free(w);
}

/* A file cut short from outside: blocks beyond its end are known to be away. */
static void a_file_cut_short_is_seen_at_open(void **state)
{
    struct world *w = world_new(0, false);
    struct block_pos a, b;
    (void)state;
    assert_int_equal(put(w, 1, 1, &a), ERR_OK);
    assert_int_equal(put(w, 2, 1, &b), ERR_OK);
    assert_int_equal(block_files_sync(w->files, &w->err), ERR_OK);
    assert_int_equal(truncate(path_of(w, "blk00000.dat"), b.off + 5), 0);
    assert_int_equal(reopen(w), ERR_OK);
    assert_true(block_files_has(w->files, a, false));
    assert_false(block_files_has(w->files, b, false));
    world_free(w);
}

static void strangers_files_are_not_touched(void **state)
{
    struct world *w = world_new(0, false);
    struct block_pos at;
    (void)state;
    assert_int_equal(put(w, 1, 1, &at), ERR_OK);
    assert_int_equal(block_files_sync(w->files, &w->err), ERR_OK);
    uint64_t len = len_of(w, "blk00000.dat");
    assert_int_equal(unlink(path_of(w, "files.log")), 0);
    assert_int_equal(reopen(w), ERR_MALFORMED);
    assert_int_equal(len_of(w, "blk00000.dat"), len);
    world_free(w);
}

static void pruning_takes_whole_files_from_the_beginning(void **state)
{
    struct world *w = world_new(2000, false);
    struct block_pos at[40];
    uint32_t first, n;
    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(put(w, i, i == 3 ? 25 : i, &at[i]), ERR_OK);
    assert_int_equal(block_files_sync(w->files, &w->err), ERR_OK);
    uint64_t len = block_files_len(w->files);
    assert_int_equal(block_files_prune(w->files, 20, len, &first, &n, &w->err), ERR_OK);
    assert_int_equal(n, 0); /* small enough */
    assert_int_equal(block_files_prune(w->files, 20, 0, &first, &n, &w->err), ERR_OK);
    assert_int_equal(n, 0); /* block 25 is in the first file */
    assert_int_equal(block_files_prune(w->files, 30, len - 1, &first, &n, &w->err), ERR_OK);
    assert_int_equal(n, 1);
    assert_int_equal(first, 1);
    assert_int_equal(block_files_prune(w->files, 30, 0, &first, &n, &w->err), ERR_OK);
    assert_int_equal(first, at[30].file);
    assert_int_equal(len_of(w, "blk00001.dat"), UINT64_MAX);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 40; i++)
            assert_int_equal(block_files_has(w->files, at[i], false), at[i].file >= first);
        assert_block(w, at[39], 39);
        assert_int_equal(reopen(w), ERR_OK);
        assert_int_equal(block_files_first(w->files), first);
    }
    /* The file appended to stays, whatever is asked. */
    assert_int_equal(block_files_prune(w->files, UINT32_MAX, 0, &first, &n, &w->err), ERR_OK);
    assert_int_equal(first, at[39].file);
    assert_int_equal(put(w, 40, 40, &at[0]), ERR_OK);
    assert_block(w, at[0], 40);
    world_free(w);
}

static void xor_keys_of_others_are_kept(void **state)
{
    struct world *w = world_new(0, false);
    struct block_pos at;
    uint8_t got[64];
    (void)state;
    block_files_close(w->files);
    w->files = NULL;
    test_remove_dir(w->dir);
    assert_int_equal(mkdir(w->dir, 0700), 0);
    FILE *f = fopen(path_of(w, "xor.dat"), "wb");
    fwrite("\x01\x02\x03\x04\x05\x06\x07\x08", 1, 8, f);
    fclose(f);
    assert_int_equal(reopen(w), ERR_OK);
    assert_int_equal(put(w, 3, 0, &at), ERR_OK);
    f = fopen(path_of(w, "blk00000.dat"), "rb");
    assert_int_equal(fread(got, 1, 10, f), 10);
    fclose(f);
    struct bytes block = made(3);
    assert_int_equal(got[0], magic[0] ^ 1);
    assert_int_equal(got[3], magic[3] ^ 4);
    assert_int_equal(got[8], block.data[0] ^ 1);
    assert_int_equal(got[9], block.data[1] ^ 2);
    f = fopen(path_of(w, "xor.dat"), "wb");
    fwrite("\x01\x02", 1, 2, f);
    fclose(f);
    assert_int_equal(reopen(w), ERR_MALFORMED);
    world_free(w);
}

/* The n-th operation fails, with the write cut at some length; then all is well again. */
static void each_operation_may_fail(void **state)
{
    (void)state;
    for (uint64_t fail_at = 1;; fail_at++) {
        struct world *w = world_new(1000, true);
        struct block_pos blocks[12], undos[12];
        bool is_hit = false;
        w->fault = (struct fault){.fail_at = fail_at, .cut_len = fail_at * 5 % 90};
        for (uint32_t i = 0; i < 12; i++) {
            while (put(w, i, i, &blocks[i])) {
                assert_false(is_hit);
                is_hit = true;
                assert_int_equal(w->err.code, ERR_IO);
                assert_int_equal(w->err.got, ENOSPC);
                if (reopen(w)) /* a failed sync: only a new start helps */
                    fail();
                goto next;
            }
            while (block_files_put_undo(w->files, blocks[i].file, made(500 + i), &parent, &undos[i],
                                        &w->err)) {
                assert_false(is_hit);
                is_hit = true;
            }
            if (i == 5 && block_files_sync(w->files, &w->err)) {
                is_hit = true;
                if (block_files_sync(w->files, &w->err)) { /* what failed was a sync */
                    assert_int_equal(reopen(w), ERR_OK);
                    goto next;
                }
            }
        }
        for (uint32_t i = 0; i < 12; i++) {
            assert_block(w, blocks[i], i);
            assert_undo(w, undos[i], 500 + i);
        }
        if (w->fault.n < fail_at) {
            world_free(w);
            break;
        }
    next:
        world_free(w);
    }
}

/* A disk that is really full: RLIMIT_FSIZE. */
static void a_real_limit_is_reported(void **state)
{
    struct world *w = world_new(0, false);
    struct rlimit old, low;
    struct block_pos at[200];
    uint32_t n = 0;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 5000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    while (n < 200 && !put(w, n, n, &at[n]))
        n++;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(w->err.code, ERR_IO);
    assert_int_equal(w->err.got, EFBIG);
    /* Room again: goes on where it stopped. */
    assert_int_equal(put(w, n, n, &at[n]), ERR_OK);
    for (uint32_t i = 0; i <= n; i++)
        assert_block(w, at[i], i);
    world_free(w);
}

/* --- scanning -------------------------------------------------------------------------------- */

static void write_file(const char *path, struct bytes b)
{
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(b.data, 1, b.len, f), b.len);
    fclose(f);
}

static void put_record(struct buf *b, uint32_t n)
{
    struct bytes block = made(n);
    uint8_t len[4] = {(uint8_t)block.len, (uint8_t)(block.len >> 8)};
    buf_put(b, bytes_of(magic, 4));
    buf_put(b, bytes_of(len, 4));
    buf_put(b, block);
}

static void scanning_passes_over_garbage(void **state)
{
    struct world *w = world_new(0, false);
    struct buf b;
    struct block_scan *s;
    struct bytes out;
    uint64_t at, skipped;
    (void)state;
    buf_init(&b, &w->mem, 1u << 20);
    put_record(&b, 1);
    buf_put(&b, BYTES_LIT("\0\0\0\0\0\0"));
    put_record(&b, 2);
    buf_put(&b, BYTES_LIT("garbage \xfa\xbf\xb5\xda\xff\xff\xff\xff\xfa\xbf"));
    put_record(&b, 3);
    put_record(&b, 4);
    size_t whole = b.len;
    for (size_t len = whole; len > whole - made(4).len - 8; len--) { /* a torn end */
        write_file(path_of(w, "x.dat"), bytes_of(b.data, len));
        assert_int_equal(block_scan_open(&s, path_of(w, "x.dat"), magic, &w->err), ERR_OK);
        for (uint32_t n = 1; n <= 3; n++) {
            assert_int_equal(block_scan_next(s, &out, &at, &skipped, &w->err), ERR_OK);
            test_assert_bytes(out, made(n));
            assert_int_equal(skipped, n == 3 ? 18 : 0);
            test_assert_bytes(bytes_of(b.data + at, out.len), made(n));
            assert_int_equal(block_scan_read(s, at, (uint32_t)out.len, &w->out, &w->err), ERR_OK);
            test_assert_bytes(buf_bytes(&w->out), made(n));
        }
        enum err_code code = block_scan_next(s, &out, &at, &skipped, &w->err);
        assert_int_equal(code, len == whole ? ERR_OK : ERR_NOT_FOUND);
        assert_int_equal(skipped, len == whole ? 0 : len - (whole - made(4).len - 8));
        block_scan_close(s);
    }
    buf_clear(&b);
    world_free(w);
}

/* A length that was damaged swallows the blocks behind it, until it is found out to be none. */
static void a_rejected_record_is_searched_inside(void **state)
{
    struct world *w = world_new(0, false);
    struct buf b;
    struct block_scan *s;
    struct bytes out;
    uint64_t at, skipped;
    (void)state;
    buf_init(&b, &w->mem, 1u << 20);
    put_record(&b, 1);
    size_t second = b.len;
    put_record(&b, 2);
    put_record(&b, 3);
    b.data[4]++; /* of the first's length */
    b.data[5]++;
    write_file(path_of(w, "x.dat"), buf_bytes(&b));
    assert_int_equal(block_scan_open(&s, path_of(w, "x.dat"), magic, &w->err), ERR_OK);
    assert_int_equal(block_scan_next(s, &out, &at, &skipped, &w->err), ERR_OK);
    block_scan_reject(s);
    assert_int_equal(block_scan_next(s, &out, &at, &skipped, &w->err), ERR_OK);
    assert_int_equal(at, second + 8);
    assert_int_equal(skipped, second - 1);
    test_assert_bytes(out, made(2));
    block_scan_close(s);
    buf_clear(&b);
    world_free(w);
}

static void scanning_reads_our_own_files(void **state)
{
    struct world *w = world_new(0, true);
    struct block_scan *s;
    struct block_pos pos[20];
    struct bytes out;
    uint64_t at, skipped;
    (void)state;
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(put(w, i, i, &pos[i]), ERR_OK);
    assert_int_equal(block_scan_open(&s, path_of(w, "blk00000.dat"), magic, &w->err), ERR_OK);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(block_scan_next(s, &out, &at, &skipped, &w->err), ERR_OK);
        assert_int_equal(at, pos[i].off);
        test_assert_bytes(out, made(i));
    }
    assert_int_equal(block_scan_next(s, &out, &at, &skipped, &w->err), ERR_NOT_FOUND);
    assert_int_equal(block_scan_at(s), block_scan_len(s));
    block_scan_close(s);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_put),
        cmocka_unit_test(writes_the_bytes_bitcoin_core_reads),
        cmocka_unit_test(what_was_not_synced_never_was),
        cmocka_unit_test(damage_is_named_with_file_and_offset),
        cmocka_unit_test(a_file_cut_short_is_seen_at_open),
        cmocka_unit_test(strangers_files_are_not_touched),
        cmocka_unit_test(pruning_takes_whole_files_from_the_beginning),
        cmocka_unit_test(xor_keys_of_others_are_kept),
        cmocka_unit_test(each_operation_may_fail),
        cmocka_unit_test(a_real_limit_is_reported),
        cmocka_unit_test(scanning_passes_over_garbage),
        cmocka_unit_test(a_rejected_record_is_searched_inside),
        cmocka_unit_test(scanning_reads_our_own_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
