/* The small parts of the engine: slots, block_cache, resume. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include "base/size.h"
#include "torrent/block_cache.h"
#include "torrent/resume.h"
#include "torrent/session_counters.h"
#include "torrent/slots.h"
#include <cmocka.h>
#include <string.h>

static void test_slots_ids_go_stale(void **state)
{
    (void)state;
    struct mem mem;
    struct slots t;
    int items[40];
    uint64_t ids[40];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    slots_init(&t, &mem, 20, 8, 16);
    assert_null(slots_get(&t, 0));
    for (unsigned i = 0; i < 20; i++) {
        ids[i] = slots_put(&t, &items[i]);
        assert_true(ids[i] != 0 && ids[i] < 65536);
    }
    assert_int_equal(slots_put(&t, &items[20]), 0); /* full */
    slots_check(&t);
    for (unsigned round = 0; round < 1000; round++) {
        unsigned i = round * 7 % 20;
        uint64_t old = ids[i];
        slots_remove(&t, old);
        assert_null(slots_get(&t, old));
        ids[i] = slots_put(&t, &items[i]);
        assert_true(ids[i] != 0 && ids[i] != old);
        assert_null(slots_get(&t, old));
        assert_ptr_equal(slots_get(&t, ids[i]), &items[i]);
        slots_check(&t);
    }
    uint32_t cursor = 0, n = 0;
    while (slots_next(&t, &cursor))
        n++;
    assert_int_equal(n, 20);
    slots_clear(&t);
    mem_check_empty(&mem);
}

static void test_slots_without_memory(void **state)
{
    (void)state;
    struct mem mem;
    struct slots t;
    int item;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    slots_init(&t, &mem, 100, 20, 64);
    mem.fail_at = 1;
    assert_int_equal(slots_put(&t, &item), 0);
    assert_int_not_equal(slots_put(&t, &item), 0);
    slots_clear(&t);
    mem_check_empty(&mem);
}

static void test_block_cache(void **state)
{
    (void)state;
    struct mem mem;
    struct block_cache c;
    uint8_t *out[20];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    block_cache_init(&c, &mem, 20 * BLOCK_LEN);
    for (unsigned i = 0; i < 20; i++) {
        assert_false(block_cache_is_full(&c));
        out[i] = block_cache_take(&c);
        assert_non_null(out[i]);
        memset(out[i], (int)i, BLOCK_LEN);
    }
    assert_true(block_cache_is_full(&c));
    assert_null(block_cache_take(&c));
    uint64_t n_allocs = mem.n_allocs;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(out[i][BLOCK_LEN - 1], i);
        block_cache_give(&c, out[i]);
    }
    for (unsigned i = 0; i < 20; i++)
        out[i] = block_cache_take(&c);
    assert_int_equal(mem.n_allocs, n_allocs); /* what was given back is used again */
    block_cache_check(&c);
    for (unsigned i = 0; i < 20; i++)
        block_cache_give(&c, out[i]);
    block_cache_trim(&c, 3);
    assert_int_equal(c.n_idle, 3);
    block_cache_check(&c);
    block_cache_clear(&c);
    mem_check_empty(&mem);
}

static struct resume some_resume(void)
{
    static const uint8_t bits[] = {0xf0, 0x80}, none[] = {0, 0}, files[2 * RESUME_FILE_LEN] = {1};
    struct resume r = {.is_clean = true,
                       .n_pieces = 9,
                       .down_total = 1,
                       .up_total = 2,
                       .wasted_total = 3,
                       .bad_total = 4,
                       .seeded_us = 5,
                       .synced = bytes_of(bits, 2),
                       .unsynced = bytes_of(none, 2),
                       .files = bytes_of(files, sizeof(files)),
                       .peers4 = BYTES_LIT("abcdef"),
                       .torrent = BYTES_LIT("d4:infodee")};
    memset(r.key, 7, SHA1_LEN);
    return r;
}

