#include "torrent/wire_in.h"
#include "base/size.h"
#include <assert.h>

void wire_in_init(struct wire_in *w, struct mem *mem)
{
    *w = (struct wire_in){.mem = mem};
}

void wire_in_clear(struct wire_in *w)
{
    mem_free(w->mem, w->heap);
    w->heap = NULL;
    w->heap_cap = w->keep_len = 0;
}

void wire_in_set_features(struct wire_in *w, uint32_t features)
{
    w->features = features;
}

void wire_in_set_n_pieces(struct wire_in *w, uint32_t n_pieces)
{
    w->n_pieces = n_pieces;
}

/* --- input ----------------------------------------------------------------------------------- */

static uint8_t *keep(struct wire_in *w)
{
    return w->heap ? w->heap : w->small;
}

/* How much of the next block's head is still to come, if a block may be what comes next; else 0. */
static uint32_t head_left(struct wire_in *w)
{
    if (w->state == WIRE_IN_BLOCK)
        return w->block_buf ? PIECE_HEAD_LEN : 0;
    bool is_piece = w->keep_len < 5 || (w->keep_len < PIECE_HEAD_LEN && keep(w)[4] == MSG_PIECE);
    return w->state == WIRE_IN_MSG && is_piece ? PIECE_HEAD_LEN - w->keep_len : 0;
}

static void lend_ahead(struct wire_in *w, struct wire_ahead *a, size_t n_spans_max)
{
    uint32_t head_len = head_left(w), n = 0;
    a->n_lent = a->next = 0;
    a->left = 0;
    while (head_len && n < a->n_spares && a->n_lent + 3 <= n_spans_max) {
        a->lent[a->n_lent++] = (struct span){a->heads[n], head_len};
        a->lent[a->n_lent++] = (struct span){a->spares[n++], a->spare_len};
        head_len = PIECE_HEAD_LEN;
    }
}

size_t wire_in_lend(struct wire_in *w, struct span scratch, struct wire_ahead *ahead,
                    struct span *out, size_t out_cap)
{
    size_t n = 0;
    assert(w->in.len == 0 && w->block_new == 0); /* the last batch was drained */
    w->lent_len = 0;
    w->scratch = scratch.data;
    w->ahead = w->state == WIRE_IN_FAILED ? NULL : ahead;
    if (w->state == WIRE_IN_FAILED)
        return 0;
    if (w->state == WIRE_IN_BLOCK && w->block_buf) {
        w->lent_len = w->block.len - w->block_got;
        out[n++] = (struct span){w->block_buf + w->block_got, w->lent_len};
    }
    if (ahead) {
        lend_ahead(w, ahead, out_cap - n);
        for (uint32_t i = 0; i < ahead->n_lent; i++)
            out[n++] = ahead->lent[i];
        ahead->lent[ahead->n_lent++] = scratch;
    }
    if (n < out_cap && scratch.len)
        out[n++] = scratch;
    return n;
}

/* The next of the spans that were lent ahead becomes the input; false: that was all. */
static bool next_lent(struct wire_in *w)
{
    struct wire_ahead *a = w->ahead;
    if (!a || a->left == 0)
        return false;
    const struct span *lent = &a->lent[a->next++];
    w->in = bytes_of(lent->data, size_min(lent->len, a->left));
    a->left -= w->in.len;
    return true;
}

void wire_in_laid(struct wire_in *w, size_t len)
{
    uint32_t direct = (uint32_t)size_min(len, w->lent_len);
    if (w->state == WIRE_IN_FAILED)
        return;
    w->n_bytes += len;
    w->lent_len = 0;
    w->block_got += direct;
    w->block_new = direct;
    if (w->ahead)
        w->ahead->left = len - direct;
    else
        w->in = bytes_of(w->scratch, len - direct);
}

void wire_in_feed(struct wire_in *w, struct bytes in)
{
    assert(w->in.len == 0 && w->block_new == 0);
    w->ahead = NULL;
    w->n_bytes += in.len;
    w->in = in;
    if (w->state == WIRE_IN_FAILED)
        w->in.len = 0;
}

