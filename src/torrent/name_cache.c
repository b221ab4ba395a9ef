#include "torrent/name_cache.h"
#include <assert.h>

static unsigned family_index(enum addr_family family)
{
    return family == ADDR_V6;
}

void name_cache_init(struct name_cache *c, struct mem *mem, struct map_seed seed, size_t n_max)
{
    *c = (struct name_cache){.mem = mem};
    map_init(&c->by_name, mem, seed, SHA1_LEN, sizeof(struct name_entry *), n_max);
    list_init(&c->lru);
    list_init(&c->to_ask);
}

void name_cache_clear(struct name_cache *c)
{
    LIST_EACH(&c->lru, e, struct name_entry, in_lru)
    {
        mem_free(c->mem, e);
    }
    map_clear(&c->by_name);
}

static bool is_evictable(const struct name_entry *e)
{
    return !e->is_asking;
}

/* Makes room for one: the name unused for longest that nobody waits for. */
static bool evict(struct name_cache *c)
{
    LIST_EACH(&c->lru, e, struct name_entry, in_lru)
    {
        if (!is_evictable(e))
            continue;
        assert(list_is_empty(&e->waiting));
        map_remove(&c->by_name, e->key);
        list_remove(&c->lru, &e->in_lru);
        mem_free(c->mem, e);
        return true;
    }
    return false;
}

static enum err_code add(struct name_cache *c, const uint8_t key[SHA1_LEN], struct bytes name,
                         struct name_entry **out)
{
    bool is_new;
    if (c->by_name.n >= c->by_name.n_max && !evict(c))
        return ERR_LIMIT;
    struct name_entry *e = mem_calloc(c->mem, 1, sizeof *e);
    if (!e)
        return ERR_NO_MEMORY;
    struct name_entry **slot = map_put(&c->by_name, key, &is_new);
    if (!slot) {
        mem_free(c->mem, e);
        return ERR_NO_MEMORY;
    }
    *slot = e;
    memcpy(e->key, key, SHA1_LEN);
    memcpy(e->text, name.data, name.len);
    list_init(&e->waiting);
    list_push_back(&c->lru, &e->in_lru);
    *out = e;
    return ERR_OK;
}

enum err_code name_cache_get(struct name_cache *c, uint64_t now_us, struct bytes name,
                             struct name_entry **out)
{
    uint8_t key[SHA1_LEN];
    assert(name.len > 0 && name.len <= NAME_LEN_MAX);
    sha1(name, key);
    struct name_entry **slot = map_get(&c->by_name, key);
    struct name_entry *e = slot ? *slot : NULL;
    if (!e) {
        enum err_code code = add(c, key, name, &e);
        if (code)
            return code;
    }
    list_remove(&c->lru, &e->in_lru);
    list_push_back(&c->lru, &e->in_lru);
    if (!e->is_asking && now_us >= e->expires_at_us) {
        e->is_asking = true;
        list_push_back(&c->to_ask, &e->in_to_ask);
    }
    *out = e;
    return ERR_OK;
}

struct name_entry *name_cache_next_to_ask(struct name_cache *c)
{
    struct list_node *node = list_pop_front(&c->to_ask);
    return node ? CONTAINER_OF(node, struct name_entry, in_to_ask) : NULL;
}

void name_cache_answer(struct name_entry *e, uint64_t now_us, const struct addr *addrs, size_t n)
{
    assert(e->is_asking && !list_node_is_linked(&e->in_to_ask));
    e->is_asking = false;
    e->expires_at_us = now_us + (n ? NAME_LIFE_US : NAME_FAILED_LIFE_US);
    memset(e->n_addrs, 0, sizeof e->n_addrs);
    memset(e->at, 0, sizeof e->at);
    for (size_t i = 0; i < n; i++) {
        unsigned f = family_index((enum addr_family)addrs[i].family);
        if (e->n_addrs[f] < NAME_ADDRS_MAX)
            e->addrs[f][e->n_addrs[f]++] = addrs[i];
    }
}

const struct addr *name_entry_addr(const struct name_entry *e, enum addr_family family)
{
    unsigned f = family_index(family);
    return e->n_addrs[f] ? &e->addrs[f][e->at[f]] : NULL;
}

void name_cache_turn(struct name_cache *c, struct bytes name, enum addr_family family)
{
    uint8_t key[SHA1_LEN];
    unsigned f = family_index(family);
    sha1(name, key);
    struct name_entry **slot = map_get(&c->by_name, key);
    if (slot && (*slot)->n_addrs[f])
        (*slot)->at[f] = (uint8_t)(((*slot)->at[f] + 1) % (*slot)->n_addrs[f]);
}

void name_cache_check(const struct name_cache *c)
{
    assert(c->lru.n == c->by_name.n && c->by_name.n <= c->by_name.n_max);
    LIST_EACH(&c->lru, e, struct name_entry, in_lru)
    {
        assert(e->is_asking || list_is_empty(&e->waiting));
        assert(e->is_asking || !list_node_is_linked(&e->in_to_ask));
        for (unsigned f = 0; f < 2; f++)
            assert(e->n_addrs[f] == 0 || e->at[f] < e->n_addrs[f]);
    }
}
