"""asyncio in process: an event loop that drives a stack.

    asyncio.run(main(), loop_factory=fastnet.aio.new_event_loop)            # Python 3.12
    with asyncio.Runner(loop_factory=fastnet.aio.new_event_loop) as runner:  # Python 3.11
        runner.run(main())
"""

from fastnet.aio.deferring import deferring
from fastnet.aio.loop import EventLoop
from fastnet.aio.transport import Transport
from fastnet.aio.virtual import VirtualEventLoop
from fastnet.ambient import Ambient

__all__ = ["EventLoop", "Transport", "VirtualEventLoop", "deferring", "new_event_loop"]


def new_event_loop(ambient: Ambient | None = None, busy_poll: float = 0.0) -> EventLoop:
    """An event loop with a stack; the parameters are ``EventLoop``'s."""
    return EventLoop(ambient, busy_poll)
