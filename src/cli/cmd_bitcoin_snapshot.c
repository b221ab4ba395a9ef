/* shoal bitcoin load-snapshot: begins with coins from a file instead of with the first block.
 *
 *   1  headers from files of blocks: the snapshot's block and its ancestors must be known
 *   2  the whole file is read and its hash_serialized_3 compared with the one expected
 *   3  the ancestors go into the index as seen (their data is not here; what the base lacks in
 *      transactions of theirs is put on the base, so that totals are right)
 *   4  the coins go into the store, in one change with their tip
 *
 * A process that ends between 3 and 4 leaves a chain that cannot go on; `snapshot.json` says so,
 * and load-snapshot starts over. Later, with the ancestors' blocks imported, `--validate` walks
 * them from the first block with a set of coins of its own (coins-background/, kept between runs)
 * and compares hashes at the snapshot's block: then nothing is taken on trust any more.
 */
#include "chain/coins_hash.h"
#include "chain/snapshot.h"
#include "cli/bitcoin.h"
#include "cli/cmd_bitcoin.h"
#include "crypto/random.h"
#include "store/block_scan.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static const struct ui_option options[] = {
    BITCOIN_OPTIONS,
    {"hash", 0, "HASH", "hash_serialized_3 to believe instead of the network's own list"},
    {"validate", 0, NULL, "check what led to the snapshot that was loaded, from the first block"},
    {0},
};

enum { OPT_HASH = BITCOIN_OPT_OWN, OPT_VALIDATE };

struct loading {
    struct bitcoin *b;
    const char *path;
    int fd;
    struct snapshot_reader reader;
    struct hash256 want; /* of the coins */
    bool has_want;
    uint64_t n_chain_tx; /* 0: not known */
    uint32_t node;       /* the snapshot's block */
};

/* --- the note beside the chain --------------------------------------------------------------- */

static bool note_path(const struct bitcoin *b, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s/snapshot.json", b->dir);
    return (n > 0 && n < PATH_MAX) || (ui_fail("%s: the path is too long", b->dir), false);
}

static bool note_write(const struct bitcoin *b, json_t *o)
{
    char path[PATH_MAX], temp[PATH_MAX + 8];
    if (!note_path(b, path))
        return json_decref(o), false;
    snprintf(temp, sizeof temp, "%s.new", path);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool is_done = fd >= 0 && json_dumpfd(o, fd, JSON_INDENT(2)) == 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    json_decref(o);
    is_done = is_done && rename(temp, path) == 0;
    return is_done || (ui_fail("%s: %s", path, strerror(errno)), false);
}

static json_t *note_of(const struct loading *l, const char *state)
{
    const struct header_chain *h = chainstate_headers(l->b->chain);
    return json_pack("{s:s, s:I, s:o, s:o}", "state", state, "base_height",
                     (json_int_t)header_height(h, l->node), "base_hash",
                     bitcoin_json_hash(header_hash(h, l->node)), "txoutset_hash",
                     bitcoin_json_hash(&l->want));
}

/* --- reading the file ------------------------------------------------------------------------ */

static enum err_code read_source(void *ctx, uint8_t *out, size_t cap, size_t *out_len,
                                 struct err *err)
{
    struct loading *l = ctx;
    ssize_t n;
    *out_len = 0;
    if (bitcoin_is_interrupted)
        return err_set(err, ERR_CANCELLED, "interrupted");
    do
        n = read(l->fd, out, cap);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_set_at(err, ERR_IO, "cannot read", 0, (uint64_t)errno, 0);
    *out_len = (size_t)n;
    return ERR_OK;
}

/* From the beginning; false: reported. */
static bool begin_reading(struct loading *l, uint32_t height_max)
{
    struct err err = {0};
    struct snapshot_source source = {l, read_source};
    if (lseek(l->fd, 0, SEEK_SET) != 0)
        return ui_fail("%s: %s", l->path, strerror(errno)), false;
    if (!snapshot_reader_init(&l->reader, &l->b->mem, source, l->b->params.magic, height_max, &err))
        return true;
    return ui_fail_err(l->path, &err), false;
}

