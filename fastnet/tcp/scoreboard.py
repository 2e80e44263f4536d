"""What is on its way: each range that was sent, when, and what has become of it (RFC 2018, RFC 8985 section 5.2)."""

from fastnet.tcp.numbers import HALF, MASK
from fastnet.tcp.rack import Rack

COMPACT = 64
"""Flights that are over stay at the front of the list until there are so many, and more than half."""


class Flight:
    """A range of sequence numbers that went out as one packet.

    :ivar seq: its first number; ``end``: the one behind its last
    :ivar sent_at: when it was sent last, ns
    :ivar sacked: the peer has it; ``lost``: it is to be sent again; never both
    :ivar retransmitted: it was sent more than once
    """

    __slots__ = ("end", "lost", "retransmitted", "sacked", "sent_at", "seq")

    seq: int
    end: int
    sent_at: int
    sacked: bool
    lost: bool
    retransmitted: bool


class Scoreboard:
    """The flights between SND.UNA and SND.NXT, in order and without a gap.

    :ivar sacked: bytes that arrived ahead of SND.UNA; ``lost``: bytes that wait to be sent again
    :ivar delivered: bytes that have arrived since the connection began
    :ivar earliest, latest: of what the present ACK delivered and was sent only once: when the first and the last went out; 0 without
    :ivar resent_at: of what the present ACK delivered and was sent more than once: when the last went out; 0 without
    :ivar original: the present ACK delivered something that was sent only once, before ``timed_out_at`` (RFC 5682)
    :ivar lost_again: retransmissions that were found lost too
    :ivar most: flights that there may be at once, but for those that retransmissions make of larger ones
    :ivar untaken: SACK blocks that were not taken in full because there were so many
    """

    __slots__ = (
        "delivered", "earliest", "flights", "head", "latest", "lost", "lost_again", "most", "original", "rack", "resent_at", "sacked",
        "scan", "timed_out_at", "untaken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.flights: list[Flight] = []
        self.head = 0
        self.scan = 0
        self.sacked = 0
        self.lost = 0
        self.delivered = 0
        self.earliest = 0
        self.latest = 0
        self.original = False
        self.resent_at = 0
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
        flight = Flight.__new__(Flight)
        flight.seq = seq
        flight.end = end
        flight.sent_at = now
        flight.sacked = False
        flight.lost = False
        flight.retransmitted = False
        self.flights.append(flight)

    def sent_again(self, flight: Flight, now: int) -> None:
        """A flight was retransmitted: it is on its way once more."""
        if flight.lost:
            flight.lost = False
            self.lost -= flight.end - flight.seq & MASK
        flight.retransmitted = True
        flight.sent_at = now

    def begin(self) -> None:
        """A new ACK."""
        self.earliest = 0
        self.latest = 0
        self.original = False
        self.resent_at = 0

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
            i += 1
        if i >= COMPACT and 2 * i > len(flights) or i == len(flights):
            del flights[:i]
            i = 0
        self.head = i
        self.scan = i

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
            if not self.part(first, (ahead + mss - 1) // mss * mss):
                return
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
            joined.sent_at = max(joined.sent_at, flight.sent_at)
            joined.retransmitted = joined.retransmitted or flight.retransmitted
        flight = flights[last - 1]
        joined.end = flight.end
        del flights[first + 1 : last]
        self.scan = min(self.scan, first)

    def find(self, seq: int) -> int:
        """Index of the first flight that ends behind a sequence number."""
        flights = self.flights
        low = self.head
        high = len(flights)
        while low < high:
            middle = (low + high) // 2
            # Ends at or before it?
            if (seq - flights[middle].end & MASK) < HALF:
                low = middle + 1
            else:
                high = middle
        return low

    def split(self, i: int, at: int) -> None:
        """Make two flights of one."""
        flight = self.flights[i]
        tail = Flight.__new__(Flight)
        tail.seq = at
        tail.end = flight.end
        tail.sent_at = flight.sent_at
        tail.sacked = flight.sacked
        tail.lost = flight.lost
        tail.retransmitted = flight.retransmitted
        flight.end = at
        self.flights.insert(i + 1, tail)

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
        rack.delivered(flight.sent_at, flight.end, flight.retransmitted, now)

    def lose(self, flight: Flight) -> None:
        """A flight is to be sent again."""
        flight.lost = True
        self.lost += flight.end - flight.seq & MASK
        self.scan = self.head
        if flight.retransmitted:
            self.lost_again += 1

    def lose_first(self, size: int) -> int:
        """At least the first ``size`` bytes on their way are to be sent again; how many bytes that is."""
        if self.head == len(self.flights):
            return 0
        flight = self.flights[self.head]
        if flight.sacked or flight.lost:
            return 0
        if (flight.end - flight.seq & MASK) > size:
            self.split(self.head, flight.seq + size & MASK)
        self.lose(flight)
        return flight.end - flight.seq & MASK

    def lose_overdue(self, now: int, wait: int) -> int:
        """RACK: what was sent before something that has arrived, and a round trip and a reordering window ago, is lost.

        :param wait: the reordering window, ns
        :returns: how long until the next would be, ns; 0 when there is none (RFC 8985 section 6.2 step 5)
        """
        rack = self.rack
        flights = self.flights
        longest = 0
        for i in range(self.head, len(flights)):
            flight = flights[i]
            if flight.sacked or flight.lost:
                continue
            if not rack.is_later_than(flight.sent_at, flight.end):
                if not flight.retransmitted:
                    # Whatever follows went out later still.
                    break
                continue
            remaining = flight.sent_at + rack.rtt + wait - now
            if remaining <= 0:
                self.lose(flight)
            else:
                longest = max(longest, remaining)
        return longest

    def lose_at_timeout(self, now: int, wait: int) -> None:
        """The retransmission timer fired: the first flight is lost, and all that RACK's clock has run out for (section 6.3)."""
        rack = self.rack
        flights = self.flights
        self.scan = self.head
        for i in range(self.head, len(flights)):
            flight = flights[i]
            if flight.sacked or flight.lost:
                continue
            if i == self.head or flight.sent_at + rack.rtt + wait <= now:
                self.lose(flight)

    def lose_larger(self, mss: int) -> None:
        """The way has become narrower: what is larger than it takes cannot have arrived."""
        for i in range(self.head, len(self.flights)):
            flight = self.flights[i]
            if not flight.sacked and not flight.lost and (flight.end - flight.seq & MASK) > mss:
                self.lose(flight)

    def renege(self) -> bool:
        """Did the peer take back what it said it has (RFC 2018 section 8)? Then forget what it said."""
        if self.head == len(self.flights) or not self.flights[self.head].sacked:
            return False
        for i in range(self.head, len(self.flights)):
            self.flights[i].sacked = False
        # It was counted as delivered, and will be again: a few bytes too many in a statistic.
        self.sacked = 0
        return True

    def restore(self) -> None:
        """Nothing was lost after all."""
        for i in range(self.head, len(self.flights)):
            self.flights[i].lost = False
        self.lost = 0

    def next_lost(self) -> int:
        """Index of the first flight that is to be sent again, -1 when none is."""
        if self.lost == 0:
            return -1
        flights = self.flights
        for i in range(self.scan, len(flights)):
            if flights[i].lost:
                self.scan = i
                return i
        return -1
