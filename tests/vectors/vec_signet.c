/* blocks/signet*: the centrally signed chain. */
#include "chain/block.h"
#include "vec.h"

static enum verdict check_raw(struct vec *v, struct bytes raw, struct bytes challenge)
{
    struct block b;
    struct err err;
    struct reject r;
    if (block_read(raw, &v->arena, &b, &err) != ERR_OK)
        return VERDICT_UNDECIDED;
    return block_check_signet(&b, challenge, &v->arena, &r);
}

/* The first byte of the solution, behind its header; NULL when there is none. */
static uint8_t *find_solution(struct bytes raw)
{
    uint8_t *at = memmem(raw.data, raw.len, "\xec\xc7\xda\xa2", 4);
    return at && at + 40 < raw.data + raw.len ? at + 4 : NULL;
}

/* One hex line per block. A bit turned in the solution's signature must be seen; so must a bit of
 * the time, which the solution signs. */
static void check_signet(struct vec *v)
{
    const struct chain_params *p = chain_params_find("signet");
    struct bytes rest = v->data, line;
    for (unsigned height = 0; vec_line(&rest, &line); height++) {
        struct bytes raw = vec_hex_of(v, line);
        uint8_t *solution = find_solution(raw);
        bool is_good =
            raw.len > BLOCK_HEADER_LEN && check_raw(v, raw, p->signet_challenge) == VERDICT_VALID;
        if (is_good && height > 0) {
            solution[20] ^= 1;
            is_good = check_raw(v, raw, p->signet_challenge) == VERDICT_INVALID;
            solution[20] ^= 1;
            ((uint8_t *)raw.data)[68] ^= 1;
            is_good &= check_raw(v, raw, p->signet_challenge) == VERDICT_INVALID;
        }
        vec_case(v, is_good, "height %u", height);
    }
}

const struct vec_check vec_signet_checks[] = {
    {"blocks/signet*.hex", check_signet},
    {0},
};
