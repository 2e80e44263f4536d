"""Faults as data: what a server may do wrong on purpose, for whoever tests clients, proxies and balancers.

    listener.set_policy(policy(lambda flow: FinAfter(1000) if flow.remote_port % 2 else None))

``FAULTS`` is the table, a class for each; docs/faults.md is made from it. Those of the handshake are a policy's verdicts
(``fastnet.tcp.policy``); the others make the connection a ``FaultyConnection``. A connection without a fault knows nothing of this.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Self

from fastnet._flow import FourTuple
from fastnet._path import Path
from fastnet.config import no_such
from fastnet.server.faulty import FaultyConnection
from fastnet.tcp.context import Context
from fastnet.tcp.numbers import MASK, SECOND
from fastnet.tcp.policy import DROP, RESET, Accept, Arrival, Delay, Policy, Reset, Verdict
from fastnet.tcp.policy import Drop as DropVerdict
from fastnet.tcp.request import Request


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

    def send_synack(self, request: Request, context: Context, path: Path, mss: int, now: int) -> None:
        self.answers[0] += 1
        if any(fault.loses(self.answers[0]) for fault in self.faults):
            return
        iss, irs = request.iss, request.irs
        for fault in self.faults:
            seq, ack = fault.shifts()
            request.iss = request.iss + seq & MASK
            request.irs = request.irs + ack & MASK
        super().send_synack(request, context, path, mss, now)
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


class NeverAck(Fault):
    """Acknowledges nothing that the client sends after the handshake, neither data nor FIN; what the server sends goes out."""

    name = "never-ack"
    client = "send() succeeds until the buffer is full, the data is sent again and again; ETIMEDOUT after TCP_USER_TIMEOUT or tcp_retries2."

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.deaf = True


class HalfOpen(Fault):
    """Is gone once n bytes have come, without a word and for ever: a host that lost its power, a firewall that forgot."""

    name, argument, default, low, high = "half-open", "bytes that come before it is gone", 0, 0, 1 << 30
    client = "As with never-ack for what is sent; who only reads waits for ever, unless SO_KEEPALIVE says ETIMEDOUT."

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.gone_after = self.value
        if self.value == 0:
            connection.go()


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
        LoseSynAck, WrongSeq, WrongAck, ResetSyn, DropSyn, DelaySynAck, ResetAfterAccept, ResetAfter, FinAfter, NeverAck, HalfOpen,
        Silence, ZeroWindow, Trickle, DelayAck, SmallMss, TinyWindow, Duplicate, Reorder, Corrupt,
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
        raise ValueError(no_such("fault", name, FAULTS))
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
