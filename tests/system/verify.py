"""shoal verify: good data is good, and each kind of damage is named, by file and piece."""

import json
import os
import shutil

from systemlib import create, main, make_tree, shoal

PIECE = 65536


def tree(place):
    return make_tree(place.folder("data", "tree"), 1, {"big": 10 * PIECE + 5, "one": 1, "empty": 0, "sub/more": 2 << 20})


def report(torrent, path, expect):
    return json.loads(shoal("verify", "--json", torrent, path, expect=expect).stdout)


def state(got, name):
    return next(f["state"] for f in got["files"] if f["path"] == f"tree/{name}")


def good_wherever(place):
    top = tree(place)
    for kind in ("--v1", "--v2", "--hybrid"):
        torrent = create(place, top, kind, "-l", "64K", name=kind)
        for path in (top, place.path("data"), top + "/"):
            got = report(torrent, path, 0)
            assert got["good"] and not got["bad_pieces"] and all(f["state"] == "good" for f in got["files"])
    renamed = place.path("data", "renamed")
    os.rename(top, renamed)
    shoal("verify", torrent, renamed)
    single = create(place, os.path.join(renamed, "big"), name="single")
    shoal("verify", single, os.path.join(renamed, "big"))
    shoal("verify", single, renamed)


def damage(place):
    top = tree(place)
    copy = place.path("copy")
    for kind in ("--v1", "--v2", "--hybrid"):
        torrent = create(place, top, kind, "-l", "64K", name=kind)
        shutil.copytree(top, copy)
        with open(os.path.join(copy, "big"), "r+b") as f:
            f.seek(3 * PIECE + 7)
            byte = f.read(1)
            f.seek(3 * PIECE + 7)
            f.write(bytes([byte[0] ^ 1]))
        got = report(torrent, copy, 1)
        assert len(got["bad_pieces"]) == 1 and not got["missing_pieces"] and state(got, "big") == "bad"
        r = shoal("verify", torrent, copy, expect=1)
        assert f"tree/big: bad, piece {got['bad_pieces'][0]}" in r.stdout and "1 of " in r.stdout

        os.truncate(os.path.join(copy, "big"), 9 * PIECE)
        os.remove(os.path.join(copy, "one"))
        os.remove(os.path.join(copy, "empty"))
        os.mkdir(os.path.join(copy, "empty"))
        got = report(torrent, copy, 1)
        assert got["missing_pieces"] and not got["good"]
        assert state(got, "big") == "wrong length" and state(got, "one") == "absent"
        assert state(got, "empty") == "wrong kind"
        shutil.rmtree(copy)


def nothing_there(place):
    torrent = create(place, tree(place))
    r = shoal("verify", torrent, place.path("none"), expect=1)
    assert "No such file" in r.stderr and r.stderr.count("\n") == 1
    got = report(torrent, place.folder("nothing"), 1)
    assert all(f["state"] == "absent" for f in got["files"])
    shoal("verify", place.path("none"), place.dir, expect=1)


def a_pipe_is_no_file(place):
    top = tree(place)
    torrent = create(place, top)
    os.remove(os.path.join(top, "one"))
    os.mkfifo(os.path.join(top, "one"))
    assert state(report(torrent, top, 1), "one") == "wrong kind"


main([good_wherever, damage, nothing_there, a_pipe_is_no_file])
