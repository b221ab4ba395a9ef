/* shoal bitcoin info, block, tx, forks, confirmations: looking at a chain. */
#include "chain/address.h"
#include "chain/block_tree.h"
#include "chain/reorg_odds.h"
#include "chain/script.h"
#include "cli/bitcoin.h"
#include "cli/bitcoin_json.h"
#include "cli/cmd_bitcoin.h"
#include <inttypes.h>

#define UNDO_RAW_MAX ((size_t)1 << 29)

/* --- info ------------------------------------------------------------------------------------ */

#define IBD_AGE_S (24 * 3600) /* as Bitcoin Core: a tip older than a day is still catching up */

static bool is_catching_up(const struct bitcoin *b, uint32_t tip)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    struct u256 work = header_work(h, tip);
    return u256_compare(&work, &b->params.min_chain_work) < 0 ||
           (int64_t)header_time(h, tip) < bitcoin_now_s() - IBD_AGE_S;
}

/* First block from which on all data is there; 0 when nothing was pruned. */
static uint32_t prune_height(const struct bitcoin *b, uint32_t tip)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    uint32_t node = tip;
    while (header_parent(h, node) != HEADER_NONE &&
           (chainstate_status(b->chain, header_parent(h, node)) & BLOCK_HAS_DATA))
        node = header_parent(h, node);
    uint32_t base = chainstate_base(b->chain);
    if (base != HEADER_NONE && header_height(h, node) <= header_height(h, base) + 1)
        return 0; /* below a snapshot: not come yet */
    return header_height(h, node) <= 1 ? 0 : header_height(h, node);
}

static json_t *json_hex_u256(const struct u256 *v)
{
    char hex[65];
    return json_string(u256_hex(v, hex));
}

static json_t *json_bits(uint32_t bits)
{
    char hex[16];
    snprintf(hex, sizeof hex, "%08x", bits);
    return json_string(hex);
}

/* A chainstate as getchainstates shows it. */
static json_t *chainstate_json(const struct bitcoin *b, uint32_t tip, bool is_validated)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    return json_pack("{s:I, s:o, s:o, s:f, s:f, s:b}", "blocks", (json_int_t)header_height(h, tip),
                     "bestblockhash", bitcoin_json_hash(header_hash(h, tip)), "bits",
                     json_bits(header_bits(h, tip)), "difficulty",
                     bitcoin_difficulty(header_bits(h, tip)), "verificationprogress",
                     bitcoin_progress(b, tip), "validated", is_validated);
}

/* The one that validates a snapshot's past first, the active one last. */
static json_t *chainstates_json(struct bitcoin *b)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    bool has_snapshot = chainstate_base(b->chain) != HEADER_NONE;
    json_t *list = json_array();
    struct coins_tip past;
    if (b->snapshot.state == SNAPSHOT_LOADED && bitcoin_past_tip(b, &past)) {
        uint32_t node = past.is_empty ? 0 : header_chain_find(h, &past.block);
        if (node != HEADER_NONE)
            json_array_append_new(list, chainstate_json(b, node, true));
    }
    json_t *active = chainstate_json(b, chainstate_tip(b->chain), !has_snapshot);
    if (has_snapshot)
        json_object_set_new(active, "snapshot_blockhash", bitcoin_json_hash(&b->snapshot.base));
    json_array_append_new(list, active);
    return list;
}

static void print_snapshot(struct bitcoin *b)
{
    struct coins_tip past;
    if (b->snapshot.state == SNAPSHOT_WRONG)
        printf("snapshot        WRONG, of height %u: reindex begins without it\n",
               b->snapshot.base_height);
    else if (b->snapshot.state == SNAPSHOT_LOADED && bitcoin_past_tip(b, &past))
        printf("snapshot        of height %u; what led to it is validated up to %u\n",
               b->snapshot.base_height, past.is_empty ? 0 : past.height);
}

