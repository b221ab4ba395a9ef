#include "../../test_util.h"
#include "base/rng.h"
#include "header_maker.h"
#include <time.h>

#define NOW_S (INT64_C(1) << 40) /* far enough: only the tests of the two-hour rule look */

struct world {
    struct mem mem;
    struct chain_params p;
    struct header_chain *c;
    uint32_t n_made_up; /* above 0: hashes are invented, below every target */
};

static void world_new(struct world *w, const char *network, size_t n_max)
{
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    w->n_made_up = 0;
    w->p = *chain_params_find(network);
    assert_int_equal(header_chain_new(&w->c, &w->mem, header_maker_seed, &w->p, n_max), ERR_OK);
}

static void world_free(struct world *w)
{
    header_chain_check(w->c);
    header_chain_free(w->c);
    mem_check_empty(&w->mem);
}

static enum verdict add_at(struct world *w, uint32_t parent, uint32_t time, uint32_t bits,
                           uint32_t nonce_from, uint32_t *out_node, struct reject *r)
{
    const struct hash256 *prev = header_hash(w->c, parent);
    struct hash256 hash = {{0}};
    struct block_header h = {.version = 4, .prev = *prev, .time = time, .bits = bits};
    if (w->n_made_up) {
        w->n_made_up++;
        memcpy(hash.b, &w->n_made_up, sizeof w->n_made_up);
    } else {
        h = make_header(&w->p, prev, time, bits, nonce_from, &hash);
    }
    return header_chain_add(w->c, &h, &hash, NOW_S, out_node, r);
}

static uint32_t must_add(struct world *w, uint32_t parent, uint32_t nonce_from)
{
    uint32_t node;
    struct reject r;
    assert_int_equal(
        add_at(w, parent, header_time(w->c, parent) + 1, 0x207fffff, nonce_from, &node, &r),
        VERDICT_VALID);
    return node;
}

static void assert_refused(struct world *w, const struct block_header *h, int64_t now_s,
                           const char *reason, bool is_transient)
{
    struct hash256 hash;
    struct reject r;
    uint32_t node;
    size_t n = header_chain_n(w->c);
    block_header_hash(h, &hash);
    assert_int_equal(header_chain_add(w->c, h, &hash, now_s, &node, &r), VERDICT_INVALID);
    assert_string_equal(r.reason, reason);
    assert_int_equal(r.is_transient, is_transient);
    assert_int_equal(header_chain_n(w->c), n);
}

/* --- the rules ------------------------------------------------------------------------------- */

static void test_genesis(void **state)
{
    (void)state;
    struct world w;
    struct block_header h;
    world_new(&w, "main", 10);
    assert_int_equal(header_chain_n(w.c), 1);
    assert_int_equal(header_chain_best(w.c), 0);
    assert_int_equal(header_height(w.c, 0), 0);
    assert_int_equal(header_parent(w.c, 0), HEADER_NONE);
    assert_int_equal(header_median_time(w.c, 0), 1231006505);
    header_get(w.c, 0, &h);
    assert_memory_equal(&h, &w.p.genesis_header, sizeof h);
    struct u256 work = header_work(w.c, 0);
    assert_int_equal(work.w[0], 0x100010001);
    assert_int_equal(header_chain_find(w.c, &w.p.genesis), 0);
    assert_int_equal(header_chain_find(w.c, &(struct hash256){{9}}), HEADER_NONE);
    world_free(&w);
}

