"""Floods, and what becomes of honest clients meanwhile: fastnet and the kernel's stack, each under the same flood.

    flood --- tun0 --- kernel (forwarding) --- tun1 --- fastnet, or the floor
                           |    |
     honest clients --- veth    veth --- the kernel's own stack, on a host of its own

The flood and the honest clients share the first core, the server has the second. That goes for the kernel's stack too: its host works on
what arrives on the second core (receive packet steering), as a server's network card would have it, and not in the context of whoever
writes the flood, which would be the slower the more work it made. All rows get the same packets at the same rate, from the same seed.

The servers and the honest clients come before other programs where that is allowed (SCHED_RR): softirqs, in which the kernel's stack
works, do so anyway.

CPU per packet is the server's process time, and for the kernel's row the time that the second core spent in softirqs besides, in which
other programs' packets count too.
"""

import errno
import json
import os
import resource
import select
import signal
import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from fastnet._tun import Tun
from fastnet.config import Settings, no_such
from fastnet.load import honest, servers
from fastnet.load._flood import Flood
from fastnet.load.compare import (
    CLIENT_KERNEL,
    PORT,
    SERVER_ADDRESS,
    SERVER_KERNEL,
    SOURCES_FIRST,
    SOURCES_NETWORK,
    ServerProcess,
    prepare_kernel,
)
from fastnet.load.honest import HonestClients, Outcome, take_precedence
from fastnet.load.hosts import Host
from fastnet.load.kinds import FLOODS as KINDS
from fastnet.netns import Namespace

HONEST = ("198.18.2.1/24", "198.18.2.2/24")
KERNEL = ("198.18.3.1/24", "198.18.3.2/24")
"""Gateway and address of the honest clients' host, and of the kernel's."""
SCHEMA = 1
"""Version of ``Floods.as_dict``: raised when a name in it goes or changes its meaning."""
ROWS = ("fastnet", "kernel", "floor")
QUEUE = 1000
"""Packets that may wait at each TUN device: as many as the kernel lets wait for a core (net.core.netdev_max_backlog)."""
ASLEEP = 10.0
"""Seconds in which the accept loop accepts nothing, in a flood of that kind."""
DRIBBLES = 1000
"""Connections of a slowloris, each of which sends a byte a second and never a whole request."""
LIVE = 4
"""Connections that last, at which bad segments are aimed."""
WARM_UP = 0.05
"""Seconds of the flood that come before the first honest client."""


@dataclass
class Sample:
    """One row in one round. Times in seconds.

    :ivar sent: packets that were written; ``rate``: of those, each second
    :ivar cpu: the server's CPU time for one
    :ivar ok, failed: honest clients; ``errors``: why they failed
    :ivar handshake_p50, handshake_p99: from ``connect`` to connected; ``exchange_p50``, ``exchange_p99``: to the server's FIN
    :ivar cookies_sent, cookies_received: the server's SyncookiesSent and SyncookiesRecv
    :ivar growth: of the server's resident memory, bytes; 0 for the kernel
    :ivar live: connections that lasted, whose bytes all came back as they were
    """

    sent: int
    rate: float
    cpu: float
    ok: int = 0
    failed: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    handshake_p50: float = 0.0
    handshake_p99: float = 0.0
    exchange_p50: float = 0.0
    exchange_p99: float = 0.0
    cookies_sent: int = 0
    cookies_received: int = 0
    growth: int = 0
    live: int = 0
    counters: dict[str, int] = field(default_factory=dict)


@dataclass
class Floods:
    """What was measured, and how."""

    kind: str
    packets: int
    rate: float
    clients: int
    rounds: int
    rows: dict[str, list[Sample]]

    def median(self, row: str, name: str) -> float:
        """The median over the rounds of one of ``Sample``'s numbers."""
        return float(statistics.median(getattr(sample, name) for sample in self.rows[row]))

    def total(self, row: str, name: str) -> int:
        """The sum over the rounds of one of ``Sample``'s counts."""
        return sum(getattr(sample, name) for sample in self.rows[row])

    def ratio(self, row: str, name: str, to: str) -> float | None:
        """A row's number over another row's, the median of the rounds' own ratios; None where there is no such row or number."""
        if to not in self.rows or row not in self.rows:
            return None
        pairs = zip(self.rows[row], self.rows[to], strict=True)
        ratios = [getattr(ours, name) / getattr(theirs, name) for ours, theirs in pairs if getattr(theirs, name)]
        return statistics.median(ratios) if ratios else None

    def as_dict(self) -> dict[str, Any]:
        """For machines. Times in seconds."""
        return {
            "schema": SCHEMA,
            "flood": self.kind,
            "packets": self.packets,
            "rate": self.rate,
            "clients": self.clients,
            "rounds": self.rounds,
            "rows": {
                name: {
                    "rate": self.median(name, "rate"),
                    "cpu": self.median(name, "cpu"),
                    "cpu_to_floor": self.ratio(name, "cpu", "floor"),
                    "ok": self.total(name, "ok"),
                    "failed": self.total(name, "failed"),
                    **{
                        time_of: self.median(name, time_of)
                        for time_of in ("handshake_p50", "handshake_p99", "exchange_p50", "exchange_p99")
                    },
                    "cookies_sent": self.total(name, "cookies_sent"),
                    "cookies_received": self.total(name, "cookies_received"),
                    "growth": max(sample.growth for sample in samples),
                    "samples": [asdict(sample) for sample in samples],
                }
                for name, samples in self.rows.items()
            },
        }


