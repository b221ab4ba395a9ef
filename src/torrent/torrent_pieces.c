#include "base/size.h"
#include "torrent/session_internal.h"
#include <assert.h>
#include <string.h>

static uint8_t written_mark;
uint8_t *const BLOCK_WRITTEN = &written_mark;

static bool piece_is_cached(const struct piece_in *pi, uint32_t block)
{
    return pi->blocks[block] && pi->blocks[block] != BLOCK_WRITTEN;
}

static uint32_t piece_run_len(const struct piece_in *pi, uint32_t first, uint32_t n)
{
    uint64_t begin = (uint64_t)first * BLOCK_LEN;
    return (uint32_t)u64_min((uint64_t)n * BLOCK_LEN, pi->data_len - begin);
}

/* --- life ------------------------------------------------------------------------------------ */

struct piece_in *piece_in_find(const struct torrent *t, uint32_t piece)
{
    struct piece_in *const *found = map_get(&t->pieces_by_index, &piece);
    return found ? *found : NULL;
}

static void piece_init(struct piece_in *pi, struct torrent *t, uint32_t piece, uint32_t n_blocks)
{
    pi->t = t;
    pi->piece = piece;
    pi->n_blocks = n_blocks;
    pi->data_len = layout_piece_data_len(&t->info->layout, piece);
    if (torrent_checks_v2(t, piece))
        pi->leaves = (void *)&pi->blocks[n_blocks];
    sha1_init(&pi->v1);
    list_push_back(&t->pieces, &pi->in_torrent);
}

static struct piece_in *piece_get(struct torrent *t, uint32_t piece)
{
    struct piece_in *pi = piece_in_find(t, piece);
    if (pi)
        return pi;
    uint32_t n_blocks = layout_n_blocks(&t->info->layout, piece);
    size_t per_block = sizeof(uint8_t *) + (t->info->has_v2 ? SHA256_LEN : 0);
    pi = mem_calloc(t->s->mem, 1, sizeof(*pi) + n_blocks * per_block);
    if (!pi)
        return NULL;
    bool is_new;
    struct piece_in **slot = map_put(&t->pieces_by_index, &piece, &is_new);
    if (!slot) {
        mem_free(t->s->mem, pi);
        return NULL;
    }
    *slot = pi;
    piece_init(pi, t, piece, n_blocks);
    return pi;
}

/* Gives the buffer of a block back; what it was is forgotten. */
static void piece_give_block(struct piece_in *pi, uint32_t block)
{
    struct session *s = pi->t->s;
    block_cache_give(&s->cache, pi->blocks[block]);
    pi->blocks[block] = NULL;
    if (--pi->n_cached == 0)
        list_remove(&s->cached_pieces, &pi->in_cached);
    if (s->trim_at_us == DEADLINE_NEVER)
        s->trim_at_us = s->now_us + SESSION_TRIM_US;
}

static void piece_free(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    if (pi->job.id && pi->job.kind == JOB_PUT)
        t->s->n_puts--;
    session_job_drop(t->s, &pi->job);
    for (uint32_t i = 0; i < pi->n_blocks; i++)
        if (piece_is_cached(pi, i))
            piece_give_block(pi, i);
    mem_free(t->s->mem, pi->read.out);
    map_remove(&t->pieces_by_index, &pi->piece);
    list_remove(&t->pieces, &pi->in_torrent);
    mem_free(t->s->mem, pi);
}

void torrent_pieces_free(struct torrent *t)
{
    LIST_EACH(&t->pieces, pi, struct piece_in, in_torrent)
    piece_free(pi);
}

bool torrent_has_piece_jobs(const struct torrent *t)
{
    LIST_EACH(&t->pieces, pi, struct piece_in, in_torrent)
    if (pi->job.id)
        return true;
    return false;
}

/* --- blame ----------------------------------------------------------------------------------- */

