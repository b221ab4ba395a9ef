#include "base/size.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

/* --- have, bitfield and their like ----------------------------------------------------------- */

/* BEP 3 and 6: what says which pieces the peer has comes first or not at all. */
static bool peer_settle(struct peer *p)
{
    if (p->state == CONN_BITFIELD)
        p->state = CONN_RUNNING;
    if (p->has_have)
        return true;
    return peer_set_have(p, false, (struct bytes){0});
}

static void peer_on_have(struct peer *p, uint32_t piece);

/* BEP 3 has one bitfield, at the start; aria2 sends another where it would send many HAVEs. Its bits
 * are taken as such; what it leaves out stays. */
static void peer_on_later_bitfield(struct peer *p, const struct wire_msg *m)
{
    COUNT(p->s, bitfield_later);
    if (m->id != MSG_BITFIELD || !p->t->info || !p->is_have_known) {
        COUNT(p->s, bitfield_twice);
        peer_close(p, true);
        return;
    }
    for (uint32_t i = 0; i < p->t->info->n_pieces && p->state != CONN_CLOSED; i++) {
        bool has = i / 8 < m->bitfield.len && (m->bitfield.data[i / 8] >> (7 - i % 8) & 1);
        if (has && !peer_has_piece(p, i))
            peer_on_have(p, i);
    }
}

static void peer_on_have_message(struct peer *p, const struct wire_msg *m)
{
    if (p->has_have) {
        peer_on_later_bitfield(p, m);
        return;
    }
    p->state = CONN_RUNNING;
    struct bytes bits = m->id == MSG_BITFIELD ? m->bitfield : (struct bytes){0};
    if (peer_set_have(p, m->id == MSG_HAVE_ALL, bits))
        peer_grant_fast_set(p);
}

static void peer_keep_early_have(struct peer *p, uint32_t piece)
{
    if (p->n_early_haves == EARLY_HAVES_MAX) {
        COUNT(p->s, msg_early);
        return;
    }
    if ((p->n_early_haves & (p->n_early_haves - 1)) == 0) { /* grows at powers of two */
        size_t cap = p->n_early_haves ? p->n_early_haves * 2u : 1u;
        uint32_t *more = mem_realloc(p->s->mem, p->early_haves, cap * sizeof(*more));
        if (!more)
            return;
        p->early_haves = more;
    }
    p->early_haves[p->n_early_haves++] = piece;
}

static bool peer_piece_is_in_range(struct peer *p, uint32_t piece)
{
    if (piece < p->t->info->n_pieces)
        return true;
    COUNT(p->s, index_out_of_range);
    peer_close(p, true);
    return false;
}

static void peer_became_seed(struct peer *p)
{
    p->cp.is_upload_only = true;
    choker_on_interest(&p->s->choker, p->s->now_us, &p->cp, p->peer_interested);
    p->s->is_choker_dirty = true;
    if (p->entry)
        peer_list_mark_seed(&p->t->known, p->entry, true);
    peer_close_if_useless(p);
}

static void peer_on_have(struct peer *p, uint32_t piece)
{
    struct torrent *t = p->t;
    if (!t->info) {
        peer_keep_early_have(p, piece);
        return;
    }
    if (piece >= t->info->n_pieces) {
        COUNT(p->s, have_out_of_range);
        peer_close(p, true);
        return;
    }
    if (peer_has_piece(p, piece) || !picker_on_have(&t->picker, &p->pp, piece)) {
        COUNT(p->s, have_duplicate);
        return;
    }
    if (bitset_is_full(&p->have))
        peer_became_seed(p);
    if (p->state != CONN_CLOSED)
        peer_update_interest(p);
}

