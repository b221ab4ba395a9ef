"""kill_resume: kill -9 at random moments, 50 times; every next run goes on from there.

A download that comes to its end is compared, thrown away and begun again, until all kills are done.
For each kill: bytes that were sent and did not count (in flight, or of pieces not finished and not
kept), and bytes that the next start hashes again. SHOAL_KILLS changes the number of kills, SHOAL_SEED
the moments.
"""

import os
import random
import shutil
import statistics
import time

from systemlib import create, get, main, make_tree, same_tree, seed

N_KILLS = int(os.environ.get("SHOAL_KILLS", "50"))
SIZE = (64 << 20) - 12345
PIECE = 64 << 10
RATE = 6 << 20
# Per kill: blocks in flight and pieces begun, and what the last save had not heard of.
LOST_MAX = 8 << 20


class Life:
    """One start of the downloader, and what it had when it began."""

    def __init__(self, run):
        self.run, self.port = run, run.port()
        begun = run.wait_event("state", state="downloading")
        self.had = begun["have_len"]
        self.n_hashed = begun["n_checked"]


def sent_to(s, port):
    """What the seed says that it gave to the peer that listened there."""
    return sum(e["up_len"] for e in s.saw("final")[-1]["sources"] if e["peer"].endswith(f":{port}"))


def lives_until_done(place, rng, torrent, n_left):
    """Kills the downloader until it is done or n_left are over; (lost, hashed again) of each kill."""
    s = seed(place, torrent, place.path("src"), "--max-up", str(RATE))
    lives, kills = [], []
    while len(kills) < n_left:
        life = Life(get(place, torrent, place.path("out"), peer=s.port()))
        lives.append(life)
        time.sleep(rng.uniform(0.0, 0.6))  # the moment of death is the point here
        if life.run.process.poll() is not None or life.run.saw("complete"):
            break
        life.run.kill()
        kills.append(len(lives) - 1)
    last = lives[-1].run
    if lives[-1].run.process.poll() is not None and kills and kills[-1] == len(lives) - 1:
        last = get(place, torrent, place.path("out"), peer=s.port())
        lives.append(Life(last))
    assert last.wait(120) == 0, "".join(last.text)
    s.stop()
    had = [life.had for life in lives[1:]] + [SIZE]
    return [(sent_to(s, lives[i].port) - (had[i] - lives[i].had), lives[i + 1].n_hashed * PIECE)
            for i in kills]


def say(what, figures):
    print(f"{what}: min {min(figures)}, median {int(statistics.median(figures))}, max {max(figures)}, "
          f"all {sum(figures)}")


def kill_at_random_moments(place):
    rng = random.Random(int(os.environ.get("SHOAL_SEED", "1")))
    data = make_tree(place.folder("src", "data"), 3, {"one": 32 << 20, "sub/two": SIZE - (32 << 20)})
    torrent = create(place, data, "--hybrid", "--piece-length", "64K")
    kills, n_downloads = [], 0
    while len(kills) < N_KILLS:
        kills += lives_until_done(place, rng, torrent, N_KILLS - len(kills))
        n_downloads += 1
        assert same_tree(data, place.path("out", "data"))
        shutil.rmtree(place.path("out"))
        shutil.rmtree(place.path("get-state"))
        shutil.rmtree(place.path("seed-state"))
    print(f"{len(kills)} kills in {n_downloads} downloads of {SIZE} bytes")
    say("bytes sent for nothing, per kill", [k[0] for k in kills])
    say("bytes hashed again, per kill", [k[1] for k in kills])
    assert all(lost <= LOST_MAX and hashed <= LOST_MAX for lost, hashed in kills), kills


main([kill_at_random_moments])
