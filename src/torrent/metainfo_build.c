/* metainfo_build: keys are written in the order that bencoding wants, so that an info dictionary is
 * canonical, and in v1 the same as that of other programs given the same options. */
#include "torrent/metainfo_build.h"
#include "base/size.h"
#include "torrent/bencode.h"
#include "torrent/merkle.h"
#include "torrent/metainfo_internal.h"
#include "torrent/path_sanitize.h"

#define ARENA_LEN_MAX    (512u << 20)
#define PIECE_LEN_MIN    16384u
#define PIECE_LEN_CHOSEN (16u << 20) /* ours: the largest that is chosen unasked */
#define N_PIECES_WANTED  2000u       /* ours: a few dozen KiB of hashes, pieces soon passed on */

uint32_t metainfo_choose_piece_len(uint64_t total_len)
{
    uint32_t len = PIECE_LEN_MIN;
    while (len < PIECE_LEN_CHOSEN && total_len / len > N_PIECES_WANTED)
        len *= 2;
    return len;
}

/* --- plan ------------------------------------------------------------------------------------ */

static enum err_code no_memory(struct err *err)
{
    return err_set(err, ERR_NO_MEMORY, "no memory for a torrent");
}

/* Would every element arrive as it is? */
static bool is_clean(const char *path)
{
    char elem[PATH_ELEMENT_CAP];
    for (const char *p = path;; p++) {
        size_t len = strcspn(p, "/");
        if (path_sanitize_element(bytes_of(p, len), elem) != len || memcmp(elem, p, len) != 0)
            return false;
        p += len;
        if (*p == '\0')
            return true;
    }
}

static const char *join(struct arena *arena, const char *name, const char *path)
{
    size_t len = strlen(name) + strlen(path) + 2;
    char *out = arena_alloc(arena, len);
    if (out)
        snprintf(out, len, "%s/%s", name, path);
    return out;
}

static enum err_code plan_file(struct metainfo *m, const struct build_plan *p, uint32_t i,
                               struct metainfo_file *f, struct err *err)
{
    const struct build_file *from = &p->files[i];
    *f = (struct metainfo_file){.len = from->len, .flags = from->flags};
    if (p->is_multi_file && !is_clean(from->path))
        return err_set_at(err, ERR_MALFORMED, "name would not arrive as it is", i, 0, 0);
    if (from->len > METAINFO_FILE_LEN_MAX)
        return err_set_at(err, ERR_LIMIT, "file is larger than 16 TiB", i, from->len, 0);
    f->path = p->is_multi_file ? join(&m->arena, m->name, from->path) : m->name;
    if (from->symlink)
        f->symlink = join(&m->arena, m->name, from->symlink);
    return f->path && !from->symlink == !f->symlink ? ERR_OK : no_memory(err);
}

static enum err_code plan_pad(struct metainfo *m, uint64_t len, struct metainfo_file *f,
                              struct err *err)
{
    char pad[32];
    snprintf(pad, sizeof pad, ".pad/%llu", (unsigned long long)len);
    *f = (struct metainfo_file){
        .path = join(&m->arena, m->name, pad), .len = len, .flags = FILE_PAD};
    return f->path ? ERR_OK : no_memory(err);
}

/* Files and pads in order; *out_n of them. Pads stand before the next file that has bytes. */
static enum err_code plan_files(struct metainfo *m, const struct build_plan *p, struct err *err)
{
    uint64_t off = 0, gap = 0;
    bool is_aligned = p->has_v2;
    m->files = arena_calloc(&m->arena, 2 * (size_t)p->n_files, sizeof *m->files);
    if (!m->files)
        return no_memory(err);
    for (uint32_t i = 0; i < p->n_files; i++) {
        if (p->files[i].len > 0 && gap > 0) {
            enum err_code code = plan_pad(m, gap, &m->files[m->n_files], err);
            if (code)
                return code;
            m->files[m->n_files].off = off;
            m->n_files += p->has_v1; /* v2 alone leaves the gap empty */
            off += gap;
            gap = 0;
        }
        struct metainfo_file *f = &m->files[m->n_files];
        enum err_code code = plan_file(m, p, i, f, err);
        if (code)
            return code;
        /* without v1 an empty file stands where the next one begins */
        f->off = p->has_v1 || f->len > 0 ? off : off + gap;
        off += f->len;
        if (off > METAINFO_SPACE_LEN_MAX)
            return err_set_at(err, ERR_LIMIT, "torrent is larger than 256 TiB", i, off, 0);
        if (is_aligned && f->len > 0)
            gap = (m->piece_len - off % m->piece_len) % m->piece_len;
        m->n_files++;
    }
    m->total_len = off;
    return ERR_OK;
}

