"""Memory has bounds, whatever peers do: of all buffers together (tcp_mem), of orphans, and of each connection. See docs/defence.md."""

import gc
import struct
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from scapy.layers.inet import TCP

import fastnet.tcp.scoreboard
from fastnet.clock import ManualClock
from fastnet.devices import MemoryDevice
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.numbers import BYTES_A_FLIGHT, MAX_PIECES, MIN_FLIGHTS, PAGE
from fastnet.tcp.states import State
from tests.fuzz.packets import tcp_packet
from tests.peer import MILLISECOND, PEER, SECOND, STACK, M, Peer, Wire

SYN, RST, PSH, ACK, URG = 2, 4, 8, 16, 32
FULL = bytes(1000)


class Crowd:
    """Peers of one listener, all alike; their packets are made byte by byte, as thousands are wanted."""

    def __init__(self, count: int, options: bytes = b"\x01\x01\x04\x02", **settings: Any) -> None:
        self.clock = ManualClock(SECOND)
        self.device = MemoryDevice(1500, 1 << 20)
        self.stack = Stack(self.device, (STACK,), settings, self.clock, lambda n: bytes(i & 255 for i in range(n)))
        listener = self.stack.listen("0.0.0.0", 80, count)
        self.ports = range(10_000, 10_000 + count)
        self.irs: dict[int, int] = {}
        self.send(0, SYN, options=options, ack=0)
        for packet in self.device.drain():
            self.irs[int.from_bytes(packet[22:24], "big")] = int.from_bytes(packet[24:28], "big")
        self.send(1, ACK)
        self.connections: list[Connection] = []
        while (connection := listener.accept()) is not None:
            self.connections.append(connection)
        assert len(self.connections) == count

    def send(
        self, seq: int, flags: int, ack: int = 1, window: int = 64240, options: bytes = b"", data: bytes = b"", urg: int = 0,
        edges: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """The same segment from each; numbers, those of SACK blocks too, count from the two ISNs."""
        for port in self.ports:
            irs = self.irs.get(port, 0)
            if edges:
                options = struct.pack(f">BBBB{len(edges)}I", 1, 1, 5, 2 + 4 * len(edges), *(irs + edge & M for edge in edges))
            self.device.inject(tcp_packet((PEER, port, STACK, 80), 1000 + seq, irs + ack, flags, window, options, data, urg))
        self.poll()

    def poll(self) -> None:
        for _ in range(len(self.ports) // 128 + 2):
            self.stack.poll(self.clock())

    def wait(self, seconds: float) -> None:
        end = self.clock() + round(seconds * SECOND)
        while (deadline := self.stack.poll(self.clock())) <= end:
            self.clock.set(max(deadline, self.clock()))
            self.device.drain()
        self.clock.set(end)

    def counter(self, name: str) -> int:
        return int(getattr(self.stack.counters, name))

    @property
    def allocated(self) -> int:
        return int(self.stack.context.memory.pool.allocated)


def blocks(connections: list[Connection]) -> int:
    """Bytes of their buffers, counted one by one."""
    ends = [end for connection in connections for end in (connection.sender, connection.receiver) if end is not None]
    return sum(end.buffer.allocated for end in ends)


# ---- tcp_mem ----


def test_what_all_buffers_hold_is_known() -> None:
    crowd = Crowd(20)
    for i, connection in enumerate(crowd.connections):
        connection.send(bytes(1000 * i))
    crowd.send(1, ACK, data=FULL)
    crowd.send(5001, ACK, data=FULL)
    assert crowd.allocated == blocks(crowd.connections) > 20 * 4096
    for connection in crowd.connections:
        connection.receive(1 << 20)
        connection.abort(crowd.clock())
    crowd.device.drain()
    del connection
    crowd.connections.clear()
    gc.collect()
    assert crowd.allocated == 0


def test_under_pressure_windows_do_not_grow() -> None:
    """They do where memory is not short. The second connection's reader never comes: it is what keeps memory short."""
    windows = []
    for pages in ((1000, 2000, 4000), (0, 1, 4000)):
        crowd = Crowd(2, tcp_mem=pages, tcp_rmem=(4096, 16384, 1 << 20))
        connection = crowd.connections[0]
        seq = 1
        for _ in range(30):
            for _ in range(8):
                crowd.send(seq, ACK, data=FULL)
                seq += len(FULL)
            assert len(connection.receive(1 << 20)) == 8 * len(FULL)
            crowd.clock.advance(MILLISECOND)
        windows.append((connection.rcv_adv - connection.rcv_nxt) & M)
    assert windows[0] > 32_000 and windows[1] <= 16_384


def test_pressure_begins_once_and_ends_below_the_first_bound() -> None:
    crowd = Crowd(8, tcp_mem=(4, 8, 1000))
    memory = crowd.stack.context.memory
    crowd.send(1, ACK, data=FULL)
    assert crowd.allocated == 8 * PAGE and crowd.counter("TCPMemoryPressures") == 0
    crowd.connections[0].send(b"x")
    assert crowd.counter("TCPMemoryPressures") == 1 and memory.is_pressed()
    for connection in crowd.connections[:4]:
        connection.receive(1000)
    assert memory.is_pressed(), "between the two nothing changes"
    for connection in crowd.connections[4:]:
        connection.receive(1000)
    assert not memory.is_pressed() and crowd.counter("TCPMemoryPressures") == 1


def test_blocks_are_given_back_at_once_under_pressure() -> None:
    """Otherwise a large one is kept for a second."""
    for pages, left in (((1, 2, 4000), 0), ((1000, 2000, 4000), 65536)):
        crowd = Crowd(1, tcp_mem=pages)
        for i in range(40):
            crowd.send(1 + 1000 * i, ACK, data=FULL)
        crowd.connections[0].receive(1 << 20)
        assert crowd.allocated == left


def test_a_large_block_is_not_kept_for_an_idle_connection() -> None:
    """However late the reader comes."""
    crowd = Crowd(1)
    for i in range(40):
        crowd.send(1 + 1000 * i, ACK, data=FULL)
    crowd.wait(10)
    crowd.connections[0].receive(1 << 20)
    assert crowd.allocated == 65536
    crowd.wait(3)
    assert crowd.allocated == 0


def test_nothing_is_taken_in_above_the_third_bound() -> None:
    """But for what is guaranteed to each: what everybody holds is tcp_mem, and a little for each connection."""
    crowd = Crowd(40, tcp_mem=(16, 32, 64))
    for i in range(30):
        crowd.send(1 + 1000 * i, ACK, data=FULL)
    assert crowd.allocated <= 64 * PAGE + 40 * PAGE
    assert crowd.counter("PruneCalled") > 0 and crowd.counter("RcvPruned") == crowd.counter("TCPRcvQDrop") > 0
    assert all(connection.readable() for connection in crowd.connections), "each has something"
    assert all(connection.state == State.ESTABLISHED for connection in crowd.connections)
    seen = 0
    for _ in range(200):
        # Whoever reads gets on, in order and without a gap.
        for connection in crowd.connections:
            seen = max(seen, len(connection.receive(1 << 20)))
        for port, connection in zip(crowd.ports, crowd.connections, strict=True):
            at = (connection.rcv_nxt - 1001) & M
            if at < 30_000:
                packet = tcp_packet((PEER, port, STACK, 80), 1001 + at, crowd.irs[port] + 1, ACK, 64240, b"", FULL[: 30_000 - at], 0)
                crowd.device.inject(packet)
        crowd.poll()
    assert all((connection.rcv_nxt - 1001) & M == 30_000 for connection in crowd.connections) and seen


def test_what_a_connection_may_have_in_any_case() -> None:
    """__sk_mem_raise_allocated(): the guaranteed bytes above every bound, anything below the first."""
    wire = Wire(tcp_mem=(1, 1, 1))
    memory = wire.stack.context.memory
    buffer = Peer(wire).open(wire.stack.listen(STACK, 80)).need_receiver(wire.now).buffer
    assert memory.allows(buffer, 8000, 8000) and not memory.allows(buffer, 8000, 7999)
    assert memory.allows(buffer, 1000, 0) and memory.allows(buffer, buffer.allocated, 0)


def test_a_fair_share_does_not_go_beyond_the_third_bound() -> None:
    """The first came while there was no pressure, and has nearly all; the second's share is no longer there."""
    crowd = Crowd(2, tcp_mem=(8, 16, 20))
    first, second = crowd.connections
    assert first.send(bytes(60_000)) == 60_000 and crowd.allocated == 16 * PAGE
    assert second.send(bytes(30_000)) == 4096 and crowd.allocated == 17 * PAGE


def test_what_came_out_of_order_is_forgotten_for_what_is_in_order() -> None:
    """tcp_prune_queue(): a SACK promises nothing (RFC 2018 section 8). All of it comes again, and the stream is whole."""
    wire = Wire(tcp_mem=(0, 0, 1), tcp_rmem=(4096, 65536, 65536))
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), [("SAckOK", b"")])
    text = bytes(i % 251 for i in range(4400))
    peer.put("A", 1, 1, data=text[:1400])
    peer.put("A", 1401, 1, data=text[1400:2800])
    peer.put("A", 2801, 1, data=text[2800:3000])
    assert wire.counter("TCPOFOQueue") == 0
    (answer,) = peer.put("A", 3501, 1, data=text[3500:3600])
    assert any(name == "SAck" for name, _ in answer[TCP].options)
    assert peer.put("A", 9001, 1, data=text[:100]) != [] and wire.counter("TCPOFODrop") == 1, "it would need a larger block"
    (answer,) = peer.put("A", 3001, 1, data=text[3000:])
    assert peer.relative(answer)[2] == 3001 and not answer[TCP].options, "dropped, and nothing out of order is left"
    assert wire.counter("OfoPruned") == wire.counter("RcvPruned") == wire.counter("TCPRcvQDrop") == 1
    assert connection.receive(1 << 20) == text[:3000]
    peer.put("A", 3001, 1, data=text[3000:])
    assert connection.receive(1 << 20) == text[3000:]


