#include "chain/snapshot.h"
#include "base/size.h"
#include "chain/tx.h"

static const uint8_t file_magic[5] = {'u', 't', 'x', 'o', 0xff};

#define SINK_LEN       (1u << 20)
#define TX_LEN_MAX     (64u << 20) /* ours: the coins of one transaction; blocks allow 4 MB */
#define RECORD_LEN_MAX (9u + 10 + 10 + 10 + COIN_SCRIPT_LEN_MAX)

/* --- writing --------------------------------------------------------------------------------- */

struct tx_coin {
    uint32_t n, off, len; /* of its record among the transaction's */
};

struct snapshot_writer {
    struct buf sink, records, index; /* index: struct tx_coin */
    struct hash256 txid;
    uint64_t n_coins, n_coins_max;
    enum err_code (*put)(void *ctx, struct bytes b, struct err *err);
    void *ctx;
    struct err *err;
    enum err_code code;
};

static void writer_fail(struct snapshot_writer *w, enum err_code code, const char *what)
{
    if (!w->code)
        w->code = err_set(w->err, code, what);
}

static void sink_flush(struct snapshot_writer *w)
{
    if (w->sink.err)
        writer_fail(w, w->sink.err, "no memory for a snapshot");
    if (!w->code && w->sink.len)
        w->code = w->put(w->ctx, buf_bytes(&w->sink), w->err);
    buf_reset(&w->sink);
}

static void sink_put(struct snapshot_writer *w, struct bytes b)
{
    buf_put(&w->sink, b);
    if (w->sink.len >= SINK_LEN)
        sink_flush(w);
}

/* The order of VARINT bytes, in which Core keeps outputs: a group of seven bits at a time, and all
 * but the last have their top bit set, so a longer number may come before a shorter one. */
static int compare_varints(const void *a, const void *b)
{
    uint8_t x[10], y[10];
    struct writer wx = writer_init(x, sizeof x), wy = writer_init(y, sizeof y);
    writer_varint(&wx, ((const struct tx_coin *)a)->n);
    writer_varint(&wy, ((const struct tx_coin *)b)->n);
    return bytes_compare(writer_bytes(&wx), writer_bytes(&wy));
}

static void put_compact_size(struct snapshot_writer *w, uint64_t v)
{
    uint8_t b[9];
    struct writer out = writer_init(b, sizeof b);
    writer_compact_size(&out, v);
    sink_put(w, writer_bytes(&out));
}

/* A transaction's coins are all here. */
static void put_tx(struct snapshot_writer *w)
{
    size_t n = w->index.len / sizeof(struct tx_coin);
    struct tx_coin *coins = (struct tx_coin *)(void *)w->index.data;
    if (w->records.err || w->index.err)
        writer_fail(w, ERR_NO_MEMORY, "no memory for a snapshot");
    if (w->code || n == 0)
        return;
    qsort(coins, n, sizeof *coins, compare_varints);
    sink_put(w, bytes_of(w->txid.b, sizeof w->txid.b));
    put_compact_size(w, n);
    for (size_t i = 0; i < n; i++) {
        put_compact_size(w, coins[i].n);
        sink_put(w, bytes_sub(buf_bytes(&w->records), coins[i].off, coins[i].len));
    }
    buf_reset(&w->records);
    buf_reset(&w->index);
}

static bool write_each(void *ctx, const struct outpoint *at, const struct coin *c)
{
    struct snapshot_writer *w = ctx;
    if (!hash256_equal(&w->txid, &at->txid))
        put_tx(w);
    w->txid = at->txid;
    uint8_t record[RECORD_LEN_MAX];
    struct writer out = writer_init(record, sizeof record);
    coin_write(&out, c);
    struct tx_coin item = {.n = at->n, .off = (uint32_t)w->records.len, .len = (uint32_t)out.pos};
    buf_put(&w->records, writer_bytes(&out));
    buf_put(&w->index, bytes_of(&item, sizeof item));
    if (++w->n_coins > w->n_coins_max || writer_end(&out))
        writer_fail(w, ERR_PROTOCOL, "there are more coins than were counted");
    return !w->code;
}

static void put_head(struct snapshot_writer *w, const struct snapshot_head *head)
{
    uint8_t b[SNAPSHOT_HEAD_LEN];
    struct writer out = writer_init(b, sizeof b);
    writer_put(&out, bytes_of(file_magic, sizeof file_magic));
    writer_u16le(&out, SNAPSHOT_VERSION);
    writer_put(&out, bytes_of(head->magic, sizeof head->magic));
    writer_put(&out, bytes_of(head->block.b, sizeof head->block.b));
    writer_u64le(&out, head->n_coins);
    sink_put(w, writer_bytes(&out));
}

