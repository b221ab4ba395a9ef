/* hex, base32 and percent decoding: never past the output, and what decodes encodes to the same. */
#include "base/hex.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define TEXT_LEN_MAX 4096u

static void check_percent(struct bytes in, bool plus_is_space, size_t out_cap)
{
    static uint8_t encoded[3 * TEXT_LEN_MAX], again[TEXT_LEN_MAX];
    uint8_t *out = malloc(out_cap ? out_cap : 1);
    size_t out_len, again_len;
    if (percent_decode(in, plus_is_space, out, out_cap, &out_len) == ERR_OK) {
        assert(out_len <= out_cap);
        struct writer w = writer_init(encoded, sizeof encoded);
        percent_encode(&w, bytes_of(out, out_len));
        enum err_code code =
            percent_decode(writer_bytes(&w), plus_is_space, again, sizeof again, &again_len);
        assert(code == ERR_OK);
        assert(bytes_equal(bytes_of(out, out_len), bytes_of(again, again_len)));
    }
    free(out);
}

static void check_hex(struct bytes in)
{
    uint8_t *out = malloc(in.len / 2 + 1);
    char *text = malloc(in.len + 2);
    if (hex_decode(in, out, in.len / 2) == ERR_OK) {
        hex_encode(bytes_of(out, in.len / 2), text, in.len + 2);
        assert(strlen(text) == in.len);
        for (size_t i = 0; i < in.len; i++)
            assert((text[i] | 0x20) == (in.data[i] | 0x20));
    }
    free(text);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes in = {data, len};
    if (len > TEXT_LEN_MAX)
        return 0;
    check_percent(in, len % 2, len);
    check_percent(in, len % 2, len / 2);
    check_hex(in);
    uint8_t *out = malloc(len * 5 / 8 + 1);
    (void)!base32_decode(in, out, len * 5 / 8);
    free(out);
    return 0;
}
