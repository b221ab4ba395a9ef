#!/usr/bin/env python3
"""check-includes: reads the #include lines of src/ and include/ and holds them to the floors of
docs/architecture.md: a file sees its own floor and what lies below.

usage: check-includes.py [ROOT]
"""

import os
import re
import sys

# What each floor may include, besides itself. An entry with a slash is that one header.
FLOORS = {
    "base": [],
    "crypto": ["base"],
    "torrent": ["base", "crypto"],
    "chain": ["base", "crypto"],
    # The store knows torrents as data (where bytes lie, what is asked), nothing of the engine.
    "store": ["base", "crypto", "torrent/layout.h", "torrent/merkle.h", "torrent/metainfo.h",
              "torrent/metainfo_build.h", "torrent/host.h",
              "chain/primitives.h", "chain/coin.h", "chain/coins_store.h", "chain/block_record.h",
              "chain/chain_store.h"],
    "io": ["base", "crypto", "torrent", "chain", "store"],
    "sim": ["base", "crypto", "torrent", "chain", "store"],
    "lib": ["base", "crypto", "torrent", "store", "io", "sim", "shoal"],
    "cli": ["base", "crypto", "torrent", "chain", "store", "io", "sim", "lib", "shoal"],
}

# An outside library is wrapped once: the folders that may see its headers.
LIBRARIES = {
    "openssl/": ["crypto"],
    "uv.h": ["io"],
    "curl/": ["io"],
    "microhttpd.h": ["io"],
    "sqlite3.h": ["store"],
    "rocksdb/": ["store"],
    "secp256k1": ["crypto"],
    "gmp.h": ["crypto"],
    "jansson.h": ["cli", "lib"],
}

# Engines have never heard of sockets, files, clocks or threads.
NOT_IN_ENGINES = re.compile(
    r"^(sys/(socket|stat|time|types|uio|epoll|random|mman|file|select|poll|ioctl)|netinet/.*|arpa/.*|netdb|"
    r"unistd|fcntl|pthread|threads|stdatomic|time|signal|poll|dirent|locale)\.h$")
ENGINES = ["torrent", "chain", "base"]
# A table that many checking threads share needs atomics; it starts no thread and waits for none.
ATOMICS_MAY = {"chain/script_cache.c", "chain/script_cache.h"}

# Public headers need nothing but the language.
PUBLIC_MAY = {"stddef.h", "stdint.h", "stdbool.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def includes(path):
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match[1] == "<", match[2]


def judge_quoted(floor, target):
    allowed = FLOORS[floor] + [floor]
    if target in allowed or target.split("/")[0] in allowed:
        return None
    return f"{floor}/ may not include {target}"


def judge_system(floor, name, target):
    for library, floors in LIBRARIES.items():
        if target.startswith(library) and floor not in floors:
            return f"<{target}> belongs to {', '.join(floors)}/ alone"
    if target == "stdatomic.h" and name in ATOMICS_MAY:
        return None
    if floor in ENGINES and NOT_IN_ENGINES.match(target):
        return f"{floor}/ is sans-IO and may not include <{target}>"
    return None


def judge_public(is_system, target):
    if is_system and target in PUBLIC_MAY:
        return None
    if target.startswith("shoal/"):
        return None
    return f"a public header may not include {target}"


def sources(top):
    for folder, _, names in os.walk(top):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.join(folder, name)


def main(root):
    complaints, n = [], 0
    for path in sources(os.path.join(root, "src")):
        name = os.path.relpath(path, os.path.join(root, "src"))
        floor = name.split(os.sep)[0]
        if floor not in FLOORS:
            complaints.append(f"{path}: no rule for floor {floor}/ in check-includes.py")
            continue
        for number, is_system, target in includes(path):
            n += 1
            complaint = judge_system(floor, name, target) if is_system else judge_quoted(floor, target)
            if complaint:
                complaints.append(f"{path}:{number}: {complaint}")
    for path in sources(os.path.join(root, "include")):
        for number, is_system, target in includes(path):
            n += 1
            complaint = judge_public(is_system, target)
            if complaint:
                complaints.append(f"{path}:{number}: {complaint}")
    print("\n".join(complaints) or f"{n} includes point down")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
