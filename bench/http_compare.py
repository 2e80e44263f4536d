"""HTTP on fastnet.aio and on uvloop over the kernel's stack: one protocol, one client, one wire, in one run.

    python bench/http_compare.py [--rounds 3] [--duration 1.5] [--connections 64]      # a raw client; needs uvloop and uvicorn
    python bench/http_compare.py --wrk                                                 # wrk, a client of the kernel's

The raw client is a stack of its own on another TUN device, whose packets the kernel forwards. It has the first core, the server under test
the second, as in ``fastnet compare``, and CPU is counted as there: of a server in user space its process time; for the kernel's rows all
that client and server took, less what the same client took beside fastnet in the same round, as the kernel's stack works for the server
whenever the client's packets come in.

With wrk, all of the client's receiving happens while the server writes, on either stack: TUN and loopback hand a packet over at once. Then
the sum of both processes says more than the server's own time does.
"""

import argparse
import asyncio
import gc
import itertools
import os
import re
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
import uvicorn
import uvloop

from fastnet._tun import Tun
from fastnet.aio import new_event_loop
from fastnet.ambient import Ambient
from fastnet.driver import Driver
from fastnet.load.compare import ServerProcess, prepare_kernel
from fastnet.load.servers import Server
from fastnet.netns import Namespace, isolated
from fastnet.stack import NEVER, Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.door import Noted
from fastnet.tcp.states import State

PORT = 8080
BACKLOG = 4096
ADDRESSES = itertools.cycle(range(2, 255))
"""Of the client: another for each row, as the last one's ports may be in TIME-WAIT."""
OPENING = (State.SYN_SENT, State.SYN_RECEIVED)
BODY = b"hello from fastnet\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
LAST_ANSWER = ANSWER.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
REQUEST = b"GET / HTTP/1.1\r\nHost: fastnet\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nHost: fastnet\r\nConnection: close\r\n\r\n"


