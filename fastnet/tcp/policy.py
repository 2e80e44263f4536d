"""A handshake that a program decides on: what a policy sees of a SYN, and what it may answer.

    def policy(arrival: Arrival) -> Verdict | None:
        if arrival.source.startswith("198.18.1."):
            return DROP
        if arrival.syn_queue > 100:
            return COOKIE
        return Accept(window=1000, ttl=32)

    listener.set_policy(chain(policy, another))

None leaves the decision to the next policy of a chain, and in the end to the listener, which accepts. Whatever a policy says, the bounds
of the queues hold. The peer's retransmissions are not shown: a SYN that became a request is answered as Linux does, one that waits is not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastnet._flow import FourTuple
from fastnet._headers import ACK, CWR, ECE, OPTION_MSS, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_WSCALE, SYN, Segment
from fastnet._path import Path
from fastnet.tcp.connection import Connection
from fastnet.tcp.context import Context, Endpoint
from fastnet.tcp.numbers import MASK, MILLISECOND
from fastnet.tcp.request import Request

KIND_END, KIND_NOP, KIND_MSS, KIND_WSCALE, KIND_SACK_PERMITTED, KIND_TIMESTAMPS = 0, 1, 2, 3, 4, 8
"""TCP option kinds (RFC 9293 section 3.2, RFC 7323, RFC 2018)."""
MAX_WSCALE = 14
LONGEST = 86400
"""Seconds that a SYN may wait at most. No peer waits for so long, and the clock's numbers stay small."""


class Verdict:
    """What a policy answers to a SYN."""

    __slots__ = ()


@dataclass(frozen=True)
class Accept(Verdict):
    """Answer with a SYN-ACK; what is None or 0 is as usual.

    :param isn: our initial sequence number. One that others can guess lets them speak for the peer (RFC 6528)
    :param mss: the MSS option's value; ``window``: the window field, bytes, 0 to 65535
    :param wscale: our window scale, 0 to 14, or -1 for no such option; only where the peer offers it
    :param timestamps, sack: False leaves the option out
    :param ttl, tos: of the SYN-ACK and of the connection's packets
    :param options: the option bytes, as they stand, at most 40; what they leave out is not agreed. Instead of the five above
    :param kind: what the connection is made as, a subclass of ``Connection``
    :raises ValueError: a value that its field cannot take
    """

    isn: int | None = None
    mss: int | None = None
    window: int | None = None
    wscale: int | None = None
    timestamps: bool | None = None
    sack: bool | None = None
    ttl: int = 0
    tos: int = 0
    options: bytes | None = None
    kind: type[Any] | None = None

    def __post_init__(self) -> None:
        bounds = {"isn": MASK, "mss": 0xFFFF, "window": 0xFFFF, "ttl": 255, "tos": 255}
        for name, highest in bounds.items():
            value = getattr(self, name)
            if value is None and name not in ("ttl", "tos"):
                continue
            if not isinstance(value, int) or not 0 <= value <= highest:
                raise ValueError(f"{name} is 0 to {highest}, not {value!r}")
        if self.wscale is not None and (not isinstance(self.wscale, int) or not -1 <= self.wscale <= MAX_WSCALE):
            raise ValueError(f"wscale is -1 (none) to {MAX_WSCALE}, not {self.wscale!r}")
        if self.options is not None and (not isinstance(self.options, bytes) or len(self.options) > 40):
            raise ValueError(f"options are bytes, 40 at most, not {self.options!r}")
        if self.kind is not None and not (isinstance(self.kind, type) and issubclass(self.kind, Connection)):
            raise ValueError(f"kind is a subclass of Connection, not {self.kind!r}")

    def apply(self, request: Request, now: int) -> None:
        """Write the choices into a request that is open and not answered yet."""
        request.choice = self
        if self.isn is not None:
            request.iss = self.isn
        if self.window is not None:
            request.rcv_wnd = self.window
        shift, timestamps, sack = self.wscale, self.timestamps, self.sack
        if self.options is not None:
            said = options_in(self.options)
            shift = min(said[KIND_WSCALE][0], MAX_WSCALE) if said.get(KIND_WSCALE) else -1
            timestamps = len(said.get(KIND_TIMESTAMPS, b"")) == 8
            sack = KIND_SACK_PERMITTED in said
            if timestamps:
                # The connection's clock goes on from the value that the bytes name.
                value = int.from_bytes(said[KIND_TIMESTAMPS][:4], "big")
                request.ts_offset = value - now // MILLISECOND & MASK
        if timestamps is False:
            request.timestamps = False
        if sack is False:
            request.sack = False
        if shift is not None and request.wscale:
            request.wscale = shift >= 0
            request.rcv_shift = max(shift, 0)
            if shift < 0:
                request.snd_shift = 0

    def send_synack(self, request: Request, context: Context, path: Path, mss: int, now: int) -> None:
        """The SYN-ACK as chosen, the first time and again.

        :param path: the listener's; ``mss``: what the MSS option says without a choice, bytes
        """
        writer = context.writer
        flags = SYN | ACK | ECE if request.ecn else SYN | ACK
        path = self.path(path)
        if self.options is not None:
            writer.verbatim(request.flow, request.iss, request.irs + 1 & MASK, flags, request.rcv_wnd, self.options, path)
        else:
            writer.synack(
                request.flow, request.iss, request.irs + 1 & MASK, flags, request.rcv_wnd,
                mss if self.mss is None else self.mss, request.rcv_shift if request.wscale else -1, request.sack,
                request.timestamps, now // MILLISECOND + request.ts_offset & MASK, request.ts_recent, path,
            )  # fmt: skip

    def path(self, usual: Path) -> Path:
        """What the SYN-ACK's and the connection's packets look like.

        :param usual: the listener's path
        """
        return usual.copy(ttl=self.ttl or None, tos=self.tos or None)


