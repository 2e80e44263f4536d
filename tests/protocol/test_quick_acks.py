"""When a receiver acknowledges at once: what the peer wrote is read to its end, and the first segments behind a gap."""

from __future__ import annotations

import pytest

from tests.peer import TCP, Packet, Peer, Wire

MSS = 1000


def told(packets: list[Packet]) -> list[int]:
    return [packet[TCP].ack for packet in packets]


class Reader:
    """A connection whose first ACKs, which nothing delays, are over."""

    def __init__(self, sack: bool = False) -> None:
        self.wire = Wire()
        options: list[object] = [("MSS", 1460), *([("SAckOK", b"")] if sack else [])]
        self.peer = Peer(self.wire)
        listener = self.wire.stack.listen("0.0.0.0", 80)
        (synack,) = self.peer.put("S", options=options)
        self.peer.irs = synack[TCP].seq
        self.peer.put("A", 1, 1)
        connection = listener.accept()
        assert connection is not None
        self.connection = connection
        self.at = 1
        for _ in range(17):
            self.data(MSS)
        self.connection.receive(1 << 20)
        self.wire.wait(0.1)

    def data(self, size: int, flags: str = "A") -> list[Packet]:
        answers = self.peer.put(flags, self.at, 1, bytes(size))
        self.at += size
        return answers

    def read(self, size: int = 1 << 20) -> list[Packet]:
        self.connection.receive(size)
        return self.wire.sent()


@pytest.mark.parametrize(("size", "flags"), [(MSS, "PA"), (10, "A"), (10, "PA")])
def test_the_end_of_what_the_peer_wrote_is_acknowledged_when_it_is_read(size: int, flags: str) -> None:
    """A full segment with PSH, or one that is not full: the peer may wait for this ACK (ICSK_ACK_PUSHED, tcp_cleanup_rbuf())."""
    it = Reader()
    assert it.data(size, flags) == [], "the second would be"
    answers = it.read()
    assert len(answers) == 1
    assert it.read() == [], "once"


def test_a_full_segment_that_ends_nothing_waits() -> None:
    it = Reader()
    assert it.data(MSS) == it.read() == []
    assert len(it.wire.wait(0.05)) == 1, "the delayed ACK"


def test_what_is_not_read_to_its_end_waits() -> None:
    it = Reader()
    assert it.data(MSS, "PA") == it.read(MSS - 1) == []
    assert len(it.read()) == 1


def test_a_program_that_answers_has_the_ack_with_its_answer() -> None:
    it = Reader()
    it.data(10, "PA")
    it.connection.send(b"answer")
    assert len(it.read()) == 1
    it.peer.put("A", it.at, 7)
    assert it.data(10, "PA") == it.read() == []


def test_the_first_three_behind_a_gap_are_acknowledged_one_by_one() -> None:
    """Those that come in one batch as well: TCP_FASTRETRANS_THRESH. Where ACKs are lost, one of three arrives."""
    it = Reader(sack=True)
    batch = [it.peer.packet("A", it.at + n * MSS, 1, bytes(MSS)) for n in range(1, 8)]
    answers = it.wire.put(*batch)
    assert told(answers) == [answers[0][TCP].ack] * 4, "three, and one for the rest"
    edges = [dict(packet[TCP].options)["SAck"][1] - answers[0][TCP].ack & 0xFFFFFFFF for packet in answers]
    assert edges == [2 * MSS, 3 * MSS, 4 * MSS, 8 * MSS]
