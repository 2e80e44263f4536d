"""``fastnet serve``: what its options become, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import fastnet.cli.serving
from fastnet.cli.main import group
from fastnet.cli.options import where
from fastnet.server import AcceptClose, Chargen, Discard, Echo, Http
from fastnet.server.faults import Fault


class Jobs:
    """Stands for ``Job``: notes how it is made and run."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []
        self.private: list[bool] = []

    def __call__(self, *given: Any) -> Jobs:
        self.made.append(given)
        return self

    def run(self, private: bool) -> int:
        self.private.append(private)
        return 7


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    jobs = Jobs()
    monkeypatch.setattr(fastnet.cli.serving, "Job", jobs)
    return jobs


def serve(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["serve", *arguments], prog_name="fastnet", terminal_width=80)


def test_what_is_served_by_default(jobs: Jobs) -> None:
    done = serve("http")
    assert done.exit_code == 7 and jobs.private == [False], done.output
    name, mode, address, port, backlog, settings, faults, seed, kernel, tun, mtu, offload, capture, limit, command, duration, as_json = (
        jobs.made[0]
    )
    assert (name, address, port, backlog, seed, kernel, tun, mtu) == (
        "http", ("198.18.0.2",), 8080, 4096, 0, ("198.18.0.1/24",), "fastnet0", 1500,
    )  # fmt: skip
    assert (offload, capture, limit, command, duration, as_json, faults) == (True, None, 64, (), None, False, [])
    assert isinstance(mode, Http) and settings.somaxconn == 4096


@pytest.mark.parametrize(("options", "body"), [
    ((), b"hello from fastnet\n"), (("--body", "grüße"), "grüße".encode()), (("--body", ""), b""), (("--body-size", "0"), b""),
    (("--body-size", "7"), b"fastnet"), (("--body-size", "17"), b"fastnet fastnet f"), (("--body-file", "FILE"), b"\0of a file"),
])  # fmt: skip
def test_bodies(options: tuple[str, ...], body: bytes, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, ...]] = []
    monkeypatch.setattr("fastnet.server.Http", lambda *given: made.append(given))
    (tmp_path / "file").write_bytes(b"\0of a file")
    assert serve("http", *(str(tmp_path / "file") if word == "FILE" else word for word in options)).exit_code == 7
    assert made == [(body, 200, 0.0, 0.0, 0.0)]


@pytest.mark.parametrize("options", [
    ("--body", "x", "--body-size", "1"), ("--body-size", "1", "--body-file", __file__), ("--body", "", "--body-file", __file__),
    ("--body", "x", "--body-size", "1", "--body-file", __file__),
])  # fmt: skip
def test_one_body_is_enough(options: tuple[str, ...], jobs: Jobs) -> None:
    done = serve("http", *options)
    assert done.exit_code == 2 and "give one of --body, --body-size and --body-file" in done.output and not jobs.made


def test_what_http_is_told(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, ...]] = []
    monkeypatch.setattr("fastnet.server.Http", lambda *given: made.append(given))
    done = serve("http", "--status", "503", "--delay", "0.5", "--request-timeout", "3", "--keep-alive-timeout", "4")
    assert done.exit_code == 7 and made == [(b"hello from fastnet\n", 503, 0.5, 3.0, 4.0)]
    for wrong in (("--status", "199"), ("--status", "600"), ("--delay", "-1"), ("--delay", "3601"), ("--body-size", "-1")):
        assert serve("http", *wrong).exit_code == 2
    for good in (("--status", "200"), ("--status", "599"), ("--delay", "3600")):
        assert serve("http", *good).exit_code == 7


@pytest.mark.parametrize(("mode", "kind"), [("echo", Echo), ("discard", Discard), ("chargen", Chargen), ("accept-close", AcceptClose)])
def test_modes(mode: str, kind: type, jobs: Jobs) -> None:
    assert serve(mode).exit_code == 7 and type(jobs.made[0][1]) is kind
    done = serve(mode, "--body", "x")
    assert done.exit_code == 2 and f"--body goes with http, not with {mode}" in done.output


