/* merkle: roots are folded chunk by chunk, level by level within a chunk (neighbouring pairs go
 * through the SHA units side by side), with a stack of one hash per height above, so that no tree
 * is laid out where only its root is asked for; pads are computed, never stored. */
#include "torrent/merkle.h"
#include "base/size.h"
#include "crypto/sha_lanes.h"
#include <assert.h>

static const uint8_t *hash_at(const uint8_t *hashes, uint64_t index)
{
    return hashes + index * SHA256_LEN;
}

unsigned merkle_height(uint64_t n)
{
    unsigned height = 0;
    while (height < 63 && (1ull << height) < n)
        height++;
    return height;
}

void merkle_pad(unsigned height, uint8_t out[SHA256_LEN])
{
    memset(out, 0, SHA256_LEN);
    for (unsigned i = 0; i < height; i++)
        sha256_pair(out, out, out);
}

#define CHUNK_HEIGHT 6u
#define CHUNK_N      (1u << CHUNK_HEIGHT) /* 2 KiB of hashes on the stack */

/* The root over n <= 2^n_levels <= CHUNK_N hashes of a layer, completed with pads. */
static void fold_chunk(const uint8_t *hashes, size_t n, unsigned layer_height, unsigned n_levels,
                       uint8_t out[SHA256_LEN])
{
    uint8_t level[CHUNK_N + 1][SHA256_LEN], pad[SHA256_LEN];
    bool has_pads = n < 1u << n_levels;
    assert(n_levels <= CHUNK_HEIGHT && n <= 1u << n_levels);
    if (has_pads)
        merkle_pad(layer_height, pad);
    if (n > 0)
        memcpy(level, hashes, n * SHA256_LEN);
    else
        memcpy(level[n++], pad, SHA256_LEN);
    for (unsigned i = 0; i < n_levels; i++) {
        if (n % 2)
            memcpy(level[n++], pad, SHA256_LEN);
        n /= 2;
        sha256_pairs((const uint8_t(*)[SHA256_LEN])level, n, level);
        if (has_pads)
            sha256_pair(pad, pad, pad);
    }
    memcpy(out, level[0], SHA256_LEN);
}

/* n chunks, the last of which may be partial, are the leaves of a tree of n_levels. */
struct fold {
    uint8_t left[64][SHA256_LEN]; /* a finished left child waiting at each level */
    uint64_t n;
};

static void fold_add(struct fold *f, uint8_t node[SHA256_LEN])
{
    unsigned level = 0;
    for (; f->n >> level & 1; level++)
        sha256_pair(f->left[level], node, node);
    memcpy(f->left[level], node, SHA256_LEN);
    f->n++;
}

/* leaf_height: of what was added. */
static void fold_end(const struct fold *f, unsigned leaf_height, unsigned n_levels,
                     uint8_t out[SHA256_LEN])
{
    uint8_t node[SHA256_LEN], pad[SHA256_LEN];
    if (f->n == 1ull << n_levels) {
        memcpy(out, f->left[n_levels], SHA256_LEN);
        return;
    }
    /* The bits of n say where a left child waits; above the lowest of them, everything to the
     * right of what is there is pad. */
    merkle_pad(leaf_height, pad);
    memcpy(node, pad, SHA256_LEN);
    for (unsigned level = 0; level < n_levels; level++) {
        if (f->n >> level & 1)
            sha256_pair(f->left[level], node, node);
        else
            sha256_pair(node, pad, node);
        sha256_pair(pad, pad, pad);
    }
    memcpy(out, node, SHA256_LEN);
}

void merkle_root(const uint8_t *hashes, uint64_t n, unsigned layer_height, unsigned root_height,
                 uint8_t out[SHA256_LEN])
{
    unsigned n_levels = root_height - layer_height;
    assert(root_height >= layer_height && n_levels < 64 && n <= 1ull << n_levels);
    if (n_levels <= CHUNK_HEIGHT) {
        fold_chunk(hashes, (size_t)n, layer_height, n_levels, out);
        return;
    }
    struct fold f;
    uint8_t node[SHA256_LEN];
    f.n = 0;
    for (uint64_t i = 0; i < n; i += CHUNK_N) {
        fold_chunk(hash_at(hashes, i), (size_t)u64_min(n - i, CHUNK_N), layer_height, CHUNK_HEIGHT,
                   node);
        fold_add(&f, node);
    }
    fold_end(&f, layer_height + CHUNK_HEIGHT, n_levels - CHUNK_HEIGHT, out);
}

/* --- shape ----------------------------------------------------------------------------------- */

