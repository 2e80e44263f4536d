"""The stack's turns on an event loop: packets in, callbacks, packets out.

A turn serves the connections that have news in the order in which they came, a bounded number of packets and bytes, and sends all that
was written on the way as one batch. As long as asyncio itself has nothing to do, turn follows turn without a look at its queues.
"""

from collections import deque
from typing import Any

from fastnet.aio._wait import wait_for
from fastnet.driver import Driver
from fastnet.stack import NEVER
from fastnet.tcp.containment import contain_door
from fastnet.tcp.context import Endpoint
from fastnet.tcp.failures import LOGGER

STACK = 1
OTHERS = 2
"""What ``sleep`` says has something to do: bits."""


class LoopDoor:
    """A ``Door`` that hears of an endpoint's news in the reactor's turn."""

    __slots__ = ("reactor",)

    reactor: "Reactor"

    def news(self, now: int) -> None:
        """The endpoint has news; called in a turn."""
        raise RuntimeError("a door says what it does with news")

    def lost(self) -> None:
        """What was left for the end of the turn."""

    def fail(self, error: BaseException) -> None:
        """Nothing will ever come again: the device has failed, or ``news`` has raised."""

    def ready(self, now: int) -> None:
        """Somebody else took the news of the stack, a socket on it that polls by hand: keep this for the next turn."""
        self.wake()

    def wake(self) -> None:
        """Have ``news`` called in the next turn."""
        self.reactor.again(self.endpoint())

    def endpoint(self) -> Endpoint:
        """Whose door it is."""
        raise RuntimeError("a door knows its endpoint")


