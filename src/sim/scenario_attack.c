/* scenario_attack: one world for each way to misbehave. All honest machines finish, no honest one is
 * banned, what was done is counted under its name, and no engine outgrows its bound. */
#include "base/size.h"
#include "sim/scenario_parts.h"

static const struct attack {
    enum liar_kind kind;
    const char *name;
    bool is_magnet;                      /* honest ones begin with the link */
    bool wants_ban;                      /* what they do proves them guilty: each is found */
    enum session_counter_id counters[2]; /* each must have counted; may be the same */
} attacks[] = {
    {LIAR_CORRUPTER, "corrupters", false, true, {COUNTER_pieces_bad, COUNTER_peers_banned}},
    {LIAR_STALLER,
     "stallers",
     false,
     false,
     {COUNTER_requests_timed_out, COUNTER_requests_timed_out}},
    {LIAR_SILENT,
     "silent at 99 %",
     false,
     false,
     {COUNTER_endgame_duplicates, COUNTER_endgame_duplicates}},
    {LIAR_BITFIELD,
     "bitfield liars",
     false,
     false,
     {COUNTER_rejects_received, COUNTER_rejects_closed}},
    {LIAR_DRIP, "drips", false, false, {COUNTER_requests_timed_out, COUNTER_requests_timed_out}},
    {LIAR_FLOODER,
     "request floods",
     false,
     false,
     {COUNTER_request_flood_closed, COUNTER_request_flood_closed}},
    {LIAR_OUT_OF_RANGE,
     "out of range",
     false,
     false,
     {COUNTER_request_out_of_range, COUNTER_request_out_of_range}},
    {LIAR_GARBAGE, "garbage", false, false, {COUNTER_msg_malformed, COUNTER_msg_malformed}},
    {LIAR_METADATA,
     "metadata liars",
     true,
     true,
     {COUNTER_metadata_hash_bad, COUNTER_metadata_hash_bad}},
    {LIAR_PEX, "PEX spam", false, false, {COUNTER_pex_early, COUNTER_pex_malformed}},
    {LIAR_UNASKED,
     "unasked pieces",
     false,
     false,
     {COUNTER_block_unrequested, COUNTER_block_unrequested}},
    {LIAR_LORIS,
     "slow loris",
     false,
     false,
     {COUNTER_strangers_evicted, COUNTER_strangers_evicted}},
    {LIAR_DOUBLES,
     "duplicate conns",
     false,
     false,
     {COUNTER_handshake_duplicate, COUNTER_handshake_duplicate}},
};
#define N_ATTACKS (sizeof attacks / sizeof attacks[0])

struct attack_run {
    const struct attack *a; /* NULL: each kind in turn */
    bool has_liars;
    struct liar_stats stats;    /* of all together */
    uint32_t n_found, n_guilty; /* banned by somebody; of those who gave a reason */
};

static void run_attack(const struct scenario_params *p, struct scenario_result *r, void *ctx)
{
    struct attack_run *o = ctx;
    struct stage s;
    stage_init(&s, p, r);
    for (uint32_t i = 0; o->has_liars && i < p->n_liars; i++)
        stage_add_liar(&s, o->a ? o->a->kind : attacks[i % N_ATTACKS].kind);
    stage_add_crowd(&s, 1, p->n_peers);
    for (uint32_t i = 0; i < s.n_liars; i++)
        for (uint32_t k = 0; k < s.n_peers; k++)
            liar_attack(s.liars[i], net_addr(s.peers[k].h->node));
    stage_run(&s);
    stage_want_all_done(&s);
    for (uint32_t i = 0; i < s.n_liars; i++) {
        o->stats.n_conns += s.liars[i]->stats.n_conns;
        o->stats.n_sent += s.liars[i]->stats.n_sent;
    }
    if (o->a)
        o->n_found = stage_n_found(&s, o->a->kind, &o->n_guilty);
    stage_clear(&s);
}

