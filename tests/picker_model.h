/* picker_model: races the picker against an obvious model, over operations read from a string of
 * bytes. The unit test feeds it random bytes, the fuzz target what the fuzzer finds.
 */
#pragma once
#include "torrent/picker.h"
#include <assert.h>

#define MODEL_N_PIECES_MAX 24u
#define MODEL_N_BLOCKS_MAX 6u
#define MODEL_N_PEERS      6u

struct model_block {
    bool is_received;
    uint32_t sender;
    bool is_asked[MODEL_N_PEERS], is_late[MODEL_N_PEERS];
    uint64_t sent_at_us[MODEL_N_PEERS];
};

struct model_peer {
    struct picker_peer peer;
    struct bitset have;
    bool is_here;
};

struct model {
    const uint8_t *data;
    size_t len, pos;
    struct mem mem;
    struct rng rng;
    struct picker picker;
    uint32_t n_pieces, piece_len, last_len;
    uint64_t now_us;
    struct model_peer peers[MODEL_N_PEERS];
    bool is_good[MODEL_N_PIECES_MAX], is_mixed;
    struct model_block blocks[MODEL_N_PIECES_MAX][MODEL_N_BLOCKS_MAX];
    uint64_t n_received, n_good;
};

static inline uint8_t model_u8(struct model *m)
{
    return m->pos < m->len ? m->data[m->pos++] : 0;
}

static inline uint32_t model_data_len(const void *ctx, uint32_t piece)
{
    const struct model *m = ctx;
    return piece + 1 < m->n_pieces ? m->piece_len : m->last_len;
}

static inline uint32_t model_n_blocks(const struct model *m, uint32_t piece)
{
    return (model_data_len(m, piece) + PICKER_BLOCK_LEN - 1) / PICKER_BLOCK_LEN;
}

static inline struct wire_block model_ref(const struct model *m, uint32_t piece, uint32_t block)
{
    uint32_t begin = block * PICKER_BLOCK_LEN, left = model_data_len(m, piece) - begin;
    return (struct wire_block){piece, begin, left < PICKER_BLOCK_LEN ? left : PICKER_BLOCK_LEN};
}

static inline uint32_t model_n_active(const struct model_block *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < MODEL_N_PEERS; i++)
        n += b->is_asked[i] && !b->is_late[i];
    return n;
}

static inline uint32_t model_n_asked(const struct model_block *b)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < MODEL_N_PEERS; i++)
        n += b->is_asked[i];
    return n;
}

static inline enum picker_state model_state(const struct model *m, uint32_t piece)
{
    if (m->is_good[piece])
        return PICKER_HAVE;
    uint32_t n = model_n_blocks(m, piece), n_received = 0, n_asked = 0;
    for (uint32_t i = 0; i < n; i++) {
        n_received += m->blocks[piece][i].is_received;
        n_asked += model_n_asked(&m->blocks[piece][i]);
    }
    if (n_received == n)
        return PICKER_FULL;
    return n_received + n_asked ? PICKER_PARTIAL : PICKER_IDLE;
}

static inline bool model_is_wanted(const struct model *m, uint32_t piece)
{
    return !m->is_good[piece] && picker_priority(&m->picker, piece) > 0;
}

static inline uint32_t model_availability(const struct model *m, uint32_t piece)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < MODEL_N_PEERS; i++)
        n += m->peers[i].is_here && picker_peer_has(&m->peers[i].peer, piece);
    return n;
}

/* Is there a block that nobody is asked for, wanted, and the peer's, that it does not owe? */
static inline bool model_has_free(const struct model *m, uint32_t who)
{
    for (uint32_t piece = 0; piece < m->n_pieces; piece++) {
        if (!model_is_wanted(m, piece) || !picker_peer_has(&m->peers[who].peer, piece))
            continue;
        for (uint32_t i = 0; i < model_n_blocks(m, piece); i++) {
            const struct model_block *b = &m->blocks[piece][i];
            if (!b->is_received && model_n_active(b) == 0 && !b->is_asked[who])
                return true;
        }
    }
    return false;
}

