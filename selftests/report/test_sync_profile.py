# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the profile that is made of the executed blocks."""

import unittest

import sync_profile

SYMBOLS = [
    (0x400000, "main", "guest and VMM"),
    (0xFFFF800000001000, "schedule", "kernel"),
    (0xFFFFC00000002000, "refresh", "kvm_iommu"),
    (0xFFFFC00000002100, "walk", "kvm_iommu"),
]
LINES = (
    "begun 2",
    "400010 3 10",
    "ffffc00000002000 5 4",
    "ffffc000000020f0 1 4",
    "ffffc00000002100 10 4",
    "ffff800000001004 2 1",
    "7fff00000000 7 1",
    "10 1 1",
)


class Profile(unittest.TestCase):
    def test_attribute(self):
        rounds, blocks = sync_profile.read_blocks(iter(LINES))
        self.assertEqual(rounds, 2)
        spent = sync_profile.attribute(SYMBOLS, blocks)
        self.assertEqual(spent[("refresh", "kvm_iommu")], 24)
        self.assertEqual(spent[("walk", "kvm_iommu")], 40)
        self.assertEqual(spent[("schedule", "kernel")], 2)
        # Above the program's last function, or below its first.
        self.assertEqual(spent[("main", "guest and VMM")], 37)
        self.assertEqual(spent[("", "others")], 1)
        self.assertEqual(sync_profile.owners(spent)["kvm_iommu"], 64)

    def test_report(self):
        ways = {
            "type1": {("schedule", "kernel"): 10.0},
            "ring": {("schedule", "kernel"): 4.0, ("walk", "kvm_iommu"): 2.0},
        }
        text = "\n".join(sync_profile.report(ways))
        self.assertIn("| all | 10 | 6 |", text)
        self.assertIn("| without kvm_iommu | 10 | 4 |", text)
        self.assertIn("| `walk` | 2 |", text)
        self.assertNotIn("share of *type1*", text)

    def test_names(self):
        for name, wanted in (
            ("kiommu::Walker<kiommu::A, kiommu::B>::walk", "Walker::walk"),
            ("kiommu::f<kiommu::g(unsigned)::{lambda(int)#1}>", "f"),
            ("kiommu::(anonymous namespace)::h", "h"),
            ("std::expected<void, X> kiommu::k<Y>", "std::expected k"),
            ("follow_store.isra.0", "follow_store.isra.0"),
        ):
            self.assertEqual(sync_profile.short(name), wanted)


if __name__ == "__main__":
    unittest.main()
