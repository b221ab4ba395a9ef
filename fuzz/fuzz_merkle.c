/* merkle: a request from a stranger is refused or answered within bounds, an answer proves itself, and
 * nothing a stranger sends as proof does anything but be right or wrong. */
#include "torrent/merkle.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define N_LEAVES_MAX 200u

static void check_answer(const struct merkle_request *q, const struct merkle_shape *s,
                         const struct merkle_tree *file, const uint8_t *leaves, struct mem *mem)
{
    static uint8_t answer[MERKLE_ANSWER_N_MAX][SHA256_LEN];
    struct merkle_tree piece = {0};
    uint8_t zeros[SHA256_LEN * 8] = {0};
    bool is_low = q->base_layer < file->base_height;
    if (is_low) {
        uint32_t n_per = 1u << s->piece_height;
        uint64_t first = ((uint64_t)q->index << q->base_layer) / n_per * n_per;
        uint64_t n = first < s->n_leaves ? s->n_leaves - first : 0;
        assert(merkle_tree_init(&piece, mem, n ? leaves + first * SHA256_LEN : zeros,
                                n == 0      ? 1
                                : n < n_per ? n
                                            : n_per,
                                0, s->piece_height) == ERR_OK);
    }
    size_t n = merkle_answer(q, file, is_low ? &piece : NULL, answer);
    assert(n == 0 || n == q->length + merkle_request_n_uncles(q));
    if (n && q->proof_layers == merkle_proof_layers_to_root(s, q->base_layer))
        assert(merkle_proof_is_good(q, s, answer[0], n));
    merkle_tree_clear(&piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t leaves[N_LEAVES_MAX * SHA256_LEN];
    struct reader r = reader_init(bytes_of(data, len));
    struct merkle_request q = {0};
    struct merkle_shape s;
    struct merkle_tree file;
    struct mem mem;
    struct err err = {0};
    uint32_t n_leaves = 1 + reader_u8(&r) % N_LEAVES_MAX;
    uint32_t piece_len = MERKLE_BLOCK_LEN << (reader_u8(&r) % 6);
    q.base_layer = reader_u32be(&r);
    q.index = reader_u32be(&r);
    q.length = reader_u32be(&r);
    q.proof_layers = reader_u32be(&r);
    for (uint32_t i = 0; i < n_leaves * SHA256_LEN; i++)
        leaves[i] = (uint8_t)(i * 37 + i / 256);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    assert(merkle_shape_of((uint64_t)n_leaves * MERKLE_BLOCK_LEN - 3, piece_len, &s));
    merkle_root(leaves, n_leaves, 0, s.root_height, q.root);
    if (merkle_request_check(&q, &s, &err) == ERR_OK) {
        unsigned base = s.n_pieces > 1 ? s.piece_height : 0;
        static uint8_t layer[N_LEAVES_MAX * SHA256_LEN];
        for (uint64_t i = 0; i < merkle_layer_n(&s, base); i++) {
            uint64_t first = i << base, left = n_leaves - first, n = 1ull << base;
            merkle_root(leaves + first * SHA256_LEN, left < n ? left : n, 0, base,
                        layer + i * SHA256_LEN);
        }
        assert(merkle_tree_init(&file, &mem, layer, merkle_layer_n(&s, base), base,
                                s.root_height) == ERR_OK);
        check_answer(&q, &s, &file, leaves, &mem);
        struct bytes proof = reader_rest(&r);
        merkle_proof_is_good(&q, &s, proof.data, proof.len / SHA256_LEN);
        merkle_tree_clear(&file);
    }
    mem_check_empty(&mem);
    return 0;
}
