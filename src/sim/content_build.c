/* content_build: lays out the files of a simulated torrent, hashes them and writes the .torrent. */
#include "base/size.h"
#include "sim/content.h"
#include "torrent/merkle.h"

#define N_FILES_MAX 10000u

struct plan_file {
    uint64_t off, len;
};

struct plan_layer {
    uint8_t root[SHA256_LEN];
    size_t off, len; /* in plan.layers */
};

struct plan {
    struct content *c;
    const struct content_params *p;
    struct plan_file *files;
    uint32_t n_files, n_pieces;
    uint64_t space_len;
    bool has_v1, has_v2;
    struct buf pieces, layers;
    struct plan_layer *layer_refs; /* into layers; one per file longer than a piece */
    uint32_t n_layer_refs;
};

static void plan_files(struct plan *plan)
{
    const struct content_params *p = plan->p;
    uint64_t left = p->len, off = 0;
    struct rng rng;
    rng_init(&rng, p->key);
    for (uint32_t i = 0; i < plan->n_files; i++) {
        uint32_t n_left = plan->n_files - i;
        uint64_t share = left / n_left;
        uint64_t len = n_left == 1 ? left : share / 2 + rng_below64(&rng, share + 1);
        if (plan->has_v2)
            off = div_ceil(off, p->piece_len) * p->piece_len;
        plan->files[i] = (struct plan_file){off, len};
        off += len;
        left -= len;
    }
    plan->space_len = off;
    plan->n_pieces = (uint32_t)div_ceil(off, p->piece_len);
}

/* Where the data of the piece that begins at `begin` ends. */
static uint64_t piece_data_end(const struct plan *plan, uint64_t begin)
{
    uint64_t end = u64_min(begin + plan->p->piece_len, plan->space_len);
    for (uint32_t i = 0; plan->has_v2 && i < plan->n_files; i++) {
        const struct plan_file *f = &plan->files[i];
        if (begin >= f->off && begin < f->off + f->len)
            return u64_min(end, f->off + f->len);
    }
    return end;
}

static void hash_v1_piece(struct plan *plan, uint64_t begin)
{
    uint8_t block[BLOCK_LEN], digest[SHA1_LEN];
    uint64_t data_end = piece_data_end(plan, begin);
    uint64_t wire_end = u64_min(begin + plan->p->piece_len, plan->space_len);
    struct sha1_state s;
    sha1_init(&s);
    for (uint64_t at = begin; at < data_end; at += BLOCK_LEN) {
        uint32_t len = content_core_len(plan->c, (uint32_t)u64_min(BLOCK_LEN, data_end - at));
        content_fill(plan->c, at, 0, block, len);
        sha1_update(&s, bytes_of(block, len));
    }
    memset(block, 0, sizeof block);
    for (uint64_t at = data_end; at < wire_end && !plan->p->is_phantom; at += BLOCK_LEN)
        sha1_update(&s, bytes_of(block, (size_t)u64_min(BLOCK_LEN, wire_end - at)));
    sha1_final(&s, digest);
    buf_put(&plan->pieces, bytes_of(digest, SHA1_LEN));
}

static void leaf_hash(const struct plan *plan, uint64_t at, uint64_t end, uint8_t out[SHA256_LEN])
{
    uint8_t block[BLOCK_LEN];
    uint32_t len = content_core_len(plan->c, (uint32_t)u64_min(BLOCK_LEN, end - at));
    content_fill(plan->c, at, 0, block, len);
    sha256(bytes_of(block, len), out);
}

