"""qBittorrent 4.5 as downloader from shoal and as seed to shoal: v1, v2, hybrid, files and magnet links."""

from swarmcases import downloads_from_shoal, seeds_to_shoal
from swarmlib import Qbittorrent, main


def down(ground, source, out):
    Qbittorrent(ground.lab, source, out)


def seed(ground, torrent, src):
    Qbittorrent(ground.lab, torrent, src, seed=True).wait_seeding()


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


def down_v2(lab):
    downloads_from_shoal(lab, down, "--v2")


def down_v2_magnet(lab):
    downloads_from_shoal(lab, down, "--v2", is_magnet=True)


def seed_v2(lab):
    seeds_to_shoal(lab, seed, "--v2")


main([down_v1, down_v2, down_hybrid, down_magnet, down_v2_magnet, seed_v1, seed_v2, seed_hybrid, seed_magnet])
