"""A connection that goes wrong on purpose: what faults (``faults.py``) set, it does. It is a class of its own, so others pay nothing."""

from random import Random

from fastnet._buffer import ByteRing
from fastnet._headers import ACK, Segment
from fastnet.tcp.connection import Connection
from fastnet.tcp.context import Context
from fastnet.tcp.numbers import MASK
from fastnet.tcp.request import Request
from fastnet.tcp.states import State

IP_CHECKSUM = 10
"""Where the checksum is in an IPv4 header (RFC 791 section 3.1), bytes."""
IP_HEADER = 20


class FaultyConnection(Connection):
    """A connection that goes wrong as its faults say; they set the attributes when it is established.

    :ivar random: the dice of this connection alone
    :ivar end_after: bytes that are sent before the end, -1: no such end; ``end_resets``: which is a RST, not a FIN
    :ivar over: the end was reached: what the program sends from now on is taken and forgotten, what comes too
    :ivar taken: bytes that were queued
    :ivar portion: bytes that go at a time, and every ``pause`` ns; 0: no such limit; ``portion_left``: of those that go now
    :ivar portion_at: when the next portion is due, ns, 0 when this one is not used up
    :ivar silent: the program is shown nothing and may say nothing
    :ivar deaf: what the peer sends is not taken, and so never acknowledged
    :ivar gone_after: bytes that come before the host is gone, which says nothing any more, -1: it stays; ``gone``: it is
    :ivar unread: bytes that the window lets in before it stays shut, -1: no such limit
    :ivar ack_delay: how long an ACK waits that has no data to go with, ns; ``ack_at``: when it goes, 0 when none waits
    :ivar duplicate, reorder, corrupt: probabilities, for each segment of data
    :ivar held: a segment that others of its burst pass: what ``put_data`` was told
    """

    random: Random
    end_after = -1
    end_resets = False
    over = False
    taken = 0
    portion = 0
    portion_left = 0
    portion_at = 0
    pause = 0
    silent = False
    deaf = False
    gone_after = -1
    gone = False
    unread = -1
    ack_delay = 0
    ack_at = 0
    duplicate = 0.0
    reorder = 0.0
    corrupt = 0.0
    bursting = False
    held: tuple[int, int, ByteRing, int, int, int] | None = None

    def establish(self, context: Context, request: Request, seg: Segment, now: int) -> None:
        super().establish(context, request, seg, now)
        self.random = request.choice.random
        for fault in request.choice.faults:
            fault.established(self, now)

    # ---- the program's calls ----

    def send(self, data: bytes | bytearray | memoryview) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        if self.silent:
            return 0
        if self.over:
            return size
        if self.end_after >= 0:
            view = view[: self.end_after - self.taken]
        if self.portion:
            view = view[: self.portion_left]
            self.send_soon()
        sent = super().send(view) if len(view) else 0
        self.taken += sent
        self.portion_left -= sent
        if self.taken == self.end_after:
            self.over = True
            if self.end_resets:
                self.send_soon()
            else:
                self.shutdown()
            return size
        return sent

    def writable(self) -> int:
        if self.silent or self.over:
            return 0
        room = super().writable()
        return min(room, self.portion_left) if self.portion else room

    def readable(self) -> int:
        return 0 if self.silent or self.over else super().readable()

    def receive(self, size: int) -> bytes:
        if self.silent:
            return b""
        data = super().receive(size)
        if self.unread >= 0:
            # The window's right edge stays where it is.
            self.unread -= len(data)
            self.limit_receiving(self.unread)
        return data

    def shutdown(self) -> None:
        if not self.silent:
            super().shutdown()

    def close(self, now: int) -> None:
        if not self.silent:
            super().close(now)

    def abort(self, now: int) -> None:
        if not self.gone:
            super().abort(now)

    # ---- segments ----

    def segment_arrives(self, seg: Segment, now: int) -> None:
        if self.gone_after >= 0 and seg.payload_length and (seg.end - self.handshake.irs - 1 & MASK) >= self.gone_after:
            self.go()
        if not self.gone:
            super().segment_arrives(seg, now)

    def go(self) -> None:
        """From now on there is nobody here."""
        self.gone = True
        self.silent = True

    def text_arrives(self, seg: Segment, ahead: int, now: int) -> None:
        if self.deaf:
            return
        super().text_arrives(seg, ahead, now)
        if self.over:
            # Nobody will answer it; unread, it would shut the window before the peer's FIN.
            super().receive(super().readable())

    def fin_of(self, seg: Segment, now: int) -> None:
        if not self.deaf:
            super().fin_of(seg, now)

    def fin_arrives(self, now: int) -> None:
        super().fin_arrives(now)
        if self.over:
            self.close(now)

    def send_pending(self, now: int) -> None:
        if self.gone:
            self.queued = False
            return
        self.bursting = True
        super().send_pending(now)
        self.bursting = False
        if self.held is not None:
            held, self.held = self.held, None
            super().put_data(*held, now)
        if self.id < 0:
            return
        if self.end_resets and self.over and (self.snd_nxt - self.handshake.iss - 1 & MASK) >= self.end_after:
            self.abort(now)
        elif self.portion and self.portion_left == 0 and self.portion_at == 0:
            self.portion_at = now + self.pause
            self.wake_at(self.portion_at)

    def timer_fires(self, now: int) -> None:
        if self.gone:
            self.timer = -1
            return
        super().timer_fires(now)
        if self.id < 0:
            return
        if self.ack_at and now >= self.ack_at:
            super().put(self.snd_nxt, ACK, now)
            self.ack_at = 0
        if self.portion_at and now >= self.portion_at:
            self.portion_at = 0
            self.portion_left = self.portion
            self.context.notify(self)
        for deadline in (self.ack_at, self.portion_at):
            if deadline:
                self.wake_at(deadline)

    def put(self, seq: int, flags: int, now: int) -> None:
        # TIME-WAIT, which follows, would not know of an ACK that waits.
        if self.ack_delay and flags == ACK and seq == self.snd_nxt and self.state != State.TIME_WAIT:
            self.ack_due = False
            if self.ack_at == 0:
                self.ack_at = now + self.ack_delay
                self.wake_at(self.ack_at)
            return
        self.ack_at = 0
        super().put(seq, flags, now)

    def put_data(self, seq: int, flags: int, buffer: ByteRing, offset: int, size: int, urgent: int, now: int) -> int:
        self.ack_at = 0
        draw = self.random.random
        doubled, late, hurt = draw(), draw(), draw()
        if late < self.reorder and self.bursting and self.held is None:
            self.held = (seq, flags, buffer, offset, size, urgent)
            return size
        sent = super().put_data(seq, flags, buffer, offset, size, urgent, now)
        if hurt < self.corrupt:
            self.flip()
        if doubled < self.duplicate:
            super().put_data(seq, flags, buffer, offset, size, urgent, now)
        if self.held is not None:
            held, self.held = self.held, None
            super().put_data(*held, now)
        return sent

    def flip(self) -> None:
        """Flip a bit of the packet that was written last, so that a checksum notices."""
        ring = self.context.writer.ring
        packet = ring.packet(ring.count - 1)
        # With offload nobody looks at TCP's checksum, so the IP header's has to do.
        first, last = (IP_CHECKSUM, IP_CHECKSUM + 2) if self.path.largest else (IP_HEADER, len(packet))
        packet[self.random.randrange(first, last)] ^= 1 << self.random.randrange(8)
