"""A child of a process with a stack: everything raises at once, nothing is sent, no lock is taken, and the parent goes on undisturbed."""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import select
import signal
import socket as stdlib
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastnet import patched
from fastnet.aio import new_event_loop
from fastnet.ambient import Ambient
from fastnet.devices import Capture, CapturedDevice, LoopbackDevice
from fastnet.driver import Driver
from fastnet.forks import ForkedError
from fastnet.netns import Namespace
from fastnet.network import Network
from fastnet.socket import Socket, create_connection, create_server
from fastnet.stack import Stack
from fastnet.twins import Twins
from tests.peer import PEER, STACK, Peer, Wire

HOST = "198.18.0.2"
KERNEL = "198.18.0.1"


def in_child(main: Callable[[], object]) -> str:
    """Run a function in a forked child; what went wrong there, and "" when nothing did. A child that hangs is killed."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(20)
            try:
                main()
            except BaseException as error:
                os.write(writes, f"{type(error).__name__}: {error}".encode()[:4000])
        finally:
            os._exit(0)
    os.close(writes)
    with open(reads) as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    return text or (f"ended with {status}" if status else "")


def raises(*calls: Callable[[], object]) -> None:
    """Each of them."""
    for number, call in enumerate(calls):
        with pytest.raises(ForkedError, match="a stack lives in one process"):
            call()
            raise AssertionError(f"call {number} went through")


def devices() -> list[str]:
    """What this process has open of the TUN driver."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(path))
    return [name for name in found if name.startswith("/dev/net/tun")]


