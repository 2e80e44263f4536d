"""HyStart++ (RFC 9406): leave slow start when the round trips grow, before the queue at the bottleneck overflows."""

from fastnet.tcp.congestion.base import Acknowledgment
from fastnet.tcp.numbers import MILLISECOND

MIN_RTT_THRESH = 4 * MILLISECOND
MAX_RTT_THRESH = 16 * MILLISECOND
MIN_RTT_DIVISOR = 8
N_RTT_SAMPLE = 8
CSS_GROWTH_DIVISOR = 4
CSS_ROUNDS = 5
L = 8
"""Segments by which one ACK can raise CWND where nothing is paced."""
INFINITE = 1 << 62


class HyStart:
    """Slow start of one connection; names as in RFC 9406 section 4.2.

    :ivar done: slow start has ended for good: SSTHRESH is to be CWND
    """

    __slots__ = (
        "css", "css_baseline_min_rtt", "css_rounds", "current_round_min_rtt", "done", "last_round_min_rtt", "round",
        "rtt_sample_count",
    )  # fmt: skip

    def __init__(self) -> None:
        self.done = False
        self.css = False
        self.css_rounds = 0
        self.css_baseline_min_rtt = INFINITE
        self.current_round_min_rtt = INFINITE
        self.last_round_min_rtt = INFINITE
        self.rtt_sample_count = 0
        self.round = 0

    def growth(self, ack: Acknowledgment, mss: int) -> int:
        """By how much this ACK lets CWND grow, bytes."""
        if ack.round != self.round:
            self.start_round(ack.round)
        if ack.rtt:
            self.current_round_min_rtt = min(self.current_round_min_rtt, ack.rtt)
            self.rtt_sample_count += 1
        grown = min(ack.acked, L * mss)
        if self.css:
            # Conservative slow start: was it only jitter?
            if self.rtt_sample_count >= N_RTT_SAMPLE and self.current_round_min_rtt < self.css_baseline_min_rtt:
                self.css_baseline_min_rtt = INFINITE
                self.css = False
            return grown // CSS_GROWTH_DIVISOR
        if (
            self.rtt_sample_count >= N_RTT_SAMPLE
            and self.current_round_min_rtt != INFINITE
            and self.last_round_min_rtt != INFINITE
        ):
            thresh = max(MIN_RTT_THRESH, min(self.last_round_min_rtt // MIN_RTT_DIVISOR, MAX_RTT_THRESH))
            if self.current_round_min_rtt >= self.last_round_min_rtt + thresh:
                self.css_baseline_min_rtt = self.current_round_min_rtt
                self.css = True
                self.css_rounds = 0
        return grown

    def start_round(self, number: int) -> None:
        """A round trip is over."""
        self.round = number
        self.last_round_min_rtt = self.current_round_min_rtt
        self.current_round_min_rtt = INFINITE
        self.rtt_sample_count = 0
        if self.css:
            self.css_rounds += 1
            if self.css_rounds >= CSS_ROUNDS:
                self.done = True
