#include "torrent/choker.h"
#include "base/size.h"
#include "base/timer.h"
#include <assert.h>

/* --- life ------------------------------------------------------------------------------------ */

static uint32_t slots_for(uint64_t up_per_s)
{
    uint64_t n = 0; /* slot k earns k * CHOKER_SLOT_STEP: n * n * step <= rate */
    while (n < UINT16_MAX && (n + 1) * (n + 1) * CHOKER_SLOT_STEP <= up_per_s)
        n++;
    return (uint32_t)n;
}

static uint32_t slots_at_start(const struct choker *c)
{
    if (c->n_slots_fixed)
        return c->n_slots_fixed;
    if (c->max_up_per_s == 0)
        return CHOKER_N_SLOTS_START;
    uint32_t n = slots_for(c->max_up_per_s);
    return n > CHOKER_N_SLOTS_MIN ? n : CHOKER_N_SLOTS_MIN;
}

void choker_init(struct choker *c, struct mem *mem, struct rng *rng, uint64_t now_us,
                 uint32_t n_slots_fixed, uint64_t max_up_per_s)
{
    *c = (struct choker){.mem = mem, .rng = rng};
    list_init(&c->changed);
    choker_set_limits(c, now_us, n_slots_fixed, max_up_per_s);
}

void choker_clear(struct choker *c)
{
    assert(c->n_peers == 0);
    mem_free(c->mem, c->peers);
    mem_free(c->mem, c->ranked);
    c->peers = c->ranked = NULL;
    c->cap = 0;
}

void choker_peer_init(struct choker_peer *p)
{
    *p = (struct choker_peer){0};
}

static bool grow(struct choker *c)
{
    if (c->n_peers < c->cap)
        return true;
    size_t cap = c->cap * 2 + 16;
    void *peers = mem_realloc(c->mem, c->peers, sizeof *c->peers * cap);
    if (peers)
        c->peers = peers;
    void *ranked = mem_realloc(c->mem, c->ranked, sizeof *c->ranked * cap);
    if (ranked)
        c->ranked = ranked;
    if (!peers || !ranked)
        return false;
    c->cap = cap;
    return true;
}

enum err_code choker_add(struct choker *c, uint64_t now_us, struct choker_peer *p)
{
    if (!grow(c))
        return ERR_NO_MEMORY;
    p->is_interested = p->is_unchoked = p->is_optimistic = p->was_tried = p->is_changed = false;
    p->choked_at_us = now_us;
    p->number = c->n_added++;
    p->index = c->n_peers;
    c->peers[c->n_peers++] = p;
    return ERR_OK;
}

/* --- one peer -------------------------------------------------------------------------------- */

static void set_unchoked(struct choker *c, uint64_t now_us, struct choker_peer *p, bool is_unchoked)
{
    if (p->is_unchoked == is_unchoked)
        return;
    p->is_unchoked = is_unchoked;
    if (is_unchoked) {
        p->was_tried = true;
        p->unchoked_at_us = now_us;
        p->up_total_at_unchoke = p->up_total;
        c->n_unchoked++;
        c->counters.n_unchokes++;
    } else {
        p->is_optimistic = false;
        p->choked_at_us = now_us;
        c->n_unchoked--;
        c->counters.n_chokes++;
    }
    if (p->is_changed) /* back to what the owner knows */
        list_remove(&c->changed, &p->in_changed);
    else
        list_push_back(&c->changed, &p->in_changed);
    p->is_changed = !p->is_changed;
}

struct choker_peer *choker_next_change(struct choker *c)
{
    struct list_node *n = list_pop_front(&c->changed);
    if (!n)
        return NULL;
    struct choker_peer *p = CONTAINER_OF(n, struct choker_peer, in_changed);
    p->is_changed = false;
    return p;
}

static bool can_have_slot(const struct choker_peer *p)
{
    return p->is_interested && (!p->is_snubbed || p->is_seeding);
}

/* --- who is better --------------------------------------------------------------------------- */

