#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs the unit tests of a CMake build directory, counts GoogleTest cases.

ctest says what is to be run. Each GoogleTest program is run as a whole, whether
or not ctest knows its cases one by one, and its XML report is read: this is
faster than a process per case, and each case is a result. If it has the label
gtest-shards, it is run as several processes, each with a part of its cases, as
many at a time as there are jobs, so that all CPUs are busy and no process comes
near the time limit. A test of another kind (no XML report) is one result: its
exit status.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

import results
from results import Result

TIMEOUT = 900  # seconds, for one process
# Of a program: many, so that CPUs do not wait for a long one at the end, and
# that each takes a minute or two under the slowest sanitizer.
SHARDS = 32
LABEL = "gtest-shards"


def commands(build_dir):
    """{command line: (working directory, number of shards)}, each once."""
    listing = subprocess.run(
        ["ctest", "--test-dir", build_dir, "--show-only=json-v1"],
        check=True,
        capture_output=True,
        text=True,
    )
    return commands_of(json.loads(listing.stdout), build_dir)


def commands_of(listing, build_dir):
    """The same from ctest's answer."""
    found = {}
    for test in listing["tests"]:
        # Without a command the program has not been built.
        command = test.get("command", [test["name"]])
        command = tuple(
            word for word in command if not word.startswith("--gtest_")
        )
        properties = {
            item["name"]: item["value"] for item in test.get("properties", [])
        }
        found[command] = (
            properties.get("WORKING_DIRECTORY", build_dir),
            SHARDS if LABEL in properties.get("LABELS", []) else 1,
        )
    return found


def case_result(suite, element):
    """The result of one <testcase>; None if it was not run."""
    name = f"{element.get('classname')}.{element.get('name')}"
    failures = element.findall("failure")
    if failures:
        text = failures[0].get("message", "")
        return Result("fail", suite, name, text.replace("\n", "; "))
    skipped = element.find("skipped")
    if skipped is not None or element.get("result") == "skipped":
        text = skipped.get("message", "") if skipped is not None else ""
        # "file:line" comes first.
        return Result("skip", suite, name, text.partition("\n")[2] or text)
    if element.get("status") == "notrun":
        return Result("skip", suite, name, "disabled")
    return Result("pass", suite, name)


def read_report(suite, path):
    tree = xml.etree.ElementTree.parse(path)
    return [case_result(suite, case) for case in tree.iter("testcase")]


def run(
    suite,
    index,
    command,
    cwd,
    report_dir,
    shard=0,
    shards=1,
    timeout=TIMEOUT,
):
    """Returns (results, output) of one program, or of a shard of it."""
    name = pathlib.Path(command[0]).name
    report = (report_dir / f"{index}-{shard}-{name}.xml").absolute()
    environment = dict(
        os.environ, GTEST_OUTPUT=f"xml:{report}", GTEST_BRIEF="1"
    )
    if shards > 1:
        environment["GTEST_TOTAL_SHARDS"] = str(shards)
        environment["GTEST_SHARD_INDEX"] = str(shard)
        name = f"{name}, shard {shard} of {shards}"
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        status, output = "timed out", error.stdout or b""
    except OSError as error:
        status, output = f"cannot be run: {error.strerror}", b""
    output = output.decode(errors="replace")
    found = []
    if report.exists():
        try:
            found = read_report(suite, report)
        except xml.etree.ElementTree.ParseError:
            status = status or "unreadable report"
    elif status == 0 and shards > 1:
        status = "0, no report"
    elif status == 0:
        found = [Result("pass", suite, name)]
    if status != 0 and not any(result.status == "fail" for result in found):
        last = " | ".join(output.strip().split("\n")[-3:])
        found.append(
            Result("fail", suite, name, f"exit status {status}; last: {last}")
        )
    return found, output


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", required=True)
    parser.add_argument(
        "--program", help="a GoogleTest program, in place of what ctest names"
    )
    parser.add_argument("--timeout", type=int, default=TIMEOUT)
    parser.add_argument("build_dir")
    options = parser.parse_args()

    report_dir = pathlib.Path(options.build_dir) / "reports"
    report_dir.mkdir(exist_ok=True)
    for old in report_dir.iterdir():
        old.unlink()
    if options.program is not None:
        programs = {(os.path.abspath(options.program),): (".", 1)}
    else:
        programs = commands(options.build_dir)
    everything = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        runs = [
            pool.submit(
                run,
                options.suite,
                index,
                command,
                cwd,
                report_dir,
                shard,
                shards,
                options.timeout,
            )
            for index, (command, (cwd, shards)) in enumerate(programs.items())
            for shard in range(shards)
        ]
        for future in runs:
            found, output = future.result()
            everything += found
            if any(result.status == "fail" for result in found):
                print(output, end="")
    results.write(options.results, everything)
    passed, failed, skipped = results.count(everything)
    verdict = "FAIL" if failed or not everything else "PASS"
    print(
        f"{verdict} {options.suite} ({passed} passed, {failed} failed, "
        f"{skipped} skipped)"
    )
    sys.exit(1 if verdict == "FAIL" else 0)


if __name__ == "__main__":
    main()
