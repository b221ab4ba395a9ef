#!/usr/bin/env python3
"""swarm: shoal, libtorrent, rTorrent and aria2 moving the same torrent, side by side in one run, each at its best
settings, in a network namespace of its own.

usage: bench/swarm.py [--size 2G] [--runs 5] [--pairs shoal:shoal,...] [--eight shoal,...] [--kind v1|v2] [--cc bbr]
                      [--disk DIR] [--json] [--out FILE]
       bench/swarm.py --full [--runs 5] [--minutes 34] [--out FILE]

A pair is seed:downloader; shoal+cubic is shoal told to use that, whatever rules. --eight NAME is one seed and eight
downloaders of 512 MiB that trade with each other. Without --disk all lies on tmpfs. --full measures everything that
docs/benchmarks.md promises, in about thirty minutes: when --minutes are over no case begins any more. A case that failed
twice is not tried again. --out is written after each round.

Time and CPU (user + system, in seconds per GB of payload that arrived) count from the first byte on a downloader's
disk to the last downloader's word that the torrent is complete and checked; MB/s of eight is the sum of all. Memory is
the peak of anonymous pages. Rounds are interleaved (each case once, then again), so that a noisy moment hits all.
"""

import argparse
import ctypes
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "interop"))
import swarmlib  # noqa: E402
from swarmlib import Aria2, Lab, Libtorrent, Rtorrent, ShoalTracker, Skip, shoal_create, shoal_get, shoal_seed  # noqa: E402

N_FAILURES_MAX = 2
TICKS = os.sysconf("SC_CLK_TCK")
LT_SETTINGS = {"aio_threads": 2, "hashing_threads": 2}
DEFAULT_PAIRS = "shoal:shoal,libtorrent:libtorrent,rtorrent:rtorrent,rtorrent:aria2"
FULL_PAIRS = DEFAULT_PAIRS + ",shoal:libtorrent,shoal:rtorrent,shoal:aria2,libtorrent:shoal,rtorrent:shoal,aria2:shoal"
FULL_CLIENTS = "shoal,libtorrent,rtorrent,aria2"


# --- memory that is there --------------------------------------------------------------------------------------


class Ballast:
    """In a virtual machine a page that nobody used lately may have been taken back by the host, and its next user, whoever
    that is, waits for a new one (seven times slower than a write to tmpfs). So that nobody is measured with that: write
    much, then free all but one page of each 512 KiB; what is free so stays in blocks too small to be given to the host."""

    STEP = 512 << 10

    def __init__(self, folder, size):
        self.fd = os.open(folder, os.O_TMPFILE | os.O_RDWR)
        zeros = bytes(1 << 20)
        for _ in range(size >> 20):
            os.write(self.fd, zeros)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
        for off in range(0, size, self.STEP):
            libc.fallocate(self.fd, 3, off + 4096, self.STEP - 4096)  # 3: keep size, punch hole


def touch_pages(folder, size):
    """The same for a real disk, whose page cache wants large blocks: used just now, and free again."""
    fd = os.open(folder, os.O_TMPFILE | os.O_RDWR)
    zeros = bytes(1 << 20)
    for _ in range(size >> 20):
        os.write(fd, zeros)
    os.close(fd)


# --- what a process used ---------------------------------------------------------------------------------------


