#include "cli/transfer_report.h"
#include "cli/cli.h"
#include <jansson.h>
#include <time.h>

#define SOURCES_MAX 512u
#define TEXT_CAP    4096u

/* --- JSON ------------------------------------------------------------------------------------ */

/* Takes over `fields`; adds the event's name and time and prints the line. */
static void print_json(const char *event, const struct transfer_torrent *tt, json_t *fields)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    json_t *line = json_pack("{s:s, s:f}", "event", event, "time",
                             (double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
    if (tt)
        json_object_set_new(line, "torrent", json_string(tt->source));
    if (fields)
        json_object_update(line, fields);
    json_decref(fields);
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(13));
    putchar('\n');
    fflush(stdout);
    json_decref(line);
}

static json_t *json_u64(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static void set_u64(json_t *object, const char *key, uint64_t v)
{
    json_object_set_new(object, key, json_u64(v));
}

static json_t *string_or_null(const char *s)
{
    return s[0] ? json_string(s) : json_null();
}

void report_listening(struct transfer *t)
{
    if (t->is_json)
        print_json("listening", NULL,
                   json_pack("{s:i}", "port", (int)shoal_session_port(t->session)));
}

void report_added(struct transfer *t, const struct transfer_torrent *tt)
{
    struct shoal_status s;
    char magnet[TEXT_CAP];
    if (!shoal_torrent_status(t->session, tt->handle, &s))
        return;
    shoal_torrent_magnet(t->session, tt->handle, magnet, sizeof magnet);
    if (t->is_json)
        print_json("added", tt,
                   json_pack("{s:o, s:o, s:o, s:o}", "name", string_or_null(s.name), "infohash_v1",
                             string_or_null(s.infohash_v1), "infohash_v2",
                             string_or_null(s.infohash_v2), "magnet", string_or_null(magnet)));
    else if (t->is_seed_verb && magnet[0])
        printf("%s\n", magnet), fflush(stdout);
}

static json_t *progress_fields(const struct shoal_status *s)
{
    json_t *f = json_pack("{s:s}", "state", shoal_state_name(s->state));
    set_u64(f, "have_len", s->have_wanted_len);
    set_u64(f, "wanted_len", s->wanted_len);
    set_u64(f, "down_per_s", s->down_per_s);
    set_u64(f, "up_per_s", s->up_per_s);
    set_u64(f, "down_total", s->down_session);
    set_u64(f, "up_total", s->up_session);
    set_u64(f, "wasted_len", s->wasted_len);
    set_u64(f, "bad_len", s->bad_len);
    set_u64(f, "peers", s->n_peers);
    set_u64(f, "seeds", s->n_seeds);
    set_u64(f, "known_peers", s->n_known_peers);
    return f;
}

static json_t *sources_of(struct transfer *t, const struct transfer_torrent *tt)
{
    static struct shoal_peer peers[SOURCES_MAX];
    json_t *list = json_array();
    size_t n = shoal_torrent_sources(t->session, tt->handle, peers, SOURCES_MAX);
    for (size_t i = 0; i < n && i < SOURCES_MAX; i++)
        if (peers[i].down_total || peers[i].up_total)
            json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "peer", peers[i].addr,
                                                  "client", peers[i].client, "down_len",
                                                  json_u64(peers[i].down_total), "up_len",
                                                  json_u64(peers[i].up_total)));
    return list;
}