static void judge_attack(const struct attack *a, struct scenario_result *r,
                         const struct scenario_result *part, const struct attack_run *o)
{
    for (int i = 0; i < 2; i++)
        if (!part->counters[a->counters[i]])
            scenario_fail(r, "%s: the counter %s says nothing", a->name,
                          session_counter_descs[a->counters[i]].name);
    /* wrong metadata may come when the right ones are there already, and prove nothing */
    uint32_t n_wanted = a->kind == LIAR_METADATA ? div_ceil(o->n_guilty, 2) : o->n_guilty;
    if (a->wants_ban && (!o->n_guilty || o->n_found < n_wanted))
        scenario_fail(r, "%s: %u of %u were found", a->name, o->n_found, o->n_guilty);
}

static void say_attack(struct scenario_result *r, const char *name, const struct attack *a,
                       const struct scenario_result *part, double calm_s)
{
    buf_printf(&r->table, "%-16s %8.1f %7.2f %8llu %8.1f  ", name, scenario_s(part->last_us),
               calm_s > 0 ? scenario_s(part->last_us) / calm_s : 1,
               (unsigned long long)part->n_banned, (double)part->peak_mem_len / MIB);
    for (int i = 0; a && i < 2; i++)
        if (i == 0 || a->counters[1] != a->counters[0])
            buf_printf(&r->table, " %s %llu", session_counter_descs[a->counters[i]].name,
                       (unsigned long long)part->counters[a->counters[i]]);
    buf_str(&r->table, "\n");
}

void run_adversaries(const struct scenario_params *p, struct scenario_result *r)
{
    struct scenario_result part;
    struct attack_run calm = {0}, all = {.has_liars = true};
    struct plot_panel *panel =
        scenario_panel_done(r, "Honest machines among as many that misbehave");
    buf_printf(&r->table, "an engine may take   %.1f MiB\n%-16s %8s %7s %8s %8s   %s\n",
               (double)stage_engine_len_max(p) / MIB, "", "last s", "times", "bans", "MiB",
               "counted");
    scenario_part(p, run_attack, &calm, r, &part, "calm");
    double calm_s = scenario_s(part.last_us);
    say_attack(r, "nobody", NULL, &part, calm_s);
    scenario_plot_done(r, panel, &part, "nobody misbehaves");
    scenario_result_clear(&part);
    for (size_t i = 0; i < N_ATTACKS; i++) {
        struct scenario_params one = *p;
        struct attack_run o = {.a = &attacks[i], .has_liars = true};
        one.is_magnet = attacks[i].is_magnet;
        scenario_part(&one, run_attack, &o, r, &part, attacks[i].name);
        say_attack(r, attacks[i].name, &attacks[i], &part, calm_s);
        judge_attack(&attacks[i], r, &part, &o);
        if (attacks[i].wants_ban)
            buf_printf(&r->table, "%-16s %u of %u who sent wrong bytes found\n", "", o.n_found,
                       o.n_guilty);
        if (attacks[i].kind == LIAR_PEX)
            buf_printf(&r->table, "%-16s %llu addresses told\n", "",
                       (unsigned long long)o.stats.n_sent * LIAR_PEX_N);
        if (attacks[i].kind == LIAR_CORRUPTER || attacks[i].kind == LIAR_STALLER ||
            attacks[i].kind == LIAR_SILENT || attacks[i].kind == LIAR_FLOODER ||
            attacks[i].kind == LIAR_PEX)
            scenario_plot_done(r, panel, &part, attacks[i].name);
        scenario_result_clear(&part);
    }
    struct scenario_params crowd = *p;
    crowd.n_liars = u64_max(p->n_liars, N_ATTACKS);
    scenario_part(&crowd, run_attack, &all, r, &part, "all of them");
    say_attack(r, "all of them", NULL, &part, calm_s);
    scenario_plot_done(r, panel, &part, "all kinds together");
    scenario_result_clear(&part);
}
