"""Every wrapper over every device, driven in every way: a connection, 200 kB each way, and an orderly end."""

import asyncio
import hashlib
import io
import re
import socket as stdlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastnet.aio import new_event_loop
from fastnet.ambient import Ambient
from fastnet.devices import CapturedDevice, Device, ImpairedDevice, Impairment, LoopbackDevice, MemoryDevice, Tun, Wrapper
from fastnet.driver import Driver
from fastnet.netns import Namespace
from fastnet.socket import create_connection, create_server
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State

HERE, THERE = "198.18.0.2", "198.18.0.1"
PORT = 7
DATA = hashlib.shake_128(b"product").digest(200_000)
WIRE = Impairment(loss=0.005, duplicate=0.05, reorder=0.05, corrupt=0.005)
LIMIT = 60.0
"""Seconds that a test may take when something is wrong."""


def captured(device: Device) -> CapturedDevice:
    return CapturedDevice(device, io.BytesIO())


def impaired(device: Device) -> ImpairedDevice:
    return ImpairedDevice(device, WIRE, seed=3)


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda device: device,
    "passed on": Wrapper,
    "captured": captured,
    "impaired": impaired,
    "captured over impaired": lambda device: captured(impaired(device)),
    "impaired over captured": lambda device: impaired(captured(device)),
}
"""From the outside to the inside."""


def echo(listener: Any) -> None:
    """Accept one connection, send everything back, and close when the peer has."""
    listener.settimeout(LIMIT)
    sock, _ = listener.accept()
    sock.settimeout(LIMIT)
    with sock:
        while data := sock.recv(1 << 16):
            sock.sendall(data)


class World:
    """A stack on a wrapped device, and whoever echoes at port 7 of ``THERE``.

    :ivar within: the listener is the same stack's, and the program echoes itself
    """

    def __init__(self, kind: str, wrapper: str, namespace: Namespace | None) -> None:
        self.within = kind == "loopback"
        self.threads: list[threading.Thread] = []
        self.there: Driver | None = None
        below: Device
        if namespace is not None:
            below = namespace.add_tun(offload=kind == "tun with offload")
            self.serve(stdlib.create_server((THERE, PORT)))
        elif self.within:
            below = LoopbackDevice()
        else:
            below, other = MemoryDevice.pair()
            self.there = Driver(Stack(other, (THERE,))).start()
            self.serve(create_server(self.there, (THERE, PORT)))
        self.below = below
        self.device: Device = WRAPPERS[wrapper](below)
        self.stack = Stack(self.device, (HERE, THERE) if self.within else (HERE,))

    def serve(self, listener: Any) -> None:
        """Echo in a thread."""

        def run() -> None:
            with listener:
                echo(listener)

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def over(self) -> None:
        """The other side has ended too; what the wrappers saw."""
        for thread in self.threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
        if self.there is not None:
            self.there.stop()
        device = self.device
        while isinstance(device, Wrapper):
            if isinstance(device, CapturedDevice):
                assert device.capture.packets > 20 and device.capture.failure is None
            if isinstance(device, ImpairedDevice):
                assert not device.capabilities.offload
                for tally in (device.incoming.tally, device.outgoing.tally):
                    assert tally.packets > 10 and tally.delivered > 10
                assert self.stack.counters.InTruncatedPkts <= device.incoming.tally.corrupted
                assert device.incoming.tally.duplicated and device.outgoing.tally.duplicated
            device = device.device
        assert device is self.below


def by_polling(world: World) -> bytes:
    """The program and the stack in one loop."""
    stack = world.stack
    clock = stack.clock
    end = clock() + int(LIMIT * 1e9)
    listener = stack.listen(THERE, PORT) if world.within else None
    served: Connection | None = None
    client = stack.connect(THERE, PORT)
    heard, sent, back = bytearray(), 0, bytearray()
    while not (client.state in (State.TIME_WAIT, State.CLOSED) and (served is None or served.state == State.CLOSED)):
        now = clock()
        assert now < end and not client.error
        stack.poll(now)
        if client.writable() and sent < len(DATA):
            sent += client.send(DATA[sent : sent + 20_000])
            if sent == len(DATA):
                client.shutdown()
        while client.readable():
            heard += client.receive(1 << 16)
        if listener is not None and served is None:
            served = listener.accept()
        if served is not None and served.state != State.CLOSED:
            while served.readable():
                back += served.receive(1 << 16)
            if back and served.writable():
                del back[: served.send(bytes(back[:20_000]))]
            if served.fin_received and not back and not served.readable():
                served.close(now)
        stack.flush(now)
        now = clock()
        deadline = stack.next_deadline(now)
        if deadline > now and not (served is not None and back and served.writable()):
            stack.wait(min(deadline - now, 10_000_000))
    return bytes(heard)


def by_thread(world: World) -> bytes:
    """A program with sockets, the stack in the driver's thread."""
    with Driver(world.stack) as driver:
        if world.within:
            world.serve(create_server(driver, (THERE, PORT)))
        with create_connection(driver, (THERE, PORT), timeout=LIMIT) as sock:

            def send() -> None:
                sock.sendall(DATA)
                sock.shutdown(stdlib.SHUT_WR)

            world.threads.append(threading.Thread(target=send))
            world.threads[-1].start()
            heard = bytearray()
            while data := sock.recv(1 << 16):
                heard += data
        for thread in world.threads:
            thread.join(LIMIT)
    return bytes(heard)