static enum err_code plan_check(const struct build_plan *p, struct err *err)
{
    if (!is_clean(p->name))
        return err_set(err, ERR_MALFORMED, "name would not arrive as it is");
    if (p->piece_len == 0 || p->piece_len > METAINFO_PIECE_LEN_MAX)
        return err_set_at(err, ERR_LIMIT, "piece length is out of range", 0, p->piece_len, 0);
    if (p->has_v2 && (p->piece_len < PIECE_LEN_MIN || (p->piece_len & (p->piece_len - 1)) != 0))
        return err_set_at(err, ERR_MALFORMED,
                          "piece length is not a power of two of at least 16 KiB", 0, p->piece_len,
                          PIECE_LEN_MIN);
    if (p->n_files == 0 || p->n_files > METAINFO_N_FILES_MAX / 2)
        return err_set_at(err, ERR_LIMIT, "no files, or too many", 0, p->n_files,
                          METAINFO_N_FILES_MAX / 2);
    return ERR_OK;
}

static enum err_code plan(struct metainfo *m, const struct build_plan *p, struct err *err)
{
    m->name = arena_str(&m->arena, bytes_of_str(p->name));
    if (!m->name)
        return no_memory(err);
    enum err_code code = plan_files(m, p, err);
    if (code)
        return code;
    uint64_t n_pieces = div_ceil(m->total_len, m->piece_len);
    if (n_pieces == 0)
        return err_set(err, ERR_MALFORMED, "there is nothing to share: no file holds any bytes");
    if (n_pieces > METAINFO_N_PIECES_MAX)
        return err_set_at(err, ERR_LIMIT, "too many pieces: give a larger piece length", 0,
                          n_pieces, METAINFO_N_PIECES_MAX);
    m->n_pieces = (uint32_t)n_pieces;
    metainfo_finish_files(m);
    return ERR_OK;
}

enum err_code metainfo_plan(struct metainfo **out, const struct build_plan *p, struct mem *mem,
                            struct err *err)
{
    *out = NULL;
    enum err_code code = plan_check(p, err);
    if (code)
        return code;
    struct metainfo *m = mem_calloc(mem, 1, sizeof *m);
    if (!m)
        return no_memory(err);
    m->mem = mem;
    m->has_v1 = p->has_v1;
    m->has_v2 = p->has_v2;
    m->is_multi_file = p->is_multi_file;
    m->piece_len = p->piece_len;
    arena_init(&m->arena, mem, ARENA_LEN_MAX);
    code = plan(m, p, err);
    if (code)
        metainfo_free(m);
    else
        *out = m;
    return code;
}

/* --- info dictionary ------------------------------------------------------------------------- */

/* The part of a path below the torrent's folder. */
static const char *below_top(const struct metainfo *m, const char *path)
{
    return m->is_multi_file ? path + strlen(m->name) + 1 : path;
}

static void write_path(struct buf *out, const char *key, const char *path)
{
    bencode_write_cstr(out, key);
    bencode_write_list(out);
    for (;; path++) {
        size_t len = strcspn(path, "/");
        bencode_write_str(out, bytes_of(path, len));
        path += len;
        if (*path == '\0')
            break;
    }
    bencode_write_end(out);
}

static void write_attr(struct buf *out, uint8_t flags)
{
    char attr[8];
    size_t n = 0;
    if (flags & FILE_EXEC)
        attr[n++] = 'x';
    if (flags & FILE_HIDDEN)
        attr[n++] = 'h';
    if (flags & FILE_SYMLINK)
        attr[n++] = 'l';
    if (flags & FILE_PAD)
        attr[n++] = 'p';
    if (n > 0)
        bencode_write_key_str(out, "attr", bytes_of(attr, n));
}

