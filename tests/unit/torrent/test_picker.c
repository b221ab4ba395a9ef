#include "test_util.h"

#include "../../picker_model.h"

static void test_model(void **state)
{
    (void)state;
    uint64_t n_received = 0, n_good = 0;
    uint8_t data[1500];
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        rng_fill(&rng, data, sizeof data);
        model_run(data, sizeof data, &n_received, &n_good);
    }
    assert_true(n_received > 5000); /* the operations do reach deep states */
    assert_true(n_good > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
