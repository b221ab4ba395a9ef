/* liar: a small peer, and for each kind the place where it departs from the rules. */
#include "sim/liar.h"
#include "base/size.h"
#include "torrent/ext_handshake.h"
#include "torrent/peer_wire.h"
#include "torrent/ut_metadata.h"
#include "torrent/ut_pex.h"
#include <assert.h>

#define TICK_US       US_PER_S
#define REDIAL_US     (30 * US_PER_S)
#define KEEP_ALIVE_US (60 * US_PER_S)
#define FLOOD_N       500u
#define PEX_MSGS      100u /* a second */
#define LORIS_US      (4 * US_PER_S)
#define DRIP_US       (10 * US_PER_S)
#define WRONG_VARIANT 0x55u

struct liar_conn {
    struct liar *l;
    uint32_t id;
    struct wire_in in;
    size_t room;
    bool is_open, is_greeted, has_handshake, is_unchoked, is_interested;
    uint32_t dial; /* index + 1 into dials; 0: it came in */
    uint32_t n_have;
    struct ext_peer ext;
    struct wire_block requests[LIAR_REQUESTS_MAX];
    uint32_t n_requests;
    uint64_t next_block_at_us, keep_alive_at_us;
    uint32_t n_greeted; /* LIAR_LORIS: bytes of the handshake that were sent */
};

static const char *const kind_names[LIAR_KIND_COUNT] = {
    "honest",      "corrupter", "staller",      "silent",    "bitfield liar",
    "drip",        "flooder",   "out of range", "garbage",   "metadata",
    "pex spammer", "unasked",   "slow loris",   "duplicates"};

const char *liar_kind_name(enum liar_kind kind)
{
    return kind_names[kind];
}

static uint64_t now_of(const struct liar *l)
{
    return l->n->w->now_us;
}

static uint32_t n_pieces_of(const struct liar *l)
{
    return l->content->info->n_pieces;
}

/* --- sending --------------------------------------------------------------------------------- */

/* Its own bytes beyond the room wait with the network: a liar need not be polite. */
static void put(struct liar_conn *c, const struct writer *w)
{
    struct bytes b = writer_bytes(w);
    assert(writer_ok(w));
    net_send(c->l->node, c->id, b);
    c->room -= size_min(c->room, b.len);
}

static void put_handshake(struct liar_conn *c)
{
    uint8_t out[HANDSHAKE_LEN];
    struct writer w = writer_init(out, sizeof out);
    struct handshake h = {{0}, {0}, {0}};
    handshake_set_features(&h, WIRE_FAST | WIRE_EXTENSION);
    memcpy(h.infohash, metainfo_key(c->l->content->info), WIRE_HASH_LEN);
    memcpy(h.peer_id, c->l->peer_id, WIRE_ID_LEN);
    handshake_write(&w, &h);
    put(c, &w);
    c->is_greeted = true;
}

/* A byte now and then: it may be all that a slow machine can do, and it holds a place. */
static void put_slowly(struct liar_conn *c)
{
    uint8_t out[HANDSHAKE_LEN];
    struct writer w = writer_init(out, sizeof out);
    struct handshake h = {{0}, {0}, {0}};
    memcpy(h.infohash, metainfo_key(c->l->content->info), WIRE_HASH_LEN);
    handshake_write(&w, &h);
    if (now_of(c->l) < c->next_block_at_us || c->n_greeted == HANDSHAKE_LEN)
        return;
    net_send(c->l->node, c->id, bytes_of(out + c->n_greeted++, 1));
    c->next_block_at_us = now_of(c->l) + LORIS_US;
    c->l->stats.n_sent++;
}

