"""A handshake that waits for a coroutine: what ``Arrival.defer`` is to programs that call back, this is to asyncio's."""

import asyncio
from collections.abc import Awaitable, Callable

from fastnet.tcp.policy import DROP, Accept, Arrival, Deferred, Drop, Policy, Reset

Decide = Callable[[Arrival], Awaitable[Accept | Drop | Reset]]


def deferring(decide: Decide, timeout: float = 10.0) -> Policy:
    """A policy that answers a SYN when a coroutine has returned; many SYNs may wait at once, up to fastnet_policy_waiting.

    What the coroutine raises goes to the loop's exception handler, and means drop. After the timeout it is cancelled.

    :param decide: from what the SYN says to the answer
    :param timeout: seconds after which the SYN is dropped
    :raises ValueError: from the policy, and so counted: not a time of 0 s to a day
    """
    # A task that nobody holds may be collected before it is done.
    running: set[asyncio.Task[None]] = set()

    async def carry_out(arrival: Arrival, waiting: Deferred) -> None:
        answer: Accept | Drop | Reset = DROP
        try:
            answer = await asyncio.wait_for(decide(arrival), timeout)
        finally:
            # Also after an error or a cancellation; too late, it does nothing.
            if isinstance(answer, Accept):
                waiting.accept(answer)
            else:
                waiting.refuse(isinstance(answer, Reset))

    def over(task: asyncio.Task[None]) -> None:
        running.discard(task)
        # The stack drops a SYN whose time is over itself, and counts why.
        if not task.cancelled() and not isinstance(task.exception(), TimeoutError | None):
            task.get_loop().call_exception_handler({"message": "deciding on a SYN", "exception": task.exception(), "task": task})

    def policy(arrival: Arrival) -> Deferred:
        waiting = arrival.defer(timeout)
        task = asyncio.get_running_loop().create_task(carry_out(arrival, waiting))
        running.add(task)
        task.add_done_callback(over)
        return waiting

    return policy
