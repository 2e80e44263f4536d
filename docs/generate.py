"""Writes the pages of docs/ that follow from the code: ``make docs``; with ``--check``, says which of them are out of date.

    docs/states.md     the state machine, from fastnet.tcp.states.TRANSITIONS
    docs/settings.md   every setting, from fastnet.config
    docs/counters.md   every counter, from fastnet.counters
    docs/faults.md     every fault of the load-test server, from fastnet.server.faults
    docs/rfc9293.md    every requirement of RFC 9293 and the test that proves it, from docs/rfc9293.tsv
"""

import ast
import csv
import re
import sys
from collections import Counter
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

from fastnet import config, counters
from fastnet.server.faults import FAULTS
from fastnet.tcp.states import TRANSITIONS, Event, State

HERE = Path(__file__).parent
ROOT = HERE.parent
PACKAGE = ROOT / "fastnet"
NOTE = "<!-- Written by docs/generate.py; change the code and run `make docs`. -->\n\n"

MAY_NOT_RUN = re.compile(r"\b(skip|skipif|xfail|importorskip)\b")
"""What a decorator or a call says that keeps a test from running, or from counting."""

EVENTS = {
    Event.PASSIVE_OPEN: "passive OPEN",
    Event.RCV_SYN: "SYN",
    Event.RCV_ACK_OF_SYN: "ACK of our SYN",
    Event.CLOSE: "CLOSE / FIN",
    Event.RCV_FIN: "FIN / ACK",
    Event.RCV_ACK_OF_FIN: "ACK of our FIN",
    Event.RCV_RST: "RST",
    Event.ABORT: "ABORT / RST",
    Event.TIMEOUT: "timeout",
    Event.ACTIVE_OPEN: "active OPEN / SYN",
    Event.RCV_SYN_ACK: "SYN+ACK / ACK",
    Event.REFUSED: "RST or timeout of an active OPEN",
}


def described(path: Path, name: str) -> dict[str, str]:
    """Attribute -> the string under it, of a class in a source file."""
    (body,) = [node.body for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef) and node.name == name]
    found = {}
    for node, after in pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(after, ast.Expr):
            found[node.target.id] = ast.literal_eval(after.value)
    return found


