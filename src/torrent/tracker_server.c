#include "torrent/tracker_server.h"
#include "base/hex.h"
#include <assert.h>

#define N_PEERS_DEFAULT  4000000u
#define N_SWARMS_DEFAULT 1000000u
#define N_LIVES          2u /* ours: a peer is forgotten after so many intervals of silence */
#define HTTP_SCRAPE_MAX  64u
#define UDP_SCRAPE_MAX   74u /* BEP 15, scrape */
#define UDP_PEERS_MAX4   ((TRACKER_SERVER_UDP_CAP - 20u) / 6u)
#define UDP_PEERS_MAX6   ((TRACKER_SERVER_UDP_CAP - 20u) / 18u)
#define PROTOCOL_MAGIC   0x41727101980u /* BEP 15, connect request */
#define ACTION_CONNECT   0u
#define ACTION_ANNOUNCE  1u
#define ACTION_SCRAPE    2u
#define ACTION_ERROR     3u
#define OPTION_END       0u /* BEP 41 */
#define OPTION_NOP       1u
#define ERROR_ID         "connection id is wrong or too old"
#define REQUEST_LEN_MIN  16u
#define EVENT_COMPLETED  1u /* BEP 15, announce request */
#define EVENT_STOPPED    3u

static_assert(8 + 12 * UDP_SCRAPE_MAX <= TRACKER_SERVER_UDP_CAP, "the largest scrape reply fits");
static_assert(TRACKER_SERVER_NUMWANT_MAX * 80 + 512 <= TRACKER_SERVER_HTTP_CAP,
              "the largest reply with dictionaries fits");
static_assert(HTTP_SCRAPE_MAX * 160 + 512 <= TRACKER_SERVER_HTTP_CAP,
              "the largest HTTP scrape fits");

const char *const tracker_server_counter_names[TRACKER_SERVER_N_COUNTERS] = {
    "http_announces",   "http_scrapes",        "udp_connects",       "udp_announces",
    "udp_scrapes",      "http_path_unknown",   "query_too_long",     "query_malformed",
    "infohash_missing", "port_missing",        "peer_id_bad",        "full_scrape_refused",
    "not_allowed",      "no_memory",           "port_zero",          "ip_parameter_ignored",
    "scrape_cut",       "udp_too_short",       "udp_action_unknown", "udp_magic_wrong",
    "udp_id_wrong",     "udp_option_malformed"};

struct tracker_server {
    struct mem *mem;
    struct tracker_server_config config;
    struct map_seed id_seed;
    uint64_t started_at_us;
    uint8_t (*allowed)[SHA1_LEN]; /* sorted; with has_allow_list */
    uint32_t n_allowed;
    bool has_allow_list;
    struct swarm_table swarms;
    uint64_t counters[TRACKER_SERVER_N_COUNTERS];
};

/* --- life ------------------------------------------------------------------------------------ */

static void fill_defaults(struct tracker_server_config *c)
{
    if (c->interval_s == 0)
        c->interval_s = TRACKER_SERVER_INTERVAL_S;
    if (c->min_interval_s == 0)
        c->min_interval_s = TRACKER_SERVER_MIN_INTERVAL_S;
    if (c->min_interval_s > c->interval_s)
        c->min_interval_s = c->interval_s;
    if (c->n_peers_max == 0)
        c->n_peers_max = N_PEERS_DEFAULT;
    if (c->n_swarms_max == 0)
        c->n_swarms_max = N_SWARMS_DEFAULT;
}

