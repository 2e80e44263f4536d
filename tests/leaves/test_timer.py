"""The timer wheel against a sorted list."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from fastnet._timer import NEVER, TimerWheel

MS = 1_000_000
# From now to two years, with many at the edges of the wheel's levels.
deadlines = st.integers(-5 * MS, 70 * MS) | st.integers(0, 2**56) | st.integers(6, 36).map(lambda bits: (1 << bits) * MS)


class Machine(RuleBasedStateMachine):
    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.now = 12_345_678_901
        self.wheel = TimerWheel(self.now, MS)
        self.model: dict[int, tuple[int, object]] = {}
        self.serial = 0

    @rule(target=handles, after=deadlines)
    def add(self, after: int) -> int:
        owner = (self.serial,)
        self.serial += 1
        handle = self.wheel.add(owner, self.now + after)
        assert handle not in self.model
        self.model[handle] = (self.now + after, owner)
        return handle

    @rule(handle=handles, after=deadlines)
    def move(self, handle: int, after: int) -> None:
        if handle in self.model:
            self.wheel.move(handle, self.now + after)
            self.model[handle] = (self.now + after, self.model[handle][1])

    @rule(handle=consumes(handles))
    def remove(self, handle: int) -> None:
        if handle in self.model:
            self.wheel.remove(handle)
            del self.model[handle]

    def expire(self) -> None:
        due = []
        while (owner := self.wheel.expire(self.now)) is not None:
            due.append(owner)
        expected = {owner: deadline for deadline, owner in self.model.values()}
        for owner in due:
            assert expected[owner] <= self.now, "never early"
        self.model = {handle: entry for handle, entry in self.model.items() if entry[1] not in due}
        for deadline, _ in self.model.values():
            assert deadline + MS > self.now, "at most one tick late"

    @rule(after=deadlines)
    def pass_time(self, after: int) -> None:
        self.now += max(0, after)
        self.expire()

    @rule()
    def jump(self) -> None:
        """A driver that sleeps until next_deadline gets somewhere each time, and misses nothing."""
        for _ in range(200):
            deadline = self.wheel.next_deadline()
            if deadline == NEVER:
                assert not self.model
                return
            if self.model:
                assert deadline < max(self.now, min(when for when, _ in self.model.values())) + MS, "never late"
            before = len(self.model)
            assert deadline > self.now - MS
            self.now = max(self.now, deadline)
            self.expire()
            if len(self.model) < before:
                return
        raise AssertionError("it spins")

    @invariant()
    def same_number(self) -> None:
        assert len(self.wheel) == len(self.model)


TestTimerWheel = Machine.TestCase
TestTimerWheel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def drain(wheel: TimerWheel, now: int) -> list[object]:
    due = []
    while (owner := wheel.expire(now)) is not None:
        due.append(owner)
    return due


def test_order() -> None:
    """By tick; within a tick in the order of adding."""
    wheel = TimerWheel(0, MS)
    for name, deadline in (("c", 3 * MS), ("a", MS), ("b1", 2 * MS), ("b2", 2 * MS - 1), ("far", 10**15)):
        wheel.add(name, deadline)
    assert drain(wheel, 5 * MS) == ["a", "b1", "b2", "c"]


def test_a_timer_that_adds_itself_does_not_hold_the_loop() -> None:
    wheel = TimerWheel(0, MS)
    wheel.add("again", 0)
    for _ in range(3):
        assert wheel.expire(0) == "again"
        wheel.add("again", MS)
        assert wheel.expire(0) is None
        wheel.remove(0)
        wheel.add("again", 0)


def test_owners_are_let_go() -> None:
    import gc
    import weakref

    class Owner:
        pass

    wheel = TimerWheel(0, MS)
    owner = Owner()
    gone = weakref.ref(owner)
    handle = wheel.add(owner, MS)
    del owner
    assert gone() is not None
    wheel.remove(handle)
    gc.collect()
    assert gone() is None


def test_time_that_goes_backwards() -> None:
    wheel = TimerWheel(10 * MS, MS)
    wheel.add("x", 12 * MS)
    assert wheel.expire(5 * MS) is None and wheel.expire(11 * MS) is None
    assert wheel.expire(12 * MS) == "x"


def test_unknown_handles() -> None:
    wheel = TimerWheel(0, MS)
    handle = wheel.add("x", MS)
    wheel.remove(handle)
    for bad in (handle, -1, 1000):
        with pytest.raises(KeyError):
            wheel.remove(bad)
        with pytest.raises(KeyError):
            wheel.move(bad, 0)
    with pytest.raises(ValueError, match="tick"):
        TimerWheel(0, 0)


def test_the_far_end_of_time() -> None:
    wheel = TimerWheel(0, 1)
    wheel.add("late", 2**62)
    assert wheel.next_deadline() <= 2**62 and wheel.expire(2**62 - 1) is None
    assert wheel.expire(2**62) == "late"