static void torrent_update_parole(struct torrent *t)
{
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    if (p->is_in_picker)
        p->pp.is_on_parole = blame_is_suspect(&t->blame, p->pp.sender);
}

static void torrent_ban_sender(struct torrent *t, uint32_t sender, const char *why)
{
    struct addr a;
    if (sender != BLAME_SENDER_NONE && blame_sender_addr(&t->blame, sender, &a))
        session_ban(t->s, &a, t, why);
}

/* Starts over: every block is to be asked for again. */
static void piece_reset(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    picker_on_piece_bad(&t->picker, pi->piece, true);
    if (t->hash_fetch)
        hash_fetch_drop_leaves(t->hash_fetch, pi->piece);
    piece_free(pi);
    torrent_update_parole(t);
    t->needs_refill = true;
    session_mark_torrent(t);
}

static const uint8_t *piece_block_at(const struct piece_in *pi, uint32_t block)
{
    if (piece_is_cached(pi, block))
        return pi->blocks[block];
    uint32_t begin = block * BLOCK_LEN;
    return pi->read.out && begin < pi->read.len ? pi->read.out + begin : NULL;
}

static uint32_t *piece_senders(struct piece_in *pi)
{
    uint32_t *senders = mem_calloc(pi->t->s->mem, pi->n_blocks, sizeof(*senders));
    if (senders)
        picker_senders(&pi->t->picker, pi->piece, senders, pi->n_blocks);
    return senders;
}

/* v1: the SHA-1 of each block stays with its sender until a good copy is here. */
static void piece_record_blocks(struct piece_in *pi)
{
    uint32_t *senders = piece_senders(pi);
    for (uint32_t i = 0; senders && i < pi->n_blocks; i++) {
        const uint8_t *data = piece_block_at(pi, i);
        if (data)
            blame_add_block(&pi->t->blame, pi->piece, i, senders[i],
                            bytes_of(data, piece_run_len(pi, i, 1)));
    }
    mem_free(pi->t->s->mem, senders);
}

/* Reads what was written of the piece; false: cannot be, go on without. */
static bool piece_read_back(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    uint32_t n = pi->n_blocks;
    while (n && pi->blocks[n - 1] != BLOCK_WRITTEN)
        n--;
    if (!n)
        return false;
    pi->read = (struct store_read){.torrent = t->id, .piece = pi->piece};
    pi->read.len = piece_run_len(pi, 0, n);
    pi->read.out = mem_alloc(t->s->mem, pi->read.len);
    if (!pi->read.out || !session_job_start(t, &pi->job, JOB_BLAME_READ)) {
        mem_free(t->s->mem, pi->read.out);
        pi->read.out = NULL;
        return false;
    }
    pi->stage = PIECE_BLAMING;
    t->s->host.store_read(t->s->host.ctx, pi->job.id, &pi->read);
    return true;
}

static void torrent_judge_senders(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    for (uint32_t i = 0; i < pi->n_blocks; i++) {
        uint32_t liars[16];
        const uint8_t *data = piece_block_at(pi, i);
        if (!data)
            continue;
        uint32_t n = blame_judge_block(&t->blame, pi->piece, i,
                                       bytes_of(data, piece_run_len(pi, i, 1)), liars, 16);
        COUNT_N(t->s, blocks_bad, n);
        for (uint32_t k = 0; k < n; k++)
            torrent_ban_sender(t, liars[k], "sent a bad block");
    }
    blame_end_piece(&t->blame, pi->piece);
    torrent_update_parole(t);
}

void torrent_on_blame_read(struct piece_in *pi, const struct err *err)
{
    struct torrent *t = pi->t;
    bool is_good = bitset_get(&t->have, pi->piece);
    if (is_good) {
        if (!err->code)
            torrent_judge_senders(pi);
        else
            blame_end_piece(&t->blame, pi->piece);
        piece_free(pi);
        return;
    }
    if (!err->code)
        piece_record_blocks(pi);
    piece_reset(pi);
}

