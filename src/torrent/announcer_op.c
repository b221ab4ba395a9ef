#include "torrent/announcer_private.h"
#include <assert.h>

#define FETCH_TIMEOUT_MS    30000u /* ours, as libtorrent: the whole of an HTTP announce */
#define UDP_N_RETRIES_OTHER 2u     /* ours: 105 s, when there are other trackers to ask */
#define PORT_UNDIALABLE     1u     /* ours: trackers refuse port 0 */
#define JOB_MAX             ((UINT64_C(1) << 48) - 1)

/* --- jobs ------------------------------------------------------------------------------------ */

static bool job_begin(struct announcer *a, struct announcer_job job, uint64_t *out)
{
    uint64_t id = a->last_job % JOB_MAX + 1;
    bool is_new;
    struct announcer_job *slot = map_put(&a->jobs, &id, &is_new);
    if (!slot)
        return false;
    assert(is_new);
    *slot = job;
    a->last_job = id;
    *out = id;
    return true;
}

/* Takes the job out; false when it is not known as such. */
static bool job_end(struct announcer *a, uint64_t id, enum job_kind kind, struct announcer_job *out)
{
    const struct announcer_job *job = map_get(&a->jobs, &id);
    if (!job || job->kind != kind) {
        a->counters[ANNOUNCER_LATE_ANSWER]++;
        return false;
    }
    *out = *job;
    map_remove(&a->jobs, &id);
    return true;
}

/* --- life of an op --------------------------------------------------------------------------- */

static void op_link(struct announcer_op *op, struct list *queue)
{
    op->queue = queue;
    list_push_back(queue, &op->in_queue);
}

static void op_unlink(struct announcer_op *op)
{
    if (op->queue)
        list_remove(op->queue, &op->in_queue);
    op->queue = NULL;
}

static bool op_is_udp(const struct announcer_op *op)
{
    return op->tracker->parts.scheme == TRACKER_UDP;
}

static void op_queue(struct announcer *a, struct announcer_op *op)
{
    op->state = OP_QUEUED;
    op_link(op, op_is_udp(op) ? &a->udp_queue : &a->fetch_queue);
}

enum err_code op_start(struct announcer *a, struct announcer_torrent *t,
                       struct announcer_tracker *tracker, enum op_kind kind,
                       enum tracker_event event, uint8_t hash, enum addr_family family)
{
    struct announcer_op *op = mem_calloc(a->mem, 1, sizeof *op);
    if (!op)
        return ERR_NO_MEMORY;
    op->torrent = t;
    op->tracker = tracker;
    op->kind = kind;
    op->event = event;
    op->hash = hash;
    op->family = family;
    list_push_back(&t->ops, &op->in_torrent);
    op_queue(a, op);
    return ERR_OK;
}

void op_cancel(struct announcer *a, struct announcer_op *op)
{
    op_unlink(op);
    list_remove(&op->torrent->ops, &op->in_torrent);
    if (op->state == OP_FETCHING) {
        struct announcer_job *job = map_get(&a->jobs, &op->job);
        job->op = NULL; /* its answer is still to come, and its place is taken till then */
    }
    if (op->state == OP_ASKING_UDP) {
        tracker_udp_cancel(&a->udp, op->job);
        map_remove(&a->jobs, &op->job);
    }
    mem_free(a->mem, op);
}

static void op_end(struct announcer *a, uint64_t now_us, struct announcer_op *op,
                   const struct op_outcome *outcome)
{
    op_unlink(op);
    list_remove(&op->torrent->ops, &op->in_torrent);
    announcer_op_done(a, now_us, op, outcome);
    mem_free(a->mem, op);
}

static void op_fail(struct announcer *a, uint64_t now_us, struct announcer_op *op,
                    enum err_code code, const char *what)
{
    struct op_outcome outcome = {.text = ""};
    err_set(&outcome.err, code, what);
    op_end(a, now_us, op, &outcome);
}

/* What the tracker said ends the op: a->reply. */
static void op_replied(struct announcer *a, uint64_t now_us, struct announcer_op *op)
{
    struct op_outcome outcome = {.text = a->reply.warning};
    a->counters[ANNOUNCER_PEERS_DROPPED] += a->reply.n_peers_dropped;
    if (a->reply.is_failure) {
        a->counters[ANNOUNCER_REPLY_FAILURE]++;
        err_set(&outcome.err, ERR_PROTOCOL, "tracker refused");
        outcome.text = a->reply.failure;
    }
    op_end(a, now_us, op, &outcome);
}

