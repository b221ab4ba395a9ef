/* How much a connection takes, batches and leaves unsent, by its rate; and who paces himself. */
#include "io/tcp_internal.h"
#include "test_util.h"

/* The message is longer than the file data in it, and may be taken up to its last bytes: the next
 * read must still fit the buffer (it once did not, and ran over its end). */
static void a_batch_fits_its_buffer(void **state)
{
    (void)state;
    size_t asked = TCP_BATCH_LEN + 32 * 13;
    for (size_t taken = 0; taken <= asked; taken++) {
        size_t next = tcp_batch_len_next(TCP_BATCH_LEN, asked, taken);
        assert_true(next >= TCP_BATCH_LEN_MIN && next <= TCP_BATCH_LEN);
    }
    assert_int_equal(tcp_batch_len_next(TCP_BATCH_LEN_MIN, 1000, 1000), 2 * TCP_BATCH_LEN_MIN);
}

static void room_follows_the_rate(void **state)
{
    (void)state;
    size_t max = 1u << 20;
    assert_int_equal(tcp_room_len_next(max, 500u << 20, 1000000), max);
    assert_int_equal(tcp_room_len_next(max, 1000000, 1000000), 500000);
    assert_int_equal(tcp_room_len_next(max, 20000, 1000000), TCP_ROOM_LEN_MIN);
    assert_int_equal(tcp_room_len_next(max, 0, 5000000), max);
    assert_int_equal(tcp_room_len_next(max, 100000, 0), max);
    assert_int_equal(tcp_room_len_next(1000, 10, 1000000), 1000);
    /* the longest block, 128 KiB (BEP 3) and its head, always comes to fit */
    assert_true(TCP_ROOM_LEN_MIN >= 131072 + 13);
}

static void unsent_follows_the_rate(void **state)
{
    (void)state;
    assert_int_equal(tcp_unsent_len_next(0, 10000), TCP_UNSENT_LEN_MIN);
    assert_int_equal(tcp_unsent_len_next(640000, 10000), TCP_UNSENT_LEN_MIN); /* 64 MB/s */
    assert_int_equal(tcp_unsent_len_next(3000000, 10000), 1u << 20);          /* 300 MB/s */
    assert_int_equal(tcp_unsent_len_next(SIZE_MAX / TCP_UNSENT_US, 0), TCP_UNSENT_LEN_MAX);
}

static void a_socket_that_paces_itself_is_known(void **state)
{
    (void)state;
    assert_true(tcp_is_paced("bbr") && tcp_is_paced("bbr2"));
    assert_true(!tcp_is_paced("cubic") && !tcp_is_paced("reno") && !tcp_is_paced(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_fits_its_buffer),
        cmocka_unit_test(room_follows_the_rate),
        cmocka_unit_test(unsent_follows_the_rate),
        cmocka_unit_test(a_socket_that_paces_itself_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
