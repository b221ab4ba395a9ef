/* The picker in a large swarm: 1,000 peers and 100,000 pieces of 16 blocks. CPU time per bitfield, per
 * HAVE, and per block picked and received over a whole download, end-game included; and its memory.
 * The swarm is drawn from a fixed seed.
 */
#include "bench_clock.h"
#include "torrent/picker.h"

#define N_PEERS   1000u
#define N_SEEDS   20u
#define N_PIECES  100000u
#define PIECE_LEN (16u * PICKER_BLOCK_LEN)
#define N_HAVES   2000000u
#define QUEUE     32u /* requests that a peer is kept at */

struct bench {
    struct mem mem;
    struct rng rng;
    struct picker picker;
    struct picker_peer peers[N_PEERS];
    struct bitset haves[N_PEERS];
    uint64_t now_us;
};

/* Of this thread: other programs on the machine do not count. */
static double cpu_s(void)
{
    return clock_s(CLOCK_THREAD_CPUTIME_ID);
}

static uint32_t data_len(const void *ctx, uint32_t piece)
{
    (void)ctx, (void)piece;
    return PIECE_LEN;
}

static void expect_ok(enum err_code code)
{
    if (code)
        abort();
}

/* Peers hold between a hundredth and almost all of the pieces, some everything. */
static void make_peers(struct bench *b)
{
    for (uint32_t i = 0; i < N_PEERS; i++) {
        bool is_seed = i < N_SEEDS;
        uint32_t share = 1 + rng_below(&b->rng, 99);
        expect_ok(bitset_init(&b->haves[i], &b->mem, N_PIECES));
        for (uint32_t piece = 0; piece < N_PIECES && !is_seed; piece++)
            if (rng_below(&b->rng, 100) < share)
                bitset_set(&b->haves[i], piece);
        picker_peer_init(&b->peers[i], NULL, is_seed ? NULL : &b->haves[i], is_seed);
        b->peers[i].speed = (uint8_t)rng_below(&b->rng, 3);
    }
}

static void add_peers(struct bench *b)
{
    double start = cpu_s();
    for (uint32_t i = 0; i < N_PEERS; i++)
        picker_add_peer(&b->picker, &b->peers[i]);
    printf("bitfield        %10.0f us\n", (cpu_s() - start) / N_PEERS * 1e6);
}

static void send_haves(struct bench *b)
{
    uint32_t n_new = 0;
    double start = cpu_s();
    for (uint32_t i = 0; i < N_HAVES; i++) {
        struct picker_peer *peer = &b->peers[N_SEEDS + rng_below(&b->rng, N_PEERS - N_SEEDS)];
        n_new += picker_on_have(&b->picker, peer, rng_below(&b->rng, N_PIECES));
    }
    printf("HAVE            %10.0f ns (%u of %u new)\n", (cpu_s() - start) / N_HAVES * 1e9, n_new,
           N_HAVES);
}

static void receive(struct bench *b, struct picker_peer *peer, uint64_t *n_blocks)
{
    struct wire_block block, other;
    struct picker_arrival arrival;
    struct picker_peer *asked;
    uint32_t cursor = peer->first_request;
    if (!picker_next_request(&b->picker, &cursor, &block, NULL, NULL))
        return;
    if (picker_on_block(&b->picker, peer, &block, &arrival) != PICKER_BLOCK_NEW)
        return;
    ++*n_blocks;
    while (arrival.is_piece_full && picker_on_piece_good(&b->picker, block.piece, &asked, &other))
        ;
}

/* Peers answer in random order, each as fast as its class. */
static void download(struct bench *b)
{
    struct wire_block blocks[QUEUE];
    uint64_t n_blocks = 0, n_steps = 0;
    double start = cpu_s();
    while (n_blocks < (uint64_t)N_PIECES * (PIECE_LEN / PICKER_BLOCK_LEN)) {
        struct picker_peer *peer = &b->peers[rng_below(&b->rng, N_PEERS)];
        b->now_us += 20;
        n_steps++;
        if (peer->n_requests < QUEUE / 2 && picker_is_interesting(peer))
            picker_pick(&b->picker, b->now_us, peer, QUEUE - peer->n_requests, blocks);
        for (uint32_t i = 0; i <= peer->speed; i++)
            receive(b, peer, &n_blocks);
    }
    printf("block           %10.0f ns (picked and received; %llu steps)\n",
           (cpu_s() - start) / (double)n_blocks * 1e9, (unsigned long long)n_steps);
    printf("                %10.1f million blocks = %.0f GB/s of 16 KiB blocks on one core\n",
           (double)n_blocks / 1e6, (double)n_blocks * PICKER_BLOCK_LEN / 1e9 / (cpu_s() - start));
}

int main(void)
{
    static struct bench b;
    struct picker_config config = {
        .n_pieces = N_PIECES, .piece_len = PIECE_LEN, .data_len = data_len};
    rng_init(&b.rng, 1);
    mem_init(&b.mem, MEM_NO_BUDGET, NULL);
    make_peers(&b);
    struct mem mem;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    expect_ok(picker_init(&b.picker, &mem, &b.rng, &config));
    printf("%u peers, %u seeds among them; %u pieces of %u blocks\n", N_PEERS, N_SEEDS, N_PIECES,
           PIECE_LEN / PICKER_BLOCK_LEN);
    add_peers(&b);
    send_haves(&b);
    download(&b);
    const struct picker_counters *c = &b.picker.counters;
    printf(
        "duplicates      %10llu, order sorted anew %llu times, %.1f pieces looked at per block\n",
        (unsigned long long)c->n_duplicate_requests, (unsigned long long)c->n_rebuilds,
        (double)(c->n_scanned + c->n_sampled) / (double)c->n_picked);
    printf("memory          %10.1f MB at its peak, %llu allocations\n", (double)mem.peak_len / 1e6,
           (unsigned long long)mem.n_allocs);
    for (uint32_t i = 0; i < N_PEERS; i++)
        picker_remove_peer(&b.picker, &b.peers[i]);
    picker_clear(&b.picker);
    mem_check_empty(&mem);
    return 0;
}
