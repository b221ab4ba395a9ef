/* sighash: what a signature signs: the three hashes of a transaction as seen from one input (the
 * original one, BIP 143 for witness version 0, BIP 341 and 342 for taproot).
 *
 * Everything streams into SHA-256; nothing is allocated. Asking again for the same script code
 * (the keys of one CHECKMULTISIG) costs one block: struct sighash_memo keeps the state before the
 * hash type, by what the hash type leaves out.
 *
 * Ownership  a memo remembers where script codes lie: it dies before they change
 * Threads    pure functions; a memo belongs to one evaluation
 * Errors     only taproot can say no: hash types it does not know, SINGLE without its output,
 *            spent outputs that nobody gave
 */
#pragma once
#include "chain/script_verify.h"

#define SIGHASH_DEFAULT      0x00u /* BIP 341: as ALL */
#define SIGHASH_ALL          0x01u
#define SIGHASH_NONE         0x02u
#define SIGHASH_SINGLE       0x03u
#define SIGHASH_ANYONECANPAY 0x80u

#define SIGHASH_N_SHAPES 6u /* ALL, NONE, SINGLE, with and without ANYONECANPAY */

struct sighash_memo {
    struct {
        struct bytes code; /* .data NULL: free */
        struct sha256_state state;
    } shapes[SIGHASH_N_SHAPES];
};

void sighash_memo_reset(struct sighash_memo *m);

/* code: the script code with signatures taken out (script_find_and_delete); OP_CODESEPARATORs are
 * left out here. hash_type: all 32 bits are hashed; scripts know only the lowest 8. memo may be
 * NULL, here and below. */
void sighash_legacy(const struct tx *tx, uint32_t in_index, struct bytes code, uint32_t hash_type,
                    struct sighash_memo *memo, struct hash256 *out);

/* BIP 143. */
void sighash_v0(const struct tx_spend *s, uint32_t in_index, struct bytes code, int64_t amount_sat,
                uint32_t hash_type, struct sighash_memo *memo, struct hash256 *out);

/* What a taproot signature signs beside the transaction: BIP 341, "Common signature message", and
 * BIP 342, "Common signature message extension". */
struct sighash_taproot {
    bool has_annex, is_tapscript;
    struct hash256 annex; /* SHA-256 of its length and bytes */
    struct hash256 leaf;  /* tapscript: the tapleaf's hash */
    uint32_t codesep_pos; /* of the last OP_CODESEPARATOR executed, in opcodes; or all ones */
};

bool sighash_v1(const struct tx_spend *s, uint32_t in_index, uint8_t hash_type,
                const struct sighash_taproot *t, struct hash256 *out);

/* Takes every copy of pattern that begins at an opcode out of code. Returns how many; *out is code
 * itself when none. room: code.len bytes. */
size_t script_find_and_delete(struct bytes code, struct bytes pattern, uint8_t *room,
                              struct bytes *out);

/* --- tagged hashes (BIP 340) ------------------------------------------------------------------ */

enum sighash_tag { TAG_TAPLEAF, TAG_TAPBRANCH, TAG_TAPTWEAK, TAG_TAPSIGHASH };
/* The state after the tag: two copies of its hash. */
void sighash_tag_init(struct sha256_state *s, enum sighash_tag tag);
/* BIP 341: the hash of a leaf; the version with its lowest bit clear. */
void sighash_tapleaf(uint8_t leaf_version, struct bytes script, struct hash256 *out);
/* BIP 341: two children, the smaller first. */
void sighash_tapbranch(const uint8_t a[32], const uint8_t b[32], uint8_t out[32]);
