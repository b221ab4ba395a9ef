#include "../../test_util.h"
#include "base/rng.h"
#include "chain/tx.h"
#include "crypto/sha256d.h"

#define ARENA_LIMIT (16u << 20)

/* BIP 143, "Native P2WPKH": one input with witness, one without. */
#define BIP143_HEAD_HEX "01000000"
#define BIP143_BODY_HEX                                                                            \
    "02fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f00000000494830450221008b9d" \
    "1dc26ba6a9cb62127b02742fa9d754cd3bebf337f7a55d114c8e5cdd30be022040529b194ba3f9281a99f2b1c0a1" \
    "9c0489bc22ede944ccf4ecbab4cc618ef3ed01eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287" \
    "d9b2b55d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99f66f85c95a783a" \
    "76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa815988ac"
#define BIP143_WITNESS_HEX                                                                         \
    "000247304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c45" \
    "18331561406f90300e8f3358f51928d43c212a8caed02de67eebee0121025476c2e83188368da1ff3e292e7acafc" \
    "db3566bb0ad253f62fc70f07aeee6357"
#define BIP143_TAIL_HEX "11000000"
#define BIP143_HEX      BIP143_HEAD_HEX "0001" BIP143_BODY_HEX BIP143_WITNESS_HEX BIP143_TAIL_HEX
#define BIP143_PLAIN    BIP143_HEAD_HEX BIP143_BODY_HEX BIP143_TAIL_HEX

/* One input, one output, as small as they come. */
#define PREV_HEX "1111111111111111111111111111111111111111111111111111111111111111"
#define TINY_IN                                                                                    \
    "01" PREV_HEX "00000000"                                                                       \
    "00"                                                                                           \
    "ffffffff"
#define TINY_OUT                                                                                   \
    "01"                                                                                           \
    "0100000000000000"                                                                             \
    "00"
#define TINY_HEX "02000000" TINY_IN TINY_OUT "00000000"

struct parsed {
    struct mem mem;
    struct arena arena;
    struct tx tx;
    struct err err;
    size_t used_len;
};

static enum err_code parse(struct parsed *p, struct bytes in, bool allow_witness)
{
    struct reader r = reader_init(in);
    mem_init(&p->mem, MEM_NO_BUDGET, NULL);
    arena_init(&p->arena, &p->mem, ARENA_LIMIT);
    enum err_code code = tx_read(&r, &p->arena, allow_witness, &p->tx);
    p->err = r.err;
    p->used_len = r.pos;
    return code;
}

static void parsed_clear(struct parsed *p)
{
    arena_clear(&p->arena);
    mem_check_empty(&p->mem);
}

/* --- CompactSize ----------------------------------------------------------------------------- */

static const struct {
    const char *name, *hex;
    uint64_t value;
    enum err_code code;
} compact_size[] = {
    {"zero", "00", 0, ERR_OK},
    {"largest one byte", "fc", 252, ERR_OK}, /* source: Bitcoin Core src/serialize.h */
    {"252 spelled long", "fdfc00", 0, ERR_MALFORMED},
    {"least of three bytes", "fdfd00", 253, ERR_OK},
    {"largest of three bytes", "fdffff", 65535, ERR_OK},
    {"65535 spelled long", "feffff0000", 0, ERR_MALFORMED},
    {"least of five bytes", "fe00000100", 65536, ERR_OK},
    {"the bound", "fe00000002", 0x02000000, ERR_OK},
    {"above the bound", "fe01000002", 0, ERR_LIMIT},
    {"2^32 - 1 spelled long", "ffffffffff00000000", 0, ERR_MALFORMED},
    {"nine bytes", "ff0000000001000000", 0, ERR_LIMIT},
    {"nothing", "", 0, ERR_TRUNCATED},
    {"two bytes missing", "fd", 0, ERR_TRUNCATED},
    {"one of two", "fdfd", 0, ERR_TRUNCATED},
    {"three of four", "fe000001", 0, ERR_TRUNCATED},
    {"seven of eight", "ff00000000010000", 0, ERR_TRUNCATED},
};

