/* test_util: what the unit tests share. Include it first: it brings cmocka and what that needs.
 *
 * Errors     a helper that cannot do its part fails the test
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka comes after these */
#include <cmocka.h>

#include "base/bytes.h"
#include "base/hex.h"
#include "base/mem.h"
#include <dirent.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEST_PATH_CAP  4096u
#define COUNT_OF(a)    (sizeof(a) / sizeof(a)[0])
#define TEST_FILE_MAX  (64u << 20)
#define TEST_SWEEP_MAX 100000u

/* --- bytes ----------------------------------------------------------------------------------- */

/* The bytes that a string of hex digits spells (blanks between them are skipped), in out. */
static inline struct bytes test_hex(const char *hex, uint8_t *out, size_t out_cap)
{
    size_t n_digits = 0;
    uint8_t pair[2];
    for (; *hex; hex++) {
        if (*hex == ' ')
            continue;
        pair[n_digits++ % 2] = (uint8_t)*hex;
        if (n_digits % 2 == 0) {
            assert_true(n_digits / 2 <= out_cap);
            assert_int_equal(hex_decode(bytes_of(pair, 2), out + n_digits / 2 - 1, 1), ERR_OK);
        }
    }
    assert_int_equal(n_digits % 2, 0);
    return bytes_of(out, n_digits / 2);
}

static inline void test_assert_hex(struct bytes got, const char *want_hex)
{
    char *text = malloc(2 * got.len + 1);
    assert_non_null(text);
    assert_string_equal(hex_encode(got, text, 2 * got.len + 1), want_hex);
    free(text);
}

static inline void test_assert_bytes(struct bytes got, struct bytes want)
{
    assert_int_equal(got.len, want.len);
    if (want.len)
        assert_memory_equal(got.data, want.data, want.len);
}

/* A copy in a block of exactly its length, so that a sanitizer sees a read past the end. free(). */
static inline uint8_t *test_exact_copy(struct bytes b)
{
    uint8_t *copy = malloc(b.len ? b.len : 1);
    assert_non_null(copy);
    if (b.len)
        memcpy(copy, b.data, b.len);
    return copy;
}

/* --- descriptors ----------------------------------------------------------------------------- */

static inline size_t test_count_fds(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}

/* --- slow machines --------------------------------------------------------------------------- */

/* True under memcheck, 20 to 50 times slower: what does a fixed amount of work may do less of it. */
static inline bool test_is_slow(void)
{
    return getenv("SHOAL_TEST_SLOW") != NULL;
}

/* --- memory that fails ----------------------------------------------------------------------- */

/* Calls run with a struct mem whose first, second, third ... allocation fails, until a run asks
 * for fewer. run gives true when it succeeded, and must free everything either way; a run in
 * which nothing failed must succeed. Returns the number of allocations of that run. */
static inline uint64_t test_fail_sweep(bool (*run)(struct mem *mem, void *ctx), void *ctx)
{
    for (uint64_t n = 1; n < TEST_SWEEP_MAX; n++) {
        struct mem mem;
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        mem.fail_at = n;
        bool is_done = run(&mem, ctx);
        mem_check_empty(&mem);
        if (mem.fail_at) {
            assert_true(is_done);
            return n - 1;
        }
    }
    fail_msg("the sweep does not end");
    return 0;
}

/* --- files ----------------------------------------------------------------------------------- */

/* A new private folder; remove it with test_remove_dir. Returns out. */
static inline char *test_temp_dir(char out[TEST_PATH_CAP])
{
    const char *base = getenv("TMPDIR");
    snprintf(out, TEST_PATH_CAP, "%s/shoal-test-XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(out));
    return out;
}

static inline int test_remove_one(const char *path, const struct stat *st, int flag,
                                  struct FTW *where)
{
    (void)st, (void)flag, (void)where;
    return remove(path);
}

static inline void test_remove_dir(const char *path)
{
    assert_int_equal(nftw(path, test_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline char *test_join(char out[TEST_PATH_CAP], const char *dir, const char *name)
{
    int n = snprintf(out, TEST_PATH_CAP, "%s/%s", dir, name);
    assert_true(n > 0 && (size_t)n < TEST_PATH_CAP);
    return out;
}

/* The path of a file of the source tree, such as "tests/vectors/x/y". Returns out. */
static inline char *test_source_path(char out[TEST_PATH_CAP], const char *name)
{
    const char *root = getenv("SHOAL_SOURCE_ROOT");
    return test_join(out, root ? root : ".", name);
}

/* The whole file, one terminator behind it; .data NULL when it cannot be read. free(). */
static inline struct span test_read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return (struct span){0};
    size_t cap = 4096, len = 0;
    uint8_t *data = malloc(cap);
    for (size_t n = 1; data && n > 0 && len < TEST_FILE_MAX; len += n) {
        if (cap - len < 2)
            data = realloc(data, cap *= 2);
        n = data ? fread(data + len, 1, cap - len - 1, f) : 0;
    }
    fclose(f);
    assert_non_null(data);
    data[len] = 0;
    return (struct span){data, len};
}

static inline void test_write_file(const char *path, struct bytes b)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(b.len ? fwrite(b.data, 1, b.len, f) : 0, b.len);
    assert_int_equal(fclose(f), 0);
}