class Pair:
    """A connection between a socket of the stack and one of the kernel's."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.listener = create_server(driver, (HOST, 80))
        self.kernels = stdlib.create_connection((HOST, 80), timeout=10)
        self.ours, _ = self.listener.accept()

    def check(self) -> None:
        """Both directions, and nothing that came on the way."""
        self.kernels.sendall(b"ping")
        self.ours.settimeout(10)
        assert self.ours.recv(100) == b"ping"
        self.ours.sendall(b"pong")
        assert self.kernels.recv(100) == b"pong"
        with stdlib.create_connection((HOST, 80), timeout=10) as another:
            accepted, _ = self.listener.accept()
            accepted.sendall(b"more")
            assert another.recv(100) == b"more"
            accepted.close()

    def close(self) -> None:
        for each in (self.kernels, self.ours, self.listener):
            each.close()


def test_sockets(driver: Driver) -> None:
    pair = Pair(driver)
    pair.ours.fileno()
    other = pair.ours.dup()
    ours, listener = pair.ours, pair.listener

    def child() -> None:
        raises(
            listener.accept, listener.fileno, lambda: listener.listen(5), ours.fileno, other.fileno, lambda: ours.recv(1),
            lambda: ours.recv_into(bytearray(1)), lambda: ours.send(b"x"), lambda: ours.sendall(b"x"), ours.getpeername, ours.getsockname,
            lambda: ours.shutdown(stdlib.SHUT_RDWR), lambda: ours.settimeout(1), lambda: ours.setblocking(False), ours.dup, ours.detach,
            lambda: ours.getsockopt(stdlib.SOL_SOCKET, stdlib.SO_ERROR), lambda: ours.setsockopt(stdlib.SOL_SOCKET, stdlib.SO_KEEPALIVE, 1),
            lambda: Socket(driver), lambda: create_connection(driver, (KERNEL, 1)), lambda: create_server(driver, (HOST, 81)),
            driver.start, driver.step, driver.flush, lambda: driver.stack.poll(0), lambda: driver.stack.connect(KERNEL, 1),
            lambda: driver.stack.listen(HOST, 82), driver.stack.transmit, driver.stack.device.fileno, driver.stack.device.wake,
        )  # fmt: skip
        assert not driver.threaded
        # What gives back what this process has is no error, as with the kernel's sockets, and nobody hears of it.
        for each in (ours, other, listener):
            each.close()
        driver.stop()
        driver.stack.device.close()

    assert in_child(child) == ""
    pair.check()
    assert driver.stack.counters.TcpOutRsts == 0
    other.close()
    pair.close()


def test_what_is_polled_by_hand(namespace: Namespace) -> None:
    stack = Stack(namespace.add_tun(), (HOST,))
    listener = stack.listen(HOST, 80)
    kernels = stdlib.socket()
    kernels.setblocking(False)
    assert kernels.connect_ex((HOST, 80)) == 115
    while not listener.accept_queue:
        stack.poll(stack.clock())
    connection = listener.accept()
    assert connection is not None
    opening = stack.connect(KERNEL, 9)

    def child() -> None:
        raises(
            lambda: connection.send(b"x"), lambda: connection.receive(1), lambda: connection.close(0), lambda: connection.abort(0),
            connection.shutdown, listener.accept, lambda: listener.close(0), lambda: listener.set_policy(None),
            lambda: opening.abort(0), lambda: opening.close(0), lambda: stack.poll(0), lambda: stack.flush(0),
        )  # fmt: skip
        assert devices() == []

    assert in_child(child) == ""
    connection.send(b"hello")
    stack.flush(stack.clock())
    kernels.settimeout(10)
    assert kernels.recv(100) == b"hello"
    kernels.close()


def test_nothing_is_shared_in_memory() -> None:
    """A copy goes on as one."""
    twins = Twins()
    listener = twins.b.listen("0.0.0.0", 80)
    twins.a.connect("198.18.0.2", 80)

    def child() -> None:
        twins.run(lambda: bool(listener.accept_queue), 10)

    assert in_child(child) == ""
    child()


@pytest.mark.parametrize("call", ["send", "receive", "shutdown", "close", "abort"])
@pytest.mark.parametrize("opening", [False, True])
def test_each_call_of_a_connection(call: str, opening: bool) -> None:
    """In a child each says whose the stack is, and changes nothing."""
    wire = Wire()
    connection = wire.stack.connect(PEER, 80) if opening else Peer(wire).open(wire.stack.listen(STACK, 80))
    wire.sent()
    state = connection.state
    wire.stack.after_fork()
    with pytest.raises(ForkedError):
        {
            "send": lambda: connection.send(b"x"),
            "receive": lambda: connection.receive(1),
            "shutdown": connection.shutdown,
            "close": lambda: connection.close(wire.now),
            "abort": lambda: connection.abort(wire.now),
        }[call]()
    assert connection.state == state and wire.device.drain() == []


def test_a_lock_that_somebody_holds() -> None:
    """A child has no thread that would let it go."""
    driver = Driver(Stack(LoopbackDevice(), ("127.0.0.1",)))
    listener = create_server(driver, ("127.0.0.1", 80))
    network = Network(driver)
    number = network.socket()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with driver.lock:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def child() -> None:
        raises(
            listener.accept, network.socket, lambda: network.bind(number, "127.0.0.1", 81), lambda: network.listen(number),
            lambda: network.connect(number, "127.0.0.1", 80), lambda: network.read(number, 1), lambda: network.send(number, b""),
        )  # fmt: skip
        network.close(number)
        listener.close()

    try:
        assert in_child(child) == ""
    finally:
        release.set()
        thread.join()
    network.close(number)
    listener.close()


def test_in_a_thread_and_in_a_child_of_a_child(driver: Driver) -> None:
    pair = Pair(driver)
    results = []

    def grandchild() -> None:
        assert in_child(lambda: raises(pair.listener.accept, driver.step)) == ""

    thread = threading.Thread(target=lambda: results.append(in_child(grandchild)))
    thread.start()
    thread.join()
    assert results == [""]
    pair.check()
    pair.close()


def test_multiprocessing(driver: Driver) -> None:
    pair = Pair(driver)
    context = multiprocessing.get_context("fork")
    # Its end closes what it can.
    process = context.Process(target=lambda: raises(pair.listener.accept))
    process.start()
    process.join()
    assert process.exitcode == 0
    pair.check()
    pair.close()


def test_a_command(driver: Driver) -> None:
    pair = Pair(driver)
    program = "import os; print([n for n in os.listdir('/proc/self/fd') if 'tun' in os.readlink(f'/proc/self/fd/{n}')] if 0 else 'ran')"
    for preexec in (None, lambda: None):
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, preexec_fn=preexec, check=True)
        assert done.stdout == b"ran\n"
    pair.check()
    pair.close()


def test_the_collector_in_a_child(driver: Driver) -> None:
    pair = Pair(driver)
    number = pair.ours.fileno()
    sockets = [pair.ours, pair.listener]
    del pair.ours, pair.listener

    def child() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sockets.clear()
            gc.collect()
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(number)

    assert in_child(child) == ""
    pair.ours, pair.listener = sockets
    pair.check()
    pair.close()


def test_programs_that_know_nothing(driver: Driver) -> None:
    """In the child the kernel's sockets are what they were, and the stack's say that they are not."""
    with patched(driver):
        listener = stdlib.create_server((HOST, 80))
        undecided = stdlib.socket()

        def child() -> None:
            raises(listener.accept, listener.fileno, lambda: undecided.bind((HOST, 81)), lambda: stdlib.create_server(("", 82)))
            with stdlib.create_server(("127.0.0.1", 0)) as kernels, stdlib.create_connection(kernels.getsockname()) as client:
                accepted, _ = kernels.accept()
                client.sendall(b"x")
                assert accepted.recv(1) == b"x"
                accepted.close()
            stdlib.close(listener.detach() if False else os.dup(0))
            listener.close()
            undecided.close()

        assert in_child(child) == ""
        with patched_away(), stdlib.create_connection((HOST, 80), timeout=10) as client:
            accepted, _ = listener.accept()
            client.sendall(b"hello")
            assert accepted.recv(100) == b"hello"
            accepted.close()
        listener.close()
        undecided.close()


@contextlib.contextmanager
def patched_away() -> Any:
    """The kernel's sockets for a moment: the client is to be on the other side."""
    from fastnet.patch import KERNELS

    now, stdlib.socket = stdlib.socket, KERNELS  # type: ignore[misc]
    try:
        yield
    finally:
        stdlib.socket = now  # type: ignore[misc]