enum err_code snapshot_write(const struct coins_store *s, const struct snapshot_head *head,
                             struct mem *mem,
                             enum err_code (*put)(void *ctx, struct bytes b, struct err *err),
                             void *ctx, struct err *err)
{
    struct snapshot_writer w = {.n_coins_max = head->n_coins, .put = put, .ctx = ctx, .err = err};
    buf_init(&w.sink, mem, SINK_LEN + RECORD_LEN_MAX);
    buf_init(&w.records, mem, TX_LEN_MAX);
    buf_init(&w.index, mem, TX_LEN_MAX);
    put_head(&w, head);
    enum err_code code = s->iterate(s->ctx, NULL, write_each, &w, err);
    if (w.code) /* stopped by us: the reason is ours */
        code = w.code;
    if (!code) {
        put_tx(&w);
        sink_flush(&w);
        code = w.code;
    }
    if (!code && w.n_coins != head->n_coins)
        code = err_set(err, ERR_PROTOCOL, "there are fewer coins than were counted");
    buf_clear(&w.sink);
    buf_clear(&w.records);
    buf_clear(&w.index);
    return code;
}

/* --- reading --------------------------------------------------------------------------------- */

/* At least want bytes in buf, or all there are. */
static enum err_code fill(struct snapshot_reader *r, size_t want, struct err *err)
{
    if (r->len - r->pos >= want || r->is_at_end)
        return ERR_OK;
    memmove(r->buf, r->buf + r->pos, r->len - r->pos);
    r->off += r->pos;
    r->len -= r->pos;
    r->pos = 0;
    while (r->len < want && !r->is_at_end) {
        size_t len = 0;
        enum err_code code =
            r->source.read(r->source.ctx, r->buf + r->len, sizeof r->buf - r->len, &len, err);
        if (code)
            return code;
        r->is_at_end = len == 0;
        r->len += len;
    }
    return ERR_OK;
}

static struct reader here(const struct snapshot_reader *r)
{
    return reader_init(bytes_of(r->buf + r->pos, r->len - r->pos));
}

/* What the reader read is done with; its failure, if any, with the place in the file. */
static enum err_code advance(struct snapshot_reader *r, const struct reader *read, struct err *err)
{
    if (read->err.code)
        return err_set_at(err, read->err.code, read->err.what, r->off + r->pos + read->err.at, 0,
                          0);
    r->pos += read->pos;
    return ERR_OK;
}

static enum err_code refuse(const struct snapshot_reader *r, enum err_code code, const char *what,
                            struct err *err)
{
    return err_set_at(err, code, what, r->off + r->pos, 0, 0);
}

enum err_code snapshot_reader_init(struct snapshot_reader *r, struct mem *mem,
                                   struct snapshot_source source, const uint8_t magic[4],
                                   uint32_t height_max, struct err *err)
{
    r->source = source;
    r->height_max = height_max;
    r->is_first_tx = true;
    r->is_at_end = false;
    r->pos = r->len = 0;
    r->off = r->n_left_of_tx = 0;
    arena_init(&r->scripts, mem, SIZE_MAX);
    enum err_code code = fill(r, SNAPSHOT_HEAD_LEN, err);
    if (code)
        return code;
    struct reader in = here(r);
    struct bytes start = reader_take(&in, sizeof file_magic);
    uint16_t version = reader_u16le(&in);
    reader_copy(&in, r->head.magic, sizeof r->head.magic);
    reader_copy(&in, r->head.block.b, sizeof r->head.block.b);
    r->head.n_coins = r->n_left = reader_u64le(&in);
    if (reader_ok(&in) && !bytes_equal(start, bytes_of(file_magic, sizeof file_magic)))
        return refuse(r, ERR_MALFORMED, "this is no UTXO snapshot", err);
    if (reader_ok(&in) && version != SNAPSHOT_VERSION)
        return refuse(r, ERR_UNSUPPORTED, "the snapshot's version is not 2", err);
    if (reader_ok(&in) && memcmp(r->head.magic, magic, sizeof r->head.magic) != 0)
        return refuse(r, ERR_PROTOCOL, "the snapshot is of another network", err);
    return advance(r, &in, err);
}

void snapshot_reader_clear(struct snapshot_reader *r)
{
    arena_clear(&r->scripts);
}

