#include "torrent/peer_list.h"
#include "base/size.h"
#include "base/timer.h"
#include "torrent/ban_list.h"
#include <assert.h>

#define SOURCES_OF_USER (PEER_FROM_MANUAL | PEER_FROM_MAGNET)

/* --- life ------------------------------------------------------------------------------------ */

void peer_list_init(struct peer_list *l, struct mem *mem, struct rng *rng, uint32_t n_max)
{
    *l = (struct peer_list){.mem = mem, .rng = rng, .n_max = n_max ? n_max : PEER_LIST_N_MAX};
    map_init(&l->by_addr, mem, rng_map_seed(rng), ADDR_KEY_LEN, sizeof(void *), l->n_max);
    list_init(&l->all);
    heap_init(&l->ready, mem);
    heap_init(&l->waiting, mem);
    heap_init(&l->worth, mem);
}

void peer_list_clear(struct peer_list *l)
{
    heap_clear(&l->ready);
    heap_clear(&l->waiting);
    heap_clear(&l->worth);
    map_clear(&l->by_addr);
    LIST_EACH(&l->all, e, struct peer_entry, in_all)
    mem_free(l->mem, e);
    list_init(&l->all);
    l->n = l->n_dialing = l->n_connected = 0;
}

struct peer_entry *peer_list_find(const struct peer_list *l, const struct addr *a)
{
    uint8_t key[ADDR_KEY_LEN];
    addr_key(a, key);
    struct peer_entry **slot = map_get(&l->by_addr, key);
    return slot ? *slot : NULL;
}

/* --- worth and queues ------------------------------------------------------------------------ */

/* More is better; the list loses its least first. */
static uint64_t worth_of(const struct peer_entry *e)
{
    uint64_t has_no_failure = e->n_failures == 0 || e->is_self;
    uint64_t is_known_well = (e->sources & ~(unsigned)PEER_FROM_PEX) != 0;
    uint64_t n_left = PEER_LIST_N_FAILURES_MAX - e->n_failures;
    return has_no_failure << 63 | (uint64_t)e->was_reached << 62 | is_known_well << 61 |
           n_left << 56 | (e->seen_at_us & (((uint64_t)1 << 56) - 1));
}

static uint64_t ready_key(const struct peer_entry *e)
{
    uint64_t is_found = !(e->sources & SOURCES_OF_USER);
    return (uint64_t)e->n_failures << 33 | is_found << 32 | (UINT32_MAX - e->priority);
}

static bool is_busy(const struct peer_entry *e)
{
    return e->state == PEER_DIALING || e->state == PEER_CONNECTED;
}

static void leave_queue(struct peer_list *l, struct peer_entry *e)
{
    if (e->state == PEER_READY)
        heap_remove(&l->ready, &e->in_queue);
    else if (e->state == PEER_WAITING)
        heap_remove(&l->waiting, &e->in_queue);
    l->n_dialing -= e->state == PEER_DIALING;
    l->n_connected -= e->state == PEER_CONNECTED;
}

static void note_worth(struct peer_list *l, struct peer_entry *e)
{
    if (is_busy(e))
        heap_remove(&l->worth, &e->in_worth);
    else if (e->in_worth.index != HEAP_NOT_IN)
        heap_update(&l->worth, &e->in_worth, worth_of(e));
    else if (heap_push(&l->worth, &e->in_worth, worth_of(e)))
        l->counters.n_refused++; /* only that it cannot be evicted */
}

static void set_state(struct peer_list *l, struct peer_entry *e, enum peer_entry_state state)
{
    leave_queue(l, e);
    e->state = (uint8_t)state;
    enum err_code code = ERR_OK;
    if (state == PEER_READY)
        code = heap_push(&l->ready, &e->in_queue, ready_key(e));
    else if (state == PEER_WAITING)
        code = heap_push(&l->waiting, &e->in_queue, e->retry_at_us);
    if (code) {
        l->counters.n_refused++;
        e->state = PEER_PASSIVE;
    }
    l->n_dialing += state == PEER_DIALING;
    l->n_connected += state == PEER_CONNECTED;
    note_worth(l, e);
}

