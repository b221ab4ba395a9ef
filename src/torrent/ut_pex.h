/* ut_pex: the message of the peer exchange (BEP 11).
 *
 * Ownership  struct ut_pex_msg borrows the input; peers are read from it by index
 * Threads    pure functions
 * Errors     ERR_MALFORMED: not a dictionary, or lists whose lengths are not whole entries. Missing
 *            flags read as 0. Limits and repetitions are pex.h's business
 */
#pragma once
#include "base/addr.h"

enum pex_flag {
    PEX_ENCRYPTION = 0x01,
    PEX_SEED = 0x02, /* or upload-only */
    PEX_UTP = 0x04,
    PEX_HOLEPUNCH = 0x08,
    PEX_OUTGOING = 0x10 /* the sender dialled it: reachable */
};

struct pex_peer {
    struct addr addr;
    uint8_t flags; /* of enum pex_flag; 0 in dropped */
};

struct ut_pex_msg {
    struct bytes added4, added4_flags, added6, added6_flags, dropped4, dropped6;
};

enum err_code ut_pex_read(struct bytes payload, struct ut_pex_msg *out, struct err *err) MUST_USE;
size_t ut_pex_n_added(const struct ut_pex_msg *m); /* IPv4 first, then IPv6 */
size_t ut_pex_n_dropped(const struct ut_pex_msg *m);
struct pex_peer ut_pex_added(const struct ut_pex_msg *m, size_t index);   /* index < n_added   */
struct pex_peer ut_pex_dropped(const struct ut_pex_msg *m, size_t index); /* index < n_dropped */

#define UT_PEX_FRAME_LEN                   160u /* keys and lengths around the lists */
#define UT_PEX_LEN_MAX(n_added, n_dropped) (UT_PEX_FRAME_LEN + (n_added)*19u + (n_dropped)*18u)
/* The payload. Families may be mixed; each list keeps its order. Empty lists are left out. */
void ut_pex_write(struct writer *w, const struct pex_peer *added, size_t n_added,
                  const struct pex_peer *dropped, size_t n_dropped);
