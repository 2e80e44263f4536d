"""``fastnet run``: programs that know nothing of fastnet over a device, and a line when nothing went over it."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.wire.conftest import STACK

KERNEL = "198.18.0.1"
LOUD = "fastnet: nothing went over fastnet0"


def run(*arguments: str, timeout: float = 60) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from fastnet.cli.main import main; main()", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def python(program: str) -> tuple[str, ...]:
    return sys.executable, "-c", textwrap.dedent(program)


SERVER = """
    import http.server, subprocess, threading
    server = http.server.ThreadingHTTPServer(({host!r}, 8000), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.socket.__class__.__mro__[1].__name__)
    print(subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{{http_code}}", "--max-time", "20", "http://{to}:8000/"],
        stdout=subprocess.PIPE, text=True).stdout)
"""


@pytest.mark.parametrize("host", ["", STACK])
def test_a_server_that_knows_nothing(host: str) -> None:
    done = run("--patched", "--", *python(SERVER.format(host=host, to=STACK)))
    assert done.returncode == 0 and done.stdout == "EitherSocket\n200\n", done.stderr
    assert LOUD not in done.stderr


def test_a_client_that_knows_nothing() -> None:
    """Its last words are acknowledged before the process ends, also where it closes nothing."""
    program = """
        import http.server, socket, subprocess, sys, threading
        if sys.argv[1:]:
            sock = socket.create_connection(("198.18.0.1", 9000), 10)
            sock.sendall(b"last words" * 20_000)
            sys.exit()
        with socket.create_server(("198.18.0.1", 9000)) as listener:
            child = subprocess.Popen([sys.executable, sys.argv[0], "client"])
            sock, _ = listener.accept()
            print(sum(len(data) for data in iter(lambda: sock.recv(65536), b"")))
            print(child.wait(20))
    """
    path = Path(__file__)
    assert path.exists()
    done = run("--patched", "--", *python(f"""
        import runpy, sys, tempfile
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write({textwrap.dedent(program)!r})
            file.flush()
            sys.argv = [file.name]
            runpy.run_path(file.name, run_name="__main__")
    """))  # fmt: skip
    assert done.returncode == 0 and done.stdout == "200000\n0\n", done.stderr
    assert LOUD not in done.stderr


def test_the_device_is_taken_when_it_is_needed_by_one() -> None:
    """Programs that start others leave it to them; a second one that wants it is told why it cannot have it."""
    program = f"""
        import socket, subprocess, sys
        other = [sys.executable, "-c", "import socket; socket.create_server(('{STACK}', 1)); print('fine')"]
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
            print("the kernel's", flush=True)
        subprocess.run(other)
        with socket.create_server(("{STACK}", 80)) as listener, socket.create_connection(listener.getsockname()):
            print("ours", flush=True)
            print(subprocess.run(other, stderr=subprocess.PIPE, text=True).stderr.splitlines()[-1])
    """
    done = run("--patched", "--", *python(program))
    assert done.returncode == 0, done.stderr
    first, second, third, fourth = done.stdout.splitlines()
    assert (first, second, third) == ("the kernel's", "fine", "ours")
    assert "in use by another program" in fourth


def test_a_sitecustomize_of_ones_own_is_imported_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins; builtins.mine = 'mine'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run("--patched", "--", *python(f"import socket; socket.create_server(('{STACK}', 1)); print(mine)"))
    assert done.returncode == 0 and done.stdout == "mine\n", done.stderr


@pytest.mark.parametrize("options", [(), ("--patched",)])
def test_nothing_went_over_the_device(options: tuple[str, ...]) -> None:
    """Said aloud, whatever the command's exit code, which stays."""
    done = run(*options, "--", *python("import socket; socket.create_server(('127.0.0.1', 0)); raise SystemExit(7)"))
    assert done.returncode == 7 and done.stderr.count(LOUD) == 1 and sys.executable in done.stderr


def test_the_kernels_packets_do_not_count() -> None:
    """What the kernel sends into the device, where nobody takes it, is not the command's doing."""
    done = run("--", *python(f"import socket; s = socket.socket(); s.settimeout(0.3); print(s.connect_ex(('{STACK}', 80)))"))
    assert done.stderr.count(LOUD) == 1, done.stderr


def test_an_event_loop_takes_the_device() -> None:
    program = f"""
        import asyncio, fastnet.aio
        async def main():
            server = await asyncio.start_server(lambda reader, writer: writer.close(), "{STACK}", 80)
            curl = await asyncio.create_subprocess_exec("curl", "-s", "--max-time", "10", "http://{STACK}/")
            print(await curl.wait())
        asyncio.Runner(loop_factory=fastnet.aio.new_event_loop).run(main())
    """
    done = run("--", *python(program))
    assert done.stdout == "52\n" and LOUD not in done.stderr, done.stderr
