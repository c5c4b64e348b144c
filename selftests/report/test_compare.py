#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tests of compare.py."""

import unittest

from compare import compare
from results import Result


def run(suite, **statuses):
    return [
        Result(status, suite, f"iommufd: {test}")
        for test, status in statuses.items()
    ]


class Compare(unittest.TestCase):
    def statuses(self, *runs):
        return {r.test: r.status for r in compare(list(runs))}

    def test_same(self):
        found = self.statuses(
            run("one", a="pass", b="skip", c="fail"),
            run("two", a="pass", b="skip", c="fail"),
        )
        self.assertEqual(
            found,
            {"iommufd: a": "pass", "iommufd: b": "skip", "iommufd: c": "skip"},
        )

    def test_other_result(self):
        for other in ("fail", "skip"):
            found = compare([run("one", a="pass"), run("two", a=other)])
            self.assertEqual([r.status for r in found], ["fail"])
            self.assertEqual(found[0].reason, f"one: pass, two: {other}")

    def test_missing(self):
        one, both = run("one", a="pass"), run("two", a="pass", b="pass")
        self.assertEqual(self.statuses(one, both)["iommufd: b"], "fail")
        self.assertEqual(self.statuses(both, one)["iommufd: b"], "fail")

    def test_findings_of_all_runs_fail(self):
        log = "kernel log, iommufd"
        runs = [
            run(suite, a="pass") + [Result("fail", suite, log, "WARNING: x")]
            for suite in ("one", "two")
        ]
        found = compare(runs)
        self.assertEqual([r.status for r in found], ["fail", "fail", "pass"])

    def test_no_results_fail(self):
        empty = [Result("fail", "two", "(run)", "no test ran")]
        found = [r.status for r in compare([run("one", a="pass"), empty])]
        self.assertEqual(found, ["fail", "fail", "pass"])


if __name__ == "__main__":
    unittest.main()
