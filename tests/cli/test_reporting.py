"""What ``fastnet serve`` says, and how it ends its command, in virtual time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from fastnet.cli.serving import LINGER, PATIENCE, end, line, summary
from fastnet.server.base import Report

SECOND = 1_000_000_000
NEVER = 1 << 62


class Server:
    """Stands for ``LoadServer``: a tenth of a second passes with each turn."""

    def __init__(self, closed_at: float = 0.0) -> None:
        self.stack = self
        self.now = 0
        self.closed_at = closed_at

    def clock(self) -> int:
        return self.now

    def run(self, stop: Callable[[], bool], tick: Callable[[Report], None]) -> None:
        assert tick(report()) is None, "it says nothing"
        while not stop():
            self.now += SECOND // 10

    def under_way(self) -> int:
        return int(self.now < self.closed_at * SECOND)


class Child:
    """Stands for a command that ends so long after SIGTERM, or was over before.

    :ivar heard: the signals that it was sent
    """

    def __init__(self, server: Server, after: float, status: int, over: bool = False) -> None:
        self.server, self.after, self.status = server, after, status
        self.ends_at = 0 if over else NEVER
        self.heard: list[int] = []

    def poll(self) -> int | None:
        return self.status if self.server.now >= self.ends_at else None

    def terminate(self) -> None:
        self.heard.append(signal.SIGTERM)
        self.ends_at = self.server.now + round(self.after * SECOND)

    def kill(self) -> None:
        self.heard.append(signal.SIGKILL)
        self.ends_at, self.status = self.server.now, -signal.SIGKILL

    def wait(self) -> int:
        assert self.ends_at <= self.server.now, "this would have waited while nobody serves"
        return self.status


def ended(after: float, status: int, over: bool = False, closed_at: float = 0.0) -> tuple[int, list[int], float]:
    """The exit code, the signals, and when, in seconds."""
    server = Server(closed_at)
    child: Any = Child(server, after, status, over)
    code = end(child, server)  # type: ignore[arg-type]
    return code, child.heard, server.now / SECOND


@pytest.mark.parametrize(("status", "code"), [(0, 0), (1, 1), (7, 7), (255, 255), (-1, 129), (-9, 137), (-15, 143)])
def test_a_command_that_has_ended_is_not_ended_again(status: int, code: int) -> None:
    """As a shell has it: 128 and the signal's number."""
    assert ended(0, status, over=True) == (code, [], 0)


def test_a_command_is_served_until_it_has_heard() -> None:
    assert ended(3, 7) == (7, [signal.SIGTERM], 3)
    assert ended(3, -15) == (143, [signal.SIGTERM], 3)


def test_a_command_that_does_not_hear_is_killed() -> None:
    assert ended(NEVER, 0) == (137, [signal.SIGTERM, signal.SIGKILL], PATIENCE)
    assert ended(PATIENCE + 0.1, 0) == (137, [signal.SIGTERM, signal.SIGKILL], PATIENCE)


@pytest.mark.parametrize(("closed_at", "until"), [(0.0, 0.0), (0.3, 0.3), (1000.0, LINGER)])
def test_its_connections_have_a_moment_to_close(closed_at: float, until: float) -> None:
    assert ended(0, 0, over=True, closed_at=closed_at) == (0, [], until)


def report(**fields: float) -> Report:
    names = ("seconds", "accepted", "open", "syn_queue", "accept_queue", "refused", "bytes_received", "bytes_sent")
    return Report(**{**dict.fromkeys(names, 0), **fields})  # type: ignore[arg-type]


def test_the_line_at_the_end() -> None:
    assert summary(report(seconds=2.5, accepted=1000, bytes_received=3, bytes_sent=4, refused=5)) == (
        "fastnet: 1000 connections in 2.5 s (400/s), 3 bytes in, 4 bytes out, 5 refused"
    )
    assert summary(report()) == "fastnet: 0 connections in 0.0 s (0/s), 0 bytes in, 0 bytes out, 0 refused"


def test_the_live_line_is_of_the_last_second() -> None:
    before = report(seconds=1.0, accepted=1000)
    now = report(seconds=3.0, accepted=6000, open=1234, syn_queue=2345, accept_queue=3456, refused=4567)
    assert line(now, before).plain == "  2,500 new/s, 1,234 open; syn/accept queue 2,345/3,456; 4,567 refused"
    assert line(before, before).plain.strip().startswith("0 new/s")
