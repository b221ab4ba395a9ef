/* Two real sessions on real hosts, over loopback, in one process and on one loop. */
#include "host_pair.h"
#include <errno.h>
#include <fcntl.h>

#define PIECE_LEN 262144u

static const struct fixture_file tree[] = {
    {"a/one", 5000000, "", NULL}, {"a/two", 3, "x", NULL},       {"b/three", 9000000, "", NULL},
    {"empty", 0, "", NULL},       {".pad/9", 155853, "p", NULL}, {"four", 2000001, "", NULL},
    {"link", 0, "l", "b/three"},
};

static struct world *new_world(struct addr bind, enum tcp_upload upload)
{
    return world_new(tree, COUNT_OF(tree), PIECE_LEN, bind, upload);
}

static void transfer(struct addr bind, enum tcp_upload upload)
{
    struct world *w = new_world(bind, upload);
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
    struct world *w = new_world(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_AUTO);
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
    transfer(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_COPY);
    transfer(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_SPLICE);
}

static void a_torrent_crosses_ipv6(void **state)
{
    (void)state;
    struct addr bind = {.family = ADDR_V6};
    bind.ip[15] = 1;
    if (access("/proc/net/if_inet6", R_OK))
        skip();
    transfer(bind, TCP_UPLOAD_AUTO);
}

/* The folder fills up in the middle; the torrent says which file, and goes on when there is room.
 * A file with the name of a folder stands for the trouble. */
static void trouble_on_disk_stops_the_torrent(void **state)
{
    (void)state;
    char path[TEST_PATH_CAP];
    struct world *w = new_world(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_AUTO);
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
    struct world *w = new_world(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_AUTO);
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
    struct world *w = new_world(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_AUTO);
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
    world_free(new_world(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_AUTO));
    size_t n_fds = test_count_fds();
    for (int i = 0; i < 3; i++)
        world_free(new_world(addr_v4(127, 0, 0, 1, 0), TCP_UPLOAD_AUTO));
    assert_int_equal(test_count_fds(), n_fds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_torrent_crosses_ipv4),
        cmocka_unit_test(cold_data_crosses),
        cmocka_unit_test(a_torrent_crosses_ipv6),
        cmocka_unit_test(trouble_on_disk_stops_the_torrent),
        cmocka_unit_test(a_vanished_file_stops_the_seed),
        cmocka_unit_test(resume_data_carries_over),
        cmocka_unit_test(nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
