/* UDP tracker client (BEP 15).
 *
 *   endpoint             a request needs an id                connect reply
 *              NO_ID ------------------------> CONNECTING -------------------> HAS_ID
 *                ^                              |  (resent at 15 s * 2^n)         |
 *                |<-- n passes its requests' ---+                                 |
 *                |    patience; error reply                                       |
 *                +------------------- id older than 60 s ------------------------+
 *
 *   request      start         endpoint HAS_ID             reply, error
 *                -----> WAITING --------------> ANNOUNCING -----------> gone
 *                        ^  |                    |  |  |
 *                        |  | endpoint gave up   |  |  | n passes n_retries_max
 *                        |  +---------> FAILED <-|--|--+
 *                        +-----------------------+  | wait over, id still good: sent again
 *                          wait over, id too old    +--- n + 1
 *
 * WAITING: linked in its endpoint's list. ANNOUNCING: in flight (a scrape, too), its timer is set
 * to sent_at + 15 s * 2^n. The n of a request lives through reconnections (BEP 15, time outs).
 */
#include "torrent/tracker_udp.h"
#include "base/log.h"
#include <assert.h>

#define ACTION_CONNECT   0u
#define ACTION_ANNOUNCE  1u
#define ACTION_SCRAPE    2u
#define ACTION_ERROR     3u
#define PROTOCOL_MAGIC   0x41727101980u /* BEP 15, connect request */
#define HEADER_LEN       16u            /* connection id, action, transaction id */
#define ANNOUNCE_LEN     98u            /* BEP 15, announce request */
#define SCRAPE_ENTRY_LEN 12u
#define OPTION_URL_DATA  2u   /* BEP 41 */
#define OPTION_PART_MAX  255u /* BEP 41: one byte of length */
#define DRAWS_MAX        8u   /* of a transaction id that nobody has */

static_assert(HEADER_LEN + SHA1_LEN * TRACKER_UDP_SCRAPE_MAX <= TRACKER_UDP_PACKET_CAP,
              "the largest scrape fits");
static_assert(ANNOUNCE_LEN + TRACKER_UDP_URL_DATA_MAX + 2 * (TRACKER_UDP_URL_DATA_MAX / 255 + 1) <=
                  TRACKER_UDP_PACKET_CAP,
              "the largest announce fits");

const char *const tracker_udp_counter_names[TRACKER_UDP_N_COUNTERS] = {
    "tracker_udp_too_short",      "tracker_udp_unknown_transaction",
    "tracker_udp_wrong_endpoint", "tracker_udp_wrong_action",
    "tracker_udp_timeouts",       "tracker_udp_gave_up",
    "tracker_udp_error_replies"};

enum timer_kind { TIMER_REQUEST, TIMER_ENDPOINT };
enum send_kind { SEND_REQUEST, SEND_CONNECT };
enum endpoint_state { NO_ID, CONNECTING, HAS_ID };

/* Something whose datagram is due. */
struct sender {
    struct list_node in_to_send;
    enum send_kind kind;
};

struct tracker_udp_endpoint {
    struct sender sender;
    struct list_node in_idle; /* linked exactly while n_requests is 0 */
    struct timer timer;       /* set while CONNECTING and not to be sent */
    struct list waiting;      /* requests */
    struct addr addr;
    enum endpoint_state state;
    uint32_t transaction; /* of the connect under way; in u->requests as well */
    unsigned n;           /* of the wait for the connect under way */
    uint64_t id, id_at_us;
    size_t n_requests;
};

/* What a transaction id stands for: one of the two. */
struct transaction {
    struct tracker_udp_request *request;
    struct tracker_udp_endpoint *endpoint;
};

struct tracker_udp_request {
    struct sender sender;
    struct list_node in_waiting, in_failed;
    struct timer timer;
    struct tracker_udp_endpoint *endpoint; /* NULL once failed */
    uint64_t token;
    uint32_t action, transaction;
    unsigned n, n_retries_max;
    struct err err; /* in_failed */
    char text[TRACKER_TEXT_CAP];
    size_t n_infohashes; /* scrape */
    size_t body_len;     /* what follows the header */
    uint8_t body[];
};

