/* script_asm, descriptor: any script becomes printable ASCII within the promised length; a
 * descriptor's checksum is that of its text; addr() names the script, and what has no [error] has a
 * word for every opcode. */
#include "chain/descriptor.h"
#include "chain/script_asm.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SCRIPT_MAX 20000u /* above what can be spent */

static bool is_printable(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ' || text.data[i] > '~')
            return false;
    return true;
}

static size_t n_words(struct bytes text)
{
    size_t n = text.len > 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == ' ';
    return n;
}

static size_t n_steps(struct bytes script)
{
    size_t pos = 0, n = 0;
    uint8_t op;
    struct bytes push;
    while (script_next(script, &pos, &op, &push))
        n++;
    return n + (pos < script.len);
}

static void check_asm(struct bytes script, bool has_signatures)
{
    size_t cap = script.len * SCRIPT_ASM_GROWTH;
    char *room = malloc(cap + 1);
    struct writer w = writer_init(room, cap);
    script_asm_write(&w, script, has_signatures);
    assert(writer_ok(&w) && is_printable(writer_bytes(&w)));
    assert(n_words(writer_bytes(&w)) == n_steps(script));
    free(room);
}

static void check_addr(const struct chain_params *p, struct bytes script, struct bytes address)
{
    uint8_t again[ADDRESS_SCRIPT_MAX];
    size_t len;
    bool is_read = address_read(p, address, again, &len);
    assert(is_read && bytes_equal(bytes_of(again, len), script));
    (void)is_read;
}

static void check_descriptor(const struct chain_params *p, struct bytes script)
{
    size_t cap = DESCRIPTOR_LEN_MAX(script.len);
    char *room = malloc(cap), check[DESCRIPTOR_CHECK_LEN + 1];
    struct writer w = writer_init(room, cap);
    descriptor_write(&w, p, script);
    assert(writer_ok(&w) && w.pos > DESCRIPTOR_CHECK_LEN && is_printable(writer_bytes(&w)));
    struct bytes body = bytes_of(room, w.pos - DESCRIPTOR_CHECK_LEN - 1);
    assert(room[body.len] == '#' && body.data[body.len - 1] == ')');
    bool is_sum = descriptor_checksum(body, check);
    assert(is_sum && memcmp(check, room + body.len + 1, DESCRIPTOR_CHECK_LEN) == 0);
    (void)is_sum;
    if (bytes_starts_with(body, BYTES_LIT("addr(")))
        check_addr(p, script, bytes_sub(body, 5, body.len - 6));
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes script = bytes_of(data, len < SCRIPT_MAX ? len : SCRIPT_MAX);
    check_asm(script, false);
    check_asm(script, true);
    check_descriptor(chain_params_find("main"), script);
    check_descriptor(chain_params_find("regtest"), script);
    descriptor_checksum(script, (char[DESCRIPTOR_CHECK_LEN + 1]){0});
    return 0;
}