/* --- verdicts -------------------------------------------------------------------------------- */

static void piece_is_good(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    uint32_t piece = pi->piece;
    COUNT(t->s, pieces_good);
    if (t->hash_fetch)
        hash_fetch_drop_leaves(t->hash_fetch, piece);
    torrent_gain(t, piece, false);
    torrent_event(t, EVENT_PIECE, piece, NULL);
    if (!blame_has(&t->blame, piece) || !piece_read_back(pi)) {
        blame_end_piece(&t->blame, piece);
        piece_free(pi);
    }
    if (t->state == TORRENT_DOWNLOADING && torrent_is_done(t))
        torrent_completion(t);
}

static bool torrent_has_v2_peer(const struct torrent *t)
{
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    if (p->is_in_picker && peer_can(p, WIRE_V2))
        return true;
    return false;
}

/* v2: proven leaves tell which blocks are bad. */
static bool piece_wait_for_leaves(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    if (!pi->leaves || !torrent_has_v2_peer(t))
        return false;
    if (!t->hash_fetch && hash_fetch_new(&t->hash_fetch, t->s->mem, t->info)) {
        t->hash_fetch = NULL;
        return false;
    }
    if (hash_fetch_want_leaves(t->hash_fetch, pi->piece))
        return false;
    pi->stage = PIECE_WAITING_LEAVES;
    pi->leaves_until_us = t->s->now_us + LEAVES_WAIT_US;
    torrent_update_parole(t);
    torrent_ask_for_hashes(t);
    session_mark_torrent(t);
    return true;
}

/* Whose blocks they were is kept, until a good copy tells which were bad. */
static void piece_start_over(struct piece_in *pi)
{
    if (piece_read_back(pi))
        return;
    piece_record_blocks(pi);
    piece_reset(pi);
}

static void piece_is_bad(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    struct err err = {ERR_MALFORMED, "a piece failed its hash", pi->piece, 0, 0};
    COUNT(t->s, pieces_bad);
    t->bad_len += pi->data_len;
    t->progress.corrupt = t->bad_len;
    torrent_event(t, EVENT_PIECE_BAD, pi->piece, &err);
    if (pi->is_preloaded) { /* who sent the blocks of an earlier run is not known */
        if (!piece_wait_for_leaves(pi))
            piece_reset(pi);
        return;
    }
    uint32_t *senders = piece_senders(pi);
    if (!senders) {
        piece_reset(pi);
        return;
    }
    uint32_t sole = blame_on_bad(&t->blame, pi->piece, senders, pi->n_blocks);
    mem_free(t->s->mem, senders);
    if (sole != BLAME_SENDER_NONE) {
        COUNT(t->s, blocks_bad);
        torrent_ban_sender(t, sole, "sent a bad piece");
        piece_reset(pi);
        return;
    }
    if (!piece_wait_for_leaves(pi))
        piece_start_over(pi);
}

static void piece_read_to_hash(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    COUNT(t->s, readbacks);
    pi->check = (struct store_check){
        .torrent = t->id, .piece = pi->piece, .want_v1 = t->info->has_v1, .v2_leaves = pi->leaves};
    pi->stage = PIECE_READBACK;
    if (session_job_start(t, &pi->job, JOB_READBACK)) {
        t->s->host.store_check(t->s->host.ctx, pi->job.id, &pi->check);
        return;
    }
    pi->stage = PIECE_GATHERING;
    struct err err = {ERR_NO_MEMORY, "no memory to check a piece", 0, 0, 0};
    torrent_fail(t, &err);
}

static void piece_take_verdict(struct piece_in *pi, enum verdict verdict)
{
    struct torrent *t = pi->t;
    pi->stage = PIECE_GATHERING;
    switch (verdict) {
    case VERDICT_GOOD:
        piece_is_good(pi);
        break;
    case VERDICT_BAD:
        piece_is_bad(pi);
        break;
    case VERDICT_POISONED:
        torrent_poisoned(t, pi->piece);
        break;
    }
}

