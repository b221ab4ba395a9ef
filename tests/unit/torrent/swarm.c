#include "swarm.h"
#include "base/size.h"
#include "torrent/magnet.h"
#include "torrent/metainfo.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

static void on_event(struct mem_world *w, struct mem_node *n, const struct session_event *e)
{
    struct swarm *sw = w->ctx;
    switch (e->kind) {
    case EVENT_PIECE:
        sw->n_pieces[n->index]++;
        break;
    case EVENT_PIECE_BAD:
        sw->n_bad_pieces++;
        break;
    case EVENT_PEER_BANNED:
        sw->n_banned++;
        sw->banned = e->addr;
        break;
    case EVENT_ERROR:
        sw->n_errors++;
        break;
    case EVENT_METADATA:
        sw->n_metadata++;
        break;
    case EVENT_STOPPED:
        sw->n_stopped++;
        sw->torrents[n->index] = 0;
        break;
    case EVENT_GOAL:
        sw->n_goals++;
        break;
    case EVENT_STATE:
    case EVENT_TRACKER:
        break;
    }
}

struct swarm swarm_new(const struct swarm_params *p)
{
    struct swarm sw = {0};
    struct content_params c = {.name = "data",
                               .len = p->len,
                               .piece_len = p->piece_len,
                               .n_files = p->n_files,
                               .version = p->version,
                               .key = p->seed};
    struct err err = {0};
    char text[200];
    sw.world = mem_world_new(p->seed);
    sw.world->chunk_max = p->chunk_max;
    sw.world->on_event = on_event;
    if (content_new(&sw.content, &sw.world->mem, &c, &err)) {
        fprintf(stderr, "content: %s\n", err_format(&err, text, sizeof(text)));
        abort();
    }
    return sw;
}

void swarm_free(struct swarm *sw)
{
    struct mem_world *w = sw->world;
    content_free(sw->content);
    mem_check_empty(&w->mem);
    mem_world_free(w);
}

struct mem_node *swarm_node(struct swarm *sw)
{
    struct mem_node *n = mem_world_add(sw->world);
    sw->world->ctx = sw;
    if (!mem_node_up(n, NULL))
        abort();
    return n;
}

void swarm_fill_disk(struct swarm *sw, struct mem_node *n)
{
    const struct metainfo *info = sw->content->info;
    for (uint32_t i = 0; i < info->n_files; i++) {
        char path[300];
        const struct metainfo_file *f = &info->files[i];
        if (f->flags & FILE_PAD)
            continue;
        uint8_t *data = malloc(f->len + 1);
        content_fill(sw->content, f->off, 0, data, f->len);
        snprintf(path, sizeof(path), "d/%s", f->path);
        mem_node_put_file(n, path, bytes_of(data, f->len));
        free(data);
    }
}

struct torrent_params swarm_params_of(struct swarm *sw, struct mem_node *n)
{
    struct torrent_params p = {.dir = "d"};
    if (content_metainfo(sw->content, &n->mem, &p.info, NULL))
        p.info = NULL;
    return p;
}

void swarm_add(struct swarm *sw, struct mem_node *n, const struct torrent_params *p)
{
    struct err err = {0};
    char text[200];
    sw->world->ctx = sw;
    if (session_add(n->session, sw->world->now_us, p, &sw->torrents[n->index], &err)) {
        fprintf(stderr, "session_add: %s\n", err_format(&err, text, sizeof(text)));
        abort();
    }
}

void swarm_seed(struct swarm *sw, struct mem_node *n)
{
    swarm_fill_disk(sw, n);
    struct torrent_params p = swarm_params_of(sw, n);
    p.check = CHECK_TRUST;
    p.is_seed_only = true;
    swarm_add(sw, n, &p);
}

void swarm_leech(struct swarm *sw, struct mem_node *n)
{
    struct torrent_params p = swarm_params_of(sw, n);
    swarm_add(sw, n, &p);
}

void swarm_magnet(struct swarm *sw, struct mem_node *n)
{
    struct buf link;
    struct magnet m;
    buf_init(&link, &n->mem, 65536);
    magnet_write_metainfo(sw->content->info, &link);
    if (magnet_read(&m, buf_bytes(&link), &n->mem, NULL))
        abort();
    struct torrent_params p = {.dir = "d", .magnet = &m};
    swarm_add(sw, n, &p);
    magnet_clear(&m);
    buf_clear(&link);
}

