"""CPython's own tests of asyncio, where the interpreter ships them: what fails on a loop of ours, and why."""

import importlib.util
import json
import subprocess
import sys

import pytest

WILDCARD = "it listens on every address, which is the stack's, and connects over loopback, which is the kernel's"
EXPECTED = {
    "test_create_connection": "it asks for an instance of asyncio.Transport, which a compiled class cannot be (uvloop's are none either)",
    "test_create_connection_local_addr": "it wants the server's own address for the client, and that is the kernel's",
    "test_create_connection_local_addr_in_use": "the same",
    "test_create_server": WILDCARD,
    "test_create_server_addr_in_use": WILDCARD,
    "test_create_server_dual_stack": WILDCARD,
    "test_server_close": WILDCARD,
}


def outcome(*names: str) -> dict[str, object]:
    command = [sys.executable, "-m", "tests.wire.cpython_asyncio", *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("test") is None or importlib.util.find_spec("test.test_asyncio") is None,
    reason="the interpreter's own tests are missing (Debian: libpython3-testsuite)",
)


def test_streams() -> None:
    result = outcome("test_streams", "test_buffered_proto", "test_server", "test_context")
    assert result["failed"] == {} and result["run"] >= 60 and result["opened"] >= 10


def test_events() -> None:
    result = outcome("test_events.EPollEventLoopTests", "test_sendfile.EPollEventLoopTests")
    assert set(result["failed"]) <= set(EXPECTED), result
    assert result["run"] >= 80 and result["opened"] >= 3
