/* psbt/: of the files about descriptors what a script alone can tell: checksums, and what addr()
 * and raw() stand for. */
#include "chain/address.h"
#include "chain/descriptor.h"
#include "vec.h"

/* TEXT#CHECKSUM; a descriptor without one has nothing to check. */
static void check_sum(struct vec *v, const char *text)
{
    char got[DESCRIPTOR_CHECK_LEN + 1] = "";
    const char *mark = strrchr(text, '#');
    if (!mark)
        return;
    descriptor_checksum(bytes_of(text, (size_t)(mark - text)), got);
    vec_case(v, strcmp(got, mark + 1) == 0, "%.40s...: checksum is %s", text, got);
}

static void check_valid_row(struct vec *v, const json_t *row)
{
    char got[DESCRIPTOR_CHECK_LEN + 1] = "";
    const char *input = vec_str(json_object_get(row, "input"));
    descriptor_checksum(bytes_of(input, strcspn(input, "#")), got);
    vec_case(v, strcmp(got, vec_str(json_object_get(row, "checksum"))) == 0,
             "%.40s...: checksum is %s", input, got);
    check_sum(v, vec_str(json_object_get(row, "descriptor")));
}

static const struct chain_params *params_of(const json_t *row)
{
    const char *name = vec_str(json_object_get(row, "network"));
    if (strcmp(name, "regtest") == 0)
        return chain_params_find(name);
    return chain_params_find(*name ? "testnet4" : "main"); /* test networks share their forms */
}

/* The inside of name(...) in text. */
static bool argument(const char *text, const char *name, struct bytes *out)
{
    size_t len = strlen(name);
    const char *end = strrchr(text, ')');
    if (strncmp(text, name, len) != 0 || text[len] != '(' || !end)
        return false;
    *out = bytes_of(text + len + 1, (size_t)(end - text) - len - 1);
    return true;
}

static void check_raw(struct vec *v, const json_t *row, struct bytes digits)
{
    char got[ADDRESS_CAP] = "";
    const json_t *want = json_array_get(json_object_get(row, "addresses"), 0);
    address_write(params_of(row), vec_hex_of(v, digits), got);
    vec_case(v, strcmp(got, vec_str(want)) == 0, "address of raw(): %s", got);
}

/* To a script, and from it the same descriptor: but for a taproot key, which comes as rawtr(). */
static void check_addr(struct vec *v, const json_t *row, struct bytes address)
{
    uint8_t script[ADDRESS_SCRIPT_MAX], room[DESCRIPTOR_LEN_MAX(ADDRESS_SCRIPT_MAX)];
    char got[ADDRESS_CAP] = "";
    size_t len = 0;
    const json_t *want = json_array_get(json_object_get(row, "addresses"), 0);
    struct writer w = writer_init(room, sizeof room);
    bool is_good = address_read(params_of(row), address, script, &len) &&
                   address_write(params_of(row), bytes_of(script, len), got);
    vec_case(v, is_good && strcmp(got, vec_str(want)) == 0, "address of addr(): %s", got);
    descriptor_write(&w, params_of(row), bytes_of(script, len));
    struct bytes text = writer_bytes(&w);
    vec_case(v,
             bytes_starts_with(text, BYTES_LIT("rawtr(")) ||
                 bytes_equal_str(text, vec_str(json_object_get(row, "input"))),
             "descriptor is %.*s", (int)text.len, (const char *)text.data);
}

static void check_address_row(struct vec *v, const json_t *row)
{
    const char *input = vec_str(json_object_get(row, "input"));
    struct bytes inside;
    check_sum(v, input);
    if (argument(input, "raw", &inside))
        check_raw(v, row, inside);
    else if (argument(input, "addr", &inside))
        check_addr(v, row, inside);
}

static void each_row(struct vec *v, void (*check)(struct vec *v, const json_t *row))
{
    const char *kind;
    json_t *all = vec_json(v), *rows, *row;
    size_t i;
    json_object_foreach(all, kind, rows)
    {
        json_array_foreach(rows, i, row) check(v, row);
    }
}

static void check_valid(struct vec *v)
{
    each_row(v, check_valid_row);
}

static void check_addresses(struct vec *v)
{
    each_row(v, check_address_row);
}

const struct vec_check vec_psbt_checks[] = {
    {"psbt/desc-valid*.json", check_valid},
    {"psbt/desc-addresses*.json", check_addresses},
    {0},
};
