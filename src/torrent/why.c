#include "base/size.h"
#include "torrent/session_internal.h"
#include <string.h>

#define WHY_QUIET_US 10000000u /* ours: less is no waiting */

struct why {
    struct session *s;
    struct torrent *t;
    uint64_t now_us;
    struct writer w;
};

/* How its peers stand to us. */
struct why_peers {
    uint32_t n, n_connecting, n_interesting, n_choking, n_snubbed, n_asked;
};

static void why_say(struct why *y, const char *line)
{
    writer_str(&y->w, line);
    writer_str(&y->w, "\n");
}

static uint64_t why_seconds(const struct why *y, uint64_t since_us)
{
    return y->now_us > since_us ? (y->now_us - since_us) / US_PER_S : 0;
}

static struct why_peers why_count_peers(const struct torrent *t)
{
    struct why_peers c = {0};
    LIST_EACH(&t->peers, p, struct peer, in_torrent)
    {
        if (!peer_is_running(p)) {
            c.n_connecting++;
            continue;
        }
        c.n++;
        if (!p->am_interested)
            continue;
        c.n_interesting++;
        c.n_choking += p->peer_choking;
        c.n_snubbed += !p->peer_choking && p->cp.is_snubbed;
        c.n_asked += p->pp.n_requests > 0;
    }
    return c;
}

static void why_tracker(struct why *y)
{
    struct torrent *t = y->t;
    char text[200];
    if (!y->s->announcer)
        why_say(y, "trackers are switched off");
    else if (announcer_n_trackers(y->s->announcer, t->id) == 0)
        why_say(y, "the torrent names no tracker");
    else if (t->tracker_err.code)
        writer_printf(&y->w, "the tracker failed: %s%s%s\n",
                      err_format(&t->tracker_err, text, sizeof(text)),
                      t->tracker_text[0] ? ": " : "", t->tracker_text);
    else if (!t->has_tracker_answered)
        why_say(y, "waiting for the first answer of a tracker");
    else
        writer_printf(&y->w, "the tracker gave %u peers\n", t->n_tracker_peers);
}

static void why_no_peers(struct why *y, const struct why_peers *c)
{
    struct torrent *t = y->t;
    if (c->n_connecting)
        writer_printf(&y->w, "connecting to %u peers\n", c->n_connecting);
    else if (t->known.n == 0)
        why_say(y, "no peers are known");
    else
        writer_printf(&y->w, "none of %u known peers can be reached now\n", t->known.n);
    why_tracker(y);
}

static void why_pieces(struct why *y, const struct why_peers *c)
{
    struct picker_why why;
    char text[ADDR_TEXT_CAP];
    picker_why(&y->t->picker, &why);
    if (why.n_unavailable == 1)
        writer_printf(&y->w, "no connected peer has piece %u\n", why.unavailable);
    else if (why.n_unavailable)
        writer_printf(&y->w, "no connected peer has piece %u and %u others\n", why.unavailable,
                      why.n_unavailable - 1);
    if (why.n_checking)
        writer_printf(&y->w, "%u pieces are being hashed and written\n", why.n_checking);
    if (c->n_interesting && c->n_choking == c->n_interesting)
        writer_printf(&y->w, "all %u peers that have what we need choke us\n", c->n_choking);
    if (c->n_snubbed)
        writer_printf(&y->w, "%u peers do not answer our requests\n", c->n_snubbed);
    if (why.oldest_peer && why_seconds(y, why.oldest_sent_at_us) >= WHY_QUIET_US / US_PER_S) {
        const struct peer *p = why.oldest_peer->owner;
        writer_printf(&y->w, "piece %u was asked of %s %llu s ago\n", why.oldest_block.piece,
                      addr_format(&p->addr, text),
                      (unsigned long long)why_seconds(y, why.oldest_sent_at_us));
    }
}

static void why_limits(struct why *y)
{
    struct session *s = y->s;
    if (!list_is_empty(&s->down_wait))
        writer_printf(&y->w, "limited by max-down, %llu bytes per second\n",
                      (unsigned long long)s->config.max_down_per_s);
    if (!list_is_empty(&s->cache_wait))
        writer_printf(&y->w, "the cache is full: waiting for the disk (%u writes under way)\n",
                      s->n_puts);
    if (y->t->is_clean_saved)
        why_say(y, "waiting for resume data to be saved before the first write");
}

static void why_downloading(struct why *y)
{
    struct why_peers c = why_count_peers(y->t);
    if (c.n == 0) {
        why_no_peers(y, &c);
        return;
    }
    why_limits(y);
    why_pieces(y, &c);
    if (c.n_interesting == 0)
        writer_printf(&y->w, "%u peers are connected, none has anything we need\n", c.n);
    if (y->w.pos == 0)
        writer_printf(&y->w, "%u of %u peers are sending\n", c.n_asked, c.n);
}

static void why_metadata(struct why *y)
{
    struct torrent *t = y->t;
    struct why_peers c = why_count_peers(t);
    uint32_t n_have = 0, n_pieces = 0;
    if (c.n == 0) {
        why_no_peers(y, &c);
    } else if (!t->metadata) {
        why_say(y, "waiting for the piece hashes from peers");
    } else {
        metadata_fetch_progress(t->metadata, &n_have, &n_pieces);
        if (n_pieces)
            writer_printf(&y->w, "%u of %u pieces of the metadata are here\n", n_have, n_pieces);
        else
            writer_printf(&y->w, "none of %u peers offers the metadata\n", c.n);
    }
}

static void why_by_state(struct why *y)
{
    struct torrent *t = y->t;
    char text[200];
    switch (t->state) {
    case TORRENT_OPENING:
        why_say(y, "the files are being opened");
        break;
    case TORRENT_CHECKING:
        writer_printf(&y->w, "checking the data on disk: %u of %u pieces\n", t->n_checked,
                      t->n_to_check);
        break;
    case TORRENT_METADATA:
        why_metadata(y);
        break;
    case TORRENT_DOWNLOADING:
        why_downloading(y);
        break;
    case TORRENT_FINISHED:
        why_say(y, "everything wanted is here");
        break;
    case TORRENT_SEEDING:
        why_say(y, "everything is here");
        break;
    case TORRENT_ERROR:
        writer_printf(&y->w, "stopped by an error: %s\n", err_format(&t->err, text, sizeof(text)));
        break;
    case TORRENT_PAUSED:
        why_say(y, "paused");
        break;
    case TORRENT_STOPPING:
        why_say(y, "stopping");
        break;
    case TORRENT_STOPPED:
        why_say(y, "stopped");
        break;
    }
}

char *session_torrent_why(struct session *s, uint64_t now_us, uint32_t torrent, char *out,
                          size_t out_cap)
{
    if (out_cap == 0)
        return out;
    struct why y = {.s = s, .t = session_torrent(s, torrent), .now_us = now_us};
    y.w = writer_init(out, out_cap - 1);
    if (y.t)
        why_by_state(&y);
    else
        why_say(&y, "no such torrent");
    out[y.w.pos] = 0;
    return out;
}
