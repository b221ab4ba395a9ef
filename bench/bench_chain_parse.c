/* What comes before coins and scripts: parsing, hashing of transactions, merkle trees and headers,
 * context-free rules, the header chain. Rates of one core, median of N_ROUNDS rounds; hashing
 * beside libcrypto's one message at a time, in the same rounds.
 *
 * usage: bench_chain_parse [BLOCK.raw...]; without files a block is made up: 1.6 MB, 2,500
 * transactions of one to four inputs, two in three with witness.
 */
#include "base/rng.h"
#include "bench_clock.h"
#include "chain/block.h"
#include "chain/header_chain.h"
#include "crypto/sha256d.h"
#include "crypto/sha_lanes.h"

#define N_ROUNDS    9
#define N_REPEATS   20
#define N_TXS       2500u
#define RAW_CAP     (8u << 20)
#define ARENA_LIMIT (64u << 20)
#define N_NODES     4096u
#define N_HEADERS   900000u

static uint8_t raw[RAW_CAP];
static size_t raw_len;
static struct mem mem;
static struct arena arena, other_arena;
static struct block block;
static uint8_t level[2 * N_NODES][SHA256_LEN], digests[2 * N_NODES][SHA256_LEN];
static uint8_t headers[N_HEADERS][BLOCK_HEADER_LEN];

