/* The torrent half of shoal/session.h: adding from files, URLs and links, status, peers. */
#include "base/hex.h"
#include "io/fetch.h"
#include "io/resolve.h"
#include "lib/lib.h"
#include "store/resume_store.h"
#include <errno.h>
#include <fnmatch.h>
#include <sys/stat.h>

#define FETCH_TIMEOUT_MS 60000u

void shoal_torrent_options_init(struct shoal_torrent_options *options)
{
    *options = (struct shoal_torrent_options){0};
}

/* --- handles --------------------------------------------------------------------------------- */

struct lib_torrent *lib_torrent_find(struct shoal_session *s, uint32_t handle)
{
    LIST_EACH(&s->torrents, t, struct lib_torrent, in_session)
    if (t->handle == handle)
        return t;
    return NULL;
}

struct lib_torrent *lib_torrent_of_engine(struct shoal_session *s, uint32_t torrent)
{
    LIST_EACH(&s->torrents, t, struct lib_torrent, in_session)
    if (t->is_known && t->torrent == torrent)
        return t;
    return NULL;
}

void lib_torrent_free(struct shoal_session *s, struct lib_torrent *t)
{
    list_remove(&s->torrents, &t->in_session);
    if (t->has_magnet)
        magnet_clear(&t->magnet);
    arena_clear(&t->arena);
    mem_free(&s->mem, t);
}

/* A copy of the caller's list of strings; NULL when memory is refused. */
static const char *const *copy_list(struct arena *a, const char *const *list, size_t n)
{
    const char **copy = arena_calloc(a, n + 1, sizeof *copy);
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = arena_str(a, bytes_of_str(list[i]));
        if (!copy[i])
            return NULL;
    }
    return copy;
}

static bool copy_options(struct lib_torrent *t, const struct shoal_torrent_options *o)
{
    t->options = *o;
    t->options.dir = arena_str(&t->arena, bytes_of_str(o->dir ? o->dir : "."));
    t->options.only = copy_list(&t->arena, o->only, o->n_only);
    t->options.trackers = copy_list(&t->arena, o->trackers, o->n_trackers);
    t->options.peers = copy_list(&t->arena, o->peers, o->n_peers);
    return t->options.dir && t->options.only && t->options.trackers && t->options.peers;
}

static struct lib_torrent *torrent_new(struct shoal_session *s, const char *source,
                                       const struct shoal_torrent_options *o)
{
    struct lib_torrent *t = mem_calloc(&s->mem, 1, sizeof *t);
    if (!t)
        return NULL;
    arena_init(&t->arena, &s->mem, MEM_NO_BUDGET);
    t->handle = s->next_handle++;
    list_push_back(&s->torrents, &t->in_session);
    t->source = arena_str(&t->arena, bytes_of_str(source));
    if (t->source && copy_options(t, o))
        return t;
    lib_torrent_free(s, t);
    return NULL;
}

/* --- which files ----------------------------------------------------------------------------- */

/* `pattern` names a file by its whole path, its path without the top folder, its last element, a
 * folder above it, or a shell pattern of one of these. */
static bool path_matches(const char *path, const char *pattern)
{
    const char *inner = strchr(path, '/');
    const char *last = strrchr(path, '/');
    const char *forms[] = {path, inner ? inner + 1 : NULL, last ? last + 1 : NULL};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i] && (strcmp(forms[i], pattern) == 0 ||
                         fnmatch(pattern, forms[i], FNM_PATHNAME | FNM_LEADING_DIR) == 0))
            return true;
    return false;
}

#define PRIORITY_NORMAL 4

/* One byte per file in the torrent's arena; NULL: all are wanted. *out_n_wanted files are. */
static uint8_t *file_priorities(struct lib_torrent *t, const struct metainfo *info,
                                uint32_t *out_n_wanted)
{
    *out_n_wanted = info->n_files;
    bool has_ranges = t->has_magnet && t->magnet.n_ranges;
    if (!t->options.n_only && !has_ranges)
        return NULL;
    uint8_t *p = arena_calloc(&t->arena, info->n_files, 1);
    *out_n_wanted = 0;
    for (uint32_t i = 0; p && i < info->n_files; i++) {
        bool is_wanted = !t->options.n_only && magnet_selects(&t->magnet, i);
        for (size_t k = 0; k < t->options.n_only && !is_wanted; k++)
            is_wanted = path_matches(info->files[i].path, t->options.only[k]);
        p[i] = is_wanted && !(info->files[i].flags & FILE_PAD) ? PRIORITY_NORMAL : 0;
        *out_n_wanted += p[i] != 0;
    }
    return p;
}

