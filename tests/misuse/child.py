"""Tries misuses one after another, and writes down which before it does. ``python -m tests.misuse.child STATUS WHICH FIRST SHARE SEED``."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from random import Random

from tests.misuse.byhand import BY_HAND
from tests.misuse.surface import Misuse, surface
from tests.misuse.world import World

SECONDS = 10
"""A misuse and what comes after it end within this much CPU time, or it never ends: a busy machine is no reason."""
WAITING = 120
"""One that waits takes no CPU time: it ends within so many seconds."""
MEMORY = 6 << 30
"""Bytes of address space: what asks for more gets a MemoryError."""
STACK = 2 << 20
"""Bytes of C stack, a quarter of the usual: recursion without a bound is found sooner."""


def chosen(which: str, share: float, seed: int) -> list[Misuse]:
    """The misuses to try: ``byhand``, or a share of the ``surface``."""
    if which == "byhand":
        return [Misuse(name, act) for name, act in BY_HAND.items()]
    every = surface()
    if share >= 1:
        return every
    random = Random(seed)
    return [misuse for misuse in every if random.random() < share]


def attempt(misuse: Misuse) -> None:
    world = World()
    result = None
    try:
        result = misuse.act(world)
    except Exception as error:
        if isinstance(error, SystemError):
            print(f"{misuse.name}: {error!r}", flush=True)
    world.use()
    del world, result


def main() -> None:
    path, which, *numbers = sys.argv[1:]
    status, first, share, seed = os.open(path, os.O_WRONLY), int(numbers[0]), float(numbers[1]), int(numbers[2])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_STACK, (STACK, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    sys.unraisablehook = lambda _: None
    misuses = chosen(which, share, seed)
    for number, misuse in enumerate(misuses):
        if number < first:
            continue
        os.pwrite(status, f"{number:8d} {misuse.name[:300]:300s}".encode(errors="replace"), 0)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(WAITING)
        attempt(misuse)
        if number % 50 == 0:
            gc.collect()
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.alarm(0)
    os.pwrite(status, f"{len(misuses):8d} {'done':300s}".encode(), 0)


if __name__ == "__main__":
    main()
