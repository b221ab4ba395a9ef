/* magnet: what is accepted is bounded, and reads the same when it is written again. */
#include "torrent/magnet.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct magnet *m)
{
    assert(m->has_v1 || m->has_v2);
    assert(m->n_trackers <= MAGNET_N_TRACKERS_MAX && m->n_webseeds <= MAGNET_N_WEBSEEDS_MAX);
    assert(m->n_peers <= MAGNET_N_PEERS_MAX && m->n_ranges <= MAGNET_N_RANGES_MAX);
    for (uint32_t i = 0; i < m->n_ranges; i++) {
        assert(m->ranges[i].first <= m->ranges[i].last);
        assert(i == 0 || m->ranges[i].first > m->ranges[i - 1].last + 1);
        assert(magnet_selects(m, m->ranges[i].first) && magnet_selects(m, m->ranges[i].last));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mem mem;
    struct magnet m, copy;
    struct err err = {0};
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    if (magnet_read(&m, bytes_of(data, len), &mem, &err) == ERR_OK) {
        check(&m);
        assert(magnet_copy(&copy, &m, &mem) == ERR_OK);
        check(&copy);
        assert(copy.n_trackers == m.n_trackers && copy.n_webseeds == m.n_webseeds);
        assert(copy.n_peers == m.n_peers && copy.n_ranges == m.n_ranges && copy.len == m.len);
        assert(!copy.name == !m.name && (!m.name || strcmp(copy.name, m.name) == 0));
        magnet_clear(&copy);
    }
    magnet_clear(&m);
    mem_check_empty(&mem);
    return 0;
}
