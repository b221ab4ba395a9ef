/* A file of blocks that may hold anything. What is found lies in the file where it is said to, and
 * records and skipped bytes add up to the file; finding in two parts gives what finding in one does.
 */
#include "store/block_scan.h"
#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const uint8_t magic[4] = {0xfa, 0xbf, 0xb5, 0xda};

static void check_split(struct bytes whole, size_t at)
{
    struct block_found all = block_find(whole, magic, true);
    struct block_found part = block_find(bytes_sub(whole, 0, at), magic, false);
    assert(part.at <= at && part.at <= all.at);
    if (part.len)
        assert(part.at == all.at && part.len == all.len);
}

static void scan_file(int fd, struct bytes whole, bool rejects)
{
    struct block_scan *s;
    struct bytes block;
    uint64_t at, skipped, end = 0;
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    assert(!block_scan_open(&s, name, magic, NULL));
    while (!block_scan_next(s, &block, &at, &skipped, NULL)) {
        assert(at >= end && at + block.len <= whole.len);
        assert(memcmp(whole.data + at - 8, magic, 4) == 0);
        assert(bytes_equal(block, bytes_sub(whole, at, block.len)));
        end = rejects ? at - 7 : at + block.len;
        if (rejects)
            block_scan_reject(s);
    }
    assert(block_scan_at(s) == whole.len);
    block_scan_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes whole = {data, len};
    int fd = memfd_create("blocks", MFD_CLOEXEC);
    if (fd < 0 || len > 1u << 20)
        return fd >= 0 ? close(fd) : 0;
    check_split(whole, len / 2);
    check_split(whole, len ? len - 1 : 0);
    if (write(fd, data, len) == (ssize_t)len) {
        scan_file(fd, whole, false);
        scan_file(fd, whole, true);
    }
    close(fd);
    return 0;
}
