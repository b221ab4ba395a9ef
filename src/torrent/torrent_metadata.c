#include "base/size.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

#define LEAVES_READS_MAX 8u /* ours: pieces read back at once to answer hash requests */
#define POLL_US          (5u * US_PER_S) /* ours: peers and memory that were refused are tried again */
#define TICK_US_MIN      10000u /* ours: deadlines of the machines below are not met more often */

/* --- the info dictionary (BEP 9): fetching --------------------------------------------------- */

static void torrent_no_memory(struct torrent *t)
{
    struct err err = {ERR_NO_MEMORY, "no memory for the metadata", 0, 0, 0};
    torrent_fail(t, &err);
}

void torrent_metadata_start(struct torrent *t)
{
    enum err_code code = ERR_OK;
    if (!t->info && !t->metadata) {
        struct metadata_want want = {.has_v1 = t->has_v1, .has_v2 = t->has_v2};
        memcpy(want.v1, t->infohash_v1, SHA1_LEN);
        memcpy(want.v2, t->infohash_v2, SHA256_LEN);
        code = metadata_fetch_new(&t->metadata, t->s->mem, &want);
        if (code)
            t->metadata = NULL;
    } else if (t->info && !t->hash_fetch) {
        code = hash_fetch_new(&t->hash_fetch, t->s->mem, t->info);
        if (code)
            t->hash_fetch = NULL;
    }
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    peer_hash_join(p);
    if (code && !(t->info && t->info->has_v1))
        torrent_no_memory(t);
    session_mark_torrent(t);
}

static void torrent_unprepare(struct torrent *t)
{
    if (t->has_picker)
        picker_clear(&t->picker);
    t->has_picker = false;
    bitset_clear(&t->have);
    bitset_clear(&t->unsynced);
    bitset_clear(&t->syncing);
    bitset_clear(&t->to_check);
    mem_free(t->s->mem, t->files);
    t->files = NULL;
    metainfo_free(t->info);
    t->info = NULL;
    t->is_info_from_peers = false;
}

/* What the magnet link knew goes into the torrent, so that resume data has it. */
static void torrent_add_magnet_parts(struct torrent *t)
{
    for (uint32_t i = 0; t->has_magnet && i < t->magnet.n_trackers; i++)
        (void)!metainfo_add_tracker(t->info, t->magnet.trackers[i], i);
    for (uint32_t i = 0; t->has_magnet && i < t->magnet.n_webseeds; i++)
        (void)!metainfo_add_webseed(t->info, t->magnet.webseeds[i]);
}

static bool torrent_take_info(struct torrent *t, struct bytes raw)
{
    struct err err = {0};
    if (metainfo_read_info(&t->info, raw, t->s->mem, NULL, &err)) {
        t->info = NULL;
        COUNT_N(t->s, metadata_unusable, err.code != ERR_NO_MEMORY);
        torrent_fail(t, &err);
        return false;
    }
    t->is_info_from_peers = true;
    torrent_add_magnet_parts(t);
    if (!torrent_prepare(t, &err))
        return true;
    torrent_unprepare(t);
    torrent_fail(t, &err);
    return false;
}

static void torrent_metadata_done(struct torrent *t)
{
    struct metadata_fetch *done = t->metadata;
    t->metadata = NULL;
    bool is_taken = torrent_take_info(t, metadata_fetch_info(done));
    metadata_fetch_free(done);
    if (!is_taken)
        return;
    torrent_event(t, EVENT_METADATA, 0, NULL);
    t->is_save_wanted = true;
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    {
        if (!peer_is_running(p))
            continue;
        peer_apply_early(p);
        if (p->state != CONN_CLOSED && p->ext.n_read)
            peer_send_ext_handshake(p); /* now with a metadata_size */
    }
    torrent_start(t);
}

