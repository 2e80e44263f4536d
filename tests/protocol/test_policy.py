"""A handshake that a program decides on: every verdict, in virtual time."""

from __future__ import annotations

import random
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from fastnet._headers import Segment
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.policy import ACCEPT, COOKIE, DROP, RESET, Accept, Arrival, Deferred, Delay, chain, options_in
from fastnet.tcp.states import State
from tests.peer import MILLISECOND, SECOND, STACK, M, Peer, Wire

LINUX_SYN = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (77, 0)), ("NOP", None), ("WScale", 7)]


def flags(packets: list) -> list[str]:
    return [str(packet[TCP].flags) for packet in packets]


def refused(listener: Listener) -> dict[str, int]:
    return {cause: count for cause, count in listener.statistics().refused.items() if count}


def raw_answer(wire: Wire, packet: Packet) -> bytes:
    """The one answer as it stands, its checksum good: scapy would build odd options another way."""
    wire.device.inject(bytes(packet))
    wire.stack.poll(wire.now)
    (answer,) = wire.device.drain()
    segment = Segment()
    segment.read(answer)
    assert segment.is_parsed
    return answer


def ruled(policy: Any, **settings: Any) -> tuple[Wire, Listener]:
    wire = Wire(**settings)
    listener = wire.stack.listen("0.0.0.0", 80, 10)
    listener.set_policy(policy)
    return wire, listener


def test_what_a_policy_sees() -> None:
    seen: list[Arrival] = []
    wire, _ = ruled(seen.append)
    Peer(wire, sport=1).syn(LINUX_SYN, window=1234)
    packet = Peer(wire, sport=2, iss=5).packet("SEC", data=b"abc")
    packet[IP].ttl, packet[IP].tos = 33, 4
    wire.now += 5
    wire.put(packet)
    first, second = seen
    assert (first.source, first.flow.local_address, first.flow.local_port, first.flow.remote_port) == ("198.18.0.1", STACK, 80, 1)
    assert (first.mss, first.wscale, first.timestamp, first.sack, first.ecn, first.window) == (1460, 7, 77, True, False, 1234)
    assert (first.now, second.now, first.seq, second.seq, second.data) == (SECOND, SECOND + 5, 1000, 5, 3)
    assert (second.mss, second.wscale, second.timestamp, second.sack, second.ecn) == (None, None, None, False, True)
    assert (second.ttl, second.tos) == (33, 4)
    assert [(a.syn_queue, a.young, a.accept_queue, a.waiting) for a in seen] == [(0, 0, 0, 0), (1, 1, 0, 0)]


@pytest.mark.parametrize("verdict", [None, ACCEPT])
def test_accept(verdict: Any) -> None:
    wire, listener = ruled(lambda arrival: verdict)
    plain = Wire()
    plain.stack.listen("0.0.0.0", 80)
    assert bytes(Peer(wire).syn(LINUX_SYN)) == bytes(Peer(plain).syn(LINUX_SYN)), "as if there were no policy"
    Peer(wire, sport=2).open(listener)


def test_drop() -> None:
    wire, listener = ruled(lambda arrival: DROP)
    assert Peer(wire).put("S") == [] and wire.wait(100) == []
    assert refused(listener) == {"policy_drop": 1} and wire.counter("ListenDrops") == 1 and not listener.syn_queue


def test_reset() -> None:
    wire, listener = ruled(lambda arrival: RESET)
    (answer,) = Peer(wire).put("S")
    assert (str(answer[TCP].flags), answer[TCP].ack) == ("RA", 1001)
    assert refused(listener) == {"policy_reset": 1}