/* --- gathering a message --------------------------------------------------------------------- */

static bool fail(struct wire_in *w, struct wire_event *out, enum err_code code, const char *what,
                 uint64_t got, uint64_t want)
{
    err_set_at(&w->err, code, what, w->at, got, want);
    w->state = WIRE_IN_FAILED;
    w->in = (struct bytes){0};
    w->ahead = NULL;
    w->block_buf = NULL;
    out->kind = WIRE_FAIL;
    return true;
}

/* Room for len bytes in all, of a message that may become want long. */
static bool keep_reserve(struct wire_in *w, size_t len, size_t want)
{
    if (len <= (w->heap ? w->heap_cap : WIRE_IN_SMALL_CAP))
        return true;
    size_t cap = size_min(want, size_max(len, 2 * (size_t)w->heap_cap));
    uint8_t *heap = mem_realloc(w->mem, w->heap, cap);
    if (!heap)
        return false;
    if (!w->heap)
        memcpy(heap, w->small, w->keep_len);
    w->heap = heap;
    w->heap_cap = (uint32_t)cap;
    return true;
}

enum gathered { GATHER_ALL, GATHER_SOME, GATHER_NO_MEMORY };

/* Have the first n bytes of the message in one place: in the input as it lies when they are all
 * there, else in what is kept. Of a message of whole bytes, as far as that is known. */
static enum gathered gather(struct wire_in *w, size_t n, size_t whole)
{
    if (w->keep_len == 0 && w->in.len >= n)
        return GATHER_ALL;
    if (w->keep_len >= n)
        return GATHER_ALL;
    size_t add = size_min(n - w->keep_len, w->in.len);
    if (add == 0)
        return GATHER_SOME;
    if (!keep_reserve(w, w->keep_len + add, whole))
        return GATHER_NO_MEMORY;
    memcpy(keep(w) + w->keep_len, w->in.data, add);
    w->keep_len += (uint32_t)add;
    w->in = bytes_sub(w->in, add, w->in.len - add);
    return w->keep_len >= n ? GATHER_ALL : GATHER_SOME;
}

static const uint8_t *gathered(struct wire_in *w)
{
    return w->keep_len ? keep(w) : w->in.data;
}

/* The n bytes that were gathered are done with, after this event. */
static void consume(struct wire_in *w, size_t n)
{
    w->at += n;
    if (w->keep_len)
        w->is_keep_given = true;
    else
        w->in = bytes_sub(w->in, n, w->in.len - n);
}

static void let_go(struct wire_in *w)
{
    if (!w->is_keep_given)
        return;
    wire_in_clear(w);
    w->is_keep_given = false;
}

/* --- states: each gives an event, or false when the batch is drained ------------------------- */

/* Always through `small`, so that a wrong beginning is seen with its first byte. */
static bool next_handshake(struct wire_in *w, struct wire_event *out)
{
    enum gathered g = w->keep_len == 0 && w->in.len >= HANDSHAKE_LEN
                          ? GATHER_ALL
                          : gather(w, HANDSHAKE_LEN, HANDSHAKE_LEN);
    size_t have = g == GATHER_ALL ? HANDSHAKE_LEN : w->keep_len;
    const uint8_t *data = gathered(w);
    if (!handshake_may_begin(bytes_of(data, have)))
        return fail(w, out, ERR_UNSUPPORTED, "not a BitTorrent handshake", data[0], 19);
    if (have >= HANDSHAKE_HASH_LEN && !w->was_hash_told) {
        memcpy(w->handshake.reserved, data + 20, sizeof w->handshake.reserved);
        memcpy(w->handshake.infohash, data + 28, sizeof w->handshake.infohash);
        w->was_hash_told = true;
        out->kind = WIRE_HANDSHAKE_HASH;
        return true;
    }
    if (g != GATHER_ALL)
        return false;
    memcpy(w->handshake.peer_id, data + HANDSHAKE_HASH_LEN, sizeof w->handshake.peer_id);
    consume(w, HANDSHAKE_LEN);
    w->state = WIRE_IN_MSG;
    out->kind = WIRE_HANDSHAKE;
    return true;
}

