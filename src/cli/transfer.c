#include "cli/transfer.h"
#include "base/addr.h"
#include "cli/cli.h"
#include "cli/transfer_report.h"
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_MS        250u
#define JSON_PROGRESS_MS 1000u
#define WHY_AFTER_S      10u
#define STOP_TIMEOUT_MS  8000

/* Signals can only reach file scope: the flag, and the session to wake. */
static volatile sig_atomic_t n_stop_signals;
static struct shoal_session *signal_session;

static uint64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void on_stop_signal(int signo)
{
    if (++n_stop_signals > 1)
        _exit(128 + signo);
    if (signal_session)
        shoal_session_wake(signal_session);
}

static void catch_stop_signals(struct shoal_session *session)
{
    struct sigaction action = {.sa_handler = on_stop_signal};
    signal_session = session;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static void log_to_stderr(void *ctx, int level, const char *subsystem, const char *line)
{
    (void)ctx;
    (void)level;
    fprintf(stderr, "%s: %s\n", subsystem, line);
}

void transfer_init(struct transfer *t)
{
    memset(t, 0, sizeof *t);
    shoal_session_options_init(&t->session_options);
    shoal_torrent_options_init(&t->torrent_options);
    t->torrent_options.peers = t->peers;
    t->torrent_options.trackers = t->trackers;
    t->torrent_options.only = t->only;
}

/* --- options --------------------------------------------------------------------------------- */

bool transfer_list_add(struct ui_options *o, const char **list, size_t *n)
{
    if (*n == TRANSFER_LIST_MAX) {
        ui_usage(o->command, "%s: an option is given more than %u times", o->command,
                 TRANSFER_LIST_MAX);
        return false;
    }
    list[(*n)++] = o->value;
    return true;
}

static bool read_ratio(struct ui_options *o, double *out)
{
    char *end;
    *out = strtod(o->value, &end);
    if (end != o->value && *end == '\0' && *out > 0 && *out < 1e6)
        return true;
    ui_usage(o->command, "%s: '%s' is not a ratio such as 1.5", o->command, o->value);
    return false;
}

static bool read_port(struct ui_options *o, struct shoal_session_options *s)
{
    uint64_t port;
    if (!ui_read_u64(o, 0, 65535, &port))
        return false;
    s->port = (uint16_t)port;
    s->is_port_fixed = port != 0;
    return true;
}

static bool read_bind(struct ui_options *o, struct shoal_session_options *s)
{
    struct addr a;
    s->bind_addr = o->value;
    if (addr_parse(bytes_of_str(o->value), 0, &a) == ERR_OK)
        return true;
    ui_usage(o->command, "--bind: '%s' is not an IPv4 or IPv6 address", o->value);
    return false;
}

static bool read_option(struct transfer *t, struct ui_options *o, int index)
{
    struct shoal_session_options *s = &t->session_options;
    struct shoal_torrent_options *w = &t->torrent_options;
    switch (index) {
    case TRANSFER_DIR:
        w->dir = o->value;
        return true;
    case TRANSFER_PEER:
        return transfer_list_add(o, t->peers, &w->n_peers);
    case TRANSFER_PORT:
        return read_port(o, s);
    case TRANSFER_BIND:
        return read_bind(o, s);
    case TRANSFER_CONGESTION_CONTROL:
        s->congestion_control = o->value;
        return true;
    case TRANSFER_MAX_DOWN:
        return ui_read_size(o, &s->max_down_per_s);
    case TRANSFER_MAX_UP:
        return ui_read_size(o, &s->max_up_per_s);
    case TRANSFER_SEED_RATIO:
        t->is_seed_after = true;
        return read_ratio(o, &w->seed_ratio);
    case TRANSFER_SEED_TIME:
        t->is_seed_after = true;
        return ui_read_duration_s(o, &w->seed_time_s);
    case TRANSFER_STATE_DIR:
        s->state_dir = o->value;
        return true;
    case TRANSFER_CHECK:
        w->check = SHOAL_CHECK_ALL;
        return true;
    case TRANSFER_NO_PEX:
        s->is_pex_off = true;
        return true;
    case TRANSFER_JSON:
        t->is_json = true;
        return true;
    case TRANSFER_QUIET:
        t->is_quiet = true;
        return true;
    default:
        s->log = log_to_stderr;
        s->log_level = 3;
        return true;
    }
}

int transfer_option(struct transfer *t, struct ui_options *o, int index)
{
    return read_option(t, o, index) ? EXIT_OK : EXIT_USAGE;
}

/* --- life ------------------------------------------------------------------------------------ */

static int serve_tracker(struct transfer *t)
{
    struct shoal_note note;
    if (shoal_session_serve_tracker(t->session, t->tracker_port, t->tracker_url,
                                    sizeof t->tracker_url, &note))
        return ui_fail("tracker: %s", note.text);
    return EXIT_OK;
}

int transfer_open(struct transfer *t)
{
    struct shoal_note note;
    if (shoal_session_new(&t->session, &t->session_options, &note))
        return ui_fail("%s", note.text);
    catch_stop_signals(t->session);
    report_listening(t);
    return t->is_tracker_inside ? serve_tracker(t) : EXIT_OK;
}

int transfer_add(struct transfer *t, const char *source)
{
    struct shoal_note note;
    if (t->n_torrents == TRANSFER_TORRENTS_MAX)
        return ui_fail("%s: more than %u torrents", source, TRANSFER_TORRENTS_MAX);
    struct transfer_torrent *tt = &t->torrents[t->n_torrents];
    *tt = (struct transfer_torrent){.source = source, .began_at_us = now_us()};
    if (shoal_torrent_add(t->session, &tt->handle, source, &t->torrent_options, &note))
        return ui_fail("%s: %s", source, note.text);
    t->n_torrents++;
    report_added(t, tt);
    return EXIT_OK;
}

void transfer_clear(struct transfer *t)
{
    signal_session = NULL;
    shoal_session_free(t->session, STOP_TIMEOUT_MS);
    t->session = NULL;
}

/* --- running --------------------------------------------------------------------------------- */

static struct transfer_torrent *find(struct transfer *t, uint32_t handle)
{
    for (uint32_t i = 0; i < t->n_torrents; i++)
        if (t->torrents[i].handle == handle)
            return &t->torrents[i];
    return NULL;
}

static void on_state(struct transfer *t, struct transfer_torrent *tt, enum shoal_state state)
{
    tt->is_failed = state == SHOAL_STATE_ERROR;
    bool is_complete = state == SHOAL_STATE_FINISHED || state == SHOAL_STATE_SEEDING;
    if (!is_complete || tt->is_complete)
        return;
    tt->is_complete = true;
    tt->completed_at_us = now_us();
    report_complete(t, tt);
}

static void handle_events(struct transfer *t)
{
    struct shoal_event e;
    while (shoal_session_next_event(t->session, &e)) {
        struct transfer_torrent *tt = find(t, e.torrent);
        if (!tt)
            continue;
        report_event(t, tt, &e);
        if (e.kind == SHOAL_EVENT_STATE)
            on_state(t, tt, e.state);
        else if (e.kind == SHOAL_EVENT_ERROR)
            tt->is_failed = true;
        else if (e.kind == SHOAL_EVENT_GOAL)
            tt->is_goal_reached = true;
        else if (e.kind == SHOAL_EVENT_REMOVED)
            tt->is_removed = true;
        else if (e.kind == SHOAL_EVENT_PIECE)
            tt->is_why_told = false;
    }
}

/* A torrent is settled when nothing more is to come from running on. */
static bool is_settled(const struct transfer *t, const struct transfer_torrent *tt)
{
    if (tt->is_failed || tt->is_removed)
        return true;
    if (t->is_seed_after)
        return tt->is_goal_reached;
    return tt->is_complete && !t->is_seed_verb;
}

static bool all_settled(const struct transfer *t)
{
    for (uint32_t i = 0; i < t->n_torrents; i++)
        if (!is_settled(t, &t->torrents[i]))
            return false;
    return true;
}

static void tell_why_where_stuck(struct transfer *t)
{
    struct shoal_status s;
    for (uint32_t i = 0; i < t->n_torrents; i++) {
        struct transfer_torrent *tt = &t->torrents[i];
        if (tt->is_complete || tt->is_why_told || !shoal_torrent_status(t->session, tt->handle, &s))
            continue;
        bool is_waiting = s.state == SHOAL_STATE_DOWNLOADING || s.state == SHOAL_STATE_METADATA;
        if (is_waiting && s.stalled_s >= WHY_AFTER_S) {
            tt->is_why_told = true;
            report_why(t, tt);
        }
    }
}

static int exit_code(const struct transfer *t)
{
    bool is_incomplete = false;
    for (uint32_t i = 0; i < t->n_torrents; i++) {
        if (t->torrents[i].is_failed)
            return EXIT_FAIL;
        is_incomplete |= !t->torrents[i].is_complete;
    }
    return is_incomplete ? EXIT_INCOMPLETE : EXIT_OK;
}

/* Stopping syncs the data and says goodbye to trackers: what fails then is told, too. */
static void handle_stop_events(struct transfer *t)
{
    struct shoal_event e;
    while (shoal_session_next_event(t->session, &e)) {
        struct transfer_torrent *tt = find(t, e.torrent);
        if (tt && e.kind == SHOAL_EVENT_REMOVED)
            tt->is_removed = true;
        if (!tt || e.kind != SHOAL_EVENT_ERROR || tt->is_failed)
            continue;
        tt->is_failed = true;
        report_event(t, tt, &e);
    }
}

static bool all_removed(const struct transfer *t)
{
    for (uint32_t i = 0; i < t->n_torrents; i++)
        if (!t->torrents[i].is_removed)
            return false;
    return true;
}

static void stop_all(struct transfer *t)
{
    uint64_t deadline_us = now_us() + STOP_TIMEOUT_MS * 1000u;
    for (uint32_t i = 0; i < t->n_torrents; i++)
        shoal_torrent_remove(t->session, t->torrents[i].handle);
    handle_stop_events(t);
    for (uint64_t now = now_us(); !all_removed(t) && now < deadline_us; now = now_us()) {
        shoal_session_run(t->session, (int)((deadline_us - now) / 1000u) + 1);
        handle_stop_events(t);
    }
}

int transfer_run(struct transfer *t)
{
    uint64_t every_us = (t->is_json ? JSON_PROGRESS_MS : REDRAW_MS) * 1000u;
    uint64_t report_at_us = now_us() + every_us;
    handle_events(t);
    while (!n_stop_signals && !all_settled(t)) {
        uint64_t now = now_us();
        shoal_session_run(t->session,
                          report_at_us > now ? (int)((report_at_us - now) / 1000u) + 1 : 0);
        handle_events(t);
        if (now_us() < report_at_us)
            continue;
        report_at_us = now_us() + every_us;
        report_progress(t);
        tell_why_where_stuck(t);
    }
    report_final(t);
    stop_all(t);
    int code = exit_code(t);
    report_end(t, code);
    return code;
}
