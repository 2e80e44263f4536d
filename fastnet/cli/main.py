"""``fastnet``: the commands. A command's module is imported when it is used."""

import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from fastnet.config import no_such
from fastnet.isolation import BROKEN_PIPE, SIGNALS

COMMANDS = {
    "serve": ("fastnet.cli.serve", "serve", "A load-test server on the stack: http, echo, discard, ..."),
    "serve asgi": ("fastnet.cli.asgi", "asgi", "An ASGI application on the stack, by uvicorn."),
    "run": ("fastnet.cli.run", "run", "A program of yours, whose sockets use the stack."),
    "compare": ("fastnet.cli.compare", "compare", "The stack and the kernel's, measured on one wire."),
    "sweep": ("fastnet.cli.sweep", "command", "Experiments in virtual time: loss, delay, queues, many flows."),
}
"""Name -> module, name in it, what it does in some 50 characters."""


class Commands(click.Group):
    """``serve asgi`` is a command of its own, as what it takes is not what the modes of ``serve`` take."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name, and its own arguments."""
        if args[:2] == ["serve", "asgi"]:
            args = ["serve asgi", *args[2:]]
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(no_such("command", args[0], COMMANDS), ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; if whoever reads our output has gone (head, a pager), end as SIGPIPE would have it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            nobody_reads()


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="fastnet-tcp", message="%(version)s")
@click.pass_context
def group(ctx: click.Context) -> None:
    """A TCP/IP stack in user space that you program from Python.

    It owns a TUN device and answers SYNs itself; the kernel, which is the client in these examples, is at the device's other end. They
    need no set-up, as they run in a network namespace of their own:

    \b
    A web server on the stack, and a client for it:
      fastnet serve http -- curl -s http://198.18.0.2:8080/
    One that goes wrong on purpose: it ends the stream in the middle of the page:
      fastnet serve http --fault fin-after:90 -- curl -sS http://198.18.0.2:8080/
    A program that was not written for fastnet, with its sockets on the stack:
      fastnet run --patched -- python -m http.server --bind 198.18.0.2
    Handshakes a second, on the stack and on the kernel's:
      fastnet compare

    `fastnet COMMAND --help` has the options of each. In Python, begin with fastnet.stack.Stack and fastnet.socket.

    \b
    Exit codes:
      0        it worked; a server was ended by SIGINT, SIGTERM or SIGHUP
      2        a wrong option or value
      3        it could not start: the line on standard error says why
      4        the device failed while it ran
      141      nobody reads standard output any more
      128 + n  signal n ended it: 130 SIGINT, 143 SIGTERM, 129 SIGHUP
    Where there is a command after --, its exit code is passed on.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


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
