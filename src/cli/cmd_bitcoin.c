/* shoal bitcoin: picks the subcommand. */
#include "cli/cmd_bitcoin.h"
#include "cli/cli.h"
#include "cli/ui.h"

static const struct ui_command commands[] = {
    {"import", cmd_bitcoin_import, "read and check files of blocks"},
    {"info", cmd_bitcoin_info, "where the chain stands"},
    {"block", cmd_bitcoin_block, "what is in a block"},
    {"tx", cmd_bitcoin_tx, "what is in a transaction"},
    {"forks", cmd_bitcoin_forks, "every known tip, its work and standing"},
    {"coins-stats", cmd_bitcoin_coins_stats, "number, amount and hashes of all unspent outputs"},
    {"verify", cmd_bitcoin_verify, "check the last blocks, or all, again"},
    {"reindex", cmd_bitcoin_reindex, "build index and coins anew from the block files"},
    {"dump-snapshot", cmd_bitcoin_dump_snapshot,
     "write all coins to a file, as Bitcoin Core reads it"},
    {"load-snapshot", cmd_bitcoin_load_snapshot, "begin with the coins of such a file"},
    {"invalidate", cmd_bitcoin_invalidate, "take a block and all that follows for invalid"},
    {"reconsider", cmd_bitcoin_reconsider, "take that back"},
    {"precious", cmd_bitcoin_precious, "prefer a block to others with the same work"},
    {"confirmations", cmd_bitcoin_confirmations, "how likely a block this deep is ever replaced"},
    {NULL, NULL, NULL},
};

int cmd_bitcoin(int argc, char **argv)
{
    static const struct ui_menu menu = {
        .of = "bitcoin",
        .summary = "Checks a Bitcoin chain as the network does and keeps its unspent outputs.",
        .footer = "'shoal bitcoin COMMAND --help' tells more.",
        .name_width = 14,
        .table = commands};
    int code = ui_menu_run(&menu, argc, argv);
    return code != UI_MENU_UNKNOWN ? code
                                   : ui_usage("bitcoin", "bitcoin: unknown command '%s'", argv[1]);
}
