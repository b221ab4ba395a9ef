/* session_counters: every refusal and every way to misbehave, by name.
 *
 * session_counter(s, "request_out_of_range"); the test of a refusal asserts its counter.
 */
#pragma once
#include "base/metrics.h"

/* clang-format off */
#define SESSION_COUNTERS(X) \
    /* connections */ \
    X(conns_accepted, "incoming connections taken") \
    X(conns_dialled, "connects started") \
    X(conns_connected, "connects that succeeded") \
    X(connect_failed, "connects that failed or timed out") \
    X(accept_refused_limit, "incoming: at the limit of connections, nobody to give way") \
    X(accept_refused_banned, "incoming from a banned address") \
    X(accept_refused_local_only, "incoming from outside with is_local_peers_only") \
    X(strangers_evicted, "connections that had not named a torrent and gave way") \
    X(conn_stale, "inputs for a connection that is gone") \
    X(job_stale, "answers to a job that nobody waits for") \
    X(datagram_stray, "datagrams that no tracker sent") \
    X(conn_no_memory, "connections closed for want of memory") \
    X(peers_evicted, "least useful peers that made room for others") \
    X(peers_closed_by_them, "connections that the far side ended") \
    X(peers_timed_out, "silent for too long, no handshake in time") \
    X(handshake_timeout, "no handshake in time") \
    X(handshake_not_bittorrent, "another protocol or an encrypted start") \
    X(handshake_unknown_infohash, "a torrent that we do not have") \
    X(handshake_inactive_torrent, "a torrent that is paused or in error") \
    X(handshake_wrong_infohash, "the answer names another torrent") \
    X(handshake_self, "we met ourselves") \
    X(handshake_duplicate, "a second connection with the same peer") \
    X(seed_to_seed_closed, "both have everything") \
    X(outq_overflow, "does not read what it makes us send") \
    /* messages */ \
    X(msg_malformed, "bytes that the wire format does not allow") \
    X(msg_unknown, "unknown message ids, skipped") \
    X(msg_early, "messages before the handshake ended or before the metadata") \
    X(bitfield_later, "a bitfield, have all or have none after the first") \
    X(bitfield_twice, "one of those that cannot be taken as HAVEs") \
    X(bitfield_malformed, "bitfield of another length or with spare bits") \
    X(have_out_of_range, "have for a piece beyond the last") \
    X(have_duplicate, "have for a piece it had") \
    X(index_out_of_range, "suggest, allowed fast, donthave beyond the last piece") \
    X(suggest_ignored, "suggest piece") \
    X(port_ignored, "DHT port") \
    X(request_out_of_range, "request beyond the piece, or for no bytes") \
    X(request_not_had, "request for a piece that we do not have") \
    X(request_while_choked, "request while choked, rejected or ignored") \
    X(request_flood, "more requests queued than we told of") \
    X(request_duplicate, "a request that is queued already") \
    X(request_flood_closed, "closed for too many refused requests") \
    X(cancel_unknown, "cancel of nothing") \
    X(reject_unknown, "reject of what was not asked") \
    X(rejects_received, "rejected requests") \
    X(rejects_closed, "closed for rejecting everything") \
    X(block_unrequested, "a block that was not asked for") \
    X(block_unrequested_closed, "closed for too many of them") \
    X(block_late, "a block that was asked for and had arrived otherwise") \
    X(block_no_buffer, "blocks dropped because the cache was full") \
    X(extended_unknown, "extended message with an id that we did not hand out") \
    X(extended_malformed, "extended message that does not parse") \
    X(metadata_unasked, "metadata piece that was not asked for") \
    X(metadata_bad, "metadata that disagrees with itself") \
    X(metadata_hash_bad, "metadata whose hash is wrong") \
    X(metadata_refused, "metadata request rejected") \
    X(metadata_flood, "closed for too many metadata requests") \
    X(metadata_unusable, "metadata with the right hash that is no torrent") \
    X(pex_ignored, "peer exchange of a private torrent or switched off") \
    X(pex_early, "peer exchange sooner than once a minute") \
    X(pex_malformed, "peer exchange that does not parse, or floods") \
    X(pex_peers, "addresses learned by peer exchange") \
    X(hashes_unasked, "hashes that were not asked for") \
    X(hashes_bad, "hashes whose proof is wrong") \
    X(hash_requests_rejected, "hash requests that we could not answer") \
    /* transfer */ \
    X(requests_timed_out, "requests taken back from a slow peer") \
    X(peers_snubbed, "peers that stopped sending") \
    X(endgame_duplicates, "blocks asked of a second peer") \
    X(cancels_sent, "requests called off") \
    X(pieces_good, "pieces verified") \
    X(pieces_bad, "pieces that failed their hash") \
    X(blocks_bad, "blocks proven wrong") \
    X(peers_banned, "addresses banned") \
    X(torrent_poisoned, "a hybrid whose two hashes disagree") \
    X(cache_full, "reads paused because the cache was full") \
    X(cache_spills, "runs written before the blocks in front of them came") \
    X(readbacks, "pieces read back to be hashed") \
    X(store_errors, "storage requests that failed") \
    X(resume_refused, "resume data that was not usable") \
    X(resume_save_failed, "resume data that could not be saved") \
    X(events_dropped, "events that nobody fetched in time") \
    X(peers_refused_local_only, "addresses outside with is_local_peers_only") \
    X(tracker_peers, "addresses learned from trackers")
/* clang-format on */

enum session_counter_id {
#define X(name, help) COUNTER_##name,
    SESSION_COUNTERS(X)
#undef X
        N_SESSION_COUNTERS
};

extern const struct metrics_desc session_counter_descs[N_SESSION_COUNTERS];
