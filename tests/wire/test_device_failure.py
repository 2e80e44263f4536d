"""A TUN device whose interface goes: what programs, selectors, the event loop and the command see of it, with the kernel as the peer."""

import asyncio
import errno
import json
import select
import socket
import subprocess
import sys
import threading

import pytest
from pyroute2 import IPRoute

from fastnet._ring import PacketRing
from fastnet._tun import Tun
from fastnet.aio import EventLoop
from fastnet.ambient import Ambient
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import Socket
from fastnet.stack import Stack
from tests.wire.conftest import STACK

PATIENCE = 60
FASTNET = [sys.executable, "-c", "from fastnet.cli.main import main; main()"]


@pytest.fixture
def tun(namespace: Namespace) -> Tun:
    return namespace.add_tun()


def link(tun: Tun, command: str, **values: str) -> None:
    with IPRoute() as ip:
        ip.link(command, index=ip.link_lookup(ifname=tun.name)[0], **values)


def test_reading_and_writing_say_that_the_interface_was_deleted(tun: Tun) -> None:
    link(tun, "del")
    ring = PacketRing(4, 1500)
    assert tun.wait(-1)
    with pytest.raises(OSError, match="reading from fastnet0: the interface was deleted") as caught:
        tun.receive(ring)
    assert caught.value.errno == errno.EBADFD
    ring.append(bytes(40))
    with pytest.raises(OSError, match="writing to fastnet0: the interface was deleted") as caught:
        tun.transmit(ring)
    assert caught.value.errno == errno.EBADFD
    assert len(ring) == 0


def test_an_interface_that_is_down_is_no_failure(tun: Tun) -> None:
    link(tun, "set", state="down")
    ring = PacketRing(4, 1500)
    ring.append(b"\x45" + bytes(39))
    assert tun.transmit(ring) == 0
    assert tun.last_errno == errno.EIO
    assert tun.receive(ring) == 0


def test_a_wait_ends_when_the_device_is_closed(tun: Tun) -> None:
    thread = threading.Thread(target=tun.wait, args=(-1,))
    thread.start()
    tun.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_down_and_up_again_loses_nothing(tun: Tun) -> None:
    with Driver(Stack(tun, (STACK,))) as driver:
        listener = Socket(driver)
        listener.bind((STACK, 80))
        listener.listen()
        theirs = socket.create_connection((STACK, 80), PATIENCE)
        ours, _ = listener.accept()
        data = bytes(range(256)) * 4096
        taken = bytearray()
        sender = threading.Thread(target=ours.sendall, args=(data,))
        sender.start()
        taken += theirs.recv(1000)
        link(tun, "set", state="down")
        # What the stack sends now is refused with EIO, and sent again.
        link(tun, "set", state="up")
        while len(taken) < len(data):
            taken += theirs.recv(65536)
        sender.join(PATIENCE)
        assert bytes(taken) == data
        theirs.sendall(b"and back")
        assert ours.recv(8, socket.MSG_WAITALL) == b"and back"
        assert driver.stack.failure is None
        for sock in (theirs, ours, listener):
            sock.close()


def test_a_deleted_link_wakes_calls_and_selectors(tun: Tun) -> None:
    with Driver(Stack(tun, (STACK,))) as driver:
        listener = Socket(driver)
        listener.bind((STACK, 80))
        listener.listen()
        theirs = socket.create_connection((STACK, 80), PATIENCE)
        ours, _ = listener.accept()
        with select.epoll() as epoll:
            for sock in (ours, listener):
                epoll.register(sock.fileno(), select.EPOLLERR)
            timer = threading.Timer(0.05, link, (tun, "del"))
            timer.start()
            with pytest.raises(OSError, match=r"device has failed|Network is down") as caught:
                ours.recv(1)
            assert caught.value.errno == errno.ENETDOWN
            shown: dict[int, int] = {}
            while len(shown) < 2:
                shown.update(epoll.poll(PATIENCE))
        assert all(events & select.EPOLLERR and events & select.EPOLLHUP for events in shown.values())
        with pytest.raises(OSError, match="the interface was deleted"):
            ours.send(b"for nobody")
        timer.join()
        for each in (theirs, ours, listener):
            each.close()


def test_a_deleted_link_ends_transports_and_servers(tun: Tun) -> None:
    heard: list[object] = []

    class Notes(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            threading.Thread(target=link, args=(tun, "del")).start()

        def connection_lost(self, exc: BaseException | None) -> None:
            heard.append(getattr(exc, "errno", exc))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Notes, STACK, 80)
        theirs = await loop.run_in_executor(None, socket.create_connection, (STACK, 80))
        try:
            await server.serve_forever()
        finally:
            theirs.close()

    loop = EventLoop(Ambient(Driver(Stack(tun, (STACK,)))))
    try:
        with pytest.raises(OSError, match="the interface was deleted") as caught:
            loop.run_until_complete(asyncio.wait_for(main(), PATIENCE))
    finally:
        loop.close()
    assert caught.value.errno == errno.ENETDOWN
    assert heard == [errno.ENETDOWN]


DELETE = """
import time
from pyroute2 import IPRoute
with IPRoute() as ip:
    ip.link("del", index=ip.link_lookup(ifname="fastnet0")[0])
time.sleep(600)
"""


@pytest.mark.parametrize("mode", [("echo",), ("asgi", "tests.wire.test_device_failure:app")])
def test_serve_says_so_in_a_line_and_exits_with_4(mode: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*FASTNET, "serve", *mode, "--", sys.executable, "-c", DELETE], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 4, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "device" in line]
    assert line.endswith("the device has failed: reading from fastnet0: the interface was deleted")
    assert "Traceback" not in done.stderr


def test_serve_with_json_ends_too() -> None:
    done = subprocess.run(
        [*FASTNET, "serve", "echo", "--json", "--", sys.executable, "-c", DELETE], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 4
    for line in done.stdout.splitlines():
        json.loads(line)


async def app(scope: dict[str, object], receive: object, send: object) -> None:
    """An ASGI application that nobody asks anything."""
