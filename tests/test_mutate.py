"""The mutation tool: what it changes, and that a change means what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutate import __main__ as mutate
from tests.mutate.operators import Mutant, is_program, mutants

SOURCE = '''"""A module."""

LIMIT = 0x10


def f(a: int, b: int = 2) -> bool:
    """A docstring with 1 < 2."""
    if a < b and not b:  # a < b
        a += 1
        g(a)
    return a - b >= LIMIT
'''


def changes(source: str, path: str = "m.py") -> set[tuple[str, str]]:
    return {(mutant.operator, mutant.apply(source).splitlines()[mutant.line - 1].strip()) for mutant in mutants(path, source)}


def test_every_operator_changes_what_it_says() -> None:
    found = changes(SOURCE)
    assert {
        ("off by one", "LIMIT = 0x11"),
        ("off by one", "LIMIT = 0xf"),
        ("off by one", "def f(a: int, b: int = 3) -> bool:"),
        ("comparison", "if a <= b and not b:  # a < b"),
        ("comparison", "if a >= b and not b:  # a < b"),
        ("boolean", "if a < b or not b:  # a < b"),
        ("boolean", "if a < b and b:  # a < b"),
        ("condition negated", "if not (a < b and not b):  # a < b"),
        ("arithmetic", "a -= 1"),
        ("statement dropped", "pass"),
        ("arithmetic", "return a + b >= LIMIT"),
        ("comparison", "return a - b > LIMIT"),
        ("return value", "return not (a - b >= LIMIT)"),
    } <= found
    assert not any("docstring" in line for _, line in found), "what a person reads is no behaviour"


def test_half_of_the_sequence_space_has_no_edge() -> None:
    """Whether exactly 2**31 ahead is before or behind is left open (RFC 1982 section 3.2); everything else about it is not."""
    found = changes("def f(a, b):\n    if 0 < a - b < HALF:\n        return 1\n    return a >= HALF\n")
    assert {("comparison", "if 0 <= a - b < HALF:"), ("comparison", "if 0 < a - b >= HALF:"), ("comparison", "return a < HALF")} <= found
    assert not {("comparison", "if 0 < a - b <= HALF:"), ("comparison", "return a > HALF")} & found


def test_a_mutant_is_one_change_and_a_program() -> None:
    for name in ("rtt", "rack", "ports"):
        source = Path(mutate.ROOT, "fastnet", "tcp", f"{name}.py").read_text()
        for mutant in mutants(name, source):
            text = mutant.apply(source)
            assert is_program(mutant, source)
            assert text != source and source[mutant.start : mutant.end] == mutant.before
            assert source[: mutant.start] == text[: mutant.start] and text.endswith(source[mutant.end :])
            assert source.count("\n", 0, mutant.start) + 1 <= mutant.line + mutant.before.count("\n")


def test_a_cython_source() -> None:
    source = "cdef int f(int a):\n    # a < 1\n    if a < 4:\n        self.b = a\n        return a + 1\n    return 0\n"
    found = changes(source, "m.pyx")
    expected = {("comparison", "if a <= 4:"), ("off by one", "if a < 5:"), ("statement dropped", "pass"), ("arithmetic", "return a - 1")}
    assert expected <= found
    assert not any(line.startswith("#") for _, line in found)


def test_a_seed_draws_the_same_mutants_and_each_module_has_its_share() -> None:
    drawn = mutate.sample(5, 100, 0)
    assert drawn == mutate.sample(5, 100, 0) != mutate.sample(6, 100, 0)
    of_tcp = [mutant for mutant in drawn if mutant.path.startswith("fastnet/tcp/")]
    assert 90 < len(of_tcp) == len(drawn) < 140
    assert {str(path.relative_to(mutate.ROOT)) for path in mutate.ROOT.glob("fastnet/tcp/*.py") if mutants("", path.read_text())} == {
        mutant.path for mutant in of_tcp if mutant.path.count("/") == 2
    }


def test_the_page_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    results = ["killed", "killed", "killed", "survived", "survived", "unreached"]
    made = [Mutant("fastnet/tcp/rtt.py", i, "f", "comparison", "<", "<=", i, i + 1) for i in range(6)]
    outcomes = [mutate.Outcome(mutant, f"a{i} < b", f"a{i} <= b", results[i], drawn=f"seed {i // 4}") for i, mutant in enumerate(made)]
    monkeypatch.setattr(mutate, "equivalents", lambda: {outcomes[3].key: "a is never b", outcomes[0].key: "it was killed all the same"})
    monkeypatch.setattr(mutate, "FRESH", Path("/nowhere"))
    text = mutate.page(outcomes)
    assert "- 4 of seed 0\n- 2 of seed 1\n" in text
    assert "| `tcp/rtt.py` | 6 | 3 | 2 | 1 | 60.0 % |" in text and "| **fastnet/tcp** | 6 | 3 | 2 | 1 | 60.0 % |" in text
    assert "| `tcp/rtt.py` | `f` | `a3 < b` | `a3 <= b` | a is never b |" in text
    assert "killed all the same" not in text


def test_what_a_sample_showed_at_first_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests that are written for the survivors change what is said of the mutants, not what is said of the sample."""
    monkeypatch.setattr(mutate, "FRESH", tmp_path / "fresh.tsv")
    made = [Mutant("fastnet/tcp/rtt.py", i, "f", "comparison", "<", "<=", i, i + 1) for i in range(4)]
    outcomes = [mutate.Outcome(m, f"a{m.line} < b", "", "killed" if m.line else "survived", drawn="seed 1") for m in made]
    mutate.keep_fresh("seed 1", outcomes)
    mutate.keep_fresh("seed 2", outcomes[:2])
    outcomes[0].result = "killed"
    assert mutate.fresh() == {"seed 1": (4, 3, 0), "seed 2": (2, 1, 0)}
    text = mutate.page(outcomes)
    assert "| seed 1 | 4 | 3 | 0 | 75.0 % |\n| seed 2 | 2 | 1 | 0 | 50.0 % |\n" in text
    assert "| **fastnet/tcp** | 4 | 4 | 0 | 0 | 100.0 % |" in text


