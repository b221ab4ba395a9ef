#include "base/size.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

#define PARTIALS_MIN       8u
#define PARTIALS_PER_CACHE 2u /* partial pieces: as many as would fill the cache twice */

/* --- making ---------------------------------------------------------------------------------- */

static void torrent_init(struct torrent *t, const struct torrent_params *params)
{
    struct session *s = t->s;
    t->alloc = params->alloc;
    t->check_mode = params->check;
    t->is_seed_only = params->is_seed_only;
    t->is_sequential = params->is_sequential;
    t->is_random_order = params->is_random_order;
    t->seed_ratio_milli = params->seed_ratio_milli;
    t->seed_time_us = params->seed_time_us;
    t->added_at_us = t->progress_at_us = s->now_us;
    t->save_at_us = t->sync_at_us = DEADLINE_NEVER;
    t->want_peers_at_us = DEADLINE_NEVER;
    list_init(&t->pieces);
    list_init(&t->peers);
    list_init(&t->leaves_reads);
    map_init(&t->pieces_by_index, s->mem, rng_map_seed(&s->rng), sizeof(uint32_t),
             sizeof(struct piece_in *), METAINFO_N_PIECES_MAX);
    blame_init(&t->blame, s->mem, &s->rng, 0, 0);
    sources_init(&t->sources, s->mem);
    peer_list_init(&t->known, s->mem, &s->rng, 0);
    buf_init(&t->resume_in, s->mem, RESUME_LEN_MAX);
    buf_init(&t->resume_out, s->mem, RESUME_LEN_MAX);
    rate_init(&t->down);
    rate_init(&t->up);
    timer_init(&t->timer, TIMER_TORRENT);
}

static void torrent_take_hashes(struct torrent *t)
{
    const struct metainfo *info = t->info;
    if (info) {
        t->has_v1 = info->has_v1;
        t->has_v2 = info->has_v2;
        memcpy(t->infohash_v1, info->infohash_v1, SHA1_LEN);
        memcpy(t->infohash_v2, info->infohash_v2, SHA256_LEN);
    } else {
        t->has_v1 = t->magnet.has_v1;
        t->has_v2 = t->magnet.has_v2;
        memcpy(t->infohash_v1, t->magnet.infohash_v1, SHA1_LEN);
        memcpy(t->infohash_v2, t->magnet.infohash_v2, SHA256_LEN);
    }
}

static bool torrent_hash_is_others(const struct torrent *t, const uint8_t *hash)
{
    const struct torrent *other = session_torrent_by_hash(t->s, hash);
    return other && other != t;
}

static enum err_code torrent_put_hashes(struct torrent *t, struct err *err)
{
    if ((t->has_v1 && torrent_hash_is_others(t, t->infohash_v1)) ||
        (t->has_v2 && torrent_hash_is_others(t, t->infohash_v2)))
        return err_set(err, ERR_PROTOCOL, "this torrent is in the session already");
    if ((t->has_v1 && !session_hash_put(t->s, t->infohash_v1, t->id)) ||
        (t->has_v2 && !session_hash_put(t->s, t->infohash_v2, t->id)))
        return err_set(err, ERR_NO_MEMORY, "no memory for a torrent");
    return ERR_OK;
}

static bool is_own_tracker(const struct torrent_params *params, const char *url)
{
    for (size_t i = 0; i < params->n_own_trackers; i++)
        if (strcmp(params->own_trackers[i], url) == 0)
            return true;
    return false;
}

static enum err_code torrent_add_tracker(struct torrent *t, const struct torrent_params *params,
                                         uint32_t tier, const char *url)
{
    return announcer_add_tracker(t->s->announcer, t->s->now_us, t->id, tier, bytes_of_str(url),
                                 is_own_tracker(params, url));
}

