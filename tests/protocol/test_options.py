"""What a program's options do to a connection, in virtual time: timers that they start, and what a SYN shows of them."""

import pytest
from scapy.layers.inet import IP, TCP

from fastnet.devices.impairment import Impairment
from fastnet.sockopt import offer_window, receive_buffer, set_cork
from fastnet.tcp.opening import ActiveConnection
from fastnet.tcp.states import State
from fastnet.twins import Twins
from tests.peer import PEER, SECOND, STACK, Peer, Wire


def test_keepalive_leaves_data_on_its_way_to_its_own_timer() -> None:
    """Silence for longer than the idle time, while something is sent again: no probe, and above all no end."""
    wire = Wire()
    connection = Peer(wire).open(wire.stack.listen(STACK, 80))
    patience = connection.need_patience()
    patience.keepalive = True
    patience.idle = SECOND
    connection.watch()
    connection.send(b"x")
    assert len(wire.sent()) == 1
    again = wire.wait(10)
    assert [round(at) for at, _ in again] == [1, 3, 7]
    assert all(bytes(packet[TCP].payload) == b"x" for _, packet in again)
    assert connection.state == State.ESTABLISHED and wire.counter("TCPKeepAlive") == 0


def test_keepalive_waits_for_the_handshake() -> None:
    wire = Wire(tcp_syn_retries=2)

    def prepare(connection: ActiveConnection) -> None:
        connection.need_patience().keepalive = True
        connection.need_patience().idle = SECOND
        connection.watch()

    connection = wire.stack.connect(PEER, 80, prepare=prepare)
    assert [str(packet[TCP].flags) for packet in wire.sent()] == ["S"]
    assert [(round(at), str(packet[TCP].flags)) for at, packet in wire.wait(6.5)] == [(1, "S"), (3, "S")]
    wire.wait(1)
    assert connection.state == State.CLOSED


def test_a_syn_shows_what_was_asked_for() -> None:
    """TCP_MAXSEG, SO_RCVBUF, IP_TTL and IP_TOS are in the first SYN already."""
    wire = Wire()

    def prepare(connection: ActiveConnection) -> None:
        connection.handshake.user_mss = 700
        connection.limit_receiving(200_000)
        connection.change_path(ttl=3, tos=0x10)

    connection = wire.stack.connect(PEER, 80, prepare=prepare)
    (syn,) = wire.sent()
    options = dict(syn[TCP].options)
    assert (options["MSS"], options["WScale"], syn[TCP].window) == (700, 2, 65535)
    assert (syn[IP].ttl, syn[IP].tos) == (3, 0x10)
    peer = Peer(wire, port=syn[TCP].sport, sport=80)
    peer.irs = syn[TCP].seq
    peer.put("SA", options=[("MSS", 1460)])
    assert connection.state == State.ESTABLISHED and connection.send_mss() == 700


def test_a_small_receive_buffer_bounds_the_window() -> None:
    wire = Wire()
    connection = wire.stack.connect(PEER, 80, prepare=lambda connection: connection.limit_receiving(5000))
    (syn,) = wire.sent()
    assert syn[TCP].window == 5000
    peer = Peer(wire, port=syn[TCP].sport, sport=80)
    peer.irs = syn[TCP].seq
    peer.put("SA")
    peer.put("A", 1, data=bytes(1460))
    (ack,) = peer.put("A", 1461, data=bytes(1460)) or [wire.wait(1)[0][1]]
    assert ack[TCP].window == 5000 - 2920
    assert len(connection.receive(5000)) == 2920


def test_a_send_buffer_bounds_what_is_queued() -> None:
    wire = Wire()
    connection = Peer(wire).open(wire.stack.listen(STACK, 80))
    connection.limit_sending(1000)
    assert connection.writable() == 1000
    assert connection.send(bytes(2000)) == 1000 and connection.send(b"x") == 0
    connection.limit_sending(1500)
    assert connection.send(bytes(2000)) == 500


def test_urgent_data_before_the_handshake_is_over() -> None:
    """The pointer counts from the first byte, not from the SYN."""
    twins = Twins(Impairment(delay=1_000_000))
    listener = twins.b.listen("0.0.0.0", 80)
    client = twins.a.connect("198.18.0.2", 80)
    client.send_urgent(b"now!")
    client.send(b" and later")
    accepted = []

    def arrived() -> bool:
        connection = listener.accept()
        if connection is not None:
            accepted.append(connection)
        return bool(accepted) and accepted[0].readable() == 14

    twins.run(arrived, 5)
    assert accepted[0].urgent_left() == 4


