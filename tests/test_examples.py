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


def test_policy(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "policy.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    found = [re.match(r" *([\d.]+) s  (SYN-ACK|RST) +to 198\.18\.(\d)\.7, ttl (\d+), window (\d+)", line) for line in lines[:-1]]
    assert [match.groups() for match in found if match] == [
        ("0.0", "SYN-ACK", "1", "3", "1000"),
        ("0.0", "RST", "2", "64", "0"),
        ("0.0", "SYN-ACK", "5", "64", "65535"),
        ("1.5", "SYN-ACK", "3", "64", "65535"),
        ("3.0", "SYN-ACK", "4", "64", "65535"),
    ]
    assert lines[-1] == "requests 3, cookies 1, refused 1"


def test_network(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "network.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert sorted(re.sub(r"port \d+", "port N", line) for line in lines) == [
        "client: HELLO", "server: descriptor 2 leads to 198.18.0.1 port N", "server: the client has closed",
    ]  # fmt: skip


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