class Drop(Verdict):
    """Say nothing; the peer will try again."""

    __slots__ = ()


class Reset(Verdict):
    """Answer with a RST: connection refused."""

    __slots__ = ()


class Cookie(Verdict):
    """Answer with a SYN cookie and keep nothing, whatever tcp_syncookies says."""

    __slots__ = ()


@dataclass(frozen=True)
class Delay(Verdict):
    """Answer later.

    :param seconds: from now on; ``then``: how
    :raises ValueError: not a time of 0 s to a day, or not one of these verdicts
    """

    seconds: float
    then: Accept | Drop | Reset = Accept()

    def __post_init__(self) -> None:
        check_seconds("a delay", self.seconds)
        if not isinstance(self.then, (Accept, Drop, Reset)):
            raise ValueError(f"a delay ends with Accept, Drop or Reset, not {self.then!r}")


ACCEPT = Accept()
DROP = Drop()
RESET = Reset()
COOKIE = Cookie()


class Deferred(Endpoint, Verdict):
    """A SYN whose answer the program gives when it likes: a policy returns what ``Arrival.defer`` gave it, and keeps it.

    The answer leaves with the stack's next ``poll`` or ``flush`` (with a ``Driver``: hold its lock, and call its ``flush``).

    :ivar deadline: when it is dropped for want of a decision, or when ``decision`` is carried out, ns
    :ivar request: what will be queued; None before the gate has it, and when it is over
    :ivar decision: what the program decided, None as long as it has not
    """

    __slots__ = ("deadline", "decision", "gate", "request")

    def __init__(self, gate: Any, deadline: int) -> None:
        self.id = -1
        self.timer = -1
        self.notified = False
        self.owner = None
        self.gate = gate
        self.deadline = deadline
        self.request: Request | None = None
        self.decision: Accept | Drop | Reset | None = None

    @property
    def waits(self) -> bool:
        """True while the SYN can still be answered."""
        return self.request is not None

    def accept(self, choice: Accept = ACCEPT) -> None:
        """Answer the SYN. Too late, it does nothing.

        :raises ValueError: not an ``Accept``
        """
        if not isinstance(choice, Accept):
            raise ValueError(f"a SYN is accepted with an Accept, not {choice!r}")
        self._decide(choice)

    def refuse(self, reset: bool = True) -> None:
        """Answer with a RST, or not at all. Too late, it does nothing."""
        self._decide(RESET if reset else DROP)

    def _decide(self, decision: Accept | Drop | Reset) -> None:
        if self.decision is None:
            self.decision = decision
            self.gate.listener.context.outbox.append(self)

    def timer_fires(self, now: int) -> None:
        """The time is over: a delay is, or the program did not decide."""
        self.gate.carry_out(self, now)

    def send_pending(self, now: int) -> None:
        """The program has decided."""
        if self.request is not None:
            self.gate.carry_out(self, now)


