"""HyStart++ (RFC 9406), and the ACK trains of Linux's HyStart: leave slow start before the queue at the bottleneck overflows.

The delay alone shows a queue two round trips after it began to grow, when CWND has doubled twice: too late for a queue of one
bandwidth-delay product. A train of ACKs shows the bottleneck's rate. When it is half a round trip long, CWND is about what fits the path,
and grows by a quarter in each round trip from then on. When it is a whole round trip long, the path is full. On a short path some
milliseconds are allowed for, as they are by the delay.
"""

from fastnet.tcp.congestion.base import Acknowledgment
from fastnet.tcp.numbers import MILLISECOND

MIN_RTT_THRESH = 4 * MILLISECOND
MAX_RTT_THRESH = 16 * MILLISECOND
MIN_RTT_DIVISOR = 8
N_RTT_SAMPLE = 8
CSS_GROWTH_DIVISOR = 4
CSS_ROUNDS = 5
ACK_DELTA = 2 * MILLISECOND
"""ACKs of a train are so far apart at most (hystart_ack_delta_us), or an eighth of a round trip where one ACK stands for a whole burst."""
LOW_WINDOW = 16
"""Segments: a smaller CWND shows no train (hystart_low_window)."""
INFINITE = 1 << 62


class HyStart:
    """Slow start of one connection; names as in RFC 9406 section 4.2.

    There is no L, the section's bound on the growth for one ACK. With offload one ACK covers up to 64 KiB; eight segments for each
    would make slow start linear. Linux has no such bound either.

    :ivar done: slow start has ended for good: SSTHRESH is to be CWND
    :ivar css: conservative slow start; ``train``: because of a train of ACKs
    :ivar round_start: when the round began, ns; ``train_end``: the last ACK that came without a pause since then
    """

    __slots__ = (
        "css", "css_baseline_min_rtt", "css_rounds", "current_round_min_rtt", "done", "last_round_min_rtt", "round", "round_start",
        "rtt_sample_count", "train", "train_end",
    )  # fmt: skip

    def __init__(self) -> None:
        self.done = False
        self.css = False
        self.train = False
        self.css_rounds = 0
        self.css_baseline_min_rtt = INFINITE
        self.current_round_min_rtt = INFINITE
        self.last_round_min_rtt = INFINITE
        self.rtt_sample_count = 0
        self.round = 0
        self.round_start = 0
        self.train_end = 0

    def growth(self, ack: Acknowledgment, mss: int) -> int:
        """By how much this ACK lets CWND grow, bytes."""
        if ack.round != self.round:
            self.start_round(ack)
        if ack.rtt:
            self.current_round_min_rtt = min(self.current_round_min_rtt, ack.rtt)
            # An ACK of a burst stands for those of every second segment that the receiver did not send.
            self.rtt_sample_count += max(ack.acked // (2 * mss), 1)
        if self.is_train(ack, mss):
            return ack.acked // CSS_GROWTH_DIVISOR
        if self.css:
            if self.rtt_sample_count >= N_RTT_SAMPLE and self.current_round_min_rtt < self.css_baseline_min_rtt:
                # It was only jitter.
                self.css_baseline_min_rtt = INFINITE
                self.css = False
            return ack.acked // CSS_GROWTH_DIVISOR
        if self.is_slower():
            self.css_baseline_min_rtt = self.current_round_min_rtt
            self.css = True
            self.css_rounds = 0
        return ack.acked

    def is_slower(self) -> bool:
        """Are the round trips longer than those of the last round by more than a little?"""
        last = self.last_round_min_rtt
        if self.rtt_sample_count < N_RTT_SAMPLE or self.current_round_min_rtt == INFINITE or last == INFINITE:
            return False
        return self.current_round_min_rtt >= last + max(MIN_RTT_THRESH, min(last // MIN_RTT_DIVISOR, MAX_RTT_THRESH))

    def is_train(self, ack: Acknowledgment, mss: int) -> bool:
        """Did the ACKs of a round come without a pause for half a round trip (hystart_update())? After a whole one, slow start is done."""
        if ack.now - self.train_end <= max(ACK_DELTA, ack.min_rtt // MIN_RTT_DIVISOR):
            self.train_end = ack.now
            length = ack.now - self.round_start
            # A paced CWND takes half a round trip anyway (hystart_update()).
            least = ack.min_rtt if ack.paced else ack.min_rtt // 2
            if length > max(least, MIN_RTT_THRESH) and ack.in_flight + ack.acked >= LOW_WINDOW * mss and ack.min_rtt:
                if not self.train:
                    self.train = True
                    self.css = True
                    self.css_rounds = 0
                elif length > max(ack.min_rtt, 2 * MIN_RTT_THRESH):
                    self.done = True
        return self.train

    def start_round(self, ack: Acknowledgment) -> None:
        """A round trip is over."""
        self.round = ack.round
        self.round_start = ack.now
        self.train_end = ack.now
        self.last_round_min_rtt = self.current_round_min_rtt
        self.current_round_min_rtt = INFINITE
        self.rtt_sample_count = 0
        if self.css:
            self.css_rounds += 1
            if self.css_rounds >= CSS_ROUNDS:
                self.done = True