void lib_torrent_on_metadata(struct shoal_session *s, struct lib_torrent *t)
{
    uint32_t n_wanted;
    const struct metainfo *info = session_metainfo(s->engine, t->torrent);
    uint8_t *priorities = info ? file_priorities(t, info, &n_wanted) : NULL;
    if (!priorities)
        return;
    enum err_code code = session_set_file_priorities(s->engine, clock_now_us(), t->torrent,
                                                     priorities, info->n_files);
    if (code || n_wanted == 0) {
        struct shoal_event e = {.kind = SHOAL_EVENT_ERROR, .torrent = t->handle};
        if (code)
            lib_note_text(&e.note, SHOAL_ERR_NO_MEMORY, "no memory to select files");
        else
            lib_note_text(&e.note, SHOAL_ERR_NOT_FOUND, "no file of the torrent is selected");
        lib_push_event(s, &e);
    }
}

/* --- handing over to the engine -------------------------------------------------------------- */

static void start_peers(struct shoal_session *s, struct lib_torrent *t)
{
    struct shoal_note note;
    for (size_t i = 0; i < t->options.n_peers; i++)
        if (shoal_torrent_add_peer(s, t->handle, t->options.peers[i], &note))
            LOG(&s->log, LOG_WARN, "peers", "peer ignored text=%s why=%s", t->options.peers[i],
                note.text);
    for (uint32_t i = 0; t->has_magnet && i < t->magnet.n_peers; i++) {
        char text[320];
        const struct magnet_peer *p = &t->magnet.peers[i];
        if (p->addr.family)
            session_add_peer(s->engine, clock_now_us(), t->torrent, &p->addr);
        else if (snprintf(text, sizeof text, "%s:%u", p->host, p->port) < (int)sizeof text &&
                 shoal_torrent_add_peer(s, t->handle, text, &note))
            LOG(&s->log, LOG_DEBUG, "peers", "x.pe ignored why=%s", note.text);
    }
}

/* Resume data of the torrent with this key, in `out`; none is no error. */
static void load_resume(struct shoal_session *s, const uint8_t *key, struct buf *out)
{
    struct err err = {0};
    buf_init(out, &s->mem, RESUME_LEN_MAX);
    if (resume_store_get(s->resume, bytes_of(key, SHA1_LEN), out, &err) &&
        err.code != ERR_NOT_FOUND)
        LOG(&s->log, LOG_WARN, "state", "resume data not read what=%s", err.what);
}

/* Takes info over (or uses the magnet of t). */
static enum err_code hand_over(struct shoal_session *s, struct lib_torrent *t,
                               struct metainfo *info, struct err *err)
{
    struct buf resume;
    uint32_t n_wanted = 1;
    const struct shoal_torrent_options *o = &t->options;
    struct torrent_params params = {
        .info = info,
        .magnet = info ? NULL : &t->magnet,
        .dir = o->dir,
        .own_trackers = o->trackers,
        .n_own_trackers = o->n_trackers,
        .check = (enum torrent_check)o->check,
        .alloc = o->is_preallocated ? STORE_FULL : STORE_SPARSE,
        .is_seed_only = o->is_seed_only,
        .is_sequential = o->is_sequential,
        .is_paused = o->is_paused,
        .file_priorities = info ? file_priorities(t, info, &n_wanted) : NULL,
        .seed_ratio_milli = (uint64_t)(o->seed_ratio * 1000.0),
        .seed_time_us = o->seed_time_s * US_PER_S,
    };
    if (n_wanted == 0) {
        metainfo_free(info);
        return err_set(err, ERR_NOT_FOUND, "no file of the torrent is selected");
    }
    load_resume(s, info ? metainfo_key(info) : magnet_key(&t->magnet), &resume);
    params.resume = buf_bytes(&resume);
    enum err_code code = session_add(s->engine, clock_now_us(), &params, &t->torrent, err);
    buf_clear(&resume);
    if (code)
        return code;
    t->is_known = true;
    start_peers(s, t);
    io_host_poke(s->host);
    return ERR_OK;
}

