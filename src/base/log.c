#include "base/log.h"
#include "base/size.h"
#include <stdarg.h>

#define LOG_LINE_CAP 1024u /* ours: longer lines end in "..." */

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};
#define N_LEVELS (sizeof level_names / sizeof level_names[0])

void log_init(struct log *l, enum log_level level,
              void (*sink)(void *ctx, enum log_level level, const char *subsystem,
                           const char *line),
              void *ctx)
{
    *l = (struct log){.level = level, .sink = sink, .ctx = ctx};
}

static bool is_listed(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = list; *at && (at = strstr(at, name)); at++)
        if ((at == list || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
            return true;
    return false;
}

void log_line(struct log *l, enum log_level level, const char *subsystem, const char *fmt, ...)
{
    char line[LOG_LINE_CAP];
    va_list args;
    if (level > l->level || !l->sink || (l->only && !is_listed(l->only, subsystem)))
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

static size_t escaped_len(struct bytes b)
{
    size_t len = 0;
    for (size_t i = 0; i < b.len; i++)
        len += is_plain(b.data[i]) ? 1 : 4;
    return len;
}

char *log_escape(struct bytes b, char *out, size_t out_cap)
{
    static const char digits[] = "0123456789abcdef";
    struct writer w = writer_init(out, out_cap);
    bool is_cut = escaped_len(b) >= out_cap;
    size_t dots = is_cut && out_cap ? size_min(3, out_cap - 1) : 0;
    for (size_t i = 0; i < b.len; i++) {
        uint8_t c = b.data[i];
        if (writer_room(&w) < (is_plain(c) ? 1 : 4) + dots + 1) /* and the terminator */
            break;
        if (is_plain(c))
            writer_u8(&w, c);
        else
            writer_put(&w, bytes_of((char[]){'\\', 'x', digits[c >> 4], digits[c & 15]}, 4));
    }
    writer_fill(&w, '.', dots);
    if (out_cap)
        writer_u8(&w, 0);
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
