"""The passive open: syn queue, accept queue, and every way to refuse (RFC 9293 section 3.10.7, Linux's rules)."""

import pytest
from scapy.layers.inet import TCP

from fastnet.tcp.states import State
from tests.peer import M, Peer, Wire

LINUX_SYN = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (77, 0)), ("NOP", None), ("WScale", 7)]


def stamp(value: int, echo: int = 0) -> list:
    return [("NOP", None), ("NOP", None), ("Timestamp", (value, echo))]


def test_scripted_exchange() -> None:
    """SYN, SYN-ACK, ACK, "hello", FIN: every sequence number and state, with an ISN that a fixed secret and clock give."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire, iss=5000)
    synack = peer.syn()
    assert len(listener.syn_queue) == 1 and listener.young == 1
    again = Wire()
    again.stack.listen("0.0.0.0", 80)
    assert Peer(again, iss=5000).syn()[TCP].seq == synack[TCP].seq, "the same secret and time give the same ISN"
    assert peer.put("A", 1, 1) == []
    assert len(listener.syn_queue) == 0 and listener.young == 0
    connection = listener.accept()
    assert connection is not None and connection.state == State.ESTABLISHED
    assert wire.counter("TcpPassiveOpens") == 1 and wire.counter("TcpCurrEstab") == 1
    answers = peer.put("PA", 1, 1, b"hello\n")
    assert [peer.relative(answer) for answer in answers] == [("A", 1, 7, b"")]
    assert connection.receive(100) == b"hello\n"
    answers = peer.put("FA", 7, 1)
    assert [peer.relative(answer) for answer in answers] == [("A", 1, 8, b"")]
    assert connection.state == State.CLOSE_WAIT and connection.fin_received
    connection.close(wire.now)
    assert connection.state == State.LAST_ACK
    assert [peer.relative(answer) for answer in wire.sent()] == [("FA", 1, 8, b"")]
    assert peer.put("A", 8, 2) == []
    assert connection.state == State.CLOSED
    assert wire.counter("TcpCurrEstab") == 0
    assert len(wire.stack.context.demux) == 0 and len(wire.stack.context.timers) == 0


def test_synack_answers_the_options_that_were_offered() -> None:
    wire = Wire()
    wire.stack.listen("0.0.0.0", 80)
    options = dict(Peer(wire).syn(LINUX_SYN)[TCP].options)
    assert options["MSS"] == 1460 and options["WScale"] == 7 and "SAckOK" in options
    assert options["Timestamp"][1] == 77
    assert dict(Peer(wire, sport=2).syn([])[TCP].options) == {"MSS": 1460}
    assert "Timestamp" not in dict(Peer(wire, sport=3).syn([("WScale", 2)])[TCP].options)


@pytest.mark.parametrize(
    ("setting", "option"), [("tcp_timestamps", "Timestamp"), ("tcp_sack", "SAckOK"), ("tcp_window_scaling", "WScale")]
)
def test_a_setting_switches_its_option_off(setting: str, option: str) -> None:
    wire = Wire(**{setting: 0})
    wire.stack.listen("0.0.0.0", 80)
    names = {name for name, _ in Peer(wire).syn(LINUX_SYN)[TCP].options}
    assert option not in names and "MSS" in names


def test_mss_is_what_the_device_takes() -> None:
    """RFC 9293 MUST-67: MTU less 40."""
    wire = Wire(mtu=576)
    wire.stack.listen("0.0.0.0", 80)
    assert dict(Peer(wire).syn(LINUX_SYN)[TCP].options)["MSS"] == 536


def test_synack_comes_again_as_linux_has_it() -> None:
    """After 1, 3, 7, 15 and 31 s (tcp_synack_retries 5); at 63 s the request is gone."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    first = peer.syn()
    sent = wire.wait(62.9)
    assert [round(when, 2) for when, _ in sent] == [1, 3, 7, 15, 31]
    assert all(packet[TCP].seq == first[TCP].seq and packet[TCP].flags == "SA" for _, packet in sent)
    assert len(listener.syn_queue) == 1 and listener.young == 0
    assert wire.wait(0.2) == []
    assert len(listener.syn_queue) == 0
    assert wire.counter("TCPSynRetrans") == 5 and wire.counter("TCPTimeouts") == 6
    assert wire.counter("TcpAttemptFails") == 1


