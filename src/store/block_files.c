#include "store/block_files.h"
#include "base/size.h"
#include "crypto/random.h"
#include "crypto/sha.h"
#include "store/block_scan.h"
#include "store/record_log.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#define RECORD_HEAD_LEN    8u                     /* magic, length */
#define UNDO_SUM_LEN       32u                    /* behind undo data */
#define FILE_LEN_MAX       (128u * 1024u * 1024u) /* as Bitcoin Core: files can be exchanged */
#define RESERVE_BLOCKS_LEN (16u * 1024u * 1024u)  /* the same */
#define RESERVE_UNDO_LEN   (1u * 1024u * 1024u)   /* the same */
#define N_FILES_MAX        1000000u               /* ours: 128 TB */
#define N_OPEN_MAX         16u                    /* ours: undo files written to at once */
#define INFO_LEN           40u                    /* of a record in files.log */
#define HEIGHT_UNKNOWN     UINT32_MAX

enum kind { BLOCKS, UNDO, N_KINDS };

/* One number: a file of blocks and its file of undo data. */
struct pair {
    uint64_t len[N_KINDS];      /* end of the last record */
    uint64_t reserved[N_KINDS]; /* space asked for up to here */
    int fd[N_KINDS];            /* -1: not open */
    bool is_dirty[N_KINDS];     /* written since the last sync */
    bool is_changed;            /* files.log does not know yet */
    uint32_t n_blocks, height_min, height_max;
};

struct block_files {
    struct mem mem;
    struct disk disk;
    struct record_log *log;
    uint8_t magic[4], key[BLOCK_XOR_LEN];
    bool has_key, must_walk;
    uint64_t file_len_max;
    struct pair *pairs; /* by number */
    uint32_t n_pairs, pairs_cap, first;
    uint8_t *scratch; /* xored copy of what is being written */
    size_t scratch_cap;
};

char *block_file_name(uint32_t file, bool is_undo, char out[BLOCK_FILE_NAME_CAP])
{
    snprintf(out, BLOCK_FILE_NAME_CAP, "%s%05u.dat", is_undo ? "rev" : "blk", file);
    return out;
}

/* --- the table of files ---------------------------------------------------------------------- */

static const struct pair pair_empty = {
    .fd = {-1, -1}, .height_min = HEIGHT_UNKNOWN, .height_max = 0};

/* Room for numbers below n. */
static bool pairs_grow(struct block_files *f, uint32_t n)
{
    if (n > N_FILES_MAX)
        return false;
    if (n > f->pairs_cap) {
        uint32_t cap = n < 64 ? 64 : n + n / 2;
        struct pair *grown = mem_realloc(&f->mem, f->pairs, cap * sizeof *grown);
        if (!grown)
            return false;
        f->pairs = grown;
        f->pairs_cap = cap;
    }
    while (f->n_pairs < n)
        f->pairs[f->n_pairs++] = pair_empty;
    return true;
}

static void pair_close(struct pair *p, enum kind k)
{
    if (p->fd[k] >= 0)
        close(p->fd[k]);
    p->fd[k] = -1;
}

static enum err_code pair_open(struct block_files *f, uint32_t file, enum kind k, struct err *err)
{
    struct pair *p = &f->pairs[file];
    char name[BLOCK_FILE_NAME_CAP];
    if (p->fd[k] >= 0)
        return ERR_OK;
    return disk_file_open(&f->disk, block_file_name(file, k == UNDO, name), true, &p->fd[k], err);
}

static void note_height(struct pair *p, uint32_t height)
{
    p->height_min = height < p->height_min ? height : p->height_min;
    p->height_max = height > p->height_max ? height : p->height_max;
}

/* --- files.log ------------------------------------------------------------------------------- */

