"""A process that has imported what tests need, and forks one that runs tests for each line that it reads: a start takes no time.

It reads ``{"tests": [names], "seconds": [how long each may take]}`` and answers ``{"code": ..., "killer": ...}``: pytest's exit code,
or minus the signal that ended it, and the test that was running then. It never imports the protocol itself, as that is what changes.
"""

import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dpkt  # noqa: F401
import hypothesis  # noqa: F401
import numpy as np  # noqa: F401
import pyroute2  # noqa: F401
import pytest
import scapy.layers.inet
import scapy.layers.inet6  # noqa: F401

MEMORY = 6 << 30
"""What a mutant may take before its memory ends, bytes: address space."""


class Plugin:
    """Notes which test runs, and ends the process if it takes too long."""

    def __init__(self, note: str, seconds: dict[str, float]) -> None:
        self.note, self.seconds = note, seconds

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        Path(self.note).write_text(item.nodeid)
        signal.setitimer(signal.ITIMER_REAL, self.seconds.get(item.nodeid, 60.0))
        yield
        signal.setitimer(signal.ITIMER_REAL, 0)


def child(order: dict[str, Any], note: str) -> None:
    """Run the tests, in a session of its own."""
    os.setsid()
    quiet = os.open("said.log", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    seconds = dict(zip(order["tests"], order["seconds"], strict=True))
    # Some hundred tests at once, but the import of the first may never end.
    signal.setitimer(signal.ITIMER_REAL, 30)
    arguments = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:benchmark"]
    # What is imported already is not rewritten, and pytest says so.
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main([*arguments, *order["tests"]], plugins=[Plugin(note, seconds)])
    os._exit(int(code))


def main() -> None:
    """Serve until the input ends."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.getcwd())
    note = tempfile.mkstemp()[1]
    for line in sys.stdin:
        Path(note).write_text("")
        pid = os.fork()
        if pid == 0:
            try:
                child(json.loads(line), note)
            finally:
                os._exit(3)
        _, status = os.waitpid(pid, 0)
        # What it started and left behind is in its session.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "killer": Path(note).read_text()}), flush=True)


if __name__ == "__main__":
    main()
