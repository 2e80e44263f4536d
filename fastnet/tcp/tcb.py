"""The transmission control block: RFC 9293's variables of a connection, and how segments leave with them."""

from fastnet._buffer import ByteRing
from fastnet._headers import ACK, CWR, ECE, FIN, MAX_SACK_BLOCKS, RST, SYN, URG
from fastnet._path import Path
from fastnet.tcp.context import Context, Endpoint
from fastnet.tcp.ecn import Ecn
from fastnet.tcp.numbers import ECT_0, HALF, MASK, MILLISECOND
from fastnet.tcp.receiver import Receiver
from fastnet.tcp.request import Request

TIMESTAMPS_SIZE = 12
BLOCKS_SIZE = 4
BLOCK_SIZE = 8
"""Bytes of the SACK option behind two NOPs, and of each block in it (RFC 2018 section 3)."""


class Tcb(Endpoint):
    """The variables of RFC 9293 section 3.3.1, unsigned 32-bit numbers, and what goes into every segment.

    :ivar handshake: what SYN and SYN-ACK agreed
    :ivar rcv_adv: right edge of the window that the peer was told: RCV.NXT + RCV.WND
    :ivar max_snd_wnd: the largest window the peer ever offered (RFC 5961 MAX.SND.WND)
    :ivar ts_recent: the timestamp to echo (RFC 7323 TS.Recent)
    :ivar receiver: made when there is something to read
    :ivar ecn: made when the handshake has agreed on ECN
    :ivar fin_received: the peer will send no more
    :ivar nodelay: True switches Nagle's algorithm off (TCP_NODELAY)
    :ivar path: what its packets look like: the stack's usual one, or a copy where something differs
    :ivar ack_due: an ACK goes out with the next segment, or alone when the batch is over
    :ivar pushed: the last segment of text ended what the peer wrote: it has PSH, or is not full (ICSK_ACK_PUSHED)
    :ivar segs_in, segs_out: segments of the connection that came and went, modulo 2^32; what a device cuts or joins counts as segments
    :ivar armed: the deadline that the timer wheel knows, ns; nothing that falls due sooner is unknown to it
    """

    __slots__ = (
        "ack_due", "armed", "context", "ecn", "fin_received", "handshake", "max_snd_wnd", "nodelay", "path", "pushed",
        "rcv_adv", "rcv_nxt", "receiver", "segs_in", "segs_out", "snd_nxt", "snd_una", "snd_wl1", "snd_wl2", "snd_wnd",
        "ts_recent",
    )  # fmt: skip

    context: Context
    handshake: Request
    snd_una: int
    snd_nxt: int
    snd_wnd: int
    snd_wl1: int
    snd_wl2: int
    max_snd_wnd: int
    rcv_nxt: int
    rcv_adv: int
    ts_recent: int
    receiver: Receiver | None
    ecn: Ecn | None
    fin_received: bool
    nodelay: bool
    ack_due: bool
    path: Path
    pushed: bool
    armed: int
    segs_in: int
    segs_out: int

    def acknowledge_soon(self) -> None:
        """Send an ACK when the batch is over, with data if there is some."""
        self.ack_due = True
        self.send_soon()

    def send_soon(self) -> None:
        """Have ``send_pending`` called when the batch is over."""
        if not self.queued:
            self.queued = True
            self.context.outbox.append(self)

    def wake_at(self, deadline: int) -> None:
        """Have ``timer_fires`` called at a deadline (ns), or before; what falls due later costs nothing."""
        if self.timer < 0 or deadline < self.armed:
            self.armed = deadline
            self.context.arm(self, deadline)

    def unreachable(self, number: int, hard: bool, now: int) -> None:
        """ICMP says that a segment on its way did not arrive: an errno, and whether that is final."""

    def path_narrowed(self, mtu: int, now: int) -> None:
        """ICMP says that a segment on its way was larger than a link takes (RFC 1191)."""

    def set_fragment(self, narrow: bool) -> None:
        """Do packets leave with DF (ip_dont_fragment())? ``narrow``: the path takes less than the smallest that they are made."""

    def follows_path(self) -> bool:
        """Are segments as large as the path takes (IP_MTU_DISCOVER)?"""
        return True

    def gave_up(self, retries: int, since: int, now: int) -> bool:
        """Has the peer been silent for so long that the connection is over (R2 of RFC 9293 section 3.8.3)?

        :param retries: retransmissions without an answer; ``since``: when the first was sent, ns, 0 before it
        """
        return retries >= self.context.settings.tcp_retries2

    def no_later(self, deadline: int, since: int) -> int:
        """When to look whether to give up: at a deadline, or before; the first retransmission was at ``since``."""
        return deadline

    def put(self, seq: int, flags: int, now: int) -> None:
        """A segment without data."""
        handshake = self.handshake
        writer = self.context.writer
        window = self.window_to_offer()
        blocks = None
        self.segs_out = self.segs_out + 1 & MASK
        if self.receiver is not None:
            if self.receiver.has_blocks(handshake.sack):
                blocks = self.receiver.blocks_to_report(self.blocks_in(self.send_mss()))
            self.receiver.acknowledged(self.rcv_nxt)
        self.ack_due = False
        path = self.path
        if self.ecn is not None:
            # An ACK is not to be marked (RFC 3168 section 6.1.4), but under DCTCP (tcp_ecn_send()).
            path = path.with_ecn() if handshake.ecn & ECT_0 else path.without_ecn()
            if self.ecn.echo and not flags & RST:
                flags |= ECE
        if handshake.timestamps:
            ts_val = now // MILLISECOND + handshake.ts_offset & MASK
            writer.control(handshake.flow, seq, self.rcv_nxt, flags, window, True, ts_val, self.ts_recent, blocks, 0, path)
        else:
            writer.control(handshake.flow, seq, self.rcv_nxt, flags, window, False, 0, 0, blocks, 0, path)

    def put_data(self, seq: int, flags: int, buffer: ByteRing, offset: int, size: int, urgent: int, now: int) -> int:
        """A segment with at most ``size`` bytes of a queue; how many went: no more than peer and path take beside its options (RFC 6691).

        :param flags: a FIN among them goes only with the last byte
        :param urgent: the sequence number behind the last urgent byte, -1 without (RFC 9293 section 3.8.5)
        """
        handshake = self.handshake
        writer = self.context.writer
        window = self.window_to_offer()
        blocks = None
        pointer = 0
        room = self.send_mss()
        ack_due = False
        if self.receiver is not None:
            if self.receiver.has_blocks(handshake.sack):
                most = self.blocks_in(room // 2)
                if most > 0:
                    blocks = self.receiver.blocks_to_report(most)
                    room -= BLOCKS_SIZE + BLOCK_SIZE * len(blocks)
                else:
                    # No room for them beside data: the ACK that they are in goes by itself.
                    ack_due = self.ack_due
            self.receiver.acknowledged(self.rcv_nxt)
        self.ack_due = ack_due
        if size > room:
            if size > self.path.burst(room):
                size = self.path.burst(room)
                flags &= ~FIN
            self.segs_out = self.segs_out + (size + room - 1) // room & MASK
        else:
            self.segs_out = self.segs_out + 1 & MASK
        if urgent >= 0:
            pointer = urgent - seq & MASK
            if 0 < pointer < HALF:
                flags |= URG
                pointer = min(pointer, 0xFFFF)
            else:
                pointer = 0
        path = self.path
        if self.ecn is not None:
            path = path.with_ecn() if handshake.ecn & ECT_0 else path.without_ecn()
            if self.ecn.echo:
                flags |= ECE
            # Neither what is sent again nor what probes a shut window (RFC 3168 sections 6.1.5 and 6.1.6).
            if seq == self.snd_nxt and (seq + size - self.snd_una & MASK) <= self.snd_wnd:
                path = path.with_ecn()
                if self.ecn.cwr_due:
                    self.ecn.cwr_due = False
                    flags |= CWR
        writer.data(
            handshake.flow, seq, self.rcv_nxt, flags, window, handshake.timestamps,
            now // MILLISECOND + handshake.ts_offset & MASK, self.ts_recent, buffer, offset, size, blocks, pointer, room,
            path,
        )  # fmt: skip
        return size

    def room_for_blocks(self, mss: int) -> int:
        """Bytes that the SACK blocks to be reported now take in a segment: what is full is so much smaller (tcp_current_mss())."""
        receiver = self.receiver
        if receiver is None:
            return 0
        count = 0 if receiver.duplicate is None else 1
        if receiver.pieces is not None:
            count += len(receiver.pieces)
        count = min(self.blocks_in(mss // 2), count)
        return BLOCKS_SIZE + BLOCK_SIZE * count if count > 0 else 0

    def blocks_in(self, room: int) -> int:
        """SACK blocks that fit so many bytes beside the timestamps; 0 or less when none does."""
        return min((room - BLOCKS_SIZE) // BLOCK_SIZE, MAX_SACK_BLOCKS - self.handshake.timestamps)

    def put_syn(self, flags: int, now: int) -> None:
        """Our SYN, or SYN-ACK, with its options.

        :param flags: beside SYN
        """
        self.segs_out = self.segs_out + 1 & MASK
        handshake = self.handshake
        path = self.path
        if flags & ECE and handshake.ecn & ECT_0:
            # Under DCTCP (RFC 8257 section 3.6).
            path = path.with_ecn()
        self.context.writer.synack(
            handshake.flow, handshake.iss, self.rcv_nxt if flags & ACK else 0, SYN | flags, handshake.rcv_wnd,
            self.mss_to_offer(), handshake.rcv_shift if handshake.wscale else -1, handshake.sack, handshake.timestamps,
            now // MILLISECOND + handshake.ts_offset & MASK, self.ts_recent if flags & ACK else 0, path,
        )  # fmt: skip

    def mss_to_offer(self) -> int:
        """What a SYN's MSS option says: what the device takes (RFC 9293 section 3.7.1), or less where the program wants that."""
        mss = self.context.writer.path_of(self.handshake.flow).mss
        return min(self.handshake.user_mss, mss) if self.handshake.user_mss else mss

    def window_to_offer(self) -> int:
        """The window field: what the reader has room for, never less than was offered before (SHLD-14).

        RCV.ADV is the right edge that the field says, scale included: the peer knows no other.
        """
        unit = (1 << self.handshake.rcv_shift) - 1
        if self.receiver is not None:
            # Only by steps worth a segment: silly window avoidance (RFC 9293 section 3.8.6.2.2, RFC 1122 4.2.3.3).
            gain = self.receiver.growth(self.rcv_nxt, self.rcv_adv)
            # No more than the field can say: the peer would not know of it.
            gain = min(gain, max((0xFFFF << self.handshake.rcv_shift) - (self.rcv_adv - self.rcv_nxt & MASK), 0))
            # What the segment before this one offered.
            shut = self.rcv_adv == self.receiver.acked
            # What is offered in addition is rounded down.
            rest = self.rcv_adv + gain - self.rcv_nxt & unit
            if gain >= min(self.receive_mss(), self.receiver.limit // 2) and gain > rest:
                self.rcv_adv = self.rcv_adv + gain - rest & MASK
                if shut:
                    self.context.counters.TCPFromZeroWindowAdv += 1
            elif self.rcv_adv == self.rcv_nxt and not shut:
                self.context.counters.TCPToZeroWindowAdv += 1
        window = self.rcv_adv - self.rcv_nxt & MASK
        if window & unit:
            window = self.rounded(window, unit)
        return min(window >> self.handshake.rcv_shift, 0xFFFF)

    def rounded(self, window: int, unit: int) -> int:
        """A window of whole units of the scale. Rounded up, as rounded down the right edge would move left (tcp_select_window()).

        Each segment that ends within a unit moves the edge by less than one. Segments smaller than a unit could move it without end;
        an eighth more than the limit is the most. Beyond that the window is rounded down, and shut where nothing is left: bytes that
        are still taken while the window is said to be shut would reset the back-off of the peer's probes.

        :param unit: bytes of a unit, less one
        """
        up = window + unit & ~unit
        receiver = self.receiver
        if receiver is None or up + receiver.buffer.length <= receiver.limit + receiver.limit // 8:
            self.rcv_adv = self.rcv_nxt + up & MASK
            return up
        down = window & ~unit
        if down == 0:
            self.rcv_adv = self.rcv_nxt
        return down

    def receive_mss(self) -> int:
        """Data bytes of a full segment of the peer's, options off."""
        mss = self.context.writer.path_of(self.handshake.flow).mss
        return mss - TIMESTAMPS_SIZE if self.handshake.timestamps else mss

    def send_mss(self) -> int:
        """Data bytes of a full segment: the peer's MSS or the path's, options off (RFC 9293 MUST-16, RFC 6691)."""
        mss = min(self.handshake.mss, self.path.mss)
        return mss - TIMESTAMPS_SIZE if self.handshake.timestamps else mss
