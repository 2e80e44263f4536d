"""What ``fastnet compare`` does once its options are known, and its tables."""

import json
import signal
from collections.abc import Callable
from typing import Any, Self

from rich.console import Console

from fastnet.cli.options import fail
from fastnet.cli.tables import print_table, ratio
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


def in_namespace(main: "Callable[[Progress], Callable[[], None]]") -> int:
    """Run a comparison in a process that may enter a namespace; its exit code.

    :param main: measures, and returns what prints the result
    """
    console = Console(stderr=True)

    def inside() -> int:
        # Its loops in C hear no handler of Python's. Nothing has to be undone: all of it is in namespaces that end with this process.
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        try:
            with Progress(console) as progress:
                show = main(progress)
        except BrokenPipeError:
            raise
        except (OSError, RuntimeError) as error:
            message = error.strerror if isinstance(error, OSError) and error.strerror else error
            fail(f"{message} (fastnet compare --memory needs neither TUN nor namespace)")
        show()
        return 0

    try:
        return isolated(inside)
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


def show(result: comparison.Comparison, as_json: bool, console: Console | None = None) -> None:
    """The table on the terminal, or JSON."""
    if as_json:
        print(json.dumps(result.as_dict()))
        return
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
    columns = ("handshakes\n/s", "ratio", "CPU\nus", "ratio", "failed", "resent", "p50\nus", "p99\nus")
    print_table(title, columns, rows, console)


def show_bulk(result: bulk_comparison.Bulk, as_json: bool, console: Console | None = None) -> None:
    """The table of ``--bulk``, or JSON."""
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
    print_table(title, ("to it, Gbit/s", "ratio", "from it, Gbit/s", "ratio"), rows, console)


def show_floods(result: flood_comparison.Floods, as_json: bool, console: Console | None = None) -> None:
    """The tables of ``--flood``, or JSON."""
    if as_json:
        print(json.dumps(result.as_dict()))
        return
    floods, visits = [], []
    for name in result.rows:
        visited = name != "floor"
        growth = max(sample.growth for sample in result.rows[name])
        floods.append(
            (
                name,
                f"{result.median(name, 'rate'):,.0f}",
                f"{result.median(name, 'cpu') * 1e6:.2f}",
                ratio(result.ratio(name, "cpu", "floor")),
                f"{result.total(name, 'cookies_sent'):,}" if visited else "",
                f"{result.total(name, 'cookies_received'):,}" if visited else "",
                f"{growth / 2**20:.1f}" if name != "kernel" else "",
            )
        )
        if visited:
            took = [result.median(name, time_of) for time_of in ("handshake_p50", "handshake_p99", "exchange_p50", "exchange_p99")]
            counts = (f"{result.total(name, 'ok'):,}", f"{result.total(name, 'failed'):,}")
            visits.append((name, *counts, *(f"{time * 1e3:.2f}" for time in took)))
    rounds = f"{result.rounds} rounds"
    title = f"Flood: {result.kind}, {result.packets:,} packets, {rounds}"
    print_table(title, ("packets/s", "CPU us", "ratio", "cookies", "back", "MiB"), floods, console)
    title = f"Meanwhile: {result.clients:,} honest clients, {rounds}; times in ms"
    columns = ("ok", "failed", "connect\np50", "connect\np99", "exchange\np50", "exchange\np99")
    print_table(title, columns, visits, console)


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
