"""Flow control of writing, as asyncio's documentation has it (WriteTransport, "Flow control callbacks"), on both worlds."""

import asyncio
from typing import Any

import pytest

from tests.aio.conftest import World
from tests.aio.test_transports import Recorder, pair, until

BLOCK = bytes(1 << 20)
DEFAULT = (16 * 1024, 64 * 1024)


async def stuffed(world: World, client: Any = Recorder) -> tuple[Any, Any]:
    """Two protocols; the server does not read, and something waits in the client's write buffer, with limits far away."""
    protocol, server, _ = await pair(world, client)
    server.transport.pause_reading()
    transport = protocol.transport
    transport.set_write_buffer_limits(high=1 << 30)
    while transport.get_write_buffer_size() == 0:
        transport.write(BLOCK)
    assert protocol.calls == ["made"]
    return protocol, server


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [
        ({}, *DEFAULT),
        ({"high": 0}, 0, 0),
        ({"high": 1}, 0, 1),
        ({"high": 1000}, 250, 1000),
        ({"low": 0}, 0, 0),
        ({"low": 1000}, 1000, 4000),
        ({"high": 1000, "low": 0}, 0, 1000),
        ({"high": 1000, "low": 1000}, 1000, 1000),
        ({"high": 0, "low": 0}, 0, 0),
        ({"high": 1000, "low": None}, 250, 1000),
        ({"high": None, "low": 7}, 7, 28),
    ],
)
def test_limits(world: World, given: dict[str, int | None], low: int, high: int) -> None:
    async def main() -> None:
        client, _, _ = await pair(world)
        assert client.transport.get_write_buffer_limits() == DEFAULT
        client.transport.set_write_buffer_limits(high=1, low=1)
        client.transport.set_write_buffer_limits(**given)
        assert client.transport.get_write_buffer_limits() == (low, high)
        for wrong in ({"high": 1, "low": 2}, {"high": -1}, {"low": -1}, {"high": 0, "low": 1}):
            with pytest.raises(ValueError, match="must be >="):
                client.transport.set_write_buffer_limits(**wrong)
        assert client.transport.get_write_buffer_limits() == (low, high), "what is refused changes nothing"
        assert client.calls == ["made"]

    world.run(main())


def test_a_high_water_mark_of_zero(world: World) -> None:
    """Anything that waits pauses the protocol, and nothing less than an empty buffer resumes it."""

    async def main() -> None:
        client, server = await stuffed(world)
        client.transport.set_write_buffer_limits(0)
        assert client.transport.get_write_buffer_limits() == (0, 0)
        assert client.calls == ["made", "pause"], "at once, as something waits"
        sizes = []
        client.resume_writing = lambda: sizes.append(client.transport.get_write_buffer_size())
        server.transport.resume_reading()
        await until(lambda: sizes)
        assert sizes == [0]
        # And again.
        server.transport.pause_reading()
        client.calls.clear()
        while client.transport.get_write_buffer_size() == 0:
            assert client.calls == [], "what went out at once does not count"
            client.transport.write(BLOCK)
        assert client.calls == ["pause"]
        server.transport.resume_reading()
        await until(lambda: len(sizes) == 2)
        assert sizes == [0, 0] and client.calls == ["pause"]

    world.run(main())


def test_exactly_at_the_high_water_mark(world: World) -> None:
    async def main() -> None:
        client, _ = await stuffed(world)
        transport = client.transport
        transport.set_write_buffer_limits(high=transport.get_write_buffer_size())
        assert client.calls == ["made"], "only above it"
        transport.write(b"")
        assert client.calls == ["made"]
        transport.write(b"x")
        assert client.calls == ["made", "pause"]
        transport.write(b"x")
        transport.writelines([b"x", b"y"])
        assert client.calls == ["made", "pause"], "once"

    world.run(main())


def test_exactly_at_the_low_water_mark(world: World) -> None:
    """It is resumed once, the first time that no more than ``low`` waits."""

    async def main() -> None:
        client, server = await stuffed(world)
        transport = client.transport
        transport.write(BLOCK * 4)
        transport.set_write_buffer_limits(high=2 << 20, low=1 << 20)
        assert client.calls == ["made", "pause"]
        transport.set_write_buffer_limits(high=1 << 30, low=1 << 20)
        assert client.calls == ["made", "pause"], "higher limits alone resume nothing"
        sizes = []
        client.resume_writing = lambda: sizes.append(transport.get_write_buffer_size())
        server.transport.resume_reading()
        await until(lambda: transport.get_write_buffer_size() == 0)
        assert len(sizes) == 1 and sizes[0] <= 1 << 20
        assert client.calls == ["made", "pause"]

    world.run(main())


def test_lower_limits_pause_at_once(world: World) -> None:
    async def main() -> None:
        client, _ = await stuffed(world)
        client.transport.set_write_buffer_limits(high=client.transport.get_write_buffer_size() - 1, low=0)
        assert client.calls == ["made", "pause"]

    world.run(main())


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_what_the_callbacks_raise_is_reported_and_ends_nothing(world: World, method: str) -> None:
    class Clumsy(Recorder):
        def pause_writing(self) -> None:
            super().pause_writing()
            if method == "pause_writing":
                raise ZeroDivisionError

        def resume_writing(self) -> None:
            super().resume_writing()
            if method == "resume_writing":
                raise ZeroDivisionError

    async def main() -> None:
        reports: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        client, server = await stuffed(world, Clumsy)
        client.transport.set_write_buffer_limits(0)
        client.transport.write(b"more")
        server.transport.resume_reading()
        await until(lambda: client.calls == ["made", "pause", "resume"])
        (report,) = reports
        assert isinstance(report["exception"], ZeroDivisionError) and report["message"] == f"protocol.{method}() failed"
        assert report["transport"] is client.transport and report["protocol"] is client
        client.transport.write(b"still here")
        await until(lambda: server.data.endswith(b"still here"))

    world.run(main())


def test_drain_waits_for_the_low_water_mark(world: World) -> None:
    """Streams: ``drain`` returns at once below the high water mark, and else when resume_writing() was called."""

    async def main() -> None:
        held: list[Any] = []

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()
            held.append(writer)

        server = await asyncio.start_server(hold, world.host, 0)
        _, writer = await asyncio.open_connection(world.host, server.sockets[0].getsockname()[1])
        await until(lambda: held)
        await writer.drain()
        writer.transport.set_write_buffer_limits(0)
        while writer.transport.get_write_buffer_size() == 0:
            writer.write(BLOCK)
        draining = asyncio.create_task(writer.drain())
        await asyncio.sleep(0.01)
        assert not draining.done()
        held[0].transport.abort()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await draining
        server.close()

    world.run(main())
