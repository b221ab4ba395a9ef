/* lib: what the files behind include/shoal share.
 *
 * A shoal_session owns a loop, workers, the disk's caches, one io_host and one engine, and gives
 * its torrents handles of its own, because a torrent may exist before the engine knows it (its
 * .torrent file is still being fetched).
 *
 * Ownership  see struct; torrents are freed when SHOAL_EVENT_REMOVED has been queued
 * Threads    the creator's; shoal_session_wake alone comes from elsewhere
 */
#pragma once
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/size.h"
#include "io/host.h"
#include "io/loop.h"
#include "shoal/shoal.h"
#include "torrent/magnet.h"
#include "torrent/metainfo.h"
#include "torrent/session.h"

#define LIB_EVENTS_MAX      4096u
#define LIB_TORRENT_LEN_MAX (10u << 20) /* of a .torrent file, as bencode's limit */

struct lib_torrent {
    struct list_node in_session;
    uint32_t handle;
    bool is_known; /* the engine has it, as `torrent` */
    bool is_fetching;
    uint32_t torrent;
    char *source;
    char fetch_error[160];
    struct shoal_torrent_options options; /* strings and lists are copies in `arena` */
    struct arena arena;
    bool has_magnet;
    struct magnet magnet; /* as added, for `so`, x.pe and the name */
};

struct shoal_session {
    struct mem mem;
    struct log log;
    void (*log_fn)(void *ctx, int level, const char *subsystem, const char *line);
    void *log_ctx;
    struct loop *loop;
    struct loop_async *wake;
    struct workers *workers;
    struct file_cache *files;
    struct resume_store *resume;
    struct fetch_client *fetch;
    struct resolver *resolver;
    struct io_host *host;
    struct session *engine;
    struct tracker_host *tracker;
    struct addr bind4, bind6;
    bool is_bound; /* to one address, not to all */
    bool is_woken;
    struct list torrents;
    uint32_t next_handle;
    struct shoal_event *events; /* ring of n_events_cap */
    size_t n_events, n_events_cap, events_start;
};

/* The note in words; returns its code. */
enum shoal_err lib_note(struct shoal_note *note, const struct err *err);
/* The same for trouble with storage: with the path of the torrent's file err->at, or of the folder. */
void lib_note_storage(struct shoal_note *note, const struct err *err, const struct metainfo *info,
                      const char *dir);
void lib_note_path(struct shoal_note *note, const char *path); /* " (path)"; NULL: nothing */
enum shoal_err lib_note_text(struct shoal_note *note, enum shoal_err code, const char *text);

struct lib_torrent *lib_torrent_find(struct shoal_session *s, uint32_t handle);
struct lib_torrent *lib_torrent_of_engine(struct shoal_session *s, uint32_t torrent);
void lib_torrent_free(struct shoal_session *s, struct lib_torrent *t);
/* The info dictionary is here: apply what was waiting for it (file selection). */
void lib_torrent_on_metadata(struct shoal_session *s, struct lib_torrent *t);

enum shoal_state lib_state(enum torrent_state state);
void lib_push_event(struct shoal_session *s, const struct shoal_event *e);