class Arrival:
    """A SYN as a policy sees it.

    :ivar flow: the 4-tuple, local side first; ``source``: the peer's address
    :ivar now: when it came, ns of the stack's clock
    :ivar seq: its sequence number; ``window``: bytes; ``data``: bytes that came along
    :ivar mss, wscale, timestamp: the options' values, None where there was none; ``sack``: was SACK-permitted there?
    :ivar ecn: does it ask for ECN (RFC 3168 section 6.1.1)?
    :ivar ttl, tos: of its packet
    :ivar syn_queue, young, accept_queue, waiting: how much the listener holds already
    """

    __slots__ = (
        "_gate", "accept_queue", "data", "ecn", "flow", "mss", "now", "sack", "seq", "syn_queue", "timestamp", "tos", "ttl",
        "waiting", "window", "wscale", "young",
    )  # fmt: skip

    def __init__(self, gate: Any, seg: Segment, now: int) -> None:
        listener = gate.listener
        options = seg.options
        self._gate = gate
        self.flow: FourTuple = seg.flow.copy()
        self.now = now
        self.seq = seg.seq
        self.window = seg.window
        self.data = seg.payload_length
        self.mss = seg.mss if options & OPTION_MSS else None
        self.wscale = seg.wscale if options & OPTION_WSCALE else None
        self.timestamp = seg.ts_val if options & OPTION_TIMESTAMPS else None
        self.sack = options & OPTION_SACK_PERMITTED != 0
        self.ecn = seg.flags & (ECE | CWR) == ECE | CWR
        self.ttl = seg.ttl
        self.tos = seg.tos
        self.syn_queue: int = len(listener.syn_queue)
        self.young: int = listener.young
        self.accept_queue: int = len(listener.accept_queue)
        self.waiting: int = len(gate.waiting)

    @property
    def source(self) -> str:
        """The peer's address."""
        return self.flow.remote_address

    def defer(self, timeout: float = 10.0) -> Deferred:
        """A handle for the policy to keep and to return: the SYN waits for its ``accept()`` or ``refuse()``.

        :param timeout: seconds after which the SYN is dropped
        :raises ValueError: not a time of 0 s to a day
        """
        check_seconds("a timeout", timeout)
        return Deferred(self._gate, self.now + round(timeout * 1_000_000_000))


def check_seconds(what: str, seconds: float) -> None:
    """Is it a time that a SYN may wait?"""
    if not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST:
        raise ValueError(f"{what} is 0 s to {LONGEST} s, not {seconds!r}")


Policy = Callable[[Arrival], Verdict | None]


def chain(*policies: Policy) -> Policy:
    """A policy out of several: the first that decides wins."""

    def decide(arrival: Arrival) -> Verdict | None:
        for policy in policies:
            verdict = policy(arrival)
            if verdict is not None:
                return verdict
        return None

    return decide


def options_in(raw: bytes) -> dict[int, bytes]:
    """Kind -> value of each option in some bytes; it ends where they make no sense."""
    found: dict[int, bytes] = {}
    i = 0
    while i < len(raw) and raw[i] != KIND_END:
        if raw[i] == KIND_NOP:
            i += 1
            continue
        if i + 1 >= len(raw) or raw[i + 1] < 2 or i + raw[i + 1] > len(raw):
            break
        found.setdefault(raw[i], raw[i + 2 : i + raw[i + 1]])
        i += raw[i + 1]
    return found
