#include "mem_host.h"
#include "base/size.h"
#include "crypto/sha.h"
#include "torrent/layout.h"
#include "torrent/metainfo.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

/* After every input. */
static void node_check(const struct mem_node *n)
{
    if (n->session && n->world->is_checking)
        session_check(n->session);
}

static bool is_drawn(struct mem_world *w, uint32_t one_in)
{
    return one_in && rng_below(&w->rng, one_in) == 0;
}

/* Before every input. */
static void node_arm_storm(struct mem_node *n)
{
    if (n->storm.alloc && !n->mem.fail_at)
        n->mem.fail_at = 1 + rng_below(&n->world->rng, 2 * n->storm.alloc);
}

/* --- files ----------------------------------------------------------------------------------- */

struct mem_file *mem_node_file(struct mem_node *n, const char *path)
{
    for (uint32_t i = 0; i < n->n_files; i++)
        if (strcmp(n->files[i].path, path) == 0)
            return &n->files[i];
    return NULL;
}

static struct mem_file *file_make(struct mem_node *n, const char *path)
{
    struct mem_file *f = mem_node_file(n, path);
    if (!f) {
        assert(n->n_files < MEM_FILES_MAX);
        f = &n->files[n->n_files++];
        snprintf(f->path, sizeof(f->path), "%s", path);
    }
    f->exists = true;
    return f;
}

static void file_write(struct mem_node *n, struct mem_file *f, uint64_t off, const uint8_t *data,
                       size_t len)
{
    if (off + len > f->len) {
        f->data = realloc(f->data, off + len);
        assert(f->data);
        memset(f->data + f->len, 0, off + len - f->len);
        f->len = off + len;
    }
    if (len)
        memcpy(f->data + off, data, len);
    f->mtime_ns = n->world->now_us * 1000 + 1;
}

void mem_node_put_file(struct mem_node *n, const char *path, struct bytes data)
{
    struct mem_file *f = file_make(n, path);
    file_write(n, f, 0, data.data, data.len);
}

static void store_path(const struct mem_store *s, uint32_t file, char *out, size_t cap)
{
    snprintf(out, cap, "%s/%s", s->dir, s->info->files[file].path);
}

static struct mem_store *store_of(struct mem_node *n, uint32_t torrent)
{
    for (uint32_t i = 0; i < MEM_STORES_MAX; i++)
        if (n->stores[i].is_open && n->stores[i].torrent == torrent)
            return &n->stores[i];
    assert(!"storage is not open");
    return NULL;
}

/* Reads a range of a piece; false when a file is short. */
static bool store_range(struct mem_node *n, struct mem_store *s, uint32_t piece, uint32_t begin,
                        uint32_t len, uint8_t *out)
{
    struct layout_walk walk = layout_walk(&s->info->layout, piece, begin, len);
    struct layout_run run;
    while (layout_walk_next(&walk, &run)) {
        if (run.is_pad) {
            memset(out, 0, run.len);
        } else {
            char path[512];
            store_path(s, run.file, path, sizeof(path));
            struct mem_file *f = mem_node_file(n, path);
            if (!f || !f->exists || run.file_off + run.len > f->len)
                return false;
            memcpy(out, f->data + run.file_off, run.len);
        }
        out += run.len;
    }
    return true;
}

static void store_write(struct mem_node *n, struct mem_store *s, uint32_t piece, uint32_t begin,
                        const uint8_t *data, uint32_t len)
{
    struct layout_walk walk = layout_walk(&s->info->layout, piece, begin, len);
    struct layout_run run;
    while (layout_walk_next(&walk, &run)) {
        if (!run.is_pad) {
            char path[512];
            store_path(s, run.file, path, sizeof(path));
            file_write(n, file_make(n, path), run.file_off, data, run.len);
        }
        data += run.len;
    }
}

/* --- jobs ------------------------------------------------------------------------------------ */

static struct mem_job *job_add(struct mem_node *n, enum mem_job_kind kind, uint64_t job,
                               uint32_t torrent, void *request)
{
    if (n->n_jobs == n->jobs_cap) {
        n->jobs_cap = n->jobs_cap ? n->jobs_cap * 2 : 32;
        n->jobs = realloc(n->jobs, n->jobs_cap * sizeof(*n->jobs));
        assert(n->jobs);
    }
    struct mem_job *j = &n->jobs[n->n_jobs++];
    *j = (struct mem_job){.kind = kind, .job = job, .torrent = torrent, .request = request};
    if (is_drawn(n->world, n->storm.delay))
        j->at_us = n->world->now_us + rng_below(&n->world->rng, (uint32_t)n->storm.delay_us);
    if (n->delay_job_at && --n->delay_job_at == 0)
        j->at_us = n->world->now_us + n->delay_job_us;
    return j;
}

