"""shoal bitcoin import: blocks of which one thing was changed, and all that hangs on it repaired (merkle root, witness
commitment, proof of work), are refused for Bitcoin Core's reason; the block they were made of is then taken.

Every mutator takes a block and what is known of the chain below, changes the block, and returns the reason; or None
when this block has nothing to change. What it does not say in `repairs` is repaired for it."""

import os
import random
import struct

from blocklib import COMMITMENT, NULL_PREVOUT, Block, Input, Output, merkle_root
from chainlib import SMALL, Chain, bitcoin, same_end, stream, write
from systemlib import main

COIN = 100_000_000
MAX_MONEY = 21_000_000 * COIN
SCRIPT = "block-script-verify-flag-failed"
DAMAGE = "no block here: the proof of work does not hold"  # what a file is told; a header by itself is refused: high-hash
HEIGHT_STEP = int(os.environ.get("SHOAL_MUTANT_STEP", "3"))  # every so many blocks


class Below:
    """What a mutator may need of the chain that its block stands on."""

    def __init__(self):
        self.height, self.coins, self.spent, self.coinbases, self.times = -1, {}, [], [], []

    def add(self, block):
        self.height += 1
        self.times.append(block.time)
        for n, tx in enumerate(block.txs):
            for i in tx.inputs if n else ():
                self.spent.append(i.prevout)
                del self.coins[i.prevout]
            for k, out in enumerate(tx.outputs):
                self.coins[tx.outpoint(k)] = out
        self.coinbases.append(block.txs[0].outpoint(0))

    def median_time(self):
        last = sorted(self.times[-11:])
        return last[len(last) // 2]


class Mutation:
    def __init__(self, block, below, rng):
        self.block, self.below, self.rng = block.copy(), below, rng
        self.must_repair = True
        inside = {t.outpoint(k): o for t in block.txs for k, o in enumerate(t.outputs)}
        self.spends = {i.prevout: below.coins.get(i.prevout) or inside.get(i.prevout)
                       for t in block.txs[1:] for i in t.inputs}

    def coinbase(self):
        return self.block.txs[0]

    def tx(self):
        return self.rng.choice(self.block.txs[1:]) if len(self.block.txs) > 1 else None

    def one_input(self, is_wanted):
        """A transaction with one input of the wanted kind; none of the block spends from it."""
        parents = {i.prevout[:32] for t in self.block.txs for i in t.inputs}
        found = [t for t in self.block.txs[1:] if len(t.inputs) == 1 and
                 is_wanted(self.spends[t.inputs[0].prevout].script, t.inputs[0]) and t.txid() not in parents]
        return self.rng.choice(found) if found else None

    def fees(self):
        return sum(self.spends[i.prevout].value for t in self.block.txs[1:] for i in t.inputs) - sum(
            o.value for t in self.block.txs[1:] for o in t.outputs)


# --- the header ---

def version(m):
    m.block.version = m.rng.choice([1, 2, 3])
    return f"bad-version(0x{m.block.version:08x})"


def bits(m):
    m.block.bits = 0x207ffffe
    return "bad-diffbits"


def time_at_median(m):
    m.block.time = m.below.median_time()
    return "time-too-old"


def time_far_ahead(m):
    m.block.time = 0xfffffff0
    return "time-too-new"


def no_work(m):
    m.block.work(False)
    m.must_repair = False
    return DAMAGE


def root(m):
    m.block.root = m.block.root[:-1] + bytes([m.block.root[-1] ^ 1])
    m.block.work()
    m.must_repair = False
    return "bad-txnmrklroot"


# --- which transactions ---

def no_transaction(m):
    m.block.txs = []
    return "bad-blk-length"


def no_coinbase(m):
    del m.block.txs[0]
    return "bad-cb-missing" if m.block.txs else None


def coinbase_of_two_inputs(m):
    m.coinbase().inputs.append(Input(os.urandom(36)))
    return "bad-cb-missing"


def two_coinbases(m):
    m.block.txs.insert(1, m.block.copy().txs[0])
    m.block.txs[1].outputs[0].value -= 1
    return "bad-cb-multiple"


def same_root_other_transactions(m):
    """CVE-2012-2459: the last ones once more, where the tree repeats them anyway."""
    ids = [t.txid() for t in m.block.txs]
    for n in range(1, len(ids)):
        if merkle_root(ids + ids[-n:]) == m.block.root:
            m.block.txs += m.block.copy().txs[-n:]
            m.must_repair = False
            return "bad-txns-duplicate"
    return None


def transaction_twice(m):
    if len(m.block.txs) < 3:
        return None
    m.block.txs.append(m.block.copy().txs[1])
    return "bad-txns-inputs-missingorspent"


def child_before_parent(m):
    ids = {t.txid(): n for n, t in enumerate(m.block.txs)}
    for n, t in enumerate(m.block.txs):
        parents = [ids[i.prevout[:32]] for i in t.inputs if i.prevout[:32] in ids]
        if parents:
            m.block.txs.insert(parents[0], m.block.txs.pop(n))
            return "bad-txns-inputs-missingorspent"
    return None


def too_long(m):
    m.coinbase().outputs.append(Output(0, b"\x6a" + bytes(1_000_000)))
    return "bad-blk-length"


def too_heavy(m):
    t = m.one_input(lambda script, i: i.witness)
    if not t or not m.block.commitment():
        return None
    t.inputs[0].witness.append(bytes(3_999_900 - len(m.block.raw())))  # longer is no block
    return "bad-blk-weight"


def too_many_sigops(m):
    m.coinbase().outputs.append(Output(0, b"\xac" * 20_001))
    return "bad-blk-sigops"


# --- the coinbase ---

def coinbase_height(m):
    i = m.coinbase().inputs[0]
    i.script = i.script[:1] + bytes([i.script[1] ^ 1]) + i.script[2:]
    return "bad-cb-height"


def coinbase_short(m):
    m.coinbase().inputs[0].script = b"\x51"
    return "bad-cb-length"


def coinbase_long(m):
    m.coinbase().inputs[0].script += bytes(101 - len(m.coinbase().inputs[0].script))
    return "bad-cb-length"


def coinbase_claims_too_much(m):
    subsidy = 50 * COIN >> (m.below.height + 1) // 150
    m.coinbase().outputs[0].value += subsidy + m.fees() - sum(o.value for o in m.coinbase().outputs) + 1
    return "bad-cb-amount"


def commitment(m):
    out = m.block.commitment()
    if not out:
        return None
    out.script = COMMITMENT + os.urandom(32)
    m.block.root = merkle_root([t.txid() for t in m.block.txs])
    m.block.work()
    m.must_repair = False
    return "bad-witness-merkle-match"


def commitment_gone(m):
    out = m.block.commitment()
    if not out or not any(i.witness for t in m.block.txs for i in t.inputs):
        return None
    m.coinbase().outputs.remove(out)
    return "unexpected-witness"


def reserved_value_short(m):
    if not m.block.commitment():
        return None
    m.coinbase().inputs[0].witness = [bytes(31)]
    return "bad-witness-nonce-size"


def reserved_value_twice(m):
    if not m.block.commitment():
        return None
    m.coinbase().inputs[0].witness = [bytes(32), bytes(32)]
    return "bad-witness-nonce-size"


# --- one transaction ---

def on_tx(change):
    """A mutator of any transaction but the coinbase."""
    def mutate(m):
        t = m.tx()
        return change(m, t) if t else None
    mutate.__name__ = change.__name__
    return mutate


@on_tx
def no_input(_, t):
    t.inputs, t.outputs = [], []  # an output would read as BIP 144's flag
    return "bad-txns-vin-empty"


@on_tx
def no_output(_, t):
    t.outputs = []
    return "bad-txns-vout-empty"


@on_tx
def output_negative(_, t):
    t.outputs[0].value = -1
    return "bad-txns-vout-negative"


@on_tx
def output_too_large(_, t):
    t.outputs[0].value = MAX_MONEY + 1
    return "bad-txns-vout-toolarge"


@on_tx
def outputs_too_large(_, t):
    t.outputs += [Output(MAX_MONEY, b""), Output(1, b"")]
    return "bad-txns-txouttotal-toolarge"


@on_tx
def input_twice(m, t):
    t.inputs.append(m.rng.choice(t.inputs))
    return "bad-txns-inputs-duplicate"


@on_tx
def input_null(_, t):
    t.inputs.append(Input(NULL_PREVOUT))
    return "bad-txns-prevout-null"


@on_tx
def pays_more_than_it_has(m, t):
    t.outputs[0].value += 1 + sum(m.spends[i.prevout].value for i in t.inputs) - sum(o.value for o in t.outputs)
    return "bad-txns-in-belowout"


@on_tx
def spends_nothing(_, t):
    t.inputs[0].prevout = os.urandom(36)
    return "bad-txns-inputs-missingorspent"


@on_tx
def spends_what_is_spent(m, t):
    if not m.below.spent:
        return None
    t.inputs[0].prevout = m.rng.choice(m.below.spent)
    return "bad-txns-inputs-missingorspent"


@on_tx
def spends_what_one_before_spends(m, t):
    others = [i.prevout for o in m.block.txs[1:m.block.txs.index(t)] for i in o.inputs]
    if not others:
        return None
    t.inputs[0].prevout = m.rng.choice(others)
    return "bad-txns-inputs-missingorspent"


@on_tx
def output_that_is_not_there(_, t):
    t.inputs[0].prevout = t.inputs[0].prevout[:32] + struct.pack("<I", 100_000)
    return "bad-txns-inputs-missingorspent"


@on_tx
def spends_a_young_coinbase(m, t):
    t.inputs[0].prevout = m.below.coinbases[-m.rng.randrange(1, 90)]
    return "bad-txns-premature-spend-of-coinbase"


@on_tx
def not_final_by_height(m, t):
    t.locktime, t.inputs[0].sequence = m.below.height + 1, 0
    return "bad-txns-nonfinal"


@on_tx
def not_final_by_time(m, t):
    t.locktime, t.inputs[0].sequence = m.below.median_time(), 0
    return "bad-txns-nonfinal"


@on_tx
def relative_lock_by_height(_, t):
    t.version, t.inputs[0].sequence = 2, 0xffff
    return "bad-txns-nonfinal"


@on_tx
def relative_lock_by_time(_, t):
    t.version, t.inputs[0].sequence = 2, 0x40ffff
    return "bad-txns-nonfinal"


# --- scripts ---

def is_p2pkh(script, i):
    return len(script) == 25 and script[:3] == b"\x76\xa9\x14" and i.script[i.script[0]:][:1] == b"\x01"


def is_p2wpkh(script, i):
    return len(script) == 22 and script[:2] == b"\x00\x14" and i.witness and i.witness[0][-1:] == b"\x01"


def is_p2tr_key(script, i):
    return len(script) == 34 and script[:2] == b"\x51\x20" and [len(w) for w in i.witness] == [64]


def signs_another_amount(kind):
    def mutate(m):
        t = m.one_input(kind)
        if not t or not t.outputs or t.outputs[0].value == 0:
            return None
        t.outputs[0].value -= 1
        return SCRIPT
    mutate.__name__ = "signs_another_amount_" + kind.__name__
    return mutate


def signature_bit(m):
    t = m.one_input(is_p2wpkh) or m.one_input(is_p2tr_key)
    if not t:
        return None
    w = t.inputs[0].witness
    w[0] = w[0][:20] + bytes([w[0][20] ^ 4]) + w[0][21:]
    return SCRIPT


def witness_gone(m):
    t = m.one_input(is_p2wpkh) or m.one_input(is_p2tr_key)
    if not t:
        return None
    t.inputs[0].witness = []
    return SCRIPT


def witness_where_none_belongs(m):
    t = m.one_input(is_p2pkh)
    if not t or not m.block.commitment():
        return None
    t.inputs[0].witness = [b"\x01"]
    return SCRIPT


def script_sig_on_a_witness_program(m):
    t = m.one_input(is_p2wpkh)
    if not t:
        return None
    t.inputs[0].script = b"\x51"
    return SCRIPT


def other_key(m):
    t = m.one_input(is_p2wpkh)
    if not t:
        return None
    w = t.inputs[0].witness
    w[1] = bytes([w[1][0] ^ 1]) + w[1][1:]
    return SCRIPT


MUTATORS = [
    version, bits, time_at_median, time_far_ahead, no_work, root, no_transaction, no_coinbase, coinbase_of_two_inputs,
    two_coinbases, same_root_other_transactions, transaction_twice, child_before_parent, too_many_sigops,
    coinbase_height, coinbase_short, coinbase_long, coinbase_claims_too_much, commitment, commitment_gone,
    reserved_value_short, reserved_value_twice, no_input, no_output, output_negative, output_too_large,
    outputs_too_large, input_twice, input_null, pays_more_than_it_has, spends_nothing, spends_what_is_spent,
    spends_what_one_before_spends, output_that_is_not_there, spends_a_young_coinbase, not_final_by_height,
    not_final_by_time, relative_lock_by_height, relative_lock_by_time, signs_another_amount(is_p2pkh),
    signs_another_amount(is_p2wpkh), signs_another_amount(is_p2tr_key), signature_bit, witness_gone,
    witness_where_none_belongs, script_sig_on_a_witness_program, other_key,
]
LARGE = [too_long, too_heavy]  # megabytes each: at one height only


def best_chain(chain):
    by_hash = {}
    for raw in chain.blocks:
        block = Block(raw)
        by_hash[block.hash()] = block
    line, at = [], bytes.fromhex(chain.facts["tip"])[::-1]
    while at in by_hash:
        line.insert(0, by_hash[at])
        at = by_hash[at].prev
    return line


def mutants_of(block, below, mutators, rng):
    """[(mutator's name, raw block, hash, reason)]"""
    made = []
    for mutate in mutators:
        m = Mutation(block, below, rng)
        reason = mutate(m)
        if reason is None:
            continue
        if m.must_repair:
            m.block.repair()
        made.append((mutate.__name__, m.block.raw(), m.block.hash()[::-1].hex(), reason))
    return made


def refused_for_its_reason(place, made, tip):
    path = write(place.path("mutants.dat"), stream(raw for _, raw, _, _ in made))
    events = bitcoin(place, "import", path, "--json", "--keep-going", "--one-by-one")
    at = {sum(len(raw) + 8 for _, raw, _, _ in made[:n]) + 8: h for n, (_, _, h, _) in enumerate(made)}
    got = [(e["hash"], e["reject-reason"]) for e in events if e["event"] == "invalid"]
    got += [(at.get(e["offset"]), e["what"]) for e in events if e["event"] == "damaged" and e["what"] == DAMAGE]
    for name, _, block_hash, reason in made:
        assert (block_hash, reason) in got, (name, reason, [r for h, r in got if h == block_hash])
    assert len(got) == len(made), (len(got), len(made))
    assert bitcoin(place, "info", "--json")["bestblockhash"] == tip


def mutants(place):
    chain = Chain(SMALL)
    rng, below, counts = random.Random(7), Below(), {}
    line = best_chain(chain)
    first = next(n for n, b in enumerate(line) if len(b.txs) > 20)
    bitcoin(place, "import", write(place.path("a.dat"), stream(b.raw() for b in line[:first])))
    for n, block in enumerate(line):
        assert block.raw() in chain.blocks
        if n >= first:
            mutators = MUTATORS + LARGE * (n == first + HEIGHT_STEP) if (n - first) % HEIGHT_STEP == 0 else []
            made = mutants_of(block, below, mutators, rng)
            if made:
                refused_for_its_reason(place, made, line[n - 1].hash()[::-1].hex())
            for name, _, _, _ in made:
                counts[name] = counts.get(name, 0) + 1
            bitcoin(place, "import", write(place.path("next.dat"), stream([block.raw()])))
        below.add(block)
    missing = [f.__name__ for f in MUTATORS + LARGE if f.__name__ not in counts]
    assert not missing, missing
    print(f"    {sum(counts.values())} mutants of {len(counts)} kinds at {max(counts.values())} heights")
    same_end(place, chain.facts)


main([mutants])