def test_a_sender_waits_for_memory_and_goes_on() -> None:
    """``send`` takes what is left of its block, then nothing; ``writable`` says so, and an ACK that makes room is heard of."""
    crowd = Crowd(10, tcp_mem=(8, 16, 24))
    taken = [connection.send(bytes(60_000)) for connection in crowd.connections]
    assert all(size > 0 for size in taken) and sum(taken) < 10 * 60_000 and crowd.allocated <= (24 + 10) * PAGE
    late = crowd.connections[-1]
    assert taken[-1] == 4096 and late.writable() == 0 and late.send(b"x") == 0
    late.owner = object()
    crowd.stack.flush(crowd.clock())
    crowd.stack.take_ready()
    crowd.send(1, ACK, ack=1 + 4096)
    assert late in crowd.stack.take_ready() and late.writable() > 0 and late.send(b"y" * 100) == 100
    for connection in crowd.connections[:-1]:
        connection.abort(crowd.clock())
    crowd.send(1, ACK, ack=1 + 4096 + 100)
    assert late.send(bytes(60_000)) == 60_000, "as much as before, once memory is no longer short"


# ---- orphans, and states that end ----


def test_too_many_orphans_are_reset() -> None:
    """tcp_too_many_orphans(): the one that is too many, not those before it."""
    crowd = Crowd(5, tcp_max_orphans=3)
    for connection in crowd.connections:
        connection.send(b"unsent")
        connection.close(crowd.clock())
    assert crowd.stack.context.orphans == 3 and crowd.counter("TCPAbortOnMemory") == 2
    crowd.poll()
    resets = [packet for packet in crowd.device.drain() if packet[33] & RST]
    assert len(resets) == 2
    assert [connection.state for connection in crowd.connections] == [State.FIN_WAIT_1] * 3 + [State.CLOSED] * 2
    crowd.wait(3600)
    assert crowd.stack.context.orphans == 0


