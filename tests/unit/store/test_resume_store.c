#include "store/resume_store.h"
#include "test_util.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

struct world {
    char dir[TEST_PATH_CAP];
    struct resume_store *store;
    struct mem mem;
    struct buf out;
};

static void world_open(struct world *w)
{
    struct err err = {0};
    bool was_damaged = true;
    assert_int_equal(resume_store_open(&w->store, w->dir, &was_damaged, &err), ERR_OK);
    assert_false(was_damaged);
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof *w);
    test_temp_dir(w->dir);
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    buf_init(&w->out, &w->mem, RESUME_LEN_MAX);
    world_open(w);
    return w;
}

static void world_free(struct world *w)
{
    resume_store_close(w->store);
    buf_clear(&w->out);
    test_remove_dir(w->dir);
    free(w);
}

static void put(struct world *w, const char *key, const char *value, bool is_final)
{
    struct err err = {0};
    assert_int_equal(
        resume_store_put(w->store, bytes_of_str(key), bytes_of_str(value), is_final, &err), ERR_OK);
}

static void assert_value(struct world *w, const char *key, const char *value)
{
    struct err err = {0};
    buf_reset(&w->out);
    enum err_code code = resume_store_get(w->store, bytes_of_str(key), &w->out, &err);
    if (!value) {
        assert_int_equal(code, ERR_NOT_FOUND);
        return;
    }
    assert_int_equal(code, ERR_OK);
    test_assert_bytes(buf_bytes(&w->out), bytes_of_str(value));
}

static void keeps_what_it_was_given(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct err err;
    uint64_t n;
    assert_value(w, "k1", NULL);
    put(w, "k1", "first", false);
    put(w, "k2", "", true);
    put(w, "k1", "second", false);
    assert_value(w, "k1", "second");
    assert_value(w, "k2", "");
    assert_int_equal(resume_store_count(w->store, &n, &err), ERR_OK);
    assert_int_equal(n, 2);
    assert_int_equal(resume_store_delete(w->store, BYTES_LIT("k2"), &err), ERR_OK);
    assert_value(w, "k2", NULL);
    assert_int_equal(resume_store_set(w->store, "port", BYTES_LIT("6881"), &err), ERR_OK);
    resume_store_close(w->store);
    world_open(w);
    assert_value(w, "k1", "second");
    buf_reset(&w->out);
    assert_int_equal(resume_store_setting(w->store, "port", &w->out, &err), ERR_OK);
    test_assert_bytes(buf_bytes(&w->out), BYTES_LIT("6881"));
    assert_int_equal(resume_store_setting(w->store, "no", &w->out, &err), ERR_NOT_FOUND);
    world_free(w);
}

static void limits_are_kept(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct err err;
    uint8_t key[RESUME_KEY_LEN_MAX + 1] = {0};
    assert_int_equal(
        resume_store_put(w->store, bytes_of(key, sizeof key), BYTES_LIT("x"), false, &err),
        ERR_LIMIT);
    assert_int_equal(
        resume_store_put(w->store, bytes_of(key, sizeof key - 1), BYTES_LIT("x"), false, &err),
        ERR_OK);
    w->out.limit_len = 3;
    put(w, "k", "four", false);
    buf_reset(&w->out);
    assert_int_equal(resume_store_get(w->store, BYTES_LIT("k"), &w->out, &err), ERR_LIMIT);
    world_free(w);
}

/* A child writes numbered states and is killed at some moment: what it had been told is kept, and
 * nothing is torn. */
static void survives_kill_9(void **state)
{
    (void)state;
    struct world *w = world_new();
    resume_store_close(w->store);
    static uint8_t big[20000];
    for (unsigned round = 0; round < 10; round++) {
        int told[2];
        assert_int_equal(pipe(told), 0);
        pid_t pid = fork();
        if (pid == 0) {
            struct resume_store *rs;
            struct err err;
            if (resume_store_open(&rs, w->dir, NULL, &err))
                _exit(1);
            for (uint32_t i = 1;; i++) {
                memset(big, (int)(i & 0xff), sizeof big);
                if (resume_store_put(rs, BYTES_LIT("k"), bytes_of(big, sizeof big), i % 7 == 0,
                                     &err))
                    _exit(2);
                uint8_t said = i & 0xff;
                if (write(told[1], &said, 1) != 1)
                    _exit(3);
            }
        }
        close(told[1]);
        uint8_t last = 0, said;
        for (unsigned i = 0; i < 5 + round * 3; i++)
            assert_int_equal(read(told[0], &last, 1), 1);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        while (read(told[0], &said, 1) == 1)
            last = said;
        close(told[0]);
        world_open(w);
        struct err err;
        buf_reset(&w->out);
        assert_int_equal(resume_store_get(w->store, BYTES_LIT("k"), &w->out, &err), ERR_OK);
        struct bytes got = buf_bytes(&w->out);
        assert_int_equal(got.len, sizeof big);
        uint8_t next = (uint8_t)(last + 1);
        assert_true(got.data[0] == last || got.data[0] == next);
        for (size_t i = 0; i < got.len; i++)
            assert_int_equal(got.data[i], got.data[0]);
        resume_store_close(w->store);
        w->store = NULL;
    }
    world_free(w);
}

