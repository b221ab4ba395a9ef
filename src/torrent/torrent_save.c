#include "base/size.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

#define SAVE_BYTES_PER_S (1u << 20) /* ours: a long blob is saved less often */

uint64_t torrent_seeded_us(const struct torrent *t)
{
    uint64_t now = t->seeding_since_us ? t->s->now_us - t->seeding_since_us : 0;
    return t->seeded_before_us + now;
}

void torrent_save_soon(struct torrent *t)
{
    if (t->save_at_us == DEADLINE_NEVER)
        t->save_at_us =
            t->s->now_us + SAVE_US + (uint64_t)t->resume_out.len * US_PER_S / SAVE_BYTES_PER_S;
}

/* --- the blob -------------------------------------------------------------------------------- */

struct save_parts {
    struct buf peers4, peers6, files, torrent, partials;
    uint8_t *synced, *unsynced;
};

static void save_add_peer(struct buf *out, const struct addr *a)
{
    uint8_t compact[ADDR_COMPACT6_LEN];
    struct writer w = writer_init(compact, sizeof(compact));
    addr_write(&w, a);
    buf_put(out, writer_bytes(&w));
}

static void save_peers(struct torrent *t, struct save_parts *parts)
{
    uint32_t n = 0;
    const struct peer_entry *e = NULL;
    while (n < RESUME_PEERS_MAX && (e = peer_list_each(&t->known, e))) {
        if (e->is_self || e->has_ephemeral_port || e->n_failures ||
            (e->sources & ~PEER_FROM_RESUME) == 0)
            continue;
        save_add_peer(e->addr.family == ADDR_V4 ? &parts->peers4 : &parts->peers6, &e->addr);
        n++;
    }
}

/* synced: what outlives a crash. unsynced: verified since the last sync, or not looked at yet. */
static bool save_bits(struct torrent *t, struct save_parts *parts)
{
    size_t len = (size_t)div_ceil(t->have.n, 8);
    parts->synced = mem_calloc(t->s->mem, len ? len : 1, 1);
    parts->unsynced = mem_calloc(t->s->mem, len ? len : 1, 1);
    if (!parts->synced || !parts->unsynced)
        return false;
    for (size_t i = 0; i < len; i++) {
        parts->synced[i] = t->have.bits[i] & (uint8_t)~t->unsynced.bits[i];
        parts->unsynced[i] = t->unsynced.bits[i] | t->to_check.bits[i];
    }
    return true;
}

static bool save_partials(struct torrent *t, struct save_parts *parts)
{
    struct bitset bits;
    LIST_EACH(&t->pieces, pi, struct piece_in, in_torrent)
    {
        if (!pi->n_written || bitset_get(&t->have, pi->piece))
            continue;
        if (bitset_init(&bits, t->s->mem, pi->n_blocks))
            return false;
        for (uint32_t i = 0; i < pi->n_blocks; i++)
            if (pi->blocks[i] == BLOCK_WRITTEN)
                bitset_set(&bits, i);
        struct resume_partial p = {pi->piece, pi->n_blocks, bitset_bytes(&bits)};
        resume_write_partial(&parts->partials, &p);
        bitset_clear(&bits);
    }
    return !parts->partials.err;
}

static void save_files(struct torrent *t, struct save_parts *parts)
{
    for (uint32_t i = 0; i < t->info->n_files; i++) {
        uint8_t file[RESUME_FILE_LEN];
        resume_write_file(file, &t->files[i]);
        buf_put(&parts->files, bytes_of(file, sizeof(file)));
    }
}

static void save_build(struct torrent *t, struct save_parts *parts, bool is_clean)
{
    struct resume r = {.is_clean = is_clean,
                       .n_pieces = t->have.n,
                       .down_total = t->down_total,
                       .up_total = t->up_total,
                       .wasted_total = t->wasted_len,
                       .bad_total = t->bad_len,
                       .seeded_us = torrent_seeded_us(t)};
    memcpy(r.key, t->key, SHA1_LEN);
    save_peers(t, parts);
    if (is_clean && t->info)
        save_files(t, parts);
    if (t->info && t->is_info_from_peers)
        metainfo_write(t->info, &parts->torrent);
    size_t len = (size_t)div_ceil(t->have.n, 8);
    r.synced = bytes_of(parts->synced, len);
    r.unsynced = bytes_of(parts->unsynced, len);
    r.files = buf_bytes(&parts->files);
    r.peers4 = buf_bytes(&parts->peers4);
    r.peers6 = buf_bytes(&parts->peers6);
    r.torrent = buf_bytes(&parts->torrent);
    r.partials = buf_bytes(&parts->partials);
    buf_reset(&t->resume_out);
    resume_write(&t->resume_out, &r);
    if (parts->files.err || parts->torrent.err)
        t->resume_out.err = ERR_NO_MEMORY;
}

