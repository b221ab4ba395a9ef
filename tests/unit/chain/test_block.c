#include "../../test_util.h"
#include "base/rng.h"
#include "chain/block.h"
#include "crypto/sha256d.h"

#define ARENA_LIMIT (64u << 20)
#define RAW_CAP     (5u << 20)
#define NOT_FINAL   0xfffffffeu

/* A block put together from raw transactions, its merkle root set, then parsed again. */
struct world {
    struct mem mem;
    struct arena arena, scratch;
    struct block b;
    struct reject r;
    uint8_t raw[RAW_CAP];
    struct writer w;
    uint32_t n_txs;
};

static void start(struct world *w)
{
    arena_clear(&w->arena);
    arena_clear(&w->scratch);
    struct block_header h = {.version = 4, .time = 1000, .bits = 0x207fffff};
    w->w = writer_init(w->raw, sizeof w->raw);
    w->n_txs = 0;
    block_header_write(&w->w, &h);
    writer_fill(&w->w, 0, 3); /* the count, always in three bytes: finish() shortens it */
}

/* What a transaction is made of; zero for what does not matter. */
struct spec {
    struct bytes script_sig, out_script, out_script2, nonce;
    uint32_t prev_n, lock_time, sequence;
    bool has_witness;
};

static void add_tx(struct world *w, bool is_coinbase, const struct spec *s)
{
    struct writer *o = &w->w;
    uint8_t txid = (uint8_t)(w->n_txs + 1);
    writer_u32le(o, 2);
    if (s->has_witness)
        writer_put(o, BYTES_LIT("\x00\x01"));
    writer_u8(o, 1);
    writer_fill(o, is_coinbase ? 0 : txid, 32);
    writer_u32le(o, is_coinbase ? UINT32_MAX : s->prev_n);
    writer_compact_size(o, s->script_sig.len);
    writer_put(o, s->script_sig);
    writer_u32le(o, s->sequence);
    writer_u8(o, s->out_script2.data ? 2 : 1);
    tx_out_write(o, &(struct tx_out){.value_sat = 5, .script = s->out_script});
    if (s->out_script2.data)
        tx_out_write(o, &(struct tx_out){.value_sat = 0, .script = s->out_script2});
    if (s->has_witness) {
        writer_u8(o, 1);
        writer_compact_size(o, s->nonce.len);
        writer_put(o, s->nonce);
    }
    writer_u32le(o, s->lock_time);
    w->n_txs++;
}

#define HEIGHT_5 BYTES_LIT("\x55\x00")

static void add_coinbase(struct world *w)
{
    add_tx(w, true, &(struct spec){.script_sig = HEIGHT_5, .sequence = UINT32_MAX});
}

/* The bytes of the block so far, its count filled in; *out_len of them. */
static void set_count(struct world *w)
{
    struct writer count = writer_init(w->raw + BLOCK_HEADER_LEN, 3);
    size_t body_len = w->w.pos - BLOCK_HEADER_LEN - 3;
    writer_compact_size(&count, w->n_txs);
    memmove(w->raw + BLOCK_HEADER_LEN + count.pos, w->raw + BLOCK_HEADER_LEN + 3, body_len);
    w->w.pos = BLOCK_HEADER_LEN + count.pos + body_len;
}

static void parse(struct world *w)
{
    struct err err;
    assert_true(writer_ok(&w->w));
    assert_int_equal(block_read(writer_bytes(&w->w), &w->arena, &w->b, &err), ERR_OK);
}

static void set_root(struct world *w)
{
    struct hash256 *ids = malloc(w->b.n_txs * sizeof *ids + 1);
    assert_non_null(ids);
    for (uint32_t i = 0; i < w->b.n_txs; i++)
        ids[i] = w->b.txs[i].txid;
    block_merkle_root(ids, w->b.n_txs, &w->b.header.merkle_root, NULL);
    memcpy(w->raw + 36, w->b.header.merkle_root.b, 32);
    free(ids);
}

static void finish(struct world *w)
{
    set_count(w);
    parse(w);
    set_root(w);
}