/* --- life ------------------------------------------------------------------------------------ */

enum err_code tracker_udp_init(struct tracker_udp *u, struct mem *mem, uint64_t rng_seed,
                               size_t n_requests_max, size_t n_endpoints_max)
{
    *u = (struct tracker_udp){.mem = mem};
    rng_init(&u->rng, rng_seed);
    map_init(&u->requests, mem, rng_map_seed(&u->rng), sizeof(uint32_t), sizeof(struct transaction),
             n_requests_max + n_endpoints_max);
    map_init(&u->tokens, mem, rng_map_seed(&u->rng), sizeof(uint64_t),
             sizeof(struct tracker_udp_request *), n_requests_max);
    map_init(&u->endpoints, mem, rng_map_seed(&u->rng), ADDR_KEY_LEN,
             sizeof(struct tracker_udp_endpoint *), n_endpoints_max);
    list_init(&u->idle);
    list_init(&u->to_send);
    list_init(&u->failed);
    timers_init(&u->timers, mem);
    u->n_requests_max = n_requests_max;
    u->n_endpoints_max = n_endpoints_max;
    return ERR_OK;
}

void tracker_udp_clear(struct tracker_udp *u)
{
    const void *key;
    void *value;
    timers_clear(&u->timers); /* first: it unmarks the timers */
    for (size_t cursor = 0; map_next(&u->tokens, &cursor, &key, &value);)
        mem_free(u->mem, *(struct tracker_udp_request **)value);
    for (size_t cursor = 0; map_next(&u->endpoints, &cursor, &key, &value);) {
        struct tracker_udp_endpoint *e = *(struct tracker_udp_endpoint **)value;
        mem_free(u->mem, e);
    }
    map_clear(&u->requests);
    map_clear(&u->tokens);
    map_clear(&u->endpoints);
}

/* --- transactions and the queue of datagrams ------------------------------------------------- */

/* A fresh transaction id for t; false when memory says no. */
static bool transaction_begin(struct tracker_udp *u, struct transaction t, uint32_t *out)
{
    for (unsigned i = 0; i < DRAWS_MAX; i++) {
        uint32_t id = (uint32_t)(rng_u64(&u->rng) >> 32);
        bool is_new;
        struct transaction *slot = map_put(&u->requests, &id, &is_new);
        if (!slot)
            return false;
        if (!is_new)
            continue;
        *slot = t;
        *out = id;
        return true;
    }
    return false;
}

static void send_later(struct tracker_udp *u, struct sender *s)
{
    if (!list_node_is_linked(&s->in_to_send))
        list_push_back(&u->to_send, &s->in_to_send);
}

static void send_never(struct tracker_udp *u, struct sender *s)
{
    if (list_node_is_linked(&s->in_to_send))
        list_remove(&u->to_send, &s->in_to_send);
}

/* --- endpoints ------------------------------------------------------------------------------- */

static void endpoint_end_connect(struct tracker_udp *u, struct tracker_udp_endpoint *e,
                                 enum endpoint_state next)
{
    if (e->state == CONNECTING)
        map_remove(&u->requests, &e->transaction);
    timer_stop(&u->timers, &e->timer);
    send_never(u, &e->sender);
    e->state = next;
    e->n = 0;
}

static void endpoint_free(struct tracker_udp *u, struct tracker_udp_endpoint *e)
{
    assert(e->n_requests == 0);
    uint8_t key[ADDR_KEY_LEN];
    endpoint_end_connect(u, e, NO_ID);
    addr_key(&e->addr, key);
    map_remove(&u->endpoints, key);
    list_remove(&u->idle, &e->in_idle);
    mem_free(u->mem, e);
}

