"""Faults as data: what a server may do wrong on purpose, for whoever tests clients, proxies and balancers.

    listener.set_policy(policy(lambda flow: FinAfter(1000) if flow.remote_port % 2 else None))

``FAULTS`` is the table, a class for each; docs/faults.md is made from it. Those of the handshake are a policy's verdicts
(``fastnet.tcp.policy``); the others make the connection a ``FaultyConnection``. A connection without a fault knows nothing of this.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Self

from fastnet._buffer import ByteRing
from fastnet._flow import FourTuple
from fastnet._headers import ACK, Segment
from fastnet.tcp.connection import Connection
from fastnet.tcp.context import Context
from fastnet.tcp.numbers import MASK, SECOND
from fastnet.tcp.policy import DROP, RESET, Accept, Arrival, Delay, Policy, Reset, Verdict
from fastnet.tcp.policy import Drop as DropVerdict
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

    # ---- segments ----

    def text_arrives(self, seg: Segment, ahead: int, now: int) -> None:
        super().text_arrives(seg, ahead, now)
        if self.over:
            # Nobody will answer it; unread, it would shut the window before the peer's FIN.
            super().receive(super().readable())

    def fin_arrives(self, now: int) -> None:
        super().fin_arrives(now)
        if self.over:
            self.close(now)

    def send_pending(self, now: int) -> None:
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

    def put_data(self, seq: int, flags: int, buffer: ByteRing, offset: int, size: int, urgent: int, now: int) -> None:
        self.ack_at = 0
        draw = self.random.random
        doubled, late, hurt = draw(), draw(), draw()
        if late < self.reorder and self.bursting and self.held is None:
            self.held = (seq, flags, buffer, offset, size, urgent)
            return
        super().put_data(seq, flags, buffer, offset, size, urgent, now)
        if hurt < self.corrupt:
            self.flip()
        if doubled < self.duplicate:
            super().put_data(seq, flags, buffer, offset, size, urgent, now)
        if self.held is not None:
            held, self.held = self.held, None
            super().put_data(*held, now)

    def flip(self) -> None:
        """Flip a bit of the packet that was written last, so that a checksum notices."""
        ring = self.context.writer.ring
        packet = ring.packet(ring.count - 1)
        # With offload nobody looks at TCP's checksum, so the IP header's has to do.
        first, last = (IP_CHECKSUM, IP_CHECKSUM + 2) if self.context.largest else (IP_HEADER, len(packet))
        packet[self.random.randrange(first, last)] ^= 1 << self.random.randrange(8)


class Fault:
    """A fault, which is one class of the table, with its argument. The class's docstring says what the server does, in a line.

    :cvar argument: what the argument is, with its unit; "" for a fault that has none
    :cvar default, low, high: of the argument; ``whole``: only whole numbers
    :cvar client: what a good client should see
    :ivar value: the argument
    :raises ValueError: an argument that the fault does not take, in a line
    """

    name: ClassVar[str]
    argument: ClassVar[str] = ""
    default: ClassVar[float] = 0
    low: ClassVar[float] = 0
    high: ClassVar[float] = 0
    whole: ClassVar[bool] = True
    client: ClassVar[str]

    def __init__(self, value: float | None = None) -> None:
        if value is None:
            value = self.default
        if not self.low <= value <= self.high or self.whole and value != int(value):
            kind = "a whole number" if self.whole else "a number"
            raise ValueError(f"{self.name} takes {self.argument}: {kind}, {self.low} to {self.high}, not {value}")
        self.value: Any = int(value) if self.whole else value

    def __str__(self) -> str:
        return f"{self.name}:{self.value}" if self.argument else self.name

    @classmethod
    def read(cls, text: str) -> Self:
        """The fault with an argument as the command line has it.

        :raises ValueError: not an argument that it takes
        """
        if not cls.argument:
            raise ValueError(f"{cls.name} takes no argument, not {text!r}")
        try:
            value = int(text) if cls.whole else float(text)
        except ValueError:
            kind = "a whole number" if cls.whole else "a number"
            raise ValueError(f"{cls.name} takes {cls.argument}: {kind}, not {text!r}") from None
        return cls(value)

    @classmethod
    def usage(cls) -> str:
        """Its name and argument, with the default."""
        return f"{cls.name}:{cls.default}" if cls.argument else cls.name

    def options(self) -> dict[str, Any]:
        """What it chooses for the SYN-ACK: arguments of ``Accept``."""
        return {}

    def verdict(self, verdict: Accept | DropVerdict | Reset | Delay) -> Accept | DropVerdict | Reset | Delay:
        """What it makes of the answer to the SYN."""
        return verdict

    def loses(self, nth: int) -> bool:
        """Is the n-th SYN-ACK (from 1) lost?"""
        return False

    def shifts(self) -> tuple[int, int]:
        """What is added to the SYN-ACK's sequence and acknowledgment numbers."""
        return 0, 0

    def established(self, connection: FaultyConnection, now: int) -> None:
        """The handshake is complete."""