static void assert_reason(struct world *w, enum verdict v, const char *want, bool is_mutated)
{
    if (!want) {
        assert_int_equal(v, VERDICT_VALID);
        return;
    }
    assert_int_equal(v, VERDICT_INVALID);
    assert_string_equal(w->r.reason, want);
    assert_int_equal(w->r.is_mutated, is_mutated);
}

static void assert_check(struct world *w, const char *want, bool is_mutated)
{
    assert_reason(w, block_check(&w->b, &w->scratch, &w->r), want, is_mutated);
}

static void assert_context(struct world *w, uint32_t height, uint32_t mtp, const char *want,
                           bool is_mutated)
{
    const struct chain_params *p = chain_params_find("regtest");
    assert_check(w, NULL, false);
    assert_reason(w, block_check_context(&w->b, p, height, mtp, &w->scratch, &w->r), want,
                  is_mutated);
}

/* --- parsing --------------------------------------------------------------------------------- */

static void test_genesis(void **state)
{
    struct world *w = *state;
    static const char *const names[] = {"main", "testnet4", "signet", "regtest"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct chain_params *p = chain_params_find(names[i]);
        struct err err;
        start(w);
        assert_int_equal(block_read(p->genesis_raw, &w->arena, &w->b, &err), ERR_OK);
        assert_true(hash256_equal(&w->b.hash, &p->genesis));
        assert_int_equal(w->b.n_txs, 1);
        assert_int_equal(w->b.stripped_len, p->genesis_raw.len);
        assert_true(hash256_equal(&w->b.txs[0].txid, &w->b.header.merkle_root));
        assert_check(w, NULL, false);
        struct bytes raw = p->genesis_raw;
        for (size_t len = 0; len < raw.len; len++) {
            uint8_t *copy = test_exact_copy(bytes_of(raw.data, len));
            assert_int_equal(block_read(bytes_of(copy, len), &w->arena, &w->b, &err),
                             ERR_TRUNCATED);
            assert_null(w->b.txs);
            free(copy);
        }
    }
}

static void test_read_refusals(void **state)
{
    struct world *w = *state;
    struct err err;
    start(w);
    add_coinbase(w);
    set_count(w);
    writer_u8(&w->w, 0);
    assert_int_equal(block_read(writer_bytes(&w->w), &w->arena, &w->b, &err), ERR_MALFORMED);
    assert_string_equal(err.what, "bytes are left over");
    start(w);
    w->w.pos = BLOCK_HEADER_LEN;
    writer_put(&w->w, BYTES_LIT("\xfe\x00\x00\x00\x02"));
    writer_fill(&w->w, 0, 1000);
    arena_clear(&w->arena);
    w->mem.peak_len = w->mem.used_len;
    size_t before = w->mem.used_len;
    assert_int_equal(block_read(writer_bytes(&w->w), &w->arena, &w->b, &err), ERR_TRUNCATED);
    assert_int_equal(w->mem.peak_len, before); /* nothing was asked for */
}

static bool read_once(struct mem *mem, void *ctx)
{
    const struct world *w = ctx;
    struct arena a;
    struct block b;
    struct err err = {0};
    arena_init(&a, mem, ARENA_LIMIT);
    enum err_code code = block_read(writer_bytes(&w->w), &a, &b, &err);
    assert_true(code == ERR_OK || (code == ERR_NO_MEMORY && err.code == ERR_NO_MEMORY));
    arena_clear(&a);
    return code == ERR_OK;
}

static bool check_once(struct mem *mem, void *ctx)
{
    const struct world *w = ctx;
    struct arena a;
    struct reject r;
    arena_init(&a, mem, ARENA_LIMIT);
    enum verdict v = block_check(&w->b, &a, &r);
    if (v == VERDICT_VALID)
        v = block_check_context(&w->b, chain_params_find("regtest"), 5, 0, &a, &r);
    assert_true(v == VERDICT_VALID || (v == VERDICT_UNDECIDED && r.err.code == ERR_NO_MEMORY));
    arena_clear(&a);
    return v == VERDICT_VALID;
}

static void test_no_memory(void **state)
{
    struct world *w = *state;
    start(w);
    add_coinbase(w);
    for (int i = 0; i < 100; i++)
        add_tx(w, false, &(struct spec){.script_sig = HEIGHT_5});
    finish(w);
    assert_true(test_fail_sweep(read_once, w) > 0);
    assert_true(test_fail_sweep(check_once, w) > 0);
}