/* A piece begun must be of the highest priority the peer can serve, and then the rarest or first. */
static inline void model_check_choice(const struct model *m, uint32_t who, uint32_t piece)
{
    const struct picker *p = &m->picker;
    uint32_t n_have = model_availability(m, piece);
    for (uint32_t i = 0; i < m->n_pieces; i++) {
        if (i == piece || model_state(m, i) != PICKER_IDLE || !model_is_wanted(m, i) ||
            !picker_peer_has(&m->peers[who].peer, i))
            continue;
        assert(picker_priority(p, i) <= picker_priority(p, piece));
        if (picker_priority(p, i) < picker_priority(p, piece))
            continue;
        if (p->config.is_sequential)
            assert(i > piece);
        else if (p->have.n_set >= PICKER_N_RANDOM_FIRST)
            assert(model_availability(m, i) >= n_have);
    }
}

/* The oldest late request is forgotten when a block has too many. */
static inline void model_ask(struct model *m, uint32_t who, const struct wire_block *w)
{
    struct model_block *b = &m->blocks[w->piece][w->begin / PICKER_BLOCK_LEN];
    assert(!b->is_received && !b->is_asked[who]);
    b->is_asked[who] = true;
    b->is_late[who] = false;
    b->sent_at_us[who] = m->now_us;
    for (uint32_t i = 0; i < MODEL_N_PEERS; i++) {
        const struct picker_peer *peer = &m->peers[i].peer;
        uint32_t cursor = m->peers[i].is_here ? peer->first_request : PICKER_NONE;
        struct wire_block got;
        uint64_t sent_at_us;
        bool is_late, is_known = false;
        while (picker_next_request(&m->picker, &cursor, &got, &sent_at_us, &is_late))
            is_known |= got.piece == w->piece && got.begin == w->begin;
        assert(is_known || !b->is_asked[i] || b->is_late[i]);
        b->is_asked[i] &= is_known;
    }
}

static inline void model_pick(struct model *m)
{
    uint8_t who = model_u8(m) % MODEL_N_PEERS, arg = model_u8(m);
    struct model_peer *mp = &m->peers[who];
    uint32_t n = 1 + arg % 9, n_active_max = 0;
    if (!mp->is_here)
        return;
    struct wire_block out[9];
    bool had_free = model_has_free(m, who);
    uint32_t n_had = mp->peer.n_requests;
    uint32_t n_got =
        arg >= 240 ? picker_pick_piece(&m->picker, m->now_us, &mp->peer, arg % m->n_pieces, n, out)
                   : picker_pick(&m->picker, m->now_us, &mp->peer, n, out);
    assert(n_got <= n && mp->peer.n_requests == n_had + n_got);
    for (uint32_t i = 0; i < n_got; i++) {
        const struct wire_block *w = &out[i];
        assert(w->piece < m->n_pieces && w->begin / PICKER_BLOCK_LEN < model_n_blocks(m, w->piece));
        struct wire_block want = model_ref(m, w->piece, w->begin / PICKER_BLOCK_LEN);
        assert(w->begin == want.begin && w->len == want.len);
        assert(model_is_wanted(m, w->piece) && picker_peer_has(&mp->peer, w->piece));
        struct model_block *b = &m->blocks[w->piece][w->begin / PICKER_BLOCK_LEN];
        uint32_t n_active = model_n_active(b);
        n_active_max = n_active > n_active_max ? n_active : n_active_max;
        assert(n_active < PICKER_N_OLD_COPIES_MAX);
        if (arg < 240 && model_state(m, w->piece) == PICKER_IDLE)
            model_check_choice(m, who, w->piece);
        model_ask(m, who, w);
    }
    assert(n_active_max == 0 || !had_free ||
           m->is_mixed); /* duplicates only when nothing is free */
    if (arg < 240 && n_got < n && !m->is_mixed && mp->peer.n_late < PICKER_N_LATE_MAX)
        assert(!model_has_free(m, who));
}

static inline void model_forget(struct model *m, uint32_t who, const struct wire_block *w)
{
    struct model_block *b = &m->blocks[w->piece][w->begin / PICKER_BLOCK_LEN];
    assert(b->is_asked[who]);
    b->is_asked[who] = b->is_late[who] = false;
}

