#include "chain/header_chain.h"
#include "base/size.h"
#include "chain/bip54.h"
#include "chain/block.h"
#include <assert.h>

#define CHUNK_N        1024u /* ours: headers in one allocation; growing copies nothing */
#define MTP_N          11u   /* consensus: times of which the median counts */
#define TIMEWARP_S     600   /* BIP 94, "Time warp fix" */
#define MIN_DIFF_SLOTS 2u    /* pow_spacing_s times this without a block: lowest difficulty */
#define TABLE_N_MIN    1024u
#define HASH_BATCH     64u

/* 108 bytes. Work is kept in 128 bits: a sum that does not fit stands for 2^128 hashes that
 * somebody really computed, for each header passed its proof of work; it saturates.
 *
 * skip: an ancestor so chosen that any ancestor is found in log n steps (Myers' skew-binary jump
 * pointers): twice the parent's jump when the parent's last two jumps were equally long, else the
 * parent. Nodes of one height jump to one height, so two branches can jump side by side. */
struct header_node {
    struct hash256 hash, merkle_root;
    int32_t version;
    uint32_t time, bits, nonce;
    uint32_t parent, skip, height;
    uint32_t work[4]; /* least significant first */
};

/* Hash table of node numbers + 1, open addressing; grows by half, so that it stays between half
 * and three quarters full. */
struct header_chain {
    struct mem *mem;
    struct map_seed seed;
    const struct chain_params *p;
    struct header_node **chunks;
    size_t n_chunks, chunks_cap;
    uint32_t *table;
    size_t n, n_max, n_table;
    uint32_t best, last; /* last: most often the parent of what comes next */
    uint32_t pow_limit_bits;
    uint32_t work_bits; /* of the last work computed: most headers ask for the same */
    struct u256 work;
};

static struct header_node *node_at(const struct header_chain *c, uint32_t node)
{
    assert(node < c->n);
    return &c->chunks[node / CHUNK_N][node % CHUNK_N];
}

/* --- hash table ------------------------------------------------------------------------------ */

static size_t slot_of(const struct header_chain *c, const struct hash256 *hash)
{
    uint64_t h = map_hash(c->seed, hash->b, sizeof hash->b);
    return (size_t)((h >> 32) * c->n_table >> 32);
}

/* Where hash is, or where it would go. */
static uint32_t *slot_find(const struct header_chain *c, const struct hash256 *hash)
{
    size_t at = slot_of(c, hash);
    while (c->table[at] && !hash256_equal(&node_at(c, c->table[at] - 1)->hash, hash))
        at = at + 1 < c->n_table ? at + 1 : 0;
    return &c->table[at];
}

static bool table_grow(struct header_chain *c)
{
    size_t n = size_max(TABLE_N_MIN, c->n_table + c->n_table / 2);
    uint32_t *table = mem_calloc(c->mem, n, sizeof *table);
    if (!table)
        return false;
    mem_free(c->mem, c->table);
    c->table = table;
    c->n_table = n;
    for (uint32_t i = 0; i < c->n; i++)
        *slot_find(c, &node_at(c, i)->hash) = i + 1;
    return true;
}

static bool chunk_add(struct header_chain *c)
{
    if (c->n_chunks == c->chunks_cap) {
        size_t cap = c->chunks_cap ? 2 * c->chunks_cap : 8;
        struct header_node **grown = mem_realloc(c->mem, c->chunks, cap * sizeof *grown);
        if (!grown)
            return false;
        c->chunks = grown;
        c->chunks_cap = cap;
    }
    struct header_node *chunk = mem_alloc(c->mem, CHUNK_N * sizeof *chunk);
    if (!chunk)
        return false;
    c->chunks[c->n_chunks++] = chunk;
    return true;
}

/* Room for one more header, in the nodes and in the table. */
static bool reserve_one(struct header_chain *c)
{
    return (c->n / CHUNK_N < c->n_chunks || chunk_add(c)) &&
           ((c->n + 1) * 4 <= c->n_table * 3 || table_grow(c));
}

/* --- work ------------------------------------------------------------------------------------ */

