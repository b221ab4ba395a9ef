"""transfer: shoal seed and shoal get as a user meets them: sources, options, exit codes, messages."""

import http.server
import os
import signal
import threading

from systemlib import LOOPBACK, Run, create, get, main, make_tree, same_tree, seed, shoal

SIZES = {"a/one.bin": 700_000, "a/two.bin": 1, "b/three.bin": 2_500_000, "empty": 0}


def tree(place, sizes=None):
    return make_tree(place.folder("src", "data"), 7, sizes or SIZES)


def download(place, data, torrent, *args):
    s = seed(place, torrent, os.path.dirname(data))
    g = get(place, torrent, place.path("out"), *args, peer=s.port())
    assert g.wait() == 0, "".join(g.text)
    return g


def every_version(place):
    data = tree(place)
    for kind in ("--v1", "--v2", "--hybrid"):
        torrent = create(place, data, kind, "--piece-length", "32K", name=kind)
        s = seed(place, torrent, place.path("src"))
        g = get(place, torrent, place.path("out" + kind), peer=s.port(), state="state" + kind)
        assert g.wait() == 0, kind
        assert same_tree(data, place.path("out" + kind, "data")), kind
        shoal("verify", torrent, place.path("out" + kind))
        assert s.stop() == 0


def magnet_with_peer(place):
    data = tree(place)
    for kind in ("--v1", "--v2", "--hybrid"):
        torrent = create(place, data, kind, "--piece-length", "32K", name=kind)
        s = seed(place, torrent, place.path("src"))
        link = s.wait_event("added")["magnet"] + f"&x.pe={LOOPBACK}:{s.port()}"
        g = get(place, link, place.path("out" + kind), state="state" + kind)
        assert g.wait() == 0, kind
        assert g.saw("metadata") and same_tree(data, place.path("out" + kind, "data")), kind
        s.stop()


def seed_makes_the_torrent_and_runs_a_tracker(place):
    data = tree(place)
    s = Run(place, "seed", data, "--bind", LOOPBACK, "--json", "--tracker", state=place.folder("s"))
    link = s.wait_event("added")["magnet"]
    assert "tr=" in link, link
    s.wait_event("state", state="seeding")
    g = get(place, link, place.path("out"))
    assert g.wait() == 0
    assert same_tree(data, place.path("out", "data"))
    assert os.path.exists(data + ".torrent")


def from_url(place):
    data = tree(place)
    torrent = create(place, data)
    s = seed(place, torrent, place.path("src"))
    handler = lambda *a: http.server.SimpleHTTPRequestHandler(*a, directory=place.dir)  # noqa: E731
    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://{LOOPBACK}:{server.server_address[1]}"
    g = Run(place, "get", f"{base}/t.torrent", "--dir", place.folder("out"), "--bind", LOOPBACK, "--json", "--peer",
            f"{LOOPBACK}:{s.port()}", state=place.folder("g"))
    assert g.wait() == 0
    assert same_tree(data, place.path("out", "data"))
    gone = Run(place, "get", f"{base}/none.torrent", "--bind", LOOPBACK, "--json", state=place.folder("g"))
    assert gone.wait() == 1 and "404" in str(gone.saw("error"))
    server.shutdown()


def only_some_files(place):
    data = tree(place, {"a/one.bin": 300_000, "b/two.bin": 300_000, "c/three.bin": 300_000})
    torrent = create(place, data, "--piece-length", "16K", "--hybrid")
    g = download(place, data, torrent, "--only", "b/two.bin")
    assert os.path.getsize(place.path("out", "data", "b", "two.bin")) == 300_000
    assert not os.path.exists(place.path("out", "data", "c", "three.bin"))
    assert g.saw("state", state="finished")
    missing = Run(place, "get", torrent, "--dir", place.path("out"), "--bind", LOOPBACK, "--json", "--only", "nothing",
                  state=place.folder("g2"))
    assert missing.wait() == 1
    assert "no file of the torrent is selected" in "".join(missing.text)


def sequential(place):
    data = tree(place, {"x": 4_000_000})
    g = download(place, data, create(place, data, "--piece-length", "16K"), "--sequential")
    assert same_tree(data, place.path("out", "data"))
    assert g.saw("complete")


def rate_limit_is_kept(place):
    data = tree(place, {"x": 3_000_000})
    torrent = create(place, data, "--piece-length", "16K")
    s = seed(place, torrent, place.path("src"))
    g = get(place, torrent, place.path("out"), "--max-down", "1M", peer=s.port())
    assert g.wait() == 0
    seconds = g.saw("complete")[0]["seconds"]
    assert seconds > 1.5, f"3 MB at 1 MiB/s took {seconds} s"


def stop_and_go_on(place):
    data = tree(place, {"x": 6_000_000})
    torrent = create(place, data, "--piece-length", "16K")
    s = seed(place, torrent, place.path("src"), "--max-up", "2M")
    g = get(place, torrent, place.path("out"), peer=s.port())
    g.wait_event("progress")
    g.signal(signal.SIGINT)
    assert g.wait() == 3, "stopped before it was complete"
    first = g.saw("final")[-1]
    assert 0 < first["have_len"] < 6_000_000, first
    again = get(place, torrent, place.path("out"), peer=s.port())
    assert again.wait() == 0
    last = again.saw("final")[-1]
    assert last["down_total"] <= 6_000_000 - first["have_len"] + (1 << 20), (first, last)
    assert same_tree(data, place.path("out", "data"))