/* A request of the peer, chosen by a byte; or any block at all. */
static inline struct wire_block model_some_request(struct model *m, uint32_t who)
{
    uint8_t arg = model_u8(m);
    uint32_t cursor = m->peers[who].peer.first_request;
    struct wire_block w = {0};
    uint64_t sent_at_us;
    bool is_late, is_found = false;
    for (uint32_t i = 0; i <= arg % 8; i++)
        is_found |= picker_next_request(&m->picker, &cursor, &w, &sent_at_us, &is_late);
    if (is_found && arg < 224)
        return w;
    uint32_t piece = arg % m->n_pieces;
    w = model_ref(m, piece, model_n_blocks(m, piece) ? arg / 8 % model_n_blocks(m, piece) : 0);
    if (arg == 255)
        w.begin++;
    return w;
}

static inline void model_deliver(struct model *m)
{
    uint32_t who = model_u8(m) % MODEL_N_PEERS;
    struct model_peer *mp = &m->peers[who];
    if (!mp->is_here)
        return;
    struct wire_block w = model_some_request(m, who);
    struct picker_arrival got;
    enum picker_block_result look = picker_look(&m->picker, &mp->peer, &w);
    assert(picker_on_block(&m->picker, &mp->peer, &w, &got) == look);
    if (w.begin % PICKER_BLOCK_LEN || model_n_blocks(m, w.piece) == 0)
        return;
    struct model_block *b = &m->blocks[w.piece][w.begin / PICKER_BLOCK_LEN];
    bool was_asked = b->is_asked[who];
    if (m->is_good[w.piece] || b->is_received)
        assert(look == PICKER_BLOCK_DUPLICATE);
    else
        assert((look == PICKER_BLOCK_NEW) == was_asked);
    if (look != PICKER_BLOCK_NEW)
        return;
    assert(got.sent_at_us == b->sent_at_us[who] && got.was_late == b->is_late[who]);
    assert(got.cancels.n + 1 == model_n_asked(b));
    for (uint32_t i = 0; i < got.cancels.n; i++)
        for (uint32_t j = 0; j < MODEL_N_PEERS; j++)
            assert(got.cancels.peers[i] != &m->peers[j].peer || b->is_asked[j]);
    *b = (struct model_block){.is_received = true, .sender = mp->peer.sender};
    m->n_received++;
    assert(got.is_piece_full == (model_state(m, w.piece) == PICKER_FULL));
}

static inline void model_reject(struct model *m)
{
    uint32_t who = model_u8(m) % MODEL_N_PEERS;
    struct model_peer *mp = &m->peers[who];
    if (!mp->is_here)
        return;
    struct wire_block w = model_some_request(m, who);
    bool was_asked = picker_look(&m->picker, &mp->peer, &w) == PICKER_BLOCK_NEW;
    assert(picker_on_reject(&m->picker, &mp->peer, &w) == was_asked);
    if (was_asked)
        model_forget(m, who, &w);
}

static inline void model_forget_all(struct model *m, uint32_t who)
{
    for (uint32_t i = 0; i < m->n_pieces; i++)
        for (uint32_t j = 0; j < MODEL_N_BLOCKS_MAX; j++)
            m->blocks[i][j].is_asked[who] = m->blocks[i][j].is_late[who] = false;
}

static inline void model_come_or_go(struct model *m)
{
    uint32_t who = model_u8(m) % MODEL_N_PEERS;
    struct model_peer *mp = &m->peers[who];
    if (mp->is_here) {
        picker_remove_peer(&m->picker, &mp->peer);
        model_forget_all(m, who);
        mp->is_here = false;
        return;
    }
    uint8_t kind = model_u8(m);
    bitset_unset_all(&mp->have);
    for (uint32_t i = 0; kind % 4 && i < m->n_pieces; i++)
        if (model_u8(m) % 4 < kind % 4)
            bitset_set(&mp->have, i);
    bool is_seed = kind >= 192;
    picker_peer_init(&mp->peer, mp, is_seed ? NULL : &mp->have, is_seed);
    mp->peer.sender = who + 1;
    mp->peer.speed = kind / 4 % 3;
    mp->peer.is_on_parole = kind % 64 >= 60;
    m->is_mixed |= mp->peer.is_on_parole;
    picker_add_peer(&m->picker, &mp->peer);
    mp->is_here = true;
}