static void torrent_ask_metadata(struct torrent *t)
{
    uint32_t conn, piece;
    while (metadata_fetch_next(t->metadata, t->s->now_us, &conn, &piece)) {
        struct peer *p = slots_get(&t->s->conns, conn);
        uint8_t buf[UT_METADATA_HEAD_MAX];
        struct writer w = writer_init(buf, sizeof(buf));
        if (!p)
            continue;
        ut_metadata_write_request(&w, piece);
        peer_send_extended(p, EXT_METADATA, writer_bytes(&w));
    }
}

void torrent_metadata_work(struct torrent *t)
{
    uint32_t conn;
    struct addr a;
    if (t->info && t->info->has_piece_layers) {
        torrent_open(t);
        return;
    }
    if (!t->metadata)
        return;
    while (metadata_fetch_next_blamed(t->metadata, &conn, &a))
        session_ban(t->s, &a, t, "sent wrong metadata");
    if (metadata_fetch_is_done(t->metadata))
        torrent_metadata_done(t);
    else
        torrent_ask_metadata(t);
}

uint64_t torrent_metadata_deadline_us(const struct torrent *t)
{
    uint64_t at_us = DEADLINE_NEVER;
    if (t->metadata)
        at_us = u64_min(at_us, metadata_fetch_deadline_us(t->metadata));
    if (t->hash_fetch)
        at_us = u64_min(at_us, hash_fetch_deadline_us(t->hash_fetch));
    if (t->state == TORRENT_METADATA && t->n_peers)
        at_us = u64_min(at_us, t->s->now_us + POLL_US);
    return at_us == DEADLINE_NEVER ? at_us : u64_max(at_us, t->s->now_us + TICK_US_MIN);
}

void torrent_metadata_tick(struct torrent *t)
{
    if (t->metadata) {
        metadata_fetch_on_tick(t->metadata, t->s->now_us);
        LIST_EACH(&t->peers, p, struct peer, in_torrent)
        if (!p->is_metadata_peer)
            peer_metadata_join(p);
    }
    if (!t->hash_fetch ||
        (t->state != TORRENT_METADATA && hash_fetch_deadline_us(t->hash_fetch) > t->s->now_us))
        return;
    hash_fetch_on_tick(t->hash_fetch, t->s->now_us);
    torrent_ask_for_hashes(t);
}

void peer_metadata_join(struct peer *p)
{
    struct torrent *t = p->t;
    if (!t->metadata || p->state == CONN_CLOSED || !p->ext.ids[EXT_METADATA] ||
        !p->ext.metadata_size)
        return;
    enum err_code code =
        metadata_fetch_add_peer(t->metadata, p->s->now_us, p->id, &p->addr, p->ext.metadata_size);
    session_mark_torrent(t);
    p->is_metadata_peer |= code == ERR_OK;
    if (code != ERR_NO_MEMORY)
        return; /* ERR_LIMIT: offered again by the tick */
    COUNT(p->s, conn_no_memory);
    peer_close(p, false);
}

void peer_metadata_leave(struct peer *p)
{
    struct torrent *t = p->t;
    if (p->is_metadata_peer && t->metadata)
        metadata_fetch_remove_peer(t->metadata, p->id);
    if (p->is_hash_peer && t->hash_fetch)
        hash_fetch_remove_peer(t->hash_fetch, p->id);
    p->is_metadata_peer = p->is_hash_peer = false;
}

/* --- the info dictionary: messages ----------------------------------------------------------- */

static void peer_reject_metadata(struct peer *p, uint32_t piece)
{
    uint8_t buf[UT_METADATA_HEAD_MAX];
    struct writer w = writer_init(buf, sizeof(buf));
    COUNT(p->s, metadata_refused);
    if (!p->ext.ids[EXT_METADATA])
        return;
    ut_metadata_write_reject(&w, piece);
    peer_send_extended(p, EXT_METADATA, writer_bytes(&w));
}

static void peer_on_metadata_request(struct peer *p, uint32_t piece)
{
    uint64_t info_len = p->t->info && p->ext.ids[EXT_METADATA] ? p->t->info->info.len : 0;
    switch (metadata_serve_on_request(&p->metadata_serve, piece, info_len)) {
    case METADATA_QUEUED:
        session_mark_peer(p);
        break;
    case METADATA_REJECT:
        peer_reject_metadata(p, piece);
        break;
    case METADATA_CLOSE:
        COUNT(p->s, metadata_flood);
        peer_close(p, true);
        break;
    }
}

