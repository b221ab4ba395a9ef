#include "vec.h"
#include "chain/script.h"
#include "chain/script_num.h"
#include "chain/script_op.h"
#include "chain/tx.h"
#include <math.h>
#include <stdarg.h>
#include <zlib.h>

#define FILE_LEN_MAX (256u << 20)

bool vec_case(struct vec *v, bool is_good, const char *fmt, ...)
{
    va_list args;
    v->n_passed += is_good;
    v->n_failed += !is_good;
    if (is_good)
        return true;
    printf("%s: FAILED: ", v->name);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    return false;
}

void *vec_alloc(struct vec *v, size_t n, size_t len)
{
    void *p = arena_calloc(&v->arena, n ? n : 1, len);
    if (!p) {
        fprintf(stderr, "%s: out of memory\n", v->name);
        exit(2);
    }
    return p;
}

/* --- JSON, lines ----------------------------------------------------------------------------- */

json_t *vec_json(struct vec *v)
{
    json_error_t e;
    v->json = json_loadb((const char *)v->data.data, v->data.len, JSON_DECODE_ANY, &e);
    if (!v->json)
        vec_case(v, false, "no JSON: %s (line %d)", e.text, e.line);
    return v->json;
}

bool vec_line(struct bytes *rest, struct bytes *out)
{
    if (rest->len == 0)
        return false;
    *out = vec_field(rest, '\n');
    if (out->len && out->data[out->len - 1] == '\r')
        out->len--;
    return true;
}

struct bytes vec_field(struct bytes *rest, char separator)
{
    const uint8_t *end = rest->len ? memchr(rest->data, separator, rest->len) : NULL;
    struct bytes field = bytes_sub(*rest, 0, end ? (size_t)(end - rest->data) : rest->len);
    *rest = bytes_sub(*rest, end ? field.len + 1 : rest->len, SIZE_MAX);
    return field;
}

json_t *vec_json_line(struct vec *v, struct bytes *rest)
{
    struct bytes line = {0};
    json_error_t e;
    while (vec_line(rest, &line) && line.len == 0) {
    }
    if (line.len == 0)
        return NULL;
    json_decref(v->json);
    v->json = json_loadb((const char *)line.data, line.len, 0, &e);
    if (!v->json)
        vec_case(v, false, "no JSON: %s", e.text);
    return v->json;
}

const char *vec_str(const json_t *j)
{
    const char *s = json_string_value(j);
    return s ? s : "";
}

int64_t vec_amount(const json_t *j)
{
    return (int64_t)llround(json_number_value(j) * (double)COIN_SATS);
}

/* --- hex ------------------------------------------------------------------------------------- */

struct bytes vec_hex_of(struct vec *v, struct bytes digits)
{
    uint8_t *out = vec_alloc(v, digits.len / 2 + 1, 1);
    if (digits.len % 2 || hex_decode(digits, out, digits.len / 2) != ERR_OK)
        return (struct bytes){0};
    return bytes_of(out, digits.len / 2);
}

struct bytes vec_hex(struct vec *v, const char *digits)
{
    return vec_hex_of(v, bytes_of_str(digits));
}

struct bytes vec_json_hex(struct vec *v, const json_t *j)
{
    return vec_hex(v, vec_str(j));
}

struct hash256 vec_hash_reversed(struct vec *v, const char *digits)
{
    struct hash256 out = {0};
    struct bytes b = vec_hex(v, digits);
    for (size_t i = 0; b.len == 32 && i < 32; i++)
        out.b[i] = b.data[31 - i];
    return out;
}

bool vec_is_hex(struct bytes got, const char *digits)
{
    bool is_same = strlen(digits) == 2 * got.len;
    for (size_t i = 0; is_same && i < got.len; i++) {
        uint8_t byte = 0;
        is_same =
            hex_decode(bytes_of(digits + 2 * i, 2), &byte, 1) == ERR_OK && byte == got.data[i];
    }
    return is_same;
}

