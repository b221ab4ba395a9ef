/* The coins of whole chains, without any rule checked: applied through a small cache to RocksDB, they
 * have the count, the amount and the hashes that Bitcoin Core found; so has the snapshot of them.
 */
#include "chain/block.h"
#include "chain/coins_cache.h"
#include "chain/coins_hash.h"
#include "chain/coins_mem.h"
#include "chain/script.h"
#include "chain/snapshot.h"
#include "store/coins_rocksdb.h"
#include "test_util.h"
#include <jansson.h>

static const uint8_t regtest_magic[4] = {0xfa, 0xbf, 0xb5, 0xda};

struct chain {
    struct mem mem;
    uint8_t *file;
    size_t len;
    json_t *facts;
    struct map blocks; /* hash -> place in the file */
};

struct place {
    size_t off, len;
};

static uint8_t *unpack(const char *path, size_t len)
{
    char command[TEST_PATH_CAP + 32];
    uint8_t *out = malloc(len);
    assert_non_null(out);
    snprintf(command, sizeof command, "zstd -dcq '%s'", path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, len, f);
    if (pclose(f) != 0 || n != len) {
        free(out);
        return NULL;
    }
    return out;
}

static void index_blocks(struct chain *c)
{
    struct reader r = reader_init(bytes_of(c->file, c->len));
    while (reader_left(&r)) {
        reader_skip(&r, 4);
        uint32_t len = reader_u32le(&r);
        struct place at = {r.pos, len};
        struct bytes raw = reader_take(&r, len);
        struct hash256 hash;
        assert_true(reader_ok(&r));
        block_header_hash_many(raw.data, 1, &hash);
        struct place *p = map_put(&c->blocks, &hash, NULL);
        assert_non_null(p);
        *p = at;
    }
}

static bool chain_open(struct chain *c, const char *name)
{
    char path[TEST_PATH_CAP], packed[TEST_PATH_CAP], file[256];
    snprintf(file, sizeof file, "../shared/chains/%s.dat.json", name);
    *c = (struct chain){0};
    c->facts = json_load_file(test_source_path(path, file), 0, NULL);
    if (!c->facts)
        return false;
    snprintf(file, sizeof file, "../shared/chains/%s.dat.zst", name);
    c->len = (size_t)json_integer_value(json_object_get(c->facts, "bytes"));
    c->file = unpack(test_source_path(packed, file), c->len);
    if (!c->file) {
        json_decref(c->facts);
        return false;
    }
    mem_init(&c->mem, MEM_NO_BUDGET, NULL);
    map_init(&c->blocks, &c->mem, (struct map_seed){1, 2}, sizeof(struct hash256),
             sizeof(struct place), SIZE_MAX);
    index_blocks(c);
    return true;
}

static void chain_close(struct chain *c)
{
    map_clear(&c->blocks);
    mem_check_empty(&c->mem);
    json_decref(c->facts);
    free(c->file);
}

static struct hash256 fact_hash(const struct chain *c, const char *name)
{
    struct hash256 reversed, out;
    test_hex(json_string_value(json_object_get(c->facts, name)), reversed.b, sizeof reversed.b);
    for (size_t i = 0; i < sizeof out.b; i++)
        out.b[i] = reversed.b[sizeof out.b - 1 - i];
    return out;
}

/* Places of the best chain's blocks, from height 1 on. */
static struct place *best_chain(const struct chain *c, uint32_t height)
{
    struct place *out = calloc(height + 1, sizeof *out);
    struct hash256 hash = fact_hash(c, "tip");
    assert_non_null(out);
    for (uint32_t h = height; h > 0; h--) {
        const struct place *p = map_get(&c->blocks, &hash);
        assert_non_null(p);
        out[h] = *p;
        memcpy(hash.b, c->file + p->off + 4, sizeof hash.b);
    }
    return out;
}

struct applying {
    struct coins_cache *cache;
    struct arena arena;
    struct coins_hash *going; /* muhash, coin by coin */
    uint32_t height;
};

static void apply_tx(struct applying *p, const struct tx *t)
{
    struct err err = {0};
    for (uint32_t i = 0; i < t->n_in && !tx_is_coinbase(t); i++) {
        struct coin coin;
        bool is_found;
        assert_int_equal(
            coins_cache_spend(p->cache, &t->in[i].prev, &coin, &p->arena, &is_found, &err), ERR_OK);
        assert_true(is_found);
        coins_hash_remove(p->going, &t->in[i].prev, &coin);
    }
    for (uint32_t i = 0; i < t->n_out; i++) {
        struct outpoint at = {t->txid, i};
        struct coin coin = {t->out[i].value_sat, t->out[i].script, p->height, tx_is_coinbase(t)};
        if (script_is_unspendable(coin.script))
            continue;
        assert_int_equal(coins_cache_add(p->cache, &at, &coin, false, &err), ERR_OK);
        coins_hash_add(p->going, &at, &coin);
    }
}

static void apply_block(struct applying *p, struct bytes raw)
{
    struct block b;
    struct err err = {0};
    arena_reset(&p->arena);
    assert_int_equal(block_read(raw, &p->arena, &b, &err), ERR_OK);
    for (uint32_t i = 0; i < b.n_txs; i++)
        apply_tx(p, &b.txs[i]);
    if (coins_cache_is_full(p->cache) || p->height % 97 == 0) {
        struct coins_tip tip = {.block = b.hash, .height = p->height};
        assert_int_equal(coins_cache_write(p->cache, &tip, p->height % 2, &err), ERR_OK);
    }
}