static void json_event(struct transfer *t, struct transfer_torrent *tt, const struct shoal_event *e)
{
    struct shoal_status s = {0};
    shoal_torrent_status(t->session, tt->handle, &s);
    json_t *error = e->note.code ? json_string(e->note.text) : json_null();
    switch (e->kind) {
    case SHOAL_EVENT_STATE:
        json_decref(error);
        print_json("state", tt,
                   json_pack("{s:s, s:o, s:o, s:o}", "state", shoal_state_name(e->state),
                             "n_checked", json_u64(s.n_checked), "have_len",
                             json_u64(s.have_wanted_len), "error", string_or_null(s.error)));
        return;
    case SHOAL_EVENT_METADATA:
        json_decref(error);
        print_json("metadata", tt,
                   json_pack("{s:s, s:o, s:o}", "name", s.name, "total_len", json_u64(s.total_len),
                             "n_files", json_u64(s.n_files)));
        return;
    case SHOAL_EVENT_PIECE_BAD:
        json_decref(error);
        print_json("piece_bad", tt, json_pack("{s:o}", "piece", json_u64(e->piece)));
        return;
    case SHOAL_EVENT_PEER_BANNED:
        print_json("peer_banned", tt, json_pack("{s:s, s:o}", "peer", e->text, "why", error));
        return;
    case SHOAL_EVENT_TRACKER:
        print_json(
            "tracker", tt,
            json_pack("{s:s, s:o, s:o}", "url", e->text, "peers", json_u64(e->n), "error", error));
        return;
    case SHOAL_EVENT_ERROR:
        print_json("error", tt, json_pack("{s:o}", "error", error));
        return;
    case SHOAL_EVENT_GOAL:
        json_decref(error);
        print_json("goal", tt, NULL);
        return;
    default:
        json_decref(error);
    }
}

static json_t *counters(struct transfer *t)
{
    json_t *all = json_object();
    const char *name;
    uint64_t value;
    for (size_t i = 0; shoal_session_counter(t->session, i, &name, &value); i++)
        if (value)
            set_u64(all, name, value);
    return all;
}

/* --- for people ------------------------------------------------------------------------------ */

static const char *label(const struct transfer_torrent *tt, const struct shoal_status *s)
{
    return s->name[0] ? s->name : tt->source;
}

void report_event(struct transfer *t, struct transfer_torrent *tt, const struct shoal_event *e)
{
    if (t->is_json)
        json_event(t, tt, e);
    else if (e->kind == SHOAL_EVENT_ERROR)
        ui_fail("%s: %s", tt->source, e->note.text);
    else if (e->kind == SHOAL_EVENT_PEER_BANNED && !t->is_quiet && ui_is_terminal(stderr)) {
        ui_progress_end();
        fprintf(stderr, "peer %s is banned: %s\n", e->text, e->note.text);
    }
}

static int by_rate(const void *a, const void *b)
{
    uint64_t x = ((const struct shoal_peer *)a)->down_per_s;
    uint64_t y = ((const struct shoal_peer *)b)->down_per_s;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* "10.0.0.1:6881 62 %, 10.0.0.2:6881 30 %": who sends, the fastest three. */
static void describe_sources(struct transfer *t, const struct transfer_torrent *tt, char *out,
                             size_t out_cap)
{
    static struct shoal_peer peers[SOURCES_MAX];
    size_t n = shoal_torrent_peers(t->session, tt->handle, peers, SOURCES_MAX);
    n = n < SOURCES_MAX ? n : SOURCES_MAX;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += peers[i].down_per_s;
    qsort(peers, n, sizeof *peers, by_rate);
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n && i < 3 && peers[i].down_per_s && len < out_cap; i++) {
        int got = snprintf(out + len, out_cap - len, "%s%s %.0f %%", i ? ", " : " from ",
                           peers[i].addr, 100.0 * (double)peers[i].down_per_s / (double)sum);
        len += got > 0 ? (size_t)got : 0;
    }
}

static void draw_download(struct transfer *t, const struct transfer_torrent *tt,
                          const struct shoal_status *s, const char *prefix)
{
    char rate[UI_NUMBER_CAP], left[UI_NUMBER_CAP], sources[256];
    uint64_t missing = s->wanted_len - s->have_wanted_len;
    double percent =
        s->wanted_len ? 100.0 * (double)s->have_wanted_len / (double)s->wanted_len : 0.0;
    describe_sources(t, tt, sources, sizeof sources);
    ui_progress("%s%s  %.1f %%  %s  %s left  %u peers%s", prefix, label(tt, s), percent,
                ui_rate(s->down_per_s, rate),
                s->down_per_s ? ui_duration(missing / s->down_per_s, left) : "?", s->n_peers,
                sources);
}

