#include "cli/bitcoin.h"
#include "base/hex.h"
#include "chain/reorg_odds.h"
#include "crypto/random.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COINS_CACHE_LEN   (450u << 20) /* as Bitcoin Core's -dbcache once was */
#define COINS_CACHE_MIN   (64u << 10)  /* ours: for tests; what a block touches fits always */
#define PRUNE_LEN_MIN     (550u << 20) /* as Bitcoin Core */
#define CHALLENGE_LEN_MAX 10000u       /* consensus: no script is longer */
#define FILES_LEN_REGTEST (16u << 20)  /* ours: small chains can be pruned as well */

/* --- options --------------------------------------------------------------------------------- */

void bitcoin_options_init(struct bitcoin_options *b, const char *command)
{
    *b = (struct bitcoin_options){
        .command = command, .network = "main", .coins_cache_len = COINS_CACHE_LEN};
}

static bool read_size_from(struct ui_options *o, uint64_t min, uint64_t *out)
{
    char text[UI_NUMBER_CAP];
    if (!ui_read_size(o, out))
        return false;
    if (*out >= min)
        return true;
    ui_usage(o->command, "%s: '%s' is less than %s", o->command, o->value, ui_size(min, text));
    return false;
}

static bool read_height(struct bitcoin_options *b, struct ui_options *o)
{
    if (b->n_heights < BITCOIN_N_HEIGHTS_MAX) {
        b->heights[b->n_heights++] = o->value;
        return true;
    }
    ui_usage(o->command, "%s: --test-activation-height at most %u times", o->command,
             BITCOIN_N_HEIGHTS_MAX);
    return false;
}

bool bitcoin_options_read(struct bitcoin_options *b, struct ui_options *o, int which)
{
    uint64_t n = 0;
    switch (which) {
    case BITCOIN_OPT_NETWORK:
        b->network = o->value;
        return true;
    case BITCOIN_OPT_DATADIR:
        b->datadir = o->value;
        return true;
    case BITCOIN_OPT_CHALLENGE:
        b->signet_challenge = o->value;
        return true;
    case BITCOIN_OPT_HEIGHT:
        return read_height(b, o);
    case BITCOIN_OPT_COINS_CACHE:
        return read_size_from(o, COINS_CACHE_MIN, &b->coins_cache_len);
    case BITCOIN_OPT_ASSUMEVALID:
        b->assume_valid = o->value;
        return true;
    case BITCOIN_OPT_PRUNE:
        return read_size_from(o, PRUNE_LEN_MIN, &b->prune_len);
    case BITCOIN_OPT_THREADS:
        if (!ui_read_u64(o, 1, CHAIN_POOL_THREADS_MAX, &n))
            return false;
        b->n_threads = (unsigned)n;
        return true;
    default:
        b->is_json = true;
        return true;
    }
}

char **bitcoin_options_plain(struct bitcoin_options *b, const char *synopsis, const char *summary,
                             int argc, char **argv, int *out_n, int *out_code)
{
    static const struct ui_option options[] = {BITCOIN_OPTIONS, {0}};
    struct ui_options o;
    int which;
    bitcoin_options_init(b, argv[0]);
    ui_options_init(&o, synopsis, summary, options, argc, argv);
    *out_code = EXIT_USAGE;
    while ((which = ui_options_next(&o)) != UI_OPTION_END)
        if (which == UI_OPTION_BAD || !bitcoin_options_read(b, &o, which))
            return NULL;
    return ui_options_rest(&o, out_n);
}

/* --- parameters ------------------------------------------------------------------------------ */

static bool set_challenge(struct bitcoin *b, const char *hex)
{
    size_t len = strlen(hex) / 2;
    if (!b->params.is_signet)
        return ui_usage(b->options->command, "--signet-challenge is for --network signet"), false;
    b->challenge = malloc(len + 1);
    if (!b->challenge || len == 0 || len > CHALLENGE_LEN_MAX ||
        hex_decode(bytes_of_str(hex), b->challenge, len))
        return ui_usage(b->options->command, "--signet-challenge is a script in hex digits"), false;
    chain_params_set_challenge(&b->params, bytes_of(b->challenge, len));
    return true;
}

static bool set_params(struct bitcoin *b)
{
    const struct bitcoin_options *o = b->options;
    const struct chain_params *p = chain_params_find(o->network);
    if (!p)
        return ui_usage(o->command, "'%s' is no network: main, testnet4, signet or regtest",
                        o->network),
               false;
    b->params = *p;
    if (o->signet_challenge && !set_challenge(b, o->signet_challenge))
        return false;
    for (unsigned i = 0; i < o->n_heights; i++)
        if (strcmp(p->name, "regtest") != 0 || !chain_params_set_height(&b->params, o->heights[i]))
            return ui_usage(o->command,
                            "--test-activation-height is for regtest, bip34, cltv, dersig, csv or "
                            "segwit and a height, as in segwit@100"),
                   false;
    return true;
}

