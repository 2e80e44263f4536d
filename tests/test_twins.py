"""Two stacks over an impaired link in virtual time. What opens a connection is a client of scapy's in the place of one of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from fastnet._flow import FourTuple
from fastnet._ring import PacketRing
from fastnet.config import SettingError
from fastnet.devices import Impairment, Wrapper
from fastnet.devices.impairment import LinkEnd
from fastnet.stack import NEVER
from fastnet.twins import Twins
from tests.peer import IP, TCP, Packet, Raw, checked

A, B = "198.18.0.1", "198.18.0.2"
MS = 1_000_000
SECOND = 1_000_000_000


def send(end: LinkEnd, *packets: Packet | bytes) -> None:
    ring = PacketRing(len(packets), end.capabilities.mtu)
    for packet in packets:
        assert ring.append(bytes(packet))
    end.transmit(ring)


class Client:
    """A client in the place of stack ``a``: completes a handshake, sends some bytes, and acknowledges what it hears.

    :ivar heard: (seconds, packet), as it came
    """

    def __init__(self, twins: Twins, data: bytes = b"", impatience: int = NEVER) -> None:
        self.end = twins.link.a
        self.ring = PacketRing(64)
        self.heard: list[tuple[float, Packet]] = []
        self.data = data
        self.next = 1000
        self.syn_at = 0
        self.impatience = impatience
        twins.a = self

    def segment(self, flags: str, ack: int = 0, data: bytes = b"") -> Packet:
        packet = IP(src=A, dst=B) / TCP(sport=40000, dport=80, flags=flags, seq=self.next, ack=ack, window=64240)
        return packet / Raw(data) if data else packet

    def poll(self, now: int) -> int:
        if now >= self.syn_at and not self.heard:
            send(self.end, self.segment("S"))
            self.syn_at = min(now + self.impatience, NEVER)
        self.end.receive(self.ring)
        for slot in range(self.ring.count):
            self.hear(now, checked(self.ring.packet(slot).tobytes()))
        self.ring.clear()
        return NEVER if self.heard else self.syn_at

    def hear(self, now: int, packet: Packet) -> None:
        self.heard.append((now / SECOND, packet))
        flags = str(packet[TCP].flags)
        end = (packet[TCP].seq + len(packet[TCP].payload) + flags.count("S") + flags.count("F")) & 0xFFFFFFFF
        if flags == "SA":
            self.next = packet[TCP].ack
            send(self.end, self.segment("A", end), *([self.segment("PA", end, self.data)] if self.data else []))
            self.next += len(self.data)
        elif end != packet[TCP].seq:
            send(self.end, self.segment("A", end))

    def flags(self) -> list[tuple[float, str]]:
        """Seconds after the start, and flags, of each packet heard."""
        return [(round(seconds - 1, 9), str(packet[TCP].flags)) for seconds, packet in self.heard]


class Recorder(Wrapper):
    """A link's end that keeps a copy of what is sent, with its time."""

    def __init__(self, twins: Twins, end: LinkEnd, trace: list[tuple[int, bytes]]) -> None:
        super().__init__(end)
        self.twins, self.trace = twins, trace

    def transmit(self, ring: PacketRing) -> int:
        self.trace += [(self.twins.clock(), ring.packet(slot).tobytes()) for slot in range(ring.count)]
        return super().transmit(ring)


def server(twins: Twins, answer: bytes = b"") -> tuple[Callable[[], bool], list[Any]]:
    """A program for stack b that reads, and answers when it has read something: to be called as it is, or in ``run``."""
    listener = twins.b.listen("0.0.0.0", 80)
    connections: list[Any] = []
    got: list[Any] = []

    def work() -> bool:
        while (connection := listener.accept()) is not None:
            connections.append(connection)
        for connection in connections:
            if data := connection.receive(1 << 20):
                got.append(data)
                if answer:
                    connection.send(answer)
        return bool(got)

    return work, got


# ---- time passes as packets and timers have it ----


def test_a_handshake_takes_one_and_a_half_round_trips() -> None:
    twins = Twins(Impairment(delay=10 * MS), Impairment(delay=30 * MS))
    client = Client(twins)
    listener = twins.b.listen("0.0.0.0", 80)
    assert twins.run(lambda: listener.accept() is not None, 1) == 0.050
    assert client.flags() == [(0.04, "SA")]
    assert twins.clock() == SECOND + 50 * MS


