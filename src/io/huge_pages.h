/* huge_pages: asks the system to back a large block of memory with huge pages: what is looked up all
 * over it misses the processor's table of pages less.
 *
 * Threads    any
 * Errors     none: it is advice, and without it everything works
 */
#pragma once
#include <stddef.h>

void huge_pages_advise(void *p, size_t len);