static void assert_renewed(struct world *w, bool want_damaged)
{
    struct err err = {0};
    bool was_damaged = false;
    enum err_code code = resume_store_open(&w->store, w->dir, &was_damaged, &err);
    if (code)
        fail_msg("%s: %llu", err.what, (unsigned long long)err.got);
    assert_int_equal(was_damaged, want_damaged);
}

static void damage_is_moved_aside(void **state)
{
    (void)state;
    struct world *w = world_new();
    char path[TEST_PATH_CAP];
    put(w, "k", "v", true);
    resume_store_close(w->store);
    test_write_file(test_join(path, w->dir, "resume.db"),
                    BYTES_LIT("this is no database at all, whatever its name may say; more bytes "
                              "follow so that it has the length of a header at least........"));
    assert_renewed(w, true);
    assert_value(w, "k", NULL);
    assert_int_equal(access(test_join(path, w->dir, "resume.db.damaged-1"), F_OK), 0);
    for (int i = 0; i < 300; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        put(w, key, "a value that fills the tree until it has several pages ...............", true);
    }
    resume_store_close(w->store);
    struct span file = test_read_file(test_join(path, w->dir, "resume.db"));
    assert_true(file.len > 3 * 4096);
    memset(file.data + 4096, 0xa5, file.len - 4096); /* header whole, pages not */
    test_write_file(path, bytes_of(file.data, file.len));
    free(file.data);
    assert_renewed(w, true);
    assert_int_equal(access(test_join(path, w->dir, "resume.db.damaged-2"), F_OK), 0);
    put(w, "k", "new", true);
    resume_store_close(w->store);
    assert_renewed(w, false);
    assert_value(w, "k", "new");
    world_free(w);
}

static void two_owners_take_turns(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct resume_store *other;
    struct err err;
    assert_int_equal(resume_store_open(&other, w->dir, NULL, &err), ERR_OK);
    for (int i = 0; i < 20; i++) {
        put(w, "mine", "1", i % 3 == 0);
        assert_int_equal(
            resume_store_put(other, BYTES_LIT("theirs"), BYTES_LIT("2"), i % 2 == 0, &err), ERR_OK);
    }
    assert_value(w, "theirs", "2");
    resume_store_close(other);
    world_free(w);
}

static void *writer(void *arg)
{
    struct resume_store *rs = arg;
    struct err err;
    for (int i = 0; i < 50; i++)
        if (resume_store_put(rs, BYTES_LIT("k"), BYTES_LIT("v"), i % 10 == 0, &err))
            abort();
    return NULL;
}

static void threads_share_a_store(void **state)
{
    (void)state;
    struct world *w = world_new();
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, writer, w->store), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_value(w, "k", "v");
    world_free(w);
}

static void default_folder_follows_the_environment(void **state)
{
    (void)state;
    char out[100];
    struct err err;
    setenv("XDG_STATE_HOME", "/x/state", 1);
    assert_int_equal(resume_store_default_dir(out, sizeof out, &err), ERR_OK);
    assert_string_equal(out, "/x/state/shoal");
    setenv("XDG_STATE_HOME", "relative", 1); /* to be ignored, says the specification */
    setenv("HOME", "/home/u", 1);
    assert_int_equal(resume_store_default_dir(out, sizeof out, &err), ERR_OK);
    assert_string_equal(out, "/home/u/.local/state/shoal");
    assert_int_equal(resume_store_default_dir(out, 10, &err), ERR_LIMIT);
    unsetenv("HOME");
    unsetenv("XDG_STATE_HOME");
    assert_int_equal(resume_store_default_dir(out, sizeof out, &err), ERR_NOT_FOUND);
}

static void a_folder_that_cannot_be(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct resume_store *rs;
    struct err err;
    char path[TEST_PATH_CAP], below[TEST_PATH_CAP];
    test_write_file(test_join(path, w->dir, "plain"), BYTES_LIT("x"));
    assert_int_equal(resume_store_open(&rs, test_join(below, path, "dir"), NULL, &err), ERR_IO);
    assert_null(rs);
    assert_int_equal(resume_store_open(&rs, test_join(below, w->dir, "a/b/c"), NULL, &err), ERR_OK);
    resume_store_close(rs);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_it_was_given),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(survives_kill_9),
        cmocka_unit_test(damage_is_moved_aside),
        cmocka_unit_test(two_owners_take_turns),
        cmocka_unit_test(threads_share_a_store),
        cmocka_unit_test(default_folder_follows_the_environment),
        cmocka_unit_test(a_folder_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
