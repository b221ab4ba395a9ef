/* The network model: shares of bandwidth, delay, loss, order, back-pressure, ends of connections,
 * datagrams, and that one seed gives one trace. */
#include "base/buf.h"
#include "sim/network.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000u

/* A program that keeps what it hears, of one connection at a time or of many. */
#define CONNS_MAX 64

struct heard {
    uint64_t connected_at_us, closed_at_us, first_at_us, last_at_us;
    enum err_code closed_code;
    uint64_t len;
    uint32_t n_laid, room;
    bool was_refused, is_open;
    struct buf bytes;
};

struct talker {
    struct world *w;
    struct net_node *node;
    struct heard conns[CONNS_MAX];
    uint32_t n_accepted; /* numbers from 32 on */
    bool is_refusing, is_stalled, is_keeping;
    uint32_t lend_max;
    uint64_t flood_len; /* sends this much on each connection, as there is room */
    uint64_t flooded[CONNS_MAX];
    const struct content *content;
    uint32_t n_datagrams;
    uint64_t datagram_at_us;
    uint8_t scratch[65536];
};

static void flood(struct talker *t, uint32_t conn)
{
    struct heard *h = &t->conns[conn];
    while (t->flooded[conn] < t->flood_len && h->room > 0) {
        uint32_t n = (uint32_t)(t->flood_len - t->flooded[conn]);
        if (t->flood_len - t->flooded[conn] > h->room)
            n = h->room;
        h->room -= n;
        net_send_content(t->node, conn, t->content, t->flooded[conn], n, 0);
        t->flooded[conn] += n;
    }
}

static bool on_accept(void *ctx, const struct addr *from, uint32_t *out_conn)
{
    struct talker *t = ctx;
    assert_int_not_equal(from->family, ADDR_NONE);
    if (t->is_refusing)
        return false;
    *out_conn = 32 + t->n_accepted++;
    t->conns[*out_conn].is_open = true;
    return true;
}

static void on_connected(void *ctx, uint32_t conn)
{
    struct talker *t = ctx;
    t->conns[conn].connected_at_us = t->w->now_us;
    t->conns[conn].is_open = true;
}

static void on_closed(void *ctx, uint32_t conn, const struct err *err)
{
    struct talker *t = ctx;
    t->conns[conn].closed_at_us = t->w->now_us;
    t->conns[conn].closed_code = err->code;
    t->conns[conn].is_open = false;
}

static size_t on_lend(void *ctx, uint32_t conn, struct span *out, size_t out_cap)
{
    struct talker *t = ctx;
    assert_true(t->conns[conn].is_open);
    if (t->is_stalled)
        return 0;
    size_t cap = t->lend_max ? t->lend_max : sizeof t->scratch;
    out[0] = (struct span){t->scratch, cap / 2};
    out[1] = (struct span){t->scratch + cap / 2, cap - cap / 2};
    return out_cap >= 2 ? 2 : 0;
}

static void on_laid(void *ctx, uint32_t conn, size_t len)
{
    struct talker *t = ctx;
    struct heard *h = &t->conns[conn];
    if (!h->len)
        h->first_at_us = t->w->now_us;
    h->last_at_us = t->w->now_us;
    h->len += len;
    h->n_laid++;
    if (t->is_keeping)
        buf_put(&h->bytes, bytes_of(t->scratch, len));
}

static void on_room(void *ctx, uint32_t conn, size_t room_len)
{
    struct talker *t = ctx;
    t->conns[conn].room = (uint32_t)room_len;
    flood(t, conn);
}

static void on_datagram(void *ctx, const struct addr *from, struct bytes b)
{
    struct talker *t = ctx;
    (void)from;
    (void)b;
    t->n_datagrams++;
    t->datagram_at_us = t->w->now_us;
}

static const struct net_program talker_program = {.accept = on_accept,
                                                  .connected = on_connected,
                                                  .closed = on_closed,
                                                  .lend = on_lend,
                                                  .laid = on_laid,
                                                  .room = on_room,
                                                  .datagram = on_datagram};

struct lab {
    struct mem mem;
    struct world w;
    struct net n;
    struct content content;
    struct talker *t[8];
    uint32_t n_talkers;
};

static struct lab *lab_new(uint64_t rng_seed)
{
    struct lab *l = calloc(1, sizeof *l);
    mem_init(&l->mem, MEM_NO_BUDGET, NULL);
    world_init(&l->w, &l->mem, rng_seed);
    net_init(&l->n, &l->w);
    l->content.key = 7;
    return l;
}

