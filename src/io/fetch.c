#include "io/fetch.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/timer.h"
#include "io/loop.h"
#include "io/sockaddr.h"
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 10000L
#define N_CONNS_KEPT       16L

struct fetch_client {
    struct loop *loop;
    struct loop_timer *timer;
    CURLM *multi;
    struct addr bind4, bind6;
    struct mem mem;
    struct list jobs;
    struct list failed; /* given up here, not by libcurl; reported from the timer */
};

struct fetch_job {
    struct list_node in_jobs;
    struct fetch_client *client;
    CURL *easy;
    void (*fn)(void *ctx, uint64_t job, const struct err *err, uint32_t http_status,
               struct bytes body);
    void *ctx;
    uint64_t job;
    struct buf body;
    struct err err;        /* ours; beats what libcurl says */
    bool has_asked_global; /* from here on no local address */
    bool is_tracker;       /* fetch.is_tracker */
    bool is_given_up;      /* in failed */
    char range[48];
};

static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- which addresses may be asked ------------------------------------------------------------ */

static bool is_unspecified(const struct addr *a)
{
    static const uint8_t none[16];
    return a->family == ADDR_V4 ? a->ip[0] == 0 : memcmp(a->ip, none, 16) == 0;
}

static bool is_local(const struct addr *a)
{
    return is_unspecified(a) || addr_is_local(a);
}

/* Machines behind it are this one, or hand out secrets to whoever is on it. */
static bool is_this_machine(const struct addr *a)
{
    bool is_link_local =
        a->family == ADDR_V4 ? a->ip[0] == 169 && a->ip[1] == 254 : a->ip[0] == 0xfe;
    return is_unspecified(a) || addr_is_loopback(a) || is_link_local;
}

static bool begins_like_tracker(const char *path)
{
    return strncmp(path, "/announce", 9) == 0 || strncmp(path, "/scrape", 7) == 0;
}

/* The path that is about to be asked for, as libcurl itself reads the URL. */
static bool has_tracker_path(const struct fetch_job *j, bool is_strict)
{
    const char *url = NULL;
    char *path = NULL;
    bool is_like_tracker = false;
    CURLU *parts = curl_url();
    curl_easy_getinfo(j->easy, CURLINFO_EFFECTIVE_URL, &url);
    if (parts && url && !curl_url_set(parts, CURLUPART_URL, url, 0) &&
        !curl_url_get(parts, CURLUPART_PATH, &path, 0)) {
        const char *last = is_strict ? NULL : strrchr(path, '/');
        is_like_tracker = begins_like_tracker(last ? last : path);
    }
    curl_free(path);
    curl_url_cleanup(parts);
    return is_like_tracker;
}

static bool refuse(struct fetch_job *j, const char *why)
{
    err_set(&j->err, ERR_PROTOCOL, why);
    return false;
}

/* Once a global address was asked, a redirect (or a second address of the same name) must not
 * lead to our own network. */
static bool may_ask(struct fetch_job *j, const struct addr *a)
{
    if (!is_local(a)) {
        j->has_asked_global = true;
        return true;
    }
    if (j->has_asked_global)
        return refuse(j, "redirect from a global to a local address");
    if (j->is_tracker && !has_tracker_path(j, is_this_machine(a)))
        return refuse(j, "a local address, and no tracker's path");
    return true;
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct sockaddr_storage ss = {0};
    (void)purpose;
    if (to->addrlen > sizeof ss)
        return CURL_SOCKET_BAD;
    memcpy(&ss, &to->addr, to->addrlen);
    struct addr a = sockaddr_to_addr(&ss);
    if (a.family == ADDR_NONE || !may_ask(ctx, &a))
        return CURL_SOCKET_BAD;
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* Also sees connections that libcurl kept from before, for which no socket is opened. */
static int before_request(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
    struct addr a;
    (void)local_ip;
    (void)local_port;
    if (addr_parse(bytes_of_str(ip), (uint16_t)port, &a) || !may_ask(ctx, &a))
        return CURL_PREREQFUNC_ABORT;
    return CURL_PREREQFUNC_OK;
}

/* --- one request ----------------------------------------------------------------------------- */

static size_t body_came(char *data, size_t size, size_t n, void *ctx)
{
    struct fetch_job *j = ctx;
    buf_put(&j->body, bytes_of(data, size * n));
    if (j->body.err == ERR_OK)
        return size * n;
    err_set_at(&j->err, j->body.err, "the answer is too long", j->body.len, 0, j->body.limit_len);
    return 0;
}

static bool is_specific(const struct addr *a)
{
    static const uint8_t any[16];
    return a->family != ADDR_NONE && memcmp(a->ip, any, 16) != 0;
}

/* An address to dial from ties the request to that family. */
static void set_family(struct fetch_job *j, uint8_t family)
{
    const struct fetch_client *c = j->client;
    if (family == ADDR_NONE && (is_specific(&c->bind4) || c->bind6.family == ADDR_NONE))
        family = ADDR_V4;
    else if (family == ADDR_NONE && (is_specific(&c->bind6) || c->bind4.family == ADDR_NONE))
        family = ADDR_V6;
    if (family == ADDR_NONE)
        return;
    curl_easy_setopt(j->easy, CURLOPT_IPRESOLVE,
                     family == ADDR_V4 ? (long)CURL_IPRESOLVE_V4 : (long)CURL_IPRESOLVE_V6);
    const struct addr *bind = family == ADDR_V4 ? &c->bind4 : &c->bind6;
    if (!is_specific(bind))
        return;
    char text[ADDR_TEXT_CAP], option[ADDR_TEXT_CAP + 8];
    snprintf(option, sizeof option, "host!%s", addr_format_ip(bind, text));
    curl_easy_setopt(j->easy, CURLOPT_INTERFACE, option);
}

static void set_limits(struct fetch_job *j, const struct fetch *request)
{
    CURL *e = j->easy;
    long timeout_ms = request->timeout_ms ? (long)request->timeout_ms : 30000L;
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                     timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(e, CURLOPT_MAXREDIRS, (long)FETCH_N_REDIRECTS_MAX);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, j);
    curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(e, CURLOPT_PREREQDATA, j);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* do not wait for a name server at the end */
    curl_easy_setopt(e, CURLOPT_PROXY, "");      /* with a proxy the address rules mean nothing */
}

