"""ICMP errors: who hears of them, and what they are believed (RFC 9293 sections 3.9.2.2 and 3.7.5, RFC 1191, RFC 5461, RFC 5927)."""

import errno

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import PEER, STACK, Peer, Wire, call, icmp

SOFT = [(3, 0, errno.ENETUNREACH), (3, 1, errno.EHOSTUNREACH), (3, 5, errno.EOPNOTSUPP), (3, 11, errno.ENETUNREACH),
        (3, 12, errno.EHOSTUNREACH), (11, 0, errno.EHOSTUNREACH), (11, 1, errno.EHOSTUNREACH), (12, 0, errno.EPROTO)]  # fmt: skip
HARD = [(3, 2, errno.ENOPROTOOPT), (3, 3, errno.ECONNREFUSED), (3, 6, errno.ENETUNREACH), (3, 7, errno.EHOSTDOWN),
        (3, 8, errno.ENONET), (3, 9, errno.ENETUNREACH), (3, 10, errno.EHOSTUNREACH), (3, 13, errno.EHOSTUNREACH),
        (3, 14, errno.EHOSTUNREACH), (3, 15, errno.EHOSTUNREACH)]  # fmt: skip
"""Type, code, and the errno that Linux makes of it (icmp_err_convert, tcp_v4_err())."""


class Owner:
    def wake(self) -> None:
        """Is told through ``take_ready``."""


def sending(wire: Wire, options: list | None = None, data: bytes = b"data") -> tuple[Peer, Connection, list[Packet]]:
    """An established connection with data on its way."""
    peer = Peer(wire)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), options)
    connection.send(data)
    return peer, connection, wire.sent()


@pytest.mark.parametrize(("kind", "code", "error"), SOFT)
def test_soft_errors_end_nothing(kind: int, code: int, error: int) -> None:
    """RFC 9293 MUST-56, SHLD-25: in SYN-SENT and in ESTABLISHED the program hears of it, and the connection goes on."""
    wire = Wire()
    _, calling, syn = call(wire)
    calling.owner = Owner()
    assert wire.put(icmp(syn, kind, code)) == []
    assert calling.state == State.SYN_SENT and calling.soft_error == error and calling.error == 0
    assert wire.stack.take_ready() == [calling]
    peer, connection, (packet,) = sending(wire)
    connection.owner = Owner()
    wire.put(icmp(packet, kind, code))
    assert connection.state == State.ESTABLISHED and connection.soft_error == error
    assert wire.stack.take_ready() == [connection]
    assert peer.put("A", 1, 5) == [] and connection.soft_error == 0, "what was acknowledged has arrived (tcp_ack())"


def test_a_soft_error_is_why_an_open_fails_in_the_end() -> None:
    """RFC 5461 section 2: the reason comes with the timeout."""
    wire = Wire()
    _, connection, syn = call(wire)
    wire.put(icmp(syn, 3, 1))
    wire.wait(127.5)
    assert connection.state == State.CLOSED and connection.error == errno.EHOSTUNREACH


def test_a_soft_error_is_why_a_connection_fails_in_the_end() -> None:
    wire = Wire(tcp_retries2=3)
    _, connection, (packet,) = sending(wire)
    wire.put(icmp(packet, 3, 0))
    wire.wait(100)
    assert connection.error == errno.ENETUNREACH


@pytest.mark.parametrize(("kind", "code", "error"), HARD)
@pytest.mark.parametrize("simultaneous", [False, True])
def test_hard_errors_end_an_open(kind: int, code: int, error: int, simultaneous: bool) -> None:
    """RFC 9293 SHLD-26: before the handshake is over, in SYN-SENT and SYN-RECEIVED."""
    wire = Wire()
    peer, connection, syn = call(wire)
    if simultaneous:
        (syn,) = peer.put("S", 0)
    wire.put(icmp(syn, kind, code))
    assert connection.state == State.CLOSED and connection.error == error
    assert wire.counter("TcpAttemptFails") == 1 and wire.wait(200) == []


@pytest.mark.parametrize(("kind", "code", "error"), HARD)
def test_hard_errors_end_no_established_connection(kind: int, code: int, error: int) -> None:
    """RFC 5927 section 4: anybody on the way could forge them."""
    wire = Wire()
    _peer, connection, (packet,) = sending(wire)
    wire.put(icmp(packet, kind, code))
    assert connection.state == State.ESTABLISHED and connection.soft_error == error
    connection.close(wire.now)
    (fin,) = wire.sent()
    wire.put(icmp(fin, kind, code))
    assert connection.state == State.FIN_WAIT_1
    assert [str(p[TCP].flags) for _, p in wire.wait(1.1)][:1] != []


