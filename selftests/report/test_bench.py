# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the table that is made of the benchmarks' results."""

import pathlib
import tempfile
import unittest

import bench

LINES = """\
scattered\tpair\tpage\tfloor\tmap, unmap\t500.00\t600.00
scattered\tpair\tpage\tfloor\tmap_sg, unmap\t400.00\t100.00
scattered\tpair\tpage\ttype1\ta call for each leaf\t3000.00\t1500.00
scattered\tpair\tpage\ttype1\tat its best\t2000.00\t500.00
scattered\tpair\tpage\ttype1=1\ta call for each leaf\t2500.00\t1500.00
scattered\tpair\tpage\tours\trefresh\t300.00\t250.00
scattered\tpair\tpage\tcold\trefresh\t2000.00\t600.00
1 GiB, unchanged\tunchanged\tpage\tours\trefresh\t0.00\t3.00
memory\t1 GiB scattered, unchanged\ttype1\t96.000
memory\t1 GiB scattered, unchanged\tours\t7.500
"""


class Bench(unittest.TestCase):
    def setUp(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "bench.tsv")
            path.write_text(LINES, encoding="utf-8")
            cases, memory = bench.read_vm(path)
        self.rows = list(bench.vm_rows("intel-iommu", cases))
        self.memory = list(bench.memory_rows("intel-iommu", memory))

    def test_rows(self):
        names = [(r["name"], r.get("rival_name")) for r in self.rows]
        self.assertEqual(
            names,
            [
                ("scattered", bench.LEAF),
                ("scattered", bench.BEST),
                ("scattered, cold pins", bench.BEST),
                ("scattered, type1=1, a call for each leaf", bench.LEAF),
                ("1 GiB, unchanged", None),
            ],
        )

    def test_floor_is_the_cheapest_way(self):
        self.assertEqual(self.rows[0]["floor"], 500)
        self.assertEqual(self.rows[0]["floor_way"], "map_sg, unmap")
        self.assertEqual(self.rows[0]["ours_over_floor"], 1.1)
        self.assertIsNone(self.rows[4]["floor"])

    def test_judgement(self):
        words = [bench.judgement(r) for r in self.rows]
        self.assertEqual(words[0], "reached (<= 1.2), reached (>= 7)")
        self.assertEqual(words[1], "reached (<= 1.2)")
        self.assertEqual(words[2], "MISSED (>= 1)")
        self.assertEqual(words[3], "reached (>= 1)")
        self.assertEqual(words[4], "")

    def test_memory(self):
        self.assertEqual(len(self.memory), 1)
        self.assertEqual(self.memory[0]["rival_over_ours"], 12.8)
        self.assertEqual(bench.judgement(self.memory[0]), "reached (<= 8)")


if __name__ == "__main__":
    unittest.main()