/* --- merkle trees ---------------------------------------------------------------------------- */

static struct hash256 slow_root(const struct hash256 *ids, size_t n, size_t n_padded)
{
    struct hash256 pair[2], out;
    if (n_padded == 1)
        return ids[0];
    size_t half = n_padded / 2;
    pair[0] = slow_root(ids, n < half ? n : half, half);
    pair[1] = n > half ? slow_root(ids + half, n - half, half) : pair[0];
    sha256d(bytes_of(pair, sizeof pair), out.b);
    return out;
}

static void test_merkle_root(void **state)
{
    (void)state;
    enum { N = 70 };
    struct rng rng;
    struct hash256 ids[N], copy[N], got, zero = {{0}};
    rng_init(&rng, 2012);
    rng_fill(&rng, ids, sizeof ids);
    block_merkle_root(NULL, 0, &got, NULL);
    assert_true(hash256_equal(&got, &zero));
    for (size_t n = 1; n <= N; n++) {
        bool is_mutated = true;
        size_t n_padded = 1;
        while (n_padded < n)
            n_padded *= 2;
        struct hash256 want = slow_root(ids, n, n_padded);
        memcpy(copy, ids, sizeof ids);
        block_merkle_root(copy, n, &got, &is_mutated);
        assert_true(hash256_equal(&got, &want));
        assert_false(is_mutated);
    }
}

/* CVE-2012-2459: the last 2^k ids of a tree can be said twice without a change of the root. */
static void test_merkle_mutation(void **state)
{
    (void)state;
    struct hash256 ids[64], copy[64], root, again;
    struct rng rng;
    rng_init(&rng, 2459);
    rng_fill(&rng, ids, sizeof ids);
    for (size_t n = 1; n <= 32; n++) {
        for (size_t width = 1; width <= n; width *= 2) {
            bool is_mutated;
            if (n % width || n / width % 2 == 0 || n == width)
                continue;
            memcpy(copy, ids, sizeof ids);
            block_merkle_root(copy, n, &root, NULL);
            memcpy(copy, ids, sizeof ids);
            memcpy(copy + n, copy + n - width, width * sizeof *copy);
            block_merkle_root(copy, n + width, &again, &is_mutated);
            assert_true(hash256_equal(&root, &again));
            assert_true(is_mutated);
        }
    }
}

/* --- CheckBlock ------------------------------------------------------------------------------ */

static void test_merkle_rules(void **state)
{
    struct world *w = *state;
    start(w);
    add_coinbase(w);
    finish(w);
    assert_check(w, NULL, false);
    w->b.header.merkle_root.b[0] ^= 1;
    assert_check(w, "bad-txnmrklroot", true);
    start(w);
    add_coinbase(w);
    add_tx(w, false, &(struct spec){.script_sig = HEIGHT_5});
    add_tx(w, false, &(struct spec){.script_sig = HEIGHT_5});
    finish(w);
    assert_check(w, NULL, false);
    w->b.txs[1].txid = w->b.txs[2].txid; /* as if said twice: 1 2 2 without a fourth */
    set_root(w);
    assert_check(w, NULL, false); /* not a pair of neighbours at the same even place */
    w->b.txs[0].txid = w->b.txs[1].txid;
    set_root(w);
    assert_check(w, "bad-txns-duplicate", true);
}

static void test_coinbase_rules(void **state)
{
    struct world *w = *state;
    start(w);
    finish(w);
    assert_check(w, "bad-blk-length", false);
    start(w);
    add_tx(w, false, &(struct spec){.script_sig = HEIGHT_5});
    finish(w);
    assert_check(w, "bad-cb-missing", false);
    start(w);
    add_coinbase(w);
    add_tx(w, false, &(struct spec){.script_sig = HEIGHT_5});
    add_tx(w, true, &(struct spec){.script_sig = HEIGHT_5});
    finish(w);
    assert_check(w, "bad-cb-multiple", false);
    assert_int_equal(w->r.tx_index, 2);
    start(w);
    add_tx(w, true, &(struct spec){.script_sig = BYTES_LIT("\x55")});
    finish(w);
    assert_check(w, "bad-cb-length", false);
    assert_int_equal(w->r.tx_index, 0);
    start(w);
    add_coinbase(w);
    add_tx(w, false, &(struct spec){0});
    finish(w);
    w->b.txs[1].n_out = 0;
    assert_check(w, "bad-txns-vout-empty", false);
    assert_int_equal(w->r.tx_index, 1);
}

