"""``fastnet compare``: handshakes per second, on one wire, against the kernel."""

import json
import signal
import sys
from typing import Any, Self

import click
from rich.console import Console

from fastnet.cli.flood import flood_options, show_floods
from fastnet.cli.options import fail, print_table, ratio, set_option
from fastnet.config import Settings
from fastnet.isolation import SIGNALS
from fastnet.load import bulk as bulk_comparison
from fastnet.load import compare as comparison
from fastnet.load import flood as flood_comparison
from fastnet.load.memory import MemoryClient
from fastnet.netns import isolated

NAMES = {
    "fastnet": "fastnet",
    "kernel": "kernel, C loop",
    "asyncio": "kernel, asyncio",
    "floor": "stateless floor",
}


@click.command()
@click.option(
    "--rounds", default=None, type=click.IntRange(1, 100),
    help="Each has every row once; medians are shown.  [default: 5, with --flood 3]",
)  # fmt: skip
@click.option("--duration", default=2.0, show_default=True, type=click.FloatRange(0.1, 60), help="Seconds for a row of a round.")
@click.option("--in-flight", default=128, show_default=True, type=click.IntRange(1, 4096), help="Handshakes under way at once.")
@click.option(
    "--ending", default="server", show_default=True, type=click.Choice(["server", "close"]),
    help="How connections end: the server resets after accept, or the client closes and then the server.",
)  # fmt: skip
@click.option("--row", "rows", multiple=True, type=click.Choice(comparison.ROWS), help="Only these rows. May be repeated.")
@click.option("--bulk", is_flag=True, help="Bytes of one connection instead of handshakes, each way.")
@flood_options
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

    Exit codes: 0 it worked, 2 a wrong option, 3 it could not start, 128 + n when signal n ended it, 141 nobody reads standard output.
    """
    if bulk and (memory or rows or flood or ending != "server"):
        raise click.UsageError("--bulk goes with --rounds, --duration, --json and --set alone")
    if flood and (memory or rows or ending != "server"):
        raise click.UsageError("--flood goes with --packets, --rate, --clients, --rounds, --json and --set alone")
    turns = rounds or (3 if flood else 5)
    if memory:
        show_memory(turns, in_flight, settings, as_json)
        return

    console = Console(stderr=True)

    def inside() -> int:
        # Its loops in C hear no handler of Python's. Nothing has to be undone: all of it is in namespaces that end with this process.
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        try:
            with Progress(console) as progress:
                if flood:
                    floods = flood_comparison.run(flood, packets, rate, clients, turns, settings=settings, progress=progress)
                    show_floods(floods, as_json)
                    return 0
                if bulk:
                    show_bulk(bulk_comparison.run(turns, duration, settings, progress), as_json)
                    return 0
                result = comparison.run(rows or comparison.ROWS, turns, duration, in_flight, ending, settings, progress)
        except BrokenPipeError:
            raise
        except (OSError, RuntimeError) as error:
            message = error.strerror if isinstance(error, OSError) and error.strerror else error
            fail(f"{message} (fastnet compare --memory needs neither TUN nor namespace)")
        if as_json:
            print(json.dumps(result.as_dict()))
        else:
            show(result)
        return 0

    try:
        sys.exit(isolated(inside))
    finally:
        # A signal that ended it has left the terminal's cursor hidden.
        console.show_cursor()


class Progress:
    """A line on the terminal that says what is going on: a context manager.

    rich's thread starts with the first line: by then the namespaces are there, one of which only a process with one thread can make.
    """

    def __init__(self, console: Console) -> None:
        self._status = console.status("")

    def __call__(self, text: str) -> None:
        """Say what is going on now."""
        self._status.update(text)
        self._status.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()


def show(result: comparison.Comparison) -> None:
    """The table on the terminal."""
    rows = [
        (
            NAMES[name],
            f"{row.median('rate'):,.0f}",
            ratio(result.ratio(name, "rate")),
            f"{row.median('cpu') * 1e6:.2f}",
            ratio(result.ratio(name, "cpu")),
            f"{row.total('failures')}",
            f"{row.total('retransmissions')}",
            f"{row.median('p50') * 1e6:.0f}",
            f"{row.median('p99') * 1e6:.0f}",
        )
        for name, row in result.rows.items()
    ]
    title = f"TCP handshakes, {result.in_flight} in flight, medians of {result.rounds} rounds of {result.duration:g} s"
    print_table(title, ("handshakes/s", "ratio", "CPU us", "ratio", "failed", "resent", "p50 us", "p99 us"), rows)


def show_bulk(result: bulk_comparison.Bulk, as_json: bool) -> None:
    """The other table."""
    if as_json:
        print(json.dumps(result.as_dict()))
        return
    rows = []
    for name, title in bulk_comparison.ROWS.items():
        cells = [title]
        for direction in bulk_comparison.DIRECTIONS:
            rate = result.median(name, direction)
            cells += [f"{rate * 8 / 1e9:.1f}", ratio(rate / result.median("kernel", direction))]
        rows.append(tuple(cells))
    title = f"One connection, medians of {result.rounds} rounds of {result.duration:g} s"
    print_table(title, ("to it, Gbit/s", "ratio", "from it, Gbit/s", "ratio"), rows)


def show_memory(rounds: int, flows: int, settings: Settings, as_json: bool) -> None:
    """Full cycles (SYN, SYN-ACK, ACK, accept, RST) in memory, on one core."""
    client = MemoryClient(flows, settings=settings)
    cycles = max(1, 100_000 // flows)
    client.run(cycles // 4 + 1)
    rates = sorted(client.run(cycles).rate for _ in range(rounds))
    median = rates[len(rates) // 2]
    left_out = ["TUN and system calls", "the kernel's rows", "the client's own time"]
    if as_json:
        result: dict[str, Any] = {"schema": comparison.SCHEMA, "memory": True, "flows": flows, "cycles_per_second": median}
        print(json.dumps({**result, "samples": rates, "left_out": left_out}))
        return
    console = Console(soft_wrap=True)
    console.print(f"fastnet in memory, {flows} flows at once: {median:,.0f} full cycles/s ({1e6 / median:.2f} us each), one core")
    console.print(f"Left out: {', '.join(left_out)}.")