@pytest.mark.parametrize("setting", [0, 1, 2])
def test_cookie(setting: int) -> None:
    wire, listener = ruled(lambda arrival: COOKIE, tcp_syncookies=setting)
    peer = Peer(wire)
    peer.syn()
    assert not listener.syn_queue
    assert [peer.relative(a) for a in peer.put("PA", 1, 1, b"hi")] == [("A", 1, 3, b"")]
    assert listener.statistics().cookies_redeemed == 1
    listener.set("backlog", 1)
    Peer(wire, sport=3).syn()
    listener.set("backlog", 0)
    assert Peer(wire, sport=2).put("S") == [], "the accept queue is full (sk_acceptq_is_full(): more than the backlog)"
    assert refused(listener) == {"accept_queue_full": 1}


def test_delay() -> None:
    wire, listener = ruled(lambda arrival: Delay(2.5))
    peer = Peer(wire)
    assert peer.put("S") == [] and listener.statistics().waiting == 1
    wire.now += SECOND
    assert peer.put("S") == [], "the peer's own retransmission changes nothing"
    ((when, synack),) = wire.wait(2)
    assert round(when, 3) == 1.5 and flags([synack]) == ["SA"]
    peer.irs = synack[TCP].seq
    wire.now += 40 * MILLISECOND
    assert peer.put("A", 1, 1) == []
    connection = listener.accept()
    assert connection is not None and listener.statistics().waiting == 0
    assert connection.handshake.rtt < SECOND, "the delay is no round trip"


def test_delay_then_another_verdict() -> None:
    wire, listener = ruled(lambda arrival: Delay(1, RESET if arrival.flow.remote_port == 1 else DROP))
    Peer(wire, sport=1).put("S")
    Peer(wire, sport=2).put("S")
    assert [(round(when, 3), str(packet[TCP].flags), packet[TCP].ack) for when, packet in wire.wait(5)] == [(1, "RA", 1001)]
    assert refused(listener) == {"policy_reset": 1, "policy_drop": 1} and len(wire.stack.context.timers) == 0


class Keeper:
    """Defers everything, and keeps the handles."""

    def __init__(self, timeout: float = 10) -> None:
        self.timeout = timeout
        self.kept: list[Deferred] = []

    def __call__(self, arrival: Arrival) -> Deferred:
        self.kept.append(arrival.defer(self.timeout))
        return self.kept[-1]


def test_defer_and_accept() -> None:
    keeper = Keeper()
    wire, listener = ruled(keeper)
    peer = Peer(wire)
    assert peer.put("S", options=LINUX_SYN) == [] and wire.wait(3) == []
    (handle,) = keeper.kept
    assert handle.waits and handle.decision is None
    handle.accept(Accept(ttl=9))
    handle.refuse()
    (synack,) = wire.sent()
    assert flags([synack]) == ["SA"] and synack[IP].ttl == 9 and not handle.waits
    peer.irs = synack[TCP].seq
    peer.options = [("NOP", None), ("NOP", None), ("Timestamp", (78, dict(synack[TCP].options)["Timestamp"][0]))]
    assert peer.put("A", 1, 1) == [] and listener.accept() is not None
    assert wire.wait(100) == [] and not refused(listener) and len(wire.stack.context.timers) == 0


@pytest.mark.parametrize("reset", [True, False])
def test_defer_and_refuse(reset: bool) -> None:
    keeper = Keeper()
    wire, listener = ruled(keeper)
    Peer(wire).put("S")
    keeper.kept[0].refuse(reset)
    assert flags(wire.sent()) == (["RA"] if reset else [])
    assert refused(listener) == {"policy_reset" if reset else "policy_drop": 1}
    assert wire.wait(100) == []


def test_defer_and_forget() -> None:
    keeper = Keeper(timeout=3)
    wire, listener = ruled(keeper)
    Peer(wire).put("S")
    assert wire.wait(2.9) == [] and keeper.kept[0].waits
    assert wire.wait(0.2) == [] and not keeper.kept[0].waits
    keeper.kept[0].accept()
    assert wire.sent() == []
    assert refused(listener) == {"policy_expired": 1} and listener.statistics().waiting == 0


