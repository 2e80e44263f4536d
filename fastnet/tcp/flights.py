"""Packets on their way, and the two orders they are looked for in beside that of their numbers: by time, and lost ones by number."""

from fastnet.tcp.numbers import HALF, MASK
from fastnet.tcp.rack import Rack

SLACK = 64
"""Entries beyond twice those that count, after which an order is cleaned of what no longer does."""


class Flight:
    """A range of sequence numbers that went out as one packet. What is sent again becomes a new flight, with its own time.

    :ivar seq: its first number
    :ivar end: the one behind its last
    :ivar sent_at: when it was sent, ns; ``before``: when its numbers were sent the time before that, ms modulo 2^32; 0 without
    :ivar sacked: the peer has it
    :ivar lost: it is to be sent again; never together with ``sacked``
    :ivar retransmitted: its numbers were sent more than once
    :ivar over: it is no longer on the board: acknowledged, joined to another, or sent again
    """

    __slots__ = ("before", "end", "lost", "over", "retransmitted", "sacked", "sent_at", "seq")

    seq: int
    end: int
    sent_at: int
    before: int
    sacked: bool
    lost: bool
    retransmitted: bool
    over: bool

    def is_on_its_way(self) -> bool:
        """Has nobody said that it arrived, and nobody given it up?"""
        return not (self.sacked or self.lost or self.over)


class LostFlights:
    """Flights to be sent again, the lowest sequence number first: a binary heap.

    A flight that arrives, or that is sent again, stays in it until it comes to the top.
    """

    __slots__ = ("heap",)

    def __init__(self) -> None:
        self.heap: list[Flight] = []

    def push(self, flight: Flight) -> None:
        """One more. O(log n)."""
        heap = self.heap
        heap.append(flight)
        i = len(heap) - 1
        while i > 0:
            above = heap[(i - 1) >> 1]
            if (flight.seq - above.seq & MASK) < HALF:
                break
            heap[i] = above
            i = (i - 1) >> 1
        heap[i] = flight

    def first(self) -> Flight | None:
        """The lowest that is still to be sent again. O(log n) for each that is not."""
        heap = self.heap
        while heap:
            flight = heap[0]
            if flight.lost and not flight.over:
                return flight
            self.pop()
        return None

    def pop(self) -> None:
        """Let the first go."""
        heap = self.heap
        last = heap.pop()
        size = len(heap)
        if size == 0:
            return
        i = 0
        while True:
            child = 2 * i + 1
            if child >= size:
                break
            below = heap[child]
            if child + 1 < size:
                other = heap[child + 1]
                if (below.seq - other.seq & MASK) < HALF:
                    below = other
                    child += 1
            if (below.seq - last.seq & MASK) < HALF:
                break
            heap[i] = below
            i = child
        heap[i] = last


class SendOrder:
    """Flights in the order in which they were sent (Linux's tsorted_sent_queue). Each is added once and looked at a few times in all.

    :ivar queue: those flights, and some that are no longer on their way
    :ivar oldest: index of the first that may be on its way
    :ivar passed: index behind the last that something which has arrived was sent after
    :ivar limit: entries at which it is cleaned
    """

    __slots__ = ("limit", "oldest", "passed", "queue")

    def __init__(self) -> None:
        self.queue: list[Flight] = []
        self.oldest = 0
        self.passed = 0
        self.limit = SLACK

    def append(self, flight: Flight) -> None:
        """It was sent just now."""
        self.queue.append(flight)
        if len(self.queue) >= self.limit:
            self.clean()

    def insert(self, flight: Flight) -> None:
        """It was sent some time ago, as a part of another. O(log n)."""
        queue = self.queue
        low = self.oldest
        high = len(queue)
        while low < high:
            middle = (low + high) >> 1
            other = queue[middle]
            if other.sent_at < flight.sent_at or other.sent_at == flight.sent_at and (flight.end - other.end & MASK) < HALF:
                low = middle + 1
            else:
                high = middle
        queue.insert(low, flight)
        if low < self.passed:
            self.passed += 1

    def clean(self) -> None:
        """Drop what is not on its way: as much work as there were calls of ``append`` since the last time."""
        kept: list[Flight] = []
        for i in range(self.oldest, len(self.queue)):
            flight = self.queue[i]
            if flight.is_on_its_way():
                kept.append(flight)
        self.queue = kept
        self.oldest = 0
        self.passed = 0
        self.limit = 2 * len(kept) + SLACK

    def first(self) -> Flight | None:
        """The one that was sent first of those on their way."""
        queue = self.queue
        i = self.oldest
        while i < len(queue):
            flight = queue[i]
            if flight.is_on_its_way():
                self.oldest = i
                return flight
            i += 1
        queue.clear()
        self.oldest = 0
        self.passed = 0
        return None

    def last_before(self, rack: Rack) -> Flight | None:
        """The last on its way that was sent before what has arrived (RFC 8985 section 6.2)."""
        queue = self.queue
        i = max(self.passed, self.oldest)
        while i < len(queue):
            flight = queue[i]
            if flight.is_on_its_way() and not rack.is_later_than(flight.sent_at, flight.end):
                break
            i += 1
        last = i
        while last > self.oldest:
            flight = queue[last - 1]
            if flight.is_on_its_way():
                break
            last -= 1
        if last < i:
            del queue[last:i]
        self.passed = last
        return queue[last - 1] if last > self.oldest else None
