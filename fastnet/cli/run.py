"""``fastnet run``: its options. ``fastnet.cli.running`` does the rest."""

import os
import sys
from pathlib import Path

import click

from fastnet.cli.options import check_addresses, device_options, set_option_for_programs
from fastnet.config import Settings


def check_workers(command: tuple[str, ...], *addresses: str) -> None:
    """A server with worker processes binds its address in one process, with the kernel, and serves in others: no stack can follow.

    :raises click.UsageError: it is one of those, and it is told to serve on the stack
    """
    if not any(word.startswith("fastnet.aio") or any(address in word for address in addresses) for word in command):
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
        f"run one, `uvicorn --loop fastnet.aio:new_event_loop --host {addresses[0]} ...`, without --workers and --reload"
    )


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--patched", is_flag=True, help="Every Python that the command starts runs as inside fastnet.patched().")
@set_option_for_programs
@device_options
def run(
    command: tuple[str, ...],
    patched: bool,
    addresses: tuple[str, ...],
    kernels: tuple[str, ...],
    tun_name: str,
    mtu: int,
    offload: bool,
    settings: Settings,
) -> None:
    """Run a COMMAND in a private network namespace with a TUN device, and tell it by its environment where the stack is to be.

    An event loop of fastnet.aio, or fastnet.patched(), takes the device:

    \b
        fastnet run -- uvicorn --loop fastnet.aio:new_event_loop \\
            --host 198.18.0.2 app:app

    With --patched a program needs neither. One process can have the device: the first that binds to it or connects over it.

    \b
        fastnet run --patched -- python -m http.server --bind 198.18.0.2

    When nothing has gone over the device in the end, a line on standard error says so.

    The command and what it starts are in the namespace; nsenter(1) brings others there.

    When the command ends, whatever it has started is ended too, and so it is when fastnet itself is killed. SIGINT, SIGTERM and SIGHUP
    are passed on to the command.

    `fastnet --help` has the exit codes.
    """
    check_addresses(addresses, kernels, mtu)
    check_workers(command, *addresses)
    from fastnet.cli.running import run_program

    sys.exit(run_program(command, patched, addresses, kernels, tun_name, mtu, offload, settings))