static void peer_on_metadata_data(struct peer *p, const struct ut_metadata_msg *m)
{
    struct torrent *t = p->t;
    if (!t->metadata) {
        COUNT(p->s, metadata_unasked);
        return;
    }
    switch (metadata_fetch_on_data(t->metadata, p->s->now_us, p->id, m)) {
    case METADATA_MORE:
    case METADATA_DONE:
        break;
    case METADATA_NO_MEMORY: /* it gives the whole only so many times on one connection */
        COUNT(p->s, conn_no_memory);
        peer_close(p, false);
        break;
    case METADATA_HASH_BAD:
        COUNT(p->s, metadata_hash_bad);
        break;
    case METADATA_IGNORED:
        COUNT(p->s, metadata_unasked);
        break;
    case METADATA_BAD:
        COUNT(p->s, metadata_bad);
        peer_close(p, true);
        break;
    }
    session_mark_torrent(t);
}

void peer_on_metadata(struct peer *p, struct bytes payload)
{
    struct ut_metadata_msg m;
    enum err_code code = ut_metadata_read(payload, &m, NULL);
    if (code == ERR_UNSUPPORTED)
        return;
    if (code) {
        COUNT(p->s, extended_malformed);
        peer_close(p, true);
        return;
    }
    switch (m.type) {
    case UT_METADATA_REQUEST:
        peer_on_metadata_request(p, m.piece);
        break;
    case UT_METADATA_DATA:
        peer_on_metadata_data(p, &m);
        break;
    case UT_METADATA_REJECT:
        if (p->t->metadata)
            metadata_fetch_on_reject(p->t->metadata, p->s->now_us, p->id, m.piece);
        session_mark_torrent(p->t);
        break;
    }
}

void peer_metadata_serve(struct peer *p)
{
    uint32_t piece;
    uint8_t buf[UT_METADATA_HEAD_MAX], head[PEER_MSG_LEN_MAX];
    while (p->state != CONN_CLOSED && p->out.len <= OUTQ_LEN_SOFT && p->t->info &&
           metadata_serve_next(&p->metadata_serve, &piece)) {
        struct bytes data = metadata_serve_data(p->t->info->info, piece);
        struct writer w = writer_init(buf, sizeof(buf));
        struct writer hw = writer_init(head, sizeof(head));
        ut_metadata_write_data(&w, piece, p->t->info->info.len);
        peer_msg_write_extended_head(&hw, p->ext.ids[EXT_METADATA],
                                     writer_bytes(&w).len + data.len);
        peer_send(p, writer_bytes(&hw));
        peer_send(p, writer_bytes(&w));
        peer_send(p, data);
    }
}

/* --- hashes (BEP 52): asking ----------------------------------------------------------------- */

static void peer_hash_enter(struct peer *p)
{
    struct torrent *t = p->t;
    if (!t->hash_fetch || p->is_hash_peer || !p->is_in_picker || !peer_can(p, WIRE_V2))
        return;
    p->is_hash_peer = hash_fetch_add_peer(t->hash_fetch, p->id) == ERR_OK;
}

void peer_hash_join(struct peer *p)
{
    peer_hash_enter(p);
    peer_hash_work(p);
}

/* hash_fetch wants bits; a seed has none of its own. */
static const struct bitset *peer_bits(struct peer *p)
{
    struct torrent *t = p->t;
    if (p->have.n)
        return &p->have;
    if (t->all.n == 0) {
        if (bitset_init(&t->all, t->s->mem, t->info->n_pieces))
            return NULL;
        bitset_set_all(&t->all);
    }
    return &t->all;
}

