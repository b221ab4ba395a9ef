/* main: picks the subcommand. */
#include "cli/cli.h"
#include "cli/ui.h"
#include <locale.h>
#include <signal.h>

static const struct ui_command commands[] = {
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

int main(int argc, char **argv)
{
    static const struct ui_menu menu = {
        .summary = "Moves files among many machines: every one that holds a piece passes it on.",
        .footer = "'shoal COMMAND --help' tells more. The manual is shoal(1).",
        .name_width = 10,
        .table = commands};
    setlocale(LC_CTYPE, "");
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)) {
        printf("shoal %s\n", SHOAL_VERSION);
        return EXIT_OK;
    }
    int code = ui_menu_run(&menu, argc, argv);
    if (code != UI_MENU_UNKNOWN)
        return code;
    fprintf(stderr, "shoal: unknown command '%s'; 'shoal --help' lists them\n", argv[1]);
    return EXIT_USAGE;
}