/* Where an entry belongs that is not in use. */
static void settle(struct peer_list *l, uint64_t now_us, struct peer_entry *e)
{
    bool is_passive = e->is_self || e->has_ephemeral_port || (e->is_seed && l->is_seeding);
    set_state(l, e,
              is_passive                ? PEER_PASSIVE
              : e->retry_at_us > now_us ? PEER_WAITING
                                        : PEER_READY);
}

static uint32_t priority_of(const struct peer_list *l, const struct addr *a)
{
    if (l->own.family == a->family)
        return addr_peer_priority(&l->own, a);
    return (uint32_t)rng_u64(l->rng); /* no rule without both addresses: by lot */
}

/* --- coming and going ------------------------------------------------------------------------ */

static void drop(struct peer_list *l, struct peer_entry *e)
{
    uint8_t key[ADDR_KEY_LEN];
    addr_key(&e->addr, key);
    leave_queue(l, e);
    heap_remove(&l->worth, &e->in_worth);
    map_remove(&l->by_addr, key);
    list_remove(&l->all, &e->in_all);
    l->n--;
    mem_free(l->mem, e);
}

static bool make_room(struct peer_list *l, const struct peer_entry *newcomer)
{
    if (l->n < l->n_max)
        return true;
    struct heap_node *least = heap_top(&l->worth);
    if (!least || least->key > worth_of(newcomer)) {
        l->counters.n_full++;
        return false;
    }
    l->counters.n_evicted++;
    drop(l, CONTAINER_OF(least, struct peer_entry, in_worth));
    return true;
}

/* A copy of *e, known by its address, PASSIVE until settled. NULL: counted why. */
static struct peer_entry *keep(struct peer_list *l, const struct peer_entry *e)
{
    if (!make_room(l, e))
        return NULL;
    uint8_t key[ADDR_KEY_LEN];
    addr_key(&e->addr, key);
    bool is_new;
    struct peer_entry *kept = mem_dup(l->mem, e, sizeof *e);
    struct peer_entry **slot = kept ? map_put(&l->by_addr, key, &is_new) : NULL;
    if (!slot) {
        mem_free(l->mem, kept);
        l->counters.n_refused++;
        return NULL;
    }
    *slot = kept;
    kept->state = PEER_PASSIVE;
    kept->priority = priority_of(l, &e->addr);
    heap_node_init(&kept->in_queue);
    heap_node_init(&kept->in_worth);
    list_push_back(&l->all, &kept->in_all);
    l->n++;
    l->counters.n_added++;
    return kept;
}

struct peer_entry *peer_list_add(struct peer_list *l, uint64_t now_us, const struct addr *a,
                                 uint8_t sources, bool is_seed)
{
    if (!addr_is_dialable(a)) {
        l->counters.n_undialable++;
        return NULL;
    }
    struct peer_entry *e = peer_list_find(l, a);
    if (!e) {
        const struct peer_entry fresh = {
            .addr = *a, .sources = sources, .is_seed = is_seed, .seen_at_us = now_us};
        e = keep(l, &fresh);
        if (e)
            settle(l, now_us, e);
        return e;
    }
    l->counters.n_duplicate++;
    e->sources |= sources;
    e->is_seed |= is_seed;
    if (sources & ~(unsigned)PEER_FROM_PEX) /* gossip repeats itself for ever */
        e->seen_at_us = now_us;
    if (is_busy(e))
        return e;
    if (sources & PEER_FROM_MANUAL)
        e->retry_at_us = 0; /* somebody wants it now */
    settle(l, now_us, e);
    return e;
}

struct peer_entry *peer_list_next(struct peer_list *l, uint64_t now_us, struct ban_list *bans)
{
    for (;;) {
        struct heap_node *due = heap_top(&l->waiting);
        if (!due || due->key > now_us)
            break;
        set_state(l, CONTAINER_OF(due, struct peer_entry, in_queue), PEER_READY);
    }
    struct heap_node *top;
    while ((top = heap_top(&l->ready))) {
        struct peer_entry *e = CONTAINER_OF(top, struct peer_entry, in_queue);
        if (!bans || !ban_list_has(bans, now_us, &e->addr)) {
            set_state(l, e, PEER_DIALING);
            return e;
        }
        drop(l, e);
    }
    return NULL;
}

