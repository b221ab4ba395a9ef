#include "torrent/picker_parts.h"

static void put_at(struct picker *p, struct picker_order *o, uint32_t at, uint32_t piece)
{
    o->pieces[at] = piece;
    p->pieces[piece].place = at;
}

static void swap(struct picker *p, struct picker_order *o, uint32_t i, uint32_t j)
{
    uint32_t piece = o->pieces[i];
    put_at(p, o, i, o->pieces[j]);
    put_at(p, o, j, piece);
}

/* A new member stands at a random place of its bucket, so that peers do not all ask for the same. */
static void mix(struct picker *p, struct picker_order *o, uint32_t bucket, uint32_t at)
{
    uint32_t first = o->starts[bucket], n = o->starts[bucket + 1] - first;
    if (n > 1)
        swap(p, o, at, first + rng_below(p->rng, n));
}

static bool grow(struct picker *p, uint32_t **items, uint32_t *cap, uint32_t n)
{
    if (n <= *cap)
        return true;
    uint32_t want = n + n / 4 + 4;
    uint32_t *more = mem_realloc(p->mem, *items, sizeof *more * want);
    if (!more) {
        p->counters.n_refused++;
        return false;
    }
    *items = more;
    *cap = want;
    return true;
}

/* Buckets 0 .. n_buckets - 1 exist, and the end of the last. */
static bool want_buckets(struct picker *p, struct picker_order *o, uint32_t n_buckets)
{
    if (!grow(p, &o->starts, &o->starts_cap, n_buckets + 1))
        return false;
    if (o->n_buckets == 0)
        o->starts[0] = 0;
    while (o->n_buckets < n_buckets)
        o->starts[++o->n_buckets] = o->n;
    return true;
}

static struct picker_order *order_of(struct picker *p, uint32_t piece)
{
    return &p->orders[p->pieces[piece].priority];
}

static void rise(struct picker *p, struct picker_order *o, uint32_t piece, uint32_t bucket)
{
    if (!want_buckets(p, o, bucket + 2)) {
        p->is_order_stale = true;
        return;
    }
    uint32_t last = --o->starts[bucket + 1];
    swap(p, o, p->pieces[piece].place, last);
    mix(p, o, bucket + 1, last);
}

static void sink(struct picker *p, struct picker_order *o, uint32_t piece, uint32_t bucket)
{
    uint32_t first = o->starts[bucket]++;
    swap(p, o, p->pieces[piece].place, first);
    mix(p, o, bucket - 1, first);
}

void picker_order_shift(struct picker *p, uint32_t piece, int step)
{
    struct picker_piece *e = &p->pieces[piece];
    uint32_t bucket = e->n_have;
    if (!p->is_order_stale && bitset_get(&p->idle, piece)) {
        if (step > 0)
            rise(p, order_of(p, piece), piece, bucket);
        else
            sink(p, order_of(p, piece), piece, bucket);
    }
    e->n_have = (bucket + (uint32_t)step) & 0xffffff;
}

/* The hole opens at the end and moves down: the first of each bucket above goes to its end. */
void picker_order_put(struct picker *p, uint32_t piece)
{
    bitset_set(&p->idle, piece);
    p->n_idle++;
    if (p->is_order_stale)
        return;
    struct picker_order *o = order_of(p, piece);
    uint32_t bucket = p->pieces[piece].n_have;
    if (!grow(p, &o->pieces, &o->cap, o->n + 1) || !want_buckets(p, o, bucket + 1)) {
        p->is_order_stale = true;
        return;
    }
    uint32_t hole = o->n++;
    o->starts[o->n_buckets] = o->n;
    for (uint32_t b = o->n_buckets - 1; b > bucket; b--) {
        uint32_t first = o->starts[b]++;
        if (first != hole)
            put_at(p, o, hole, o->pieces[first]);
        hole = first;
    }
    put_at(p, o, hole, piece);
    mix(p, o, bucket, hole);
}

void picker_order_take(struct picker *p, uint32_t piece)
{
    bitset_unset(&p->idle, piece);
    p->n_idle--;
    if (p->is_order_stale)
        return;
    struct picker_order *o = order_of(p, piece);
    uint32_t hole = p->pieces[piece].place;
    for (uint32_t b = p->pieces[piece].n_have; b < o->n_buckets; b++) {
        uint32_t last = --o->starts[b + 1];
        if (last != hole)
            put_at(p, o, hole, o->pieces[last]);
        hole = last;
    }
    o->n--;
}

/* Counting sort: sizes first, then each piece to the next place of its bucket. */
static bool make_room(struct picker *p)
{
    uint32_t n[PICKER_PRIORITY_MAX + 1] = {0}, n_buckets[PICKER_PRIORITY_MAX + 1] = {0};
    for (uint32_t i = bitset_next_set(&p->idle, 0); i < p->idle.n;
         i = bitset_next_set(&p->idle, i + 1)) {
        const struct picker_piece *e = &p->pieces[i];
        n[e->priority]++;
        if (e->n_have >= n_buckets[e->priority])
            n_buckets[e->priority] = e->n_have + 1;
    }
    for (uint32_t level = 1; level <= PICKER_PRIORITY_MAX; level++) {
        struct picker_order *o = &p->orders[level];
        if (!grow(p, &o->pieces, &o->cap, n[level]) ||
            !grow(p, &o->starts, &o->starts_cap, n_buckets[level] + 2))
            return false;
        o->n = n[level];
        o->n_buckets = n_buckets[level];
        memset(o->starts, 0, sizeof *o->starts * (o->n_buckets + 2));
    }
    return true;
}

bool picker_order_refresh(struct picker *p)
{
    if (!p->is_order_stale)
        return true;
    if (!make_room(p))
        return false;
    p->counters.n_rebuilds++;
    for (uint32_t i = bitset_next_set(&p->idle, 0); i < p->idle.n;
         i = bitset_next_set(&p->idle, i + 1))
        order_of(p, i)->starts[p->pieces[i].n_have + 2]++;
    for (uint32_t level = 1; level <= PICKER_PRIORITY_MAX; level++) {
        struct picker_order *o = &p->orders[level];
        for (uint32_t b = 2; b < o->n_buckets + 2; b++)
            o->starts[b] += o->starts[b - 1];
    }
    for (uint32_t i = bitset_next_set(&p->idle, 0); i < p->idle.n;
         i = bitset_next_set(&p->idle, i + 1)) {
        struct picker_order *o = order_of(p, i);
        o->pieces[o->starts[p->pieces[i].n_have + 1]++] = i;
    }
    for (uint32_t level = 1; level <= PICKER_PRIORITY_MAX; level++) {
        struct picker_order *o = &p->orders[level];
        for (uint32_t b = 0; b < o->n_buckets; b++)
            rng_shuffle_u32(p->rng, o->pieces + o->starts[b], o->starts[b + 1] - o->starts[b]);
        for (uint32_t i = 0; i < o->n; i++)
            p->pieces[o->pieces[i]].place = i;
    }
    p->is_order_stale = false;
    return true;
}

void picker_orders_clear(struct picker *p)
{
    for (uint32_t level = 0; level <= PICKER_PRIORITY_MAX; level++) {
        mem_free(p->mem, p->orders[level].pieces);
        mem_free(p->mem, p->orders[level].starts);
        p->orders[level] = (struct picker_order){0};
    }
}