enum err_code tracker_server_new(struct tracker_server **out, struct mem *mem,
                                 const struct tracker_server_config *config, uint64_t now_us,
                                 uint64_t rng_seed)
{
    struct tracker_server *s = mem_calloc(mem, 1, sizeof *s);
    if (!s)
        return ERR_NO_MEMORY;
    s->mem = mem;
    s->config = *config;
    s->started_at_us = now_us;
    fill_defaults(&s->config);
    memcpy(&s->id_seed, config->secret, sizeof s->id_seed);
    struct map_seed table_seed = {.k0 = map_hash(s->id_seed, "swarms", 6),
                                  .k1 = map_hash(s->id_seed, "peers", 5)};
    enum err_code code = swarm_table_init(&s->swarms, mem, now_us, rng_seed, table_seed,
                                          s->config.n_swarms_max, s->config.n_peers_max,
                                          (uint64_t)s->config.interval_s * N_LIVES * US_PER_S);
    if (code) {
        mem_free(mem, s);
        return code;
    }
    *out = s;
    return ERR_OK;
}

void tracker_server_free(struct tracker_server *s)
{
    if (!s)
        return;
    swarm_table_clear(&s->swarms);
    mem_free(s->mem, s->allowed);
    mem_free(s->mem, s);
}

/* --- allow-list ------------------------------------------------------------------------------ */

static int compare_hashes(const void *a, const void *b)
{
    return memcmp(a, b, SHA1_LEN);
}

static bool is_listed(void *ctx, const uint8_t *infohash)
{
    const struct tracker_server *s = ctx;
    return s->n_allowed > 0 &&
           bsearch(infohash, s->allowed, s->n_allowed, SHA1_LEN, compare_hashes);
}

/* A swarm that is there was allowed when it began, and the list's change removed what is not. */
static bool is_allowed(struct tracker_server *s, const uint8_t *infohash)
{
    if (!s->has_allow_list || swarm_table_has(&s->swarms, infohash) || is_listed(s, infohash))
        return true;
    s->counters[TRACKER_SERVER_NOT_ALLOWED]++;
    return false;
}

/* The next line of text, without its end and the spaces around it. */
static struct bytes take_line(struct bytes *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->len);
    size_t len = end ? (size_t)(end - text->data) : text->len;
    struct bytes line = bytes_sub(*text, 0, len);
    *text = bytes_sub(*text, len + (end != NULL), SIZE_MAX);
    while (line.len && (line.data[line.len - 1] == ' ' || line.data[line.len - 1] == '\r' ||
                        line.data[line.len - 1] == '\t'))
        line.len--;
    while (line.len && (line.data[0] == ' ' || line.data[0] == '\t'))
        line = bytes_sub(line, 1, SIZE_MAX);
    return line;
}

static enum err_code read_hash(struct bytes line, uint8_t out[SHA1_LEN])
{
    uint8_t digest[SHA256_LEN];
    size_t len = line.len / 2;
    if (line.len != 2 * SHA1_LEN && line.len != 2 * SHA256_LEN)
        return ERR_MALFORMED;
    enum err_code code = hex_decode(line, digest, len);
    memcpy(out, digest, SHA1_LEN); /* BEP 52: v2 cut to 20 bytes */
    return code;
}

/* Reads the list into out (NULL: only counts); the number of hashes, or UINT32_MAX and err. */
static uint32_t read_allow_list(struct bytes text, uint8_t (*out)[SHA1_LEN], struct err *err)
{
    uint32_t n = 0;
    for (uint64_t number = 1; text.len > 0; number++) {
        uint8_t hash[SHA1_LEN];
        struct bytes line = take_line(&text);
        if (line.len == 0 || line.data[0] == '#')
            continue;
        if (read_hash(line, hash)) {
            err_set_at(err, ERR_MALFORMED, "line is not an info-hash of 40 or 64 hex digits",
                       number, line.len, 2 * SHA1_LEN);
            return UINT32_MAX;
        }
        if (n == TRACKER_SERVER_ALLOW_MAX) {
            err_set_at(err, ERR_LIMIT, "allow-list is too long", number, n,
                       TRACKER_SERVER_ALLOW_MAX);
            return UINT32_MAX;
        }
        if (out)
            memcpy(out[n], hash, SHA1_LEN);
        n++;
    }
    return n;
}

