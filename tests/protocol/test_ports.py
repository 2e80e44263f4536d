"""Ports that are chosen for a program: none left, TIME-WAITs taken over (tcp_tw_reuse), and old segments that come after that."""

import errno
import gc
from collections import deque
from random import Random

import pytest
from scapy.layers.inet import TCP

from fastnet._flow import FourTuple
from fastnet._ring import PacketRing
from fastnet.config import SettingError, Settings
from fastnet.devices import Wrapper
from fastnet.devices.impairment import Impairment, LinkEnd
from fastnet.driver import Driver
from fastnet.socket import Socket
from fastnet.sockopt import IP_BIND_ADDRESS_NO_PORT
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.opening import ActiveConnection
from fastnet.tcp.states import State
from fastnet.tcp.timewait import TimeWait
from fastnet.twins import Twins
from tests.peer import PEER, STACK, M, Peer, Wire, call

SERVER = "198.18.0.2"


def stamp(value: int, echo: int = 0) -> list:
    return [("Timestamp", (value, echo))]


def closed_first(wire: Wire, port: int = 80, stamped: bool = True, value: int = 5000, **fields: int) -> tuple[Peer, ActiveConnection]:
    """An active open that the stack closed first: in TIME-WAIT. The stack's FIN has number 5, after four bytes; the peer's number 5 too."""
    peer, connection, _ = call(wire, port, **fields)
    options = stamp(value) if stamped else []
    peer.put("SA", 0, 1, options=options)
    peer.options = options
    connection.send(b"mine")
    wire.sent()
    peer.put("PA", 1, 5, b"your")
    connection.receive(4)
    connection.close(wire.now)
    wire.sent()
    peer.put("FA", 5, 6)
    assert connection.state == State.TIME_WAIT
    return peer, connection


def reopened(wire: Wire, value: int) -> tuple[Peer, ActiveConnection]:
    """Another one to the same destination, open."""
    peer, connection, _ = call(wire, iss=2_000_000)
    peer.put("SA", 0, 1, options=stamp(value))
    peer.options = stamp(value)
    assert connection.state == State.ESTABLISHED
    return peer, connection


@pytest.mark.parametrize("ports", [(40000, 40000), (40000, 40009), (40000, 40199)])
def test_every_port_is_given_once_and_then_none(ports: tuple[int, int]) -> None:
    wire = Wire(ip_local_port_range=ports)
    count = ports[1] - ports[0] + 1
    opened = [wire.stack.connect(PEER, 80) for _ in range(count)]
    assert {connection.handshake.flow.local_port for connection in opened} == set(range(ports[0], ports[1] + 1))
    with pytest.raises(OSError, match="every port") as caught:
        wire.stack.connect(PEER, 80)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    wire.stack.connect(PEER, 81)
    # What is over gives its port back; what was kept about them goes when they go.
    for connection in opened[::2]:
        connection.abort(wire.now)
    again = {wire.stack.connect(PEER, 80).handshake.flow.local_port for _ in opened[::2]}
    assert again == {connection.handshake.flow.local_port for connection in opened[::2]}
    for endpoint in list(wire.stack.context.endpoints):
        if isinstance(endpoint, Connection):
            endpoint.abort(wire.now)
    assert wire.stack.context.ports.maps_made == 0 and wire.stack.context.ports.memory == 0
    assert not wire.stack.has_connection("0.0.0.0", ports[0])


def test_a_few_connections_need_no_map_of_the_ports() -> None:
    """A map of a destination's ports takes memory: it is made when a free port is not found at once."""
    wire = Wire(ip_local_port_range=(40000, 40199))
    ports = wire.stack.context.ports
    for _ in range(10):
        call(wire)
    assert ports.maps_made == 0
    for _ in range(190):
        call(wire)
    assert ports.maps_made == 1


