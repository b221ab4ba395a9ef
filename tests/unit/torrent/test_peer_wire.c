#include "test_util.h"
#include "torrent/peer_wire.h"

#define ROOT_HEX "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* --- handshake ------------------------------------------------------------------------------- */

static struct handshake sample_handshake(uint32_t features)
{
    struct handshake h;
    handshake_set_features(&h, features);
    memset(h.infohash, 0x11, sizeof h.infohash);
    memset(h.peer_id, 0x22, sizeof h.peer_id);
    return h;
}

/* Reserved bytes as BEP 5, 6, 10 and 52 have them; "0000000000100005" is what libtorrent 2.0.8 was
 * seen to send, "0000000000100004" Transmission 3.00. */
static const struct {
    uint32_t features;
    const char *reserved_hex;
} reserved[] = {
    {0, "0000000000000000"},
    {WIRE_DHT, "0000000000000001"},
    {WIRE_FAST, "0000000000000004"},
    {WIRE_EXTENSION, "0000000000100000"},
    {WIRE_V2, "0000000000000010"},
    {WIRE_DHT | WIRE_FAST | WIRE_EXTENSION, "0000000000100005"},
    {WIRE_FAST | WIRE_EXTENSION, "0000000000100004"},
    {WIRE_FAST | WIRE_EXTENSION | WIRE_V2, "0000000000100014"},
};

static void test_handshake_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(reserved); i++) {
        uint8_t buf[HANDSHAKE_LEN];
        char want[200];
        struct handshake h = sample_handshake(reserved[i].features), back;
        struct writer w = writer_init(buf, sizeof buf);
        handshake_write(&w, &h);
        assert_int_equal(writer_end(&w), ERR_OK);
        snprintf(want, sizeof want, "13426974546f7272656e742070726f746f636f6c%s%s%s",
                 reserved[i].reserved_hex, "1111111111111111111111111111111111111111",
                 "2222222222222222222222222222222222222222");
        test_assert_hex(writer_bytes(&w), want);
        assert_int_equal(handshake_read(writer_bytes(&w), &back, NULL), ERR_OK);
        assert_memory_equal(&back, &h, sizeof h);
        assert_int_equal(handshake_features(&back), reserved[i].features);
    }
}

static void test_handshake_bad(void **state)
{
    (void)state;
    uint8_t buf[HANDSHAKE_LEN + 1];
    struct handshake h = sample_handshake(WIRE_FAST), back;
    struct writer w = writer_init(buf, sizeof buf);
    struct err err = {0};
    handshake_write(&w, &h);
    for (size_t len = 0; len < HANDSHAKE_LEN; len++) {
        uint8_t *exact = test_exact_copy(bytes_of(buf, len));
        assert_int_equal(handshake_read(bytes_of(exact, len), &back, &err), ERR_TRUNCATED);
        assert_true(handshake_may_begin(bytes_of(exact, len)));
        free(exact);
    }
    buf[HANDSHAKE_LEN] = 0;
    assert_int_equal(handshake_read(bytes_of(buf, HANDSHAKE_LEN + 1), &back, &err), ERR_MALFORMED);
    for (size_t i = 0; i < 20; i++) {
        buf[i] ^= 0x20;
        assert_int_equal(handshake_read(bytes_of(buf, HANDSHAKE_LEN), &back, &err),
                         ERR_UNSUPPORTED);
        assert_false(handshake_may_begin(bytes_of(buf, i + 1)));
        buf[i] ^= 0x20;
    }
}

/* --- messages -------------------------------------------------------------------------------- */