static bool hash_file(struct loading *l)
{
    struct coins_hash *h = mem_alloc(&l->b->mem, sizeof *h);
    struct coins_totals totals = {0};
    struct outpoint at;
    struct coin coin;
    struct err err = {0};
    bool has = true;
    if (!h)
        return ui_fail("no memory"), false;
    coins_hash_init(h, COINS_HASH_SERIALIZED);
    enum err_code code = ERR_OK;
    while (!code && has) {
        code = snapshot_read(&l->reader, &at, &coin, &has, &err);
        if (!code && has)
            coins_hash_add(h, &at, &coin);
        if (l->reader.n_left % 65536 == 0)
            ui_progress("checking the snapshot: %llu coins left",
                        (unsigned long long)l->reader.n_left);
    }
    if (!code && coins_hash_final(h, &totals))
        code = err_set(&err, ERR_NO_MEMORY, "no memory for the hash of the coins");
    mem_free(&l->b->mem, h);
    ui_progress_end();
    if (code)
        return ui_fail_err(l->path, &err), false;
    if (hash256_equal(&totals.serialized, &l->want))
        return true;
    char got[HASH_HEX_CAP], want[HASH_HEX_CAP];
    return ui_fail("%s: the coins hash to %s, not %s", l->path,
                   hash256_hex_reversed(&totals.serialized, got),
                   hash256_hex_reversed(&l->want, want)),
           false;
}

/* --- headers --------------------------------------------------------------------------------- */

/* Headers of the blocks in a file; those whose parent is not known yet are left for the next round.
 * Returns how many were new; -1: reported. */
static int64_t headers_of(struct bitcoin *b, const char *path)
{
    struct block_scan *s;
    struct bytes raw;
    struct err err = {0};
    uint64_t at, skipped;
    size_t before = header_chain_n(chainstate_headers(b->chain));
    enum err_code code = block_scan_open(&s, path, b->params.magic, &err);
    while (!code && !(code = block_scan_next(s, &raw, &at, &skipped, &err))) {
        struct block_header h;
        struct reject r;
        uint32_t node;
        struct reader in = reader_init(bytes_sub(raw, 0, BLOCK_HEADER_LEN));
        if (block_header_read(&in, &h))
            continue;
        if (chainstate_add_header(b->chain, &h, bitcoin_now_s(), &node, &r) == VERDICT_UNDECIDED) {
            err = r.err;
            code = err.code;
        }
    }
    block_scan_close(s);
    if (code != ERR_NOT_FOUND)
        return ui_fail_err(path, &err), -1;
    return (int64_t)(header_chain_n(chainstate_headers(b->chain)) - before);
}

static bool read_headers(struct bitcoin *b, char **paths, int n)
{
    int64_t n_new = 1;
    while (n_new > 0) {
        n_new = 0;
        for (int i = 0; i < n; i++) {
            int64_t found = headers_of(b, paths[i]);
            if (found < 0 || bitcoin_is_interrupted)
                return false;
            n_new += found;
        }
    }
    return true;
}

/* --- what the snapshot says it is ------------------------------------------------------------ */

static bool find_base(struct loading *l)
{
    const struct chain_params *p = &l->b->params;
    const struct hash256 *block = &l->reader.head.block;
    char hex[HASH_HEX_CAP];
    hash256_hex_reversed(block, hex);
    l->node = header_chain_find(chainstate_headers(l->b->chain), block);
    if (l->node == HEADER_NONE)
        return ui_fail(
                   "%s: it is of block %s, whose header is not known: name files with the blocks "
                   "up to there",
                   l->path, hex),
               false;
    for (uint32_t i = 0; i < p->n_assumeutxo && !l->has_want; i++)
        if (hash256_equal(&p->assumeutxo[i].block, block)) {
            l->want = p->assumeutxo[i].coins_hash;
            l->n_chain_tx = p->assumeutxo[i].n_chain_tx;
            l->has_want = true;
        }
    if (!l->has_want)
        return ui_fail("%s: no hash is known for the coins of block %s; --hash says which to "
                       "believe",
                       l->path, hex),
               false;
    uint32_t tip = chainstate_tip(l->b->chain);
    if (header_compare_work(chainstate_headers(l->b->chain), tip, l->node) >= 0)
        return ui_fail("the chain is already as far as the snapshot"), false;
    return true;
}

