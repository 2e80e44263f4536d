"""Delivery-rate samples (draft-ietf-ccwg-bbr-04 section 4.1), ACK by ACK."""

from __future__ import annotations

from typing import Any

from fastnet.tcp.congestion.base import Acknowledgment, CongestionControl, RateSample
from fastnet.tcp.rates import Rates
from tests.peer import MILLISECOND, STACK, Peer, Wire
from tests.protocol.test_pacing import MSS, accepted


class Watcher(CongestionControl):
    """Keeps what it is told."""

    name = "watcher"

    __slots__ = ("told",)

    def __init__(self, mss: int) -> None:
        CongestionControl.__init__(self, mss)
        self.cwnd = 100 * mss
        self.told: list[dict[str, Any]] = []

    def samples(self) -> bool:
        return True

    def sampled(self, ack: Acknowledgment, sample: RateSample) -> None:
        self.told.append({name: getattr(sample, name) for name in RateSample.__slots__} | {"acked": ack.acked, "now": ack.now})


class Watched:
    """A connection under it, with a peer that acknowledges when it is told to."""

    def __init__(self, sack: bool = False) -> None:
        self.wire = Wire()
        listener = self.wire.stack.listen(STACK, 80)
        self.peer = Peer(self.wire)
        self.peer.syn([("MSS", MSS), ("WScale", 10), *([("SAckOK", b"")] if sack else [])])
        self.peer.put("A", 1, 1, window=0xFFFF)
        connection = listener.accept()
        assert connection is not None
        self.connection = connection
        connection.set_congestion_control(Watcher)

    @property
    def rates(self) -> Rates:
        rates = self.connection.need_sender().recovery.rates
        assert rates is not None
        return rates

    @property
    def told(self) -> list[dict[str, Any]]:
        congestion = self.connection.need_sender().recovery.congestion
        assert isinstance(congestion, Watcher)
        return congestion.told

    def send(self, segments: int) -> None:
        assert self.connection.send(bytes(segments * MSS)) == segments * MSS
        assert len(self.wire.sent()) == segments

    def ack(self, segments: int, after: int, **fields: Any) -> dict[str, Any]:
        """Time passes (ms), and the first so many segments are acknowledged."""
        self.wire.now += after * MILLISECOND
        self.peer.put("A", 1, 1 + segments * MSS, window=0xFFFF, **fields)
        return self.told[-1]


def test_the_rate_is_what_arrived_by_the_time_that_it_took() -> None:
    it = Watched()
    it.send(10)
    first = it.ack(5, 50)
    assert (first["delivered"], first["prior_delivered"], first["acked"]) == (5 * MSS, 0, 5 * MSS)
    assert first["delivery_rate"] == 5 * MSS * 20
    assert first["in_flight"] == 10 * MSS and first["total"] == 5 * MSS
    # The other half, 10 ms later: ten segments since the departure, in 60 ms.
    second = it.ack(10, 10)
    assert second["delivered"] == 10 * MSS and second["delivery_rate"] == 10 * MSS * 1000 // 60


def test_a_burst_of_acks_is_not_a_rate() -> None:
    """Section 4.1.2.3: sent over 30 ms, acknowledged at once: it was sent no faster than that."""
    it = Watched()
    it.send(10)
    it.ack(10, 50)
    it.send(2)
    it.wire.now += 30 * MILLISECOND
    it.send(2)
    it.ack(12, 20)
    last = it.ack(14, 1)
    # The departure 30 ms after the last ACK: what arrived since then, by the send interval that is longer than 21 ms.
    assert last["delivered"] == 4 * MSS and last["prior_delivered"] == 10 * MSS
    assert last["delivery_rate"] <= 4 * MSS * 1000 // 30


def test_a_program_that_has_no_more_to_send_sets_the_pace() -> None:
    """MarkConnectionAppLimited(): until what was on its way then has arrived."""
    it = Watched()
    it.send(2)
    assert it.rates.app_limited == 2 * MSS
    assert not it.ack(2, 50)["app_limited"], "nothing was limited when it left"
    it.send(1)
    assert it.ack(3, 50)["app_limited"]
    it.connection.send(bytes(99 * MSS))
    it.connection.need_sender().recovery.congestion.cwnd = 10 * MSS
    it.wire.sent()
    assert it.rates.app_limited == 3 * MSS, "CWND is what holds it back now"
    it.ack(4, 50)
    assert it.rates.app_limited == 0


