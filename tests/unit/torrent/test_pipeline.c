#include "test_util.h"

#include "torrent/picker.h"
#include "torrent/pipeline.h"

#define BLOCK  PICKER_BLOCK_LEN
#define SECOND 1000000u

/* A peer behind a link: serves in order at a rate, each way takes half the round trip, and our host
 * looks only every batch_us. */
struct link {
    uint64_t rate_per_s, rtt_us, batch_us;
    uint64_t free_at_us;                     /* when its sender is free */
    uint64_t sent_at_us[8192], due_us[8192]; /* ring of what is under way */
    uint32_t head, n;
    uint64_t now_us, received_len;
    struct pipeline p;
};

static void link_init(struct link *l, uint64_t rate_per_s, uint64_t rtt_us, uint64_t batch_us)
{
    *l = (struct link){.rate_per_s = rate_per_s, .rtt_us = rtt_us, .batch_us = batch_us};
    l->now_us = 5 * SECOND;
    pipeline_init(&l->p);
    pipeline_set_reqq(&l->p, 2000);
}

static void link_run(struct link *l, uint64_t seconds)
{
    l->received_len = 0;
    for (uint64_t end_us = l->now_us + seconds * SECOND; l->now_us < end_us;
         l->now_us += l->batch_us) {
        while (l->n > 0 && l->due_us[l->head] <= l->now_us) {
            pipeline_on_block(&l->p, l->now_us, l->sent_at_us[l->head], BLOCK);
            l->head = (l->head + 1) % 8192;
            l->n--;
            l->received_len += BLOCK;
        }
        while (l->n < pipeline_target(&l->p, 0)) {
            pipeline_on_request(&l->p, l->now_us, BLOCK);
            uint64_t at_us = l->now_us + l->rtt_us / 2;
            uint64_t begin_us = at_us > l->free_at_us ? at_us : l->free_at_us;
            l->free_at_us = begin_us + (uint64_t)BLOCK * SECOND / l->rate_per_s;
            uint32_t slot = (l->head + l->n++) % 8192;
            l->sent_at_us[slot] = l->now_us;
            l->due_us[slot] = l->free_at_us + l->rtt_us / 2;
        }
        pipeline_on_tick(&l->p, l->now_us);
    }
}

static void test_fills_the_link(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t rate, rtt_us, batch_us;
        uint32_t warm_s, most_queue_ms; /* of data under way, beyond 2 blocks and twice the trip */
    } links[] = {
        {"1 GB/s, 0.1 ms", 1000000000, 100, 1000, 1, 40},
        {"100 MB/s, 1 ms", 100000000, 1000, 500, 2, 330},
        {"10 MB/s, 50 ms", 10000000, 50000, 1000, 3, 330},
        {"5 MB/s, 300 ms", 5000000, 300000, 1000, 8, 400},
        {"1 MB/s, 100 ms", 1000000, 100000, 1000, 5, 400},
        {"50 KB/s, 100 ms", 50000, 100000, 1000, 10, 700},
        {"5 KB/s, 50 ms", 5000, 50000, 10000, 30, 3500},
    };
    static struct link l;
    for (size_t i = 0; i < COUNT_OF(links); i++) {
        link_init(&l, links[i].rate, links[i].rtt_us, links[i].batch_us);
        link_run(&l, links[i].warm_s);
        link_run(&l, 20);
        uint64_t rate = l.received_len / 20, n = pipeline_target(&l.p, 0);
        uint64_t queue_ms = (n > 2 ? n - 2 : 0) * BLOCK * 1000 / links[i].rate;
        if (rate < links[i].rate / 10 * 9 ||
            queue_ms > links[i].most_queue_ms + 2 * links[i].rtt_us / 1000)
            fail_msg("%s: %lu per second, %lu blocks, %lu ms", links[i].name, (unsigned long)rate,
                     (unsigned long)n, (unsigned long)queue_ms);
        assert_false(l.p.is_snubbed);
        assert_true(pipeline_timeout_us(&l.p) > 2 * links[i].rtt_us);
        assert_true(pipeline_patience_us(&l.p) <= PIPELINE_PATIENCE_US_MAX);
        assert_true(pipeline_patience_us(&l.p) > links[i].rtt_us);
        assert_in_range(pipeline_pace_us(&l.p), links[i].rtt_us, pipeline_patience_us(&l.p));
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct pipeline fresh;
    pipeline_init(&fresh);
    assert_int_equal(pipeline_patience_us(&fresh), 0);
    assert_int_equal(pipeline_pace_us(&fresh), 0);
    static struct link l;
    link_init(&l, 1000000000, 100, 1000);
    link_run(&l, 2);
    assert_int_equal(pipeline_target(&l.p, 0), 2000);
    pipeline_set_reqq(&l.p, 64);
    assert_int_equal(pipeline_target(&l.p, 0), 64);
    assert_int_equal(pipeline_target(&l.p, 10 * BLOCK), 10);
    assert_int_equal(pipeline_target(&l.p, 1), 2);
    pipeline_set_reqq(&l.p, 0);
    assert_int_equal(pipeline_target(&l.p, 0), 1);
    pipeline_set_reqq(&l.p, UINT32_MAX);
    l.p.target = UINT32_MAX;
    assert_int_equal(pipeline_target(&l.p, 0), PIPELINE_N_MAX);
}

