"""What a receiver says of what came out of order or twice, in batches (RFC 2018 section 4, RFC 2883), and how fast it lets the peer be."""

from dataclasses import replace

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Packet

from fastnet.devices import Impairment, MemoryDevice
from fastnet.tcp.connection import Connection
from fastnet.twins import Twins
from tests.peer import M, Peer, Wire

SACK = [("MSS", 1460), ("SAckOK", b""), ("WScale", 7)]
A_SEGMENT = 1000


class PutTogether(MemoryDevice):
    """Packets may be larger than its MTU of 1,500 bytes: several segments each."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = replace(self.capabilities, offload=True)


def connected(wire: Wire, options: list | None = None) -> tuple[Peer, Connection]:
    peer = Peer(wire)
    return peer, peer.open(wire.stack.listen("0.0.0.0", 80), SACK if options is None else options)


def blocks(peer: Peer, packet: Packet) -> list[tuple[int, int]]:
    """SACK blocks, counted from the peer's ISS."""
    edges = dict(packet[TCP].options).get("SAck", ())
    return [((edges[i] - peer.iss) & M, (edges[i + 1] - peer.iss) & M) for i in range(0, len(edges), 2)]


def segment(peer: Peer, i: int) -> Packet:
    return peer.packet("A", 1 + A_SEGMENT * i, 1, b"x" * A_SEGMENT)


def test_every_piece_of_a_batch_is_reported() -> None:
    """RFC 2018 section 4: each ACK holds four blocks; of a batch with more, one goes before any is forgotten."""
    wire = Wire()
    peer, _ = connected(wire)
    came = [i for i in range(60) if i % 3]
    reported = set()
    for answer in wire.put(*(segment(peer, i) for i in came)):
        for left, right in blocks(peer, answer):
            reported |= set(range((left - 1) // A_SEGMENT, (right - 1) // A_SEGMENT))
    assert reported == set(came)


def test_a_batch_without_more_pieces_than_an_ack_holds_gets_one() -> None:
    wire = Wire()
    peer, _ = connected(wire)
    answers = wire.put(*(segment(peer, i) for i in (2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16)))
    assert [blocks(peer, answer) for answer in answers] == [
        [(14001, 17001), (10001, 13001), (6001, 9001), (2001, 5001)],
    ]


def test_the_latest_pieces_come_first_however_many_segments_made_them() -> None:
    """RFC 2018 section 4: the blocks of the most recent segments, and not the lowest ones."""
    wire = Wire()
    peer, _ = connected(wire)
    wire.put(segment(peer, 2))
    for first in (10, 20, 30, 40):
        for i in range(first, first + 6):
            answers = wire.put(segment(peer, i))
    assert [left for left, _ in blocks(peer, answers[-1])] == [40001, 30001, 20001, 10001]


@pytest.mark.parametrize("ahead", [0, 20])
def test_every_duplicate_of_a_batch_is_reported(ahead: int) -> None:
    """RFC 2883 section 4: one D-SACK for each duplicate segment."""
    wire = Wire()
    peer, connection = connected(wire)
    wire.put(*(segment(peer, ahead + i) for i in range(10)))
    connection.receive(1 << 20)
    wire.sent()
    again = [ahead + i for i in (0, 2, 4, 6, 8)]
    answers = wire.put(*(segment(peer, i) for i in again))
    assert [blocks(peer, answer)[0][0] for answer in answers] == [1 + A_SEGMENT * i for i in again]


def test_thousands_of_pieces_are_kept() -> None:
    """A window of a long fat path with every second segment lost: 1,000 pieces in 2 MB."""
    wire = Wire(tcp_rmem=(4096, 6291456, 6291456))
    peer, connection = connected(wire)
    wire.put(segment(peer, 0))
    for first in range(2, 2050, 64):
        wire.put(*(segment(peer, i) for i in range(first, first + 64, 2)))
    assert connection.receiver is not None and len(connection.receiver.pieces or ()) > 1000
    assert wire.counter("TCPOFODrop") == 0
    for first in range(1, 2049, 64):
        wire.put(*(segment(peer, i) for i in range(first, first + 64, 2)))
    assert connection.readable() > 2_000_000 and not connection.receiver.pieces


def test_pieces_of_a_byte_are_bounded_by_the_block_behind_them() -> None:
    """A piece takes about 130 bytes: no more of them than a quarter of what tcp_mem counts."""
    wire = Wire(tcp_rmem=(4096, 6291456, 6291456))
    peer, connection = connected(wire)
    wire.put(segment(peer, 0))
    for first in range(2000, 6000, 256):
        wire.put(*(peer.packet("A", first + 2 * i, 1, b"y") for i in range(128)))
    receiver = connection.receiver
    assert receiver is not None and len(receiver.pieces or ()) == 128
    assert wire.counter("TCPOFODrop") == 16 * 128 - 128


def test_a_packet_of_many_segments_is_acknowledged_at_once() -> None:
    """RFC 5681 section 4.2: a device puts segments together; the largest packet is not what "full-sized" means (tcp_measure_rcv_mss())."""
    wire = Wire(device=PutTogether())
    peer, connection = connected(wire)
    at = 1
    for size in (*[1460] * 20, 6 * 1460):
        wire.put(peer.packet("PA", at, 1, b"z" * size))
        at += size
        connection.receive(1 << 20)
        wire.wait(0.1)
    # Two segments' worth: fewer than a packet held that came before.
    (ack,) = wire.put(peer.packet("PA", at, 1, b"z" * 2920))
    assert peer.relative(ack)[2] == at + 2920


@pytest.mark.parametrize("timestamps", [0, 1])
def test_the_window_grows_on_a_path_that_has_become_longer(timestamps: int) -> None:
    """Dynamic right-sizing measures the round trip at the receiver: of 50 Mbit/s at 80 ms, more than half, after a handshake at 20 ms."""
    settings = {"tcp_timestamps": timestamps}
    twins = Twins(Impairment(delay=10_000_000, rate=50_000_000, queue=300), seed=1, settings_a=settings, settings_b=settings)
    listener = twins.b.listen("0.0.0.0", 80)
    sender = twins.a.connect("198.18.0.2", 80)
    accepted: list[Connection] = []

    def ready() -> bool:
        connection = listener.accept()
        if connection is not None:
            accepted.append(connection)
        return bool(accepted)

    twins.run(ready, 5)
    (receiver,) = accepted
    for way in (twins.link.forth, twins.link.back):
        way.impairment = Impairment(delay=40_000_000, rate=50_000_000, queue=300)
    data = bytes(1 << 20)
    start = twins.clock()
    late = 0
    while twins.clock() < start + 4_000_000_000:
        sender.send(data)
        size = len(receiver.receive(1 << 30))
        if twins.clock() > start + 2_000_000_000:
            late += size
        twins.step()
    assert receiver.receiver is not None and receiver.receiver.rtt >= 70
    assert late * 8 / 2 > 25_000_000
