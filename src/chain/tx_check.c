#include "base/size.h"
#include "chain/tx.h"

#define BLOCK_LEN_MAX    1000000u /* stripped: BIP 141, weight / 4 */
#define COINBASE_LEN_MIN 2u       /* of its input's script */
#define COINBASE_LEN_MAX 100u

/* --- the same outpoint twice (CVE-2018-17144) ------------------------------------------------- */

#define N_PLAIN     6u   /* ours: up to here each pair is compared */
#define N_SLOTS_MIN 256u /* ours: on the stack */
#define N_PROBES    64u  /* ours: a longer chain was made on purpose: sort instead */

/* Open addressing over indices + 1 (0: free); n_slots is a power of two, at least 2 n. */
struct input_set {
    const struct tx *t;
    uint32_t *slots;
    uint32_t n_slots;
};

static bool prev_equal(const struct tx *t, uint32_t a, uint32_t b)
{
    const struct outpoint *x = &t->in[a].prev, *y = &t->in[b].prev;
    return x->n == y->n && hash256_equal(&x->txid, &y->txid);
}

static uint32_t prev_hash(const struct outpoint *o)
{
    uint64_t v;
    memcpy(&v, o->txid.b, sizeof v);
    return (uint32_t)((v ^ (uint64_t)o->n * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu >> 32);
}

enum put_result { PUT_NEW, PUT_DUPLICATE, PUT_CROWDED };

static enum put_result input_set_put(struct input_set *s, uint32_t i)
{
    uint32_t at = prev_hash(&s->t->in[i].prev);
    for (uint32_t n = 0; n < N_PROBES; n++, at++) {
        uint32_t *slot = &s->slots[at & (s->n_slots - 1)];
        if (*slot == 0) {
            *slot = i + 1;
            return PUT_NEW;
        }
        if (prev_equal(s->t, *slot - 1, i))
            return PUT_DUPLICATE;
    }
    return PUT_CROWDED;
}

static int prev_compare(const struct tx *t, uint32_t a, uint32_t b)
{
    const struct outpoint *x = &t->in[a].prev, *y = &t->in[b].prev;
    int order = memcmp(x->txid.b, y->txid.b, sizeof x->txid.b);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static void sift_down(const struct tx *t, uint32_t *heap, uint32_t at, uint32_t n)
{
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && prev_compare(t, heap[child], heap[child + 1]) < 0)
            child++;
        if (prev_compare(t, heap[at], heap[child]) >= 0)
            return;
        uint32_t swap = heap[at];
        heap[at] = heap[child], heap[child] = swap;
    }
}

/* Heap sort: n log n whatever a stranger chose. The slots' memory holds the order. */
static bool has_duplicate_sorted(const struct tx *t, uint32_t *order)
{
    for (uint32_t i = 0; i < t->n_in; i++)
        order[i] = i;
    for (uint32_t i = t->n_in / 2; i-- > 0;)
        sift_down(t, order, i, t->n_in);
    for (uint32_t n = t->n_in; n-- > 1;) {
        uint32_t largest = order[0];
        order[0] = order[n], order[n] = largest;
        sift_down(t, order, 0, n);
    }
    for (uint32_t i = 1; i < t->n_in; i++)
        if (prev_equal(t, order[i - 1], order[i]))
            return true;
    return false;
}

static bool has_duplicate_plain(const struct tx *t)
{
    for (uint32_t i = 1; i < t->n_in; i++)
        for (uint32_t j = 0; j < i; j++)
            if (prev_equal(t, i, j))
                return true;
    return false;
}

/* Without memory for the set every pair is compared: slow, and right. */
static bool has_duplicate_inputs(const struct tx *t, struct arena *scratch)
{
    uint32_t on_stack[N_SLOTS_MIN];
    struct input_set s = {.t = t, .slots = on_stack, .n_slots = N_SLOTS_MIN};
    while (s.n_slots / 2 < t->n_in)
        s.n_slots *= 2;
    if (s.n_slots > N_SLOTS_MIN)
        s.slots = arena_alloc(scratch, s.n_slots * sizeof *s.slots);
    if (t->n_in <= N_PLAIN || !s.slots)
        return has_duplicate_plain(t);
    memset(s.slots, 0, s.n_slots * sizeof *s.slots);
    for (uint32_t i = 0; i < t->n_in; i++) {
        enum put_result result = input_set_put(&s, i);
        if (result == PUT_CROWDED)
            return has_duplicate_sorted(t, s.slots);
        if (result == PUT_DUPLICATE)
            return true;
    }
    return false;
}

/* --- CheckTransaction ------------------------------------------------------------------------ */
static const char *check_outputs(const struct tx *t)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < t->n_out; i++) {
        int64_t v = t->out[i].value_sat;
        if (v < 0)
            return "bad-txns-vout-negative";
        if (v > MONEY_SATS_MAX)
            return "bad-txns-vout-toolarge";
        sum += v; /* both below 2^51 */
        if (sum > MONEY_SATS_MAX)
            return "bad-txns-txouttotal-toolarge";
    }
    return NULL;
}

static const char *check_inputs(const struct tx *t)
{
    if (tx_is_coinbase(t)) {
        size_t len = t->in[0].script_sig.len;
        return len < COINBASE_LEN_MIN || len > COINBASE_LEN_MAX ? "bad-cb-length" : NULL;
    }
    for (uint32_t i = 0; i < t->n_in; i++)
        if (outpoint_is_null(&t->in[i].prev))
            return "bad-txns-prevout-null";
    return NULL;
}

const char *tx_check(const struct tx *t, struct arena *scratch)
{
    if (t->n_in == 0)
        return "bad-txns-vin-empty";
    if (t->n_out == 0)
        return "bad-txns-vout-empty";
    if (t->stripped_len > BLOCK_LEN_MAX)
        return "bad-txns-oversize";
    const char *reason = check_outputs(t);
    if (reason)
        return reason;
    if (has_duplicate_inputs(t, scratch))
        return "bad-txns-inputs-duplicate";
    return check_inputs(t);
}
