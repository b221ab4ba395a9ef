#include "torrent/pex.h"
#include "base/size.h"
#include <assert.h>

/* --- sending --------------------------------------------------------------------------------- */

void pex_out_init(struct pex_out *p, struct mem *mem, uint64_t now_us)
{
    *p = (struct pex_out){.mem = mem, .next_at_us = now_us + PEX_FIRST_DELAY_US};
}

void pex_out_clear(struct pex_out *p)
{
    mem_free(p->mem, p->told);
    p->told = NULL;
    p->n_told = p->cap = 0;
}

uint64_t pex_out_deadline_us(const struct pex_out *p)
{
    return p->next_at_us;
}

static int compare(const void *a, const void *b)
{
    return addr_compare(&((const struct pex_peer *)a)->addr, &((const struct pex_peer *)b)->addr);
}

static size_t sort_unique(struct pex_peer *peers, size_t n)
{
    size_t kept = 0;
    if (n)
        qsort(peers, n, sizeof *peers, compare);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || compare(&peers[kept - 1], &peers[i]) != 0)
            peers[kept++] = peers[i];
    return kept;
}

static bool contains(const struct pex_peer *sorted, size_t n, const struct pex_peer *peer)
{
    return n && bsearch(peer, sorted, n, sizeof *sorted, compare);
}

/* Of a what b does not have, the first max. Both sorted. */
static size_t difference(const struct pex_peer *a, size_t n_a, const struct pex_peer *b, size_t n_b,
                         struct pex_peer *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < n_a && n < max; i++)
        if (!contains(b, n_b, &a[i]))
            out[n++] = a[i];
    return n;
}

static bool reserve(struct pex_out *p, size_t n)
{
    if (n <= p->cap)
        return true;
    size_t cap = size_min(size_max(n, 2 * (size_t)p->cap), PEX_TOLD_MAX);
    struct pex_peer *told = mem_realloc(p->mem, p->told, cap * sizeof *told);
    if (!told)
        return false;
    p->told = told;
    p->cap = (uint32_t)cap;
    return true;
}

/* The message is written: remember it. */
static void remember(struct pex_out *p, const struct pex_peer *added, size_t n_added,
                     const struct pex_peer *dropped, size_t n_dropped)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->n_told; i++)
        if (!contains(dropped, n_dropped, &p->told[i]))
            p->told[kept++] = p->told[i];
    if (n_added)
        memcpy(p->told + kept, added, n_added * sizeof *added);
    p->n_told = kept + (uint32_t)n_added;
    if (p->n_told)
        qsort(p->told, p->n_told, sizeof *p->told, compare);
    p->n_msgs++;
}

bool pex_out_write(struct pex_out *p, uint64_t now_us, struct pex_peer *peers, size_t n_peers,
                   struct writer *w, enum err_code *err)
{
    struct pex_peer added[PEX_N_MAX], dropped[PEX_N_MAX];
    *err = ERR_OK;
    if (now_us < p->next_at_us)
        return false;
    p->next_at_us = now_us + PEX_INTERVAL_US;
    n_peers = sort_unique(peers, n_peers);
    size_t n_dropped = difference(p->told, p->n_told, peers, n_peers, dropped, PEX_N_MAX);
    size_t room = PEX_TOLD_MAX - (p->n_told - n_dropped);
    size_t n_added =
        difference(peers, n_peers, p->told, p->n_told, added, size_min(room, PEX_N_MAX));
    if (n_added + n_dropped == 0)
        return false;
    if (!reserve(p, p->n_told - n_dropped + n_added)) {
        *err = ERR_NO_MEMORY;
        return false;
    }
    ut_pex_write(w, added, n_added, dropped, n_dropped);
    *err = writer_end(w);
    if (*err)
        return false;
    remember(p, added, n_added, dropped, n_dropped);
    return true;
}

void pex_out_check(const struct pex_out *p)
{
    assert(p->n_told <= p->cap && p->cap <= PEX_TOLD_MAX);
    for (uint32_t i = 1; i < p->n_told; i++)
        assert(compare(&p->told[i - 1], &p->told[i]) < 0);
}

/* --- receiving ------------------------------------------------------------------------------- */

void pex_in_init(struct pex_in *p, uint64_t now_us)
{
    *p = (struct pex_in){.refilled_at_us = now_us, .n_tokens = PEX_IN_BURST};
}

static bool take_token(struct pex_in *p, uint64_t now_us)
{
    uint64_t n = (now_us - p->refilled_at_us) / PEX_IN_REFILL_US;
    p->refilled_at_us += n * PEX_IN_REFILL_US;
    p->n_tokens = (uint32_t)u64_min(PEX_IN_BURST, p->n_tokens + n);
    if (p->n_tokens == 0)
        return false;
    p->n_tokens--;
    return true;
}

/* BEP 11, "Security Considerations": one address with several ports is a way to point a swarm at
 * a victim. On loopback and private networks it is how several peers share a machine. */
static bool is_repeated(const struct pex_peer *peers, size_t n, const struct pex_peer *peer)
{
    bool is_local = addr_is_local(&peer->addr);
    for (size_t i = 0; i < n; i++)
        if (is_local ? addr_equal(&peers[i].addr, &peer->addr)
                     : addr_ip_equal(&peers[i].addr, &peer->addr))
            return true;
    return false;
}

static bool is_dropped(const struct ut_pex_msg *m, const struct pex_peer *peer)
{
    size_t n = size_min(ut_pex_n_dropped(m), PEX_IN_FIRST_MAX);
    for (size_t i = 0; i < n; i++) {
        struct pex_peer dropped = ut_pex_dropped(m, i);
        if (addr_equal(&dropped.addr, &peer->addr))
            return true;
    }
    return false;
}

static size_t take_added(struct pex_in *p, const struct ut_pex_msg *m, struct pex_peer *out,
                         size_t max)
{
    size_t n = 0, n_added = ut_pex_n_added(m);
    for (size_t i = 0; i < size_min(n_added, max); i++) {
        struct pex_peer peer = ut_pex_added(m, i);
        if (!addr_is_dialable(&peer.addr))
            p->n_undialable++;
        else if (is_repeated(out, n, &peer) || is_dropped(m, &peer))
            p->n_duplicate++;
        else
            out[n++] = peer;
    }
    p->n_taken += n;
    p->n_over += n_added - size_min(n_added, max);
    return n;
}

enum err_code pex_in_read(struct pex_in *p, uint64_t now_us, struct bytes payload,
                          struct pex_peer *out, size_t out_cap, size_t *out_n, struct err *err)
{
    struct ut_pex_msg m;
    *out_n = 0;
    if (!take_token(p, now_us)) {
        bool is_flood = ++p->n_early > PEX_IN_EARLY_MAX;
        return err_set_at(err, is_flood ? ERR_PROTOCOL : ERR_LIMIT, "peer exchange too often", 0,
                          p->n_early, PEX_IN_EARLY_MAX);
    }
    if (ut_pex_read(payload, &m, err)) {
        if (err)
            err->code = ERR_MALFORMED;
        return ERR_MALFORMED;
    }
    size_t max = p->n_msgs++ == 0 ? PEX_IN_FIRST_MAX : PEX_IN_ADDED_MAX;
    *out_n = take_added(p, &m, out, size_min(max, out_cap));
    return ERR_OK;
}
