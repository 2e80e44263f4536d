"""Tables for people, which fit into 80 columns."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], console: Console | None = None) -> None:
    """A row for each server, with its name first.

    :param columns: the other headings, which may have two lines
    :param console: where to; by default standard output
    """
    console = console or Console()
    if not console.is_terminal:
        # In a file or a pipe, as wide as it wants to be.
        console.width = 120
    console.print(title, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    # Headings of two lines stand on the line below them.
    table.add_column("server", no_wrap=True, vertical="bottom")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True, vertical="bottom")
    for row in rows:
        table.add_row(*row)
    if Measurement.get(console, console.options.update(max_width=1000), table).maximum > console.width:
        table.padding = (0, 0, 0, 0)
    console.print(table)


def ratio(value: float | None) -> str:
    """A ratio for people."""
    return "" if value is None else f"{value:.2f}"
