/* scenario_faults: a crash, or a fault of the disk, at every point of a small download.
 *
 * What must hold, at each point:
 *   - no verified byte is lost: a piece that the saved resume data tell of, and that the crash left
 *     whole on the disk, is not fetched again; after a kill they tell of all but what was verified
 *     within the last moments
 *   - no unverified byte is believed: what is had is right on the disk (sim_host_check)
 *   - in the end the resume data name every piece, synced */
#include "base/size.h"
#include "sim/scenario_parts.h"
#include "torrent/resume.h"
#include <errno.h>

/* --- a crash at every request ---------------------------------------------------------------- */

#define RECENT_US (300 * US_PER_MS) /* resume data are saved each 200 ms while pieces complete */
#define N_RECENT  64u

struct crash_point {
    uint64_t at_op; /* 0: no crash, the ops are counted */
    bool is_after;  /* the request has happened, the engine has not heard */
    enum sim_crash how;
    uint64_t
        again_after; /* the second process meets the same at this request of its own; 0: none */
    struct stage *s;
    uint64_t piece_at_us[N_RECENT]; /* when the last ones were verified */
    uint32_t n_pieces_had;
    /* bytes, at the last crash: verified before; of those whole afterwards; of those known to the
     * resume data that lasted; fetched by the process after it */
    uint64_t verified_len, kept_len, told_len, fetched_len;
    uint64_t n_ops;
    uint32_t n_strikes;
};

static bool bit_of(const uint8_t *bits, size_t len, uint32_t i)
{
    return i / 8 < len && (bits[i >> 3] >> (7 - (i & 7)) & 1);
}

static void note_piece(struct stage *s, struct sim_host *h)
{
    struct crash_point *c = s->ctx;
    if (s->n_peers > 1 && h == s->peers[1].h)
        c->piece_at_us[c->n_pieces_had++ % N_RECENT] = s->sim.w.now_us;
}

static uint32_t n_recent(const struct crash_point *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < N_RECENT && i < c->n_pieces_had; i++)
        n += c->piece_at_us[i] + RECENT_US > c->s->sim.w.now_us;
    return n;
}

/* What the downloader's next process will find. */
static bool read_resume(const struct stage *s, struct resume *out)
{
    struct bytes key = bytes_of(metainfo_key(s->content->info), SHA1_LEN);
    struct bytes saved = disk_resume(&s->peers[1].h->disk, key);
    *out = (struct resume){0};
    return saved.len && resume_read(out, saved, NULL) == ERR_OK;
}

static void want_all_told(struct stage *s)
{
    struct resume resume;
    uint32_t n_told = 0, n_pieces = s->content->info->n_pieces;
    if (s->is_broken || s->r->why[0])
        return;
    if (read_resume(s, &resume))
        for (uint32_t i = 0; i < n_pieces; i++)
            n_told += bit_of(resume.synced.data, resume.synced.len, i);
    if (n_told != n_pieces)
        stage_fail(s, "all is done and the resume data name %u of %u pieces", n_told, n_pieces);
}

/* What of the pieces in `had` is whole on the disk; told: and named by the resume data there. */
static void measure(struct crash_point *c, const uint8_t *had, size_t had_len)
{
    const struct metainfo *info = c->s->content->info;
    const struct disk *d = &c->s->peers[1].h->disk;
    struct resume resume;
    bool has_resume = read_resume(c->s, &resume);
    c->verified_len = c->kept_len = c->told_len = 0;
    for (uint32_t i = 0; i < info->n_pieces; i++) {
        uint64_t len = layout_piece_data_len(&info->layout, i);
        if (!bit_of(had, had_len, i))
            continue;
        c->verified_len += len;
        if (!disk_piece_is_right(d, c->s->content, i))
            continue;
        c->kept_len += len;
        if (has_resume && (bit_of(resume.synced.data, resume.synced.len, i) ||
                           bit_of(resume.unsynced.data, resume.unsynced.len, i)))
            c->told_len += len;
    }
}

static void strike(void *ctx)
{
    struct crash_point *c = ctx;
    struct stage_peer *p = &c->s->peers[1];
    size_t len = div_ceil(c->s->content->info->n_pieces, 8);
    uint8_t *had = world_calloc(&c->s->sim.w, len, 1);
    const uint8_t *have = session_have_bits(p->h->session, p->torrent);
    if (have)
        memcpy(had, have, len);
    stage_crash(c->s, p, c->how, US_PER_S);
    measure(c, had, len);
    uint64_t recent_len = (uint64_t)n_recent(c) * c->s->content->info->piece_len;
    if (c->how == SIM_KILL && c->verified_len > c->told_len + recent_len)
        stage_fail(c->s, "verified long ago, and the resume data do not know it");
    world_free(&c->s->sim.w, had);
    c->n_pieces_had = 0;
    struct disk *d = &p->h->disk;
    if (++c->n_strikes == 1 && c->again_after)
        disk_plan_crash(d, d->n_ops + c->again_after, c->is_after, strike, c);
}

