"""SYN-RECEIVED of a passive open: a segment for a request, check by check (RFC 9293 section 3.10.7.4), and what its SYN-ACK shows."""

import socket
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP

from fastnet.driver import Driver
from fastnet.socket import Socket
from fastnet.sockopt import IP_MTU_DISCOVER
from fastnet.tcp.states import State
from tests.peer import Peer, Wire, checked

IPPROTO_IP, IPPROTO_TCP = socket.IPPROTO_IP, socket.IPPROTO_TCP
WINDOW = 65535


def requested(**settings: Any) -> tuple[Wire, Peer, Any]:
    """A listener with one request."""
    wire = Wire(**settings)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    return wire, peer, listener


@pytest.mark.parametrize("seq", [1 + WINDOW, 2 + WINDOW, 0, -1, 1 << 31])
def test_a_reset_outside_the_window_changes_nothing(seq: int) -> None:
    """First check: RCV.NXT =< SEG.SEQ < RCV.NXT + RCV.WND, so the right edge is outside; no RST is answered there (RFC 5961 3.2)."""
    _, peer, listener = requested()
    assert peer.put("R", seq) == []
    assert len(listener.syn_queue) == 1


@pytest.mark.parametrize("seq", [2, WINDOW])
def test_a_reset_within_the_window_is_challenged(seq: int) -> None:
    _, peer, listener = requested()
    (answer,) = peer.put("R", seq)
    assert peer.relative(answer)[:3] == ("A", 1, 1) and len(listener.syn_queue) == 1


def test_a_reset_at_rcv_nxt_ends_the_request() -> None:
    _, peer, listener = requested()
    assert peer.put("R", 1) == [] and len(listener.syn_queue) == 0


def test_an_ack_at_the_right_edge_completes_no_handshake() -> None:
    """First check: it is answered with an ACK, and dropped."""
    _, peer, listener = requested()
    (answer,) = peer.put("A", 1 + WINDOW, 1)
    assert peer.relative(answer)[:3] == ("A", 1, 1)
    assert listener.accept() is None and len(listener.syn_queue) == 1


# ---- what the SYN-ACK shows ----


@pytest.mark.parametrize("cookies", [0, 2])
def test_the_listeners_options_show_in_the_syn_ack(cookies: int) -> None:
    """IP_TTL, IP_TOS, IP_MTU_DISCOVER and TCP_MAXSEG of a listener, as on Linux; set before listen() and after."""
    wire = Wire(tcp_syncookies=cookies)
    listener = Socket(Driver(wire.stack))
    listener.setsockopt(IPPROTO_IP, socket.IP_TTL, 33)
    listener.setsockopt(IPPROTO_TCP, socket.TCP_MAXSEG, 600)
    listener.bind(("198.18.0.2", 80))
    listener.listen()
    listener.setsockopt(IPPROTO_IP, socket.IP_TOS, 0x10)
    listener.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, 0)
    answer = Peer(wire).syn([("MSS", 1460)])
    assert answer[IP].ttl == 33 and answer[IP].tos == 0x10 and answer[IP].flags == 0
    assert dict(answer[TCP].options)["MSS"] == 600
    listener.setsockopt(IPPROTO_TCP, socket.TCP_MAXSEG, 0)
    listener.setsockopt(IPPROTO_IP, socket.IP_TTL, -1)
    listener.setsockopt(IPPROTO_IP, IP_MTU_DISCOVER, 1)
    answer = Peer(wire, sport=40001).syn([("MSS", 1460)])
    assert answer[IP].ttl == 64 and answer[IP].flags == "DF" and dict(answer[TCP].options)["MSS"] == 1460
    listener.close()


def test_another_listener_shows_its_own() -> None:
    wire = Wire()
    driver = Driver(wire.stack)
    narrow, plain = Socket(driver), Socket(driver)
    for port, each in ((80, narrow), (81, plain)):
        each.bind(("198.18.0.2", port))
        each.listen()
    narrow.setsockopt(IPPROTO_TCP, socket.TCP_MAXSEG, 600)
    assert dict(Peer(wire).syn()[TCP].options)["MSS"] == 600
    assert dict(Peer(wire, port=81).syn()[TCP].options)["MSS"] == 1460
    narrow.close()
    plain.close()


# ---- the end of a listener ----


@pytest.mark.parametrize("close", [Socket.close, lambda sock: sock.shutdown(socket.SHUT_RDWR)])
def test_a_closed_listener_resets_at_once(close: Any) -> None:
    """Connections that nobody has accepted are aborted (RFC 9293 section 3.10.5), and not only when somebody polls next."""
    wire = Wire()
    listener = Socket(Driver(wire.stack))
    listener.bind(("198.18.0.2", 80))
    listener.listen()
    Peer(wire).open_without_accept()
    close(listener)
    (packet,) = [checked(raw) for raw in wire.device.drain()]
    assert "R" in str(packet[TCP].flags)
    listener.close()


# ---- after that ----


def test_old_acks_are_old_after_four_gigabytes_too() -> None:
    """RFC 5961 section 5.2: text is good if its ACK lies at most MAX.SND.WND before SND.UNA, though SND.UNA is near ISS again."""
    wire = Wire()
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), [("MSS", 1460)])
    connection.send(b"x" * 1000)
    assert len(wire.sent()) == 1
    assert peer.put("A", 1, 1001) == []
    board = connection.sender.recovery.board
    # As if 4 GB had been sent before.
    board.delivered += 1 << 32
    assert peer.put("A", 1, 990) == [] and wire.counter("TCPChallengeACK") == 0
    peer.put("PA", 1, 1001 - 50_000, b"text")
    assert connection.receive(10) == b"text"
    board.delivered -= 1 << 32
    peer.put("PA", 5, 1001 - 50_000, b"more")
    assert connection.receive(10) == b"" and wire.counter("TCPChallengeACK") == 1, "what was never sent cannot be acknowledged"


@pytest.mark.parametrize("state", ["CLOSE-WAIT", "LAST-ACK"])
def test_urgent_after_fin_is_ignored(state: str) -> None:
    """Sixth check: "This should not occur since a FIN has been received from the remote side. Ignore the URG." """
    wire = Wire()
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    connection.send(b"x")
    wire.sent()
    peer.put("FA", 1, 1)
    if state == "LAST-ACK":
        connection.shutdown()
        wire.sent()
    assert connection.state == (State.CLOSE_WAIT if state == "CLOSE-WAIT" else State.LAST_ACK)
    peer.put("UA", 2, 1, urgptr=10)
    assert connection.urgent_left() == 0 and (connection.receiver is None or connection.receiver.urgent == -1)
