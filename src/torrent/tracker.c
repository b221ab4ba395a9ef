#include "torrent/tracker.h"

void tracker_reply_reset(struct tracker_reply *r)
{
    struct addr *peers = r->peers;
    size_t peers_cap = r->peers_cap;
    *r = (struct tracker_reply){.peers = peers, .peers_cap = peers_cap};
    r->interval_s = TRACKER_INTERVAL_S;
    r->counts = (struct tracker_scrape){TRACKER_COUNT_UNKNOWN, TRACKER_COUNT_UNKNOWN,
                                        TRACKER_COUNT_UNKNOWN};
}

void tracker_reply_add_peer(struct tracker_reply *r, const struct addr *a)
{
    if (r->n_peers == r->peers_cap || !addr_is_dialable(a))
        r->n_peers_dropped++;
    else
        r->peers[r->n_peers++] = *a;
}

uint32_t tracker_clamp_interval(uint64_t interval_s)
{
    if (interval_s == 0)
        return TRACKER_INTERVAL_S;
    if (interval_s < TRACKER_INTERVAL_S_MIN)
        return TRACKER_INTERVAL_S_MIN;
    return interval_s > TRACKER_INTERVAL_S_MAX ? TRACKER_INTERVAL_S_MAX : (uint32_t)interval_s;
}