static void write_v1_files(const struct metainfo *m, struct buf *out)
{
    bencode_write_cstr(out, "files");
    bencode_write_list(out);
    for (uint32_t i = 0; i < m->n_files; i++) {
        const struct metainfo_file *f = &m->files[i];
        bencode_write_dict(out);
        write_attr(out, f->flags);
        bencode_write_key_int(out, "length", (int64_t)f->len);
        write_path(out, "path", below_top(m, f->path));
        if (f->symlink)
            write_path(out, "symlink path", below_top(m, f->symlink));
        bencode_write_end(out);
    }
    bencode_write_end(out);
}

/* The root of a file from its piece hashes. */
static void file_root(const struct metainfo *m, const struct metainfo_file *f, const uint8_t *v2,
                      uint8_t out[SHA256_LEN])
{
    struct merkle_shape shape;
    const uint8_t *layer = v2 + (size_t)f->first_piece * SHA256_LEN;
    if (merkle_shape_of(f->len, m->piece_len, &shape) && shape.n_pieces > 1)
        merkle_root(layer, shape.n_pieces, shape.piece_height, shape.root_height, out);
    else
        memcpy(out, layer, SHA256_LEN);
}

static void write_v2_file(const struct metainfo *m, const struct metainfo_file *f,
                          const uint8_t *v2, struct buf *out)
{
    uint8_t root[SHA256_LEN];
    bencode_write_cstr(out, "");
    bencode_write_dict(out);
    write_attr(out, f->flags);
    bencode_write_key_int(out, "length", (int64_t)f->len);
    if (f->len > 0) {
        file_root(m, f, v2, root);
        bencode_write_key_str(out, "pieces root", bytes_of(root, sizeof root));
    }
    if (f->symlink)
        write_path(out, "symlink path", below_top(m, f->symlink));
    bencode_write_end(out);
}

/* How many leading bytes of two paths are common folders, slash included. */
static size_t common_folders(const char *a, const char *b)
{
    size_t common = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '/')
            common = i + 1;
    return common;
}

static uint32_t count_slashes(const char *s)
{
    uint32_t n = 0;
    for (; *s; s++)
        n += *s == '/';
    return n;
}

/* Files come sorted level by level, so folders open and close like brackets. */
static void write_file_tree(const struct metainfo *m, const uint8_t *v2, struct buf *out)
{
    const char *before = "";
    bencode_write_cstr(out, "file tree");
    bencode_write_dict(out);
    for (uint32_t i = 0; i < m->n_files; i++) {
        const struct metainfo_file *f = &m->files[i];
        if (f->flags & FILE_PAD)
            continue;
        const char *path = below_top(m, f->path);
        size_t common = common_folders(before, path);
        for (uint32_t n = count_slashes(before + common); n > 0; n--)
            bencode_write_end(out);
        for (const char *p = path + common; *p; p++) {
            size_t len = strcspn(p, "/");
            bencode_write_str(out, bytes_of(p, len));
            bencode_write_dict(out);
            p += len;
            if (*p == '\0')
                break;
        }
        write_v2_file(m, f, v2, out);
        bencode_write_end(out);
        before = path;
    }
    for (uint32_t n = count_slashes(before); n > 0; n--)
        bencode_write_end(out);
    bencode_write_end(out);
}

static void write_info(const struct metainfo *m, const uint8_t *v1, const uint8_t *v2,
                       const struct build_options *o, struct buf *out)
{
    bencode_write_dict(out);
    if (m->has_v1 && !m->is_multi_file)
        write_attr(out, m->files[0].flags);
    if (m->has_v2)
        write_file_tree(m, v2, out);
    if (m->has_v1 && m->is_multi_file)
        write_v1_files(m, out);
    if (m->has_v1 && !m->is_multi_file)
        bencode_write_key_int(out, "length", (int64_t)m->files[0].len);
    if (m->has_v2)
        bencode_write_key_int(out, "meta version", 2);
    bencode_write_key_str(out, "name", bytes_of_str(m->name));
    bencode_write_key_int(out, "piece length", m->piece_len);
    if (m->has_v1)
        bencode_write_key_str(out, "pieces", bytes_of(v1, (size_t)m->n_pieces * SHA1_LEN));
    if (o->is_private)
        bencode_write_key_int(out, "private", 1);
    if (o->source)
        bencode_write_key_str(out, "source", bytes_of_str(o->source));
    bencode_write_end(out);
}