static void test_refusals(void **state)
{
    (void)state;
    struct world w;
    struct hash256 hash;
    world_new(&w, "regtest", 100);
    uint32_t tip = 0;
    for (int i = 0; i < 12; i++)
        tip = must_add(&w, tip, 0);
    const struct hash256 *prev = header_hash(w.c, tip);
    uint32_t mtp = header_median_time(w.c, tip);
    assert_int_equal(mtp, header_time(w.c, tip) - 5);
    struct block_header h = make_header(&w.p, prev, mtp + 1, 0x207fffff, 0, &hash);
    for (struct block_header bad = h;; bad.nonce++) { /* one that misses its target */
        block_header_hash(&bad, &hash);
        if (header_pow_is_right(&hash, bad.bits, &w.p))
            continue;
        assert_refused(&w, &bad, NOW_S, "high-hash", false);
        break;
    }
    h = make_header(&w.p, prev, mtp, 0x207fffff, 0, &hash);
    assert_refused(&w, &h, NOW_S, "time-too-old", false);
    h = make_header(&w.p, prev, mtp + 1, 0x207ffffe, 0, &hash);
    assert_refused(&w, &h, NOW_S, "bad-diffbits", false);
    h = make_header(&w.p, &(struct hash256){{5}}, mtp + 1, 0x207fffff, 0, &hash);
    assert_refused(&w, &h, NOW_S, "prev-blk-not-found", true);
    h = make_header(&w.p, prev, mtp + 7300, 0x207fffff, 0, &hash);
    assert_refused(&w, &h, mtp + 99, "time-too-new", true);
    uint32_t node, again;
    struct reject r;
    assert_int_equal(header_chain_add(w.c, &h, &hash, mtp + 100, &node, &r), VERDICT_VALID);
    assert_int_equal(header_chain_add(w.c, &h, &hash, mtp + 99, &again, &r), VERDICT_VALID);
    assert_int_equal(node, again); /* known already */
    world_free(&w);
}

/* BIPs 34, 66, 65: versions 2, 3, 4; negative ones are below them all. */
static void test_versions(void **state)
{
    (void)state;
    static const struct {
        uint32_t bip34, dersig, cltv;
        int32_t version;
        const char *reason;
    } rows[] = {
        {9, 9, 9, 0, NULL},
        {9, 9, 9, -1, NULL},
        {1, 9, 9, 1, "bad-version(0x00000001)"},
        {1, 9, 9, 0, "bad-version(0x00000000)"},
        {1, 9, 9, 2, NULL},
        {1, 1, 9, 2, "bad-version(0x00000002)"},
        {1, 1, 9, 3, NULL},
        {1, 1, 1, 3, "bad-version(0x00000003)"},
        {1, 1, 1, 4, NULL},
        {1, 1, 1, 0x20000000, NULL},
        {1, 1, 1, -1, "bad-version"},
        {2, 2, 2, 1, NULL}, /* holds from its height on */
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct world w;
        struct hash256 hash;
        struct reject r;
        uint32_t node;
        world_new(&w, "regtest", 100);
        w.p.active_height[DEPLOY_BIP34] = rows[i].bip34;
        w.p.active_height[DEPLOY_DERSIG] = rows[i].dersig;
        w.p.active_height[DEPLOY_CLTV] = rows[i].cltv;
        struct block_header h = {.version = rows[i].version,
                                 .prev = w.p.genesis,
                                 .time = w.p.genesis_header.time + 1,
                                 .bits = 0x207fffff};
        for (;; h.nonce++) {
            block_header_hash(&h, &hash);
            if (header_pow_is_right(&hash, h.bits, &w.p))
                break;
        }
        enum verdict v = header_chain_add(w.c, &h, &hash, NOW_S, &node, &r);
        assert_int_equal(v, rows[i].reason ? VERDICT_INVALID : VERDICT_VALID);
        if (rows[i].reason)
            assert_string_equal(r.reason, rows[i].reason);
        world_free(&w);
    }
}

static void test_pow_target(void **state)
{
    (void)state;
    const struct chain_params *p = chain_params_find("main");
    struct hash256 zero = {{0}}, one = {{1}};
    assert_true(header_pow_is_right(&zero, 0x1d00ffff, p));
    assert_false(header_pow_is_right(&zero, 0x1d010000, p)); /* above the network's limit */
    assert_false(header_pow_is_right(&zero, 0x00000000, p));
    assert_false(header_pow_is_right(&zero, 0x04923456, p)); /* negative */
    assert_false(header_pow_is_right(&zero, 0xff123456, p)); /* beyond 256 bits */
    assert_true(header_pow_is_right(&one, 0x03000001, p));
    one.b[0] = 2;
    assert_false(header_pow_is_right(&one, 0x03000001, p));
    assert_true(header_pow_is_right(&p->genesis, 0x1d00ffff, p));
}