static void info_write(const struct block_files *f, uint32_t file, uint8_t *out)
{
    const struct pair *p = &f->pairs[file];
    struct writer w = writer_init(out, INFO_LEN);
    writer_u32le(&w, file);
    writer_u32le(&w, f->first);
    writer_u64le(&w, p->len[BLOCKS]);
    writer_u64le(&w, p->len[UNDO]);
    writer_u32le(&w, p->n_blocks);
    writer_u32le(&w, p->height_min);
    writer_u32le(&w, p->height_max);
    writer_u32le(&w, 0);
    assert(writer_end(&w) == ERR_OK && w.pos == INFO_LEN);
}

static bool info_read(void *ctx, const uint8_t *record)
{
    struct block_files *f = ctx;
    struct reader r = reader_init(bytes_of(record, INFO_LEN));
    uint32_t file = reader_u32le(&r);
    uint32_t first = reader_u32le(&r);
    if (file >= N_FILES_MAX || first > file || !pairs_grow(f, file + 1))
        return false;
    struct pair *p = &f->pairs[file];
    f->first = first;
    p->len[BLOCKS] = reader_u64le(&r);
    p->len[UNDO] = reader_u64le(&r);
    p->n_blocks = reader_u32le(&r);
    p->height_min = reader_u32le(&r);
    p->height_max = reader_u32le(&r);
    return true;
}

static void info_get(void *ctx, size_t i, uint8_t *out)
{
    struct block_files *f = ctx;
    info_write(f, f->first + (uint32_t)i, out);
}

/* What changed goes into the log; a log much longer than its content is written anew. */
static enum err_code info_sync(struct block_files *f, struct err *err)
{
    enum err_code code;
    uint32_t n_live = f->n_pairs - f->first, n = 0;
    if (record_log_n(f->log) > 64 + 4 * (uint64_t)n_live) {
        code = record_log_rewrite(f->log, n_live, info_get, f, err);
    } else {
        uint8_t *records = mem_alloc(&f->mem, ((size_t)n_live + 1) * INFO_LEN);
        if (!records)
            return err_set(err, ERR_NO_MEMORY, "no memory to note what is in the block files");
        for (uint32_t i = f->first; i < f->n_pairs; i++)
            if (f->pairs[i].is_changed)
                info_write(f, i, records + n++ * INFO_LEN);
        code = record_log_append(f->log, records, n, err);
        mem_free(&f->mem, records);
    }
    for (uint32_t i = f->first; i < f->n_pairs && !code; i++)
        f->pairs[i].is_changed = false;
    return code;
}

/* --- opening --------------------------------------------------------------------------------- */

/* The number in "blk00012.dat"; false for other names. */
static bool number_of(const char *name, const char *prefix, uint32_t *out)
{
    uint32_t n = 0;
    size_t i = 3;
    if (strncmp(name, prefix, 3) != 0)
        return false;
    for (; name[i] >= '0' && name[i] <= '9' && n < N_FILES_MAX; i++)
        n = n * 10 + (uint32_t)(name[i] - '0');
    *out = n;
    return i >= 8 && n < N_FILES_MAX && strcmp(name + i, ".dat") == 0;
}

/* Smallest and largest number of the block files there are; false: there are none. */
static bool look_around(struct block_files *f, uint32_t *out_first, uint32_t *out_last)
{
    bool is_any = false;
    int fd = openat(f->disk.dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        uint32_t n;
        if (!number_of(e->d_name, "blk", &n))
            continue;
        *out_first = !is_any || n < *out_first ? n : *out_first;
        *out_last = !is_any || n > *out_last ? n : *out_last;
        is_any = true;
    }
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return is_any;
}

static enum err_code make_key(struct block_files *f, struct err *err)
{
    random_fill(f->key, sizeof f->key);
    f->has_key = true;
    return disk_put_file(&f->disk, "xor.dat", bytes_of(f->key, sizeof f->key), err);
}

/* Cuts what lies behind the last record that files.log knows; a file shorter than that was
 * damaged from outside: its end is what is there. */