static struct talker *lab_talker(struct lab *l, const struct net_params *p)
{
    struct talker *t = calloc(1, sizeof *t);
    t->w = &l->w;
    t->node = net_add_node(&l->n, p);
    t->content = &l->content;
    for (int i = 0; i < CONNS_MAX; i++)
        buf_init(&t->conns[i].bytes, &l->mem, SIZE_MAX);
    net_start(t->node, &talker_program, t);
    l->t[l->n_talkers++] = t;
    return t;
}

static void lab_free(struct lab *l)
{
    net_check(&l->n);
    net_clear(&l->n);
    world_clear(&l->w);
    for (uint32_t i = 0; i < l->n_talkers; i++) {
        for (int k = 0; k < CONNS_MAX; k++)
            buf_clear(&l->t[i]->conns[k].bytes);
        free(l->t[i]);
    }
    mem_check_empty(&l->mem);
    free(l);
}

static void lab_run(struct lab *l, uint64_t until_us)
{
    for (uint64_t i = 0; world_next_us(&l->w) <= until_us; i++) {
        world_step(&l->w);
        if (i % 64 == 0)
            net_check(&l->n);
        if (i % 64 == 0)
            world_check(&l->w);
    }
    world_run(&l->w, until_us);
    for (uint32_t i = 0; i < l->n_talkers; i++)
        assert_int_equal(net_stats(l->t[i]->node).n_over_room, 0);
}

static void assert_near(uint64_t got, uint64_t want, unsigned percent)
{
    if (got * 100 < want * (100 - percent) || got * 100 > want * (100 + percent))
        fail_msg("%llu is not within %u %% of %llu", (unsigned long long)got, percent,
                 (unsigned long long)want);
}

static void test_connect_takes_a_round_trip(void **state)
{
    (void)state;
    struct lab *l = lab_new(1);
    struct talker *a = lab_talker(l, &(struct net_params){.delay_us = 10 * MS});
    struct talker *b = lab_talker(l, &(struct net_params){.delay_us = 30 * MS});
    net_connect(a->node, 1, net_addr(b->node));
    lab_run(l, 1000 * MS);
    assert_int_equal(a->conns[1].connected_at_us, 80 * MS);
    assert_int_equal(b->n_accepted, 1);
    assert_true(a->conns[1].room > 0 && b->conns[32].room > 0);
    net_send(b->node, 32, BYTES_LIT("hello"));
    lab_run(l, 2000 * MS);
    assert_int_equal(a->conns[1].len, 5);
    assert_int_equal(a->conns[1].first_at_us, 1040 * MS);
    lab_free(l);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct lab *l = lab_new(1);
    struct talker *a = lab_talker(l, &(struct net_params){.delay_us = 10 * MS});
    struct talker *b = lab_talker(l, &(struct net_params){.delay_us = 10 * MS});
    struct talker *nat = lab_talker(l, &(struct net_params){.delay_us = 10 * MS, .is_nat = true});
    struct addr nowhere = addr_v4(12, 1, 1, 1, 80), port = *net_addr(b->node);
    port.port++;
    net_connect(a->node, 1, &nowhere);
    net_connect(a->node, 2, &port);
    net_connect(a->node, 3, net_addr(nat->node));
    net_connect(nat->node, 4, net_addr(a->node));
    b->is_refusing = true;
    net_connect(a->node, 5, net_addr(b->node));
    lab_run(l, 60000 * MS);
    assert_int_equal(a->conns[1].closed_at_us, NET_CONNECT_US);
    assert_int_equal(a->conns[1].closed_code, ERR_IO);
    assert_int_equal(a->conns[2].closed_at_us, 40 * MS);
    assert_int_equal(a->conns[2].closed_code, ERR_IO);
    assert_int_equal(a->conns[3].closed_code, ERR_IO);
    assert_int_equal(nat->conns[4].connected_at_us, 40 * MS);
    assert_int_equal(a->conns[5].connected_at_us, 40 * MS); /* and then closed at once */
    assert_int_equal(a->conns[5].closed_at_us, 40 * MS);
    assert_int_equal(a->conns[5].closed_code, ERR_OK);
    assert_int_equal(l->n.n_conns, 1);
    lab_free(l);
}

