/* sources: who gave and took payload since a torrent was added, by endpoint, those that have left
 * included.
 *
 * Ownership  owns its table
 * Threads    one owner
 * Errors     none: without memory, or beyond SOURCES_MAX, the smallest contributors are not kept
 *            and n_forgotten counts them
 */
#pragma once
#include "base/addr.h"
#include "base/mem.h"

#define SOURCES_MAX       1024u
#define SOURCE_CLIENT_CAP 48u

struct source {
    struct addr addr;
    char client[SOURCE_CLIENT_CAP];
    uint64_t down_len, up_len;
};

struct sources {
    struct mem *mem;
    struct source *items;
    uint32_t n, cap;
    uint64_t n_forgotten;
};

void sources_init(struct sources *s, struct mem *mem);
void sources_clear(struct sources *s);
/* Adds to what the endpoint has already. Nothing given and nothing taken: not kept. */
void sources_add(struct sources *s, const struct source *source);
const struct source *sources_find(const struct sources *s, const struct addr *addr); /* or NULL */
void sources_check(const struct sources *s);
