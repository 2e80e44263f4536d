"""asyncio programs over IPv6, on a stack that has both families."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from fastnet.ambient import Ambient
from fastnet.devices import MemoryDevice
from fastnet.driver import Driver
from fastnet.socket import Socket
from fastnet.stack import Stack
from tests.aio.conftest import World

HOST = "2001:2::2"


async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read(100)).upper())
    writer.write_eof()
    await reader.read()
    writer.close()


async def asked(host: str, port: int, **more: Any) -> tuple[bytes, Any, Any]:
    """The answer, and both names as the client sees them."""
    reader, writer = await asyncio.open_connection(host, port, **more)
    names = writer.get_extra_info("sockname"), writer.get_extra_info("peername")
    writer.write(b"question")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer, *names


def test_a_server_without_a_host_has_both_families(virtual: World) -> None:
    """A socket for each, and that of IPv6 alone, as asyncio has it."""

    async def main() -> None:
        server = await asyncio.start_server(upper, None, 80)
        assert [(sock.family, sock.getsockname()) for sock in server.sockets] == [
            (socket.AF_INET, ("0.0.0.0", 80)), (socket.AF_INET6, ("::", 80, 0, 0)),
        ]  # fmt: skip
        assert server.sockets[1].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        for host, family, length in ((HOST, socket.AF_INET6, 4), ("198.18.0.2", socket.AF_INET, 2)):
            answer, local, remote = await asked(host, 80)
            assert answer == b"QUESTION" and remote[:2] == (host, 80)
            assert local[0] == host and len(local) == len(remote) == length
            _, writer = await asyncio.open_connection(host, 80, family=family)
            assert writer.get_extra_info("socket").family == family
            writer.close()
            await writer.wait_closed()
        server.close()
        await asyncio.sleep(1)

    virtual.run(main())


@pytest.mark.parametrize(("family", "hosts"), [(socket.AF_INET, ["0.0.0.0"]), (socket.AF_INET6, ["::"])])
def test_a_server_of_one_family(virtual: World, family: int, hosts: list[str]) -> None:
    async def main() -> None:
        server = await asyncio.start_server(upper, None, 80, family=family)
        assert [sock.getsockname()[0] for sock in server.sockets] == hosts
        server.close()

    virtual.run(main())


def test_a_dual_stack_socket_that_the_program_brings(virtual: World) -> None:
    """Names are those of its family: an IPv4 peer is an IPv4-mapped address."""
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((writer.get_extra_info("peername"), writer.get_extra_info("sockname"), writer.get_extra_info("socket").getpeername()))
        await upper(reader, writer)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        sock = Socket(loop.ambient.driver, family=socket.AF_INET6)
        sock.setblocking(False)
        sock.bind(("::", 80))
        server = await asyncio.start_server(serve, sock=sock)
        _, local, _ = await asked("198.18.0.2", 80, local_addr=("198.18.0.1", 0))
        _, local_6, _ = await asked(HOST, 80, local_addr=("2001:2::1", 0))
        server.close()
        await asyncio.sleep(1)
        mapped = ("::ffff:198.18.0.1", local[1], 0, 0)
        assert seen == [(mapped, ("::ffff:198.18.0.2", 80, 0, 0), mapped), (local_6, (HOST, 80, 0, 0), local_6)]

    virtual.run(main())


def test_a_kernel_socket_that_is_sent_there(virtual: World) -> None:
    """sock_connect() of AF_INET6, as happy eyeballs and aiohttp do."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(upper, HOST, 80)
        with socket.socket(socket.AF_INET6) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (HOST, 80, 0, 0))
            reader, writer = await asyncio.open_connection(sock=sock)
            writer.write(b"question")
            assert await reader.read() == b"QUESTION" and writer.get_extra_info("peername") == (HOST, 80, 0, 0)
            writer.close()
            await writer.wait_closed()
        server.close()
        await asyncio.sleep(1)

    virtual.run(main())


def test_refused(virtual: World) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError, match=HOST):
            await asyncio.open_connection(HOST, 81)

    virtual.run(main())


def test_families_that_the_stack_has() -> None:
    """A wildcard without a host is of the families that the stack has addresses of; what is left is the kernel's."""
    for addresses, mtu, both in (
        (("198.18.0.2",), 1500, ["0.0.0.0"]), ((HOST,), 1500, ["::"]), ((), 1500, ["0.0.0.0", "::"]), ((), 1279, ["0.0.0.0"]),
    ):  # fmt: skip
        ambient = Ambient(Driver(Stack(MemoryDevice(mtu), addresses)))
        assert list(ambient.wildcards()) == both
        assert list(ambient.wildcards(socket.AF_INET6)) == both[both[0] == "0.0.0.0" :]
