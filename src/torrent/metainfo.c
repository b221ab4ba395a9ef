/* metainfo: the doors. The file lists are read in metainfo_files.c, names told apart in
 * metainfo_names.c, trackers and the rest in metainfo_extra.c. */
#include "torrent/metainfo.h"
#include "base/size.h"
#include "torrent/merkle.h"
#include "torrent/metainfo_internal.h"
#include <assert.h>

#define ARENA_LEN_MAX (512u << 20) /* ours: ten million bytes of input cannot need as much */

static const struct metainfo_limits maxima = {
    .len_max = BENCODE_LEN_MAX,
    .n_tokens_max = BENCODE_N_TOKENS_MAX,
    .depth_max = BENCODE_DEPTH_MAX,
    .n_pieces_max = METAINFO_N_PIECES_MAX,
    .n_files_max = METAINFO_N_FILES_MAX,
};

const uint8_t *metainfo_keep(const struct info_reader *r, struct bytes in_info)
{
    size_t off = (size_t)(in_info.data - r->info.doc->in.data) - bencode_off(r->info);
    assert(off <= r->m->info.len && in_info.len <= r->m->info.len - off);
    return r->m->info.data + off;
}

enum err_code metainfo_fail(const struct info_reader *r, struct bencode_value at,
                            enum err_code code, const char *what)
{
    size_t off = bencode_type(at) == BENCODE_NONE ? bencode_off(r->info) : bencode_off(at);
    return err_set_at(r->err, code, what, off, 0, 0);
}

/* --- reading --------------------------------------------------------------------------------- */

/* BEP 52, "meta version": to be looked at before anything else; 1 was never given out, so it is
 * taken for what the rest of the dictionary says, v1. */
static enum err_code read_versions(struct info_reader *r)
{
    struct bencode_value v = bencode_dict_get(r->info, "meta version");
    int64_t version = 1;
    if (bencode_type(v) != BENCODE_NONE && !bencode_get_int(v, &version))
        return metainfo_fail(r, v, ERR_MALFORMED, "'meta version' is not an integer");
    if (version != 1 && version != 2)
        return metainfo_fail(r, v, ERR_UNSUPPORTED, "'meta version' is neither 1 nor 2");
    r->m->has_v2 = version == 2;
    r->m->has_v1 =
        version == 1 || bencode_type(bencode_dict_get(r->info, "pieces")) != BENCODE_NONE;
    /* BEP 52: bencoding of a v2 info must be canonical; in v1 a key must at least mean one thing. */
    return bencode_check_keys(r->info, r->m->has_v2, r->mem, r->err);
}

static enum err_code read_piece_len(struct info_reader *r)
{
    struct bencode_value v = bencode_dict_get(r->info, "piece length");
    int64_t len;
    if (!bencode_get_int(v, &len))
        return metainfo_fail(r, v, ERR_MALFORMED, "'piece length' is missing or not an integer");
    if (len <= 0)
        return metainfo_fail(r, v, ERR_MALFORMED, "'piece length' is not positive");
    if (len > METAINFO_PIECE_LEN_MAX)
        return metainfo_fail(r, v, ERR_LIMIT, "'piece length' is above 512 MiB");
    if (r->m->has_v2 && (len < MERKLE_BLOCK_LEN || (len & (len - 1)) != 0))
        return metainfo_fail(
            r, v, ERR_MALFORMED,
            "'piece length' of a v2 torrent is not a power of two of at least 16 KiB");
    r->m->piece_len = (uint32_t)len;
    return ERR_OK;
}

static enum err_code read_info(struct info_reader *r)
{
    struct metainfo *m = r->m;
    struct bytes raw = bencode_raw(r->info);
    m->info = arena_dup(&m->arena, raw);
    if (!m->info.data)
        return err_set(r->err, ERR_NO_MEMORY, "no memory for the info dictionary");
    enum err_code code = read_versions(r);
    if (code)
        return code;
    if (m->has_v1)
        sha1(raw, m->infohash_v1);
    if (m->has_v2)
        sha256(raw, m->infohash_v2);
    code = read_piece_len(r);
    if (!code)
        code = metainfo_read_files(r);
    if (!code)
        code = metainfo_read_info_extra(r);
    return code;
}