class Reactor:
    """Drives a stack in the thread of an event loop.

    :param driver: whose stack it is; from now on only the loop's thread calls it
    :param loop: the asyncio loop whose queues say whether it has something to do
    :param others: the descriptor of the epoll that has everything but the stack's device
    :param busy_poll: how long to go on looking before a sleep, ns
    :ivar failed: the device has failed, and every door was told
    :ivar in_turn: True while a turn calls programs back
    :ivar last: doors that ``lost`` is called on at the end of the turn
    """

    __slots__ = (
        "busy_poll", "busy_until", "clock", "device", "failed", "in_turn", "last", "later", "lock", "loop", "others", "queue",
        "stack", "timed",
    )  # fmt: skip

    def __init__(self, driver: Driver, loop: Any, others: int, busy_poll: int = 0) -> None:
        stack = driver.stack
        self.stack = stack
        self.later = driver._later
        self.lock = driver.lock
        self.loop = loop
        self.clock = stack.clock
        capabilities = stack.device.capabilities
        self.device = -1 if capabilities.descriptor is None else capabilities.descriptor
        self.timed = capabilities.timed
        self.others = others
        self.queue: deque[Any] = loop._ready
        self.busy_poll = busy_poll
        self.busy_until = 0
        self.failed = False
        self.in_turn = False
        self.last: list[LoopDoor] = []

    def turns(self) -> bool:
        """Turn after turn until asyncio has something to do, or a signal came: does one of the other descriptors?"""
        stack = self.stack
        loop = self.loop
        now: int = self.clock()
        while True:
            # What tasks wrote since the last turn.
            stack.flush(now)
            found = self.sleep(self.time_to_sleep(now))
            now = self.clock()
            if found & STACK or self.last or stack.has_news() or stack.next_deadline(now) <= now:
                self.turn(now)
                if self.busy_poll:
                    self.busy_until = now + self.busy_poll
            elif found == 0 and now >= self.busy_until:
                return False
            if found & OTHERS or self.queue or loop._stopping or self.scheduled() <= now:
                return found & OTHERS != 0

    def time_to_sleep(self, now: int) -> int:
        """How long nothing is due, ns; below 0: for ever."""
        if self.queue or self.last or self.loop._stopping or self.stack.has_news() or now < self.busy_until:
            return 0
        deadline = self.stack.next_deadline(now)
        when = self.scheduled()
        if when < deadline:
            deadline = when
        if deadline == NEVER:
            return -1
        return deadline - now if deadline > now else 0

    def scheduled(self) -> int:
        """When the loop's next ``call_later`` is due, ns."""
        timers = self.loop._scheduled
        if not timers:
            return NEVER
        # A nanosecond late rather than early, which would be a look for nothing.
        return int(timers[0]._when * 1e9) + 1

    def sleep(self, timeout: int) -> int:
        """Wait for packets (``STACK``) or whatever else the loop waits for (``OTHERS``), at most so long, ns; below 0: for ever."""
        if self.timed and not self.failed:
            return self.sleep_until_due(timeout)
        return wait_for(self.device, self.others, timeout)

    def sleep_until_due(self, timeout: int) -> int:
        """The same, for a device that may have packets which its descriptor does not show."""
        due = self.stack.device.due()
        if due >= 0 and (timeout < 0 or due <= timeout):
            # Whatever else there is, a packet is not left waiting.
            return wait_for(self.device, self.others, due) | STACK
        return wait_for(self.device, self.others, timeout)

    def turn(self, now: int) -> None:
        """One batch: receive, call back, send."""
        stack = self.stack
        if stack.failure is not None and not self.failed:
            self.device_failed(now)
        while self.later:
            self.call(self.later.popleft(), now)
        self.in_turn = True
        try:
            stack.receive(now)
            stack.fire(now)
            self.deliver(now)
        finally:
            self.in_turn = False
        stack.flush(now)
        if stack.failure is not None and not self.failed:
            self.device_failed(now)
        if stack.context.failures.waiting:
            stack.context.failures.log()

    def call(self, call: Any, now: int) -> None:
        """What another thread, or the collector, has left for this turn."""
        try:
            call()
        except Exception as error:
            self.stack.context.failures.note("a call that was left for the next turn failed", error, now)

    def deliver(self, now: int) -> None:
        """Tell the owners of endpoints with news, each once; what they leave is for the next turn.

        What one raises ends its endpoint alone. SystemExit and KeyboardInterrupt go through; the others' news does not go with them.
        """
        ready = self.stack.take_ready()
        count = len(ready)
        served = 0
        while served < count:
            endpoint = ready[served]
            try:
                while served < count:
                    endpoint = ready[served]
                    served += 1
                    owner = endpoint.owner
                    if isinstance(owner, LoopDoor):
                        door = owner
                        door.news(now)
                    elif owner is not None:
                        # A socket's.
                        with self.lock:
                            owner.ready(now)
            except (KeyboardInterrupt, SystemExit):
                for endpoint in ready[served:]:
                    self.again(endpoint)
                raise
            except BaseException as error:
                self.door_failed(endpoint, error, now)
        if self.last:
            self.tell_lost()

    def tell_lost(self) -> None:
        """Call ``lost`` on the doors that wait for it; those behind one that lets an interruption through are told in the next turn."""
        last = self.last
        self.last = []
        served = 0
        try:
            for door in last:
                served += 1
                door.lost()
        finally:
            if served < len(last):
                self.last = last[served:] + self.last

    def door_failed(self, endpoint: Endpoint, error: BaseException, now: int) -> None:
        """A door's code raised, not the program's, which doors answer for: no memory, mostly. Its endpoint ends."""
        owner = endpoint.owner
        contain_door(self.stack.context, endpoint, error, now)
        if isinstance(owner, LoopDoor) and endpoint.id < 0:
            self.tell(owner, error, now)

    def tell(self, door: LoopDoor, error: BaseException, now: int) -> None:
        """Tell a door that it is over."""
        try:
            door.fail(error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as second:
            self.stack.context.failures.note(f"{type(door).__name__}: its end could not be told", second, now)

    def device_failed(self, now: int) -> None:
        """Tell everybody who has a connection, waits for one, or listens; the loop goes on, for all that is not the stack's."""
        stack = self.stack
        self.failed = True
        # Its descriptor says for ever that there is something to see.
        self.device = -1
        LOGGER.error("%s", stack.down().strerror)
        for endpoint in stack.take_ready():
            owner = endpoint.owner
            if isinstance(owner, LoopDoor):
                self.tell(owner, stack.down(), now)
            elif owner is not None:
                with self.lock:
                    owner.ready(now)

    def again(self, endpoint: Endpoint) -> None:
        """It is not done: another look in the next turn."""
        self.stack.context.notify(endpoint)

    def soon(self, door: LoopDoor) -> bool:
        """Have ``lost`` called at the end of this turn, if that keeps the order of ``call_soon``; False where it would not."""
        if self.in_turn and not self.queue:
            self.last.append(door)
            return True
        return False
