"""The same programs on asyncio's own loop over loopback, and on a stack that talks to itself: what the one does, the other has to do."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from fastnet.aio import VirtualEventLoop

LEFT: list[Any] = []
"""Servers and transports that a test may have left open."""


@dataclass
class World:
    """A kind of loop, and an address that a server may have on it."""

    name: str
    new_loop: Callable[[], asyncio.AbstractEventLoop]
    host: str

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run a program to its end."""

        async def tidy() -> Any:
            try:
                return await asyncio.wait_for(main, 60 if self.name == "asyncio" else 5000)
            finally:
                for left in LEFT:
                    if isinstance(left, asyncio.Server):
                        left.close()
                    elif not left.is_closing():
                        left.abort()
                LEFT.clear()
                await asyncio.sleep(0.01)

        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            return runner.run(tidy())


WORLDS = (World("fastnet", VirtualEventLoop, "198.18.0.2"), World("asyncio", asyncio.SelectorEventLoop, "127.0.0.1"))


@pytest.fixture(params=WORLDS, ids=lambda world: world.name)
def world(request: pytest.FixtureRequest) -> World:
    return request.param


@pytest.fixture
def virtual() -> World:
    return WORLDS[0]