static void put_plain(struct liar_conn *c, enum msg_id id)
{
    uint8_t out[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(out, sizeof out);
    peer_msg_write_plain(&w, id);
    put(c, &w);
}

static void put_block_msg(struct liar_conn *c, enum msg_id id, const struct wire_block *b)
{
    uint8_t out[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(out, sizeof out);
    peer_msg_write_block(&w, id, b);
    put(c, &w);
}

static void put_piece(struct liar_conn *c, const struct wire_block *b, uint8_t variant)
{
    uint8_t out[PIECE_HEAD_LEN];
    struct writer w = writer_init(out, sizeof out);
    const struct content *content = c->l->content;
    peer_msg_write_piece_head(&w, b);
    put(c, &w);
    net_send_content(c->l->node, c->id, content,
                     (uint64_t)b->piece * content->info->piece_len + b->begin, b->len, variant);
    c->room -= size_min(c->room, b->len);
    *(variant ? &c->l->stats.n_blocks_wrong : &c->l->stats.n_blocks_right) += 1;
}

static void put_extended(struct liar_conn *c, uint8_t id, struct bytes payload)
{
    uint8_t *out = world_alloc(c->l->n->w, payload.len + 6);
    struct writer w = writer_init(out, payload.len + 6);
    peer_msg_write_extended(&w, id, payload);
    put(c, &w);
    world_free(c->l->n->w, out);
}

static void put_ext_handshake(struct liar_conn *c)
{
    uint8_t out[EXT_HANDSHAKE_LEN_MAX];
    struct writer w = writer_init(out, sizeof out);
    struct ext_ours ours = {.version = kind_names[c->l->kind], .reqq = 250};
    ours.kinds[EXT_PEX] = true;
    if (c->l->kind == LIAR_METADATA || c->l->kind == LIAR_HONEST) {
        ours.kinds[EXT_METADATA] = true;
        ours.metadata_size = c->l->content->info->info.len;
    }
    ext_handshake_write(&w, &ours);
    put_extended(c, EXT_ID_HANDSHAKE, writer_bytes(&w));
}

static void put_metadata(struct liar_conn *c, uint32_t piece)
{
    uint8_t out[UT_METADATA_HEAD_MAX + METADATA_PIECE_LEN];
    struct writer w = writer_init(out, sizeof out);
    struct bytes info = c->l->content->info->info;
    struct bytes part = bytes_sub(info, (size_t)piece * METADATA_PIECE_LEN, METADATA_PIECE_LEN);
    ut_metadata_write_data(&w, piece, info.len);
    if (c->l->kind == LIAR_METADATA)
        writer_fill(&w, 'e', part.len);
    else
        writer_put(&w, part);
    c->l->stats.n_sent++;
    put_extended(c, c->ext.ids[EXT_METADATA], writer_bytes(&w));
}

/* --- faults that need no request ------------------------------------------------------------- */

static void flood(struct liar_conn *c)
{
    struct liar *l = c->l;
    for (uint32_t i = 0; i < FLOOD_N; i++) {
        struct wire_block b = {rng_below(&l->rng, n_pieces_of(l)), 0, 0};
        b.len = layout_block_len(&l->content->info->layout, b.piece, 0);
        if (l->kind == LIAR_OUT_OF_RANGE)
            b.piece = n_pieces_of(l) + i;
        put_block_msg(c, MSG_REQUEST, &b);
        l->stats.n_sent++;
    }
}

static void put_garbage(struct liar_conn *c)
{
    uint8_t out[2000];
    struct writer w = writer_init(out, sizeof out);
    uint8_t random[2000];
    rng_fill(&c->l->rng, random, sizeof random);
    writer_put(&w, bytes_of(random, sizeof random));
    c->l->stats.n_sent++;
    put(c, &w);
}

static void put_pex(struct liar_conn *c)
{
    uint8_t out[UT_PEX_LEN_MAX(LIAR_PEX_N, 0)];
    struct writer w = writer_init(out, sizeof out);
    struct pex_peer peers[LIAR_PEX_N];
    for (uint32_t i = 0; i < LIAR_PEX_N; i++) {
        uint64_t r = rng_u64(&c->l->rng);
        peers[i] = (struct pex_peer){.flags = PEX_OUTGOING};
        peers[i].addr = addr_v4(12, (uint8_t)r, (uint8_t)(r >> 8), (uint8_t)(r >> 16), 6881);
    }
    if (!c->ext.ids[EXT_PEX])
        return;
    ut_pex_write(&w, peers, LIAR_PEX_N, NULL, 0);
    c->l->stats.n_sent++;
    put_extended(c, c->ext.ids[EXT_PEX], writer_bytes(&w));
}

static void put_unasked(struct liar_conn *c)
{
    struct wire_block b = {rng_below(&c->l->rng, n_pieces_of(c->l)), 0, 0};
    b.len = layout_block_len(&c->l->content->info->layout, b.piece, 0);
    c->l->stats.n_sent++;
    put_piece(c, &b, WRONG_VARIANT);
}

static void act(struct liar_conn *c)
{
    switch (c->l->kind) {
    case LIAR_FLOODER:
    case LIAR_OUT_OF_RANGE:
        if (c->room > FLOOD_N * 17)
            flood(c);
        break;
    case LIAR_GARBAGE:
        put_garbage(c);
        break;
    case LIAR_PEX:
        for (uint32_t i = 0; i < PEX_MSGS && c->room > UT_PEX_LEN_MAX(LIAR_PEX_N, 0); i++)
            put_pex(c);
        break;
    case LIAR_UNASKED:
        if (c->room > BLOCK_LEN + 13)
            put_unasked(c);
        break;
    default:
        break;
    }
}

/* --- answers --------------------------------------------------------------------------------- */

static bool is_nearly_done(const struct liar_conn *c)
{
    uint32_t n = n_pieces_of(c->l);
    return c->n_have + 1 + n / 100 >= n;
}

static bool has_answers(const struct liar_conn *c)
{
    switch (c->l->kind) {
    case LIAR_STALLER:
        return false;
    case LIAR_SILENT:
        return !is_nearly_done(c);
    case LIAR_DRIP:
        return now_of(c->l) >= c->next_block_at_us;
    default:
        return true;
    }
}

static void answer(struct liar_conn *c, const struct wire_block *b)
{
    struct liar *l = c->l;
    if (l->kind == LIAR_BITFIELD) {
        put_block_msg(c, MSG_REJECT, b);
        l->stats.n_rejected++;
        return;
    }
    bool is_wrong = l->kind == LIAR_CORRUPTER && rng_below(&l->rng, 1000000) < l->wrong_ppm;
    put_piece(c, b, is_wrong ? WRONG_VARIANT : 0);
    c->next_block_at_us = now_of(l) + DRIP_US;
}

static void serve(struct liar_conn *c)
{
    uint32_t n = 0;
    while (n < c->n_requests && c->room > c->requests[n].len + PIECE_HEAD_LEN && has_answers(c))
        answer(c, &c->requests[n++]);
    memmove(c->requests, c->requests + n, (c->n_requests - n) * sizeof c->requests[0]);
    c->n_requests -= n;
}

static void on_request(struct liar_conn *c, const struct wire_block *b)
{
    struct liar *l = c->l;
    l->stats.n_requests++;
    if (!layout_has_range(&l->content->info->layout, b->piece, b->begin, b->len))
        return;
    if (c->n_requests == LIAR_REQUESTS_MAX || !has_answers(c))
        l->stats.n_ignored++;
    if (c->n_requests < LIAR_REQUESTS_MAX)
        c->requests[c->n_requests++] = *b;
    serve(c);
}

static void on_cancel(struct liar_conn *c, const struct wire_block *b)
{
    for (uint32_t i = 0; i < c->n_requests; i++)
        if (memcmp(&c->requests[i], b, sizeof *b) == 0) {
            memmove(c->requests + i, c->requests + i + 1,
                    (c->n_requests - i - 1) * sizeof c->requests[0]);
            c->n_requests--;
            return;
        }
}

static void on_extended(struct liar_conn *c, const struct wire_msg *m)
{
    struct ut_metadata_msg q;
    if (m->extended.id == EXT_ID_HANDSHAKE) {
        (void)!ext_handshake_read(m->extended.payload, &c->ext, NULL);
        return;
    }
    if (m->extended.id != EXT_OUR_ID(EXT_METADATA) || !c->ext.ids[EXT_METADATA])
        return;
    if (ut_metadata_read(m->extended.payload, &q, NULL) == ERR_OK && q.type == UT_METADATA_REQUEST)
        put_metadata(c, q.piece);
}

static uint32_t count_bits(struct bytes b)
{
    uint32_t n = 0;
    for (size_t i = 0; i < b.len; i++)
        n += (uint32_t)__builtin_popcount(b.data[i]);
    return n;
}

static void on_msg(struct liar_conn *c, const struct wire_msg *m)
{
    uint8_t out[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(out, sizeof out);
    switch (m->id) {
    case MSG_HAVE:
        c->n_have++;
        break;
    case MSG_BITFIELD:
        c->n_have = count_bits(m->bitfield);
        break;
    case MSG_HAVE_ALL:
        c->n_have = n_pieces_of(c->l);
        break;
    case MSG_REQUEST:
        on_request(c, &m->block);
        break;
    case MSG_CANCEL:
        on_cancel(c, &m->block);
        break;
    case MSG_EXTENDED:
        on_extended(c, m);
        break;
    case MSG_HASH_REQUEST:
        peer_msg_write_hash_reject(&w, &m->hashes.ref);
        put(c, &w);
        break;
    default:
        break;
    }
}

static void on_handshake(struct liar_conn *c)
{
    c->has_handshake = true;
    wire_in_set_features(&c->in,
                         handshake_features(&c->in.handshake) & (WIRE_FAST | WIRE_EXTENSION));
    wire_in_set_n_pieces(&c->in, n_pieces_of(c->l));
    if (c->l->kind == LIAR_LORIS)
        return;
    if (!c->is_greeted)
        put_handshake(c);
    put_plain(c, MSG_HAVE_ALL);
    if (handshake_features(&c->in.handshake) & WIRE_EXTENSION)
        put_ext_handshake(c);
    put_plain(c, MSG_UNCHOKE);
    if (c->l->kind == LIAR_FLOODER)
        put_plain(c, MSG_INTERESTED);
    c->keep_alive_at_us = now_of(c->l) + KEEP_ALIVE_US;
}

/* --- the program ----------------------------------------------------------------------------- */

static struct liar_conn *conn_new(struct liar *l)
{
    for (uint32_t i = 0; i < LIAR_CONNS_MAX; i++) {
        if (l->conns[i])
            continue;
        struct liar_conn *c = world_calloc(l->n->w, 1, sizeof *c);
        c->l = l;
        c->id = i + 1;
        wire_in_init(&c->in, l->n->w->mem);
        ext_peer_init(&c->ext);
        l->conns[i] = c;
        return c;
    }
    return NULL;
}

static void conn_free(struct liar_conn *c)
{
    c->l->conns[c->id - 1] = NULL;
    c->l->stats.n_closed++;
    wire_in_clear(&c->in);
    world_free(c->l->n->w, c);
}

static struct liar_conn *conn_of(struct liar *l, uint32_t conn)
{
    return l->conns[conn - 1];
}

static bool door_accept(void *ctx, const struct addr *from, uint32_t *out_conn)
{
    struct liar *l = ctx;
    struct liar_conn *c = conn_new(l);
    (void)from;
    if (!c)
        return false;
    c->is_open = true;
    l->stats.n_conns++;
    *out_conn = c->id;
    return true;
}

static void door_connected(void *ctx, uint32_t conn)
{
    struct liar *l = ctx;
    struct liar_conn *c = conn_of(l, conn);
    l->stats.n_conns++;
    c->is_open = true;
}

static void door_closed(void *ctx, uint32_t conn, const struct err *err)
{
    (void)err;
    conn_free(conn_of(ctx, conn));
}

static size_t door_lend(void *ctx, uint32_t conn, struct span *out, size_t out_cap)
{
    struct liar *l = ctx;
    return wire_in_lend(&conn_of(l, conn)->in, (struct span){l->scratch, sizeof l->scratch}, NULL,
                        out, out_cap);
}

static void door_laid(void *ctx, uint32_t conn, size_t len)
{
    struct liar *l = ctx;
    struct liar_conn *c = conn_of(l, conn);
    struct wire_event ev;
    wire_in_laid(&c->in, len);
    while (wire_in_next(&c->in, &ev)) {
        if (ev.kind == WIRE_HANDSHAKE)
            on_handshake(c);
        else if (ev.kind == WIRE_MSG)
            on_msg(c, &ev.msg);
        else if (ev.kind == WIRE_FAIL)
            break;
    }
    if (c->in.err.code) {
        net_close(l->node, conn);
        conn_free(c);
    }
}

static void door_room(void *ctx, uint32_t conn, size_t room_len)
{
    struct liar_conn *c = conn_of(ctx, conn);
    c->room = room_len;
    if (!c->is_greeted && c->dial && c->l->kind != LIAR_LORIS)
        put_handshake(c);
    serve(c);
}

static const struct net_program liar_program = {
    .accept = door_accept,
    .connected = door_connected,
    .closed = door_closed,
    .lend = door_lend,
    .laid = door_laid,
    .room = door_room,
};

static void dial(struct liar *l, uint32_t index)
{
    struct liar_conn *c = conn_new(l);
    if (!c)
        return;
    c->dial = index + 1;
    net_connect(l->node, c->id, &l->dials[index]);
}

static bool is_dialled(const struct liar *l, uint32_t index)
{
    for (uint32_t i = 0; i < LIAR_CONNS_MAX; i++)
        if (l->conns[i] && l->conns[i]->dial == index + 1)
            return true;
    return false;
}

static void conn_tick(struct liar_conn *c)
{
    uint8_t out[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(out, sizeof out);
    if (c->l->kind == LIAR_LORIS)
        put_slowly(c);
    if (!c->has_handshake)
        return;
    if (now_of(c->l) >= c->keep_alive_at_us) {
        peer_msg_write_keep_alive(&w);
        put(c, &w);
        c->keep_alive_at_us = now_of(c->l) + KEEP_ALIVE_US;
    }
    act(c);
    serve(c);
}

static void on_tick(struct world *w, struct sim_event *ev)
{
    struct liar *l = CONTAINER_OF(ev, struct liar, tick);
    bool is_redial = l->kind == LIAR_LORIS || w->now_us / TICK_US % (REDIAL_US / TICK_US) == 0;
    for (uint32_t i = 0; i < LIAR_CONNS_MAX; i++)
        if (l->conns[i] && l->conns[i]->is_open)
            conn_tick(l->conns[i]);
    for (uint32_t i = 0; is_redial && i < l->n_dials; i++)
        if (!is_dialled(l, i))
            dial(l, i);
    world_set(w, ev, w->now_us + TICK_US);
}

struct liar *liar_new(struct net *n, const struct net_params *p, const struct content *c,
                      enum liar_kind kind)
{
    struct liar *l = world_calloc(n->w, 1, sizeof *l);
    l->n = n;
    l->content = c;
    l->kind = kind;
    l->wrong_ppm = 1000000;
    world_fork_rng(n->w, &l->rng);
    memcpy(l->peer_id, "-LI0000-", 8);
    rng_fill(&l->rng, l->peer_id + 8, WIRE_ID_LEN - 8);
    l->node = net_add_node(n, p);
    net_start(l->node, &liar_program, l);
    sim_event_init(&l->tick, on_tick);
    world_set(n->w, &l->tick, n->w->now_us + TICK_US);
    return l;
}

void liar_free(struct liar *l)
{
    if (!l)
        return;
    net_crash(l->node, false);
    world_stop(l->n->w, &l->tick);
    for (uint32_t i = 0; i < LIAR_CONNS_MAX; i++)
        if (l->conns[i])
            conn_free(l->conns[i]);
    world_free(l->n->w, l->dials);
    world_free(l->n->w, l);
}

void liar_dial(struct liar *l, const struct addr *to)
{
    l->dials = world_realloc(l->n->w, l->dials, (l->n_dials + 1) * sizeof *l->dials);
    l->dials[l->n_dials++] = *to;
    dial(l, (uint32_t)l->n_dials - 1);
}

void liar_attack(struct liar *l, const struct addr *to)
{
    uint32_t n = l->kind == LIAR_LORIS     ? LIAR_LORIS_N
                 : l->kind == LIAR_DOUBLES ? LIAR_DOUBLES_N
                                           : 1;
    for (uint32_t i = 0; i < n; i++)
        liar_dial(l, to);
}