bool vec_tx(struct vec *v, struct bytes raw, struct tx *out)
{
    struct reader r = reader_init(raw);
    if (!raw.data || tx_read(&r, &v->arena, true, out) != ERR_OK || reader_left(&r) > 0)
        return false;
    tx_hash(out);
    return true;
}

/* --- files ----------------------------------------------------------------------------------- */

/* gzip's own reader passes plain files through. */
static struct bytes read_file(struct vec *v, const char *path)
{
    gzFile f = gzopen(path, "rb");
    size_t cap = 1 << 16, len = 0;
    uint8_t *data = f ? mem_alloc(&v->mem, cap) : NULL;
    int n = data ? 1 : 0;
    while (n > 0 && len < FILE_LEN_MAX) {
        if (len == cap)
            data = mem_realloc(&v->mem, data, cap *= 2);
        n = data ? gzread(f, data + len, (unsigned)(cap - len)) : -1;
        len += n > 0 ? (size_t)n : 0;
    }
    if (f)
        gzclose(f);
    struct bytes out = {0};
    if (data && n == 0)
        out = bytes_of(memcpy(vec_alloc(v, len, 1), data, len), len);
    mem_free(&v->mem, data);
    return out;
}

struct bytes vec_sibling(struct vec *v, size_t len_off, const char *tail)
{
    char path[4096];
    int len = (int)(strlen(v->name) - len_off);
    int n = snprintf(path, sizeof path, "%s/%.*s%s", v->dir, len, v->name, tail);
    return n > 0 && (size_t)n < sizeof path ? read_file(v, path) : (struct bytes){0};
}

/* --- the script language --------------------------------------------------------------------- */

static void put_number(struct writer *w, int64_t v)
{
    uint8_t room[SCRIPT_NUM_ROOM];
    if (v == -1 || (v >= 1 && v <= 16))
        writer_u8(w, (uint8_t)(OP_1 - 1 + v));
    else
        script_write_push(w, bytes_of(room, script_num_write(v, room)));
}

static bool is_number(struct bytes word)
{
    size_t from = word.len > 1 && word.data[0] == '-';
    for (size_t i = from; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return false;
    }
    return word.len > 0 && word.len < 16;
}

static int64_t number_of(struct bytes word)
{
    int64_t v = 0;
    for (size_t i = word.data[0] == '-'; i < word.len; i++)
        v = 10 * v + (word.data[i] - '0');
    return word.data[0] == '-' ? -v : v;
}

/* With or without OP_ in front. */
static bool put_op(struct writer *w, struct bytes word)
{
    for (unsigned op = OP_NOP; op < 256; op++) {
        const char *name = script_op_name((uint8_t)op);
        if (op > OP_CHECKSIGADD)
            return false;
        if (bytes_equal_str(word, name) || bytes_equal_str(word, name + 3)) {
            writer_u8(w, (uint8_t)op);
            return true;
        }
    }
    return false;
}

static bool put_word(struct vec *v, struct writer *w, struct bytes word)
{
    if (word.len == 0)
        return true;
    if (is_number(word)) {
        put_number(w, number_of(word));
    } else if (bytes_starts_with(word, BYTES_LIT("0x"))) {
        struct bytes raw = vec_hex_of(v, bytes_sub(word, 2, word.len - 2));
        writer_put(w, raw);
        return raw.data != NULL;
    } else if (word.len >= 2 && word.data[0] == '\'') {
        script_write_push(w, bytes_sub(word, 1, word.len - 2));
    } else if (bytes_equal_str(word, "RESERVED") || bytes_equal_str(word, "OP_RESERVED")) {
        writer_u8(w, OP_RESERVED);
    } else {
        return put_op(w, word);
    }
    return true;
}

bool vec_assemble(struct vec *v, struct bytes text, struct bytes *out)
{
    size_t cap = 10 * text.len + 16;
    struct writer w = writer_init(vec_alloc(v, cap, 1), cap);
    bool is_good = true;
    while (text.len && is_good)
        is_good = put_word(v, &w, vec_field(&text, ' '));
    *out = writer_bytes(&w);
    return is_good && writer_ok(&w);
}