static bool job_set_up(struct fetch_job *j, const struct fetch *request)
{
    CURL *e = j->easy = curl_easy_init();
    if (!e)
        return false;
    if (curl_easy_setopt(e, CURLOPT_URL, request->url) != CURLE_OK)
        return false;
    set_limits(j, request);
    set_family(j, request->ip_family);
    curl_easy_setopt(e, CURLOPT_PRIVATE, j);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, body_came);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, j);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_USERAGENT, request->user_agent);
    if (request->range_len == 0) {
        curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip");
        return true;
    }
    /* No compression here: the range is of the plain bytes. */
    snprintf(j->range, sizeof j->range, "%llu-%llu", (unsigned long long)request->range_from,
             (unsigned long long)(request->range_from + request->range_len - 1));
    curl_easy_setopt(e, CURLOPT_RANGE, j->range);
    return true;
}

static void job_free(struct fetch_job *j)
{
    if (j->easy) {
        curl_multi_remove_handle(j->client->multi, j->easy);
        curl_easy_cleanup(j->easy);
    }
    buf_clear(&j->body);
    mem_free(&j->client->mem, j);
}

/* --- how it ended ---------------------------------------------------------------------------- */

static uint64_t os_errno(CURL *easy)
{
    long code = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &code);
    return code > 0 ? (uint64_t)code : 0;
}

static void note_failure(struct fetch_job *j, CURLcode code)
{
    struct err *err = &j->err;
    if (err->code) /* said already, more exactly */
        return;
    switch (code) {
    case CURLE_OK:
        break;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        err_set(err, ERR_MALFORMED, "not http or https");
        break;
    case CURLE_COULDNT_RESOLVE_HOST:
        err_set(err, ERR_NOT_FOUND, "no address for this name");
        break;
    case CURLE_OPERATION_TIMEDOUT:
        err_set_at(err, ERR_IO, "no answer in time", 0, ETIMEDOUT, 0);
        break;
    case CURLE_TOO_MANY_REDIRECTS:
        err_set(err, ERR_PROTOCOL, "too many redirects");
        break;
    case CURLE_BAD_CONTENT_ENCODING:
        err_set(err, ERR_MALFORMED, "the answer's compression is damaged");
        break;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        err_set(err, ERR_TRUNCATED, "the answer is incomplete");
        break;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        err_set(err, ERR_IO, "no TLS connection that can be trusted");
        break;
    case CURLE_OUT_OF_MEMORY:
        err_set(err, ERR_NO_MEMORY, "no memory for a request");
        break;
    case CURLE_COULDNT_CONNECT:
    case CURLE_INTERFACE_FAILED:
        err_set_at(err, ERR_IO, "cannot connect", 0, os_errno(j->easy), 0);
        break;
    default:
        err_set_at(err, ERR_IO, "the request failed", (uint64_t)code, os_errno(j->easy), 0);
    }
}

static void job_report(struct fetch_job *j)
{
    long status = 0;
    struct err err = j->err;
    if (j->easy)
        curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &status);
    struct bytes body = err.code ? (struct bytes){0} : buf_bytes(&j->body);
    j->fn(j->ctx, j->job, err.code ? &err : NULL, (uint32_t)status, body);
    job_free(j);
}

static void report_ended(struct fetch_client *c)
{
    struct list_node *node;
    while ((node = list_pop_front(&c->failed)))
        job_report(CONTAINER_OF(node, struct fetch_job, in_jobs));
    CURLMsg *msg;
    int n_left;
    while ((msg = curl_multi_info_read(c->multi, &n_left))) {
        struct fetch_job *j = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&j);
        CURLcode code = msg->data.result;
        if (code == CURLE_OK)
            j->err = (struct err){0}; /* another address of the name did it */
        note_failure(j, code);
        list_remove(&c->jobs, &j->in_jobs);
        job_report(j);
    }
}

