"""shoal bitcoin: chains from files come to exactly the tip and coins that Bitcoin Core came to, in any order, through
invalid branches, kill -9 and damage."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import time

from chainlib import MIXED, SMALL, Chain, bitcoin, same_end, stream, write
from systemlib import SHOAL, Run, main, wait_for

N_KILLS = int(os.environ.get("SHOAL_N_KILLS", "50"))


def bitcoin_plain(*args):
    return json.loads(subprocess.run([SHOAL, "bitcoin", *args], stdout=subprocess.PIPE, timeout=60, check=True).stdout)


def coins(place):
    stats = bitcoin(place, "coins-stats", "--json")
    del stats["disk_size"]
    return stats


def snapshots(place):
    """Written, refused when anything is wrong, loaded, gone on from, validated from the first block."""
    chain = Chain(SMALL)
    whole = write(place.path("chain.dat"), chain.raw)
    bitcoin(place, "import", whole, "--keep-going")
    told = bitcoin(place, "invalidate", "121", "--json")
    path, coins_hash = place.path("utxo.dat"), None
    dumped = bitcoin(place, "dump-snapshot", path, "--json")
    assert dumped["base_hash"] == told["bestblockhash"] and dumped["base_height"] == 120
    coins_hash = dumped["txoutset_hash"]
    stats = coins(place)
    assert stats["hash_serialized_3"] == coins_hash and stats["txouts"] == dumped["coins_written"]
    bitcoin(place, "dump-snapshot", path, expect=1)  # never over a file
    load = ("load-snapshot", path, whole, "--hash", coins_hash)
    assert "header is not known" in bitcoin(place, "load-snapshot", path, expect=1, datadir="fresh")
    assert "no hash is known" in bitcoin(place, "load-snapshot", path, whole, expect=1, datadir="fresh")
    assert "hash to" in bitcoin(place, *load[:-1], "00" * 32, expect=1, datadir="fresh")
    with open(path, "rb") as f:
        data = f.read()
    for at in (0, 5, 8, 20, 45, len(data) // 2, len(data) - 1):
        bad = write(place.path("bad.dat"), data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        bitcoin(place, "load-snapshot", bad, whole, "--hash", coins_hash, expect=1, datadir="fresh")
    bitcoin(place, "load-snapshot", write(place.path("bad.dat"), data[:-1]), whole, "--hash", coins_hash, expect=1,
            datadir="fresh")
    assert bitcoin(place, "info", "--json", datadir="fresh")["blocks"] == 0
    bitcoin(place, *load, datadir="fresh")
    assert bitcoin(place, "info", "--json", datadir="fresh")["blocks"] == 120
    assert "the next block is not here" in bitcoin(place, "load-snapshot", "--validate", expect=3, datadir="fresh")
    past_in_pieces(place, chain, coins_hash)
    past_killed(place, chain, load)
    wrong_snapshot(place, chain, data, whole)
    assert "already as far" in bitcoin(place, *load, expect=1, datadir="fresh")


def line_of(place, height):
    """Hashes of the best chain's blocks up to a height, as the whole chain has them."""
    return [bitcoin(place, "block", str(h), "--json")["hash"] for h in range(1, height + 1)]


def block_hash(raw):
    return hashlib.sha256(hashlib.sha256(raw[:80]).digest()).digest()[::-1].hex()


def past_in_pieces(place, chain, coins_hash):
    """The tip first; the past with what blocks are there, by itself."""
    past = set(line_of(place, 120))
    early = set(line_of(place, 70))
    tail = write(place.path("tail.dat"), stream([b for b in chain.blocks if block_hash(b) not in past]))
    text = bitcoin(place, "import", tail, "--keep-going", datadir="fresh")
    assert "checked up to height 0 of 120" in text, text
    # Side branches that leave below the snapshot's block wait; the tip is as far as it goes.
    info = bitcoin(place, "info", "--json", datadir="fresh")
    assert info["blocks"] == chain.facts["height"] and not info["pruned"], info
    background, active = info["chainstates"]
    assert background["blocks"] == 0 and background["validated"] and "snapshot_blockhash" not in background
    assert active["blocks"] == info["blocks"] and not active["validated"]
    base = active["snapshot_blockhash"]
    assert base in past
    bitcoin(place, "invalidate", base, expect=1, datadir="fresh")
    first = write(place.path("first.dat"), stream([b for b in chain.blocks if block_hash(b) in early]))
    events = bitcoin(place, "import", first, "--keep-going", "--json", datadir="fresh")
    told = [e for e in events if e["event"] == "snapshot"]
    assert [(e["validated"], e["blocks"], e["base_height"]) for e in told] == [(False, 70, 120)], told
    assert "validated up to 70" in bitcoin(place, "info", datadir="fresh")
    rest = write(place.path("rest.dat"), stream([b for b in chain.blocks if block_hash(b) in past - early]))
    assert "the snapshot is right" in bitcoin(place, "import", rest, "--keep-going", datadir="fresh")
    same_end(place, chain.facts, "fresh")
    assert coins_hash in bitcoin(place, "load-snapshot", "--validate", datadir="fresh")
    info = bitcoin(place, "info", "--json", datadir="fresh")
    assert [c["validated"] for c in info["chainstates"]] == [True]
    assert not os.path.exists(os.path.join(place.path("fresh"), "regtest", "coins-background"))
    # Undo data of all of it is there: back to the first block, and up again.
    bitcoin(place, "invalidate", "1", datadir="fresh")
    bitcoin(place, "reconsider", line_of(place, 1)[0], datadir="fresh")
    same_end(place, chain.facts, "fresh")
    assert "151 blocks are good" in bitcoin(place, "verify", "--blocks", "0", datadir="fresh")