@dataclass(frozen=True)
class FaultyAccept(Accept):
    """A SYN-ACK with faults, and the connection after it.

    :param faults: the connection's
    :param random: its dice
    :ivar answers: SYN-ACKs so far, lost ones too; the only element
    """

    faults: tuple[Fault, ...] = ()
    random: Random = field(default_factory=Random)
    answers: list[int] = field(default_factory=lambda: [0])

    def send_synack(self, request: Request, context: Context, now: int) -> None:
        self.answers[0] += 1
        if any(fault.loses(self.answers[0]) for fault in self.faults):
            return
        iss, irs = request.iss, request.irs
        for fault in self.faults:
            seq, ack = fault.shifts()
            request.iss = request.iss + seq & MASK
            request.irs = request.irs + ack & MASK
        super().send_synack(request, context, now)
        request.iss, request.irs = iss, irs


class LoseSynAck(Fault):
    """Loses the first n SYN-ACKs; the request stays in the syn queue."""

    name, argument, default, low, high = "lose-synack", "how many SYN-ACKs, first ones and repeated ones, are lost", 1, 1, 100
    client = "connect() takes a second longer, and more for a larger n, as SYN and SYN-ACK are both sent again; then it succeeds."

    def loses(self, nth: int) -> bool:
        return nth <= int(self.value)


class WrongSeq(Fault):
    """Answers from a wrong sequence number, so that the ACK of the SYN-ACK is none, and resets that."""

    name, argument, default, low, high = "wrong-seq", "by how much the SYN-ACK's sequence number is too high", 100_000, 1, 1 << 30
    client = "connect() succeeds and recv() fails with ECONNRESET; connect() does if the RST comes before it returns."

    def shifts(self) -> tuple[int, int]:
        return self.value, 0


class WrongAck(Fault):
    """Acknowledges a sequence number in the SYN-ACK that the client never sent."""

    name, argument, default, low, high = "wrong-ack", "by how much the SYN-ACK acknowledges too much", 100_000, 1, 1 << 30
    client = "A RST for the SYN-ACK, and the SYN again (RFC 9293 section 3.10.7.3); connect() fails with ETIMEDOUT, never succeeds."

    def shifts(self) -> tuple[int, int]:
        return 0, self.value


class ResetSyn(Fault):
    """Answers the SYN with a RST."""

    name = "reset-syn"
    client = "connect() fails with ECONNREFUSED at once."

    def verdict(self, verdict: Accept | DropVerdict | Reset | Delay) -> Accept | DropVerdict | Reset | Delay:
        return RESET


class DropSyn(Fault):
    """Says nothing to the SYN. With a probability, each repetition of the SYN has its own chance."""

    name = "drop-syn"
    client = "connect() fails with ETIMEDOUT, or with its own timeout; the SYN comes again after a second, and on."

    def verdict(self, verdict: Accept | DropVerdict | Reset | Delay) -> Accept | DropVerdict | Reset | Delay:
        return DROP


class DelaySynAck(Fault):
    """Answers the SYN later; repetitions in between are not answered either."""

    name, argument, default, low, high, whole = "delay-synack", "s until the SYN-ACK", 0.5, 0, 60, False
    client = "connect() takes so long, and then succeeds."

    def verdict(self, verdict: Accept | DropVerdict | Reset | Delay) -> Accept | DropVerdict | Reset | Delay:
        return verdict if isinstance(verdict, Delay) else Delay(self.value, verdict)


