/* filters/: what a light client is given: partial merkle trees (BIP 37). */
#include "chain/block.h"
#include "chain/merkle_block.h"
#include "vec.h"

/* merkle300025*.raw hold these two transactions of the main chain's block 300,025 (from where the
 * files are from); ids in wire order. */
static const char *const matches_300025[] = {
    "7393f84cd04ca8931975c66282ebf1847c78d8de6c2578d4f9bae23bc6f30857",
    "ec8c51de3170301430ec56f6703533d9ea5b05c6fa7068954bcb90eed8c2ee5c",
};

static bool is_300025(const struct merkle_block *m)
{
    struct hash256 hash;
    block_header_hash(&m->header, &hash);
    return vec_is_hex(bytes_of(m->header.merkle_root.b, 32),
                      "28bec1d35af480ba3884553d72694f6ba6c163a5c081d7e6edaec15f373f19af");
}

/* bcoin's longer form has the transactions behind the tree: how many, and those that match, in
 * their order. */
static void check_txs_behind(struct vec *v, struct reader *r, const struct merkle_match *matches,
                             uint32_t n)
{
    if (reader_left(r) > 0)
        vec_case(v, reader_compact_size(r) == n, "another number of transactions");
    for (uint32_t i = 0; i < n && reader_left(r) > 0; i++) {
        struct tx t;
        bool is_good = tx_read(r, &v->arena, true, &t) == ERR_OK;
        if (is_good)
            tx_hash(&t);
        vec_case(v, is_good && hash256_equal(&t.txid, &matches[i].txid), "transaction %u", i);
    }
    vec_case(v, reader_end(r) == ERR_OK, "bytes are left over");
}

/* Changed anywhere it proves nothing, or not the same. */
static void check_changed(struct vec *v, const struct merkle_block *m, uint32_t n)
{
    uint8_t *raw = vec_alloc(v, m->hashes.len, 1);
    uint32_t n_refused = 0, got;
    for (uint32_t i = 0; i < m->n_hashes; i++) {
        struct merkle_block wrong = *m;
        struct merkle_match *matches;
        memcpy(raw, m->hashes.data, m->hashes.len);
        raw[32 * i] ^= 1;
        wrong.hashes = bytes_of(raw, m->hashes.len);
        n_refused += merkle_block_verify(&wrong, &v->arena, &matches, &got, NULL) != ERR_OK;
    }
    vec_case(v, n > 0 && n_refused == m->n_hashes, "%u of %u wrong hashes refused", n_refused,
             m->n_hashes);
}

static void check_merkle_block(struct vec *v)
{
    struct reader r = reader_init(v->data);
    struct merkle_block m;
    struct merkle_match *matches;
    struct err err = {0};
    uint32_t n;
    if (!vec_case(v, merkle_block_read(&r, &m) == ERR_OK, "cannot be read") ||
        !vec_case(v, merkle_block_verify(&m, &v->arena, &matches, &n, &err) == ERR_OK, "%s",
                  err.what))
        return;
    if (is_300025(&m))
        vec_case(v, n == 2, "%u matches", n);
    for (uint32_t i = 0; is_300025(&m) && i < n && i < 2; i++)
        vec_case(v, vec_is_hex(bytes_of(matches[i].txid.b, 32), matches_300025[i]), "match %u", i);
    check_changed(v, &m, n);
    check_txs_behind(v, &r, matches, n);
}

const struct vec_check vec_filters_checks[] = {
    {"filters/merkle*.raw", check_merkle_block},
    {0},
};
