/* Scripts beside libsecp256k1 alone, in one run: inputs of each usual type are checked whole (hashes
 * of the transaction included, as a block's are), and then their signatures and taproot tweaks alone
 * in a tight loop over the same keys. What is left over is the interpreter and the signature hashes.
 * CPU time of one core; medians of interleaved rounds.
 *
 * usage: bench_script [ROUNDS [TYPE]]   (1 round of one type: for callgrind)
 */
#include "bench_clock.h"
#include "chain/script_op.h"
#include "chain/script_verify.h"
#include "chain/sighash.h"
#include "chain/tx.h"
#include "crypto/hash160.h"
#include "crypto/secp.h"

#define N_INPUTS     128u
#define N_ROUNDS_MAX 99u
#define N_KEYS       3u

struct key {
    uint8_t secret[32], pub[33];
};

/* One signature and what it signs, for the tight loop. */
struct check {
    uint8_t sig[73], pubkey[33];
    size_t sig_len; /* without the hash type */
    struct hash256 hash;
};

struct input {
    struct tx tx;
    struct tx_in in;
    struct tx_out out[2], spent;
    struct key keys[N_KEYS];
    struct check checks[2];
    unsigned n_checks;
    struct {
        bool is_used, is_odd;
        uint8_t output[32], internal[32], tweak[32];
    } tweak;
    uint8_t script_sig[300], witness[400], spent_script[40], redeem[120], program[34], outs[2][22];
    struct writer sig_writer, witness_writer;
};

static struct input inputs[N_INPUTS];
static struct secp_signer *signer;
static uint64_t counter;

/* --- making inputs --------------------------------------------------------------------------- */

static void make_key(struct key *k)
{
    sha256(bytes_of(&counter, sizeof counter), k->secret);
    counter++;
    secp_pubkey(signer, k->secret, k->pub);
}

/* Somebody's witness key hash. */
static void make_out(uint8_t out[22])
{
    out[0] = OP_0;
    out[1] = 20;
    hash160(bytes_of(&counter, sizeof counter), out + 2);
    counter++;
}

static void make_plain(struct input *in)
{
    *in = (struct input){.tx = {.version = 2, .n_in = 1, .n_out = 2}};
    for (unsigned i = 0; i < N_KEYS; i++)
        make_key(&in->keys[i]);
    for (unsigned i = 0; i < 2; i++) {
        make_out(in->outs[i]);
        in->out[i] = (struct tx_out){5000, bytes_of(in->outs[i], 22)};
    }
    sha256(bytes_of(&counter, sizeof counter), in->in.prev.txid.b);
    in->in.sequence = UINT32_MAX - 1;
    in->tx.in = &in->in;
    in->tx.out = in->out;
    in->spent.value_sat = 12000;
    in->sig_writer = writer_init(in->script_sig, sizeof in->script_sig);
    in->witness_writer = writer_init(in->witness, sizeof in->witness);
}

static void push(struct writer *w, struct bytes b)
{
    if (b.len > 75)
        writer_u8(w, OP_PUSHDATA1);
    writer_u8(w, (uint8_t)b.len);
    writer_put(w, b);
}

static void add_item(struct input *in, struct bytes b)
{
    writer_compact_size(&in->witness_writer, b.len);
    writer_put(&in->witness_writer, b);
    in->in.n_witness++;
}

static struct bytes key_hash_script(const uint8_t pub[33], uint8_t out[25])
{
    memcpy(out, "\x76\xa9\x14", 3);
    hash160(bytes_of(pub, 33), out + 3);
    memcpy(out + 23, "\x88\xac", 2);
    return bytes_of(out, 25);
}

static void lock_p2sh(struct input *in, struct bytes redeem)
{
    in->spent_script[0] = OP_HASH160;
    in->spent_script[1] = 20;
    hash160(redeem, in->spent_script + 2);
    in->spent_script[22] = OP_EQUAL;
    in->spent.script = bytes_of(in->spent_script, 23);
}

static struct bytes multisig_script(struct input *in)
{
    struct writer w = writer_init(in->redeem, sizeof in->redeem);
    writer_u8(&w, OP_1 + 1);
    for (unsigned i = 0; i < N_KEYS; i++)
        push(&w, bytes_of(in->keys[i].pub, 33));
    writer_u8(&w, OP_1 + 2);
    writer_u8(&w, OP_CHECKMULTISIG);
    return writer_bytes(&w);
}

