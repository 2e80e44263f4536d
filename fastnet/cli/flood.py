"""``fastnet compare --flood``: its options, and its table."""

import json
from collections.abc import Callable
from typing import Any

import click

from fastnet.cli.options import print_table, ratio
from fastnet.load.flood import KINDS, Floods


def flood_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a flood, for a command."""
    for option in (
        click.option("--clients", default=1000, show_default=True, type=click.IntRange(1, 10_000), help="Honest clients in a flood."),
        click.option(
            "--rate", default=200_000.0, show_default=True, type=click.FloatRange(0, 10_000_000),
            help="Packets of a flood each second; 0: as fast as the device takes them.",
        ),
        click.option("--packets", default=2_000_000, show_default=True, type=click.IntRange(100, 100_000_000), help="Packets of a flood."),
        click.option(
            "--flood", is_flag=False, flag_value="syn", default=None, type=click.Choice(KINDS),
            help="A flood, and what becomes of honest clients in it; without a word: of SYNs.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def show_floods(result: Floods, as_json: bool) -> None:
    """The table on the terminal, or JSON."""
    if as_json:
        print(json.dumps(result.as_dict()))
        return
    rows = []
    for name in result.rows:
        visited = name != "floor"
        took = [result.median(name, time_of) for time_of in ("handshake_p50", "handshake_p99", "exchange_p50", "exchange_p99")]
        rows.append(
            (
                name,
                f"{result.median(name, 'rate'):,.0f}",
                f"{result.median(name, 'cpu') * 1e6:.2f}",
                ratio(result.ratio(name, "cpu", "floor")),
                f"{result.total(name, 'ok')}" if visited else "",
                f"{result.total(name, 'failed')}" if visited else "",
                *(f"{time * 1e3:.2f}" if visited else "" for time in took),
                f"{result.total(name, 'cookies_sent'):,}" if visited else "",
                f"{result.total(name, 'cookies_received'):,}" if visited else "",
                f"{max(sample.growth for sample in result.rows[name]) / 2**20:.1f}" if name != "kernel" else "",
            )
        )
    title = f"Flood: {result.kind}, {result.packets:,} packets, {result.clients:,} honest clients, {result.rounds} rounds; times in ms"
    times = ("\np50", "\np99", "all\np50", "all\np99")
    columns = ("packets\n/s", "CPU\nus", "\nratio", "\nok", "\nfailed", *times, "\ncookies", "\nback", "\nMiB")
    print_table(title, columns, rows)
