"""qBittorrent 4.5 as downloader from shoal and as seed to shoal: v1, v2, hybrid, files and magnet links."""

from swarmcases import cases
from swarmlib import Qbittorrent, main


def down(ground, source, out):
    Qbittorrent(ground.lab, source, out)


def seed(ground, torrent, src):
    Qbittorrent(ground.lab, torrent, src, seed=True).wait_seeding()


main(cases(down, seed, kinds=("v1", "v2", "hybrid"), magnet_kinds=("v1", "v2")))
