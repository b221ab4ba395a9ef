/* hash/: set hashes, and the short forms of numbers. */
#include "base/siphash.h"
#include "chain/coin.h"
#include "crypto/muhash.h"
#include "crypto/murmur3.h"
#include "vec.h"

/* --- muhash.json: members {i, 0, ..., 0} multiplied in and divided out -------------------------- */

static void take_members(struct muhash *m, const json_t *list,
                         void (*take)(struct muhash *m, struct bytes member))
{
    size_t i;
    json_t *number;
    json_array_foreach((json_t *)(uintptr_t)list, i, number)
    {
        uint8_t member[32] = {(uint8_t)json_integer_value(number)};
        take(m, bytes_of(member, sizeof member));
    }
}

static void take_set(struct muhash *m, const json_t *set)
{
    muhash_init(m);
    take_members(m, json_object_get(set, "multiply"), muhash_add);
    take_members(m, json_object_get(set, "divide"), muhash_remove);
}

static void check_muhash_set(struct vec *v, const json_t *set)
{
    struct muhash m;
    struct hash256 got;
    const json_t *result = json_object_get(set, "result");
    const json_t *other = json_object_get(set, "serialisation_of");
    if (result) {
        struct hash256 want = vec_hash_reversed(v, vec_str(result));
        take_set(&m, set);
        vec_case(v, muhash_final(&m, got.b) && hash256_equal(&got, &want), "result %s",
                 vec_str(result));
    }
    if (other) {
        uint8_t raw[2 * MUHASH_LEN];
        take_set(&m, other);
        muhash_write(&m, raw);
        vec_case(v,
                 vec_is_hex(bytes_of(raw, sizeof raw),
                            vec_str(json_object_get(other, "numerator_then_denominator"))),
                 "serialisation");
    }
    if (!result && !other)
        vec_case(v, false, "a set without a result");
}

static void check_muhash(struct vec *v)
{
    json_t *j = vec_json(v), *set;
    size_t i;
    if (json_is_object(j))
        check_muhash_set(v, j);
    json_array_foreach(j, i, set) check_muhash_set(v, set);
}

/* --- amount_compression.json ------------------------------------------------------------------ */

static void check_amounts(struct vec *v)
{
    size_t i;
    json_t *rows = vec_json(v), *row; /* the macro evaluates it for every row */
    json_array_foreach(rows, i, row)
    {
        uint64_t amount = (uint64_t)json_integer_value(json_object_get(row, "amount"));
        uint64_t compressed = (uint64_t)json_integer_value(json_object_get(row, "compressed"));
        vec_case(v,
                 amount_compress(amount) == compressed && amount_decompress(compressed) == amount,
                 "amount %llu", (unsigned long long)amount);
    }
}

/* --- siphash.json: pieces of a message; numbers as hex, most significant digit first ------------ */

static uint64_t number_of_hex(const json_t *j)
{
    return strtoull(vec_str(j), NULL, 16);
}

static void check_siphash_24(struct vec *v, size_t row, const uint64_t k[2], const json_t *pieces,
                             uint64_t want)
{
    struct siphash s;
    struct writer w = writer_init(vec_alloc(v, v->data.len, 1), v->data.len);
    siphash_24_init(&s, k[0], k[1]);
    for (size_t i = 0; i < json_array_size(pieces); i++) {
        struct bytes piece = vec_json_hex(v, json_array_get(pieces, i));
        siphash_24_add(&s, piece);
        writer_put(&w, piece);
    }
    vec_case(v, siphash_24_end(&s) == want, "row %zu: SipHash-2-4", row);
    vec_case(v, siphash_24(k[0], k[1], writer_bytes(&w)) == want, "row %zu: at once", row);
}

static void check_siphash_13uj(struct vec *v, size_t row, const uint64_t k[2], const json_t *pieces,
                               uint64_t want)
{
    struct siphash_13uj s;
    bool is_good = true;
    siphash_13uj_init(&s, k[0], k[1]);
    for (size_t i = 0; i < json_array_size(pieces); i++) {
        struct bytes piece = vec_json_hex(v, json_array_get(pieces, i));
        is_good &= piece.len == 8 || piece.len == 32;
        if (piece.len == 8)
            siphash_13uj_word(&s, siphash_load(piece.data));
        else if (piece.len == 32)
            siphash_13uj_jumbo(&s, piece.data);
    }
    vec_case(v, is_good && siphash_13uj_end(&s) == want, "row %zu: SipHash-1-3-UJ", row);
}

static void check_siphash(struct vec *v)
{
    size_t i;
    json_t *rows = vec_json(v), *row;
    json_array_foreach(rows, i, row)
    {
        const json_t *key = json_object_get(row, "key"), *pieces = json_object_get(row, "input");
        const json_t *want = json_object_get(row, "expected");
        uint64_t k[2] = {number_of_hex(json_array_get(key, 0)),
                         number_of_hex(json_array_get(key, 1))};
        if (json_object_get(want, "siphash24"))
            check_siphash_24(v, i, k, pieces, number_of_hex(json_object_get(want, "siphash24")));
        if (json_object_get(want, "siphash13uj"))
            check_siphash_13uj(v, i, k, pieces,
                               number_of_hex(json_object_get(want, "siphash13uj")));
    }
}

/* --- murmur3.json ----------------------------------------------------------------------------- */

static void check_murmur3(struct vec *v)
{
    size_t i;
    json_t *rows = vec_json(v), *row;
    json_array_foreach(rows, i, row)
    {
        uint32_t seed = (uint32_t)json_integer_value(json_object_get(row, "seed"));
        json_int_t want = json_integer_value(json_object_get(row, "expected"));
        vec_case(v, murmur3(seed, vec_json_hex(v, json_object_get(row, "data"))) == want, "row %zu",
                 i);
    }
}

const struct vec_check vec_hash_checks[] = {
    {"hash/muhash*.json", check_muhash},
    {"hash/amount_compression*.json", check_amounts},
    {"hash/siphash*.json", check_siphash},
    {"hash/murmur3*.json", check_murmur3},
    {0},
};
