#include "io/splice_pipe.h"
#include "test_util.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define FILE_LEN (256u * 1024u)
#define NOTE_LEN 1000u

/* A pipe, a connection of this machine with itself, and a mapped file. */
struct ends {
    struct splice_pipe pipe;
    int from, to; /* the sending end does not wait */
    uint8_t *file;
    int file_fd;
};

static void sockets_open(struct ends *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    f->from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(f->from, (struct sockaddr *)&a, sizeof a), 0);
    f->to = accept(listener, NULL, NULL);
    assert_true(f->to >= 0);
    assert_int_equal(fcntl(f->from, F_SETFL, O_NONBLOCK), 0);
    close(listener);
}

static uint8_t file_byte(size_t at)
{
    return (uint8_t)(at * 7 + at / 4096);
}

static int set_up(void **state)
{
    struct ends *f = calloc(1, sizeof *f);
    splice_pipe_init(&f->pipe);
    sockets_open(f);
    f->file_fd = memfd_create("test_splice_pipe", MFD_CLOEXEC);
    assert_int_equal(ftruncate(f->file_fd, FILE_LEN), 0);
    f->file = mmap(NULL, FILE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, f->file_fd, 0);
    assert_ptr_not_equal(f->file, MAP_FAILED);
    for (size_t i = 0; i < FILE_LEN; i++)
        f->file[i] = file_byte(i);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct ends *f = *state;
    splice_pipe_clear(&f->pipe);
    splice_pipe_clear(&f->pipe); /* harmless */
    close(f->from);
    close(f->to);
    munmap(f->file, FILE_LEN);
    close(f->file_fd);
    free(f);
    return 0;
}

static struct iovec entry(const uint8_t *data, size_t len)
{
    return (struct iovec){(void *)(uintptr_t)data, len};
}

static void receive(struct ends *f, uint8_t *out, size_t len)
{
    assert_int_equal(recv(f->to, out, len, MSG_WAITALL), len);
}

static ssize_t send_lent(struct ends *f, const struct iovec *iov, size_t n_iov)
{
    ssize_t sent;
    assert_true(splice_pipe_send(&f->pipe, f->from, iov, n_iov, &sent));
    return sent;
}

static bool is_empty(const struct ends *f)
{
    uint8_t byte;
    return read(f->pipe.read_fd, &byte, 1) < 0 && errno == EAGAIN;
}

/* A head that is written again as soon as it was sent, a block, a head, a block. */
static void heads_and_blocks_arrive(void **state)
{
    struct ends *f = *state;
    uint8_t head[13], got[2 * (13 + 16384)];
    struct iovec iov[4];
    assert_true(splice_pipe_begin(&f->pipe, 2 * sizeof head));
    for (int i = 0; i < 2; i++) {
        memset(head, i + 1, sizeof head);
        iov[2 * i] =
            entry(splice_pipe_put_aside(&f->pipe, bytes_of(head, sizeof head)), sizeof head);
        iov[2 * i + 1] = entry(f->file + 1000 + i * 50000, 16384);
    }
    assert_int_equal(send_lent(f, iov, 4), sizeof got);
    receive(f, got, sizeof got);
    for (int i = 0; i < 2; i++) {
        const uint8_t *at = got + i * (13 + 16384);
        memset(head, i + 1, sizeof head);
        assert_memory_equal(at, head, sizeof head);
        assert_memory_equal(at + 13, f->file + 1000 + i * 50000, 16384);
    }
    assert_true(is_empty(f));
}

static void note_of(size_t i, uint8_t out[NOTE_LEN])
{
    for (size_t k = 0; k < NOTE_LEN; k++)
        out[k] = (uint8_t)(i * 31 + k);
}

static ssize_t send_note(struct ends *f, size_t i)
{
    uint8_t note[NOTE_LEN];
    note_of(i, note);
    assert_true(splice_pipe_begin(&f->pipe, NOTE_LEN));
    struct iovec iov = entry(splice_pipe_put_aside(&f->pipe, bytes_of(note, NOTE_LEN)), NOTE_LEN);
    return send_lent(f, &iov, 1);
}

/* What is put aside fills its memory several times while all of it still lies in the sockets. */
static void what_is_put_aside_is_never_written_twice(void **state)
{
    struct ends *f = *state;
    size_t n = 0;
    uint8_t want[NOTE_LEN], got[NOTE_LEN];
    while (n < 5 * SPLICE_PIPE_ASIDE_LEN / NOTE_LEN && send_note(f, n) == (ssize_t)NOTE_LEN)
        n++;
    assert_true(n > 2 * SPLICE_PIPE_ASIDE_LEN / NOTE_LEN);
    for (size_t i = 0; i < n; i++) {
        note_of(i, want);
        receive(f, got, NOTE_LEN);
        assert_memory_equal(got, want, NOTE_LEN);
    }
}

