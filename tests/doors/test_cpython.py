"""CPython's own tests over fastnet: what passes does not stop to pass. ``cpython.py`` runs them; docs/cpython-tests.md says which."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

EXPECTED = {
    "test_socket.": 200,
    "test_selectors test_socketserver": 70,
    "test_ftplib test_httplib test_poplib test_smtplib": 180,
}
"""Beginnings of tests, and how many of them pass at least: a run that finds none proves nothing."""
TWICE = 2
"""How many may pass only the second time, for a reason that ``cpython.LATE`` names: a machine is busy now and then, not always."""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("test") is None or importlib.util.find_spec("test.test_socket") is None,
    reason="the interpreter's own tests are missing (Debian: libpython3-testsuite)",
)


@pytest.mark.parametrize(("only", "least"), EXPECTED.items(), ids=EXPECTED)
def test_cpythons_own_tests(only: str, least: int) -> None:
    """In a process of their own, as they leave threads and warnings behind."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.doors.cpython", *only.split()]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    match = re.search(r"^(\d+) pass, .* (\d+) tried twice, ", run.stdout, re.MULTILINE)
    assert match is not None and int(match[1]) >= least and int(match[2]) <= TWICE, run.stdout
    print(run.stdout)


@pytest.mark.parametrize(("says", "second_try"), [
    ("AssertionError: b'' != b'data'", False),
    ("ConnectionResetError: [Errno 104] Connection reset by peer", False),
    ("TimeoutError: timed out", True),
    ("AssertionError: 3.4 not less than 2.0", True),
])  # fmt: skip
def test_only_what_may_be_late_is_tried_twice(says: str, second_try: bool) -> None:
    from tests.doors.cpython import may_be_late

    assert bool(may_be_late(f"Traceback (timed out):\n  elapsed\n{says}\n")) == second_try
