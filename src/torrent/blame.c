#include "torrent/blame.h"
#include "crypto/sha.h"
#include <assert.h>

struct blame_sender {
    struct list_node in_unused;
    struct addr addr;
    uint32_t number;
    uint32_t n_uses;
    uint32_t n_open; /* records that name it among their senders */
};

struct blame_copy { /* one block of one failed download of the piece */
    uint32_t block, sender;
    uint8_t digest[SHA1_LEN];
};

struct blame_record {
    struct list_node in_age;
    uint32_t piece;
    struct blame_copy *copies;
    uint32_t n_copies, copies_cap;
    uint32_t *senders; /* each once: the suspects */
    uint32_t n_senders, senders_cap;
};

void blame_init(struct blame *b, struct mem *mem, struct rng *rng, uint32_t n_blocks_max,
                uint32_t n_senders_max)
{
    *b = (struct blame){.mem = mem,
                        .n_blocks_max = n_blocks_max ? n_blocks_max : BLAME_N_BLOCKS_MAX,
                        .n_senders_max = n_senders_max ? n_senders_max : BLAME_N_SENDERS_MAX};
    map_init(&b->senders, mem, rng_map_seed(rng), sizeof(uint32_t), sizeof(void *), SIZE_MAX);
    map_init(&b->by_addr, mem, rng_map_seed(rng), ADDR_KEY_LEN, sizeof(void *), SIZE_MAX);
    map_init(&b->records, mem, rng_map_seed(rng), sizeof(uint32_t), sizeof(void *), SIZE_MAX);
    list_init(&b->unused);
    list_init(&b->by_age);
}

/* --- senders --------------------------------------------------------------------------------- */

static struct blame_sender *sender_of(const struct blame *b, uint32_t number)
{
    struct blame_sender **slot = map_get(&b->senders, &number);
    return slot ? *slot : NULL;
}

static void sender_free(struct blame *b, struct blame_sender *s)
{
    uint8_t key[ADDR_KEY_LEN];
    addr_key(&s->addr, key);
    map_remove(&b->by_addr, key);
    map_remove(&b->senders, &s->number);
    if (list_node_is_linked(&s->in_unused))
        list_remove(&b->unused, &s->in_unused);
    mem_free(b->mem, s);
}

/* Those in use stay: there are as many as connections. */
static void trim_senders(struct blame *b)
{
    while (b->senders.n > b->n_senders_max && b->unused.n > 0)
        sender_free(b, CONTAINER_OF(list_first(&b->unused), struct blame_sender, in_unused));
}

static struct blame_sender *sender_new(struct blame *b, const struct addr *a,
                                       const uint8_t key[ADDR_KEY_LEN])
{
    struct blame_sender *s = mem_calloc(b->mem, 1, sizeof *s);
    if (!s)
        return NULL;
    s->addr = *a;
    do
        s->number = ++b->last_sender;
    while (s->number == BLAME_SENDER_NONE || sender_of(b, s->number));
    bool is_new;
    void **by_number = map_put(&b->senders, &s->number, &is_new);
    if (by_number)
        *by_number = s;
    void **by_addr = by_number ? map_put(&b->by_addr, key, &is_new) : NULL;
    if (by_addr) {
        *by_addr = s;
        return s;
    }
    if (by_number)
        map_remove(&b->senders, &s->number);
    mem_free(b->mem, s);
    return NULL;
}

uint32_t blame_take_sender(struct blame *b, const struct addr *a)
{
    uint8_t key[ADDR_KEY_LEN];
    addr_key(a, key);
    struct blame_sender **slot = map_get(&b->by_addr, key);
    struct blame_sender *s = slot ? *slot : sender_new(b, a, key);
    if (!s) {
        b->counters.n_refused++;
        return BLAME_SENDER_NONE;
    }
    if (list_node_is_linked(&s->in_unused))
        list_remove(&b->unused, &s->in_unused);
    s->n_uses++;
    trim_senders(b);
    return s->number;
}

