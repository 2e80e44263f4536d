"""``fastnet serve``: the load-test server."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from ipaddress import IPv4Interface
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.live import Live

from fastnet._tun import Tun
from fastnet.cli.options import fail, set_option
from fastnet.config import Settings
from fastnet.devices import Capture, CapturedDevice, Device
from fastnet.devices.capture import MIB
from fastnet.isolation import SIGNALS
from fastnet.netns import Namespace, configure, isolated
from fastnet.server import AcceptClose, Chargen, Discard, Echo, Http, LoadServer, Mode
from fastnet.server.base import Report
from fastnet.server.faults import Corrupt, Dice, Fault, policy, read
from fastnet.stack import Stack

PATIENCE = 10
"""Seconds that a command has after SIGTERM before it is killed."""


def faults_of(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[tuple[Fault, float]]:
    """``--fault NAME[:ARG][@PROBABILITY]``, again and again.

    :raises click.BadParameter: no such fault, or not an argument that it takes
    """
    try:
        return [read(value) for value in values]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("mode", type=click.Choice(["http", "echo", "discard", "chargen", "accept-close"]))
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--address", default="198.18.0.2", show_default=True, help="The stack's address.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Where to listen.")
@click.option("--kernel", default="198.18.0.1/24", show_default=True, help="The kernel's address and network on the device.")
@click.option("--tun", "tun_name", default="fastnet0", show_default=True, help="Name of the TUN device.")
@click.option("--mtu", default=1500, show_default=True, type=click.IntRange(128, 65535), help="Of the device, bytes.")
@click.option(
    "--offload/--no-offload", default=True, show_default=True,
    help="Leave checksums of data and its segmentation to the kernel, both ways.",
)  # fmt: skip
@click.option("--backlog", default=4096, show_default=True, type=click.IntRange(0), help="Bound of the queues.")
@set_option
@click.option("--body", default=None, help="http: the body of the answer.")
@click.option("--body-size", default=None, type=click.IntRange(0, 1 << 30), help="http: a generated body of so many bytes.")
@click.option("--body-file", default=None, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="http: a file as body.")
@click.option("--status", default=200, show_default=True, type=click.IntRange(200, 599), help="http: the answer's status.")
@click.option("--delay", default=0.0, show_default=True, type=click.FloatRange(0, 3600), help="http: seconds before the answer.")
@click.option(
    "--request-timeout", default=0.0, show_default=True, type=click.FloatRange(0, 3600),
    help="http: seconds that a request may take to arrive, 0 for ever; then 408.",
)  # fmt: skip
@click.option(
    "--keep-alive-timeout", default=0.0, show_default=True, type=click.FloatRange(0, 3600),
    help="http: seconds that a connection may wait for its next request, 0 for ever.",
)  # fmt: skip
@click.option("--reset", is_flag=True, help="accept-close: with a RST instead of a FIN.")
@click.option(
    "--fault", "faults", metavar="NAME[:ARG][@PROBABILITY]", multiple=True, callback=faults_of,
    help="Go wrong on purpose, such as fin-after:1000@0.3; docs/faults.md has them all. May be repeated.",
)  # fmt: skip
@click.option("--fault-seed", default=0, show_default=True, help="Of what --fault leaves to chance: the same again with the same.")
@click.option(
    "--capture", default=None, type=click.Path(dir_okay=False, path_type=Path),
    help="Write all packets, both ways, to a pcapng file.",
)  # fmt: skip
@click.option(
    "--capture-limit", default=64, show_default=True, type=click.IntRange(1, 1 << 20),
    help="MiB of that file; then it ends, and the server goes on.",
)  # fmt: skip
@click.option("--private", is_flag=True, help="In a private network namespace; implied by a command.")
@click.option("--duration", default=None, type=click.FloatRange(0, min_open=True), help="Stop after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON every second, and a summary, on standard output.")
def serve(
    mode: str,
    command: tuple[str, ...],
    address: str,
    port: int,
    kernel: str,
    tun_name: str,
    mtu: int,
    offload: bool,
    backlog: int,
    settings: Settings,
    body: str | None,
    body_size: int | None,
    body_file: Path | None,
    status: int,
    delay: float,
    request_timeout: float,
    keep_alive_timeout: float,
    reset: bool,
    faults: list[tuple[Fault, float]],
    fault_seed: int,
    capture: Path | None,
    capture_limit: int,
    private: bool,
    duration: float | None,
    as_json: bool,
) -> None:
    """Serve connections on a stack of our own: http, echo, discard, chargen or accept-close.

    With a COMMAND (after --) it does so in a private network namespace, runs the command in there, and stops when it ends:

        fastnet serve http -- curl -s http://198.18.0.2:8080/

    Without one it takes a TUN device in the current namespace (root, or CAP_NET_ADMIN), until SIGINT, SIGTERM or SIGHUP.

    `fastnet serve asgi MODULE:APP` serves an application; `fastnet serve asgi --help` has its options.

    Exit codes: 0 it served, until SIGINT, SIGTERM or SIGHUP too; the command's own, where there is one, 128 + n when signal n ended it;
    2 a wrong option; 3 it could not start; 141 nobody reads --json any more.
    """
    check_addresses(address, kernel)
    if [body, body_size, body_file].count(None) < 2:
        raise click.UsageError("give one of --body, --body-size and --body-file")
    content = b"hello from fastnet\n"
    if body is not None:
        content = body.encode()
    elif body_size is not None:
        content = (b"fastnet " * (body_size // 8 + 1))[:body_size]
    elif body_file is not None:
        content = body_file.read_bytes()
    # A kernel that leaves a checksum out does not look at it either.
    offload = offload and not any(isinstance(fault, Corrupt) for fault, _ in faults)
    modes: dict[str, Callable[[], Mode]] = {
        "http": lambda: Http(content, status, delay, request_timeout, keep_alive_timeout),
        "echo": Echo,
        "discard": Discard,
        "chargen": Chargen,
        "accept-close": lambda: AcceptClose(reset),
    }

    def on(tun: Tun) -> int:
        with captured(tun, capture, capture_limit * MIB) as device:
            server = LoadServer(Stack(device, (address,), settings), modes[mode](), address, port, backlog)
            if faults:
                server.listener.set_policy(policy(Dice(faults, fault_seed), fault_seed))
            return run(server, command, duration, as_json, f"{mode} on {address} port {port} ({tun.name})")

    if private or command:

        def inside() -> int:
            try:
                with Namespace() as namespace:
                    return on(namespace.add_tun(kernel, tun_name, mtu, offload))
            except (OSError, ValueError) as error:
                fail(error)

        sys.exit(isolated(inside))
    try:
        with Tun(tun_name, mtu, offload=offload) as tun:
            configure(tun, kernel)
            sys.exit(on(tun))
    except (OSError, ValueError) as error:
        fail(error)


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


def check_addresses(address: str, kernel: str) -> None:
    """The stack's address must be another one of the network that the kernel has on the device.

    :raises click.BadParameter: it is not
    """
    try:
        network = IPv4Interface(kernel)
        stack = IPv4Interface(address)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if stack.ip not in network.network or stack.ip == network.ip:
        raise click.BadParameter(f"--address {address} is not another address of the network in --kernel {kernel}")


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
    last = server.report(server.stack.clock())

    def stopped() -> bool:
        return stopping or (child is not None and child.poll() is not None) or (duration is not None and elapsed() >= duration)

    def elapsed() -> float:
        return (server.stack.clock() - server.started) / 1e9

    if as_json:
        report = server.run(stopped, lambda now: print(json.dumps({"event": "tick", **asdict(now)}), flush=True))
    elif child is not None or not console.is_terminal:
        # The command has the terminal.
        report = server.run(stopped, lambda now: None)
    else:
        console.print(f"fastnet: {what}; SIGINT (Ctrl-C) ends it")
        with Live(line(last, last), console=console, transient=True) as live:

            def tick(now: Report) -> None:
                nonlocal last
                live.update(line(now, last))
                last = now

            report = server.run(stopped, tick)
    summary = {
        "event": "summary",
        **asdict(report),
        "counters": {name: value for name, value in server.stack.counters.as_dict().items() if value},
    }
    if as_json:
        print(json.dumps(summary), flush=True)
    elif child is None:
        rate = report.accepted / report.seconds if report.seconds else 0.0
        console.print(
            f"fastnet: {report.accepted} connections in {report.seconds:.1f} s ({rate:.0f}/s), {report.bytes_received} bytes in, "
            f"{report.bytes_sent} bytes out, {report.refused} refused"
        )
    if child is None:
        return 0
    if child.poll() is None:
        child.terminate()
    try:
        status = child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        status = child.wait()
    return status if status >= 0 else 128 - status


def line(now: Report, before: Report) -> str:
    """The live line."""
    seconds = now.seconds - before.seconds
    rate = (now.accepted - before.accepted) / seconds if seconds > 0 else 0.0
    return (
        f"{rate:9.0f} connections/s   {now.open:7d} open   syn queue {now.syn_queue:5d}   accept queue {now.accept_queue:5d}   "
        f"{now.refused} refused"
    )
