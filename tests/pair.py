"""A connection between two stacks in virtual time: what flows over it, what must hold at all times, and a tap on the link."""

from __future__ import annotations

from collections.abc import Callable

from fastnet._ring import PacketRing
from fastnet.devices import Impairment, Wrapper
from fastnet.devices.impairment import LinkEnd
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State
from fastnet.twins import Twins

A, B = "198.18.0.1", "198.18.0.2"
PORT, LOCAL_PORT = 80, 40000
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
MASK = 0xFFFFFFFF
HALF = 0x80000000
OVER = (State.CLOSED, State.TIME_WAIT)


def after(a: int, b: int) -> int:
    """By how much a comes after b."""
    return (a - b) & MASK


def check(connection: Connection, held: int = 0) -> None:
    """What holds for a connection between any two events.

    :param held: bytes that the receive buffer could hold before a program made it smaller
    """
    in_flight = after(connection.snd_nxt, connection.snd_una)
    assert in_flight < HALF, "SND.UNA <= SND.NXT"
    sender, receiver = connection.sender, connection.receiver
    if sender is not None and connection.state not in (State.SYN_SENT, State.SYN_RECEIVED):
        assert in_flight <= sender.buffer.length + sender.fin_sent, "nothing is on its way that was not queued"
        board = sender.recovery.board
        flights = board.flights[board.head :]
        at = connection.snd_una
        by_time = {*map(id, board.order.queue[board.order.oldest :])} if board.order is not None else {*map(id, flights)}
        to_resend = {*map(id, board.losses.heap)} if board.losses is not None else set()
        for flight in flights:
            assert not flight.over
            assert flight.sacked or id(flight) in (to_resend if flight.lost else by_time), "none is forgotten"
            assert flight.seq == at and 0 < after(flight.end, flight.seq) < HALF, "flights are contiguous"
            assert not (flight.sacked and flight.lost)
            assert not flight.lost or sender.recovery.state != 0 or sender.recovery.board.lost
            at = flight.end
        assert at == connection.snd_nxt, "flights end at SND.NXT"
        assert board.sacked == sum(after(f.end, f.seq) for f in flights if f.sacked), "sacked, recounted"
        assert board.lost == sum(after(f.end, f.seq) for f in flights if f.lost), "lost, recounted"
        assert board.sacked >= 0 and board.lost >= 0 and board.sacked + board.lost <= in_flight
        congestion = sender.recovery.congestion
        assert congestion.cwnd >= congestion.mss and congestion.ssthresh >= 2 * congestion.mss
        assert 0 <= sender.recovery.pipe(connection) <= in_flight
        if (in_flight or sender.buffer.length) and not connection.queued:
            deadline = sender.deadline or sender.cork_deadline
            assert deadline and connection.timer >= 0, "what is on its way, or waits for the window or the cork, has a timer"
            assert connection.armed <= deadline, "and the wheel fires in time"
    if receiver is not None:
        window = after(connection.rcv_adv, connection.rcv_nxt)
        assert window < HALF
        room = max(receiver.limit, held)
        # Windows are rounded up to units of the scale, so that the right edge never moves left.
        room += room // 8 if connection.handshake.rcv_shift else 0
        assert receiver.buffer.length + window <= room + connection.fin_received, "never more than there is room for"
        largest = max(receiver.largest, held)
        assert receiver.buffer.allocated <= max(2 * (largest + largest // 8), 4096), "memory"
        reached = 0
        for left, right in receiver.pieces or ():
            assert reached < after(left, connection.rcv_nxt) < after(right, connection.rcv_nxt) <= window, "sorted, apart, in the window"
            reached = after(right, connection.rcv_nxt)
        assert len(receiver.pieces or ()) <= max(128, receiver.buffer.allocated // 512)


class Program:
    """What a program does with one end: writes, half-closes when all is written, reads, and closes when the peer has.

    :param data: what it sends; ``step``: how much it reads at once
    """

    def __init__(self, data: bytes, step: int = 1 << 30) -> None:
        self.data = memoryview(data)
        self.step = step
        self.connection: Connection | None = None
        self.written = 0
        self.received = bytearray()
        self.finished = False

    def work(self, now: int) -> bool:
        """One turn; True when it did something."""
        connection = self.connection
        if connection is None:
            return False
        busy = False
        if self.written < len(self.data) and connection.state not in OVER:
            sent = connection.send(self.data[self.written :])
            self.written += sent
            busy = sent > 0
        if self.written == len(self.data) and connection.state in (State.ESTABLISHED, State.CLOSE_WAIT):
            connection.shutdown()
            busy = True
        if read := connection.receive(self.step):
            self.received += read
            busy = True
        if connection.fin_received and not connection.readable() and self.written == len(self.data) and not self.finished:
            self.finished = True
            connection.close(now)
            busy = True
        return busy

    def is_over(self) -> bool:
        return self.connection is not None and self.connection.state in OVER and not self.connection.readable()


class Pair:
    """Twins, a listener on b, and a connection that a opens to it, with a program at each end.

    :param simultaneous: b does not listen, but opens the same connection from its side
    :param checked: every step is checked, which takes long where thousands of segments are on their way
    """

    def __init__(self, twins: Twins, a: Program, b: Program, simultaneous: bool = False, checked: bool = True) -> None:
        self.twins, self.a, self.b, self.checked = twins, a, b, checked
        self.listener: Listener | None = None
        if simultaneous:
            b.connection = twins.b.connect(A, LOCAL_PORT, local_port=PORT)
        else:
            self.listener = twins.b.listen("0.0.0.0", PORT)
        a.connection = twins.a.connect(B, PORT, local_port=LOCAL_PORT)

    def work(self) -> bool:
        if self.b.connection is None and self.listener is not None:
            self.b.connection = self.listener.accept()
        now = self.twins.clock()
        busy = self.a.work(now) | self.b.work(now)
        for program in (self.a, self.b):
            if program.connection is not None and self.checked:
                check(program.connection)
        return busy

    def run(self, until: Callable[[], bool], limit: float = 100_000.0) -> None:
        """Work and step until something is so."""
        end = self.twins.clock() + round(limit * SECOND)
        while True:
            busy = self.work()
            if until():
                return
            moved = self.twins.step()
            assert moved or busy or self.work(), f"stuck\n{self.report()}"
            assert self.twins.clock() < end, f"not in {limit} s\n{self.report()}"

    def finish(self, limit: float = 100_000.0) -> None:
        """Until both ends are over."""
        self.run(lambda: self.a.is_over() and self.b.is_over(), limit)

    def report(self) -> str:
        lines = [self.twins._report(SECOND)]
        for name, program in (("a", self.a), ("b", self.b)):
            c = program.connection
            if c is None:
                lines.append(f"{name}: no connection")
                continue
            lines.append(f"{name}: {State(c.state).name}, written {program.written}, received {len(program.received)}, error {c.error}")
            if c.sender is not None:
                recovery = c.sender.recovery
                board, congestion = recovery.board, recovery.congestion
                lines.append(f"   in flight {after(c.snd_nxt, c.snd_una)}, queued {c.sender.buffer.length}, window {c.snd_wnd}")
                lines.append(f"   state {recovery.state}, sacked {board.sacked}, lost {board.lost}, cwnd {congestion.cwnd}")
        return "\n".join(lines)

    def assert_nothing_left(self) -> None:
        """Of each stack's tables, nothing but TIME-WAIT; after 2 MSL, nothing. An old SYN may have come late, and wait for its ACK."""
        if self.listener is not None:
            self.listener.close(self.twins.clock())
        for stack in (self.twins.a, self.twins.b):
            context = stack.context
            assert len(context.demux) == len(context.timers) == context.time_wait_count <= 1
            assert stack.counters.TcpCurrEstab == 0
        self.twins.pass_time(200)
        for stack in (self.twins.a, self.twins.b):
            assert len(stack.context.demux) == len(stack.context.timers) == stack.context.time_wait_count == 0


class Tap(Wrapper):
    """A link's end that keeps what is sent, with its time, and drops what it is told to.

    :param drop: called with each packet; True loses it
    """

    def __init__(self, twins: Twins, end: LinkEnd, drop: Callable[[bytes], bool] = lambda packet: False) -> None:
        super().__init__(end)
        self.twins, self.end, self.drop = twins, end, drop
        self.sent: list[tuple[int, bytes]] = []

    def transmit(self, ring: PacketRing) -> int:
        packets = [ring.packet(slot).tobytes() for slot in range(ring.count)]
        ring.clear()
        now = self.twins.clock()
        kept = []
        for packet in packets:
            self.sent.append((now, packet))
            if not self.drop(packet):
                kept.append(packet)
        self.end.outgoing.send(kept, now)
        return len(packets)


def near_the_wrap(twins: Twins, side: str, before: int) -> None:
    """Move the clock so that the ISS of one side of the connection to come is ``before`` less than 2**32."""
    listener = twins.b.listen("0.0.0.0", PORT)
    probe = twins.a.connect(B, PORT, local_port=LOCAL_PORT)
    started = twins.clock()
    forth, back = twins.link.forth.impairment, twins.link.back.impairment
    twins.link.forth.impairment = twins.link.back.impairment = Impairment()
    answer = None
    while answer is None and twins.step():
        answer = listener.accept()
    assert answer is not None
    iss = (probe if side == "a" else answer).handshake.iss
    probe.abort(twins.clock())
    twins.pass_time(0.001)
    listener.close(twins.clock())
    twins.link.forth.impairment, twins.link.back.impairment = forth, back
    target = started + after(-before & MASK, iss) * 4000
    while target < twins.clock():
        target += (1 << 32) * 4000
    twins.clock.set(target)


