"""A chat server in plain asyncio: what one says, all others read. Nothing in it knows of fastnet but the last lines.

    fastnet run -- python examples/asyncio_chat.py      # and in another terminal, as it says: nsenter -n -t PID nc 198.18.0.2 7000
"""

import asyncio
from contextlib import suppress

from fastnet.aio import new_event_loop


class Chat:
    """Who is there."""

    def __init__(self) -> None:
        self.writers: dict[asyncio.StreamWriter, str] = {}

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One guest, from the name to the end."""
        writer.write(b"your name? ")
        name = "somebody"
        try:
            name = (await reader.readline()).decode().strip()
            self.writers[writer] = name
            self.say(writer, f"* {name} is here")
            while line := await reader.readline():
                self.say(writer, f"{name}: {line.decode().rstrip()}")
                # A guest who does not read slows the one down who writes, and nobody else.
                await asyncio.gather(*(other.drain() for other in self.writers), return_exceptions=True)
        except (ConnectionError, asyncio.CancelledError):
            # Reset by the guest, or the server ends.
            pass
        finally:
            if self.writers.pop(writer, None) is not None:
                self.say(writer, f"* {name} has left")
            writer.close()

    def say(self, speaker: asyncio.StreamWriter, line: str) -> None:
        for writer in self.writers:
            if writer is not speaker:
                writer.write(line.encode() + b"\n")


async def main(host: str = "198.18.0.2", port: int = 7000) -> None:
    """Chat until somebody ends it."""
    async with await asyncio.start_server(Chat().join, host, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    # Ctrl-C: the runner cancels main(), and raises this when everything is closed.
    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())
