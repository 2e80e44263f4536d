"""What an answering server does with one connection."""

from __future__ import annotations

from fastnet.load.servers import REQUEST, _Answer
from fastnet.tcp.states import State
from tests.peer import Peer, Wire


def test_whole_requests_are_sent_back_once_each() -> None:
    """Also those that come in pieces, and those that had to wait for room."""
    wire = Wire()
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), [("MSS", 1460)])
    answer = _Answer(connection)
    connection.owner = answer
    data = bytes(i & 255 for i in range(3 * REQUEST))
    peer.put("A", 1, 1, data[: REQUEST // 2])
    answer.ready(wire.now)
    assert wire.sent() == [] or all(not peer.relative(packet)[3] for packet in wire.sent())
    peer.put("A", 1 + REQUEST // 2, 1, data[REQUEST // 2 : 2 * REQUEST + 1])
    answer.ready(wire.now)
    assert b"".join(peer.relative(packet)[3] for packet in wire.sent()) == data[: 2 * REQUEST] and len(answer.waiting) == 1
    connection.nodelay = True
    connection.limit_sending(REQUEST // 2 + 2 * REQUEST)
    peer.put("A", 2 + 2 * REQUEST, 1, data[2 * REQUEST + 1 :])
    answer.ready(wire.now)
    assert len(answer.waiting) == REQUEST - REQUEST // 2, "half of it had room"
    wire.sent()
    peer.put("A", 1 + 3 * REQUEST, 1 + 2 * REQUEST + REQUEST // 2)
    answer.ready(wire.now)
    assert b"".join(peer.relative(packet)[3] for packet in wire.sent()) == data[-(REQUEST - REQUEST // 2) :] and not answer.waiting


def test_the_end() -> None:
    """It closes when the peer has, and lets go of what is over."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    for flag, state in (("FA", State.LAST_ACK), ("RA", State.CLOSED)):
        peer = Peer(wire, sport=1000 + len(flag) + (flag == "RA"))
        connection = peer.open(listener)
        answer = _Answer(connection)
        connection.owner = answer
        answer.ready(wire.now)
        assert connection.owner is answer and connection.state == State.ESTABLISHED
        peer.put(flag, 1, 1)
        answer.ready(wire.now)
        assert connection.owner is None and connection.state == state
        wire.sent()
