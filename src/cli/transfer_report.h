/* transfer_report: what a transfer tells: the progress line and the JSON lines.
 *
 * JSON lines (`--json`), one object each, with "event" and, where it is about one torrent,
 * "torrent" (the source as given):
 *   listening {port}; added {name, infohash_v1, infohash_v2, magnet}; state {state, error?};
 *   metadata {name, total_len, files}; progress {have_len, wanted_len, down_per_s, up_per_s,
 * down_total, up_total, peers, seeds}; piece_bad {piece}; peer_banned {peer, why}; tracker {url,
 * peers, error?}; why {text}; error {error}; goal; complete {seconds, down_total, sources: [{peer,
 * client, len}]}; end {exit_code, counters}
 */
#pragma once
#include "cli/transfer.h"

void report_listening(struct transfer *t);
void report_added(struct transfer *t, const struct transfer_torrent *tt);
void report_event(struct transfer *t, struct transfer_torrent *tt, const struct shoal_event *e);
/* A regular look: redraws the line, or a JSON progress line. */
void report_progress(struct transfer *t);
void report_complete(struct transfer *t, struct transfer_torrent *tt);
void report_why(struct transfer *t, struct transfer_torrent *tt);
void report_final(struct transfer *t); /* while the torrents are still there */
void report_end(struct transfer *t, int exit_code);
