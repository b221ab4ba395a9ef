#include "chain/block.h"
#include "chain/bip54.h"
#include "chain/script.h"
#include "crypto/sha256d.h"

#define TX_LEN_MIN 10u /* version, no inputs, no outputs, lock time */

/* --- parsing --------------------------------------------------------------------------------- */

static void read_txs(struct reader *r, struct arena *a, struct block *b)
{
    uint64_t n = reader_compact_size(r);
    if (n > reader_left(r) / TX_LEN_MIN) {
        reader_fail(r, ERR_TRUNCATED, "more transactions promised than bytes are left for");
        return;
    }
    b->stripped_len = r->pos;
    b->txs = n ? arena_alloc(a, (size_t)n * sizeof *b->txs) : NULL;
    if (n && !b->txs)
        reader_fail(r, ERR_NO_MEMORY, "no memory for a block's transactions");
    for (; b->n_txs < n && reader_ok(r); b->n_txs++)
        if (tx_read(r, a, true, &b->txs[b->n_txs]) == ERR_OK)
            b->stripped_len += b->txs[b->n_txs].stripped_len;
}

enum err_code block_read(struct bytes raw, struct arena *a, struct block *out, struct err *err)
{
    struct reader r = reader_init(raw);
    *out = (struct block){.raw = raw};
    if (block_header_read(&r, &out->header) == ERR_OK)
        read_txs(&r, a, out);
    if (reader_end(&r)) {
        *out = (struct block){0};
        *err = r.err;
        return r.err.code;
    }
    sha256d(bytes_sub(raw, 0, BLOCK_HEADER_LEN), out->hash.b);
    tx_hash_many(out->txs, out->n_txs);
    return ERR_OK;
}

/* --- merkle trees ---------------------------------------------------------------------------- */

static bool has_equal_pair(const struct hash256 *ids, size_t n)
{
    bool has = false;
    for (size_t i = 0; i + 1 < n; i += 2)
        has |= hash256_equal(&ids[i], &ids[i + 1]);
    return has;
}

/* One level up: n ids to half as many, rounded up; the last of an odd number joins itself. */
static size_t merkle_level(struct hash256 *ids, size_t n)
{
    uint8_t(*level)[SHA256_LEN] = (uint8_t(*)[SHA256_LEN])ids;
    struct hash256 twice[2];
    if (n % 2)
        twice[0] = twice[1] = ids[n - 1]; /* before its place may be written over */
    sha256d_pairs(*level, n / 2, level);
    if (n % 2)
        sha256d_pairs(twice[0].b, 1, level + n / 2);
    return n / 2 + n % 2;
}

void block_merkle_root(struct hash256 *ids, size_t n, struct hash256 *out, bool *out_is_mutated)
{
    bool is_mutated = false;
    for (size_t left = n; left > 1; left = merkle_level(ids, left))
        is_mutated |= has_equal_pair(ids, left);
    *out = n ? ids[0] : (struct hash256){{0}};
    if (out_is_mutated)
        *out_is_mutated = is_mutated;
}

static struct hash256 *new_ids(const struct block *b, struct arena *scratch)
{
    return arena_alloc(scratch, b->n_txs * sizeof(struct hash256));
}

/* BIP 141, "Commitment structure": the root over wtxids, the coinbase's taken as zeros, hashed
 * together with the coinbase's reserved value. */
static enum verdict witness_commitment_of(const struct block *b, struct bytes nonce,
                                          struct arena *scratch, struct hash256 *out,
                                          struct reject *r)
{
    struct hash256 pair[2];
    struct hash256 *ids = new_ids(b, scratch);
    if (!ids)
        return reject_failed(r, ERR_NO_MEMORY, "no memory for a merkle tree");
    ids[0] = (struct hash256){{0}};
    for (uint32_t i = 1; i < b->n_txs; i++)
        ids[i] = b->txs[i].wtxid;
    block_merkle_root(ids, b->n_txs, &pair[0],
                      NULL); /* mutation here changes nothing: txids differ */
    memcpy(pair[1].b, nonce.data, sizeof pair[1].b);
    sha256d(bytes_of(pair, sizeof pair), out->b);
    return VERDICT_VALID;
}

