"""What a congestion control is told, and what it decides: CWND and SSTHRESH (RFC 5681).

To write one in Python, subclass ``CongestionControl``, override what differs, and give the class to a connection:

    connection.set_congestion_control(Mine)

Which segments are lost, what is retransmitted and how CWND comes down during recovery is not its business (``recovery.py``). One that
builds a model of the path asks for more: ``paces`` for pacing, ``samples`` for a measure of the rate with each ACK; then CWND is its own
business in recovery too. One that goes by the share of packets that were marked sets ``needs_ecn`` (RFC 8257).
"""

NO_THRESHOLD = 0x7FFFFFFF
"""SSTHRESH before the first loss: as high as it can be (RFC 5681 section 3.1)."""
MOST = 0xFFFFFFFF
"""Bytes of the largest CWND and SSTHRESH: there are no more sequence numbers."""


class Acknowledgment:
    """What one ACK told the sender. The same object is filled again for the next.

    :ivar acked: bytes that it says have arrived, in order or not
    :ivar rtt: the round-trip time that it measured, ns; 0 when none could be
    :ivar min_rtt: the smallest so far, ns; 0 before the first
    :ivar in_flight: bytes that are on their way after it
    :ivar round: counts round trips: it rises when data sent after the last rise was acknowledged
    :ivar now: when it came, ns
    :ivar paced: what it is for was spread over time, not sent in a burst
    """

    __slots__ = ("acked", "in_flight", "min_rtt", "now", "paced", "round", "rtt")

    def __init__(self) -> None:
        self.acked = 0
        self.rtt = 0
        self.min_rtt = 0
        self.in_flight = 0
        self.round = 0
        self.now = 0
        self.paced = False


class RateSample:
    """What one ACK says about the path (RS of draft-ietf-ccwg-bbr-04 section 4.1). The same object is filled again for the next.

    Of the data that was sent last of what has arrived with this ACK:

    :ivar prior_delivered: bytes that had arrived when it was sent; -1: nothing arrived that a measure could be taken of
    :ivar delivered: bytes that have arrived since then; ``lost``: that were lost since then
    :ivar delivery_rate: those by the time that they took, bytes/s; 0 when there is no telling
    :ivar in_flight: bytes that were on their way behind it (tx_in_flight)
    :ivar app_limited: the program, not the path, set the pace when it was sent

    Of this ACK:

    :ivar newly_lost: bytes found lost
    :ivar loss_in_flight, loss_lost, loss_app_limited: what ``in_flight``, ``lost`` and ``app_limited`` are for the first of those
    :ivar total: bytes that have arrived since the connection began
    :ivar recovering: a loss is being recovered
    :ivar cwnd_limited: CWND, and nothing else, held the sender back when it last sent
    :ivar hold: set by a congestion control that holds back on purpose: what is on its way is no measure (MarkConnectionAppLimited())
    """

    __slots__ = (
        "app_limited", "cwnd_limited", "delivered", "delivery_rate", "hold", "in_flight", "loss_app_limited", "loss_in_flight",
        "loss_lost", "lost", "newly_lost", "prior_delivered", "recovering", "total",
    )  # fmt: skip

    def __init__(self) -> None:
        self.prior_delivered = -1
        self.delivered = 0
        self.delivery_rate = 0
        self.in_flight = 0
        self.lost = 0
        self.newly_lost = 0
        self.loss_in_flight = 0
        self.loss_lost = 0
        self.total = 0
        self.app_limited = False
        self.loss_app_limited = False
        self.recovering = False
        self.cwnd_limited = False
        self.hold = False


