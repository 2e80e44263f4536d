"""Whatever ends a command, at whatever moment: nothing is left of it, and its exit code says what it was."""

import contextlib
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastnet.isolation import isolated
from fastnet.netns import Namespace

FASTNET = [sys.executable, "-c", "from fastnet.cli.main import main; main()"]
SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"]
# The first has left the process group, and has no parent.
COMMAND = ["sh", "-c", "(setsid sleep 1000 &); echo up; exec sleep 1000"]
TOKEN = "FASTNET_TEST_TOKEN"


class Run:
    """A command in a process group of its own, and everything that it starts, which inherits a mark in its environment."""

    def __init__(self, *arguments: str, program: list[str] = FASTNET) -> None:
        self.token = uuid.uuid4().hex
        environment = {**os.environ, TOKEN: self.token}
        # As from a terminal: whoever started the tests may have it ignored.
        self.process = subprocess.Popen(
            [*program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=environment,
            start_new_session=True, preexec_fn=lambda: [signal.signal(getattr(signal, name), signal.SIG_DFL) for name in SIGNALS[:3]],
        )  # fmt: skip

    def left(self) -> dict[int, str]:
        """Processes with the mark: their names by their ids."""
        found = {}
        mark = f"{TOKEN}={self.token}".encode()
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (path / "environ").read_bytes() and int(path.name) != os.getpid():
                    found[int(path.name)] = (path / "cmdline").read_bytes().decode().replace("\0", " ")
        return found

    def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < deadline and self.process.poll() is None, self.process.communicate()
            time.sleep(0.01)

    def send(self, name: str, target: str) -> None:
        (os.kill if target == "alone" else os.killpg)(self.process.pid, getattr(signal, name))

    def end(self) -> tuple[int, str, str]:
        """Wait for it, and for everything else that is to end with it."""
        try:
            out, err = self.process.communicate(timeout=60)
            deadline = time.monotonic() + 10
            while left := self.left():
                assert time.monotonic() < deadline, left
                time.sleep(0.01)
        finally:
            for process in self.left():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        assert "Traceback" not in err, err
        return self.process.returncode, out, err


def code(name: str, otherwise: int | None = None) -> int:
    number = int(getattr(signal, name))
    return -number if name == "SIGKILL" else 128 + number if otherwise is None else otherwise


@pytest.mark.parametrize("target", ["alone", "group"])
@pytest.mark.parametrize("name", SIGNALS)
class TestCommands:
    """While it runs."""

    def test_serve_private(self, name: str, target: str) -> None:
        run = Run("serve", "http", "--private", "--json")
        assert run.process.stdout is not None
        assert json.loads(run.process.stdout.readline())["event"] == "tick"
        run.send(name, target)
        status, out, _ = run.end()
        assert status == code(name, 0)
        assert name == "SIGKILL" or json.loads(out.splitlines()[-1])["event"] == "summary"

    def test_serve_a_command(self, name: str, target: str) -> None:
        run = Run("serve", "http", "--", *COMMAND)
        assert run.process.stdout is not None
        assert run.process.stdout.readline() == "up\n"
        run.send(name, target)
        # The server has the command end with SIGTERM; the group's signal it has already.
        assert run.end()[0] in ({code(name), 143} if name != "SIGKILL" else {-9})

    def test_run(self, name: str, target: str) -> None:
        run = Run("run", "--", *COMMAND)
        assert run.process.stdout is not None
        assert run.process.stdout.readline() == "up\n"
        run.send(name, target)
        assert run.end()[0] == code(name)

    def test_compare(self, name: str, target: str) -> None:
        run = Run("compare", "--rounds", "100", "--duration", "60", "--row", "fastnet")
        run.until(lambda: len(run.left()) == 5)
        run.send(name, target)
        assert run.end()[0] == code(name)

    def test_serve_here(self, name: str, target: str) -> None:
        """Without a namespace of its own, the device is in ours."""
        with Namespace():
            run = Run("serve", "http", "--json")
            assert run.process.stdout is not None
            assert run.process.stdout.readline()
            assert "fastnet0" in [link for _, link in socket.if_nameindex()]
            run.send(name, target)
            assert run.end()[0] == code(name, 0)
            assert [link for _, link in socket.if_nameindex()] == ["lo"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_while_it_starts(name: str, processes: int) -> None:
    """As soon as there are so many processes; the interpreter's own start is not ours."""
    begin = "import fastnet.cli.main as m; group = m.group; m.group = lambda: (print('begun', flush=True), group()); m.main()"
    run = Run("run", "--", *COMMAND, program=[sys.executable, "-c", begin])
    assert run.process.stdout is not None
    run.process.stdout.readline()
    run.until(lambda: len(run.left()) >= processes)
    run.send(name, "alone")
    assert run.end()[0] == code(name)


@pytest.mark.parametrize("name", SIGNALS)
def test_while_it_ends(name: str) -> None:
    """A command that takes its time to end: a second signal, or SIGKILL, is the end of it."""
    script = "trap '' INT HUP; trap 'echo asked' TERM; echo up; while :; do sleep 1000 & wait; done"
    run = Run("serve", "http", "--", "sh", "-c", script)
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == "up\n"
    run.send("SIGTERM", "alone")
    # From now on main waits for the command; sent earlier it would be the same signal.
    assert run.process.stdout.readline() == "asked\n"
    run.send(name, "alone")
    assert run.end()[0] == code(name)


@contextlib.contextmanager
def caller(main: Callable[[], int]) -> Iterator[int]:
    """A process that calls ``isolated``, in a group of its own; everybody in it has a pipe's end, which tells when all are gone."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.close(ours)
            for name in SIGNALS[:3]:
                signal.signal(getattr(signal, name), signal.SIG_DFL)
            os.write(theirs, b"!")
            os._exit(isolated(main))
        finally:
            os._exit(1)
    os.close(theirs)
    # Sooner, a signal would find no group yet, or a copy of pytest.
    assert os.read(ours, 1) == b"!"
    try:
        yield child
        os.waitpid(child, 0)
        os.set_blocking(ours, False)
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(BlockingIOError):
                if os.read(ours, 1) == b"":
                    break
            assert time.monotonic() < deadline, "somebody is left"
            time.sleep(0.001)
    finally:
        os.close(ours)


@pytest.mark.parametrize("target", ["alone", "group"])
@pytest.mark.parametrize("name", SIGNALS)
def test_at_any_moment(name: str, target: str) -> None:
    """From the first fork on to the end: pauses that are drawn."""
    draw = random.Random(f"{name} {target}")

    def main() -> int:
        if os.fork() == 0:
            # In no process group of ours, and nobody's child.
            os.setsid()
        time.sleep(100)
        return 0

    for _ in range(12):
        with caller(main) as process:
            time.sleep(draw.random() * 0.06)
            with contextlib.suppress(ProcessLookupError):
                (os.kill if target == "alone" else os.killpg)(process, getattr(signal, name))


@pytest.mark.parametrize("victim", ["guard", "init", "main"])
def test_any_of_its_processes_may_be_killed(victim: str) -> None:
    run = Run("run", "--", *COMMAND)
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == "up\n"
    process = run.process.pid
    for _ in range(["guard", "init", "main"].index(victim) + 1):
        (process,) = map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()[:1])
    os.kill(process, signal.SIGKILL)
    assert run.end()[0] == 137


@pytest.mark.parametrize(("target", "expected"), [("alone", 1), ("group", 1)])
def test_a_signal_comes_once(target: str, expected: int) -> None:
    """Ctrl-C goes to the group, and the command has it from there: it must not be passed on as well."""
    program = (
        "import signal, time; n = []; signal.signal(signal.SIGINT, lambda *_: n.append(1)); signal.signal(signal.SIGTERM, lambda *_: "
        "(print(len(n), flush=True), exit(0))); print('up', flush=True)\nwhile True: time.sleep(1)"
    )
    run = Run("run", "--", sys.executable, "-c", program)
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == "up\n"
    run.send("SIGINT", target)
    # More than init waits to learn whom a signal was for.
    time.sleep(0.3)
    run.send("SIGTERM", target)
    assert run.end()[:2] == (0, f"{expected}\n")


@pytest.mark.parametrize("options", [["serve", "http", "--private"], ["serve", "http"]])
def test_nobody_reads(options: list[str]) -> None:
    """``fastnet serve --json | head -1``: as a program that SIGPIPE ends."""
    with Namespace():
        run = Run(*options, "--json")
        assert run.process.stdout is not None
        run.process.stdout.readline()
        run.process.stdout.close()
        run.process.stdout = None
        assert run.end()[0] == 141


def test_what_was_ignored_stays_so() -> None:
    """nohup(1)."""
    run = Run("-c", 'trap "" HUP; exec "$@"', "sh", *FASTNET, "serve", "http", "--private", "--json", program=["sh"])
    assert run.process.stdout is not None
    run.process.stdout.readline()
    run.send("SIGHUP", "group")
    assert json.loads(run.process.stdout.readline())["event"] == "tick"
    run.send("SIGTERM", "alone")
    assert run.end()[0] == 0


# ---- examples ----

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("example", "arguments", "port"),
    [("asyncio_chat", [], 7000), ("asyncio_http", [], 8080), ("deferred_proxy", ["198.18.0.1", "9"], 8080)],
)
def test_ctrl_c_on_examples_that_run_on(example: str, arguments: list[str], port: int) -> None:
    """One client is connected, where it can be: it ends without a traceback."""
    text = (EXAMPLES / f"{example}.py").read_text()
    assert "serve_forever" in text
    # The client stays while the server does: both are in the namespace, and the signal is for the server.
    client = f"import socket, time\nfor _ in range(500):\n try: s = socket.create_connection(('198.18.0.2', {port}), 1); break\n"
    client += " except ConnectionRefusedError:\n  if 'deferred' in '" + example + "' and _ > 50: break\n  time.sleep(0.02)\n"
    client += " except OSError: pass\nprint('up', flush=True)\ntime.sleep(1000)"
    script = f'"{sys.executable}" -c "$1" & exec "{sys.executable}" {EXAMPLES}/{example}.py {" ".join(arguments)}'
    run = Run("run", "--", "sh", "-c", script, "sh", client)
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == "up\n"
    run.send("SIGINT", "alone")
    status, _, err = run.end()
    assert (status, err) == (0, "")


def test_every_example_that_runs_on_is_tried() -> None:
    found = {path.stem for path in EXAMPLES.glob("*.py") if "serve_forever()" in path.read_text() and "asyncio" in path.read_text()}
    assert found == {"asyncio_chat", "asyncio_http", "deferred_proxy"}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_serve_asgi(name: str) -> None:
    program = [sys.executable, "-c", f"import os; os.chdir({str(EXAMPLES)!r})\n{FASTNET[2]}"]
    run = Run("serve", "asgi", "--log-level", "info", "asgi_app:app", program=program)
    assert run.process.stderr is not None
    while "running on" not in run.process.stderr.readline():
        assert run.process.poll() is None
    run.send(name, "alone")
    assert run.end()[0] == code(name)


# ---- worker processes ----


@pytest.mark.parametrize(
    "arguments",
    [["--workers", "2"], ["--workers=3"], ["--reload"], ["-m", "uvicorn", "--reload"], ["gunicorn", "-b", "198.18.0.2:80"]],
)
def test_worker_processes_are_told_what_to_do(arguments: list[str]) -> None:
    begin = [] if arguments[0] == "gunicorn" else ["python"] if arguments[0] == "-m" else ["uvicorn"]
    run = Run("run", "--", *begin, *arguments, "--host", "198.18.0.2", "app:app")
    status, _, err = run.end()
    assert status == 2
    assert "a stack lives in one process: run one, `uvicorn --loop fastnet.aio:new_event_loop --host 198.18.0.2" in " ".join(err.split())


def test_one_worker_is_none() -> None:
    run = Run("run", "--", "sh", "-c", "echo ran $*", "sh", "uvicorn", "--workers", "1", "--host", "198.18.0.2")
    assert run.end()[:2] == (0, "ran uvicorn --workers 1 --host 198.18.0.2\n")


# ---- without root ----


@pytest.fixture
def as_nobody(tmp_path: Path) -> list[str]:
    """A command that runs another as a user without rights, for whom the TUN device is open."""
    device = tmp_path / "tun"
    script = f'mount --bind {device} /dev/net/tun && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'
    with contextlib.suppress(OSError):
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(10, 200))
        device.chmod(0o666)
    command = ["unshare", "--mount", "sh", "-c", script, "sh"]
    attempt = [*command, sys.executable, "-c", "import fastnet; open('/dev/net/tun', 'r+b', 0)"]
    tried = subprocess.run(attempt, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no user without rights can have a TUN device here: {tried.stderr}")
    return command


def test_a_comparison_without_root(as_nobody: list[str]) -> None:
    """rich has a thread, and a user namespace takes a process without."""
    rows = ["--row", "fastnet", "--row", "kernel"]
    run = Run("compare", "--rounds", "1", "--duration", "0.1", *rows, "--json", program=[*as_nobody, *FASTNET])
    status, out, err = run.end()
    if "sysctl" in err:
        pytest.skip(err)
    assert status == 0, err
    assert set(json.loads(out)["rows"]) == {"fastnet", "kernel"}


@pytest.mark.parametrize("name", SIGNALS)
def test_a_server_without_root(as_nobody: list[str], name: str) -> None:
    run = Run("serve", "http", "--json", "--", *COMMAND, program=[*as_nobody, *FASTNET])
    assert run.process.stdout is not None
    line = run.process.stdout.readline()
    if not line:
        _, _, err = run.end()
        pytest.skip(err)
    run.send(name, "group")
    assert run.end()[0] in {code(name), 143}
