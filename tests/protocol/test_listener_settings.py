"""What one listener may be set to while it runs: bounds, retries, TCP_DEFER_ACCEPT, limits for each source; and what it says of itself."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from scapy.layers.inet import TCP

from fastnet.config import SettingError, Settings
from fastnet.forks import ForkedError
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State
from fastnet.tcp.tuning import NAMES, timeouts_within
from tests.peer import Peer, Wire


def flags(packets: list) -> list[str]:
    return [str(packet[TCP].flags) for packet in packets]


def refused(listener: Listener) -> dict[str, int]:
    return {cause: count for cause, count in listener.statistics().refused.items() if count}


# ---- settings ----


def test_settings_begin_with_the_stacks() -> None:
    wire = Wire(tcp_synack_retries=2, tcp_syncookies=0, somaxconn=50)
    listener = wire.stack.listen("0.0.0.0", 80, 100)
    assert listener.settings() == {"backlog": 50, **{name: getattr(wire.stack.settings, name) for name in NAMES}}
    assert set(NAMES) <= set(vars(Settings()))


def test_settings_are_checked_and_the_listeners_own() -> None:
    wire = Wire()
    one, other = wire.stack.listen("0.0.0.0", 80), wire.stack.listen("0.0.0.0", 81)
    one.set("tcp_synack_retries", 1)
    one.set("backlog", 7)
    assert (one.tcp_synack_retries, one.backlog, other.tcp_synack_retries) == (1, 7, 5)
    with pytest.raises(SettingError, match="0 to 255"):
        one.set("tcp_synack_retries", 256)
    with pytest.raises(SettingError, match="a listener has no setting 'tcp_rmem'"):
        one.set("tcp_rmem", 5)
    assert one.settings()["tcp_synack_retries"] == 1
    Peer(wire, sport=1).syn()
    Peer(wire, port=81, sport=2).syn()
    wire.wait(10)
    assert (len(one.syn_queue), len(other.syn_queue)) == (0, 1)
    assert refused(one) == {"unanswered": 1}


def test_retries_and_overflow_change_for_requests_that_are_there() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80, 0)
    late = Peer(wire, sport=1)
    late.syn()
    listener.set("backlog", 5)
    Peer(wire, sport=2).open_without_accept()
    listener.set("backlog", 0)
    assert late.put("A", 1, 1) == []
    listener.set("tcp_abort_on_overflow", 1)
    assert flags(late.put("A", 1, 1)) == ["R"]
    assert refused(listener) == {"accept_queue_full_ack": 2}


def test_syncookies_while_running() -> None:
    wire = Wire(tcp_syncookies=0)
    listener = wire.stack.listen("0.0.0.0", 80, 0)
    Peer(wire).syn()
    assert Peer(wire, sport=1).put("S") == []
    listener.set("tcp_syncookies", 1)
    peer = Peer(wire, sport=2)
    peer.syn()
    assert len(listener.syn_queue) == 1
    listener.set("tcp_syncookies", 0)
    assert flags(peer.put("A", 1, 1)) == ["R"], "none are believed any more"
    listener.set("tcp_syncookies", 2)
    peer.syn()
    assert peer.put("A", 1, 1) == []
    statistics = listener.statistics()
    assert (statistics.cookies_sent, statistics.cookies_redeemed, statistics.requests, statistics.completed) == (2, 1, 1, 1)
    assert refused(listener) == {"syn_queue_full": 1}


def test_max_syn_backlog_while_running() -> None:
    wire = Wire(tcp_syncookies=0)
    listener = wire.stack.listen("0.0.0.0", 80)
    listener.set("tcp_max_syn_backlog", 4)
    for i in range(4):
        Peer(wire, sport=1000 + i).syn()
    assert Peer(wire, sport=2000).put("S") == []
    assert refused(listener) == {"last_quarter": 1}
    listener.set("tcp_max_syn_backlog", 100)
    Peer(wire, sport=2000).syn()


def test_young_rule_while_running() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80, 0)
    Peer(wire, sport=1).open_without_accept()
    assert Peer(wire, sport=2).put("S") == []
    listener.set("fastnet_young_request_rule", 1)
    Peer(wire, sport=2).syn()
    assert refused(listener) == {"accept_queue_full": 1}


# ---- TCP_DEFER_ACCEPT ----


@pytest.mark.parametrize(("seconds", "timeouts"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (63, 6), (10**6, 255)])
def test_defer_accept_counts_timeouts(seconds: int, timeouts: int) -> None:
    """secs_to_retrans(): the time after 1, 3, 7, 15, ... s that is not less."""
    assert timeouts_within(seconds) == timeouts


def test_defer_accept_completes_when_data_comes() -> None:
    wire = Wire(tcp_defer_accept=30)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    assert peer.put("A", 1, 1) == []
    assert not listener.accept_queue and wire.counter("TCPDeferAcceptDrop") == 1
    assert wire.wait(10) == [], "a peer that has answered is not reminded"
    assert [peer.relative(a) for a in peer.put("PA", 1, 1, b"GET")] == [("A", 1, 4, b"")]
    connection = listener.accept()
    assert connection is not None and connection.receive(9) == b"GET" and connection.handshake.retries == 0
    assert not listener.syn_queue and listener.young == 0


def test_defer_accept_ends_with_a_connection_without_data() -> None:
    """syn_ack_recalc(): near the end the SYN-ACK is sent again, and its ACK completes the handshake."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    listener.set("tcp_defer_accept", 5)
    peer = Peer(wire)
    peer.syn()
    peer.put("A", 1, 1)
    ((when, packet),) = wire.wait(14)
    assert (round(when), flags([packet])) == (7, ["SA"])
    assert peer.put("A", 1, 1) == []
    assert len(listener.accept_queue) == 1 and not listener.syn_queue