def test_fewer_retries_by_setting() -> None:
    wire = Wire(tcp_synack_retries=1)
    listener = wire.stack.listen("0.0.0.0", 80)
    Peer(wire).syn()
    assert [round(when, 2) for when, _ in wire.wait(10)] == [1]
    assert len(listener.syn_queue) == 0


def test_a_full_syn_queue_gives_up_old_requests_sooner() -> None:
    """reqsk_timer_handler(): more than half full and nearly none young, so two retransmissions have to do."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80, 10)
    for i in range(9):
        Peer(wire, sport=1000 + i).syn()
    wire.wait(6.9)
    assert len(listener.syn_queue) == 9
    wire.wait(0.2)
    # At 7 s, 9 are old and none young: each has had two retransmissions.
    assert len(listener.syn_queue) <= 5
    assert len(listener.syn_queue) > 0, "below half full, the rest is kept"


def test_duplicate_syn_gets_the_same_synack() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    first = peer.syn()
    assert peer.syn()[TCP].seq == first[TCP].seq
    assert len(listener.syn_queue) == 1


def test_third_ack_with_data_is_delivered() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    answers = peer.put("PA", 1, 1, b"early")
    assert [peer.relative(answer) for answer in answers] == [("A", 1, 6, b"")]
    connection = listener.accept()
    assert connection is not None and connection.receive(10) == b"early"


def test_syn_and_ack_and_data_in_one_batch() -> None:
    """Whatever arrives together is seen in order: the data finds the connection that the ACK before it made."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    answers = wire.put(peer.packet("A", 1, 1), peer.packet("PA", 1, 1, b"a"), peer.packet("PA", 2, 1, b"b"), peer.packet("FA", 3, 1))
    assert [peer.relative(answer) for answer in answers] == [("A", 1, 4, b"")], "one ACK for the burst (MUST-58)"
    connection = listener.accept()
    assert connection is not None and connection.receive(10) == b"ab" and connection.state == State.CLOSE_WAIT


def test_rst_removes_the_request() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    assert peer.put("R", 1) == []
    assert len(listener.syn_queue) == 0 and listener.young == 0
    assert wire.counter("EmbryonicRsts") == 1 and wire.counter("TcpAttemptFails") == 1
    assert wire.wait(100) == []


def test_rst_at_another_place_does_not() -> None:
    """RFC 5961: outside the window nothing, inside but not exact a challenge."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    assert peer.put("R", 100_000) == []
    assert [peer.relative(answer) for answer in peer.put("R", 100)] == [("A", 1, 1, b"")]
    assert len(listener.syn_queue) == 1


@pytest.mark.parametrize("ack", [0, 2, -1, 0x7FFFFFFF])
def test_a_wrong_final_ack_is_reset(ack: int) -> None:
    """RFC 9293 section 3.10.7.4: unacceptable ACK in SYN-RECEIVED, <SEQ=SEG.ACK><CTL=RST>; the request stays."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    answers = peer.put("A", 1, ack)
    assert [(str(a[TCP].flags), a[TCP].seq) for a in answers] == [("R", (peer.irs + ack) & M)]
    assert len(listener.syn_queue) == 1 and not listener.accept_queue


def test_a_segment_outside_the_window_of_a_request_is_told_what_is_expected() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    assert [peer.relative(answer) for answer in peer.put("A", 200_000, 1)] == [("A", 1, 1, b"")]
    assert len(listener.syn_queue) == 1


