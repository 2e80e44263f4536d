"""CPython's own tests of asyncio on a loop of ours; run by test_aio_cpython.py, in a process of its own.

The tests' servers (``run_test_server``) get an address of the kernel's on the TUN device, so that what connects to them goes over the
stack; everything else that they make is the kernel's, and has to work as ever on a loop whose sleeping a reactor does.
"""

import asyncio
import json
import sys
import unittest
from typing import Any

from fastnet.aio import EventLoop, new_event_loop
from fastnet.ambient import Ambient
from fastnet.driver import Driver
from fastnet.netns import Namespace, isolated
from fastnet.stack import Stack


def main() -> int:
    """Run the tests that are named; one line of JSON."""
    from test.test_asyncio import utils

    with Namespace() as namespace:
        stack = Stack(namespace.add_tun(), ("198.18.0.2",))

        def new_loop(_selector: Any = None) -> EventLoop:
            return new_event_loop(Ambient(Driver(stack)))

        class Policy(asyncio.DefaultEventLoopPolicy):
            _loop_factory = staticmethod(new_loop)

        asyncio.new_event_loop = new_loop
        asyncio.SelectorEventLoop = new_loop  # type: ignore[misc, assignment]
        asyncio.set_event_loop_policy(Policy())
        utils.run_test_server.__wrapped__.__kwdefaults__["host"] = "198.18.0.1"
        tests = unittest.defaultTestLoader.loadTestsFromNames([f"test.test_asyncio.{name}" for name in sys.argv[1:]])
        result = unittest.TextTestRunner(stream=sys.stderr).run(tests)
        failed = {test.id().rpartition(".")[2]: text.strip().splitlines()[-1] for test, text in result.failures + result.errors}
        print(json.dumps({"run": result.testsRun, "failed": failed, "opened": stack.counters.TcpActiveOpens}))
    return 0


if __name__ == "__main__":
    sys.exit(isolated(main))
