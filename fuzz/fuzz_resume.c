/* Resume data from a disk that may hold anything: what is accepted is written back the same. */
#include "base/size.h"
#include "torrent/resume.h"
#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    /* The checksum is made right, or nothing would get past it. */
    static uint8_t in[65536 + SHA1_LEN];
    struct resume r, again;
    if (len > 65536)
        return 0;
    memcpy(in, data, len);
    sha1(bytes_of(in, len), in + len);
    if (resume_read(&r, bytes_of(in, len + SHA1_LEN), NULL))
        return 0;
    struct mem mem;
    struct buf out;
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    buf_init(&out, &mem, RESUME_LEN_MAX);
    resume_write(&out, &r);
    assert(!out.err);
    assert(!resume_read(&again, buf_bytes(&out), NULL));
    assert(again.n_pieces == r.n_pieces && again.is_clean == r.is_clean);
    assert(bytes_equal(again.synced, r.synced) && bytes_equal(again.unsynced, r.unsynced));
    assert(bytes_equal(again.files, r.files) && bytes_equal(again.torrent, r.torrent));
    assert(again.down_total == r.down_total && again.seeded_us == r.seeded_us);
    for (size_t i = 0; i < r.files.len / RESUME_FILE_LEN; i++) {
        struct store_file_stat f = resume_file(&r, i);
        uint8_t file[RESUME_FILE_LEN];
        resume_write_file(file, &f);
        assert(memcmp(file + 1, r.files.data + i * RESUME_FILE_LEN + 1, 16) == 0);
    }
    struct reader partials = reader_init(r.partials);
    struct resume_partial p;
    while (resume_next_partial(&partials, &p))
        assert(p.bits.len == div_ceil(p.n_blocks, 8));
    buf_clear(&out);
    mem_check_empty(&mem);
    return 0;
}
