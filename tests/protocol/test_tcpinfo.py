"""TCP_INFO, field by field, of connections whose every number is known."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import TCP

from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State
from fastnet.tcpinfo import KINDS, LAYOUT, NAMES, NO_BOUND, tcp_info
from tests.peer import MILLISECOND, SECOND, Peer, Wire, call


def info(wire: Wire, connection: Connection | None = None, listener: Listener | None = None) -> dict[str, int]:
    """Every field that is not 0; none has a bound for pacing."""
    values = dict(zip(NAMES, LAYOUT.unpack(tcp_info(connection, listener, wire.now)), strict=True))
    assert values.pop("max_pacing_rate") == NO_BOUND
    return {name: value for name, value in values.items() if value}


def differs(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after.get(name, 0) for name in NAMES if before.get(name, 0) != after.get(name, 0)}


def test_the_layout_is_linuxs() -> None:
    """include/uapi/linux/tcp.h: where the fields are that programs look for most."""
    offsets = {}
    at = 0
    for name, kind in KINDS.items():
        offsets[name] = at
        at += {"B": 1, "H": 2, "I": 4, "Q": 8}[kind]
    known = {"rto": 8, "unacked": 24, "rtt": 68, "snd_cwnd": 80, "total_retrans": 100, "pacing_rate": 104, "min_rtt": 148, "snd_wnd": 228}
    known |= {"total_rto": 240, "total_rto_time": 244, "received_ce": 248, "accecn_opt_seen": 278}
    assert {name: offsets[name] for name in known} == known
    assert LAYOUT.size == at == 280


def test_nothing_and_a_listener() -> None:
    wire = Wire()
    assert info(wire) == {"state": State.CLOSED, "snd_mss": 536, "rto": 1_000_000}
    listener = wire.stack.listen("0.0.0.0", 80, 7)
    assert info(wire, None, listener) == {"state": State.LISTEN, "sacked": 7}
    Peer(wire).open_without_accept()
    assert info(wire, None, listener) == {"state": State.LISTEN, "unacked": 1, "sacked": 7}


def test_an_open_that_is_not_over() -> None:
    wire = Wire()
    _, connection, _ = call(wire)
    first = info(wire, connection)
    assert first["state"] == State.SYN_SENT and "options" not in first and "wscale" not in first and "retransmits" not in first
    assert first["unacked"] == 1 and first["snd_cwnd"] == 10 and first["pmtu"] == 1500
    wire.wait(3.5)
    later = info(wire, connection)
    assert later["retransmits"] == 2 and later["total_retrans"] == 2 and later["segs_out"] == 3
    assert (later["total_rto"], later["total_rto_recoveries"]) == (2, 1)
    connection.handshake.retries = 300
    assert info(wire, connection)["retransmits"] == 255 and info(wire, connection)["total_retrans"] == 300


def connected(options: list[Any]) -> tuple[Wire, Peer, Connection]:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn(options)
    wire.now += 40 * MILLISECOND
    peer.put("A", 1, 1, window=1000, options=[("Timestamp", (8, 0))] if any(name == "Timestamp" for name, _ in options) else [])
    connection = listener.accept()
    assert connection is not None
    return wire, peer, connection


def test_a_new_connection() -> None:
    """Without options, and with all of them."""
    wire, _, connection = connected([("MSS", 1000)])
    wire.now += 70 * MILLISECOND
    assert info(wire, connection) == {
        "state": State.ESTABLISHED, "rto": 1_000_000, "snd_mss": 1000, "rcv_mss": 536, "last_ack_recv": 70, "pmtu": 1500,
        "rcv_ssthresh": 65535, "rtt": 40_000, "rttvar": 20_000, "snd_ssthresh": 0x7FFFFFFF, "snd_cwnd": 10, "advmss": 1460,
        "reordering": 3, "min_rtt": 40_000, "snd_wnd": 1000, "rcv_wnd": 65535, "segs_in": 2, "delivered": 1,
    }  # fmt: skip
    wire, _, connection = connected([("MSS", 1000), ("SAckOK", b""), ("WScale", 3), ("Timestamp", (7, 0))])
    told = info(wire, connection)
    assert told["options"] == 1 | 2 | 4 and told["wscale"] == 3 | 7 << 4 and told["snd_mss"] == 988 and told["advmss"] == 1448
    assert told["snd_wnd"] == 8000
    connection.handshake.user_mss = 600
    assert info(wire, connection)["advmss"] == 588


def test_what_was_received() -> None:
    wire, peer, connection = connected([("MSS", 1000)])
    peer.put("A", 1, 1, bytes(700))
    wire.now += 30 * MILLISECOND
    told = info(wire, connection)
    assert told["rcv_mss"] == 700 and told["last_data_recv"] == 30 and told["ato"] == 40_000
    assert (told["bytes_received"], told["data_segs_in"], told["segs_in"]) == (700, 1, 3) and "rcv_ooopack" not in told
    assert told["rcv_space"] == told["rcv_ssthresh"] == 131072 and told["rcv_wnd"] == 65535 - 700
    connection.need_patience().probes = 4
    assert info(wire, connection)["probes"] == 4


def test_what_is_on_its_way() -> None:
    """Segments are counted as Linux does: a rest is one too."""
    wire, peer, connection = connected([("MSS", 1000), ("SAckOK", b"")])
    peer.put("A", 1, 1, window=60_000)
    connection.send(bytes(12_500))
    assert len(wire.sent()) == 10
    wire.now += 20 * MILLISECOND
    told = info(wire, connection)
    assert told["unacked"] == 10 and told["notsent_bytes"] == 2_500 and told["last_data_sent"] == 20 and "ca_state" not in told
    assert told["data_segs_out"] == told["segs_out"] == 10 and told["bytes_sent"] == 10_000 and told["delivered"] == 1
    assert told["busy_time"] == 20_000 and "bytes_acked" not in told and "rwnd_limited" not in told and "sndbuf_limited" not in told
    assert told["snd_cwnd"] == 10 and told["snd_ssthresh"] == 0x7FFFFFFF and "retransmits" not in told and "sacked" not in told
    peer.put("A", 1, 1, options=[("SAck", (peer.irs + 1001, peer.irs + 4001))], window=60_000)
    told = info(wire, connection)
    assert told["ca_state"] == 3 and told["sacked"] == 3 and told["snd_ssthresh"] <= 10
    assert told["retrans"] == 1 and told["total_retrans"] == 1
    wire.wait(10)
    told = info(wire, connection)
    assert told["bytes_retrans"] == 1000 * told["total_retrans"] and told["bytes_sent"] == 10_000 + told["bytes_retrans"]
    assert told["total_rto"] == told["retransmits"] and told["total_rto_recoveries"] == 1 and "total_rto_time" not in told
    assert told["ca_state"] == 4 and told["retransmits"] >= 2 and told["backoff"] == told["retransmits"] and told["lost"] >= 1
    sender = connection.sender
    assert sender is not None
    assert told["rto"] > 1_000_000
    assert told["total_retrans"] == sender.resent > 2
    sender.unanswered = sender.rtt.backoff = 256
    told = info(wire, connection)
    assert told["retransmits"] == told["backoff"] == 255
    peer.put("A", 1, 10_001, window=60_000)
    told = info(wire, connection)
    assert "ca_state" not in told and "lost" not in told and "retransmits" not in told and "last_ack_recv" not in told


def test_after_the_end() -> None:
    """What is over still tells its state, and that it was sent again."""
    wire, peer, connection = connected([("MSS", 1000)])
    before = info(wire, connection)
    connection.abort(wire.now)
    assert differs(before, info(wire, connection)) == {"state": State.CLOSED, "segs_out": 1}
    wire, peer, connection = connected([("MSS", 1000)])
    connection.shutdown()
    (fin,) = wire.sent()
    assert fin[TCP].flags == "FA"
    peer.put("FA", 1, 2)
    wire.now += SECOND
    assert info(wire, connection)["state"] == State.TIME_WAIT


def test_a_client_s_syn_is_acknowledged_and_a_fin_counts() -> None:
    """As Linux counts: tp->bytes_acked and tp->bytes_received are of sequence numbers."""
    wire = Wire()
    peer, connection, _ = call(wire)
    peer.put("SA", 0, 1, options=[("MSS", 1000)])
    assert info(wire, connection)["bytes_acked"] == 1 and "bytes_received" not in info(wire, connection)
    connection.send(bytes(10))
    wire.sent()
    peer.put("FA", 1, 11, b"12345")
    told = info(wire, connection)
    assert (told["bytes_acked"], told["bytes_sent"], told["bytes_received"], told["delivered"]) == (11, 10, 6, 2)
    connection.shutdown()
    wire.sent()
    assert info(wire, connection)["bytes_sent"] == 10 and info(wire, connection)["delivered"] == 2


def test_bytes_received_beyond_4_gib() -> None:
    """Nothing but the window's right edge knows how often the numbers have gone round."""
    wire, peer, connection = connected([("MSS", 1000)])
    peer.put("A", 1, 1, bytes(700))
    first = connection.handshake.irs + 1
    receiver = connection.receiver
    assert receiver is not None
    total = 700
    for step in (*[0x3FFFF000] * 4, 10_000, 1000, 1000, 50_000, *[0x3FFFF000] * 4, 100, 100_000):
        # As if so much had come meanwhile.
        total += step
        connection.rcv_nxt = first + total & 0xFFFFFFFF
        connection.rcv_adv = connection.rcv_nxt + 60_000 & 0xFFFFFFFF
        receiver.acked = connection.rcv_nxt
        connection.snd_wl1 = connection.rcv_nxt
        peer.iss = connection.rcv_nxt
        peer.put("A", 0, 1, bytes(100))
        total += 100
        connection.receive(1 << 20)
        wire.sent()
        assert info(wire, connection)["bytes_received"] == total, step


