#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The table of `make bench-sync`.

    sync.py OUT.json

Reads what the benchmark left in build/vm/bench-sync-HOST/files/sync.tsv, puts
it into OUT.json under "sync", beside what is there, and prints it.
docs/benchmarks.md explains the figures. A missed goal is reported, but is no
failure.
"""

import json
import pathlib
import sys

HOSTS = ("intel-iommu", "amd-iommu")
RIVAL = "type1"
# Factors by which a way must be better than type1: for requests of one page,
# for longer ones; and whether it may exit to user space.
GOALS = {
    "refresh": (1, 1, True),
    "ring": (2, 5, False),
    "tracked": (2, 1, False),
    "tracked, burst": (1, 1, True),
}


def read(path, host):
    """{"cases": [...], "parts": [...], "missing": [...]} of a machine."""
    found = {"cases": [], "parts": [], "missing": []}
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, *fields = line.split("\t")
        if kind == "case":
            pattern, driver, way, pages, cost, to_user, exits = fields
            found["cases"].append(
                {
                    "host": host,
                    "pattern": pattern,
                    "driver": driver,
                    "way": way,
                    "pages": int(pages),
                    "instructions": float(cost),
                    "to_user": float(to_user),
                    "exits": float(exits),
                }
            )
        elif kind == "part":
            way, name, cost = fields
            found["parts"].append(
                {"host": host, "way": way, "name": name, "instructions": int(cost)}
            )
        elif kind == "missing":
            way, why = fields
            found["missing"].append({"host": host, "way": way, "why": why})
        else:
            raise ValueError(f"{path}: {line}")
    return found


def compare(cases):
    """Adds to each case how much type1 needs for the same, and the goals."""
    rivals = {
        (c["host"], c["pattern"], c["driver"]): c["instructions"]
        for c in cases
        if c["way"] == RIVAL
    }
    for c in cases:
        rival = rivals.get((c["host"], c["pattern"], c["driver"]))
        c["rival_over_ours"] = round(rival / c["instructions"], 3) if rival else None
        one, more, may_exit = GOALS.get(c["way"], (None, None, True))
        c["goal_rival"] = one if c["pages"] == 1 else more
        c["goal_to_user"] = None if may_exit else 0


def judgement(c):
    """'' if there are no goals, else whether they are reached or missed."""
    words = []
    if c["goal_rival"] is not None and c["rival_over_ours"] is not None:
        good = c["rival_over_ours"] >= c["goal_rival"]
        words.append(f"{'reached' if good else 'MISSED'} (>= {c['goal_rival']})")
    if c["goal_to_user"] is not None:
        good = c["to_user"] <= c["goal_to_user"]
        words.append(f"{'reached' if good else 'MISSED'} (no exit to user space)")
    return ", ".join(words)


def section(build):
    """The results of all machines."""
    whole = {"cases": [], "parts": [], "missing": []}
    for host in HOSTS:
        found = read(build / f"vm/bench-sync-{host}/files/sync.tsv", host)
        for kind, rows in found.items():
            whole[kind] += rows
    compare(whole["cases"])
    return whole


def case_table(cases):
    """Lines of cells; the first one is the header."""
    yield (
        "pattern",
        "driver",
        "way",
        "insn/page",
        "type1/this",
        "exits to user space",
        "all exits",
        "goals",
    )
    order = {(c["pattern"], c["driver"]): None for c in cases}
    for key in order:
        for c in cases:
            if (c["pattern"], c["driver"]) != key:
                continue
            ratio = c["rival_over_ours"]
            yield (
                c["pattern"],
                c["driver"],
                c["way"],
                f"{c['instructions']:.0f}",
                "-" if ratio is None or c["goal_rival"] is None else f"{ratio:.2f}",
                f"{c['to_user']:.2f}",
                f"{c['exits']:.2f}",
                judgement(c),
            )


def part_table(parts):
    """One line for each part, one column for each machine."""
    hosts = list(dict.fromkeys(p["host"] for p in parts))
    yield ("way", "part", *hosts)
    costs = {(p["way"], p["name"], p["host"]): p["instructions"] for p in parts}
    for way, name in dict.fromkeys((p["way"], p["name"]) for p in parts):
        yield (way, name, *(str(costs.get((way, name, h), "-")) for h in hosts))


def print_table(lines, numbers):
    """@numbers: the columns that are aligned to the right."""
    lines = list(lines)
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        cells = [
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ]
        print("  ".join(cells).rstrip())


def show(whole):
    for host in dict.fromkeys(c["host"] for c in whole["cases"]):
        print(f"\nhow the host follows the guest: {host}")
        cases = [c for c in whole["cases"] if c["host"] == host]
        print_table(case_table(cases), range(3, 7))
    print("\nwhat a page costs")
    print_table(part_table(whole["parts"]), range(2, 4))
    for m in whole["missing"]:
        print(f"\n{m['host']}: no {m['way']}: {m['why']}")
    words = [judgement(c) for c in whole["cases"]]
    reached = sum(word.count("reached") for word in words)
    missed = sum(word.count("MISSED") for word in words)
    print(f"\ngoals: {reached} reached, {missed} missed")


def main():
    path = pathlib.Path(sys.argv[1])
    everything = {}
    if path.exists():
        everything = json.loads(path.read_text(encoding="utf-8"))
    # Old files have no sections.
    if isinstance(everything, list):
        everything = {"cases": everything}
    everything["sync"] = section(pathlib.Path("build"))
    with open(path, "w", encoding="utf-8") as file:
        json.dump(everything, file, indent=1)
        file.write("\n")
    show(everything["sync"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
