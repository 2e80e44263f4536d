"""TCP Fast Open (RFC 7413), both ends, against packets that scapy builds and reads."""

from __future__ import annotations

import select
from itertools import pairwise
from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Packet

from fastnet._flow import FourTuple
from fastnet.config import SettingError, Settings, fast_open_keys
from fastnet.devices import Impairment
from fastnet.driver import Driver
from fastnet.socket import create_server
from fastnet.tcp.connection import Connection
from fastnet.tcp.fastconnect import FastConnection
from fastnet.tcp.listener import Listener
from fastnet.tcp.opening import ActiveConnection
from fastnet.tcp.states import State
from fastnet.twins import Twins
from tests.peer import MILLISECOND, PEER, SECOND, STACK, M, Peer, Wire

KEY = "00010203-04050607-08090a0b-0c0d0e0f"
KEY_2 = "deadbeef-01234567-89abcdef-00112233"
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1000, 0)), ("NOP", None), ("WScale", 7)]
FAST_OPEN = 34


def rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & (1 << 64) - 1


def siphash_2_4(key: bytes, message: bytes) -> bytes:
    """The reference, as its authors describe it."""
    mask = (1 << 64) - 1
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    a, b, c, d = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573

    def sip_round(times: int) -> None:
        nonlocal a, b, c, d
        for _ in range(times):
            a, c = a + b & mask, c + d & mask
            b, d = rotated(b, 13) ^ a, rotated(d, 16) ^ c
            a, c = rotated(a, 32) + d & mask, c + b & mask
            d, b = rotated(d, 21) ^ a, rotated(b, 17) ^ c
            c = rotated(c, 32)

    assert len(message) == 8
    for word in (int.from_bytes(message, "little"), 8 << 56):
        d ^= word
        sip_round(2)
        a ^= word
    c ^= 0xFF
    sip_round(4)
    return (a ^ b ^ c ^ d).to_bytes(8, "little")


def cookie(key: str = KEY, source: str = PEER) -> bytes:
    """What Linux computes: of the source's address and the target's, under the key's words in the order of the machine."""
    raw = b"".join(int(word, 16).to_bytes(4, "little") for word in key.split("-"))
    return siphash_2_4(raw, bytes(map(int, source.split("."))) + bytes(map(int, STACK.split("."))))


def option(value: bytes) -> list[Any]:
    return [*OPTIONS, (FAST_OPEN, value)]


def raw_cookie(packet: Packet) -> bytes | None:
    """The value of the Fast Open option, None without; from the bytes, as scapy reads an empty cookie as no option."""
    raw = bytes(packet)
    options = raw[40 : 20 + (raw[32] >> 4) * 4]
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
        elif options[at] == FAST_OPEN:
            return options[at + 2 : at + options[at + 1]]
        else:
            at += options[at + 1]
    return None


def serve(limit: int = 10, backlog: int = 4096, **settings: Any) -> tuple[Wire, Listener]:
    wire = Wire(**{"tcp_fastopen": 3, "tcp_fastopen_key": KEY, **settings})
    listener = wire.stack.listen("0.0.0.0", 80, backlog)
    listener.set_fast_open(limit)
    return wire, listener


def syn(peer: Peer, value: bytes, data: bytes = b"", **fields: Any) -> Packet:
    """A SYN with the option; the one answer."""
    answers = peer.wire.put(raw_option(peer, value, data, **fields))
    assert len(answers) == 1, answers
    peer.irs = answers[0][TCP].seq
    return answers[0]


def raw_option(peer: Peer, value: bytes, data: bytes = b"", **fields: Any) -> Packet:
    return peer.packet("S", 0, -peer.irs, data, options=[*OPTIONS, (FAST_OPEN, value)], **fields)


# ---- a server ----


