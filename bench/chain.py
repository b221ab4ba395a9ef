#!/usr/bin/env python3
"""chain: imports of two chains, where their CPU time goes, and the raw rate of libsecp256k1, in one run.

usage: bench/chain.py [--build DIR] [--chains mixed,long] [--rounds 3] [--long-rounds 2] [--threads N] [--out FILE]

The chains are kept in DIR/chains: the mixed one comes from ../shared/chains if it is there, else both are made by
bench/gen_chain.py (about three minutes, once). Each round imports every way once: plain (what is measured by the clock, and
memory), then with counters (--split of bench_chain_import), with all scripts and with assumevalid. Medians;
where CPU time went is in the run with counters whose CPU time is the median. Last come parsing and headers, with
the largest block of each chain (bench_chain_parse). The table goes to FILE (DIR/chain.md), too.
"""

import argparse
import hashlib
import json
import os
import statistics
import struct
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
SHARED = os.path.join(ROOT, "..", "shared", "chains")
MAGIC = bytes.fromhex("fabfb5da")
PHASES = ["signatures", "scripts", "hashing", "parsing", "coins", "disk", "rest"]
# What gen_chain.py makes of these is always the same.
CHAINS = {
    "mixed": {
        "what": "the mixed chain",
        "shared": "regtest-mixed-1.dat.zst",
        "options": "--blocks 1200 --inputs-per-block 250 --weight 3990000 --seed 1 --reorgs 12 --invalid 4 --max-depth 6 --rare 1"
                   " --start-time 1700000000",
        "sha256": "2f71dc8aa97033fc1a40e1c84f85859d528f23e7ed0b5133e1362c30e0b51ad4",
    },
    "long": {
        "what": "the chain of 2,000 blocks",
        "options": "--blocks 2000 --inputs-per-block 540 --weight 3990000 --seed 7 --start-time 1700000000",
        "sha256": "5b4d6c94060220d5c9771bf2dd8f0cabfbfdb00d2fb74ca32991777dc76552a2",
    },
}


def sha256_of(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def make_chain(chain, path):
    """Into path, whole or not at all."""
    packed = os.path.join(SHARED, chain.get("shared", ""))
    part = path + ".part"
    if os.path.isfile(packed):
        subprocess.run(["zstd", "-dqf", packed, "-o", part], check=True)
    else:
        print(f"making {chain['what']} ...", flush=True)
        subprocess.run([sys.executable, os.path.join(ROOT, "bench", "gen_chain.py"), *chain["options"].split(), "--quiet",
                        "--out", part], check=True)
    if sha256_of(part) != chain["sha256"]:
        raise SystemExit(f"bench: {part} is not {chain['what']}")
    os.rename(part, path)


def chain_path(build, name):
    folder = os.path.join(build, "chains")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name + ".dat")
    if not os.path.isfile(path):
        make_chain(CHAINS[name], path)
    return path


def write_largest_block(path):
    """The raw block beside the chain, for bench_chain_parse."""
    largest = b""
    with open(path, "rb") as f:
        while head := f.read(8):
            magic, length = head[:4], struct.unpack("<I", head[4:])[0]
            if magic != MAGIC:
                raise SystemExit(f"bench: {path} is not a stream of regtest's blocks")
            largest = max(largest, f.read(length), key=len)
    out = path.removesuffix(".dat") + "-block.raw"
    with open(out, "wb") as f:
        f.write(largest)
    return out


