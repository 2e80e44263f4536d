"""One client, several servers, the same wire, in turn: handshakes per second and what each costs.

    client --- tun0 --- kernel (forwarding) --- tun1 --- server in user space
                           |
                           +--- the kernel's own stack, for its rows

All of it is in one private network namespace. The client has the first core, the server under test the second.

CPU per handshake is the server's process time where the server is a process in user space. The kernel's stack does most of its work in
the context of whoever hands it a packet, here the client; so for the kernel's rows it is the time that both cores were busy, less what
the client itself takes for a handshake. That is known from the floor row of the same round, where the client does the same.
"""

import os
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address
from typing import Any

from fastnet._tun import Tun
from fastnet.config import Settings
from fastnet.isolation import follow
from fastnet.load import servers
from fastnet.load._client import HandshakeClient
from fastnet.load.kinds import ROWS
from fastnet.netns import Namespace, sysctl

CLIENT_KERNEL = "198.18.0.1/30"
SOURCES_FIRST = "198.19.0.0"
SOURCES_NETWORK = "198.19.0.0/16"
SERVER_KERNEL = "198.18.1.1/24"
SERVER_ADDRESS = "198.18.1.2"
PORT = 8080
WARM_UPS = 20
"""Warm-ups at most until a first handshake is complete: on a busy machine, a server that is ready may wait for its turn."""
SCHEMA = 1
"""Version of ``Comparison.as_dict``: raised when a name in it goes or changes its meaning."""


@dataclass
class Sample:
    """One row in one round.

    :ivar rate: handshakes per second; ``cpu``: the server's CPU time for one, seconds; ``client_cpu``: the client's
    :ivar p50, p99: time from SYN to SYN-ACK as the client saw it, seconds
    """

    rate: float
    cpu: float
    client_cpu: float
    completed: int
    failures: int
    retransmissions: int
    p50: float
    p99: float


@dataclass
class Row:
    """Medians over the rounds; sums for what is counted."""

    name: str
    samples: list[Sample] = field(default_factory=list)

    def median(self, name: str) -> float:
        """The median over the rounds of one of ``Sample``'s numbers."""
        return float(statistics.median(getattr(sample, name) for sample in self.samples))

    def total(self, name: str) -> int:
        """The sum over the rounds of one of ``Sample``'s counts."""
        return sum(getattr(sample, name) for sample in self.samples)


@dataclass
class Comparison:
    """What was measured, and how."""

    rows: dict[str, Row]
    in_flight: int
    ending: str
    duration: float
    rounds: int

    def ratio(self, row: str, name: str) -> float | None:
        """A row's number over the kernel's, the median of the rounds' own ratios; None without a kernel row."""
        if "kernel" not in self.rows or row not in self.rows:
            return None
        pairs = zip(self.rows[row].samples, self.rows["kernel"].samples, strict=True)
        ratios = [getattr(ours, name) / getattr(theirs, name) for ours, theirs in pairs if getattr(theirs, name)]
        return statistics.median(ratios) if ratios else None

    def as_dict(self) -> dict[str, Any]:
        """For machines. Times in seconds."""
        return {
            "schema": SCHEMA,
            "in_flight": self.in_flight,
            "ending": self.ending,
            "duration": self.duration,
            "rounds": self.rounds,
            "rows": {
                name: {
                    "rate": row.median("rate"),
                    "rate_ratio": self.ratio(name, "rate"),
                    "cpu": row.median("cpu"),
                    "cpu_ratio": self.ratio(name, "cpu"),
                    "failures": row.total("failures"),
                    "retransmissions": row.total("retransmissions"),
                    "p50": row.median("p50"),
                    "p99": row.median("p99"),
                    "samples": [asdict(sample) for sample in row.samples],
                }
                for name, row in self.rows.items()
            },
        }


class ServerProcess:
    """A server in a forked child on one core, from ``__enter__`` on; killed at the end.

    :raises RuntimeError: it ended before it was ready
    """

    def __init__(self, serve: servers.Server, core: int) -> None:
        self.serve = serve
        self.core = core

    def __enter__(self) -> "ServerProcess":
        readable, writable = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                follow(parent)
                os.close(readable)
                os.sched_setaffinity(0, {self.core})
                def tell() -> None:
                    os.write(writable, b"!")

                self.serve(tell)
            finally:
                os._exit(1)
        os.close(writable)
        ready = os.read(readable, 1)
        os.close(readable)
        if not ready:
            os.waitpid(self.pid, 0)
            raise RuntimeError("the server under test ended before it was ready")
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def cpu(self) -> float:
        """CPU time so far, seconds: the clock of another process (clock_getcpuclockid(3))."""
        return time.clock_gettime(~self.pid << 3 | 2)