def test_a_new_syn_in_the_window_of_a_request_resets_it() -> None:
    """tcp_check_req(): a SYN that is not the first one again, but lies in the window, ends the request."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    answers = peer.put("S", 50)
    assert [str(a[TCP].flags) for a in answers] == ["RA"]
    assert len(listener.syn_queue) == 0


@pytest.mark.parametrize("flags", ["S", "SA", "A", "FA", "PA", "F", "SF", ""])
def test_closed_port(flags: str) -> None:
    """RFC 9293 section 3.10.7.1: a RST with the sequence number that the peer expects."""
    wire = Wire()
    peer = Peer(wire, port=81)
    answers = peer.put(flags, 0, ack=7 if "A" in flags else None)
    assert len(answers) == 1
    tcp = answers[0][TCP]
    if "A" in flags:
        assert (str(tcp.flags), tcp.seq) == ("R", 7)
    else:
        assert (str(tcp.flags), tcp.seq, tcp.ack) == ("RA", 0, 1000 + ("S" in flags) + ("F" in flags))
    assert wire.counter("TcpOutRsts") == 1 and wire.counter("TcpInNoListener") == 1


@pytest.mark.parametrize("flags", ["R", "RA", "RSA"])
def test_never_a_rst_for_a_rst(flags: str) -> None:
    wire = Wire()
    wire.stack.listen("0.0.0.0", 80)
    assert Peer(wire, port=81).put(flags) == []
    assert Peer(wire, port=80).put(flags) == []
    assert wire.counter("TcpOutRsts") == 0


def test_what_a_listener_answers_to_other_segments() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    assert [str(a[TCP].flags) for a in Peer(wire).put("A", 5, 6)] == ["R"]
    assert [str(a[TCP].flags) for a in Peer(wire).put("SA", 5, 6)] == ["R"]
    for flags in ("", "F", "SF", "P", "U"):
        assert Peer(wire).put(flags) == []
    assert wire.counter("TcpInNoFlags") == 5
    assert not listener.syn_queue


def test_accept_queue_overflow_drops_the_final_ack() -> None:
    """tcp_v4_syn_recv_sock(): backlog + 1 connections fit; the request stays and its SYN-ACK is sent again."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80, 1)
    peers = [Peer(wire, sport=1000 + i) for i in range(2)]
    late = Peer(wire, sport=2000)
    late.syn()
    for peer in peers:
        peer.syn()
        peer.put("A", 1, 1)
    assert len(listener.accept_queue) == 2
    assert late.put("A", 1, 1) == []
    assert wire.counter("ListenOverflows") == 1 and wire.counter("ListenDrops") == 1
    assert len(listener.accept_queue) == 2 and len(listener.syn_queue) == 1
    assert listener.accept() is not None
    ((when, packet),) = wire.wait(1.5)
    assert round(when, 2) == 1 and packet[TCP].flags == "SA"
    late.put("A", 1, 1)
    assert len(listener.accept_queue) == 2 and not listener.syn_queue


def test_accept_queue_overflow_with_abort() -> None:
    wire = Wire(tcp_abort_on_overflow=1)
    listener = wire.stack.listen("0.0.0.0", 80, 0)
    late = Peer(wire, sport=2000)
    late.syn()
    # A request and a connection: the syn queue of backlog 0 holds one more than its bound too.
    listener.set_backlog(5)
    first = Peer(wire, sport=1000)
    first.syn()
    first.put("A", 1, 1)
    listener.set_backlog(0)
    answers = late.put("A", 1, 1)
    assert [(str(a[TCP].flags), a[TCP].seq) for a in answers] == [("R", (late.irs + 1) & M)]
    assert wire.counter("ListenOverflows") == 1 and wire.counter("EmbryonicRsts") == 1
    assert not listener.syn_queue and listener.young == 0