enum err_code tracker_server_set_allow_list(struct tracker_server *s, struct bytes text,
                                            struct err *err)
{
    struct err e = {0};
    uint32_t n = read_allow_list(text, NULL, &e);
    if (n == UINT32_MAX) {
        if (err)
            *err = e;
        return e.code;
    }
    uint8_t(*list)[SHA1_LEN] = mem_alloc(s->mem, n ? (size_t)n * SHA1_LEN : 1);
    if (!list)
        return err_set(err, ERR_NO_MEMORY, "no memory for the allow-list");
    read_allow_list(text, list, &e);
    qsort(list, n, SHA1_LEN, compare_hashes);
    mem_free(s->mem, s->allowed);
    s->allowed = list;
    s->n_allowed = n;
    s->has_allow_list = true;
    swarm_table_filter(&s->swarms, is_listed, s);
    return ERR_OK;
}

/* --- HTTP: queries --------------------------------------------------------------------------- */

enum parameter_bit { HAS_INFOHASH = 1, HAS_PORT = 2, HAS_LEFT = 4 };

struct query {
    unsigned has; /* enum parameter_bit */
    uint8_t infohash[SHA1_LEN];
    uint64_t port, left, numwant;
    bool wants_dicts, is_paused;
    enum swarm_event event;
    struct addr ip;                      /* ip=; ADDR_NONE: absent */
    enum tracker_server_counter refusal; /* with a text in `why` */
    const char *why;                     /* NULL: fine so far */
};

static void refuse(struct query *q, enum tracker_server_counter refusal, const char *why)
{
    if (q->why)
        return;
    q->refusal = refusal;
    q->why = why;
}

/* Splits off "name=value" up to '&'. */
static bool take_parameter(struct bytes *query, struct bytes *name, struct bytes *value)
{
    if (query->len == 0)
        return false;
    const uint8_t *end = memchr(query->data, '&', query->len);
    size_t len = end ? (size_t)(end - query->data) : query->len;
    struct bytes one = bytes_sub(*query, 0, len);
    *query = bytes_sub(*query, len + (end != NULL), SIZE_MAX);
    const uint8_t *is = one.len ? memchr(one.data, '=', one.len) : NULL;
    size_t name_len = is ? (size_t)(is - one.data) : one.len;
    *name = bytes_sub(one, 0, name_len);
    *value = bytes_sub(one, name_len + 1, SIZE_MAX);
    return true;
}

/* False: not digits, or beyond 64 bits. */
static bool read_number(struct bytes text, uint64_t *out)
{
    uint64_t v = 0;
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t digit = (uint8_t)(text.data[i] - '0');
        if (digit > 9 || !u64_mul(&v, v, 10) || !u64_add(&v, v, digit))
            return false;
    }
    *out = v;
    return true;
}

static void query_number(struct query *q, struct bytes value, uint64_t *out)
{
    if (!read_number(value, out))
        refuse(q, TRACKER_SERVER_QUERY_MALFORMED, "a number in the query is none");
}

/* Twenty bytes, percent-encoded. */
static bool query_hash(struct bytes value, uint8_t out[SHA1_LEN])
{
    uint8_t decoded[SHA1_LEN * 3];
    size_t len;
    if (value.len > sizeof decoded || percent_decode(value, false, decoded, sizeof decoded, &len))
        return false;
    if (len == SHA1_LEN)
        memcpy(out, decoded, SHA1_LEN);
    return len == SHA1_LEN;
}

static void query_event(struct query *q, struct bytes value)
{
    if (bytes_equal_str(value, "stopped"))
        q->event = SWARM_STOPPED;
    else if (bytes_equal_str(value, "completed"))
        q->event = SWARM_COMPLETED;
    else if (bytes_equal_str(value, "paused"))
        q->is_paused = true; /* BEP 21 */
    /* started, empty, unknown: alive */
}

static void query_ip(struct query *q, struct bytes value)
{
    uint8_t text[ADDR_TEXT_CAP];
    size_t len;
    if (value.len > sizeof text || percent_decode(value, false, text, sizeof text, &len) ||
        addr_parse(bytes_of(text, len), 0, &q->ip))
        q->ip.family = ADDR_NONE; /* a host name, or nonsense: as if absent */
}

