/* metainfo: what is accepted keeps the promises of the headers: every byte of every piece lies in one
 * file or pad, names stay inside, and what is written again reads the same. */
#include "base/size.h"
#include "torrent/magnet.h"
#include "torrent/merkle.h"
#include "torrent/metainfo.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define N_PIECES_WALKED 200u

static void check_piece(const struct metainfo *m, uint32_t piece)
{
    const struct layout *l = &m->layout;
    uint32_t len = layout_piece_len(l, piece), data_len = layout_piece_data_len(l, piece);
    uint32_t walked = 0, file, index;
    assert(len > 0 && len <= m->piece_len && data_len <= len);
    assert(layout_n_blocks(l, piece) == div_ceil(data_len, LAYOUT_BLOCK_LEN));
    struct layout_walk w = layout_walk(l, piece, 0, len);
    struct layout_run run;
    for (unsigned n = 0; n < 1000 && layout_walk_next(&w, &run); n++) {
        const struct metainfo_file *f = &m->files[run.file];
        assert(run.file < m->n_files && run.len > 0 && run.len <= len - walked);
        assert(run.file_off < f->len && run.len <= f->len - run.file_off);
        assert(run.is_pad == ((f->flags & FILE_PAD) != 0));
        assert(run.is_pad || walked < data_len);
        walked += run.len;
    }
    if (layout_piece_file(l, piece, &file, &index)) {
        uint32_t first, last;
        assert(layout_file_pieces(l, file, &first, &last));
        assert(piece >= first && piece <= last);
    }
    assert(!metainfo_v1_piece_hash(m, piece) == !m->has_v1);
}

static void check_rewritten(const struct metainfo *m, struct mem *mem)
{
    struct buf out;
    struct metainfo *again;
    struct err err = {0};
    buf_init(&out, mem, 32u << 20);
    metainfo_write(m, &out);
    if (!out.err && out.len < 10u << 20) {
        assert(metainfo_read(&again, buf_bytes(&out), mem, NULL, &err) == ERR_OK);
        assert(again->n_files == m->n_files && again->n_trackers == m->n_trackers);
        assert(memcmp(metainfo_key(again), metainfo_key(m), SHA1_LEN) == 0);
        assert(again->has_piece_layers == m->has_piece_layers);
        metainfo_free(again);
    }
    buf_reset(&out);
    magnet_write_metainfo(m, &out);
    if (!out.err && out.len <= MAGNET_LEN_MAX) {
        struct magnet link;
        assert(magnet_read(&link, buf_bytes(&out), mem, &err) == ERR_OK);
        assert(memcmp(magnet_key(&link), metainfo_key(m), SHA1_LEN) == 0);
        magnet_clear(&link);
    }
    buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct mem mem;
    struct metainfo *m;
    struct err err = {0};
    mem_init(&mem, 256u << 20, NULL);
    if (metainfo_read(&m, bytes_of(data, len), &mem, NULL, &err)) {
        assert(!m && err.what);
    } else {
        metainfo_check(m);
        for (uint32_t i = 0; i < m->n_pieces && i < N_PIECES_WALKED; i++) {
            check_piece(m, i);
            check_piece(m, m->n_pieces - 1 - i);
        }
        check_rewritten(m, &mem);
        metainfo_free(m);
    }
    mem_check_empty(&mem);
    return 0;
}
