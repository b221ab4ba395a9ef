/* script_verify: whether an input may spend an output: the whole interpreter (legacy, P2SH, segwit
 * v0, taproot and tapscript) under every flag (BIPs 16, 65, 66, 68, 112, 141, 143, 147, 341, 342).
 *
 * A struct tx_spend holds what all inputs of one transaction share: the spent outputs and the
 * hashes computed once (BIP 143, BIP 341 mid-states). It is made by one thread, then only read, so
 * the inputs may be checked on many threads.
 *
 * Ownership  a tx_spend borrows the transaction and the spent outputs; nothing is kept
 * Threads    script_verify is pure but for the caches, which are thread-safe (script_cache.h)
 * Errors     a verdict by name: SCRIPT_ERR_OK or what Bitcoin Core's tests call it. No memory:
 *            SCRIPT_ERR_NO_MEMORY, which is no verdict (UNDECIDED)
 */
#pragma once
#include "base/mem.h"
#include "chain/script.h"
#include "crypto/sha.h"

/* Names as in script_tests.json ("OK", "EVAL_FALSE", ...): script_err_name. Texts as Bitcoin
 * Core prints after "block-script-verify-flag-failed": script_err_text. */
enum script_err {
    SCRIPT_ERR_OK = 0,
    SCRIPT_ERR_UNKNOWN_ERROR,
    SCRIPT_ERR_EVAL_FALSE,
    SCRIPT_ERR_OP_RETURN,
    SCRIPT_ERR_SCRIPT_SIZE,
    SCRIPT_ERR_PUSH_SIZE,
    SCRIPT_ERR_OP_COUNT,
    SCRIPT_ERR_STACK_SIZE,
    SCRIPT_ERR_SIG_COUNT,
    SCRIPT_ERR_PUBKEY_COUNT,
    SCRIPT_ERR_VERIFY,
    SCRIPT_ERR_EQUALVERIFY,
    SCRIPT_ERR_CHECKMULTISIGVERIFY,
    SCRIPT_ERR_CHECKSIGVERIFY,
    SCRIPT_ERR_NUMEQUALVERIFY,
    SCRIPT_ERR_BAD_OPCODE,
    SCRIPT_ERR_DISABLED_OPCODE,
    SCRIPT_ERR_INVALID_STACK_OPERATION,
    SCRIPT_ERR_INVALID_ALTSTACK_OPERATION,
    SCRIPT_ERR_UNBALANCED_CONDITIONAL,
    SCRIPT_ERR_SCRIPTNUM,
    SCRIPT_ERR_NEGATIVE_LOCKTIME,
    SCRIPT_ERR_UNSATISFIED_LOCKTIME,
    SCRIPT_ERR_SIG_HASHTYPE,
    SCRIPT_ERR_SIG_DER,
    SCRIPT_ERR_MINIMALDATA,
    SCRIPT_ERR_SIG_PUSHONLY,
    SCRIPT_ERR_SIG_HIGH_S,
    SCRIPT_ERR_SIG_NULLDUMMY,
    SCRIPT_ERR_PUBKEYTYPE,
    SCRIPT_ERR_CLEANSTACK,
    SCRIPT_ERR_MINIMALIF,
    SCRIPT_ERR_NULLFAIL,
    SCRIPT_ERR_DISCOURAGE_UPGRADABLE_NOPS,
    SCRIPT_ERR_DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM,
    SCRIPT_ERR_DISCOURAGE_UPGRADABLE_TAPROOT_VERSION,
    SCRIPT_ERR_DISCOURAGE_OP_SUCCESS,
    SCRIPT_ERR_DISCOURAGE_UPGRADABLE_PUBKEYTYPE,
    SCRIPT_ERR_WITNESS_PROGRAM_WRONG_LENGTH,
    SCRIPT_ERR_WITNESS_PROGRAM_WITNESS_EMPTY,
    SCRIPT_ERR_WITNESS_PROGRAM_MISMATCH,
    SCRIPT_ERR_WITNESS_MALLEATED,
    SCRIPT_ERR_WITNESS_MALLEATED_P2SH,
    SCRIPT_ERR_WITNESS_UNEXPECTED,
    SCRIPT_ERR_WITNESS_PUBKEYTYPE,
    SCRIPT_ERR_SCHNORR_SIG_SIZE,
    SCRIPT_ERR_SCHNORR_SIG_HASHTYPE,
    SCRIPT_ERR_SCHNORR_SIG,
    SCRIPT_ERR_TAPROOT_WRONG_CONTROL_SIZE,
    SCRIPT_ERR_TAPSCRIPT_VALIDATION_WEIGHT,
    SCRIPT_ERR_TAPSCRIPT_CHECKMULTISIG,
    SCRIPT_ERR_TAPSCRIPT_MINIMALIF,
    SCRIPT_ERR_TAPSCRIPT_EMPTY_PUBKEY,
    SCRIPT_ERR_OP_CODESEPARATOR,
    SCRIPT_ERR_SIG_FINDANDDELETE,
    SCRIPT_ERR_NO_MEMORY, /* ours: could not look */
    SCRIPT_ERR_COUNT
};
const char *script_err_name(enum script_err e);
const char *script_err_text(enum script_err e);

struct script_cache; /* script_cache.h; may be NULL everywhere */

struct tx_spend {
    const struct tx *tx;
    const struct tx_out *spent; /* tx->n_in of them, in order of inputs; NULL: taproot not there */
    struct hash256 prevouts, sequences, outputs; /* BIP 143: double SHA-256 */
    struct hash256 prevouts1, amounts1, scripts1, sequences1, outputs1; /* BIP 341: single */
    bool has_v0, has_taproot; /* which of them are filled: only what some input needs */
};

/* Fills *out for tx; spent as above. */
void tx_spend_init(struct tx_spend *out, const struct tx *tx, const struct tx_out *spent);

/* One input under these flags. Nothing is allocated: mem may be NULL. */
enum script_err script_verify(const struct tx_spend *s, uint32_t in_index, uint32_t flags,
                              struct script_cache *cache, struct mem *mem);

/* The same with an unlocking that is not in the transaction (signet, vectors). */
enum script_err script_verify_with(const struct tx_spend *s, uint32_t in_index,
                                   struct bytes script_sig, struct bytes script_pubkey,
                                   struct bytes witness, uint32_t n_witness, int64_t amount_sat,
                                   uint32_t flags, struct script_cache *cache, struct mem *mem);
