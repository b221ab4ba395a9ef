#include "chain/undo.h"
#include "base/size.h"
#include "chain/tx.h"

#define TX_LEN_MIN    1u /* a count */
#define SPENT_LEN_MIN 3u /* code, amount, kind of script */

/* The coin with the byte that Bitcoin Core writes between height and amount (src/undo.h): a
 * transaction version once, now always 0, and not there when the height is 0. */
static void spent_write(struct writer *w, const struct coin *c)
{
    writer_varint(w, (uint64_t)c->height * 2 + c->is_coinbase);
    if (c->height > 0)
        writer_u8(w, 0);
    writer_varint(w, amount_compress((uint64_t)c->value_sat));
    script_write_compressed(w, c->script);
}

static enum err_code spent_read(struct reader *r, struct arena *a, struct coin *out)
{
    uint64_t code = reader_varint(r);
    if (code > UINT32_MAX)
        reader_fail(r, ERR_MALFORMED, "height of a spent coin is too large");
    out->height = (uint32_t)(code >> 1);
    out->is_coinbase = code & 1;
    if (out->height > 0)
        reader_varint(r); /* whatever version it says */
    uint64_t amount = amount_decompress(reader_varint(r));
    if (amount > (uint64_t)MONEY_SATS_MAX)
        reader_fail(r, ERR_MALFORMED, "amount of a spent coin is too large");
    out->value_sat = (int64_t)amount;
    return script_read_compressed(r, a, &out->script);
}

size_t undo_len(const struct undo_block *u)
{
    size_t len = compact_size_len(u->n_txs);
    for (uint32_t i = 0; i < u->n_txs; i++) {
        len += compact_size_len(u->txs[i].n_spent);
        for (uint32_t k = 0; k < u->txs[i].n_spent; k++)
            len += coin_len_max(&u->txs[i].spent[k]) + 1;
    }
    return len;
}

void undo_write(struct writer *w, const struct undo_block *u)
{
    writer_compact_size(w, u->n_txs);
    for (uint32_t i = 0; i < u->n_txs; i++) {
        writer_compact_size(w, u->txs[i].n_spent);
        for (uint32_t k = 0; k < u->txs[i].n_spent; k++)
            spent_write(w, &u->txs[i].spent[k]);
    }
}

/* A count of things of at least len_min bytes each, weighed against what is left. */
static uint32_t count_read(struct reader *r, size_t len_min)
{
    uint64_t n = reader_compact_size(r);
    if (n > reader_left(r) / len_min) {
        reader_fail(r, ERR_LIMIT, "undo data promises more than it holds");
        return 0;
    }
    return (uint32_t)n;
}

static enum err_code tx_undo_read(struct reader *r, struct arena *a, struct undo_tx *out)
{
    out->n_spent = count_read(r, SPENT_LEN_MIN);
    if (!reader_ok(r))
        return r->err.code;
    out->spent = arena_alloc(a, out->n_spent * sizeof *out->spent);
    if (!out->spent)
        return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < out->n_spent; i++) {
        enum err_code code = spent_read(r, a, &out->spent[i]);
        if (code || !reader_ok(r))
            return code ? code : r->err.code;
    }
    return ERR_OK;
}

static enum err_code all_read(struct reader *r, struct arena *a, struct undo_block *out)
{
    out->n_txs = count_read(r, TX_LEN_MIN);
    if (!reader_ok(r))
        return r->err.code;
    out->txs = arena_alloc(a, out->n_txs * sizeof *out->txs);
    if (!out->txs)
        return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < out->n_txs; i++) {
        enum err_code code = tx_undo_read(r, a, &out->txs[i]);
        if (code)
            return code;
    }
    return reader_end(r);
}

enum err_code undo_read(struct bytes in, struct arena *a, struct undo_block *out, struct err *err)
{
    struct reader r = reader_init(in);
    *out = (struct undo_block){0};
    enum err_code code = all_read(&r, a, out);
    if (!code)
        return ERR_OK;
    *out = (struct undo_block){0};
    if (code == ERR_NO_MEMORY)
        return err_set(err, code, "no memory for undo data");
    if (err)
        *err = r.err.code ? r.err : (struct err){.code = code, .what = "undo data is malformed"};
    return code;
}
