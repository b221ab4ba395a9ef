/* A folder of block files whose table (files.log) and first file may hold anything: it is opened, walked
 * and built anew without harm, and a block put there afterwards is there at the next start.
 *
 * Input: a byte of flags (1: checksums are made right; 2: the head of the table is the input's, too; 4:
 * must_walk; 8: numbers of files as they are, not below 64), a byte: so many records of the table, then the
 * records (52 bytes each), and the rest is blk00000.dat. */
#include "base/map.h"
#include "store/block_files.h"
#include <assert.h>
#include <fcntl.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define RECORD_LEN 40u
#define SLOT_LEN   (RECORD_LEN + 12u)
#define HEAD_LEN   32u
#define WALKED_MAX 70u

static const struct block_files_config base_config = {.magic = {0xfa, 0xbf, 0xb5, 0xda}};
static char work_dir[64]; /* of this process; empty between inputs */

static void remove_dir(void)
{
    rmdir(work_dir);
}

static void path_of(const char *name, char out[160])
{
    snprintf(out, 160, "%s/%s", work_dir, name);
}

static void put_file(const char *name, struct bytes b)
{
    char path[160];
    path_of(name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0 && write(fd, b.data, b.len) == (ssize_t)b.len);
    close(fd);
}

static void remove_files(void)
{
    char path[160], name[BLOCK_FILE_NAME_CAP];
    path_of("files.log", path);
    unlink(path);
    for (uint32_t i = 0; i < WALKED_MAX; i++)
        for (int is_undo = 0; is_undo < 2; is_undo++) {
            path_of(block_file_name(i, is_undo, name), path);
            unlink(path);
        }
}

/* Small numbers of files, so that what is behind them is met; checksums. */
static void make_right(uint8_t *slots, size_t n, uint8_t flags)
{
    for (uint64_t i = 0; i < n; i++) {
        uint8_t *slot = slots + i * SLOT_LEN;
        if (!(flags & 8)) {
            slot[0] &= 63;
            slot[1] = slot[2] = slot[3] = 0;
        }
        uint64_t sum = map_hash((struct map_seed){0x73686f616c6c6f67u, i}, slot, SLOT_LEN - 8);
        struct writer w = writer_init(slot + SLOT_LEN - 8, 8);
        writer_u64le(&w, sum);
    }
}

static void put_table(uint8_t flags, const uint8_t *slots, size_t n)
{
    static uint8_t file[HEAD_LEN + 256 * SLOT_LEN];
    struct writer w = writer_init(file, sizeof file);
    if (!(flags & 2)) {
        writer_str(&w, "shoalblf");
        writer_u32le(&w, 1);
        writer_u32le(&w, RECORD_LEN);
        writer_fill(&w, 0, 16); /* no mark */
    }
    size_t head_len = w.pos;
    writer_put(&w, bytes_of(slots, n * SLOT_LEN));
    if (flags & 1)
        make_right(file + head_len, n, flags);
    put_file("files.log", bytes_of(file, w.pos));
}

static bool see(void *ctx, struct bytes raw, struct block_pos at)
{
    uint64_t *sum = ctx;
    assert(raw.len == at.len && raw.len <= BLOCK_LEN_MAX);
    for (size_t i = 0; i < raw.len; i++)
        *sum += raw.data[i];
    return true;
}

static void walk(struct block_files *f)
{
    uint64_t sum = 0, skipped;
    assert(block_files_first(f) <= block_files_last(f));
    for (uint32_t i = block_files_first(f), k = 0; i <= block_files_last(f) && k < WALKED_MAX;
         i++, k++)
        (void)!block_files_walk(f, i, see, &sum, &skipped, NULL);
}

/* What is put and synced is there when the folder is opened again. */
static void use(struct block_files *f, const struct block_files_config *c)
{
    struct mem mem;
    struct buf got;
    struct block_pos at;
    uint8_t block[100];
    memset(block, 0xb1, sizeof block);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&got, &mem, BLOCK_LEN_MAX);
    bool is_there = !block_files_put_block(f, bytes_of(block, sizeof block), 7, &at, NULL) &&
                    !block_files_sync(f, NULL);
    block_files_close(f);
    if (is_there) {
        assert(!block_files_open(&f, c, NULL));
        assert(block_files_has(f, at, false) && !block_files_read_block(f, at, &got, NULL));
        assert(bytes_equal(buf_bytes(&got), bytes_of(block, sizeof block)));
        walk(f);
        block_files_close(f);
    }
    buf_clear(&got);
    mem_check_empty(&mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct block_files_config c = base_config;
    struct block_files *f = NULL;
    if (len < 2 || len > 65536)
        return 0;
    if (!work_dir[0]) {
        snprintf(work_dir, sizeof work_dir, "/tmp/shoal-fuzz-blocks-XXXXXX");
        assert(mkdtemp(work_dir) && atexit(remove_dir) == 0);
    }
    size_t n = data[1] < (len - 2) / SLOT_LEN ? data[1] : (len - 2) / SLOT_LEN;
    c.dir = work_dir;
    put_table(data[0], data + 2, n);
    put_file("blk00000.dat", bytes_of(data + 2 + n * SLOT_LEN, len - 2 - n * SLOT_LEN));
    c.must_walk = data[0] & 4;
    if (!block_files_open(&f, &c, NULL)) {
        walk(f);
        c.must_walk = false;
        use(f, &c);
    }
    remove_files();
    return 0;
}