def test_a_cookie_is_given_to_whoever_asks() -> None:
    """RFC 7413 section 4.2.2, and the cookie is Linux's."""
    wire, listener = serve()
    answer = syn(Peer(wire), b"")
    assert raw_cookie(answer) == cookie()
    assert answer[TCP].flags == "SA" and len(listener.syn_queue) == 1
    assert wire.counter("TCPFastOpenCookieReqd") == 1
    assert raw_cookie(syn(Peer(wire, source="198.18.0.9"), b"")) == cookie(source="198.18.0.9")
    again = wire.wait(1.5)
    assert raw_cookie(again[0][1]) is None, "sent again, it goes without: perhaps the option is why it was lost"


def test_the_handshake_with_a_cookie_in_it_is_like_any_other() -> None:
    wire, listener = serve()
    peer = Peer(wire)
    syn(peer, b"")
    peer.options = [("Timestamp", (1001, 1))]
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None and connection.state == State.ESTABLISHED and type(connection) is Connection


def test_data_on_a_syn_is_read_and_answered_before_the_handshake_is_over() -> None:
    wire, listener = serve()
    peer = Peer(wire)
    answers = wire.put(raw_option(peer, cookie(), b"GET /"))
    peer.irs = answers[0][TCP].seq
    assert [peer.relative(p) for p in answers] == [("SA", 0, 6, b"")], "the SYN-ACK acknowledges SYN and data"
    assert raw_cookie(answers[0]) is None
    connection = listener.accept()
    assert connection is not None and connection.state == State.SYN_RECEIVED
    assert connection.receive(100) == b"GET /"
    connection.send(b"answer")
    assert [peer.relative(p) for p in wire.sent()] == [("PA", 1, 6, b"answer")]
    peer.options = [("Timestamp", (1001, 1))]
    assert peer.put("A", 6, 7) == []
    assert connection.state == State.ESTABLISHED and connection.snd_una == connection.snd_nxt
    assert connection.snd_wnd == 64240 << 7
    assert wire.counter("TCPFastOpenPassive") == 1 and wire.counter("TcpPassiveOpens") == 1 and wire.counter("TcpCurrEstab") == 1
    assert listener.fast_open is not None and listener.fast_open.pending == 0


def test_the_data_counts_in_the_window_and_in_timestamps() -> None:
    wire, listener = serve()
    peer = Peer(wire)
    answer = syn(peer, cookie(), b"x" * 1000)
    assert answer[TCP].window == 65535 - 1000
    assert dict(answer[TCP].options)["Timestamp"][1] == 1000
    connection = listener.accept()
    assert connection is not None
    assert connection.rcv_nxt == (peer.iss + 1001) & M and connection.rcv_adv == (peer.iss + 1 + 65535) & M


@pytest.mark.parametrize("length", [4, 6, 8, 10, 16])
def test_a_wrong_cookie_gets_a_good_one_and_its_data_no_ack(length: int) -> None:
    """RFC 7413 section 4.2.2: the SYN-ACK acknowledges the SYN alone."""
    wire, listener = serve()
    peer = Peer(wire)
    answers = wire.put(peer.packet("S", 0, 0, b"GET /", options=[("MSS", 1460), (FAST_OPEN, b"\x55" * length)]))
    assert answers[0][TCP].ack == peer.iss + 1 and raw_cookie(answers[0]) == cookie()
    assert listener.accept() is None and wire.counter("TCPFastOpenPassiveFail") == 1


def test_a_cookie_is_for_one_address() -> None:
    wire, listener = serve()
    answer = syn(Peer(wire, source="198.18.0.9"), cookie(), b"GET /")
    assert answer[TCP].ack == 1001 and listener.accept() is None


def test_the_key_before_is_still_good_and_brings_a_new_cookie() -> None:
    wire, _ = serve()
    old = cookie()
    wire.stack.settings.set("tcp_fastopen_key", f"{KEY_2},{KEY}")
    answer = syn(Peer(wire), old, b"GET /")
    assert answer[TCP].ack == 1006 and raw_cookie(answer) == cookie(KEY_2)
    assert wire.counter("TCPFastOpenPassiveAltKey") == 1
    wire.stack.settings.set("tcp_fastopen_key", KEY_2)
    assert syn(Peer(wire, sport=40001), old, b"GET /")[TCP].ack == 1001