void torrent_on_readback(struct piece_in *pi, const struct err *err)
{
    struct torrent *t = pi->t;
    pi->stage = PIECE_GATHERING;
    if (err->code || pi->check.is_missing) {
        struct err gone = {ERR_NOT_FOUND, "a file vanished or was cut short", pi->piece, 0, 0};
        torrent_fail(t, err->code ? err : &gone);
        return;
    }
    piece_take_verdict(pi, torrent_judge(t, pi->piece, t->info->has_v1 ? pi->check.v1_digest : NULL,
                                         (const uint8_t(*)[SHA256_LEN])pi->leaves));
}

/* Every block is written. v1, where it was hashed in order, has passed: the last put compared it. */
static void piece_all_written(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    if (pi->is_preloaded || (t->info->has_v1 && pi->is_v1_broken)) {
        piece_read_to_hash(pi);
        return;
    }
    const uint8_t *v1 = t->info->has_v1 ? metainfo_v1_piece_hash(t->info, pi->piece) : NULL;
    piece_take_verdict(pi,
                       torrent_judge(t, pi->piece, v1, (const uint8_t(*)[SHA256_LEN])pi->leaves));
}

/* --- writing --------------------------------------------------------------------------------- */

static bool torrent_can_put(const struct torrent *t)
{
    return t->is_storage_open && !t->is_clean_saved && !t->close_job.id && !t->is_poisoned &&
           t->state != TORRENT_ERROR && t->state != TORRENT_OPENING;
}

static void piece_submit(struct piece_in *pi, uint32_t first, uint32_t n, bool is_in_order)
{
    struct torrent *t = pi->t;
    const struct metainfo *info = t->info;
    const uint8_t *leaves = t->hash_fetch ? hash_fetch_leaves(t->hash_fetch, pi->piece) : NULL;
    bool does_v1 = info->has_v1 && is_in_order && !pi->is_v1_broken;
    struct store_put *q = &pi->put;
    *q = (struct store_put){.torrent = t->id,
                            .piece = pi->piece,
                            .begin = first * BLOCK_LEN,
                            .len = piece_run_len(pi, first, n),
                            .blocks = (const uint8_t *const *)&pi->blocks[first],
                            .v1 = does_v1 ? &pi->v1 : NULL,
                            .v1_last = does_v1 && first + n == pi->n_blocks,
                            .v2_leaves = pi->leaves ? &pi->leaves[first] : NULL};
    if (leaves && pi->leaves)
        q->v2_want = (const uint8_t(*)[SHA256_LEN])leaves + first;
    if (q->v1_last) {
        q->v1_zeros = layout_piece_len(&info->layout, pi->piece) - pi->data_len;
        memcpy(q->v1_want, metainfo_v1_piece_hash(info, pi->piece), SHA1_LEN);
    }
    if (!session_job_start(t, &pi->job, JOB_PUT))
        return; /* tried again with the next block, or under pressure */
    pi->v1_before = pi->v1;
    pi->put_first = first;
    pi->put_n = n;
    t->s->n_puts++;
    t->s->host.store_put(t->s->host.ctx, pi->job.id, q);
}

static uint32_t piece_run(const struct piece_in *pi, uint32_t first)
{
    uint32_t n = 0;
    while (first + n < pi->n_blocks && n < PUT_N_BLOCKS_MAX && piece_is_cached(pi, first + n))
        n++;
    return n;
}

