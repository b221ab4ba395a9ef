/* bench_host_pair: one seed, one downloader, two real sessions on real hosts over loopback.
 *
 *   bench_host_pair [MIB [SEED [GET]]]    SEED: auto, copy, splice, plain or plain=KIB; GET: shoal or plain
 *
 * Each runs in a process of its own. Data is made in $TMPDIR (default /tmp) and removed. A plain
 * one is the least that can be a seed or a downloader (plain_peer.h): what shoal costs above it is
 * what could be saved. CPU is that of the transfer, in s/GB.
 */
#include "base/buf.h"
#include "crypto/sha.h"
#include "io/host.h"
#include "io/loop.h"
#include "io/workers.h"
#include "plain_peer.h"
#include "store/file_cache.h"
#include "torrent/metainfo.h"
#include "torrent/session.h"
#include <fcntl.h>
#include <ftw.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE_LEN  (1024u * 1024u)
#define GIVE_UP_US 60000000u
#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "bench_host_pair: line %d: %s\n", __LINE__, #x);                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

struct node {
    struct loop *loop;
    struct workers *workers;
    struct file_cache *files;
    struct io_host *host;
    struct session *session;
    struct mem mem;
    uint32_t torrent;
    enum torrent_state state;
};

static void drain(void *ctx, uint64_t now_us)
{
    struct node *n = ctx;
    struct session_event e;
    (void)now_us;
    while (session_next_event(n->session, &e))
        if (e.kind == EVENT_STATE)
            n->state = e.state;
}

static void node_start(struct node *n, char id, enum tcp_upload upload)
{
    struct err err = {0};
    CHECK(loop_new(&n->loop, &err) == ERR_OK);
    CHECK(workers_new(&n->workers, 0, 100000, &err) == ERR_OK);
    CHECK(file_cache_new(&n->files, 0, NULL, &err) == ERR_OK);
    struct io_host_config config = {
        .loop = n->loop,
        .workers = n->workers,
        .files = n->files,
        .net = {.bind4 = addr_v4(127, 0, 0, 1, 0), .upload = upload},
        .on_turn = drain,
        .on_turn_ctx = n,
    };
    CHECK(io_host_new(&n->host, &config, &err) == ERR_OK);
    struct session_config sc = {.user_agent = "shoal/bench", .is_announce_off = true};
    sc.listen_port = io_host_listen_port(n->host);
    memset(sc.peer_id, id, PEER_ID_LEN);
    mem_init(&n->mem, MEM_NO_BUDGET, NULL);
    CHECK(session_new(&n->session, &n->mem, io_host_table(n->host), &sc, NULL, clock_now_us(), 1,
                      &err) == ERR_OK);
    io_host_attach(n->host, n->session);
}

static void node_add(struct node *n, struct bytes torrent, const char *dir, bool is_seed)
{
    struct metainfo *info;
    struct err err;
    CHECK(metainfo_read(&info, torrent, &n->mem, NULL, &err) == ERR_OK);
    struct torrent_params p = {.info = info,
                               .dir = dir,
                               .is_seed_only = is_seed,
                               .check = is_seed ? CHECK_TRUST : CHECK_IF_NEEDED};
    CHECK(session_add(n->session, clock_now_us(), &p, &n->torrent, &err) == ERR_OK);
}

static void give_up(struct node *n)
{
    char why[2000];
    struct peer_stats p = {0};
    struct torrent_stats t;
    uint64_t now_us = clock_now_us();
    session_torrent_stats(n->session, now_us, n->torrent, &t);
    session_peers(n->session, now_us, n->torrent, &p, 1);
    fprintf(stderr, "%s\n%u of %u pieces, requests out %u of %u, choked %d, interested %d\n",
            session_torrent_why(n->session, now_us, n->torrent, why, sizeof why), t.n_have,
            t.n_pieces, p.n_requests_out, p.queue_target, p.peer_choking, p.am_interested);
    exit(1);
}

