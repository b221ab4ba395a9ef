#include "chain/connect.h"
#include "chain/bip54.h"
#include "chain/locks.h"
#include "chain/script.h"
#include <assert.h>

/* BIP 30, as Bitcoin Core obeys it: from here on BIP 34 heights could repeat. */
#define BIP30_AGAIN_HEIGHT 1983702u

enum err_code connect_init(struct connect *c, const struct chain_params *p,
                           const struct header_chain *headers, uint32_t node, const struct block *b,
                           struct arena *a)
{
    uint32_t n_in = 0;
    *c = (struct connect){.p = p, .headers = headers, .block = b, .node = node};
    c->height = header_height(headers, node);
    c->mtp_prev = header_median_time(headers, header_parent(headers, node));
    c->script_flags = chain_params_script_flags(p, &b->hash, c->height);
    c->first_in = arena_alloc(a, ((size_t)b->n_txs + 1) * sizeof *c->first_in);
    if (!c->first_in)
        return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < b->n_txs; i++) {
        c->first_in[i] = n_in;
        n_in += i ? b->txs[i].n_in : 0;
    }
    c->first_in[b->n_txs] = n_in;
    c->coins = arena_alloc(a, n_in * sizeof *c->coins);
    c->spent = arena_alloc(a, n_in * sizeof *c->spent);
    return c->coins && c->spent ? ERR_OK : ERR_NO_MEMORY;
}

/* --- rules of one transaction ---------------------------------------------------------------- */

static bool money_is_right(int64_t sats)
{
    return sats >= 0 && sats <= MONEY_SATS_MAX;
}

/* CheckTxInputs: maturity and amounts of inputs that exist. */
static enum verdict judge_inputs(struct connect *c, uint32_t tx_index, struct reject *r)
{
    const struct tx *t = &c->block->txs[tx_index];
    const struct coin *coins = c->coins + c->first_in[tx_index];
    int64_t in_sat = 0, out_sat = 0;
    for (uint32_t i = 0; i < t->n_in; i++) {
        if (coins[i].is_coinbase && c->height - coins[i].height < c->p->coinbase_maturity)
            return reject_tx(r, "bad-txns-premature-spend-of-coinbase",
                             "tried to spend a coinbase that is not mature", tx_index, i);
        if (money_is_right(coins[i].value_sat))
            in_sat += coins[i].value_sat;
        if (!money_is_right(coins[i].value_sat) || !money_is_right(in_sat))
            return reject_tx(r, "bad-txns-inputvalues-outofrange", NULL, tx_index, i);
    }
    for (uint32_t i = 0; i < t->n_out; i++)
        out_sat += t->out[i].value_sat; /* checked by tx_check: no overflow */
    if (in_sat < out_sat)
        return reject_tx(r, "bad-txns-in-belowout", "spends more than its inputs are worth",
                         tx_index, REJECT_NO_INDEX);
    c->fees_sat += in_sat - out_sat;
    if (!money_is_right(c->fees_sat))
        return reject_tx(r, "bad-txns-accumulated-fee-outofrange", NULL, tx_index, REJECT_NO_INDEX);
    return VERDICT_VALID;
}

static enum verdict judge_sigops(struct connect *c, uint32_t tx_index, struct reject *r)
{
    const struct tx_out *spent = c->spent + c->first_in[tx_index];
    c->sigop_cost += tx_sigop_cost(&c->block->txs[tx_index], spent, c->script_flags);
    if (c->sigop_cost > BLOCK_SIGOP_COST_MAX)
        return reject_tx(r, "bad-blk-sigops", "too many sigops", tx_index, REJECT_NO_INDEX);
    if (c->p->has_bip54 && bip54_sigops(&c->block->txs[tx_index], spent) > BIP54_SIGOPS_MAX)
        return reject_tx(r, "bad-txns-legacy-sigops", "too many that may run", tx_index,
                         REJECT_NO_INDEX);
    return VERDICT_VALID;
}