static bool torrent_build_resume(struct torrent *t, bool is_clean)
{
    struct mem *mem = t->s->mem;
    struct save_parts parts = {0};
    buf_init(&parts.peers4, mem, RESUME_LEN_MAX);
    buf_init(&parts.peers6, mem, RESUME_LEN_MAX);
    buf_init(&parts.files, mem, RESUME_LEN_MAX);
    buf_init(&parts.torrent, mem, RESUME_LEN_MAX);
    buf_init(&parts.partials, mem, RESUME_LEN_MAX);
    buf_reset(&t->resume_out);
    bool ok = save_bits(t, &parts) && save_partials(t, &parts);
    if (ok)
        save_build(t, &parts, is_clean);
    buf_clear(&parts.peers4);
    buf_clear(&parts.peers6);
    buf_clear(&parts.files);
    buf_clear(&parts.torrent);
    buf_clear(&parts.partials);
    mem_free(mem, parts.synced);
    mem_free(mem, parts.unsynced);
    return ok && !t->resume_out.err;
}

/* --- the jobs -------------------------------------------------------------------------------- */

static bool torrent_is_stopping(const struct torrent *t)
{
    return t->state == TORRENT_STOPPING;
}

static void torrent_start_save(struct torrent *t, bool is_clean)
{
    struct session *s = t->s;
    t->is_save_wanted = false;
    t->save_at_us = DEADLINE_NEVER;
    t->is_saving_clean = is_clean;
    if (!torrent_build_resume(t, is_clean) || !session_job_start(t, &t->save_job, JOB_SAVE)) {
        struct err err = {ERR_NO_MEMORY, "no memory for resume data", 0, 0, 0};
        torrent_on_saved(t, &err);
        return;
    }
    s->host.resume_save(s->host.ctx, t->save_job.id, bytes_of(t->key, SHA1_LEN),
                        buf_bytes(&t->resume_out), is_clean);
}

void torrent_on_saved(struct torrent *t, const struct err *err)
{
    t->is_save_failed = err->code != ERR_OK;
    if (err->code) {
        COUNT(t->s, resume_save_failed);
        if (!torrent_is_stopping(t))
            t->save_at_us = t->s->now_us + SYNC_US;
    }
    /* A failed save of an unclean state does not hold writes for ever: the times of the files
     * tell the next start that they changed. */
    t->is_clean_saved = t->is_saving_clean && !err->code;
    t->is_clean_wanted &= !t->is_saving_clean;
    t->is_stats_fresh = false;
    if (torrent_is_stopping(t))
        t->is_final_saved = true;
    else if (torrent_wants_data(t))
        torrent_put_all(t);
    /* Long blobs are not kept: most torrents are idle. */
    size_t len = t->resume_out.len;
    buf_clear(&t->resume_out);
    buf_init(&t->resume_out, t->s->mem, RESUME_LEN_MAX);
    if (t->save_at_us != DEADLINE_NEVER && !err->code)
        t->save_at_us += len * US_PER_S / SAVE_BYTES_PER_S;
}

static void torrent_start_sync(struct torrent *t)
{
    t->is_sync_wanted = false;
    t->sync_at_us = DEADLINE_NEVER;
    t->put_len_unsynced = 0;
    memcpy(t->syncing.bits, t->unsynced.bits, (size_t)div_ceil(t->unsynced.n, 8));
    t->syncing.n_set = t->unsynced.n_set;
    if (!session_job_start(t, &t->sync_job, JOB_SYNC)) {
        struct err err = {ERR_NO_MEMORY, "no memory to sync", 0, 0, 0};
        torrent_on_synced(t, &err);
        return;
    }
    t->s->host.store_sync(t->s->host.ctx, t->sync_job.id, t->id);
}

void torrent_on_synced(struct torrent *t, const struct err *err)
{
    if (err->code) {
        t->is_sync_failed = true;
        torrent_fail(t, err);
        return;
    }
    t->is_sync_failed = false;
    for (uint32_t i = bitset_next_set(&t->syncing, 0); i < t->syncing.n;
         i = bitset_next_set(&t->syncing, i + 1))
        bitset_unset(&t->unsynced, i);
    if (t->unsynced.n_set && t->sync_at_us == DEADLINE_NEVER)
        t->sync_at_us = t->s->now_us + SYNC_US;
    t->is_save_wanted = true;
}

static void torrent_start_stat(struct torrent *t)
{
    if (!session_job_start(t, &t->stat_job, JOB_STAT)) {
        struct err err = {ERR_NO_MEMORY, "no memory to stat", 0, 0, 0};
        torrent_on_stat(t, &err);
        return;
    }
    t->s->host.store_stat(t->s->host.ctx, t->stat_job.id, t->id, t->files);
}

void torrent_on_stat(struct torrent *t, const struct err *err)
{
    t->is_stats_fresh = !err->code;
    t->is_stat_failed = err->code != ERR_OK;
}

void torrent_on_store_closed(struct torrent *t, const struct err *err)
{
    (void)err; /* what it could lose was synced or is not believed */
    t->is_storage_open = false;
    t->is_reopening = false;
    if (t->state == TORRENT_OPENING)
        torrent_open(t);
}

