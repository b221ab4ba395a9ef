/* layout: maps the piece space to files.
 *
 * v1 and hybrid: the files stand end to end, pad files (BEP 47) among them; the last piece is
 * short. v2 alone (BEP 52): each file starts on a piece boundary and ends in a short piece; nothing
 * lies in the gap. Offsets in the piece space are piece * piece_len + begin in both.
 *
 * Pad bytes are zeros: never asked for, never written. The pad bytes that end a piece are left out
 * of layout_piece_data_len and of its blocks, so a piece may have no block at all (all pad). Pad
 * bytes inside a piece (no known program makes such) are walked with is_pad set.
 *
 * Ownership  borrows the files of a metainfo; a plain value, usually &metainfo->layout
 * Threads    read only
 * Errors     none: piece, begin and len are checked by the caller (layout_has_range) or clamped
 * Cost       O(log files) to find a place, O(1) per file walked
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAYOUT_BLOCK_LEN 16384u /* equals BLOCK_LEN of host.h */

struct metainfo_file;

struct layout {
    const struct metainfo_file *files; /* offsets never decrease */
    uint32_t n_files;
    uint32_t n_pieces;
    uint32_t piece_len;
    bool is_aligned;    /* v2 alone: pieces end with their file */
    uint64_t space_len; /* end of the last file in the piece space, pads included */
    uint64_t data_len;  /* all files without pads */
};

/* On the wire: what request offsets may cover. 0 when piece is out of range, as below. */
uint32_t layout_piece_len(const struct layout *l, uint32_t piece);
/* Without the pad bytes at the end: what is asked for. */
uint32_t layout_piece_data_len(const struct layout *l, uint32_t piece);
uint32_t layout_n_blocks(const struct layout *l, uint32_t piece); /* of the data length */
uint32_t layout_block_len(const struct layout *l, uint32_t piece, uint32_t block);
uint64_t layout_n_blocks_all(const struct layout *l); /* O(pieces) only if there are pads or v2 */
/* A request a peer may make: inside the piece, len not 0. Pads count as bytes. In v2 alone a range
 * that begins inside the file may reach to the end of its 16 KiB block: libtorrent 2.0.8 asks for
 * whole blocks at the end of a file (seen, also at the end of the last one), and an answer of another
 * length than asked is an error. What lies behind the file is zeros. */
bool layout_has_range(const struct layout *l, uint32_t piece, uint32_t begin, uint32_t len);

/* The files under [begin, begin + len) of a piece, in order; clamped as in layout_has_range: in v2
 * alone the last run may be the zeros behind a file, is_pad with the file before them. */
struct layout_run {
    uint32_t file;
    bool is_pad;
    uint64_t file_off;
    uint32_t len; /* never 0 */
};
struct layout_walk {
    const struct layout *layout;
    uint64_t off, end; /* piece space */
    uint32_t file;
};
struct layout_walk layout_walk(const struct layout *l, uint32_t piece, uint32_t begin,
                               uint32_t len);
bool layout_walk_next(struct layout_walk *w, struct layout_run *out);

/* First and last piece that hold bytes of the file; false for an empty file. */
bool layout_file_pieces(const struct layout *l, uint32_t file, uint32_t *out_first,
                        uint32_t *out_last);
/* v2 and hybrid: the one data file of a piece and the index of the piece in that file. False when
 * the piece holds no data file. In a v1 torrent: the file at the piece's first byte. */
bool layout_piece_file(const struct layout *l, uint32_t piece, uint32_t *out_file,
                       uint32_t *out_index);
