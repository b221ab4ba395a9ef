#include "chain/coins_hash.h"
#include "chain/tx.h"
#include <assert.h>

#define RECORD_LEN_MAX (36u + 4 + 8 + 9 + COIN_SCRIPT_LEN_MAX)
#define BOGO_LEN       50u /* txid 32, number 4, height 4, value 8, length of script 2 */

static_assert(RECORD_LEN_MAX <= COINS_HASH_BUF_LEN, "the buffer holds a record");

void coins_hash_init(struct coins_hash *h, unsigned kinds)
{
    h->kinds = kinds;
    h->totals = (struct coins_totals){0};
    h->last_txid = (struct hash256){0};
    h->buf_len = 0;
    sha256_init(&h->sha);
    muhash_init(&h->muhash);
}

static struct bytes record_write(uint8_t *out, size_t cap, const struct outpoint *at,
                                 const struct coin *c)
{
    struct tx_out o = {.value_sat = c->value_sat, .script = c->script};
    struct writer w = writer_init(out, cap);
    writer_put(&w, bytes_of(at->txid.b, sizeof at->txid.b));
    writer_u32le(&w, at->n);
    writer_u32le(&w, c->height << 1 | c->is_coinbase);
    tx_out_write(&w, &o);
    assert(writer_ok(&w));
    return writer_bytes(&w);
}

static void buf_flush(struct coins_hash *h)
{
    sha256_update(&h->sha, bytes_of(h->buf, h->buf_len));
    h->buf_len = 0;
}

void coins_hash_add(struct coins_hash *h, const struct outpoint *at, const struct coin *c)
{
    struct coins_totals *t = &h->totals;
    t->n_txs += t->n_coins == 0 || !hash256_equal(&h->last_txid, &at->txid);
    t->n_coins++;
    t->amount_sat += c->value_sat;
    t->bogosize += BOGO_LEN + c->script.len;
    h->last_txid = at->txid;
    if (h->kinds == COINS_HASH_NONE)
        return;
    if (RECORD_LEN_MAX > sizeof h->buf - h->buf_len)
        buf_flush(h);
    struct bytes record = record_write(h->buf + h->buf_len, sizeof h->buf - h->buf_len, at, c);
    if (h->kinds & COINS_HASH_MUHASH)
        muhash_add(&h->muhash, record);
    if (h->kinds & COINS_HASH_SERIALIZED)
        h->buf_len += record.len;
}

void coins_hash_remove(struct coins_hash *h, const struct outpoint *at, const struct coin *c)
{
    uint8_t record[RECORD_LEN_MAX];
    assert(h->kinds == COINS_HASH_MUHASH);
    muhash_remove(&h->muhash, record_write(record, sizeof record, at, c));
    h->totals.n_coins--;
    h->totals.amount_sat -= c->value_sat;
    h->totals.bogosize -= BOGO_LEN + c->script.len;
}

void coins_hash_join(struct coins_hash *h, const struct coins_hash *other)
{
    assert(h->kinds == other->kinds && !(h->kinds & COINS_HASH_SERIALIZED));
    h->totals.n_coins += other->totals.n_coins;
    h->totals.n_txs += other->totals.n_txs;
    h->totals.bogosize += other->totals.bogosize;
    h->totals.amount_sat += other->totals.amount_sat;
    muhash_join(&h->muhash, &other->muhash);
}

enum err_code coins_hash_final(struct coins_hash *h, struct coins_totals *out)
{
    *out = h->totals;
    if (h->kinds & COINS_HASH_SERIALIZED) {
        buf_flush(h);
        sha256_final(&h->sha, out->serialized.b);
        sha256(bytes_of(out->serialized.b, sizeof out->serialized.b), out->serialized.b);
    }
    if (h->kinds & COINS_HASH_MUHASH && !muhash_final(&h->muhash, out->muhash.b))
        return ERR_NO_MEMORY;
    return ERR_OK;
}

static bool add_each(void *ctx, const struct outpoint *at, const struct coin *c)
{
    coins_hash_add(ctx, at, c);
    return true;
}

enum err_code coins_hash_store(const struct coins_store *s, unsigned kinds, struct mem *mem,
                               struct coins_totals *out, struct err *err)
{
    struct coins_hash *h = mem_alloc(mem, sizeof *h);
    if (!h)
        return err_set(err, ERR_NO_MEMORY, "no memory to hash coins");
    coins_hash_init(h, kinds);
    enum err_code code = s->iterate(s->ctx, NULL, add_each, h, err);
    if (!code && coins_hash_final(h, out))
        code = err_set(err, ERR_NO_MEMORY, "no memory to hash coins");
    mem_free(mem, h);
    return code;
}
