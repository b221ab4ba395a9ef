#!/usr/bin/env python3
"""swarm: one seed, one downloader, measured side by side in one run: shoal, libtorrent, rTorrent, aria2 (as
downloader from shoal), on tmpfs, in a network namespace of its own, each at its best settings.

usage: bench/swarm.py [--size 1G] [--runs 5] [--pairs shoal:shoal,libtorrent:libtorrent,...]

MB/s counts from the first byte on the downloader's disk to its word that the torrent is complete and
checked; CPU is user + system time of a process over its life, in seconds per GB of payload; memory is the peak of
anonymous pages. Rounds are interleaved (a pair of each kind, then again), so that a noisy moment hits all.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "interop"))
import swarmlib  # noqa: E402
from swarmlib import Aria2, Lab, Libtorrent, Rtorrent, ShoalTracker, Skip, shoal_create, shoal_get, shoal_seed  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
DEFAULT_PAIRS = "shoal:shoal,libtorrent:libtorrent,rtorrent:rtorrent,shoal:aria2"


class Meter(threading.Thread):
    """Samples a process: CPU seconds and the most anonymous memory it was seen with."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.cpu, self.anon, self.is_over = pid, 0.0, 0, False
        self.start()

    def sample(self):
        try:
            with open(f"/proc/{self.pid}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            self.cpu = (int(fields[11]) + int(fields[12])) / TICKS
            with open(f"/proc/{self.pid}/status") as f:
                anon = [line for line in f if line.startswith("RssAnon")]
            self.anon = max(self.anon, int(anon[0].split()[1]) * 1024 if anon else 0)
        except (OSError, IndexError):
            self.is_over = True

    def run(self):
        while not self.is_over:
            self.sample()
            time.sleep(0.05)

    def stop(self):
        self.sample()
        self.is_over = True


def start_seed(name, lab, torrent, src):
    if name == "shoal":
        return shoal_seed(lab, torrent, src)
    if name == "libtorrent":
        return Libtorrent(lab, torrent, src, seed=True, settings={"aio_threads": 2, "hashing_threads": 2})
    if name == "rtorrent":
        client = Rtorrent(lab, torrent, src)
        return client
    if name == "aria2":
        return Aria2(lab, torrent, src, seed=True)
    raise SystemExit(f"bench: no such client: {name}")


def start_get(name, lab, torrent, out):
    if name == "shoal":
        client = shoal_get(lab, torrent, out)
        return client, lambda: client.saw("complete")
    if name == "libtorrent":
        client = Libtorrent(lab, torrent, out, settings={"aio_threads": 2, "hashing_threads": 2})
        return client, lambda: client.state() in ("finished", "seeding")
    if name == "rtorrent":
        client = Rtorrent(lab, torrent, out)
        return client, lambda: os.path.exists(client.done_path)
    if name == "aria2":
        client = Aria2(lab, torrent, out)
        return client, lambda: os.path.exists(client.done_path)
    raise SystemExit(f"bench: no such client: {name}")


def wait_first_byte(path, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if os.stat(path).st_blocks > 0:
                return time.monotonic()
        except OSError:
            pass
        time.sleep(0.002)
    raise AssertionError("no byte arrived")


def measure(pair, size, kind):
    seeder, getter = pair.split(":")
    lab = Lab(pair)
    try:
        src = lab.folder("src")
        swarmlib.make_tree(src, 1, {"payload.bin": size})
        tracker = ShoalTracker(lab)
        torrent = shoal_create(lab, os.path.join(src, "payload.bin"), kind, tracker.http, piece_length="1M")
        seed = start_seed(seeder, lab, torrent, src)
        swarmlib.wait_for("the seed has announced", lambda: tracker.n_peers() >= 1, 120)
        seed_meter = Meter(seed.process.pid)
        seed_meter.sample()
        seed_before = seed_meter.cpu
        get, is_done = start_get(getter, lab, torrent, lab.folder("out"))
        get_meter = Meter(get.process.pid)
        began = wait_first_byte(lab.path("out", "payload.bin"))
        while not is_done():
            assert get.is_running() or is_done(), get.output()[-1500:]
            assert time.monotonic() - began < 300, "too slow"
            time.sleep(0.005)
        seconds = time.monotonic() - began
        get_meter.stop()
        seed_meter.stop()
        gb = size / 1e9
        return {"mb_s": size / 1e6 / seconds, "seed_cpu": (seed_meter.cpu - seed_before) / gb,
                "get_cpu": get_meter.cpu / gb, "seed_mem": seed_meter.anon, "get_mem": get_meter.anon}
    finally:
        lab.close()


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def read_size(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(float(text[:-1]) * units[text[-1]]) if text[-1] in units else int(text)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--size", default="1G")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--pairs", default=DEFAULT_PAIRS)
    p.add_argument("--kind", default="--v1")
    p.add_argument("--json", action="store_true")
    opt = p.parse_args()
    os.environ.setdefault("TMPDIR", "/dev/shm")
    swarmlib.enter_namespace()
    size, pairs = read_size(opt.size), opt.pairs.split(",")
    rows = {pair: [] for pair in pairs}
    for _ in range(opt.runs):
        for pair in pairs:
            try:
                rows[pair].append(measure(pair, size, opt.kind))
                print(f"{pair}: {rows[pair][-1]['mb_s']:.0f} MB/s", file=sys.stderr, flush=True)
            except Skip as e:
                print(f"{pair}: skipped, {e}", file=sys.stderr)
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as f:
        congestion = f.read().strip()
    if opt.json:
        print(json.dumps(rows))
        return
    uname = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=False).stdout.strip()
    print(f"{opt.size} in 1 MiB pieces {opt.kind}, tmpfs, {os.cpu_count()} cores, Linux {uname}, {congestion}, "
          f"{opt.runs} runs: median (min-max)\n")
    print("| seed:downloader | MB/s | CPU s/GB seed | CPU s/GB downloader | peak anonymous MiB seed / downloader | MB/s against shoal |")
    print("| --- | --- | --- | --- | --- | --- |")
    base = statistics.median(r["mb_s"] for r in rows[pairs[0]]) if rows[pairs[0]] else 0
    for pair in pairs:
        r = rows[pair]
        if not r:
            continue
        mb_s = [x["mb_s"] for x in r]
        print(f"| {pair} | {spread(mb_s)} | {spread([x['seed_cpu'] for x in r])} | {spread([x['get_cpu'] for x in r])} | "
              f"{max(x['seed_mem'] for x in r) >> 20} / {max(x['get_mem'] for x in r) >> 20} | "
              f"{statistics.median(mb_s) / base if base else 0:.2f} |")


main()
