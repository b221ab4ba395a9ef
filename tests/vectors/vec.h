/* vec: what the checks of vector files share: the file under test, its cases, small parsers.
 *
 * A check reads the cases of one file and says of each whether it held (vec_case). A check for
 * another kind of file is one function and one line in the table at the end of its folder's file
 * (vec_script.c, vec_tx.c, ...); a new folder is one more line in bitcoin_vectors.c.
 *
 * Ownership  everything from vec_* lives until the file is done
 * Errors     bytes that are no vectors are failed cases
 */
#pragma once
#include "base/arena.h"
#include "base/hex.h"
#include "chain/primitives.h"
#include <jansson.h>

struct vec {
    const char *dir;   /* as on the command line */
    const char *name;  /* of the file below dir: "script/sighash.json" */
    struct bytes data; /* unpacked when the name ends in .gz */
    uint64_t n_passed, n_failed;
    struct mem mem;
    struct arena arena;
    json_t *json;
};

struct vec_check {
    const char *pattern; /* of fnmatch, for the name below DIR */
    /* NULL: the file is read together with another one that is in the table. */
    void (*run)(struct vec *v);
};

/* The tables, one for each folder; a line with .pattern NULL ends them. */
extern const struct vec_check vec_address_checks[];
extern const struct vec_check vec_bip54_checks[];
extern const struct vec_check vec_blocks_checks[];
extern const struct vec_check vec_blockscripts_checks[];
extern const struct vec_check vec_filters_checks[];
extern const struct vec_check vec_headers_checks[];
extern const struct vec_check vec_hash_checks[];
extern const struct vec_check vec_keys_checks[];
extern const struct vec_check vec_psbt_checks[];
extern const struct vec_check vec_rpc_checks[];
extern const struct vec_check vec_script_checks[];
extern const struct vec_check vec_tx_checks[];

/* Counts a case; a failed one is named on standard output. Returns is_good. */
bool vec_case(struct vec *v, bool is_good, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The file as JSON, NULL (and a failed case) when it is none. */
json_t *vec_json(struct vec *v);
/* The next line of *rest as JSON, for files of one object a line; NULL at the end. */
json_t *vec_json_line(struct vec *v, struct bytes *rest);
/* The next line without its end; false at the end. */
bool vec_line(struct bytes *rest, struct bytes *out);
/* The next field of *rest up to the separator, which is consumed; {0} when nothing is left. */
struct bytes vec_field(struct bytes *rest, char separator);
/* Another file in the same folder: name with its last len_off characters replaced by tail. .data
 * NULL when it is not there. */
struct bytes vec_sibling(struct vec *v, size_t len_off, const char *tail);

/* Digits to bytes; .data NULL when they are none (an empty string gives an empty view). */
struct bytes vec_hex(struct vec *v, const char *digits);
struct bytes vec_hex_of(struct vec *v, struct bytes digits);
/* json_string_value, "" for what is no string; bytes of its digits. */
const char *vec_str(const json_t *j);
struct bytes vec_json_hex(struct vec *v, const json_t *j);
/* A hash as people write it, its bytes from last to first; zeros when it is none. */
struct hash256 vec_hash_reversed(struct vec *v, const char *digits);
bool vec_is_hex(struct bytes got, const char *digits);

/* All of raw is one transaction. */
bool vec_tx(struct vec *v, struct bytes raw, struct tx *out);
void *vec_alloc(struct vec *v, size_t n, size_t len); /* zeroed; never NULL */
/* An amount in coins, as JSON numbers say it, to satoshis. */
int64_t vec_amount(const json_t *j);

/* The language of script_tests.json: numbers, 0xRAW, 'text', names of opcodes. */
bool vec_assemble(struct vec *v, struct bytes text, struct bytes *out);