void blame_release_sender(struct blame *b, uint32_t sender)
{
    struct blame_sender *s = sender_of(b, sender);
    if (!s)
        return;
    assert(s->n_uses > 0);
    if (--s->n_uses == 0)
        list_push_back(&b->unused, &s->in_unused);
    trim_senders(b);
}

bool blame_sender_addr(const struct blame *b, uint32_t sender, struct addr *out)
{
    const struct blame_sender *s = sender_of(b, sender);
    if (s)
        *out = s->addr;
    return s != NULL;
}

bool blame_is_suspect(const struct blame *b, uint32_t sender)
{
    const struct blame_sender *s = sender_of(b, sender);
    return s && s->n_open > 0;
}

/* --- records --------------------------------------------------------------------------------- */

static struct blame_record *record_of(const struct blame *b, uint32_t piece)
{
    struct blame_record **slot = map_get(&b->records, &piece);
    return slot ? *slot : NULL;
}

static void record_free(struct blame *b, struct blame_record *r)
{
    for (uint32_t i = 0; i < r->n_senders; i++) {
        struct blame_sender *s = sender_of(b, r->senders[i]);
        if (s && s->n_open > 0)
            s->n_open--;
    }
    b->n_blocks -= r->n_copies;
    map_remove(&b->records, &r->piece);
    list_remove(&b->by_age, &r->in_age);
    mem_free(b->mem, r->copies);
    mem_free(b->mem, r->senders);
    mem_free(b->mem, r);
}

static struct blame_record *record_want(struct blame *b, uint32_t piece)
{
    struct blame_record *r = record_of(b, piece);
    if (r)
        return r;
    if (b->by_age.n >= BLAME_N_RECORDS_MAX) {
        b->counters.n_evicted++;
        record_free(b, CONTAINER_OF(list_first(&b->by_age), struct blame_record, in_age));
    }
    bool is_new;
    r = mem_calloc(b->mem, 1, sizeof *r);
    void **slot = r ? map_put(&b->records, &piece, &is_new) : NULL;
    if (!slot) {
        mem_free(b->mem, r);
        b->counters.n_refused++;
        return NULL;
    }
    *slot = r;
    r->piece = piece;
    list_push_back(&b->by_age, &r->in_age);
    return r;
}

static bool has_room(struct blame *b, void **items, uint32_t *cap, uint32_t n, size_t item_len)
{
    if (n < *cap)
        return true;
    uint32_t more_cap = *cap * 2 + 8;
    void *more = mem_realloc(b->mem, *items, item_len * more_cap);
    if (!more) {
        b->counters.n_refused++;
        return false;
    }
    *items = more;
    *cap = more_cap;
    return true;
}

static void suspect(struct blame *b, struct blame_record *r, uint32_t sender)
{
    struct blame_sender *s = sender_of(b, sender);
    for (uint32_t i = 0; i < r->n_senders; i++)
        if (r->senders[i] == sender)
            return;
    void *senders = r->senders;
    bool has = s && has_room(b, &senders, &r->senders_cap, r->n_senders, sizeof *r->senders);
    r->senders = senders;
    if (!has)
        return;
    r->senders[r->n_senders++] = sender;
    s->n_open++;
}

uint32_t blame_on_bad(struct blame *b, uint32_t piece, const uint32_t *senders, uint32_t n_blocks)
{
    b->counters.n_failed++;
    bool is_sole = n_blocks > 0 && senders[0] != BLAME_SENDER_NONE;
    for (uint32_t i = 1; i < n_blocks; i++)
        is_sole &= senders[i] == senders[0];
    if (is_sole) {
        b->counters.n_sole++;
        return senders[0];
    }
    struct blame_record *r = record_want(b, piece);
    for (uint32_t i = 0; r && i < n_blocks; i++)
        suspect(b, r, senders[i]);
    return BLAME_SENDER_NONE;
}

/* The oldest other record makes room; a piece that alone is too much keeps what it has. */
static bool make_room(struct blame *b, const struct blame_record *r)
{
    while (b->n_blocks >= b->n_blocks_max) {
        struct blame_record *oldest =
            CONTAINER_OF(list_first(&b->by_age), struct blame_record, in_age);
        if (oldest == r) {
            b->counters.n_refused++;
            return false;
        }
        b->counters.n_evicted++;
        record_free(b, oldest);
    }
    return true;
}

