#include "base/rng.h"
#include "base/size.h"
#include "test_util.h"
#include "torrent/wire_in.h"

#define SCRATCH_LEN 4096u
#define SPARE_LEN   4000u
#define LOG_CAP     65536u
#define STREAM_CAP  (1u << 20)

/* --- an engine of ten lines: writes down what it is told ------------------------------------- */

struct sink {
    struct wire_in in;
    char log[LOG_CAP]; /* events, stretches of a block joined */
    size_t log_len;
    uint8_t *block;   /* NULL: drop every block */
    uint8_t *adopted; /* the block under way came in a spare */
    struct wire_ahead ahead;
    size_t n_adopted;
    uint32_t block_len;   /* room */
    uint64_t block_sum;   /* over the finished block */
    size_t n_lent_direct; /* bytes that were read straight into the block */
    enum err_code fail;
};

static void note(struct sink *s, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(s->log + s->log_len, LOG_CAP - s->log_len, fmt, args);
    va_end(args);
    assert_true(n >= 0 && s->log_len + (size_t)n < LOG_CAP);
    s->log_len += (size_t)n;
}

static uint64_t sum(struct bytes b)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < b.len; i++)
        h = (h ^ b.data[i]) * 1099511628211u;
    return h;
}

static void note_msg(struct sink *s, const struct wire_msg *m)
{
    switch (m->id) {
    case MSG_BITFIELD:
        note(s, "bitfield %zu %llx;", m->bitfield.len, (unsigned long long)sum(m->bitfield));
        break;
    case MSG_EXTENDED:
        note(s, "ext %u %zu %llx;", m->extended.id, m->extended.payload.len,
             (unsigned long long)sum(m->extended.payload));
        break;
    case MSG_HASHES:
        note(s, "hashes %u %zu %llx;", m->hashes.ref.index, m->hashes.list.len,
             (unsigned long long)sum(m->hashes.list));
        break;
    case MSG_REQUEST:
    case MSG_CANCEL:
    case MSG_REJECT:
        note(s, "%u(%u,%u,%u);", m->id, m->block.piece, m->block.begin, m->block.len);
        break;
    default:
        note(s, "%u(%u);", m->id, m->piece);
        break;
    }
}

static void drain(struct sink *s)
{
    struct wire_event ev;
    while (wire_in_next(&s->in, &ev)) {
        wire_in_check(&s->in);
        switch (ev.kind) {
        case WIRE_FAIL:
            s->fail = s->in.err.code;
            note(s, "fail %s at %llu;", err_code_name(s->fail), (unsigned long long)s->in.err.at);
            break;
        case WIRE_HANDSHAKE_HASH:
            note(s, "hash %02x;", s->in.handshake.infohash[0]);
            break;
        case WIRE_HANDSHAKE:
            note(s, "handshake %02x;", s->in.handshake.peer_id[0]);
            wire_in_set_features(&s->in, handshake_features(&s->in.handshake));
            break;
        case WIRE_KEEP_ALIVE:
            note(s, "alive;");
            break;
        case WIRE_MSG:
            note_msg(s, &ev.msg);
            break;
        case WIRE_UNKNOWN:
            note(s, "unknown %u %u;", ev.msg.id, ev.len);
            break;
        case WIRE_BLOCK_HEAD:
            note(s, "block %u %u %u;", ev.block.piece, ev.block.begin, ev.block.len);
            s->adopted = s->block ? wire_in_adopt(&s->in) : NULL;
            s->n_adopted += s->adopted != NULL;
            if (s->block && !s->adopted && ev.block.len <= s->block_len)
                wire_in_place(&s->in, s->block);
            break;
        case WIRE_BLOCK_DATA:
            if (ev.is_done && ev.is_dropped)
                note(s, "dropped;");
            else if (ev.is_done)
                note(s, "done %llx;",
                     (unsigned long long)sum(
                         bytes_of(s->adopted ? s->adopted : s->block, ev.block.len)));
            if (ev.is_done) {
                free(s->adopted);
                s->adopted = NULL;
            }
            break;
        case WIRE_NONE:
            fail();
        }
    }
    assert_int_equal(ev.kind, WIRE_NONE);
    wire_in_check(&s->in);
}

