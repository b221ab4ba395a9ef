/* The scenarios, small, with several seed numbers each: they judge their outcomes themselves; here
 * also that one seed number gives one run, and that figures come with them. */
#include "base/timer.h"
#include "sim/scenario.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define KIB 1024u
#define MIB (1024u * KIB)

static void run(const char *name, const struct scenario_params *p, struct scenario_result *r)
{
    const struct scenario *s = scenario_find(name);
    assert_non_null(s);
    scenario_run(s, p, r);
    if (r->is_ok)
        return;
    buf_u8(&r->table, 0);
    fail_msg("%s --seed %llu --peers %u --size %llu --type v%d: %s\n%s", name,
             (unsigned long long)p->rng_seed, p->n_peers, (unsigned long long)p->size,
             (int)p->version, r->why, (const char *)r->table.data);
}

static struct scenario_params small(const char *name, uint32_t n_peers, uint64_t size)
{
    const struct scenario *s = scenario_find(name);
    assert_non_null(s);
    struct scenario_params p = s->defaults;
    p.n_peers = n_peers;
    p.size = size;
    return p;
}

/* Seed numbers from..from + n - 1, every kind of torrent in turn if so wished; the first twice. */
static void sweep(const char *name, struct scenario_params p, uint64_t from, uint32_t n,
                  bool all_versions)
{
    uint8_t hash[SHA256_LEN] = {0};
    for (uint32_t i = 0; i <= n; i++) {
        struct scenario_result r;
        uint32_t k = i ? i - 1 : 0;
        p.rng_seed = from + k;
        if (all_versions)
            p.version = (enum content_version)(1 + k % 3);
        run(name, &p, &r);
        assert_int_equal(r.n_lies, 0);
        assert_int_equal(r.n_over_room, 0);
        assert_int_equal(r.plot.err, ERR_OK);
        assert_true(r.plot.n_panels > 0);
        if (i == 1)
            assert_memory_equal(hash, r.trace_hash, SHA256_LEN);
        if (i == 2)
            assert_memory_not_equal(hash, r.trace_hash, SHA256_LEN);
        memcpy(hash, r.trace_hash, SHA256_LEN);
        scenario_result_clear(&r);
    }
}

/* Ten times as many machines take less than twice as long: not N, and not the root of it. */
static void test_scale(void **state)
{
    (void)state;
    struct scenario_params p = small("scale", 100, 4 * MIB);
    struct scenario_result few, many;
    sweep("scale", p, 1, 3, false);
    p.n_peers = 10;
    run("scale", &p, &few);
    p.n_peers = 100;
    run("scale", &p, &many);
    assert_in_range(many.last_us, 1, 5 * few.last_us / 2);
    assert_int_equal(many.n_parts, 3);
    scenario_result_clear(&few);
    scenario_result_clear(&many);
}

static void test_order_of_pieces(void **state)
{
    (void)state;
    sweep("selection", small("selection", 30, 4 * MIB), 1, 3, false);
}

static void test_incentives(void **state)
{
    (void)state;
    sweep("free-riders", small("free-riders", 40, 12 * MIB), 1, 4, false);
    sweep("clusters", small("clusters", 45, 24 * MIB), 1, 3, false);
    sweep("newcomers", small("newcomers", 40, 24 * MIB), 1, 3, false);
}

static void test_crowds(void **state)
{
    (void)state;
    sweep("flash-crowd", small("flash-crowd", 60, 8 * MIB), 1, 3, false);
    sweep("churn", small("churn", 50, 12 * MIB), 1, 6, true);
    sweep("links", small("links", 24, 8 * MIB), 1, 3, false);
    sweep("nat", small("nat", 20, 4 * MIB), 1, 3, false);
}

static void test_adversaries(void **state)
{
    (void)state;
    sweep("adversaries", small("adversaries", 8, 16 * MIB), 1, 3, true);
}

/* Forks and private branches against the formulas. */
static void test_chain(void **state)
{
    (void)state;
    struct scenario_params p = scenario_find("chain")->defaults;
    p.n_liars = 150;
    sweep("chain", p, 1, 2, false);
}

static void test_crash_at_every_request(void **state)
{
    (void)state;
    sweep("crash-sweep", small("crash-sweep", 1, MIB + 777), 1, 6, true);
}

static void test_fault_at_every_request(void **state)
{
    (void)state;
    sweep("fault-sweep", small("fault-sweep", 1, 700 * KIB + 777), 1, 6, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scale),
        cmocka_unit_test(test_order_of_pieces),
        cmocka_unit_test(test_incentives),
        cmocka_unit_test(test_crowds),
        cmocka_unit_test(test_adversaries),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_crash_at_every_request),
        cmocka_unit_test(test_fault_at_every_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
