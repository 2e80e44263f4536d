"""``fastnet compare``: what its options become, and how it ends, without a measurement."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fastnet.cli import comparing
from fastnet.cli.main import group
from fastnet.load import bulk, compare, flood
from fastnet.load.kinds import FLOODS, ROWS


class Measured:
    """Stands for the three measurements: notes what they are given, and what is shown."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], Any]] = []
        self.shown: list[tuple[str, object, bool]] = []
        for name, module, show in (("handshakes", compare, "show"), ("bulk", bulk, "show_bulk"), ("flood", flood, "show_floods")):
            monkeypatch.setattr(module, "run", self.measure(name))
            monkeypatch.setattr(comparing, show, self.show(name))
        monkeypatch.setattr(comparing, "in_namespace", self.in_namespace)

    def measure(self, name: str) -> Callable[..., str]:
        def run(*given: Any, **named: Any) -> str:
            settings, _ = (named["settings"], named["progress"]) if named else given[-2:]
            self.calls.append((name, given if named else given[:-2], settings))
            return f"result of {name}"

        return run

    def show(self, name: str) -> Callable[[object, bool], None]:
        return lambda result, as_json: self.shown.append((name, result, as_json))

    def in_namespace(self, main: Callable[[Any], Callable[[], None]]) -> int:
        show = main(lambda text: None)
        assert not self.shown, "not before everything is measured"
        show()
        return 6


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    return Measured(monkeypatch)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["compare", *arguments], prog_name="fastnet", terminal_width=80)


def test_what_is_compared_by_default(measured: Measured) -> None:
    assert run().exit_code == 6
    ((name, given, settings),) = measured.calls
    assert (name, given) == ("handshakes", (ROWS, 5, 2.0, 128, "server")) and settings.tcp_sack == 1
    assert measured.shown == [("handshakes", "result of handshakes", False)]


def test_options_of_handshakes(measured: Measured) -> None:
    options = ("--rounds", "7", "--duration", "0.5", "--in-flight", "9", "--ending", "close", "--row", "floor", "--row", "kernel", "--json")
    assert run(*options, "--set", "tcp_sack=0").exit_code == 6
    ((_, given, settings),) = measured.calls
    assert given == (("floor", "kernel"), 7, 0.5, 9, "close") and settings.tcp_sack == 0
    assert measured.shown == [("handshakes", "result of handshakes", True)]


def test_options_of_bulk(measured: Measured) -> None:
    assert run("--bulk").exit_code == 6 and measured.calls[0][:2] == ("bulk", (5, 2.0))
    measured.shown.clear()
    assert run("--bulk", "--rounds", "2", "--duration", "3", "--json").exit_code == 6
    assert measured.calls[-1][:2] == ("bulk", (2, 3.0)) and measured.shown == [("bulk", "result of bulk", True)]


@pytest.mark.parametrize("kind", FLOODS)
def test_options_of_floods(kind: str, measured: Measured) -> None:
    assert run("--flood", kind, "--packets", "100", "--rate", "0", "--clients", "3", "--rounds", "2").exit_code == 6
    ((name, given, _),) = measured.calls
    assert (name, given) == ("flood", (kind, 100, 0.0, 3, 2)) and measured.shown == [("flood", "result of flood", False)]


def test_a_flood_without_a_word_is_of_syns(measured: Measured) -> None:
    """And has three rounds, not five."""
    assert run("--flood").exit_code == 6
    assert measured.calls[0][:2] == ("flood", ("syn", 2_000_000, 200_000.0, 1000, 3))


@pytest.mark.parametrize(("option", "low", "high"), [
    ("--rounds", 1, 100), ("--duration", 0.1, 60), ("--in-flight", 1, 4096), ("--flood --packets", 100, 100_000_000),
    ("--flood --rate", 0, 10_000_000), ("--flood --clients", 1, 10_000),
])  # fmt: skip
def test_bounds(option: str, low: float, high: float, measured: Measured) -> None:
    for value in (low, high):
        measured.shown.clear()
        assert run(*option.split(), str(value)).exit_code == 6
    for value in (low - 0.01 if option == "--duration" else low - 1, high + 1):
        assert run(*option.split(), str(value)).exit_code == 2
    assert len(measured.calls) == 2


# ---- how it ends ----


def raising(error: BaseException) -> Callable[[Any], Callable[[], None]]:
    def main(progress: Any) -> Callable[[], None]:
        progress("of the test")
        raise error

    return main


@pytest.mark.parametrize(("error", "code", "says"), [
    (OSError(errno.EPERM, "no permission of the test"), 3, "fastnet: no permission of the test (fastnet compare --memory needs neither"),
    (OSError("without a number"), 3, "fastnet: without a number (fastnet compare --memory needs neither TUN nor namespace)"),
    (RuntimeError("no handshake"), 3, "fastnet: no handshake (fastnet compare --memory needs neither TUN nor namespace)"),
    (BrokenPipeError(), 141, ""), (KeyboardInterrupt(), 130, ""), (ValueError("of the test"), 1, "ValueError: of the test"),
], ids=["permission", "no number", "no handshake", "pipe", "interrupt", "a bug"])  # fmt: skip
def test_what_ends_it(error: BaseException, code: int, says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert comparing.in_namespace(raising(error)) == code
    assert says in capfd.readouterr().err


def test_what_is_printed_after_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert comparing.in_namespace(lambda progress: lambda: print("the table")) == 0
    assert capfd.readouterr().out == "the table\n"