/* One output script of n bytes; with what, its sigops. */
static void one_script(struct world *w, uint8_t op, size_t n)
{
    uint8_t *script = malloc(n);
    assert_non_null(script);
    memset(script, op, n);
    start(w);
    add_tx(w, true,
           &(struct spec){
               .script_sig = HEIGHT_5, .out_script = bytes_of(script, n), .sequence = UINT32_MAX});
    finish(w);
    free(script);
}

static void test_size_and_sigops(void **state)
{
    struct world *w = *state;
    one_script(w, 0x51, 999000);
    size_t around = w->b.stripped_len - 999000; /* all but the script */
    one_script(w, 0x51, 1000000 - around);
    assert_int_equal(w->b.stripped_len, 1000000);
    assert_check(w, NULL, false);
    assert_context(w, 5, 0, NULL, false);
    one_script(w, 0x51, 1000000 - around + 1);
    assert_check(w, "bad-blk-length", false);
    one_script(w, 0xac, 20000); /* OP_CHECKSIG */
    assert_check(w, NULL, false);
    one_script(w, 0xac, 20001);
    assert_check(w, "bad-blk-sigops", false);
    assert_string_equal(w->r.detail, "out-of-bounds SigOpCount");
    one_script(w, 0xae, 1001); /* OP_CHECKMULTISIG counts as twenty */
    assert_check(w, "bad-blk-sigops", false);
}

/* --- ContextualCheckBlock -------------------------------------------------------------------- */