/* --- the folder ------------------------------------------------------------------------------ */

static bool default_datadir(char *out, size_t out_cap)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n = data && *data   ? snprintf(out, out_cap, "%s/shoal", data)
            : home && *home ? snprintf(out, out_cap, "%s/.local/share/shoal", home)
                            : -1;
    return n > 0 && (size_t)n < out_cap;
}

/* A signet of one's own has a folder of its own, named after its magic. */
static bool find_dir(struct bitcoin *b)
{
    char top[PATH_MAX - 64], own[16] = "";
    const struct bitcoin_options *o = b->options;
    int n = o->datadir ? snprintf(top, sizeof top, "%s", o->datadir) : 0;
    if (n >= (int)sizeof top || (n <= 0 && !default_datadir(top, sizeof top)))
        return ui_fail("no folder for the chain: give --datadir"), false;
    if (b->challenge)
        snprintf(own, sizeof own, "_%02x%02x%02x%02x", b->params.magic[0], b->params.magic[1],
                 b->params.magic[2], b->params.magic[3]);
    snprintf(b->dir, sizeof b->dir, "%s/%s%s", top, b->params.name, own);
    return true;
}

static bool take_lock(struct bitcoin *b)
{
    struct disk disk;
    struct err err = {0};
    if (disk_open(&disk, b->dir, NULL, &err))
        return ui_fail_err(b->dir, &err), false;
    b->lock_fd = openat(disk.dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int err_no = errno;
    disk_close(&disk);
    if (b->lock_fd < 0)
        return ui_fail("%s/lock: %s", b->dir, strerror(err_no)), false;
    if (flock(b->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    close(b->lock_fd);
    b->lock_fd = -1;
    return ui_fail("%s: in use by another shoal", b->dir), false;
}

bool bitcoin_prepare(struct bitcoin *b, const struct bitcoin_options *o, int *out_code)
{
    *b = (struct bitcoin){.options = o, .lock_fd = -1};
    mem_init(&b->mem, MEM_NO_BUDGET, NULL);
    *out_code = EXIT_USAGE;
    if (set_params(b)) {
        *out_code = EXIT_FAIL;
        if (find_dir(b) && take_lock(b)) {
            *out_code = EXIT_OK;
            return true;
        }
    }
    free(b->challenge);
    return false;
}

void bitcoin_files_config(const struct bitcoin *b, struct chain_files_config *out)
{
    *out = (struct chain_files_config){.dir = b->dir, .use_xor = true};
    if (strcmp(b->params.name, "regtest") == 0)
        out->file_len_max = FILES_LEN_REGTEST;
    memcpy(out->magic, b->params.magic, sizeof out->magic);
}

/* --- the chain ------------------------------------------------------------------------------- */

bool bitcoin_path(const char *dir, const char *name, char out[PATH_MAX])
{
    int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return (n > 0 && n < PATH_MAX) || (ui_fail("%s: the path is too long", dir), false);
}

static bool coins_path(const struct bitcoin *b, char out[PATH_MAX])
{
    return bitcoin_path(b->dir, "coins", out);
}

static void suggest_reindex(enum err_code code)
{
    if (code == ERR_MALFORMED)
        ui_fail("'shoal bitcoin reindex' builds index and coins anew from the block files");
}

static bool open_coins(struct bitcoin *b)
{
    char path[PATH_MAX];
    struct err err = {0};
    struct coins_rocksdb_config coins = {.path = path};
    if (!coins_path(b, path))
        return false;
    if (coins_rocksdb_open(&b->coins_db, &b->mem, &coins, &err))
        return ui_fail_err(path, &err), false;
    b->coins = coins_rocksdb_store(b->coins_db);
    return true;
}

static bool open_stores(struct bitcoin *b)
{
    struct err err = {0};
    struct chain_files_config files;
    bitcoin_files_config(b, &files);
    enum err_code code = chain_files_open(&b->files, &files, &err);
    if (code) {
        ui_fail_err(b->dir, &err);
        suggest_reindex(code);
        return false;
    }
    chain_files_store(b->files, &b->store);
    if (!open_coins(b))
        return false;
    if (chain_pool_new(&b->pool, b->options->n_threads, &err))
        return ui_fail_err("threads", &err), false;
    return true;
}

static bool set_assume_valid(const struct bitcoin_options *o, struct chainstate_config *c)
{
    if (!o->assume_valid)
        return true;
    c->has_assume_valid = true;
    if (strcmp(o->assume_valid, "0") == 0 ||
        hash256_of_hex_reversed(o->assume_valid, &c->assume_valid))
        return true;
    return ui_usage(o->command, "--assumevalid is a block hash, or 0"), false;
}

bool bitcoin_open(struct bitcoin *b, void (*on_event)(void *ctx, const struct chain_event *e),
                  void *ctx)
{
    struct err err = {0};
    struct chain_files_stats stats;
    struct chainstate_config c = {.params = &b->params,
                                  .mem = &b->mem,
                                  .rng_seed = random_u64(),
                                  .blocks = &b->store,
                                  .coins_cap_len = (size_t)b->options->coins_cache_len,
                                  .prune_target_len = b->options->prune_len,
                                  .on_event = on_event,
                                  .on_event_ctx = ctx};
    if (!snapshot_note_read(b->dir, &b->snapshot) || !bitcoin_can_open(b))
        return false;
    if (b->snapshot.state == SNAPSHOT_LOADED || b->snapshot.state == SNAPSHOT_WRONG) {
        c.has_snapshot = true;
        c.snapshot_block = b->snapshot.base;
        c.snapshot_n_chain_txs = b->snapshot.n_chain_txs;
        c.coins_cap_len /= 2; /* the other half is for the past's */
    }
    if (!set_assume_valid(b->options, &c) || !open_stores(b))
        return false;
    c.coins = &b->coins;
    c.runner = chain_pool_runner(b->pool);
    enum err_code code = chainstate_open(&b->chain, &c, &err);
    if (code) {
        ui_fail_err(b->dir, &err);
        suggest_reindex(code);
        return false;
    }
    chainstate_advise(b->chain, huge_pages_advise);
    chain_files_stats(b->files, &stats);
    if (stats.n_data_lost && !b->options->prune_len && stats.first_file == 0)
        ui_fail("%s: the data of %llu blocks is no longer there", b->dir,
                (unsigned long long)stats.n_data_lost);
    return true;
}

bool bitcoin_start(struct bitcoin *b, const struct bitcoin_options *o, int *out_code)
{
    if (!bitcoin_prepare(b, o, out_code))
        return false;
    if (bitcoin_open(b, NULL, NULL))
        return true;
    *out_code = bitcoin_close(b, EXIT_FAIL);
    return false;
}

int bitcoin_close(struct bitcoin *b, int code)
{
    struct err err = {0};
    ui_progress_end();
    if (b->chain && chainstate_close(b->chain, &err))
        code = ui_fail_err(b->dir, &err);
    b->chain = NULL;
    chain_pool_free(b->pool);
    coins_rocksdb_close(b->coins_db);
    chain_files_close(b->files);
    if (b->lock_fd >= 0)
        close(b->lock_fd);
    free(b->challenge);
    if (fflush(stdout) != 0)
        code = ui_fail("standard output: cannot write");
    return code;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *where)
{
    (void)st;
    (void)flag;
    (void)where;
    return remove(path);
}

bool bitcoin_remove_dir(const char *path)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
        return true;
    return ui_fail("%s: %s", path, strerror(errno)), false;
}

bool bitcoin_remove_coins(struct bitcoin *b)
{
    char path[PATH_MAX];
    return coins_path(b, path) && bitcoin_remove_dir(path);
}

bool bitcoin_drop_coins(struct bitcoin *b)
{
    struct err err = {0};
    if (chainstate_close(b->chain, &err))
        ui_fail_err(b->dir, &err);
    b->chain = NULL;
    coins_rocksdb_close(b->coins_db);
    b->coins_db = NULL;
    return !err.code && bitcoin_remove_coins(b) && open_coins(b);
}

uint64_t bitcoin_coins_len(const struct bitcoin *b)
{
    char path[PATH_MAX];
    uint64_t len = 0;
    DIR *dir = coins_path(b, path) ? opendir(path) : NULL;
    struct stat st;
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            len += (uint64_t)st.st_size;
    if (dir)
        closedir(dir);
    return len;
}

/* --- going on -------------------------------------------------------------------------------- */

volatile sig_atomic_t bitcoin_is_interrupted;

static void on_signal(int number)
{
    if (bitcoin_is_interrupted)
        _exit(128 + number);
    bitcoin_is_interrupted = 1;
}

void bitcoin_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int64_t bitcoin_now_s(void)
{
    return (int64_t)time(NULL);
}

int bitcoin_advance(struct bitcoin *b)
{
    struct err err = {0};
    char date[UI_NUMBER_CAP];
    bool is_done = false;
    while (!is_done && !bitcoin_is_interrupted) {
        const struct header_chain *h = chainstate_headers(b->chain);
        if (chainstate_advance(b->chain, 64, &is_done, &err))
            return ui_fail_err(b->dir, &err);
        uint32_t tip = chainstate_tip(b->chain);
        ui_progress("connecting blocks: height %u of %u, %s", header_height(h, tip),
                    header_height(h, header_chain_best(h)), ui_date(header_time(h, tip), date));
    }
    ui_progress_end();
    return is_done ? EXIT_OK : EXIT_INCOMPLETE;
}

/* --- for people ------------------------------------------------------------------------------ */

/* How much harder than the easiest of mainnet, as Bitcoin Core counts. */
double bitcoin_difficulty(uint32_t bits)
{
    struct u256 target = u256_of_compact(bits, NULL, NULL), easiest;
    easiest = u256_of_compact(0x1d00ffffu, NULL, NULL);
    double t = u256_double(&target);
    return t > 0 ? u256_double(&easiest) / t : 0;
}

static bool is_height(const char *name, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(name, &end, 10);
    return !errno && *name >= '0' && *name <= '9' && !*end && strlen(name) < 11;
}

uint32_t bitcoin_find_block(struct bitcoin *b, const char *name)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    uint32_t tip = chainstate_tip(b->chain);
    struct hash256 hash;
    uint64_t height;
    if (is_height(name, &height)) {
        if (height <= header_height(h, tip))
            return header_ancestor(h, tip, (uint32_t)height);
        ui_fail("the chain has no block %s yet: its height is %u", name, header_height(h, tip));
        return HEADER_NONE;
    }
    if (!hash256_of_hex_reversed(name, &hash)) {
        ui_fail("'%s' is neither a block hash nor a height", name);
        return HEADER_NONE;
    }
    uint32_t node = header_chain_find(h, &hash);
    if (node == HEADER_NONE)
        ui_fail("block %s is not known", name);
    return node;
}

int64_t bitcoin_confirmations(const struct bitcoin *b, uint32_t node)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    uint32_t tip = chainstate_tip(b->chain);
    if (!header_is_ancestor(h, node, tip))
        return -1;
    return (int64_t)header_height(h, tip) - header_height(h, node) + 1;
}