def test_samples_add_up_until_their_lines_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The table of results leads back to the same mutants; one whose line is another now is out."""
    source = tmp_path / "m.py"
    source.write_text(SOURCE)
    monkeypatch.setattr(mutate, "ROOT", tmp_path)
    monkeypatch.setattr(mutate, "RESULTS", tmp_path / "results.tsv")
    assert mutate.load() == []
    made = [mutate.Outcome(m, *m.changed_line(SOURCE), "killed", "tests/a.py::b[\"c\"]", drawn="seed 1") for m in mutants("m.py", SOURCE)]
    mutate.save(made)
    assert mutate.load() == made
    source.write_text(SOURCE.replace("\nLIMIT = 0x10", "\n\nLIMIT = 0x10").replace("g(a)", "g(b)"))
    again = mutate.load()
    assert [o.mutant.line for o in again] == [o.mutant.line + 1 for o in made if "g(a)" not in o.before]
    source.unlink()
    assert mutate.load() == []


def test_a_line_keeps_its_tests_when_it_moves() -> None:
    old = {"tests": [["t", 1.0]], "lines": {"m.py": {"1": [0], "2": [0], "3": [0]}, "n.py": {"5": [0]}}, "sources": {"m.py": "a\nb\nc\n"}}
    new = mutate.moved(old, {"m.py": "x\na\nB\nc\n"})
    assert new["lines"] == {"m.py": {"2": [0], "4": [0]}, "n.py": {"5": [0]}} and new["tests"] == old["tests"]
    assert mutate.moved(old, {"m.py": "a\nb\nc\n"})["lines"] == old["lines"]


def test_tests_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name that pytest does not find would keep it from running the others."""
    monkeypatch.setattr(mutate, "ROOT", tmp_path)
    monkeypatch.setattr(mutate, "REACH", tmp_path / "reach.json")
    (tmp_path / "a.py").write_text("")
    known = {"tests": [["gone.py::t", 1.0], ["a.py::t", 2.0]], "lines": {"m.py": {"1": [0], "2": [0, 1]}}, "sources": {"m.py": "x"}}
    mutate.REACH.write_text(json.dumps(known))
    mutate.forget_tests()
    assert json.loads(mutate.REACH.read_text()) == {
        "tests": [["a.py::t", 2.0]], "lines": {"m.py": {"1": [], "2": [0]}}, "sources": {"m.py": "x"},
    }  # fmt: skip


def test_a_part_of_the_modules_can_be_sampled() -> None:
    chosen = mutate.sample(5, 40, 20, leaves=False, parts=("fastnet/tcp/gate.py", "fastnet/aio/"))
    assert {mutant.path for mutant in chosen if mutant.path.startswith("fastnet/tcp")} == {"fastnet/tcp/gate.py"}
    assert all(mutant.path.startswith(("fastnet/tcp/gate.py", "fastnet/aio/")) for mutant in chosen) and len(chosen) > 50
    assert {mutant.path for mutant in mutate.sample(5, 0, 20, leaves=False, parts=("fastnet/aio/",))} > {"fastnet/aio/reactor.py"}


def test_every_equivalent_has_a_reason() -> None:
    known = mutate.equivalents()
    assert all(len(reason) > 10 for reason in known.values())
    assert all((mutate.ROOT / path).exists() for path, *_ in known)


def test_lines_that_run_in_other_processes_are_seen(tmp_path: Path) -> None:
    """In a fork, in a new Python, and in a fork of that; what runs at import belongs to no test."""
    root = Path(__file__).parents[1]
    (tmp_path / "test_it.py").write_text(
        "import os, subprocess, sys\n"
        "import fastnet.cli.tables\n"
        "def test_fork():\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        fastnet.cli.tables.ratio(1.0)\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "def test_program():\n"
        "    program = 'import os, fastnet.cli.tables as t\\n'\n"
        "    program += 'if os.fork() == 0: t.ratio(1.0); os._exit(0)\\n'\n"
        "    program += 'os.wait(); import fastnet.load.kinds'\n"
        "    subprocess.run([sys.executable, '-c', program], check=True)\n"
    )
    command = [sys.executable, "-m", "tests.mutate.reach", str(tmp_path / "out.json"), "-p", "no:xdist", str(tmp_path)]
    environment = {**os.environ, "FASTNET_PURE": "1", "PYTHONPATH": ""}
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, timeout=120)
    found = json.loads((tmp_path / "out.json").read_text())
    names = [name.rpartition("::")[2] for name, _ in found["tests"]]
    assert sorted(names) == ["test_fork", "test_program"]
    source = (root / "fastnet/cli/tables.py").read_text().splitlines()
    head = next(number for number, text in enumerate(source, 1) if text.startswith("def ratio"))
    body = next(number for number, text in enumerate(source, 1) if text.startswith("    return") and number > head)
    tables = found["lines"]["fastnet/cli/tables.py"]
    assert sorted(names[index] for index in tables[str(body)]) == ["test_fork", "test_program"] and tables[str(head)] == []
    assert {names[index] for tests in found["lines"]["fastnet/load/kinds.py"].values() for index in tests} == {"test_program"}