static enum err_code torrent_add_trackers(struct torrent *t, const struct torrent_params *params)
{
    struct session *s = t->s;
    if (!s->announcer)
        return ERR_OK;
    enum err_code code = announcer_add(s->announcer, t->id, t->has_v1 ? t->infohash_v1 : NULL,
                                       t->has_v2 ? t->infohash_v2 : NULL, &t->progress);
    if (code)
        return code;
    for (uint32_t i = 0; t->info && i < t->info->n_trackers && code != ERR_NO_MEMORY; i++)
        code = torrent_add_tracker(t, params, t->info->trackers[i].tier, t->info->trackers[i].url);
    for (uint32_t i = 0; t->has_magnet && i < t->magnet.n_trackers && code != ERR_NO_MEMORY; i++)
        code = torrent_add_tracker(t, params, i, t->magnet.trackers[i]);
    /* A URL that is refused is counted by the announcer and does not stop the torrent. */
    return code == ERR_NO_MEMORY ? code : ERR_OK;
}

static enum err_code torrent_copy_params(struct torrent *t, const struct torrent_params *params,
                                         struct err *err)
{
    struct mem *mem = t->s->mem;
    t->dir = mem_strndup(mem, params->dir, strlen(params->dir));
    if (params->magnet) {
        enum err_code code = magnet_copy(&t->magnet, params->magnet, mem);
        if (code)
            return err_set(err, code, "no memory for a torrent");
        t->has_magnet = true;
    }
    uint32_t n = params->info ? params->info->n_files : 0;
    if (n && params->file_priorities) {
        t->file_priorities = mem_dup(mem, params->file_priorities, n);
        t->n_file_priorities = n;
    }
    if (!t->dir || (n && params->file_priorities && !t->file_priorities))
        return err_set(err, ERR_NO_MEMORY, "no memory for a torrent");
    return ERR_OK;
}

static enum err_code torrent_build(struct torrent *t, const struct torrent_params *params,
                                   struct err *err)
{
    enum err_code code = torrent_copy_params(t, params, err);
    if (code)
        return code;
    t->info = params->info;
    torrent_take_hashes(t);
    memcpy(t->key, t->info ? metainfo_key(t->info) : magnet_key(&t->magnet), SHA1_LEN);
    if ((code = torrent_put_hashes(t, err)))
        return code;
    torrent_adopt_resume(t, params->resume);
    if (t->info && (code = torrent_prepare(t, err)))
        return code;
    if ((code = torrent_add_trackers(t, params)))
        return err_set(err, code,
                       code == ERR_LIMIT ? "too many torrents" : "no memory for a torrent");
    for (uint32_t i = 0; t->has_magnet && i < t->magnet.n_peers; i++) {
        const struct magnet_peer *p = &t->magnet.peers[i];
        if (p->addr.family != ADDR_NONE)
            torrent_add_peer(t, &p->addr, PEER_FROM_MAGNET, false);
        else
            torrent_resolve_peer(t, p->host, p->port);
    }
    return ERR_OK;
}

enum err_code torrent_new(struct session *s, const struct torrent_params *params,
                          struct torrent **out, struct err *err)
{
    if (!params->info == !params->magnet)
        return err_set(err, ERR_PROTOCOL, "a torrent needs metadata or a magnet link");
    struct torrent *t = mem_calloc(s->mem, 1, sizeof(*t));
    if (!t)
        return err_set(err, ERR_NO_MEMORY, "no memory for a torrent");
    t->s = s;
    t->id = (uint32_t)slots_put(&s->torrents, t);
    torrent_init(t, params);
    enum err_code code;
    if (t->id)
        code = torrent_build(t, params, err);
    else if (s->torrents.n_used >= s->torrents.n_max)
        code = err_set(err, ERR_LIMIT, "too many torrents");
    else
        code = err_set(err, ERR_NO_MEMORY, "no memory for a torrent");
    if (code) {
        if (t->info == params->info)
            t->info = NULL; /* stays the caller's */
        torrent_free(t);
        return code;
    }
    *out = t;
    return ERR_OK;
}