static void draw_one(struct transfer *t, const struct transfer_torrent *tt, const char *prefix)
{
    struct shoal_status s;
    char a[UI_NUMBER_CAP], b[UI_NUMBER_CAP];
    if (!shoal_torrent_status(t->session, tt->handle, &s))
        return;
    switch (s.state) {
    case SHOAL_STATE_DOWNLOADING:
        draw_download(t, tt, &s, prefix);
        break;
    case SHOAL_STATE_CHECKING:
        ui_progress("%s%s  checking %u of %u pieces", prefix, label(tt, &s), s.n_checked,
                    s.n_pieces);
        break;
    case SHOAL_STATE_SEEDING:
    case SHOAL_STATE_FINISHED:
        ui_progress("%s%s  seeding  up %s (%s)  %u peers, %u interested", prefix, label(tt, &s),
                    ui_size(s.up_session, a), ui_rate(s.up_per_s, b), s.n_peers, s.n_interested);
        break;
    default:
        ui_progress("%s%s  %s  %u peers, %u known", prefix, label(tt, &s),
                    shoal_state_name(s.state), s.n_peers, s.n_known_peers);
    }
}

void report_progress(struct transfer *t)
{
    struct shoal_status s;
    char prefix[48] = "";
    const struct transfer_torrent *shown = NULL;
    uint32_t n_complete = 0;
    for (uint32_t i = 0; i < t->n_torrents; i++) {
        const struct transfer_torrent *tt = &t->torrents[i];
        n_complete += tt->is_complete;
        if (t->is_json && shoal_torrent_status(t->session, tt->handle, &s))
            print_json("progress", tt, progress_fields(&s));
        if (!shown || (shown->is_complete && !tt->is_complete))
            shown = tt;
    }
    if (t->is_json || t->is_quiet || !shown)
        return;
    if (t->n_torrents > 1)
        snprintf(prefix, sizeof prefix, "[%u of %u complete] ", n_complete, t->n_torrents);
    draw_one(t, shown, prefix);
}

void report_complete(struct transfer *t, struct transfer_torrent *tt)
{
    struct shoal_status s;
    char size[UI_NUMBER_CAP], rate[UI_NUMBER_CAP], time[UI_NUMBER_CAP];
    if (!shoal_torrent_status(t->session, tt->handle, &s))
        return;
    uint64_t us = tt->completed_at_us - tt->began_at_us;
    if (t->is_json) {
        json_t *f = progress_fields(&s);
        json_object_set_new(f, "seconds", json_real((double)us / 1e6));
        json_object_set_new(f, "sources", sources_of(t, tt));
        print_json("complete", tt, f);
    } else if (!t->is_seed_verb && !t->is_quiet && ui_is_terminal(stdout)) {
        ui_progress_end();
        printf("%s: %s in %s (%s), verified\n", label(tt, &s), ui_size(s.down_session, size),
               ui_duration(us / 1000000u, time),
               ui_rate(us ? s.down_session * 1000000u / us : 0, rate));
    }
}

void report_why(struct transfer *t, struct transfer_torrent *tt)
{
    char why[TEXT_CAP];
    shoal_torrent_why(t->session, tt->handle, why, sizeof why);
    if (t->is_json) {
        print_json("why", tt, json_pack("{s:s}", "text", why));
    } else if (!t->is_quiet && ui_is_terminal(stderr)) {
        ui_progress_end();
        fprintf(stderr, "%s waits: %s\n", tt->source, why);
    }
}

void report_final(struct transfer *t)
{
    ui_progress_end();
    if (!t->is_json)
        return;
    for (uint32_t i = 0; i < t->n_torrents; i++) {
        struct shoal_status s;
        if (!shoal_torrent_status(t->session, t->torrents[i].handle, &s))
            continue;
        json_t *f = progress_fields(&s);
        json_object_set_new(f, "sources", sources_of(t, &t->torrents[i]));
        print_json("final", &t->torrents[i], f);
    }
}

void report_end(struct transfer *t, int exit_code)
{
    if (t->is_json)
        print_json("end", NULL,
                   json_pack("{s:i, s:o}", "exit_code", exit_code, "counters", counters(t)));
}
