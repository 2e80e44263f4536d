"""Path MTU discovery of one connection: what routers say (RFC 1191), and what vanishes where they say nothing (RFC 4821, RFC 8899).

Made for a connection when its path turns out to be narrower than the handshake agreed, so most connections have none.
"""

from fastnet.ip.mtus import KnownMtu
from fastnet.tcp.numbers import HALF, MASK, SECOND
from fastnet.tcp.scoreboard import Scoreboard
from fastnet.tcp.tcb import Tcb

TCP_HEADER = 20
"""Bytes without options."""
MIN_CWND = 11
"""Segments of the smallest CWND under which one is risked as a probe (tcp_mtu_probe())."""


TRUSTED = 10
"""Segments that have arrived since the segments' size last changed: as many as an initial window, and the size gets through."""
MORE = 2
"""Segments that must have arrived between two silences for that to be still so: where large ones vanish, one arrives, in pieces."""
DOUBTS = 6
"""A size that got through is believed to vanish when smaller packets have ended so many silences in a row."""


class Discovery:
    """What one connection knows of its path, and tries.

    :ivar known: what all connections to the destination know, None without; ``until``: when that is no longer believed, ns
    :ivar probing: packets larger than ``low`` are tried one at a time
    :ivar low: bytes of a packet that gets there; ``high``: of the largest that is worth a try
    :ivar probe: bytes of the packet that is on its way as a probe; 0 without
    :ivar probe_seq, probe_end: its first sequence number, and the one behind its last
    :ivar searched_at: when the search began, ns (tcp_probe_interval)
    :ivar silences: those that a smaller packet has ended, or is to end, since one of the usual size got through
    :ivar piece: bytes of data and options in the smaller packet that was sent last for that; 0 before the first
    :ivar delivered: bytes that had arrived since the connection began when the last of them was noticed
    :ivar suspected: packets were made smaller because nothing came back, and nothing has since
    """

    __slots__ = (
        "delivered", "high", "known", "low", "piece", "probe", "probe_end", "probe_seq", "probing", "searched_at", "silences",
        "suspected", "until",
    )  # fmt: skip

    def __init__(self) -> None:
        self.known: KnownMtu | None = None
        self.until = 0
        self.probing = False
        self.suspected = False
        self.silences = 0
        self.piece = 0
        self.delivered = 0
        self.low = 0
        self.high = 0
        self.probe = 0
        self.probe_seq = 0
        self.probe_end = 0
        self.searched_at = 0

    def begin(self, tcb: Tcb, low: int, now: int) -> None:
        """Search from a packet of ``low`` bytes up to what both ends take."""
        self.probing = True
        self.probe = 0
        self.high = largest_mss(tcb) + headers(tcb)
        self.low = min(max(low, tcb.context.settings.tcp_min_snd_mss + headers(tcb)), self.high)
        self.searched_at = now

    def follow(self, tcb: Tcb, fresh: bool, now: int) -> bool:
        """Let segments be as large as the path takes now. True when that is another size than before.

        :param fresh: nothing was sent yet
        """
        context = tcb.context
        settings = context.settings
        known = context.paths.find(tcb.handshake.flow, now)
        if known is not None and known.found:
            if fresh and not self.probing:
                self.begin(tcb, known.mtu, now)
            known = None
        elif fresh and not self.probing and settings.tcp_mtu_probing == 2:
            self.begin(tcb, settings.tcp_base_mss + headers(tcb), now)
        self.known = known if tcb.follows_path() else None
        tcb.set_fragment(self.known is not None and self.known.fragment)
        before = tcb.send_mss()
        most = largest_mss(tcb)
        mss = most
        if self.known is not None:
            self.until = self.known.until
            mss = min(mss, self.known.mtu - headers(tcb))
        if self.probing:
            mss = min(mss, self.low - headers(tcb))
        # However narrow the path, but no more than the peer takes.
        mss = min(max(mss, settings.tcp_min_snd_mss), most)
        usual = context.writer.path_of(tcb.handshake.flow)
        tcb.path = tcb.path.copy(mtu=usual.mtu if mss == most else mss + headers(tcb))
        return tcb.send_mss() != before

    def is_over(self, now: int) -> bool:
        """Is what routers said too old to be believed?"""
        return self.known is not None and now >= self.until

    def is_idle(self) -> bool:
        """Is there nothing any more that this would be needed for?"""
        return self.known is None and not self.probing and self.silences == 0

    # ---- silence: packets that vanish without a word (RFC 8899 section 4.3) ----

    def is_doubtful(self, tcb: Tcb, delivered: int) -> bool:
        """Is a silence more likely to be loss than a path that takes only smaller packets, as those of this size got through until now?

        On a link that loses a third, every tenth segment is lost that often. If segments became smaller each time, they would end as the
        smallest.

        :param delivered: bytes that have arrived since the connection began
        """
        since = delivered - self.delivered
        if since >= (MORE if self.silences else TRUSTED) * tcb.send_mss():
            self.silences = 1
            self.piece = 0
        elif since and self.silences:
            self.silences += 1
        self.delivered = delivered
        if self.silences >= DOUBTS:
            self.silences = 0
        return self.silences > 0

    def next_piece(self, tcb: Tcb, silence: int) -> int:
        """Bytes of the next smaller packet: as the last one that got through, and half of that with each timeout more.

        :param silence: timeouts since tcp_retries1 of them
        """
        settings = tcb.context.settings
        if self.piece == 0:
            self.piece = settings.tcp_base_mss
        elif silence:
            self.piece = max(self.piece // 2, settings.tcp_mtu_probe_floor)
        return self.piece

    def suspect(self, tcb: Tcb, size: int, now: int) -> bool:
        """Nothing has come back for several timeouts: try smaller packets (tcp_mtu_probing()). False when that would be no smaller.

        :param size: bytes of data in the packet that was sent again and again
        """
        settings = tcb.context.settings
        smaller = min(settings.tcp_base_mss, self.piece) if self.piece else settings.tcp_base_mss
        self.piece = 0
        if self.probing:
            smaller = max(min(smaller, (self.low - headers(tcb)) // 2), settings.tcp_mtu_probe_floor)
        smaller = max(smaller, settings.tcp_min_snd_mss)
        if size + options(tcb) <= smaller:
            return False
        if self.probing:
            self.low = smaller + headers(tcb)
        else:
            self.begin(tcb, smaller + headers(tcb), now)
        self.probe = 0
        self.suspected = True
        return True

    # ---- probes (RFC 8899 section 5.3) ----

    def wants(self, tcb: Tcb, cwnd: int, now: int) -> int:
        """Bytes of data in the segment to try now; 0 when the search is over, or this is not the time.

        :param cwnd: CWND, bytes
        """
        settings = tcb.context.settings
        if not self.probing or self.probe or not tcb.handshake.sack:
            return 0
        mss = tcb.send_mss()
        gap = self.high - self.low
        if gap < max(settings.tcp_probe_threshold, 1):
            if now - self.searched_at < settings.tcp_probe_interval * SECOND:
                return 0
            # The path may have changed (tcp_mtu_check_reprobe()).
            self.begin(tcb, self.low, now)
            gap = self.high - self.low
        limit = self.high if self.known is None else min(self.high, self.known.mtu)
        # In the middle of what is open; near its end the largest of all, as long as no probe was lost.
        whole = self.high - headers(tcb) == largest_mss(tcb) and gap < 4 * settings.tcp_probe_threshold
        size = limit if whole else min(self.low + (gap + 1) // 2, limit)
        # Data beside the options.
        data = size - headers(tcb) - options(tcb)
        return data if data > mss and cwnd >= MIN_CWND * mss else 0

    def sent(self, tcb: Tcb, size: int) -> None:
        """A probe of so many bytes of data goes out now, as new data."""
        self.probe = size + headers(tcb) + options(tcb)
        self.probe_seq = tcb.snd_nxt
        self.probe_end = tcb.snd_nxt + size & MASK

    def arrived(self, tcb: Tcb, now: int) -> bool:
        """Something was acknowledged. True when it shows that larger packets get there."""
        context = tcb.context
        flow = tcb.handshake.flow
        if self.suspected:
            self.suspected = False
            context.paths.went_through(flow, self.low, now)
            context.path_changes = context.path_changes + 1 & HALF - 1
        if not self.probe or (tcb.snd_una - self.probe_end & MASK) >= HALF:
            return False
        context.counters.TCPMTUPSuccess += 1
        self.low = self.probe
        self.probe = 0
        context.paths.went_through(flow, self.low, now)
        return True

    def failed(self, board: Scoreboard) -> bool:
        """Something was lost. True when it is the probe and nothing else, which says nothing about congestion (RFC 8899 section 5.1.3)."""
        probe = self.probe
        self.probe = 0
        flight = board.next_lost()
        if probe == 0 or flight is None or flight.seq != self.probe_seq or board.lost != (self.probe_end - self.probe_seq & MASK):
            return False
        self.high = probe - 1
        return True

    def timed_out(self, tcb: Tcb) -> None:
        """The retransmission timer fired. If the probe is what did not arrive, it was too large."""
        if self.probe and tcb.snd_una == self.probe_seq:
            self.high = self.probe - 1
            tcb.context.counters.TCPMTUPFail += 1
        self.probe = 0


def headers(tcb: Tcb) -> int:
    """Bytes of a packet beside data and TCP's options."""
    return tcb.path.header + TCP_HEADER


def options(tcb: Tcb) -> int:
    """Bytes of the options that every segment has."""
    return min(tcb.handshake.mss, tcb.path.mss) - tcb.send_mss()


def largest_mss(tcb: Tcb) -> int:
    """What both ends take: options and data of the largest segment that a path may let through."""
    return min(tcb.handshake.mss, tcb.context.writer.path_of(tcb.handshake.flow).mss)