/* A signature by this key; kept for the tight loop. */
static struct bytes sign(struct input *in, const struct key *k, struct bytes code, bool is_v0)
{
    struct check *c = &in->checks[in->n_checks++];
    struct tx_spend s = {.tx = &in->tx, .spent = &in->spent};
    if (is_v0)
        sighash_v0(&s, 0, code, in->spent.value_sat, SIGHASH_ALL, NULL, &c->hash);
    else
        sighash_legacy(&in->tx, 0, code, SIGHASH_ALL, NULL, &c->hash);
    secp_ecdsa_sign(signer, k->secret, c->hash.b, c->sig, &c->sig_len);
    c->sig[c->sig_len] = SIGHASH_ALL;
    memcpy(c->pubkey, k->pub, 33);
    return bytes_of(c->sig, c->sig_len + 1);
}

static void make_p2pkh(struct input *in)
{
    in->spent.script = key_hash_script(in->keys[0].pub, in->spent_script);
    push(&in->sig_writer, sign(in, &in->keys[0], in->spent.script, false));
    push(&in->sig_writer, bytes_of(in->keys[0].pub, 33));
}

static void make_p2sh_multisig(struct input *in)
{
    struct bytes redeem = multisig_script(in);
    lock_p2sh(in, redeem);
    writer_u8(&in->sig_writer, OP_0);
    push(&in->sig_writer, sign(in, &in->keys[1], redeem, false));
    push(&in->sig_writer, sign(in, &in->keys[2], redeem, false));
    push(&in->sig_writer, redeem);
}

static void unlock_p2wpkh(struct input *in)
{
    uint8_t code[25];
    add_item(in, sign(in, &in->keys[0], key_hash_script(in->keys[0].pub, code), true));
    add_item(in, bytes_of(in->keys[0].pub, 33));
}

static struct bytes p2wpkh_program(struct input *in)
{
    in->program[0] = OP_0;
    in->program[1] = 20;
    hash160(bytes_of(in->keys[0].pub, 33), in->program + 2);
    return bytes_of(in->program, 22);
}

static void make_p2wpkh(struct input *in)
{
    in->spent.script = p2wpkh_program(in);
    unlock_p2wpkh(in);
}

static void make_p2sh_p2wpkh(struct input *in)
{
    push(&in->sig_writer, p2wpkh_program(in));
    lock_p2sh(in, p2wpkh_program(in));
    unlock_p2wpkh(in);
}

static void make_p2wsh_multisig(struct input *in)
{
    struct bytes script = multisig_script(in);
    in->program[0] = OP_0;
    in->program[1] = 32;
    sha256(script, in->program + 2);
    in->spent.script = bytes_of(in->program, 34);
    add_item(in, (struct bytes){0});
    add_item(in, sign(in, &in->keys[1], script, true));
    add_item(in, sign(in, &in->keys[2], script, true));
    add_item(in, script);
}

/* The tweaked output key of this root (NULL: none), and the program. */
static void lock_taproot(struct input *in, const struct hash256 *root)
{
    struct sha256_state s;
    memcpy(in->tweak.internal, in->keys[0].pub + 1, 32);
    sighash_tag_init(&s, TAG_TAPTWEAK);
    sha256_update(&s, bytes_of(in->tweak.internal, 32));
    if (root)
        sha256_update(&s, bytes_of(root->b, 32));
    sha256_final(&s, in->tweak.tweak);
    secp_tweak_add(in->tweak.internal, in->tweak.tweak, in->tweak.output, &in->tweak.is_odd);
    in->program[0] = OP_1;
    in->program[1] = 32;
    memcpy(in->program + 2, in->tweak.output, 32);
    in->spent.script = bytes_of(in->program, 34);
}

static struct bytes sign_taproot(struct input *in, const uint8_t secret[32], const uint8_t pub[32],
                                 const struct sighash_taproot *t)
{
    struct check *c = &in->checks[in->n_checks++];
    struct tx_spend s = {.tx = &in->tx, .spent = &in->spent};
    static const uint8_t aux[32];
    sighash_v1(&s, 0, SIGHASH_DEFAULT, t, &c->hash);
    secp_schnorr_sign(signer, secret, bytes_of(c->hash.b, 32), aux, c->sig);
    c->sig_len = 64;
    memcpy(c->pubkey, pub, 32);
    return bytes_of(c->sig, 64);
}

static void make_p2tr_key(struct input *in)
{
    struct sighash_taproot t = {.codesep_pos = UINT32_MAX};
    lock_taproot(in, NULL);
    secp_secret_tweak(signer, in->keys[0].secret, in->tweak.tweak);
    add_item(in, sign_taproot(in, in->keys[0].secret, in->tweak.output, &t));
}

