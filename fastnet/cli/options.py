"""What all commands need to read their options and to fail. It imports nothing that takes time: ``--help`` waits for it."""

import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_interface
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from fastnet.config import SettingError, Settings, no_such

COULD_NOT_START = 3
DEVICE_FAILED = 4
IPV6_MIN_MTU = 1280


class Choice(click.Choice[str]):
    """One of some words; a word that is nearly one of them is answered with that one."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """What click says about another word."""
        return no_such("choice", str(value), self.choices)


class ModeOption(click.Option):
    """An option that only makes sense with others.

    :param modes: the modes of the command that it goes with; empty: all
    :param needs: name of the parameter that must be given too, "" for none
    """

    def __init__(self, *args: Any, modes: Sequence[str] = (), needs: str = "", **kwargs: Any) -> None:
        if modes:
            kwargs["help"] = f"{', '.join(modes)}: {kwargs['help']}"
        super().__init__(*args, **kwargs)
        self.modes = tuple(modes)
        self.needs = needs


class ModeCommand(click.Command):
    """A command with modes. An option that the mode would ignore is a usage error."""

    def mode(self, ctx: click.Context) -> str:
        """The mode that the parameters ask for: here, what the argument ``mode`` says."""
        return str(ctx.params["mode"])

    def invoke(self, ctx: click.Context) -> Any:
        """Check what was given on the command line, then run.

        :raises click.UsageError: an option that would be ignored
        """
        mode = self.mode(ctx)
        options = {option.name: option for option in self.params}
        for name, option in options.items():
            if not isinstance(option, ModeOption) or ctx.get_parameter_source(str(name)) is not ParameterSource.COMMANDLINE:
                continue
            if option.modes and mode not in option.modes:
                raise click.UsageError(f"{option.opts[0]} goes with {' and '.join(option.modes)}, not with {mode}", ctx)
            if option.needs and not ctx.params[option.needs]:
                raise click.UsageError(f"{option.opts[0]} goes with {options[option.needs].opts[0]}, which is not given", ctx)
        return super().invoke(ctx)


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


def checked_settings_of(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> Settings:
    """As ``settings_of``, and the congestion control must be one of ours.

    :raises click.BadParameter: as there, or no such congestion control
    """
    settings = settings_of(context, parameter, values)
    if settings.tcp_congestion_control != Settings.tcp_congestion_control:
        from fastnet.tcp.congestion import algorithm

        try:
            algorithm(settings.tcp_congestion_control)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return settings


def _set_option(callback: Callable[..., Settings]) -> Callable[..., Any]:
    return click.option(
        "--set",
        "settings",
        metavar="NAME=VALUE",
        multiple=True,
        callback=callback,
        help="A setting of the stack by its Linux name, such as tcp_abort_on_overflow=1. May be repeated.",
    )


set_option = _set_option(checked_settings_of)
set_option_for_programs = _set_option(settings_of)
"""The same where a program makes the stack later: it may bring a congestion control of its own."""


def device_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which device and address a stack has."""
    for option in (
        click.option(
            "--offload/--no-offload", default=True, show_default=True,
            help="Leave checksums of data and its segmentation to the kernel, both ways.",
        ),
        click.option("--mtu", default=1500, show_default=True, type=click.IntRange(128, 65535), help="Of the device, bytes."),
        click.option("--tun", "tun_name", default="fastnet0", show_default=True, help="Name of the TUN device."),
        click.option(
            "--kernel", "kernels", default=("198.18.0.1/24",), multiple=True, show_default=True,
            help="The kernel's address and network on the device. May be repeated, for IPv6: --kernel 2001:2::1/64.",
        ),
        click.option(
            "--address", "addresses", default=("198.18.0.2",), multiple=True, show_default=True,
            help="The stack's address. May be repeated, for IPv6: --address 2001:2::2.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def check_addresses(addresses: tuple[str, ...], kernels: tuple[str, ...], mtu: int) -> None:
    """Each address of the stack must be another one of a network that the kernel has on the device.

    :raises click.BadParameter: it is not; or it is one of IPv6, and the MTU too small for that
    """
    try:
        networks = [ip_interface(kernel) for kernel in kernels]
        owns = [ip_address(address) for address in addresses]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    for own in owns:
        if not any(own in network.network and own != network.ip for network in networks):
            raise click.BadParameter(f"--address {own} is not another address of the network in --kernel {' '.join(kernels)}")
    if mtu < IPV6_MIN_MTU and any(own.version == 6 for own in owns):
        raise click.BadParameter(f"--mtu {mtu}: IPv6 needs {IPV6_MIN_MTU} (RFC 8200 section 5)")


def where(addresses: tuple[str, ...]) -> str:
    """What a server binds to that is to have all addresses of the stack: the address, or a wildcard."""
    if len(addresses) == 1:
        return addresses[0]
    return "::" if any(":" in address for address in addresses) else "0.0.0.0"


def fail(error: object, code: int = COULD_NOT_START) -> NoReturn:
    """One line on standard error, and an exit code.

    :raises BrokenPipeError: it is one, which is no failure to start: nobody reads standard output any more
    """
    if isinstance(error, BrokenPipeError):
        raise error
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    click.echo(f"fastnet: {message}", err=True)
    sys.exit(code)
