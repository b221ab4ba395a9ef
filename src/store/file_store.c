#include "store/file_store.h"
#include "base/size.h"
#include "crypto/sha_lanes.h"
#include "store/beneath.h"
#include "torrent/metainfo.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sys/vfs.h>
#include <unistd.h>

#define WHOLE_BLOCKS_MAX 16u  /* leaves hashed in one call */
#define N_IOV_MAX        256u /* 4 MiB of blocks in one write */
#define NOT_DIRTY        UINT32_MAX
#define DIRTY_LAST       (UINT32_MAX - 1)

static_assert(METAINFO_N_FILES_MAX < DIRTY_LAST, "file numbers and list marks differ");
static_assert(BLOCK_LEN == LAYOUT_BLOCK_LEN, "one block length");

struct store_file {
    struct file_slot slot;
    uint32_t next_dirty; /* NOT_DIRTY, DIRTY_LAST or the next file of the list */
    bool is_prepared;    /* has its length; from now on it must exist */
    bool is_new;         /* its folder has to be synced, too */
    bool was_there;      /* when the store was opened */
};

struct file_store {
    struct file_cache *cache;
    const struct file_ops *ops;
    const struct metainfo *info;
    char *dir;
    uint64_t device;
    enum store_alloc alloc;
    bool is_read_only, is_in_memory;
    pthread_mutex_t lock;         /* first_dirty, next_dirty, is_new */
    pthread_mutex_t prepare_lock; /* held while a file is made or gets its length */
    pthread_mutex_t
        sync_lock; /* one sync at a time: the second must not pass what the first took */
    uint32_t first_dirty;
    struct store_file *files;
};

static enum err_code io_err(struct err *err, const char *what, uint64_t file)
{
    return err_set_at(err, ERR_IO, what, file, (uint64_t)errno, 0);
}

/* --- opening --------------------------------------------------------------------------------- */

