#include "chain/script_interp.h"
#include "crypto/secp.h"

#define ANNEX_TAG        0x50u /* BIP 341, "Script validation rules" */
#define CONTROL_BASE_LEN 33u
#define CONTROL_NODE_LEN 32u
#define CONTROL_N_NODES  128u
#define LEAF_MASK        0xfeu
#define LEAF_TAPSCRIPT   0xc0u /* BIP 342 */

/* BIP 342, "Specification": these opcodes make any script valid. */
static bool is_op_success(uint8_t op)
{
    return op == OP_RESERVED || op == OP_VER || (op >= OP_CAT && op <= OP_RIGHT) ||
           (op >= OP_INVERT && op <= OP_XOR) || op == OP_RESERVED1 || op == OP_RESERVED2 ||
           op == OP_2MUL || op == OP_2DIV || (op >= OP_MUL && op <= OP_RSHIFT) ||
           (op > OP_CHECKSIGADD && op < 0xff);
}

/* SCRIPT_ERR_OK with *out_is_success: valid whatever else it says. What comes before the first
 * OP_SUCCESS must be well formed. */
static enum script_err find_op_success(struct interp *m, struct bytes script, bool *out_is_success)
{
    size_t pos = 0;
    uint8_t op;
    struct bytes push;
    *out_is_success = false;
    while (script_next(script, &pos, &op, &push)) {
        if (!is_op_success(op))
            continue;
        *out_is_success = true;
        return m->flags & SCRIPT_DISCOURAGE_OP_SUCCESS ? SCRIPT_ERR_DISCOURAGE_OP_SUCCESS
                                                       : SCRIPT_ERR_OK;
    }
    return pos == script.len ? SCRIPT_ERR_OK : SCRIPT_ERR_BAD_OPCODE;
}

/* BIP 341: from the leaf up the branches of the control block to the root, and the tweak with it. */
static bool commits_to(struct bytes program, struct bytes control, const struct hash256 *leaf)
{
    struct hash256 node = *leaf, tweak;
    struct sha256_state s;
    for (size_t at = CONTROL_BASE_LEN; at < control.len; at += CONTROL_NODE_LEN)
        sighash_tapbranch(node.b, control.data + at, node.b);
    sighash_tag_init(&s, TAG_TAPTWEAK);
    sha256_update(&s, bytes_sub(control, 1, 32));
    sha256_update(&s, bytes_of(node.b, sizeof node.b));
    sha256_final(&s, tweak.b);
    return secp_tweak_check(program.data, control.data[0] & 1, control.data + 1, tweak.b);
}

static bool control_len_is_right(size_t len)
{
    return len >= CONTROL_BASE_LEN && (len - CONTROL_BASE_LEN) % CONTROL_NODE_LEN == 0 &&
           (len - CONTROL_BASE_LEN) / CONTROL_NODE_LEN <= CONTROL_N_NODES;
}

static enum script_err run_tapscript(struct interp *m, struct bytes script, struct bytes witness,
                                     uint32_t n_items)
{
    bool is_success;
    enum script_err e = find_op_success(m, script, &is_success);
    if (e || is_success)
        return e;
    if (n_items > SCRIPT_N_STACK_MAX)
        return SCRIPT_ERR_STACK_SIZE;
    m->tap.is_tapscript = true;
    return interp_witness_script(m, script, SIG_TAPSCRIPT, witness, n_items);
}

/* The last items of a witness: items[0] is the last. Returns how many there are, up to three. */
static uint32_t last_items(struct bytes witness, struct bytes items[3])
{
    struct bytes item;
    uint32_t n = 0;
    while (witness_next(&witness, &item)) {
        items[2] = items[1];
        items[1] = items[0];
        items[0] = item;
        n += n < 3;
    }
    return n;
}

static void take_annex(struct interp *m, struct bytes annex)
{
    uint8_t head[9];
    struct sha256_state s;
    struct writer w = writer_init(head, sizeof head);
    writer_compact_size(&w, annex.len);
    m->tap.has_annex = true;
    sha256_init(&s);
    sha256_update(&s, writer_bytes(&w));
    sha256_update(&s, annex);
    sha256_final(&s, m->tap.annex.b);
}

static enum script_err script_path(struct interp *m, struct bytes program, struct bytes control,
                                   struct bytes script, struct bytes witness, uint32_t n_items)
{
    if (!control_len_is_right(control.len))
        return SCRIPT_ERR_TAPROOT_WRONG_CONTROL_SIZE;
    uint8_t leaf_version = control.data[0] & LEAF_MASK;
    sighash_tapleaf(leaf_version, script, &m->tap.leaf);
    if (!commits_to(program, control, &m->tap.leaf))
        return SCRIPT_ERR_WITNESS_PROGRAM_MISMATCH;
    if (leaf_version == LEAF_TAPSCRIPT)
        return run_tapscript(m, script, witness, n_items);
    return m->flags & SCRIPT_DISCOURAGE_UPGRADABLE_TAPROOT_VERSION
               ? SCRIPT_ERR_DISCOURAGE_UPGRADABLE_TAPROOT_VERSION
               : SCRIPT_ERR_OK;
}

enum script_err interp_taproot(struct interp *m, struct bytes program, struct bytes witness,
                               uint32_t n_witness)
{
    struct bytes items[3] = {{0}};
    if (!(m->flags & SCRIPT_TAPROOT))
        return SCRIPT_ERR_OK;
    if (n_witness == 0)
        return SCRIPT_ERR_WITNESS_PROGRAM_WITNESS_EMPTY;
    (void)last_items(witness, items);
    m->tap.has_annex = m->tap.is_tapscript = false;
    m->weight_left = (int64_t)(compact_size_len(n_witness) + witness.len) + WEIGHT_OFFSET;
    struct bytes *last = items;
    if (n_witness >= 2 && last->len > 0 && last->data[0] == ANNEX_TAG) {
        take_annex(m, *last++);
        n_witness--;
    }
    if (n_witness == 1)
        return interp_check_schnorr(m, *last, program);
    return script_path(m, program, last[0], last[1], witness, n_witness - 2);
}
