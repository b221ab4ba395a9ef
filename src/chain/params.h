/* params: the constants of each network: main, testnet4 (BIP 94), signet (BIP 325), regtest.
 *
 * Sources: Bitcoin Core src/kernel/chainparams.cpp; BIPs 34, 65, 66, 68, 94, 112, 113, 141, 325,
 * 341. Genesis blocks are rebuilt from their fields and compared with the hash noted here.
 *
 * Ownership  chain_params_find gives const data of the program; a copy may be changed
 *            (regtest heights, custom signet challenge: the views' owner is the caller)
 */
#pragma once
#include "chain/primitives.h"
#include "chain/u256.h"

enum deployment {
    DEPLOY_BIP34,
    DEPLOY_CLTV,
    DEPLOY_DERSIG,
    DEPLOY_CSV,
    DEPLOY_SEGWIT,
    DEPLOY_COUNT
};

struct assumeutxo {
    uint32_t height;
    uint64_t n_chain_tx;
    struct hash256 block, coins_hash; /* hash_serialized_3 */
};

struct chain_params {
    const char *name; /* "main", "testnet4", "signet", "regtest": as -chain in Bitcoin Core */
    uint8_t magic[4];
    uint16_t port;
    struct hash256 genesis;
    struct block_header genesis_header;
    struct bytes genesis_raw; /* the whole block */
    struct u256 pow_limit;
    uint32_t active_height[DEPLOY_COUNT]; /* the rule holds from this height on */
    struct hash256 bip34_hash;            /* main: block 227,931; BIP 30 rests while it is ours */
    /* Blocks checked with fewer script flags: hash and the flags that hold. */
    struct {
        struct hash256 block;
        uint32_t flags;
    } exceptions[2];
    uint32_t n_exceptions;
    struct {
        uint32_t height;
        struct hash256 block;
    } bip30_exceptions[2]; /* main: their coinbases overwrite older ones */
    uint32_t n_bip30_exceptions;
    uint32_t subsidy_halving_blocks;
    uint32_t pow_timespan_s, pow_spacing_s;
    bool pow_has_no_retargeting, pow_allows_min_difficulty, pow_is_bip94;
    struct u256 min_chain_work;
    struct hash256 assume_valid; /* zero: none */
    const struct assumeutxo *assumeutxo;
    uint32_t n_assumeutxo;
    bool is_signet;
    struct bytes signet_challenge;
    bool has_bip54;             /* Consensus Cleanup, for tests only: off everywhere */
    uint32_t coinbase_maturity; /* 100; the vectors of others use 1 */
    uint8_t base58_pubkey, base58_script, base58_secret;
    const char *bech32_hrp;
};

/* NULL when there is no such network. */
const struct chain_params *chain_params_find(const char *name);
/* Custom signet: *p copied from signet with this challenge (borrowed), magic computed from it. */
void chain_params_set_challenge(struct chain_params *p, struct bytes challenge);
/* "bip34@2", "cltv@111", ... as -testactivationheight; false when not understood. */
bool chain_params_set_height(struct chain_params *p, const char *name_at_height);

/* Script flags that hold in a block (script.h): taproot, P2SH and witness always but for the
 * exceptions; the rest by height. */
uint32_t chain_params_script_flags(const struct chain_params *p, const struct hash256 *block,
                                   uint32_t height);
static inline bool chain_params_is_active(const struct chain_params *p, enum deployment d,
                                          uint32_t height)
{
    return height >= p->active_height[d];
}
