"""``fastnet run``: what its options become, and the servers that it refuses, without a namespace."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

import fastnet.cli.running
from fastnet.cli.main import group
from fastnet.cli.run import check_workers

ADDRESS = "198.18.0.2"
UVICORN = ("uvicorn", "--host", ADDRESS)
LOOP = ("uvicorn", "--loop", "fastnet.aio:new_event_loop")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)


@pytest.mark.parametrize(("command", "what"), [
    (("gunicorn", "--bind", f"{ADDRESS}:80"), "gunicorn"),
    (("python", "-m", "gunicorn", f"--bind={ADDRESS}"), "gunicorn"),
    (("/usr/bin/gunicorn", ADDRESS), "gunicorn"),
    ((*UVICORN, "--workers", "2"), "uvicorn with 2 workers"),
    ((*UVICORN, "--workers=3"), "uvicorn with 3 workers"),
    ((*LOOP, "--workers=3"), "uvicorn with 3 workers"),
    ((*UVICORN, "--reload"), "uvicorn --reload"),
    ((*UVICORN, "--workers", "2", "--reload"), "uvicorn --reload"),
    (("python", "-m", "uvicorn", "--host", ADDRESS, "--workers", "2"), "uvicorn with 2 workers"),
])  # fmt: skip
def test_servers_with_worker_processes_are_refused(command: tuple[str, ...], what: str) -> None:
    with pytest.raises(click.UsageError, match=f"^{what} binds in one process"):
        check_workers(command, ADDRESS)


@pytest.mark.parametrize("command", [
    UVICORN, LOOP, (*UVICORN, "--workers", "1"), (*UVICORN, "--workers=1"), (*UVICORN, "--workers=0"), (*UVICORN, "--workers"),
    (*UVICORN, "--workers=many"), ("gunicorn", "--bind", "127.0.0.1"), ("uvicorn", "--workers", "4"), ("python", "server.py", ADDRESS),
    ("env", "A=B", "C=D", "gunicorn", ADDRESS), ("ls",),
])  # fmt: skip
def test_others_are_not(command: tuple[str, ...]) -> None:
    """With one process, on an address of the kernel's, or something else altogether: uvicorn says what is wrong with its own options."""
    check_workers(command, ADDRESS)


def test_the_environment_may_say_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    with pytest.raises(click.UsageError, match="uvicorn with 4 workers"):
        check_workers(UVICORN, ADDRESS)
    check_workers((*UVICORN, "--workers", "1"), ADDRESS)


def test_what_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[Any, ...]] = []

    def run_program(*given: Any) -> int:
        ran.append(given)
        return 9

    monkeypatch.setattr(fastnet.cli.running, "run_program", run_program)

    def run(*arguments: str) -> int:
        return CliRunner().invoke(group, ["run", *arguments], prog_name="fastnet").exit_code

    assert run("--", "ls", "-l") == 9
    assert ran[-1][:7] == (("ls", "-l"), False, (ADDRESS,), ("198.18.0.1/24",), "fastnet0", 1500, True)
    assert run("--patched", "--mtu", "900", "--no-offload", "--tun", "t1", "--kernel", "10.0.0.1/8", "--address", "10.0.0.9",
               "--set", "tcp_sack=0", "--set", "tcp_congestion_control=mine", "--", "true") == 9  # fmt: skip
    assert ran[-1][:7] == (("true",), True, ("10.0.0.9",), ("10.0.0.1/8",), "t1", 900, False)
    assert ran[-1][7].tcp_sack == 0 and ran[-1][7].tcp_congestion_control == "mine", "the program may bring one of its own"
    count = len(ran)
    assert run() == run("--address", "10.0.0.9", "--", "true") == run("--", *UVICORN, "--workers=2") == 2
    assert len(ran) == count
