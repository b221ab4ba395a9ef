/* hash/: set hashes, and the short forms of numbers. */
#include "chain/coin.h"
#include "crypto/muhash.h"
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

const struct vec_check vec_hash_checks[] = {
    {"hash/muhash*.json", check_muhash},
    {"hash/amount_compression*.json", check_amounts},
    {0},
};
