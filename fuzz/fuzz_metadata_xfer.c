/* A swarm that sends the metadata, lies, rejects, leaves and is silent, as the input says; then the
 * honest peer stays and the metadata must come. No honest peer is ever blamed. Input: the length,
 * then one byte and one argument per step. */
#include "base/size.h"
#include "torrent/metadata_xfer.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define INFO_LEN_MAX (6u * METADATA_PIECE_LEN)
#define N_CONNS      16u /* odd ones lie */

static uint8_t truth[INFO_LEN_MAX], lies[INFO_LEN_MAX];

struct world {
    struct metadata_fetch *fetch;
    struct mem mem;
    uint64_t now_us, info_len;
    uint32_t conn, piece; /* of the last request */
    bool was_blamed[N_CONNS + 1];
};

static const uint8_t *copy_of(uint32_t conn)
{
    return conn % 2 ? lies : truth;
}

static void answer(struct world *w, uint32_t conn, uint32_t piece, uint64_t total_size)
{
    struct bytes copy = bytes_of(copy_of(conn), w->info_len);
    struct ut_metadata_msg msg = {UT_METADATA_DATA, piece, total_size,
                                  metadata_serve_data(copy, piece)};
    enum metadata_verdict v = metadata_fetch_on_data(w->fetch, w->now_us, conn, &msg);
    assert(v != METADATA_NO_MEMORY);
}

static void take_blamed(struct world *w)
{
    uint32_t conn;
    struct addr addr;
    while (metadata_fetch_next_blamed(w->fetch, &conn, &addr)) {
        assert(addr.ip[3] % 2 == 1); /* a liar */
        w->was_blamed[addr.ip[3]] = true;
        assert(conn == 0 || conn == addr.ip[3]);
    }
}

static void add(struct world *w, uint32_t conn, uint64_t size)
{
    struct addr addr = addr_v4(10, 0, 0, (uint8_t)conn, 1);
    (void)!metadata_fetch_add_peer(w->fetch, w->now_us, conn, &addr, size);
}

static void step(struct world *w, uint8_t op, uint8_t arg)
{
    uint32_t conn = 1 + arg % N_CONNS, piece = arg / N_CONNS;
    bool is_liar = conn % 2;
    switch (op % 8) {
    case 0:
        add(w, conn, w->info_len);
        break;
    case 1:
        if (is_liar)
            add(w, conn, 1 + (uint64_t)arg * 700);
        break;
    case 2:
        metadata_fetch_remove_peer(w->fetch, conn);
        break;
    case 3:
        w->now_us += (uint64_t)arg * US_PER_S / 4;
        metadata_fetch_on_tick(w->fetch, w->now_us);
        break;
    case 4:
        (void)!metadata_fetch_next(w->fetch, w->now_us, &w->conn, &w->piece);
        break;
    case 5:
        if (w->conn)
            answer(w, w->conn, w->piece, w->info_len);
        break;
    case 6:
        metadata_fetch_on_reject(w->fetch, w->now_us, conn, piece);
        break;
    default:
        if (is_liar)
            answer(w, conn, piece, (uint64_t)arg * 1000);
        break;
    }
}

/* Everyone left answers at once; peer 2 is honest and stays. */
static void finish(struct world *w)
{
    uint32_t conn, piece;
    add(w, 2, w->info_len);
    for (unsigned n = 0; n < 20000 && !metadata_fetch_is_done(w->fetch); n++) {
        if (metadata_fetch_next(w->fetch, w->now_us, &conn, &piece)) {
            answer(w, conn, piece, w->info_len);
            take_blamed(w);
            continue;
        }
        uint64_t at = metadata_fetch_deadline_us(w->fetch);
        assert(at != DEADLINE_NEVER && at > w->now_us);
        w->now_us = at;
    }
    assert(metadata_fetch_is_done(w->fetch));
    assert(bytes_equal(metadata_fetch_info(w->fetch), bytes_of(truth, w->info_len)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct world w = {0};
    struct metadata_want want = {.has_v1 = true};
    if (len < 3 || len > 1000)
        return 0;
    w.info_len = 1 + (data[0] | (uint64_t)data[1] << 8) % INFO_LEN_MAX;
    for (size_t i = 0; i < w.info_len; i++) {
        truth[i] = (uint8_t)(i * 31 + i / 251);
        lies[i] = (uint8_t)~truth[i];
    }
    sha1(bytes_of(truth, w.info_len), want.v1);
    mem_init(&w.mem, MEM_NO_BUDGET, NULL);
    if (metadata_fetch_new(&w.fetch, &w.mem, &want))
        return 0;
    for (size_t i = 2; i + 1 < len; i += 2) {
        step(&w, data[i], data[i + 1]);
        take_blamed(&w);
        metadata_fetch_check(w.fetch);
    }
    finish(&w);
    take_blamed(&w);
    metadata_fetch_check(w.fetch);
    metadata_fetch_free(w.fetch);
    assert(w.mem.used_len == 0);
    return 0;
}