static void torrent_start_close(struct torrent *t)
{
    if (session_job_start(t, &t->close_job, JOB_CLOSE))
        t->s->host.store_close(t->s->host.ctx, t->close_job.id, t->id);
    else
        session_set_timer(t->s, &t->timer, t->s->now_us + US_PER_S); /* tried again */
}

/* --- what is due ----------------------------------------------------------------------------- */

/* Nothing is being written and all of it is synced: a state that a next start need not doubt. */
static bool torrent_can_be_clean(const struct torrent *t)
{
    if (!t->is_storage_open || t->unsynced.n_set || t->to_check.n_set || t->is_sync_failed ||
        t->is_stat_failed)
        return false;
    return t->state == TORRENT_FINISHED || t->state == TORRENT_SEEDING ||
           t->state == TORRENT_PAUSED || t->state == TORRENT_STOPPING;
}

static bool torrent_can_sync(const struct torrent *t)
{
    return t->is_storage_open && t->unsynced.n_set && t->state != TORRENT_ERROR &&
           !t->is_sync_failed;
}

/* Is there a state worth remembering? */
static bool torrent_can_save(const struct torrent *t)
{
    return t->info && (t->was_opened || t->is_info_from_peers) && !t->is_reopening &&
           t->state != TORRENT_OPENING && t->state != TORRENT_CHECKING && !t->close_job.id;
}

uint64_t torrent_save_deadline_us(const struct torrent *t)
{
    if (!torrent_can_save(t) || t->sync_job.id || t->stat_job.id || t->save_job.id)
        return DEADLINE_NEVER;
    return u64_min(t->save_at_us, torrent_can_sync(t) ? t->sync_at_us : DEADLINE_NEVER);
}

/* One step towards resume data that is true and as clean as it can be. True: a job is under way or
 * was started. */
static bool torrent_save_step(struct torrent *t, bool is_final)
{
    struct session *s = t->s;
    if (t->sync_job.id || t->stat_job.id || t->save_job.id)
        return true;
    bool is_sync_due = t->is_sync_wanted || s->now_us >= t->sync_at_us;
    if (torrent_can_sync(t) && (is_final || is_sync_due)) {
        torrent_start_sync(t);
        return t->sync_job.id != 0;
    }
    bool is_clean = torrent_can_be_clean(t) && !torrent_has_piece_jobs(t);
    bool is_due = t->is_save_wanted || s->now_us >= t->save_at_us || is_final;
    bool is_clean_news = is_clean && !t->is_clean_saved && t->have.n_set;
    if (!is_due && (!is_clean_news || t->is_save_failed)) /* one that failed waits for its time */
        return false;
    if (is_clean && !t->is_stats_fresh) {
        torrent_start_stat(t);
        return t->stat_job.id != 0;
    }
    torrent_start_save(t, is_clean);
    return t->save_job.id != 0;
}

static void torrent_end(struct torrent *t)
{
    struct session *s = t->s;
    t->state = TORRENT_STOPPED;
    torrent_event(t, EVENT_STATE, 0, NULL);
    torrent_event(t, EVENT_STOPPED, 0, NULL);
    (void)s;
    torrent_free(t);
}

static void torrent_stop_work(struct torrent *t)
{
    if (torrent_has_piece_jobs(t) || t->n_checks || t->open_job.id || t->close_job.id ||
        !list_is_empty(&t->leaves_reads))
        return;
    if (!t->is_final_saved) {
        torrent_save_step(t, true);
        if (!t->is_final_saved) {
            if (!t->sync_job.id && !t->stat_job.id && !t->save_job.id)
                session_mark_torrent(t); /* a step failed at once: the next one */
            return;
        }
    }
    if (t->sync_job.id || t->stat_job.id || t->save_job.id)
        return;
    if (t->is_storage_open) {
        torrent_start_close(t);
        return;
    }
    if (t->is_announced && !t->is_announce_stopped)
        return;
    torrent_end(t);
}

void torrent_save_work(struct torrent *t)
{
    if (t->state == TORRENT_STOPPING) {
        torrent_stop_work(t);
        return;
    }
    if (t->is_reopening && !t->close_job.id) {
        if (t->n_jobs == 0) /* close comes after everything else */
            torrent_start_close(t);
        return;
    }
    if (torrent_can_save(t))
        torrent_save_step(t, false);
}

void torrent_stop(struct torrent *t)
{
    torrent_put_all(t);
    torrent_set_state(t, TORRENT_STOPPING);
    torrent_announce_stop(t);
    torrent_close_peers(t);
    t->needs_release = true;
    t->seeded_before_us = torrent_seeded_us(t);
    t->seeding_since_us = 0;
    t->check_cursor = t->info ? t->info->n_pieces : 0;
    t->is_reopening = false;
    t->is_sync_failed = false;
    /* Without a storage that was looked at there is nothing new to remember. */
    t->is_final_saved = !t->was_opened && t->info && !t->is_storage_open;
    session_mark_torrent(t);
}
