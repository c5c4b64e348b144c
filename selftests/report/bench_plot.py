#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""bench_plot.py BENCH.json DIR: DIR/bench-table.md and DIR/bench.svg.

The picture shows, for each host IOMMU, the floor, kvm-iommu and type1, in
instructions on a logarithmic scale; the table has all rows. It needs Debian's
python3-matplotlib, so Debian's Python.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
# The same figures give the same picture.
matplotlib.rcParams["svg.hashsalt"] = "kvm-iommu"
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)

import bench  # noqa: E402

# Bars from top to bottom: label, colour.
BARS = (
    ("floor: the driver alone", "#9e9e9e"),
    ("kvm-iommu", "#1565c0"),
    (bench.BEST, "#ffb74d"),
    (bench.LEAF, "#e65100"),
)


def write_table(rows, path):
    with open(path, "w", encoding="utf-8") as file:
        file.write("<!-- Made by `make plot` from build/bench.json. -->\n")
        file.write("# What `make bench` measured\n")
        for setting, some in bench.by_setting(rows).items():
            file.write(f"\n## {setting}\n\n")
            lines = list(bench.table(some))
            lines.insert(1, ["---"] * 2 + ["---:"] * 5 + ["---"])
            for cells in lines:
                file.write("| " + " | ".join(cells) + " |\n")


def groups(rows):
    """{name and unit: [cost for each of BARS, None if there is none]}"""
    found = {}
    for r in rows:
        if not r["unit"].startswith("instructions/"):
            continue
        if any(word in r["name"] for word in ("cold", "type1=1")):
            continue
        label = f"{r['name']}\n{r['unit']}"
        costs = found.setdefault(label, [r["floor"], r["ours"], None, None])
        if r["rival"] is not None:
            costs[2 if r["rival_name"] == bench.BEST else 3] = r["rival"]
    return found


def draw(axes, setting, rows):
    found = groups(rows)
    height = 0.8 / len(BARS)
    for index, (label, colour) in enumerate(BARS):
        bars = [
            (place + index * height, costs[index])
            for place, costs in enumerate(found.values())
            if costs[index]
        ]
        places, widths = zip(*bars)
        axes.barh(places, widths, height, label=label, color=colour)
    axes.set_yticks([place + 0.3 for place in range(len(found))], list(found))
    axes.set_xscale("log")
    axes.set_xlim(left=1)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_title(setting)
    axes.set_xlabel("instructions, less is better")


def write_picture(rows, path):
    settings = bench.by_setting(rows)
    hosts = [host for host in bench.HOSTS if host in settings]
    figure, axes = plt.subplots(
        1, len(hosts), figsize=(5 + 4 * len(hosts), 13), sharey=True, squeeze=False
    )
    for one, host in zip(axes[0], hosts):
        draw(one, host, settings[host])
    # The axis is shared, with the first case on top.
    axes[0][0].invert_yaxis()
    axes[0][0].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    path = pathlib.Path(sys.argv[1])
    rows = json.loads(path.read_text(encoding="utf-8")).get("cases")
    if not rows:
        print("plot: no figures of make bench, those of make bench-sync alone")
        return
    out = pathlib.Path(sys.argv[2])
    write_table(rows, out / "bench-table.md")
    write_picture(rows, out / "bench.svg")
    print(f"plot: {out / 'bench-table.md'}, {out / 'bench.svg'}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main()
