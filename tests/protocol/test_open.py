"""The active open, from CLOSED to ESTABLISHED, and every way in which it fails (RFC 9293 sections 3.5, 3.9.1.1, 3.10.7.3)."""

import errno
import itertools
from random import Random

import pytest
from scapy.layers.inet import IP, TCP

from fastnet.devices import MemoryDevice
from fastnet.stack import Stack
from fastnet.tcp.isn import IsnGenerator
from fastnet.tcp.states import State
from tests.peer import PEER, SECOND, STACK, M, Peer, Wire, call


def stamp(value: int, echo: int = 0) -> list:
    return [("Timestamp", (value, echo))]


# ---- the SYN ----


def test_the_syn_offers_what_linux_offers() -> None:
    wire = Wire()
    _peer, connection, syn = call(wire)
    tcp = syn[TCP]
    assert (str(tcp.flags), tcp.ack, tcp.dport, len(tcp.payload)) == ("S", 0, 80, 0)
    assert [name for name, _ in tcp.options] == ["MSS", "SAckOK", "Timestamp", "NOP", "WScale"]
    options = dict(tcp.options)
    assert options["MSS"] == 1460 and options["WScale"] == 7 and options["Timestamp"][1] == 0
    assert connection.state == State.SYN_SENT and wire.counter("TcpActiveOpens") == 1


def test_the_syn_offers_what_the_settings_say() -> None:
    wire = Wire(mtu=600, tcp_timestamps=0, tcp_sack=0, tcp_window_scaling=0)
    _, _, syn = call(wire)
    assert syn[TCP].options == [("MSS", 560)]


@pytest.mark.parametrize("local", [None, "198.18.0.3"])
def test_source_address(local: str | None) -> None:
    """RFC 9293 MUST-44: the stack names one where the program does not; MUST-45: every segment has it."""
    wire = Wire(addresses=(STACK, "198.18.0.3"))
    connection = wire.stack.connect(PEER, 80, local)
    (syn,) = wire.sent()
    expected = local or STACK
    assert syn[IP].src == expected
    peer = Peer(wire, port=syn[TCP].sport, sport=80, target=expected)
    peer.irs = syn[TCP].seq
    peer.put("SA", 0, 1)
    connection.send(b"x")
    assert {p[IP].src for p in [*wire.sent(), *(p for _, p in wire.wait(10))]} == {expected}


def test_a_stack_without_addresses_has_to_be_told() -> None:
    with pytest.raises(ValueError, match="which one"):
        Wire(addresses=()).stack.connect(PEER, 80)
    with pytest.raises(OSError, match="not an address") as caught:
        Wire().stack.connect(PEER, 80, "198.18.0.77")
    assert caught.value.errno == errno.EADDRNOTAVAIL


@pytest.mark.parametrize("address", ["224.0.0.1", "239.255.255.255", "255.255.255.255", "0.0.0.0", "127.0.0.1"])
def test_nobody_can_have_that_address(address: str) -> None:
    """RFC 9293 MUST-46."""
    wire = Wire()
    with pytest.raises(OSError, match=address) as caught:
        wire.stack.connect(address, 80)
    assert caught.value.errno == errno.ENETUNREACH
    assert wire.sent() == [] and wire.counter("TcpActiveOpens") == 0


def test_a_port_is_1_to_65535() -> None:
    wire = Wire()
    for ports in ((0, 0), (65536, 0), (-1, 0), (80, 65536), (80, -1)):
        with pytest.raises(ValueError, match="a port is"):
            wire.stack.connect(PEER, ports[0], local_port=ports[1])


# ---- the answer ----


def test_three_way_handshake() -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    answers = peer.put("SA", 0, 1, options=[("MSS", 1000)])
    assert [peer.relative(p) for p in answers] == [("A", 1, 1, b"")]
    assert connection.state == State.ESTABLISHED and wire.counter("TcpCurrEstab") == 1
    connection.send(b"x" * 1500)
    assert [len(peer.relative(p)[3]) for p in wire.sent()] == [1000], "the peer's MSS"
    assert connection.writable() > 0
    assert peer.put("PA", 1, 1001, b"answer") and connection.receive(99) == b"answer"


