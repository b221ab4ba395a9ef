"""lt_client: one libtorrent session for one torrent; run with Debian's /usr/bin/python3.

Prints a JSON line whenever the state or the progress changes; runs until it is told to stop.
"""

import argparse
import json
import signal
import sys
import time

import libtorrent as lt

SETTINGS = {
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_incoming_utp": False, "enable_outgoing_utp": False, "allow_multiple_connections_per_ip": True,
    "unchoke_slots_limit": -1, "peer_turnover": 0, "ssrf_mitigation": False, "min_reconnect_time": 1,
    "in_enc_policy": 2, "out_enc_policy": 2, "max_out_request_queue": 1500, "min_announce_interval": 5,
}


def options():
    p = argparse.ArgumentParser()
    p.add_argument("source")
    p.add_argument("--ip")
    p.add_argument("--port", type=int)
    p.add_argument("--save")
    p.add_argument("--peer", action="append", default=[])
    p.add_argument("--seed", action="store_true")
    p.add_argument("--settings", default="{}")
    return p.parse_args()


def add(session, opt):
    if opt.source.startswith("magnet:"):
        params = lt.parse_magnet_uri(opt.source)
    else:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(opt.source)
    params.save_path = opt.save
    params.flags &= ~lt.torrent_flags.auto_managed
    params.flags &= ~lt.torrent_flags.paused
    if opt.seed:
        params.flags |= lt.torrent_flags.seed_mode
    extra = json.loads(opt.settings)
    if not extra.get("enable_pex", True):
        params.flags |= lt.torrent_flags.disable_pex
    return session.add_torrent(params)


def main():
    opt = options()
    settings = dict(SETTINGS, listen_interfaces=f"{opt.ip}:{opt.port}", outgoing_interfaces=opt.ip)
    extra = json.loads(opt.settings)
    extra.pop("enable_pex", None)
    settings.update(extra)
    session = lt.session(settings)
    handle = add(session, opt)
    for peer in opt.peer:
        host, port = peer.rsplit(":", 1)
        handle.connect_peer((host, int(port)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    last = None
    while True:
        s = handle.status()
        row = {"state": str(s.state), "progress": round(s.progress, 4), "peers": s.num_peers,
               "down": s.total_payload_download, "up": s.total_payload_upload, "error": s.errc.message() if s.errc.value() else ""}
        if row != last:
            print(json.dumps(row), flush=True)
            last = row
        time.sleep(0.05)


main()
