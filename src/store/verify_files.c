#include "store/verify_files.h"
#include "torrent/merkle.h"

static enum verify_state compare_piece(const struct hash_files *h, uint32_t piece)
{
    const uint8_t *v1 = metainfo_v1_piece_hash(h->info, piece);
    const uint8_t *v2 = metainfo_v2_piece_hash(h->info, piece);
    if (h->is_missing[piece])
        return VERIFY_MISSING;
    if (v1 && memcmp(v1, h->v1 + (size_t)piece * SHA1_LEN, SHA1_LEN) != 0)
        return VERIFY_BAD;
    if (v2 && memcmp(v2, h->v2 + (size_t)piece * SHA256_LEN, SHA256_LEN) != 0)
        return VERIFY_BAD;
    return VERIFY_GOOD;
}

/* The root over what was hashed. All pieces are there. */
static bool root_is_good(const struct hash_files *h, const struct metainfo_file *f)
{
    struct merkle_shape shape;
    return merkle_shape_of(f->len, h->info->piece_len, &shape) &&
           merkle_layer_is_good(&shape, h->v2 + (size_t)f->first_piece * SHA256_LEN,
                                f->pieces_root);
}

static void check_layerless(struct verify_files *v, uint32_t file)
{
    const struct metainfo_file *f = &v->hash.info->files[file];
    uint32_t first, last, n_bad = 0;
    if (f->n_layer == 0 || f->piece_layer ||
        !layout_file_pieces(&v->hash.info->layout, file, &first, &last))
        return;
    for (uint32_t i = first; i <= last; i++)
        n_bad += v->pieces[i] != VERIFY_GOOD;
    if (n_bad > 0 || root_is_good(&v->hash, f))
        return;
    for (uint32_t i = first; i <= last; i++)
        v->pieces[i] = VERIFY_BAD;
}

bool verify_files_count(const struct verify_files *v, uint32_t file, uint32_t *out_n_bad)
{
    uint32_t first, last;
    *out_n_bad = 0;
    if (!layout_file_pieces(&v->hash.info->layout, file, &first, &last))
        return false;
    for (uint32_t i = first; i <= last; i++)
        *out_n_bad += v->pieces[i] != VERIFY_GOOD;
    return true;
}

static void judge_file(struct verify_files *v, uint32_t file)
{
    uint32_t n_bad;
    if (v->hash.info->files[file].flags & FILE_PAD)
        return;
    verify_files_count(v, file, &n_bad);
    v->is_bad_file[file] = n_bad > 0 || atomic_load(&v->hash.files[file].state) != HASH_FILE_OK;
    v->n_bad_files += v->is_bad_file[file];
}

enum err_code verify_files_run(struct verify_files *v, struct err *err)
{
    const struct metainfo *m = v->hash.info;
    v->hash.want_v1 = m->has_v1;
    v->hash.want_v2 = m->has_v2;
    enum err_code code = hash_files_run(&v->hash, err);
    if (code)
        return code;
    v->pieces = mem_calloc(v->hash.mem, m->n_pieces, 1);
    v->is_bad_file = mem_calloc(v->hash.mem, m->n_files, 1);
    if (!v->pieces || !v->is_bad_file)
        return err_set(err, ERR_NO_MEMORY, "no memory to compare hashes");
    for (uint32_t i = 0; i < m->n_pieces; i++)
        v->pieces[i] = (uint8_t)compare_piece(&v->hash, i);
    for (uint32_t i = 0; i < m->n_files && m->has_v2; i++)
        check_layerless(v, i);
    for (uint32_t i = 0; i < m->n_pieces; i++) {
        v->n_bad += v->pieces[i] == VERIFY_BAD;
        v->n_missing += v->pieces[i] == VERIFY_MISSING;
    }
    for (uint32_t i = 0; i < m->n_files; i++)
        judge_file(v, i);
    return ERR_OK;
}

void verify_files_clear(struct verify_files *v)
{
    if (!v->hash.mem)
        return;
    mem_free(v->hash.mem, v->pieces);
    mem_free(v->hash.mem, v->is_bad_file);
    v->pieces = v->is_bad_file = NULL;
    hash_files_clear(&v->hash);
}
