/* shoal bitcoin verify, reindex, invalidate, reconsider, precious: what is done to a chain. */
#include "cli/bitcoin.h"
#include "cli/cmd_bitcoin.h"

/* --- verify ---------------------------------------------------------------------------------- */

static const struct ui_option verify_options[] = {
    BITCOIN_OPTIONS,
    {"blocks", 0, "N", "from the tip back (default 6; 0: all)"},
    {"level", 'l', "L", "1 read, 2 check by itself, 3 with undo data, 4 scripts too (default 4)"},
    {0},
};

enum { OPT_BLOCKS = BITCOIN_OPT_OWN, OPT_LEVEL };

static bool has_what_it_needs(const struct chainstate *s, uint32_t node, unsigned level)
{
    uint32_t status = chainstate_status(s, node);
    bool is_genesis = header_parent(chainstate_headers(s), node) == HEADER_NONE;
    return (status & BLOCK_HAS_DATA) && (level < 3 || is_genesis || (status & BLOCK_HAS_UNDO));
}

static int verify(struct bitcoin *b, uint64_t n_blocks, unsigned level)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    uint32_t node = chainstate_tip(b->chain), tip_height = header_height(h, node);
    uint64_t n = 0, n_pruned = 0;
    uint64_t n_all = n_blocks && n_blocks <= tip_height ? n_blocks : tip_height + 1;
    for (; node != HEADER_NONE && n + n_pruned < n_all; node = header_parent(h, node)) {
        struct reject r;
        if (bitcoin_is_interrupted)
            return ui_fail("interrupted after %llu blocks", (unsigned long long)n), EXIT_INCOMPLETE;
        ui_progress("verifying %3u%%  height %u",
                    (unsigned)(100.0 * (double)(n + n_pruned) / (double)n_all),
                    header_height(h, node));
        if (!has_what_it_needs(b->chain, node, level)) {
            n_pruned++;
            continue;
        }
        enum verdict v = chainstate_verify_block(b->chain, node, level, &r);
        if (v == VERDICT_UNDECIDED) {
            char hex[HASH_HEX_CAP];
            ui_fail("block %s at height %u cannot be checked",
                    hash256_hex_reversed(header_hash(h, node), hex), header_height(h, node));
            return ui_fail_err(b->dir, &r.err);
        }
        if (v)
            return bitcoin_report_reject(b, header_hash(h, node), header_height(h, node), &r),
                   EXIT_FAIL;
        n++;
    }
    ui_progress_end();
    if (b->options->is_json)
        return bitcoin_print_json(json_pack("{s:b, s:I, s:I, s:i}", "good", 1, "blocks",
                                            (json_int_t)n, "pruned", (json_int_t)n_pruned, "level",
                                            (int)level),
                                  false);
    printf("%llu blocks are good (level %u)", (unsigned long long)n, level);
    if (n_pruned)
        printf("; of %llu the data or undo data is not there", (unsigned long long)n_pruned);
    putchar('\n');
    return EXIT_OK;
}

int cmd_bitcoin_verify(int argc, char **argv)
{
    struct bitcoin_options options;
    struct bitcoin b;
    struct ui_options o;
    uint64_t n_blocks = 6, level = 4;
    int which, n, code;
    bitcoin_options_init(&options, argv[0]);
    ui_options_init(&o, "[OPTION...]",
                    "Check the last blocks of the chain again, from the tip back. Nothing changes.",
                    verify_options, argc, argv);
    while ((which = ui_options_next(&o)) != UI_OPTION_END) {
        bool is_read = which == OPT_BLOCKS ? ui_read_u64(&o, 0, UINT32_MAX, &n_blocks)
                       : which == OPT_LEVEL
                           ? ui_read_u64(&o, 1, 4, &level)
                           : which != UI_OPTION_BAD && bitcoin_options_read(&options, &o, which);
        if (!is_read)
            return EXIT_USAGE;
    }
    ui_options_rest(&o, &n);
    if (n != 0)
        return ui_usage(argv[0], "bitcoin verify: there is nothing to name");
    if (!bitcoin_start(&b, &options, &code))
        return code;
    bitcoin_catch_signals();
    return bitcoin_close(&b, verify(&b, n_blocks, (unsigned)level));
}

/* --- reindex --------------------------------------------------------------------------------- */

struct reindexing {
    struct bitcoin *b;
    struct mem mem;
    struct arena arena;
};

static bool check_block(void *ctx, struct bytes raw, uint32_t *out_n_txs)
{
    struct reindexing *x = ctx;
    struct block block;
    struct reject r;
    struct err err;
    arena_reset(&x->arena);
    if (block_read(raw, &x->arena, &block, &err) || block_check(&block, &x->arena, &r))
        return false;
    *out_n_txs = block.n_txs;
    return header_pow_is_right(&block.hash, block.header.bits, &x->b->params);
}

