"""Impaired wires: each impairment alone, all of them together, and nothing that is left to luck: seeds are fixed."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import sqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet._ring import PacketRing
from fastnet._timer import NEVER
from fastnet.clock import ManualClock
from fastnet.devices import Device, ImpairedDevice, ImpairedLink, Impairment, MemoryDevice
from fastnet.devices.impairment import READS, LinkEnd, Tally, flip_bit, mark_congestion
from tests.peer import IP

MS = 1_000_000
SECOND = 1_000_000_000


def packets(count: int, size: int = 20) -> list[bytes]:
    """Packets that can be told apart."""
    return [n.to_bytes(4, "big") * (size // 4) for n in range(count)]


def send(device: Device, *sent: bytes, slots: int = 256) -> int:
    """Hand packets to a device in one ring; how many it took."""
    ring = PacketRing(max(slots, len(sent)), 2000)
    for packet in sent:
        assert ring.append(packet)
    taken = device.transmit(ring)
    assert ring.count == 0
    return taken


def receive(device: Device, slots: int = 256, capacity: int = 2000) -> list[bytes]:
    """What one call gives."""
    ring = PacketRing(slots, capacity)
    assert device.receive(ring) == ring.count
    return [ring.packet(slot).tobytes() for slot in range(ring.count)]


def deliveries(link: ImpairedLink, end: LinkEnd, clock: ManualClock) -> list[tuple[int, bytes]]:
    """All that arrives at an end from now on, each with its time."""
    got = []
    while (due := link.next_delivery(end)) != NEVER:
        clock.set(max(clock(), due))
        arrived = receive(end)
        assert arrived, "something was due"
        got += [(clock(), packet) for packet in arrived]
    return got


def over_link(sent: list[bytes], impairment: Impairment, seed: int = 1, spacing: int = 0) -> tuple[list[tuple[int, bytes]], Tally]:
    """Send packets from a to b, ``spacing`` ns apart, and receive as they come; what arrived when, and the tally."""
    clock = ManualClock()
    link = ImpairedLink(impairment, clock=clock, seed=seed)
    got = []
    for n, packet in enumerate(sent):
        while (due := link.next_delivery(link.b)) < n * spacing:
            clock.set(due)
            got += [(due, arrived) for arrived in receive(link.b)]
        clock.set(n * spacing)
        assert send(link.a, packet) == 1
    return got + deliveries(link, link.b, clock), link.forth.tally


def over_device(sent: list[bytes], impairment: Impairment, seed: int = 1, batch: int = 50) -> tuple[list[bytes], Tally]:
    """Send packets into an impaired device, in batches with nothing in between."""
    inner = MemoryDevice()
    device = ImpairedDevice(inner, Impairment(), impairment, seed)
    got = []
    for first in range(0, len(sent), batch):
        assert send(device, *sent[first : first + batch]) == len(sent[first : first + batch])
        got += inner.drain()
    device.wait(0)
    return got + inner.drain(), device.outgoing.tally


def is_about(count: int, of: int, probability: float) -> bool:
    """Within four standard deviations of the binomial distribution."""
    return abs(count - of * probability) <= 4 * sqrt(of * probability * (1 - probability))


# ---- what an impairment may be ----


@pytest.mark.parametrize("name", ["loss", "duplicate", "reorder", "corrupt"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_probabilities_are_0_to_1(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is a probability"):
        Impairment(**{name: value})
    Impairment(**{name: 0})
    Impairment(**{name: 1})


@pytest.mark.parametrize(("name", "least"), [("delay", 0), ("jitter", 0), ("rate", 0), ("queue", 0), ("hold", 0), ("depth", 1)])
def test_numbers_are_whole_and_not_negative(name: str, least: int) -> None:
    for value in (least - 1, 0.5):
        with pytest.raises(ValueError, match=f"{name} is a whole number, {least} or more"):
            Impairment(**{name: value})
    assert getattr(Impairment(**{name: least}), name) == least


# ---- the link: nothing ----


def test_a_perfect_link_delivers_everything_at_once_and_in_order() -> None:
    sent = packets(300)
    got, tally = over_link(sent, Impairment())
    assert got == [(0, packet) for packet in sent]
    assert tally == Tally(packets=300, delivered=300)
    assert str(tally) == "300 packets, 300 delivered" and str(Tally()) == "nothing"


def test_both_directions_and_both_ends() -> None:
    clock = ManualClock()
    link = ImpairedLink(Impairment(delay=10), Impairment(delay=30), clock, mtu=1000)
    assert (link.a.capabilities.mtu, link.b.capabilities.mtu) == (1000, 1000)
    assert link.next_delivery(link.a) == link.next_delivery(link.b) == NEVER
    send(link.a, b"there")
    send(link.b, b"and back")
    assert (link.next_delivery(link.b), link.next_delivery(link.a)) == (10, 30)
    clock.set(9)
    assert receive(link.b) == []
    clock.set(10)
    assert receive(link.b) == [b"there"] and receive(link.a) == []
    clock.set(30)
    assert receive(link.a) == [b"and back"] and receive(link.b) == []
    assert link.next_delivery(link.a) == link.next_delivery(link.b) == NEVER


def test_one_impairment_is_both_ways_one_more_is_the_way_back() -> None:
    one, other = Impairment(loss=1), Impairment(duplicate=1)
    for link, tallies in (
        (ImpairedLink(one), (Tally(packets=1, lost=1), Tally(packets=1, lost=1))),
        (ImpairedLink(one, other), (Tally(packets=1, lost=1), Tally(packets=1, duplicated=1))),
        (ImpairedLink(other, one), (Tally(packets=1, duplicated=1), Tally(packets=1, lost=1))),
    ):
        send(link.a, b"x")
        send(link.b, b"y")
        assert (link.forth.tally, link.back.tally) == tallies


def test_what_does_not_fit_the_ring_waits() -> None:
    link = ImpairedLink(clock=ManualClock())
    sent = packets(10)
    send(link.a, *sent)
    ring = PacketRing(4)
    ring.append(b"mine")
    assert link.b.receive(ring) == 3 and ring.packet(0).tobytes() == b"mine"
    assert link.b.receive(ring) == 0
    assert receive(link.b) == sent[3:]
    assert link.forth.tally == Tally(packets=10, delivered=10)


def test_packets_that_are_too_long_are_refused() -> None:
    link = ImpairedLink(clock=ManualClock(), mtu=100)
    assert send(link.a, bytes(100), bytes(101), bytes(40)) == 2
    assert [len(packet) for packet in receive(link.b)] == [100, 40]
    assert link.forth.tally == Tally(packets=3, refused=1, delivered=2)
    wide = ImpairedLink(clock=ManualClock(), mtu=1500)
    send(wide.a, bytes(1500), b"short")
    assert receive(wide.b, capacity=100) == [b"short"]
    assert wide.forth.tally == Tally(packets=2, refused=1, delivered=1)


def test_memory_is_bounded_whatever_is_sent() -> None:
    link = ImpairedLink(Impairment(duplicate=1, delay=SECOND), clock=ManualClock(), limit=100)
    taken = sum(send(link.a, *packets(50)) for _ in range(10))
    assert link.forth.under_way == 2 * taken == 100
    assert link.forth.tally == Tally(packets=500, refused=450, duplicated=50)


# ---- the link: chance ----

EVERYTHING = Impairment(loss=0.1, duplicate=0.1, reorder=0.1, corrupt=0.1, delay=10 * MS, jitter=5 * MS, rate=10_000_000, queue=20)


def test_the_same_seed_gives_the_same_deliveries_to_the_byte() -> None:
    sent = packets(500, 400)
    first = over_link(sent, EVERYTHING, seed=7, spacing=MS // 4)
    assert over_link(sent, EVERYTHING, seed=7, spacing=MS // 4) == first
    assert over_link(sent, EVERYTHING, seed=8, spacing=MS // 4) != first
    assert all(getattr(first[1], name) for name in ("lost", "duplicated", "reordered", "corrupted", "dropped")), "all were at work"


def test_the_same_seed_gives_the_same_deliveries_in_another_process() -> None:
    """Python's own hashes are not the same there."""
    got, _ = over_link(packets(8), Impairment(loss=0.5), seed=3)
    assert [packet[3] for _, packet in got] == [2, 3, 4, 5, 6]


