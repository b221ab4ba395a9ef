"""All clients in one swarm at once, each at an address of its own: shoal seeds and every client (two shoals
among them) downloads; then a foreign seed and the same company. Everyone must end with every byte.
The hybrid goes without Transmission 3.00 and aria2, which cannot read hybrids."""

from swarmcases import Ground
from swarmlib import (Aria2, Libtorrent, Qbittorrent, Rtorrent, Transmission, main, shoal_get, shoal_seed, wait_for)

SIZES = {"a/one.bin": 6_000_000, "a/two.txt": 17, "b/c/three.bin": 5_000_000, "four": 70_000}


EVERYONE = (Libtorrent, Aria2, Rtorrent, Transmission, Qbittorrent)
READS_HYBRIDS = (Libtorrent, Rtorrent, Qbittorrent)


def company(ground, others):
    lab = ground.lab
    gets = [shoal_get(lab, ground.torrent, ground.out(f"shoal{n}"), "--seed") for n in (1, 2)]
    names = [other.__name__.lower() for other in others]
    for name, other in zip(names, others):
        other(lab, ground.torrent, ground.out(name))
    for name in ["shoal1", "shoal2", *names]:
        ground.wait_copy(name, 150)
    for get in gets:
        wait_for("shoal says complete", lambda g=get: g.saw("complete") or g.must_run(), 10)


def shoal_is_the_seed(lab):
    ground = Ground(lab, "--v1", sizes=SIZES)
    shoal_seed(lab, ground.torrent, ground.src, "--max-up", "2M")
    ground.wait_announced(1)
    company(ground, EVERYONE)


def libtorrent_is_the_seed_of_a_hybrid(lab):
    ground = Ground(lab, "--hybrid", sizes=SIZES)
    Libtorrent(lab, ground.torrent, ground.src, seed=True, settings={"upload_rate_limit": 2 << 20})
    ground.wait_announced(1)
    company(ground, READS_HYBRIDS)


main([shoal_is_the_seed, libtorrent_is_the_seed_of_a_hybrid])