static void query_parameter(struct query *q, struct bytes name, struct bytes value)
{
    uint8_t peer_id[SHA1_LEN];
    uint64_t n;
    if (bytes_equal_str(name, "info_hash")) {
        if (query_hash(value, q->infohash))
            q->has |= HAS_INFOHASH;
        else
            refuse(q, TRACKER_SERVER_INFOHASH_MISSING, "info_hash is not 20 bytes");
    } else if (bytes_equal_str(name, "peer_id")) {
        if (!query_hash(value, peer_id))
            refuse(q, TRACKER_SERVER_PEER_ID_BAD, "peer_id is not 20 bytes");
    } else if (bytes_equal_str(name, "port")) {
        query_number(q, value, &q->port);
        q->has |= HAS_PORT;
    } else if (bytes_equal_str(name, "left")) {
        query_number(q, value, &q->left);
        q->has |= HAS_LEFT;
    } else if (bytes_equal_str(name, "numwant")) {
        if (read_number(value, &n)) /* -1 is seen, and means as many as usual */
            q->numwant = n;
    } else if (bytes_equal_str(name, "compact")) {
        q->wants_dicts = bytes_equal_str(value, "0"); /* BEP 23: compact unless told otherwise */
    } else if (bytes_equal_str(name, "event")) {
        query_event(q, value);
    } else if (bytes_equal_str(name, "ip")) {
        query_ip(q, value);
    }
}

static void read_query(struct bytes query, struct query *q)
{
    struct bytes name, value;
    *q = (struct query){.numwant = TRACKER_SERVER_NUMWANT};
    while (take_parameter(&query, &name, &value))
        query_parameter(q, name, value);
    if (!(q->has & HAS_INFOHASH))
        refuse(q, TRACKER_SERVER_INFOHASH_MISSING, "info_hash is missing");
    if (!(q->has & HAS_PORT) || q->port > UINT16_MAX)
        refuse(q, TRACKER_SERVER_PORT_MISSING, "port is missing or not 0 to 65535");
}

/* --- HTTP: replies --------------------------------------------------------------------------- */

static void write_int(struct writer *w, const char *key, uint64_t value)
{
    writer_decimal(w, strlen(key));
    writer_u8(w, ':');
    writer_str(w, key);
    writer_u8(w, 'i');
    writer_decimal(w, value);
    writer_u8(w, 'e');
}

static void write_str(struct writer *w, struct bytes s)
{
    writer_decimal(w, s.len);
    writer_u8(w, ':');
    writer_put(w, s);
}

static void write_failure(struct writer *w, const char *why)
{
    writer_str(w, "d14:failure reason");
    write_str(w, bytes_of_str(why));
    writer_u8(w, 'e');
}

/* BEP 3: a list of dictionaries, for those who asked for it with compact=0. Peer ids are not kept, so
 * it is the form that no_peer_id asks for. */
static void write_dicts(struct writer *w, const uint8_t *compact, uint32_t n, uint8_t family)
{
    struct reader r = reader_init(
        bytes_of(compact, n * (family == ADDR_V6 ? ADDR_COMPACT6_LEN : ADDR_COMPACT4_LEN)));
    writer_str(w, "5:peersl");
    while (reader_left(&r)) {
        struct addr peer;
        char text[ADDR_TEXT_CAP];
        if (family == ADDR_V6)
            addr_read_v6(&r, &peer);
        else
            addr_read_v4(&r, &peer);
        writer_str(w, "d2:ip");
        write_str(w, bytes_of_str(addr_format_ip(&peer, text)));
        write_int(w, "port", peer.port);
        writer_u8(w, 'e');
    }
    writer_u8(w, 'e');
}