static void torrent_free_jobs(struct torrent *t)
{
    struct session *s = t->s;
    struct job *jobs[] = {&t->open_job, &t->sync_job, &t->stat_job, &t->save_job, &t->close_job};
    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
        session_job_drop(s, jobs[i]);
    for (uint32_t i = 0; t->checks && i < CHECKS_MAX; i++) {
        session_job_drop(s, &t->checks[i].job);
        mem_free(s->mem, t->checks[i].q.v2_leaves);
    }
    mem_free(s->mem, t->checks);
    if (t->n_jobs == 0)
        return;
    uint32_t cursor = 0; /* names that are being looked up */
    struct job *j;
    while ((j = slots_next(&s->jobs, &cursor)))
        if (j->t == t && j->kind == JOB_RESOLVE) {
            session_job_drop(s, j);
            torrent_resolve_free(j);
        }
    assert(t->n_jobs == 0);
}

void torrent_free(struct torrent *t)
{
    struct session *s = t->s;
    torrent_close_peers(t);
    torrent_hashes_free(t);
    torrent_pieces_free(t);
    torrent_free_jobs(t);
    if (s->announcer && t->id)
        announcer_remove(s->announcer, t->id);
    if (t->has_v1)
        session_hash_remove(s, t->infohash_v1, t->id);
    if (t->has_v2)
        session_hash_remove(s, t->infohash_v2, t->id);
    metadata_fetch_free(t->metadata);
    if (t->has_picker)
        picker_clear(&t->picker);
    bitset_clear(&t->all);
    bitset_clear(&t->have);
    bitset_clear(&t->unsynced);
    bitset_clear(&t->syncing);
    bitset_clear(&t->to_check);
    map_clear(&t->pieces_by_index);
    blame_clear(&t->blame);
    sources_clear(&t->sources);
    peer_list_clear(&t->known);
    buf_clear(&t->resume_in);
    buf_clear(&t->resume_out);
    metainfo_free(t->info);
    if (t->has_magnet)
        magnet_clear(&t->magnet);
    mem_free(s->mem, t->files);
    mem_free(s->mem, t->file_priorities);
    mem_free(s->mem, t->dir);
    timer_stop(&s->timers, &t->timer);
    if (list_node_is_linked(&t->in_dirty))
        list_remove(&s->dirty_torrents, &t->in_dirty);
    if (list_node_is_linked(&t->in_dial))
        list_remove(&s->dial_wait, &t->in_dial);
    if (t->id)
        slots_remove(&s->torrents, t->id);
    mem_free(s->mem, t);
}

/* --- metadata is known ----------------------------------------------------------------------- */

static uint32_t torrent_data_len(const void *ctx, uint32_t piece)
{
    return layout_piece_data_len(ctx, piece);
}

static uint32_t torrent_partials_max(const struct torrent *t)
{
    uint64_t per_piece = div_ceil(t->info->piece_len, BLOCK_LEN);
    uint64_t n = PARTIALS_PER_CACHE * t->s->cache.n_max / per_piece;
    return (uint32_t)u64_max(PARTIALS_MIN, u64_min(n, UINT32_MAX));
}

enum err_code torrent_prepare(struct torrent *t, struct err *err)
{
    struct session *s = t->s;
    struct metainfo *info = t->info;
    torrent_take_hashes(t);
    enum err_code code = torrent_put_hashes(t, err);
    if (code)
        return code;
    struct picker_config c = {.n_pieces = info->n_pieces,
                              .piece_len = info->piece_len,
                              .data_len = torrent_data_len,
                              .ctx = &info->layout,
                              .is_sequential = t->is_sequential,
                              .is_random = t->is_random_order,
                              .n_partials_max = torrent_partials_max(t)};
    if (bitset_init(&t->have, s->mem, info->n_pieces) ||
        bitset_init(&t->unsynced, s->mem, info->n_pieces) ||
        bitset_init(&t->syncing, s->mem, info->n_pieces) ||
        bitset_init(&t->to_check, s->mem, info->n_pieces) ||
        !(t->files = mem_calloc(s->mem, info->n_files ? info->n_files : 1, sizeof(*t->files))) ||
        picker_init(&t->picker, s->mem, &s->rng, &c))
        return err_set(err, ERR_NO_MEMORY, "no memory for the pieces of a torrent");
    t->has_picker = true;
    if (s->announcer && announcer_n_trackers(s->announcer, t->id) + 1 > 0)
        announcer_set_infohash(s->announcer, t->id, t->has_v1 ? t->infohash_v1 : NULL,
                               t->has_v2 ? t->infohash_v2 : NULL);
    torrent_apply_priorities(t);
    for (uint32_t i = 0; i < info->n_pieces; i++)
        if (layout_n_blocks(&info->layout, i) == 0)
            torrent_gain(t, i, true); /* nothing but pad bytes */
    return ERR_OK;
}

