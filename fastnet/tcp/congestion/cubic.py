"""CUBIC (RFC 9438) with HyStart++ (RFC 9406). The window grows with the cube of the time since the last loss."""

from fastnet.tcp.congestion.base import Acknowledgment, CongestionControl
from fastnet.tcp.congestion.hystart import HyStart
from fastnet.tcp.numbers import SECOND

C = 0.4
BETA = 0.7
BETA_ECN = 0.85
"""Where a mark may be answered with less than a loss (RFC 8511 section 3.1)."""
ALPHA = 3 * (1 - BETA) / (1 + BETA)
"""Growth of the Reno-friendly window, segments for each round trip (section 4.3)."""


class Cubic(CongestionControl):
    """Names as in RFC 9438 section 4.1.2; windows in segments (floating), times in seconds.

    :ivar epoch: when the present congestion avoidance began, ns; 0 before its first ACK; later by the time that does not count
    :ivar grown_at: the last ACK of congestion avoidance, ns
    :ivar fraction: bytes of growth that did not make a whole one yet
    :ivar hystart: of the first slow start, made at its first ACK; None without
    :ivar known: a loss, or HyStart++, has set SSTHRESH: slow start goes there
    :ivar before: what ``remember`` kept: W_max, cwnd_prior, K, W_est, ``epoch``, ``known``; None without
    """

    name = "cubic"

    __slots__ = ("before", "cwnd_prior", "epoch", "fraction", "grown_at", "hystart", "k", "known", "w_est", "w_max")

    def __init__(self, mss: int) -> None:
        CongestionControl.__init__(self, mss)
        self.hystart: HyStart | None = None
        self.known = False
        self.before: tuple[float, float, float, float, int, bool] | None = None
        self.epoch = 0
        self.grown_at = 0
        self.w_max = 0.0
        self.cwnd_prior = 0.0
        self.k = 0.0
        self.w_est = 0.0
        self.fraction = 0.0

    def acknowledged(self, ack: Acknowledgment) -> None:
        """Slow start, or section 4.2 to 4.5."""
        left = ack.acked
        if self.cwnd < self.ssthresh:
            if not self.known:
                self.search(ack)
                return
            left = self.slow_start(left)
            if left == 0:
                return
        # float(), because compiled, a quotient of whole numbers is a whole number.
        cwnd = float(self.cwnd) / self.mss
        if self.epoch == 0:
            self.start_epoch(cwnd, ack.now)
        else:
            # While CWND holds the sender back, ACKs are a round trip apart at most. The rest of a longer pause was a time in which the
            # program, or the peer's window, held it back: that is no time of growth (sections 4.2 and 5.8).
            pause = ack.now - self.grown_at - (ack.rtt if ack.rtt else ack.min_rtt)
            if pause > 0:
                self.epoch += pause
        self.grown_at = ack.now
        acked = float(left) / self.mss
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

    def search(self, ack: Acknowledgment) -> None:
        """The first slow start: HyStart++ says where it ends."""
        hystart = self.hystart
        if hystart is None:
            hystart = HyStart()
            self.hystart = hystart
        self.cwnd = min(self.cwnd + hystart.growth(ack, self.mss), self.ssthresh)
        if hystart.done:
            self.ssthresh = self.cwnd
            self.know()

    def know(self) -> None:
        """SSTHRESH is known."""
        self.known = True
        self.hystart = None

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
        self.decrease(BETA)

    def marked(self, in_flight: int, now: int) -> None:
        """RFC 8511: a router that marks has a short queue, so CWND need not come down as far to empty it."""
        self.decrease(BETA_ECN)

    def decrease(self, beta: float) -> None:
        """A new curve, which begins with so much of CWND."""
        cwnd = float(self.cwnd) / self.mss
        self.cwnd_prior = cwnd
        self.w_max = cwnd * (1 + BETA) / 2 if cwnd < self.w_max else cwnd
        self.ssthresh = max(int(self.cwnd * beta), 2 * self.mss)
        self.epoch = 0
        self.know()

    def remember(self) -> None:
        """Section 4.9: all that the curve is made of."""
        self.before = (self.w_max, self.cwnd_prior, self.k, self.w_est, self.epoch, self.known)

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """Section 4.9: back to the curve of before. The time since then does not count."""
        CongestionControl.undo(self, cwnd, ssthresh)
        if self.before is not None:
            self.w_max, self.cwnd_prior, self.k, self.w_est, self.epoch, self.known = self.before
            self.before = None

    def set_mss(self, mss: int) -> None:
        """The windows of the curve are in segments: as many bytes are another number of them. A new curve begins from here."""
        ratio = float(self.mss) / mss
        CongestionControl.set_mss(self, mss)
        self.w_max *= ratio
        self.cwnd_prior *= ratio
        self.epoch = 0
        self.before = None

    def restarted(self, now: int) -> None:
        """Time without sending is no time of growth."""
        CongestionControl.restarted(self, now)
        self.epoch = 0

    def unused(self, used: int, now: int) -> None:
        """What is left of CWND begins a new curve."""
        cwnd = self.cwnd
        CongestionControl.unused(self, used, now)
        if self.cwnd != cwnd:
            self.epoch = 0
