"""Fastnet and the kernel's stack over one long or lossy path, in one run.

    python bench/path_compare.py [--rounds 5] [--duration 5] [--warm-up 3] [--rate 100]      # takes root, or user namespaces

    sender --- TUN --- wire --- TUN --- receiver

Each end is in a network namespace of its own. The wire is a process that carries packets of at most 1,500 bytes from one TUN device to the
other, through a ``LinkDirection`` for each way: a rate with a drop-tail queue, a delay, losses. Both kernels and fastnet use the same
wire: an end on fastnet has a TUN device with offload, whose packets the kernel forwards to the wire's and cuts to the MTU on the way.

The first row of each table is kernel to kernel, in the second fastnet sends (or asks), in the third it receives (or answers). All of them
meet the same seed in one round, and a ratio is the median of the rounds' ratios. Losses befall both ways, so data and ACKs.

The wire is Python: it is late when the machine is busy. Each row tells how late (p99) and how much of a core the wire took. Where that is
much, the wire was measured, and a lower ``--rate`` is right.
"""

import argparse
import ctypes
import multiprocessing
import os
import platform
import re
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from fastnet._ring import PacketRing
from fastnet._timer import NEVER
from fastnet._tun import Tun
from fastnet.devices.impairment import Impairment, LinkDirection
from fastnet.driver import Driver
from fastnet.isolation import CLONE_NEWNET, follow, libc
from fastnet.netns import Namespace, isolated, sysctl
from fastnet.socket import Socket, create_connection, create_server
from fastnet.stack import Stack
from fastnet.tcpinfo import TcpInfo

PORT = 8080
MTU = 1500
CHUNK = 1 << 18
TIMEOUT = 20.0
LIMIT = 1 << 16
"""Packets that may be under way on the wire."""
TXQUEUE = 5000
"""Packets that a TUN device keeps until the wire reads them: a forwarded packet of 64 KiB is 45 of them at once."""
MILLISECOND = 1_000_000
LEFT = "198.18.0.1/24", "198.18.1.1/24", "198.18.1.2"
RIGHT = "198.18.128.1/24", "198.18.129.1/24", "198.18.129.2"
"""The kernel on the wire, the kernel on fastnet's device, and fastnet."""
NETWORKS = "198.18.0.0/17", "198.18.128.0/17"
WINDOWS = {"tcp_rmem": (4096, 131072, 6291456), "tcp_wmem": (4096, 16384, 4194304)}
"""Of both stacks."""
TOKEN = re.compile(rb"<(there|back) \d+>")
"""The wire loses the first packet that has such a text and goes that way."""
ROWS = {"kernel to kernel": (False, False), "fastnet to kernel": (True, False), "kernel to fastnet": (False, True)}
"""Is the sender fastnet, is the receiver?"""

AnySocket = socket.socket | Socket
fork = multiprocessing.get_context("fork")


class Way(LinkDirection):
    """One way of the wire.

    :ivar lateness: ns that packets waited beyond their time, each time that some were delivered
    """

    def __init__(self, impairment: Impairment, seed: str, token: bytes) -> None:
        super().__init__(impairment, seed, MTU, LIMIT)
        self.token = token
        self.lost_once: set[bytes] = set()
        self.lateness: list[int] = []

    def carry(self, packet: bytes) -> list[bytes]:
        """As it is done anywhere, but the first packet with a token is lost."""
        found = TOKEN.search(packet)
        if found and found[1] == self.token and found[0] not in self.lost_once:
            self.lost_once.add(found[0])
            self.tally.lost += 1
            return []
        return super().carry(packet)


