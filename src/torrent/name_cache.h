/* name_cache: addresses of tracker hosts, looked up once for all torrents that ask.
 *
 *             get            answer             life over
 *   (absent) -----> ASKING ----------> KNOWN ---------------> (absent, or ASKING by the next get)
 *
 * Ownership  entries are the cache's; one is good until the next name_cache_get. Whoever waits
 *            links itself into `waiting` and takes itself out again before it is freed
 * Threads    one owner
 * Errors     name_cache_get: ERR_NO_MEMORY; ERR_LIMIT when all entries are being asked for
 * Limits     n_max names; a new one takes the place of the one unused for longest
 */
#pragma once
#include "base/addr.h"
#include "base/list.h"
#include "base/map.h"
#include "base/timer.h"
#include "crypto/sha.h"

#define NAME_LEN_MAX        255u       /* RFC 1035 */
#define NAME_ADDRS_MAX      4u         /* ours: per family */
#define NAME_LIFE_US        600000000u /* ours: getaddrinfo does not tell the record's own */
#define NAME_FAILED_LIFE_US 30000000u  /* ours */

struct name_entry {
    struct list_node in_lru, in_to_ask;
    struct list waiting; /* the owner's nodes, only while is_asking */
    struct addr addrs[2][NAME_ADDRS_MAX];
    uint8_t n_addrs[2], at[2]; /* IPv4, IPv6; at: whose turn it is */
    bool is_asking;
    uint64_t expires_at_us; /* when not asking */
    uint64_t job;           /* the owner's, while asking */
    uint8_t key[SHA1_LEN];
    char text[NAME_LEN_MAX + 1];
};

struct name_cache {
    struct mem *mem;
    struct map by_name; /* SHA-1 of the name -> struct name_entry * */
    struct list lru;    /* unused for longest first */
    struct list to_ask; /* entries whose look-up is to be started */
};

void name_cache_init(struct name_cache *c, struct mem *mem, struct map_seed seed, size_t n_max);
void name_cache_clear(struct name_cache *c);
/* The entry of a name (at most NAME_LEN_MAX bytes): KNOWN, or ASKING and linked in to_ask. */
enum err_code name_cache_get(struct name_cache *c, uint64_t now_us, struct bytes name,
                             struct name_entry **out) MUST_USE;
struct name_entry *name_cache_next_to_ask(struct name_cache *c); /* NULL: none; takes it out */
/* The answer; no addresses: the name is known to have none for a while. */
void name_cache_answer(struct name_entry *e, uint64_t now_us, const struct addr *addrs, size_t n);
/* Whose turn it is; NULL: none of this family. */
const struct addr *name_entry_addr(const struct name_entry *e, enum addr_family family);
/* This address did not answer: the next one's turn, if there is one. */
void name_cache_turn(struct name_cache *c, struct bytes name, enum addr_family family);
void name_cache_check(const struct name_cache *c);