static void stat_files(struct mem_node *n, struct mem_store *s, struct store_file_stat *out)
{
    for (uint32_t i = 0; i < s->info->n_files; i++) {
        char path[512];
        store_path(s, i, path, sizeof(path));
        struct mem_file *f = mem_node_file(n, path);
        out[i] = (struct store_file_stat){0};
        if (f && f->exists)
            out[i] = (struct store_file_stat){f->len, f->mtime_ns, true};
    }
}

static void do_open(struct mem_node *n, struct store_open *q)
{
    for (uint32_t i = 0; i < MEM_STORES_MAX; i++)
        assert(!n->stores[i].is_open || n->stores[i].torrent != q->torrent);
    for (uint32_t i = 0; i < MEM_STORES_MAX; i++) {
        struct mem_store *s = &n->stores[i];
        if (s->is_open)
            continue;
        *s = (struct mem_store){.is_open = true,
                                .torrent = q->torrent,
                                .info = q->info,
                                .is_read_only = q->is_read_only};
        snprintf(s->dir, sizeof(s->dir), "%s", q->dir);
        stat_files(n, s, q->files);
        return;
    }
    assert(!"too many stores");
}

static void do_put(struct mem_node *n, struct store_put *q)
{
    struct mem_store *s = store_of(n, q->torrent);
    uint32_t n_blocks = (uint32_t)div_ceil(q->len, BLOCK_LEN);
    n->n_puts++;
    n->put_len += q->len;
    for (uint32_t i = 0; i < n_blocks; i++) {
        uint32_t len = q->len - i * BLOCK_LEN < BLOCK_LEN ? q->len - i * BLOCK_LEN : BLOCK_LEN;
        if (q->v1)
            sha1_update(q->v1, bytes_of(q->blocks[i], len));
        if (q->v2_leaves) {
            sha256(bytes_of(q->blocks[i], len), q->v2_leaves[i]);
            if (q->v2_want && memcmp(q->v2_leaves[i], q->v2_want[i], SHA256_LEN) != 0)
                q->is_bad = true;
        }
    }
    if (q->v1 && q->v1_last) {
        static const uint8_t zeros[BLOCK_LEN];
        uint8_t digest[SHA1_LEN];
        for (uint32_t left = q->v1_zeros; left;) {
            uint32_t len = left < BLOCK_LEN ? left : BLOCK_LEN;
            sha1_update(q->v1, bytes_of(zeros, len));
            left -= len;
        }
        sha1_final(q->v1, digest);
        if (memcmp(digest, q->v1_want, SHA1_LEN) != 0)
            q->is_bad = true;
    }
    if (q->is_bad || q->is_hash_only)
        return;
    assert(!s->is_read_only);
    for (uint32_t i = 0; i < n_blocks; i++) {
        uint32_t len = q->len - i * BLOCK_LEN < BLOCK_LEN ? q->len - i * BLOCK_LEN : BLOCK_LEN;
        store_write(n, s, q->piece, q->begin + i * BLOCK_LEN, q->blocks[i], len);
    }
    q->is_written = true;
}

static void do_check(struct mem_node *n, struct store_check *q)
{
    struct mem_store *s = store_of(n, q->torrent);
    const struct layout *l = &s->info->layout;
    uint32_t len = layout_piece_len(l, q->piece), data_len = layout_piece_data_len(l, q->piece);
    uint8_t *buf = malloc(len ? len : 1);
    n->n_checks++;
    q->is_missing = !store_range(n, s, q->piece, 0, len, buf);
    if (!q->is_missing && q->want_v1)
        sha1(bytes_of(buf, len), q->v1_digest);
    for (uint32_t i = 0; !q->is_missing && q->v2_leaves && i < layout_n_blocks(l, q->piece); i++) {
        uint32_t left = data_len - i * BLOCK_LEN;
        sha256(bytes_of(buf + i * BLOCK_LEN, left < BLOCK_LEN ? left : BLOCK_LEN), q->v2_leaves[i]);
    }
    free(buf);
}