class Meter(threading.Thread):
    """Samples processes: the most anonymous memory that one of them was seen with; CPU seconds when asked."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.anon, self.is_over = pids, 0, False
        self.start()

    def cpu(self):
        total = 0
        for pid in self.pids:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
        return total

    def run(self):
        while not self.is_over:
            for pid in self.pids:
                try:
                    with open(f"/proc/{pid}/status") as f:
                        anon = [line for line in f if line.startswith("RssAnon")]
                    self.anon = max(self.anon, int(anon[0].split()[1]) * 1024 if anon else 0)
                except OSError:
                    pass
            time.sleep(0.05)


def tail_has(client, word):
    with open(client.log_path, "rb") as f:
        f.seek(max(0, os.fstat(f.fileno()).st_size - 4096))
        return word in f.read()


# --- clients ---------------------------------------------------------------------------------------------------


def shoal_args(name):
    """Of shoal, and of shoal+cubic: told to use that, whatever rules."""
    _, _, cc = name.partition("+")
    return ["--congestion-control", cc] if cc else []


def start_seed(name, lab, torrent, src):
    if name.startswith("shoal"):
        return shoal_seed(lab, torrent, src, *shoal_args(name))
    if name == "libtorrent":
        return Libtorrent(lab, torrent, src, seed=True, settings=LT_SETTINGS)
    if name == "rtorrent":
        return Rtorrent(lab, torrent, src)
    if name == "aria2":
        return Aria2(lab, torrent, src, seed=True)
    raise SystemExit(f"bench: no such client: {name}")


def start_get(name, lab, torrent, out):
    """A downloader that stays, and what tells that it is complete."""
    if name.startswith("shoal"):
        client = shoal_get(lab, torrent, out, "--seed", *shoal_args(name))
        return client, lambda: tail_has(client, b'"complete"')
    if name == "libtorrent":
        client = Libtorrent(lab, torrent, out, settings=LT_SETTINGS)
        return client, lambda: tail_has(client, b'"seeding"') or tail_has(client, b'"finished"')
    client = Rtorrent(lab, torrent, out) if name == "rtorrent" else Aria2(lab, torrent, out)
    return client, lambda: os.path.exists(client.done_path)


def has_begun(path):
    try:
        return os.stat(path).st_blocks > 0
    except OSError:
        return False


def wait_until(condition, clients, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        for client in clients:
            assert client.is_running(), f"{client.name} ended: {client.output()[-800:]}"
        assert time.monotonic() < deadline, what
        time.sleep(0.004)


# --- a case ----------------------------------------------------------------------------------------------------


class Case:
    def __init__(self, seeder, getter, n_gets, size, kind, cc, disk, patience):
        self.seeder, self.getter, self.n_gets, self.size = seeder, getter, n_gets, size
        self.kind, self.cc, self.disk, self.patience, self.rows, self.failures = kind, cc, disk, patience, [], []
        self.meters = []

    def section(self):
        where = "ext4" if self.disk else "tmpfs"
        swarm = f"one seed, {'one downloader' if self.n_gets == 1 else f'{self.n_gets} downloaders that trade'}"
        return f"{swarm}, {self.size >> 20} MiB in 1 MiB pieces, {self.kind}, {where}, {self.cc}"

    def name(self):
        return f"{self.seeder}:{self.getter}"

    def is_hopeless(self):
        return len(self.failures) >= N_FAILURES_MAX

    def run(self, sources):
        tempfile.tempdir = self.disk or os.environ["TMPDIR"]
        lab = Lab(self.name())
        try:
            self.rows.append(self.measure(lab, sources))
            print(f"{self.section()}, {self.name()}: {self.rows[-1]['mb_s']:.0f} MB/s", file=sys.stderr, flush=True)
        except Skip as e:
            self.failures.append(f"skipped, {e}")
        except Exception as e:  # whatever befell one pair, the others are measured
            self.failures.append((str(e).splitlines() or [type(e).__name__])[0][:200])
            print(f"{self.section()}, {self.name()}: {e}", file=sys.stderr, flush=True)
        finally:
            for meter in self.meters:
                meter.is_over = True
            lab.close()

    def measure(self, lab, sources):
        swarmlib.set_congestion_control(self.cc)
        assert swarmlib.ruling_congestion_control() == {self.cc}, f"{self.cc} does not rule"
        src = sources.folder(self.disk, self.size)
        tracker = ShoalTracker(lab)
        torrent = sources.torrent(self.disk, self.size, self.kind, tracker.http)
        seed = start_seed(self.seeder, lab, torrent, src)
        wait_until(lambda: tracker.n_peers() >= 1, [seed], 60, "the seed did not announce")
        if self.disk:
            touch_pages(self.disk, self.n_gets * self.size)
        outs = [lab.folder(f"out{i}") for i in range(self.n_gets)]
        gets = [start_get(self.getter, lab, torrent, out) for out in outs]
        clients = [client for client, _ in gets]
        files = [os.path.join(out, "payload.bin") for out in outs]
        meters = self.meters = [Meter([seed.process.pid]), Meter([c.process.pid for c in clients])]
        wait_until(lambda: any(has_begun(path) for path in files), [seed, *clients], 60, "no byte arrived")
        began, cpu = time.monotonic(), [m.cpu() for m in meters]
        left = [is_done for _, is_done in gets]

        def all_done():
            left[:] = [is_done for is_done in left if not is_done()]
            return not left

        wait_until(all_done, [seed, *clients], self.patience, f"not complete after {self.patience} s")
        seconds = time.monotonic() - began
        cpu = [m.cpu() - before for m, before in zip(meters, cpu)]
        total = self.n_gets * self.size
        return {"mb_s": total / 1e6 / seconds, "seed_cpu": cpu[0] / total * 1e9, "get_cpu": cpu[1] / total * 1e9,
                "cpu": sum(cpu) / total * 1e9, "seed_mem": meters[0].anon, "get_mem": meters[1].anon}


class Sources:
    """The payloads and their torrents: made once for each place, size and kind."""

    def __init__(self):
        self.labs, self.folders, self.torrents = [], {}, {}

    def folder(self, disk, size):
        if (disk, size) not in self.folders:
            tempfile.tempdir = disk or os.environ["TMPDIR"]
            self.labs.append(Lab("payload"))
            self.folders[disk, size] = swarmlib.make_tree(self.labs[-1].folder("src"), 1, {"payload.bin": size})
        return self.folders[disk, size]

    def torrent(self, disk, size, kind, announce):
        key = (disk, size, kind, announce)
        if key not in self.torrents:
            payload = os.path.join(self.folder(disk, size), "payload.bin")
            self.torrents[key] = shoal_create(self.labs[0], payload, f"--{kind}", announce, piece_length="1M",
                                              name=f"t{len(self.torrents)}")
        return self.torrents[key]

    def close(self):
        for lab in self.labs:
            lab.close()


# --- the table -------------------------------------------------------------------------------------------------


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def rate(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def table_row(case, base):
    r = case.rows
    if not r:
        return f"| {case.name()} | {case.failures[0] if case.failures else 'not run'} | | | | | |"
    column = lambda key: [x[key] for x in r]  # noqa: E731
    ratio = statistics.median(column("mb_s")) / base if base else 0
    note = f"; of {len(r) + len(case.failures)} runs {len(case.failures)} did not finish" if case.failures else ""
    return (f"| {case.name()} | {rate(column('mb_s'))}{note} | {ratio:.2f} | {spread(column('seed_cpu'))} | "
            f"{spread(column('get_cpu'))} | {spread(column('cpu'))} | {max(column('seed_mem')) >> 20} / "
            f"{max(column('get_mem')) >> 20} |")


def runs_of(cases):
    counts = {len(case.rows) + len(case.failures) for case in cases if not case.is_hopeless()} or {0}
    return f"{max(counts)}" if len(counts) == 1 else f"{min(counts)} or {max(counts)}"


def table(cases):
    uname = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=False).stdout.strip()
    load = os.getloadavg()
    out = [f"{os.cpu_count()} cores, Linux {uname}, load {load[0]:.1f} (1 min) {load[2]:.1f} (15 min); {runs_of(cases)} interleaved "
           "runs: median (least-most)."]
    for section in dict.fromkeys(case.section() for case in cases):
        rows = [case for case in cases if case.section() == section]
        base = statistics.median(x["mb_s"] for x in rows[0].rows) if rows[0].rows else 0
        out += ["", f"**{section}**", "",
                "| seed:downloader | MB/s | ratio | CPU s/GB seed | downloader | both | peak anonymous MiB seed / downloader |",
                "| --- | --- | --- | --- | --- | --- | --- |", *[table_row(case, base) for case in rows]]
    return "\n".join(out)


# --- main ------------------------------------------------------------------------------------------------------


def read_size(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(float(text[:-1]) * units[text[-1]]) if text[-1] in units else int(text)


def pair_cases(pairs, opt, kind, cc, disk=None):
    size = read_size(opt.disk_size if disk else opt.size)
    return [Case(*pair.split(":"), 1, size, kind, cc, disk, opt.patience) for pair in pairs.split(",") if pair]


def eight_cases(clients, opt, cc):
    size = read_size(opt.eight_size)
    return [Case(name, name, 8, size, "v1", cc, None, opt.patience) for name in clients.split(",") if name]


def full_cases(opt):
    told = ",shoal+cubic:shoal,shoal+cubic:libtorrent,shoal+cubic:rtorrent,shoal+cubic:aria2"
    v2 = "shoal:shoal,libtorrent:libtorrent,shoal:libtorrent,libtorrent:shoal,shoal+cubic:shoal,shoal+cubic:libtorrent"
    disk = opt.disk or "/var/tmp"
    fast = DEFAULT_PAIRS + ",shoal:libtorrent,shoal:rtorrent,shoal:aria2"
    return (pair_cases(FULL_PAIRS + told, opt, "v1", "bbr") + pair_cases(fast, opt, "v1", "cubic")
            + pair_cases(v2, opt, "v2", "bbr") + eight_cases(FULL_CLIENTS + ",shoal+cubic", opt, "bbr")
            + eight_cases("shoal,rtorrent,aria2", opt, "cubic")
            + pair_cases("shoal:shoal,libtorrent:libtorrent,rtorrent:rtorrent,shoal+cubic:shoal", opt, "v1", "bbr", disk)
            + pair_cases("shoal:shoal,rtorrent:rtorrent", opt, "v1", "cubic", disk))


def memory_of(cases):
    """What may be in use at once: all payloads, for they stay, the copies of the largest case, and a quarter more."""
    payloads = {(case.disk, case.size) for case in cases}
    copies = max(case.n_gets * case.size for case in cases)
    return (sum(size for _, size in payloads) + copies) * 5 // 4 + (1 << 30)


def report(cases, opt):
    text = json.dumps([[c.section(), c.name(), c.rows, c.failures] for c in cases]) if opt.json else table(cases)
    if opt.out:
        with open(opt.out, "w") as f:
            f.write(text + "\n")
    return text


def run_rounds(cases, opt, sources):
    end = time.monotonic() + 60 * opt.minutes
    for _ in range(opt.runs):
        for case in cases:
            if time.monotonic() > end:
                print(f"bench: {opt.minutes:.0f} minutes are over", file=sys.stderr)
                return
            if not case.is_hopeless():
                case.run(sources)
        report(cases, opt)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--full", action="store_true")
    p.add_argument("--size", default="2G")
    p.add_argument("--eight-size", default="512M")
    p.add_argument("--disk-size", default="1G")
    p.add_argument("--patience", type=int, default=60, help="seconds that one transfer may take")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--minutes", type=float, default=34, help="no case begins after them")
    p.add_argument("--pairs", default=DEFAULT_PAIRS)
    p.add_argument("--eight", default="")
    p.add_argument("--kind", default="v1")
    p.add_argument("--cc", default="bbr")
    p.add_argument("--disk")
    p.add_argument("--json", action="store_true")
    p.add_argument("--out")
    opt = p.parse_args()
    os.environ.setdefault("TMPDIR", "/dev/shm")
    swarmlib.enter_namespace()
    cases = full_cases(opt) if opt.full else (
        pair_cases(opt.pairs, opt, opt.kind, opt.cc, opt.disk) + eight_cases(opt.eight, opt, opt.cc))
    ballast = Ballast(os.environ["TMPDIR"], memory_of(cases))
    sources = Sources()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # programs and folders go as at any end
    try:
        run_rounds(cases, opt, sources)
    finally:
        sources.close()
        os.close(ballast.fd)
    print(report(cases, opt))


main()
