/* metainfo_files: the file lists of an info dictionary: "files" or "length" (BEP 3, 47), the "file
 * tree" (BEP 52), what both must agree on, and the hashes that belong to them. */
#include "base/size.h"
#include "torrent/merkle.h"
#include "torrent/metainfo_internal.h"
#include "torrent/metainfo_names.h"
#include "torrent/path_sanitize.h"

#define PATH_CAP ((METAINFO_DIR_DEPTH_MAX + 2) * (PATH_ELEMENT_LEN_MAX + 1) + 1)

/* A path being put together from elements. */
struct path_buf {
    size_t len;
    uint32_t n_elems;
    char text[PATH_CAP];
};

static enum err_code no_memory(const struct info_reader *r)
{
    return err_set(r->err, ERR_NO_MEMORY, "no memory for the files of a torrent");
}

/* --- paths ----------------------------------------------------------------------------------- */

static void path_start(struct path_buf *p, const char *top)
{
    size_t len = strlen(top);
    memcpy(p->text, top, len + 1);
    p->len = len;
    p->n_elems = 0;
}

static bool path_push(struct path_buf *p, struct bytes raw)
{
    char elem[PATH_ELEMENT_CAP];
    if (p->n_elems > METAINFO_DIR_DEPTH_MAX)
        return false;
    size_t len = path_sanitize_element_or(raw, elem);
    if (p->len > 0)
        p->text[p->len++] = '/';
    memcpy(p->text + p->len, elem, len + 1);
    p->len += len;
    p->n_elems++;
    return true;
}

/* A list of elements, in the file or as the target of a link. */
static enum err_code path_push_list(struct info_reader *r, struct path_buf *p,
                                    struct bencode_value list)
{
    struct bencode_iter it = bencode_iter(list);
    struct bencode_value v;
    struct bytes elem;
    while (bencode_next(&it, NULL, &v)) {
        if (!bencode_get_str(v, &elem))
            return metainfo_fail(r, v, ERR_MALFORMED, "path element is not a string");
        if (!path_push(p, elem))
            return metainfo_fail(r, v, ERR_LIMIT, "path has more than 100 folders");
    }
    return ERR_OK;
}

static const char *path_keep(const struct path_buf *p, struct arena *arena)
{
    return arena_str(arena, bytes_of(p->text, p->len));
}

/* --- what both formats say of a file --------------------------------------------------------- */

static struct metainfo_file *list_add(struct file_list *list)
{
    return list->n < list->cap ? &list->files[list->n++] : NULL;
}

static enum err_code list_init(struct info_reader *r, struct file_list *list, struct arena *arena,
                               size_t n, struct bencode_value at)
{
    if (n > r->limits.n_files_max)
        return metainfo_fail(r, at, ERR_LIMIT, "torrent has too many files");
    *list = (struct file_list){.cap = (uint32_t)n, .arena = arena};
    list->files = arena_calloc(arena, n ? n : 1, sizeof *list->files);
    return list->files ? ERR_OK : no_memory(r);
}

/* BEP 47 */
static uint8_t read_attr(struct bencode_value file)
{
    struct bytes attr = bencode_str(bencode_dict_get(file, "attr"));
    uint8_t flags = 0;
    for (size_t i = 0; i < attr.len; i++)
        switch (attr.data[i]) {
        case 'p':
            flags |= FILE_PAD;
            break;
        case 'x':
            flags |= FILE_EXEC;
            break;
        case 'h':
            flags |= FILE_HIDDEN;
            break;
        case 'l':
            flags |= FILE_SYMLINK;
            break;
        default:
            break;
        }
    return flags;
}

/* A link without a target is a file like any other; the length of a link counts for nothing. */
static enum err_code read_symlink(struct info_reader *r, struct file_list *list, const char *top,
                                  struct bencode_value file, struct metainfo_file *f)
{
    struct bencode_value target = bencode_dict_get_type(file, "symlink path", BENCODE_LIST);
    struct path_buf path;
    if (!(f->flags & FILE_SYMLINK))
        return ERR_OK;
    path_start(&path, top);
    enum err_code code = path_push_list(r, &path, target);
    if (path.n_elems == 0 || f->flags & FILE_PAD)
        f->flags &= (uint8_t)~FILE_SYMLINK;
    else if (!code && !(f->symlink = path_keep(&path, list->arena)))
        code = no_memory(r);
    return code;
}

