/* The stream of a connection: the same events whether it comes whole or lent in pieces; nothing is
 * written outside a block, memory follows what has come, and messages that are read write back to
 * the same bytes. Input: 4 bytes of choices, then the stream (after a handshake if so chosen). */
#include "base/rng.h"
#include "base/size.h"
#include "torrent/wire_in.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define STREAM_LEN_MAX 65536u

struct choices {
    bool has_handshake, has_place;
    uint32_t features, n_pieces, scratch_len, step_max, spare_len, n_spares;
    uint64_t rng_seed;
};

struct run {
    struct wire_in in;
    const struct choices *choices;
    uint64_t digest; /* of all events, stretches of blocks joined */
    uint8_t *block;  /* exactly its size */
    struct wire_ahead ahead;
};

static void mix(struct run *r, struct bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        r->digest = (r->digest ^ b.data[i]) * 1099511628211u;
}

static void mix_number(struct run *r, uint64_t n)
{
    mix(r, bytes_of(&n, sizeof n));
}

static void write_back(struct writer *w, const struct wire_msg *m)
{
    enum msg_id id = (enum msg_id)m->id;
    if (id == MSG_HAVE || id == MSG_SUGGEST || id == MSG_ALLOWED_FAST)
        peer_msg_write_piece_index(w, id, m->piece);
    else if (id == MSG_REQUEST || id == MSG_CANCEL || id == MSG_REJECT)
        peer_msg_write_block(w, id, &m->block);
    else if (id == MSG_BITFIELD)
        peer_msg_write_bitfield(w, m->bitfield);
    else if (id == MSG_PORT)
        peer_msg_write_port(w, m->port);
    else if (id == MSG_EXTENDED)
        peer_msg_write_extended(w, m->extended.id, m->extended.payload);
    else if (id == MSG_HASH_REQUEST)
        peer_msg_write_hash_request(w, &m->hashes.ref);
    else if (id == MSG_HASHES)
        peer_msg_write_hashes(w, &m->hashes.ref, m->hashes.list);
    else if (id == MSG_HASH_REJECT)
        peer_msg_write_hash_reject(w, &m->hashes.ref);
    else
        peer_msg_write_plain(w, id);
}

static void on_msg(struct run *r, const struct wire_msg *m)
{
    static uint8_t out[STREAM_LEN_MAX + 64];
    struct wire_msg again;
    struct writer w = writer_init(out, sizeof out);
    write_back(&w, m);
    struct bytes bytes = writer_bytes(&w);
    enum err_code code = peer_msg_read(bytes_sub(bytes, 4, bytes.len - 4), &again, NULL);
    assert(code == ERR_OK && again.id == m->id);
    mix(r, bytes);
}

static void on_event(struct run *r, const struct wire_event *ev)
{
    mix_number(r, ev->kind);
    switch (ev->kind) {
    case WIRE_FAIL:
        assert(r->in.err.code && r->in.err.what);
        mix_number(r, r->in.err.code);
        mix_number(r, r->in.err.at);
        break;
    case WIRE_HANDSHAKE:
        wire_in_set_features(&r->in, r->choices->features);
        wire_in_set_n_pieces(&r->in, r->choices->n_pieces);
        mix(r, bytes_of(&r->in.handshake, sizeof r->in.handshake));
        break;
    case WIRE_MSG:
        on_msg(r, &ev->msg);
        break;
    case WIRE_UNKNOWN:
        assert(!peer_msg_is_known(ev->msg.id));
        mix_number(r, ev->len);
        break;
    case WIRE_BLOCK_HEAD:
        assert(ev->block.len >= 1 && ev->block.len <= REQUEST_LEN_MAX);
        mix(r, bytes_of(&ev->block, sizeof ev->block));
        free(r->block);
        r->block = NULL;
        if (r->choices->has_place) {
            r->block = wire_in_adopt(&r->in);
            if (!r->block)
                wire_in_place(&r->in, r->block = calloc(1, ev->block.len));
        }
        break;
    case WIRE_BLOCK_DATA:
        assert(ev->len > 0 && ev->is_dropped == !r->block);
        if (r->block)
            mix(r, bytes_of(r->block, ev->block.len));
        break;
    default:
        break;
    }
}

