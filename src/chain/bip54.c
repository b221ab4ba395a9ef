#include "chain/bip54.h"
#include "chain/script.h"

#define GRACE_S       7200 /* BIP 54, "Specification" */
#define NODE_PAIR_LEN 64u  /* two hashes: an inner node of a merkle tree */

enum verdict bip54_check_time(const struct header_chain *c, uint32_t parent, uint32_t time,
                              uint32_t period, struct reject *r)
{
    uint32_t height = header_height(c, parent) + 1;
    if (height % period == 0 && (int64_t)time < (int64_t)header_time(c, parent) - GRACE_S)
        return reject_block(r, "time-timewarp-attack",
                            "first of a period more than two hours before its parent");
    if (height % period == period - 1) {
        uint32_t first = header_ancestor(c, parent, height - (period - 1));
        if (time < header_time(c, first))
            return reject_block(r, "time-murch-zawy-attack",
                                "last of a period before the first of it");
    }
    return VERDICT_VALID;
}

bool bip54_tx_len_is_right(const struct tx *t)
{
    return t->stripped_len != NODE_PAIR_LEN;
}

enum verdict bip54_check_block(const struct block *b, uint32_t height, struct reject *r)
{
    const struct tx *coinbase = &b->txs[0];
    for (uint32_t i = 0; i < b->n_txs; i++)
        if (!bip54_tx_len_is_right(&b->txs[i]))
            return reject_tx(r, "bad-txns-size-64", "64 bytes without its witness", i,
                             REJECT_NO_INDEX);
    if (coinbase->lock_time != height - 1)
        return reject_tx(r, "bad-cb-locktime", "not locked to the height before", 0, 0);
    if (coinbase->in[0].sequence == UINT32_MAX)
        return reject_tx(r, "bad-cb-sequence", "its lock time does not count", 0, 0);
    return VERDICT_VALID;
}

/* What was pushed last, to which a pay-to-script-hash output gives the word. */
static struct bytes last_push(struct bytes script)
{
    struct bytes push = {0};
    size_t pos = 0;
    uint8_t op;
    while (script_next(script, &pos, &op, &push)) {
    }
    return push;
}

uint32_t bip54_sigops(const struct tx *t, const struct tx_out *spent)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_in; i++) {
        struct bytes sig = t->in[i].script_sig;
        n += script_sigops(sig, true) + script_sigops(spent[i].script, true);
        if (script_is_p2sh(spent[i].script) && script_is_push_only(sig))
            n += script_sigops(last_push(sig), true);
    }
    return n;
}