def test_options_that_both_have() -> None:
    wire = Wire()
    peer, connection, syn = call(wire)
    ours = dict(syn[TCP].options)["Timestamp"][0]
    ack = peer.put("SA", 0, 1, options=[("MSS", 1460), ("SAckOK", b""), *stamp(77, ours), ("WScale", 3)])[0]
    assert dict(ack[TCP].options)["Timestamp"] == (ours, 77)
    assert connection.handshake.sack and connection.handshake.snd_shift == 3
    assert connection.snd_wnd == 64240, "the window of a SYN is not scaled"
    peer.put("A", 1, 1, window=1000, options=stamp(78, ours))
    assert connection.snd_wnd == 8000


def test_options_that_the_peer_does_not_have() -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    ack = peer.put("SA", 0, 1)[0]
    assert ack[TCP].options == [] and ack[TCP].window == 65535
    handshake = connection.handshake
    assert (handshake.sack, handshake.timestamps, handshake.wscale, handshake.snd_shift, handshake.rcv_shift) == (0, 0, 0, 0, 0)
    connection.send(b"x" * 1000)
    assert [len(peer.relative(p)[3]) for p in wire.sent()] == [536], "MUST-15"


def test_what_is_sent_before_the_handshake_is_over_waits() -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    assert connection.send(b"early") == 5
    assert wire.sent() == []
    answers = peer.put("SA", 0, 1)
    assert [peer.relative(p) for p in answers] == [("PA", 1, 1, b"early")], "and takes the ACK along"


def test_synack_with_data() -> None:
    """RFC 9293 section 3.10.7.3: text of the SYN-ACK is taken."""
    wire = Wire()
    peer, connection, _ = call(wire)
    answers = peer.put("SA", 0, 1, b"hello")
    assert [peer.relative(p) for p in answers] == [("A", 1, 6, b"")]
    assert connection.receive(99) == b"hello"


def test_synack_with_fin() -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    answers = peer.put("FSA", 0, 1, b"bye")
    assert [peer.relative(p) for p in answers] == [("A", 1, 5, b"")]
    assert connection.state == State.CLOSE_WAIT and connection.receive(99) == b"bye"


def test_synack_again_is_acknowledged_again() -> None:
    """Our ACK was lost."""
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("SA", 0, 1)
    wire.wait(1)
    assert [peer.relative(p) for p in peer.put("SA", 0, 1)] == [("A", 1, 1, b"")]
    assert connection.state == State.ESTABLISHED


# ---- no answer ----


def test_the_syn_comes_again_as_linux_has_it() -> None:
    """RFC 9293 MUST-22: after 1, 3, 7, 15, 31, 63 s; given up at 127 s."""
    wire = Wire()
    peer, connection, syn = call(wire)
    sent = wire.wait(126.9)
    assert [round(when, 2) for when, _ in sent] == [1, 3, 7, 15, 31, 63]
    assert {peer.relative(p)[:2] for _, p in sent} == {("S", 0)}
    assert sent[0][1][TCP].options[0] == syn[TCP].options[0]
    assert connection.state == State.SYN_SENT
    assert wire.wait(0.2) == []
    assert connection.state == State.CLOSED and connection.error == errno.ETIMEDOUT
    assert wire.counter("TCPSynRetrans") == 6 and wire.counter("TCPTimeouts") == 7 and wire.counter("TcpAttemptFails") == 1
    assert len(wire.stack.context.demux) == 0 and len(wire.stack.context.timers) == 0


def test_seven_retries_take_more_than_three_minutes() -> None:
    """RFC 9293 MUST-23, by a setting: the default is Linux's."""
    wire = Wire(tcp_syn_retries=7)
    _, connection, _ = call(wire)
    sent = wire.wait(246)
    assert [round(when, 2) for when, _ in sent] == [1, 3, 7, 15, 31, 63, 127]
    assert connection.state == State.SYN_SENT and sent[-1][0] < 180
    wire.wait(2)
    assert connection.error == errno.ETIMEDOUT, "at 247 s: two minutes are the longest wait"


def test_the_user_timeout_ends_an_open_on_time() -> None:
    wire = Wire()
    _, connection, _ = call(wire)
    connection.need_patience().set_user_timeout(5000)
    connection.watch()
    wire.wait(4.9)
    assert connection.state == State.SYN_SENT
    wire.wait(0.2)
    assert connection.error == errno.ETIMEDOUT


