"""Everything fits into 80 columns, whole."""

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import pytest
from rich.console import Console

from fastnet.cli import comparing
from fastnet.cli.serving import line
from fastnet.load import bulk, compare, flood
from fastnet.load.kinds import FLOODS, ROWS
from fastnet.server.base import Report


def terminal() -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text, text
    return text


@pytest.mark.parametrize("many", [1, 1000])
def test_handshakes(many: int) -> None:
    sample = compare.Sample(
        rate=1234.5 * many, cpu=3e-6 * many, client_cpu=0, p50=0.000_2 * many, p99=0.000_5 * many, completed=10 * many, failures=99 * many,
        retransmissions=99 * many,
    )  # fmt: skip
    rows = {name: compare.Row(name, [sample] * 5) for name in ROWS}
    console = terminal()
    comparing.show(compare.Comparison(rows, 128, "server", 2.0, 5), False, console)
    text = printed(console)
    for word in ("handshakes", "/s", "CPU", "us", "failed", "resent", "p50", "p99", *comparing.NAMES.values(), f"{1234.5 * many:,.0f}"):
        assert word in text, text


@pytest.mark.parametrize("kind", FLOODS)
def test_floods(kind: str) -> None:
    sample = flood.Sample(
        sent=2_000_000, rate=1_234_567.0, cpu=123e-6, ok=10_000, failed=10_000, handshake_p50=1.2345, handshake_p99=12.345,
        exchange_p50=1.2345, exchange_p99=12.345, cookies_sent=20_000_000, cookies_received=20_000_000, growth=1 << 34,
    )  # fmt: skip
    console = terminal()
    comparing.show_floods(flood.Floods(kind, 100_000_000, 0, 10_000, 100, {name: [sample] * 100 for name in flood.ROWS}), False, console)
    text = printed(console)
    for word in ("packets/s", "CPU us", "ratio", "cookies", "back", "MiB", "failed", "connect", "exchange", "p50", "p99", "2,000,000,000"):
        assert word in text, text


def test_bulk() -> None:
    console = terminal()
    samples = {(name, direction): [1e11] for name in bulk.ROWS for direction in bulk.DIRECTIONS}
    comparing.show_bulk(bulk.Bulk(5, 2.0, samples), False, console)
    text = printed(console)
    for word in ("to it, Gbit/s", "from it, Gbit/s", *bulk.ROWS.values()):
        assert word in text


def test_the_live_line_is_one_line() -> None:
    before = Report(0, 0, 0, 0, 0, 0, 0, 0)
    text = line(Report(1, 999_999, 1_000_000, 65_536, 65_536, 9_999_999, 0, 0), before)
    assert len(text.plain) <= 80
    # In a terminal that is narrower it is cut, not wrapped.
    console = Console(file=io.StringIO(), width=40)
    assert len(console.render_lines(text)) == 1


def test_serve_on_a_terminal_of_80_columns() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-c", "from fastnet.cli.main import main; main()", "serve", "accept-close", "--private"]
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True)
    os.close(theirs)
    output = b""
    asked = False
    # EIO: nobody has the other end any more.
    with suppress(OSError):
        while data := os.read(ours, 4096):
            output += data
            if not asked and output.count(b"new/s") >= 2:
                asked = True
                os.killpg(process.pid, signal.SIGINT)
    os.close(ours)
    assert process.wait(20) == 0
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.decode()))
    assert max(map(len, lines)) <= 80, lines
    assert "0 connections in" in output.decode() and "refused" in output.decode()
