#include "io/loop.h"
#include "io/resolve.h"
#include "torrent_fixture.h"

struct seen {
    unsigned n, n_limit;
    bool has_failed[RESOLVE_N_MAX + 100];
    struct addr addrs[RESOLVE_N_ADDRS_MAX];
    size_t n_addrs;
};

static void resolved(void *ctx, uint64_t job, const struct err *err, const struct addr *addrs,
                     size_t n_addrs)
{
    struct seen *s = ctx;
    s->n++;
    s->has_failed[job] = err != NULL;
    s->n_limit += err && err->code == ERR_LIMIT;
    s->n_addrs = n_addrs;
    memcpy(s->addrs, addrs, n_addrs * sizeof addrs[0]);
    assert_true(err ? n_addrs == 0 : n_addrs > 0);
}

static void wait_for(struct loop *l, const struct seen *s, unsigned n)
{
    uint64_t end_us = clock_now_us() + 20000000;
    while (s->n < n && clock_now_us() < end_us)
        loop_turn(l, 100000);
    assert_int_equal(s->n, n);
}

static void literals_and_localhost(void **state)
{
    (void)state;
    struct loop *l;
    struct resolver *r;
    struct err err;
    struct seen s = {0};
    assert_int_equal(loop_new(&l, &err), ERR_OK);
    assert_int_equal(resolver_new(&r, l, &err), ERR_OK);
    assert_int_equal(resolve_start(r, "127.1.2.3", 80, resolved, &s, 1), ERR_OK);
    assert_int_equal(s.n, 0); /* never inside the call */
    wait_for(l, &s, 1);
    assert_int_equal(s.n_addrs, 1);
    struct addr want = addr_v4(127, 1, 2, 3, 80);
    assert_true(addr_equal(&s.addrs[0], &want));
    assert_int_equal(resolve_start(r, "localhost", 6881, resolved, &s, 2), ERR_OK);
    wait_for(l, &s, 2);
    assert_false(s.has_failed[2]);
    for (size_t i = 0; i < s.n_addrs; i++) {
        assert_true(addr_is_loopback(&s.addrs[i]));
        assert_int_equal(s.addrs[i].port, 6881);
    }
    assert_int_equal(resolve_start(r, "", 1, resolved, &s, 3), ERR_OK);
    assert_int_equal(resolve_start(r, "bad name with blanks", 1, resolved, &s, 4), ERR_OK);
    wait_for(l, &s, 4);
    assert_true(s.has_failed[4]);
    resolver_free(r);
    loop_free(l);
}

static void waiting_is_bounded(void **state)
{
    (void)state;
    struct loop *l;
    struct resolver *r;
    struct err err;
    static struct seen s;
    assert_int_equal(loop_new(&l, &err), ERR_OK);
    assert_int_equal(resolver_new(&r, l, &err), ERR_OK);
    for (uint64_t i = 0; i < RESOLVE_N_MAX + 100; i++)
        assert_int_equal(resolve_start(r, "127.0.0.1", 1, resolved, &s, i), ERR_OK);
    wait_for(l, &s, RESOLVE_N_MAX + 100);
    for (size_t i = 0; i < RESOLVE_N_MAX; i++)
        assert_false(s.has_failed[i]);
    assert_true(s.n_limit <= 100);
    resolver_free(r);
    loop_free(l);
}

static void freed_while_looking_up(void **state)
{
    (void)state;
    struct loop *l;
    struct resolver *r;
    struct err err;
    struct seen s = {0};
    assert_int_equal(loop_new(&l, &err), ERR_OK);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(resolver_new(&r, l, &err), ERR_OK);
        for (uint64_t i = 0; i < 20; i++)
            assert_int_equal(resolve_start(r, "localhost", 1, resolved, &s, i), ERR_OK);
        resolver_free(r);
        loop_turn(l, 1000);
    }
    assert_int_equal(s.n, 0);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_and_localhost),
        cmocka_unit_test(waiting_is_bounded),
        cmocka_unit_test(freed_while_looking_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
