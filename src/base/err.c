#include "base/err.h"

static const char *const names[ERR_CODE_COUNT] = {
    [ERR_OK] = "ok",
    [ERR_TRUNCATED] = "truncated",
    [ERR_MALFORMED] = "malformed",
    [ERR_LIMIT] = "limit",
    [ERR_PROTOCOL] = "protocol",
    [ERR_NO_MEMORY] = "no memory",
    [ERR_IO] = "input/output",
    [ERR_CANCELLED] = "cancelled",
    [ERR_UNSUPPORTED] = "unsupported",
    [ERR_NOT_FOUND] = "not found",
};

enum err_code err_set(struct err *e, enum err_code code, const char *what)
{
    return err_set_at(e, code, what, 0, 0, 0);
}

enum err_code err_set_at(struct err *e, enum err_code code, const char *what, uint64_t at,
                         uint64_t got, uint64_t want)
{
    if (e)
        *e = (struct err){code, what, at, got, want};
    return code;
}

const char *err_code_name(enum err_code code)
{
    return (unsigned)code < ERR_CODE_COUNT ? names[code] : "unknown";
}

char *err_format(const struct err *e, char *out, unsigned long out_cap)
{
    const char *what = e->what ? e->what : err_code_name(e->code);
    if (e->code == ERR_IO && e->got)
        snprintf(out, out_cap, "%s: %s", what, strerror((int)e->got));
    else if (e->at && !e->got && !e->want)
        snprintf(out, out_cap, "%s (at %llu)", what, (unsigned long long)e->at);
    else if (e->at || e->got || e->want)
        snprintf(out, out_cap, "%s (at %llu, got %llu, want %llu)", what, (unsigned long long)e->at,
                 (unsigned long long)e->got, (unsigned long long)e->want);
    else
        snprintf(out, out_cap, "%s", what);
    return out;
}
