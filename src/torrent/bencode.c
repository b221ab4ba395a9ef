/* bencode: one pass over the input lays down a token per value, in input order, each knowing where
 * the next one that is not inside it stands. Cursors walk those; nothing is copied. */
#include "torrent/bencode.h"
#include "base/size.h"
#include <assert.h>

#define TOKENS_CAP_FIRST 64u

/* --- parsing --------------------------------------------------------------------------------- */

struct frame {
    uint32_t token;
    bool is_dict, wants_value; /* a dictionary between a key and its value */
};

struct parser {
    struct bencode *b;
    struct bencode_limits limits;
    struct err *err;
    uint32_t pos, depth;
    struct frame stack[BENCODE_DEPTH_MAX];
};

static enum err_code fail(const struct parser *p, enum err_code code, const char *what)
{
    return err_set_at(p->err, code, what, p->pos, 0, 0);
}

static enum err_code grow_tokens(struct parser *p)
{
    struct bencode *b = p->b;
    if (b->n_tokens >= p->limits.n_tokens_max)
        return fail(p, ERR_LIMIT, "too many values in one bencoded document");
    if (b->n_tokens < b->n_tokens_cap)
        return ERR_OK;
    assert(b->mem);
    uint32_t cap = b->n_tokens_cap ? b->n_tokens_cap * 2 : TOKENS_CAP_FIRST;
    if (cap > p->limits.n_tokens_max)
        cap = p->limits.n_tokens_max;
    void *tokens = mem_realloc(b->mem, b->tokens, cap * sizeof *b->tokens);
    if (!tokens)
        return fail(p, ERR_NO_MEMORY, "no memory for bencode tokens");
    b->tokens = tokens;
    b->n_tokens_cap = cap;
    return ERR_OK;
}

static enum err_code add_token(struct parser *p, enum bencode_type type, uint32_t end,
                               uint32_t head_len)
{
    enum err_code code = grow_tokens(p);
    if (code)
        return code;
    struct bencode_token *t = &p->b->tokens[p->b->n_tokens++];
    *t = (struct bencode_token){.off = p->pos,
                                .end = end,
                                .next = p->b->n_tokens,
                                .type = (uint8_t)type,
                                .head_len = (uint8_t)head_len};
    return ERR_OK;
}

/* 'i', an optional minus, digits without a leading zero, 'e' (BEP 3: "i-0e is invalid"). */
static enum err_code parse_int(struct parser *p)
{
    const uint8_t *in = p->b->in.data;
    uint32_t len = (uint32_t)p->b->in.len, pos = p->pos + 1;
    bool is_negative = pos < len && in[pos] == '-';
    if (is_negative)
        pos++;
    uint32_t first = pos;
    int64_t v = 0;
    for (; pos < len && in[pos] >= '0' && in[pos] <= '9'; pos++) {
        int digit = in[pos] - '0';
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, is_negative ? -digit : digit, &v))
            return fail(p, ERR_MALFORMED, "integer does not fit 64 bits");
    }
    if (pos == len)
        return fail(p, ERR_TRUNCATED, "input ends inside an integer");
    if (in[pos] != 'e' || pos == first)
        return fail(p, ERR_MALFORMED, "integer is not digits between 'i' and 'e'");
    if (in[first] == '0' && (pos - first > 1 || is_negative))
        return fail(p, ERR_MALFORMED, "integer has a leading zero or is minus zero");
    enum err_code code = add_token(p, BENCODE_INT, pos + 1, 1);
    p->pos = pos + 1;
    return code;
}