/* Makes the object, runs the reader over a parsed document, ends in *out or in nothing. */
static enum err_code build(struct metainfo **out, struct bencode_value top,
                           struct bencode_value info, struct mem *mem,
                           const struct metainfo_limits *limits, struct err *err)
{
    struct metainfo *m = mem_calloc(mem, 1, sizeof *m);
    if (!m)
        return err_set(err, ERR_NO_MEMORY, "no memory for a torrent");
    m->mem = mem;
    arena_init(&m->arena, mem, ARENA_LEN_MAX);
    struct info_reader r = {.m = m, .mem = mem, .info = info, .limits = *limits, .err = err};
    arena_init(&r.scratch, mem, ARENA_LEN_MAX);
    enum err_code code = read_info(&r);
    if (!code && m->has_v2)
        code = metainfo_read_layers(&r, bencode_dict_get(top, "piece layers"));
    if (!code)
        code = metainfo_read_extra(&r, top);
    arena_clear(&r.scratch);
    if (code) {
        metainfo_free(m);
        return code;
    }
    *out = m;
    return ERR_OK;
}

static enum err_code parse(struct bencode *doc, struct bytes in, struct mem *mem,
                           const struct metainfo_limits *limits, struct err *err)
{
    struct bencode_limits l = {limits->len_max, limits->n_tokens_max, limits->depth_max};
    return bencode_parse(doc, in, mem, &l, err);
}

enum err_code metainfo_read(struct metainfo **out, struct bytes file, struct mem *mem,
                            const struct metainfo_limits *limits, struct err *err)
{
    struct bencode doc;
    limits = limits ? limits : &maxima;
    *out = NULL;
    enum err_code code = parse(&doc, file, mem, limits, err);
    if (code)
        return code;
    struct bencode_value top = bencode_root(&doc);
    struct bencode_value info = bencode_dict_get(top, "info");
    if (bencode_type(top) != BENCODE_DICT)
        code = err_set(err, ERR_MALFORMED, "torrent file is not a bencoded dictionary");
    else if (bencode_type(info) != BENCODE_DICT)
        code = err_set_at(err, ERR_MALFORMED, "'info' is missing or not a dictionary",
                          bencode_off(info), 0, 0);
    else
        code = build(out, top, info, mem, limits, err);
    bencode_clear(&doc);
    return code;
}

enum err_code metainfo_read_info(struct metainfo **out, struct bytes info, struct mem *mem,
                                 const struct metainfo_limits *limits, struct err *err)
{
    struct bencode doc;
    limits = limits ? limits : &maxima;
    *out = NULL;
    enum err_code code = parse(&doc, info, mem, limits, err);
    if (code)
        return code;
    struct bencode_value root = bencode_root(&doc);
    if (bencode_type(root) != BENCODE_DICT)
        code = err_set(err, ERR_MALFORMED, "info is not a bencoded dictionary");
    else if (doc.used_len != info.len)
        code = err_set_at(err, ERR_MALFORMED, "bytes follow the info dictionary", doc.used_len,
                          info.len, doc.used_len);
    else
        code = build(out, (struct bencode_value){0}, root, mem, limits, err);
    bencode_clear(&doc);
    return code;
}

void metainfo_free(struct metainfo *m)
{
    if (!m)
        return;
    arena_clear(&m->arena);
    mem_free(m->mem, m);
}

/* --- hashes ---------------------------------------------------------------------------------- */

bool metainfo_has_hash(const struct metainfo *m, const uint8_t *hash, size_t len)
{
    if (len == SHA1_LEN)
        return (m->has_v1 && memcmp(hash, m->infohash_v1, SHA1_LEN) == 0) ||
               (m->has_v2 && memcmp(hash, m->infohash_v2, SHA1_LEN) == 0);
    return len == SHA256_LEN && m->has_v2 && memcmp(hash, m->infohash_v2, SHA256_LEN) == 0;
}

const uint8_t *metainfo_key(const struct metainfo *m)
{
    return m->has_v1 ? m->infohash_v1 : m->infohash_v2;
}

const uint8_t *metainfo_v1_piece_hash(const struct metainfo *m, uint32_t piece)
{
    return m->v1_pieces && piece < m->n_pieces ? m->v1_pieces + (size_t)piece * SHA1_LEN : NULL;
}

const uint8_t *metainfo_v2_piece_hash(const struct metainfo *m, uint32_t piece)
{
    uint32_t file, index;
    if (!m->has_v2 || !layout_piece_file(&m->layout, piece, &file, &index))
        return NULL;
    const struct metainfo_file *f = &m->files[file];
    if (f->n_layer == 0)
        return f->pieces_root;
    return f->piece_layer ? f->piece_layer + (size_t)index * SHA256_LEN : NULL;
}

static bool layers_are_complete(const struct metainfo *m)
{
    for (uint32_t i = 0; i < m->n_files; i++)
        if (m->files[i].n_layer > 0 && !m->files[i].piece_layer)
            return false;
    return m->has_v2;
}

