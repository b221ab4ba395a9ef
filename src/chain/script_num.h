/* script_num: numbers on a script's stack: little endian, sign in the top bit, no bytes for zero.
 *
 * Threads    pure functions
 */
#pragma once
#include "base/bytes.h"

#define SCRIPT_NUM_LEN_MAX 4u /* operands; CHECKLOCKTIMEVERIFY and CHECKSEQUENCEVERIFY take 5 */
#define SCRIPT_NUM_ROOM    9u

/* At most len_max bytes; is_minimal refuses longer spellings than needed, and minus zero. */
bool script_num_read(struct bytes b, bool is_minimal, size_t len_max, int64_t *out);
/* The shortest spelling; returns its length. */
size_t script_num_write(int64_t v, uint8_t out[SCRIPT_NUM_ROOM]);
/* True unless every byte is zero; minus zero is false as well. */
bool script_bool(struct bytes b);
/* BIP 62, rule 3: op is the shortest way to push these bytes. */
bool script_push_is_minimal(uint8_t op, struct bytes push);
