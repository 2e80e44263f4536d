"""The transmission control block: RFC 9293's variables of a connection, and how segments leave with them."""

from fastnet._buffer import ByteRing
from fastnet.tcp.context import Context, Endpoint
from fastnet.tcp.numbers import MASK, MILLISECOND
from fastnet.tcp.receiver import Receiver
from fastnet.tcp.request import Request


class Tcb(Endpoint):
    """The variables of RFC 9293 section 3.3.1, unsigned 32-bit numbers, and what goes into every segment.

    :ivar handshake: what SYN and SYN-ACK agreed
    :ivar rcv_adv: right edge of the window that the peer was told: RCV.NXT + RCV.WND
    :ivar max_snd_wnd: the largest window the peer ever offered (RFC 5961 MAX.SND.WND)
    :ivar ts_recent: the timestamp to echo (RFC 7323 TS.Recent)
    :ivar receiver: made when there is something to read
    :ivar fin_received: the peer will send no more
    :ivar nodelay: True switches Nagle's algorithm off (TCP_NODELAY)
    :ivar ack_due: an ACK goes out with the next segment, or alone when the batch is over
    :ivar queued: True while it waits in ``Context.outbox``
    """

    __slots__ = (
        "ack_due", "context", "fin_received", "handshake", "max_snd_wnd", "nodelay", "queued", "rcv_adv", "rcv_nxt",
        "receiver", "snd_nxt", "snd_una", "snd_wl1", "snd_wl2", "snd_wnd", "ts_recent",
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
    fin_received: bool
    nodelay: bool
    ack_due: bool
    queued: bool

    def acknowledge_soon(self) -> None:
        """Send an ACK when the batch is over, with data if there is some."""
        self.ack_due = True
        self.send_soon()

    def send_soon(self) -> None:
        """Have ``send_pending`` called when the batch is over."""
        if not self.queued:
            self.queued = True
            self.context.outbox.append(self)

    def put(self, seq: int, flags: int, now: int) -> None:
        """A segment without data."""
        handshake = self.handshake
        window = self.window_to_offer()
        self.ack_due = False
        if handshake.timestamps:
            ts_val = now // MILLISECOND + handshake.ts_offset & MASK
            self.context.writer.control(handshake.flow, seq, self.rcv_nxt, flags, window, True, ts_val, self.ts_recent)
        else:
            self.context.writer.control(handshake.flow, seq, self.rcv_nxt, flags, window)

    def put_data(self, seq: int, flags: int, buffer: ByteRing, offset: int, size: int, now: int) -> None:
        """A segment with ``size`` bytes of a queue."""
        handshake = self.handshake
        window = self.window_to_offer()
        self.ack_due = False
        self.context.writer.data(
            handshake.flow, seq, self.rcv_nxt, flags, window, handshake.timestamps,
            now // MILLISECOND + handshake.ts_offset & MASK, self.ts_recent, buffer, offset, size,
        )  # fmt: skip

    def window_to_offer(self) -> int:
        """The window field: what the reader has room for, never less than was offered before (SHLD-14)."""
        if self.receiver is not None:
            # Only by steps worth a segment: silly window avoidance (RFC 9293 section 3.8.6.2.2, RFC 1122 4.2.3.3).
            gain = self.receiver.growth(self.rcv_nxt, self.rcv_adv)
            if gain >= min(self.context.mss, self.receiver.limit // 2):
                self.rcv_adv = self.rcv_adv + gain & MASK
        window = self.rcv_adv - self.rcv_nxt & MASK
        return min(window >> self.handshake.rcv_shift, 0xFFFF)

    def send_mss(self) -> int:
        """Data bytes of a full segment: the peer's MSS or the device's, options off (RFC 9293 MUST-16, RFC 6691)."""
        mss = min(self.handshake.mss, self.context.mss)
        return mss - 12 if self.handshake.timestamps else mss
