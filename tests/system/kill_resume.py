"""kill_resume: kill -9 at random moments, 50 times; every next run goes on from there.

Shown after each kill: what was verified stays (at most the last second's worth is hashed again, nothing
else is), the data ends up right, and little is fetched twice. SHOAL_KILLS changes the number of kills.
"""

import os
import random
import time

from systemlib import create, get, main, make_tree, same_tree, seed

N_KILLS = int(os.environ.get("SHOAL_KILLS", "50"))
SIZE = 64 << 20
PIECE = 64 << 10
RATE = 3 << 20
# Per kill: blocks in flight and pieces begun, and what the last save had not heard of.
LOST_MAX = 4 << 20


def kill_at_random_moments(place):
    rng = random.Random(int(os.environ.get("SHOAL_SEED", "1")))
    data = make_tree(place.folder("src", "data"), 3, {"one": SIZE // 2, "sub/two": SIZE // 2 - 12345})
    total = SIZE - 12345
    torrent = create(place, data, "--hybrid", "--piece-length", "64K")
    s = seed(place, torrent, place.path("src"), "--max-up", str(RATE))
    have, n_kills, n_rehashed = 0, 0, 0
    while n_kills < N_KILLS:
        g = get(place, torrent, place.path("out"), peer=s.port())
        time.sleep(rng.uniform(0.05, 0.6))  # the moment of death is the point here
        ended = g.process.poll() is not None
        g.kill()
        n_kills += 1
        n_rehashed += max([e["n_checked"] for e in g.saw("state")], default=0)
        for seen in g.saw("progress"):
            assert seen["have_len"] >= have - LOST_MAX, f"kill {n_kills}: had {have}, now {seen['have_len']}"
            have = max(have, seen["have_len"])
        if ended:
            break
    g = get(place, torrent, place.path("out"), peer=s.port())
    assert g.wait(120) == 0, "".join(g.text)
    n_rehashed += max(e["n_checked"] for e in g.saw("state"))
    assert same_tree(data, place.path("out", "data"))
    s.stop()
    sent = s.saw("final")[-1]["up_total"]
    print(f"{n_kills} kills of a download of {total} bytes: {sent - total} sent twice or lost on the way, "
          f"{n_rehashed * PIECE} hashed again")
    assert sent <= total + n_kills * LOST_MAX, (sent, total)
    assert n_rehashed * PIECE <= n_kills * LOST_MAX, n_rehashed


main([kill_at_random_moments])
