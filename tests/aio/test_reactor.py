"""A reactor's turns, with a loop of the test's own: how long it sleeps, whom it tells, and what becomes of those who raise."""

from __future__ import annotations

import logging
import os
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

import fastnet.aio.reactor
from fastnet._ring import PacketRing
from fastnet.aio.reactor import LoopDoor, Reactor
from fastnet.clock import ManualClock
from fastnet.devices import Capabilities, MemoryDevice
from fastnet.driver import Driver
from fastnet.stack import Stack
from fastnet.tcp.listener import Listener
from tests.peer import SECOND

pytestmark = pytest.mark.skipif(
    not str(fastnet.aio.reactor.__file__).endswith(".py"),
    reason="only compiled code can set the reactor of a compiled Door, so a test cannot make one; the uncompiled run has these tests",
)

MILLISECOND = 1_000_000
ADDRESS = "198.18.0.2"
STACK, OTHERS = 1, 2
"""Bits of what ``sleep`` returns, as in fastnet/aio/reactor.py: constants of a compiled module cannot be imported."""


class Told(LoopDoor):
    """A door that writes down what it hears."""

    def __init__(self, reactor: Reactor, it: Listener, raises: BaseException | None = None) -> None:
        self.reactor = reactor
        self.it = it
        self.raises = raises
        self.heard: list[Any] = []
        it.owner = self

    def endpoint(self) -> Any:
        return self.it

    def news(self, now: int) -> None:
        self.heard.append("ready")
        if self.raises is not None:
            raise self.raises

    def lost(self) -> None:
        self.heard.append("lost")
        if self.raises is not None:
            raise self.raises

    def fail(self, error: BaseException) -> None:
        self.heard.append(error)
        if self.raises is not None:
            raise self.raises


class Waker:
    """What a socket is to a stack: it is woken, and no door."""

    def __init__(self) -> None:
        self.woken = 0

    def ready(self, now: int) -> None:
        self.woken += 1


class Breaking(MemoryDevice):
    """A device that can fail."""

    broken = False

    def receive(self, ring: PacketRing) -> int:
        if self.broken:
            raise OSError(5, "gone")
        return super().receive(ring)


class Counting(Reactor):
    """One that notes how long it would sleep."""

    def sleep(self, timeout: int) -> int:
        self.slept.append(timeout)
        return self.finds.pop(0) if self.finds else 0


def reactor_of(busy_poll: int = 0) -> Any:
    loop = SimpleNamespace(_ready=deque(), _stopping=False, _scheduled=[])
    clock = ManualClock(SECOND)
    reactor: Any = Counting(Driver(Stack(Breaking(), (ADDRESS,), clock=clock)), loop, -1, busy_poll)
    reactor.slept, reactor.finds = [], []
    return reactor


def listener_of(reactor: Any, port: int) -> Listener:
    return reactor.stack.listen(ADDRESS, port)  # type: ignore[no-any-return]


def test_how_long_nothing_is_due() -> None:
    """For ever, until a timer of the loop's or the stack's, or not at all."""
    reactor = reactor_of()
    now = reactor.clock()
    assert reactor.time_to_sleep(now) == -1
    reactor.loop._scheduled.append(SimpleNamespace(_when=1.25))
    assert reactor.time_to_sleep(now) == 250 * MILLISECOND + 1
    assert reactor.time_to_sleep(now + SECOND) == 0, "it is due"
    reactor.stack.connect("198.18.0.1", 80)
    deadline = reactor.stack.context.timers.next_deadline()
    assert reactor.time_to_sleep(now) == 250 * MILLISECOND + 1
    reactor.loop._scheduled.clear()
    assert reactor.time_to_sleep(now) == deadline - now > 0
    for change in ("queue", "more", "last", "stopping", "ready", "busy"):
        reactor = reactor_of()
        if change == "queue":
            reactor.queue.append(None)
        elif change == "more":
            reactor.stack.full = True
        elif change == "last":
            reactor.last.append(None)
        elif change == "stopping":
            reactor.loop._stopping = True
        elif change == "ready":
            reactor.stack.context.notify(Told(reactor, listener_of(reactor, 80)).it)
        else:
            reactor.busy_until = now + 1
        assert reactor.time_to_sleep(now) == 0, change


