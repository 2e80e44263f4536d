"""The check of the system before a build: what is missing is named at once, and installed in one step where that may be."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("sh", "id", "mktemp", "tail", "rm", "test")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder for PATH with next to nothing in it."""
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (tmp_path / tool).symlink_to(found)
    return tmp_path


def check(path: Path, purpose: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ROOT / "scripts" / "check-system", purpose],
        env={"PATH": str(path), "PYTHON": sys.executable, **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def program(path: Path, name: str, text: str) -> None:
    (path / name).write_text("#!/bin/sh\n" + text)
    (path / name).chmod(0o755)


def test_all_that_is_missing_is_named_at_once(bare: Path) -> None:
    result = check(bare, "test", APT="0")
    assert result.returncode == 3
    (line,) = [line for line in result.stderr.splitlines() if "packages" in line]
    assert {"gcc", "iproute2", "iputils-ping", "curl"} <= set(line.split())


def test_a_build_needs_less_than_the_tests(bare: Path) -> None:
    result = check(bare, "build", APT="0")
    assert result.returncode == 3
    assert "gcc" in result.stderr.split()
    assert "curl" not in result.stderr.split()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
def test_root_installs_them_in_one_step(bare: Path) -> None:
    tools = ("gcc", "ip", "ping", "curl")
    makes = "\n".join(f'echo "#!{bare}/sh" > {bare}/{tool}; {shutil.which("chmod")} +x {bare}/{tool}' for tool in tools)
    program(bare, "apt-get", f'echo "$@" >> {bare}/calls\n[ "$1" = install ] || exit 0\n{makes}\n')
    result = check(bare, "test")
    assert result.returncode == (0 if Path("/dev/net/tun").exists() else 3), result.stderr
    update, install = (bare / "calls").read_text().splitlines()
    assert update.startswith("update")
    assert {"gcc", "iproute2", "iputils-ping", "curl"} <= set(install.split())
    assert "installing" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
def test_what_cannot_be_installed_is_said(bare: Path) -> None:
    program(bare, "apt-get", 'echo "E: no network" >&2; exit 100\n')
    result = check(bare, "build")
    assert result.returncode == 3
    assert "E: no network" in result.stderr
    assert "packages are missing: apt-get install gcc" in result.stderr


def test_a_build_shows_how_far_it_is() -> None:
    said = "".join(f"[{n}/20] Cythonizing fastnet/_{n}.pyx\n" for n in range(1, 21)) + "building 'fastnet._1' extension\n" * 20
    command = [sys.executable, ROOT / "scripts" / "progress"]
    result = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=True)
    assert result.stderr.splitlines()[0] == "fastnet: building: 10 of 20 modules translated to C, 0 compiled"
    assert result.stderr.splitlines()[-1] == "fastnet: building: 20 of 20 modules translated to C, 20 compiled"
