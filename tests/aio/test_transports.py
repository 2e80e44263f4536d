"""The contract of transports and servers (asyncio's documentation), on both worlds."""

import asyncio
import contextvars
import socket
import struct
import tempfile
import time
from typing import Any

import pytest

from fastnet.aio import Transport, VirtualEventLoop
from tests.aio.conftest import LEFT, World

LINGER_RESETS = struct.pack("ii", 1, 0)


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = b""
        self.keep_open = False
        self.error: BaseException | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")
        self.transport = transport
        LEFT.append(transport)

    def data_received(self, data: bytes) -> None:
        if self.calls[-1] != "data":
            self.calls.append("data")
        self.data += data

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append("lost")
        self.error = exc
        self.over.set_result(None)


async def until(condition: Any) -> None:
    """Let the loop turn until something is so."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come about")


async def pair(world: World, client: Any = Recorder, server: Any = Recorder) -> tuple[Any, Any, asyncio.Server]:
    """Two connected protocols, and the server."""
    loop = asyncio.get_running_loop()
    accepted: list[Any] = []

    def factory() -> Any:
        accepted.append(server())
        return accepted[-1]

    serving = await loop.create_server(factory, world.host, 0)
    LEFT.append(serving)
    port = serving.sockets[0].getsockname()[1]
    _, protocol = await loop.create_connection(client, world.host, port)
    await until(lambda: accepted and accepted[0].transport is not None)
    return protocol, accepted[0], serving


def test_streams_carry_megabytes_both_ways(world: World) -> None:
    data = bytes(range(256)) * 8192

    async def main() -> None:
        async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(upper, world.host, 0)
        reader, writer = await asyncio.open_connection(world.host, server.sockets[0].getsockname()[1])

        async def send() -> None:
            for i in range(0, len(data), 100_000):
                writer.write(data[i : i + 100_000])
                await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        assert await reader.read() == data
        await sending
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    world.run(main())


def test_a_fin_is_told_once_and_closes(world: World) -> None:
    async def main() -> None:
        client, server, _ = await pair(world)
        client.transport.write(b"last words")
        client.transport.close()
        await client.over
        await server.over
        assert client.calls == ["made", "lost"] and client.error is None
        assert server.calls == ["made", "data", "eof", "lost"] and server.error is None
        assert server.data == b"last words"

    world.run(main())


def test_a_half_closed_connection_can_be_answered(world: World) -> None:
    async def main() -> None:
        client, server, _ = await pair(world)
        server.keep_open = True
        client.transport.write(b"question")
        assert client.transport.can_write_eof()
        client.transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            client.transport.write(b"more")
        await until(lambda: "eof" in server.calls)
        assert not server.transport.is_closing()
        server.transport.write(b"answer" * 100_000)
        server.transport.close()
        await client.over
        assert client.data == b"answer" * 100_000
        assert client.calls == ["made", "data", "eof", "lost"]

    world.run(main())


def test_paused_reading_keeps_data_back(world: World) -> None:
    async def main() -> None:
        client, server, _ = await pair(world)
        server.transport.pause_reading()
        assert not server.transport.is_reading()
        client.transport.write(b"abc")
        await asyncio.sleep(0.05)
        assert server.data == b""
        server.transport.pause_reading()
        server.transport.resume_reading()
        assert server.transport.is_reading()
        await until(lambda: server.data == b"abc")
        client.transport.abort()

    world.run(main())


def test_a_slow_reader_pauses_the_writer(world: World) -> None:
    size = 32 << 20

    async def main() -> None:
        client, server, _ = await pair(world)
        server.transport.pause_reading()
        client.transport.set_write_buffer_limits(high=100_000, low=50_000)
        assert client.transport.get_write_buffer_limits() == (50_000, 100_000)
        client.transport.write(b"x" * size)
        assert client.calls == ["made", "pause"]
        assert client.transport.get_write_buffer_size() > 100_000
        await asyncio.sleep(0.05)
        assert client.calls == ["made", "pause"]
        server.transport.resume_reading()
        await until(lambda: client.calls == ["made", "pause", "resume"])
        assert client.transport.get_write_buffer_size() <= 50_000
        await until(lambda: len(server.data) == size)
        assert client.transport.get_write_buffer_size() == 0
        client.transport.close()
        await server.over

    world.run(main())


def test_close_sends_what_waits(world: World) -> None:
    async def main() -> None:
        client, server, _ = await pair(world)
        client.transport.write(b"y" * (16 << 20))
        assert client.transport.get_write_buffer_size()
        client.transport.close()
        client.transport.close()
        assert client.transport.is_closing()
        await server.over
        assert len(server.data) == 16 << 20
        await client.over
        assert client.error is None

    world.run(main())


def test_abort_forgets_what_waits(world: World) -> None:
    async def main() -> None:
        client, server, _ = await pair(world)
        server.transport.pause_reading()
        client.transport.write(b"z" * (32 << 20))
        client.transport.abort()
        assert client.transport.get_write_buffer_size() == 0
        assert client.calls == ["made", "pause"], "not from within abort()"
        await client.over
        assert client.error is None
        server.transport.resume_reading()
        await server.over
        assert len(server.data) < 32 << 20

    world.run(main())


def test_a_reset_is_an_error(world: World) -> None:
    async def main() -> None:
        client, server, _ = await pair(world)
        server.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESETS)
        server.transport.abort()
        await client.over
        assert isinstance(client.error, ConnectionResetError)
        assert client.calls == ["made", "lost"]
        client.transport.write(b"into the void")

    world.run(main())


def test_a_reset_ends_a_writer_that_does_not_read(world: World) -> None:
    async def main() -> None:
        client, server, _ = await pair(world)
        client.transport.pause_reading()
        server.transport.pause_reading()
        client.transport.write(b"z" * (32 << 20))
        server.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESETS)
        server.transport.abort()
        await client.over
        assert isinstance(client.error, (ConnectionResetError, BrokenPipeError))

    world.run(main())


def test_what_a_program_does_wrong(world: World) -> None:
    async def main() -> None:
        client, _, _ = await pair(world)
        with pytest.raises(TypeError):
            client.transport.write("text")
        with pytest.raises(ValueError, match="must be"):
            client.transport.set_write_buffer_limits(high=1, low=2)
        client.transport.write(b"")
        client.transport.close()
        client.transport.pause_reading()
        client.transport.resume_reading()
        client.transport.write_eof()
        await client.over

    world.run(main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_buffer_may_be_used_again_after_write(world: World, kind: Any) -> None:
    async def main() -> None:
        client, server, _ = await pair(world)
        mutable = bytearray(b"1" * 4_000_000)
        client.transport.write(bytes(mutable) if kind is bytes else kind(mutable))
        mutable[:] = b"2" * len(mutable)
        client.transport.writelines([b"a", bytearray(b"b"), memoryview(b"c")])
        client.transport.close()
        await server.over
        # asyncio of Python 3.12 keeps views of what it was given.
        if world.name == "fastnet":
            assert server.data == b"1" * 4_000_000 + b"abc"

    world.run(main())


class Buffered(Recorder, asyncio.BufferedProtocol):
    """A BufferedProtocol of seven bytes at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(7)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self.buffer[:nbytes]))