static void sink_set_spares(struct sink *s, uint32_t n)
{
    for (uint32_t i = 0; i < s->ahead.n_spares; i++)
        free(s->ahead.spares[i]);
    for (uint32_t i = 0; i < n; i++)
        s->ahead.spares[i] = malloc(s->ahead.spare_len);
    s->ahead.n_spares = n;
}

/* The host: lays at most max bytes of the stream into the spans that wire_in lends. The scratch is
 * overwritten afterwards, as another connection would. */
static size_t give_ahead(struct sink *s, struct bytes stream, size_t max, size_t scratch_len,
                         uint32_t n_spares)
{
    static uint8_t scratch[SCRATCH_LEN];
    struct span spans[2 + 2 * WIRE_AHEAD_MAX];
    sink_set_spares(s, n_spares);
    size_t laid = 0, n_spans = wire_in_lend(&s->in, (struct span){scratch, scratch_len},
                                            n_spares ? &s->ahead : NULL, spans, COUNT_OF(spans));
    for (size_t i = 0; i < n_spans && laid < max; i++) {
        size_t n = size_min(spans[i].len, size_min(max, stream.len) - laid);
        if (n)
            memcpy(spans[i].data, stream.data + laid, n);
        if (i == 0 && spans[i].data != scratch)
            s->n_lent_direct += n;
        laid += n;
    }
    wire_in_laid(&s->in, laid);
    drain(s);
    memset(scratch, 0xee, sizeof scratch);
    for (uint32_t i = 0; i < s->ahead.n_spares; i++)
        if (s->ahead.spares[i])
            memset(s->ahead.spares[i], 0xee, s->ahead.spare_len);
    return laid;
}

static size_t give(struct sink *s, struct bytes stream, size_t max, size_t scratch_len)
{
    return give_ahead(s, stream, max, scratch_len, 0);
}

static void sink_init(struct sink *s, struct mem *mem, uint8_t *block, uint32_t block_len)
{
    memset(s, 0, sizeof *s);
    wire_in_init(&s->in, mem);
    s->ahead.spare_len = SPARE_LEN;
    s->block = block;
    s->block_len = block_len;
}

static void sink_clear(struct sink *s)
{
    sink_set_spares(s, 0);
    free(s->adopted); /* the stream ended in it */
    wire_in_clear(&s->in);
}

/* --- streams --------------------------------------------------------------------------------- */

static void put_handshake(struct writer *w, uint32_t features)
{
    struct handshake h;
    handshake_set_features(&h, features);
    memset(h.infohash, 0xaa, sizeof h.infohash);
    memset(h.peer_id, 0xbb, sizeof h.peer_id);
    handshake_write(w, &h);
}

static void put_piece(struct writer *w, struct rng *rng, uint32_t piece, uint32_t len)
{
    struct wire_block b = {piece, 16384 * piece, len};
    peer_msg_write_piece_head(w, &b);
    for (uint32_t i = 0; i < len; i++)
        writer_u8(w, (uint8_t)rng_u64(rng));
}