static enum verdict judge_tx(struct connect *c, uint32_t tx_index, struct reject *r)
{
    if (tx_index > 0) {
        enum verdict v = judge_inputs(c, tx_index, r);
        if (v)
            return v;
        if (chain_params_is_active(c->p, DEPLOY_CSV, c->height) &&
            !tx_locks_hold(&c->block->txs[tx_index], c->coins + c->first_in[tx_index], c->headers,
                           header_parent(c->headers, c->node)))
            return reject_tx(r, "bad-txns-nonfinal", "contains a non-BIP68-final transaction",
                             tx_index, REJECT_NO_INDEX);
    }
    return judge_sigops(c, tx_index, r);
}

static enum verdict judge_coinbase(const struct connect *c, struct reject *r)
{
    int64_t out_sat = 0;
    for (uint32_t i = 0; i < c->block->txs[0].n_out; i++)
        out_sat += c->block->txs[0].out[i].value_sat;
    if (out_sat > c->fees_sat + block_subsidy(c->p, c->height))
        return reject_tx(r, "bad-cb-amount", "coinbase pays too much", 0, REJECT_NO_INDEX);
    return VERDICT_VALID;
}

enum verdict connect_judge(struct connect *c, struct reject *r)
{
    enum verdict v = VERDICT_VALID;
    c->fees_sat = 0;
    c->sigop_cost = 0;
    for (uint32_t i = 0; !v && i < c->block->n_txs; i++)
        v = judge_tx(c, i, r);
    return v ? v : judge_coinbase(c, r);
}

/* --- BIP 30 ---------------------------------------------------------------------------------- */

/* The two coinbases that repeat an older one, and where that was (BIP 30, "Specification"). */
static bool bip30_overwritten(const struct connect *c, uint32_t *out_height)
{
    static const struct {
        uint32_t height, older;
    } pairs[] = {{91842, 91812}, {91880, 91722}};
    for (uint32_t i = 0; i < c->p->n_bip30_exceptions; i++) {
        if (c->p->bip30_exceptions[i].height != c->height ||
            !hash256_equal(&c->p->bip30_exceptions[i].block, &c->block->hash))
            continue;
        for (size_t k = 0; k < 2; k++)
            if (pairs[k].height == c->height)
                *out_height = pairs[k].older;
        return true;
    }
    return false;
}

bool connect_needs_bip30(const struct connect *c)
{
    uint32_t bip34 = c->p->active_height[DEPLOY_BIP34], older;
    /* Every coinbase since the first block tells its height: no two can be the same. */
    if (bip34 <= 1)
        return false;
    if (bip30_overwritten(c, &older))
        return false;
    if (c->height >= BIP30_AGAIN_HEIGHT || c->height <= bip34)
        return true;
    uint32_t at = header_ancestor(c->headers, c->node, bip34);
    return !hash256_equal(header_hash(c->headers, at), &c->p->bip34_hash);
}

static enum verdict check_bip30(const struct connect *c, struct coins_cache *coins,
                                struct reject *r)
{
    struct err err = {0};
    struct coin found;
    bool is_found;
    for (uint32_t i = 0; i < c->block->n_txs; i++) {
        struct outpoint at = {.txid = c->block->txs[i].txid};
        for (; at.n < c->block->txs[i].n_out; at.n++) {
            if (coins_cache_get(coins, &at, &found, &is_found, &err))
                return reject_undecided(r, &err);
            if (is_found)
                return reject_tx(r, "bad-txns-BIP30", "tried to overwrite transaction", i,
                                 REJECT_NO_INDEX);
        }
    }
    return VERDICT_VALID;
}

/* --- changing the coins ---------------------------------------------------------------------- */

