/* blocks/: real blocks by themselves (what needs no chain of coins), with the outputs that they
 * spend where those are given, and short chains from a network's genesis. */
#include "chain/block.h"
#include "chain/header_chain.h"
#include "chain/script_verify.h"
#include "crypto/sha256d.h"
#include "vec.h"

#define FAR_FUTURE_S (INT64_C(1) << 40)
#define MTP_N        11u

/* --- networks --------------------------------------------------------------------------------- */

/* testnet3 is no network of ours: its blocks are judged by main's rules at its own heights. */
static const uint32_t test3_heights[DEPLOY_COUNT] = {[DEPLOY_BIP34] = 21111,
                                                     [DEPLOY_CLTV] = 581885,
                                                     [DEPLOY_DERSIG] = 330776,
                                                     [DEPLOY_CSV] = 770112,
                                                     [DEPLOY_SEGWIT] = 834624};

/* From "main-300025.raw", "regtest206.hex", ...; false when the name says no network. */
static bool params_of_name(const char *name, struct chain_params *out)
{
    static const struct {
        const char *prefix, *network;
    } names[] = {{"main", "main"},     {"testnet4", "testnet4"}, {"test4", "testnet4"},
                 {"signet", "signet"}, {"regtest", "regtest"},   {"reorg-main", "main"},
                 {"test3", "main"},    {"testnet3", "main"}};
    const char *base = strchr(name, '/');
    for (size_t i = 0; base && i < sizeof names / sizeof *names; i++) {
        if (strncmp(base + 1, names[i].prefix, strlen(names[i].prefix)) != 0)
            continue;
        *out = *chain_params_find(names[i].network);
        if (strstr(names[i].prefix, "t3"))
            memcpy(out->active_height, test3_heights, sizeof out->active_height);
        return true;
    }
    return false;
}

/* The n-th number (from 0) that stands behind a '-' in the file's name; 0 without. */
static uint32_t number_of_name(const char *name, int n)
{
    const char *at = strrchr(name, '/');
    while (at && (at = strchr(at + 1, '-')))
        if (n-- == 0)
            return (uint32_t)strtoul(at + 1, NULL, 10);
    return 0;
}

/* --- one block -------------------------------------------------------------------------------- */

static void write_tx(struct writer *w, const struct tx *t)
{
    writer_u32le(w, t->version);
    if (t->has_witness)
        writer_put(w, BYTES_LIT("\x00\x01"));
    writer_compact_size(w, t->n_in);
    for (uint32_t i = 0; i < t->n_in; i++) {
        writer_put(w, bytes_of(t->in[i].prev.txid.b, 32));
        writer_u32le(w, t->in[i].prev.n);
        writer_compact_size(w, t->in[i].script_sig.len);
        writer_put(w, t->in[i].script_sig);
        writer_u32le(w, t->in[i].sequence);
    }
    writer_compact_size(w, t->n_out);
    for (uint32_t i = 0; i < t->n_out; i++)
        tx_out_write(w, &t->out[i]);
    for (uint32_t i = 0; t->has_witness && i < t->n_in; i++) {
        struct bytes rest = t->in[i].witness, item;
        writer_compact_size(w, t->in[i].n_witness);
        while (witness_next(&rest, &item)) {
            writer_compact_size(w, item.len);
            writer_put(w, item);
        }
    }
    writer_u32le(w, t->lock_time);
}

/* Written again from what was read. */
static bool is_same_again(struct vec *v, const struct block *b)
{
    struct writer w = writer_init(vec_alloc(v, b->raw.len, 1), b->raw.len);
    block_header_write(&w, &b->header);
    writer_compact_size(&w, b->n_txs);
    size_t stripped_len = w.pos;
    for (uint32_t i = 0; i < b->n_txs; i++) {
        write_tx(&w, &b->txs[i]);
        stripped_len += b->txs[i].stripped_len;
    }
    return bytes_equal(writer_bytes(&w), b->raw) && stripped_len == b->stripped_len;
}

static bool read_block(struct vec *v, struct bytes raw, const char *what, struct block *out)
{
    struct err err;
    if (!raw.data || block_read(raw, &v->arena, out, &err) != ERR_OK)
        return vec_case(v, false, "%s: no block", what);
    return vec_case(v, is_same_again(v, out), "%s: written again it differs", what);
}

/* Everything that holds of a block without its coins. */
static bool block_holds(struct vec *v, const struct block *b, const struct chain_params *p,
                        uint32_t height, uint32_t mtp_prev, const char *what)
{
    struct reject r;
    bool has_work = header_pow_is_right(&b->hash, b->header.bits, p);
    bool is_good = vec_case(v, has_work, "%s: proof of work", what);
    is_good &= vec_case(v, block_check(b, &v->arena, &r) == VERDICT_VALID, "%s: %s", what,
                        r.reason ? r.reason : "undecided");
    if (is_good)
        is_good =
            vec_case(v, block_check_context(b, p, height, mtp_prev, &v->arena, &r) == VERDICT_VALID,
                     "%s: %s", what, r.reason ? r.reason : "undecided");
    return is_good;
}