static uint8_t torrent_file_priority(const struct torrent *t, uint32_t file)
{
    if (t->has_magnet && !t->file_priorities && !magnet_selects(&t->magnet, file))
        return 0;
    if (!t->file_priorities || file >= t->n_file_priorities)
        return PICKER_PRIORITY_DEFAULT;
    uint8_t p = t->file_priorities[file];
    return p > PICKER_PRIORITY_MAX ? PICKER_PRIORITY_MAX : p;
}

/* A piece is as urgent as the most urgent file that it holds bytes of. */
static void torrent_set_piece_priorities(struct torrent *t)
{
    const struct metainfo *info = t->info;
    for (uint32_t i = 0; i < info->n_pieces; i++)
        picker_set_priority(&t->picker, i, 0);
    for (uint32_t f = 0; f < info->n_files; f++) {
        uint32_t first, last;
        uint8_t priority = torrent_file_priority(t, f);
        if ((info->files[f].flags & FILE_PAD) || priority == 0 ||
            !layout_file_pieces(&info->layout, f, &first, &last))
            continue;
        for (uint32_t i = first; i <= last; i++)
            if (picker_priority(&t->picker, i) < priority)
                picker_set_priority(&t->picker, i, priority);
    }
}

void torrent_apply_priorities(struct torrent *t)
{
    if (!t->has_picker)
        return;
    torrent_set_piece_priorities(t);
    picker_update_interest(&t->picker);
    t->wanted_len = t->have_wanted_len = 0;
    for (uint32_t i = 0; i < t->info->n_pieces; i++) {
        if (!picker_priority(&t->picker, i))
            continue;
        uint32_t len = layout_piece_data_len(&t->info->layout, i);
        t->wanted_len += len;
        t->have_wanted_len += bitset_get(&t->have, i) ? len : 0;
    }
    if (t->state == TORRENT_DOWNLOADING || t->state == TORRENT_FINISHED ||
        t->state == TORRENT_SEEDING)
        torrent_completion(t);
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    peer_update_interest(p);
}

/* --- states ---------------------------------------------------------------------------------- */

void torrent_event(struct torrent *t, enum session_event_kind kind, uint32_t piece,
                   const struct err *err)
{
    struct session_event e = {.kind = kind, .torrent = t->id, .piece = piece, .state = t->state};
    if (err)
        e.err = *err;
    session_event_push(t->s, &e);
}

void torrent_set_state(struct torrent *t, enum torrent_state state)
{
    if (t->state == state && t->was_opened)
        return;
    t->state = state;
    torrent_event(t, EVENT_STATE, 0, NULL);
    LOG(t->s->log, LOG_INFO, "torrent", "\"state\" torrent=%u state=%d", t->id, (int)state);
}

bool torrent_takes_peers(const struct torrent *t)
{
    switch (t->state) {
    case TORRENT_OPENING:
    case TORRENT_CHECKING:
    case TORRENT_METADATA:
    case TORRENT_DOWNLOADING:
    case TORRENT_FINISHED:
    case TORRENT_SEEDING:
        return true;
    case TORRENT_ERROR:
    case TORRENT_PAUSED:
    case TORRENT_STOPPING:
    case TORRENT_STOPPED:
        break;
    }
    return false;
}

bool torrent_is_complete(const struct torrent *t)
{
    return t->info && bitset_is_full(&t->have);
}

bool torrent_is_done(const struct torrent *t)
{
    return t->info && t->picker.wanted.n_set == 0;
}

bool torrent_wants_data(const struct torrent *t)
{
    return t->state == TORRENT_DOWNLOADING;
}

bool torrent_is_wanted_missing(const struct torrent *t, uint32_t piece)
{
    return t->has_picker && bitset_get(&t->picker.wanted, piece);
}

