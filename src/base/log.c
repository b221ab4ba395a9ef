#include "base/log.h"
#include <stdarg.h>

#define LOG_LINE_CAP 1024u /* ours: longer lines end in "..." */

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};
#define N_LEVELS (sizeof level_names / sizeof level_names[0])

void log_init(struct log *l, enum log_level level,
              void (*sink)(void *ctx, enum log_level level, const char *subsystem,
                           const char *line),
              void *ctx)
{
    *l = (struct log){.level = level, .subsystems = ~0u, .sink = sink, .ctx = ctx};
}

void log_line(struct log *l, enum log_level level, const char *subsystem, const char *fmt, ...)
{
    char line[LOG_LINE_CAP];
    va_list args;
    if (level > l->level || !l->sink)
        return;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof line)
        memcpy(line + sizeof line - 4, "...", 4);
    l->n_lines++;
    l->sink(l->ctx, level, subsystem, line);
}

/* Backslash and quote are escaped too, so that a quoted field stays one field. */
static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '\\' && c != '"';
}

char *log_escape(struct bytes b, char *out, size_t out_cap)
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0, cut_at = 0; /* where "..." still fits */
    if (out_cap == 0)
        return out;
    for (size_t i = 0; i < b.len; i++) {
        uint8_t c = b.data[i];
        size_t need = is_plain(c) ? 1 : 4;
        if (at + 3 < out_cap)
            cut_at = at;
        if (need >= out_cap - at) {
            memcpy(out + cut_at, "...", out_cap - cut_at > 3 ? 3 : out_cap - cut_at - 1);
            at = cut_at + (out_cap - cut_at > 3 ? 3 : out_cap - cut_at - 1);
            break;
        }
        if (need == 1) {
            out[at++] = (char)c;
            continue;
        }
        memcpy(out + at, (char[4]){'\\', 'x', digits[c >> 4], digits[c & 15]}, 4);
        at += 4;
    }
    out[at] = '\0';
    return out;
}

const char *log_level_name(enum log_level level)
{
    return (unsigned)level < N_LEVELS ? level_names[level] : "unknown";
}

bool log_level_parse(const char *s, enum log_level *out)
{
    for (unsigned i = 0; i < N_LEVELS; i++) {
        if (strcmp(s, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}
