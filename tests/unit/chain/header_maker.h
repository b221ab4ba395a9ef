/* header_maker: regtest headers with right proof of work (two tries each on average). */
#pragma once
#include "chain/block.h"
#include "chain/header_chain.h"

static const struct map_seed header_maker_seed = {1, 2};

/* A child of prev with this time; nonce_from tells siblings apart. */
static inline struct block_header make_header(const struct chain_params *p,
                                              const struct hash256 *prev, uint32_t time,
                                              uint32_t bits, uint32_t nonce_from,
                                              struct hash256 *out_hash)
{
    struct block_header h = {
        .version = 4, .prev = *prev, .time = time, .bits = bits, .nonce = nonce_from};
    for (;; h.nonce++) {
        block_header_hash(&h, out_hash);
        if (header_pow_is_right(out_hash, bits, p))
            return h;
    }
}