void torrent_start(struct torrent *t)
{
    t->err = (struct err){0};
    if (t->info && (t->info->has_v1 || t->info->has_piece_layers)) {
        torrent_open(t);
        return;
    }
    torrent_set_state(t, TORRENT_METADATA);
    torrent_metadata_start(t);
    torrent_announce_start(t);
    torrent_want_dial(t);
}

static void torrent_set_seeding(struct torrent *t, bool is_seeding)
{
    peer_list_set_seeding(&t->known, is_seeding);
    if (is_seeding && !t->seeding_since_us)
        t->seeding_since_us = t->s->now_us;
    if (!is_seeding)
        t->seeded_before_us = torrent_seeded_us(t), t->seeding_since_us = 0;
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    {
        p->cp.is_seeding = is_seeding;
        if (peer_is_running(p) && is_seeding && p->ext.n_read)
            peer_send_ext_handshake(p); /* BEP 21: upload_only changed */
        if (p->state != CONN_CLOSED)
            peer_close_if_useless(p);
    }
    t->s->is_choker_dirty = true;
}

static void torrent_enter_transfer(struct torrent *t)
{
    if (torrent_is_complete(t))
        torrent_set_state(t, TORRENT_SEEDING);
    else if (torrent_is_done(t))
        torrent_set_state(t, TORRENT_FINISHED);
    else
        torrent_set_state(t, TORRENT_DOWNLOADING);
}

void torrent_started(struct torrent *t)
{
    t->was_opened = true;
    if (t->is_seed_only && !torrent_is_complete(t)) {
        struct err err = {ERR_NOT_FOUND, "the data to seed is not complete", 0, t->have.n_set,
                          t->have.n};
        torrent_fail(t, &err);
        return;
    }
    t->progress_at_us = t->s->now_us;
    if (t->unsynced.n_set && t->sync_at_us == DEADLINE_NEVER)
        t->sync_at_us = t->s->now_us + SYNC_US;
    torrent_enter_transfer(t);
    /* Before the first write, and after pieces were hashed: a sudden end from here on must find
     * what is known now, or the next start would hash everything. */
    if (t->state == TORRENT_DOWNLOADING || t->n_checked)
        t->is_save_wanted = true;
    t->is_sync_wanted |= t->n_checked && t->unsynced.n_set;
    torrent_set_seeding(t, t->state != TORRENT_DOWNLOADING);
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    {
        if (!peer_is_running(p))
            continue;
        peer_send_have_message(p);
        peer_update_interest(p);
        session_mark_peer(p);
    }
    if (t->info->has_v2 && !t->info->has_piece_layers)
        torrent_metadata_start(t); /* a hybrid goes on without: they name liars, and are served */
    torrent_announce_start(t);
    torrent_want_dial(t);
    session_mark_torrent(t);
    if (torrent_wants_data(t))
        torrent_put_all(t); /* a piece may lack nothing but its hash */
}

void torrent_completion(struct torrent *t)
{
    bool was_downloading = t->state == TORRENT_DOWNLOADING;
    torrent_update_progress(t);
    torrent_enter_transfer(t);
    bool is_downloading = t->state == TORRENT_DOWNLOADING;
    if (was_downloading == is_downloading)
        return;
    torrent_set_seeding(t, !is_downloading);
    if (is_downloading) {
        t->is_save_wanted |= t->is_clean_saved;
        torrent_want_dial(t);
    } else {
        t->is_sync_wanted = t->unsynced.n_set > 0;
        if (t->s->announcer && t->is_announced && !t->was_completed_told) {
            announcer_completed(t->s->announcer, t->s->now_us, t->id);
            t->was_completed_told = true;
            t->s->is_announcer_dirty = true;
        }
    }
    session_mark_torrent(t);
}

/* Everything that moves data stops; what is on disk stays. */
static void torrent_halt(struct torrent *t)
{
    torrent_announce_stop(t);
    torrent_close_peers(t);
    t->needs_release = true;
    metadata_fetch_free(t->metadata);
    t->metadata = NULL;
    t->seeded_before_us = torrent_seeded_us(t);
    t->seeding_since_us = 0;
    t->check_cursor = t->info ? t->info->n_pieces : 0; /* no more checks are started */
}

