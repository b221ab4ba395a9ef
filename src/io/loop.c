#include "io/loop.h"
#include "base/list.h"
#include "base/size.h"
#include "base/timer.h"
#include <assert.h>
#include <signal.h>
#include <time.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_idle_t idle; /* started while a hook has more to do: the loop does not sleep */
    uv_timer_t turn_timer;
    struct list hooks;
};

struct loop_timer {
    uv_timer_t uv;
    struct loop *loop;
    void (*fn)(void *ctx);
    void *ctx;
    uint64_t at_us;
};

struct loop_poll {
    uv_poll_t uv;
    void (*fn)(void *ctx, bool is_readable, bool is_writable);
    void *ctx;
    int events;
};

struct loop_hook {
    struct list_node in_loop;
    struct loop *loop;
    bool (*fn)(void *ctx);
    void *ctx;
};

struct loop_signal {
    uv_signal_t uv;
    void (*fn)(void *ctx, int signum);
    void *ctx;
};

struct loop_async {
    uv_async_t uv;
    void (*fn)(void *ctx);
    void *ctx;
};

uint64_t clock_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * US_PER_S + (uint64_t)ts.tv_nsec / 1000u;
}

/* UV_E* are negated errno values on this system. */
static enum err_code uv_err(struct err *err, const char *what, int code)
{
    return err_set_at(err, ERR_IO, what, 0, (uint64_t)-code, 0);
}

/* --- the loop -------------------------------------------------------------------------------- */

static void idle_turn(uv_idle_t *idle)
{
    (void)idle;
}

static void prepare_turn(uv_prepare_t *prepare)
{
    struct loop *l = CONTAINER_OF(prepare, struct loop, prepare);
    bool has_more = false;
    LIST_EACH(&l->hooks, h, struct loop_hook, in_loop)
    {
        if (h->fn(h->ctx))
            has_more = true;
    }
    if (has_more)
        uv_idle_start(&l->idle, idle_turn);
    else
        uv_idle_stop(&l->idle);
}

/* A write to a socket that the far side closed must be an error, not the end of the program;
 * splice has no flag for it. An owner who set a disposition of its own keeps it. */
