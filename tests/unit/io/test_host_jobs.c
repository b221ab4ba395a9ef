#include "alloc_faults.h"
#include "io/host_jobs.h"
#include "io/loop.h"
#include "store/resume_store.h"
#include "torrent_fixture.h"
#include <errno.h>

#define PIECE_LEN 65536u
#define N_JOBS    2000u

static const struct fixture_file tree[] = {{"one", 300000, "", NULL}, {"two", 500000, "", NULL}};

struct world {
    char dir[TEST_PATH_CAP], state_dir[TEST_PATH_CAP];
    struct loop *loop;
    struct workers *workers;
    struct file_cache *cache;
    struct resume_store *resume;
    struct host_jobs *jobs;
    struct fixture *x;
    struct store_file_stat stats[4];
    struct store_open open;
    unsigned n_done, n_warmed;
    unsigned answered[N_JOBS]; /* order of the answer, from 1; 0: none yet */
    struct err errs[N_JOBS];
};

static void done(void *ctx, uint64_t job, const struct err *err)
{
    struct world *w = ctx;
    assert_int_equal(w->answered[job], 0); /* exactly once */
    w->answered[job] = ++w->n_done;
    w->errs[job] = err ? *err : (struct err){0};
}

static void warmed(void *ctx, uint32_t conn, const struct err *err)
{
    struct world *w = ctx;
    assert_int_equal(conn, 42);
    assert_null(err);
    w->n_warmed++;
}

static struct world *world_new(size_t n_jobs_max)
{
    struct world *w = calloc(1, sizeof *w);
    struct err err;
    test_temp_dir(w->dir);
    test_temp_dir(w->state_dir);
    w->x = fixture_new(tree, COUNT_OF(tree), PIECE_LEN);
    assert_int_equal(loop_new(&w->loop, &err), ERR_OK);
    assert_int_equal(workers_new(&w->workers, 2, n_jobs_max, &err), ERR_OK);
    assert_int_equal(file_cache_new(&w->cache, 0, NULL, &err), ERR_OK);
    assert_int_equal(resume_store_open(&w->resume, w->state_dir, NULL, &err), ERR_OK);
    struct host_jobs_owner owner = {w, done, warmed};
    assert_int_equal(
        host_jobs_new(&w->jobs, w->loop, w->workers, w->cache, w->resume, &owner, &err), ERR_OK);
    w->open =
        (struct store_open){.torrent = 9, .info = w->x->info, .dir = w->dir, .files = w->stats};
    return w;
}

static void world_free(struct world *w)
{
    host_jobs_free(w->jobs);
    resume_store_close(w->resume);
    assert_int_equal(file_cache_n_open(w->cache), 0);
    file_cache_free(w->cache);
    workers_free(w->workers);
    loop_free(w->loop);
    fixture_free(w->x);
    test_remove_dir(w->dir);
    test_remove_dir(w->state_dir);
    free(w);
}

static void world_wait(struct world *w, unsigned n_done)
{
    uint64_t end_us = clock_now_us() + 20000000;
    while (w->n_done < n_done && clock_now_us() < end_us) {
        host_jobs_deliver(w->jobs);
        loop_turn(w->loop, 20000);
    }
    assert_int_equal(w->n_done, n_done);
}

/* The torrent's data is there, its storage open: job 0. */
static void world_open(struct world *w)
{
    fixture_write(w->x, w->dir);
    host_jobs_open(w->jobs, 0, &w->open);
    world_wait(w, 1);
}

static struct store_check checks[500];

/* Jobs 1 to 499. */
static void ask_for_checks(struct world *w)
{
    for (uint32_t i = 1; i < COUNT_OF(checks); i++) {
        checks[i] = (struct store_check){.torrent = 9, .piece = i % 8, .want_v1 = true};
        host_jobs_check(w->jobs, i, &checks[i]);
    }
}

struct put {
    struct store_put request;
    const uint8_t *blocks[4];
};

static void put_start(struct world *w, struct put *p, uint64_t job, uint32_t piece)
{
    uint32_t len = layout_piece_data_len(&w->x->info->layout, piece);
    p->request = (struct store_put){.torrent = 9, .piece = piece, .len = len, .blocks = p->blocks};
    for (uint32_t i = 0; i < 4; i++)
        p->blocks[i] = w->x->data + (uint64_t)piece * PIECE_LEN + i * BLOCK_LEN;
    host_jobs_put(w->jobs, job, &p->request);
}

