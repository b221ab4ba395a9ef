#include "../../test_util.h"
#include "chain/descriptor.h"

#define KEY   "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
#define KEY_B "02a5613bd857b7048924264d1e70e08fb2a7e6527d32b7ab1bb993ac59964ff397"
#define KEY_C "021ac43c7ff740014c3b33737ede99c967e4764553d1b2b83db77c83b8715fa72d"
#define KEY_D "02df2089105c77f266fa11a9d33f05c735234075f2e8780824c6b709415f9fb485"
#define LONG                                                                                       \
    "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"                             \
    "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"

/* BIP 380's test vectors; Bitcoin Core, src/test/descriptor_tests.cpp (pk of the generator). */
static void test_checksum(void **state)
{
    char got[DESCRIPTOR_CHECK_LEN + 1];
    (void)state;
    assert_true(descriptor_checksum(BYTES_LIT("raw(deadbeef)"), got));
    assert_string_equal(got, "89f8spxm");
    assert_true(descriptor_checksum(BYTES_LIT("pk(" KEY ")"), got));
    assert_string_equal(got, "gn28ywm7");
    assert_true(descriptor_checksum(BYTES_LIT("raw(deedbeef)"), got));
    assert_string_not_equal(got, "89f8spxm"); /* an error in the payload */
    assert_false(descriptor_checksum(BYTES_LIT("raw(\xc3\x9c)"), got));
    assert_false(descriptor_checksum(bytes_of("raw(\0)", 6), got));
    assert_false(descriptor_checksum(BYTES_LIT("raw(\t)"), got));
}

static const struct {
    const char *network, *script_hex, *text; /* without a checksum: only the body is compared */
} rows[] = {
    /* Bitcoin Core, test/functional/data/rpc_decodescript.json */
    {"regtest", "5120eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
     "rawtr(eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee)#jk7c6kys"},
    {"regtest", "5102eeee", "addr(bcrt1pamhqk96edn)#vkh8uj5a"},
    {"regtest", "0020eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
     "addr(bcrt1qamhwamhwamhwamhwamhwamhwamhwamhwamhwamhwamhwamhwamhqgdn98t)#afaecevx"},
    {"regtest", "a914eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee87",
     "addr(2NF2b3KS8xXb9XHvbRMXdZh8s5g92rUZHtp)#ywfcpmh9"},
    {"regtest", "6a00", "raw(6a00)#ncfmkl43"},
    {"regtest", "6a02ee", "raw(6a02ee)#gvdwnlzl"},
    /* test/functional/data/util/txcreate*.json */
    {"main", "", "raw()#58lrscpx"},
    {"main", "75", "raw(75)#ppey0zqj"},
    {"main", "76a9145834479edbbe0539b31ffd3a8f8ebadc2165ed0188ac",
     "addr(193P6LtvS4nCnkDvM9uXn1gsSRqh4aDAz7)#nw04wh58"},
    {"main", "5221" KEY_B "21" KEY_C "21" KEY_D "53ae",
     "multi(2," KEY_B "," KEY_C "," KEY_D ")#8s88p9pl"},
    /* ours, by the rules of Bitcoin Core's InferScript */
    {"main", "21" KEY "ac", "pk(" KEY ")#gn28ywm7"},
    {"main", "4104" LONG "ac", "pk(04" LONG ")"},
    {"main", "4106" LONG "ac", "raw(4106" LONG "ac)"}, /* hybrid: no descriptor has it */
    {"main",
     "51"
     "21" KEY "4107" LONG "52ae",
     "raw(51"
     "21" KEY "4107" LONG "52ae)"},
    {"main", "51024e73", "addr(bc1pfeessrawgf)"}, /* pay to anchor */
    {"main", "0003aabbcc", "raw(0003aabbcc)"},    /* no program of version 0 */
    /* X is no point's: BIP 340, test vector 5 */
    {"main", "5120eefdea4cdb677750a420fee807eacf21eb9898ae79b9768766e4faa04a2d4a34",
     "addr(bc1pam775nxmvam4pfpqlm5q06k0y84e3x9w0xuhdpmxuna2qj3dfg6qnzh0s2)"},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t script[300];
        char text[DESCRIPTOR_LEN_MAX(sizeof script) + 1];
        struct bytes s = test_hex(rows[i].script_hex, script, sizeof script);
        struct writer w = writer_init(text, DESCRIPTOR_LEN_MAX(s.len));
        descriptor_write(&w, chain_params_find(rows[i].network), s);
        assert_true(writer_ok(&w));
        text[w.pos] = '\0';
        if (!strchr(rows[i].text, '#'))
            *strchr(text, '#') = '\0';
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