/* The tree of one file: its root, and its layer into plan->layers when it has one. */
static void hash_v2_file(struct plan *plan, const struct plan_file *f, uint8_t root[SHA256_LEN])
{
    struct merkle_shape shape;
    struct mem *mem = plan->c->mem;
    if (!merkle_shape_of(f->len, plan->p->piece_len, &shape)) {
        plan->layers.err = ERR_LIMIT;
        return;
    }
    uint32_t n_per_piece = plan->p->piece_len / BLOCK_LEN;
    uint8_t *leaves = mem_alloc(mem, (size_t)n_per_piece * SHA256_LEN);
    uint8_t *layer = mem_alloc(mem, (size_t)shape.n_pieces * SHA256_LEN);
    for (uint64_t i = 0; leaves && layer && i < shape.n_pieces; i++) {
        uint64_t at = f->off + i * plan->p->piece_len;
        uint64_t end = u64_min(at + plan->p->piece_len, f->off + f->len);
        uint32_t n = (uint32_t)div_ceil(end - at, BLOCK_LEN);
        for (uint32_t k = 0; k < n; k++)
            leaf_hash(plan, at + (uint64_t)k * BLOCK_LEN, end, leaves + (size_t)k * SHA256_LEN);
        merkle_piece_root(&shape, leaves, n, layer + (size_t)i * SHA256_LEN);
    }
    if (!leaves || !layer) {
        plan->layers.err = ERR_NO_MEMORY;
    } else if (shape.n_pieces > 1) {
        merkle_root(layer, shape.n_pieces, shape.piece_height, shape.root_height, root);
        struct plan_layer *ref = &plan->layer_refs[plan->n_layer_refs++];
        *ref = (struct plan_layer){.off = plan->layers.len};
        memcpy(ref->root, root, SHA256_LEN);
        ref->len = (size_t)shape.n_pieces * SHA256_LEN;
        buf_put(&plan->layers, bytes_of(layer, ref->len));
    } else {
        memcpy(root, layer, SHA256_LEN);
    }
    mem_free(mem, leaves);
    mem_free(mem, layer);
}

static void put_str(struct buf *b, const char *s)
{
    buf_printf(b, "%zu:%s", strlen(s), s);
}

static void put_tree_leaf(struct plan *plan, struct buf *b, const char *name, uint32_t i)
{
    uint8_t root[SHA256_LEN] = {0};
    hash_v2_file(plan, &plan->files[i], root);
    put_str(b, name);
    buf_printf(b, "d0:d6:lengthi%llue11:pieces root32:", (unsigned long long)plan->files[i].len);
    buf_put(b, bytes_of(root, SHA256_LEN));
    buf_str(b, "ee");
}

static void put_file_tree(struct plan *plan, struct buf *b)
{
    char name[32];
    buf_str(b, "9:file treed");
    if (plan->n_files == 1)
        put_tree_leaf(plan, b, plan->p->name, 0);
    for (uint32_t i = 0; plan->n_files > 1 && i < plan->n_files; i++) {
        snprintf(name, sizeof name, "f%05u", i);
        put_tree_leaf(plan, b, name, i);
    }
    buf_str(b, "e");
}

static void put_v1_files(struct plan *plan, struct buf *b)
{
    buf_str(b, "5:filesl");
    for (uint32_t i = 0; i < plan->n_files; i++) {
        const struct plan_file *f = &plan->files[i];
        buf_printf(b, "d6:lengthi%llue4:pathl6:f%05uee", (unsigned long long)f->len, i);
        uint64_t next = i + 1 < plan->n_files ? plan->files[i + 1].off : f->off + f->len;
        if (next > f->off + f->len) {
            unsigned long long pad = next - (f->off + f->len);
            char name[32];
            int n = snprintf(name, sizeof name, "%llu", pad);
            buf_printf(b, "d4:attr1:p6:lengthi%llue4:pathl4:.pad%d:%see", pad, n, name);
        }
    }
    buf_str(b, "e");
}

static void put_info(struct plan *plan, struct buf *b)
{
    const struct content_params *p = plan->p;
    buf_str(b, "d");
    if (plan->has_v2)
        put_file_tree(plan, b);
    if (plan->has_v1 && plan->n_files > 1)
        put_v1_files(plan, b);
    if (plan->has_v1 && plan->n_files == 1)
        buf_printf(b, "6:lengthi%llue", (unsigned long long)p->len);
    if (plan->has_v2)
        buf_str(b, "12:meta versioni2e");
    buf_str(b, "4:name");
    put_str(b, p->name);
    buf_printf(b, "12:piece lengthi%ue", p->piece_len);
    if (plan->has_v1) {
        for (uint32_t i = 0; i < plan->n_pieces; i++)
            hash_v1_piece(plan, (uint64_t)i * p->piece_len);
        buf_printf(b, "6:pieces%zu:", plan->pieces.len);
        buf_put(b, buf_bytes(&plan->pieces));
    }
    if (p->is_private)
        buf_str(b, "7:privatei1e");
    buf_str(b, "e");
}

