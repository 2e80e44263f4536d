"""Silent peers: keep-alive, the user timeout, R1 and R2 (RFC 9293 sections 3.8.3 and 3.8.4, RFC 5482)."""

import errno

import pytest
from scapy.layers.inet import TCP

from fastnet.sockopt import set_fin_wait
from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import SECOND, Peer, Wire, call


def connected(wire: Wire, options: list | None = None) -> tuple[Peer, Connection]:
    peer = Peer(wire)
    return peer, peer.open(wire.stack.listen("0.0.0.0", 80), options)


def keep_alive(connection: Connection, idle: float | None = None, interval: float | None = None, count: int | None = None) -> None:
    patience = connection.need_patience()
    patience.keepalive = True
    if idle is not None:
        patience.idle = round(idle * 1e9)
    if interval is not None:
        patience.interval = round(interval * 1e9)
    if count is not None:
        patience.count = count
    connection.watch()


class Owner:
    def wake(self) -> None:
        """Is told through ``take_ready``."""


# ---- keep-alive ----


def test_off_by_default() -> None:
    """RFC 9293 MUST-25."""
    wire = Wire()
    _, connection = connected(wire)
    assert wire.wait(1_000_000) == [] and connection.state == State.ESTABLISHED


def test_defaults_are_two_hours_and_nine_probes() -> None:
    """RFC 9293 MUST-24, MUST-28: 7200 s, then 75 s between probes; dead after nine."""
    wire = Wire()
    peer, connection = connected(wire)
    keep_alive(connection)
    sent = wire.wait(7199)
    assert sent == []
    sent = wire.wait(700)
    assert [round(when) for when, _ in sent] == [1 + 75 * i for i in range(10)]
    assert [peer.relative(p) for _, p in sent] == [("A", 0, 1, b"")] * 9 + [("RA", 1, 1, b"")]
    assert connection.state == State.CLOSED and connection.error == errno.ETIMEDOUT
    assert wire.counter("TCPKeepAlive") == 9 and wire.counter("TCPAbortOnTimeout") == 1
    assert len(wire.stack.context.timers) == 0


def test_settings_and_options_say_how_long() -> None:
    """RFC 9293 MUST-27."""
    wire = Wire(tcp_keepalive_time=100, tcp_keepalive_intvl=10, tcp_keepalive_probes=2)
    peer, connection = connected(wire)
    keep_alive(connection)
    assert [(round(when), str(p[TCP].flags)) for when, p in wire.wait(1000)] == [(100, "A"), (110, "A"), (120, "RA")]
    peer = Peer(wire, port=81)
    connection = peer.open(wire.stack.listen("0.0.0.0", 81))
    keep_alive(connection, 5, 1, 3)
    assert [(round(when), str(p[TCP].flags)) for when, p in wire.wait(1000)] == [(5, "A"), (6, "A"), (7, "A"), (8, "RA")]


