#!/usr/bin/env python3
"""summarize-tests: counts the results in meson's testlog.json files.

usage: summarize-tests.py LOG...

Prints the names of the tests that failed, and as its last line "N passed, N failed" with ", N skipped" when there
are some. A log that is missing or empty counts as one failure. Exits 1 if anything failed, or nothing ran.
"""

import json
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP"}


def results(path):
    """Pairs of test name and result, from a log with one JSON object per line."""
    with open(path, encoding="utf-8", errors="replace") as log:
        for line in log:
            if line.strip():
                test = json.loads(line)
                yield test["name"], test["result"]


def main(paths):
    passed, skipped, failed = 0, [], []
    for path in paths:
        try:
            found = list(results(path))
        except (OSError, ValueError, KeyError) as error:
            found = []
            print(f"{path}: {error}", file=sys.stderr)
        if not found:
            failed.append(f"{path} (no results: was it built?)")
        for name, result in found:
            if result in PASSED:
                passed += 1
            elif result in SKIPPED:
                skipped.append(name)
            else:
                failed.append(f"{name} ({result}) [{path}]")
    for name in skipped:
        print(f"skipped: {name}")
    for name in failed:
        print(f"failed: {name}")
    print(f"{passed} passed, {len(failed)} failed" + (f", {len(skipped)} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
