/* scenario_chain: miners and delays with the production chainstate: how often blocks are made in
 * vain, how deep the tip is replaced, and how often a private branch wins, against the formulas.
 *
 * Forks: while a block travels, the others work on its parent. With the share x = (1 - 1/n) * delay
 * / interval of work lost to each block, the chain grows by 1 / (1 + x) of the blocks made
 * (Sompolinsky and Zohar, "Secure high-rate transaction processing in Bitcoin", 2015, section 3).
 *
 * Attack: the race of chain/reorg_odds.h: an attacker begins when the block that he wants replaced
 * does; he has won when he draws level after it is depth deep. He is then given the next block, so
 * that the victim's chainstate really goes over to his branch. */
#include "chain/reorg_odds.h"
#include "sim/chain_node.h"
#include "sim/scenario_parts.h"
#include <math.h>

#define INTERVAL_S    600u
#define N_RATIOS      7u
#define GIVE_UP       35u /* blocks behind: (2/3)^35 is below one in a million */
#define BLOCKS_TARGET 3000u

/* --- forks ----------------------------------------------------------------------------------- */

struct delivery {
    struct sim_event ev;
    struct chain_net *net;
    uint32_t node, block;
};

struct chain_net {
    struct world w;
    struct chain_params params;
    struct chain_sim_blocks blocks;
    struct chain_node *nodes;
    uint32_t n_nodes;
    uint64_t interval_us, delay_us;
    uint32_t n_made, n_target;
    struct sim_event found;
    struct scenario_result *r;
    uint64_t n_replaced[CHAIN_DEPTHS_MAX]; /* of all nodes */
};

static int64_t net_now_s(const struct chain_net *net)
{
    return (int64_t)net->params.genesis_header.time + 1 + (int64_t)(net->w.now_us / US_PER_S);
}

static uint64_t exponential(struct rng *rng, uint64_t mean_us)
{
    return (uint64_t)(-log(1.0 - rng_unit(rng)) * (double)mean_us) + 1;
}

static void arrived(struct world *w, struct sim_event *ev)
{
    struct delivery *d = CONTAINER_OF(ev, struct delivery, ev);
    struct chain_net *net = d->net;
    world_trace(w, TRACE_NODE, d->node, d->block, 0);
    chain_node_take(&net->nodes[d->node], &net->blocks, d->block, net_now_s(net));
    world_free(w, d);
}

/* To everybody, each by a way of its own: between half the delay and one and a half. */
static void announce(struct chain_net *net, uint32_t from, uint32_t block)
{
    for (uint32_t i = 0; i < net->n_nodes; i++) {
        if (i == from)
            continue;
        struct delivery *d = world_alloc(&net->w, sizeof *d);
        *d = (struct delivery){.net = net, .node = i, .block = block};
        sim_event_init(&d->ev, arrived);
        world_set(&net->w, &d->ev,
                  net->w.now_us + net->delay_us / 2 + rng_below64(&net->w.rng, net->delay_us + 1));
    }
}

/* One more than the median of what is below: the earliest time allowed, or the clock. */
static uint32_t block_time(const struct chain_node *n, int64_t now_s)
{
    uint32_t earliest = header_median_time(chainstate_headers(n->s), chainstate_tip(n->s)) + 1;
    return now_s > earliest ? (uint32_t)now_s : earliest;
}

static void found(struct world *w, struct sim_event *ev)
{
    struct chain_net *net = CONTAINER_OF(ev, struct chain_net, found);
    uint32_t i = rng_below(&w->rng, net->n_nodes);
    struct chain_node *n = &net->nodes[i];
    if (net->n_made++ < net->n_target)
        world_set(w, ev, w->now_us + exponential(&w->rng, net->interval_us));
    uint32_t b = chain_sim_make(&net->blocks, &net->params, n->tip, chain_node_height(n) + 1,
                                block_time(n, net_now_s(net)), net->n_made);
    if (b == UINT32_MAX)
        return;
    world_trace(w, TRACE_NODE, i, b, 1);
    chain_node_take(n, &net->blocks, b, net_now_s(net));
    announce(net, i, b);
}

static bool nodes_open(struct chain_net *net, uint64_t rng_seed)
{
    bool is_open = true;
    net->nodes = world_calloc(&net->w, net->n_nodes, sizeof *net->nodes);
    for (uint32_t i = 0; i < net->n_nodes; i++) {
        chain_node_init(&net->nodes[i], &net->params, rng_seed + i);
        is_open &= net->nodes[i].s != NULL;
    }
    return is_open;
}

static void nodes_close(struct chain_net *net)
{
    for (uint32_t i = 0; i < net->n_nodes; i++) {
        struct chain_node *n = &net->nodes[i];
        if (n->s)
            chainstate_check(n->s);
        for (uint32_t d = 0; d < CHAIN_DEPTHS_MAX; d++)
            net->n_replaced[d] += n->n_replaced[d];
        chain_node_clear(n);
        if (n->err.code)
            scenario_fail(net->r, "miner %u: %s", i, n->err.what);
    }
    world_free(&net->w, net->nodes);
}