def busy() -> float:
    """Seconds that all cores together were busy since they started (/proc/stat)."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def measure(
    tun: Tun, serve: servers.Server, core: int, target: str, in_flight: int, ending: str, duration: float, seed: int, in_kernel: bool
) -> Sample:
    """One row, once. For a row in the kernel, ``cpu`` is all that was busy, the client too; ``run`` takes that off."""
    with ServerProcess(serve, core) as server:
        client = HandshakeClient(
            tun, int(IPv4Address(target)), PORT, int(IPv4Address(SOURCES_FIRST)), 65536, in_flight, ending, seed
        )
        for _ in range(WARM_UPS):
            client.run(min(0.2, duration / 4))
            if client.completed:
                break
        completed, refused, timed_out = client.completed, client.refused, client.timed_out
        retransmitted = client.retransmitted
        cpu = busy() if in_kernel else server.cpu()
        done = client.run(duration)
        cpu = (busy() if in_kernel else server.cpu()) - cpu
        if client.completed == completed:
            raise RuntimeError(f"no handshake came to an end (refused {client.refused}, timed out {client.timed_out})")
        return Sample(
            rate=done / client.seconds,
            cpu=cpu / done,
            client_cpu=client.cpu / done,
            completed=done,
            failures=client.refused - refused + client.timed_out - timed_out,
            retransmissions=client.retransmitted - retransmitted,
            p50=client.percentile(0.5),
            p99=client.percentile(0.99),
        )


def run(
    rows: Sequence[str] = ROWS,
    rounds: int = 5,
    duration: float = 2.0,
    in_flight: int = 128,
    ending: str = "server",
    settings: Settings | Mapping[str, int] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Compare, in a private namespace that the calling thread enters and leaves.

    :param rows: which of ``ROWS``; the floor is always measured where the kernel is
    :param rounds: each round has every row once; what is reported are medians
    :param duration: seconds for each row of a round
    :param ending: "server": the server resets after accept; "close": the client closes, and then the server
    :param settings: fastnet's, by their Linux names
    :raises OSError: no namespace, no TUN; the message says what to do
    :raises ValueError: a row that does not exist
    """
    unknown = set(rows) - set(ROWS)
    if unknown:
        raise ValueError(f"no row {', '.join(sorted(unknown))}; there are: {', '.join(ROWS)}")
    order = [name for name in ROWS if name in rows or name == "floor" and {"kernel", "asyncio"} & set(rows)]
    kernel_address = SERVER_KERNEL.partition("/")[0]
    result = Comparison({name: Row(name) for name in order}, in_flight, ending, duration, rounds)
    with Namespace() as namespace:
        tun0 = namespace.add_tun(CLIENT_KERNEL, "tun0")
        tun1 = namespace.add_tun(SERVER_KERNEL, "tun1")
        namespace.route(SOURCES_NETWORK, tun0)
        prepare_kernel()
        serve = {
            "fastnet": servers.fastnet(tun1, SERVER_ADDRESS, PORT, ending, settings or {}),
            "kernel": servers.kernel(kernel_address, PORT, ending),
            "asyncio": servers.asyncio_on_kernel(kernel_address, PORT, ending),
            "floor": servers.floor(tun1, ending),
        }
        affinity = os.sched_getaffinity(0)
        cores = sorted(affinity)
        os.sched_setaffinity(0, {cores[0]})
        try:
            for turn in range(rounds):
                # Every round begins with another row, so that drift of the machine falls on all alike.
                for name in order[turn % len(order) :] + order[: turn % len(order)]:
                    progress(f"round {turn + 1} of {rounds}: {name}")
                    in_kernel = name in ("kernel", "asyncio")
                    target = kernel_address if in_kernel else SERVER_ADDRESS
                    seed = (turn * len(ROWS) + ROWS.index(name)) * 100_000_007
                    sample = measure(tun0, serve[name], cores[1 % len(cores)], target, in_flight, ending, duration, seed, in_kernel)
                    result.rows[name].samples.append(sample)
                for name in {"kernel", "asyncio"} & set(order):
                    sample = result.rows[name].samples[turn]
                    sample.cpu = max(0.0, sample.cpu - result.rows["floor"].samples[turn].client_cpu)
        finally:
            os.sched_setaffinity(0, affinity)
    if "floor" not in rows:
        result.rows.pop("floor", None)
    return result


def prepare_kernel() -> None:
    """The namespace's kernel as a tuned server: forwarding, deep queues, cookies when a queue is full, no limit on RSTs or TIME-WAIT."""
    for name, value in {
        "net.ipv4.ip_forward": 1,
        "net.ipv4.conf.all.rp_filter": 0,
        "net.ipv4.conf.default.rp_filter": 0,
        "net.core.somaxconn": servers.BACKLOG,
        "net.ipv4.tcp_max_syn_backlog": 4 * servers.BACKLOG,
        "net.ipv4.tcp_syncookies": 1,
    }.items():
        sysctl(name, value)