def test_deferred_syns_are_bounded() -> None:
    keeper = Keeper()
    wire, listener = ruled(keeper, fastnet_policy_waiting=3)
    for i in range(5):
        Peer(wire, sport=1000 + i).put("S")
    assert listener.statistics().waiting == 3 and refused(listener) == {"policy_full": 2}
    assert [handle.waits for handle in keeper.kept] == [True, True, True, False, False]
    for handle in keeper.kept:
        handle.accept()
    assert flags(wire.sent()) == ["SA"] * 3


def test_a_decision_inside_the_policy() -> None:
    def policy(arrival: Arrival) -> Deferred:
        handle = arrival.defer()
        handle.accept()
        return handle

    wire, _ = ruled(policy)
    assert flags(Peer(wire).put("S")) == ["SA"]


def test_the_bounds_hold_when_the_waiting_is_over() -> None:
    keeper = Keeper()
    wire, listener = ruled(keeper)
    for i in range(3):
        Peer(wire, sport=1000 + i).put("S")
    listener.set("backlog", 0)
    for handle in keeper.kept:
        handle.accept()
    assert flags(wire.sent()) == ["SA"] and refused(listener) == {"syn_queue_full": 2}


@pytest.mark.parametrize("bound", ["syn_queue_full", "last_quarter", "accept_queue_full", "source_connections", "source_requests"])
def test_each_bound_holds_for_a_syn_that_waited(bound: str) -> None:
    """Neither answered nor queued, and counted once, under the bound that refused it."""
    keeper = Keeper()
    wire, listener = ruled(keeper, tcp_syncookies=0)
    listener.set("fastnet_source_connections", 1)
    waiting = Peer(wire)
    waiting.put("S")
    if bound == "syn_queue_full":
        listener.set("backlog", 0)
    elif bound == "last_quarter":
        listener.set("tcp_max_syn_backlog", 1)
        Peer(wire, sport=40002, source="198.18.0.9").put("S")
        keeper.kept[1].accept()
        assert flags(wire.sent()) == ["SA"]
    elif bound == "accept_queue_full":
        listener.set("backlog", 0)
        listener.set("fastnet_young_request_rule", 0)
    elif bound == "source_requests":
        listener.set("fastnet_source_requests", 1)
    # Another's handshake fills the place.
    source = {"source": "198.18.0.9"} if "source" not in bound else {}
    other = Peer(wire, sport=40001, **source)
    other.put("S")
    keeper.kept[-1].accept()
    (synack,) = wire.sent()
    if bound in ("accept_queue_full", "source_connections"):
        other.irs = synack[TCP].seq
        assert other.put("A", 1, 1) == [] and len(listener.accept_queue) == 1
    queued, drops = len(listener.syn_queue), wire.counter("ListenDrops")
    keeper.kept[0].accept()
    assert wire.sent() == [] and len(listener.syn_queue) == queued
    assert refused(listener) == {bound: 1} and wire.counter("ListenDrops") == drops + 1


def test_the_peer_takes_its_syn_back() -> None:
    keeper = Keeper()
    wire, listener = ruled(keeper)
    peer = Peer(wire)
    peer.put("S")
    assert peer.put("R", 9) == [] and keeper.kept[0].waits, "not at another place"
    assert peer.put("R", 1) == [] and not keeper.kept[0].waits
    assert refused(listener) == {"reset": 1} and len(wire.stack.context.timers) == 0


def test_the_4_tuple_is_taken_in_the_meantime() -> None:
    """Another policy let the peer's next SYN in: the old handle is over."""
    keeper = Keeper()
    wire, listener = ruled(keeper)
    peer = Peer(wire)
    peer.put("S")
    listener.set_policy(None)
    assert not keeper.kept[0].waits
    peer.syn()
    keeper.kept[0].accept()
    assert wire.sent() == [] and len(listener.syn_queue) == 1


