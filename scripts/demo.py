#!/usr/bin/env python3
"""demo: shares a real tree of files from one seeder with four downloaders, all of them separate
processes on this machine that find each other through shoal's own tracker.

usage: demo.py SHOAL [TREE]

Everything happens on 127.0.0.1 and in one temporary folder that is removed at the end. The seeder's
upload is limited, as a real one's is, so that it pays to trade; DEMO_MAX_UP changes that (0: no limit).
"""

import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

N_DOWNLOADERS = 4
MAX_UP = os.environ.get("DEMO_MAX_UP", "16M")
TREES = ["/usr/share/doc", "/usr/include", "/usr/share/perl5", "/usr/lib/python3"]
TREE_MIN = 4 << 20


class Program:
    """shoal with --json: keeps the newest event of each kind."""

    def __init__(self, folder, name, argv):
        self.name, self.last, self.first_at = name, {}, {}
        env = dict(os.environ, XDG_STATE_HOME=os.path.join(folder, name + ".state"))
        self.errors = open(os.path.join(folder, name + ".stderr"), "w+")
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=self.errors, env=env, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            self.first_at.setdefault(event["event"], time.monotonic())
            self.last[event["event"]] = event
            if event.get("state") == "seeding":
                self.first_at.setdefault("seeding", time.monotonic())

    def wait_for(self, kind, seconds=60):
        deadline = time.monotonic() + seconds
        while kind not in self.first_at:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.errors.seek(0)
                sys.exit(f"demo: {self.name} did not get to '{kind}': {self.errors.read().strip() or 'no message'}")
            time.sleep(0.02)
        return self.last.get(kind)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.thread.join(5)
        self.errors.close()


def size(n):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    return ""


def tree_len(path):
    total = 0
    for root, _, names in os.walk(path):
        total += sum(os.lstat(os.path.join(root, n)).st_size for n in names)
    return total


def pick_tree():
    for path in TREES:
        if os.path.isdir(path) and tree_len(path) >= TREE_MIN:
            return path
    sys.exit("demo: found no tree of 4 MiB or more to share; name one: make demo TREE=/some/folder")


def bar(fraction, width=24):
    full = int(fraction * width)
    return "#" * full + "." * (width - full)


def draw(programs, is_first):
    """One line per downloader, redrawn in place on a terminal; one summary line elsewhere."""
    rows = []
    for p in programs:
        e = p.last.get("complete") or p.last.get("progress") or {}
        have, want = e.get("have_len", 0), e.get("wanted_len", 0)
        fraction = have / want if want else 0.0
        rows.append((p.name, fraction, e.get("down_per_s", 0), e.get("peers", 0)))
    if sys.stdout.isatty():
        if not is_first:
            sys.stdout.write(f"\x1b[{len(rows)}A")
        for name, fraction, rate, peers in rows:
            sys.stdout.write(f"\x1b[K  {name}  {bar(fraction)} {100 * fraction:5.1f} %  {size(rate) + '/s':>12}  {peers} peers\n")
    else:
        print("  " + "   ".join(f"{name} {100 * fraction:.0f} %" for name, fraction, _, _ in rows))
    sys.stdout.flush()


def watch(programs, seconds=600):
    deadline = time.monotonic() + seconds
    is_first = True
    while not all("complete" in p.first_at for p in programs):
        for p in programs:
            if p.process.poll() not in (None, 0) or time.monotonic() > deadline:
                p.errors.seek(0)
                sys.exit(f"demo: {p.name} failed: {p.errors.read().strip()}")
        draw(programs, is_first)
        is_first = False
        time.sleep(0.25 if sys.stdout.isatty() else 1.0)
    draw(programs, is_first)


def leads_outside(path, tree):
    """A link that no torrent can carry: its target is not in the tree, or is not there at all."""
    target = os.path.realpath(path)
    return not os.path.exists(target) or os.path.commonpath([target, tree]) != tree


