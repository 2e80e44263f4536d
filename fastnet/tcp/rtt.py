"""The retransmission timeout from measured round-trip times (RFC 6298)."""

from fastnet.tcp.numbers import MILLISECOND, SECOND

RTO_INITIAL = SECOND
RTO_FALLBACK = 3 * SECOND
"""After a handshake in which a SYN was sent again and which measured nothing (RFC 6298 section 5.7, Linux's TCP_TIMEOUT_FALLBACK)."""
RTO_MIN = 200 * MILLISECOND
"""Linux's TCP_RTO_MIN; RFC 6298 asks for a second, which no stack in use keeps."""
RTO_MAX = 120 * SECOND
"""Linux's TCP_RTO_MAX."""
MOST_DOUBLINGS = 16
"""More would leave 64 bits, and the smallest RTO is past RTO_MAX long before."""


DOUBLINGS = (RTO_MAX // RTO_MIN).bit_length() - 1
"""Of RTO_MIN that stay below RTO_MAX."""


class RttEstimator:
    """SRTT, RTTVAR and RTO, in ns.

    :ivar srtt: smoothed round-trip time, 0 before the first measurement
    :ivar backoff: how often RTO was doubled since the last measurement
    :ivar expected: measurements to expect in a round trip; ``samples``: those in the present one
    """

    __slots__ = ("backoff", "expected", "rto", "rttvar", "samples", "srtt")

    def __init__(self) -> None:
        self.srtt = 0
        self.rttvar = 0
        self.rto = RTO_INITIAL
        self.backoff = 0
        self.expected = 1
        self.samples = 0

    def measure(self, sample: int) -> None:
        """Take in a round-trip time (RFC 6298 section 2, with its alpha of 1/8 and beta of 1/4). It ends the back-off (section 5).

        With many in a round trip each counts for less, so that together they weigh as one would (RFC 7323 appendix G).
        """
        self.samples += 1
        # Quotients of positive numbers, because those of negative ones are rounded one way in Python and the other in C.
        if self.srtt == 0:
            self.srtt = sample
            self.rttvar = sample // 2
        else:
            if sample >= self.srtt:
                difference = sample - self.srtt
                self.srtt += difference // (8 * self.expected)
            else:
                difference = self.srtt - sample
                self.srtt -= difference // (8 * self.expected)
            if difference >= self.rttvar:
                self.rttvar += (difference - self.rttvar) // (4 * self.expected)
            else:
                self.rttvar -= (self.rttvar - difference) // (4 * self.expected)
        # As Linux, which adds its minimum to SRTT: a delayed ACK is no timeout, however steady the round trips (tcp_set_rto()).
        self.rto = min(self.srtt + max(4 * self.rttvar, RTO_MIN), RTO_MAX)
        self.backoff = 0

    def round_over(self) -> None:
        """A round trip is over: the next will have about as many measurements."""
        self.expected = max(self.samples, 1)
        self.samples = 0

    def back_off(self) -> None:
        """The timer fired. RTO is doubled, and stays so until the next measurement (RFC 6298 sections 5.5 and 5, Karn's algorithm)."""
        self.rto = self.backed_off(1)
        self.backoff += 1

    def backed_off(self, times: int) -> int:
        """The RTO doubled so many times, at most RTO_MAX, however many that is (RFC 6298 section 5.5)."""
        return min(self.rto << min(times, MOST_DOUBLINGS), RTO_MAX)


def time_of_timeouts(count: int) -> int:
    """How long a first timeout of RTO_MIN and so many more take, each twice as long as the one before, RTO_MAX at most, ns.

    Linux's tcp_model_timeout().
    """
    doubled = min(count, DOUBLINGS)
    return ((2 << doubled) - 1) * RTO_MIN + (count - doubled) * RTO_MAX
