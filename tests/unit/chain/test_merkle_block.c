#include "../../test_util.h"
#include "base/rng.h"
#include "chain/block.h"
#include "chain/merkle_block.h"

#define N_TXS_MAX 40u
#define RAW_MAX   4096u

/* --- an obvious writer: BIP 37's rules over all of a block's ids ----------------------------------- */

struct tree {
    struct hash256 ids[N_TXS_MAX];
    bool is_match[N_TXS_MAX];
    uint32_t n_txs;
    struct hash256 hashes[2 * N_TXS_MAX];
    uint8_t flags[N_TXS_MAX];
    uint32_t n_hashes, n_bits;
};

/* The leaves below a node. */
static uint32_t leaves_end(const struct tree *t, unsigned height, uint32_t index)
{
    uint32_t end = (index + 1) << height;
    return end < t->n_txs ? end : t->n_txs;
}

/* The hash of a node: the root of its leaves' tree, with the last one doubled up to the height. */
static struct hash256 node_hash(const struct tree *t, unsigned height, uint32_t index)
{
    struct hash256 ids[2 * N_TXS_MAX], out;
    uint32_t from = index << height, n = leaves_end(t, height, index) - from;
    memcpy(ids, t->ids + from, n * sizeof *ids);
    for (unsigned h = 0; h < height; h++) {
        ids[n] = ids[n - 1];
        n = (n + 1) / 2;
        for (uint32_t i = 0; i < n; i++)
            block_merkle_root((struct hash256[]){ids[2 * i], ids[2 * i + 1]}, 2, &ids[i], NULL);
    }
    out = ids[0];
    return out;
}

static void write_node(struct tree *t, unsigned height, uint32_t index)
{
    bool has_match = false;
    for (uint32_t i = index << height; i < leaves_end(t, height, index); i++)
        has_match |= t->is_match[i];
    t->flags[t->n_bits / 8] |= (uint8_t)(has_match << t->n_bits % 8);
    t->n_bits++;
    if (height == 0 || !has_match) {
        t->hashes[t->n_hashes++] = node_hash(t, height, index);
        return;
    }
    write_node(t, height - 1, 2 * index);
    if ((2 * index + 1) << (height - 1) < t->n_txs)
        write_node(t, height - 1, 2 * index + 1);
}

/* A block of n transactions, each of which matches with a chance of one in odds (0: none). */
static void make_tree(struct tree *t, struct rng *rng, uint32_t n, uint32_t odds)
{
    unsigned height = 0;
    *t = (struct tree){.n_txs = n};
    for (uint32_t i = 0; i < n; i++) {
        rng_fill(rng, t->ids[i].b, sizeof t->ids[i].b);
        t->is_match[i] = odds && rng_below(rng, odds) == 0;
    }
    while (1u << height < n)
        height++;
    write_node(t, height, 0);
}

static struct bytes write_message(const struct tree *t, uint8_t room[RAW_MAX])
{
    struct hash256 ids[N_TXS_MAX];
    struct block_header h = {.version = 1};
    struct writer w = writer_init(room, RAW_MAX);
    memcpy(ids, t->ids, sizeof ids);
    block_merkle_root(ids, t->n_txs, &h.merkle_root, NULL);
    block_header_write(&w, &h);
    writer_u32le(&w, t->n_txs);
    writer_compact_size(&w, t->n_hashes);
    writer_put(&w, bytes_of(t->hashes, t->n_hashes * sizeof t->hashes[0]));
    writer_compact_size(&w, (t->n_bits + 7) / 8);
    writer_put(&w, bytes_of(t->flags, (t->n_bits + 7) / 8));
    assert_true(writer_ok(&w));
    return writer_bytes(&w);
}

/* --- tests ----------------------------------------------------------------------------------- */

struct world {
    struct mem mem;
    struct arena arena;
    struct rng rng;
    struct tree tree;
    uint8_t raw[RAW_MAX];
    struct merkle_match *matches; /* what the last verify() gave */
    uint32_t n_matches;
    struct err err;
};

static void start(struct world *w)
{
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    arena_init(&w->arena, &w->mem, 1 << 20);
    rng_init(&w->rng, 37);
}

static void stop(struct world *w)
{
    arena_clear(&w->arena);
    mem_check_empty(&w->mem);
}

static struct bytes make_message(struct world *w, uint32_t n_txs, uint32_t odds)
{
    make_tree(&w->tree, &w->rng, n_txs, odds);
    return write_message(&w->tree, w->raw);
}

static enum err_code verify(struct world *w, struct bytes raw)
{
    static struct merkle_match none;
    struct reader r = reader_init(raw);
    struct merkle_block m;
    w->matches = &none;
    w->n_matches = 1;
    enum err_code e = merkle_block_read(&r, &m);
    if (!e)
        e = reader_end(&r);
    w->err = r.err;
    return e ? e : merkle_block_verify(&m, &w->arena, &w->matches, &w->n_matches, &w->err);
}

