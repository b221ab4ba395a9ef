#include "io/loop.h"
#include "io/sockaddr.h"
#include "io/udp.h"
#include "test_util.h"
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>

struct side {
    struct udp *udp;
    size_t n, n_batches, len_sum;
    uint8_t last[UDP_DATAGRAM_LEN_MAX];
    size_t last_len;
    struct addr from;
    bool is_echo;
};

static void came(void *ctx, const struct addr *from, struct bytes b)
{
    struct side *s = ctx;
    s->n++;
    s->len_sum += b.len;
    if (b.len)
        memcpy(s->last, b.data, b.len);
    s->last_len = b.len;
    s->from = *from;
    if (s->is_echo)
        udp_reply(s->udp, from, b);
}

static void after_batch(void *ctx)
{
    struct side *s = ctx;
    s->n_batches++;
}

static struct addr loopback(uint8_t family)
{
    struct addr a = addr_v4(127, 0, 0, 1, 0);
    if (family == ADDR_V6) {
        a = (struct addr){.family = ADDR_V6};
        a.ip[15] = 1;
    }
    return a;
}

static void echo(uint8_t family)
{
    struct loop *l;
    struct err err;
    struct side a = {0}, b = {.is_echo = true};
    struct addr bind = loopback(family);
    assert_int_equal(loop_new(&l, &err), ERR_OK);
    enum err_code code = udp_new(&a.udp, l, &bind, came, after_batch, &a, &err);
    if (code && family == ADDR_V6) {
        loop_free(l);
        skip();
    }
    assert_int_equal(code, ERR_OK);
    assert_int_equal(udp_new(&b.udp, l, &bind, came, NULL, &b, &err), ERR_OK);
    struct addr to = udp_addr(b.udp);
    for (int i = 0; i < 150; i++)
        udp_send(a.udp, &to, bytes_of("datagram", 8));
    udp_send(a.udp, &to, (struct bytes){0});
    uint64_t end_us = clock_now_us() + 5000000;
    while (a.n < 151 && clock_now_us() < end_us)
        loop_turn(l, 100000);
    assert_int_equal(a.n, 151);
    assert_int_equal(a.len_sum, 150 * 8);
    assert_true(addr_equal(&a.from, &to));
    assert_true(a.n_batches >= 1 && a.n_batches < 50);
    assert_int_equal(udp_counters(b.udp)->n_sent, 151);
    udp_free(a.udp);
    udp_free(b.udp);
    loop_free(l);
}

static void echo_ipv4(void **state)
{
    (void)state;
    echo(ADDR_V4);
}

static void echo_ipv6(void **state)
{
    (void)state;
    echo(ADDR_V6);
}

static void too_long_is_dropped_and_counted(void **state)
{
    (void)state;
    struct loop *l;
    struct err err;
    struct side a = {0};
    struct addr bind = loopback(ADDR_V4);
    static uint8_t big[UDP_DATAGRAM_LEN_MAX + 1];
    assert_int_equal(loop_new(&l, &err), ERR_OK);
    assert_int_equal(udp_new(&a.udp, l, &bind, came, NULL, &a, &err), ERR_OK);
    struct addr to = udp_addr(a.udp);
    udp_send(a.udp, &to, bytes_of(big, sizeof big));
    assert_int_equal(udp_counters(a.udp)->n_too_long, 1);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_storage ss;
    socklen_t len = sockaddr_from_addr(&ss, &to);
    assert_int_equal(sendto(fd, big, sizeof big, 0, (struct sockaddr *)&ss, len), sizeof big);
    for (int i = 0; i < 50 && udp_counters(a.udp)->n_received == 0; i++)
        loop_turn(l, 20000);
    assert_int_equal(udp_counters(a.udp)->n_too_long, 2);
    assert_int_equal(a.n, 0);
    close(fd);
    udp_free(a.udp);
    loop_free(l);
}

static void a_bad_destination_drops_only_itself(void **state)
{
    (void)state;
    struct loop *l;
    struct err err;
    struct side a = {0};
    struct addr bind = loopback(ADDR_V4), nowhere = addr_v4(127, 0, 0, 1, 0);
    assert_int_equal(loop_new(&l, &err), ERR_OK);
    assert_int_equal(udp_new(&a.udp, l, &bind, came, NULL, &a, &err), ERR_OK);
    struct addr to = udp_addr(a.udp);
    udp_send(a.udp, &to, BYTES_LIT("1"));
    udp_send(a.udp, &nowhere, BYTES_LIT("2")); /* port 0 */
    udp_send(a.udp, &to, BYTES_LIT("3"));
    udp_flush(a.udp);
    assert_int_equal(udp_counters(a.udp)->n_sent, 2);
    assert_int_equal(udp_counters(a.udp)->n_send_failed, 1);
    udp_free(a.udp);
    loop_free(l);
}

static void a_busy_port_is_an_error(void **state)
{
    (void)state;
    struct loop *l;
    struct err err;
    struct side a = {0};
    struct udp *second;
    struct addr bind = loopback(ADDR_V4);
    assert_int_equal(loop_new(&l, &err), ERR_OK);
    assert_int_equal(udp_new(&a.udp, l, &bind, came, NULL, &a, &err), ERR_OK);
    struct addr taken = udp_addr(a.udp);
    size_t n_fds = test_count_fds();
    assert_int_equal(udp_new(&second, l, &taken, came, NULL, &a, &err), ERR_IO);
    assert_null(second);
    assert_int_equal(test_count_fds(), n_fds);
    udp_free(a.udp);
    loop_free(l);
}

