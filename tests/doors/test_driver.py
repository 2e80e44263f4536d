"""A driver that is polled by hand, or by its thread: what it logs, how long it sleeps, and what a program may call."""

from __future__ import annotations

import logging
import queue
import threading

import pytest

from fastnet.clock import ManualClock
from fastnet.devices import MemoryDevice
from fastnet.driver import IDLE, Driver
from fastnet.forks import ForkedError
from fastnet.stack import NEVER, Stack
from tests.doors.test_forks import in_child
from tests.peer import PEER, SECOND, STACK


class Patient(MemoryDevice):
    """A device that only notes how long it was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[int] = []

    def wait(self, timeout: int) -> bool:
        self.waits.append(timeout)
        return False


def driver_of(device: MemoryDevice | None = None) -> Driver:
    return Driver(Stack(device or MemoryDevice(), (STACK,), clock=ManualClock(SECOND)))


def test_an_earlier_timer_wakes_the_thread() -> None:
    """What a program's call made due before the thread's sleep ends; and what is due later does not wake it."""

    class Asleep(MemoryDevice):
        def __init__(self) -> None:
            super().__init__()
            self.sleeps: queue.SimpleQueue[int] = queue.SimpleQueue()
            self.waking = threading.Semaphore(0)
            self.woken = 0

        def wait(self, timeout: int) -> bool:
            self.sleeps.put(timeout)
            self.waking.acquire(timeout=20)
            return False

        def wake(self) -> None:
            self.woken += 1
            self.waking.release()

    device = Asleep()
    driver = driver_of(device).start()
    assert device.sleeps.get(timeout=20) == IDLE
    with driver.lock:
        driver.flush()
        assert device.woken == 0, "nothing is due"
        driver.stack.connect(PEER, 80)
        driver.flush()
        assert device.woken == 1
    due = driver.stack.context.timers.next_deadline()
    assert SECOND < due < NEVER
    assert device.sleeps.get(timeout=20) == min(due - SECOND, IDLE)
    with driver.lock:
        driver.flush()
        assert device.woken == 1, "it wakes by itself in time"
    driver.stop()
    assert not driver.threaded


@pytest.mark.endpoint_fails
def test_a_failure_is_logged_after_the_poll_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    """And the calls behind it are made all the same."""
    driver = driver_of()
    made: list[int] = []

    def wrong() -> None:
        raise ValueError("of the test")

    driver.later(wrong)
    driver.later(lambda: made.append(1))
    with caplog.at_level(logging.ERROR, "fastnet"):
        driver.step()
    assert made == [1]
    (record,) = caplog.records
    assert record.exc_info is not None and isinstance(record.exc_info[1], ValueError)
    caplog.clear()
    driver.step()
    assert not caplog.records and made == [1], "once each"


def test_a_child_is_told_that_the_stack_is_not_its_own() -> None:
    driver = driver_of()
    driver.check()

    def child() -> None:
        for call in (driver.check, driver.start, driver.step):
            with pytest.raises(ForkedError):
                call()
        assert not driver.threaded

    assert in_child(child) == ""
    driver.check()


def test_how_long_a_step_waits() -> None:
    """For the next timer, and for no longer than the caller wants, nor than the bound on a lost wake-up."""
    device = Patient()
    driver = driver_of(device)
    driver.step(0)
    assert device.waits == [], "not at all"
    driver.step(0.25)
    driver.step(None)
    driver.step(3600)
    assert device.waits == [250_000_000, IDLE, IDLE]
    device.waits.clear()
    driver.stack.connect(PEER, 80)
    due = driver.stack.context.timers.next_deadline()
    assert due < NEVER
    driver.step(None)
    driver.step(0.01)
    assert device.waits[0] == min(IDLE, driver.stack.poll(driver.stack.clock()) - SECOND) and device.waits[1] == 10_000_000
