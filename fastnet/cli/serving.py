"""What ``fastnet serve`` does once its options are known."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fastnet._tun import Tun
from fastnet.cli.options import DEVICE_FAILED, fail, where
from fastnet.config import Settings
from fastnet.devices import Capture, CapturedDevice, Device
from fastnet.devices.capture import MIB
from fastnet.isolation import SIGNALS
from fastnet.netns import Namespace, check_free, configure, isolated
from fastnet.server import LoadServer, Mode
from fastnet.server.base import Report
from fastnet.server.faults import Dice, Fault, policy
from fastnet.stack import Stack

PATIENCE = 10
"""Seconds that a command has after SIGTERM before it is killed."""
LINGER = 0.5
"""Seconds that connections have to close after the command has ended."""


@dataclass(frozen=True)
class Job:
    """What to serve, and where.

    :ivar name: the mode's, ``mode`` the mode itself
    :ivar addresses: the stack's, all of which are served; ``port, backlog``: the listener's
    :ivar faults: with their probabilities; ``fault_seed`` of the dice
    :ivar kernels: the kernel's addresses and networks on the device ``tun_name``
    :ivar capture: file for all packets, of at most ``capture_limit`` MiB
    :ivar command: what is run beside the server, which stops when it ends; empty for none
    :ivar duration: seconds, None for ever
    :ivar as_json: a line of JSON every second and a summary, on standard output
    """

    name: str
    mode: Mode
    addresses: tuple[str, ...]
    port: int
    backlog: int
    settings: Settings
    faults: list[tuple[Fault, float]]
    fault_seed: int
    kernels: tuple[str, ...]
    tun_name: str
    mtu: int
    offload: bool
    capture: Path | None
    capture_limit: int
    command: tuple[str, ...]
    duration: float | None
    as_json: bool

    def run(self, private: bool) -> int:
        """Serve; the exit code.

        :param private: in a network namespace of its own
        """
        if private:
            return isolated(self.inside)
        try:
            with Tun(self.tun_name, self.mtu, offload=self.offload) as tun:
                check_free(self.kernels, tun)
                configure(tun, self.kernels)
                return self.on(tun)
        except PermissionError as error:
            fail(f"{error.strerror}; or give --private, for a namespace of its own")
        except (OSError, ValueError) as error:
            fail(error)

    def inside(self) -> int:
        """As ``run``, in a process that may enter a namespace."""
        try:
            with Namespace() as namespace:
                return self.on(namespace.add_tun(self.kernels, self.tun_name, self.mtu, self.offload))
        except (OSError, ValueError) as error:
            fail(error)

    def on(self, tun: Tun) -> int:
        """Serve on a device that is up; the exit code."""
        with captured(tun, self.capture, self.capture_limit * MIB) as device:
            server = LoadServer(Stack(device, self.addresses, self.settings), self.mode, where(self.addresses), self.port, self.backlog)
            if self.faults:
                server.listener.set_policy(policy(Dice(self.faults, self.fault_seed), self.fault_seed))
            what = f"{self.name} on {' and '.join(self.addresses)} port {self.port} ({tun.name})"
            try:
                return run(server, self.command, self.duration, self.as_json, what)
            except OSError as error:
                if server.stack.failure is None:
                    raise
                fail(error, DEVICE_FAILED)


@contextmanager
def captured(tun: Tun, path: Path | None, limit: int) -> Iterator[Device]:
    """The device; with a path, one that writes its packets there, and says in the end if some are not in the file."""
    if path is None:
        yield tun
        return
    try:
        file = path.open("wb")
    except OSError as error:
        fail(f"--capture {path}: {error.strerror}")
    capture = Capture(file, limit=limit)
    try:
        yield CapturedDevice(tun, capture)
    finally:
        capture.close()
        with suppress(OSError):  # The capture knows it already.
            file.close()
        if capture.failure is not None:
            click.echo(f"fastnet: {path} is not complete: {capture.failure.strerror}", err=True)
        elif capture.left_out:
            click.echo(f"fastnet: {path} is full: {capture.left_out} packets are not in it; see --capture-limit", err=True)


def run(server: LoadServer, command: tuple[str, ...], duration: float | None, as_json: bool, what: str) -> int:
    """Serve until the command ends, time is up, or SIGINT, SIGTERM or SIGHUP; report on the way. The exit code."""
    stopping = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            # The command takes its time, or does not want to: no more patience.
            sys.exit(128 + number)
        stopping = True

    for number in SIGNALS:
        # What nohup(1) has ignored stays so.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        child = subprocess.Popen(command) if command else None
    except OSError as error:
        fail(f"{command[0]}: {error.strerror}")
    console = Console(stderr=True)

    def stopped() -> bool:
        return stopping or (child is not None and child.poll() is not None) or (duration is not None and elapsed() >= duration)

    def elapsed() -> float:
        return (server.stack.clock() - server.started) / 1e9

    if child is None:
        click.echo(f"fastnet: {what}; Ctrl-C ends it", err=True)
    try:
        if as_json:
            server.run(stopped, lambda now: print(json.dumps({"event": "tick", **asdict(now)}), flush=True))
        elif child is not None or not console.is_terminal:
            # The command has the terminal.
            server.run(stopped, no_tick)
        else:
            run_live(server, stopped, console)
        status = 0 if child is None else end(child, server)
    except OSError:
        # The device has failed: the command has nobody to talk to any more.
        if child is not None and child.poll() is None:
            child.terminate()
            child.wait()
        raise
    report = server.report(server.stack.clock())
    if as_json:
        counters = {name: value for name, value in server.stack.counters.as_dict().items() if value}
        print(json.dumps({"event": "summary", **asdict(report), "counters": counters}), flush=True)
    else:
        click.echo(summary(report), err=True)
    return status


def run_live(server: LoadServer, stopped: Callable[[], bool], console: Console) -> None:
    """Serve, with a line on the terminal that changes every second."""
    last = server.report(server.stack.clock())
    with Live(line(last, last), console=console, transient=True) as live:

        def tick(now: Report) -> None:
            nonlocal last
            live.update(line(now, last))
            last = now

        server.run(stopped, tick)


def end(child: "subprocess.Popen[bytes]", server: LoadServer) -> int:
    """End the command if it has not ended, and serve until its connections are closed. Its exit code.

    What it has closed, the kernel still has to say: without this a capture would end before the FINs.
    """
    clock = server.stack.clock
    if child.poll() is None:
        child.terminate()
        patience = clock() + PATIENCE * 10**9
        server.run(lambda: child.poll() is not None or clock() >= patience, no_tick)
        if child.poll() is None:
            child.kill()
    status = child.wait()
    linger = clock() + int(LINGER * 1e9)
    server.run(lambda: server.under_way() == 0 or clock() >= linger, no_tick)
    return status if status >= 0 else 128 - status


def no_tick(_report: Report) -> None:
    """Nobody reads numbers."""


def summary(report: Report) -> str:
    """The line at the end."""
    rate = report.accepted / report.seconds if report.seconds else 0.0
    return (
        f"fastnet: {report.accepted} connections in {report.seconds:.1f} s ({rate:.0f}/s), {report.bytes_received} bytes in, "
        f"{report.bytes_sent} bytes out, {report.refused} refused"
    )


def line(now: Report, before: Report) -> Text:
    """The live line: never two of the terminal's."""
    seconds = now.seconds - before.seconds
    rate = (now.accepted - before.accepted) / seconds if seconds > 0 else 0.0
    return Text(
        f"{rate:7,.0f} new/s, {now.open:,} open; syn/accept queue {now.syn_queue:,}/{now.accept_queue:,}; {now.refused:,} refused",
        no_wrap=True,
        overflow="ellipsis",
    )