static int compare_layers(const void *a, const void *b)
{
    const struct plan_layer *l = a, *r = b;
    return memcmp(l->root, r->root, SHA256_LEN);
}

/* A dictionary: keys ascend, and files with the same bytes share one entry. */
static void put_piece_layers(struct plan *plan, struct buf *b)
{
    if (plan->n_layer_refs)
        qsort(plan->layer_refs, plan->n_layer_refs, sizeof *plan->layer_refs, compare_layers);
    buf_str(b, "12:piece layersd");
    for (uint32_t i = 0; i < plan->n_layer_refs && !plan->layers.err; i++) {
        const struct plan_layer *ref = &plan->layer_refs[i];
        if (i > 0 && compare_layers(ref - 1, ref) == 0)
            continue;
        buf_str(b, "32:");
        buf_put(b, bytes_of(ref->root, SHA256_LEN));
        buf_printf(b, "%zu:", ref->len);
        buf_put(b, bytes_sub(buf_bytes(&plan->layers), ref->off, ref->len));
    }
    buf_str(b, "e");
}

static void put_torrent(struct plan *plan, struct buf *b)
{
    const char *const *trackers = plan->p->trackers;
    buf_str(b, "d");
    if (trackers && trackers[0]) {
        buf_str(b, "8:announce");
        put_str(b, trackers[0]);
        buf_str(b, "13:announce-listl");
        for (size_t i = 0; trackers[i]; i++) {
            buf_str(b, "l");
            put_str(b, trackers[i]);
            buf_str(b, "e");
        }
        buf_str(b, "e");
    }
    buf_str(b, "4:info");
    put_info(plan, b);
    if (plan->has_v2)
        put_piece_layers(plan, b);
    buf_str(b, "e");
}

static enum err_code build(struct plan *plan, struct err *err)
{
    struct content *c = plan->c;
    plan->files = mem_calloc(c->mem, plan->n_files, sizeof *plan->files);
    plan->layer_refs = mem_calloc(c->mem, plan->n_files, sizeof *plan->layer_refs);
    if (!plan->files || !plan->layer_refs) {
        mem_free(c->mem, plan->files);
        mem_free(c->mem, plan->layer_refs);
        return err_set(err, ERR_NO_MEMORY, "no memory for simulated content");
    }
    plan_files(plan);
    put_torrent(plan, &c->torrent);
    mem_free(c->mem, plan->files);
    mem_free(c->mem, plan->layer_refs);
    if (c->torrent.err || plan->pieces.err || plan->layers.err)
        return err_set(err, ERR_NO_MEMORY, "no memory for simulated content");
    return metainfo_read(&c->info, buf_bytes(&c->torrent), c->mem, NULL, err);
}

enum err_code content_new(struct content **out, struct mem *mem, const struct content_params *p,
                          struct err *err)
{
    if (p->len == 0 || p->piece_len < BLOCK_LEN || (p->piece_len & (p->piece_len - 1)) ||
        p->n_files > N_FILES_MAX || p->n_files > p->len)
        return err_set(err, ERR_LIMIT, "simulated content of this shape is not made");
    struct content *c = mem_calloc(mem, 1, sizeof *c);
    if (!c)
        return err_set(err, ERR_NO_MEMORY, "no memory for simulated content");
    c->mem = mem;
    c->key = p->key;
    c->is_phantom = p->is_phantom;
    buf_init(&c->torrent, mem, SIZE_MAX);
    struct plan plan = {.c = c,
                        .p = p,
                        .n_files = p->n_files ? p->n_files : 1,
                        .has_v1 = p->version != CONTENT_V2,
                        .has_v2 = p->version != CONTENT_V1};
    buf_init(&plan.pieces, mem, SIZE_MAX);
    buf_init(&plan.layers, mem, SIZE_MAX);
    enum err_code code = build(&plan, err);
    buf_clear(&plan.pieces);
    buf_clear(&plan.layers);
    if (code) {
        content_free(c);
        return code;
    }
    *out = c;
    return ERR_OK;
}

void content_free(struct content *c)
{
    if (!c)
        return;
    metainfo_free(c->info);
    buf_clear(&c->torrent);
    mem_free(c->mem, c);
}

enum err_code content_metainfo(const struct content *c, struct mem *mem, struct metainfo **out,
                               struct err *err)
{
    return metainfo_read(out, buf_bytes(&c->torrent), mem, NULL, err);
}
