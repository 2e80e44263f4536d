"""What every endpoint of one stack shares: settings, counters, tables, timers, and the way out."""

from typing import Any

from fastnet._demux import Demux
from fastnet._flow import FourTuple
from fastnet._headers import ACK, CWR, ECE, RST, SYN, Segment
from fastnet._ports import LocalPorts
from fastnet._timer import TimerWheel
from fastnet._writer import SegmentWriter
from fastnet.config import Settings
from fastnet.counters import Counters
from fastnet.forks import ForkedError
from fastnet.ip.mtus import MtuCache
from fastnet.tcp.congestion.base import Acknowledgment
from fastnet.tcp.door import Door
from fastnet.tcp.failures import Failures
from fastnet.tcp.isn import IsnGenerator
from fastnet.tcp.memory import Memory
from fastnet.tcp.numbers import CODEPOINT, ECT_0, HALF, MASK


class Timed:
    """Whoever can wait in the timer wheel.

    :ivar timer: its handle there, -1 when it has none
    """

    __slots__ = ("timer",)

    timer: int

    def __reduce__(self) -> str:
        # A copy would have the original's timer and place among the endpoints.
        raise TypeError(f"a {type(self).__name__} cannot be copied or pickled")

    def timer_fires(self, now: int) -> None:
        """TIMEOUT (RFC 9293 section 3.10.8): the wheel has let the timer go."""
        raise RuntimeError("whoever has a timer says what it does when it fires")


class Endpoint(Timed):
    """Whoever gets the segments of a 4-tuple (a connection, a TIME-WAIT) or of a local port (a listener).

    :ivar id: its place in ``Context.endpoints``, -1 when it has none
    :ivar owner: the ``Door`` that wants to hear of events, or None
    :ivar notified: True while it waits in ``Context.ready``; ``queued``: while it waits in ``Context.outbox``
    """

    __slots__ = ("id", "notified", "owner", "queued")

    id: int
    owner: "Door | None"
    notified: bool
    queued: bool

    def segment_arrives(self, seg: Segment, now: int) -> None:
        """SEGMENT ARRIVES (RFC 9293 section 3.10.7)."""
        raise RuntimeError("an endpoint says what it does with a segment")

    def send_pending(self, now: int) -> None:
        """The batch is over: send what is due."""