static enum err_code repair_file(struct block_files *f, uint32_t file, enum kind k, struct err *err)
{
    struct pair *p = &f->pairs[file];
    char name[BLOCK_FILE_NAME_CAP];
    uint64_t len;
    int fd;
    enum err_code code =
        disk_file_open(&f->disk, block_file_name(file, k == UNDO, name), false, &fd, err);
    if (code == ERR_NOT_FOUND) {
        p->len[k] = 0;
        return ERR_OK;
    }
    if (code)
        return code;
    code = disk_file_len(fd, &len, err);
    if (!code && len > p->len[k])
        code = disk_resize(&f->disk, fd, name, p->len[k], err);
    if (!code && len < p->len[k])
        p->len[k] = len;
    close(fd);
    return code;
}

/* A file that files.log has not heard of yet holds nothing that anybody names. */
static enum err_code remove_unknown(struct block_files *f, uint32_t last, struct err *err)
{
    char name[BLOCK_FILE_NAME_CAP];
    for (uint32_t file = f->n_pairs; file <= last; file++)
        for (int k = 0; k < N_KINDS; k++) {
            enum err_code code = disk_remove(&f->disk, block_file_name(file, k == UNDO, name), err);
            if (code)
                return code;
        }
    return ERR_OK;
}

/* Files that were being pruned when everything stopped. */
static enum err_code remove_pruned(struct block_files *f, uint32_t first, struct err *err)
{
    char name[BLOCK_FILE_NAME_CAP];
    for (uint32_t file = first; file < f->first; file++)
        for (int k = 0; k < N_KINDS; k++) {
            enum err_code code = disk_remove(&f->disk, block_file_name(file, k == UNDO, name), err);
            if (code)
                return code;
        }
    return ERR_OK;
}

/* A new folder. Its log is never empty: so block files without one are somebody else's, and are not
 * taken for what a crash left. */
static enum err_code begin(struct block_files *f, struct err *err)
{
    if (!pairs_grow(f, 1))
        return err_set(err, ERR_NO_MEMORY, "no memory for the table of block files");
    return record_log_rewrite(f->log, 1, info_get, f, err);
}

static enum err_code open_known(struct block_files *f, struct err *err)
{
    uint32_t first = 0, last = 0;
    enum err_code code = record_log_load(f->log, info_read, f, err);
    if (code)
        return code;
    bool is_any = look_around(f, &first, &last);
    if (record_log_n(f->log) == 0)
        return is_any ? err_set(err, ERR_MALFORMED, "block files, but nothing is known of them")
                      : begin(f, err);
    for (uint32_t i = f->first; i < f->n_pairs && !code; i++)
        for (int k = 0; k < N_KINDS && !code; k++)
            code = repair_file(f, i, k, err);
    if (is_any && !code)
        code = remove_unknown(f, last, err);
    if (is_any && !code)
        code = remove_pruned(f, first, err);
    return code;
}

/* must_walk: which files there are; the rest is found out by block_files_walk. */
static enum err_code open_unknown(struct block_files *f, struct err *err)
{
    uint32_t first = 0, last = 0;
    enum err_code code = record_log_load(f->log, info_read, f, err);
    if (code)
        return code;
    look_around(f, &first, &last);
    if (!pairs_grow(f, last + 1))
        return err_set(err, ERR_NO_MEMORY, "no memory for the table of block files");
    f->first = first;
    for (uint32_t i = first; i <= last; i++)
        f->pairs[i].is_changed = true;
    return ERR_OK;
}

static enum err_code open_all(struct block_files *f, const struct block_files_config *c,
                              struct err *err)
{
    uint32_t first, last;
    enum err_code code = disk_open(&f->disk, c->dir, c->hook, err);
    if (!code)
        code = block_xor_read(f->disk.dir_fd, f->key, &f->has_key, err);
    if (!code && c->use_xor && faccessat(f->disk.dir_fd, "xor.dat", F_OK, 0) != 0 &&
        !look_around(f, &first, &last))
        code = make_key(f, err);
    if (!code && c->must_walk)
        code = disk_remove(&f->disk, "files.log", err);
    if (!code)
        code = disk_sync_dir(&f->disk, err);
    if (!code)
        code = record_log_open(&f->log, &f->disk, "files.log", "shoalblf", INFO_LEN, err);
    if (!code)
        code = c->must_walk ? open_unknown(f, err) : open_known(f, err);
    return code;
}