def test_full_accept_queue_drops_new_syns() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80, 1)
    for i in range(2):
        Peer(wire, sport=1000 + i).open_without_accept()
    assert len(listener.accept_queue) == 2
    assert Peer(wire, sport=3000).put("S") == []
    assert wire.counter("ListenOverflows") == 1 and wire.counter("ListenDrops") == 1
    assert not listener.syn_queue


def test_young_request_rule() -> None:
    """Linux 3.10: with a full accept queue, a SYN is still taken while at most one request is young."""
    wire = Wire(fastnet_young_request_rule=1)
    listener = wire.stack.listen("0.0.0.0", 80, 3)
    for i in range(4):
        Peer(wire, sport=1000 + i).open_without_accept()
    Peer(wire, sport=3000).syn()
    Peer(wire, sport=3001).syn()
    assert Peer(wire, sport=3002).put("S") == []
    assert wire.counter("ListenOverflows") == 1
    wire.wait(1.1)
    assert listener.young == 0, "both SYN-ACKs were sent again"
    Peer(wire, sport=3003).syn()
    assert wire.counter("ListenOverflows") == 1


def test_syn_queue_is_bounded_by_the_backlog() -> None:
    """inet_csk_reqsk_queue_is_full(): more than the backlog."""
    wire = Wire(tcp_syncookies=0)
    listener = wire.stack.listen("0.0.0.0", 80, 3)
    for i in range(4):
        Peer(wire, sport=1000 + i).syn()
    assert Peer(wire, sport=2000).put("S") == []
    assert len(listener.syn_queue) == 4
    assert wire.counter("TCPReqQFullDrop") == 1 and wire.counter("ListenDrops") == 1


def test_syn_queue_keeps_its_last_quarter_free() -> None:
    """tcp_conn_request() without cookies: refused once fewer than a quarter of tcp_max_syn_backlog is left."""
    wire = Wire(tcp_max_syn_backlog=8, tcp_syncookies=0)
    listener = wire.stack.listen("0.0.0.0", 80, 100)
    for i in range(7):
        Peer(wire, sport=1000 + i).syn()
    assert Peer(wire, sport=2000).put("S") == []
    assert len(listener.syn_queue) == 7
    assert wire.counter("ListenDrops") == 1 and wire.counter("TCPReqQFullDrop") == 0


def test_somaxconn_bounds_the_backlog() -> None:
    wire = Wire(somaxconn=2)
    assert wire.stack.listen("0.0.0.0", 80, 1000).backlog == 2
    assert wire.stack.listen("0.0.0.0", 81, -5).backlog == 0


