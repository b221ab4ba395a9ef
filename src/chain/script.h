/* script: Bitcoin's scripts as bytes: opcodes, walking them, standard shapes, sigop counts, flags.
 *
 * Threads    pure functions
 * Errors     a malformed push ends a walk; who cares asks script_next
 */
#pragma once
#include "chain/primitives.h"

#define SCRIPT_LEN_MAX         10000u /* consensus, not in tapscript */
#define SCRIPT_ELEMENT_LEN_MAX 520u
#define SCRIPT_N_STACK_MAX     1000u
#define SCRIPT_N_OPS_MAX       201u
#define SCRIPT_N_PUBKEYS_MAX   20u

/* Verification flags: names as in Bitcoin Core's script_tests.json, without the prefix. */
enum script_flag {
    SCRIPT_P2SH = 1u << 0,
    SCRIPT_STRICTENC = 1u << 1,
    SCRIPT_DERSIG = 1u << 2,
    SCRIPT_LOW_S = 1u << 3,
    SCRIPT_NULLDUMMY = 1u << 4,
    SCRIPT_SIGPUSHONLY = 1u << 5,
    SCRIPT_MINIMALDATA = 1u << 6,
    SCRIPT_DISCOURAGE_UPGRADABLE_NOPS = 1u << 7,
    SCRIPT_CLEANSTACK = 1u << 8,
    SCRIPT_CHECKLOCKTIMEVERIFY = 1u << 9,
    SCRIPT_CHECKSEQUENCEVERIFY = 1u << 10,
    SCRIPT_WITNESS = 1u << 11,
    SCRIPT_DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM = 1u << 12,
    SCRIPT_MINIMALIF = 1u << 13,
    SCRIPT_NULLFAIL = 1u << 14,
    SCRIPT_WITNESS_PUBKEYTYPE = 1u << 15,
    SCRIPT_CONST_SCRIPTCODE = 1u << 16,
    SCRIPT_TAPROOT = 1u << 17,
    SCRIPT_DISCOURAGE_UPGRADABLE_TAPROOT_VERSION = 1u << 18,
    SCRIPT_DISCOURAGE_OP_SUCCESS = 1u << 19,
    SCRIPT_DISCOURAGE_UPGRADABLE_PUBKEYTYPE = 1u << 20,
};
#define SCRIPT_N_FLAGS 21u
/* No rule: what is found good is kept in the cache (script_cache.h). */
#define SCRIPT_CACHE_STORE (1u << 31)

/* "P2SH,WITNESS" (or "NONE", "") to flags; false when a name is not known. */
bool script_flags_parse(struct bytes names, uint32_t *out);
const char *script_flag_name(unsigned bit);

/* One opcode or push at *pos; false at the end or (with *pos < script.len) on a malformed push. */
bool script_next(struct bytes script, size_t *pos, uint8_t *out_op, struct bytes *out_push);

/* The shortest of the four forms of a push that holds b; never OP_1 to OP_16 or OP_1NEGATE. */
void script_write_push(struct writer *w, struct bytes b);

bool script_is_p2sh(struct bytes s); /* the 23-byte form only */
bool script_is_push_only(struct bytes s);
bool script_is_unspendable(struct bytes s); /* begins with OP_RETURN or is above 10,000 bytes */
/* Witness program: version 0 to 16 and 2 to 40 bytes (BIP 141). */
bool script_witness_program(struct bytes s, unsigned *out_version, struct bytes *out_program);
/* A key (by its length and first byte: 33, 65, hybrids too) and OP_CHECKSIG. */
bool script_pubkey(struct bytes s, struct bytes *out_key);
/* m keys of n, counts spelled in the shortest way, OP_CHECKMULTISIG. */
struct script_multisig {
    uint32_t n_needed, n_keys;
    struct bytes keys[SCRIPT_N_PUBKEYS_MAX]; /* views of the script */
};
bool script_multisig(struct bytes s, struct script_multisig *out);

/* Legacy count: is_accurate takes n of n-of-m from OP_1 to OP_16 before CHECKMULTISIG, else 20. */
uint32_t script_sigops(struct bytes s, bool is_accurate);
/* BIP 141 "Sigops": cost of one transaction: legacy and P2SH times 4, witness times 1.
 * spent[i] is what input i spends; a coinbase needs none. */
uint64_t tx_sigop_cost(const struct tx *t, const struct tx_out *spent, uint32_t flags);
uint32_t tx_legacy_sigops(const struct tx *t);

/* pubkey, pubkeyhash, scripthash, multisig, witness_v0_keyhash, ...: Bitcoin Core's type names. */
const char *script_type_name(struct bytes s);