int block_witness_commitment(const struct block *b, struct hash256 *out)
{
    static const uint8_t prefix[] = {0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed}; /* BIP 141 */
    if (b->n_txs == 0)
        return -1;
    const struct tx *coinbase = &b->txs[0];
    for (uint32_t i = coinbase->n_out; i-- > 0;) {
        struct bytes s = coinbase->out[i].script;
        if (s.len < sizeof prefix + sizeof *out ||
            !bytes_starts_with(s, bytes_of(prefix, sizeof prefix)))
            continue;
        if (out)
            memcpy(out->b, s.data + sizeof prefix, sizeof out->b);
        return (int)i;
    }
    return -1;
}

/* --- rules without context ------------------------------------------------------------------- */

static enum verdict check_merkle(const struct block *b, struct arena *scratch, struct reject *r)
{
    struct hash256 root;
    bool is_mutated;
    struct hash256 *ids = new_ids(b, scratch);
    if (!ids)
        return reject_failed(r, ERR_NO_MEMORY, "no memory for a merkle tree");
    for (uint32_t i = 0; i < b->n_txs; i++)
        ids[i] = b->txs[i].txid;
    block_merkle_root(ids, b->n_txs, &root, &is_mutated);
    if (!hash256_equal(&root, &b->header.merkle_root))
        return reject_mutated(r, "bad-txnmrklroot", "hashMerkleRoot mismatch");
    if (is_mutated)
        return reject_mutated(r, "bad-txns-duplicate", "duplicate transaction");
    return VERDICT_VALID;
}

static enum verdict check_shape(const struct block *b, struct reject *r)
{
    if (b->n_txs == 0 || b->n_txs > BLOCK_WEIGHT_MAX / WITNESS_SCALE ||
        b->stripped_len > BLOCK_WEIGHT_MAX / WITNESS_SCALE)
        return reject_block(r, "bad-blk-length", "size limits failed");
    if (!tx_is_coinbase(&b->txs[0]))
        return reject_block(r, "bad-cb-missing", "first tx is not coinbase");
    for (uint32_t i = 1; i < b->n_txs; i++)
        if (tx_is_coinbase(&b->txs[i]))
            return reject_tx(r, "bad-cb-multiple", "more than one coinbase", i, REJECT_NO_INDEX);
    return VERDICT_VALID;
}

static enum verdict check_txs(const struct block *b, struct arena *scratch, struct reject *r)
{
    for (uint32_t i = 0; i < b->n_txs; i++) {
        const char *reason = tx_check(&b->txs[i], scratch);
        if (reason)
            return reject_tx(r, reason, "Transaction check failed", i, REJECT_NO_INDEX);
    }
    uint64_t n_sigops = 0;
    for (uint32_t i = 0; i < b->n_txs; i++)
        n_sigops += tx_legacy_sigops(&b->txs[i]);
    if (n_sigops > BLOCK_SIGOP_COST_MAX / WITNESS_SCALE)
        return reject_block(r, "bad-blk-sigops", "out-of-bounds SigOpCount");
    return VERDICT_VALID;
}

enum verdict block_check(const struct block *b, struct arena *scratch, struct reject *r)
{
    *r = REJECT_NONE;
    enum verdict v = check_merkle(b, scratch, r);
    if (v == VERDICT_VALID)
        v = check_shape(b, r);
    return v == VERDICT_VALID ? check_txs(b, scratch, r) : v;
}

/* --- rules in context ------------------------------------------------------------------------ */

/* BIP 34: the height as the script number pushed first (one to sixteen as their opcodes). */
static struct bytes height_push(uint32_t height, uint8_t out[6])
{
    struct writer w = writer_init(out, 6);
    if (height == 0)
        writer_u8(&w, 0x00);
    else if (height <= 16)
        writer_u8(&w, (uint8_t)(0x50 + height));
    if (height <= 16)
        return writer_bytes(&w);
    size_t len = height < 0x80 ? 1 : height < 0x8000 ? 2 : height < 0x800000 ? 3 : 4;
    if (height >= 0x80000000u)
        len = 5; /* a sign must have room */
    writer_u8(&w, (uint8_t)len);
    for (size_t i = 0; i < len; i++)
        writer_u8(&w, (uint8_t)((uint64_t)height >> (8 * i)));
    return writer_bytes(&w);
}

