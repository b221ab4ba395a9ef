"""shoal create, show and magnet: what is made is what mktorrent makes and what libtorrent reads; bad input is refused in a line."""

import json
import os
import shutil
import subprocess

from systemlib import SHOAL, Skip, create, main, make_tree, shoal

ROOT = os.environ.get("SHOAL_SOURCE_ROOT", ".")
VECTORS = os.path.join(ROOT, "tests", "vectors", "torrents")

# Reads a torrent with libtorrent, in the Python that Debian's package is for.
LIBTORRENT = """
import json, sys
import libtorrent as lt
t = lt.torrent_info(sys.argv[1])
h = t.info_hashes()
f = t.files()
print(json.dumps({"v1": str(h.v1) if h.has_v1() else None, "v2": str(h.v2) if h.has_v2() else None,
    "private": t.priv(), "n_pieces": t.num_pieces(), "piece_length": t.piece_length(), "comment": t.comment(),
    "trackers": [[e.url, e.tier] for e in t.trackers()], "webseeds": [s["url"] for s in t.web_seeds()],
    "files": sorted([f.file_path(i), f.file_size(i)] for i in range(f.num_files())
                    if not f.file_flags(i) & lt.file_flags_t.flag_pad_file)}))
"""


def show(path):
    return json.loads(shoal("show", "--json", path).stdout)


def tree(place):
    top = place.folder("data", "tree")
    make_tree(top, 1, {"a/x": 10, "a-b": 20000, "a.txt": 65536, ".hidden": 3, "empty": 0, "zz": 1, "sub/big": 3 << 20,
                       "sub/dir/more": 777777})
    os.chmod(os.path.join(top, "a.txt"), 0o755)
    return top


def libtorrent_reads(path):
    r = subprocess.run(["/usr/bin/python3", "-c", LIBTORRENT, path], capture_output=True, text=True, timeout=60,
                       check=False)
    if "No module named" in r.stderr or not os.path.exists("/usr/bin/python3"):
        raise Skip("python3-libtorrent is not installed")
    assert r.returncode == 0, r.stderr
    return json.loads(r.stdout)


def accepted_by_libtorrent(place):
    data = tree(place)
    for kind in ("--v1", "--v2", "--hybrid"):
        path = create(place, data, kind, "-l", "64K", "--private", "--comment", "a comment", "--tracker",
                      "http://a.example/announce,udp://b.example:80", "--tracker", "http://c.example/announce",
                      "--webseed", "http://w.example/files/", name=kind)
        ours, theirs = show(path), libtorrent_reads(path)
        assert (ours["infohash_v1"], ours["infohash_v2"]) == (theirs["v1"], theirs["v2"]), (ours, theirs)
        assert ours["n_pieces"] == theirs["n_pieces"] and ours["piece_length"] == theirs["piece_length"] == 65536
        assert ours["private"] is True and theirs["private"] is True and theirs["comment"] == "a comment"
        assert sorted(theirs["trackers"], key=lambda t: (t[1], t[0])) == [
            ["http://a.example/announce", 0], ["udp://b.example:80", 0], ["http://c.example/announce", 1]]
        assert ours["trackers"] == [["http://a.example/announce", "udp://b.example:80"], ["http://c.example/announce"]]
        assert ours["webseeds"] == theirs["webseeds"] == ["http://w.example/files/"]
        assert sorted([f["path"], f["len"]] for f in ours["files"]) == theirs["files"]
        assert ours["version"] == kind.strip("-")


def single_file_accepted_by_libtorrent(place):
    data = os.path.join(tree(place), "a.txt")
    for kind in ("--v1", "--v2", "--hybrid"):
        path = create(place, data, kind, name=kind)
        ours, theirs = show(path), libtorrent_reads(path)
        assert (ours["infohash_v1"], ours["infohash_v2"]) == (theirs["v1"], theirs["v2"]), (ours, theirs)
        assert ours["files"] == [{"path": "a.txt", "len": 65536, "attr": "" if kind == "--v1" else "x"}]


def info_of(path):
    """The raw bytes from the info dictionary's key to the end."""
    with open(path, "rb") as f:
        content = f.read()
    return content[content.index(b"4:infod"):]


def identical_to_mktorrent(place):
    if not shutil.which("mktorrent"):
        raise Skip("mktorrent is not installed")
    data = tree(place)
    os.symlink("a.txt", os.path.join(data, "link"))
    os.symlink("a", os.path.join(data, "dirlink"))
    cases = [(data, []), (data, ["-p"]), (data, ["-s", "src"]), (data, ["-p", "-s", "src"]),
             (os.path.join(data, "a.txt"), []), (os.path.join(data, "a"), [])]
    for i, (path, options) in enumerate(cases):
        for exponent in ("15", "18", "20"):
            theirs = place.path(f"mk{i}-{exponent}.torrent")
            subprocess.run(["mktorrent", "-d", "-l", exponent, *options, "-o", theirs, path], check=True, timeout=60,
                           stdout=subprocess.DEVNULL)
            ours = create(place, path, "--v1", "-l", exponent, "--no-creation-date", *options, name=f"our{i}-{exponent}")
            assert info_of(ours) == info_of(theirs), (path, options, exponent)