def test_listeners_and_reserved_ports_are_not_given() -> None:
    wire = Wire(ip_local_port_range="40000 40009", ip_local_reserved_ports="40001,40003-40007")
    listener = wire.stack.listen("0.0.0.0", 40000)
    assert {wire.stack.connect(PEER, 80).handshake.flow.local_port for _ in range(3)} == {40002, 40008, 40009}
    with pytest.raises(OSError, match="every port"):
        wire.stack.connect(PEER, 80)
    assert wire.stack.ports.choose_to_bind("0.0.0.0") == -1
    assert wire.stack.connect(PEER, 80, local_port=40004).handshake.flow.local_port == 40004, "who names it gets it"
    listener.close(wire.now)
    assert wire.stack.connect(PEER, 80).handshake.flow.local_port == 40000
    wire.stack.settings.set("ip_local_reserved_ports", "")
    assert wire.stack.ports.choose_to_bind("0.0.0.0") in (40001, 40003, 40005, 40006, 40007)


def test_reserved_ports_as_sysctl_takes_them() -> None:
    settings = Settings.of({"ip_local_reserved_ports": "8080, 9000-9010,1-4"})
    assert settings.ip_local_reserved_ports == ((8080, 8080), (9000, 9010), (1, 4))
    settings.set("ip_local_reserved_ports", 80)
    assert settings.ip_local_reserved_ports == ((80, 80),)
    for wrong in ("x", "9-8", "0", "70000", "1-2-3", "5-", (5,), ((1, 2, 3),), 3.5):
        with pytest.raises(SettingError, match="ip_local_reserved_ports"):
            settings.set("ip_local_reserved_ports", wrong)


# ---- tcp_tw_reuse ----


@pytest.mark.parametrize("ports", [(40000, 40000), (40000, 40099)])
def test_a_time_wait_is_taken_over_after_the_delay(ports: tuple[int, int]) -> None:
    wire = Wire(ip_local_port_range=ports, tcp_tw_reuse=1)
    count = ports[1] - ports[0] + 1
    first = []
    for _ in range(count):
        first.append(closed_first(wire)[1].handshake.flow.local_port)
        wire.now += 1_000_000
    # The youngest is a millisecond old, the oldest as many as there are ports.
    wire.now += (1000 - count) * 1_000_000
    with pytest.raises(OSError, match="every port"):
        wire.stack.connect(PEER, 80)
    wire.now += 1_000_000
    assert wire.stack.connect(PEER, 80).handshake.flow.local_port == first[0], "the oldest first"
    assert wire.counter("TWRecycled") == 1 and wire.stack.context.time_wait_count == count - 1
    if count > 1:
        with pytest.raises(OSError, match="every port"):
            wire.stack.connect(PEER, 80)
        wire.now += 500_000_000
        assert [wire.stack.connect(PEER, 80).handshake.flow.local_port for _ in range(count - 1)] == first[1:]
    with pytest.raises(OSError, match="every port"):
        wire.stack.connect(PEER, 80)


def test_the_delay_is_a_setting() -> None:
    wire = Wire(ip_local_port_range="40000 40000", tcp_tw_reuse=1, tcp_tw_reuse_delay=5)
    closed_first(wire)
    wire.now += 5_000_000
    with pytest.raises(OSError, match="every port"):
        wire.stack.connect(PEER, 80)
    wire.stack.settings.set("tcp_tw_reuse_delay", 4)
    wire.stack.connect(PEER, 80)


@pytest.mark.parametrize(
    ("settings", "stamped"), [({"tcp_tw_reuse": 0}, True), ({"tcp_tw_reuse": 2}, True), ({}, True), ({"tcp_tw_reuse": 1}, False)]
)
def test_when_it_is_not_taken_over(settings: dict[str, int], stamped: bool) -> None:
    """Switched off, not loopback (the default, as on Linux), or no timestamps."""
    for ports in ("40000 40000", "40000 40199"):
        wire = Wire(ip_local_port_range=ports, **settings)
        with pytest.raises(OSError, match="every port"):
            for _ in range(201):
                closed_first(wire, stamped=stamped)
        wire.now += 59_000_000_000
        with pytest.raises(OSError, match="every port"):
            wire.stack.connect(PEER, 80)
        wire.wait(2)
        wire.stack.connect(PEER, 80)


def test_a_free_port_comes_before_a_time_wait() -> None:
    wire = Wire(ip_local_port_range="40000 40003", tcp_tw_reuse=1)
    ports = set()
    for _ in range(4):
        ports.add(closed_first(wire)[1].handshake.flow.local_port)
        wire.now += 2_000_000_000
    assert len(ports) == 4 and wire.counter("TWRecycled") == 0