static struct tracker_udp_endpoint *endpoint_new(struct tracker_udp *u, const struct addr *to)
{
    uint8_t key[ADDR_KEY_LEN];
    bool is_new;
    struct tracker_udp_endpoint *e = mem_calloc(u->mem, 1, sizeof *e);
    if (!e)
        return NULL;
    addr_key(to, key);
    struct tracker_udp_endpoint **slot = map_put(&u->endpoints, key, &is_new);
    if (!slot) {
        mem_free(u->mem, e);
        return NULL;
    }
    assert(is_new);
    *slot = e;
    e->addr = *to;
    e->sender.kind = SEND_CONNECT;
    list_init(&e->waiting);
    timer_init(&e->timer, TIMER_ENDPOINT);
    list_push_back(&u->idle, &e->in_idle);
    return e;
}

/* The endpoint of an address; a new one may take the place of the one idle for longest. */
static enum err_code endpoint_get(struct tracker_udp *u, const struct addr *to,
                                  struct tracker_udp_endpoint **out)
{
    uint8_t key[ADDR_KEY_LEN];
    addr_key(to, key);
    struct tracker_udp_endpoint **slot = map_get(&u->endpoints, key);
    if (slot) {
        *out = *slot;
        return ERR_OK;
    }
    if (u->endpoints.n >= u->n_endpoints_max) {
        struct list_node *oldest = list_first(&u->idle);
        if (!oldest)
            return ERR_LIMIT;
        endpoint_free(u, CONTAINER_OF(oldest, struct tracker_udp_endpoint, in_idle));
    }
    *out = endpoint_new(u, to);
    return *out ? ERR_OK : ERR_NO_MEMORY;
}

static bool endpoint_has_id(const struct tracker_udp_endpoint *e, uint64_t now_us)
{
    return e->state == HAS_ID && now_us - e->id_at_us < TRACKER_UDP_ID_LIFE_US;
}

static bool endpoint_connect(struct tracker_udp *u, struct tracker_udp_endpoint *e, unsigned n)
{
    if (e->state == CONNECTING)
        return true;
    if (!transaction_begin(u, (struct transaction){.endpoint = e}, &e->transaction))
        return false;
    e->state = CONNECTING;
    e->n = n;
    send_later(u, &e->sender);
    return true;
}

/* --- requests -------------------------------------------------------------------------------- */

/* Takes the request out of everything but the map of tokens. */
static void request_detach(struct tracker_udp *u, struct tracker_udp_request *r)
{
    struct tracker_udp_endpoint *e = r->endpoint;
    if (list_node_is_linked(&r->in_failed))
        list_remove(&u->failed, &r->in_failed);
    if (!e)
        return;
    if (list_node_is_linked(&r->in_waiting))
        list_remove(&e->waiting, &r->in_waiting);
    timer_stop(&u->timers, &r->timer);
    send_never(u, &r->sender);
    map_remove(&u->requests, &r->transaction);
    r->endpoint = NULL;
    if (e->state == CONNECTING && list_is_empty(&e->waiting))
        endpoint_end_connect(u, e, NO_ID);
    if (--e->n_requests == 0)
        list_push_back(&u->idle, &e->in_idle);
}

static void request_free(struct tracker_udp *u, struct tracker_udp_request *r)
{
    request_detach(u, r);
    map_remove(&u->tokens, &r->token);
    mem_free(u->mem, r);
}

static void request_fail(struct tracker_udp *u, struct tracker_udp_request *r, enum err_code code,
                         const char *what, const char *text)
{
    request_detach(u, r);
    err_set(&r->err, code, what);
    snprintf(r->text, sizeof r->text, "%s", text);
    list_push_back(&u->failed, &r->in_failed);
}