/* --- difficulty ------------------------------------------------------------------------------ */

/* A network that adjusts every eight blocks of ten minutes; work is made up. */
static void world_new_adjusting(struct world *w, uint32_t pow_limit_bits)
{
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    w->n_made_up = 1;
    w->p = *chain_params_find("regtest");
    w->p.pow_has_no_retargeting = w->p.pow_allows_min_difficulty = false;
    w->p.pow_timespan_s = 8 * 600;
    w->p.pow_limit = u256_of_compact(pow_limit_bits, NULL, NULL);
    w->p.genesis_header.bits = 0x1c00ffff;
    assert_int_equal(header_chain_new(&w->c, &w->mem, header_maker_seed, &w->p, 100), ERR_OK);
}

/* The rest of the first period, its last block span_s after its first; then what is asked. */
static uint32_t bits_after(struct world *w, uint32_t span_s)
{
    uint32_t tip = 0, from = header_time(w->c, 0);
    struct reject r;
    for (uint32_t i = 1; i < 8; i++)
        assert_int_equal(add_at(w, tip, i == 7 ? from + span_s : from + i, 0x1c00ffff, 0, &tip, &r),
                         VERDICT_VALID);
    return header_next_bits(w->c, tip, from + span_s + 1);
}

static void test_retarget(void **state)
{
    (void)state;
    /* target 0xffff << 200 times the span, at least 1,200 and at most 19,200, over 4,800 */
    static const struct {
        uint32_t span_s, bits;
    } rows[] = {
        {4800, 0x1c00ffff}, /* eight spans would be needed, and seven are measured: off by one */
        {4200, 0x1c00dfff},  {2400, 0x1b7fff80},  {1200, 0x1b3fffc0},
        {1199, 0x1b3fffc0},  {10, 0x1b3fffc0},    {9600, 0x1c01fffe},
        {19200, 0x1c03fffc}, {19201, 0x1c03fffc}, {1000000, 0x1c03fffc},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct world w;
        world_new_adjusting(&w, 0x1d00ffff);
        assert_int_equal(bits_after(&w, rows[i].span_s), rows[i].bits);
        world_free(&w);
    }
}

static void test_retarget_stops_at_the_limit(void **state)
{
    (void)state;
    struct world w;
    world_new_adjusting(&w, 0x1c010000);
    assert_int_equal(bits_after(&w, 9600), 0x1c010000);
    world_free(&w);
}

/* Bitcoin Core src/test/pow_tests.cpp: real retargets of mainnet, by time of first and last. */
static void test_mainnet_retargets(void **state)
{
    (void)state;
    static const struct {
        uint32_t first_time, last_time, bits, next;
    } rows[] = {
        {1261130161, 1262152739, 0x1d00ffff, 0x1d00d86a}, /* 32,255 */
        {1231006505, 1233061996, 0x1d00ffff, 0x1d00ffff}, /* 2,015: the limit */
        {1279008237, 1279297671, 0x1c05a3f4, 0x1c0168fd}, /* 68,543: at least a quarter */
        {1263163443, 1269211443, 0x1c387f6f, 0x1d00e1fd}, /* 46,367: at most four times */
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct mem mem;
        struct header_chain *c;
        struct chain_params p = *chain_params_find("main");
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        p.pow_spacing_s = p.pow_timespan_s / 2; /* two headers make a period */
        p.genesis_header.time = rows[i].first_time;
        p.genesis_header.bits = rows[i].bits;
        assert_int_equal(header_chain_new(&c, &mem, header_maker_seed, &p, 2), ERR_OK);
        struct block_header h = {
            .version = 4, .prev = p.genesis, .time = rows[i].last_time, .bits = rows[i].bits};
        struct hash256 hash = {{1}}; /* below every target: no work is done here */
        struct reject r;
        uint32_t node;
        assert_int_equal(header_chain_add(c, &h, &hash, NOW_S, &node, &r), VERDICT_VALID);
        assert_int_equal(header_next_bits(c, node, rows[i].last_time + 1), rows[i].next);
        header_chain_free(c);
    }
}

