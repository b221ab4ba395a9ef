/* peer_id: making ours and reading those of others (BEP 20).
 *
 * Threads    pure functions
 * Errors     none: an id that follows no convention is shown escaped
 */
#pragma once
#include "base/bytes.h"
#include "base/rng.h"

#define PEER_ID_PREFIX  "-SH0100-" /* SH, version 0.1.0 */
#define PEER_CLIENT_CAP 48u        /* struct peer_stats */

/* PEER_ID_PREFIX and 12 random characters that need no escaping in a URL. The rng should be
 * seeded from crypto/random where the id must not be guessed. */
void peer_id_make(uint8_t out[20], struct rng *rng);
/* "Transmission 3.00": from v when there is one, else from the id. Printable ASCII, terminated.
 * Returns out. */
char *peer_client_name(const uint8_t id[20], struct bytes v, char *out, size_t out_cap);