static void write_sample(struct writer *w, uint8_t id)
{
    uint8_t bytes[64];
    struct wire_block block = {0x01020304, 0x8000, 0x4000};
    struct merkle_request ref = {.base_layer = 1, .index = 512, .length = 2, .proof_layers = 3};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(0xa0 + i % 16);
    for (size_t i = 0; i < SHA256_LEN; i++)
        ref.root[i] = (uint8_t)i;
    switch (id) {
    case MSG_HAVE:
    case MSG_SUGGEST:
    case MSG_ALLOWED_FAST:
        peer_msg_write_piece_index(w, (enum msg_id)id, 0x01020304);
        break;
    case MSG_REQUEST:
    case MSG_CANCEL:
    case MSG_REJECT:
        peer_msg_write_block(w, (enum msg_id)id, &block);
        break;
    case MSG_BITFIELD:
        peer_msg_write_bitfield(w, bytes_of(bytes, 3));
        break;
    case MSG_PIECE:
        peer_msg_write_piece_head(w, &block);
        break;
    case MSG_PORT:
        peer_msg_write_port(w, 6881);
        break;
    case MSG_EXTENDED:
        peer_msg_write_extended(w, 7, bytes_of(bytes, 2));
        break;
    case MSG_HASH_REQUEST:
        peer_msg_write_hash_request(w, &ref);
        break;
    case MSG_HASH_REJECT:
        peer_msg_write_hash_reject(w, &ref);
        break;
    case MSG_HASHES:
        peer_msg_write_hashes(w, &ref, bytes_of(bytes, 64));
        break;
    default:
        peer_msg_write_plain(w, (enum msg_id)id);
        break;
    }
}

#define A16     "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
#define REF_HEX ROOT_HEX "00000001000002000000000200000003"

/* Golden bytes, by the layouts in BEP 3, 5, 6, 10 and 52. */
static const struct {
    uint8_t id;
    const char *hex;
} golden[] = {
    {MSG_CHOKE, "0000000100"},
    {MSG_UNCHOKE, "0000000101"},
    {MSG_INTERESTED, "0000000102"},
    {MSG_NOT_INTERESTED, "0000000103"},
    {MSG_HAVE, "000000050401020304"},
    {MSG_BITFIELD, "0000000405a0a1a2"},
    {MSG_REQUEST, "0000000d06010203040000800000004000"},
    {MSG_PIECE, "00004009070102030400008000"},
    {MSG_CANCEL, "0000000d08010203040000800000004000"},
    {MSG_PORT, "00000003091ae1"},
    {MSG_SUGGEST, "000000050d01020304"},
    {MSG_HAVE_ALL, "000000010e"},
    {MSG_HAVE_NONE, "000000010f"},
    {MSG_REJECT, "0000000d10010203040000800000004000"},
    {MSG_ALLOWED_FAST, "000000051101020304"},
    {MSG_EXTENDED, "000000041407a0a1"},
    {MSG_HASH_REQUEST, "0000003115" REF_HEX},
    {MSG_HASHES, "0000007116" REF_HEX A16 A16 A16 A16},
    {MSG_HASH_REJECT, "0000003117" REF_HEX},
};

static void test_golden(void **state)
{
    (void)state;
    uint8_t buf[256];
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        struct writer w = writer_init(buf, sizeof buf);
        write_sample(&w, golden[i].id);
        assert_int_equal(writer_end(&w), ERR_OK);
        test_assert_hex(writer_bytes(&w), golden[i].hex);
        assert_true(peer_msg_is_known(golden[i].id));
    }
    struct writer w = writer_init(buf, sizeof buf);
    peer_msg_write_keep_alive(&w);
    test_assert_hex(writer_bytes(&w), "00000000");
    w = writer_init(buf, sizeof buf);
    peer_msg_write_extended_head(&w, 3, 100);
    test_assert_hex(writer_bytes(&w), "000000661403");
}

static void check_sample(const struct wire_msg *m)
{
    switch (m->id) {
    case MSG_HAVE:
    case MSG_SUGGEST:
    case MSG_ALLOWED_FAST:
        assert_int_equal(m->piece, 0x01020304);
        break;
    case MSG_REQUEST:
    case MSG_CANCEL:
    case MSG_REJECT:
        assert_int_equal(m->block.piece, 0x01020304);
        assert_int_equal(m->block.begin, 0x8000);
        assert_int_equal(m->block.len, 0x4000);
        break;
    case MSG_BITFIELD:
        test_assert_hex(m->bitfield, "a0a1a2");
        break;
    case MSG_PORT:
        assert_int_equal(m->port, 6881);
        break;
    case MSG_EXTENDED:
        assert_int_equal(m->extended.id, 7);
        test_assert_hex(m->extended.payload, "a0a1");
        break;
    case MSG_HASH_REQUEST:
    case MSG_HASHES:
    case MSG_HASH_REJECT:
        test_assert_hex(bytes_of(m->hashes.ref.root, SHA256_LEN), ROOT_HEX);
        assert_int_equal(m->hashes.ref.base_layer, 1);
        assert_int_equal(m->hashes.ref.index, 512);
        assert_int_equal(m->hashes.ref.length, 2);
        assert_int_equal(m->hashes.ref.proof_layers, 3);
        assert_int_equal(m->hashes.list.len, m->id == MSG_HASHES ? 64 : 0);
        break;
    default:
        break;
    }
}

