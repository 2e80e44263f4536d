"""What other stacks got wrong: the eighteen problems of RFC 2525, and segments that nobody should send; and which test proves what."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from scapy.layers.inet import TCP

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.peer import PEER, SECOND, Peer, Wire

HERE = "test_known_bugs.py"
DATA = "test_data.py"
HANDSHAKE = "test_handshake.py"
RECOVERY = "test_recovery.py"
STATES = "test_states.py"
HEADERS = "../leaves/test_headers.py"

PROVED = {
    "RFC 2525 2.1 No initial slow start": (RECOVERY, "test_initial_window"),
    "RFC 2525 2.2 No slow start after retransmission timeout": (DATA, "test_everything_lost_in_one_flight_comes_again"),
    "RFC 2525 2.3 Uninitialized CWND": (HERE, "test_cwnd_does_not_come_from_the_handshake"),
    "RFC 2525 2.4 Inconsistent retransmission": (HERE, "test_what_is_sent_again_is_what_was_sent"),
    "RFC 2525 2.5 Failure to retain above-sequence data": (DATA, "test_out_of_order_data_is_kept_and_acknowledged_at_once"),
    "RFC 2525 2.6 Extra additive constant in congestion avoidance": (RECOVERY, "test_reno_congestion_avoidance"),
    "RFC 2525 2.7 Initial RTO too low": (DATA, "test_lost_data_is_sent_again_with_backoff_and_given_up"),
    "RFC 2525 2.8 Failure of window deflation after loss recovery": (RECOVERY, "test_newreno_without_sack"),
    "RFC 2525 2.9 Excessively short keepalive connection timeout": (HERE, "test_keep_alive_is_patient"),
    "RFC 2525 2.10 Failure to back off retransmission timeout": (RECOVERY, "test_timeouts_double"),
    "RFC 2525 2.11 Insufficient interval between keepalives": (HERE, "test_keep_alive_is_patient"),
    "RFC 2525 2.12 Window probe deadlock": (HERE, "test_a_lost_window_update"),
    "RFC 2525 2.13 Stretch ACK violation": (RECOVERY, "test_delayed_acks"),
    "RFC 2525 2.14 Retransmission sends multiple packets": (HERE, "test_a_timeout_sends_one_segment"),
    "RFC 2525 2.15 Failure to send FIN notification promptly": (HERE, "test_fin_goes_with_the_last_data"),
    "RFC 2525 2.16 Failure to send a RST after Half Duplex Close": (DATA, "test_data_for_an_orphan_is_reset"),
    "RFC 2525 2.17 Failure to RST on close with data pending": (DATA, "test_close_with_unread_data_is_a_rst"),
    "RFC 2525 2.18 Options missing TCP MSS calculation": (DATA, "test_timestamps_make_segments_smaller"),
    "option of length 0": (HEADERS, "test_odd_options"),
    "SYN-ACK without MSS": (HERE, "test_synack_without_mss"),
    "data after FIN": (DATA, "test_two_fins_and_data_after_fin"),
    "two FINs": (DATA, "test_two_fins_and_data_after_fin"),
    "FIN before its data": (DATA, "test_fin_before_its_data_waits"),
    "FIN before its data, after close": (HERE, "test_out_of_order_fin_after_close"),
    "data behind a FIN that came before its data": (HERE, "test_data_behind_an_early_fin"),
    "SYN with data": (HERE, "test_syn_with_data"),
    "SYN-ACK with data": (HERE, "test_synack_with_data"),
    "window scale above 14": (HERE, "test_window_scale_above_14"),
    "duplicate timestamp option": (HEADERS, "test_duplicate_timestamps_and_large_window_scale"),
    "TSval 0": (HERE, "test_a_timestamp_of_zero"),
    "bad data offset": (HEADERS, "test_bad_tcp_headers"),
    "bad IHL": (HEADERS, "test_bad_ip_headers"),
    "ACK of data never sent, in every state": (STATES, "test_cell"),
    "Christmas tree": (HERE, "test_all_flags_at_once"),
    "LAND: a SYN from our own address": (HEADERS, "test_bad_ip_headers"),
    "optimistic SACKs": (HERE, "test_sack_blocks_of_nonsense"),
    "window that shrinks": (HERE, "test_a_window_that_shrinks"),
}


@pytest.mark.parametrize("name", PROVED)
def test_every_proof_exists(name: str) -> None:
    file, function = PROVED[name]
    tree = ast.parse((Path(__file__).parent / file).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_all_of_rfc_2525() -> None:
    assert [name.split()[2] for name in PROVED if name.startswith("RFC")] == [f"2.{i}" for i in range(1, 19)]


def connected(wire: Wire, options: list | None = None, **fields: int) -> tuple[Peer, Connection]:
    peer = Peer(wire)
    return peer, peer.open(wire.stack.listen("0.0.0.0", 80), options if options is not None else [("MSS", 1000)])


def opening(wire: Wire) -> tuple[Peer, Connection]:
    """A connection of our own, whose SYN the peer has seen."""
    connection = wire.stack.connect(PEER, 80, local_port=40000)
    peer = Peer(wire, port=40000, sport=80)
    (syn,) = wire.sent()
    peer.irs = syn[TCP].seq
    return peer, connection


# ---- RFC 2525 ----


def test_cwnd_does_not_come_from_the_handshake() -> None:
    """2.3: a peer whose SYN-ACK has no MSS got an unbounded CWND from one stack. Ten segments of 536 bytes."""
    wire = Wire()
    peer, connection = opening(wire)
    peer.put("SA", 0, 1, window=65535)
    assert connection.state == State.ESTABLISHED
    connection.send(bytes(60_000))
    assert [len(peer.relative(p)[3]) for p in wire.sent()] == [536] * 10


def test_what_is_sent_again_is_what_was_sent() -> None:
    """2.4: the same bytes at the same sequence numbers, though more was queued since and the segments are cut otherwise."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.nodelay = True
    stream = bytes(i * 7 & 255 for i in range(3000))
    sent: dict[int, int] = {}
    for start, end in ((0, 10), (10, 25), (25, 1500), (1500, 3000)):
        connection.send(stream[start:end])
        for packet in wire.sent():
            _, seq, _, data = peer.relative(packet)
            sent |= {seq - 1 + i: byte for i, byte in enumerate(data)}
    for _, packet in wire.wait(20):
        _, seq, _, data = peer.relative(packet)
        assert all(sent[seq - 1 + i] == byte for i, byte in enumerate(data))
    assert sent == dict(enumerate(stream))


