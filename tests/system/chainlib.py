"""chainlib: chains of blocks from files, and shoal bitcoin run on them."""

import json
import lzma
import os
import struct
import subprocess

from systemlib import SHOAL, Skip

ROOT = os.environ.get("SHOAL_SOURCE_ROOT", ".")
SMALL = os.path.join(ROOT, "tests", "vectors", "chains", "regtest-small-1.dat")
MIXED = os.path.join(ROOT, "..", "shared", "chains", "regtest-mixed-1.dat")
MAGIC = bytes.fromhex("fabfb5da")


class Chain:
    """A chain with what Bitcoin Core says of it."""

    def __init__(self, path):
        if os.path.exists(path + ".xz"):
            self.raw = lzma.open(path + ".xz").read()
        elif os.path.exists(path + ".zst"):
            self.raw = subprocess.run(["zstd", "-dcq", path + ".zst"], stdout=subprocess.PIPE, check=True).stdout
        else:
            raise Skip(f"{path} is not here")
        with open(path + ".json", encoding="utf-8") as f:
            self.facts = json.load(f)
        self.blocks, at = [], 0
        while at < len(self.raw):
            n = struct.unpack_from("<I", self.raw, at + 4)[0]
            self.blocks.append(self.raw[at + 8:at + 8 + n])
            at += 8 + n


def stream(blocks):
    return b"".join(MAGIC + struct.pack("<I", len(b)) + b for b in blocks)


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def bitcoin(place, command, *args, expect=0, datadir="chain", seconds=200):
    """stdout (parsed when --json is among args) of one command on regtest."""
    full = [SHOAL, "bitcoin", command, "-n", "regtest", "-d", place.path(datadir), *args]
    r = subprocess.run(full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=seconds, check=False)
    assert r.returncode == expect, f"{full[2:]}: exit code {r.returncode}: {r.stdout[-500:]}{r.stderr[-500:]}"
    if "--json" not in args:
        return r.stdout + r.stderr
    if command == "import":
        return [json.loads(line) for line in r.stdout.splitlines()]
    return json.loads(r.stdout)


def same_end(place, facts, datadir="chain"):
    """The chain stands where Bitcoin Core stood, with the same coins."""
    info = bitcoin(place, "info", "--json", datadir=datadir)
    assert (info["blocks"], info["bestblockhash"]) == (facts["height"], facts["tip"]), info
    stats = bitcoin(place, "coins-stats", "--json", datadir=datadir)
    assert stats["txouts"] == facts["utxo_count"], stats
    assert round(stats["total_amount"] * 1e8) == facts["utxo_amount_sat"], stats
    assert stats["hash_serialized_3"] == facts["utxo_hash_serialized_3"], stats
    assert stats["muhash"] == facts["utxo_muhash"], stats
