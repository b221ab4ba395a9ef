#include "chain/locks.h"

/* BIP 68, "Specification": counted from the median time past of the block before the one that
 * made the coin; the lock holds for blocks after the moment, so one less. */
static bool time_lock_holds(uint32_t sequence, const struct coin *spent,
                            const struct header_chain *headers, uint32_t parent)
{
    uint32_t before = header_ancestor(headers, parent, spent->height ? spent->height - 1 : 0);
    int64_t from = header_median_time(headers, before);
    int64_t span = (int64_t)(sequence & SEQUENCE_LOCK_MASK) << SEQUENCE_LOCK_SHIFT;
    return from + span - 1 < header_median_time(headers, parent);
}

static bool height_lock_holds(uint32_t sequence, const struct coin *spent,
                              const struct header_chain *headers, uint32_t parent)
{
    int64_t last = (int64_t)spent->height + (sequence & SEQUENCE_LOCK_MASK) - 1;
    return last < (int64_t)header_height(headers, parent) + 1;
}

bool tx_locks_hold(const struct tx *t, const struct coin *spent, const struct header_chain *headers,
                   uint32_t parent)
{
    if (t->version < 2) /* unsigned: what looks negative is bound as well */
        return true;
    for (uint32_t i = 0; i < t->n_in; i++) {
        uint32_t sequence = t->in[i].sequence;
        if (sequence & SEQUENCE_LOCK_OFF)
            continue;
        bool holds = sequence & SEQUENCE_LOCK_BY_TIME
                         ? time_lock_holds(sequence, &spent[i], headers, parent)
                         : height_lock_holds(sequence, &spent[i], headers, parent);
        if (!holds)
            return false;
    }
    return true;
}
