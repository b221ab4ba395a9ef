/* shoal tracker: a meeting place for swarms. */
#include "base/log.h"
#include "cli/cli.h"
#include "cli/ui.h"
#include "io/loop.h"
#include "io/tracker_host.h"
#include <errno.h>
#include <signal.h>
#include <time.h>

#define PORT_DEFAULT       6969u
#define N_ADDRS_MAX        32u
#define ALLOW_FILE_LEN_MAX (1024u * 1024u * 1024u) /* ours: TRACKER_SERVER_ALLOW_MAX lines */
#define STATUS_US          1000000u

static const struct ui_option options[] = {
    {"port", 'p', "PORT", "port for HTTP and UDP (default 6969; 0: any free one)"},
    {"bind", 'b', "ADDR", "listen on this address only; may be repeated"},
    {"allow-list", 'a', "FILE", "serve only the info-hashes in FILE, one hex number a line"},
    {"interval", 'i', "TIME", "tell peers to come back after TIME (default 30m)"},
    {"min-interval", 0, "TIME", "and never sooner than TIME (default 60s)"},
    {"max-peers", 0, "N", "remember at most N peers (default 4000000)"},
    {"trust-local-ip", 0, NULL, "believe ip= of askers on loopback or in a private network"},
    {"no-stats", 0, NULL, "no statistics page at / and /stats.json"},
    {"json", 'j', NULL, "print events as JSON, one a line"},
    {"quiet", 'q', NULL, "print errors only"},
    {0},
};

enum {
    OPT_PORT,
    OPT_BIND,
    OPT_ALLOW_LIST,
    OPT_INTERVAL,
    OPT_MIN_INTERVAL,
    OPT_MAX_PEERS,
    OPT_TRUST_LOCAL_IP,
    OPT_NO_STATS,
    OPT_JSON,
    OPT_QUIET
};

struct tracker {
    struct tracker_host_config config;
    const char *allow_path; /* NULL: everything is served */
    bool is_json, is_quiet;
    struct loop *loop;
    struct tracker_host *host;
    struct loop_timer *timer;
    struct loop_signal *signals[3];
};

/* --- the command line ------------------------------------------------------------------------ */

static bool read_bind(struct tracker *t, struct ui_options *o)
{
    struct tracker_host_config *c = &t->config;
    if (c->n_binds == TRACKER_HOST_BINDS_MAX) {
        ui_usage(o->command, "tracker: at most %u addresses to bind", TRACKER_HOST_BINDS_MAX);
        return false;
    }
    if (addr_parse(bytes_of_str(o->value), 0, &c->binds[c->n_binds]) ||
        c->binds[c->n_binds].port != 0) {
        ui_usage(o->command, "tracker: --bind wants an IP address without a port, not '%s'",
                 o->value);
        return false;
    }
    c->n_binds++;
    return true;
}

static bool read_seconds(struct ui_options *o, uint32_t *out)
{
    uint64_t s;
    if (!ui_read_duration_s(o, &s))
        return false;
    if (s == 0 || s > TRACKER_SERVER_INTERVAL_S * 48u) {
        ui_usage(o->command, "tracker: an interval is 1 second to 1 day, not '%s'", o->value);
        return false;
    }
    *out = (uint32_t)s;
    return true;
}

static bool read_option(struct tracker *t, struct ui_options *o, int i)
{
    struct tracker_server_config *server = &t->config.server;
    uint64_t n;
    switch (i) {
    case OPT_PORT:
        if (!ui_read_u64(o, 0, UINT16_MAX, &n))
            return false;
        t->config.port = (uint16_t)n;
        return true;
    case OPT_BIND:
        return read_bind(t, o);
    case OPT_ALLOW_LIST:
        t->allow_path = o->value;
        return true;
    case OPT_INTERVAL:
        return read_seconds(o, &server->interval_s);
    case OPT_MIN_INTERVAL:
        return read_seconds(o, &server->min_interval_s);
    case OPT_MAX_PEERS:
        if (!ui_read_u64(o, 1, UINT32_MAX / 2, &n))
            return false;
        server->n_peers_max = (uint32_t)n;
        return true;
    case OPT_TRUST_LOCAL_IP:
        return server->trusts_ip_parameter = true;
    case OPT_NO_STATS:
        return t->config.is_stats_off = true;
    case OPT_JSON:
        return t->is_json = true;
    case OPT_QUIET:
        return t->is_quiet = true;
    }
    return false;
}

/* --- output ---------------------------------------------------------------------------------- */

static void print_urls(const struct tracker *t, const char *format, const char *between)
{
    struct addr addrs[N_ADDRS_MAX];
    char text[ADDR_TEXT_CAP];
    size_t n = tracker_host_addrs(t->host, addrs, N_ADDRS_MAX);
    for (size_t i = 0; i < n; i++) {
        printf(format, "http", addr_format(&addrs[i], text));
        printf("%s", between);
        printf(format, "udp", text);
        printf("%s", i + 1 < n ? between : "");
    }
}

static void print_listening(const struct tracker *t)
{
    if (t->is_json) {
        printf("{\"event\": \"listening\", \"time\": %lld, \"port\": %u, \"urls\": [",
               (long long)time(NULL), tracker_host_port(t->host));
        print_urls(t, "\"%s://%s/announce\"", ", ");
        printf("]}\n");
    } else if (!t->is_quiet) {
        print_urls(t, "%s://%s/announce", "\n");
        printf("\n");
    }
    fflush(stdout);
}