static struct u256 node_work(const struct header_node *n)
{
    return (struct u256){
        {(uint64_t)n->work[1] << 32 | n->work[0], (uint64_t)n->work[3] << 32 | n->work[2], 0, 0}};
}

static void node_set_work(struct header_node *n, const struct u256 *w)
{
    bool fits = !(w->w[2] | w->w[3]);
    for (size_t i = 0; i < 4; i++)
        n->work[i] = fits ? (uint32_t)(w->w[i / 2] >> (i % 2 * 32)) : UINT32_MAX;
}

static const struct u256 *work_of_bits(struct header_chain *c, uint32_t bits)
{
    if (bits != c->work_bits) {
        c->work = u256_work(bits);
        c->work_bits = bits;
    }
    return &c->work;
}

/* --- life ------------------------------------------------------------------------------------ */

/* A node that passed its checks; parent NONE for genesis. Room is reserved. */
static uint32_t append(struct header_chain *c, const struct block_header *h,
                       const struct hash256 *hash, uint32_t parent)
{
    uint32_t node = (uint32_t)c->n++;
    struct header_node *n = node_at(c, node);
    *n = (struct header_node){.hash = *hash,
                              .merkle_root = h->merkle_root,
                              .version = h->version,
                              .time = h->time,
                              .bits = h->bits,
                              .nonce = h->nonce,
                              .parent = parent,
                              .skip = parent};
    struct u256 work = *work_of_bits(c, h->bits);
    if (parent != HEADER_NONE) {
        const struct header_node *up = node_at(c, parent);
        struct u256 before = node_work(up);
        work = u256_add(&work, &before);
        n->height = up->height + 1;
        if (up->skip != HEADER_NONE) {
            const struct header_node *jump = node_at(c, up->skip);
            if (jump->skip != HEADER_NONE &&
                up->height - jump->height == jump->height - node_at(c, jump->skip)->height)
                n->skip = jump->skip;
        }
    }
    node_set_work(n, &work);
    *slot_find(c, hash) = node + 1;
    if (header_compare_work(c, node, c->best) > 0)
        c->best = node;
    return c->last = node;
}

enum err_code header_chain_new(struct header_chain **out, struct mem *mem, struct map_seed seed,
                               const struct chain_params *p, size_t n_max)
{
    struct header_chain *c = mem_calloc(mem, 1, sizeof *c);
    *out = NULL;
    if (!c)
        return ERR_NO_MEMORY;
    *c = (struct header_chain){.mem = mem, .seed = seed, .p = p};
    c->n_max = size_min(size_max(n_max, 1), HEADER_NONE - 1);
    c->pow_limit_bits = u256_compact(&p->pow_limit);
    if (!reserve_one(c)) {
        header_chain_free(c);
        return ERR_NO_MEMORY;
    }
    (void)append(c, &p->genesis_header, &p->genesis, HEADER_NONE);
    *out = c;
    return ERR_OK;
}

void header_chain_free(struct header_chain *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_chunks; i++)
        mem_free(c->mem, c->chunks[i]);
    mem_free(c->mem, c->chunks);
    mem_free(c->mem, c->table);
    mem_free(c->mem, c);
}

/* --- proof of work --------------------------------------------------------------------------- */

bool header_pow_is_right(const struct hash256 *hash, uint32_t bits, const struct chain_params *p)
{
    bool is_negative, is_overflow;
    struct u256 target = u256_of_compact(bits, &is_negative, &is_overflow);
    struct u256 value = u256_of_hash(hash);
    return !is_negative && !is_overflow && !u256_is_zero(&target) &&
           u256_compare(&target, &p->pow_limit) <= 0 && u256_compare(&value, &target) <= 0;
}

static uint32_t retarget_blocks(const struct header_chain *c)
{
    return c->p->pow_timespan_s / c->p->pow_spacing_s;
}

/* The last of a period of 2,016: the time that its 2,015 intervals took, clamped to a quarter and
 * four times of what was meant, scales the target. BIP 94 scales the target that the period
 * began with: its last block may have had the lowest difficulty. */