def test_the_programs_pace_shows_until_all_that_was_on_its_way_has_arrived() -> None:
    """Section 4.1.2.4: an ACK of a part of it does not end the bubble, so what is sent behind that part is marked as well."""
    it = Watched()
    it.send(6)
    assert it.rates.app_limited == 6 * MSS
    it.connection.need_sender().recovery.congestion.cwnd = 6 * MSS
    it.connection.send(bytes(20 * MSS))
    for segments, marked in ((2, False), (4, False), (6, False), (8, True), (10, True), (12, True), (13, False)):
        assert it.ack(segments, 10)["app_limited"] == marked, segments
    assert it.rates.app_limited == 0


def test_losses_are_counted_from_the_departure() -> None:
    it = Watched(sack=True)
    it.send(10)
    it.wire.now += 50 * MILLISECOND
    irs = it.peer.irs + 1
    last = it.ack(0, 0, options=[("NOP", None), ("NOP", None), ("SAck", (irs + 3 * MSS, irs + 10 * MSS))])
    assert last["newly_lost"] == last["lost"] == last["loss_lost"] == 3 * MSS
    assert last["in_flight"] == last["loss_in_flight"] == 10 * MSS
    assert last["recovering"] and last["acked"] == last["delivered"] == 7 * MSS
    assert last["delivery_rate"] == 7 * MSS * 20
    # What is sent again has a departure of its own.
    after = it.ack(10, 50)
    assert after["newly_lost"] == after["lost"] == 0 and after["prior_delivered"] == 7 * MSS and after["delivered"] == 3 * MSS


def test_departures_are_one_for_an_instant_and_are_forgotten() -> None:
    it = Watched()
    for n in range(300):
        it.send(3)
        assert len(it.rates.departures) - it.rates.head <= 3
        it.wire.now += MILLISECOND
        it.send(1)
        it.ack(4 * n + 2, 10)
        it.ack(4 * n + 4, 10)
    assert it.rates.departures == [] and it.rates.head == 0


def test_many_departures_on_their_way_are_found_again() -> None:
    """The list is compacted while its end is in use."""
    it = Watched()
    for n in range(400):
        it.wire.now += MILLISECOND
        it.send(1)
        if n >= 80:
            assert it.ack(n - 79, 0)["prior_delivered"] == max(n - 160, 0) * MSS
    assert len(it.rates.departures) < 250 and it.rates.find(it.wire.now) is not None


def test_who_begins_late_has_samples_from_then_on() -> None:
    """What was on its way before is not measured, and nothing is measured by it."""
    wire, peer, connection = accepted(tcp_congestion_control="reno")
    connection.send(bytes(10 * MSS))
    wire.sent()
    assert connection.need_sender().recovery.rates is None
    connection.set_congestion_control(Watcher)
    congestion = connection.need_sender().recovery.congestion
    assert isinstance(congestion, Watcher)
    wire.now += 50 * MILLISECOND
    peer.put("A", 1, 1 + 5 * MSS, window=0xFFFF)
    assert congestion.told[-1]["prior_delivered"] == -1 and congestion.told[-1]["delivery_rate"] == 0
    connection.send(bytes(5 * MSS))
    wire.sent()
    wire.now += 50 * MILLISECOND
    peer.put("A", 1, 1 + 15 * MSS, window=0xFFFF)
    assert congestion.told[-1]["delivered"] == 10 * MSS and congestion.told[-1]["delivery_rate"] == 10 * MSS * 20


def test_a_congestion_control_that_does_not_ask_is_not_told() -> None:
    wire, peer, connection = accepted()
    connection.limit_pacing(10_000_000)
    connection.send(bytes(2 * MSS))
    wire.sent()
    peer.put("A", 1, 1 + 2 * MSS, window=0xFFFF)
    rates = connection.need_sender().recovery.rates
    assert rates is not None and not rates.samples and rates.departures == [] and rates.delivery_rate == 0
