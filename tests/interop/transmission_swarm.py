"""Transmission 3.00 as downloader from shoal and as seed to shoal: v1 and magnet links (it
cannot read hybrids, whoever made them: the empty keys of a file tree are beyond its parser). It starts
encrypted and comes back in the clear, and its first byte takes 10 seconds or more."""

from swarmcases import downloads_from_shoal, seeds_to_shoal
from swarmlib import Transmission, main


def down(ground, source, out):
    Transmission(ground.lab, source, out)


def seed(ground, torrent, src):
    Transmission(ground.lab, torrent, src).wait_seeding()


def down_v1(lab):
    downloads_from_shoal(lab, down, "--v1")


def down_magnet(lab):
    downloads_from_shoal(lab, down, "--v1", is_magnet=True)


def seed_v1(lab):
    seeds_to_shoal(lab, seed, "--v1")


def seed_magnet(lab):
    seeds_to_shoal(lab, seed, "--v1", is_magnet=True)


main([down_v1, down_magnet, seed_v1, seed_magnet])
