/* shoal bitcoin import: files of blocks in, in any order of blocks. A block whose parent is not
 * known yet is remembered by its place in the file and read again when the parent has come. */
#include "base/map.h"
#include "cli/bitcoin.h"
#include "cli/cmd_bitcoin.h"
#include "crypto/random.h"
#include "io/loop.h"
#include "store/block_scan.h"

#define N_WAITING_MAX  2000000u /* ours: 100 MB; a shuffled mainnet fits */
#define N_SCANS_MAX    16u      /* ours: files open at once */
#define PROGRESS_US    200000u
#define LINE_US        1000000u /* between JSON progress lines */
#define N_DAMAGE_LINES 100u     /* ours: warnings about one file */
#define NONE           UINT32_MAX

static const struct ui_option options[] = {
    BITCOIN_OPTIONS,
    {"keep-going", 'k', NULL, "an invalid block is reported; others go on"},
    {"one-by-one", 0, NULL, "move to the best chain after each block, before the next is read"},
    {0},
};

enum { OPT_KEEP_GOING = BITCOIN_OPT_OWN, OPT_ONE_BY_ONE };

/* A block whose parent is not known: where it lies. */
struct waiting {
    struct hash256 hash;
    uint64_t at;
    uint32_t file, len;
    uint32_t next; /* of the same parent; NONE: last */
};

struct import {
    struct bitcoin b;
    struct bitcoin_options options;
    bool keeps_going, is_one_by_one;
    char **paths;
    uint32_t n_paths;
    struct block_scan **scans; /* of the files open now */
    uint32_t n_scans, file;    /* how many; the file being read */
    struct mem mem;
    struct buf raw;
    /* Blocks that wait, by the hash of their parent. */
    struct map by_parent; /* hash -> first */
    struct waiting *waiting;
    uint32_t n_waiting, waiting_cap, free_waiting;
    uint32_t n_waiting_now;
    uint64_t n_not_kept;
    /* What came of it. */
    uint64_t n_read, n_new, n_invalid, n_damaged;
    uint64_t done_len, total_len; /* bytes of the files */
    uint64_t start_us, shown_us, line_us;
    uint64_t shown_txs;
    double txs_per_s;
    int code;
};

/* --- blocks that wait for their parent ------------------------------------------------------- */

static uint32_t waiting_new(struct import *m)
{
    uint32_t at = m->free_waiting;
    if (at != NONE) {
        m->free_waiting = m->waiting[at].next;
        return at;
    }
    if (m->n_waiting == m->waiting_cap) {
        uint32_t cap = m->waiting_cap ? m->waiting_cap * 2 : 256;
        struct waiting *grown =
            cap > 2 * N_WAITING_MAX ? NULL : mem_realloc(&m->mem, m->waiting, cap * sizeof *grown);
        if (!grown)
            return NONE;
        m->waiting = grown;
        m->waiting_cap = cap;
    }
    return m->n_waiting++;
}

/* Not kept when there are too many: the files are read once more then. */
static void wait_for_parent(struct import *m, struct bytes raw, const struct hash256 *hash,
                            uint32_t file, uint64_t at)
{
    struct hash256 parent;
    bool is_new;
    memcpy(parent.b, raw.data + 4, sizeof parent.b);
    uint32_t slot = m->n_waiting_now < N_WAITING_MAX ? waiting_new(m) : NONE;
    uint32_t *first = slot == NONE ? NULL : map_put(&m->by_parent, parent.b, &is_new);
    if (!first) {
        m->n_not_kept++;
        return;
    }
    m->waiting[slot] = (struct waiting){*hash, at, file, (uint32_t)raw.len, is_new ? NONE : *first};
    *first = slot;
    m->n_waiting_now++;
}

/* Takes the blocks that wait for this one: a list. */
static uint32_t take_children(struct import *m, const struct hash256 *parent)
{
    uint32_t *first = m->n_waiting_now ? map_get(&m->by_parent, parent->b) : NULL;
    uint32_t list = first ? *first : NONE;
    if (first)
        map_remove(&m->by_parent, parent->b);
    return list;
}

/* --- what became of blocks ------------------------------------------------------------------- */

