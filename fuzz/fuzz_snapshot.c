/* A snapshot from a stranger: the first byte says in what steps it comes. What is read to the end is
 * what the head promised, in order; loaded and written again it has the same coins.
 */
#include "chain/coins_mem.h"
#include "chain/snapshot.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct input {
    struct bytes left;
    size_t step;
};

static enum err_code read_input(void *ctx, uint8_t *out, size_t cap, size_t *out_len,
                                struct err *err)
{
    struct input *in = ctx;
    size_t len = in->left.len < cap ? in->left.len : cap;
    len = len < in->step ? len : in->step;
    if (len)
        memcpy(out, in->left.data, len);
    in->left = bytes_sub(in->left, len, in->left.len - len);
    *out_len = len;
    (void)err;
    return ERR_OK;
}

static const uint8_t magic[4] = {0xfa, 0xbf, 0xb5, 0xda};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct snapshot_reader r;
    struct mem mem;
    struct coins_mem to;
    struct coins_tip tip = {0};
    struct err err = {0};
    if (len == 0)
        return 0;
    mem_init(&mem, 64u << 20, NULL);
    coins_mem_init(&to, &mem, (struct map_seed){1, 2});
    struct coins_store s = coins_mem_store(&to);
    struct input in = {bytes_of(data + 1, len - 1), data[0] ? data[0] : SIZE_MAX};
    enum err_code code = snapshot_reader_init(&r, &mem, (struct snapshot_source){&in, read_input},
                                              magic, 1000000, &err);
    if (!code)
        code = snapshot_load(&r, &s, &tip, &err);
    assert(code ? to.coins.n == 0 && err.code == code : to.coins.n == r.head.n_coins);
    assert(code || in.left.len == 0);
    snapshot_reader_clear(&r);
    coins_mem_clear(&to);
    mem_check_empty(&mem);
    return 0;
}
