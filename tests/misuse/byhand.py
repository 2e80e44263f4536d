"""Misuses that somebody thought of: each did crash the interpreter or never ended, or is of the same kind."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from fastnet._buffer import ByteRing, Pool
from fastnet._demux import Demux
from fastnet._flow import FourTuple
from fastnet._headers import Segment, SegmentBatch
from fastnet._ring import PacketRing
from fastnet._timer import TimerWheel
from fastnet._tun import Tun
from fastnet._writer import SegmentWriter
from fastnet.devices import MemoryDevice
from fastnet.stack import Stack
from fastnet.tcp.congestion.base import CongestionControl
from fastnet.tcp.connection import Connection
from fastnet.tcp.opening import ActiveConnection
from fastnet.tcp.request import Request
from tests.misuse.surface import Shrinks
from tests.misuse.world import A, World

BY_HAND: dict[str, Callable[[World], Any]] = {}


def misuse(act: Callable[[World], Any]) -> Callable[[World], Any]:
    BY_HAND[act.__name__.replace("_", " ").strip()] = act
    return act


class Wrong(MemoryDevice):
    """A device whose ``receive`` does something else."""

    def __init__(self, what: Callable[[PacketRing], Any]) -> None:
        super().__init__()
        self.what = what

    def receive(self, ring: PacketRing) -> int:
        return self.what(ring)  # type: ignore[no-any-return]


def with_device(what: Callable[[PacketRing], Any]) -> None:
    stack = Stack(Wrong(what), (A,), slots=4)
    for now in range(3):
        stack.poll(now)


@misuse
def a_device_that_sets_the_count_of_the_ring(world: World) -> None:
    def act(ring: PacketRing) -> int:
        ring.count = 1 << 40  # type: ignore[misc]
        return 4

    with_device(act)


@misuse
def a_device_that_says_it_received_more_than_it_did(world: World) -> None:
    with_device(lambda ring: 1 << 62)


@misuse
def a_device_that_writes_lengths_that_are_too_large(world: World) -> None:
    def act(ring: PacketRing) -> int:
        ring.memory[:] = 0x45
        ring.lengths[:] = 0xFFFFFFFF
        ring.hold(ring.slots)
        return ring.slots

    with_device(act)


@misuse
def lengths_resized(world: World) -> None:
    ring = world.a.received
    for array in (ring.lengths, ring.memory, ring.checked, ring.segment_sizes):
        base = array
        while base is not None:
            with suppress(Exception):
                base.resize(1, refcheck=False)
            base = getattr(base, "base", None)


@misuse
def the_state_of_an_array_set(world: World) -> None:
    ring = world.a.received
    state = np.zeros(1, np.uint8).__reduce__()[2]
    for array in (ring.lengths, ring.memory, ring.checked, ring.segment_sizes):
        with suppress(Exception):
            array.__setstate__(state)
    gc.collect()


@misuse
def a_ring_made_again(world: World) -> None:
    for ring in (world.a.received, world.a.sending, world.b.received):
        ring.__init__(1, 1)  # type: ignore[misc]


@misuse
def a_segment_that_outlives_its_ring(world: World) -> None:
    ring = PacketRing(8, 60000)
    batch = SegmentBatch(ring)
    for packet in list(world.devices[0]._incoming)[:4] or [bytes(40)]:
        ring.append(packet)
    batch.parse()
    segments = list(batch.segments)
    del ring, batch
    gc.collect()
    for segment in segments:
        segment.payload()
        segment.deliver(ByteRing(), 0, segment.payload_length)
        _ = segment.icmp_type, segment.icmp_mtu


@misuse
def a_segment_of_the_stack_that_outlives_the_stack(world: World) -> None:
    segments = list(world.a.batch.segments)
    stack = world.__dict__.pop("a")
    world.__dict__.clear()
    del stack
    gc.collect()
    for segment in segments:
        segment.payload()


@misuse
def the_segments_of_a_batch_cleared(world: World) -> None:
    world.a.batch.segments.clear()  # type: ignore[attr-defined]


@misuse
def a_batch_made_again(world: World) -> None:
    world.a.batch.__init__(PacketRing(1, 1))  # type: ignore[misc]


@misuse
def a_segment_of_a_batch_read_into(world: World) -> None:
    for segment in world.a.batch.segments:
        segment.read(b"\x45")


@misuse
def a_bare_connection(world: World) -> None:
    connection = Connection()
    connection.close(0)


@misuse
def a_connection_from_new_alone(world: World) -> None:
    for kind in (Connection, ActiveConnection):
        connection = kind.__new__(kind)
        for call in (
            lambda c: c.send(b"x"),
            lambda c: c.receive(1),
            lambda c: c.close(0),
            lambda c: c.abort(0),
            lambda c: c.segment_arrives(world.a.batch.segments[0], 0),
            lambda c: c.timer_fires(0),
            lambda c: c.send_pending(0),
        ):
            with suppress(Exception):
                call(connection)  # type: ignore[no-untyped-call]


@misuse
def a_subclass_of_connection_without_its_constructor(world: World) -> None:
    class Mine(Connection):
        def __init__(self) -> None:
            pass

    Mine().send(b"x")


@misuse
def a_bare_connection_among_the_endpoints(world: World) -> None:
    context = world.a.context
    for i, endpoint in enumerate(context.endpoints):
        if endpoint is not None:
            context.endpoints[i] = ActiveConnection.__new__(ActiveConnection)


@misuse
def handshake_set_to_none(world: World) -> None:
    world.accepted.handshake = None  # type: ignore[assignment]


@misuse
def handshake_set_to_a_bare_request(world: World) -> None:
    world.accepted.handshake = Request.__new__(Request)


@misuse
def context_set_to_none(world: World) -> None:
    world.accepted.context = None  # type: ignore[assignment]


@misuse
def endpoints_cleared(world: World) -> None:
    world.a.context.endpoints.clear()


@misuse
def endpoints_of_something_else(world: World) -> None:
    world.a.context.endpoints[:] = [object()] * 100  # type: ignore[list-item]


@misuse
def outbox_and_ready_of_something_else(world: World) -> None:
    for wrong in ([None], [object()], ["x"] * 10):
        world.a.context.outbox.extend(wrong)  # type: ignore[arg-type]
        world.a.context.ready.extend(wrong)  # type: ignore[arg-type]
        for call in (lambda: world.a.poll(world.now), lambda: world.a.take_ready()):
            with suppress(Exception):
                call()


@misuse
def flights_of_something_else(world: World) -> None:
    board = world.first.sender.recovery.board  # type: ignore[union-attr]
    board.flights[:] = [None] * len(board.flights)  # type: ignore[list-item]


@misuse
def flights_cleared(world: World) -> None:
    world.first.send(b"x" * 5000)
    world.b.flush(world.now)
    world.first.sender.recovery.board.flights.clear()  # type: ignore[union-attr]


@misuse
def pieces_of_something_else(world: World) -> None:
    receiver = world.accepted.need_receiver(0)
    receiver.pieces[:] = [None, (1,), object()]  # type: ignore[list-item]


@misuse
def the_accept_queue_of_something_else(world: World) -> None:
    world.listener.accept_queue.extend([None, 1, object()])  # type: ignore[list-item]
    for _ in range(4):
        world.listener.accept()


@misuse
def none_where_an_object_is_expected(world: World) -> None:
    segment = Segment()
    flow = FourTuple(A, 1, A, 2)
    demux = Demux()
    writer = SegmentWriter(PacketRing(4, 200), lambda: None)
    calls: list[Callable[[], Any]] = [
        lambda: segment.deliver(None, 0, 0),  # type: ignore[arg-type]
        lambda: segment.place(None, 0, 0),  # type: ignore[arg-type]
        lambda: segment.read(None),  # type: ignore[arg-type]
        lambda: SegmentBatch(PacketRing(4)).look_up(None),  # type: ignore[arg-type]
        lambda: SegmentBatch(None),  # type: ignore[arg-type]
        lambda: SegmentWriter(None, lambda: None),  # type: ignore[arg-type]
        lambda: writer.control(None, 0, 0, 0, 0),  # type: ignore[arg-type]
        lambda: writer.synack(None, 0, 0, 0, 0, 0, 0, True, True, 0, 0),  # type: ignore[arg-type]
        lambda: writer.verbatim(None, 0, 0, 0, 0, b""),  # type: ignore[arg-type]
        lambda: writer.verbatim(flow, 0, 0, 0, 0, None),  # type: ignore[arg-type]
        lambda: writer.data(flow, 0, 0, 0, 0, True, 0, 0, None, 0, 0),  # type: ignore[arg-type]
        lambda: writer.data(None, 0, 0, 0, 0, True, 0, 0, ByteRing(), 0, 0),  # type: ignore[arg-type]
        lambda: writer.icmp(flow, None, 0, 0),  # type: ignore[arg-type]
        lambda: writer.icmp(flow, Segment(), 0, 0),
        lambda: writer.repeat(None, 1),  # type: ignore[arg-type]
        lambda: demux.find(None),  # type: ignore[arg-type]
        lambda: demux.insert(None),  # type: ignore[arg-type]
        lambda: demux.remove(None),  # type: ignore[arg-type]
        lambda: demux.find_listener(None),  # type: ignore[arg-type]
        lambda: demux.listen(None, 1),  # type: ignore[arg-type]
        lambda: demux.find_all(None),  # type: ignore[arg-type]
        lambda: None in demux,  # type: ignore[operator]
        lambda: ByteRing().append(None),  # type: ignore[arg-type]
        lambda: ByteRing().take_into(None),  # type: ignore[arg-type]
        lambda: PacketRing(1).append(None),  # type: ignore[arg-type]
        lambda: FourTuple(None, 1, None, 1),  # type: ignore[arg-type]
    ]
    for call in calls:
        with suppress(Exception):
            call()


@misuse
def blocks_that_shorten_themselves(world: World) -> None:
    flow = FourTuple(A, 1, A, 2)
    writer = SegmentWriter(PacketRing(2, 200), lambda: None)
    blocks: list[Any] = []

    class Ends:
        def __iter__(self) -> Any:
            blocks.clear()
            return iter((1, 2))

    blocks += [Ends() for _ in range(4)]
    for wrong in (blocks, Shrinks([(1, 2)] * 4), [(1,)], [None], [(1, 2, 3)]):
        with suppress(Exception):
            writer.control(flow, 0, 0, 0, 0, True, 0, 0, wrong)


@misuse
def blocks_that_write_packets(world: World) -> None:
    flow = FourTuple(A, 1, A, 2)
    ring = PacketRing(1, 200)
    writer = SegmentWriter(ring, ring.clear)

    class Writes:
        def __iter__(self) -> Any:
            writer.control(flow, 0, 0, 0, 0)
            return iter((1, 2))

    writer.control(flow, 0, 0, 0, 0, True, 0, 0, [Writes()] * 4)  # type: ignore[list-item]
    assert ring.count <= ring.slots


@misuse
def a_flush_that_fills_the_request_anew(world: World) -> None:
    flow = FourTuple(A, 1, A, 2)
    ring = PacketRing(1, 2000)
    segment = Segment()
    writer = SegmentWriter(ring, lambda: (ring.clear(), segment.read(b"")))
    writer.control(flow, 0, 0, 0, 0)
    writer.icmp(flow, segment, 0, 0)


@misuse
def a_flush_that_writes(world: World) -> None:
    flow = FourTuple(A, 1, A, 2)
    ring = PacketRing(1, 200)
    writer = SegmentWriter(ring, lambda: writer.control(flow, 0, 0, 0, 0))
    writer.control(flow, 0, 0, 0, 0)
    writer.control(flow, 0, 0, 0, 0)


@misuse
def a_writer_made_again(world: World) -> None:
    world.a.writer.__init__(PacketRing(1, 1), lambda: None)  # type: ignore[misc]


@misuse
def a_writer_from_new_alone(world: World) -> None:
    SegmentWriter.__new__(SegmentWriter).control(FourTuple(A, 1, A, 2), 0, 0, 0, 0)  # type: ignore[call-arg]


@misuse
def a_ring_from_new_alone(world: World) -> None:
    ring = PacketRing.__new__(PacketRing)
    ring.append(b"x" * 10)
    ring.packet(0)
    SegmentBatch(ring).parse()


@misuse
def a_tuple_that_changes_in_the_table(world: World) -> None:
    flow = world.accepted.handshake.flow
    flow.__init__("1.2.3.4", 1, "1.2.3.5", 2)  # type: ignore[misc]


@misuse
def a_block_for_more_than_there_can_be(world: World) -> None:
    for wanted in (2**62 + 1, 2**63 - 1, 2**31, -1):
        with suppress(MemoryError):
            ByteRing().block_for(wanted)


@misuse
def the_end_of_time(world: World) -> None:
    for now in (2**63 - 1, 2**62, 2**62 + 1):
        wheel = TimerWheel(resolution=1)
        for deadline in (2**63 - 1, 2**63 - 2, 2**62):
            wheel.add(1, deadline)
            try:
                while wheel.expire(now):
                    pass
            except ValueError:
                pass
            wheel.next_deadline()


@misuse
def clocks_below_zero(world: World) -> None:
    for now in (-1, -(2**63), -(2**40)):
        for resolution in (1, 1000, 2**63 - 1):
            try:
                wheel = TimerWheel(now, resolution)
                for deadline in (now, 0, now + 5, 2**62, 2**63 - 1):
                    wheel.add(1, deadline)
                for later in (now, now + 1, 0, 2**62):
                    while wheel.expire(later) is not None:
                        pass
                    wheel.next_deadline()
            except ValueError:
                pass
    wheel = TimerWheel(0, 1)
    wheel.add(1, -(2**63))
    wheel.expire(-(2**63))
    wheel.expire(-1)


@misuse
def a_stack_whose_clock_is_below_zero(world: World) -> None:
    stack = Stack(MemoryDevice(), (A,), clock=lambda: -(2**63))
    stack.poll(-(2**63))


@misuse
def time_that_jumps(world: World) -> None:
    for now in (2**63 - 1, 0, -(2**63), 2**62):
        try:
            world.a.poll(now)
            world.b.poll(now)
        except Exception:
            pass


@misuse
def a_tun_of_wrong_types(world: World) -> None:
    import os

    for arguments in ((1,), ("\ud800",), (None,), ("x", "y"), ("x" * 100,), ("x", 1)):
        with suppress(Exception):
            Tun(*arguments)  # type: ignore[arg-type]
    gc.collect()
    os.fstat(0)


@misuse
def a_queue_with_a_wrong_pool(world: World) -> None:
    for wrong in ("x", 1, ByteRing()):
        with suppress(TypeError):
            ByteRing(wrong)  # type: ignore[arg-type]
    queue = ByteRing(Pool.__new__(Pool))
    queue.append(b"x")


@misuse
def a_stack_made_again_by_its_device(world: World) -> None:
    class Again(MemoryDevice):
        def transmit(self, ring: PacketRing) -> int:
            world.a.__init__(self)  # type: ignore[misc]
            gc.collect()
            return super().transmit(ring)

    world.a.device = Again()


@misuse
def a_poll_within_a_poll(world: World) -> None:
    class Nested(MemoryDevice):
        def receive(self, ring: PacketRing) -> int:
            world.a.poll(world.now)
            return super().receive(ring)

        def transmit(self, ring: PacketRing) -> int:
            world.a.poll(world.now)
            return super().transmit(ring)

    world.a.device = Nested()


@misuse
def a_congestion_control_that_polls_and_replaces_itself(world: World) -> None:
    class Mine(CongestionControl):
        def acknowledged(self, ack: Any) -> None:
            world.first.set_congestion_control(Mine)
            world.a.poll(world.now)
            world.first.abort(world.now)
            gc.collect()

    world.first.set_congestion_control(Mine)


@misuse
def a_congestion_control_with_extreme_numbers(world: World) -> None:
    class Mine(CongestionControl):
        number = 0

        def acknowledged(self, ack: Any) -> None:
            self.number += 1
            for name in ("cwnd", "ssthresh", "mss"):
                with suppress(Exception):
                    setattr(self, name, (0, -1, 2**63 - 1, None, float("nan"), 10**30, -(2**63))[self.number % 7])

        reduce = timed_out = recovered = restarted = undo = acknowledged  # type: ignore[assignment]

    world.first.set_congestion_control(Mine)
    world.accepted.set_congestion_control(Mine)


@misuse
def an_owner_that_closes_the_stack(world: World) -> None:
    class Owner:
        def __del__(self) -> None:
            world.a.context.endpoints.clear()
            world.first.abort(0)

    world.accepted.owner = Owner()
    world.listener.owner = Owner()
    world.accepted.owner = None


@misuse
def a_long_chain_of_owners(world: World) -> None:
    """Taken apart by recursion, it would fill the C stack."""
    owner = None
    for _ in range(100_000):
        listener = world.b.listen("0.0.0.0", 80)
        listener.owner = owner
        listener.close(world.now)
        owner = listener


@misuse
def a_list_that_shrinks_in_find_all(world: World) -> None:
    flows = [FourTuple(A, 1, A, 2)] * 100 + [object()]
    Demux().find_all(flows)  # type: ignore[arg-type]


@misuse
def timers_that_are_nobodys(world: World) -> None:
    timers = world.a.context.timers
    for owner in (None, 1, object(), "x"):
        timers.add(owner, 0)
    for handle in (-1, 0, 2**31 - 1, 10**6):
        try:
            timers.move(handle, 0)
            timers.remove(handle)
        except KeyError:
            pass


@misuse
def a_timer_that_is_somebody_elses(world: World) -> None:
    world.accepted.timer = world.listener.timer = world.other.timer = 3


@misuse
def an_id_that_is_somebody_elses(world: World) -> None:
    world.accepted.id = world.other.id = world.listener.id = 2**31 - 1
    world.first.id = -5


@misuse
def states_that_do_not_exist(world: World) -> None:
    world.accepted.state = 10**6
    world.first.state = -1


@misuse
def deep_recursion(world: World) -> None:
    def deeper() -> None:
        try:
            deeper()
        finally:
            world.a.poll(world.now)

    sys.setrecursionlimit(2000)
    deeper()


@misuse
def garbage_with_the_stack_in_it(world: World) -> None:
    class Owner:
        def __init__(self) -> None:
            self.world = world

        def __del__(self) -> None:
            self.world.use()

    world.accepted.owner = Owner()
    world.first.owner = Owner()
    world.loop = world  # type: ignore[attr-defined]


@misuse
def two_threads_in_one_stack(world: World) -> None:
    import threading

    def work() -> None:
        for _ in range(200):
            try:
                world.step(1)
                world.b.connect(A, 80)
            except Exception:
                pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