static void test_compact_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(compact_size); i++) {
        uint8_t buf[16];
        struct reader r = reader_init(test_hex(compact_size[i].hex, buf, sizeof buf));
        uint64_t v = reader_compact_size(&r);
        assert_int_equal(r.err.code, compact_size[i].code);
        assert_int_equal(v, compact_size[i].value);
        if (compact_size[i].code == ERR_MALFORMED)
            assert_string_equal(r.err.what, "non-canonical ReadCompactSize()");
    }
    static const uint64_t values[] = {0, 1, 252, 253, 254, 65535, 65536, 0x02000000};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        uint8_t buf[9];
        struct writer w = writer_init(buf, sizeof buf);
        writer_compact_size(&w, values[i]);
        assert_int_equal(w.pos, compact_size_len(values[i]));
        struct reader r = reader_init(writer_bytes(&w));
        assert_int_equal(reader_compact_size(&r), values[i]);
        assert_int_equal(reader_end(&r), ERR_OK);
    }
    uint8_t buf[9];
    struct writer w = writer_init(buf, sizeof buf);
    writer_compact_size(&w, UINT64_C(0x100000000));
    test_assert_hex(writer_bytes(&w), "ff0000000001000000");
    assert_int_equal(compact_size_len(UINT64_C(0x100000000)), 9);
}

/* --- parsing --------------------------------------------------------------------------------- */

static void assert_txid(struct bytes stripped, const struct hash256 *got)
{
    uint8_t want[32];
    sha256d(stripped, want);
    assert_memory_equal(got->b, want, sizeof want);
}

static void test_witness_form(void **state)
{
    (void)state;
    uint8_t raw[512], plain[512], out[512];
    struct bytes in = test_hex(BIP143_HEX, raw, sizeof raw);
    struct bytes stripped = test_hex(BIP143_PLAIN, plain, sizeof plain);
    struct parsed p;
    assert_int_equal(parse(&p, in, true), ERR_OK);
    assert_int_equal(p.used_len, in.len);
    assert_int_equal(p.tx.version, 1);
    assert_int_equal(p.tx.lock_time, 17);
    assert_int_equal(p.tx.n_in, 2);
    assert_int_equal(p.tx.n_out, 2);
    assert_true(p.tx.has_witness);
    assert_int_equal(p.tx.in[0].n_witness, 0);
    assert_int_equal(p.tx.in[0].script_sig.len, 73);
    assert_int_equal(p.tx.in[0].sequence, 0xffffffee);
    assert_int_equal(p.tx.in[1].prev.n, 1);
    assert_int_equal(p.tx.in[1].n_witness, 2);
    assert_int_equal(p.tx.out[0].value_sat, 112340000);
    assert_int_equal(p.tx.out[1].script.len, 25);
    assert_int_equal(p.tx.stripped_len, stripped.len);
    assert_int_equal(tx_weight(&p.tx), 3 * stripped.len + in.len);
    assert_int_equal(tx_vsize(&p.tx), (3 * stripped.len + in.len + 3) / 4);
    struct writer w = writer_init(out, p.tx.stripped_len);
    tx_write_stripped(&w, &p.tx);
    test_assert_bytes(writer_bytes(&w), stripped);
    tx_hash(&p.tx);
    assert_txid(stripped, &p.tx.txid);
    assert_txid(in, &p.tx.wtxid);
    struct bytes rest = p.tx.in[1].witness, item;
    assert_true(witness_next(&rest, &item));
    assert_int_equal(item.len, 71);
    assert_true(witness_next(&rest, &item));
    assert_int_equal(item.len, 33);
    assert_false(witness_next(&rest, &item));
    parsed_clear(&p);
    assert_int_equal(parse(&p, stripped, true), ERR_OK);
    assert_false(p.tx.has_witness);
    tx_hash(&p.tx);
    assert_true(hash256_equal(&p.tx.txid, &p.tx.wtxid));
    parsed_clear(&p);
}

