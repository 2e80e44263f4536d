"""``fastnet compare``: its options. ``fastnet.cli.comparing`` does the rest."""

import sys
from collections.abc import Callable

import click

from fastnet.cli.options import Choice, ModeCommand, ModeOption, set_option
from fastnet.config import Settings
from fastnet.load.kinds import FLOODS, ROWS


class CompareCommand(ModeCommand):
    """Its modes are options."""

    def mode(self, ctx: click.Context) -> str:
        """The mode that an option asks for.

        :raises click.UsageError: two do
        """
        given = [f"--{name}" for name in ("bulk", "flood", "memory") if ctx.params[name]]
        if len(given) > 1:
            raise click.UsageError(f"{given[0]} goes without {' and '.join(given[1:])}", ctx)
        return given[0] if given else "handshakes"


@click.command(cls=CompareCommand)
@click.option(
    "--rounds", default=None, type=click.IntRange(1, 100),
    help="Each has every row once; medians are shown.  [default: 5, with --flood 3]",
)  # fmt: skip
@click.option(
    "--duration", cls=ModeOption, modes=("handshakes", "--bulk"), default=2.0, show_default=True, type=click.FloatRange(0.1, 60),
    help="Seconds for a row of a round.",
)  # fmt: skip
@click.option(
    "--in-flight", cls=ModeOption, modes=("handshakes", "--memory"), default=128, show_default=True, type=click.IntRange(1, 4096),
    help="Handshakes under way at once.",
)  # fmt: skip
@click.option(
    "--ending", cls=ModeOption, modes=("handshakes",), default="server", show_default=True, type=Choice(("server", "close")),
    help="How connections end: the server resets after accept, or the client closes and then the server.",
)  # fmt: skip
@click.option(
    "--row", "rows", cls=ModeOption, modes=("handshakes",), multiple=True, type=Choice(ROWS), help="Only these rows. May be repeated."
)
@click.option("--bulk", is_flag=True, help="Bytes of one connection instead of handshakes, each way.")
@click.option(
    "--flood", is_flag=False, flag_value="syn", default=None, type=Choice(FLOODS),
    help="A flood, and what becomes of honest clients in it; without a word: of SYNs.",
)  # fmt: skip
@click.option(
    "--packets", cls=ModeOption, modes=("--flood",), default=2_000_000, show_default=True, type=click.IntRange(100, 100_000_000),
    help="Packets of a flood.",
)  # fmt: skip
@click.option(
    "--rate", cls=ModeOption, modes=("--flood",), default=200_000.0, show_default=True, type=click.FloatRange(0, 10_000_000),
    help="Packets of a flood each second; 0: as fast as the device takes them.",
)  # fmt: skip
@click.option(
    "--clients", cls=ModeOption, modes=("--flood",), default=1000, show_default=True, type=click.IntRange(1, 10_000),
    help="Honest clients in a flood.",
)  # fmt: skip
@click.option("--memory", is_flag=True, help="In memory, without TUN and kernel: the stack alone.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@set_option
def compare(
    rounds: int | None,
    duration: float,
    in_flight: int,
    ending: str,
    rows: tuple[str, ...],
    bulk: bool,
    flood: str | None,
    packets: int,
    rate: float,
    clients: int,
    memory: bool,
    as_json: bool,
    settings: Settings,
) -> None:
    """Compare handshakes on fastnet and on the kernel's stack, with one client on one wire, in a private network namespace.

    \b
    fastnet   this stack, accepting and ending connections from Python
    kernel    the kernel's stack with accept4 and close in a C loop
    asyncio   the kernel's stack with asyncio
    floor     a responder that remembers nothing: what the wire itself costs

    CPU is the server's own for each handshake: process time for the servers in user space. The kernel's stack works in the context of
    whoever hands it a packet, so for its rows it is the time that all cores were busy, less what the client takes for a handshake,
    which is known from the floor row of the same round. Another program that is busy meanwhile counts as the kernel's.

    Ratios are to the kernel row of the same round. Latency is from SYN to SYN-ACK, as the client sees it with so many handshakes under way.

    With --bulk, one connection carries as much as it can from the kernel to the server, and then from the server to the kernel: to the
    kernel's own stack over veth, and to fastnet over TUN with offload (packets of up to 64 KiB) and without (of 1,500 bytes). All with
    CUBIC, client and server on a core each.

    With --flood, the server bears a flood while honest clients connect, ask, check the answer and close: fastnet and the kernel under the
    same packets, and the floor, which says what the wire takes for one. docs/floods.md explains the numbers.

    `fastnet --help` has the exit codes.
    """
    from fastnet.cli.comparing import Progress, in_namespace, show, show_bulk, show_floods, show_memory
    from fastnet.load import bulk as bulk_comparison
    from fastnet.load import compare as comparison
    from fastnet.load import flood as flood_comparison

    turns = rounds or (3 if flood else 5)
    if memory:
        show_memory(turns, in_flight, settings, as_json)
        return

    def main(progress: Progress) -> Callable[[], None]:
        if flood:
            floods = flood_comparison.run(flood, packets, rate, clients, turns, settings=settings, progress=progress)
            return lambda: show_floods(floods, as_json)
        if bulk:
            result = bulk_comparison.run(turns, duration, settings, progress)
            return lambda: show_bulk(result, as_json)
        handshakes = comparison.run(rows or ROWS, turns, duration, in_flight, ending, settings, progress)
        return lambda: show(handshakes, as_json)

    sys.exit(in_namespace(main))
