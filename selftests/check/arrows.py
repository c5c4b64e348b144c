#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The rooms of the sources, lowest first, and a check that includes run one way.

HOUSE is the one list of rooms and of their order. A file includes files of its
own room and of rooms before it in the list, none of a room behind it. Each
source file of the listed parts is in a room. A room stands one floor above the
highest one that it includes; MOST_FLOORS bounds that.

  arrows.py          checks; prints what is wrong, a line each
  arrows.py --draw   prints the rooms and the includes between them, for Graphviz
"""

import argparse
import collections
import fnmatch
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# For each part, its rooms and their files. The first pattern that matches
# counts.
HOUSE = {
    "core": {
        "include": ["kvm-iommu/include/*.h"],
        "base": ["kvm-iommu/core/base/*"],
        "memory": ["kvm-iommu/core/memory/*"],
        "host": ["kvm-iommu/core/host/*"],
        "tables": ["kvm-iommu/core/tables/*"],
        "arch": ["arch/*_format.hpp", "arch/*_events.hpp", "arch/*_faults.hpp"],
        "formats": ["kvm-iommu/core/formats/*"],
        "faults": ["kvm-iommu/core/faults/*"],
        "workspace": ["kvm-iommu/core/workspace/*"],
        "shadow": ["kvm-iommu/core/shadow/*"],
        "sync": ["kvm-iommu/core/sync/*"],
        "domain": ["kvm-iommu/core/domain/*"],
        "api": ["kvm-iommu/core/api/*"],
        "zpci": ["arch/s390/*.cc", "arch/s390/*.hpp"],
    },
    "linux": {
        "include": ["kvm-iommu/include/*.h"],
        "port": ["kvm-iommu/linux/port/*"],
        "host": ["kvm-iommu/linux/host/*"],
        "guest": ["kvm-iommu/linux/guest/*"],
        "object": ["kvm-iommu/linux/object/*"],
        "zpci": ["arch/s390/linux/*"],
        "front": ["kvm-iommu/linux/front/*"],
    },
}
# Where includes are looked for, besides the includer's own folder.
PATHS = {
    "core": ("kvm-iommu/core", "kvm-iommu/include", ""),
    "linux": ("kvm-iommu/linux", "kvm-iommu/include", "arch/s390/linux"),
}
SOURCES = {"core": ("*.cc", "*.hpp"), "linux": ("*.c", "*.h")}
MOST_FLOORS = {"api": 8}

INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)


def room_of(part, file):
    for room, patterns in HOUSE[part].items():
        if any(fnmatch.fnmatch(file, pattern) for pattern in patterns):
            return room
    return None


def files_of(part, root):
    """The files that are in a room, or beside one and should be in one."""
    folders = {
        pattern[: pattern.rindex("/")].split("*")[0]
        for patterns in HOUSE[part].values()
        for pattern in patterns
    }
    found = set()
    for folder in folders:
        for path in (root / folder).rglob("*"):
            name = path.relative_to(root).as_posix()
            if path.suffix in (".cc", ".hpp", ".c", ".h") and path.is_file():
                found.add(name)
    return sorted(
        file
        for file in found
        if room_of(part, file)
        or any(fnmatch.fnmatch(file, pattern) for pattern in SOURCES[part])
    )


def find(part, file, include, root):
    """Our file that is included; None if it is not ours."""
    for folder in (os.path.dirname(file), *PATHS[part]):
        name = os.path.normpath(os.path.join(folder, include))
        if (root / name).is_file():
            return name
    return None


class Part:
    """The includes between the rooms of a part."""

    def __init__(self, part, root=ROOT):
        self.name = part
        self.rooms = list(HOUSE[part])
        self.wrong = []
        self.arrows = collections.defaultdict(list)
        for file in files_of(part, root):
            room = room_of(part, file)
            if room is None:
                self.wrong.append(f"{file}: in no room of {part}")
                continue
            for include in INCLUDE.findall((root / file).read_text()):
                self.add(file, room, include, root)

    def add(self, file, room, include, root):
        if ".." in include.split("/"):
            self.wrong.append(f"{file}: includes {include}, by a way up")
        name = find(self.name, file, include, root)
        other = room_of(self.name, name) if name else None
        if other is None or other == room:
            return
        self.arrows[room, other].append((file, name))
        if self.rooms.index(other) > self.rooms.index(room):
            self.wrong.append(f"{file}: {room} includes {name}, of {other}")

    def floors(self):
        """{room: how many rooms stand below it, one on the other}."""
        height = {}
        for room in self.rooms:
            below = [other for (one, other) in self.arrows if one == room]
            height[room] = 1 + max(
                (height[other] for other in below if other in height), default=-1
            )
        return height

    def problems(self):
        found = list(self.wrong)
        for room, height in self.floors().items():
            if height > MOST_FLOORS.get(room, height):
                found.append(f"{room}: on floor {height}, {MOST_FLOORS[room]} is the most")
        return found

    def draw(self):
        """A cluster for Graphviz, without arrows that follow from others."""
        lines = [f'subgraph cluster_{self.name} {{ label="{self.name}";']
        lines += [f'"{self.name}/{room}" [label="{room}"];' for room in self.rooms]
        direct = {arrow for arrow in self.arrows if not self.follows(*arrow)}
        lines += [
            f'"{self.name}/{one}" -> "{self.name}/{other}";'
            for one, other in sorted(direct)
        ]
        return "\n".join([*lines, "}"])

    def follows(self, one, other):
        """Whether there is also a path through a third room."""
        return any(
            self.reaches(middle, other)
            for (first, middle) in self.arrows
            if first == one and middle != other
        )

    def reaches(self, one, other):
        return one == other or any(
            self.reaches(middle, other)
            for (first, middle) in self.arrows
            if first == one and self.rooms.index(middle) < self.rooms.index(one)
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draw", action="store_true")
    options = parser.parse_args()
    parts = [Part(name) for name in HOUSE]
    if options.draw:
        print("digraph house {\nrankdir=BT;\nnode [shape=box];")
        for part in parts:
            print(part.draw())
        print("}")
        return
    wrong = [line for part in parts for line in part.problems()]
    for line in wrong:
        print(line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