static void do_sync(struct mem_node *n)
{
    n->n_syncs++;
    for (uint32_t i = 0; i < n->n_files; i++) {
        struct mem_file *f = &n->files[i];
        free(f->synced);
        f->synced = malloc(f->len ? f->len : 1);
        memcpy(f->synced, f->data ? f->data : (uint8_t *)"", f->len);
        f->synced_len = f->len;
        f->was_synced = f->exists;
    }
}

static void do_resume(struct mem_node *n, struct mem_job *j)
{
    struct mem_resume *free_one = NULL;
    n->n_resumes++;
    for (uint32_t i = 0; i < MEM_RESUMES_MAX; i++) {
        struct mem_resume *r = &n->resumes[i];
        if (!r->is_used && !free_one)
            free_one = r;
        if (r->is_used && memcmp(r->key, j->key, 20) == 0) {
            free_one = r;
            break;
        }
    }
    assert(free_one);
    free(free_one->data);
    *free_one = (struct mem_resume){.data = j->copy, .len = j->copy_len, .is_used = true};
    memcpy(free_one->key, j->key, 20);
    j->copy = NULL;
}

static void job_do(struct mem_node *n, struct mem_job *j)
{
    switch (j->kind) {
    case MEM_OPEN:
        do_open(n, j->request);
        break;
    case MEM_PUT:
        do_put(n, j->request);
        break;
    case MEM_CHECK:
        do_check(n, j->request);
        break;
    case MEM_READ: {
        struct store_read *q = j->request;
        store_range(n, store_of(n, q->torrent), q->piece, q->begin, q->len, q->out);
        break;
    }
    case MEM_SYNC:
        do_sync(n);
        break;
    case MEM_STAT:
        stat_files(n, store_of(n, j->torrent), j->request);
        break;
    case MEM_CLOSE:
        store_of(n, j->torrent)->is_open = false;
        break;
    case MEM_RESUME:
        do_resume(n, j);
        break;
    case MEM_RESOLVE:
    case MEM_FETCH:
    case MEM_DATAGRAM:
        break;
    }
}

/* A failure after half of the work. */
static void job_do_half(struct mem_node *n, struct mem_job *j)
{
    if (j->kind == MEM_PUT) {
        struct store_put *q = j->request;
        uint32_t len = q->len;
        q->len = u64_min(len, (div_ceil(len, BLOCK_LEN) + 1) / 2 * BLOCK_LEN);
        q->v1_last = q->v1_last && q->len == len;
        do_put(n, q);
        q->len = len;
        q->is_written = q->is_bad = false;
    } else if (j->kind != MEM_OPEN) {
        job_do(n, j);
    }
}

static void answer_fetch(struct mem_node *n, const struct mem_job *j, bool is_failing)
{
    struct mem_world *w = n->world;
    struct err err = {ERR_IO, "connection refused", 0, 111, 0};
    static uint8_t body[65536];
    uint32_t status = 0;
    size_t len = 0;
    if (!is_failing && w->fetch &&
        w->fetch(w, n, (const char *)j->copy, &status, body, sizeof(body), &len))
        err = (struct err){0};
    session_on_fetched(n->session, w->now_us, j->job, &err, status, bytes_of(body, len));
}

static void job_answer(struct mem_node *n, size_t index)
{
    node_arm_storm(n);
    struct mem_job j = n->jobs[index];
    memmove(n->jobs + index, n->jobs + index + 1, (n->n_jobs - index - 1) * sizeof(j));
    n->n_jobs--;
    n->n_jobs_answered++;
    struct err err = {0};
    bool is_partial = n->is_fail_partial, is_failing = n->fail_job_at && --n->fail_job_at == 0;
    is_failing |= n->is_save_broken && j.kind == MEM_RESUME;
    if (is_drawn(n->world, n->storm.job)) {
        is_failing = true;
        is_partial = rng_below(&n->world->rng, 2);
    }
    n->n_jobs_failed += is_failing;
    if (is_failing)
        err = (struct err){ERR_IO, "injected failure", 0, 5, 0};
    if (!is_failing)
        job_do(n, &j);
    else if (is_partial && j.kind != MEM_CLOSE)
        job_do_half(n, &j);
    uint64_t now_us = n->world->now_us;
    if (is_failing && j.kind == MEM_CLOSE)
        job_do(n, &j); /* it is closed whatever it says */
    if (j.kind == MEM_RESOLVE) {
        struct addr a = addr_v4(10, 0, 0, 1, j.port);
        session_on_resolved(n->session, now_us, j.job, &err, &a, err.code ? 0 : 1);
    } else if (j.kind == MEM_FETCH) {
        answer_fetch(n, &j, is_failing);
    } else if (j.kind == MEM_DATAGRAM) {
        if (!is_failing)
            session_on_datagram(n->session, now_us, &j.from, bytes_of(j.copy, j.copy_len));
    } else {
        session_on_done(n->session, now_us, j.job, &err);
    }
    node_check(n);
    free(j.copy);
}