/* Everything has arrived: all have the same height; the highest chain's length is returned. */
static uint32_t judge_heights(struct chain_net *net)
{
    uint32_t height = chain_node_height(&net->nodes[0]);
    for (uint32_t i = 1; i < net->n_nodes; i++)
        if (chain_node_height(&net->nodes[i]) != height)
            scenario_fail(net->r, "miners %u and 0 differ in height", i);
    return height;
}

static uint32_t run_net(struct chain_net *net, const struct scenario_params *p, double ratio,
                        struct scenario_result *r)
{
    uint32_t height = 0;
    uint8_t hash[SHA256_LEN];
    *net = (struct chain_net){.n_nodes = p->n_peers, .r = r, .n_target = BLOCKS_TARGET};
    world_init(&net->w, &r->mem, p->rng_seed);
    net->params = *chain_params_find("regtest");
    net->blocks.mem = &r->mem;
    net->interval_us = INTERVAL_S * US_PER_S;
    net->delay_us = (uint64_t)(ratio * (double)net->interval_us);
    if (nodes_open(net, p->rng_seed)) {
        sim_event_init(&net->found, found);
        world_set(&net->w, &net->found, 1);
        while (world_step(&net->w))
            ;
        height = judge_heights(net);
    } else {
        scenario_fail(r, "a miner could not open its chain");
    }
    nodes_close(net);
    r->n_events += net->w.n_events;
    r->end_us = net->w.now_us;
    world_trace_hash(&net->w, hash);
    sha256_pair(r->trace_hash, hash, r->trace_hash);
    r->n_traced += net->w.n_traced;
    chain_sim_blocks_clear(&net->blocks);
    world_clear(&net->w);
    return height;
}

static uint64_t replaced(const struct chain_net *net, uint32_t at_least)
{
    uint64_t n = 0;
    for (uint32_t d = at_least; d < CHAIN_DEPTHS_MAX; d++)
        n += net->n_replaced[d];
    return n;
}

static void fork_row(const struct scenario_params *p, struct scenario_result *r, double ratio,
                     struct plot_panel *panel, const uint32_t series[2])
{
    struct chain_net net;
    uint32_t height = run_net(&net, p, ratio, r);
    double x = (1.0 - 1.0 / p->n_peers) * ratio;
    double stale = 1.0 - (double)height / net.n_made, want = x / (1.0 + x);
    /* Chance alone: three standard deviations of as many blocks. */
    double noise = 3.0 * sqrt(want * (1.0 - want) / net.n_made) + 0.15 * want;
    buf_printf(&r->table, "%9.3f %9.1f %9u %9u %8.2f%% %8.2f%% %8llu %8llu %8llu\n", ratio,
               ratio * INTERVAL_S, net.n_made, height, 100 * stale, 100 * want,
               (unsigned long long)replaced(&net, 1), (unsigned long long)replaced(&net, 2),
               (unsigned long long)replaced(&net, 3));
    plot_add(&r->plot, panel, series[0], ratio, 100 * stale);
    plot_add(&r->plot, panel, series[1], ratio, 100 * want);
    if (fabs(stale - want) > noise)
        scenario_fail(r, "delay %.3f of the interval: %.2f%% in vain, %.2f%% expected", ratio,
                      100 * stale, 100 * want);
}

static void run_forks(const struct scenario_params *p, struct scenario_result *r)
{
    static const double ratios[N_RATIOS] = {0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.8};
    struct plot_panel *panel =
        plot_panel(&r->plot, "Blocks made in vain", "delay / block interval", "% of all blocks");
    uint32_t series[2] = {plot_series(&r->plot, panel, "measured", PLOT_DOTS),
                          plot_series(&r->plot, panel, "x / (1 + x)", PLOT_DASHED)};
    if (panel)
        panel->is_x_log = true;
    buf_printf(&r->table, "%u miners of equal strength; a block every %u s on average\n",
               p->n_peers, INTERVAL_S);
    buf_printf(&r->table, "%9s %9s %9s %9s %9s %9s %8s %8s %8s\n", "delay/int", "delay s", "made",
               "height", "in vain", "formula", "reorgs", "2 deep", "3 deep");
    for (uint32_t i = 0; i < N_RATIOS; i++)
        fork_row(p, r, ratios[i], panel, series);
}

/* --- attack ---------------------------------------------------------------------------------- */

struct attack {
    struct chain_params params;
    struct chain_sim_blocks blocks;
    struct chain_node victim;
    struct rng rng;
    uint64_t nonce;
};

static uint32_t make_on(struct attack *a, uint32_t parent, uint32_t height)
{
    /* A minute a block: far behind the victim's clock. */
    uint32_t time = a->params.genesis_header.time + height * 60;
    return chain_sim_make(&a->blocks, &a->params, parent, height, time, ++a->nonce);
}