def past_killed(place, chain, load):
    """kill -9 while the past is walked, with coins going to disk all the time."""
    bitcoin(place, *load, datadir="killed")
    args = [SHOAL, "bitcoin", "import", place.path("chain.dat"), "-n", "regtest", "-d", place.path("killed"),
            "--keep-going", "--coins-cache", "64K"]
    rng = random.Random(4)
    for _ in range(4):
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.1 + rng.random() * 0.6)
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL)
        bitcoin(place, "info", datadir="killed")
    bitcoin(place, "import", place.path("chain.dat"), "--keep-going", datadir="killed")
    assert "is right" in bitcoin(place, "load-snapshot", "--validate", datadir="killed")
    same_end(place, chain.facts, "killed")


def wrong_snapshot(place, chain, data, whole):
    """One bit of a coin is another, and its maker says that this is right."""
    bad = write(place.path("wrong.dat"), data[:-1] + bytes([data[-1] ^ 1]))
    text = bitcoin(place, "load-snapshot", bad, whole, "--hash", "00" * 32, expect=1, datadir="wrong")
    claimed = text.split("hash to ")[1][:64]
    bitcoin(place, "load-snapshot", bad, whole, "--hash", claimed, datadir="wrong")
    text = bitcoin(place, "import", whole, "--keep-going", expect=1, datadir="wrong")
    assert "the snapshot is WRONG" in text and claimed in text, text
    for command in (("import", whole), ("coins-stats",), ("load-snapshot", "--validate")):
        assert "is WRONG" in bitcoin(place, *command, expect=1, datadir="wrong")
    assert "WRONG" in bitcoin(place, "info", datadir="wrong")
    assert bitcoin(place, "info", "--json", datadir="wrong")["warnings"]
    bitcoin(place, "reindex", datadir="wrong")
    same_end(place, chain.facts, "wrong")


def small_chain_in_order(place):
    chain = Chain(SMALL)
    path = write(place.path("chain.dat"), chain.raw)
    text = bitcoin(place, "import", path, "--keep-going")
    assert f"height {chain.facts['height']}" in text
    same_end(place, chain.facts)
    assert "151 blocks are good" in bitcoin(place, "verify", "--blocks", "0")
    # Once more: nothing is new.
    done = bitcoin(place, "import", path, "--keep-going", "--json")[-1]
    assert done["event"] == "done" and done["stored"] == 0
    same_end(place, chain.facts)


def after_each_block(place):
    """Block by block: the tip after each, and Bitcoin Core's reason for each that is refused."""
    chain = Chain(SMALL)
    path = write(place.path("chain.dat"), chain.raw)
    events = bitcoin(place, "import", path, "--keep-going", "--one-by-one", "--json", "--coins-cache", "64K")
    tips = {e["block"]: e["bestblockhash"] for e in events if e["event"] == "tip"}
    exceptions = {e["block"]: e["tip_after"] for e in chain.facts["tip_exceptions"]}
    assert len(tips) == len(chain.blocks)
    for block, tip in tips.items():
        assert tip == exceptions.get(block, block), f"after {block} the tip is {tip}"
    refused = {e["hash"]: e for e in events if e["event"] == "invalid"}
    n = 0
    for branch in chain.facts["branches"]:
        for block, reason in zip(branch["side"], branch.get("core_reasons", [])):
            assert (block in refused) == (reason is not None), block
            if reason:
                n += 1
                assert refused[block]["reject-reason"] == reason.split(" (")[0], (reason, refused[block])
    assert n == len(refused) > 0
    script = next(e for e in refused.values() if e["reject-reason"].startswith("block-script"))
    assert script["tx"] > 0 and script["vin"] >= 0 and script["height"] > 100
    same_end(place, chain.facts)
    tips = bitcoin(place, "forks", "--json")
    assert [t["status"] for t in tips].count("active") == 1
    assert [t["status"] for t in tips].count("invalid") == 4


