"""What leaves is never larger than peer and path take, options included, whatever a peer claims to have and takes back."""

from __future__ import annotations

import random

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.pair import check
from tests.peer import MILLISECOND, SECOND, M, Peer, Wire

MSS = 1000
SACK = ("SAckOK", b"")


def established(wire: Wire, mss: int = MSS, stamps: bool = False, sack: bool = True) -> tuple[Peer, Connection]:
    """A connection from a peer with an MSS; nothing of it is kept back by Nagle's rule."""
    peer = Peer(wire)
    listener = wire.stack.listen("0.0.0.0", 80)
    options = [("MSS", mss), ("WScale", 4), *[SACK] * sack]
    if stamps:
        options.append(("Timestamp", (1, 0)))
        peer.options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 0))]
    peer.syn(options)
    wire.now += 50 * MILLISECOND
    peer.put("A", 1, 1, window=4015)
    connection = listener.accept()
    assert connection is not None
    connection.nodelay = True
    return peer, connection


def blocks(peer: Peer, *edges: int) -> list:
    """SACK blocks between bytes counted from the first."""
    return [*peer.options, ("NOP", None), ("NOP", None), ("SAck", tuple((peer.irs + 1 + edge) & M for edge in edges))]


def fits(packets: list[Packet], mss: int, mtu: int = 1500) -> list[Packet]:
    """The packets, none of which is too large for the peer (RFC 6691: options count) or for the link."""
    for packet in packets:
        assert packet[IP].len <= min(mtu, mss + 40), f"{packet[IP].len} bytes: {packet!r}"
    return packets


def test_four_packets() -> None:
    """A peer SACKs all but the first segment, acknowledges that one alone, and shuts its window: the SACKed is sent again in segments."""
    wire = Wire()
    peer, connection = established(wire)
    connection.send(bytes(60 * MSS))
    for number in (0, 10, 20, 30):
        # The window grows until more than a packet can hold is on its way.
        peer.put("A", 1, 1 + number * MSS, window=4015)
    end = connection.snd_nxt - peer.irs - 1 & M
    assert end > 44 * MSS
    peer.put("A", 1, 1 + 30 * MSS, options=blocks(peer, 31 * MSS, end), window=4015)
    peer.put("A", 1, 1 + 31 * MSS, window=0)
    check(connection)
    sent = fits([packet for _, packet in wire.wait(10)], MSS)
    assert sent and {peer.relative(packet)[1] for packet in sent} == {1 + 31 * MSS}, "the first segment probes the shut window"
    assert wire.counter("TCPSACKReneging") == 1 and connection.state == State.ESTABLISHED
    check(connection)
    received = 31 * MSS
    for packet in fits(peer.put("A", 1, 1 + received, window=4015), MSS):
        received = max(received, peer.relative(packet)[1] - 1 + len(peer.relative(packet)[3]))
    for _ in range(100):
        sent = fits(peer.put("A", 1, 1 + received, window=4015) or [packet for _, packet in wire.wait(1)], MSS)
        for packet in sent:
            _, seq, _, data = peer.relative(packet)
            if seq - 1 <= received:
                received = max(received, seq - 1 + len(data))
        check(connection)
    assert received == 60 * MSS, "and all of it comes again"


def test_a_block_at_the_byte_that_is_missing_is_not_believed() -> None:
    """The ACK says that SND.UNA has not arrived, and the block that it has (tcp_is_sackblock_valid())."""
    wire = Wire()
    peer, connection = established(wire)
    connection.send(bytes(10 * MSS))
    wire.sent()
    for left in (0, -1, -MSS):
        peer.put("A", 1, 1, options=blocks(peer, left, 9 * MSS), window=0)
    assert wire.counter("TCPSACKDiscard") == 3 and connection.sender is not None
    assert connection.sender.recovery.board.sacked == 0
    assert 1 in {peer.relative(packet)[1] for packet in fits([packet for _, packet in wire.wait(3)], MSS)}


def test_reneging_is_seen_soon_and_by_an_ack_into_the_middle() -> None:
    """It does not wait for the whole timeout, which may be a minute by then (tcp_check_sack_reneging())."""
    wire = Wire()
    peer, connection = established(wire)
    connection.send(bytes(6 * MSS))
    wire.sent()
    peer.put("A", 1, 1, options=blocks(peer, MSS, 6 * MSS), window=4015)
    wire.wait(0.001)
    peer.put("A", 1, 1 + 2 * MSS + 100, window=4015)
    (when, packet), *_ = wire.wait(0.1)
    assert 0.01 <= when <= 0.05 and peer.relative(packet)[1] == 1 + 2 * MSS + 100
    assert wire.counter("TCPSACKReneging") == 1
    check(connection)