/* What a peer gave us speaks for it, unless it may have been a liar's. */
static uint64_t peer_merit(const struct peer *p)
{
    bool is_suspect = p->is_in_picker && blame_is_suspect(&p->t->blame, p->pp.sender);
    return is_suspect ? 0 : p->down.total;
}

static uint32_t rank_peer(struct peer **ranked, uint32_t n, struct peer *p)
{
    const uint64_t merit = peer_merit(p);
    uint32_t at = n;
    for (; at > 0 && peer_merit(ranked[at - 1]) < merit; at--)
        ranked[at] = ranked[at - 1];
    ranked[at] = p;
    return n + 1;
}

void torrent_ask_for_hashes(struct torrent *t)
{
    struct peer *ranked[HASH_PEERS_MAX];
    uint32_t n = 0;
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    {
        peer_hash_enter(p);
        assert(n < HASH_PEERS_MAX || !p->is_hash_peer);
        if (p->is_hash_peer)
            n = rank_peer(ranked, n, p);
    }
    for (uint32_t i = 0; i < n; i++)
        peer_hash_work(ranked[i]);
}

void peer_hash_work(struct peer *p)
{
    struct torrent *t = p->t;
    struct merkle_request q;
    if (!p->is_hash_peer || p->state == CONN_CLOSED || !peer_bits(p))
        return;
    while (p->state != CONN_CLOSED && p->out.len <= OUTQ_LEN_SOFT &&
           hash_fetch_next(t->hash_fetch, p->s->now_us, p->id, peer_bits(p), &q)) {
        uint8_t buf[PEER_MSG_LEN_MAX];
        struct writer w = writer_init(buf, sizeof(buf));
        peer_msg_write_hash_request(&w, &q);
        peer_send(p, writer_bytes(&w));
    }
    session_mark_torrent(t); /* its deadline may have moved */
}

void peer_on_hashes(struct peer *p, const struct wire_msg *m)
{
    struct torrent *t = p->t;
    uint32_t file, piece;
    if (!p->is_hash_peer) {
        COUNT(p->s, hashes_unasked);
        return;
    }
    switch (hash_fetch_on_hashes(t->hash_fetch, p->s->now_us, p->id, &m->hashes.ref, m->hashes.list,
                                 &file, &piece)) {
    case HASH_LAYER_DONE:
        torrent_save_soon(t);
        break;
    case HASH_TAKEN:
    case HASH_NO_MEMORY:
        break;
    case HASH_LEAVES_DONE:
        torrent_on_leaves(t, piece);
        break;
    case HASH_IGNORED:
        COUNT(p->s, hashes_unasked);
        break;
    case HASH_BAD:
        COUNT(p->s, hashes_bad);
        peer_misbehaved(p, "sent hashes that do not prove");
        return;
    }
    session_mark_torrent(t);
    peer_hash_work(p);
}

void peer_on_hash_reject(struct peer *p, const struct wire_msg *m)
{
    if (!p->is_hash_peer ||
        !hash_fetch_on_reject(p->t->hash_fetch, p->s->now_us, p->id, &m->hashes.ref)) {
        COUNT(p->s, hashes_unasked);
        return;
    }
    peer_hash_work(p);
    session_mark_torrent(p->t);
}

/* --- hashes: answering ----------------------------------------------------------------------- */

static void peer_reject_hashes(struct peer *p, const struct merkle_request *q)
{
    uint8_t buf[PEER_MSG_LEN_MAX];
    struct writer w = writer_init(buf, sizeof(buf));
    COUNT(p->s, hash_requests_rejected);
    peer_msg_write_hash_reject(&w, q);
    peer_send(p, writer_bytes(&w));
}

static void peer_send_hashes(struct peer *p, const struct merkle_request *q,
                             uint8_t (*hashes)[SHA256_LEN], size_t n)
{
    uint8_t buf[MERKLE_ANSWER_N_MAX * SHA256_LEN + PEER_MSG_LEN_MAX];
    struct writer w = writer_init(buf, sizeof(buf));
    peer_msg_write_hashes(&w, q, bytes_of(hashes, n * SHA256_LEN));
    peer_send(p, writer_bytes(&w));
}

