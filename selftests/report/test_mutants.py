#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tests of mutants.py."""

import pathlib
import tempfile
import unittest

import mutants

LIST = """# SPDX

== a group

one a.cc by Suite.Test
- if (a && b) {
+ if (a) {

two dir/b.cc x2
- first
- second
- third
+ 1
"""


class Lists(unittest.TestCase):
    def test_parse(self):
        one, two = mutants.parse(LIST)
        self.assertEqual(one.name, "one")
        self.assertEqual(one.file, "a.cc")
        self.assertEqual(one.killer, "Suite.Test")
        self.assertEqual(one.times, 1)
        self.assertEqual(one.changes, (("if (a && b) {", "if (a) {"),))
        self.assertEqual(two.times, 2)
        self.assertEqual(two.killer, "")
        self.assertEqual(two.changes, (("first\nsecond\nthird", "1"),))

    def test_several_changes(self):
        (one,) = mutants.parse("one a\n- x\n+ y\n- z\n")
        self.assertEqual(one.changes, (("x", "y"), ("z", "")))

    def test_malformed(self):
        for text in (
            "one",
            "one a.cc x",
            "- text of nothing",
            "one a\n+ new",
            "one a\n\ntwo b\n- x",
            "one a\n- x\n\none b\n- x",
        ):
            with self.subTest(text), self.assertRaises(mutants.Malformed):
                mutants.parse(text)

    def test_learn(self):
        text = mutants.learn(LIST, {"one": "S.B", "two": "T/0.A"})
        self.assertIn("one a.cc by S.B\n", text)
        self.assertIn("two dir/b.cc x2 by T/0.A\n", text)
        text = mutants.learn(text, {"one": "a crash"})
        self.assertIn("one a.cc\n", text)
        self.assertEqual(len(mutants.parse(text)), 2)


class Applying(unittest.TestCase):
    def apply(self, old, text, times=1, new="NEW"):
        change = mutants.Mutant("m", "f", ((old, new),), times)
        return mutants.apply(change, text)

    def test_white_space_does_not_matter(self):
        for text in ("f(a, b);", "f(\n    a,\n    b);", "f(a,b) ;"):
            self.assertEqual(self.apply("f(a, b);", text), "NEW")
        self.assertEqual(self.apply("return  x", "return\n x"), "NEW")
        self.assertIsNone(self.apply("return x", "returnx"))
        self.assertIsNone(self.apply("ab", "a b"))

    def test_words_are_whole(self):
        self.assertIsNone(self.apply("pin", "unpin"))
        self.assertIsNone(self.apply("pin", "pinned"))
        self.assertEqual(self.apply("pin", "(pin)"), "(NEW)")

    def test_count_must_be_right(self):
        self.assertIsNone(self.apply("a", "b"))
        self.assertIsNone(self.apply("a", "a a"))
        self.assertIsNone(self.apply("a", "a", times=2))
        self.assertEqual(self.apply("a", "a a", times=2), "NEW NEW")

    def test_new_text_is_taken_as_it_is(self):
        self.assertEqual(self.apply("a", "a", new="\\1 \\n"), "\\1 \\n")

    def test_several_changes(self):
        change = mutants.Mutant("m", "f", (("a", "1"), ("b", "2")))
        self.assertEqual(mutants.apply(change, "a b"), "1 2")
        self.assertIsNone(mutants.apply(change, "a"))

    def test_check(self):
        change = mutants.Mutant("m", "f", (("a", "1"),))
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            self.assertEqual(mutants.check([change], root), [change])
            (root / "f").write_text("a")
            self.assertEqual(mutants.check([change], root), [])
            (root / "f").write_text("b")
            self.assertEqual(mutants.check([change], root), [change])


class Building(unittest.TestCase):
    def test_dependencies(self):
        text = "x.o: /r/a.cc \\\n /r/b/../c.hpp \\\n /usr/include/d.h ../a/e.h\n"
        self.assertEqual(
            mutants.dependencies(text, "/r/build", "/r"),
            {"a.cc", "c.hpp", "a/e.h"},
        )

    def test_command(self):
        # The root itself is looked up for includes, too.
        command = (
            "c++ -I/r/i -I/r -I/rest/i -O2 -MD -MT x.o -MF x.d -o x.o -c /r/a.cc"
        ).split()
        self.assertEqual(
            mutants.command_for(command, "/r", "/t/0", "/t/x.o"),
            ["c++", "-I/t/0/i", "-I/t/0", "-I/rest/i", "-O2", "-c", "/t/0/a.cc"]
            + [*mutants.FASTER, "-o", "/t/x.o"],
        )

    def test_part_of_a_test(self):
        with tempfile.TemporaryDirectory() as directory:
            root = pathlib.Path(directory)
            item = {}
            for name, text in (
                ("core.cc", ""),
                ("test_a.cc", "TEST_P(S, One) {}"),
                ("test_b.cc", "TEST_P(S, OneMore) {}"),
            ):
                (root / name).write_text(text)
                command = ("c++", "-c", str(root / name))
                item[name] = mutants.Object("", command, "", frozenset())
            for test, expected in (
                ("Kind/S.One/2", {"core.cc", "test_a.cc"}),
                ("S.OneMore", {"core.cc", "test_b.cc"}),
                ("S.Gone", {"core.cc"}),
            ):
                found = {n for n, i in item.items() if mutants.has_part_in(test, i)}
                self.assertEqual(found, expected)

    def test_failed_test(self):
        ok = "[ RUN      ] S.ok\n[       OK ] S.ok (0 ms)\n"
        run = ok + "[ RUN      ] S.a/1\n"
        failed = run + "[  FAILED  ] S.a/1, where GetParam() = 1 (3 ms)\n"
        self.assertEqual(mutants.failed_test(failed), "S.a/1")
        self.assertEqual(mutants.failed_test(run), "S.a/1")
        self.assertEqual(mutants.failed_test(""), "a crash")

    def test_quick(self):
        cases = [{"name": "a", "time": "0.5s"}, {"name": "b", "time": "0.01s"}]
        report = {"testsuites": [{"name": "S", "testsuite": cases}]}
        times = mutants.times_of(report)
        self.assertEqual(times, {"S.a": 0.5, "S.b": 0.01})
        self.assertEqual(mutants.quick_filter(times), "-S.a")
        self.assertEqual(mutants.quick_filter({"S.b": 0.01}), "*")

    def test_timeout(self):
        runner = mutants.Runner.__new__(mutants.Runner)
        runner.took = {}
        self.assertIsNone(runner.timeout("*"))
        runner.took = {"*": 90, "-S.a": 30, "S.a": 0.1}
        self.assertEqual(runner.timeout("*"), 90 * mutants.TIMEOUT_FACTOR)
        self.assertEqual(runner.timeout("-S.a"), 30 * mutants.TIMEOUT_FACTOR)
        self.assertEqual(runner.timeout("S.a"), mutants.LEAST_TIMEOUT)
        self.assertEqual(runner.timeout("S.gone"), mutants.LEAST_TIMEOUT)