static json_t *info_json(struct bitcoin *b, const struct chain_files_stats *files)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    uint32_t tip = chainstate_tip(b->chain), first = prune_height(b, tip);
    struct u256 work = header_work(h, tip);
    struct u256 target = u256_of_compact(header_bits(h, tip), NULL, NULL);
    json_t *o = json_pack(
        "{s:s, s:I, s:I, s:o, s:o, s:o, s:f, s:I, s:I, s:f, s:b, s:o, s:I, s:b}", "chain",
        b->params.name, "blocks", (json_int_t)header_height(h, tip), "headers",
        (json_int_t)header_height(h, header_chain_best(h)), "bestblockhash",
        bitcoin_json_hash(header_hash(h, tip)), "bits", json_bits(header_bits(h, tip)), "target",
        json_hex_u256(&target), "difficulty", bitcoin_difficulty(header_bits(h, tip)), "time",
        (json_int_t)header_time(h, tip), "mediantime", (json_int_t)header_median_time(h, tip),
        "verificationprogress", bitcoin_progress(b, tip), "initialblockdownload",
        is_catching_up(b, tip), "chainwork", json_hex_u256(&work), "size_on_disk",
        (json_int_t)files->len, "pruned", first > 0);
    if (first)
        json_object_set_new(o, "pruneheight", bitcoin_json_u64(first));
    if (b->params.is_signet)
        json_object_set_new(o, "signet_challenge", bitcoin_json_hex(b->params.signet_challenge));
    json_object_set_new(o, "chainstates", chainstates_json(b));
    json_t *warnings = json_array();
    if (b->snapshot.state == SNAPSHOT_WRONG)
        json_array_append_new(warnings, json_string("the snapshot that this chain began with is "
                                                    "wrong: reindex begins without it"));
    json_object_set_new(o, "warnings", warnings);
    return o;
}

static void print_info(struct bitcoin *b, const struct chain_files_stats *files)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    uint32_t tip = chainstate_tip(b->chain), best = header_chain_best(h);
    uint32_t first = prune_height(b, tip);
    struct u256 work = header_work(h, tip);
    char hex[HASH_HEX_CAP], date[UI_NUMBER_CAP], size[UI_NUMBER_CAP];
    printf("network         %s\n", b->params.name);
    printf("height          %u", header_height(h, tip));
    if (header_height(h, best) > header_height(h, tip))
        printf(" of %u", header_height(h, best));
    printf("\ntip             %s\n", hash256_hex_reversed(header_hash(h, tip), hex));
    printf("time            %s\n", ui_date(header_time(h, tip), date));
    printf("difficulty      %.16g\n", bitcoin_difficulty(header_bits(h, tip)));
    printf("work            %s\n", u256_hex(&work, hex));
    printf("transactions    %" PRIu64 "\n", chainstate_n_chain_txs(b->chain, tip));
    printf("blocks on disk  %s in files %u to %u\n", ui_size(files->len, size), files->first_file,
           files->last_file);
    if (first)
        printf("pruned          blocks below %u are gone\n", first);
    print_snapshot(b);
}

int cmd_bitcoin_info(int argc, char **argv)
{
    struct bitcoin_options options;
    struct bitcoin b;
    struct chain_files_stats files;
    int n, code;
    if (!bitcoin_options_plain(&options, "[OPTION...]", "Where the chain stands.", argc, argv, &n,
                               &code))
        return code;
    if (n != 0)
        return ui_usage(argv[0], "bitcoin info: there is nothing to name");
    options.use = BITCOIN_LOOKS;
    if (!bitcoin_start(&b, &options, &code))
        return code;
    chain_files_stats(b.files, &files);
    if (options.is_json)
        bitcoin_print_json(info_json(&b, &files), false);
    else
        print_info(&b, &files);
    return bitcoin_close(&b, EXIT_OK);
}

/* --- a block, read --------------------------------------------------------------------------- */

struct shown {
    struct bitcoin *b;
    uint32_t node;
    struct arena arena;
    struct buf raw, undo_raw;
    struct block block;
    struct undo_block undo;
    bool has_undo;
};

static void shown_clear(struct shown *s)
{
    buf_clear(&s->raw);
    buf_clear(&s->undo_raw);
    arena_clear(&s->arena);
}

