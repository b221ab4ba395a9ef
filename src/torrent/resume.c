#include "torrent/resume.h"
#include "base/addr.h"
#include "base/size.h"
#include "torrent/bencode.h"
#include <assert.h>
#include <string.h>

#define RESUME_N_TOKENS 64u

static enum err_code resume_take_bits(struct resume *r, struct bencode_value root, struct err *err)
{
    size_t len = (size_t)div_ceil(r->n_pieces, 8);
    r->synced = bencode_str(bencode_dict_get(root, "synced"));
    r->unsynced = bencode_str(bencode_dict_get(root, "unsynced"));
    if (r->synced.len != len || r->unsynced.len != len)
        return err_set_at(err, ERR_MALFORMED, "resume bits have another length than the pieces", 0,
                          r->synced.len, len);
    uint8_t spare = r->n_pieces % 8 ? (uint8_t)(0xff >> r->n_pieces % 8) : 0;
    if (len && ((r->synced.data[len - 1] | r->unsynced.data[len - 1]) & spare))
        return err_set(err, ERR_MALFORMED, "resume bits beyond the last piece");
    return ERR_OK;
}

static bool resume_take_u64(struct bencode_value root, const char *key, uint64_t *out)
{
    int64_t v = bencode_int_or(bencode_dict_get(root, key), -1);
    if (v < 0)
        return false;
    *out = (uint64_t)v;
    return true;
}

static enum err_code resume_take(struct resume *r, struct bencode_value root, struct err *err)
{
    uint64_t version = 0, clean = 0, n_pieces = 0;
    if (!resume_take_u64(root, "v", &version) || version != RESUME_VERSION)
        return err_set_at(err, ERR_UNSUPPORTED, "resume data of another version", 0, version,
                          RESUME_VERSION);
    struct bytes key = bencode_str(bencode_dict_get(root, "key"));
    if (key.len != SHA1_LEN || !resume_take_u64(root, "clean", &clean) ||
        !resume_take_u64(root, "pieces", &n_pieces) || n_pieces > UINT32_MAX ||
        !resume_take_u64(root, "down", &r->down_total) ||
        !resume_take_u64(root, "up", &r->up_total) ||
        !resume_take_u64(root, "wasted", &r->wasted_total) ||
        !resume_take_u64(root, "bad", &r->bad_total) ||
        !resume_take_u64(root, "seeded", &r->seeded_us))
        return err_set(err, ERR_MALFORMED, "resume data lacks a field");
    memcpy(r->key, key.data, SHA1_LEN);
    r->is_clean = clean == 1;
    r->n_pieces = (uint32_t)n_pieces;
    r->files = bencode_str(bencode_dict_get(root, "files"));
    r->peers4 = bencode_str(bencode_dict_get(root, "peers4"));
    r->peers6 = bencode_str(bencode_dict_get(root, "peers6"));
    r->torrent = bencode_str(bencode_dict_get(root, "torrent"));
    r->partials = bencode_str(bencode_dict_get(root, "partials"));
    if (r->files.len % RESUME_FILE_LEN || r->peers4.len % ADDR_COMPACT4_LEN ||
        r->peers6.len % ADDR_COMPACT6_LEN)
        return err_set(err, ERR_MALFORMED, "resume list is not whole");
    return resume_take_bits(r, root, err);
}

enum err_code resume_read(struct resume *out, struct bytes in, struct err *err)
{
    *out = (struct resume){0};
    if (in.len < SHA1_LEN)
        return err_set_at(err, ERR_TRUNCATED, "resume data is too short", 0, in.len, SHA1_LEN);
    if (in.len > RESUME_LEN_MAX)
        return err_set_at(err, ERR_LIMIT, "resume data is too long", 0, in.len, RESUME_LEN_MAX);
    struct bytes body = {in.data, in.len - SHA1_LEN};
    uint8_t digest[SHA1_LEN];
    sha1(body, digest);
    if (memcmp(digest, body.data + body.len, SHA1_LEN) != 0)
        return err_set(err, ERR_MALFORMED, "resume data does not match its checksum");
    struct bencode_token tokens[RESUME_N_TOKENS];
    struct bencode doc;
    enum err_code code = bencode_parse_fixed(&doc, body, tokens, RESUME_N_TOKENS, err);
    if (code)
        return code;
    code = resume_take(out, bencode_root(&doc), err);
    if (code)
        *out = (struct resume){0};
    return code;
}

void resume_write(struct buf *out, const struct resume *r)
{
    assert(r->synced.len == div_ceil(r->n_pieces, 8) && r->unsynced.len == r->synced.len);
    size_t from = out->len;
    bencode_write_dict(out);
    bencode_write_key_int(out, "bad", (int64_t)r->bad_total);
    bencode_write_key_int(out, "clean", r->is_clean);
    bencode_write_key_int(out, "down", (int64_t)r->down_total);
    bencode_write_key_str(out, "files", r->files);
    bencode_write_key_str(out, "key", bytes_of(r->key, SHA1_LEN));
    if (r->partials.len)
        bencode_write_key_str(out, "partials", r->partials);
    bencode_write_key_str(out, "peers4", r->peers4);
    bencode_write_key_str(out, "peers6", r->peers6);
    bencode_write_key_int(out, "pieces", r->n_pieces);
    bencode_write_key_int(out, "seeded", (int64_t)r->seeded_us);
    bencode_write_key_str(out, "synced", r->synced);
    if (r->torrent.len)
        bencode_write_key_str(out, "torrent", r->torrent);
    bencode_write_key_str(out, "unsynced", r->unsynced);
    bencode_write_key_int(out, "up", (int64_t)r->up_total);
    bencode_write_key_int(out, "v", RESUME_VERSION);
    bencode_write_key_int(out, "wasted", (int64_t)r->wasted_total);
    bencode_write_end(out);
    if (out->err)
        return;
    uint8_t digest[SHA1_LEN];
    sha1(bytes_of(out->data + from, out->len - from), digest);
    buf_put(out, bytes_of(digest, SHA1_LEN));
}

void resume_write_partial(struct buf *out, const struct resume_partial *p)
{
    uint8_t head[8];
    struct writer w = writer_init(head, sizeof(head));
    assert(p->bits.len == div_ceil(p->n_blocks, 8));
    writer_u32be(&w, p->piece);
    writer_u32be(&w, p->n_blocks);
    buf_put(out, writer_bytes(&w));
    buf_put(out, p->bits);
}

bool resume_next_partial(struct reader *r, struct resume_partial *out)
{
    if (!reader_left(r))
        return false;
    out->piece = reader_u32be(r);
    out->n_blocks = reader_u32be(r);
    out->bits = reader_take(r, (size_t)div_ceil(out->n_blocks, 8));
    return reader_ok(r) && out->n_blocks > 0;
}

void resume_write_file(uint8_t out[RESUME_FILE_LEN], const struct store_file_stat *f)
{
    struct writer w = writer_init(out, RESUME_FILE_LEN);
    writer_u8(&w, f->exists);
    writer_u64be(&w, f->len);
    writer_u64be(&w, f->mtime_ns);
}

struct store_file_stat resume_file(const struct resume *r, size_t index)
{
    struct reader in = reader_init(bytes_sub(r->files, index * RESUME_FILE_LEN, RESUME_FILE_LEN));
    struct store_file_stat f = {0};
    f.exists = reader_u8(&in) != 0;
    f.len = reader_u64be(&in);
    f.mtime_ns = reader_u64be(&in);
    return f;
}