/* One sender to one receiver: the slower link counts, and the bytes are the content's. */
static void test_one_flow_fills_the_slower_link(void **state)
{
    (void)state;
    static const uint64_t up[] = {1000000, 4000000}, down[] = {4000000, 1000000};
    for (int i = 0; i < 2; i++) {
        struct lab *l = lab_new(2);
        struct talker *a =
            lab_talker(l, &(struct net_params){.up_per_s = up[i], .delay_us = 10 * MS});
        struct talker *b = lab_talker(
            l,
            &(struct net_params){.down_per_s = down[i], .delay_us = 10 * MS, .split_ppm = 200000});
        b->is_keeping = true;
        a->flood_len = 5000000;
        net_connect(a->node, 1, net_addr(b->node));
        lab_run(l, 60000 * MS);
        assert_int_equal(b->conns[32].len, 5000000);
        assert_near(b->conns[32].last_at_us, 5000 * MS, 3);
        uint8_t *want = malloc(5000000);
        content_fill(&l->content, 0, 0, want, 5000000);
        assert_memory_equal(want, b->conns[32].bytes.data, 5000000);
        free(want);
        lab_free(l);
    }
}

static void test_flows_share_an_up_link(void **state)
{
    (void)state;
    struct lab *l = lab_new(3);
    struct talker *a = lab_talker(l, &(struct net_params){.up_per_s = 1000000, .delay_us = MS});
    struct talker *b[4];
    a->flood_len = 100000000;
    for (uint32_t i = 0; i < 4; i++) {
        b[i] = lab_talker(l, &(struct net_params){.delay_us = (1 + 20 * i) * MS});
        net_connect(a->node, 1 + i, net_addr(b[i]->node));
    }
    lab_run(l, 20000 * MS);
    for (uint32_t i = 0; i < 4; i++)
        assert_near(b[i]->conns[32].len, 5000000, 5);
    lab_free(l);
}

static void test_flows_share_a_down_link(void **state)
{
    (void)state;
    struct lab *l = lab_new(4);
    struct talker *b = lab_talker(l, &(struct net_params){.down_per_s = 1000000, .delay_us = MS});
    struct talker *a[4];
    for (uint32_t i = 0; i < 4; i++) {
        a[i] = lab_talker(l, &(struct net_params){.up_per_s = 100000u << (2 * i), .delay_us = MS});
        a[i]->flood_len = 100000000;
        net_connect(a[i]->node, 1, net_addr(b->node));
    }
    lab_run(l, 20000 * MS);
    /* 100 kB/s is less than a fair share; the others divide what it leaves */
    uint64_t total = 0;
    for (uint32_t i = 0; i < 4; i++)
        total += b->conns[32 + i].len;
    assert_near(total, 20000000, 3);
    assert_near(b->conns[32].len, 2000000, 15);
    for (uint32_t i = 1; i < 4; i++)
        assert_near(b->conns[32 + i].len, 6000000, 12);
    lab_free(l);
}

/* window / round trip bounds a flow on links without bounds. */
static void test_window_bounds_a_long_path(void **state)
{
    (void)state;
    struct lab *l = lab_new(5);
    struct net_params p = {.delay_us = 50 * MS, .window_len = 131072};
    struct talker *a = lab_talker(l, &p), *b = lab_talker(l, &p);
    a->flood_len = 100000000;
    net_connect(a->node, 1, net_addr(b->node));
    lab_run(l, 20000 * MS);
    assert_near(b->conns[32].len, 131072 * 5 * 20, 15);
    lab_free(l);
}

static void test_loss_costs_rate_not_bytes(void **state)
{
    (void)state;
    uint64_t len[3];
    for (uint32_t i = 0; i < 3; i++) {
        struct lab *l = lab_new(6);
        struct net_params p = {.delay_us = 20 * MS,
                               .up_per_s = 10000000,
                               .down_per_s = 10000000,
                               .loss_ppm = i * 10000};
        struct talker *a = lab_talker(l, &p), *b = lab_talker(l, &p);
        b->is_keeping = true;
        a->flood_len = 20000000;
        net_connect(a->node, 1, net_addr(b->node));
        lab_run(l, 1500 * MS);
        len[i] = b->conns[32].len;
        lab_run(l, 600000 * MS);
        assert_int_equal(b->conns[32].len, 20000000);
        lab_free(l);
    }
    assert_true(len[0] > 2 * len[1] && len[1] > len[2] && len[2] > 0);
}

/* A receiver that lends nothing stops the sender; what is on the way stays bounded. */
static void test_slow_reader_stalls_the_sender(void **state)
{
    (void)state;
    struct lab *l = lab_new(7);
    struct net_params p = {.delay_us = 5 * MS, .up_per_s = 1000000, .window_len = 65536};
    struct talker *a = lab_talker(l, &p), *b = lab_talker(l, &p);
    a->flood_len = 3000000;
    b->is_stalled = true;
    net_connect(a->node, 1, net_addr(b->node));
    lab_run(l, 10000 * MS);
    assert_int_equal(b->conns[32].len, 0);
    assert_true(a->flooded[1] <= 65536 + 262144 + 16448);
    b->is_stalled = false;
    b->lend_max = 1000;
    net_want_read(b->node, 32);
    lab_run(l, 60000 * MS);
    assert_int_equal(b->conns[32].len, 3000000);
    lab_free(l);
}

