/* bip54/: the Consensus Cleanup, with its rules from genesis on. */
#include "chain/bip54.h"
#include "vec.h"

#define FAR_FUTURE_S (INT64_C(1) << 40)

static struct chain_params bip54_params(void)
{
    struct chain_params p = *chain_params_find("main");
    p.has_bip54 = true;
    return p;
}

static struct header_chain *new_chain(struct vec *v, const struct chain_params *p, size_t n_max)
{
    struct header_chain *c;
    if (header_chain_new(&c, &v->mem, (struct map_seed){5, 4}, p, n_max) == ERR_OK)
        return c;
    fprintf(stderr, "%s: out of memory\n", v->name);
    exit(2);
}

static const char *comment_of(const json_t *row)
{
    return vec_str(json_object_get(row, "comment"));
}

static bool want_valid(const json_t *row)
{
    return json_is_true(json_object_get(row, "valid"));
}

/* --- txsize.json ------------------------------------------------------------------------------ */

static void check_txsize(struct vec *v)
{
    json_t *all = vec_json(v), *row;
    size_t i;
    json_array_foreach(all, i, row)
    {
        struct tx t;
        bool is_read = vec_tx(v, vec_json_hex(v, json_object_get(row, "tx")), &t);
        vec_case(v, is_read && bip54_tx_len_is_right(&t) == want_valid(row), "%s", comment_of(row));
    }
}

/* --- sigops.json ------------------------------------------------------------------------------ */

static bool read_spent(struct vec *v, const json_t *list, uint32_t n, struct tx_out **out)
{
    *out = vec_alloc(v, n, sizeof **out);
    for (uint32_t i = 0; i < n; i++) {
        struct reader r = reader_init(vec_json_hex(v, json_array_get(list, i)));
        (*out)[i].value_sat = (int64_t)reader_u64le(&r);
        (*out)[i].script = reader_take(&r, (size_t)reader_compact_size(&r));
        if (reader_end(&r) != ERR_OK)
            return false;
    }
    return json_array_size(list) == n;
}

static void check_sigops(struct vec *v)
{
    json_t *all = vec_json(v), *row;
    size_t i;
    json_array_foreach(all, i, row)
    {
        struct tx t;
        struct tx_out *spent;
        bool is_read = vec_tx(v, vec_json_hex(v, json_object_get(row, "tx")), &t) &&
                       read_spent(v, json_object_get(row, "spent_outputs"), t.n_in, &spent);
        vec_case(v, is_read && (bip54_sigops(&t, spent) <= BIP54_SIGOPS_MAX) == want_valid(row),
                 "%s", comment_of(row));
    }
}

/* --- coinbases.json --------------------------------------------------------------------------- */

/* The block after those in the chain is connected as far as that needs no coins. */
static bool block_holds(struct vec *v, struct header_chain *c, const struct chain_params *p,
                        struct bytes raw)
{
    struct block b;
    struct err err;
    struct reject r;
    uint32_t node;
    if (block_read(raw, &v->arena, &b, &err) != ERR_OK)
        return false;
    if (header_chain_find(c, &b.hash) == 0)
        return true; /* genesis */
    if (header_chain_add(c, &b.header, &b.hash, FAR_FUTURE_S, &node, &r) != VERDICT_VALID ||
        block_check(&b, &v->arena, &r) != VERDICT_VALID)
        return false;
    uint32_t mtp = header_median_time(c, header_parent(c, node));
    return block_check_context(&b, p, header_height(c, node), mtp, &v->arena, &r) == VERDICT_VALID;
}

static void check_coinbases(struct vec *v)
{
    struct chain_params p = bip54_params();
    json_t *all = vec_json(v), *row, *hex;
    size_t i, k;
    json_array_foreach(all, i, row)
    {
        struct header_chain *c = new_chain(v, &p, 1000);
        bool holds = true;
        json_array_foreach(json_object_get(row, "block_chain"), k, hex)
        {
            holds = holds && block_holds(v, c, &p, vec_json_hex(v, hex));
        }
        vec_case(v, holds == want_valid(row), "%s", comment_of(row));
        header_chain_free(c);
    }
}

/* --- timestamps.json -------------------------------------------------------------------------- */

/* A case is a chain of headers; or a tree of them, where a case begins with what is above it. */
struct headers_case {
    const struct headers_case *above;
    const json_t *headers;
};

static bool headers_hold(struct vec *v, struct header_chain *c, const struct headers_case *h)
{
    json_t *hex;
    size_t i, n;
    bool holds = !h->above || headers_hold(v, c, h->above);
    json_array_foreach(h->headers, i, hex)
    {
        struct bytes raw = vec_json_hex(v, hex);
        struct reject r;
        holds = holds && raw.len == BLOCK_HEADER_LEN &&
                header_chain_add_many(c, raw.data, 1, FAR_FUTURE_S, &n, &r) == VERDICT_VALID;
    }
    return holds;
}

static void check_headers_case(struct vec *v, const json_t *row, const struct headers_case *above)
{
    struct headers_case here = {above, json_object_get(row, "header_chain")};
    struct chain_params p = bip54_params();
    json_t *extension;
    size_t i;
    if (!here.headers)
        here.headers = json_object_get(row, "block_headers");
    if (json_object_get(row, "valid")) {
        struct header_chain *c = new_chain(v, &p, 10000);
        vec_case(v, headers_hold(v, c, &here) == want_valid(row), "%s", comment_of(row));
        header_chain_free(c);
    }
    json_array_foreach(json_object_get(row, "extensions"), i, extension)
    {
        check_headers_case(v, extension, &here);
    }
}

static void check_timestamps(struct vec *v)
{
    json_t *all = vec_json(v), *row;
    size_t i;
    if (json_is_object(all))
        check_headers_case(v, all, NULL);
    json_array_foreach(all, i, row)
    {
        check_headers_case(v, row, NULL);
    }
}

/* --- 64byte-tx-mainnet.txt -------------------------------------------------------------------- */

/* Names of transactions whose bytes are in txsize.json: each is there, refused by BIP 54 and
 * refused by nothing else. */
static bool is_refused_by_bip54_alone(struct vec *v, const json_t *all, const struct hash256 *txid)
{
    json_t *row;
    size_t i;
    json_array_foreach(all, i, row)
    {
        struct tx t;
        if (vec_tx(v, vec_json_hex(v, json_object_get(row, "tx")), &t) &&
            hash256_equal(&t.txid, txid))
            return !bip54_tx_len_is_right(&t) && !tx_check(&t, &v->arena);
    }
    return false;
}

static void check_names(struct vec *v)
{
    size_t len_off = strlen(strrchr(v->name, '/') + 1);
    struct bytes text = vec_sibling(v, len_off, "txsize.json"), rest = v->data, line;
    json_error_t e;
    v->json = json_loadb((const char *)text.data, text.len, 0, &e);
    while (vec_line(&rest, &line)) {
        char digits[65] = {0};
        if (line.len != 64)
            continue;
        memcpy(digits, line.data, 64);
        struct hash256 txid = vec_hash_reversed(v, digits);
        vec_case(v, is_refused_by_bip54_alone(v, v->json, &txid), "%s", digits);
    }
}

const struct vec_check vec_bip54_checks[] = {
    {"bip54/txsize*.json", check_txsize},       {"bip54/sigops*.json", check_sigops},
    {"bip54/coinbases*.json", check_coinbases}, {"bip54/timestamps*.json", check_timestamps},
    {"bip54/64byte-tx*.txt", check_names},      {0},
};
