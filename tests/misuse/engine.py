"""Runs ``tests.misuse.child`` until it has tried all; a crash or a misuse that never ends is noted with its name, and the rest goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

ENDLESS = {"SIGPROF": "never ends", "SIGALRM": "waits for ever"}
"""What ends a child that does not end by itself."""


@dataclass
class Outcome:
    """What came of a run.

    :ivar tried: how many misuses; ``failures``: which of them crashed the interpreter or never ended, and how
    """

    tried: int = 0
    failures: list[str] = field(default_factory=list)


def run(which: str, share: float = 1.0, seed: int = 0, most: int = 400) -> Outcome:
    """Try misuses in children until all are tried, or ``most`` have failed."""
    outcome = Outcome()
    first = 0
    with tempfile.NamedTemporaryFile() as status:
        while True:
            numbers = [str(first), str(share), str(seed)]
            command = [sys.executable, "-X", "faulthandler", "-m", "tests.misuse.child", status.name, which, *numbers]
            child = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            with open(status.name, errors="replace") as file:
                number, _, name = file.read().strip().partition(" ")
            outcome.failures += [line for line in child.stdout.splitlines() if "SystemError" in line]
            if child.returncode == 0 and name == "done":
                outcome.tried = int(number)
                return outcome
            if not number or child.returncode >= 0:
                raise RuntimeError(f"{name}: {child.stderr}")
            how = signal.Signals(-child.returncode).name
            outcome.failures.append(f"{name}: {ENDLESS.get(how, how)}")
            first = int(number) + 1
            if len(outcome.failures) >= most:
                outcome.tried = first
                return outcome
