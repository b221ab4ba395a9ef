/* compact_size: what is read is written in the same bytes; so there is one spelling of a number. */
#include "chain/tx.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reader r = reader_init(bytes_of(data, len));
    uint8_t out[9];
    while (reader_ok(&r) && reader_left(&r)) {
        size_t from = r.pos;
        uint64_t v = reader_compact_size(&r);
        if (!reader_ok(&r)) {
            assert(v == 0);
            break;
        }
        struct writer w = writer_init(out, sizeof out);
        writer_compact_size(&w, v);
        assert(w.pos == compact_size_len(v) && w.pos == r.pos - from);
        assert(memcmp(out, data + from, w.pos) == 0 && v <= 0x02000000);
    }
    return 0;
}
