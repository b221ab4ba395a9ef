/* verdict: what is known of a block or transaction after looking at it, and why.
 *
 * Three answers. VALID and INVALID are facts that every node reaches; UNDECIDED says that we could
 * not look (disk, memory) and never marks a block. A block whose data does not match its header's
 * commitments is INVALID with is_mutated: the sender is at fault, the header keeps its good name.
 * is_transient: invalid now, perhaps not later (time-too-new): never remembered.
 *
 * Reasons are the strings that Bitcoin Core answers with, so that they can be compared.
 *
 * Ownership  all strings are literals
 */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stddef.h>

enum verdict { VERDICT_VALID = 0, VERDICT_INVALID, VERDICT_UNDECIDED };

#define REJECT_NO_INDEX UINT32_MAX

struct reject {
    const char *reason; /* "bad-txns-vin-empty", ...; NULL while VALID */
    const char *detail; /* one clause for people, or the script error's text; may be NULL */
    uint32_t tx_index, in_index; /* REJECT_NO_INDEX: the block as a whole */
    bool is_mutated, is_transient;
    struct err err; /* UNDECIDED: what the world said */
};

#define REJECT_NONE ((struct reject){.tx_index = REJECT_NO_INDEX, .in_index = REJECT_NO_INDEX})

/* Each fills *r (not NULL; other fields reset) and returns its verdict. */
enum verdict reject_block(struct reject *r, const char *reason, const char *detail) MUST_USE;
enum verdict reject_mutated(struct reject *r, const char *reason, const char *detail) MUST_USE;
enum verdict reject_transient(struct reject *r, const char *reason, const char *detail) MUST_USE;
enum verdict reject_tx(struct reject *r, const char *reason, const char *detail, uint32_t tx_index,
                       uint32_t in_index) MUST_USE;
enum verdict reject_undecided(struct reject *r, const struct err *e) MUST_USE;
/* UNDECIDED for a reason that is said here. */
enum verdict reject_failed(struct reject *r, enum err_code code, const char *what) MUST_USE;

/* One line for people: "bad-txns-inputs-missingorspent (transaction 3, input 0): detail". */
char *reject_format(const struct reject *r, char *out, size_t out_cap);