static void note_invalid(struct import *m, const struct hash256 *hash, uint32_t height,
                         const struct reject *r)
{
    m->n_invalid++;
    bitcoin_report_reject(&m->b, hash, height, r);
    if (!m->keeps_going)
        m->code = EXIT_FAIL;
}

static void on_event(void *ctx, const struct chain_event *e)
{
    struct import *m = ctx;
    if (e->kind == CHAIN_STORED)
        m->n_new++;
    if (e->kind == CHAIN_REFUSED || e->kind == CHAIN_INVALID)
        note_invalid(m, &e->hash, e->node == HEADER_NONE ? UINT32_MAX : e->height, e->reject);
}

static void warn_damage(struct import *m, uint32_t file, uint64_t at, uint64_t len,
                        const char *what)
{
    if (m->n_damaged++ >= N_DAMAGE_LINES)
        return;
    if (m->options.is_json)
        bitcoin_print_json(json_pack("{s:s, s:s, s:I, s:I, s:s}", "event", "damaged", "file",
                                     m->paths[file], "offset", (json_int_t)at, "len",
                                     (json_int_t)len, "what", what),
                           true);
    else
        ui_fail("%s: offset %llu: %s (%llu bytes)", m->paths[file], (unsigned long long)at, what,
                (unsigned long long)len);
}

/* --- progress -------------------------------------------------------------------------------- */

static uint64_t seconds_left(const struct import *m, uint64_t now)
{
    double part = m->total_len ? (double)m->done_len / (double)m->total_len : 1;
    double took = (double)(now - m->start_us) / 1e6;
    return part > 0.001 ? (uint64_t)(took / part * (1 - part)) : 0;
}

static void print_line(struct import *m, const char *event, uint64_t now)
{
    const struct header_chain *h = chainstate_headers(m->b.chain);
    uint32_t tip = chainstate_tip(m->b.chain);
    struct chainstate_stats s;
    struct coins_cache_stats coins;
    chainstate_stats(m->b.chain, &s);
    chainstate_coins_stats(m->b.chain, &coins);
    json_t *o =
        json_pack("{s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:I}", "event", event,
                  "blocks", (json_int_t)header_height(h, tip), "headers",
                  (json_int_t)header_height(h, header_chain_best(h)), "bestblockhash",
                  bitcoin_json_hash(header_hash(h, tip)), "time", (json_int_t)header_time(h, tip),
                  "stored", (json_int_t)m->n_new, "invalid", (json_int_t)m->n_invalid, "waiting",
                  (json_int_t)m->n_waiting_now, "tx_per_s", m->txs_per_s, "coins_cache_len",
                  (json_int_t)coins.used_len, "left_s", (json_int_t)seconds_left(m, now), "inputs",
                  (json_int_t)s.n_inputs);
    bitcoin_print_json(o, true);
}

static void draw(struct import *m, uint64_t now)
{
    const struct header_chain *h = chainstate_headers(m->b.chain);
    uint32_t tip = chainstate_tip(m->b.chain);
    struct coins_cache_stats coins;
    char date[UI_NUMBER_CAP], cache[UI_NUMBER_CAP], left[UI_NUMBER_CAP];
    chainstate_coins_stats(m->b.chain, &coins);
    ui_date(header_time(h, tip), date);
    ui_progress("height %u  %.10s  %.0f tx/s  coins %s  %u%%  %s left", header_height(h, tip), date,
                m->txs_per_s, ui_size(coins.used_len, cache),
                (unsigned)(m->total_len ? 100.0 * (double)m->done_len / (double)m->total_len : 0),
                ui_duration(seconds_left(m, now), left));
}

static void show_progress(struct import *m)
{
    struct chainstate_stats s;
    uint64_t now = clock_now_us();
    if (now - m->shown_us < PROGRESS_US)
        return;
    chainstate_stats(m->b.chain, &s);
    double rate = (double)(s.n_txs - m->shown_txs) / ((double)(now - m->shown_us) / 1e6);
    m->txs_per_s = m->txs_per_s > 0 ? 0.8 * m->txs_per_s + 0.2 * rate : rate;
    m->shown_txs = s.n_txs;
    m->shown_us = now;
    if (!m->options.is_json) {
        draw(m, now);
    } else if (now - m->line_us >= LINE_US) {
        m->line_us = now;
        print_line(m, "progress", now);
    }
}

