/* The layout against a model that knows every byte of small random torrents. */
#include "base/rng.h"
#include "base/size.h"
#include "test_util.h"
#include "torrent/metainfo.h"

#define N_FILES_MAX 12u
#define SPACE_MAX   4096u
#define NOWHERE     UINT32_MAX

struct model {
    struct metainfo m;
    struct metainfo_file files[N_FILES_MAX];
    uint32_t owner[SPACE_MAX]; /* file of each byte of the piece space; NOWHERE in v2 gaps */
};

/* metainfo_finish_files is internal; what it promises is written out again here. */
static void finish(struct model *w, bool is_aligned)
{
    struct metainfo *m = &w->m;
    uint64_t data_len = 0, pad_from = 0, end = 0;
    bool is_in_pads = false;
    for (uint32_t i = 0; i < m->n_files; i++) {
        struct metainfo_file *f = &w->files[i];
        bool is_pad = f->flags & FILE_PAD;
        if (is_pad && !is_in_pads)
            pad_from = f->off;
        if (f->len)
            is_in_pads = is_pad;
        f->pad_from = pad_from;
        data_len += is_pad ? 0 : f->len;
        if (f->len)
            end = f->off + f->len;
        for (uint64_t b = f->off; b < f->off + f->len; b++)
            w->owner[b] = i;
    }
    m->n_pieces = (uint32_t)div_ceil(end, m->piece_len);
    m->files = w->files;
    m->layout = (struct layout){.files = w->files,
                                .n_files = m->n_files,
                                .n_pieces = m->n_pieces,
                                .piece_len = m->piece_len,
                                .is_aligned = is_aligned,
                                .space_len = end,
                                .data_len = data_len};
}

static void make_model(struct model *w, struct rng *rng, bool is_aligned, bool has_pads)
{
    uint64_t off = 0;
    *w = (struct model){.m = {.piece_len = 1 + rng_below(rng, 60)}};
    memset(w->owner, 0xff, sizeof w->owner);
    w->m.n_files = 1 + rng_below(rng, N_FILES_MAX);
    for (uint32_t i = 0; i < w->m.n_files; i++) {
        struct metainfo_file *f = &w->files[i];
        f->off = off;
        f->len = rng_below(rng, 4) ? rng_below(rng, 200) : 0;
        if (i + 1 == w->m.n_files)
            f->len++; /* something must be there */
        f->flags = has_pads && i % 2 == 1 && rng_below(rng, 2) ? FILE_PAD : 0;
        off += f->len;
        if (is_aligned)
            off = div_ceil(off, w->m.piece_len) * w->m.piece_len;
    }
    finish(w, is_aligned);
}

static uint32_t model_piece_end(const struct model *w, uint32_t piece)
{
    uint64_t begin = (uint64_t)piece * w->m.piece_len, len = 0;
    while (len < w->m.piece_len && begin + len < SPACE_MAX && w->owner[begin + len] != NOWHERE)
        len++;
    return (uint32_t)(begin + len);
}

static void check_piece(const struct model *w, uint32_t piece, struct rng *rng)
{
    const struct layout *l = &w->m.layout;
    uint32_t begin = piece * w->m.piece_len, end = model_piece_end(w, piece), data_end = end;
    while (data_end > begin && w->files[w->owner[data_end - 1]].flags & FILE_PAD)
        data_end--;
    assert_int_equal(layout_piece_len(l, piece), end - begin);
    assert_int_equal(layout_piece_data_len(l, piece), data_end - begin);
    assert_int_equal(layout_n_blocks(l, piece), div_ceil(data_end - begin, 16384));
    uint32_t from = rng_below(rng, end - begin), len = 1 + rng_below(rng, 2 * w->m.piece_len);
    /* v2 alone: to the end of the 16 KiB block, here always that of the piece */
    uint32_t ask_end = l->is_aligned ? begin + w->m.piece_len : end;
    assert_int_equal(layout_has_range(l, piece, from, len), from + len <= ask_end - begin);
    struct layout_walk walk = layout_walk(l, piece, from, len);
    struct layout_run run;
    uint64_t at = begin + from, stop = u64_min(at + len, ask_end);
    uint32_t before = NOWHERE;
    while (layout_walk_next(&walk, &run)) {
        bool is_gap = at >= end;
        assert_true(run.len > 0 && (run.file != before || is_gap));
        assert_int_equal(run.is_pad, is_gap || (w->files[run.file].flags & FILE_PAD) != 0);
        assert_int_equal(run.file_off, at - w->files[run.file].off);
        for (uint32_t i = 0; i < run.len; i++, at++)
            assert_int_equal(at < SPACE_MAX ? w->owner[at] : NOWHERE, is_gap ? NOWHERE : run.file);
        before = run.file;
    }
    assert_int_equal(at, stop);
}