static bool has_had_its_turn(const struct choker_peer *p, uint64_t now_us)
{
    uint64_t age_us = now_us - p->unchoked_at_us;
    if (age_us >= CHOKER_IDLE_US && p->up_per_s < CHOKER_IDLE_RATE)
        return true;
    uint64_t quota_len = (uint64_t)p->piece_len * CHOKER_QUOTA_N_PIECES;
    if (quota_len < CHOKER_QUOTA_LEN_MIN)
        quota_len = CHOKER_QUOTA_LEN_MIN;
    if (age_us >= CHOKER_QUOTA_US && p->up_total - p->up_total_at_unchoke >= quota_len)
        return true;
    return age_us >= CHOKER_TURN_US_MAX;
}

/* Groups, best first: they give us something; a turn under way; waiting; the turn is over. */
enum group { GIVES, ON_TURN, WAITS, GIVES_NOTHING, TURN_OVER };

static enum group group_of(const struct choker_peer *p, uint64_t now_us)
{
    if (!p->is_seeding)
        return p->down_per_s > 0 ? GIVES : GIVES_NOTHING;
    if (!p->is_unchoked)
        return WAITS;
    return has_had_its_turn(p, now_us) ? TURN_OVER : ON_TURN;
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* < 0: a goes before b. */
static int compare(const struct choker_peer *a, const struct choker_peer *b, uint64_t now_us)
{
    enum group ga = group_of(a, now_us), gb = group_of(b, now_us);
    int by = (int)ga - (int)gb;
    if (by == 0 && ga == GIVES)
        by = compare_u64(b->down_per_s, a->down_per_s);
    else if (by == 0 &&
             (ga == WAITS || (ga == GIVES_NOTHING && !a->is_unchoked && !b->is_unchoked)))
        by = compare_u64(a->choked_at_us, b->choked_at_us);
    else if (by == 0)
        by = compare_u64(b->up_per_s, a->up_per_s);
    if (by == 0)
        by = (int)b->is_unchoked - (int)a->is_unchoked;
    return by ? by : compare_u64(a->number, b->number);
}

static int compare_now(const void *a, const void *b, void *ctx)
{
    const struct choker_peer *const *pa = a, *const *pb = b;
    return compare(*pa, *pb, *(const uint64_t *)ctx);
}

static int compare_up(const void *a, const void *b)
{
    const struct choker_peer *const *pa = a, *const *pb = b;
    return compare_u64((*pb)->up_per_s, (*pa)->up_per_s);
}

/* --- how many -------------------------------------------------------------------------------- */

/* The slots that carry their share, and half as many again to find out what more would carry. */
static uint32_t slots_seen(struct choker *c)
{
    size_t n = 0;
    uint64_t up_per_s = 0;
    for (size_t i = 0; i < c->n_peers; i++) {
        up_per_s += c->peers[i]->up_per_s;
        if (c->peers[i]->is_unchoked)
            c->ranked[n++] = c->peers[i];
    }
    if (c->max_up_per_s && up_per_s >= c->max_up_per_s - c->max_up_per_s / 10)
        return 0; /* the limit is reached: more slots carry nothing more */
    if (n > 1)
        qsort(c->ranked, n, sizeof *c->ranked, compare_up);
    uint32_t k = 0;
    while (k < n && c->ranked[k]->up_per_s >= (uint64_t)(k + 1) * CHOKER_SLOT_STEP)
        k++;
    return k + k / 2 + 2;
}

static uint32_t slots_now(struct choker *c)
{
    if (c->n_slots_fixed)
        return c->n_slots_fixed;
    uint32_t seen = slots_seen(c), least = CHOKER_N_SLOTS_MIN;
    if (c->max_up_per_s)
        least = slots_at_start(c);
    return seen > least ? seen : least;
}

/* --- slots ----------------------------------------------------------------------------------- */

/* Free slots go to the best that wait; nobody is choked. */
static void fill(struct choker *c, uint64_t now_us)
{
    while (c->n_unchoked < c->n_slots) {
        struct choker_peer *best = NULL;
        for (size_t i = 0; i < c->n_peers; i++) {
            struct choker_peer *p = c->peers[i];
            if (!p->is_unchoked && can_have_slot(p) && (!best || compare(p, best, now_us) < 0))
                best = p;
        }
        if (!best)
            break;
        set_unchoked(c, now_us, best, true);
    }
}

static uint32_t choose(struct choker *c, size_t n, uint32_t n_free, enum group first,
                       enum group last, uint64_t now_us)
{
    for (size_t i = 0; i < n && n_free > 0; i++) {
        struct choker_peer *p = c->ranked[i];
        enum group g = group_of(p, now_us);
        if (p->is_chosen || g < first || g > last)
            continue;
        p->is_chosen = true;
        n_free--;
    }
    return n_free;
}

/* Those who give go first, but for a quarter of the slots kept for torrents that we seed. */
static void choose_regular(struct choker *c, uint64_t now_us, uint32_t n_regular)
{
    size_t n = 0;
    uint32_t n_seeding = 0;
    for (size_t i = 0; i < c->n_peers; i++) {
        struct choker_peer *p = c->peers[i];
        p->is_chosen = false;
        if (!can_have_slot(p))
            continue;
        c->ranked[n++] = p;
        n_seeding += p->is_seeding;
    }
    if (n > 1)
        qsort_r(c->ranked, n, sizeof *c->ranked, compare_now, &now_us);
    uint32_t n_kept = n_regular / 4 < n_seeding ? n_regular / 4 : n_seeding;
    uint32_t n_free = choose(c, n, n_regular - n_kept, GIVES, GIVES, now_us);
    n_free = choose(c, n, n_free + n_kept, ON_TURN, WAITS, now_us);
    n_free = choose(c, n, n_free, GIVES, GIVES_NOTHING, now_us);
    choose(c, n, n_free, TURN_OVER, TURN_OVER, now_us);
}

static uint32_t weight(const struct choker_peer *p)
{
    if (p->is_chosen || !p->is_interested)
        return 0;
    return p->was_tried ? 1 : CHOKER_NEW_WEIGHT;
}

static struct choker_peer *draw(struct choker *c, const struct choker_peer *but_not)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < c->n_peers; i++)
        sum += c->peers[i] == but_not ? 0 : weight(c->peers[i]);
    if (sum == 0)
        return NULL;
    uint32_t at = rng_below(c->rng, sum);
    for (size_t i = 0;; i++) {
        uint32_t w = c->peers[i] == but_not ? 0 : weight(c->peers[i]);
        if (at < w)
            return c->peers[i];
        at -= w;
    }
}