def test_loopback_is_what_2_is_for() -> None:
    wire = Wire(addresses=("127.0.0.1", STACK), ip_local_port_range="40000 40000")
    assert wire.stack.settings.tcp_tw_reuse == 2
    chooser = wire.stack.ports
    for local, loops, may in (("127.0.0.1", False, True), (STACK, False, False), (STACK, True, True)):
        chooser.loops = loops
        assert chooser.may_take_over(FourTuple(local, 1, local, 80)) is may


def test_who_names_the_port_has_it_back_at_once() -> None:
    """Linux asks a bound socket for timestamps and for nothing else (tcp_twsk_unique() without twp)."""
    wire = Wire(tcp_tw_reuse=0)
    closed_first(wire, local_port=40000)
    assert wire.stack.connect(PEER, 80, local_port=40000).handshake.flow.local_port == 40000
    with pytest.raises(OSError, match="in use"):
        wire.stack.connect(PEER, 80, local_port=40000)
    wire.sent()
    closed_first(wire, 81, stamped=False, local_port=40000)
    with pytest.raises(OSError, match="in use"):
        wire.stack.connect(PEER, 81, local_port=40000)


def test_numbers_and_timestamps_begin_behind_the_old_ones() -> None:
    wire = Wire(ip_local_port_range="40000 40000", tcp_tw_reuse=1)
    # So far ahead of the clock of sequence numbers that a new one would lie behind.
    closed_first(wire)
    (number,) = [n for n, endpoint in enumerate(wire.stack.context.endpoints) if isinstance(endpoint, TimeWait)]
    last = wire.stack.context.endpoints[number]
    assert isinstance(last, TimeWait)
    last.snd_nxt = last.snd_nxt + 500_000_000 & M
    old = last.snd_nxt, wire.now // 1_000_000 + last.handshake.ts_offset & M
    wire.now += 1_001_000_000
    wire.stack.connect(PEER, 80)
    (syn,) = wire.sent()
    assert syn[TCP].seq == (old[0] + 65537) & M
    options = dict(syn[TCP].options)
    assert options["Timestamp"] == ((old[1] + 1001) & M, 0)


def test_old_segments_of_the_connection_before_are_dropped() -> None:
    """Each that the peer sent then, once more, with numbers made to fit the new window: PAWS drops them all (RFC 7323 section 5.3)."""
    wire = Wire(ip_local_port_range="40000 40000", tcp_tw_reuse=1)
    before, _ = closed_first(wire, value=5000)
    wire.now += 1_001_000_000
    peer, connection = reopened(wire, 6001)
    assert wire.counter("TWRecycled") == 1
    kinds = [("A", 1, b""), ("PA", 1, b"your"), ("FA", 1, b""), ("FPA", 1, b"your"), ("SA", 0, b""), ("S", 1, b"")]
    for value in (5000, 5999, 6000):
        for flags, seq, data in kinds:
            old = wire.counter("PAWSEstab") + wire.counter("TCPSYNChallenge")
            peer.put(flags, seq, 1, data, options=stamp(value))
            assert wire.counter("PAWSEstab") + wire.counter("TCPSYNChallenge") == old + 1
    # As they were: from numbers of the old connection.
    for flags, seq, data in kinds:
        before.put(flags, seq, 5, data)
    assert connection.readable() == 0 and not connection.fin_received and connection.state == State.ESTABLISHED
    peer.put("PA", 1, 1, b"new", options=stamp(6002))
    assert connection.receive(10) == b"new"


def test_old_segments_while_it_opens_again() -> None:
    """None of them opens it, ends it, or is taken for an answer."""
    wire = Wire(ip_local_port_range="40000 40000", tcp_tw_reuse=1)
    before, _ = closed_first(wire, value=5000)
    wire.now += 1_001_000_000
    peer, connection, _ = call(wire, iss=2_000_000)
    for flags, seq, data in (("A", 5, b""), ("PA", 1, b"your"), ("FA", 5, b""), ("SA", 0, b""), ("R", 5, b""), ("RA", 5, b"")):
        before.put(flags, seq, 5, data)
        assert connection.state == State.SYN_SENT, flags
    assert wire.counter("PAWSEstab") == 0
    peer.put("S", 0, options=stamp(4999))
    assert wire.counter("PAWSEstab") == 1 and connection.state == State.SYN_SENT
    # A peer that has begun anew, and its clock with it, is let in by our number (tcp_rcv_synsent_state_process()).
    peer.put("SA", 0, 1, options=stamp(7))
    assert connection.state == State.ESTABLISHED