double bitcoin_progress(const struct bitcoin *b, uint32_t node)
{
    const struct header_chain *h = chainstate_headers(b->chain);
    double all = header_height(h, header_chain_best(h));
    return all > 0 ? header_height(h, node) / all : 1;
}

char *bitcoin_btc(int64_t sats, char out[BTC_CAP])
{
    uint64_t v = sats < 0 ? (uint64_t)-sats : (uint64_t)sats;
    snprintf(out, BTC_CAP, "%s%llu.%08llu", sats < 0 ? "-" : "",
             (unsigned long long)(v / (uint64_t)COIN_SATS),
             (unsigned long long)(v % (uint64_t)COIN_SATS));
    return out;
}

char *bitcoin_odds(int64_t confirmations, char out[ODDS_CAP])
{
    uint32_t depth = confirmations > UINT32_MAX ? UINT32_MAX : (uint32_t)confirmations;
    out[0] = '\0';
    if (confirmations > 0)
        snprintf(out, ODDS_CAP,
                 "replaced with probability %.2g by 10 %% of the work, %.2g by 30 %%",
                 reorg_odds_exact(depth, 0.1), reorg_odds_exact(depth, 0.3));
    return out;
}

void bitcoin_report_reject(const struct bitcoin *b, const struct hash256 *hash, uint32_t height,
                           const struct reject *r)
{
    char hex[HASH_HEX_CAP], text[512], where[32] = "";
    hash256_hex_reversed(hash, hex);
    reject_format(r, text, sizeof text);
    if (b->options->is_json) {
        json_t *o = json_pack("{s:s, s:s, s:s?, s:s?}", "event", "invalid", "hash", hex,
                              "reject-reason", r->reason, "detail", r->detail);
        json_object_set_new(o, "height",
                            height == UINT32_MAX ? json_null() : bitcoin_json_u64(height));
        if (r->tx_index != REJECT_NO_INDEX)
            json_object_set_new(o, "tx", bitcoin_json_u64(r->tx_index));
        if (r->in_index != REJECT_NO_INDEX)
            json_object_set_new(o, "vin", bitcoin_json_u64(r->in_index));
        bitcoin_print_json(o, true);
        return;
    }
    if (height != UINT32_MAX)
        snprintf(where, sizeof where, " at height %u", height);
    ui_fail("block %s%s is invalid: %s", hex, where, text);
}

/* --- JSON ------------------------------------------------------------------------------------ */

/* 16 digits show every amount and what Bitcoin Core shows of a difficulty. */
int bitcoin_print_json(json_t *o, bool is_line)
{
    json_dumpf(o, stdout, (is_line ? JSON_COMPACT : JSON_INDENT(2)) | JSON_REAL_PRECISION(16));
    putchar('\n');
    json_decref(o);
    if (is_line)
        fflush(stdout);
    return EXIT_OK;
}
