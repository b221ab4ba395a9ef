"""disk_faults: real file systems that are full, read-only, or fail (a small ext4 on a loop device), and
system calls that fail one at a time (faulty_disk.c, preloaded). What the user sees is one true line and
the exit code; what was verified stays; when the disk is well again the same command goes on.
"""

import errno
import os
import subprocess

from systemlib import LOOPBACK, Run, Skip, create, get, main, make_tree, same_tree, seed, shoal

SHIM = os.environ.get("SHOAL_FAULTY_DISK", "")
SIZE = 4_000_000
WORDS = {errno.EIO: "Input/output error", errno.ENOSPC: "No space left on device",
         errno.EROFS: "Read-only file system", errno.EDQUOT: "Disk quota exceeded"}


def faulty(place, folder, call, at, how, count=1):
    """What is to be in the environment for the n-th such call below the folder to fail."""
    if not os.path.exists(SHIM):
        raise Skip("no shim: SHOAL_FAULTY_DISK")
    return {"LD_PRELOAD": SHIM, "FAULTY_DIR": folder, "FAULTY_CALL": call, "FAULTY_AT": str(at),
            "FAULTY_COUNT": str(count), "FAULTY_HOW": str(how), "FAULTY_LOG": place.path("faults")}


def n_faults(place):
    try:
        with open(place.path("faults")) as f:
            return len(f.readlines())
    except FileNotFoundError:
        return 0
    finally:
        if os.path.exists(place.path("faults")):
            os.unlink(place.path("faults"))


def plain_get(place, torrent, folder, port, env, *args):
    """As a user would, without --json: (exit code, lines on standard error)."""
    os.makedirs(folder, exist_ok=True)
    r = subprocess.run([os.environ["SHOAL"], "get", torrent, "--dir", folder, "--bind", LOOPBACK, "--peer",
                        f"{LOOPBACK}:{port}", *args], capture_output=True, text=True, timeout=120, check=False,
                       stdin=subprocess.DEVNULL,
                       env=dict(os.environ, XDG_STATE_HOME=place.folder("get-state"), LC_ALL="C.UTF-8", **env))
    return r.returncode, r.stderr.splitlines()


def one_true_line(lines, code, name):
    assert len(lines) == 1 and lines[0].startswith("shoal: "), lines
    assert WORDS[code] in lines[0] and name in lines[0], lines


