/* Two real sessions on real hosts, over loopback, in one process and on one loop. */
#include "io/host.h"
#include "io/loop.h"
#include "io/workers.h"
#include "store/file_cache.h"
#include "store/resume_store.h"
#include "torrent/session.h"
#include "torrent_fixture.h"
#include <errno.h>
#include <fcntl.h>

#define PIECE_LEN 262144u
#define WAIT_US   60000000u

static const struct fixture_file tree[] = {
    {"a/one", 5000000, "", NULL}, {"a/two", 3, "x", NULL},       {"b/three", 9000000, "", NULL},
    {"empty", 0, "", NULL},       {".pad/9", 155853, "p", NULL}, {"four", 2000001, "", NULL},
    {"link", 0, "l", "b/three"},
};

struct node {
    char dir[TEST_PATH_CAP], state_dir[TEST_PATH_CAP];
    struct io_host *host;
    struct session *session;
    struct resume_store *resume;
    struct mem mem;
    uint32_t torrent;
    enum torrent_state state;
    struct err err;
    bool is_stopped;
    unsigned n_pieces, n_turns;
};

struct world {
    struct loop *loop;
    struct workers *workers;
    struct file_cache *files;
    struct fixture *x;
    struct node a, b; /* a seeds, b gets */
    struct addr bind;
    enum tcp_upload upload;
};

static void drain(void *ctx, uint64_t now_us)
{
    struct node *n = ctx;
    struct session_event e;
    (void)now_us;
    n->n_turns++;
    while (session_next_event(n->session, &e)) {
        if (e.kind == EVENT_STATE)
            n->state = e.state;
        if (e.kind == EVENT_PIECE)
            n->n_pieces++;
        if (e.kind == EVENT_ERROR)
            n->err = e.err;
        if (e.kind == EVENT_STOPPED)
            n->is_stopped = true;
    }
}

static void node_start(struct world *w, struct node *n)
{
    struct err err = {0};
    struct addr bind4 = {.family = ADDR_NONE}, bind6 = {.family = ADDR_NONE};
    *(w->bind.family == ADDR_V4 ? &bind4 : &bind6) = w->bind;
    struct io_host_config config = {
        .loop = w->loop,
        .workers = w->workers,
        .files = w->files,
        .resume = n->resume,
        .net = {.bind4 = bind4, .bind6 = bind6, .upload = w->upload},
        .on_turn = drain,
        .on_turn_ctx = n,
    };
    struct session_config session_config = {.user_agent = "shoal/test", .is_announce_off = true};
    if (io_host_new(&n->host, &config, &err))
        fail_msg("%s %d", err.what, (int)err.got);
    session_config.listen_port = io_host_listen_port(n->host);
    memset(session_config.peer_id, n == &w->a ? 'a' : 'b', PEER_ID_LEN);
    mem_init(&n->mem, MEM_NO_BUDGET, NULL);
    assert_int_equal(session_new(&n->session, &n->mem, io_host_table(n->host), &session_config,
                                 NULL, clock_now_us(), session_config.listen_port, &err),
                     ERR_OK);
    io_host_attach(n->host, n->session);
}

static void node_end(struct node *n)
{
    io_host_free(n->host);
    session_free(n->session);
    mem_check_empty(&n->mem);
}

/* Each session takes over a metainfo of its own. */
static struct metainfo *metainfo_copy(const struct world *w, struct node *n)
{
    struct mem mem;
    struct buf b;
    struct metainfo *info;
    struct err err;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&b, &mem, 1u << 24);
    metainfo_write(w->x->info, &b);
    assert_int_equal(metainfo_read(&info, buf_bytes(&b), &n->mem, NULL, &err), ERR_OK);
    buf_clear(&b);
    return info;
}

static void node_add(struct world *w, struct node *n, bool is_seed, struct bytes resume)
{
    struct err err;
    struct torrent_params params = {
        .info = metainfo_copy(w, n), .dir = n->dir, .resume = resume, .is_seed_only = is_seed};
    n->is_stopped = false;
    assert_int_equal(session_add(n->session, clock_now_us(), &params, &n->torrent, &err), ERR_OK);
}

static struct world *world_new(struct addr bind, enum tcp_upload upload)
{
    struct world *w = calloc(1, sizeof *w);
    struct err err;
    w->bind = bind;
    w->upload = upload;
    assert_int_equal(loop_new(&w->loop, &err), ERR_OK);
    assert_int_equal(workers_new(&w->workers, 2, 100000, &err), ERR_OK);
    assert_int_equal(file_cache_new(&w->files, 0, NULL, &err), ERR_OK);
    w->x = fixture_new(tree, COUNT_OF(tree), PIECE_LEN);
    struct node *nodes[] = {&w->a, &w->b};
    for (int i = 0; i < 2; i++) {
        test_temp_dir(nodes[i]->dir);
        test_temp_dir(nodes[i]->state_dir);
        assert_int_equal(resume_store_open(&nodes[i]->resume, nodes[i]->state_dir, NULL, &err),
                         ERR_OK);
        node_start(w, nodes[i]);
    }
    fixture_write(w->x, w->a.dir);
    return w;
}

