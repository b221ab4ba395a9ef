/* hash_xfer, serving: trees are made when a request needs them and kept while there is room. */
#include "base/size.h"
#include "torrent/hash_xfer.h"
#include <assert.h>

struct serve_tree {
    bool is_used, is_piece;
    uint32_t id; /* file, or piece */
    struct merkle_tree tree;
    size_t len;
    uint64_t used_at; /* n_uses then */
};

struct hash_serve {
    struct mem *mem;
    const struct metainfo *info;
    uint32_t *by_root; /* files with a pieces root, sorted by it */
    uint32_t n_by_root;
    struct serve_tree trees[HASH_SERVE_TREES];
    size_t trees_len;
    uint64_t n_uses;
    struct hash_serve_counts counts;
};

/* --- life ------------------------------------------------------------------------------------ */

static int compare_roots(const void *a, const void *b, void *ctx)
{
    const struct metainfo *info = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int c = memcmp(info->files[x].pieces_root, info->files[y].pieces_root, SHA256_LEN);
    return c ? c : (x > y) - (x < y);
}

enum err_code hash_serve_new(struct hash_serve **out, struct mem *mem, const struct metainfo *info)
{
    struct hash_serve *s = mem_calloc(mem, 1, sizeof *s);
    if (!s)
        return ERR_NO_MEMORY;
    s->mem = mem;
    s->info = info;
    s->by_root = mem_calloc(mem, info->n_files, sizeof *s->by_root);
    if (!s->by_root) {
        hash_serve_free(s);
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < info->n_files; i++)
        if (info->files[i].pieces_root)
            s->by_root[s->n_by_root++] = i;
    if (s->n_by_root)
        qsort_r(s->by_root, s->n_by_root, sizeof *s->by_root, compare_roots, (void *)info);
    *out = s;
    return ERR_OK;
}

static void drop_tree(struct hash_serve *s, struct serve_tree *t)
{
    merkle_tree_clear(&t->tree);
    s->trees_len -= t->len;
    *t = (struct serve_tree){0};
}

void hash_serve_free(struct hash_serve *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < HASH_SERVE_TREES; i++)
        if (s->trees[i].is_used)
            drop_tree(s, &s->trees[i]);
    mem_free(s->mem, s->by_root);
    mem_free(s->mem, s);
}

void hash_serve_peer_init(struct hash_serve_peer *p, uint64_t now_us)
{
    token_bucket_init(&p->budget, now_us, HASH_SERVE_RATE, HASH_SERVE_BURST);
}

/* --- trees ----------------------------------------------------------------------------------- */

static struct serve_tree *find_tree(struct hash_serve *s, bool is_piece, uint32_t id)
{
    for (uint32_t i = 0; i < HASH_SERVE_TREES; i++) {
        struct serve_tree *t = &s->trees[i];
        if (t->is_used && t->is_piece == is_piece && t->id == id) {
            t->used_at = ++s->n_uses;
            return t;
        }
    }
    return NULL;
}

static struct serve_tree *oldest_tree(struct hash_serve *s)
{
    struct serve_tree *oldest = NULL;
    for (uint32_t i = 0; i < HASH_SERVE_TREES; i++)
        if (s->trees[i].is_used && (!oldest || s->trees[i].used_at < oldest->used_at))
            oldest = &s->trees[i];
    return oldest;
}

/* A free place, and room for len more bytes of trees. The tree used last stays in any case: an
 * answer may need the two of them together. */
static struct serve_tree *make_room(struct hash_serve *s, size_t len)
{
    struct serve_tree *place = NULL, *oldest;
    while ((oldest = oldest_tree(s)) && oldest->used_at != s->n_uses &&
           s->trees_len + len > HASH_SERVE_CACHE_LEN_MAX)
        drop_tree(s, oldest);
    for (uint32_t i = 0; i < HASH_SERVE_TREES; i++)
        if (!s->trees[i].is_used)
            place = &s->trees[i];
    if (!place) {
        place = oldest_tree(s);
        drop_tree(s, place);
    }
    return place;
}

/* NULL: no memory. */
static struct serve_tree *make_tree(struct hash_serve *s, bool is_piece, uint32_t id,
                                    const uint8_t *hashes, uint64_t n, unsigned base_height,
                                    unsigned root_height)
{
    size_t len = (size_t)(2 * n + MERKLE_HEIGHT_MAX) * SHA256_LEN;
    struct serve_tree *t = make_room(s, len);
    if (merkle_tree_init(&t->tree, s->mem, hashes, n, base_height, root_height))
        return NULL;
    t->is_used = true;
    t->is_piece = is_piece;
    t->id = id;
    t->len = len;
    t->used_at = ++s->n_uses;
    s->trees_len += len;
    s->counts.n_trees_made++;
    return t;
}

void hash_serve_put_leaves(struct hash_serve *s, uint32_t piece, const uint8_t *leaves)
{
    struct merkle_shape shape;
    uint32_t file, index, n = layout_n_blocks(&s->info->layout, piece);
    if (n == 0 || !layout_piece_file(&s->info->layout, piece, &file, &index) ||
        !merkle_shape_of(s->info->files[file].len, s->info->piece_len, &shape) ||
        find_tree(s, true, piece))
        return;
    struct serve_tree *t =
        make_tree(s, true, piece, leaves, n, 0, merkle_piece_root_height(&shape));
    (void)t; /* without memory the retry asks for the leaves again, and is rejected */
}

