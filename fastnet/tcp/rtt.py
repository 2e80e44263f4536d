"""The retransmission timeout from measured round-trip times (RFC 6298)."""

from fastnet.tcp.numbers import MILLISECOND, SECOND

RTO_INITIAL = SECOND
RTO_MIN = 200 * MILLISECOND
"""Linux's TCP_RTO_MIN; RFC 6298 asks for a second, which no stack in use keeps."""
RTO_MAX = 120 * SECOND
"""Linux's TCP_RTO_MAX."""
MOST_DOUBLINGS = 16
"""More would leave 64 bits, and the smallest RTO is past RTO_MAX long before."""


class RttEstimator:
    """SRTT, RTTVAR and RTO, in ns.

    :ivar srtt: smoothed round-trip time, 0 before the first measurement
    """

    __slots__ = ("rto", "rttvar", "srtt")

    def __init__(self) -> None:
        self.srtt = 0
        self.rttvar = 0
        self.rto = RTO_INITIAL

    def measure(self, sample: int) -> None:
        """Take in a round-trip time (RFC 6298 section 2, with its alpha of 1/8 and beta of 1/4)."""
        # Shifts, because // rounds negative numbers one way in Python and the other in C.
        if self.srtt == 0:
            self.srtt = sample
            self.rttvar = sample // 2
        else:
            self.rttvar += (abs(self.srtt - sample) - self.rttvar) >> 2
            self.srtt += (sample - self.srtt) >> 3
        # As Linux, which adds its minimum to SRTT: a delayed ACK is no timeout, however steady the round trips (tcp_set_rto()).
        self.rto = min(self.srtt + max(4 * self.rttvar, RTO_MIN), RTO_MAX)

    def backed_off(self, times: int) -> int:
        """The RTO doubled for each retransmission (RFC 6298 section 5.5), at most RTO_MAX, however many there were."""
        return min(self.rto << min(times, MOST_DOUBLINGS), RTO_MAX)
