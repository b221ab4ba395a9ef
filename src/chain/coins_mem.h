/* coins_mem: a coins_store in memory, for tests and simulation: with faults and crashes on demand.
 *
 * Ownership  owns its coins; the struct stays where it is while its store is in use
 * Threads    any, one at a time inside (a spin lock: calls are short)
 * Errors     ERR_NO_MEMORY, and ERR_IO where asked for
 */
#pragma once
#include "base/map.h"
#include "chain/coins_store.h"

/* What a write that fails leaves behind: both are allowed by the contract. */
enum coins_mem_fault {
    COINS_MEM_FINE = 0,
    COINS_MEM_LOST,  /* nothing was written            */
    COINS_MEM_TAKEN, /* all was written, ERR_IO all the same: the crash came after it */
};

struct coins_mem {
    struct mem *mem;
    struct map coins; /* outpoint -> struct coins_mem_value */
    struct coins_tip tip;
    struct coins_store_stats stats;
    enum coins_mem_fault write_fault; /* of the next write; then fine again */
    uint64_t fail_get_at;             /* this get_many fails (1 = the next); 0: none */
    char lock;
};

void coins_mem_init(struct coins_mem *m, struct mem *mem, struct map_seed seed);
void coins_mem_clear(struct coins_mem *m);
struct coins_store coins_mem_store(struct coins_mem *m);
