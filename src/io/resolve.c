#include "io/resolve.h"
#include "base/list.h"
#include "io/loop.h"
#include "io/sockaddr.h"
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>

struct resolve_job {
    struct list_node in_jobs;
    void (*fn)(void *ctx, uint64_t job, const struct err *err, const struct addr *addrs,
               size_t n_addrs);
    void *ctx;
    uint64_t job;
    struct err err;
    struct addr addrs[RESOLVE_N_ADDRS_MAX];
    size_t n_addrs;
    uint16_t port;
    char name[];
};

/* Shared with threads that nobody waits for: whoever leaves last frees it. */
struct shared {
    pthread_mutex_t lock;
    pthread_cond_t has_work;
    struct list waiting, done;
    unsigned n_threads, n_idle, n_users;
    bool is_closed;
    struct loop_async *async; /* only while not closed */
};

struct resolver {
    struct shared *shared;
};

static void jobs_free(struct list *jobs)
{
    struct list_node *node;
    while ((node = list_pop_front(jobs)))
        free(CONTAINER_OF(node, struct resolve_job, in_jobs));
}

/* Called with the lock held; gives it up. */
static void shared_leave(struct shared *s)
{
    bool is_last = --s->n_users == 0;
    pthread_mutex_unlock(&s->lock);
    if (!is_last)
        return;
    jobs_free(&s->waiting);
    jobs_free(&s->done);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->has_work);
    free(s);
}

/* --- a thread -------------------------------------------------------------------------------- */

static void note_failure(struct err *err, int code)
{
    if (code == EAI_SYSTEM)
        err_set_at(err, ERR_IO, "cannot look up a name", 0, (uint64_t)errno, 0);
    else if (code == EAI_MEMORY)
        err_set(err, ERR_NO_MEMORY, "no memory to look up a name");
    else if (code == EAI_AGAIN)
        err_set_at(err, ERR_IO, "the name service does not answer", 0, ETIMEDOUT, 0);
    else
        err_set(err, ERR_NOT_FOUND, "no address for this name");
}

static bool has_addr(const struct resolve_job *j, const struct addr *a)
{
    for (size_t i = 0; i < j->n_addrs; i++)
        if (addr_equal(&j->addrs[i], a))
            return true;
    return false;
}

static void look_up(struct resolve_job *j)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int code = getaddrinfo(j->name, NULL, &hints, &found);
    if (code) {
        note_failure(&j->err, code);
        return;
    }
    for (struct addrinfo *ai = found; ai && j->n_addrs < RESOLVE_N_ADDRS_MAX; ai = ai->ai_next) {
        struct sockaddr_storage ss = {0};
        memcpy(&ss, ai->ai_addr, ai->ai_addrlen);
        struct addr a = sockaddr_to_addr(&ss);
        a.port = j->port;
        if (a.family != ADDR_NONE && !has_addr(j, &a))
            j->addrs[j->n_addrs++] = a;
    }
    freeaddrinfo(found);
    if (j->n_addrs == 0)
        note_failure(&j->err, EAI_NONAME);
}

static void post_done(struct shared *s, struct resolve_job *j)
{
    list_push_back(&s->done, &j->in_jobs);
    if (!s->is_closed)
        loop_async_send(s->async);
}

static void *resolver_main(void *arg)
{
    struct shared *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->is_closed) {
        struct list_node *node = list_pop_front(&s->waiting);
        if (!node) {
            s->n_idle++;
            pthread_cond_wait(&s->has_work, &s->lock);
            s->n_idle--;
            continue;
        }
        struct resolve_job *j = CONTAINER_OF(node, struct resolve_job, in_jobs);
        pthread_mutex_unlock(&s->lock);
        look_up(j);
        pthread_mutex_lock(&s->lock);
        post_done(s, j);
    }
    shared_leave(s);
    return NULL;
}

static bool start_thread(struct shared *s)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = pthread_create(&thread, &attr, resolver_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (code)
        return false;
    s->n_threads++;
    s->n_users++;
    return true;
}

/* --- the loop's side ------------------------------------------------------------------------- */

static void deliver(void *ctx)
{
    struct resolver *r = ctx;
    struct list batch;
    struct list_node *node;
    list_init(&batch);
    pthread_mutex_lock(&r->shared->lock);
    while ((node = list_pop_front(&r->shared->done)))
        list_push_back(&batch, node);
    pthread_mutex_unlock(&r->shared->lock);
    while ((node = list_pop_front(&batch))) {
        struct resolve_job *j = CONTAINER_OF(node, struct resolve_job, in_jobs);
        j->fn(j->ctx, j->job, j->err.code ? &j->err : NULL, j->addrs, j->n_addrs);
        free(j);
    }
}

enum err_code resolver_new(struct resolver **out, struct loop *l, struct err *err)
{
    struct resolver *r = *out = calloc(1, sizeof *r);
    struct shared *s = calloc(1, sizeof *s);
    if (!r || !s || loop_async_new(&s->async, l, deliver, r)) {
        free(r);
        free(s);
        *out = NULL;
        return err_set(err, ERR_NO_MEMORY, "no memory to look up names");
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->has_work, NULL);
    list_init(&s->waiting);
    list_init(&s->done);
    s->n_users = 1;
    r->shared = s;
    return ERR_OK;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    struct shared *s = r->shared;
    pthread_mutex_lock(&s->lock);
    s->is_closed = true;
    loop_async_free(s->async);
    s->async = NULL;
    pthread_cond_broadcast(&s->has_work);
    shared_leave(s);
    free(r);
}

enum err_code resolve_start(struct resolver *r, const char *name, uint16_t port,
                            void (*fn)(void *ctx, uint64_t job, const struct err *err,
                                       const struct addr *addrs, size_t n_addrs),
                            void *ctx, uint64_t job)
{
    struct shared *s = r->shared;
    size_t len = strlen(name);
    struct resolve_job *j = calloc(1, sizeof *j + len + 1);
    if (!j)
        return ERR_NO_MEMORY;
    memcpy(j->name, name, len + 1);
    j->port = port;
    j->fn = fn;
    j->ctx = ctx;
    j->job = job;
    pthread_mutex_lock(&s->lock);
    bool can_run = s->waiting.n < RESOLVE_N_MAX;
    if (can_run && s->n_idle <= s->waiting.n && s->n_threads < RESOLVE_N_THREADS)
        can_run = start_thread(s) || s->n_threads > 0;
    if (can_run) {
        list_push_back(&s->waiting, &j->in_jobs);
        pthread_cond_signal(&s->has_work);
    } else {
        err_set(&j->err, ERR_LIMIT, "too many names to look up");
        post_done(s, j);
    }
    pthread_mutex_unlock(&s->lock);
    return ERR_OK;
}
