/* Roots and proofs against a tree laid out in full. */
#include "base/rng.h"
#include "base/size.h"
#include "test_util.h"
#include "torrent/merkle.h"

#define N_LEAVES_MAX 300u

/* Heap order: node 1 is the root, leaves from `width`. */
struct model {
    unsigned height;
    uint32_t width;
    uint8_t nodes[2 * 512][SHA256_LEN];
};

static void make_model(struct model *t, const uint8_t *leaves, uint32_t n)
{
    t->height = merkle_height(n);
    t->width = 1u << t->height;
    memset(t->nodes, 0, sizeof t->nodes);
    memcpy(t->nodes[t->width], leaves, (size_t)n * SHA256_LEN);
    for (uint32_t i = t->width - 1; i > 0; i--)
        sha256_pair(t->nodes[2 * i], t->nodes[2 * i + 1], t->nodes[i]);
}

static const uint8_t *model_node(const struct model *t, unsigned height, uint32_t index)
{
    return t->nodes[(t->width >> height) + index];
}

static void fill(struct rng *rng, uint8_t *leaves, uint32_t n)
{
    rng_fill(rng, leaves, (size_t)n * SHA256_LEN);
}

static void test_height(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        unsigned height;
    } rows[] = {{0, 0}, {1, 0}, {2, 1},         {3, 2},
                {4, 2}, {5, 3}, {1u << 30, 30}, {(1u << 30) + 1, 31}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(merkle_height(rows[i].n), rows[i].height);
}

static void test_roots(void **state)
{
    (void)state;
    static struct model t;
    static uint8_t leaves[N_LEAVES_MAX * SHA256_LEN];
    uint8_t got[SHA256_LEN];
    struct rng rng;
    rng_init(&rng, 1);
    for (uint32_t n = 1; n <= N_LEAVES_MAX; n++) {
        fill(&rng, leaves, n);
        make_model(&t, leaves, n);
        merkle_root(leaves, n, 0, t.height, got);
        assert_memory_equal(got, t.nodes[1], SHA256_LEN);
        /* from any layer */
        for (unsigned h = 0; h <= t.height; h++) {
            uint32_t n_layer = (uint32_t)div_ceil(n, 1u << h);
            merkle_root(model_node(&t, h, 0), n_layer, h, t.height, got);
            assert_memory_equal(got, t.nodes[1], SHA256_LEN);
        }
    }
    merkle_root(leaves, 0, 0, 3, got);
    uint8_t pad[SHA256_LEN];
    merkle_pad(3, pad);
    assert_memory_equal(got, pad, SHA256_LEN);
}

/* Known: the root of one 64 KiB block of the webseed test of libtorrent is checked in the corpus;
 * here only that a wider tree than there are leaves is completed with pads. */
static void test_wide(void **state)
{
    (void)state;
    uint8_t leaf[SHA256_LEN] = {1}, pad[SHA256_LEN] = {0}, want[SHA256_LEN], got[SHA256_LEN];
    memcpy(want, leaf, SHA256_LEN);
    for (unsigned h = 0; h < 20; h++) {
        merkle_root(leaf, 1, 0, h, got);
        assert_memory_equal(got, want, SHA256_LEN);
        merkle_pad(h, pad);
        sha256_pair(want, pad, want);
    }
}

static void test_shape(void **state)
{
    (void)state;
    struct merkle_shape s;
    assert_false(merkle_shape_of(0, 16384, &s));
    assert_false(merkle_shape_of(1, 16383, &s));
    assert_false(merkle_shape_of(1, 16384 * 3, &s));
    assert_false(merkle_shape_of((1ull << 44) + 1, 16384, &s));
    assert_true(merkle_shape_of(1ull << 44, 16384, &s));
    assert_int_equal(s.root_height, 30);
    assert_true(merkle_shape_of(1, 1 << 20, &s));
    assert_int_equal(s.n_leaves, 1);
    assert_int_equal(s.root_height, 0);
    assert_int_equal(merkle_piece_root_height(&s), 0);
    assert_true(merkle_shape_of((1 << 20) + 1, 1 << 20, &s));
    assert_int_equal(s.n_leaves, 65);
    assert_int_equal(s.n_pieces, 2);
    assert_int_equal(s.piece_height, 6);
    assert_int_equal(s.root_height, 7);
    assert_int_equal(merkle_piece_root_height(&s), 6);
    assert_int_equal(merkle_layer_n(&s, 6), 2);
    assert_int_equal(merkle_layer_n(&s, 7), 1);
}