static void a_torrent_is_stored_and_closed_last(void **state)
{
    (void)state;
    struct world *w = world_new(10000);
    static struct put puts[100];
    uint32_t n = w->x->info->n_pieces;
    assert_true(n < COUNT_OF(puts));
    host_jobs_open(w->jobs, 1, &w->open);
    assert_null(host_jobs_store(w->jobs, 9));
    world_wait(w, 1);
    assert_non_null(host_jobs_store(w->jobs, 9));
    assert_ptr_equal(host_jobs_layout(w->jobs, 9), &w->x->info->layout);
    for (uint32_t i = 0; i < n; i++)
        put_start(w, &puts[i], 100 + i, i);
    host_jobs_close(w->jobs, 50, 9); /* asked for while all are under way */
    host_jobs_sync(w->jobs, 51, 9);  /* too late */
    host_jobs_close(w->jobs, 52, 9); /* once is enough */
    assert_null(host_jobs_store(w->jobs, 9));
    assert_int_equal(w->n_done, 1); /* never inside a call */
    world_wait(w, n + 4);
    assert_int_equal(w->answered[50], n + 4);
    assert_int_equal(w->errs[50].code, ERR_OK);
    assert_int_equal(w->errs[51].code, ERR_NOT_FOUND);
    assert_int_equal(w->errs[52].code, ERR_OK);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(w->errs[100 + i].code, ERR_OK);
        assert_true(puts[i].request.is_written);
    }
    assert_int_equal(file_cache_n_open(w->cache), 0);
    char path[TEST_PATH_CAP];
    struct span got = test_read_file(test_join(path, w->dir, "top/two"));
    assert_int_equal(got.len, 500000);
    assert_memory_equal(got.data, w->x->data + 300000, 500000);
    free(got.data);
    world_free(w);
}

static void the_rest_of_the_requests(void **state)
{
    (void)state;
    struct world *w = world_new(10000);
    fixture_write(w->x, w->dir);
    host_jobs_open(w->jobs, 1, &w->open);
    world_wait(w, 1);
    host_jobs_open(w->jobs, 2, &w->open);
    static uint8_t out[1000];
    struct store_read read = {9, 1, 500, sizeof out, out};
    struct store_check check = {.torrent = 9, .piece = 2, .want_v1 = true};
    struct store_file_stat stats[4];
    host_jobs_read(w->jobs, 3, &read);
    host_jobs_check(w->jobs, 4, &check);
    host_jobs_stat(w->jobs, 5, 9, stats);
    host_jobs_sync(w->jobs, 6, 9);
    host_jobs_read(w->jobs, 7, &(struct store_read){8, 0, 0, 1, out}); /* no such torrent */
    world_wait(w, 7);
    assert_int_equal(w->errs[2].code, ERR_PROTOCOL);
    assert_int_equal(w->errs[7].code, ERR_NOT_FOUND);
    assert_memory_equal(out, w->x->data + PIECE_LEN + 500, sizeof out);
    assert_memory_equal(check.v1_digest, metainfo_v1_piece_hash(w->x->info, 2), SHA1_LEN);
    assert_int_equal(stats[1].len, 500000);
    assert_false(host_jobs_is_warm(w->jobs, 9, 1, 1000, 100));
    assert_null(file_store_open_file(host_jobs_store(w->jobs, 9), 1) ? (void *)1 : NULL);
    host_jobs_warm(w->jobs, 42, 9, 1, 1000, 100);
    while (!w->n_warmed)
        loop_turn(w->loop, 20000);
    assert_true(host_jobs_is_warm(w->jobs, 9, 1, 1000, 100));
    assert_true(host_jobs_is_warm(w->jobs, 9, 1, 400000, 50000)); /* read ahead */
    assert_false(host_jobs_is_warm(w->jobs, 9, 1, 0, 100));
    struct open_file *of = file_store_open_file(host_jobs_store(w->jobs, 9), 1);
    assert_non_null(of);
    open_file_release(w->cache, of);
    world_free(w); /* with the store open */
}

static void an_open_that_fails_leaves_nothing(void **state)
{
    (void)state;
    struct world *w = world_new(10000);
    w->open.dir = "/nowhere/to/be/found";
    w->open.is_read_only = true;
    host_jobs_open(w->jobs, 1, &w->open);
    world_wait(w, 1);
    assert_int_equal(w->errs[1].code, ERR_IO);
    assert_int_equal(w->errs[1].got, ENOENT);
    w->open.dir = w->dir;
    host_jobs_open(w->jobs, 2, &w->open);
    host_jobs_close(w->jobs, 3, 9); /* before it is open */
    world_wait(w, 3);
    assert_int_equal(w->errs[2].code, ERR_OK);
    assert_true(w->answered[3] > w->answered[2]);
    w->open.dir = "/nowhere/to/be/found";
    host_jobs_open(w->jobs, 4, &w->open);
    host_jobs_close(w->jobs, 5, 9);
    world_wait(w, 5);
    assert_int_equal(w->errs[5].code, ERR_OK);
    host_jobs_open(w->jobs, 6, &w->open); /* the number is free again */
    world_wait(w, 6);
    assert_int_equal(w->errs[6].code, ERR_IO);
    world_free(w);
}

