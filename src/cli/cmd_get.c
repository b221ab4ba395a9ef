/* shoal get: downloads torrents. */
#include "cli/cli.h"
#include "cli/transfer.h"

static const struct ui_option options[] = {
    TRANSFER_OPTIONS,
    {"only", 'o', "FILE", "only this file (path or pattern); may be repeated"},
    {"sequential", 's', NULL, "pieces in order, for reading while it loads"},
    {"tracker", 't', "URL", "one more tracker; may be repeated"},
    {"preallocate", 0, NULL, "give files their full size on disk at once"},
    {"seed", 0, NULL, "go on seeding after completion"},
    {0},
};

enum { OPT_ONLY = TRANSFER_N_OPTIONS, OPT_SEQUENTIAL, OPT_TRACKER, OPT_PREALLOCATE, OPT_SEED };

static int read_options(struct transfer *t, struct ui_options *o)
{
    struct shoal_torrent_options *w = &t->torrent_options;
    for (int i; (i = ui_options_next(o)) != UI_OPTION_END;) {
        bool ok = true;
        if (i == UI_OPTION_BAD)
            return EXIT_USAGE;
        if (i < TRANSFER_N_OPTIONS)
            ok = transfer_option(t, o, i) == EXIT_OK;
        else if (i == OPT_ONLY)
            ok = transfer_list_add(o, t->only, &w->n_only);
        else if (i == OPT_TRACKER)
            ok = transfer_list_add(o, t->trackers, &w->n_trackers);
        else if (i == OPT_SEQUENTIAL)
            w->is_sequential = true;
        else if (i == OPT_PREALLOCATE)
            w->is_preallocated = true;
        else
            t->is_seed_verb = true;
        if (!ok)
            return EXIT_USAGE;
    }
    return EXIT_OK;
}

int cmd_get(int argc, char **argv)
{
    static struct transfer t;
    struct ui_options o;
    int n, code;
    transfer_init(&t);
    ui_options_init(
        &o, "[OPTION...] TORRENT...",
        "Download torrents: files, URLs or magnet links. The same command goes on where\n"
        "it was stopped. Exit codes: 0 all complete and verified; 1 failed; 2 usage;\n"
        "3 stopped before it was complete.",
        options, argc, argv);
    if ((code = read_options(&t, &o)) != EXIT_OK)
        return code;
    char **sources = ui_options_rest(&o, &n);
    if (n == 0)
        return ui_usage("get", "get: no torrent given");
    if ((code = transfer_open(&t)) != EXIT_OK)
        return code;
    for (int i = 0; i < n && code == EXIT_OK; i++)
        code = transfer_add(&t, sources[i]);
    if (code == EXIT_OK)
        code = transfer_run(&t);
    transfer_clear(&t);
    return code;
}
