"""What a program hands over is looked at where it does so: the bounds of each value, and what it is told; and rules that are numbers."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fastnet.tcp.congestion import ALGORITHMS, algorithm, checked
from fastnet.tcp.congestion.base import CongestionControl, check
from fastnet.tcp.connection import Connection
from fastnet.tcp.containment import contain_door
from fastnet.tcp.numbers import MASK
from fastnet.tcp.policy import Accept
from fastnet.tcp.request import Request
from fastnet.tcp.states import State
from fastnet.tcp.tuning import seconds_within, timeouts_within
from tests.peer import MILLISECOND, SECOND, Peer, Wire

DAY = 24 * 3600 * SECOND


@pytest.mark.parametrize(("name", "highest"), [("isn", MASK), ("mss", 0xFFFF), ("window", 0xFFFF), ("ttl", 255), ("tos", 255)])
def test_the_bounds_of_a_policys_answer(name: str, highest: int) -> None:
    for value in (0, 1, highest):
        assert getattr(Accept(**{name: value}), name) == value
    for wrong in (-1, highest + 1, 1.5, "1", b"1"):
        with pytest.raises(ValueError, match=f"^{name} is 0 to {highest}"):
            Accept(**{name: wrong})
    if name in ("ttl", "tos"):
        with pytest.raises(ValueError, match=name):
            Accept(**{name: None})
    else:
        assert getattr(Accept(**{name: None}), name) is None


def test_the_bounds_of_a_policys_options() -> None:
    for value in (-1, 0, 14, None):
        assert Accept(wscale=value).wscale == value
    for wrong in (-2, 15, 1.5, "1"):
        with pytest.raises(ValueError, match=r"^wscale"):
            Accept(wscale=wrong)  # type: ignore[arg-type]
    assert Accept(options=bytes(40)).options == bytes(40) and Accept(options=b"").options == b""
    for given in (bytes(41), bytearray(4), "1"):
        with pytest.raises(ValueError, match=r"^options"):
            Accept(options=given)  # type: ignore[arg-type]
    assert Accept(kind=Connection).kind is Connection
    for kind in (Wire, Connection.__new__, 5):
        with pytest.raises(ValueError, match=r"^kind"):
            Accept(kind=kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "lowest", "highest"), [("cwnd", 1, MASK), ("ssthresh", 1, MASK), ("mss", 1, 0xFFFF)])
def test_the_bounds_of_a_congestion_control(name: str, lowest: int, highest: int) -> None:
    """A CWND of less than a segment is possible; one of nothing would send nothing, for ever."""
    control = algorithm("reno")(1000)
    for value in (lowest, highest):
        setattr(control, name, value)
        check(control)
    for value in (lowest - 1, highest + 1, -1):
        setattr(control, name, value)
        with pytest.raises(ValueError, match="CWND"):
            check(control)


def test_what_is_no_congestion_control() -> None:
    with pytest.raises(ValueError, match="none such"):
        algorithm("none such")
    for wrong in (5, Wire, "reno", algorithm("reno")(1000)):
        with pytest.raises(TypeError, match="a name or a subclass"):
            checked(wrong, 1000)  # type: ignore[arg-type]
    for kind in ALGORITHMS.values():
        assert checked(kind, 1000) is kind

    class Nothing(CongestionControl):
        def __init__(self, mss: int) -> None:
            super().__init__(mss)
            self.cwnd = 0

    with pytest.raises(ValueError, match="CWND of 0"):
        checked(Nothing, 1000)


def test_what_has_no_meaning_by_itself_is_refused() -> None:
    """A stack makes its connections; nobody else can."""
    with pytest.raises(TypeError, match=r"Stack\.connect"):
        Connection()
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    with pytest.raises(TypeError):
        listener.__init__(wire.stack.context, "0.0.0.0", 81, 5, (), False)  # type: ignore[misc]


@pytest.mark.parametrize(("days", "taken"), [(24 - 1e-4, False), (24 + 1e-4, True)])
def test_a_timestamp_is_old_for_24_days(days: float, taken: bool) -> None:
    """RFC 7323 section 5.5: after that the peer's clock may have gone round, and what it said last means nothing."""
    wire = Wire()
    peer = Peer(wire)
    stamps: list[Any] = [("MSS", 1000), ("Timestamp", (1000, 0))]
    listener = wire.stack.listen("0.0.0.0", 80)
    peer.syn(stamps)
    peer.put("A", 1, 1, options=[("Timestamp", (2000, 0))])
    connection = listener.accept()
    assert connection is not None
    peer.put("A", 1, 1, b"a", options=[("Timestamp", (5000, 0))])
    assert connection.receive(9) == b"a"
    wire.wait(5)
    wire.now += int(days * DAY)
    peer.put("A", 2, 1, b"b", options=[("Timestamp", (4000, 0))])
    assert connection.receive(9) == (b"b" if taken else b"") and wire.counter("PAWSEstab") == (not taken)