def test_small_writes_have_room_for_1024_packets() -> None:
    """However small the send buffer: a flight for each, and no more of them before something has arrived."""
    wire = Wire(tcp_congestion_control="none")
    peer, connection = established(wire)
    connection.nodelay = True
    connection.limit_sending(8192)
    for _ in range(1100):
        connection.send(b"x")
        wire.stack.flush(wire.now)
    assert len(wire.device.drain()) == 1024 and connection.snd_nxt - connection.snd_una & M == 1024
    assert sum(len(peer.relative(packet)[3]) for packet in peer.put("A", 1, 1 + 1024)) == 76


def test_what_is_taken_back_does_not_become_more_packets_than_there_may_be() -> None:
    """Each SACK of all but the first makes room for new data; taken back, all of it waits to be sent again, in pieces (MTU of 68)."""
    wire = Wire(mtu=68, tcp_congestion_control="none", tcp_wmem=(4096, 262144, 262144))
    mss = 28
    peer, connection = established(wire)
    connection.send(bytes(mss))
    assert connection.sender is not None
    board = connection.sender.recovery.board
    board.most = 64  # 1,024 would take long to play.
    size = mss + connection.send(bytes(5_000))
    wire.sent()
    for _ in range(10):
        peer.put("A", 1, 1, options=blocks(peer, mss, connection.snd_nxt - connection.snd_una & M), window=60_000)
    assert connection.snd_nxt - connection.snd_una & M == size > 2 * 64 * mss
    peer.put("A", 1, 1 + mss, window=60_000)
    connection.sender.recovery.congestion.cwnd = 1 << 20  # A congestion control may set it as it likes.
    received, most = mss, 0
    for _ in range(500):
        for packet in wire.sent() or [packet for _, packet in wire.wait(1)]:
            _, seq, _, data = peer.relative(packet)
            if seq - 1 <= received:
                received = max(received, seq - 1 + len(data))
        most = max(most, len(board.flights) - board.head)
        check(connection)
        if received == size:
            break
        peer.put("A", 1, 1 + received, window=60_000)
    assert received == size and 64 <= most <= 2 * 64


def test_an_ack_that_follows_soon_is_no_reneging() -> None:
    wire = Wire()
    peer, connection = established(wire)
    connection.send(bytes(6 * MSS))
    wire.sent()
    peer.put("A", 1, 1, options=blocks(peer, MSS, 6 * MSS), window=4015)
    peer.put("A", 1, 1 + MSS, window=4015)
    wire.wait(0.005)
    peer.put("A", 1, 1 + 6 * MSS, window=4015)
    assert [peer.relative(packet)[1] for _, packet in wire.wait(10)] == [] and wire.counter("TCPSACKReneging") == 0


