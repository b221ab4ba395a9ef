#include "base/size.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

/* --- resume data: totals, peers and metadata at once; the pieces when the files are known ---- */

static void torrent_adopt_peers(struct torrent *t, const struct resume *r)
{
    struct addr a;
    struct reader in = reader_init(r->peers4);
    while (reader_left(&in)) {
        addr_read_v4(&in, &a);
        torrent_add_peer(t, &a, PEER_FROM_RESUME, false);
    }
    in = reader_init(r->peers6);
    while (reader_left(&in)) {
        addr_read_v6(&in, &a);
        torrent_add_peer(t, &a, PEER_FROM_RESUME, false);
    }
}

/* The metadata that peers gave to an earlier run. */
static void torrent_adopt_info(struct torrent *t, const struct resume *r)
{
    struct metainfo *info;
    if (t->info || !r->torrent.len || metainfo_read(&info, r->torrent, t->s->mem, NULL, NULL))
        return;
    if ((t->has_v1 && !metainfo_has_hash(info, t->infohash_v1, SHA1_LEN)) ||
        (t->has_v2 && !metainfo_has_hash(info, t->infohash_v2, SHA256_LEN))) {
        COUNT(t->s, resume_refused);
        metainfo_free(info);
        return;
    }
    t->info = info;
    t->is_info_from_peers = true;
}

void torrent_adopt_resume(struct torrent *t, struct bytes in)
{
    struct resume r;
    struct err err = {0};
    if (in.len == 0)
        return;
    if (resume_read(&r, in, &err) || memcmp(r.key, t->key, SHA1_LEN) != 0) {
        COUNT(t->s, resume_refused);
        LOG(t->s->log, LOG_WARN, "torrent", "\"resume data refused\" torrent=%u", t->id);
        return;
    }
    t->down_total = r.down_total;
    t->up_total = r.up_total;
    t->wasted_len = r.wasted_total;
    t->bad_len = r.bad_total;
    t->seeded_before_us = r.seeded_us;
    t->is_clean_saved = r.is_clean;
    torrent_adopt_peers(t, &r);
    torrent_adopt_info(t, &r);
    buf_put(&t->resume_in, in); /* without memory: everything is checked */
}

/* --- opening --------------------------------------------------------------------------------- */

void torrent_open(struct torrent *t)
{
    torrent_set_state(t, TORRENT_OPENING);
    t->open = (struct store_open){.torrent = t->id,
                                  .info = t->info,
                                  .dir = t->dir,
                                  .alloc = t->alloc,
                                  .is_read_only = t->is_seed_only,
                                  .files = t->files};
    if (session_job_start(t, &t->open_job, JOB_OPEN)) {
        t->s->host.store_open(t->s->host.ctx, t->open_job.id, &t->open);
        return;
    }
    struct err err = {ERR_NO_MEMORY, "no memory to open the storage", 0, 0, 0};
    torrent_fail(t, &err);
}

/* After an error or a pause: what is on disk may have changed meanwhile. Closing waits until all
 * jobs of before have been answered. */
void torrent_reopen(struct torrent *t)
{
    torrent_set_state(t, TORRENT_OPENING);
    t->is_reopening = true;
    session_mark_torrent(t);
}

/* Are all bytes of the piece inside files that are there? */
bool torrent_is_on_disk(const struct torrent *t, uint32_t piece, uint32_t len)
{
    struct layout_walk w = layout_walk(&t->info->layout, piece, 0, len);
    struct layout_run run;
    while (layout_walk_next(&w, &run)) {
        const struct store_file_stat *f = &t->files[run.file];
        if (!run.is_pad && (!f->exists || f->len < run.file_off + run.len))
            return false;
    }
    return true;
}

static bool torrent_is_file_changed(const struct torrent *t, const struct resume *r, uint32_t file)
{
    struct store_file_stat was = resume_file(r, file);
    const struct store_file_stat *is = &t->files[file];
    return was.exists != is->exists || was.len != is->len || was.mtime_ns != is->mtime_ns;
}

static bool torrent_is_piece_changed(const struct torrent *t, const struct resume *r,
                                     uint32_t piece)
{
    struct layout_walk w =
        layout_walk(&t->info->layout, piece, 0, layout_piece_len(&t->info->layout, piece));
    struct layout_run run;
    while (layout_walk_next(&w, &run))
        if (!run.is_pad && torrent_is_file_changed(t, r, run.file))
            return true;
    return false;
}

static bool bit_at(struct bytes bits, uint32_t i)
{
    return i / 8 < bits.len && (bits.data[i / 8] >> (7 - i % 8) & 1);
}

enum claim { CLAIM_NOTHING, CLAIM_HAVE, CLAIM_CHECK };