def test_an_answer_to_the_second_syn() -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    wire.wait(1.5)
    peer.put("SA", 0, 1, options=[("MSS", 1460)])
    assert connection.state == State.ESTABLISHED and connection.handshake.rtt == 0, "Karn's rule"
    assert wire.wait(300) == []


# ---- answers that refuse ----


def test_refused() -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    assert peer.put("RA", 0, 1) == []
    assert connection.state == State.CLOSED and connection.error == errno.ECONNREFUSED
    assert wire.counter("TcpAttemptFails") == 1 and wire.wait(300) == []
    with pytest.raises(OSError, match="ECONNREFUSED"):
        connection.send(b"x")


@pytest.mark.parametrize(("flags", "ack"), [("R", 0), ("RA", 2), ("RA", 0)])
def test_a_rst_that_does_not_acknowledge_our_syn_is_ignored(flags: str, ack: int) -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    assert peer.put(flags, 0, ack) == []
    assert connection.state == State.SYN_SENT
    assert wire.counter("TcpInStrayRsts") == 1, "what is dropped is counted"


@pytest.mark.parametrize("flags", ["A", "SA", "FA"])
@pytest.mark.parametrize("ack", [0, 2, -1, 0x7FFFFFFF])
def test_a_wrong_ack_is_reset(flags: str, ack: int) -> None:
    """RFC 9293 section 3.10.7.3, first check; the half-open connection of section 3.5.1."""
    wire = Wire()
    peer, connection, _ = call(wire)
    answers = peer.put(flags, 0, ack)
    assert [(str(a[TCP].flags), a[TCP].seq) for a in answers] == [("R", (peer.irs + ack) & M)]
    assert connection.state == State.SYN_SENT


def test_segments_without_syn_are_dropped() -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    for flags in ("A", "PA", "FA", "F", ""):
        assert peer.put(flags, 0, 1) == []
    assert connection.state == State.SYN_SENT and wire.counter("TcpInNoFlags") == 5


@pytest.mark.parametrize("off", [-1, 50, 0x7FFFFFFF])
def test_a_synack_that_echoes_what_we_did_not_send(off: int) -> None:
    """PAWS of the SYN-ACK (tcp_rcv_synsent_state_process())."""
    wire = Wire()
    peer, connection, syn = call(wire)
    ours = dict(syn[TCP].options)["Timestamp"][0]
    assert [str(p[TCP].flags) for p in peer.put("SA", 0, 1, options=stamp(9, (ours + off) & M))] == ["R"]
    assert connection.state == State.SYN_SENT and wire.counter("PAWSActive") == 1
    peer.put("SA", 0, 1, options=stamp(9, ours))
    assert connection.state == State.ESTABLISHED


# ---- simultaneous open ----


def test_simultaneous_open() -> None:
    """RFC 9293 MUST-10, figure 7."""
    wire = Wire()
    peer, connection, _ = call(wire)
    answers = peer.put("S", 0, options=[("MSS", 1000)])
    assert [peer.relative(p)[:3] for p in answers] == [("SA", 0, 1)]
    assert connection.state == State.SYN_RECEIVED
    answers = peer.put("SA", 0, 1)
    assert [peer.relative(p) for p in answers] == [("A", 1, 1, b"")]
    assert connection.state == State.ESTABLISHED and wire.counter("TcpCurrEstab") == 1
    peer.put("PA", 1, 1, b"data")
    assert connection.receive(9) == b"data"


def test_simultaneous_open_ended_by_a_bare_ack() -> None:
    """The peer was established by our SYN-ACK before its own was sent."""
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("S", 0)
    assert peer.put("A", 1, 1) == []
    assert connection.state == State.ESTABLISHED
    assert wire.wait(100) == []


def test_simultaneous_open_ended_by_data() -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("S", 0)
    assert [peer.relative(p) for p in peer.put("FPA", 1, 1, b"data")] == [("A", 1, 6, b"")]
    assert connection.state == State.CLOSE_WAIT and connection.receive(9) == b"data"


def test_segments_of_a_simultaneous_open_are_counted() -> None:
    """TCP_INFO's tcpi_segs_in has all that came in, those of the handshake too."""
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("S", 0)
    peer.put("S", 0)
    peer.put("A", 1, 1)
    assert connection.segs_in == 3
    peer.put("PA", 1, 1, b"data")
    assert connection.segs_in == 4