/* BEP 54 */
static void peer_on_dont_have(struct peer *p, struct bytes payload)
{
    struct torrent *t = p->t;
    uint32_t piece;
    if (donthave_read(payload, &piece, NULL)) {
        COUNT(p->s, extended_malformed);
        peer_close(p, true);
        return;
    }
    if (!t->info || !peer_piece_is_in_range(p, piece) || !peer_has_piece(p, piece))
        return;
    if (p->have.n == 0) { /* a seed no more: it needs its own bits */
        if (bitset_init(&p->have, p->s->mem, t->info->n_pieces)) {
            COUNT(p->s, conn_no_memory);
            peer_close(p, false);
            return;
        }
        bitset_set_all(&p->have);
        peer_drop_requests(p);
        picker_remove_peer(&t->picker, &p->pp);
        blame_release_sender(&t->blame, p->pp.sender);
        p->is_in_picker = false;
        if (!peer_join_picker(p))
            return;
    }
    picker_on_dont_have(&t->picker, &p->pp, piece);
    uint32_t cursor = p->pp.first_request;
    struct wire_block b;
    while (cursor != PICKER_NONE && picker_next_request(&t->picker, &cursor, &b, NULL, NULL))
        if (b.piece == piece && picker_on_reject(&t->picker, &p->pp, &b)) {
            pipeline_on_dropped(&p->pipeline, p->s->now_us, b.len);
            p->n_excused++;
            cursor = p->pp.first_request;
            t->needs_refill = true;
            session_mark_torrent(t);
        }
    peer_update_interest(p);
}

/* BEP 6 */
static void peer_on_allowed_fast(struct peer *p, uint32_t piece)
{
    if (!p->t->info || !peer_piece_is_in_range(p, piece) || p->n_fast_in == FAST_SET_MAX)
        return;
    for (uint32_t i = 0; i < p->n_fast_in; i++)
        if (p->fast_in[i] == piece)
            return;
    p->fast_in[p->n_fast_in++] = piece;
}

static void peer_on_suggest(struct peer *p, uint32_t piece)
{
    COUNT(p->s, suggest_ignored);
    if (p->t->info)
        peer_piece_is_in_range(p, piece);
}

/* --- extension protocol (BEP 10) ------------------------------------------------------------- */

static void peer_learn_endpoint(struct peer *p)
{
    struct torrent *t = p->t;
    if (p->ext.port && p->is_incoming && p->entry) {
        struct peer_entry *e =
            peer_list_set_listen_port(&t->known, p->s->now_us, p->entry, p->ext.port);
        if (e) /* else another connection with it is under way: the handshakes will sort it out */
            p->entry = e;
    }
    if (p->ext.yourip.family != ADDR_NONE && t->known.own.family == ADDR_NONE &&
        p->s->config.listen_port) {
        struct addr own = p->ext.yourip;
        own.port = p->s->config.listen_port;
        peer_list_set_own(&t->known, &own);
    }
}

static void peer_on_ext_handshake(struct peer *p, struct bytes payload)
{
    if (ext_handshake_read(payload, &p->ext, NULL)) {
        COUNT(p->s, extended_malformed);
        peer_close(p, true);
        return;
    }
    pipeline_set_reqq(&p->pipeline, p->ext.reqq);
    peer_learn_endpoint(p);
    bool is_upload_only = peer_is_seed(p) || p->ext.is_upload_only;
    if (is_upload_only != p->cp.is_upload_only) {
        p->cp.is_upload_only = is_upload_only;
        choker_on_interest(&p->s->choker, p->s->now_us, &p->cp, p->peer_interested);
        p->s->is_choker_dirty = true;
    }
    peer_metadata_join(p);
    if (p->state != CONN_CLOSED && !peer_close_if_useless(p))
        peer_arm(p);
}

static void peer_on_extended(struct peer *p, const struct wire_msg *m)
{
    if (m->extended.id == EXT_ID_HANDSHAKE) {
        peer_on_ext_handshake(p, m->extended.payload);
        return;
    }
    switch (ext_kind_of_id(m->extended.id)) {
    case EXT_METADATA:
        peer_on_metadata(p, m->extended.payload);
        break;
    case EXT_PEX:
        peer_on_pex(p, m->extended.payload);
        break;
    case EXT_DONTHAVE:
        peer_on_dont_have(p, m->extended.payload);
        break;
    case EXT_KIND_COUNT:
        COUNT(p->s, extended_unknown);
        break;
    }
}