static void resume_data_is_saved_in_order(void **state)
{
    (void)state;
    struct world *w = world_new(10000);
    struct mem mem;
    struct buf out;
    struct err err;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, 1000);
    for (uint64_t i = 0; i < 100; i++) {
        char text[20];
        snprintf(text, sizeof text, "state %d", (int)i);
        host_jobs_resume(w->jobs, i, BYTES_LIT("key"), bytes_of_str(text), i == 99);
    }
    world_wait(w, 100);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(w->answered[i], i + 1);
    assert_int_equal(resume_store_get(w->resume, BYTES_LIT("key"), &out, &err), ERR_OK);
    test_assert_bytes(buf_bytes(&out), BYTES_LIT("state 99"));
    buf_clear(&out);
    world_free(w);
}

/* More than the workers take: refused with an answer, never lost, and the counts stay right. */
static void too_many_are_refused(void **state)
{
    (void)state;
    struct world *w = world_new(3);
    world_open(w);
    ask_for_checks(w);
    world_wait(w, 500);
    unsigned n_refused = 0;
    for (uint32_t i = 1; i < 500; i++)
        n_refused += w->errs[i].code == ERR_LIMIT;
    assert_true(n_refused > 0 && n_refused < 499);
    w->open.torrent = 10; /* closing is done even so */
    host_jobs_open(w->jobs, 600, &w->open);
    world_wait(w, 501);
    for (uint32_t i = 1; i < 100; i++)
        host_jobs_check(w->jobs, 600 + i, &checks[i]);
    host_jobs_close(w->jobs, 700, 10);
    world_wait(w, 501 + 100);
    assert_int_equal(w->errs[700].code, ERR_OK);
    assert_null(host_jobs_store(w->jobs, 10));
    host_jobs_close(w->jobs, 500, 9);
    world_wait(w, 501 + 101);
    assert_int_equal(w->errs[500].code, ERR_OK);
    world_free(w);
}

/* What cannot even be noted for want of memory is answered in the next turn; closing wants none. */
static void without_memory_all_is_answered(void **state)
{
    (void)state;
    struct world *w = world_new(10000);
    struct store_check first = {.torrent = 9}, second = {.torrent = 9};
    uint64_t n;
    world_open(w);
    host_jobs_check(w->jobs, 1, &first); /* takes the one that is free */
    alloc_fault_arm(1);
    host_jobs_check(w->jobs, 2, &second);
    assert_true(alloc_fault_disarm(&n));
    assert_true(host_jobs_has_answers(w->jobs));
    alloc_fault_arm(1);
    assert_false(host_jobs_warm(w->jobs, 42, 9, 1, 1000, 100));
    assert_true(alloc_fault_disarm(&n));
    alloc_fault_arm(1);
    host_jobs_close(w->jobs, 3, 9);
    assert_false(alloc_fault_disarm(&n));
    world_wait(w, 4);
    assert_int_equal(w->errs[1].code, ERR_OK);
    assert_int_equal(w->errs[2].code, ERR_NO_MEMORY);
    assert_int_equal(w->errs[3].code, ERR_OK);
    host_jobs_open(w->jobs, 4, &w->open); /* the number is free again */
    world_wait(w, 5);
    assert_int_equal(w->errs[4].code, ERR_OK);
    world_free(w);
}

static void freed_with_jobs_under_way(void **state)
{
    (void)state;
    struct world *w = world_new(10000);
    world_open(w);
    ask_for_checks(w);
    host_jobs_close(w->jobs, 501, 9);
    host_jobs_resume(w->jobs, 502, BYTES_LIT("last"), BYTES_LIT("words"), true);
    host_jobs_free(w->jobs);
    assert_int_equal(w->n_done, 1); /* no answers after that */
    struct mem mem;
    struct buf out;
    struct err err;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, 1000);
    assert_int_equal(resume_store_get(w->resume, BYTES_LIT("last"), &out, &err), ERR_OK);
    buf_clear(&out);
    w->jobs = NULL;
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_torrent_is_stored_and_closed_last),
        cmocka_unit_test(the_rest_of_the_requests),
        cmocka_unit_test(an_open_that_fails_leaves_nothing),
        cmocka_unit_test(resume_data_is_saved_in_order),
        cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(without_memory_all_is_answered),
        cmocka_unit_test(freed_with_jobs_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