/* --- blocks.tsv ------------------------------------------------------------------------------- */

enum column {
    COL_FILE,
    COL_NET,
    COL_HEIGHT,
    COL_HASH,
    COL_BYTES,
    COL_WEIGHT,
    COL_TXS,
    COL_INPUTS,
    COL_OUTPUTS,
    COL_SEGWIT,
    COL_SIGOPCOST,
    COL_COUNT
};

struct row {
    struct bytes col[COL_COUNT];
};

/* The line of this file in blocks.tsv; false when there is none. */
static bool find_row(struct vec *v, struct row *out)
{
    const char *base = strrchr(v->name, '/') + 1;
    struct bytes text = vec_sibling(v, strlen(base), "blocks.tsv"), line;
    while (vec_line(&text, &line)) {
        for (int c = 0; c < COL_COUNT; c++)
            out->col[c] = vec_field(&line, '\t');
        if (bytes_equal_str(out->col[COL_FILE], base))
            return true;
    }
    return false;
}

static uint64_t number(struct bytes digits)
{
    uint64_t n = 0;
    for (size_t i = 0; i < digits.len; i++)
        n = 10 * n + (uint64_t)(digits.data[i] - '0');
    return n;
}

static void check_row(struct vec *v, const struct block *b, const struct row *row)
{
    uint64_t n_in = 0, n_out = b->txs[0].n_out;
    bool has_witness = b->txs[0].has_witness;
    char digits[65] = {0};
    for (uint32_t i = 1; i < b->n_txs; i++) {
        n_in += b->txs[i].n_in;
        n_out += b->txs[i].n_out;
        has_witness |= b->txs[i].has_witness;
    }
    memcpy(digits, row->col[COL_HASH].data, row->col[COL_HASH].len == 64 ? 64 : 0);
    struct hash256 hash = vec_hash_reversed(v, digits);
    vec_case(v, hash256_equal(&hash, &b->hash), "hash");
    vec_case(v, number(row->col[COL_BYTES]) == b->raw.len, "bytes: %zu", b->raw.len);
    vec_case(v, number(row->col[COL_WEIGHT]) == block_weight(b), "weight: %zu", block_weight(b));
    vec_case(v, number(row->col[COL_TXS]) == b->n_txs, "transactions: %u", b->n_txs);
    vec_case(v, number(row->col[COL_INPUTS]) == n_in, "inputs: %zu", (size_t)n_in);
    vec_case(v, number(row->col[COL_OUTPUTS]) == n_out, "outputs: %zu", (size_t)n_out);
    vec_case(v, bytes_equal_str(row->col[COL_SEGWIT], "yes") == has_witness, "segwit");
}

/* --- *.prevouts.tsv: what each input spends ----------------------------------------------------- */

struct spent {
    struct tx_out *of_tx; /* for the inputs of one transaction after the other, without coinbase */
    size_t n;
};

static bool read_spent(struct vec *v, const struct block *b, struct spent *out)
{
    size_t tail_len = strlen(strstr(v->name, ".raw")), n = 0;
    struct bytes text = vec_sibling(v, tail_len, ".prevouts.tsv.gz"), line;
    if (!text.data)
        text = vec_sibling(v, tail_len, ".prevouts.tsv");
    if (!text.data)
        return false;
    for (uint32_t i = 1; i < b->n_txs; i++)
        n += b->txs[i].n_in;
    *out = (struct spent){.of_tx = vec_alloc(v, n, sizeof *out->of_tx)};
    vec_line(&text, &line); /* names of the columns */
    for (; vec_line(&text, &line) && out->n < n; out->n++) {
        for (int skip = 0; skip < 4; skip++) /* tx, input, height, coinbase: in order, known */
            vec_field(&line, '\t');
        out->of_tx[out->n].value_sat = (int64_t)number(vec_field(&line, '\t'));
        out->of_tx[out->n].script = vec_hex_of(v, line);
    }
    return vec_case(v, out->n == n, "%zu of %zu outputs spent are known", out->n, n);
}

static bool scripts_hold(const struct tx *t, const struct tx_out *spent, uint32_t flags,
                         uint32_t *out_in_index)
{
    struct tx_spend s;
    tx_spend_init(&s, t, spent);
    for (*out_in_index = 0; *out_in_index < t->n_in; ++*out_in_index)
        if (script_verify(&s, *out_in_index, flags, NULL, NULL) != SCRIPT_ERR_OK)
            return false;
    return true;
}

static int64_t sum_of(const struct tx_out *out, uint32_t n)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += out[i].value_sat;
    return sum;
}

