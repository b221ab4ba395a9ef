/* script/: the interpreter, the signature hashes, taproot's trees. */
#include "chain/script_cache.h"
#include "chain/script_op.h"
#include "chain/script_verify.h"
#include "chain/sighash.h"
#include "chain/tx.h"
#include "crypto/secp.h"
#include "vec.h"

/* Small, fixed and different from run to run: which flags are added or taken away. */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Flags that lean on others without having them: no node runs so. */
static bool flags_make_sense(uint32_t f)
{
    if (f & SCRIPT_CLEANSTACK &&
        (f & (SCRIPT_P2SH | SCRIPT_WITNESS)) != (SCRIPT_P2SH | SCRIPT_WITNESS))
        return false;
    if (f & SCRIPT_WITNESS && !(f & SCRIPT_P2SH))
        return false;
    return !(f & SCRIPT_TAPROOT) || f & SCRIPT_WITNESS;
}

/* --- script_tests.json ----------------------------------------------------------------------- */

#define N_FLAG_TRIALS 256u

struct script_case {
    struct bytes script_sig, script_pubkey, witness;
    uint32_t n_witness, flags;
    int64_t amount_sat;
    const char *want, *comment;
    /* taproot placeholders */
    struct bytes leaf;
    uint8_t output[32];
    bool is_odd;
};

/* BIP 341, "Constructing and spending Taproot outputs": a point whose logarithm nobody knows. */
static const char nums[] = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0";

/* The tree of one leaf. */
static bool make_tree(struct vec *v, struct script_case *c, struct bytes leaf)
{
    struct hash256 root, tweak;
    struct sha256_state s;
    struct bytes internal = vec_hex(v, nums);
    c->leaf = leaf;
    sighash_tapleaf(0xc0, leaf, &root);
    sighash_tag_init(&s, TAG_TAPTWEAK);
    sha256_update(&s, internal);
    sha256_update(&s, bytes_of(root.b, 32));
    sha256_final(&s, tweak.b);
    return secp_tweak_add(internal.data, tweak.b, c->output, &c->is_odd);
}

static bool witness_item(struct vec *v, struct script_case *c, const char *text, struct bytes *out)
{
    if (strncmp(text, "#SCRIPT#", 8) == 0)
        return vec_assemble(v, bytes_of_str(text + 8), out) && make_tree(v, c, *out);
    if (strcmp(text, "#CONTROLBLOCK#") == 0) {
        uint8_t *control = vec_alloc(v, 33, 1);
        control[0] = (uint8_t)(0xc0 | c->is_odd);
        memcpy(control + 1, vec_hex(v, nums).data, 32);
        *out = bytes_of(control, 33);
        return true;
    }
    *out = vec_hex(v, text);
    return out->data != NULL;
}

/* [item..., amount] */
static bool read_witness(struct vec *v, const json_t *j, struct script_case *c)
{
    size_t n = json_array_size(j) - 1, cap = 1;
    struct bytes *items = vec_alloc(v, n, sizeof *items);
    for (size_t i = 0; i < n; i++) {
        if (!witness_item(v, c, vec_str(json_array_get(j, i)), &items[i]))
            return false;
        cap += items[i].len + 9;
    }
    struct writer w = writer_init(vec_alloc(v, cap, 1), cap);
    for (size_t i = 0; i < n; i++) {
        writer_compact_size(&w, items[i].len);
        writer_put(&w, items[i]);
    }
    c->witness = writer_bytes(&w);
    c->n_witness = (uint32_t)n;
    c->amount_sat = vec_amount(json_array_get(j, n));
    return true;
}

static bool read_script_pubkey(struct vec *v, const char *text, struct script_case *c)
{
    if (!strstr(text, "#TAPROOTOUTPUT#"))
        return vec_assemble(v, bytes_of_str(text), &c->script_pubkey);
    uint8_t *script = vec_alloc(v, 34, 1);
    script[0] = OP_1;
    script[1] = 32;
    memcpy(script + 2, c->output, 32);
    c->script_pubkey = bytes_of(script, 34);
    return true;
}

