/* main: picks the subcommand. */
#include "cli/cli.h"
#include "cli/ui.h"
#include <locale.h>
#include <signal.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"get", cmd_get, "download torrents: files, URLs or magnet links"},
    {"seed", cmd_seed, "share files and folders, or seed torrents"},
    {"create", cmd_create, "make a .torrent file of a file or a folder"},
    {"show", cmd_show, "what a .torrent file or a magnet link says"},
    {"verify", cmd_verify, "compare data on disk with a torrent"},
    {"magnet", cmd_magnet, "the magnet link of a .torrent file"},
    {"tracker", cmd_tracker, "serve as a tracker, over HTTP and UDP"},
    {"bitcoin", cmd_bitcoin, "check a Bitcoin chain and keep its coins"},
    {"sim", cmd_sim, "run swarms in a simulated network"},
    {NULL, NULL, NULL},
};

static void print_help(void)
{
    printf("Usage: shoal COMMAND [OPTION...] [ARGUMENT...]\n\n"
           "Moves files among many machines: every one that holds a piece passes it on.\n\n"
           "Commands:\n");
    for (size_t i = 0; commands[i].name; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].help);
    printf("\n'shoal COMMAND --help' tells more. The manual is shoal(1).\n");
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help();
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
        printf("shoal %s\n", SHOAL_VERSION);
        return EXIT_OK;
    }
    for (size_t i = 0; commands[i].name; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "shoal: unknown command '%s'; 'shoal --help' lists them\n", argv[1]);
    return EXIT_USAGE;
}