static enum err_code parse_str(struct parser *p)
{
    const uint8_t *in = p->b->in.data;
    uint32_t len = (uint32_t)p->b->in.len, pos = p->pos;
    uint64_t n = 0;
    for (; pos < len && in[pos] >= '0' && in[pos] <= '9'; pos++) {
        n = n * 10 + (uint64_t)(in[pos] - '0');
        if (n > UINT32_MAX)
            return fail(p, ERR_TRUNCATED, "string runs past the end of the input");
    }
    if (pos == len)
        return fail(p, ERR_TRUNCATED, "input ends inside a string length");
    if (in[pos] != ':')
        return fail(p, ERR_MALFORMED, "string length is not followed by ':'");
    if (in[p->pos] == '0' && pos - p->pos > 1)
        return fail(p, ERR_MALFORMED, "string length has a leading zero");
    pos++;
    if (n > len - pos)
        return err_set_at(p->err, ERR_TRUNCATED, "string runs past the end of the input", p->pos,
                          len - pos, n);
    enum err_code code = add_token(p, BENCODE_STR, pos + (uint32_t)n, pos - p->pos);
    p->pos = pos + (uint32_t)n;
    return code;
}

static enum err_code open_container(struct parser *p, bool is_dict)
{
    if (p->depth >= p->limits.depth_max)
        return fail(p, ERR_LIMIT, "lists and dictionaries are nested too deep");
    enum err_code code = add_token(p, is_dict ? BENCODE_DICT : BENCODE_LIST, 0, 1);
    if (code)
        return code;
    p->stack[p->depth++] = (struct frame){.token = p->b->n_tokens - 1, .is_dict = is_dict};
    p->pos++;
    return ERR_OK;
}

static enum err_code close_container(struct parser *p)
{
    if (p->depth == 0)
        return fail(p, ERR_MALFORMED, "'e' without a list or dictionary to end");
    const struct frame *f = &p->stack[p->depth - 1];
    if (f->wants_value)
        return fail(p, ERR_MALFORMED, "dictionary ends after a key");
    p->depth--;
    p->pos++;
    p->b->tokens[f->token].end = p->pos;
    p->b->tokens[f->token].next = p->b->n_tokens;
    return ERR_OK;
}

static enum err_code parse_one(struct parser *p)
{
    uint8_t c = p->b->in.data[p->pos];
    struct frame *f = p->depth ? &p->stack[p->depth - 1] : NULL;
    if (c == 'e')
        return close_container(p);
    if (f && f->is_dict) {
        if (!f->wants_value && (c < '0' || c > '9'))
            return fail(p, ERR_MALFORMED, "dictionary key is not a string");
        f->wants_value = !f->wants_value;
    }
    if (c >= '0' && c <= '9')
        return parse_str(p);
    switch (c) {
    case 'i':
        return parse_int(p);
    case 'l':
        return open_container(p, false);
    case 'd':
        return open_container(p, true);
    default:
        return fail(p, ERR_MALFORMED, "not a bencoded value");
    }
}

static enum err_code parse(struct bencode *b, const struct bencode_limits *limits, struct err *err)
{
    struct parser p = {.b = b, .limits = *limits, .err = err};
    if (p.limits.depth_max > BENCODE_DEPTH_MAX)
        p.limits.depth_max = BENCODE_DEPTH_MAX;
    if (b->in.len > limits->len_max || b->in.len >= UINT32_MAX)
        return err_set_at(err, ERR_LIMIT, "bencoded document is too long", 0, b->in.len,
                          limits->len_max);
    do {
        if (p.pos == b->in.len)
            return fail(&p, ERR_TRUNCATED, "input ends inside a bencoded value");
        enum err_code code = parse_one(&p);
        if (code)
            return code;
    } while (p.depth > 0);
    b->used_len = p.pos;
    return ERR_OK;
}

enum err_code bencode_parse(struct bencode *b, struct bytes in, struct mem *mem,
                            const struct bencode_limits *limits, struct err *err)
{
    static const struct bencode_limits maxima = {BENCODE_LEN_MAX, BENCODE_N_TOKENS_MAX,
                                                 BENCODE_DEPTH_MAX};
    *b = (struct bencode){.in = in, .mem = mem};
    enum err_code code = parse(b, limits ? limits : &maxima, err);
    if (code)
        bencode_clear(b);
    return code;
}

enum err_code bencode_parse_fixed(struct bencode *b, struct bytes in, struct bencode_token *tokens,
                                  uint32_t n_tokens_max, struct err *err)
{
    struct bencode_limits limits = {BENCODE_LEN_MAX, n_tokens_max, BENCODE_DEPTH_MAX};
    *b = (struct bencode){.in = in, .tokens = tokens, .n_tokens_cap = n_tokens_max};
    enum err_code code = parse(b, &limits, err);
    if (code)
        bencode_clear(b);
    return code;
}

