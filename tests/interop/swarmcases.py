"""swarmcases: the two questions that each foreign client is asked: does it download from shoal, and does
shoal download from it? Parameterised by kind of torrent and by file or magnet link.
"""

from swarmlib import (Shoal, ShoalTracker, infohash_v1, make_pad_files, make_tree, same_tree, shoal_create, shoal_get,
                      shoal_run, shoal_seed, wait_for)

SIZES = {"a/one.bin": 1_400_000, "a/two.txt": 17, "b/c/three.bin": 2_300_000, "four": 70_000}
SECONDS = 90


class Ground:
    """Data, a tracker, a torrent that names it, and folders to download into."""

    def __init__(self, lab, kind="--v1", udp=False, sizes=None):
        self.lab = lab
        self.data = make_tree(lab.folder("src", "data"), 11, sizes or SIZES)
        self.tracker = ShoalTracker(lab)
        self.torrent = shoal_create(lab, self.data, kind, self.tracker.udp if udp else self.tracker.http)
        self.src = lab.path("src")

    def magnet(self):
        return shoal_run("magnet", self.torrent).stdout.strip()

    def source(self, is_magnet):
        return self.magnet() if is_magnet else self.torrent

    def out(self, name):
        return self.lab.folder(name)

    def wait_copy(self, name, seconds=SECONDS):
        wait_for(f"a whole copy in {name}", lambda: same_tree(self.data, self.lab.path(name, "data")), seconds)

    def wait_announced(self, n, seconds=30):
        """Until the tracker knows n peers: so that a leech finds them with its first announce."""
        wait_for(f"{n} peers at the tracker", lambda: self.tracker.n_peers() >= n, seconds)


def shoal_completes(ground, get, seconds=SECONDS):
    get.wait(seconds)
    assert get.process.returncode == 0, get.output()[-2000:]
    assert same_tree(ground.data, ground.lab.path("out-shoal", "data"))


def downloads_from_shoal(lab, start, kind="--v1", is_magnet=False, udp=False):
    """start(ground, source, out folder) starts the foreign downloader."""
    ground = Ground(lab, kind, udp)
    shoal_seed(lab, ground.torrent, ground.src)
    ground.wait_announced(1)
    start(ground, ground.source(is_magnet), ground.out("out"))
    ground.wait_copy("out")
    return ground


def seeds_to_shoal(lab, start, kind="--v1", is_magnet=False, udp=False):
    """start(ground, torrent file, folder with the data) starts the foreign seed."""
    ground = Ground(lab, kind, udp)
    make_pad_files(ground.torrent, ground.src)
    start(ground, ground.torrent, ground.src)
    ground.wait_announced(1)
    get = shoal_get(lab, ground.source(is_magnet), ground.out("out-shoal"))
    shoal_completes(ground, get)
    return ground


def named(name, run):
    run.__name__ = name
    return run


def cases(down, seed, kinds, magnet_kinds=("v1",), udp_kinds=()):
    """Both questions for each kind of torrent: down_v1, down_v1_magnet, seed_v1, ... down(ground, source, folder) and
    seed(ground, torrent, folder) start the foreign client."""
    out = []
    for kind in kinds:
        for ask, start in (("down", down), ("seed", seed)):
            question = downloads_from_shoal if ask == "down" else seeds_to_shoal
            for is_magnet in (False, True):
                if is_magnet and kind not in magnet_kinds:
                    continue
                out.append(named(f"{ask}_{kind}" + ("_magnet" if is_magnet else ""),
                                 lambda lab, q=question, s=start, k=kind, m=is_magnet:
                                 q(lab, s, "--" + k, m, udp=k in udp_kinds and not m)))
    return out


__all__ = ["Ground", "Shoal", "SECONDS", "SIZES", "cases", "downloads_from_shoal", "infohash_v1", "seeds_to_shoal",
           "shoal_completes"]
