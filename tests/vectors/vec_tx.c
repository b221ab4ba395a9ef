/* tx/: whole transactions against the outputs that they spend. */
#include "chain/script_op.h"
#include "chain/script_verify.h"
#include "chain/tx.h"
#include "crypto/hash160.h"
#include "vec.h"
#include <time.h>

#define ALL_FLAGS ((1u << SCRIPT_N_FLAGS) - 1)

/* --- tx_valid.json, tx_invalid.json ---------------------------------------------------------- */

struct tx_case {
    struct tx tx;
    struct tx_out *spent;
    struct tx_spend spend;
};

/* Flags that lean on others: without those they go ... */
static uint32_t trim(uint32_t f)
{
    if (!(f & SCRIPT_P2SH))
        f &= ~(uint32_t)SCRIPT_WITNESS;
    if (!(f & SCRIPT_WITNESS))
        f &= ~(uint32_t)SCRIPT_CLEANSTACK;
    return f;
}

/* ... or bring them along. */
static uint32_t fill(uint32_t f)
{
    if (f & SCRIPT_CLEANSTACK)
        f |= SCRIPT_WITNESS;
    if (f & SCRIPT_WITNESS)
        f |= SCRIPT_P2SH;
    return f;
}

static bool is_spent_by(struct vec *v, const json_t *prevout, const struct outpoint *o)
{
    struct hash256 txid = vec_hash_reversed(v, vec_str(json_array_get(prevout, 0)));
    return hash256_equal(&txid, &o->txid) &&
           (uint32_t)json_integer_value(json_array_get(prevout, 1)) == o->n;
}

static bool find_spent(struct vec *v, const json_t *prevouts, const struct tx_in *in,
                       struct tx_out *out)
{
    size_t i;
    json_t *prevout;
    json_array_foreach(prevouts, i, prevout)
    {
        if (!is_spent_by(v, prevout, &in->prev))
            continue;
        out->value_sat = json_integer_value(json_array_get(prevout, 3));
        return vec_assemble(v, bytes_of_str(vec_str(json_array_get(prevout, 2))), &out->script);
    }
    return false;
}

static bool read_tx_case(struct vec *v, const json_t *row, struct tx_case *c)
{
    if (!vec_tx(v, vec_json_hex(v, json_array_get(row, 1)), &c->tx))
        return false;
    c->spent = vec_alloc(v, c->tx.n_in, sizeof *c->spent);
    for (uint32_t i = 0; i < c->tx.n_in; i++) {
        if (!find_spent(v, json_array_get(row, 0), &c->tx.in[i], &c->spent[i]))
            return false;
    }
    tx_spend_init(&c->spend, &c->tx, c->spent);
    return true;
}

static bool scripts_hold(const struct tx_case *c, uint32_t flags)
{
    for (uint32_t i = 0; i < c->tx.n_in; i++) {
        if (script_verify(&c->spend, i, flags, NULL, NULL) != SCRIPT_ERR_OK)
            return false;
    }
    return true;
}

/* Valid without the excluded flags, and without any more of them; invalid when one comes back. */
static bool is_valid_but(const struct tx_case *c, uint32_t excluded)
{
    if (!scripts_hold(c, ALL_FLAGS & ~excluded))
        return false;
    for (unsigned i = 0; i < SCRIPT_N_FLAGS; i++) {
        uint32_t one_less = trim(excluded & ~(1u << i));
        if (!scripts_hold(c, trim(ALL_FLAGS & ~(excluded | 1u << i))))
            return false;
        if (one_less != excluded && scripts_hold(c, ALL_FLAGS & ~one_less))
            return false;
    }
    return true;
}

/* Invalid with the flags, and with any one more; valid when one of them goes. */
static bool is_invalid_by(const struct tx_case *c, uint32_t flags)
{
    if (scripts_hold(c, flags))
        return false;
    for (unsigned i = 0; i < SCRIPT_N_FLAGS; i++) {
        uint32_t one_less = trim(flags & ~(1u << i));
        if (scripts_hold(c, fill(flags | 1u << i)))
            return false;
        if (one_less != flags && !scripts_hold(c, one_less))
            return false;
    }
    return true;
}

static void check_valid_row(struct vec *v, const json_t *row, size_t index)
{
    struct tx_case c;
    uint32_t excluded;
    bool is_read = read_tx_case(v, row, &c) &&
                   script_flags_parse(bytes_of_str(vec_str(json_array_get(row, 2))), &excluded);
    vec_case(v, is_read && !tx_check(&c.tx, &v->arena) && is_valid_but(&c, excluded), "row %zu",
             index);
}

static void check_invalid_row(struct vec *v, const json_t *row, size_t index)
{
    struct tx_case c = {0};
    uint32_t flags;
    const char *names = vec_str(json_array_get(row, 2));
    bool is_read = read_tx_case(v, row, &c);
    if (strcmp(names, "BADTX") == 0)
        vec_case(v, !is_read || tx_check(&c.tx, &v->arena), "row %zu: CheckTransaction", index);
    else
        vec_case(v,
                 is_read && script_flags_parse(bytes_of_str(names), &flags) &&
                     is_invalid_by(&c, flags),
                 "row %zu", index);
}