def run(
    kind: str = "syn",
    packets: int = 2_000_000,
    rate: float = 200_000,
    clients: int = 1000,
    rounds: int = 3,
    rows: Sequence[str] = ROWS,
    settings: Settings | Mapping[str, int] | None = None,
    backlog: int = servers.BACKLOG,
    asleep: float = ASLEEP,
    progress: Callable[[str], None] = lambda text: None,
) -> Floods:
    """Flood each server in turn, in private namespaces; the calling thread enters one and leaves it.

    :param kind: one of ``KINDS``
    :param packets: of the flood; for a slowloris, of its connections' bytes
    :param rate: packets each second; 0: as fast as the device takes them
    :param clients: honest clients, which come evenly over the time that the flood should last
    :param rounds: each has every row once; what is reported are medians
    :param rows: which of ``ROWS``; the floor is left out where a flood is not of packets
    :param settings: fastnet's, by their Linux names
    :param backlog: of both servers' listeners
    :param asleep: seconds in which nothing is accepted, for a flood of that kind
    :raises OSError: no namespace, no TUN; the message says what to do
    :raises ValueError: a kind or a row that does not exist
    """
    if kind not in KINDS:
        raise ValueError(no_such("flood", kind, KINDS))
    if unknown := set(rows) - set(ROWS):
        raise ValueError(f"no row {', '.join(sorted(unknown))}; there are: {', '.join(ROWS)}")
    order = [name for name in ROWS if name in rows and not (name == "floor" and kind == "slowloris")]
    result = Floods(kind, packets, rate, clients, rounds, {name: [] for name in order})
    affinity = os.sched_getaffinity(0)
    cores = sorted(affinity)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Namespace() as namespace:
        tun0 = namespace.add_tun(CLIENT_KERNEL, "tun0", queue=QUEUE)
        tun1 = namespace.add_tun(SERVER_KERNEL, "tun1", queue=QUEUE)
        namespace.route(SOURCES_NETWORK, tun0)
        prepare_kernel()
        first, second = cores[0], cores[1 % len(cores)]
        with Host(namespace, "honest", *HONEST) as theirs, Host(namespace, "kernel", *KERNEL, (second,)) as kernel:
            os.sched_setaffinity(0, {first})
            try:
                with HonestClients(theirs, first) as visitors:
                    attack = Attack(kind, packets, rate, clients, tun0, tun1, kernel, visitors, second, backlog, settings or {}, asleep)
                    for turn in range(rounds):
                        for name in order[turn % len(order) :] + order[: turn % len(order)]:
                            progress(f"round {turn + 1} of {rounds}: {name}")
                            result.rows[name].append(attack.measure(name, turn))
            finally:
                os.sched_setaffinity(0, affinity)
    return result


