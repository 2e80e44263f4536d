"""A stack's connections to itself, over a device that does not bring packets back: they never reach the device."""

import errno
from typing import Any

import pytest

from fastnet.clock import ManualClock
from fastnet.devices import MemoryDevice
from fastnet.stack import Stack
from fastnet.tcp.states import State
from tests.peer import PEER, STACK, Wire

OTHER = "198.18.0.3"
SECOND = 1_000_000_000


def stack_of(addresses: tuple[str, ...] = (STACK, OTHER), slots: int = 256, **settings: Any) -> Stack:
    return Stack(MemoryDevice(), addresses, settings, ManualClock(SECOND), slots=slots)


def exchange(stack: Stack, client: Any, server: Any, data: bytes) -> None:
    """Bytes both ways, and an orderly end."""
    for one, other in ((client, server), (server, client)):
        sent, got = 0, bytearray()
        while len(got) < len(data):
            sent += one.send(data[sent : sent + 100_000])
            stack.poll(stack.clock())
            got += other.receive(1 << 20)
        assert got == data
    client.shutdown()
    stack.flush(stack.clock())
    assert server.fin_received
    server.close(stack.clock())
    stack.flush(stack.clock())
    assert client.state == State.TIME_WAIT and server.state == State.CLOSED


@pytest.mark.parametrize(("remote", "local", "source"), [
    (STACK, None, STACK), (OTHER, None, OTHER), (OTHER, "0.0.0.0", OTHER), (STACK, STACK, STACK), (STACK, OTHER, OTHER),
    (OTHER, STACK, STACK),
])  # fmt: skip
def test_a_connection_to_itself(remote: str, local: str | None, source: str) -> None:
    """Without a name of its own it comes from the address that it goes to, as Linux has it for local routes."""
    stack = stack_of()
    listener = stack.listen("0.0.0.0", 80)
    client = stack.connect(remote, 80, local)
    stack.flush(stack.clock())
    server = listener.accept()
    assert client.state == State.ESTABLISHED and server is not None, "one flush is enough"
    assert client.handshake.flow.local_address == source and server.handshake.flow.local_address == remote
    exchange(stack, client, server, bytes(range(256)) * 10_000)
    assert stack.device.drain() == [] and stack.counters.DeviceTxErrors == 0


def test_nobody_listens() -> None:
    stack = stack_of()
    client = stack.connect(STACK, 81)
    stack.flush(stack.clock())
    assert client.state == State.CLOSED and client.error == errno.ECONNREFUSED
    assert stack.device.drain() == []


def test_its_own_port() -> None:
    """Simultaneous open with itself (RFC 9293 section 3.5)."""
    stack = stack_of()
    client = stack.connect(STACK, 5000, STACK, 5000)
    stack.flush(stack.clock())
    assert client.state == State.ESTABLISHED
    client.send(b"hello, me")
    stack.flush(stack.clock())
    assert client.receive(99) == b"hello, me"


def test_what_is_for_others_still_goes_over_the_device() -> None:
    """In one batch with its own, in their order, and with what a device with offload is told of each."""
    wire = Wire()
    stack = wire.stack
    listener = stack.listen("0.0.0.0", 80)
    stack.connect(STACK, 80)
    first = stack.connect(PEER, 1)
    mine = stack.connect(STACK, 80)
    second = stack.connect(PEER, 2)
    packets = wire.sent()
    assert [(p.dst, p["TCP"].dport) for p in packets] == [(PEER, 1), (PEER, 2)]
    assert mine.state == State.ESTABLISHED and first.state == second.state == State.SYN_SENT
    assert listener.accept() is not None


def test_marks_of_a_ring_go_along() -> None:
    stack = stack_of()
    stack.connect(STACK, 80)
    stack.flush(stack.clock())
    ring = stack.sending
    for i in range(4):
        target = STACK if i % 2 else PEER
        ring.append(bytes(12) + bytes(map(int, STACK.split("."))) + bytes(map(int, target.split("."))) + bytes([i]))
        ring.checked[i] = 1
        ring.segment_sizes[i] = 100 + i
    assert stack.hairpin is not None
    left = stack.hairpin.divert(ring)
    assert [int(left.packet(i)[20]) for i in range(left.count)] == [0, 2]
    assert left.checked[:2].tolist() == [1, 1] and left.segment_sizes[:2].tolist() == [100, 102]
    assert [packet[20] for packet, _ in stack.hairpin.waiting] == [1, 3] and ring.count == 0


def test_a_forged_packet_is_still_dropped() -> None:
    """From an address to itself, over the device: nobody can send that but an attacker (RFC 9293 MUST-63), whatever the stack does."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    wire.stack.connect(STACK, 80)
    wire.stack.flush(wire.now)
    assert listener.accept() is not None
    stray = Stack(MemoryDevice(), (STACK,), clock=ManualClock(SECOND))
    stray.listen("0.0.0.0", 80)
    stray.connect(STACK, 80, local_port=4000)
    stray.transmit()
    assert stray.hairpin is not None
    ((syn, _),) = stray.hairpin.waiting
    before = len(listener.syn_queue)
    wire.device.inject(syn)
    wire.stack.poll(wire.now)
    assert wire.sent() == [] and len(listener.syn_queue) == before and not listener.accept_queue


def test_much_of_it_gives_the_device_its_turn() -> None:
    """What does not settle in one flush is left for the next poll, which is due at once; small rings do no harm."""
    stack = stack_of(slots=2)
    listener = stack.listen("0.0.0.0", 80, 4096)
    clients = [stack.connect(STACK, 80) for _ in range(300)]
    polls = 0
    stack.flush(stack.clock())
    assert stack.hairpin is not None
    while stack.hairpin.waiting:
        assert stack.context.timers.next_deadline() <= stack.clock() + 1_000_000, "whatever drives the stack comes back"
        stack.clock.set(stack.clock() + 1_000_000)  # type: ignore[attr-defined]
        stack.poll(stack.clock())
        polls += 1
    assert 1 < polls < 50 and all(client.state == State.ESTABLISHED for client in clients)
    assert sum(listener.accept() is not None for _ in range(300)) == 300
    assert stack.device.drain() == []


def test_a_networks_addresses_may_be_neighbours() -> None:
    """A stack that answers for a network reaches the network's others over its device, and goes to itself where it says so."""
    stack = Stack(MemoryDevice(), ("198.18.0.0/16",), clock=ManualClock(SECOND))
    listener = stack.listen("0.0.0.0", 80)
    stack.connect("198.18.0.1", 80, "198.18.0.9")
    stack.flush(stack.clock())
    assert len(stack.device.drain()) == 1
    stack.connect("198.18.0.9", 80, "198.18.0.9")
    stack.flush(stack.clock())
    assert listener.accept() is not None and stack.device.drain() == []
