/* make_torrent: each step's failure is turned into the name of the file that it is about. */
#include "store/make_torrent.h"
#include "store/hash_files.h"
#include <errno.h>

static void blame(struct make_torrent *t, const char *path)
{
    snprintf(t->bad_path, sizeof t->bad_path, "%s", path);
}

static enum err_code walk(struct make_torrent *t, struct mem *mem, struct err *err)
{
    struct tree_options options = {
        .order = t->has_v2 ? TREE_BY_LEVEL : TREE_BY_PATH,
        .follow_links = !t->has_v2,
    };
    enum err_code code = tree_walk(&t->tree, t->path, &options, mem, err);
    if (code)
        blame(t, t->tree.bad_path ? t->tree.bad_path : t->path);
    /* BEP 47's attributes would make a v1 info dictionary differ from that of other programs. */
    for (uint32_t i = 0; i < t->tree.n_files && !t->has_v2; i++)
        t->tree.files[i].flags = 0;
    if (!code && t->tree.total_len == 0) {
        blame(t, t->path);
        code = err_set(err, ERR_MALFORMED, "there is nothing to share: no file holds any bytes");
    }
    return code;
}

static enum err_code plan(struct make_torrent *t, struct mem *mem, struct metainfo **out,
                          struct err *err)
{
    struct build_plan p = {
        .name = t->name ? t->name : t->tree.name,
        .files = t->tree.files,
        .n_files = t->tree.n_files,
        .is_multi_file = t->tree.is_dir,
        .has_v1 = t->has_v1,
        .has_v2 = t->has_v2,
        .piece_len = t->piece_len ? t->piece_len : metainfo_choose_piece_len(t->tree.total_len),
    };
    enum err_code code = metainfo_plan(out, &p, mem, err);
    if (code)
        blame(t, t->tree.is_dir && err->at < p.n_files ? p.files[err->at].path : t->path);
    return code;
}

/* A file that changed since the walk, or cannot be read. */
static enum err_code check_hashed(struct make_torrent *t, const struct hash_files *h,
                                  struct err *err)
{
    for (uint32_t i = 0; i < h->info->n_files; i++) {
        enum hash_file_state state = atomic_load(&h->files[i].state);
        if (h->info->files[i].flags & (FILE_PAD | FILE_SYMLINK) || state == HASH_FILE_OK)
            continue;
        if (!hash_files_path(h, i, t->bad_path, sizeof t->bad_path))
            blame(t, h->info->files[i].path);
        if (state == HASH_FILE_FAILED)
            return err_set_at(err, ERR_IO, "cannot read the file", 0,
                              (uint64_t)atomic_load(&h->files[i].err_no), 0);
        return err_set_at(err, ERR_IO, "the file changed while it was being read", 0, EBUSY, 0);
    }
    for (uint32_t i = 0; i < h->info->n_pieces; i++)
        if (h->is_missing[i])
            return err_set_at(err, ERR_IO, "a file changed while it was being read", i, EBUSY, 0);
    return ERR_OK;
}

struct relay {
    struct make_torrent *t;
    struct hash_files *h;
};

static void relay_progress(void *ctx, uint64_t done_len, uint64_t total_len)
{
    struct relay *r = ctx;
    if (atomic_load(&r->t->is_cancelled))
        atomic_store(&r->h->is_cancelled, true);
    if (r->t->progress)
        r->t->progress(r->t->ctx, done_len, total_len);
}

static enum err_code hash(struct make_torrent *t, struct hash_files *h, struct err *err)
{
    struct relay relay = {t, h};
    h->n_threads = t->n_threads;
    h->want_v1 = t->has_v1;
    h->want_v2 = t->has_v2;
    h->progress = relay_progress;
    h->ctx = &relay;
    enum err_code code = hash_files_run(h, err);
    return code ? code : check_hashed(t, h, err);
}

static enum err_code hash_and_write(struct make_torrent *t, struct metainfo *p, struct mem *mem,
                                    struct buf *out, struct err *err)
{
    struct hash_files h = {.info = p, .top = t->tree.top, .mem = mem};
    enum err_code code = hash(t, &h, err);
    if (!code)
        code = metainfo_build(p, h.v1, h.v2, &t->options, out, err);
    hash_files_clear(&h);
    return code;
}

static enum err_code read_back(struct make_torrent *t, struct mem *mem, const struct buf *out,
                               struct err *err)
{
    enum err_code code = metainfo_read(&t->info, buf_bytes(out), mem, NULL, err);
    if (code || t->info->is_multi_file == t->tree.is_dir)
        return code;
    blame(t, t->path);
    return err_set(err, ERR_UNSUPPORTED,
                   "v2 alone cannot tell this folder from the one file of the same name in it");
}

enum err_code make_torrent(struct make_torrent *t, struct mem *mem, struct buf *out,
                           struct err *err)
{
    struct metainfo *p = NULL;
    t->bad_path[0] = '\0';
    t->info = NULL;
    enum err_code code = walk(t, mem, err);
    if (!code)
        code = plan(t, mem, &p, err);
    if (!code)
        code = hash_and_write(t, p, mem, out, err);
    metainfo_free(p);
    if (!code)
        code = read_back(t, mem, out, err);
    return code;
}

void make_torrent_clear(struct make_torrent *t)
{
    metainfo_free(t->info);
    t->info = NULL;
    tree_clear(&t->tree);
}
