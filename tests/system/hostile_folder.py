"""hostile_folder: the download folder is full of traps: links that lead outside, folders where files go, full
and read-only file systems. Nothing outside is touched, the message names the file, verified data stays.
"""

import os
import subprocess

from systemlib import Skip, create, get, main, make_tree, same_tree, seed


def planted_symlinks(place):
    data = make_tree(place.folder("src", "data"), 5, {"sub/x": 200_000, "y": 100_000})
    torrent = create(place, data, "--piece-length", "16K")
    s = seed(place, torrent, place.path("src"))
    outside = place.folder("outside")
    with open(place.path("victim"), "w") as f:
        f.write("precious")
    os.makedirs(place.path("out", "data"))
    os.symlink(outside, place.path("out", "data", "sub"))
    os.symlink(place.path("victim"), place.path("out", "data", "y"))
    g = get(place, torrent, place.path("out"), peer=s.port())
    assert g.wait() == 1, "a planted link must end the download"
    assert os.listdir(outside) == []
    with open(place.path("victim")) as f:
        assert f.read() == "precious"
    assert "sub" in str(g.events) + "".join(g.text) or "y" in str(g.events)


def folder_in_the_way(place):
    data = make_tree(place.folder("src", "data"), 5, {"x": 100_000})
    torrent = create(place, data)
    s = seed(place, torrent, place.path("src"))
    os.makedirs(place.path("out", "data", "x"))
    g = get(place, torrent, place.path("out"), peer=s.port())
    assert g.wait() == 1
    assert g.saw("error"), g.events


def small_disk(place):
    """A file system of its own needs root; it is made inside a mount namespace and goes with it."""
    if os.geteuid() != 0:
        raise Skip("needs root to mount a small tmpfs")
    folder = place.folder("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False).returncode != 0:
        raise Skip("cannot mount a tmpfs here")
    try:
        data = make_tree(place.folder("src", "data"), 6, {"x": 9_000_000})
        torrent = create(place, data, "--piece-length", "64K")
        s = seed(place, torrent, place.path("src"))
        g = get(place, torrent, folder, peer=s.port())
        assert g.wait() == 1
        error = g.saw("error")[-1]["error"]
        assert "No space left" in error, error
        had = g.saw("final")[-1]["have_len"]
        subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
        again = get(place, torrent, folder, peer=s.port())
        assert again.wait() == 0
        assert again.saw("final")[-1]["down_total"] <= 9_000_000 - had + (2 << 20), (had, again.saw("final")[-1])
        assert same_tree(data, os.path.join(folder, "data"))
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


main([planted_symlinks, folder_in_the_way, small_disk])