static void shown_init(struct shown *s, struct bitcoin *b)
{
    *s = (struct shown){.b = b};
    arena_init(&s->arena, &b->mem, (size_t)1 << 30);
    buf_init(&s->raw, &b->mem, BLOCK_LEN_MAX);
    buf_init(&s->undo_raw, &b->mem, UNDO_RAW_MAX);
}

/* False: reported. */
static bool shown_read(struct shown *s, uint32_t node)
{
    struct chainstate *c = s->b->chain;
    char hex[HASH_HEX_CAP];
    struct err err = {0};
    s->node = node;
    s->has_undo = false;
    arena_reset(&s->arena);
    hash256_hex_reversed(header_hash(chainstate_headers(c), node), hex);
    if (!(chainstate_status(c, node) & BLOCK_HAS_DATA))
        return ui_fail("block %s: only its header is known, or it was pruned", hex), false;
    if (chainstate_read_block(c, node, &s->raw, &err) ||
        block_read(buf_bytes(&s->raw), &s->arena, &s->block, &err))
        return ui_fail_err(hex, &err), false;
    if ((chainstate_status(c, node) & BLOCK_HAS_UNDO) &&
        header_parent(chainstate_headers(c), node) != HEADER_NONE) {
        if (chainstate_read_undo(c, node, &s->arena, &s->undo_raw, &s->undo, &err))
            return ui_fail_err(hex, &err), false;
        s->has_undo = s->undo.n_txs + 1 == s->block.n_txs;
    }
    return true;
}

static const struct undo_tx *undo_of(const struct shown *s, uint32_t tx)
{
    return s->has_undo && tx > 0 ? &s->undo.txs[tx - 1] : NULL;
}

/* For a tenth and three tenths of the work. */
static json_t *json_odds(int64_t confirmations)
{
    uint32_t depth = confirmations > 0 ? (uint32_t)confirmations : 0;
    if (depth == 0)
        return json_null();
    return json_pack("{s:f, s:f}", "10%", reorg_odds_exact(depth, 0.1), "30%",
                     reorg_odds_exact(depth, 0.3));
}

/* --- block ----------------------------------------------------------------------------------- */

static json_t *block_json(const struct shown *s)
{
    const struct header_chain *h = chainstate_headers(s->b->chain);
    const struct block_header *bh = &s->block.header;
    struct u256 work = header_work(h, s->node), target = u256_of_compact(bh->bits, NULL, NULL);
    uint32_t parent = header_parent(h, s->node), tip = chainstate_tip(s->b->chain);
    int64_t confirmations = bitcoin_confirmations(s->b, s->node);
    char version[16];
    json_t *txs = json_array();
    snprintf(version, sizeof version, "%08x", (uint32_t)bh->version);
    for (uint32_t i = 0; i < s->block.n_txs; i++)
        json_array_append_new(txs, bitcoin_json_tx(&s->b->params, &s->block.txs[i], undo_of(s, i)));
    json_t *o = json_pack(
        "{s:o, s:I, s:I, s:I, s:s, s:o, s:I, s:I, s:I, s:o, s:o, s:f, s:o, s:I}", "hash",
        bitcoin_json_hash(&s->block.hash), "confirmations", (json_int_t)confirmations, "height",
        (json_int_t)header_height(h, s->node), "version", (json_int_t)bh->version, "versionHex",
        version, "merkleroot", bitcoin_json_hash(&bh->merkle_root), "time", (json_int_t)bh->time,
        "mediantime", (json_int_t)header_median_time(h, s->node), "nonce", (json_int_t)bh->nonce,
        "bits", json_bits(bh->bits), "target", json_hex_u256(&target), "difficulty",
        bitcoin_difficulty(bh->bits), "chainwork", json_hex_u256(&work), "nTx",
        (json_int_t)s->block.n_txs);
    if (parent != HEADER_NONE)
        json_object_set_new(o, "previousblockhash", bitcoin_json_hash(header_hash(h, parent)));
    if (confirmations > 1)
        json_object_set_new(o, "nextblockhash",
                            bitcoin_json_hash(header_hash(
                                h, header_ancestor(h, tip, header_height(h, s->node) + 1))));
    json_object_set_new(o, "strippedsize", bitcoin_json_u64(s->block.stripped_len));
    json_object_set_new(o, "size", bitcoin_json_u64(s->block.raw.len));
    json_object_set_new(o, "weight", bitcoin_json_u64(block_weight(&s->block)));
    json_object_set_new(o, "coinbase_tx", bitcoin_json_coinbase(&s->block.txs[0]));
    json_object_set_new(o, "tx", txs);
    json_object_set_new(o, "reorg_odds", json_odds(confirmations));
    return o;
}

