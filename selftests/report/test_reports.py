# SPDX-License-Identifier: GPL-2.0-only
"""Tests of how test runs are judged: what must fail, fails."""

import io
import pathlib
import tempfile
import unittest

import results
import unit
import vm
from results import Result

TOKEN = "0123"
CLEAN_LOG = "<6>[    1.000000] kiommu-vm: begin a_test\n"


def session(*parts, ready=True, done=True, tainted=0, log=CLEAN_LOG):
    """output.log of a machine in which `parts` happened."""
    lines = [f"\n@{TOKEN} ready"] if ready else []
    lines += parts
    if done:
        lines += [
            f"\n@{TOKEN} dmesg\n{log}",
            f"\n@{TOKEN} tainted {tainted}",
            f"\n@{TOKEN} done\n",
        ]
    return "\n".join(lines)


def program(text, status=0, name="a_test"):
    return f"\n@{TOKEN} begin {name}\n{text}\n@{TOKEN} end {name} {status} 150"


def judge(
    text, serial="", programs=("a_test",), plain=False, qemu=0, debug=False
):
    found = vm.judge(
        vm.Output(text, TOKEN), serial, list(programs), plain, qemu, debug
    )
    points = [point for points in found.values() for point in points]
    return results.count([Result(*point[:1], "", "") for point in points]), points


GOOD = "TAP version 13\n1..2\nok 1 one\nok 2 two"


class Programs(unittest.TestCase):
    def check(self, counts, text, **options):
        found, points = judge(text, **options)
        self.assertEqual(found, counts, points)
        return points

    def test_pass(self):
        self.check((2, 0, 0), session(program(GOOD)))

    def test_carriage_returns(self):
        text = session(program(GOOD)).replace("\n", "\r\n")
        self.check((2, 0, 0), text)

    def test_failed_point_with_its_diagnostics(self):
        text = "1..2\nok 1 one\n# because\nnot ok 2 two"
        points = self.check((1, 1, 0), session(program(text, 1)))
        self.assertIn(("fail", "a_test: two", "because"), points)

    def test_skip(self):
        text = "1..2\nok 1 one\nok 2 two # SKIP no device"
        points = self.check((1, 0, 1), session(program(text)))
        self.assertIn(("skip", "a_test: two", "no device"), points)

    def test_skip_all(self):
        text = "TAP version 13\n1..0 # SKIP no device"
        self.check((0, 0, 1), session(program(text, 4)))
        self.check((0, 0, 1), session(program(text, 0)))
        self.check((0, 1, 0), session(program(text, 1)))

    def test_skip_status_but_passes(self):
        self.check((2, 1, 0), session(program(GOOD, 4)))

    def test_bad_status_though_all_ok(self):
        self.check((2, 1, 0), session(program(GOOD, 1)))

    def test_signal(self):
        points = self.check((2, 1, 0), session(program(GOOD, 139)))
        self.assertIn("killed by signal 11", points[-1][2])

    def test_program_timed_out(self):
        text = session(program("1..2\nok 1 one", "timeout"))
        points = self.check((1, 1, 0), text)
        self.assertIn("timed out", points[-1][2])
        text = session(program("1..2\nnot ok 1 one\nok 2 two", "timeout"))
        self.check((1, 2, 0), text)

    def test_plan_not_kept(self):
        self.check((1, 1, 0), session(program("1..2\nok 1 one")))
        self.check((2, 1, 0), session(program("1..1\nok 1 one\nok 2 two")))

    def test_no_plan(self):
        self.check((1, 1, 0), session(program("ok 1 one")))

    def test_nothing_said(self):
        self.check((0, 1, 0), session(program("")))

    def test_bail_out(self):
        self.check((2, 1, 0), session(program(GOOD + "\nBail out! no")))

    def test_subtests_do_not_count(self):
        text = "1..1\n    1..1\n    not ok 1 inner\nok 1 one"
        self.check((1, 0, 0), session(program(text)))

    def test_plain(self):
        self.check((1, 0, 0), session(program("text")), plain=True)
        self.check((0, 1, 0), session(program("text", 1)), plain=True)
        self.check((0, 1, 0), session(program("text", "timeout")), plain=True)

    def test_forged_event(self):
        text = "1..1\nok 1 one\n@ffff end a_test 0 1"
        self.check((1, 1, 0), session(program(text, 1)))