def stops_at_an_invalid_block(place):
    chain = Chain(SMALL)
    path = write(place.path("chain.dat"), chain.raw)
    text = bitcoin(place, "import", path, "--one-by-one", expect=1)
    assert "block-script-verify-flag-failed" in text and "transaction 39, input 3" in text, text
    assert bitcoin(place, "info", "--json")["blocks"] == 107
    # Told to go on, it comes to the end.
    bitcoin(place, "import", path, "--one-by-one", "--keep-going")
    same_end(place, chain.facts)


def any_order(place):
    chain = Chain(SMALL)
    for seed in range(3):
        blocks = list(chain.blocks)
        random.Random(seed).shuffle(blocks)
        half = len(blocks) // 2
        a = write(place.path("a.dat"), b"garbage" + stream(blocks[:half]))
        b = write(place.path("b.dat"), stream(blocks[half:]) + bytes(1000))
        datadir = f"chain{seed}"
        events = bitcoin(place, "import", a, b, "--keep-going", "--json", datadir=datadir)
        assert [e["len"] for e in events if e["event"] == "damaged"] == [7]
        assert events[-1]["waiting"] == 0
        same_end(place, chain.facts, datadir)


def other_peoples_files(place):
    """blk00000.dat with the xor.dat of Bitcoin Core beside it; damage is named and passed over."""
    chain = Chain(SMALL)
    folder = place.folder("core")
    key = bytes(range(1, 9))
    plain = bytearray(stream(chain.blocks[:-1]))
    last = stream(chain.blocks[-1:])
    at = len(plain)
    damaged = bytearray(last)
    damaged[4] ^= 0x55  # the length
    plain += damaged + last
    write(os.path.join(folder, "xor.dat"), key)
    path = write(os.path.join(folder, "blk00000.dat"), bytes(b ^ key[i % 8] for i, b in enumerate(plain)))
    events = bitcoin(place, "import", path, "--keep-going", "--json")
    bad = [e for e in events if e["event"] == "damaged"]
    assert bad and all(at <= e["offset"] <= at + len(last) for e in bad), bad
    same_end(place, chain.facts)
    # Our own block files are such files too.
    own = os.path.join(place.path("chain"), "regtest", "blocks")
    assert os.path.getsize(os.path.join(own, "xor.dat")) == 8
    bitcoin(place, "import", os.path.join(own, "blk00000.dat"), "--keep-going", datadir="again")
    same_end(place, chain.facts, "again")


def killed(place):
    """kill -9 at random moments, with coins going to disk all the time; the next run goes on."""
    chain = Chain(SMALL)
    path = write(place.path("chain.dat"), chain.raw)
    rng, heights = random.Random(20), []
    args = [SHOAL, "bitcoin", "import", path, "-n", "regtest", "-d", place.path("chain"), "--keep-going",
            "--coins-cache", "64K"]
    begin = time.monotonic()
    bitcoin(place, "import", path, "--keep-going", "--coins-cache", "64K", datadir="timing")
    whole = time.monotonic() - begin
    for n in range(N_KILLS):
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(rng.random() * whole * 0.7)
        process.kill()
        _, text = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), text
        if n % 10 == 9 or process.returncode == 0:
            heights.append(bitcoin(place, "info", "--json")["blocks"])
        if process.returncode == 0 and n < N_KILLS - 1:
            subprocess.run(["rm", "-r", place.path("chain")], check=True)
    print(f"    {N_KILLS} kills within {whole:.1f} s; heights seen: {heights}")
    bitcoin(place, "import", path, "--keep-going")
    same_end(place, chain.facts)
    assert "blocks are good" in bitcoin(place, "verify", "--blocks", "0")


def start_import(place, path, n_tips):
    """An import under way that came to so many tips."""
    run = Run(place, "bitcoin", "import", path, "-n", "regtest", "-d", place.path("chain"), "--json", "--keep-going",
              "--one-by-one")
    wait_for("some blocks", lambda: len(run.saw("tip")) > n_tips, 60)
    return run


