"""What ``fastnet serve asgi`` does once its options are known."""

import asyncio
import sys

from fastnet.aio import new_event_loop
from fastnet.ambient import Ambient
from fastnet.cli.options import DEVICE_FAILED, fail
from fastnet.config import Settings
from fastnet.driver import Driver
from fastnet.netns import Namespace, isolated
from fastnet.stack import Stack


def serve_application(
    application: str,
    command: tuple[str, ...],
    port: int,
    log_level: str,
    addresses: tuple[str, ...],
    kernels: tuple[str, ...],
    tun_name: str,
    mtu: int,
    offload: bool,
    settings: Settings,
) -> int:
    """Serve an ASGI application, and run the command beside it if there is one; the exit code."""
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
        config = uvicorn.Config(application, host=addresses[0] if len(addresses) == 1 else "", port=port, log_level=log_level)
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
                stack = Stack(namespace.add_tun(kernels, tun_name, mtu, offload), addresses, settings)
                with asyncio.Runner(loop_factory=lambda: new_event_loop(Ambient(Driver(stack)))) as runner:
                    return runner.run(main(stack))
        except (OSError, ValueError) as error:
            fail(error)

    return isolated(inside)