static uint32_t retarget(const struct header_chain *c, uint32_t node)
{
    const struct chain_params *p = c->p;
    const struct header_node *last = node_at(c, node);
    uint32_t first = header_ancestor(c, node, last->height - (retarget_blocks(c) - 1));
    int64_t span = (int64_t)last->time - node_at(c, first)->time;
    if (span < p->pow_timespan_s / 4)
        span = p->pow_timespan_s / 4;
    if (span > (int64_t)p->pow_timespan_s * 4)
        span = (int64_t)p->pow_timespan_s * 4;
    struct u256 meant = u256_of(p->pow_timespan_s);
    struct u256 target =
        u256_of_compact(p->pow_is_bip94 ? node_at(c, first)->bits : last->bits, NULL, NULL);
    target = u256_mul_u32(&target, (uint32_t)span);
    target = u256_div(&target, &meant);
    if (u256_compare(&target, &p->pow_limit) > 0)
        return c->pow_limit_bits;
    return u256_compact(&target);
}

/* The twenty-minute rule of test networks: a late block may have the lowest difficulty; others
 * have that of the last block of the period which did not use the rule. */
static uint32_t min_difficulty_bits(const struct header_chain *c, uint32_t node, uint32_t time)
{
    const struct header_node *n = node_at(c, node);
    if ((int64_t)time > (int64_t)n->time + MIN_DIFF_SLOTS * c->p->pow_spacing_s)
        return c->pow_limit_bits;
    if (c->p->pow_has_no_retargeting && c->p->genesis_header.bits == c->pow_limit_bits)
        return c->pow_limit_bits; /* no block ever had another */
    while (n->parent != HEADER_NONE && n->height % retarget_blocks(c) != 0 &&
           n->bits == c->pow_limit_bits)
        n = node_at(c, n->parent);
    return n->bits;
}

uint32_t header_next_bits(const struct header_chain *c, uint32_t node, uint32_t time)
{
    const struct header_node *n = node_at(c, node);
    if ((n->height + 1) % retarget_blocks(c) == 0)
        return c->p->pow_has_no_retargeting ? n->bits : retarget(c, node);
    return c->p->pow_allows_min_difficulty ? min_difficulty_bits(c, node, time) : n->bits;
}

/* --- checks ---------------------------------------------------------------------------------- */

/* Buried soft forks: a version that they left behind (BIPs 34, 66, 65; BIP 90). */
static enum verdict check_version(const struct header_chain *c, int32_t version, uint32_t height,
                                  struct reject *r)
{
    static const struct {
        enum deployment deployment;
        int32_t version_min;
    } rules[] = {{DEPLOY_BIP34, 2}, {DEPLOY_DERSIG, 3}, {DEPLOY_CLTV, 4}};
    static const struct {
        const char *reason, *detail;
    } texts[] = {{"bad-version(0x00000000)", "rejected nVersion=0x00000000 block"},
                 {"bad-version(0x00000001)", "rejected nVersion=0x00000001 block"},
                 {"bad-version(0x00000002)", "rejected nVersion=0x00000002 block"},
                 {"bad-version(0x00000003)", "rejected nVersion=0x00000003 block"}};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (version >= rules[i].version_min ||
            !chain_params_is_active(c->p, rules[i].deployment, height))
            continue;
        if (version < 0)
            return reject_block(r, "bad-version", "rejected negative nVersion");
        return reject_block(r, texts[version].reason, texts[version].detail);
    }
    return VERDICT_VALID;
}

static enum verdict check_time(const struct header_chain *c, const struct block_header *h,
                               uint32_t parent, int64_t now_s, struct reject *r)
{
    const struct header_node *up = node_at(c, parent);
    if (h->time <= header_median_time(c, parent))
        return reject_block(r, "time-too-old", "block's timestamp is too early");
    if (c->p->pow_is_bip94 && (up->height + 1) % retarget_blocks(c) == 0 &&
        (int64_t)h->time < (int64_t)up->time - TIMEWARP_S)
        return reject_block(r, "time-timewarp-attack",
                            "block's timestamp is too early on diff adjustment block");
    if (h->time > now_s + (int64_t)HEADER_FUTURE_S)
        return reject_transient(r, "time-too-new", "block timestamp too far in the future");
    if (c->p->has_bip54)
        return bip54_check_time(c, parent, h->time, retarget_blocks(c), r);
    return VERDICT_VALID;
}