/* Puts the run at the front, if it is long enough to be worth it. True: a put was started. */
static bool piece_try_put(struct piece_in *pi, bool is_forced)
{
    if (pi->job.id || pi->stage != PIECE_GATHERING || !torrent_can_put(pi->t))
        return false;
    while (pi->front < pi->n_blocks && pi->blocks[pi->front] == BLOCK_WRITTEN) {
        pi->front++; /* was written before its turn */
        pi->is_v1_broken = true;
    }
    if (pi->front == pi->n_blocks) {
        piece_all_written(pi);
        return false;
    }
    uint32_t n = piece_run(pi, pi->front);
    bool can_grow = n < PUT_N_BLOCKS_MAX && pi->front + n < pi->n_blocks &&
                    pi->blocks[pi->front + n] != BLOCK_WRITTEN;
    if (n == 0 || (can_grow && !is_forced))
        return false;
    piece_submit(pi, pi->front, n, true);
    return pi->job.id != 0;
}

void torrent_put_all(struct torrent *t)
{
    LIST_EACH(&t->pieces, pi, struct piece_in, in_torrent)
    piece_try_put(pi, true);
}

void torrent_take_block(struct torrent *t, const struct wire_block *b, uint8_t *block)
{
    struct session *s = t->s;
    struct piece_in *pi = piece_get(t, b->piece);
    uint32_t index = b->begin / BLOCK_LEN;
    if (!pi || pi->blocks[index]) {
        assert(!pi); /* the picker gives a block as new only once */
        picker_on_block_bad(&t->picker, b->piece, index);
        block_cache_give(&s->cache, block);
        return;
    }
    pi->blocks[index] = block;
    if (pi->n_cached++ == 0)
        list_push_back(&s->cached_pieces, &pi->in_cached);
    piece_try_put(pi, false);
}

/* --- answers --------------------------------------------------------------------------------- */

/* The torrent stopped: blocks that are not written are given up. */
static void piece_release(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    if (pi->job.id) {
        pi->is_released = true;
        return;
    }
    pi->is_released = false;
    if (pi->stage == PIECE_WAITING_LEAVES) {
        piece_reset(pi);
        return;
    }
    for (uint32_t i = 0; i < pi->n_blocks; i++)
        if (piece_is_cached(pi, i)) {
            picker_on_block_bad(&t->picker, pi->piece, i);
            piece_give_block(pi, i);
        }
    if (pi->n_written == 0)
        piece_free(pi);
}

void torrent_release_cached(struct torrent *t)
{
    LIST_EACH(&t->pieces, pi, struct piece_in, in_torrent)
    piece_release(pi);
}

static void piece_mark_written(struct piece_in *pi)
{
    for (uint32_t i = pi->put_first; i < pi->put_first + pi->put_n; i++) {
        piece_give_block(pi, i);
        pi->blocks[i] = BLOCK_WRITTEN;
    }
    pi->n_written += pi->put_n;
    if (pi->put_first == pi->front)
        pi->front += pi->put_n;
}

/* Known leaves: these blocks of the run are bad, the others may stay. Returns how many are bad. */
static uint32_t piece_drop_bad_leaves(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    uint32_t *senders = piece_senders(pi), n_bad = 0;
    for (uint32_t i = 0; i < pi->put_n; i++) {
        uint32_t block = pi->put_first + i;
        if (memcmp(pi->leaves[block], pi->put.v2_want[i], SHA256_LEN) == 0)
            continue;
        n_bad++;
        COUNT(t->s, blocks_bad);
        picker_on_block_bad(&t->picker, pi->piece, block);
        piece_give_block(pi, block);
        t->bad_len += piece_run_len(pi, block, 1);
        if (senders)
            torrent_ban_sender(t, senders[block], "sent a bad block");
    }
    mem_free(t->s->mem, senders);
    t->needs_refill = true;
    session_mark_torrent(t);
    return n_bad;
}

static void piece_put_was_bad(struct piece_in *pi)
{
    struct torrent *t = pi->t;
    pi->v1 = pi->v1_before;
    if (pi->put.v2_want && piece_drop_bad_leaves(pi))
        return;
    if (pi->leaves && torrent_judge(t, pi->piece, NULL, (const uint8_t(*)[SHA256_LEN])pi->leaves) ==
                          VERDICT_GOOD) {
        torrent_poisoned(t, pi->piece);
        return;
    }
    piece_is_bad(pi);
}