static void write_peers(struct writer *w, const struct query *q, const uint8_t *compact, uint32_t n,
                        uint8_t family)
{
    if (q->wants_dicts) {
        write_dicts(w, compact, n, family);
    } else if (family == ADDR_V6) {
        writer_str(w,
                   "5:peers0:6:peers6"); /* BEP 7; an empty peers for readers that insist on it */
        write_str(w, bytes_of(compact, n * ADDR_COMPACT6_LEN));
    } else {
        writer_str(w, "5:peers"); /* BEP 23 */
        write_str(w, bytes_of(compact, n * ADDR_COMPACT4_LEN));
    }
}

/* Keys in order, as bencode wants them. */
static void write_reply(const struct tracker_server *s, struct writer *w, const struct query *q,
                        const struct addr *peer, const struct swarm_counts *counts,
                        const uint8_t *compact, uint32_t n)
{
    writer_u8(w, 'd');
    write_int(w, "complete", counts->n_seeders);
    write_int(w, "downloaded", counts->n_completed);
    writer_str(w, "11:external ip"); /* BEP 24 */
    write_str(w, bytes_of(peer->ip, peer->family == ADDR_V6 ? 16 : 4));
    write_int(w, "incomplete", counts->n_leechers);
    write_int(w, "interval", s->config.interval_s);
    write_int(w, "min interval", s->config.min_interval_s);
    write_peers(w, q, compact, n, peer->family);
    writer_u8(w, 'e');
}

/* Where the peer is: the address that asked, or ip= where that is believed. */
static struct addr peer_of(struct tracker_server *s, const struct query *q, const struct addr *from)
{
    struct addr peer = *from;
    if (q->ip.family != ADDR_NONE && !addr_ip_equal(&q->ip, from)) {
        if (s->config.trusts_ip_parameter && addr_is_local(from))
            peer = q->ip;
        else
            s->counters[TRACKER_SERVER_IP_PARAMETER_IGNORED]++;
    }
    peer.port = (uint16_t)q->port;
    return peer;
}

/* The announce in the table, whichever way it came. */
static uint32_t announce(struct tracker_server *s, uint64_t now_us, struct swarm_announce *a,
                         uint8_t *out, struct swarm_counts *counts)
{
    uint32_t n;
    a->is_unlisted = !addr_is_dialable(&a->peer);
    if (a->peer.port == 0)
        s->counters[TRACKER_SERVER_PORT_ZERO]++;
    if (swarm_table_announce(&s->swarms, now_us, a, out, &n, counts))
        s->counters[TRACKER_SERVER_NO_MEMORY]++;
    return n;
}

static void http_announce(struct tracker_server *s, uint64_t now_us, struct bytes query,
                          const struct addr *from, struct writer *out)
{
    uint8_t compact[TRACKER_SERVER_NUMWANT_MAX * ADDR_COMPACT6_LEN];
    struct query q;
    struct swarm_counts counts;
    read_query(query, &q);
    if (q.why) {
        s->counters[q.refusal]++;
        write_failure(out, q.why);
        return;
    }
    if (!is_allowed(s, q.infohash)) {
        write_failure(out, "this info_hash is not served here");
        return;
    }
    s->counters[TRACKER_SERVER_HTTP_ANNOUNCES]++;
    struct swarm_announce a = {.infohash = q.infohash,
                               .peer = peer_of(s, &q, from),
                               .event = q.event,
                               .is_seed = (q.has & HAS_LEFT) && q.left == 0,
                               .is_paused = q.is_paused,
                               .numwant = (uint32_t)u64_min(q.numwant, TRACKER_SERVER_NUMWANT_MAX)};
    uint32_t n = announce(s, now_us, &a, compact, &counts);
    write_reply(s, out, &q, &a.peer, &counts, compact, n);
}

static void write_scraped(struct tracker_server *s, struct writer *w, const uint8_t *infohash)
{
    struct swarm_counts counts;
    swarm_table_scrape(&s->swarms, infohash, &counts);
    write_str(w, bytes_of(infohash, SHA1_LEN));
    writer_u8(w, 'd');
    write_int(w, "complete", counts.n_seeders);
    write_int(w, "downloaded", counts.n_completed);
    write_int(w, "downloaders", counts.n_leechers - counts.n_paused); /* BEP 21 */
    write_int(w, "incomplete", counts.n_leechers);
    writer_u8(w, 'e');
}