def states() -> str:
    """The diagram, and the table behind it."""
    lines = ["# The state machine", "", "RFC 9293 figure 5, as the code has it: one table, `fastnet.tcp.states.TRANSITIONS`.", ""]
    lines += ["```mermaid", "stateDiagram-v2", "    [*] --> CLOSED"]
    ends = (Event.RCV_RST, Event.ABORT, Event.TIMEOUT)
    drawn = {key: after for key, after in TRANSITIONS.items() if key[1] not in ends or key[0] in (State.SYN_RECEIVED, State.TIME_WAIT)}
    for (before, event), after in drawn.items():
        # Before the handshake there is nothing that a FIN, or a RST, could end: only SYN-RECEIVED and what follows have something to send.
        silent = event == Event.CLOSE and before in (State.LISTEN, State.SYN_SENT)
        lines.append(f"    {before.name} --> {after.name}: {EVENTS[event].partition(' / ')[0] if silent else EVENTS[event]}")
    lines += ["```", ""]
    lines.append("Not drawn: RST, ABORT and timeout, which lead from every other synchronized state to CLOSED.")
    lines += ["", "| state | " + " | ".join(EVENTS[event].partition(" / ")[0] for event in Event) + " |", "|---" * (len(Event) + 1) + "|"]
    for state in State:
        cells = [TRANSITIONS[state, event].name if (state, event) in TRANSITIONS else "" for event in Event]
        if any(cells):
            lines.append(f"| {state.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def settings() -> str:
    """Every setting with its default, bounds and meaning."""
    words = described(PACKAGE / "config.py", "Settings")
    lines = ["# Settings", "", "By their Linux names: `Stack(device, settings={...})`, `fastnet serve --set NAME=VALUE`. Names that"]
    lines += ["begin with `fastnet_` are not Linux's.", "", "| setting | default | from | to | |", "|---|---|---|---|---|"]
    for field in fields(config.Settings):
        low, high = config.BOUNDS.get(field.name, ("", ""))
        default = field.default
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
        lines.append(f"| `{field.name}` | {shown} | {low} | {high} | {words[field.name]} |")
    return "\n".join(lines)


def counted() -> str:
    """Every counter."""
    words = described(PACKAGE / "counters.py", "Counters")
    lines = ["# Counters", "", "`stack.counters`, under Linux's names where Linux has one: `nstat -a` shows the kernel's. Every packet"]
    lines += ["that is dropped is counted under one of them.", "", "| counter | | Linux's |", "|---|---|---|"]
    lines += [f"| `{name}` | {words[name]} | {'no' if name in counters.OWN else 'yes'} |" for name in counters.NAMES]
    return "\n".join(lines)



def faults() -> str:
    """Every fault of the load-test server."""
    lines = ["# Faults", "", "What a server may do wrong on purpose: `fastnet serve MODE --fault NAME[:ARG][@PROBABILITY]`, more than once"]
    lines += ["if wanted. Each connection draws each fault with its probability, 1 where none is given; `--fault-seed` repeats the"]
    lines += ["draws for the n-th SYN. In Python: `listener.set_policy(policy(choose))` of `fastnet.server.faults`, where `choose`"]
    lines += ["says for a 4-tuple which fault its connection has, or None. `tests/wire/test_faults.py` proves each with the"]
    lines += ["kernel's own client.", ""]
    lines += ["| with its default | argument | what the server does | what a good client should see |", "|---|---|---|---|"]
    lines += [f"| `{kind.usage()}` | {kind.argument} | {kind.__doc__} | {kind.client} |" for kind in FAULTS.values()]
    return "\n".join(lines)


def tests_of(path: Path) -> dict[str, str]:
    """Name of each test of a module -> why it may not run: a mark, or a call, that skips it; "" for one that runs."""
    tree = ast.parse(path.read_text())
    # A mark of the whole module counts for each of its tests.
    everywhere = " ".join(
        ast.unparse(node.value) for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    )
    found = {}
    for scope in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
        marks = [everywhere] + [ast.unparse(mark) for mark in getattr(scope, "decorator_list", ())]
        for node in scope.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                said = [*marks, *(ast.unparse(mark) for mark in node.decorator_list)]
                said += [ast.unparse(call.func) for call in ast.walk(node) if isinstance(call, ast.Call)]
                found[node.name] = next((text for text in said if MAY_NOT_RUN.search(text)), "")
    return found


def proved(label: str, proof: str, tests: dict[str, dict[str, str]]) -> str:
    """One test of the table as the page shows it. It must exist and run."""
    path, _, name = proof.partition("::")
    if path not in tests:
        tests[path] = tests_of(ROOT / path) if (ROOT / path).exists() else {}
    if name not in tests[path]:
        raise SystemExit(f"docs/rfc9293.tsv: {label} names {proof}, which does not exist")
    if tests[path][name]:
        raise SystemExit(f"docs/rfc9293.tsv: {label} names {proof}, which may not run: {tests[path][name]}")
    return f"`{path.removeprefix('tests/')}` {name}"


def rfc9293() -> str:
    """Label -> tests, "; " between them, and after " but " what they do not prove."""
    with (HERE / "rfc9293.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    tests: dict[str, dict[str, str]] = {}
    kinds: Counter[str] = Counter()
    lines = ["| label | level | section | subject | proof |", "|---|---|---|---|---|"]
    for row in rows:
        proof = row["proof"]
        if "::" in proof:
            named, _, missing = proof.partition(" but ")
            kinds["proved in part" if missing else "proved"] += 1
            proof = "; ".join(proved(row["label"], one, tests) for one in named.split("; "))
            if missing:
                proof += f". **In part**: {missing}"
        else:
            kind = proof.partition(":")[0]
            if kind not in ("not there yet", "out of scope"):
                raise SystemExit(f"docs/rfc9293.tsv: {row['label']} has neither a test nor a reason: {proof}")
            kinds[kind] += 1
        lines.append(f"| {row['label']} | {row['level']} | {row['section']} | {row['subject']} | {proof} |")
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return "\n".join(["# RFC 9293, requirement by requirement", "", f"Of {len(rows)} labels: {summary}.", "", *lines])


PAGES = {"states.md": states, "settings.md": settings, "counters.md": counted, "faults.md": faults, "rfc9293.md": rfc9293}


def main() -> None:
    """Write, or check."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name, write in PAGES.items():
        text = NOTE + write() + "\n"
        page = HERE / name
        if not page.exists() or page.read_text() != text:
            stale.append(name)
            if not check:
                page.write_text(text)
    if check and stale:
        raise SystemExit(f"out of date: {', '.join('docs/' + name for name in stale)}; run `make docs`")


if __name__ == "__main__":
    main()
