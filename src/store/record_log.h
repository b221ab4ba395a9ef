/* record_log: an append-only file of records of one length, written in batches: after a crash a
 * batch is there as a whole or not at all.
 *
 *   file    magic, version, record length (16 bytes), mark (16 bytes), then slots
 *   mark    u64 slots known to be on disk, u64 checksum: written after each sync, itself not synced
 *   slot    record, u32 batch number << 1 | last of its batch, u64 checksum (SipHash of both,
 *           keyed with the slot's number)
 *
 * A bad slot below the mark, or with a later batch behind it, is damage: it was on disk once. Any
 * other bad slot belongs to a batch that did not get finished: a torn tail, which load cuts off.
 *
 * Ownership  records handed out live until each() returns; the disk is borrowed
 * Threads    one owner
 * Errors     ERR_IO; ERR_MALFORMED: not such a file, or damage (at: the file's offset)
 */
#pragma once
#include "base/mem.h"
#include "store/disk.h"

struct record_log;

#define RECORD_LOG_RECORD_LEN_MAX 256u

/* name: kept; a literal. magic: 8 characters that tell what is inside. */
enum err_code record_log_open(struct record_log **out, struct disk *d, const char *name,
                              const char *magic, size_t record_len, struct err *err) MUST_USE;
void record_log_close(struct record_log *l); /* NULL is fine */

/* Every record of every whole batch, in order. Comes before the first append. each() false stops
 * with ERR_NO_MEMORY. */
enum err_code record_log_load(struct record_log *l, bool (*each)(void *ctx, const uint8_t *record),
                              void *ctx, struct err *err) MUST_USE;
/* One batch of n records lying one after another, durable when this returns. On failure the file
 * is as before, or will be once the disk allows: the call may be tried again. */
enum err_code record_log_append(struct record_log *l, const uint8_t *records, size_t n,
                                struct err *err) MUST_USE;
/* The whole file anew: n records, got one by one; the old file is there until the new one is
 * whole. */
enum err_code record_log_rewrite(struct record_log *l, size_t n,
                                 void (*get)(void *ctx, size_t i, uint8_t *out), void *ctx,
                                 struct err *err) MUST_USE;
uint64_t record_log_n(const struct record_log *l); /* slots in the file */
/* Slots of a batch that did not get finished, cut off by load. */
uint64_t record_log_n_torn(const struct record_log *l);
