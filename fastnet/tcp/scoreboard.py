"""What is on its way: each range that was sent, when, and what has become of it (RFC 2018, RFC 8985 section 5.2)."""

from fastnet.tcp.flights import Flight, LostFlights, SendOrder
from fastnet.tcp.numbers import HALF, MASK, MILLISECOND
from fastnet.tcp.rack import Rack

COMPACT = 64
"""Flights that are over stay at the front of the list until there are so many, and more than half."""


class Scoreboard:
    """The flights between SND.UNA and SND.NXT, in order and without a gap.

    The work for an ACK is amortised: each flight is found lost, or to have arrived, once, and what is over is not looked at again.
    A look-up takes O(log n). Inserting into a list and deleting from it moves 8 bytes for each flight behind.

    :ivar head: index of the first flight that is not acknowledged
    :ivar order: flights by the time of their sending, made at the first loss or SACK; None while that is the order of their numbers
    :ivar losses: flights to be sent again; None before the first
    :ivar sacked: bytes that arrived ahead of SND.UNA; ``lost``: bytes that wait to be sent again
    :ivar delivered: bytes that have arrived since the connection began
    :ivar earliest, latest: of what the present ACK delivered and was sent only once: when the first and the last went out; 0 without
    :ivar resent_at: of what the present ACK delivered and was sent more than once: when the last went out; 0 without
    :ivar copies: how many flights of that there are, 2: or more; ``copied_at``: of the last of them, when the copy before its last one went
        out, ms modulo 2^32
    :ivar original: the present ACK delivered something that was sent only once, before ``timed_out_at`` (RFC 5682)
    :ivar lost_again: segments that were sent again and found lost too
    :ivar most: flights that there may be at once; twice as many where SACK blocks beside retransmissions cut each of them in two
    :ivar untaken: SACK blocks that were not taken in full because there were so many
    """

    __slots__ = (
        "copied_at", "copies", "delivered", "earliest", "flights", "head", "latest", "losses", "lost", "lost_again", "most", "order",
        "original", "rack", "resent_at", "sacked", "timed_out_at", "untaken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.flights: list[Flight] = []
        self.head = 0
        self.order: SendOrder | None = None
        self.losses: LostFlights | None = None
        self.sacked = 0
        self.lost = 0
        self.delivered = 0
        self.earliest = 0
        self.latest = 0
        self.original = False
        self.resent_at = 0
        self.copies = 0
        self.copied_at = 0
        self.timed_out_at = 0
        self.lost_again = 0
        self.most = 0
        self.untaken = 0
        self.rack = Rack()

    def is_full(self) -> bool:
        """Are there so many flights that no new one may go out?"""
        return len(self.flights) - self.head >= self.most

    def sent(self, seq: int, end: int, now: int) -> None:
        """New data went out."""
        flight = make_flight(seq, end, now)
        self.flights.append(flight)
        if self.order is not None:
            self.order.append(flight)

    def sent_again(self, flight: Flight, size: int, now: int) -> None:
        """The first ``size`` numbers of a flight were retransmitted, and are on their way once more."""
        order = self.need_order()
        i = self.find(flight.seq)
        if size < (flight.end - flight.seq & MASK):
            self.split(i, flight.seq + size & MASK)
        if flight.lost:
            self.lost -= size
        flight.over = True
        again = make_flight(flight.seq, flight.end, now)
        again.before = flight.sent_at // MILLISECOND & MASK
        again.retransmitted = True
        self.flights[i] = again
        order.append(again)

    def need_order(self) -> SendOrder:
        """The flights in the order of their sending: that of their numbers, as long as none was sent again."""
        order = self.order
        if order is None:
            order = SendOrder()
            order.queue = self.flights[self.head :]
            order.clean()
            self.order = order
        return order

    def sort(self) -> None:
        """Make the order anew: flights are on their way again that did not count as such."""
        order = SendOrder()
        order.queue = sorted(self.flights[self.head :], key=time_of)
        order.clean()
        self.order = order

    def begin(self) -> None:
        """A new ACK."""
        self.earliest = 0
        self.latest = 0
        self.original = False
        self.resent_at = 0
        self.copies = 0

    def cumulative(self, una: int, now: int) -> None:
        """Everything before SND.UNA has arrived."""
        flights = self.flights
        i = self.head
        while i < len(flights):
            flight = flights[i]
            size = flight.end - flight.seq & MASK
            behind = una - flight.seq & MASK
            if behind < size or behind >= HALF:
                if 0 < behind < size:
                    self.settle(flight, behind)
                    flight.seq = una
                break
            if not flight.sacked:
                self.deliver(flight, now)
            self.settle(flight, size)
            flight.over = True
            i += 1
        if i == len(flights):
            flights.clear()
            self.order = None
            self.losses = None
            i = 0
        elif i >= COMPACT and 2 * i > len(flights):
            del flights[:i]
            i = 0
        self.head = i

    def settle(self, flight: Flight, size: int) -> None:
        """Some first bytes of a flight leave the board."""
        if flight.sacked:
            self.sacked -= size
            return
        self.delivered += size
        if flight.lost:
            self.lost -= size

    def sack(self, left: int, right: int, mss: int, now: int) -> None:
        """The peer has [left, right), which lies between SND.UNA and SND.NXT.

        A flight of which it has a part is taken apart between whole segments only, and not where there are too many flights already:
        blocks of single bytes would make a flight of each byte (CVE-2019-11478; tcp_match_skb_to_sack()). What has arrived becomes one
        flight with its neighbours, so that the next block does not go through all of it again (tcp_shift_skb_data()).

        :param mss: bytes of a whole segment
        """
        first = self.find(left)
        if first == len(self.flights):
            return
        flight = self.flights[first]
        ahead = left - flight.seq & MASK
        if not flight.sacked and 0 < ahead < HALF:
            size = flight.end - flight.seq & MASK
            covered = right - flight.seq & MASK
            if covered < size:
                covered = covered // mss * mss
            missing = (ahead + mss - 1) // mss * mss
            if missing < min(covered, size):
                self.part(first, missing)
            first += 1
        i = first
        while i < len(self.flights):
            flight = self.flights[i]
            if (flight.seq - right & MASK) < HALF:
                break
            if not flight.sacked:
                over = flight.end - right & MASK
                if 0 < over < HALF and not self.part(i, ((flight.end - flight.seq & MASK) - over) // mss * mss):
                    break
                size = flight.end - flight.seq & MASK
                self.deliver(flight, now)
                self.delivered += size
                if flight.lost:
                    flight.lost = False
                    self.lost -= size
                flight.sacked = True
                self.sacked += size
            i += 1
        self.join(first, i)

    def part(self, i: int, size: int) -> bool:
        """Make the first ``size`` bytes of a flight one of their own; False when that leaves nothing on one side, or may not be."""
        flight = self.flights[i]
        if size == 0 or size >= (flight.end - flight.seq & MASK):
            return False
        if self.is_full():
            self.untaken += 1
            return False
        self.split(i, flight.seq + size & MASK)
        return True

    def join(self, first: int, last: int) -> None:
        """Make one flight of those from index ``first`` to before ``last``, which have all arrived, and of their neighbours that have."""
        flights = self.flights
        if first >= last:
            return
        if first > self.head:
            flight = flights[first - 1]
            if flight.sacked:
                first -= 1
        if last < len(flights):
            flight = flights[last]
            if flight.sacked:
                last += 1
        if last - first < 2:
            return
        joined = flights[first]
        for i in range(first + 1, last):
            flight = flights[i]
            flight.over = True
        joined.end = flight.end
        del flights[first + 1 : last]

    def find(self, seq: int) -> int:
        """Index of the first flight that ends behind a sequence number."""
        flights = self.flights
        low = self.head
        high = len(flights)
        while low < high:
            middle = (low + high) >> 1
            # Ends at or before it?
            flight = flights[middle]
            if (seq - flight.end & MASK) < HALF:
                low = middle + 1
            else:
                high = middle
        return low

    def split(self, i: int, at: int) -> None:
        """Make two flights of one."""
        flight = self.flights[i]
        tail = make_flight(at, flight.end, flight.sent_at)
        tail.sacked = flight.sacked
        tail.before = flight.before
        tail.lost = flight.lost
        tail.retransmitted = flight.retransmitted
        flight.end = at
        self.flights.insert(i + 1, tail)
        if tail.lost and self.losses is not None:
            self.losses.push(tail)
        elif self.order is not None and not tail.sacked:
            self.order.insert(tail)

    def deliver(self, flight: Flight, now: int) -> None:
        """A flight has arrived: what that says about time and order."""
        rack = self.rack
        if not flight.retransmitted:
            if self.earliest == 0:
                self.earliest = flight.sent_at
            self.latest = max(self.latest, flight.sent_at)
            if flight.sent_at < self.timed_out_at:
                self.original = True
        else:
            self.resent_at = max(self.resent_at, flight.sent_at)
            self.copied_at = flight.before
            self.copies = min(self.copies + 1, 2)
        rack.delivered(flight.sent_at, flight.end, flight.retransmitted, now)

    def lose(self, flight: Flight, mss: int) -> None:
        """A flight is to be sent again. ``mss``: bytes of a whole segment, of which it may be several."""
        losses = self.losses
        if losses is None or self.lost == 0:
            # What is left in an older one is not lost, and may be so far behind that its numbers seem to lie ahead.
            losses = LostFlights()
            self.losses = losses
        flight.lost = True
        self.lost += flight.end - flight.seq & MASK
        losses.push(flight)
        if flight.retransmitted:
            self.lost_again += ((flight.end - flight.seq & MASK) + mss - 1) // mss

    def lose_first(self, size: int) -> int:
        """At least the first ``size`` bytes on their way are to be sent again; how many bytes that is."""
        if self.head == len(self.flights):
            return 0
        flight = self.flights[self.head]
        if flight.sacked or flight.lost:
            return 0
        if (flight.end - flight.seq & MASK) > size:
            self.split(self.head, flight.seq + size & MASK)
        self.lose(flight, size)
        return flight.end - flight.seq & MASK

    def lose_overdue(self, now: int, wait: int, mss: int) -> int:
        """RACK: what was sent before something that has arrived, and a round trip and a reordering window ago, is lost.

        :param wait: the reordering window, ns
        :param mss: bytes of a whole segment
        :returns: how long until the next would be, ns; 0 when there is none (RFC 8985 section 6.2 step 5)
        """
        rack = self.rack
        order = self.need_order()
        due = now - rack.rtt - wait
        flight = order.first()
        while flight is not None and flight.sent_at <= due and rack.is_later_than(flight.sent_at, flight.end):
            self.lose(flight, mss)
            flight = order.first()
        if flight is None:
            return 0
        last = order.last_before(rack)
        return last.sent_at - due if last is not None else 0

    def lose_at_timeout(self, now: int, wait: int, mss: int) -> None:
        """The retransmission timer fired: the first flight is lost, and all that RACK's clock has run out for (section 6.3)."""
        order = self.need_order()
        head = self.flights[self.head]
        if head.is_on_its_way():
            self.lose(head, mss)
        due = now - self.rack.rtt - wait
        flight = order.first()
        while flight is not None and flight.sent_at <= due:
            self.lose(flight, mss)
            flight = order.first()

    def lose_larger(self, mss: int) -> None:
        """The way has become narrower: what is larger than it takes cannot have arrived."""
        for i in range(self.head, len(self.flights)):
            flight = self.flights[i]
            if not flight.sacked and not flight.lost and (flight.end - flight.seq & MASK) > mss:
                self.lose(flight, mss)

    def is_reneged(self) -> bool:
        """Does the peer not acknowledge what it said it has (RFC 2018 section 8)? Its SACK lies where its ACK should have gone on."""
        if self.sacked == 0:
            return False
        flight = self.flights[self.head]
        return flight.sacked

    def renege(self) -> bool:
        """The peer has taken back what it said it has: forget all that it said. False when it has not.

        Linear in the flights, so for a timer, not for an ACK.
        """
        if not self.is_reneged():
            return False
        for i in range(self.head, len(self.flights)):
            flight = self.flights[i]
            if flight.sacked:
                flight.sacked = False
                # Of what was joined nobody knows when it was sent: it measures no round trip.
                flight.retransmitted = True
        # It was counted as delivered, and will be again: a few bytes too many in a statistic.
        self.sacked = 0
        self.sort()
        return True

    def restore(self) -> None:
        """Nothing was lost after all. Linear in the flights, if any is lost; once in an episode."""
        if self.lost == 0:
            return
        for i in range(self.head, len(self.flights)):
            flight = self.flights[i]
            flight.lost = False
        self.lost = 0
        self.sort()

    def on_their_way_again(self) -> int:
        """Bytes that were retransmitted and of which nobody has said whether they arrived. Linear in the flights; once in an episode."""
        total = 0
        if self.order is None:
            # Nothing was sent again.
            return 0
        for i in range(self.head, len(self.flights)):
            flight = self.flights[i]
            if flight.retransmitted and flight.is_on_its_way():
                total += flight.end - flight.seq & MASK
        return total

    def next_lost(self) -> Flight | None:
        """The first flight that is to be sent again, None when none is."""
        if self.lost == 0 or self.losses is None:
            return None
        return self.losses.first()

    def oldest(self) -> Flight | None:
        """Of what is on its way, what was sent first; None when nothing is."""
        if self.order is not None:
            return self.order.first()
        return self.flights[self.head] if self.head < len(self.flights) else None


def make_flight(seq: int, end: int, sent_at: int) -> Flight:
    """A flight that is on its way for the first time."""
    flight = Flight.__new__(Flight)
    flight.seq = seq
    flight.end = end
    flight.sent_at = sent_at
    flight.before = 0
    flight.sacked = False
    flight.lost = False
    flight.retransmitted = False
    flight.over = False
    return flight


def time_of(flight: Flight) -> int:
    """When a flight was sent, ns."""
    return flight.sent_at
