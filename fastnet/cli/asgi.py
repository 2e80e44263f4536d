"""``fastnet serve asgi``: its options. ``fastnet.cli.application`` does the rest."""

import sys

import click

from fastnet.cli.options import check_addresses, device_options, set_option
from fastnet.config import Settings


@click.command()
@click.argument("application", metavar="MODULE:APP")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Where to listen.")
@click.option("--log-level", default="warning", show_default=True, help="uvicorn's.")
@set_option
@device_options
def asgi(
    application: str,
    command: tuple[str, ...],
    port: int,
    log_level: str,
    addresses: tuple[str, ...],
    kernels: tuple[str, ...],
    tun_name: str,
    mtu: int,
    offload: bool,
    settings: Settings,
) -> None:
    """Serve an ASGI application on a stack of our own, in a private network namespace.

    MODULE is looked for in the current directory too. With a COMMAND (after --) it runs that in there, and stops when it ends:

    \b
        fastnet serve asgi app:app -- curl -s http://198.18.0.2:8080/

    It is uvicorn, without options of its own: `fastnet run -- uvicorn ...` has them all. It takes the extra asgi of the package.

    `fastnet --help` has the exit codes.
    """
    check_addresses(addresses, kernels, mtu)
    from fastnet.cli.application import serve_application

    sys.exit(serve_application(application, command, port, log_level, addresses, kernels, tun_name, mtu, offload, settings))