def wire(left: Tun, right: Tun, impairment: Impairment, seed: int, control: Pipe) -> None:
    """Carry packets until somebody says something; then tell how it went."""
    # What is measured is the ends: the wire comes first where it may.
    with suppress(OSError):
        os.nice(-10)
    ring = PacketRing(256, 2048)
    ways = [(left, right, Way(impairment, f"{seed} there", b"there")), (right, left, Way(impairment, f"{seed} back", b"back"))]
    inputs: list[Tun | Pipe] = [left, right, control]
    clock = time.monotonic_ns
    started = clock()
    control.send("ready")
    while True:
        due = min(way.next_delivery() for _, _, way in ways)
        ready, _, _ = select.select(inputs, [], [], None if due == NEVER else max(0, due - clock()) / 1e9)
        if control in ready:
            break
        for source, target, way in ways:
            while source.receive(ring):
                packets = [ring.packet(slot).tobytes() for slot in range(ring.count)]
                ring.clear()
                way.send(packets, clock())
            now = clock()
            if (due := way.next_delivery()) <= now:
                way.lateness.append(now - due)
                while way.deliver(ring, now):
                    target.transmit(ring)
                    ring.clear()
    late = sorted(way for _, _, each in ways for way in each.lateness)
    (_, _, there), (_, _, back) = ways
    control.send({
        "late": late[len(late) * 99 // 100] / 1e6 if late else 0.0,
        "busy": time.process_time() / ((clock() - started) / 1e9),
        "there": str(there.tally),
        "back": str(back.tally),
        "dropped": there.tally.dropped,
        "packets": there.tally.packets,
    })  # fmt: skip


class End:
    """One end of the path, in a process of its own: sockets of fastnet or of the kernel.

    :param tun: fastnet's device; None: the kernel
    """

    def __init__(self, tun: Tun | None, addresses: tuple[str, str, str], control: str) -> None:
        self.tun = tun
        self.control = control
        self.address = addresses[0].partition("/")[0] if tun is None else addresses[2]
        self.driver: Driver | None = None

    def start(self) -> Driver | None:
        """The driver of fastnet's stack, once."""
        if self.tun is not None and self.driver is None:
            self.driver = Driver(Stack(self.tun, (self.address,), {**WINDOWS, "tcp_congestion_control": self.control}))
            self.driver.start()
        return self.driver

    def connect(self, address: str) -> AnySocket:
        """A connection."""
        driver = self.start()
        if driver is not None:
            return self.prepared(create_connection(driver, (address, PORT), timeout=TIMEOUT))
        sock = self.prepared(socket.socket())
        sock.connect((address, PORT))
        return sock

    def listen(self) -> AnySocket:
        """A listener."""
        driver = self.start()
        return self.prepared(socket.create_server((self.address, PORT)) if driver is None else create_server(driver, (self.address, PORT)))

    def prepared(self, sock: AnySocket) -> AnySocket:
        """The same, with the congestion control and a timeout."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self.control.encode())
        sock.settimeout(TIMEOUT)
        return sock


Role = Callable[[End, str, Pipe], None]
"""What an end does: itself, the other end's address, and a pipe to the caller."""


def info(sock: AnySocket) -> TcpInfo:
    """TCP_INFO of either stack."""
    return TcpInfo.of(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 512))


def send_bulk(end: End, other: str, control: Pipe) -> None:
    """As many bytes as go through until the caller says something; then what TCP_INFO says."""
    data = bytes(CHUNK)
    with end.connect(other) as sock:
        sock.settimeout(0.1)
        while not control.poll():
            with suppress(TimeoutError):
                sock.send(data)
        control.send(info(sock))


def receive_bulk(warm_up: float, duration: float) -> Role:
    """Count what comes after some seconds, for some seconds: bytes per second."""

    def receive(end: End, _other: str, control: Pipe) -> None:
        with end.listen() as listener:
            control.send("ready")
            sock, _ = listener.accept()
        buffer = bytearray(CHUNK)
        sock.settimeout(TIMEOUT)
        total = sock.recv_into(buffer)
        sock.settimeout(0.1)
        start = time.monotonic() + warm_up
        before = 0
        begun = 0.0
        while True:
            with suppress(TimeoutError):
                total += sock.recv_into(buffer)
            now = time.monotonic()
            if not begun and now >= start:
                begun, before = now, total
            elif begun and now >= begun + duration:
                break
        control.send((total - before) / (now - begun))
        control.recv()

    return receive


def ask(end: End, other: str, control: Pipe) -> None:
    """Seconds until an answer: of a usual request, of the first of a connection, lost once, of a later one, and of an answer lost once."""
    waits: dict[str, float] = {}

    def exchange(sock: AnySocket, name: str, text: bytes) -> None:
        start = time.monotonic()
        sock.sendall(text.ljust(100))
        left = 100
        while left:
            left -= len(sock.recv(left))
        waits[name] = time.monotonic() - start

    with end.connect(other) as sock:
        exchange(sock, "first request lost", b"<there 1>")
    with end.connect(other) as sock:
        for _ in range(3):
            exchange(sock, "nothing lost", b"request")
        exchange(sock, "later request lost", b"<there 2>")
        for _ in range(3):
            exchange(sock, "nothing lost", b"request")
        exchange(sock, "answer lost", b"<back 3>")
    control.send(waits)
    control.recv()


