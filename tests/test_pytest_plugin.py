"""The pytest plugin as others use it: pytest in a process of its own, over the examples of docs/pytest.md and over tests that fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastnet.devices.capture import INBOUND, OUTBOUND
from tests.devices.test_capture import scapy_reads
from tests.peer import IP, TCP

ROOT = Path(__file__).parent.parent
LOST, TUN, PAIR = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "pytest.md").read_text(), re.DOTALL)
STRICT = ["-W", "error", "--strict-markers", "-p", "no:cacheprovider", "-rs"]


def run(folder: Path, program: str, *options: str, conftest: str = "") -> subprocess.CompletedProcess[str]:
    """Pytest over a file, with every warning an error."""
    (folder / "test_client.py").write_text(program)
    (folder / "conftest.py").write_text(conftest)
    command = [sys.executable, "-m", "pytest", *STRICT, f"--basetemp={folder / 'base'}", *options, "test_client.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)


def section(output: str) -> tuple[int, list[Path]]:
    """The seed that was printed, and the files that it names."""
    seed, again = re.findall(r"^seed (\d+): .*--fastnet-seed=(\d+)$", output, re.MULTILINE)[0]
    assert seed == again
    return int(seed), [Path(name) for name in re.findall(r"^\w+: \d+ packets in (.*\.pcapng)", output, re.MULTILINE)]


@pytest.mark.parametrize("program", [LOST, TUN, PAIR], ids=["lost", "tun", "pair"])
def test_the_examples_of_the_page_pass(program: str, tmp_path: Path) -> None:
    done = run(tmp_path, program)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.pcapng")), "who passes leaves nothing behind"


def test_a_client_without_patience_fails_and_leaves_its_packets(tmp_path: Path) -> None:
    done = run(tmp_path, LOST.replace("timeout=10", "timeout=0.5"))
    assert done.returncode == 1 and "TimeoutError" in done.stdout, done.stdout + done.stderr
    _, (path,) = section(done.stdout)
    assert path.is_relative_to(tmp_path / "base") and path.name == "test_client.py_test_a_lost_syn_ack_costs_a_second-faulty0.pcapng"
    (syn,) = scapy_reads(path.read_bytes(), tmp_path)
    assert syn[2] == INBOUND and IP(syn[0])[TCP].flags == "S" and IP(syn[0]).dst == "198.18.0.2"


def test_a_failure_with_the_kernel_leaves_both_directions(tmp_path: Path) -> None:
    done = run(tmp_path, TUN.replace('recv(1) == b"x"', 'recv(1) == b"y"'), f"--fastnet-captures={tmp_path / 'kept' / 'here'}")
    assert done.returncode == 1, done.stdout + done.stderr
    _, (path,) = section(done.stdout)
    assert path.parent == tmp_path / "kept" / "here"
    found = [(IP(raw)[TCP], direction) for raw, _, direction in scapy_reads(path.read_bytes(), tmp_path)]
    assert [(str(tcp.flags), way) for tcp, way in found[:3]] == [("S", INBOUND), ("SA", OUTBOUND), ("A", INBOUND)]
    assert not any(name == "Timestamp" for name, _ in found[1][0].options), "the mark's setting"
    assert {bytes(tcp.payload) for tcp, _ in found} == {b"", b"x"}


def test_a_seed_repeats_a_failure_to_the_byte(tmp_path: Path) -> None:
    program = PAIR.replace("seconds >= 0.15", "seconds < 0")
    first = run(tmp_path, program)
    seed, (path,) = section(first.stdout)
    before = path.read_bytes()
    again = run(tmp_path, program, f"--fastnet-seed={seed}")
    assert section(again.stdout)[0] == seed and section(again.stdout)[1][0].read_bytes() == before
    other = run(tmp_path, program, f"--fastnet-seed={seed + 1}")
    assert section(other.stdout)[0] == seed + 1 and section(other.stdout)[1][0].read_bytes() != before
    syn, syn_time, way = scapy_reads(before, tmp_path)[0]
    assert (way, syn_time) == (OUTBOUND, 1_000_000_000) and IP(syn)[TCP].flags == "S", "virtual time"


MORE = '''
import contextlib
import socket
import threading

import pytest

from fastnet.server import Echo
from fastnet.server.faults import FinAfter


def test_servers_side_by_side(fastnet_faulty, fastnet_tun, fastnet_seed):
    bad = fastnet_faulty(FinAfter(3), mode="echo", port=7)
    good = fastnet_faulty(mode=Echo(), port=7, settings={"tcp_timestamps": 0})
    assert fastnet_seed == 5 and len({bad[0], good[0], fastnet_tun.address}) == 3
    for address, echoed in ((bad, b"hel"), (good, b"hello")):
        with socket.create_connection(address, timeout=10) as sock:
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda: sock.recv(100), b"")) == echoed


def test_what_is_wrong_is_said(fastnet_faulty):
    with pytest.raises(ValueError, match="no fault 'lose-it'; there are: lose-synack"):
        fastnet_faulty("lose-it")
    with pytest.raises(ValueError, match="no mode 'juggle'; there are: http"):
        fastnet_faulty(mode="juggle")


@pytest.mark.parametrize("number", [1])
def test_the_network_is_gone_afterwards(number):
    assert "fastnet" not in "".join(name for _, name in socket.if_nameindex())


@pytest.mark.xfail
def test_that_may_fail(fastnet_pair):
    assert 0


@pytest.fixture
def falls_over(fastnet_pair):
    yield
    raise RuntimeError("in the teardown")


def test_teardown(falls_over):
    pass


class Broken(Echo):
    asked = threading.Event()

    def opened(self, connection, server, now):
        self.asked.set()
        raise RuntimeError("the mode is broken")


def test_a_server_that_dies_fails_its_test(fastnet_faulty):
    # Its connection is reset, perhaps before connect() has looked.
    with contextlib.suppress(ConnectionResetError), socket.create_connection(fastnet_faulty(mode=Broken()), timeout=10):
        pass
    assert Broken.asked.wait(10)
'''


def test_what_else_the_page_promises(tmp_path: Path) -> None:
    done = run(tmp_path, MORE, "--fastnet-seed=5")
    assert "5 passed, 1 xfailed, 2 errors" in done.stdout, done.stdout
    assert "RuntimeError: in the teardown" in done.stdout and "RuntimeError: the mode is broken" in done.stdout
    names = [path.name.partition("test_client.py_")[2] for path in section(done.stdout)[1]]
    assert names == ["test_teardown-pair.pcapng", "test_a_server_that_dies_fails_its_test-faulty0.pcapng"]


def test_captures_that_cannot_be_written_are_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(tmp_path, PAIR.replace("seconds >= 0.15", "seconds < 0"), f"--fastnet-captures={tmp_path / 'file'}")
    assert done.returncode == 1 and "the packets could not be saved: [Errno 17] File exists" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(("obstacle", "says"), [
    ("import os\nos.geteuid = lambda: 1000", "run pytest as root, or with `unshare --map-root-user --net` in front"),
    ("import fastnet.netns as n\ndef no(flags): raise OSError(1, 'no permission: run as root')\nn.unshare = no", "run as root"),
    ("import fastnet.netns as n\ndef no(*a, **k): raise OSError(2, 'there is no tun: modprobe tun')\nn.Tun = no", "modprobe tun"),
], ids=["no root", "no namespace", "no device"])  # fmt: skip
def test_without_what_it_takes_tests_are_skipped_and_say_why(obstacle: str, says: str, tmp_path: Path) -> None:
    done = run(tmp_path, LOST + TUN, conftest=obstacle)
    assert done.returncode == 0 and "2 skipped" in done.stdout and says in done.stdout and " passed" not in done.stdout, done.stdout
    done = run(tmp_path, PAIR, conftest=obstacle)
    assert "1 passed" in done.stdout, "memory takes nothing"


def test_the_import_is_cheap() -> None:
    """Every run of everybody's pytest has it: nothing but the standard library and pytest."""
    program = "import fastnet.pytest_plugin, sys; print(*(name for name in sys.modules if name.startswith('fastnet') or name == 'numpy'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    expected = {"fastnet", "fastnet.pytest_plugin"} | ({"fastnet._uncompiled"} if os.environ.get("FASTNET_PURE") == "1" else set())
    assert set(done.stdout.split()) == expected


def test_a_run_that_does_not_use_it_does_not_load_it(tmp_path: Path) -> None:
    done = run(tmp_path, "import sys\n\n\ndef test_it():\n    assert 'fastnet.stack' not in sys.modules\n")
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("pure", ["0", "1"])
def test_pure_means_uncompiled_in_tests_too(pure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin is imported before anything else of a run; the choice still stands, and pytest's own import hook leaves it alone."""
    monkeypatch.setenv("FASTNET_PURE", pure)
    program = "from fastnet.tcp import connection\n\n\ndef test_it(fastnet_pair):\n    assert connection.__file__.endswith('.py') == "
    assert "1 passed" in run(tmp_path, f"{program}{pure == '1'}\n").stdout
