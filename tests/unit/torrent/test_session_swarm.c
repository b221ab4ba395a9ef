/* Two and three engines in one process: whole downloads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include "swarm.h"
#include "torrent/metainfo.h"
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum content_version version;
    uint64_t len;
    uint32_t piece_len, n_files;
    size_t chunk_max;
} shapes[] = {
    {"one block", CONTENT_V1, 1000, 16384, 1, 0},
    {"v1", CONTENT_V1, 3000000, 65536, 1, 0},
    {"v1 files", CONTENT_V1, 1000000, 32768, 7, 0},
    {"v1 in small reads", CONTENT_V1, 300000, 32768, 3, 100},
    {"v1 long pieces", CONTENT_V1, 9000000, 4194304, 2, 50000},
    {"v2", CONTENT_V2, 3000000, 65536, 1, 0},
    {"v2 files", CONTENT_V2, 1000000, 32768, 7, 0},
    {"v2 blocks are pieces", CONTENT_V2, 200000, 16384, 3, 1000},
    {"hybrid", CONTENT_HYBRID, 3000000, 65536, 1, 0},
    {"hybrid files", CONTENT_HYBRID, 1000000, 32768, 7, 20000},
};

static void test_seed_to_leech(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct swarm sw = swarm_new(&(struct swarm_params){.seed = 1 + i,
                                                           .version = shapes[i].version,
                                                           .len = shapes[i].len,
                                                           .piece_len = shapes[i].piece_len,
                                                           .n_files = shapes[i].n_files,
                                                           .chunk_max = shapes[i].chunk_max});
        struct mem_node *seed = swarm_node(&sw), *leech = swarm_node(&sw);
        swarm_seed(&sw, seed);
        swarm_leech(&sw, leech);
        swarm_meet(&sw, leech, seed);
        if (!swarm_run_to_seeding(&sw, 120))
            fail_msg("%s did not finish", shapes[i].name);
        swarm_assert_disk(&sw, leech);
        struct torrent_stats st = swarm_stats(&sw, leech);
        assert_int_equal(st.have_len, shapes[i].len);
        assert_int_equal(st.down_total, shapes[i].len);
        assert_int_equal(st.wasted_len, 0);
        assert_int_equal(swarm_stats(&sw, seed).up_total, shapes[i].len);
        assert_int_equal(sw.n_bad_pieces, 0);
        swarm_stop(&sw, leech);
        swarm_stop(&sw, seed);
        swarm_free(&sw);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seed_to_leech),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
