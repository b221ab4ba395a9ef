"""libtorrent (2.0, Debian's python3-libtorrent) as downloader from shoal and as seed to shoal: v1, v2, hybrid; files
and magnet links; peer exchange when the tracker is gone."""

from swarmcases import Ground, cases
from swarmlib import Libtorrent, main, shoal_get, shoal_seed, wait_for


def down(ground, source, out):
    Libtorrent(ground.lab, source, out)


def seed(ground, torrent, src):
    Libtorrent(ground.lab, torrent, src, seed=True)


def pex_finds_members_without_a_tracker(lab):
    """A shoal downloader knows one libtorrent peer only; gossip leads it to the seed, which the tracker no
    longer tells: the tracker is stopped before the newcomer starts."""
    ground = Ground(lab, "--v1")
    seed = shoal_seed(lab, ground.torrent, ground.src, "--max-up", "300K")
    ground.wait_announced(1)
    hub = Libtorrent(lab, ground.torrent, ground.out("hub"), settings={"enable_pex": True})
    wait_for("the hub meets the seed", lambda: hub.status().get("peers", 0) >= 1, 30)
    ground.tracker.stop()
    get = shoal_get(lab, ground.torrent, ground.out("out-shoal"), "--peer", f"{hub.ip}:{hub.port}")
    wait_for("gossip brings the seed", lambda: [e for e in get.saw("progress") if e["peers"] >= 2], 100)
    get.wait(90)
    assert get.process.returncode == 0, get.output()[-2000:]
    assert seed.is_running()


KINDS = ("v1", "v2", "hybrid")
main([*cases(down, seed, KINDS, magnet_kinds=KINDS, udp_kinds=("v1",)), pex_finds_members_without_a_tracker])