def test_directions_have_luck_of_their_own() -> None:
    sent = packets(200)
    impairment = Impairment(loss=0.5)
    alone = over_link(sent, impairment)[0]
    link = ImpairedLink(impairment, clock=ManualClock(), seed=1)
    got = []
    for packet in sent:
        send(link.b, packet, b"more")
        send(link.a, packet)
        got += receive(link.b)
    assert got == [packet for _, packet in alone], "packets the other way change nothing"
    link = ImpairedLink(impairment, clock=ManualClock(), seed=1)
    send(link.b, *sent)
    assert receive(link.a) != got, "and theirs is not the same"


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.3, 0.9, 1.0])
def test_loss(loss: float) -> None:
    sent = packets(5000)
    got, tally = over_link(sent, Impairment(loss=loss))
    assert is_about(tally.lost, 5000, loss)
    assert tally == Tally(packets=5000, lost=tally.lost, delivered=5000 - tally.lost)
    assert [packet for _, packet in got] == sorted({packet for _, packet in got}), "in order, none twice"
    assert len(got) == tally.delivered


def test_losses_are_not_in_a_pattern() -> None:
    """The gaps between losses are geometric: one in four packets is lost, so the packet after a loss is lost one time in four."""
    sent = packets(8000)
    got = {packet for _, packet in over_link(sent, Impairment(loss=0.25))[0]}
    lost = [packet not in got for packet in sent]
    after_loss = [later for earlier, later in pairwise(lost) if earlier]
    assert is_about(sum(after_loss), len(after_loss), 0.25)