def test_what_came_out_of_order_and_twice() -> None:
    wire, peer, connection = connected([("MSS", 1000), ("SAckOK", b"")])
    peer.put("A", 1001, 1, bytes(1000))
    peer.put("A", 3001, 1, bytes(1000))
    told = info(wire, connection)
    assert (told["rcv_ooopack"], told["data_segs_in"]) == (2, 2) and "bytes_received" not in told
    connection.send(bytes(100))
    wire.sent()
    wire.wait(1.5)
    una = peer.irs + 1
    peer.put("A", 4001, 101, options=[("SAck", (una, una + 100))])
    assert info(wire, connection)["dsack_dups"] == 1


def test_disorder() -> None:
    """Something arrived ahead, and it is too early to call anything lost."""
    wire, peer, connection = connected([("MSS", 1000), ("SAckOK", b"")])
    peer.put("A", 1, 1, window=60_000)
    connection.send(bytes(5_000))
    wire.sent()
    wire.now += 40 * MILLISECOND
    peer.put("A", 1, 1, options=[("SAck", (peer.irs + 1001, peer.irs + 2001))], window=60_000)
    told = info(wire, connection)
    assert (told["ca_state"], told["sacked"], told["delivered"]) == (1, 1, 2) and "lost" not in told
    peer.put("A", 1, 1001, options=[("SAck", (peer.irs + 1001, peer.irs + 2001))], window=60_000)
    peer.put("A", 1, 2001, window=60_000)
    assert info(wire, connection).get("ca_state", 0) == 0
    assert info(wire, connection)["reord_seen"] == 1 and info(wire, connection)["bytes_acked"] == 2000