/* --- the table ------------------------------------------------------------------------------- */

static struct mem_conn *conn_find(struct mem_node *n, uint32_t conn, int *out_end)
{
    struct mem_world *w = n->world;
    for (uint32_t i = 0; i < MEM_CONNS_MAX; i++)
        for (int e = 0; e < 2; e++)
            if (w->conns[i].is_used && w->conns[i].ends[e].node == n &&
                w->conns[i].ends[e].conn == conn) {
                *out_end = e;
                return &w->conns[i];
            }
    return NULL;
}

static struct mem_conn *conn_make(struct mem_world *w)
{
    for (uint32_t i = 0; i < MEM_CONNS_MAX; i++)
        if (!w->conns[i].is_used) {
            w->conns[i] = (struct mem_conn){.is_used = true};
            for (int e = 0; e < 2; e++)
                w->conns[i].ends[e].out = malloc(MEM_PIPE_CAP);
            return &w->conns[i];
        }
    assert(!"too many connections");
    return NULL;
}

static void conn_free(struct mem_conn *c)
{
    for (int e = 0; e < 2; e++) {
        free(c->ends[e].out);
        free(c->ends[e].heard);
    }
    *c = (struct mem_conn){0};
}

static void h_connect(void *ctx, uint32_t conn, const struct addr *to)
{
    struct mem_node *n = ctx;
    struct mem_conn *c = conn_make(n->world);
    n->n_connects++;
    c->is_connecting = true;
    c->to = *to;
    c->from = n->addr;
    c->from.port = (uint16_t)(40000 + (conn & 0xfff));
    c->ends[0].node = n;
    c->ends[0].conn = conn;
}

static void end_put(struct mem_pipe_end *e, struct bytes b)
{
    assert(e->out_len + b.len <= MEM_PIPE_CAP);
    if (b.len)
        memcpy(e->out + e->out_len, b.data, b.len);
    e->out_len += b.len;
}

static void end_spend(struct mem_pipe_end *e, size_t len)
{
    assert(len <= e->room_left); /* the engine sends within the room announced */
    e->room_left -= len;
    e->wants_room = true;
}

static void h_send(void *ctx, uint32_t conn, struct bytes b)
{
    int end;
    struct mem_conn *c = conn_find(ctx, conn, &end);
    assert(c && !c->is_connecting && b.len);
    end_spend(&c->ends[end], b.len);
    end_put(&c->ends[end], b);
}

static void h_send_block(void *ctx, uint32_t conn, struct bytes head, uint32_t torrent,
                         uint32_t piece, uint32_t begin, uint32_t len)
{
    struct mem_node *n = ctx;
    int end;
    struct mem_conn *c = conn_find(n, conn, &end);
    assert(c && !c->is_connecting);
    struct mem_pipe_end *e = &c->ends[end];
    end_spend(e, head.len + len);
    end_put(e, head);
    bool is_there = store_range(n, store_of(n, torrent), piece, begin, len, e->out + e->out_len);
    assert(is_there);
    if (n->is_corrupting && (n->corrupt_piece == UINT32_MAX || n->corrupt_piece == piece))
        e->out[e->out_len + len / 2] ^= 0x55;
    e->out_len += len;
    n->n_sent_blocks++;
    n->sent_block_len += len;
}

static void h_want_read(void *ctx, uint32_t conn)
{
    int end;
    struct mem_conn *c = conn_find(ctx, conn, &end);
    assert(c);
    c->ends[end].is_reading_paused = false;
}

static void h_close(void *ctx, uint32_t conn)
{
    int end;
    struct mem_conn *c = conn_find(ctx, conn, &end);
    assert(c);
    c->ends[end].node = NULL;
}

static void h_datagram(void *ctx, const struct addr *to, struct bytes b)
{
    struct mem_node *n = ctx;
    uint8_t reply[1500];
    size_t len = n->world->datagram ? n->world->datagram(n->world, n, b, reply) : 0;
    if (!len)
        return;
    struct mem_job *j = job_add(n, MEM_DATAGRAM, 0, 0, NULL);
    j->from = *to;
    j->copy_len = len;
    j->copy = malloc(len);
    memcpy(j->copy, reply, len);
}

