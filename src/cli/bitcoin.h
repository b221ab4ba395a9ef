/* bitcoin: what the subcommands of `shoal bitcoin` share: options, the folder with its lock, the
 * chainstate with everything under it, and hashes, dates and odds for people.
 *
 *   DATADIR/NETWORK/   lock, blocks/, index/ (chain_files), coins/ (RocksDB); snapshot.json and
 *                      coins-background/ (bitcoin_snapshot.h)
 *
 * Ownership  a struct bitcoin owns what it opened; bitcoin_close gives everything back
 * Threads    the main thread; the pool's threads stay inside the chainstate
 * Errors     everything that fails is reported on stderr by who finds it; functions that return int
 *            give an exit code
 */
#pragma once
#include "chain/chainstate.h"
#include "chain/hash256.h"
#include "cli/bitcoin_json.h"
#include "cli/bitcoin_snapshot.h"
#include "cli/cli.h"
#include "cli/ui.h"
#include "io/chain_pool.h"
#include "io/huge_pages.h"
#include "store/chain_files.h"
#include "store/coins_rocksdb.h"
#include <jansson.h>
#include <limits.h>
#include <signal.h>

/* --- options --------------------------------------------------------------------------------- */

#define BITCOIN_N_HEIGHTS_MAX 8u /* of --test-activation-height */

/* What a command does with the chain: not all can be done while a snapshot's coins are in doubt. */
enum bitcoin_use {
    BITCOIN_GOES_ON,
    BITCOIN_LOOKS, /* at blocks: needs no coins */
    BITCOIN_LOADS, /* a snapshot: replaces them */
};

struct bitcoin_options {
    const char *command; /* "bitcoin import" */
    enum bitcoin_use use;
    const char *network, *datadir, *signet_challenge, *assume_valid;
    const char *heights[BITCOIN_N_HEIGHTS_MAX];
    unsigned n_heights, n_threads;
    uint64_t coins_cache_len, prune_len;
    bool is_json;
};

/* The first rows of every subcommand's table; its own follow. */
#define BITCOIN_OPTIONS                                                                            \
    {"network", 'n', "NAME", "main (default), testnet4, signet or regtest"},                       \
        {"datadir", 'd', "DIR", "where blocks and coins are (default ~/.local/share/shoal)"},      \
        {"signet-challenge", 0, "HEX", "of a signet of one's own"},                                \
        {"test-activation-height", 0, "NAME@H",                                                    \
         "regtest: bip34, cltv, dersig, csv or segwit from H on"},                                 \
        {"coins-cache", 0, "SIZE", "memory for coins (default 450M)"},                             \
        {"assumevalid", 0, "HASH", "take the scripts up to this block for valid; 0: check all"},   \
        {"prune", 0, "SIZE", "keep at most this much of old blocks (550M or more)"},               \
        {"threads", 0, "N", "for scripts and parsing (default: one per core)"},                    \
    {                                                                                              \
        "json", 'j', NULL, "JSON, with the field names of Bitcoin Core's RPC"                      \
    }

enum {
    BITCOIN_OPT_NETWORK,
    BITCOIN_OPT_DATADIR,
    BITCOIN_OPT_CHALLENGE,
    BITCOIN_OPT_HEIGHT,
    BITCOIN_OPT_COINS_CACHE,
    BITCOIN_OPT_ASSUMEVALID,
    BITCOIN_OPT_PRUNE,
    BITCOIN_OPT_THREADS,
    BITCOIN_OPT_JSON,
    BITCOIN_OPT_OWN /* the first of a subcommand's own */
};

void bitcoin_options_init(struct bitcoin_options *b, const char *command);
/* One of the rows above; false: reported, EXIT_USAGE. */
bool bitcoin_options_read(struct bitcoin_options *b, struct ui_options *o, int which);
/* Commands without options of their own: all of them; NULL: exit with *out_code. */
char **bitcoin_options_plain(struct bitcoin_options *b, const char *synopsis, const char *summary,
                             int argc, char **argv, int *out_n, int *out_code);

/* --- the chain ------------------------------------------------------------------------------- */

struct bitcoin {
    const struct bitcoin_options *options;
    struct chain_params params;
    uint8_t *challenge; /* of a signet of one's own */
    char dir[PATH_MAX];
    int lock_fd;
    struct snapshot_note snapshot;
    struct mem mem;
    struct chain_files *files;
    struct chain_store store;
    struct coins_rocksdb *coins_db;
    struct coins_store coins;
    struct chain_pool *pool;
    struct chainstate *chain; /* NULL: not open */
};

/* Folder, lock and parameters; not the chain. False: reported, EXIT_FAIL or EXIT_USAGE in
 * *out_code; nothing to close. */
bool bitcoin_prepare(struct bitcoin *b, const struct bitcoin_options *o, int *out_code);
/* The chain on top. on_event may be NULL. False: reported; bitcoin_close is still called. */
bool bitcoin_open(struct bitcoin *b, void (*on_event)(void *ctx, const struct chain_event *e),
                  void *ctx);
/* Writes coins and index. code, or EXIT_FAIL when something could not be written. */
int bitcoin_close(struct bitcoin *b, int code);
/* Both of the above. */
bool bitcoin_start(struct bitcoin *b, const struct bitcoin_options *o, int *out_code);
void bitcoin_files_config(const struct bitcoin *b, struct chain_files_config *out);
/* Throws the coins away; the chain is not open. */
bool bitcoin_remove_coins(struct bitcoin *b);
/* Closes the chain, throws its coins away and opens an empty store in their place. */
bool bitcoin_drop_coins(struct bitcoin *b);
/* DIR/NAME; false: too long, reported. */
bool bitcoin_path(const char *dir, const char *name, char out[PATH_MAX]);
bool bitcoin_remove_dir(const char *path);           /* with all that is in it; false: reported */
uint64_t bitcoin_coins_len(const struct bitcoin *b); /* bytes of their folder */

int64_t bitcoin_now_s(void);
/* Ctrl-C and SIGTERM set it; a second one ends the process at once. */
extern volatile sig_atomic_t bitcoin_is_interrupted;
void bitcoin_catch_signals(void);

/* Moves to the best chain with a progress line. Exit code. */
int bitcoin_advance(struct bitcoin *b);

/* --- for people ------------------------------------------------------------------------------ */

double bitcoin_difficulty(uint32_t bits);
/* A block named by hash or height on the best chain, or HEADER_NONE (reported). */
uint32_t bitcoin_find_block(struct bitcoin *b, const char *name);
/* Of a block on the best chain; -1: not on it. */
int64_t bitcoin_confirmations(const struct bitcoin *b, uint32_t node);
/* A block's height to the best header's, 0 to 1. */
double bitcoin_progress(const struct bitcoin *b, uint32_t node);
/* "replaced with probability 0.0002 by 10 % of the work, 0.15 by 30 %" for a block with so many
 * confirmations; "" for none. */
#define ODDS_CAP 96u
char *bitcoin_odds(int64_t confirmations, char out[ODDS_CAP]);

/* One JSON object on stdout, then frees it: indented, or in one line. Exit code. */
int bitcoin_print_json(json_t *o, bool is_line);
#define BTC_CAP 32u
char *bitcoin_btc(int64_t sats, char out[BTC_CAP]); /* "12.50000000" */
/* Reports a verdict about a block: hash, height, transaction, input, reason. */
void bitcoin_report_reject(const struct bitcoin *b, const struct hash256 *hash, uint32_t height,
                           const struct reject *r);