static void ignore_sigpipe(void)
{
    struct sigaction old;
    if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

enum err_code loop_new(struct loop **out, struct err *err)
{
    *out = NULL;
    struct loop *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(err, ERR_NO_MEMORY, "no memory for the loop");
    int code = uv_loop_init(&l->uv);
    if (code) {
        free(l);
        return uv_err(err, "cannot start the event loop", code);
    }
    ignore_sigpipe();
    list_init(&l->hooks);
    uv_prepare_init(&l->uv, &l->prepare);
    uv_idle_init(&l->uv, &l->idle);
    uv_timer_init(&l->uv, &l->turn_timer);
    uv_prepare_start(&l->prepare, prepare_turn);
    *out = l;
    return ERR_OK;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    assert(list_is_empty(&l->hooks));
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->idle, NULL);
    uv_close((uv_handle_t *)&l->turn_timer, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    int code = uv_loop_close(&l->uv);
    assert(code == 0); /* else somebody still holds a timer, poll, signal or async */
    (void)code;
    free(l);
}

void loop_run(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

int loop_fd(const struct loop *l)
{
    return uv_backend_fd(&l->uv);
}

int loop_timeout_ms(const struct loop *l)
{
    return uv_backend_timeout(&l->uv);
}

void loop_stop(struct loop *l)
{
    uv_stop(&l->uv);
}

/* libuv runs timers before it waits as well: when this one fires there (the machine was busy with
 * others meanwhile), nothing would be left to end the wait. */
static void turn_over(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* Milliseconds until at_us, rounded up so that a timer never fires early. */
static uint64_t ms_until(uint64_t at_us)
{
    uint64_t now_us = clock_now_us();
    return at_us > now_us ? div_ceil(at_us - now_us, US_PER_MS) : 0;
}

void loop_turn(struct loop *l, uint64_t wait_us_max)
{
    uv_update_time(&l->uv);
    uv_timer_start(&l->turn_timer, turn_over, div_ceil(wait_us_max, US_PER_MS), 0);
    uv_run(&l->uv, wait_us_max ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    uv_timer_stop(&l->turn_timer);
}

uint64_t loop_now_us(const struct loop *l)
{
    (void)l;
    return clock_now_us();
}

/* --- timers ---------------------------------------------------------------------------------- */

static void timer_fired(uv_timer_t *uv)
{
    struct loop_timer *t = CONTAINER_OF(uv, struct loop_timer, uv);
    if (clock_now_us() < t->at_us) { /* libuv's clock is cut to milliseconds */
        uv_timer_start(&t->uv, timer_fired, 1, 0);
        return;
    }
    t->at_us = DEADLINE_NEVER;
    t->fn(t->ctx);
}

enum err_code loop_timer_new(struct loop_timer **out, struct loop *l, void (*fn)(void *ctx),
                             void *ctx)
{
    struct loop_timer *t = *out = calloc(1, sizeof *t);
    if (!t)
        return ERR_NO_MEMORY;
    t->loop = l;
    t->fn = fn;
    t->ctx = ctx;
    t->at_us = DEADLINE_NEVER;
    uv_timer_init(&l->uv, &t->uv);
    return ERR_OK;
}

void loop_timer_set(struct loop_timer *t, uint64_t at_us)
{
    if (at_us == t->at_us)
        return;
    if (at_us == DEADLINE_NEVER) {
        loop_timer_stop(t);
        return;
    }
    t->at_us = at_us;
    uv_update_time(&t->loop->uv);
    uv_timer_start(&t->uv, timer_fired, ms_until(at_us), 0);
}

void loop_timer_stop(struct loop_timer *t)
{
    t->at_us = DEADLINE_NEVER;
    uv_timer_stop(&t->uv);
}

static void timer_closed(uv_handle_t *uv)
{
    free(CONTAINER_OF(uv, struct loop_timer, uv));
}

void loop_timer_free(struct loop_timer *t)
{
    if (t)
        uv_close((uv_handle_t *)&t->uv, timer_closed);
}

/* --- descriptors ----------------------------------------------------------------------------- */

static void poll_ready(uv_poll_t *uv, int status, int events)
{
    struct loop_poll *p = CONTAINER_OF(uv, struct loop_poll, uv);
    if (status < 0) /* the descriptor's own error: let a read and a write find out */
        events = p->events;
    p->fn(p->ctx, events & UV_READABLE, events & UV_WRITABLE);
}

enum err_code loop_poll_new(struct loop_poll **out, struct loop *l, int fd,
                            void (*fn)(void *ctx, bool is_readable, bool is_writable), void *ctx,
                            struct err *err)
{
    struct loop_poll *p = *out = calloc(1, sizeof *p);
    if (!p)
        return err_set(err, ERR_NO_MEMORY, "no memory to watch a descriptor");
    p->fn = fn;
    p->ctx = ctx;
    int code = uv_poll_init(&l->uv, &p->uv, fd);
    if (code) {
        free(p);
        *out = NULL;
        return uv_err(err, "cannot watch a descriptor", code);
    }
    return ERR_OK;
}

void loop_poll_set(struct loop_poll *p, bool want_read, bool want_write)
{
    int events = (want_read ? UV_READABLE : 0) | (want_write ? UV_WRITABLE : 0);
    if (events == p->events)
        return;
    p->events = events;
    if (events)
        uv_poll_start(&p->uv, events, poll_ready);
    else
        uv_poll_stop(&p->uv);
}

static void poll_closed(uv_handle_t *uv)
{
    free(CONTAINER_OF(uv, struct loop_poll, uv));
}

void loop_poll_free(struct loop_poll *p)
{
    if (p)
        uv_close((uv_handle_t *)&p->uv, poll_closed);
}

/* --- hooks ----------------------------------------------------------------------------------- */

enum err_code loop_hook_new(struct loop_hook **out, struct loop *l, bool (*fn)(void *ctx),
                            void *ctx)
{
    struct loop_hook *h = *out = calloc(1, sizeof *h);
    if (!h)
        return ERR_NO_MEMORY;
    h->loop = l;
    h->fn = fn;
    h->ctx = ctx;
    list_push_back(&l->hooks, &h->in_loop);
    return ERR_OK;
}

void loop_hook_free(struct loop_hook *h)
{
    if (!h)
        return;
    list_remove(&h->loop->hooks, &h->in_loop);
    free(h);
}

/* --- signals --------------------------------------------------------------------------------- */

static void signal_came(uv_signal_t *uv, int signum)
{
    struct loop_signal *s = CONTAINER_OF(uv, struct loop_signal, uv);
    s->fn(s->ctx, signum);
}

enum err_code loop_signal_new(struct loop_signal **out, struct loop *l, int signum,
                              void (*fn)(void *ctx, int signum), void *ctx)
{
    struct loop_signal *s = *out = calloc(1, sizeof *s);
    if (!s)
        return ERR_NO_MEMORY;
    s->fn = fn;
    s->ctx = ctx;
    uv_signal_init(&l->uv, &s->uv);
    if (uv_signal_start(&s->uv, signal_came, signum)) {
        loop_signal_free(s);
        *out = NULL;
        return ERR_IO;
    }
    return ERR_OK;
}

static void signal_closed(uv_handle_t *uv)
{
    free(CONTAINER_OF(uv, struct loop_signal, uv));
}

void loop_signal_free(struct loop_signal *s)
{
    if (s)
        uv_close((uv_handle_t *)&s->uv, signal_closed);
}

/* --- wake-ups from other threads -------------------------------------------------------------- */

static void async_came(uv_async_t *uv)
{
    struct loop_async *a = CONTAINER_OF(uv, struct loop_async, uv);
    a->fn(a->ctx);
}

enum err_code loop_async_new(struct loop_async **out, struct loop *l, void (*fn)(void *ctx),
                             void *ctx)
{
    struct loop_async *a = *out = calloc(1, sizeof *a);
    if (!a)
        return ERR_NO_MEMORY;
    a->fn = fn;
    a->ctx = ctx;
    if (uv_async_init(&l->uv, &a->uv, async_came)) {
        free(a);
        *out = NULL;
        return ERR_IO;
    }
    return ERR_OK;
}

void loop_async_send(struct loop_async *a)
{
    uv_async_send(&a->uv);
}

static void async_closed(uv_handle_t *uv)
{
    free(CONTAINER_OF(uv, struct loop_async, uv));
}

void loop_async_free(struct loop_async *a)
{
    if (a)
        uv_close((uv_handle_t *)&a->uv, async_closed);
}
