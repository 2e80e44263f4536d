"""The clock that is moved by hand."""

import pytest

from fastnet.clock import ManualClock
from fastnet.devices import MemoryDevice
from fastnet.stack import Stack


def test_it_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(5)
    assert clock() == clock() == 5
    clock.advance(10)
    assert clock() == 15
    clock.set(15)
    clock.set(100)
    assert clock() == 100
    assert ManualClock()() == 0


def test_it_never_goes_back() -> None:
    clock = ManualClock(100)
    with pytest.raises(ValueError, match="does not go back"):
        clock.set(99)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
    assert clock() == 100


def test_it_is_a_stacks_clock() -> None:
    clock = ManualClock(7)
    assert Stack(MemoryDevice(), clock=clock).clock() == 7