static enum verdict check_header(const struct header_chain *c, const struct block_header *h,
                                 uint32_t parent, int64_t now_s, struct reject *r)
{
    if (h->bits != header_next_bits(c, parent, h->time))
        return reject_block(r, "bad-diffbits", "incorrect proof of work");
    enum verdict v = check_time(c, h, parent, now_s, r);
    if (v != VERDICT_VALID)
        return v;
    return check_version(c, h->version, node_at(c, parent)->height + 1, r);
}

static uint32_t find_parent(const struct header_chain *c, const struct hash256 *hash)
{
    return hash256_equal(&node_at(c, c->last)->hash, hash) ? c->last : header_chain_find(c, hash);
}

enum verdict header_chain_add(struct header_chain *c, const struct block_header *h,
                              const struct hash256 *hash, int64_t now_s, uint32_t *out_node,
                              struct reject *r)
{
    *r = REJECT_NONE;
    *out_node = header_chain_find(c, hash);
    if (*out_node != HEADER_NONE)
        return VERDICT_VALID;
    if (!header_pow_is_right(hash, h->bits, c->p))
        return reject_block(r, "high-hash", "proof of work failed");
    uint32_t parent = find_parent(c, &h->prev);
    if (parent == HEADER_NONE)
        return reject_transient(r, "prev-blk-not-found", "its parent is not known");
    enum verdict v = check_header(c, h, parent, now_s, r);
    if (v != VERDICT_VALID)
        return v;
    if (c->n >= c->n_max)
        return reject_failed(r, ERR_LIMIT, "the header chain is full");
    if (!reserve_one(c))
        return reject_failed(r, ERR_NO_MEMORY, "no memory for a header");
    *out_node = append(c, h, hash, parent);
    return VERDICT_VALID;
}

enum verdict header_chain_add_many(struct header_chain *c, const uint8_t *raw, size_t n,
                                   int64_t now_s, size_t *out_n, struct reject *r)
{
    struct hash256 hashes[HASH_BATCH];
    struct reader in = reader_init(bytes_of(raw, n * BLOCK_HEADER_LEN));
    *r = REJECT_NONE;
    for (*out_n = 0; *out_n < n; ++*out_n) {
        struct block_header h;
        uint32_t node;
        if (*out_n % HASH_BATCH == 0)
            block_header_hash_many(raw + *out_n * BLOCK_HEADER_LEN,
                                   size_min(HASH_BATCH, n - *out_n), hashes);
        enum err_code code = block_header_read(&in, &h);
        assert(code == ERR_OK);
        (void)code;
        enum verdict v = header_chain_add(c, &h, &hashes[*out_n % HASH_BATCH], now_s, &node, r);
        if (v != VERDICT_VALID)
            return v;
    }
    return VERDICT_VALID;
}

/* --- looking --------------------------------------------------------------------------------- */

uint32_t header_chain_find(const struct header_chain *c, const struct hash256 *hash)
{
    return *slot_find(c, hash) - 1; /* an empty slot is 0: NONE */
}

size_t header_chain_n(const struct header_chain *c)
{
    return c->n;
}

const struct hash256 *header_hash(const struct header_chain *c, uint32_t node)
{
    return &node_at(c, node)->hash;
}

void header_get(const struct header_chain *c, uint32_t node, struct block_header *out)
{
    const struct header_node *n = node_at(c, node);
    *out = (struct block_header){.version = n->version,
                                 .merkle_root = n->merkle_root,
                                 .time = n->time,
                                 .bits = n->bits,
                                 .nonce = n->nonce};
    if (n->parent != HEADER_NONE)
        out->prev = node_at(c, n->parent)->hash;
}

uint32_t header_parent(const struct header_chain *c, uint32_t node)
{
    return node_at(c, node)->parent;
}

uint32_t header_height(const struct header_chain *c, uint32_t node)
{
    return node_at(c, node)->height;
}

uint32_t header_time(const struct header_chain *c, uint32_t node)
{
    return node_at(c, node)->time;
}

