/* test_disk: what is made of the operations on files (store/disk.h); they themselves are met wherever
 * a folder of chain data is. */
#include "disk_fault.h"
#include "test_util.h"

static void assert_holds(const char *dir, struct bytes a, struct bytes b)
{
    char path[TEST_PATH_CAP];
    struct span got = test_read_file(test_join(path, dir, "note"));
    struct bytes want = got.len == a.len ? a : b;
    test_assert_bytes(bytes_of(got.data, got.len), want);
    free(got.data);
}

/* Every operation fails, writes after every length: the old file is there or the new one, and the
 * next try brings the new one. */
static void a_small_file_is_put_whole(void **state)
{
    const struct bytes old = BYTES_LIT("what was there"), new = BYTES_LIT("new");
    bool is_over = false;
    (void)state;
    for (uint64_t n = 0; !is_over; n++)
        for (size_t cut_len = 0; cut_len <= new.len; cut_len++) {
            char dir[TEST_PATH_CAP];
            struct fault fault = {.cut_len = cut_len};
            struct disk_hook hook = {&fault, fault_before};
            struct disk d;
            struct err err = {0};
            test_temp_dir(dir);
            assert_int_equal(disk_open(&d, dir, &hook, &err), ERR_OK);
            assert_int_equal(disk_put_file(&d, "note", old, &err), ERR_OK);
            fault.fail_at = n ? fault.n + n : 0;
            enum err_code code = disk_put_file(&d, "note", new, &err);
            assert_true(!code || (n && err.got == ENOSPC));
            is_over = n && !code;
            assert_holds(dir, code ? old : new, new);
            disk_close(&d); /* a disk whose sync failed is not trusted again */
            assert_int_equal(disk_open(&d, dir, NULL, &err), ERR_OK);
            assert_int_equal(disk_put_file(&d, "note", new, &err), ERR_OK);
            assert_holds(dir, new, new);
            disk_close(&d);
            test_remove_dir(dir);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_small_file_is_put_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