void blame_add_block(struct blame *b, uint32_t piece, uint32_t block, uint32_t sender,
                     struct bytes data)
{
    struct blame_record *r = record_of(b, piece);
    if (!r || sender == BLAME_SENDER_NONE || !make_room(b, r))
        return;
    struct blame_copy copy = {.block = block, .sender = sender};
    sha1(data, copy.digest);
    for (uint32_t i = 0; i < r->n_copies; i++)
        if (memcmp(&r->copies[i], &copy, sizeof copy) == 0)
            return;
    void *copies = r->copies;
    bool has = has_room(b, &copies, &r->copies_cap, r->n_copies, sizeof *r->copies);
    r->copies = copies;
    if (!has)
        return;
    r->copies[r->n_copies++] = copy;
    b->n_blocks++;
}

bool blame_has(const struct blame *b, uint32_t piece)
{
    return record_of(b, piece) != NULL;
}

uint32_t blame_judge_block(struct blame *b, uint32_t piece, uint32_t block, struct bytes good,
                           uint32_t *out, uint32_t out_cap)
{
    const struct blame_record *r = record_of(b, piece);
    uint8_t digest[SHA1_LEN];
    uint32_t n = 0;
    bool is_hashed = false;
    for (uint32_t i = 0; r && i < r->n_copies && n < out_cap; i++) {
        const struct blame_copy *copy = &r->copies[i];
        if (copy->block != block)
            continue;
        if (!is_hashed)
            sha1(good, digest);
        is_hashed = true;
        bool is_named = memcmp(copy->digest, digest, SHA1_LEN) == 0;
        for (uint32_t j = 0; j < n; j++)
            is_named |= out[j] == copy->sender;
        if (!is_named)
            out[n++] = copy->sender;
    }
    b->counters.n_named += n;
    return n;
}

void blame_end_piece(struct blame *b, uint32_t piece)
{
    struct blame_record *r = record_of(b, piece);
    if (!r)
        return;
    b->counters.n_settled++;
    record_free(b, r);
}

/* --- the end --------------------------------------------------------------------------------- */

void blame_clear(struct blame *b)
{
    LIST_EACH(&b->by_age, r, struct blame_record, in_age)
    record_free(b, r);
    size_t cursor = 0;
    const void *key;
    void *value;
    while (map_next(&b->senders, &cursor, &key, &value))
        mem_free(b->mem, *(struct blame_sender **)value);
    map_clear(&b->senders);
    map_clear(&b->by_addr);
    map_clear(&b->records);
    list_init(&b->unused);
}

void blame_check(const struct blame *b)
{
    uint32_t n_blocks = 0, n_unused = 0;
    uint64_t n_open = 0;
    assert(b->senders.n == b->by_addr.n && b->by_age.n == b->records.n);
    LIST_EACH(&b->by_age, r, struct blame_record, in_age)
    {
        assert(record_of(b, r->piece) == r);
        n_blocks += r->n_copies;
        for (uint32_t i = 0; i < r->n_senders; i++)
            n_open += sender_of(b, r->senders[i]) != NULL;
    }
    size_t cursor = 0;
    const void *key;
    void *value;
    while (map_next(&b->senders, &cursor, &key, &value)) {
        const struct blame_sender *s = *(struct blame_sender **)value;
        uint8_t addr[ADDR_KEY_LEN];
        addr_key(&s->addr, addr);
        struct blame_sender **by_addr = map_get(&b->by_addr, addr);
        assert(by_addr && *by_addr == s && sender_of(b, s->number) == s);
        assert(list_node_is_linked(&s->in_unused) == (s->n_uses == 0));
        n_unused += s->n_uses == 0;
        n_open -= s->n_open;
    }
    assert(n_blocks == b->n_blocks && n_blocks <= b->n_blocks_max);
    assert(n_unused == b->unused.n && n_open == 0);
    assert(b->senders.n <= b->n_senders_max || n_unused == 0);
}
