/* block_scan: reads any file of blocks from beginning to end: blkNNNNN.dat of Bitcoin Core (with the
 * xor.dat beside it) or of our own, bootstrap.dat: magic, length, block, over and over. What is no
 * record is passed over to the next magic.
 *
 * Ownership  a view handed out lives until the next call
 * Threads    one owner per scan
 * Errors     ERR_IO; ERR_MALFORMED: xor.dat is not 8 bytes long; ERR_NO_MEMORY
 * Memory     one buffer of 8 MiB, from the first block_scan_next on
 */
#pragma once
#include "base/buf.h"

struct block_scan;

#define BLOCK_SCAN_LEN_MIN 81u      /* a header and a count of transactions */
#define BLOCK_SCAN_LEN_MAX 4000000u /* BIP 141: a block's weight is at least its length */
#define BLOCK_XOR_LEN      8u       /* bytes in xor.dat */

enum err_code block_scan_open(struct block_scan **out, const char *path, const uint8_t magic[4],
                              struct err *err) MUST_USE;
/* name: in the folder of dir_fd. */
enum err_code block_scan_open_at(struct block_scan **out, int dir_fd, const char *name,
                                 const uint8_t magic[4], struct err *err) MUST_USE;
void block_scan_close(struct block_scan *s); /* NULL is fine */

/* The next block: *out_at is the offset of the block itself, behind magic and length; skipped:
 * bytes passed over before it that were not zeros (files are padded with zeros). ERR_NOT_FOUND at
 * the end; *out_skipped then tells of the tail. */
enum err_code block_scan_next(struct block_scan *s, struct bytes *out, uint64_t *out_at,
                              uint64_t *out_skipped, struct err *err) MUST_USE;
/* What block_scan_next just gave is no block after all (its length was damaged, perhaps): the search
 * goes on right behind its magic. */
void block_scan_reject(struct block_scan *s);
/* A block seen before, again. Does not move the scan. */
enum err_code block_scan_read(struct block_scan *s, uint64_t at, uint32_t len, struct buf *out,
                              struct err *err) MUST_USE;
uint64_t block_scan_len(const struct block_scan *s); /* of the file, for progress */
uint64_t block_scan_at(const struct block_scan *s);  /* how far it has come */

/* The key of a folder: *out_has false and zeros when there is no xor.dat. */
enum err_code block_xor_read(int dir_fd, uint8_t out[BLOCK_XOR_LEN], bool *out_has,
                             struct err *err) MUST_USE;
/* data lies at off in its file. */
void block_xor(const uint8_t key[BLOCK_XOR_LEN], uint64_t off, uint8_t *data, size_t len);

/* The first record in data: its offset (of the magic) and length, or how many bytes cannot be the
 * beginning of one (out_len 0). is_end: nothing follows data in the file. */
struct block_found {
    size_t at;
    uint32_t len; /* 0: none; at bytes can be dropped, the rest may begin one */
};
struct block_found block_find(struct bytes data, const uint8_t magic[4], bool is_end);
