"""Are the tests honest? Small changes are made to fastnet, one at a time, and the tests that reach the changed line have to notice.

    python -m tests.mutate --seed 1 --tcp 300 --rest 200     sample, run, and write docs/mutation.md
    python -m tests.mutate --rest 0                           only fastnet/tcp; what the page says of the rest stays
    python -m tests.mutate --only fastnet/tcp/rtt.py         every mutant of one module; the page stays as it is
    python -m tests.mutate --again                           the survivors of all samples
    python -m tests.mutate --seed 7 --add --parts fastnet/aio,fastnet/tcp/gate.py   one more sample, of a part; the page adds them up

What became of each mutant is in tests/mutate/results.tsv, from which the page is written. A mutant whose line has changed since is left
out of the page, and at the next run out of the table. How many mutants of a sample were killed when it was drawn, before any test was
written for its survivors, is in tests/mutate/fresh.tsv: that share is what the tests are worth, and it stays.

It works in copies of the tree under build/mutate. The protocol runs uncompiled; a leaf is built anew for each of its mutants. Which
tests reach a line is found by running them all under coverage.py: once, then those of files that have changed, all with ``--reach``.
A line of a module keeps its tests when it moves.
The tests that take least time run first, and one that has noticed a change to the same module before those. A mutant has survived when
none of the tests that reach its line has failed, or none of those that together take less than ``--budget`` seconds. A kill by a test
that depends on real time has to happen twice.

A mutant that does what the original does is equivalent: tests/mutate/equivalent.tsv says which are, and why.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from tests.mutate.operators import Mutant, is_program, mutants

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "mutate"
PAGE = ROOT / "docs" / "mutation.md"
EQUIVALENT = Path(__file__).with_name("equivalent.tsv")
RESULTS = Path(__file__).with_name("results.tsv")
FRESH = Path(__file__).with_name("fresh.tsv")
COLUMNS = ("module", "line", "function", "before", "after", "result", "by", "drawn")
REACH = BUILD / "reach.json"
SUITE = ["tests/protocol", "tests/server", "tests/leaves", "tests/devices", "tests/aio", "tests/doors", "tests/wire", "tests/fuzz"]
SUITE += ["tests/sweep", "tests/cli", "tests/load", "tests/test_clock.py", "tests/test_house.py", "tests/test_servers.py"]
SUITE += ["tests/test_twins.py", "tests/test_pytest_plugin.py"]
LEFT_OUT = ["tests/doors/test_cpython.py", "tests/wire/test_aio_cpython.py", "tests/test_mutate.py"]
"""Suites of others that run for minutes in a process of their own."""
TIMED = ("tests/doors", "tests/wire", "tests/aio")
"""Where a test waits in real time."""
IN_PROCESSES = {
    "fastnet/cli/": ["tests/wire/test_load.py", "tests/wire/test_faults.py", "tests/cli"],
    "fastnet/cli/run": ["tests/wire/test_run.py", "tests/wire/test_signals.py", "tests/cli"],
    "fastnet/cli/serving": ["tests/cli/test_serving.py", "tests/wire/test_faults.py", "tests/wire/test_load.py"],
    "fastnet/startup/": ["tests/wire/test_run.py"],
    "fastnet/isolation": ["tests/wire/test_run.py", "tests/wire/test_load.py", "tests/wire/test_signals.py", "tests/doors"],
    "fastnet/load/": [
        "tests/load", "tests/wire/test_load_processes.py", "tests/wire/test_load.py", "tests/wire/test_bulk.py",
        "tests/wire/test_floods.py",
    ],
    "fastnet/load/_client": ["tests/wire/test_load_client.py", "tests/wire/test_load.py"],
    "fastnet/load/_flood": ["tests/load/test_flood_packets.py", "tests/wire/test_floods.py"],
    "fastnet/_tun": ["tests/wire/test_tun.py", "tests/wire/test_offload.py", "tests/wire/test_kernel_clients.py"],
    "fastnet/aio/_wait": ["tests/aio", "tests/wire/test_aio.py"],
    "fastnet/_": ["tests/leaves", "tests/devices", "tests/protocol"],
    "fastnet/pytest_plugin": ["tests/test_pytest_plugin.py"],
}  # fmt: skip
"""Beginnings of modules whose lines run in other processes, or in C, -> where their tests are. The longest beginning counts."""
COUNTING = "tests/protocol/test_ack_work.py"
COUNTED = tuple(f"fastnet/tcp/{name}.py" for name in ("flights", "scoreboard", "rack", "recovery", "sender"))
"""Tests that count the lines that run, with a trace function of their own, so that coverage.py sees nothing; and what they count."""
USAGE_ERROR = 4
"""Pytest's exit code where a name is of no test."""
DEFAULT_TIME = 2.0
FIRST = 5
LEAVES = ("buffer", "checksum", "demux", "flow", "headers", "pairs", "ports", "ring", "timer", "writer")
LEAVES_FIRST = {"_" + name: f"tests/leaves/test_{name}.py" for name in LEAVES}