/* What resume data (r, or NULL) and the files say of a piece that is on disk. */
static enum claim torrent_claim(const struct torrent *t, const struct resume *r, uint32_t piece)
{
    if (t->check_mode == CHECK_TRUST)
        return CLAIM_HAVE;
    if (t->check_mode == CHECK_ALL || !r)
        return CLAIM_CHECK;
    if (r->is_clean && torrent_is_piece_changed(t, r, piece))
        return CLAIM_CHECK; /* changed behind our back, for the better or the worse */
    if (bit_at(r->synced, piece))
        return CLAIM_HAVE;
    return bit_at(r->unsynced, piece) ? CLAIM_CHECK : CLAIM_NOTHING;
}

/* Blocks of unfinished pieces that an earlier run wrote; they count when the whole piece passes. */
static void torrent_adopt_partials(struct torrent *t, const struct resume *r)
{
    struct reader in = reader_init(r->partials);
    struct resume_partial p;
    while (t->check_mode != CHECK_ALL && resume_next_partial(&in, &p)) {
        if (p.piece >= t->info->n_pieces || bitset_get(&t->have, p.piece) ||
            bitset_get(&t->to_check, p.piece) ||
            p.n_blocks != layout_n_blocks(&t->info->layout, p.piece) ||
            (r->is_clean && torrent_is_piece_changed(t, r, p.piece)))
            continue;
        torrent_preload_piece(t, &p);
    }
}

static void torrent_compare(struct torrent *t)
{
    struct resume r;
    bool has_resume = buf_bytes(&t->resume_in).len && !t->resume_in.err &&
                      !resume_read(&r, buf_bytes(&t->resume_in), NULL) &&
                      r.n_pieces == t->info->n_pieces;
    if (has_resume && r.is_clean && r.files.len / RESUME_FILE_LEN != t->info->n_files)
        r.is_clean = false;
    for (uint32_t i = 0; i < t->info->n_pieces; i++) {
        /* A piece on its way in, from a start that failed halfway, is judged when it is whole. */
        if (bitset_get(&t->have, i) || piece_in_find(t, i) ||
            !torrent_is_on_disk(t, i, layout_piece_len(&t->info->layout, i)))
            continue;
        switch (torrent_claim(t, has_resume ? &r : NULL, i)) {
        case CLAIM_HAVE:
            torrent_gain(t, i, true);
            break;
        case CLAIM_CHECK:
            bitset_set(&t->to_check, i);
            break;
        case CLAIM_NOTHING:
            break;
        }
    }
    if (has_resume)
        torrent_adopt_partials(t, &r);
    if (!has_resume || !r.is_clean || t->to_check.n_set)
        t->is_clean_saved = false;
    buf_clear(&t->resume_in);
}

/* Opened again: pieces whose files went away are lost, the others stay. */
static void torrent_compare_again(struct torrent *t)
{
    for (uint32_t i = 0; i < t->info->n_pieces; i++)
        if (bitset_get(&t->have, i) && layout_n_blocks(&t->info->layout, i) &&
            !torrent_is_on_disk(t, i, layout_piece_len(&t->info->layout, i)))
            torrent_lose(t, i);
    /* After a failed sync the system may have dropped what it could not write. */
    for (uint32_t i = 0; t->is_sync_failed && i < t->info->n_pieces; i++)
        if (bitset_get(&t->unsynced, i)) {
            torrent_lose(t, i);
            bitset_set(&t->to_check, i);
        }
    t->is_sync_failed = false;
    torrent_forget_unwritten(t);
}

void torrent_on_opened(struct torrent *t, const struct err *err)
{
    t->is_storage_open = !err->code;
    if (t->state != TORRENT_OPENING)
        return; /* paused or removed meanwhile; the stop closes it */
    if (err->code) {
        torrent_fail(t, err);
        return;
    }
    torrent_compare_again(t); /* a start that failed halfway has pieces, too */
    if (!t->was_opened)
        torrent_compare(t);
    t->n_to_check = t->to_check.n_set;
    t->n_checked = t->check_cursor = 0;
    if (t->n_to_check) {
        torrent_set_state(t, TORRENT_CHECKING);
        session_mark_torrent(t);
    } else {
        torrent_started(t);
    }
}

/* --- checking -------------------------------------------------------------------------------- */

bool torrent_checks_v2(const struct torrent *t, uint32_t piece)
{
    return t->info->has_v2 && metainfo_v2_piece_hash(t->info, piece);
}

static bool torrent_v2_is_good(const struct torrent *t, uint32_t piece,
                               const uint8_t (*leaves)[SHA256_LEN])
{
    uint32_t file, index;
    struct merkle_shape shape;
    uint8_t root[SHA256_LEN];
    if (!layout_piece_file(&t->info->layout, piece, &file, &index) ||
        !merkle_shape_of(t->info->files[file].len, t->info->piece_len, &shape))
        return false;
    merkle_piece_root(&shape, leaves[0], layout_n_blocks(&t->info->layout, piece), root);
    return memcmp(root, metainfo_v2_piece_hash(t->info, piece), SHA256_LEN) == 0;
}

