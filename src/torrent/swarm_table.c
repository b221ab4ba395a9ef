#include "torrent/swarm_table.h"
#include <assert.h>

#define RECORD4_LEN      8u
#define RECORD6_LEN      20u
#define FLAG_PAUSED      1u
#define CAP_MIN          4u
#define NONE             UINT32_MAX
#define LIFE_TICKS       (SWARM_N_TICKS + 1) /* so that nobody is forgotten before life_us */
#define N_DRAWN_SWARMS   8u
#define N_DRAWN_PEERS    16u
#define N_WINDOWS_MAX    8u
#define WINDOW_MIN       8u
#define N_SWEPT_PER_CALL 2048u

static_assert(LIFE_TICKS + 1 < SWARM_N_WHEEL, "the wheel holds a life");
static_assert(SWARM_N_WHEEL < 128, "the age of a peer fits the byte that its tick is kept in");

/* --- life ------------------------------------------------------------------------------------ */

enum err_code swarm_table_init(struct swarm_table *t, struct mem *mem, uint64_t now_us,
                               uint64_t rng_seed, struct map_seed secret, uint32_t n_swarms_max,
                               uint32_t n_peers_max, uint64_t life_us)
{
    *t = (struct swarm_table){.mem = mem, .seed = secret, .free_head = NONE};
    rng_init(&t->rng, rng_seed);
    t->n_swarms_max = n_swarms_max < SWARM_N_SWARMS_MAX ? n_swarms_max : SWARM_N_SWARMS_MAX;
    t->n_peers_max = n_peers_max;
    t->tick_us = u64_max(div_ceil(life_us, SWARM_N_TICKS), 1);
    t->next_tick_at_us = now_us + t->tick_us;
    for (unsigned i = 0; i < SWARM_N_WHEEL; i++)
        t->wheel[i] = NONE;
    return tag_index_reserve(&t->by_hash, mem, 1) ? ERR_OK : ERR_NO_MEMORY;
}

void swarm_table_clear(struct swarm_table *t)
{
    for (uint32_t i = 0; i < t->n_slab; i++) {
        struct swarm *s = &t->chunks[i / SWARM_CHUNK][i % SWARM_CHUNK];
        for (unsigned f = 0; f < 2; f++) {
            mem_free(t->mem, s->families[f].peers);
            tag_index_clear(&s->families[f].index, t->mem);
        }
    }
    for (uint32_t i = 0; i < SWARM_N_CHUNKS; i++)
        mem_free(t->mem, t->chunks[i]);
    tag_index_clear(&t->by_hash, t->mem);
}

/* --- records --------------------------------------------------------------------------------- */

static unsigned family_of(const struct addr *a)
{
    return a->family == ADDR_V6;
}

static size_t addr_len(unsigned family)
{
    return family ? ADDR_COMPACT6_LEN : ADDR_COMPACT4_LEN;
}

static size_t record_len(unsigned family)
{
    return family ? RECORD6_LEN : RECORD4_LEN;
}

static uint8_t *record(const struct swarm_peers *p, unsigned family, uint32_t i)
{
    return p->peers + i * record_len(family);
}

static uint8_t *record_tick(const struct swarm_peers *p, unsigned family, uint32_t i)
{
    return record(p, family, i) + addr_len(family);
}

static uint8_t *record_flags(const struct swarm_peers *p, unsigned family, uint32_t i)
{
    return record(p, family, i) + addr_len(family) + 1;
}

static void compact(const struct addr *a, uint8_t out[ADDR_COMPACT6_LEN])
{
    size_t ip_len = a->family == ADDR_V6 ? 16 : 4;
    memcpy(out, a->ip, ip_len);
    out[ip_len] = (uint8_t)(a->port >> 8);
    out[ip_len + 1] = (uint8_t)a->port;
}

/* --- the peers of one family in one swarm ---------------------------------------------------- */

static uint32_t peer_tag(const struct swarm_table *t, unsigned family, const uint8_t *key)
{
    return (uint32_t)map_hash(t->seed, key, addr_len(family));
}

static bool is_indexed(const struct swarm_peers *p)
{
    return p->index.n_slots > 0;
}

