/* reorg_odds: the probability that a block is ever replaced by an attacker who makes blocks of his
 * own from before it, when it is depth blocks deep (1: it is the tip).
 *
 * Two formulas for the same race: Nakamoto's ("Bitcoin", section 11), which takes the honest
 * miners' time for granted, and the exact closed form of Grunspan and Perez-Marco ("Double spend
 * races", 2018): the regularised incomplete beta function I(4 p q; depth, 1/2).
 *
 * Threads    pure functions
 * Errors     none: a share of half or more of the work is certainty, depth 0 too; probabilities
 *            below the smallest double are 0
 */
#pragma once
#include <stdint.h>

double reorg_odds_nakamoto(uint32_t depth, double attacker_share);
double reorg_odds_exact(uint32_t depth, double attacker_share);