static enum err_code read_len(struct info_reader *r, struct bencode_value file,
                              struct metainfo_file *f)
{
    struct bencode_value v = bencode_dict_get(file, "length");
    int64_t len;
    if (f->flags & FILE_SYMLINK)
        return ERR_OK;
    if (!bencode_get_int(v, &len))
        return metainfo_fail(r, bencode_type(v) ? v : file, ERR_MALFORMED,
                             "file 'length' is missing or not an integer");
    if (len < 0)
        return metainfo_fail(r, v, ERR_MALFORMED, "file 'length' is negative");
    if ((uint64_t)len > METAINFO_FILE_LEN_MAX)
        return metainfo_fail(r, v, ERR_LIMIT, "file 'length' is above 16 TiB");
    f->len = (uint64_t)len;
    return ERR_OK;
}

/* --- v1 -------------------------------------------------------------------------------------- */

/* Older programs wrote a second, UTF-8 form beside names in a local encoding. */
static struct bencode_value get_utf8(struct bencode_value dict, const char *utf8_key,
                                     const char *key, enum bencode_type type)
{
    struct bencode_value v = bencode_dict_get_type(dict, utf8_key, type);
    return bencode_type(v) ? v : bencode_dict_get(dict, key);
}

static enum err_code read_v1_path(struct info_reader *r, struct file_list *list,
                                  struct bencode_value file, struct metainfo_file *f)
{
    struct bencode_value v = get_utf8(file, "path.utf-8", "path", BENCODE_LIST);
    struct path_buf path;
    path_start(&path, r->m->name);
    enum err_code code = path_push_list(r, &path, v);
    if (code)
        return code;
    if (path.n_elems == 0 && !(f->flags & FILE_PAD))
        return metainfo_fail(r, bencode_type(v) ? v : file, ERR_MALFORMED,
                             "file 'path' is missing or empty");
    if (path.n_elems == 0) { /* pads may go without a name */
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)f->len);
        path_push(&path, BYTES_LIT(".pad"));
        path_push(&path, bytes_of_str(number));
    }
    f->path = path_keep(&path, list->arena);
    if (!f->path)
        return no_memory(r);
    /* What pads were called before BEP 47. */
    const char *last = strrchr(f->path, '/');
    if (last && strncmp(last + 1, "_____padding_file_", 18) == 0 && !(f->flags & FILE_SYMLINK))
        f->flags |= FILE_PAD;
    return ERR_OK;
}

static enum err_code read_v1_file(struct info_reader *r, struct file_list *list,
                                  struct bencode_value file)
{
    struct metainfo_file *f = list_add(list);
    if (bencode_type(file) != BENCODE_DICT || !f)
        return metainfo_fail(r, file, ERR_MALFORMED, "entry of 'files' is not a dictionary");
    f->flags = read_attr(file);
    enum err_code code = read_symlink(r, list, r->m->name, file, f);
    if (!code)
        code = read_len(r, file, f);
    if (!code)
        code = read_v1_path(r, list, file, f);
    return code;
}

static enum err_code read_v1_single(struct info_reader *r, struct file_list *list)
{
    enum err_code code = list_init(r, list, list->arena, 1, r->info);
    if (code)
        return code;
    struct metainfo_file *f = list_add(list);
    f->flags = read_attr(r->info) & (FILE_EXEC | FILE_HIDDEN);
    f->path = arena_str(list->arena, bytes_of_str(r->m->name));
    return f->path ? read_len(r, r->info, f) : no_memory(r);
}

static enum err_code read_v1_list(struct info_reader *r, struct file_list *list)
{
    struct bencode_value files = bencode_dict_get_type(r->info, "files", BENCODE_LIST), file;
    struct bencode_iter it = bencode_iter(files);
    if (bencode_type(files) == BENCODE_NONE)
        return read_v1_single(r, list);
    r->m->is_multi_file = true;
    enum err_code code = list_init(r, list, list->arena, bencode_n_items(files), files);
    while (!code && bencode_next(&it, NULL, &file))
        code = read_v1_file(r, list, file);
    if (!code && list->n == 0)
        code = metainfo_fail(r, files, ERR_MALFORMED, "'files' is empty");
    return code;
}