def reproducible(place):
    data = tree(place)
    first = create(place, data, "--creation-date", "1234567", name="1")
    env = dict(os.environ, SOURCE_DATE_EPOCH="1234567")
    second = place.path("2.torrent")
    shoal("create", data, "-o", second, "--threads", "1", env=env)
    with open(first, "rb") as a, open(second, "rb") as b:
        content = a.read()
        assert content == b.read() and b"13:creation datei1234567e" in content
    shoal("create", data, "-o", second, env=dict(os.environ, SOURCE_DATE_EPOCH="yesterday"), expect=1)
    undated = create(place, data, "--no-creation-date", name="3")
    with open(undated, "rb") as f:
        assert b"creation date" not in f.read()
    piped = subprocess.run([SHOAL, "create", data, "--v1", "-o", "-", "--name", "other"], capture_output=True,
                           check=True, timeout=60)
    assert b"4:name5:other" in piped.stdout and not piped.stderr


def default_output(place):
    data = tree(place)
    r = shoal("create", data, cwd=place.dir)
    assert show(place.path("tree.torrent"))["version"] == "hybrid" and "info-hash v2: " in r.stdout


def usage(place):
    data = tree(place)
    for args in (["create"], ["create", data, data], ["create", data, "--piece-length", "20000"],
                 ["create", data, "--piece-length", "8K"], ["create", data, "--v1", "--v2"], ["create", data, "--what"],
                 ["create", data, "--tracker", "no url"], ["create", data, "--creation-date", "soon"],
                 ["show"], ["show", "a", "b"], ["magnet"], ["verify", "a"]):
        r = shoal(*args, expect=2)
        assert r.stderr.startswith("shoal: ") or "--help" in r.stderr, r.stderr
    for command in ("create", "show", "verify", "magnet"):
        assert "Usage" in shoal(command, "--help").stdout


def one_line(r):
    lines = r.stderr.strip().split("\n")
    assert len(lines) == 1 and lines[0].startswith("shoal: "), r.stderr
    return lines[0]


def refused(place):
    data = tree(place)
    assert "No such file" in one_line(shoal("create", place.path("none"), "-o", place.path("x"), expect=1))
    assert "no-such-folder" in one_line(shoal("create", data, "-o", "/no-such-folder/x.torrent", expect=1))
    assert "nothing to share" in one_line(shoal("create", os.path.join(data, "empty"), "-o", place.path("x"), expect=1))
    with open(os.path.join(data, "back\\slash"), "w", encoding="ascii") as f:
        f.write("x")
    assert "back\\slash" in one_line(shoal("create", data, "-o", place.path("x"), expect=1))
    assert not os.path.exists(place.path("x"))
    assert one_line(shoal("show", data, expect=1)) and one_line(shoal("show", place.path("none"), expect=1))
    assert "urn:btih" in one_line(shoal("show", "magnet:?xt=urn:btih:123", expect=1))
    with open(place.path("cut.torrent"), "wb") as f:
        f.write(b"d4:infod6:lengthi5e4:name1:a")
    assert "(at 28" in one_line(shoal("show", place.path("cut.torrent"), expect=1))


def corpus(place):
    """show's verdict on every file of the corpus, as unit tests have it from the parser."""
    del place
    with open(os.path.join(VECTORS, "expectations.tsv"), encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f][1:]
    assert len(rows) > 80
    for name, result, _, v1, v2 in rows:
        path = os.path.join(VECTORS, name)
        if result == "error":
            assert name in one_line(shoal("show", "--json", path, expect=1))
            continue
        got = show(path)
        assert (got["infohash_v1"] or "-", got["infohash_v2"] or "-") == (v1, v2), name
        assert set(got) == {"name", "version", "infohash_v1", "infohash_v2", "piece_length", "n_pieces", "total_len",
                            "private", "files", "trackers", "webseeds"}
        shoal("show", path)


def magnet_links(place):
    path = create(place, tree(place), "--tracker", "http://a.example/announce?x=1&y", "--webseed", "http://w.example/")
    torrent, link = show(path), shoal("magnet", path).stdout.strip()
    got = show(link)
    for field in ("name", "version", "infohash_v1", "infohash_v2", "trackers", "webseeds"):
        assert got[field] == torrent[field], field
    assert got["piece_length"] is None and got["files"] == []
    bare = shoal("magnet", "--no-trackers", path).stdout
    assert "&tr=" not in bare and "&ws=" not in bare
    assert "info-hash v1" in shoal("show", link).stdout


main([accepted_by_libtorrent, single_file_accepted_by_libtorrent, identical_to_mktorrent, reproducible, default_output, usage,
      refused, corpus, magnet_links])
