#include "chain/script_asm.h"
#include "base/hex.h"
#include "chain/script_num.h"
#include "chain/script_op.h"
#include "chain/script_sig.h"
#include "chain/sighash.h"
#include <inttypes.h>

#define NUMBER_LEN_MAX 4u /* as Bitcoin Core's ScriptToAsmStr: longer pushes are hex */

/* Of a signature in a form that STRICTENC lets through: one of these, ANYONECANPAY or not. */
static const char *sighash_name(uint8_t hash_type)
{
    static const char *const names[] = {"ALL", "NONE", "SINGLE"};
    return names[(hash_type & ~SIGHASH_ANYONECANPAY) - 1];
}

static void write_signature(struct writer *w, struct bytes sig)
{
    uint8_t hash_type = sig.data[sig.len - 1];
    writer_hex(w, bytes_sub(sig, 0, sig.len - 1));
    writer_printf(w, "[%s%s]", sighash_name(hash_type),
                  hash_type & SIGHASH_ANYONECANPAY ? "|ANYONECANPAY" : "");
}

static void write_push(struct writer *w, struct bytes push, bool has_signatures)
{
    int64_t v;
    if (push.len <= NUMBER_LEN_MAX && script_num_read(push, false, NUMBER_LEN_MAX, &v))
        writer_printf(w, "%" PRId64, v);
    else if (has_signatures && script_sig_check_form(push, SCRIPT_STRICTENC) == SCRIPT_ERR_OK)
        write_signature(w, push);
    else
        writer_hex(w, push);
}

void script_asm_write(struct writer *w, struct bytes script, bool has_signatures)
{
    size_t pos = 0;
    uint8_t op;
    struct bytes push;
    has_signatures = has_signatures && !script_is_unspendable(script);
    while (pos < script.len) {
        if (pos > 0)
            writer_u8(w, ' ');
        if (!script_next(script, &pos, &op, &push)) {
            writer_str(w, "[error]");
            return;
        }
        if (op <= OP_PUSHDATA4)
            write_push(w, push, has_signatures);
        else
            writer_str(w, script_op_name(op));
    }
}
