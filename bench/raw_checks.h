/* raw_checks: signature checks of an import kept as they come (one in RAW_CHECKS_EVERY of each
 * kind, so that the mixture is the import's), to be done again in a tight loop on as many threads:
 * the raw rate of libsecp256k1.
 *
 * Ownership  what is kept is copied; it stays until the process ends
 * Threads    keeping: any, each has a room of its own; running: one, after the others have ended
 */
#pragma once
#include "base/bytes.h"

#define RAW_CHECKS_EVERY 251u /* ours: no period of blocks or multisignatures */

void raw_checks_keep_ecdsa(struct bytes sig, struct bytes pubkey, const uint8_t hash[32],
                           bool is_good);
void raw_checks_keep_schnorr(const uint8_t sig[64], const uint8_t pubkey[32], struct bytes msg,
                             bool is_good);
void raw_checks_keep_tweak(const uint8_t output[32], bool is_odd, const uint8_t internal[32],
                           const uint8_t tweak[32], bool is_good);

struct raw_checks_rate {
    uint64_t n_checks;
    double wall_s, cpu_s;
};
/* For about so long. False: nothing was kept, no thread, or a check came out otherwise than before. */
bool raw_checks_run(unsigned n_threads, double seconds, struct raw_checks_rate *out);
