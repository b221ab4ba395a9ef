/* shoal bitcoin: picks the subcommand. */
#include "cli/cmd_bitcoin.h"
#include "cli/cli.h"
#include "cli/ui.h"

static const struct {
    const char *name, *full;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"import", "bitcoin import", cmd_bitcoin_import, "read and check files of blocks"},
    {"info", "bitcoin info", cmd_bitcoin_info, "where the chain stands"},
    {"block", "bitcoin block", cmd_bitcoin_block, "what is in a block"},
    {"tx", "bitcoin tx", cmd_bitcoin_tx, "what is in a transaction"},
    {"forks", "bitcoin forks", cmd_bitcoin_forks, "every known tip, its work and standing"},
    {"coins-stats", "bitcoin coins-stats", cmd_bitcoin_coins_stats,
     "number, amount and hashes of all unspent outputs"},
    {"verify", "bitcoin verify", cmd_bitcoin_verify, "check the last blocks, or all, again"},
    {"reindex", "bitcoin reindex", cmd_bitcoin_reindex,
     "build index and coins anew from the block files"},
    {"dump-snapshot", "bitcoin dump-snapshot", cmd_bitcoin_dump_snapshot,
     "write all coins to a file, as Bitcoin Core reads it"},
    {"load-snapshot", "bitcoin load-snapshot", cmd_bitcoin_load_snapshot,
     "begin with the coins of such a file"},
    {"invalidate", "bitcoin invalidate", cmd_bitcoin_invalidate,
     "take a block and all that follows for invalid"},
    {"reconsider", "bitcoin reconsider", cmd_bitcoin_reconsider, "take that back"},
    {"precious", "bitcoin precious", cmd_bitcoin_precious,
     "prefer a block to others with the same work"},
    {"confirmations", "bitcoin confirmations", cmd_bitcoin_confirmations,
     "how likely a block this deep is ever replaced"},
    {NULL, NULL, NULL, NULL},
};

static void print_help(void)
{
    printf("Usage: shoal bitcoin COMMAND [OPTION...] [ARGUMENT...]\n\n"
           "Checks a Bitcoin chain as the network does and keeps its unspent outputs.\n\n"
           "Commands:\n");
    for (size_t i = 0; commands[i].name; i++)
        printf("  %-14s %s\n", commands[i].name, commands[i].help);
    printf("\n'shoal bitcoin COMMAND --help' tells more.\n");
}

int cmd_bitcoin(int argc, char **argv)
{
    if (argc < 2) {
        print_help();
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return EXIT_OK;
    }
    for (size_t i = 0; commands[i].name; i++)
        if (strcmp(argv[1], commands[i].name) == 0) {
            char full[64];
            snprintf(full, sizeof full, "%s", commands[i].full);
            argv[1] = full;
            return commands[i].run(argc - 1, argv + 1);
        }
    return ui_usage("bitcoin", "bitcoin: unknown command '%s'", argv[1]);
}
