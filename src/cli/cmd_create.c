/* shoal create: makes a .torrent file of a file or a folder. */
#include "base/hex.h"
#include "cli/cli.h"
#include "cli/torrent_file.h"
#include "cli/ui.h"
#include "store/make_torrent.h"
#include <errno.h>
#include <signal.h>
#include <time.h>

#define N_URLS_MAX    METAINFO_N_TRACKERS_MAX
#define PIECE_LEN_MIN 16384u
#define PIECE_LEN_MAX (256u << 20) /* the largest power of two that a torrent may have */
#define EXPONENT_MIN  14u
#define EXPONENT_MAX  28u

static const struct ui_option options[] = {
    {"output", 'o', "FILE", "write here; '-' is standard output (default: NAME.torrent)"},
    {"v1", 0, NULL, "only BitTorrent v1 (BEP 3); symlinks are followed"},
    {"v2", 0, NULL, "only BitTorrent v2 (BEP 52)"},
    {"hybrid", 0, NULL, "both in one torrent (the default)"},
    {"piece-length", 'l', "SIZE", "a power of two from 16K; or 14 to 28 for 2^N bytes"},
    {"tracker", 't', "URL[,URL]", "announce URLs of one tier; repeat for more tiers"},
    {"webseed", 'w', "URL", "where the same data can be fetched over HTTP; repeatable"},
    {"private", 'p', NULL, "peers only from the trackers (BEP 27)"},
    {"comment", 'c', "TEXT", "a comment"},
    {"source", 's', "TEXT", "a source tag; makes the info-hash another"},
    {"name", 'n', "NAME", "another name than that of the path"},
    {"creation-date", 'd', "SECONDS", "since 1970; default: now, or $SOURCE_DATE_EPOCH"},
    {"no-creation-date", 0, NULL, "leave the date out"},
    {"threads", 0, "N", "hash with N threads (default: one per core)"},
    {0},
};

enum {
    OPT_OUTPUT,
    OPT_V1,
    OPT_V2,
    OPT_HYBRID,
    OPT_PIECE_LENGTH,
    OPT_TRACKER,
    OPT_WEBSEED,
    OPT_PRIVATE,
    OPT_COMMENT,
    OPT_SOURCE,
    OPT_NAME,
    OPT_DATE,
    OPT_NO_DATE,
    OPT_THREADS
};

struct create {
    struct make_torrent make;
    struct build_tracker trackers[N_URLS_MAX];
    const char *webseeds[N_URLS_MAX];
    uint32_t n_tiers;
    const char *output;
    bool has_date, is_undated;
    uint64_t started_s;
};

/* The handler's only way to the job. */
static atomic_bool *cancel_flag;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    atomic_store(cancel_flag, true);
}

/* --- options --------------------------------------------------------------------------------- */

static bool is_url(const char *s)
{
    const char *colon = strstr(s, "://");
    if (!colon || colon == s || strlen(s) > METAINFO_URL_LEN_MAX)
        return false;
    for (; *s; s++)
        if (*s <= ' ' || *s > '~')
            return false;
    return true;
}

/* Cuts the value at its commas, in place: it lies in argv. */
static int add_tier(struct create *c, char *list)
{
    struct build_options *b = &c->make.options;
    for (char *url; (url = strsep(&list, ","));) {
        if (!is_url(url))
            return ui_usage("create", "--tracker: '%s' is not a URL", url);
        if (b->n_trackers == N_URLS_MAX)
            return ui_usage("create", "--tracker: more than %u URLs", N_URLS_MAX);
        c->trackers[b->n_trackers++] = (struct build_tracker){url, c->n_tiers};
    }
    c->n_tiers++;
    return EXIT_OK;
}

static int add_webseed(struct create *c, const char *url)
{
    struct build_options *b = &c->make.options;
    if (!is_url(url))
        return ui_usage("create", "--webseed: '%s' is not a URL", url);
    if (b->n_webseeds == N_URLS_MAX)
        return ui_usage("create", "--webseed: more than %u URLs", N_URLS_MAX);
    c->webseeds[b->n_webseeds++] = url;
    return EXIT_OK;
}