static void test_tree_nodes(void **state)
{
    (void)state;
    static struct model t;
    static uint8_t leaves[N_LEAVES_MAX * SHA256_LEN];
    struct rng rng;
    rng_init(&rng, 2);
    for (uint32_t n = 1; n <= N_LEAVES_MAX; n += 1 + n / 7) {
        fill(&rng, leaves, n);
        make_model(&t, leaves, n);
        for (unsigned base = 0; base <= t.height; base++) {
            struct mem mem;
            struct merkle_tree tree;
            mem_init(&mem, MEM_NO_BUDGET, NULL);
            assert_int_equal(merkle_tree_init(&tree, &mem, model_node(&t, base, 0),
                                              div_ceil(n, 1u << base), base, t.height),
                             ERR_OK);
            for (unsigned h = base; h <= t.height; h++)
                for (uint32_t i = 0; i < t.width >> h; i++) {
                    uint8_t got[SHA256_LEN];
                    merkle_tree_node(&tree, h, i, got);
                    assert_memory_equal(got, model_node(&t, h, i), SHA256_LEN);
                }
            merkle_tree_clear(&tree);
            mem_check_empty(&mem);
        }
    }
}

/* Every request that is right gets an answer that proves itself; no bit of it may change. */
static void check_request(const struct merkle_request *q, const struct merkle_shape *s,
                          const struct merkle_tree *file, const struct merkle_tree *piece,
                          const struct model *t, struct rng *rng)
{
    static uint8_t answer[MERKLE_ANSWER_N_MAX][SHA256_LEN];
    struct err err = {0};
    uint8_t got[SHA256_LEN];
    unsigned height;
    uint64_t index;
    assert_int_equal(merkle_request_check(q, s, &err), ERR_OK);
    size_t n = merkle_answer(q, file, piece, answer);
    bool is_spread = q->base_layer < s->piece_height && file->base_height == s->piece_height &&
                     q->length > 1u << (s->piece_height - q->base_layer);
    if (is_spread) { /* leaves of several pieces: only one piece's tree was given */
        assert_int_equal(n, 0);
        return;
    }
    assert_int_equal(n, q->length + merkle_request_n_uncles(q));
    assert_true(merkle_proof_fold(q, answer[0], n, got, &height, &index));
    assert_memory_equal(got, model_node(t, height, (uint32_t)index), SHA256_LEN);
    bool is_whole = height == s->root_height;
    assert_int_equal(merkle_proof_is_good(q, s, answer[0], n), is_whole);
    if (q->proof_layers == merkle_proof_layers_to_root(s, q->base_layer))
        assert_true(is_whole);
    answer[rng_below(rng, (uint32_t)n)][rng_below(rng, 32)] ^= (uint8_t)(1u << rng_below(rng, 8));
    assert_false(merkle_proof_is_good(q, s, answer[0], n));
    assert_false(merkle_proof_fold(q, answer[0], n - 1, got, &height, &index));
}

static void check_piece_requests(const struct model *t, const struct merkle_shape *s,
                                 const struct merkle_tree *file, uint32_t base, struct rng *rng)
{
    struct merkle_request q = {.base_layer = base};
    memcpy(q.root, t->nodes[1], SHA256_LEN);
    uint32_t width = t->width >> base;
    for (q.length = 2; q.length <= width; q.length *= 2)
        for (q.index = 0; q.index < width; q.index += q.length)
            for (q.proof_layers = 0; q.proof_layers <= merkle_proof_layers_to_root(s, base);
                 q.proof_layers++) {
                struct mem mem;
                struct merkle_tree piece = {0};
                mem_init(&mem, MEM_NO_BUDGET, NULL);
                bool is_low = base < file->base_height;
                uint32_t n_per = 1u << s->piece_height;
                uint32_t first = is_low ? (q.index << base) / n_per * n_per : 0;
                if (is_low)
                    assert_int_equal(merkle_tree_init(&piece, &mem, t->nodes[t->width + first],
                                                      n_per, 0, s->piece_height),
                                     ERR_OK);
                check_request(&q, s, file, is_low ? &piece : NULL, t, rng);
                merkle_tree_clear(&piece);
                mem_check_empty(&mem);
            }
}

