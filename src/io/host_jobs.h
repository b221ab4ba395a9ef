/* host_jobs: storage and resume requests of one session on their way through the workers. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "io/workers.h"
#include "store/file_store.h"
#include "torrent/host.h"
#include <stdatomic.h>

struct host_jobs;
struct resume_store;

#define HOST_WARM_LEN       (1024u * 1024u) /* read ahead of an upload that met a cold page */
#define HOST_N_WARM         64u             /* ranges remembered per torrent that uploads */
#define HOST_WARM_US        30000000u /* how long they are believed to stay in the page cache */
#define HOST_N_TORRENTS_MAX 1000000u

struct host_jobs_owner {
    void *ctx;
    void (*done)(void *ctx, uint64_t job, const struct err *err);
    void (*warmed)(void *ctx, uint32_t conn, const struct err *err);
};

enum err_code host_jobs_new(struct host_jobs **out, struct loop *l, struct workers *workers,
                            struct file_cache *files, struct resume_store *resume,
                            const struct host_jobs_owner *owner, struct err *err) MUST_USE;
/* No answer comes after this call begins; those under way are waited for. */
void host_jobs_free(struct host_jobs *hj);

void host_jobs_open(struct host_jobs *hj, uint64_t job, struct store_open *request);
void host_jobs_put(struct host_jobs *hj, uint64_t job, struct store_put *request);
void host_jobs_check(struct host_jobs *hj, uint64_t job, struct store_check *request);
void host_jobs_read(struct host_jobs *hj, uint64_t job, struct store_read *request);
void host_jobs_sync(struct host_jobs *hj, uint64_t job, uint32_t torrent);
void host_jobs_stat(struct host_jobs *hj, uint64_t job, uint32_t torrent,
                    struct store_file_stat *out_files);
void host_jobs_close(struct host_jobs *hj, uint64_t job, uint32_t torrent);
void host_jobs_resume(struct host_jobs *hj, uint64_t job, struct bytes key, struct bytes resume,
                      bool is_final);
/* Answers that needed no worker; true: there were some. Once per turn, and another turn is due
 * while there are more. */
bool host_jobs_deliver(struct host_jobs *hj);
bool host_jobs_has_answers(const struct host_jobs *hj);

/* Uploads, on the loop's thread. NULL: no such torrent is open. */
struct file_store *host_jobs_store(struct host_jobs *hj, uint32_t torrent);
const struct layout *host_jobs_layout(struct host_jobs *hj, uint32_t torrent);
bool host_jobs_is_warm(struct host_jobs *hj, uint32_t torrent, uint32_t file, uint64_t off,
                       uint32_t len);
/* False: no memory, and no answer will come. */
bool host_jobs_warm(struct host_jobs *hj, uint32_t conn, uint32_t torrent, uint32_t file,
                    uint64_t off, uint32_t len);