def interrupted(place):
    chain = Chain(SMALL)
    path = write(place.path("chain.dat"), chain.raw)
    run = start_import(place, path, 20)
    run.signal(signal.SIGINT)
    code = run.wait(60)
    assert code == 3, code
    last = run.saw("stopped")[-1]
    info = bitcoin(place, "info", "--json")
    assert info["blocks"] == last["blocks"] > 0 and info["bestblockhash"] == last["bestblockhash"]
    bitcoin(place, "import", path, "--keep-going")
    same_end(place, chain.facts)


def what_the_user_says(place):
    chain = Chain(SMALL)
    path = write(place.path("chain.dat"), chain.raw)
    bitcoin(place, "import", path, "--keep-going", "--one-by-one")
    block = bitcoin(place, "block", "100", "--json")
    before = coins(place)
    after = bitcoin(place, "invalidate", block["hash"], "--json")
    assert after == {"blocks": 99, "bestblockhash": block["previousblockhash"]}, after
    assert bitcoin(place, "block", block["hash"], "--json")["confirmations"] == -1
    after = bitcoin(place, "reconsider", block["hash"], "--json")
    assert after["bestblockhash"] == chain.facts["tip"]
    assert coins(place) == before
    # A branch that lost with as much work as its rival had: preferred, once all that has more is out of the way.
    equal = [b for b in chain.facts["branches"] if b["type"] == "lose-equal"][-1]
    height, side_tip = equal["fork_height"] + len(equal["side"]), equal["side"][-1]
    against = []
    while bitcoin(place, "info", "--json")["blocks"] > height:
        against.append(bitcoin(place, "block", str(height + 1), "--json")["hash"])
        bitcoin(place, "invalidate", against[-1])
    if bitcoin(place, "info", "--json")["bestblockhash"] != side_tip:
        after = bitcoin(place, "precious", side_tip, "--json")
        assert after["bestblockhash"] == side_tip, after
    for block in against:
        bitcoin(place, "reconsider", block)
    same_end(place, chain.facts)


# What getblock (verbosity 3) and getrawtransaction (2) of Bitcoin Core have.
BLOCK_FIELDS = set("hash confirmations height version versionHex merkleroot time mediantime nonce bits target difficulty "
                   "chainwork nTx previousblockhash strippedsize size weight coinbase_tx tx".split())
TX_FIELDS = set("txid hash version size vsize weight locktime vin vout hex".split())
SCRIPT_FIELDS = {"asm", "desc", "hex", "type"}


def script_is_shown(script):
    assert script.keys() | {"address"} == SCRIPT_FIELDS | {"address"}, script
    assert re.fullmatch(r"(pk|multi|rawtr|addr|raw)\(.*\)#[a-z0-9]{8}", script["desc"]), script
    if script["type"] == "pubkeyhash":
        assert script["asm"] == f"OP_DUP OP_HASH160 {script['hex'][6:46]} OP_EQUALVERIFY OP_CHECKSIG"
    if script["desc"].startswith("addr("):
        assert script["desc"][5:-10] == script["address"]


def tx_is_shown(tx, is_coinbase):
    assert tx.keys() == TX_FIELDS if is_coinbase else tx.keys() == TX_FIELDS | {"fee"}, tx.keys()
    for out in tx["vout"]:
        assert out.keys() == {"value", "n", "scriptPubKey"}
        script_is_shown(out["scriptPubKey"])
    for spent in tx["vin"]:
        if is_coinbase:
            assert spent.keys() - {"txinwitness"} == {"coinbase", "sequence"}
            continue
        assert spent.keys() - {"txinwitness"} == {"txid", "vout", "scriptSig", "prevout", "sequence"}
        assert spent["scriptSig"].keys() == {"asm", "hex"}
        assert spent["prevout"].keys() == {"generated", "height", "value", "scriptPubKey"}
        script_is_shown(spent["prevout"]["scriptPubKey"])
    if not is_coinbase:
        paid = sum(i["prevout"]["value"] for i in tx["vin"]) - sum(o["value"] for o in tx["vout"])
        assert abs(paid - tx["fee"]) < 1e-7, (paid, tx["fee"])


def block_is_shown(block):
    assert block.keys() - {"reorg_odds", "nextblockhash"} == BLOCK_FIELDS, block.keys()
    assert (block["confirmations"] == 1) == ("nextblockhash" not in block)
    assert block["coinbase_tx"]["coinbase"] == block["tx"][0]["vin"][0]["coinbase"]
    for i, tx in enumerate(block["tx"]):
        tx_is_shown(tx, i == 0)


