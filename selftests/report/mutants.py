#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Proves that the unit tests watch the invariants of the design.

Each mutant breaks the sources in one place, and a test must fail. Mutants are
listed in selftests/unit/mutants, in the form that README.md there describes.
--check only checks that each still applies.

Without it, the unit tests must have been built in --build by CMake. A mutant is
compiled from a copy of the sources: the objects that depend on the file that it
changes, with the build's own commands; the other objects are the build's. The
test that the list names runs first: only what it runs is compiled for it, the
files of other tests follow if it does not fail. Then come the quick tests, then
all, until one fails. Each of these runs may take a multiple of the time that
the same tests take unbroken; not to end in that time counts as failing.

Prints a line for each mutant; the last line is
`N killed, N survived, N do not apply`. What does not build does not apply.
"""

import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import queue
import random
import re
import resource
import shlex
import shutil
import subprocess
import sys
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
LISTS = sorted((ROOT / "selftests/unit/mutants").glob("*.txt"))
SOURCES = ("kvm-iommu", "arch", "uapi", "selftests/fake_port", "selftests/unit")
MEMORY = 8 << 30  # bytes of address space that a broken test may take
# Time limit of a run: a multiple of its unbroken time, and at least so many
# seconds.
TIMEOUT_FACTOR = 5
LEAST_TIMEOUT = 60
SLOW = 0.1  # seconds; tests that take longer come last
FASTER = ("-O0", "-g0", "-w")


class Mutant(NamedTuple):
    name: str
    file: str
    changes: tuple  # of (old text, new text)
    times: int = 1  # occurrences of each old text
    killer: str = ""  # the test that is tried first


class Malformed(Exception):
    pass


def parse(text):
    """The mutants of lists, see README.md beside them."""
    mutants = []
    current = None
    before = ""

    def begin(words, number):
        found = re.fullmatch(r"(\S+) (\S+)(?: x(\d+))?(?: by (\S+))?", words)
        if not found:
            raise Malformed(f"line {number}: {words}")
        name, file, times, killer = found.groups()
        return {
            "name": name,
            "file": file,
            "times": int(times or 1),
            "killer": killer or "",
            "changes": [],
        }

    def end():
        if current is None:
            return
        if not current["changes"]:
            raise Malformed(f"{current['name']}: it changes nothing")
        current["changes"] = tuple(
            ("\n".join(old), "\n".join(new)) for old, new in current["changes"]
        )
        mutants.append(Mutant(**current))

    for number, line in enumerate(text.split("\n"), 1):
        kind = line[:1]
        if kind in ("-", "+"):
            if current is None or (kind == "+" and not current["changes"]):
                raise Malformed(f"line {number}: {line}")
            if kind == "-" and before != "-":
                current["changes"].append(([], []))
            current["changes"][-1][kind == "+"].append(line[1:].strip())
        elif kind not in ("", "#", "="):
            end()
            current = begin(line, number)
        before = kind
    end()
    names = [mutant.name for mutant in mutants]
    if len(names) != len(set(names)):
        raise Malformed("two mutants have one name")
    return mutants


def pattern(old):
    """A regular expression for a text, with white space of any layout."""
    tokens = re.findall(r"\w+|[^\w\s]", old)
    parts = [re.escape(tokens[0])]
    for left, right in zip(tokens, tokens[1:]):
        both = left[-1:] + right[:1]
        parts.append(r"\s+" if re.fullmatch(r"\w\w", both) else r"\s*")
        parts.append(re.escape(right))
    first = r"(?<!\w)" if tokens[0][0].isidentifier() else ""
    last = r"(?!\w)" if re.fullmatch(r"\w+", tokens[-1]) else ""
    return re.compile(first + "".join(parts) + last)


def apply(mutant, text):
    """The broken text; None if an old text occurs less or more than listed."""
    for old, new in mutant.changes:
        text, count = pattern(old).subn(lambda _, new=new: new, text)
        if count != mutant.times:
            return None
    return text


def check(mutants, root):
    """The mutants that do not apply."""
    bad = []
    for mutant in mutants:
        path = root / mutant.file
        if not path.is_file() or apply(mutant, path.read_text()) is None:
            bad.append(mutant)
    return bad


class Object(NamedTuple):
    path: str  # of the object file
    command: tuple  # that compiles it
    directory: str
    sources: frozenset  # what it depends on, relative to the root


def dependencies(text, directory, root):
    """The files of a compiler's dependency file that are below the root."""
    words = text.replace("\\\n", " ").partition(":")[2].split()
    found = set()
    for word in words:
        path = os.path.normpath(os.path.join(directory, word))
        if path.startswith(f"{root}/"):
            found.add(os.path.relpath(path, root))
    return frozenset(found)