/* Sends the request if there is an id, or makes it wait for one. */
static void request_go(struct tracker_udp *u, uint64_t now_us, struct tracker_udp_request *r)
{
    struct tracker_udp_endpoint *e = r->endpoint;
    if (endpoint_has_id(e, now_us)) {
        send_later(u, &r->sender);
        return;
    }
    if (!list_node_is_linked(&r->in_waiting))
        list_push_back(&e->waiting, &r->in_waiting);
    if (!endpoint_connect(u, e, r->n))
        request_fail(u, r, ERR_NO_MEMORY, "no memory for a tracker request", "");
}

static enum err_code request_enter(struct tracker_udp *u, struct tracker_udp_request *r)
{
    bool is_new;
    struct tracker_udp_request **slot = map_put(&u->tokens, &r->token, &is_new);
    if (!slot)
        return ERR_NO_MEMORY;
    assert(is_new);
    *slot = r;
    if (!transaction_begin(u, (struct transaction){.request = r}, &r->transaction)) {
        map_remove(&u->tokens, &r->token);
        return ERR_NO_MEMORY;
    }
    return ERR_OK;
}

static enum err_code request_start(struct tracker_udp *u, uint64_t now_us, const struct addr *to,
                                   struct tracker_udp_request *r)
{
    struct tracker_udp_endpoint *e = NULL;
    enum err_code code = endpoint_get(u, to, &e);
    if (code == ERR_OK)
        code = request_enter(u, r);
    if (code) {
        mem_free(u->mem, r);
        return code;
    }
    r->endpoint = e;
    if (e->n_requests++ == 0)
        list_remove(&u->idle, &e->in_idle);
    request_go(u, now_us, r);
    return ERR_OK;
}

static enum err_code request_new(struct tracker_udp *u, uint32_t action, struct bytes body,
                                 unsigned n_retries_max, uint64_t token,
                                 struct tracker_udp_request **out)
{
    if (u->tokens.n >= u->n_requests_max)
        return ERR_LIMIT;
    struct tracker_udp_request *r = mem_calloc(u->mem, 1, sizeof *r + body.len);
    if (!r)
        return ERR_NO_MEMORY;
    r->sender.kind = SEND_REQUEST;
    timer_init(&r->timer, TIMER_REQUEST);
    r->token = token;
    r->action = action;
    r->n_retries_max = n_retries_max;
    assert(n_retries_max <= TRACKER_UDP_N_RETRIES_MAX);
    r->body_len = body.len;
    memcpy(r->body, body.data, body.len);
    *out = r;
    return ERR_OK;
}

/* BEP 41: the URL's path and query, in parts of at most 255 bytes. No end-of-options: the packet
 * ends. */
static void write_url_data(struct writer *w, struct bytes url_data)
{
    url_data = bytes_sub(url_data, 0, TRACKER_UDP_URL_DATA_MAX);
    for (size_t off = 0; off < url_data.len; off += OPTION_PART_MAX) {
        struct bytes part = bytes_sub(url_data, off, OPTION_PART_MAX);
        writer_u8(w, OPTION_URL_DATA);
        writer_u8(w, (uint8_t)part.len);
        writer_put(w, part);
    }
}

/* BEP 15, announce request, after the header. */
static void write_announce(struct writer *w, const struct tracker_announce *a)
{
    writer_put(w, bytes_of(a->infohash, sizeof a->infohash));
    writer_put(w, bytes_of(a->peer_id, sizeof a->peer_id));
    writer_u64be(w, a->downloaded);
    writer_u64be(w, a->left);
    writer_u64be(w, a->uploaded);
    /* BEP 21 defines event=paused for HTTP alone. */
    writer_u32be(w, a->event == TRACKER_EVENT_PAUSED ? TRACKER_EVENT_NONE : (uint32_t)a->event);
    writer_u32be(w, 0); /* IP address: the sender's */
    writer_u32be(w, a->key);
    writer_u32be(w, a->numwant); /* TRACKER_NUMWANT_DEFAULT is BEP 15's -1 */
    writer_u16be(w, a->port);
}