/* End to end, pads included. */
static enum err_code place_v1(struct info_reader *r, struct file_list *list, uint64_t *out_end)
{
    uint64_t off = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        list->files[i].off = off;
        off += list->files[i].len; /* each below 2^44, the sum is checked each time */
        if (off > METAINFO_SPACE_LEN_MAX)
            return metainfo_fail(r, r->info, ERR_LIMIT, "torrent is larger than 256 TiB");
    }
    *out_end = off;
    return ERR_OK;
}

static enum err_code read_v1_pieces(struct info_reader *r, uint64_t total_len)
{
    struct bencode_value v = bencode_dict_get(r->info, "pieces");
    struct bytes pieces;
    uint64_t n = div_ceil(total_len, r->m->piece_len);
    if (!bencode_get_str(v, &pieces))
        return metainfo_fail(r, v, ERR_MALFORMED, "'pieces' is missing or not a string");
    if (n > r->limits.n_pieces_max)
        return err_set_at(r->err, ERR_LIMIT, "torrent has too many pieces", bencode_off(v), n,
                          r->limits.n_pieces_max);
    if (pieces.len != n * SHA1_LEN)
        return err_set_at(r->err, ERR_MALFORMED, "'pieces' does not have one hash per piece",
                          bencode_off(v), pieces.len, n * SHA1_LEN);
    r->m->v1_pieces = metainfo_keep(r, pieces);
    r->m->n_pieces = (uint32_t)n;
    return ERR_OK;
}

/* --- v2 -------------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *hash)
{
    static const uint8_t zero[SHA256_LEN];
    return memcmp(hash, zero, SHA256_LEN) == 0;
}

static enum err_code read_root(struct info_reader *r, struct bencode_value file,
                               struct metainfo_file *f)
{
    struct bencode_value v = bencode_dict_get(file, "pieces root");
    struct bytes root;
    if (f->len == 0 && bencode_type(v) == BENCODE_NONE)
        return ERR_OK;
    if (f->len == 0)
        return metainfo_fail(r, v, ERR_MALFORMED, "empty file has a 'pieces root'");
    if (!bencode_get_str(v, &root) || root.len != SHA256_LEN || is_zero(root.data))
        return metainfo_fail(r, bencode_type(v) ? v : file, ERR_MALFORMED,
                             "'pieces root' is missing or not a hash");
    f->pieces_root = metainfo_keep(r, root);
    return ERR_OK;
}

static enum err_code read_v2_file(struct info_reader *r, struct file_list *list, const char *top,
                                  struct bencode_value file, const struct path_buf *path)
{
    struct metainfo_file *f = list_add(list);
    if (bencode_type(file) != BENCODE_DICT || !f)
        return metainfo_fail(r, file, ERR_MALFORMED, "file of 'file tree' is not a dictionary");
    f->flags = read_attr(file);
    if (f->flags & FILE_PAD)
        return metainfo_fail(r, file, ERR_MALFORMED, "'file tree' holds a pad file");
    enum err_code code = read_symlink(r, list, top, file, f);
    if (!code)
        code = read_len(r, file, f);
    if (!code)
        code = read_root(r, file, f);
    if (!code && !(f->path = path_keep(path, list->arena)))
        code = no_memory(r);
    return code;
}

/* One entry of a folder: {"": {...}} is a file, any other dictionary a folder. */
static bool tree_entry_file(struct bencode_value entry, struct bencode_value *out)
{
    struct bencode_iter it = bencode_iter(entry);
    struct bytes key;
    return it.is_dict && bencode_next(&it, &key, out) && key.len == 0;
}

struct tree_frame {
    struct bencode_iter it;
    size_t path_len;
    uint32_t n_elems;
};

struct tree_walk {
    struct tree_frame frames[BENCODE_DEPTH_MAX];
    uint32_t depth;
    struct path_buf path;
};

static enum err_code walk_entry(struct info_reader *r, struct tree_walk *w, struct file_list *list,
                                const char *top, struct bytes key, struct bencode_value entry)
{
    struct bencode_value file;
    if (bencode_type(entry) != BENCODE_DICT || key.len == 0)
        return metainfo_fail(r, entry, ERR_MALFORMED,
                             "entry of 'file tree' has no name or is not a dictionary");
    if (!path_push(&w->path, key))
        return metainfo_fail(r, entry, ERR_LIMIT, "path has more than 100 folders");
    if (tree_entry_file(entry, &file)) {
        if (bencode_n_items(entry) != 1)
            return metainfo_fail(r, entry, ERR_MALFORMED,
                                 "entry of 'file tree' is both a file and a folder");
        return read_v2_file(r, list, top, file, &w->path);
    }
    if (w->depth == BENCODE_DEPTH_MAX) /* the parser's own bound is lower */
        return metainfo_fail(r, entry, ERR_LIMIT, "'file tree' is nested too deep");
    w->frames[w->depth++] = (struct tree_frame){bencode_iter(entry), w->path.len, w->path.n_elems};
    return ERR_OK;
}