def source(place):
    data = make_tree(place.folder("src", "data"), 5, {"sub/x": SIZE // 2, "y": SIZE - SIZE // 2})
    return data, create(place, data, "--hybrid", "--piece-length", "64K")


def failing_calls_of_get(place):
    """Each call that writes fails once, early, in the middle and late: one line, and it goes on."""
    data, torrent = source(place)
    s = seed(place, torrent, place.path("src"))
    cases = [("pwritev", at, code) for at in (1, 7, 40) for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT)]
    cases += [("ftruncate", 1, errno.ENOSPC), ("fallocate", 2, errno.ENOSPC), ("sync", 1, errno.EIO)]
    for n, (call, at, code) in enumerate(cases):
        out = place.path(f"out{n}")
        args = ["--preallocate"] if call == "fallocate" else []
        env = faulty(place, out, call, at, code)
        exit_code, lines = plain_get(place, torrent, out, s.port(), env, *args)
        assert n_faults(place) == 1, (call, at)
        assert exit_code == 1, (call, at, exit_code, lines)
        one_true_line(lines, code, "data/" if call != "sync" else "")
        again = get(place, torrent, out, *args, peer=s.port())
        assert again.wait() == 0, (call, at, again.text)
        assert same_tree(data, os.path.join(out, "data")), (call, at)
        again.kill()
        subprocess.run(["rm", "-rf", place.path("get-state"), out], check=True)


def a_disk_that_stays_bad(place):
    """Every write from the n-th on fails: it ends, soon, and what was verified before is there after."""
    data, torrent = source(place)
    s = seed(place, torrent, place.path("src"))
    out = place.path("out")
    exit_code, lines = plain_get(place, torrent, out, s.port(), faulty(place, out, "pwritev", 20, errno.EIO, 0))
    assert exit_code == 1 and n_faults(place) >= 1
    one_true_line(lines, errno.EIO, "data/")
    again = get(place, torrent, out, peer=s.port())
    assert again.wait() == 0
    assert again.saw("final")[-1]["down_total"] <= SIZE - 10 * (64 << 10), "nothing of before was kept"
    assert same_tree(data, os.path.join(out, "data"))


def short_transfers(place):
    """A call may do less than it was asked for at any time: nothing is to be noticed of it."""
    data, torrent = source(place)
    for at, count in ((1, 1), (5, 3), (2, 0)):
        s = seed(place, torrent, place.path("src"))
        out = place.path(f"out{at}")
        exit_code, lines = plain_get(place, torrent, out, s.port(), faulty(place, out, "pwritev", at, "short", count))
        assert (exit_code, lines) == (0, []), (at, lines)
        assert n_faults(place) >= 1 and same_tree(data, os.path.join(out, "data"))
        s.stop()
    for call in ("preadv", "pread"):
        env = dict(os.environ, **faulty(place, place.path("src"), call, 2, "short", 0))
        shoal("verify", torrent, place.path("src", "data"), env=env)
    assert n_faults(place) >= 1


def failing_reads(place):
    """verify and create name the file that cannot be read."""
    _, torrent = source(place)
    seen = 0
    for call in ("preadv", "pread"):
        env = dict(os.environ, LC_ALL="C.UTF-8", **faulty(place, place.path("src"), call, 3, errno.EIO, 0))
        for args in (["verify", torrent, place.path("src", "data")],
                     ["create", place.path("src", "data"), "-o", place.path("again.torrent")]):
            r = subprocess.run([os.environ["SHOAL"], *args], capture_output=True, text=True, timeout=60, check=False,
                               stdin=subprocess.DEVNULL, env=env)
            if n_faults(place) == 0:
                continue
            seen += 1
            assert r.returncode == 1, (call, args[0], r)
            text = r.stdout + r.stderr
            assert WORDS[errno.EIO] in text and ("x" in text or "y" in text), (call, args[0], text)
            assert r.stderr.count("\n") <= 1, r.stderr
    assert seen >= 2, "no reading call was met"


def with_faults(env, start):
    """Starts a program that meets the faults."""
    os.environ.update(env)
    try:
        return start()
    finally:
        for name in env:
            del os.environ[name]


def seed_with_failing_reads(place):
    """A seed whose disk fails stops and says so; a downloader that has another one is not harmed."""
    data, torrent = source(place)
    good = seed(place, torrent, place.path("src"), "--max-up", "2M")
    copy = place.folder("copy")
    subprocess.run(["cp", "-r", place.path("src", "data"), copy], check=True)
    for call, ends in (("preadv2", False), ("read", True)):  # without preadv2 there is another way
        first = 10 if call == "preadv2" else 80  # after the check at its start
        bad = with_faults(faulty(place, copy, call, first, errno.EIO, 0), lambda: Run(
            place, "seed", torrent, "--dir", copy, "--bind", LOOPBACK, "--json", state=place.folder("bad-" + call)))
        bad.wait_event("state", state="seeding")
        out = place.path("out-" + call)
        g = get(place, torrent, out, "--peer", f"{LOOPBACK}:{good.port()}", peer=bad.port(), state="get-" + call)
        assert g.wait() == 0
        assert same_tree(data, os.path.join(out, "data"))
        assert n_faults(place) >= 1, call
        if ends:
            assert bad.wait(20) == 1, bad.events
            assert WORDS[errno.EIO] in bad.saw("error")[-1]["error"], bad.events
        else:
            assert bad.stop() == 0, bad.events


def resume_data_cannot_be_written(place):
    """The state folder fails in the middle: the download itself ends well, the failure is counted, and
    who goes on seeding does not try again and again."""
    data, torrent = source(place)
    s = seed(place, torrent, place.path("src"), "--max-up", "1M")
    g = with_faults(faulty(place, place.folder("get-state"), "pwrite", 40, errno.EIO, 0),
                    lambda: get(place, torrent, place.path("out"), "--seed-time", "3", peer=s.port()))
    assert g.wait() == 0, g.text
    assert n_faults(place) >= 1
    n_failed = g.saw("end")[-1]["counters"].get("resume_save_failed", 0)
    assert 1 <= n_failed <= 10, g.saw("end")
    assert same_tree(data, place.path("out", "data"))


def state_folder_cannot_be_used(place):
    _, torrent = source(place)
    env = faulty(place, place.folder("get-state"), "pwrite", 1, errno.EIO, 0)
    exit_code, lines = plain_get(place, torrent, place.path("out"), 1, env)
    assert exit_code == 1
    one_true_line(lines, errno.EIO, "resume database")


class SmallDisk:
    """An ext4 of its own on a loop device."""

    def __init__(self, place, mib):
        if os.geteuid() != 0:
            raise Skip("needs root to mount a loop device")
        self.image, self.folder = place.path("disk.img"), place.folder("disk")
        with open(self.image, "wb") as f:
            f.truncate(mib << 20)
        made = subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.image], check=False, capture_output=True)
        if made.returncode != 0 or self.mount("loop") != 0:
            raise Skip("no loop devices or no mkfs.ext4 here")

    def mount(self, options):
        return subprocess.run(["mount", "-o", options, self.image, self.folder], check=False,
                              capture_output=True).returncode

    def remount(self, options):
        subprocess.run(["mount", "-o", "remount," + options, self.folder], check=True)

    def close(self):
        subprocess.run(["umount", "-l", self.folder], check=False)