def churn(rate: int, seconds: float, ports: tuple[int, int], **settings: int) -> tuple[Twins, int]:
    """Connects at a rate to one destination, each closed by the client first; how many there were."""
    twins = Twins(
        Impairment(delay=100_000),
        settings_a={"ip_local_port_range": ports, "tcp_tw_reuse": 1, **settings},
        settings_b={"somaxconn": 65535, "tcp_max_syn_backlog": 65535},
        slots=1024,
    )
    listener = twins.b.listen("0.0.0.0", 80, 65535)
    step = 0.01
    opened: list[ActiveConnection] = []
    served: list[Connection] = []
    done = 0
    for _ in range(round(seconds / step)):
        opened += [twins.a.connect(SERVER, 80) for _ in range(round(rate * step))]
        twins.pass_time(step)
        while (connection := listener.accept()) is not None:
            served.append(connection)
        now = twins.clock()
        for connection in opened:
            assert connection.state == State.ESTABLISHED and not connection.error, (State(connection.state), connection.error)
            connection.close(now)
        done += len(opened)
        opened.clear()
        twins.pass_time(0.001)
        for connection in served:
            assert connection.fin_received and connection.readable() == 0
            connection.close(twins.clock())
        served.clear()
    return twins, done


def test_a_minute_of_connects_to_one_destination() -> None:
    """A hundredth of 20,000/s on a hundredth of the ports: each is used 42 times, and none is missing."""
    twins, done = churn(200, 60, (40000, 40281))
    counters = twins.a.counters
    assert done == 12_000 and counters.TcpActiveOpens == done and counters.TcpAttemptFails == 0
    assert counters.TWRecycled > done - 282 - 200 and counters.TcpOutRsts == 0 and twins.b.counters.TcpOutRsts == 0
    assert counters.PAWSEstab == 0


def test_without_it_the_minute_ends_early() -> None:
    with pytest.raises(OSError, match="every port"):
        churn(200, 60, (40000, 40281), tcp_tw_reuse=0)


class Tape(Wrapper):
    """What a stack sends, kept."""

    def __init__(self, end: LinkEnd) -> None:
        super().__init__(end)
        self.packets: deque[bytes] = deque(maxlen=400)

    def transmit(self, ring: PacketRing) -> int:
        self.packets.extend(bytes(ring.packet(i)) for i in range(len(ring)))
        return super().transmit(ring)


def test_old_packets_come_again_into_reused_ports() -> None:
    """Some of what either end sent with the same ports in the last seconds comes once more: neither takes any of it for new."""
    draw = Random(7)
    twins = Twins(Impairment(delay=100_000), settings_a={"ip_local_port_range": (40000, 40007), "tcp_tw_reuse": 1})
    tapes = Tape(twins.link.a), Tape(twins.link.b)
    twins.a.device, twins.b.device = tapes
    listener = twins.b.listen("0.0.0.0", 80)
    for turn in range(300):
        text = f"turn {turn} ".encode()
        client = twins.a.connect(SERVER, 80)
        twins.pass_time(0.001)
        server = listener.accept()
        assert server is not None and client.state == State.ESTABLISHED
        client.send(b"> " + text)
        server.send(b"< " + text)
        twins.pass_time(0.001)
        for tape, stack in zip(tapes, (twins.b, twins.a), strict=True):
            port = client.handshake.flow.local_port.to_bytes(2, "big")
            before = [packet for packet in tape.packets if port in (packet[20:22], packet[22:24])]
            for packet in draw.sample(before, min(16, len(before))):
                # As if it had been on its way since.
                stack.received.append(packet)
            stack.packets_arrive(twins.clock())
            stack.flush(twins.clock())
        twins.pass_time(0.001)
        assert client.receive(1000) == b"< " + text and server.receive(1000) == b"> " + text
        assert not client.fin_received and not server.fin_received and not client.error and not server.error
        client.close(twins.clock())
        twins.pass_time(0.001)
        assert server.fin_received and server.readable() == 0
        server.close(twins.clock())
        twins.pass_time(0.146)
    assert twins.a.counters.TWRecycled > 250
    assert twins.a.counters.PAWSEstab + twins.b.counters.PAWSEstab > 100