static uint32_t scan4(const struct swarm_peers *p, const uint8_t *key)
{
    uint32_t ip;
    uint16_t port;
    memcpy(&ip, key, 4);
    memcpy(&port, key + 4, 2);
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t ip_i;
        uint16_t port_i;
        memcpy(&ip_i, p->peers + i * RECORD4_LEN, 4);
        memcpy(&port_i, p->peers + i * RECORD4_LEN + 4, 2);
        if (ip_i == ip && port_i == port)
            return i;
    }
    return NONE;
}

static uint32_t scan6(const struct swarm_peers *p, const uint8_t *key)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (memcmp(p->peers + i * RECORD6_LEN, key, ADDR_COMPACT6_LEN) == 0)
            return i;
    }
    return NONE;
}

static uint32_t peers_find(const struct swarm_table *t, const struct swarm_peers *p,
                           unsigned family, const uint8_t *key)
{
    if (!is_indexed(p))
        return family ? scan6(p, key) : scan4(p, key);
    uint32_t tag = peer_tag(t, family, key);
    uint32_t cursor = 0, i;
    while ((i = tag_index_next(&p->index, tag, &cursor)) != TAG_INDEX_NONE) {
        if (memcmp(record(p, family, i), key, addr_len(family)) == 0)
            return i;
    }
    return NONE;
}

static void peers_swap(struct swarm_table *t, struct swarm_peers *p, unsigned family, uint32_t i,
                       uint32_t j)
{
    uint8_t spare[RECORD6_LEN];
    size_t len = record_len(family);
    if (i == j)
        return;
    if (is_indexed(p)) {
        uint32_t slot_i = tag_index_slot(&p->index, peer_tag(t, family, record(p, family, i)), i);
        uint32_t slot_j = tag_index_slot(&p->index, peer_tag(t, family, record(p, family, j)), j);
        p->index.slots[slot_i].position = j;
        p->index.slots[slot_j].position = i;
    }
    memcpy(spare, record(p, family, i), len);
    memcpy(record(p, family, i), record(p, family, j), len);
    memcpy(record(p, family, j), spare, len);
}

static bool build_index(struct swarm_table *t, struct swarm_peers *p, unsigned family)
{
    if (!tag_index_reserve(&p->index, t->mem, p->n + 1))
        return false;
    for (uint32_t i = 0; i < p->n; i++)
        tag_index_put(&p->index, peer_tag(t, family, record(p, family, i)), i);
    return true;
}

/* Room for one more, in the array and in the index. */
static bool peers_reserve(struct swarm_table *t, struct swarm_peers *p, unsigned family)
{
    if (p->n == p->cap) {
        uint32_t cap = p->cap ? p->cap + p->cap / 2 : CAP_MIN;
        uint8_t *grown = mem_realloc(t->mem, p->peers, cap * record_len(family));
        if (!grown)
            return false;
        p->peers = grown;
        p->cap = cap;
    }
    if (is_indexed(p))
        return tag_index_reserve(&p->index, t->mem, p->n + 1);
    return p->n < SWARM_LINEAR_MAX || build_index(t, p, family);
}

/* A new record at the end, a leecher. Room was reserved. */
static uint32_t peers_append(struct swarm_table *t, struct swarm_peers *p, unsigned family,
                             const uint8_t *key)
{
    uint32_t i = p->n++;
    memcpy(record(p, family, i), key, addr_len(family));
    *record_flags(p, family, i) = 0;
    if (is_indexed(p))
        tag_index_put(&p->index, peer_tag(t, family, key), i);
    t->n_peers[family]++;
    return i;
}

/* Makes a seed of a leecher or the reverse; returns its new place. */
static uint32_t peers_set_seed(struct swarm_table *t, struct swarm_peers *p, unsigned family,
                               uint32_t i, bool is_seed)
{
    if ((i < p->n_seeds) == is_seed)
        return i;
    uint32_t edge = is_seed ? p->n_seeds : p->n_seeds - 1;
    peers_swap(t, p, family, i, edge);
    p->n_seeds += is_seed ? 1u : UINT32_MAX; /* plus or minus one */
    t->n_seeds += is_seed ? 1u : UINT64_MAX;
    return edge;
}

