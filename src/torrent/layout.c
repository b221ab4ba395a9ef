/* layout: binary search over the files' offsets; everything else is arithmetic. */
#include "torrent/layout.h"
#include "base/size.h"
#include "torrent/metainfo.h"

static uint64_t piece_off(const struct layout *l, uint32_t piece)
{
    return (uint64_t)piece * l->piece_len;
}

/* The last file that begins at or before off. Among files with one offset only the last can have
 * bytes, so in v1 this is the file that holds off. 0 when there is none. */
static uint32_t find_file(const struct layout *l, uint64_t off)
{
    uint32_t lo = 0, hi = l->n_files;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (l->files[mid].off <= off)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static uint64_t file_end(const struct layout *l, uint32_t file)
{
    return l->files[file].off + l->files[file].len;
}

/* Where the bytes of a piece end in the piece space; pads included. */
static uint64_t piece_end(const struct layout *l, uint32_t piece)
{
    uint64_t begin = piece_off(l, piece);
    uint64_t end = u64_min(begin + l->piece_len, l->space_len);
    if (l->is_aligned)
        end = u64_min(end, file_end(l, find_file(l, begin)));
    return end;
}

/* Where a range that a peer asks for may end. */
static uint64_t range_end(const struct layout *l, uint32_t piece)
{
    uint64_t begin = piece_off(l, piece), len = piece_end(l, piece) - begin;
    if (l->is_aligned)
        len = u64_min(div_ceil(len, LAYOUT_BLOCK_LEN) * LAYOUT_BLOCK_LEN, l->piece_len);
    return begin + len;
}

uint32_t layout_piece_len(const struct layout *l, uint32_t piece)
{
    return piece < l->n_pieces ? (uint32_t)(piece_end(l, piece) - piece_off(l, piece)) : 0;
}

uint32_t layout_piece_data_len(const struct layout *l, uint32_t piece)
{
    if (piece >= l->n_pieces)
        return 0;
    uint64_t begin = piece_off(l, piece), end = piece_end(l, piece);
    if (l->is_aligned)
        return (uint32_t)(end - begin);
    const struct metainfo_file *f = &l->files[find_file(l, end - 1)];
    if (f->flags & FILE_PAD)
        end = u64_max(begin, f->pad_from);
    return (uint32_t)(end - begin);
}

uint32_t layout_n_blocks(const struct layout *l, uint32_t piece)
{
    return (uint32_t)div_ceil(layout_piece_data_len(l, piece), LAYOUT_BLOCK_LEN);
}

uint32_t layout_block_len(const struct layout *l, uint32_t piece, uint32_t block)
{
    uint64_t len = layout_piece_data_len(l, piece), begin = (uint64_t)block * LAYOUT_BLOCK_LEN;
    return begin < len ? (uint32_t)u64_min(len - begin, LAYOUT_BLOCK_LEN) : 0;
}

uint64_t layout_n_blocks_all(const struct layout *l)
{
    uint64_t n = 0;
    if (l->n_pieces && !l->is_aligned && l->data_len == l->space_len)
        return (l->n_pieces - 1) * div_ceil(l->piece_len, LAYOUT_BLOCK_LEN) +
               layout_n_blocks(l, l->n_pieces - 1);
    for (uint32_t i = 0; i < l->n_pieces; i++)
        n += layout_n_blocks(l, i);
    return n;
}

bool layout_has_range(const struct layout *l, uint32_t piece, uint32_t begin, uint32_t len)
{
    uint32_t piece_len = layout_piece_len(l, piece);
    return len > 0 && begin < piece_len && len <= range_end(l, piece) - piece_off(l, piece) - begin;
}

struct layout_walk layout_walk(const struct layout *l, uint32_t piece, uint32_t begin, uint32_t len)
{
    struct layout_walk w = {.layout = l};
    uint32_t piece_len = layout_piece_len(l, piece);
    if (begin >= piece_len || len == 0)
        return w;
    w.off = piece_off(l, piece) + begin;
    w.end = u64_min(w.off + len, range_end(l, piece));
    w.file = find_file(l, w.off);
    return w;
}

bool layout_walk_next(struct layout_walk *w, struct layout_run *out)
{
    const struct layout *l = w->layout;
    if (w->off >= w->end)
        return false;
    while (w->file + 1 < l->n_files && l->files[w->file + 1].off <= w->off)
        w->file++; /* also over empty files */
    const struct metainfo_file *f = &l->files[w->file];
    bool is_gap = w->off >= file_end(l, w->file); /* v2 alone: behind the file's end */
    out->file = w->file;
    out->is_pad = is_gap || (f->flags & FILE_PAD);
    out->file_off = w->off - f->off;
    out->len = (uint32_t)((is_gap ? w->end : u64_min(w->end, file_end(l, w->file))) - w->off);
    w->off += out->len;
    return true;
}

bool layout_file_pieces(const struct layout *l, uint32_t file, uint32_t *out_first,
                        uint32_t *out_last)
{
    if (file >= l->n_files || l->files[file].len == 0)
        return false;
    *out_first = (uint32_t)(l->files[file].off / l->piece_len);
    *out_last = (uint32_t)((file_end(l, file) - 1) / l->piece_len);
    return true;
}

bool layout_piece_file(const struct layout *l, uint32_t piece, uint32_t *out_file,
                       uint32_t *out_index)
{
    if (piece >= l->n_pieces)
        return false;
    uint32_t file = find_file(l, piece_off(l, piece));
    const struct metainfo_file *f = &l->files[file];
    if (f->flags & FILE_PAD)
        return false;
    *out_file = file;
    *out_index = piece - (uint32_t)(f->off / l->piece_len);
    return true;
}