static void put_any(struct writer *w, struct rng *rng)
{
    static const uint8_t lists[20000];
    struct wire_block b = {rng_below(rng, 100), 0, 16384};
    struct merkle_request ref = {.index = rng_below(rng, 1000), .length = 2};
    switch (rng_below(rng, 14)) {
    case 0:
        peer_msg_write_keep_alive(w);
        break;
    case 1:
        peer_msg_write_plain(w, (enum msg_id)rng_below(rng, 4));
        break;
    case 2:
        peer_msg_write_piece_index(w, MSG_HAVE, rng_below(rng, 1000));
        break;
    case 3:
        peer_msg_write_bitfield(w, bytes_of(lists, rng_below(rng, 5000)));
        break;
    case 4:
        peer_msg_write_block(w, MSG_REQUEST, &b);
        break;
    case 5:
        peer_msg_write_block(w, MSG_REJECT, &b);
        break;
    case 6:
        peer_msg_write_extended(w, 1, bytes_of(lists, rng_below(rng, sizeof lists)));
        break;
    case 7:
        peer_msg_write_hashes(w, &ref, bytes_of(lists, 32 * (1 + rng_below(rng, 512))));
        break;
    case 8: /* unknown */
        writer_u32be(w, 1 + rng_below(rng, 3000));
        w->pos -= 4;
        {
            uint32_t len = 1 + rng_below(rng, 3000);
            writer_u32be(w, len);
            writer_u8(w, 200);
            writer_fill(w, 0x55, len - 1);
        }
        break;
    case 9:
        put_piece(w, rng, 3, 1 + rng_below(rng, 10));
        break;
    case 10:
        put_piece(w, rng, rng_below(rng, 100), 1 + rng_below(rng, 20000));
        break;
    default:
        put_piece(w, rng, rng_below(rng, 100), SPARE_LEN);
        break;
    }
}

static struct bytes random_stream(uint8_t *buf, struct rng *rng)
{
    struct writer w = writer_init(buf, STREAM_CAP);
    put_handshake(&w, WIRE_FAST | WIRE_EXTENSION | WIRE_V2);
    for (unsigned i = 0, n = rng_below(rng, 40); i < n; i++)
        put_any(&w, rng);
    assert_int_equal(writer_end(&w), ERR_OK);
    return writer_bytes(&w);
}

/* --- properties ------------------------------------------------------------------------------ */

/* However the input is cut, and whatever the size of the scratch, the events are the same. */
static void test_split_anywhere(void **state)
{
    (void)state;
    uint8_t *buf = malloc(STREAM_CAP);
    struct sink *whole = malloc(sizeof *whole), *cut = malloc(sizeof *cut);
    static uint8_t block[32768];
    struct rng rng;
    struct mem mem;
    size_t n_adopted = 0;
    rng_init(&rng, 7);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    for (unsigned round = 0; round < 300; round++) {
        struct bytes stream = random_stream(buf, &rng);
        sink_init(whole, &mem, block, sizeof block);
        wire_in_feed(&whole->in, stream);
        drain(whole);
        sink_init(cut, &mem, block, sizeof block);
        size_t scratch_len = 1 + rng_below(&rng, SCRATCH_LEN), max = 1 + rng_below(&rng, 9000);
        for (size_t at = 0; at < stream.len;) {
            struct bytes rest = bytes_sub(stream, at, stream.len - at);
            at += give_ahead(cut, rest, 1 + rng_below(&rng, (uint32_t)max), scratch_len,
                             rng_below(&rng, WIRE_AHEAD_MAX + 1));
        }
        assert_string_equal(cut->log, whole->log);
        assert_int_equal(cut->in.n_bytes, whole->in.n_bytes);
        assert_int_equal(cut->in.n_msgs, whole->in.n_msgs);
        n_adopted += cut->n_adopted;
        sink_clear(whole);
        sink_clear(cut);
        mem_check_empty(&mem);
    }
    assert_true(n_adopted > 100);
    free(whole);
    free(cut);
    free(buf);
}

