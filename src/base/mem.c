#include "base/mem.h"
#include "base/size.h"
#include <assert.h>

/* In front of every block; keeps malloc's alignment. */
struct mem_head {
    size_t len;        /* as asked for, plus this head */
    struct mem *owner; /* so that a block that goes back to another owner is noticed */
};

static_assert(sizeof(struct mem_head) == 16, "blocks stay aligned to 16 bytes");

void mem_init(struct mem *m, size_t budget_len, struct mem *parent)
{
    *m = (struct mem){.budget_len = budget_len, .parent = parent};
}

/* Whether m and all above it can bear `more` bytes. Counts down fail_at on the way. */
static bool mem_allows(struct mem *m, size_t more)
{
    bool is_allowed = true;
    for (; m; m = m->parent) {
        if (m->used_len > m->budget_len || more > m->budget_len - m->used_len)
            is_allowed = false;
        if (m->fail_at && --m->fail_at == 0)
            is_allowed = false;
    }
    return is_allowed;
}

static void mem_count(struct mem *m, size_t more, size_t less, bool is_given)
{
    for (; m; m = m->parent) {
        assert(m->used_len >= less);
        m->used_len += more - less;
        m->peak_len = size_max(m->peak_len, m->used_len);
        m->n_allocs += is_given;
    }
}

static void *mem_refuse(struct mem *m)
{
    for (; m; m = m->parent)
        m->n_refused++;
    return NULL;
}

void *mem_alloc(struct mem *m, size_t len)
{
    size_t cost;
    if (!size_add(&cost, len, sizeof(struct mem_head)) || !mem_allows(m, cost))
        return mem_refuse(m);
    struct mem_head *head = malloc(cost);
    if (!head)
        return mem_refuse(m);
    *head = (struct mem_head){cost, m};
    mem_count(m, cost, 0, true);
    return head + 1;
}

void *mem_calloc(struct mem *m, size_t n, size_t len)
{
    size_t all, cost;
    if (!size_mul(&all, n, len) || !size_add(&cost, all, sizeof(struct mem_head)) ||
        !mem_allows(m, cost))
        return mem_refuse(m);
    struct mem_head *head = calloc(1, cost); /* large blocks come zeroed from the system */
    if (!head)
        return mem_refuse(m);
    *head = (struct mem_head){cost, m};
    mem_count(m, cost, 0, true);
    return head + 1;
}

void *mem_realloc(struct mem *m, void *p, size_t len)
{
    if (!p)
        return mem_alloc(m, len);
    struct mem_head *head = (struct mem_head *)p - 1;
    size_t cost, had = head->len;
    assert(head->owner == m);
    if (!size_add(&cost, len, sizeof *head) || !mem_allows(m, cost > had ? cost - had : 0))
        return mem_refuse(m);
    head = realloc(head, cost);
    if (!head)
        return mem_refuse(m);
    head->len = cost;
    mem_count(m, cost, had, true);
    return head + 1;
}

void *mem_dup(struct mem *m, const void *data, size_t len)
{
    void *p = mem_alloc(m, len);
    if (p && len)
        memcpy(p, data, len);
    return p;
}

char *mem_strndup(struct mem *m, const char *s, size_t len)
{
    size_t cap;
    char *p = size_add(&cap, len, 1) ? mem_alloc(m, cap) : mem_refuse(m);
    if (!p)
        return NULL;
    if (len)
        memcpy(p, s, len);
    p[len] = '\0';
    return p;
}

void mem_free(struct mem *m, void *p)
{
    if (!p)
        return;
    struct mem_head *head = (struct mem_head *)p - 1;
    assert(head->owner == m);
    mem_count(m, 0, head->len, false);
    head->owner = NULL;
    free(head);
}

void mem_check_empty(const struct mem *m)
{
    assert(m->used_len == 0);
    (void)m;
}