def test_probes_carry_no_data() -> None:
    """RFC 9293 SHLD-12: a sequence number that has been acknowledged, so that the peer answers."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.send(b"abc")
    wire.sent()
    peer.put("A", 1, 4)
    keep_alive(connection, 10)
    ((_, probe),) = wire.wait(11)
    assert peer.relative(probe) == ("A", 3, 1, b"")


def test_only_when_idle() -> None:
    """RFC 9293 MUST-26: whatever the peer sends puts it off; data of ours on its way has its own timer."""
    wire = Wire()
    peer, connection = connected(wire)
    keep_alive(connection, 10)
    for i in range(20):
        assert [p for _, p in wire.wait(9) if peer.relative(p)[1] == 0] == []
        peer.put("PA", 1 + i, 1, b"x")
    wire.wait(0.5)
    connection.send(b"unacknowledged")
    sent = wire.sent() + [p for _, p in wire.wait(60)]
    assert {peer.relative(p)[1] for p in sent} == {1} and wire.counter("TCPKeepAlive") == 0
    peer.put("A", 21, 15)
    assert [(round(when), peer.relative(p)[1]) for when, p in wire.wait(12)] == [(10, 14)]


def test_lost_acks_are_forgiven() -> None:
    """RFC 9293 MUST-29: one answer is enough, and then the count begins anew."""
    wire = Wire()
    peer, connection = connected(wire)
    keep_alive(connection, 10, 5, 3)
    for _ in range(10):
        sent = wire.wait(22)
        assert len(sent) == 3, "three probes, two of them lost"
        peer.put("A", 1, 1)
    assert connection.state == State.ESTABLISHED
    wire.wait(30)
    assert connection.state == State.CLOSED


def test_an_interval_longer_than_the_idle_time() -> None:
    """Where TCP_KEEPIDLE alone was set: probes that are answered never add up."""
    wire = Wire()
    peer, connection = connected(wire)
    keep_alive(connection, 10)
    wire.wait(10.5)
    for _ in range(30):
        peer.put("A", 1, 1)
        ((_, probe),) = wire.wait(75)
        assert peer.relative(probe)[1] == 0
    assert connection.state == State.ESTABLISHED
    wire.wait(75 * 9 + 1)
    assert connection.state == State.CLOSED


@pytest.mark.parametrize("when", ["before", "after"])
def test_keep_alive_before_there_is_a_connection(when: str) -> None:
    """Asked for in SYN-SENT, it neither probes nor loops; afterwards it works."""
    wire = Wire()
    peer, connection, _ = call(wire)
    keep_alive(connection, 1, 1, 2)
    if when == "after":
        peer.put("SA", 0, 1)
        assert [str(p[TCP].flags) for _, p in wire.wait(5)] == ["A", "A", "RA"]
    else:
        assert [str(p[TCP].flags) for _, p in wire.wait(5)] == ["S", "S"]


def test_a_program_that_reads_nothing_is_not_dead() -> None:
    """Bytes that wait for a shut window are probed for; keep-alive stays out of it."""
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 1460)])
    keep_alive(connection, 2, 1, 2)
    peer.put("A", 1, 1, window=0)
    connection.send(b"abc")
    for _ in range(20):
        wire.wait(2)
        peer.put("A", 1, 1, window=0)
    assert connection.state == State.ESTABLISHED


# ---- R1, R2 and the user timeout ----


def test_r1_is_told() -> None:
    """RFC 9293 SHLD-9, SHLD-10: after tcp_retries1 = 3 retransmissions the owner may look, and sees how many there were."""
    wire = Wire()
    _, connection = connected(wire)
    connection.owner = Owner()
    connection.send(b"lost")
    wire.sent()
    wire.wait(6.9)
    assert wire.stack.settings.tcp_retries1 == 3
    assert wire.stack.take_ready() == [] and connection.unanswered() == 2
    wire.wait(0.2)
    assert wire.stack.take_ready() == [connection] and connection.unanswered() == 3
    assert connection.state == State.ESTABLISHED and connection.error == 0


def test_the_user_timeout_begins_anew_with_each_ack() -> None:
    """RFC 5482: how long data may stay unacknowledged; what was acknowledged in between is not counted."""
    wire = Wire()
    peer, connection = connected(wire)
    wire.wait(300)
    connection.need_patience().set_user_timeout(10_000)
    connection.watch()
    connection.nodelay = True
    connection.send(b"one")
    connection.send(b"two")
    wire.sent()
    wire.wait(6)
    peer.put("A", 1, 4)
    wire.wait(9)
    assert connection.state == State.ESTABLISHED, "15 s after it was sent, 9 s after the peer was heard of"
    wire.wait(9)
    assert connection.state == State.CLOSED and connection.error == errno.ETIMEDOUT


def test_r2_by_default_is_longer_than_100_seconds() -> None:
    """RFC 9293 SHLD-11: 924.6 s, which 15 retransmissions take from Linux's smallest RTO on, whatever the RTO is."""
    for rtt, timeout in ((0, 1.0), (0.001, 0.201)):
        wire = Wire()
        _, connection = connected(wire)
        connection.handshake.rtt = round(rtt * SECOND)
        connection.send(b"lost")
        sent = wire.wait(timeout + 924)
        assert connection.state == State.ESTABLISHED
        sent += wire.wait(121)
        assert connection.error == errno.ETIMEDOUT
        # The first is the segment itself.
        assert len(sent) - 1 == (13 if rtt == 0 else 15)


