/* A whole engine that listens to one peer: bytes in, time, answers; its invariants after each step.
 *
 * Input: a byte of flags, then records: a control byte, and as many bytes as it says.
 *   flags  0-1: seed, leech, magnet, paused leech; 2-3: v1, v2, hybrid; 4: the input begins with a
 *          good handshake that is not in it; 5: with fast, extension and v2 bits; 6: and have all
 *   0..199 so many bytes arrive, read as they lie;  200..249: 1..50 bytes that come one by one
 *   250..254 time passes; 255: the peer hangs up and dials again
 * libFuzzer: with -entropic=0 it spends its time here instead of on its own tables.
 */
#include "../tests/unit/torrent/swarm.h"
#include "torrent/metainfo.h"
#include "torrent/peer_wire.h"
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct fuzz {
    struct swarm sw;
    struct mem_node *n;
    struct addr from;
    uint32_t raw;
    uint8_t flags;
};

static void fuzz_dial(struct fuzz *f)
{
    struct mem_world *w = f->sw.world;
    uint8_t buf[HANDSHAKE_LEN + PEER_MSG_LEN_MAX];
    struct writer out = writer_init(buf, sizeof(buf));
    struct handshake h = {0};
    f->from.port++;
    f->raw = mem_raw_dial(w, f->n, &f->from);
    if (f->raw == UINT32_MAX || !(f->flags & 0x10))
        return;
    if (f->flags & 0x20)
        handshake_set_features(&h, WIRE_FAST | WIRE_EXTENSION | WIRE_V2);
    memcpy(h.infohash, metainfo_key(f->sw.content->info), 20);
    memcpy(h.peer_id, "-FZ0001-aaaaaaaaaaaa", 20);
    handshake_write(&out, &h);
    if ((f->flags & 0x60) == 0x60)
        peer_msg_write_plain(&out, MSG_HAVE_ALL);
    mem_raw_send(w, f->raw, writer_bytes(&out));
    mem_world_run_for(w, 100);
}

static void fuzz_init(struct fuzz *f, uint8_t flags)
{
    static const enum content_version versions[] = {CONTENT_V1, CONTENT_V2, CONTENT_HYBRID,
                                                    CONTENT_HYBRID};
    f->flags = flags;
    f->sw = swarm_new(&(struct swarm_params){
        .seed = 1, .version = versions[flags >> 2 & 3], .len = 100000, .piece_len = 32768});
    f->n = swarm_node(&f->sw);
    f->from = addr_v4(10, 1, 1, 1, 1000);
    if ((flags & 3) == 0)
        swarm_seed(&f->sw, f->n);
    else if ((flags & 3) == 2)
        swarm_magnet(&f->sw, f->n);
    else
        swarm_leech(&f->sw, f->n);
    mem_world_run_for(f->sw.world, 100);
    if ((flags & 3) == 3)
        session_pause(f->n->session, f->sw.world->now_us, f->sw.torrents[0]);
    fuzz_dial(f);
}

static void fuzz_say(struct fuzz *f, struct bytes b)
{
    if (f->raw == UINT32_MAX || mem_raw_is_closed(f->sw.world, f->raw))
        return;
    mem_raw_send(f->sw.world, f->raw, b);
    mem_world_run_for(f->sw.world, 100);
}

static void fuzz_redial(struct fuzz *f)
{
    if (f->raw != UINT32_MAX)
        mem_raw_close(f->sw.world, f->raw);
    mem_world_run_for(f->sw.world, 1000);
    fuzz_dial(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz f = {0};
    struct reader r = reader_init(bytes_of(data, len));
    fuzz_init(&f, reader_u8(&r));
    for (unsigned n = 0; reader_left(&r) && n < 200; n++) {
        uint8_t c = reader_u8(&r);
        if (c < 200) {
            fuzz_say(&f, reader_take(&r, c < reader_left(&r) ? c : reader_left(&r)));
        } else if (c < 250) {
            for (unsigned i = 200; i <= c && reader_left(&r); i++)
                fuzz_say(&f, reader_take(&r, 1));
        } else if (c < 255) {
            static const uint64_t us[] = {1000, 100000, 2000000, 30000000, 160000000};
            mem_world_run_for(f.sw.world, us[c - 250]);
        } else {
            fuzz_redial(&f);
        }
    }
    mem_world_run_for(f.sw.world, 1000000);
    swarm_free(&f.sw);
    return 0;
}
