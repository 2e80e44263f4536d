"""``fastnet sweep``: a grid of experiments in virtual time."""

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TextIO

import click

from fastnet.cli.options import fail
from fastnet.config import SettingError, Settings
from fastnet.sweep.aqm import KINDS
from fastnet.sweep.axes import PART, RATE, TIME, number, shown, values, whole
from fastnet.sweep.grid import Cell, Grid

if TYPE_CHECKING:
    from fastnet.sweep import Result

Kind = tuple[str, Callable[[str], Any]]
"""What the help calls the values of an axis, and what makes one of its text."""


def yes_or_no(text: str) -> bool:
    """on or off.

    :raises ValueError: neither
    """
    if text not in ("on", "off"):
        raise ValueError(f"{text!r} is neither on nor off")
    return text == "on"


TIMES: Kind = ("TIMES", lambda text: number(text, TIME))
RATES: Kind = ("RATES", lambda text: number(text, RATE))
PARTS: Kind = ("PARTS", lambda text: number(text, PART))
COUNTS: Kind = ("COUNTS", whole)
WORDS: Kind = ("WORDS", str)
SWITCHES: Kind = ("on,off", yes_or_no)


def axis(name: str, kind: Kind, text: str) -> Callable[[Any], Any]:
    """An option for a field of ``Cell``, with its default."""
    metavar, one = kind

    def several(_context: click.Context, _parameter: click.Parameter, given: str | None) -> list[Any] | None:
        try:
            return None if given is None else values(given, one)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    default = "off" if name == "ecn" else shown(name, getattr(Cell(), name))
    help_text = f"{text}  [default: {default}]"
    return click.option(f"--{name.replace('_', '-')}", name, metavar=metavar, callback=several, help=help_text)


def settings_axis(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    """``--set NAME=VALUE``, checked, and as a mapping: results say what was set, and nothing else.

    :raises click.BadParameter: not NAME=VALUE, no such setting, not a value for it
    """
    settings = Settings()
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        try:
            settings.set(name, value)
        except SettingError as error:
            raise click.BadParameter(str(error)) from None
        found[name] = getattr(settings, name)
    return found


@click.command("sweep")
@axis("loss", PARTS, "Lost behind the bottleneck: 0.01 or 1%.")
@axis("rtt", TIMES, "Of the empty path: 50ms.")
@axis("rate", RATES, "Of the bottleneck, bits/s: 10M.")
@axis("queue", WORDS, "Its queue: 1bdp, 20ms, 100p (packets) or 64kB.")
@axis("control", WORDS, "Congestion control: a name, module:Class, or several for the flows in turns: cubic+reno.")
@axis("seed", COUNTS, "Of everything that is left to chance: 0..9 for ten runs of each.")
@axis("flows", COUNTS, "Flows that share the bottleneck.")
@axis("spacing", TIMES, "Each begins so long after the one before.")
@axis("hold", TIMES, "Each ends after so long; 0: not before the end of the run.")
@axis("discipline", WORDS, f"Of the queue: {', '.join(KINDS)}.")
@axis("ecn", SWITCHES, "on: both stacks use ECN, and the discipline marks what it would drop.")
@axis("ack_loss", PARTS, "Lost on the way back.")
@axis("cross", PARTS, "Cross traffic at random times, as a part of the rate.")
@axis("policer", RATES, "A policer before the bottleneck, bits/s; 0: none.")
@axis("bucket", COUNTS, "Bytes that the policer lets through at once.")
@axis("blackout", TIMES, "For so long, nothing arrives either way.")
@axis("blackout_at", TIMES, "From this time of the run on.")
@axis("duration", TIMES, "Of a run, virtual time.")
@axis("warmup", TIMES, "Of that, at the beginning, what is not measured.")
@axis("mtu", COUNTS, "Bytes.")
@click.option(
    "--set", "settings", metavar="NAME=VALUE", multiple=True, callback=settings_axis,
    help="A setting of both stacks by its Linux name. May be repeated.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV on standard output.")
@click.option("--plot", type=click.Path(dir_okay=False, writable=True), help="A picture (.png, .svg, .pdf) of one cell (the extra 'plot').")
@click.option("--jobs", type=click.IntRange(1), help="Processes.  [default: one for each core]")
@click.option("--dask", metavar="ADDRESS", help="Run on the cluster with this scheduler (the extra 'dask').")
def command(
    settings: dict[str, Any], as_json: bool, as_csv: bool, plot: str | None, jobs: int | None, dask: str | None, **axes: list[Any] | None
) -> None:
    """Run a grid of experiments in virtual time: bulk flows from one stack to another over a bottleneck with a queue.

    Each option of an experiment takes a value, or several: a list (0,1%,3%), a range (0..9, 10ms..50ms:10ms, 1M..1G*10: both ends are
    part of it), or both. All combinations are run. The same options give the same output to the last byte. docs/sweep.md says what the
    figures mean.

    \b
    fastnet sweep --loss 0,0.1%,1% --rtt 10ms,50ms --control cubic,reno --csv
    fastnet sweep --flows 4 --control cubic+reno --duration 60s --warmup 20s
    fastnet sweep --loss 1% --plot run.png

    Exit codes: 0 it worked, 2 a wrong option, 3 it could not start, 128 + n when signal n ended it, 141 nobody reads standard output.
    """
    from fastnet.sweep.runner import dask_executor, sweep

    if as_json and as_csv:
        raise click.UsageError("--json and --csv: one of them")
    if dask and (jobs or plot):
        raise click.UsageError("--dask goes with neither --jobs nor --plot")
    grid = Grid(**{name: several for name, several in axes.items() if several is not None}, settings=settings)
    try:
        # A wrong value shows now, and not after an hour.
        for _ in grid:
            pass
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if plot:
        if len(grid) != 1:
            raise click.UsageError(f"--plot is of one cell, and these are {len(grid)}")
        draw(grid, plot, as_json, as_csv)
        return
    try:
        with dask_executor(dask) if dask else nullcontext() as executor:
            results = sweep(grid, executor, jobs)
            show(results, grid, as_json, as_csv)
    except BrokenPipeError:
        raise
    except (OSError, ModuleNotFoundError) as error:
        fail(error)


def draw(grid: Grid, path: str, as_json: bool, as_csv: bool) -> None:
    """One cell and its picture."""
    from fastnet.sweep.experiment import measure
    from fastnet.sweep.plot import plot

    result = measure(next(iter(grid)), trace=True)
    try:
        plot(result, path)
    except (OSError, ModuleNotFoundError, ValueError) as error:
        fail(error)
    show(iter([result]), grid, as_json, as_csv)


def show(results: "Iterator[Result]", grid: Grid, as_json: bool, as_csv: bool) -> None:
    """Results on standard output, while they come; a table when all are there."""
    from fastnet.sweep.report import write_csv, write_json

    out: TextIO = sys.stdout
    if as_json:
        write_json(results, out)
    elif as_csv:
        write_csv(results, out)
    else:
        print_table(results, grid)


def print_table(results: "Iterator[Result]", grid: Grid) -> None:
    """A line for each cell."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from fastnet.sweep.report import COLUMNS, row

    varied = grid.varied()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    for name in (*varied, *COLUMNS):
        table.add_column(name, justify="right", no_wrap=True)
    total = len(grid)
    status = Console(stderr=True)
    with status.status("") as line:
        for done, result in enumerate(results):
            table.add_row(*row(result, varied))
            line.update(f"{done + 1} of {total} cells")
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
