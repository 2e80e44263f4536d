"""A function in a process of its own: what its end becomes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

import pytest

from fastnet.isolation import BROKEN_PIPE, in_user_namespace, isolated, pid_outside


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


def killed(number: int) -> Callable[[], int]:
    def main() -> int:
        os.kill(os.getpid(), number)
        signal.pause()
        return 0

    return main


@pytest.mark.parametrize(("main", "code"), [
    (lambda: 0, 0), (lambda: 7, 7), (raising(ValueError("of the test")), 1), (raising(SystemExit(5)), 5), (raising(SystemExit()), 0),
    (raising(SystemExit("why")), 1), (raising(KeyboardInterrupt()), 130), (raising(BrokenPipeError()), BROKEN_PIPE),
    (killed(signal.SIGKILL), 137), (killed(signal.SIGTERM), 143),
], ids=["0", "7", "error", "exit 5", "exit", "exit why", "interrupt", "pipe", "SIGKILL", "SIGTERM"])  # fmt: skip
def test_exit_codes(main: Callable[[], int], code: int) -> None:
    """What the function returned; as a shell has it for what ended it otherwise."""
    assert isolated(main) == code


def test_why_it_ended_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    """A traceback for an error, the words of an exit; what was printed before comes out too, and once."""
    print("before", flush=False)
    assert isolated(raising(ValueError("of the test"))) == 1
    assert isolated(raising(SystemExit("why not"))) == 1
    said = capfd.readouterr()
    assert said.err.count("ValueError: of the test") == 1 and said.err.count("why not\n") == 1 and said.out.count("before") == 1


def test_it_is_a_process_of_its_own() -> None:
    """With nobody of the caller's descriptors for the pipes, the handlers as they were, and one thread."""
    parent = os.getpid()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    reads, writes = os.pipe()

    def main() -> int:
        os.write(writes, f"{pid_outside()} {os.getpid()} {len(os.listdir('/proc/self/task'))}".encode())
        return 0 if pid_outside() != parent else 1

    before = set(os.listdir("/proc/self/fd"))
    assert isolated(main) == 0
    assert len(set(os.listdir("/proc/self/fd"))) == len(before), "no descriptor is left open"
    outside, _, threads = os.read(reads, 100).split()
    os.close(reads)
    os.close(writes)
    assert int(outside) != parent and int(threads) == 1
    assert not os.path.exists(f"/proc/{int(outside)}"), "it has ended"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []), "nothing stays blocked"
    assert sys.exc_info() == (None, None, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: without root, isolation makes a user namespace of its own")
def test_root_stays_in_its_user_namespace() -> None:
    """What root may do outside, such as reaching devices and files of others, the function may do too."""
    outside = os.stat("/proc/self/ns/user").st_ino

    def main() -> int:
        return 2 * in_user_namespace() + (os.stat("/proc/self/ns/user").st_ino != outside)

    assert isolated(main) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on(number: int) -> None:
    """One that the caller alone hears reaches the function."""
    caller = os.getpid()

    def main() -> int:
        heard: list[int] = []
        signal.signal(number, lambda got, _frame: heard.append(got))
        if os.fork() == 0:
            # Out of the process group: as from another terminal.
            os._exit(0)
        os.wait()
        os.write(ready, b"!")
        signal.alarm(20)
        while not heard:
            signal.pause()
        return 40 + heard[0]

    waits, ready = os.pipe()
    sender = os.fork()
    if sender == 0:
        os.read(waits, 1)
        os.kill(caller, number)
        os._exit(0)
    try:
        assert isolated(main) == 40 + number
    finally:
        os.waitpid(sender, 0)
        os.close(waits)
        os.close(ready)