static enum err_code add_trackers(struct lib_torrent *t, struct metainfo *info)
{
    for (size_t i = 0; i < t->options.n_trackers; i++) {
        uint32_t tier = info->n_trackers ? info->trackers[info->n_trackers - 1].tier + 1 : 0;
        if (metainfo_add_tracker(info, t->options.trackers[i], tier))
            return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static enum err_code add_metainfo(struct shoal_session *s, struct lib_torrent *t, struct bytes file,
                                  struct err *err)
{
    struct metainfo *info;
    if (metainfo_read(&info, file, &s->mem, NULL, err))
        return err->code;
    if (add_trackers(t, info)) {
        metainfo_free(info);
        return err_set(err, ERR_NO_MEMORY, "no memory for trackers");
    }
    return hand_over(s, t, info, err);
}

/* --- sources --------------------------------------------------------------------------------- */

static enum err_code add_magnet(struct shoal_session *s, struct lib_torrent *t, struct err *err)
{
    struct buf link; /* the user's trackers join the link's */
    buf_init(&link, &s->mem, MAGNET_LEN_MAX);
    buf_str(&link, t->source);
    for (size_t i = 0; i < t->options.n_trackers; i++) {
        char escaped[3 * METAINFO_URL_LEN_MAX];
        struct writer w = writer_init(escaped, sizeof escaped);
        percent_encode(&w, bytes_of_str(t->options.trackers[i]));
        buf_str(&link, "&tr=");
        buf_put(&link, writer_bytes(&w));
    }
    enum err_code code = link.err ? err_set(err, link.err, "the link is too long")
                                  : magnet_read(&t->magnet, buf_bytes(&link), &s->mem, err);
    buf_clear(&link);
    if (code)
        return code;
    t->has_magnet = true;
    return hand_over(s, t, NULL, err);
}

static enum err_code read_whole(const char *path, struct buf *out, struct err *err)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return err_set_at(err, ERR_IO, "cannot open", 0, (uint64_t)errno, 0);
    char part[1 << 16];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0 && !out->err;)
        buf_put(out, bytes_of(part, n));
    int read_errno = ferror(f) ? errno : 0;
    fclose(f);
    if (read_errno)
        return err_set_at(err, ERR_IO, "cannot read", 0, (uint64_t)read_errno, 0);
    if (out->err)
        return err_set_at(err, out->err, "larger than a .torrent file may be", 0, 0,
                          LIB_TORRENT_LEN_MAX);
    return ERR_OK;
}

static enum err_code add_file(struct shoal_session *s, struct lib_torrent *t, struct err *err)
{
    struct buf file;
    buf_init(&file, &s->mem, LIB_TORRENT_LEN_MAX);
    enum err_code code = read_whole(t->source, &file, err);
    if (!code)
        code = add_metainfo(s, t, buf_bytes(&file), err);
    buf_clear(&file);
    return code;
}

static void on_fetch_failed(struct shoal_session *s, struct lib_torrent *t, const char *text,
                            enum shoal_err code)
{
    struct shoal_event e = {.kind = SHOAL_EVENT_ERROR, .torrent = t->handle};
    t->is_fetching = false;
    snprintf(t->fetch_error, sizeof t->fetch_error, "%s", text);
    lib_note_text(&e.note, code, text);
    lib_push_event(s, &e);
}

static void on_torrent_fetched(void *ctx, uint64_t job, const struct err *err, uint32_t http_status,
                               struct bytes body)
{
    struct shoal_session *s = ctx;
    struct lib_torrent *t = lib_torrent_find(s, (uint32_t)job);
    char text[160];
    struct err add_err = {0};
    if (!t)
        return;
    if (err && err->code) {
        on_fetch_failed(s, t, err_format(err, text, sizeof text), (enum shoal_err)err->code);
    } else if (http_status != 200) {
        snprintf(text, sizeof text, "the server answered with HTTP status %u", http_status);
        on_fetch_failed(s, t, text, SHOAL_ERR_IO);
    } else if (add_metainfo(s, t, body, &add_err)) {
        on_fetch_failed(s, t, err_format(&add_err, text, sizeof text),
                        (enum shoal_err)add_err.code);
    }
    t->is_fetching = false;
}