def test_a_key_that_is_drawn_turns_and_the_last_one_is_good_for_an_hour() -> None:
    wire = Wire(tcp_fastopen=3)
    wire.stack.listen("0.0.0.0", 80).set_fast_open(10)
    queue = wire.stack.context.fast_open
    first = queue.keys(wire.now)
    assert len(first) == 1
    wire.now += 3601 * SECOND
    second = queue.keys(wire.now)
    assert second[1] == first[0]
    wire.now += 2 * 3601 * SECOND
    assert len(queue.keys(wire.now)) == 1, "nothing is good after two hours"


def test_a_listener_with_a_key_of_its_own() -> None:
    wire, listener = serve()
    assert listener.fast_open is not None
    listener.fast_open.keys = fast_open_keys(KEY_2)
    assert raw_cookie(syn(Peer(wire), b"")) == cookie(KEY_2)


@pytest.mark.parametrize("bits", [0, 1])
def test_without_the_bit_of_servers_there_is_no_fast_open(bits: int) -> None:
    wire, listener = serve(tcp_fastopen=bits)
    answer = syn(Peer(wire), cookie(), b"GET /")
    assert raw_cookie(answer) is None and answer[TCP].ack == 1001 and listener.accept() is None


def test_without_tcp_fastopen_on_the_listener_there_is_none() -> None:
    wire = Wire(tcp_fastopen=3)
    listener = wire.stack.listen("0.0.0.0", 80)
    answer = syn(Peer(wire), b"", b"GET /")
    assert raw_cookie(answer) is None and answer[TCP].ack == 1001 and listener.fast_open is None


def test_the_bit_that_gives_it_to_every_listener() -> None:
    wire = Wire(tcp_fastopen=0x402, tcp_fastopen_key=KEY)
    wire.stack.listen("0.0.0.0", 80)
    assert raw_cookie(syn(Peer(wire), b"")) == cookie()


@pytest.mark.parametrize("how", ["setting", "listener"])
def test_data_without_a_cookie(how: str) -> None:
    wire, listener = serve(tcp_fastopen=0x202 if how == "setting" else 2)
    assert listener.fast_open is not None
    listener.fast_open.cookieless = how == "listener"
    peer = Peer(wire)
    answers = peer.put("S", 0, 0, b"GET /")
    assert answers[0][TCP].ack == 1006
    connection = listener.accept()
    assert connection is not None and connection.receive(9) == b"GET /"


def test_data_on_a_syn_without_fast_open_is_not_acknowledged() -> None:
    """RFC 9293 section 3.10.7.2 lets text wait; nothing is kept for it, so it is not acknowledged, and comes again."""
    wire, listener = serve()
    peer = Peer(wire)
    answer = peer.put("S", 0, 0, b"GET /")[0]
    assert answer[TCP].ack == 1001
    peer.irs = answer[TCP].seq
    peer.put("A", 1, 1, b"GET /")
    connection = listener.accept()
    assert connection is not None and connection.receive(9) == b"GET /"


def test_more_than_the_queue_takes_get_the_usual_handshake() -> None:
    wire, listener = serve(limit=2)
    peers = [Peer(wire, sport=40000 + n) for n in range(3)]
    assert [syn(peer, cookie(), b"GET /")[TCP].ack - 1000 for peer in peers] == [6, 6, 1]
    assert wire.counter("TCPFastOpenListenOverflow") == 1 and len(listener.syn_queue) == 1
    peers[0].options = [("Timestamp", (1001, 1))]
    peers[0].put("A", 6, 1)
    assert syn(Peer(wire, sport=41000), cookie(), b"GET /")[TCP].ack == 1006, "one that was completed makes room"


