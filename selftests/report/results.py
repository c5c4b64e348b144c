#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The results of test runs, and their summary.

A run (a suite) leaves a file of lines

    status TAB suite TAB test TAB reason

with status pass, fail or skip. As a program:

    results.py summary FILE...

prints what failed, why tests were skipped, and last of all
`N passed, N failed, N skipped`. A FILE that is missing or empty is a failure:
a run that says nothing has not passed. Exit status 1 if anything failed.
"""

import collections
import pathlib
import sys
from typing import NamedTuple

STATUSES = ("pass", "fail", "skip")


class Result(NamedTuple):
    status: str
    suite: str
    test: str
    reason: str = ""


def clean(text):
    """One field of a line."""
    return " ".join(text.split())


def write(path, results):
    with open(path, "w", encoding="utf-8") as file:
        for result in results:
            assert result.status in STATUSES, result
            file.write("\t".join(map(clean, result)) + "\n")


def read(path):
    """The results in a file; one that holds none is a failure."""
    suite = pathlib.Path(path).stem
    try:
        with open(path, encoding="utf-8") as file:
            results = [Result(*line.rstrip("\n").split("\t")) for line in file]
    except OSError as error:
        return [Result("fail", suite, "(run)", f"no results: {error.strerror}")]
    except TypeError:
        return [Result("fail", suite, "(run)", "malformed results")]
    if not results:
        return [Result("fail", suite, "(run)", "no test ran")]
    return results


def count(results):
    found = collections.Counter(result.status for result in results)
    return tuple(found[status] for status in STATUSES)


def summary(paths, out=sys.stdout):
    results = [result for path in paths for result in read(path)]
    # A reason for skips in many places is printed once.
    skips = collections.defaultdict(list)
    for result in results:
        if result.status == "skip":
            skips[result.reason or "no reason given"].append(result)
    for reason, skipped in skips.items():
        where = ", ".join(sorted({result.suite for result in skipped}))
        print(f"SKIP {len(skipped)} in {where}: {reason}", file=out)
    for result in results:
        if result.status == "fail":
            print(
                f"FAIL {result.suite}: {result.test}: {result.reason}", file=out
            )
    passed, failed, skipped = count(results)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", file=out)
    return 1 if failed or not results else 0


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] != "summary":
        sys.exit(__doc__)
    sys.exit(summary(sys.argv[2:]))