@pytest.mark.parametrize("code", [16, 17, 255])
def test_a_code_that_nobody_defined_says_nothing(code: int) -> None:
    """Linux: NR_ICMP_UNREACH."""
    wire = Wire()
    _, calling, syn = call(wire)
    calling.owner = Owner()
    assert wire.put(icmp(syn, 3, code)) == []
    assert calling.state == State.SYN_SENT and calling.soft_error == 0 and wire.stack.take_ready() == []


@pytest.mark.parametrize("kind", [3, 11, 12])
def test_an_error_is_for_the_connection_that_it_quotes(kind: int) -> None:
    """RFC 9293 MUST-54: the one whose segment it was hears of it, and no other, though all differ in one port alone."""
    wire = Wire()
    connections = [call(wire, local_port=5000 + i)[1:] for i in range(3)]
    for connection, _ in connections:
        connection.owner = Owner()
    wire.put(icmp(connections[1][1], kind, 1))
    assert [connection.soft_error != 0 for connection, _ in connections] == [False, True, False]
    assert wire.stack.take_ready() == [connections[1][0]]
    assert wire.counter("OutOfWindowIcmps") == wire.counter("IcmpInErrors") == 0


def test_source_quench_is_ignored() -> None:
    """RFC 9293 MUST-55."""
    wire = Wire()
    _, connection, packets = sending(wire, [("MSS", 100)], b"x" * 500)
    connection.owner = Owner()
    cwnd = connection.sender.recovery.congestion.cwnd
    assert wire.put(icmp(packets[0], 4)) == []
    assert connection.sender.recovery.congestion.cwnd == cwnd and connection.soft_error == 0
    assert wire.stack.take_ready() == []


@pytest.mark.parametrize("off", [-1, -1000, 100, 0x7FFFFFFF])
def test_errors_about_what_is_not_on_its_way_are_not_believed(off: int) -> None:
    """RFC 5927 section 4.1: SND.UNA =< SEG.SEQ < SND.NXT."""
    wire = Wire()
    _, calling, syn = call(wire)
    forged = syn.copy()
    forged[TCP].seq = (forged[TCP].seq + off) & 0xFFFFFFFF
    wire.put(icmp(forged, 3, 3))
    assert calling.state == State.SYN_SENT and wire.counter("OutOfWindowIcmps") == 1
    _, connection, (packet,) = sending(wire)
    forged = packet.copy()
    forged[TCP].seq = (forged[TCP].seq + off) & 0xFFFFFFFF
    mss = connection.send_mss()
    wire.put(icmp(forged, 3, 4, nexthopmtu=100))
    assert connection.send_mss() == mss and wire.counter("OutOfWindowIcmps") == 2
    assert wire.counter("IcmpInDestUnreachs") == 2, "counted as they come (icmp_rcv())"


def test_errors_about_nobodys_segments() -> None:
    """Another 4-tuple, a listener's, another protocol's, or one's own that is over."""
    wire = Wire()
    wire.stack.listen("0.0.0.0", 80)
    stranger = IP(src=STACK, dst=PEER) / TCP(sport=80, dport=999, flags="A", seq=5)
    wire.put(icmp(stranger, 3, 3))
    wire.put(icmp(IP(src=STACK, dst=PEER) / UDP(sport=80, dport=53), 3, 3))
    assert wire.counter("IcmpInErrors") == 1 and wire.counter("IcmpInMsgs") == 2 and wire.counter("IcmpInDestUnreachs") == 2


@pytest.mark.parametrize("quoted", range(0, 28, 3))
def test_truncated_quotes_are_nobodys(quoted: int) -> None:
    """RFC 792 has 8 bytes of the segment quoted; with less it cannot be told whose it was."""
    wire = Wire()
    _, connection, syn = call(wire)
    assert wire.put(icmp(syn, 3, 3, quoted=quoted)) == []
    assert connection.state == State.SYN_SENT


@pytest.mark.parametrize("quoted", [28, 36, 40, 200])
def test_eight_quoted_bytes_are_enough(quoted: int) -> None:
    wire = Wire()
    _, connection, syn = call(wire)
    wire.put(icmp(syn, 3, 3, quoted=quoted))
    assert connection.error == errno.ECONNREFUSED