def test_a_reset_counts_on_for_a_minute() -> None:
    """RFC 7413 section 5.1: the victim of a stolen cookie resets what was opened in its name."""
    wire, listener = serve(limit=1)
    peer = Peer(wire)
    syn(peer, cookie(), b"GET /")
    connection = listener.accept()
    assert connection is not None
    assert peer.put("R", 6, 0) == []
    assert connection.state == State.CLOSED and connection.error and wire.counter("TcpAttemptFails") == 1
    assert syn(Peer(wire, sport=40001), cookie(), b"GET /")[TCP].ack == 1001
    wire.wait(61)
    assert syn(Peer(wire, sport=40002), cookie(), b"GET /")[TCP].ack == 1006
    assert listener.fast_open is not None and listener.fast_open.pending == 1


def test_a_full_syn_queue_means_a_syn_cookie() -> None:
    """A flood with stolen cookies: Fast Open comes behind the other bounds."""
    wire, listener = serve(somaxconn=1)
    for n in range(3):
        wire.put(Peer(wire, sport=50000 + n).packet("S"))
    answer = syn(Peer(wire), cookie(), b"GET /")
    assert answer[TCP].ack == 1001 and wire.counter("SyncookiesSent") > 0 and listener.accept() is None


def test_a_full_accept_queue_drops_the_syn() -> None:
    wire, listener = serve(backlog=1)
    peers = [Peer(wire, sport=40000 + n) for n in range(6)]
    assert [len(wire.put(raw_option(peer, cookie(), b"GET /"))) for peer in peers] == [1, 1, 0, 0, 0, 0]
    assert len(listener.accept_queue) == len(wire.stack.context.demux) == 2 and wire.counter("ListenOverflows") == 4


def test_the_syn_ack_is_sent_again_and_the_data_behind_it_is_not() -> None:
    """Linux: nothing else is sent again before the peer has answered."""
    wire, listener = serve(tcp_synack_retries=2)
    peer = Peer(wire)
    syn(peer, cookie(), b"GET /")
    connection = listener.accept()
    assert connection is not None
    connection.send(b"answer")
    assert len(wire.sent()) == 1
    sent = wire.wait(60)
    assert [(round(at), peer.relative(p)[:3]) for at, p in sent] == [(1, ("SA", 0, 6)), (3, ("SA", 0, 6))]
    assert connection.state == State.CLOSED and wire.counter("TCPSynRetrans") == wire.counter("TcpRetransSegs") == 2
    assert len(wire.stack.context.demux) == 0 and listener.fast_open is not None and listener.fast_open.pending == 0


def test_the_syn_ack_waits_two_minutes_at_most() -> None:
    """Linux's TCP_RTO_MAX, as for the SYN-ACK of any other handshake."""
    wire, _ = serve(tcp_synack_retries=9)
    peer = Peer(wire)
    syn(peer, cookie(), b"GET /")
    times = [at for at, p in wire.wait(1000)]
    assert [round(b - a) for a, b in pairwise([0.0, *times])] == [1, 2, 4, 8, 16, 32, 64, 120, 120]
    assert len(wire.stack.context.demux) == 0


def test_after_the_final_ack_what_was_lost_is_sent_again() -> None:
    wire, listener = serve()
    peer = Peer(wire)
    syn(peer, cookie(), b"GET /")
    connection = listener.accept()
    assert connection is not None
    connection.send(b"answer")
    wire.sent()
    wire.wait(1.5)
    peer.options = [("Timestamp", (1001, 1))]
    assert [peer.relative(p)[3] for p in peer.put("A", 6, 1)] == [b"answer"], "it has been due for half a second"


def test_a_syn_that_comes_again_is_answered_again_and_read_once() -> None:
    wire, listener = serve()
    peer = Peer(wire)
    syn(peer, cookie(), b"GET /")
    wire.now += SECOND // 2
    again = wire.put(raw_option(peer, cookie(), b"GET /"), raw_option(peer, cookie(), b"GET /"))
    assert [peer.relative(p) for p in again] == [("SA", 0, 6, b"")], "and not more often than tcp_invalid_ratelimit lets"
    connection = listener.accept()
    assert connection is not None and connection.receive(100) == b"GET /"