static void test_requests(void **state)
{
    (void)state;
    static struct model t;
    static uint8_t leaves[N_LEAVES_MAX * SHA256_LEN];
    static const uint32_t n_leaves[] = {2, 3, 5, 8, 13, 33, 64, 100};
    struct rng rng;
    rng_init(&rng, 3);
    for (size_t k = 0; k < COUNT_OF(n_leaves); k++)
        for (uint32_t piece_len = 16384; piece_len <= 16384 << 3; piece_len *= 2) {
            struct merkle_shape s;
            struct merkle_tree file;
            struct mem mem;
            mem_init(&mem, MEM_NO_BUDGET, NULL);
            fill(&rng, leaves, n_leaves[k]);
            make_model(&t, leaves, n_leaves[k]);
            assert_true(merkle_shape_of((uint64_t)n_leaves[k] * 16384 - 5, piece_len, &s));
            unsigned base = s.n_pieces > 1 ? s.piece_height : 0;
            assert_int_equal(merkle_tree_init(&file, &mem, model_node(&t, base, 0),
                                              merkle_layer_n(&s, base), base, s.root_height),
                             ERR_OK);
            check_piece_requests(&t, &s, &file, 0, &rng);
            check_piece_requests(&t, &s, &file, base, &rng);
            merkle_tree_clear(&file);
            mem_check_empty(&mem);
        }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t base, index, length, proof;
        enum err_code code;
    } rows[] = {
        {0, 0, 2, 0, ERR_OK},
        {0, 0, 512, 1, ERR_OK},
        {0, 512, 512, 9, ERR_OK},
        {0, 0, 0, 0, ERR_MALFORMED},
        {0, 0, 1, 0, ERR_MALFORMED}, /* BEP 52: length at least two */
        {0, 0, 3, 0, ERR_MALFORMED},
        {0, 1, 2, 0, ERR_MALFORMED}, /* index a multiple of length */
        {0, 0, 1024, 0, ERR_LIMIT},
        {0, 0, 0x80000000, 0, ERR_LIMIT},
        {0, 1024, 2, 0, ERR_MALFORMED}, /* outside */
        {0, 0xfffffffe, 2, 0, ERR_MALFORMED},
        {9, 0, 2, 0, ERR_OK},
        {9, 2, 2, 0, ERR_MALFORMED},
        {10, 0, 2, 0, ERR_MALFORMED}, /* the root is no layer to ask for */
        {0xffffffff, 0, 2, 0, ERR_MALFORMED},
        {0, 0, 2, 10, ERR_MALFORMED}, /* the root has no sibling */
        {0, 0, 2, 0xffffffff, ERR_MALFORMED},
    };
    struct merkle_shape s;
    assert_true(merkle_shape_of(1000 * 16384, 65536, &s));
    assert_int_equal(s.root_height, 10);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct merkle_request q = {.base_layer = rows[i].base,
                                   .index = rows[i].index,
                                   .length = rows[i].length,
                                   .proof_layers = rows[i].proof};
        struct err err = {0};
        if (merkle_request_check(&q, &s, &err) != rows[i].code)
            fail_msg("row %zu: %s", i, err.what);
    }
}

static void test_layer(void **state)
{
    (void)state;
    struct merkle_shape s;
    static uint8_t layer[5 * SHA256_LEN], root[SHA256_LEN];
    struct rng rng;
    rng_init(&rng, 5);
    fill(&rng, layer, 5);
    assert_true(merkle_shape_of(5 * 65536 - 1, 65536, &s));
    merkle_root(layer, 5, s.piece_height, s.root_height, root);
    assert_true(merkle_layer_is_good(&s, layer, root));
    layer[70] ^= 1;
    assert_false(merkle_layer_is_good(&s, layer, root));
    assert_true(merkle_shape_of(65536, 65536, &s));
    assert_false(merkle_layer_is_good(&s, layer, root)); /* one piece has no layer */
}

static void test_no_memory(void **state)
{
    (void)state;
    struct mem mem;
    struct merkle_tree t;
    uint8_t leaf[SHA256_LEN] = {0};
    mem_init(&mem, 10, NULL);
    assert_int_equal(merkle_tree_init(&t, &mem, leaf, 1, 0, 0), ERR_NO_MEMORY);
    merkle_tree_clear(&t);
    mem_check_empty(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_height),     cmocka_unit_test(test_roots),
        cmocka_unit_test(test_wide),       cmocka_unit_test(test_shape),
        cmocka_unit_test(test_tree_nodes), cmocka_unit_test(test_requests),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_layer),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