/* --- answering ------------------------------------------------------------------------------- */

static const struct metainfo_file *find_file(const struct hash_serve *s, const uint8_t *root,
                                             uint32_t *out_index)
{
    uint32_t low = 0, high = s->n_by_root;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct metainfo_file *file = &s->info->files[s->by_root[mid]];
        int c = memcmp(file->pieces_root, root, SHA256_LEN);
        if (c == 0) {
            *out_index = s->by_root[mid];
            return file;
        }
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

struct serve_plan {
    const struct metainfo_file *file;
    uint32_t file_index;
    struct merkle_shape shape;
    bool needs_layer, needs_leaves;
    uint32_t piece; /* whose leaves */
};

/* Which trees an answer is taken from. False: no such hashes here, for a reason that is counted. */
static bool make_plan(struct hash_serve *s, const struct merkle_request *q, struct serve_plan *out)
{
    *out = (struct serve_plan){0};
    out->file = find_file(s, q->root, &out->file_index);
    if (!out->file) {
        s->counts.n_unknown_root++;
        return false;
    }
    if (!merkle_shape_of(out->file->len, s->info->piece_len, &out->shape) ||
        merkle_request_check(q, &out->shape, NULL)) {
        s->counts.n_bad_range++;
        return false;
    }
    out->needs_layer = out->shape.n_pieces > 1;
    out->piece = out->file->first_piece;
    if (!out->needs_layer) {
        out->needs_leaves = true;
        return true;
    }
    if (!out->file->piece_layer)
        return false;
    if (q->base_layer >= out->shape.piece_height)
        return true;
    /* Below the piece layer a range inside one piece is served, no wider one. */
    unsigned under = out->shape.piece_height - q->base_layer;
    uint32_t index = q->index >> under;
    if (q->length > 1u << under || index >= out->shape.n_pieces) {
        s->counts.n_bad_range++;
        return false;
    }
    out->needs_leaves = true;
    out->piece += index;
    return true;
}

static uint64_t cost_of(struct hash_serve *s, const struct merkle_request *q,
                        const struct serve_plan *plan)
{
    uint64_t cost = q->length;
    if (plan->needs_layer && !find_tree(s, false, plan->file_index))
        cost += plan->shape.n_pieces / 16;
    if (plan->needs_leaves && !find_tree(s, true, plan->piece))
        cost += (uint64_t)layout_n_blocks(&s->info->layout, plan->piece) * HASH_SERVE_BLOCK_COST;
    return cost;
}

static enum hash_answer answer(struct hash_serve *s, const struct merkle_request *q,
                               const struct serve_plan *plan,
                               uint8_t out[MERKLE_ANSWER_N_MAX][SHA256_LEN], size_t *out_n,
                               uint32_t *out_piece)
{
    struct serve_tree *file = NULL, *piece = NULL;
    *out_piece = plan->piece;
    if (plan->needs_layer) {
        file = find_tree(s, false, plan->file_index);
        if (!file)
            file =
                make_tree(s, false, plan->file_index, plan->file->piece_layer, plan->file->n_layer,
                          plan->shape.piece_height, plan->shape.root_height);
        if (!file)
            return HASH_ANSWER_REJECT;
    }
    if (plan->needs_leaves) {
        piece = find_tree(s, true, plan->piece);
        if (!piece)
            return HASH_ANSWER_LEAVES;
    }
    *out_n = merkle_answer(q, file ? &file->tree : &piece->tree,
                           file && piece ? &piece->tree : NULL, out);
    return *out_n ? HASH_ANSWER : HASH_ANSWER_REJECT;
}

static enum hash_answer count(struct hash_serve *s, enum hash_answer a)
{
    s->counts.n_answered += a == HASH_ANSWER;
    s->counts.n_rejected += a == HASH_ANSWER_REJECT;
    return a;
}

enum hash_answer hash_serve_on_request(struct hash_serve *s, uint64_t now_us,
                                       struct hash_serve_peer *p, const struct merkle_request *q,
                                       uint8_t out[MERKLE_ANSWER_N_MAX][SHA256_LEN], size_t *out_n,
                                       uint32_t *out_piece)
{
    struct serve_plan plan;
    *out_n = 0;
    if (!make_plan(s, q, &plan))
        return count(s, HASH_ANSWER_REJECT);
    if (!token_bucket_can_spend(&p->budget, now_us)) {
        s->counts.n_over_rate++;
        return count(s, HASH_ANSWER_REJECT);
    }
    token_bucket_spend(&p->budget, now_us, cost_of(s, q, &plan));
    return count(s, answer(s, q, &plan, out, out_n, out_piece));
}

enum hash_answer hash_serve_retry(struct hash_serve *s, const struct merkle_request *q,
                                  uint8_t out[MERKLE_ANSWER_N_MAX][SHA256_LEN], size_t *out_n,
                                  uint32_t *out_piece)
{
    struct serve_plan plan;
    *out_n = 0;
    if (!make_plan(s, q, &plan))
        return count(s, HASH_ANSWER_REJECT);
    return count(s, answer(s, q, &plan, out, out_n, out_piece));
}

struct hash_serve_counts hash_serve_counts(const struct hash_serve *s)
{
    return s->counts;
}