static void test_close_flushes(void **state)
{
    (void)state;
    struct lab *l = lab_new(8);
    struct net_params p = {.delay_us = 5 * MS, .up_per_s = 1000000, .window_len = 262144};
    struct talker *a = lab_talker(l, &p), *b = lab_talker(l, &p);
    a->flood_len = 200000;
    net_connect(a->node, 1, net_addr(b->node));
    lab_run(l, 25 * MS);
    assert_int_equal(a->flooded[1], 200000);
    net_close(a->node, 1);
    lab_run(l, 10000 * MS);
    assert_int_equal(b->conns[32].len, 200000);
    assert_int_equal(b->conns[32].closed_code, ERR_OK);
    assert_int_equal(a->conns[1].closed_at_us, 0); /* whoever closes hears no more */
    assert_int_equal(l->n.n_conns, 0);
    /* a reader that never reads does not hold the flush for ever */
    b->is_stalled = true;
    a->flood_len = 2000000;
    net_connect(a->node, 2, net_addr(b->node));
    lab_run(l, 15000 * MS);
    net_close(a->node, 2);
    lab_run(l, 30000 * MS);
    assert_int_equal(b->conns[33].closed_code, ERR_IO);
    assert_int_equal(l->n.n_conns, 0);
    lab_free(l);
}

static void test_crash_resets_or_is_silent(void **state)
{
    (void)state;
    for (int is_silent = 0; is_silent < 2; is_silent++) {
        struct lab *l = lab_new(9);
        struct net_params p = {.delay_us = 5 * MS, .up_per_s = 1000000};
        struct talker *a = lab_talker(l, &p), *b = lab_talker(l, &p);
        b->flood_len = 100000000;
        net_connect(a->node, 1, net_addr(b->node));
        net_connect(b->node, 2, net_addr(a->node));
        lab_run(l, 1000 * MS);
        net_crash(a->node, is_silent);
        lab_run(l, 5000 * MS);
        assert_int_equal(a->conns[1].closed_at_us, 0);
        assert_int_equal(b->conns[32].closed_code, is_silent ? ERR_OK : ERR_IO);
        assert_int_equal(b->conns[2].closed_at_us, is_silent ? 0 : 1010 * MS);
        net_connect(b->node, 3, net_addr(a->node));
        lab_run(l, 6000 * MS);
        assert_int_equal(b->conns[3].closed_code, ERR_IO);
        if (is_silent) { /* its own close ends it */
            net_close(b->node, 2);
            net_close(b->node, 32);
        }
        lab_run(l, 20000 * MS);
        assert_int_equal(l->n.n_conns, 0);
        net_start(a->node, &talker_program, a);
        net_connect(b->node, 4, net_addr(a->node));
        lab_run(l, 30000 * MS);
        assert_true(b->conns[4].connected_at_us > 0);
        lab_free(l);
    }
}

static void test_partition_heals(void **state)
{
    (void)state;
    struct lab *l = lab_new(10);
    struct net_params p = {.delay_us = 5 * MS, .up_per_s = 1000000};
    struct talker *a = lab_talker(l, &p), *b = lab_talker(l, &p);
    a->flood_len = 5000000;
    net_connect(a->node, 1, net_addr(b->node));
    lab_run(l, 1000 * MS);
    net_set_group(b->node, 1);
    lab_run(l, 2000 * MS);
    uint64_t len = b->conns[32].len;
    net_connect(a->node, 2, net_addr(b->node));
    net_datagram(a->node, net_addr(b->node), BYTES_LIT("x"));
    lab_run(l, 30000 * MS);
    assert_int_equal(b->conns[32].len, len);
    assert_int_equal(a->conns[2].closed_code, ERR_IO);
    assert_int_equal(b->n_datagrams, 0);
    net_set_group(b->node, 0);
    lab_run(l, 60000 * MS);
    assert_int_equal(b->conns[32].len, 5000000);
    lab_free(l);
}