/* The info-hashes that were asked for, sorted and without doubles, as keys have to be. */
static uint32_t read_scrape(struct tracker_server *s, struct bytes query, uint8_t (*out)[SHA1_LEN])
{
    struct bytes name, value;
    uint32_t n = 0, n_unique = 0;
    while (take_parameter(&query, &name, &value)) {
        if (!bytes_equal_str(name, "info_hash"))
            continue;
        if (n == HTTP_SCRAPE_MAX) {
            s->counters[TRACKER_SERVER_SCRAPE_CUT]++;
            break;
        }
        if (query_hash(value, out[n]))
            n++;
        else
            s->counters[TRACKER_SERVER_INFOHASH_MISSING]++;
    }
    qsort(out, n, SHA1_LEN, compare_hashes);
    for (uint32_t i = 0; i < n; i++) {
        if (n_unique == 0 || memcmp(out[i], out[n_unique - 1], SHA1_LEN) != 0)
            memmove(out[n_unique++], out[i], SHA1_LEN);
    }
    return n_unique;
}

/* BEP 48. */
static void http_scrape(struct tracker_server *s, struct bytes query, struct writer *out)
{
    uint8_t hashes[HTTP_SCRAPE_MAX][SHA1_LEN];
    uint32_t n = read_scrape(s, query, hashes);
    if (n == 0) {
        s->counters[TRACKER_SERVER_FULL_SCRAPE_REFUSED]++;
        write_failure(out, "a scrape must name an info_hash");
        return;
    }
    s->counters[TRACKER_SERVER_HTTP_SCRAPES]++;
    writer_str(out, "d5:filesd");
    for (uint32_t i = 0; i < n; i++) {
        if (is_allowed(s, hashes[i]))
            write_scraped(s, out, hashes[i]);
    }
    writer_str(out, "e5:flagsd20:min_request_intervali");
    writer_decimal(out, s->config.min_interval_s);
    writer_str(out, "eee");
}

uint32_t tracker_server_http(struct tracker_server *s, uint64_t now_us, struct bytes path,
                             struct bytes query, const struct addr *from, struct writer *out)
{
    if (query.len > TRACKER_SERVER_QUERY_MAX) {
        s->counters[TRACKER_SERVER_QUERY_TOO_LONG]++;
        write_failure(out, "the query is too long");
        return 414;
    }
    if (bytes_equal_str(path, "/announce")) {
        http_announce(s, now_us, query, from, out);
    } else if (bytes_equal_str(path, "/scrape")) {
        http_scrape(s, query, out);
    } else {
        s->counters[TRACKER_SERVER_HTTP_PATH_UNKNOWN]++;
        write_failure(out, "there is /announce and /scrape");
        return 404;
    }
    assert(writer_ok(out));
    return 200;
}

/* --- UDP (BEP 15) ---------------------------------------------------------------------------- */

/* The connection id of an address in an epoch. Not of its port: an address translator may give each
 * request another one. */
static uint64_t connection_id(const struct tracker_server *s, const struct addr *from,
                              uint64_t epoch)
{
    uint8_t text[16 + 8 + 1];
    memcpy(text, from->ip, 16);
    memcpy(text + 16, &epoch, 8);
    text[24] = from->family;
    return map_hash(s->id_seed, text, sizeof text);
}

static bool is_our_id(const struct tracker_server *s, const struct addr *from, uint64_t now_us,
                      uint64_t id)
{
    uint64_t epoch = now_us / TRACKER_SERVER_ID_EPOCH_US;
    return id == connection_id(s, from, epoch) ||
           (epoch > 0 && id == connection_id(s, from, epoch - 1));
}

static void write_error(struct writer *w, uint32_t transaction, const char *why)
{
    writer_u32be(w, ACTION_ERROR);
    writer_u32be(w, transaction);
    writer_str(w, why);
}

