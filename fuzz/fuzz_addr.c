/* Whatever parses must come back the same from its text, key and wire form. */
#include "base/addr.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_addr(const struct addr *a)
{
    char text[ADDR_TEXT_CAP];
    uint8_t wire[ADDR_COMPACT6_LEN];
    struct addr again;
    enum err_code code = addr_parse(bytes_of_str(addr_format(a, text)), 0, &again);
    assert(code == ERR_OK && addr_equal(a, &again));
    struct writer w = writer_init(wire, sizeof wire);
    addr_write(&w, a);
    struct reader r = reader_init(writer_bytes(&w));
    (a->family == ADDR_V4 ? addr_read_v4 : addr_read_v6)(&r, &again);
    code = reader_end(&r);
    assert(code == ERR_OK && addr_equal(a, &again));
    assert(addr_compare(a, &again) == 0);
    assert(addr_peer_priority(a, &again) == addr_peer_priority(&again, a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes in = {data, len};
    struct addr a;
    if (addr_parse(in, 6881, &a) == ERR_OK)
        check_addr(&a);
    struct reader r = reader_init(in);
    addr_read_v6(&r, &a);
    if (reader_ok(&r))
        check_addr(&a);
    assert(crc32c(in) == crc32c_portable(in));
    return 0;
}