static void tell_damage(void *ctx, uint32_t file, uint32_t off, uint64_t len)
{
    struct reindexing *x = ctx;
    char name[BLOCK_FILE_NAME_CAP];
    block_file_name(file, false, name);
    if (off == UINT32_MAX)
        ui_fail("%s/blocks/%s: %llu bytes hold no block, skipped", x->b->dir, name,
                (unsigned long long)len);
    else
        ui_fail("%s/blocks/%s: offset %u: no valid block (%llu bytes), skipped", x->b->dir, name,
                off, (unsigned long long)len);
}

static bool show_reindex(void *ctx, uint32_t file, uint32_t n_files, uint64_t n_blocks)
{
    (void)ctx;
    ui_progress("reading block files: %u of %u, %llu blocks", file + 1, n_files,
                (unsigned long long)n_blocks);
    return !bitcoin_is_interrupted;
}

static int rebuild_index(struct bitcoin *b)
{
    struct reindexing x = {.b = b};
    struct reindex r = {.ctx = &x,
                        .genesis = b->params.genesis,
                        .check = check_block,
                        .damaged = tell_damage,
                        .progress = show_reindex};
    struct chain_files_config c;
    struct err err = {0};
    bitcoin_files_config(b, &c);
    mem_init(&x.mem, MEM_NO_BUDGET, NULL);
    arena_init(&x.arena, &x.mem, 1u << 30);
    enum err_code code = chain_files_reindex(&c, &r, &err);
    arena_clear(&x.arena);
    ui_progress_end();
    if (code == ERR_CANCELLED)
        return ui_fail("interrupted: 'shoal bitcoin reindex' must be run again"), EXIT_INCOMPLETE;
    if (code)
        return ui_fail_err(b->dir, &err);
    if (r.n_orphans)
        ui_fail("%llu blocks have no way back to the first block and are left out",
                (unsigned long long)r.n_orphans);
    return EXIT_OK;
}

static int print_tip(struct bitcoin *b)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    uint32_t tip = chainstate_tip(b->chain);
    char hex[HASH_HEX_CAP];
    hash256_hex_reversed(header_hash(h, tip), hex);
    if (b->options->is_json)
        return bitcoin_print_json(json_pack("{s:I, s:s}", "blocks",
                                            (json_int_t)header_height(h, tip), "bestblockhash",
                                            hex),
                                  false);
    printf("height %u, block %s\n", header_height(h, tip), hex);
    return EXIT_OK;
}

int cmd_bitcoin_reindex(int argc, char **argv)
{
    struct bitcoin_options options;
    struct bitcoin b;
    int n, code;
    if (!bitcoin_options_plain(&options, "[OPTION...]",
                               "Throw index, undo data and coins away and build them anew from the "
                               "block files.\nBlocks that are damaged are named and left out.",
                               argc, argv, &n, &code))
        return code;
    if (n != 0)
        return ui_usage(argv[0], "bitcoin reindex: there is nothing to name");
    if (!bitcoin_prepare(&b, &options, &code))
        return code;
    bitcoin_catch_signals();
    if (!bitcoin_remove_coins(&b) || !bitcoin_forget_snapshot(&b))
        return bitcoin_close(&b, EXIT_FAIL);
    code = rebuild_index(&b);
    if (code)
        return bitcoin_close(&b, code);
    if (!bitcoin_open(&b, NULL, NULL))
        return bitcoin_close(&b, EXIT_FAIL);
    code = bitcoin_advance(&b);
    if (!code)
        code = print_tip(&b);
    return bitcoin_close(&b, code);
}

/* --- what the user says of a block ----------------------------------------------------------- */

static int say(int argc, char **argv, const char *summary,
               enum err_code (*what)(struct chainstate *s, uint32_t node, struct err *err))
{
    struct bitcoin_options options;
    struct bitcoin b;
    struct err err = {0};
    int n, code;
    char **rest =
        bitcoin_options_plain(&options, "[OPTION...] HASH", summary, argc, argv, &n, &code);
    if (!rest)
        return code;
    if (n != 1)
        return ui_usage(argv[0], "%s: name one block by its hash or height", argv[0]);
    if (!bitcoin_start(&b, &options, &code))
        return code;
    bitcoin_catch_signals();
    uint32_t node = bitcoin_find_block(&b, rest[0]);
    if (node == HEADER_NONE)
        code = EXIT_FAIL;
    else if (what(b.chain, node, &err))
        code = ui_fail_err(rest[0], &err);
    else
        code = bitcoin_advance(&b);
    if (!code)
        code = print_tip(&b);
    return bitcoin_close(&b, code);
}

int cmd_bitcoin_invalidate(int argc, char **argv)
{
    return say(
        argc, argv,
        "Take a block and all that follows it for invalid, and move to the best other chain.",
        chainstate_invalidate);
}

int cmd_bitcoin_reconsider(int argc, char **argv)
{
    return say(argc, argv,
               "Forget that a block, what it builds on and what follows it was invalid.",
               chainstate_reconsider);
}

int cmd_bitcoin_precious(int argc, char **argv)
{
    return say(argc, argv, "Prefer a block to others with the same work, as if it had come first.",
               chainstate_precious);
}