static enum err_code read_tx(struct snapshot_reader *r, struct err *err)
{
    struct hash256 txid;
    enum err_code code = fill(r, sizeof txid + 9, err);
    if (code)
        return code;
    struct reader in = here(r);
    reader_copy(&in, txid.b, sizeof txid.b);
    uint64_t n = reader_compact_size(&in);
    if (reader_ok(&in) && !r->is_first_tx && memcmp(txid.b, r->at.txid.b, sizeof txid.b) <= 0)
        return refuse(r, ERR_MALFORMED, "transactions of the snapshot are out of order", err);
    if (reader_ok(&in) && (n == 0 || n > r->n_left))
        return refuse(r, ERR_MALFORMED, "a transaction's count of coins is wrong", err);
    r->at.txid = txid;
    r->n_left_of_tx = n;
    r->is_first_tx = false;
    r->is_first_of_tx = r->is_in_number_order = r->is_in_varint_order = true;
    return advance(r, &in, err);
}

/* Core's own order or that of numbers, each strict: either way no output comes twice. */
static bool number_is_next(struct snapshot_reader *r, uint32_t n)
{
    struct tx_coin before = {.n = r->at.n}, now = {.n = n};
    if (!r->is_first_of_tx) {
        r->is_in_number_order &= before.n < now.n;
        r->is_in_varint_order &= compare_varints(&before, &now) < 0;
    }
    r->is_first_of_tx = false;
    r->at.n = n;
    return r->is_in_number_order || r->is_in_varint_order;
}

/* A script's length is looked at before its bytes: buf holds any coin, not any script. */
static bool script_is_too_long(struct reader in)
{
    reader_varint(&in);
    reader_varint(&in);
    uint64_t len = reader_varint(&in);
    return reader_ok(&in) && len > COIN_SCRIPT_LEN_MAX + 6;
}

static enum err_code read_coin(struct snapshot_reader *r, struct coin *out, struct err *err)
{
    enum err_code code = fill(r, RECORD_LEN_MAX, err);
    if (code)
        return code;
    struct reader in = here(r);
    uint64_t n = reader_compact_size(&in);
    if (reader_ok(&in) && script_is_too_long(in))
        return refuse(r, ERR_LIMIT, "a script is longer than a coin's can be", err);
    arena_reset(&r->scripts);
    if (reader_ok(&in) && coin_read(&in, &r->scripts, out))
        return advance(r, &in, err);
    if (reader_ok(&in) && (n >= UINT32_MAX || !number_is_next(r, (uint32_t)n)))
        return refuse(r, ERR_MALFORMED, "a transaction's outputs are out of order", err);
    if (reader_ok(&in) && out->height > r->height_max)
        return refuse(r, ERR_MALFORMED, "a coin is younger than the snapshot's block", err);
    return advance(r, &in, err);
}

enum err_code snapshot_read(struct snapshot_reader *r, struct outpoint *out_at,
                            struct coin *out_coin, bool *out_has, struct err *err)
{
    enum err_code code = ERR_OK;
    *out_has = r->n_left > 0;
    if (r->n_left == 0) {
        code = fill(r, 1, err);
        if (!code && r->len > r->pos)
            code = refuse(r, ERR_MALFORMED, "bytes are left over after the last coin", err);
        return code;
    }
    if (r->n_left_of_tx == 0)
        code = read_tx(r, err);
    if (!code)
        code = read_coin(r, out_coin, err);
    *out_has = !code;
    if (code)
        return code;
    *out_at = r->at;
    r->n_left--;
    r->n_left_of_tx--;
    return ERR_OK;
}

/* --- loading --------------------------------------------------------------------------------- */

struct loading {
    struct snapshot_reader *r;
    struct err *err;
    enum err_code code;
};

static bool load_next(void *ctx, struct coins_change *out)
{
    struct loading *l = ctx;
    bool has;
    l->code = snapshot_read(l->r, &out->at, &out->coin, &has, l->err);
    out->is_spent = false;
    out->is_cancelled = l->code;
    return has;
}

enum err_code snapshot_load(struct snapshot_reader *r, const struct coins_store *s,
                            const struct coins_tip *tip, struct err *err)
{
    struct loading l = {.r = r, .err = err};
    struct err store_err = {0};
    enum err_code code = s->write(s->ctx, tip, load_next, &l, &store_err);
    if (l.code)
        return l.code;
    if (code && err)
        *err = store_err;
    return code;
}
