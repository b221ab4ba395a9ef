/* shoal seed: seeds torrents, and makes them first for plain files and folders. */
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/torrent_file.h"
#include "cli/transfer.h"
#include "store/make_torrent.h"
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>

#define TRACKER_PORT_DEFAULT 6969u

static const struct ui_option options[] = {
    TRANSFER_OPTIONS,
    {"tracker", 't', NULL, "run a tracker inside, and name it in the link and the torrent"},
    {"tracker-port", 0, "PORT", "its port (default 6969; 0: any)"},
    {"announce", 'a', "URL", "announce to this tracker too; repeatable"},
    {"v1", 0, NULL, "when a torrent is made: only BitTorrent v1"},
    {"v2", 0, NULL, "when a torrent is made: only BitTorrent v2 (default: hybrid)"},
    {"private", 0, NULL, "when a torrent is made: peers only from its trackers"},
    {0},
};

enum {
    OPT_TRACKER = TRANSFER_N_OPTIONS,
    OPT_TRACKER_PORT,
    OPT_ANNOUNCE,
    OPT_V1,
    OPT_V2,
    OPT_PRIVATE
};

struct seed {
    struct transfer transfer;
    struct mem mem;
    bool is_v1, is_v2, is_private;
    char dirs[TRANSFER_LIST_MAX][PATH_MAX]; /* of plain paths: their parents, real */
    char torrents[TRANSFER_LIST_MAX][PATH_MAX];
    uint32_t n_paths;
};

static int read_option(struct seed *s, struct ui_options *o, int option)
{
    struct transfer *t = &s->transfer;
    uint64_t port;
    if (option < TRANSFER_N_OPTIONS)
        return transfer_option(t, o, option);
    switch (option) {
    case OPT_TRACKER:
        t->is_tracker_inside = true;
        return EXIT_OK;
    case OPT_TRACKER_PORT:
        if (!ui_read_u64(o, 0, 65535, &port))
            return EXIT_USAGE;
        t->tracker_port = (uint16_t)port;
        return EXIT_OK;
    case OPT_ANNOUNCE:
        return transfer_list_add(o, t->trackers, &t->torrent_options.n_trackers) ? EXIT_OK
                                                                                 : EXIT_USAGE;
    case OPT_V1:
        s->is_v1 = true;
        return EXIT_OK;
    case OPT_V2:
        s->is_v2 = true;
        return EXIT_OK;
    default:
        s->is_private = true;
        return EXIT_OK;
    }
}

static int read_options(struct seed *s, struct ui_options *o)
{
    for (int i; (i = ui_options_next(o)) != UI_OPTION_END;) {
        int code = i == UI_OPTION_BAD ? EXIT_USAGE : read_option(s, o, i);
        if (code != EXIT_OK)
            return code;
    }
    return EXIT_OK;
}

/* --- making a torrent ------------------------------------------------------------------------ */

static void show_progress(void *ctx, uint64_t done_len, uint64_t total_len)
{
    const struct make_torrent *m = ctx;
    ui_progress("%s: hashing %.0f %%", m->path,
                total_len ? 100.0 * (double)done_len / (double)total_len : 100.0);
}

static int write_torrent(struct seed *s, const char *path, const char *torrent)
{
    struct build_tracker trackers[TRANSFER_LIST_MAX + 1];
    struct transfer *t = &s->transfer;
    uint32_t n = (uint32_t)t->torrent_options.n_trackers;
    for (uint32_t i = 0; i < n; i++)
        trackers[i] = (struct build_tracker){t->trackers[i], i};
    struct make_torrent make = {
        .path = path,
        .has_v1 = !s->is_v2,
        .has_v2 = !s->is_v1,
        .options = {.trackers = trackers,
                    .n_trackers = n,
                    .created_by = "shoal/" SHOAL_VERSION,
                    .is_private = s->is_private,
                    .has_creation_date = true,
                    .creation_date = (int64_t)time(NULL)},
        .progress = t->is_json || t->is_quiet ? NULL : show_progress,
    };
    struct buf out;
    struct err err = {0};
    make.ctx = &make;
    buf_init(&out, &s->mem, TORRENT_FILE_LEN_MAX);
    int code = EXIT_OK;
    if (make_torrent(&make, &s->mem, &out, &err))
        code = ui_fail_err(make.bad_path[0] ? make.bad_path : path, &err);
    else if (!torrent_file_write(torrent, buf_bytes(&out)))
        code = EXIT_FAIL;
    ui_progress_end();
    make_torrent_clear(&make);
    buf_clear(&out);
    return code;
}