def test_a_wrong_ack_is_reset_and_changes_nothing() -> None:
    """RFC 9293 section 3.10.7.4, fifth check, SYN-RECEIVED."""
    wire, listener = serve()
    peer = Peer(wire)
    syn(peer, cookie(), b"GET /")
    peer.options = [("Timestamp", (1001, 1))]
    for ack in (0, 2, 5000):
        answers = peer.put("A", 6, ack)
        assert [str(p[TCP].flags) for p in answers] == ["R"], ack
    connection = listener.accept()
    assert connection is not None and connection.state == State.SYN_RECEIVED


def test_close_before_the_final_ack() -> None:
    wire, listener = serve()
    peer = Peer(wire)
    syn(peer, cookie(), b"GET /")
    connection = listener.accept()
    assert connection is not None
    connection.receive(9)
    connection.send(b"answer")
    connection.close(wire.now)
    assert [peer.relative(p) for p in wire.sent()] == [("FPA", 1, 6, b"answer")]
    peer.options = [("Timestamp", (1001, 1))]
    peer.put("A", 6, 1)
    assert connection.state == State.FIN_WAIT_1
    peer.put("FA", 6, 8)
    assert connection.state == State.TIME_WAIT and wire.counter("TcpCurrEstab") == 0


def test_a_socket_is_open_before_the_final_ack() -> None:
    """Doors take a connection in SYN-RECEIVED for what it is: it can be read, written and waited for."""
    wire, _ = serve()
    wire.stack.settings.set("tcp_fastopen", 0x403)
    with Driver(wire.stack) as driver:
        server = create_server(driver, (STACK, 81))
        server.setblocking(False)
        peer = Peer(wire, port=81)
        wire.device.inject(bytes(raw_option(peer, cookie(), b"GET /")))
        wire.stack.poll(wire.now)
        connection, address = server.accept()
        with server, connection:
            connection.setblocking(False)
            assert address == (PEER, peer.ports["sport"]) == connection.getpeername()
            readable, writable, _ = select.select([connection], [connection], [], 0)
            assert readable and writable
            assert connection.recv(100) == b"GET /"
            assert connection.send(b"answer") == 6
            assert [str(p[TCP].flags) for p in wire.sent()] == ["SA", "PA"]


def test_a_listener_that_closes_resets_what_nobody_accepted() -> None:
    wire, listener = serve()
    peer = Peer(wire)
    syn(peer, cookie(), b"GET /")
    listener.close(wire.now)
    assert [str(p[TCP].flags) for p in wire.sent()] == ["RA"]
    assert len(wire.stack.context.demux) == 0


def test_the_same_syn_twice_in_a_batch_makes_one_connection() -> None:
    wire, listener = serve()
    peer = Peer(wire)
    wire.put(raw_option(peer, cookie(), b"GET /"), raw_option(peer, cookie(), b"GET /"))
    assert len(listener.accept_queue) == len(wire.stack.context.demux) == 1 and not listener.syn_queue


def test_a_time_wait_makes_way() -> None:
    """RFC 9293 MAY-2, and the SYN brings data."""
    wire, listener = serve()
    peer = Peer(wire)
    syn(peer, cookie(), b"GET /")
    connection = listener.accept()
    assert connection is not None
    connection.receive(9)
    peer.options = [("Timestamp", (1001, 1))]
    peer.put("A", 6, 1)
    connection.close(wire.now)
    wire.sent()
    peer.put("FA", 6, 2)
    assert connection.state == State.TIME_WAIT
    wire.now += 5 * SECOND
    again = Peer(wire, iss=900_000)
    stamped = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (9000, 0)), ("NOP", None), ("WScale", 7), (FAST_OPEN, cookie())]
    answer = wire.put(again.packet("S", 0, 0, b"GET /", options=stamped))[0]
    assert answer[TCP].flags == "SA" and answer[TCP].ack == 900_006
    fresh = listener.accept()
    assert fresh is not None and fresh.receive(9) == b"GET /" and wire.counter("TWRecycled") == 1