class Running(unittest.TestCase):
    """A project of two files, and a "compiler" that copies."""

    def runner(self, directory):
        root = pathlib.Path(directory) / "root"
        for source in mutants.SOURCES:
            (root / source).mkdir(parents=True, exist_ok=True)
        (root / "arch/a").write_text("safe\n")
        runner = mutants.Runner.__new__(mutants.Runner)
        runner.root = root
        runner.timeout = lambda only: 10
        runner.quick = "-Slow.*"
        compiler = pathlib.Path(directory) / "cc"
        # Objects are linked by leaving a program that looks at them.
        compiler.write_text(
            "#!/bin/sh\n"
            "out= in= all=\n"
            "while [ $# -gt 0 ]; do case $1 in\n"
            "-o) out=$2; shift ;; -c) in=$2; shift ;;\n"
            "-*) ;; *) all=$1 ;; esac; shift; done\n"
            "if [ -n \"$in\" ]; then ! grep -q error $in && cp $in $out\n"
            "else { echo '#!/bin/sh'; cat $all; } >$out; chmod +x $out; fi\n"
        )
        compiler.chmod(0o755)
        runner.objects = [
            mutants.Object(
                str(root / "a.o"),
                (str(compiler), "-o", "a.o", "-c", str(root / "arch/a")),
                directory,
                frozenset({"arch/a"}),
            )
        ]
        return runner

    def judge(self, old, new, **options):
        with tempfile.TemporaryDirectory() as directory:
            runner = self.runner(directory)
            timeout = options.pop("timeout", 10)
            runner.timeout = lambda only: timeout
            (runner.root / "arch/a").write_text("true\n")
            mutant = mutants.Mutant("m", "arch/a", ((old, new),), **options)
            found = list(
                mutants.run_all(runner, pathlib.Path(directory) / "w", [mutant], 1)
            )
        self.assertEqual(len(found), 1)
        return found[0][1:]

    def test_killed(self):
        said = "echo '[  FAILED  ] S.a, where'; exit 1"
        self.assertEqual(self.judge("true", said), ("killed", "killed by S.a"))
        self.assertEqual(self.judge("true", "exit 1")[1], "killed by a crash")

    def test_killed_by_a_slow_test(self):
        quick = 'case "$*" in *-Slow*) exit 0 ;; esac; exit 1'
        self.assertEqual(self.judge("true", quick)[0], "killed")

    def test_named_test_is_first(self):
        said = 'echo "[  FAILED  ] $2"; exit 1'
        self.assertEqual(
            self.judge("true", said, killer="S.b")[1],
            "killed by --gtest_filter=S.b",
        )

    def test_survives(self):
        self.assertEqual(self.judge("true", "exit 0"), ("survived", "SURVIVES"))
        # The named test may be gone.
        found = self.judge("true", "exit 0", killer="S.b")
        self.assertEqual(found, ("survived", "SURVIVES"))

    def test_does_not_end(self):
        found = self.judge("true", "exec sleep 60", timeout=0.2)
        self.assertEqual(found, ("killed", "killed by the time limit"))

    def test_neither_applies_nor_builds(self):
        self.assertEqual(self.judge("gone", "x")[0], "none")
        verdict, words = self.judge("true", "error")
        self.assertEqual(verdict, "none")
        self.assertIn("DOES NOT BUILD", words)

    def test_time(self):
        with tempfile.TemporaryDirectory() as directory:
            runner = self.runner(directory)
            mutant = mutants.Mutant("m", "arch/a", (("safe", "exit 1"),))
            found = mutants.run_all(
                runner, pathlib.Path(directory) / "w", [mutant] * 3, 1, seconds=-1
            )
            self.assertEqual(list(found), [])

    def test_summary(self):
        self.assertEqual(
            mutants.summary(["killed", "none", "killed"]),
            "2 killed, 0 survived, 1 do not apply",
        )


if __name__ == "__main__":
    unittest.main()