static void peers_set_paused(struct swarm_peers *p, unsigned family, uint32_t i, bool is_paused)
{
    uint8_t *flags = record_flags(p, family, i);
    bool was_paused = *flags & FLAG_PAUSED;
    if (was_paused == is_paused)
        return;
    *flags ^= FLAG_PAUSED;
    p->n_paused += is_paused ? 1u : UINT32_MAX;
}

/* Gives memory back when three quarters of it lie idle. */
static void peers_shrink(struct swarm_table *t, struct swarm_peers *p, unsigned family)
{
    if (p->n == 0) {
        mem_free(t->mem, p->peers);
        tag_index_clear(&p->index, t->mem);
        *p = (struct swarm_peers){0};
        return;
    }
    if (p->cap <= 2 * CAP_MIN || p->n > p->cap / 4)
        return;
    uint8_t *shrunk = mem_realloc(t->mem, p->peers, p->n * 2 * record_len(family));
    if (!shrunk)
        return;
    p->peers = shrunk;
    p->cap = p->n * 2;
    if (!is_indexed(p))
        return;
    tag_index_clear(&p->index, t->mem);
    if (p->n <= SWARM_LINEAR_MAX || build_index(t, p, family))
        return;
    /* Memory ran out for an index smaller than the one just freed: the array is looked through,
     * slow but right, until the next newcomer asks for an index again. */
}

static void peers_remove(struct swarm_table *t, struct swarm_peers *p, unsigned family, uint32_t i)
{
    peers_set_paused(p, family, i, false);
    i = peers_set_seed(t, p, family, i, false);
    peers_swap(t, p, family, i, p->n - 1);
    if (is_indexed(p))
        tag_index_remove(&p->index, peer_tag(t, family, record(p, family, p->n - 1)), p->n - 1);
    p->n--;
    t->n_peers[family]--;
}

/* --- swarms ---------------------------------------------------------------------------------- */

static struct swarm *swarm_at(const struct swarm_table *t, uint32_t i)
{
    return &t->chunks[i / SWARM_CHUNK][i % SWARM_CHUNK];
}

static uint32_t swarm_tag(const struct swarm_table *t, const uint8_t *infohash)
{
    return (uint32_t)map_hash(t->seed, infohash, SHA1_LEN);
}

static uint32_t swarm_find(const struct swarm_table *t, uint32_t tag, const uint8_t *infohash)
{
    uint32_t cursor = 0, i;
    while ((i = tag_index_next(&t->by_hash, tag, &cursor)) != TAG_INDEX_NONE) {
        if (memcmp(swarm_at(t, i)->infohash, infohash, SHA1_LEN) == 0)
            return i;
    }
    return NONE;
}

static uint32_t swarm_n_peers(const struct swarm *s)
{
    return s->families[0].n + s->families[1].n;
}

static void wheel_unlink(struct swarm_table *t, uint32_t i)
{
    struct swarm *s = swarm_at(t, i);
    if (s->prev == NONE)
        t->wheel[s->wheel_slot] = s->next;
    else
        swarm_at(t, s->prev)->next = s->next;
    if (s->next != NONE)
        swarm_at(t, s->next)->prev = s->prev;
}

static void wheel_link(struct swarm_table *t, uint32_t i, uint64_t tick)
{
    struct swarm *s = swarm_at(t, i);
    s->wheel_slot = (uint32_t)(tick % SWARM_N_WHEEL);
    s->prev = NONE;
    s->next = t->wheel[s->wheel_slot];
    if (s->next != NONE)
        swarm_at(t, s->next)->prev = i;
    t->wheel[s->wheel_slot] = i;
}

static void swarm_free(struct swarm_table *t, uint32_t i)
{
    struct swarm *s = swarm_at(t, i);
    tag_index_remove(&t->by_hash, swarm_tag(t, s->infohash), i);
    wheel_unlink(t, i);
    for (unsigned f = 0; f < 2; f++) {
        t->n_peers[f] -= s->families[f].n;
        t->n_seeds -= s->families[f].n_seeds;
        mem_free(t->mem, s->families[f].peers);
        tag_index_clear(&s->families[f].index, t->mem);
    }
    *s = (struct swarm){.next = t->free_head, .wheel_slot = SWARM_N_WHEEL};
    t->free_head = i;
    t->n_swarms--;
}