def test_buffered_protocols(world: World) -> None:
    data = bytes(range(256)) * 40

    async def main() -> None:
        client, server, _ = await pair(world, server=Buffered)
        client.transport.write(data)
        client.transport.close()
        await server.over
        assert server.data == data and server.calls == ["made", "data", "eof", "lost"]

    world.run(main())


def test_an_empty_buffer_is_a_fault_of_the_program(world: World) -> None:
    async def main() -> None:
        faults: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
        client, server, _ = await pair(world, server=Buffered)
        server.buffer = bytearray()
        client.transport.write(b"data")
        await server.over
        assert isinstance(server.error, RuntimeError) and faults[0]["exception"] is server.error

    world.run(main())


def test_another_protocol_takes_over(world: World) -> None:
    async def main() -> None:
        client, server, _ = await pair(world)
        other = Recorder()
        other.connection_made(server.transport)
        server.transport.set_protocol(other)
        assert server.transport.get_protocol() is other
        client.transport.write(b"for the other")
        client.transport.close()
        await other.over
        assert other.data == b"for the other" and server.data == b""

    world.run(main())


@pytest.mark.parametrize("method", ["data_received", "eof_received"])
def test_what_a_callback_raises_ends_its_connection_alone(world: World, method: str) -> None:
    async def main() -> None:
        faults: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))

        class Raises(Recorder):
            pass

        def fail(self: Any, *_: Any) -> None:
            raise ZeroDivisionError(method)

        setattr(Raises, method, fail)
        client, server, serving = await pair(world, server=Raises)
        client.transport.write(b"data")
        client.transport.write_eof()
        await server.over
        assert isinstance(server.error, ZeroDivisionError)
        assert method in faults[0]["message"] and faults[0]["transport"] is server.transport
        # The server goes on.
        _, another = await asyncio.get_running_loop().create_connection(Recorder, world.host, serving.sockets[0].getsockname()[1])
        assert another.calls == ["made"]
        another.transport.abort()

    world.run(main())


