"""``fastnet serve``: its options. ``fastnet.cli.serving`` does the rest."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from fastnet.cli.options import Choice, ModeCommand, ModeOption, check_addresses, device_options, set_option
from fastnet.config import Settings

if TYPE_CHECKING:
    from fastnet.server.faults import Fault

MODES = ("http", "echo", "discard", "chargen", "accept-close")
HTTP = ("http",)


def faults_of(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> "list[tuple[Fault, float]]":
    """``--fault NAME[:ARG][@PROBABILITY]``, again and again.

    :raises click.BadParameter: no such fault, or not an argument that it takes
    """
    if not values:
        return []
    from fastnet.server.faults import read

    try:
        return [read(value) for value in values]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(cls=ModeCommand)
@click.pass_context
@click.argument("mode", type=Choice(MODES))
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Where to listen.")
@device_options
@click.option("--backlog", default=4096, show_default=True, type=click.IntRange(0), help="Bound of the queues.")
@set_option
@click.option("--body", cls=ModeOption, modes=HTTP, default=None, help="The body of the answer.")
@click.option(
    "--body-size", cls=ModeOption, modes=HTTP, default=None, type=click.IntRange(0, 1 << 30),
    help="A generated body of so many bytes.",
)  # fmt: skip
@click.option(
    "--body-file", cls=ModeOption, modes=HTTP, default=None, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file as body.",
)  # fmt: skip
@click.option(
    "--status", cls=ModeOption, modes=HTTP, default=200, show_default=True, type=click.IntRange(200, 599),
    help="The answer's status.",
)  # fmt: skip
@click.option(
    "--delay", cls=ModeOption, modes=HTTP, default=0.0, show_default=True, type=click.FloatRange(0, 3600),
    help="Seconds before the answer.",
)  # fmt: skip
@click.option(
    "--request-timeout", cls=ModeOption, modes=HTTP, default=0.0, show_default=True, type=click.FloatRange(0, 3600),
    help="Seconds that a request may take to arrive, 0 for ever; then 408.",
)  # fmt: skip
@click.option(
    "--keep-alive-timeout", cls=ModeOption, modes=HTTP, default=0.0, show_default=True, type=click.FloatRange(0, 3600),
    help="Seconds that a connection may wait for its next request, 0 for ever.",
)  # fmt: skip
@click.option("--reset", cls=ModeOption, modes=("accept-close",), is_flag=True, help="With a RST instead of a FIN.")
@click.option(
    "--fault", "faults", metavar="NAME[:ARG][@PROBABILITY]", multiple=True, callback=faults_of,
    help="Go wrong on purpose, such as fin-after:1000@0.3; docs/faults.md has them all. May be repeated.",
)  # fmt: skip
@click.option(
    "--fault-seed", cls=ModeOption, needs="faults", default=0, show_default=True,
    help="Of what --fault leaves to chance: the same again with the same.",
)  # fmt: skip
@click.option(
    "--capture", default=None, type=click.Path(dir_okay=False, path_type=Path),
    help="Write all packets, both ways, to a pcapng file.",
)  # fmt: skip
@click.option(
    "--capture-limit", cls=ModeOption, needs="capture", default=64, show_default=True, type=click.IntRange(1, 1 << 20),
    help="MiB of that file; then it ends, and the server goes on.",
)  # fmt: skip
@click.option("--private", is_flag=True, help="In a private network namespace; implied by a command.")
@click.option("--duration", default=None, type=click.FloatRange(0, min_open=True), help="Stop after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON every second, and a summary, on standard output.")
def serve(
    ctx: click.Context,
    mode: str,
    command: tuple[str, ...],
    addresses: tuple[str, ...],
    port: int,
    kernels: tuple[str, ...],
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
    faults: "list[tuple[Fault, float]]",
    fault_seed: int,
    capture: Path | None,
    capture_limit: int,
    private: bool,
    duration: float | None,
    as_json: bool,
) -> None:
    """Serve connections on a stack of our own: http, echo, discard, chargen or accept-close.

    With a COMMAND (after --) it does so in a private network namespace, runs the command in there, and stops when it has ended and its
    connections are closed, or half a second later:

    \b
        fastnet serve http -- curl -s http://198.18.0.2:8080/

    Without one it takes a TUN device in the current namespace (root, or CAP_NET_ADMIN), until SIGINT, SIGTERM or SIGHUP.

    `fastnet serve asgi MODULE:APP` serves an application; `fastnet serve asgi --help` has its options.

    `fastnet --help` has the exit codes.
    """
    check_addresses(addresses, kernels, mtu)
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
    if offload and any(fault.name == "corrupt" for fault, _ in faults):
        if ctx.get_parameter_source("offload") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--fault corrupt goes with --no-offload, not with --offload")
        offload = False

    from fastnet.cli.serving import Job
    from fastnet.server import AcceptClose, Chargen, Discard, Echo, Http, Mode

    served: Mode
    if mode == "http":
        served = Http(content, status, delay, request_timeout, keep_alive_timeout)
    elif mode == "accept-close":
        served = AcceptClose(reset)
    else:
        plain: dict[str, type[Mode]] = {"echo": Echo, "discard": Discard, "chargen": Chargen}
        served = plain[mode]()
    job = Job(
        mode, served, addresses, port, backlog, settings, faults, fault_seed, kernels, tun_name, mtu, offload, capture, capture_limit,
        command, duration, as_json,
    )  # fmt: skip
    sys.exit(job.run(private or bool(command)))
