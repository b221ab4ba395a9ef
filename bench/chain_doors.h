/* chain_doors: the doors into the parts of an import, each with the phase it is charged to
 * (phases.h). The linker leads calls from other files through the wrappers of chain_doors.c
 * (--wrap, bench/meson.build); the stores of blocks and coins are tables, whose functions are
 * replaced. The code that is measured knows nothing of it. Off, a wrapper is one test of a flag.
 *
 * Threads    as phases.h
 */
#pragma once
#include "chain/chain_store.h"
#include "chain/coins_store.h"
#include "phases.h"

/* What must have happened for a door to be gone through. */
enum door_when { DOOR_ALWAYS, DOOR_SCRIPTS, DOOR_REORG, DOOR_FETCH, DOOR_THREADS, N_DOOR_WHENS };

/* In place: the functions of *blocks and *coins lead through the doors from now on; what they stood
 * for is kept here, one of each. */
void chain_doors_take(struct chain_store *blocks, struct coins_store *coins);

/* has[when] tells which doors must have been used. Prints the names of those that were not: the
 * linker did not catch them, or nobody calls them any more. */
bool chain_doors_check(const struct phases_sum *sum, const bool has[N_DOOR_WHENS]);
uint64_t chain_doors_n_checks(const struct phases_sum *sum); /* signatures and tweaks */