/* --- the index ------------------------------------------------------------------------------- */

static enum err_code put_seen(struct loading *l, uint32_t node, uint32_t n_txs, struct err *err)
{
    struct block_record r = {.n_txs = n_txs, .block = BLOCK_POS_NONE, .undo = BLOCK_POS_NONE};
    header_get(chainstate_headers(l->b->chain), node, &r.header);
    r.sequence = node + 1;
    return l->b->store.put_record(l->b->store.ctx, &r, err);
}

/* Ancestors that were never seen count one transaction each, the base the rest. */
static bool index_ancestors(struct loading *l)
{
    struct chainstate *c = l->b->chain;
    const struct header_chain *h = chainstate_headers(c);
    struct err err = {0};
    uint64_t n_txs = 0;
    enum err_code code = ERR_OK;
    for (uint32_t node = header_parent(h, l->node); node != HEADER_NONE && !code;
         node = header_parent(h, node)) {
        n_txs += chainstate_n_txs(c, node) ? chainstate_n_txs(c, node) : 1;
        if (!chainstate_n_txs(c, node))
            code = put_seen(l, node, 1, &err);
    }
    uint64_t rest = l->n_chain_tx > n_txs ? l->n_chain_tx - n_txs : 1;
    if (!code && !chainstate_n_txs(c, l->node))
        code = put_seen(l, l->node, rest > UINT32_MAX ? UINT32_MAX : (uint32_t)rest, &err);
    if (!code)
        code = l->b->store.sync(l->b->store.ctx, &err);
    return !code || (ui_fail_err(l->b->dir, &err), false);
}

/* --- the coins ------------------------------------------------------------------------------- */

static bool load_coins(struct loading *l, const struct coins_tip *tip)
{
    struct err err = {0};
    ui_progress("loading %llu coins", (unsigned long long)l->reader.n_left);
    enum err_code code = snapshot_load(&l->reader, &l->b->coins, tip, &err);
    ui_progress_end();
    return !code || (ui_fail_err(l->path, &err), false);
}

/* The chain closed, its coins thrown away, the snapshot's in their place. */
static bool replace_coins(struct loading *l)
{
    struct bitcoin *b = l->b;
    const struct header_chain *h = chainstate_headers(b->chain);
    struct coins_tip tip = {*header_hash(h, l->node), header_height(h, l->node), false};
    uint64_t n_coins = l->reader.head.n_coins;
    char hex[HASH_HEX_CAP];
    json_t *loading = note_of(l, "loading"), *loaded = note_of(l, "loaded");
    bool is_done = note_write(b, loading) && index_ancestors(l) && bitcoin_drop_coins(b) &&
                   begin_reading(l, tip.height);
    if (is_done) {
        is_done = load_coins(l, &tip);
        snapshot_reader_clear(&l->reader);
    }
    if (!is_done)
        return json_decref(loaded), false;
    if (!note_write(b, loaded))
        return false;
    if (b->options->is_json)
        bitcoin_print_json(json_pack("{s:I, s:o, s:I, s:s}", "coins_loaded", (json_int_t)n_coins,
                                     "tip_hash", bitcoin_json_hash(&tip.block), "base_height",
                                     (json_int_t)tip.height, "path", l->path),
                           false);
    else
        printf("%llu coins of block %s, height %u; what led to them is not validated yet\n",
               (unsigned long long)n_coins, hash256_hex_reversed(&tip.block, hex), tip.height);
    return true;
}

