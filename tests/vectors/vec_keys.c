/* keys/: signatures by themselves. */
#include "crypto/secp.h"
#include "vec.h"

/* --- bip340.csv ------------------------------------------------------------------------------- */

struct bip340_row {
    struct bytes index, secret, pubkey, aux, msg, sig, result;
};

static void read_bip340_row(struct vec *v, struct bytes line, struct bip340_row *r)
{
    r->index = vec_field(&line, ',');
    r->secret = vec_hex_of(v, vec_field(&line, ','));
    r->pubkey = vec_hex_of(v, vec_field(&line, ','));
    r->aux = vec_hex_of(v, vec_field(&line, ','));
    r->msg = vec_hex_of(v, vec_field(&line, ','));
    r->sig = vec_hex_of(v, vec_field(&line, ','));
    r->result = vec_field(&line, ',');
}

static bool signs_the_same(struct secp_signer *s, const struct bip340_row *r)
{
    uint8_t key[33], sig[SECP_SCHNORR_LEN];
    return r->aux.len == 32 && secp_pubkey(s, r->secret.data, key) &&
           memcmp(key + 1, r->pubkey.data, 32) == 0 &&
           secp_schnorr_sign(s, r->secret.data, r->msg, r->aux.data, sig) &&
           memcmp(sig, r->sig.data, sizeof sig) == 0;
}

static void check_bip340(struct vec *v)
{
    static const uint8_t zero[32];
    struct bytes rest = v->data, line;
    struct secp_signer *s = secp_signer_new(zero);
    vec_line(&rest, &line); /* names of the columns */
    while (vec_line(&rest, &line)) {
        struct bip340_row r;
        read_bip340_row(v, line, &r);
        bool want = bytes_equal_str(r.result, "TRUE");
        bool is_good = r.pubkey.len == 32 && r.sig.len == SECP_SCHNORR_LEN &&
                       secp_schnorr_verify(r.sig.data, r.pubkey.data, r.msg) == want;
        if (is_good && r.secret.len == 32)
            is_good = signs_the_same(s, &r);
        vec_case(v, is_good, "row %.*s", (int)r.index.len, (const char *)r.index.data);
    }
    secp_signer_free(s);
}

const struct vec_check vec_keys_checks[] = {
    {"keys/bip340*.csv", check_bip340},
    {0},
};