uint64_t peer_list_deadline_us(const struct peer_list *l)
{
    if (heap_top(&l->ready))
        return 0;
    const struct heap_node *due = heap_top(&l->waiting);
    return due ? due->key : DEADLINE_NEVER;
}

/* --- connections ----------------------------------------------------------------------------- */

static void connected(struct peer_list *l, uint64_t now_us, struct peer_entry *e)
{
    e->seen_at_us = e->connected_at_us = now_us;
    set_state(l, e, PEER_CONNECTED);
}

void peer_list_on_connected(struct peer_list *l, uint64_t now_us, struct peer_entry *e)
{
    assert(e->state == PEER_DIALING);
    e->was_reached = true;
    connected(l, now_us, e);
}

struct peer_entry *peer_list_on_incoming(struct peer_list *l, uint64_t now_us,
                                         const struct addr *from)
{
    struct peer_entry *e = peer_list_find(l, from);
    if (e && is_busy(e))
        return NULL;
    if (!e) {
        const struct peer_entry fresh = {.addr = *from,
                                         .sources = PEER_FROM_INCOMING,
                                         .has_ephemeral_port = true,
                                         .seen_at_us = now_us};
        e = keep(l, &fresh);
    }
    if (!e)
        return NULL;
    e->sources |= PEER_FROM_INCOMING;
    connected(l, now_us, e);
    return e;
}

/* The entry gets the key of its new address; false when there is no memory for that. */
static bool move(struct peer_list *l, struct peer_entry *e, const struct addr *to)
{
    uint8_t old_key[ADDR_KEY_LEN], new_key[ADDR_KEY_LEN];
    addr_key(&e->addr, old_key);
    addr_key(to, new_key);
    map_remove(&l->by_addr, old_key); /* first: the map may be full */
    bool is_new;
    struct peer_entry **slot = map_put(&l->by_addr, new_key, &is_new);
    if (slot)
        e->addr = *to;
    else
        slot = map_put(&l->by_addr, old_key, &is_new); /* where it was there is room */
    assert(slot);
    *slot = e;
    return addr_equal(&e->addr, to);
}

struct peer_entry *peer_list_set_listen_port(struct peer_list *l, uint64_t now_us,
                                             struct peer_entry *e, uint16_t port)
{
    struct addr to = e->addr;
    to.port = port;
    if (!e->has_ephemeral_port || !addr_is_dialable(&to))
        return e;
    struct peer_entry *other = peer_list_find(l, &to);
    if (!other || other == e) {
        if (other == e || move(l, e, &to)) {
            e->has_ephemeral_port = false;
            e->priority = priority_of(l, &e->addr);
        }
        return e;
    }
    if (is_busy(other))
        return NULL;
    l->counters.n_merged++;
    other->sources |= e->sources;
    other->is_seed |= e->is_seed;
    other->is_self |= e->is_self;
    drop(l, e);
    connected(l, now_us, other);
    return other;
}

static uint64_t backoff_us(struct peer_list *l, const struct peer_entry *e)
{
    uint64_t us = PEER_LIST_RETRY_US;
    for (uint32_t i = 1; i < e->n_failures && us < PEER_LIST_RETRY_US_MAX; i++)
        us *= 2;
    us = u64_min(us, PEER_LIST_RETRY_US_MAX);
    return us + rng_below64(l->rng, us / 4);
}

static void fail(struct peer_list *l, uint64_t now_us, struct peer_entry *e)
{
    e->n_failures += e->n_failures < PEER_LIST_N_FAILURES_MAX;
    e->retry_at_us = now_us + backoff_us(l, e);
}