enum err_code tracker_udp_announce(struct tracker_udp *u, uint64_t now_us, const struct addr *to,
                                   const struct tracker_announce *what, struct bytes url_data,
                                   unsigned n_retries_max, uint64_t token)
{
    uint8_t body[TRACKER_UDP_PACKET_CAP];
    struct writer w = writer_init(body, sizeof body - HEADER_LEN);
    struct tracker_udp_request *r;
    write_announce(&w, what);
    write_url_data(&w, url_data);
    assert(writer_ok(&w));
    enum err_code code =
        request_new(u, ACTION_ANNOUNCE, writer_bytes(&w), n_retries_max, token, &r);
    return code ? code : request_start(u, now_us, to, r);
}

enum err_code tracker_udp_scrape(struct tracker_udp *u, uint64_t now_us, const struct addr *to,
                                 const uint8_t (*infohashes)[SHA1_LEN], size_t n_infohashes,
                                 unsigned n_retries_max, uint64_t token)
{
    struct tracker_udp_request *r;
    assert(n_infohashes > 0 && n_infohashes <= TRACKER_UDP_SCRAPE_MAX);
    enum err_code code = request_new(
        u, ACTION_SCRAPE, bytes_of(infohashes, n_infohashes * SHA1_LEN), n_retries_max, token, &r);
    if (code)
        return code;
    r->n_infohashes = n_infohashes;
    return request_start(u, now_us, to, r);
}

static struct tracker_udp_request *request_by_token(const struct tracker_udp *u, uint64_t token)
{
    struct tracker_udp_request **slot = map_get(&u->tokens, &token);
    return slot ? *slot : NULL;
}

void tracker_udp_cancel(struct tracker_udp *u, uint64_t token)
{
    struct tracker_udp_request *r = request_by_token(u, token);
    if (r)
        request_free(u, r);
}

/* --- replies --------------------------------------------------------------------------------- */

/* Sends all that waited for the id. */
static void on_connected(struct tracker_udp *u, uint64_t now_us, struct tracker_udp_endpoint *e,
                         uint64_t id)
{
    endpoint_end_connect(u, e, HAS_ID);
    e->id = id;
    e->id_at_us = now_us;
    LIST_EACH(&e->waiting, r, struct tracker_udp_request, in_waiting)
    {
        list_remove(&e->waiting, &r->in_waiting);
        send_later(u, &r->sender);
    }
}

/* Ends all that waited for an id that does not come. */
static void fail_waiting(struct tracker_udp *u, struct tracker_udp_endpoint *e, enum err_code code,
                         const char *what, const char *text)
{
    endpoint_end_connect(u, e, NO_ID);
    LIST_EACH(&e->waiting, r, struct tracker_udp_request, in_waiting)
    {
        request_fail(u, r, code, what, text);
    }
}

static void on_endpoint_reply(struct tracker_udp *u, uint64_t now_us,
                              struct tracker_udp_endpoint *e, uint32_t action, struct reader *r)
{
    if (action == ACTION_ERROR) {
        char text[TRACKER_TEXT_CAP];
        u->counters[TRACKER_UDP_ERROR_REPLIES]++;
        fail_waiting(u, e, ERR_PROTOCOL, "tracker refused the connection",
                     log_escape(reader_rest(r), text, sizeof text));
        return;
    }
    if (action != ACTION_CONNECT) {
        u->counters[TRACKER_UDP_WRONG_ACTION]++;
        return;
    }
    uint64_t id = reader_u64be(r);
    if (!reader_ok(r))
        u->counters[TRACKER_UDP_TOO_SHORT]++;
    else
        on_connected(u, now_us, e, id);
}

/* BEP 15, announce reply: the stride follows the family of the socket, whatever the peers are. A
 * tail shorter than a peer is ignored. */
