"""NewReno: slow start, and one segment more for each round trip (RFC 5681, RFC 3465 with L = 2)."""

from fastnet.tcp.congestion.base import Acknowledgment, CongestionControl


class NewReno(CongestionControl):
    """The standard's own congestion control.

    :ivar counted: bytes acknowledged since CWND last grew in congestion avoidance
    """

    name = "reno"

    __slots__ = ("counted",)

    def __init__(self, mss: int) -> None:
        CongestionControl.__init__(self, mss)
        self.counted = 0

    def acknowledged(self, ack: Acknowledgment) -> None:
        """Slow start by what arrived; congestion avoidance by a segment for each CWND that arrived."""
        acked = ack.acked
        if self.cwnd < self.ssthresh:
            acked = self.slow_start(acked)
            if acked == 0:
                return
        self.counted += acked
        if self.counted >= self.cwnd:
            self.counted -= self.cwnd
            self.cwnd += self.mss

    def marked(self, in_flight: int, now: int) -> None:
        """RFC 8511: four fifths instead of a half, as a router that marks has a short queue."""
        self.ssthresh = max(in_flight * 4 // 5, 2 * self.mss)