static int dir_open(const struct file_store *s)
{
    return open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* The folder that the user named; his own symlinks in it are followed. */
static void make_dirs(const char *dir)
{
    char path[STORE_PATH_CAP];
    for (size_t i = 1; dir[i - 1] && i < sizeof path; i++) {
        if (dir[i] != '/' && dir[i] != 0)
            continue;
        memcpy(path, dir, i);
        path[i] = 0;
        mkdir(path, 0777); /* what matters is whether the whole can be opened */
    }
}

static void close_keeping_errno(int fd)
{
    int code = errno;
    close(fd);
    errno = code;
}

/* After a failure: were descriptors short, and could idle ones be closed? Then it is worth trying
 * again. */
static bool make_room(struct file_store *s)
{
    int code = errno;
    bool is_short = code == EMFILE || code == ENFILE;
    bool has_room = is_short && file_cache_shrink(s->cache, file_cache_n_open(s->cache) / 2);
    errno = code;
    return has_room;
}

static bool is_regular(int fd, struct stat *out)
{
    if (fstat(fd, out) < 0)
        return false;
    errno = S_ISDIR(out->st_mode) ? EISDIR : EINVAL;
    return S_ISREG(out->st_mode);
}

static mode_t file_mode(const struct metainfo_file *f)
{
    return f->flags & FILE_EXEC ? 0777 : 0666; /* the umask takes its part */
}

/* O_NONBLOCK: a planted FIFO must not hold us. */
static int open_for_read(struct file_store *s, uint32_t file)
{
    int dir_fd = dir_open(s);
    if (dir_fd < 0)
        return -1;
    int fd = s->ops->open(dir_fd, s->info->files[file].path, O_RDONLY | O_NONBLOCK, 0);
    close_keeping_errno(dir_fd);
    return fd;
}

static int create_file(struct file_store *s, int dir_fd, uint32_t file)
{
    const struct metainfo_file *f = &s->info->files[file];
    int parent = beneath_make_parent(dir_fd, f->path);
    if (parent < 0)
        return -1;
    close(parent);
    int fd = s->ops->open(dir_fd, f->path, O_RDWR | O_CREAT | O_NONBLOCK, file_mode(f));
    if (fd >= 0)
        s->files[file].is_new = true;
    return fd;
}

static int open_for_write(struct file_store *s, uint32_t file)
{
    const struct store_file *sf = &s->files[file];
    int dir_fd = dir_open(s);
    if (dir_fd < 0)
        return -1;
    int fd = s->ops->open(dir_fd, s->info->files[file].path, O_RDWR | O_NONBLOCK, 0);
    /* A file that was there and is gone is the user's doing: made anew it would hold nothing of
     * what the engine believes to be on disk. */
    if (fd < 0 && errno == ENOENT && !sf->is_prepared && !sf->was_there)
        fd = create_file(s, dir_fd, file);
    close_keeping_errno(dir_fd);
    return fd;
}

static enum err_code set_len(struct file_store *s, uint32_t file, int fd, const struct stat *st,
                             struct err *err)
{
    uint64_t len = s->info->files[file].len;
    if ((uint64_t)st->st_size != len && s->ops->ftruncate(fd, (off_t)len) < 0)
        return io_err(err, "cannot set the length of a file", file);
    if (s->alloc == STORE_FULL && (uint64_t)st->st_blocks * 512 < len &&
        s->ops->fallocate(fd, (off_t)len) < 0)
        return io_err(err, "cannot allocate a file", file);
    s->files[file].is_prepared = true;
    return ERR_OK;
}

static enum err_code check_and_install(struct file_store *s, uint32_t file, int fd, bool can_write,
                                       struct open_file **out, struct err *err)
{
    struct stat st;
    if (!is_regular(fd, &st)) {
        close_keeping_errno(fd);
        return io_err(err, "not a regular file", file);
    }
    enum err_code code = ERR_OK;
    if (can_write && !s->files[file].is_prepared)
        code = set_len(s, file, fd, &st, err);
    if (code) {
        close(fd);
        return code;
    }
    *out = file_slot_install_take(s->cache, &s->files[file].slot, fd, can_write);
    return *out ? ERR_OK : err_set_at(err, ERR_NO_MEMORY, "no memory for an open file", file, 0, 0);
}

static enum err_code writable(struct file_store *s, uint32_t file, struct open_file **out,
                              struct err *err)
{
    *out = file_slot_acquire(s->cache, &s->files[file].slot, true);
    if (*out)
        return ERR_OK;
    pthread_mutex_lock(&s->prepare_lock);
    int fd = open_for_write(s, file);
    if (fd < 0 && make_room(s))
        fd = open_for_write(s, file);
    enum err_code code = fd < 0 ? io_err(err, "cannot open a file for writing", file)
                                : check_and_install(s, file, fd, true, out, err);
    pthread_mutex_unlock(&s->prepare_lock);
    return code;
}

static enum err_code readable(struct file_store *s, uint32_t file, struct open_file **out,
                              struct err *err)
{
    *out = file_slot_acquire(s->cache, &s->files[file].slot, false);
    if (*out)
        return ERR_OK;
    int fd = open_for_read(s, file);
    if (fd < 0 && make_room(s))
        fd = open_for_read(s, file);
    if (fd < 0)
        return io_err(err, "cannot open a file", file);
    return check_and_install(s, file, fd, false, out, err);
}

/* --- dirty files ----------------------------------------------------------------------------- */

static void mark_dirty(struct file_store *s, uint32_t file)
{
    pthread_mutex_lock(&s->lock);
    if (s->files[file].next_dirty == NOT_DIRTY) {
        s->files[file].next_dirty = s->first_dirty;
        s->first_dirty = file;
    }
    pthread_mutex_unlock(&s->lock);
}

/* The whole list; DIRTY_LAST when there is none. Its files stay marked until their turn. */
static uint32_t take_dirty_all(struct file_store *s)
{
    pthread_mutex_lock(&s->lock);
    uint32_t first = s->first_dirty;
    s->first_dirty = DIRTY_LAST;
    pthread_mutex_unlock(&s->lock);
    return first;
}

/* From here on a write marks the file again. */
static uint32_t unmark_dirty(struct file_store *s, uint32_t file)
{
    pthread_mutex_lock(&s->lock);
    uint32_t next = s->files[file].next_dirty;
    s->files[file].next_dirty = NOT_DIRTY;
    pthread_mutex_unlock(&s->lock);
    return next;
}

/* --- life ------------------------------------------------------------------------------------ */

static void stat_one(const struct file_store *s, int dir_fd, uint32_t file,
                     struct store_file_stat *out)
{
    struct stat st;
    *out = (struct store_file_stat){0};
    if (fstatat(dir_fd, s->info->files[file].path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode))
        return;
    out->exists = true;
    out->len = (uint64_t)st.st_size;
    out->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
}

/* From the folder of the link to its target, both named from the torrent's folder. */
static bool link_text(const char *path, const char *target, char out[STORE_PATH_CAP])
{
    size_t common = 0;
    for (size_t i = 0; path[i] && path[i] == target[i]; i++)
        if (path[i] == '/')
            common = i + 1;
    struct writer w = writer_init(out, STORE_PATH_CAP);
    for (const char *p = strchr(path + common, '/'); p; p = strchr(p + 1, '/'))
        writer_str(&w, "../");
    writer_str(&w, target + common);
    writer_u8(&w, 0);
    return writer_ok(&w);
}

static enum err_code make_link(struct file_store *s, int dir_fd, uint32_t file, struct err *err)
{
    const struct metainfo_file *f = &s->info->files[file];
    char text[STORE_PATH_CAP];
    if (!link_text(f->path, f->symlink, text))
        return err_set_at(err, ERR_LIMIT, "a symlink's target is too long", file, 0, 0);
    int parent = beneath_make_parent(dir_fd, f->path);
    if (parent < 0)
        return io_err(err, "cannot make the folder of a symlink", file);
    const char *slash = strrchr(f->path, '/');
    int code = symlinkat(text, parent, slash ? slash + 1 : f->path);
    close_keeping_errno(parent);
    if (code < 0 && errno != EEXIST)
        return io_err(err, "cannot make a symlink", file);
    return ERR_OK;
}

static enum err_code make_empty(struct file_store *s, uint32_t file, struct err *err)
{
    struct open_file *h;
    enum err_code code = writable(s, file, &h, err);
    if (code == ERR_OK) {
        open_file_release(s->cache, h);
        mark_dirty(s, file);
    }
    return code;
}

/* Files without bytes are never written, so they are made here. */
static enum err_code make_byteless(struct file_store *s, int dir_fd, struct err *err)
{
    for (uint32_t i = 0; i < s->info->n_files; i++) {
        const struct metainfo_file *f = &s->info->files[i];
        enum err_code code = ERR_OK;
        if (f->len > 0 || (f->flags & FILE_PAD) || s->files[i].was_there)
            continue;
        if (!(f->flags & FILE_SYMLINK) || !f->symlink)
            code = make_empty(s, i, err);
        else
            code = make_link(s, dir_fd, i, err);
        if (code)
            return code;
    }
    return ERR_OK;
}

static struct file_store *store_new(struct file_cache *cache, const struct store_open *request)
{
    struct file_store *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->cache = cache;
    s->ops = file_cache_ops(cache);
    s->info = request->info;
    s->alloc = request->alloc;
    s->is_read_only = request->is_read_only;
    s->first_dirty = DIRTY_LAST;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->prepare_lock, NULL);
    pthread_mutex_init(&s->sync_lock, NULL);
    s->dir = strdup(request->dir);
    s->files = calloc(request->info->n_files + 1u, sizeof *s->files);
    if (!s->dir || !s->files) {
        file_store_close(s);
        return NULL;
    }
    for (uint32_t i = 0; i < s->info->n_files; i++)
        s->files[i].next_dirty = NOT_DIRTY;
    return s;
}