/* Every one place to cut a short stream in two. */
static void test_cut_in_two(void **state)
{
    (void)state;
    uint8_t buf[4096];
    static struct sink whole, cut;
    static uint8_t block[1024];
    struct rng rng;
    struct mem mem;
    struct writer w = writer_init(buf, sizeof buf);
    struct wire_block b = {1, 2, 3};
    rng_init(&rng, 1);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    put_handshake(&w, WIRE_FAST);
    peer_msg_write_bitfield(&w, bytes_of("abc", 3));
    peer_msg_write_keep_alive(&w);
    peer_msg_write_block(&w, MSG_REQUEST, &b);
    put_piece(&w, &rng, 5, 100);
    peer_msg_write_extended(&w, 1, bytes_of(buf, 200));
    put_piece(&w, &rng, 6, 1);
    peer_msg_write_plain(&w, MSG_CHOKE);
    struct bytes stream = writer_bytes(&w);
    sink_init(&whole, &mem, block, sizeof block);
    wire_in_feed(&whole.in, stream);
    drain(&whole);
    for (size_t at = 0; at <= stream.len; at++) {
        sink_init(&cut, &mem, block, sizeof block);
        wire_in_feed(&cut.in, bytes_sub(stream, 0, at));
        drain(&cut);
        wire_in_feed(&cut.in, bytes_sub(stream, at, stream.len - at));
        drain(&cut);
        assert_string_equal(cut.log, whole.log);
        wire_in_clear(&cut.in);
    }
    wire_in_clear(&whole.in);
    mem_check_empty(&mem);
}

/* Blocks in a row are read where they belong, as far as spares go; a HAVE between them only costs
 * a copy. */
static void test_blocks_in_a_row(void **state)
{
    (void)state;
    static uint8_t buf[20 * (SPARE_LEN + PIECE_HEAD_LEN)], block[SPARE_LEN];
    static struct sink whole, s;
    struct rng rng;
    struct mem mem;
    struct writer w = writer_init(buf, sizeof buf);
    rng_init(&rng, 4);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    put_handshake(&w, 0);
    size_t head_at = w.pos;
    for (uint32_t i = 0; i < 4; i++)
        put_piece(&w, &rng, i, SPARE_LEN);
    size_t have_at = w.pos;
    peer_msg_write_piece_index(&w, MSG_HAVE, 3);
    for (uint32_t i = 0; i < 2; i++)
        put_piece(&w, &rng, i, SPARE_LEN);
    struct bytes stream = writer_bytes(&w);
    sink_init(&whole, &mem, block, sizeof block);
    wire_in_feed(&whole.in, stream);
    drain(&whole);
    sink_init(&s, &mem, block, sizeof block);
    give(&s, stream, head_at + 5, SCRATCH_LEN); /* a part of the first head is kept */
    stream = bytes_sub(stream, head_at + 5, stream.len - head_at - 5);
    size_t at = give_ahead(&s, stream, have_at - head_at - 5, SCRATCH_LEN, 3);
    assert_int_equal(s.n_adopted, 3);
    assert_int_equal(at, have_at - head_at - 5);
    give_ahead(&s, bytes_sub(stream, at, stream.len - at), STREAM_CAP, SCRATCH_LEN, 4);
    assert_int_equal(s.n_adopted, 3);
    assert_string_equal(s.log, whole.log);
    sink_clear(&whole);
    sink_clear(&s);
    mem_check_empty(&mem);
}

/* A block's bytes that come after its head are read into its buffer, not through the scratch. */
static void test_block_is_lent(void **state)
{
    (void)state;
    static uint8_t buf[70000], block[32768];
    static struct sink s;
    struct rng rng;
    struct mem mem;
    struct writer w = writer_init(buf, sizeof buf);
    struct wire_block b;
    struct span spans[2];
    uint8_t scratch[64];
    rng_init(&rng, 3);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    put_handshake(&w, 0);
    size_t head_at = w.pos;
    put_piece(&w, &rng, 9, 16384);
    peer_msg_write_plain(&w, MSG_UNCHOKE);
    sink_init(&s, &mem, block, sizeof block);
    struct bytes stream = writer_bytes(&w);
    size_t at = give(&s, stream, head_at + PIECE_HEAD_LEN + 10, SCRATCH_LEN);
    assert_int_equal(wire_in_pending(&s.in), 16374);
    assert_true(wire_in_block(&s.in, &b));
    assert_int_equal(b.piece, 9);
    assert_int_equal(wire_in_lend(&s.in, (struct span){scratch, sizeof scratch}, NULL, spans, 1),
                     1);
    assert_ptr_equal(spans[0].data, block + 10);
    assert_int_equal(wire_in_lend(&s.in, (struct span){scratch, sizeof scratch}, NULL, spans, 2),
                     2);
    assert_ptr_equal(spans[0].data, block + 10);
    assert_int_equal(spans[0].len, 16374);
    assert_ptr_equal(spans[1].data, scratch);
    at += give(&s, bytes_sub(stream, at, stream.len), 100000, SCRATCH_LEN);
    assert_int_equal(at, stream.len);
    assert_int_equal(s.n_lent_direct, 16374);
    assert_int_equal(wire_in_pending(&s.in), 0);
    assert_false(wire_in_block(&s.in, &b));
    assert_memory_equal(block, buf + head_at + PIECE_HEAD_LEN, 16384);
    assert_non_null(strstr(s.log, "block 9 147456 16384;done "));
    assert_non_null(strstr(s.log, ";1(0);"));
    assert_int_equal(mem.n_allocs, 0);
    wire_in_clear(&s.in);
}