/* --- on the loop ----------------------------------------------------------------------------- */

struct watched {
    struct fetch_client *client;
    struct loop_poll *poll;
    curl_socket_t fd;
};

static void socket_ready(void *ctx, bool is_readable, bool is_writable)
{
    struct watched *w = ctx;
    struct fetch_client *c = w->client;
    int n_running,
        flags = (is_readable ? CURL_CSELECT_IN : 0) | (is_writable ? CURL_CSELECT_OUT : 0);
    curl_multi_socket_action(c->multi, w->fd, flags, &n_running);
    report_ended(c); /* w may be gone */
}

static void job_give_up(struct fetch_job *j)
{
    struct fetch_client *c = j->client;
    err_set(&j->err, ERR_NO_MEMORY, "no memory for a request");
    j->is_given_up = true;
    list_push_back(&c->failed, &j->in_jobs);
    loop_timer_set(c->timer, clock_now_us());
}

/* Nobody would hear of its socket again: the job ends. To libcurl all is well; told of an error it
 * would let go of all its transfers, and say so only when their time is up. */
static void watch_failed(CURL *easy)
{
    struct fetch_job *j = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&j);
    if (!j || j->is_given_up)
        return;
    list_remove(&j->client->jobs, &j->in_jobs);
    job_give_up(j);
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct fetch_client *c = ctx;
    struct watched *w = socket_ctx;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            loop_poll_free(w->poll);
        free(w);
        return 0;
    }
    if (!w) {
        w = calloc(1, sizeof *w);
        if (!w || loop_poll_new(&w->poll, c->loop, fd, socket_ready, w, NULL)) {
            free(w);
            watch_failed(easy);
            return 0;
        }
        w->client = c;
        w->fd = fd;
        curl_multi_assign(c->multi, fd, w);
    }
    loop_poll_set(w->poll, what & CURL_POLL_IN, what & CURL_POLL_OUT);
    return 0;
}

static int timer_wanted(CURLM *multi, long ms, void *ctx)
{
    struct fetch_client *c = ctx;
    (void)multi;
    if (!list_is_empty(&c->failed))
        ms = 0;
    loop_timer_set(c->timer, ms < 0 ? DEADLINE_NEVER : clock_now_us() + (uint64_t)ms * US_PER_MS);
    return 0;
}

static void timer_fired(void *ctx)
{
    struct fetch_client *c = ctx;
    int n_running;
    curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &n_running);
    report_ended(c);
}

/* --- life ------------------------------------------------------------------------------------ */

enum err_code fetch_client_new(struct fetch_client **out, struct loop *l, const struct addr *bind4,
                               const struct addr *bind6, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    struct fetch_client *c = *out = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, ERR_NO_MEMORY, "no memory for the HTTP client");
    c->loop = l;
    c->bind4 = *bind4;
    c->bind6 = *bind6;
    mem_init(&c->mem, MEM_NO_BUDGET, NULL);
    list_init(&c->jobs);
    list_init(&c->failed);
    c->multi = curl_multi_init();
    if (!c->multi || loop_timer_new(&c->timer, l, timer_fired, c)) {
        fetch_client_free(c);
        *out = NULL;
        return err_set(err, ERR_NO_MEMORY, "no memory for the HTTP client");
    }
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)FETCH_N_MAX);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, N_CONNS_KEPT);
    return ERR_OK;
}

void fetch_client_free(struct fetch_client *c)
{
    if (!c)
        return;
    struct list_node *node;
    while ((node = list_pop_front(&c->failed)))
        job_free(CONTAINER_OF(node, struct fetch_job, in_jobs));
    while ((node = list_pop_front(&c->jobs)))
        job_free(CONTAINER_OF(node, struct fetch_job, in_jobs));
    if (c->multi)
        curl_multi_cleanup(c->multi);
    loop_timer_free(c->timer);
    mem_check_empty(&c->mem);
    free(c);
}

enum err_code fetch_start(struct fetch_client *c, const struct fetch *request,
                          void (*fn)(void *ctx, uint64_t job, const struct err *err,
                                     uint32_t http_status, struct bytes body),
                          void *ctx, uint64_t job)
{
    struct fetch_job *j = mem_calloc(&c->mem, 1, sizeof *j);
    if (!j)
        return ERR_NO_MEMORY;
    j->client = c;
    j->fn = fn;
    j->ctx = ctx;
    j->job = job;
    j->is_tracker = request->is_tracker;
    buf_init(&j->body, &c->mem, request->body_len_max);
    if (job_set_up(j, request) && curl_multi_add_handle(c->multi, j->easy) == CURLM_OK) {
        list_push_back(&c->jobs, &j->in_jobs);
        return ERR_OK;
    }
    job_give_up(j);
    return ERR_OK;
}

size_t fetch_n_out(const struct fetch_client *c)
{
    return c->jobs.n + c->failed.n;
}