/* The smallest of a few drawn by lot goes: a flood of new swarms displaces itself. */
static void evict_swarm(struct swarm_table *t)
{
    uint32_t victim = NONE;
    for (unsigned k = 0; k < N_DRAWN_SWARMS; k++) {
        uint32_t i = rng_below(&t->rng, t->n_slab);
        if (swarm_at(t, i)->wheel_slot == SWARM_N_WHEEL)
            continue;
        if (victim == NONE || swarm_n_peers(swarm_at(t, i)) < swarm_n_peers(swarm_at(t, victim)))
            victim = i;
    }
    if (victim == NONE)
        return;
    swarm_free(t, victim);
    t->n_swarms_evicted++;
}

static uint32_t slab_take(struct swarm_table *t)
{
    uint32_t i = t->free_head;
    if (i != NONE) {
        t->free_head = swarm_at(t, i)->next;
        return i;
    }
    if (t->n_slab % SWARM_CHUNK == 0) {
        struct swarm *chunk = mem_calloc(t->mem, SWARM_CHUNK, sizeof *chunk);
        if (!chunk)
            return NONE;
        t->chunks[t->n_slab / SWARM_CHUNK] = chunk;
    }
    return t->n_slab++;
}

static uint32_t swarm_new(struct swarm_table *t, uint32_t tag, const uint8_t *infohash)
{
    if (t->n_swarms >= t->n_swarms_max)
        evict_swarm(t);
    if (t->n_swarms >= t->n_swarms_max || !tag_index_reserve(&t->by_hash, t->mem, t->n_swarms + 1))
        return NONE;
    uint32_t i = slab_take(t);
    if (i == NONE)
        return NONE;
    struct swarm *s = swarm_at(t, i);
    *s = (struct swarm){0};
    memcpy(s->infohash, infohash, SHA1_LEN);
    tag_index_put(&t->by_hash, tag, i);
    wheel_link(t, i, t->tick + LIFE_TICKS + 1);
    t->n_swarms++;
    return i;
}

/* --- time ------------------------------------------------------------------------------------ */

static uint8_t age(const struct swarm_table *t, uint8_t tick)
{
    return (uint8_t)((uint8_t)t->tick - tick);
}

/* Drops the silent ones of a family; returns the age of the oldest that stays. */
static uint8_t sweep_family(struct swarm_table *t, struct swarm_peers *p, unsigned family)
{
    uint8_t oldest = 0;
    for (uint32_t i = p->n; i-- > 0;) {
        uint8_t a = age(t, *record_tick(p, family, i));
        if (a > LIFE_TICKS) {
            /* What moves down into its place comes from above i: it was looked at and stays. */
            peers_remove(t, p, family, i);
            t->n_expired++;
        } else if (a > oldest) {
            oldest = a;
        }
    }
    peers_shrink(t, p, family);
    return oldest;
}

static void sweep(struct swarm_table *t, uint32_t i)
{
    struct swarm *s = swarm_at(t, i);
    uint8_t oldest = sweep_family(t, &s->families[0], 0);
    uint8_t oldest6 = sweep_family(t, &s->families[1], 1);
    if (swarm_n_peers(s) == 0) {
        swarm_free(t, i);
        return;
    }
    if (oldest6 > oldest)
        oldest = oldest6;
    wheel_unlink(t, i);
    wheel_link(t, i, t->tick + LIFE_TICKS + 1 - oldest);
}

