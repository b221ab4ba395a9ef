/* content: SplitMix64 over the word index. */
#include "sim/content.h"
#include "base/size.h"

static uint64_t word_at(uint64_t key, uint64_t index)
{
    uint64_t z = key + index * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void fill_words(uint64_t key, uint64_t off, uint64_t flip, uint8_t *out, size_t len)
{
    size_t done = 0;
    while (done < len) {
        while ((off + done) % 8 == 0 && len - done >= 8) {
            uint64_t w = word_at(key, (off + done) / 8) ^ flip;
            memcpy(out + done, &w, 8);
            done += 8;
        }
        if (done == len)
            return;
        uint64_t w = word_at(key, (off + done) / 8) ^ flip;
        size_t skip = (off + done) % 8, n = size_min(8 - skip, len - done);
        memcpy(out + done, (const uint8_t *)&w + skip, n);
        done += n;
    }
}

void content_fill(const struct content *c, uint64_t off, uint8_t variant, uint8_t *out, size_t len)
{
    if (c->is_phantom)
        memset(out, 0, len);
    content_lay(c, off, variant, out, len);
}

void content_lay(const struct content *c, uint64_t off, uint8_t variant, uint8_t *out, size_t len)
{
    uint64_t flip = variant * 0x0101010101010101u;
    if (!c->is_phantom) {
        fill_words(c->key, off, flip, out, len);
        return;
    }
    for (uint64_t at = off; at < off + len;) {
        uint64_t in_block = at % BLOCK_LEN;
        if (in_block < CONTENT_TAG_LEN) {
            size_t n = (size_t)u64_min(CONTENT_TAG_LEN - in_block, off + len - at);
            fill_words(c->key, at, flip, out + (at - off), n);
        }
        at += BLOCK_LEN - in_block;
    }
}

uint32_t content_core_len(const struct content *c, uint32_t block_len)
{
    return c->is_phantom && block_len > CONTENT_TAG_LEN ? CONTENT_TAG_LEN : block_len;
}

bool content_is_right(const struct content *c, uint64_t off, const uint8_t *block,
                      uint32_t block_len)
{
    uint8_t want[BLOCK_LEN];
    uint32_t len = content_core_len(c, block_len);
    fill_words(c->key, off, 0, want, len);
    return memcmp(want, block, len) == 0;
}