uint32_t header_bits(const struct header_chain *c, uint32_t node)
{
    return node_at(c, node)->bits;
}

struct u256 header_work(const struct header_chain *c, uint32_t node)
{
    return node_work(node_at(c, node));
}

int header_compare_work(const struct header_chain *c, uint32_t a, uint32_t b)
{
    struct u256 x = node_work(node_at(c, a)), y = node_work(node_at(c, b));
    return u256_compare(&x, &y);
}

uint32_t header_median_time(const struct header_chain *c, uint32_t node)
{
    uint32_t times[MTP_N], n = 0;
    for (; n < MTP_N && node != HEADER_NONE; n++) {
        const struct header_node *h = node_at(c, node);
        uint32_t at = n; /* insertion sort: times mostly come in falling order */
        for (; at > 0 && times[at - 1] < h->time; at--)
            times[at] = times[at - 1];
        times[at] = h->time;
        node = h->parent;
    }
    return times[(n - 1) / 2]; /* largest first: of an even number the later of the middle two */
}

uint32_t header_ancestor(const struct header_chain *c, uint32_t node, uint32_t height)
{
    const struct header_node *n = node_at(c, node);
    if (height > n->height)
        return HEADER_NONE;
    while (n->height > height) {
        node = n->skip;
        if (node_at(c, node)->height < height)
            node = n->parent;
        n = node_at(c, node);
    }
    return node;
}

uint32_t header_fork(const struct header_chain *c, uint32_t a, uint32_t b)
{
    uint32_t height_a = header_height(c, a), height_b = header_height(c, b);
    if (height_a > height_b)
        a = header_ancestor(c, a, height_b);
    else
        b = header_ancestor(c, b, height_a);
    while (a != b) {
        const struct header_node *x = node_at(c, a), *y = node_at(c, b);
        bool is_beyond = x->skip == y->skip; /* perhaps further back than need be */
        a = is_beyond ? x->parent : x->skip;
        b = is_beyond ? y->parent : y->skip;
    }
    return a;
}

bool header_is_ancestor(const struct header_chain *c, uint32_t ancestor, uint32_t node)
{
    return header_ancestor(c, node, header_height(c, ancestor)) == ancestor;
}

uint32_t header_chain_best(const struct header_chain *c)
{
    return c->best;
}

size_t header_locator(const struct header_chain *c, uint32_t node, struct hash256 *out,
                      size_t n_max)
{
    uint32_t height = header_height(c, node), step = 1;
    size_t n = 0;
    while (n < n_max) {
        node = header_ancestor(c, node, height);
        out[n++] = *header_hash(c, node);
        if (height == 0)
            break;
        height = height > step ? height - step : 0;
        if (n > 10)
            step *= 2;
        if (n + 1 == n_max)
            height = 0; /* genesis must be in */
    }
    return n;
}

size_t header_chain_used_len(const struct header_chain *c)
{
    return sizeof *c + c->chunks_cap * sizeof *c->chunks +
           c->n_chunks * CHUNK_N * sizeof **c->chunks + c->n_table * sizeof *c->table;
}

void header_chain_check(const struct header_chain *c)
{
    assert(c->n >= 1 && c->n <= c->n_max && c->n * 4 <= c->n_table * 3);
    for (uint32_t i = 0; i < c->n; i++) {
        const struct header_node *n = node_at(c, i);
        assert(header_chain_find(c, &n->hash) == i);
        assert(header_compare_work(c, i, c->best) <= 0);
        assert((n->parent == HEADER_NONE) == (i == 0) && (n->skip == HEADER_NONE) == (i == 0));
        if (i == 0)
            continue;
        assert(n->parent < i && node_at(c, n->parent)->height + 1 == n->height);
        assert(n->skip <= n->parent);
        assert(header_compare_work(c, i, n->parent) >= 0);
        uint32_t up = n->parent;
        while (node_at(c, up)->height > node_at(c, n->skip)->height)
            up = node_at(c, up)->skip > n->skip ? node_at(c, up)->skip : node_at(c, up)->parent;
        assert(up == n->skip);
    }
}