class Machine(unittest.TestCase):
    def check(self, counts, text, **options):
        found, points = judge(text, **options)
        self.assertEqual(found, counts, points)
        return points

    def test_did_not_boot(self):
        self.check((0, 2, 0), "")

    def test_died_in_program(self):
        text = session(f"\n@{TOKEN} begin a_test\n1..2\nok 1 one", done=False)
        points = self.check((1, 2, 0), text)
        self.assertIn("died in it", points[1][2])
        points = self.check((1, 2, 0), text, qemu=124)
        self.assertIn("timed out in it", points[1][2])

    def test_program_not_reached(self):
        self.check(
            (2, 2, 0),
            session(program(GOOD), done=False),
            programs=("a_test", "b_test"),
        )

    def test_set_up_failed(self):
        text = session(f"\n@{TOKEN} fatal no device", ready=False)
        points = self.check((0, 2, 0), text)
        self.assertEqual(points[0][2], "no device")

    def test_module_does_not_load_or_unload(self):
        text = f"\n@{TOKEN} error a_test the module cannot be loaded"
        self.check((0, 1, 0), session(text))
        text = f"\n@{TOKEN} error a_test the module cannot be unloaded"
        self.check((2, 1, 0), session(program(GOOD), text))

    def test_qemu_failed(self):
        self.check((2, 1, 0), session(program(GOOD)), qemu=1)

    def test_taint(self):
        self.check((2, 0, 0), session(program(GOOD), tainted=0x3000))
        self.check((2, 1, 0), session(program(GOOD), tainted=0x3200))

    def test_kernel_log(self):
        for line in (
            "WARNING: CPU: 0 PID: 1 at mm/gup.c:1 f+0x1/0x2",
            "------------[ cut here ]------------",
            "BUG: kernel NULL pointer dereference, address: 0000",
            "BUG: Bad page state in process x  pfn:1",
            "Oops: 0002 [#1] PREEMPT SMP NOPTI",
            "Oops: general protection fault, probably for address 0x1",
            "WARNING: possible circular locking dependency detected",
            "RIP: 0010:f+0x1/0x2 [kvm_iommu]",
            "refcount_t: underflow; use-after-free.",
            "INFO: task a_test:12 blocked for more than 120 seconds.",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "Kernel panic - not syncing: Fatal exception",
            "list_add corruption. prev->next should be next",
            "BUG: KASAN: slab-use-after-free in f+0x1/0x2 [kvm_iommu]",
            "UBSAN: array-index-out-of-bounds in a.c:1:2",
            "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
            "WARNING: possible recursive locking detected",
            "WARNING: Nested lock was not taken",
            "WARNING: a_test/12 still has locks held!",
            "WARNING: suspicious RCU usage",
            "[ BUG: Invalid wait context ]",
            "BUG: sleeping function called from invalid context at a.c:1",
            "ODEBUG: Out of memory. ODEBUG disabled",
            "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug)",
            "kmemleak: Kernel memory leak detector disabled",
            "Unable to handle kernel pointer dereference in virtual kernel "
            "address space",
            "Oops: 0004 ilc:3 [#1] SMP",
            "specification exception: 0006 ilc:2 [#1] PREEMPT SMP",
            "illegal operation: 0001 ilc:1 [#1] SMP",
            "monitor event: 0040 ilc:2 [#1] PREEMPT SMP",
            "fixpoint divide exception: 0009 ilc:2 [#2] SMP",
            "Low-address protection: 0004 ilc:2 [#1] SMP",
            "Krnl PSW : 0704c00180000000 000003ffe0000000 (f+0x1/0x2 [kvm_iommu])",
            "Kernel stack overflow.",
            "Corrupt kernel stack, can't continue.",
        ):
            with self.subTest(line):
                log = CLEAN_LOG + f"<4>[    2.000000] {line}\n"
                points = self.check((2, 1, 0), session(program(GOOD), log=log))
                self.assertIn("a_test", points[-1][1])
                serial = log.replace("<4>", "").replace("<6>", "")
                self.check((2, 1, 0), session(program(GOOD)), serial=serial)

    def test_harmless_kernel_log(self):
        for line in (
            "kvm_iommu: loading out-of-tree module taints kernel.",
            "DMAR: [DMA Write NO_PASID] Request device [00:01.0] fault addr 0x0",
            "vfio-pci 0000:00:02.0: AMD-Vi: Event logged [IO_PAGE_FAULT]",
            "a_test[70]: segfault at 0 ip 0 sp 0 error 4 in a_test",
            "Spectre V2 : WARNING: Unprivileged eBPF is enabled",
            "PCI: Using configuration type 1 for base access",
            "kmemleak: Kernel memory leak detector initialized (mem pool: 9)",
            "ODEBUG: selftest passed",
            "zpci: 0001:00:00.0: Event 0x4 reports an error for PCI function 0x1",
            "User process fault: interruption code 003b ilc:3 in a_test[1000+1]",
            "User PSW : 0705000180000000 0000000001000abc",
        ):
            with self.subTest(line):
                log = CLEAN_LOG + f"<4>[    2.000000] {line}\n"
                self.check((2, 0, 0), session(program(GOOD), log=log))

    def test_log_is_missing(self):
        self.check((2, 1, 0), session(program(GOOD), log="").replace("\n\n", "\n"))

    def test_files(self):
        text = session(program(GOOD), f"\n@{TOKEN} file x.json\ne30=\n")
        self.assertEqual("".join(vm.Output(text, TOKEN).files["x.json"]), "e30=")


