#include "chain/block.h"
#include "chain/script_op.h"
#include "chain/script_verify.h"
#include "crypto/sha256d.h"

/* BIP 325: a block carries a solution, a scriptSig and a witness, in the output of its coinbase
 * that commits to the witnesses. Two transactions that exist nowhere else stand for the challenge
 * and its spending; the first one commits to the block without the solution. */

#define REASON         "bad-signet-blksig"
#define DETAIL         "signet block signature validation failure"
#define SIGNET_HEADER  BYTES_LIT("\xec\xc7\xda\xa2") /* BIP 325, "Signet solution" */
#define COMMITTED_LEN  72u                           /* version, parent, merkle root, time */
#define SOLUTION_FLAGS (SCRIPT_P2SH | SCRIPT_WITNESS | SCRIPT_DERSIG | SCRIPT_NULLDUMMY)

/* The commitment's script with the first push that begins with the header cut down to it; what was
 * cut off is the solution. Without one the script stays as it is and the solution is empty. */
static struct bytes take_solution(struct bytes script, struct span room, struct bytes *out_solution)
{
    struct writer w = writer_init(room.data, room.len);
    size_t pos = 0;
    uint8_t op;
    struct bytes push;
    *out_solution = (struct bytes){0};
    while (script_next(script, &pos, &op, &push)) {
        if (push.len == 0) {
            writer_u8(&w, op);
            continue;
        }
        if (!out_solution->len && push.len > SIGNET_HEADER.len &&
            bytes_starts_with(push, SIGNET_HEADER)) {
            *out_solution = bytes_sub(push, SIGNET_HEADER.len, push.len);
            push.len = SIGNET_HEADER.len;
        }
        script_write_push(&w, push);
    }
    return out_solution->len ? writer_bytes(&w) : script;
}

/* scriptSig, then a witness, then nothing. */
static bool read_solution(struct bytes solution, struct tx_in *in)
{
    struct reader r = reader_init(solution);
    if (solution.len == 0)
        return true; /* a challenge may be free */
    in->script_sig = reader_take(&r, (size_t)reader_compact_size(&r));
    uint64_t n = reader_compact_size(&r);
    if (n > reader_left(&r))
        return false;
    size_t from = r.pos;
    for (uint64_t i = 0; i < n; i++)
        reader_skip(&r, (size_t)reader_compact_size(&r));
    in->n_witness = (uint32_t)n;
    in->witness = bytes_sub(solution, from, r.pos - from);
    return reader_end(&r) == ERR_OK;
}

/* The id that the coinbase has when the commitment's output is this script. */
static bool hash_coinbase(const struct tx *t, uint32_t out_index, struct bytes script,
                          struct arena *scratch, struct hash256 *out)
{
    size_t len = t->stripped_len + 16; /* the script does not grow */
    uint8_t *room = arena_alloc(scratch, len);
    if (!room)
        return false;
    struct writer w = writer_init(room, len);
    writer_u32le(&w, t->version);
    writer_compact_size(&w, t->n_in);
    for (uint32_t i = 0; i < t->n_in; i++) {
        writer_put(&w, bytes_of(t->in[i].prev.txid.b, 32));
        writer_u32le(&w, t->in[i].prev.n);
        writer_compact_size(&w, t->in[i].script_sig.len);
        writer_put(&w, t->in[i].script_sig);
        writer_u32le(&w, t->in[i].sequence);
    }
    writer_compact_size(&w, t->n_out);
    for (uint32_t i = 0; i < t->n_out; i++) {
        struct tx_out o = t->out[i];
        if (i == out_index)
            o.script = script;
        tx_out_write(&w, &o);
    }
    writer_u32le(&w, t->lock_time);
    sha256d(writer_bytes(&w), out->b);
    return true;
}

static bool hash_modified_root(const struct block *b, const struct hash256 *coinbase,
                               struct arena *scratch, struct hash256 *out)
{
    struct hash256 *ids = arena_calloc(scratch, b->n_txs, sizeof *ids);
    if (!ids)
        return false;
    ids[0] = *coinbase;
    for (uint32_t i = 1; i < b->n_txs; i++)
        ids[i] = b->txs[i].txid;
    block_merkle_root(ids, b->n_txs, out, NULL);
    return true;
}

/* BIP 325, "Block 'to_spend' transaction". */
static bool hash_to_spend(const struct block *b, const struct hash256 *root, struct bytes challenge,
                          struct arena *scratch, struct hash256 *out)
{
    size_t len = challenge.len + 160;
    uint8_t *room = arena_alloc(scratch, len);
    if (!room)
        return false;
    struct writer w = writer_init(room, len);
    writer_u32le(&w, 0);
    writer_u8(&w, 1);
    writer_fill(&w, 0, 32);
    writer_u32le(&w, UINT32_MAX);
    writer_u8(&w, 2 + COMMITTED_LEN);
    writer_u8(&w, OP_0);
    writer_u8(&w, COMMITTED_LEN);
    writer_u32le(&w, (uint32_t)b->header.version);
    writer_put(&w, bytes_of(b->header.prev.b, 32));
    writer_put(&w, bytes_of(root->b, 32));
    writer_u32le(&w, b->header.time);
    writer_u32le(&w, 0);
    writer_u8(&w, 1);
    tx_out_write(&w, &(struct tx_out){.script = challenge});
    writer_u32le(&w, 0);
    sha256d(writer_bytes(&w), out->b);
    return true;
}

/* BIP 325, "Block 'to_sign' transaction". */
static bool solution_holds(struct tx_in *in, struct bytes challenge)
{
    const struct tx_out spent = {.script = challenge};
    struct tx_out to_nobody = {.script = BYTES_LIT("\x6a")};
    const struct tx to_sign = {.n_in = 1, .n_out = 1, .in = in, .out = &to_nobody};
    struct tx_spend s;
    tx_spend_init(&s, &to_sign, &spent);
    return script_verify(&s, 0, SOLUTION_FLAGS, NULL, NULL) == SCRIPT_ERR_OK;
}

/* Genesis has no parent and needs no solution. */
enum verdict block_check_signet(const struct block *b, struct bytes challenge,
                                struct arena *scratch, struct reject *r)
{
    struct tx_in in = {0};
    struct hash256 coinbase, root;
    struct bytes solution;
    if (hash256_is_zero(&b->header.prev))
        return VERDICT_VALID;
    int at = b->n_txs ? block_witness_commitment(b, NULL) : -1;
    if (at < 0)
        return reject_block(r, REASON, DETAIL);
    struct bytes script = b->txs[0].out[at].script;
    struct span room = {arena_alloc(scratch, script.len), script.len};
    if (!room.data)
        return reject_failed(r, ERR_NO_MEMORY, "no memory for a signet check");
    script = take_solution(script, room, &solution);
    if (!read_solution(solution, &in))
        return reject_block(r, REASON, DETAIL);
    if (!hash_coinbase(&b->txs[0], (uint32_t)at, script, scratch, &coinbase) ||
        !hash_modified_root(b, &coinbase, scratch, &root) ||
        !hash_to_spend(b, &root, challenge, scratch, &in.prev.txid))
        return reject_failed(r, ERR_NO_MEMORY, "no memory for a signet check");
    return solution_holds(&in, challenge) ? VERDICT_VALID : reject_block(r, REASON, DETAIL);
}