# ---- a client ----


def connect(wire: Wire, data: bytes = b"", **fields: Any) -> tuple[Peer, FastConnection, Packet]:
    def prepare(connection: ActiveConnection) -> None:
        if data:
            connection.send(data)

    connection = wire.stack.connect(PEER, 80, prepare=prepare, fast_open=True, **fields)
    assert isinstance(connection, FastConnection)
    sent = wire.sent()
    assert len(sent) == 1
    peer = Peer(wire, port=sent[0][TCP].sport, sport=80)
    peer.irs = sent[0][TCP].seq
    return peer, connection, sent[0]


def taught(mss: int = 1460, **settings: Any) -> Wire:
    """A stack that has a cookie of the peer."""
    wire = Wire(**settings)
    peer, connection, first = connect(wire)
    assert raw_cookie(first) == b"" and connection.asked and first[TCP].ack == 0
    peer.put("SA", 0, 1, options=[("MSS", mss), (FAST_OPEN, b"12345678")])
    connection.abort(wire.now)
    wire.sent()
    return wire


def test_a_syn_asks_for_a_cookie_and_the_next_has_it() -> None:
    """RFC 7413 section 4.2.1."""
    wire = taught()
    peer, connection, first = connect(wire, b"GET /")
    assert raw_cookie(first) == b"12345678" and peer.relative(first) == ("S", 0, 0, b"GET /") and first[TCP].ack == 0
    assert [kind for kind, _ in first[TCP].options[:5]] == ["MSS", "SAckOK", "Timestamp", "NOP", "WScale"]
    assert [peer.relative(p) for p in peer.put("SA", 0, 6)] == [("A", 6, 1, b"")]
    assert connection.state == State.ESTABLISHED and connection.snd_una == connection.snd_nxt
    assert connection.sender is None or connection.sender.buffer.length == 0
    assert wire.counter("TCPFastOpenActive") == 1 and wire.counter("TCPFastOpenActiveFail") == 0


def test_data_that_the_syn_ack_does_not_acknowledge_is_sent_after_it() -> None:
    wire = taught()
    peer, connection, _ = connect(wire, b"GET /")
    assert [peer.relative(p) for p in peer.put("SA", 0, 1)] == [("PA", 1, 1, b"GET /")]
    assert wire.counter("TCPFastOpenActiveFail") == 1 and connection.failure == 2
    peer.put("A", 1, 6)
    assert connection.snd_una == connection.snd_nxt


@pytest.mark.parametrize("taken", [1, 2, 4])
def test_some_of_the_data_acknowledged(taken: int) -> None:
    """The rest goes with the final ACK (RFC 7413 section 4.2.1), from one byte on."""
    wire = taught()
    peer, connection, _ = connect(wire, b"GET /")
    assert [peer.relative(p) for p in peer.put("SA", 0, 1 + taken)] == [("PA", 1 + taken, 1, b"GET /"[taken:])]
    assert wire.counter("TCPFastOpenActive") == wire.counter("TCPFastOpenActiveFail") == 1 and connection.failure == 2
    peer.put("A", 1, 6)
    assert connection.snd_una == connection.snd_nxt


@pytest.mark.parametrize("ack", [0, 7, 5000])
def test_an_ack_of_what_the_syn_did_not_have_is_reset(ack: int) -> None:
    """RFC 9293 section 3.10.7.3, first check."""
    wire = taught()
    peer, connection, _ = connect(wire, b"GET /")
    assert [str(p[TCP].flags) for p in peer.put("SA", 0, ack)] == ["R"]
    assert connection.state == State.SYN_SENT


def test_a_refusal_acknowledges_the_data_too() -> None:
    wire = taught()
    peer, connection, _ = connect(wire, b"GET /")
    assert peer.put("RA", 0, 6) == []
    assert connection.state == State.CLOSED and connection.error


