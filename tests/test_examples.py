"""The examples do what they say."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "in_memory.py"), run_name="__main__")
    sent = re.findall(r"^ *([\d.]+) s  SYN-ACK, 44 bytes, syn queue 1$", capsys.readouterr().out, re.MULTILINE)
    assert sent == ["0.0", "1.0", "3.0", "7.0"]


def test_the_readmes_server() -> None:
    """The ten lines, run as they stand, with a kernel client inside their namespace."""
    import socket
    import threading

    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    heard = []

    def client() -> None:
        with socket.create_connection(("198.18.0.2", 8080), timeout=5) as sock:
            sock.sendall(b"world")
            heard.append(sock.recv(100))

    # The client has to be born in the namespace: start it where the server begins to wait.
    code = code.replace("    connection, peer = listener.accept()", "    start()\n    connection, peer = listener.accept()")
    thread = threading.Thread(target=client)
    exec(compile(code, "README.md", "exec"), {"start": thread.start})
    thread.join(5)
    assert heard == [b"hello, world"]