def test_an_orphan_is_reset_when_there_is_no_memory_for_it() -> None:
    """tcp_out_of_memory(): one that has much to send; a little is not worth it."""
    crowd = Crowd(12, tcp_mem=(40, 50, 50))
    taken = [connection.send(bytes(60_000)) for connection in crowd.connections]
    assert taken[0] == 60_000 and taken[-1] == 4096 and crowd.allocated > 50 * PAGE
    for connection in crowd.connections[::-1]:
        connection.close(crowd.clock())
    assert crowd.counter("TCPAbortOnMemory") == 1 and crowd.allocated <= 50 * PAGE
    assert sum(connection.state == State.CLOSED for connection in crowd.connections) == 1


def test_an_orphan_does_not_outlive_tcp_orphan_retries_in_a_shut_window() -> None:
    """Though the peer answers every probe: else a thousand such peers would hold a thousand send buffers for ever."""
    wire = Wire(tcp_orphan_retries=4)
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    peer.put("A", 1, 1, window=0)
    connection.send(b"x" * 1000)
    connection.close(wire.now)
    for _ in range(60):
        for _, packet in wire.wait(1):
            if not packet[TCP].flags & RST:
                peer.put("A", 1, 1, window=0)
    assert connection.state == State.CLOSED and wire.counter("TCPAbortOnTimeout") == 1
    assert wire.stack.context.orphans == wire.stack.context.memory.pool.allocated == 0


def test_a_connection_with_an_owner_outlives_it() -> None:
    """RFC 9293 MUST-37: a window may be shut for as long as the peer likes."""
    wire = Wire(tcp_orphan_retries=4)
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    peer.put("A", 1, 1, window=0)
    connection.send(b"x" * 1000)
    for _ in range(600):
        for _ in wire.wait(1):
            peer.put("A", 1, 1, window=0)
    assert connection.state == State.ESTABLISHED


def test_fin_wait_2_holds_little_and_ends() -> None:
    crowd = Crowd(50, tcp_fin_timeout=5)
    for connection in crowd.connections:
        connection.send(b"bye")
        connection.close(crowd.clock())
    crowd.poll()
    crowd.send(1, ACK, ack=5)
    assert {connection.state for connection in crowd.connections} == {State.FIN_WAIT_2}
    assert crowd.allocated == 0 and all(connection.sender is None for connection in crowd.connections)
    assert crowd.stack.context.orphans == 50
    crowd.wait(6)
    assert crowd.stack.context.orphans == len(crowd.stack.context.demux) == len(crowd.stack.context.timers) == 0


