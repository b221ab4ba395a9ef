#include "torrent/ban_list.h"
#include <assert.h>

#define IP_KEY_LEN 17u

struct ban {
    struct list_node in_age; /* oldest first */
    uint8_t key[IP_KEY_LEN];
    uint64_t until_us;
};

static void key_of(const struct addr *a, uint8_t out[IP_KEY_LEN])
{
    out[0] = a->family;
    memcpy(out + 1, a->ip, sizeof a->ip);
}

void ban_list_init(struct ban_list *l, struct mem *mem, struct rng *rng, uint32_t n_max)
{
    *l = (struct ban_list){.mem = mem, .n_max = n_max ? n_max : BAN_LIST_N_MAX};
    map_init(&l->by_ip, mem, rng_map_seed(rng), IP_KEY_LEN, sizeof(struct ban *), l->n_max);
    list_init(&l->by_age);
}

static void drop(struct ban_list *l, struct ban *ban)
{
    map_remove(&l->by_ip, ban->key);
    list_remove(&l->by_age, &ban->in_age);
    mem_free(l->mem, ban);
}

void ban_list_clear(struct ban_list *l)
{
    LIST_EACH(&l->by_age, ban, struct ban, in_age)
    drop(l, ban);
    map_clear(&l->by_ip);
}

static struct ban *find(const struct ban_list *l, const struct addr *a)
{
    uint8_t key[IP_KEY_LEN];
    key_of(a, key);
    struct ban **slot = map_get(&l->by_ip, key);
    return slot ? *slot : NULL;
}

static struct ban *add(struct ban_list *l, const struct addr *a)
{
    if (l->by_age.n >= l->n_max) {
        l->n_evicted++;
        drop(l, CONTAINER_OF(list_first(&l->by_age), struct ban, in_age));
    }
    struct ban *ban = mem_calloc(l->mem, 1, sizeof *ban);
    if (!ban)
        return NULL;
    key_of(a, ban->key);
    bool is_new;
    struct ban **slot = map_put(&l->by_ip, ban->key, &is_new);
    if (!slot) {
        mem_free(l->mem, ban);
        return NULL;
    }
    *slot = ban;
    list_push_back(&l->by_age, &ban->in_age);
    return ban;
}

void ban_list_add(struct ban_list *l, const struct addr *a, uint64_t until_us)
{
    struct ban *ban = find(l, a);
    if (!ban)
        ban = add(l, a);
    if (!ban) {
        l->n_refused++;
        return;
    }
    l->n_banned++;
    if (until_us > ban->until_us)
        ban->until_us = until_us;
}

bool ban_list_has(struct ban_list *l, uint64_t now_us, const struct addr *a)
{
    struct ban *ban = find(l, a);
    if (!ban)
        return false;
    if (now_us >= ban->until_us && ban->until_us != UINT64_MAX) {
        drop(l, ban);
        return false;
    }
    l->n_hits++;
    return true;
}

bool ban_list_remove(struct ban_list *l, const struct addr *a)
{
    struct ban *ban = find(l, a);
    if (ban)
        drop(l, ban);
    return ban != NULL;
}

void ban_list_check(const struct ban_list *l)
{
    assert(l->by_age.n == l->by_ip.n && l->by_ip.n <= l->n_max);
    LIST_EACH(&l->by_age, ban, struct ban, in_age)
    {
        struct ban **slot = map_get(&l->by_ip, ban->key);
        assert(slot && *slot == ban);
    }
}
