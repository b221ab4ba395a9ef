"""misbehave: peers that lie or break the rules, against the program as users run it: the download ends
well, the liar is named, and `--json` tells who was banned, why, and what was refused how often.
"""

import os
import socket
import struct
import time

from systemlib import LOOPBACK, Run, create, get, main, make_tree, same_tree, seed, wait_for

GOOD, LIAR = "127.0.0.2", "127.0.0.3"  # bans are by address
SIZE = 3_000_000


def seed_at(place, torrent, folder, address, *args):
    run = Run(place, "seed", torrent, "--dir", folder, "--bind", address, "--json", *args,
              state=place.folder("seed-" + address))
    run.wait_event("state", state="seeding")
    return run


def a_seed_whose_data_went_bad(place):
    """It checked its files, then somebody wrote over them: every block that it gives is wrong."""
    data = make_tree(place.folder("src", "data"), 5, {"x": SIZE // 2, "y": SIZE - SIZE // 2})
    for version in ("--v1", "--v2", "--hybrid"):
        torrent = create(place, data, version, "--piece-length", "64K", name=version[2:])
        bad_folder = place.folder("bad" + version)
        make_tree(os.path.join(bad_folder, "data"), 5, {"x": SIZE // 2, "y": SIZE - SIZE // 2})
        good = seed_at(place, torrent, place.path("src"), GOOD, "--max-up", "1M")
        bad = seed_at(place, torrent, bad_folder, LIAR)
        for name in ("x", "y"):
            with open(os.path.join(bad_folder, "data", name), "r+b") as f:
                f.write(b"\xaa" * (SIZE // 2))
        out = place.folder("out" + version)
        g = Run(place, "get", torrent, "--dir", out, "--bind", LOOPBACK, "--json", "--peer", f"{GOOD}:{good.port()}",
                "--peer", f"{LIAR}:{bad.port()}", state=place.folder("get" + version))
        assert g.wait() == 0, version
        assert same_tree(data, os.path.join(out, "data")), version
        banned = g.saw("peer_banned")
        assert len(banned) == 1 and banned[0]["peer"].startswith(LIAR + ":"), (version, banned)
        assert "bad" in banned[0]["why"], banned
        counters = g.saw("end")[-1]["counters"]
        assert counters["peers_banned"] == 1 and counters["blocks_bad"] >= 1, counters
        assert g.saw("final")[-1]["bad_len"] > 0, g.saw("final")
        good.stop()
        bad.stop()


class Peer:
    """A connection that says what it is told to."""

    def __init__(self, port, infohash, bits=b"\0" * 8):
        self.socket = socket.create_connection((LOOPBACK, port), timeout=10)
        self.socket.sendall(b"\x13BitTorrent protocol" + bits + infohash + os.urandom(20))

    def say(self, kind, payload=b""):
        self.socket.sendall(struct.pack(">IB", 1 + len(payload), kind) + payload)

    def is_closed(self):
        def look():
            try:
                return self.socket.recv(65536) == b""
            except ConnectionResetError:
                return True
            except TimeoutError:
                return False
        return wait_for("the connection to be closed", look, 20)

    def close(self):
        self.socket.close()


FAST, EXTENDED = b"\0\0\0\0\0\x10\0\x04", b"\0\0\0\0\0\x10\0\0"
# counter, bits of the handshake, what is said
RULES = [
    ("msg_malformed", FAST, lambda p: p.socket.sendall(struct.pack(">IB", 1 << 30, 7))),
    ("bitfield_malformed", FAST, lambda p: p.say(5, b"\xff" * 6)),
    ("have_out_of_range", FAST, lambda p: (p.say(15), p.say(4, struct.pack(">I", 99)))),
    ("request_out_of_range", FAST, lambda p: (p.say(15), p.say(6, struct.pack(">III", 99, 0, 16384)))),
    ("extended_malformed", EXTENDED, lambda p: p.say(20, b"\0d1:")),
    ("block_unrequested_closed", FAST, lambda p: (p.say(15), [p.say(7, struct.pack(">II", 0, 0) + b"x" * 100)
                                                             for _ in range(70)])),
    ("request_flood_closed", FAST, lambda p: (p.say(15), time.sleep(11), [p.say(6, struct.pack(">III", 0, 0, 16384))
                                                                         for _ in range(400)])),
]


def rules_are_kept_and_counted(place):
    data = make_tree(place.folder("src", "data"), 5, {"x": SIZE})
    torrent = create(place, data, "--v1", "--piece-length", "64K")
    s = seed(place, torrent, place.path("src"))
    infohash = bytes.fromhex(s.saw("added")[0]["infohash_v1"])
    for counter, bits, say in RULES:
        p = Peer(s.port(), infohash, bits)
        try:
            say(p)
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed before all was said
        assert p.is_closed(), counter
        p.close()
    p = Peer(s.port(), b"x" * 20)
    assert p.is_closed()
    p = socket.create_connection((LOOPBACK, s.port()), timeout=10)
    p.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b" " * 60)
    assert wait_for("the stranger to be sent away", lambda: p.recv(100) == b"", 20)
    g = get(place, torrent, place.path("out"), peer=s.port())
    assert g.wait() == 0, "others are served as before"
    s.stop()
    counters = s.saw("end")[-1]["counters"]
    for counter in [rule[0] for rule in RULES] + ["handshake_unknown_infohash", "handshake_not_bittorrent"]:
        assert counters.get(counter, 0) >= 1, (counter, counters)


main([a_seed_whose_data_went_bad, rules_are_kept_and_counted])
