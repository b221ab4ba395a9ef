/* transfer: what `shoal get` and `shoal seed` share: a session with its torrents, run until they
 * have what they came for, told on a terminal, as JSON lines, or not at all.
 *
 * Ownership  the transfer owns the session from transfer_init to transfer_clear
 * Threads    the main thread; signals only set a flag and wake the session
 */
#pragma once
#include "cli/ui.h"
#include "shoal/shoal.h"

#define TRANSFER_TORRENTS_MAX 1024u
#define TRANSFER_LIST_MAX     256u /* of any option that may be repeated */

struct transfer_torrent {
    uint32_t handle;
    const char *source;   /* as the user named it */
    bool is_complete;     /* everything wanted is here */
    bool is_goal_reached; /* seed ratio or time */
    bool is_failed;       /* in error; may recover */
    bool is_removed;
    bool is_why_told; /* since the last progress */
    uint64_t began_at_us, completed_at_us;
};

struct transfer {
    struct shoal_session_options session_options;
    struct shoal_torrent_options torrent_options;
    const char *peers[TRANSFER_LIST_MAX], *only[TRANSFER_LIST_MAX];
    const char *trackers[TRANSFER_LIST_MAX + 1]; /* and the one inside */
    bool is_json, is_quiet;
    bool is_seed_verb;  /* runs until stopped or the goal; `get` ends when complete */
    bool is_seed_after; /* get --seed, --seed-ratio, --seed-time: goes on after completion */
    bool is_tracker_inside;
    uint16_t tracker_port;
    char tracker_url[128]; /* of the tracker inside, after transfer_open */
    struct shoal_session *session;
    struct transfer_torrent torrents[TRANSFER_TORRENTS_MAX];
    uint32_t n_torrents;
};

void transfer_init(struct transfer *t);

/* Options that both commands take come first in their tables; what they do is in transfer.c. */
enum {
    TRANSFER_DIR,
    TRANSFER_PEER,
    TRANSFER_PORT,
    TRANSFER_BIND,
    TRANSFER_CONGESTION_CONTROL,
    TRANSFER_MAX_DOWN,
    TRANSFER_MAX_UP,
    TRANSFER_SEED_RATIO,
    TRANSFER_SEED_TIME,
    TRANSFER_STATE_DIR,
    TRANSFER_CHECK,
    TRANSFER_NO_PEX,
    TRANSFER_JSON,
    TRANSFER_QUIET,
    TRANSFER_VERBOSE,
    TRANSFER_N_OPTIONS
};
#define TRANSFER_OPTIONS                                                                           \
    [TRANSFER_DIR] = {"dir", 'd', "DIR", "folder of the data (default: the current one)"},         \
    [TRANSFER_PEER] = {"peer", 0, "HOST:PORT", "connect to this peer; may be repeated"},           \
    [TRANSFER_PORT] = {"port", 'p', "PORT", "listen on this port (default: one that is free)"},    \
    [TRANSFER_BIND] = {"bind", 0, "ADDR", "listen on this address and dial from it"},              \
    [TRANSFER_CONGESTION_CONTROL] = {"congestion-control", 0, "NAME",                              \
                                     "of TCP to peers: cubic, bbr, lp (default: the system's)"},   \
    [TRANSFER_MAX_DOWN] = {"max-down", 0, "SIZE", "at most so many bytes a second down"},          \
    [TRANSFER_MAX_UP] = {"max-up", 0, "SIZE", "at most so many bytes a second up"},                \
    [TRANSFER_SEED_RATIO] = {"seed-ratio", 0, "RATIO",                                             \
                             "seed until uploaded / size is RATIO, then end"},                     \
    [TRANSFER_SEED_TIME] = {"seed-time", 0, "TIME",                                                \
                            "seed for so long, then end (90, 15m, 2h, 1d)"},                       \
    [TRANSFER_STATE_DIR] = {"state-dir", 0, "DIR", "resume data (default: ~/.local/state/shoal)"}, \
    [TRANSFER_CHECK] = {"check", 0, NULL, "hash all data on disk first"},                          \
    [TRANSFER_NO_PEX] = {"no-pex", 0, NULL, "no exchange of addresses with peers"},                \
    [TRANSFER_JSON] = {"json", 0, NULL, "one JSON object per event and line on standard output"},  \
    [TRANSFER_QUIET] = {"quiet", 'q', NULL, "no progress line"},                                   \
    [TRANSFER_VERBOSE] = {"verbose", 'v', NULL, "log to standard error"}

/* Handles option `index` of TRANSFER_OPTIONS; EXIT_OK or EXIT_USAGE. */
int transfer_option(struct transfer *t, struct ui_options *o, int index);

/* One more value of an option that may be repeated; false (reported) beyond TRANSFER_LIST_MAX. */
bool transfer_list_add(struct ui_options *o, const char **list, size_t *n);

/* Opens the session; EXIT_OK or EXIT_FAIL (reported). */
int transfer_open(struct transfer *t);
/* Adds a torrent file, URL or magnet link; EXIT_OK or EXIT_FAIL (reported). */
int transfer_add(struct transfer *t, const char *source);
/* Runs to the end; the exit code. */
int transfer_run(struct transfer *t);
/* Stops everything in order: resume data written, trackers told. */
void transfer_clear(struct transfer *t);
