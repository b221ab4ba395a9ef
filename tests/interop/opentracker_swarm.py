"""opentracker as the tracker of a shoal swarm, over HTTP and UDP, for v1 and v2: seed and downloaders find each other
by nothing else."""

import json

from swarmcases import SIZES
from swarmlib import Opentracker, main, make_tree, named_peers, same_tree, shoal_create, shoal_get, shoal_run, shoal_seed


def swarm(lab, kind, scheme):
    data = make_tree(lab.folder("src", "data"), 12, SIZES)
    facts = json.loads(shoal_run("show", "--json", shoal_create(lab, data, kind, name="plain")).stdout)
    key = facts["infohash_v1"] or facts["infohash_v2"][:40]
    tracker = Opentracker(lab, [key])
    torrent = shoal_create(lab, data, kind, getattr(tracker, scheme), name="tracked")
    shoal_seed(lab, torrent, lab.path("src"), "--no-pex")
    gets = [shoal_get(lab, torrent, lab.folder(f"out{n}"), "--no-pex") for n in (1, 2)]
    for n, get in enumerate(gets, 1):
        get.wait(60)
        assert get.process.returncode == 0, get.output()[-2000:]
        assert same_tree(data, lab.path(f"out{n}", "data"))
        assert named_peers(get), "the tracker named nobody"


def http_v1(lab):
    swarm(lab, "--v1", "http")


def udp_v1(lab):
    swarm(lab, "--v1", "udp")


def udp_v2(lab):
    swarm(lab, "--v2", "udp")


main([http_v1, udp_v1, udp_v2])