def differences(tree, copy):
    """Paths of the original whose bytes, or whose target as a link, the copy does not have."""
    found = []
    for root, folders, names in os.walk(tree):
        for name in names + [n for n in folders if os.path.islink(os.path.join(root, n))]:
            path = os.path.join(root, name)
            other = os.path.join(copy, os.path.relpath(path, tree))
            if os.path.islink(path):
                same = leads_outside(path, tree) or os.path.realpath(other) == os.path.join(
                    copy, os.path.relpath(os.path.realpath(path), tree))
            else:
                same = os.path.isfile(other) and not os.path.islink(other) and filecmp.cmp(path, other, shallow=False)
            if not same:
                found.append(path)
    return found


def check_copy(shoal, torrent, tree, folder):
    """Against the torrent's hashes and, file by file and byte by byte, against the original."""
    copy = os.path.join(os.path.realpath(folder), os.path.basename(tree))
    hashes = subprocess.run([shoal, "verify", torrent, copy], capture_output=True, text=True, check=False)
    found = differences(tree, copy)
    return hashes.returncode == 0 and not found, (hashes.stderr + "\n".join(found))[-2000:]


def table(programs, seed_port, total, began):
    print(f"\n  {'':12} {'from the seed':>16} {'from the others':>16} {'time':>8}")
    from_seed_sum = 0
    for p in programs:
        sources = p.last["final"]["sources"]
        from_seed = sum(s["down_len"] for s in sources if s["peer"].endswith(f":{seed_port}"))
        others = sum(s["down_len"] for s in sources) - from_seed
        from_seed_sum += from_seed
        print(f"  {p.name:12} {size(from_seed):>16} {size(others):>16} {p.first_at['complete'] - began:7.1f}s")
    n = len(programs)
    print(f"\n  The seed sent {size(from_seed_sum)}. One-to-each copying would have asked {size(n * total)} of it "
          f"({n * total / max(from_seed_sum, 1):.1f} times as much).")


def run(shoal, tree, folder):
    torrent = os.path.join(folder, "tree.torrent")
    tracker = Program(folder, "tracker", [shoal, "tracker", "--bind", "127.0.0.1", "--port", "0", "--json"])
    programs = [tracker]
    try:
        port = tracker.wait_for("listening")["port"]
        limit = MAX_UP.replace("M", " MiB") + "/s" if MAX_UP != "0" else "nothing"
        print(f"Sharing {tree} ({size(tree_len(tree))}): tracker, 1 seeder (upload limited to {limit}), "
              f"{N_DOWNLOADERS} downloaders on 127.0.0.1\n", flush=True)
        subprocess.run([shoal, "create", tree, "-o", torrent, "--tracker", f"http://127.0.0.1:{port}/announce"],
                       check=True, stdout=subprocess.DEVNULL)
        total = sum(f["len"] for f in json.loads(subprocess.run([shoal, "show", "--json", torrent], check=True,
                                                                capture_output=True, text=True).stdout)["files"]
                    if "p" not in (f.get("attr") or ""))
        seed = Program(folder, "seeder", [shoal, "seed", torrent, "--dir", os.path.dirname(tree.rstrip("/")), "--json",
                                          "--bind", "127.0.0.1", "--max-up", MAX_UP])
        programs.append(seed)
        seed_port = seed.wait_for("listening")["port"]
        seed.wait_for("seeding")
        began = time.monotonic()
        getters = []
        for n in range(1, N_DOWNLOADERS + 1):
            out = os.path.join(folder, f"copy{n}")
            os.mkdir(out)
            getters.append(Program(folder, f"downloader{n}", [shoal, "get", torrent, "--dir", out, "--json", "--seed",
                                                              "--bind", "127.0.0.1"]))
        programs += getters
        watch(getters)
        for p in getters:
            p.stop()
            p.thread.join()
        print("\nComparing every copy with the original:", flush=True)
        good = True
        for n, p in enumerate(getters, 1):
            ok, text = check_copy(shoal, torrent, tree, os.path.join(folder, f"copy{n}"))
            print(f"  {p.name}: {'all pieces and all bytes match' if ok else 'DIFFERS ' + text}")
            good &= ok
        table(getters, seed_port, total, began)
        return 0 if good else 1
    finally:
        for p in reversed(programs):
            p.stop()


def main():
    shoal = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/shoal")
    tree = sys.argv[2] if len(sys.argv) > 2 and sys.argv[2] else pick_tree()
    folder = tempfile.mkdtemp(prefix="shoal-demo-")
    try:
        return run(shoal, os.path.realpath(tree), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