/* --- what is asked --------------------------------------------------------------------------- */

static void fill_announce(const struct announcer *a, struct announcer_op *op,
                          struct tracker_announce *out)
{
    const struct announcer_torrent *t = op->torrent;
    bool wants_none = t->progress->wants_no_peers || op->event == TRACKER_EVENT_STOPPED;
    *out = (struct tracker_announce){.uploaded = t->progress->uploaded,
                                     .downloaded = t->progress->downloaded,
                                     .left = t->progress->left,
                                     .corrupt = t->progress->corrupt,
                                     .key = t->key,
                                     .numwant = wants_none ? 0 : a->config.numwant,
                                     .port = a->config.listen_port,
                                     .event = op->event};
    if (out->port == 0)
        out->port = PORT_UNDIALABLE;
    memcpy(out->infohash, t->infohash[op->hash], SHA1_LEN);
    memcpy(out->peer_id, a->config.peer_id, sizeof out->peer_id);
    op->was_completed = t->is_completed;
}

static enum err_code write_url(struct announcer *a, struct announcer_op *op)
{
    struct writer w = writer_init(a->url, sizeof a->url);
    struct bytes url = bytes_of_str(op->tracker->url);
    if (op->kind == OP_SCRAPE)
        return tracker_http_scrape_url(
            url, (const uint8_t(*)[SHA1_LEN])op->torrent->infohash[op->hash], 1, &w);
    struct tracker_announce what;
    struct tracker_http_options options = {
        .ip = a->config.announce_ip,
        .tracker_id = bytes_of(op->tracker->tracker_id, op->tracker->tracker_id_len)};
    fill_announce(a, op, &what);
    return tracker_http_announce_url(url, &what, &options, &w);
}

/* --- HTTP ------------------------------------------------------------------------------------ */

static bool start_fetch(struct announcer *a, uint64_t now_us, struct announcer_op *op,
                        struct announcer_want *out)
{
    enum err_code code = write_url(a, op);
    if (code == ERR_OK &&
        !job_begin(a, (struct announcer_job){.kind = JOB_FETCH, .op = op}, &op->job))
        code = ERR_NO_MEMORY;
    if (code) {
        op_fail(a, now_us, op, code,
                code == ERR_UNSUPPORTED ? "tracker has no scrape URL" : "tracker request not made");
        return false;
    }
    op->state = OP_FETCHING;
    a->n_fetches++;
    *out = (struct announcer_want){.kind = ANNOUNCER_FETCH,
                                   .job = op->job,
                                   .torrent = op->torrent->id,
                                   .url = a->url,
                                   .ip_family = (uint8_t)op->family,
                                   .body_len_max = TRACKER_HTTP_REPLY_MAX,
                                   .timeout_ms = op->event == TRACKER_EVENT_STOPPED
                                                     ? ANNOUNCER_STOP_US / US_PER_MS
                                                     : FETCH_TIMEOUT_MS,
                                   .is_by_hand = op->tracker->is_by_hand};
    return true;
}

static bool next_fetch(struct announcer *a, uint64_t now_us, struct announcer_want *out)
{
    while (a->n_fetches < a->config.n_fetches_max && !list_is_empty(&a->fetch_queue)) {
        struct announcer_op *op =
            CONTAINER_OF(list_first(&a->fetch_queue), struct announcer_op, in_queue);
        op_unlink(op);
        if (start_fetch(a, now_us, op, out))
            return true;
        if (a->has_status)
            return false; /* told first */
    }
    return false;
}

/* The body into a->reply. */
static enum err_code read_body(struct announcer *a, struct announcer_op *op, struct bytes body,
                               struct err *err)
{
    if (op->kind == OP_ANNOUNCE)
        return tracker_http_read_reply(body, a->mem, &a->reply, err);
    tracker_reply_reset(&a->reply);
    return tracker_http_read_scrape(body, a->mem,
                                    (const uint8_t(*)[SHA1_LEN])op->torrent->infohash[op->hash], 1,
                                    &a->reply.counts, err);
}

