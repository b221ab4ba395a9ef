#include "torrent/upload_queue.h"
#include <assert.h>

static uint64_t key_of(const struct wire_block *b)
{
    return (uint64_t)b->piece << 32 | b->begin;
}

static uint32_t slot(const struct upload_queue *q, uint32_t i)
{
    return (q->start + i) & (q->cap - 1);
}

static struct wire_block get(const struct upload_queue *q, uint32_t i)
{
    uint64_t key = q->keys[slot(q, i)];
    return (struct wire_block){(uint32_t)(key >> 32), (uint32_t)key, q->lens[slot(q, i)]};
}

static uint32_t n_hashes(uint32_t cap)
{
    return 8 * cap;
}

/* A key counts at two places of the table, so that one which is not there is taken for one that is
 * only where both happen to be used: in a full queue one time in twenty. */
static uint32_t *hashed(const struct upload_queue *q, uint64_t key, int which)
{
    static const uint64_t factors[2] = {0x9E3779B97F4A7C15u, 0xD6E8FEB86659FD93u};
    return &q->n_hashed[key * factors[which] >> (__builtin_clzll(n_hashes(q->cap)) + 1)];
}

static bool may_have(const struct upload_queue *q, uint64_t key)
{
    return q->cap > 0 && *hashed(q, key, 0) > 0 && *hashed(q, key, 1) > 0;
}

static void count_in(struct upload_queue *q, uint64_t key)
{
    (*hashed(q, key, 0))++;
    (*hashed(q, key, 1))++;
}

static void count_out(struct upload_queue *q, uint64_t key)
{
    (*hashed(q, key, 0))--;
    (*hashed(q, key, 1))--;
}

void upload_queue_init(struct upload_queue *q, struct mem *mem, uint32_t n_max)
{
    *q = (struct upload_queue){.mem = mem, .n_max = n_max};
}

void upload_queue_clear(struct upload_queue *q)
{
    mem_free(q->mem, q->keys);
    mem_free(q->mem, q->lens);
    mem_free(q->mem, q->n_hashed);
    *q = (struct upload_queue){.mem = q->mem, .n_max = q->n_max};
}

static bool grow(struct upload_queue *q)
{
    uint32_t cap = q->cap ? q->cap * 2 : 8;
    uint64_t *keys = mem_alloc(q->mem, sizeof *keys * cap);
    uint32_t *lens = mem_alloc(q->mem, sizeof *lens * cap);
    uint32_t *n_hashed = mem_calloc(q->mem, n_hashes(cap), sizeof *n_hashed);
    if (!keys || !lens || !n_hashed) {
        mem_free(q->mem, keys);
        mem_free(q->mem, lens);
        mem_free(q->mem, n_hashed);
        return false;
    }
    for (uint32_t i = 0; i < q->n; i++) {
        keys[i] = q->keys[slot(q, i)];
        lens[i] = q->lens[slot(q, i)];
    }
    mem_free(q->mem, q->keys);
    mem_free(q->mem, q->lens);
    mem_free(q->mem, q->n_hashed);
    q->keys = keys;
    q->lens = lens;
    q->n_hashed = n_hashed;
    q->start = 0;
    q->cap = cap;
    for (uint32_t i = 0; i < q->n; i++)
        count_in(q, keys[i]);
    return true;
}

/* The place of a request, q->n when it is not there: mostly so, and then one look tells. */
static uint32_t find(const struct upload_queue *q, uint64_t key)
{
    uint32_t i = 0;
    if (!may_have(q, key))
        return q->n;
    while (i < q->n && q->keys[slot(q, i)] != key)
        i++;
    return i;
}

enum upload_queue_result upload_queue_push(struct upload_queue *q, const struct wire_block *b)
{
    if (find(q, key_of(b)) < q->n)
        return UPLOAD_DUPLICATE;
    if (q->n >= q->n_max || (q->n == q->cap && !grow(q)))
        return UPLOAD_FULL;
    uint32_t at = slot(q, q->n++);
    q->keys[at] = key_of(b);
    q->lens[at] = b->len;
    q->len += b->len;
    count_in(q, q->keys[at]);
    return UPLOAD_QUEUED;
}

bool upload_queue_peek(const struct upload_queue *q, struct wire_block *out)
{
    if (q->n == 0)
        return false;
    *out = get(q, 0);
    return true;
}

bool upload_queue_pop(struct upload_queue *q, struct wire_block *out)
{
    if (!upload_queue_peek(q, out))
        return false;
    count_out(q, key_of(out));
    q->start = slot(q, 1);
    q->n--;
    q->len -= out->len;
    return true;
}

/* Those before it move up by one: what is cancelled mostly stands near the front or alone. */
static void remove_at(struct upload_queue *q, uint32_t at)
{
    q->len -= q->lens[slot(q, at)];
    count_out(q, q->keys[slot(q, at)]);
    for (uint32_t i = at; i > 0; i--) {
        q->keys[slot(q, i)] = q->keys[slot(q, i - 1)];
        q->lens[slot(q, i)] = q->lens[slot(q, i - 1)];
    }
    q->start = slot(q, 1);
    q->n--;
}

bool upload_queue_cancel(struct upload_queue *q, const struct wire_block *b)
{
    uint32_t at = find(q, key_of(b));
    if (at == q->n || q->lens[slot(q, at)] != b->len)
        return false;
    remove_at(q, at);
    return true;
}

static bool is_kept(const uint32_t *keep, size_t keep_n, uint32_t piece)
{
    for (size_t i = 0; i < keep_n; i++)
        if (keep[i] == piece)
            return true;
    return false;
}

bool upload_queue_flush_next(struct upload_queue *q, const uint32_t *keep, size_t keep_n,
                             struct wire_block *out)
{
    uint32_t i = 0;
    while (i < q->n && is_kept(keep, keep_n, get(q, i).piece))
        i++;
    if (i == q->n)
        return false;
    *out = get(q, i);
    remove_at(q, i);
    return true;
}

void upload_queue_check(const struct upload_queue *q)
{
    uint64_t len = 0;
    assert(q->n <= q->cap && q->n <= q->n_max && (q->cap & (q->cap - 1)) == 0);
    assert(q->cap == 0 || q->start < q->cap);
    for (uint32_t i = 0; i < q->n; i++) {
        len += q->lens[slot(q, i)];
        for (uint32_t j = 0; j < i; j++)
            assert(q->keys[slot(q, i)] != q->keys[slot(q, j)]);
    }
    assert(len == q->len);
    uint32_t n_hashed = 0;
    for (uint32_t i = 0; i < n_hashes(q->cap); i++)
        n_hashed += q->n_hashed[i];
    for (uint32_t i = 0; i < q->n; i++)
        assert(may_have(q, q->keys[slot(q, i)]));
    assert(n_hashed == 2 * q->n);
}
