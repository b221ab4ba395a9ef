/* log: one line per event, event first and fields after: "request refused" piece=7 got=262144.
 *
 * Ownership  a sink is the owner's function; the line is valid during the call
 * Threads    a struct log belongs to one thread; the sink of a log used by workers must lock
 * Safety     peer-chosen bytes go through LOG_BYTES-style escaping (log_escape); secrets never appear
 */
#pragma once
#include "base/bytes.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

struct log {
    enum log_level level; /* lines above it are dropped before formatting */
    const char *only;     /* subsystems let through, separated by commas; NULL is all */
    void (*sink)(void *ctx, enum log_level level, const char *subsystem, const char *line);
    void *ctx;
    uint64_t n_lines;
};

void log_init(struct log *l, enum log_level level,
              void (*sink)(void *ctx, enum log_level level, const char *subsystem,
                           const char *line),
              void *ctx);
void log_line(struct log *l, enum log_level level, const char *subsystem, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A NULL log is silent and costs one compare. */
#define LOG(l, level_, subsystem, ...)                                                             \
    do {                                                                                           \
        struct log *log_to_ = (l);                                                                 \
        if (log_to_ && (level_) <= log_to_->level)                                                 \
            log_line(log_to_, (level_), (subsystem), __VA_ARGS__);                                 \
    } while (0)

/* Printable ASCII stays, everything else becomes \xNN; cut with "..." to fit. Returns out. */
char *log_escape(struct bytes b, char *out, size_t out_cap);
const char *log_level_name(enum log_level level);
bool log_level_parse(const char *s, enum log_level *out);
