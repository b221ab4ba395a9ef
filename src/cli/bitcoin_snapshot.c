#include "cli/bitcoin_snapshot.h"
#include "cli/bitcoin.h"
#include "crypto/random.h"
#include <errno.h>
#include <unistd.h>

#define NOTE_NAME   "snapshot.json"
#define STEP_BLOCKS 64u /* between two looks at Ctrl-C */

/* --- the note beside the chain --------------------------------------------------------------- */

static const char *const state_names[] = {
    [SNAPSHOT_NONE] = "none",     [SNAPSHOT_LOADING] = "loading",
    [SNAPSHOT_LOADED] = "loaded", [SNAPSHOT_VALIDATED] = "validated",
    [SNAPSHOT_WRONG] = "wrong",
};
#define N_STATES (sizeof state_names / sizeof state_names[0])

static bool unpack(json_t *o, struct snapshot_note *out)
{
    const char *state, *base, *coins;
    json_int_t height, n_chain_txs = 0;
    if (json_unpack(o, "{s:s, s:I, s:s, s:s, s?I}", "state", &state, "base_height", &height,
                    "base_hash", &base, "txoutset_hash", &coins, "n_chain_txs", &n_chain_txs) ||
        !hash256_of_hex_reversed(base, &out->base) ||
        !hash256_of_hex_reversed(coins, &out->coins_hash) || height < 0 || height > UINT32_MAX)
        return false;
    out->base_height = (uint32_t)height;
    out->n_chain_txs = n_chain_txs > 0 ? (uint64_t)n_chain_txs : 0;
    for (size_t i = 0; i < N_STATES; i++)
        if (strcmp(state, state_names[i]) == 0)
            out->state = (enum snapshot_state)i;
    return out->state != SNAPSHOT_NONE;
}

bool snapshot_note_read(const char *dir, struct snapshot_note *out)
{
    char path[PATH_MAX];
    *out = (struct snapshot_note){0};
    if (!bitcoin_path(dir, NOTE_NAME, path))
        return false;
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return true;
    json_t *o = json_load_file(path, 0, NULL);
    bool is_read = o && unpack(o, out);
    json_decref(o);
    return is_read || (ui_fail("%s: damaged: 'shoal bitcoin reindex' begins anew", path), false);
}

bool snapshot_note_write(const char *dir, const struct snapshot_note *n)
{
    char path[PATH_MAX];
    struct disk disk = {.dir_fd = -1};
    struct err err = {0};
    if (!bitcoin_path(dir, NOTE_NAME, path))
        return false;
    json_t *o = json_pack(
        "{s:s, s:I, s:o, s:o, s:I}", "state", state_names[n->state], "base_height",
        (json_int_t)n->base_height, "base_hash", bitcoin_json_hash(&n->base), "txoutset_hash",
        bitcoin_json_hash(&n->coins_hash), "n_chain_txs", (json_int_t)n->n_chain_txs);
    char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
    enum err_code code = text ? disk_open(&disk, dir, NULL, &err)
                              : err_set(&err, ERR_NO_MEMORY, "no memory for a note");
    if (!code)
        code = disk_put_file(&disk, NOTE_NAME, bytes_of_str(text), &err);
    disk_close(&disk);
    free(text);
    json_decref(o);
    return !code || (ui_fail_err(path, &err), false);
}

bool bitcoin_can_open(const struct bitcoin *b)
{
    if (b->snapshot.state == SNAPSHOT_LOADING && b->options->use != BITCOIN_LOADS)
        return ui_fail("%s: a snapshot was not loaded to its end: load it again, or reindex",
                       b->dir),
               false;
    if (b->snapshot.state == SNAPSHOT_WRONG && b->options->use != BITCOIN_LOOKS)
        return ui_fail("%s: the snapshot that this chain began with is WRONG; 'shoal bitcoin "
                       "reindex' begins without it",
                       b->dir),
               false;
    return true;
}

bool bitcoin_forget_snapshot(struct bitcoin *b)
{
    char path[PATH_MAX];
    if (!bitcoin_path(b->dir, NOTE_NAME, path))
        return false;
    if (unlink(path) != 0 && errno != ENOENT)
        return ui_fail("%s: %s", path, strerror(errno)), false;
    return bitcoin_path(b->dir, "coins-background", path) && bitcoin_remove_dir(path);
}

/* --- checking the past ----------------------------------------------------------------------- */

struct past {
    struct bitcoin *b;
    char path[PATH_MAX];
    struct coins_rocksdb *db;
    struct coins_store coins;
    struct chain_background *chain;
};

static enum err_code open_once(struct past *p, struct err *err)
{
    struct bitcoin *b = p->b;
    struct coins_rocksdb_config db = {.path = p->path};
    struct chain_background_config c = {.main = b->chain,
                                        .mem = &b->mem,
                                        .rng_seed = random_u64(),
                                        .coins = &p->coins,
                                        .coins_cap_len = (size_t)b->options->coins_cache_len / 2,
                                        .coins_hash = b->snapshot.coins_hash};
    if (coins_rocksdb_open(&p->db, &b->mem, &db, err))
        return err->code;
    p->coins = coins_rocksdb_store(p->db);
    enum err_code code = chain_background_open(&p->chain, &c, err);
    if (!code) {
        chain_background_advise(p->chain, huge_pages_advise);
        return ERR_OK;
    }
    coins_rocksdb_close(p->db);
    p->db = NULL;
    return code;
}

