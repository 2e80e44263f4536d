"""One endpoint's failure is that endpoint's: whatever raises for one connection, the others and the batch go on."""

from __future__ import annotations

import errno
import logging
from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Packet

from fastnet._ring import PacketRing
from fastnet.devices import MemoryDevice
from fastnet.server.base import LoadServer, Session
from fastnet.stack import Stack
from fastnet.tcp.congestion import ALGORITHMS
from fastnet.tcp.congestion.base import Acknowledgment, CongestionControl
from fastnet.tcp.connection import Connection
from fastnet.tcp.containment import contain_door, give_up
from fastnet.tcp.context import Timed
from fastnet.tcp.listener import Listener
from fastnet.tcp.policy import ACCEPT, Accept, Arrival, Deferred
from fastnet.tcp.states import State
from tests.peer import SECOND, STACK, Peer, Wire, call, icmp

pytestmark = pytest.mark.endpoint_fails


class BrokenError(Exception):
    """What a program's code raises in these tests."""


class Owner:
    """A door: how often it was told."""

    def __init__(self) -> None:
        self.told = 0

    def wake(self) -> None:
        self.told += 1


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.ERROR, "fastnet")
    return caplog


def of(sport: int, packets: list[Packet]) -> list[str]:
    """The flags of what was sent to one peer."""
    return [str(packet[TCP].flags) for packet in packets if packet[TCP].dport == sport]


def pair(wire: Wire, first: Accept | None = None) -> tuple[Listener, Peer, Connection, Peer, Connection]:
    """Two accepted connections, from port 40000 and 40001; the first as a policy chose."""
    listener = wire.stack.listen(STACK, 80)
    if first is not None:
        listener.set_policy(lambda arrival: first if arrival.flow.remote_port == 40000 else None)
    one, other = Peer(wire), Peer(wire, sport=40001)
    return listener, one, one.open(listener), other, other.open(listener)


def nothing_is_left(wire: Wire, connection: Connection, error: int = errno.ECONNABORTED) -> None:
    """The connection is over and detached."""
    assert connection.state == State.CLOSED
    assert connection.error == error
    assert connection.id == -1
    assert connection.timer == -1
    assert connection.sender is None
    assert connection not in wire.stack.context.endpoints


def test_what_cannot_even_be_ended_is_reached_by_nothing_any_more(wire: Wire, log: Any) -> None:
    """Its number, its 4-tuple and its timer are free; a listener stays, as nobody else would answer for it."""
    listener, one, broken, other, good = pair(wire)
    broken.owner = Owner()
    broken.send(b"x")
    wire.sent()
    timers = len(wire.stack.context.timers)
    give_up(wire.stack.context, broken, BrokenError("ending"), wire.now)
    give_up(wire.stack.context, listener, BrokenError("ending"), wire.now)
    wire.stack.context.failures.log()
    assert broken.id == -1 and broken.timer == -1 and broken.owner is None and broken not in wire.stack.context.endpoints
    assert len(wire.stack.context.timers) == timers - 1 and len(log.records) > 0
    assert listener in wire.stack.context.endpoints and listener.id >= 0
    assert of(40000, one.put("A", 1, 1)) == ["R"]
    other.put("A", 1, 1, b"y")
    assert good.receive(1) == b"y"
    assert Peer(wire).open(listener).state == State.ESTABLISHED


