"""The quickest HTTP server that asyncio can have: a protocol, httptools for the parsing, and no task for a request.

    fastnet run -- python examples/asyncio_http.py       # and in another terminal, as it says: nsenter -n -t PID curl http://198.18.0.2:8080/
"""

import asyncio
from contextlib import suppress
from typing import cast

import httptools

from fastnet.aio import new_event_loop

BODY = b"hello from fastnet\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
LAST_ANSWER = ANSWER.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Http(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.transport.write(BAD_REQUEST)
            self.transport.close()

    def on_message_complete(self) -> None:
        """httptools: the whole request is there."""
        if self.parser.should_keep_alive():
            self.transport.write(ANSWER)
        else:
            self.transport.write(LAST_ANSWER)
            self.transport.close()

    def pause_writing(self) -> None:
        """Somebody asks and does not read: no more questions until the answers are gone."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def main(host: str = "198.18.0.2", port: int = 8080) -> None:
    """Serve until somebody ends it."""
    server = await asyncio.get_running_loop().create_server(Http, host, port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    # Ctrl-C: the runner cancels main(), and raises this when everything is closed.
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