def test_callbacks_are_never_called_from_within_a_call(world: World) -> None:
    async def main() -> None:
        depth = 0
        seen: list[int] = []

        class Nested(Recorder):
            def data_received(self, data: bytes) -> None:
                nonlocal depth
                depth += 1
                seen.append(depth)
                if len(seen) < 50:
                    self.transport.write(data)
                else:
                    self.transport.close()
                    assert "lost" not in self.calls
                depth -= 1

            def connection_lost(self, exc: BaseException | None) -> None:
                seen.append(depth + 1)
                super().connection_lost(exc)

        client, server, _ = await pair(world, Nested, Nested)
        client.transport.write(b"ping")
        await client.over
        await server.over
        assert set(seen) == {1}

    world.run(main())


def test_connection_lost_keeps_its_place_in_the_queue(world: World) -> None:
    async def main() -> None:
        order: list[str] = []
        loop = asyncio.get_running_loop()

        class Closes(Recorder):
            def data_received(self, data: bytes) -> None:
                loop.call_soon(order.append, "before")
                self.transport.close()
                loop.call_soon(order.append, "after")

            def connection_lost(self, exc: BaseException | None) -> None:
                order.append("lost")
                super().connection_lost(exc)

        client, server, _ = await pair(world, server=Closes)
        client.transport.write(b"go")
        await server.over
        await asyncio.sleep(0.01)
        assert order == ["before", "lost", "after"]

    world.run(main())


def test_what_data_sets_going_comes_before_the_end(world: World) -> None:
    """Data and FIN may come in one segment; a task that the data wakes finds the transport open all the same."""

    async def main() -> None:
        found: list[bool] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while not reader.at_eof():
                line = await reader.readline()
                found.append(reader.at_eof() if line else True)
            writer.close()
            done.set_result(None)

        done = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(serve, world.host, 0)
        LEFT.append(server)
        _, writer = await asyncio.open_connection(world.host, server.sockets[0].getsockname()[1])
        writer.write(b"line\n")
        writer.close()
        await done
        assert found == [False, True]

    world.run(main())


def test_every_connection_has_its_own_context(world: World) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def main() -> None:
        seen: list[str] = []

        class Sets(Recorder):
            def data_received(self, data: bytes) -> None:
                seen.append(variable.get())
                variable.set(data.decode())

        variable.set("outer")
        client, _, serving = await pair(world, server=Sets)
        _, second = await asyncio.get_running_loop().create_connection(Recorder, world.host, serving.sockets[0].getsockname()[1])
        for who, text in ((client, b"first"), (second, b"second"), (client, b"third")):
            before = len(seen)
            who.transport.write(text)
            await until(lambda before=before: len(seen) > before)
        assert seen == ["outer", "outer", "first"]
        client.transport.abort()
        second.transport.abort()

    world.run(main())


