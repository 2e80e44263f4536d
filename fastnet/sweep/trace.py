"""What pictures of a run are drawn from, in bounded memory."""

from struct import Struct
from typing import Any

from fastnet.sweep.bottleneck import Bottleneck

SECOND = 1_000_000_000
MOST = 20_000
"""Points of a line; with more, every second one goes and from then on only every second one is kept."""
NO_THRESHOLD = 0x7FFFFFFF
MASK = 0xFFFFFFFF
HALF = 0x80000000
SYN = 2
PORTS_AND_SEQ = Struct("!HHI")


class Line:
    """Points, thinned out when they become too many.

    :ivar points: tuples, the time first, seconds
    """

    def __init__(self) -> None:
        self.points: list[tuple[float, ...]] = []
        self._every = 1
        self._seen = 0

    def add(self, *point: float) -> None:
        """Another point."""
        if self._seen % self._every == 0:
            self.points.append(point)
            if len(self.points) >= MOST:
                del self.points[1::2]
                self._every *= 2
        self._seen += 1


class Trace:
    """The first flow of a run.

    :ivar sent: when a packet with data was sent for the first time, and where in the stream it ends, bytes
    :ivar sent_again: the same of retransmissions
    :ivar windows: time, CWND, SSTHRESH (0 without) and bytes in flight (RFC 6675's pipe)
    :ivar queue: time and bytes in the queue of the bottleneck
    """

    def __init__(self) -> None:
        self.sent = Line()
        self.sent_again = Line()
        self.windows = Line()
        self.queue = Line()
        self._start = 0
        self._port = -1
        self._first = 0
        self._highest = 0

    def watch(self, bottleneck: Bottleneck, start: int) -> None:
        """From now on, see each packet that is sent; ``start``: the time that is 0 in the picture, ns."""
        self._start = start
        bottleneck.entered = self._packet

    def _packet(self, packet: bytes, now: int) -> None:
        header = (packet[0] & 15) << 2
        port, _, seq = PORTS_AND_SEQ.unpack_from(packet, header)
        if self._port < 0 and packet[header + 13] & SYN:
            self._port = port
            self._first = seq + 1 & MASK
        if port != self._port:
            return
        size = len(packet) - header - (packet[header + 12] >> 4 << 2)
        if size <= 0:
            return
        at = (seq - self._first - self._highest + HALF & MASK) - HALF + self._highest + size
        line = self.sent if at > self._highest else self.sent_again
        self._highest = max(self._highest, at)
        line.add((now - self._start) / SECOND, at)

    def sample(self, connection: Any, waiting: int, now: int) -> None:
        """After something has happened: where things stand."""
        time = (now - self._start) / SECOND
        self.queue.add(time, waiting)
        sender = connection.sender if connection is not None else None
        if sender is not None:
            congestion = sender.recovery.congestion
            ssthresh = 0 if congestion.ssthresh >= NO_THRESHOLD else congestion.ssthresh
            self.windows.add(time, congestion.cwnd, ssthresh, sender.recovery.pipe(connection))
