#!/usr/bin/env python3
"""check-files: small rules that every text file of ours keeps.

usage: check-files.py [ROOT]

C files have at most 1000 lines and no tabs; no file has trailing blanks, CR LF, a missing last newline,
or a note that says it is not finished.
"""

import os
import re
import subprocess
import sys

LINES_MAX = 1000
TEXT = (".c", ".h", ".py", ".sh", ".md", ".build", ".txt", ".1", ".in")
NOT_OURS = ("tests/vectors/", "fuzz/corpus/")
# Spelled apart, so that this file does not find itself. The first is also a fine name for a state,
# so it counts where a comment begins with it or it is followed by a colon.
UNFINISHED = re.compile(r"(/\*|//|#)\s*TO" r"DO\b|\bTO" r"DO[:(]|\b(FIX" r"ME|XX" r"X)\b")


def listed(root):
    """What git tracks; without git, everything outside of build folders."""
    git = subprocess.run(["git", "-C", root, "ls-files", "-z"], capture_output=True, check=False)
    if git.returncode == 0:
        return [name for name in git.stdout.decode().split("\0") if name]
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith((".", "build"))]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return found


def complaints_of(name, text):
    lines = text.split("\n")
    if name.endswith((".c", ".h")):
        if len(lines) - 1 > LINES_MAX:
            yield f"{name}: {len(lines) - 1} lines; at most {LINES_MAX}"
        if "\t" in text:
            yield f"{name}: has a tab"
    if text and not text.endswith("\n"):
        yield f"{name}: no newline at the end"
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield f"{name}:{number}: trailing blanks"
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            yield f"{name}:{number}: a merge was left half done"
        if UNFINISHED.search(line):
            yield f"{name}:{number}: not finished: {line.strip()}"


def main(root):
    complaints, n = [], 0
    for name in listed(root):
        path = os.path.join(root, name)
        is_text = name.endswith(TEXT) or os.path.basename(name) in ("Makefile", "run")
        if not is_text or name.startswith(NOT_OURS) or not os.path.isfile(path):
            continue
        with open(path, encoding="utf-8", newline="") as f:
            complaints += complaints_of(name, f.read())
        n += 1
    print("\n".join(complaints) or f"{n} files are in order")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