class Way:
    """One way to import one chain, plain and with counters."""

    def __init__(self, build, path, options):
        self.command = [os.path.join(build, "bench", "bench_chain_import"), path, "--json", *options]
        self.plain, self.split = [], []

    def run(self, *options):
        done = subprocess.run(self.command + list(options), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench: {' '.join(self.command)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def round(self):
        self.plain.append(self.run())
        self.split.append(self.run("--split"))

    def median(self, key):
        return statistics.median(r[key] for r in self.plain)

    def rate(self, key):
        return statistics.median(r[key] / r["wall_s"] for r in self.plain)

    def counted(self):
        """The run with counters in the middle."""
        return sorted(self.split, key=lambda r: r["cpu_s"])[len(self.split) // 2]


def clock_table(rows):
    yield "| chain, how | wall | then coins to disk | inputs/s | MB/s | CPU s | peak MiB | written MB |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, way in rows:
        walls = sorted(r["wall_s"] for r in way.plain)
        yield (f"| {name} | {statistics.median(walls):.2f} s ({walls[0]:.2f}-{walls[-1]:.2f}) | {way.median('close_s'):.2f} s "
               f"| {way.rate('inputs'):,.0f} | {way.rate('block_len') / 1e6:.1f} | {way.median('cpu_s'):.2f} "
               f"| {way.median('peak_mib'):.0f} | {way.median('written_len') / 1e6:.0f} |")


def split_table(rows):
    yield "| CPU s | " + " | ".join(PHASES) + " | all | all but signatures | of it counting |"
    yield "| --- |" + " --- |" * (len(PHASES) + 3)
    for name, way in rows:
        r = way.counted()
        total = sum(r[p + "_s"] for p in PHASES)
        cells = " | ".join(f"{r[p + '_s']:.2f}" for p in PHASES)
        yield f"| {name} | {cells} | {total:.2f} | {total - r['signatures_s']:.2f} | {r['counters_s']:.2f} |"


def signature_table(rows):
    yield "| signatures | checks | per CPU s in them | raw loop, per CPU s | of raw | per s of the import | raw loop, per s | of raw |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, way in rows:
        r = way.counted()
        if not r["raw_checks"]:
            continue
        cpu, raw_cpu = r["n_checks"] / r["signatures_s"], r["raw_checks"] / r["raw_cpu_s"]
        wall, raw_wall = r["n_checks"] / r["wall_s"], r["raw_checks"] / r["raw_wall_s"]
        yield (f"| {name} | {r['n_checks']:,} | {cpu:,.0f} | {raw_cpu:,.0f} | {100 * cpu / raw_cpu:.1f} % "
               f"| {wall:,.0f} | {raw_wall:,.0f} | {100 * wall / raw_wall:.1f} % |")


def parse_lines(build, paths):
    blocks = [write_largest_block(path) for path in paths]
    out = subprocess.run([os.path.join(build, "bench", "bench_chain_parse"), *blocks], capture_output=True, text=True,
                         check=True).stdout
    return ["```", *out.splitlines(), "```"]


def report(args, rows, paths, load):
    way = rows[0][1]
    yield (f"{way.split[0]['threads']} threads, rounds {args.rounds} (mixed) and {args.long_rounds} (long), "
           f"load {load[0]:.1f} before and {os.getloadavg()[0]:.1f} after.")
    for table in (clock_table, split_table, signature_table):
        yield ""
        yield from table(rows)
    yield ""
    yield from parse_lines(args.build, paths)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build")
    parser.add_argument("--chains", default="mixed,long")
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--long-rounds", default=2, type=int)
    parser.add_argument("--threads", default=0, type=int)
    parser.add_argument("--out")
    args = parser.parse_args()
    load, rows, paths = os.getloadavg(), [], []
    for name in args.chains.split(","):
        paths.append(chain_path(args.build, name))
        ways = [(f"{name}, all scripts", []), (f"{name}, assumevalid", ["--assumevalid"])]
        ways = [(what, Way(args.build, paths[-1], [*options, "--threads", str(args.threads)])) for what, options in ways]
        for _ in range(args.long_rounds if name == "long" else args.rounds):
            for _, way in ways:
                way.round()
        rows += ways
    table = "\n".join(report(args, rows, paths, load)) + "\n"
    with open(args.out or os.path.join(args.build, "chain.md"), "w", encoding="utf-8") as f:
        f.write(table)
    print(table, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
