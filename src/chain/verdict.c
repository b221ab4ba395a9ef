#include "chain/verdict.h"
#include "base/bytes.h"
#include <stdio.h>

static enum verdict reject_set(struct reject *r, struct reject with, enum verdict v)
{
    *r = with;
    return v;
}

enum verdict reject_block(struct reject *r, const char *reason, const char *detail)
{
    return reject_tx(r, reason, detail, REJECT_NO_INDEX, REJECT_NO_INDEX);
}

enum verdict reject_mutated(struct reject *r, const char *reason, const char *detail)
{
    enum verdict v = reject_block(r, reason, detail);
    r->is_mutated = true;
    return v;
}

enum verdict reject_transient(struct reject *r, const char *reason, const char *detail)
{
    enum verdict v = reject_block(r, reason, detail);
    r->is_transient = true;
    return v;
}

enum verdict reject_tx(struct reject *r, const char *reason, const char *detail, uint32_t tx_index,
                       uint32_t in_index)
{
    return reject_set(
        r,
        (struct reject){
            .reason = reason, .detail = detail, .tx_index = tx_index, .in_index = in_index},
        VERDICT_INVALID);
}

enum verdict reject_undecided(struct reject *r, const struct err *e)
{
    return reject_set(
        r, (struct reject){.tx_index = REJECT_NO_INDEX, .in_index = REJECT_NO_INDEX, .err = *e},
        VERDICT_UNDECIDED);
}

enum verdict reject_failed(struct reject *r, enum err_code code, const char *what)
{
    return reject_undecided(r, &(struct err){.code = code, .what = what});
}

static void add(struct writer *w, const char *before, uint32_t index)
{
    if (index != REJECT_NO_INDEX)
        writer_printf(w, "%s %u", before, index);
}

static void write_reject(struct writer *w, const struct reject *r)
{
    char note[160];
    if (!r->reason) {
        writer_str(w, r->err.code ? err_format(&r->err, note, sizeof note) : "valid");
        return;
    }
    writer_str(w, r->reason);
    add(w, " (transaction", r->tx_index);
    add(w, ", input", r->in_index);
    if (r->tx_index != REJECT_NO_INDEX)
        writer_str(w, ")");
    if (r->detail)
        writer_printf(w, ": %s", r->detail);
}

char *reject_format(const struct reject *r, char *out, size_t out_cap)
{
    struct writer w = writer_init(out, out_cap - 1);
    write_reject(&w, r);
    out[w.pos] = '\0';
    return out;
}