static bool read_script_case(struct vec *v, const json_t *row, struct script_case *c)
{
    size_t at = json_is_array(json_array_get(row, 0)) ? 1 : 0;
    if (at && !read_witness(v, json_array_get(row, 0), c))
        return false;
    c->want = vec_str(json_array_get(row, at + 3));
    c->comment = vec_str(json_array_get(row, at + 4));
    return vec_assemble(v, bytes_of_str(vec_str(json_array_get(row, at))), &c->script_sig) &&
           read_script_pubkey(v, vec_str(json_array_get(row, at + 1)), c) &&
           script_flags_parse(bytes_of_str(vec_str(json_array_get(row, at + 2))), &c->flags);
}

/* The transaction that the case spends, and the one that spends it: as the first rows of the file
 * describe them. */
static bool make_txs(struct vec *v, const struct script_case *c, struct tx *credit,
                     struct tx *spend)
{
    size_t cap = c->script_pubkey.len + c->script_sig.len + 200;
    struct writer w = writer_init(vec_alloc(v, cap, 1), cap);
    writer_u32le(&w, 1);
    writer_u8(&w, 1);
    writer_fill(&w, 0, 32);
    writer_u32le(&w, UINT32_MAX);
    writer_put(&w, BYTES_LIT("\x02\x00\x00"));
    writer_u32le(&w, UINT32_MAX);
    writer_u8(&w, 1);
    writer_u64le(&w, (uint64_t)c->amount_sat);
    writer_compact_size(&w, c->script_pubkey.len);
    writer_put(&w, c->script_pubkey);
    writer_u32le(&w, 0);
    if (!writer_ok(&w) || !vec_tx(v, writer_bytes(&w), credit))
        return false;
    w = writer_init(vec_alloc(v, cap, 1), cap);
    writer_u32le(&w, 1);
    writer_u8(&w, 1);
    writer_put(&w, bytes_of(credit->txid.b, 32));
    writer_u32le(&w, 0);
    writer_compact_size(&w, c->script_sig.len);
    writer_put(&w, c->script_sig);
    writer_u32le(&w, UINT32_MAX);
    writer_u8(&w, 1);
    writer_u64le(&w, (uint64_t)c->amount_sat);
    writer_u8(&w, 0);
    writer_u32le(&w, 0);
    return writer_ok(&w) && vec_tx(v, writer_bytes(&w), spend);
}

static enum script_err run_script_case(const struct script_case *c, const struct tx_spend *s,
                                       uint32_t flags)
{
    return script_verify_with(s, 0, c->script_sig, c->script_pubkey, c->witness, c->n_witness,
                              c->amount_sat, flags, NULL, NULL);
}

/* What passes, passes with fewer flags; what fails, fails with more. */
static bool flags_are_monotone(struct vec *v, const struct script_case *c, const struct tx_spend *s,
                               uint32_t flags, bool is_ok)
{
    uint32_t random = (uint32_t)(v->n_passed + v->n_failed);
    for (unsigned i = 0; i < N_FLAG_TRIALS; i++) {
        uint32_t other = next_random(&random) & ((1u << SCRIPT_N_FLAGS) - 1);
        uint32_t f = is_ok ? flags & ~other : flags | other;
        if (flags_make_sense(f) && (run_script_case(c, s, f) == SCRIPT_ERR_OK) != is_ok) {
            printf("  flags %x instead of %x change the answer\n", f, flags);
            return false;
        }
    }
    return true;
}

static void check_script_case(struct vec *v, const json_t *row, size_t index)
{
    struct script_case c = {.comment = ""};
    struct tx credit, spend;
    struct tx_spend s;
    if (!read_script_case(v, row, &c) || !make_txs(v, &c, &credit, &spend)) {
        vec_case(v, false, "row %zu is not understood", index);
        return;
    }
    tx_spend_init(&s, &spend, credit.out);
    uint32_t flags = c.flags;
    if (flags & SCRIPT_CLEANSTACK)
        flags |= SCRIPT_P2SH | SCRIPT_WITNESS;
    const char *got = script_err_name(run_script_case(&c, &s, flags));
    vec_case(
        v, strcmp(got, c.want) == 0 && flags_are_monotone(v, &c, &s, flags, strcmp(got, "OK") == 0),
        "row %zu: %s, want %s (%s)", index, got, c.want, c.comment);
}