static void test_resume_round_trip(void **state)
{
    (void)state;
    struct mem mem;
    struct buf out;
    struct resume r = some_resume(), again;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, RESUME_LEN_MAX);
    resume_write(&out, &r);
    struct bytes blob = buf_bytes(&out);
    assert_int_equal(resume_read(&again, blob, NULL), ERR_OK);
    assert_memory_equal(again.key, r.key, SHA1_LEN);
    assert_true(again.is_clean && again.n_pieces == 9 && again.down_total == 1);
    assert_true(again.up_total == 2 && again.wasted_total == 3 && again.bad_total == 4);
    assert_true(again.seeded_us == 5);
    assert_true(bytes_equal(again.synced, r.synced) && bytes_equal(again.files, r.files));
    assert_true(bytes_equal(again.peers4, r.peers4) && bytes_equal(again.torrent, r.torrent));
    assert_true(resume_file(&again, 0).exists && !resume_file(&again, 1).exists);
    for (size_t n = 0; n < blob.len; n++)
        assert_int_not_equal(resume_read(&again, bytes_sub(blob, 0, n), NULL), ERR_OK);
    for (size_t i = 0; i < blob.len; i++) { /* any bit that turned over is noticed */
        out.data[i] ^= 1;
        assert_int_not_equal(resume_read(&again, blob, NULL), ERR_OK);
        out.data[i] ^= 1;
    }
    buf_clear(&out);
    mem_check_empty(&mem);
}

/* The blob with one field replaced and its checksum made right. */
static enum err_code read_changed(const char *from, const char *to)
{
    struct mem mem;
    struct buf out;
    struct resume r = some_resume();
    static uint8_t changed[1000];
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, RESUME_LEN_MAX);
    resume_write(&out, &r);
    size_t len = out.len - SHA1_LEN, n_from = strlen(from), n_to = strlen(to), at = 0;
    while (memcmp(out.data + at, from, n_from) != 0)
        assert_true(++at < len);
    memcpy(changed, out.data, at);
    memcpy(changed + at, to, n_to);
    memcpy(changed + at + n_to, out.data + at + n_from, len - at - n_from);
    len = len - n_from + n_to;
    sha1(bytes_of(changed, len), changed + len);
    buf_clear(&out);
    return resume_read(&r, bytes_of(changed, len + SHA1_LEN), NULL);
}

static void test_resume_refusals(void **state)
{
    (void)state;
    assert_int_equal(read_changed("1:vi1e", "1:vi1e"), ERR_OK);
    assert_int_equal(read_changed("1:vi1e", "1:vi2e"), ERR_UNSUPPORTED);
    assert_int_equal(read_changed("6:piecesi9e", "6:piecesi7e"), ERR_MALFORMED);
    assert_int_equal(read_changed("6:piecesi9e", "6:piecesi17e"), ERR_MALFORMED);
    assert_int_equal(read_changed("6:piecesi9e", "6:piecesi-9e"), ERR_MALFORMED);
    assert_int_equal(read_changed("6:piecesi9e", "6:pieces1:9"), ERR_MALFORMED);
    assert_int_equal(read_changed("6:piecesi9e", ""), ERR_MALFORMED);
    assert_int_equal(read_changed("6:peers46:abcdef", "6:peers45:abcde"), ERR_MALFORMED);
    assert_int_equal(read_changed("2:upi2e", ""), ERR_MALFORMED);
}

static void test_resume_partials(void **state)
{
    (void)state;
    struct mem mem;
    struct buf out;
    static const uint8_t a[] = {0x80}, b[] = {0xff, 0x40};
    struct resume_partial p = {7, 3, bytes_of(a, 1)}, q = {9, 10, bytes_of(b, 2)}, got;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, 1000);
    resume_write_partial(&out, &p);
    resume_write_partial(&out, &q);
    struct reader r = reader_init(buf_bytes(&out));
    assert_true(resume_next_partial(&r, &got));
    assert_true(got.piece == 7 && got.n_blocks == 3 && bytes_equal(got.bits, p.bits));
    assert_true(resume_next_partial(&r, &got));
    assert_true(got.piece == 9 && got.n_blocks == 10 && bytes_equal(got.bits, q.bits));
    assert_false(resume_next_partial(&r, &got));
    for (size_t n = 10; n < out.len; n++) { /* what is cut off is not given */
        r = reader_init(bytes_sub(buf_bytes(&out), 0, n));
        assert_true(resume_next_partial(&r, &got));
        assert_false(resume_next_partial(&r, &got));
    }
    buf_clear(&out);
    mem_check_empty(&mem);
}

static void test_counter_names_differ(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SESSION_COUNTERS; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(session_counter_descs[i].name, session_counter_descs[k].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_ids_go_stale),   cmocka_unit_test(test_slots_without_memory),
        cmocka_unit_test(test_block_cache),          cmocka_unit_test(test_resume_round_trip),
        cmocka_unit_test(test_resume_refusals),      cmocka_unit_test(test_resume_partials),
        cmocka_unit_test(test_counter_names_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