static void udp_connect(struct tracker_server *s, uint64_t now_us, const struct addr *from,
                        uint64_t magic, uint32_t transaction, struct writer *w)
{
    if (magic != PROTOCOL_MAGIC) {
        s->counters[TRACKER_SERVER_UDP_MAGIC_WRONG]++;
        return;
    }
    s->counters[TRACKER_SERVER_UDP_CONNECTS]++;
    writer_u32be(w, ACTION_CONNECT);
    writer_u32be(w, transaction);
    writer_u64be(w, connection_id(s, from, now_us / TRACKER_SERVER_ID_EPOCH_US));
}

/* BEP 41: what follows the announce. Nothing here depends on it; it is read to be sure that it ends. */
static void skip_options(struct tracker_server *s, struct reader *r)
{
    while (reader_left(r) > 0) {
        uint8_t option = reader_u8(r);
        if (option == OPTION_END)
            return;
        if (option != OPTION_NOP)
            reader_skip(r, reader_u8(r));
    }
    if (!reader_ok(r))
        s->counters[TRACKER_SERVER_UDP_OPTION_MALFORMED]++;
}

static void read_udp_announce(struct reader *r, const struct addr *from, uint8_t *infohash,
                              struct swarm_announce *a)
{
    a->peer = *from;
    reader_copy(r, infohash, SHA1_LEN);
    reader_skip(r, 20 + 8);            /* peer id, downloaded */
    a->is_seed = reader_u64be(r) == 0; /* left */
    reader_skip(r, 8);                 /* uploaded */
    uint32_t event = reader_u32be(r);
    reader_skip(r, 4 + 4); /* IP address (BEP 15: ignored unless trusted), key */
    uint32_t numwant = reader_u32be(r);
    a->peer.port = reader_u16be(r);
    uint32_t numwant_max = from->family == ADDR_V6 ? UDP_PEERS_MAX6 : UDP_PEERS_MAX4;
    if (numwant_max > TRACKER_SERVER_NUMWANT_MAX)
        numwant_max = TRACKER_SERVER_NUMWANT_MAX;
    if (numwant > INT32_MAX)
        numwant = TRACKER_SERVER_NUMWANT; /* BEP 15: -1 is the default */
    a->numwant = numwant < numwant_max ? numwant : numwant_max;
    a->infohash = infohash;
    a->event = event == EVENT_STOPPED     ? SWARM_STOPPED
               : event == EVENT_COMPLETED ? SWARM_COMPLETED
                                          : SWARM_ALIVE;
}

static void udp_announce(struct tracker_server *s, uint64_t now_us, const struct addr *from,
                         struct reader *r, uint32_t transaction, struct writer *w)
{
    uint8_t infohash[SHA1_LEN];
    uint8_t compact[TRACKER_SERVER_UDP_CAP];
    struct swarm_announce a = {0};
    struct swarm_counts counts;
    read_udp_announce(r, from, infohash, &a);
    if (!reader_ok(r)) {
        s->counters[TRACKER_SERVER_UDP_TOO_SHORT]++;
        return;
    }
    skip_options(s, r);
    if (!is_allowed(s, infohash)) {
        write_error(w, transaction, "this info_hash is not served here");
        return;
    }
    s->counters[TRACKER_SERVER_UDP_ANNOUNCES]++;
    uint32_t n = announce(s, now_us, &a, compact, &counts);
    writer_u32be(w, ACTION_ANNOUNCE);
    writer_u32be(w, transaction);
    writer_u32be(w, s->config.interval_s);
    writer_u32be(w, counts.n_leechers);
    writer_u32be(w, counts.n_seeders);
    writer_put(w, bytes_of(compact,
                           n * (from->family == ADDR_V6 ? ADDR_COMPACT6_LEN : ADDR_COMPACT4_LEN)));
}