void bencode_clear(struct bencode *b)
{
    if (b->mem)
        mem_free(b->mem, b->tokens);
    *b = (struct bencode){0};
}

/* --- cursors --------------------------------------------------------------------------------- */

static const struct bencode_token *token_of(struct bencode_value v)
{
    return v.doc && v.token < v.doc->n_tokens ? &v.doc->tokens[v.token] : NULL;
}

struct bencode_value bencode_root(const struct bencode *b)
{
    return (struct bencode_value){b, 0};
}

enum bencode_type bencode_type(struct bencode_value v)
{
    const struct bencode_token *t = token_of(v);
    return t ? (enum bencode_type)t->type : BENCODE_NONE;
}

struct bytes bencode_raw(struct bencode_value v)
{
    const struct bencode_token *t = token_of(v);
    return t ? bytes_sub(v.doc->in, t->off, t->end - t->off) : (struct bytes){0};
}

size_t bencode_off(struct bencode_value v)
{
    const struct bencode_token *t = token_of(v);
    return t ? t->off : 0;
}

bool bencode_get_int(struct bencode_value v, int64_t *out)
{
    const struct bencode_token *t = token_of(v);
    if (!t || t->type != BENCODE_INT)
        return false;
    const uint8_t *in = v.doc->in.data;
    uint32_t pos = t->off + 1;
    bool is_negative = in[pos] == '-';
    uint64_t n = 0; /* the parser saw that it fits */
    for (pos += is_negative; in[pos] != 'e'; pos++)
        n = n * 10 + (uint64_t)(in[pos] - '0');
    *out = is_negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

bool bencode_get_str(struct bencode_value v, struct bytes *out)
{
    const struct bencode_token *t = token_of(v);
    if (!t || t->type != BENCODE_STR)
        return false;
    *out = bytes_sub(v.doc->in, t->off + t->head_len, t->end - t->off - t->head_len);
    return true;
}

int64_t bencode_int_or(struct bencode_value v, int64_t fallback)
{
    bencode_get_int(v, &fallback);
    return fallback;
}

struct bytes bencode_str(struct bencode_value v)
{
    struct bytes s = {0};
    bencode_get_str(v, &s);
    return s;
}

struct bencode_value bencode_dict_get(struct bencode_value v, const char *key)
{
    struct bencode_iter it = bencode_iter(v);
    struct bytes want = bytes_of_str(key), k;
    struct bencode_value value;
    while (it.is_dict && bencode_next(&it, &k, &value))
        if (bytes_equal(k, want))
            return value;
    return (struct bencode_value){0};
}

struct bencode_value bencode_dict_get_type(struct bencode_value v, const char *key,
                                           enum bencode_type type)
{
    struct bencode_value value = bencode_dict_get(v, key);
    return bencode_type(value) == type ? value : (struct bencode_value){0};
}

struct bencode_iter bencode_iter(struct bencode_value v)
{
    const struct bencode_token *t = token_of(v);
    if (!t || (t->type != BENCODE_LIST && t->type != BENCODE_DICT))
        return (struct bencode_iter){0};
    return (struct bencode_iter){v.doc, v.token + 1, t->next, t->type == BENCODE_DICT};
}

bool bencode_next(struct bencode_iter *it, struct bytes *out_key, struct bencode_value *out)
{
    if (it->token >= it->end)
        return false;
    struct bytes key = {0};
    if (it->is_dict)
        key = bencode_str((struct bencode_value){it->doc, it->token++});
    if (out_key)
        *out_key = key;
    *out = (struct bencode_value){it->doc, it->token};
    it->token = it->doc->tokens[it->token].next;
    return true;
}

size_t bencode_n_items(struct bencode_value v)
{
    struct bencode_iter it = bencode_iter(v);
    struct bencode_value item;
    size_t n = 0;
    while (bencode_next(&it, NULL, &item))
        n++;
    return n;
}

/* --- keys ------------------------------------------------------------------------------------ */

static int compare_keys(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* Keys out of order: sort a copy, then equal ones are neighbours. */
static enum err_code check_unsorted(struct bencode_value dict, struct mem *mem, struct err *err)
{
    size_t n = bencode_n_items(dict), i = 0;
    struct bytes *keys = mem_calloc(mem, n, sizeof *keys);
    if (!keys)
        return err_set(err, ERR_NO_MEMORY, "no memory to compare dictionary keys");
    struct bencode_iter it = bencode_iter(dict);
    struct bencode_value value;
    while (bencode_next(&it, &keys[i], &value))
        i++;
    qsort(keys, n, sizeof *keys, compare_keys);
    enum err_code code = ERR_OK;
    for (i = 1; i < n && !code; i++)
        if (bytes_equal(keys[i - 1], keys[i]))
            code = err_set_at(err, ERR_MALFORMED, "a key occurs twice in one dictionary",
                              (uint64_t)(keys[i].data - dict.doc->in.data), 0, 0);
    mem_free(mem, keys);
    return code;
}

static enum err_code check_dict(struct bencode_value dict, bool must_be_sorted, struct mem *mem,
                                struct err *err)
{
    struct bencode_iter it = bencode_iter(dict);
    struct bencode_value value;
    struct bytes key, before = {0};
    for (bool is_first = true; bencode_next(&it, &key, &value); before = key, is_first = false) {
        int order = is_first ? -1 : bytes_compare(before, key);
        size_t at = (size_t)(key.data - dict.doc->in.data);
        if (order == 0)
            return err_set_at(err, ERR_MALFORMED, "a key occurs twice in one dictionary", at, 0, 0);
        if (order > 0 && must_be_sorted)
            return err_set_at(err, ERR_MALFORMED, "dictionary keys are not sorted", at, 0, 0);
        if (order > 0)
            return check_unsorted(dict, mem, err);
    }
    return ERR_OK;
}

enum err_code bencode_check_keys(struct bencode_value v, bool must_be_sorted, struct mem *mem,
                                 struct err *err)
{
    const struct bencode_token *t = token_of(v);
    uint32_t end = t ? t->next : 0;
    for (uint32_t i = v.token; i < end; i++) {
        if (v.doc->tokens[i].type != BENCODE_DICT)
            continue;
        enum err_code code = check_dict((struct bencode_value){v.doc, i}, must_be_sorted, mem, err);
        if (code)
            return code;
    }
    return ERR_OK;
}

/* --- writing --------------------------------------------------------------------------------- */

#define NUMBER_CAP 24u /* "i-9223372036854775808e" */

void bencode_write_int(struct buf *b, int64_t v)
{
    uint8_t text[NUMBER_CAP];
    struct writer w = writer_init(text, sizeof text);
    writer_str(&w, v < 0 ? "i-" : "i");
    writer_decimal(&w, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    writer_u8(&w, 'e');
    buf_put(b, writer_bytes(&w));
}

void bencode_write_str(struct buf *b, struct bytes s)
{
    uint8_t text[NUMBER_CAP];
    struct writer w = writer_init(text, sizeof text);
    writer_decimal(&w, s.len);
    writer_u8(&w, ':');
    buf_put(b, writer_bytes(&w));
    buf_put(b, s);
}

void bencode_write_cstr(struct buf *b, const char *s)
{
    bencode_write_str(b, bytes_of_str(s));
}

void bencode_write_list(struct buf *b)
{
    buf_u8(b, 'l');
}

void bencode_write_dict(struct buf *b)
{
    buf_u8(b, 'd');
}

void bencode_write_end(struct buf *b)
{
    buf_u8(b, 'e');
}

void bencode_write_key_int(struct buf *b, const char *key, int64_t v)
{
    bencode_write_cstr(b, key);
    bencode_write_int(b, v);
}

void bencode_write_key_str(struct buf *b, const char *key, struct bytes s)
{
    bencode_write_cstr(b, key);
    bencode_write_str(b, s);
}