static void check_file(const struct model *w, uint32_t file)
{
    uint32_t first, last;
    const struct metainfo_file *f = &w->files[file];
    bool has = layout_file_pieces(&w->m.layout, file, &first, &last);
    assert_int_equal(has, f->len > 0);
    if (!has)
        return;
    assert_int_equal(first, f->off / w->m.piece_len);
    assert_int_equal(last, (f->off + f->len - 1) / w->m.piece_len);
    if (!w->m.layout.is_aligned)
        return;
    for (uint32_t i = first; i <= last; i++) {
        uint32_t owner, index;
        assert_true(layout_piece_file(&w->m.layout, i, &owner, &index));
        assert_int_equal(owner, file);
        assert_int_equal(index, i - first);
    }
}

static void test_model(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 4711);
    static struct model w;
    for (int round = 0; round < 3000; round++) {
        make_model(&w, &rng, round % 3 == 1, round % 3 == 2);
        uint64_t n_blocks = 0;
        for (uint32_t i = 0; i < w.m.n_pieces; i++) {
            check_piece(&w, i, &rng);
            n_blocks += layout_n_blocks(&w.m.layout, i);
        }
        assert_int_equal(layout_n_blocks_all(&w.m.layout), n_blocks);
        for (uint32_t i = 0; i < w.m.n_files; i++)
            check_file(&w, i);
        assert_int_equal(layout_piece_len(&w.m.layout, w.m.n_pieces), 0);
        assert_int_equal(layout_piece_data_len(&w.m.layout, UINT32_MAX), 0);
        assert_false(layout_has_range(&w.m.layout, w.m.n_pieces, 0, 1));
        assert_false(layout_has_range(&w.m.layout, 0, 0, 0));
        assert_false(layout_has_range(&w.m.layout, 0, UINT32_MAX, UINT32_MAX));
    }
}

/* v2 alone, pieces of 64 KiB, a file of 20,000 bytes and one of 5: what libtorrent 2.0.8 asks for. */
static void test_ask_behind_end(void **state)
{
    (void)state;
    struct metainfo_file files[] = {{.len = 20000}, {.off = 65536, .len = 5}};
    struct layout l = {.files = files,
                       .n_files = 2,
                       .n_pieces = 2,
                       .piece_len = 65536,
                       .is_aligned = true,
                       .space_len = 65541,
                       .data_len = 20005};
    assert_true(layout_has_range(&l, 0, 16384, 16384));
    assert_false(layout_has_range(&l, 0, 16384, 16385));
    assert_false(layout_has_range(&l, 0, 32768, 1)); /* wholly behind the file */
    assert_false(layout_has_range(&l, 0, 20000, 1));
    assert_true(layout_has_range(&l, 1, 0, 16384));
    assert_false(layout_has_range(&l, 1, 5, 1));
    struct layout_run run;
    struct layout_walk walk = layout_walk(&l, 1, 0, 16384);
    assert_true(layout_walk_next(&walk, &run));
    assert_false(run.is_pad);
    assert_int_equal(run.len, 5);
    assert_true(layout_walk_next(&walk, &run));
    assert_true(run.is_pad);
    assert_int_equal(run.file, 1);
    assert_int_equal(run.len, 16379);
    assert_false(layout_walk_next(&walk, &run));
}

/* A file of a piece and a bit, blocks and all. */
static void test_blocks(void **state)
{
    (void)state;
    static struct model w;
    w = (struct model){.m = {.piece_len = 65536, .n_files = 1}};
    w.files[0].len = 65536 + 16384 + 1;
    w.m.files = w.files;
    w.m.layout = (struct layout){.files = w.files,
                                 .n_files = 1,
                                 .n_pieces = 2,
                                 .piece_len = 65536,
                                 .space_len = w.files[0].len,
                                 .data_len = w.files[0].len};
    assert_int_equal(layout_n_blocks(&w.m.layout, 0), 4);
    assert_int_equal(layout_n_blocks(&w.m.layout, 1), 2);
    assert_int_equal(layout_n_blocks_all(&w.m.layout), 6);
    assert_int_equal(layout_block_len(&w.m.layout, 0, 3), 16384);
    assert_int_equal(layout_block_len(&w.m.layout, 0, 4), 0);
    assert_int_equal(layout_block_len(&w.m.layout, 1, 1), 1);
    assert_int_equal(layout_block_len(&w.m.layout, 1, UINT32_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_ask_behind_end),
        cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