@dataclass
class Attack:
    """One kind of flood, and everything that it takes."""

    kind: str
    packets: int
    rate: float
    clients: int
    tun0: Tun
    tun1: Tun
    kernel: Host
    visitors: HonestClients
    core: int
    backlog: int
    settings: Settings | Mapping[str, int]
    asleep: float

    def measure(self, row: str, turn: int) -> Sample:
        """One row, once."""
        target = KERNEL[1].partition("/")[0] if row == "kernel" else SERVER_ADDRESS
        asleep = self.asleep if self.kind == "asleep" else 0.0
        hear, tell = os.pipe()
        serve = {
            "fastnet": servers.answering(self.tun1, SERVER_ADDRESS, PORT, self.settings, self.backlog, tell, asleep),
            "kernel": servers.answering_on_kernel(target, PORT, self.backlog, asleep),
            "floor": servers.floor(self.tun1, "server"),
        }[row]
        try:
            with ServerProcess(self.prepared(serve, row), self.core) as server:
                size, cpu, before = resident(server.pid), self.cpu(server, row), kernel_counters(self.kernel)
                sent, seconds, outcome = self.flood(target, row != "floor", turn)
                cpu = self.cpu(server, row) - cpu
                growth = resident(server.pid) - size
                counters: dict[str, int] = {}
                if row == "fastnet":
                    os.kill(server.pid, signal.SIGUSR1)
                    counters = json.loads(os.read(hear, 1 << 16))
                elif row == "kernel":
                    counters = {name: value - before.get(name, 0) for name, value in kernel_counters(self.kernel).items()}
        finally:
            os.close(hear)
            os.close(tell)
        return Sample(
            sent=sent,
            rate=sent / seconds,
            cpu=cpu / max(1, sent),
            ok=outcome.ok,
            failed=sum(outcome.errors.values()),
            errors=outcome.errors,
            handshake_p50=percentile(outcome.handshakes, 0.5),
            handshake_p99=percentile(outcome.handshakes, 0.99),
            exchange_p50=percentile(outcome.exchanges, 0.5),
            exchange_p99=percentile(outcome.exchanges, 0.99),
            cookies_sent=counters.get("SyncookiesSent", 0),
            cookies_received=counters.get("SyncookiesRecv", 0),
            growth=0 if row == "kernel" else growth,
            live=outcome.live,
            counters={name: value for name, value in counters.items() if value},
        )

    def prepared(self, serve: servers.Server, row: str) -> servers.Server:
        """A server where it belongs: ahead of other programs, and for the kernel's row on its host, tuned as the namespace is."""

        def there(ready: Callable[[], None]) -> None:
            take_precedence()
            if row == "kernel":
                self.kernel.enter()
                prepare_kernel()
            serve(ready)

        return there

    def cpu(self, server: ServerProcess, row: str) -> float:
        """CPU time that a server has taken so far, seconds."""
        return server.cpu() + (softirqs(self.core) if row == "kernel" else 0.0)

    def flood(self, target: str, visited: bool, turn: int) -> tuple[int, float, Outcome]:
        """The flood, and the clients in it: packets sent, seconds, what became of the clients."""
        # Clients come as long as the flood goes; without a rate, as long as the quickest device would take.
        seconds = self.packets / (self.rate or 700_000) if self.kind != "slowloris" else max(1.0, self.packets / DRIBBLES)
        live = LIVE if self.kind == "data" else 0
        flows = [(int(IPv4Address(HONEST[1].partition("/")[0])), honest.LIVE_PORT + i) for i in range(live)]

        def visit() -> None:
            if visited:
                patience = 30.0 + self.asleep * (self.kind == "asleep")
                self.visitors.begin(target, PORT, self.clients, seconds, live, turn, patience)

        if self.kind == "slowloris":
            visit()
            sent, lasted = dribble(target, min(DRIBBLES, self.packets), seconds)
        else:
            kind = "syn" if self.kind == "asleep" else self.kind
            flood = Flood(self.tun0, int(IPv4Address(target)), PORT, int(IPv4Address(SOURCES_FIRST)), 65536, turn)
            first = int(WARM_UP * self.rate) if self.rate else self.packets // 100
            flood.run(kind, first, self.rate, flows)
            lasted = flood.seconds
            visit()
            flood.run(kind, self.packets - first, self.rate, flows)
            sent, lasted = flood.sent, lasted + flood.seconds
        return sent, lasted, self.visitors.finish() if visited else Outcome()


def dribble(target: str, count: int, seconds: float) -> tuple[int, float]:
    """A slowloris: connections that send a byte a second each; bytes sent, and seconds."""
    poll = select.epoll()
    socks: dict[int, socket.socket] = {}
    started = time.monotonic()
    sent = 0
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        failed = sock.connect_ex((target, PORT))
        if failed not in (0, errno.EINPROGRESS):
            raise OSError(failed, os.strerror(failed))
        socks[sock.fileno()] = sock
        poll.register(sock, select.EPOLLOUT)
    # The first bytes go half a second later, when those that are let in are connected.
    due = started + 0.5
    while due < started + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        due += 1.0
        for fd, _ in poll.poll(0, count):
            try:
                sent += socks[fd].send(b"G")
            except OSError:
                # Turned away by the server.
                poll.unregister(fd)
                socks.pop(fd).close()
    time.sleep(max(0.0, started + seconds - time.monotonic()))
    poll.close()
    for sock in socks.values():
        sock.close()
    return sent, time.monotonic() - started


def percentile(times: list[float], share: float) -> float:
    """What a share (0 to 1) of some times does not exceed; 0 without any."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] if times else 0.0


def resident(process: int) -> int:
    """Bytes of memory that a process has resident."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def softirqs(core: int) -> float:
    """Seconds that a core has spent in softirqs, those of ksoftirqd included (/proc/stat)."""
    with open("/proc/stat") as file:
        for line in file:
            name, *times = line.split()
            if name == f"cpu{core}":
                return int(times[6]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def kernel_counters(host: Host) -> dict[str, int]:
    """What ``nstat`` shows of a host (/proc/net/netstat)."""
    lines = Path(f"/proc/{host.pid}/net/netstat").read_text().splitlines()
    counters: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        counters.update(zip(names.split()[1:], map(int, values.split()[1:]), strict=True))
    return counters