void swarm_table_tick(struct swarm_table *t, uint64_t now_us)
{
    unsigned n = 0;
    /* After a long sleep every peer is silent; the wheel need not turn more than once for that. */
    if (now_us > t->next_tick_at_us && now_us - t->next_tick_at_us > SWARM_N_WHEEL * t->tick_us)
        t->next_tick_at_us = now_us - SWARM_N_WHEEL * t->tick_us;
    for (;;) {
        uint32_t slot = (uint32_t)(t->tick % SWARM_N_WHEEL);
        while (t->wheel[slot] != NONE) {
            if (n++ == N_SWEPT_PER_CALL)
                return;
            sweep(t, t->wheel[slot]); /* frees it, or links it to a later slot */
        }
        if (now_us < t->next_tick_at_us)
            return;
        t->tick++;
        t->next_tick_at_us += t->tick_us;
    }
}

uint64_t swarm_table_deadline_us(const struct swarm_table *t)
{
    if (t->wheel[t->tick % SWARM_N_WHEEL] != NONE)
        return 0;
    return t->n_swarms ? t->next_tick_at_us : DEADLINE_NEVER;
}

/* --- limits ---------------------------------------------------------------------------------- */

/* The one longest silent among a few drawn from the swarm goes. */
static void evict_peer_of(struct swarm_table *t, struct swarm *s)
{
    unsigned family = rng_below(&t->rng, swarm_n_peers(s)) >= s->families[0].n;
    struct swarm_peers *p = &s->families[family];
    uint32_t victim = 0;
    uint8_t victim_age = 0;
    for (unsigned k = 0; k < N_DRAWN_PEERS; k++) {
        uint32_t i = rng_below(&t->rng, p->n);
        uint8_t a = age(t, *record_tick(p, family, i));
        if (k == 0 || a > victim_age) {
            victim = i;
            victim_age = a;
        }
    }
    peers_remove(t, p, family, victim);
    peers_shrink(t, p, family);
    t->n_peers_evicted++;
}

/* Makes room for one peer, in the swarm whose oldest peer is due soonest. Swarms found empty on the
 * way are freed, `keep` excepted. */
static void evict_peer(struct swarm_table *t, uint32_t keep)
{
    for (uint32_t k = 0; k < SWARM_N_WHEEL; k++) {
        uint32_t i = t->wheel[(t->tick + k) % SWARM_N_WHEEL];
        while (i != NONE) {
            struct swarm *s = swarm_at(t, i);
            uint32_t next = s->next;
            if (swarm_n_peers(s) > 0) {
                evict_peer_of(t, s);
                return;
            }
            if (i != keep)
                swarm_free(t, i);
            i = next;
        }
    }
}

static bool is_full(const struct swarm_table *t)
{
    return t->n_peers[0] + t->n_peers[1] >= t->n_peers_max;
}

/* --- answers --------------------------------------------------------------------------------- */

/* The peers that an asker may hear of: places [from, from + n), one of which may be its own. */
struct candidates {
    const struct swarm_peers *p;
    unsigned family;
    uint32_t from, n, self; /* self: relative to from; NONE: not among them, and not in n */
};

static void copy_candidate(const struct candidates *c, uint32_t k, uint8_t **out)
{
    size_t len = addr_len(c->family);
    uint32_t i = c->from + k + (c->self != NONE && k >= c->self);
    memcpy(*out, record(c->p, c->family, i), len);
    *out += len;
}

/* want of n places on a ring, in a few runs so that neighbours share cache lines: the ring is cut
 * into equal arcs at a random place, and in each arc a run begins at random. Every place has the
 * same chance; none comes twice. */
static uint32_t copy_some(struct swarm_table *t, const struct candidates *c, uint32_t want,
                          uint8_t *out)
{
    const uint8_t *begin_out = out;
    uint32_t n_runs = want / WINDOW_MIN;
    n_runs = n_runs < 1 ? 1 : n_runs > N_WINDOWS_MAX ? N_WINDOWS_MAX : n_runs;
    uint32_t turn = rng_below(&t->rng, c->n);
    for (uint32_t r = 0; r < n_runs; r++) {
        uint32_t begin = (uint32_t)((uint64_t)c->n * r / n_runs);
        uint32_t end = (uint32_t)((uint64_t)c->n * (r + 1) / n_runs);
        uint32_t len = want * (r + 1) / n_runs - want * r / n_runs;
        if (len > end - begin)
            len = end - begin; /* rounding, where want is nearly n: one fewer then */
        uint32_t k = begin + rng_below(&t->rng, end - begin - len + 1);
        for (uint32_t j = 0; j < len; j++)
            copy_candidate(c, (uint32_t)(((uint64_t)turn + k + j) % c->n), &out);
    }
    return (uint32_t)((size_t)(out - begin_out) / addr_len(c->family));
}

