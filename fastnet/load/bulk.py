"""How many bytes one connection carries: the kernel's stack over veth, and fastnet over TUN, with one client and on one machine."""

import os
import signal
import socket
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastnet.config import Settings
from fastnet.isolation import follow
from fastnet.load import servers
from fastnet.load.compare import ServerProcess
from fastnet.netns import Namespace, configure_link

SCHEMA = 1
ROWS = {
    "kernel": "kernel, veth",
    "offload": "fastnet, offload",
    "plain": "fastnet, 1,500 bytes a packet",
}
DIRECTIONS = ("to", "from")
"""To the server, and from it."""
CHUNK = 1 << 18
PORT = 8080
WARM_UP = 0.2
"""Seconds that are not measured: slow start, windows that grow."""
TIMEOUT = 10.0

ADDRESSES = {
    "kernel": ("198.18.2.1/24", "198.18.2.2"),
    "offload": ("198.18.0.1/24", "198.18.0.2"),
    "plain": ("198.18.1.1/24", "198.18.1.2"),
}
"""The client's kernel with its network, and the server, on each wire."""


@dataclass
class Bulk:
    """What was measured: bytes per second of each row and direction, one for each round."""

    rounds: int
    duration: float
    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def median(self, name: str, direction: str) -> float:
        """The median round, bytes/s."""
        return statistics.median(self.samples[name, direction])

    def as_dict(self) -> dict[str, Any]:
        """For JSON; rates in bytes/s."""
        return {
            "schema": SCHEMA,
            "bulk": True,
            "rounds": self.rounds,
            "duration": self.duration,
            "rows": {
                name: {
                    direction: {
                        "rate": self.median(name, direction),
                        "ratio": self.median(name, direction) / self.median("kernel", direction),
                        "samples": self.samples[name, direction],
                    }
                    for direction in DIRECTIONS
                }
                for name in ROWS
            },
        }


def run(
    rounds: int = 5,
    duration: float = 2.0,
    settings: Settings | Mapping[str, int] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Bulk:
    """Compare, in private namespaces; the calling thread enters one and leaves it.

    :param duration: seconds for each row and direction of a round
    :raises OSError: no namespace, no TUN, no CUBIC in this kernel; the message says what to do
    """
    result = Bulk(rounds, duration)
    affinity = os.sched_getaffinity(0)
    cores = sorted(affinity)
    client_core, server_core = cores[0], cores[1 % len(cores)]
    with Namespace() as namespace:
        tuns = {name: namespace.add_tun(ADDRESSES[name][0], name, offload=name == "offload") for name in ("offload", "plain")}

        def serve_on_fastnet(name: str, direction: str) -> servers.Server:
            return servers.bulk(tuns[name], ADDRESSES[name][1], PORT, direction == "from", settings or {})

        os.sched_setaffinity(0, {client_core})
        try:
            with KernelServer(namespace, server_core) as kernel:
                for turn in range(rounds):
                    for name, title in ROWS.items():
                        for direction in DIRECTIONS:
                            progress(f"round {turn + 1} of {rounds}: {title}, {direction} the server")
                            if name == "kernel":
                                rate = transfer(ADDRESSES[name][1], kernel.ports[direction], direction, duration)
                            else:
                                with ServerProcess(serve_on_fastnet(name, direction), server_core):
                                    rate = transfer(ADDRESSES[name][1], PORT, direction, duration)
                            result.samples.setdefault((name, direction), []).append(rate)
        finally:
            os.sched_setaffinity(0, affinity)
    return result


def transfer(address: str, port: int, direction: str, duration: float) -> float:
    """The client: as many bytes as go through one of the kernel's sockets; bytes/s."""
    with cubic_socket() as sock:
        sock.settimeout(TIMEOUT)
        sock.connect((address, port))
        buffer = bytearray(CHUNK)

        def move(seconds: float) -> float:
            start = now = time.monotonic()
            moved = 0
            while now < start + seconds:
                moved += sock.send(buffer) if direction == "to" else sock.recv_into(buffer)
                now = time.monotonic()
            return moved / (now - start)

        move(WARM_UP)
        rate = move(duration)
        # Nothing is left behind for the next row.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return rate


def cubic_socket() -> socket.socket:
    """A socket of the kernel's under CUBIC, whatever the machine's default is: BBR, for one, is slower on a wire without delay."""
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    return sock


class KernelServer:
    """The kernel's stack as server, in a namespace and a process of its own behind a veth pair, one port for each direction.

    :ivar ports: direction -> port
    """

    ports: Mapping[str, int] = {"to": PORT, "from": PORT + 1}

    def __init__(self, namespace: Namespace, core: int) -> None:
        self.namespace = namespace
        self.core = core

    def __enter__(self) -> "KernelServer":
        said, saying = os.pipe()
        heard, telling = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                follow(parent)
                os.sched_setaffinity(0, {self.core})
                with Namespace():
                    os.write(saying, b"!")
                    os.read(heard, 1)
                    configure_link("server", f"{ADDRESSES['kernel'][1]}/24")
                    self.serve(lambda: os.write(saying, b"!"))
            finally:
                os._exit(1)
        os.close(saying)
        os.close(heard)
        try:
            if os.read(said, 1):
                self.namespace.add_veth(ADDRESSES["kernel"][0], "client", "server", self.pid)
                os.write(telling, b"!")
            if not os.read(said, 1):
                raise RuntimeError("the kernel's server ended before it was ready")
        except BaseException:
            self.__exit__()
            raise
        finally:
            os.close(said)
            os.close(telling)
        return self

    def serve(self, ready: Callable[[], object]) -> None:
        """Discard on the one port and send on the other, one connection at a time, for ever."""
        listeners = {}
        for direction, port in self.ports.items():
            listeners[direction] = cubic_socket()
            listeners[direction].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listeners[direction].bind(("", port))
            listeners[direction].listen()
        ready()
        buffer = bytearray(CHUNK)
        while True:
            for direction, listener in listeners.items():
                connection, _ = listener.accept()
                with connection:
                    try:
                        while connection.recv_into(buffer) if direction == "to" else connection.send(buffer):
                            pass
                    except OSError:
                        # The client has seen enough.
                        continue

    def __exit__(self, *_: object) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