@pytest.mark.parametrize("stamps", [False, True])
@pytest.mark.parametrize("mss", [48, 100, 536, 1460])
def test_sack_blocks_beside_data_count(mss: int, stamps: bool) -> None:
    """Full segments with SACK blocks: the data makes room for them (tcp_current_mss()), and at least half of a segment is data."""
    wire = Wire()
    peer, connection = established(wire, mss, stamps)
    seen = 0
    sent = []
    for i in range(5):
        connection.send(bytes(2 * mss))
        sent += fits(peer.put("PA", 11 + 20 * i, 1, b"x", window=4015), mss)
    for packet in sent:
        if peer.relative(packet)[3]:
            seen = max(seen, len(dict(packet[TCP].options).get("SAck", ())) // 2)
    assert seen == min(((mss - 12 * stamps) // 2 - 4) // 8, 3 if stamps else 4)
    total = max(peer.relative(packet)[1] - 1 + len(peer.relative(packet)[3]) for packet in sent)
    assert total >= 9 * (mss - 12 * stamps), "nothing was skipped"


@pytest.mark.parametrize("stamps", [False, True])
@pytest.mark.parametrize("mtu", range(68, 96, 3))
def test_acks_of_a_narrow_link(mtu: int, stamps: bool) -> None:
    """RFC 791: every link takes 68 bytes. An ACK has as many SACK blocks as fit beside the timestamps, and one at least."""
    wire = Wire(mtu)
    peer, connection = established(wire, MSS, stamps)
    for i in range(6):
        (answer,) = fits(peer.put("PA", 11 + 20 * i, 1, b"x"), MSS, mtu)
        found = dict(answer[TCP].options)["SAck"]
        assert len(found) // 2 == min(i + 1, (mtu - 40 - 12 * stamps - 4) // 8, 3 if stamps else 4)
        assert found[0] == peer.iss + 11 + 20 * i, "the newest first"
    # With data to send as well, nothing is too long either, and the blocks are not kept back.
    connection.send(bytes(100))
    answers = fits(peer.put("PA", 201, 1, b"x", window=4015), MSS, mtu)
    assert any((peer.iss + 201) in dict(answer[TCP].options).get("SAck", ()) for answer in answers)


def test_a_fin_goes_with_the_last_byte_only() -> None:
    """Where SACK blocks push data into another segment, the FIN goes with that one."""
    wire = Wire()
    peer, connection = established(wire)
    peer.put("PA", 11, 1, b"x")
    connection.send(bytes(MSS))
    connection.shutdown()
    wire.device.inject(bytes(peer.packet("PA", 21, 1, b"x", window=4015)))
    sent = fits(wire.poll(), MSS)
    ends = [(peer.relative(packet)[1] + len(peer.relative(packet)[3]), "F" in packet[TCP].flags) for packet in sent]
    assert len(sent) == 2 and [fin for _, fin in ends] == [False, True] and ends[1][0] == 1 + MSS
    again = [packet for _, packet in wire.wait(3)]
    assert fits(again, MSS) and all("F" not in p[TCP].flags or peer.relative(p)[1] + len(peer.relative(p)[3]) == 1 + MSS for p in again)
    peer.put("A", 1, 2 + MSS, window=4015)
    assert connection.state == State.FIN_WAIT_2


@pytest.mark.parametrize("seed", range(15))
def test_whatever_a_peer_says(seed: int) -> None:
    """Random SACKs, some taken back, ACKs into the middle, windows shut and opened, silences, narrow links: sizes hold, nothing raises."""
    draw = random.Random(seed)
    mtu = draw.choice([68, 70, 75, 79, 80, 128, 576, 1500])
    mss = draw.choice([1, 48, 60, 100, 536, 1000, 1460])
    stamps = draw.random() < 0.5
    wire = Wire(mtu)
    peer, connection = established(wire, mss, stamps, draw.random() < 0.9)
    largest = max(mss, 48)
    in_order = 1
    for _ in range(80):
        if connection.state != State.ESTABLISHED:
            break
        if draw.random() < 0.3:
            connection.send(bytes(draw.choice([1, 100, 5000, 70_000])))
        una, nxt = ((number - peer.irs - 1) & M for number in (connection.snd_una, connection.snd_nxt))
        segment = connection.send_mss()
        count = (nxt - una) // max(segment, 1)
        ack = una + draw.choice([0, 0, 0, segment, segment, segment * draw.randint(0, count), draw.randint(0, nxt - una)])
        edges = []
        for _ in range(draw.choice([0, 1, 1, 2, 3])):
            left = una + segment * draw.randint(0, count) + draw.choice([0, 0, 0, 1, -1])
            edges += [left, draw.choice([nxt, left + segment, left + draw.randint(1, 5 * segment)])]
        options = blocks(peer, *edges) if edges else peer.options
        window = draw.choice([0, 0, 1, 10, 4015, 4015, 4015])
        data, seq = draw.choice([(b"", in_order), (b"", in_order), (b"x", in_order + draw.randint(2, 200)), (b"x", in_order)])
        if data and seq == in_order:
            in_order += 1
        fits(peer.put("A", seq, 1 + min(ack, nxt), data, options=options, window=window), largest, mtu)
        check(connection)
        if draw.random() < 0.3:
            fits([packet for _, packet in wire.wait(draw.choice([0.001, 0.05, 0.3, 3, 20]))], largest, mtu)
            check(connection)
    assert wire.now > SECOND


@pytest.mark.parametrize(("written", "sizes"), [(1448, [1448]), (1447, []), (2896, [1448, 1448]), (2900, [1448, 1448])])
def test_a_segment_that_is_full_beside_its_blocks_does_not_wait(written: int, sizes: list[int]) -> None:
    """RFC 9293 section 3.7.4: Nagle's rule is for segments that are not full, and 12 bytes of SACK blocks are part of a full one."""
    wire = Wire()
    peer, connection = established(wire, 1460, False)
    connection.nodelay = False
    connection.send(b"first")
    assert len(wire.sent()) == 1
    peer.put("A", 1001, 1, b"ahead")
    connection.send(b"x" * written)
    sent = wire.sent()
    assert [len(packet[TCP].payload) for packet in sent] == sizes
    assert all("SAck" in dict(packet[TCP].options) for packet in sent)