void torrent_on_put(struct piece_in *pi, const struct err *err)
{
    struct torrent *t = pi->t;
    uint32_t piece = pi->piece;
    t->s->n_puts--;
    if (err->code) {
        pi->v1 = pi->v1_before;
        pi->is_released = true;
        torrent_fail(t, err);
    } else if (pi->put.is_bad) {
        piece_put_was_bad(pi);
    } else {
        piece_mark_written(pi);
        torrent_save_soon(t);
        bool is_next_forced = picker_state(&t->picker, piece) == PICKER_FULL;
        piece_try_put(pi, is_next_forced);
    }
    pi = piece_in_find(t, piece);
    if (pi && !pi->job.id && (pi->is_released || t->state == TORRENT_ERROR))
        piece_release(pi);
}

/* --- v2: leaves were proven ------------------------------------------------------------------ */

/* Blocks that differ from their leaves go back to the picker and their senders are named. */
static uint32_t piece_drop_false_blocks(struct piece_in *pi, const uint8_t (*want)[SHA256_LEN])
{
    struct torrent *t = pi->t;
    uint32_t *senders = piece_senders(pi);
    uint32_t old_front = pi->front, n_bad = 0;
    for (uint32_t i = 0; i < pi->n_blocks; i++) {
        if (memcmp(pi->leaves[i], want[i], SHA256_LEN) == 0)
            continue;
        n_bad++;
        COUNT(t->s, blocks_bad);
        picker_on_block_bad(&t->picker, pi->piece, i);
        if (piece_is_cached(pi, i)) {
            piece_give_block(pi, i);
        } else if (pi->blocks[i]) {
            pi->blocks[i] = NULL;
            pi->n_written--;
        }
        pi->front = pi->front < i ? pi->front : i;
        if (senders)
            torrent_ban_sender(t, senders[i], "sent a bad block");
    }
    mem_free(t->s->mem, senders);
    pi->is_v1_broken |= pi->front < old_front;
    return n_bad;
}

void torrent_on_leaves(struct torrent *t, uint32_t piece)
{
    struct piece_in *pi = piece_in_find(t, piece);
    const uint8_t *leaves = hash_fetch_leaves(t->hash_fetch, piece);
    if (!pi || pi->stage != PIECE_WAITING_LEAVES || !leaves)
        return;
    pi->stage = PIECE_GATHERING;
    blame_end_piece(&t->blame, piece);
    if (!piece_drop_false_blocks(pi, (const uint8_t(*)[SHA256_LEN])leaves))
        piece_reset(pi); /* nothing differs, yet the piece is bad: all anew */
    torrent_update_parole(t);
    t->needs_refill = true;
    session_mark_torrent(t);
}

uint64_t torrent_leaves_deadline_us(const struct torrent *t)
{
    uint64_t at_us = DEADLINE_NEVER;
    if (!t->hash_fetch)
        return at_us;
    LIST_EACH(&t->pieces, pi, struct piece_in, in_torrent)
    if (pi->stage == PIECE_WAITING_LEAVES)
        at_us = u64_min(at_us, pi->leaves_until_us);
    return at_us;
}

void torrent_leaves_expire(struct torrent *t)
{
    LIST_EACH(&t->pieces, pi, struct piece_in, in_torrent)
    if (pi->stage == PIECE_WAITING_LEAVES && t->s->now_us >= pi->leaves_until_us) {
        if (pi->is_preloaded)
            piece_reset(pi);
        else
            piece_start_over(pi);
    }
}

/* --- storage was opened again ---------------------------------------------------------------- */

static uint32_t piece_written_len(const struct piece_in *pi)
{
    uint32_t n = pi->n_blocks;
    while (n && pi->blocks[n - 1] != BLOCK_WRITTEN)
        n--;
    return n ? piece_run_len(pi, 0, n) : 0;
}