static void run_until(struct node *n, enum torrent_state state)
{
    uint64_t end_us = clock_now_us() + GIVE_UP_US;
    while (n->state != state && n->state != TORRENT_ERROR && clock_now_us() < end_us)
        loop_turn(n->loop, 1000000);
    if (n->state != state)
        give_up(n);
}

static void node_end(struct node *n)
{
    io_host_free(n->host);
    session_free(n->session);
    file_cache_free(n->files);
    workers_free(n->workers);
    loop_free(n->loop);
}

static void make_torrent(struct buf *out, const char *dir, uint64_t len)
{
    char path[300];
    uint8_t *piece = malloc(PIECE_LEN), digest[SHA1_LEN];
    snprintf(path, sizeof path, "%s/data", dir);
    int fd = open(path, O_CREAT | O_RDWR, 0666);
    CHECK(fd >= 0 && piece);
    buf_printf(out, "d4:infod6:lengthi%llue4:name4:data12:piece lengthi%ue6:pieces%llu:",
               (unsigned long long)len, PIECE_LEN, (unsigned long long)(len / PIECE_LEN * 20));
    uint64_t x = 88172645463325252u;
    for (uint64_t off = 0; off < len; off += PIECE_LEN) {
        for (size_t i = 0; i < PIECE_LEN; i += 8) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            memcpy(piece + i, &x, 8);
        }
        CHECK(pwrite(fd, piece, PIECE_LEN, (off_t)off) == (ssize_t)PIECE_LEN);
        sha1(bytes_of(piece, PIECE_LEN), digest);
        buf_put(out, bytes_of(digest, SHA1_LEN));
    }
    buf_str(out, "ee");
    /* The first reads of a page move it between the kernel's lists; a seed is past that. */
    for (int round = 0; round < 2; round++)
        for (uint64_t off = 0; off < len; off += PIECE_LEN)
            CHECK(pread(fd, piece, PIECE_LEN, (off_t)off) == (ssize_t)PIECE_LEN);
    close(fd);
    free(piece);
}

/* CPU and sleeps since the transfer began. */
struct usage {
    double cpu_s;
    long n_sleeps, n_preempted;
};