class Http(asyncio.Protocol):
    """As little as can be: httptools finds the ends of requests."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.parser.should_keep_alive():
            self.transport.write(ANSWER)
        else:
            self.transport.write(LAST_ANSWER)
            self.transport.close()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Hello, world."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def protocol_server(new_loop: Callable[[], asyncio.AbstractEventLoop], host: str) -> Server:
    """The protocol on a loop."""

    async def main(ready: Callable[[], None]) -> None:
        server = await asyncio.get_running_loop().create_server(Http, host, PORT, backlog=BACKLOG)
        ready()
        await server.serve_forever()

    def serve(ready: Callable[[], None]) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main(ready))

    return serve


def uvicorn_server(new_loop: Callable[[], asyncio.AbstractEventLoop], host: str) -> Server:
    """uvicorn on a loop."""

    async def main(ready: Callable[[], None]) -> None:
        config = uvicorn.Config(application, host=host, port=PORT, backlog=BACKLOG, lifespan="off", log_level="error", access_log=False)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        ready()
        await serving

    def serve(ready: Callable[[], None]) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main(ready))

    return serve


class Client:
    """Connections that ask, and ask again when they are answered; its own stack, its own turns.

    :param closes: a connection for each request
    :param rate: requests per second, 0: as soon as the last was answered
    :ivar done: answers; ``waits``: seconds from request to answer
    """

    def __init__(self, stack: Stack, target: str, connections: int, closes: bool, rate: float = 0.0) -> None:
        self.stack = stack
        self.target = target
        self.connections = connections
        self.closes = closes
        self.rate = rate
        self.done = 0
        self.failed = 0
        self.waits: list[float] = []
        self.asked: dict[Connection, int] = {}
        self.idle: deque[Connection] = deque()

    def open(self, now: int) -> None:
        connection = self.stack.connect(self.target, PORT)
        connection.owner = Noted()
        self.asked[connection] = now

    def ask(self, connection: Connection, now: int) -> None:
        self.asked[connection] = now
        connection.send(LAST_REQUEST if self.closes else REQUEST)

    def answered(self, connection: Connection, now: int) -> None:
        self.done += 1
        self.waits.append((now - self.asked[connection]) / 1e9)

    def ready(self, connection: Connection, now: int) -> None:
        state = connection.state
        if state in OPENING:
            return
        if connection.error:
            self.failed += 1
            connection.owner = None
            self.asked.pop(connection, None)
            self.open(now)
            return
        if connection not in self.asked:
            return
        if self.closes:
            if connection.sender is None and not connection.fin_received:
                connection.send(LAST_REQUEST)
            connection.receive(65536)
            if connection.fin_received:
                self.answered(connection, now)
                connection.close(now)
                connection.owner = None
                del self.asked[connection]
                self.open(now)
        elif connection.receive(65536):
            self.answered(connection, now)
            self.next(connection, now)
        elif connection.sender is None:
            self.next(connection, now)

    def next(self, connection: Connection, now: int) -> None:
        if self.rate:
            self.idle.append(connection)
        else:
            self.ask(connection, now)

    def run(self, seconds: float) -> None:
        """Ask for so long."""
        stack = self.stack
        clock = stack.clock
        now = started = clock()
        end = now + int(seconds * 1e9)
        asked = 0
        while len(self.asked) < self.connections:
            self.open(now)
        while now < end:
            stack.poll(now)
            now = clock()
            for endpoint in stack.take_ready():
                if isinstance(endpoint, Connection):
                    self.ready(endpoint, now)
            pause = 100_000_000
            if self.rate:
                due = int((now - started) / 1e9 * self.rate)
                while asked < due and self.idle:
                    self.ask(self.idle.popleft(), now)
                    asked += 1
                if not self.idle:
                    # What could not be asked in time is not made up for.
                    asked = max(asked, due)
                pause = 0
            stack.flush(now)
            now = clock()
            deadline = stack.next_deadline(now)
            if deadline > now and not stack.has_news():
                stack.wait(min(deadline - now if deadline != NEVER else pause, pause))
                now = clock()

    def stop(self) -> None:
        """Reset everything."""
        now = self.stack.clock()
        for connection in list(self.asked):
            connection.abort(now)
        self.stack.flush(now)


@dataclass
class Sample:
    """One row in one round; seconds for one request."""

    rate: float
    server: float
    client: float
    cpu: float
    p50: float
    p99: float
    failed: int


def measure(
    tun0: Tun, serve: Server, target: str, cores: list[int], connections: int, closes: bool, duration: float, rate: float
) -> Sample:
    """One row, once."""
    settings = {"ip_local_port_range": (1024, 65535), "tcp_max_tw_buckets": 0}
    with ServerProcess(serve, cores[1 % len(cores)]) as server:
        client = Client(Stack(tun0, (f"198.18.0.{next(ADDRESSES)}",), settings), target, connections, closes, rate)
        client.run(0.5)
        client.waits.clear()
        gc.collect()
        before = server.cpu(), time.process_time(), softirqs(), client.done
        client.run(duration)
        after = server.cpu(), time.process_time(), softirqs(), client.done
        client.stop()
    ours, theirs, others, done = (b - a for a, b in zip(before, after, strict=True))
    if not done:
        raise RuntimeError("no request was answered")
    waits = sorted(client.waits)
    return Sample(
        done / duration, ours / done, theirs / done, (ours + theirs + others) / done, waits[len(waits) // 2], waits[len(waits) * 99 // 100],
        client.failed,
    )  # fmt: skip


def softirqs() -> float:
    """Seconds of the kernel's softirq threads."""
    total = 0.0
    for process in os.listdir("/proc"):
        if process.isdecimal():
            try:
                with open(f"/proc/{process}/comm") as name:
                    if not name.read().startswith("ksoftirqd"):
                        continue
                with open(f"/proc/{process}/schedstat") as times:
                    total += int(times.read().split()[0]) / 1e9
            except OSError:
                continue
    return total


def table(
    title: str, tun0: Tun, rows: dict[str, tuple[Server, str]], cores: list[int], options: Any, closes: bool, rate: float = 0.0
) -> float:
    """A table of one load; the rate of the last row, which is the kernel's."""
    samples: dict[str, list[Sample]] = {name: [] for name in rows}
    for turn in range(options.rounds):
        names = list(rows)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            serve, target = rows[name]
            samples[name].append(measure(tun0, serve, target, cores, options.connections, closes, options.duration, rate))
        first = samples[names[0]][-1]
        for name in names:
            sample = samples[name][-1]
            # The first row is fastnet's.
            if name == names[0] or rate:
                # At a given rate the client looks at its clock all the time, and its own share cannot be told.
                sample.cpu = sample.server
            else:
                sample.cpu -= first.client
    print(f"\n{title}")
    print(f"{'':30}{'requests/s':>12}{'CPU us':>9}{'ratio':>7}{'process us':>12}{'p50 us':>9}{'p99 us':>9}{'failed':>8}")
    *_, last_name = rows
    for name, own in samples.items():
        cpu = statistics.median(sample.cpu for sample in own)
        ratio = statistics.median(a.cpu / b.cpu for a, b in zip(own, samples[last_name], strict=True))
        rate_of, server, p50, p99 = (statistics.median(getattr(s, field) for s in own) for field in ("rate", "server", "p50", "p99"))
        print(
            f"{name:30}{rate_of:12,.0f}{cpu * 1e6:9.2f}{ratio:7.2f}{server * 1e6:12.2f}{p50 * 1e6:9.0f}{p99 * 1e6:9.0f}"
            f"{sum(s.failed for s in own):8}",
            flush=True,
        )
    return statistics.median(sample.rate for sample in samples[last_name])