static void test_twenty_minutes(void **state)
{
    (void)state;
    struct world w;
    struct reject r;
    uint32_t tip = 0;
    world_new_adjusting(&w, 0x1d00ffff);
    w.p.pow_allows_min_difficulty = true;
    uint32_t t = header_time(w.c, 0);
    assert_int_equal(header_next_bits(w.c, 0, t + 1200), 0x1c00ffff);
    assert_int_equal(header_next_bits(w.c, 0, t + 1201), 0x1d00ffff);
    assert_int_equal(add_at(&w, tip, t + 1201, 0x1c00ffff, 0, &tip, &r), VERDICT_INVALID);
    assert_string_equal(r.reason, "bad-diffbits");
    tip = 0;
    assert_int_equal(add_at(&w, tip, t + 1201, 0x1d00ffff, 0, &tip, &r), VERDICT_VALID);
    assert_int_equal(add_at(&w, tip, t + 2500, 0x1d00ffff, 0, &tip, &r), VERDICT_VALID);
    /* back past those of the rule to the last that did not use it */
    assert_int_equal(header_next_bits(w.c, tip, t + 2501), 0x1c00ffff);
    assert_int_equal(add_at(&w, tip, t + 2501, 0x1c00ffff, 0, &tip, &r), VERDICT_VALID);
    world_free(&w);
}

/* BIP 94: the new target comes from the period's first block, and its successor's time may not go
 * back by more than ten minutes. */
static void test_bip94(void **state)
{
    (void)state;
    struct world w;
    struct reject r;
    world_new_adjusting(&w, 0x1d00ffff);
    w.p.pow_allows_min_difficulty = true;
    uint32_t tip = 0, t = header_time(w.c, 0);
    for (uint32_t i = 1; i < 7; i++)
        assert_int_equal(add_at(&w, tip, t + i, 0x1c00ffff, 0, &tip, &r), VERDICT_VALID);
    assert_int_equal(add_at(&w, tip, t + 4800, 0x1d00ffff, 0, &tip, &r), VERDICT_VALID);
    assert_int_equal(header_next_bits(w.c, tip, t + 4801), 0x1d00ffff); /* of the last: easy */
    w.p.pow_is_bip94 = true;
    assert_int_equal(header_next_bits(w.c, tip, t + 4801), 0x1c00ffff); /* of the first */
    uint32_t node;
    assert_int_equal(add_at(&w, tip, t + 4199, 0x1c00ffff, 0, &node, &r), VERDICT_INVALID);
    assert_string_equal(r.reason, "time-timewarp-attack");
    assert_int_equal(add_at(&w, tip, t + 4200, 0x1c00ffff, 0, &node, &r), VERDICT_VALID);
    /* elsewhere in a period times may fall as the median allows */
    assert_int_equal(add_at(&w, node, t + 6, 0x1c00ffff, 0, &node, &r), VERDICT_VALID);
    world_free(&w);
}

/* --- the tree -------------------------------------------------------------------------------- */

/* Random trees against parent links alone. */
static uint32_t slow_ancestor(const struct world *w, uint32_t node, uint32_t height)
{
    while (header_height(w->c, node) > height)
        node = header_parent(w->c, node);
    return node;
}

static uint32_t slow_fork(const struct world *w, uint32_t a, uint32_t b)
{
    while (a != b) {
        if (header_height(w->c, a) >= header_height(w->c, b))
            a = header_parent(w->c, a);
        else
            b = header_parent(w->c, b);
    }
    return a;
}