def test_keep_alive_is_patient() -> None:
    """2.9, 2.11: two hours, 75 s between probes, and nine of them without an answer before the end."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.need_patience().keepalive = True
    connection.watch()
    sent = wire.wait(20_000)
    assert [round(when) for when, _ in sent] == [7200 + 75 * i for i in range(10)]
    assert [peer.relative(p)[:2] for _, p in sent] == [("A", 0)] * 9 + [("RA", 1)]
    assert connection.state == State.CLOSED


def test_a_lost_window_update() -> None:
    """2.12: the window shut, the update lost; the answer to the probe says that it is open, and everything goes."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.nodelay = True
    peer.put("A", 1, 1, window=0)
    connection.send(bytes(3000))
    ((_, probe),) = wire.wait(1.1)
    assert peer.relative(probe) == ("A", 0, 1, b"")
    assert sum(len(peer.relative(p)[3]) for p in peer.put("A", 1, 1, window=8000)) == 3000
    assert peer.put("A", 1, 3001, window=8000) == [] and connection.snd_una == connection.snd_nxt


def test_a_timeout_sends_one_segment() -> None:
    """2.14."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.send(bytes(8000))
    assert len(wire.sent()) == 8
    assert [peer.relative(p)[1] for _, p in wire.wait(1.5)] == [1]


@pytest.mark.parametrize("nodelay", [False, True])
def test_fin_goes_with_the_last_data(nodelay: bool) -> None:
    """2.15: at once, with what Nagle's rule holds back."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.nodelay = nodelay
    connection.send(b"first")
    wire.sent()
    connection.send(b"second")
    connection.close(wire.now)
    assert [peer.relative(p) for p in wire.sent()] == [("FPA", 6, 1, b"second")]


