"""rTorrent 0.9.8 as downloader from shoal and as seed to shoal: v1, hybrid (v1 half), magnet links."""

from swarmcases import cases
from swarmlib import Rtorrent, main


def down(ground, source, out):
    Rtorrent(ground.lab, source, out)


def seed(ground, torrent, src):
    Rtorrent(ground.lab, torrent, src)


main(cases(down, seed, kinds=("v1", "hybrid"), magnet_kinds=("v1",)))