def test_the_synack_of_a_simultaneous_open_waits_a_second_of_its_own() -> None:
    """It has a timer of its own (RFC 6298 section 2.1: 1 s before the first measurement), not what was left of the SYN's."""
    wire = Wire(tcp_synack_retries=3)
    peer, _connection, _ = call(wire)
    wire.wait(1.5)
    assert [peer.relative(p)[:3] for p in peer.put("S", 0)] == [("SA", 0, 1)]
    assert [round(when, 2) for when, _ in wire.wait(1.2)] == [1]


def test_simultaneous_open_with_a_lost_synack() -> None:
    wire = Wire(tcp_synack_retries=2)
    peer, connection, _ = call(wire)
    peer.put("S", 0)
    assert [(round(when, 2), peer.relative(p)[:3]) for when, p in wire.wait(3.5)] == [(1, ("SA", 0, 1)), (3, ("SA", 0, 1))]
    assert [peer.relative(p)[:3] for p in peer.put("S", 0)] == [("SA", 0, 1)], "its SYN again: our answer again"
    wire.wait(10)
    assert connection.state == State.CLOSED and connection.error == errno.ETIMEDOUT


def test_both_ends_of_a_simultaneous_open_are_ours() -> None:
    """Two stacks call each other from the same ports; their SYNs cross."""
    wires = [Wire(addresses=("198.18.0.1",)), Wire(addresses=("198.18.0.2",))]
    ends = [
        wires[0].stack.connect("198.18.0.2", 5000, local_port=4000),
        wires[1].stack.connect("198.18.0.1", 4000, local_port=5000),
    ]
    moving = [wires[0].sent(), wires[1].sent()]
    for _ in range(4):
        moving = [wires[0].put(*moving[1]), wires[1].put(*moving[0])]
    assert moving == [[], []]
    assert [end.state for end in ends] == [State.ESTABLISHED] * 2
    ends[0].send(b"hello")
    wires[1].put(*wires[0].sent())
    assert ends[1].receive(9) == b"hello"


def test_syns_in_a_simultaneous_open() -> None:
    """RFC 9293 section 3.10.7.4, SYN-RECEIVED: its SYN again gets the SYN-ACK again; a SYN with another number is challenged (RFC 5961
    section 4), even one that acknowledges ours."""
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("S", 0)
    assert [peer.relative(p)[:3] for p in peer.put("S", 0)] == [("SA", 0, 1)]
    assert wire.counter("TcpInNoFlags") == 0 and connection.state == State.SYN_RECEIVED
    for flags in ("SA", "S"):
        wire.wait(0.6)
        assert [peer.relative(p)[:3] for p in peer.put(flags, 100, 1)] == [("A", 1, 1)]
        assert connection.state == State.SYN_RECEIVED
    assert wire.counter("TCPChallengeACK") == 2 and wire.counter("TcpInNoFlags") == 0
    assert [peer.relative(p)[:3] for p in peer.put("SA", 0, 1)] == [("A", 1, 1)]
    assert connection.state == State.ESTABLISHED


def test_syn_received_remembers_where_it_came_from() -> None:
    """RFC 9293 MUST-11: refused after an active open, the program hears of it; a listener does not."""
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("S", 0)
    peer.put("R", 1)
    assert connection.state == State.CLOSED and connection.error == errno.ECONNREFUSED
    listener = wire.stack.listen("0.0.0.0", 81)
    passive = Peer(wire, port=81)
    passive.syn()
    passive.put("R", 1)
    assert not listener.syn_queue and not listener.accept_queue and not listener.closed


@pytest.mark.parametrize(("flags", "seq", "ack", "answer"), [
    ("R", 5, None, "A"), ("S", 5, None, "A"), ("A", 100_000, 1, "A"), ("A", 1, 7, "R"), ("R", 100_000, None, None), ("P", 1, None, None),
])  # fmt: skip
def test_what_does_not_complete_a_simultaneous_open(flags: str, seq: int, ack: int | None, answer: str | None) -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("S", 0)
    answers = peer.put(flags, seq, ack)
    assert [str(p[TCP].flags) for p in answers] == ([answer] if answer else [])
    assert connection.state == State.SYN_RECEIVED


