# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the table that `make bench-sync` makes of its results."""

import pathlib
import tempfile
import unittest

import sync

LINES = (
    ("case", "nic", "strict", "type1", "1", "18000.00", "2.000", "2.000"),
    ("case", "nvme", "strict", "type1", "32", "10000.00", "2.000", "2.000"),
    ("part", "type1", "a page is mapped", "9000"),
    ("case", "nic", "strict", "ring", "1", "9010.00", "0.000", "2.000"),
    ("case", "nvme", "strict", "ring", "32", "2000.00", "0.001", "2.000"),
    ("case", "nic", "strict", "guest alone", "1", "500.00", "0.000", "0.000"),
    ("missing", "tracked", "Operation not supported"),
)


class Sync(unittest.TestCase):
    def setUp(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "sync.tsv")
            path.write_text("\n".join(map("\t".join, LINES)), encoding="utf-8")
            self.found = sync.read(path, "intel-iommu")
        sync.compare(self.found["cases"])

    def words(self, way, pattern):
        cases = self.found["cases"]
        return [
            sync.judgement(c)
            for c in cases
            if (c["way"], c["pattern"]) == (way, pattern)
        ]

    def test_judgement(self):
        exits = "(no exit to user space)"
        self.assertEqual(
            self.words("ring", "nic"), [f"MISSED (>= 2), reached {exits}"]
        )
        self.assertEqual(
            self.words("ring", "nvme"), [f"reached (>= 5), MISSED {exits}"]
        )
        self.assertEqual(self.words("type1", "nic"), [""])
        self.assertEqual(self.words("guest alone", "nic"), [""])

    def test_tables(self):
        lines = list(sync.case_table(self.found["cases"]))
        self.assertEqual(
            [line[2] for line in lines[1:]],
            ["type1", "ring", "guest alone", "type1", "ring"],
        )
        self.assertEqual(lines[2][4], "2.00")
        parts = list(sync.part_table(self.found["parts"]))
        self.assertEqual(parts[1:], [("type1", "a page is mapped", "9000")])

    def test_missing(self):
        self.assertEqual(len(self.found["missing"]), 1)
        self.assertEqual(self.found["missing"][0]["way"], "tracked")


if __name__ == "__main__":
    unittest.main()
