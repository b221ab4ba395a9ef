#include "test_util.h"

#include "store/file_window.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/statfs.h>

#define FILE_LEN (3 * FILE_WINDOW_LEN + 5000)
#define BLOCK    16384u

struct file {
    char dir[TEST_PATH_CAP], path[TEST_PATH_CAP];
    int fd;
    struct file_windows windows;
};

static uint8_t byte_at(uint64_t off)
{
    return (uint8_t)(off * 31 + off / 4099);
}

static void fill(int fd, uint64_t from, uint64_t to)
{
    static uint8_t data[1u << 16];
    for (size_t n; from < to; from += n) {
        n = to - from < sizeof data ? (size_t)(to - from) : sizeof data;
        for (size_t i = 0; i < n; i++)
            data[i] = byte_at(from + i);
        assert_int_equal(pwrite(fd, data, n, (off_t)from), n);
    }
}

static struct file *file_make(void)
{
    struct file *f = calloc(1, sizeof *f);
    test_temp_dir(f->dir);
    test_join(f->path, f->dir, "f");
    f->fd = open(f->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(f->fd >= 0);
    fill(f->fd, 0, FILE_LEN);
    file_windows_init(&f->windows);
    return f;
}

static void file_free(struct file *f)
{
    file_windows_clear(&f->windows);
    close(f->fd);
    test_remove_dir(f->dir);
    free(f);
}

/* Mappings of the file in this process. */
static unsigned count_mapped(const struct file *f)
{
    char line[TEST_PATH_CAP + 200];
    unsigned n = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps))
        n += strstr(line, f->path) != NULL;
    fclose(maps);
    return n;
}

static struct file_window *take(struct file *f, const void *name, uint64_t off, size_t len)
{
    return file_window_take(&f->windows, name, f->fd, off, len, false);
}

/* Taken, and given back at once. */
static void assert_given(struct file *f, uint64_t off, size_t len)
{
    struct file_window *w = take(f, f, off, len);
    assert_non_null(w);
    file_window_release(&f->windows, w);
}

/* Ranges anywhere, those across the end of a window too, hold what the file holds. */
static void ranges_hold_the_file(void **state)
{
    (void)state;
    struct file *f = file_make();
    static const uint64_t offs[] = {0,
                                    1,
                                    FILE_WINDOW_LEN - BLOCK,
                                    FILE_WINDOW_LEN - 5,
                                    FILE_WINDOW_LEN - 1,
                                    FILE_WINDOW_LEN,
                                    2 * FILE_WINDOW_LEN + 4097,
                                    FILE_LEN - 1};
    static const size_t lens[] = {1, BLOCK, FILE_WINDOW_RANGE_MAX};
    for (size_t i = 0; i < COUNT_OF(offs); i++)
        for (size_t k = 0; k < COUNT_OF(lens); k++) {
            struct file_window *w = take(f, f, offs[i], lens[k]);
            assert_int_equal(w != NULL, offs[i] + lens[k] <= FILE_LEN);
            if (!w)
                continue;
            const uint8_t *at = file_window_at(w, offs[i]);
            for (size_t n = 0; n < lens[k]; n++)
                assert_int_equal(at[n], byte_at(offs[i] + n));
            file_window_release(&f->windows, w);
        }
    assert_int_equal(count_mapped(f), 4);
    file_free(f);
}

/* The file as it is now: longer than when it was mapped, or shorter. */
static void the_length_of_now_counts(void **state)
{
    (void)state;
    struct file *f = file_make();
    assert_given(f, FILE_LEN - 100, 100);
    assert_null(take(f, f, FILE_LEN - 100, 101));
    fill(f->fd, FILE_LEN, FILE_LEN + 10000);
    struct file_window *w = take(f, f, FILE_LEN - 100, 10100);
    assert_non_null(w);
    assert_int_equal(file_window_at(w, FILE_LEN)[9999], byte_at(FILE_LEN + 9999));
    file_window_release(&f->windows, w);
    assert_int_equal(ftruncate(f->fd, 1000), 0);
    assert_null(take(f, f, 900, 101));
    assert_given(f, 900, 100);
    file_free(f);
}

/* What was cut off after it was taken is an error of the system call that reads it. */
static void a_cut_file_raises_no_signal(void **state)
{
    (void)state;
    struct file *f = file_make();
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    struct file_window *w = take(f, f, FILE_WINDOW_LEN, BLOCK);
    assert_non_null(w);
    assert_int_equal(ftruncate(f->fd, 0), 0);
    assert_int_equal(write(ends[1], file_window_at(w, FILE_WINDOW_LEN), BLOCK), -1);
    assert_int_equal(errno, EFAULT);
    file_window_release(&f->windows, w);
    close(ends[0]);
    close(ends[1]);
    file_free(f);
}

