"""``fastnet``: the commands and their options."""

import os
import sys

import click

from fastnet.cli.compare import compare
from fastnet.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fastnet-tcp", message="%(version)s")
def group() -> None:
    """A TCP/IP stack in user space that you program from Python.

    Exit codes: 0 it worked, 2 a wrong option or value, 3 it could not start (the line on standard error says why).
    """


group.add_command(serve)
group.add_command(compare)


def main() -> None:
    """Entry point of the ``fastnet`` command."""
    try:
        group()
    except BrokenPipeError:
        # Whoever read our output has gone (a pager, head): nothing more to say, to nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