def test_no_more_data_than_a_segment_takes() -> None:
    """RFC 7413 section 4.2.1: the MSS that the server named before, less the options (RFC 6691)."""
    wire = taught(mss=600)
    peer, connection, first = connect(wire, b"x" * 5000)
    size = len(bytes(first[TCP].payload))
    options = (first[TCP].dataofs - 5) * 4
    assert size == 600 - options == connection.syn_data
    rest = peer.put("SA", 0, 1 + size)
    assert b"".join(bytes(p[TCP].payload) for p in rest)[:100] == b"x" * 100
    wire = taught(mss=9000)
    assert len(bytes(connect(wire, b"x" * 5000)[2])) == 1500


def test_the_syn_again_has_neither_data_nor_the_option() -> None:
    """RFC 7413 section 4.1.3."""
    wire = taught()
    peer, connection, _ = connect(wire, b"GET /")
    again = wire.wait(1.5)[0][1]
    assert raw_cookie(again) is None and peer.relative(again) == ("S", 0, 0, b"")
    assert [peer.relative(p) for p in peer.put("SA", 0, 1)] == [("PA", 1, 1, b"GET /")]
    assert connection.failure == 3
    peer, connection, first = connect(wire, b"GET /")
    assert raw_cookie(first) is None and peer.relative(first) == ("S", 0, 0, b""), "not to there for a minute"
    connection.abort(wire.now)
    wire.wait(61)
    assert raw_cookie(connect(wire, b"GET /")[2]) == b"12345678"


def test_the_answer_to_the_first_syn_may_come_after_the_second() -> None:
    wire = taught()
    peer, connection, _ = connect(wire, b"GET /")
    wire.wait(1.5)
    assert [peer.relative(p) for p in peer.put("SA", 0, 6)] == [("A", 6, 1, b"")]
    assert connection.state == State.ESTABLISHED


def test_a_cookie_that_nobody_asked_for_is_not_kept() -> None:
    wire = Wire(tcp_fastopen=5)
    peer, _, first = connect(wire, b"GET /")
    assert raw_cookie(first) is None and peer.relative(first)[3] == b"GET /", "without a cookie, as its bit says"
    peer.put("SA", 0, 6, options=[(FAST_OPEN, b"12345678")])
    assert not wire.stack.context.fast_open.servers or raw_cookie(connect(wire)[2]) is None


def test_text_and_fin_of_the_syn_ack_are_read() -> None:
    """RFC 9293 section 3.10.7.3: text in SYN-SENT is kept."""
    wire = taught()
    peer, connection, _ = connect(wire, b"GET /")
    peer.put("FSA", 0, 6, b"answer")
    assert connection.receive(99) == b"answer" and connection.fin_received


def test_cookies_of_many_servers_are_bounded() -> None:
    wire = Wire()
    fast_open = wire.stack.context.fast_open
    for n in range(3000):
        fast_open.learn(FourTuple(STACK, 1, f"198.19.{n >> 8}.{n & 255}", 80), b"12345678", 1460)
        fast_open.lost(FourTuple(STACK, 1, f"198.18.{n >> 8}.{n & 255}", 80), 1)
    assert len(fast_open.servers) <= 1024


def test_a_black_hole_ends_fast_open_for_a_while() -> None:
    wire = taught(tcp_fastopen_blackhole_timeout_sec=100, tcp_syn_retries=3)
    connect(wire, b"GET /")
    wire.wait(8)
    assert wire.counter("TCPFastOpenBlackhole") == 1
    assert raw_cookie(connect(wire, b"GET /")[2]) is None
    wire.wait(101)
    assert not wire.stack.context.fast_open.is_paused(wire.now)


