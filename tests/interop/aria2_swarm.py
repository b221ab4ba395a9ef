"""aria2 1.36 as downloader from shoal and as seed to shoal: v1 and magnet links. (Its info-hash of a
hybrid is wrong, whoever made the torrent: it encodes the info dictionary anew and loses the empty keys.)"""

from swarmcases import cases
from swarmlib import Aria2, main


def down(ground, source, out):
    Aria2(ground.lab, source, out)


def seed(ground, torrent, src):
    Aria2(ground.lab, torrent, src, seed=True)


main(cases(down, seed, kinds=("v1",), magnet_kinds=("v1",)))