void announcer_on_fetched(struct announcer *a, uint64_t now_us, uint64_t job, const struct err *err,
                          uint32_t http_status, struct bytes body)
{
    struct announcer_job j;
    struct op_outcome outcome = {.text = ""};
    if (!job_end(a, job, JOB_FETCH, &j))
        return;
    a->n_fetches--;
    if (!j.op) {
        a->counters[ANNOUNCER_LATE_ANSWER]++;
        return;
    }
    if (err && err->code) {
        a->counters[ANNOUNCER_FETCH_FAILED]++;
        outcome.err = *err;
        op_end(a, now_us, j.op, &outcome);
        return;
    }
    enum err_code code = read_body(a, j.op, body, &outcome.err);
    if (http_status != 200 && (code || !a->reply.is_failure)) {
        /* Some trackers put a failure reason under another status; else the status says it all. */
        a->counters[ANNOUNCER_HTTP_STATUS_BAD]++;
        err_set_at(&outcome.err, ERR_PROTOCOL, "tracker answered with another HTTP status", 0,
                   http_status, 200);
        op_end(a, now_us, j.op, &outcome);
    } else if (code) {
        a->counters[ANNOUNCER_REPLY_MALFORMED]++;
        op_end(a, now_us, j.op, &outcome);
    } else {
        op_replied(a, now_us, j.op);
    }
}

/* --- UDP ------------------------------------------------------------------------------------- */

static void op_udp_failed(struct announcer *a, uint64_t now_us, struct announcer_op *op,
                          const struct err *err, const char *text)
{
    struct op_outcome outcome = {.err = *err, .text = text};
    a->counters[ANNOUNCER_UDP_FAILED]++;
    if (!op->tracker->parts.is_ip)
        name_cache_turn(&a->names, op->tracker->parts.host, op->family);
    op_end(a, now_us, op, &outcome);
}

static unsigned udp_n_retries(const struct announcer_op *op)
{
    if (op->event == TRACKER_EVENT_STOPPED)
        return 0;
    return op->torrent->n_trackers > 1 ? UDP_N_RETRIES_OTHER : TRACKER_UDP_N_RETRIES_MAX;
}

static void start_udp(struct announcer *a, uint64_t now_us, struct announcer_op *op,
                      const struct addr *to)
{
    enum err_code code = ERR_NO_MEMORY;
    if (job_begin(a, (struct announcer_job){.kind = JOB_UDP, .op = op}, &op->job)) {
        struct tracker_announce what;
        unsigned n_retries = udp_n_retries(op);
        fill_announce(a, op, &what);
        if (op->kind == OP_SCRAPE)
            code =
                tracker_udp_scrape(&a->udp, now_us, to, (const uint8_t(*)[SHA1_LEN])what.infohash,
                                   1, n_retries, op->job);
        else
            code = tracker_udp_announce(&a->udp, now_us, to, &what, op->tracker->parts.path,
                                        n_retries, op->job);
        if (code)
            map_remove(&a->jobs, &op->job);
    }
    if (code) {
        struct err err;
        err_set(&err, code, "no room for a tracker request");
        op_udp_failed(a, now_us, op, &err, "");
        return;
    }
    op->state = OP_ASKING_UDP;
}

/* The address to ask, from what is known of the name. */
static const struct addr *pick_addr(const struct announcer *a, struct announcer_op *op,
                                    const struct name_entry *e)
{
    const struct addr *to = NULL;
    if (op->family != ADDR_NONE)
        return name_entry_addr(e, op->family);
    if (!a->config.has_no_v4)
        to = name_entry_addr(e, ADDR_V4);
    if (!to && !a->config.has_no_v6)
        to = name_entry_addr(e, ADDR_V6);
    return to;
}

/* Looks the tracker's name up, or asks it if the address is known. */
static void step_udp(struct announcer *a, uint64_t now_us, struct announcer_op *op)
{
    const struct tracker_url *url = &op->tracker->parts;
    struct name_entry *e;
    if (url->is_ip) {
        start_udp(a, now_us, op, &url->ip);
        return;
    }
    enum err_code code = name_cache_get(&a->names, now_us, url->host, &e);
    if (code) {
        op_fail(a, now_us, op, code, "no room to look up the tracker's name");
        return;
    }
    if (e->is_asking) {
        op->state = OP_RESOLVING;
        op_link(op, &e->waiting);
        return;
    }
    const struct addr *found = pick_addr(a, op, e);
    if (!found) {
        op_fail(a, now_us, op, ERR_NOT_FOUND, "tracker's name has no address");
        return;
    }
    struct addr to = *found;
    to.port = url->port;
    start_udp(a, now_us, op, &to);
}