def test_each_black_hole_in_a_row_ends_it_for_twice_as_long() -> None:
    """Up to 64 times as long (tcp_fastopen_active_should_disable()), until a server takes data again."""
    wire = taught(tcp_fastopen_blackhole_timeout_sec=100)
    fast_open = wire.stack.context.fast_open
    for times in (1, 2, 4, 8, 16, 32, 64, 64, 64):
        fast_open.black_hole(wire.now)
        wire.now += times * 100 * SECOND - 1
        assert fast_open.is_paused(wire.now), times
        wire.now += 1
        assert not fast_open.is_paused(wire.now), times
    peer, _, _ = connect(wire, b"GET /")
    peer.put("SA", 0, 6)
    fast_open.black_hole(wire.now)
    assert fast_open.is_paused(wire.now + 99 * SECOND) and not fast_open.is_paused(wire.now + 100 * SECOND)


def test_each_syn_that_is_lost_ends_it_to_that_server_for_twice_as_long() -> None:
    """RFC 7413 section 4.1.3: a minute the first time, and an hour or so at most; it works again when it has worked once."""
    wire = taught()
    fast_open = wire.stack.context.fast_open
    flow = connect(wire)[1].handshake.flow.copy()
    other = FourTuple(flow.local_address, 1, flow.local_address, 80)
    for times in (1, 2, 4, 8, 16, 32, 64, 64):
        fast_open.lost(flow, wire.now)
        assert fast_open.cookie_for(other, False, wire.now) == b""
        wire.now += times * 60 * SECOND - 1
        assert fast_open.cookie_for(flow, False, wire.now) is None, times
        wire.now += 1
        assert fast_open.cookie_for(flow, False, wire.now) == b"12345678", times
    fast_open.learn(flow, b"", 1460)
    fast_open.lost(flow, wire.now)
    assert fast_open.cookie_for(flow, False, wire.now + 60 * SECOND) == b"12345678"


def test_a_black_hole_after_the_handshake() -> None:
    wire = taught(tcp_fastopen_blackhole_timeout_sec=100)
    peer, connection, _ = connect(wire, b"GET /")
    peer.put("SA", 0, 6)
    connection.send(b"more")
    wire.wait(20)
    assert wire.counter("TCPFastOpenBlackhole") == 1


def test_by_default_black_holes_are_not_looked_for() -> None:
    """As on Linux since 5.14."""
    wire = taught(tcp_syn_retries=3)
    connect(wire, b"GET /")
    wire.wait(20)
    assert wire.counter("TCPFastOpenBlackhole") == 0


# ---- settings ----


@pytest.mark.parametrize("text", ["x", "1-2-3", "1-2-3-100000000", f"{KEY},{KEY},{KEY}", ","])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(SettingError, match="tcp_fastopen_key"):
        Settings().set("tcp_fastopen_key", text)


# ---- both ends ----


def talk(seed: int, lossy: bool = False) -> tuple[list[int], bytes]:
    settings = {"tcp_fastopen": 3}
    twins = Twins(Impairment(delay=50 * MILLISECOND, loss=0.2 if lossy else 0.0), None, seed, settings, settings)
    listener = twins.b.listen("0.0.0.0", 80)
    listener.set_fast_open(10)
    answers: list[Connection] = []

    def call(data: bytes) -> Connection:
        return twins.a.connect("198.18.0.2", 80, prepare=lambda c: bool(data) and c.send(data), fast_open=True)

    got = b""
    times = []
    for _ in range(3):
        connection = call(b"question")
        began = twins.clock()
        while not connection.readable():
            answer = listener.accept()
            if answer is not None:
                answers.append(answer)
            for end in answers:
                if end.readable():
                    end.send(end.receive(100)[::-1])
            assert twins.step()
        times.append((twins.clock() - began) // 1_000_000)
        got += connection.receive(100)
    return times, got


def test_a_round_trip_is_saved() -> None:
    times, got = talk(1)
    assert times == [200, 100, 100] and got == b"noitseuq" * 3


@pytest.mark.parametrize("seed", range(12))
def test_with_loss_everything_arrives_once_and_runs_repeat(seed: int) -> None:
    times, got = talk(seed, True)
    assert got == b"noitseuq" * 3 and talk(seed, True) == (times, got)
