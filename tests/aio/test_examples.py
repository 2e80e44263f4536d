"""The examples of docs/aio.md do what they say: in virtual time, and as commands."""

import asyncio
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastnet.aio import VirtualEventLoop, deferring
from fastnet.tcp.policy import ACCEPT, DROP, RESET, Accept, Arrival, Drop, Reset

EXAMPLES = Path(__file__).parents[2] / "examples"
HOST = "198.18.0.2"


def virtual(main: Any) -> Any:
    with asyncio.Runner(loop_factory=VirtualEventLoop) as runner:
        return runner.run(asyncio.wait_for(main, 10_000))


async def connect(port: int, tries: int = 10) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The example may not listen yet."""
    for _ in range(tries):
        try:
            return await asyncio.open_connection(HOST, port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)
    raise AssertionError("nobody listens")


def test_chat() -> None:
    main = runpy.run_path(str(EXAMPLES / "asyncio_chat.py"))["main"]

    async def chat() -> None:
        serving = asyncio.create_task(main())
        (anna, to_anna), (_bert, to_bert) = await connect(7000), await connect(7000)
        to_anna.write(b"Anna\n")
        await asyncio.sleep(0.1)
        to_bert.write(b"Bert\nhello\n")
        assert await anna.readuntil(b"? ") == b"your name? "
        assert [await anna.readline() for _ in range(2)] == [b"* Bert is here\n", b"Bert: hello\n"]
        to_bert.close()
        assert await anna.readline() == b"* Bert has left\n"
        to_anna.close()
        await asyncio.sleep(0.1)
        serving.cancel()

    virtual(chat())


def test_http_server() -> None:
    main = runpy.run_path(str(EXAMPLES / "asyncio_http.py"))["main"]

    async def ask() -> None:
        serving = asyncio.create_task(main())
        reader, writer = await connect(8080)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = await reader.read()
        assert answers.count(b"200 OK") == 3 and answers.count(b"hello from fastnet\n") == 3
        assert answers.count(b"Connection: close") == 1
        writer.close()
        reader, writer = await connect(8080)
        writer.write(b"no request\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        # One who asks without end and never reads is not listened to for ever.
        reader, writer = await connect(8080)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000_000)
        await asyncio.sleep(10)
        assert writer.transport.get_write_buffer_size() > 1_000_000
        writer.transport.abort()
        serving.cancel()

    virtual(ask())


def test_deferred_proxy() -> None:
    main = runpy.run_path(str(EXAMPLES / "deferred_proxy.py"))["main"]

    async def ask() -> None:
        loop: Any = asyncio.get_running_loop()
        proxying = asyncio.create_task(main(HOST, 80))
        await asyncio.sleep(0.1)
        # Without an upstream, the handshake fails: no accept, no reset afterwards.
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, 8080)
        (listener,) = loop.listeners(next(acceptor.server for acceptor in loop._acceptors.values()))
        assert listener.statistics().refused["policy_reset"] == 1 and listener.completed == 0

        async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read()).upper())
            writer.close()

        async with await asyncio.start_server(upper, HOST, 80):
            reader, writer = await asyncio.open_connection(HOST, 8080)
            writer.write(b"hello" * 100_000)
            writer.write_eof()
            assert await reader.read() == b"HELLO" * 100_000
            writer.close()
            await asyncio.sleep(1)
        proxying.cancel()

    virtual(ask())


def test_a_coroutine_decides() -> None:
    """Each answer, an error and a timeout; SYNs wait side by side."""
    faults: list[Any] = []

    async def decide(arrival: Arrival) -> Accept | Drop | Reset:
        port = arrival.flow.remote_port
        await asyncio.sleep(0.4 if port < 1004 else 100)
        if port == 1003:
            raise ZeroDivisionError
        return {1000: ACCEPT, 1001: RESET, 1002: DROP}[port]

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: faults.append(context["exception"]))
        server = await asyncio.start_server(lambda reader, writer: writer.close(), HOST, 80)
        (listener,) = loop.listeners(server)
        listener.set_policy(deferring(decide, timeout=2))
        began = loop.time()
        tries = [asyncio.create_task(asyncio.open_connection(HOST, 80, local_addr=("198.18.0.1", 1000 + i))) for i in range(5)]
        reader, writer = await tries[0]
        assert 0.4 <= loop.time() - began < 0.5
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await tries[1]
        assert loop.time() - began < 0.5
        await asyncio.sleep(0.3)
        refused = listener.statistics().refused
        assert refused["policy_reset"] == 1 and refused["policy_drop"] == 2
        assert isinstance(faults[0], ZeroDivisionError)
        await asyncio.sleep(1.4)
        assert listener.statistics().refused["policy_expired"] == 1
        for each in tries[2:]:
            each.cancel()
        server.close()

    virtual(main())


def fastnet(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from fastnet.cli.main import main; main()", *arguments]
    return subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def test_asgi_app() -> None:
    done = fastnet("serve", "asgi", "asgi_app:app", "--", "curl", "-s", "-m", "20", "http://198.18.0.2:8080/path")
    assert json.loads(done.stdout) == {"you": "198.18.0.1", "path": "/path", "me": "198.18.0.2"}, done.stderr


def test_http_server_as_a_command() -> None:
    script = f"{sys.executable} asyncio_http.py & "
    script += "for i in $(seq 100); do curl -s -m 5 http://198.18.0.2:8080/ && break; sleep 0.1; done; kill $!"
    done = fastnet("run", "--", "sh", "-c", script)
    assert done.stdout == "hello from fastnet\n", done.stderr