static bool begin_skip(struct wire_in *w, struct wire_event *out, uint8_t id, uint32_t len)
{
    if (len > WIRE_UNKNOWN_LEN_MAX)
        return fail(w, out, ERR_LIMIT, "unknown message too long", len, WIRE_UNKNOWN_LEN_MAX);
    consume(w, 5);
    w->n_unknown++;
    w->skip_left = len - 1;
    w->state = WIRE_IN_SKIP;
    out->kind = WIRE_UNKNOWN;
    out->msg.id = id;
    out->len = len;
    return true;
}

static bool begin_block(struct wire_in *w, struct wire_event *out, uint32_t len)
{
    struct reader r = reader_init(bytes_of(gathered(w) + 5, 8));
    w->block.piece = reader_u32be(&r);
    w->block.begin = reader_u32be(&r);
    w->block.len = len - 9;
    w->block_buf = NULL;
    w->block_got = 0;
    consume(w, PIECE_HEAD_LEN);
    w->n_msgs++;
    w->state = WIRE_IN_BLOCK;
    out->kind = WIRE_BLOCK_HEAD;
    out->block = w->block;
    return true;
}

/* BEP 6: its messages are for those who agreed on it; BEP 52 has taken over reject. */
static bool is_agreed(const struct wire_in *w, uint8_t id)
{
    if (id == MSG_REJECT)
        return w->features & (WIRE_FAST | WIRE_V2);
    if (id >= MSG_SUGGEST && id <= MSG_ALLOWED_FAST)
        return w->features & WIRE_FAST;
    return true;
}

/* The length prefix and the id are here: what can be refused now is. False: refused. */
static bool check_head(struct wire_in *w, struct wire_event *out, uint8_t id, uint32_t len)
{
    uint32_t min = peer_msg_len_min(id), max = peer_msg_len_max(id);
    if (id == MSG_BITFIELD && w->n_pieces)
        min = max = 1 + (uint32_t)div_ceil(w->n_pieces, 8);
    if (!is_agreed(w, id))
        fail(w, out, ERR_PROTOCOL, "message of an extension that was not agreed on", id, 0);
    else if (len < min)
        fail(w, out, ERR_MALFORMED, "message too short", len, min);
    else if (len > max)
        fail(w, out, min == max ? ERR_MALFORMED : ERR_LIMIT, "message too long", len, max);
    return w->state != WIRE_IN_FAILED;
}

static bool next_whole_msg(struct wire_in *w, struct wire_event *out, uint32_t len)
{
    struct err err = {0};
    if (peer_msg_read(bytes_of(gathered(w) + 4, len), &out->msg, &err))
        return fail(w, out, err.code, err.what, err.got, err.want);
    consume(w, 4 + (size_t)len);
    w->n_msgs++;
    out->kind = WIRE_MSG;
    return true;
}

static bool next_msg(struct wire_in *w, struct wire_event *out)
{
    if (gather(w, 4, 4) != GATHER_ALL)
        return false;
    struct reader r = reader_init(bytes_of(gathered(w), 4));
    uint32_t len = reader_u32be(&r);
    if (len == 0) {
        consume(w, 4);
        out->kind = WIRE_KEEP_ALIVE;
        return true;
    }
    if (gather(w, 5, 5) != GATHER_ALL)
        return false;
    uint8_t id = gathered(w)[4];
    if (!peer_msg_is_known(id))
        return begin_skip(w, out, id, len);
    if (!check_head(w, out, id, len))
        return true;
    size_t want = id == MSG_PIECE ? PIECE_HEAD_LEN : 4 + (size_t)len;
    enum gathered g = gather(w, want, want);
    if (g == GATHER_NO_MEMORY)
        return fail(w, out, ERR_NO_MEMORY, "no memory for a message", len, 0);
    if (g == GATHER_SOME)
        return false;
    return id == MSG_PIECE ? begin_block(w, out, len) : next_whole_msg(w, out, len);
}