static void h_resolve(void *ctx, uint64_t job, const char *name, uint16_t port)
{
    (void)name;
    job_add(ctx, MEM_RESOLVE, job, 0, NULL)->port = port;
}

static void h_fetch(void *ctx, uint64_t job, const struct fetch *q)
{
    struct mem_job *j = job_add(ctx, MEM_FETCH, job, 0, NULL);
    j->copy_len = strlen(q->url) + 1;
    j->copy = malloc(j->copy_len);
    memcpy(j->copy, q->url, j->copy_len);
}

static void h_store_open(void *ctx, uint64_t job, struct store_open *q)
{
    job_add(ctx, MEM_OPEN, job, q->torrent, q);
}

static void h_store_put(void *ctx, uint64_t job, struct store_put *q)
{
    struct mem_node *n = ctx;
    for (size_t i = 0; i < n->n_jobs; i++) {
        const struct store_put *other = n->jobs[i].request;
        assert(n->jobs[i].kind != MEM_PUT || other->torrent != q->torrent ||
               other->piece != q->piece); /* one per piece */
    }
    assert(!q->is_bad && !q->is_written);
    job_add(n, MEM_PUT, job, q->torrent, q);
}

static void h_store_check(void *ctx, uint64_t job, struct store_check *q)
{
    job_add(ctx, MEM_CHECK, job, q->torrent, q);
}

static void h_store_read(void *ctx, uint64_t job, struct store_read *q)
{
    job_add(ctx, MEM_READ, job, q->torrent, q);
}

static void h_store_sync(void *ctx, uint64_t job, uint32_t torrent)
{
    job_add(ctx, MEM_SYNC, job, torrent, NULL);
}

static void h_store_stat(void *ctx, uint64_t job, uint32_t torrent, struct store_file_stat *out)
{
    job_add(ctx, MEM_STAT, job, torrent, out);
}

static void h_store_close(void *ctx, uint64_t job, uint32_t torrent)
{
    job_add(ctx, MEM_CLOSE, job, torrent, NULL);
}

static void h_resume_save(void *ctx, uint64_t job, struct bytes key, struct bytes resume,
                          bool is_final)
{
    (void)is_final;
    struct mem_job *j = job_add(ctx, MEM_RESUME, job, 0, NULL);
    assert(key.len == 20);
    memcpy(j->key, key.data, 20);
    j->copy_len = resume.len;
    j->copy = malloc(resume.len);
    memcpy(j->copy, resume.data, resume.len);
}

/* --- nodes ----------------------------------------------------------------------------------- */

struct mem_world *mem_world_new(uint64_t seed)
{
    struct mem_world *w = calloc(1, sizeof(*w));
    assert(w);
    mem_init(&w->mem, MEM_NO_BUDGET, NULL);
    rng_init(&w->rng, seed);
    w->now_us = 1000000;
    w->raw_dialled = UINT32_MAX;
    w->is_checking = true;
    return w;
}

struct mem_node *mem_world_add(struct mem_world *w)
{
    assert(w->n_nodes < MEM_NODES_MAX);
    struct mem_node *n = &w->nodes[w->n_nodes];
    n->world = w;
    n->index = w->n_nodes++;
    n->addr = addr_v4(10, 0, 0, (uint8_t)w->n_nodes, 6881);
    n->is_listening = true;
    n->corrupt_piece = UINT32_MAX;
    mem_init(&n->mem, MEM_NO_BUDGET, NULL);
    n->host = (struct torrent_host){.ctx = n,
                                    .connect = h_connect,
                                    .send = h_send,
                                    .send_block = h_send_block,
                                    .want_read = h_want_read,
                                    .close = h_close,
                                    .datagram = h_datagram,
                                    .resolve = h_resolve,
                                    .fetch = h_fetch,
                                    .store_open = h_store_open,
                                    .store_put = h_store_put,
                                    .store_check = h_store_check,
                                    .store_read = h_store_read,
                                    .store_sync = h_store_sync,
                                    .store_stat = h_store_stat,
                                    .store_close = h_store_close,
                                    .resume_save = h_resume_save};
    return n;
}

struct session_config mem_node_config(const struct mem_node *n)
{
    struct session_config c = {.listen_port = 6881, .is_announce_off = true};
    snprintf(c.user_agent, sizeof(c.user_agent), "shoal/test");
    memset(c.peer_id, 'a' + (int)n->index, sizeof(c.peer_id));
    memcpy(c.peer_id, "-SH0100-", 8);
    return c;
}

