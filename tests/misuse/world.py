"""A small world in memory: two stacks with connections in every state, so that whatever was misused is used afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from random import Random
from typing import Any

from fastnet._buffer import ByteRing
from fastnet._demux import Demux
from fastnet._flow import FourTuple
from fastnet._headers import Segment, SegmentBatch
from fastnet._ring import PacketRing
from fastnet._timer import TimerWheel
from fastnet._writer import SegmentWriter
from fastnet.devices import MemoryDevice
from fastnet.stack import Stack
from fastnet.tcp.context import Endpoint

SECOND = 1_000_000_000
A, B = "198.18.0.1", "198.18.0.2"


class World:
    """Stack ``a`` is called by stack ``b``: data both ways, a hole, SYN-SENT, TIME-WAIT, a request that waits for its ACK."""

    def __init__(self, seed: int = 1) -> None:
        self.now = SECOND
        random = Random(seed).randbytes
        self.devices = MemoryDevice.pair()
        self.a = Stack(self.devices[0], (A,), {}, lambda: self.now, random, slots=16)
        self.b = Stack(self.devices[1], (B,), {}, lambda: self.now, random, slots=16)
        self.listener = self.a.listen("0.0.0.0", 80)
        self.first = self.b.connect(A, 80)
        self.gone = self.b.connect(A, 80)
        self.step(4)
        self.accepted = self.listener.accept()
        self.other = self.listener.accept()
        self.accepted.owner = self.first.owner = self
        self.accepted.send(b"a" * 9000)
        self.first.send(b"b" * 5000)
        self.gone.close(self.now)
        self.other.close(self.now)
        self.step(6)
        self.calling = self.b.connect("198.18.0.9", 80)
        self.pending = self.b.connect(A, 80)
        self.b.flush(self.now)
        self.a.poll(self.now)

    def step(self, times: int) -> None:
        for _ in range(times):
            self.now += 20_000_000
            for stack in (self.a, self.b):
                stack.poll(self.now)

    def use(self) -> None:
        """What any program does next: whatever raises was misused, and is not asked again."""
        calls = (
            lambda: self.step(3),
            lambda: self.accepted.send(b"c" * 3000),
            lambda: self.first.receive(100),
            lambda: self.first.send(b"d" * 3000),
            lambda: self.step(3),
            lambda: self.lose(),
            lambda: self.step(20),
            lambda: self.listener.accept(),
            lambda: self.b.connect(A, 80),
            lambda: self.step(3),
            lambda: self.first.close(self.now),
            lambda: self.accepted.abort(self.now),
            lambda: self.step(4),
            lambda: self.listener.close(self.now),
            lambda: self.later(),
        )
        for call in calls:
            try:
                call()
            except Exception:
                continue

    def lose(self) -> None:
        """Half a flight is lost on the way."""
        self.first.send(b"e" * 20000)
        self.b.flush(self.now)
        kept = list(self.devices[0]._incoming)[1::2]
        self.devices[0]._incoming.clear()
        self.devices[0]._incoming.extend(kept)

    def later(self) -> None:
        for _ in range(3):
            self.now += 40 * SECOND
            self.step(1)

    def live(self) -> dict[type, Any]:
        """An object of each class that can be reached from the two stacks, and those that a program makes itself."""
        found: dict[type, Any] = {}
        waiting: list[Any] = [
            self.a, self.b, self.accepted, self.first, self.calling, self.gone, self.listener, FourTuple(A, 1, B, 2), PacketRing(4, 100),
            ByteRing(), Demux(), TimerWheel(),
        ]  # fmt: skip
        ring = PacketRing(4, 200)
        waiting += [SegmentBatch(ring), SegmentWriter(PacketRing(4, 200), lambda: None)]
        seen: list[Any] = []
        while waiting:
            thing = waiting.pop(0)
            if any(thing is other for other in seen):
                continue
            seen.append(thing)
            if type(thing) not in found or isinstance(thing, Segment) and thing.payload_length > found[type(thing)].payload_length:
                found[type(thing)] = thing
            waiting += parts(thing)
        return found


def parts(thing: Any) -> Iterator[Any]:
    """The objects of fastnet's that one refers to."""
    for name in dir(type(thing)):
        if name.startswith("__") or callable(getattr(type(thing), name, None)):
            continue
        try:
            value = getattr(thing, name)
        except Exception:
            continue
        values = list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list | tuple) else [value]
        for one in values[:40]:
            if type(one).__module__.startswith("fastnet."):
                yield one


def endpoint_of(world: World) -> Endpoint:
    return world.accepted


def collect() -> None:
    gc.collect()