def test_a_bad_checksum() -> None:
    wire = Wire()
    _, connection, syn = call(wire)
    message = icmp(syn, 3, 3)
    message[ICMP].chksum = 1
    wire.put(message)
    assert connection.state == State.SYN_SENT and wire.counter("IcmpInCsumErrors") == 1


# ---- path MTU ----


def test_fragmentation_needed_makes_segments_smaller_and_sends_again() -> None:
    """RFC 1191: what was too large goes again at once, cut; CWND is not to blame for it."""
    wire = Wire()
    peer, connection, packets = sending(wire, [("MSS", 1460)], b"x" * 2920)
    assert [len(p[TCP].payload) for p in packets] == [1460, 1460]
    cwnd = connection.sender.recovery.congestion.cwnd
    sent = wire.put(icmp(packets[0], 3, 4, nexthopmtu=1000))
    assert sorted(peer.relative(p)[1] for p in sent) == sorted([1, 961, 1461, 2421]), "960 and 500 of each"
    assert all(len(p) <= 1000 for p in sent)
    assert wire.counter("TcpRetransSegs") == 4 and wire.counter("TCPRenoRecovery") == 0
    assert connection.sender.recovery.congestion.cwnd == cwnd
    peer.put("A", 1, 2921)
    connection.send(b"y" * 960)
    assert [len(p[TCP].payload) for p in wire.sent()] == [960], "and so it stays"
    assert wire.wait(300)[:1] != [] and wire.counter("TCPTimeouts") > 0


def test_what_fits_the_narrower_way_is_not_sent_again() -> None:
    """RFC 1191 section 3: the router dropped what was too large; what was smaller went through."""
    wire = Wire()
    peer, connection, _ = sending(wire, [("MSS", 1460)], b"x" * 1460)
    connection.nodelay = True
    connection.send(b"y" * 200)
    (small,) = wire.sent()
    assert peer.relative(small)[1] == 1461
    connection.send(b"z" * 1460)
    (last,) = wire.sent()
    sent = wire.put(icmp(last, 3, 4, nexthopmtu=1000))
    assert sorted(peer.relative(p)[1] for p in sent) == [1, 961, 1661, 2621]


def test_fragmentation_needed_with_timestamps() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn([("MSS", 1460), ("Timestamp", (5, 0))])
    peer.options = [("Timestamp", (6, 0))]
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    connection.send(b"x" * 1448)
    (packet,) = wire.sent()
    assert {len(p) <= 600 for p in wire.put(icmp(packet, 3, 4, nexthopmtu=600))} == {True}


def test_the_path_does_not_widen_by_icmp() -> None:
    wire = Wire()
    _, connection, (packet,) = sending(wire, [("MSS", 1000)], b"x" * 1000)
    assert wire.put(icmp(packet, 3, 4, nexthopmtu=9000)) == []
    assert connection.send_mss() == 1000


def test_the_path_does_not_narrow_without_bound() -> None:
    """tcp_min_snd_mss: below it, headers would outweigh data."""
    wire = Wire(tcp_min_snd_mss=200, min_pmtu=68)
    _, connection, (packet, *_) = sending(wire, [("MSS", 1460)], b"x" * 1460)
    wire.put(icmp(packet, 3, 4, nexthopmtu=70))
    assert connection.send_mss() == 200


@pytest.mark.parametrize("mtu", [0, 20, 67])
def test_a_router_that_does_not_say_how_much_it_takes(mtu: int) -> None:
    """RFC 1191 section 5: routers older than it leave 0 there, and no link takes less than 68 (RFC 791): 576 is the guess."""
    wire = Wire()
    _, connection, (packet, *_) = sending(wire, [("MSS", 1460)], b"x" * 1460)
    assert {len(p) for p in wire.put(icmp(packet, 3, 4, nexthopmtu=mtu))} <= set(range(40, 577))
    assert connection.send_mss() == 536


# ---- whether a program wants to hear ----


def test_errors_are_reported_to_an_owner_and_kept_without_one() -> None:
    """RFC 9293 MUST-47, SHLD-20: a program that sets no owner is not called; what was said last can be looked up."""
    wire = Wire()
    _, connection, (packet,) = sending(wire)
    wire.put(icmp(packet, 3, 1))
    assert wire.stack.take_ready() == [] and connection.soft_error == errno.EHOSTUNREACH


def test_an_error_in_the_batch_that_ends_the_connection() -> None:
    wire = Wire()
    peer, connection, syn = call(wire)
    assert wire.put(peer.packet("RA", 0, 1), icmp(syn, 3, 3)) == []
    assert connection.error == errno.ECONNREFUSED