def test_a_child_that_lives_on_hides_no_hang_up(driver: Driver) -> None:
    """Its copies of what shows a state are closed: what the parent closes is closed."""
    sock = Socket(driver)
    sock.setblocking(False)
    poll = select.poll()
    poll.register(sock.fileno())
    ours, theirs = os.pipe()
    said, saying = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(theirs)
        os.write(saying, b"!")
        os.read(ours, 1)
        os._exit(0)
    # It has let go before it says so.
    assert os.read(said, 1) == b"!"
    assert sock.connect_ex((KERNEL, 9)) == 115
    events = 0
    deadline = time.monotonic() + 10
    # Before the answer comes, what it was before may still show: a poll that returns at once says nothing about time.
    while not events & select.POLLERR and time.monotonic() < deadline:
        found = poll.poll(100)
        events = found[0][1] if found else 0
        time.sleep(0.001)
    for number in (ours, theirs, said, saying):
        os.close(number)
    os.waitpid(child, 0)
    assert events & select.POLLERR
    sock.close()


def test_a_captures_file(namespace: Namespace, tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"
    with path.open("wb") as file:
        capture = Capture(file)
        stack = Stack(CapturedDevice(namespace.add_tun(), capture), (HOST,))
        stack.connect(KERNEL, 9)
        stack.flush(0)
        child = os.fork()
        if child == 0:
            try:
                capture.close()
                file.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert path.stat().st_size == 0, "the buffer is the parent's to write"
        capture.close()
    from tests.devices.test_capture import scapy_reads

    assert len(scapy_reads(path.read_bytes(), tmp_path)) == 1


# ---- asyncio ----


def on_loop(namespace: Namespace, main: Callable[[Any], Any]) -> Any:
    ambient = Ambient(Driver(Stack(namespace.add_tun(), (HOST,))))
    with asyncio.Runner(loop_factory=lambda: new_event_loop(ambient)) as runner:
        return runner.run(main(runner.get_loop()))


def test_a_running_loop(namespace: Namespace) -> None:
    async def main(loop: Any) -> None:
        heard: list[bytes] = []
        signals: list[int] = []
        loop.add_signal_handler(signal.SIGUSR1, signals.append, 1)
        reads, writes = os.pipe()
        loop.add_reader(reads, lambda: heard.append(os.read(reads, 10)))

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            while data := await reader.read(100):
                writer.write(data)

        writers: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(echo, HOST, 80)
        kernels = stdlib.socket()
        kernels.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            kernels.connect((HOST, 80))
        while not writers:
            await asyncio.sleep(0.01)
        transport = writers[0].transport

        def child() -> None:
            signal.signal(signal.SIGUSR1, lambda *_: None)
            os.kill(os.getpid(), signal.SIGUSR1)
            raises(
                lambda: transport.write(b"x"), transport.close, lambda: loop.call_soon(print), loop._run_once,
                lambda: loop.call_later(1, print), lambda: loop.create_future() and loop.call_soon_threadsafe(print),
            )  # fmt: skip
            coroutine = loop.create_server(asyncio.Protocol, HOST, 81)
            raises(lambda: coroutine.send(None))
            server.close()
            loop.close()
            gc.collect()

        wrong = in_child(child) + in_child(lambda: raises(transport.abort))
        assert wrong == "", wrong
        await asyncio.sleep(0.05)
        assert signals == [], "the child's signal is the child's"
        os.write(writes, b"still there")
        os.kill(os.getpid(), signal.SIGUSR1)
        while not heard or not signals:
            await asyncio.sleep(0.01)
        await loop.sock_sendall(kernels, b"hello")
        assert await loop.sock_recv(kernels, 100) == b"hello"
        loop.remove_reader(reads)
        for number in (reads, writes):
            os.close(number)
        kernels.close()
        server.close()

    on_loop(namespace, main)


def test_a_task_that_goes_on_in_the_child(namespace: Namespace) -> None:
    """The coroutine that forks: at the latest when it waits."""
    reads, writes = os.pipe()
    parent = os.getpid()

    async def main(_loop: Any) -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), HOST, 80)
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        await asyncio.sleep(0.01)
        server.close()

    try:
        on_loop(namespace, main)
    except BaseException as error:
        if os.getpid() != parent:
            os.write(writes, type(error).__name__.encode())
        else:
            raise
    finally:
        if os.getpid() != parent:
            os._exit(0)
    os.close(writes)
    with open(reads) as told:
        assert told.read() == "ForkedError"


def test_a_stack_after_the_fork(namespace: Namespace) -> None:
    """What the message says: a device that no stack has yet is anybody's."""
    tun = namespace.add_tun()

    def child() -> None:
        stack = Stack(tun, (HOST,))
        stack.listen(HOST, 80)
        stack.poll(stack.clock())
        assert len(devices()) == 1

    assert in_child(child) == ""