static void choose_optimistic(struct choker *c, uint64_t now_us, uint32_t n_optimistic)
{
    bool is_over = now_us >= c->optimistic_at_us;
    if (is_over)
        c->optimistic_at_us = now_us + CHOKER_OPTIMISTIC_US;
    struct choker_peer *last = NULL;
    for (size_t i = 0; i < c->n_peers; i++) {
        struct choker_peer *p = c->peers[i];
        if (!p->is_optimistic)
            continue;
        if (is_over && !p->is_chosen)
            last = p;
        p->is_optimistic = !is_over && !p->is_chosen && n_optimistic > 0;
        p->is_chosen |= p->is_optimistic;
        n_optimistic -= p->is_optimistic;
    }
    while (n_optimistic > 0) {
        struct choker_peer *p = draw(c, last);
        if (!p)
            p = last && !last->is_chosen ? last : NULL;
        if (!p)
            break;
        p->is_chosen = p->is_optimistic = true;
        c->counters.n_optimistic++;
        n_optimistic--;
    }
}

static uint32_t count_optimistic(const struct choker *c)
{
    uint32_t n = c->n_slots / CHOKER_N_PER_OPTIMISTIC;
    if (c->is_optimistic_off)
        return 0;
    return n ? n : c->n_slots > 1;
}

