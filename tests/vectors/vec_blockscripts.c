/* vec_blockscripts: recordings of Bitcoin Core's functional tests drive a whole chainstate: after
 * every step tip and height must agree, and a refusal's reason with what Core logs. */
#include "chain/chainstate.h"
#include "sim/chain_disk.h"
#include "vec.h"
#include <string.h>

struct play {
    struct vec *v;
    struct mem mem, disk_mem;
    struct chain_params params;
    struct chain_disk disk;
    struct chain_store blocks;
    struct coins_store coins;
    struct chainstate *s;
    int64_t now_s;
    uint64_t n_steps;
    char reason[256]; /* of the last refusal, as Core would print it */
};

/* "bad-blk-sigops, out-of-bounds SigOpCount", "block-script-verify-flag-failed (...)". */
static void note_reason(struct play *p, const struct reject *r)
{
    const char *detail = r->detail ? r->detail : "";
    snprintf(p->reason, sizeof p->reason, "%s, %s|%s (%s)|%s(%s)", r->reason, detail, r->reason,
             detail, r->reason, detail);
}

static void on_event(void *ctx, const struct chain_event *e)
{
    if (e->kind == CHAIN_INVALID || e->kind == CHAIN_REFUSED)
        note_reason(ctx, e->reject);
}

static void stop(struct play *p)
{
    struct err err = {0};
    if (!p->s)
        return;
    chainstate_check(p->s);
    vec_case(p->v, chainstate_close(p->s, &err) == ERR_OK, "step %llu: close",
             (unsigned long long)p->n_steps);
    p->s = NULL;
    chain_disk_clear(&p->disk);
    mem_check_empty(&p->mem);
    mem_check_empty(&p->disk_mem);
}

static void open_chain(struct play *p)
{
    struct err err = {0};
    mem_init(&p->mem, MEM_NO_BUDGET, NULL);
    mem_init(&p->disk_mem, MEM_NO_BUDGET, NULL);
    chain_disk_init(&p->disk, &p->disk_mem, 1);
    p->blocks = chain_disk_blocks(&p->disk);
    p->coins = chain_disk_coins(&p->disk);
    struct chainstate_config c = {.params = &p->params,
                                  .mem = &p->mem,
                                  .rng_seed = 1,
                                  .blocks = &p->blocks,
                                  .coins = &p->coins,
                                  .on_event = on_event,
                                  .on_event_ctx = p};
    vec_case(p->v, chainstate_open(&p->s, &c, &err) == ERR_OK, "open: %s", err.what);
}

static void start(struct play *p, const json_t *line)
{
    static const char flag[] = "-testactivationheight=";
    size_t i;
    json_t *arg;
    stop(p);
    json_array_foreach(json_object_get(line, "args"), i,
                       arg) if (strncmp(vec_str(arg), flag, sizeof flag - 1) == 0)
        vec_case(p->v, chain_params_set_height(&p->params, vec_str(arg) + sizeof flag - 1),
                 "argument %s", vec_str(arg));
    open_chain(p);
}

static void init(struct play *p, const json_t *line)
{
    const char *network = vec_str(json_object_get(line, "network"));
    const struct chain_params *found = chain_params_find(network);
    stop(p);
    if (vec_case(p->v, found != NULL, "network %s", network))
        p->params = *found;
}

static void advance(struct play *p)
{
    struct err err = {0};
    bool is_done = false;
    while (!is_done)
        if (chainstate_advance(p->s, 0, &is_done, &err)) {
            vec_case(p->v, false, "step %llu: %s", (unsigned long long)p->n_steps, err.what);
            return;
        }
}

static void hand_in(struct play *p, struct bytes raw)
{
    struct reject r;
    uint32_t node;
    bool is_new;
    p->reason[0] = '\0';
    if (chainstate_accept(p->s, raw, p->now_s, &node, &is_new, &r) == VERDICT_INVALID)
        note_reason(p, &r);
    advance(p);
}

static void compare_tip(struct play *p, const json_t *line)
{
    const struct header_chain *headers = chainstate_headers(p->s);
    uint32_t tip = chainstate_tip(p->s);
    struct hash256 want = vec_hash_reversed(p->v, vec_str(json_object_get(line, "tip_after")));
    json_int_t height = json_integer_value(json_object_get(line, "height_after"));
    vec_case(p->v,
             hash256_equal(header_hash(headers, tip), &want) &&
                 header_height(headers, tip) == height,
             "step %llu: tip at height %u, want %s at %lld (last refusal: %s)",
             (unsigned long long)p->n_steps, header_height(headers, tip),
             vec_str(json_object_get(line, "tip_after")), (long long)height, p->reason);
}

static void play_blocks(struct play *p, const json_t *line)
{
    const char *want = vec_str(json_object_get(line, "reason"));
    char last[sizeof p->reason] = "";
    json_t *clock = json_object_get(line, "clock"), *block;
    size_t i;
    if (json_is_integer(clock))
        p->now_s = json_integer_value(clock);
    json_array_foreach(json_object_get(line, "blocks"), i, block)
    {
        hand_in(p, vec_json_hex(p->v, block));
        if (p->reason[0])
            memcpy(last, p->reason, sizeof last);
    }
    if (want[0])
        vec_case(p->v, strstr(last, want) != NULL, "step %llu: refused for %s, want %s",
                 (unsigned long long)p->n_steps, last, want);
    compare_tip(p, line);
}

static void invalidate(struct play *p, const json_t *line)
{
    struct hash256 hash = vec_hash_reversed(p->v, vec_str(json_object_get(line, "hash")));
    uint32_t node = header_chain_find(chainstate_headers(p->s), &hash);
    struct err err = {0};
    vec_case(p->v, node != HEADER_NONE && chainstate_invalidate(p->s, node, &err) == ERR_OK,
             "step %llu: invalidateblock", (unsigned long long)p->n_steps);
    advance(p);
    compare_tip(p, line);
}

static void play_line(struct play *p, const json_t *line)
{
    const char *op = vec_str(json_object_get(line, "op"));
    p->n_steps++;
    if (strcmp(op, "init") == 0)
        init(p, line);
    else if (strcmp(op, "start") == 0)
        start(p, line);
    else if (!vec_case(p->v, p->s != NULL, "step %llu: before start",
                       (unsigned long long)p->n_steps))
        return;
    else if (strcmp(op, "blocks") == 0)
        play_blocks(p, line);
    else if (strcmp(op, "invalidateblock") == 0)
        invalidate(p, line);
    else if (strcmp(op, "clock") == 0)
        p->now_s = json_integer_value(json_object_get(line, "time"));
    else
        vec_case(p->v, false, "step %llu: unknown op %s", (unsigned long long)p->n_steps, op);
}

static void run_blockscript(struct vec *v)
{
    static struct play p;
    struct bytes rest = v->data;
    json_t *line;
    p = (struct play){.v = v};
    while ((line = vec_json_line(v, &rest)))
        play_line(&p, line);
    stop(&p);
}

const struct vec_check vec_blockscripts_checks[] = {
    {"blockscripts/*.jsonl*", run_blockscript},
    {0},
};
