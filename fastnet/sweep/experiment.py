"""One cell: two stacks over a bottleneck in virtual time, and what came of it."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any

from fastnet.devices.impairment import PERFECT, Impairment, LinkDirection
from fastnet.sweep.aqm import make
from fastnet.sweep.arrivals import Arrivals
from fastnet.sweep.bottleneck import CROSS_SIZE, LIMIT, Bottleneck, Path
from fastnet.sweep.grid import Cell
from fastnet.sweep.trace import Trace
from fastnet.tcp.congestion.base import CongestionControl
from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from fastnet.twins import Twins

SECOND = 1_000_000_000
PORT = 5001
FIRST_PORT = 20000
"""Of the clients: flow n has this and n."""
CHUNK = bytes(1 << 16)
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Result:
    """What came of a cell, from its warm-up on.

    :ivar goodput: bits/s of data that the receiving programs read, of all flows together
    :ivar flow_goodputs: of each flow, while it was there
    :ivar utilisation: the part of ``Cell.capacity`` that left the bottleneck, with headers, retransmissions and cross traffic
    :ivar jain: Jain's index of ``flow_goodputs``: 1 when all get the same, 1/n when one gets all
    :ivar queue_p50, queue_p95, queue_p99: how long packets waited in the queue, seconds
    :ivar segments: with data, that arrived; ``retransmitted``: that were sent again
    :ivar needless: of those that arrived, with data that had arrived before; ``needless_bytes``: how many bytes
    :ivar timeouts: retransmission timers that fired
    :ivar dropped: at the bottleneck: by the policer, the discipline, or a full queue; ``policed``, ``early``: by the first two
    :ivar lost: behind the bottleneck; ``marked``: packets that the discipline marked
    :ivar failed: flows that ended with an error
    """

    cell: Cell
    goodput: float
    flow_goodputs: tuple[float, ...]
    utilisation: float
    jain: float
    queue_p50: float
    queue_p95: float
    queue_p99: float
    segments: int
    retransmitted: int
    needless: int
    needless_bytes: int
    timeouts: int
    dropped: int
    policed: int
    early: int
    lost: int
    marked: int
    failed: int
    trace: Trace | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; without the trace."""
        figures = asdict(replace(self, trace=None))
        del figures["trace"]
        return figures | {"cell": self.cell.as_dict(), "flow_goodputs": list(self.flow_goodputs)}


FIGURES = tuple(name for name in Result.__dataclass_fields__ if name not in ("cell", "flow_goodputs", "trace"))
"""The numbers of a result."""


def jain(values: list[float]) -> float:
    """Jain's index (Jain, Chiu and Hawe 1984): 1 when all are the same, 1/n when one is all; 0 when all are 0."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0


class Part:
    """The door of one endpoint.

    :param ready: what its program does with news, at a time
    """

    def __init__(self, ready: Callable[[int], None]) -> None:
        self.ready = ready


class Flow:
    """A program that sends as much as it can, and one that reads it.

    :ivar received: bytes
    """

    def __init__(self, control: type[CongestionControl]) -> None:
        self.control = control
        self.client: Connection | None = None
        self.server: Connection | None = None
        self.received = 0
        self.failed = False
        self.ended = False

    def write(self, now: int) -> None:
        """The client's connection has news."""
        client = self.client
        if client is None or self.ended:
            return
        if client.state == State.CLOSED:
            # The peer closes only after us.
            self.failed = self.ended = True
            return
        try:
            while client.send(CHUNK) == len(CHUNK):
                pass
        except OSError:
            self.failed = self.ended = True

    def read(self, now: int) -> None:
        """The server's connection has news."""
        server = self.server
        if server is None:
            return
        while data := server.receive(1 << 20):
            self.received += len(data)
        if server.fin_received:
            self.server = None
            server.close(now)

    def end(self, now: int) -> None:
        """The client aborts: after a close, what it has queued would still be sent, for seconds."""
        if self.client is not None and not self.ended:
            self.ended = True
            self.client.abort(now)


