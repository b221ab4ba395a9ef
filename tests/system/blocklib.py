"""blocklib: Bitcoin blocks taken apart, changed and put together again, for tests; shares nothing with src/chain.

A Block's parts are plain fields; raw() writes what they say. repair() makes the rest agree with them as a miner would:
witness commitment, merkle root, proof of work."""

import copy
import hashlib
import struct

COMMITMENT = bytes.fromhex("6a24aa21a9ed")  # BIP 141
NULL_PREVOUT = bytes(32) + b"\xff" * 4


def sha256d(data):
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def compact_size(n):
    if n < 0xfd:
        return struct.pack("<B", n)
    if n <= 0xffff:
        return b"\xfd" + struct.pack("<H", n)
    return b"\xfe" + struct.pack("<I", n)


def var_bytes(data):
    return compact_size(len(data)) + data


def merkle_root(hashes):
    while len(hashes) > 1:
        if len(hashes) % 2:
            hashes = hashes + hashes[-1:]
        hashes = [sha256d(hashes[i] + hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0] if hashes else bytes(32)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        part = self.data[self.at:self.at + n]
        assert len(part) == n
        self.at += n
        return part

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def size(self):
        first = self.number("B")
        return first if first < 0xfd else self.number({0xfd: "H", 0xfe: "I", 0xff: "Q"}[first])

    def bytes(self):
        return self.take(self.size())


class Input:
    def __init__(self, prevout, script=b"", sequence=0xffffffff, witness=()):
        self.prevout, self.script, self.sequence, self.witness = prevout, script, sequence, list(witness)


class Output:
    def __init__(self, value, script):
        self.value, self.script = value, script


class Tx:
    def __init__(self, r):
        self.version = r.number("i")
        n = r.size()
        has_witness = n == 0
        if has_witness:
            assert r.number("B") == 1
            n = r.size()
        self.inputs = [Input(r.take(36), r.bytes(), r.number("I")) for _ in range(n)]
        self.outputs = [Output(r.number("q"), r.bytes()) for _ in range(r.size())]
        for i in self.inputs if has_witness else ():
            i.witness = [r.bytes() for _ in range(r.size())]
        self.locktime = r.number("I")

    def raw(self, with_witness=True):
        with_witness = with_witness and any(i.witness for i in self.inputs)
        parts = [struct.pack("<i", self.version), b"\x00\x01" if with_witness else b"", compact_size(len(self.inputs))]
        parts += [i.prevout + var_bytes(i.script) + struct.pack("<I", i.sequence) for i in self.inputs]
        parts += [compact_size(len(self.outputs))]
        parts += [struct.pack("<q", o.value) + var_bytes(o.script) for o in self.outputs]
        if with_witness:
            parts += [compact_size(len(i.witness)) + b"".join(map(var_bytes, i.witness)) for i in self.inputs]
        return b"".join(parts) + struct.pack("<I", self.locktime)

    def txid(self):
        return sha256d(self.raw(with_witness=False))

    def outpoint(self, n):
        return self.txid() + struct.pack("<I", n)


class Block:
    def __init__(self, raw):
        r = Reader(raw)
        self.version, self.prev, self.root = r.number("i"), r.take(32), r.take(32)
        self.time, self.bits, self.nonce = r.number("I"), r.number("I"), r.number("I")
        self.txs = [Tx(r) for _ in range(r.size())]
        assert r.at == len(raw)

    def copy(self):
        return copy.deepcopy(self)

    def header(self):
        return (struct.pack("<i", self.version) + self.prev + self.root +
                struct.pack("<III", self.time, self.bits, self.nonce))

    def hash(self):
        return sha256d(self.header())

    def raw(self):
        return self.header() + compact_size(len(self.txs)) + b"".join(t.raw() for t in self.txs)

    def commitment(self):
        """The output of the coinbase that holds the witness commitment; None: there is none."""
        found = [o for o in self.txs[0].outputs if o.script.startswith(COMMITMENT) and len(o.script) >= 38]
        return found[-1] if found else None

    def commit(self):
        out = self.commitment()
        if out and self.txs[0].inputs[0].witness:
            ids = [bytes(32)] + [sha256d(t.raw()) for t in self.txs[1:]]
            value = sha256d(merkle_root(ids) + self.txs[0].inputs[0].witness[0])
            out.script = COMMITMENT + value + out.script[38:]

    def has_work(self):
        exponent, mantissa = self.bits >> 24, self.bits & 0x7fffff
        return int.from_bytes(self.hash(), "little") <= mantissa << 8 * (exponent - 3)

    def work(self, is_wanted=True):
        while self.has_work() != is_wanted:
            self.nonce = (self.nonce + 1) & 0xffffffff

    def repair(self):
        if self.txs:
            self.commit()
        self.root = merkle_root([t.txid() for t in self.txs])
        self.work()