static bool load(struct loading *l, char **blocks, int n_blocks)
{
    if (!read_headers(l->b, blocks, n_blocks) || !begin_reading(l, UINT32_MAX))
        return false;
    bool is_fine = find_base(l);
    snapshot_reader_clear(&l->reader);
    if (!is_fine || !begin_reading(l, header_height(chainstate_headers(l->b->chain), l->node)))
        return false;
    is_fine = hash_file(l);
    snapshot_reader_clear(&l->reader);
    return is_fine && replace_coins(l);
}

static int run_load(const struct bitcoin_options *o, const char *hash, char **rest, int n)
{
    struct bitcoin b;
    struct loading *l;
    int code;
    if (!bitcoin_start(&b, o, &code))
        return code;
    bitcoin_catch_signals();
    l = calloc(1, sizeof *l); /* with its buffers: large */
    if (!l)
        return bitcoin_close(&b, ui_fail("no memory"));
    *l = (struct loading){.b = &b, .path = rest[0], .has_want = hash != NULL};
    l->fd = open(rest[0], O_RDONLY | O_CLOEXEC | O_NOCTTY);
    code = EXIT_FAIL;
    if (l->fd < 0)
        ui_fail("%s: %s", rest[0], strerror(errno));
    else if (hash && !hash256_of_hex_reversed(hash, &l->want))
        code = ui_usage(o->command, "--hash is 64 hex digits");
    else if (load(l, rest + 1, n - 1))
        code = EXIT_OK;
    else if (bitcoin_is_interrupted)
        code = EXIT_INCOMPLETE;
    if (l->fd >= 0)
        close(l->fd);
    free(l);
    return bitcoin_close(&b, code);
}

/* --- validating what led to it --------------------------------------------------------------- */

/* A chain_store that shows the blocks of the main one, up to the base, as not yet judged, and keeps
 * nothing. */
struct behind {
    struct bitcoin *b;
    struct chain_store main;
    struct hash256 base;
    bool is_past_base;
    bool (*each)(void *each_ctx, const struct block_record *r);
    void *each_ctx;
    struct hash256 *ancestors; /* of the base, by height */
    uint32_t n;
};

static enum err_code behind_put_block(void *ctx, struct bytes raw, uint32_t height,
                                      struct block_pos *out, struct err *err)
{
    (void)ctx;
    (void)raw;
    (void)height;
    *out = BLOCK_POS_NONE;
    return err_set(err, ERR_PROTOCOL, "validation of the past stores no blocks");
}

static enum err_code behind_put_undo(void *ctx, uint32_t file, struct bytes undo,
                                     const struct hash256 *prev, struct block_pos *out,
                                     struct err *err)
{
    (void)ctx;
    (void)undo;
    (void)prev;
    (void)err;
    *out = (struct block_pos){file, 8, 0};
    return ERR_OK;
}

static enum err_code behind_read_block(void *ctx, struct block_pos at, struct buf *out,
                                       struct err *err)
{
    struct behind *v = ctx;
    return v->main.read_block(v->main.ctx, at, out, err);
}

static enum err_code behind_read_undo(void *ctx, struct block_pos at, const struct hash256 *prev,
                                      struct buf *out, struct err *err)
{
    (void)ctx;
    (void)at;
    (void)prev;
    (void)out;
    return err_set(err, ERR_NOT_FOUND, "validation of the past keeps no undo data");
}

static enum err_code behind_put_record(void *ctx, const struct block_record *r, struct err *err)
{
    (void)ctx;
    (void)r;
    (void)err;
    return ERR_OK;
}

static enum err_code behind_sync(void *ctx, struct err *err)
{
    (void)ctx;
    (void)err;
    return ERR_OK;
}

/* Only the line from genesis to the base. Its heights are counted while it is handed out: parents
 * come first. */
static bool behind_each(void *ctx, const struct block_record *r)
{
    struct behind *v = ctx;
    struct block_record known = *r;
    struct hash256 hash;
    block_header_hash(&r->header, &hash);
    bool is_next = v->n > 0 && hash256_equal(&hash, &v->ancestors[v->n - 1]);
    if (!is_next)
        return true;
    v->n--;
    known.status &= BLOCK_HAS_DATA;
    known.undo = BLOCK_POS_NONE;
    if (!(known.status & BLOCK_HAS_DATA))
        known.n_txs = 0; /* not seen: validation goes up to here */
    return v->each(v->each_ctx, &known);
}

