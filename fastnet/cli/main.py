"""``fastnet``: the commands and their options."""

import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import click

from fastnet.cli.asgi import asgi
from fastnet.cli.compare import compare
from fastnet.cli.run import run
from fastnet.cli.serve import serve
from fastnet.isolation import BROKEN_PIPE, SIGNALS


class Commands(click.Group):
    """``serve asgi`` is a command of its own, as what it takes is not what the modes of ``serve`` take."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name, and its own arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is serve and rest[:1] == ["asgi"]:
            return "serve asgi", asgi, rest[1:]
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; if whoever reads our output has gone (head, a pager), end as SIGPIPE would have it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            nobody_reads()


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="fastnet-tcp", message="%(version)s")
def group() -> None:
    """A TCP/IP stack in user space that you program from Python.

    Exit codes: 0 it worked, 2 a wrong option or value, 3 it could not start (the line on standard error says why), 128 + n when signal n
    ended it (130 SIGINT, 143 SIGTERM, 129 SIGHUP), 141 when nobody reads standard output any more.
    """


group.add_command(serve)
group.add_command(compare)
group.add_command(run)


def nobody_reads() -> NoReturn:
    """Exit code 141, and nothing more on standard output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(BROKEN_PIPE)


def ended_by(number: int, _frame: FrameType | None) -> NoReturn:
    """A signal handler: unwind, and exit without a traceback."""
    sys.exit(128 + number)


def main() -> None:
    """Entry point of the ``fastnet`` command."""
    for number in SIGNALS:
        # What nohup(1) or a shell has ignored stays so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, ended_by)
    try:
        group()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            nobody_reads()
