"""CUBIC (RFC 9438) with HyStart++ (RFC 9406). The window grows with the cube of the time since the last loss."""

from fastnet.tcp.congestion.base import Acknowledgment, CongestionControl
from fastnet.tcp.congestion.hystart import HyStart
from fastnet.tcp.numbers import SECOND

C = 0.4
BETA = 0.7
ALPHA = 3 * (1 - BETA) / (1 + BETA)
"""Growth of the Reno-friendly window, segments for each round trip (section 4.3)."""


class Cubic(CongestionControl):
    """Names as in RFC 9438 section 4.1.2; windows in segments (floating), times in seconds.

    :ivar epoch: when the present congestion avoidance began, ns; 0 before its first ACK
    :ivar fraction: bytes of growth that did not make a whole one yet
    """

    name = "cubic"

    __slots__ = ("cwnd_prior", "epoch", "fraction", "hystart", "k", "w_est", "w_max")

    def __init__(self, mss: int) -> None:
        CongestionControl.__init__(self, mss)
        self.hystart = HyStart()
        self.epoch = 0
        self.w_max = 0.0
        self.cwnd_prior = 0.0
        self.k = 0.0
        self.w_est = 0.0
        self.fraction = 0.0

    def acknowledged(self, ack: Acknowledgment) -> None:
        """Slow start, or section 4.2 to 4.5."""
        if self.cwnd < self.ssthresh:
            if self.hystart.done:
                # After a loss SSTHRESH is known: slow start goes there.
                self.cwnd += ack.acked
            else:
                self.cwnd += self.hystart.growth(ack, self.mss)
                if self.hystart.done:
                    self.ssthresh = self.cwnd
            return
        # float(), because compiled, a quotient of whole numbers is a whole number.
        cwnd = float(self.cwnd) / self.mss
        if self.epoch == 0:
            self.start_epoch(cwnd, ack.now)
        acked = float(ack.acked) / self.mss
        t = float(ack.now - self.epoch) / SECOND
        # Where the window of the standard's own growth would be by now.
        self.w_est += (ALPHA if self.w_est < self.cwnd_prior else 1.0) * acked / cwnd
        if self.cubic_window(t) < self.w_est:
            grown = self.w_est - cwnd
        else:
            target = min(max(self.cubic_window(t + float(ack.min_rtt) / SECOND), cwnd), 1.5 * cwnd)
            grown = (target - cwnd) * acked / cwnd
        if grown > 0:
            self.fraction += grown * self.mss
            whole = int(self.fraction)
            self.fraction -= whole
            self.cwnd += whole

    def start_epoch(self, cwnd: float, now: int) -> None:
        """The first ACK of congestion avoidance."""
        self.epoch = now
        self.w_est = cwnd
        if cwnd < self.w_max:
            self.k = ((self.w_max - cwnd) / C) ** (1.0 / 3.0)
        else:
            self.k = 0.0
            self.w_max = cwnd

    def cubic_window(self, t: float) -> float:
        """W_cubic(t), segments (section 4.2)."""
        late = t - self.k
        return C * late * late * late + self.w_max

    def reduce(self, in_flight: int, now: int) -> None:
        """Section 4.6, with the fast convergence of section 4.7."""
        cwnd = float(self.cwnd) / self.mss
        self.cwnd_prior = cwnd
        self.w_max = cwnd * (1 + BETA) / 2 if cwnd < self.w_max else cwnd
        self.ssthresh = max(int(self.cwnd * BETA), 2 * self.mss)
        self.epoch = 0
        self.hystart.done = True

    def restarted(self, now: int) -> None:
        """Time without sending is no time of growth."""
        CongestionControl.restarted(self, now)
        self.epoch = 0