bool merkle_shape_of(uint64_t file_len, uint32_t piece_len, struct merkle_shape *out)
{
    if (file_len == 0 || piece_len < MERKLE_BLOCK_LEN || (piece_len & (piece_len - 1)) != 0)
        return false;
    uint64_t n_leaves = div_ceil(file_len, MERKLE_BLOCK_LEN);
    if (n_leaves > 1ull << MERKLE_HEIGHT_MAX)
        return false;
    *out = (struct merkle_shape){.n_leaves = n_leaves,
                                 .n_pieces = div_ceil(file_len, piece_len),
                                 .piece_height = merkle_height(piece_len / MERKLE_BLOCK_LEN),
                                 .root_height = merkle_height(n_leaves)};
    return true;
}

uint64_t merkle_layer_n(const struct merkle_shape *s, unsigned height)
{
    return height > MERKLE_HEIGHT_MAX ? 1 : div_ceil(s->n_leaves, 1ull << height);
}

unsigned merkle_piece_root_height(const struct merkle_shape *s)
{
    return s->n_pieces > 1 ? s->piece_height : s->root_height;
}

void merkle_piece_root(const struct merkle_shape *s, const uint8_t *leaves, uint32_t n_leaves,
                       uint8_t out[SHA256_LEN])
{
    merkle_root(leaves, n_leaves, 0, merkle_piece_root_height(s), out);
}

bool merkle_layer_is_good(const struct merkle_shape *s, const uint8_t *layer,
                          const uint8_t root[SHA256_LEN])
{
    uint8_t got[SHA256_LEN];
    if (s->n_pieces < 2)
        return false;
    merkle_root(layer, s->n_pieces, s->piece_height, s->root_height, got);
    return memcmp(got, root, SHA256_LEN) == 0;
}

/* --- tree ------------------------------------------------------------------------------------ */

static uint64_t level_n(const struct merkle_tree *t, unsigned level)
{
    return div_ceil(t->n, 1ull << level);
}

static void build_level(struct merkle_tree *t, unsigned level, uint8_t pad[SHA256_LEN])
{
    uint8_t(*nodes)[SHA256_LEN] = (uint8_t(*)[SHA256_LEN])(void *)t->nodes;
    uint8_t(*out)[SHA256_LEN] = nodes + t->level_off[level];
    size_t n = (size_t)level_n(t, level); /* an odd one below is followed by its pad */
    sha256_pairs((const uint8_t(*)[SHA256_LEN])nodes + t->level_off[level - 1], n, out);
    sha256_pair(pad, pad, pad);
    memcpy(out[n], pad, SHA256_LEN);
}

enum err_code merkle_tree_init(struct merkle_tree *t, struct mem *mem, const uint8_t *hashes,
                               uint64_t n, unsigned base_height, unsigned root_height)
{
    *t = (struct merkle_tree){
        .mem = mem, .n = n, .base_height = base_height, .root_height = root_height};
    assert(n > 0 && base_height <= root_height && root_height <= MERKLE_HEIGHT_MAX);
    unsigned n_levels = root_height - base_height;
    assert(n <= 1ull << n_levels);
    uint64_t total = 0;
    for (unsigned level = 0; level <= n_levels; level++) {
        t->level_off[level] = (uint32_t)total; /* below 2^31 + 62 */
        total += level_n(t, level) + 1;        /* the pad of this height ends each level */
    }
    t->nodes = mem_calloc(mem, (size_t)total, SHA256_LEN);
    if (!t->nodes)
        return ERR_NO_MEMORY;
    uint8_t pad[SHA256_LEN];
    merkle_pad(base_height, pad);
    memcpy(t->nodes, hashes, (size_t)n * SHA256_LEN);
    memcpy(t->nodes + (size_t)n * SHA256_LEN, pad, SHA256_LEN);
    for (unsigned level = 1; level <= n_levels; level++)
        build_level(t, level, pad);
    return ERR_OK;
}

void merkle_tree_clear(struct merkle_tree *t)
{
    if (t->mem)
        mem_free(t->mem, t->nodes);
    *t = (struct merkle_tree){0};
}

void merkle_tree_node(const struct merkle_tree *t, unsigned height, uint64_t index,
                      uint8_t out[SHA256_LEN])
{
    assert(height >= t->base_height && height <= t->root_height);
    unsigned level = height - t->base_height;
    index = u64_min(index, level_n(t, level));
    memcpy(out, hash_at(t->nodes, t->level_off[level] + index), SHA256_LEN);
}

/* --- requests -------------------------------------------------------------------------------- */