/* --- reading --------------------------------------------------------------------------------- */

static bool is_stopped(const struct import *m)
{
    return m->code || bitcoin_is_interrupted;
}

/* --one-by-one: as a node does that hears of blocks one after the other. */
static void settle(struct import *m, const struct hash256 *hash)
{
    const struct header_chain *h = chainstate_headers(m->b.chain);
    struct err err = {0};
    bool is_done = false;
    if (chainstate_advance(m->b.chain, 0, &is_done, &err))
        m->code = ui_fail_err(m->b.dir, &err);
    else if (m->options.is_json)
        bitcoin_print_json(json_pack("{s:s, s:o, s:o, s:I}", "event", "tip", "block",
                                     bitcoin_json_hash(hash), "bestblockhash",
                                     bitcoin_json_hash(header_hash(h, chainstate_tip(m->b.chain))),
                                     "blocks",
                                     (json_int_t)header_height(h, chainstate_tip(m->b.chain))),
                           true);
}

/* What feeding a block came to. */
enum fed { FED_TAKEN, FED_WAITS, FED_REFUSED, FED_FAILED };

static enum fed feed(struct import *m, struct bytes raw, const struct hash256 *hash)
{
    struct reject r;
    switch (chainstate_feed(m->b.chain, raw, bitcoin_now_s(), &r)) {
    case VERDICT_VALID:
        if (m->is_one_by_one)
            settle(m, hash);
        return FED_TAKEN;
    case VERDICT_UNDECIDED:
        m->code = ui_fail_err(m->b.dir, &r.err);
        return FED_FAILED;
    case VERDICT_INVALID:
        break;
    }
    if (strcmp(r.reason, "prev-blk-not-found") == 0)
        return FED_WAITS;
    note_invalid(m, hash, UINT32_MAX, &r);
    if (m->is_one_by_one)
        settle(m, hash);
    return FED_REFUSED;
}

static void close_scan(struct import *m, uint32_t file)
{
    m->n_scans -= m->scans[file] != NULL;
    block_scan_close(m->scans[file]);
    m->scans[file] = NULL;
}

/* Few are open at a time: others than the one being read are for blocks that waited. */
static struct block_scan *scan_of(struct import *m, uint32_t file)
{
    struct err err = {0};
    if (m->scans[file])
        return m->scans[file];
    for (uint32_t i = 0; i < m->n_paths && m->n_scans >= N_SCANS_MAX; i++)
        if (i != m->file)
            close_scan(m, i);
    if (block_scan_open(&m->scans[file], m->paths[file], m->b.params.magic, &err))
        m->code = ui_fail_err(m->paths[file], &err);
    else
        m->n_scans++;
    return m->scans[file];
}

static bool read_again(struct import *m, const struct waiting *w)
{
    struct err err = {0};
    struct block_scan *s = scan_of(m, w->file);
    if (!s)
        return false;
    if (!block_scan_read(s, w->at, w->len, &m->raw, &err))
        return true;
    m->code = ui_fail_err(m->paths[w->file], &err);
    return false;
}

/* Blocks that waited for this one, and those that waited for them. */
static void feed_children(struct import *m, const struct hash256 *parent)
{
    uint32_t todo = take_children(m, parent);
    while (todo != NONE) {
        uint32_t slot = todo;
        struct waiting w = m->waiting[slot];
        todo = w.next;
        m->waiting[slot].next = m->free_waiting;
        m->free_waiting = slot;
        m->n_waiting_now--;
        if (is_stopped(m) || !read_again(m, &w) ||
            feed(m, buf_bytes(&m->raw), &w.hash) != FED_TAKEN)
            continue;
        uint32_t more = take_children(m, &w.hash), last = more;
        while (last != NONE && m->waiting[last].next != NONE)
            last = m->waiting[last].next;
        if (last != NONE) { /* ahead of the siblings: deep chains need no more memory than wide */
            m->waiting[last].next = todo;
            todo = more;
        }
        show_progress(m);
    }
}