enum err_code block_files_open(struct block_files **out, const struct block_files_config *c,
                               struct err *err)
{
    struct block_files *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f)
        return err_set(err, ERR_NO_MEMORY, "no memory for block files");
    mem_init(&f->mem, MEM_NO_BUDGET, NULL);
    f->disk.dir_fd = -1;
    f->must_walk = c->must_walk;
    f->file_len_max = c->file_len_max ? c->file_len_max : FILE_LEN_MAX;
    memcpy(f->magic, c->magic, sizeof f->magic);
    enum err_code code = open_all(f, c, err);
    if (code)
        block_files_close(f);
    else
        *out = f;
    return code;
}

void block_files_close(struct block_files *f)
{
    if (!f)
        return;
    for (uint32_t i = 0; i < f->n_pairs; i++)
        for (int k = 0; k < N_KINDS; k++)
            pair_close(&f->pairs[i], k);
    record_log_close(f->log);
    disk_close(&f->disk);
    mem_free(&f->mem, f->pairs);
    mem_free(&f->mem, f->scratch);
    mem_check_empty(&f->mem);
    free(f);
}

/* --- appending ------------------------------------------------------------------------------- */

static enum err_code sync_file(struct block_files *f, uint32_t file, enum kind k, struct err *err)
{
    struct pair *p = &f->pairs[file];
    char name[BLOCK_FILE_NAME_CAP];
    if (!p->is_dirty[k])
        return ERR_OK;
    enum err_code code = pair_open(f, file, k, err);
    if (!code)
        code = disk_sync(&f->disk, p->fd[k], block_file_name(file, k == UNDO, name), err);
    if (!code)
        p->is_dirty[k] = false;
    return code;
}

/* The file has its last record: space reserved behind it is given back. */
static enum err_code finish_file(struct block_files *f, uint32_t file, enum kind k, struct err *err)
{
    struct pair *p = &f->pairs[file];
    char name[BLOCK_FILE_NAME_CAP];
    enum err_code code = pair_open(f, file, k, err);
    if (!code && p->reserved[k] > p->len[k])
        code =
            disk_resize(&f->disk, p->fd[k], block_file_name(file, k == UNDO, name), p->len[k], err);
    p->reserved[k] = 0;
    if (!code)
        code = sync_file(f, file, k, err);
    if (!code)
        pair_close(p, k);
    return code;
}

/* Undo data goes to few files at a time; one too many open and the oldest is closed. */
static enum err_code limit_open(struct block_files *f, struct err *err)
{
    uint32_t n = 0, oldest = f->n_pairs;
    for (uint32_t i = f->n_pairs; i-- > f->first && n <= N_OPEN_MAX;)
        if (f->pairs[i].fd[UNDO] >= 0) {
            oldest = i;
            n++;
        }
    return n > N_OPEN_MAX ? finish_file(f, oldest, UNDO, err) : ERR_OK;
}

static enum err_code reserve(struct block_files *f, uint32_t file, enum kind k, uint64_t end,
                             struct err *err)
{
    struct pair *p = &f->pairs[file];
    char name[BLOCK_FILE_NAME_CAP];
    uint64_t step = k == BLOCKS ? RESERVE_BLOCKS_LEN : RESERVE_UNDO_LEN;
    if (end <= p->reserved[k])
        return ERR_OK;
    uint64_t to = div_ceil(end, step) * step;
    if (k == BLOCKS && to > f->file_len_max)
        to = u64_max(end, f->file_len_max);
    enum err_code code = disk_reserve(&f->disk, p->fd[k], block_file_name(file, k == UNDO, name),
                                      p->len[k], to - p->len[k], err);
    if (!code)
        p->reserved[k] = to;
    return code;
}