static void drain(struct run *r)
{
    struct wire_event ev;
    while (wire_in_next(&r->in, &ev)) {
        wire_in_check(&r->in);
        if (ev.kind != WIRE_BLOCK_DATA || ev.is_done) /* where a block is cut does not count */
            on_event(r, &ev);
    }
    wire_in_check(&r->in);
}

static void run_init(struct run *r, struct mem *mem, const struct choices *choices)
{
    *r = (struct run){.choices = choices, .digest = 1469598103934665603u};
    wire_in_init(&r->in, mem);
}

static void set_spares(struct run *r, uint32_t n)
{
    for (uint32_t i = 0; i < r->ahead.n_spares; i++)
        free(r->ahead.spares[i]);
    r->ahead.spare_len = r->choices->spare_len;
    r->ahead.n_spares = n;
    for (uint32_t i = 0; i < n; i++)
        r->ahead.spares[i] = malloc(r->choices->spare_len);
}

static void run_clear(struct run *r)
{
    set_spares(r, 0);
    wire_in_clear(&r->in);
    free(r->block);
}

static void lend_in_pieces(struct run *r, struct bytes stream)
{
    struct rng rng;
    rng_init(&rng, r->choices->rng_seed);
    for (size_t at = 0; at < stream.len;) {
        uint8_t *scratch = malloc(r->choices->scratch_len); /* never the same place */
        struct span spans[2 + 2 * WIRE_AHEAD_MAX];
        set_spares(r, r->choices->n_spares);
        size_t n = wire_in_lend(&r->in, (struct span){scratch, r->choices->scratch_len},
                                r->ahead.n_spares ? &r->ahead : NULL, spans,
                                sizeof spans / sizeof spans[0]);
        size_t max = 1 + rng_below(&rng, r->choices->step_max), laid = 0;
        for (size_t i = 0; i < n; i++) {
            size_t m = size_min(spans[i].len, size_min(max - laid, stream.len - at - laid));
            memcpy(spans[i].data, stream.data + at + laid, m);
            laid += m;
        }
        wire_in_laid(&r->in, laid);
        drain(r);
        free(scratch);
        at += laid;
        if (n == 0)
            return; /* failed */
        assert(r->in.mem->used_len <= 4 * at + 1024);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t stream[HANDSHAKE_LEN + STREAM_LEN_MAX];
    struct run whole, pieces;
    struct mem mem, mem_pieces;
    if (len < 4 || len > STREAM_LEN_MAX)
        return 0;
    struct choices choices = {
        .has_handshake = data[0] & 1,
        .has_place = data[0] & 2,
        .features = data[0] >> 4,
        .n_pieces = data[1],
        .scratch_len = 1 + data[2] * 16u,
        .step_max = 1 + data[3] * 32u,
        .spare_len = 1 + data[1] % 32u,
        .n_spares = data[2] % (WIRE_AHEAD_MAX + 1),
        .rng_seed = data[1] ^ data[2] ^ data[3],
    };
    struct writer w = writer_init(stream, sizeof stream);
    struct handshake h = {.infohash = {1}, .peer_id = {2}};
    if (choices.has_handshake)
        handshake_write(&w, &h);
    writer_put(&w, bytes_of(data + 4, len - 4));
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    run_init(&whole, &mem, &choices);
    wire_in_feed(&whole.in, writer_bytes(&w));
    drain(&whole);
    mem_init(&mem_pieces, MEM_NO_BUDGET, NULL);
    run_init(&pieces, &mem_pieces, &choices);
    lend_in_pieces(&pieces, writer_bytes(&w));
    assert(whole.digest == pieces.digest);
    assert(whole.in.n_msgs == pieces.in.n_msgs && whole.in.n_unknown == pieces.in.n_unknown);
    run_clear(&whole);
    run_clear(&pieces);
    assert(mem.used_len == 0 && mem_pieces.used_len == 0);
    return 0;
}