static bool read_announce(struct reader *r, uint8_t family, struct tracker_reply *out)
{
    size_t stride = family == ADDR_V6 ? ADDR_COMPACT6_LEN : ADDR_COMPACT4_LEN;
    out->interval_s = tracker_clamp_interval(reader_u32be(r));
    out->counts.n_leechers = reader_u32be(r);
    out->counts.n_seeders = reader_u32be(r);
    while (reader_left(r) >= stride) {
        struct addr peer;
        if (family == ADDR_V6)
            addr_read_v6(r, &peer);
        else
            addr_read_v4(r, &peer);
        tracker_reply_add_peer(out, &peer);
    }
    return reader_ok(r);
}

static bool read_scrape(struct reader *r, size_t n_asked, struct tracker_udp_done *done)
{
    while (reader_left(r) >= SCRAPE_ENTRY_LEN && done->n_scrapes < n_asked) {
        struct tracker_scrape *s = &done->scrapes[done->n_scrapes++];
        s->n_seeders = reader_u32be(r);
        s->n_completed = reader_u32be(r);
        s->n_leechers = reader_u32be(r);
    }
    return done->n_scrapes == n_asked;
}

/* True when the datagram ended the request. */
static bool read_request_reply(struct tracker_udp *u, const struct tracker_udp_request *q,
                               uint32_t action, struct reader *r, struct tracker_reply *reply,
                               struct tracker_udp_done *done)
{
    if (action == ACTION_ERROR) {
        u->counters[TRACKER_UDP_ERROR_REPLIES]++;
        reply->is_failure = true;
        log_escape(reader_rest(r), reply->failure, sizeof reply->failure);
        done->kind = TRACKER_UDP_REFUSED;
        if (q->endpoint->state == HAS_ID)
            q->endpoint->state = NO_ID; /* it may be the id that the tracker did not like */
        return true;
    }
    if (action != q->action) {
        u->counters[TRACKER_UDP_WRONG_ACTION]++;
        return false;
    }
    bool is_whole = action == ACTION_ANNOUNCE ? read_announce(r, q->endpoint->addr.family, reply)
                                              : read_scrape(r, q->n_infohashes, done);
    if (!is_whole) {
        u->counters[TRACKER_UDP_TOO_SHORT]++;
        return false;
    }
    done->kind = action == ACTION_ANNOUNCE ? TRACKER_UDP_ANNOUNCED : TRACKER_UDP_SCRAPED;
    return true;
}

static void on_request_reply(struct tracker_udp *u, struct tracker_udp_request *q, uint32_t action,
                             struct reader *r, struct tracker_reply *reply,
                             struct tracker_udp_done *done)
{
    if (!read_request_reply(u, q, action, r, reply, done))
        return;
    done->token = q->token;
    request_free(u, q);
}

bool tracker_udp_on_datagram(struct tracker_udp *u, uint64_t now_us, const struct addr *from,
                             struct bytes in, struct tracker_reply *reply,
                             struct tracker_udp_done *done)
{
    struct reader r = reader_init(in);
    tracker_reply_reset(reply);
    done->kind = TRACKER_UDP_NONE;
    done->n_scrapes = 0;
    uint32_t action = reader_u32be(&r);
    uint32_t id = reader_u32be(&r);
    if (!reader_ok(&r)) {
        u->counters[TRACKER_UDP_TOO_SHORT]++;
        return false;
    }
    const struct transaction *t = map_get(&u->requests, &id);
    if (!t) {
        u->counters[TRACKER_UDP_UNKNOWN_TRANSACTION]++;
        return false;
    }
    struct tracker_udp_endpoint *e = t->request ? t->request->endpoint : t->endpoint;
    if (!addr_equal(from, &e->addr)) {
        u->counters[TRACKER_UDP_WRONG_ENDPOINT]++;
        return false;
    }
    if (t->request)
        on_request_reply(u, t->request, action, &r, reply, done);
    else
        on_endpoint_reply(u, now_us, e, action, &r);
    return true;
}

/* --- what is wanted -------------------------------------------------------------------------- */