/* --- dispatch -------------------------------------------------------------------------------- */

static void peer_on_msg(struct peer *p, const struct wire_msg *m)
{
    switch ((enum msg_id)m->id) {
    case MSG_BITFIELD:
    case MSG_HAVE_ALL:
    case MSG_HAVE_NONE:
        peer_on_have_message(p, m);
        return;
    case MSG_EXTENDED:
        peer_on_extended(p, m);
        return;
    case MSG_PORT:
        COUNT(p->s, port_ignored);
        return;
    default:
        break;
    }
    if (!peer_settle(p))
        return;
    switch ((enum msg_id)m->id) {
    case MSG_CHOKE:
        peer_on_choke(p);
        break;
    case MSG_UNCHOKE:
        peer_on_unchoke(p);
        break;
    case MSG_INTERESTED:
    case MSG_NOT_INTERESTED:
        peer_on_interested(p, m->id == MSG_INTERESTED);
        break;
    case MSG_HAVE:
        peer_on_have(p, m->piece);
        break;
    case MSG_REQUEST:
        peer_on_request(p, &m->block);
        break;
    case MSG_CANCEL:
        peer_on_cancel(p, &m->block);
        break;
    case MSG_SUGGEST:
        peer_on_suggest(p, m->piece);
        break;
    case MSG_REJECT:
        peer_on_reject(p, &m->block);
        break;
    case MSG_ALLOWED_FAST:
        peer_on_allowed_fast(p, m->piece);
        break;
    case MSG_HASH_REQUEST:
        peer_on_hash_request(p, m);
        break;
    case MSG_HASHES:
        peer_on_hashes(p, m);
        break;
    case MSG_HASH_REJECT:
        peer_on_hash_reject(p, m);
        break;
    default: /* the others went above; piece has events of its own */
        break;
    }
}

static void peer_on_fail(struct peer *p)
{
    char text[200], from[ADDR_TEXT_CAP];
    LOG(p->s->log, LOG_DEBUG, "peer", "\"closed\" addr=%s err=\"%s\"", addr_format(&p->addr, from),
        err_format(&p->in.err, text, sizeof(text)));
    if (p->in.err.code == ERR_NO_MEMORY)
        COUNT(p->s, conn_no_memory);
    else if (p->in.err.code == ERR_UNSUPPORTED)
        COUNT(p->s, handshake_not_bittorrent);
    else
        COUNT(p->s, msg_malformed);
    peer_close(p, p->in.err.code != ERR_NO_MEMORY);
}

static void peer_on_event(struct peer *p, const struct wire_event *ev)
{
    switch (ev->kind) {
    case WIRE_FAIL:
        peer_on_fail(p);
        break;
    case WIRE_HANDSHAKE_HASH:
        peer_on_infohash(p, &p->in.handshake);
        break;
    case WIRE_HANDSHAKE:
        peer_on_handshake(p, &p->in.handshake);
        break;
    case WIRE_MSG:
        peer_on_msg(p, &ev->msg);
        break;
    case WIRE_UNKNOWN:
        COUNT(p->s, msg_unknown);
        break;
    case WIRE_BLOCK_HEAD:
        if (peer_settle(p))
            peer_on_block_head(p, &ev->block);
        break;
    case WIRE_BLOCK_DATA:
        peer_on_block_data(p, ev);
        break;
    case WIRE_KEEP_ALIVE:
    case WIRE_NONE:
        break;
    }
}

void peer_on_events(struct peer *p)
{
    struct wire_event ev;
    while (p->state != CONN_CLOSED && wire_in_next(&p->in, &ev))
        peer_on_event(p, &ev);
}