static void check_script_tests(struct vec *v)
{
    json_t *all = vec_json(v), *row;
    size_t i;
    json_array_foreach(all, i, row)
    {
        if (json_array_size(row) > 1)
            check_script_case(v, row, i);
    }
}

/* --- sighash.json ---------------------------------------------------------------------------- */

static void check_sighash_case(struct vec *v, const json_t *row, size_t index)
{
    struct tx tx;
    struct hash256 got;
    struct hash256 want = vec_hash_reversed(v, vec_str(json_array_get(row, 4)));
    struct bytes code = vec_json_hex(v, json_array_get(row, 1));
    uint32_t in_index = (uint32_t)json_integer_value(json_array_get(row, 2));
    uint32_t type = (uint32_t)json_integer_value(json_array_get(row, 3));
    if (!vec_tx(v, vec_json_hex(v, json_array_get(row, 0)), &tx)) {
        vec_case(v, false, "row %zu: no transaction", index);
        return;
    }
    sighash_legacy(&tx, in_index, code, type, NULL, &got);
    vec_case(v, hash256_equal(&got, &want), "row %zu: another hash", index);
}

static void check_sighash(struct vec *v)
{
    json_t *all = vec_json(v), *row;
    size_t i;
    json_array_foreach(all, i, row)
    {
        if (json_array_size(row) == 5)
            check_sighash_case(v, row, i);
    }
}

/* --- bip143.json ----------------------------------------------------------------------------- */

/* A preimage says everything that goes into it: which input, script code, amount, hash type. */
struct preimage {
    struct hash256 sighash;
    struct outpoint prev;
    struct bytes code;
    int64_t amount_sat;
    uint32_t type;
};

static bool read_preimage(struct bytes b, struct preimage *p)
{
    struct reader r = reader_init(b);
    reader_skip(&r, 4 + 32 + 32);
    reader_copy(&r, p->prev.txid.b, 32);
    p->prev.n = reader_u32le(&r);
    p->code = reader_take(&r, (size_t)reader_compact_size(&r));
    p->amount_sat = (int64_t)reader_u64le(&r);
    reader_skip(&r, 4 + 32 + 4);
    p->type = reader_u32le(&r);
    return reader_end(&r) == ERR_OK;
}

static bool hash_fits(struct bytes raw, struct bytes want)
{
    uint8_t digest[SHA256_LEN];
    sha256(raw, digest);
    sha256(bytes_of(digest, sizeof digest), digest);
    return want.len == sizeof digest && memcmp(digest, want.data, sizeof digest) == 0;
}

static bool find_in(const struct tx *tx, const struct outpoint *o, uint32_t *out)
{
    for (*out = 0; *out < tx->n_in; ++*out) {
        if (hash256_equal(&tx->in[*out].prev.txid, &o->txid) && tx->in[*out].prev.n == o->n)
            return true;
    }
    return false;
}

static bool preimage_fits(const struct tx *tx, uint32_t index, const struct preimage *p,
                          struct bytes want)
{
    struct tx_spend s;
    struct hash256 got;
    tx_spend_init(&s, tx, NULL);
    sighash_v0(&s, index, p->code, p->amount_sat, p->type, NULL, &got);
    return memcmp(got.b, want.data, 32) == 0;
}

/* The same must come out of the unsigned transaction, whose mid-states are made on demand. */
static void check_preimage(struct vec *v, const struct tx *with, const struct tx *without,
                           const json_t *hash, const char *section, size_t j)
{
    struct preimage p;
    uint32_t index;
    struct bytes raw = vec_json_hex(v, json_object_get(hash, "preimage"));
    struct bytes want = vec_json_hex(v, json_object_get(hash, "sighash"));
    bool is_good = read_preimage(raw, &p) && hash_fits(raw, want);
    if (is_good && find_in(with, &p.prev, &index))
        is_good = preimage_fits(with, index, &p, want) && preimage_fits(without, index, &p, want);
    else if (is_good)
        printf("%s: %s, hash %zu: its transaction is not there, only the hash itself was checked\n",
               v->name, section, j);
    vec_case(v, is_good, "%s, hash %zu", section, j);
}