def test_a_command_makes_it_private(jobs: Jobs) -> None:
    assert serve("echo", "--duration", "2.5", "--json", "--", "true", "-x").exit_code == 7
    assert jobs.private == [True] and jobs.made[0][14:] == (("true", "-x"), 2.5, True)
    assert serve("echo", "--private").exit_code == 7 and jobs.private == [True, True]
    for wrong in (("--duration", "0"), ("--port", "0"), ("--port", "65536"), ("--mtu", "127"), ("--mtu", "65536"), ("--backlog", "-1")):
        assert serve("echo", *wrong).exit_code == 2, wrong
    for good in (("--port", "1"), ("--port", "65535"), ("--mtu", "128"), ("--mtu", "65535"), ("--backlog", "0")):
        assert serve("echo", *good).exit_code == 7, good


@pytest.mark.parametrize("options", [
    ("--address", "198.18.0.1"), ("--address", "198.18.1.2"), ("--address", "nowhere"), ("--kernel", "198.18.0.2/24"), ("--kernel", "x"),
    ("--address", "2001:2::2"), ("--address", "2001:2::1", "--kernel", "2001:2::1/64"), ("--address", "2001:2::2/64"),
    ("--address", "2001:2::2", "--kernel", "2001:2::1/64", "--mtu", "1279"),
    ("--address", "198.18.0.2", "--address", "2001:2::2", "--kernel", "2001:2::1/64"),
])  # fmt: skip
def test_addresses_that_do_not_fit(options: tuple[str, ...], jobs: Jobs) -> None:
    assert serve("echo", *options).exit_code == 2 and not jobs.made


def test_addresses_of_both_families(jobs: Jobs) -> None:
    both = ("--address", "198.18.0.2", "--address", "2001:2::2", "--kernel", "198.18.0.1/24", "--kernel", "2001:2::1/64")
    assert serve("echo", *both, "--mtu", "1280").exit_code == 7
    assert jobs.made[0][2] == ("198.18.0.2", "2001:2::2") and jobs.made[0][8] == ("198.18.0.1/24", "2001:2::1/64")
    assert where(jobs.made[0][2]) == "::" and where(("2001:2::2",)) == "2001:2::2" and where(("198.18.0.2", "198.18.0.3")) == "0.0.0.0"


def test_faults_and_offload(jobs: Jobs) -> None:
    """A kernel that leaves checksums out does not notice a wrong one: offload goes off by itself, and asking for it is an error."""
    assert serve("echo", "--fault", "fin-after:10@0.5", "--fault-seed", "9").exit_code == 7
    faults, seed, offload = jobs.made[-1][6], jobs.made[-1][7], jobs.made[-1][11]
    assert [(isinstance(fault, Fault), chance) for fault, chance in faults] == [(True, 0.5)] and seed == 9 and offload is True
    assert serve("echo", "--fault", "corrupt:0.1").exit_code == 7 and jobs.made[-1][11] is False
    assert serve("echo", "--fault", "corrupt:0.1", "--no-offload").exit_code == 7 and jobs.made[-1][11] is False
    done = serve("echo", "--fault", "corrupt:0.1", "--offload")
    assert done.exit_code == 2 and "--fault corrupt goes with --no-offload" in done.output
    assert serve("echo", "--fault", "nonsense").exit_code == 2
    done = serve("echo", "--fault-seed", "9")
    assert done.exit_code == 2 and "--fault-seed goes with --fault, which is not given" in done.output


def test_captures_and_settings(jobs: Jobs, tmp_path: Path) -> None:
    path = tmp_path / "file.pcapng"
    assert serve("echo", "--capture", str(path), "--capture-limit", "3").exit_code == 7 and jobs.made[-1][12:14] == (path, 3)
    done = serve("echo", "--capture-limit", "3")
    assert done.exit_code == 2 and "--capture-limit goes with --capture" in done.output
    assert serve("echo", "--set", "tcp_sack=0", "--set", "tcp_congestion_control=reno").exit_code == 7
    assert jobs.made[-1][5].tcp_sack == 0 and jobs.made[-1][5].tcp_congestion_control == "reno"
    for wrong in ("tcp_sack", "tcp_sack=2", "tcp_sak=1", "tcp_congestion_control=none such"):
        assert serve("echo", "--set", wrong).exit_code == 2, wrong