def full_ext4(place):
    data, torrent = source(place)
    s = seed(place, torrent, place.path("src"))
    disk = SmallDisk(place, 8)
    try:
        ballast = os.path.join(disk.folder, "ballast")
        with open(ballast, "wb") as f:
            while os.statvfs(disk.folder).f_bavail * os.statvfs(disk.folder).f_frsize > SIZE // 2:
                f.write(bytes(100_000))
                f.flush()
                os.fsync(f.fileno())
        exit_code, lines = plain_get(place, torrent, disk.folder, s.port(), {})
        assert exit_code == 1
        one_true_line(lines, errno.ENOSPC, "data/")
        os.unlink(ballast)
        again = get(place, torrent, disk.folder, peer=s.port())
        assert again.wait() == 0
        assert again.saw("final")[-1]["down_total"] < SIZE, "what fitted was kept"
        assert same_tree(data, os.path.join(disk.folder, "data"))
    finally:
        disk.close()


def read_only_in_the_middle(place):
    """The file system turns read-only under a running download, as ext4 does after an error of the disk."""
    data, torrent = source(place)
    s = seed(place, torrent, place.path("src"), "--max-up", "1M")
    disk = SmallDisk(place, 16)
    try:
        g = get(place, torrent, disk.folder, peer=s.port())
        g.wait_event("progress")
        # With files open for writing the kernel refuses to remount; an error of its own does it.
        device = subprocess.run(["findmnt", "-no", "SOURCE", disk.folder], check=True, capture_output=True,
                                text=True).stdout.strip()
        name = os.path.basename(device)
        trigger = f"/sys/fs/ext4/{name}/trigger_fs_error"
        if not os.path.exists(trigger):
            raise Skip("no way to make ext4 stumble here")
        disk.remount("errors=remount-ro")
        with open(trigger, "w") as f:
            f.write("1")
        assert g.wait(60) == 1, g.events[-5:]
        error = g.saw("error")[-1]["error"]
        assert any(WORDS[code] in error for code in (errno.EROFS, errno.EIO)), error
        disk.close()
        subprocess.run(["e2fsck", "-fy", disk.image], check=False, capture_output=True)
        assert disk.mount("loop") == 0
        again = get(place, torrent, disk.folder, peer=s.port())
        assert again.wait() == 0
        assert same_tree(data, os.path.join(disk.folder, "data"))
    finally:
        disk.close()


main([failing_calls_of_get, a_disk_that_stays_bad, short_transfers, failing_reads, seed_with_failing_reads,
      resume_data_cannot_be_written, state_folder_cannot_be_used, full_ext4, read_only_in_the_middle])