def test_luck_does_not_depend_on_other_impairments() -> None:
    """More loss loses the same packets and more; what else is wrong with the wire changes none of it."""
    sent = packets(1000)

    def arrived(**impairment: Any) -> set[int]:
        return {int.from_bytes(packet[:4], "big") for _, packet in over_link(sent, Impairment(**impairment))[0]}

    assert arrived(loss=0.3) < arrived(loss=0.1)
    assert arrived(loss=0.3, duplicate=0.2, reorder=0.3, delay=5, jitter=100) == arrived(loss=0.3)


@pytest.mark.parametrize("duplicate", [0.0, 0.2, 1.0])
def test_duplicates(duplicate: float) -> None:
    sent = packets(4000)
    got, tally = over_link(sent, Impairment(duplicate=duplicate))
    assert is_about(tally.duplicated, 4000, duplicate)
    copies = Counter(packet for _, packet in got)
    assert set(copies) == set(sent) and set(copies.values()) <= {1, 2}
    assert sum(count == 2 for count in copies.values()) == tally.duplicated
    assert [packet for _, packet in got] == sorted(packet for _, packet in got), "a copy comes right behind"


@pytest.mark.parametrize("corrupt", [0.0, 0.2, 1.0])
def test_corruption_flips_one_bit_anywhere(corrupt: float) -> None:
    sent = packets(4000)
    got, tally = over_link(sent, Impairment(corrupt=corrupt))
    assert is_about(tally.corrupted, 4000, corrupt)
    assert len(got) == 4000
    flipped = []
    for (_, packet), original in zip(got, sent, strict=True):
        difference = int.from_bytes(packet, "little") ^ int.from_bytes(original, "little")
        assert len(packet) == len(original) and difference.bit_count() <= 1
        if difference:
            flipped.append(difference.bit_length() - 1)
    assert len(flipped) == tally.corrupted
    if corrupt == 1:
        assert set(flipped) == set(range(160)), "every bit of 20 bytes has its turn"


def test_flip_bit() -> None:
    assert flip_bit(b"\x00\x00", 0) == b"\x01\x00"
    assert flip_bit(b"\x00\xff", 15) == b"\x00\x7f"


def test_a_packet_without_bytes_has_no_bit_to_flip() -> None:
    got, tally = over_link([b""], Impairment(corrupt=1))
    assert got == [(0, b"")] and tally.corrupted == 0


def test_a_copy_of_a_corrupted_packet_is_good() -> None:
    got, _ = over_link([b"packet"], Impairment(corrupt=1, duplicate=1))
    assert len(got) == 2 and got[0][1] != b"packet" and got[1][1] == b"packet"


# ---- the link: order ----


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("reorder", [0.0, 0.05, 0.5])
def test_reordered_packets_are_passed_by_the_next_ones(reorder: float, depth: int) -> None:
    sent = packets(6000)
    got, tally = over_link(sent, Impairment(reorder=reorder, depth=depth))
    order = [int.from_bytes(packet[:4], "big") for _, packet in got]
    assert sorted(order) == list(range(6000)), "none is missing"
    # How far behind its place each packet came; those that passed it came at most one place early.
    behind = Counter(place - number for place, number in enumerate(order) if place > number)
    assert sum(behind.values()) == tally.reordered
    assert set(behind) == (set(range(1, depth + 1)) if reorder else set())
    # While one is held, none is: on average (1 + depth) / 2 packets after each that is.
    assert is_about(tally.reordered, 6000, reorder / (1 + reorder * (1 + depth) / 2))
    for passed in behind:
        assert is_about(behind[passed], tally.reordered, 1 / depth)


def test_certain_reordering_of_depth_1_swaps_neighbours() -> None:
    sent = packets(6)
    got, tally = over_link(sent, Impairment(reorder=1, depth=1))
    assert [packet for _, packet in got] == [sent[n] for n in (1, 0, 3, 2, 5, 4)]
    assert tally.reordered == 3


def test_a_packet_that_nothing_passes_arrives_all_the_same() -> None:
    clock = ManualClock()
    link = ImpairedLink(Impairment(reorder=1, delay=5, hold=20), clock=clock)
    send(link.a, b"alone")
    assert link.forth.under_way == 1
    assert link.next_delivery(link.b) == 25
    clock.set(24)
    assert receive(link.b) == []
    clock.set(25)
    assert receive(link.b) == [b"alone"]
    assert link.next_delivery(link.b) == NEVER
    assert link.forth.tally == Tally(packets=1, delivered=1), "and was not reordered"


