"""What the README tells a stranger to type."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fastnet.cli.main import group

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LINES = [line.strip() for line in re.findall(r"^    (fastnet .*)$", README, re.MULTILINE)]
COMMANDS = [shlex.split(line, comments=True)[1:] for line in LINES]


def test_there_are_some() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_is_one_that_there_is(arguments: list[str]) -> None:
    """Names, options and their values, without running it."""
    context = click.Context(group, info_name="fastnet")
    _, command, rest = group.resolve_command(context, list(arguments))
    assert command is not None
    command.make_context("fastnet", rest, parent=context)


@pytest.mark.parametrize(
    "arguments", [words for words in COMMANDS if "--" in words and not {"wrk", "uvicorn"} & set(words)], ids=" ".join
)
def test_every_command_that_ends_does_what_it_says(arguments: list[str], tmp_path: Path) -> None:
    here = Path(sys.executable).parent
    environment = {"PATH": f"{here}:/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from fastnet.cli.main import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    if "fin-after:1000" in arguments:
        assert done.returncode == 18 and 800 < (tmp_path / "page").stat().st_size < 1000
    else:
        assert done.returncode == 0 and done.stdout, done
    if "--capture" in arguments:
        assert (tmp_path / "page.pcapng").stat().st_size > 500


def test_the_server_in_a_few_lines() -> None:
    (program, *_) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello from fastnet\n", "")


def test_every_page_that_it_names_is_there() -> None:
    for path in re.findall(r"\]\(((?!http)[^)#]+)", README) + re.findall(r"`(examples/[\w.]+)`", README):
        assert (ROOT / path).exists(), path
