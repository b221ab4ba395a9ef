/* v2_torrent: v2 info dictionaries (BEP 52) with made-up leaves, for tests of hashes without data.
 *
 * Ownership  v2_torrent_clear frees what v2_torrent_init made
 * Errors     the caller's assert: nothing here can fail with memory at hand
 */
#pragma once
#include "base/rng.h"
#include "torrent/merkle.h"
#include "torrent/metainfo.h"
#include <assert.h>

#define V2_FILES_MAX 24u

struct v2_torrent {
    struct metainfo *bare;  /* as from a magnet: no piece layers */
    struct metainfo *whole; /* with them */
    uint32_t n_files;
    uint8_t *leaves[V2_FILES_MAX]; /* by file of the metainfo; NULL for an empty file */
    uint64_t n_leaves[V2_FILES_MAX];
    struct buf info;
    struct mem *mem;
};

static inline void v2_put_layer(struct v2_torrent *t, uint32_t file)
{
    struct merkle_shape s;
    const struct metainfo_file *f = &t->whole->files[file];
    bool is_shape = merkle_shape_of(f->len, t->whole->piece_len, &s);
    assert(is_shape);
    uint8_t *layer = malloc((size_t)s.n_pieces * SHA256_LEN);
    uint64_t per_piece = 1ull << s.piece_height;
    for (uint64_t i = 0; i < s.n_pieces; i++) {
        uint64_t first = i * per_piece;
        uint64_t n = s.n_leaves - first < per_piece ? s.n_leaves - first : per_piece;
        merkle_root(t->leaves[file] + first * SHA256_LEN, n, 0, s.piece_height,
                    layer + i * SHA256_LEN);
    }
    enum err_code code = metainfo_set_piece_layer(
        t->whole, file, bytes_of(layer, (size_t)s.n_pieces * SHA256_LEN), NULL);
    assert(code == ERR_OK);
    free(layer);
}

/* lens: of the files, in order; a file whose length equals the one before it gets the same leaves. */
static inline void v2_torrent_init(struct v2_torrent *t, struct mem *mem, uint32_t piece_len,
                                   const uint64_t *lens, uint32_t n_files)
{
    struct rng rng;
    char name[16];
    assert(n_files <= V2_FILES_MAX);
    *t = (struct v2_torrent){.mem = mem, .n_files = n_files};
    rng_init(&rng, piece_len + n_files);
    buf_init(&t->info, mem, 1u << 20);
    buf_str(&t->info, "d9:file treed");
    for (uint32_t i = 0; i < n_files; i++) {
        struct merkle_shape s;
        uint8_t root[SHA256_LEN];
        snprintf(name, sizeof name, "f%02u", i);
        buf_printf(&t->info, "3:%sd0:d6:lengthi%llue", name, (unsigned long long)lens[i]);
        if (lens[i]) {
            bool is_shape = merkle_shape_of(lens[i], piece_len, &s);
            assert(is_shape);
            t->n_leaves[i] = s.n_leaves;
            t->leaves[i] = malloc((size_t)s.n_leaves * SHA256_LEN);
            if (i && lens[i] == lens[i - 1])
                memcpy(t->leaves[i], t->leaves[i - 1], (size_t)s.n_leaves * SHA256_LEN);
            else
                rng_fill(&rng, t->leaves[i], (size_t)s.n_leaves * SHA256_LEN);
            merkle_root(t->leaves[i], s.n_leaves, 0, s.root_height, root);
            buf_str(&t->info, "11:pieces root32:");
            buf_put(&t->info, bytes_of(root, sizeof root));
        }
        buf_str(&t->info, "ee");
    }
    buf_printf(&t->info, "e12:meta versioni2e4:name1:t12:piece lengthi%uee", piece_len);
    struct err err = {0};
    enum err_code a = metainfo_read_info(&t->bare, buf_bytes(&t->info), mem, NULL, &err);
    enum err_code b = metainfo_read_info(&t->whole, buf_bytes(&t->info), mem, NULL, &err);
    if (a || b)
        fprintf(stderr, "v2_torrent: %s\n", err.what);
    assert(a == ERR_OK && b == ERR_OK);
    for (uint32_t i = 0; i < n_files; i++)
        if (t->whole->files[i].n_layer)
            v2_put_layer(t, i);
    assert(t->whole->has_piece_layers);
}

/* The leaves of a piece, as the data on disk would give them. */
static inline const uint8_t *v2_piece_leaves(const struct v2_torrent *t, uint32_t piece)
{
    uint32_t file, index;
    bool is_found = layout_piece_file(&t->whole->layout, piece, &file, &index);
    assert(is_found);
    return t->leaves[file] + (size_t)index * (t->whole->piece_len / MERKLE_BLOCK_LEN) * SHA256_LEN;
}

static inline void v2_torrent_clear(struct v2_torrent *t)
{
    for (uint32_t i = 0; i < t->n_files; i++)
        free(t->leaves[i]);
    metainfo_free(t->bare);
    metainfo_free(t->whole);
    buf_clear(&t->info);
}
