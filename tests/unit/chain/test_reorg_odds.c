#include "../../test_util.h"
#include "chain/reorg_odds.h"
#include <math.h>

static void assert_near(double got, double want, double relative)
{
    if (fabs(got - want) > relative * want)
        fail_msg("%.17g is not %.17g", got, want);
}

/* "Bitcoin: A Peer-to-Peer Electronic Cash System", section 11: seven digits. */
static const struct {
    double share;
    uint32_t depth;
    double odds;
} nakamoto[] = {
    {0.1, 0, 1.0000000},  {0.1, 1, 0.2045873},  {0.1, 2, 0.0509779},  {0.1, 3, 0.0131722},
    {0.1, 4, 0.0034552},  {0.1, 5, 0.0009137},  {0.1, 6, 0.0002428},  {0.1, 7, 0.0000647},
    {0.1, 8, 0.0000173},  {0.1, 9, 0.0000046},  {0.1, 10, 0.0000012}, {0.3, 0, 1.0000000},
    {0.3, 5, 0.1773523},  {0.3, 10, 0.0416605}, {0.3, 15, 0.0101008}, {0.3, 20, 0.0024804},
    {0.3, 25, 0.0006132}, {0.3, 30, 0.0001522}, {0.3, 35, 0.0000379}, {0.3, 40, 0.0000095},
    {0.3, 45, 0.0000024}, {0.3, 50, 0.0000006},
};

/* The same section: the least depth at which the odds are below 0.1 %. */
static const struct {
    double share;
    uint32_t depth;
} below_a_thousandth[] = {{0.10, 5},  {0.15, 8},  {0.20, 11}, {0.25, 15},
                          {0.30, 24}, {0.35, 41}, {0.40, 89}, {0.45, 340}};

static void test_nakamoto(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(nakamoto); i++) {
        double got = reorg_odds_nakamoto(nakamoto[i].depth, nakamoto[i].share);
        assert_true(fabs(got - nakamoto[i].odds) <= 0.5e-7);
    }
    for (size_t i = 0; i < COUNT_OF(below_a_thousandth); i++) {
        uint32_t depth = below_a_thousandth[i].depth;
        assert_true(reorg_odds_nakamoto(depth, below_a_thousandth[i].share) < 0.001);
        assert_true(reorg_odds_nakamoto(depth - 1, below_a_thousandth[i].share) >= 0.001);
    }
}

/* The finite sum of "Double spend races", section 3, and Nakamoto's, with digits enough that nothing
 * is lost (python3, mpmath). The paper prints 0.2, 0.056, 0.01712, 0.005456 ... for 0.1. */
