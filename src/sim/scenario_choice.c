/* scenario_choice: what peers choose, and what would be if they chose otherwise: which piece next
 * (rarest first, at random, in order), and to whom they give (tit for tat, the optimistic unchoke). */
#include "base/size.h"
#include "sim/scenario_parts.h"

#define N_SLOTS  4                /* of each, where who gets them matters: BEP 3's own number */
#define STALL_US (150 * US_PER_S) /* no piece in so long: it will not go on */

static uint64_t n_pieces_had(const struct stage *s)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < s->n_peers; i++)
        n += s->peers[i].h->stats.n_pieces;
    return n;
}

/* Until all are done, or nothing moves any more. */
static void run_until_stall(struct stage *s)
{
    uint64_t n_before = 0, moved_at_us = s->sim.w.now_us;
    while (!s->is_broken && !stage_is_done(s) && s->sim.w.now_us < s->p->limit_us) {
        stage_run_until(s, s->sim.w.now_us + 5 * US_PER_S);
        uint64_t n = n_pieces_had(s);
        if (n != n_before)
            moved_at_us = s->sim.w.now_us;
        n_before = n;
        if (s->sim.w.now_us - moved_at_us > STALL_US)
            return;
    }
}

/* --- order of pieces ------------------------------------------------------------------------- */

#define N_ORDERS 3

static const char *const order_names[N_ORDERS] = {"rarest first", "random", "sequential"};

struct order_run {
    enum stage_order order;
    uint64_t leave_len; /* the seed goes when it has sent so much; 0: it stays */
    struct scenario_result *whole;
    struct plot_panel *copies, *alone; /* of the rarest piece over time; NULL: not asked for */
    uint32_t copies_series, alone_series;
    uint64_t full_at_us; /* when there was a copy of each piece besides the seed's */
    uint64_t seed_left_at_us;
    uint32_t n_done;
};

/* Copies among those who began with nothing; *out_alone: pieces of which there is none. */
static uint32_t rarest_copies(const struct stage *s, uint32_t *out_alone)
{
    uint32_t least = UINT32_MAX;
    *out_alone = 0;
    for (uint32_t piece = 0; piece < s->content->info->n_pieces; piece++) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < s->n_peers; i++) {
            const struct stage_peer *p = &s->peers[i];
            const uint8_t *have =
                p->is_up && !p->is_seed ? session_have_bits(p->h->session, p->torrent) : NULL;
            n += have && (have[piece >> 3] >> (7 - (piece & 7)) & 1);
        }
        least = n < least ? n : least;
        *out_alone += n == 0;
    }
    return least;
}

static void watch_order(struct stage *s, void *ctx)
{
    struct order_run *o = ctx;
    struct stage_peer *seed = &s->peers[0];
    uint32_t n_alone, n = rarest_copies(s, &n_alone);
    double now_s = scenario_s(s->sim.w.now_us);
    if (n > 0 && !o->full_at_us)
        o->full_at_us = s->sim.w.now_us;
    plot_add(&o->whole->plot, o->copies, o->copies_series, now_s, n);
    plot_add(&o->whole->plot, o->alone, o->alone_series, now_s,
             100.0 * n_alone / s->content->info->n_pieces);
    if (o->leave_len && seed->is_up && net_stats(seed->h->node).up_len >= o->leave_len) {
        o->seed_left_at_us = s->sim.w.now_us;
        stage_leave(s, seed);
    }
}

static void run_order(const struct scenario_params *p, struct scenario_result *r, void *ctx)
{
    struct order_run *o = ctx;
    struct stage s;
    stage_init(&s, p, r);
    s.order = o->order;
    stage_add_crowd(&s, 1, p->n_peers);
    s.on_second = watch_order;
    s.ctx = o;
    if (o->leave_len)
        run_until_stall(&s);
    else
        stage_run(&s);
    if (!o->leave_len)
        stage_want_all_done(&s);
    o->n_done = stage_n_done(&s);
    stage_clear(&s);
}