static bool is_on_memory_fs(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static enum err_code look_around(struct file_store *s, struct store_open *request, struct err *err)
{
    int dir_fd = dir_open(s);
    if (dir_fd < 0 && !s->is_read_only && errno == ENOENT) {
        make_dirs(s->dir);
        dir_fd = dir_open(s);
    }
    struct stat st;
    if (dir_fd < 0 || fstat(dir_fd, &st) < 0)
        return io_err(err, "cannot open the folder", STORE_NO_FILE);
    s->device = st.st_dev;
    s->is_in_memory = is_on_memory_fs(dir_fd);
    for (uint32_t i = 0; i < s->info->n_files; i++) {
        stat_one(s, dir_fd, i, &request->files[i]);
        s->files[i].was_there = request->files[i].exists;
    }
    enum err_code code = s->is_read_only ? ERR_OK : make_byteless(s, dir_fd, err);
    close(dir_fd);
    return code;
}

enum err_code file_store_open(struct file_store **out, struct file_cache *cache,
                              struct store_open *request, struct err *err)
{
    *out = NULL;
    for (uint32_t i = 0; i < request->info->n_files; i++)
        if (strlen(request->info->files[i].path) >= STORE_PATH_CAP)
            return err_set_at(err, ERR_LIMIT, "the name of a file is too long", i, 0, 0);
    struct file_store *s = store_new(cache, request);
    if (!s)
        return err_set(err, ERR_NO_MEMORY, "no memory for the files of a torrent");
    enum err_code code = look_around(s, request, err);
    if (code) {
        file_store_close(s);
        return code;
    }
    *out = s;
    return ERR_OK;
}

void file_store_close(struct file_store *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; s->files && i < s->info->n_files; i++)
        file_slot_close(s->cache, &s->files[i].slot);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->prepare_lock);
    pthread_mutex_destroy(&s->sync_lock);
    free(s->files);
    free(s->dir);
    free(s);
}