def shows(place):
    chain = Chain(SMALL)
    path = write(place.path("chain.dat"), chain.raw)
    bitcoin(place, "import", path, "--keep-going")
    block = bitcoin(place, "block", chain.facts["tip"], "--json")
    assert block["height"] == 150 and block["confirmations"] == 1 and block["nTx"] == len(block["tx"])
    assert "fee" not in block["tx"][0] and all(t["fee"] >= 0 for t in block["tx"][1:])
    kinds = set()
    for height in range(101, 151):
        shown = bitcoin(place, "block", str(height), "--json")
        block_is_shown(shown)
        kinds |= {out["scriptPubKey"]["type"] for tx in shown["tx"] for out in tx["vout"]}
    assert len(kinds) > 3, kinds
    txid = block["tx"][-1]["txid"]
    tx = bitcoin(place, "tx", txid, "--json")
    assert tx["blockhash"] == block["hash"] and tx["hex"] == block["tx"][-1]["hex"]
    assert tx["vin"] == block["tx"][-1]["vin"] and tx["fee"] == block["tx"][-1]["fee"]
    assert tx["time"] == tx["blocktime"] == block["time"] and tx["confirmations"] == 1
    assert bitcoin(place, "tx", txid, "--block", "150", "--json") == tx | {"in_active_chain": True}
    stale = [b for b in chain.facts["branches"] if b["type"] == "lose-equal"][-1]["side"][-1]
    aside = bitcoin(place, "block", stale, "--json")
    assert aside["confirmations"] == -1 and "nextblockhash" not in aside
    lost = bitcoin(place, "tx", aside["tx"][0]["txid"], "--block", stale, "--json")
    assert lost["confirmations"] == 0 and lost["in_active_chain"] is False and "time" not in lost
    bitcoin(place, "tx", txid, "--block", "149", expect=1)
    bitcoin(place, "block", "151", expect=1)
    bitcoin(place, "block", "zz", expect=1)
    odds = bitcoin_plain("confirmations", "6", "--attacker", "0.1", "--json")
    assert abs(odds["nakamoto"] - 0.0002428) < 1e-6 and abs(odds["exact"] - 0.0005914) < 1e-6, odds
    bitcoin(place, "nonsense", expect=2)
    bitcoin(place, "info", "--prune", "1M", expect=2)
    bitcoin(place, "import", expect=2)
    bitcoin(place, "import", place.path("absent.dat"), expect=1)


def reindexed(place):
    chain = Chain(SMALL)
    path = write(place.path("chain.dat"), chain.raw)
    bitcoin(place, "import", path, "--keep-going", "--one-by-one")
    bitcoin(place, "reindex")
    same_end(place, chain.facts)
    folder = os.path.join(place.path("chain"), "regtest")
    # The index damaged, then gone.
    with open(os.path.join(folder, "index", "index.log"), "r+b") as f:
        f.seek(200)
        f.write(b"xxxx")
    assert "reindex" in bitcoin(place, "info", expect=1)
    bitcoin(place, "reindex")
    same_end(place, chain.facts)
    os.remove(os.path.join(folder, "blocks", "files.log"))
    assert "reindex" in bitcoin(place, "info", expect=1)
    bitcoin(place, "reindex")
    same_end(place, chain.facts)
    # A block damaged on disk: named, left out, and brought back by another import.
    with open(os.path.join(folder, "blocks", "blk00000.dat"), "r+b") as f:
        f.seek(os.path.getsize(f.name) // 2)
        f.write(bytes(8))
    text = bitcoin(place, "reindex")
    assert "blk00000.dat: offset" in text and "left out" in text, text
    assert bitcoin(place, "info", "--json")["blocks"] < 150
    bitcoin(place, "import", path, "--keep-going")
    same_end(place, chain.facts)


def one_at_a_time(place):
    chain = Chain(SMALL)
    path = write(place.path("chain.dat"), chain.raw)
    run = start_import(place, path, 3)
    assert "in use" in bitcoin(place, "info", expect=1)
    run.wait(120)


def mixed_chain(place):
    chain = Chain(MIXED)
    path = write(place.path("chain.dat"), chain.raw)
    bitcoin(place, "import", path, "--keep-going", "--coins-cache", "2M", seconds=280)
    same_end(place, chain.facts)


main([small_chain_in_order, after_each_block, stops_at_an_invalid_block, any_order, other_peoples_files, interrupted,
      what_the_user_says, snapshots, shows, reindexed, one_at_a_time, killed, mixed_chain])