/* Scripts, fees and the cost of signature operations. What a file says of the cost leaves the
 * coinbase out where its source did. */
static void check_spent(struct vec *v, const struct block *b, const struct chain_params *p,
                        uint32_t height, const struct spent *spent, const struct row *row)
{
    uint32_t flags = chain_params_script_flags(p, &b->hash, height);
    const struct tx_out *at = spent->of_tx;
    uint64_t coinbase_cost = tx_sigop_cost(&b->txs[0], NULL, flags), cost = 0;
    int64_t fees = 0;
    for (uint32_t i = 1; i < b->n_txs; at += b->txs[i++].n_in) {
        const struct tx *t = &b->txs[i];
        uint32_t in_index;
        int64_t fee = sum_of(at, t->n_in) - sum_of(t->out, t->n_out);
        bool holds = scripts_hold(t, at, flags, &in_index);
        vec_case(v, holds && fee >= 0, "transaction %u, input %u: scripts, fee", i, in_index);
        cost += tx_sigop_cost(t, at, flags);
        fees += fee;
    }
    int64_t pays = sum_of(b->txs[0].out, b->txs[0].n_out);
    vec_case(v, pays == fees + block_subsidy(p, height), "coinbase pays %lld", (long long)pays);
    vec_case(v, cost + coinbase_cost <= BLOCK_SIGOP_COST_MAX, "sigop cost %zu", (size_t)cost);
    if (row && !bytes_equal_str(row->col[COL_SIGOPCOST], "-")) {
        uint64_t want = number(row->col[COL_SIGOPCOST]);
        vec_case(v, want == cost || want == cost + coinbase_cost, "sigop cost %zu and %zu",
                 (size_t)cost, (size_t)coinbase_cost);
    }
}

static void check_raw(struct vec *v)
{
    struct chain_params p;
    struct block b;
    struct row row;
    struct spent spent;
    bool has_row = find_row(v, &row);
    uint32_t height = has_row ? (uint32_t)number(row.col[COL_HEIGHT]) : number_of_name(v->name, 0);
    if (!vec_case(v, params_of_name(v->name, &p), "no known network") ||
        !read_block(v, v->data, "block", &b) ||
        !block_holds(v, &b, &p, height, b.header.time, "block"))
        return;
    if (has_row)
        check_row(v, &b, &row);
    if (read_spent(v, &b, &spent))
        check_spent(v, &b, &p, height, &spent, has_row ? &row : NULL);
}

/* --- chains ----------------------------------------------------------------------------------- */

struct run {
    struct chain_params p;
    struct header_chain *c;
    uint32_t first_height; /* of what the file begins with, when it is not at genesis */
    uint32_t n, last;      /* how many, and the node of the last */
    struct hash256 before;
    uint32_t times[MTP_N]; /* of the last ones, in a ring */
};

static bool run_start(struct vec *v, struct run *run)
{
    *run = (struct run){.first_height = number_of_name(v->name, 0)};
    if (!vec_case(v, params_of_name(v->name, &run->p), "no known network"))
        return false;
    return header_chain_new(&run->c, &v->mem, (struct map_seed){3, 3}, &run->p, 1u << 20) == ERR_OK;
}