static void test_follows_a_change_of_rate(void **state)
{
    (void)state;
    static struct link l;
    link_init(&l, 1000000, 100000, 1000);
    link_run(&l, 10);
    l.rate_per_s = 20000000;
    link_run(&l, 5);
    link_run(&l, 5);
    assert_true(l.received_len / 5 > 17000000);
    l.rate_per_s = 500000;
    l.free_at_us = l.now_us;
    link_run(&l, 30);
    assert_true(pipeline_target(&l.p, 0) <= 20);
}

static void test_snubbing(void **state)
{
    (void)state;
    struct pipeline p;
    pipeline_init(&p);
    assert_false(pipeline_on_tick(&p, 1000 * (uint64_t)SECOND)); /* nothing asked: no snub */
    pipeline_on_request(&p, 1000 * (uint64_t)SECOND, BLOCK);
    assert_false(pipeline_on_tick(&p, 1059 * (uint64_t)SECOND));
    assert_true(pipeline_on_tick(&p, 1060 * (uint64_t)SECOND));
    assert_false(pipeline_on_tick(&p, 1061 * (uint64_t)SECOND)); /* said once */
    assert_int_equal(pipeline_target(&p, 0), 1);
    pipeline_on_block(&p, 1070 * (uint64_t)SECOND, 1000 * (uint64_t)SECOND, BLOCK);
    assert_false(p.is_snubbed);
    assert_true(pipeline_target(&p, 0) >= 2);

    static struct link l; /* one known to be quick is missed sooner */
    link_init(&l, 10000000, 10000, 1000);
    link_run(&l, 5);
    assert_int_equal(pipeline_snub_us(&l.p), PIPELINE_SNUB_US_MIN);
    uint64_t silent_us = l.now_us + PIPELINE_SNUB_US_MIN;
    assert_true(pipeline_on_tick(&l.p, silent_us));
    link_init(&l, 2000, 10000, 1000); /* and a slow one not for being slow: 8 s a block */
    link_run(&l, 60);
    assert_false(l.p.is_snubbed);
    assert_int_equal(pipeline_snub_us(&l.p), PIPELINE_SNUB_US_MAX);
}

static void test_idle_time_does_not_count(void **state)
{
    (void)state;
    static struct link l;
    link_init(&l, 10000000, 10000, 1000);
    link_run(&l, 5);
    uint64_t rate = pipeline_rate_per_s(&l.p);
    pipeline_on_dropped(&l.p, l.now_us, UINT64_MAX); /* choked */
    l.now_us += 600 * (uint64_t)SECOND;
    l.n = 0;
    pipeline_restart(&l.p);
    assert_true(pipeline_target(&l.p, 0) > 100); /* what is known is used */
    link_run(&l, 1);
    assert_true(pipeline_rate_per_s(&l.p) > rate / 2);
}

static void test_speeds(void **state)
{
    (void)state;
    struct pipeline p;
    pipeline_init(&p);
    assert_int_equal(pipeline_speed(&p, 1 << 20), PICKER_SLOW);
    p.rate_per_s = 1 << 20;
    assert_int_equal(pipeline_speed(&p, 1 << 20), PICKER_FAST);
    assert_int_equal(pipeline_speed(&p, 64 << 20), PICKER_MEDIUM);
    p.rate_per_s = 1 << 12;
    assert_int_equal(pipeline_speed(&p, 1 << 20), PICKER_SLOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fills_the_link),           cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_follows_a_change_of_rate), cmocka_unit_test(test_snubbing),
        cmocka_unit_test(test_idle_time_does_not_count), cmocka_unit_test(test_speeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
