#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the instructions of the ways to follow a guest are spent in.

    sync_profile.py OUT.md PAGES PROGRAM WAY=BLOCKS=KALLSYMS.gz...

For each way, BLOCKS is what the plugin selftests/bench/profile wrote, and
KALLSYMS has the symbols of the machine's kernel. PROGRAM is the static program
with the guest in it, and PAGES is how many pages the guest maps in a round.
Writes a table of the instructions per page by owner, and the functions with the
most.
"""

import bisect
import collections
import gzip
import pathlib
import re
import subprocess
import sys

KERNEL = 1 << 63
OURS = "kvm_iommu"
# Most functions of the module that are listed.
MOST = 12


def program_symbols(path):
    """[(address, function, owner)] of a static program."""
    lines = subprocess.run(
        ["nm", path], check=True, capture_output=True, encoding="utf-8"
    ).stdout.splitlines()
    fields = [line.split() for line in lines]
    return [
        (int(f[0], 16), f[2], "guest and VMM")
        for f in fields
        if len(f) == 3 and f[1] in "tTwW"
    ]


def kernel_symbols(path):
    """The same of a kernel and its modules."""
    found = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            address, kind, name, *module = line.split()
            if kind in "tTwW":
                owner = module[0].strip("[]") if module else "kernel"
                found.append((int(address, 16), name, owner))
    return found


def read_blocks(lines):
    """(rounds, [(address, instructions)])"""
    rounds = int(next(lines).split()[1])
    blocks = []
    for line in lines:
        address, instructions, count = line.split()
        blocks.append((int(address, 16), int(instructions) * int(count)))
    return rounds, blocks


def attribute(symbols, blocks):
    """{(function, owner): instructions}"""
    symbols = sorted(symbols)
    starts = [s[0] for s in symbols]
    spent = collections.Counter()
    for address, instructions in blocks:
        at = bisect.bisect_right(starts, address) - 1
        known = at >= 0 and (address >= KERNEL) == (starts[at] >= KERNEL)
        spent[symbols[at][1:] if known else ("", "others")] += instructions
    return spent


def owners(spent):
    sums = collections.Counter()
    for (_, owner), instructions in spent.items():
        sums[owner] += instructions
    return sums


def demangle(names):
    text = "\n".join(names)
    shown = subprocess.run(
        ["c++filt", "-p"], input=text, check=True, capture_output=True, encoding="utf-8"
    ).stdout.splitlines()
    return [short(name) for name in shown]


def short(name):
    """A name without namespaces, template arguments and parameters."""
    before = None
    while name != before:
        before, name = name, re.sub(r"<[^<>]*>|\([^()]*\)", "", name)
    return name.replace("kiommu::", "").lstrip(":")


def table(heads, rows):
    yield "| " + " | ".join(heads) + " |"
    yield "| --- |" + " ---: |" * (len(heads) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def report(ways):
    """Lines. `ways`: {way: {(function, owner): instructions for each page}}"""
    yield "<!-- Made by `make profile-sync`. -->"
    yield "# What a page's instructions are spent in"
    yield ""
    yield "The pattern *nic*, driver *strict*, of [sync-table.md](sync-table.md), on"
    yield "intel-iommu: a page is mapped and unmapped; instructions for each, by whose"
    yield "functions they are. Of kernel modules, what they call in the kernel itself is"
    yield "under *kernel*."
    yield ""
    sums = {way: owners(spent) for way, spent in ways.items()}
    order = collections.Counter()
    for counts in sums.values():
        order.update(counts)
    rows = [
        [owner] + [f"{sums[way][owner]:.0f}" for way in ways]
        for owner, count in order.most_common()
        if count >= 1
    ]
    rows.append(["all"] + [f"{sum(sums[way].values()):.0f}" for way in ways])
    rows.append(
        [f"without {OURS}"]
        + [f"{sum(sums[way].values()) - sums[way][OURS]:.0f}" for way in ways]
    )
    yield from table(["", *ways], rows)
    for way, spent in ways.items():
        mine = [(n, f) for (f, owner), n in spent.items() if owner == OURS]
        mine = sorted(mine, reverse=True)[:MOST]
        if not mine:
            continue
        yield ""
        yield f"## The module's share of *{way}*"
        yield ""
        names = demangle([f for _, f in mine])
        rows = [[f"`{name}`", f"{n:.0f}"] for name, (n, _) in zip(names, mine)]
        yield from table(["function, without what it calls", "instructions"], rows)


def main():
    out, pages, program, *runs = sys.argv[1:]
    ways = {}
    for run in runs:
        way, blocks, kallsyms = run.split("=")
        with open(blocks, encoding="utf-8") as lines:
            rounds, found = read_blocks(lines)
        symbols = kernel_symbols(kallsyms) + program_symbols(program)
        spent = attribute(symbols, found)
        ways[way] = {key: n / rounds / int(pages) for key, n in spent.items()}
    text = "\n".join(report(ways)) + "\n"
    pathlib.Path(out).write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