static void make_p2tr_script(struct input *in)
{
    struct sighash_taproot t = {.is_tapscript = true, .codesep_pos = UINT32_MAX};
    struct writer w = writer_init(in->redeem, sizeof in->redeem);
    uint8_t control[33];
    push(&w, bytes_of(in->keys[1].pub + 1, 32));
    writer_u8(&w, OP_CHECKSIG);
    sighash_tapleaf(0xc0, writer_bytes(&w), &t.leaf);
    lock_taproot(in, &t.leaf);
    in->tweak.is_used = true;
    add_item(in, sign_taproot(in, in->keys[1].secret, in->keys[1].pub + 1, &t));
    add_item(in, writer_bytes(&w));
    control[0] = (uint8_t)(0xc0 | in->tweak.is_odd);
    memcpy(control + 1, in->tweak.internal, 32);
    add_item(in, bytes_of(control, sizeof control));
}

static const struct {
    const char *name;
    void (*make)(struct input *in);
} types[] = {
    {"P2PKH", make_p2pkh},
    {"P2SH 2 of 3", make_p2sh_multisig},
    {"P2WPKH", make_p2wpkh},
    {"P2SH-P2WPKH", make_p2sh_p2wpkh},
    {"P2WSH 2 of 3", make_p2wsh_multisig},
    {"P2TR key", make_p2tr_key},
    {"P2TR script", make_p2tr_script},
};
#define N_TYPES (sizeof types / sizeof *types)

static void make_inputs(size_t type)
{
    for (unsigned i = 0; i < N_INPUTS; i++) {
        make_plain(&inputs[i]);
        types[type].make(&inputs[i]);
        inputs[i].in.script_sig = writer_bytes(&inputs[i].sig_writer);
        inputs[i].in.witness = writer_bytes(&inputs[i].witness_writer);
    }
}

/* --- measuring ------------------------------------------------------------------------------- */

static double cpu_s(void)
{
    return clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

static void give_up(const char *what)
{
    fprintf(stderr, "bench_script: %s\n", what);
    exit(1);
}

static void run_whole(void)
{
    const uint32_t flags = SCRIPT_P2SH | SCRIPT_DERSIG | SCRIPT_CHECKLOCKTIMEVERIFY |
                           SCRIPT_CHECKSEQUENCEVERIFY | SCRIPT_WITNESS | SCRIPT_NULLDUMMY |
                           SCRIPT_TAPROOT;
    for (unsigned i = 0; i < N_INPUTS; i++) {
        struct tx_spend s;
        tx_spend_init(&s, &inputs[i].tx, &inputs[i].spent);
        if (script_verify(&s, 0, flags, NULL, NULL) != SCRIPT_ERR_OK)
            give_up("an input does not hold");
    }
}

static bool check_raw(const struct check *c)
{
    if (c->sig_len == 64)
        return secp_schnorr_verify(c->sig, c->pubkey, bytes_of(c->hash.b, 32));
    return secp_ecdsa_verify(bytes_of(c->sig, c->sig_len), bytes_of(c->pubkey, 33), c->hash.b);
}

static void run_raw(void)
{
    bool is_good = true;
    for (unsigned i = 0; i < N_INPUTS; i++) {
        for (unsigned k = 0; k < inputs[i].n_checks; k++)
            is_good &= check_raw(&inputs[i].checks[k]);
        if (inputs[i].tweak.is_used)
            is_good &= secp_tweak_check(inputs[i].tweak.output, inputs[i].tweak.is_odd,
                                        inputs[i].tweak.internal, inputs[i].tweak.tweak);
    }
    if (!is_good)
        give_up("a signature does not hold");
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double timed(void (*run)(void))
{
    double began = cpu_s();
    run();
    return cpu_s() - began;
}

static void measure(size_t type, unsigned n_rounds)
{
    double whole[N_ROUNDS_MAX], raw[N_ROUNDS_MAX];
    make_inputs(type);
    for (unsigned r = 0; r < n_rounds; r++) {
        whole[r] = timed(run_whole);
        raw[r] = timed(run_raw);
    }
    qsort(whole, n_rounds, sizeof *whole, by_value);
    qsort(raw, n_rounds, sizeof *raw, by_value);
    double w = whole[n_rounds / 2] / N_INPUTS, s = raw[n_rounds / 2] / N_INPUTS;
    printf("| %-12s | %8.0f | %8.0f | %5.1f %% | %6.2f |\n", types[type].name, 1 / w, 1 / s,
           100 * s / w, 1e6 * (w - s));
}

int main(int argc, char **argv)
{
    static const uint8_t random[32] = {1};
    long n_rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 15;
    if (n_rounds < 1 || n_rounds > (long)N_ROUNDS_MAX)
        give_up("1 to 99 rounds");
    signer = secp_signer_new(random);
    if (!signer)
        give_up("no memory");
    printf("| input        | inputs/s | raw      | of raw  | rest µs |\n");
    printf("|--------------|----------|----------|---------|---------|\n");
    for (size_t i = 0; i < N_TYPES; i++) {
        if (argc < 3 || strcmp(argv[2], types[i].name) == 0)
            measure(i, (unsigned)n_rounds);
    }
    secp_signer_free(signer);
    return 0;
}