static void print_confirmations(const struct bitcoin *b, uint32_t node)
{
    char odds[ODDS_CAP];
    int64_t n = bitcoin_confirmations(b, node);
    if (n < 0)
        printf("confirmations  none: not on the best chain\n");
    else
        printf("confirmations  %lld: %s\n", (long long)n, bitcoin_odds(n, odds));
}

static void print_block(const struct shown *s)
{
    const struct header_chain *h = chainstate_headers(s->b->chain);
    char hex[HASH_HEX_CAP], date[UI_NUMBER_CAP], btc[BTC_CAP];
    uint32_t parent = header_parent(h, s->node);
    printf("block          %s\n", hash256_hex_reversed(&s->block.hash, hex));
    printf("height         %u\n", header_height(h, s->node));
    print_confirmations(s->b, s->node);
    if (parent != HEADER_NONE)
        printf("parent         %s\n", hash256_hex_reversed(header_hash(h, parent), hex));
    printf("time           %s\n", ui_date(s->block.header.time, date));
    printf("difficulty     %.16g\n", bitcoin_difficulty(s->block.header.bits));
    printf("size           %zu bytes, weight %zu\n", s->block.raw.len, block_weight(&s->block));
    printf("transactions   %u\n", s->block.n_txs);
    for (uint32_t i = 0; i < s->block.n_txs; i++) {
        const struct tx *t = &s->block.txs[i];
        int64_t fee = bitcoin_tx_fee(t, undo_of(s, i)), out = 0;
        for (uint32_t k = 0; k < t->n_out; k++)
            out += t->out[k].value_sat;
        printf("  %s  %u in, %u out, %s BTC", hash256_hex_reversed(&t->txid, hex), t->n_in,
               t->n_out, bitcoin_btc(out, btc));
        if (fee >= 0)
            printf(", fee %s", bitcoin_btc(fee, btc));
        putchar('\n');
    }
}

int cmd_bitcoin_block(int argc, char **argv)
{
    struct bitcoin_options options;
    struct bitcoin b;
    struct shown s;
    int n, code;
    char **rest = bitcoin_options_plain(&options, "[OPTION...] HASH|HEIGHT",
                                        "What is in a block; --json as getblock with verbosity 3.",
                                        argc, argv, &n, &code);
    if (!rest)
        return code;
    if (n != 1)
        return ui_usage(argv[0], "bitcoin block: name one block by its hash or height");
    options.use = BITCOIN_LOOKS;
    if (!bitcoin_start(&b, &options, &code))
        return code;
    uint32_t node = bitcoin_find_block(&b, rest[0]);
    shown_init(&s, &b);
    code = node != HEADER_NONE && shown_read(&s, node) ? EXIT_OK : EXIT_FAIL;
    if (!code && options.is_json)
        bitcoin_print_json(block_json(&s), false);
    else if (!code)
        print_block(&s);
    shown_clear(&s);
    return bitcoin_close(&b, code);
}

/* --- tx -------------------------------------------------------------------------------------- */

static const struct ui_option tx_options[] = {
    BITCOIN_OPTIONS,
    {"block", 'b', "HASH|HEIGHT", "the block it is in; else all are searched from the tip back"},
    {0},
};

enum { OPT_BLOCK = BITCOIN_OPT_OWN };

static const struct tx *find_tx(const struct shown *s, const struct hash256 *txid,
                                uint32_t *out_index)
{
    for (uint32_t i = 0; i < s->block.n_txs; i++)
        if (hash256_equal(&s->block.txs[i].txid, txid)) {
            *out_index = i;
            return &s->block.txs[i];
        }
    return NULL;
}

