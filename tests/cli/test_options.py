"""An option that a mode would ignore is a usage error that says what it goes with."""

import pytest
from click import Option
from click.testing import CliRunner

from fastnet.cli.compare import compare
from fastnet.cli.main import group
from fastnet.cli.options import ModeOption
from fastnet.cli.serve import MODES, serve

VALUES = {"duration": "3", "body": "x", "body_size": "3", "body_file": "/etc/passwd", "rows": "fastnet", "ending": "close"}
COMPARISONS = {"handshakes": [], "--bulk": ["--bulk"], "--flood": ["--flood", "ack"], "--memory": ["--memory"]}


def wrong(*arguments: str) -> str:
    done = CliRunner().invoke(group, arguments)
    assert done.exit_code == 2, done
    return done.output.splitlines()[-1]


def given(option: Option) -> list[str]:
    return [option.opts[0]] if option.is_flag else [option.opts[0], VALUES.get(str(option.name), "200")]


def modal(command: object) -> list[ModeOption]:
    return [option for option in command.params if isinstance(option, ModeOption)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("option", [option for option in modal(serve) if option.modes], ids=lambda option: option.name)
def test_options_of_serve(option: ModeOption, mode: str) -> None:
    if mode not in option.modes:
        assert wrong("serve", mode, *given(option)) == f"Error: {option.opts[0]} goes with {option.modes[0]}, not with {mode}"


@pytest.mark.parametrize("mode", COMPARISONS)
@pytest.mark.parametrize("option", modal(compare), ids=lambda option: option.name)
def test_options_of_compare(option: ModeOption, mode: str) -> None:
    if mode not in option.modes:
        says = f"Error: {option.opts[0]} goes with {' and '.join(option.modes)}, not with {mode}"
        assert wrong("compare", *COMPARISONS[mode], *given(option)) == says


def test_what_the_modes_do_not_share_is_marked() -> None:
    """What is left out of these lists goes with every mode."""
    assert {option.name for option in modal(serve)} == {
        "body", "body_size", "body_file", "status", "delay", "request_timeout", "keep_alive_timeout", "reset", "fault_seed",
        "capture_limit",
    }  # fmt: skip
    assert {option.name for option in modal(compare)} == {"duration", "in_flight", "ending", "rows", "packets", "rate", "clients"}
    modes = {mode for option in modal(serve) for mode in option.modes} | {mode for option in modal(compare) for mode in option.modes}
    assert modes <= set(MODES) | set(COMPARISONS)


def test_a_default_that_is_written_out_is_given_too() -> None:
    assert wrong("serve", "echo", "--status", "200") == "Error: --status goes with http, not with echo"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("serve http --capture-limit 3", "--capture-limit goes with --capture, which is not given"),
        ("serve http --fault-seed 3", "--fault-seed goes with --fault, which is not given"),
        ("serve http --fault corrupt --offload", "--fault corrupt goes with --no-offload, not with --offload"),
        ("serve http --body x --body-size 3", "give one of --body, --body-size and --body-file"),
        ("compare --bulk --memory", "--bulk goes without --memory"),
        ("compare --flood --bulk --memory", "--flood"),
    ],
)
def test_options_that_need_or_exclude_another(arguments: str, says: str) -> None:
    assert says in wrong(*arguments.split())