def raw(options: Any) -> int:
    """The raw client's tables."""
    with Namespace() as namespace:
        tun0 = namespace.add_tun("198.18.0.1/24", "tun0")
        tun1 = namespace.add_tun("198.18.1.1/24", "tun1")
        prepare_kernel()
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[0]})

        def ours() -> asyncio.AbstractEventLoop:
            return new_event_loop(Ambient(Driver(Stack(tun1, ("198.18.1.2",)))))

        own, kernels = "198.18.1.2", "198.18.1.1"
        protocol = {
            "fastnet.aio": (protocol_server(ours, own), own),
            "asyncio, kernel": (protocol_server(asyncio.SelectorEventLoop, kernels), kernels),
            "uvloop, kernel": (protocol_server(uvloop.new_event_loop, kernels), kernels),
        }
        web = {
            "uvicorn, fastnet.aio": (uvicorn_server(ours, own), own),
            "uvicorn, uvloop, kernel": (uvicorn_server(uvloop.new_event_loop, kernels), kernels),
        }
        load = f"{options.connections} connections"
        fastest = table(f"keep-alive, {load}", tun0, protocol, cores, options, False)
        table(f"one connection for each request, {load}", tun0, protocol, cores, options, True)
        table(f"uvicorn, keep-alive, {load}", tun0, web, cores, options, False)
        table(f"keep-alive at {fastest / 2:,.0f} requests/s, {load}", tun0, protocol, cores, options, False, fastest / 2)
    return 0


def with_wrk(options: Any) -> int:
    """wrk's tables."""
    with Namespace() as namespace:
        tun = namespace.add_tun(offload=True)
        cores = sorted(os.sched_getaffinity(0))

        def ours() -> asyncio.AbstractEventLoop:
            return new_event_loop(Ambient(Driver(Stack(tun, ("198.18.0.2",)))))

        own, kernels = "198.18.0.2", "198.18.0.1"
        tables = {
            "protocol": {
                "fastnet.aio": (protocol_server(ours, own), own),
                "uvloop, kernel": (protocol_server(uvloop.new_event_loop, kernels), kernels),
            },
            "uvicorn": {
                "uvicorn, fastnet.aio": (uvicorn_server(ours, own), own),
                "uvicorn, uvloop, kernel": (uvicorn_server(uvloop.new_event_loop, kernels), kernels),
            },
        }
        for title, rows in tables.items():
            for closes in (False, True) if title == "protocol" else (False,):
                print(f"\nwrk, {title}, {options.connections} connections, {'one for each request' if closes else 'keep-alive'}")
                print(f"{'':30}{'requests/s':>12}{'server us':>11}{'wrk us':>9}{'sum us':>9}")
                results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in rows}
                for _ in range(options.rounds):
                    for name, (serve, target) in rows.items():
                        with ServerProcess(serve, cores[1 % len(cores)]) as server:
                            wrk(cores[0], target, options.connections, closes, 1)
                            before, children = server.cpu(), os.times()
                            done = wrk(cores[0], target, options.connections, closes, max(1, round(options.duration)))
                            spent, after = server.cpu() - before, os.times()
                        client = after.children_user + after.children_system - children.children_user - children.children_system
                        results[name].append((done / max(1, round(options.duration)), spent / done, client / done))
                for name, own_results in results.items():
                    rate, spent, client = (statistics.median(column) for column in zip(*own_results, strict=True))
                    print(f"{name:30}{rate:12,.0f}{spent * 1e6:11.2f}{client * 1e6:9.2f}{(spent + client) * 1e6:9.2f}", flush=True)
    return 0


def wrk(core: int, target: str, connections: int, closes: bool, seconds: int) -> int:
    """How many requests it had answered."""
    command = ["taskset", "-c", str(core), "wrk", "-t1", "-c", str(connections), "-d", f"{seconds}s"]
    if closes:
        command += ["-H", "Connection: close"]
    output = subprocess.run([*command, f"http://{target}:{PORT}/"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+) requests in", output)
    if found is None or found[1] == "0":
        raise RuntimeError(f"wrk got no answer: {output}")
    return int(found[1])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=float, default=1.5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--wrk", action="store_true")
    options = parser.parse_args()
    sys.exit(isolated(lambda: (with_wrk if options.wrk else raw)(options)))


if __name__ == "__main__":
    main()
