/* loop: one libuv loop with timers, signals, watched descriptors and a hook for the end of a turn.
 * Nothing outside io/ sees libuv.
 *
 * A turn: descriptors and timers that are ready call back; then, before the loop would sleep, the
 * hooks run (so what a turn gathered goes out at once); a hook that says "more" keeps it awake.
 *
 * Ownership  timers, polls, hooks and signals are freed by whoever made them, before loop_free
 * Threads    the loop's thread; loop_async_send from anywhere
 * Errors     ERR_NO_MEMORY, ERR_IO
 */
#pragma once
#include "base/err.h"
#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_timer;
struct loop_poll;
struct loop_hook;
struct loop_async;

uint64_t clock_now_us(void); /* CLOCK_MONOTONIC: the now_us of every engine */

enum err_code loop_new(struct loop **out, struct err *err) MUST_USE;
void loop_free(struct loop *l); /* NULL is fine; lets what was freed finish closing */
void loop_run(struct loop *l);  /* until loop_stop */
void loop_stop(struct loop *l); /* ends loop_run after this turn */
void loop_turn(struct loop *l, uint64_t wait_us_max); /* one turn, sleeping at most so long */
uint64_t loop_now_us(const struct loop *l);           /* the clock, fresh */

/* For a loop inside another one: readable when a turn has work, or after so long (-1: for ever). */
int loop_fd(const struct loop *l);
int loop_timeout_ms(const struct loop *l);

/* fn is called once, at or after at_us; it may set the timer again or free it. */
enum err_code loop_timer_new(struct loop_timer **out, struct loop *l, void (*fn)(void *ctx),
                             void *ctx) MUST_USE;
void loop_timer_set(struct loop_timer *t, uint64_t at_us); /* moves it; UINT64_MAX stops it */
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

/* A descriptor, level-triggered. It stays the caller's and is closed after loop_poll_free. */
enum err_code loop_poll_new(struct loop_poll **out, struct loop *l, int fd,
                            void (*fn)(void *ctx, bool is_readable, bool is_writable), void *ctx,
                            struct err *err) MUST_USE;
void loop_poll_set(struct loop_poll *p, bool want_read, bool want_write);
void loop_poll_free(struct loop_poll *p);

/* Runs before each sleep; true: do not sleep, there is more to do. */
enum err_code loop_hook_new(struct loop_hook **out, struct loop *l, bool (*fn)(void *ctx),
                            void *ctx) MUST_USE;
void loop_hook_free(struct loop_hook *h);

/* SIGINT, SIGTERM and the like, delivered in the loop. */
struct loop_signal;
enum err_code loop_signal_new(struct loop_signal **out, struct loop *l, int signum,
                              void (*fn)(void *ctx, int signum), void *ctx) MUST_USE;
void loop_signal_free(struct loop_signal *s);

/* loop_async_send, from any thread, makes fn run in the loop; calls before it ran are one. */
enum err_code loop_async_new(struct loop_async **out, struct loop *l, void (*fn)(void *ctx),
                             void *ctx) MUST_USE;
void loop_async_send(struct loop_async *a);
void loop_async_free(struct loop_async *a);