static void take_block(struct import *m, struct bytes raw, const struct hash256 *hash,
                       uint32_t file, uint64_t at)
{
    m->n_read++;
    switch (feed(m, raw, hash)) {
    case FED_TAKEN:
        feed_children(m, hash);
        break;
    case FED_WAITS:
        wait_for_parent(m, raw, hash, file, at);
        break;
    case FED_REFUSED:
    case FED_FAILED:
        break;
    }
}

/* A header whose proof of work does not hold is not one: a damaged length, most likely, and blocks
 * may lie inside of what it claims. */
static bool looks_like_block(const struct import *m, struct bytes raw, struct hash256 *out_hash)
{
    struct block_header header;
    struct reader r = reader_init(bytes_sub(raw, 0, BLOCK_HEADER_LEN));
    if (block_header_read(&r, &header))
        return false;
    block_header_hash(&header, out_hash);
    return header_pow_is_right(out_hash, header.bits, &m->b.params);
}

static void read_file(struct import *m, uint32_t file)
{
    struct err err = {0};
    m->file = file;
    struct block_scan *s = scan_of(m, file);
    struct bytes raw;
    struct hash256 hash;
    uint64_t at, skipped = 0, before = m->done_len;
    enum err_code code = ERR_OK;
    while (s && !is_stopped(m) && !(code = block_scan_next(s, &raw, &at, &skipped, &err))) {
        if (skipped)
            warn_damage(m, file, at - 8 - skipped, skipped, "no block here, skipped");
        if (looks_like_block(m, raw, &hash)) {
            take_block(m, raw, &hash, file, at);
        } else {
            warn_damage(m, file, at, raw.len, "no block here: the proof of work does not hold");
            block_scan_reject(s);
        }
        m->done_len = before + block_scan_at(s);
        show_progress(m);
    }
    if (code == ERR_NOT_FOUND && skipped)
        warn_damage(m, file, block_scan_len(s) - skipped, skipped, "no block here, skipped");
    else if (code && code != ERR_NOT_FOUND)
        m->code = ui_fail_err(m->paths[file], &err);
}

static void measure_files(struct import *m)
{
    m->done_len = m->total_len = 0;
    for (uint32_t i = 0; i < m->n_paths && !is_stopped(m); i++) {
        struct block_scan *s = scan_of(m, i);
        m->total_len += s ? block_scan_len(s) : 0;
        close_scan(m, i);
    }
}

/* Blocks that had no place among those waiting are still in the files: once more, as long as that
 * brings something new. */
static void read_all(struct import *m)
{
    uint64_t n_new;
    do {
        n_new = m->n_new;
        m->n_not_kept = 0;
        measure_files(m);
        for (uint32_t i = 0; i < m->n_paths && !is_stopped(m); i++)
            read_file(m, i);
        for (uint32_t i = 0; i < m->n_paths; i++)
            close_scan(m, i);
    } while (m->n_not_kept && m->n_new > n_new && !is_stopped(m));
}

/* --- the end --------------------------------------------------------------------------------- */

static void print_summary(struct import *m)
{
    const struct header_chain *h = chainstate_headers(m->b.chain);
    uint32_t tip = chainstate_tip(m->b.chain);
    struct chainstate_stats s;
    char hex[HASH_HEX_CAP], took[UI_NUMBER_CAP], date[UI_NUMBER_CAP];
    double seconds = (double)(clock_now_us() - m->start_us) / 1e6;
    if (m->options.is_json) {
        print_line(m, m->code || bitcoin_is_interrupted ? "stopped" : "done", clock_now_us());
        return;
    }
    ui_progress_end();
    chainstate_stats(m->b.chain, &s);
    printf("height %u, block %s, %s\n", header_height(h, tip),
           hash256_hex_reversed(header_hash(h, tip), hex), ui_date(header_time(h, tip), date));
    printf("%llu blocks read, %llu new, %llu invalid; %llu transactions and %llu inputs checked in "
           "%s\n",
           (unsigned long long)m->n_read, (unsigned long long)m->n_new,
           (unsigned long long)m->n_invalid, (unsigned long long)s.n_txs,
           (unsigned long long)s.n_inputs, ui_duration((uint64_t)(seconds + 0.5), took));
    if (m->n_waiting_now || m->n_not_kept)
        printf("%llu blocks wait for parents that were not in these files\n",
               (unsigned long long)(m->n_waiting_now + m->n_not_kept));
    if (m->n_damaged)
        printf("%llu places in the files hold no block\n", (unsigned long long)m->n_damaged);
}