def complete_is_noticed(place):
    data = tree(place)
    torrent = create(place, data)
    download(place, data, torrent)
    again = get(place, torrent, place.path("out"))
    assert again.wait() == 0
    assert again.saw("final")[-1]["down_total"] == 0


def changed_file_is_noticed(place):
    data = tree(place, {"x": 1_000_000, "y": 1_000_000})
    torrent = create(place, data, "--v2", "--piece-length", "16K")
    s = seed(place, torrent, place.path("src"))
    g = get(place, torrent, place.path("out"), peer=s.port())
    assert g.wait() == 0
    victim = place.path("out", "data", "y")
    with open(victim, "r+b") as f:
        f.seek(500_000)
        f.write(b"changed behind our back")
    again = get(place, torrent, place.path("out"), peer=s.port())
    assert again.wait() == 0
    assert 0 < again.saw("final")[-1]["down_total"] <= 64 << 10
    assert same_tree(data, place.path("out", "data"))


def seed_of_damaged_data(place):
    data = tree(place, {"x": 1_000_000})
    torrent = create(place, data)
    with open(os.path.join(data, "x"), "r+b") as f:
        f.write(b"damage")
    s = Run(place, "seed", torrent, "--dir", place.path("src"), "--bind", LOOPBACK, "--json", state=place.folder("s"))
    assert s.wait() == 1
    assert "x" in "".join(s.text) or s.saw("error")


def usage_and_errors(place):
    for args in (["get"], ["get", "--port", "x", "t"], ["seed"], ["nonsense"], ["get", "--no-such-option", "t"]):
        shoal(*args, expect=2)
    r = shoal("get", place.path("absent.torrent"), expect=1)
    assert "absent.torrent" in r.stderr and r.stderr.count("\n") == 1, r.stderr
    with open(place.path("bad.torrent"), "wb") as f:
        f.write(b"d4:infoi1ee")
    r = shoal("get", place.path("bad.torrent"), expect=1)
    assert "bad.torrent" in r.stderr and "info" in r.stderr, r.stderr
    r = shoal("seed", "--congestion-control", "nonesuch", place.path("bad.torrent"), expect=1)
    assert "nonesuch" in r.stderr and "congestion control" in r.stderr and r.stderr.count("\n") == 1, r.stderr
    r = shoal("get", "magnet:?dn=x", expect=1)
    assert r.stderr.count("\n") == 1, r.stderr


def quiet_without_a_terminal(place):
    data = tree(place)
    torrent = create(place, data)
    s = seed(place, torrent, place.path("src"))
    env = dict(os.environ, XDG_STATE_HOME=place.folder("q"))
    r = shoal("get", torrent, "--dir", place.folder("out"), "--bind", LOOPBACK, "--peer", f"{LOOPBACK}:{s.port()}",
              env=env)
    assert r.stdout == "" and r.stderr == "", (r.stdout, r.stderr)


def why_is_told(place):
    data = tree(place)
    torrent = create(place, data)
    g = get(place, torrent, place.path("out"))
    text = g.wait_event("why", seconds=25)["text"]
    assert "peer" in text, text
    g.signal(signal.SIGTERM)
    assert g.wait() == 3


def over_ipv6(place):
    data = tree(place)
    tracker = Run(place, "tracker", "--bind", "::1", "--port", "0", "--json")
    port = tracker.wait_event("listening")["port"]
    for scheme, path in (("http", "/announce"), ("udp", "")):
        torrent = create(place, data, "--tracker", f"{scheme}://[::1]:{port}{path}", name=scheme)
        s = Run(place, "seed", torrent, "--dir", place.path("src"), "--bind", "::1", "--json", state=place.folder("s"))
        s.wait_event("tracker")
        out = place.folder("out-" + scheme)
        g = Run(place, "get", torrent, "--dir", out, "--bind", "::1", "--json", state=place.folder("g" + scheme))
        assert g.wait() == 0, scheme
        assert same_tree(data, os.path.join(out, "data"))
        s.stop()


def several_torrents_at_once(place):
    torrents = []
    for n in range(5):
        make_tree(place.folder("src", f"data{n}"), n, {"x": 400_000 + n})
        torrents.append(create(place, place.path("src", f"data{n}"), name=f"t{n}"))
    s = Run(place, "seed", *torrents, "--dir", place.path("src"), "--bind", LOOPBACK, "--json", state=place.folder("s"))
    for torrent in torrents:
        s.wait_event("state", state="seeding", torrent=torrent)
    g = Run(place, "get", *torrents, "--dir", place.folder("out"), "--bind", LOOPBACK, "--json", "--peer",
            f"{LOOPBACK}:{s.port()}", state=place.folder("g"))
    assert g.wait() == 0
    assert same_tree(place.path("src"), place.path("out"))
    assert len(g.saw("complete")) == 5


def seed_goals(place):
    data = tree(place, {"x": 500_000})
    torrent = create(place, data)
    s = seed(place, torrent, place.path("src"), "--seed-time", "1")
    assert s.wait(20) == 0 and s.saw("goal")
    s = seed(place, torrent, place.path("src"), "--seed-ratio", "1")
    g = get(place, torrent, place.path("out"), peer=s.port())
    assert g.wait() == 0
    assert s.wait(20) == 0 and s.saw("goal")


main([every_version, over_ipv6, several_torrents_at_once, seed_goals, magnet_with_peer, seed_makes_the_torrent_and_runs_a_tracker, from_url, only_some_files, sequential,
      rate_limit_is_kept, stop_and_go_on, complete_is_noticed, changed_file_is_noticed, seed_of_damaged_data,
      usage_and_errors, quiet_without_a_terminal, why_is_told])
