"""Trackers: shoal's announcer at opentracker; libtorrent, aria2 and Transmission finding each other through
`shoal tracker`, over HTTP and UDP; a list of allowed torrents that changes while it runs."""

import os
import signal
import subprocess
import urllib.request

from swarmlib import (Aria2, Libtorrent, Opentracker, ShoalTracker, Transmission, infohash_v1, main, make_tree,
                      same_tree, shoal_create, wait_for)

ANNOUNCE = os.environ.get("SHOAL_ANNOUNCE", "build/tests/interop/announce")
HASH = "4a" * 20
SIZES = {"a/one.bin": 900_000, "two.txt": 17}
SECONDS = 90


# --- shoal's announcer ------------------------------------------------------------------------------


def announcer(lab, ip, port, left, url, stay=0, check=True):
    argv = [ANNOUNCE, ip, str(port), HASH, str(left), url, str(stay)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if stay:
        return process
    out, _ = process.communicate(timeout=60)
    assert not check or process.returncode == 0, f"exit {process.returncode}\n{out}"
    return out


def two_meet(lab, url):
    """A seed announces and stays; a leecher hears of it, and the seed is gone when it says stopped."""
    seed_ip, leech_ip, late_ip = lab.address(), lab.address(), lab.address()
    seed = announcer(lab, seed_ip, 7001, 0, url, stay=4)
    assert seed.stdout.readline() == "good\n", seed.communicate(timeout=30)[0]
    out = announcer(lab, leech_ip, 7002, 5, url)
    assert f"peer {seed_ip}:7001" in out, out
    assert "counts 2 0" in out, out  # both have everything by then
    assert out.endswith("stopped\n"), out
    out, _ = seed.communicate(timeout=60)
    assert seed.returncode == 0 and out.endswith("stopped\n"), out
    out = announcer(lab, late_ip, 7003, 5, url)
    assert seed_ip not in out and leech_ip not in out, out  # opentracker names the asker itself


def announcer_at_opentracker_http(lab):
    two_meet(lab, Opentracker(lab, [HASH]).http)


def announcer_at_opentracker_udp(lab):
    two_meet(lab, Opentracker(lab, [HASH]).udp)


def announcer_refused_by_opentracker(lab):
    tracker = Opentracker(lab, ["5b" * 20])
    out = announcer(lab, lab.address(), 7001, 0, tracker.http, check=False)
    assert "bad " in out and "good" not in out, out


def announcer_at_shoal_http(lab):
    two_meet(lab, ShoalTracker(lab).http)


def announcer_at_shoal_udp(lab):
    two_meet(lab, ShoalTracker(lab).udp)


# --- others at shoal's tracker -------------------------------------------------------------------------


class Meeting:
    """Data, shoal's tracker and a torrent that names it."""

    def __init__(self, lab, udp=False, kind="--v1"):
        self.lab = lab
        self.data = make_tree(lab.folder("src", "data"), 5, SIZES)
        self.tracker = ShoalTracker(lab)
        url = self.tracker.udp + "/announce" if udp else self.tracker.http
        self.torrent = shoal_create(lab, self.data, kind, url)
        self.src, self.out = lab.path("src"), lab.folder("out")

    def wait_announced(self, n=1):
        wait_for(f"{n} peers at the tracker", lambda: self.tracker.n_peers() >= n, 30)

    def wait_copy(self):
        wait_for("a whole copy", lambda: same_tree(self.data, os.path.join(self.out, "data")), SECONDS)

    def asked_over(self, protocol, n):
        return self.tracker.stats()[f"{protocol}_announces"] >= n


def libtorrent_pair(lab, udp):
    m = Meeting(lab, udp)
    Libtorrent(lab, m.torrent, m.src, seed=True)
    m.wait_announced()
    Libtorrent(lab, m.torrent, m.out)
    m.wait_copy()
    assert m.asked_over("udp" if udp else "http", 2), m.tracker.stats()
    # The one that has just finished says so.
    wait_for("two seeds at the tracker", lambda: m.tracker.stats()["seeds"] == 2, 30)


def libtorrent_pair_http(lab):
    libtorrent_pair(lab, udp=False)


def libtorrent_pair_udp(lab):
    libtorrent_pair(lab, udp=True)


def libtorrent_hybrid_is_two_swarms(lab):
    m = Meeting(lab, kind="--hybrid")
    Libtorrent(lab, m.torrent, m.src, seed=True)
    wait_for("both info-hashes at the tracker", lambda: m.tracker.stats()["swarms"] == 2, 30)


def libtorrent_says_stopped(lab):
    m = Meeting(lab)
    client = Libtorrent(lab, m.torrent, m.src, seed=True)
    m.wait_announced()
    client.stop()
    wait_for("nobody at the tracker", lambda: m.tracker.n_peers() == 0, 30)


def aria2_pair(lab, udp):
    m = Meeting(lab, udp)
    # Without DHT aria2 has no UDP sockets, and says that UDP is not supported. Nothing to bootstrap from here.
    extra = ["--enable-dht=true", f"--dht-file-path={lab.path('dht.dat')}"] if udp else []
    Aria2(lab, m.torrent, m.src, seed=True, extra=extra)
    m.wait_announced()
    Aria2(lab, m.torrent, m.out, extra=extra)
    m.wait_copy()
    assert m.asked_over("udp" if udp else "http", 2), m.tracker.stats()


def aria2_pair_http(lab):
    aria2_pair(lab, udp=False)


def aria2_pair_udp(lab):
    aria2_pair(lab, udp=True)


def transmission_to_libtorrent(lab, udp):
    m = Meeting(lab, udp)
    Transmission(lab, m.torrent, m.src).wait_seeding()
    m.wait_announced()
    Libtorrent(lab, m.torrent, m.out)
    m.wait_copy()


def transmission_to_libtorrent_http(lab):
    transmission_to_libtorrent(lab, udp=False)


def transmission_to_libtorrent_udp(lab):
    transmission_to_libtorrent(lab, udp=True)


# --- the tracker as a program ---------------------------------------------------------------------------


def allow_list_changes(lab):
    path = lab.path("allowed")
    with open(path, "w") as f:
        f.write("# nothing yet\n")
    tracker = ShoalTracker(lab, "--allow-list", path, "--json")
    out = announcer(lab, lab.address(), 7001, 0, tracker.http, check=False)
    assert "this info_hash is not served here" in out, out
    with open(path, "a") as f:
        f.write(HASH.upper() + "\n")
    tracker.process.send_signal(signal.SIGHUP)
    wait_for("the list is read again", lambda: tracker.stats()["allowed"] == 1, 10)
    two_meet(lab, tracker.udp)
    with open(path, "a") as f:
        f.write("not a hash\n")
    tracker.process.send_signal(signal.SIGHUP)
    wait_for("the error is reported", lambda: "line 3" in tracker.output(), 10)
    assert tracker.stats()["allowed"] == 1  # the list before stays in force
    tracker.process.send_signal(signal.SIGINT)
    assert tracker.wait(10) == 0
    assert '"event": "end"' in tracker.output()


def scrape_of_a_libtorrent_seed(lab):
    m = Meeting(lab)
    Libtorrent(lab, m.torrent, m.src, seed=True)
    m.wait_announced()
    quoted = "".join(f"%{infohash_v1(m.torrent)[i:i + 2]}" for i in range(0, 40, 2))
    url = m.tracker.http.replace("announce", "scrape") + "?info_hash=" + quoted
    body = urllib.request.urlopen(url, timeout=5).read()
    assert b"8:completei1e" in body, body


main([announcer_at_opentracker_http, announcer_at_opentracker_udp, announcer_refused_by_opentracker,
      announcer_at_shoal_http, announcer_at_shoal_udp, libtorrent_pair_http, libtorrent_pair_udp,
      libtorrent_hybrid_is_two_swarms, libtorrent_says_stopped, scrape_of_a_libtorrent_seed, aria2_pair_http, aria2_pair_udp,
      transmission_to_libtorrent_http, transmission_to_libtorrent_udp, allow_list_changes])
