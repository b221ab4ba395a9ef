#!/usr/bin/env python3
"""check-docs: what the documents say exists does exist.

usage: check-docs.py [--root ROOT] [SHOAL]

Relative links and paths in *.md lead somewhere, and every `make WORD` is a target of the Makefile. With the path
of the program also: every command of its help is in the man page, and every option that the man page
names is in the help of some command. The man page is read by mandoc if that is installed.
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
MAKE = re.compile(r"(?:^|[`$]\s*)make ((?:[a-z][a-z-]*\s*)+)(?=[`#]|$)", re.MULTILINE)
PATH = re.compile(r"^(?:src|scripts|tests|docs|bench|fuzz|examples|include|man)/[\w./-]+$")
COMMAND = re.compile(r"^  ([a-z][a-z-]*)\s", re.MULTILINE)
OPTION = re.compile(r"--[a-z0-9][a-z0-9-]*")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def targets(root):
    return set(re.findall(r"^([a-z-]+):", read(os.path.join(root, "Makefile")), re.MULTILINE))


def check_markdown(root, path, make_targets):
    text, name = read(path), os.path.relpath(path, root)
    for link in LINK.findall(text):
        target = link.split("#")[0]
        if target and "://" not in target and not os.path.exists(os.path.join(os.path.dirname(path), target)):
            yield f"{name}: link to {target}, which is not there"
    for code in CODE.findall(text):
        if PATH.match(code) and not os.path.exists(os.path.join(root, code)):
            yield f"{name}: names {code}, which is not there"
    for words in MAKE.findall(text):
        for word in words.split():
            if word not in make_targets:
                yield f"{name}: names `make {word}`, which the Makefile has not"


def help_of(shoal, *command):
    ran = subprocess.run([shoal, *command, "--help"], capture_output=True, text=True, timeout=20, check=False)
    return ran.stdout + ran.stderr


def check_program(shoal, man):
    text = man.replace("\\-", "-")
    commands = COMMAND.findall(help_of(shoal))
    if not commands:
        yield f"{shoal} --help lists no commands"
    known = set(OPTION.findall(help_of(shoal)))
    for command in commands:
        own = help_of(shoal, command)
        known |= set(OPTION.findall(own))
        if "COMMAND" in own.split("\n")[0]:  # one with commands of its own
            for inner in COMMAND.findall(own):
                known |= set(OPTION.findall(help_of(shoal, command, inner)))
                if not re.search(rf"\b{inner}\b", text):
                    yield f"man page: has no {command} {inner}"
        if f"shoal {command}" not in text:
            yield f"man page: has no \"shoal {command}\""
    for option in sorted(set(OPTION.findall(text)) - known):
        yield f"man page: names {option}, which no command has"


def check_man(path):
    if not shutil.which("mandoc"):
        return
    ran = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True, check=False)
    yield from ran.stdout.splitlines()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", default=".")
    parser.add_argument("shoal", nargs="?")
    arguments = parser.parse_args()
    root, complaints = arguments.root, []
    documents = glob.glob(os.path.join(root, "*.md")) + glob.glob(os.path.join(root, "docs", "*.md"))
    for path in sorted(documents):
        complaints += check_markdown(root, path, targets(root))
    for path in sorted(glob.glob(os.path.join(root, "man", "*.1"))):
        complaints += check_man(path)
    man = os.path.join(root, "man", "shoal.1")
    if arguments.shoal and os.path.exists(man):
        complaints += check_program(arguments.shoal, read(man))
    print("\n".join(complaints) or f"{len(documents)} documents agree with the tree")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