static inline void model_have(struct model *m)
{
    struct model_peer *mp = &m->peers[model_u8(m) % MODEL_N_PEERS];
    uint8_t arg = model_u8(m);
    if (!mp->is_here)
        return;
    uint32_t piece = arg % m->n_pieces;
    bool had = picker_peer_has(&mp->peer, piece);
    if (arg < 200) {
        assert(picker_on_have(&m->picker, &mp->peer, piece) == !had);
        return;
    }
    assert(picker_on_dont_have(&m->picker, &mp->peer, piece) == (had && !mp->peer.is_seed));
    for (uint32_t i = 0; !mp->peer.is_seed && i < model_n_blocks(m, piece); i++) {
        struct wire_block w = model_ref(m, piece, i);
        if (picker_on_reject(&m->picker, &mp->peer, &w))
            model_forget(m, (uint32_t)(mp - m->peers), &w);
    }
}

static inline void model_good(struct model *m, uint32_t piece)
{
    struct picker_peer *peer;
    struct wire_block w;
    while (picker_on_piece_good(&m->picker, piece, &peer, &w)) {
        assert(w.piece == piece);
        model_forget(m, peer->sender - 1, &w);
    }
    m->n_good += !m->is_good[piece];
    m->is_good[piece] = true;
}

static inline void model_verdict(struct model *m)
{
    uint8_t arg = model_u8(m);
    uint32_t piece = arg % m->n_pieces;
    if (arg >= 248) {
        model_good(m, piece); /* as from resume data */
        return;
    }
    if (model_state(m, piece) == PICKER_HAVE && arg >= 224) {
        picker_on_piece_lost(&m->picker, piece);
        m->is_good[piece] = false;
        memset(m->blocks[piece], 0, sizeof m->blocks[piece]);
    }
    if (model_state(m, piece) != PICKER_FULL || picker_state(&m->picker, piece) != PICKER_FULL)
        return;
    if (arg < 160) {
        model_good(m, piece);
    } else if (arg < 192 && model_n_blocks(m, piece) > 0) {
        picker_on_block_bad(&m->picker, piece, 0);
        m->blocks[piece][0] = (struct model_block){0};
    } else {
        picker_on_piece_bad(&m->picker, piece, arg & 1);
        m->is_mixed |= arg & 1;
        memset(m->blocks[piece], 0, sizeof m->blocks[piece]);
    }
}

static inline void model_time(struct model *m)
{
    uint32_t who = model_u8(m) % MODEL_N_PEERS;
    uint8_t arg = model_u8(m);
    m->now_us += (uint64_t)arg * arg * (arg < 250 ? 300 : 3000);
    struct model_peer *mp = &m->peers[who];
    if (!mp->is_here)
        return;
    uint64_t before_us = m->now_us > 8000000 ? m->now_us - 8000000 : 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_pieces; i++)
        for (uint32_t j = 0; j < MODEL_N_BLOCKS_MAX; j++) {
            struct model_block *b = &m->blocks[i][j];
            bool turns = b->is_asked[who] && !b->is_late[who] && b->sent_at_us[who] < before_us;
            if (b->is_late[who] && b->sent_at_us[who] + PICKER_FORGET_US < before_us)
                b->is_asked[who] = b->is_late[who] = false;
            b->is_late[who] |= turns;
            n += turns;
        }
    assert(picker_expire(&m->picker, &mp->peer, before_us) == n);
}

static inline void model_owner(struct model *m)
{
    uint8_t arg = model_u8(m);
    uint32_t piece = model_u8(m) % m->n_pieces;
    if (arg < 128) {
        picker_set_priority(&m->picker, piece, arg % 8);
        if (arg & 64)
            picker_set_priority(&m->picker, (piece + 1) % m->n_pieces, arg / 8 % 8);
        picker_update_interest(&m->picker);
    } else if (arg < 160) {
        picker_set_sequential(&m->picker, arg & 1);
    } else if (arg < 176) {
        uint32_t block = arg % MODEL_N_BLOCKS_MAX;
        if (picker_preload_block(&m->picker, piece, block, 77))
            m->blocks[piece][block] = (struct model_block){.is_received = true, .sender = 77};
    } else {
        uint32_t who = arg % MODEL_N_PEERS;
        if (m->peers[who].is_here)
            m->peers[who].peer.speed = arg / 8 % 3;
    }
}