void torrent_forget_unwritten(struct torrent *t)
{
    LIST_EACH(&t->pieces, pi, struct piece_in, in_torrent)
    {
        if (pi->job.id || torrent_is_on_disk(t, pi->piece, piece_written_len(pi)))
            continue;
        for (uint32_t i = 0; i < pi->n_blocks; i++)
            if (pi->blocks[i])
                picker_on_block_bad(&t->picker, pi->piece, i);
        piece_free(pi);
    }
}

/* --- resume data ------------------------------------------------------------------------------ */

void torrent_preload_piece(struct torrent *t, const struct resume_partial *p)
{
    struct piece_in *pi = piece_in_find(t, p->piece) ? NULL : piece_get(t, p->piece);
    if (!pi)
        return;
    pi->is_preloaded = pi->is_v1_broken = true;
    for (uint32_t i = 0; i < pi->n_blocks; i++) {
        bool is_set = p->bits.data[i / 8] >> (7 - i % 8) & 1;
        uint32_t end = i * BLOCK_LEN + piece_run_len(pi, i, 1);
        if (!is_set || !torrent_is_on_disk(t, pi->piece, end) ||
            !picker_preload_block(&t->picker, pi->piece, i, PICKER_SENDER_NONE))
            continue;
        pi->blocks[i] = BLOCK_WRITTEN;
        pi->n_written++;
    }
    if (pi->n_written == 0)
        piece_free(pi);
}

/* --- pressure -------------------------------------------------------------------------------- */

/* The longest run of cached blocks anywhere in the piece. */
static uint32_t piece_longest_run(const struct piece_in *pi, uint32_t *out_first)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < pi->n_blocks;) {
        uint32_t n = piece_run(pi, i);
        if (n > best) {
            best = n;
            *out_first = i;
        }
        i += n ? n : 1;
    }
    return best;
}

/* The cache is full. Short runs are put now; if nothing at all is on its way to the disk, blocks
 * beyond a hole are written where they belong, and their piece is read back to be hashed. */
void session_cache_pressure(struct session *s)
{
    struct piece_in *most = NULL;
    LIST_EACH(&s->cached_pieces, pi, struct piece_in, in_cached)
    piece_try_put(pi, true);
    if (s->n_puts)
        return;
    LIST_EACH(&s->cached_pieces, pi, struct piece_in, in_cached)
    if (!pi->job.id && pi->stage == PIECE_GATHERING && torrent_can_put(pi->t) &&
        (!most || pi->n_cached > most->n_cached))
        most = pi;
    if (!most)
        return;
    uint32_t first = 0, n = piece_longest_run(most, &first);
    COUNT(s, cache_spills);
    piece_submit(most, first, n, first == most->front);
}

void torrent_pieces_check(const struct torrent *t)
{
    uint32_t n_pieces = 0;
    LIST_EACH(&t->pieces, pi, struct piece_in, in_torrent)
    {
        uint32_t n_cached = 0, n_written = 0;
        for (uint32_t i = 0; i < pi->n_blocks; i++) {
            n_cached += piece_is_cached(pi, i);
            n_written += pi->blocks[i] == BLOCK_WRITTEN;
            assert(!pi->blocks[i] || picker_has_block(&t->picker, pi->piece, i));
            assert(pi->blocks[i] || pi->stage != PIECE_WAITING_LEAVES);
            assert(i >= pi->front || pi->blocks[i] == BLOCK_WRITTEN);
        }
        assert(n_cached == pi->n_cached && n_written == pi->n_written);
        assert((pi->n_cached > 0) == list_node_is_linked(&pi->in_cached));
        assert(piece_in_find(t, pi->piece) == pi);
        assert(!bitset_get(&t->have, pi->piece) || pi->stage == PIECE_BLAMING);
        n_pieces++;
    }
    assert(n_pieces == t->pieces_by_index.n);
}