# ---- handshakes ----


def test_synack_without_mss() -> None:
    """RFC 9293 MUST-15."""
    wire = Wire()
    peer, connection = opening(wire)
    assert [peer.relative(p) for p in peer.put("SA", 0, 1)] == [("A", 1, 1, b"")]
    connection.send(bytes(1000))
    assert next(len(peer.relative(p)[3]) for p in wire.sent()) == 536


def test_syn_with_data() -> None:
    """RFC 9293 section 3.10.7.2 lets it wait, or be sent again: it is not acknowledged, and comes again after the handshake."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    (synack,) = peer.put("S", 0, data=b"early")
    peer.irs = synack[TCP].seq
    assert peer.relative(synack) == ("SA", 0, 1, b"")
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None and connection.readable() == 0
    assert [peer.relative(p) for p in peer.put("PA", 1, 1, b"early")] == [("A", 1, 6, b"")]
    assert connection.receive(9) == b"early"


def test_synack_with_data() -> None:
    """RFC 9293 section 3.10.7.3: text behind the SYN is for the reader; so is a FIN."""
    wire = Wire()
    peer, connection = opening(wire)
    assert [peer.relative(p) for p in peer.put("SA", 0, 1, b"hello")] == [("A", 1, 6, b"")]
    assert connection.state == State.ESTABLISHED and connection.receive(9) == b"hello"
    wire = Wire()
    peer, connection = opening(wire)
    assert [peer.relative(p) for p in peer.put("SFA", 0, 1, b"hello")] == [("A", 1, 7, b"")]
    assert connection.state == State.CLOSE_WAIT and connection.receive(9) == b"hello"


def test_window_scale_above_14() -> None:
    """RFC 7323 section 2.3: taken as 14."""
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 1000), ("WScale", 255)])
    peer.put("A", 1, 1, window=10)
    assert connection.snd_wnd == 10 << 14


def test_a_timestamp_of_zero() -> None:
    """RFC 7323: a TSval of 0 is a time like any other; it passes PAWS, is echoed, and what comes after it is later."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn([("MSS", 1000), ("Timestamp", (0, 0))])
    pad = [("NOP", None), ("NOP", None)]
    peer.put("A", 1, 1, options=[*pad, ("Timestamp", (0, 0))])
    connection = listener.accept()
    assert connection is not None
    (answer,) = peer.put("PA", 1, 1, b"abc", options=[*pad, ("Timestamp", (0, 0))])
    assert dict(answer[TCP].options)["Timestamp"][1] == 0
    (answer,) = peer.put("PA", 4, 1, b"def", options=[*pad, ("Timestamp", (1, 0))])
    assert dict(answer[TCP].options)["Timestamp"][1] == 1
    assert connection.receive(9) == b"abcdef" and wire.counter("PAWSEstab") == 0
    connection.send(b"x")
    wire.sent()
    # An echo of 0 is no time of ours: no round trip is measured by it, and no retransmission undone.
    peer.put("A", 7, 2, options=[*pad, ("Timestamp", (2, 0))])
    assert connection.snd_una == connection.snd_nxt


# ---- segments that nobody should send ----