def test_what_the_sender_waits_for() -> None:
    """Linux's tcp_chrono: the window, the program, the network."""
    wire, peer, connection = connected([("MSS", 1000)])
    peer.put("A", 1, 1, window=2000)
    connection.send(bytes(5_000))
    wire.sent()
    wire.now += 30 * MILLISECOND
    told = info(wire, connection)
    assert told["busy_time"] == told["rwnd_limited"] == 30_000 and "sndbuf_limited" not in told
    peer.put("A", 1, 2001, window=60_000)
    wire.now += 20 * MILLISECOND
    told = info(wire, connection)
    assert (told["busy_time"], told["rwnd_limited"]) == (50_000, 30_000)
    peer.put("A", 1, 5001, window=60_000)
    wire.now += SECOND
    told = info(wire, connection)
    assert (told["busy_time"], told["rwnd_limited"]) == (50_000, 30_000)


def test_timeouts_and_how_long_they_took() -> None:
    wire, peer, connection = connected([("MSS", 1000)])
    connection.send(bytes(100))
    wire.sent()
    wire.wait(2.5)
    first = info(wire, connection)
    assert first["total_rto"] >= 1 and first["total_rto_recoveries"] == 1 and "total_rto_time" not in first
    peer.put("A", 1, 101)
    assert 0 < info(wire, connection)["total_rto_time"] < 2500