void swarm_meet(struct swarm *sw, struct mem_node *a, struct mem_node *b)
{
    session_add_peer(a->session, sw->world->now_us, sw->torrents[a->index], &b->addr);
}

struct torrent_stats swarm_stats(struct swarm *sw, struct mem_node *n)
{
    struct torrent_stats st = {.state = TORRENT_STOPPED};
    if (n->session)
        session_torrent_stats(n->session, sw->world->now_us, sw->torrents[n->index], &st);
    return st;
}

enum torrent_state swarm_state(struct swarm *sw, struct mem_node *n)
{
    return swarm_stats(sw, n).state;
}

uint64_t swarm_counter(struct mem_node *n, const char *name)
{
    return session_counter(n->session, name);
}

static bool all_seed(void *ctx)
{
    struct swarm *sw = ctx;
    for (uint32_t i = 0; i < sw->world->n_nodes; i++)
        if (sw->world->nodes[i].session && sw->torrents[i] &&
            swarm_state(sw, &sw->world->nodes[i]) != TORRENT_SEEDING)
            return false;
    return true;
}

bool swarm_run_to_seeding(struct swarm *sw, unsigned seconds)
{
    sw->world->ctx = sw;
    bool ok =
        mem_world_run(sw->world, sw->world->now_us + seconds * (uint64_t)US_PER_S, all_seed, sw);
    for (uint32_t i = 0; !ok && i < sw->world->n_nodes; i++) {
        char why[2000];
        struct mem_node *n = &sw->world->nodes[i];
        if (n->session)
            fprintf(stderr, "node %u: state %d: %s", i, swarm_state(sw, n),
                    session_torrent_why(n->session, sw->world->now_us, sw->torrents[i], why,
                                        sizeof(why)));
        for (size_t k = 0; n->session && k < session_n_counters(); k++)
            if (session_counter(n->session, session_counter_name(k)))
                fprintf(stderr, "  %s %llu\n", session_counter_name(k),
                        (unsigned long long)session_counter(n->session, session_counter_name(k)));
    }
    return ok;
}

struct state_wait {
    struct swarm *sw;
    struct mem_node *n;
    enum torrent_state state;
};

static bool has_state(void *ctx)
{
    struct state_wait *w = ctx;
    return swarm_state(w->sw, w->n) == w->state;
}

bool swarm_run_to_state(struct swarm *sw, struct mem_node *n, enum torrent_state state,
                        unsigned seconds)
{
    struct state_wait wait = {sw, n, state};
    sw->world->ctx = sw;
    return mem_world_run(sw->world, sw->world->now_us + seconds * (uint64_t)US_PER_S, has_state,
                         &wait);
}

void swarm_assert_disk(struct swarm *sw, struct mem_node *n)
{
    const struct metainfo *info = sw->content->info;
    for (uint32_t i = 0; i < info->n_files; i++) {
        char path[300];
        const struct metainfo_file *f = &info->files[i];
        if ((f->flags & FILE_PAD) || f->len == 0)
            continue;
        uint8_t *data = malloc(f->len);
        content_fill(sw->content, f->off, 0, data, f->len);
        snprintf(path, sizeof(path), "d/%s", f->path);
        const struct mem_file *on_disk = mem_node_file(n, path);
        if (!on_disk || on_disk->len != f->len || memcmp(on_disk->data, data, f->len) != 0) {
            fprintf(stderr, "%s differs\n", path);
            abort();
        }
        free(data);
    }
}

static bool is_stopped(void *ctx)
{
    struct state_wait *w = ctx;
    return w->sw->torrents[w->n->index] == 0;
}

void swarm_stop(struct swarm *sw, struct mem_node *n)
{
    struct state_wait wait = {sw, n, TORRENT_STOPPED};
    sw->world->ctx = sw;
    session_remove(n->session, sw->world->now_us, sw->torrents[n->index]);
    if (!mem_world_run(sw->world, sw->world->now_us + 60 * (uint64_t)US_PER_S, is_stopped, &wait))
        abort();
    session_free(n->session);
    n->session = NULL;
    mem_check_empty(&n->mem);
}