# ---- giving up ----


@pytest.mark.parametrize("call_name", ["close", "abort"])
def test_close_in_syn_sent(call_name: str) -> None:
    """RFC 9293 sections 3.10.4 and 3.10.5: nothing to end; a SYN-ACK that comes now is reset."""
    wire = Wire()
    peer, connection, _ = call(wire)
    getattr(connection, call_name)(wire.now)
    assert wire.sent() == [] and connection.state == State.CLOSED
    assert [str(p[TCP].flags) for p in peer.put("SA", 0, 1)] == ["R"]
    assert wire.wait(300) == [] and len(wire.stack.context.demux) == 0


def test_shutdown_in_syn_sent() -> None:
    """RFC 9293 section 3.10.4: the TCB is deleted, and what was queued fails; Linux says ECONNRESET."""
    wire = Wire()
    peer, connection, _ = call(wire)
    connection.owner = owner = object()
    connection.send(b"queued")
    connection.shutdown()
    assert wire.sent() == [] and connection.state == State.CLOSED
    assert [each.owner for each in wire.stack.take_ready()] == [owner], "who owns it is told"
    with pytest.raises(ConnectionResetError):
        connection.send(b"more")
    assert [str(p[TCP].flags) for p in peer.put("SA", 0, 1)] == ["R"]
    assert wire.wait(300) == [] and len(wire.stack.context.demux) == len(wire.stack.context.timers) == 0
    assert wire.stack.context.orphans == 0
    connection.close(wire.now)
    assert wire.stack.context.orphans == 0


@pytest.mark.parametrize("data", [b"", b"last"])
def test_shutdown_in_syn_received(data: bytes) -> None:
    """The FIN follows what was queued before it, once the handshake is complete; nothing may be queued behind it."""
    wire = Wire()
    peer, connection, _ = call(wire)
    if data:
        connection.send(data)
    peer.put("S", 0)
    connection.shutdown()
    connection.shutdown()
    assert wire.sent() == [] and connection.state == State.SYN_RECEIVED and connection.writable() == 0
    with pytest.raises(BrokenPipeError):
        connection.send(b"too late")
    size = len(data)
    assert [peer.relative(p) for p in peer.put("A", 1, 1)] == [("FPA" if data else "FA", 1, 1, data)]
    assert connection.state == State.FIN_WAIT_1
    peer.put("PA", 1, 2 + size, b"but still to receive")
    assert connection.receive(99) == b"but still to receive" and connection.state == State.FIN_WAIT_2
    peer.put("FA", 21, 2 + size)
    assert connection.state in (State.TIME_WAIT, State.CLOSED)


def test_close_in_syn_received() -> None:
    """RFC 9293 section 3.10.4: queued until the handshake is complete."""
    wire = Wire()
    peer, connection, _ = call(wire)
    connection.send(b"last")
    peer.put("S", 0)
    connection.close(wire.now)
    assert wire.sent() == []
    assert [peer.relative(p) for p in peer.put("A", 1, 1)] == [("FPA", 1, 1, b"last")]
    assert connection.state == State.FIN_WAIT_1


def test_abort_in_syn_received() -> None:
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("S", 0)
    connection.abort(wire.now)
    assert [peer.relative(p)[:2] for p in wire.sent()] == [("RA", 1)]
    assert connection.state == State.CLOSED


# ---- local ports ----


def chosen(stack: Stack, count: int, remote: str = PEER, port: int = 80) -> list[int]:
    return [stack.connect(remote, port).handshake.flow.local_port for _ in range(count)]


def stack_of(seed: int, **settings: object) -> Stack:
    return Stack(MemoryDevice(1500), (STACK,), settings, clock=lambda: SECOND, random=Random(seed).randbytes)


def test_ports_are_in_range_and_differ() -> None:
    ports = chosen(stack_of(1, ip_local_port_range=(40000, 40099)), 100)
    assert sorted(ports) == list(range(40000, 40100)), "every one of them, each once"