/* Nobody reads: the socket fills up, says how much it took, then EAGAIN; nothing stays behind. */
static void what_the_socket_does_not_take_is_dropped(void **state)
{
    struct ends *f = *state;
    struct iovec iov = entry(f->file, FILE_LEN);
    ssize_t sent;
    size_t total = 0;
    for (int i = 0; i < 1000; i++) {
        assert_true(splice_pipe_begin(&f->pipe, 0));
        sent = send_lent(f, &iov, 1);
        int code = errno;
        assert_true(is_empty(f));
        if (sent < 0) {
            assert_int_equal(code, EAGAIN);
            break;
        }
        total += (size_t)sent;
        iov = entry(f->file + total % FILE_LEN, FILE_LEN - total % FILE_LEN);
    }
    assert_true(sent < 0 && total > 0);
    uint8_t *got = malloc(total);
    receive(f, got, total);
    for (size_t i = 0; i < total; i++)
        assert_int_equal(got[i], file_byte(i % FILE_LEN));
    free(got);
}

/* The file was cut below its mapping: nothing of the message is sent, and the next one arrives. */
static void a_missing_page_sends_nothing(void **state)
{
    struct ends *f = *state;
    uint8_t got[4096];
    if (test_is_slow())
        skip(); /* memcheck reports what is done here on purpose */
    assert_int_equal(ftruncate(f->file_fd, FILE_LEN / 2), 0);
    struct iovec iov[2] = {entry(f->file, 4096), entry(f->file + FILE_LEN / 2, 4096)};
    assert_true(splice_pipe_begin(&f->pipe, 0));
    assert_int_equal(send_lent(f, iov, 2), -1);
    assert_int_equal(errno, EFAULT);
    assert_int_equal(send_lent(f, iov + 1, 1), -1);
    assert_int_equal(errno, EFAULT);
    assert_true(is_empty(f));
    iov[0] = entry(f->file + 4096, 4096);
    assert_int_equal(send_lent(f, iov, 1), 4096);
    receive(f, got, sizeof got);
    assert_memory_equal(got, f->file + 4096, sizeof got);
}

static void a_closed_socket_is_an_error(void **state)
{
    struct ends *f = *state;
    struct iovec iov = entry(f->file, 4096);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(shutdown(f->from, SHUT_WR), 0);
    assert_true(splice_pipe_begin(&f->pipe, 0));
    assert_int_equal(send_lent(f, &iov, 1), -1);
    assert_int_equal(errno, EPIPE);
    assert_true(is_empty(f));
}

/* More pages than a pipe holds, or more bytes to put aside than there is memory for. */
static void a_message_too_large_is_refused(void **state)
{
    struct ends *f = *state;
    ssize_t sent;
    size_t page_len = (size_t)sysconf(_SC_PAGESIZE), n = SPLICE_PIPE_LEN / page_len;
    struct iovec *iov = calloc(n + 1, sizeof *iov);
    for (size_t i = 0; i <= n; i++)
        iov[i] = entry(f->file + i % 8 * page_len, page_len);
    assert_true(splice_pipe_begin(&f->pipe, 0));
    assert_false(splice_pipe_send(&f->pipe, f->from, iov, n + 1, &sent));
    assert_true(send_lent(f, iov, n) > 0);
    iov[0] = entry(f->file + 1, page_len); /* two pages */
    assert_false(splice_pipe_send(&f->pipe, f->from, iov, n, &sent));
    assert_true(splice_pipe_begin(&f->pipe, SPLICE_PIPE_ASIDE_LEN));
    assert_false(splice_pipe_begin(&f->pipe, SPLICE_PIPE_ASIDE_LEN + 1));
    free(iov);
}

/* A system that does not let us is asked once. What is not a pipe stands for it. */
static void a_refusal_is_remembered(void **state)
{
    struct ends *f = *state;
    struct iovec iov = entry(f->file, 4096);
    ssize_t sent;
    for (int i = 0; i < 2; i++) {
        assert_true(splice_pipe_begin(&f->pipe, 4));
        const uint8_t *note = splice_pipe_put_aside(&f->pipe, BYTES_LIT("note"));
        int fd = i == 0 ? f->pipe.write_fd : f->pipe.read_fd;
        assert_true(dup3(f->file_fd, fd, O_CLOEXEC) >= 0);
        assert_false(splice_pipe_send(&f->pipe, f->from, &iov, 1, &sent));
        assert_true(f->pipe.has_failed && !f->pipe.is_open);
        assert_false(splice_pipe_begin(&f->pipe, 0));
        assert_memory_equal(note, "note", 4); /* it goes another way */
        splice_pipe_clear(&f->pipe);
    }
}

/* Without descriptors there is no pipe, and nobody asks for one with every message. */
static void without_descriptors_there_is_none(void **state)
{
    struct ends *f = *state;
    struct rlimit old, none;
    size_t n_fds = test_count_fds();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (rlim_t left = 0; left < 3; left++) { /* a pipe takes two, /dev/null one */
        splice_pipe_clear(&f->pipe);
        none = (struct rlimit){(rlim_t)f->file_fd + 1 + left, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        assert_false(splice_pipe_begin(&f->pipe, 0));
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_false(splice_pipe_begin(&f->pipe, 0));
        assert_true(f->pipe.has_failed);
        assert_int_equal(test_count_fds(), n_fds);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(heads_and_blocks_arrive),
        TEST(what_is_put_aside_is_never_written_twice),
        TEST(what_the_socket_does_not_take_is_dropped),
        TEST(a_missing_page_sends_nothing),
        TEST(a_closed_socket_is_an_error),
        TEST(a_message_too_large_is_refused),
        TEST(a_refusal_is_remembered),
        TEST(without_descriptors_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