/* Many files are asked for: the least recently used windows go, those in use never. */
static void a_full_table_gives_up_the_oldest(void **state)
{
    (void)state;
    struct file *f = file_make();
    const uint8_t *names = calloc(1, 3 * FILE_WINDOW_N);
    struct file_window *used[FILE_WINDOW_N];
    for (unsigned i = 0; i < 3 * FILE_WINDOW_N; i++) {
        struct file_window *w = take(f, names + i, 0, BLOCK);
        assert_non_null(w);
        file_window_release(&f->windows, w);
        assert_true(count_mapped(f) <= FILE_WINDOW_N);
    }
    /* the newest are still there: taking them again in any order maps nothing else */
    for (unsigned i = 3 * FILE_WINDOW_N; i-- > 2 * FILE_WINDOW_N;) {
        used[i % FILE_WINDOW_N] = take(f, names + i, 0, BLOCK);
        assert_ptr_equal(used[i % FILE_WINDOW_N]->file, names + i);
    }
    assert_null(take(f, names, 0, BLOCK));
    struct file_window *again = take(f, names + 2 * FILE_WINDOW_N, BLOCK, BLOCK);
    assert_ptr_equal(again, used[0]);
    file_window_release(&f->windows, again);
    assert_null(take(f, names, 0, BLOCK));
    file_window_release(&f->windows, used[5]);
    assert_ptr_equal(take(f, names, 0, BLOCK), used[5]);
    for (unsigned i = 0; i < FILE_WINDOW_N; i++)
        file_window_release(&f->windows, used[i]);
    assert_int_equal(count_mapped(f), FILE_WINDOW_N);
    file_windows_forget(&f->windows, names);
    assert_int_equal(count_mapped(f), FILE_WINDOW_N - 1);
    file_free(f);
    free((void *)(uintptr_t)names);
}

static void what_is_not_in_the_page_cache_is_not_given(void **state)
{
    (void)state;
    struct file *f = file_make();
    struct statfs fs;
    assert_int_equal(fstatfs(f->fd, &fs), 0);
    if (fs.f_type == TMPFS_MAGIC ||
        fs.f_type == OVERLAYFS_SUPER_MAGIC) { /* nothing is dropped there */
        file_free(f);
        skip();
    }
    assert_int_equal(fsync(f->fd), 0);
    assert_int_equal(posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    assert_null(take(f, f, FILE_WINDOW_LEN, BLOCK));
    uint8_t data[BLOCK];
    assert_int_equal(pread(f->fd, data, BLOCK, FILE_WINDOW_LEN), BLOCK);
    assert_given(f, FILE_WINDOW_LEN, BLOCK);
    file_free(f);
}

/* Of a file that is another's the system says that all is in the page cache. */
static void files_of_others_are_read(void **state)
{
    (void)state;
    struct file *f = file_make();
    if (fchown(f->fd, geteuid() + 1, (gid_t)-1) != 0) {
        file_free(f);
        skip();
    }
    assert_null(take(f, f, 0, BLOCK));
    struct file_window *w = file_window_take(&f->windows, f, f->fd, 0, BLOCK, true);
    assert_non_null(w);
    file_window_release(&f->windows, w);
    file_free(f);
}

static void nothing_that_cannot_be_mapped(void **state)
{
    (void)state;
    struct file *f = file_make();
    int fd = open(f->path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_null(file_window_take(&f->windows, &fd, fd, 0, BLOCK, true));
    assert_null(file_window_take(&f->windows, f, -1, 0, BLOCK, true));
    assert_int_equal(count_mapped(f), 0);
    close(fd);
    file_free(f);
}

struct user {
    struct file *f;
    unsigned seed;
};

static void *use_windows(void *arg)
{
    struct user *u = arg;
    for (unsigned i = 0; i < 2000; i++) {
        u->seed = u->seed * 1103515245u + 12345;
        uint64_t off = (u->seed >> 8) % (FILE_LEN - BLOCK);
        struct file_window *w = take(u->f, (const char *)u->f + u->seed % 5, off, BLOCK);
        if (!w)
            continue;
        if (file_window_at(w, off)[100] != byte_at(off + 100))
            return u;
        file_window_release(&u->f->windows, w);
        if (i % 64 == 0)
            file_windows_forget(&u->f->windows, u);
    }
    return NULL;
}

static void threads_share_the_table(void **state)
{
    (void)state;
    struct file *f = file_make();
    struct user users[3] = {{f, 1}, {f, 2}, {f, 3}};
    pthread_t threads[3];
    void *wrong;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_windows, &users[i]), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    file_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_hold_the_file),
        cmocka_unit_test(the_length_of_now_counts),
        cmocka_unit_test(a_cut_file_raises_no_signal),
        cmocka_unit_test(a_full_table_gives_up_the_oldest),
        cmocka_unit_test(what_is_not_in_the_page_cache_is_not_given),
        cmocka_unit_test(files_of_others_are_read),
        cmocka_unit_test(nothing_that_cannot_be_mapped),
        cmocka_unit_test(threads_share_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
