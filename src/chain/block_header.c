#include "chain/block.h"
#include "crypto/sha256d.h"
#include <assert.h>

enum err_code block_header_read(struct reader *r, struct block_header *out)
{
    out->version = (int32_t)reader_u32le(r);
    reader_copy(r, out->prev.b, sizeof out->prev.b);
    reader_copy(r, out->merkle_root.b, sizeof out->merkle_root.b);
    out->time = reader_u32le(r);
    out->bits = reader_u32le(r);
    out->nonce = reader_u32le(r);
    return r->err.code;
}

void block_header_write(struct writer *w, const struct block_header *h)
{
    writer_u32le(w, (uint32_t)h->version);
    writer_put(w, bytes_of(h->prev.b, sizeof h->prev.b));
    writer_put(w, bytes_of(h->merkle_root.b, sizeof h->merkle_root.b));
    writer_u32le(w, h->time);
    writer_u32le(w, h->bits);
    writer_u32le(w, h->nonce);
}

void block_header_hash(const struct block_header *h, struct hash256 *out)
{
    uint8_t raw[BLOCK_HEADER_LEN];
    struct writer w = writer_init(raw, sizeof raw);
    block_header_write(&w, h);
    sha256d(writer_bytes(&w), out->b);
}

void block_header_hash_many(const uint8_t *raw, size_t n, struct hash256 *out)
{
    static_assert(sizeof *out == SHA256_LEN, "an array of hashes is an array of digests");
    sha256d_headers(raw, n, (uint8_t(*)[SHA256_LEN])out);
}
