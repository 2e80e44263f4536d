"""A device that fails: whoever waits, by whatever door, hears of it at once, and with the same error."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastnet._ring import PacketRing
from fastnet.aio import VirtualEventLoop
from fastnet.devices import LoopbackDevice, MemoryDevice
from fastnet.driver import Driver
from fastnet.socket import Socket
from fastnet.stack import Stack

STACK = "198.18.0.2"
pytestmark = pytest.mark.endpoint_fails
PATIENCE = 60.0
"""Seconds for what happens at once: only a defect takes so long."""


class FailingDevice(LoopbackDevice):
    """A stack on it talks to itself until ``fail``, which any thread may call."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: OSError | None = None
        self.lost = False

    def fail(self) -> None:
        self.failure = OSError(errno.EBADFD, "gone")
        self.wake()

    def receive(self, ring: PacketRing) -> int:
        if self.failure is not None:
            raise self.failure
        return super().receive(ring)

    def transmit(self, ring: PacketRing) -> int:
        if self.lost:
            ring.clear()
            return 0
        return super().transmit(ring)


@pytest.fixture
def device() -> FailingDevice:
    return FailingDevice()


@pytest.fixture
def driver(device: FailingDevice) -> Iterator[Driver]:
    with Driver(Stack(device, (STACK,))) as running:
        yield running


def connected(driver: Driver) -> tuple[Socket, Socket, Socket]:
    """A listener, and both ends of a connection to it."""
    listener = Socket(driver)
    listener.bind((STACK, 80))
    listener.listen()
    client = Socket(driver)
    client.connect((STACK, 80))
    server, _ = listener.accept()
    return listener, client, server