class ResetAfterAccept(Fault):
    """Sends a RST right after the handshake."""

    name = "reset-after-accept"
    client = "As with wrong-seq, but the RST comes from a connection that was established and counted."

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.end_after = 0
        connection.end_resets = connection.over = True
        connection.send_soon()


class ResetAfter(Fault):
    """Sends n bytes, and a RST right behind them, as soon as there are n or more to send."""

    name, argument, default, low, high = "reset-after", "bytes before the RST", 1000, 0, 1 << 30
    client = "recv() gives n bytes at most, then fails with ECONNRESET; what was cut off is not taken for a whole answer."

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.end_after = self.value
        connection.end_resets = True


class FinAfter(Fault):
    """Sends n bytes, and a FIN right behind them: in the middle of a body that is longer."""

    name, argument, default, low, high = "fin-after", "bytes before the FIN", 1000, 0, 1 << 30
    client = "recv() gives n bytes, then b\"\"; who knows the length from Content-Length reports an answer cut short (curl: exit code 18)."

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.end_after = self.value


class Silence(Fault):
    """Accepts, acknowledges, and never answers nor closes; not even when the client has."""

    name = "silence"
    client = "connect() and send() succeed, recv() runs into the client's own timeout. After its close() the client is in FIN-WAIT-2."

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.silent = True


class ZeroWindow(Fault):
    """Takes n bytes, and then offers a window of 0 for ever; probes of it are answered."""

    name, argument, default, low, high = "zero-window", "bytes that are taken", 1000, 0, 0xFFFF
    client = "What fits the window arrives; send() blocks when the send buffer is full, and only a timeout of the program's ends that."

    def options(self) -> dict[str, Any]:
        return {"window": self.value, "wscale": 0}

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.unread = self.value
        connection.need_receiver(now)
        connection.limit_receiving(self.value)


class Trickle(Fault):
    """Sends n bytes every t seconds, each portion in a segment of its own."""

    name, argument, low, high, whole = "trickle", "bytes / s: how many at a time, and how often", 1, 1 << 20, False
    client = "recv() gives n bytes at a time; a timeout for each recv() is never reached, one for the whole answer is."

    def __init__(self, size: int = 10, seconds: float = 0.1) -> None:
        if not (1 <= size <= 1 << 20 and size == int(size) and 0.001 <= seconds <= 3600):
            raise ValueError(f"trickle takes BYTES/SECONDS, 1 to {1 << 20} and 0.001 to 3600, not {size}/{seconds}")
        self.value = size
        self.seconds = seconds

    def __str__(self) -> str:
        return f"{self.name}:{self.value}/{self.seconds:g}"

    @classmethod
    def read(cls, text: str) -> Self:
        size, _, seconds = text.partition("/")
        try:
            return cls(int(size), float(seconds))
        except ValueError:
            raise ValueError(f"trickle takes BYTES/SECONDS, 1 to {1 << 20} and 0.001 to 3600, not {text!r}") from None

    @classmethod
    def usage(cls) -> str:
        return "trickle:10/0.1"

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.portion = connection.portion_left = self.value
        connection.pause = round(self.seconds * SECOND)
        connection.nodelay = True


class DelayAck(Fault):
    """Keeps every ACK back for so long that has no data to go with."""

    name, argument, default, low, high, whole = "delay-ack", "s, at most what RFC 9293 section 3.8.6.3 has", 0.5, 0.001, 0.5, False
    client = "A round-trip time of t more, and a retransmission where its timeout is shorter than that."

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.ack_delay = round(self.value * SECOND)


class SmallMss(Fault):
    """Advertises a small MSS."""

    name, argument, default, low, high = "small-mss", "bytes, the SYN-ACK's MSS option", 64, 1, 0xFFFF
    client = "Segments of so many bytes, less the options: getsockopt(TCP_MAXSEG) says 52 for 64. Linux goes no lower than tcp_min_snd_mss."

    def options(self) -> dict[str, Any]:
        return {"mss": self.value}