static void check_bip143(struct vec *v)
{
    json_t *all = vec_json(v), *example, *hash;
    size_t i, j;
    json_array_foreach(all, i, example)
    {
        struct tx with, without;
        const char *section = vec_str(json_object_get(example, "section"));
        if (!vec_tx(v, vec_json_hex(v, json_object_get(example, "signed_tx")), &with) ||
            !vec_tx(v, vec_json_hex(v, json_object_get(example, "unsigned_tx")), &without)) {
            vec_case(v, false, "%s: no transaction", section);
            continue;
        }
        json_array_foreach(json_object_get(example, "sighashes"), j, hash)
            check_preimage(v, &with, &without, hash, section, j);
    }
}

/* --- bip341_wallet_vectors.json -------------------------------------------------------------- */

#define TREE_DEPTH_MAX  8u
#define TREE_LEAVES_MAX 16u

struct tree {
    size_t n;
    struct leaf {
        struct hash256 hash;
        uint8_t version;
        uint8_t path[TREE_DEPTH_MAX][32];
        size_t depth;
        size_t index; /* its "id": the order of the file's lists */
    } leaves[TREE_LEAVES_MAX];
};

static void add_to_path(struct tree *t, size_t from, size_t to, const struct hash256 *h)
{
    for (size_t i = from; i < to; i++)
        memcpy(t->leaves[i].path[t->leaves[i].depth++], h->b, 32);
}

/* A leaf is an object, a branch an array of two. */
static struct hash256 hash_tree(struct vec *v, const json_t *node, struct tree *t, unsigned depth)
{
    struct hash256 out = {0};
    if (depth >= TREE_DEPTH_MAX || t->n >= TREE_LEAVES_MAX)
        return out;
    if (json_is_object(node)) {
        struct leaf *leaf = &t->leaves[t->n++];
        leaf->index = (size_t)json_integer_value(json_object_get(node, "id"));
        leaf->version = (uint8_t)json_integer_value(json_object_get(node, "leafVersion"));
        sighash_tapleaf(leaf->version, vec_json_hex(v, json_object_get(node, "script")),
                        &leaf->hash);
        return leaf->hash;
    }
    size_t from = t->n;
    struct hash256 a = hash_tree(v, json_array_get(node, 0), t, depth + 1);
    size_t middle = t->n;
    struct hash256 b = hash_tree(v, json_array_get(node, 1), t, depth + 1);
    add_to_path(t, from, middle, &b);
    add_to_path(t, middle, t->n, &a);
    sighash_tapbranch(a.b, b.b, out.b);
    return out;
}

static void hash_tweak(struct bytes internal, const struct hash256 *root, struct hash256 *out)
{
    struct sha256_state s;
    sighash_tag_init(&s, TAG_TAPTWEAK);
    sha256_update(&s, internal);
    if (root)
        sha256_update(&s, bytes_of(root->b, 32));
    sha256_final(&s, out->b);
}

static bool control_is(const struct leaf *leaf, struct bytes internal, bool is_odd,
                       const char *want)
{
    uint8_t control[33 + 32 * TREE_DEPTH_MAX];
    struct writer w = writer_init(control, sizeof control);
    writer_u8(&w, (uint8_t)(leaf->version | is_odd));
    writer_put(&w, internal);
    for (size_t i = 0; i < leaf->depth; i++)
        writer_put(&w, bytes_of(leaf->path[i], 32));
    return vec_is_hex(writer_bytes(&w), want);
}

/* Each control block also has to convince the check that a spend goes through. */
static bool leaves_are(const struct tree *t, const json_t *hashes, const json_t *controls,
                       struct bytes internal, bool is_odd)
{
    bool is_good = json_array_size(hashes) == t->n;
    for (size_t i = 0; i < t->n && is_good; i++) {
        const struct leaf *leaf = &t->leaves[i];
        is_good =
            vec_is_hex(bytes_of(leaf->hash.b, 32), vec_str(json_array_get(hashes, leaf->index))) &&
            control_is(leaf, internal, is_odd, vec_str(json_array_get(controls, leaf->index)));
    }
    return is_good;
}