static bool next_block(struct wire_in *w, struct wire_event *out)
{
    size_t copy = size_min(w->in.len, w->block.len - w->block_got);
    if (copy && w->block_buf)
        memcpy(w->block_buf + w->block_got, w->in.data, copy);
    w->in = bytes_sub(w->in, copy, w->in.len - copy);
    w->block_got += (uint32_t)copy;
    out->len = w->block_new + (uint32_t)copy;
    w->block_new = 0;
    if (out->len == 0)
        return false;
    w->at += out->len;
    out->kind = WIRE_BLOCK_DATA;
    out->block = w->block;
    out->is_dropped = !w->block_buf;
    out->is_done = w->block_got == w->block.len;
    if (out->is_done) {
        w->block_buf = NULL;
        w->state = WIRE_IN_MSG;
    }
    return true;
}

static void skip(struct wire_in *w)
{
    size_t n = size_min(w->in.len, w->skip_left);
    w->in = bytes_sub(w->in, n, w->in.len - n);
    w->skip_left -= (uint32_t)n;
    w->at += n;
    if (w->skip_left == 0)
        w->state = WIRE_IN_MSG;
}

/* One event out of the input as it lies; false: it is used up. */
static bool next_event(struct wire_in *w, struct wire_event *out)
{
    let_go(w);
    if (w->state == WIRE_IN_SKIP)
        skip(w);
    switch (w->state) {
    case WIRE_IN_HANDSHAKE:
        return next_handshake(w, out);
    case WIRE_IN_MSG:
        return next_msg(w, out);
    case WIRE_IN_BLOCK:
        return next_block(w, out);
    case WIRE_IN_SKIP:
    case WIRE_IN_FAILED:
        break;
    }
    return false;
}

bool wire_in_next(struct wire_in *w, struct wire_event *out)
{
    *out = (struct wire_event){0};
    do {
        if (next_event(w, out))
            return true;
    } while (next_lent(w));
    return false;
}

/* --- the block under way --------------------------------------------------------------------- */

/* The head ended where a spare begins: what was read into it is this block's payload. Only of a
 * block that fills it, so that nothing else can lie behind in the same spare. */
uint8_t *wire_in_adopt(struct wire_in *w)
{
    struct wire_ahead *a = w->ahead;
    assert(w->state == WIRE_IN_BLOCK && w->block_got == 0);
    if (!a || w->in.len || a->left == 0 || a->next % 2 == 0 || w->block.len != a->spare_len)
        return NULL;
    uint8_t *spare = a->lent[a->next].data;
    w->block_buf = spare;
    w->block_got = w->block_new = (uint32_t)size_min(a->left, a->spare_len);
    a->spares[a->next / 2] = NULL;
    a->left -= w->block_new;
    a->next++;
    return spare;
}

void wire_in_place(struct wire_in *w, uint8_t *buf)
{
    assert(w->state == WIRE_IN_BLOCK && w->block_got == 0);
    w->block_buf = buf;
}

void wire_in_drop(struct wire_in *w)
{
    w->block_buf = NULL;
}

uint32_t wire_in_pending(const struct wire_in *w)
{
    return w->state == WIRE_IN_BLOCK ? w->block.len - w->block_got : 0;
}

bool wire_in_block(const struct wire_in *w, struct wire_block *out)
{
    if (w->state != WIRE_IN_BLOCK)
        return false;
    *out = w->block;
    return true;
}

void wire_in_check(const struct wire_in *w)
{
    assert(!w->heap == !w->heap_cap);
    assert(w->keep_len <= (w->heap ? w->heap_cap : WIRE_IN_SMALL_CAP));
    assert(w->heap_cap <= 5 + BITFIELD_LEN_MAX);
    assert(w->state != WIRE_IN_BLOCK || w->block_got <= w->block.len);
    assert(w->state != WIRE_IN_FAILED || w->err.code);
    assert(w->state != WIRE_IN_FAILED || !w->block_buf);
    assert(w->at + w->keep_len + w->in.len + w->block_new <= w->n_bytes ||
           w->state == WIRE_IN_FAILED || w->is_keep_given);
}
