/* random: bytes from the system's generator, for seeds, peer ids and secrets.
 *
 * Errors     none: a system that cannot give random bytes cannot run this program (aborts)
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

void random_fill(void *out, size_t len);
uint64_t random_u64(void);