static double now_s(void)
{
    return clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

/* --- input ----------------------------------------------------------------------------------- */

static void make_tx(struct writer *w, struct rng *rng)
{
    uint8_t junk[107];
    uint32_t n_in = 1 + rng_below(rng, 4), n_out = 1 + rng_below(rng, 3);
    bool has_witness = rng_below(rng, 3) > 0;
    rng_fill(rng, junk, sizeof junk);
    writer_u32le(w, 2);
    if (has_witness)
        writer_put(w, BYTES_LIT("\x00\x01"));
    writer_u8(w, (uint8_t)n_in);
    for (uint32_t i = 0; i < n_in; i++) {
        writer_u64le(w, rng_u64(rng));
        writer_put(w, bytes_of(junk, 28));
        writer_u8(w, has_witness ? 0 : 107);
        writer_put(w, bytes_of(junk, has_witness ? 0 : 107));
        writer_u32le(w, UINT32_MAX);
    }
    writer_u8(w, (uint8_t)n_out);
    for (uint32_t i = 0; i < n_out; i++)
        tx_out_write(w, &(struct tx_out){.value_sat = 1000, .script = bytes_of(junk, 22)});
    for (uint32_t i = 0; has_witness && i < n_in; i++) {
        writer_put(w, BYTES_LIT("\x02\x47"));
        writer_put(w, bytes_of(junk, 71));
        writer_u8(w, 33);
        writer_put(w, bytes_of(junk, 33));
    }
    writer_u32le(w, 0);
}

static void make_block(void)
{
    struct writer w = writer_init(raw, sizeof raw);
    struct rng rng;
    rng_init(&rng, 1);
    writer_fill(&w, 0, BLOCK_HEADER_LEN);
    writer_compact_size(&w, N_TXS);
    for (uint32_t i = 0; i < N_TXS; i++)
        make_tx(&w, &rng);
    raw_len = w.pos;
}

static bool load_block(const char *path)
{
    FILE *f = fopen(path, "rb");
    raw_len = f ? fread(raw, 1, sizeof raw, f) : 0;
    if (f)
        fclose(f);
    return raw_len > 0;
}

/* Headers like regtest's, each with right work, ten minutes apart. */
static void make_headers(const struct chain_params *p)
{
    struct block_header h = p->genesis_header;
    struct hash256 hash = p->genesis;
    for (size_t i = 0; i < N_HEADERS; i++) {
        h.prev = hash;
        h.time += 600;
        h.version = 4;
        for (h.nonce = 0;; h.nonce++) {
            struct writer w = writer_init(headers[i], BLOCK_HEADER_LEN);
            block_header_write(&w, &h);
            sha256d(writer_bytes(&w), hash.b);
            if (header_pow_is_right(&hash, h.bits, p))
                break;
        }
    }
}

/* --- what is measured ------------------------------------------------------------------------ */

/* Transactions alone, not hashed. */
static void run_parse(void)
{
    struct reader r = reader_init(bytes_of(raw, raw_len));
    struct tx t;
    reader_skip(&r, BLOCK_HEADER_LEN);
    arena_reset(&other_arena);
    for (uint64_t n = reader_compact_size(&r); n-- > 0;)
        if (tx_read(&r, &other_arena, true, &t) != ERR_OK)
            abort();
}

static void run_block_read(void)
{
    struct err err;
    arena_reset(&arena);
    if (block_read(bytes_of(raw, raw_len), &arena, &block, &err) != ERR_OK)
        abort();
}

static void run_hash_txs(void)
{
    tx_hash_many(block.txs, block.n_txs);
}

/* The same one message at a time. */
static void run_hash_txs_plain(void)
{
    static uint8_t stripped[RAW_CAP];
    for (uint32_t i = 0; i < block.n_txs; i++) {
        struct tx *t = &block.txs[i];
        sha256d(t->raw, t->wtxid.b);
        if (t->has_witness) {
            struct writer w = writer_init(stripped, sizeof stripped);
            tx_write_stripped(&w, t);
            sha256d(writer_bytes(&w), t->txid.b);
        }
    }
}

static void run_check(void)
{
    static struct arena scratch;
    struct reject r;
    arena_init(&scratch, &mem, ARENA_LIMIT);
    if (block_check(&block, &scratch, &r) == VERDICT_UNDECIDED)
        abort();
    arena_clear(&scratch);
}

static void run_pairs(void)
{
    sha256d_pairs(*level, N_NODES, digests);
}

static void run_pairs_plain(void)
{
    for (size_t i = 0; i < N_NODES; i++)
        sha256d(bytes_of(level[2 * i], (size_t)2 * SHA256_LEN), digests[i]);
}

static void run_headers(void)
{
    sha256d_headers(*headers, 2 * N_NODES, digests);
}

static void run_headers_plain(void)
{
    for (size_t i = 0; i < (size_t)2 * N_NODES; i++)
        sha256d(bytes_of(headers[i], BLOCK_HEADER_LEN), digests[i]);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double seconds(void (*run)(void))
{
    double from = now_s();
    for (int i = 0; i < N_REPEATS; i++)
        run();
    return (now_s() - from) / N_REPEATS;
}

/* One line: amount per second, and beside plain when there is one. */
static void measure(const char *what, void (*run)(void), void (*plain)(void), double amount,
                    const char *unit)
{
    double ours[N_ROUNDS], theirs[N_ROUNDS];
    for (int i = 0; i < N_ROUNDS; i++) {
        ours[i] = seconds(run);
        theirs[i] = plain ? seconds(plain) : 0;
    }
    qsort(ours, N_ROUNDS, sizeof *ours, by_value);
    qsort(theirs, N_ROUNDS, sizeof *theirs, by_value);
    double ours_s = ours[N_ROUNDS / 2], theirs_s = theirs[N_ROUNDS / 2];
    printf("%-44s %8.2f %s", what, amount / ours_s, unit);
    if (plain)
        printf("   one at a time %8.2f   %.2f x", amount / theirs_s, theirs_s / ours_s);
    printf("\n");
}

static void measure_block(void)
{
    double gb = (double)raw_len / 1e9;
    run_block_read();
    size_t hashed_len = 0;
    for (uint32_t i = 0; i < block.n_txs; i++)
        hashed_len +=
            block.txs[i].raw.len + (block.txs[i].has_witness ? block.txs[i].stripped_len : 0);
    printf("block of %zu bytes, %u transactions\n", raw_len, block.n_txs);
    measure("parse transactions", run_parse, NULL, gb, "GB/s");
    measure("txids and wtxids", run_hash_txs, run_hash_txs_plain, (double)hashed_len / 1e9, "GB/s");
    measure("block_read (parse and hash)", run_block_read, NULL, gb, "GB/s");
    measure("block_check", run_check, NULL, gb, "GB/s");
}

static void measure_header_chain(void)
{
    const struct chain_params *p = chain_params_find("regtest");
    struct header_chain *c;
    struct reject r;
    size_t n;
    double from = now_s();
    if (header_chain_new(&c, &mem, (struct map_seed){1, 2}, p, N_HEADERS + 1) != ERR_OK ||
        header_chain_add_many(c, *headers, N_HEADERS, INT64_C(1) << 40, &n, &r) != VERDICT_VALID)
        abort();
    double took_s = now_s() - from;
    printf("%-44s %8.2f s, %.0f headers/s, %.1f bytes each\n", "900,000 headers checked and added",
           took_s, N_HEADERS / took_s, (double)header_chain_used_len(c) / N_HEADERS);
    header_chain_free(c);
}

int main(int argc, char **argv)
{
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    arena_init(&arena, &mem, ARENA_LIMIT);
    arena_init(&other_arena, &mem, ARENA_LIMIT);
    printf("%s; runs of nodes and headers: %s\n", sha_lanes_name(), sha256d_name());
    make_headers(chain_params_find("regtest"));
    for (size_t i = 0; i < sizeof level; i++)
        level[i / SHA256_LEN][i % SHA256_LEN] = (uint8_t)(i * 31);
    measure("merkle nodes (64 bytes)", run_pairs, run_pairs_plain, N_NODES / 1e6, "M/s ");
    measure("headers (80 bytes)", run_headers, run_headers_plain, 2 * N_NODES / 1e6, "M/s ");
    measure_header_chain();
    make_block();
    measure_block();
    for (int i = 1; i < argc; i++) {
        if (load_block(argv[i]))
            measure_block();
        else
            printf("%s cannot be read\n", argv[i]);
    }
    arena_clear(&arena);
    arena_clear(&other_arena);
    return 0;
}
