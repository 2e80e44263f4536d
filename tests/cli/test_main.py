"""The first screen, help that costs nothing, and names that are nearly right."""

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from fastnet.cli.main import COMMANDS, group
from fastnet.load import _flood, kinds

SLOW = ("asyncio", "numpy", "pyroute2", "rich")


def fastnet(*arguments: str) -> Result:
    return CliRunner().invoke(group, arguments, prog_name="fastnet", terminal_width=80)


@pytest.mark.parametrize("arguments", ["", "--help", *(f"{name} --help" for name in COMMANDS), "serve echo --reset", "nonsense"])
def test_help_imports_nothing_that_takes_time(arguments: str) -> None:
    program = (
        "import sys\nfrom fastnet.cli.main import main\ntry: main()\nexcept SystemExit: pass\n"
        f"print([name for name in {SLOW} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments.split()], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]", done


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_list_is_there(name: str) -> None:
    done = fastnet(*name.split(), "--help")
    assert done.exit_code == 0 and f"Usage: fastnet {name} " in done.output
    assert all(len(line) <= 80 for line in done.output.splitlines())


def test_the_first_screen_says_what_it_is() -> None:
    done = fastnet()
    assert done.exit_code == 0 and done.output == fastnet("--help").output
    assert "TCP/IP stack in user space" in done.output and "fastnet serve http -- curl" in done.output
    assert all(name in done.output for name in COMMANDS)
    assert all(len(line) <= 80 for line in done.output.splitlines())


def examples() -> list[str]:
    return re.findall(r"^    (fastnet (?:serve|run) .*)$", fastnet().output, re.MULTILINE)


@pytest.mark.parametrize(("index", "code"), [(0, 0), (1, 18)])
def test_its_examples_do_what_they_say(index: int, code: int) -> None:
    _, *arguments = examples()[index].split()
    command = [sys.executable, "-c", "from fastnet.cli.main import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout[:5]) == (code, "hello"), done


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("sevre http", "no command 'sevre'; did you mean serve or sweep?"),
        ("nonsense", "no command 'nonsense'; there are: serve, "),
        ("serve htpp", "no choice 'htpp'; did you mean http?"),
        ("serve http --bakclog 3", "Did you mean '--backlog'?"),
        ("serve http --set tcp_sync=1", "no setting 'tcp_sync'; did you mean "),
        ("serve http --fault fin-aftr:3", "no fault 'fin-aftr'; did you mean fin-after?"),
        ("serve http --set tcp_congestion_control=cubik", "no congestion control 'cubik'; did you mean cubic?"),
        ("compare --row kernell", "no choice 'kernell'; did you mean kernel?"),
        ("compare --flood slow-loris", "no choice 'slow-loris'; did you mean slowloris?"),
    ],
)
def test_did_you_mean(arguments: str, says: str) -> None:
    done = fastnet(*arguments.split())
    assert done.exit_code == 2 and says in done.output.splitlines()[-1], done.output


@pytest.mark.parametrize("command", ["serve http", "serve asgi app:app", "compare"])
def test_a_congestion_control_is_checked_when_it_is_read(command: str) -> None:
    done = fastnet(*command.split(), "--set", "tcp_congestion_control=vegas")
    assert done.exit_code == 2 and "no congestion control 'vegas'; there are: bbr, cubic, dctcp, none, reno" in done.output


def test_floods_by_name_are_those_that_there_are() -> None:
    assert kinds.RAW_FLOODS == _flood.KINDS