static enum err_code walk_tree(struct info_reader *r, struct file_list *list, const char *top,
                               struct bencode_value tree)
{
    struct tree_walk w = {.depth = 1};
    struct bytes key;
    struct bencode_value entry;
    path_start(&w.path, top);
    w.frames[0] = (struct tree_frame){bencode_iter(tree), w.path.len, 0};
    while (w.depth > 0) {
        struct tree_frame *f = &w.frames[w.depth - 1];
        w.path.len = f->path_len;
        w.path.n_elems = f->n_elems;
        if (!bencode_next(&f->it, &key, &entry)) {
            w.depth--;
            continue;
        }
        enum err_code code = walk_entry(r, &w, list, top, key, entry);
        if (code)
            return code;
    }
    return ERR_OK;
}

/* BEP 52, "file tree": a tree of exactly one file that has the torrent's name is that file alone. */
static bool tree_is_single(struct info_reader *r, struct bencode_value tree)
{
    struct bencode_iter it = bencode_iter(tree);
    struct bencode_value entry, file;
    struct bytes key;
    return bencode_n_items(tree) == 1 && bencode_next(&it, &key, &entry) &&
           tree_entry_file(entry, &file) &&
           bytes_equal(key, bencode_str(bencode_dict_get(r->info, "name")));
}

/* An upper bound: each file costs the tree a dictionary under an empty key. */
static size_t count_tree_files(struct bencode_value tree)
{
    const struct bencode *doc = tree.doc;
    size_t n = 0;
    for (uint32_t i = tree.token; i < doc->tokens[tree.token].next; i++)
        n += doc->tokens[i].type == BENCODE_STR && doc->in.data[doc->tokens[i].off] == '0';
    return n;
}

static enum err_code read_v2_list(struct info_reader *r, struct file_list *list,
                                  bool *out_is_single)
{
    struct bencode_value tree = bencode_dict_get(r->info, "file tree");
    if (bencode_type(tree) != BENCODE_DICT)
        return metainfo_fail(r, tree, ERR_MALFORMED, "'file tree' is missing or not a dictionary");
    /* A folder that holds one file of its own name looks just like that file alone: a "files" list
     * beside the tree settles it. */
    *out_is_single = !r->m->is_multi_file && tree_is_single(r, tree);
    enum err_code code = list_init(r, list, list->arena, count_tree_files(tree), tree);
    if (!code)
        code = walk_tree(r, list, *out_is_single ? "" : r->m->name, tree);
    if (!code && list->n == 0)
        code = metainfo_fail(r, tree, ERR_MALFORMED, "'file tree' has no files");
    if (!code && *out_is_single &&
        !(list->files[0].path = arena_str(list->arena, bytes_of_str(r->m->name))))
        code = no_memory(r);
    return code;
}

/* Each file from a piece boundary. */
static enum err_code place_v2(struct info_reader *r, struct file_list *list, uint64_t *out_end,
                              uint32_t *out_n_pieces)
{
    uint64_t off = 0, end = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        struct metainfo_file *f = &list->files[i];
        f->off = off;
        if (f->len == 0)
            continue;
        end = off + f->len;
        off += div_ceil(f->len, r->m->piece_len) * r->m->piece_len;
        if (off / r->m->piece_len > r->limits.n_pieces_max)
            return err_set_at(r->err, ERR_LIMIT, "torrent has too many pieces",
                              bencode_off(r->info), off / r->m->piece_len, r->limits.n_pieces_max);
        if (off > METAINFO_SPACE_LEN_MAX)
            return metainfo_fail(r, r->info, ERR_LIMIT, "torrent is larger than 256 TiB");
    }
    *out_end = end;
    *out_n_pieces = (uint32_t)(off / r->m->piece_len);
    return ERR_OK;
}

/* --- hybrid ---------------------------------------------------------------------------------- */

static struct metainfo_file *next_data_file(struct file_list *list, uint32_t *at)
{
    for (; *at < list->n; ++*at)
        if (list->files[*at].len > 0 && !(list->files[*at].flags & FILE_PAD))
            return &list->files[(*at)++];
    return NULL;
}

