/* choker_model: drives the choker by a string of bytes and checks its promises after each step: what
 * was told by choker_next_change is what holds, slots are not left free while somebody who may have
 * one waits, nobody is told the same twice.
 */
#pragma once
#include "base/timer.h"
#include "torrent/choker.h"
#include <assert.h>

#define CHOKER_MODEL_N 24u

struct choker_model {
    const uint8_t *data;
    size_t len, pos;
    struct mem mem;
    struct rng rng;
    struct choker c;
    struct choker_peer peers[CHOKER_MODEL_N];
    bool is_here[CHOKER_MODEL_N], was_told[CHOKER_MODEL_N]; /* told: it believes to be unchoked */
    uint64_t now_us, n_told;
};

static inline uint8_t choker_model_u8(struct choker_model *m)
{
    return m->pos < m->len ? m->data[m->pos++] : 0;
}

static inline void choker_model_listen(struct choker_model *m)
{
    struct choker_peer *p;
    while ((p = choker_next_change(&m->c))) {
        size_t i = (size_t)(p - m->peers);
        assert(m->is_here[i] && m->was_told[i] != p->is_unchoked);
        m->was_told[i] = p->is_unchoked;
        m->n_told++;
    }
    for (uint32_t i = 0; i < CHOKER_MODEL_N; i++)
        assert(!m->is_here[i] || m->was_told[i] == m->peers[i].is_unchoked);
}

static inline void choker_model_check(struct choker_model *m)
{
    choker_check(&m->c);
    bool does_somebody_wait = false;
    for (uint32_t i = 0; i < CHOKER_MODEL_N; i++) {
        const struct choker_peer *p = &m->peers[i];
        does_somebody_wait |=
            m->is_here[i] && p->is_interested && !p->is_unchoked && !p->is_snubbed;
        assert(!m->is_here[i] || !p->is_upload_only || !p->is_unchoked);
    }
    assert(!does_somebody_wait || m->c.n_unchoked >= m->c.n_slots);
}

static inline void choker_model_step(struct choker_model *m)
{
    uint32_t i = choker_model_u8(m) % CHOKER_MODEL_N;
    struct choker_peer *p = &m->peers[i];
    uint8_t what = choker_model_u8(m) % 8, arg = choker_model_u8(m);
    if (!m->is_here[i]) {
        choker_peer_init(p);
        assert(choker_add(&m->c, m->now_us, p) == ERR_OK);
        m->is_here[i] = true;
        m->was_told[i] = false;
        return;
    }
    switch (what) {
    case 0:
        choker_remove(&m->c, m->now_us, p);
        m->is_here[i] = false;
        break;
    case 1:
        p->is_upload_only = arg & 1;
        choker_on_interest(&m->c, m->now_us, p, arg & 2);
        break;
    case 2:
    case 3:
        choker_on_interest(&m->c, m->now_us, p, true);
        break;
    case 4:
        p->is_seeding = arg & 1;
        p->is_snubbed = arg & 2 && !p->is_unchoked;
        p->down_per_s = (uint64_t)arg << 12;
        choker_on_interest(&m->c, m->now_us, p, p->is_interested);
        break;
    case 5:
        p->up_per_s = (uint64_t)arg << 10;
        p->up_total += p->up_per_s;
        break;
    case 6:
        m->now_us += (uint64_t)arg * arg * 200;
        if (choker_deadline_us(&m->c) <= m->now_us)
            choker_on_tick(&m->c, m->now_us);
        break;
    default:
        choker_set_limits(&m->c, m->now_us, arg < 64 ? 1 + arg % 9 : 0,
                          arg < 128 ? 0 : (uint64_t)arg << 10);
        choker_on_tick(&m->c, m->now_us);
    }
}

static inline uint64_t choker_model_run(const uint8_t *data, size_t len)
{
    struct choker_model m = {.data = data, .len = len, .now_us = 1};
    mem_init(&m.mem, MEM_NO_BUDGET, NULL);
    rng_init(&m.rng, choker_model_u8(&m));
    choker_init(&m.c, &m.mem, &m.rng, m.now_us, 0, 0);
    while (m.pos < m.len) {
        choker_model_step(&m);
        choker_model_check(&m);
        if (choker_model_u8(&m) & 1)
            choker_model_listen(&m);
    }
    for (uint32_t i = 0; i < CHOKER_MODEL_N; i++)
        if (m.is_here[i])
            choker_remove(&m.c, m.now_us, &m.peers[i]);
    choker_check(&m.c);
    choker_clear(&m.c);
    mem_check_empty(&m.mem);
    return m.n_told;
}