def test_names_and_options(world: World) -> None:
    async def main() -> None:
        client, server, serving = await pair(world)
        port = serving.sockets[0].getsockname()[1]
        assert client.transport.get_extra_info("peername") == (world.host, port)
        assert client.transport.get_extra_info("sockname") == server.transport.get_extra_info("peername")
        assert client.transport.get_extra_info("nothing of the kind", 7) == 7
        for end in (client, server):
            sock = end.transport.get_extra_info("socket")
            assert sock.family == socket.AF_INET and sock.type == socket.SOCK_STREAM
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockname() == end.transport.get_extra_info("sockname")
            assert sock.getpeername() == end.transport.get_extra_info("peername")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1
        client.transport.close()
        await server.over
        assert server.transport.get_extra_info("peername") == client.transport.get_extra_info("sockname")

    world.run(main())


def test_refused(world: World) -> None:
    async def main() -> None:
        _, _, serving = await pair(world)
        port = serving.sockets[0].getsockname()[1]
        serving.close()
        with pytest.raises(ConnectionRefusedError, match="Connect call failed"):
            await asyncio.open_connection(world.host, port)

    world.run(main())


def test_a_server_begins_and_ends(world: World) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Recorder, world.host, 0, start_serving=False)
        assert isinstance(server, asyncio.Server) and not server.is_serving()
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(world.host, port)
        forever = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        assert server.is_serving()
        with pytest.raises(OSError, match="in use"):
            await loop.create_server(Recorder, world.host, port)
        _, client = await loop.create_connection(Recorder, world.host, port)
        client.transport.close()
        await asyncio.sleep(0.01)
        forever.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forever
        assert not server.is_serving() and server.sockets == ()
        await server.wait_closed()
        # And the port is free again.
        again = await loop.create_server(Recorder, world.host, port)
        again.close()

    world.run(main())


def test_files(world: World) -> None:
    async def main() -> None:
        client, server, _ = await pair(world)
        with tempfile.TemporaryFile() as file:
            file.write(b"0123456789" * 100_000)
            sent = await asyncio.get_running_loop().sendfile(client.transport, file, 5, 900_000)
            assert sent == 900_000 and file.tell() == 900_005
        client.transport.close()
        await server.over
        assert server.data == (b"0123456789" * 100_000)[5:900_005]

    world.run(main())