/* --- the snapshot in memory -------------------------------------------------------------------- */

struct copy {
    struct buf file;
    size_t read_at;
};

static enum err_code put_copy(void *ctx, struct bytes b, struct err *err)
{
    struct copy *c = ctx;
    buf_put(&c->file, b);
    return c->file.err ? err_set(err, c->file.err, "no memory for the test's file") : ERR_OK;
}

static enum err_code read_copy(void *ctx, uint8_t *out, size_t cap, size_t *out_len,
                               struct err *err)
{
    struct copy *c = ctx;
    size_t len = c->file.len - c->read_at;
    *out_len = len < cap ? len : cap;
    memcpy(out, c->file.data + c->read_at, *out_len);
    c->read_at += *out_len;
    (void)err;
    return ERR_OK;
}

static void assert_totals(const struct chain *c, const struct coins_totals *t)
{
    struct hash256 serialized = fact_hash(c, "utxo_hash_serialized_3");
    struct hash256 muhash = fact_hash(c, "utxo_muhash");
    assert_int_equal(t->n_coins, json_integer_value(json_object_get(c->facts, "utxo_count")));
    assert_int_equal(t->amount_sat,
                     json_integer_value(json_object_get(c->facts, "utxo_amount_sat")));
    assert_true(hash256_equal(&t->serialized, &serialized));
    assert_true(hash256_equal(&t->muhash, &muhash));
}

static void assert_snapshot(const struct chain *c, const struct coins_store *s, struct mem *mem,
                            uint64_t n_coins)
{
    static struct snapshot_reader reader;
    struct copy copy = {0};
    struct coins_mem to;
    struct coins_tip tip = {.height = 1};
    struct coins_totals totals;
    struct err err = {0};
    struct snapshot_head head = {.block = fact_hash(c, "tip"), .n_coins = n_coins};
    memcpy(head.magic, regtest_magic, sizeof head.magic);
    buf_init(&copy.file, mem, SIZE_MAX);
    coins_mem_init(&to, mem, (struct map_seed){1, 2});
    struct coins_store loaded = coins_mem_store(&to);
    assert_int_equal(snapshot_write(s, &head, mem, put_copy, &copy, &err), ERR_OK);
    struct snapshot_source source = {&copy, read_copy};
    assert_int_equal(snapshot_reader_init(&reader, mem, source, regtest_magic, UINT32_MAX, &err),
                     ERR_OK);
    assert_int_equal(snapshot_load(&reader, &loaded, &tip, &err), ERR_OK);
    assert_int_equal(
        coins_hash_store(&loaded, COINS_HASH_SERIALIZED | COINS_HASH_MUHASH, mem, &totals, &err),
        ERR_OK);
    assert_totals(c, &totals);
    snapshot_reader_clear(&reader);
    coins_mem_clear(&to);
    buf_clear(&copy.file);
}

static void run_chain(const char *name, size_t cap_len)
{
    static struct coins_hash going;
    struct chain c;
    struct mem mem;
    char dir[TEST_PATH_CAP];
    struct coins_rocksdb *db;
    struct coins_totals totals, kept;
    struct err err = {0};
    if (!chain_open(&c, name))
        skip();
    test_temp_dir(dir);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    struct coins_rocksdb_config config = {.path = dir};
    assert_int_equal(coins_rocksdb_open(&db, &mem, &config, &err), ERR_OK);
    struct coins_store store = coins_rocksdb_store(db);
    struct applying p = {.going = &going};
    coins_hash_init(&going, COINS_HASH_MUHASH);
    arena_init(&p.arena, &mem, SIZE_MAX);
    assert_int_equal(coins_cache_new(&p.cache, &mem, (struct map_seed){3, 4}, &store, cap_len),
                     ERR_OK);
    uint32_t height = (uint32_t)json_integer_value(json_object_get(c.facts, "height"));
    struct place *best = best_chain(&c, height);
    for (p.height = 1; p.height <= height; p.height++)
        apply_block(&p, bytes_of(c.file + best[p.height].off, best[p.height].len));
    struct coins_tip tip = {.block = fact_hash(&c, "tip"), .height = height};
    coins_cache_check(p.cache);
    assert_int_equal(coins_cache_write(p.cache, &tip, false, &err), ERR_OK);
    assert_int_equal(
        coins_hash_store(&store, COINS_HASH_SERIALIZED | COINS_HASH_MUHASH, &mem, &totals, &err),
        ERR_OK);
    assert_totals(&c, &totals);
    assert_int_equal(coins_hash_final(&going, &kept), ERR_OK);
    assert_true(hash256_equal(&kept.muhash, &totals.muhash) && kept.n_coins == totals.n_coins &&
                kept.bogosize == totals.bogosize);
    assert_snapshot(&c, &store, &mem, totals.n_coins);
    free(best);
    coins_cache_free(p.cache);
    arena_clear(&p.arena);
    coins_rocksdb_close(db);
    mem_check_empty(&mem);
    test_remove_dir(dir);
    chain_close(&c);
}

static void test_small(void **state)
{
    (void)state;
    run_chain("regtest-small-1", 1 << 20);
}

static void test_mixed(void **state)
{
    (void)state;
    if (test_is_slow())
        skip();
    run_chain("regtest-mixed-1", 4 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_mixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