void peer_list_on_failed(struct peer_list *l, uint64_t now_us, struct peer_entry *e)
{
    assert(is_busy(e));
    if (e->has_ephemeral_port) {
        drop(l, e);
        return;
    }
    fail(l, now_us, e);
    settle(l, now_us, e);
}

void peer_list_on_closed(struct peer_list *l, uint64_t now_us, struct peer_entry *e, bool is_fault)
{
    assert(e->state == PEER_CONNECTED);
    if (e->has_ephemeral_port) {
        drop(l, e);
        return;
    }
    e->seen_at_us = now_us;
    if (is_fault || now_us - e->connected_at_us < PEER_LIST_SHORT_US) {
        fail(l, now_us, e);
    } else {
        e->n_failures = 0;
        e->retry_at_us = now_us + PEER_LIST_RECONNECT_US;
    }
    settle(l, now_us, e);
}

void peer_list_on_cancelled(struct peer_list *l, uint64_t now_us, struct peer_entry *e)
{
    assert(is_busy(e));
    if (e->has_ephemeral_port)
        drop(l, e);
    else
        settle(l, now_us, e);
}

/* --- what is learned ------------------------------------------------------------------------- */

void peer_list_mark_self(struct peer_list *l, struct peer_entry *e)
{
    (void)l;
    assert(is_busy(e));
    e->is_self = true;
}

void peer_list_mark_seed(struct peer_list *l, struct peer_entry *e, bool is_seed)
{
    (void)l;
    assert(is_busy(e));
    e->is_seed = is_seed;
}

void peer_list_set_seeding(struct peer_list *l, bool is_seeding)
{
    if (l->is_seeding == is_seeding)
        return;
    l->is_seeding = is_seeding;
    LIST_EACH(&l->all, e, struct peer_entry, in_all)
    if (e->is_seed && !is_busy(e)) /* those due are found so by the next peer_list_next */
        set_state(l, e,
                  is_seeding || e->is_self || e->has_ephemeral_port ? PEER_PASSIVE : PEER_WAITING);
}

void peer_list_set_own(struct peer_list *l, const struct addr *own)
{
    if (addr_equal(&l->own, own))
        return;
    l->own = *own;
    LIST_EACH(&l->all, e, struct peer_entry, in_all)
    {
        e->priority = priority_of(l, &e->addr);
        if (e->state == PEER_READY)
            heap_update(&l->ready, &e->in_queue, ready_key(e));
    }
}

const struct peer_entry *peer_list_each(const struct peer_list *l, const struct peer_entry *after)
{
    const struct list_node *n = after ? after->in_all.next : l->all.head.next;
    return n == &l->all.head
               ? NULL
               : (const struct peer_entry *)CONTAINER_OF(n, struct peer_entry, in_all);
}

void peer_list_check(const struct peer_list *l)
{
    uint32_t n = 0, n_dialing = 0, n_connected = 0, n_ready = 0, n_waiting = 0;
    LIST_EACH(&l->all, e, struct peer_entry, in_all)
    {
        n++;
        assert(peer_list_find(l, &e->addr) == e);
        n_dialing += e->state == PEER_DIALING;
        n_connected += e->state == PEER_CONNECTED;
        n_ready += e->state == PEER_READY;
        n_waiting += e->state == PEER_WAITING;
        assert(!is_busy(e) || e->in_worth.index == HEAP_NOT_IN);
        assert(e->in_worth.index == HEAP_NOT_IN || e->in_worth.key == worth_of(e));
        assert(e->state != PEER_READY || e->in_queue.key == ready_key(e));
        assert(e->state != PEER_WAITING || e->in_queue.key == e->retry_at_us);
        if (e->state == PEER_READY || e->state == PEER_WAITING)
            assert(!e->is_self && !e->has_ephemeral_port && !(e->is_seed && l->is_seeding));
    }
    assert(n == l->n && n <= l->n_max && n == l->by_addr.n);
    assert(n_dialing == l->n_dialing && n_connected == l->n_connected);
    assert(n_ready == l->ready.n && n_waiting == l->waiting.n);
    heap_check(&l->ready);
    heap_check(&l->waiting);
    heap_check(&l->worth);
}
