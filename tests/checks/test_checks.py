#!/usr/bin/env python3
"""The checks of scripts/ find what they are there to find: each is given a small tree with one fault."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts")


def run(script, *arguments, **kwargs):
    return subprocess.run([os.path.join(SCRIPTS, script), *arguments], capture_output=True, text=True, check=False,
                          **kwargs)


class Tree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="shoal-checks-")
        self.root = self.folder.name
        self.addCleanup(self.folder.cleanup)

    def write(self, name, text):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path


class Counters(Tree):
    def test_counted_and_tested(self):
        self.write("src/torrent/session_counters.h", '    X(one, "x") \\\n    X(two, "y")\n')
        self.write("src/torrent/a.c", "COUNT(p->s, one);\n")
        self.write("tests/unit/a.c", 'counter("one"); counter("two")\n')
        self.assertIn("two is never counted", run("check-counters.py", self.root).stdout)
        self.write("src/torrent/a.c", "COUNT(p->s, one);\nCOUNT_N(t->s, two, 3);\n")
        self.assertEqual(run("check-counters.py", self.root).returncode, 0)
        self.write("tests/unit/a.c", 'counter("one");\n')
        self.assertIn("two is in no test", run("check-counters.py", self.root).stdout)


class Includes(Tree):
    def judge(self, name, line):
        path = self.write(name, line + "\n")
        ran = run("check-includes.py", self.root)
        os.remove(path)
        return ran.returncode

    def test_arrows(self):
        self.assertEqual(self.judge("src/torrent/a.c", '#include "base/bytes.h"'), 0)
        self.assertEqual(self.judge("src/base/a.c", '#include "torrent/session.h"'), 1)
        self.assertEqual(self.judge("src/torrent/a.c", '#include "io/loop.h"'), 1)
        self.assertEqual(self.judge("src/torrent/a.c", '#include "store/file_store.h"'), 1)
        self.assertEqual(self.judge("src/io/a.c", '#include "sim/world.h"'), 1)
        self.assertEqual(self.judge("src/lib/a.c", '#include "io/loop.h"'), 0)
        self.assertEqual(self.judge("src/new/a.c", '#include "base/bytes.h"'), 1)

    def test_store_sees_torrents_as_data(self):
        self.assertEqual(self.judge("src/store/a.c", '#include "torrent/layout.h"'), 0)
        self.assertEqual(self.judge("src/store/a.c", '#include "torrent/session.h"'), 1)

    def test_libraries_and_system(self):
        self.assertEqual(self.judge("src/io/a.c", "#include <uv.h>"), 0)
        self.assertEqual(self.judge("src/lib/a.c", "#include <uv.h>"), 1)
        self.assertEqual(self.judge("src/torrent/a.c", "#include <openssl/sha.h>"), 1)
        self.assertEqual(self.judge("src/torrent/a.c", "#include <sys/socket.h>"), 1)
        self.assertEqual(self.judge("src/torrent/a.c", "#  include <pthread.h>"), 1)
        self.assertEqual(self.judge("src/store/a.c", "#include <fcntl.h>"), 0)

    def test_public(self):
        self.assertEqual(self.judge("include/shoal/a.h", "#include <stdint.h>"), 0)
        self.assertEqual(self.judge("include/shoal/a.h", "#include <uv.h>"), 1)
        self.assertEqual(self.judge("include/shoal/a.h", '#include "base/bytes.h"'), 1)


class Files(Tree):
    def judge(self, name, text):
        path = self.write(name, text)
        ran = run("check-files.py", self.root)
        os.remove(path)
        return ran.returncode

    def test_rules(self):
        self.assertEqual(self.judge("a.c", "int a;\n" * 1000), 0)
        self.assertEqual(self.judge("a.c", "int a;\n" * 1001), 1)
        self.assertEqual(self.judge("a.c", "\tint a;\n"), 1)
        self.assertEqual(self.judge("a.md", "text \n"), 1)
        self.assertEqual(self.judge("a.md", "text"), 1)
        self.assertEqual(self.judge("a.md", "<<<<<<< HEAD\n"), 1)
        self.assertEqual(self.judge("a.md", "text\r\n"), 1)
        self.assertEqual(self.judge("a.c", "/* TO" "DO */\n"), 1)
        self.assertEqual(self.judge("a.c", "x = 1; /* later. TO" "DO: y */\n"), 1)
        self.assertEqual(self.judge("a.c", "/* FIX" "ME */\n"), 1)
        self.assertEqual(self.judge("a.c", " * TO" "DO ----> OUT is a state\n"), 0)
        self.assertEqual(self.judge("tests/vectors/a.c", "text \r\n"), 0)


class Citations(Tree):
    def claim(self, *rows):
        self.write("docs/protocols.md", "| BEP | what | where |\n| --- | --- | --- |\n" + "".join(r + "\n" for r in rows))

    def test_table(self):
        self.claim("| 3 | the protocol | `a` |")
        self.write("src/a.c", '/* BEP 52, "Upgrade path" and "hash request": so.\n * Also BEP 3, 6 and\n * 10. '
                   "BEP 15, time outs: 15 s. */\n")
        table = run("check-citations.py", self.root).stdout
        for section in ("upgrade path", "hash request", "time outs"):
            self.assertIn(f"    {section}: src/a.c", table)
        for number in (3, 6, 10, 15, 52):
            self.assertIn(f"BEP {number}:", table)

    def test_agreement(self):
        self.claim("| 3 | the protocol | `a` |", "| 7, 23 | compact answers | `a` |")
        self.write("src/x/a.c", "/* BEP 3, 7 and 23 */\n")
        self.assertEqual(run("check-citations.py", "--check", self.root).returncode, 0)

    def test_disagreement(self):
        self.claim("| 3 | the protocol | `a` |", "| 52 | v2 | `gone` |")
        self.write("src/x/a.c", "/* BEP 3, BEP 999 */\n")
        ran = run("check-citations.py", "--check", self.root)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("BEP 999 is cited in src/x/a.c", ran.stdout)
        self.assertIn("BEP 52 (v2): docs/protocols.md has it, yet no file", ran.stdout)
        self.assertIn("`gone`, which is not in src/", ran.stdout)


class Documents(Tree):
    def judge(self, text):
        self.write("Makefile", "check:\n\ttrue\n")
        self.write("README.md", text)
        return run("check-docs.py", "--root", self.root).returncode

    def test_links_paths_targets(self):
        self.assertEqual(self.judge("[a](Makefile) [b](https://example.org/x) `make check` `src/*.c`\n"), 0)
        self.assertEqual(self.judge("[a](docs/none.md)\n"), 1)
        self.assertEqual(self.judge("`src/none.c`\n"), 1)
        self.assertEqual(self.judge("`make nothing`\n"), 1)
        self.assertEqual(self.judge("```\nmake nothing\n```\n"), 1)


class Summary(Tree):
    def summarize(self, *logs):
        paths = []
        for i, log in enumerate(logs):
            lines = "".join(json.dumps({"name": f"t{j}", "result": result}) + "\n" for j, result in enumerate(log))
            paths.append(self.write(f"{i}.json", lines))
        ran = run("summarize-tests.py", *paths)
        return ran.returncode, ran.stdout.splitlines()[-1]

    def test_counts(self):
        self.assertEqual(self.summarize(["OK", "OK"]), (0, "2 passed, 0 failed"))
        self.assertEqual(self.summarize(["OK", "SKIP"]), (0, "1 passed, 0 failed, 1 skipped"))
        self.assertEqual(self.summarize(["OK"], ["FAIL", "TIMEOUT", "ERROR"]), (1, "1 passed, 3 failed"))
        self.assertEqual(self.summarize(["OK", "UNEXPECTEDPASS", "INTERRUPT"]), (1, "1 passed, 2 failed"))

    def test_nothing_is_not_success(self):
        self.assertEqual(self.summarize(["OK"], []), (1, "1 passed, 1 failed"))
        ran = run("summarize-tests.py", os.path.join(self.root, "none.json"))
        self.assertEqual((ran.returncode, ran.stdout.splitlines()[-1]), (1, "0 passed, 1 failed"))
        ran = run("summarize-tests.py", self.write("broken.json", "{"))
        self.assertEqual(ran.returncode, 1)


class Packages(unittest.TestCase):
    def test_table_is_well_formed(self):
        with open(os.path.join(SCRIPTS, "packages.txt"), encoding="utf-8") as f:
            rows = [line.split(None, 3) for line in f if line.strip() and not line.startswith("#")]
        for group, package, probe, what in rows:
            self.assertIn(group, ("build", "test", "dev"))
            self.assertRegex(package, r"^[a-z0-9][a-z0-9.+-]+$")
            self.assertRegex(probe, r"^(pc|cmd|py|file):\S+$")
            self.assertTrue(what.strip())

    def test_missing_is_said(self):
        ran = run("check-deps.sh", "build", env={"PATH": "/nonexistent:/usr/bin:/bin"})
        self.assertIn(ran.returncode, (0, 1))
        ran = run("install-deps.sh", "nonsense")
        self.assertEqual(ran.returncode, 2)


if __name__ == "__main__":
    sys.exit(unittest.main())
