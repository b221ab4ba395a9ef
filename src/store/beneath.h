/* beneath: opens names below a folder that can lead nowhere else: no "..", no absolute name, no
 * symlink in any element, not even one planted after the name was checked.
 *
 * Threads    any
 * Errors     -1 and errno (ELOOP, ENOTDIR or EXDEV where a name would have led outside)
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/* openat2 (Linux 5.6), or beneath_open_walk where the kernel does not have it. */
int beneath_open(int dir_fd, const char *path, int flags, mode_t mode);
/* Element by element with O_NOFOLLOW. */
int beneath_open_walk(int dir_fd, const char *path, int flags, mode_t mode);
/* The folder that holds the last element of path, made with its parents when absent. */
int beneath_make_parent(int dir_fd, const char *path);