def test_out_of_order_fin_after_close() -> None:
    """We have closed; the peer's FIN comes before its last data. Nobody reads any more, so the data is refused (SHLD-3)."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.close(wire.now)
    wire.sent()
    peer.put("A", 1, 2)
    assert connection.state == State.FIN_WAIT_2
    assert [peer.relative(p) for p in peer.put("FA", 4, 2)] == [("A", 2, 1, b"")]
    assert connection.state == State.FIN_WAIT_2
    assert [peer.relative(p)[0] for p in peer.put("PA", 1, 2, b"abc")] == ["RA"]
    assert connection.state == State.CLOSED and len(wire.stack.context.demux) == 0
    # With a half-close the data is read, and the FIN counts when it has come.
    wire = Wire()
    peer, connection = connected(wire)
    connection.shutdown()
    wire.sent()
    peer.put("A", 1, 2)
    peer.put("FA", 4, 2)
    assert [peer.relative(p) for p in peer.put("PA", 1, 2, b"abc")] == [("A", 2, 5, b"")]
    assert connection.state == State.TIME_WAIT and connection.receive(9) == b"abc"


def test_data_behind_an_early_fin() -> None:
    """A FIN at one place, then data beyond that place: the stream ends at the FIN."""
    wire = Wire()
    peer, connection = connected(wire)
    peer.put("FA", 4, 1)
    peer.put("PA", 5, 1, b"beyond")
    peer.put("PA", 1, 1, b"abc")
    assert connection.state == State.CLOSE_WAIT and connection.receive(99) == b"abc"
    assert connection.rcv_nxt == (peer.iss + 5) & 0xFFFFFFFF


def test_all_flags_at_once() -> None:
    """Every combination of flags in every place: no exception, never a RST for a RST, and an established connection stays one."""
    for flags in range(256):
        wire = Wire()
        peer, connection = connected(wire)
        letters = "".join(letter for bit, letter in enumerate("FSRPAUEC") if flags >> bit & 1)
        answers = peer.put(letters, 2, 1, b"data")
        assert connection.state == State.ESTABLISHED
        assert not any("R" in str(p[TCP].flags) for p in answers)
        for state in ("", "listen"):
            wire = Wire()
            if state:
                wire.stack.listen("0.0.0.0", 80)
            answers = Peer(wire).put(letters, 2, 1, b"data")
            assert len(answers) <= 1 and not ("R" in letters and answers)


@pytest.mark.parametrize(
    "block", [(5001, 6001), (2001, 1001), (1, 1), (-5000, -4000), (-5000, 2001), (1, 2001), (1, 100_000), (1 << 31, (1 << 31) + 5)],
)  # fmt: skip
def test_sack_blocks_of_nonsense(block: tuple[int, int]) -> None:
    """Of what was never sent, the wrong way round, empty, far behind: nothing is believed, and the data arrives in the end."""
    wire = Wire()
    peer, connection = connected(wire, [("MSS", 1000), ("SAckOK", b"")])
    connection.nodelay = True
    connection.send(bytes(4000))
    wire.sent()
    edges = tuple((peer.irs + edge) & 0xFFFFFFFF for edge in block)
    for _ in range(3):
        peer.put("A", 1, 1, options=[("NOP", None), ("NOP", None), ("SAck", edges)])
    board = connection.need_sender().recovery.board
    # Also one that begins at or before SND.UNA: the ACK beside it says that this byte is missing.
    assert board.sacked == board.delivered == 0
    wire.now += SECOND
    wire.poll()
    peer.put("A", 1, 4001)
    assert connection.snd_una == connection.snd_nxt and wire.wait(100) == []


def test_a_window_that_shrinks() -> None:
    """RFC 9293 MUST-34, SHLD-15, SHLD-16: no new data, but what is on its way goes again; and the connection lives on (SHLD-17)."""
    wire = Wire()
    peer, connection = connected(wire)
    connection.send(bytes(8000))
    assert len(wire.sent()) == 8
    assert peer.put("A", 1, 1001, window=2000) == []
    sent = wire.wait(60)
    assert sent and {peer.relative(p)[1] for _, p in sent} == {1001}
    assert connection.state == State.ESTABLISHED
    peer.put("A", 1, 8001, window=64240)
    assert connection.snd_una == connection.snd_nxt and wire.wait(100) == []
