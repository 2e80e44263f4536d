"""CPython's own tests over fastnet: what passes does not stop to pass. ``cpython.py`` runs them; docs/cpython-tests.md says which."""

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


@pytest.mark.parametrize(("only", "least"), EXPECTED.items(), ids=EXPECTED)
def test_cpythons_own_tests(only: str, least: int) -> None:
    """In a process of their own, as they leave threads and warnings behind."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.doors.cpython", *only.split()]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert run.returncode == 0, run.stdout + run.stderr[-2000:]
    match = re.search(r"^(\d+) pass, ", run.stdout, re.MULTILINE)
    assert match is not None and int(match[1]) >= least, run.stdout
