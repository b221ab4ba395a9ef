/* snapshot: the UTXO set as a file in Bitcoin Core's form (dumptxoutset, version 2), written from a
 * coins_store and read as a stream.
 *
 *   "utxo" ff, version u16, network magic 4, block 32, coins u64;
 *   per transaction, in order of txid bytes: txid 32, coins CompactSize,
 *     per coin, in order of the VARINT's bytes: number CompactSize, coin (coin.h)
 *
 * A file is believed for what it says only when the hash of the coins is the one expected
 * (coins_hash.h); the reader sees to it that nothing before that can hurt: every count is held
 * against what is left to come, no record is longer than a coin can be, nothing comes twice.
 *
 * Ownership  writer and reader borrow what they are given; a coin read is good until the next read
 * Threads    one owner each
 * Errors     ERR_TRUNCATED, ERR_MALFORMED, ERR_LIMIT (a script that no coin can have),
 *            ERR_UNSUPPORTED (version), ERR_PROTOCOL (another network's; or the count told before
 *            writing was wrong); those of source, sink and store; ERR_NO_MEMORY
 */
#pragma once
#include "base/buf.h"
#include "chain/coins_store.h"

#define SNAPSHOT_VERSION  2u
#define SNAPSHOT_HEAD_LEN 51u

struct snapshot_head {
    uint8_t magic[4];
    struct hash256 block;
    uint64_t n_coins;
};

/* Writes head and all coins of the store in pieces to put. head->n_coins: as counted before
 * (coins_hash_store). */
enum err_code snapshot_write(const struct coins_store *s, const struct snapshot_head *head,
                             struct mem *mem,
                             enum err_code (*put)(void *ctx, struct bytes b, struct err *err),
                             void *ctx, struct err *err) MUST_USE;

/* Fills out with up to cap bytes; *out_len 0 at the end. */
struct snapshot_source {
    void *ctx;
    enum err_code (*read)(void *ctx, uint8_t *out, size_t cap, size_t *out_len, struct err *err);
};

#define SNAPSHOT_BUF_LEN 65536u

struct snapshot_reader {
    struct snapshot_source source;
    struct snapshot_head head;
    struct arena scripts;
    struct outpoint at;
    uint64_t n_left; /* coins to come */
    uint64_t n_left_of_tx;
    uint32_t height_max;
    bool is_first_tx, is_first_of_tx, is_in_number_order, is_in_varint_order, is_at_end;
    size_t pos, len; /* what of buf is not read yet */
    uint64_t off;    /* of buf in the file */
    uint8_t buf[SNAPSHOT_BUF_LEN];
};

/* Reads the head. height_max: of the block, when known; coins above it are refused. */
enum err_code snapshot_reader_init(struct snapshot_reader *r, struct mem *mem,
                                   struct snapshot_source source, const uint8_t magic[4],
                                   uint32_t height_max, struct err *err) MUST_USE;
void snapshot_reader_clear(struct snapshot_reader *r);
/* *out_has false at the end of the file, which is where the head said. */
enum err_code snapshot_read(struct snapshot_reader *r, struct outpoint *out_at,
                            struct coin *out_coin, bool *out_has, struct err *err) MUST_USE;

/* All that is left to read into an empty store, in one change with the tip; nothing on failure. */
enum err_code snapshot_load(struct snapshot_reader *r, const struct coins_store *s,
                            const struct coins_tip *tip, struct err *err) MUST_USE;
