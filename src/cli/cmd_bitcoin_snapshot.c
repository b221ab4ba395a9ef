/* shoal bitcoin load-snapshot: begins with coins from a file instead of with the first block.
 *
 *   1  headers from files of blocks: the snapshot's block and its ancestors must be known
 *   2  the whole file is read and its hash_serialized_3 compared with the one expected
 *   3  the headers that lead to it go into the index
 *   4  the coins go into the store, in one change with their tip
 *
 * A process that ends between 3 and 4 leaves a chain that cannot go on; `snapshot.json` says so
 * (bitcoin_snapshot.h), and load-snapshot starts over. Later, as the ancestors' blocks are imported,
 * they are checked with a set of coins of their own (chain/chain_background.h), by the import or by
 * --validate: then nothing is taken on trust any more.
 */
#include "chain/block_tree.h"
#include "chain/coins_hash.h"
#include "chain/snapshot.h"
#include "cli/bitcoin.h"
#include "cli/cmd_bitcoin.h"
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
    if (chainstate_status(l->b->chain, l->node) & BLOCK_ANY_FAILED)
        return ui_fail("%s: block %s is invalid here, or builds on one that is", l->path, hex),
               false;
    /* After a load that did not end the coins may be all there; nothing believes them yet. */
    if (l->b->snapshot.state != SNAPSHOT_LOADING &&
        header_compare_work(chainstate_headers(l->b->chain), tip, l->node) >= 0)
        return ui_fail("the chain is already as far as the snapshot"), false;
    return true;
}

/* --- the index ------------------------------------------------------------------------------- */

/* The headers that lead to the base, for blocks that were not seen. */
static bool index_ancestors(struct loading *l)
{
    struct chainstate *c = l->b->chain;
    const struct header_chain *h = chainstate_headers(c);
    const struct chain_store *store = &l->b->store;
    struct err err = {0};
    enum err_code code = ERR_OK;
    for (uint32_t node = l->node; node != HEADER_NONE && !code; node = header_parent(h, node)) {
        struct block_record r = {.block = BLOCK_POS_NONE, .undo = BLOCK_POS_NONE};
        header_get(h, node, &r.header);
        if (!chainstate_n_txs(c, node))
            code = store->put_record(store->ctx, &r, &err);
    }
    if (!code)
        code = store->sync(store->ctx, &err);
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
    b->snapshot = (struct snapshot_note){.state = SNAPSHOT_LOADING,
                                         .base = tip.block,
                                         .coins_hash = l->want,
                                         .base_height = tip.height,
                                         .n_chain_txs = l->n_chain_tx};
    bool is_done = snapshot_note_write(b->dir, &b->snapshot) && index_ancestors(l) &&
                   bitcoin_drop_coins(b) && begin_reading(l, tip.height);
    if (is_done) {
        is_done = load_coins(l, &tip);
        snapshot_reader_clear(&l->reader);
    }
    b->snapshot.state = SNAPSHOT_LOADED;
    if (!is_done || !snapshot_note_write(b->dir, &b->snapshot))
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

static int tell_validated(const struct bitcoin *b)
{
    char hex[HASH_HEX_CAP];
    hash256_hex_reversed(&b->snapshot.coins_hash, hex);
    if (b->options->is_json)
        return bitcoin_print_json(json_pack("{s:b, s:s}", "validated", 1, "txoutset_hash", hex),
                                  false);
    printf("the snapshot is right: every block up to it was checked and the coins hash to %s\n",
           hex);
    return EXIT_OK;
}

static int run_validate(const struct bitcoin_options *o)
{
    struct bitcoin b;
    struct past_check past;
    int code;
    if (!bitcoin_start(&b, o, &code))
        return code;
    bitcoin_catch_signals();
    if (b.snapshot.state == SNAPSHOT_NONE)
        return bitcoin_close(&b, ui_fail("%s: no snapshot was loaded here", b.dir));
    if (b.snapshot.state == SNAPSHOT_LOADING)
        return bitcoin_close(&b, ui_fail("%s: the snapshot was not loaded to its end", b.dir));
    code = bitcoin_check_past(&b, &past);
    if (!code && past.state == CHAIN_BACKGROUND_VALIDATED)
        code = tell_validated(&b);
    else if (!code)
        code = (ui_fail("validated up to height %u of %u: the next block is not here", past.height,
                        past.base_height),
                EXIT_INCOMPLETE);
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
    common.use = BITCOIN_LOADS;
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