static enum verdict spend_inputs(struct connect *c, uint32_t tx_index, struct coins_cache *coins,
                                 struct arena *a, struct reject *r)
{
    const struct tx *t = &c->block->txs[tx_index];
    uint32_t first = c->first_in[tx_index];
    struct err err = {0};
    bool is_found;
    for (c->n_in_done = 0; c->n_in_done < t->n_in; c->n_in_done++) {
        uint32_t i = c->n_in_done;
        struct coin *coin = &c->coins[first + i];
        if (coins_cache_spend(coins, &t->in[i].prev, coin, a, &is_found, &err))
            return reject_undecided(r, &err);
        if (!is_found)
            return reject_tx(r, "bad-txns-inputs-missingorspent",
                             "an input is missing or was spent", tx_index, i);
        c->spent[first + i] = (struct tx_out){coin->value_sat, coin->script};
    }
    return VERDICT_VALID;
}

static enum err_code remove_outputs(const struct connect *c, uint32_t tx_index, uint32_t n_out,
                                    struct coins_cache *coins, struct err *err)
{
    const struct tx *t = &c->block->txs[tx_index];
    bool is_found;
    for (uint32_t i = n_out; i-- > 0;) {
        struct outpoint at = {t->txid, i};
        if (script_is_unspendable(t->out[i].script))
            continue;
        if (coins_cache_spend(coins, &at, NULL, NULL, &is_found, err))
            return err->code;
        if (!is_found)
            return err_set(err, ERR_MALFORMED, "an output of the block is not among the coins");
    }
    return ERR_OK;
}

static enum err_code add_outputs(const struct connect *c, uint32_t tx_index,
                                 struct coins_cache *coins, bool may_overwrite, struct err *err)
{
    const struct tx *t = &c->block->txs[tx_index];
    struct err ignored = {0};
    for (uint32_t i = 0; i < t->n_out; i++) {
        struct outpoint at = {t->txid, i};
        struct coin coin = {t->out[i].value_sat, t->out[i].script, c->height, tx_index == 0};
        if (script_is_unspendable(t->out[i].script))
            continue;
        if (coins_cache_add(coins, &at, &coin, may_overwrite, err))
            return remove_outputs(c, tx_index, i, coins, &ignored) ? ignored.code : err->code;
    }
    return ERR_OK;
}

static enum err_code restore_inputs(const struct connect *c, uint32_t tx_index, uint32_t n_in,
                                    struct coins_cache *coins, struct err *err)
{
    const struct tx *t = &c->block->txs[tx_index];
    const struct coin *spent = c->coins + c->first_in[tx_index];
    for (uint32_t i = n_in; i-- > 0;)
        if (coins_cache_add(coins, &t->in[i].prev, &spent[i], true, err))
            return err->code;
    return ERR_OK;
}

/* The coinbase that an exception of BIP 30 wrote over comes back. */
static enum err_code restore_overwritten(struct connect *c, struct coins_cache *coins,
                                         struct err *err)
{
    uint32_t height = c->height, older;
    if (!bip30_overwritten(c, &older))
        return ERR_OK;
    c->height = older;
    enum err_code code = add_outputs(c, 0, coins, true, err);
    c->height = height;
    return code;
}

enum err_code connect_unapply(struct connect *c, struct coins_cache *coins, struct err *err)
{
    enum err_code code = ERR_OK;
    if (c->n_txs_done < c->block->n_txs && c->n_in_done)
        code = restore_inputs(c, c->n_txs_done, c->n_in_done, coins, err);
    c->n_in_done = 0;
    while (!code && c->n_txs_done) {
        uint32_t i = --c->n_txs_done;
        code = remove_outputs(c, i, c->block->txs[i].n_out, coins, err);
        if (!code && i)
            code = restore_inputs(c, i, c->block->txs[i].n_in, coins, err);
        else if (!code)
            code = restore_overwritten(c, coins, err);
    }
    return code;
}

/* What the block spends and makes, a few at a time (coins_cache_expect). */
struct expected {
    const struct coins_cache *coins;
    struct outpoint at[COINS_LOOK_AHEAD];
    size_t n;
};

