#include "chain/merkle_block.h"
#include "chain/block.h"
#include "crypto/sha256d.h"
#include <assert.h>

enum err_code merkle_block_read(struct reader *r, struct merkle_block *out)
{
    *out = (struct merkle_block){0};
    if (block_header_read(r, &out->header))
        return r->err.code;
    out->n_txs = reader_u32le(r);
    uint64_t n = reader_compact_size(r);
    if (n > reader_left(r) / sizeof(struct hash256)) {
        reader_fail(r, ERR_TRUNCATED, "merkle block ends inside its hashes");
        return r->err.code;
    }
    out->n_hashes = (uint32_t)n;
    out->hashes = reader_take(r, (size_t)n * sizeof(struct hash256));
    out->flags = reader_take(r, (size_t)reader_compact_size(r));
    return r->err.code;
}

/* --- the walk -------------------------------------------------------------------------------- */

#define HEIGHT_MAX 15u /* of a tree over MERKLE_BLOCK_N_TXS_MAX leaves: bounds the recursion */

struct walk {
    const struct merkle_block *m;
    uint32_t n_bits, n_hashes, n_matches; /* used so far */
    struct merkle_match *matches;         /* room for every hash */
    const char *fault;                    /* the first; sticky */
};

/* Nodes of the tree at a height; leaves have height 0. */
static uint32_t width_at(uint32_t n_txs, unsigned height)
{
    return (n_txs + (1u << height) - 1) >> height;
}

static bool next_bit(struct walk *w)
{
    uint32_t i = w->n_bits;
    if (i / 8 >= w->m->flags.len) {
        w->fault = w->fault ? w->fault : "partial merkle tree has too few flag bits";
        return false;
    }
    w->n_bits++;
    return w->m->flags.data[i / 8] >> (i % 8) & 1;
}

static struct hash256 next_hash(struct walk *w)
{
    struct hash256 h = {0};
    if (w->n_hashes == w->m->n_hashes)
        w->fault = w->fault ? w->fault : "partial merkle tree has too few hashes";
    else
        memcpy(h.b, w->m->hashes.data + sizeof h * w->n_hashes++, sizeof h);
    return h;
}

/* The hash of the node at (height, index), whose children were walked as its bit says. */
static struct hash256 walk_node(struct walk *w, unsigned height, uint32_t index)
{
    struct hash256 pair[2], out;
    bool is_parent_of_match = next_bit(w);
    if (w->fault || height == 0 || !is_parent_of_match) {
        out = w->fault ? (struct hash256){0} : next_hash(w);
        if (!w->fault && height == 0 && is_parent_of_match)
            w->matches[w->n_matches++] = (struct merkle_match){out, index};
        return out;
    }
    pair[0] = walk_node(w, height - 1, 2 * index);
    pair[1] = pair[0];
    if (2 * index + 1 < width_at(w->m->n_txs, height - 1)) {
        pair[1] = walk_node(w, height - 1, 2 * index + 1);
        if (!w->fault && hash256_equal(&pair[0], &pair[1]))
            w->fault = "partial merkle tree has two equal halves";
    }
    sha256d(bytes_of(pair, sizeof pair), out.b);
    return out;
}

static const char *walk_tree(struct walk *w)
{
    unsigned height = 0;
    while (width_at(w->m->n_txs, height) > 1)
        height++;
    assert(height <= HEIGHT_MAX);
    struct hash256 root = walk_node(w, height, 0);
    if (w->fault)
        return w->fault;
    if (w->n_hashes < w->m->n_hashes)
        return "partial merkle tree has hashes left over";
    if ((w->n_bits + 7) / 8 < w->m->flags.len)
        return "partial merkle tree has flags left over";
    if (!hash256_equal(&root, &w->m->header.merkle_root))
        return "partial merkle tree has another root than the header";
    return NULL;
}

enum err_code merkle_block_verify(const struct merkle_block *m, struct arena *a,
                                  struct merkle_match **out, uint32_t *out_n, struct err *err)
{
    struct walk w = {.m = m};
    *out = NULL;
    *out_n = 0;
    if (m->n_txs == 0)
        return err_set(err, ERR_MALFORMED, "merkle block without transactions");
    if (m->n_txs > MERKLE_BLOCK_N_TXS_MAX)
        return err_set_at(err, ERR_LIMIT, "merkle block with more transactions than fit", 0,
                          m->n_txs, MERKLE_BLOCK_N_TXS_MAX);
    if (m->n_hashes > m->n_txs)
        return err_set_at(err, ERR_MALFORMED, "merkle block with more hashes than transactions", 0,
                          m->n_hashes, m->n_txs);
    w.matches = arena_calloc(a, m->n_hashes + 1, sizeof *w.matches);
    if (!w.matches)
        return err_set(err, ERR_NO_MEMORY, "no memory for the matches of a merkle block");
    const char *fault = walk_tree(&w);
    if (fault)
        return err_set(err, ERR_MALFORMED, fault);
    *out = w.matches;
    *out_n = w.n_matches;
    return ERR_OK;
}
