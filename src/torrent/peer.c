#include "base/size.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

#define REQUESTS_TICK_US  1000000u /* how often requests under way are looked at */
#define CONNECTING_US_MAX (60u * (uint64_t)US_PER_S) /* the host gives up long before */

/* --- life ------------------------------------------------------------------------------------ */

static void peer_init(struct peer *p)
{
    struct session *s = p->s;
    wire_in_init(&p->in, s->mem);
    bqueue_init(&p->out, s->mem, OUTQ_LEN_MAX);
    pipeline_init(&p->pipeline);
    upload_queue_init(&p->uploads, s->mem, UPLOAD_QUEUE_N_MAX);
    ext_peer_init(&p->ext);
    metadata_serve_init(&p->metadata_serve);
    hash_serve_peer_init(&p->hash_budget, s->now_us);
    pex_in_init(&p->pex_in, s->now_us);
    choker_peer_init(&p->cp);
    rate_init(&p->down);
    rate_init(&p->up);
    p->am_choking = p->peer_choking = true;
    p->connected_at_us = p->heard_at_us = p->sent_at_us = s->now_us;
}

static void peer_attach(struct peer *p, struct torrent *t)
{
    p->t = t;
    list_push_back(&t->peers, &p->in_torrent);
    t->n_peers++;
}

struct peer *peer_new(struct session *s, struct torrent *t, const struct addr *addr,
                      bool is_incoming)
{
    struct peer *p = mem_calloc(s->mem, 1, sizeof(*p));
    if (!p)
        return NULL;
    p->s = s;
    p->addr = *addr;
    p->is_incoming = is_incoming;
    timer_init(&p->timer, TIMER_PEER);
    if (timer_set(&s->timers, &p->timer, s->now_us + HANDSHAKE_TIMEOUT_US) ||
        !(p->id = (uint32_t)slots_put(&s->conns, p))) {
        timer_stop(&s->timers, &p->timer);
        mem_free(s->mem, p);
        return NULL;
    }
    peer_init(p);
    s->n_conns++;
    if (is_incoming) {
        p->state = CONN_HANDSHAKE;
        list_push_back(&s->strangers, &p->in_torrent);
    } else {
        p->state = CONN_CONNECTING;
        peer_attach(p, t);
        t->n_connecting++;
        s->n_half_open++;
        peer_arm(p);
    }
    return p;
}

void peer_free(struct peer *p)
{
    assert(p->state == CONN_CLOSED);
    mem_free(p->s->mem, p);
}

