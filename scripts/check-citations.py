#!/usr/bin/env python3
"""check-citations: which sections of which specification are obeyed where.

usage: check-citations.py [--check] [ROOT]

Reads comments of the form  BEP 52, "Upgrade path"  or  BEP 15, time outs:  in src/ and prints a table:
specification, section, files. With --check: prints where that and the first table of docs/protocols.md disagree (a
specification that is cited and not in the table, or in the table and cited nowhere, or a module that is named
there and does not exist), and exits 1 if they do.
"""

import collections
import glob
import os
import re
import sys

PROTOCOLS = "docs/protocols.md"
ROW = re.compile(r"^\| ([\d, ]+) \| (.*) \| (.*) \|$", re.MULTILINE)
CITATION = re.compile(r'\bBEPs? (\d+)((?:(?:,| and|,? or) \d+\b)*)'
                      r'((?:, "[^"]+"(?: and "[^"]+")*)|(?:, [A-Za-z][A-Za-z\' -]{2,40}(?=:)))?')


def unwrapped(text):
    """Comments that run over several lines become one."""
    return re.sub(r"\n\s*(?:\*|//)?\s*", " ", text)


def citations(text):
    """(number, section) pairs; the section is '' when only the number is named."""
    for match in CITATION.finditer(unwrapped(text)):
        numbers = [int(match[1])] + [int(n) for n in re.findall(r"\d+", match[2])]
        tail = match[3] or ""
        sections = re.findall(r'"([^"]+)"', tail) or [tail[2:]]
        for number in numbers:
            for section in sections:
                yield number, section.lower()


def spoken(root):
    """What docs/protocols.md says: number to (what, modules)."""
    with open(os.path.join(root, PROTOCOLS), encoding="utf-8") as f:
        rows = ROW.findall(f.read())
    return {int(n): (what, re.findall(r"`([^`]+)`", where)) for ns, what, where in rows for n in ns.split(",")}


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


def print_table(found, claims):
    for number in sorted(found):
        print(f"BEP {number}: {claims.get(number, ('?', []))[0]}")
        for section in sorted(found[number]):
            print(f"    {section or '(no section named)'}: {', '.join(sorted(found[number][section]))}")


def disagreements(root, found, claims):
    for number in sorted(set(found) - set(claims)):
        files = sorted(set().union(*found[number].values()))
        yield f"BEP {number} is cited in {', '.join(files)} and is not in {PROTOCOLS}"
    for number, (what, modules) in sorted(claims.items()):
        if number not in found:
            yield f"BEP {number} ({what}): {PROTOCOLS} has it, yet no file of src/ cites it"
        for module in modules:
            if not (glob.glob(os.path.join(root, "src", module + ".*")) or
                    glob.glob(os.path.join(root, "src", "*", module + ".*"))):
                yield f"BEP {number}: {PROTOCOLS} names `{module}`, which is not in src/"


def main(arguments):
    is_check = "--check" in arguments
    rest = [a for a in arguments if a != "--check"]
    root = rest[0] if rest else "."
    found, claims = collect(root, "src"), spoken(root)
    if not is_check:
        print_table(found, claims)
        return 0
    complaints = list(disagreements(root, found, claims))
    n_sections = sum(1 for number in found for section in found[number] if section)
    print("\n".join(complaints) or f"{len(found)} specifications, {n_sections} sections cited")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