static void compare_orders(const struct scenario_params *p, struct scenario_result *r)
{
    struct plot_panel *copies =
        plot_panel(&r->plot, "Copies of the rarest piece, the seed's not counted", "time, s",
                   "machines that have it");
    struct plot_panel *alone =
        plot_panel(&r->plot, "Pieces that only the seed has", "time, s", "of all pieces, %");
    struct scenario_result part[N_ORDERS];
    struct order_run runs[N_ORDERS];
    buf_printf(&r->table, "%-14s %10s %10s %10s %26s\n", "order", "first s", "median s", "last s",
               "one copy of each piece s");
    for (int i = 0; i < N_ORDERS; i++) {
        runs[i] = (struct order_run){
            .order = (enum stage_order)i, .whole = r, .copies = copies, .alone = alone};
        runs[i].copies_series = plot_series(&r->plot, copies, order_names[i], PLOT_LINE);
        runs[i].alone_series = plot_series(&r->plot, alone, order_names[i], PLOT_LINE);
        scenario_part(p, run_order, &runs[i], r, &part[i], order_names[i]);
        buf_printf(&r->table, "%-14s %10.1f %10.1f %10.1f %26.1f\n", order_names[i],
                   scenario_s(part[i].first_us), scenario_s(part[i].median_us),
                   scenario_s(part[i].last_us), scenario_s(runs[i].full_at_us));
    }
    struct plot_panel *done = scenario_panel_done(r, "The seed stays: who has everything when");
    for (int i = 0; i < N_ORDERS; i++) {
        scenario_plot_done(r, done, &part[i], order_names[i]);
        scenario_result_clear(&part[i]);
    }
    /* random is close behind as long as the seed stays, and may win by a second */
    if (runs[0].full_at_us > runs[1].full_at_us * 9 / 8 || runs[0].full_at_us > runs[2].full_at_us)
        scenario_fail(r, "rarest first was late to have a copy of each piece");
}

/* The seed goes when it has sent the torrent's size so and so many times. */
static void compare_leaving(const struct scenario_params *p, struct scenario_result *r)
{
    static const double times[] = {1, 1.25, 1.5, 2, 3, 4};
    const size_t n_times = sizeof times / sizeof times[0];
    struct plot_panel *panel =
        plot_panel(&r->plot, "The seed leaves early: how many get everything all the same",
                   "sent by the seed before it left, sizes of the torrent", "machines, %");
    double sums[N_ORDERS] = {0};
    buf_printf(&r->table, "the seed leaves after  ");
    for (size_t k = 0; k < n_times; k++)
        buf_printf(&r->table, "%7.2f F", times[k]);
    buf_str(&r->table, "\n");
    for (int i = 0; i < N_ORDERS; i++) {
        uint32_t series = plot_series(&r->plot, panel, order_names[i], PLOT_DOTS);
        buf_printf(&r->table, "  %-20s ", order_names[i]);
        for (size_t k = 0; k < n_times; k++) {
            struct scenario_result part;
            struct order_run o = {.order = (enum stage_order)i, .whole = r};
            o.leave_len = (uint64_t)(times[k] * (double)p->size);
            scenario_part(p, run_order, &o, r, &part, order_names[i]);
            double percent = 100.0 * o.n_done / p->n_peers;
            buf_printf(&r->table, "%7.0f %%", percent);
            plot_add(&r->plot, panel, series, times[k], percent);
            sums[i] += percent;
            scenario_result_clear(&part);
        }
        buf_str(&r->table, "\n");
    }
    if (sums[0] < sums[1] || sums[0] < sums[2])
        scenario_fail(r, "rarest first did not survive an early leave best");
}

void run_selection(const struct scenario_params *p, struct scenario_result *r)
{
    compare_orders(p, r);
    compare_leaving(p, r);
}

/* --- free-riders ----------------------------------------------------------------------------- */

enum { SHARES, RIDES };