def test_a_packet_that_too_few_pass_is_not_held_any_longer_for_them() -> None:
    clock = ManualClock()
    link = ImpairedLink(Impairment(reorder=1, depth=100, hold=20), clock=clock)
    send(link.a, b"first")
    clock.set(15)
    send(link.a, b"second")
    assert deliveries(link, link.b, clock) == [(15, b"second"), (20, b"first")]
    assert link.forth.tally.reordered == 1


def test_a_packet_is_not_held_for_one_that_comes_too_late() -> None:
    clock = ManualClock()
    link = ImpairedLink(Impairment(reorder=1, depth=1, hold=20), clock=clock)
    send(link.a, b"first")
    clock.set(20)
    link.forth.impairment = Impairment(delay=5)
    send(link.a, b"second")
    assert deliveries(link, link.b, clock) == [(20, b"first"), (25, b"second")]
    assert link.forth.tally.reordered == 0


def test_packets_are_released_with_the_packet_that_passed_them() -> None:
    clock = ManualClock()
    link = ImpairedLink(Impairment(reorder=1, depth=1, delay=5, hold=20), clock=clock)
    send(link.a, b"first")
    clock.set(3)
    send(link.a, b"second")
    assert deliveries(link, link.b, clock) == [(8, b"second"), (8, b"first")]


# ---- the link: time ----


def test_delay() -> None:
    sent = packets(10)
    got, _ = over_link(sent, Impairment(delay=30 * MS), spacing=MS)
    assert got == [(30 * MS + n * MS, packet) for n, packet in enumerate(sent)]


def test_jitter_is_spread_evenly_over_the_delay() -> None:
    sent = packets(4000)
    got, _ = over_link(sent, Impairment(delay=10 * MS, jitter=4 * MS), spacing=10 * MS)
    assert [packet for _, packet in got] == sent
    late = [time_ - n * 10 * MS - 10 * MS for n, (time_, _) in enumerate(got)]
    assert min(late) >= 0 and max(late) <= 4 * MS
    for quarter in range(4):
        assert is_about(sum(quarter * MS <= extra < (quarter + 1) * MS for extra in late), 4000, 0.25)


def test_jitter_does_not_reorder() -> None:
    sent = packets(500)
    got, _ = over_link(sent, Impairment(jitter=50 * MS), spacing=MS)
    assert [packet for _, packet in got] == sent
    assert [time_ for time_, _ in got] == sorted(time_ for time_, _ in got)


