/* script_interp: the machine that runs one script: its stack, its counters, its operations. Private
 * to the files script_*.c.
 *
 * Nothing is allocated. A stack item is a view of script or witness bytes, or at most 32 bytes of
 * its own (a hash, a number): no operation makes longer ones. Both stacks lie in one array, the
 * alternative one from its end downward: together they hold 1,000 items at most between operations.
 *
 * Ownership  items borrow the scripts and witnesses, which outlive the machine
 * Threads    one machine per check, on the stack of the thread that checks
 * Errors     enum script_err; after one the machine is of no more use
 */
#pragma once
#include "chain/script_num.h"
#include "chain/script_op.h"
#include "chain/script_verify.h"
#include "chain/sighash.h"
#include "chain/tx.h"

#define ITEM_OWN_LEN     32u
#define STACK_SLACK      64u /* an operation adds at most 3 items before the limit is looked at */
#define STACK_ROOM       (SCRIPT_N_STACK_MAX + STACK_SLACK)
#define CONDITION_NONE   UINT32_MAX
#define WEIGHT_OFFSET    50 /* BIP 342, "Resource limits": and so much per signature that counts */
#define WEIGHT_PER_CHECK 50

enum sig_version { SIG_BASE, SIG_WITNESS_V0, SIG_TAPSCRIPT };

struct script_item {
    const uint8_t *data; /* NULL: the bytes are own */
    uint32_t len;
    uint8_t own[ITEM_OWN_LEN];
};

struct interp {
    /* the input */
    const struct tx_spend *spend;
    struct script_cache *cache;
    int64_t amount_sat;
    uint32_t in_index, flags;
    /* the script that runs */
    enum sig_version version;
    struct bytes script;
    size_t pos, code_from; /* code_from: behind the last OP_CODESEPARATOR that ran */
    uint32_t n_ops, op_index;
    uint32_t n_conditions, first_false; /* nesting of IFs, and the outermost that is false */
    /* taproot */
    struct sighash_taproot tap;
    int64_t weight_left;
    struct sighash_memo memo;
    /* the stacks */
    uint32_t n, n_alt;
    struct script_item items[STACK_ROOM];
    uint8_t room[SCRIPT_LEN_MAX]; /* a script code without its signatures */
};

/* Runs script on the stack as it is. */
enum script_err interp_run(struct interp *m, struct bytes script, enum sig_version version);

/* OP_CHECKSIG and its kin: script_checksig.c. *out: the signature is good. */
enum script_err interp_checksig(struct interp *m, struct bytes sig, struct bytes pubkey, bool *out);
enum script_err interp_checkmultisig(struct interp *m, bool *out);
/* BIP 341: a Schnorr signature with its hash type, over what m->tap says. */
enum script_err interp_check_schnorr(struct interp *m, struct bytes sig, struct bytes pubkey);
/* OP_CHECKLOCKTIMEVERIFY, OP_CHECKSEQUENCEVERIFY: script_locktime.c. */
enum script_err interp_check_lock_time(struct interp *m);
enum script_err interp_check_sequence(struct interp *m);
/* Operations that move items about: script_ops_stack.c; that reckon: script_ops_num.c. */
enum script_err interp_stack_op(struct interp *m, uint8_t op);
enum script_err interp_num_op(struct interp *m, uint8_t op);

/* Taproot's side of a witness program: script_taproot.c. */
enum script_err interp_taproot(struct interp *m, struct bytes program, struct bytes witness,
                               uint32_t n_witness);
/* A witness script on the items before it: script_witness.c. */
enum script_err interp_witness_script(struct interp *m, struct bytes script,
                                      enum sig_version version, struct bytes witness,
                                      uint32_t n_items);

/* --- the stack ------------------------------------------------------------------------------- */

/* The i-th from the top, 1 being the top. The caller knows that there are so many. */
static inline struct script_item *top(struct interp *m, uint32_t i)
{
    return &m->items[m->n - i];
}

static inline struct bytes item_bytes(const struct script_item *it)
{
    return (struct bytes){it->data ? it->data : it->own, it->len};
}

static inline struct bytes top_bytes(struct interp *m, uint32_t i)
{
    return item_bytes(top(m, i));
}

static inline bool has_items(const struct interp *m, uint32_t n)
{
    return m->n >= n;
}

/* b outlives the machine. */
static inline void push_view(struct interp *m, struct bytes b)
{
    struct script_item *it = &m->items[m->n++];
    it->data = b.data;
    it->len = (uint32_t)b.len;
}

/* An item of its own bytes, of this length; the caller writes them. */
static inline uint8_t *push_own(struct interp *m, uint32_t len)
{
    struct script_item *it = &m->items[m->n++];
    it->data = NULL;
    it->len = len;
    return it->own;
}

static inline void push_bool(struct interp *m, bool v)
{
    *push_own(m, v) = 1;
}

static inline void push_num(struct interp *m, int64_t v)
{
    struct script_item *it = &m->items[m->n++];
    it->data = NULL;
    it->len = (uint32_t)script_num_write(v, it->own);
}

static inline void push_item(struct interp *m, const struct script_item *it)
{
    m->items[m->n++] = *it;
}

static inline void pop(struct interp *m, uint32_t n)
{
    m->n -= n;
}

static inline bool top_bool(struct interp *m)
{
    return script_bool(top_bytes(m, 1));
}

static inline enum script_err top_num(struct interp *m, uint32_t i, size_t len_max, int64_t *out)
{
    bool is_minimal = m->flags & SCRIPT_MINIMALDATA;
    return script_num_read(top_bytes(m, i), is_minimal, len_max, out) ? SCRIPT_ERR_OK
                                                                      : SCRIPT_ERR_SCRIPTNUM;
}