/* Bound to all addresses: the answer comes from the one that was asked. */
static void reply_comes_from(struct addr asked, struct addr any)
{
    struct loop *l;
    struct err err;
    struct side a = {0}, b = {.is_echo = true};
    struct addr bind = loopback(asked.family);
    assert_int_equal(loop_new(&l, &err), ERR_OK);
    assert_int_equal(udp_new(&a.udp, l, &bind, came, NULL, &a, &err), ERR_OK);
    assert_int_equal(udp_new(&b.udp, l, &any, came, NULL, &b, &err), ERR_OK);
    asked.port = udp_addr(b.udp).port;
    for (int i = 0; i < 70; i++)
        udp_send(a.udp, &asked, BYTES_LIT("who are you?"));
    uint64_t end_us = clock_now_us() + 5000000;
    while (a.n < 70 && clock_now_us() < end_us)
        loop_turn(l, 100000);
    assert_int_equal(a.n, 70);
    assert_true(addr_equal(&a.from, &asked));
    assert_int_equal(udp_counters(b.udp)->n_send_failed, 0);
    udp_free(a.udp);
    udp_free(b.udp);
    loop_free(l);
}

static void replies_come_from_the_address_asked(void **state)
{
    (void)state;
    reply_comes_from(addr_v4(127, 0, 0, 1, 0), addr_v4(0, 0, 0, 0, 0));
    reply_comes_from(addr_v4(127, 0, 0, 2, 0), addr_v4(0, 0, 0, 0, 0));
}

/* From here on this process is in network namespaces of its own. */
static void replies_come_from_the_ipv6_address_asked(void **state)
{
    (void)state;
    struct addr asked = {.family = ADDR_V6, .ip = {0xfd, 0x11, [15] = 9}};
    if (unshare(CLONE_NEWNET) || system("ip link set lo up && ip addr add fd11::9/128 dev lo") != 0)
        skip(); /* needs root */
    reply_comes_from(asked, (struct addr){.family = ADDR_V6});
    reply_comes_from(loopback(ADDR_V6), (struct addr){.family = ADDR_V6});
}

/* A socket on fe80::a of one interface, which talks to fe80::b beyond it. */
static int link_socket(const char *interface, uint16_t port, struct sockaddr_in6 *out_to)
{
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in6 from = {.sin6_family = AF_INET6};
    from.sin6_addr.s6_addr[0] = 0xfe;
    from.sin6_addr.s6_addr[1] = 0x80;
    from.sin6_scope_id = if_nametoindex(interface);
    *out_to = from;
    from.sin6_addr.s6_addr[15] = 0xa;
    out_to->sin6_addr.s6_addr[15] = 0xb;
    out_to->sin6_port = htons(port);
    assert_true(fd >= 0 && from.sin6_scope_id > 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    return fd;
}

static bool make_links(void)
{
    return system("for i in 1 2; do ip link add va$i type veth peer name vb$i || exit 1; "
                  "for e in a b; do ip link set v$e$i addrgenmode none up && "
                  "ip addr add fe80::$e/64 dev v$e$i nodad || exit 1; done; done") == 0;
}

/* Two links, on both of them fe80::a asks fe80::b: an address without its scope would not do, and
 * each answer must leave by the link that the question came from. */
static void replies_keep_to_the_link(void **state)
{
    (void)state;
    static const char *const names[] = {"va1", "va2"};
    struct loop *l;
    struct err err;
    struct side b = {.is_echo = true};
    struct addr any = {.family = ADDR_V6};
    struct sockaddr_in6 to[2];
    int fds[2];
    unsigned n[2] = {0, 0};
    if (getuid() != 0 || unshare(CLONE_NEWNET) || !make_links())
        skip();
    assert_int_equal(loop_new(&l, &err), ERR_OK);
    assert_int_equal(udp_new(&b.udp, l, &any, came, NULL, &b, &err), ERR_OK);
    for (int k = 0; k < 2; k++)
        fds[k] = link_socket(names[k], udp_addr(b.udp).port, &to[k]);
    uint64_t end_us = clock_now_us() + 10000000;
    while ((n[0] < 30 || n[1] < 30) && clock_now_us() < end_us) {
        for (int k = 0; k < 2; k++) {
            struct sockaddr_in6 from;
            socklen_t len = sizeof from;
            char c = (char)('0' + k), got;
            sendto(fds[k], &c, 1, 0, (struct sockaddr *)&to[k], sizeof to[k]);
            while (recvfrom(fds[k], &got, 1, 0, (struct sockaddr *)&from, &len) == 1) {
                assert_int_equal(got, c);
                assert_memory_equal(&from.sin6_addr, &to[k].sin6_addr, 16);
                assert_int_equal(from.sin6_scope_id, to[k].sin6_scope_id);
                n[k]++;
            }
        }
        loop_turn(l, 10000);
    }
    assert_true(n[0] >= 30 && n[1] >= 30);
    assert_int_equal(udp_counters(b.udp)->n_send_failed, 0);
    close(fds[0]);
    close(fds[1]);
    udp_free(b.udp);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_ipv4),
        cmocka_unit_test(echo_ipv6),
        cmocka_unit_test(too_long_is_dropped_and_counted),
        cmocka_unit_test(a_bad_destination_drops_only_itself),
        cmocka_unit_test(a_busy_port_is_an_error),
        cmocka_unit_test(replies_come_from_the_address_asked),
        cmocka_unit_test(replies_come_from_the_ipv6_address_asked),
        cmocka_unit_test(replies_keep_to_the_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