void torrent_fail(struct torrent *t, const struct err *err)
{
    COUNT(t->s, store_errors);
    if (t->state == TORRENT_STOPPING && !t->err.code) { /* goes on, but is not kept silent */
        t->err = *err;
        torrent_event(t, EVENT_ERROR, 0, err);
    }
    if (t->state == TORRENT_STOPPING || t->state == TORRENT_ERROR)
        return;
    if (t->is_reopening)
        return; /* asked before the resume, which tries all of it again */
    char text[200];
    LOG(t->s->log, LOG_ERROR, "torrent", "\"stopped\" torrent=%u err=%s", t->id,
        err_format(err, text, sizeof(text)));
    t->err = *err;
    torrent_set_state(t, TORRENT_ERROR);
    torrent_halt(t);
    torrent_event(t, EVENT_ERROR, 0, err);
    session_mark_torrent(t);
}

void torrent_pause(struct torrent *t)
{
    t->is_paused_by_user = true;
    torrent_put_all(t);
    torrent_set_state(t, TORRENT_PAUSED);
    torrent_halt(t);
    t->is_sync_wanted = t->info && t->unsynced.n_set > 0;
    session_mark_torrent(t);
}

void torrent_resume(struct torrent *t)
{
    t->is_paused_by_user = false;
    if (t->is_poisoned)
        return;
    t->err = (struct err){0};
    if (t->open_job.id || t->close_job.id)
        torrent_set_state(t, TORRENT_OPENING); /* goes on with the answer */
    else if (t->is_storage_open)
        torrent_reopen(t);
    else
        torrent_start(t);
    session_mark_torrent(t);
}

/* --- what is here ---------------------------------------------------------------------------- */

static void torrent_tell_have(struct torrent *t, uint32_t piece)
{
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    {
        if (!peer_is_running(p))
            continue;
        if (p->has_have_sent && !peer_has_piece(p, piece))
            peer_send_index(p, MSG_HAVE, piece);
        if (p->state != CONN_CLOSED)
            peer_update_interest(p);
    }
}

void torrent_gain(struct torrent *t, uint32_t piece, bool is_synced)
{
    if (!bitset_set(&t->have, piece))
        return;
    uint32_t len = layout_piece_data_len(&t->info->layout, piece);
    t->have_len += len;
    t->have_wanted_len += picker_priority(&t->picker, piece) ? len : 0;
    t->progress_at_us = t->s->now_us;
    if (!is_synced) {
        bitset_set(&t->unsynced, piece);
        t->put_len_unsynced += len;
        t->is_sync_wanted |= t->put_len_unsynced >= SYNC_LEN;
        if (t->sync_at_us == DEADLINE_NEVER)
            t->sync_at_us = t->s->now_us + SYNC_US;
        torrent_save_soon(t);
        session_mark_torrent(t);
    }
    struct picker_peer *asked;
    struct wire_block block;
    while (picker_on_piece_good(&t->picker, piece, &asked, &block))
        peer_send_cancel(CONTAINER_OF(asked, struct peer, pp), &block);
    torrent_tell_have(t, piece);
}

void torrent_lose(struct torrent *t, uint32_t piece)
{
    if (!bitset_unset(&t->have, piece))
        return;
    bitset_unset(&t->unsynced, piece);
    uint32_t len = layout_piece_data_len(&t->info->layout, piece);
    t->have_len -= len;
    t->have_wanted_len -= picker_priority(&t->picker, piece) ? len : 0;
    picker_on_piece_lost(&t->picker, piece);
}

/* --- work and time --------------------------------------------------------------------------- */

static bool torrent_is_at_goal(const struct torrent *t)
{
    if (t->is_goal_told || (t->state != TORRENT_SEEDING && t->state != TORRENT_FINISHED))
        return false;
    if (t->seed_time_us && torrent_seeded_us(t) >= t->seed_time_us)
        return true;
    return t->seed_ratio_milli && t->have_len &&
           (double)t->up_total * 1000.0 >= (double)t->seed_ratio_milli * (double)t->have_len;
}