def test_defer_accept_gives_up_who_never_answers() -> None:
    wire = Wire(tcp_defer_accept=120, tcp_synack_retries=2)
    listener = wire.stack.listen("0.0.0.0", 80)
    Peer(wire, sport=1).syn()
    answered = Peer(wire, sport=2)
    answered.syn()
    answered.put("A", 1, 1)
    assert [round(when) for when, _ in wire.wait(20)] == [1, 3]
    assert [request.flow.remote_port for request in listener.syn_queue.values()] == [2]
    assert [round(when) for when, _ in wire.wait(300)] == [127 - 20]
    assert not listener.syn_queue and refused(listener) == {"unanswered": 2}


def test_a_fin_is_enough_for_defer_accept() -> None:
    wire = Wire(tcp_defer_accept=30)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    assert [peer.relative(a) for a in peer.put("FA", 1, 1)] == [("A", 1, 2, b"")]
    connection = listener.accept()
    assert connection is not None and connection.state == State.CLOSE_WAIT


# ---- limits for each source ----


def test_requests_of_a_source() -> None:
    wire = Wire(fastnet_source_requests=2)
    listener = wire.stack.listen("0.0.0.0", 80)
    greedy = [Peer(wire, sport=1000 + i) for i in range(3)]
    greedy[0].syn()
    greedy[1].syn()
    assert greedy[2].put("S") == []
    Peer(wire, source="198.18.0.9").syn()
    assert refused(listener) == {"source_requests": 1} and wire.counter("ListenDrops") == 1
    assert listener.statistics().sources == 2
    greedy[0].put("A", 1, 1)
    greedy[2].syn()
    greedy[1].put("R", 1)
    Peer(wire, sport=2000).syn()
    wire.wait(100)
    assert listener.statistics().sources == 1, "a connection is left"
    greedy[0].put("R", 1)
    assert listener.statistics().sources == 0, "what held something is over: nobody has a place in the table"


def test_connections_of_a_source() -> None:
    wire = Wire(fastnet_source_connections=2)
    listener = wire.stack.listen("0.0.0.0", 80)
    peers = [Peer(wire, sport=1000 + i) for i in range(4)]
    for peer in peers[:3]:
        peer.syn()
    for peer in peers[:2]:
        peer.put("A", 1, 1)
    assert flags(peers[2].put("A", 1, 1)) == ["R"], "its request was let in before"
    assert peers[3].put("S") == []
    assert refused(listener) == {"source_connections": 2}
    connection = listener.accept()
    assert connection is not None
    peers[0].put("R", 1)
    assert connection.state == State.CLOSED
    peers[3].open_without_accept()
    assert listener.statistics().sources == 1