static void check_tree(struct vec *v, const json_t *row, size_t index)
{
    json_t *given = json_object_get(row, "given"), *middle = json_object_get(row, "intermediary");
    json_t *want = json_object_get(row, "expected");
    json_t *json_tree = json_object_get(given, "scriptTree");
    struct tree *t = vec_alloc(v, 1, sizeof *t);
    struct bytes internal = vec_json_hex(v, json_object_get(given, "internalPubkey"));
    struct hash256 root = {0}, tweak;
    uint8_t script[34] = {OP_1, 32};
    bool is_odd = false, has_tree = json_tree && !json_is_null(json_tree);
    if (has_tree)
        root = hash_tree(v, json_tree, t, 0);
    hash_tweak(internal, has_tree ? &root : NULL, &tweak);
    bool is_good = internal.len == 32 &&
                   secp_tweak_add(internal.data, tweak.b, script + 2, &is_odd) &&
                   secp_tweak_check(script + 2, is_odd, internal.data, tweak.b) &&
                   !secp_tweak_check(script + 2, !is_odd, internal.data, tweak.b);
    if (has_tree)
        is_good &= vec_is_hex(bytes_of(root.b, 32), vec_str(json_object_get(middle, "merkleRoot")));
    is_good &= vec_is_hex(bytes_of(tweak.b, 32), vec_str(json_object_get(middle, "tweak"))) &&
               vec_is_hex(bytes_of(script, 34), vec_str(json_object_get(want, "scriptPubKey")));
    vec_case(v,
             is_good &&
                 leaves_are(t, json_object_get(middle, "leafHashes"),
                            json_object_get(want, "scriptPathControlBlocks"), internal, is_odd),
             "scriptPubKey %zu", index);
}

static struct tx_out *read_spent(struct vec *v, const json_t *utxos)
{
    size_t i;
    json_t *utxo;
    struct tx_out *spent = vec_alloc(v, json_array_size(utxos), sizeof *spent);
    json_array_foreach(utxos, i, utxo)
    {
        spent[i].value_sat = json_integer_value(json_object_get(utxo, "amountSats"));
        spent[i].script = vec_json_hex(v, json_object_get(utxo, "scriptPubKey"));
    }
    return spent;
}

/* From the secret key to the witness: key, tweak, hash, signature. */
static bool key_path_fits(struct vec *v, const struct tx_spend *s, const json_t *row)
{
    static const uint8_t zero[32];
    json_t *given = json_object_get(row, "given"), *middle = json_object_get(row, "intermediary");
    struct sighash_taproot none = {.codesep_pos = UINT32_MAX};
    struct bytes secret = vec_json_hex(v, json_object_get(given, "internalPrivkey"));
    struct bytes root = vec_json_hex(v, json_object_get(given, "merkleRoot"));
    uint8_t type = (uint8_t)json_integer_value(json_object_get(given, "hashType"));
    uint32_t i = (uint32_t)json_integer_value(json_object_get(given, "txinIndex"));
    struct hash256 tweak, hash, root_hash = {0};
    uint8_t key[33], tweaked[32], sig[65];
    struct secp_signer *signer = secp_signer_new(zero);
    if (root.len == 32)
        memcpy(root_hash.b, root.data, 32);
    bool is_good =
        secret.len == 32 && secp_pubkey(signer, secret.data, key) &&
        vec_is_hex(bytes_of(key + 1, 32), vec_str(json_object_get(middle, "internalPubkey")));
    hash_tweak(bytes_of(key + 1, 32), root.len == 32 ? &root_hash : NULL, &tweak);
    if (is_good)
        memcpy(tweaked, secret.data, 32);
    is_good =
        is_good && secp_secret_tweak(signer, tweaked, tweak.b) &&
        vec_is_hex(bytes_of(tweaked, 32), vec_str(json_object_get(middle, "tweakedPrivkey"))) &&
        sighash_v1(s, i, type, &none, &hash) &&
        vec_is_hex(bytes_of(hash.b, 32), vec_str(json_object_get(middle, "sigHash"))) &&
        secp_schnorr_sign(signer, tweaked, bytes_of(hash.b, 32), zero, sig);
    sig[64] = type;
    json_t *witness = json_object_get(json_object_get(row, "expected"), "witness");
    secp_signer_free(signer);
    return is_good &&
           vec_is_hex(bytes_of(sig, type ? 65 : 64), vec_str(json_array_get(witness, 0)));
}