def test_ports_that_programs_bound_are_not_chosen() -> None:
    wire = Wire(ip_local_port_range="40000 40003")
    wire.stack.context.ports.hold("0.0.0.0", 40000, True)
    wire.stack.context.ports.hold("0.0.0.0", 40002, True)
    ports = {wire.stack.connect(PEER, 80).handshake.flow.local_port for _ in range(2)}
    assert ports == {40001, 40003}


def test_ports_for_bind_come_each_once_and_the_other_half_first() -> None:
    for low, high in ((40000, 40009), (40000, 40008), (40001, 40001)):
        for _ in range(3):
            wire = Wire(ip_local_port_range=(low, high))
            drawn = []
            while (port := wire.stack.ports.choose_to_bind("0.0.0.0")) >= 0:
                drawn.append(port)
                wire.stack.context.ports.hold("0.0.0.0", port, True)
            assert sorted(drawn) == list(range(low, high + 1))
            other = [port for port in range(low, high + 1) if port % 2 != low % 2]
            assert sorted(drawn[: len(other)]) == other


def test_without_sack_every_segment_out_of_order_is_acknowledged() -> None:
    """Also within a batch: a peer that counts duplicate ACKs retransmits at the third (RFC 5681 section 4.2)."""
    wire = Wire()
    peer = Peer(wire)
    peer.open(wire.stack.listen(STACK, 80))
    answers = wire.put(*(peer.packet("A", 1 + 100 * n, data=bytes(100)) for n in (1, 2, 3)))
    assert [peer.relative(answer) for answer in answers] == [("A", 1, 1, b"")] * 3
    assert len({answer[TCP].window for answer in answers}) == 1


def test_an_ack_that_comes_when_the_timer_is_due_counts_first() -> None:
    """One round has both: nothing is probed or sent again, be it a tail loss probe or a timeout that was due."""
    wire = Wire()
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen(STACK, 80))
    acked = 1
    for late in (0.01, 0.05, 0.3, 3.0):
        connection.send(b"0123456789")
        assert len(wire.sent()) == 1
        wire.now += round(late * SECOND)
        acked += 10
        assert peer.put("A", 1, acked) == []
        assert wire.counter("TCPTimeouts") == wire.counter("TCPLossProbes") == wire.counter("TcpRetransSegs") == 0
        assert connection.sender is not None and connection.sender.deadline == 0


def test_the_socket_option_reaches_the_cork() -> None:
    """TCP_CORK through the table of socket options: off before there is anything to send, on, and off again."""
    wire = Wire()
    connection = Peer(wire).open(wire.stack.listen(STACK, 80))
    set_cork(connection, 0)
    assert connection.sender is None, "nothing is made for an option that says what is so anyway"
    set_cork(connection, 1)
    connection.send(b"x")
    assert wire.sent() == []
    set_cork(connection, 0)
    assert [bytes(packet[TCP].payload) for packet in wire.sent()] == [b"x"]


@pytest.mark.parametrize(("asked", "window", "shift"), [(2304, 1152, 0), (131_070, 65535, 0), (131_072, 65535, 1), (400_000, 65535, 2)])
def test_a_listeners_receive_buffer_is_what_a_syn_ack_offers(asked: int, window: int, shift: int) -> None:
    """socket(7), SO_RCVBUF, which getsockopt reports doubled; half is for the bytes (tcp_win_from_space()), the scale fits them."""
    wire = Wire()
    listener = wire.stack.listen(STACK, 80)
    offer_window(listener, asked)
    synack = Peer(wire).syn([("WScale", 7)])
    assert (synack[TCP].window, dict(synack[TCP].options)["WScale"]) == (window, shift)


def test_what_so_rcvbuf_says() -> None:
    """What was set; else the connection's buffer, as it grows (tcp(7), tcp_rmem); else the default of a new one."""
    wire = Wire(tcp_rmem=(4096, 50_000, 1_000_000))
    settings = wire.stack.context.settings
    connection = Peer(wire).open(wire.stack.listen(STACK, 80))
    assert receive_buffer(None, None, settings) == receive_buffer(None, connection, settings) == 50_000
    assert receive_buffer(9000, connection, settings) == receive_buffer(9000, None, settings) == 9000
    connection.need_receiver(wire.now)
    connection.limit_receiving(70_000)
    assert receive_buffer(None, connection, settings) == 70_000