static void print_stats(const struct tracker *t, const char *event)
{
    char json[8192];
    struct writer w = writer_init(json, sizeof json);
    if (!t->is_json)
        return;
    tracker_host_write_json(t->host, &w);
    struct bytes b = writer_bytes(&w);
    printf("{\"event\": \"%s\", \"time\": %lld, \"stats\": %.*s}\n", event, (long long)time(NULL),
           (int)(b.len ? b.len - 1 : 0), (const char *)b.data);
    fflush(stdout);
}

static void show_status(void *ctx)
{
    struct tracker *t = ctx;
    struct tracker_server_stats s;
    tracker_server_stats(tracker_host_server(t->host), &s);
    ui_progress("%u swarms, %u peers (%llu seeds), %llu announces over HTTP, %llu over UDP",
                s.n_swarms, s.n_peers_v4 + s.n_peers_v6, (unsigned long long)s.n_seeds,
                (unsigned long long)s.counters[TRACKER_SERVER_HTTP_ANNOUNCES],
                (unsigned long long)s.counters[TRACKER_SERVER_UDP_ANNOUNCES]);
    loop_timer_set(t->timer, loop_now_us(t->loop) + STATUS_US);
}

/* --- the allow-list -------------------------------------------------------------------------- */

/* The whole file; .data NULL and errno when it cannot be read. free(). */
static struct span read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t cap = 65536, len = 0;
    uint8_t *data = f ? malloc(cap) : NULL;
    while (data && !feof(f) && !ferror(f)) {
        if (len == cap) {
            uint8_t *grown = cap < ALLOW_FILE_LEN_MAX ? realloc(data, cap * 2) : NULL;
            if (!grown) {
                errno = EFBIG;
                free(data);
                data = NULL;
                break;
            }
            data = grown;
            cap *= 2;
        }
        len += fread(data + len, 1, cap - len, f);
    }
    if (data && ferror(f)) {
        free(data);
        data = NULL;
    }
    if (f)
        fclose(f);
    return (struct span){data, len};
}

static int load_allow_list(struct tracker *t)
{
    struct err err = {0};
    if (!t->allow_path)
        return EXIT_OK;
    struct span text = read_file(t->allow_path);
    if (!text.data)
        return ui_fail("%s: %s", t->allow_path, strerror(errno));
    enum err_code code = tracker_server_set_allow_list(tracker_host_server(t->host),
                                                       bytes_of(text.data, text.len), &err);
    free(text.data);
    return code ? ui_fail("%s: line %llu: %s", t->allow_path, (unsigned long long)err.at, err.what)
                : EXIT_OK;
}

static void on_signal(void *ctx, int signum)
{
    struct tracker *t = ctx;
    if (signum != SIGHUP) {
        loop_stop(t->loop);
        return;
    }
    /* A list that cannot be read or is wrong was reported; the one before stays in force. */
    if (load_allow_list(t) == EXIT_OK)
        print_stats(t, "reloaded");
}

/* --- run ------------------------------------------------------------------------------------- */

static int run(struct tracker *t)
{
    static const int signums[] = {SIGINT, SIGTERM, SIGHUP};
    struct err err = {0};
    if (loop_new(&t->loop, &err) || tracker_host_new(&t->host, t->loop, &t->config, &err))
        return ui_fail_err("tracker", &err);
    int code = load_allow_list(t);
    if (code != EXIT_OK)
        return code;
    for (size_t i = 0; i < 3; i++) {
        if (loop_signal_new(&t->signals[i], t->loop, signums[i], on_signal, t))
            return ui_fail("tracker: cannot listen for signals");
    }
    print_listening(t);
    if (!t->is_quiet && !t->is_json && ui_is_terminal(stderr)) {
        if (loop_timer_new(&t->timer, t->loop, show_status, t) == ERR_OK)
            show_status(t);
    }
    loop_run(t->loop);
    ui_progress_end();
    print_stats(t, "end");
    return EXIT_OK;
}

int cmd_tracker(int argc, char **argv)
{
    struct tracker t = {.config.port = PORT_DEFAULT};
    struct ui_options o;
    int n_rest;
    ui_options_init(
        &o, "[OPTION...]",
        "Serve as a tracker, over HTTP and UDP on one port: those who announce the same\n"
        "info-hash hear of each other. Prints its announce URLs. SIGHUP reads the\n"
        "allow-list again; SIGINT and SIGTERM end it.",
        options, argc, argv);
    for (int i; (i = ui_options_next(&o)) != UI_OPTION_END;) {
        if (i == UI_OPTION_BAD || !read_option(&t, &o, i))
            return EXIT_USAGE;
    }
    ui_options_rest(&o, &n_rest);
    if (n_rest)
        return ui_usage(o.command, "tracker: takes no arguments");
    int code = run(&t);
    loop_timer_free(t.timer);
    for (size_t i = 0; i < 3; i++)
        loop_signal_free(t.signals[i]);
    tracker_host_free(t.host);
    loop_free(t.loop);
    return code;
}
