/* The tracker's core on one core, without sockets: announces per CPU second over UDP and HTTP, and what
 * the memory of the swarms costs. Peers and order are drawn from a fixed seed.
 */
#include "base/rng.h"
#include "bench_clock.h"
#include "torrent/tracker_server.h"

#define N_ANNOUNCES 2000000u
#define BATCH       4096u /* packets made before the clock starts */

static struct rng rng;
static uint8_t packets[BATCH][98];
static char queries[BATCH][256];
static struct addr from[BATCH];

/* Of this thread: other programs on the machine do not count. */
static double cpu_s(void)
{
    return clock_s(CLOCK_THREAD_CPUTIME_ID);
}

/* Peer p of swarm s; every peer has an address of its own. */
static struct addr peer_addr(uint32_t s, uint32_t p)
{
    uint32_t ip = s * 2654435761u + p * 40503u;
    return addr_v4((uint8_t)(11 + (ip >> 24) % 100), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8),
                   (uint8_t)ip, (uint16_t)(1024 + p % 60000));
}

static void infohash(uint32_t s, uint8_t out[SHA1_LEN])
{
    uint64_t a = s * 0x9e3779b97f4a7c15u, b = ~a;
    memcpy(out, &a, 8);
    memcpy(out + 8, &b, 8);
    memcpy(out + 16, &s, 4);
}

static void make_packet(struct tracker_server *t, uint64_t now_us, unsigned i, uint32_t s,
                        uint32_t p, uint32_t numwant)
{
    static const uint8_t connect[16] = {0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80};
    uint8_t reply[TRACKER_SERVER_UDP_CAP], hash[SHA1_LEN];
    struct writer w = writer_init(packets[i], sizeof packets[i]);
    from[i] = peer_addr(s, p);
    infohash(s, hash);
    tracker_server_udp(t, now_us, &from[i], bytes_of(connect, 16), reply);
    writer_put(&w, bytes_of(reply + 8, 8));
    writer_u32be(&w, 1);
    writer_u32be(&w, i);
    writer_put(&w, bytes_of(hash, SHA1_LEN));
    writer_fill(&w, 'p', 20);
    writer_u64be(&w, 0);
    writer_u64be(&w, p % 3);
    writer_u64be(&w, 0);
    writer_u32be(&w, 0);
    writer_u64be(&w, 0);
    writer_u32be(&w, numwant);
    writer_u16be(&w, from[i].port);
}

static void make_query(unsigned i, uint32_t s, uint32_t p, uint32_t numwant)
{
    struct writer w = writer_init(queries[i], sizeof queries[i]);
    uint8_t hash[SHA1_LEN];
    from[i] = peer_addr(s, p);
    infohash(s, hash);
    writer_str(&w, "info_hash=");
    for (unsigned k = 0; k < SHA1_LEN; k++)
        writer_printf(&w, "%%%02X", hash[k]);
    writer_printf(&w,
                  "&peer_id=-SH0100-000000000000&port=%u&uploaded=0&downloaded=0&left=%u"
                  "&key=00000000&numwant=%u&compact=1",
                  from[i].port, p % 3, numwant);
    writer_u8(&w, 0);
}

/* Announces to random swarms of the filled table. Returns how many a second. */
static double announces_per_s(struct tracker_server *t, uint64_t now_us, uint32_t n_swarms,
                              uint32_t n_per_swarm, uint32_t numwant, bool is_http)
{
    static uint8_t reply[TRACKER_SERVER_HTTP_CAP];
    double spent_s = 0;
    for (unsigned n = 0; n < N_ANNOUNCES; n += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint32_t s = rng_below(&rng, n_swarms), p = rng_below(&rng, n_per_swarm);
            if (is_http)
                make_query(i, s, p, numwant);
            else
                make_packet(t, now_us, i, s, p, numwant);
        }
        double began_s = cpu_s();
        for (unsigned i = 0; i < BATCH; i++) {
            if (is_http) {
                struct writer w = writer_init(reply, sizeof reply);
                tracker_server_http(t, now_us, BYTES_LIT("/announce"), bytes_of_str(queries[i]),
                                    &from[i], &w);
            } else {
                tracker_server_udp(t, now_us, &from[i], bytes_of(packets[i], sizeof packets[i]),
                                   reply);
            }
        }
        spent_s += cpu_s() - began_s;
    }
    return N_ANNOUNCES / spent_s;
}

static void run(uint32_t n_swarms, uint32_t n_per_swarm)
{
    struct mem mem;
    struct tracker_server *t;
    struct tracker_server_stats stats;
    struct tracker_server_config config = {
        .n_peers_max = 1u << 24, .n_swarms_max = 1u << 20, .secret = {1}};
    uint64_t now_us = 1000u * US_PER_S;
    uint8_t reply[TRACKER_SERVER_UDP_CAP];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    if (tracker_server_new(&t, &mem, &config, now_us, 1))
        abort();
    double began_s = cpu_s();
    for (uint32_t p = 0; p < n_per_swarm; p++) {
        for (uint32_t s = 0; s < n_swarms; s++) {
            make_packet(t, now_us, 0, s, p, 0);
            tracker_server_udp(t, now_us, &from[0], bytes_of(packets[0], 98), reply);
        }
    }
    double filled_s = cpu_s() - began_s;
    tracker_server_stats(t, &stats);
    printf("%u peers in %u swarms: %.1f MB, %.1f bytes a peer; filled in %.2f s\n",
           stats.n_peers_v4, stats.n_swarms, (double)stats.memory_len / 1e6,
           (double)stats.memory_len / stats.n_peers_v4, filled_s);
    uint64_t n_allocs = mem.n_allocs;
    printf("  UDP, 50 peers wanted   %10.0f announces/s\n",
           announces_per_s(t, now_us, n_swarms, n_per_swarm, 50, false));
    printf("  UDP, none wanted       %10.0f announces/s\n",
           announces_per_s(t, now_us, n_swarms, n_per_swarm, 0, false));
    printf("  HTTP, 50 peers wanted  %10.0f announces/s\n",
           announces_per_s(t, now_us, n_swarms, n_per_swarm, 50, true));
    printf("  allocations meanwhile  %10llu\n", (unsigned long long)(mem.n_allocs - n_allocs));
    tracker_server_free(t);
}

int main(void)
{
    rng_init(&rng, 1);
    run(100000, 10);
    run(100, 10000);
    run(1, 1000000);
    return 0;
}