/* A block that is dropped half way: nothing more is written to its buffer. */
static void test_drop(void **state)
{
    (void)state;
    static uint8_t buf[4096], block[1024];
    static struct sink s;
    struct rng rng;
    struct mem mem;
    struct writer w = writer_init(buf, sizeof buf);
    rng_init(&rng, 3);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    put_handshake(&w, 0);
    put_piece(&w, &rng, 9, 1000);
    peer_msg_write_plain(&w, MSG_UNCHOKE);
    struct bytes stream = writer_bytes(&w);
    sink_init(&s, &mem, block, sizeof block);
    size_t at = give(&s, stream, HANDSHAKE_LEN + PIECE_HEAD_LEN + 400, SCRATCH_LEN);
    wire_in_drop(&s.in);
    memset(block, 0x77, sizeof block);
    give(&s, bytes_sub(stream, at, stream.len), 5000, SCRATCH_LEN);
    for (size_t i = 0; i < sizeof block; i++)
        assert_int_equal(block[i], 0x77);
    assert_non_null(strstr(s.log, "dropped;1(0);"));
    sink_init(&s, &mem, NULL, 0); /* and one that never had a buffer */
    give(&s, stream, 5000, SCRATCH_LEN);
    assert_non_null(strstr(s.log, "block 9 147456 1000;dropped;1(0);"));
}

/* --- refusals -------------------------------------------------------------------------------- */