@dataclass
class Outcome:
    """What became of a mutant.

    :ivar result: killed, survived, or unreached where no test runs its line
    :ivar by: the test that noticed
    :ivar cut: tests that were left out as they take too long
    :ivar drawn: by which sample: its seed, date, and the commit it was made of
    """

    mutant: Mutant
    before: str
    after: str
    result: str
    by: str = ""
    cut: int = 0
    drawn: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return (self.mutant.path, self.mutant.function, self.before, self.after)


def equivalents() -> dict[tuple[str, str, str, str], str]:
    """Mutants that are judged to be equivalent -> the reason."""
    with EQUIVALENT.open() as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {(row["module"], row["function"], row["before"], row["after"]): row["reason"] for row in rows}


def sample(seed: int, tcp: int, rest: int, leaves: bool = True, parts: tuple[str, ...] = ("",)) -> list[Mutant]:
    """So many mutants of fastnet/tcp, and of the rest; a module has a share by its size, and each at least one.

    :param leaves: also of Cython's sources
    :param parts: beginnings of the paths that a sample is of
    """
    chosen: list[Mutant] = []
    groups: dict[bool, list[list[Mutant]]] = {True: [], False: []}
    sources = {}
    for path in sorted([*ROOT.glob("fastnet/**/*.py"), *ROOT.glob("fastnet/**/*.pyx")]):
        name = str(path.relative_to(ROOT))
        if path.suffix == ".pyx" and not leaves or not name.startswith(parts):
            continue
        sources[name] = path.read_text()
        if found := mutants(name, sources[name]):
            groups[name.startswith("fastnet/tcp/")].append(found)
    for is_tcp, modules in groups.items():
        share = (tcp if is_tcp else rest) / max(1, sum(map(len, modules)))
        for found in modules:
            count = min(len(found), max(1, round(share * len(found)))) if tcp and is_tcp or rest and not is_tcp else 0
            shuffled = Random(f"{seed} {found[0].path}").sample(found, len(found))
            programs = (mutant for mutant in shuffled if is_program(mutant, sources[mutant.path]))
            chosen += islice(programs, count)
    return chosen