static uint64_t retry_at_us(uint64_t now_us, unsigned n)
{
    return now_us + (TRACKER_UDP_RETRY_US << n); /* BEP 15, time outs */
}

static bool want_failed(struct tracker_udp *u, struct tracker_udp_want *out)
{
    struct list_node *node = list_first(&u->failed);
    if (!node)
        return false;
    struct tracker_udp_request *r = CONTAINER_OF(node, struct tracker_udp_request, in_failed);
    *out = (struct tracker_udp_want){.kind = TRACKER_UDP_FAILED, .token = r->token, .err = r->err};
    snprintf(out->text, sizeof out->text, "%s", r->text);
    request_free(u, r);
    return true;
}

static void want_packet(struct tracker_udp *u, const struct addr *to, struct writer *w,
                        struct tracker_udp_want *out)
{
    assert(writer_ok(w));
    *out = (struct tracker_udp_want){
        .kind = TRACKER_UDP_SEND, .to = *to, .packet = bytes_of(u->packet, w->pos)};
}

static bool want_connect(struct tracker_udp *u, uint64_t now_us, struct tracker_udp_endpoint *e,
                         struct tracker_udp_want *out)
{
    struct writer w = writer_init(u->packet, sizeof u->packet);
    if (timer_set(&u->timers, &e->timer, retry_at_us(now_us, e->n))) {
        fail_waiting(u, e, ERR_NO_MEMORY, "no memory for a tracker request", "");
        return false;
    }
    writer_u64be(&w, PROTOCOL_MAGIC);
    writer_u32be(&w, ACTION_CONNECT);
    writer_u32be(&w, e->transaction);
    want_packet(u, &e->addr, &w, out);
    return true;
}

static bool want_request(struct tracker_udp *u, uint64_t now_us, struct tracker_udp_request *r,
                         struct tracker_udp_want *out)
{
    struct writer w = writer_init(u->packet, sizeof u->packet);
    if (timer_set(&u->timers, &r->timer, retry_at_us(now_us, r->n))) {
        request_fail(u, r, ERR_NO_MEMORY, "no memory for a tracker request", "");
        return false;
    }
    writer_u64be(&w, r->endpoint->id);
    writer_u32be(&w, r->action);
    writer_u32be(&w, r->transaction);
    writer_put(&w, bytes_of(r->body, r->body_len));
    want_packet(u, &r->endpoint->addr, &w, out);
    return true;
}

/* One datagram of those due. */
static bool want_send(struct tracker_udp *u, uint64_t now_us, struct tracker_udp_want *out)
{
    struct list_node *node;
    while ((node = list_pop_front(&u->to_send))) {
        struct sender *s = CONTAINER_OF(node, struct sender, in_to_send);
        if (s->kind == SEND_CONNECT) {
            struct tracker_udp_endpoint *e = CONTAINER_OF(s, struct tracker_udp_endpoint, sender);
            if (want_connect(u, now_us, e, out))
                return true;
            continue;
        }
        struct tracker_udp_request *r = CONTAINER_OF(s, struct tracker_udp_request, sender);
        if (!endpoint_has_id(r->endpoint, now_us))
            request_go(u, now_us, r); /* it grew old while the datagram waited its turn */
        else if (want_request(u, now_us, r, out))
            return true;
    }
    return false;
}

/* Each that waits has waited in vain once more; the next wait is that of the freshest (BEP 15, the
 * example "announce times out": a request's n goes on through connecting). */
static void on_connect_timeout(struct tracker_udp *u, struct tracker_udp_endpoint *e)
{
    unsigned n = TRACKER_UDP_N_RETRIES_MAX;
    LIST_EACH(&e->waiting, r, struct tracker_udp_request, in_waiting)
    {
        if (r->n >= r->n_retries_max) {
            u->counters[TRACKER_UDP_GAVE_UP]++;
            request_fail(u, r, ERR_IO, "tracker does not answer", "");
            continue;
        }
        r->n++;
        n = r->n < n ? r->n : n;
    }
    if (e->state != CONNECTING)
        return; /* nobody waits any more */
    u->counters[TRACKER_UDP_TIMEOUTS]++;
    e->n = n;
    send_later(u, &e->sender);
}