/* Down the chain until it is found; NULL: reported. */
static const struct tx *search_tx(struct shown *s, const char *name, const struct hash256 *txid,
                                  uint32_t *out_index)
{
    const struct header_chain *h = chainstate_headers(s->b->chain);
    for (uint32_t node = chainstate_tip(s->b->chain); node != HEADER_NONE;
         node = header_parent(h, node)) {
        if (bitcoin_is_interrupted)
            return ui_fail("%s: interrupted", name), NULL;
        if (!(chainstate_status(s->b->chain, node) & BLOCK_HAS_DATA))
            continue;
        ui_progress("searching: height %u", header_height(h, node));
        if (!shown_read(s, node))
            return NULL;
        const struct tx *t = find_tx(s, txid, out_index);
        if (t) {
            ui_progress_end();
            return t;
        }
    }
    return ui_fail("%s: not in any block of the chain that is on disk", name), NULL;
}

static void print_output(const struct chain_params *p, const struct tx_out *o, uint32_t n)
{
    char btc[BTC_CAP], address[ADDRESS_CAP];
    printf("out %5u  %s BTC  %s", n, bitcoin_btc(o->value_sat, btc), script_type_name(o->script));
    if (address_write(p, o->script, address))
        printf("  %s", address);
    putchar('\n');
}

static void print_tx(const struct shown *s, const struct tx *t, uint32_t index)
{
    const struct undo_tx *undo = undo_of(s, index);
    char hex[HASH_HEX_CAP], btc[BTC_CAP];
    int64_t fee = bitcoin_tx_fee(t, undo);
    printf("transaction    %s\n", hash256_hex_reversed(&t->txid, hex));
    printf("with witness   %s\n", hash256_hex_reversed(&t->wtxid, hex));
    printf("block          %s, height %u, transaction %u\n",
           hash256_hex_reversed(&s->block.hash, hex),
           header_height(chainstate_headers(s->b->chain), s->node), index);
    print_confirmations(s->b, s->node);
    printf("size           %zu bytes, %zu virtual; version %" PRIu32 ", lock time %" PRIu32 "\n",
           t->raw.len, tx_vsize(t), t->version, t->lock_time);
    if (fee >= 0)
        printf("fee            %s BTC, %.1f sat/vB\n", bitcoin_btc(fee, btc),
               (double)fee / (double)tx_vsize(t));
    for (uint32_t i = 0; i < t->n_in; i++) {
        if (tx_is_coinbase(t)) {
            printf("in  %5u  newly made\n", i);
            continue;
        }
        printf("in  %5u  %s:%" PRIu32, i, hash256_hex_reversed(&t->in[i].prev.txid, hex),
               t->in[i].prev.n);
        if (undo && i < undo->n_spent)
            printf("  %s BTC", bitcoin_btc(undo->spent[i].value_sat, btc));
        putchar('\n');
    }
    for (uint32_t i = 0; i < t->n_out; i++)
        print_output(&s->b->params, &t->out[i], i);
}

/* As getrawtransaction: times only in a block of the best chain, "in_active_chain" where the block
 * was named. */
static json_t *tx_json(const struct shown *s, const struct tx *t, uint32_t index, bool is_named)
{
    json_t *o = bitcoin_json_tx(&s->b->params, t, undo_of(s, index));
    int64_t n = bitcoin_confirmations(s->b, s->node);
    json_object_set_new(o, "blockhash", bitcoin_json_hash(&s->block.hash));
    json_object_set_new(o, "confirmations", json_integer((json_int_t)(n < 0 ? 0 : n)));
    if (n >= 0) {
        json_object_set_new(o, "time", bitcoin_json_u64(s->block.header.time));
        json_object_set_new(o, "blocktime", bitcoin_json_u64(s->block.header.time));
    }
    if (is_named)
        json_object_set_new(o, "in_active_chain", json_boolean(n >= 0));
    json_object_set_new(o, "reorg_odds", json_odds(n));
    return o;
}