static void leaves_read_free(struct leaves_read *r)
{
    struct torrent *t = r->job.t;
    session_job_drop(t->s, &r->job);
    list_remove(&t->leaves_reads, &r->in_torrent);
    mem_free(t->s->mem, r->q.v2_leaves);
    mem_free(t->s->mem, r);
}

/* The leaves of a piece that we have, from the disk; false: not now. */
static bool peer_read_leaves(struct peer *p, uint32_t piece, const struct merkle_request *q)
{
    struct torrent *t = p->t;
    struct mem *mem = t->s->mem;
    if (!bitset_get(&t->have, piece) || t->leaves_reads.n >= LEAVES_READS_MAX ||
        !t->is_storage_open)
        return false;
    struct leaves_read *r = mem_calloc(mem, 1, sizeof(*r));
    void *leaves = mem_calloc(mem, layout_n_blocks(&t->info->layout, piece), SHA256_LEN);
    if (!r || !leaves || !session_job_start(t, &r->job, JOB_LEAVES)) {
        mem_free(mem, leaves);
        mem_free(mem, r);
        return false;
    }
    r->conn = p->id;
    r->request = *q;
    r->q = (struct store_check){.torrent = t->id, .piece = piece, .v2_leaves = leaves};
    list_push_back(&t->leaves_reads, &r->in_torrent);
    t->s->host.store_check(t->s->host.ctx, r->job.id, &r->q);
    return true;
}

void torrent_on_leaves_read(struct leaves_read *r, const struct err *err)
{
    struct torrent *t = r->job.t;
    struct peer *p = slots_get(&t->s->conns, r->conn);
    uint8_t hashes[MERKLE_ANSWER_N_MAX][SHA256_LEN];
    size_t n = 0;
    uint32_t piece;
    bool is_good = !err->code && !r->q.is_missing && torrent_checks_v2(t, r->q.piece) &&
                   torrent_judge(t, r->q.piece, NULL,
                                 (const uint8_t(*)[SHA256_LEN])r->q.v2_leaves) == VERDICT_GOOD;
    if (is_good)
        hash_serve_put_leaves(t->hash_serve, r->q.piece, r->q.v2_leaves[0]);
    if (p && peer_is_running(p)) {
        if (is_good &&
            hash_serve_retry(t->hash_serve, &r->request, hashes, &n, &piece) == HASH_ANSWER)
            peer_send_hashes(p, &r->request, hashes, n);
        else
            peer_reject_hashes(p, &r->request);
    }
    leaves_read_free(r);
}

void peer_on_hash_request(struct peer *p, const struct wire_msg *m)
{
    struct torrent *t = p->t;
    struct merkle_request q = m->hashes.ref;
    uint8_t hashes[MERKLE_ANSWER_N_MAX][SHA256_LEN];
    size_t n = 0;
    uint32_t piece = 0;
    if (!t->info || !t->info->has_v2 ||
        (!t->hash_serve && hash_serve_new(&t->hash_serve, t->s->mem, t->info))) {
        peer_reject_hashes(p, &q);
        return;
    }
    switch (hash_serve_on_request(t->hash_serve, p->s->now_us, &p->hash_budget, &q, hashes, &n,
                                  &piece)) {
    case HASH_ANSWER:
        peer_send_hashes(p, &q, hashes, n);
        break;
    case HASH_ANSWER_LEAVES:
        if (peer_read_leaves(p, piece, &q))
            break;
        peer_reject_hashes(p, &q);
        break;
    case HASH_ANSWER_REJECT:
        peer_reject_hashes(p, &q);
        break;
    }
}

void torrent_hashes_free(struct torrent *t)
{
    LIST_EACH(&t->leaves_reads, r, struct leaves_read, in_torrent)
    leaves_read_free(r);
    hash_fetch_free(t->hash_fetch);
    hash_serve_free(t->hash_serve);
    t->hash_fetch = NULL;
    t->hash_serve = NULL;
}