def test_the_program_acts_in_until() -> None:
    """What it writes is sent without waiting for anything else to happen."""
    twins = Twins(Impairment(delay=10 * MS))
    client = Client(twins, b"question")
    work, got = server(twins, b"answer")
    assert twins.run(work, 1) == 0.030
    assert got == [b"question"]
    assert twins.run(lambda: len(client.heard) == 3, 1) == 0.010
    assert [(str(packet[TCP].flags), bytes(packet[TCP].payload)) for _, packet in client.heard[1:]] == [("A", b""), ("PA", b"answer")]


def test_a_lost_answer_is_sent_again_by_the_stacks_own_timer() -> None:
    twins = Twins()
    client = Client(twins)
    listener = twins.b.listen("0.0.0.0", 80)
    twins.link.back.impairment = Impairment(loss=1)
    assert twins.run(lambda: twins.link.back.tally.lost == 2, 10) == 1.0
    twins.link.back.impairment = Impairment()
    assert twins.run(lambda: listener.accept() is not None, 10) == 2.0
    assert client.flags() == [(3.0, "SA")]


def test_both_are_stacks() -> None:
    """A SYN that a did not send, but its address did: b answers, a resets, b forgets."""
    twins = Twins(Impairment(delay=10 * MS))
    listener = twins.b.listen("0.0.0.0", 80)
    send(twins.link.a, IP(src=A, dst=B) / TCP(sport=40000, dport=80, flags="S"))
    assert twins.run(lambda: len(listener.syn_queue) == 1, 1) == 0.010
    assert twins.run(lambda: len(listener.syn_queue) == 0, 1) == 0.020
    assert twins.a.counters.TcpOutRsts == 1
    assert not twins.step()


def test_without_delay_everything_happens_at_one_time() -> None:
    twins = Twins()
    Client(twins, b"question")
    work, _ = server(twins)
    assert twins.run(work, 1) == 0.0


def test_batches_larger_than_a_ring() -> None:
    twins = Twins(slots=4)
    send(twins.link.a, *(IP(src=A, dst=B) / TCP(sport=1000 + n, dport=81, flags="S") for n in range(15)))
    assert twins.step()
    assert twins.b.counters.TcpOutRsts == 15


