#include "io/huge_pages.h"
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Whole pages of the block only: what lies beside it on the same page is somebody else's. */
void huge_pages_advise(void *p, size_t len)
{
    uintptr_t page_len = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)p + page_len - 1) / page_len * page_len;
    uintptr_t to = ((uintptr_t)p + len) / page_len * page_len;
    if (to > from)
        (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
}
