#!/usr/bin/env python3
"""tracker: `shoal tracker` beside opentracker, with the same load (bench/tracker_load.c) in one run.

usage: bench/tracker.py [--build DIR] [--swarms 100000] [--peers 10] [--seconds 5] [--runs 5] [--kinds udp,http,...]

In a network namespace of its own. The server has one core, the load another. Each run starts the server, lets every
peer announce once (memory is the growth of the resident set meanwhile), then lets peers drawn by lot announce again,
asking for 50 others. Rounds are interleaved. Both serve from an allow-list of the swarms, which Debian's opentracker
cannot do without. What an announce costs the server is its CPU time; by the clock the load can be
the limit: its share of its core is shown, too.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "interop"))
import swarmlib  # noqa: E402

ADDR, PORT = "127.0.0.1", 6969
CORES = sorted(os.sched_getaffinity(0))


def cpu_seconds(pid):
    """User and system time of all threads, to the nanosecond."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1]) * 1024


def start(name, args, folder):
    hashes = os.path.join(folder, "hashes")
    if name == "shoal":
        command = [args.shoal, "tracker", "--quiet", "--port", str(PORT), "--bind", ADDR, "--allow-list", hashes]
    else:
        command = ["opentracker", "-i", ADDR, "-p", str(PORT), "-P", str(PORT), "-d", folder, "-w", "hashes"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              preexec_fn=lambda: os.sched_setaffinity(0, CORES[:1]))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection((ADDR, PORT), 1).close()
            time.sleep(0.5)  # the list may still be on its way
            return server
        except OSError:
            time.sleep(0.05)
    server.kill()
    server.wait()
    raise Failure(f"{name} does not listen")


def load(args, kind, seconds, numwant):
    command = [os.path.join(args.build, "bench/tracker_load"), kind, ADDR, str(PORT), str(args.swarms), str(args.peers),
               str(seconds), str(numwant)]
    out = subprocess.run(command, capture_output=True, text=True, check=True,
                         preexec_fn=lambda: os.sched_setaffinity(0, CORES[1:]))
    return json.loads(out.stdout)


class Failure(Exception):
    """Of one run: the others go on."""


class Result:
    def __init__(self):
        self.per_cpu, self.per_wall, self.load_share, self.memory, self.lost = [], [], [], [], 0


def measure(name, kind, args, folder, result):
    server = start(name, args, folder)
    try:
        before = resident(server.pid)
        filled = load(args, "udp", 0, 0)
        n_peers = args.swarms * args.peers
        result.memory.append((resident(server.pid) - before) / n_peers)
        if filled["lost"] or filled["errors"]:
            print(f"bench: {name}: {filled['lost']} lost, {filled['errors']} refused while it was filled", file=sys.stderr)
        cpu = cpu_seconds(server.pid)
        got = load(args, kind, args.seconds, 50)
        cpu = cpu_seconds(server.pid) - cpu
    finally:
        server.kill()
        server.wait()
    if got["errors"] or not got["announces"]:
        raise Failure(f"{name} {kind}: {got}")
    result.per_cpu.append(got["announces"] / cpu)
    result.per_wall.append(got["announces"] / got["seconds"])
    result.load_share.append(got["cpu_s"] / got["seconds"])
    result.lost += got["lost"]
    print(f"{kind} {name}: {got}, server {cpu:.2f} CPU s", file=sys.stderr)


def spread(values, scale=1.0, digits=0):
    values = [v * scale for v in values]
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(args, kind, results):
    print(f"\n{kind}, {args.swarms} swarms of {args.peers} peers, {args.runs} rounds of {args.seconds} s\n")
    print("| server | announces per CPU s | announces per s | load's share of its core | bytes per peer | lost |\n"
          "| --- | --- | --- | --- | --- | --- |")
    for name, r in results.items():
        if not r.per_cpu:
            print(f"| {name} | not measured | | | | |")
            continue
        print(f"| {name} | {spread(r.per_cpu)} | {spread(r.per_wall)} | {statistics.median(r.load_share):.2f} | "
              f"{spread(r.memory)} | {r.lost} |")
    if kind == "http":
        print("\nopentracker closes after each reply: each of its announces is a connection, and counted as lost.")
    if all(r.per_cpu for r in results.values()) and "opentracker" in results:
        ours, theirs = results["shoal"], results["opentracker"]
        print(f"\nshoal to opentracker: {statistics.median(ours.per_cpu) / statistics.median(theirs.per_cpu):.2f} per "
              f"CPU second, {statistics.median(ours.per_wall) / statistics.median(theirs.per_wall):.2f} by the clock")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--shoal")
    parser.add_argument("--swarms", type=int, default=100000)
    parser.add_argument("--peers", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kinds", default="udp,http,http-close")
    args = parser.parse_args()
    swarmlib.enter_namespace()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server and the folder go as at any end
    args.shoal = args.shoal or os.path.join(args.build, "shoal")
    if len(CORES) < 2:
        print("skipped: the server and the load need a core each")
        return 77
    names = ["shoal"] + (["opentracker"] if shutil.which("opentracker") else [])
    with tempfile.TemporaryDirectory(prefix="shoal-tracker-", dir="/dev/shm") as folder:
        os.chmod(folder, 0o755)  # opentracker reads its list as nobody
        with open(os.path.join(folder, "hashes"), "w") as f:
            subprocess.run([os.path.join(args.build, "bench/tracker_load"), "hashes", str(args.swarms)], stdout=f, check=True)
        for kind in args.kinds.split(","):
            results = {name: Result() for name in names}
            for _ in range(args.runs):
                for name in names:
                    try:
                        measure(name, kind, args, folder, results[name])
                    except (Failure, OSError, subprocess.SubprocessError) as e:
                        print(f"bench: {e}", file=sys.stderr)
            table(args, kind, results)
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