struct ride_run {
    struct scenario_result *whole;
    struct plot_panel *panel;
    double median_s[2];
};

static int compare_us(const void *a, const void *b)
{
    uint64_t l = *(const uint64_t *)a, r = *(const uint64_t *)b;
    return (l > r) - (l < r);
}

/* When the members of a class had everything, since each joined; drawn as a series. Returns the
 * median in seconds, 0 when less than half are done. */
static double class_median_s(struct stage *s, uint8_t class, struct scenario_result *whole,
                             struct plot_panel *panel, const char *name)
{
    uint64_t *times = world_calloc(&s->sim.w, s->n_peers, sizeof *times);
    uint32_t n = 0, n_members = 0, series = plot_series(&whole->plot, panel, name, PLOT_STEPS);
    for (uint32_t i = 0; i < s->n_peers; i++) {
        const struct stage_peer *p = &s->peers[i];
        if (p->is_seed || p->class != class)
            continue;
        n_members++;
        if (p->done_at_us)
            times[n++] = p->done_at_us - p->joined_at_us;
    }
    if (n)
        qsort(times, n, sizeof *times, compare_us);
    plot_add(&whole->plot, panel, series, 0, 0);
    for (uint32_t i = 0; i < n; i++)
        plot_add(&whole->plot, panel, series, scenario_s(times[i]), 100.0 * (i + 1) / n_members);
    double median_s = n > n_members / 2 ? scenario_s(times[n_members / 2]) : 0;
    world_free(&s->sim.w, times);
    return median_s;
}

static void run_ride(const struct scenario_params *p, struct scenario_result *r, void *ctx)
{
    struct ride_run *o = ctx;
    struct stage s;
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, 0);
    for (uint32_t i = 0; i < p->n_peers && !s.is_broken; i++) {
        struct sim_host_params hp = stage_link(&s, false);
        hp.config.is_upload_off = i % 4 == 3;
        stage_add_peer(&s, &hp, false, NULL);
        s.peers[s.n_peers - 1].class = i % 4 == 3 ? RIDES : SHARES;
    }
    stage_run(&s);
    stage_want_all_done(&s);
    o->median_s[SHARES] = class_median_s(&s, SHARES, o->whole, o->panel, "those who share");
    o->median_s[RIDES] = class_median_s(&s, RIDES, o->whole, o->panel, "free-riders");
    stage_clear(&s);
}

void run_free_riders(const struct scenario_params *p, struct scenario_result *r)
{
    struct scenario_params plenty = *p;
    struct scenario_result part;
    struct ride_run scarce_run = {.whole = r}, plenty_run = {.whole = r};
    scarce_run.panel = scenario_panel_done(r, "Capacity is scarce: a quarter gives nothing");
    scenario_part(p, run_ride, &scarce_run, r, &part, "scarce");
    scenario_result_clear(&part);
    plenty.seed_up_per_s = p->n_peers * p->down_per_s;
    plenty_run.panel = scenario_panel_done(r, "Capacity is plenty: the seed can serve all");
    scenario_part(&plenty, run_ride, &plenty_run, r, &part, "plenty");
    scenario_result_clear(&part);
    buf_printf(&r->table, "%-22s %14s %14s %8s\n", "median", "those who share", "free-riders",
               "ratio");
    const struct ride_run *runs[] = {&scarce_run, &plenty_run};
    for (int i = 0; i < 2; i++)
        buf_printf(&r->table, "%-22s %12.1f s %12.1f s %8.2f\n", i ? "  plenty" : "  scarce",
                   runs[i]->median_s[SHARES], runs[i]->median_s[RIDES],
                   runs[i]->median_s[RIDES] / runs[i]->median_s[SHARES]);
    if (scarce_run.median_s[RIDES] < 1.2 * scarce_run.median_s[SHARES])
        scenario_fail(r, "capacity was scarce and free-riders were not a fifth slower");
}

/* --- fast ones find each other --------------------------------------------------------------- */

#define N_CLASSES 3

