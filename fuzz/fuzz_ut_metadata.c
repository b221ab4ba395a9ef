/* A message of the metadata exchange: what reads stays within its bounds and writes back. */
#include "torrent/ut_metadata.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static uint8_t out[UT_METADATA_HEAD_MAX + METADATA_PIECE_LEN];
    struct ut_metadata_msg m, again;
    struct err err = {0};
    if (ut_metadata_read(bytes_of(data, len), &m, &err)) {
        assert(err.code && err.what);
        return 0;
    }
    assert(m.piece <= UT_METADATA_PIECE_MAX && m.data.len <= METADATA_PIECE_LEN);
    assert((m.type == UT_METADATA_DATA) == (m.data.len != 0));
    struct writer w = writer_init(out, sizeof out);
    if (m.type == UT_METADATA_REQUEST)
        ut_metadata_write_request(&w, m.piece);
    else if (m.type == UT_METADATA_REJECT)
        ut_metadata_write_reject(&w, m.piece);
    else
        ut_metadata_write_data(&w, m.piece, m.total_size);
    assert(w.pos <= UT_METADATA_HEAD_MAX);
    writer_put(&w, m.data);
    enum err_code code = ut_metadata_read(writer_bytes(&w), &again, NULL);
    assert(code == ERR_OK && again.type == m.type && again.piece == m.piece);
    assert(again.total_size == m.total_size && bytes_equal(again.data, m.data));
    return 0;
}