static int compare_layers(const struct metainfo_file *a, const struct metainfo_file *b)
{
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(a->pieces_root, b->pieces_root, SHA256_LEN);
}

static int compare_by_root(const void *a, const void *b, void *files)
{
    const struct metainfo_file *f = files;
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    int order = compare_layers(&f[i], &f[k]);
    return order ? order : (i > k) - (i < k);
}

/* Torrents have up to a million files: who else has this root is looked up, not searched for. */
static bool make_by_root(struct metainfo *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_files; i++)
        n += m->files[i].n_layer > 0 && !m->files[i].piece_layer;
    if (m->by_root || n == 0)
        return true;
    m->by_root = arena_alloc(&m->arena, n * sizeof(*m->by_root));
    if (!m->by_root)
        return false;
    for (uint32_t i = 0; i < m->n_files; i++)
        if (m->files[i].n_layer > 0 && !m->files[i].piece_layer)
            m->by_root[m->n_by_root++] = i;
    m->n_layers_missing = n;
    qsort_r(m->by_root, n, sizeof(*m->by_root), compare_by_root, m->files);
    return true;
}

/* The first place in by_root that is not before f. */
static uint32_t find_root(const struct metainfo *m, const struct metainfo_file *f)
{
    uint32_t from = 0, to = m->n_by_root;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (compare_layers(&m->files[m->by_root[middle]], f) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

enum err_code metainfo_set_piece_layer(struct metainfo *m, uint32_t file, struct bytes layer,
                                       struct err *err)
{
    struct merkle_shape shape;
    if (file >= m->n_files || m->files[file].n_layer == 0)
        return err_set(err, ERR_MALFORMED, "file has no piece layer");
    const struct metainfo_file *f = &m->files[file];
    if (layer.len != (size_t)f->n_layer * SHA256_LEN)
        return err_set_at(err, ERR_MALFORMED, "piece layer has the wrong length", 0, layer.len,
                          (uint64_t)f->n_layer * SHA256_LEN);
    if (!merkle_shape_of(f->len, m->piece_len, &shape) ||
        !merkle_layer_is_good(&shape, layer.data, f->pieces_root))
        return err_set(err, ERR_MALFORMED, "piece layer does not hash up to the pieces root");
    if (f->piece_layer)
        return ERR_OK;
    struct bytes kept = make_by_root(m) ? arena_dup(&m->arena, layer) : (struct bytes){0};
    if (!kept.data)
        return err_set(err, ERR_NO_MEMORY, "no memory for a piece layer");
    for (uint32_t i = find_root(m, f); i < m->n_by_root; i++) {
        struct metainfo_file *same = &m->files[m->by_root[i]];
        if (compare_layers(same, f) != 0)
            break;
        same->piece_layer = kept.data;
        m->n_layers_missing--;
    }
    m->has_piece_layers = m->n_layers_missing == 0;
    return ERR_OK;
}

/* --- writing --------------------------------------------------------------------------------- */

static void write_trackers(const struct metainfo *m, struct buf *out)
{
    if (m->n_trackers == 0)
        return;
    bencode_write_key_str(out, "announce", bytes_of_str(m->trackers[0].url));
    if (m->n_trackers == 1)
        return;
    bencode_write_cstr(out, "announce-list");
    bencode_write_list(out);
    for (uint32_t i = 0; i < m->n_trackers; i++) {
        if (i == 0 || m->trackers[i].tier != m->trackers[i - 1].tier)
            bencode_write_list(out);
        bencode_write_cstr(out, m->trackers[i].url);
        if (i + 1 == m->n_trackers || m->trackers[i].tier != m->trackers[i + 1].tier)
            bencode_write_end(out);
    }
    bencode_write_end(out);
}

static void write_seeds(const struct metainfo *m, bool is_httpseed, struct buf *out)
{
    bool has_any = false;
    for (uint32_t i = 0; i < m->n_webseeds; i++) {
        if (m->webseeds[i].is_httpseed != is_httpseed)
            continue;
        if (!has_any) {
            bencode_write_cstr(out, is_httpseed ? "httpseeds" : "url-list");
            bencode_write_list(out);
        }
        has_any = true;
        bencode_write_cstr(out, m->webseeds[i].url);
    }
    if (has_any)
        bencode_write_end(out);
}

static int compare_roots(const void *a, const void *b)
{
    const struct metainfo_file *fa = *(const struct metainfo_file *const *)a;
    const struct metainfo_file *fb = *(const struct metainfo_file *const *)b;
    return memcmp(fa->pieces_root, fb->pieces_root, SHA256_LEN);
}

static void write_layers(const struct metainfo *m, struct buf *out)
{
    if (!m->has_v2)
        return;
    const struct metainfo_file **files = mem_calloc(m->mem, m->n_files, sizeof *files);
    uint32_t n = 0;
    if (!files) {
        out->err = out->err ? out->err : ERR_NO_MEMORY;
        return;
    }
    for (uint32_t i = 0; i < m->n_files; i++)
        if (m->files[i].piece_layer)
            files[n++] = &m->files[i];
    qsort(files, n, sizeof *files, compare_roots);
    bencode_write_cstr(out, "piece layers");
    bencode_write_dict(out);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0 && compare_roots(&files[i - 1], &files[i]) == 0)
            continue;
        bencode_write_str(out, bytes_of(files[i]->pieces_root, SHA256_LEN));
        bencode_write_str(out,
                          bytes_of(files[i]->piece_layer, (size_t)files[i]->n_layer * SHA256_LEN));
    }
    bencode_write_end(out);
    mem_free(m->mem, files);
}

