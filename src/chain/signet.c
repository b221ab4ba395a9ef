/* signet: whether the network's signers agreed to a block (BIP 325): the solution in the coinbase
 * must spend a virtual output with the challenge as its script. */
#include "chain/block.h"
#include "chain/script_verify.h"
#include "crypto/sha256d.h"

#define SIGNET_FLAGS (SCRIPT_P2SH | SCRIPT_WITNESS | SCRIPT_DERSIG | SCRIPT_NULLDUMMY)
#define OP_PUSHDATA1 0x4cu
#define OP_PUSHDATA2 0x4du
#define OP_PUSHDATA4 0x4eu
#define OP_RETURN    0x6au

static const uint8_t signet_header[4] = {0xec, 0xc7, 0xda, 0xa2};

static enum verdict not_signed(struct reject *r, const char *detail)
{
    return reject_block(r, "bad-signet-blksig", detail);
}

static enum verdict no_memory(struct reject *r)
{
    struct err err = {0};
    err_set(&err, ERR_NO_MEMORY, "no memory to check the signet solution");
    return reject_undecided(r, &err);
}

static void write_push(struct writer *w, struct bytes push)
{
    if (push.len < OP_PUSHDATA1) {
        writer_u8(w, (uint8_t)push.len);
    } else if (push.len <= UINT8_MAX) {
        writer_u8(w, OP_PUSHDATA1);
        writer_u8(w, (uint8_t)push.len);
    } else if (push.len <= UINT16_MAX) {
        writer_u8(w, OP_PUSHDATA2);
        writer_u16le(w, (uint16_t)push.len);
    } else {
        writer_u8(w, OP_PUSHDATA4);
        writer_u32le(w, (uint32_t)push.len);
    }
    writer_put(w, push);
}

/* BIP 325, "Message": the commitment's script without the solution, whose header stays. *solution is
 * empty when there is none. */
static void split_commitment(struct bytes script, struct writer *w, struct bytes *solution)
{
    struct bytes push, header = bytes_of(signet_header, sizeof signet_header);
    size_t pos = 0;
    uint8_t op;
    *solution = (struct bytes){0};
    while (script_next(script, &pos, &op, &push)) {
        if (!solution->data && push.len > header.len && bytes_starts_with(push, header)) {
            *solution = bytes_sub(push, header.len, push.len);
            push = header;
        }
        if (push.len)
            write_push(w, push);
        else
            writer_u8(w, op);
    }
}

/* Merkle root of the block with the solution taken out of its coinbase. */
static bool modified_root(const struct block *b, int at, struct bytes script, struct arena *a,
                          struct hash256 *out)
{
    struct tx coinbase = b->txs[0];
    size_t len = coinbase.stripped_len + script.len + 9;
    uint8_t *raw = arena_alloc(a, len);
    struct tx_out *outs = arena_alloc(a, coinbase.n_out * sizeof *outs);
    struct hash256 *ids = arena_alloc(a, b->n_txs * sizeof *ids);
    if (!raw || !outs || !ids)
        return false;
    memcpy(outs, coinbase.out, coinbase.n_out * sizeof *outs);
    outs[at].script = script;
    coinbase.out = outs;
    struct writer w = writer_init(raw, len);
    tx_write_stripped(&w, &coinbase);
    sha256d(writer_bytes(&w), ids[0].b);
    for (uint32_t i = 1; i < b->n_txs; i++)
        ids[i] = b->txs[i].txid;
    block_merkle_root(ids, b->n_txs, out, NULL);
    return true;
}

/* The transaction that holds the message: its only output has the challenge as script. */
static void write_to_spend(struct writer *w, const struct block_header *h,
                           const struct hash256 *root, struct bytes challenge)
{
    writer_u32le(w, 0);
    writer_u8(w, 1);
    writer_fill(w, 0, 32);
    writer_u32le(w, UINT32_MAX);
    writer_u8(w, 74); /* OP_0 and a push of 72 bytes */
    writer_u8(w, 0);
    writer_u8(w, 72);
    writer_u32le(w, (uint32_t)h->version);
    writer_put(w, bytes_of(h->prev.b, sizeof h->prev.b));
    writer_put(w, bytes_of(root->b, sizeof root->b));
    writer_u32le(w, h->time);
    writer_u32le(w, 0);
    writer_u8(w, 1);
    writer_u64le(w, 0);
    writer_compact_size(w, challenge.len);
    writer_put(w, challenge);
    writer_u32le(w, 0);
}

/* The solution: a scriptSig and a witness stack, as in a transaction. */
static bool read_solution(struct bytes solution, struct tx_in *in)
{
    struct reader r = reader_init(solution);
    if (!solution.data) /* a challenge may ask for nothing */
        return true;
    in->script_sig = reader_take(&r, (size_t)reader_compact_size(&r));
    in->n_witness = (uint32_t)reader_compact_size(&r);
    size_t from = r.pos;
    for (uint32_t i = 0; i < in->n_witness && reader_ok(&r); i++)
        reader_skip(&r, (size_t)reader_compact_size(&r));
    if (reader_end(&r))
        return false;
    in->witness = bytes_sub(solution, from, solution.len);
    return true;
}

static enum verdict verify(const struct hash256 *spent_txid, struct bytes solution,
                           struct bytes challenge, struct arena *a, struct reject *r)
{
    static const uint8_t nothing[] = {OP_RETURN};
    struct tx_in in = {.prev = {*spent_txid, 0}};
    struct tx_out out = {.script = bytes_of(nothing, sizeof nothing)};
    struct tx_out spent = {.script = challenge};
    struct tx t = {.n_in = 1, .n_out = 1, .in = &in, .out = &out};
    struct tx_spend s;
    if (!read_solution(solution, &in))
        return not_signed(r, "the solution is not a script and a witness");
    tx_spend_init(&s, &t, &spent);
    enum script_err e = script_verify(&s, 0, SIGNET_FLAGS, NULL, a->mem);
    if (e == SCRIPT_ERR_NO_MEMORY)
        return no_memory(r);
    return e ? not_signed(r, script_err_text(e)) : VERDICT_VALID;
}

enum verdict block_check_signet(const struct block *b, struct bytes challenge,
                                struct arena *scratch, struct reject *r)
{
    struct hash256 root, txid;
    struct bytes solution;
    int at = block_witness_commitment(b, NULL);
    if (at < 0)
        return not_signed(r, "no witness commitment to hold a solution");
    struct bytes script = b->txs[0].out[at].script;
    size_t cap = 160 + challenge.len;
    uint8_t *data = arena_alloc(scratch, script.len), *message = arena_alloc(scratch, cap);
    if (!data || !message)
        return no_memory(r);
    struct writer w = writer_init(data, script.len), m = writer_init(message, cap);
    split_commitment(script, &w, &solution);
    if (writer_end(&w)) /* pushes are written shortest: never longer than they were */
        return not_signed(r, "the commitment is not a script");
    if (!modified_root(b, at, solution.data ? writer_bytes(&w) : script, scratch, &root))
        return no_memory(r);
    write_to_spend(&m, &b->header, &root, challenge);
    sha256d(writer_bytes(&m), txid.b);
    return verify(&txid, solution, challenge, scratch, r);
}