/* The parts one after another and xored, in the scratch buffer. */
static uint8_t *gather(struct block_files *f, uint64_t off, const struct bytes *parts, size_t n,
                       size_t len)
{
    size_t at = 0;
    if (len > f->scratch_cap) {
        mem_free(&f->mem, f->scratch);
        f->scratch_cap = 0;
        f->scratch = mem_alloc(&f->mem, len);
        if (!f->scratch)
            return NULL;
        f->scratch_cap = len;
    }
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len) /* an empty part may have no data */
            memcpy(f->scratch + at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    block_xor(f->key, off, f->scratch, len);
    return f->scratch;
}

static enum err_code write_parts(struct block_files *f, uint32_t file, enum kind k,
                                 const struct bytes *parts, size_t n, size_t len, struct err *err)
{
    struct pair *p = &f->pairs[file];
    char name[BLOCK_FILE_NAME_CAP];
    block_file_name(file, k == UNDO, name);
    if (!f->has_key)
        return disk_write(&f->disk, p->fd[k], name, p->len[k], parts, n, err);
    struct bytes one = {gather(f, p->len[k], parts, n, len), len};
    if (!one.data)
        return err_set(err, ERR_NO_MEMORY, "no memory to write a record");
    return disk_write(&f->disk, p->fd[k], name, p->len[k], &one, 1, err);
}

/* One record behind the last; *out says where its data lies. When this fails the file counts as it
 * did before: the next record is written over what there may be of this one. */
static enum err_code append(struct block_files *f, uint32_t file, enum kind k, struct bytes data,
                            struct bytes sum, struct block_pos *out, struct err *err)
{
    struct pair *p = &f->pairs[file];
    uint8_t head[RECORD_HEAD_LEN];
    struct writer w = writer_init(head, sizeof head);
    writer_put(&w, bytes_of(f->magic, 4));
    writer_u32le(&w, (uint32_t)data.len);
    size_t len = sizeof head + data.len + sum.len;
    if (p->len[k] + len > UINT32_MAX)
        return err_set_at(err, ERR_LIMIT, "a file of undo data is full", p->len[k], file, 0);
    enum err_code code = pair_open(f, file, k, err);
    if (!code)
        code = reserve(f, file, k, p->len[k] + len, err);
    if (!code)
        code =
            write_parts(f, file, k, (struct bytes[]){{head, sizeof head}, data, sum}, 3, len, err);
    p->is_dirty[k] = true;
    if (code)
        return code;
    *out = (struct block_pos){file, (uint32_t)(p->len[k] + sizeof head), (uint32_t)data.len};
    p->len[k] += len;
    p->is_changed = true;
    return ERR_OK;
}

enum err_code block_files_put_block(struct block_files *f, struct bytes raw, uint32_t height,
                                    struct block_pos *out, struct err *err)
{
    uint32_t file = f->n_pairs - 1;
    enum err_code code = ERR_OK;
    if (raw.len < BLOCK_SCAN_LEN_MIN || raw.len > BLOCK_LEN_MAX)
        return err_set_at(err, ERR_LIMIT, "a block of this length is not kept", 0, raw.len,
                          BLOCK_LEN_MAX);
    if (f->pairs[file].len[BLOCKS] &&
        f->pairs[file].len[BLOCKS] + RECORD_HEAD_LEN + raw.len > f->file_len_max) {
        code = finish_file(f, file, BLOCKS, err);
        if (!code && !pairs_grow(f, file + 2))
            code = err_set(err, ERR_NO_MEMORY, "no memory for the table of block files");
        file++;
    }
    if (!code)
        code = append(f, file, BLOCKS, raw, (struct bytes){0}, out, err);
    if (code)
        return code;
    f->pairs[file].n_blocks++;
    note_height(&f->pairs[file], height);
    return ERR_OK;
}