# ---- what one connection can hold ----

LIMITS = {"tcp_rmem": (4096, 16384, 16384), "tcp_wmem": (4096, 16384, 16384)}
A_FLIGHT = 128 if str(fastnet.tcp.scoreboard.__file__).endswith(".py") else 64
BOUND = 16384 + 16384 + 4096 + MAX_PIECES * 192 + MIN_FLIGHTS * A_FLIGHT
"""Both buffers, the connection, its pieces and its flights: the sum of docs/defence.md for these limits."""
assert LIMITS["tcp_wmem"][2] // BYTES_A_FLIGHT < MIN_FLIGHTS


def nothing(crowd: Crowd) -> None:
    """Open, and say no more."""


def comb(crowd: Crowd) -> None:
    """Single bytes, each with a gap before it."""
    for i in range(1000):
        crowd.send(2 + 2 * i, ACK, data=b"x")


def far(crowd: Crowd) -> None:
    """One byte at the far end of the window, again and again."""
    for i in range(20):
        crowd.send(16384 - i, ACK, data=b"x")


def unread(crowd: Crowd) -> None:
    """More than the window takes, and nobody reads."""
    for i in range(40):
        crowd.send(1 + 1000 * i, ACK, data=FULL)


def crumbs(crowd: Crowd) -> None:
    """In order, a byte a segment."""
    for i in range(300):
        crowd.send(1 + i, ACK, data=b"x")


def shut(crowd: Crowd) -> None:
    """A window that is shut while the program writes all it can."""
    crowd.send(1, ACK, window=0)
    for connection in crowd.connections:
        while connection.send(FULL):
            pass
    for _ in range(10):
        crowd.wait(5)
        crowd.send(1, ACK, window=0)


def shrinking(crowd: Crowd) -> None:
    """A window that is a little smaller with each ACK."""
    for connection in crowd.connections:
        while connection.send(FULL):
            pass
    for i in range(50):
        crowd.send(1, ACK, window=max(0, 15_000 - 300 * i))
        crowd.wait(0.1)


def urgent(crowd: Crowd) -> None:
    """Urgent pointers to everywhere."""
    for i in range(100):
        crowd.send(1 + i, ACK | URG, data=b"x", urg=600 * i)


def sack_comb(crowd: Crowd) -> None:
    """The program writes, and the peer says that it has every other byte (CVE-2019-11478)."""
    for connection in crowd.connections:
        while connection.send(FULL):
            pass
    crowd.poll()
    for i in range(1500):
        crowd.send(1, ACK, edges=[2 + 8 * i + k for k in (6, 7, 4, 5, 2, 3, 0, 1)])


def crumbs_out(crowd: Crowd) -> None:
    """The program writes a byte at a time, and the peer acknowledges none."""
    for connection in crowd.connections:
        connection.nodelay = True
    for _ in range(4000):
        for connection in crowd.connections:
            connection.send(b"x")
        crowd.stack.flush(crowd.clock())
        crowd.device.drain()


BEHAVIOURS = [nothing, comb, far, unread, crumbs, shut, shrinking, urgent, sack_comb, crumbs_out]
LONG = (comb, sack_comb, crumbs_out)
"""Those that take thousands of packets: tried with fewer connections."""


@pytest.mark.parametrize("behave", BEHAVIOURS, ids=lambda behave: behave.__name__)
def test_what_a_connection_holds_is_bounded(behave: Callable[[Crowd], None]) -> None:
    """Python's objects as tracemalloc sees them, and the buffers, which it does not."""
    gc.collect()
    count = 4 if behave in LONG else 20
    tracemalloc.start()
    try:
        crowd = Crowd(count, **LIMITS)
        crowd.device.drain()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0] + crowd.allocated
        behave(crowd)
        crowd.device.drain()
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] + crowd.allocated - before) / count
    finally:
        tracemalloc.stop()
    assert all(connection.state == State.ESTABLISHED for connection in crowd.connections)
    assert each < BOUND, f"{each:,.0f} bytes"
    print(f"{behave.__name__}: {each:,.0f} bytes a connection, {BOUND:,} at most")


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_thousand_hostile_connections_in_resident_memory() -> None:
    """Of each kind a hundred, and all that the process grew by."""
    gc.collect()
    before = resident()
    crowds = []
    for behave in BEHAVIOURS:
        crowd = Crowd(100, **LIMITS)
        if behave not in LONG[1:]:
            behave(crowd)
        crowd.device.drain()
        crowds.append(crowd)
    each = (resident() - before) / 1000
    print(f"{each:,.0f} bytes a connection")
    assert each < BOUND
