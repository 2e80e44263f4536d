"""``fastnet run``: a program in a private namespace, with a TUN device that its event loop or its sockets find by the environment."""

import errno
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import fastnet.startup
from fastnet.ambient import as_environment
from fastnet.cli.options import fail, set_option
from fastnet.cli.serve import check_addresses
from fastnet.config import Settings
from fastnet.isolation import in_user_namespace, pid_outside
from fastnet.netns import Namespace, isolated, keep

STARTUP = Path(fastnet.startup.__file__).parent
"""The directory whose sitecustomize patches."""


def stack_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which stack it is."""
    for option in (
        set_option,
        click.option(
            "--offload/--no-offload", default=True, show_default=True,
            help="Leave checksums of data and its segmentation to the kernel, both ways.",
        ),
        click.option("--mtu", default=1500, show_default=True, type=click.IntRange(128, 65535), help="Of the device, bytes."),
        click.option("--tun", "tun_name", default="fastnet0", show_default=True, help="Name of the TUN device."),
        click.option("--kernel", default="198.18.0.1/24", show_default=True, help="The kernel's address and network on the device."),
        click.option("--address", default="198.18.0.2", show_default=True, help="The stack's address."),
    ):  # fmt: skip
        command = option(command)
    return command


def check_workers(command: tuple[str, ...], address: str) -> None:
    """A server with worker processes binds its address in one process, with the kernel, and serves in others: no stack can follow.

    :raises click.UsageError: it is one of those, and it is told to serve on the stack
    """
    if not any(address in word or word.startswith("fastnet.aio") for word in command):
        return
    words = [Path(word).name for word in command[:3]]
    if "gunicorn" in words:
        what = "gunicorn"
    elif "uvicorn" in words:
        count = os.environ.get("WEB_CONCURRENCY", "1")
        for word, following in zip(command, (*command[1:], ""), strict=True):
            if word == "--workers":
                count = following
            elif word.startswith("--workers="):
                count = word.partition("=")[2]
        if "--reload" in command:
            what = "uvicorn --reload"
        elif count.isdecimal() and int(count) > 1:
            what = f"uvicorn with {count} workers"
        else:
            return
    else:
        return
    raise click.UsageError(
        f"{what} binds in one process and serves in others, but a stack lives in one process: "
        f"run one, `uvicorn --loop fastnet.aio:new_event_loop --host {address} ...`, without --workers and --reload"
    )


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--patched", is_flag=True, help="Every Python that the command starts runs as inside fastnet.patched().")
@stack_options
def run(
    command: tuple[str, ...], patched: bool, address: str, kernel: str, tun_name: str, mtu: int, offload: bool, settings: Settings
) -> None:
    """Run a COMMAND in a private network namespace with a TUN device, and tell it by its environment where the stack is to be.

    An event loop of fastnet.aio, or fastnet.patched(), takes the device:

        fastnet run -- uvicorn --loop fastnet.aio:new_event_loop --host 198.18.0.2 app:app

    With --patched a program needs neither. One process can have the device: the first that binds to it or connects over it.

        fastnet run --patched -- python -m http.server --bind 198.18.0.2

    When nothing has gone over the device in the end, a line on standard error says so.

    The command and what it starts are in the namespace; nsenter(1) brings others there.

    When the command ends, whatever it has started is ended too, and so it is when fastnet itself is killed. SIGINT, SIGTERM and SIGHUP
    are passed on to the command.

    Exit codes: the command's own, 128 + n when signal n ended it; 2 a wrong option; 3 it could not start.
    """
    check_addresses(address, kernel)
    check_workers(command, address)
    witness = Witness()

    if shutil.which(command[0]) is None:
        # Said before there is a namespace, and by one line alone.
        fail(f"{command[0]}: {os.strerror(errno.EACCES if os.path.exists(command[0]) else errno.ENOENT)}")

    def inside() -> int:
        try:
            with Namespace() as namespace:
                tun = namespace.add_tun(kernel, tun_name, mtu, offload)
                keep(tun)
                os.environ.update(as_environment(tun.name, (address,), settings, mtu, offload))
                tun.close()
                if patched:
                    path = [str(STARTUP), os.environ.get("PYTHONPATH", "")]
                    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
                witness.send()
                # Python ignores them, and what is ignored stays so in the command.
                for number in (signal.SIGPIPE, signal.SIGXFSZ):
                    signal.signal(number, signal.SIG_DFL)
                if sys.stderr.isatty():
                    enter = "nsenter -U --preserve-credentials -n" if in_user_namespace() else "nsenter -n"
                    click.echo(f"fastnet: to talk to it: {enter} -t {pid_outside()} COMMAND", err=True)
                try:
                    os.execvp(command[0], command)
                except OSError as error:
                    fail(f"{command[0]}: {error.strerror}")
        except (OSError, ValueError) as error:
            fail(error)

    status = isolated(inside)
    if witness.packets(tun_name) == 0:
        click.echo(
            f"fastnet: nothing went over {tun_name}: {command[0]} has used the kernel's sockets, or none. An event loop of fastnet.aio, "
            "fastnet.patched() or `fastnet run --patched` takes the device, for what is sent to its network or bound to its address",
            err=True,
        )
    sys.exit(status)


class Witness:
    """Tells what went over a device of a network namespace, after everybody in there has gone.

    An open /proc/net/dev holds the namespace that it was opened in; it comes here through a pair of sockets.
    """

    def __init__(self) -> None:
        self._here, self._there = socket.socketpair()

    def send(self) -> None:
        """Called in the namespace."""
        with open("/proc/thread-self/net/dev") as file:
            socket.send_fds(self._there, [b"x"], [file.fileno()])

    def packets(self, name: str) -> int | None:
        """How many packets the kernel got from the device; None when the namespace was never reached."""
        self._there.close()
        with self._here:
            _, numbers, _, _ = socket.recv_fds(self._here, 1, 1)
        for number in numbers:
            with open(number) as file:
                for line in file:
                    device, _, figures = line.partition(":")
                    if device.strip() == name:
                        return int(figures.split()[1])
        return None