def test_turns_end_when_asyncio_has_something_to_do() -> None:
    reactor = reactor_of()
    assert reactor.turns() is False and reactor.slept == [-1], "a signal came, and nothing else"
    reactor.finds = [OTHERS]
    assert reactor.turns() is True and len(reactor.slept) == 2
    told = Told(reactor, listener_of(reactor, 80))
    reactor.stack.context.notify(told.it)
    reactor.finds = [STACK, STACK | OTHERS]
    assert reactor.turns() is True and told.heard == ["ready"]
    reactor.loop._scheduled.append(SimpleNamespace(_when=reactor.clock() / 1e9 - 1))
    reactor.finds = [STACK]
    assert reactor.turns() is False, "a timer of the loop's is due"


def test_it_looks_for_a_while_after_a_turn() -> None:
    """busy_poll: no sleep until so long after the last turn."""
    reactor = reactor_of(5 * MILLISECOND)
    reactor.finds = [STACK]
    sleep = reactor.sleep

    class Passing(Counting):
        def sleep(self, timeout: int) -> int:
            self.clock.advance(2 * MILLISECOND)
            return Counting.sleep(self, timeout)

    reactor = Passing(Driver(reactor.stack), reactor.loop, -1, 5 * MILLISECOND)
    reactor.slept, reactor.finds = [], [STACK]
    assert reactor.turns() is False and reactor.slept == [-1, 0, 0, 0] and sleep is not None


def test_news_is_told_once_each_in_order() -> None:
    """A door hears of it in the turn; a socket is woken; whoever has no owner is nobody."""
    reactor = reactor_of()
    first, second = (Told(reactor, listener_of(reactor, port)) for port in (80, 81))
    third, waker = listener_of(reactor, 82), Waker()
    nobody = listener_of(reactor, 83)
    third.owner = waker
    for it in (first.it, nobody, third, second.it, first.it):
        reactor.stack.context.notify(it)
    reactor.turn(reactor.clock())
    assert first.heard == second.heard == ["ready"] and waker.woken == 1
    reactor.turn(reactor.clock())
    assert first.heard == ["ready"], "once"
    first.ready(reactor.clock())
    reactor.turn(reactor.clock())
    assert first.heard == ["ready", "ready"] and second.heard == ["ready"]


@pytest.mark.endpoint_fails
def test_who_raises_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    reactor = reactor_of()
    wrong = Told(reactor, listener_of(reactor, 80), ValueError("of the test"))
    right = Told(reactor, listener_of(reactor, 81))
    connection = reactor.stack.connect("198.18.0.1", 9)
    bad = Told(reactor, connection, ValueError("of the test too"))
    for it in (wrong.it, connection, right.it):
        reactor.stack.context.notify(it)
    with caplog.at_level(logging.ERROR, "fastnet"):
        reactor.turn(reactor.clock())
    assert right.heard == ["ready"] and wrong.heard[0] == "ready"
    assert bad.heard[0] == "ready" and any(isinstance(each, ValueError) for each in bad.heard), "its end is told"
    assert connection.id < 0 and wrong.it.id >= 0 and "of the test" in caplog.text


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interruption_takes_nobodys_news_with_it(kind: type[BaseException]) -> None:
    reactor = reactor_of()
    first = Told(reactor, listener_of(reactor, 80), kind())
    second = Told(reactor, listener_of(reactor, 81))
    reactor.stack.context.notify(first.it)
    reactor.stack.context.notify(second.it)
    with pytest.raises(kind):
        reactor.turn(reactor.clock())
    assert second.heard == [] and not reactor.in_turn
    first.raises = None
    reactor.turn(reactor.clock())
    assert second.heard == ["ready"] and first.heard == ["ready"]
    reactor.last = [first, second]
    first.raises = kind()
    with pytest.raises(kind):
        reactor.tell_lost()
    assert reactor.last == [second] and first.heard[-1] == "lost"
    reactor.tell_lost()
    assert second.heard[-1] == "lost" and reactor.last == []