/* What led to a snapshot, once the tip is where it can be. */
static void check_past(struct import *m)
{
    struct past_check past;
    bool is_asked = m->b.snapshot.state == SNAPSHOT_LOADED && !is_stopped(m);
    if (!is_asked)
        return;
    m->code = bitcoin_check_past(&m->b, &past);
    bool is_right = past.state == CHAIN_BACKGROUND_VALIDATED;
    if (m->options.is_json)
        bitcoin_print_json(
            json_pack("{s:s, s:b, s:b, s:I, s:I, s:o}", "event", "snapshot", "validated", is_right,
                      "wrong", past.state == CHAIN_BACKGROUND_WRONG, "blocks",
                      (json_int_t)past.height, "base_height", (json_int_t)past.base_height,
                      "snapshot_blockhash", bitcoin_json_hash(&m->b.snapshot.base)),
            true);
    else if (is_right)
        printf("the snapshot is right: every block up to height %u was checked\n",
               past.base_height);
    else if (past.state != CHAIN_BACKGROUND_WRONG)
        printf("what led to the snapshot is checked up to height %u of %u\n", past.height,
               past.base_height);
}

static int run(struct import *m)
{
    int code;
    if (!bitcoin_prepare(&m->b, &m->options, &code))
        return code;
    if (!bitcoin_open(&m->b, on_event, m))
        return bitcoin_close(&m->b, EXIT_FAIL);
    bitcoin_catch_signals();
    m->start_us = m->shown_us = m->line_us = clock_now_us();
    read_all(m);
    if (!is_stopped(m)) {
        code = bitcoin_advance(&m->b);
        m->code = m->code ? m->code : code;
    }
    check_past(m);
    print_summary(m);
    if (!m->code && bitcoin_is_interrupted)
        m->code = EXIT_INCOMPLETE;
    return bitcoin_close(&m->b, m->code);
}

int cmd_bitcoin_import(int argc, char **argv)
{
    struct ui_options o;
    int which, n;
    struct import m = {.free_waiting = NONE};
    bitcoin_options_init(&m.options, argv[0]);
    ui_options_init(
        &o, "[OPTION...] FILE...",
        "Read blocks from files (blkNNNNN.dat of Bitcoin Core with xor.dat beside them,\n"
        "bootstrap.dat), in any order, check them and follow the chain with the most\n"
        "work. Exit code 1 at the first invalid block, unless --keep-going.",
        options, argc, argv);
    while ((which = ui_options_next(&o)) != UI_OPTION_END) {
        if (which == OPT_KEEP_GOING)
            m.keeps_going = true;
        else if (which == OPT_ONE_BY_ONE)
            m.is_one_by_one = true;
        else if (which == UI_OPTION_BAD || !bitcoin_options_read(&m.options, &o, which))
            return EXIT_USAGE;
    }
    m.paths = ui_options_rest(&o, &n);
    m.n_paths = (uint32_t)n;
    if (n < 1)
        return ui_usage(argv[0], "bitcoin import: FILE is needed");
    mem_init(&m.mem, MEM_NO_BUDGET, NULL);
    buf_init(&m.raw, &m.mem, BLOCK_SCAN_LEN_MAX);
    map_init(&m.by_parent, &m.mem, (struct map_seed){random_u64(), random_u64()},
             sizeof(struct hash256), sizeof(uint32_t), N_WAITING_MAX);
    m.scans = mem_calloc(&m.mem, m.n_paths, sizeof(struct block_scan *));
    int code = m.scans ? run(&m) : ui_fail("no memory");
    mem_free(&m.mem, m.scans);
    mem_free(&m.mem, m.waiting);
    map_clear(&m.by_parent);
    buf_clear(&m.raw);
    return code;
}