class Reach:
    """Which tests run for which mutant."""

    def __init__(self, budget: float) -> None:
        read = json.loads(REACH.read_text())
        self.tests: list[tuple[str, float]] = [tuple(entry) for entry in read["tests"]]
        self.seconds: dict[str, float] = {}
        for name, seconds in self.tests:
            self.seconds[named(name)] = self.seconds.get(named(name), 0) + seconds
        self.lines: dict[str, dict[str, list[int]]] = read["lines"]
        self.budget = budget
        self.killers: dict[str, Counter[str]] = defaultdict(Counter)
        self.modules = {path: sorted({test for reached in lines.values() for test in reached}) for path, lines in self.lines.items()}

    def of(self, mutant: Mutant) -> tuple[list[str], int]:
        """Tests that reach its line, in the order in which to try them, and how many were left out for their time."""
        names = self._by_line(mutant) or self._by_module(mutant)
        killers = self.killers[mutant.path]
        own = f"/test_{Path(mutant.path).stem.strip('_')}.py"
        # A leaf's own tests are a file: how long that takes is not known, but it is soon.
        names.sort(key=lambda name: (-killers[name], own not in name, self.seconds.get(name, DEFAULT_TIME)))
        chosen, spent = [], 0.0
        for name in names:
            spent += self.seconds.get(name, DEFAULT_TIME) + 0.01
            if spent > self.budget and chosen:
                break
            chosen.append(name)
        left = len(names) - len(chosen)
        return [*chosen, COUNTING] if mutant.path in COUNTED else chosen, left

    def _by_line(self, mutant: Mutant) -> list[str]:
        lines = self.lines.get(mutant.path, {})
        if mutant.function:
            # A line in the middle of a statement has no tests of its own.
            near = (lines.get(str(line), []) for line in range(mutant.line, mutant.line - 6, -1))
            reached = next((tests for tests in near if tests), [])
        else:
            reached = []
        # What runs at import, in the body of a module or a class, has none either.
        reached = reached or self._by_name(mutant) or self.modules.get(mutant.path, [])
        names = [named(self.tests[index][0]) for index in reached]
        if not lines.get(str(mutant.line)) and mutant.path.endswith(".py"):
            names += self._by_module(mutant)
        return list(dict.fromkeys(names))

    def _by_name(self, mutant: Mutant) -> list[int]:
        """A constant is set at import: what counts is who reads it."""
        line = (ROOT / mutant.path).read_text().splitlines()[mutant.line - 1]
        names = re.findall(r"\b[A-Z][A-Z_0-9]+\b", re.split(r"[:=]", line)[0])
        if not names:
            return []
        used = re.compile(rf"\b(?:{'|'.join(names)})\b")
        found: set[int] = set()
        for path, lines in self.lines.items():
            for number, text in enumerate((ROOT / path).read_text().splitlines(), 1):
                if str(number) in lines and used.search(text):
                    found.update(lines[str(number)])
        return sorted(found)

    def _by_module(self, mutant: Mutant) -> list[str]:
        stem = Path(mutant.path).stem
        found = [LEAVES_FIRST[stem]] if stem in LEAVES_FIRST else []
        fitting = [beginning for beginning in IN_PROCESSES if mutant.path.startswith(beginning)]
        if fitting:
            places = [place for place in IN_PROCESSES[max(fitting, key=len)] if (ROOT / place).exists()]
            found += [name for name in self.seconds if name.startswith(tuple(places))]
            found += [place for place in places if not any(name.startswith(place) for name in self.seconds)]
        return found