bool mem_node_up(struct mem_node *n, const struct session_config *config)
{
    struct session_config base = mem_node_config(n);
    struct err err = {0};
    assert(!n->session);
    if (session_new(&n->session, &n->mem, &n->host, config ? config : &base, NULL, n->world->now_us,
                    rng_u64(&n->world->rng), &err)) {
        n->session = NULL;
        return false;
    }
    return true;
}

void mem_node_kill(struct mem_node *n)
{
    struct mem_world *w = n->world;
    if (n->session)
        session_free(n->session);
    n->session = NULL;
    for (size_t i = 0; i < n->n_jobs; i++)
        free(n->jobs[i].copy);
    n->n_jobs = 0;
    memset(n->stores, 0, sizeof(n->stores));
    for (uint32_t i = 0; i < MEM_CONNS_MAX; i++)
        for (int e = 0; e < 2; e++)
            if (w->conns[i].is_used && w->conns[i].ends[e].node == n)
                w->conns[i].ends[e].node = NULL;
}

void mem_node_power_cut(struct mem_node *n)
{
    mem_node_kill(n);
    for (uint32_t i = 0; i < n->n_files; i++) {
        struct mem_file *f = &n->files[i];
        f->exists = f->was_synced;
        f->len = f->synced_len;
        f->data = realloc(f->data, f->len ? f->len : 1);
        if (f->len)
            memcpy(f->data, f->synced, f->len);
    }
}

struct bytes mem_node_resume(const struct mem_node *n, const uint8_t key[20])
{
    for (uint32_t i = 0; i < MEM_RESUMES_MAX; i++)
        if (n->resumes[i].is_used && memcmp(n->resumes[i].key, key, 20) == 0)
            return bytes_of(n->resumes[i].data, n->resumes[i].len);
    return (struct bytes){0};
}

void mem_world_free(struct mem_world *w)
{
    for (uint32_t i = 0; i < w->n_nodes; i++) {
        struct mem_node *n = &w->nodes[i];
        mem_node_kill(n);
        mem_check_empty(&n->mem);
        free(n->jobs);
        for (uint32_t k = 0; k < n->n_files; k++) {
            free(n->files[k].data);
            free(n->files[k].synced);
        }
        for (uint32_t k = 0; k < MEM_RESUMES_MAX; k++)
            free(n->resumes[k].data);
    }
    for (uint32_t i = 0; i < MEM_CONNS_MAX; i++)
        conn_free(&w->conns[i]);
    free(w);
}

/* --- the wheel ------------------------------------------------------------------------------- */

static struct mem_node *node_at(struct mem_world *w, const struct addr *a)
{
    for (uint32_t i = 0; i < w->n_nodes; i++)
        if (addr_equal(&w->nodes[i].addr, a))
            return &w->nodes[i];
    return NULL;
}

static void end_tell_room(struct mem_world *w, struct mem_pipe_end *e)
{
    size_t room = MEM_PIPE_CAP - e->out_len;
    e->room_left = room;
    e->wants_room = false;
    node_arm_storm(e->node);
    session_on_room(e->node->session, w->now_us, e->conn, room);
    node_check(e->node);
}

/* The hand-made end of a connection is always the first. */
static bool conn_connect_raw(struct mem_world *w, struct mem_conn *c)
{
    struct mem_pipe_end near = c->ends[0];
    c->ends[0] = c->ends[1];
    c->ends[0].is_raw = true;
    c->ends[1] = near;
    c->is_connecting = false;
    w->raw_dialled = (uint32_t)(c - w->conns);
    session_on_connected(near.node->session, w->now_us, near.conn);
    node_check(near.node);
    if (c->ends[1].node)
        end_tell_room(w, &c->ends[1]);
    return true;
}