def test_closing_a_listener() -> None:
    """Requests are dropped, connections that nobody accepted are reset, and the port answers with a RST."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    waiting = Peer(wire, sport=1000)
    waiting.open_without_accept()
    Peer(wire, sport=1001).syn()
    listener.close(wire.now)
    assert [waiting.relative(packet)[:2] for packet in wire.sent()] == [("RA", 1)]
    assert [str(a[TCP].flags) for a in Peer(wire, sport=1002).put("S")] == ["RA"]
    assert wire.wait(100) == []
    assert len(wire.stack.context.demux) == 0 and len(wire.stack.context.timers) == 0
    listener.close(wire.now)
    wire.stack.listen("0.0.0.0", 80)


def test_ten_listeners_on_wildcard_and_specific_addresses() -> None:
    """The most specific one gets the SYN; one address and port has one listener."""
    addresses = tuple(f"198.18.0.{i}" for i in range(2, 7))
    wire = Wire(addresses=addresses)
    listeners = {}
    for port in (80, 81):
        for address in ("0.0.0.0", *addresses[:4]):
            listeners[address, port] = wire.stack.listen(address, port)
            with pytest.raises(OSError, match="listens"):
                wire.stack.listen(address, port)
    assert len(listeners) == 10
    for port in (80, 81):
        for address in addresses:
            wildcard = listeners["0.0.0.0", port]
            expected = listeners.get((address, port), wildcard)
            before = len(expected.syn_queue)
            Peer(wire, port=port, target=address).syn()
            assert len(expected.syn_queue) == before + 1
            if expected is not wildcard:
                expected.close(wire.now)
                before = len(wildcard.syn_queue)
                Peer(wire, port=port, target=address, sport=5).syn()
                assert len(wildcard.syn_queue) == before + 1, "the wildcard takes over"


def test_other_addresses_are_not_ours() -> None:
    wire = Wire()
    wire.stack.listen("0.0.0.0", 80)
    assert Peer(wire, target="198.18.0.99").put("S") == []
    assert wire.counter("IpInAddrErrors") == 1


def test_isn_grows_with_time_and_differs_by_peer() -> None:
    """RFC 6528: a clock of 4 microseconds, and an offset for each 4-tuple."""
    wire = Wire()
    wire.stack.listen("0.0.0.0", 80)
    isn = {}
    for sport in (1, 2, 3):
        peer = Peer(wire, sport=sport)
        isn[sport] = peer.syn()[TCP].seq
        peer.put("R", 1)
    wire.now += 4_000_000
    for sport in (1, 2, 3):
        assert (Peer(wire, sport=sport).syn()[TCP].seq - isn[sport]) & M == 1000
    assert len({(isn[a] - isn[b]) & M for a in isn for b in isn if a < b} | {0, 1}) == 5


@pytest.mark.parametrize("iss", [M, M - 1, 0, 0x7FFFFFFF, 0x80000000])
def test_sequence_numbers_wrap(iss: int) -> None:
    """A peer whose numbers pass 2**32 in the handshake, in the data, or at the FIN; and a stack whose own do."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    # Choose the time so that the stack's ISN is the one wanted.
    probe = Peer(wire, sport=9, iss=iss)
    offset = (iss - probe.syn()[TCP].seq) & M
    probe.put("R", 1)
    wire.now += offset * 4000
    peer = Peer(wire, sport=9, iss=iss)
    connection = peer.open(listener)
    assert peer.irs == iss
    assert [peer.relative(a) for a in peer.put("PA", 1, 1, b"abc")] == [("A", 1, 4, b"")]
    connection.send(b"defg")
    assert [peer.relative(a) for a in wire.sent()] == [("PA", 1, 4, b"defg")]
    assert [peer.relative(a) for a in peer.put("FA", 4, 5)] == [("A", 5, 5, b"")]
    assert connection.receive(9) == b"abc"
    connection.close(wire.now)
    assert [peer.relative(a) for a in wire.sent()] == [("FA", 5, 5, b"")]
    assert peer.put("A", 5, 6) == []
    assert connection.state == State.CLOSED


def test_paws_in_a_request() -> None:
    """RFC 7323 section 5: an older timestamp is not acceptable, not even on a segment in the window."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(LINUX_SYN)
    answers = peer.put("A", 1, 1, options=stamp(76))
    assert [peer.relative(a) for a in answers] == [("A", 1, 1, b"")]
    assert wire.counter("PAWSEstab") == 1 and len(listener.syn_queue) == 1
    assert peer.put("A", 1, 1, options=stamp(77)) == []
    assert len(listener.accept_queue) == 1


def test_a_child_reset_before_accept_is_still_accepted() -> None:
    """As on Linux: accept gives the connection, and reading it gives the reset."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.open_without_accept()
    peer.put("R", 1)
    connection = listener.accept()
    assert connection is not None and connection.state == State.CLOSED
    assert len(wire.stack.context.demux) == 0


def test_handshakes_leave_nothing() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    ids = set()
    for sport in range(1, 301):
        peer = Peer(wire, sport=sport)
        connection = peer.open(listener)
        ids.add(connection.id)
        peer.put("R", 1)
        assert connection.state == State.CLOSED
    assert len(ids) == 1, "ids are used again"
    context = wire.stack.context
    assert len(context.endpoints) == 2 and len(context.timers) == 0 and wire.counter("TcpCurrEstab") == 0
