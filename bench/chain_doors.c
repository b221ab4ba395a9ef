#include "chain_doors.h"
#include "chain/chain_block.h"
#include "crypto/secp.h"
#include "crypto/sha256d.h"
#include "raw_checks.h"
#include "store/block_scan.h"
#include <assert.h>
#include <pthread.h>

/* Every wrapped function; bench/meson.build has the same list for the linker, which complains when
 * they differ. */
#define DOORS(X)                                                                                   \
    X(secp_ecdsa_verify, DOOR_SCRIPTS)                                                             \
    X(secp_schnorr_verify, DOOR_SCRIPTS)                                                           \
    X(secp_tweak_check, DOOR_SCRIPTS)                                                              \
    X(script_verify, DOOR_SCRIPTS)                                                                 \
    X(script_jobs_init, DOOR_SCRIPTS)                                                              \
    X(script_jobs_verdict, DOOR_SCRIPTS)                                                           \
    X(tx_spend_init, DOOR_SCRIPTS)                                                                 \
    X(sha256, DOOR_ALWAYS)                                                                         \
    X(sha256_update, DOOR_ALWAYS)                                                                  \
    X(sha256d, DOOR_ALWAYS)                                                                        \
    X(sha256d_many, DOOR_ALWAYS)                                                                   \
    X(sha256d_pairs, DOOR_ALWAYS)                                                                  \
    X(tx_hash_many, DOOR_ALWAYS)                                                                   \
    X(block_read, DOOR_ALWAYS)                                                                     \
    X(block_check, DOOR_ALWAYS)                                                                    \
    X(block_check_context, DOOR_ALWAYS)                                                            \
    X(header_chain_add, DOOR_ALWAYS)                                                               \
    X(chain_block_put_fetched, DOOR_ALWAYS)                                                        \
    X(chain_block_want, DOOR_FETCH)                                                                \
    X(connect_init, DOOR_ALWAYS)                                                                   \
    X(connect_apply, DOOR_ALWAYS)                                                                  \
    X(connect_undo, DOOR_ALWAYS)                                                                   \
    X(undo_write, DOOR_ALWAYS)                                                                     \
    X(connect_unapply, DOOR_REORG)                                                                 \
    X(coins_cache_write, DOOR_ALWAYS)                                                              \
    X(block_scan_next, DOOR_ALWAYS)                                                                \
    X(pthread_cond_wait, DOOR_THREADS)

enum door {
#define DOOR_NAME(name, when) DOOR_##name,
    DOORS(DOOR_NAME) DOOR_table, /* the stores' functions */
    N_DOORS
};
static_assert(N_DOORS <= PHASES_DOORS_MAX, "the table of calls has room");

static const struct {
    const char *name;
    enum door_when when;
} doors[] = {
#define DOOR_ENTRY(name, when) {#name, when},
    DOORS(DOOR_ENTRY)};

/* --- wrappers -------------------------------------------------------------------------------- */

#define WRAP(enter, type, name, params, args)                                                      \
    type __real_##name params;                                                                     \
    type __wrap_##name params;                                                                     \
    type __wrap_##name params                                                                      \
    {                                                                                              \
        enum phase before = enter;                                                                 \
        type result = __real_##name args;                                                          \
        phases_leave(before);                                                                      \
        return result;                                                                             \
    }
#define WRAP_VOID(enter, name, params, args)                                                       \
    void __real_##name params;                                                                     \
    void __wrap_##name params;                                                                     \
    void __wrap_##name params                                                                      \
    {                                                                                              \
        enum phase before = enter;                                                                 \
        __real_##name args;                                                                        \
        phases_leave(before);                                                                      \
    }
#define IN(phase, name) phases_enter(phase, DOOR_##name)
#define HASHING(name)   phases_enter_hashing(DOOR_##name)

WRAP(IN(PHASE_SCRIPTS, script_verify), enum script_err, script_verify,
     (const struct tx_spend *s, uint32_t in_index, uint32_t flags, struct script_cache *cache,
      struct mem *mem),
     (s, in_index, flags, cache, mem))
WRAP(IN(PHASE_SCRIPTS, script_jobs_init), enum err_code, script_jobs_init,
     (struct script_jobs * out, const struct connect *c, struct script_cache *cache, void *owner,
      struct arena *a),
     (out, c, cache, owner, a))
WRAP(IN(PHASE_SCRIPTS, script_jobs_verdict), enum verdict, script_jobs_verdict,
     (const struct script_jobs *jobs, struct reject *r), (jobs, r))