def test_a_file_waits_for_the_peer_as_a_program_would(virtual: World) -> None:
    """loop.sendfile: no more is read than the transport has room for; the protocol is not told, and reads no sooner than afterwards."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        client, server, _ = await pair(virtual)
        server.transport.pause_reading()
        with tempfile.TemporaryFile() as file:
            file.truncate(1 << 23)
            task = loop.create_task(loop.sendfile(client.transport, file))
            before = -1
            while file.tell() != before or before == 0:
                before = file.tell()
                await asyncio.sleep(0.2)
            assert not task.done() and before < 1 << 23
            assert client.transport.get_protocol() is not client and not client.transport.is_reading()
            server.transport.resume_reading()
            assert await task == 1 << 23
        assert client.calls == ["made"] and client.transport.get_protocol() is client and client.transport.is_reading()
        await until(lambda: len(server.data) == 1 << 23)

    virtual.run(main())


@pytest.mark.parametrize("callback", ["factory", "connection_made", "data_received", "eof_received"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_goes_through_every_callback(virtual: World, callback: str, error: type[BaseException]) -> None:
    """asyncio lets these two through, and reports everything else."""
    loop = VirtualEventLoop()
    reported: list[Any] = []
    loop.set_exception_handler(lambda loop, context: reported.append(context))

    def interrupt(*_: Any) -> None:
        raise error

    async def main() -> None:
        def factory() -> Recorder:
            if callback == "factory":
                interrupt()
            recorder = Recorder()
            setattr(recorder, callback, interrupt)
            return recorder

        LEFT.append(await loop.create_server(factory, virtual.host, 80))
        transport, _ = await loop.create_connection(Recorder, virtual.host, 80)
        transport.write(b"x")
        transport.write_eof()
        await asyncio.sleep(1)

    program = loop.create_task(main())
    with pytest.raises(error):
        loop.run_until_complete(program)
    loop.run_until_complete(program)
    assert reported == []
    LEFT.clear()
    loop.close()


def test_the_loop_closes_what_is_open(virtual: World) -> None:
    loop = VirtualEventLoop()

    async def main() -> Recorder:
        client, _, _ = await pair(virtual)
        client.transport.write(b"never answered")
        return client

    client = loop.run_until_complete(main())
    LEFT.clear()
    assert isinstance(client.transport, Transport)
    stack = loop.ambient.driver.stack
    loop.close()
    assert loop.is_closed()
    assert stack.counters.TcpCurrEstab == 0 and len(stack.context.timers) == stack.context.time_wait_count


def test_a_connect_that_is_cancelled_leaves_nothing(virtual: World) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        stack = loop.ambient.driver.stack
        connecting = asyncio.create_task(asyncio.open_connection("198.18.0.99", 80))
        await asyncio.sleep(5)
        assert len(stack.context.demux) == 1 and stack.counters.TCPSynRetrans == 2
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection("198.18.0.99", 80), 10)
        await asyncio.sleep(0)
        assert len(stack.context.demux) == len(stack.context.timers) == 0
        with pytest.raises(TimeoutError, match="Connect call failed"):
            await asyncio.open_connection("198.18.0.99", 80)

    virtual.run(main())


def test_timers_of_both_run_in_their_order(virtual: World) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        client, server, _ = await pair(virtual)
        sock = client.transport.get_extra_info("socket")
        for option, value in ((socket.TCP_KEEPIDLE, 100), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        stack = loop.ambient.driver.stack  # type: ignore[attr-defined]
        await asyncio.sleep(1050)
        # Each is answered, and the next is due 100 s after the answer.
        assert stack.counters.TCPKeepAlive == 10
        assert 1050 <= loop.time() - start < 1051
        assert client.calls == server.calls == ["made"]
        client.transport.abort()

    virtual.run(main())


def test_a_flood_on_one_connection_starves_nobody(virtual: World) -> None:
    """While one connection sends without end, callbacks and a hundred other connections have their turns."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, flooded, serving = await pair(virtual)
        port = serving.sockets[0].getsockname()[1]
        others = [(await loop.create_connection(Recorder, virtual.host, port))[1] for _ in range(100)]
        total = 64 << 20
        first.transport.write(b"f" * total)
        ticks = 0

        def tick() -> None:
            nonlocal ticks
            ticks += 1
            if len(flooded.data) < total:
                loop.call_soon(tick)

        tick()
        for other in others:
            other.transport.write(b"o")
            other.transport.write_eof()
        await asyncio.gather(*(other.over for other in others))
        assert len(flooded.data) < total // 4, "the hundred were served long before the flood was over"
        await until(lambda: len(flooded.data) == total)
        assert ticks > 100
        first.transport.close()

    virtual.run(main())


def test_a_run_repeats_to_the_byte(virtual: World) -> None:
    def once() -> tuple[float, dict[str, int]]:
        loop = VirtualEventLoop(seed=7)

        async def main() -> None:
            client, server, _ = await pair(virtual)
            client.transport.write(b"x" * 3_000_000)
            client.transport.close()
            await server.over

        loop.run_until_complete(main())
        LEFT.clear()
        result = loop.time(), loop.ambient.driver.stack.counters.as_dict()
        loop.close()
        return result

    assert once() == once()


