/* ut_metadata: the messages of the metadata exchange (BEP 9): a bencoded dictionary, after which
 * a data message carries up to 16 KiB of the info dictionary.
 *
 * Ownership  views in a message borrow the input
 * Threads    pure functions
 * Errors     ERR_MALFORMED: no dictionary, or a key missing or of the wrong type (what follows a
 *            request or reject is ignored); ERR_LIMIT: piece or data out of bounds;
 *            ERR_UNSUPPORTED: a msg_type we do not know, to be ignored
 */
#pragma once
#include "base/bytes.h"

#define METADATA_PIECE_LEN    16384u /* BEP 9 */
#define UT_METADATA_HEAD_MAX  80u    /* of ours: the dictionary */
#define UT_METADATA_PIECE_MAX 65535u

enum ut_metadata_type { UT_METADATA_REQUEST = 0, UT_METADATA_DATA = 1, UT_METADATA_REJECT = 2 };

struct ut_metadata_msg {
    enum ut_metadata_type type;
    uint32_t piece;
    uint64_t total_size; /* data only; checked against METADATA_LEN_MAX and data.len by its user */
    struct bytes data;   /* data only; 1 to METADATA_PIECE_LEN bytes */
};

enum err_code ut_metadata_read(struct bytes payload, struct ut_metadata_msg *out,
                               struct err *err) MUST_USE;
/* Payloads, without the head of the extended message; after a data message's dictionary the
 * caller puts the data itself. */
void ut_metadata_write_request(struct writer *w, uint32_t piece);
void ut_metadata_write_data(struct writer *w, uint32_t piece, uint64_t total_size);
void ut_metadata_write_reject(struct writer *w, uint32_t piece);
