/* shoal bitcoin coins-stats, dump-snapshot: the set of unspent outputs as a whole. */
#include "chain/coins_hash.h"
#include "chain/snapshot.h"
#include "cli/bitcoin.h"
#include "cli/cmd_bitcoin.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Coins on disk are those of one block: the tip, unless the last run ended suddenly; then the chain
 * moves up to it first. False: reported. */
static bool coins_at_tip(struct bitcoin *b, struct coins_tip *out, int *out_code)
{
    struct err err = {0};
    *out_code = bitcoin_advance(b);
    if (*out_code)
        return false;
    *out_code = EXIT_FAIL;
    if (chainstate_flush(b->chain, &err) || b->coins.tip(b->coins.ctx, out, &err))
        return ui_fail_err(b->dir, &err), false;
    if (out->is_empty)
        return ui_fail("%s: no coins yet: import blocks first", b->dir), false;
    *out_code = EXIT_OK;
    return true;
}

static bool count_coins(struct bitcoin *b, unsigned kinds, struct coins_totals *out)
{
    struct err err = {0};
    ui_progress("counting coins");
    enum err_code code = coins_hash_store(&b->coins, kinds, &b->mem, out, &err);
    ui_progress_end();
    return !code || (ui_fail_err(b->dir, &err), false);
}

/* --- coins-stats ----------------------------------------------------------------------------- */

static void print_stats(struct bitcoin *b, const struct coins_tip *tip,
                        const struct coins_totals *t, uint64_t disk_len)
{
    char hex[HASH_HEX_CAP], btc[BTC_CAP], size[UI_NUMBER_CAP];
    if (b->options->is_json) {
        bitcoin_print_json(json_pack("{s:I, s:o, s:I, s:I, s:o, s:o, s:o, s:I, s:I}", "height",
                                     (json_int_t)tip->height, "bestblock",
                                     bitcoin_json_hash(&tip->block), "txouts",
                                     (json_int_t)t->n_coins, "bogosize", (json_int_t)t->bogosize,
                                     "hash_serialized_3", bitcoin_json_hash(&t->serialized),
                                     "muhash", bitcoin_json_hash(&t->muhash), "total_amount",
                                     bitcoin_json_btc(t->amount_sat), "transactions",
                                     (json_int_t)t->n_txs, "disk_size", (json_int_t)disk_len),
                           false);
        return;
    }
    printf("height             %u\n", tip->height);
    printf("block              %s\n", hash256_hex_reversed(&tip->block, hex));
    printf("coins              %llu of %llu transactions\n", (unsigned long long)t->n_coins,
           (unsigned long long)t->n_txs);
    printf("amount             %s BTC\n", bitcoin_btc(t->amount_sat, btc));
    printf("hash_serialized_3  %s\n", hash256_hex_reversed(&t->serialized, hex));
    printf("muhash             %s\n", hash256_hex_reversed(&t->muhash, hex));
    printf("on disk            %s\n", ui_size(disk_len, size));
}

int cmd_bitcoin_coins_stats(int argc, char **argv)
{
    struct bitcoin_options options;
    struct bitcoin b;
    struct coins_tip tip;
    struct coins_totals totals;
    int n, code;
    if (!bitcoin_options_plain(
            &options, "[OPTION...]",
            "Number, amount and hashes of all unspent outputs, as Bitcoin Core's "
            "gettxoutsetinfo\ngives them.",
            argc, argv, &n, &code))
        return code;
    if (n != 0)
        return ui_usage(argv[0], "bitcoin coins-stats: there is nothing to name");
    if (!bitcoin_start(&b, &options, &code))
        return code;
    bitcoin_catch_signals();
    if (!coins_at_tip(&b, &tip, &code))
        return bitcoin_close(&b, code);
    if (!count_coins(&b, COINS_HASH_SERIALIZED | COINS_HASH_MUHASH, &totals))
        return bitcoin_close(&b, EXIT_FAIL);
    print_stats(&b, &tip, &totals, bitcoin_coins_len(&b));
    return bitcoin_close(&b, EXIT_OK);
}

/* --- dump-snapshot --------------------------------------------------------------------------- */