static const struct {
    const char *name, *hex;
    enum err_code code;
    const char *what;
} refused[] = {
    {"superfluous witness",
     "02000000"
     "0001" TINY_IN TINY_OUT "00"
     "00000000",
     ERR_MALFORMED, "Superfluous witness record"},
    {"witness of no inputs",
     "02000000"
     "0001"
     "00" TINY_OUT "00000000",
     ERR_MALFORMED, "Superfluous witness record"},
    {"unknown flag",
     "02000000"
     "0002" TINY_IN TINY_OUT "00000000",
     ERR_MALFORMED, "Unknown transaction optional data"},
    {"unknown flag beside witness",
     "02000000"
     "0003" TINY_IN TINY_OUT "010100"
     "00000000",
     ERR_MALFORMED, "Unknown transaction optional data"},
    {"input count spelled long",
     "02000000"
     "fd0100" PREV_HEX "00000000"
     "00"
     "ffffffff" TINY_OUT "00000000",
     ERR_MALFORMED, "non-canonical ReadCompactSize()"},
    {"more inputs than can be",
     "02000000"
     "fe00000002" PREV_HEX,
     ERR_TRUNCATED, "more items promised than bytes are left for"},
    {"more outputs than can be",
     "02000000" TINY_IN "fdffff"
     "0100000000000000"
     "00"
     "00000000",
     ERR_TRUNCATED, "more items promised than bytes are left for"},
    {"more witness items than can be",
     "02000000"
     "0001" TINY_IN TINY_OUT "fe00000002"
     "0000",
     ERR_TRUNCATED, "more items promised than bytes are left for"},
    {"script beyond the end",
     "02000000"
     "01" PREV_HEX "00000000"
     "fdff00"
     "ffffffff"
     "00000000",
     ERR_TRUNCATED, "input ends inside a field"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        uint8_t raw[512];
        struct parsed p;
        struct bytes in = test_hex(refused[i].hex, raw, sizeof raw);
        assert_int_equal(parse(&p, in, true), refused[i].code);
        assert_string_equal(p.err.what, refused[i].what);
        assert_null(p.tx.in);
        assert_true(p.mem.peak_len < 16384); /* nothing was asked for on a promise */
        parsed_clear(&p);
    }
}

/* What only parses: the rules come after. */
static void test_odd_but_parsed(void **state)
{
    (void)state;
    uint8_t raw[512];
    struct parsed p;
    struct bytes in = test_hex("02000000"
                               "0000"
                               "00000000",
                               raw, sizeof raw);
    assert_int_equal(parse(&p, in, true), ERR_OK); /* no inputs, no outputs */
    assert_int_equal(p.tx.stripped_len, 10);
    assert_int_equal(p.tx.n_in + p.tx.n_out, 0);
    parsed_clear(&p);
    assert_int_equal(parse(&p, in, false), ERR_OK);
    assert_int_equal(p.tx.stripped_len, 10);
    parsed_clear(&p);
    in = test_hex("02000000"
                  "00" TINY_OUT "00000000",
                  raw, sizeof raw);
    assert_int_equal(parse(&p, in, false), ERR_OK); /* without witness no marker is looked for */
    assert_int_equal(p.tx.n_out, 1);
    parsed_clear(&p);
}

static void test_every_prefix_is_truncated(void **state)
{
    (void)state;
    static const char *const whole[] = {BIP143_HEX, BIP143_PLAIN, TINY_HEX};
    for (size_t i = 0; i < COUNT_OF(whole); i++) {
        uint8_t raw[512];
        struct bytes in = test_hex(whole[i], raw, sizeof raw);
        for (size_t len = 0; len < in.len; len++) {
            uint8_t *copy = test_exact_copy(bytes_of(in.data, len));
            struct parsed p;
            assert_int_equal(parse(&p, bytes_of(copy, len), true), ERR_TRUNCATED);
            parsed_clear(&p);
            free(copy);
        }
    }
}