static const struct {
    double share;
    uint32_t depth;
    double odds, nakamoto;
} exact[] = {
    {0.1, 1, 2.0e-1, 2.0458727394278242e-1},
    {0.1, 2, 5.6e-2, 5.0977892839338618e-2},
    {0.1, 3, 1.712e-2, 1.317224167889656e-2},
    {0.1, 4, 5.456e-3, 3.4552434664852624e-3},
    {0.1, 5, 1.78184e-3, 9.1368218792777414e-4},
    {0.1, 6, 5.9141216e-4, 2.4280274536288617e-4},
    {0.1, 7, 1.985709728e-4, 6.473531692711659e-5},
    {0.1, 8, 6.7249775936e-5, 1.7299804187183618e-5},
    {0.1, 9, 2.29288719944e-5, 4.6311639725913046e-6},
    {0.1, 10, 7.859764654256e-6, 1.241402174803648e-6},
    {0.1, 100, 2.9980656478227922e-46, 8.038817148972576e-58},
    {0.1, 300, 3.1618325422393691e-135, 1.793159760260009e-171},
    {0.3, 1, 6.0e-1, 6.2774910998225395e-1},
    {0.3, 5, 1.9761732e-1, 1.7735231136094514e-1},
    {0.3, 6, 1.5644958192e-1, 1.3211116871353528e-1},
    {0.3, 10, 6.5106713762601912e-2, 4.1660479968979318e-2},
    {0.3, 20, 8.6738642695686212e-3, 2.4803981782361206e-3},
    {0.3, 50, 3.1095599522886625e-5, 5.9029538880344088e-7},
    {0.3, 100, 3.6822282231601139e-9, 5.8063553433987304e-13},
    {0.3, 1000, 8.4618500738156686e-78, 8.0479810129468711e-121},
    {0.45, 1, 9.0e-1, 9.1977578768000291e-1},
    {0.45, 6, 7.3375483834230469e-1, 7.6610545889154045e-1},
    {0.45, 100, 1.5677586542444097e-1, 1.0207879729086673e-1},
    {0.45, 340, 8.9678957966784648e-3, 9.9472141450565372e-4},
    {0.45, 1000, 7.366397738015122e-6, 3.6594222359427833e-9},
    {0.45, 3000, 8.1571865509055312e-15, 1.4709442397094865e-25},
    {0.49, 6, 9.4589545142994923e-1, 9.5939972308935762e-1},
    {0.49, 1000, 3.7110531886302332e-1, 3.3145232814868794e-1},
    {0.49, 5000, 4.5484064649149284e-2, 1.2121206538149986e-2},
    {0.01, 1, 2.0e-2, 2.0049659504318853e-2},
    {0.01, 6, 8.850868676696e-10, 2.4509078797493469e-10},
    {0.01, 100, 3.3813187278086619e-142, 1.4093831375890234e-157},
};

/* The closed form as the finite sum that it stands for, in plain doubles: good while it is not
 * small. */
static double finite_sum(uint32_t depth, double q)
{
    double p = 1 - q, sum = 0, choose = 1;
    for (uint32_t k = 0; k < depth; k++) {
        sum += choose * (pow(p, depth) * pow(q, k) - pow(q, depth) * pow(p, k));
        choose *= (double)(k + depth) / (k + 1);
    }
    return 1 - sum;
}

static void test_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(exact); i++) {
        assert_near(reorg_odds_exact(exact[i].depth, exact[i].share), exact[i].odds, 2e-11);
        if (exact[i].nakamoto > 0)
            assert_near(reorg_odds_nakamoto(exact[i].depth, exact[i].share), exact[i].nakamoto,
                        2e-11);
    }
    for (double q = 0.01; q < 0.5; q += 0.01) {
        for (uint32_t depth = 1; depth < 30; depth++) {
            double want = finite_sum(depth, q);
            assert_true(fabs(reorg_odds_exact(depth, q) - want) < 1e-12);
        }
    }
}

/* Deeper is safer, more share more dangerous, everything a probability. */
static void test_monotone(void **state)
{
    (void)state;
    static double (*const odds[])(uint32_t, double) = {reorg_odds_nakamoto, reorg_odds_exact};
    for (size_t f = 0; f < COUNT_OF(odds); f++) {
        for (double q = 0.005; q < 0.5; q += 0.015) {
            double before = 1;
            for (uint32_t depth = 1; depth < 5000; depth += 1 + depth / 3) {
                double v = odds[f](depth, q);
                assert_true(v >= 0 && v <= before && odds[f](depth, q + 0.001) >= v);
                before = v;
            }
        }
    }
}

static void test_ends(void **state)
{
    (void)state;
    static double (*const odds[])(uint32_t, double) = {reorg_odds_nakamoto, reorg_odds_exact};
    for (size_t f = 0; f < COUNT_OF(odds); f++) {
        assert_true(odds[f](0, 0.1) == 1);
        assert_true(odds[f](0, 0) == 1);
        assert_true(odds[f](6, 0.5) == 1);
        assert_true(odds[f](6, 1) == 1);
        assert_true(odds[f](6, 0) == 0);
        assert_true(odds[f](6, -1) == 0);
        assert_true(odds[f](6, (double)NAN) == 0);
        assert_true(odds[f](100000, 0.1) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nakamoto),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_monotone),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