class CongestionControl:
    """CWND and SSTHRESH of one connection, bytes. This class alone does slow start and nothing else.

    :param mss: bytes of data in a full segment
    """

    name = "slow start"
    needs_ecn = False
    """True: its connections ask for ECN whatever tcp_ecn says, all their packets may be marked, the receiver says exactly which were
    (RFC 8257 section 3.2), and ``echoed`` and ``marked`` are called. Linux's TCP_CONG_NEEDS_ECN."""

    __slots__ = ("cwnd", "mss", "ssthresh")

    def __init__(self, mss: int) -> None:
        self.mss = mss
        self.cwnd = self.initial_window()
        self.ssthresh = NO_THRESHOLD

    def initial_window(self) -> int:
        """IW10 (RFC 6928)."""
        return min(10 * self.mss, max(2 * self.mss, 14600))

    def set_mss(self, mss: int) -> None:
        """A full segment has another size from now on: the path has become narrower, or wider again."""
        self.mss = mss
        # At least what a timeout and a loss leave (RFC 5681 section 3.1).
        self.cwnd = max(self.cwnd, mss)
        self.ssthresh = max(self.ssthresh, 2 * mss)

    def acknowledged(self, ack: Acknowledgment) -> None:
        """New data has arrived, outside recovery, while CWND was what held the sender back."""
        if self.cwnd < self.ssthresh:
            self.slow_start(ack.acked)

    def slow_start(self, acked: int) -> int:
        """Let CWND, which is below SSTHRESH, grow by what arrived, but not beyond SSTHRESH (tcp_slow_start()).

        :returns: bytes that are left for congestion avoidance
        """
        grown = min(acked, self.ssthresh - self.cwnd)
        self.cwnd += grown
        return acked - grown

    def reduce(self, in_flight: int, now: int) -> None:
        """Something was lost: set SSTHRESH. Recovery brings CWND there.

        :param in_flight: FlightSize, bytes
        """
        self.ssthresh = max(in_flight // 2, 2 * self.mss)

    def timed_out(self, in_flight: int, now: int) -> None:
        """The retransmission timer fired, for the first time for this data: one segment, then slow start (RFC 5681 equation 4)."""
        self.reduce(in_flight, now)
        self.cwnd = self.mss

    def timed_out_again(self) -> None:
        """The timer fired while this data was being recovered: one segment again, and SSTHRESH stays."""
        self.cwnd = self.mss

    def recovered(self, now: int) -> None:
        """Everything that was on its way at the loss has arrived."""
        self.cwnd = max(self.ssthresh, 2 * self.mss)

    def remember(self) -> None:
        """A loss is about to be told that may turn out to be none: keep what ``undo`` is to bring back besides CWND and SSTHRESH."""

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """It was no loss after all: back to what was before."""
        self.cwnd = max(self.cwnd, cwnd)
        self.ssthresh = max(self.ssthresh, ssthresh)

    def restarted(self, now: int) -> None:
        """Nothing was sent for longer than the retransmission timeout (RFC 5681 section 4.1).

        SSTHRESH keeps three quarters of what CWND was (RFC 7661 section 4.4, tcp_current_ssthresh()).
        """
        self.ssthresh = max(self.ssthresh, self.cwnd * 3 // 4)
        self.cwnd = min(self.cwnd, self.initial_window())

    def unused(self, used: int, now: int) -> None:
        """For a whole retransmission timeout the sender needed less than CWND: half of the rest is given back.

        Nobody knows whether the path still carries what is not sent (RFC 7661, tcp_cwnd_application_limited()).

        :param used: the most that was on its way, bytes
        """
        used = max(used, self.initial_window())
        if used < self.cwnd:
            self.ssthresh = max(self.ssthresh, self.cwnd * 3 // 4)
            self.cwnd = (self.cwnd + used) // 2

    def marked(self, in_flight: int, now: int) -> None:
        """The peer saw a mark (RFC 3168), once a round trip, where fastnet_abe is 1: as a loss, unless it may be less (RFC 8511)."""
        self.reduce(in_flight, now)

    def echoed(self, ack: Acknowledgment, marked: bool) -> None:
        """An ACK, in recovery or not, and before ``marked``; only for one that ``needs_ecn``, where the peer has agreed to ECN.

        :param marked: it has ECE: what it is for had met congestion
        """

    def paces(self) -> bool:
        """Is what it lets out to be spread over time?"""
        return False

    def pacing_rate(self) -> int:
        """How fast, bytes/s; 0: a CWND for each round trip and a little more, as tcp_pacing_ss_ratio and tcp_pacing_ca_ratio say."""
        return 0

    def samples(self) -> bool:
        """Does it want ``sampled`` called with each ACK? Then it is not told ``acknowledged``, and nobody else changes CWND."""
        return False

    def sampled(self, ack: Acknowledgment, sample: RateSample) -> None:
        """An ACK, in recovery or not."""

    def resumed(self, now: int) -> None:
        """Sending begins again, after a time in which the program had nothing to send; only for one that ``samples``."""


def check(congestion: CongestionControl) -> None:
    """May the sender reckon with what a congestion control says? Asked before it does, as whoever wrote that may have set anything.

    :raises ValueError: CWND, SSTHRESH or the MSS is not a number of bytes that there can be
    """
    if not (0 < congestion.cwnd <= MOST and 0 < congestion.ssthresh <= MOST and 0 < congestion.mss <= 0xFFFF):
        raise ValueError(
            f"{type(congestion).__name__} has a CWND of {congestion.cwnd!r}, an SSTHRESH of {congestion.ssthresh!r} and an MSS of "
            f"{congestion.mss!r}: they are 1 to {MOST} bytes, the MSS to 65535"
        )