def test_what_is_left_for_the_end_of_the_turn() -> None:
    """``soon`` keeps the order of call_soon: not outside a turn, nor behind what waits there already."""
    reactor = reactor_of()
    told = Told(reactor, listener_of(reactor, 80))
    assert reactor.soon(told) is False
    reactor.in_turn = True
    reactor.queue.append(None)
    assert reactor.soon(told) is False
    reactor.queue.clear()
    assert reactor.soon(told) is True and reactor.last == [told]
    reactor.in_turn = False
    reactor.deliver(reactor.clock())
    assert told.heard == ["lost"] and reactor.last == []


@pytest.mark.endpoint_fails
def test_a_device_that_failed_is_told_to_everybody_once(caplog: pytest.LogCaptureFixture) -> None:
    """Doors get the error, sockets are woken to find it, those that raise keep it from nobody; then no more looks at the device."""
    reactor = reactor_of()
    first = Told(reactor, listener_of(reactor, 80), ValueError("of the test"))
    second = Told(reactor, listener_of(reactor, 81))
    third, waker = listener_of(reactor, 82), Waker()
    third.owner = waker
    listener_of(reactor, 83)
    reactor.device, reactor.stack.full = 5, True
    with caplog.at_level(logging.ERROR, "fastnet"):
        reactor.stack.device.broken = True
        reactor.turn(reactor.clock())
        reactor.turn(reactor.clock())
    assert [type(each) for each in second.heard] == [OSError] and [type(each) for each in first.heard] == [OSError]
    assert second.heard[0].errno == 100 and waker.woken == 1
    assert reactor.failed and reactor.device == -1 and not reactor.stack.full
    assert "its end could not be told" in caplog.text


@pytest.mark.endpoint_fails
def test_calls_that_were_left_for_the_turn(caplog: pytest.LogCaptureFixture) -> None:
    reactor = reactor_of()
    made: list[int] = []

    def wrong() -> None:
        raise ValueError("of the test")

    reactor.later.extend([wrong, lambda: made.append(1)])
    with caplog.at_level(logging.ERROR, "fastnet"):
        reactor.turn(reactor.clock())
    assert made == [1] and "left for the next turn" in caplog.text and not reactor.later


class Holding(MemoryDevice):
    """A device that may have a packet which its descriptor does not show."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.capabilities = Capabilities(descriptor=descriptor, timed=True)
        self.left = -1

    def due(self) -> int:
        return self.left

    def after_fork(self, error: type[Exception]) -> int:
        return 0


def test_what_a_device_holds_back_ends_a_sleep() -> None:
    """It sleeps no longer than until a packet is due, which it then looks for; and for ever where nothing is."""
    reads, writes = os.pipe()
    others, told = os.pipe()
    with open(writes, "wb") as end, open(reads), open(others), open(told, "wb") as other:
        device = Holding(reads)
        reactor = Reactor(Driver(Stack(device, (ADDRESS,))), SimpleNamespace(_ready=deque(), _stopping=False, _scheduled=[]), others)
        device.left = 5
        assert reactor.sleep(-1) == reactor.sleep(1_000_000) == reactor.sleep(5) == STACK
        assert reactor.sleep(4) == 0
        device.left = 0
        assert reactor.sleep(0) == reactor.sleep(-1) == STACK
        device.left = -1
        assert reactor.sleep(0) == reactor.sleep(5) == 0
        other.write(b"x")
        other.flush()
        assert reactor.sleep(-1) == OTHERS
        device.left = 0
        assert reactor.sleep(-1) == STACK | OTHERS, "a busy loop does not keep it waiting"
        end.write(b"x")
        end.flush()
        device.left = -1
        assert reactor.sleep(-1) == STACK | OTHERS
        reactor.failed = True
        device.left = 0
        reactor.device = -1
        assert reactor.sleep(5) == OTHERS, "nobody asks a device that has failed"