def test_rate_spaces_packets() -> None:
    """1000 bytes at 8 Mbit/s: a millisecond each. Bytes count, not packets."""
    clock = ManualClock()
    link = ImpairedLink(Impairment(rate=8_000_000, delay=10 * MS), clock=clock)
    send(link.a, bytes(1000), bytes(1000), bytes(500))
    assert [time_ for time_, _ in deliveries(link, link.b, clock)] == [11 * MS, 12 * MS, 12 * MS + MS // 2]
    clock.set(20 * MS)
    send(link.a, bytes(1000))
    assert [time_ for time_, _ in deliveries(link, link.b, clock)] == [31 * MS], "an idle link saves nothing up"


@pytest.mark.parametrize("rate", [3, 9600, 7_777_777, 10_000_000_000])
def test_rate_is_never_exceeded(rate: int) -> None:
    sent = packets(300, 100)
    got, _ = over_link(sent, Impairment(rate=rate))
    exact = 300 * 100 * 8 * SECOND / rate
    assert 0 <= got[-1][0] - exact <= 300 + exact * 1e-12, "later than exact by a rounding of each packet at most"


@pytest.mark.parametrize("queue", [0, 1, 7])
def test_the_queue_drops_its_tail(queue: int) -> None:
    """One packet is being sent; ``queue`` more may wait."""
    clock = ManualClock()
    link = ImpairedLink(Impairment(rate=8_000_000, queue=queue), clock=clock)
    sent = packets(20, 1000)
    assert send(link.a, *sent) == 20, "nobody tells a sender what happens on its way"
    assert link.forth.tally == Tally(packets=20, dropped=19 - queue)
    # After a millisecond and a half the first has gone, and the next is being sent: there is room for one more.
    clock.set(MS + MS // 2)
    send(link.a, *sent[:2])
    assert link.forth.tally.dropped == 19 - queue + 1
    got = deliveries(link, link.b, clock)
    assert [packet for _, packet in got] == sent[: queue + 1] + sent[:1]


def test_a_standing_queue_is_a_delay() -> None:
    clock = ManualClock()
    link = ImpairedLink(Impairment(rate=8_000_000, queue=10), clock=clock)
    late = []
    for n in range(100):  # twice what the rate lets through
        clock.set(n * MS // 2)
        receive(link.b)
        before = link.forth.tally.dropped
        send(link.a, bytes(1000))
        if link.forth.tally.dropped == before:
            late.append(link.forth._flying[-1][0] - clock())
    assert max(late) == 11 * MS, "ten that wait and its own time"


def test_lost_packets_take_their_share_of_the_rate() -> None:
    clock = ManualClock()
    link = ImpairedLink(Impairment(rate=8_000_000, loss=1), clock=clock)
    send(link.a, bytes(1000))
    link.forth.impairment = replace(link.forth.impairment, loss=0)
    send(link.a, bytes(1000))
    assert [time_ for time_, _ in deliveries(link, link.b, clock)] == [2 * MS]


def test_an_impairment_can_change_on_the_way_and_order_is_kept() -> None:
    clock = ManualClock()
    link = ImpairedLink(Impairment(delay=100), clock=clock)
    send(link.a, b"1")
    link.forth.impairment = Impairment(loss=1)
    send(link.a, b"2")
    link.forth.impairment = Impairment(delay=10)
    send(link.a, b"3")
    assert deliveries(link, link.b, clock) == [(100, b"1"), (100, b"3")]


# ---- the link: everything at once ----

probabilities = st.sampled_from([0.0, 0.1, 0.5, 1.0])
impairments = st.builds(
    Impairment,
    loss=st.sampled_from([0.0, 0.1, 0.5]),
    duplicate=probabilities,
    reorder=probabilities,
    corrupt=probabilities,
    delay=st.sampled_from([0, 1, 10 * MS]),
    jitter=st.sampled_from([0, 3, 10 * MS]),
    rate=st.sampled_from([0, 1_000_000, 1_000_000_000]),
    queue=st.integers(0, 5),
    depth=st.integers(1, 4),
    hold=st.sampled_from([0, 7, 10 * MS]),
)


@given(
    impairment=impairments,
    later=impairments,
    steps=st.lists(st.tuples(st.sampled_from([0, 0, 1, 5 * MS]), st.integers(0, 4), st.booleans()), max_size=30),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=200)
def test_every_packet_is_accounted_for(
    impairment: Impairment, later: Impairment, steps: list[tuple[int, int, bool]], seed: int
) -> None:
    """Under any impairment, which changes half way, and any mixture of sending, waiting and receiving."""
    clock = ManualClock()
    link = ImpairedLink(impairment, clock=clock, seed=seed, limit=40)
    tally = link.forth.tally
    got: list[bytes] = []
    number = 0
    for n, (wait, count, take) in enumerate(steps):
        if n == len(steps) // 2:
            link.forth.impairment = later
        clock.advance(wait)
        sent = [(number + i).to_bytes(4, "big") * 50 for i in range(count)]
        number += count
        send(link.a, *sent)
        if take:
            due = link.next_delivery(link.b)
            arrived = receive(link.b, slots=3)
            assert bool(arrived) == (due <= clock()), "next_delivery says when, to the nanosecond"
            got += arrived
        assert tally.packets + tally.duplicated == tally.refused + tally.dropped + tally.lost + tally.delivered + link.forth.under_way
        assert len(link.forth._flying) <= 40 + 2 and len(link.forth._starts) <= 5
        times = [time_ for time_, _ in link.forth._flying]
        assert times == sorted(times)
    got += [packet for _, packet in deliveries(link, link.b, clock)]
    assert len(got) == tally.delivered and link.forth.under_way == 0
    assert tally.packets == number
    numbers = [Counter(packet[i : i + 4] for i in range(0, 200, 4)).most_common(1)[0][0] for packet in got]
    if not impairment.reorder and not later.reorder:
        assert numbers == sorted(numbers)
    if not impairment.duplicate and not later.duplicate:
        assert len(set(numbers)) == len(numbers)


# ---- the link: real time ----


def test_waiting_in_real_time() -> None:
    link = ImpairedLink(Impairment(delay=30 * MS), Impairment())
    assert not link.b.wait(0)
    before = time.monotonic_ns()
    assert not link.b.wait(5 * MS)
    assert time.monotonic_ns() - before >= 5 * MS
    send(link.a, b"x")
    assert not link.b.wait(0)
    while not link.b.wait(-1):
        pass
    assert time.monotonic_ns() - before >= 35 * MS
    assert receive(link.b) == [b"x"]
    link.forth.impairment = Impairment(delay=60 * SECOND)
    send(link.a, b"much later")
    assert not link.b.wait(5 * MS) and not link.b.wait(5 * MS)
    assert time.monotonic_ns() - before < 30 * SECOND


def test_waits_end_when_a_packet_sets_out_or_at_wake() -> None:
    link = ImpairedLink()
    for end_it in (lambda: send(link.a, b"x"), link.b.wake):
        timer = threading.Timer(0.02, end_it)
        timer.start()
        before = time.monotonic()
        link.b.wait(10 * SECOND)
        assert time.monotonic() - before < 5
        timer.join()
        receive(link.b)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that take turns as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_ends_in_threads() -> None:
    """Two threads at work at once lose nothing that the tally does not know of."""
    link = ImpairedLink(Impairment(loss=0.1, duplicate=0.1, reorder=0.5, hold=1), limit=100_000)
    done = threading.Event()
    got = {}

    def work(end: LinkEnd) -> None:
        count = 0
        for packet in packets(3000):
            send(end, packet, slots=1)
            count += len(receive(end))
        while not done.is_set() or link.next_delivery(end) != NEVER:
            end.wait(MS)
            count += len(receive(end))
        got[end] = count

    threads = [threading.Thread(target=work, args=(end,)) for end in (link.a, link.b)]
    for thread in threads:
        thread.start()
    give_up = time.monotonic() + 30
    while min(link.forth.tally.packets, link.back.tally.packets) < 3000 and time.monotonic() < give_up:
        time.sleep(0.01)
    done.set()
    for thread in threads:
        thread.join(10)
    for end in (link.a, link.b):
        tally = end.incoming.tally
        assert got[end] == tally.delivered == 3000 + tally.duplicated - tally.lost


@pytest.mark.parametrize("action", ["send", "receive", "next_delivery", "under_way"])
def test_a_direction_is_one_ends_at_a_time(action: str) -> None:
    link = ImpairedLink()
    actions = {
        "send": lambda: send(link.a, b"x"),
        "receive": lambda: receive(link.b),
        "next_delivery": lambda: link.next_delivery(link.b),
        "under_way": lambda: link.forth.under_way,
    }
    thread = threading.Thread(target=actions[action])
    with link.forth._lock:
        thread.start()
        thread.join(0.03)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()


# ---- another device, impaired ----


def test_a_perfect_wrapper_changes_nothing() -> None:
    near, far = MemoryDevice.pair(mtu=900)
    device = ImpairedDevice(near)
    assert device.capabilities.mtu == 900
    sent = packets(300)
    assert send(device, *sent) == 300
    assert receive(far, 300) == sent
    send(far, *sent)
    ring = PacketRing(256)
    ring.append(b"mine")
    assert device.receive(ring) == 255 and ring.packet(0).tobytes() == b"mine" and ring.packet(1).tobytes() == sent[0]
    assert receive(device, 256) == sent[255:]
    assert device.incoming.tally == device.outgoing.tally == Tally(packets=300, delivered=300)


@pytest.mark.parametrize("impairment", [Impairment(delay=1), Impairment(jitter=1), Impairment(rate=1)])
def test_a_wrapper_has_no_time(impairment: Impairment) -> None:
    for both in ((impairment,), (Impairment(), impairment)):
        with pytest.raises(ValueError, match="take an ImpairedLink"):
            ImpairedDevice(MemoryDevice(), *both)


CHANCES = Impairment(loss=0.1, duplicate=0.2, corrupt=0.3, reorder=0.1)


@pytest.mark.parametrize("name", ["loss", "duplicate", "corrupt"])
def test_each_impairment_of_a_wrapper_both_ways(name: str) -> None:
    impairment = Impairment(**{name: 0.2})
    sent = packets(3000)
    near, far = MemoryDevice.pair()
    device = ImpairedDevice(near, impairment, seed=5)
    out: list[bytes] = []
    back: list[bytes] = []
    for first in range(0, 3000, 100):
        assert send(device, *sent[first : first + 100]) == 100, "what is lost was sent"
        out += receive(far)
        send(far, *sent[first : first + 100])
        back += receive(device)
    attribute = {"loss": "lost", "duplicate": "duplicated", "corrupt": "corrupted"}[name]
    for got, tally in ((out, device.outgoing.tally), (back, device.incoming.tally)):
        count = getattr(tally, attribute)
        assert is_about(count, 3000, 0.2)
        assert tally == replace(Tally(packets=3000, delivered=len(got)), **{attribute: count})
        assert len(got) == 3000 + tally.duplicated - tally.lost
        assert sum(packet not in set(sent) for packet in got) == tally.corrupted
    assert out != back, "each direction has its own luck"


def test_the_same_seed_gives_the_same_packets_through_a_wrapper() -> None:
    first = over_device(packets(500), CHANCES, seed=3)
    assert over_device(packets(500), CHANCES, seed=3) == first
    assert over_device(packets(500), CHANCES, seed=4) != first


def test_one_impairment_of_a_wrapper_is_both_ways_two_are_in_and_out() -> None:
    for device, tallies in (
        (ImpairedDevice(MemoryDevice(), Impairment(loss=1)), (1, 1)),
        (ImpairedDevice(MemoryDevice(), Impairment(loss=1), Impairment()), (1, 0)),
        (ImpairedDevice(MemoryDevice(), Impairment(), Impairment(loss=1)), (0, 1)),
    ):
        device.device.inject(b"in")
        receive(device)
        send(device, b"out")
        assert (device.incoming.tally.lost, device.outgoing.tally.lost) == tallies


@pytest.mark.parametrize("reorder", [0.05, 0.5])
def test_a_wrapper_reorders_what_it_sends(reorder: float) -> None:
    sent = packets(4000)
    got, tally = over_device(sent, Impairment(reorder=reorder))
    assert sorted(got) == sent and got != sent
    assert is_about(tally.reordered, 4000, reorder / (1 + reorder * 2))


def test_a_wrapper_reorders_what_it_receives() -> None:
    near, far = MemoryDevice.pair()
    device = ImpairedDevice(near, Impairment(reorder=0.2), Impairment())
    sent = packets(4000)
    got: list[bytes] = []
    for first in range(0, 4000, 100):
        send(far, *sent[first : first + 100])
        got += receive(device)
    got += receive(device)
    assert sorted(got) == sent and got != sent
    assert is_about(device.incoming.tally.reordered, 4000, 0.2 / (1 + 0.2 * 2))


def holding(hold: int = 10 * MS) -> tuple[ImpairedDevice, MemoryDevice]:
    """A wrapper that holds one packet in each direction, and the far end."""
    near, far = MemoryDevice.pair()
    device = ImpairedDevice(near, Impairment(reorder=1, depth=1, hold=hold))
    send(device, b"out")
    send(far, b"in")
    assert receive(device) == receive(far) == []
    return device, far


def test_held_packets_go_behind_the_next_ones() -> None:
    device, far = holding()
    send(device, b"next out")
    assert receive(far) == [b"next out", b"out"]
    send(far, b"next in")
    assert receive(device) == [b"next in", b"in"]


def test_held_packets_go_when_the_program_only_polls() -> None:
    device, far = holding()
    assert receive(device) == [b"in"]
    assert receive(far) == [b"out"], "the second receive since it was sent"
    assert (receive(device), receive(far)) == ([], [])


def test_an_outgoing_packet_waits_for_the_next_poll() -> None:
    """A poll receives before it sends: a packet that went at the next receive would never be passed by the next poll's."""
    near, far = MemoryDevice.pair()
    device = ImpairedDevice(near, Impairment(), Impairment(reorder=1, depth=1))
    for _ in range(2):
        send(device, b"first poll")
        receive(device)
        assert receive(far) == []
        send(device, b"second poll")
        assert receive(far) == [b"second poll", b"first poll"]
        receive(device)
        receive(device)


def test_held_packets_go_after_a_wait() -> None:
    device, far = holding(hold=20 * MS)
    before = time.monotonic_ns()
    while not device.wait(-1):  # the first one ends early, for what was received already
        assert receive(far) == []
    assert 20 * MS <= time.monotonic_ns() - before < 5 * SECOND
    assert receive(far) == [b"out"]
    assert device.wait(-1), "as long as it was not received"
    assert receive(device) == [b"in"]
    assert not device.wait(0)


def test_a_wake_releases_nothing() -> None:
    device, far = holding(hold=10 * SECOND)
    device.wake()
    assert not device.wait(-1)
    assert receive(far) == []


def test_a_wait_for_nothing_releases_too() -> None:
    device, far = holding()
    assert device.wait(0)
    assert receive(far) == [b"out"] and receive(device) == [b"in"]


def test_a_wait_that_finds_packets_leaves_the_held_ones_for_them_to_pass() -> None:
    device, far = holding()
    send(far, b"next in")
    assert device.wait(-1) and device.wait(0)
    assert receive(far) == []
    assert receive(device) == [b"next in", b"in"]


def test_without_a_held_packet_a_wait_is_the_devices_own() -> None:
    near, _ = MemoryDevice.pair()
    device = ImpairedDevice(near, CHANCES)
    # The time begins before the timer does: a busy machine may stop this thread between the two.
    before = time.monotonic_ns()
    threading.Timer(0.03, device.wake).start()
    assert not device.wait(-1)
    assert 20 * MS < time.monotonic_ns() - before < 5 * SECOND
    assert not device.wait(MS)


def test_copies_beyond_the_ring_wait_for_the_next_call() -> None:
    near, far = MemoryDevice.pair()
    device = ImpairedDevice(near, Impairment(duplicate=1))
    sent = packets(4)
    send(far, *sent)
    assert receive(device, 5) == [sent[0], sent[0], sent[1], sent[1], sent[2]]
    assert device.wait(0)
    assert receive(device, 5) == [sent[2], sent[3], sent[3]]
    assert send(device, *sent, slots=4) == 4
    assert receive(far) == [packet for packet in sent for _ in range(2)]


def test_lost_packets_do_not_end_a_receive_nor_keep_it_for_ever() -> None:
    near, far = MemoryDevice.pair()
    device = ImpairedDevice(near, Impairment(loss=0.5))
    sent = packets(60)
    send(far, *sent)
    assert len(receive(device, 10)) == 10, "the ring is filled though half was lost"

    class Flood(MemoryDevice):
        def receive(self, ring: PacketRing) -> int:
            while ring.append(b"x"):
                pass
            return ring.slots

    device = ImpairedDevice(Flood(), Impairment(loss=1))
    assert receive(device, 10) == []
    assert device.incoming.tally.packets == READS * 10


def test_what_the_device_refuses_is_reported_and_counted() -> None:
    device = ImpairedDevice(MemoryDevice(limit=3))
    assert send(device, *packets(5)) == 3
    assert device.outgoing.tally == Tally(packets=5, refused=2, delivered=3)
    device = ImpairedDevice(MemoryDevice(limit=3), Impairment(duplicate=1))
    assert send(device, *packets(2)) == 1
    assert send(device, *packets(2)) == 0, "and never less"


@given(
    impairment_in=st.builds(Impairment, loss=probabilities, duplicate=probabilities, reorder=probabilities, depth=st.integers(1, 4)),
    impairment_out=st.builds(Impairment, loss=probabilities, duplicate=probabilities, reorder=probabilities, depth=st.integers(1, 4)),
    steps=st.lists(st.tuples(st.sampled_from(["out", "in", "receive", "wait"]), st.integers(1, 6)), max_size=40),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=100)
def test_every_packet_through_a_wrapper_is_accounted_for(
    impairment_in: Impairment, impairment_out: Impairment, steps: list[tuple[str, int]], seed: int
) -> None:
    near, far = MemoryDevice.pair()
    device = ImpairedDevice(near, impairment_in, impairment_out, seed)
    got: list[bytes] = []
    sent = 0
    for action, count in steps:
        if action == "out":
            assert send(device, *packets(count), slots=count) == count
        elif action == "in":
            send(far, *packets(count))
            sent += count
        elif action == "receive":
            got += receive(device, 4)
        else:
            device.wait(0)
    while device.wait(0):
        got += receive(device, 4)
    tally = device.incoming.tally
    assert tally.packets == sent and len(got) == tally.delivered == sent + tally.duplicated - tally.lost
    tally = device.outgoing.tally
    assert len(receive(far, 1000)) == tally.delivered == tally.packets + tally.duplicated - tally.lost


# ---- marks (RFC 3168) ----


def ecn_packet(codepoint: int, size: int = 100) -> bytes:
    """An IPv4 packet of one codepoint, its checksum as scapy computes it."""
    return bytes(IP(src="198.18.0.1", dst="198.18.0.2", tos=0xB8 | codepoint, id=size) / bytes(size - 20))


@pytest.mark.parametrize(("codepoint", "becomes"), [(0, 0), (1, 3), (2, 3), (3, 3)])
def test_a_mark_is_for_those_that_may_be_marked(codepoint: int, becomes: int) -> None:
    """The DS field stays, and the checksum is that of the header as it is now."""
    sent = [ecn_packet(codepoint, size) for size in range(20, 220)]
    got, tally = over_device(sent, Impairment(mark=1))
    assert got == [ecn_packet(becomes, size) if codepoint else packet for size, packet in zip(range(20, 220), sent, strict=True)]
    assert tally == Tally(packets=200, marked=200 if codepoint in (1, 2) else 0, delivered=200)


@pytest.mark.parametrize("packet", [b"", b"E", b"\x45\x02" + bytes(17), b"\x60\x02" + bytes(38)])
def test_what_is_no_ipv4_packet_is_not_marked(packet: bytes) -> None:
    assert mark_congestion(packet) is packet


def test_marks_have_dice_of_their_own() -> None:
    """The n-th packet's fate is the same with marks and without."""
    sent = [ecn_packet(2, 40 + n % 100) for n in range(1000)]
    plain, tally = over_device(sent, Impairment(loss=0.1, duplicate=0.1, reorder=0.1))
    with_marks, marked = over_device(sent, Impairment(loss=0.1, duplicate=0.1, reorder=0.1, mark=0.3))
    assert [packet[20:] for packet in plain] == [packet[20:] for packet in with_marks]
    assert replace(marked, marked=0) == tally and 200 < marked.marked < 340


def test_a_queue_marks_from_so_many_waiting_on() -> None:
    """At 8 Mbit/s a packet of 1000 bytes takes a millisecond: of ten at once, one goes and nine wait."""
    sent = [ecn_packet(2, 1000)] * 10
    got, tally = over_link(sent, Impairment(rate=8_000_000, mark_at=4))
    assert [packet[1] & 3 for _, packet in got] == [2] * 5 + [3] * 5 and tally.marked == 5
    assert over_link(sent, Impairment(rate=8_000_000))[1].marked == 0
    assert over_link(sent, Impairment(rate=8_000_000, mark_at=1), spacing=MS)[1].marked == 0, "nobody waits"
    assert over_link(sent, Impairment(mark_at=1))[1].marked == 0, "nor without a rate"
    bounded = over_link(sent, Impairment(rate=8_000_000, mark_at=2, queue=3))[1]
    assert (bounded.marked, bounded.dropped) == (1, 6), "the tail is dropped all the same"