class TinyWindow(Fault):
    """Never offers a larger window."""

    name, argument, default, low, high = "tiny-window", "bytes", 1, 1, 0xFFFF
    client = "Everything arrives, by a window at a time; Linux sends what does not fit from its probe timer, some 200 ms apart."

    def options(self) -> dict[str, Any]:
        return {"window": self.value, "wscale": 0}

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.limit_receiving(self.value)


class _Odds(Fault):
    argument, default, high, whole = "the probability, for each segment of data", 0.1, 1, False

    def established(self, connection: FaultyConnection, now: int) -> None:
        setattr(connection, self.name, self.value)


class Duplicate(_Odds):
    """Sends segments twice."""

    name = "duplicate"
    client = "Nothing of it: the stream is whole. The kernel reports each with a D-SACK (RFC 2883)."


class Reorder(_Odds):
    """Lets the next segment of the same burst pass one."""

    name = "reorder"
    client = "Nothing of it: the stream is whole. The kernel's TCPOFOQueue grows."


class Corrupt(_Odds):
    """Flips a bit of segments, after their checksum; with offload (which the command switches off for it), of the IP checksum."""

    name = "corrupt"
    client = "Nothing of it but time: the kernel drops them (TcpInCsumErrors), and they come again. With 1 the data never arrives."


FAULTS: dict[str, type[Fault]] = {
    kind.name: kind
    for kind in (
        LoseSynAck, WrongSeq, WrongAck, ResetSyn, DropSyn, DelaySynAck, ResetAfterAccept, ResetAfter, FinAfter, Silence, ZeroWindow,
        Trickle, DelayAck, SmallMss, TinyWindow, Duplicate, Reorder, Corrupt,
    )
}  # fmt: skip
"""Name -> fault."""


def read(text: str) -> tuple[Fault, float]:
    """A fault and its probability out of ``NAME[:ARG][@PROBABILITY]``.

    :raises ValueError: no such fault, or not an argument that it takes, in a line
    """
    rest, at, odds = text.partition("@")
    name, colon, argument = rest.partition(":")
    if name not in FAULTS:
        raise ValueError(f"no fault {name!r}; there are: {', '.join(FAULTS)}")
    probability = 1.0
    if at:
        try:
            probability = float(odds)
        except ValueError:
            probability = -1.0
        if not 0 <= probability <= 1:
            raise ValueError(f"{text!r}: a probability is 0 to 1, not {odds!r}")
    return (FAULTS[name].read(argument) if colon else FAULTS[name]()), probability


class Dice:
    """Chooses by probabilities: for the n-th SYN always the same, whoever sent it.

    :param faults: each with its probability, drawn on its own: a connection can have several
    :param seed: same seed, same choices
    """

    def __init__(self, faults: Sequence[tuple[Fault, float]], seed: int = 0) -> None:
        self.faults = tuple(faults)
        self.random = Random(f"{seed} choice")

    def __call__(self, flow: FourTuple) -> tuple[Fault, ...]:
        drawn = [self.random.random() for _ in self.faults]
        return tuple(fault for (fault, probability), luck in zip(self.faults, drawn, strict=True) if luck < probability)


def policy(choose: Callable[[FourTuple], Fault | Iterable[Fault] | None], seed: int = 0) -> Policy:
    """The policy of a listener whose connections have faults; of several the later one wins where they contradict each other.

    A SYN that is answered with a cookie, of which nothing is kept, leads to a connection without.

    :param choose: 4-tuple, local side first -> its fault, or faults, or None; asked for every SYN that is not known yet
    :param seed: of what befalls segments
    """
    asked = 0

    def decide(arrival: Arrival) -> Verdict | None:
        nonlocal asked
        asked += 1
        chosen = choose(arrival.flow)
        faults = () if chosen is None else (chosen,) if isinstance(chosen, Fault) else tuple(chosen)
        if not faults:
            return None
        options: dict[str, Any] = {}
        for fault in faults:
            options |= fault.options()
        verdict: Any = FaultyAccept(kind=FaultyConnection, faults=faults, random=Random(f"{seed} {asked}"), **options)
        for fault in faults:
            verdict = fault.verdict(verdict)
        return verdict  # type: ignore[no-any-return]

    return decide