static void test_height_in_coinbase(void **state)
{
    struct world *w = *state;
    static const struct {
        uint32_t height;
        const char *push_hex;
    } rows[] = {
        {1, "51"},           {16, "60"},           {17, "0111"},          {127, "017f"},
        {128, "028000"},     {255, "02ff00"},      {256, "020001"},       {32767, "02ff7f"},
        {32768, "03008000"}, {227931, "035b7a03"}, {8388607, "03ffff7f"}, {8388608, "0400008000"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t push[8];
        struct bytes s = test_hex(rows[i].push_hex, push, sizeof push - 1);
        push[s.len] = 0x99;
        start(w);
        add_tx(w, true,
               &(struct spec){.script_sig = bytes_of(push, s.len + 1), .sequence = UINT32_MAX});
        finish(w);
        assert_context(w, rows[i].height, 0, NULL, false);
        assert_context(w, rows[i].height + 1, 0, "bad-cb-height", false);
        assert_context(w, rows[i].height - 1, 0, rows[i].height == 1 ? NULL : "bad-cb-height",
                       false); /* height 0 is before BIP 34 */
    }
    start(w); /* not the shortest push */
    add_tx(w, true, &(struct spec){.script_sig = BYTES_LIT("\x01\x05"), .sequence = UINT32_MAX});
    finish(w);
    assert_context(w, 5, 0, "bad-cb-height", false);
}

static void test_finality(void **state)
{
    struct world *w = *state;
    static const struct {
        uint32_t lock_time, sequence;
        bool is_final; /* at height 5, median time past 600,000,000 */
    } rows[] = {
        {0, NOT_FINAL, true},          {4, NOT_FINAL, true},
        {5, NOT_FINAL, false},         {5, UINT32_MAX, true},
        {499999999, NOT_FINAL, false}, {500000000, NOT_FINAL, true},
        {599999999, NOT_FINAL, true},  {600000000, NOT_FINAL, false},
        {600000000, UINT32_MAX, true}, {UINT32_MAX, NOT_FINAL, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        start(w);
        add_coinbase(w);
        add_tx(w, false,
               &(struct spec){.lock_time = rows[i].lock_time, .sequence = rows[i].sequence});
        finish(w);
        assert_context(w, 5, 600000000, rows[i].is_final ? NULL : "bad-txns-nonfinal", false);
    }
    /* before BIP 113 the block's own time counts */
    struct chain_params p = *chain_params_find("regtest");
    p.active_height[DEPLOY_CSV] = 6;
    start(w);
    add_coinbase(w);
    add_tx(w, false, &(struct spec){.lock_time = 600000000, .sequence = NOT_FINAL});
    finish(w);
    w->b.header.time = 600000001;
    assert_reason(w, block_check_context(&w->b, &p, 5, 7, &w->scratch, &w->r), NULL, false);
    w->b.header.time = 600000000;
    assert_reason(w, block_check_context(&w->b, &p, 5, UINT32_MAX, &w->scratch, &w->r),
                  "bad-txns-nonfinal", false);
}

/* Coinbase with nonce and commitment, and a transaction with witness. */
static void witness_block(struct world *w, struct bytes nonce, const uint8_t commitment[32],
                          bool has_commitment)
{
    uint8_t script[40] = {0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed}, old[38];
    memcpy(script + 6, commitment, 32);
    memcpy(old, script, sizeof old);
    old[20] ^= 1; /* an earlier output with another one: the last counts */
    start(w);
    add_tx(w, true,
           &(struct spec){.script_sig = HEIGHT_5,
                          .out_script = bytes_of(old, sizeof old),
                          .out_script2 =
                              has_commitment ? bytes_of(script, sizeof script) : BYTES_LIT("\x51"),
                          .sequence = UINT32_MAX,
                          .nonce = nonce,
                          .has_witness = nonce.data});
    if (!has_commitment)
        w->raw[BLOCK_HEADER_LEN + 3 + (nonce.data ? 60 : 58)] ^= 1; /* no prefix there either */
    add_tx(w, false, &(struct spec){.has_witness = true, .nonce = BYTES_LIT("\x07")});
    finish(w);
}

static void commit(const struct world *w, const uint8_t nonce[32], uint8_t out[32])
{
    struct hash256 pair[2] = {{{0}}, w->b.txs[1].wtxid}, root[2];
    sha256d(bytes_of(pair, sizeof pair), root[0].b);
    memcpy(root[1].b, nonce, 32);
    sha256d(bytes_of(root, sizeof root), out);
}

static void test_witness_commitment(void **state)
{
    struct world *w = *state;
    static const uint8_t nonce[33] = {1, 2, 3};
    uint8_t commitment[32] = {0};
    struct hash256 found;
    witness_block(w, bytes_of(nonce, 32), commitment, true);
    assert_context(w, 5, 0, "bad-witness-merkle-match", true);
    commit(w, nonce, commitment);
    witness_block(w, bytes_of(nonce, 32), commitment, true);
    assert_context(w, 5, 0, NULL, false);
    assert_int_equal(block_witness_commitment(&w->b, &found), 1);
    assert_memory_equal(found.b, commitment, 32);
    assert_reason(w, block_check_mutation(&w->b, true, &w->scratch, &w->r), NULL, false);
    witness_block(w, bytes_of(nonce, 31), commitment, true);
    assert_context(w, 5, 0, "bad-witness-nonce-size", true);
    witness_block(w, bytes_of(nonce, 33), commitment, true);
    assert_context(w, 5, 0, "bad-witness-nonce-size", true);
    witness_block(w, (struct bytes){0}, commitment, true);
    assert_context(w, 5, 0, "bad-witness-nonce-size", true);
    struct chain_params p = *chain_params_find("regtest");
    p.active_height[DEPLOY_SEGWIT] = 6;
    assert_reason(w, block_check_context(&w->b, &p, 5, 0, &w->scratch, &w->r), "unexpected-witness",
                  true);
    start(w);
    add_coinbase(w);
    add_tx(w, false, &(struct spec){.has_witness = true, .nonce = BYTES_LIT("\x07")});
    finish(w);
    assert_int_equal(block_witness_commitment(&w->b, NULL), -1);
    assert_context(w, 5, 0, "unexpected-witness", true);
    assert_int_equal(w->r.tx_index, 1);
}

static void test_weight(void **state)
{
    struct world *w = *state;
    static uint8_t big[3000000];
    for (size_t extra = 0; extra < 2; extra++) {
        uint8_t nonce[32] = {0}, commitment[32] = {0};
        size_t len = 2000000;
        for (int round = 0; round < 3; round++) { /* weight to the limit, then the commitment */
            uint8_t script[38] = {0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed};
            memcpy(script + 6, commitment, 32);
            start(w);
            add_tx(w, true,
                   &(struct spec){.script_sig = HEIGHT_5,
                                  .out_script = bytes_of(script, 38),
                                  .sequence = UINT32_MAX,
                                  .nonce = bytes_of(nonce, 32),
                                  .has_witness = true});
            add_tx(w, false,
                   &(struct spec){.out_script = bytes_of(big, 400000),
                                  .has_witness = true,
                                  .nonce = bytes_of(big, len)});
            finish(w);
            if (round == 0)
                len += BLOCK_WEIGHT_MAX - block_weight(&w->b) + extra;
            commit(w, nonce, commitment);
        }
        assert_int_equal(block_weight(&w->b), BLOCK_WEIGHT_MAX + extra);
        assert_context(w, 5, 0, extra ? "bad-blk-weight" : NULL, false);
    }
}

/* Without a coinbase, a transaction of 64 bytes may be two hashes: what it came as is not known. */
static void test_sixty_four_bytes(void **state)
{
    struct world *w = *state;
    start(w);
    add_tx(w, false, &(struct spec){.script_sig = BYTES_LIT("\x51\x51\x51\x51")});
    finish(w);
    assert_int_equal(w->b.txs[0].stripped_len, 64);
    assert_reason(w, block_check_mutation(&w->b, true, &w->scratch, &w->r), "bad-txnmrklroot",
                  true);
    start(w);
    add_tx(w, false, &(struct spec){.script_sig = BYTES_LIT("\x51\x51\x51")});
    finish(w);
    assert_reason(w, block_check_mutation(&w->b, true, &w->scratch, &w->r), NULL, false);
    start(w);
    add_coinbase(w);
    add_tx(w, false, &(struct spec){.script_sig = BYTES_LIT("\x51\x51\x51\x51")});
    finish(w);
    assert_reason(w, block_check_mutation(&w->b, true, &w->scratch, &w->r), NULL, false);
    w->b.header.merkle_root.b[3] ^= 1;
    assert_reason(w, block_check_mutation(&w->b, true, &w->scratch, &w->r), "bad-txnmrklroot",
                  true);
}

static void test_subsidy(void **state)
{
    (void)state;
    const struct chain_params *p = chain_params_find("main");
    int64_t sum = 0;
    assert_int_equal(block_subsidy(p, 0), 5000000000);
    assert_int_equal(block_subsidy(p, 209999), 5000000000);
    assert_int_equal(block_subsidy(p, 210000), 2500000000);
    assert_int_equal(block_subsidy(p, 840000), 312500000);
    assert_int_equal(block_subsidy(p, 33u * 210000 - 1), 1);
    assert_int_equal(block_subsidy(p, 33u * 210000), 0);
    assert_int_equal(block_subsidy(p, UINT32_MAX), 0);
    for (uint32_t height = 0; height < 14000000; height += 1000)
        sum += 1000 * block_subsidy(p, height);
    assert_int_equal(sum, 2099999997690000); /* Bitcoin Core src/test/validation_tests.cpp */
    assert_int_equal(block_subsidy(chain_params_find("regtest"), 150), 2500000000);
    assert_int_equal(block_subsidy(chain_params_find("regtest"), UINT32_MAX), 0);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    *state = w;
    if (!w)
        return -1;
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    arena_init(&w->arena, &w->mem, ARENA_LIMIT);
    arena_init(&w->scratch, &w->mem, ARENA_LIMIT);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    arena_clear(&w->arena);
    arena_clear(&w->scratch);
    mem_check_empty(&w->mem);
    free(w);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genesis),
        cmocka_unit_test(test_read_refusals),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_merkle_root),
        cmocka_unit_test(test_merkle_mutation),
        cmocka_unit_test(test_merkle_rules),
        cmocka_unit_test(test_coinbase_rules),
        cmocka_unit_test(test_size_and_sigops),
        cmocka_unit_test(test_height_in_coinbase),
        cmocka_unit_test(test_finality),
        cmocka_unit_test(test_witness_commitment),
        cmocka_unit_test(test_weight),
        cmocka_unit_test(test_sixty_four_bytes),
        cmocka_unit_test(test_subsidy),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