class Context:
    """The shared part of one stack's TCP.

    :ivar cookies: the ``CookieJar`` of the stack's listeners; ``challenges``: the ``ChallengeBudget`` of its connections
    :ivar memory: what all buffers together may take; ``orphans``: connections that the program has closed and that are not over
    :ivar ack: what the ACK that is looked at just now says; filled again for each
    :ivar endpoints: id -> endpoint, as the demux numbers them
    :ivar fast_open: the ``FastOpen`` of the stack
    :ivar failures: what raised, to be told when the round is over
    :ivar outbox: endpoints that have something to send when the batch is over
    :ivar paths: what is known of the ways to other hosts; ``path_changes``: how often that became more
    :ivar ports: the stack's local ports, and who has them
    :ivar ready: endpoints whose owner has something to see
    :ivar attached: True once an endpoint was attached in this batch: what was looked up before may be out of date
    :ivar last_seq: SND.NXT of the connection whose TIME-WAIT makes way for a SYN just now, -1 otherwise
    :ivar forked: this process is a child of the stack's
    """

    __slots__ = (
        "ack", "attached", "challenges", "cookies", "counters", "demux", "endpoints", "failures", "fast_open", "forked", "isn",
        "last_seq", "memory", "orphans", "outbox", "path_changes", "paths", "ports", "ready", "settings", "time_wait_count",
        "timers", "writer",
    )  # fmt: skip

    def __init__(
        self,
        settings: Settings,
        counters: Counters,
        timers: TimerWheel,
        writer: SegmentWriter,
        secret: bytes,
        mtu: int,
        apart: bool = True,
    ) -> None:
        if getattr(self, "settings", None) is not None:
            raise TypeError("a Context is made once")
        self.settings = settings
        self.counters = counters
        self.failures = Failures(counters)
        self.timers = timers
        self.writer = writer
        self.isn = IsnGenerator(secret)
        self.cookies: Any = None
        self.challenges: Any = None
        self.fast_open: Any = None
        self.demux = Demux()
        self.ports = LocalPorts(self.demux, apart)
        self.memory = Memory(settings, counters, self.demux)
        self.orphans = 0
        self.endpoints: list[Endpoint | None] = []
        self.outbox: list[Endpoint] = []
        self.ready: list[Endpoint] = []
        self.paths = MtuCache(settings, mtu)
        self.path_changes = 0
        self.ack = Acknowledgment()
        self.last_seq = -1
        self.time_wait_count = 0
        self.attached = False
        self.forked = False

    def check(self) -> None:
        """A program's call: may it be made in this process?

        :raises ForkedError: the stack is another process's
        """
        if self.forked:
            raise ForkedError

    def attach(self, flow: FourTuple, endpoint: Endpoint) -> None:
        """Let an endpoint have the segments of a 4-tuple that nobody has."""
        number = self.demux.insert(flow)
        self.ports.attach(flow)
        self.attached = True
        endpoint.id = number
        if number < len(self.endpoints):
            self.endpoints[number] = endpoint
        else:
            try:
                self.place(number, endpoint)
            except BaseException:
                # No memory. A number without an endpoint must not stay behind.
                self.demux.remove(flow)
                self.ports.detach(flow)
                endpoint.id = -1
                raise

    def place(self, number: int, endpoint: Endpoint) -> None:
        """Note who stands behind an id of the demux."""
        endpoint.id = number
        while number >= len(self.endpoints):
            self.endpoints.append(None)
        self.endpoints[number] = endpoint

    def detach(self, flow: FourTuple, endpoint: Endpoint) -> None:
        """The endpoint is over: forget its 4-tuple and its timer."""
        if endpoint.id >= 0:
            self.demux.remove(flow)
            self.ports.detach(flow)
            self.endpoints[endpoint.id] = None
            endpoint.id = -1
        if endpoint.timer >= 0:
            self.disarm(endpoint)

    def arm(self, endpoint: Timed, deadline: int) -> None:
        """Have ``timer_fires`` called at a deadline (ns); an earlier one is replaced."""
        if endpoint.timer < 0:
            endpoint.timer = self.timers.add(endpoint, deadline)
        else:
            self.timers.move(endpoint.timer, deadline)

    def disarm(self, endpoint: Timed) -> None:
        """Forget the endpoint's timer."""
        if endpoint.timer >= 0:
            self.timers.remove(endpoint.timer)
            endpoint.timer = -1

    def ecn_of(self, seg: Segment, needed: bool) -> int:
        """Does a SYN ask for ECN (RFC 3168 section 6.1.1), and do we want it? One that is marked itself comes from a broken network.

        Linux: tcp_ecn_create_request().

        :param needed: the listener's congestion control needs ECN; then SYNs may be marked as well (RFC 8257 section 3.6)
        :returns: what is agreed, as ``Request.ecn`` has it
        """
        if seg.flags & (ECE | CWR) != ECE | CWR:
            return 0
        if needed:
            return ECT_0
        return 1 if seg.tos & CODEPOINT == 0 and self.settings.tcp_ecn != 0 else 0

    def notify(self, endpoint: Endpoint) -> None:
        """Tell the door, if there is one, that there is something to see."""
        if not endpoint.notified and endpoint.owner is not None:
            endpoint.notified = True
            self.ready.append(endpoint)

    def count_outside(self, seg: Segment, rcv_nxt: int) -> None:
        """A segment is dropped because it lies outside the window: count it."""
        if seg.length == 0 or seg.flags & (RST | SYN):
            self.counters.TCPInvalidSequence += 1
        elif 0 < (rcv_nxt - seg.seq & MASK) < HALF:
            self.counters.DelayedACKLost += 1
        else:
            self.counters.BeyondWindow += 1

    def send_reset(self, seg: Segment) -> None:
        """Answer a segment that nobody wants with a RST (RFC 9293 section 3.10.7.1); never a RST with a RST."""
        if seg.flags & RST:
            return
        if seg.flags & ACK:
            self.writer.control(seg.flow, seg.ack, 0, RST, 0)
        else:
            self.writer.control(seg.flow, 0, seg.end, RST | ACK, 0)
        self.counters.TcpOutRsts += 1

    def send_ack(self, seg: Segment, snd_nxt: int, rcv_nxt: int, window: int, ts_val: int, ts_recent: int) -> None:
        """A bare ACK outside any connection (a request, a TIME-WAIT); ``ts_val`` is -1 without timestamps."""
        if ts_val >= 0:
            self.writer.control(seg.flow, snd_nxt, rcv_nxt, ACK, window, True, ts_val, ts_recent)
        else:
            self.writer.control(seg.flow, snd_nxt, rcv_nxt, ACK, window)