static uint32_t answer(struct swarm_table *t, const struct swarm_peers *p, unsigned family,
                       uint32_t self, const struct swarm_announce *a, uint8_t *out)
{
    bool has_leechers = p->n > p->n_seeds;
    struct candidates c = {
        .p = p, .family = family, .from = a->is_seed && has_leechers ? p->n_seeds : 0};
    c.self = self != NONE && self >= c.from ? self - c.from : NONE;
    c.n = p->n - c.from - (c.self != NONE);
    if (a->numwant == 0)
        return 0;
    if (a->numwant < c.n)
        return copy_some(t, &c, a->numwant, out);
    for (uint32_t k = 0; k < c.n; k++)
        copy_candidate(&c, k, &out);
    return c.n;
}

static void fill_counts(const struct swarm *s, unsigned family, struct swarm_counts *out)
{
    const struct swarm_peers *p = &s->families[family];
    out->n_seeders += p->n_seeds;
    out->n_leechers += p->n - p->n_seeds;
    out->n_paused += p->n_paused;
    out->n_completed = s->n_completed;
}

/* --- announces ------------------------------------------------------------------------------- */

static void stop_peer(struct swarm_table *t, struct swarm_peers *p, unsigned family, uint32_t i)
{
    if (i == NONE)
        return;
    peers_remove(t, p, family, i);
    peers_shrink(t, p, family);
}

/* Lists or renews the peer; returns its place. */
static uint32_t renew_peer(struct swarm_table *t, struct swarm *s, unsigned family, uint32_t i,
                           const uint8_t *key, const struct swarm_announce *a)
{
    struct swarm_peers *p = &s->families[family];
    if (i == NONE)
        i = peers_append(t, p, family, key);
    else if (a->event == SWARM_COMPLETED && a->is_seed && i >= p->n_seeds)
        s->n_completed++; /* only of one that we knew as a leecher, so that none counts twice */
    *record_tick(p, family, i) = (uint8_t)t->tick;
    peers_set_paused(p, family, i, a->is_paused && !a->is_seed);
    return peers_set_seed(t, p, family, i, a->is_seed);
}

/* The swarm of an announce, made if it is to be; NONE with ERR_OK: there is none to be. */
static enum err_code swarm_for(struct swarm_table *t, const struct swarm_announce *a,
                               uint32_t *out_swarm)
{
    uint32_t tag = swarm_tag(t, a->infohash);
    *out_swarm = swarm_find(t, tag, a->infohash);
    if (*out_swarm != NONE || a->event == SWARM_STOPPED || a->is_unlisted)
        return ERR_OK;
    *out_swarm = swarm_new(t, tag, a->infohash);
    if (*out_swarm != NONE)
        return ERR_OK;
    t->n_refused_memory++;
    return ERR_NO_MEMORY;
}

enum err_code swarm_table_announce(struct swarm_table *t, uint64_t now_us,
                                   const struct swarm_announce *a, uint8_t *out, uint32_t *out_n,
                                   struct swarm_counts *out_counts)
{
    uint8_t key[ADDR_COMPACT6_LEN];
    unsigned family = family_of(&a->peer);
    uint32_t swarm;
    *out_n = 0;
    *out_counts = (struct swarm_counts){0};
    swarm_table_tick(t, now_us);
    enum err_code code = swarm_for(t, a, &swarm);
    if (swarm == NONE)
        return code;
    struct swarm *s = swarm_at(t, swarm);
    struct swarm_peers *p = &s->families[family];
    compact(&a->peer, key);
    uint32_t i = peers_find(t, p, family, key);
    if (a->event == SWARM_STOPPED) {
        stop_peer(t, p, family, i);
        fill_counts(s, family, out_counts);
        return ERR_OK;
    }
    if (i == NONE && !a->is_unlisted) {
        if (is_full(t))
            evict_peer(t, swarm);
        if (is_full(t) || !peers_reserve(t, p, family)) {
            t->n_refused_memory++;
            code = ERR_NO_MEMORY;
        }
    }
    if (code == ERR_OK && !a->is_unlisted)
        i = renew_peer(t, s, family, i, key, a);
    *out_n = answer(t, p, family, i, a, out);
    fill_counts(s, family, out_counts);
    return code;
}