static void run_udp_queue(struct announcer *a, uint64_t now_us)
{
    while (!a->has_status && a->udp.tokens.n < a->udp.n_requests_max &&
           !list_is_empty(&a->udp_queue)) {
        struct announcer_op *op =
            CONTAINER_OF(list_first(&a->udp_queue), struct announcer_op, in_queue);
        op_unlink(op);
        step_udp(a, now_us, op);
    }
}

/* Who waited for the name goes on, one by one. */
static void name_answered(struct announcer *a, uint64_t now_us, struct name_entry *e,
                          const struct addr *addrs, size_t n)
{
    name_cache_answer(e, now_us, addrs, n);
    LIST_EACH(&e->waiting, op, struct announcer_op, in_queue)
    {
        op_unlink(op);
        op_queue(a, op);
    }
}

static bool next_resolve(struct announcer *a, uint64_t now_us, struct announcer_want *out)
{
    struct name_entry *e;
    while ((e = name_cache_next_to_ask(&a->names))) {
        if (job_begin(a, (struct announcer_job){.kind = JOB_NAME, .name = e}, &e->job)) {
            *out =
                (struct announcer_want){.kind = ANNOUNCER_RESOLVE, .job = e->job, .name = e->text};
            return true;
        }
        name_answered(a, now_us, e, NULL, 0);
    }
    return false;
}

void announcer_on_resolved(struct announcer *a, uint64_t now_us, uint64_t job,
                           const struct err *err, const struct addr *addrs, size_t n_addrs)
{
    struct announcer_job j;
    if (!job_end(a, job, JOB_NAME, &j))
        return;
    if ((err && err->code) || n_addrs == 0) {
        a->counters[ANNOUNCER_RESOLVE_FAILED]++;
        n_addrs = 0;
    }
    name_answered(a, now_us, j.name, addrs, n_addrs);
}

bool announcer_on_datagram(struct announcer *a, uint64_t now_us, const struct addr *from,
                           struct bytes in)
{
    struct tracker_udp_done done;
    struct announcer_job j;
    if (!tracker_udp_on_datagram(&a->udp, now_us, from, in, &a->reply, &done))
        return false;
    if (done.kind == TRACKER_UDP_NONE || !job_end(a, done.token, JOB_UDP, &j))
        return true;
    if (done.kind == TRACKER_UDP_SCRAPED)
        a->reply.counts = done.scrapes[0];
    op_replied(a, now_us, j.op);
    return true;
}

static bool next_datagram(struct announcer *a, uint64_t now_us, struct announcer_want *out)
{
    struct tracker_udp_want want;
    while (!a->has_status && tracker_udp_next(&a->udp, now_us, &want)) {
        struct announcer_job j;
        if (want.kind == TRACKER_UDP_SEND) {
            *out = (struct announcer_want){
                .kind = ANNOUNCER_DATAGRAM, .to = want.to, .packet = want.packet};
            return true;
        }
        if (!job_end(a, want.token, JOB_UDP, &j))
            continue;
        snprintf(a->text, sizeof a->text, "%s", want.text);
        op_udp_failed(a, now_us, j.op, &want.err, a->text);
    }
    return false;
}

bool op_next(struct announcer *a, uint64_t now_us, struct announcer_want *out)
{
    do { /* again, when a name that could not be asked about set its askers free */
        run_udp_queue(a, now_us);
        if (next_resolve(a, now_us, out) || next_fetch(a, now_us, out) ||
            next_datagram(a, now_us, out))
            return true;
    } while (!a->has_status && op_has_next(a));
    return false;
}

bool op_has_next(const struct announcer *a)
{
    return !list_is_empty(&a->names.to_ask) ||
           (a->n_fetches < a->config.n_fetches_max && !list_is_empty(&a->fetch_queue)) ||
           (a->udp.tokens.n < a->udp.n_requests_max && !list_is_empty(&a->udp_queue));
}

bool op_family_is_usable(const struct announcer *a, const struct announcer_tracker *tracker,
                         enum addr_family family)
{
    if (family == ADDR_V4 ? a->config.has_no_v4 : a->config.has_no_v6)
        return false;
    return !tracker->parts.is_ip || tracker->parts.ip.family == family;
}

void op_check(const struct announcer *a, const struct announcer_op *op)
{
    const struct announcer_job *job = map_get(&a->jobs, &op->job);
    bool has_job = op->state == OP_FETCHING || op->state == OP_ASKING_UDP;
    assert((op->queue != NULL) == !has_job);
    assert(!has_job || (job && job->op == op));
    assert(op->event != TRACKER_EVENT_STOPPED || op->torrent->state == T_STOPPING);
}