static void expect_all(struct expected *e)
{
    coins_cache_expect(e->coins, e->at, e->n);
    e->n = 0;
}

static void expect(struct expected *e, const struct hash256 *txid, uint32_t n)
{
    e->at[e->n++] = (struct outpoint){*txid, n};
    if (e->n == COINS_LOOK_AHEAD)
        expect_all(e);
}

static void expect_coins(const struct connect *c, const struct coins_cache *coins)
{
    struct expected e = {.coins = coins};
    for (uint32_t i = 0; i < c->block->n_txs; i++) {
        const struct tx *t = &c->block->txs[i];
        for (uint32_t k = 0; i && k < t->n_in; k++)
            expect(&e, &t->in[k].prev.txid, t->in[k].prev.n);
        for (uint32_t k = 0; k < t->n_out; k++)
            expect(&e, &t->txid, k);
    }
    expect_all(&e);
}

static enum verdict apply_tx(struct connect *c, uint32_t tx_index, struct coins_cache *coins,
                             struct arena *a, struct reject *r)
{
    struct err err = {0};
    uint32_t older;
    enum verdict v = tx_index ? spend_inputs(c, tx_index, coins, a, r) : VERDICT_VALID;
    if (!v)
        v = judge_tx(c, tx_index, r);
    if (v)
        return v;
    if (add_outputs(c, tx_index, coins, tx_index == 0 && bip30_overwritten(c, &older), &err))
        return reject_undecided(r, &err);
    c->n_txs_done++;
    c->n_in_done = 0;
    return VERDICT_VALID;
}

enum verdict connect_apply(struct connect *c, struct coins_cache *coins, struct arena *a,
                           struct reject *r, bool *out_is_broken)
{
    struct err err = {0};
    enum verdict v = connect_needs_bip30(c) ? check_bip30(c, coins, r) : VERDICT_VALID;
    *out_is_broken = false;
    c->fees_sat = 0;
    c->sigop_cost = 0;
    expect_coins(c, coins);
    while (!v && c->n_txs_done < c->block->n_txs)
        v = apply_tx(c, c->n_txs_done, coins, a, r);
    if (!v)
        v = judge_coinbase(c, r);
    if (v)
        *out_is_broken = connect_unapply(c, coins, &err) != ERR_OK;
    return v;
}

/* --- undo data ------------------------------------------------------------------------------- */

enum err_code connect_take_undo(struct connect *c, const struct undo_block *u, struct err *err)
{
    if (u->n_txs + 1 != c->block->n_txs)
        return err_set(err, ERR_MALFORMED, "undo data of another number of transactions");
    for (uint32_t i = 0; i < u->n_txs; i++) {
        uint32_t first = c->first_in[i + 1];
        if (u->txs[i].n_spent != c->block->txs[i + 1].n_in)
            return err_set_at(err, ERR_MALFORMED, "undo data of another number of inputs", i + 1,
                              u->txs[i].n_spent, c->block->txs[i + 1].n_in);
        for (uint32_t k = 0; k < u->txs[i].n_spent; k++) {
            c->coins[first + k] = u->txs[i].spent[k];
            c->spent[first + k] =
                (struct tx_out){u->txs[i].spent[k].value_sat, u->txs[i].spent[k].script};
        }
    }
    c->n_txs_done = c->block->n_txs;
    return ERR_OK;
}

enum err_code connect_undo(const struct connect *c, struct arena *a, struct undo_block *out)
{
    uint32_t n = c->block->n_txs - 1;
    *out = (struct undo_block){arena_alloc(a, n * sizeof *out->txs), n};
    if (!out->txs)
        return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < n; i++)
        out->txs[i] = (struct undo_tx){c->coins + c->first_in[i + 1], c->block->txs[i + 1].n_in};
    return ERR_OK;
}