static int read_piece_len(struct create *c, struct ui_options *o)
{
    uint64_t len;
    if (!ui_read_size(o, &len))
        return EXIT_USAGE;
    if (len >= EXPONENT_MIN && len <= EXPONENT_MAX)
        len = 1ull << len;
    if (len < PIECE_LEN_MIN || len > PIECE_LEN_MAX || (len & (len - 1)) != 0)
        return ui_usage("create", "--piece-length: '%s' is not a power of two from 16K to 256M",
                        o->value);
    c->make.piece_len = (uint32_t)len;
    return EXIT_OK;
}

static int set_version(struct create *c, bool has_v1, bool has_v2)
{
    if (c->make.has_v1 || c->make.has_v2)
        return ui_usage("create", "only one of --v1, --v2 and --hybrid can be given");
    c->make.has_v1 = has_v1;
    c->make.has_v2 = has_v2;
    return EXIT_OK;
}

static int read_option(struct create *c, struct ui_options *o, int option)
{
    struct build_options *b = &c->make.options;
    uint64_t n;
    switch (option) {
    case OPT_OUTPUT:
        c->output = o->value;
        return EXIT_OK;
    case OPT_V1:
        return set_version(c, true, false);
    case OPT_V2:
        return set_version(c, false, true);
    case OPT_HYBRID:
        return set_version(c, true, true);
    case OPT_PIECE_LENGTH:
        return read_piece_len(c, o);
    case OPT_TRACKER:
        return add_tier(c, (char *)(uintptr_t)o->value);
    case OPT_WEBSEED:
        return add_webseed(c, o->value);
    case OPT_PRIVATE:
        b->is_private = true;
        return EXIT_OK;
    case OPT_COMMENT:
        b->comment = o->value;
        return EXIT_OK;
    case OPT_SOURCE:
        b->source = o->value;
        return EXIT_OK;
    case OPT_NAME:
        c->make.name = o->value;
        return EXIT_OK;
    case OPT_DATE:
        if (!ui_read_u64(o, 0, INT64_MAX, &n))
            return EXIT_USAGE;
        b->creation_date = (int64_t)n;
        c->has_date = true;
        return EXIT_OK;
    case OPT_NO_DATE:
        c->is_undated = true;
        return EXIT_OK;
    default:
        if (!ui_read_u64(o, 1, 256, &n))
            return EXIT_USAGE;
        c->make.n_threads = (unsigned)n;
        return EXIT_OK;
    }
}

/* reproducible-builds.org, SOURCE_DATE_EPOCH: seconds since 1970 instead of now. */
static int settle_date(struct create *c)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    c->make.options.has_creation_date = !c->is_undated;
    if (c->has_date)
        return EXIT_OK;
    c->make.options.creation_date = (int64_t)time(NULL);
    if (epoch && *epoch) {
        char *end;
        errno = 0;
        long long n = strtoll(epoch, &end, 10);
        if (*end || errno || n < 0)
            return ui_fail("SOURCE_DATE_EPOCH: '%s' is not a number of seconds", epoch);
        c->make.options.creation_date = n;
    }
    return EXIT_OK;
}

static int read_options(struct create *c, struct ui_options *o)
{
    for (int i; (i = ui_options_next(o)) != UI_OPTION_END;) {
        int code = i == UI_OPTION_BAD ? EXIT_USAGE : read_option(c, o, i);
        if (code != EXIT_OK)
            return code;
    }
    if (!c->make.has_v1 && !c->make.has_v2)
        c->make.has_v1 = c->make.has_v2 = true;
    return settle_date(c);
}

/* --- the job --------------------------------------------------------------------------------- */

