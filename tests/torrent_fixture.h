/* torrent_fixture: a small v1 torrent made in memory, with bytes that follow from file and offset. */
#pragma once
#include "base/buf.h"
#include "crypto/sha.h"
#include "test_util.h"
#include "torrent/metainfo.h"

struct fixture_file {
    const char *path; /* below the torrent's folder "top", '/' between elements */
    uint64_t len;
    const char *attr; /* BEP 47: "x", "p", "l"; or "" */
    const char *link; /* with "l": target below the torrent's folder */
};

struct fixture {
    struct mem mem;
    struct metainfo *info;
    uint8_t *data; /* the piece space; pads are zeros */
    uint64_t data_len;
};

static inline uint8_t fixture_byte(uint32_t file, uint64_t off)
{
    return (uint8_t)(file * 37 + off * 131 + (off >> 9) * 7 + 1);
}

static inline void fixture_put_path(struct buf *b, const char *path)
{
    buf_str(b, "l");
    while (*path) {
        size_t len = strcspn(path, "/");
        buf_printf(b, "%zu:%.*s", len, (int)len, path);
        path += len + (path[len] == '/');
    }
    buf_str(b, "e");
}

static inline void fixture_put_file(struct buf *b, const struct fixture_file *f)
{
    buf_str(b, "d");
    if (f->attr[0])
        buf_printf(b, "4:attr%zu:%s", strlen(f->attr), f->attr);
    buf_printf(b, "6:lengthi%llue4:path", (unsigned long long)f->len);
    fixture_put_path(b, f->path);
    if (f->link) {
        buf_str(b, "12:symlink path");
        fixture_put_path(b, f->link);
    }
    buf_str(b, "e");
}

static inline void fixture_fill(struct fixture *x, const struct fixture_file *files, uint32_t n)
{
    x->data_len = 0;
    for (uint32_t i = 0; i < n; i++)
        x->data_len += files[i].len;
    x->data = calloc(1, x->data_len + 1);
    assert_non_null(x->data);
    uint64_t at = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint64_t off = 0; off < files[i].len; off++, at++)
            x->data[at] = strchr(files[i].attr, 'p') ? 0 : fixture_byte(i, off);
}

static inline struct fixture *fixture_new(const struct fixture_file *files, uint32_t n,
                                          uint32_t piece_len)
{
    struct fixture *x = calloc(1, sizeof *x);
    struct buf b;
    struct err err = {0};
    assert_non_null(x);
    mem_init(&x->mem, MEM_NO_BUDGET, NULL);
    fixture_fill(x, files, n);
    buf_init(&b, &x->mem, 64u << 20);
    buf_str(&b, "d4:infod5:filesl");
    for (uint32_t i = 0; i < n; i++)
        fixture_put_file(&b, &files[i]);
    uint64_t n_pieces = (x->data_len + piece_len - 1) / piece_len;
    buf_printf(&b, "e4:name3:top12:piece lengthi%ue6:pieces%llu:", piece_len,
               (unsigned long long)(20 * n_pieces));
    for (uint64_t i = 0; i < n_pieces; i++) {
        uint8_t digest[SHA1_LEN];
        sha1(bytes_sub(bytes_of(x->data, x->data_len), i * piece_len, piece_len), digest);
        buf_put(&b, bytes_of(digest, SHA1_LEN));
    }
    buf_str(&b, "ee");
    enum err_code code = metainfo_read(&x->info, buf_bytes(&b), &x->mem, NULL, &err);
    if (code)
        fail_msg("fixture: %s at %llu", err.what, (unsigned long long)err.at);
    buf_clear(&b);
    return x;
}

static inline void fixture_free(struct fixture *x)
{
    metainfo_free(x->info);
    free(x->data);
    mem_check_empty(&x->mem);
    free(x);
}

/* Writes the data below dir as a finished download has it. */
static inline void fixture_write(const struct fixture *x, const char *dir)
{
    char path[TEST_PATH_CAP];
    for (uint32_t i = 0; i < x->info->n_files; i++) {
        const struct metainfo_file *f = &x->info->files[i];
        if (f->flags & (FILE_PAD | FILE_SYMLINK))
            continue;
        test_join(path, dir, f->path);
        for (char *p = path + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
            *p = 0;
            mkdir(path, 0777);
            *p = '/';
        }
        test_write_file(path, bytes_of(x->data + f->off, f->len));
    }
}
