/* Decoding ends, and what it calls good encodes to the same bytes. */
#include "base/log.h"
#include "base/utf8.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes text = {data, len};
    bool is_any_bad = false;
    while (text.len) {
        struct bytes before = text;
        uint8_t out[4];
        bool is_bad = false;
        uint32_t c = utf8_next(&text, &is_bad);
        size_t taken = before.len - text.len;
        assert(taken >= 1 && taken <= 4);
        is_any_bad |= is_bad;
        if (is_bad)
            assert(taken == 1 && c == UTF8_REPLACEMENT);
        else
            assert(utf8_write(c, out) == taken && memcmp(out, before.data, taken) == 0);
    }
    assert(utf8_is_valid(bytes_of(data, len)) == !is_any_bad);
    char escaped[64];
    size_t cap = 1 + len % sizeof escaped;
    assert(strlen(log_escape(bytes_of(data, len), escaped, cap)) < cap);
    return 0;
}
