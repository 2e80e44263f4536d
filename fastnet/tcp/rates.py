"""Rates of one connection: how fast it may send (pacing), and how fast what it sends arrives (draft-ietf-ccwg-bbr-04 section 4.1).

A connection has a ``Rates`` only if it paces, or if its congestion control asks for samples.

Pacing sends in bursts of a millisecond's worth, as the timer wheel's turns are a millisecond: no timer for each segment. What a turn that
comes late has missed goes with the next burst, so the average holds.
"""

from fastnet.tcp.congestion.base import Acknowledgment, RateSample
from fastnet.tcp.numbers import MILLISECOND, SECOND
from fastnet.tcp.scoreboard import Scoreboard

QUANTUM = MILLISECOND
"""What a burst is worth, and two segments at least (draft-ietf-ccwg-bbr-04 section 5.6.3)."""
LATE = 2 * MILLISECOND
"""What a late turn may make up for: the wheel's own millisecond, and one for the loop around it."""
MAX_RATE = 1 << 40
"""Bytes/s. More is no bound on any machine, and would leave 64 bits in what follows."""
NO_BOUND = 1 << 62
COMPACT = 64
"""Departures that are over stay at the front of the list until there are so many, and more than half."""


class Departure:
    """What was known when something was sent: one for all that left in the same instant.

    :ivar sent_at: when, ns
    :ivar delivered: bytes that had arrived by then; ``delivered_at``: when the last of those did, ns
    :ivar first_sent_at: when the last of those had been sent, ns
    :ivar in_flight: bytes on their way behind it
    :ivar lost: bytes that had been lost since the connection began
    :ivar app_limited: the program, not the path, set the pace
    """

    __slots__ = ("app_limited", "delivered", "delivered_at", "first_sent_at", "in_flight", "lost", "sent_at")

    def __init__(self, sent_at: int) -> None:
        self.sent_at = sent_at
        self.delivered = 0
        self.delivered_at = 0
        self.first_sent_at = 0
        self.in_flight = 0
        self.lost = 0
        self.app_limited = False