/* The seed goes when every piece is surely among the others: from then on they must trade. */
static void leave_early(struct stage *s, void *ctx)
{
    (void)ctx;
    if (s->peers[0].is_up && net_stats(s->peers[0].h->node).up_len > 5 * s->p->size / 2)
        stage_leave(s, &s->peers[0]);
}

static const char *const class_names[N_CLASSES] = {"slow", "medium", "fast"};

static struct stage_peer *peer_at(struct stage *s, const struct addr *a)
{
    const struct net_node *node = net_find(&s->sim.n, a);
    for (uint32_t i = 0; node && i < s->n_peers; i++)
        if (s->peers[i].h->node == node)
            return &s->peers[i];
    return NULL;
}

/* Who got how much from whom, by class; seeds are left out. */
static void count_trade(struct stage *s, uint64_t trade[N_CLASSES][N_CLASSES])
{
    const size_t cap = 4096;
    struct peer_stats *from = world_calloc(&s->sim.w, cap, sizeof *from);
    for (uint32_t i = 0; i < s->n_peers; i++) {
        const struct stage_peer *p = &s->peers[i];
        if (p->is_seed || !p->is_up)
            continue;
        size_t n = session_sources(p->h->session, s->sim.w.now_us, p->torrent, from, cap);
        for (size_t k = 0; k < n; k++) {
            const struct stage_peer *q = peer_at(s, &from[k].addr);
            if (q && !q->is_seed)
                trade[p->class][q->class] += from[k].down_total;
        }
    }
    world_free(&s->sim.w, from);
}

static bool is_class_done(const struct stage *s, uint8_t class)
{
    for (uint32_t i = 0; i < s->n_peers; i++)
        if (!s->peers[i].is_seed && s->peers[i].class == class && !s->peers[i].done_at_us)
            return false;
    return true;
}

/* The part of what class `from` gave that class `to` got. */
static double part_given(uint64_t trade[N_CLASSES][N_CLASSES], int from, int to)
{
    double sum = 0;
    for (int i = 0; i < N_CLASSES; i++)
        sum += (double)trade[i][from];
    return sum > 0 ? (double)trade[to][from] / sum : 0;
}

static void say_trade(struct scenario_result *r, uint64_t trade[N_CLASSES][N_CLASSES])
{
    buf_printf(&r->table, "%-26s %10s %10s %10s   (by lot a third each)\n", "of what they gave",
               "to slow", "to medium", "to fast");
    for (int i = 0; i < N_CLASSES; i++) {
        buf_printf(&r->table, "  %-24s", class_names[i]);
        for (int k = 0; k < N_CLASSES; k++)
            buf_printf(&r->table, " %8.0f %%", 100 * part_given(trade, i, k));
        buf_str(&r->table, "\n");
    }
}

void run_clusters(const struct scenario_params *p, struct scenario_result *r)
{
    uint64_t trade[N_CLASSES][N_CLASSES] = {{0}};
    struct stage s;
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, 0);
    for (uint32_t i = 0; i < p->n_peers && !s.is_broken; i++) {
        struct sim_host_params hp = stage_link(&s, false);
        hp.net.up_per_s = p->up_per_s << (2 * (i % N_CLASSES)) >> 2; /* a quarter, one, four */
        hp.config.n_upload_slots = N_SLOTS;
        stage_add_peer(&s, &hp, false, NULL);
        s.peers[s.n_peers - 1].class = (uint8_t)(i % N_CLASSES);
    }
    s.on_second = leave_early;
    while (!s.is_broken && !is_class_done(&s, 2) && s.sim.w.now_us < p->limit_us)
        stage_run_until(&s, s.sim.w.now_us + US_PER_S);
    count_trade(&s, trade); /* while all still download: later they are seeds, which do not trade */
    stage_run(&s);
    stage_want_all_done(&s);
    struct plot_panel *panel = scenario_panel_done(r, "Who gives more has it sooner");
    for (int i = 0; i < N_CLASSES; i++) {
        double median_s = class_median_s(&s, (uint8_t)i, r, panel, class_names[i]);
        buf_printf(&r->table, "%-8s median        %.1f s\n", class_names[i], median_s);
    }
    say_trade(r, trade);
    if (part_given(trade, 2, 2) < 0.45 || part_given(trade, 1, 1) < 0.4)
        stage_fail(&s, "those of one speed did not find each other");
    stage_clear(&s);
}