static void test_datagrams(void **state)
{
    (void)state;
    struct lab *l = lab_new(11);
    struct talker *a = lab_talker(l, &(struct net_params){.delay_us = 5 * MS, .up_per_s = 1000000});
    struct talker *b = lab_talker(l, &(struct net_params){.delay_us = 5 * MS, .loss_ppm = 250000});
    struct talker *nat = lab_talker(l, &(struct net_params){.delay_us = 5 * MS, .is_nat = true});
    static const uint8_t packet[1000];
    for (int i = 0; i < 200; i++)
        net_datagram(a->node, net_addr(b->node), bytes_of(packet, 1000));
    lab_run(l, 1000 * MS);
    assert_near(b->n_datagrams, 150, 15);
    assert_near(b->datagram_at_us, 210 * MS, 5); /* the last of them waited for the link */
    for (int i = 0; i < 300; i++)
        net_datagram(a->node, net_addr(b->node), bytes_of(packet, 1000));
    assert_int_equal(net_stats(a->node).n_datagrams_lost, 300 - 263 + (200 - b->n_datagrams));
    lab_run(l, 2000 * MS);
    net_datagram(a->node, net_addr(nat->node), bytes_of(packet, 10));
    lab_run(l, 3000 * MS);
    assert_int_equal(nat->n_datagrams, 0);
    net_datagram(nat->node, net_addr(a->node), bytes_of(packet, 10));
    lab_run(l, 4000 * MS);
    net_datagram(a->node, net_addr(nat->node), bytes_of(packet, 10));
    lab_run(l, 5000 * MS);
    assert_int_equal(a->n_datagrams, 1);
    assert_int_equal(nat->n_datagrams, 1);
    net_datagram(a->node, net_addr(b->node), bytes_of(packet, 10)); /* in the air at the end */
    net_datagram(a->node, net_addr(b->node), bytes_of(packet, 10));
    lab_run(l, 5001 * MS);
    lab_free(l);
}

/* Short messages are not held up by the bulk of other connections, but by their own. */
static void test_short_messages_pass_bulk(void **state)
{
    (void)state;
    struct lab *l = lab_new(12);
    struct talker *a = lab_talker(l, &(struct net_params){.up_per_s = 100000, .delay_us = 5 * MS});
    struct talker *b = lab_talker(l, &(struct net_params){.delay_us = 5 * MS});
    a->flood_len = 10000000;
    net_connect(a->node, 1, net_addr(b->node));
    lab_run(l, 500 * MS);
    a->flood_len = 0;
    net_connect(a->node, 2, net_addr(b->node));
    lab_run(l, 1000 * MS);
    net_send(a->node, 2, BYTES_LIT("short"));
    lab_run(l, 5000 * MS);
    assert_int_equal(b->conns[33].first_at_us, 1010 * MS);
    lab_free(l);
}

static void run_mix(uint64_t rng_seed, uint8_t out[SHA256_LEN])
{
    struct lab *l = lab_new(rng_seed);
    struct talker *t[6];
    for (uint32_t i = 0; i < 6; i++) {
        struct net_params p = {.up_per_s = 200000 + 100000 * i,
                               .down_per_s = 500000,
                               .delay_us = (5 + i) * MS,
                               .jitter_us = 3 * MS,
                               .loss_ppm = 1000,
                               .split_ppm = 100000};
        t[i] = lab_talker(l, &p);
        t[i]->flood_len = 300000;
    }
    for (uint32_t i = 0; i < 6; i++)
        for (uint32_t k = 0; k < 6; k++)
            if (i != k)
                net_connect(t[i]->node, 1 + k, net_addr(t[k]->node));
    lab_run(l, 700 * MS);
    net_crash(t[3]->node, false);
    lab_run(l, 60000 * MS);
    world_trace_hash(&l->w, out);
    assert_true(l->w.n_traced > 500);
    lab_free(l);
}

static void test_one_seed_one_trace(void **state)
{
    (void)state;
    uint8_t a[SHA256_LEN], b[SHA256_LEN], c[SHA256_LEN];
    run_mix(4711, a);
    run_mix(4711, b);
    run_mix(4712, c);
    assert_memory_equal(a, b, SHA256_LEN);
    assert_memory_not_equal(a, c, SHA256_LEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_takes_a_round_trip),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_one_flow_fills_the_slower_link),
        cmocka_unit_test(test_flows_share_an_up_link),
        cmocka_unit_test(test_flows_share_a_down_link),
        cmocka_unit_test(test_window_bounds_a_long_path),
        cmocka_unit_test(test_loss_costs_rate_not_bytes),
        cmocka_unit_test(test_slow_reader_stalls_the_sender),
        cmocka_unit_test(test_close_flushes),
        cmocka_unit_test(test_crash_resets_or_is_silent),
        cmocka_unit_test(test_partition_heals),
        cmocka_unit_test(test_datagrams),
        cmocka_unit_test(test_short_messages_pass_bulk),
        cmocka_unit_test(test_one_seed_one_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
