/* resume_store: resume data of torrents, key -> bytes, in one SQLite database (WAL).
 *
 * A put is one transaction. Without is_final it survives kill -9 at any moment, not loss of power
 * (WAL, synchronous NORMAL: then the last ones may be missing, the database stays whole); with it
 * the log is synced first. A damaged database is moved aside (.damaged-N) and a new one begun.
 *
 * Threads    any; a mutex inside. Calls wait for the disk: not on a loop's thread, start-up apart
 * Errors     ERR_IO (got: errno or 0; what: which step), ERR_NOT_FOUND, ERR_NO_MEMORY
 */
#pragma once
#include "base/buf.h"
#include "base/log.h"

struct resume_store;

#define RESUME_KEY_LEN_MAX 64u
#define RESUME_LEN_MAX     (64u * 1024u * 1024u)

/* $XDG_STATE_HOME/shoal, or ~/.local/state/shoal. ERR_NOT_FOUND: neither is set. */
enum err_code resume_store_default_dir(char *out, size_t out_cap, struct err *err) MUST_USE;

/* dir is made when absent. *out_was_damaged (may be NULL): the old database was moved aside. */
enum err_code resume_store_open(struct resume_store **out, const char *dir, bool *out_was_damaged,
                                struct err *err) MUST_USE;
void resume_store_close(struct resume_store *r); /* NULL is fine */

enum err_code resume_store_put(struct resume_store *r, struct bytes key, struct bytes resume,
                               bool is_final, struct err *err) MUST_USE;
/* Appends to out. */
enum err_code resume_store_get(struct resume_store *r, struct bytes key, struct buf *out,
                               struct err *err) MUST_USE;
enum err_code resume_store_delete(struct resume_store *r, struct bytes key,
                                  struct err *err) MUST_USE;
enum err_code resume_store_count(struct resume_store *r, uint64_t *out, struct err *err) MUST_USE;
/* Small named values: the table of settings. */
enum err_code resume_store_set(struct resume_store *r, const char *name, struct bytes value,
                               struct err *err) MUST_USE;
enum err_code resume_store_setting(struct resume_store *r, const char *name, struct buf *out,
                                   struct err *err) MUST_USE;