enum verdict torrent_judge(const struct torrent *t, uint32_t piece, const uint8_t *v1,
                           const uint8_t (*leaves)[SHA256_LEN])
{
    bool checks_v1 = v1 && t->info->has_v1, checks_v2 = leaves && torrent_checks_v2(t, piece);
    bool is_v1_good =
        checks_v1 && memcmp(v1, metainfo_v1_piece_hash(t->info, piece), SHA1_LEN) == 0;
    bool is_v2_good = checks_v2 && torrent_v2_is_good(t, piece, leaves);
    assert(checks_v1 || checks_v2);
    if (checks_v1 && checks_v2 && is_v1_good != is_v2_good)
        return VERDICT_POISONED;
    return is_v1_good || is_v2_good ? VERDICT_GOOD : VERDICT_BAD;
}

void torrent_poisoned(struct torrent *t, uint32_t piece)
{
    COUNT(t->s, torrent_poisoned);
    struct err err = {ERR_MALFORMED, "the v1 and v2 hashes of a piece disagree: poisoned torrent",
                      piece, 0, 0};
    t->is_poisoned = true;
    torrent_fail(t, &err);
}

static void torrent_end_checks(struct torrent *t)
{
    if (!t->checks || t->n_checks)
        return;
    for (uint32_t i = 0; i < CHECKS_MAX; i++)
        mem_free(t->s->mem, t->checks[i].q.v2_leaves);
    mem_free(t->s->mem, t->checks);
    t->checks = NULL;
}

/* All of the table or nothing of it. */
static bool torrent_make_checks(struct torrent *t)
{
    if (t->checks)
        return true;
    struct mem *mem = t->s->mem;
    t->checks = mem_calloc(mem, CHECKS_MAX, sizeof(*t->checks));
    size_t n_leaves = (size_t)div_ceil(t->info->piece_len, BLOCK_LEN);
    for (uint32_t i = 0; t->checks && t->info->has_v2 && i < CHECKS_MAX; i++)
        if (!(t->checks[i].q.v2_leaves = mem_alloc(mem, n_leaves * SHA256_LEN)))
            torrent_end_checks(t);
    return t->checks != NULL;
}

static bool torrent_check_one(struct torrent *t, struct check_slot *slot)
{
    uint32_t piece = bitset_next_set(&t->to_check, t->check_cursor);
    if (piece >= t->info->n_pieces || !session_job_start(t, &slot->job, JOB_CHECK))
        return false;
    t->check_cursor = piece + 1;
    uint8_t(*leaves)[SHA256_LEN] = slot->q.v2_leaves;
    slot->q = (struct store_check){
        .torrent = t->id, .piece = piece, .want_v1 = t->info->has_v1, .v2_leaves = leaves};
    t->n_checks++;
    t->s->host.store_check(t->s->host.ctx, slot->job.id, &slot->q);
    return true;
}

void torrent_check_more(struct torrent *t)
{
    if (!torrent_make_checks(t)) {
        struct err err = {ERR_NO_MEMORY, "no memory to check the data", 0, 0, 0};
        torrent_fail(t, &err);
    }
    if (t->state != TORRENT_CHECKING)
        return;
    for (uint32_t i = 0; i < CHECKS_MAX; i++)
        if (!t->checks[i].job.id && !torrent_check_one(t, &t->checks[i]))
            break;
    if (t->n_checks)
        return;
    if (bitset_next_set(&t->to_check, t->check_cursor) < t->info->n_pieces) {
        struct err err = {ERR_NO_MEMORY, "no memory to check the data", 0, 0, 0};
        torrent_fail(t, &err);
        return;
    }
    bitset_unset_all(&t->to_check);
    torrent_end_checks(t);
    torrent_started(t);
}

void torrent_on_checked(struct torrent *t, struct check_slot *slot, const struct err *err)
{
    t->n_checks--;
    t->n_checked++;
    const struct store_check *q = &slot->q;
    if (t->state != TORRENT_CHECKING) {
        torrent_end_checks(t);
        return;
    }
    if (err->code) {
        torrent_fail(t, err);
        return;
    }
    bitset_unset(&t->to_check, q->piece);
    if (q->is_missing)
        return;
    switch (torrent_judge(t, q->piece, q->want_v1 ? q->v1_digest : NULL,
                          (const uint8_t(*)[SHA256_LEN])q->v2_leaves)) {
    case VERDICT_GOOD:
        torrent_gain(t, q->piece, t->is_seed_only); /* else: a sync makes it last */
        break;
    case VERDICT_BAD:
        break;
    case VERDICT_POISONED:
        torrent_poisoned(t, q->piece);
        break;
    }
}