def test_closing_the_listener_ends_the_waiting() -> None:
    keeper = Keeper()
    wire, listener = ruled(keeper)
    Peer(wire).put("S")
    listener.close(wire.now)
    keeper.kept[0].accept()
    assert wire.wait(100) == [] and len(wire.stack.context.timers) == 0


@pytest.mark.endpoint_fails
def test_what_a_policy_raises_is_a_drop() -> None:
    def policy(arrival: Arrival) -> None:
        raise ZeroDivisionError(arrival.source)

    wire, listener = ruled(policy)
    assert Peer(wire).put("S") == [] and Peer(wire).put("S") == []
    assert refused(listener) == {"policy_failed": 2}
    assert listener.gate is not None and isinstance(listener.gate.error, ZeroDivisionError)
    listener.set_policy(lambda arrival: 5)  # type: ignore[arg-type, return-value]
    assert Peer(wire).put("S") == [] and refused(listener) == {"policy_failed": 3}
    listener.set_policy(None)
    Peer(wire).syn()


@pytest.mark.endpoint_fails
def test_a_handle_answers_one_syn() -> None:
    handles: list[Deferred] = []

    def policy(arrival: Arrival) -> Deferred:
        if not handles:
            handles.append(arrival.defer())
        return handles[0]

    wire, listener = ruled(policy)
    Peer(wire, sport=1).put("S")
    Peer(wire, sport=2).put("S")
    assert refused(listener) == {"policy_failed": 1} and listener.statistics().waiting == 1


# ---- chains ----


def test_the_first_of_a_chain_that_decides_wins() -> None:
    asked = []

    def count(arrival: Arrival) -> None:
        asked.append(arrival.source)

    def strangers(arrival: Arrival) -> Any:
        return RESET if arrival.source == "198.18.0.66" else None

    wire, _ = ruled(chain(count, strangers, chain(lambda arrival: Accept(ttl=5), lambda arrival: DROP)))
    assert flags(Peer(wire, source="198.18.0.66").put("S")) == ["RA"]
    assert Peer(wire).syn()[IP].ttl == 5
    assert len(asked) == 2
    wire, _ = ruled(chain())
    Peer(wire).syn()


# ---- choices ----


def test_isn_window_mss_ttl_and_tos() -> None:
    wire, listener = ruled(lambda arrival: Accept(isn=0xFFFFFFFF, window=300, mss=700, ttl=7, tos=0x28))
    peer = Peer(wire)
    synack = peer.syn(LINUX_SYN)
    options = dict(synack[TCP].options)
    assert (synack[TCP].seq, synack[TCP].window, options["MSS"], synack[IP].ttl, synack[IP].tos) == (M, 300, 700, 7, 0x28)
    ((_, again),) = wire.wait(1.5)
    assert (again[TCP].seq, again[TCP].window, again[IP].ttl) == (M, 300, 7), "sent again as it was"
    peer.options = [("NOP", None), ("NOP", None), ("Timestamp", (78, 0))]
    assert peer.put("A", 1, 1) == []
    connection = listener.accept()
    assert connection is not None and connection.rcv_adv - connection.rcv_nxt & M == 300
    connection.send(b"x")
    (packet,) = wire.sent()
    assert (packet[TCP].seq, packet[IP].ttl, packet[IP].tos) == (0, 7, 0x28)
    assert Peer(wire, port=81, sport=3).put("S")[0][IP].ttl == 64, "nobody else's"


