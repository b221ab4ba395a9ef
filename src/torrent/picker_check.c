#include "torrent/picker_parts.h"

static void check_order(const struct picker *p, uint32_t level)
{
    const struct picker_order *o = &p->orders[level];
    assert(o->n <= o->cap && (o->n == 0 || o->n_buckets > 0));
    assert(o->n_buckets == 0 || (o->starts[0] == 0 && o->starts[o->n_buckets] == o->n));
    for (uint32_t b = 0; b < o->n_buckets; b++) {
        assert(o->starts[b] <= o->starts[b + 1]);
        for (uint32_t i = o->starts[b]; i < o->starts[b + 1]; i++) {
            const struct picker_piece *e = &p->pieces[o->pieces[i]];
            assert(e->place == i && e->n_have == b && e->priority == level);
            assert(bitset_get(&p->idle, o->pieces[i]));
        }
    }
}

static void check_orders(const struct picker *p)
{
    uint32_t n = 0;
    for (uint32_t level = 1; level <= PICKER_PRIORITY_MAX; level++) {
        check_order(p, level);
        n += p->orders[level].n;
    }
    assert(n == p->n_idle && p->orders[0].n == 0);
}

static void check_pieces(const struct picker *p)
{
    uint32_t n_partials = 0;
    for (uint32_t i = 0; i < p->config.n_pieces; i++) {
        const struct picker_piece *e = &p->pieces[i];
        bool is_have = e->state == PICKER_HAVE, is_wanted = e->priority > 0 && !is_have;
        assert(bitset_get(&p->have, i) == is_have);
        assert(bitset_get(&p->wanted, i) == is_wanted);
        assert(bitset_get(&p->idle, i) == (is_wanted && e->state == PICKER_IDLE));
        if (e->state != PICKER_PARTIAL && e->state != PICKER_FULL)
            continue;
        n_partials++;
        assert(e->place < p->n_partials && p->partials[e->place]->piece == i);
    }
    assert(n_partials == p->n_partials && p->idle.n_set == p->n_idle);
    uint32_t *n_have = calloc(p->config.n_pieces + 1, sizeof *n_have);
    LIST_EACH(&p->peers, peer, struct picker_peer, in_picker)
    for (uint32_t i = 0; !peer->is_seed && i < p->config.n_pieces; i++)
        n_have[i] += bitset_get(peer->have, i);
    for (uint32_t i = 0; i < p->config.n_pieces; i++)
        assert(p->pieces[i].n_have == n_have[i]);
    free(n_have);
}

static void check_chain(const struct picker *p, const struct picker_partial *t, uint32_t block,
                        uint32_t *n_requests)
{
    const struct picker_block *b = &t->blocks[block];
    uint32_t n_active = 0, n = 0;
    for (uint32_t r = b->request; r != PICKER_NONE; r = p->requests[r].next_in_block, n++) {
        const struct picker_request *q = &p->requests[r];
        assert(q->peer && q->piece == t->piece && q->block == block);
        n_active += !q->is_late;
        for (uint32_t s = q->next_in_block; s != PICKER_NONE; s = p->requests[s].next_in_block)
            assert(p->requests[s].peer != q->peer);
    }
    assert(n_active == b->n_active && n_active <= PICKER_N_OLD_COPIES_MAX &&
           n <= PICKER_N_CHAIN_MAX);
    *n_requests += n;
}

static void check_partial(const struct picker *p, const struct picker_partial *t, bool is_open)
{
    uint32_t n_received = 0, n_free = 0, n_active = 0, n_requests = 0;
    for (uint32_t i = 0; i < t->n_blocks; i++) {
        const struct picker_block *b = &t->blocks[i];
        n_received += b->is_received;
        n_active += b->n_active;
        if (b->is_received) {
            assert(b->n_active == 0);
            continue;
        }
        check_chain(p, t, i, &n_requests);
        n_free += b->n_active == 0;
        assert(b->n_active > 0 || i >= t->first_free);
    }
    assert(n_received == t->n_received && n_free == t->n_free);
    assert(n_active == t->n_active && n_requests == t->n_requests);
    assert(is_open == (n_free > 0));
    bool is_full = n_received == t->n_blocks;
    assert((p->pieces[t->piece].state == PICKER_FULL) == is_full);
    assert(is_full || n_received + n_requests > 0);
}

static uint32_t check_peer(const struct picker *p, const struct picker_peer *peer)
{
    uint32_t n = 0, n_late = 0, n_duplicates = 0, prev = PICKER_NONE;
    uint64_t sent_at_us = 0;
    for (uint32_t r = peer->first_request; r != PICKER_NONE; r = p->requests[r].next_in_peer) {
        const struct picker_request *q = &p->requests[r];
        assert(q->peer == peer && q->prev_in_peer == prev && q->sent_at_us >= sent_at_us);
        sent_at_us = q->sent_at_us;
        prev = r;
        n++;
        n_late += q->is_late;
        n_duplicates += q->is_duplicate;
    }
    assert(prev == peer->last_request && n == peer->n_requests);
    assert(n_late == peer->n_late && n_duplicates == peer->n_duplicates);
    uint32_t n_interesting =
        peer->is_seed ? p->wanted.n_set : picker_count_common(&p->wanted, peer->have);
    assert(p->is_interest_stale || n_interesting == peer->n_interesting);
    return n;
}

void picker_check(const struct picker *p)
{
    if (!p->is_order_stale)
        check_orders(p);
    check_pieces(p);
    uint32_t n_requests = 0, n_seeds = 0, n_in_partials = 0, n_unused = 0;
    assert(p->n_open <= p->n_partials);
    for (uint32_t i = 0; i < p->n_partials; i++) {
        check_partial(p, p->partials[i], i < p->n_open);
        n_in_partials += p->partials[i]->n_requests;
    }
    LIST_EACH(&p->peers, peer, struct picker_peer, in_picker)
    {
        n_requests += check_peer(p, peer);
        n_seeds += peer->is_seed;
    }
    for (uint32_t r = p->free_request; r != PICKER_NONE; r = p->requests[r].next_in_block)
        n_unused++;
    assert(n_requests == n_in_partials && n_seeds == p->n_seeds);
    assert(n_requests + n_unused == p->n_requests_used);
}
