"""A request: one entry of the syn queue, between SYN and the final ACK. Linux calls it a request_sock.

It is small on purpose (a flood is made of them), and it outlives the handshake as the connection's record of what was agreed.
"""

from typing import Any

from fastnet._headers import (
    ACK,
    ECE,
    OPTION_MSS,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WSCALE,
    SYN,
    Segment,
)  # fmt: skip
from fastnet._path import Path
from fastnet.tcp.context import Context, Timed
from fastnet.tcp.numbers import HALF, MASK, MILLISECOND, MIN_SEND_MSS, REOPENED_GAP, SECOND
from fastnet.tcp.sources import Source


class Request(Timed):
    """What the peer's SYN said and what our SYN-ACK answered.

    :ivar flow: its own copy of the 4-tuple
    :ivar irs: initial receive sequence number; ``iss``: initial send sequence number
    :ivar mss: largest segment that the peer takes, bytes of data and options
    :ivar wscale: True when window scaling was agreed; ``snd_shift``: the peer's shift; ``rcv_shift``: ours; 0 each without
    :ivar sack: True when SACK was agreed; ``timestamps``: True when timestamps were
    :ivar ecn: 0: no ECN was agreed (or asked for); 1: RFC 3168's; ECT_0: as DCTCP needs it, where that is the codepoint of every packet
    :ivar ts_recent: the peer's latest timestamp; ``ts_offset``: added to our millisecond clock (RFC 7323 section 7.1)
    :ivar user_mss: the largest segment that our program wants, in either direction (TCP_MAXSEG), bytes; 0: what the device takes
    :ivar rcv_wnd: the window that the SYN-ACK offers, bytes, 65535 at most
    :ivar retries: SYN-ACKs sent again because none was answered
    :ivar timeouts: times that its timer fired; a request without is young
    :ivar answered_at: when a SYN that came again, or what lay outside the window, was last answered, ns
    :ivar acked: True after a final ACK that found the accept queue full, or brought no data where tcp_defer_accept waits for some
    :ivar source: who is charged for it where a listener has limits for each source, else None
    :ivar choice: what a policy chose for the SYN-ACK, None for the usual
    :ivar born: when the SYN came (or was sent first), ns; ``rtt``: from there to the answer, 0 when that is not known
    """

    __slots__ = (
        "acked", "answered_at", "born", "choice", "ecn", "flow", "irs", "iss", "listener", "mss", "rcv_shift", "rcv_wnd", "retries", "rtt",
        "sack", "snd_shift", "source", "timeouts", "timestamps", "ts_offset", "ts_recent",
        "user_mss", "wscale",
    )  # fmt: skip

    rtt: int
    source: Source | None
    choice: Any

    def open(
        self, context: Context, listener: Any, seg: Segment, options: int, rcv_wnd: int, rcv_shift: int, now: int
    ) -> None:
        """Fill a new request (made by ``__new__``, which compiled code calls without an argument tuple) from a SYN.

        :param options: those of the SYN's options (bits) that the listener's settings allow
        """
        self.timer = -1
        self.listener = listener
        self.flow = seg.flow.copy()
        self.irs = seg.seq
        self.mss = context.writer.path_of(self.flow).default_mss
        if options & OPTION_MSS:
            mss = seg.mss
            self.mss = mss if mss >= MIN_SEND_MSS else MIN_SEND_MSS
        self.sack = options & OPTION_SACK_PERMITTED != 0
        if options & OPTION_WSCALE:
            self.wscale = True
            self.snd_shift = seg.wscale
            self.rcv_shift = rcv_shift
        else:
            self.wscale = False
            self.snd_shift = 0
            self.rcv_shift = 0
        self.timestamps = options & OPTION_TIMESTAMPS != 0
        self.ts_recent = seg.ts_val
        self.ecn = context.ecn_of(seg, listener.needs_ecn) if seg.flags & ECE else 0
        drawn = context.isn.draw(self.flow, now)
        self.iss = drawn & MASK
        if context.last_seq >= 0 and (self.iss - context.last_seq - 1 & MASK) >= HALF:
            # The clock has not passed a fast connection's numbers yet (tcp_timewait_state_process()).
            self.iss = context.last_seq + REOPENED_GAP & MASK
        self.ts_offset = drawn >> 32
        self.rcv_wnd = rcv_wnd
        self.retries = 0
        self.timeouts = 0
        self.user_mss = 0
        self.source = None
        self.choice = None
        self.acked = False
        self.answered_at = 0
        self.born = now

    def send_synack(self, context: Context, path: Path, mss: int, now: int) -> None:
        """<SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK> with the options agreed; the window of a SYN is never scaled (RFC 7323).

        :param path: what the packet looks like; ``mss``: what its MSS option says, bytes
        """
        if self.choice is not None:
            self.choice.send_synack(self, context, path, mss, now)
            return
        flags = SYN | ACK | ECE if self.ecn else SYN | ACK
        context.writer.synack(
            self.flow, self.iss, self.irs + 1 & MASK, flags, self.rcv_wnd, mss, self.rcv_shift if self.wscale else -1,
            self.sack, self.timestamps, now // MILLISECOND + self.ts_offset & MASK, self.ts_recent, path,
        )  # fmt: skip

    def round_trip(self, seg: Segment, now: int) -> int:
        """The round-trip time from the handshake, which a segment completes, ns; 0 where it is not known.

        What was sent once is measured by the clock (Karn's rule), and otherwise by the echo of its timestamp. A SYN goes again after a
        second: an echo as old as that may be of one that was answered before, and the answer lost.
        """
        if self.acked:
            # It is not the first answer.
            return 0
        if self.retries == 0 and self.answered_at == 0:
            return now - self.born
        if self.timestamps and seg.options & OPTION_TIMESTAMPS and seg.ts_ecr:
            elapsed = now // MILLISECOND + self.ts_offset - seg.ts_ecr & MASK
            if elapsed < SECOND // MILLISECOND:
                return max(elapsed, 1) * MILLISECOND
        return 0

    def timer_fires(self, now: int) -> None:
        """No final ACK came: the listener decides."""
        self.timer = -1
        self.listener.request_timeout(self, now)


def window_shift(largest: int) -> int:
    """The window scale that a receive buffer of this size needs (tcp_select_initial_window())."""
    shift = 0
    while largest >> shift > 0xFFFF and shift < 14:
        shift += 1
    return shift