static void peer_leave_lists(struct peer *p)
{
    struct session *s = p->s;
    struct {
        struct list *list;
        struct list_node *node;
    } all[] = {{&s->dirty_peers, &p->in_dirty},
               {&s->cache_wait, &p->in_cache_wait},
               {&s->down_wait, &p->in_down_wait},
               {&s->up_wait, &p->in_up_wait},
               {p->t ? &p->t->peers : &s->strangers, &p->in_torrent}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (list_node_is_linked(all[i].node))
            list_remove(all[i].list, all[i].node);
}

static void peer_drop_early(struct peer *p)
{
    mem_free(p->s->mem, p->early_bits);
    mem_free(p->s->mem, p->early_haves);
    p->t->early_len -= p->early_bits_len;
    p->early_bits = NULL;
    p->early_haves = NULL;
    p->early_bits_len = p->n_early_haves = 0;
}

static void peer_leave_torrent(struct peer *p, bool is_fault)
{
    struct torrent *t = p->t;
    struct session *s = p->s;
    peer_metadata_leave(p);
    peer_drop_early(p);
    peer_drop_block(p);
    if (p->is_in_picker) {
        peer_drop_requests(p);
        picker_remove_peer(&t->picker, &p->pp);
        blame_release_sender(&t->blame, p->pp.sender);
        p->is_in_picker = false;
    }
    t->n_peers--;
    if (p->state == CONN_CONNECTING) {
        t->n_connecting--;
        s->n_half_open--;
    }
    struct source source = peer_source(p);
    sources_add(&t->sources, &source);
    if (p->entry) {
        if (!torrent_takes_peers(t))
            peer_list_on_cancelled(&t->known, s->now_us, p->entry);
        else if (peer_is_running(p))
            peer_list_on_closed(&t->known, s->now_us, p->entry, is_fault);
        else if (p->is_incoming)
            peer_list_on_closed(&t->known, s->now_us, p->entry, true);
        else
            peer_list_on_failed(&t->known, s->now_us, p->entry);
    }
    p->entry = NULL;
    if (t->n_peers == 0 && torrent_takes_peers(t) && t->want_peers_at_us == DEADLINE_NEVER)
        t->want_peers_at_us = s->now_us + WANT_PEERS_US;
    torrent_want_dial(t);
    session_mark_torrent(t);
}

void peer_closed(struct peer *p, bool is_fault)
{
    struct session *s = p->s;
    if (p->state == CONN_CLOSED)
        return;
    if (p->is_in_choker) {
        choker_remove(&s->choker, s->now_us, &p->cp);
        p->is_in_choker = false;
        s->is_choker_dirty = true;
    }
    peer_leave_lists(p);
    if (p->t)
        peer_leave_torrent(p, is_fault);
    p->state = CONN_CLOSED;
    s->n_conns--;
    slots_remove(&s->conns, p->id);
    timer_stop(&s->timers, &p->timer);
    if (p->has_pex)
        pex_out_clear(&p->pex_out);
    upload_queue_clear(&p->uploads);
    bqueue_clear(&p->out);
    bitset_clear(&p->have);
    wire_in_clear(&p->in);
    list_push_back(&s->graveyard, &p->in_grave);
}

void peer_close(struct peer *p, bool is_fault)
{
    if (p->state == CONN_CLOSED)
        return;
    p->s->host.close(p->s->host.ctx, p->id);
    peer_closed(p, is_fault);
}

void peer_misbehaved(struct peer *p, const char *why)
{
    if (p->state != CONN_CLOSED)
        session_ban(p->s, &p->addr, p->t, why);
}

/* --- output ---------------------------------------------------------------------------------- */

void peer_send(struct peer *p, struct bytes b)
{
    if (p->state == CONN_CLOSED)
        return;
    enum err_code code = bqueue_push(&p->out, b);
    if (code) {
        if (code == ERR_NO_MEMORY)
            COUNT(p->s, conn_no_memory);
        else
            COUNT(p->s, outq_overflow);
        peer_close(p, code != ERR_NO_MEMORY);
        return;
    }
    session_mark_peer(p);
}

void peer_send_plain(struct peer *p, enum msg_id id)
{
    uint8_t buf[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(buf, sizeof(buf));
    peer_msg_write_plain(&w, id);
    peer_send(p, writer_bytes(&w));
}

void peer_send_index(struct peer *p, enum msg_id id, uint32_t piece)
{
    uint8_t buf[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(buf, sizeof(buf));
    peer_msg_write_piece_index(&w, id, piece);
    peer_send(p, writer_bytes(&w));
}

void peer_send_block_msg(struct peer *p, enum msg_id id, const struct wire_block *b)
{
    uint8_t buf[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(buf, sizeof(buf));
    peer_msg_write_block(&w, id, b);
    peer_send(p, writer_bytes(&w));
}

void peer_send_extended(struct peer *p, enum ext_kind kind, struct bytes payload)
{
    uint8_t head[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(head, sizeof(head));
    peer_msg_write_extended_head(&w, p->ext.ids[kind], payload.len);
    peer_send(p, writer_bytes(&w));
    peer_send(p, payload);
}

static void peer_flush(struct peer *p)
{
    struct session *s = p->s;
    while (p->out.len && p->room_len) {
        struct bytes run = bqueue_peek(&p->out);
        run.len = size_min(run.len, p->room_len);
        s->host.send(s->host.ctx, p->id, run);
        p->room_len -= run.len;
        p->sent_at_us = s->now_us;
        bqueue_consume(&p->out, run.len);
    }
}

void peer_work(struct peer *p)
{
    if (p->state == CONN_CONNECTING || p->state == CONN_CLOSED)
        return;
    if (peer_is_running(p) && torrent_wants_data(p->t))
        peer_request_more(p);
    if (p->state == CONN_CLOSED)
        return;
    peer_flush(p);
    if (!peer_is_running(p) || p->out.len)
        return;
    if (p->metadata_serve.n)
        peer_metadata_serve(p);
    if (p->uploads.n && p->state != CONN_CLOSED)
        peer_serve(p);
}

/* --- handshake ------------------------------------------------------------------------------- */

static uint32_t torrent_features(const struct torrent *t)
{
    return WIRE_FAST | WIRE_EXTENSION | (t->has_v2 ? WIRE_V2 : 0u);
}

static void peer_send_handshake(struct peer *p, const uint8_t *infohash)
{
    struct handshake h = {0};
    uint8_t buf[HANDSHAKE_LEN];
    struct writer w = writer_init(buf, sizeof(buf));
    handshake_set_features(&h, torrent_features(p->t));
    memcpy(h.infohash, infohash, WIRE_HASH_LEN);
    memcpy(h.peer_id, p->s->config.peer_id, WIRE_ID_LEN);
    handshake_write(&w, &h);
    p->has_handshake_sent = true;
    peer_send(p, writer_bytes(&w));
}

void peer_on_connected(struct peer *p)
{
    struct torrent *t = p->t;
    COUNT(p->s, conns_connected);
    p->state = CONN_HANDSHAKE;
    t->n_connecting--;
    p->s->n_half_open--;
    p->connected_at_us = p->heard_at_us = p->s->now_us;
    peer_send_handshake(p, t->has_v1 ? t->infohash_v1 : t->infohash_v2);
    if (p->state != CONN_CLOSED)
        peer_arm(p);
    torrent_want_dial(t);
}

static bool torrent_is_hash(const struct torrent *t, const uint8_t *hash)
{
    return (t->has_v1 && memcmp(hash, t->infohash_v1, WIRE_HASH_LEN) == 0) ||
           (t->has_v2 && memcmp(hash, t->infohash_v2, WIRE_HASH_LEN) == 0);
}

static bool peer_refuse(struct peer *p)
{
    peer_close(p, false);
    return false;
}

/* An incoming connection has named its torrent: is there room? */
static bool peer_adopt(struct peer *p, struct torrent *t)
{
    struct session *s = p->s;
    bool is_full =
        t->n_peers >= s->config.n_conns_per_torrent_max || s->n_conns > s->config.n_conns_max;
    if (is_full && !torrent_make_room(t)) {
        COUNT(s, accept_refused_limit);
        return peer_refuse(p);
    }
    list_remove(&s->strangers, &p->in_torrent);
    peer_attach(p, t);
    p->entry = peer_list_on_incoming(&t->known, s->now_us, &p->addr);
    return true;
}

bool peer_on_infohash(struct peer *p, const struct handshake *h)
{
    struct session *s = p->s;
    if (!p->is_incoming) {
        if (torrent_is_hash(p->t, h->infohash))
            return true;
        COUNT(s, handshake_wrong_infohash);
        return peer_refuse(p);
    }
    struct torrent *t = session_torrent_by_hash(s, h->infohash);
    if (!t) {
        COUNT(s, handshake_unknown_infohash);
        return peer_refuse(p);
    }
    if (!torrent_takes_peers(t)) {
        COUNT(s, handshake_inactive_torrent);
        return peer_refuse(p);
    }
    if (!peer_adopt(p, t))
        return false;
    /* BEP 52, "Upgrade Path": a v1 handshake with the v2 bit may be answered with the v2 hash. */
    bool is_upgrade = t->has_v1 && t->has_v2 && (handshake_features(h) & WIRE_V2);
    peer_send_handshake(p, is_upgrade ? t->infohash_v2 : h->infohash);
    return p->state != CONN_CLOSED;
}

/* Both ends decide alike which of two connections between them stays: the one that the side with
 * the larger peer id dialled; of two in one direction the older. */
static bool peer_is_duplicate(struct peer *p)
{
    struct session *s = p->s;
    LIST_EACH(&p->t->peers, other, struct peer, in_torrent)
    {
        if (other == p || !peer_is_running(other) || !addr_ip_equal(&other->addr, &p->addr) ||
            memcmp(other->peer_id, p->peer_id, PEER_ID_LEN) != 0)
            continue;
        COUNT(s, handshake_duplicate);
        bool keeps_outgoing = memcmp(s->config.peer_id, p->peer_id, PEER_ID_LEN) > 0;
        if (other->is_incoming == p->is_incoming || other->is_incoming != keeps_outgoing)
            return true;
        peer_close(other, false);
        return false;
    }
    return false;
}

static bool peer_begin(struct peer *p)
{
    struct session *s = p->s;
    struct torrent *t = p->t;
    if (p->entry && !p->is_incoming)
        peer_list_on_connected(&t->known, s->now_us, p->entry);
    p->cp.piece_len = t->info ? t->info->piece_len : 0;
    p->cp.is_seeding = t->state == TORRENT_SEEDING || t->state == TORRENT_FINISHED;
    if (choker_add(&s->choker, s->now_us, &p->cp)) {
        COUNT(s, conn_no_memory);
        return peer_refuse(p);
    }
    p->is_in_choker = true;
    if (!s->config.is_pex_off && !(t->info && t->info->is_private)) {
        pex_out_init(&p->pex_out, s->mem, s->now_us);
        p->has_pex = true;
    }
    if (peer_can(p, WIRE_EXTENSION))
        peer_send_ext_handshake(p);
    if (p->state != CONN_CLOSED && t->state != TORRENT_OPENING && t->state != TORRENT_CHECKING)
        peer_send_have_message(p);
    if (p->state != CONN_CLOSED)
        peer_arm(p);
    return p->state != CONN_CLOSED;
}

bool peer_on_handshake(struct peer *p, const struct handshake *h)
{
    struct session *s = p->s;
    struct torrent *t = p->t;
    memcpy(p->peer_id, h->peer_id, PEER_ID_LEN);
    if (memcmp(p->peer_id, s->config.peer_id, PEER_ID_LEN) == 0) {
        COUNT(s, handshake_self);
        if (p->entry && !p->is_incoming)
            peer_list_mark_self(&t->known, p->entry);
        return peer_refuse(p);
    }
    if (peer_is_duplicate(p))
        return peer_refuse(p);
    p->features = torrent_features(t) & handshake_features(h);
    if (t->has_v2 && memcmp(h->infohash, t->infohash_v2, WIRE_HASH_LEN) == 0)
        p->features |= WIRE_V2;
    wire_in_set_features(&p->in, p->features);
    if (t->info)
        wire_in_set_n_pieces(&p->in, t->info->n_pieces);
    p->state = CONN_BITFIELD;
    return peer_begin(p);
}

void peer_send_ext_handshake(struct peer *p)
{
    const struct torrent *t = p->t;
    struct addr yourip = p->addr;
    struct ext_ours ours = {.kinds = {[EXT_METADATA] = true, [EXT_DONTHAVE] = true},
                            .version = p->s->config.user_agent,
                            .port = p->s->config.listen_port,
                            .reqq = UPLOAD_QUEUE_N_MAX,
                            .metadata_size = t->info ? t->info->info.len : 0,
                            .yourip = &yourip};
    ours.kinds[EXT_PEX] = p->has_pex && !(t->info && t->info->is_private);
    ours.is_upload_only = t->state == TORRENT_SEEDING || t->state == TORRENT_FINISHED;
    uint8_t payload[EXT_HANDSHAKE_LEN_MAX], head[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(payload, sizeof(payload));
    struct writer hw = writer_init(head, sizeof(head));
    ext_handshake_write(&w, &ours);
    peer_msg_write_extended_head(&hw, EXT_ID_HANDSHAKE, writer_bytes(&w).len);
    peer_send(p, writer_bytes(&hw));
    peer_send(p, writer_bytes(&w));
}

static void peer_send_bitfield(struct peer *p)
{
    uint8_t head[8];
    struct bytes bits = bitset_bytes(&p->t->have);
    struct writer w = writer_init(head, sizeof(head));
    writer_u32be(&w, (uint32_t)bits.len + 1);
    writer_u8(&w, MSG_BITFIELD);
    peer_send(p, writer_bytes(&w));
    peer_send(p, bits);
}

/* BEP 6: exactly one of bitfield, have all and have none; BEP 3: a bitfield, if there is one. */
void peer_send_have_message(struct peer *p)
{
    const struct torrent *t = p->t;
    if (p->has_have_sent || !peer_is_running(p))
        return;
    p->has_have_sent = true;
    bool is_fast = peer_can(p, WIRE_FAST);
    if (!t->info || t->have.n_set == 0) {
        if (is_fast)
            peer_send_plain(p, MSG_HAVE_NONE);
    } else if (is_fast && torrent_is_complete(t)) {
        peer_send_plain(p, MSG_HAVE_ALL);
    } else {
        peer_send_bitfield(p);
    }
}

/* --- what the far side has ------------------------------------------------------------------- */

bool peer_can(const struct peer *p, enum wire_feature f)
{
    return (p->features & f) != 0;
}

bool peer_is_seed(const struct peer *p)
{
    return p->is_have_known && (p->have.n == 0 || bitset_is_full(&p->have));
}

bool peer_has_piece(const struct peer *p, uint32_t piece)
{
    return p->is_have_known && (p->have.n == 0 || bitset_get(&p->have, piece));
}

bool peer_join_picker(struct peer *p)
{
    struct torrent *t = p->t;
    if (p->is_in_picker || !t->has_picker)
        return true;
    uint32_t sender = blame_take_sender(&t->blame, &p->addr);
    if (sender == BLAME_SENDER_NONE) { /* it could lie for ever without being named */
        COUNT(p->s, conn_no_memory);
        return peer_refuse(p);
    }
    p->is_have_known = true;
    picker_peer_init(&p->pp, p, p->have.n ? &p->have : NULL, p->have.n == 0);
    p->pp.sender = sender;
    p->pp.is_on_parole = blame_is_suspect(&t->blame, p->pp.sender);
    picker_add_peer(&t->picker, &p->pp);
    p->is_in_picker = true;
    p->cp.piece_len = t->info->piece_len;
    p->cp.is_upload_only = peer_is_seed(p) || p->ext.is_upload_only;
    if (p->entry)
        peer_list_mark_seed(&t->known, p->entry, peer_is_seed(p));
    if (peer_can(p, WIRE_V2))
        peer_hash_join(p);
    return true;
}

static bool peer_keep_early(struct peer *p, bool is_all, struct bytes bits)
{
    p->early_all = is_all;
    if (!bits.len)
        return true;
    if (bits.len > EARLY_LEN_MAX - p->t->early_len) {
        COUNT(p->s, msg_early);
        return peer_refuse(p);
    }
    p->early_bits = mem_dup(p->s->mem, bits.data, bits.len);
    if (p->early_bits) {
        p->early_bits_len = bits.len;
        p->t->early_len += bits.len;
        return true;
    }
    COUNT(p->s, conn_no_memory);
    return peer_refuse(p);
}

static bool peer_build_have(struct peer *p, bool is_all, struct bytes bits)
{
    uint32_t n = p->t->info->n_pieces;
    if (is_all)
        return true;
    if (bitset_init(&p->have, p->s->mem, n)) {
        COUNT(p->s, conn_no_memory);
        return peer_refuse(p);
    }
    if (bits.len && bitset_read(&p->have, bits)) {
        COUNT(p->s, bitfield_malformed);
        peer_close(p, true);
        return false;
    }
    if (bitset_is_full(&p->have))
        bitset_clear(&p->have); /* n is 0: a seed */
    return true;
}

bool peer_set_have(struct peer *p, bool is_all, struct bytes bits)
{
    p->has_have = true;
    if (!p->t->info)
        return peer_keep_early(p, is_all, bits);
    if (!peer_build_have(p, is_all, bits))
        return false;
    if (!peer_join_picker(p) || peer_close_if_useless(p))
        return false;
    peer_update_interest(p);
    return p->state != CONN_CLOSED;
}

void peer_apply_early(struct peer *p)
{
    wire_in_set_n_pieces(&p->in, p->t->info->n_pieces);
    if (!p->has_have)
        return;
    struct bytes bits = bytes_of(p->early_bits, p->early_bits_len);
    if (!peer_build_have(p, p->early_all, bits))
        return;
    for (uint32_t i = 0; i < p->n_early_haves && p->have.n; i++)
        if (p->early_haves[i] < p->have.n)
            bitset_set(&p->have, p->early_haves[i]);
    if (bitset_is_full(&p->have) && p->have.n)
        bitset_clear(&p->have);
    peer_drop_early(p);
    (void)peer_join_picker(p);
}

/* BEP 21: neither side wants anything of the other. */
bool peer_close_if_useless(struct peer *p)
{
    const struct torrent *t = p->t;
    bool is_done = t->state == TORRENT_SEEDING || t->state == TORRENT_FINISHED;
    if (!is_done || !p->is_have_known || !(peer_is_seed(p) || p->ext.is_upload_only))
        return false;
    COUNT(p->s, seed_to_seed_closed);
    if (p->entry)
        peer_list_mark_seed(&p->t->known, p->entry, true);
    peer_close(p, false);
    return true;
}

/* --- time ------------------------------------------------------------------------------------ */

static bool peer_is_paused_by_us(const struct peer *p)
{
    return list_node_is_linked(&p->in_cache_wait) || list_node_is_linked(&p->in_down_wait);
}

/* Nothing is asked of it now; as what is asked of others grows old, that may change. */
static bool peer_could_ask(const struct peer *p)
{
    return p->is_in_picker && p->am_interested && !p->peer_choking && torrent_wants_data(p->t);
}

static uint64_t peer_deadline_us(const struct peer *p)
{
    uint64_t now_us = p->s->now_us;
    if (p->state == CONN_CONNECTING)
        return p->connected_at_us + CONNECTING_US_MAX;
    if (p->state == CONN_HANDSHAKE)
        return p->connected_at_us + HANDSHAKE_TIMEOUT_US;
    uint64_t at_us = u64_min(p->heard_at_us + SILENCE_TIMEOUT_US, p->sent_at_us + KEEP_ALIVE_US);
    if (peer_does_pex(p))
        at_us = u64_min(at_us, pex_out_deadline_us(&p->pex_out));
    if (p->pp.n_requests || peer_could_ask(p))
        at_us = u64_min(at_us, now_us + REQUESTS_TICK_US);
    return at_us;
}

void peer_arm(struct peer *p)
{
    session_set_timer(p->s, &p->timer, u64_max(peer_deadline_us(p), p->s->now_us + 1));
}

void peer_arm_by(struct peer *p, uint64_t at_us)
{
    if (!timer_is_set(&p->timer) || p->timer.in_timers.key > at_us)
        session_set_timer(p->s, &p->timer, at_us);
}

static void peer_keep_alive(struct peer *p)
{
    uint8_t buf[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(buf, sizeof(buf));
    p->sent_at_us = p->s->now_us; /* also when there is no room: what is queued will do */
    if (p->out.len)
        return;
    peer_msg_write_keep_alive(&w);
    peer_send(p, writer_bytes(&w));
}

void peer_on_timer(struct peer *p)
{
    struct session *s = p->s;
    if (!peer_is_running(p)) {
        if (s->now_us >= peer_deadline_us(p)) {
            COUNT(s, handshake_timeout);
            peer_close(p, false);
            return;
        }
        peer_arm(p);
        return;
    }
    if (peer_is_paused_by_us(p))
        p->heard_at_us = s->now_us;
    if (s->now_us >= p->heard_at_us + SILENCE_TIMEOUT_US) {
        COUNT(s, peers_timed_out);
        peer_close(p, false);
        return;
    }
    if (s->now_us >= p->sent_at_us + KEEP_ALIVE_US)
        peer_keep_alive(p);
    if (p->state != CONN_CLOSED)
        peer_pex_write(p);
    if (p->state != CONN_CLOSED && p->pp.n_requests && !peer_is_paused_by_us(p))
        peer_requests_tick(p);
    if (p->state == CONN_CLOSED)
        return;
    session_mark_peer(p);
    peer_arm(p);
}

void peer_check(const struct peer *p)
{
    assert(p->state != CONN_CLOSED && timer_is_set(&p->timer));
    assert(p->t || (p->is_incoming && p->state == CONN_HANDSHAKE));
    assert(!p->is_in_picker || (p->t->has_picker && p->is_have_known));
    assert(!p->is_in_choker || p->am_choking == !p->cp.is_unchoked || p->cp.is_changed);
    assert(!p->block || wire_in_pending(&p->in));
    wire_in_check(&p->in);
    upload_queue_check(&p->uploads);
}
