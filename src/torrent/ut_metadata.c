#include "torrent/ut_metadata.h"
#include "torrent/bencode.h"

#define UT_METADATA_N_TOKENS_MAX 32u /* ours: a message has three keys; others are ignored */

static enum err_code read_data(const struct bencode *doc, struct bencode_value dict,
                               struct ut_metadata_msg *out, struct err *err)
{
    int64_t total = bencode_int_or(bencode_dict_get(dict, "total_size"), -1);
    if (total < 1)
        return err_set(err, ERR_MALFORMED, "metadata without a total_size");
    out->total_size = (uint64_t)total;
    out->data = bytes_sub(doc->in, doc->used_len, doc->in.len - doc->used_len);
    if (out->data.len == 0 || out->data.len > METADATA_PIECE_LEN)
        return err_set_at(err, ERR_LIMIT, "metadata piece is not 1 to 16384 bytes", doc->used_len,
                          out->data.len, METADATA_PIECE_LEN);
    return ERR_OK;
}

enum err_code ut_metadata_read(struct bytes payload, struct ut_metadata_msg *out, struct err *err)
{
    struct bencode_token tokens[UT_METADATA_N_TOKENS_MAX];
    struct bencode doc;
    int64_t type, piece;
    *out = (struct ut_metadata_msg){0};
    enum err_code code = bencode_parse_fixed(&doc, payload, tokens, UT_METADATA_N_TOKENS_MAX, err);
    if (code)
        return code;
    struct bencode_value dict = bencode_root(&doc);
    if (!bencode_get_int(bencode_dict_get(dict, "msg_type"), &type))
        return err_set(err, ERR_MALFORMED, "metadata message without a msg_type");
    if (type < UT_METADATA_REQUEST || type > UT_METADATA_REJECT)
        return err_set_at(err, ERR_UNSUPPORTED, "metadata message of an unknown type", 0,
                          (uint64_t)type, UT_METADATA_REJECT);
    if (!bencode_get_int(bencode_dict_get(dict, "piece"), &piece))
        return err_set(err, ERR_MALFORMED, "metadata message without a piece");
    if (piece < 0 || piece > UT_METADATA_PIECE_MAX)
        return err_set_at(err, ERR_LIMIT, "metadata piece out of range", 0, (uint64_t)piece,
                          UT_METADATA_PIECE_MAX);
    out->type = (enum ut_metadata_type)type;
    out->piece = (uint32_t)piece;
    return out->type == UT_METADATA_DATA ? read_data(&doc, dict, out, err) : ERR_OK;
}

void ut_metadata_write_request(struct writer *w, uint32_t piece)
{
    writer_printf(w, "d8:msg_typei0e5:piecei%uee", piece);
}

void ut_metadata_write_data(struct writer *w, uint32_t piece, uint64_t total_size)
{
    writer_printf(w, "d8:msg_typei1e5:piecei%ue10:total_sizei%lluee", piece,
                  (unsigned long long)total_size);
}

void ut_metadata_write_reject(struct writer *w, uint32_t piece)
{
    writer_printf(w, "d8:msg_typei2e5:piecei%uee", piece);
}
