#!/usr/bin/env python3
"""check-citations: which sections of which specification are obeyed where.

usage: check-citations.py [--check] [ROOT]

Reads comments of the form  BEP 52, "Upgrade path"  in src/ and tests/ and prints a table: specification, section,
files. With --check: prints what is wrong (a number that no specification of ours has, a specification
that shoal claims to speak and no source file cites) and exits 1 if anything is.
"""

import collections
import os
import re
import sys

# The specifications that shoal speaks (docs/protocols.md); None: cited, though not spoken as a whole.
BEPS = {
    3: "The BitTorrent protocol",
    6: "Fast extension",
    7: "IPv6 tracker extension",
    9: "Metadata exchange",
    10: "Extension protocol",
    11: "Peer exchange",
    12: "Multitracker metadata",
    15: "UDP trackers",
    19: "Web seeds",
    20: "Peer id conventions",
    21: "Partial seeds",
    23: "Compact peer lists",
    24: "Tracker returns external IP",
    27: "Private torrents",
    31: "Tracker failure retry",
    40: "Canonical peer priority",
    41: "UDP tracker extensions",
    47: "Pad files and attributes",
    48: "Scrape",
    52: "BitTorrent v2",
    53: "Magnet file selection",
    54: "lt_donthave",
    5: None,
    8: None,
    14: None,
    17: None,
    29: None,
    32: None,
    38: None,
    43: None,
    55: None,
}

CITATION = re.compile(r'\bBEPs? (\d+)((?:(?:,| and|,? or) \d+\b)*)((?:, "[^"]+"(?: and "[^"]+")*)?)')


def unwrapped(text):
    """Comments that run over several lines become one."""
    return re.sub(r"\n\s*(?:\*|//)?\s*", " ", text)


def citations(text):
    """(number, section) pairs; the section is '' when only the number is named."""
    for match in CITATION.finditer(unwrapped(text)):
        numbers = [int(match[1])] + [int(n) for n in re.findall(r"\d+", match[2])]
        sections = re.findall(r'"([^"]+)"', match[3]) or [""]
        for number in numbers:
            for section in sections:
                yield number, section


def collect(root, top):
    found = collections.defaultdict(lambda: collections.defaultdict(set))
    for folder, _, names in os.walk(os.path.join(root, top)):
        for name in names:
            if name.endswith((".c", ".h", ".py")):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as f:
                    for number, section in citations(f.read()):
                        found[number][section].add(os.path.relpath(path, root))
    return found


def print_table(found):
    for number in sorted(found):
        print(f"BEP {number}: {BEPS.get(number) or '(not spoken as a whole)'}")
        for section in sorted(found[number]):
            print(f"    {section or '(no section named)'}: {', '.join(sorted(found[number][section]))}")


def main(arguments):
    is_check = "--check" in arguments
    rest = [a for a in arguments if a != "--check"]
    root = rest[0] if rest else "."
    found = collect(root, "src")
    if not is_check:
        print_table(found)
        return 0
    complaints = [f"BEP {n} is cited in {', '.join(sorted(set().union(*found[n].values())))}: no such one of ours"
                  for n in sorted(found) if n not in BEPS]
    complaints += [f"BEP {n} ({title}): shoal speaks it, yet no file of src/ cites it"
                   for n, title in sorted(BEPS.items()) if title and n not in found]
    n_sections = sum(1 for number in found for section in found[number] if section)
    print("\n".join(complaints) or f"{len(found)} specifications, {n_sections} sections cited")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
