/* picker and blame together: a v1 swarm in which some peers send bad blocks now and then finishes,
 * the liars are named, and nobody else is.
 */
#include "test_util.h"

#include "torrent/blame.h"
#include "torrent/picker.h"

#define N_PEERS  8u
#define N_PIECES 60u
#define N_BLOCKS 8u
#define SECOND   1000000u

struct swarm {
    struct mem mem;
    struct rng rng;
    struct picker picker;
    struct blame blame;
    struct picker_peer peers[N_PEERS];
    bool is_liar[N_PEERS], is_banned[N_PEERS];
    uint8_t data[N_PIECES][N_BLOCKS]; /* 0: as it should be; else what a liar made of it */
    uint32_t n_failed;
};

static uint32_t data_len(const void *ctx, uint32_t piece)
{
    (void)ctx, (void)piece;
    return N_BLOCKS * PICKER_BLOCK_LEN;
}

static struct bytes block_bytes(struct swarm *s, uint32_t piece, uint32_t block)
{
    return bytes_of(&s->data[piece][block], 1);
}

static void set_paroles(struct swarm *s)
{
    for (uint32_t i = 0; i < N_PEERS; i++)
        s->peers[i].is_on_parole = blame_is_suspect(&s->blame, s->peers[i].sender);
}

static void ban(struct swarm *s, uint32_t sender)
{
    for (uint32_t i = 0; i < N_PEERS; i++) {
        if (s->peers[i].sender != sender || s->is_banned[i])
            continue;
        assert_true(s->is_liar[i]); /* nobody is accused wrongly */
        s->is_banned[i] = true;
        picker_drop_requests(&s->picker, &s->peers[i]);
    }
}

static void piece_failed(struct swarm *s, uint32_t piece)
{
    uint32_t senders[N_BLOCKS];
    uint32_t n = picker_senders(&s->picker, piece, senders, N_BLOCKS);
    s->n_failed++;
    uint32_t sole = blame_on_bad(&s->blame, piece, senders, n);
    for (uint32_t i = 0; !sole && i < n; i++)
        blame_add_block(&s->blame, piece, i, senders[i], block_bytes(s, piece, i));
    picker_on_piece_bad(&s->picker, piece, true);
    if (sole)
        ban(s, sole);
    set_paroles(s);
}

static void piece_passed(struct swarm *s, uint32_t piece)
{
    struct picker_peer *peer;
    struct wire_block b;
    uint32_t named[N_PEERS];
    while (picker_on_piece_good(&s->picker, piece, &peer, &b))
        ;
    if (!blame_has(&s->blame, piece))
        return;
    for (uint32_t i = 0; i < N_BLOCKS; i++) {
        uint32_t n =
            blame_judge_block(&s->blame, piece, i, block_bytes(s, piece, i), named, N_PEERS);
        while (n > 0)
            ban(s, named[--n]);
    }
    blame_end_piece(&s->blame, piece);
    set_paroles(s);
}

static void piece_full(struct swarm *s, uint32_t piece)
{
    bool is_good = true;
    for (uint32_t i = 0; i < N_BLOCKS; i++)
        is_good &= s->data[piece][i] == 0;
    if (is_good)
        piece_passed(s, piece);
    else
        piece_failed(s, piece);
}

/* Each liar's lie differs from the other's. */
static void serve_one(struct swarm *s, uint32_t who)
{
    struct picker_peer *peer = &s->peers[who];
    uint32_t cursor = peer->first_request;
    struct wire_block b;
    struct picker_arrival got;
    if (!picker_next_request(&s->picker, &cursor, &b, NULL, NULL))
        return;
    bool is_lie = s->is_liar[who] && rng_below(&s->rng, 5) == 0;
    assert_int_equal(picker_on_block(&s->picker, peer, &b, &got), PICKER_BLOCK_NEW);
    s->data[b.piece][b.begin / PICKER_BLOCK_LEN] = is_lie ? (uint8_t)(1 + who) : 0;
    if (got.is_piece_full)
        piece_full(s, b.piece);
}

static void swarm_init(struct swarm *s, uint64_t seed, uint32_t n_liars)
{
    *s = (struct swarm){0};
    mem_init(&s->mem, MEM_NO_BUDGET, NULL);
    rng_init(&s->rng, seed);
    const struct picker_config config = {
        .n_pieces = N_PIECES, .piece_len = N_BLOCKS * PICKER_BLOCK_LEN, .data_len = data_len};
    assert_int_equal(picker_init(&s->picker, &s->mem, &s->rng, &config), ERR_OK);
    blame_init(&s->blame, &s->mem, &s->rng, 0, 0);
    for (uint32_t i = 0; i < N_PEERS; i++) {
        struct addr a = addr_v4(10, 0, 0, (uint8_t)i, 6881);
        s->is_liar[i] = i < n_liars;
        picker_peer_init(&s->peers[i], NULL, NULL, true);
        s->peers[i].sender = blame_take_sender(&s->blame, &a);
        s->peers[i].speed = (uint8_t)rng_below(&s->rng, 3);
        picker_add_peer(&s->picker, &s->peers[i]);
    }
}

static void swarm_clear(struct swarm *s)
{
    for (uint32_t i = 0; i < N_PEERS; i++)
        picker_remove_peer(&s->picker, &s->peers[i]);
    blame_check(&s->blame);
    blame_clear(&s->blame);
    picker_clear(&s->picker);
    mem_check_empty(&s->mem);
}

static void run(uint64_t seed, uint32_t n_liars)
{
    static struct swarm s;
    swarm_init(&s, seed, n_liars);
    uint64_t now_us = 0;
    for (; s.picker.wanted.n_set > 0; now_us += SECOND / 4) {
        assert_true(now_us < 600 * (uint64_t)SECOND);
        for (uint32_t i = 0; i < N_PEERS; i++) {
            struct wire_block b[4];
            if (s.is_banned[i])
                continue;
            picker_pick(&s.picker, now_us, &s.peers[i],
                        4 - (s.peers[i].n_requests < 4 ? s.peers[i].n_requests : 4), b);
            for (uint32_t n = 1 + s.peers[i].speed; n > 0 && !s.is_banned[i]; n--)
                serve_one(&s, i);
        }
        picker_check(&s.picker);
    }
    for (uint32_t i = 0; i < N_PIECES * N_BLOCKS; i++)
        assert_int_equal(s.data[i / N_BLOCKS][i % N_BLOCKS], 0);
    uint32_t n_banned = 0;
    for (uint32_t i = 0; i < N_PEERS; i++)
        n_banned += s.is_banned[i];
    assert_int_equal(n_banned, n_liars);
    assert_true(s.n_failed >= n_liars && s.n_failed <= 20 * n_liars);
    assert_int_equal(s.blame.by_age.n, 0); /* every case is settled */
    swarm_clear(&s);
}

static void test_liars_are_found(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++)
        run(seed, (uint32_t)(seed % (N_PEERS - 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_liars_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