static void show_progress(void *ctx, uint64_t done_len, uint64_t total_len)
{
    const struct create *c = ctx;
    char done[UI_NUMBER_CAP], total[UI_NUMBER_CAP], rate[UI_NUMBER_CAP];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t seconds = (uint64_t)now.tv_sec - c->started_s;
    ui_progress("hashing %3u%%  %s of %s  %s",
                (unsigned)(total_len ? 100.0 * (double)done_len / (double)total_len : 0),
                ui_size(done_len, done), ui_size(total_len, total),
                ui_rate(seconds ? done_len / seconds : done_len, rate));
}

static int report_failure(const struct create *c, const struct err *err)
{
    const char *subject = c->make.bad_path[0] ? c->make.bad_path : c->make.path;
    if (err->code == ERR_CANCELLED)
        return ui_fail("%s: interrupted", c->make.path), EXIT_INCOMPLETE;
    return ui_fail_err(subject, err);
}

static void report(const struct create *c, const char *output)
{
    const struct metainfo *m = c->make.info;
    char size[UI_NUMBER_CAP], piece[UI_NUMBER_CAP], hex[2 * SHA256_LEN + 1];
    uint32_t n_files = 0;
    for (uint32_t i = 0; i < m->n_files; i++)
        n_files += !(m->files[i].flags & FILE_PAD);
    printf("%s: %s, %u file%s, %s, %u piece%s of %s\n", output,
           torrent_version(m->has_v1, m->has_v2), n_files, n_files == 1 ? "" : "s",
           ui_size(m->layout.data_len, size), m->n_pieces, m->n_pieces == 1 ? "" : "s",
           ui_size(m->piece_len, piece));
    if (m->has_v1)
        printf("info-hash v1: %s\n",
               hex_encode(bytes_of(m->infohash_v1, SHA1_LEN), hex, sizeof hex));
    if (m->has_v2)
        printf("info-hash v2: %s\n",
               hex_encode(bytes_of(m->infohash_v2, SHA256_LEN), hex, sizeof hex));
}

static int write_result(struct create *c, struct buf *out)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.torrent", c->make.info->name);
    const char *output = c->output ? c->output : path;
    if (!torrent_file_write(output, buf_bytes(out)))
        return EXIT_FAIL;
    if (c->make.tree.n_bad_links)
        fprintf(stderr, "shoal: left out %u symlink(s) that lead outside or nowhere\n",
                c->make.tree.n_bad_links);
    if (c->make.tree.n_special)
        fprintf(stderr, "shoal: left out %u socket(s), pipe(s) or device(s)\n",
                c->make.tree.n_special);
    if (strcmp(output, "-") != 0)
        report(c, output);
    return EXIT_OK;
}

static int run(struct create *c)
{
    struct mem mem;
    struct buf out;
    struct err err = {0};
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    c->started_s = (uint64_t)now.tv_sec;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, 2 * TORRENT_FILE_LEN_MAX);
    int code = make_torrent(&c->make, &mem, &out, &err) ? report_failure(c, &err) : EXIT_OK;
    ui_progress_end();
    if (code == EXIT_OK)
        code = write_result(c, &out);
    make_torrent_clear(&c->make);
    buf_clear(&out);
    return code;
}

int cmd_create(int argc, char **argv)
{
    static struct create c;
    struct ui_options o;
    int n, code;
    c = (struct create){0};
    c.make.options.trackers = c.trackers;
    c.make.options.webseeds = c.webseeds;
    c.make.options.created_by = "shoal/" SHOAL_VERSION;
    c.make.progress = show_progress;
    c.make.ctx = &c;
    ui_options_init(&o, "[OPTION...] PATH",
                    "Make a .torrent file of a file or a folder, hashing with all cores. What is\n"
                    "there decides what comes out: the same files and options give the same bytes.",
                    options, argc, argv);
    if ((code = read_options(&c, &o)) != EXIT_OK)
        return code;
    char **rest = ui_options_rest(&o, &n);
    if (n != 1)
        return ui_usage("create", n ? "create: one PATH at a time" : "create: no PATH given");
    c.make.path = rest[0];
    cancel_flag = &c.make.is_cancelled;
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);
    return run(&c);
}