static bool midstates_fit(const struct tx_spend *s, const json_t *m)
{
    return vec_is_hex(bytes_of(s->amounts1.b, 32), vec_str(json_object_get(m, "hashAmounts"))) &&
           vec_is_hex(bytes_of(s->outputs1.b, 32), vec_str(json_object_get(m, "hashOutputs"))) &&
           vec_is_hex(bytes_of(s->prevouts1.b, 32), vec_str(json_object_get(m, "hashPrevouts"))) &&
           vec_is_hex(bytes_of(s->scripts1.b, 32),
                      vec_str(json_object_get(m, "hashScriptPubkeys"))) &&
           vec_is_hex(bytes_of(s->sequences1.b, 32), vec_str(json_object_get(m, "hashSequences")));
}

/* The signed transaction as a whole: every input holds. */
static bool signed_holds(struct vec *v, const json_t *row, const struct tx_out *spent)
{
    struct tx tx;
    struct tx_spend s;
    uint32_t flags =
        SCRIPT_P2SH | SCRIPT_WITNESS | SCRIPT_TAPROOT | SCRIPT_DERSIG | SCRIPT_NULLDUMMY;
    json_t *signed_tx = json_object_get(json_object_get(row, "auxiliary"), "fullySignedTx");
    if (!vec_tx(v, vec_json_hex(v, signed_tx), &tx))
        return false;
    tx_spend_init(&s, &tx, spent);
    bool is_good = true;
    for (uint32_t i = 0; i < tx.n_in; i++)
        is_good &= script_verify(&s, i, flags, NULL, NULL) == SCRIPT_ERR_OK;
    return is_good && midstates_fit(&s, json_object_get(row, "intermediary"));
}

static void check_key_path(struct vec *v, const json_t *row, size_t index)
{
    json_t *given = json_object_get(row, "given"), *input;
    struct tx_out *spent = read_spent(v, json_object_get(given, "utxosSpent"));
    struct tx tx;
    struct tx_spend s;
    size_t i;
    if (!vec_tx(v, vec_json_hex(v, json_object_get(given, "rawUnsignedTx")), &tx)) {
        vec_case(v, false, "keyPathSpending %zu: no transaction", index);
        return;
    }
    tx_spend_init(&s, &tx, spent);
    json_array_foreach(json_object_get(row, "inputSpending"), i, input)
        vec_case(v, key_path_fits(v, &s, input), "keyPathSpending %zu, input %zu", index, i);
    vec_case(v, signed_holds(v, row, spent), "keyPathSpending %zu, signed", index);
}

static void check_bip341(struct vec *v)
{
    json_t *all = vec_json(v), *row;
    size_t i;
    json_array_foreach(json_object_get(all, "scriptPubKey"), i, row) check_tree(v, row, i);
    json_array_foreach(json_object_get(all, "keyPathSpending"), i, row) check_key_path(v, row, i);
}

/* --- script_assets --------------------------------------------------------------------------- */

static const uint32_t asset_flags[] = {
    SCRIPT_P2SH,
    SCRIPT_DERSIG,
    SCRIPT_NULLDUMMY,
    SCRIPT_CHECKLOCKTIMEVERIFY,
    SCRIPT_CHECKSEQUENCEVERIFY,
    SCRIPT_WITNESS,
    SCRIPT_TAPROOT,
};
#define N_ASSET_FLAGS (sizeof asset_flags / sizeof *asset_flags)

static bool read_half(struct vec *v, const json_t *half, struct tx_in *in)
{
    json_t *items = json_object_get(half, "witness"), *item;
    size_t i, cap = 1;
    json_array_foreach(items, i, item) cap += json_string_length(item) / 2 + 9;
    struct writer w = writer_init(vec_alloc(v, cap, 1), cap);
    json_array_foreach(items, i, item)
    {
        struct bytes b = vec_json_hex(v, item);
        writer_compact_size(&w, b.len);
        writer_put(&w, b);
    }
    in->script_sig = vec_json_hex(v, json_object_get(half, "scriptSig"));
    in->witness = writer_bytes(&w);
    in->n_witness = (uint32_t)json_array_size(items);
    return in->script_sig.data && writer_ok(&w);
}