static enum err_code add_url(struct shoal_session *s, struct lib_torrent *t, struct err *err)
{
    struct fetch request = {
        .url = t->source,
        .user_agent = "shoal/" SHOAL_VERSION,
        .body_len_max = LIB_TORRENT_LEN_MAX,
        .timeout_ms = FETCH_TIMEOUT_MS,
    };
    t->is_fetching = true;
    if (fetch_start(s->fetch, &request, on_torrent_fetched, s, t->handle))
        return err_set(err, ERR_NO_MEMORY, "no memory for a request");
    return ERR_OK;
}

static bool is_url(const char *source)
{
    return strncasecmp(source, "http://", 7) == 0 || strncasecmp(source, "https://", 8) == 0;
}

enum shoal_err shoal_torrent_add(struct shoal_session *s, uint32_t *out, const char *source,
                                 const struct shoal_torrent_options *options,
                                 struct shoal_note *note)
{
    struct err err = {0};
    struct lib_torrent *t = torrent_new(s, source, options);
    if (!t)
        return lib_note_text(note, SHOAL_ERR_NO_MEMORY, "no memory for a torrent");
    *out = t->handle;
    enum err_code code = is_url(source)           ? add_url(s, t, &err)
                         : magnet_is_link(source) ? add_magnet(s, t, &err)
                                                  : add_file(s, t, &err);
    if (code) {
        lib_torrent_free(s, t);
        return lib_note(note, &err);
    }
    return SHOAL_OK;
}

enum shoal_err shoal_torrent_add_bytes(struct shoal_session *s, uint32_t *out, const void *data,
                                       size_t data_len, const struct shoal_torrent_options *options,
                                       struct shoal_note *note)
{
    struct err err = {0};
    struct lib_torrent *t = torrent_new(s, "", options);
    if (!t)
        return lib_note_text(note, SHOAL_ERR_NO_MEMORY, "no memory for a torrent");
    *out = t->handle;
    if (add_metainfo(s, t, bytes_of(data, data_len), &err)) {
        lib_torrent_free(s, t);
        return lib_note(note, &err);
    }
    return SHOAL_OK;
}

/* --- doing things to a torrent --------------------------------------------------------------- */

void shoal_torrent_remove(struct shoal_session *s, uint32_t handle)
{
    struct lib_torrent *t = lib_torrent_find(s, handle);
    if (!t)
        return;
    if (t->is_known) {
        session_remove(s->engine, clock_now_us(), t->torrent);
        io_host_poke(s->host);
        return;
    }
    struct shoal_event e = {.kind = SHOAL_EVENT_REMOVED, .torrent = handle};
    lib_push_event(s, &e);
    lib_torrent_free(s, t);
}

void shoal_torrent_pause(struct shoal_session *s, uint32_t handle)
{
    struct lib_torrent *t = lib_torrent_find(s, handle);
    if (t && t->is_known)
        session_pause(s->engine, clock_now_us(), t->torrent);
    io_host_poke(s->host);
}

void shoal_torrent_resume(struct shoal_session *s, uint32_t handle)
{
    struct lib_torrent *t = lib_torrent_find(s, handle);
    if (t && t->is_known)
        session_resume(s->engine, clock_now_us(), t->torrent);
    io_host_poke(s->host);
}

static void on_peer_resolved(void *ctx, uint64_t job, const struct err *err,
                             const struct addr *addrs, size_t n_addrs)
{
    struct shoal_session *s = ctx;
    struct lib_torrent *t = lib_torrent_find(s, (uint32_t)job);
    if (err && err->code)
        LOG(&s->log, LOG_WARN, "peers", "peer name not found why=%s", err->what);
    for (size_t i = 0; t && t->is_known && i < n_addrs; i++)
        session_add_peer(s->engine, clock_now_us(), t->torrent, &addrs[i]);
    io_host_poke(s->host);
}

/* "NAME:PORT" into its parts. */
static bool split_host_port(const char *text, char *host, size_t host_cap, uint16_t *out_port)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || (size_t)(colon - text) >= host_cap)
        return false;
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (end == colon + 1 || *end || port == 0 || port > 65535)
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    *out_port = (uint16_t)port;
    return true;
}

