"""``fastnet serve asgi``: an ASGI application on a stack of our own, by uvicorn."""

import asyncio
import sys

import click

from fastnet.aio import new_event_loop
from fastnet.ambient import Ambient
from fastnet.cli.options import DEVICE_FAILED, fail
from fastnet.cli.run import stack_options
from fastnet.cli.serve import check_addresses
from fastnet.config import Settings
from fastnet.driver import Driver
from fastnet.netns import Namespace, isolated
from fastnet.stack import Stack


@click.command()
@click.argument("application", metavar="MODULE:APP")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Where to listen.")
@click.option("--log-level", default="warning", show_default=True, help="uvicorn's.")
@stack_options
def asgi(
    application: str,
    command: tuple[str, ...],
    port: int,
    log_level: str,
    address: str,
    kernel: str,
    tun_name: str,
    mtu: int,
    offload: bool,
    settings: Settings,
) -> None:
    """Serve an ASGI application on a stack of our own, in a private network namespace.

    MODULE is looked for in the current directory too. With a COMMAND (after --) it runs that in there, and stops when it ends:

        fastnet serve asgi app:app -- curl -s http://198.18.0.2:8080/

    It is uvicorn, without options of its own: `fastnet run -- uvicorn ...` has them all. It takes the extra asgi of the package.

    Exit codes: 0 it served; the command's own, where there is one; 2 a wrong option; 3 it could not start; 4 the device failed.
    """
    check_addresses(address, kernel)
    try:
        import uvicorn
    except ImportError:
        fail("serve asgi takes uvicorn: pip install 'fastnet-tcp[asgi]'")
    sys.path.insert(0, "")

    async def watch(stack: Stack, server: uvicorn.Server) -> None:
        # uvicorn does not look whether what it listens on has been closed.
        while stack.failure is None:
            await asyncio.sleep(0.1)
        server.should_exit = server.force_exit = True

    async def main(stack: Stack) -> int:
        config = uvicorn.Config(application, host=address, port=port, log_level=log_level)
        config.load()
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        watching = asyncio.create_task(watch(stack, server))
        status = 0
        if command:
            while not server.started and not serving.done():
                await asyncio.sleep(0.01)
            if not serving.done():
                child = await asyncio.create_subprocess_exec(*command)
                ended = asyncio.create_task(child.wait())
                await asyncio.wait({ended, watching}, return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    child.terminate()
                status = await ended
                server.should_exit = True
        await serving
        watching.cancel()
        if stack.failure is not None:
            # The loop has said why.
            return DEVICE_FAILED
        return status if status >= 0 else 128 - status

    def inside() -> int:
        try:
            with Namespace() as namespace:
                stack = Stack(namespace.add_tun(kernel, tun_name, mtu, offload), (address,), settings)
                with asyncio.Runner(loop_factory=lambda: new_event_loop(Ambient(Driver(stack)))) as runner:
                    return runner.run(main(stack))
        except (OSError, ValueError) as error:
            fail(error)

    sys.exit(isolated(inside))
