#include "sim/chain_miner.h"
#include "chain/header_chain.h"
#include "crypto/sha256d.h"

#define MINER_TX_LEN_MAX 65536u
#define OP_TRUE          0x51u

static void put(struct buf *out, const struct writer *w)
{
    struct bytes b = writer_bytes(w);
    buf_put(out, b);
}

static void write_ins(struct writer *w, const struct miner_tx *t)
{
    writer_compact_size(w, t->n_in);
    for (uint32_t i = 0; i < t->n_in; i++) {
        writer_put(w, bytes_of(t->in[i].prev.txid.b, sizeof t->in[i].prev.txid.b));
        writer_u32le(w, t->in[i].prev.n);
        writer_u8(w, 0);
        writer_u32le(w, t->in[i].sequence);
    }
}

static void write_out(struct writer *w, int64_t sats)
{
    writer_u64le(w, (uint64_t)sats);
    writer_u8(w, 1);
    writer_u8(w, OP_TRUE);
}

void chain_miner_tx(const struct miner_tx *t, struct buf *out, struct hash256 *out_txid)
{
    uint8_t raw[MINER_TX_LEN_MAX];
    struct writer w = writer_init(raw, sizeof raw);
    writer_u32le(&w, t->version);
    write_ins(&w, t);
    writer_compact_size(&w, t->n_out);
    for (uint32_t i = 0; i < t->n_out; i++)
        write_out(&w, t->out_sat[i]);
    writer_u32le(&w, t->lock_time);
    sha256d(writer_bytes(&w), out_txid->b);
    put(out, &w);
}

/* BIP 34: the height as a script number, shortest form; then the extra nonce. */
static void write_coinbase_script(struct writer *w, uint32_t height, uint64_t extra_nonce)
{
    uint8_t script[32];
    struct writer s = writer_init(script, sizeof script);
    if (height <= 16) {
        writer_u8(&s, height ? (uint8_t)(0x50 + height) : 0);
    } else {
        uint8_t n = height < 0x80 ? 1 : height < 0x8000 ? 2 : height < 0x800000 ? 3 : 4;
        writer_u8(&s, n);
        for (uint8_t i = 0; i < n; i++)
            writer_u8(&s, (uint8_t)(height >> (8 * i)));
    }
    writer_u8(&s, 8);
    writer_u64le(&s, extra_nonce);
    writer_compact_size(w, s.pos);
    writer_put(w, writer_bytes(&s));
}

static void build_coinbase(const struct miner_block *m, struct writer *w, struct hash256 *out_txid)
{
    writer_u32le(w, 1);
    writer_u8(w, 1);
    writer_fill(w, 0, 32);
    writer_u32le(w, UINT32_MAX);
    write_coinbase_script(w, m->height, m->extra_nonce);
    writer_u32le(w, UINT32_MAX);
    writer_u8(w, 1);
    write_out(w, m->coinbase_sat);
    writer_u32le(w, 0);
    sha256d(writer_bytes(w), out_txid->b);
}

static bool build_root(const struct miner_block *m, const struct hash256 *coinbase, struct mem *mem,
                       struct hash256 *out)
{
    struct hash256 *ids = mem_calloc(mem, m->n_txs + 1, sizeof *ids);
    if (!ids)
        return false;
    ids[0] = *coinbase;
    for (uint32_t i = 0; i < m->n_txs; i++)
        sha256d(m->txs[i], ids[i + 1].b);
    block_merkle_root(ids, m->n_txs + 1, out, NULL);
    mem_free(mem, ids);
    return true;
}

static void grind(const struct chain_params *p, struct block_header *h, struct hash256 *out_hash)
{
    for (h->nonce = 0;; h->nonce++) {
        block_header_hash(h, out_hash);
        if (header_pow_is_right(out_hash, h->bits, p))
            return;
    }
}

void chain_miner_block(const struct chain_params *p, const struct miner_block *m, struct buf *out,
                       struct hash256 *out_hash, struct hash256 *out_txid)
{
    uint8_t coinbase[256], head[BLOCK_HEADER_LEN + 9];
    struct hash256 txid;
    struct block_header h = {.version = 4, .prev = m->prev, .time = m->time, .bits = m->bits};
    struct writer w = writer_init(coinbase, sizeof coinbase);
    struct writer front = writer_init(head, sizeof head);
    build_coinbase(m, &w, &txid);
    if (!build_root(m, &txid, out->mem, &h.merkle_root)) {
        out->err = ERR_NO_MEMORY;
        return;
    }
    grind(p, &h, out_hash);
    block_header_write(&front, &h);
    writer_compact_size(&front, (uint64_t)m->n_txs + 1);
    put(out, &front);
    put(out, &w);
    for (uint32_t i = 0; i < m->n_txs; i++)
        buf_put(out, m->txs[i]);
    if (out_txid)
        *out_txid = txid;
}