def test_wscale_timestamps_and_sack() -> None:
    wire, listener = ruled(lambda arrival: Accept(wscale=3, timestamps=False, sack=False))
    peer = Peer(wire)
    assert dict(peer.syn(LINUX_SYN)[TCP].options) == {"MSS": 1460, "NOP": None, "WScale": 3}
    peer.put("A", 1, 1)
    connection = listener.accept()
    assert connection is not None
    handshake = connection.handshake
    assert (handshake.rcv_shift, handshake.snd_shift, handshake.timestamps, handshake.sack) == (3, 7, False, False)
    assert dict(Peer(wire, sport=2).syn([])[TCP].options) == {"MSS": 1460}, "only what the peer offers"
    listener.set_policy(lambda arrival: Accept(wscale=0))
    peer = Peer(wire, sport=4)
    assert dict(peer.syn(LINUX_SYN)[TCP].options)["WScale"] == 0, "no shift here, but the peer's is agreed on (RFC 7323 section 2.2)"
    peer.put("A", 1, 1, options=[("NOP", None), ("NOP", None), ("Timestamp", (78, wire.now // MILLISECOND))])
    listener.set_policy(lambda arrival: Accept(wscale=-1))
    peer = Peer(wire, sport=3)
    assert "WScale" not in dict(peer.syn(LINUX_SYN)[TCP].options)
    assert (listener.syn_queue[next(reversed(listener.syn_queue))].snd_shift) == 0


def test_option_bytes_as_they_stand() -> None:
    """Timestamps of 1,000,000, an unknown option, a window scale of 2, no SACK; the clock goes on from there."""
    raw = bytes.fromhex("0204 0600 fd04 abcd 080a 000f4240 0000004d 0303 02".replace(" ", ""))
    wire, listener = ruled(lambda arrival: Accept(options=raw))
    peer = Peer(wire)
    synack = raw_answer(wire, peer.packet("S", options=LINUX_SYN))
    assert synack[40:] == raw + bytes(3)
    peer.irs = int.from_bytes(synack[24:28], "big")
    wire.now += 30 * MILLISECOND
    peer.put("A", 1, 1, options=[("NOP", None), ("NOP", None), ("Timestamp", (78, 1_000_000))])
    connection = listener.accept()
    assert connection is not None and connection.state == State.ESTABLISHED
    handshake = connection.handshake
    assert (handshake.timestamps, handshake.sack, handshake.rcv_shift, handshake.snd_shift) == (True, False, 2, 7)
    connection.send(b"x")
    assert dict(wire.sent()[0][TCP].options)["Timestamp"] == (1_000_030, 78)


@pytest.mark.parametrize(("raw", "found"), [
    (b"", {}), (b"\1\1\4\2", {4: b""}), (b"\2\4\5\xb4\0\3\3\7", {2: b"\5\xb4"}), (b"\3", {}), (b"\3\1", {}), (b"\3\4\1", {}),
    (b"\3\3\1\3\3\2", {3: b"\1"}),
])  # fmt: skip
def test_options_in_bytes(raw: bytes, found: dict[int, bytes]) -> None:
    assert options_in(raw) == found


@pytest.mark.parametrize("raw", [b"", b"\0", b"\3\3", b"\x08\x0a", b"\3\2\1", bytes(40), b"\1" * 40])
def test_any_option_bytes_leave_a_stack_that_works(raw: bytes) -> None:
    wire, listener = ruled(lambda arrival: Accept(options=raw))
    peer = Peer(wire)
    synack = raw_answer(wire, peer.packet("S", options=LINUX_SYN))
    assert synack[40:] == raw + bytes(-len(raw) % 4)
    peer.irs = int.from_bytes(synack[24:28], "big")
    assert peer.put("A", 1, 1) == [] and len(listener.accept_queue) == 1


@pytest.mark.endpoint_fails
@pytest.mark.parametrize("delay", [False, True])
def test_options_that_the_device_has_no_room_for_are_the_policys_mistake(delay: bool) -> None:
    """An MTU of 72 leaves 32 bytes: a SYN-ACK with more would be longer than the device takes."""
    for size, answers in ((32, 1), (33, 0)):
        verdict = Accept(options=b"\1" * size)
        wire = Wire(mtu=72)
        listener = wire.stack.listen("0.0.0.0", 80, 10)
        listener.set_policy(lambda arrival, verdict=verdict: Delay(1, verdict) if delay else verdict)
        answered = wire.put(Peer(wire).packet("S")) + ([packet for _, packet in wire.wait(1.5)] if delay else [])
        assert [len(packet) for packet in answered] == [72] * answers
        assert refused(listener) == ({} if answers else {"policy_failed": 1})
        assert listener.gate is not None and isinstance(listener.gate.error, ValueError) != bool(answers)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"isn": -1}, {"isn": 1 << 32}, {"isn": 1.5}, {"window": 65536}, {"wscale": 15}, {"ttl": 256}, {"ttl": None}, {"tos": -1}),
        *({"mss": "1"}, {"options": bytes(41)}, {"options": "text"}),
    ],
)
def test_wrong_choices_are_refused_where_they_are_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Accept(**wrong)


