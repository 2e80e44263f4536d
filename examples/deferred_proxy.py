"""A proxy that answers a SYN only when its upstream has answered: who cannot be served is refused in the handshake itself.

    fastnet run -- python examples/deferred_proxy.py 198.18.0.1 80

The kernel cannot do that: an accept() comes after the handshake. Here a coroutine decides on each SYN (``fastnet.aio.deferring``).
"""

import asyncio
import sys
from contextlib import suppress
from typing import cast

from fastnet.aio import EventLoop, deferring, new_event_loop
from fastnet.tcp.policy import ACCEPT, RESET, Accept, Arrival, Reset

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Between whoever connects and one upstream address.

    :ivar opened: connections to the upstream whose client's handshake is not over, by the client's address
    """

    def __init__(self, host: str, port: int) -> None:
        self.upstream = host, port
        self.opened: dict[tuple[str, int], Streams] = {}

    async def decide(self, arrival: Arrival) -> Accept | Reset:
        """Connect first; then answer."""
        client = arrival.flow.remote_address, arrival.flow.remote_port
        try:
            self.opened[client] = await asyncio.open_connection(*self.upstream)
        except OSError:
            return RESET
        asyncio.get_running_loop().call_later(30, self.forget, client)
        return ACCEPT

    def forget(self, client: tuple[str, int]) -> None:
        """A client that did not complete its handshake."""
        streams = self.opened.pop(client, None)
        if streams is not None:
            streams[1].close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client that did."""
        up_reader, up_writer = self.opened.pop(writer.get_extra_info("peername"))
        try:
            await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            # Reset by one: the other hears of an end too. Or the proxy ends.
            pass
        finally:
            writer.close()
            up_writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def main(upstream: str, upstream_port: int, host: str = "198.18.0.2", port: int = 8080) -> None:
    """Serve until somebody ends it."""
    proxy = Proxy(upstream, upstream_port)
    async with await asyncio.start_server(proxy.serve, host, port) as server:
        loop = cast("EventLoop", asyncio.get_running_loop())
        for listener in loop.listeners(server):
            listener.set_policy(deferring(proxy.decide, timeout=10))
        await server.serve_forever()


if __name__ == "__main__":
    # Ctrl-C: the runner cancels main(), and raises this when everything is closed.
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2])))