def test_an_interruption_while_even_that_fails_goes_through(wire: Wire) -> None:
    """At the end of the round, like any other, and once."""

    class Named(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise KeyboardInterrupt

    class Interrupting(Connection, metaclass=Named):
        pass

    give_up(wire.stack.context, Interrupting.__new__(Interrupting), BrokenError("ending"), wire.now)
    with pytest.raises(KeyboardInterrupt):
        wire.stack.poll(wire.now)
    wire.stack.poll(wire.now)


# ---- kinds ----


class FailsOnText(Connection):
    def text_arrives(self, seg: Any, ahead: int, now: int) -> None:
        raise BrokenError("text")


class FailsToSend(Connection):
    def send_pending(self, now: int) -> None:
        raise BrokenError("send")


class FailsOnTimer(Connection):
    def timer_fires(self, now: int) -> None:
        raise BrokenError("timer")


class FailsOnIcmp(Connection):
    def unreachable(self, number: int, hard: bool, now: int) -> None:
        raise BrokenError("icmp")


class FailsToEnd(FailsOnText):
    """Nothing that could end it works."""

    def move(self, event: int) -> None:
        raise BrokenError("move")

    def abort(self, now: int) -> None:
        raise BrokenError("abort")

    def close(self, now: int) -> None:
        raise BrokenError("close")

    def finish(self, event: int) -> None:
        raise BrokenError("finish")


@pytest.mark.parametrize("kind", [FailsOnText, FailsToEnd])
def test_a_kind_that_raises_ends_its_connection_and_the_batch_goes_on(wire: Wire, log: Any, kind: type[Connection]) -> None:
    _, one, broken, other, good = pair(wire, Accept(kind=kind))
    broken.owner = owner = Owner()
    sent = wire.put(other.packet("A", 1, 1, b"before"), one.packet("A", 1, 1, b"x"), other.packet("A", 7, 1, b" after"))
    assert of(40000, sent) == ["RA"]
    assert "R" not in "".join(of(40001, sent))
    assert good.receive(100) == b"before after"
    nothing_is_left(wire, broken)
    assert wire.stack.take_ready() and broken.owner is owner
    assert wire.counter("EndpointFailures") == 1
    assert wire.counter("TcpCurrEstab") == 1
    assert wire.counter("TcpEstabResets") == 1
    (record,) = log.records
    assert "198.18.0.1 port 40000" in record.message
    assert record.exc_info[0] is BrokenError
    # The batch is not delivered again, nor does the reset connection answer anything but RST.
    assert wire.poll() == []
    assert of(40000, one.put("A", 2, 1, b"y")) == ["R"]


def test_the_rst_is_one_that_the_peer_believes(wire: Wire) -> None:
    _, one, broken, _, _ = pair(wire, Accept(kind=FailsOnText))
    (rst,) = one.put("A", 1, 1, b"x")
    # RCV.NXT of the peer is where it expects our next byte (RFC 5961 section 3.2).
    assert one.relative(rst)[1] == 1
    assert broken.receiver is None


def test_what_send_pending_raises_ends_one_and_the_others_send(wire: Wire) -> None:
    _, _one, broken, _other, good = pair(wire, Accept(kind=FailsToSend))
    broken.send(b"never")
    good.send(b"sent")
    sent = wire.poll()
    assert of(40000, sent) == ["RA"]
    assert of(40001, sent) == ["PA"]
    nothing_is_left(wire, broken)


def test_what_a_timer_raises_ends_one_and_the_others_fire(wire: Wire) -> None:
    _, _one, broken, _other, good = pair(wire, Accept(kind=FailsOnTimer))
    for connection in (broken, good):
        connection.send(b"data")
    wire.poll()
    sent = [packet for _, packet in wire.wait(3)]
    assert of(40000, sent) == ["RA"]
    assert len(of(40001, sent)) >= 2
    nothing_is_left(wire, broken)


def test_the_handle_of_a_timer_that_failed_is_not_another_ones(wire: Wire) -> None:
    _, _, broken, _other, _good = pair(wire, Accept(kind=FailsOnTimer))
    broken.send(b"data")
    wire.poll()

    class Thief(Timed):
        """Takes the handle that has just become free."""

        __slots__ = ("fired",)

        def timer_fires(self, now: int) -> None:
            self.timer = -1
            self.fired = True

    thief = Thief()
    thief.fired = False
    stolen = broken.timer
    original = FailsOnTimer.timer_fires

    def steal(self: Connection, now: int) -> None:
        thief.timer = wire.stack.context.timers.add(thief, now + 10 * SECOND)
        original(self, now)

    FailsOnTimer.timer_fires = steal  # type: ignore[method-assign]
    try:
        wire.wait(3)
    finally:
        FailsOnTimer.timer_fires = original  # type: ignore[method-assign]
    assert thief.timer == stolen
    wire.wait(20)
    assert thief.fired


def test_an_icmp_error_that_raises_ends_the_connection_that_it_is_about(wire: Wire) -> None:
    _, _one, broken, other, good = pair(wire, Accept(kind=FailsOnIcmp))
    broken.send(b"data")
    (data,) = wire.poll()
    sent = wire.put(icmp(data, 3, 1), other.packet("A", 1, 1, b"still there"))
    assert of(40000, sent) == ["RA"]
    assert good.receive(100) == b"still there"
    nothing_is_left(wire, broken)


def test_an_orphan_that_fails_is_no_orphan_any_more(wire: Wire) -> None:
    _, _one, broken, _, _ = pair(wire, Accept(kind=FailsOnTimer))
    broken.close(wire.now)
    wire.poll()
    assert wire.stack.context.orphans == 1
    wire.wait(3)
    assert wire.stack.context.orphans == 0
    nothing_is_left(wire, broken)


def test_a_source_is_let_go_of(wire: Wire) -> None:
    listener = wire.stack.listen(STACK, 80)
    listener.set("fastnet_source_connections", 5)
    listener.set_policy(lambda arrival: Accept(kind=FailsOnText))
    peer = Peer(wire)
    peer.open(listener)
    assert listener.sources is not None
    assert listener.statistics().sources == 1
    peer.put("A", 1, 1, b"x")
    assert listener.statistics().sources == 0


# ---- listeners and what decides for them ----


class FailsToEstablish(Connection):
    def establish(self, context: Any, request: Any, seg: Any, now: int) -> None:
        super().establish(context, request, seg, now)
        raise BrokenError("establish")


class NeverEstablishes(Connection):
    def establish(self, context: Any, request: Any, seg: Any, now: int) -> None:
        pass


class FailsBeforeItBegins(Connection):
    def establish(self, context: Any, request: Any, seg: Any, now: int) -> None:
        raise BrokenError("too early")


@pytest.mark.parametrize("kind", [FailsToEstablish, NeverEstablishes, FailsBeforeItBegins])
def test_a_kind_that_cannot_be_made_costs_its_handshake_alone(wire: Wire, kind: type[Connection]) -> None:
    listener = wire.stack.listen(STACK, 80)
    listener.set("fastnet_source_connections", 5)
    listener.set_policy(lambda arrival: Accept(kind=kind) if arrival.flow.remote_port == 40000 else None)
    one, other = Peer(wire), Peer(wire, sport=40001)
    one.syn()
    other.syn()
    sent = wire.put(one.packet("A", 1, 1), other.packet("A", 1, 1))
    assert of(40000, sent) == (["RA"] if kind is FailsToEstablish else [])
    accepted = listener.accept()
    assert accepted is not None and accepted.handshake.flow.remote_port == 40001
    assert listener.accept() is None
    assert len(listener.syn_queue) == 0
    assert listener.statistics().sources == 1
    assert accepted.handshake.source is not None and accepted.handshake.source.connections == 1
    assert wire.counter("TcpCurrEstab") == 1
    assert wire.counter("EndpointFailures") == 1
    # What the peer sends now finds nobody.
    assert "R" in of(40000, one.put("A", 1, 1, b"x"))[0]


class FailsToAnswer(Accept):
    def send_synack(self, request: Any, context: Any, path: Any, mss: int, now: int) -> None:
        raise BrokenError("SYN-ACK")


def test_an_answer_that_cannot_be_sent_drops_the_syn(wire: Wire) -> None:
    listener = wire.stack.listen(STACK, 80)
    listener.set_policy(lambda arrival: FailsToAnswer() if arrival.flow.remote_port == 40000 else None)
    sent = wire.put(Peer(wire).packet("S"), Peer(wire, sport=40001).packet("S"))
    assert of(40000, sent) == []
    assert of(40001, sent) == ["SA"]
    assert len(listener.syn_queue) == 1
    assert listener.young == 1
    assert wire.counter("ListenDrops") == 1
    assert wire.counter("EndpointFailures") == 1


@pytest.mark.parametrize("early", [False, True])
def test_a_failure_takes_nothing_from_a_handshake_before_it(wire: Wire, early: bool) -> None:
    """A connection of the same source keeps its place: the bound of the source holds as long as it is open.

    :param early: that connection was opened with Fast Open
    """
    wire.stack.settings.set("tcp_fastopen", 0x202)
    listener = wire.stack.listen(STACK, 80)
    listener.set("fastnet_source_connections", 2)
    if early:
        listener.set_fast_open(10)
        one = Peer(wire)
        assert of(40000, one.put("S", options=[("MSS", 1460)], data=b"x")) == ["SA"]
        assert len(listener.accept_queue) == 1, "without a cookie, as its bit says"
    else:
        one = Peer(wire)
        one.open_without_accept()
    connection = listener.accept()
    assert connection is not None
    source = connection.handshake.source
    assert source is not None and source.connections == 1
    listener.set_policy(lambda arrival: FailsToAnswer())
    wire.put(Peer(wire, sport=40001).packet("S"))
    assert wire.counter("EndpointFailures") == 1 and source.connections == 1, "it is open"
    connection.abort(wire.now)
    assert source.connections == 0


class FailsTheSecondTime(Accept):
    def send_synack(self, request: Any, context: Any, path: Any, mss: int, now: int) -> None:
        if request.retries:
            raise BrokenError("SYN-ACK")
        super().send_synack(request, context, path, mss, now)


def test_a_request_whose_timer_raises_is_dropped(wire: Wire) -> None:
    listener = wire.stack.listen(STACK, 80)
    listener.set_policy(lambda arrival: FailsTheSecondTime())
    Peer(wire).put("S")
    assert len(listener.syn_queue) == 1
    wire.wait(5)
    assert len(listener.syn_queue) == 0
    assert listener.young == 0
    assert wire.counter("EndpointFailures") == 1


def test_a_deferred_answer_that_raises_is_dropped(wire: Wire) -> None:
    listener = wire.stack.listen(STACK, 80)
    kept: list[Deferred] = []

    def policy(arrival: Arrival) -> Deferred:
        kept.append(arrival.defer())
        return kept[-1]

    class Bad(Accept):
        def apply(self, request: Any, now: int) -> None:
            raise BrokenError("apply")

    listener.set_policy(policy)
    Peer(wire).put("S")
    Peer(wire, sport=40001).put("S")
    kept[0].accept(Bad())
    kept[1].accept(ACCEPT)
    assert of(40001, wire.poll()) == ["SA"]
    assert len(listener.syn_queue) == 1
    assert listener.statistics().waiting == 0
    assert wire.counter("EndpointFailures") == 1


def test_a_policy_that_raises_is_in_the_log(wire: Wire, log: Any) -> None:
    listener = wire.stack.listen(STACK, 80)

    def policy(arrival: Arrival) -> None:
        raise BrokenError("policy")

    listener.set_policy(policy)
    assert Peer(wire).put("S") == []
    (record,) = log.records
    assert record.exc_info[0] is BrokenError
    assert listener.statistics().refused["policy_failed"] == 1
    assert wire.counter("EndpointFailures") == 1


def test_a_time_wait_that_makes_way_for_what_fails(wire: Wire) -> None:
    listener = wire.stack.listen(STACK, 80)
    peer = Peer(wire)
    connection = peer.open(listener)
    connection.close(wire.now)
    wire.poll()
    peer.put("FA", 1, 2)
    assert wire.stack.context.time_wait_count == 1
    listener.set_policy(lambda arrival: FailsToAnswer())
    assert peer.put("S", 100_000) == []
    assert wire.stack.context.time_wait_count == 0
    assert wire.stack.context.last_seq == -1
    listener.set_policy(None)
    assert of(40000, peer.put("S", 200_000)) == ["SA"]


# ---- congestion controls ----


def growing(wire: Wire, kind: Any) -> tuple[list[Packet], Connection, Connection]:
    """A connection under a congestion control that goes wrong with the first ACK, and what leaves then."""
    _, one, broken, other, good = pair(wire)
    broken.set_congestion_control(kind)
    # More than the first window, as CWND only grows where it is what holds the sender back.
    broken.send(b"a" * 20000)
    good.send(b"b" * 20000)
    wire.poll()
    sent = wire.put(one.packet("A", 1, 1073), other.packet("A", 1, 1073))
    broken_still = broken.state == State.ESTABLISHED
    if broken_still:
        broken.send(b"more")
        sent += wire.poll()
    return sent, broken, good


@pytest.mark.parametrize("value", [None, float("nan"), 10**30, 0, -1, "wide", 1 << 33])
@pytest.mark.parametrize("name", ["cwnd", "ssthresh", "mss"])
def test_a_congestion_control_that_sets_nonsense_ends_its_connection(wire: Wire, name: str, value: Any) -> None:
    class Mad(CongestionControl):
        def acknowledged(self, ack: Acknowledgment) -> None:
            setattr(self, name, value)

    sent, broken, good = growing(wire, Mad)
    assert of(40000, sent)[-1] == "RA"
    nothing_is_left(wire, broken)
    assert good.state == State.ESTABLISHED
    assert wire.counter("EndpointFailures") == 1


def test_a_congestion_control_that_raises_ends_its_connection(wire: Wire) -> None:
    class Raises(CongestionControl):
        def acknowledged(self, ack: Acknowledgment) -> None:
            raise MemoryError

    sent, broken, _good = growing(wire, Raises)
    assert of(40000, sent) == ["RA"]
    nothing_is_left(wire, broken)


def test_a_congestion_control_is_looked_at_when_it_is_handed_over(wire: Wire) -> None:
    class NoWindow(CongestionControl):
        def initial_window(self) -> int:
            return 0

    class Raises(CongestionControl):
        def __init__(self, mss: int) -> None:
            raise BrokenError("init")

    class NoBase(CongestionControl):
        def __init__(self, mss: int) -> None:
            pass

    _, _, connection, _, _ = pair(wire)
    for wrong in (object, 5, None, CongestionControl(1000)):
        with pytest.raises(TypeError):
            connection.set_congestion_control(wrong)  # type: ignore[arg-type]
    for failing in (NoWindow, NoBase):
        with pytest.raises((ValueError, AttributeError)):
            connection.set_congestion_control(failing)
    with pytest.raises(BrokenError):
        connection.set_congestion_control(Raises)
    ALGORITHMS["wrong"] = object  # type: ignore[assignment]
    try:
        with pytest.raises(TypeError):
            Wire(tcp_congestion_control="wrong")
    finally:
        del ALGORITHMS["wrong"]
    assert connection.state == State.ESTABLISHED


def test_a_policy_and_a_kind_are_looked_at_when_they_are_handed_over(wire: Wire) -> None:
    listener = wire.stack.listen(STACK, 80)
    with pytest.raises(TypeError, match="cannot be called"):
        listener.set_policy(5)  # type: ignore[arg-type]
    for wrong in (object, 5, "Connection"):
        with pytest.raises(ValueError, match="kind is a subclass"):
            Accept(kind=wrong)  # type: ignore[arg-type]


# ---- interruptions, the log ----


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_goes_through_when_the_batch_is_over(wire: Wire, log: Any, interruption: type[BaseException]) -> None:
    class Interrupted(Connection):
        def text_arrives(self, seg: Any, ahead: int, now: int) -> None:
            raise interruption

    _, one, broken, other, good = pair(wire, Accept(kind=Interrupted))
    wire.device.inject(bytes(one.packet("A", 1, 1, b"x")))
    wire.device.inject(bytes(other.packet("A", 1, 1, b"all of it")))
    with pytest.raises(interruption):
        wire.stack.poll(wire.now)
    assert good.receive(100) == b"all of it"
    # Also what was to be sent has been.
    assert of(40001, wire.sent()) == ["A"]
    assert wire.poll() == []
    assert broken.state == State.CLOSED
    assert log.records == []


def test_the_log_is_limited(wire: Wire, log: Any) -> None:
    listener = wire.stack.listen(STACK, 80)

    def policy(arrival: Arrival) -> None:
        raise BrokenError("again")

    listener.set_policy(policy)
    for port in range(1000, 1030):
        Peer(wire, sport=port).put("S")
    assert len(log.records) == 10
    assert wire.counter("EndpointFailures") == 30
    wire.now += 6 * SECOND
    Peer(wire, sport=999).put("S")
    assert "(20 failures before it were not logged)" in log.records[-1].message
    Peer(wire, sport=998).put("S")
    assert "not logged" not in log.records[-1].message, "that was said"
    for port in range(1000, 1010):
        Peer(wire, sport=port).put("S")
    wire.now += 6 * SECOND
    Peer(wire, sport=997).put("S")
    assert "(2 failures before it were not logged)" in log.records[-1].message


def test_a_log_handler_may_fail(wire: Wire) -> None:
    class Full(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError(errno.ENOSPC, "no space")

    handler = Full()
    logging.getLogger("fastnet").addHandler(handler)
    try:
        _, one, _broken, _, _ = pair(wire, Accept(kind=FailsOnText))
        assert of(40000, one.put("A", 1, 1, b"x")) == ["RA"]
    finally:
        logging.getLogger("fastnet").removeHandler(handler)


# ---- owners ----


def test_an_owner_that_raises_is_told_once_more_and_then_no_more(wire: Wire) -> None:
    _, _one, connection, _, _ = pair(wire)
    connection.owner = object()
    contain_door(wire.stack.context, connection, BrokenError("door"), wire.now)
    assert of(40000, wire.sent()) == ["RA"]
    nothing_is_left(wire, connection)
    assert connection in wire.stack.take_ready()
    contain_door(wire.stack.context, connection, BrokenError("door"), wire.now)
    assert connection.owner is None
    assert connection not in wire.stack.take_ready()


class FragileMode:
    """A mode some of whose sessions raise."""

    name = "fragile"

    def opened(self, connection: Connection, server: LoadServer, now: int) -> Session:
        if connection.handshake.flow.remote_port == 40000:
            raise BrokenError("opened")
        return FragileSession(connection, server)


class FragileSession(Session):
    __slots__ = ()

    def received(self, data: bytes, now: int) -> None:
        if data == b"break":
            raise BrokenError("received")
        self.write(data)


def test_a_session_of_the_server_that_raises_ends_alone(wire: Wire) -> None:
    server = LoadServer(wire.stack, FragileMode(), STACK, 80)
    peers = [Peer(wire, sport=port) for port in (40000, 40001, 40002)]
    for peer in peers:
        peer.syn()
    for peer in peers:
        wire.device.inject(bytes(peer.packet("A", 1, 1)))
    server.step(wire.now)
    assert of(40000, wire.sent()) == ["RA"]
    assert server.open == 2
    for peer, data in ((peers[1], b"break"), (peers[2], b"echo")):
        wire.device.inject(bytes(peer.packet("A", 1, 1, data)))
    server.step(wire.now)
    sent = wire.sent()
    assert of(40001, sent)[-1] == "RA"
    assert of(40002, sent)[-1] == "PA"
    assert server.open == 1


# ---- the device ----


class FailingDevice(MemoryDevice):
    """A device that raises when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: BaseException | None = None
        self.fails_to_send: BaseException | None = None

    def receive(self, ring: PacketRing) -> int:
        received = super().receive(ring)
        if self.fails is not None:
            raise self.fails
        return received

    def transmit(self, ring: PacketRing) -> int:
        if self.fails_to_send is not None:
            raise self.fails_to_send
        return super().transmit(ring)


@pytest.fixture
def failing() -> tuple[Wire, FailingDevice]:
    wire = Wire()
    wire.device = device = FailingDevice()
    wire.stack = Stack(device, (STACK,), {}, clock=lambda: wire.now, random=lambda n: bytes(i & 255 for i in range(n)))
    return wire, device


def test_a_device_that_fails_ends_every_connection_with_one_error(failing: tuple[Wire, FailingDevice]) -> None:
    wire, device = failing
    listener, one, first, _other, second = pair(wire)
    _, opening, _ = call(wire, 81)
    listener.owner, first.owner = Owner(), Owner()
    Peer(wire, sport=40002).syn()
    Peer(wire, sport=40003).open_without_accept()
    device.inject(bytes(one.packet("A", 1, 1, b"the last")))
    device.fails = OSError(errno.EBADFD, "gone")
    with pytest.raises(OSError, match="the device has failed: gone") as caught:
        wire.stack.poll(wire.now)
    assert caught.value.errno == errno.ENETDOWN
    assert caught.value.__cause__ is device.fails
    for connection in (first, second, opening):
        nothing_is_left(wire, connection, errno.ENETDOWN)
    # What came before it can be read.
    assert first.receive(100) == b"the last"
    assert {listener, first} <= set(wire.stack.take_ready())
    assert len(listener.syn_queue) == 0 and listener.accept() is None, "nobody gets a connection that is over already"
    assert wire.counter("TcpCurrEstab") == 0
    assert wire.counter("EndpointFailures") == 0
    # The same for what comes later; and it is not asked again.
    device.fails = None
    for attempt in (
        lambda: wire.stack.poll(wire.now),
        lambda: wire.stack.connect("198.18.0.1", 80),
        lambda: wire.stack.listen(STACK, 90),
    ):
        with pytest.raises(OSError, match="the device has failed") as caught:
            attempt()
        assert caught.value.errno == errno.ENETDOWN
    with pytest.raises(OSError, match="ENETDOWN"):
        second.send(b"x")
    for closing in (first, second, opening, listener):
        closing.close(wire.now)
    assert [endpoint for endpoint in wire.stack.context.endpoints if endpoint is not None] == []
    assert wire.device.drain() == []


def test_a_device_that_fails_to_send_is_found_out_at_once(failing: tuple[Wire, FailingDevice]) -> None:
    wire, device = failing
    _, _, first, _, second = pair(wire)
    device.fails_to_send = OSError(errno.EIO, "broken")
    first.send(b"data")
    wire.stack.flush(wire.now)
    assert first.error == second.error == errno.ENETDOWN
    with pytest.raises(OSError, match="broken"):
        wire.stack.poll(wire.now)


@pytest.mark.parametrize("passing", [OSError(errno.ENOBUFS, "full"), OSError(errno.EAGAIN, "later"), MemoryError()])
def test_no_room_in_the_device_is_loss_and_no_failure(failing: tuple[Wire, FailingDevice], passing: Exception) -> None:
    wire, device = failing
    _, _one, first, _, _ = pair(wire)
    first.send(b"data")
    device.fails_to_send = passing
    wire.stack.poll(wire.now)
    assert wire.counter("DeviceTxErrors") == 1
    device.fails_to_send = None
    device.fails = passing
    wire.stack.poll(wire.now)
    device.fails = None
    sent = [packet for _, packet in wire.wait(3)]
    assert bytes(sent[0][TCP].payload) == b"data"
    assert first.state == State.ESTABLISHED


def test_an_interruption_in_the_device_loses_no_packet(failing: tuple[Wire, FailingDevice]) -> None:
    wire, device = failing
    _, one, first, _, _ = pair(wire)
    device.inject(bytes(one.packet("A", 1, 1, b"kept")))
    device.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        wire.stack.poll(wire.now)
    device.fails = None
    assert first.receive(100) == b"kept"
    wire.stack.poll(wire.now)
    assert first.receive(100) == b""
    assert first.state == State.ESTABLISHED