def test_step_goes_from_event_to_event() -> None:
    """SYN, SYN-ACK, the client's ACK; then, as the client is mute, nothing."""
    twins = Twins(Impairment(delay=10 * MS))
    Client(twins)
    twins.b.listen("0.0.0.0", 80)
    times = []
    while twins.step():
        times.append((twins.clock() - SECOND) // MS)
    assert times == [0, 10, 20, 30]


def test_step_does_not_go_beyond_a_time() -> None:
    twins = Twins(Impairment(delay=10 * MS))
    Client(twins)
    twins.b.listen("0.0.0.0", 80)
    limit = SECOND + 20 * MS
    times = []
    while twins.step(limit):
        times.append((twins.clock() - SECOND) // MS)
    assert times == [0, 10, 20], "what is due at that very time is done"
    assert not twins.step(limit) and twins.clock() == limit
    assert twins.step(), "and later goes on"


def test_pass_time() -> None:
    twins = Twins(Impairment(delay=10 * MS))
    client = Client(twins)
    twins.b.listen("0.0.0.0", 80)
    twins.link.forth.impairment = Impairment(delay=10 * MS, loss=1)
    send(twins.link.b, client.segment("R"))
    twins.pass_time(0.01)
    assert twins.clock() == SECOND + 10 * MS and len(client.heard) == 1, "what is due at the end of it happens"
    twins.pass_time(3600.5)
    assert twins.clock() == 3601 * SECOND + 510 * MS


def test_until_that_is_so_already_takes_no_time_and_no_poll() -> None:
    twins = Twins()
    Client(twins)
    assert twins.run(lambda: True, 0) == 0.0
    assert twins.link.forth.tally.packets == 0


# ---- what goes wrong says so ----


def test_a_limit_in_virtual_time() -> None:
    twins = Twins(Impairment(delay=10 * MS))
    client = Client(twins, impatience=2 * SECOND)
    twins.link.forth.impairment = Impairment(loss=1)
    with pytest.raises(TimeoutError) as raised:
        twins.run(lambda: bool(client.heard), 5)
    text = str(raised.value)
    assert "did not come about in 5 s of virtual time" in text
    assert "now: 6.000000 s, 5.000000 s after the start" in text
    assert "a: next timer in 1.000000 s" in text and "b: no timer" in text
    assert "a to b: 3 packets, 3 lost; 0 under way" in text and "b to a: nothing; 0 under way" in text
    assert twins.clock() == 6 * SECOND, "at the limit"


def test_what_is_due_at_the_limit_happens() -> None:
    twins = Twins(Impairment(delay=10 * MS))
    listener = twins.b.listen("0.0.0.0", 80)
    Client(twins)
    with pytest.raises(TimeoutError):
        twins.run(lambda: len(listener.syn_queue) == 1, 0.009_999_999)
    assert twins.run(lambda: len(listener.syn_queue) == 1, 0.000_000_001) == 0.000_000_001


def test_nothing_will_ever_happen() -> None:
    twins = Twins()
    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        twins.run(lambda: False, 5)
    Client(twins)
    work, got = server(twins)
    with pytest.raises(RuntimeError) as raised:
        twins.run(work, math.inf)
    assert "no timer runs and no packet is under way" in str(raised.value)
    assert "a to b: 2 packets, 2 delivered" in str(raised.value)
    assert not got


def test_two_that_never_come_to_rest() -> None:
    """Without delay, two that answer everything would go on at one time for ever."""
    twins = Twins()

    class Echo:
        def __init__(self, end: LinkEnd) -> None:
            self.end, self.ring = end, PacketRing(4)

        def poll(self, now: int) -> int:
            if self.end.receive(self.ring):
                self.end.transmit(self.ring)
            return NEVER

    twins.a, twins.b = Echo(twins.link.a), Echo(twins.link.b)
    assert not twins.step()
    send(twins.link.a, b"ball")
    with pytest.raises(RuntimeError, match="rounds at one time"):
        twins.run(lambda: False, 1)


# ---- runs replay ----


def trace(seed: int, loss: float = 0.2) -> list[tuple[int, bytes]]:
    """Every packet of forty handshakes with data and closing over a bad link, as it was sent."""
    bad = Impairment(loss=loss, duplicate=0.1, corrupt=0.1, reorder=0.2, delay=10 * MS, jitter=7 * MS, rate=1_000_000)
    twins = Twins(bad, seed=seed)
    sent: list[tuple[int, bytes]] = []
    for stack, end in ((twins.a, twins.link.a), (twins.b, twins.link.b)):
        stack.device = Recorder(twins, end, sent)
    twins.b.listen("0.0.0.0", 80)
    for n in range(40):
        send(twins.link.a, IP(src=A, dst=B) / TCP(sport=40000 + n, dport=80, flags="S"))
    with pytest.raises(RuntimeError, match="nothing will ever happen"):
        twins.run(lambda: False, 1000)
    return sent


def test_a_run_repeats_to_the_byte() -> None:
    first = trace(1)
    assert len(first) > 40 and first[-1][0] > 2 * SECOND, "SYN-ACKs were lost and sent again"
    assert trace(1) == first
    assert trace(2) != first


def test_sequence_numbers_come_from_the_seed_and_the_stacks_have_their_own() -> None:
    flow = FourTuple(B, 80, A, 40000)

    def numbers(seed: int) -> tuple[int, int]:
        twins = Twins(seed=seed)
        return twins.a.context.isn.draw(flow, 0), twins.b.context.isn.draw(flow, 0)

    assert numbers(1) == numbers(1)
    assert len({*numbers(1), *numbers(2)}) == 4


def test_the_links_luck_comes_from_the_seed() -> None:
    def arrived(seed: int) -> list[int]:
        twins = Twins(Impairment(loss=0.5), seed=seed)
        return [len(twins.link.forth.carry(b"x")) for _ in range(64)]

    assert arrived(1) == arrived(1) != arrived(2)


# ---- what it is made of ----


def test_settings_mtu_and_slots() -> None:
    twins = Twins(
        Impairment(loss=1),
        Impairment(duplicate=1),
        settings_a={"tcp_synack_retries": 2},
        settings_b={"ip_default_ttl": 9},
        mtu=900,
        slots=8,
    )
    assert (twins.a.settings.tcp_synack_retries, twins.b.settings.ip_default_ttl) == (2, 9)
    assert twins.a.device.capabilities.mtu == twins.b.device.capabilities.mtu == 900
    assert twins.a.received.slots == twins.b.received.slots == 8
    assert (twins.link.forth.impairment.loss, twins.link.back.impairment.duplicate) == (1, 1)
    assert (twins.a.addresses, twins.b.addresses) == ((A,), (B,))
    assert twins.a.clock is twins.b.clock is twins.link.clock is twins.clock
    assert Twins(Impairment(loss=1)).link.back.impairment.loss == 1
    with pytest.raises(SettingError):
        Twins(settings_a={"tcp_nonsense": 1})