static enum err_code behind_load(void *ctx,
                                 bool (*each)(void *each_ctx, const struct block_record *r),
                                 void *each_ctx, struct err *err)
{
    struct behind *v = ctx;
    v->each = each;
    v->each_ctx = each_ctx;
    return v->main.load(v->main.ctx, behind_each, v, err);
}

static enum err_code behind_prune(void *ctx, uint32_t below_height, uint64_t target_len,
                                  uint32_t *out_first_kept, uint32_t *out_n_removed,
                                  struct err *err)
{
    (void)ctx;
    (void)below_height;
    (void)target_len;
    (void)err;
    *out_first_kept = *out_n_removed = 0;
    return ERR_OK;
}

/* The line from the base (last) down to genesis (first taken): filled from the main chain, which
 * is then closed. */
static bool find_line(struct behind *v, uint32_t node)
{
    const struct header_chain *h = chainstate_headers(v->b->chain);
    v->n = 0;
    v->ancestors =
        mem_alloc(&v->b->mem, ((size_t)header_height(h, node) + 1) * sizeof *v->ancestors);
    if (!v->ancestors)
        return ui_fail("no memory"), false;
    for (; node != HEADER_NONE; node = header_parent(h, node))
        v->ancestors[v->n++] = *header_hash(h, node);
    return true;
}

static bool read_note(struct bitcoin *b, struct hash256 *out_base, struct hash256 *out_coins)
{
    char path[PATH_MAX];
    json_error_t error;
    const char *state, *base, *coins;
    if (!note_path(b, path))
        return false;
    json_t *o = json_load_file(path, 0, &error);
    bool is_read = o &&
                   json_unpack(o, "{s:s, s:s, s:s}", "state", &state, "base_hash", &base,
                               "txoutset_hash", &coins) == 0 &&
                   hash256_of_hex_reversed(base, out_base) &&
                   hash256_of_hex_reversed(coins, out_coins);
    bool is_loaded = is_read && strcmp(state, "loading") != 0;
    json_decref(o);
    if (!is_read)
        return ui_fail("%s: no snapshot was loaded here", b->dir), false;
    return is_loaded || (ui_fail("%s: the snapshot was not loaded to its end", b->dir), false);
}

static int compare_at_base(struct loading *l, const struct coins_store *coins)
{
    struct coins_totals totals;
    struct err err = {0};
    char got[HASH_HEX_CAP], want[HASH_HEX_CAP];
    if (coins_hash_store(coins, COINS_HASH_SERIALIZED, &l->b->mem, &totals, &err))
        return ui_fail_err(l->b->dir, &err);
    hash256_hex_reversed(&totals.serialized, got);
    if (!hash256_equal(&totals.serialized, &l->want))
        return ui_fail("the snapshot is WRONG: the coins at its block hash to %s, not %s; 'shoal "
                       "bitcoin reindex' begins without it",
                       got, hash256_hex_reversed(&l->want, want));
    if (l->b->options->is_json)
        return bitcoin_print_json(json_pack("{s:b, s:s}", "validated", 1, "txoutset_hash", got),
                                  false);
    printf("the snapshot is right: every block up to it was checked and the coins hash to %s\n",
           got);
    return EXIT_OK;
}

