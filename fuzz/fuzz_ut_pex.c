/* A message of the peer exchange, as pex_in takes it: bounded, dialable, without repetition; and
 * written again it reads the same. */
#include "torrent/pex.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_taken(const struct pex_peer *peers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert(addr_is_dialable(&peers[i].addr));
        for (size_t k = 0; k < i; k++)
            assert(!addr_equal(&peers[i].addr, &peers[k].addr));
    }
}

static void check_again(const struct pex_peer *peers, size_t n)
{
    static uint8_t out[UT_PEX_LEN_MAX(PEX_IN_FIRST_MAX, 0)];
    struct ut_pex_msg m;
    size_t at = 0;
    struct writer w = writer_init(out, sizeof out);
    ut_pex_write(&w, peers, n, NULL, 0);
    enum err_code code = ut_pex_read(writer_bytes(&w), &m, NULL);
    assert(code == ERR_OK && ut_pex_n_added(&m) == n && ut_pex_n_dropped(&m) == 0);
    for (size_t i = 0; i < n; i++) { /* IPv4 comes first */
        struct pex_peer p = ut_pex_added(&m, at);
        if (addr_equal(&p.addr, &peers[i].addr) && p.flags == peers[i].flags)
            at++;
    }
    assert(at <= n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct pex_peer out[PEX_IN_FIRST_MAX];
    struct pex_in in;
    struct err err = {0};
    size_t n, cap = len % 3 ? PEX_IN_FIRST_MAX : len % (PEX_IN_FIRST_MAX + 1);
    pex_in_init(&in, 0);
    for (int i = 0; i < 2; i++) {
        enum err_code code = pex_in_read(&in, 0, bytes_of(data, len), out, cap, &n, &err);
        assert(code == ERR_OK || code == ERR_MALFORMED);
        assert(n <= cap && n <= (i ? PEX_IN_ADDED_MAX : PEX_IN_FIRST_MAX));
        assert(code == ERR_OK || n == 0);
        check_taken(out, n);
        check_again(out, n);
    }
    return 0;
}
