/* bencode: the tree that .torrent files, trackers, extension messages and resume data are made of
 * (BEP 3, "bencoding").
 *
 * The parser is strict and total: integers and lengths with leading zeros, minus zero, values that
 * do not fit int64, lengths past the end, nesting or token counts beyond the limits are refused;
 * nothing recurses. Keys may come in any order and twice: what must be canonical says so through
 * bencode_check_keys(). Bytes after the first value are the caller's affair (used_len).
 *
 * Ownership  a struct bencode borrows the input; tokens are its own (bencode_parse) or the
 *            caller's (bencode_parse_fixed). Values are cursors into it, valid as long as it is
 * Threads    plain values
 * Errors     ERR_TRUNCATED, ERR_MALFORMED, ERR_LIMIT, ERR_NO_MEMORY, with the offset. Look-ups
 *            never fail: what is absent or of another type is BENCODE_NONE, and stays so when
 *            asked further
 */
#pragma once
#include "base/buf.h"
#include "base/bytes.h"
#include "base/mem.h"

#define BENCODE_LEN_MAX      (10u * 1024u * 1024u) /* ours, as libtorrent's load_torrent_limits  */
#define BENCODE_N_TOKENS_MAX 3000000u              /* same                                       */
#define BENCODE_DEPTH_MAX    100u                  /* same                                       */

enum bencode_type { BENCODE_NONE, BENCODE_INT, BENCODE_STR, BENCODE_LIST, BENCODE_DICT };

struct bencode_token {
    uint32_t off, end; /* the raw value is in[off .. end) */
    uint32_t next;     /* token after this value and all it holds */
    uint8_t type;      /* enum bencode_type */
    uint8_t head_len;  /* of a string: digits and colon */
};

struct bencode_limits {
    size_t len_max;
    uint32_t n_tokens_max, depth_max;
};

struct bencode {
    struct bytes in;
    struct mem *mem; /* NULL: tokens are the caller's */
    struct bencode_token *tokens;
    uint32_t n_tokens, n_tokens_cap;
    size_t used_len; /* bytes of the first value; the rest of `in` was not looked at */
};

/* A cursor: one value of a parsed document. {0} is "absent". */
struct bencode_value {
    const struct bencode *doc;
    uint32_t token;
};

/* limits NULL: the maxima above. On failure b holds nothing and bencode_clear is allowed. */
enum err_code bencode_parse(struct bencode *b, struct bytes in, struct mem *mem,
                            const struct bencode_limits *limits, struct err *err) MUST_USE;
/* For messages: no allocation; more than n_tokens_max values is ERR_LIMIT. */
enum err_code bencode_parse_fixed(struct bencode *b, struct bytes in, struct bencode_token *tokens,
                                  uint32_t n_tokens_max, struct err *err) MUST_USE;
void bencode_clear(struct bencode *b);

struct bencode_value bencode_root(const struct bencode *b);
enum bencode_type bencode_type(struct bencode_value v);
struct bytes bencode_raw(struct bencode_value v); /* the bytes as they stand: info-hash, BEP 9 */
size_t bencode_off(struct bencode_value v); /* where it starts, for error notes; 0 if absent */

/* Typed reads: false and *out untouched when the value is absent or something else. */
bool bencode_get_int(struct bencode_value v, int64_t *out);
bool bencode_get_str(struct bencode_value v, struct bytes *out);
/* The same with a default. */
int64_t bencode_int_or(struct bencode_value v, int64_t fallback);
struct bytes bencode_str(struct bencode_value v); /* empty when not a string */

/* The first value under this key; absent when v is no dictionary. Linear. */
struct bencode_value bencode_dict_get(struct bencode_value v, const char *key);
/* dict_get that also wants the type; absent otherwise. */
struct bencode_value bencode_dict_get_type(struct bencode_value v, const char *key,
                                           enum bencode_type type);

/* Walks a list (out_key empty) or dictionary in input order; nothing for anything else:
 *     struct bencode_iter it = bencode_iter(v);
 *     while (bencode_next(&it, &key, &value)) ...        out_key may be NULL */
struct bencode_iter {
    const struct bencode *doc;
    uint32_t token, end;
    bool is_dict;
};
struct bencode_iter bencode_iter(struct bencode_value v);
bool bencode_next(struct bencode_iter *it, struct bytes *out_key, struct bencode_value *out);
size_t bencode_n_items(struct bencode_value v); /* of a list or dictionary; walks it */

/* Every dictionary in v (itself included): no key twice; with must_be_sorted also in raw byte
 * order, which together with the parser's rules means canonical. */
enum err_code bencode_check_keys(struct bencode_value v, bool must_be_sorted, struct mem *mem,
                                 struct err *err) MUST_USE;

/* Writing. Keys must be written in order; the buf carries the error. */
void bencode_write_int(struct buf *b, int64_t v);
void bencode_write_str(struct buf *b, struct bytes s);
void bencode_write_cstr(struct buf *b, const char *s); /* also for keys */
void bencode_write_list(struct buf *b);                /* 'l' */
void bencode_write_dict(struct buf *b);                /* 'd' */
void bencode_write_end(struct buf *b);                 /* 'e' */
/* key and value in one call */
void bencode_write_key_int(struct buf *b, const char *key, int64_t v);
void bencode_write_key_str(struct buf *b, const char *key, struct bytes s);