/* --- what to seed ---------------------------------------------------------------------------- */

static bool has_suffix(const char *text, const char *suffix)
{
    size_t n = strlen(text), k = strlen(suffix);
    return n >= k && strcmp(text + n - k, suffix) == 0;
}

/* A .torrent file, a link or a URL: not data to make a torrent of. */
static bool is_torrent(const char *argument)
{
    struct stat st;
    if (magnet_is_link(argument) || strstr(argument, "://"))
        return true;
    return has_suffix(argument, ".torrent") && stat(argument, &st) == 0 && S_ISREG(st.st_mode);
}

/* PATH.torrent beside it is used if it is there, else made; the data is what PATH is. */
static int add_path(struct seed *s, const char *path)
{
    struct transfer *t = &s->transfer;
    char real[PATH_MAX], copy[PATH_MAX];
    struct stat st;
    if (!realpath(path, real))
        return ui_fail("%s: %s", path, strerror(errno));
    if (s->n_paths == TRANSFER_LIST_MAX)
        return ui_fail("%s: more than %u paths", path, TRANSFER_LIST_MAX);
    char *torrent = s->torrents[s->n_paths], *dir = s->dirs[s->n_paths++];
    if (snprintf(torrent, PATH_MAX, "%s.torrent", real) >= PATH_MAX)
        return ui_fail("%s: the path is too long", path);
    bool is_made = stat(torrent, &st) != 0;
    if (is_made && write_torrent(s, real, torrent) != EXIT_OK)
        return EXIT_FAIL;
    snprintf(copy, sizeof copy, "%s", real);
    snprintf(dir, PATH_MAX, "%s", dirname(copy));

    struct shoal_torrent_options before = t->torrent_options;
    t->torrent_options.dir = dir;
    if (is_made)
        t->torrent_options.check = SHOAL_CHECK_TRUST;
    int code = transfer_add(t, torrent);
    t->torrent_options = before;
    return code;
}

static int seed_all(struct seed *s, char **arguments, int n)
{
    struct transfer *t = &s->transfer;
    int code = transfer_open(t);
    if (code != EXIT_OK)
        return code;
    if (t->is_tracker_inside)
        t->trackers[t->torrent_options.n_trackers++] = t->tracker_url;
    for (int i = 0; i < n && code == EXIT_OK; i++)
        code = is_torrent(arguments[i]) ? transfer_add(t, arguments[i]) : add_path(s, arguments[i]);
    return code == EXIT_OK ? transfer_run(t) : code;
}

int cmd_seed(int argc, char **argv)
{
    static struct seed s;
    struct ui_options o;
    int n, code;
    transfer_init(&s.transfer);
    mem_init(&s.mem, MEM_NO_BUDGET, NULL);
    s.transfer.is_seed_verb = true;
    s.transfer.torrent_options.is_seed_only = true;
    s.transfer.tracker_port = TRACKER_PORT_DEFAULT;
    ui_options_init(
        &o, "[OPTION...] PATH|TORRENT...",
        "Seed files and folders. For data without a torrent, PATH.torrent is made beside it;\n"
        "for a torrent, the data is in --dir. Prints the magnet link of each.",
        options, argc, argv);
    if ((code = read_options(&s, &o)) != EXIT_OK)
        return code;
    if (s.is_v1 && s.is_v2)
        return ui_usage("seed", "seed: only one of --v1 and --v2 can be given");
    char **arguments = ui_options_rest(&o, &n);
    if (n == 0)
        return ui_usage("seed", "seed: nothing to seed is given");
    code = seed_all(&s, arguments, n);
    transfer_clear(&s.transfer);
    return code;
}
