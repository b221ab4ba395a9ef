#!/usr/bin/env python3
"""hash: `shoal create` and `shoal verify` beside `openssl speed`, mktorrent and libtorrent, in one run.

usage: bench/hash.py [--size 2G] [--runs 5] [--piece 1M] [--cold DIR]

The data are random bytes in one file on tmpfs, so everything comes from the page cache. Rounds are interleaved: each
row once, then again, so that a noisy moment hits all alike. For every row: MB/s by the clock, and MB per CPU
second times the cores, which other work on the machine disturbs less; each the median (least to most), and
the median's ratio to what openssl reached in the same run, on as many processes as there are cores. What openssl hashes is one buffer that stays in the cache; the others read a file.
The line to hold a hybrid to is that of both digests one after the other.

--cold: also from a real disk, the file dropped from the page cache before each run, beside dd; three rounds at most. Memory is
used before each run, so that nobody is measured with pages that a virtual machine's host has taken back (see swarm.py).
"""

import argparse
import mmap
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SHOAL = os.environ.get("SHOAL", "build/shoal")
CORES = len(os.sched_getaffinity(0))
LT_PYTHON = "/usr/bin/python3"  # Debian's python3-libtorrent belongs to Debian's python3
N_COLD_RUNS_MAX = 3  # eleven rows of 2 GiB, each at the disk's speed
LT_HASH = """
import os, sys, libtorrent as lt
path, piece_len, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
fs = lt.file_storage()
lt.add_files(fs, path)
flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[kind]
t = lt.create_torrent(fs, piece_len, flags)
lt.set_piece_hashes(t, os.path.dirname(path))
"""