/* BEP 52, "Upgrade path": names, order and piece alignment of both halves must be the same. Files
 * without bytes may stand where they like. The roots go over to the v1 list. */
static enum err_code merge_hybrid(struct info_reader *r, struct file_list *v1, struct file_list *v2)
{
    uint32_t at1 = 0, at2 = 0;
    for (;;) {
        struct metainfo_file *f1 = next_data_file(v1, &at1), *f2 = next_data_file(v2, &at2);
        if (!f1 && !f2)
            return ERR_OK;
        if (!f1 || !f2 || f1->len != f2->len || f1->off != f2->off ||
            strcmp(f1->path, f2->path) != 0)
            return err_set_at(r->err, ERR_MALFORMED,
                              "v1 and v2 parts of a hybrid torrent describe different files",
                              bencode_off(r->info), f1 ? f1->off : 0, f2 ? f2->off : 0);
        f1->pieces_root = f2->pieces_root;
    }
}

static enum err_code read_hybrid(struct info_reader *r, struct file_list *v1)
{
    struct file_list v2 = {.arena = &r->scratch};
    uint64_t end;
    uint32_t n_pieces;
    bool is_single = false;
    enum err_code code = read_v2_list(r, &v2, &is_single);
    if (!code)
        code = place_v2(r, &v2, &end, &n_pieces);
    if (!code)
        code = merge_hybrid(r, v1, &v2);
    if (!code && n_pieces != r->m->n_pieces)
        code = err_set_at(r->err, ERR_MALFORMED,
                          "v1 and v2 parts of a hybrid torrent have different numbers of pieces",
                          bencode_off(r->info), r->m->n_pieces, n_pieces);
    return code;
}

/* --- all together ---------------------------------------------------------------------------- */

static enum err_code read_name(struct info_reader *r)
{
    struct bencode_value v = get_utf8(r->info, "name.utf-8", "name", BENCODE_STR);
    struct bytes raw;
    char name[PATH_ELEMENT_CAP];
    if (!bencode_get_str(v, &raw))
        return metainfo_fail(r, v, ERR_MALFORMED, "'name' is missing or not a string");
    if (path_sanitize_element(raw, name) == 0) {
        const uint8_t *hash = metainfo_key(r->m);
        for (size_t i = 0, n = r->m->has_v1 ? SHA1_LEN : SHA256_LEN; i < n; i++)
            snprintf(name + 2 * i, 3, "%02x", hash[i]);
    }
    r->m->name = arena_str(&r->m->arena, bytes_of_str(name));
    return r->m->name ? ERR_OK : no_memory(r);
}

static enum err_code read_lists(struct info_reader *r, struct file_list *list)
{
    struct metainfo *m = r->m;
    bool is_single = false;
    uint64_t end = 0;
    enum err_code code;
    if (!m->has_v1) {
        code = read_v2_list(r, list, &is_single);
        m->is_multi_file = !is_single;
        if (!code)
            code = place_v2(r, list, &end, &m->n_pieces);
    } else {
        code = read_v1_list(r, list);
        if (!code)
            code = place_v1(r, list, &end);
        if (!code)
            code = read_v1_pieces(r, end);
        if (!code && m->has_v2)
            code = read_hybrid(r, list);
    }
    if (!code)
        m->total_len = end;
    if (!code && m->total_len == 0)
        code = metainfo_fail(r, r->info, ERR_MALFORMED, "torrent holds no bytes at all");
    return code;
}

static struct map_seed seed_of(const struct metainfo *m)
{
    struct map_seed seed;
    uint8_t hash[SHA256_LEN];
    sha256(m->info, hash); /* not the info-hash itself: of v1 torrents others know only that */
    memcpy(&seed.k0, hash, 8);
    memcpy(&seed.k1, hash + 8, 8);
    return seed;
}

