"""What arrives, as the wire sees it: which bytes of a stream came, and which came twice. It asks no stack."""

from bisect import bisect_left
from struct import Struct

MASK = 0xFFFFFFFF
HALF = 0x80000000
SYN = 2

PORTS_AND_SEQ = Struct("!HHI")


class Stream:
    """One direction of a connection.

    :ivar segments: that carried data; ``needless``: of those, with a byte that had come before
    :ivar needless_bytes: that had come before
    """

    def __init__(self, first: int) -> None:
        self.segments = 0
        self.needless = 0
        self.needless_bytes = 0
        self._next = first
        # The same without wrapping.
        self._at = 0
        # Beyond a gap: where pieces begin and end, in order and apart.
        self._lefts: list[int] = []
        self._rights: list[int] = []

    def data(self, seq: int, size: int) -> None:
        """Bytes arrive."""
        self.segments += 1
        if seq == self._next and not self._lefts:
            self._move(size)
            return
        left = self._at + (seq - self._next + HALF & MASK) - HALF
        twice = self._insert(left, left + size)
        if twice:
            self.needless += 1
            self.needless_bytes += twice

    def _insert(self, left: int, right: int) -> int:
        """Take in [left, right); how many of these bytes were there."""
        lefts, rights = self._lefts, self._rights
        twice = max(0, min(right, self._at) - left)
        left = max(left, self._at)
        if left >= right:
            return twice
        first = last = bisect_left(rights, left)
        merged_left, merged_right = left, right
        while last < len(lefts) and lefts[last] <= right:
            twice += max(0, min(right, rights[last]) - max(left, lefts[last]))
            merged_left = min(merged_left, lefts[last])
            merged_right = max(merged_right, rights[last])
            last += 1
        lefts[first:last] = [merged_left]
        rights[first:last] = [merged_right]
        if lefts[0] <= self._at:
            self._move(rights[0] - self._at)
            del lefts[0], rights[0]
        return twice

    def _move(self, size: int) -> None:
        self._at += size
        self._next = self._next + size & MASK


class Arrivals:
    """All streams that pass one point of a link, by their source port.

    :ivar streams: source port -> the stream of its latest connection
    """

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self._ended = Stream(0)

    def packet(self, packet: bytes) -> None:
        """An IPv4 packet passes."""
        header = (packet[0] & 15) << 2
        port, _, seq = PORTS_AND_SEQ.unpack_from(packet, header)
        if packet[header + 13] & SYN:
            first = seq + 1 & MASK
            before = self.streams.get(port)
            if before is None or before.segments:
                self._end(before)
                self.streams[port] = Stream(first)
            return
        size = len(packet) - header - (packet[header + 12] >> 4 << 2)
        if size > 0 and port in self.streams:
            self.streams[port].data(seq, size)

    def totals(self) -> tuple[int, int, int]:
        """Of all streams: segments with data, those with something that came twice, bytes that came twice."""
        streams = [self._ended, *self.streams.values()]
        return sum(s.segments for s in streams), sum(s.needless for s in streams), sum(s.needless_bytes for s in streams)

    def _end(self, stream: Stream | None) -> None:
        if stream is not None:
            self._ended.segments += stream.segments
            self._ended.needless += stream.needless
            self._ended.needless_bytes += stream.needless_bytes