static void run_crash_point(const struct scenario_params *p, struct scenario_result *r, void *ctx)
{
    struct crash_point *c = ctx;
    struct stage s;
    struct torrent_stats st = {0};
    stage_init(&s, p, r);
    c->s = &s;
    s.ctx = c;
    s.on_piece = note_piece;
    stage_add_crowd(&s, 1, 1);
    if (!s.is_broken && c->at_op)
        disk_plan_crash(&s.peers[1].h->disk, c->at_op, c->is_after, strike, c);
    stage_run(&s);
    stage_run_until(&s, s.sim.w.now_us + 25 * US_PER_S); /* the last sync, the last resume data */
    stage_run(&s);
    stage_want_all_done(&s);
    want_all_told(&s);
    if (!s.is_broken && s.peers[1].is_up)
        session_torrent_stats(s.peers[1].h->session, s.sim.w.now_us, s.peers[1].torrent, &st);
    c->n_ops = s.is_broken ? 0 : s.peers[1].h->disk.n_ops;
    c->fetched_len = c->n_strikes ? st.down_session : 0;
    /* blocks of unfinished pieces are adopted unhashed: one that was torn spoils its piece */
    uint64_t may_fetch_len = st.total_len - c->told_len + st.bad_len + st.wasted_len;
    if (c->n_strikes && c->fetched_len > may_fetch_len)
        stage_fail(&s, "%llu bytes that were verified, whole and told were fetched again",
                   (unsigned long long)(c->fetched_len - may_fetch_len));
    stage_clear(&s);
}

struct sweep {
    const char *name;
    enum sim_crash how;
    bool is_after, is_twice;
};

/* Of the second process any request, in a different order for each seed number; the first ones, when
 * it looks at what it found, oftenest. */
static uint64_t second_point(const struct scenario_params *p, uint64_t n_ops, uint64_t first)
{
    return 1 + (3 * first + p->rng_seed) % (n_ops - first + 4);
}

static void run_sweep(const struct scenario_params *p, struct scenario_result *r,
                      struct plot_panel *panel, const struct sweep *sweep, uint64_t n_ops)
{
    struct crash_point sum = {0};
    uint64_t n_first = 0;
    uint32_t series = plot_series(&r->plot, panel, sweep->name, PLOT_LINE);
    for (uint64_t k = 1; k <= n_ops && r->is_ok; k++) {
        struct crash_point c = {.at_op = k, .is_after = sweep->is_after, .how = sweep->how};
        struct scenario_result part;
        char name[64];
        c.again_after = sweep->is_twice ? second_point(p, n_ops, k) : 0;
        snprintf(name, sizeof name, "%s, request %llu", sweep->name, (unsigned long long)k);
        scenario_part(p, run_crash_point, &c, r, &part, name);
        scenario_result_clear(&part);
        n_first += c.n_strikes > 0;
        sum.n_strikes += c.n_strikes;
        sum.verified_len += c.verified_len;
        sum.kept_len += c.kept_len;
        sum.told_len += c.told_len;
        sum.fetched_len += c.fetched_len;
        plot_add(&r->plot, panel, series, (double)k, (double)c.fetched_len / KIB);
    }
    double kib = (double)u64_max(n_first, 1) * KIB;
    buf_printf(&r->table, "%-22s %7u %10.1f %10.1f %10.1f %10.1f\n", sweep->name, sum.n_strikes,
               (double)sum.verified_len / kib, (double)sum.kept_len / kib,
               (double)sum.told_len / kib, (double)sum.fetched_len / kib);
    if (r->is_ok && n_first != n_ops)
        scenario_fail(r, "only %llu of %llu crashes struck", (unsigned long long)n_first,
                      (unsigned long long)n_ops);
    if (r->is_ok && sweep->is_twice && sum.n_strikes < n_first + n_ops / 2)
        scenario_fail(r, "only %llu second crashes struck",
                      (unsigned long long)(sum.n_strikes - n_first));
}

void run_crash_sweep(const struct scenario_params *p, struct scenario_result *r)
{
    static const struct sweep sweeps[] = {
        {"killed before it", SIM_KILL, false, false},
        {"killed after it", SIM_KILL, true, false},
        {"power lost before it", SIM_POWER_LOSS, false, false},
        {"power lost after it", SIM_POWER_LOSS, true, false},
        {"killed twice", SIM_KILL, false, true},
        {"power lost twice", SIM_POWER_LOSS, true, true},
    };
    struct plot_panel *panel = plot_panel(&r->plot, "A crash at every request of the disk",
                                          "request", "fetched after it, KiB");
    struct scenario_result part;
    struct crash_point whole = {0};
    scenario_part(p, run_crash_point, &whole, r, &part, "no crash");
    scenario_result_clear(&part);
    buf_printf(
        &r->table,
        "requests of the disk %llu, of which each is met; KiB on average, at the last crash:\n"
        "%-22s %7s %10s %10s %10s %10s\n",
        (unsigned long long)whole.n_ops, "", "crashes", "verified", "whole", "told", "fetched");
    for (size_t i = 0; i < sizeof sweeps / sizeof sweeps[0]; i++)
        run_sweep(p, r, panel, &sweeps[i], whole.n_ops);
}