static void test_every_size(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    for (uint32_t n = 1; n <= N_TXS_MAX; n++) {
        for (uint32_t odds = 0; odds <= 4; odds++) {
            uint32_t next = 0;
            assert_int_equal(verify(&w, make_message(&w, n, odds)), ERR_OK);
            for (uint32_t i = 0; i < n; i++) {
                if (!w.tree.is_match[i])
                    continue;
                assert_true(next < w.n_matches);
                assert_int_equal(w.matches[next].index, i);
                assert_true(hash256_equal(&w.matches[next].txid, &w.tree.ids[i]));
                next++;
            }
            assert_int_equal(next, w.n_matches);
            arena_reset(&w.arena);
        }
    }
    stop(&w);
}

/* Each proper prefix is cut off, each changed byte refused or without effect on what is proven. */
static void test_cut_and_changed(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    struct bytes all = make_message(&w, 13, 3);
    for (size_t len = 0; len < all.len; len++) {
        uint8_t *copy = test_exact_copy(bytes_sub(all, 0, len));
        assert_int_equal(verify(&w, bytes_of(copy, len)), ERR_TRUNCATED);
        free(copy);
    }
    for (size_t i = 36; i < all.len - 1; i++) { /* the last bits only fill their byte */
        bool is_unused = i >= 68 && i < 80;     /* time, bits, nonce: not the tree's business */
        w.raw[i] ^= 1;
        assert_true((verify(&w, all) == ERR_OK) == is_unused);
        w.raw[i] ^= 1;
    }
    assert_int_equal(verify(&w, all), ERR_OK);
    stop(&w);
}

static const struct {
    const char *what; /* what is wrong */
    uint32_t n_txs, n_hashes, flags_len;
    uint8_t flags[2];
    enum err_code code;
    const char *reason;
} refused[] = {
    {"nothing", 0, 0, 0, {0}, ERR_MALFORMED, "merkle block without transactions"},
    {"too many transactions",
     MERKLE_BLOCK_N_TXS_MAX + 1,
     1,
     1,
     {0},
     ERR_LIMIT,
     "merkle block with more transactions than fit"},
    {"more hashes than leaves",
     1,
     2,
     1,
     {0},
     ERR_MALFORMED,
     "merkle block with more hashes than transactions"},
    {"no flags", 1, 1, 0, {0}, ERR_MALFORMED, "partial merkle tree has too few flag bits"},
    {"no hash", 2, 0, 1, {0}, ERR_MALFORMED, "partial merkle tree has too few hashes"},
    {"a hash too many", 2, 2, 1, {0}, ERR_MALFORMED, "partial merkle tree has hashes left over"},
    {"a byte of flags too many",
     2,
     1,
     2,
     {0},
     ERR_MALFORMED,
     "partial merkle tree has flags left over"},
    {"equal halves", 2, 2, 1, {7}, ERR_MALFORMED, "partial merkle tree has two equal halves"},
    {"another root",
     2,
     1,
     1,
     {0},
     ERR_MALFORMED,
     "partial merkle tree has another root than the header"},
    {"bits for the deepest tree, and no more",
     MERKLE_BLOCK_N_TXS_MAX,
     1,
     1,
     {0xff},
     ERR_MALFORMED,
     "partial merkle tree has too few flag bits"},
};

/* Hashes are all ones, the root zero. */
static void test_refused(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct writer out = writer_init(w.raw, sizeof w.raw);
        writer_fill(&out, 0, BLOCK_HEADER_LEN);
        writer_u32le(&out, refused[i].n_txs);
        writer_compact_size(&out, refused[i].n_hashes);
        writer_fill(&out, 0xff, refused[i].n_hashes * sizeof(struct hash256));
        writer_compact_size(&out, refused[i].flags_len);
        writer_put(&out, bytes_of(refused[i].flags, refused[i].flags_len));
        assert_int_equal(verify(&w, writer_bytes(&out)), refused[i].code);
        assert_string_equal(w.err.what, refused[i].reason);
        assert_int_equal(w.n_matches, 0);
    }
    stop(&w);
}

/* A promised count is weighed before anything is asked for. */
static void test_promises(void **state)
{
    (void)state;
    struct world w;
    uint8_t raw[BLOCK_HEADER_LEN + 4 + 5] = {0};
    start(&w);
    memcpy(raw + BLOCK_HEADER_LEN + 4, "\xfe\x00\x00\x00\x01", 5);
    assert_int_equal(verify(&w, bytes_of(raw, sizeof raw)), ERR_TRUNCATED);
    assert_int_equal(w.mem.n_allocs, 0);
    stop(&w);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    w.mem.fail_at = 1;
    assert_int_equal(verify(&w, make_message(&w, 7, 2)), ERR_NO_MEMORY);
    assert_null(w.matches);
    stop(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size), cmocka_unit_test(test_cut_and_changed),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_promises),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
