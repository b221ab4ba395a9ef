/* file_store: the data files of one torrent.
 *
 * Files are opened when first needed, below the torrent's folder and never through a symlink
 * (openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, or element by element where the kernel lacks
 * it), made with their folders at the first write, and set to their length then. Pad files
 * (BEP 47) never exist: their bytes read as zeros and are not written. Empty files and those
 * symlinks that metainfo holds safe are made when a store that may write is opened.
 *
 * Ownership  metainfo and cache are borrowed and outlive the store; dir is copied
 * Threads    all but open and close from several at once
 * Errors     ERR_IO: got = errno, at = index of the file in the metainfo or STORE_NO_FILE;
 *            ERR_NO_MEMORY; ERR_LIMIT (a range outside the torrent)
 */
#pragma once
#include "base/bytes.h"
#include "store/file_cache.h"
#include "torrent/host.h"

struct file_store;

enum err_code file_store_open(struct file_store **out, struct file_cache *cache,
                              struct store_open *request, struct err *err) MUST_USE;
void file_store_close(struct file_store *s);            /* NULL is fine; does not sync */
uint64_t file_store_device(const struct file_store *s); /* st_dev of its folder */
/* Its folder lies on a file system without a disk (tmpfs, ramfs): reading does not wait. */
bool file_store_is_in_memory(const struct file_store *s);

enum err_code file_store_put(struct file_store *s, struct store_put *p, struct err *err) MUST_USE;

#define STORE_PUTS_MAX 4u /* as many as the SHA units interleave */

/* One of several puts, of any stores; the answer is in err->code. */
struct store_put_item {
    struct file_store *store;
    struct store_put *put;
    struct err *err;
};
/* As file_store_put of each, n <= STORE_PUTS_MAX, with their v1 hashed side by side. */
void file_store_put_many(const struct store_put_item *items, size_t n);
/* scratch: at least BLOCK_LEN bytes, for reading through. */
enum err_code file_store_check(struct file_store *s, struct store_check *c, struct span scratch,
                               struct err *err) MUST_USE;

/* One of several checks, of any stores; the answer is in err->code. */
struct store_check_item {
    struct file_store *store;
    struct store_check *check;
    struct err *err;
};
/* As file_store_check of each, 1 <= n <= STORE_PUTS_MAX, with their v1 hashed side by side. scratch:
 * at least BLOCK_LEN bytes for each. */
void file_store_check_many(const struct store_check_item *items, size_t n, struct span scratch);
enum err_code file_store_read(struct file_store *s, struct store_read *r, struct err *err) MUST_USE;
enum err_code file_store_stat(struct file_store *s, struct store_file_stat *out_files,
                              struct err *err) MUST_USE;
/* Syncs what was written since the last sync, and folders that got new entries. */
enum err_code file_store_sync(struct file_store *s, struct err *err) MUST_USE;

/* For uploads: the file's descriptor if it is open already, never opening it; or NULL. */
struct open_file *file_store_open_file(struct file_store *s, uint32_t file);
/* Opens the file for reading and reads the range into the page cache. */
enum err_code file_store_warm(struct file_store *s, uint32_t file, uint64_t off, uint64_t len,
                              struct span scratch, struct err *err) MUST_USE;

/* Most bytes of name below the folder; more is refused when the store is opened. */
#define STORE_PATH_CAP 4096u
