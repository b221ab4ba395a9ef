"""libtorrent (2.0, Debian's python3-libtorrent) as downloader from shoal and as seed to shoal: v1, v2, hybrid; files
and magnet links; peer exchange when the tracker is gone."""

from swarmcases import Ground, downloads_from_shoal, seeds_to_shoal
from swarmlib import Libtorrent, main, shoal_get, shoal_seed, wait_for


def down(ground, source, out):
    Libtorrent(ground.lab, source, out)


def seed(ground, torrent, src):
    Libtorrent(ground.lab, torrent, src, seed=True)


def down_v1(lab):
    downloads_from_shoal(lab, down, "--v1", udp=True)


def down_v2(lab):
    downloads_from_shoal(lab, down, "--v2")


def down_hybrid(lab):
    downloads_from_shoal(lab, down, "--hybrid")


def down_v1_magnet(lab):
    downloads_from_shoal(lab, down, "--v1", is_magnet=True)


def down_v2_magnet(lab):
    downloads_from_shoal(lab, down, "--v2", is_magnet=True)


def down_hybrid_magnet(lab):
    downloads_from_shoal(lab, down, "--hybrid", is_magnet=True)


def seed_v1(lab):
    seeds_to_shoal(lab, seed, "--v1", udp=True)


def seed_v2(lab):
    seeds_to_shoal(lab, seed, "--v2")


def seed_hybrid(lab):
    seeds_to_shoal(lab, seed, "--hybrid")


def seed_v1_magnet(lab):
    seeds_to_shoal(lab, seed, "--v1", is_magnet=True)


def seed_v2_magnet(lab):
    seeds_to_shoal(lab, seed, "--v2", is_magnet=True)


def seed_hybrid_magnet(lab):
    seeds_to_shoal(lab, seed, "--hybrid", is_magnet=True)


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


main([down_v1, down_v2, down_hybrid, down_v1_magnet, down_v2_magnet, down_hybrid_magnet, seed_v1, seed_v2, seed_hybrid,
      seed_v1_magnet, seed_v2_magnet, seed_hybrid_magnet, pex_finds_members_without_a_tracker])
