"""No congestion control: the peer's window alone bounds what is on its way. For links of one's own, and to see what the rest costs."""

from fastnet.tcp.congestion.base import NO_THRESHOLD, CongestionControl


class Unlimited(CongestionControl):
    """CWND as large as it can be, whatever is lost. Not for a network that anybody else uses (RFC 5681 section 1)."""

    name = "none"

    __slots__ = ()

    def initial_window(self) -> int:
        """No bound."""
        return NO_THRESHOLD

    def reduce(self, in_flight: int, now: int) -> None:
        """Nothing changes."""

    def timed_out(self, in_flight: int, now: int) -> None:
        """Everything may go again; a recovery that the timer ended had sent only what arrived."""
        self.cwnd = NO_THRESHOLD

    def timed_out_again(self) -> None:
        """The same."""
        self.cwnd = NO_THRESHOLD

    def recovered(self, now: int) -> None:
        """Recovery sent what arrived; now everything may go again."""
        self.cwnd = NO_THRESHOLD