def by_asyncio(world: World) -> bytes:
    """A program of asyncio's streams."""

    async def main() -> bytes:
        reader, writer = await asyncio.open_connection(THERE, PORT)

        async def send() -> None:
            writer.write(DATA)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        heard = await reader.read(-1)
        await sending
        writer.close()
        await writer.wait_closed()
        return heard

    with asyncio.Runner(loop_factory=lambda: new_event_loop(Ambient(Driver(world.stack)))) as runner:
        return runner.run(asyncio.wait_for(main(), LIMIT))


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[Namespace | None]:
    if request.param:
        with Namespace() as entered:
            yield entered
    else:
        yield None


CASES = [
    pytest.param(kind, loop, kind.startswith("tun"), id=f"{kind}-{loop.__name__}")
    for kind in ("memory", "loopback", "tun", "tun with offload")
    for loop in (by_polling, by_thread, by_asyncio)
    if kind.startswith("tun") or loop is not by_asyncio
]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(("kind", "loop", "namespace"), CASES, indirect=["namespace"])
def test_bytes_both_ways(kind: str, loop: Callable[[World], bytes], namespace: Namespace | None, wrapper: str) -> None:
    world = World(kind, wrapper, namespace)
    assert loop(world) == DATA
    world.over()


def test_a_poll_is_the_sum_of_its_stages() -> None:
    """Two stacks that are polled and two that are taken through the stages by hand send the same packets and sleep equally long."""

    def run(by_hand: bool) -> tuple[bytes, list[int]]:
        ends = MemoryDevice.pair()
        file = io.BytesIO()
        devices = [CapturedDevice(end, file, clock=lambda: 0) for end in ends]
        stacks = [
            Stack(device, (address,), clock=lambda: 0, random=bytes, slots=4)
            for device, address in zip(devices, (HERE, THERE), strict=True)
        ]
        listener = stacks[1].listen(THERE, PORT)
        client = stacks[0].connect(THERE, PORT)
        client.owner = client
        client.send(DATA[:50_000])
        deadlines, told = [], 0
        for now in range(0, 2_000_000_000, 10_000_000):
            for stack in stacks:
                if by_hand:
                    stack.receive(now)
                    stack.fire(now)
                    stack.flush(now)
                    deadlines.append(stack.next_deadline(now) - now)
                else:
                    deadlines.append(stack.poll(now) - now)
                listener.accept()
                assert stack.has_news() == bool(stack.context.ready)
                told += len(stack.take_ready())
                assert not stack.has_news()
        assert told
        return file.getvalue(), deadlines

    polled, deadlines = run(by_hand=False)
    assert (polled, deadlines) == run(by_hand=True)
    assert len(polled) > 50_000 and 0 in deadlines, "a full ring is looked at again at once"


# ---- what passes a wrapper besides packets ----


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_capabilities_pass_a_wrapper(wrapper: str) -> None:
    with Namespace() as namespace:
        tun = namespace.add_tun(mtu=1300, offload=True)
        device = WRAPPERS[wrapper](tun)
        found = device.capabilities
        assert (found.mtu, found.medium, found.loops_back, found.descriptor, found.queues) == (1300, "ip", False, tun.fileno(), 1)
        assert found.offload == ("impaired" not in wrapper), "a wire carries segments"
        assert found.timed == ("impaired" in wrapper) and device.name == "fastnet0"
    assert WRAPPERS[wrapper](LoopbackDevice()).capabilities.loops_back


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wake_and_close_pass_a_wrapper(wrapper: str) -> None:
    with Namespace() as namespace:
        tun = namespace.add_tun()
        device = WRAPPERS[wrapper](tun)
        device.wake()
        assert not device.wait(-1)
        device.close()
        assert tun.capabilities.descriptor is None and device.capabilities.descriptor is None
        with pytest.raises(OSError, match="it was closed"):
            Stack(device).device.receive(Stack(MemoryDevice()).received)
        with pytest.raises(ValueError, match="no descriptor"):
            new_event_loop(Ambient(Driver(Stack(device, (HERE,)))))


def test_a_queue_is_one_of_many() -> None:
    with Namespace(), Tun("many", multi_queue=True) as tun:
        assert tun.capabilities.queues == 256


def test_the_devices_of_the_documentation_run() -> None:
    """The page's two classes carry a handshake."""
    names: dict[str, Any] = {}
    for source in re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "devices.md").read_text(), re.DOTALL):
        exec(source, names)
    below = names["Queue"](1400)
    device = names["Counted"](below)
    stack = Stack(device, (HERE,), clock=lambda: 0)
    listener = stack.listen(HERE, PORT)
    other, far = (end := MemoryDevice()), Stack(end, (THERE,), clock=lambda: 0)
    client = far.connect(HERE, PORT)
    for _ in range(4):
        far.poll(0)
        for packet in other.drain():
            below.put(packet)
        assert device.wait(0) == bool(below.waiting)
        stack.poll(0)
        for packet in below.sent:
            other.inject(packet)
        below.sent.clear()
    assert listener.accept() is not None and client.state == State.ESTABLISHED
    assert device.packets == 1 and device.capabilities.mtu == 1400 and device.name == "Queue"
