/* err: what went wrong, as a code to branch on and a note for a human.
 *
 * Ownership  `what` is a string literal; a struct err owns nothing and is copied freely
 * Threads    plain values
 * Errors     a function that can fail returns enum err_code and leaves the details in the
 *            struct err beside it; on success the note is untouched
 */
#pragma once
#include <stdint.h>

enum err_code {
    ERR_OK = 0,
    ERR_TRUNCATED,   /* input ends inside a field                                  */
    ERR_MALFORMED,   /* bytes that the format does not allow                       */
    ERR_LIMIT,       /* well-formed, but beyond a bound of ours                    */
    ERR_PROTOCOL,    /* well-formed, but not allowed now                           */
    ERR_NO_MEMORY,   /* the allocator or its budget said no                        */
    ERR_IO,          /* the world: disk, socket, name service; `got` holds errno   */
    ERR_CANCELLED,   /* asked for, then called off                                 */
    ERR_UNSUPPORTED, /* valid, and we do not do it                                 */
    ERR_NOT_FOUND,   /* the thing named does not exist                             */
    ERR_CODE_COUNT
};

struct err {
    enum err_code code;
    const char *what;       /* string literal, one clause, no full stop; NULL when code is ERR_OK */
    uint64_t at, got, want; /* offset or index, value seen, value expected; 0 where meaningless   */
};

#define MUST_USE __attribute__((warn_unused_result))

/* Fill *e (may be NULL) and return code, so that a failure is one statement. */
enum err_code err_set(struct err *e, enum err_code code, const char *what);
enum err_code err_set_at(struct err *e, enum err_code code, const char *what, uint64_t at,
                         uint64_t got, uint64_t want);

/* "truncated", "malformed", ...: lower case, for logs and counters. */
const char *err_code_name(enum err_code code);

/* One line for a human, always terminated: "input ends inside a field (at 17, got 3, want 20)".
 * For ERR_IO the text of errno `got` is appended. Returns out. */
char *err_format(const struct err *e, char *out, unsigned long out_cap);
