"""What ``fastnet run`` does once its options are known."""

import errno
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import click

import fastnet.startup
from fastnet.ambient import as_environment
from fastnet.cli.options import fail
from fastnet.config import Settings
from fastnet.isolation import in_user_namespace, pid_outside
from fastnet.netns import Namespace, isolated, keep

STARTUP = Path(fastnet.startup.__file__).parent
"""The directory whose sitecustomize patches."""


def run_program(
    command: tuple[str, ...],
    patched: bool,
    addresses: tuple[str, ...],
    kernels: tuple[str, ...],
    tun_name: str,
    mtu: int,
    offload: bool,
    settings: Settings,
) -> int:
    """Run the command in a namespace with a device; its exit code.

    :param patched: every Python in there runs as inside ``fastnet.patched``
    """
    if shutil.which(command[0]) is None:
        # Said before there is a namespace, and by one line alone.
        fail(f"{command[0]}: {os.strerror(errno.EACCES if os.path.exists(command[0]) else errno.ENOENT)}")
    witness = Witness()

    def inside() -> int:
        try:
            with Namespace() as namespace:
                tun = namespace.add_tun(kernels, tun_name, mtu, offload)
                keep(tun)
                os.environ.update(as_environment(tun.name, addresses, settings, mtu, offload))
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
    return status


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