static void world_free(struct world *w)
{
    struct node *nodes[] = {&w->a, &w->b};
    for (int i = 0; i < 2; i++) {
        node_end(nodes[i]);
        resume_store_close(nodes[i]->resume);
        test_remove_dir(nodes[i]->dir);
        test_remove_dir(nodes[i]->state_dir);
    }
    assert_int_equal(file_cache_n_open(w->files), 0);
    file_cache_free(w->files);
    workers_free(w->workers);
    loop_free(w->loop);
    fixture_free(w->x);
    free(w);
}

static void dial(struct world *w)
{
    struct addr to = w->bind;
    to.port = io_host_listen_port(w->a.host);
    session_add_peer(w->b.session, clock_now_us(), w->b.torrent, &to);
    io_host_poke(w->b.host);
}

static bool wait_for_state(struct world *w, const struct node *n, enum torrent_state state)
{
    uint64_t end_us = clock_now_us() + WAIT_US;
    while (n->state != state && n->state != TORRENT_ERROR && clock_now_us() < end_us)
        loop_turn(w->loop, 100000);
    return n->state == state;
}

static void must_reach(struct world *w, struct node *n, enum torrent_state state)
{
    char why[2000];
    if (!wait_for_state(w, n, state))
        fail_msg("state %d, error %s (at %d, got %d)\n%s", n->state, n->err.what, (int)n->err.at,
                 (int)n->err.got,
                 session_torrent_why(n->session, clock_now_us(), n->torrent, why, sizeof why));
}

static void stop(struct world *w, struct node *n)
{
    session_remove(n->session, clock_now_us(), n->torrent);
    io_host_poke(n->host);
    uint64_t end_us = clock_now_us() + WAIT_US;
    while (!n->is_stopped && clock_now_us() < end_us)
        loop_turn(w->loop, 100000);
    assert_true(n->is_stopped);
}

static void assert_same(const struct world *w)
{
    char path[TEST_PATH_CAP];
    for (uint32_t i = 0; i < w->x->info->n_files; i++) {
        const struct metainfo_file *f = &w->x->info->files[i];
        if (f->flags & FILE_PAD)
            continue;
        struct span got = test_read_file(test_join(path, w->b.dir, f->path));
        if (f->flags & FILE_SYMLINK)
            assert_int_equal(got.len, 9000000); /* what it points at */
        else
            test_assert_bytes(bytes_of(got.data, got.len), bytes_of(w->x->data + f->off, f->len));
        free(got.data);
    }
}

static void transfer(struct addr bind, enum tcp_upload upload)
{
    struct world *w = world_new(bind, upload);
    node_add(w, &w->a, true, (struct bytes){0});
    must_reach(w, &w->a, TORRENT_SEEDING);
    node_add(w, &w->b, false, (struct bytes){0});
    must_reach(w, &w->b, TORRENT_DOWNLOADING);
    dial(w);
    must_reach(w, &w->b, TORRENT_SEEDING);
    assert_int_equal(w->b.n_pieces, w->x->info->n_pieces);
    stop(w, &w->b);
    stop(w, &w->a);
    assert_same(w);
    world_free(w);
}