/* --- the file -------------------------------------------------------------------------------- */

static void write_trackers(const struct build_options *o, struct buf *out)
{
    if (o->n_trackers > 0)
        bencode_write_key_str(out, "announce", bytes_of_str(o->trackers[0].url));
    if (o->n_trackers < 2)
        return;
    bencode_write_cstr(out, "announce-list");
    bencode_write_list(out);
    for (uint32_t i = 0; i < o->n_trackers; i++) {
        if (i == 0 || o->trackers[i].tier != o->trackers[i - 1].tier)
            bencode_write_list(out);
        bencode_write_cstr(out, o->trackers[i].url);
        if (i + 1 == o->n_trackers || o->trackers[i].tier != o->trackers[i + 1].tier)
            bencode_write_end(out);
    }
    bencode_write_end(out);
}

struct layer_ref {
    uint8_t root[SHA256_LEN];
    struct bytes layer;
};

static int compare_refs(const void *a, const void *b)
{
    return memcmp(((const struct layer_ref *)a)->root, ((const struct layer_ref *)b)->root,
                  SHA256_LEN);
}

/* BEP 52, "piece layers": one entry per root, of files longer than a piece. */
static enum err_code write_layers(const struct metainfo *m, const uint8_t *v2, struct buf *out)
{
    uint32_t n = 0;
    struct layer_ref *refs = mem_calloc(m->mem, m->n_files, sizeof *refs);
    if (!refs)
        return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < m->n_files; i++) {
        const struct metainfo_file *f = &m->files[i];
        if (f->flags & FILE_PAD || f->len <= m->piece_len)
            continue;
        file_root(m, f, v2, refs[n].root);
        refs[n++].layer = bytes_of(v2 + (size_t)f->first_piece * SHA256_LEN,
                                   (size_t)div_ceil(f->len, m->piece_len) * SHA256_LEN);
    }
    qsort(refs, n, sizeof *refs, compare_refs);
    bencode_write_cstr(out, "piece layers");
    bencode_write_dict(out);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0 && compare_refs(&refs[i - 1], &refs[i]) == 0)
            continue;
        bencode_write_str(out, bytes_of(refs[i].root, SHA256_LEN));
        bencode_write_str(out, refs[i].layer);
    }
    bencode_write_end(out);
    mem_free(m->mem, refs);
    return ERR_OK;
}

enum err_code metainfo_build(const struct metainfo *plan, const uint8_t *v1, const uint8_t *v2,
                             const struct build_options *o, struct buf *out, struct err *err)
{
    bencode_write_dict(out);
    write_trackers(o, out);
    if (o->comment)
        bencode_write_key_str(out, "comment", bytes_of_str(o->comment));
    if (o->created_by)
        bencode_write_key_str(out, "created by", bytes_of_str(o->created_by));
    if (o->has_creation_date)
        bencode_write_key_int(out, "creation date", o->creation_date);
    bencode_write_cstr(out, "info");
    write_info(plan, v1, v2, o, out);
    if (plan->has_v2 && write_layers(plan, v2, out))
        return no_memory(err);
    if (o->n_webseeds > 0) {
        bencode_write_cstr(out, "url-list");
        bencode_write_list(out);
        for (uint32_t i = 0; i < o->n_webseeds; i++)
            bencode_write_cstr(out, o->webseeds[i]);
        bencode_write_end(out);
    }
    bencode_write_end(out);
    if (out->err == ERR_NO_MEMORY)
        return no_memory(err);
    if (out->err || out->len > BENCODE_LEN_MAX)
        return err_set_at(err, ERR_LIMIT,
                          "torrent file would be too long: give a larger piece length", 0, out->len,
                          BENCODE_LEN_MAX);
    return ERR_OK;
}