static void udp_scrape(struct tracker_server *s, struct reader *r, uint32_t transaction,
                       struct writer *w)
{
    uint32_t n = 0;
    if (reader_left(r) < SHA1_LEN) {
        s->counters[TRACKER_SERVER_UDP_TOO_SHORT]++;
        return;
    }
    s->counters[TRACKER_SERVER_UDP_SCRAPES]++;
    writer_u32be(w, ACTION_SCRAPE);
    writer_u32be(w, transaction);
    for (; reader_left(r) >= SHA1_LEN && n < UDP_SCRAPE_MAX; n++) {
        struct swarm_counts counts = {0};
        struct bytes infohash = reader_take(r, SHA1_LEN);
        if (is_allowed(s, infohash.data))
            swarm_table_scrape(&s->swarms, infohash.data, &counts);
        writer_u32be(w, counts.n_seeders);
        writer_u32be(w, counts.n_completed);
        writer_u32be(w, counts.n_leechers);
    }
    s->counters[TRACKER_SERVER_SCRAPE_CUT] += reader_left(r) >= SHA1_LEN;
}

static void udp_request(struct tracker_server *s, uint64_t now_us, const struct addr *from,
                        struct bytes in, struct writer *w)
{
    struct reader r = reader_init(in);
    uint64_t id = reader_u64be(&r);
    uint32_t action = reader_u32be(&r);
    uint32_t transaction = reader_u32be(&r);
    if (!reader_ok(&r)) {
        s->counters[TRACKER_SERVER_UDP_TOO_SHORT]++;
    } else if (action == ACTION_CONNECT) {
        udp_connect(s, now_us, from, id, transaction, w);
    } else if (action != ACTION_ANNOUNCE && action != ACTION_SCRAPE) {
        s->counters[TRACKER_SERVER_UDP_ACTION_UNKNOWN]++;
    } else if (!is_our_id(s, from, now_us, id)) {
        s->counters[TRACKER_SERVER_UDP_ID_WRONG]++;
        if (in.len >= 8 + strlen(ERROR_ID)) /* never more than was sent: nobody is flooded by us */
            write_error(w, transaction, ERROR_ID);
    } else if (action == ACTION_ANNOUNCE) {
        udp_announce(s, now_us, from, &r, transaction, w);
    } else {
        udp_scrape(s, &r, transaction, w);
    }
}

size_t tracker_server_udp(struct tracker_server *s, uint64_t now_us, const struct addr *from,
                          struct bytes in, uint8_t *out)
{
    struct writer w = writer_init(out, TRACKER_SERVER_UDP_CAP);
    udp_request(s, now_us, from, in, &w);
    assert(writer_ok(&w));
    return w.pos;
}

/* --- the rest -------------------------------------------------------------------------------- */

void tracker_server_tick(struct tracker_server *s, uint64_t now_us)
{
    swarm_table_tick(&s->swarms, now_us);
}

uint64_t tracker_server_deadline_us(const struct tracker_server *s)
{
    return swarm_table_deadline_us(&s->swarms);
}

void tracker_server_stats(const struct tracker_server *s, struct tracker_server_stats *out)
{
    const struct swarm_table *t = &s->swarms;
    *out = (struct tracker_server_stats){.n_swarms = t->n_swarms,
                                         .n_peers_v4 = t->n_peers[0],
                                         .n_peers_v6 = t->n_peers[1],
                                         .n_allowed = s->has_allow_list ? s->n_allowed : UINT32_MAX,
                                         .n_seeds = t->n_seeds,
                                         .n_expired = t->n_expired,
                                         .n_peers_evicted = t->n_peers_evicted,
                                         .n_swarms_evicted = t->n_swarms_evicted,
                                         .started_at_us = s->started_at_us,
                                         .memory_len = s->mem->used_len};
    memcpy(out->counters, s->counters, sizeof out->counters);
}

void tracker_server_check(const struct tracker_server *s)
{
    swarm_table_check(&s->swarms);
    for (uint32_t i = 1; i < s->n_allowed; i++)
        assert(memcmp(s->allowed[i - 1], s->allowed[i], SHA1_LEN) <= 0);
}