@pytest.mark.parametrize(("young", "given_up"), [(16, 0), (13, 2), (10, 10)])
def test_old_requests_make_way_for_young_ones(young: int, given_up: int) -> None:
    """reqsk_timer_handler(): more than half full, each doubling of the young that still fits takes one from the retries, 2 stay."""
    wire = Wire(tcp_synack_retries=5)
    listener = wire.stack.listen("0.0.0.0", 80, 80)
    for sport in range(40):
        Peer(wire, sport=1000 + sport).syn()
    wire.wait(14.5)
    assert len(listener.syn_queue) == 40 and wire.counter("TCPSynRetrans") == 120, "half full: nobody is given up"
    for sport in range(young):
        Peer(wire, sport=2000 + sport).syn()
    wire.wait(0.8)
    assert len(listener.syn_queue) == 40 + young - given_up and listener.refused.unanswered == given_up
    assert wire.counter("TCPSynRetrans") == 160 - given_up and wire.counter("TcpAttemptFails") == given_up
    assert wire.counter("TCPTimeouts") == 160


def test_a_peer_that_answered_is_not_reminded_while_it_is_waited_for() -> None:
    """TCP_DEFER_ACCEPT: also one whose data met a full accept queue has answered, so it gets no SYN-ACK before its time is nearly over."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80, 1)
    listener.set("tcp_defer_accept", 7)
    zeroth, first, second = Peer(wire, sport=9), Peer(wire, sport=1), Peer(wire, sport=2)
    zeroth.syn()
    zeroth.put("A", 1, 1, b"z")
    first.syn()
    second.syn()
    first.put("A", 1, 1, b"x")
    second.put("A", 1, 1, b"y")
    assert wire.counter("ListenOverflows") == 1 and listener.refused.accept_queue_full_ack == 1 and len(listener.syn_queue) == 1
    early = wire.wait(2.5)
    assert early == [], "it has said that it is there"
    late = wire.wait(5)
    assert [second.relative(packet)[0] for _, packet in late] == ["SA"]
    assert listener.accept() is not None and listener.accept() is not None
    second.put("A", 1, 1, b"y")
    connection = listener.accept()
    assert connection is not None and connection.receive(9) == b"y"


@pytest.mark.endpoint_fails
def test_the_log_says_what_became_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """Whose code failed, and what was lost by it."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    context = wire.stack.context
    with caplog.at_level(logging.ERROR, "fastnet"):
        contain_door(context, listener, ValueError("of the test"), wire.now)
        context.failures.log()
        assert "0.0.0.0 port 80: its owner was not told" in caplog.text
        caplog.clear()

        def wrong(arrival: object) -> None:
            raise SystemError("of the test")

        connection = Peer(wire).open(listener)
        wire.now += 2 * SECOND
        contain_door(context, connection, ValueError("of the test"), wire.now)
        context.failures.log()
        assert "198.18.0.2 port 80, peer 198.18.0.1 port 40000: the connection is reset" in caplog.text
    assert connection.state == State.CLOSED
    wire.sent()
    assert Peer(wire, sport=2).open(listener).state == State.ESTABLISHED, "the listener goes on"


def test_another_congestion_control_in_the_middle_of_a_loss() -> None:
    """It goes on from half of what was on its way, two segments at least (RFC 5681 equation 4), and nothing brings the old CWND back."""
    wire = Wire()
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), [("MSS", 1000), ("SAckOK", b"")])
    connection.send(bytes(3000))
    wire.sent()
    wire.wait(3)
    sender = connection.sender
    assert sender is not None
    assert sender.recovery.state != 0
    connection.set_congestion_control("reno")
    assert sender.recovery.congestion.ssthresh == 2000
    peer.put("A", 1, 3001)
    assert sender.recovery.state == 0 and sender.recovery.congestion.cwnd <= 10_000
    connection.set_congestion_control("cubic")
    assert sender.recovery.congestion.ssthresh > 1 << 20, "without a loss there is no bound"


def test_a_fin_goes_with_data_only_where_the_window_has_room_for_both() -> None:
    """The peer would trim it off otherwise, and it would have to come again with the data (RFC 9293 section 3.10.7.4); alone it goes on."""
    for window, flags in ((1500, ["FPA"]), (1000, ["PA", "FA"]), (1001, ["FPA"])):
        wire = Wire()
        listener = wire.stack.listen("0.0.0.0", 80)
        peer = Peer(wire)
        peer.syn([("MSS", 1460)])
        peer.put("A", 1, 1, window=window)
        connection = listener.accept()
        assert connection is not None
        connection.send(bytes(1000))
        connection.shutdown()
        sent = [peer.relative(packet) for packet in wire.sent()]
        assert [each[0] for each in sent] == flags and len(sent[0][3]) == 1000


def test_requests_last_as_long_as_linux_says() -> None:
    """TCP_DEFER_ACCEPT in seconds becomes a number of timeouts: 1, 2, 4, ... s, none longer than two minutes."""
    assert [timeouts_within(seconds) for seconds in (-1, 0, 1, 2, 3, 4, 7, 8, 127, 128, 247, 248)] == [0, 0, 1, 2, 2, 3, 3, 4, 7, 8, 8, 9]
    assert [seconds_within(count) for count in range(11)] == [0, 1, 3, 7, 15, 31, 63, 127, 247, 367, 487]
    assert timeouts_within(1 << 40) == 255 and seconds_within(255) == 127 + 248 * 120


def test_the_request_of_a_cookie_is_as_old_as_its_syn() -> None:
    """So that the round-trip time is not measured from it: nobody knows when the SYN came."""
    wire = Wire(tcp_syncookies=2)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn([("MSS", 1000)])
    assert not listener.syn_queue
    wire.now += 70 * MILLISECOND
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    assert isinstance(connection.handshake, Request) and connection.round_trip_known() == 0 and connection.round_trip() == SECOND
