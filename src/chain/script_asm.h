/* script_asm: a script as text, as Bitcoin Core's RPC shows it ("asm"): names of opcodes, pushes of
 * up to four bytes as numbers, longer ones as hex, "[error]" where the script ends inside a push.
 *
 * Threads    pure functions
 * Errors     only the writer's: a script of n bytes needs at most n * SCRIPT_ASM_GROWTH
 */
#pragma once
#include "chain/script.h"

/* One byte can become "OP_CHECKSEQUENCEVERIFY" and a space. */
#define SCRIPT_ASM_GROWTH 23u

/* has_signatures (of a scriptSig): a push that has the form of a signature is written without its
 * last byte, whose meaning follows in brackets: "30...[ALL]". Nothing is terminated. */
void script_asm_write(struct writer *w, struct bytes script, bool has_signatures);
