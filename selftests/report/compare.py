#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Whether tests have the same result in several runs.

    compare.py OUT FIRST OTHER...

FIRST and OTHER are results of runs (see results.py) of the same programs. Each test
is one result in OUT: it passes if it passes in all runs; it is skipped if it is
skipped in all, or if it fails in all, as it then fails for another cause than what
differs between the runs; else it fails. What is no test point but a finding of its
run (a warning of the kernel, a leak, a program that does not end) fails, whatever
happens in the other runs.
"""

import pathlib
import sys

import results
from results import Result


def is_point(result):
    """Whether a result is a TAP point, "PROGRAM: TEST" (vm.py)."""
    return ": " in result.test


def compare(runs):
    """The results of a comparison; runs is a list of lists of results."""
    found, points, suites = [], [], []
    for run in runs:
        found += [r for r in run if not is_point(r) and r.status != "pass"]
        if each := {r.test: r for r in run if is_point(r)}:
            suites.append(run[0].suite)
            points.append(each)
        else:
            found.append(Result("fail", run[0].suite, "(run)", "no test points"))
    for test in dict.fromkeys(name for run in points for name in run):
        each = [run.get(test) for run in points]
        statuses = {r.status if r else "missing" for r in each}
        if len(statuses) > 1:
            reason = ", ".join(
                f"{suite}: {r.status + ' ' + r.reason if r else 'missing'}".strip()
                for suite, r in zip(suites, each)
            )
            found.append(Result("fail", "compare", test, reason))
        elif "fail" in statuses:
            reason = f"fails in all runs: {each[0].reason}"
            found.append(Result("skip", "compare", test, reason))
        else:
            found.append(Result(each[0].status, "compare", test, each[0].reason))
    return found


def main(out, *files):
    found = compare([results.read(file) for file in files])
    pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
    results.write(out, found)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