static void check_rows(struct vec *v, void (*check_row)(struct vec *, const json_t *, size_t))
{
    json_t *all = vec_json(v), *row;
    size_t i;
    json_array_foreach(all, i, row)
    {
        if (json_is_array(json_array_get(row, 0)))
            check_row(v, row, i);
    }
}

static void check_tx_valid(struct vec *v)
{
    check_rows(v, check_valid_row);
}

static void check_tx_invalid(struct vec *v)
{
    check_rows(v, check_invalid_row);
}

/* --- bcoin_tx*.raw ---------------------------------------------------------------------------- */

static struct tx_out *read_spent(struct vec *v, struct bytes raw, uint32_t n)
{
    struct tx_out *spent = vec_alloc(v, n, sizeof *spent);
    struct reader r = reader_init(raw);
    for (uint32_t i = 0; i < n; i++) {
        spent[i].value_sat = (int64_t)reader_u64le(&r);
        spent[i].script = reader_take(&r, (size_t)reader_compact_size(&r));
    }
    return reader_end(&r) == ERR_OK ? spent : NULL;
}

static void check_sizes(struct vec *v, const struct tx *tx)
{
    vec_case(v,
             tx->n_in == 5 && tx->n_out == 1980 && tx->raw.len == 62138 && tx_vsize(tx) == 61813 &&
                 tx_weight(tx) == 247250,
             "sizes");
    vec_case(v,
             vec_is_hex(bytes_of(tx->wtxid.b, 32),
                        "088c919cd8408005f255c411f786928385688a9e8fdb2db4c9bc3578ce8c94cf"),
             "wtxid");
}

/* P2SH, and the rules that are older than the transaction. Where nobody says what was spent, the
 * scripts cannot be run. */
static void check_bcoin_scripts(struct vec *v, struct tx_case *c, struct bytes spent)
{
    bool is_fourth = strstr(v->name, "tx4") != NULL;
    uint32_t flags = SCRIPT_P2SH | (is_fourth ? SCRIPT_DERSIG : 0);
    c->spent = read_spent(v, spent, c->tx.n_in);
    if (!vec_case(v, c->spent != NULL, "spent outputs not read"))
        return;
    tx_spend_init(&c->spend, &c->tx, c->spent);
    if (c->tx.has_witness)
        flags |= SCRIPT_WITNESS | SCRIPT_DERSIG | SCRIPT_NULLDUMMY;
    vec_case(v, scripts_hold(c, flags), "scripts");
    if (is_fourth)
        vec_case(v, !scripts_hold(c, flags | SCRIPT_LOW_S), "high S passes for low");
}

static void check_bcoin_tx(struct vec *v)
{
    struct tx_case c;
    struct bytes spent = vec_sibling(v, 3, "spent");
    if (!vec_case(v, vec_tx(v, v->data, &c.tx), "not read"))
        return;
    if (spent.data)
        check_bcoin_scripts(v, &c, spent);
    if (strstr(v->name, "tx5"))
        check_sizes(v, &c.tx);
}

/* --- megatx.raw ------------------------------------------------------------------------------- */

#define MEGATX_CPU_S_MAX 60.0

/* Each input pays to a key hash: the key is there, so is what it spends. */
static bool guess_spent(struct vec *v, const struct tx_in *in, struct tx_out *out)
{
    size_t pos = 0;
    uint8_t op, *script = vec_alloc(v, 25, 1);
    struct bytes sig, pubkey;
    if (!script_next(in->script_sig, &pos, &op, &sig) ||
        !script_next(in->script_sig, &pos, &op, &pubkey) || pos != in->script_sig.len)
        return false;
    memcpy(script, "\x76\xa9\x14", 3);
    hash160(pubkey, script + 3);
    memcpy(script + 23, "\x88\xac", 2);
    out->script = bytes_of(script, 25);
    return true;
}

static void check_megatx(struct vec *v)
{
    struct tx_case c;
    clock_t before = clock();
    if (!vec_case(v, vec_tx(v, v->data, &c.tx), "not read"))
        return;
    c.spent = vec_alloc(v, c.tx.n_in, sizeof *c.spent);
    bool is_known = true;
    for (uint32_t i = 0; i < c.tx.n_in; i++)
        is_known &= guess_spent(v, &c.tx.in[i], &c.spent[i]);
    tx_spend_init(&c.spend, &c.tx, c.spent);
    vec_case(v, is_known && scripts_hold(&c, SCRIPT_P2SH | SCRIPT_DERSIG), "scripts");
    double cpu_s = (double)(clock() - before) / CLOCKS_PER_SEC;
    vec_case(v, cpu_s < MEGATX_CPU_S_MAX, "took %.1f CPU seconds", cpu_s);
}

const struct vec_check vec_tx_checks[] = {
    {"tx/tx_valid*.json", check_tx_valid}, {"tx/tx_invalid*.json", check_tx_invalid},
    {"tx/bcoin_tx*.raw", check_bcoin_tx},  {"tx/bcoin_tx*.spent", NULL},
    {"tx/megatx*.raw*", check_megatx},     {0},
};