def test_nothing_to_wait_for_is_said(virtual: World) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    loop = VirtualEventLoop()
    import fastnet.aio.virtual as module

    module.PATIENCE, before = 1000, module.PATIENCE
    try:
        with pytest.raises(RuntimeError, match="nothing will ever happen"):
            loop.run_until_complete(main())
    finally:
        module.PATIENCE = before
        loop.close()


def test_an_interrupt_goes_through_and_loses_nobodys_news(virtual: World) -> None:
    loop = VirtualEventLoop()
    clients: list[Recorder] = []
    servers: list[Recorder] = []

    class Interrupted(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if data == b"interrupt":
                raise KeyboardInterrupt

    def factory() -> Recorder:
        servers.append(Interrupted())
        return servers[-1]

    async def connect() -> None:
        server = await loop.create_server(factory, virtual.host, 80)
        LEFT.append(server)
        clients.extend([(await loop.create_connection(Recorder, virtual.host, 80))[1] for _ in range(3)])
        await until(lambda: len(servers) == 3)

    async def write() -> None:
        # In one turn, so that all arrive in one batch.
        for client, data in zip(clients, (b"first", b"interrupt", b"third"), strict=True):
            client.transport.write(data)
        await asyncio.sleep(1)

    loop.run_until_complete(connect())
    task = loop.create_task(write())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    assert [server.data for server in servers] == [b"first", b"interrupt", b""]
    loop.run_until_complete(task)
    assert servers[2].data == b"third"
    LEFT.clear()
    loop.close()


def test_interrupts_of_connection_lost_leave_the_others_told(virtual: World) -> None:
    """connection_lost is called once on each, also behind one that lets an interruption through, and without waiting for news."""
    loop = VirtualEventLoop()
    clients: list[Recorder] = []

    class Interrupted(Recorder):
        def connection_lost(self, exc: BaseException | None) -> None:
            super().connection_lost(exc)
            raise KeyboardInterrupt

    async def connect() -> None:
        servers: list[Recorder] = []

        def factory() -> Recorder:
            servers.append(Recorder())
            return servers[-1]

        server = await loop.create_server(factory, virtual.host, 80)
        clients.extend([(await loop.create_connection(Interrupted, virtual.host, 80))[1] for _ in range(3)])
        await until(lambda: len(servers) == 3)
        server.close()
        for protocol in servers:
            protocol.transport.abort()
        await asyncio.sleep(1)

    program = loop.create_task(connect())
    for interrupts in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(program)
        assert [client.calls.count("lost") for client in clients].count(1) == interrupts
        assert loop.time() < 2, "at once, not when something else happens"
    loop.run_until_complete(program)
    assert [client.calls.count("lost") for client in clients] == [1, 1, 1]
    LEFT.clear()
    loop.close()


def test_a_descriptor_that_is_ready_goes_before_time_does(virtual: World) -> None:
    """Virtual time moves when nothing else is to do: what waits in another descriptor is something to do."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        began = loop.time()
        heard = loop.create_future()
        theirs.send(b"x")
        loop.add_reader(ours, lambda: heard.done() or heard.set_result(ours.recv(1)))
        assert await asyncio.wait_for(heard, 0.001) == b"x" and loop.time() == began
        loop.remove_reader(ours)
        ours.close()
        theirs.close()

    virtual.run(main())


def test_the_end_of_the_executor_takes_no_virtual_time(virtual: World) -> None:
    """Since Python 3.12 asyncio.Runner waits for it with a timeout of 300 s, which must not pass while a thread still works."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, time.sleep, 0.001)
        loop.run_in_executor(None, time.sleep, 0.2)
        return loop.time()

    with asyncio.Runner(loop_factory=virtual.new_loop) as runner:
        loop = runner.get_loop()
        began = runner.run(main())
    assert loop.time() == began