static struct usage usage(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    double us = (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
    return (struct usage){(double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + us / 1e6, r.ru_nvcsw,
                          r.ru_nivcsw};
}

static void tell(const char *who, const struct usage *before, uint64_t len)
{
    struct usage u = usage();
    printf("%s %.3f s/GB, %ld sleeps, %ld times preempted", who,
           (u.cpu_s - before->cpu_s) / (double)len * 1e9, u.n_sleeps - before->n_sleeps,
           u.n_preempted - before->n_preempted);
}

struct job {
    struct bytes torrent;
    struct plain_peer_info info;
    const char *dir, *to, *seed, *get;
    int port_fd, end_fd;
};

static size_t plain_batch_len(const struct job *j)
{
    const char *kib = strchr(j->seed, '=');
    return kib ? strtoul(kib + 1, NULL, 10) << 10 : 512u << 10;
}

static void plain_seed_main(const struct job *j)
{
    char path[300];
    snprintf(path, sizeof path, "%s/data", j->dir);
    struct usage before = usage();
    plain_seed(&j->info, path, j->port_fd, plain_batch_len(j));
    tell("seed:", &before, j->info.len);
    printf("\n");
}

static enum tcp_upload upload_of(const char *seed)
{
    return strcmp(seed, "copy") == 0     ? TCP_UPLOAD_COPY
           : strcmp(seed, "splice") == 0 ? TCP_UPLOAD_SPLICE
                                         : TCP_UPLOAD_AUTO;
}

static void seed_main(const struct job *j)
{
    struct node n = {0};
    char byte;
    node_start(&n, 's', upload_of(j->seed));
    node_add(&n, j->torrent, j->dir, true);
    run_until(&n, TORRENT_SEEDING);
    uint16_t port = io_host_listen_port(n.host);
    struct usage before = usage();
    CHECK(write(j->port_fd, &port, sizeof port) == (ssize_t)sizeof port);
    fcntl(j->end_fd, F_SETFL, O_NONBLOCK);
    while (read(j->end_fd, &byte, 1) != 0)
        loop_turn(n.loop, 100000);
    const struct tcp_counters *c = io_host_tcp_counters(n.host);
    tell("seed:", &before, j->info.len);
    printf(", %llu writes, %llu file reads, %llu cold, %.1f %% read for nothing\n",
           (unsigned long long)c->n_writes, (unsigned long long)c->n_file_reads,
           (unsigned long long)c->n_file_cold, 100.0 * (double)c->unsent_len / (double)j->info.len);
    node_end(&n);
}

static double get_main(const struct job *j, uint16_t port)
{
    struct node n = {0};
    struct addr to = addr_v4(127, 0, 0, 1, port);
    node_start(&n, 'g', TCP_UPLOAD_AUTO);
    node_add(&n, j->torrent, j->to, false);
    run_until(&n, TORRENT_DOWNLOADING);
    uint64_t from_us = clock_now_us();
    struct usage before = usage();
    session_add_peer(n.session, from_us, n.torrent, &to);
    run_until(&n, TORRENT_SEEDING);
    double s = (double)(clock_now_us() - from_us) / 1e6;
    tell("get: ", &before, j->info.len);
    const struct tcp_counters *c = io_host_tcp_counters(n.host);
    printf(", %llu reads (%.0f KiB each)\n", (unsigned long long)c->n_reads,
           (double)c->read_len / (double)c->n_reads / 1024);
    node_end(&n);
    return s;
}

static double plain_get_main(const struct job *j, uint16_t port)
{
    uint64_t from_us = clock_now_us();
    struct usage before = usage();
    plain_get(&j->info, port);
    double s = (double)(clock_now_us() - from_us) / 1e6;
    tell("get: ", &before, j->info.len);
    printf("\n");
    return s;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void find_infohash(struct bytes torrent, uint8_t out[SHA1_LEN])
{
    struct metainfo *info;
    struct mem mem;
    struct err err;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    CHECK(metainfo_read(&info, torrent, &mem, NULL, &err) == ERR_OK);
    memcpy(out, info->infohash_v1, SHA1_LEN);
    metainfo_free(info);
}

int main(int argc, char **argv)
{
    uint64_t len = (argc > 1 ? strtoull(argv[1], NULL, 10) : 1024) * 1048576;
    char dir[200], to[220];
    uint8_t infohash[SHA1_LEN];
    const char *tmp = getenv("TMPDIR");
    struct mem mem;
    struct buf torrent;
    int port_pipe[2], end_pipe[2];
    snprintf(dir, sizeof dir, "%s/shoal-bench-XXXXXX", tmp ? tmp : "/tmp");
    CHECK(mkdtemp(dir));
    snprintf(to, sizeof to, "%s/to", dir);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&torrent, &mem, 64u << 20);
    make_torrent(&torrent, dir, len);
    find_infohash(buf_bytes(&torrent), infohash);
    CHECK(pipe(port_pipe) == 0 && pipe(end_pipe) == 0);
    struct job j = {
        buf_bytes(&torrent),         {infohash, len, PIECE_LEN},   dir,          to,
        argc > 2 ? argv[2] : "auto", argc > 3 ? argv[3] : "shoal", port_pipe[1], end_pipe[0]};
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(end_pipe[1]);
        if (strncmp(j.seed, "plain", 5) == 0)
            plain_seed_main(&j);
        else
            seed_main(&j);
        exit(0);
    }
    uint16_t port;
    CHECK(read(port_pipe[0], &port, sizeof port) == (ssize_t)sizeof port);
    double s = strcmp(j.get, "plain") == 0 ? plain_get_main(&j, port) : get_main(&j, port);
    printf("%.0f MiB in %.2f s: %.0f MB/s\n", (double)len / 1048576, s, (double)len / s / 1e6);
    fflush(stdout);
    close(end_pipe[1]);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    buf_clear(&torrent);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
