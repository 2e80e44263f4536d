"""What both commands need: settings from the command line, tables, and a way to fail."""

import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from rich import box
from rich.console import Console
from rich.table import Table

from fastnet.config import SettingError, Settings

COULD_NOT_START = 3


def settings_of(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> Settings:
    """``--set NAME=VALUE``, again and again, as settings.

    :raises click.BadParameter: not NAME=VALUE, no such setting, not a value for it
    """
    settings = Settings()
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE")
        try:
            settings.set(name, text)
        except SettingError as error:
            raise click.BadParameter(str(error)) from None
    return settings


set_option = click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    callback=settings_of,
    help="A setting of the stack by its Linux name, such as tcp_abort_on_overflow=1. May be repeated.",
)


def fail(error: object) -> NoReturn:
    """One line on standard error, and exit code 3.

    :raises BrokenPipeError: it is one, which is no failure to start: nobody reads standard output any more
    """
    if isinstance(error, BrokenPipeError):
        raise error
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    click.echo(f"fastnet: {message}", err=True)
    sys.exit(COULD_NOT_START)


def print_table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A row for each server, with its name first."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("server", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # In a file or a pipe, as wide as it wants to be.
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def ratio(value: float | None) -> str:
    """A ratio for people."""
    return "" if value is None else f"{value:.2f}"
