#include "../../test_util.h"
#include "crypto/murmur3.h"

/* Bitcoin Core, src/test/hash_tests.cpp. */
static const struct {
    uint32_t hash, seed;
    const char *data_hex;
} vectors[] = {
    {0, 0, ""},
    {1782148872u, 4221880213u, ""},
    {2180083513u, 4294967295u, ""},
    {1364076727u, 0, "00"},
    {3930000151u, 4221880213u, "00"},
    {4251775245u, 0, "ff"},
    {382121899u, 0, "0011"},
    {2394233917u, 0, "001122"},
    {3024559096u, 0, "00112233"},
    {3794804648u, 0, "0011223344"},
    {4230892053u, 0, "001122334455"},
    {2960412716u, 0, "00112233445566"},
    {2150945440u, 0, "0011223344556677"},
    {3026816495u, 0, "001122334455667788"},
};

static void test_vectors(void **state)
{
    (void)state;
    uint8_t room[16];
    for (size_t i = 0; i < COUNT_OF(vectors); i++)
        assert_int_equal(murmur3(vectors[i].seed, test_hex(vectors[i].data_hex, room, sizeof room)),
                         vectors[i].hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