WRAP_VOID(IN(PHASE_SCRIPTS, tx_spend_init), tx_spend_init,
          (struct tx_spend * out, const struct tx *tx, const struct tx_out *spent),
          (out, tx, spent))

WRAP_VOID(HASHING(sha256), sha256, (struct bytes in, uint8_t *out), (in, out))
WRAP_VOID(HASHING(sha256_update), sha256_update, (struct sha256_state * s, struct bytes in),
          (s, in))
WRAP_VOID(HASHING(sha256d), sha256d, (struct bytes in, uint8_t *out), (in, out))
WRAP_VOID(HASHING(sha256d_many), sha256d_many,
          (const struct bytes *in, size_t n, uint8_t (*out)[SHA256_LEN]), (in, n, out))
WRAP_VOID(HASHING(sha256d_pairs), sha256d_pairs,
          (const uint8_t *in, size_t n, uint8_t (*out)[SHA256_LEN]), (in, n, out))
WRAP_VOID(HASHING(tx_hash_many), tx_hash_many, (struct tx * txs, size_t n), (txs, n))

WRAP(IN(PHASE_PARSING, block_read), enum err_code, block_read,
     (struct bytes raw, struct arena *a, struct block *out, struct err *err), (raw, a, out, err))
WRAP(IN(PHASE_PARSING, block_check), enum verdict, block_check,
     (const struct block *b, struct arena *scratch, struct reject *r), (b, scratch, r))
WRAP(IN(PHASE_PARSING, block_check_context), enum verdict, block_check_context,
     (const struct block *b, const struct chain_params *p, uint32_t height, uint32_t mtp_prev,
      struct arena *scratch, struct reject *r),
     (b, p, height, mtp_prev, scratch, r))
WRAP(IN(PHASE_PARSING, header_chain_add), enum verdict, header_chain_add,
     (struct header_chain * c, const struct block_header *h, const struct hash256 *hash,
      int64_t now_s, uint32_t *out_node, struct reject *r),
     (c, h, hash, now_s, out_node, r))

WRAP(IN(PHASE_COINS, chain_block_put_fetched), enum err_code, chain_block_put_fetched,
     (struct chain_block * b, struct coins_cache *coins), (b, coins))
WRAP(IN(PHASE_COINS, chain_block_want), enum err_code, chain_block_want,
     (struct chain_block * b, struct coins_cache *coins, struct chain_job **out), (b, coins, out))
WRAP(IN(PHASE_COINS, connect_init), enum err_code, connect_init,
     (struct connect * c, const struct chain_params *p, const struct header_chain *headers,
      uint32_t node, const struct block *b, struct arena *a),
     (c, p, headers, node, b, a))
WRAP(IN(PHASE_COINS, connect_apply), enum verdict, connect_apply,
     (struct connect * c, struct coins_cache *coins, struct arena *a, struct reject *r,
      bool *out_is_broken),
     (c, coins, a, r, out_is_broken))
WRAP(IN(PHASE_COINS, connect_undo), enum err_code, connect_undo,
     (const struct connect *c, struct arena *a, struct undo_block *out), (c, a, out))
WRAP_VOID(IN(PHASE_COINS, undo_write), undo_write, (struct writer * w, const struct undo_block *u),
          (w, u))
WRAP(IN(PHASE_COINS, connect_unapply), enum err_code, connect_unapply,
     (struct connect * c, struct coins_cache *coins, struct err *err), (c, coins, err))
WRAP(IN(PHASE_COINS, coins_cache_write), enum err_code, coins_cache_write,
     (struct coins_cache * c, const struct coins_tip *tip, bool keep, struct err *err),
     (c, tip, keep, err))

WRAP(IN(PHASE_DISK, block_scan_next), enum err_code, block_scan_next,
     (struct block_scan * s, struct bytes *out, uint64_t *out_at, uint64_t *out_skipped,
      struct err *err),
     (s, out, out_at, out_skipped, err))

int __real_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
    phases_sleep(DOOR_pthread_cond_wait);
    int result = __real_pthread_cond_wait(c, m);
    phases_wake();
    return result;
}

/* --- signatures: some are kept, to be checked again in a tight loop -------------------------- */

