/* path_sanitize: makes a name that a stranger chose fit to be one element of a path on this machine.
 *
 * Separators, NUL and characters that hide or turn text (bidi marks, zero widths) are dropped;
 * control characters and bytes that are not UTF-8 become '_'; more than 240 bytes are cut at a
 * character, keeping the extension. What is left never holds '/' and is never "." or "..".
 *
 * Ownership  writes to the caller's room
 * Threads    pure functions
 * Errors     0: nothing usable is left; the caller decides on a name
 */
#pragma once
#include "base/bytes.h"

#define PATH_ELEMENT_LEN_MAX 240u /* as libtorrent; leaves room under NAME_MAX for ".123" */
#define PATH_ELEMENT_CAP     (PATH_ELEMENT_LEN_MAX + 1)
#define PATH_EXT_LEN_MAX     16u /* ours: a longer tail after the last dot is no extension */

/* Terminated; returns the length. Cleaning what is clean changes nothing. */
size_t path_sanitize_element(struct bytes in, char out[PATH_ELEMENT_CAP]);
/* The same, but "_" where nothing usable is left. */
size_t path_sanitize_element_or(struct bytes in, char out[PATH_ELEMENT_CAP]);
/* Where the extension of the last element begins (its dot), or the length if it has none. A dot
 * that begins the element starts no extension. */
size_t path_ext_off(struct bytes path);