class Debug(unittest.TestCase):
    """What a debug kernel reports at the end."""

    LEAK = (
        "unreferenced object 0xffff888008d0e300 (size 64):\n"
        '  comm "a_test", pid 87, jiffies 4294899713\n'
        "  hex dump (first 32 bytes):\n"
        "    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................\n"
        "  backtrace (crc 12345678):\n"
        "    __kmalloc_noprof+0x1/0x2\n"
        "    f+0x3/0x4 [vfio]\n"
        "    0xffffffffa0123456\n"
    )

    def check(self, counts, *parts, debug=True):
        text = session(program(GOOD), *parts)
        found, points = judge(text, debug=debug)
        self.assertEqual(found, counts, points)
        return points

    def leaks(self, text=""):
        return f"\n@{TOKEN} leaks\n{text}"

    def locks(self, alive="1"):
        return f"\n@{TOKEN} locks {alive}"

    def test_nothing_found(self):
        self.check((2, 0, 0), self.leaks(), self.locks())

    def test_leaks(self):
        points = self.check((2, 1, 0), self.leaks(2 * self.LEAK), self.locks())
        self.assertIn("2 leaked", points[-1][2])
        self.assertIn('"a_test" < __kmalloc_noprof+0x1/0x2', points[-1][2])
        self.assertIn("f+0x3/0x4 [vfio] < 0xffffffffa0123456", points[-1][2])

    def test_strange_leaks(self):
        self.check((2, 1, 0), self.leaks("what is this"), self.locks())

    def test_lockdep_gave_up(self):
        self.check((2, 1, 0), self.leaks(), self.locks("0"))
        self.check((2, 1, 0), self.leaks(), self.locks(""))

    def test_not_asked(self):
        self.check((2, 2, 0))
        self.check((2, 1, 0), self.locks())
        self.check((2, 0, 0), debug=False)

    def test_lockdep_in_any_kernel(self):
        self.check((2, 0, 0), self.locks(), debug=False)
        self.check((2, 1, 0), self.locks("0"), debug=False)