static void rechoke(struct choker *c, uint64_t now_us)
{
    c->counters.n_rechokes++;
    c->n_slots = slots_now(c);
    uint32_t n_optimistic = count_optimistic(c);
    choose_regular(c, now_us, c->n_slots - n_optimistic);
    choose_optimistic(c, now_us, n_optimistic);
    for (size_t i = 0; i < c->n_peers; i++)
        if (!c->peers[i]->is_chosen)
            set_unchoked(c, now_us, c->peers[i], false);
    for (size_t i = 0; i < c->n_peers; i++)
        if (c->peers[i]->is_chosen)
            set_unchoked(c, now_us, c->peers[i], true);
    fill(c, now_us);
}

void choker_set_limits(struct choker *c, uint64_t now_us, uint32_t n_slots_fixed,
                       uint64_t max_up_per_s)
{
    c->n_slots_fixed = n_slots_fixed;
    c->max_up_per_s = max_up_per_s;
    c->n_slots = slots_at_start(c);
    c->rechoke_at_us = c->grow_at_us = c->optimistic_at_us = now_us;
    if (c->n_unchoked > c->n_slots)
        rechoke(c, now_us);
}

/* --- inputs ---------------------------------------------------------------------------------- */

static void set_interested(struct choker *c, struct choker_peer *p, bool is_interested)
{
    if (p->is_interested == is_interested)
        return;
    p->is_interested = is_interested;
    if (is_interested)
        c->n_wanting++;
    else
        c->n_wanting--;
}

void choker_remove(struct choker *c, uint64_t now_us, struct choker_peer *p)
{
    set_interested(c, p, false);
    set_unchoked(c, now_us, p, false);
    if (p->is_changed)
        list_remove(&c->changed, &p->in_changed);
    p->is_changed = false;
    struct choker_peer *last = c->peers[--c->n_peers];
    c->peers[p->index] = last;
    last->index = p->index;
    fill(c, now_us);
}

void choker_on_interest(struct choker *c, uint64_t now_us, struct choker_peer *p,
                        bool is_interested)
{
    bool is_first = c->n_wanting == 0;
    set_interested(c, p, is_interested && !p->is_upload_only);
    if (is_first && p->is_interested && c->rechoke_at_us <= now_us) {
        c->rechoke_at_us = now_us + CHOKER_RECHOKE_US;
        c->grow_at_us = now_us + CHOKER_GROW_US;
    }
    if (!p->is_interested)
        set_unchoked(c, now_us, p, false);
    fill(c, now_us);
}

uint64_t choker_deadline_us(const struct choker *c)
{
    if (c->n_wanting == 0)
        return DEADLINE_NEVER;
    bool may_grow = c->n_unchoked < c->n_wanting && !c->n_slots_fixed;
    return may_grow ? u64_min(c->rechoke_at_us, c->grow_at_us) : c->rechoke_at_us;
}

void choker_on_tick(struct choker *c, uint64_t now_us)
{
    if (now_us >= c->rechoke_at_us) {
        c->rechoke_at_us = now_us + CHOKER_RECHOKE_US;
        c->grow_at_us = now_us + CHOKER_GROW_US;
        rechoke(c, now_us);
    } else if (now_us >= c->grow_at_us) {
        c->grow_at_us = now_us + CHOKER_GROW_US;
        uint32_t n = slots_now(c);
        c->n_slots = n > c->n_slots ? n : c->n_slots;
        fill(c, now_us);
    }
}

void choker_check(const struct choker *c)
{
    uint32_t n_unchoked = 0, n_wanting = 0, n_changed = 0;
    assert(c->n_peers <= c->cap && c->n_slots > 0);
    for (size_t i = 0; i < c->n_peers; i++) {
        const struct choker_peer *p = c->peers[i];
        assert(p->index == i);
        assert(!p->is_unchoked || (p->is_interested && p->was_tried));
        assert(!p->is_optimistic || p->is_unchoked);
        assert(p->is_changed == list_node_is_linked(&p->in_changed));
        n_unchoked += p->is_unchoked;
        n_wanting += p->is_interested;
        n_changed += p->is_changed;
    }
    assert(n_unchoked == c->n_unchoked && n_wanting == c->n_wanting);
    assert(n_changed == c->changed.n && n_unchoked <= c->n_slots);
}