static int compare_times(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* A block of a chain whose beginning we do not have: linked to the one before it. */
static void check_in_line(struct vec *v, struct run *run, const struct block *b, const char *what)
{
    uint32_t times[MTP_N], n = run->n < MTP_N ? run->n : MTP_N, mtp = b->header.time;
    memcpy(times, run->times, sizeof times);
    qsort(times, n, sizeof *times, compare_times);
    if (n == MTP_N)
        mtp = times[n / 2];
    vec_case(v, run->n == 0 || hash256_equal(&b->header.prev, &run->before), "%s: link", what);
    vec_case(v, n < MTP_N || b->header.time > mtp, "%s: time", what);
    block_holds(v, b, &run->p, run->first_height + run->n, mtp, what);
}

/* The next block of a file; whether it is in the header chain, or at least in line. */
static bool run_add(struct vec *v, struct run *run, struct bytes raw, struct block *b)
{
    char what[32];
    struct reject r;
    uint32_t node;
    snprintf(what, sizeof what, "block %u of the file", run->n);
    if (!read_block(v, raw, what, b))
        return false;
    bool is_known = header_chain_find(run->c, &b->hash) != HEADER_NONE;
    if (!is_known && header_chain_find(run->c, &b->header.prev) == HEADER_NONE) {
        check_in_line(v, run, b, what);
    } else if (!is_known) {
        enum verdict verdict =
            header_chain_add(run->c, &b->header, &b->hash, FAR_FUTURE_S, &node, &r);
        if (vec_case(v, verdict == VERDICT_VALID, "%s: %s", what,
                     r.reason ? r.reason : "undecided"))
            block_holds(v, b, &run->p, header_height(run->c, node),
                        header_median_time(run->c, header_parent(run->c, node)), what);
    }
    run->last = header_chain_find(run->c, &b->hash);
    run->before = b->hash;
    run->times[run->n++ % MTP_N] = b->header.time;
    return true;
}

/* Magic, length, block; as in the files of Bitcoin Core. Gives how many there were. */
static void run_dat(struct vec *v, struct run *run, struct bytes data)
{
    struct reader r = reader_init(data);
    while (reader_left(&r)) {
        struct block b;
        struct bytes magic = reader_take(&r, 4);
        struct bytes raw = reader_take(&r, reader_u32le(&r));
        if (!vec_case(v, reader_ok(&r) && memcmp(magic.data, run->p.magic, 4) == 0, "framing") ||
            !run_add(v, run, raw, &b))
            return;
    }
}

static void check_dat(struct vec *v)
{
    struct run run;
    if (!run_start(v, &run))
        return;
    run_dat(v, &run, v->data);
    vec_case(v, run.n > 0, "no blocks");
    header_chain_free(run.c);
}

/* Branches of growing work: the last is the best. Each is read on top of the trunk. */
static void check_reorg(struct vec *v)
{
    static const char *const branches[] = {"3A.dat", "4A.dat", "5A.dat"};
    size_t base_len = strlen(strrchr(v->name, '/') + 1);
    struct run run;
    if (!run_start(v, &run))
        return;
    run_dat(v, &run, v->data);
    uint32_t trunk = header_chain_best(run.c), height = header_height(run.c, trunk);
    for (size_t i = 0; i < sizeof branches / sizeof *branches; i++) {
        run_dat(v, &run, vec_sibling(v, base_len, branches[i]));
        uint32_t best = header_chain_best(run.c);
        if (run.last == HEADER_NONE)
            break;
        vec_case(v, (best == trunk) == (header_height(run.c, run.last) <= height), "after %s",
                 branches[i]);
    }
    uint32_t best = header_chain_best(run.c);
    vec_case(v, header_height(run.c, best) == height + 1 && !header_is_ancestor(run.c, trunk, best),
             "the tip is not at the end of the branch");
    header_chain_free(run.c);
}

/* A bit turned at off, the block is no longer what was signed. */
static bool is_refused_with_bit_off(struct vec *v, const struct run *run, const struct block *b,
                                    size_t off)
{
    struct reject r;
    struct block flipped;
    struct err err;
    uint8_t *copy = memcpy(vec_alloc(v, b->raw.len, 1), b->raw.data, b->raw.len);
    copy[off] ^= 1;
    return block_read(bytes_of(copy, b->raw.len), &v->arena, &flipped, &err) == ERR_OK &&
           block_check_signet(&flipped, run->p.signet_challenge, &v->arena, &r) == VERDICT_INVALID;
}

/* One block a line, in hexadecimal; signet's are signed: a bit off in the solution's signature, or
 * in the time, which it signs, must be seen. */
static void check_signature(struct vec *v, const struct run *run, const struct block *b)
{
    struct reject r;
    if (!run->p.is_signet || hash256_equal(&b->hash, &run->p.genesis))
        return;
    vec_case(v, block_check_signet(b, run->p.signet_challenge, &v->arena, &r) == VERDICT_VALID,
             "block %u: its signature", run->n - 1);
    const uint8_t *at = memmem(b->raw.data, b->raw.len, "\xec\xc7\xda\xa2", 4); /* BIP 325 */
    if (!vec_case(v, at && at + 40 < b->raw.data + b->raw.len, "block %u: solution", run->n - 1))
        return;
    vec_case(v, is_refused_with_bit_off(v, run, b, (size_t)(at - b->raw.data) + 24),
             "block %u: passes with a bit of its signature off", run->n - 1);
    vec_case(v, is_refused_with_bit_off(v, run, b, 68), "block %u: passes with its time off",
             run->n - 1);
}

static void check_hex(struct vec *v)
{
    struct bytes rest = v->data, line;
    struct run run;
    if (!run_start(v, &run))
        return;
    while (vec_line(&rest, &line)) {
        struct block b;
        if (line.len && run_add(v, &run, vec_hex_of(v, line), &b))
            check_signature(v, &run, &b);
    }
    vec_case(v, run.n > 0, "no blocks");
    header_chain_free(run.c);
}

const struct vec_check vec_blocks_checks[] = {
    {"blocks/blocks.tsv", NULL},    {"blocks/*.prevouts.tsv*", NULL},
    {"blocks/*.raw*", check_raw},   {"blocks/reorg-*/0_to_*.dat", check_reorg},
    {"blocks/reorg-*/*.dat", NULL}, {"blocks/*.dat*", check_dat},
    {"blocks/*.hex*", check_hex},   {0},
};