class Rates:
    """One connection's. Rates are bytes/s.

    :ivar pacing_rate: as of the last burst, 0: none, or no bound; ``max_pacing_rate``: SO_MAX_PACING_RATE, 0: no bound
    :ivar delivery_rate: of the last sample that was worth one; ``delivery_rate_app_limited``: the program set that pace
    :ivar paces: bursts wait for their turn
    :ivar left: bytes that may still leave in this turn
    :ivar next_at: when the next burst may leave, ns; ``wake_at``: the same while something waits for it, else 0
    :ivar cwnd_limited: CWND, and nothing else, held the sender back when it last sent
    :ivar samples: the congestion control is told a ``sample`` with each ACK
    :ivar lost: bytes found lost since the connection began; ``newly_lost``: those that no sample has told of yet
    :ivar app_limited: the program sets the pace until so many bytes have arrived; 0: it does not
    """

    __slots__ = (
        "app_limited", "cwnd_limited", "delivered_at", "delivery_rate", "delivery_rate_app_limited", "departures", "first_sent_at", "head",
        "left", "lost",
        "max_pacing_rate", "newly_lost", "next_at", "paces", "pacing_rate", "sample", "samples", "wake_at",
    )  # fmt: skip

    def __init__(self) -> None:
        self.pacing_rate = 0
        self.max_pacing_rate = 0
        self.delivery_rate = 0
        self.delivery_rate_app_limited = False
        self.paces = False
        self.left = 0
        self.next_at = 0
        self.wake_at = 0
        self.cwnd_limited = False
        self.samples = False
        self.sample = RateSample()
        self.departures: list[Departure] = []
        self.head = 0
        self.delivered_at = 0
        self.first_sent_at = 0
        self.lost = 0
        self.newly_lost = 0
        self.app_limited = 0

    # ---- pacing ----

    def allowance(self, rate: int, mss: int, now: int) -> int:
        """How many bytes may leave now.

        :param rate: what the congestion control wants, bytes/s; 0: no bound
        """
        if self.max_pacing_rate and (rate == 0 or rate > self.max_pacing_rate):
            rate = self.max_pacing_rate
        rate = min(rate, MAX_RATE)
        if 0 < self.pacing_rate < rate and self.next_at > now:
            # What is left of the last burst is paid for at the new rate.
            self.next_at = now + (self.next_at - now) * self.pacing_rate // rate
        self.pacing_rate = rate
        self.left = 0
        if rate == 0:
            self.left = NO_BOUND
            return NO_BOUND
        if self.next_at > now:
            return 0
        # Who did not wait for this turn has missed nothing.
        late = min(now - self.next_at, LATE) if self.wake_at else 0
        self.next_at = now - late
        self.left = max((late + QUANTUM) * rate // SECOND, 2 * mss)
        return self.left

    def charge(self, size: int, now: int) -> None:
        """So many bytes left."""
        self.left -= size
        if self.pacing_rate:
            self.next_at = max(self.next_at, now - LATE) + size * SECOND // self.pacing_rate

    # ---- samples ----

    def begin(self) -> None:
        """From now on there are samples, of what is sent from now on."""
        self.samples = True
        self.departures.clear()
        self.head = 0
        self.first_sent_at = 0
        self.app_limited = 0
        self.newly_lost = 0

    def sent(self, board: Scoreboard, in_flight: int, size: int, now: int) -> None:
        """Something was sent (SendPacket() of the draft).

        :param in_flight: bytes on their way now; ``size``: of those, what was sent just now
        """
        if in_flight <= size or self.first_sent_at == 0:
            # Nothing else was on its way: time begins here.
            self.first_sent_at = now
            self.delivered_at = now
        departures = self.departures
        last = departures[len(departures) - 1] if self.head < len(departures) else None
        if last is None or last.sent_at != now:
            last = Departure(now)
            last.delivered = board.delivered
            last.delivered_at = self.delivered_at
            last.first_sent_at = self.first_sent_at
            last.lost = self.lost
            last.app_limited = self.app_limited != 0
            departures.append(last)
        last.in_flight = in_flight

    def find(self, sent_at: int) -> Departure | None:
        """What was known when something was sent; None: that is too long ago."""
        departures = self.departures
        low = self.head
        high = len(departures)
        while low < high:
            middle = (low + high) >> 1
            departure = departures[middle]
            if departure.sent_at < sent_at:
                low = middle + 1
            else:
                high = middle
        if low == len(departures):
            return None
        departure = departures[low]
        return departure if departure.sent_at == sent_at else None

    def limit(self, delivered: int, in_flight: int) -> None:
        """What is on its way, or may follow it at once, shows the program's pace (MarkConnectionAppLimited() of the draft)."""
        self.app_limited = max(delivered + in_flight, 1)

    def acknowledged(self, board: Scoreboard, ack: Acknowledgment, min_rtt: int) -> None:
        """An ACK: fill the sample (GenerateRateSample() of the draft).

        :param min_rtt: the shortest round trip so far, ns: what seems to have taken less is no measure
        """
        sample = self.sample
        newly_lost = self.newly_lost
        self.newly_lost = 0
        sample.delivery_rate = 0
        sample.delivered = 0
        sample.newly_lost = newly_lost
        sample.lost = 0
        sample.in_flight = 0
        sample.app_limited = False
        sample.prior_delivered = -1
        self.lost += newly_lost
        if self.app_limited and board.delivered > self.app_limited:
            self.app_limited = 0
        if ack.acked:
            self.delivered_at = ack.now
        newest = max(board.latest, board.resent_at)
        departure = self.find(newest) if newest else None
        if departure is not None:
            sample.prior_delivered = departure.delivered
            sample.delivered = board.delivered - departure.delivered
            sample.app_limited = departure.app_limited
            sample.in_flight = departure.in_flight
            sample.lost = self.lost - departure.lost
            # What it was sent with, and what of that arrived: the slower of the two is what the path did.
            interval = max(newest - departure.first_sent_at, ack.now - departure.delivered_at)
            self.first_sent_at = newest
            if interval >= min_rtt and interval > 0:
                sample.delivery_rate = sample.delivered * SECOND // interval
                if not sample.app_limited or sample.delivery_rate >= self.delivery_rate:
                    self.delivery_rate = sample.delivery_rate
                    self.delivery_rate_app_limited = sample.app_limited
        if newly_lost:
            flight = board.next_lost()
            departure = self.find(flight.sent_at) if flight is not None else None
            sample.loss_in_flight = departure.in_flight if departure is not None else 0
            sample.loss_lost = self.lost - departure.lost if departure is not None else 0
            sample.loss_app_limited = departure.app_limited if departure is not None else False
        self.forget(board)

    def forget(self, board: Scoreboard) -> None:
        """Departures of which nothing is on its way any more."""
        departures = self.departures
        if board.head == len(board.flights):
            departures.clear()
            self.head = 0
            return
        if len(departures) - self.head < COMPACT:
            return
        flight = board.oldest()
        head = self.head
        if flight is not None:
            while head < len(departures):
                departure = departures[head]
                if departure.sent_at >= flight.sent_at:
                    break
                head += 1
        if head >= COMPACT and 2 * head > len(departures):
            del departures[:head]
            head = 0
        self.head = head