def test_the_user_timeout_is_r2() -> None:
    """RFC 9293 MUST-21, RFC 5482: the program says how long, and so long it is."""
    wire = Wire()
    _, connection = connected(wire)
    connection.need_patience().set_user_timeout(10_000)
    connection.watch()
    connection.send(b"lost")
    wire.sent()
    wire.wait(9.9)
    assert connection.state == State.ESTABLISHED
    wire.wait(1.2)
    assert connection.state == State.CLOSED and connection.error == errno.ETIMEDOUT


def test_a_longer_user_timeout_outlives_retries2() -> None:
    wire = Wire(tcp_retries2=3)
    peer, connection = connected(wire)
    connection.need_patience().set_user_timeout(100_000)
    connection.send(b"lost")
    wire.sent()
    wire.wait(90)
    assert connection.state == State.ESTABLISHED
    peer.put("A", 1, 5)
    assert wire.wait(1000) == [] and connection.state == State.ESTABLISHED, "an ACK ends it"


def test_the_user_timeout_bounds_keep_alive() -> None:
    """As Linux has it: with both, the connection is over when the peer was silent for so long, however many probes."""
    wire = Wire()
    _, connection = connected(wire)
    connection.need_patience().set_user_timeout(30_000)
    keep_alive(connection, 10, 5, 2)
    assert [(round(when), str(p[TCP].flags)) for when, p in wire.wait(100)] == [
        (10, "A"), (15, "A"), (20, "A"), (25, "A"), (30, "RA"),
    ]  # fmt: skip
    assert connection.state == State.CLOSED


@pytest.mark.parametrize(("setting", "retries"), [(0, 6), (2, 1)])
def test_orphans_are_given_up_sooner(setting: int, retries: int) -> None:
    """tcp_orphan_retries; 0 stands for 8. It says a time, 102.2 s for 8, which fewer take from an RTO of 1 s on."""
    wire = Wire(tcp_orphan_retries=setting)
    _, connection = connected(wire)
    connection.send(b"lost")
    connection.close(wire.now)
    assert len(wire.sent()) == 1
    sent = wire.wait(2000)
    assert len(sent) == retries and connection.state == State.CLOSED
    assert len(wire.stack.context.demux) == 0 and len(wire.stack.context.timers) == 0


@pytest.mark.parametrize(("seconds", "over"), [(0, 60), (5, 5), (120, 120)])
@pytest.mark.parametrize("late", [False, True], ids=["closed before the ACK of its FIN", "closed after it"])
def test_how_long_to_wait_for_the_peers_fin(seconds: int, over: int, late: bool) -> None:
    """TCP_LINGER2: of a connection that the program has closed, in FIN-WAIT-2 (tcp_fin_time())."""
    wire = Wire()
    _, connection = connection_in_fin_wait_2(wire, seconds, late)
    assert connection.state == State.FIN_WAIT_2
    wire.wait(over - 0.5)
    assert connection.state == State.FIN_WAIT_2
    wire.wait(1)
    assert connection.state == State.CLOSED and len(wire.stack.context.demux) == 0


@pytest.mark.parametrize("late", [False, True])
def test_not_to_wait_for_the_peers_fin_at_all(late: bool) -> None:
    """TCP_LINGER2 below 0."""
    wire = Wire()
    _, connection = connection_in_fin_wait_2(wire, -1, late)
    assert connection.state == State.CLOSED and wire.counter("TCPAbortOnLinger") == 1
    assert len(wire.stack.context.demux) == wire.stack.context.orphans == 0


def connection_in_fin_wait_2(wire: Wire, seconds: int, late: bool) -> tuple[Peer, Connection]:
    """A connection that the program has closed, and whose FIN was acknowledged."""
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80))
    set_fin_wait(connection, seconds)
    if late:
        connection.shutdown()
    else:
        connection.close(wire.now)
    wire.sent()
    peer.put("A", 1, 2)
    if late:
        connection.close(wire.now)
        wire.sent()
    return peer, connection