def test_time_wait_is_no_connection_of_its_source() -> None:
    wire = Wire(fastnet_source_connections=1)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    connection = peer.open(listener)
    connection.close(wire.now)
    wire.sent()
    peer.put("FA", 1, 2)
    assert connection.state == State.TIME_WAIT and listener.statistics().sources == 0
    Peer(wire, sport=2).syn()


def test_connections_by_cookie_count_for_their_source() -> None:
    wire = Wire(fastnet_source_connections=1, tcp_syncookies=2)
    listener = wire.stack.listen("0.0.0.0", 80)
    peers = [Peer(wire, sport=1000 + i) for i in range(3)]
    peers[0].syn()
    peers[1].syn()
    assert peers[0].put("A", 1, 1) == []
    assert flags(peers[1].put("A", 1, 1)) == ["R"]
    assert peers[2].put("S") == []
    assert refused(listener) == {"source_connections": 2}
    peers[0].put("R", 1)
    assert listener.statistics().sources == 0


def test_a_source_may_be_a_network_and_its_table_is_bounded() -> None:
    wire = Wire(fastnet_source_requests=1)
    listener = wire.stack.listen("0.0.0.0", 80)
    listener.set("fastnet_source_prefix", 24)
    listener.set("fastnet_source_table", 2)
    Peer(wire, source="198.18.5.1").syn()
    assert Peer(wire, source="198.18.5.2").put("S") == []
    Peer(wire, source="198.18.6.1").syn()
    for i in range(3):
        Peer(wire, source="198.18.7.1", sport=1000 + i).syn()
    assert listener.sources is not None and len(listener.sources.sources) == 2 and listener.sources.uncounted == 3
    listener.set("fastnet_source_requests", 0)
    assert listener.sources is None
    Peer(wire, source="198.18.5.2").syn()
    listener.set("fastnet_source_requests", 1)
    wire.wait(100)
    assert len(listener.syn_queue) == 0 and not listener.sources.sources


def test_one_source_does_not_take_it_all() -> None:
    """A flood from one address, no cookies: everybody else comes in."""
    wire = Wire(tcp_syncookies=0, fastnet_source_requests=4)
    listener = wire.stack.listen("0.0.0.0", 80, 16)
    for i in range(100):
        Peer(wire, source="198.18.0.66", sport=1000 + i).put("S")
    for i in range(10):
        Peer(wire, sport=2000 + i).open(listener)
        listener.set("fastnet_source_connections", 0)
    assert refused(listener) == {"source_requests": 96}


@pytest.mark.parametrize("call", ["accept", "set_policy", "set_fast_open", "close"])
def test_each_call_of_a_listener_in_a_child(call: str) -> None:
    """It says whose the stack is, and changes nothing."""
    wire = Wire(tcp_fastopen=3)
    listener = wire.stack.listen("0.0.0.0", 80)
    Peer(wire).open_without_accept()
    wire.stack.after_fork()
    with pytest.raises(ForkedError):
        {
            "accept": listener.accept,
            "set_policy": lambda: listener.set_policy(lambda arrival: None),
            "set_fast_open": lambda: listener.set_fast_open(5),
            "close": lambda: listener.close(wire.now),
        }[call]()
    assert len(listener.accept_queue) == 1 and listener.gate is None and listener.fast_open is None and not listener.closed


# ---- statistics ----


def test_statistics() -> None:
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80, 3)
    peers = [Peer(wire, sport=1000 + i) for i in range(4)]
    for peer in peers:
        peer.syn()
    for peer in peers[:2]:
        peer.put("A", 1, 1)
    peers[2].put("R", 1)
    listener.accept()
    seen = listener.statistics()
    assert (seen.syn_queue, seen.young, seen.accept_queue, seen.syn_queue_high, seen.accept_queue_high) == (1, 1, 1, 4, 2)
    assert (seen.requests, seen.completed, seen.waiting, seen.sources, seen.cookies_sent) == (4, 2, 0, 0, 0)
    assert refused(listener) == {"reset": 1}
    with pytest.raises(FrozenInstanceError):
        seen.young = 5  # type: ignore[misc]
    listener.reset_high_water()
    assert (listener.statistics().syn_queue_high, listener.statistics().accept_queue_high) == (1, 1)