def test_ports_in_use_or_listened_on_are_not_chosen() -> None:
    stack = stack_of(1, ip_local_port_range=(40000, 40004))
    stack.listen("0.0.0.0", 40001)
    stack.listen(STACK, 40002)
    stack.connect(PEER, 80, local_port=40003)
    assert sorted(chosen(stack, 2)) == [40000, 40004]
    with pytest.raises(OSError, match="every port") as caught:
        stack.connect(PEER, 80)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    assert sorted(chosen(stack, 3, port=81)) == [40000, 40003, 40004], "to another port there are still some"
    with pytest.raises(OSError, match="in use") as caught:
        stack.connect(PEER, 80, local_port=40003)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_port_in_time_wait_is_not_chosen() -> None:
    wire = Wire(ip_local_port_range=(40000, 40000))
    peer, connection, _ = call(wire)
    peer.put("SA", 0, 1)
    connection.close(wire.now)
    wire.sent()
    peer.put("FA", 1, 2)
    assert wire.stack.context.time_wait_count == 1
    with pytest.raises(OSError, match="every port"):
        wire.stack.connect(PEER, 80)
    wire.wait(61)
    wire.stack.connect(PEER, 80)


def chi_square(values: list[int], low: int, high: int, bins: int) -> float:
    counts = [0] * bins
    for value in values:
        counts[(value - low) * bins // (high - low)] += 1
    expected = len(values) / bins
    return sum((count - expected) ** 2 / expected for count in counts)


def test_first_ports_cannot_be_foretold() -> None:
    """RFC 6056: under another secret, or towards another peer, another port; each as likely as any other."""
    # 39 degrees of freedom: beyond 72 in one of a thousand.
    by_secret = [chosen(stack_of(seed), 1)[0] for seed in range(400)]
    assert chi_square(by_secret, 32768, 61000, 40) < 72
    stack = stack_of(7)
    by_peer = [chosen(stack, 1, f"10.{i >> 8}.{i & 255}.1")[0] for i in range(1500)]
    assert chi_square(by_peer, 32768, 61000, 40) < 72
    assert len({b - a for a, b in itertools.pairwise(by_peer)}) > 1000, "and one does not tell the next"


def test_first_sequence_numbers_cannot_be_foretold() -> None:
    """RFC 6528: over 4-tuples and over secrets each ISN is as likely as any other; over time it only rises."""
    stack = stack_of(3)
    by_tuple = [stack.connect(f"10.{i >> 8}.{i & 255}.1", 80).handshake.iss for i in range(2000)]
    assert chi_square(by_tuple, 0, 1 << 32, 40) < 72 and len(set(by_tuple)) == 2000
    flow = stack.connect(PEER, 80).handshake.flow
    by_secret = [IsnGenerator(Random(seed).randbytes(16)).draw(flow, SECOND) & M for seed in range(2000)]
    assert chi_square(by_secret, 0, 1 << 32, 40) < 72
    generator = IsnGenerator(bytes(16))
    assert (generator.draw(flow, 2 * SECOND) - generator.draw(flow, SECOND)) & M == 250_000


def test_listen_and_active_open_on_one_port() -> None:
    """RFC 9293 MUST-42: a port may be listened on while a connection from it is in SYN-SENT or SYN-RECEIVED."""
    wire = Wire()
    peer, connection, _ = call(wire, local_port=8080)
    listener = wire.stack.listen("0.0.0.0", 8080)
    other = Peer(wire, port=8080, sport=4444)
    other.open(listener)
    peer.put("S", 0)
    assert connection.state == State.SYN_RECEIVED and not listener.syn_queue
    Peer(wire, port=8080, sport=4445).open(listener)
    peer.put("A", 1, 1)
    assert connection.state == State.ESTABLISHED and not listener.accept_queue
    assert wire.stack.connect(PEER, 81, local_port=8080).state == State.SYN_SENT, "and the other way round"


def test_the_largest_window_of_a_simultaneous_open() -> None:
    """RFC 9293 section 3.8.6.2.1: less than half the largest window that the peer ever offered is no use to send, nor is it now."""
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("S", window=1000, options=[("MSS", 1460)])
    assert peer.put("A", 1, 1, window=4000) == [] and connection.state == State.ESTABLISHED
    assert peer.put("A", 1, 1, window=600) == []
    connection.send(bytes(2000))
    assert wire.sent() == []
    assert [len(packet[TCP].payload) for packet in peer.put("A", 1, 1, window=2000)][:1] == [1460]