void metainfo_write(const struct metainfo *m, struct buf *out)
{
    bencode_write_dict(out);
    write_trackers(m, out);
    if (m->comment)
        bencode_write_key_str(out, "comment", bytes_of_str(m->comment));
    if (m->created_by)
        bencode_write_key_str(out, "created by", bytes_of_str(m->created_by));
    if (m->has_creation_date)
        bencode_write_key_int(out, "creation date", m->creation_date);
    write_seeds(m, true, out);
    bencode_write_cstr(out, "info");
    buf_put(out, m->info);
    if (m->n_nodes) {
        bencode_write_cstr(out, "nodes");
        bencode_write_list(out);
        for (uint32_t i = 0; i < m->n_nodes; i++) {
            bencode_write_list(out);
            bencode_write_cstr(out, m->nodes[i].host);
            bencode_write_int(out, m->nodes[i].port);
            bencode_write_end(out);
        }
        bencode_write_end(out);
    }
    write_layers(m, out);
    write_seeds(m, false, out);
    bencode_write_end(out);
}

/* --- checking -------------------------------------------------------------------------------- */

static void check_path(const char *path)
{
    struct bytes b = bytes_of_str(path);
    size_t elem = 0;
    assert(b.len > 0);
    for (size_t i = 0; i <= b.len; i++) {
        if (i < b.len && path[i] != '/')
            continue;
        size_t len = i - elem;
        assert(len > 0 && len < 255);
        assert(!(len <= 2 && memcmp(path + elem, "..", len) == 0));
        elem = i + 1;
    }
}

static void check_file(const struct metainfo *m, uint32_t i)
{
    const struct metainfo_file *f = &m->files[i];
    check_path(f->path);
    assert(i == 0 || f->off >= m->files[i - 1].off + m->files[i - 1].len);
    assert(f->len <= m->total_len && f->off <= METAINFO_SPACE_LEN_MAX);
    assert(!(f->flags & FILE_SYMLINK) == !f->symlink);
    assert(!f->symlink || f->len == 0);
    if (m->is_multi_file && !(f->flags & FILE_PAD))
        assert(strncmp(f->path, m->name, strlen(m->name)) == 0);
    if (f->symlink)
        check_path(f->symlink);
    if (m->has_v2 && f->len > 0 && !(f->flags & FILE_PAD))
        assert(f->pieces_root && f->off % m->piece_len == 0);
    assert(!f->piece_layer || f->n_layer > 1);
}

void metainfo_check(const struct metainfo *m)
{
    assert(m->has_v1 || m->has_v2);
    assert(m->piece_len > 0 && m->n_pieces > 0 && m->n_files > 0);
    assert(m->layout.n_pieces == m->n_pieces && m->layout.files == m->files);
    assert(!m->has_v1 == !m->v1_pieces);
    assert(m->has_piece_layers == layers_are_complete(m));
    check_path(m->name);
    uint64_t data_len = 0;
    for (uint32_t i = 0; i < m->n_files; i++) {
        check_file(m, i);
        data_len += m->files[i].flags & FILE_PAD ? 0 : m->files[i].len;
    }
    assert(data_len == m->layout.data_len && m->total_len == m->layout.space_len);
    for (uint32_t i = 0; i < m->n_trackers; i++)
        assert(m->trackers[i].url[0] && (i == 0 || m->trackers[i].tier >= m->trackers[i - 1].tier));
}