enum shoal_err shoal_torrent_add_peer(struct shoal_session *s, uint32_t handle,
                                      const char *host_port, struct shoal_note *note)
{
    struct addr a;
    char host[256];
    uint16_t port;
    struct lib_torrent *t = lib_torrent_find(s, handle);
    if (!t || !t->is_known)
        return lib_note_text(note, SHOAL_ERR_NOT_FOUND, "no such torrent");
    if (addr_parse(bytes_of_str(host_port), 0, &a) == ERR_OK && a.port) {
        session_add_peer(s->engine, clock_now_us(), t->torrent, &a);
        io_host_poke(s->host);
        return SHOAL_OK;
    }
    if (!split_host_port(host_port, host, sizeof host, &port))
        return lib_note_text(note, SHOAL_ERR_MALFORMED, "a peer is HOST:PORT");
    if (resolve_start(s->resolver, host, port, on_peer_resolved, s, handle))
        return lib_note_text(note, SHOAL_ERR_NO_MEMORY, "no memory for a look-up");
    return SHOAL_OK;
}

/* --- status ---------------------------------------------------------------------------------- */

const char *shoal_state_name(enum shoal_state state)
{
    static const char *const names[] = {
        [SHOAL_STATE_FETCHING] = "fetching",       [SHOAL_STATE_OPENING] = "opening",
        [SHOAL_STATE_CHECKING] = "checking",       [SHOAL_STATE_METADATA] = "metadata",
        [SHOAL_STATE_DOWNLOADING] = "downloading", [SHOAL_STATE_FINISHED] = "finished",
        [SHOAL_STATE_SEEDING] = "seeding",         [SHOAL_STATE_ERROR] = "error",
        [SHOAL_STATE_PAUSED] = "paused",           [SHOAL_STATE_STOPPING] = "stopping",
        [SHOAL_STATE_STOPPED] = "stopped",
    };
    return (unsigned)state < sizeof names / sizeof *names ? names[state] : "unknown";
}

static void fill_identity(struct shoal_session *s, struct lib_torrent *t, struct shoal_status *out)
{
    const struct metainfo *info = session_metainfo(s->engine, t->torrent);
    const char *name = info ? info->name : t->has_magnet ? t->magnet.name : NULL;
    bool has_v1 = info ? info->has_v1 : t->has_magnet && t->magnet.has_v1;
    bool has_v2 = info ? info->has_v2 : t->has_magnet && t->magnet.has_v2;
    const uint8_t *v1 = info ? info->infohash_v1 : t->magnet.infohash_v1;
    const uint8_t *v2 = info ? info->infohash_v2 : t->magnet.infohash_v2;
    if (name)
        log_escape(bytes_of_str(name), out->name, sizeof out->name);
    if (has_v1)
        hex_encode(bytes_of(v1, SHA1_LEN), out->infohash_v1, sizeof out->infohash_v1);
    if (has_v2)
        hex_encode(bytes_of(v2, SHA256_LEN), out->infohash_v2, sizeof out->infohash_v2);
    out->piece_len = info ? info->piece_len : 0;
    out->n_files = info ? info->n_files : 0;
}

static void fill_numbers(const struct torrent_stats *in, uint64_t now_us, struct shoal_status *out)
{
    out->state = lib_state(in->state);
    out->total_len = in->total_len;
    out->wanted_len = in->wanted_len;
    out->have_len = in->have_len;
    out->have_wanted_len = in->have_wanted_len;
    out->n_pieces = in->n_pieces;
    out->n_have = in->n_have;
    out->n_checked = in->n_checked;
    out->down_total = in->down_total;
    out->up_total = in->up_total;
    out->down_session = in->down_session;
    out->up_session = in->up_session;
    out->down_per_s = in->down_per_s;
    out->up_per_s = in->up_per_s;
    out->wasted_len = in->wasted_len;
    out->bad_len = in->bad_len;
    out->n_peers = in->n_peers;
    out->n_connecting = in->n_connecting;
    out->n_seeds = in->n_seeds;
    out->n_known_peers = in->n_known_peers;
    out->n_unchoked = in->n_unchoked;
    out->n_interested = in->n_interested;
    out->stalled_s =
        in->progress_at_us < now_us ? (uint32_t)((now_us - in->progress_at_us) / US_PER_S) : 0;
}