/* SHA-256d of the parent's hash and the undo data, as Bitcoin Core guards it. */
static void undo_sum(const struct hash256 *prev, struct bytes undo, uint8_t out[UNDO_SUM_LEN])
{
    struct sha256_state s;
    sha256_init(&s);
    sha256_update(&s, bytes_of(prev->b, sizeof prev->b));
    sha256_update(&s, undo);
    sha256_final(&s, out);
    sha256(bytes_of(out, UNDO_SUM_LEN), out);
}

enum err_code block_files_put_undo(struct block_files *f, uint32_t file, struct bytes undo,
                                   const struct hash256 *prev, struct block_pos *out,
                                   struct err *err)
{
    uint8_t sum[UNDO_SUM_LEN];
    if (file < f->first || file >= f->n_pairs)
        return err_set_at(err, ERR_NOT_FOUND, "no such block file", 0, file, 0);
    if (undo.len > UNDO_LEN_MAX)
        return err_set_at(err, ERR_LIMIT, "undo data of this length is not kept", 0, undo.len,
                          UNDO_LEN_MAX);
    undo_sum(prev, undo, sum);
    enum err_code code = append(f, file, UNDO, undo, (struct bytes){sum, sizeof sum}, out, err);
    return code ? code : limit_open(f, err);
}

enum err_code block_files_sync(struct block_files *f, struct err *err)
{
    bool is_any = false;
    enum err_code code = ERR_OK;
    for (uint32_t i = f->first; i < f->n_pairs && !code; i++) {
        is_any = is_any || f->pairs[i].is_changed;
        for (int k = 0; k < N_KINDS && !code; k++)
            code = sync_file(f, i, k, err);
        if (i + 1 < f->n_pairs)
            pair_close(&f->pairs[i], BLOCKS);
    }
    if (!code)
        code = disk_sync_dir(&f->disk, err);
    return code || !is_any ? code : info_sync(f, err);
}

/* --- reading --------------------------------------------------------------------------------- */

static enum err_code damaged(struct err *err, const char *what, struct block_pos at)
{
    return err_set_at(err, ERR_MALFORMED, what, at.off - RECORD_HEAD_LEN, at.file, 0);
}

/* Head and data of a record; tail: what follows the data. */
static enum err_code read_parts(struct block_files *f, int fd, struct block_pos at, uint8_t *head,
                                uint8_t *data, struct span tail, struct err *err)
{
    uint64_t off = at.off - RECORD_HEAD_LEN;
    size_t want = RECORD_HEAD_LEN + at.len + tail.len;
    struct iovec v[] = {{head, RECORD_HEAD_LEN}, {data, at.len}, {tail.data, tail.len}};
    ssize_t n = preadv(fd, v, 3, (off_t)off);
    if (n < 0)
        return err_set_at(err, ERR_IO, "cannot read a block file", off, (uint64_t)errno, 0);
    if ((size_t)n != want) { /* a short read, or the end of the file: piece by piece */
        enum err_code code = disk_read(fd, off, head, RECORD_HEAD_LEN, err);
        if (!code)
            code = disk_read(fd, at.off, data, at.len, err);
        if (!code && tail.len)
            code = disk_read(fd, (uint64_t)at.off + at.len, tail.data, tail.len, err);
        if (code)
            return code == ERR_TRUNCATED ? damaged(err, "a block file ends too early", at) : code;
    }
    if (f->has_key) {
        block_xor(f->key, off, head, RECORD_HEAD_LEN);
        block_xor(f->key, at.off, data, at.len);
        block_xor(f->key, (uint64_t)at.off + at.len, tail.data, tail.len);
    }
    return ERR_OK;
}

static enum err_code check_head(const struct block_files *f, const uint8_t *head,
                                struct block_pos at, struct err *err)
{
    struct reader r = reader_init(bytes_of(head + 4, 4));
    uint32_t len = reader_u32le(&r);
    if (memcmp(head, f->magic, 4) != 0 || len != at.len)
        return damaged(err, "no record in a block file where one should be", at);
    return ERR_OK;
}