static bool conn_connect(struct mem_world *w, struct mem_conn *c)
{
    if (addr_equal(&c->to, &w->raw_listens))
        return conn_connect_raw(w, c);
    struct mem_pipe_end *near = &c->ends[0], *far = &c->ends[1];
    c->is_connecting = false;
    struct mem_node *to = node_at(w, &c->to), *by = near->node;
    uint32_t conn;
    node_arm_storm(by);
    bool is_failing = by->fail_connect_at && --by->fail_connect_at == 0;
    if (is_failing || is_drawn(w, by->storm.connect) || !to || !to->session || !to->is_listening ||
        !session_on_accept(to->session, w->now_us, &c->from, &conn)) {
        struct err err = {ERR_IO, "connection refused", 0, 111, 0};
        uint32_t id = near->conn;
        struct mem_node *n = near->node;
        near->node = NULL;
        conn_free(c);
        session_on_closed(n->session, w->now_us, id, &err);
        node_check(n);
        return true;
    }
    node_check(to);
    far->node = to;
    far->conn = conn;
    session_on_connected(near->node->session, w->now_us, near->conn);
    node_check(by);
    if (near->node)
        end_tell_room(w, near);
    if (far->node)
        end_tell_room(w, far);
    return true;
}

static bool end_hear_raw(struct mem_pipe_end *from, struct mem_pipe_end *to)
{
    if (from->out_len == 0 || to->is_reading_paused)
        return false;
    to->heard = realloc(to->heard, to->heard_len + from->out_len);
    memcpy(to->heard + to->heard_len, from->out, from->out_len);
    to->heard_len += from->out_len;
    from->out_len = 0;
    from->wants_room = true;
    return true;
}

/* Bytes from one end into the session at the other. */
static bool end_deliver(struct mem_world *w, struct mem_pipe_end *from, struct mem_pipe_end *to)
{
    if (to->is_raw)
        return end_hear_raw(from, to);
    if (from->out_len == 0 || !to->node || to->is_reading_paused)
        return false;
    if (from->node && from->node->is_mute) {
        from->out_len = 0;
        from->wants_room = true;
        return true;
    }
    struct span spans[4];
    node_arm_storm(to->node);
    size_t n = session_lend(to->node->session, w->now_us, to->conn, spans, 4);
    if (n == 0) {
        to->is_reading_paused = true;
        return true;
    }
    size_t len = from->out_len;
    if (w->chunk_max)
        len = size_min(len, 1 + rng_below(&w->rng, (uint32_t)w->chunk_max));
    size_t done = 0;
    for (size_t i = 0; i < n && done < len; i++) {
        size_t part = size_min(spans[i].len, len - done);
        memcpy(spans[i].data, from->out + done, part);
        done += part;
    }
    memmove(from->out, from->out + done, from->out_len - done);
    from->out_len -= done;
    from->wants_room = true;
    struct mem_node *by = to->node;
    session_on_bytes(by->session, w->now_us, to->conn, done);
    node_check(by);
    if (to->node && is_drawn(w, by->storm.cut)) {
        struct err err = {ERR_IO, "connection reset", 0, 104, 0};
        to->node = NULL;
        by->n_cut++;
        session_on_closed(by->session, w->now_us, to->conn, &err);
        node_check(by);
    }
    return true;
}

static bool conn_step(struct mem_world *w, struct mem_conn *c)
{
    if (c->is_connecting) {
        if (c->ends[0].node)
            return conn_connect(w, c);
        conn_free(c);
        return true;
    }
    bool did = false;
    for (int e = 0; e < 2; e++) {
        struct mem_pipe_end *near = &c->ends[e], *far = &c->ends[1 - e];
        did |= end_deliver(w, near, far);
        if (near->node && near->wants_room && (far->node || far->is_raw)) {
            end_tell_room(w, near);
            did = true;
        }
    }
    for (int e = 0; e < 2; e++) { /* one end is gone, and what it sent has arrived */
        struct mem_pipe_end *near = &c->ends[e], *far = &c->ends[1 - e];
        if (!near->node && !near->is_raw && far->node && !far->is_raw &&
            (near->out_len == 0 || far->is_reading_paused)) {
            struct mem_node *n = far->node;
            far->node = NULL;
            session_on_closed(n->session, w->now_us, far->conn, &(struct err){0});
            node_check(n);
            did = true;
        }
    }
    if (!c->ends[0].node && !c->ends[1].node && !c->ends[0].is_raw && !c->ends[1].is_raw)
        conn_free(c);
    return did;
}

static void node_drain(struct mem_node *n)
{
    struct session_event e;
    while (n->session && session_next_event(n->session, &e))
        if (n->world->on_event)
            n->world->on_event(n->world, n, &e);
}