struct sink {
    int fd;
    uint64_t len;
};

static enum err_code put_bytes(void *ctx, struct bytes in, struct err *err)
{
    struct sink *s = ctx;
    while (in.len > 0) {
        ssize_t n = write(s->fd, in.data, in.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_at(err, ERR_IO, "cannot write", s->len, (uint64_t)errno, 0);
        in = bytes_sub(in, (size_t)n, in.len);
        s->len += (uint64_t)n;
    }
    return bitcoin_is_interrupted ? err_set(err, ERR_CANCELLED, "interrupted") : ERR_OK;
}

/* Into FILE.incomplete, synced, then renamed: FILE is whole or not there. */
static bool write_snapshot(struct bitcoin *b, const char *path, const struct coins_tip *tip,
                           const struct coins_totals *totals)
{
    char temp[PATH_MAX];
    struct err err = {0};
    struct snapshot_head head = {.block = tip->block, .n_coins = totals->n_coins};
    memcpy(head.magic, b->params.magic, sizeof head.magic);
    int n = snprintf(temp, sizeof temp, "%s.incomplete", path);
    if (n < 0 || n >= PATH_MAX)
        return ui_fail("%s: the path is too long", path), false;
    struct sink sink = {.fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    if (sink.fd < 0)
        return ui_fail("%s: %s", temp, strerror(errno)), false;
    ui_progress("writing %s", path);
    enum err_code code = snapshot_write(&b->coins, &head, &b->mem, put_bytes, &sink, &err);
    if (!code && fsync(sink.fd) != 0)
        code = err_set_at(&err, ERR_IO, "cannot bring the file to disk", 0, (uint64_t)errno, 0);
    close(sink.fd);
    if (!code && rename(temp, path) != 0)
        code = err_set_at(&err, ERR_IO, "cannot rename the file", 0, (uint64_t)errno, 0);
    if (code) {
        unlink(temp);
        ui_fail_err(path, &err);
    }
    return !code;
}

static int dump(struct bitcoin *b, const char *path)
{
    struct coins_tip tip;
    struct coins_totals totals;
    struct stat st;
    char hex[HASH_HEX_CAP];
    int code;
    if (stat(path, &st) == 0)
        return ui_fail("%s: is there already", path);
    if (!coins_at_tip(b, &tip, &code))
        return code;
    if (!count_coins(b, COINS_HASH_SERIALIZED, &totals) || !write_snapshot(b, path, &tip, &totals))
        return EXIT_FAIL;
    uint32_t node = header_chain_find(chainstate_headers(b->chain), &tip.block);
    if (b->options->is_json)
        return bitcoin_print_json(json_pack("{s:I, s:o, s:I, s:s, s:o, s:I}", "coins_written",
                                            (json_int_t)totals.n_coins, "base_hash",
                                            bitcoin_json_hash(&tip.block), "base_height",
                                            (json_int_t)tip.height, "path", path, "txoutset_hash",
                                            bitcoin_json_hash(&totals.serialized), "nchaintx",
                                            (json_int_t)chainstate_n_chain_txs(b->chain, node)),
                                  false);
    printf("%llu coins of block %s, height %u\n", (unsigned long long)totals.n_coins,
           hash256_hex_reversed(&tip.block, hex), tip.height);
    printf("hash_serialized_3 %s\n", hash256_hex_reversed(&totals.serialized, hex));
    return EXIT_OK;
}

int cmd_bitcoin_dump_snapshot(int argc, char **argv)
{
    struct bitcoin_options options;
    struct bitcoin b;
    int n, code;
    char **rest = bitcoin_options_plain(&options, "[OPTION...] FILE",
                                        "Write all unspent outputs to FILE in the form of Bitcoin "
                                        "Core's dumptxoutset.",
                                        argc, argv, &n, &code);
    if (!rest)
        return code;
    if (n != 1)
        return ui_usage(argv[0], "bitcoin dump-snapshot: FILE is needed");
    if (!bitcoin_start(&b, &options, &code))
        return code;
    bitcoin_catch_signals();
    return bitcoin_close(&b, dump(&b, rest[0]));
}
