/* header: a header chain fed with anything keeps its promises. The input is a row of steps: which
 * known header is the parent, how far the time moves, whether work is right, which bits. */
#include "chain/block.h"
#include "chain/header_chain.h"
#include <assert.h>

#define N_MAX 600u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct step {
    uint8_t back, time, kind, salt;
};

static void make(const struct header_chain *c, const struct step *s, uint32_t i,
                 struct block_header *h, struct hash256 *hash)
{
    uint32_t parent = (uint32_t)header_chain_n(c) - 1;
    parent -= s->back < parent ? s->back : parent;
    *h = (struct block_header){.version = s->kind & 1 ? (int8_t)s->salt : 4,
                               .prev = *header_hash(c, parent),
                               .time = header_time(c, parent) + 64u * (uint32_t)(int8_t)s->time,
                               .nonce = i};
    h->bits = header_next_bits(c, parent, h->time);
    if (s->kind & 2)
        h->bits ^= s->salt;
    if (s->kind & 4)
        h->prev.b[5] ^= s->salt;
    *hash = (struct hash256){{(uint8_t)i, (uint8_t)(i >> 8), s->salt}};
    hash->b[31] = s->kind & 8 ? 0xff : 0; /* work is made up */
}

static struct chain_params network(uint8_t kind)
{
    struct chain_params p = *chain_params_find("regtest");
    p.pow_has_no_retargeting = kind & 1;
    p.pow_allows_min_difficulty = kind & 2;
    p.pow_is_bip94 = kind & 4;
    p.has_bip54 = kind & 8;
    p.pow_timespan_s = 16 * p.pow_spacing_s; /* many periods in few headers */
    p.pow_limit = u256_of_compact(0x1d00ffff, NULL, NULL);
    p.genesis_header.bits = kind & 16 ? 0x1d00ffff : 0x1c00ffff;
    return p;
}

static void look(const struct header_chain *c, uint32_t a, uint32_t b)
{
    struct hash256 locator[101];
    uint32_t fork = header_fork(c, a, b);
    assert(header_is_ancestor(c, fork, a) && header_is_ancestor(c, fork, b));
    assert(header_fork(c, b, a) == fork);
    size_t n = header_locator(c, a, locator, 101);
    assert(n >= 1 && hash256_equal(&locator[n - 1], header_hash(c, 0)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mem mem;
    struct header_chain *c;
    if (len == 0)
        return 0;
    struct chain_params p = network(data[0]);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    enum err_code code = header_chain_new(&c, &mem, (struct map_seed){1, 2}, &p, N_MAX / 2);
    assert(code == ERR_OK);
    (void)code;
    struct reader r = reader_init(bytes_of(data + 1, len - 1));
    for (uint32_t i = 1; i < N_MAX && reader_left(&r) >= sizeof(struct step); i++) {
        struct step s;
        struct block_header h, back;
        struct hash256 hash;
        struct reject why;
        uint32_t node;
        reader_copy(&r, &s, sizeof s);
        make(c, &s, i, &h, &hash);
        int64_t now_s = (int64_t)p.genesis_header.time + 200000;
        enum verdict v = header_chain_add(c, &h, &hash, now_s, &node, &why);
        assert(v == VERDICT_VALID || why.reason || why.err.code);
        if (v != VERDICT_VALID)
            continue;
        header_get(c, node, &back);
        assert(memcmp(&back, &h, sizeof h) == 0);
        assert(header_median_time(c, node) >= header_median_time(c, header_parent(c, node)));
        look(c, node, (uint32_t)header_chain_n(c) / 2);
    }
    header_chain_check(c);
    header_chain_free(c);
    mem_check_empty(&mem);
    return 0;
}
