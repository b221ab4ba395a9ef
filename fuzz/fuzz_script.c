/* script: whatever a stranger writes as scripts and witness, the interpreter stays within its bounds
 * and answers the same each time, with the cache and without; a flag more never makes valid what was
 * not. The scripts come bare, or wrapped as P2SH, P2WSH, both, or as a tapscript.
 */
#include "base/arena.h"
#include "chain/script_cache.h"
#include "chain/script_op.h"
#include "chain/script_verify.h"
#include "chain/sighash.h"
#include "chain/tx.h"
#include "crypto/hash160.h"
#include "crypto/secp.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ROOM_LEN 65536u

enum wrap { BARE, P2SH, P2WSH, P2SH_P2WSH, TAPSCRIPT, N_WRAPS };

struct input {
    uint32_t flags, fewer;
    enum wrap wrap;
    struct bytes script_sig, script;
    struct bytes witness; /* serialised items */
    uint32_t n_witness;
    struct tx_in in;
    struct tx tx;
    struct tx_out out, spent;
};

static uint8_t sig_room[ROOM_LEN], witness_room[ROOM_LEN], program[40];

/* Combinations that lean on flags they do not have are nobody's rules. */
static uint32_t sensible(uint32_t f)
{
    f &= (1u << SCRIPT_N_FLAGS) - 1;
    if (!(f & SCRIPT_P2SH))
        f &= ~(uint32_t)SCRIPT_WITNESS;
    if (!(f & SCRIPT_WITNESS))
        f &= ~(uint32_t)(SCRIPT_CLEANSTACK | SCRIPT_TAPROOT);
    return f;
}

static struct bytes take(struct reader *r)
{
    uint16_t len = reader_u16le(r);
    return reader_take(r, len <= reader_left(r) ? len : reader_left(r));
}

static void put_item(struct input *t, struct writer *w, struct bytes item)
{
    writer_compact_size(w, item.len);
    writer_put(w, item);
    t->n_witness++;
}

static struct bytes p2wsh_program(struct bytes script)
{
    program[0] = OP_0;
    program[1] = 32;
    sha256(script, program + 2);
    return bytes_of(program, 34);
}

/* The tree of this leaf alone, under the generator as the inner key. */
static struct bytes taproot_program(struct bytes script, uint8_t control[33])
{
    static const uint8_t g[32] = {0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62,
                                  0x95, 0xce, 0x87, 0x0b, 0x07, 0x02, 0x9b, 0xfc, 0xdb, 0x2d, 0xce,
                                  0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98};
    struct hash256 leaf;
    struct sha256_state s;
    uint8_t tweak[32];
    bool is_odd = false;
    sighash_tapleaf(0xc0, script, &leaf);
    sighash_tag_init(&s, TAG_TAPTWEAK);
    sha256_update(&s, bytes_of(g, 32));
    sha256_update(&s, bytes_of(leaf.b, 32));
    sha256_final(&s, tweak);
    program[0] = OP_1;
    program[1] = 32;
    assert(secp_tweak_add(g, tweak, program + 2, &is_odd));
    control[0] = (uint8_t)(0xc0 | is_odd);
    memcpy(control + 1, g, 32);
    return bytes_of(program, 34);
}

static void wrap(struct input *t, struct writer *sig, struct writer *witness)
{
    static uint8_t p2sh[23], control[33];
    struct bytes redeem = t->script;
    t->spent.script = t->script;
    if (t->wrap == P2WSH || t->wrap == P2SH_P2WSH) {
        put_item(t, witness, t->script);
        t->spent.script = redeem = p2wsh_program(t->script);
    } else if (t->wrap == TAPSCRIPT) {
        t->spent.script = taproot_program(t->script, control);
        put_item(t, witness, t->script);
        put_item(t, witness, bytes_of(control, sizeof control));
    }
    if (t->wrap == P2SH || t->wrap == P2SH_P2WSH) {
        script_write_push(sig, redeem);
        p2sh[0] = OP_HASH160;
        p2sh[1] = 20;
        hash160(redeem, p2sh + 2);
        p2sh[22] = OP_EQUAL;
        t->spent.script = bytes_of(p2sh, sizeof p2sh);
    }
}

static void read_input(struct input *t, struct bytes data)
{
    struct reader r = reader_init(data);
    struct writer sig = writer_init(sig_room, sizeof sig_room);
    struct writer witness = writer_init(witness_room, sizeof witness_room);
    *t = (struct input){.flags = sensible(reader_u32le(&r))};
    t->fewer = sensible(t->flags & reader_u32le(&r));
    t->wrap = reader_u8(&r) % N_WRAPS;
    t->tx.version = reader_u32le(&r);
    t->tx.lock_time = reader_u32le(&r);
    t->in.sequence = reader_u32le(&r);
    writer_put(&sig, take(&r));
    t->script = take(&r);
    for (unsigned n = reader_u8(&r); n > 0 && reader_left(&r) > 0; n--)
        put_item(t, &witness, take(&r));
    t->out.script = BYTES_LIT("\x6a");
    t->spent.value_sat = 1000;
    wrap(t, &sig, &witness);
    t->in.script_sig = writer_bytes(&sig);
    t->in.witness = writer_bytes(&witness);
    t->in.n_witness = writer_ok(&witness) ? t->n_witness : 0;
    t->tx.n_in = t->tx.n_out = 1;
    t->tx.in = &t->in;
    t->tx.out = &t->out;
}

/* The looks that are taken at scripts without running them. */
static void look_at(struct bytes s)
{
    unsigned version;
    struct bytes rest;
    assert(script_sigops(s, true) <= script_sigops(s, false));
    assert(script_sigops(s, false) <= SCRIPT_N_PUBKEYS_MAX * s.len);
    assert(script_type_name(s));
    if (script_witness_program(s, &version, &rest))
        assert(version <= 16 && rest.len >= 2 && rest.len <= 40 && !script_is_p2sh(s));
    (void)script_is_push_only(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t salt[32] = {5};
    static struct input t;
    struct tx_spend s;
    struct mem mem;
    struct script_cache *cache;
    read_input(&t, bytes_of(data, len));
    tx_spend_init(&s, &t.tx, &t.spent);
    look_at(t.script);
    look_at(t.in.script_sig);
    mem_init(&mem, MEM_NO_BUDGET, NULL);
    assert(script_cache_new(&cache, &mem, 1024, salt) == ERR_OK);
    enum script_err e = script_verify(&s, 0, t.flags, NULL, NULL);
    assert(script_verify(&s, 0, t.flags | SCRIPT_CACHE_STORE, cache, NULL) == e);
    assert(script_verify(&s, 0, t.flags, cache, NULL) == e);
    if (e == SCRIPT_ERR_OK)
        assert(script_verify(&s, 0, t.fewer, NULL, NULL) == SCRIPT_ERR_OK);
    assert(e != SCRIPT_ERR_UNKNOWN_ERROR && e < SCRIPT_ERR_NO_MEMORY);
    (void)tx_sigop_cost(&t.tx, &t.spent, t.flags);
    script_cache_free(cache);
    mem_check_empty(&mem);
    return 0;
}