#define F_FAST (WIRE_FAST | WIRE_EXTENSION)
static const struct {
    const char *name, *hex; /* after the handshake */
    uint32_t features, n_pieces;
    enum err_code code;
} refused[] = {
    {"choke with a payload", "0000000200", 0, 0, ERR_MALFORMED},
    {"have of 3 bytes", "0000000404", 0, 0, ERR_MALFORMED},
    {"have of 5 bytes", "0000000604", 0, 0, ERR_MALFORMED},
    {"request of 0", "0000000d06000000000000000000000000", 0, 0, ERR_LIMIT},
    {"request too long", "0000000e06", 0, 0, ERR_MALFORMED},
    {"request above 128 KiB", "0000000d06000000000000000000020001", 0, 0, ERR_LIMIT},
    {"piece of nothing", "0000000907", 0, 0, ERR_MALFORMED},
    {"piece of 131073", "0002000a07", 0, 0, ERR_LIMIT},
    {"piece of 4 GiB", "ffffffff07", 0, 0, ERR_LIMIT},
    {"bitfield beyond the limit", "0004000205", 0, 0, ERR_LIMIT},
    {"bitfield of 9 pieces for 8", "0000000305", 0, 8, ERR_MALFORMED},
    {"bitfield of 8 pieces for 9", "0000000205", 0, 9, ERR_MALFORMED},
    {"extended without id", "0000000114", F_FAST, 0, ERR_MALFORMED},
    {"extended above the limit", "0002000114", F_FAST, 0, ERR_LIMIT},
    {"unknown above the limit", "00100001ff", 0, 0, ERR_LIMIT},
    {"have all without fast", "000000010e", 0, 0, ERR_PROTOCOL},
    {"have none without fast", "000000010f", 0, 0, ERR_PROTOCOL},
    {"suggest without fast", "000000050d", 0, 0, ERR_PROTOCOL},
    {"allowed fast without fast", "0000000511", 0, 0, ERR_PROTOCOL},
    {"reject without fast", "0000000d10", 0, 0, ERR_PROTOCOL},
    {"hashes above the limit", "0000448116", WIRE_V2, 0, ERR_LIMIT},
    {"hash request one byte short", "0000003015", WIRE_V2, 0, ERR_MALFORMED},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        uint8_t buf[256], raw[64];
        static struct sink s;
        struct mem mem;
        struct writer w = writer_init(buf, sizeof buf);
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        put_handshake(&w, refused[i].features);
        writer_put(&w, test_hex(refused[i].hex, raw, sizeof raw));
        sink_init(&s, &mem, NULL, 0);
        wire_in_set_n_pieces(&s.in, refused[i].n_pieces);
        wire_in_feed(&s.in, writer_bytes(&w));
        drain(&s);
        if (s.fail != refused[i].code)
            fail_msg("%s: %s", refused[i].name, s.log);
        assert_int_equal(s.in.err.at, HANDSHAKE_LEN);
        wire_in_feed(&s.in, writer_bytes(&w)); /* sticky: nothing comes any more */
        size_t log_len = s.log_len;
        drain(&s);
        assert_int_equal(s.log_len, log_len);
        struct span span, scratch = {buf, sizeof buf};
        assert_int_equal(wire_in_lend(&s.in, scratch, NULL, &span, 1), 0);
        wire_in_clear(&s.in);
        mem_check_empty(&mem);
    }
}

static const struct {
    const char *hex, *log;
    uint32_t features, n_pieces;
} accepted[] = {
    {"0000000d10000000010000000200000003", "16(1,2,3);", WIRE_FAST, 0},
    {"0000000d10000000010000000200000003", "16(1,2,3);", WIRE_V2, 0},
    {"000000010e", "14(0);", WIRE_FAST, 0},
    {"000000051100000007", "17(7);", WIRE_FAST, 0},
    {"0000000105", "bitfield 0 ", 0, 0},
    {"0000000305ff80", "bitfield 2 ", 0, 9},
    {"00000001ff", "unknown 255 1;", 0, 0},
    {"000000020a000000000101", "unknown 10 2;1(0);", 0, 0},
    {"00000000000000000000000101", "alive;alive;1(0);", 0, 0},
};

static void test_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(accepted); i++) {
        uint8_t buf[256], raw[64];
        static struct sink s;
        struct mem mem;
        struct writer w = writer_init(buf, sizeof buf);
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        put_handshake(&w, accepted[i].features);
        writer_put(&w, test_hex(accepted[i].hex, raw, sizeof raw));
        sink_init(&s, &mem, NULL, 0);
        wire_in_set_n_pieces(&s.in, accepted[i].n_pieces);
        wire_in_feed(&s.in, writer_bytes(&w));
        drain(&s);
        if (!strstr(s.log, accepted[i].log) || s.fail)
            fail_msg("%s: %s", accepted[i].hex, s.log);
        wire_in_clear(&s.in);
    }
}

/* An encrypted start is known with the first byte that differs, so that the far side can come back
 * in the clear at once. */
