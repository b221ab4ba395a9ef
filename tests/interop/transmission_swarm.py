"""Transmission 3.00 as downloader from shoal and as seed to shoal: v1 and magnet links (it cannot read
hybrids, whoever made them: the empty keys of a file tree are beyond its parser). It starts encrypted and comes back
in the clear, and its first byte takes 10 seconds or more."""

from swarmcases import cases
from swarmlib import Transmission, main


def down(ground, source, out):
    Transmission(ground.lab, source, out)


def seed(ground, torrent, src):
    Transmission(ground.lab, torrent, src).wait_seeding()


main(cases(down, seed, kinds=("v1",), magnet_kinds=("v1",)))
