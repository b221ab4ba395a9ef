/* An index file that may hold anything: what is loaded is written anew and loads the same. The
 * first byte picks how checksums are made right, or nothing would get past them. */
#include "base/map.h"
#include "store/block_index.h"
#include <assert.h>
#include <fcntl.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SLOT_LEN   132u
#define HEAD_LEN   32u
#define N_SEEN_MAX 1024u

struct seen {
    struct block_record records[N_SEEN_MAX];
    size_t n;
};

static bool see(void *ctx, const struct block_record *r)
{
    struct seen *s = ctx;
    if (s->n == N_SEEN_MAX)
        return false;
    s->records[s->n++] = *r;
    return true;
}

static void make_sums_right(uint8_t *file, size_t len)
{
    for (uint64_t i = 0; HEAD_LEN + (i + 1) * SLOT_LEN <= len; i++) {
        uint8_t *slot = file + HEAD_LEN + i * SLOT_LEN;
        uint64_t sum = map_hash((struct map_seed){0x73686f616c6c6f67u, i}, slot, SLOT_LEN - 8);
        struct writer w = writer_init(slot + SLOT_LEN - 8, 8);
        writer_u64le(&w, sum);
    }
}

static enum err_code load(const char *dir, struct seen *s, struct block_index **out)
{
    s->n = 0;
    enum err_code code = block_index_open(out, dir, NULL);
    if (!code)
        code = block_index_load(*out, see, s, NULL);
    return code;
}

static char work_dir[64]; /* of this process; empty between inputs */

static void remove_dir(void)
{
    rmdir(work_dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t file[65536];
    static struct seen first, again;
    char path[96];
    struct block_index *x = NULL;
    if (len < 1 || len > sizeof file - HEAD_LEN)
        return 0;
    if (!work_dir[0]) {
        snprintf(work_dir, sizeof work_dir, "/tmp/shoal-fuzz-index-XXXXXX");
        assert(mkdtemp(work_dir) && atexit(remove_dir) == 0);
    }
    struct writer w = writer_init(file, sizeof file);
    if (!(data[0] & 2)) {
        writer_str(&w, "shoalidx");
        writer_u32le(&w, 1);
        writer_u32le(&w, SLOT_LEN - 12);
        writer_fill(&w, 0, 16); /* no mark */
    }
    writer_put(&w, bytes_of(data + 1, len - 1));
    if (data[0] & 1)
        make_sums_right(file, w.pos);
    snprintf(path, sizeof path, "%s/index.log", work_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0 && write(fd, file, w.pos) == (ssize_t)w.pos);
    close(fd);
    if (!load(work_dir, &first, &x)) {
        struct block_record extra = {.status = 5};
        assert(!block_index_put(x, &extra, NULL) && !block_index_sync(x, NULL));
        block_index_close(x);
        assert(!load(work_dir, &again, &x));
        assert(again.n == first.n || again.n == first.n + 1);
    }
    block_index_close(x);
    unlink(path);
    return 0;
}