static void test_not_a_handshake(void **state)
{
    (void)state;
    for (size_t n_good = 0; n_good < 20; n_good++) {
        static struct sink s;
        uint8_t buf[HANDSHAKE_LEN];
        struct mem mem;
        struct writer w = writer_init(buf, sizeof buf);
        mem_init(&mem, MEM_NO_BUDGET, NULL);
        put_handshake(&w, 0);
        buf[n_good] ^= 1;
        sink_init(&s, &mem, NULL, 0);
        for (size_t i = 0; i <= n_good; i++) {
            assert_int_equal(s.fail, ERR_OK);
            wire_in_feed(&s.in, bytes_of(buf + i, 1));
            drain(&s);
        }
        assert_int_equal(s.fail, ERR_UNSUPPORTED);
        assert_int_equal(mem.n_allocs, 0);
    }
}

/* 48 bytes are enough to answer; the peer id may come later. */
static void test_handshake_in_two(void **state)
{
    (void)state;
    static struct sink s;
    uint8_t buf[HANDSHAKE_LEN];
    struct mem mem;
    struct writer w = writer_init(buf, sizeof buf);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    put_handshake(&w, WIRE_EXTENSION);
    sink_init(&s, &mem, NULL, 0);
    give(&s, bytes_of(buf, 48), 48, SCRATCH_LEN);
    assert_string_equal(s.log, "hash aa;");
    assert_int_equal(handshake_features(&s.in.handshake), WIRE_EXTENSION);
    give(&s, bytes_of(buf + 48, 20), 20, SCRATCH_LEN);
    assert_string_equal(s.log, "hash aa;handshake bb;");
}

/* A message that never comes costs what has come, not what was announced. */
static void test_memory_follows_input(void **state)
{
    (void)state;
    static struct sink s;
    uint8_t buf[256];
    struct mem mem;
    struct writer w = writer_init(buf, sizeof buf);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    put_handshake(&w, WIRE_EXTENSION);
    writer_u32be(&w, EXTENDED_LEN_MAX);
    writer_u8(&w, MSG_EXTENDED);
    writer_fill(&w, 0, 40);
    sink_init(&s, &mem, NULL, 0);
    give(&s, writer_bytes(&w), SCRATCH_LEN, SCRATCH_LEN);
    assert_int_equal(mem.n_allocs, 0);
    memset(buf, 0, sizeof buf);
    give(&s, bytes_of(buf, 100), 100, SCRATCH_LEN);
    assert_in_range(mem.used_len, 1, 1024);
    for (size_t got = 140; got < EXTENDED_LEN_MAX; got += 100) {
        wire_in_check(&s.in);
        assert_in_range(mem.used_len, 1, EXTENDED_LEN_MAX + 256);
        give(&s, bytes_of(buf, 100), 100, SCRATCH_LEN);
    }
    assert_non_null(strstr(s.log, "ext 0 131070 "));
    assert_int_equal(s.fail, ERR_OK);
    wire_in_clear(&s.in);
    mem_check_empty(&mem);
}

static bool run_sweep(struct mem *mem, void *ctx)
{
    struct bytes *stream = ctx;
    static struct sink s;
    sink_init(&s, mem, NULL, 0);
    for (size_t at = 0; at < stream->len; at += 50) {
        wire_in_feed(&s.in, bytes_sub(*stream, at, 50));
        drain(&s);
    }
    wire_in_clear(&s.in);
    assert_true(s.fail == ERR_OK || s.fail == ERR_NO_MEMORY);
    return s.fail == ERR_OK;
}

static void test_no_memory(void **state)
{
    (void)state;
    static uint8_t buf[8192], payload[3000];
    struct writer w = writer_init(buf, sizeof buf);
    put_handshake(&w, WIRE_EXTENSION);
    peer_msg_write_extended(&w, 1, bytes_of(payload, sizeof payload));
    peer_msg_write_bitfield(&w, bytes_of(payload, 500));
    struct bytes stream = writer_bytes(&w);
    assert_true(test_fail_sweep(run_sweep, &stream) > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_anywhere),
        cmocka_unit_test(test_cut_in_two),
        cmocka_unit_test(test_blocks_in_a_row),
        cmocka_unit_test(test_block_is_lent),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_not_a_handshake),
        cmocka_unit_test(test_handshake_in_two),
        cmocka_unit_test(test_memory_follows_input),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