/* --- the rest -------------------------------------------------------------------------------- */

bool swarm_table_has(const struct swarm_table *t, const uint8_t infohash[SHA1_LEN])
{
    return swarm_find(t, swarm_tag(t, infohash), infohash) != NONE;
}

void swarm_table_scrape(const struct swarm_table *t, const uint8_t infohash[SHA1_LEN],
                        struct swarm_counts *out)
{
    uint32_t i = swarm_find(t, swarm_tag(t, infohash), infohash);
    *out = (struct swarm_counts){0};
    if (i == NONE)
        return;
    fill_counts(swarm_at(t, i), 0, out);
    fill_counts(swarm_at(t, i), 1, out);
}

void swarm_table_remove(struct swarm_table *t, const uint8_t infohash[SHA1_LEN])
{
    uint32_t i = swarm_find(t, swarm_tag(t, infohash), infohash);
    if (i != NONE)
        swarm_free(t, i);
}

void swarm_table_filter(struct swarm_table *t, bool (*keep)(void *ctx, const uint8_t *infohash),
                        void *ctx)
{
    for (uint32_t i = 0; i < t->n_slab; i++) {
        const struct swarm *s = swarm_at(t, i);
        if (s->wheel_slot != SWARM_N_WHEEL && !keep(ctx, s->infohash))
            swarm_free(t, i);
    }
}

/* --- invariants ------------------------------------------------------------------------------ */

static void check_peers(const struct swarm_table *t, const struct swarm_peers *p, unsigned family)
{
    uint32_t n_paused = 0;
    assert(p->n <= p->cap && p->n_seeds <= p->n && p->n_paused <= p->n - p->n_seeds);
    tag_index_check(&p->index);
    assert(!is_indexed(p) || p->index.n == p->n);
    for (uint32_t i = 0; i < p->n; i++) {
        assert(peers_find(t, p, family, record(p, family, i)) == i);
        bool is_paused = *record_flags(p, family, i) & FLAG_PAUSED;
        assert(!is_paused || i >= p->n_seeds);
        n_paused += is_paused;
    }
    assert(n_paused == p->n_paused);
}

static void check_wheel(const struct swarm_table *t)
{
    uint32_t n = 0;
    for (uint32_t slot = 0; slot < SWARM_N_WHEEL; slot++) {
        for (uint32_t prev = NONE, i = t->wheel[slot]; i != NONE;
             prev = i, i = swarm_at(t, i)->next) {
            assert(swarm_at(t, i)->wheel_slot == slot && swarm_at(t, i)->prev == prev);
            n++;
        }
    }
    assert(n == t->n_swarms);
}

void swarm_table_check(const struct swarm_table *t)
{
    uint32_t n_peers[2] = {0}, n_swarms = 0;
    uint64_t n_seeds = 0;
    for (uint32_t i = 0; i < t->n_slab; i++) {
        const struct swarm *s = swarm_at(t, i);
        if (s->wheel_slot == SWARM_N_WHEEL)
            continue;
        n_swarms++;
        assert(swarm_find(t, swarm_tag(t, s->infohash), s->infohash) == i);
        for (unsigned f = 0; f < 2; f++) {
            check_peers(t, &s->families[f], f);
            n_peers[f] += s->families[f].n;
            n_seeds += s->families[f].n_seeds;
        }
    }
    assert(n_swarms == t->n_swarms && n_swarms <= t->n_swarms_max);
    assert(n_peers[0] == t->n_peers[0] && n_peers[1] == t->n_peers[1] && n_seeds == t->n_seeds);
    assert(n_peers[0] + n_peers[1] <= t->n_peers_max);
    tag_index_check(&t->by_hash);
    check_wheel(t);
}