uint64_t file_store_device(const struct file_store *s)
{
    return s->device;
}

bool file_store_is_in_memory(const struct file_store *s)
{
    return s->is_in_memory;
}

/* --- put ------------------------------------------------------------------------------------- */

static void hash_zeros(struct sha1_state *v1, uint32_t len)
{
    static const uint8_t zeros[4096];
    while (len > 0) {
        uint32_t n = len < sizeof zeros ? len : (uint32_t)sizeof zeros;
        sha1_update(v1, bytes_of(zeros, n));
        len -= n;
    }
}

static struct bytes put_block(const struct store_put *p, uint32_t block)
{
    uint32_t off = block * BLOCK_LEN;
    return bytes_of(p->blocks[block], p->len - off < BLOCK_LEN ? p->len - off : BLOCK_LEN);
}

static uint32_t put_n_blocks(const struct store_put *p)
{
    return (uint32_t)div_ceil(p->len, BLOCK_LEN);
}

static void hash_leaf_run(struct store_put *p, uint32_t first, uint32_t end)
{
    struct bytes in[SHA_LANES_MAX];
    uint32_t n = 0;
    for (uint32_t i = first; i < end; i++)
        in[n++] = put_block(p, i);
    if (p->v2_leaves)
        sha256_many(in, n, &p->v2_leaves[first]);
}

/* Block `block` of those puts that have it whole goes through the SHA units side by side. */
static void hash_v1_block(struct store_put *const *puts, size_t n, uint32_t block)
{
    struct sha1_state *states[STORE_PUTS_MAX];
    const uint8_t *data[STORE_PUTS_MAX];
    size_t n_whole = 0;
    for (size_t i = 0; i < n; i++) {
        if (!puts[i]->v1 || block >= put_n_blocks(puts[i]))
            continue;
        struct bytes in = put_block(puts[i], block);
        if (in.len < BLOCK_LEN) {
            sha1_update(puts[i]->v1, in);
            continue;
        }
        states[n_whole] = puts[i]->v1;
        data[n_whole++] = in.data;
    }
    if (n_whole > 1)
        sha1_update_many(states, data, n_whole, BLOCK_LEN);
    else if (n_whole)
        sha1_update(states[0], bytes_of(data[0], BLOCK_LEN));
}