static bool parse_once(struct mem *mem, void *ctx)
{
    const struct bytes *in = ctx;
    struct arena a;
    struct tx t;
    struct reader r = reader_init(*in);
    arena_init(&a, mem, ARENA_LIMIT);
    enum err_code code = tx_read(&r, &a, true, &t);
    assert_true(code == ERR_OK || code == ERR_NO_MEMORY);
    arena_clear(&a);
    return code == ERR_OK;
}

static void test_no_memory(void **state)
{
    (void)state;
    uint8_t raw[512];
    struct bytes in = test_hex(BIP143_HEX, raw, sizeof raw);
    assert_true(test_fail_sweep(parse_once, &in) > 0);
}

/* --- hashing many ---------------------------------------------------------------------------- */

/* Transactions of all sizes, with and without witness: the batch gives what one by one gives. */
static void make_tx(struct writer *w, struct rng *rng, size_t script_len, bool has_witness)
{
    writer_u32le(w, (uint32_t)rng_u64(rng));
    if (has_witness)
        writer_put(w, BYTES_LIT("\x00\x01"));
    writer_u8(w, 1);
    for (size_t i = 0; i < 36; i++)
        writer_u8(w, (uint8_t)rng_u64(rng));
    writer_compact_size(w, script_len);
    writer_fill(w, 0x51, script_len);
    writer_u32le(w, 0);
    writer_put(w, BYTES_LIT("\x01\x01\0\0\0\0\0\0\0\0"));
    if (has_witness)
        writer_put(w, BYTES_LIT("\x01\x02\xaa\xbb"));
    writer_u32le(w, 0);
}

static void test_hash_many(void **state)
{
    (void)state;
    enum { N = 150, CAP = 4u << 20 };
    uint8_t *buf = malloc(CAP), *stripped = malloc(CAP);
    struct tx txs[N];
    struct mem mem;
    struct arena a;
    struct rng rng;
    assert_non_null(buf);
    assert_non_null(stripped);
    rng_init(&rng, 3);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&a, &mem, ARENA_LIMIT);
    struct writer w = writer_init(buf, CAP);
    for (size_t i = 0; i < N; i++)
        make_tx(&w, &rng, rng_below(&rng, i % 10 == 0 ? 20000 : 300), rng_below(&rng, 2));
    struct reader r = reader_init(writer_bytes(&w));
    for (size_t i = 0; i < N; i++)
        assert_int_equal(tx_read(&r, &a, true, &txs[i]), ERR_OK);
    assert_int_equal(reader_end(&r), ERR_OK);
    tx_hash_many(txs, N);
    for (size_t i = 0; i < N; i++) {
        struct writer s = writer_init(stripped, CAP);
        tx_write_stripped(&s, &txs[i]);
        assert_int_equal(s.pos, txs[i].stripped_len);
        assert_txid(writer_bytes(&s), &txs[i].txid);
        assert_txid(txs[i].raw, &txs[i].wtxid);
    }
    tx_hash_many(NULL, 0);
    arena_clear(&a);
    free(buf);
    free(stripped);
}

static void test_out_write(void **state)
{
    (void)state;
    uint8_t buf[32];
    struct writer w = writer_init(buf, sizeof buf);
    tx_out_write(&w, &(struct tx_out){.value_sat = 258, .script = BYTES_LIT("\x51\x52")});
    test_assert_hex(writer_bytes(&w), "0201000000000000"
                                      "02"
                                      "5152");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compact_size),
        cmocka_unit_test(test_witness_form),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_odd_but_parsed),
        cmocka_unit_test(test_every_prefix_is_truncated),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_hash_many),
        cmocka_unit_test(test_out_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
