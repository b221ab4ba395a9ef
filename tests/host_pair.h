/* host_pair: two real sessions on real hosts, over loopback, in one process and on one loop.
 *
 *   world_new(...)      both hosts run, the data of the tree is in a's folder
 *   node_add(&w, ...)   a torrent for one of them; then must_reach() a state, dial(), ...
 *   world_free(w)
 *
 * Threads    the loop's thread
 */
#pragma once
#include "io/host.h"
#include "io/loop.h"
#include "io/workers.h"
#include "store/file_cache.h"
#include "store/resume_store.h"
#include "torrent/session.h"
#include "torrent_fixture.h"

#define WAIT_US 60000000u

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

static inline void drain(void *ctx, uint64_t now_us)
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

static inline void node_start(struct world *w, struct node *n)
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

static inline void node_end(struct node *n)
{
    io_host_free(n->host);
    session_free(n->session);
    mem_check_empty(&n->mem);
}

/* Each session takes over a metainfo of its own. */
static inline struct metainfo *metainfo_copy(const struct world *w, struct node *n)
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

static inline enum err_code node_try_add(struct node *n, struct metainfo *info, bool is_seed,
                                         struct bytes resume, struct err *err)
{
    struct torrent_params params = {
        .info = info, .dir = n->dir, .resume = resume, .is_seed_only = is_seed};
    n->is_stopped = false;
    return session_add(n->session, clock_now_us(), &params, &n->torrent, err);
}

static inline void node_add(struct world *w, struct node *n, bool is_seed, struct bytes resume)
{
    struct err err;
    assert_int_equal(node_try_add(n, metainfo_copy(w, n), is_seed, resume, &err), ERR_OK);
}

static inline struct world *world_new(const struct fixture_file *tree, uint32_t n_files,
                                      uint32_t piece_len, struct addr bind, enum tcp_upload upload)
{
    struct world *w = calloc(1, sizeof *w);
    struct err err;
    w->bind = bind;
    w->upload = upload;
    assert_int_equal(loop_new(&w->loop, &err), ERR_OK);
    assert_int_equal(workers_new(&w->workers, 2, 100000, &err), ERR_OK);
    assert_int_equal(file_cache_new(&w->files, 0, NULL, &err), ERR_OK);
    w->x = fixture_new(tree, n_files, piece_len);
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

static inline void world_free(struct world *w)
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

static inline void dial(struct world *w)
{
    struct addr to = w->bind;
    to.port = io_host_listen_port(w->a.host);
    session_add_peer(w->b.session, clock_now_us(), w->b.torrent, &to);
    io_host_poke(w->b.host);
}

static inline bool wait_for_state(struct world *w, const struct node *n, enum torrent_state state)
{
    uint64_t end_us = clock_now_us() + WAIT_US;
    while (n->state != state && n->state != TORRENT_ERROR && clock_now_us() < end_us)
        loop_turn(w->loop, 100000);
    return n->state == state;
}

static inline void must_reach(struct world *w, struct node *n, enum torrent_state state)
{
    char why[2000];
    if (!wait_for_state(w, n, state))
        fail_msg("state %d, error %s (at %d, got %d)\n%s", n->state, n->err.what, (int)n->err.at,
                 (int)n->err.got,
                 session_torrent_why(n->session, clock_now_us(), n->torrent, why, sizeof why));
}

static inline void stop(struct world *w, struct node *n)
{
    session_remove(n->session, clock_now_us(), n->torrent);
    io_host_poke(n->host);
    uint64_t end_us = clock_now_us() + WAIT_US;
    while (!n->is_stopped && clock_now_us() < end_us)
        loop_turn(w->loop, 100000);
    assert_true(n->is_stopped);
}

static inline void assert_same(const struct world *w)
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
