/* block_record: what is remembered of every block: header, standing, places in the block files.
 *
 * Threads    plain values
 */
#pragma once
#include "chain/primitives.h"

struct block_pos {
    uint32_t file; /* NNNNN */
    uint32_t off;  /* of the data behind magic and length */
    uint32_t len;
};
#define BLOCK_POS_NONE ((struct block_pos){UINT32_MAX, 0, 0})

enum block_status { /* bits; chainstate.h says what they mean */
                    BLOCK_HAS_DATA = 1u << 0,
                    BLOCK_HAS_UNDO = 1u << 1,
                    BLOCK_IS_VALID = 1u << 2,   /* connected once: every rule holds */
                    BLOCK_IS_FAILED = 1u << 3,  /* itself invalid, or said so by the user */
                    BLOCK_IS_MANUAL = 1u << 4,  /* with FAILED: invalidateblock */
                    BLOCK_IS_ASSUMED = 1u << 5, /* with VALID: its scripts were not run */
};

struct block_record {
    struct block_header header;
    uint32_t n_txs; /* 0: block not seen */
    uint32_t status;
    struct block_pos block, undo;
    uint64_t sequence; /* order in which data arrived: ties go to the first */
};