@pytest.mark.endpoint_fails
@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e30, 86401, None])
def test_wrong_times_are_refused_where_they_are_made(seconds: Any) -> None:
    with pytest.raises(ValueError, match="delay"):
        Delay(seconds)
    wire, listener = ruled(lambda arrival: arrival.defer(seconds))
    assert Peer(wire).put("S") == [] and refused(listener) == {"policy_failed": 1}
    with pytest.raises(ValueError, match="delay ends with"):
        Delay(1, None)  # type: ignore[arg-type]
    handle = Keeper()
    wire, listener = ruled(handle)
    Peer(wire).put("S")
    with pytest.raises(ValueError, match="with an Accept"):
        handle.kept[0].accept(5)  # type: ignore[arg-type]


@pytest.mark.endpoint_fails
@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_policy_says_nothing_is_lost_and_nothing_stays(seed: int) -> None:
    """Every SYN is counted once: as a request, a cookie, or under the cause of its refusal; and in the end all tables are empty."""
    chance = random.Random(seed)
    kept: list[Deferred] = []

    def defer(arrival: Arrival) -> Deferred:
        kept.append(arrival.defer(chance.choice((0, 0.5, 3))))
        return kept[-1]

    def policy(arrival: Arrival) -> Any:
        return chance.choice((None, ACCEPT, Accept(window=100), DROP, RESET, COOKIE, Delay(chance.random() * 3), defer(arrival), 5))

    wire, listener = ruled(policy, fastnet_source_requests=5, fastnet_source_connections=8, fastnet_policy_waiting=6, tcp_synack_retries=1)
    for i in range(400):
        wire.now += chance.randrange(200) * MILLISECOND
        peer = Peer(wire, source=f"198.18.0.{100 + i % 7}", sport=10_000 + i)
        for answer in peer.put("S"):
            if answer[TCP].dport == 10_000 + i and str(answer[TCP].flags) == "SA" and chance.random() < 0.7:
                peer.irs = answer[TCP].seq
                wire.put(peer.packet("A", 1, 1))
                if (connection := listener.accept()) is not None and chance.random() < 0.8:
                    peer.put("R", 1)
                    assert connection.state == State.CLOSED
        if kept and chance.random() < 0.6:
            handle = chance.choice(kept)
            if chance.random() < 0.7:
                handle.accept()
            else:
                handle.refuse(chance.random() < 0.5)
    wire.wait(60)
    statistics = listener.statistics()
    late = ("unanswered", "reset", "accept_queue_full_ack", "cookie_failed")
    causes = sum(count for cause, count in statistics.refused.items() if cause not in late)
    # A source may be refused once more at its final ACK, with a RST.
    again = wire.counter("EmbryonicRsts")
    assert statistics.requests + statistics.cookies_sent + causes - again == 400
    assert (statistics.syn_queue, statistics.young, statistics.waiting, statistics.accept_queue) == (0, 0, 0, 0)
    connections = [e for e in wire.stack.context.endpoints if isinstance(e, Connection)]
    for connection in connections:
        connection.abort(wire.now)
    assert listener.statistics().sources == 0 and len(wire.stack.context.timers) == 0
    assert listener.gate is not None and not any(handle.waits for handle in kept)
