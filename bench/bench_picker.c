/* bench_picker: a swarm of 1,000 peers and 100,000 pieces (100 GB in pieces of 1 MiB), and what each
 * thing that happens in it costs: time and allocations per operation. The input is fixed, so that
 * instruction counts can be compared:
 *
 *     valgrind --tool=callgrind --toggle-collect='picker_pick' bench_picker 2000
 *
 * The argument is the number of pieces.
 */
#include "torrent/picker.h"
#include <time.h>

#define N_PEERS          1000u
#define BLOCKS_PER_PIECE 64u
#define QUEUE            256u

struct bench {
    struct mem mem;
    struct rng rng;
    struct picker p;
    uint32_t n_pieces;
    struct picker_peer peers[N_PEERS];
    struct bitset have[N_PEERS];
    double began_s;
    uint64_t n_allocs;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void begin(struct bench *b)
{
    b->n_allocs = b->mem.n_allocs;
    b->began_s = now_s();
}

static void end(struct bench *b, const char *what, uint64_t n)
{
    double s = now_s() - b->began_s;
    printf("%-46s %9llu ops %10.1f ns/op %8.3f allocations/op\n", what, (unsigned long long)n,
           n ? s * 1e9 / (double)n : 0.0,
           n ? (double)(b->mem.n_allocs - b->n_allocs) / (double)n : 0.0);
}

static uint32_t data_len(const void *ctx, uint32_t piece)
{
    (void)ctx, (void)piece;
    return BLOCKS_PER_PIECE * PICKER_BLOCK_LEN;
}

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void init(struct bench *b, uint32_t n_pieces)
{
    memset(b, 0, sizeof *b);
    b->n_pieces = n_pieces;
    mem_init(&b->mem, MEM_NO_BUDGET, NULL);
    rng_init(&b->rng, 1);
    struct picker_config config = {.n_pieces = n_pieces,
                                   .piece_len = BLOCKS_PER_PIECE * PICKER_BLOCK_LEN,
                                   .data_len = data_len};
    must(picker_init(&b->p, &b->mem, &b->rng, &config) == ERR_OK);
}

/* Bitfields from nearly empty to nearly full; one peer in fifty is a seed. */
static void fill_bitfields(struct bench *b)
{
    for (uint32_t i = 0; i < N_PEERS; i++) {
        must(bitset_init(&b->have[i], &b->mem, b->n_pieces) == ERR_OK);
        uint32_t share = 5 + i * 90 / N_PEERS;
        for (uint32_t k = 0; k < b->n_pieces; k++)
            if (rng_below(&b->rng, 100) < share)
                bitset_set(&b->have[i], k);
        bool is_seed = i % 50 == 49;
        picker_peer_init(&b->peers[i], NULL, &b->have[i], is_seed);
        b->peers[i].sender = i + 1;
        b->peers[i].speed = (uint8_t)(i % 3);
    }
}

static void bench_join(struct bench *b)
{
    struct wire_block out;
    begin(b);
    for (uint32_t i = 0; i < N_PEERS; i++)
        picker_add_peer(&b->p, &b->peers[i]);
    end(b, "a peer joins with its bitfield", N_PEERS);
    begin(b);
    must(picker_pick(&b->p, 0, &b->peers[49], 1, &out) == 1);
    end(b, "the order is sorted anew (first pick)", 1);
    picker_drop_requests(&b->p, &b->peers[49]);
}

static void bench_have(struct bench *b)
{
    uint64_t n = 0;
    begin(b);
    for (uint32_t k = 0; k < 2000000; k++) {
        uint32_t piece = rng_below(&b->rng, b->n_pieces);
        n += picker_on_have(&b->p, &b->peers[k % N_PEERS], piece);
    }
    end(b, "HAVE (of 2,000,000, some known)", 2000000);
    (void)n;
}

/* What all peers together send until `n` blocks are here; pieces pass as they are full. */
static void bench_download(struct bench *b, const char *name, enum picker_speed speed, uint64_t n)
{
    struct wire_block out[QUEUE];
    uint64_t n_blocks = 0, n_good = 0, now_us = 0;
    for (uint32_t i = 0; i < N_PEERS; i++)
        b->peers[i].speed = (uint8_t)speed;
    begin(b);
    for (uint32_t i = 0; n_blocks < n; i = (i + 1) % N_PEERS, now_us += 10) {
        struct picker_peer *peer = &b->peers[i];
        uint32_t n_free = QUEUE - (peer->n_requests < QUEUE ? peer->n_requests : QUEUE);
        picker_pick(&b->p, now_us, peer, n_free < 16 ? n_free : 16, out);
        for (uint32_t k = 0; k < 12 && peer->first_request != PICKER_NONE; k++, n_blocks++) {
            uint32_t cursor = peer->first_request;
            uint64_t sent_at_us;
            bool is_late;
            struct picker_arrival got;
            must(picker_next_request(&b->p, &cursor, &out[0], &sent_at_us, &is_late));
            must(picker_on_block(&b->p, peer, &out[0], &got) == PICKER_BLOCK_NEW);
            struct picker_peer *cancelled;
            struct wire_block ref;
            if (!got.is_piece_full)
                continue;
            while (picker_on_piece_good(&b->p, out[0].piece, &cancelled, &ref))
                ;
            n_good++;
        }
    }
    end(b, name, n_blocks);
    printf("%-46s %9llu pieces, %u partial\n", "", (unsigned long long)n_good, b->p.n_partials);
}

/* A peer with little, all of it common: behind more rare pieces than are looked at. */
static void bench_poor_peer(struct bench *b)
{
    struct picker_peer *poor = &b->peers[0];
    struct wire_block out;
    uint64_t n = 0;
    begin(b);
    for (uint32_t i = 0; i < 20000; i++) {
        if (picker_pick(&b->p, 0, poor, 1, &out) == 0)
            continue;
        n++;
        picker_drop_requests(&b->p, poor);
    }
    end(b, "pick for a peer with 5 % of the pieces", n);
}

static void bench_leave(struct bench *b)
{
    begin(b);
    for (uint32_t i = 0; i < N_PEERS; i++)
        picker_remove_peer(&b->p, &b->peers[i]);
    end(b, "a peer leaves, with its requests", N_PEERS);
}

int main(int argc, char **argv)
{
    static struct bench b;
    uint32_t n_pieces = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100000;
    init(&b, n_pieces);
    printf("%u peers, %u pieces of %u blocks; picker alone: %zu bytes\n", N_PEERS, n_pieces,
           BLOCKS_PER_PIECE, b.mem.used_len);
    fill_bitfields(&b);
    bench_join(&b);
    bench_have(&b);
    bench_poor_peer(&b);
    uint64_t n = (uint64_t)n_pieces * BLOCKS_PER_PIECE / 4;
    bench_download(&b, "a block picked and received, fast peers", PICKER_FAST, n);
    bench_download(&b, "a block picked and received, slow peers", PICKER_SLOW, n);
    bench_leave(&b);
    printf("rebuilds %llu, scanned %llu, sampled %llu, duplicates %llu, peak %zu bytes\n",
           (unsigned long long)b.p.counters.n_rebuilds, (unsigned long long)b.p.counters.n_scanned,
           (unsigned long long)b.p.counters.n_sampled,
           (unsigned long long)b.p.counters.n_duplicate_requests, b.mem.peak_len);
    for (uint32_t i = 0; i < N_PEERS; i++)
        bitset_clear(&b.have[i]);
    picker_clear(&b.p);
    mem_check_empty(&b.mem);
    return 0;
}