static void on_request_timeout(struct tracker_udp *u, uint64_t now_us,
                               struct tracker_udp_request *r)
{
    if (r->n >= r->n_retries_max) {
        u->counters[TRACKER_UDP_GAVE_UP]++;
        request_fail(u, r, ERR_IO, "tracker does not answer", "");
        return;
    }
    u->counters[TRACKER_UDP_TIMEOUTS]++;
    r->n++;
    request_go(u, now_us, r);
}

static void run_timers(struct tracker_udp *u, uint64_t now_us)
{
    struct timer *t;
    while ((t = timers_pop_due(&u->timers, now_us))) {
        if (t->kind == TIMER_ENDPOINT)
            on_connect_timeout(u, CONTAINER_OF(t, struct tracker_udp_endpoint, timer));
        else
            on_request_timeout(u, now_us, CONTAINER_OF(t, struct tracker_udp_request, timer));
    }
}

bool tracker_udp_next(struct tracker_udp *u, uint64_t now_us, struct tracker_udp_want *out)
{
    run_timers(u, now_us);
    return want_failed(u, out) || want_send(u, now_us, out) || want_failed(u, out);
}

uint64_t tracker_udp_deadline_us(const struct tracker_udp *u)
{
    if (!list_is_empty(&u->failed) || !list_is_empty(&u->to_send))
        return 0;
    return timers_deadline_us(&u->timers);
}

unsigned tracker_udp_n_retries(const struct tracker_udp *u, uint64_t token)
{
    const struct tracker_udp_request *r = request_by_token(u, token);
    return r ? r->n : 0;
}

/* --- invariants ------------------------------------------------------------------------------ */

static void check_request(const struct tracker_udp *u, const struct tracker_udp_request *r)
{
    if (list_node_is_linked(&r->in_failed)) {
        assert(!r->endpoint && r->err.code);
        return;
    }
    const struct transaction *t = map_get(&u->requests, &r->transaction);
    assert(t && t->request == r);
    /* It waits for an id, for its turn to be sent, or for an answer: exactly one of them. */
    assert(list_node_is_linked(&r->in_waiting) + list_node_is_linked(&r->sender.in_to_send) +
               timer_is_set(&r->timer) ==
           1);
    assert(!list_node_is_linked(&r->in_waiting) || r->endpoint->state == CONNECTING);
    assert(r->n <= r->n_retries_max);
}

static void check_endpoint(const struct tracker_udp *u, const struct tracker_udp_endpoint *e)
{
    assert((e->n_requests == 0) == list_node_is_linked(&e->in_idle));
    assert(e->waiting.n <= e->n_requests);
    assert((e->state == CONNECTING) ==
           (list_node_is_linked(&e->sender.in_to_send) || timer_is_set(&e->timer)));
    if (e->state == CONNECTING) {
        const struct transaction *t = map_get(&u->requests, &e->transaction);
        assert(t && t->endpoint == e && e->waiting.n > 0);
    }
}

void tracker_udp_check(const struct tracker_udp *u)
{
    const void *key;
    void *value;
    for (size_t cursor = 0; map_next(&u->tokens, &cursor, &key, &value);)
        check_request(u, *(struct tracker_udp_request **)value);
    for (size_t cursor = 0; map_next(&u->endpoints, &cursor, &key, &value);)
        check_endpoint(u, *(struct tracker_udp_endpoint **)value);
    assert(u->tokens.n <= u->n_requests_max && u->endpoints.n <= u->n_endpoints_max);
    assert(u->requests.n <= u->n_requests_max + u->n_endpoints_max);
    assert(u->idle.n <= u->endpoints.n);
    heap_check(&u->timers.heap);
}
