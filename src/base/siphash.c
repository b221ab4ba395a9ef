#include "base/siphash.h"
#include "base/size.h"

/* --- SipHash-2-4 ----------------------------------------------------------------------------- */

void siphash_24_init(struct siphash *s, uint64_t k0, uint64_t k1)
{
    *s = (struct siphash){0};
    siphash_start(s->v, k0, k1);
}

void siphash_24_add(struct siphash *s, struct bytes b)
{
    const uint8_t *p = b.data;
    size_t left = b.len, n_held = s->len % 8;
    s->len += b.len;
    if (n_held) {
        size_t n = size_min(8 - n_held, left);
        s->tail |= siphash_load_part(p, n) << (8 * n_held);
        if (n_held + n < 8)
            return;
        siphash_word(s->v, s->tail, 2);
        p += n;
        left -= n;
    }
    for (; left >= 8; left -= 8, p += 8)
        siphash_word(s->v, siphash_load(p), 2);
    s->tail = siphash_load_part(p, left);
}

uint64_t siphash_24_end(const struct siphash *s)
{
    struct siphash end = *s;
    siphash_word(end.v, s->tail | s->len << 56, 2);
    return siphash_end(end.v, 0xff, 4);
}

uint64_t siphash_24(uint64_t k0, uint64_t k1, struct bytes b)
{
    struct siphash s;
    siphash_24_init(&s, k0, k1);
    siphash_24_add(&s, b);
    return siphash_24_end(&s);
}

/* --- SipHash-1-3-UJ -------------------------------------------------------------------------- */

#define UNPADDED 0x6465646461706e75u /* "unpadded" */

void siphash_13uj_init(struct siphash_13uj *s, uint64_t k0, uint64_t k1)
{
    siphash_start(s->v, k0, k1);
}

void siphash_13uj_word(struct siphash_13uj *s, uint64_t word)
{
    siphash_word(s->v, word, 1);
}

/* A word is a jumbo block whose other three are zero. */
void siphash_13uj_jumbo(struct siphash_13uj *s, const uint8_t block[32])
{
    uint64_t d[4];
    for (size_t i = 0; i < 4; i++)
        d[i] = siphash_load(block + 8 * i);
    for (size_t i = 0; i < 4; i++)
        s->v[i] ^= d[(i + 1) % 4];
    siphash_round(s->v);
    for (size_t i = 0; i < 4; i++)
        s->v[i] ^= d[i];
}

uint64_t siphash_13uj_end(const struct siphash_13uj *s)
{
    struct siphash_13uj end = *s;
    return siphash_end(end.v, UNPADDED, 3);
}