void metainfo_finish_files(struct metainfo *m)
{
    uint64_t data_len = 0, pad_from = 0;
    bool is_in_pads = false;
    for (uint32_t i = 0; i < m->n_files; i++) {
        struct metainfo_file *f = &m->files[i];
        bool is_pad = f->flags & FILE_PAD;
        f->first_piece = (uint32_t)(f->off / m->piece_len);
        if (is_pad && !is_in_pads)
            pad_from = f->off;
        if (f->len > 0)
            is_in_pads = is_pad;
        f->pad_from = is_pad ? pad_from : 0;
        data_len += is_pad ? 0 : f->len;
        f->n_layer =
            f->pieces_root && f->len > m->piece_len ? (uint32_t)div_ceil(f->len, m->piece_len) : 0;
    }
    m->layout = (struct layout){.files = m->files,
                                .n_files = m->n_files,
                                .n_pieces = m->n_pieces,
                                .piece_len = m->piece_len,
                                .is_aligned = !m->has_v1,
                                .space_len = m->total_len,
                                .data_len = data_len};
}

enum err_code metainfo_read_files(struct info_reader *r)
{
    struct metainfo *m = r->m;
    struct file_list list = {.arena = &m->arena};
    enum err_code code = read_name(r);
    if (!code)
        code = read_lists(r, &list);
    if (code)
        return code;
    m->files = list.files;
    m->n_files = list.n;
    metainfo_finish_files(m);
    return metainfo_resolve_names(m->files, m->n_files, &m->arena, r->mem, seed_of(m), r->err);
}

/* --- piece layers ---------------------------------------------------------------------------- */

static int compare_roots(const void *a, const void *b)
{
    const struct metainfo_file *fa = *(struct metainfo_file *const *)a;
    const struct metainfo_file *fb = *(struct metainfo_file *const *)b;
    return memcmp(fa->pieces_root, fb->pieces_root, SHA256_LEN);
}

/* First of the files with this root; n when there is none. */
static uint32_t find_root(struct metainfo_file **files, uint32_t n, const uint8_t *root)
{
    uint32_t lo = 0, hi = n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (memcmp(files[mid]->pieces_root, root, SHA256_LEN) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && memcmp(files[lo]->pieces_root, root, SHA256_LEN) == 0 ? lo : n;
}

static enum err_code read_layer(struct info_reader *r, struct metainfo_file **files, uint32_t n,
                                struct bytes root, struct bencode_value v)
{
    struct bytes layer;
    struct merkle_shape shape;
    uint32_t at = root.len == SHA256_LEN ? find_root(files, n, root.data) : n;
    if (at == n)
        return metainfo_fail(r, v, ERR_MALFORMED, "'piece layers' names a file that is not there");
    if (!bencode_get_str(v, &layer) || layer.len != (size_t)files[at]->n_layer * SHA256_LEN)
        return err_set_at(r->err, ERR_MALFORMED, "piece layer does not have one hash per piece",
                          bencode_off(v), layer.len, (uint64_t)files[at]->n_layer * SHA256_LEN);
    if (!merkle_shape_of(files[at]->len, r->m->piece_len, &shape) ||
        !merkle_layer_is_good(&shape, layer.data, root.data))
        return metainfo_fail(r, v, ERR_MALFORMED,
                             "piece layer does not hash up to the 'pieces root'");
    struct bytes kept = arena_dup(&r->m->arena, layer);
    if (!kept.data)
        return no_memory(r);
    for (; at < n && memcmp(files[at]->pieces_root, root.data, SHA256_LEN) == 0; at++)
        if (files[at]->n_layer * (size_t)SHA256_LEN == layer.len)
            files[at]->piece_layer = kept.data;
    return ERR_OK;
}

enum err_code metainfo_read_layers(struct info_reader *r, struct bencode_value layers)
{
    struct metainfo *m = r->m;
    struct bencode_iter it = bencode_iter(layers);
    struct bencode_value v;
    struct bytes root;
    uint32_t n = 0;
    if (bencode_type(layers) != BENCODE_NONE && bencode_type(layers) != BENCODE_DICT)
        return metainfo_fail(r, layers, ERR_MALFORMED, "'piece layers' is not a dictionary");
    struct metainfo_file **files = arena_alloc(&r->scratch, m->n_files * sizeof *files);
    if (!files)
        return no_memory(r);
    for (uint32_t i = 0; i < m->n_files; i++)
        if (m->files[i].n_layer > 0)
            files[n++] = &m->files[i];
    qsort(files, n, sizeof *files, compare_roots);
    enum err_code code = ERR_OK;
    while (!code && bencode_next(&it, &root, &v))
        code = read_layer(r, files, n, root, v);
    m->has_piece_layers = true;
    for (uint32_t i = 0; i < n; i++)
        m->has_piece_layers = m->has_piece_layers && files[i]->piece_layer;
    return code;
}