static void test_ancestors(void **state)
{
    (void)state;
    struct world w;
    struct rng rng;
    enum { N = 3000 };
    rng_init(&rng, 5);
    world_new(&w, "regtest", N + 1);
    uint32_t first_of_most = 0;
    for (uint32_t i = 1; i <= N; i++) {
        uint32_t parent = i - 1; /* mostly a line, with branches near the end and far back */
        if (rng_below(&rng, 20) == 0)
            parent =
                rng_below(&rng, 2) ? i - 1 - rng_below(&rng, i < 30 ? i : 30) : rng_below(&rng, i);
        assert_int_equal(must_add(&w, parent, i << 12), i);
        if (header_compare_work(w.c, i, first_of_most) > 0)
            first_of_most = i;
        assert_int_equal(header_chain_best(w.c), first_of_most);
    }
    for (int i = 0; i < 5000; i++) {
        uint32_t a = rng_below(&rng, N + 1), b = rng_below(&rng, N + 1);
        uint32_t height = rng_below(&rng, header_height(w.c, a) + 1);
        assert_int_equal(header_ancestor(w.c, a, height), slow_ancestor(&w, a, height));
        assert_int_equal(header_fork(w.c, a, b), slow_fork(&w, a, b));
        assert_int_equal(header_is_ancestor(w.c, a, b), slow_fork(&w, a, b) == a);
    }
    assert_int_equal(header_ancestor(w.c, 5, header_height(w.c, 5) + 1), HEADER_NONE);
    world_free(&w);
}

static void test_locator(void **state)
{
    (void)state;
    struct world w;
    struct hash256 out[101];
    world_new(&w, "regtest", 500);
    uint32_t nodes[401] = {0};
    for (uint32_t i = 1; i <= 400; i++)
        nodes[i] = must_add(&w, nodes[i - 1], 0);
    static const uint32_t heights[] = {400, 399, 398, 397, 396, 395, 394, 393, 392, 391,
                                       390, 389, 387, 383, 375, 359, 327, 263, 135, 0};
    size_t n = header_locator(w.c, nodes[400], out, 101);
    assert_int_equal(n, COUNT_OF(heights));
    for (size_t i = 0; i < n; i++)
        assert_true(hash256_equal(&out[i], header_hash(w.c, nodes[heights[i]])));
    assert_int_equal(header_locator(w.c, 0, out, 101), 1);
    n = header_locator(w.c, nodes[400], out, 5);
    assert_int_equal(n, 5);
    assert_true(hash256_equal(&out[4], &w.p.genesis));
    world_free(&w);
}

/* Median over fewer than eleven: of an even number the later of the middle two. */
static void test_median_time(void **state)
{
    (void)state;
    struct world w;
    struct reject r;
    world_new(&w, "regtest", 100);
    uint32_t t = header_time(w.c, 0), tip = 0;
    static const uint32_t steps[] = {50, 90, 60, 70, 61, 62, 200, 63, 64, 65, 66};
    static const uint32_t medians[] = {50, 50, 60, 60, 61, 61, 62, 62, 63, 63, 64};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        assert_int_equal(add_at(&w, tip, t + steps[i], 0x207fffff, 0, &tip, &r), VERDICT_VALID);
        assert_int_equal(header_median_time(w.c, tip) - t, medians[i]);
    }
    world_free(&w);
}

static void test_add_many(void **state)
{
    (void)state;
    enum { N = 300 };
    struct world w;
    uint8_t raw[N * BLOCK_HEADER_LEN];
    struct hash256 prev, hash;
    struct reject r;
    size_t n;
    world_new(&w, "regtest", 1000);
    struct writer out = writer_init(raw, sizeof raw);
    prev = w.p.genesis;
    for (uint32_t i = 1; i <= N; i++, prev = hash) {
        struct block_header h =
            make_header(&w.p, &prev, w.p.genesis_header.time + i, 0x207fffff, 0, &hash);
        block_header_write(&out, &h);
    }
    assert_int_equal(header_chain_add_many(w.c, raw, N / 2, NOW_S, &n, &r), VERDICT_VALID);
    assert_int_equal(n, N / 2);
    raw[200 * BLOCK_HEADER_LEN + 40] ^= 1; /* its merkle root: most likely no work any more */
    assert_int_equal(header_chain_add_many(w.c, raw, N, NOW_S, &n, &r), VERDICT_INVALID);
    assert_true(n == 200 || n == 201);
    assert_int_equal(header_chain_n(w.c), 1 + n);
    raw[200 * BLOCK_HEADER_LEN + 40] ^= 1;
    assert_int_equal(header_chain_add_many(w.c, raw, N, NOW_S, &n, &r), VERDICT_VALID);
    assert_int_equal(header_height(w.c, header_chain_best(w.c)), N);
    assert_true(hash256_equal(header_hash(w.c, header_chain_best(w.c)), &prev));
    world_free(&w);
}