static int show_tx(struct bitcoin *b, const char *name, const char *block)
{
    struct shown s;
    struct hash256 txid;
    uint32_t index = 0;
    const struct tx *t = NULL;
    if (!hash256_of_hex_reversed(name, &txid))
        return ui_usage(b->options->command, "'%s' is no transaction's hash", name);
    shown_init(&s, b);
    if (!block) {
        t = search_tx(&s, name, &txid, &index);
    } else {
        uint32_t node = bitcoin_find_block(b, block);
        if (node != HEADER_NONE && shown_read(&s, node)) {
            t = find_tx(&s, &txid, &index);
            if (!t)
                ui_fail("%s: not in block %s", name, block);
        }
    }
    if (t && b->options->is_json)
        bitcoin_print_json(tx_json(&s, t, index, block != NULL), false);
    else if (t)
        print_tx(&s, t, index);
    shown_clear(&s);
    return t ? EXIT_OK : EXIT_FAIL;
}

int cmd_bitcoin_tx(int argc, char **argv)
{
    struct bitcoin_options options;
    struct bitcoin b;
    struct ui_options o;
    const char *block = NULL;
    int which, n, code;
    bitcoin_options_init(&options, argv[0]);
    ui_options_init(&o, "[OPTION...] TXID",
                    "What is in a transaction of the chain; --json as getrawtransaction. Without\n"
                    "--block the blocks on disk are searched from the tip back.",
                    tx_options, argc, argv);
    while ((which = ui_options_next(&o)) != UI_OPTION_END) {
        if (which == OPT_BLOCK)
            block = o.value;
        else if (which == UI_OPTION_BAD || !bitcoin_options_read(&options, &o, which))
            return EXIT_USAGE;
    }
    char **rest = ui_options_rest(&o, &n);
    if (n != 1)
        return ui_usage(argv[0], "bitcoin tx: name one transaction by its hash");
    options.use = BITCOIN_LOOKS;
    if (!bitcoin_start(&b, &options, &code))
        return code;
    bitcoin_catch_signals();
    return bitcoin_close(&b, show_tx(&b, rest[0], block));
}

/* --- forks ----------------------------------------------------------------------------------- */

static const char *tip_status(const struct bitcoin *b, uint32_t node)
{
    uint32_t status = chainstate_status(b->chain, node);
    if (node == chainstate_tip(b->chain))
        return "active";
    if (status & BLOCK_ANY_FAILED)
        return "invalid";
    if (chainstate_n_chain_txs(b->chain, node) == 0)
        return "headers-only";
    return status & BLOCK_IS_VALID ? "valid-fork" : "valid-headers";
}

static void print_fork(const struct bitcoin *b, uint32_t node)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    uint32_t fork = header_fork(h, node, chainstate_tip(b->chain));
    struct u256 work = header_work(h, node);
    char hex[HASH_HEX_CAP], odds[ODDS_CAP];
    const char *digits = u256_hex(&work, hex);
    while (*digits == '0' && digits[1])
        digits++;
    printf("%-13s height %u  branch %u  work 0x%s\n", tip_status(b, node), header_height(h, node),
           header_height(h, node) - header_height(h, fork), digits);
    printf("              %s\n", hash256_hex_reversed(header_hash(h, node), hex));
    if (fork != node) {
        int64_t depth = bitcoin_confirmations(b, fork) - 1;
        printf("              leaves the best chain %lld deep: %s\n", (long long)depth,
               bitcoin_odds(depth, odds));
    }
}

static json_t *fork_json(const struct bitcoin *b, uint32_t node)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    uint32_t fork = header_fork(h, node, chainstate_tip(b->chain));
    struct u256 work = header_work(h, node);
    return json_pack("{s:I, s:o, s:I, s:s, s:o, s:I}", "height", (json_int_t)header_height(h, node),
                     "hash", bitcoin_json_hash(header_hash(h, node)), "branchlen",
                     (json_int_t)(header_height(h, node) - header_height(h, fork)), "status",
                     tip_status(b, node), "chainwork", json_hex_u256(&work), "depth",
                     (json_int_t)(bitcoin_confirmations(b, fork) - 1));
}