def objects(build, root):
    """The objects that CMake has compiled there."""
    found = []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        directory = entry["directory"]
        command = tuple(shlex.split(entry["command"]))
        output = command[command.index("-o") + 1]
        path = os.path.join(directory, output)
        depends = pathlib.Path(path + ".d").read_text()
        found.append(
            Object(
                path, command, directory, dependencies(depends, directory, root)
            )
        )
    return found


def has_part_in(test, item):
    """Whether a test needs an object: not if it holds other tests only."""
    source = pathlib.Path(item.command[item.command.index("-c") + 1])
    if not source.name.startswith("test_"):
        return True
    name = test.partition(".")[2].partition("/")[0]
    return re.search(rf"\b{re.escape(name)}\b", source.read_text()) is not None


def command_for(command, root, tree, output):
    """The same command for a copy of the sources, made to compile faster."""
    words = []
    skip = False
    for word in command:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT"):
            skip = True
        elif word == "-MD":
            pass
        else:
            words.append(re.sub(rf"{re.escape(root)}(?=/|$)", tree, word))
    return [*words, *FASTER, "-o", output]


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.nice(5)


class Worker:
    """A copy of the sources, and what is built from it."""

    def __init__(self, place, runner):
        self.runner = runner
        self.tree = place / "src"
        self.out = place / "out"
        shutil.rmtree(place, ignore_errors=True)
        self.out.mkdir(parents=True)
        for source in SOURCES:
            shutil.copytree(runner.root / source, self.tree / source)

    def build(self, file, built, test=""):
        """(program, compiler output) for a changed file; the program is None if
        it does not build. With a test, the program is good for this test only.
        `built` has the objects that are compiled, by number; they are linked
        first, so that inline functions are taken from them."""
        others = []
        for number, item in enumerate(self.runner.objects):
            if number in built:
                continue
            if file not in item.sources or (test and not has_part_in(test, item)):
                others.append(item.path)
                continue
            output = str(self.out / f"{number}.o")
            command = command_for(
                item.command, str(self.runner.root), str(self.tree), output
            )
            done = subprocess.run(
                command,
                cwd=item.directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            if done.returncode != 0:
                return None, done.stderr.decode(errors="replace")
            built[number] = output
        program = str(self.out / "tests")
        compiler = next(
            word
            for word in self.runner.objects[0].command
            if not word.endswith("ccache")
        )
        done = subprocess.run(
            [compiler, "-Wl,-S", "-o", program, *built.values(), *others]
            + ["-lgtest", "-pthread"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        said = done.stderr.decode(errors="replace")
        return (program if done.returncode == 0 else None), said

    def judge(self, mutant):
        """(verdict, words): killed, survived, or does not apply."""
        path = self.tree / mutant.file
        original = path.read_text()
        broken = apply(mutant, original)
        if broken is None:
            return "none", "DOES NOT APPLY"
        path.write_text(broken)
        built = {}
        try:
            first = [mutant.killer] * bool(mutant.killer)
            for only in [*first, self.runner.quick, "*"]:
                test = mutant.killer if only in first else ""
                program, said = self.build(mutant.file, built, test)
                if program is None:
                    error = [line for line in said.split("\n") if "error" in line]
                    return "none", "DOES NOT BUILD: " + " ".join(error[:1])
                killer = self.runner.run(program, only)
                if killer is not None:
                    return "killed", f"killed by {killer}"
            return "survived", "SURVIVES"
        finally:
            path.write_text(original)


def failed_test(output):
    """The test that has failed, or the one that has crashed."""
    failed = re.search(r"^\[  FAILED  \] ([^ ,\n]+)", output, re.M)
    begun = re.findall(r"^\[ RUN      \] (\S+)$", output, re.M)
    return failed.group(1) if failed else begun[-1] if begun else "a crash"


def times_of(report):
    """{test: seconds}, by GoogleTest's report."""
    return {
        f"{suite['name']}.{test['name']}": float(test["time"].rstrip("s"))
        for suite in report["testsuites"]
        for test in suite["testsuite"]
    }


def quick_filter(times):
    """A filter that leaves out the tests that took long."""
    slow = [test for test, seconds in times.items() if seconds > SLOW]
    return "-" + ":".join(slow) if slow else "*"


class Runner:
    def __init__(self, build, root=ROOT):
        self.root = root
        self.objects = objects(build, root)
        self.quick = "*"  # the filter of tests that do not take long
        self.took = {}  # seconds, by filter; others are done at once

    def timeout(self, only):
        if not self.took:
            return None
        return max(LEAST_TIMEOUT, TIMEOUT_FACTOR * self.took.get(only, 0))

    def run(self, program, only="*", *options):
        """The test that fails first; None if none does."""
        environment = dict(os.environ, KIOMMU_SEEDS="5")
        try:
            done = subprocess.run(
                [program, "--gtest_fail_fast"]
                + [f"--gtest_filter={only}", *options],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self.timeout(only),
                preexec_fn=limit_memory,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "the time limit"
        if done.returncode == 0:
            return None
        return failed_test(done.stdout.decode(errors="replace"))

    def measure(self, program, report):
        """Measures the times; returns the first test that fails unbroken."""
        start = time.monotonic()
        failed = self.run(program, "*", f"--gtest_output=json:{report}")
        if failed is None:
            times = times_of(json.loads(report.read_text()))
            self.quick = quick_filter(times)
            quick = (seconds for seconds in times.values() if seconds <= SLOW)
            self.took = {
                **times,
                self.quick: sum(quick),
                "*": time.monotonic() - start,
            }
        return failed


def learn(text, killers):
    """The list, with the tests that killed noted in it."""
    lines = []
    for line in text.split("\n"):
        name = line.partition(" ")[0]
        if line[:1] not in ("-", "+", "#", "=", "") and name in killers:
            line = line.partition(" by ")[0]
            if "." in killers[name]:
                line += f" by {killers[name]}"
        lines.append(line)
    return "\n".join(lines)


def run_all(runner, place, mutants, jobs, seconds=None):
    """Yields (mutant, verdict, words) in order of completion. Starts none after
    `seconds`."""
    idle = queue.SimpleQueue()
    for number in range(min(jobs, len(mutants))):
        idle.put(Worker(place / str(number), runner))
    start = time.monotonic()

    def judge(mutant):
        if seconds is not None and time.monotonic() - start > seconds:
            return None
        worker = idle.get()
        try:
            return worker.judge(mutant)
        finally:
            idle.put(worker)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(judge, mutant): mutant for mutant in mutants}
        for future in concurrent.futures.as_completed(futures):
            if future.result() is not None:
                yield futures[future], *future.result()


def summary(verdicts):
    return (
        f"{verdicts.count('killed')} killed, "
        f"{verdicts.count('survived')} survived, "
        f"{verdicts.count('none')} do not apply"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", default="*", help="pattern of names")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--place", type=pathlib.Path, help="for the copies")
    parser.add_argument(
        "--seconds", type=float, help="those that can be done in this time"
    )
    parser.add_argument("--seed", default="", help="which those are")
    parser.add_argument(
        "--learn", action="store_true", help="note in the list what killed"
    )
    options = parser.parse_args()

    mutants = [
        mutant
        for mutant in parse("\n".join(path.read_text() for path in LISTS))
        if fnmatch.fnmatch(mutant.name, options.only)
    ]
    if not mutants:
        sys.exit(f"there is no mutant {options.only}")
    if options.check:
        bad = check(mutants, ROOT)
        for mutant in bad:
            print(f"{mutant.name}: does not apply to {mutant.file}")
        sys.exit(1 if bad else 0)

    runner = Runner(options.build.resolve())
    options.place.mkdir(parents=True, exist_ok=True)
    failed = runner.measure(
        str(options.build / "kiommu_unit"), options.place.resolve() / "tests.json"
    )
    if failed is not None:
        sys.exit(f"the tests fail as they are: {failed}")
    if options.seconds is not None:
        random.Random(options.seed).shuffle(mutants)
    verdicts = []
    killers = {}
    for mutant, verdict, words in run_all(
        runner,
        options.place.resolve(),
        mutants,
        options.jobs,
        options.seconds,
    ):
        verdicts.append(verdict)
        if verdict == "killed":
            killers[mutant.name] = words.removeprefix("killed by ")
        print(f"{mutant.name:<36} {words}", flush=True)
    if options.learn:
        for path in LISTS:
            path.write_text(learn(path.read_text(), killers))
    if options.seconds is not None:
        print(f"{len(verdicts)} of {len(mutants)}, seed {options.seed}")
    print(summary(verdicts))
    sys.exit(0 if set(verdicts) == {"killed"} else 1)


if __name__ == "__main__":
    main()
