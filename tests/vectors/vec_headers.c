/* headers/: chains of headers, and the compact form of targets. */
#include "chain/block.h"
#include "chain/header_chain.h"
#include "crypto/sha256d.h"
#include "vec.h"

#define FAR_FUTURE_S (INT64_C(1) << 40)

/* --- NETWORK-FIRST-LAST.bin ------------------------------------------------------------------- */

/* A chain that does not begin at genesis: proof of work, and each the parent of the next. */
static void check_linked(struct vec *v, const struct chain_params *p, size_t n)
{
    struct hash256 before = {{0}};
    for (size_t i = 0; i < n; i++) {
        const uint8_t *raw = v->data.data + i * BLOCK_HEADER_LEN;
        struct reader r = reader_init(bytes_of(raw, BLOCK_HEADER_LEN));
        struct block_header h;
        struct hash256 hash;
        bool is_good =
            block_header_read(&r, &h) == ERR_OK && (i == 0 || hash256_equal(&h.prev, &before));
        block_header_hash_many(raw, 1, &hash);
        vec_case(v, is_good && header_pow_is_right(&hash, h.bits, p), "header %zu", i);
        before = hash;
    }
}

static void check_chain(struct vec *v, const struct chain_params *p, size_t n)
{
    struct header_chain *c;
    struct reject r;
    size_t n_in = 0;
    if (header_chain_new(&c, &v->mem, (struct map_seed){1, 1}, p, n + 2) != ERR_OK) {
        vec_case(v, false, "no memory");
        return;
    }
    enum verdict verdict = header_chain_add_many(c, v->data.data, n, FAR_FUTURE_S, &n_in, &r);
    v->n_passed += n_in;
    if (verdict != VERDICT_VALID)
        vec_case(v, false, "header %zu: %s", n_in, r.reason ? r.reason : "undecided");
    uint32_t best = header_chain_best(c);
    struct hash256 last;
    block_header_hash_many(v->data.data + (n - 1) * BLOCK_HEADER_LEN, 1, &last);
    vec_case(v, hash256_equal(header_hash(c, best), &last), "the last header is not the tip");
    header_chain_check(c);
    header_chain_free(c);
}

static const struct chain_params *params_of_name(const struct vec *v)
{
    static const char *const names[] = {"main", "testnet4", "signet", "regtest"};
    const char *base = strrchr(v->name, '/') + 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(base, names[i], strlen(names[i])) == 0)
            return chain_params_find(names[i]);
    return NULL;
}

static void check_bin(struct vec *v)
{
    const struct chain_params *p = params_of_name(v);
    size_t n = v->data.len / BLOCK_HEADER_LEN;
    if (!p || n == 0 || v->data.len % BLOCK_HEADER_LEN) {
        vec_case(v, false, "no headers of a known network");
        return;
    }
    struct hash256 first;
    block_header_hash_many(v->data.data, 1, &first);
    bool is_whole = hash256_equal(&first, &p->genesis) ||
                    memcmp(v->data.data + 4, p->genesis.b, sizeof p->genesis.b) == 0;
    if (is_whole)
        check_chain(v, p, n);
    else
        check_linked(v, p, n);
}

/* --- mainnet_alt.json: times and nonces of blocks that hold nothing but a coinbase ----------------- */

/* Bitcoin Core test/functional/mining_mainnet.py says what else the blocks are made of. */
static void coinbase_txid(uint32_t height, struct hash256 *out)
{
    uint8_t raw[128], sig[8];
    struct writer s = writer_init(sig, sizeof sig), w = writer_init(raw, sizeof raw);
    if (height <= 16) {
        writer_u8(&s, (uint8_t)(0x50 + height));
        writer_u8(&s, 0);
    } else {
        uint8_t len = height < 0x80 ? 1 : height < 0x8000 ? 2 : 3;
        writer_u8(&s, len);
        for (uint8_t i = 0; i < len; i++)
            writer_u8(&s, (uint8_t)(height >> (8 * i)));
    }
    writer_u32le(&w, 2);
    writer_u8(&w, 1);
    writer_fill(&w, 0, 32);
    writer_u32le(&w, UINT32_MAX);
    writer_u8(&w, (uint8_t)s.pos);
    writer_put(&w, writer_bytes(&s));
    writer_u32le(&w, UINT32_MAX);
    writer_u8(&w, 1);
    writer_u64le(&w, (uint64_t)(50 * COIN_SATS));
    writer_u8(&w, 25);
    writer_put(&w, BYTES_LIT("\x76\xa9\x14\xea\xdb\xac\x7f\x36\xc3\x7e\x39\x36\x11\x68\xb7\xaa\xee"
                             "\x3c\xb2\x4a\x25\x31\x2d\x88\xac"));
    writer_u32le(&w, 0);
    sha256d(writer_bytes(&w), out->b);
}

static void check_alt(struct vec *v)
{
    const struct chain_params *p = chain_params_find("main");
    json_t *all = vec_json(v), *times = json_object_get(all, "timestamps");
    json_t *nonces = json_object_get(all, "nonces");
    struct header_chain *c;
    size_t n = json_array_size(times);
    uint32_t tip = 0;
    if (header_chain_new(&c, &v->mem, (struct map_seed){1, 1}, p, n + 2) != ERR_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        struct block_header h = {.version = 0x20000000, .prev = *header_hash(c, tip)};
        struct hash256 hash;
        struct reject r;
        h.time = (uint32_t)json_integer_value(json_array_get(times, i));
        h.nonce = (uint32_t)json_integer_value(json_array_get(nonces, i));
        h.bits = header_next_bits(c, tip, h.time);
        coinbase_txid((uint32_t)i + 1, &h.merkle_root);
        block_header_hash(&h, &hash);
        bool is_in = header_chain_add(c, &h, &hash, FAR_FUTURE_S, &tip, &r) == VERDICT_VALID;
        if (!vec_case(v, is_in, "height %zu: %s", i + 1, r.reason ? r.reason : "undecided"))
            break;
    }
    header_chain_free(c);
}

/* --- compact_target.json ---------------------------------------------------------------------- */

static void check_compact(struct vec *v)
{
    json_t *all = vec_json(v), *row;
    size_t i;
    json_array_foreach(all, i, row)
    {
        bool is_negative, is_overflow;
        struct u256 want;
        const char *digits = vec_str(json_object_get(row, "compact"));
        uint32_t bits = (uint32_t)strtoul(digits, NULL, 16);
        uint32_t again = (uint32_t)strtoul(vec_str(json_object_get(row, "recompact")), NULL, 16);
        struct u256 got = u256_of_compact(bits, &is_negative, &is_overflow);
        bool is_good = is_negative == json_is_true(json_object_get(row, "negative")) &&
                       is_overflow == json_is_true(json_object_get(row, "overflow"));
        const char *value = json_string_value(json_object_get(row, "value"));
        if (value) /* not said where it overflows */
            is_good &= u256_of_hex(&want, value) && u256_compare(&got, &want) == 0;
        if (json_object_get(row, "recompact") && !is_overflow)
            is_good &= u256_compact(&got) == (again & ~0x00800000u);
        vec_case(v, is_good, "%s", digits);
    }
}

const struct vec_check vec_headers_checks[] = {
    {"headers/compact_target*.json", check_compact},
    {"headers/mainnet_alt*.json", check_alt},
    {"headers/*.bin*", check_bin},
    {0},
};