class Worker:
    """A copy of the tree and a process that runs tests in it."""

    def __init__(self, number: int) -> None:
        self.tree = BUILD / f"tree{number}"
        refresh(self.tree)
        self._compile()
        self.zygote: subprocess.Popen[str] | None = None

    def run(self, names: list[str], reach: Reach) -> tuple[int, str]:
        """Pytest's exit code and the last test that ran."""
        if self.zygote is None:
            environment = {**os.environ, "FASTNET_PURE": "1", "PYTHONPATH": str(self.tree), "PYTHONDONTWRITEBYTECODE": "1"}
            command = [sys.executable, "-m", "tests.mutate.zygote"]
            self.zygote = subprocess.Popen(
                command, cwd=self.tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        assert self.zygote.stdin is not None and self.zygote.stdout is not None
        seconds = [max(10.0, 12 * reach.seconds.get(name, 10.0)) for name in names]
        self.zygote.stdin.write(json.dumps({"tests": names, "seconds": seconds}) + "\n")
        self.zygote.stdin.flush()
        answer = json.loads(self.zygote.stdout.readline())
        plain = list(dict.fromkeys(name.partition("[")[0] for name in names))
        if answer["code"] == USAGE_ERROR and not answer["killer"] and plain != names:
            # A case whose name is another one by now: all cases of its test.
            return self.run(plain, reach)
        return answer["code"], answer["killer"]

    def judge(self, mutant: Mutant, reach: Reach) -> Outcome:
        """Make the change, run the tests, take it back."""
        path = self.tree / mutant.path
        source = path.read_text()
        outcome = Outcome(mutant, *mutant.changed_line(source), "unreached")
        names, outcome.cut = reach.of(mutant)
        if not names:
            return outcome
        nothing_ran = False
        kept = path.stat()
        cached = {file: file.read_bytes() for file in path.parent.glob(f"__pycache__/{path.stem}.*.pyc")}
        try:
            for file in cached:
                file.unlink()
            path.write_text(mutant.apply(source))
            if path.suffix == ".pyx" and not self._build(path):
                outcome.result, outcome.by = "killed", "the compiler"
                return outcome
            # A few first: to collect hundreds of tests takes longer than to run one that notices.
            code, by = self.run(names[:FIRST], reach)
            if code == 0 and len(names) > FIRST:
                code, by = self.run(names[FIRST:], reach)
            if code == 1 and by.startswith(TIMED):
                code, by = self.run([by], reach)
            outcome.result, outcome.by = ("survived", "") if code in (0, 5) else ("killed", by)
            nothing_ran = code > 1 and not by
        finally:
            path.write_text(source)
            os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
            for file, compiled in cached.items():
                file.write_bytes(compiled)
            if path.suffix == ".pyx":
                self._restore(path)
        if nothing_ran:
            # A module, or a test's, cannot be imported with the mutant; or this tool is at fault.
            code, _ = self.run(names, reach)
            if code > 1:
                raise RuntimeError(f"pytest ends with {code} before its first test, with {names[:3]}")
            outcome.by = "the import"
        return outcome

    def check(self, reach: Reach) -> None:
        """Without a mutant, a test has to pass: otherwise everything would be killed.

        :raises RuntimeError: it does not
        """
        name = min((name for name in reach.seconds if name.startswith("tests/protocol/test_data.py")), key=lambda name: reach.seconds[name])
        if (code := self.run([name], reach)[0]) != 0:
            raise RuntimeError(f"{name} ends with {code} without a mutant")

    def _compile(self) -> None:
        """Have Python and pytest keep what they compile, so that no test's process does it again: it is told to write nothing."""
        environment = {**os.environ, "FASTNET_PURE": "1", "PYTHONPATH": str(self.tree), "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:xdist", "-p", "no:cacheprovider", "tests"]
        subprocess.run(command, cwd=self.tree, capture_output=True, env=environment, check=False)

    def _build(self, path: Path) -> bool:
        environment = {**os.environ, "PYTHONPATH": str(self.tree)}
        command = [sys.executable, "-m", "tests.mutate.leaf", str(path.relative_to(self.tree))]
        return subprocess.run(command, cwd=self.tree, capture_output=True, env=environment).returncode == 0

    def _restore(self, path: Path) -> None:
        for built in (ROOT / path.relative_to(self.tree)).parent.glob(f"{path.stem}.*"):
            if built.suffix == ".c":
                shutil.copy2(built, path.parent)
            elif built.suffix == ".so":
                # As new as now, so that nothing but the next mutant is built.
                shutil.copy(built, path.parent)

    def close(self) -> None:
        if self.zygote is not None:
            assert self.zygote.stdin is not None
            self.zygote.stdin.close()
            self.zygote.wait()


def named(test: str) -> str:
    """A name that pytest finds again: of a test whose parameters are no plain words, all of its cases."""
    return test if re.fullmatch(r"[\w/.]+::\w+(::\w+)?(\[[\w.-]+\])?", test) else test.partition("[")[0]


def refresh(tree: Path) -> None:
    """Bring a copy up to date: what git knows, what is built, and what is new."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    names = [name for name in listed.stdout.split("\0") if name]
    names += [str(path.relative_to(ROOT)) for end in ("so", "c") for path in ROOT.glob(f"fastnet/**/*.{end}")]
    for name in names:
        source, target = ROOT / name, tree / name
        if not source.exists():
            continue
        if not target.exists() or target.stat().st_mtime_ns != source.stat().st_mtime_ns or name.endswith(".so"):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    for built in tree.glob("fastnet/**/*.so"):
        # Later than all that it was made of, so that nothing but a mutant is built.
        os.utime(built)
    for old in [*tree.glob("tests/**/*.py"), *tree.glob("fastnet/**/*.py")]:
        if not (ROOT / old.relative_to(tree)).exists():
            old.unlink()


def find_reach(anew: bool) -> None:
    """Run the suite, or those of its files that have changed since, under coverage.py, uncompiled, in a copy."""
    began = time.time()
    tree = BUILD / "tree0"
    refresh(tree)
    sources = {str(path.relative_to(tree)): path.read_text() for path in tree.glob("fastnet/**/*.py")}
    anew = anew or not REACH.exists()
    what = SUITE
    if not anew:
        last = REACH.stat().st_mtime
        forget_tests()
        files = [path for place in SUITE for path in (sorted((ROOT / place).glob("test_*.py")) or [ROOT / place])]
        what = [str(path.relative_to(ROOT)) for path in files if path.stat().st_mtime > last]
        what = [name for name in what if name not in LEFT_OUT]
        if not what:
            REACH.write_text(json.dumps({**moved(json.loads(REACH.read_text()), sources), "sources": sources}))
            os.utime(REACH, (last, last))
            return
        print("changed:", *what, flush=True)
    environment = {**os.environ, "FASTNET_PURE": "1", "PYTHONPATH": str(tree)}
    left_out = [f"--ignore={name}" for name in LEFT_OUT]
    found = BUILD / "found.json"
    command = [sys.executable, "-m", "tests.mutate.reach", str(found), *what, *left_out]
    with (BUILD / "reach.log").open("w") as log:
        subprocess.run(command, cwd=tree, env=environment, stdout=log, stderr=log, check=False)
    print((BUILD / "reach.log").read_text().splitlines()[-1], flush=True)
    new = json.loads(found.read_text())
    if not anew:
        new = merged(moved(json.loads(REACH.read_text()), sources), new, what)
    REACH.write_text(json.dumps({**new, "sources": sources}))
    # What has changed while the tests ran has changed since.
    os.utime(REACH, (began, began))


def forget_tests() -> None:
    """Take those out whose file is gone: pytest would run none of those that are named with them."""
    read, last = json.loads(REACH.read_text()), REACH.stat().st_mtime
    gone = {name.partition("::")[0] for name, _ in read["tests"]}
    gone = {name for name in gone if not (ROOT / name).exists()}
    if gone:
        kept = merged(read, {"tests": [], "lines": {}}, sorted(gone))
        REACH.write_text(json.dumps({**kept, "sources": read["sources"]}))
        os.utime(REACH, (last, last))


def moved(old: dict[str, Any], sources: dict[str, str]) -> dict[str, Any]:
    """What is known of lines, for the modules as they are now: a line has its tests wherever it is by now; a new one has none yet."""
    lines: dict[str, dict[str, list[int]]] = {}
    for path, reached in old["lines"].items():
        before, now = old["sources"].get(path), sources.get(path)
        if before is None or now is None or before == now:
            lines[path] = reached
            continue
        matcher = SequenceMatcher(None, before.splitlines(), now.splitlines(), autojunk=False)
        places = {str(i + k + 1): str(j + k + 1) for i, j, size in matcher.get_matching_blocks() for k in range(size)}
        lines[path] = {places[line]: tests for line, tests in reached.items() if line in places}
    return {"tests": old["tests"], "lines": lines}


def merged(old: dict[str, Any], new: dict[str, Any], files: list[str]) -> dict[str, Any]:
    """What is known of all tests, with that of some files as it is now."""
    kept = [index for index, (name, _) in enumerate(old["tests"]) if name.partition("::")[0] not in files]
    number = {before: after for after, before in enumerate(kept)}
    lines: dict[str, dict[str, list[int]]] = {
        path: {line: [number[index] for index in tests if index in number] for line, tests in reached.items()}
        for path, reached in old["lines"].items()
    }
    for path, reached in new["lines"].items():
        for line, tests in reached.items():
            lines.setdefault(path, {}).setdefault(line, []).extend(len(kept) + index for index in tests)
    return {"tests": [old["tests"][index] for index in kept] + new["tests"], "lines": lines}


def run(chosen: list[Mutant], reach: Reach, workers: int, minutes: float) -> list[Outcome]:
    """Judge them, side by side, in any order, so that those of the first minutes are a sample too."""
    waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for mutant in Random(0).sample(chosen, len(chosen)):
        waiting.put(mutant)
    end = time.monotonic() + minutes * 60
    done: list[Outcome] = []
    known = equivalents()

    def work(number: int) -> None:
        worker = Worker(number)
        worker.check(reach)
        while time.monotonic() < end:
            try:
                mutant = waiting.get_nowait()
            except queue.Empty:
                break
            began = time.monotonic()
            try:
                outcome = worker.judge(mutant, reach)
            except RuntimeError as error:
                print(f"not judged: {mutant.path}:{mutant.line}: {error}", flush=True)
                continue
            if outcome.by:
                reach.killers[mutant.path][outcome.by] += 1
            done.append(outcome)
            said = "equivalent" if outcome.result == "survived" and outcome.key in known else outcome.result
            place = f"{mutant.path}:{mutant.line}"
            print(f"{len(done)}/{len(chosen)} {said} {time.monotonic() - began:.1f} s {place} {outcome.by}", flush=True)
            if said in ("survived", "unreached"):
                print(f"    {mutant.function}\t{outcome.before}\n    -> {outcome.after}", flush=True)
        worker.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(done, key=lambda outcome: (outcome.mutant.path, outcome.mutant.start, outcome.mutant.after))


def rate(killed: int, survived: int) -> str:
    return f"{100 * killed / (killed + survived):.1f} %" if killed + survived else ""


def page(outcomes: list[Outcome]) -> str:
    """docs/mutation.md."""
    known = equivalents()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        equal = outcome.result != "killed" and outcome.key in known
        kind = "equivalent" if equal else "killed" if outcome.result == "killed" else "survived"
        for place in (outcome.mutant.path, "fastnet/tcp" if outcome.mutant.path.startswith("fastnet/tcp/") else "the rest"):
            counts[place][kind] += 1
    lines = ["<!-- Written by `make mutate`. -->", "", "# Mutants", ""]
    lines += [
        "`make mutate` makes small changes to fastnet, one at a time: a comparison swapped, a number one more or less, a sign, `and` for",
        "`or`, a condition negated, a statement dropped, another value returned. The tests that reach the line have to notice. The",
        "protocol runs uncompiled; of a leaf (`.pyx`) each mutant is built. `< HALF` and `<= HALF` are one and the same: of two sequence",
        "numbers that are 2**31 apart neither comes first (RFC 1982). Other mutants that do what the original does are listed below",
        f"with the reason, and not counted. These are {len(outcomes)}, of samples drawn at random, whose lines are still as they were:",
        "",
        *(f"- {count} of {name}" for name, count in sorted(Counter(outcome.drawn for outcome in outcomes).items())),
        "",
        "| module | mutants | killed | survived | equivalent | killed of the not equivalent |",
        "|---|---|---|---|---|---|",
    ]
    if first := fresh():
        lines[-2:-2] = [
            "Before any test was written for its survivors, a sample fared so (the lines may have changed since, and the tests):",
            "",
            "| sample | mutants | killed at once | equivalent | killed of the not equivalent |",
            "|---|---|---|---|---|",
            *(f"| {of} | {count} | {dead} | {equal} | {rate(dead, count - dead - equal)} |" for of, (count, dead, equal) in first.items()),
            "",
        ]
    if not any(outcome.mutant.path.endswith(".pyx") for outcome in outcomes):
        lines[-2:-2] = ["No leaf is among them.", ""]
    for place in ["fastnet/tcp", "the rest", *sorted(set(counts) - {"fastnet/tcp", "the rest"})]:
        count = counts[place]
        share = rate(count["killed"], count["survived"])
        name = f"**{place}**" if "." not in place else f"`{place.removeprefix('fastnet/')}`"
        lines.append(f"| {name} | {count.total()} | {count['killed']} | {count['survived']} | {count['equivalent']} | {share} |")
    for heading, wanted in (("Survived", False), ("Equivalent", True)):
        rows = [o for o in outcomes if o.result != "killed" and (o.key in known) == wanted]
        if rows:
            lines += ["", f"## {heading}", "", f"| module | function | line | mutant |{' why |' if wanted else ''}"]
            lines.append("|---|---|---|---|" + ("---|" if wanted else ""))
            for o in rows:
                cells = [f"`{o.mutant.path.removeprefix('fastnet/')}`", f"`{o.mutant.function}`", code(o.before), code(o.after)]
                lines.append("| " + " | ".join(cells + ([known[o.key]] if wanted else [])) + " |")
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def save(outcomes: list[Outcome]) -> None:
    """The table of results. A line of it has what finds the mutant again."""
    with RESULTS.open("w", newline="") as file:
        # The lines of Python are as they are: none of them has a tab.
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n", quotechar=None)
        writer.writerow(COLUMNS)
        for o in outcomes:
            writer.writerow([o.mutant.path, o.mutant.line, o.mutant.function, o.before, o.after, o.result, o.by, o.drawn])


def load() -> list[Outcome]:
    """The results so far of mutants that can still be made."""
    if not RESULTS.exists():
        return []
    found: list[Outcome] = []
    made: dict[str, dict[tuple[str, str, str], list[Mutant]]] = {}
    with RESULTS.open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            path = row["module"]
            if path not in made:
                made[path] = by_change(path)
            fitting = made[path].get((row["function"], row["before"], row["after"]))
            if fitting:
                line = int(row["line"])
                mutant = min(fitting, key=lambda m: abs(m.line - line))
                found.append(Outcome(mutant, row["before"], row["after"], row["result"], row["by"], drawn=row["drawn"]))
    return found


def by_change(path: str) -> dict[tuple[str, str, str], list[Mutant]]:
    """The mutants of a module, by function, line before and line after; none if there is no such module any more."""
    file = ROOT / path
    made: dict[tuple[str, str, str], list[Mutant]] = defaultdict(list)
    if file.exists():
        source = file.read_text()
        for mutant in mutants(path, source):
            made[(mutant.function, *mutant.changed_line(source))].append(mutant)
    return made


def drawn(seed: int) -> str:
    """Which sample this is."""
    commit = subprocess.run(["git", "rev-parse", "--short=10", "HEAD"], cwd=ROOT, capture_output=True, check=True, text=True).stdout.strip()
    return f"seed {seed}, {time.strftime('%Y-%m-%d', time.gmtime())}, commit {commit}"


def fresh() -> dict[str, tuple[int, int, int]]:
    """Samples -> mutants, those killed when the sample was drawn, and those of the rest that are judged to be equivalent."""
    if not FRESH.exists():
        return {}
    with FRESH.open() as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {row["drawn"]: (int(row["mutants"]), int(row["killed"]), int(row["equivalent"])) for row in rows}


def keep_fresh(name: str, outcomes: list[Outcome]) -> None:
    """Note what became of a new sample. Equivalents that nobody has judged yet count as survivors until somebody corrects the number."""
    killed = sum(outcome.result == "killed" for outcome in outcomes)
    equal = sum(outcome.result != "killed" and outcome.key in equivalents() for outcome in outcomes)
    lines = ["drawn\tmutants\tkilled\tequivalent"]
    lines += ["\t".join(map(str, (of, *counts))) for of, counts in {**fresh(), name: (len(outcomes), killed, equal)}.items()]
    FRESH.write_text("\n".join(lines) + "\n")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Are the tests honest?")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tcp", type=int, default=300, help="mutants of fastnet/tcp")
    parser.add_argument("--rest", type=int, default=200, help="mutants of everything else")
    parser.add_argument("--no-leaves", action="store_true", help="none of Cython's sources, which have to be built")
    parser.add_argument("--only", help="mutants of modules whose path begins so; the page is not written")
    parser.add_argument("--add", action="store_true", help="keep the results of earlier samples; the page adds them up")
    parser.add_argument("--parts", default="", help="sample only modules whose paths begin so, separated by commas")
    parser.add_argument("--again", action="store_true", help="the survivors of all samples, with the tests as they are now")
    parser.add_argument("--reach", action="store_true", help="run all tests again to find which lines they reach")
    parser.add_argument("--budget", type=float, default=30, help="seconds of tests that a survivor is given")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=600, help="begin no mutant after so long")
    parser.add_argument("--page", action="store_true", help="only write the page from the last results")
    arguments = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    kept: list[Outcome] = []
    if arguments.page:
        PAGE.write_text(page(load()))
        return 0
    if arguments.again:
        kept = load()
        known = equivalents()
        chosen = [outcome.mutant for outcome in kept if outcome.result != "killed" and outcome.key not in known]
    elif arguments.only:
        chosen = [m for p in sorted(ROOT.glob("fastnet/**/*.py*")) if p.suffix in (".py", ".pyx")
                  for m in mutants(str(p.relative_to(ROOT)), p.read_text())
                  if m.path.startswith(arguments.only) and is_program(m, p.read_text())]  # fmt: skip
    else:
        parts = tuple(arguments.parts.split(","))
        chosen = sample(arguments.seed, arguments.tcp, arguments.rest, not arguments.no_leaves, parts)
        if arguments.add:
            kept = load()
        elif not (arguments.tcp and arguments.rest):
            # Half of the page is asked for: the other half stays.
            kept = [outcome for outcome in load() if outcome.mutant.path.startswith("fastnet/tcp/") == (arguments.tcp == 0)]
    name = drawn(arguments.seed)
    find_reach(arguments.reach)
    outcomes = run(chosen, Reach(arguments.budget), arguments.workers, arguments.minutes)
    if not arguments.only:
        sampled = {outcome.mutant: outcome.drawn for outcome in kept}
        for outcome in outcomes:
            outcome.drawn = sampled.get(outcome.mutant) or name
        if not arguments.again:
            keep_fresh(name, outcomes)
        done = {outcome.mutant for outcome in outcomes}
        outcomes += (outcome for outcome in kept if outcome.mutant not in done)
        outcomes.sort(key=lambda o: (o.mutant.path, o.mutant.start, o.mutant.after))
        save(outcomes)
        PAGE.write_text(page(outcomes))
    known = equivalents()
    for is_tcp in (True, False):
        part = [o for o in outcomes if o.mutant.path.startswith("fastnet/tcp/") == is_tcp]
        killed = sum(o.result == "killed" for o in part)
        alive = sum(o.result != "killed" and o.key not in known for o in part)
        print(f"{'fastnet/tcp' if is_tcp else 'the rest'}: {len(part)} mutants, {killed} killed, {alive} survived, {rate(killed, alive)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