/* With blocks, coins and pool of b, the chain itself closed. */
static int walk_behind(struct loading *l, struct behind *v, const struct hash256 *base)
{
    struct bitcoin *b = l->b;
    char path[PATH_MAX];
    struct err err = {0};
    struct coins_rocksdb *db = NULL;
    uint32_t height = v->n - 1;
    struct chain_store store = {v,
                                behind_put_block,
                                behind_put_undo,
                                behind_read_block,
                                behind_read_undo,
                                behind_put_record,
                                behind_load,
                                behind_sync,
                                behind_prune};
    snprintf(path, sizeof path, "%.4000s/coins-background", b->dir);
    if (coins_rocksdb_open(&db, &b->mem, &(struct coins_rocksdb_config){.path = path}, &err))
        return ui_fail_err(path, &err);
    struct coins_store coins = coins_rocksdb_store(db);
    struct chainstate_config c = {.params = &b->params,
                                  .mem = &b->mem,
                                  .rng_seed = random_u64(),
                                  .blocks = &store,
                                  .coins = &coins,
                                  .runner = chain_pool_runner(b->pool),
                                  .coins_cap_len = (size_t)b->options->coins_cache_len};
    int code = EXIT_FAIL;
    if (chainstate_open(&b->chain, &c, &err)) {
        b->chain = NULL;
        ui_fail_err(path, &err);
    } else {
        code = bitcoin_advance(b);
        const struct header_chain *h = chainstate_headers(b->chain);
        uint32_t tip = chainstate_tip(b->chain);
        bool is_there = hash256_equal(header_hash(h, tip), base);
        uint32_t reached = header_height(h, tip);
        if (chainstate_close(b->chain, &err))
            code = ui_fail_err(path, &err);
        b->chain = NULL;
        if (!code && !is_there)
            code = ui_fail("validated up to height %u of %u: the next block is not here, or not "
                           "valid",
                           reached, height),
            code = EXIT_INCOMPLETE;
        else if (!code)
            code = compare_at_base(l, &coins);
    }
    coins_rocksdb_close(db);
    if (code == EXIT_OK)
        bitcoin_remove_dir(path);
    return code;
}

static int run_validate(const struct bitcoin_options *o)
{
    struct bitcoin b;
    struct hash256 base;
    struct err err = {0};
    int code;
    if (!bitcoin_start(&b, o, &code))
        return code;
    bitcoin_catch_signals();
    struct loading l = {.b = &b};
    struct behind v = {.b = &b, .main = b.store};
    code = EXIT_FAIL;
    if (read_note(&b, &base, &l.want)) {
        l.node = header_chain_find(chainstate_headers(b.chain), &base);
        json_t *validated = l.node == HEADER_NONE ? NULL : note_of(&l, "validated");
        if (l.node == HEADER_NONE) {
            ui_fail("%s: the snapshot's block is not in the index", b.dir);
        } else if (find_line(&v, l.node)) {
            bool is_closed = !chainstate_close(b.chain, &err);
            b.chain = NULL;
            code = is_closed ? walk_behind(&l, &v, &base) : ui_fail_err(b.dir, &err);
        }
        if (code == EXIT_OK && !note_write(&b, json_incref(validated)))
            code = EXIT_FAIL;
        json_decref(validated);
    }
    mem_free(&b.mem, v.ancestors);
    return bitcoin_close(&b, code);
}

int cmd_bitcoin_load_snapshot(int argc, char **argv)
{
    struct bitcoin_options common;
    struct ui_options o;
    const char *hash = NULL;
    bool is_validation = false;
    int which, n;
    bitcoin_options_init(&common, argv[0]);
    ui_options_init(
        &o, "[OPTION...] FILE [BLOCKFILE...]\n       shoal bitcoin load-snapshot --validate",
        "Begin with the coins in FILE (Bitcoin Core's dumptxoutset) instead of with the\n"
        "first block. Headers up to its block come from the files of blocks named. Import\n"
        "goes on from there; --validate checks, once the earlier blocks are imported, that\n"
        "they lead to these coins.",
        options, argc, argv);
    while ((which = ui_options_next(&o)) != UI_OPTION_END) {
        if (which == OPT_HASH)
            hash = o.value;
        else if (which == OPT_VALIDATE)
            is_validation = true;
        else if (which == UI_OPTION_BAD || !bitcoin_options_read(&common, &o, which))
            return EXIT_USAGE;
    }
    char **rest = ui_options_rest(&o, &n);
    if (is_validation ? n != 0 : n < 1)
        return ui_usage(argv[0], "bitcoin load-snapshot: FILE is needed, or --validate alone");
    return is_validation ? run_validate(&common) : run_load(&common, hash, rest, n);
}