static void hash_end(struct store_put *p)
{
    p->is_bad = p->v2_leaves && p->v2_want &&
                memcmp(p->v2_leaves, p->v2_want, (size_t)put_n_blocks(p) * SHA256_LEN) != 0;
    if (!p->v1 || !p->v1_last)
        return;
    uint8_t digest[SHA1_LEN];
    hash_zeros(p->v1, p->v1_zeros);
    sha1_final(p->v1, digest);
    if (memcmp(digest, p->v1_want, SHA1_LEN) != 0)
        p->is_bad = true;
}

/* Leaves of neighbouring blocks, as many at a time as the SHA units interleave; then v1 over the
 * same bytes, of all puts at once, while they are in a near cache. */
static void hash_runs(struct store_put *const *puts, size_t n)
{
    uint32_t n_blocks = 0;
    for (size_t i = 0; i < n; i++)
        n_blocks = put_n_blocks(puts[i]) > n_blocks ? put_n_blocks(puts[i]) : n_blocks;
    for (uint32_t first = 0; first < n_blocks; first += SHA_LANES_MAX) {
        for (size_t i = 0; i < n; i++)
            hash_leaf_run(puts[i], first,
                          (uint32_t)size_min(first + SHA_LANES_MAX, put_n_blocks(puts[i])));
        for (uint32_t k = 0; k < SHA_LANES_MAX; k++)
            hash_v1_block(puts, n, first + k);
    }
    for (size_t i = 0; i < n; i++)
        hash_end(puts[i]);
}

static enum err_code pwritev_all(struct file_store *s, uint32_t file, int fd, struct iovec *iov,
                                 int n, uint64_t off, struct err *err)
{
    while (n > 0) {
        ssize_t done = s->ops->pwritev(fd, iov, n, (off_t)off);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return io_err(err, "cannot write a file", file);
        off += (uint64_t)done;
        while (n > 0 && (size_t)done >= iov->iov_len) {
            done -= (ssize_t)iov->iov_len;
            iov++;
            n--;
        }
        if (n > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + done;
            iov->iov_len -= (size_t)done;
        }
    }
    return ERR_OK;
}

/* Bytes [from, from + len) of the run of blocks, as vectors; returns how many bytes they hold. */
static uint32_t gather(const struct store_put *p, uint32_t from, uint32_t len, struct iovec *iov,
                       int *out_n)
{
    uint32_t done = 0;
    int n = 0;
    while (done < len && n < (int)N_IOV_MAX) {
        uint32_t in_block = (from + done) % BLOCK_LEN;
        uint32_t take = BLOCK_LEN - in_block;
        if (take > len - done)
            take = len - done;
        const uint8_t *data = p->blocks[(from + done) / BLOCK_LEN] + in_block;
        iov[n++] = (struct iovec){(void *)(uintptr_t)data, take};
        done += take;
    }
    *out_n = n;
    return done;
}

static enum err_code write_file_run(struct file_store *s, const struct store_put *p, uint32_t from,
                                    const struct layout_run *run, struct err *err)
{
    struct open_file *h;
    enum err_code code = writable(s, run->file, &h, err);
    if (code)
        return code;
    struct iovec iov[N_IOV_MAX];
    for (uint32_t done = 0, n_bytes; !code && done < run->len; done += n_bytes) {
        int n;
        n_bytes = gather(p, from + done, run->len - done, iov, &n);
        open_file_lock_write(h);
        code = pwritev_all(s, run->file, open_file_fd(h), iov, n, run->file_off + done, err);
        open_file_unlock_write(h);
    }
    mark_dirty(s, run->file);
    open_file_release(s->cache, h);
    return code;
}

static enum err_code write_run(struct file_store *s, struct store_put *p, struct err *err)
{
    if (p->is_bad || p->is_hash_only)
        return ERR_OK;
    if (s->is_read_only)
        return err_set_at(err, ERR_IO, "the folder was opened read-only", STORE_NO_FILE, EROFS, 0);
    struct layout_walk walk = layout_walk(&s->info->layout, p->piece, p->begin, p->len);
    struct layout_run run;
    for (uint32_t from = 0; layout_walk_next(&walk, &run); from += run.len) {
        enum err_code code = run.is_pad ? ERR_OK : write_file_run(s, p, from, &run, err);
        if (code)
            return code;
    }
    p->is_written = true;
    return ERR_OK;
}