bool shoal_torrent_status(struct shoal_session *s, uint32_t handle, struct shoal_status *out)
{
    struct torrent_stats stats;
    struct lib_torrent *t = lib_torrent_find(s, handle);
    uint64_t now_us = clock_now_us();
    *out = (struct shoal_status){0};
    if (!t)
        return false;
    if (!t->is_known) {
        out->state = t->is_fetching ? SHOAL_STATE_FETCHING : SHOAL_STATE_ERROR;
        snprintf(out->error, sizeof out->error, "%s", t->fetch_error);
        return true;
    }
    if (!session_torrent_stats(s->engine, now_us, t->torrent, &stats))
        return false;
    fill_identity(s, t, out);
    fill_numbers(&stats, now_us, out);
    if (stats.state == TORRENT_ERROR) {
        struct shoal_note note;
        lib_note_storage(&note, &stats.err, session_metainfo(s->engine, t->torrent),
                         t->options.dir);
        snprintf(out->error, sizeof out->error, "%s", note.text);
    }
    return true;
}

char *shoal_torrent_why(struct shoal_session *s, uint32_t handle, char *out, size_t out_cap)
{
    struct lib_torrent *t = lib_torrent_find(s, handle);
    if (t && t->is_known)
        return session_torrent_why(s->engine, clock_now_us(), t->torrent, out, out_cap);
    snprintf(out, out_cap, "%s",
             t ? "the .torrent file is still being fetched" : "no such torrent");
    return out;
}

char *shoal_torrent_magnet(struct shoal_session *s, uint32_t handle, char *out, size_t out_cap)
{
    struct lib_torrent *t = lib_torrent_find(s, handle);
    const struct metainfo *info = t && t->is_known ? session_metainfo(s->engine, t->torrent) : NULL;
    struct buf link;
    if (out_cap == 0)
        return out;
    out[0] = '\0';
    buf_init(&link, &s->mem, out_cap - 1);
    if (info)
        magnet_write_metainfo(info, &link);
    else if (t && t->has_magnet)
        magnet_write(&t->magnet, &link);
    if (!link.err && link.len) {
        memcpy(out, link.data, link.len);
        out[link.len] = '\0';
    }
    buf_clear(&link);
    return out;
}

/* --- peers ----------------------------------------------------------------------------------- */

static void fill_peer(const struct peer_stats *in, struct shoal_peer *out)
{
    *out = (struct shoal_peer){
        .down_total = in->down_total,
        .up_total = in->up_total,
        .down_per_s = in->down_per_s,
        .up_per_s = in->up_per_s,
        .n_have = in->n_have,
        .am_choking = in->am_choking,
        .am_interested = in->am_interested,
        .peer_choking = in->peer_choking,
        .peer_interested = in->peer_interested,
        .is_incoming = in->is_incoming,
        .is_seed = in->is_seed,
        .is_snubbed = in->is_snubbed,
    };
    addr_format(&in->addr, out->addr);
    snprintf(out->client, sizeof out->client, "%s", in->client);
}

static size_t list_peers(struct shoal_session *s, uint32_t handle, struct shoal_peer *out,
                         size_t out_cap,
                         size_t (*list)(struct session *s, uint64_t now_us, uint32_t torrent,
                                        struct peer_stats *out, size_t out_cap))
{
    struct lib_torrent *t = lib_torrent_find(s, handle);
    size_t cap = size_min(out_cap, 4096);
    struct peer_stats *stats = t && t->is_known ? mem_alloc(&s->mem, cap * sizeof *stats) : NULL;
    if (!stats)
        return 0;
    size_t n = list(s->engine, clock_now_us(), t->torrent, stats, cap);
    for (size_t i = 0; i < n && i < cap; i++)
        fill_peer(&stats[i], &out[i]);
    mem_free(&s->mem, stats);
    return n;
}

size_t shoal_torrent_peers(struct shoal_session *s, uint32_t handle, struct shoal_peer *out,
                           size_t out_cap)
{
    return list_peers(s, handle, out, out_cap, session_peers);
}

size_t shoal_torrent_sources(struct shoal_session *s, uint32_t handle, struct shoal_peer *out,
                             size_t out_cap)
{
    return list_peers(s, handle, out, out_cap, session_sources);
}