static void victim_takes(struct attack *a, uint32_t block)
{
    chain_node_take(&a->victim, &a->blocks, block, INT64_C(4000000000));
}

/* One race from the victim's tip; whether the attacker drew level after depth honest blocks. */
static bool race(struct attack *a, uint32_t depth, double share)
{
    uint32_t base = chain_node_height(&a->victim), secret = a->victim.tip;
    uint32_t n_honest = 0, n_secret = 0;
    while (n_honest < depth || n_secret < n_honest) {
        if (n_honest > n_secret + GIVE_UP)
            return false;
        if (rng_unit(&a->rng) < share) {
            secret = make_on(a, secret, base + ++n_secret);
        } else {
            victim_takes(a, make_on(a, a->victim.tip, base + n_honest + 1));
            n_honest++;
        }
        if (a->victim.err.code || secret == UINT32_MAX)
            return secret != UINT32_MAX;
    }
    if (n_secret == n_honest)
        secret = make_on(a, secret, base + ++n_secret);
    victim_takes(a, secret);
    return true;
}

static void attack_row(struct attack *a, struct scenario_result *r, uint32_t n_races,
                       uint32_t depth, double share, struct plot_panel *panel, uint32_t measured,
                       uint32_t formula)
{
    uint32_t n_won = 0;
    double exact = reorg_odds_exact(depth, share);
    for (uint32_t i = 0; i < n_races && !a->victim.err.code; i++) {
        uint32_t height = chain_node_height(&a->victim), tip = a->victim.tip;
        uint64_t before = 0, after = 0;
        for (uint32_t d = depth; d < CHAIN_DEPTHS_MAX; d++)
            before += a->victim.n_replaced[d];
        bool has_won = race(a, depth, share);
        for (uint32_t d = depth; d < CHAIN_DEPTHS_MAX; d++)
            after += a->victim.n_replaced[d];
        n_won += has_won;
        if (has_won != (after > before) || chain_node_height(&a->victim) <= height ||
            a->victim.tip == tip)
            scenario_fail(r, "the victim did not go where the work is");
    }
    double got = (double)n_won / n_races;
    double noise = 4.0 * sqrt(exact * (1.0 - exact) / n_races) + 0.002;
    buf_printf(&r->table, "%6.2f %6u %9.3f%% %9.3f%% %9.3f%%\n", share, depth, 100 * got,
               100 * exact, 100 * reorg_odds_nakamoto(depth, share));
    plot_add(&r->plot, panel, measured, depth, 100 * got);
    plot_add(&r->plot, panel, formula, depth, 100 * exact);
    if (fabs(got - exact) > noise)
        scenario_fail(r, "share %.2f, depth %u: %.2f%% won, %.2f%% expected", share, depth,
                      100 * got, 100 * exact);
}

static void run_share(const struct scenario_params *p, struct scenario_result *r, double share,
                      struct plot_panel *panel)
{
    static const uint32_t depths[] = {1, 2, 3, 4, 6, 8};
    struct attack a = {.params = *chain_params_find("regtest"), .blocks.mem = &r->mem};
    char name[PLOT_NAME_CAP];
    snprintf(name, sizeof name, "share %.2f", share);
    uint32_t measured = plot_series(&r->plot, panel, name, PLOT_DOTS);
    snprintf(name, sizeof name, "exact, %.2f", share);
    uint32_t formula = plot_series(&r->plot, panel, name, PLOT_DASHED);
    rng_init(&a.rng, p->rng_seed + (uint64_t)(share * 100));
    chain_node_init(&a.victim, &a.params, p->rng_seed);
    if (!a.victim.s)
        scenario_fail(r, "the victim could not open its chain");
    for (size_t i = 0; i < sizeof depths / sizeof *depths && r->is_ok; i++)
        attack_row(&a, r, p->n_liars, depths[i], share, panel, measured, formula);
    if (a.victim.s)
        chainstate_check(a.victim.s);
    chain_node_clear(&a.victim);
    if (a.victim.err.code)
        scenario_fail(r, "victim: %s", a.victim.err.what);
    chain_sim_blocks_clear(&a.blocks);
}

void run_chain(const struct scenario_params *p, struct scenario_result *r)
{
    static const double shares[] = {0.1, 0.25, 0.4};
    run_forks(p, r);
    struct plot_panel *panel = plot_panel(&r->plot, "A block replaced by a private branch",
                                          "blocks deep", "% of attacks that win");
    buf_printf(&r->table, "\n%u attacks each\n%6s %6s %10s %10s %10s\n", p->n_liars, "share",
               "depth", "won", "exact", "Nakamoto");
    for (size_t i = 0; i < sizeof shares / sizeof *shares && r->is_ok; i++)
        run_share(p, r, shares[i], panel);
}
