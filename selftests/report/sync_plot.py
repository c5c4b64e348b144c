#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""sync_plot.py BENCH.json DIR: DIR/sync-table.md and DIR/sync.svg.

The picture shows, for each pattern and driver, the instructions for a page by
each way; the table has all rows. It needs Debian's python3-matplotlib, so
Debian's Python.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
# The same figures give the same picture.
matplotlib.rcParams["svg.hashsalt"] = "kvm-iommu"
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)

import sync  # noqa: E402

# Bars from top to bottom.
WAYS = {
    "guest alone": "#9e9e9e",
    "ring": "#1565c0",
    "ring, thread": "#5c6bc0",
    "tracked": "#2e7d32",
    "tracked, burst": "#a5d6a7",
    "refresh": "#90caf9",
    "type1": "#e65100",
}


def write_lines(file, lines, left):
    """A table in Markdown; the columns @left are text."""
    lines = list(lines)
    columns = range(len(lines[0]))
    lines.insert(1, ["---" if i in left else "---:" for i in columns])
    for cells in lines:
        file.write("| " + " | ".join(cells) + " |\n")


def write_table(whole, path):
    with open(path, "w", encoding="utf-8") as file:
        file.write("<!-- Made by `make plot` from build/bench.json. -->\n")
        file.write("# What `make bench-sync` measured\n")
        for host in dict.fromkeys(c["host"] for c in whole["cases"]):
            file.write(f"\n## {host}\n\n")
            cases = [c for c in whole["cases"] if c["host"] == host]
            write_lines(file, sync.case_table(cases), (0, 1, 2, 7))
        file.write("\n## What a page costs\n\n")
        write_lines(file, sync.part_table(whole["parts"]), (0, 1))
        for m in whole["missing"]:
            file.write(f"\n{m['host']}: no {m['way']}: {m['why']}\n")


def draw(axes, host, cases):
    labels = list(dict.fromkeys(f"{c['pattern']}, {c['driver']}" for c in cases))
    height = 0.84 / len(WAYS)
    for index, (way, colour) in enumerate(WAYS.items()):
        bars = [
            (labels.index(f"{c['pattern']}, {c['driver']}"), c["instructions"])
            for c in cases
            if c["way"] == way
        ]
        if bars:
            places, widths = zip(*bars)
            places = [place + index * height for place in places]
            axes.barh(places, widths, height, label=way, color=colour)
    axes.set_yticks([place + 0.35 for place in range(len(labels))], labels)
    axes.set_xscale("log")
    axes.set_xlim(left=100)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_title(host)
    axes.set_xlabel("instructions for a page, less is better")


def write_picture(whole, path):
    hosts = list(dict.fromkeys(c["host"] for c in whole["cases"]))
    figure, axes = plt.subplots(
        1, len(hosts), figsize=(2 + 5 * len(hosts), 7), sharey=True, squeeze=False
    )
    for one, host in zip(axes[0], hosts):
        draw(one, host, [c for c in whole["cases"] if c["host"] == host])
    # The axis is shared, with the first pattern on top.
    axes[0][0].invert_yaxis()
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="upper center", ncol=7)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.savefig(path, metadata={"Date": None})


def main():
    path = pathlib.Path(sys.argv[1])
    whole = json.loads(path.read_text(encoding="utf-8"))["sync"]
    out = pathlib.Path(sys.argv[2])
    write_table(whole, out / "sync-table.md")
    write_picture(whole, out / "sync.svg")
    print(f"plot: {out / 'sync-table.md'}, {out / 'sync.svg'}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main()