static enum err_code read_record(struct block_files *f, struct block_pos at, bool is_undo,
                                 struct span tail, struct buf *out, struct err *err)
{
    char name[BLOCK_FILE_NAME_CAP];
    uint8_t head[RECORD_HEAD_LEN];
    buf_reset(out);
    if (at.off < RECORD_HEAD_LEN || at.len > (is_undo ? UNDO_LEN_MAX : BLOCK_LEN_MAX))
        return err_set_at(err, ERR_MALFORMED, "no place in a block file", at.off, at.file, 0);
    struct span room = buf_reserve(out, at.len);
    if (!room.data && at.len)
        return err_set(err, ERR_NO_MEMORY, "no memory for a block");
    int fd = openat(f->disk.dir_fd, block_file_name(at.file, is_undo, name),
                    O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT
                   ? err_set_at(err, ERR_NOT_FOUND, "a block file is not there", 0, at.file, 0)
                   : err_set_at(err, ERR_IO, "cannot open a block file", 0, (uint64_t)errno, 0);
    enum err_code code = read_parts(f, fd, at, head, room.data, tail, err);
    close(fd);
    if (!code)
        code = check_head(f, head, at, err);
    if (!code)
        buf_commit(out, at.len);
    return code;
}

enum err_code block_files_read_block(struct block_files *f, struct block_pos at, struct buf *out,
                                     struct err *err)
{
    return read_record(f, at, false, (struct span){0}, out, err);
}

enum err_code block_files_read_undo(struct block_files *f, struct block_pos at,
                                    const struct hash256 *prev, struct buf *out, struct err *err)
{
    uint8_t got[UNDO_SUM_LEN], want[UNDO_SUM_LEN];
    enum err_code code = read_record(f, at, true, (struct span){got, sizeof got}, out, err);
    if (code)
        return code;
    undo_sum(prev, buf_bytes(out), want);
    if (memcmp(got, want, sizeof got) != 0) {
        buf_reset(out);
        return damaged(err, "undo data does not fit its checksum", at);
    }
    return ERR_OK;
}

bool block_files_has(const struct block_files *f, struct block_pos at, bool is_undo)
{
    if (at.file < f->first || at.file >= f->n_pairs || at.off < RECORD_HEAD_LEN)
        return false;
    return (uint64_t)at.off + at.len + (is_undo ? UNDO_SUM_LEN : 0) <=
           f->pairs[at.file].len[is_undo ? UNDO : BLOCKS];
}

/* --- walking, for reindex -------------------------------------------------------------------- */

static enum err_code walk_scan(struct block_scan *s, uint32_t file, struct pair *seen,
                               bool (*each)(void *ctx, struct bytes raw, struct block_pos at),
                               void *ctx, uint64_t *out_skipped, struct err *err)
{
    struct bytes raw;
    uint64_t off, skipped;
    enum err_code code;
    while (!(code = block_scan_next(s, &raw, &off, &skipped, err))) {
        if (off + raw.len > UINT32_MAX)
            return err_set_at(err, ERR_LIMIT, "a block file is too long", off, file, 0);
        *out_skipped += skipped;
        seen->n_blocks++;
        seen->len[BLOCKS] = off + raw.len;
        if (!each(ctx, raw, (struct block_pos){file, (uint32_t)off, (uint32_t)raw.len}))
            return err_set(err, ERR_CANCELLED, "the walk over block files was stopped");
    }
    *out_skipped += skipped;
    return code == ERR_NOT_FOUND ? ERR_OK : code;
}

enum err_code block_files_walk(struct block_files *f, uint32_t file,
                               bool (*each)(void *ctx, struct bytes raw, struct block_pos at),
                               void *ctx, uint64_t *out_skipped, struct err *err)
{
    char name[BLOCK_FILE_NAME_CAP];
    struct block_scan *s;
    struct pair seen = pair_empty;
    block_file_name(file, false, name);
    *out_skipped = 0;
    if (file >= f->n_pairs || faccessat(f->disk.dir_fd, name, F_OK, 0) != 0)
        return err_set_at(err, ERR_NOT_FOUND, "a block file is not there", 0, file, 0);
    enum err_code code = block_scan_open_at(&s, f->disk.dir_fd, name, f->magic, err);
    if (code)
        return code;
    code = walk_scan(s, file, &seen, each, ctx, out_skipped, err);
    block_scan_close(s);
    if (!code && f->must_walk) {
        f->pairs[file].len[BLOCKS] = seen.len[BLOCKS];
        f->pairs[file].n_blocks = seen.n_blocks;
    }
    return code;
}

void block_files_note_height(struct block_files *f, uint32_t file, uint32_t height)
{
    struct pair *p = &f->pairs[file];
    if (file < f->first || file >= f->n_pairs)
        return;
    note_height(p, height);
    p->is_changed = true;
}

enum err_code block_files_drop_undo(struct block_files *f, struct err *err)
{
    char name[BLOCK_FILE_NAME_CAP];
    for (uint32_t i = f->first; i < f->n_pairs; i++) {
        struct pair *p = &f->pairs[i];
        pair_close(p, UNDO);
        enum err_code code = disk_remove(&f->disk, block_file_name(i, true, name), err);
        if (code)
            return code;
        p->len[UNDO] = p->reserved[UNDO] = 0;
        p->is_dirty[UNDO] = false;
        p->is_changed = true;
    }
    return ERR_OK;
}

/* --- pruning --------------------------------------------------------------------------------- */

static enum err_code remove_pair(struct block_files *f, uint32_t file, struct err *err)
{
    struct pair *p = &f->pairs[file];
    char name[BLOCK_FILE_NAME_CAP];
    enum err_code code = ERR_OK;
    for (int k = 0; k < N_KINDS && !code; k++) {
        pair_close(p, k);
        code = disk_remove(&f->disk, block_file_name(file, k == UNDO, name), err);
        p->len[k] = 0;
        p->is_dirty[k] = false;
    }
    return code;
}

/* files.log is told first which files go: a crash half way goes on with it at the next open, and
 * never leaves a file that is known and not there. */
enum err_code block_files_prune(struct block_files *f, uint32_t below_height, uint64_t target_len,
                                uint32_t *out_first_kept, uint32_t *out_n_removed, struct err *err)
{
    uint32_t from = f->first;
    uint64_t len = block_files_len(f);
    *out_n_removed = 0;
    while (len > target_len && f->first + 1 < f->n_pairs &&
           f->pairs[f->first].height_min != HEIGHT_UNKNOWN &&
           f->pairs[f->first].height_max < below_height) {
        len -= f->pairs[f->first].len[BLOCKS] + f->pairs[f->first].len[UNDO];
        f->first++;
    }
    *out_first_kept = f->first;
    if (f->first == from)
        return ERR_OK;
    f->pairs[f->n_pairs - 1].is_changed = true; /* carries the new first */
    enum err_code code = block_files_sync(f, err);
    if (code) {
        *out_first_kept = f->first = from;
        return code;
    }
    for (uint32_t i = from; i < f->first && !code; i++) {
        code = remove_pair(f, i, err);
        *out_n_removed += !code;
    }
    return code;
}

uint64_t block_files_len(const struct block_files *f)
{
    uint64_t len = 0;
    for (uint32_t i = f->first; i < f->n_pairs; i++)
        len += f->pairs[i].len[BLOCKS] + f->pairs[i].len[UNDO];
    return len;
}

uint64_t block_files_written(const struct block_files *f)
{
    return f->disk.written_len;
}

uint32_t block_files_first(const struct block_files *f)
{
    return f->first;
}

uint32_t block_files_last(const struct block_files *f)
{
    return f->n_pairs - 1;
}