def blocked(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """A thread in a call that waits, and where its outcome will be."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(call())
        except OSError as error:
            outcome.append(error.errno)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def test_blocked_calls_end_at_once_with_one_error(device: FailingDevice, driver: Driver) -> None:
    listener, client, server = connected(driver)
    device.lost = True
    lonely = Socket(driver)
    waiting = [blocked(call) for call in (
        lambda: client.recv(1),
        # More than the send buffer takes.
        lambda: server.sendall(bytes(100_000_000)),
        listener.accept,
        lambda: lonely.connect((STACK, 80)),
    )]  # fmt: skip
    while not all(sock._open._changed._waiters for sock in (client, server, listener, lonely)):  # type: ignore[attr-defined]
        time.sleep(0.001)
    device.fail()
    for thread, outcome in waiting:
        thread.join(PATIENCE)
        assert outcome == [errno.ENETDOWN]
    for sock in (client, server, listener, lonely):
        sock.close()


def test_new_calls_fail_at_once_and_close_frees(device: FailingDevice, driver: Driver) -> None:
    listener, client, server = connected(driver)
    server.send(b"before")
    assert client.recv(1) == b"b"
    poller = select.poll()
    poller.register(client, 0)
    device.fail()
    assert poller.poll(PATIENCE * 1000)
    # What came before it is there to be read.
    assert client.recv(100) == b"efore"
    for _ in range(2):
        for call in (
            lambda: client.recv(1),
            lambda: client.send(b"x"),
            lambda: server.recv(1),
            lambda: server.send(b"x"),
            listener.accept,
            lambda: listener.listen(5),
            lambda: Socket(driver).connect((STACK, 80)),
            lambda: Socket(driver).listen(),
        ):
            for blocking in (True, False):
                for sock in (client, server, listener):
                    sock.setblocking(blocking)
                with pytest.raises(OSError, match=r".") as caught:
                    call()
                assert caught.value.errno == errno.ENETDOWN
    assert Socket(driver).connect_ex((STACK, 80)) == errno.ENETDOWN
    for sock in (client, server, listener):
        sock.close()
    gc.collect()
    stack = driver.stack
    assert not any(stack.context.endpoints)
    assert stack.context.memory.pool.allocated == 0
    assert not driver.names._holders


@pytest.mark.parametrize("which", ["epoll", "poll", "select"])
def test_a_selector_wakes_and_shows_the_error(device: FailingDevice, driver: Driver, which: str) -> None:
    sockets = connected(driver)
    lonely = Socket(driver)
    lonely.setblocking(False)
    device.lost = True
    assert lonely.connect_ex((STACK, 80)) == errno.EINPROGRESS
    all_of_them = {sock.fileno(): sock for sock in (*sockets, lonely)}
    timer = threading.Timer(0.05, device.fail)
    timer.start()
    for number in all_of_them:
        if which == "epoll":
            with select.epoll() as epoll:
                epoll.register(number, select.EPOLLERR)
                ((_, events),) = epoll.poll(PATIENCE)
            assert events & select.EPOLLERR
            assert events & select.EPOLLHUP
        elif which == "poll":
            poll = select.poll()
            poll.register(number, select.POLLERR)
            ((_, events),) = poll.poll(PATIENCE * 1000)
            assert events & select.POLLERR
        else:
            assert select.select([number], [], [], PATIENCE)[0]
    for sock in all_of_them.values():
        assert sock.getsockopt(1, 4) == errno.ENETDOWN
        sock.close()
    timer.join()


def test_the_thread_says_so_in_one_line(device: FailingDevice, driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    device.fail()
    assert driver._thread is not None
    driver._thread.join(PATIENCE)
    (record,) = [record for record in caplog.records if record.name == "fastnet"]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "the device has failed: gone"
    assert record.exc_info is None
    driver.stop()
    with pytest.raises(OSError, match="the device has failed: gone"):
        driver.start()


def test_a_log_handler_may_wait_for_a_thread_that_uses_a_socket(driver: Driver) -> None:
    """Nothing is logged while the driver holds its lock."""
    _, client, server = connected(driver)
    other = Socket(driver)
    other.connect((STACK, 80))

    class Waits(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            thread, outcome = blocked(lambda: other.send(b"a line"))
            thread.join(PATIENCE)
            outcomes.extend(outcome)
            done.set()

    outcomes: list[object] = []
    done = threading.Event()
    handler = Waits()
    logging.getLogger("fastnet").addHandler(handler)
    try:
        with driver.lock:
            connection = server._open.connection
            assert connection is not None
            connection.owner = Bad()
        client.send(b"x")
        assert done.wait(2 * PATIENCE)
    finally:
        logging.getLogger("fastnet").removeHandler(handler)
    # The owner is told of the end too, and raises a second time.
    assert set(outcomes) == {6}


def test_by_hand_the_call_that_polls_hears_of_it(device: FailingDevice) -> None:
    driver = Driver(Stack(device, (STACK,)))
    listener, client, server = connected(driver)
    device.fail()
    with pytest.raises(OSError, match="the device has failed") as caught:
        client.recv(1)
    assert caught.value.errno == errno.ENETDOWN
    with pytest.raises(OSError, match="the device has failed"):
        driver.step()
    for sock in (listener, client, server):
        sock.close()


def test_what_ends_the_thread_is_told_to_all(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    _, client, _server = connected(driver)
    excepthook: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", excepthook.append)
    waiting, outcome = blocked(lambda: client.recv(1))

    def call(later: object) -> None:
        raise ZeroDivisionError("a defect of the driver's own")

    with driver.lock:
        monkeypatch.setattr(driver, "_call", call)
        driver.later(print)
        driver.stack.device.wake()
    driver._thread.join(PATIENCE)  # type: ignore[union-attr]
    monkeypatch.undo()
    waiting.join(PATIENCE)
    assert outcome == [errno.ENETDOWN]


def test_a_call_left_for_later_that_raises_is_noted(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    def later() -> None:
        raise ValueError("later")

    driver.later(later)
    driver.stack.device.wake()
    _, client, server = connected(driver)
    client.send(b"x")
    assert server.recv(1) == b"x"
    assert any("left for the next poll" in record.message for record in caplog.records)


class Bad:
    """An owner that cannot be told."""

    def ready(self, now: int) -> None:
        raise ValueError("wake")


def test_an_owner_that_raises_ends_its_connection_and_the_thread_goes_on(driver: Driver) -> None:
    listener, client, server = connected(driver)
    other = Socket(driver)
    other.connect((STACK, 80))
    accepted, _ = listener.accept()
    with driver.lock:
        connection = server._open.connection
        assert connection is not None
        connection.owner = Bad()
    client.send(b"x")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert connection.error == errno.ECONNABORTED
    other.send(b"alive")
    assert accepted.recv(10) == b"alive"


# ---- asyncio ----


class VirtualDevice(MemoryDevice):
    """The device of a virtual loop; it fails when it is told to."""

    failure: OSError | None = None
    failed: Callable[[], None] | None = None

    def receive(self, ring: PacketRing) -> int:
        if self.failure is not None:
            raise self.failure
        return super().receive(ring)

    def wait(self, timeout: int) -> bool:
        return self.failure is not None or super().wait(timeout)


class Notes(asyncio.Protocol):
    """What a protocol heard."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)


def test_asyncio_hears_of_it_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    loop = VirtualEventLoop()
    stack = loop.ambient.driver.stack
    device = VirtualDevice(limit=1 << 16)
    device.peer = device
    stack.device = device

    async def main() -> None:
        made: list[Notes] = []

        def factory() -> Notes:
            made.append(Notes())
            return made[-1]

        server = await loop.create_server(factory, STACK, 80)
        serving = asyncio.create_task(server.serve_forever())
        clients: list[Notes] = [(await loop.create_connection(Notes, STACK, 80))[1] for _ in range(3)]
        # One that reads, one that has paused, one that has closed with bytes unsent.
        await asyncio.sleep(0.001)
        clients[1].transport.pause_reading()
        for notes in made:
            notes.transport.pause_reading()
        clients[2].transport.write(bytes(10_000_000))
        clients[2].transport.close()
        opening = asyncio.create_task(loop.create_connection(Notes, "198.18.7.7", 80))
        await asyncio.sleep(0.001)
        device.failure = OSError(errno.EBADFD, "gone")
        for notes in (*made, *clients):
            error = await asyncio.wait_for(notes.lost, 1)
            assert isinstance(error, OSError)
            assert error.errno == errno.ENETDOWN
        with pytest.raises(OSError, match="the device has failed: gone"):
            await serving
        assert not server.is_serving()
        with pytest.raises(OSError, match="Connect call failed") as caught:
            await opening
        assert caught.value.errno == errno.ENETDOWN
        for attempt in (loop.create_connection(Notes, STACK, 80), loop.create_server(Notes, STACK, 81)):
            with pytest.raises(OSError, match=r"device has failed|Multiple|Connect") as caught:
                await attempt
            assert caught.value.errno == errno.ENETDOWN
        # The loop itself goes on.
        await asyncio.sleep(5)
        assert await loop.run_in_executor(None, lambda: 5) == 5

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert [record.getMessage() for record in caplog.records if record.name == "fastnet"] == ["the device has failed: gone"]


def test_an_owner_that_raises_ends_its_connection_and_the_loop_goes_on() -> None:
    loop = VirtualEventLoop()

    async def main() -> None:
        made: list[Notes] = []

        def factory() -> Notes:
            made.append(Notes())
            return made[-1]

        await loop.create_server(factory, STACK, 80)
        (_, first), (_, second) = [await loop.create_connection(Notes, STACK, 80) for _ in range(2)]
        await asyncio.sleep(0.001)

        owner = made[0].transport
        endpoint: Any = next(each for each in loop.ambient.driver.stack.context.endpoints if getattr(each, "owner", None) is owner)

        endpoint.owner = Bad()
        first.transport.write(b"x")
        second.transport.write(b"y")
        error = await asyncio.wait_for(first.lost, 1)
        assert isinstance(error, ConnectionResetError)
        assert not second.lost.done()
        second.transport.close()
        await second.lost

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