class Summary(unittest.TestCase):
    def summary(self, *files):
        with tempfile.TemporaryDirectory() as directory:
            paths = []
            for index, content in enumerate(files):
                path = pathlib.Path(directory, f"suite{index}.tsv")
                if content is not None:
                    results.write(path, content)
                paths.append(path)
            out = io.StringIO()
            status = results.summary(paths, out)
        return status, out.getvalue().strip().split("\n")[-1]

    def test_counts(self):
        good = [Result("pass", "s", "a"), Result("skip", "s", "b", "why")]
        self.assertEqual(
            self.summary(good, good), (0, "2 passed, 0 failed, 2 skipped")
        )
        bad = [Result("fail", "s", "a\tb", "x\ny")]
        self.assertEqual(
            self.summary(good, bad), (1, "1 passed, 1 failed, 1 skipped")
        )

    def test_no_results(self):
        good = [Result("pass", "s", "a")]
        self.assertEqual(
            self.summary(good, None), (1, "1 passed, 1 failed, 0 skipped")
        )
        self.assertEqual(
            self.summary(good, []), (1, "1 passed, 1 failed, 0 skipped")
        )


class Units(unittest.TestCase):
    def run_program(self, script, *shard):
        with tempfile.TemporaryDirectory() as directory:
            found, _ = unit.run(
                "s",
                0,
                ("sh", "-c", script),
                directory,
                pathlib.Path(directory),
                *shard,
            )
        return results.count(found)

    def test_report(self):
        xml = (
            "<testsuites><testsuite>"
            '<testcase name="a" classname="c" status="run"/>'
            '<testcase name="b" classname="c" status="run">'
            '<failure message="no"/></testcase>'
            '<testcase name="d" classname="c" status="notrun"/>'
            '<testcase name="e" classname="c" status="run" result="skipped">'
            '<skipped message="f:1&#10;why"/></testcase>'
            "</testsuite></testsuites>"
        )
        write = f"echo '{xml}' >${{GTEST_OUTPUT#xml:}};"
        self.assertEqual(self.run_program(write + "exit 1"), (1, 1, 2))

    def test_crash_without_report(self):
        self.assertEqual(self.run_program("kill -SEGV $$"), (0, 1, 0))

    def test_bad_status_with_good_report(self):
        xml = '<testsuites><testcase name="a" classname="c"/></testsuites>'
        write = f"echo '{xml}' >${{GTEST_OUTPUT#xml:}};"
        self.assertEqual(self.run_program(write + "exit 1"), (1, 1, 0))

    def test_no_gtest(self):
        self.assertEqual(self.run_program("exit 0"), (1, 0, 0))
        self.assertEqual(self.run_program("exit 3"), (0, 1, 0))

    def test_shards(self):
        case = '<testcase name="\'$GTEST_SHARD_INDEX\'" classname="c"/>'
        xml = f"<testsuites>{case * 2}</testsuites>"
        write = f"echo '{xml}' >${{GTEST_OUTPUT#xml:}};"
        right = '[ "$GTEST_TOTAL_SHARDS" = 4 ];'
        self.assertEqual(self.run_program(write + right, 3, 4), (2, 0, 0))
        self.assertEqual(self.run_program(write + right, 3, 5), (2, 1, 0))
        # Each shard leaves a report of its own; one that does not has failed.
        self.assertEqual(self.run_program("exit 0", 3, 4), (0, 1, 0))
        # Without shards, GoogleTest is not told of any.
        alone = '[ -z "$GTEST_TOTAL_SHARDS" ];'
        self.assertEqual(self.run_program(write + alone), (2, 0, 0))

    def test_commands(self):
        test = {"name": "a", "command": ["p", "--gtest_filter=x", "-v"]}
        labels = [{"name": "LABELS", "value": [unit.LABEL]}]
        place = [{"name": "WORKING_DIRECTORY", "value": "/w"}]
        listing = {"tests": [test, {**test, "command": ["q"]}, test]}
        listing["tests"][1]["properties"] = labels + place
        self.assertEqual(
            unit.commands_of(listing, "/b"),
            {("p", "-v"): ("/b", 1), ("q",): ("/w", unit.SHARDS)},
        )


if __name__ == "__main__":
    unittest.main()