static void test_full(void **state)
{
    (void)state;
    struct world w;
    struct reject r;
    uint32_t node;
    world_new(&w, "regtest", 3);
    uint32_t tip = must_add(&w, must_add(&w, 0, 0), 0);
    assert_int_equal(add_at(&w, tip, header_time(w.c, tip) + 1, 0x207fffff, 0, &node, &r),
                     VERDICT_UNDECIDED);
    assert_int_equal(r.err.code, ERR_LIMIT);
    world_free(&w);
}

static bool grow(struct mem *mem, void *ctx)
{
    const struct chain_params *p = chain_params_find("regtest");
    struct header_chain *c;
    struct reject r;
    enum verdict v = VERDICT_VALID;
    (void)ctx;
    if (header_chain_new(&c, mem, header_maker_seed, p, 2000) != ERR_OK)
        return false;
    struct hash256 hash, prev = p->genesis;
    for (uint32_t i = 1; i < 900 && v == VERDICT_VALID; i++, prev = hash) {
        struct block_header h =
            make_header(p, &prev, p->genesis_header.time + i, 0x207fffff, 0, &hash);
        uint32_t node;
        v = header_chain_add(c, &h, &hash, NOW_S, &node, &r);
        if (v == VERDICT_UNDECIDED) { /* nothing was lost: once more, with memory */
            assert_int_equal(r.err.code, ERR_NO_MEMORY);
            assert_int_equal(header_chain_add(c, &h, &hash, NOW_S, &node, &r), VERDICT_VALID);
        }
    }
    header_chain_check(c);
    header_chain_free(c);
    return v == VERDICT_VALID;
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(test_fail_sweep(grow, NULL) >= 4);
}

/* What is promised for mainnet: 120 bytes for each header, hash table included, whatever the
 * number is (the table grows in steps). Work need not be right for this: hashes are made up. */
static void test_memory(void **state)
{
    (void)state;
    struct world w;
    world_new(&w, "regtest", 1000000);
    struct block_header h = {.version = 4, .prev = w.p.genesis, .bits = 0x207fffff};
    struct rng rng;
    rng_init(&rng, 120);
    h.time = w.p.genesis_header.time;
    for (uint32_t i = 1; i < 400000; i++) {
        struct hash256 hash;
        struct reject r;
        uint32_t node;
        rng_fill(&rng, &hash, sizeof hash);
        hash.b[31] &= 0x7f;
        h.time++;
        assert_int_equal(header_chain_add(w.c, &h, &hash, NOW_S, &node, &r), VERDICT_VALID);
        h.prev = hash;
        if (i > 100000 && i % 1024 == 0)
            assert_true(header_chain_used_len(w.c) <= (size_t)120 * i);
    }
    assert_true(w.mem.used_len <= header_chain_used_len(w.c) + 500 * 32);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genesis),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_pow_target),
        cmocka_unit_test(test_retarget),
        cmocka_unit_test(test_retarget_stops_at_the_limit),
        cmocka_unit_test(test_mainnet_retargets),
        cmocka_unit_test(test_twenty_minutes),
        cmocka_unit_test(test_bip94),
        cmocka_unit_test(test_ancestors),
        cmocka_unit_test(test_locator),
        cmocka_unit_test(test_median_time),
        cmocka_unit_test(test_add_many),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