def answer(end: End, _other: str, control: Pipe) -> None:
    """Send back what comes."""
    with end.listen() as listener:
        control.send("ready")
        while True:
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(TIMEOUT)
                while data := sock.recv(CHUNK):
                    sock.sendall(data)


def enter(namespace: int) -> None:
    """Move the calling process to a network namespace."""
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "into a network namespace of our own")


@contextmanager
def child(run: Callable[[Pipe], None]) -> Iterator[Pipe]:
    """A forked process that is killed at the end, and the pipe to it."""
    here, there = fork.Pipe()
    parent = os.getpid()

    def main() -> None:
        follow(parent)
        here.close()
        run(there)

    process = fork.Process(target=main, daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        process.kill()
        process.join()
        here.close()


def heard(pipe: Pipe, seconds: float = TIMEOUT) -> Any:
    """The next thing that a child says.

    :raises RuntimeError: it says nothing, or has ended
    """
    if not pipe.poll(seconds):
        raise RuntimeError(f"nothing was heard for {seconds} s")
    try:
        return pipe.recv()
    except EOFError:
        raise RuntimeError("a process of the path has ended too early") from None


@dataclass
class Run:
    """One row, once. ``result``: of the left end's role or the right one's; ``wire``: what the wire tells; ``sender``: TCP_INFO."""

    result: Any
    wire: dict[str, Any]
    sender: TcpInfo | None = None


def prepare(namespace: Namespace, addresses: tuple[str, str, str], far: str, fastnet: bool) -> tuple[Tun, Tun | None]:
    """The wire's device and fastnet's, in the namespace that the caller is in."""
    wired = namespace.add_tun(addresses[0], "wire", MTU, queue=TXQUEUE)
    namespace.route(far, wired)
    sysctl("net.ipv4.ip_forward", 1)
    sysctl("net.ipv4.tcp_no_metrics_save", 1)
    for name, sizes in WINDOWS.items():
        sysctl(f"net.ipv4.{name}", " ".join(map(str, sizes)))
    return wired, namespace.add_tun(addresses[1], "fastnet0", MTU, offload=True, queue=TXQUEUE) if fastnet else None


def run(row: str, control: str, impairment: Impairment, seed: int, left_role: Role, right_role: Role, duration: float) -> Run:
    """One row, once, in namespaces that are gone afterwards, with all that was under way.

    :param duration: seconds that the roles may take beyond what it takes to begin
    """
    left_fastnet, right_fastnet = ROWS[row]
    with Namespace() as left:
        left_wire, left_tun = prepare(left, LEFT, NETWORKS[1], left_fastnet)
        inside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with Namespace() as right:
                right_wire, right_tun = prepare(right, RIGHT, NETWORKS[0], right_fastnet)
                left_end, right_end = End(left_tun, LEFT, control), End(right_tun, RIGHT, control)

                def on_the_left(pipe: Pipe) -> None:
                    enter(inside)
                    left_role(left_end, right_end.address, pipe)

                with (
                    child(lambda pipe: wire(left_wire, right_wire, impairment, seed, pipe)) as wire_pipe,
                    child(lambda pipe: right_role(right_end, left_end.address, pipe)) as right_pipe,
                ):
                    heard(wire_pipe)
                    heard(right_pipe)
                    with child(on_the_left) as left_pipe:
                        bulk = left_role is send_bulk
                        result = heard(right_pipe if bulk else left_pipe, duration + TIMEOUT)
                        left_pipe.send("enough")
                        sender = heard(left_pipe) if bulk else None
                        wire_pipe.send("enough")
                        return Run(result, heard(wire_pipe), sender)
        finally:
            os.close(inside)


def impaired(rtt: int, rate: int, loss: float = 0.0) -> Impairment:
    """One way of a path, with a queue of a bandwidth-delay product, 100 packets at least.

    :param rtt: ms; ``rate``: Mbit/s
    """
    return Impairment(loss=loss, delay=rtt * MILLISECOND // 2, rate=rate * 1_000_000, queue=max(100, rate * 1000 * rtt // (8 * MTU)))


def rounds_of(options: argparse.Namespace, once: Callable[[str, int], Run]) -> dict[str, list[Run]]:
    """All rows in all rounds, one after the other, each round beginning with another."""
    runs: dict[str, list[Run]] = {row: [] for row in ROWS}
    names = list(ROWS)
    for turn in range(options.rounds):
        for row in names[turn % len(names) :] + names[: turn % len(names)]:
            runs[row].append(once(row, options.seed + turn))
            if options.verbose:
                print(f"  {turn} {row}: {runs[row][-1]}", flush=True)
    return runs


def median_ratio(values: Iterable[float], reference: Iterable[float]) -> float:
    """Of the rounds' ratios."""
    return statistics.median(a / b if b else float("inf") for a, b in zip(values, reference, strict=True))


def bulk_table(options: argparse.Namespace, control: str, rtt: int, loss: float) -> None:
    """Bytes per second over one path, with one congestion control."""
    impairment = impaired(rtt, options.rate, loss)
    receive = receive_bulk(options.warm_up, options.duration)
    seconds = options.warm_up + options.duration
    runs = rounds_of(options, lambda row, seed: run(row, control, impairment, seed, send_bulk, receive, seconds))
    reference = [each.result for each in runs["kernel to kernel"]]
    print(f"\n{control}, {rtt} ms, {loss:.0%} lost, {options.rate} Mbit/s, a queue of {impairment.queue} packets")
    print(f"{'':20}{'bytes/s':>12}{'ratio':>7}{'line':>7}{'sent again':>12}{'dropped':>9}{'SRTT ms':>9}{'late ms':>9}{'wire':>6}")
    for row, own in runs.items():
        rates = [each.result for each in own]
        senders = [each.sender for each in own if each.sender is not None]
        rate = statistics.median(rates)
        print(
            f"{row:20}{rate:12,.0f}{median_ratio(rates, reference):7.2f}{rate * 8 / options.rate / 1e6:7.1%}"
            f"{statistics.median(each.total_retrans for each in senders):12,.0f}"
            f"{statistics.median(each.wire['dropped'] for each in own):9,.0f}"
            f"{statistics.median(each.rtt for each in senders) / 1000:9.1f}"
            f"{statistics.median(each.wire['late'] for each in own):9.2f}{statistics.median(each.wire['busy'] for each in own):6.0%}",
            flush=True,
        )


def request_table(options: argparse.Namespace, rtt: int) -> None:
    """Time until an answer, when exactly one packet is lost, once."""
    impairment = impaired(rtt, options.rate)
    runs = rounds_of(options, lambda row, seed: run(row, "cubic", impairment, seed, ask, answer, 4.0))
    names = list(runs["kernel to kernel"][0].result)
    medians = {row: {name: statistics.median(each.result[name] for each in own) * 1000 for name in names} for row, own in runs.items()}
    print(f"\nms until the answer, {rtt} ms, one packet lost, once")
    print(f"{'':20}" + "".join(f"{name:>20}" for name in names))
    for row, of in medians.items():
        print(f"{row:20}" + "".join(f"{of[name]:20.1f}" for name in names), flush=True)
    for row, of in list(medians.items())[1:]:
        print(f"{row}, less".ljust(25) + "".join(f"{of[n] - medians['kernel to kernel'][n]:+15.1f}".rjust(20) for n in names)[5:])


def processor() -> str:
    """Its name."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def measure(options: argparse.Namespace) -> int:
    """All tables."""
    system = f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    print(f"{system}, load {os.getloadavg()[0]:.1f}")
    if "bulk" in options.tables:
        for control in options.controls:
            bulk_table(options, control, 50, 0.0)
    if "loss" in options.tables:
        for control in options.controls:
            for loss in options.losses:
                bulk_table(options, control, 10, loss / 100)
    if "request" in options.tables:
        request_table(options, 50)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")
    return 0


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=float, default=5.0, help="seconds that are measured")
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds before them")
    parser.add_argument("--rate", type=int, default=100, help="of the wire, Mbit/s")
    parser.add_argument("--controls", nargs="+", default=["cubic", "reno"])
    parser.add_argument("--losses", nargs="+", type=float, default=[3.0, 10.0], help="percent")
    parser.add_argument("--tables", nargs="+", default=["bulk", "loss", "request"], choices=["bulk", "loss", "request"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="each run, with TCP_INFO of its sender")
    options = parser.parse_args()
    sys.exit(isolated(lambda: measure(options)))


if __name__ == "__main__":
    main()