class Run:
    """A cell while it runs."""

    def __init__(self, cell: Cell, trace: Trace | None) -> None:
        self.cell = cell
        self.trace = trace
        settings = cell.stack_settings()
        self.twins = Twins(PERFECT, None, cell.seed, settings, settings, cell.mtu)
        self.start = self.twins.clock()
        self.end = self.at(cell.duration)
        rate = round(cell.rate)
        blackout = (self.at(cell.blackout_at), self.at(cell.blackout_at + cell.blackout)) if cell.blackout else (0, 0)
        forth = -(-round(cell.rtt * SECOND) // 2)
        path = Path(
            rate, forth, cell.queue_bytes(), cell.loss, round(cell.policer), cell.bucket, round(cell.cross * cell.rate), blackout
        )
        discipline = make(cell.discipline, path.queue, cell.rate, Random(f"{cell.seed} discipline"))
        self.bottleneck = Bottleneck(path, discipline, f"{cell.seed} forth", cell.mtu)
        # The time of a packet, at random, on the way back: else flows fall into step with the queue, and one finds it full each time
        # (Floyd and Jacobson 1992: phase effects).
        way_back = Impairment(loss=cell.ack_loss, delay=round(cell.rtt * SECOND) - forth, jitter=CROSS_SIZE * 8 * SECOND // rate)
        self.back = LinkDirection(way_back, f"{cell.seed} back", cell.mtu, LIMIT)
        link = self.twins.link
        link.forth = link.a.outgoing = link.b.incoming = self.bottleneck
        link.back = link.b.outgoing = link.a.incoming = self.back
        self.arrivals = Arrivals()
        self.bottleneck.passed = self.arrivals.packet
        if trace is not None:
            trace.watch(self.bottleneck, self.start)
        self.listener = self.twins.b.listen("0.0.0.0", PORT)
        self.listener.owner = Part(self.accept)
        controls = cell.controls()
        self.listener.needs_ecn = any(control.needs_ecn for control in controls)
        self.flows = [Flow(controls[index % len(controls)]) for index in range(cell.flows)]

    def at(self, seconds: float) -> int:
        """A time of the run, ns."""
        return self.start + round(seconds * SECOND)

    def go(self) -> Result:
        """From the beginning to the end."""
        cell = self.cell
        random = Random(f"{cell.seed} starts")
        schedule: list[tuple[int, Callable[[], None]]] = []
        begins = []
        for index in range(cell.flows):
            # Not two in the same instant, as no two programs begin.
            begin = cell.spacing * index + (random.random() * cell.rtt if index else 0.0)
            begin = min(begin, cell.duration)
            begins.append(begin)
            schedule.append((self.at(begin), lambda index=index: self.begin(index)))  # type: ignore[misc]
            if cell.hold and begin + cell.hold < cell.duration:
                schedule.append((self.at(begin + cell.hold), lambda index=index: self.flows[index].end(self.twins.clock())))  # type: ignore[misc]
        if cell.blackout:
            through = self.back.impairment
            schedule.append((self.at(cell.blackout_at), lambda: self.set_back(replace(through, loss=1.0))))
            schedule.append((self.at(cell.blackout_at + cell.blackout), lambda: self.set_back(through)))
        before: list[dict[str, int]] = []
        received: list[int] = []

        def measure_from_here() -> None:
            self.bottleneck.measuring = True
            before.append(self.counts())
            received.extend(flow.received for flow in self.flows)

        schedule.append((self.at(cell.warmup), measure_from_here))
        self.bottleneck.measuring = False
        self.bottleneck.start(self.start)
        for time, action in sorted(schedule, key=lambda entry: entry[0]):
            self.run_until(min(time, self.end))
            if time < self.end:
                action()
        self.run_until(self.end)
        after = self.counts()
        counts = {name: after[name] - before[0][name] for name in after}
        window = cell.duration - cell.warmup
        goodputs = []
        for flow, begin, earlier in zip(self.flows, begins, received, strict=True):
            until = min(begin + cell.hold, cell.duration) if cell.hold else cell.duration
            there = until - max(begin, cell.warmup)
            # One that was gone before the measurement began is not part of it.
            if there > 0:
                goodputs.append((flow.received - earlier) * 8 / there)
        delays = self.bottleneck.delays
        p50, p95, p99 = (delays.percentile(percent) / 1e6 for percent in PERCENTILES)
        return Result(
            cell,
            sum(flow.received - earlier for flow, earlier in zip(self.flows, received, strict=True)) * 8 / window,
            tuple(goodputs),
            self.bottleneck.busy / SECOND * cell.rate / (window * cell.capacity()),
            jain(goodputs),
            p50, p95, p99,
            failed=sum(flow.failed for flow in self.flows),
            trace=self.trace,
            **counts,
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """What is counted from the beginning of the run."""
        segments, needless, needless_bytes = self.arrivals.totals()
        tally, counters = self.bottleneck.tally, self.twins.a.counters
        return {
            "segments": segments, "retransmitted": counters.TcpRetransSegs, "needless": needless, "needless_bytes": needless_bytes,
            "timeouts": counters.TCPTimeouts, "dropped": tally.dropped, "policed": self.bottleneck.policed,
            "early": self.bottleneck.early, "lost": tally.lost, "marked": tally.marked,
        }  # fmt: skip

    def begin(self, index: int) -> None:
        """A flow connects."""
        flow = self.flows[index]
        control = flow.control
        flow.client = self.twins.a.connect(
            "198.18.0.2", PORT, local_port=FIRST_PORT + index, prepare=lambda client: client.set_congestion_control(control)
        )
        flow.client.owner = Part(flow.write)

    def set_back(self, impairment: Impairment) -> None:
        """What befalls the way back from now on."""
        self.back.impairment = impairment

    def run_until(self, time: int) -> None:
        """Let time pass, and the programs work."""
        twins, trace = self.twins, self.trace
        while twins.step(time):
            self.work(twins.clock())
            if trace is not None:
                trace.sample(self.flows[0].client, self.bottleneck.waiting, twins.clock())
        twins.clock.set(time)

    def work(self, now: int) -> None:
        """The programs do what there is to do for them."""
        for stack in (self.twins.a, self.twins.b):
            for endpoint in stack.take_ready():
                if endpoint.owner is not None:
                    endpoint.owner.ready(now)

    def accept(self, now: int) -> None:
        """Take what waits at the listener."""
        while (server := self.listener.accept()) is not None:
            flow = self.flows[server.handshake.flow.remote_port - FIRST_PORT]
            flow.server = server
            if self.listener.needs_ecn:
                server.set_congestion_control(flow.control)
            server.owner = Part(flow.read)
            flow.read(now)


def measure(cell: Cell, trace: bool = False) -> Result:
    """Run one cell.

    :param trace: keep what pictures are drawn from, of the first flow, in ``Result.trace``
    """
    return Run(cell, Trace() if trace else None).go()
