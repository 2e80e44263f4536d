"""The fuzzer finds what is planted: a check that nothing can fail would say nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fastnet.tcp import connection as protocol
from fastnet.tcp.context import Context
from fastnet.tcp.scoreboard import Scoreboard
from fastnet.tcp.tcb import Tcb
from tests.fuzz.cases import draw
from tests.fuzz.engine import failure

pytestmark = pytest.mark.skipif(not protocol.__file__.endswith(".py"), reason="a compiled class cannot be changed")


def larger_segments(before: Callable[..., int]) -> Callable[..., int]:
    return lambda self: before(self) + 1


def other_bytes(before: Callable[..., Any]) -> Callable[..., Any]:
    def put_data(self: Tcb, seq: int, flags: int, buffer: Any, offset: int, size: int, *rest: Any) -> Any:
        return before(self, seq, flags, buffer, offset + (offset + size < buffer.length), size, *rest)

    return put_data


def forgotten_timer(before: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, endpoint: None


def shrinking_window(before: Callable[..., int]) -> Callable[..., int]:
    return lambda self: before(self) // (1 + self.rcv_nxt % 2)


def uncounted_loss(before: Callable[..., Any]) -> Callable[..., Any]:
    def lose(self: Scoreboard, *rest: Any) -> Any:
        lost = self.lost
        before(self, *rest)
        self.lost = lost

    return lose


@pytest.mark.parametrize(
    ("kind", "name", "bug"),
    [
        (Tcb, "send_mss", larger_segments), (Tcb, "put_data", other_bytes), (Tcb, "window_to_offer", shrinking_window),
        (Context, "disarm", forgotten_timer), (Scoreboard, "lose", uncounted_loss),
    ],
)  # fmt: skip
def test_it_is_found(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, bug: Callable[..., Any]) -> None:
    monkeypatch.setattr(kind, name, bug(getattr(kind, name)))
    assert any(failure(draw(seed, "hostile"))[0] for seed in range(60))