/* The first from `index` on whose time has come; n_jobs: none. A close comes last of its torrent. */
static size_t node_next_job(const struct mem_node *n, size_t index)
{
    for (size_t i = 0; i < n->n_jobs; i++, index = (index + 1) % n->n_jobs) {
        const struct mem_job *j = &n->jobs[index];
        bool is_first = true;
        for (size_t k = 0; k < index && j->kind == MEM_CLOSE; k++)
            is_first &= n->jobs[k].torrent != j->torrent;
        if (is_first && j->at_us <= n->world->now_us && !(n->is_put_held && j->kind == MEM_PUT))
            return index;
    }
    return n->n_jobs;
}

static bool node_step(struct mem_world *w, struct mem_node *n)
{
    bool did = false;
    if (!n->session)
        return false;
    size_t n_now = n->n_jobs;
    for (size_t i = 0; i < n_now && n->session && n->n_jobs; i++) {
        size_t index =
            node_next_job(n, w->is_shuffling ? rng_below(&w->rng, (uint32_t)n->n_jobs) : 0);
        if (index == n->n_jobs)
            break;
        job_answer(n, index);
        did = true;
    }
    if (n->session && session_deadline_us(n->session) <= w->now_us) {
        node_arm_storm(n);
        session_on_tick(n->session, w->now_us);
        assert(session_deadline_us(n->session) > w->now_us);
        node_check(n);
        did = true;
    }
    return did;
}

static uint64_t node_deadline_us(const struct mem_node *n)
{
    uint64_t at_us = n->session ? session_deadline_us(n->session) : DEADLINE_NEVER;
    for (size_t i = 0; n->session && i < n->n_jobs; i++)
        if (n->jobs[i].at_us > n->world->now_us)
            at_us = u64_min(at_us, n->jobs[i].at_us);
    return at_us;
}

bool mem_world_step(struct mem_world *w, uint64_t until_us)
{
    bool did = false;
    w->n_steps++;
    for (uint32_t i = 0; i < w->n_nodes; i++)
        did |= node_step(w, &w->nodes[i]);
    for (uint32_t i = 0; i < MEM_CONNS_MAX; i++)
        if (w->conns[i].is_used)
            did |= conn_step(w, &w->conns[i]);
    for (uint32_t i = 0; i < w->n_nodes; i++)
        node_drain(&w->nodes[i]);
    if (did)
        return true;
    uint64_t next = DEADLINE_NEVER;
    for (uint32_t i = 0; i < w->n_nodes; i++)
        next = u64_min(next, node_deadline_us(&w->nodes[i]));
    w->now_us = u64_min(next, until_us);
    return next <= until_us;
}

bool mem_world_run(struct mem_world *w, uint64_t until_us, bool (*cond)(void *ctx), void *ctx)
{
    while (!(cond && cond(ctx)) && w->now_us < until_us)
        mem_world_step(w, until_us);
    return !cond || cond(ctx);
}

bool mem_world_run_for(struct mem_world *w, uint64_t us)
{
    return mem_world_run(w, w->now_us + us, NULL, NULL);
}

/* --- hand-made peers ------------------------------------------------------------------------- */

uint32_t mem_raw_dial(struct mem_world *w, struct mem_node *n, const struct addr *from)
{
    uint32_t conn;
    if (!n->session || !session_on_accept(n->session, w->now_us, from, &conn))
        return UINT32_MAX;
    struct mem_conn *c = conn_make(w);
    c->from = *from;
    c->to = n->addr;
    c->ends[0].is_raw = true;
    c->ends[1].node = n;
    c->ends[1].conn = conn;
    end_tell_room(w, &c->ends[1]);
    return (uint32_t)(c - w->conns);
}

void mem_raw_send(struct mem_world *w, uint32_t raw, struct bytes b)
{
    end_put(&w->conns[raw].ends[0], b);
}

struct bytes mem_raw_heard(const struct mem_world *w, uint32_t raw)
{
    return bytes_of(w->conns[raw].ends[0].heard, w->conns[raw].ends[0].heard_len);
}

void mem_raw_forget(struct mem_world *w, uint32_t raw, size_t n)
{
    struct mem_pipe_end *e = &w->conns[raw].ends[0];
    assert(n <= e->heard_len);
    memmove(e->heard, e->heard + n, e->heard_len - n);
    e->heard_len -= n;
}

bool mem_raw_is_closed(const struct mem_world *w, uint32_t raw)
{
    return !w->conns[raw].ends[1].node;
}

void mem_raw_close(struct mem_world *w, uint32_t raw)
{
    struct mem_conn *c = &w->conns[raw];
    c->ends[0].is_raw = false;
    if (!c->ends[1].node)
        conn_free(c);
}