enum err_code merkle_request_check(const struct merkle_request *q, const struct merkle_shape *s,
                                   struct err *err)
{
    if (q->base_layer >= s->root_height)
        return err_set_at(err, ERR_MALFORMED, "hash request begins at or above the root", 0,
                          q->base_layer, s->root_height);
    if (q->length < 2 || (q->length & (q->length - 1)) != 0)
        return err_set_at(err, ERR_MALFORMED, "hash request length is not a power of two", 0,
                          q->length, 2);
    if (q->length > MERKLE_REQUEST_N_MAX)
        return err_set_at(err, ERR_LIMIT, "hash request is too long", 0, q->length,
                          MERKLE_REQUEST_N_MAX);
    if (q->index % q->length != 0)
        return err_set_at(err, ERR_MALFORMED, "hash request index is not a multiple of length", 0,
                          q->index, q->length);
    uint64_t width = 1ull << (s->root_height - q->base_layer);
    if (q->length > width || q->index > width - q->length)
        return err_set_at(err, ERR_MALFORMED, "hash request lies outside the tree", 0, q->index,
                          width);
    if (q->proof_layers > merkle_proof_layers_to_root(s, q->base_layer))
        return err_set_at(err, ERR_MALFORMED, "hash request wants proof above the root", 0,
                          q->proof_layers, merkle_proof_layers_to_root(s, q->base_layer));
    return ERR_OK;
}

uint32_t merkle_request_n_uncles(const struct merkle_request *q)
{
    uint32_t omitted = merkle_height(q->length) - 1;
    return q->proof_layers > omitted ? q->proof_layers - omitted : 0;
}

uint32_t merkle_proof_layers_to_root(const struct merkle_shape *s, uint32_t base_layer)
{
    return s->root_height > base_layer ? s->root_height - base_layer - 1 : 0;
}

bool merkle_proof_fold(const struct merkle_request *q, const uint8_t *hashes, size_t n_hashes,
                       uint8_t out[SHA256_LEN], unsigned *out_height, uint64_t *out_index)
{
    uint32_t n_uncles = merkle_request_n_uncles(q);
    if (q->length < 2 || n_hashes != (size_t)q->length + n_uncles)
        return false;
    unsigned own = merkle_height(q->length);
    uint64_t index = q->index >> own;
    merkle_root(hashes, q->length, 0, own, out); /* complete: no pad comes in */
    for (uint32_t i = 0; i < n_uncles; i++, index >>= 1) {
        const uint8_t *uncle = hash_at(hashes, q->length + i);
        if (index & 1)
            sha256_pair(uncle, out, out);
        else
            sha256_pair(out, uncle, out);
    }
    *out_height = q->base_layer + own + n_uncles;
    *out_index = index;
    return true;
}

bool merkle_proof_is_good(const struct merkle_request *q, const struct merkle_shape *s,
                          const uint8_t *hashes, size_t n_hashes)
{
    uint8_t got[SHA256_LEN];
    unsigned height;
    uint64_t index;
    return merkle_proof_fold(q, hashes, n_hashes, got, &height, &index) &&
           height == s->root_height && memcmp(got, q->root, SHA256_LEN) == 0;
}

static bool answer_node(const struct merkle_tree *file, const struct merkle_tree *piece,
                        uint64_t piece_index, unsigned height, uint64_t index,
                        uint8_t out[SHA256_LEN])
{
    if (file && height >= file->base_height && height <= file->root_height) {
        merkle_tree_node(file, height, index, out);
        return true;
    }
    if (!piece || height > piece->root_height)
        return false;
    uint64_t n_under = 1ull << (piece->root_height - height);
    if (index / n_under != piece_index)
        return false;
    merkle_tree_node(piece, height, index % n_under, out);
    return true;
}

size_t merkle_answer(const struct merkle_request *q, const struct merkle_tree *file,
                     const struct merkle_tree *piece, uint8_t out[MERKLE_ANSWER_N_MAX][SHA256_LEN])
{
    uint32_t n_uncles = merkle_request_n_uncles(q);
    unsigned own = merkle_height(q->length);
    uint64_t piece_index = 0;
    size_t n = 0;
    if (piece && q->base_layer <= piece->root_height)
        piece_index = (uint64_t)q->index >> (piece->root_height - q->base_layer);
    for (; n < q->length; n++)
        if (!answer_node(file, piece, piece_index, q->base_layer, q->index + n, out[n]))
            return 0;
    uint64_t index = q->index >> own;
    for (uint32_t i = 0; i < n_uncles; i++, index >>= 1, n++)
        if (!answer_node(file, piece, piece_index, q->base_layer + own + i, index ^ 1, out[n]))
            return 0;
    return n;
}