# ---- binding ----


def test_bind_without_a_port() -> None:
    """IP_BIND_ADDRESS_NO_PORT: the address is bound, and the port drawn by connect or listen."""
    twins = Twins()
    twins.b.listen("0.0.0.0", 80)
    driver = Driver(twins.a)
    sockets = [Socket(driver) for _ in range(3)]
    for socket in sockets:
        assert socket.getsockopt(0, IP_BIND_ADDRESS_NO_PORT) == 0
        socket.setsockopt(0, IP_BIND_ADDRESS_NO_PORT, 1)
        assert socket.getsockopt(0, IP_BIND_ADDRESS_NO_PORT) == 1
        socket.setblocking(False)
        socket.bind(("198.18.0.1", 0))
        assert socket.getsockname() == ("198.18.0.1", 0)
    assert twins.a.context.ports.owned_ports == 0
    for socket in sockets[:2]:
        with pytest.raises(BlockingIOError):
            socket.connect((SERVER, 80))
        host, port = socket.getsockname()
        assert host == "198.18.0.1" and 32768 <= port <= 60999 and port % 2 == 0
    assert twins.a.context.ports.owned_ports == 0
    sockets[2].listen()
    host, port = sockets[2].getsockname()
    assert host == "198.18.0.1" and port % 2 == 1 and twins.a.context.ports.owned_ports == 1
    for socket in sockets:
        socket.close()
    assert twins.a.context.ports.owned_ports == 0 and not driver.names._holders


def test_a_stack_of_many_addresses_tells_them_apart() -> None:
    """A bind to one of them sees the connections of that one, and finds a port that is taken on others alone."""
    wire = Wire(addresses=("198.18.0.0/24",), ip_local_port_range="40000 40199")
    for _ in range(200):
        wire.stack.connect(PEER, 80, "198.18.0.7")
    driver = Driver(wire.stack)
    assert wire.stack.has_connection("198.18.0.7", 40000) and not wire.stack.has_connection("198.18.0.8", 40000)
    with pytest.raises(OSError, match="in use"):
        Socket(driver).bind(("198.18.0.7", 0))
    with pytest.raises(OSError, match="in use"):
        Socket(driver).bind(("198.18.0.7", 40010))
    with pytest.raises(OSError, match="in use"):
        Socket(driver).bind(("0.0.0.0", 0))
    held = [Socket(driver) for _ in range(200)]
    for socket in held:
        socket.bind(("198.18.0.8", 0))
    assert {socket.getsockname()[1] for socket in held} == set(range(40000, 40200))
    with pytest.raises(OSError, match="in use"):
        Socket(driver).bind(("198.18.0.8", 0))
    held[0].close()
    held[0] = Socket(driver)
    held[0].bind(("198.18.0.8", 0))
    for socket in held:
        socket.close()
    with pytest.raises(OSError, match="every port"):
        wire.stack.connect(PEER, 80, "198.18.0.7")


# ---- who refers to whom ----


def listeners() -> int:
    """How many there are that somebody holds."""
    return sum(isinstance(thing, Listener) for thing in gc.get_objects())


@pytest.mark.parametrize("cookies", [1, 2])
def test_a_closed_listener_goes_while_its_connections_live(cookies: int) -> None:
    """Neither a connection nor its TIME-WAIT keeps it, also where the connection came by a cookie; without the collector."""
    gc.collect()
    gc.disable()
    try:
        before = listeners()
        wire = Wire(tcp_syncookies=cookies)
        listener = wire.stack.listen("0.0.0.0", 80)
        opened = [Peer(wire, sport=sport).open(listener) for sport in (40000, 40001)]
        opened[1].close(wire.now)
        (fin,) = wire.sent()
        last = Peer(wire, sport=40001)
        last.irs = fin[TCP].seq - 1
        last.put("FA", 1, 2)
        assert [State(connection.state) for connection in opened] == [State.ESTABLISHED, State.TIME_WAIT]
        assert listeners() == before + 1
        listener.close(wire.now)
        del listener
        assert listeners() == before and wire.stack.context.time_wait_count == 1
    finally:
        gc.enable()