def size_of(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def run(command):
    """Wall and CPU seconds of a command that must succeed."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        raise SystemExit(f"bench: {' '.join(command)}: {errors.decode().strip()}")
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime


class Openssl:
    """What `openssl speed` makes of one digest with a process for each core."""

    def __init__(self, digest):
        self.name, self.digest, self.wall, self.cpu = f"openssl speed, {digest}", digest, [], []

    def run(self, block_len):
        before = os.times()
        out = subprocess.run(["openssl", "speed", "-multi", str(CORES), "-mr", "-seconds", "1", "-bytes", str(block_len),
                              "-evp", self.digest], capture_output=True, text=True, check=True).stdout
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        rate = float(re.findall(r"^\+F:\d+:[^:]*:([0-9.]+)", out, re.M)[-1]) / 1e6
        return rate, rate * CORES / cpu  # each of them ran for one second

    def run_best(self):
        rates = [self.run(n) for n in (16384, 1 << 20)]
        self.wall.append(max(wall for wall, _ in rates))
        self.cpu.append(max(cpu for _, cpu in rates))


class Row:
    def __init__(self, name, command, line, out=None):
        self.name, self.command, self.line, self.out = name, command, line, out
        self.wall, self.cpu = [], []

    def run(self, size):
        if self.out and os.path.exists(self.out):
            os.remove(self.out)
        wall, cpu = run(self.command)
        self.wall.append(size / wall / 1e6)
        self.cpu.append(size * CORES / cpu / 1e6)


def spread(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def write_random(path, size):
    with open(path, "wb") as f:
        for _ in range(0, size, 1 << 24):
            f.write(os.urandom(1 << 24))
        f.truncate(size)
        f.flush()
        os.fsync(f.fileno())


def has_libtorrent():
    return subprocess.run([LT_PYTHON, "-c", "import libtorrent"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def make_rows(folder, data, piece_len):
    rows, out = [], os.path.join(folder, "out.torrent")
    for kind in ("v1", "v2", "hybrid"):
        torrent = os.path.join(folder, f"{kind}.torrent")
        create = [SHOAL, "create", f"--{kind}", "-l", str(piece_len), "-o"]
        run(create + [torrent, data])
        rows.append(Row(f"shoal create, {kind}", create + [out, data], kind, out))
        rows.append(Row(f"shoal verify, {kind}", [SHOAL, "verify", torrent, data], kind))
    if shutil.which("mktorrent"):
        rows.append(Row("mktorrent, v1", ["mktorrent", "-t", str(CORES), "-l", str(piece_len.bit_length() - 1), "-o", out,
                                          data], "v1", out))
    if has_libtorrent():
        for kind in ("v1", "v2", "hybrid"):
            rows.append(Row(f"libtorrent, {kind}", [LT_PYTHON, "-c", LT_HASH, data, str(piece_len), kind], kind))
    return rows


def line_of(openssl, kind, which):
    v1, v2 = (statistics.median(getattr(openssl[digest], which)) for digest in ("v1", "v2"))
    return {"v1": v1, "v2": v2, "hybrid": 1 / (1 / v1 + 1 / v2)}[kind]


def warm(folder, size, runs, piece_len):
    data = os.path.join(folder, "data")
    write_random(data, size)
    rows = make_rows(folder, data, piece_len)
    openssl = {"v1": Openssl("sha1"), "v2": Openssl("sha256")}
    for _ in range(runs):
        for row in openssl.values():
            row.run_best()
        for row in rows:
            row.run(size)
    print(f"{size >> 20} MiB, pieces of {piece_len >> 10} KiB, page cache, {CORES} cores, {runs} interleaved rounds, "
          f"load {os.getloadavg()[0]:.1f}\n")
    print("| what | MB/s | to openssl | MB per CPU s x cores | to openssl |\n| --- | --- | --- | --- | --- |")
    for row in openssl.values():
        print(f"| {row.name} | {spread(row.wall)} | 1.00 | {spread(row.cpu)} | 1.00 |")
    for row in rows:
        wall, cpu = line_of(openssl, row.line, "wall"), line_of(openssl, row.line, "cpu")
        print(f"| {row.name} | {spread(row.wall)} | {statistics.median(row.wall) / wall:.2f} | {spread(row.cpu)} | "
              f"{statistics.median(row.cpu) / cpu:.2f} |")


def drop(path):
    with open(path, "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def touch_pages(size):
    """Small and large pages that the page cache gets next: the host has lately seen them written."""
    kinds = [mmap.mmap(-1, size) for _ in range(2)]
    for pages, advice in zip(kinds, (mmap.MADV_NOHUGEPAGE, mmap.MADV_HUGEPAGE)):
        pages.madvise(advice)
        for off in range(0, size, mmap.PAGESIZE):
            pages[off] = 1
    for pages in kinds:
        pages.close()


def cold(folder, size, runs):
    data = os.path.join(folder, "data")
    write_random(data, size)
    rows, out = [], os.path.join(folder, "out.torrent")
    rows.append(Row("dd bs=1M", ["dd", f"if={data}", "of=/dev/null", "bs=1M"], "dd"))
    for kind in ("v1", "v2", "hybrid"):
        for piece in ("256K", "1M", "16M"):
            rows.append(Row(f"shoal create, {kind}, {piece}",
                            [SHOAL, "create", f"--{kind}", "-l", piece, "-o", out, data], "dd", out))
    if shutil.which("mktorrent"):
        rows.append(Row("mktorrent, v1, 1M", ["mktorrent", "-t", str(CORES), "-l", "20", "-o", out, data], "dd", out))
    for _ in range(runs):
        for row in rows:
            drop(data)
            touch_pages(size + size // 4)
            row.run(size)
    want = statistics.median(rows[0].wall)
    print(f"\n{size >> 20} MiB from {folder}, dropped from the page cache before each run, {runs} rounds\n")
    print("| what | MB/s | to dd | CPU s |\n| --- | --- | --- | --- |")
    for row in rows:
        cpu = size * CORES / statistics.median(row.cpu) / 1e6
        print(f"| {row.name} | {spread(row.wall)} | {statistics.median(row.wall) / want:.2f} | {cpu:.2f} |")


def main():
    global SHOAL
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="2G", type=size_of)
    parser.add_argument("--runs", default=5, type=int)
    parser.add_argument("--piece", default="1M", type=size_of)
    parser.add_argument("--cold", metavar="DIR")
    args = parser.parse_args()
    SHOAL = os.path.abspath(SHOAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the folders go as at any end
    with tempfile.TemporaryDirectory(prefix="shoal-hash-", dir="/dev/shm") as folder:
        warm(folder, args.size, args.runs, args.piece)
    if args.cold:
        with tempfile.TemporaryDirectory(prefix="shoal-hash-", dir=args.cold) as folder:
            cold(folder, args.size, min(args.runs, N_COLD_RUNS_MAX))
    return 0


if __name__ == "__main__":
    sys.exit(main())