static int show_forks(struct bitcoin *b)
{
    size_t n = header_chain_n(chainstate_headers(b->chain)) + 1;
    uint32_t *tips = mem_alloc(&b->mem, n * sizeof *tips);
    json_t *list = json_array();
    if (!tips)
        return json_decref(list), ui_fail("no memory for the list of tips");
    n = chainstate_tips(b->chain, tips, n);
    for (size_t i = n; i-- > 0;) /* newest first */
        if (b->options->is_json)
            json_array_append_new(list, fork_json(b, tips[i]));
        else
            print_fork(b, tips[i]);
    mem_free(&b->mem, tips);
    if (b->options->is_json)
        return bitcoin_print_json(list, false);
    json_decref(list);
    return EXIT_OK;
}

int cmd_bitcoin_forks(int argc, char **argv)
{
    struct bitcoin_options options;
    struct bitcoin b;
    int n, code;
    if (!bitcoin_options_plain(
            &options, "[OPTION...]",
            "Every known tip: its height, work, standing (as getchaintips says), "
            "and how deep\nit leaves the best chain.",
            argc, argv, &n, &code))
        return code;
    if (n != 0)
        return ui_usage(argv[0], "bitcoin forks: there is nothing to name");
    options.use = BITCOIN_LOOKS;
    if (!bitcoin_start(&b, &options, &code))
        return code;
    return bitcoin_close(&b, show_forks(&b));
}

/* --- confirmations --------------------------------------------------------------------------- */

static const struct ui_option confirmations_options[] = {
    {"attacker", 'a', "SHARE", "of all work, 0 to 1 or in percent (default: a table)"},
    {"json", 'j', NULL, "one JSON object"},
    {0},
};

enum { OPT_ATTACKER, OPT_JSON };

static bool read_share(struct ui_options *o, double *out)
{
    char *end;
    double v = strtod(o->value, &end);
    if (strcmp(end, "%") == 0) {
        v /= 100;
        end++;
    }
    if (end != o->value && !*end && v >= 0 && v <= 1) {
        *out = v;
        return true;
    }
    ui_usage(o->command, "%s: '%s' is no share of the work: 0.1 or 10%%", o->command, o->value);
    return false;
}

static void print_odds(uint32_t depth, double share)
{
    printf("%7.4g %%  %-12.6g %.6g\n", share * 100, reorg_odds_nakamoto(depth, share),
           reorg_odds_exact(depth, share));
}

static int show_confirmations(uint32_t depth, double share, bool is_json)
{
    static const double shares[] = {0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5};
    if (is_json)
        return bitcoin_print_json(json_pack("{s:I, s:f, s:f, s:f}", "depth", (json_int_t)depth,
                                            "attacker", share, "nakamoto",
                                            reorg_odds_nakamoto(depth, share), "exact",
                                            reorg_odds_exact(depth, share)),
                                  false);
    printf("probability that a block with %u confirmations is ever replaced\n\n", depth);
    printf("attacker   Nakamoto     exact (Grunspan, Perez-Marco)\n");
    if (share >= 0)
        print_odds(depth, share);
    else
        for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
            print_odds(depth, shares[i]);
    return EXIT_OK;
}

int cmd_bitcoin_confirmations(int argc, char **argv)
{
    struct ui_options o;
    bool is_json = false;
    double share = -1;
    int which, n;
    ui_options_init(
        &o, "[OPTION...] DEPTH",
        "The probability that a block this deep (1: the tip) is ever replaced by someone "
        "with\na share of all work: Nakamoto's formula, and the exact one of Grunspan "
        "and Perez-Marco.",
        confirmations_options, argc, argv);
    while ((which = ui_options_next(&o)) != UI_OPTION_END) {
        if (which == UI_OPTION_BAD || (which == OPT_ATTACKER && !read_share(&o, &share)))
            return EXIT_USAGE;
        is_json = is_json || which == OPT_JSON;
    }
    char **rest = ui_options_rest(&o, &n);
    char *end;
    unsigned long long depth = n == 1 ? strtoull(rest[0], &end, 10) : 0;
    if (n != 1 || end == rest[0] || *end || rest[0][0] == '-' || depth > 1000000)
        return ui_usage(argv[0], "bitcoin confirmations: DEPTH is a number up to 1000000");
    if (is_json && share < 0)
        return ui_usage(argv[0], "bitcoin confirmations: --json needs --attacker");
    return show_confirmations((uint32_t)depth, share, is_json);
}