void file_store_put_many(const struct store_put_item *items, size_t n)
{
    struct store_put *puts[STORE_PUTS_MAX];
    size_t n_fit = 0;
    assert(n <= STORE_PUTS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct store_put *p = items[i].put;
        p->is_written = false;
        items[i].err->code = ERR_OK;
        if (p->len == 0 ||
            layout_has_range(&items[i].store->info->layout, p->piece, p->begin, p->len))
            puts[n_fit++] = p;
        else
            err_set_at(items[i].err, ERR_LIMIT, "a run outside its piece", STORE_NO_FILE, p->begin,
                       0);
    }
    hash_runs(puts, n_fit);
    for (size_t i = 0; i < n; i++)
        if (!items[i].err->code)
            items[i].err->code = write_run(items[i].store, items[i].put, items[i].err);
}

enum err_code file_store_put(struct file_store *s, struct store_put *p, struct err *err)
{
    struct err none = {0};
    struct store_put_item item = {s, p, err ? err : &none};
    file_store_put_many(&item, 1);
    return item.err->code;
}

/* --- reading --------------------------------------------------------------------------------- */

static enum err_code pread_all(struct file_store *s, uint32_t file, int fd, uint64_t off,
                               struct span out, struct err *err)
{
    while (out.len > 0) {
        struct iovec iov = {out.data, out.len};
        ssize_t n = s->ops->preadv(fd, &iov, 1, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return io_err(err, "cannot read a file", file);
        if (n == 0)
            return err_set_at(err, ERR_IO, "a file is too short", file, ENODATA, 0);
        out.data += n;
        out.len -= (size_t)n;
        off += (uint64_t)n;
    }
    return ERR_OK;
}

static enum err_code read_file_run(struct file_store *s, const struct layout_run *run, uint8_t *out,
                                   struct err *err)
{
    struct open_file *h;
    enum err_code code = readable(s, run->file, &h, err);
    if (code)
        return code;
    code =
        pread_all(s, run->file, open_file_fd(h), run->file_off, (struct span){out, run->len}, err);
    open_file_release(s->cache, h);
    return code;
}

/* Bytes of a piece from disk; pads as zeros. */
static enum err_code fill(struct file_store *s, uint32_t piece, uint32_t begin, struct span out,
                          struct err *err)
{
    struct layout_walk walk = layout_walk(&s->info->layout, piece, begin, (uint32_t)out.len);
    struct layout_run run;
    while (layout_walk_next(&walk, &run)) {
        enum err_code code = ERR_OK;
        if (run.is_pad)
            memset(out.data, 0, run.len);
        else
            code = read_file_run(s, &run, out.data, err);
        if (code)
            return code;
        out.data += run.len;
    }
    return ERR_OK;
}

enum err_code file_store_read(struct file_store *s, struct store_read *r, struct err *err)
{
    if (!layout_has_range(&s->info->layout, r->piece, r->begin, r->len))
        return err_set_at(err, ERR_LIMIT, "a range outside its piece", STORE_NO_FILE, r->begin, 0);
    return fill(s, r->piece, r->begin, (struct span){r->out, r->len}, err);
}

/* Of the bytes at begin, a multiple of BLOCK_LEN; pads behind the last block have no leaf. */
static void hash_leaves(const struct layout *l, const struct store_check *c, uint32_t begin,
                        struct bytes in)
{
    struct bytes blocks[WHOLE_BLOCKS_MAX];
    uint32_t first = begin / BLOCK_LEN, n_blocks = layout_n_blocks(l, c->piece);
    while (in.len > 0 && first < n_blocks) {
        uint32_t n = 0;
        for (; n < WHOLE_BLOCKS_MAX && first + n < n_blocks && in.len > 0; n++) {
            blocks[n] = bytes_sub(in, 0, layout_block_len(l, c->piece, first + n));
            in = bytes_sub(in, BLOCK_LEN, in.len);
        }
        sha256_many(blocks, n, &c->v2_leaves[first]);
        first += n;
    }
}

/* A piece that is checked in step with others. */
struct check_lane {
    struct file_store *store;
    struct store_check *check;
    struct err *err;
    struct sha1_state v1;
    uint32_t len; /* 0: ended early */
};

static void lane_begin(struct check_lane *lane, const struct store_check_item *item)
{
    const struct layout *l = &item->store->info->layout;
    struct store_check *c = item->check;
    *lane = (struct check_lane){.store = item->store, .check = c, .err = item->err};
    lane->len = c->want_v1 ? layout_piece_len(l, c->piece) : layout_piece_data_len(l, c->piece);
    c->is_missing = false;
    item->err->code = ERR_OK;
    sha1_init(&lane->v1);
}

/* Bytes of the piece from begin on, read and their leaves hashed; fewer than part.len at its end,
 * none behind it or when it cannot be read. */
static uint32_t lane_take(struct check_lane *lane, uint32_t begin, struct span part)
{
    struct store_check *c = lane->check;
    struct err note = {0};
    if (begin >= lane->len)
        return 0;
    part.len = size_min(part.len, lane->len - begin);
    enum err_code code = fill(lane->store, c->piece, begin, part, &note);
    c->is_missing = code == ERR_IO && (note.got == ENOENT || note.got == ENODATA);
    if (code && !c->is_missing)
        *lane->err = note;
    if (code) {
        lane->len = 0;
        return 0;
    }
    if (c->v2_leaves)
        hash_leaves(&lane->store->info->layout, c, begin, bytes_of(part.data, part.len));
    return (uint32_t)part.len;
}

void file_store_check_many(const struct store_check_item *items, size_t n, struct span scratch)
{
    struct check_lane lanes[STORE_PUTS_MAX];
    struct sha1_state *states[STORE_PUTS_MAX];
    const uint8_t *data[STORE_PUTS_MAX];
    uint32_t len_max = 0, step = (uint32_t)(scratch.len / n / BLOCK_LEN * BLOCK_LEN);
    assert(n <= STORE_PUTS_MAX && step > 0);
    for (size_t i = 0; i < n; i++) {
        lane_begin(&lanes[i], &items[i]);
        len_max = lanes[i].len > len_max ? lanes[i].len : len_max;
    }
    for (uint64_t begin = 0; begin < len_max; begin += step) {
        size_t n_whole = 0;
        for (size_t i = 0; i < n; i++) {
            struct span part = {scratch.data + i * step, step};
            uint32_t len = lane_take(&lanes[i], (uint32_t)begin, part);
            if (!lanes[i].check->want_v1)
                continue;
            if (len < step) {
                sha1_update(&lanes[i].v1, bytes_of(part.data, len));
                continue;
            }
            states[n_whole] = &lanes[i].v1;
            data[n_whole++] = part.data;
        }
        if (n_whole)
            sha1_update_many(states, data, n_whole, step);
    }
    for (size_t i = 0; i < n; i++)
        sha1_final(&lanes[i].v1, lanes[i].check->v1_digest);
}

enum err_code file_store_check(struct file_store *s, struct store_check *c, struct span scratch,
                               struct err *err)
{
    struct err none = {0};
    struct store_check_item item = {s, c, err ? err : &none};
    file_store_check_many(&item, 1, scratch);
    return item.err->code;
}

enum err_code file_store_stat(struct file_store *s, struct store_file_stat *out_files,
                              struct err *err)
{
    int dir_fd = dir_open(s);
    if (dir_fd < 0)
        return io_err(err, "cannot open the folder", STORE_NO_FILE);
    for (uint32_t i = 0; i < s->info->n_files; i++)
        stat_one(s, dir_fd, i, &out_files[i]);
    close(dir_fd);
    return ERR_OK;
}

/* --- sync ------------------------------------------------------------------------------------ */

static enum err_code sync_dir(struct file_store *s, int dir_fd, const char *path, size_t path_len,
                              uint32_t file, struct err *err)
{
    char name[STORE_PATH_CAP];
    memcpy(name, path, path_len);
    name[path_len] = 0;
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    int fd = path_len ? s->ops->open(dir_fd, name, flags, 0) : openat(dir_fd, ".", flags);
    if (fd < 0)
        return io_err(err, "cannot open a folder to sync it", file);
    int code = s->ops->fsync(fd);
    close_keeping_errno(fd);
    return code < 0 ? io_err(err, "cannot sync a folder", file) : ERR_OK;
}

/* The folders above a new file. Those it shares with the file before it were just done. */
static enum err_code sync_parents(struct file_store *s, int dir_fd, uint32_t file,
                                  const char *before, struct err *err)
{
    const char *path = s->info->files[file].path;
    size_t len = strlen(path);
    while (len > 0) {
        do {
            len--;
        } while (len > 0 && path[len] != '/');
        bool is_done =
            before && strncmp(before, path, len) == 0 && (len == 0 || before[len] == '/');
        enum err_code code = is_done ? ERR_OK : sync_dir(s, dir_fd, path, len, file, err);
        if (code)
            return code;
    }
    return ERR_OK;
}

static enum err_code sync_file(struct file_store *s, uint32_t file, struct err *err)
{
    struct open_file *h;
    enum err_code code = writable(s, file, &h, err);
    if (code)
        return code;
    struct stat st;
    int fd = open_file_fd(h);
    if (s->ops->fdatasync(fd) < 0 || fstat(fd, &st) < 0)
        code = io_err(err, "cannot sync a file", file);
    else if (st.st_nlink == 0)
        code = err_set_at(err, ERR_IO, "a file was deleted", file, ENOENT, 0);
    open_file_release(s->cache, h);
    return code;
}

struct sync_run {
    int dir_fd;
    const char *before; /* the new file whose folders were synced last */
};

static enum err_code sync_one(struct file_store *s, struct sync_run *run, uint32_t file,
                              struct err *err)
{
    struct store_file *sf = &s->files[file];
    enum err_code code = sync_file(s, file, err);
    if (code || !sf->is_new)
        return code;
    code = sync_parents(s, run->dir_fd, file, run->before, err);
    if (code == ERR_OK) {
        sf->is_new = false;
        run->before = s->info->files[file].path;
    }
    return code;
}

enum err_code file_store_sync(struct file_store *s, struct err *err)
{
    struct sync_run run = {.dir_fd = dir_open(s)};
    if (run.dir_fd < 0)
        return io_err(err, "cannot open the folder", STORE_NO_FILE);
    enum err_code code = ERR_OK;
    uint32_t next;
    pthread_mutex_lock(&s->sync_lock);
    for (uint32_t file = take_dirty_all(s); file != DIRTY_LAST; file = next) {
        next = unmark_dirty(s, file);
        if (code == ERR_OK)
            code = sync_one(s, &run, file, err);
        if (code)
            mark_dirty(s, file); /* this one and those after it: still to be done */
    }
    pthread_mutex_unlock(&s->sync_lock);
    close(run.dir_fd);
    return code;
}

/* --- uploads --------------------------------------------------------------------------------- */

struct open_file *file_store_open_file(struct file_store *s, uint32_t file)
{
    return file_slot_acquire(s->cache, &s->files[file].slot, false);
}

enum err_code file_store_warm(struct file_store *s, uint32_t file, uint64_t off, uint64_t len,
                              struct span scratch, struct err *err)
{
    struct open_file *h;
    enum err_code code = readable(s, file, &h, err);
    if (code)
        return code;
    uint64_t end = u64_min(off + len, s->info->files[file].len);
    while (code == ERR_OK && off < end) {
        size_t n = (size_t)u64_min(end - off, scratch.len);
        code = pread_all(s, file, open_file_fd(h), off, (struct span){scratch.data, n}, err);
        off += n;
    }
    /* Who asked for this mostly asks for what follows: the disk reads on while this is sent. */
    posix_fadvise(open_file_fd(h), (off_t)end, (off_t)len, POSIX_FADV_WILLNEED);
    open_file_release(s->cache, h);
    return code;
}