/* The seed's data is thrown out of the page cache: workers fetch it, the network does not wait. */
static void cold_data_crosses(void **state)
{
    (void)state;
    char path[TEST_PATH_CAP];
    struct world *w = world_new(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_BATCH);
    node_add(w, &w->a, true, (struct bytes){0});
    must_reach(w, &w->a, TORRENT_SEEDING);
    for (uint32_t i = 0; i < w->x->info->n_files; i++) {
        int fd = open(test_join(path, w->a.dir, w->x->info->files[i].path), O_RDONLY);
        if (fd < 0)
            continue; /* pads */
        fdatasync(fd);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    node_add(w, &w->b, false, (struct bytes){0});
    must_reach(w, &w->b, TORRENT_DOWNLOADING);
    dial(w);
    must_reach(w, &w->b, TORRENT_SEEDING);
    print_message("%llu trips to a worker\n",
                  (unsigned long long)io_host_tcp_counters(w->a.host)->n_file_cold);
    assert_true(io_host_tcp_counters(w->a.host)->n_file_cold > 0);
    stop(w, &w->b);
    assert_same(w);
    world_free(w);
}

static void a_torrent_crosses_ipv4(void **state)
{
    (void)state;
    transfer(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_BATCH);
}

static void a_torrent_crosses_by_sendfile(void **state)
{
    (void)state;
    transfer(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_SENDFILE);
}

static void a_torrent_crosses_ipv6(void **state)
{
    (void)state;
    struct addr bind = {.family = ADDR_V6};
    bind.ip[15] = 1;
    if (access("/proc/net/if_inet6", R_OK))
        skip();
    transfer(bind, TCP_UPLOAD_BATCH);
}

/* The folder fills up in the middle; the torrent says which file, and goes on when there is room.
 * A file with the name of a folder stands for the trouble. */
static void trouble_on_disk_stops_the_torrent(void **state)
{
    (void)state;
    char path[TEST_PATH_CAP];
    struct world *w = world_new(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_BATCH);
    node_add(w, &w->a, true, (struct bytes){0});
    must_reach(w, &w->a, TORRENT_SEEDING);
    assert_int_equal(mkdir(test_join(path, w->b.dir, "top"), 0777), 0);
    assert_int_equal(mkdir(test_join(path, w->b.dir, "top/four"), 0777), 0);
    node_add(w, &w->b, false, (struct bytes){0});
    must_reach(w, &w->b, TORRENT_DOWNLOADING);
    dial(w);
    must_reach(w, &w->b, TORRENT_ERROR);
    assert_int_equal(w->b.err.code, ERR_IO);
    assert_int_equal(w->b.err.at, 5);
    assert_int_equal(w->b.err.got, EISDIR);
    assert_int_equal(rmdir(path), 0);
    w->b.state = TORRENT_PAUSED;
    session_resume(w->b.session, clock_now_us(), w->b.torrent);
    dial(w);
    must_reach(w, &w->b, TORRENT_SEEDING);
    stop(w, &w->b);
    stop(w, &w->a);
    assert_same(w);
    world_free(w);
}

/* What the seed reads is gone: its torrent stops with the file's number. */
static void a_vanished_file_stops_the_seed(void **state)
{
    (void)state;
    char path[TEST_PATH_CAP];
    struct world *w = world_new(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_BATCH);
    node_add(w, &w->a, true, (struct bytes){0});
    must_reach(w, &w->a, TORRENT_SEEDING);
    assert_int_equal(truncate(test_join(path, w->a.dir, "top/b/three"), 100), 0);
    node_add(w, &w->b, false, (struct bytes){0});
    must_reach(w, &w->b, TORRENT_DOWNLOADING);
    dial(w);
    must_reach(w, &w->a, TORRENT_ERROR);
    assert_int_equal(w->a.err.at, 2);
    world_free(w); /* with both torrents in the air */
}

/* The session ends in the middle of a transfer; the next one goes on from the resume data. */
static void resume_data_carries_over(void **state)
{
    (void)state;
    struct world *w = world_new(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_BATCH);
    struct mem mem;
    struct buf resume;
    struct err err;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&resume, &mem, 1u << 20);
    node_add(w, &w->a, true, (struct bytes){0});
    must_reach(w, &w->a, TORRENT_SEEDING);
    node_add(w, &w->b, false, (struct bytes){0});
    must_reach(w, &w->b, TORRENT_DOWNLOADING);
    session_set_limits(w->b.session, clock_now_us(), 8000000, 0);
    dial(w);
    uint64_t end_us = clock_now_us() + WAIT_US;
    while (w->b.n_pieces < 5 && clock_now_us() < end_us)
        loop_turn(w->loop, 10000);
    assert_true(w->b.n_pieces >= 5);
    stop(w, &w->b);
    unsigned n_before = w->b.n_pieces;
    assert_true(n_before < w->x->info->n_pieces);
    node_end(&w->b);
    w->b.state = TORRENT_OPENING;
    w->b.n_pieces = 0;
    node_start(w, &w->b);
    struct bytes key = bytes_of(metainfo_key(w->x->info), SHA1_LEN);
    assert_int_equal(resume_store_get(w->b.resume, key, &resume, &err), ERR_OK);
    node_add(w, &w->b, false, buf_bytes(&resume));
    must_reach(w, &w->b, TORRENT_DOWNLOADING);
    dial(w);
    must_reach(w, &w->b, TORRENT_SEEDING);
    assert_int_equal(w->b.n_pieces + n_before, w->x->info->n_pieces); /* none came twice */
    stop(w, &w->b);
    assert_same(w);
    buf_clear(&resume);
    world_free(w);
}

static void nothing_leaks(void **state)
{
    (void)state;
    world_free(world_new(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_BATCH));
    size_t n_fds = test_count_fds();
    for (int i = 0; i < 3; i++)
        world_free(world_new(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_BATCH));
    assert_int_equal(test_count_fds(), n_fds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_torrent_crosses_ipv4),
        cmocka_unit_test(a_torrent_crosses_by_sendfile),
        cmocka_unit_test(cold_data_crosses),
        cmocka_unit_test(a_torrent_crosses_ipv6),
        cmocka_unit_test(trouble_on_disk_stops_the_torrent),
        cmocka_unit_test(a_vanished_file_stops_the_seed),
        cmocka_unit_test(resume_data_carries_over),
        cmocka_unit_test(nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
