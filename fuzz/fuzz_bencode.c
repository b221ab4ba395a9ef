/* bencode: whatever parses can be walked, and comes out the same when it is written again. */
#include "torrent/bencode.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define DEPTH_CAP (BENCODE_DEPTH_MAX + 1)

/* Writes v again from its cursors alone. */
static void rewrite(struct bencode_value v, struct buf *out)
{
    struct bencode_iter stack[DEPTH_CAP];
    size_t depth = 0;
    struct bytes key;
    int64_t n;
    for (;;) {
        switch (bencode_type(v)) {
        case BENCODE_INT:
            assert(bencode_get_int(v, &n));
            bencode_write_int(out, n);
            break;
        case BENCODE_STR:
            bencode_write_str(out, bencode_str(v));
            break;
        case BENCODE_LIST:
        case BENCODE_DICT:
            assert(depth < DEPTH_CAP);
            stack[depth] = bencode_iter(v);
            if (stack[depth++].is_dict)
                bencode_write_dict(out);
            else
                bencode_write_list(out);
            break;
        default:
            assert(!"a value without a type");
        }
        while (depth > 0 && !bencode_next(&stack[depth - 1], &key, &v)) {
            bencode_write_end(out);
            depth--;
        }
        if (depth == 0)
            return;
        if (stack[depth - 1].is_dict)
            bencode_write_str(out, key);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mem mem;
    struct bencode b;
    struct err err = {0};
    mem_init(&mem, 64u << 20, NULL);
    if (bencode_parse(&b, bytes_of(data, len), &mem, NULL, &err)) {
        assert(err.code && err.what && err.at <= len);
    } else {
        struct buf out;
        buf_init(&out, &mem, 32u << 20);
        rewrite(bencode_root(&b), &out);
        assert(out.err || (out.len == b.used_len && memcmp(out.data, data, out.len) == 0));
        bool is_sorted = !bencode_check_keys(bencode_root(&b), true, &mem, &err);
        bool is_unique = !bencode_check_keys(bencode_root(&b), false, &mem, &err);
        assert(is_unique || !is_sorted);
        buf_clear(&out);
    }
    bencode_clear(&b);
    mem_check_empty(&mem);
    return 0;
}
