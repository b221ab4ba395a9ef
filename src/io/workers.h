/* workers: threads for what would hold up the loop: hashing, disk, look-ups.
 *
 * Jobs wait in queues, one per storage device (or other slow thing); every queue has threads of
 * its own, started when first needed, so that a slow disk delays only its own jobs. What is done
 * comes back through a port: on the loop's thread, all that is ready at one wake-up.
 *
 * Ownership  a struct work is embedded in the owner's job and is the workers' from workers_submit
 *            until its done() runs. Nothing is allocated per job
 * Threads    submit from any thread; run() on a worker; done() on the port's thread
 * Errors     workers_submit: ERR_LIMIT when n_jobs_max are waiting; then done() is not called
 * Shutdown   workers_cancel: jobs not yet begun come back with is_cancelled; workers_free waits for
 *            those under way. Ports are freed before the workers, once nothing of theirs is out
 */
#pragma once
#include "base/bytes.h"
#include "base/list.h"

struct loop;
struct workers;
struct workers_port;

#define WORKERS_SCRATCH_LEN  (256u * 1024u)
#define WORKERS_N_QUEUES_MAX 32u
#define WORKERS_N_MANY       4u
#define WORKERS_GATHER_US    50000u /* ours: four 1 MiB pieces at 80 MB/s */

struct work {
    struct list_node in_queue;
    void (*run)(struct work *w,
                struct span scratch); /* scratch: this thread's, WORKERS_SCRATCH_LEN */
    /* May be NULL. Else jobs of one queue with the same run_many gather, while some of them run or
     * as long as at their pace WORKERS_N_MANY would take (not at all if that is more than
     * WORKERS_GATHER_US), and up to so many next to each other go in one call instead of run(). */
    void (*run_many)(struct work *const *ws, size_t n, struct span scratch);
    void (*done)(struct work *w);
    struct workers_port *port;
    bool is_cancelled; /* run() was not called */
};

/* n_threads: per queue; 0: one per core and one to spare. */
enum err_code workers_new(struct workers **out, unsigned n_threads, size_t n_jobs_max,
                          struct err *err) MUST_USE;
void workers_cancel(struct workers *ws);
void workers_free(struct workers *ws); /* NULL is fine; drains what is queued unless cancelled */

/* The queue for key (a st_dev, or a value of the caller's below WORKERS_KEY_MAX), made when new.
 * n_threads 0: the default; 1: jobs run one after the other in order. With all queues taken, the
 * one that the key falls on is shared. */
enum workers_key {
    WORKERS_CPU = 1, /* no disk */
    WORKERS_OPEN,    /* storage whose device is not known yet */
    WORKERS_RESUME,  /* the resume database */
    WORKERS_KEY_MAX
};
uint32_t workers_queue(struct workers *ws, uint64_t key, unsigned n_threads);

/* loop NULL: no loop; the owner calls workers_port_wait. */
enum err_code workers_port_new(struct workers_port **out, struct loop *l, struct err *err) MUST_USE;
void workers_port_free(struct workers_port *p);
size_t workers_port_n_out(const struct workers_port *p);     /* submitted, done() not yet run */
size_t workers_port_wait(struct workers_port *p, bool wait); /* runs done() of all that is ready */

enum err_code workers_submit(struct workers *ws, uint32_t queue, struct work *w) MUST_USE;
