"""Whose an address is, for servers that name several; and virtual time beside threads."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from fastnet.aio import VirtualEventLoop


@pytest.fixture
def loop() -> Any:
    loop = VirtualEventLoop()
    yield loop
    loop.close()


@pytest.mark.parametrize(("host", "family", "ours", "theirs"), [
    ("198.18.0.2", 0, ["198.18.0.2"], []),
    (None, 0, ["0.0.0.0", "::"], []),
    ("", 0, ["0.0.0.0", "::"], []),
    ("", socket.AF_INET, ["0.0.0.0"], []),
    ("2001:2::2", 0, ["2001:2::2"], []),
    ("127.0.0.1", 0, [], ["127.0.0.1"]),
    (["198.18.0.2", "127.0.0.1", "198.18.0.1", "198.18.0.2"], 0, ["198.18.0.2", "198.18.0.1"], ["127.0.0.1"]),
    ("::1", socket.AF_INET6, [], ["::1"]),
    (None, socket.AF_INET6, ["::"], []),
    (["", "127.0.0.2"], 0, ["0.0.0.0", "::"], ["127.0.0.2"]),
    ([], 0, [], []),
])  # fmt: skip
def test_whose_a_host_is(loop: Any, host: Any, family: int, ours: list[str], theirs: list[str]) -> None:
    """The stack's addresses and the wildcard are the stack's, each once; everything else is the kernel's."""
    assert loop.run_until_complete(loop._sort_hosts(host, 80, family, 0)) == (ours, theirs)


def test_a_server_on_both(loop: Any) -> None:
    """Its sockets are those of the two worlds, and closing it closes both."""

    async def main() -> None:
        server = await loop.create_server(asyncio.Protocol, ["198.18.0.2", "127.0.0.1"], 0)
        names = sorted(sock.getsockname()[0] for sock in server.sockets)
        assert names == ["127.0.0.1", "198.18.0.2"] and len(loop.listeners(server)) == 1
        server.close()
        await server.wait_closed()
        assert loop.listeners(server) == []

    loop.run_until_complete(main())


def test_virtual_time_stands_still_while_a_thread_works(loop: Any) -> None:
    """And only so long: afterwards an hour takes no time."""

    async def main() -> None:
        before = loop.time()
        assert await loop.run_in_executor(None, lambda: (time.sleep(0.05), 7)[1]) == 7
        assert loop.time() - before < 0.05 and loop.threads == 0
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        assert loop.threads == 0
        await loop.shutdown_default_executor()
        assert loop.threads == 0
        await asyncio.sleep(3600)
        assert loop.time() - before == pytest.approx(3600, abs=1)

    began = time.monotonic()
    loop.run_until_complete(asyncio.wait_for(main(), 10_000))
    assert time.monotonic() - began < 9


def test_the_same_seed_is_the_same_run() -> None:
    """Everything that the stack leaves to chance comes from the seed."""

    def ports(seed: int) -> list[int]:
        loop = VirtualEventLoop(seed=seed)

        async def main() -> list[int]:
            server = await loop.create_server(asyncio.Protocol, "198.18.0.2", 80)
            found = []
            for _ in range(5):
                transport, _ = await loop.create_connection(asyncio.Protocol, "198.18.0.2", 80)
                found.append(transport.get_extra_info("sockname")[1])
                transport.close()
            server.close()
            await asyncio.sleep(1)
            return found

        try:
            return loop.run_until_complete(main())
        finally:
            loop.close()

    assert ports(1) == ports(1) != ports(2)