static uint64_t torrent_goal_at_us(const struct torrent *t)
{
    if (!t->seed_time_us || t->is_goal_told || !t->seeding_since_us)
        return DEADLINE_NEVER;
    uint64_t done = t->seeded_before_us;
    return t->seeding_since_us + (t->seed_time_us > done ? t->seed_time_us - done : 0);
}

static void torrent_arm(struct torrent *t)
{
    uint64_t at_us = torrent_save_deadline_us(t);
    if (torrent_takes_peers(t)) {
        at_us = u64_min(at_us, t->want_peers_at_us);
        at_us = u64_min(at_us, torrent_metadata_deadline_us(t));
        at_us = u64_min(at_us, torrent_leaves_deadline_us(t));
        at_us = u64_min(at_us, torrent_goal_at_us(t));
        if (!list_node_is_linked(&t->in_dial) && peer_list_deadline_us(&t->known) > t->s->now_us)
            at_us = u64_min(at_us, peer_list_deadline_us(&t->known));
    }
    if (at_us != DEADLINE_NEVER)
        at_us = u64_max(at_us, t->s->now_us + 1);
    session_set_timer(t->s, &t->timer, at_us);
}

static void torrent_refill(struct torrent *t)
{
    t->needs_refill = false;
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    if (peer_is_running(p) && p->am_interested)
        session_mark_peer(p);
}

void torrent_work(struct torrent *t)
{
    if (t->needs_release) {
        t->needs_release = false;
        torrent_release_cached(t);
    }
    if (t->state == TORRENT_STOPPING) {
        torrent_save_work(t); /* may free it */
        return;
    }
    if (t->state == TORRENT_METADATA)
        torrent_metadata_work(t);
    if (t->state == TORRENT_CHECKING)
        torrent_check_more(t);
    if (t->needs_refill && torrent_wants_data(t))
        torrent_refill(t);
    if (torrent_is_at_goal(t)) {
        t->is_goal_told = true;
        torrent_event(t, EVENT_GOAL, 0, NULL);
        torrent_pause(t);
    }
    torrent_save_work(t);
    torrent_arm(t);
}

void torrent_on_timer(struct torrent *t)
{
    struct session *s = t->s;
    if (torrent_takes_peers(t)) {
        torrent_metadata_tick(t);
        torrent_leaves_expire(t);
        torrent_want_dial(t);
        if (s->now_us >= t->want_peers_at_us) {
            t->want_peers_at_us = DEADLINE_NEVER;
            if (s->announcer && t->is_announced) {
                announcer_want_peers(s->announcer, s->now_us, t->id);
                s->is_announcer_dirty = true;
            }
        }
    }
    session_mark_torrent(t);
}

void torrent_check(const struct torrent *t)
{
    uint32_t n_peers = 0, n_connecting = 0;
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    {
        assert(p->t == t && p->state != CONN_CLOSED);
        n_peers++;
        n_connecting += p->state == CONN_CONNECTING;
    }
    assert(n_peers == t->n_peers && n_connecting == t->n_connecting);
    assert(t->n_peers == t->peers.n);
    assert(torrent_takes_peers(t) || n_peers == 0);
    peer_list_check(&t->known);
    blame_check(&t->blame);
    if (t->has_picker) {
        picker_check(&t->picker);
        for (uint32_t i = 0; i < t->have.n; i++) {
            assert(bitset_get(&t->have, i) == (picker_state(&t->picker, i) == PICKER_HAVE));
            assert(!bitset_get(&t->unsynced, i) || bitset_get(&t->have, i));
        }
        assert(t->have_len <= t->info->layout.data_len && t->have_wanted_len <= t->wanted_len);
        assert((t->state != TORRENT_SEEDING) || bitset_is_full(&t->have));
        assert((t->state != TORRENT_FINISHED && t->state != TORRENT_SEEDING) || torrent_is_done(t));
        torrent_pieces_check(t);
    }
    if (t->metadata)
        metadata_fetch_check(t->metadata);
    if (t->hash_fetch)
        hash_fetch_check(t->hash_fetch);
}
