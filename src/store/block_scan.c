#include "store/block_scan.h"
#include "base/size.h"
#include "store/disk.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#define BUF_LEN         (8u << 20) /* ours: two of the largest blocks */
#define RECORD_HEAD_LEN 8u

struct block_scan {
    struct mem mem;
    int fd;
    uint8_t magic[4], key[BLOCK_XOR_LEN];
    bool has_key;
    uint64_t file_len;
    uint64_t buf_off; /* in the file, of buf[0] */
    size_t pos, len;  /* in buf: next byte to look at, end of what was read */
    size_t last_len;  /* of the record before pos, 0: none */
    uint8_t *buf;
};

/* --- xor.dat --------------------------------------------------------------------------------- */

enum err_code block_xor_read(int dir_fd, uint8_t out[BLOCK_XOR_LEN], bool *out_has, struct err *err)
{
    uint64_t len = 0;
    memset(out, 0, BLOCK_XOR_LEN);
    *out_has = false;
    int fd = openat(dir_fd, "xor.dat", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return ERR_OK;
    if (fd < 0)
        return err_set_at(err, ERR_IO, "cannot open xor.dat", 0, (uint64_t)errno, 0);
    enum err_code code = disk_file_len(fd, &len, err);
    if (!code && len != BLOCK_XOR_LEN)
        code = err_set_at(err, ERR_MALFORMED, "xor.dat is not 8 bytes long", 0, len, BLOCK_XOR_LEN);
    if (!code)
        code = disk_read(fd, 0, out, BLOCK_XOR_LEN, err);
    close(fd);
    for (size_t i = 0; i < BLOCK_XOR_LEN; i++)
        *out_has = *out_has || out[i] != 0;
    return code;
}

void block_xor(const uint8_t key[BLOCK_XOR_LEN], uint64_t off, uint8_t *data, size_t len)
{
    uint8_t turned[BLOCK_XOR_LEN];
    uint64_t k, v;
    for (size_t i = 0; i < BLOCK_XOR_LEN; i++)
        turned[i] = key[(off + i) % BLOCK_XOR_LEN];
    memcpy(&k, turned, sizeof k);
    size_t i = 0;
    for (; i + sizeof v <= len; i += sizeof v) {
        memcpy(&v, data + i, sizeof v);
        v ^= k;
        memcpy(data + i, &v, sizeof v);
    }
    for (; i < len; i++)
        data[i] ^= turned[i % BLOCK_XOR_LEN];
}

/* --- finding records ------------------------------------------------------------------------- */

struct block_found block_find(struct bytes data, const uint8_t magic[4], bool is_end)
{
    size_t at = 0;
    while (at < data.len) {
        const uint8_t *m = memchr(data.data + at, magic[0], data.len - at);
        if (!m)
            return (struct block_found){data.len, 0};
        at = (size_t)(m - data.data);
        size_t left = data.len - at;
        if (left < RECORD_HEAD_LEN)
            return (struct block_found){is_end ? data.len : at, 0};
        struct reader r = reader_init(bytes_of(m + 4, 4));
        uint32_t len = reader_u32le(&r);
        if (memcmp(m, magic, 4) == 0 && len >= BLOCK_SCAN_LEN_MIN && len <= BLOCK_SCAN_LEN_MAX) {
            if (len <= left - RECORD_HEAD_LEN)
                return (struct block_found){at, len};
            if (!is_end)
                return (struct block_found){at, 0};
        }
        at++;
    }
    return (struct block_found){data.len, 0};
}

/* --- the file -------------------------------------------------------------------------------- */

static enum err_code open_file(struct block_scan *s, int dir_fd, const char *name, struct err *err)
{
    s->fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (s->fd < 0)
        return err_set_at(err, ERR_IO, "cannot open the file", 0, (uint64_t)errno, 0);
    posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    enum err_code code = disk_file_len(s->fd, &s->file_len, err);
    return code ? code : block_xor_read(dir_fd, s->key, &s->has_key, err);
}

enum err_code block_scan_open_at(struct block_scan **out, int dir_fd, const char *name,
                                 const uint8_t magic[4], struct err *err)
{
    struct block_scan *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return err_set(err, ERR_NO_MEMORY, "no memory to read blocks");
    mem_init(&s->mem, MEM_NO_BUDGET, NULL);
    s->fd = -1;
    memcpy(s->magic, magic, 4);
    enum err_code code = open_file(s, dir_fd, name, err);
    if (code)
        block_scan_close(s);
    else
        *out = s;
    return code;
}

/* The folder is opened first: the key lies beside the file. */
enum err_code block_scan_open(struct block_scan **out, const char *path, const uint8_t magic[4],
                              struct err *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int n = slash ? snprintf(dir, sizeof dir, "%.*s/", (int)(slash - path), path)
                  : snprintf(dir, sizeof dir, ".");
    *out = NULL;
    if (n <= 0 || n >= PATH_MAX)
        return err_set_at(err, ERR_IO, "the path is too long", 0, ENAMETOOLONG, 0);
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        return err_set_at(err, ERR_IO, "cannot open the folder", 0, (uint64_t)errno, 0);
    enum err_code code = block_scan_open_at(out, dir_fd, slash ? slash + 1 : path, magic, err);
    close(dir_fd);
    return code;
}

void block_scan_close(struct block_scan *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    mem_free(&s->mem, s->buf);
    mem_check_empty(&s->mem);
    free(s);
}

static bool is_at_end(const struct block_scan *s)
{
    return s->buf_off + s->len >= s->file_len;
}

/* Reads on behind what is there; the bytes before pos are dropped. */
static enum err_code fill(struct block_scan *s, struct err *err)
{
    if (!s->buf)
        s->buf = mem_alloc(&s->mem, BUF_LEN);
    if (!s->buf)
        return err_set(err, ERR_NO_MEMORY, "no memory to read blocks");
    memmove(s->buf, s->buf + s->pos, s->len - s->pos);
    s->buf_off += s->pos;
    s->len -= s->pos;
    s->pos = 0;
    uint64_t at = s->buf_off + s->len;
    size_t want = (size_t)u64_min(BUF_LEN - s->len, s->file_len - at);
    enum err_code code = disk_read(s->fd, at, s->buf + s->len, want, err);
    if (code)
        return code;
    if (s->has_key)
        block_xor(s->key, at, s->buf + s->len, want);
    s->len += want;
    return ERR_OK;
}

/* Passes over n bytes; says how many of them to complain of. */
static uint64_t skip(struct block_scan *s, size_t n)
{
    uint64_t n_strange = 0;
    for (size_t i = 0; i < n; i++)
        n_strange += s->buf[s->pos + i] != 0;
    s->pos += n;
    return n_strange ? n : 0;
}

enum err_code block_scan_next(struct block_scan *s, struct bytes *out, uint64_t *out_at,
                              uint64_t *out_skipped, struct err *err)
{
    *out = (struct bytes){0};
    *out_skipped = 0;
    s->last_len = 0;
    for (;;) {
        struct bytes rest = bytes_sub(bytes_of(s->buf, s->len), s->pos, s->len);
        struct block_found f = block_find(rest, s->magic, is_at_end(s));
        *out_skipped += skip(s, f.at);
        if (f.len) {
            s->pos += RECORD_HEAD_LEN;
            *out_at = s->buf_off + s->pos;
            *out = (struct bytes){s->buf + s->pos, f.len};
            s->pos += f.len;
            s->last_len = RECORD_HEAD_LEN + f.len;
            return ERR_OK;
        }
        if (is_at_end(s))
            return err_set(err, ERR_NOT_FOUND, "no more blocks");
        enum err_code code = fill(s, err);
        if (code)
            return code;
    }
}

void block_scan_reject(struct block_scan *s)
{
    if (s->last_len)
        s->pos -= s->last_len - 1;
    s->last_len = 0;
}

enum err_code block_scan_read(struct block_scan *s, uint64_t at, uint32_t len, struct buf *out,
                              struct err *err)
{
    buf_reset(out);
    struct span room = buf_reserve(out, len);
    if (!room.data)
        return err_set(err, ERR_NO_MEMORY, "no memory for a block");
    enum err_code code = disk_read(s->fd, at, room.data, len, err);
    if (code)
        return code;
    if (s->has_key)
        block_xor(s->key, at, room.data, len);
    buf_commit(out, len);
    return ERR_OK;
}

uint64_t block_scan_len(const struct block_scan *s)
{
    return s->file_len;
}

uint64_t block_scan_at(const struct block_scan *s)
{
    return s->buf_off + s->pos;
}
