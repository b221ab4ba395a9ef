#include "torrent/allowed_fast.h"
#include "base/size.h"

static bool is_in(const uint32_t *set, size_t n, uint32_t piece)
{
    for (size_t i = 0; i < n; i++)
        if (set[i] == piece)
            return true;
    return false;
}

/* BEP 6, "Allowed Fast Set Generation", steps 1 to 9. Step 2's loop ends only because k is held to
 * the number of pieces; with k near n_pieces the last indices would take long to come up by chance,
 * so after ALLOWED_FAST_ROUNDS_MAX digests the set stays smaller. */
#define ALLOWED_FAST_ROUNDS_MAX 1000u

size_t allowed_fast_set(const struct addr *peer, const uint8_t infohash[SHA1_LEN],
                        uint32_t n_pieces, size_t k, uint32_t *out)
{
    uint8_t x[SHA1_LEN], start[4 + SHA1_LEN];
    size_t n = 0;
    if (peer->family != ADDR_V4 || n_pieces == 0)
        return 0;
    k = size_min(k, size_min(ALLOWED_FAST_K_MAX, n_pieces));
    memcpy(start, peer->ip, 3);
    start[3] = 0;
    memcpy(start + 4, infohash, SHA1_LEN);
    sha1(bytes_of(start, sizeof start), x);
    for (uint32_t round = 0; n < k && round < ALLOWED_FAST_ROUNDS_MAX; round++) {
        struct reader r = reader_init(bytes_of(x, sizeof x));
        while (n < k && reader_left(&r)) {
            uint32_t piece = reader_u32be(&r) % n_pieces;
            if (!is_in(out, n, piece))
                out[n++] = piece;
        }
        sha1(bytes_of(x, sizeof x), x);
    }
    return n;
}