/* --- a fault at every request ---------------------------------------------------------------- */

/* Those before FAULT_FULL as in enum disk_fault. */
enum fault_kind {
    FAULT_WRITE,
    FAULT_READ,
    FAULT_SYNC,
    FAULT_OPEN,
    FAULT_SAVE,
    FAULT_FULL,
    N_FAULTS
};

struct fault_point {
    enum fault_kind kind;
    uint64_t at;
    bool is_lasting;
    bool has_struck, has_stopped;
};

/* Resume data that cannot be saved stop nobody: they are tried again, now and then, until somebody
 * has mended it. */
#define SAVE_MENDED_US (60 * US_PER_S)
#define SAVES_MAX      12u

static void mend(struct stage *s, void *ctx)
{
    struct fault_point *f = ctx;
    if (f->kind == FAULT_SAVE && f->is_lasting && s->sim.w.now_us >= SAVE_MENDED_US)
        disk_plan_fault(&s->peers[1].h->disk, DISK_SAVE, 0, 0, false);
    for (uint32_t i = 0; i < s->n_peers; i++)
        f->has_stopped |= stage_mend_disk(s, &s->peers[i]);
}

static void run_fault_point(const struct scenario_params *p, struct scenario_result *r, void *ctx)
{
    struct fault_point *f = ctx;
    struct stage s;
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, 0);
    struct sim_host_params hp = stage_link(&s, false);
    if (f->kind == FAULT_FULL)
        hp.disk.cap_len = f->at * BLOCK_LEN;
    stage_add_peer(&s, &hp, false, NULL);
    /* the seed is the one who reads */
    struct disk *d = s.is_broken ? NULL : &s.peers[f->kind == FAULT_READ ? 0 : 1].h->disk;
    if (d && f->kind != FAULT_FULL)
        disk_plan_fault(d, (enum disk_fault)f->kind, f->at, EIO, f->is_lasting);
    s.on_second = mend;
    s.ctx = f;
    stage_run(&s);
    stage_run_until(&s, u64_max(s.sim.w.now_us, SAVE_MENDED_US) + 25 * US_PER_S);
    stage_want_all_done(&s);
    want_all_told(&s);
    f->has_struck = d && (d->stats.n_faults > 0 || f->has_stopped);
    if (f->has_struck && f->has_stopped == (f->kind == FAULT_SAVE))
        stage_fail(&s, f->has_stopped ? "the torrent stopped for want of resume data"
                                      : "the disk failed and the torrent did not stop");
    uint64_t n_unsaved =
        s.is_broken ? 0 : session_counter(s.peers[1].h->session, "resume_save_failed");
    if (f->kind == FAULT_SAVE && f->has_struck && (n_unsaved == 0 || n_unsaved > SAVES_MAX))
        stage_fail(&s, "saving resume data failed %llu times", (unsigned long long)n_unsaved);
    stage_clear(&s);
}

static const char *const fault_names[N_FAULTS] = {"write fails", "read fails", "sync fails",
                                                  "open fails",  "save fails", "disk full"};

static void sweep_faults(const struct scenario_params *p, struct scenario_result *r,
                         struct plot_panel *panel, enum fault_kind kind)
{
    uint64_t n_blocks = div_ceil(p->size, BLOCK_LEN), n = 0, n_struck = 0, n_stopped = 0;
    uint32_t series = plot_series(&r->plot, panel, fault_names[kind], PLOT_DOTS);
    bool has_struck = true;
    for (uint64_t i = 0; r->is_ok && i < 2 * (n_blocks + 1) && has_struck; i++) {
        struct scenario_result part;
        char name[64];
        struct fault_point f = {
            .kind = kind, .at = kind == FAULT_FULL ? i / 2 + 1 : i / 2, .is_lasting = i % 2};
        snprintf(name, sizeof name, "%s, number %llu", fault_names[kind], (unsigned long long)f.at);
        scenario_part(p, run_fault_point, &f, r, &part, name);
        if (f.is_lasting && f.has_struck)
            plot_add(&r->plot, panel, series, (double)(f.at + (kind != FAULT_FULL)),
                     scenario_s(part.last_us));
        scenario_result_clear(&part);
        n++;
        n_struck += f.has_struck;
        n_stopped += f.has_stopped;
        has_struck = f.has_struck || kind == FAULT_FULL || !f.is_lasting;
    }
    buf_printf(&r->table, "%-14s %10llu %10llu %10llu\n", fault_names[kind], (unsigned long long)n,
               (unsigned long long)n_struck, (unsigned long long)n_stopped);
    if (r->is_ok && !n_struck)
        scenario_fail(r, "%s: it never struck", fault_names[kind]);
}

void run_fault_sweep(const struct scenario_params *p, struct scenario_result *r)
{
    struct plot_panel *panel = plot_panel(&r->plot, "A fault at every point, mended a second later",
                                          "which of its kind", "all done after, s");
    buf_printf(&r->table, "%-14s %10s %10s %10s\n", "fault", "points", "struck", "stopped");
    for (int kind = 0; kind < N_FAULTS; kind++)
        sweep_faults(p, r, panel, (enum fault_kind)kind);
}
