/* The database of resume data as a file that may hold anything. The first byte chooses: the input is
 * the database, or overwrites a part of a good one (two bytes of offset, then the bytes). */
#include "base/size.h"
#include "store/resume_store.h"
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define KEY BYTES_LIT("0123456789abcdefghij")

static char dir[64], path[400];

static void empty_dir(void)
{
    DIR *d = opendir(dir);
    assert(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
}

static void leave(void)
{
    empty_dir();
    rmdir(dir);
}

static void make_dir(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%.40s/shoal-fuzz-XXXXXX", base ? base : "/dev/shm");
    if (!mkdtemp(dir)) {
        snprintf(dir, sizeof dir, "/tmp/shoal-fuzz-XXXXXX");
        assert(mkdtemp(dir));
    }
    atexit(leave);
}

/* The name of the database is the store's own business: whatever file it makes. */
static void find_database(void)
{
    DIR *d = opendir(dir);
    assert(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && !strstr(e->d_name, "-wal") && !strstr(e->d_name, "-shm"))
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    closedir(d);
    assert(path[0]);
}

/* NULL: it is from a newer version, as far as anybody can tell. */
static struct resume_store *must_open(void)
{
    struct resume_store *r;
    struct err err = {0};
    bool was_damaged;
    enum err_code code = resume_store_open(&r, dir, &was_damaged, &err);
    assert(code == ERR_OK || code == ERR_UNSUPPORTED);
    return code ? NULL : r;
}

static void make_good(void)
{
    uint8_t blob[500];
    memset(blob, 'x', sizeof blob);
    struct resume_store *r = must_open();
    assert(!resume_store_put(r, KEY, bytes_of(blob, sizeof blob), true, NULL));
    assert(!resume_store_set(r, "a setting", BYTES_LIT("its value"), NULL));
    resume_store_close(r);
}

static void spoil(struct bytes in)
{
    uint8_t how = in.len ? in.data[0] : 0;
    off_t at = 0;
    if (how % 2 && in.len >= 3)
        at = in.data[1] * 256 + in.data[2];
    int fd = open(path, how % 2 ? O_WRONLY | O_CREAT : O_WRONLY | O_CREAT | O_TRUNC, 0600);
    in = bytes_sub(in, how % 2 ? 3 : 1, in.len);
    assert(fd >= 0 && pwrite(fd, in.data, in.len, at) == (ssize_t)in.len);
    close(fd);
}

/* Whatever it was: the store opens, gives what it gives, and takes new data. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mem mem;
    struct buf out;
    struct err err = {0};
    uint64_t n;
    if (!dir[0])
        make_dir();
    empty_dir();
    make_good();
    if (!path[0])
        find_database();
    spoil(bytes_of(data, size_min(len, 65536)));
    struct resume_store *r = must_open();
    if (!r)
        return 0;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, RESUME_LEN_MAX);
    (void)!resume_store_count(r, &n, &err);
    (void)!resume_store_get(r, KEY, &out, &err);
    (void)!resume_store_setting(r, "a setting", &out, &err);
    buf_reset(&out);
    if (!resume_store_put(r, KEY, BYTES_LIT("new"), true, &err)) {
        assert(!resume_store_get(r, KEY, &out, &err));
        assert(bytes_equal(buf_bytes(&out), BYTES_LIT("new")));
    }
    resume_store_close(r);
    buf_clear(&out);
    mem_check_empty(&mem);
    return 0;
}
