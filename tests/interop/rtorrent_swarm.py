"""rTorrent 0.9.8 as downloader from shoal and as seed to shoal: v1, hybrid (v1 half), magnet links."""

from swarmcases import downloads_from_shoal, seeds_to_shoal
from swarmlib import Rtorrent, main


def down(ground, source, out):
    Rtorrent(ground.lab, source, out)


def seed(ground, torrent, src):
    Rtorrent(ground.lab, torrent, src)


def down_v1(lab):
    downloads_from_shoal(lab, down, "--v1")


def down_hybrid(lab):
    downloads_from_shoal(lab, down, "--hybrid")


def down_magnet(lab):
    downloads_from_shoal(lab, down, "--v1", is_magnet=True)


def seed_v1(lab):
    seeds_to_shoal(lab, seed, "--v1")


def seed_hybrid(lab):
    seeds_to_shoal(lab, seed, "--hybrid")


def seed_magnet(lab):
    seeds_to_shoal(lab, seed, "--v1", is_magnet=True)


main([down_v1, down_hybrid, down_magnet, seed_v1, seed_hybrid, seed_magnet])