#define WRAP_CHECK(name, params, args, keep)                                                       \
    bool __real_##name params;                                                                     \
    bool __wrap_##name params;                                                                     \
    bool __wrap_##name params                                                                      \
    {                                                                                              \
        enum phase before = IN(PHASE_SIGNATURES, name);                                            \
        bool result = __real_##name args;                                                          \
        phases_leave(before);                                                                      \
        if (phases_n_calls(DOOR_##name) % RAW_CHECKS_EVERY == 1)                                   \
            keep;                                                                                  \
        return result;                                                                             \
    }

WRAP_CHECK(secp_ecdsa_verify, (struct bytes sig, struct bytes pubkey, const uint8_t *hash),
           (sig, pubkey, hash), raw_checks_keep_ecdsa(sig, pubkey, hash, result))
WRAP_CHECK(secp_schnorr_verify, (const uint8_t *sig, const uint8_t *pubkey, struct bytes msg),
           (sig, pubkey, msg), raw_checks_keep_schnorr(sig, pubkey, msg, result))
WRAP_CHECK(secp_tweak_check,
           (const uint8_t *output, bool is_odd, const uint8_t *internal, const uint8_t *tweak),
           (output, is_odd, internal, tweak),
           raw_checks_keep_tweak(output, is_odd, internal, tweak, result))

uint64_t chain_doors_n_checks(const struct phases_sum *sum)
{
    return sum->n_calls[DOOR_secp_ecdsa_verify] + sum->n_calls[DOOR_secp_schnorr_verify] +
           sum->n_calls[DOOR_secp_tweak_check];
}

/* --- tables ---------------------------------------------------------------------------------- */

static struct chain_store blocks_before;
static struct coins_store coins_before;

#define TABLE_DOOR(name, table_before, params, args)                                               \
    static enum err_code name params                                                               \
    {                                                                                              \
        enum phase before = IN(PHASE_DISK, table);                                                 \
        enum err_code code = table_before.name args;                                               \
        phases_leave(before);                                                                      \
        return code;                                                                               \
    }

TABLE_DOOR(put_block, blocks_before,
           (void *ctx, struct bytes raw, uint32_t height, struct block_pos *out, struct err *err),
           (ctx, raw, height, out, err))
TABLE_DOOR(put_undo, blocks_before,
           (void *ctx, uint32_t file, struct bytes undo, const struct hash256 *prev,
            struct block_pos *out, struct err *err),
           (ctx, file, undo, prev, out, err))
TABLE_DOOR(read_block, blocks_before,
           (void *ctx, struct block_pos at, struct buf *out, struct err *err), (ctx, at, out, err))
TABLE_DOOR(read_undo, blocks_before,
           (void *ctx, struct block_pos at, const struct hash256 *prev, struct buf *out,
            struct err *err),
           (ctx, at, prev, out, err))
TABLE_DOOR(put_record, blocks_before, (void *ctx, const struct block_record *r, struct err *err),
           (ctx, r, err))
TABLE_DOOR(sync, blocks_before, (void *ctx, struct err *err), (ctx, err))
TABLE_DOOR(get_many, coins_before,
           (void *ctx, const struct outpoint *const *at, size_t n, struct coin *out,
            bool *out_found, struct arena *a, struct err *err),
           (ctx, at, n, out, out_found, a, err))

/* What the cache does to name its next change is the cache's. */
struct changes {
    bool (*next)(void *ctx, struct coins_change *out);
    void *ctx;
};

static bool next_change(void *ctx, struct coins_change *out)
{
    const struct changes *c = ctx;
    enum phase before = IN(PHASE_COINS, table);
    bool has = c->next(c->ctx, out);
    phases_leave(before);
    return has;
}

static enum err_code write_coins(void *ctx, const struct coins_tip *tip,
                                 bool (*next)(void *next_ctx, struct coins_change *out),
                                 void *next_ctx, struct err *err)
{
    struct changes c = {next, next_ctx};
    enum phase before = IN(PHASE_DISK, table);
    enum err_code code = coins_before.write(ctx, tip, next_change, &c, err);
    phases_leave(before);
    return code;
}

void chain_doors_take(struct chain_store *blocks, struct coins_store *coins)
{
    blocks_before = *blocks;
    coins_before = *coins;
    blocks->put_block = put_block;
    blocks->put_undo = put_undo;
    blocks->read_block = read_block;
    blocks->read_undo = read_undo;
    blocks->put_record = put_record;
    blocks->sync = sync;
    coins->get_many = get_many;
    coins->write = write_coins;
}

/* --- what was caught ------------------------------------------------------------------------- */

bool chain_doors_check(const struct phases_sum *sum, const bool has[N_DOOR_WHENS])
{
    bool is_right = true;
    for (unsigned d = 0; d < DOOR_table; d++) {
        if (sum->n_calls[d] || !has[doors[d].when])
            continue;
        fprintf(stderr, "%s was never called through its wrapper\n", doors[d].name);
        is_right = false;
    }
    return is_right;
}