static enum verdict check_witness(const struct block *b, bool is_segwit, struct arena *scratch,
                                  struct reject *r)
{
    struct hash256 want, got;
    struct bytes nonce, rest;
    if (is_segwit && block_witness_commitment(b, &want) >= 0) {
        rest = b->txs[0].in[0].witness;
        if (b->txs[0].in[0].n_witness != 1 || !witness_next(&rest, &nonce) ||
            nonce.len != sizeof got)
            return reject_mutated(r, "bad-witness-nonce-size",
                                  "invalid witness reserved value size");
        enum verdict v = witness_commitment_of(b, nonce, scratch, &got, r);
        if (v != VERDICT_VALID)
            return v;
        if (!hash256_equal(&want, &got))
            return reject_mutated(r, "bad-witness-merkle-match",
                                  "witness merkle commitment mismatch");
        return VERDICT_VALID;
    }
    for (uint32_t i = 0; i < b->n_txs; i++) {
        if (!b->txs[i].has_witness)
            continue;
        enum verdict v =
            reject_tx(r, "unexpected-witness", "unexpected witness data found", i, REJECT_NO_INDEX);
        r->is_mutated = true;
        return v;
    }
    return VERDICT_VALID;
}

enum verdict block_check_context(const struct block *b, const struct chain_params *p,
                                 uint32_t height, uint32_t mtp_prev, struct arena *scratch,
                                 struct reject *r)
{
    bool by_mtp = chain_params_is_active(p, DEPLOY_CSV, height);
    uint8_t push_buf[6];
    *r = REJECT_NONE;
    for (uint32_t i = 0; i < b->n_txs; i++)
        if (!tx_is_final(&b->txs[i], height, by_mtp ? mtp_prev : b->header.time))
            return reject_tx(r, "bad-txns-nonfinal", "non-final transaction", i, REJECT_NO_INDEX);
    if (chain_params_is_active(p, DEPLOY_BIP34, height) &&
        !bytes_starts_with(b->txs[0].in[0].script_sig, height_push(height, push_buf)))
        return reject_block(r, "bad-cb-height", "block height mismatch in coinbase");
    enum verdict v = check_witness(b, chain_params_is_active(p, DEPLOY_SEGWIT, height), scratch, r);
    if (v != VERDICT_VALID)
        return v;
    if (block_weight(b) > BLOCK_WEIGHT_MAX)
        return reject_block(r, "bad-blk-weight", "weight limit failed");
    return p->has_bip54 ? bip54_check_block(b, height, r) : VERDICT_VALID;
}

enum verdict block_check_mutation(const struct block *b, bool is_segwit, struct arena *scratch,
                                  struct reject *r)
{
    *r = REJECT_NONE;
    enum verdict v = check_merkle(b, scratch, r);
    if (v != VERDICT_VALID)
        return v;
    if (b->n_txs && tx_is_coinbase(&b->txs[0]))
        return check_witness(b, is_segwit, scratch, r);
    for (uint32_t i = 0; i < b->n_txs; i++)
        if (b->txs[i].stripped_len == 2 * sizeof(struct hash256))
            return reject_mutated(r, "bad-txnmrklroot", "a transaction looks like a merkle node");
    return VERDICT_VALID;
}

/* --- small rules ----------------------------------------------------------------------------- */

int64_t block_subsidy(const struct chain_params *p, uint32_t height)
{
    uint32_t n_halvings = height / p->subsidy_halving_blocks;
    return n_halvings < 64 ? (50 * COIN_SATS) >> n_halvings : 0;
}

#define LOCK_TIME_HEIGHT_MAX 500000000u /* consensus: below is a height, else a time */
#define SEQUENCE_FINAL       0xffffffffu

bool tx_is_final(const struct tx *t, uint32_t height, int64_t time)
{
    int64_t now = t->lock_time < LOCK_TIME_HEIGHT_MAX ? height : time;
    if (t->lock_time == 0 || t->lock_time < now)
        return true;
    for (uint32_t i = 0; i < t->n_in; i++)
        if (t->in[i].sequence != SEQUENCE_FINAL)
            return false;
    return true;
}