/* --- newcomers ------------------------------------------------------------------------------- */

struct newcomer_run {
    bool is_optimistic_off;
    struct scenario_result *whole;
    struct plot_panel *panel;
    uint32_t series;
    uint64_t joined_at_us;
    uint32_t n_old;
    double had_percent, fed_percent; /* of the torrent, after two minutes; who has got a piece */
};

#define OLD_US   (200 * US_PER_S) /* when newcomers come */
#define WATCH_US (180 * US_PER_S)

static double newcomers_have(const struct stage *s, const struct newcomer_run *o, double *out_fed)
{
    double sum = 0;
    uint32_t n = 0, n_fed = 0;
    for (uint32_t i = 1 + o->n_old; i < s->n_peers; i++, n++) {
        n_fed += s->peers[i].h->stats.n_pieces > 0;
        sum += (double)s->peers[i].h->stats.n_pieces / s->content->info->n_pieces;
    }
    *out_fed = n ? 100.0 * n_fed / n : 0;
    return n ? 100 * sum / n : 0;
}

static void watch_newcomers(struct stage *s, void *ctx)
{
    struct newcomer_run *o = ctx;
    leave_early(s, NULL); /* a seed serves newcomers by turns; they must trade */
    o->had_percent = newcomers_have(s, o, &o->fed_percent);
    if (o->joined_at_us)
        plot_add(&o->whole->plot, o->panel, o->series,
                 scenario_s(s->sim.w.now_us - o->joined_at_us), o->had_percent);
}

static void run_newcomer(const struct scenario_params *p, struct scenario_result *r, void *ctx)
{
    struct newcomer_run *o = ctx;
    struct stage s;
    o->n_old = p->n_peers - p->n_peers / 10;
    stage_init(&s, p, r);
    stage_add_crowd(&s, 1, 0);
    s.on_second = watch_newcomers;
    s.ctx = o;
    for (uint32_t i = 0; i < p->n_peers && !s.is_broken; i++) {
        struct sim_host_params hp = stage_link(&s, false);
        hp.config.is_optimistic_off = o->is_optimistic_off;
        hp.config.n_upload_slots = N_SLOTS;
        if (i == o->n_old) {
            stage_run_until(&s, OLD_US);
            o->joined_at_us = s.sim.w.now_us;
        }
        stage_add_peer(&s, &hp, false, NULL);
    }
    stage_run_until(&s, s.sim.w.now_us + WATCH_US);
    stage_clear(&s);
}

void run_newcomers(const struct scenario_params *p, struct scenario_result *r)
{
    struct newcomer_run runs[2];
    struct plot_panel *panel =
        plot_panel(&r->plot, "Newcomers in a swarm that trades, with four slots each",
                   "time since they came, s", "of the torrent they have, %");
    for (int i = 0; i < 2; i++) {
        struct scenario_result part;
        const char *name = i ? "without" : "with the optimistic unchoke";
        runs[i] = (struct newcomer_run){.is_optimistic_off = i, .whole = r, .panel = panel};
        runs[i].series = plot_series(&r->plot, panel, name, PLOT_LINE);
        scenario_part(p, run_newcomer, &runs[i], r, &part, name);
        buf_printf(&r->table, "%-28s newcomers with a piece %3.0f %%, on average %4.1f %% of all\n",
                   name, runs[i].fed_percent, runs[i].had_percent);
        scenario_result_clear(&part);
    }
    if (runs[0].had_percent < 2 * runs[1].had_percent)
        scenario_fail(r, "newcomers did not need the optimistic unchoke");
}
