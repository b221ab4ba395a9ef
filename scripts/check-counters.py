#!/usr/bin/env python3
"""check-counters.py [ROOT]: every refusal is counted, and a test asserts its counter.

Reads the lists of src/torrent: each name must be counted somewhere in src/ and appear in a test.
"""

import glob
import os
import re
import sys

ROOT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
# list of names, how a name is counted, how a test names it
LISTS = [
    ("session_counters.h", r"^ *X\((\w+),", r"COUNT(?:_N)?\([^;]*\b{0}\b|COUNTER_{0}\b", r'"{0}"'),
    ("announcer.h", r"^ *(ANNOUNCER_[A-Z_]+),", r"\b{0}\b", r"\b{0}\b"),
    ("tracker_udp.h", r"^ *(TRACKER_UDP_[A-Z_]+),", r"\b{0}\b", r"\b{0}\b"),
    ("tracker_server.h", r"^ *(TRACKER_SERVER_[A-Z_]+),", r"\b{0}\b", r"\b{0}\b"),
]
NOT_COUNTERS = re.compile(r"ANNOUNCER_(RESOLVE|DATAGRAM|FETCH|PEERS|STATUS|STOPPED|IDLE|WAITING|ANNOUNCING|BAD)$|"
                          r"TRACKER_SERVER_(HTTP|UDP)_SCRAPES$|TRACKER_UDP_(SEND|FAILED|NONE|ANNOUNCED|SCRAPED|REFUSED)$|.*_N_COUNTERS$")


def text_of(*patterns):
    paths = [p for pattern in patterns for p in glob.glob(os.path.join(ROOT, pattern), recursive=True)]
    return "\n".join(open(p, encoding="utf-8").read() for p in sorted(paths))


def main():
    source, tests = text_of("src/torrent/*.c"), text_of("tests/**/*.c", "tests/**/*.h", "tests/**/*.py")
    faults = []
    for name, pattern, counted, asserted in LISTS:
        path = os.path.join(ROOT, "src", "torrent", name)
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as f:
            names = [n for n in re.findall(pattern, f.read(), re.M) if not NOT_COUNTERS.match(n)]
        for n in names:
            if not re.search(counted.format(n), source):
                faults.append(f"{name}: {n} is never counted")
            if not re.search(asserted.format(n), tests):
                faults.append(f"{name}: {n} is in no test")
    print("\n".join(faults), end="\n" if faults else "")
    sys.exit(1 if faults else 0)


main()
