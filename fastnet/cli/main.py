"""``fastnet``: the commands and their options."""

import os
import sys

import click

from fastnet.cli.asgi import asgi
from fastnet.cli.compare import compare
from fastnet.cli.run import run
from fastnet.cli.serve import serve


class Commands(click.Group):
    """``serve asgi`` is a command of its own, as what it takes is not what the modes of ``serve`` take."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name, and its own arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is serve and rest[:1] == ["asgi"]:
            return "serve asgi", asgi, rest[1:]
        return name, command, rest


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="fastnet-tcp", message="%(version)s")
def group() -> None:
    """A TCP/IP stack in user space that you program from Python.

    Exit codes: 0 it worked, 2 a wrong option or value, 3 it could not start, 4 the device failed while it ran (the line on
    standard error says why).
    """


group.add_command(serve)
group.add_command(compare)
group.add_command(run)


def main() -> None:
    """Entry point of the ``fastnet`` command."""
    try:
        group()
    except BrokenPipeError:
        # Whoever read our output has gone (a pager, head): nothing more to say, to nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
