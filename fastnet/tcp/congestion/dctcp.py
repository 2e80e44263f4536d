"""DCTCP (RFC 8257): CWND comes down by as much as the share of packets that were marked says. For networks of one's own.

Its switches mark every packet that finds more than a small number waiting. Everything else is NewReno's: growth, and what a loss does
(section 3.5). A peer without ECN leaves NewReno alone, as on Linux.
"""

from fastnet.tcp.congestion.base import Acknowledgment
from fastnet.tcp.congestion.newreno import NewReno

G = 1.0 / 16
"""How much of the estimate the last window is (DCTCP.g; Linux's dctcp_shift_g of 4)."""


class Dctcp(NewReno):
    """Names as in RFC 8257 section 3.3.

    :ivar alpha: the share of bytes that were marked, 0 to 1; 1 at the beginning (Linux's dctcp_alpha_on_init)
    :ivar bytes_acked, bytes_marked: of this observation window
    :ivar window: the round trip that is observed
    """

    name = "dctcp"
    needs_ecn = True

    __slots__ = ("alpha", "bytes_acked", "bytes_marked", "window")

    def __init__(self, mss: int) -> None:
        NewReno.__init__(self, mss)
        self.alpha = 1.0
        self.bytes_acked = 0
        self.bytes_marked = 0
        self.window = 0

    def echoed(self, ack: Acknowledgment, marked: bool) -> None:
        """Once for each window of data, a new estimate. What arrived ahead counts when it is reported, as on Linux."""
        self.bytes_acked += ack.acked
        if marked:
            self.bytes_marked += ack.acked
        if ack.round == self.window:
            return
        self.window = ack.round
        if self.bytes_acked:
            self.alpha += (float(self.bytes_marked) / self.bytes_acked - self.alpha) * G
        self.bytes_acked = 0
        self.bytes_marked = 0

    def marked(self, in_flight: int, now: int) -> None:
        """Equation 2 of section 3.3, for a window of data at most once."""
        self.ssthresh = max(int(self.cwnd * (1 - self.alpha / 2)), 2 * self.mss)