/* A proper prefix is an error: TRUNCATED where the length is fixed; one byte more is one, too. */
static void test_read_back(void **state)
{
    (void)state;
    uint8_t buf[256];
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        struct wire_msg m;
        uint8_t id = golden[i].id;
        if (id == MSG_PIECE)
            continue;
        struct bytes whole = test_hex(golden[i].hex, buf, sizeof buf - 1);
        struct bytes msg = bytes_sub(whole, 4, whole.len - 4);
        assert_int_equal(peer_msg_read(msg, &m, NULL), ERR_OK);
        assert_int_equal(m.id, id);
        check_sample(&m);
        bool is_fixed = peer_msg_len_min(id) == peer_msg_len_max(id);
        for (size_t len = 0; len < msg.len; len++) {
            uint8_t *exact = test_exact_copy(bytes_sub(msg, 0, len));
            enum err_code code = peer_msg_read(bytes_of(exact, len), &m, NULL);
            if (is_fixed || len < peer_msg_len_min(id))
                assert_int_equal(code, ERR_TRUNCATED);
            free(exact);
        }
        buf[whole.len] = 0;
        if (is_fixed)
            assert_int_equal(peer_msg_read(bytes_of(msg.data, msg.len + 1), &m, NULL),
                             ERR_MALFORMED);
    }
}

static const struct {
    const char *name, *hex; /* id and payload */
    enum err_code code;
} refused[] = {
    {"empty", "", ERR_TRUNCATED},
    {"request of nothing", "06000000000000000000000000", ERR_LIMIT},
    {"request of 131073", "06000000000000000000020001", ERR_LIMIT},
    {"request of 2^32-1", "060000000000000000ffffffff", ERR_LIMIT},
    {"cancel of 131073", "08000000000000000000020001", ERR_LIMIT},
    {"extended without its id", "14", ERR_TRUNCATED},
    {"hashes without a hash", "16" REF_HEX, ERR_MALFORMED},
    {"hashes with half a hash", "16" REF_HEX A16, ERR_MALFORMED},
    {"unknown id 10", "0a", ERR_UNSUPPORTED},
    {"unknown id 24", "18", ERR_UNSUPPORTED},
    {"piece is not for this reader", "0700000000000000000000", ERR_UNSUPPORTED},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        uint8_t buf[256];
        struct wire_msg m;
        struct err err = {0};
        struct bytes msg = test_hex(refused[i].hex, buf, sizeof buf);
        uint8_t *exact = test_exact_copy(msg);
        enum err_code code = peer_msg_read(bytes_of(exact, msg.len), &m, &err);
        if (code != refused[i].code)
            fail_msg("%s: %s", refused[i].name, err_code_name(code));
        assert_int_equal(err.code, code);
        assert_non_null(err.what);
        free(exact);
    }
}

static void test_request_len_bounds(void **state)
{
    (void)state;
    uint8_t buf[64];
    static const uint32_t good[] = {1, 16384, REQUEST_LEN_MAX};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct wire_msg m;
        struct wire_block block = {1, 2, good[i]};
        struct writer w = writer_init(buf, sizeof buf);
        peer_msg_write_block(&w, MSG_REQUEST, &block);
        assert_int_equal(peer_msg_read(bytes_of(buf + 4, 13), &m, NULL), ERR_OK);
        assert_int_equal(m.block.len, good[i]);
    }
}

static void test_too_long(void **state)
{
    (void)state;
    static const uint8_t ids[] = {MSG_BITFIELD, MSG_EXTENDED, MSG_HASHES};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        struct wire_msg m;
        size_t len = peer_msg_len_max(ids[i]) + 1;
        uint8_t *msg = calloc(1, len);
        assert_non_null(msg);
        msg[0] = ids[i];
        assert_int_equal(peer_msg_read(bytes_of(msg, len - 1), &m, NULL), ERR_OK);
        assert_int_equal(peer_msg_read(bytes_of(msg, len), &m, NULL), ERR_LIMIT);
        free(msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_golden), cmocka_unit_test(test_handshake_bad),
        cmocka_unit_test(test_golden),           cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_request_len_bounds),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