static inline void model_choke(struct model *m)
{
    uint32_t who = model_u8(m) % MODEL_N_PEERS;
    if (!m->peers[who].is_here)
        return;
    uint32_t n = m->peers[who].peer.n_requests;
    assert(picker_drop_requests(&m->picker, &m->peers[who].peer) == n);
    model_forget_all(m, who);
}

/* Everything that can be asked of the picker agrees with the model. */
static inline void model_compare(struct model *m)
{
    struct picker *p = &m->picker;
    picker_check(p);
    uint32_t least = UINT32_MAX, n_missing = 0, n_unavailable = 0;
    for (uint32_t i = 0; i < m->n_pieces; i++) {
        enum picker_state state = model_state(m, i);
        if (model_n_blocks(m, i) > 0)
            assert(picker_state(p, i) == state);
        uint32_t n_have = model_availability(m, i);
        assert(picker_availability(p, i) == n_have);
        uint32_t senders[MODEL_N_BLOCKS_MAX];
        uint32_t n = picker_senders(p, i, senders, MODEL_N_BLOCKS_MAX);
        for (uint32_t j = 0; j < n; j++)
            assert(senders[j] == m->blocks[i][j].sender);
        for (uint32_t j = 0; j < model_n_blocks(m, i); j++)
            assert(picker_has_block(p, i, j) == (m->is_good[i] || m->blocks[i][j].is_received));
        if (!model_is_wanted(m, i))
            continue;
        n_missing++;
        n_unavailable += picker_state(p, i) != PICKER_FULL && n_have == 0;
        least = n_have < least ? n_have : least;
    }
    struct picker_why why;
    picker_why(p, &why);
    assert(why.n_missing == n_missing && why.n_unavailable == n_unavailable);
    assert(picker_min_availability(p) == least);
}

static inline void model_step(struct model *m)
{
    switch (model_u8(m) % 16) {
    case 0:
        model_come_or_go(m);
        break;
    case 1:
        model_have(m);
        break;
    case 2:
    case 3:
        model_verdict(m);
        break;
    case 4:
        model_time(m);
        break;
    case 5:
        model_owner(m);
        break;
    case 6:
        model_reject(m);
        break;
    case 7:
        model_choke(m);
        break;
    case 8:
    case 9:
    case 10:
        model_pick(m);
        break;
    default:
        model_deliver(m);
    }
}

static inline void model_init(struct model *m, const uint8_t *data, size_t len)
{
    *m = (struct model){.data = data, .len = len, .now_us = 1000000};
    mem_init(&m->mem, MEM_NO_BUDGET, NULL);
    rng_init(&m->rng, model_u8(m));
    m->n_pieces = 1 + model_u8(m) % MODEL_N_PIECES_MAX;
    m->piece_len = (1 + model_u8(m) % MODEL_N_BLOCKS_MAX) * PICKER_BLOCK_LEN;
    uint8_t last = model_u8(m);
    m->last_len = last < 16 ? 0 : m->piece_len * last / 255;
    struct picker_config config = {
        .n_pieces = m->n_pieces, .piece_len = m->piece_len, .data_len = model_data_len, .ctx = m};
    assert(picker_init(&m->picker, &m->mem, &m->rng, &config) == ERR_OK);
    for (uint32_t i = 0; i < MODEL_N_PEERS; i++)
        assert(bitset_init(&m->peers[i].have, &m->mem, m->n_pieces) == ERR_OK);
}

static inline void model_clear(struct model *m)
{
    for (uint32_t i = 0; i < MODEL_N_PEERS; i++) {
        if (m->peers[i].is_here)
            picker_remove_peer(&m->picker, &m->peers[i].peer);
        bitset_clear(&m->peers[i].have);
    }
    picker_check(&m->picker);
    picker_clear(&m->picker);
    mem_check_empty(&m->mem);
}

/* Runs until the bytes are used up. */
static inline void model_run(const uint8_t *data, size_t len, uint64_t *out_n_received,
                             uint64_t *out_n_good)
{
    struct model m;
    model_init(&m, data, len);
    while (m.pos < m.len) {
        model_step(&m);
        model_compare(&m);
    }
    *out_n_received += m.n_received;
    *out_n_good += m.n_good;
    model_clear(&m);
}