/* Coins that are damaged, or of another line, can be had again from the blocks. */
static bool open_past(struct past *p)
{
    struct err err = {0};
    if (!bitcoin_path(p->b->dir, "coins-background", p->path))
        return false;
    enum err_code code = open_once(p, &err);
    if (code == ERR_MALFORMED) {
        ui_fail_err(p->path, &err);
        ui_fail("what led to the snapshot is checked from the first block again");
        code = bitcoin_remove_dir(p->path) ? open_once(p, &err) : ERR_IO;
    }
    return !code || (ui_fail_err(p->path, &err), false);
}

static bool close_past(struct past *p)
{
    struct err err = {0};
    enum err_code code = chain_background_close(p->chain, &err);
    coins_rocksdb_close(p->db);
    p->chain = NULL;
    p->db = NULL;
    return !code || (ui_fail_err(p->path, &err), false);
}

static void show(const struct past *p)
{
    struct chain_background_progress now;
    chain_background_progress(p->chain, &now);
    if (chain_background_state(p->chain) == CHAIN_BACKGROUND_HASHING)
        ui_progress("hashing coins at the snapshot's block: %llu",
                    (unsigned long long)now.n_coins_hashed);
    else
        ui_progress("checking what led to the snapshot: height %u of %u", now.height,
                    now.base_height);
}

static int walk(struct past *p, struct past_check *out)
{
    struct chain_background_progress now;
    struct err err = {0};
    enum err_code code = ERR_OK;
    bool goes_on = true;
    while (!code && goes_on && !bitcoin_is_interrupted) {
        code = chain_background_advance(p->chain, STEP_BLOCKS, &err);
        out->state = chain_background_state(p->chain);
        goes_on = out->state == CHAIN_BACKGROUND_WALKING || out->state == CHAIN_BACKGROUND_HASHING;
        show(p);
    }
    ui_progress_end();
    chain_background_progress(p->chain, &now);
    out->height = now.height;
    out->base_height = now.base_height;
    if (code)
        return ui_fail_err(p->b->dir, &err);
    return goes_on ? EXIT_INCOMPLETE : EXIT_OK;
}

/* While the chain of the past is open: it knows why. */
static void tell_wrong(const struct past *p)
{
    struct chain_background_progress now;
    const struct header_chain *h = chainstate_headers(p->b->chain);
    char got[HASH_HEX_CAP], want[HASH_HEX_CAP];
    chain_background_progress(p->chain, &now);
    if (now.reject) {
        bitcoin_report_reject(p->b, header_hash(h, now.wrong_node),
                              header_height(h, now.wrong_node), now.reject);
        ui_fail("the snapshot is WRONG: this block led to it; 'shoal bitcoin reindex' begins "
                "without it");
        return;
    }
    ui_fail("the snapshot is WRONG: the coins at its block hash to %s, not %s; 'shoal bitcoin "
            "reindex' begins without it",
            hash256_hex_reversed(&now.coins_hash, got),
            hash256_hex_reversed(&p->b->snapshot.coins_hash, want));
}

/* Noted before the chain may go below the base. */
static int end_snapshot(struct bitcoin *b, const char *coins_path)
{
    struct err err = {0};
    b->snapshot.state = SNAPSHOT_VALIDATED;
    if (!snapshot_note_write(b->dir, &b->snapshot))
        return EXIT_FAIL;
    if (chainstate_trust_past(b->chain, &err))
        return ui_fail_err(b->dir, &err);
    return bitcoin_remove_dir(coins_path) ? bitcoin_advance(b) : EXIT_FAIL;
}

int bitcoin_check_past(struct bitcoin *b, struct past_check *out)
{
    struct past p = {.b = b};
    *out = (struct past_check){.state = CHAIN_BACKGROUND_VALIDATED};
    if (b->snapshot.state != SNAPSHOT_LOADED)
        return EXIT_OK;
    out->state = CHAIN_BACKGROUND_WALKING;
    if (!open_past(&p))
        return EXIT_FAIL;
    int code = walk(&p, out);
    if (out->state == CHAIN_BACKGROUND_WRONG) {
        tell_wrong(&p);
        b->snapshot.state = SNAPSHOT_WRONG;
        (void)snapshot_note_write(b->dir, &b->snapshot); /* it failed already */
        code = EXIT_FAIL;
    }
    if (!close_past(&p))
        code = EXIT_FAIL;
    return !code && out->state == CHAIN_BACKGROUND_VALIDATED ? end_snapshot(b, p.path) : code;
}

bool bitcoin_past_tip(struct bitcoin *b, struct coins_tip *out)
{
    struct past p = {.b = b};
    struct coins_rocksdb_config db = {.path = p.path};
    struct err err = {0};
    *out = (struct coins_tip){.is_empty = true};
    if (!bitcoin_path(b->dir, "coins-background", p.path))
        return false;
    if (access(p.path, F_OK) != 0)
        return true;
    enum err_code code = coins_rocksdb_open(&p.db, &b->mem, &db, &err);
    if (!code) {
        p.coins = coins_rocksdb_store(p.db);
        code = p.coins.tip(p.coins.ctx, out, &err);
        coins_rocksdb_close(p.db);
    }
    return !code || (ui_fail_err(p.path, &err), false);
}