static bool read_prevouts(struct vec *v, const json_t *list, struct tx_out *out)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        struct bytes raw = vec_json_hex(v, item);
        struct reader r = reader_init(raw);
        out[i].value_sat = (int64_t)reader_u64le(&r);
        out[i].script = reader_take(&r, (size_t)reader_compact_size(&r));
        if (reader_end(&r) != ERR_OK)
            return false;
    }
    return true;
}

/* Under every combination of flags that matters, without the cache and twice with it (the second
 * time all is found there). */
static bool half_holds(struct tx *tx, const struct tx_out *spent, uint32_t index, uint32_t flags,
                       bool is_final, bool want_ok, struct script_cache *cache)
{
    struct tx_spend s;
    tx_spend_init(&s, tx, spent);
    for (uint32_t bits = 0; bits < 1u << N_ASSET_FLAGS; bits++) {
        uint32_t f = 0;
        for (unsigned i = 0; i < N_ASSET_FLAGS; i++)
            f |= bits >> i & 1 ? asset_flags[i] : 0;
        bool is_subset = (f & ~flags) == 0, is_superset = (flags & ~f) == 0;
        if (!flags_make_sense(f) || !(want_ok ? is_subset || is_final : is_superset))
            continue;
        for (unsigned with = 0; with < 3; with++) {
            bool is_ok = script_verify(&s, index, with ? f | SCRIPT_CACHE_STORE : f,
                                       with ? cache : NULL, NULL) == SCRIPT_ERR_OK;
            if (is_ok != want_ok)
                return false;
        }
    }
    return true;
}

static bool asset_holds(struct vec *v, const json_t *row, struct script_cache *cache)
{
    struct tx tx;
    uint32_t flags, index = (uint32_t)json_integer_value(json_object_get(row, "index"));
    json_t *prevouts = json_object_get(row, "prevouts"), *half;
    struct tx_out *spent = vec_alloc(v, json_array_size(prevouts), sizeof *spent);
    bool is_final = json_is_true(json_object_get(row, "final"));
    if (!vec_tx(v, vec_json_hex(v, json_object_get(row, "tx")), &tx) || index >= tx.n_in ||
        json_array_size(prevouts) != tx.n_in || !read_prevouts(v, prevouts, spent) ||
        !script_flags_parse(bytes_of_str(vec_str(json_object_get(row, "flags"))), &flags))
        return false;
    half = json_object_get(row, "success");
    if (half && (!read_half(v, half, &tx.in[index]) ||
                 !half_holds(&tx, spent, index, flags, is_final, true, cache)))
        return false;
    half = json_object_get(row, "failure");
    return !half || (read_half(v, half, &tx.in[index]) &&
                     half_holds(&tx, spent, index, flags, false, false, cache));
}

static void check_asset(struct vec *v, const json_t *row, size_t index, struct script_cache *cache)
{
    struct arena rest = v->arena; /* what one line needs goes with it */
    arena_init(&v->arena, &v->mem, rest.limit_len);
    vec_case(v, asset_holds(v, row, cache), "line %zu: %s", index,
             vec_str(json_object_get(row, "comment")));
    arena_clear(&v->arena);
    v->arena = rest;
}

/* One object a line (.jsonl), or one array of them. */
static void check_script_assets(struct vec *v)
{
    static const uint8_t salt[32] = {7};
    struct script_cache *cache;
    struct bytes rest = v->data;
    json_t *row;
    size_t i = 0;
    if (script_cache_new(&cache, &v->mem, 1 << 20, salt) != ERR_OK)
        exit(2);
    if (rest.len && rest.data[0] == '[') {
        json_t *all = vec_json(v);
        json_array_foreach(all, i, row) check_asset(v, row, i, cache);
    } else {
        while ((row = vec_json_line(v, &rest)))
            check_asset(v, row, ++i, cache);
    }
    struct script_cache_stats stats;
    script_cache_stats(cache, &stats);
    vec_case(v, stats.n_sig_hits > 0, "the cache was never hit");
    script_cache_free(cache);
}

const struct vec_check vec_script_checks[] = {
    {"script/script_tests*.json", check_script_tests},
    {"script/sighash*.json", check_sighash},
    {"script/bip143*.json", check_bip143},
    {"script/bip341_wallet_vectors*.json", check_bip341},
    {"script/script_assets*", check_script_assets},
    {0},
};
