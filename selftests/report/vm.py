#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Judges a run of the virtual machine; see selftests/vm/run and .../init.

Reads what the machine left in --out: output.log (our events and the programs'
output) and serial.log (the kernel's messages as they came). Writes
results.tsv and files/, prints a line per program. Each TAP test point is one
result; whatever else is wrong with a program (crash, time-out, a plan that
was not kept, a kernel warning while it ran) is one more, and fails.
"""

import argparse
import base64
import binascii
import pathlib
import re
import sys

import results
from results import Result

KSFT_SKIP = 4  # exit status of a kernel selftest that skips

# What a healthy kernel never says. Faults that an IOMMU reports do not count,
# because tests provoke them.
BAD_KERNEL_LINES = re.compile(
    r"""
    \bWARNING:\ (?:CPU:|possible|suspicious|bad|inconsistent|held|lock)
    | ^WARNING:\s
    | -\[\ cut\ here\ \]-
    | \bBUG:\ | \bkernel\ BUG\ at
    | \bOops\b | \bKernel\ panic\b | \binvalid\ opcode:
    | \bgeneral\ protection\ fault | \bRIP:\ 0010:
    | \bUnable\ to\ handle\ | ^\s*Call\ Trace:
    | \bUBSAN:\ | \bKASAN:\ | \bKCSAN:\ | \bKFENCE:\ | \bkmemleak:\ [1-9]
    | \bODEBUG\ disabled | \bmemory\ leak\ detector\ disabled
    | \brefcount_t:\ | \blist_(?:add|del)\ corruption
    | \bINFO:\ task\ .*\ blocked\ for | \bdetected\ stalls?\b
    | \bself-detected\ stall\b | \bBad\ page\ (?:state|map)
    | \bpage\ allocation\ failure | \bunexpectedly\ tainted
    | \bscheduling\ while\ atomic | \bsleeping\ function\ called
    | \bstack\ segment | \bdouble\ fault
    # s390: any program check in the kernel has its number and its count
    | \bKrnl\ PSW\b | :\ [0-9a-f]{4}\ ilc:\d\ \[\#\d+\]
    | \bKernel\ stack\ overflow | \bCorrupt\ kernel\ stack
    """,
    re.VERBOSE,
)

# Taint flags that any module built outside the kernel sets.
TAINT_OUT_OF_TREE = 1 << 12
TAINT_UNSIGNED = 1 << 13

TAP_POINT = re.compile(r"^(not )?ok\b\s*(\d+)?\s*(?:- )?(.*)$")
TAP_PLAN = re.compile(r"^1\.\.(\d+)\s*(?:#\s*(.*))?$")
TAP_SKIP = re.compile(r"(?i)^skip\S*\s*(?:-\s*)?(.*)$")


def parse_tap(lines):
    """Returns (points, plan, plan's comment, bail-out); a point is (status,
    name, reason). Indented lines (subtests) and all others are for human
    readers."""
    points, plan, comment, bail = [], None, "", None
    diagnostics = []
    for line in lines:
        if match := TAP_PLAN.match(line):
            plan, comment = int(match[1]), match[2] or ""
        elif line.startswith("Bail out!"):
            bail = line
        elif match := TAP_POINT.match(line):
            name, _, directive = match[3].partition("#")
            directive = directive.strip()
            status = "fail" if match[1] else "pass"
            reason = ""
            if skip := TAP_SKIP.match(directive):
                status, reason = "skip", skip[1]
            elif status == "fail":
                reason = directive or "; ".join(diagnostics[-3:])
            points.append((status, name.strip() or f"test {match[2]}", reason))
            diagnostics = []
            continue
        elif line.startswith("# "):
            diagnostics.append(line[2:])
    return points, plan, comment, bail


def describe(status):
    if status == "timeout":
        return "timed out"
    code = int(status)
    if code > 128:
        return f"killed by signal {code - 128}"
    return f"exit status {code}"


def judge_program(name, lines, status, plain):
    """Results (status, test, reason) of a program that came to its end."""
    if plain:
        if status == "0":
            return [("pass", name, "")]
        return [("fail", name, describe(status))]
    points, plan, comment, bail = parse_tap(lines)
    found = [(kind, f"{name}: {test}", why) for kind, test, why in points]
    failed = any(kind == "fail" for kind, _, _ in points)
    wrong = []
    if bail:
        wrong.append(bail)
    if not points and (status == str(KSFT_SKIP) or plan == 0):
        if status in ("0", str(KSFT_SKIP)) and not bail:
            skip = TAP_SKIP.match(comment)
            return [("skip", name, skip[1] if skip else comment)]
    if plan is None:
        wrong.append("no TAP plan")
    elif plan != len(points):
        wrong.append(f"{len(points)} of {plan} planned tests ran")
    if status not in ("0", str(KSFT_SKIP)) and (not failed or wrong):
        wrong.append(describe(status))
    elif status == "timeout":
        wrong.append(describe(status))
    elif status == str(KSFT_SKIP) and not all(
        kind == "skip" for kind, _, _ in points
    ):
        wrong.append("exit status says skipped, the tests do not")
    if wrong:
        tail = [line for line in lines if line.strip()][-3:]
        found.append(
            ("fail", name, ", ".join(wrong) + "; last: " + " | ".join(tail))
        )
    return found


class Output:
    """What output.log holds."""

    def __init__(self, text, token):
        self.programs = {}  # name -> (lines, status, hundredths of seconds)
        self.errors = []  # (program, text)
        self.unfinished = None  # the program that ran when all stopped
        self.fatal = None
        self.files = {}
        self.dmesg = []
        self.leaks = None  # what kmemleak shows
        self.locks = None  # "1" if lockdep watched to the end
        self.tainted = 0
        self.ready = self.done = False
        lines = into = []
        prefix = f"@{token} "
        for line in text.replace("\r", "").split("\n"):
            if not line.startswith(prefix):
                into.append(line)
                continue
            event, *args = line[len(prefix) :].split(" ")
            if event == "begin":
                self.unfinished, lines = args[0], []
                into = lines
                continue
            if event == "end":
                self.programs[args[0]] = (lines, args[1], int(args[2]))
                self.unfinished = None
            elif event == "error":
                self.errors.append((args[0], " ".join(args[1:])))
            elif event == "fatal":
                self.fatal = " ".join(args)
            elif event == "file":
                into = self.files.setdefault(args[0], [])
                continue
            elif event == "dmesg":
                into = self.dmesg
                continue
            elif event == "leaks":
                into = self.leaks = []
                continue
            elif event == "locks":
                self.locks = args[0]
            elif event == "tainted":
                self.tainted = int(args[0])
            elif event == "ready":
                self.ready = True
            elif event == "done":
                self.done = True
            into = []
        self.tail = lines


def kernel_complaints(text):
    """{program or "(boot)": [lines]} that the kernel should not log."""
    where, complaints = "(boot)", {}
    for line in text.replace("\r", "").split("\n"):
        message = re.sub(r"^(<\d+>)?\[ *[\d.]+\]( *\[ *[TC]\d+\])? ?", "", line)
        if match := re.match(r"kiommu-vm: (begin|end) (\S+)", message):
            where = match[2] if match[1] == "begin" else f"after {match[2]}"
        elif BAD_KERNEL_LINES.search(message):
            complaints.setdefault(where, []).append(message.strip())
    return complaints


def describe_leaks(lines):
    """One text for each object that nothing points to any more."""
    found = []
    for line in lines:
        if line.startswith("unreferenced object"):
            found.append(line.rstrip(": "))
        elif found and (match := re.match(r"  comm (\"[^\"]*\")", line)):
            found[-1] += f" of {match[1]}"
        elif found and (
            match := re.match(r"    (0x\w+|[\w.]+\+0x\S+.*)$", line)
        ):
            found[-1] += f" < {match[1]}"
        elif line.strip() and not found:
            # Whatever it means, it is to be reported.
            found.append(line.strip())
    return found


def judge(output, serial, programs, plain, qemu_status, debug=False):
    """{program or "(...)": [(status, test, reason)]} in order of running."""
    found = {}
    for name in programs:
        found[name] = []
        if name in output.programs:
            lines, status, _ = output.programs[name]
            found[name] += judge_program(name, lines, status, plain)
        elif name == output.unfinished:
            tail = [line for line in output.tail if line.strip()][-3:]
            how = (
                "the machine timed out in it"
                if qemu_status == 124
                else "the machine died in it"
            )
            points = [] if plain else parse_tap(output.tail)[0]
            found[name] += [(k, f"{name}: {t}", why) for k, t, why in points]
            found[name].append(("fail", name, f"{how}; last: {' | '.join(tail)}"))
        elif not any(program == name for program, _ in output.errors):
            reason = output.fatal or "not run: the machine did not get there"
            found[name].append(("fail", name, reason))
    for name, text in output.errors:
        found.setdefault(name, []).append(("fail", name, text))

    def machine_fault(text):
        found.setdefault("(machine)", []).append(("fail", "(machine)", text))

    if output.fatal:
        machine_fault(output.fatal)
    elif not output.ready:
        machine_fault("did not boot; see serial.log and qemu.log")
    elif not output.done:
        machine_fault("timed out" if qemu_status == 124 else "died")
    elif qemu_status:
        machine_fault(f"QEMU's exit status was {qemu_status}")

    # dmesg has every message complete; the console also has the last ones of a
    # kernel that died.
    complaints = kernel_complaints(serial)
    complaints.update(kernel_complaints("\n".join(output.dmesg)))
    for where, lines in complaints.items():
        name = where if where in programs else "(kernel)"
        found.setdefault(name, []).append(
            ("fail", f"kernel log, {where}", " | ".join(lines[:3]))
        )
    if output.done and not any(output.dmesg):
        machine_fault("the kernel's log is missing")
    if debug and output.done:
        if output.leaks is None:
            machine_fault("kmemleak has not been asked")
        elif leaks := describe_leaks(output.leaks):
            machine_fault(f"{len(leaks)} leaked: " + " | ".join(leaks[:3]))
    # Only a kernel without lockdep reports no state; a debug kernel has it.
    if output.done and (debug or output.locks is not None):
        if output.locks != "1":
            machine_fault("lockdep was off in the end")
    if odd := output.tainted & ~(TAINT_OUT_OF_TREE | TAINT_UNSIGNED):
        machine_fault(f"the kernel is tainted: {odd:#x}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--token", required=True)
    parser.add_argument("--qemu-status", required=True, type=int)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("programs", nargs="+")
    options = parser.parse_args()

    def load(name):
        path = options.out / name
        return path.read_text(errors="replace") if path.exists() else ""

    output = Output(load("output.log"), options.token)
    found = judge(
        output,
        load("serial.log"),
        options.programs,
        options.plain,
        options.qemu_status,
        options.debug,
    )
    for name, lines in output.files.items():
        (options.out / "files").mkdir(exist_ok=True)
        try:
            data = base64.b64decode("".join(lines), validate=True)
        except binascii.Error:
            found.setdefault("(machine)", []).append(
                ("fail", "(machine)", f"{name} arrived damaged")
            )
            continue
        (options.out / "files" / pathlib.Path(name).name).write_bytes(data)
    if options.plain:
        heard = {name: run[0] for name, run in output.programs.items()}
        if output.unfinished:
            heard[output.unfinished] = output.tail
        for name, lines in heard.items():
            text = "\n".join(lines).strip("\n") + "\n"
            (options.out / f"{name}.out").write_text(text)

    for name, points in found.items():
        passed, failed, skipped = results.count(
            [Result(status, "", "") for status, _, _ in points]
        )
        verdict = "FAIL" if failed else "PASS" if passed else "SKIP"
        text = f"{passed} passed, {failed} failed, {skipped} skipped"
        if name in output.programs:
            text += f", {output.programs[name][2] / 100:.1f} s"
        print(f"{verdict} {options.name}: {name} ({text})")
        for status, test, reason in points:
            if status == "fail":
                print(f"     {test}: {reason}")
    everything = [
        Result(status, options.name, test, reason)
        for points in found.values()
        for status, test, reason in points
    ]
    results.write(options.out / "results.tsv", everything)
    failed = results.count(everything)[1]
    if failed:
        print(f"     logs: {options.out}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
