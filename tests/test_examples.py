"""The examples do what they say."""

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.devices.test_capture import scapy_reads
from tests.peer import IP, TCP

ROOT = Path(__file__).parent.parent


@pytest.fixture
def output_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs an example, and gives what it printed."""

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_every_example_has_a_test() -> None:
    text = Path(__file__).read_text() + (ROOT / "tests" / "aio" / "test_examples.py").read_text()
    names = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert {name for name in names if not re.search(rf'"{name}(\.py|:app)?"', text)} == set()


def test_in_memory(output_of: Callable[..., str]) -> None:
    sent = re.findall(r"^ *([\d.]+) s  SYN-ACK, 44 bytes, syn queue 1$", output_of("in_memory"), re.MULTILINE)
    assert sent == ["0.0", "1.0", "3.0", "7.0"]


def test_policy(output_of: Callable[..., str]) -> None:
    lines = output_of("policy").splitlines()
    found = [re.match(r" *([\d.]+) s  (SYN-ACK|RST) +to 198\.18\.(\d)\.7, ttl (\d+), window (\d+)", line) for line in lines[:-1]]
    assert [match.groups() for match in found if match] == [
        ("0.0", "SYN-ACK", "1", "3", "1000"),
        ("0.0", "RST", "2", "64", "0"),
        ("0.0", "SYN-ACK", "5", "64", "65535"),
        ("1.5", "SYN-ACK", "3", "64", "65535"),
        ("3.0", "SYN-ACK", "4", "64", "65535"),
    ]
    assert lines[-1] == "requests 3, cookies 1, refused 1"


def test_echo(output_of: Callable[..., str]) -> None:
    lines = output_of("echo").splitlines()
    assert [line for line in lines if line.startswith("back")] == ["back: hello", "back: hellohello", "back: hellohellohello"]
    assert sorted(line for line in lines if not line.startswith("back")) == [f"198.18.0.1: {n} bytes, then a FIN" for n in (10, 15, 5)]


def test_http_server(output_of: Callable[..., str]) -> None:
    lines = output_of("http_server").splitlines()
    assert [line for line in lines if line.startswith("/")] == [
        f"/{name} for 198.18.0.1, from a connection in ESTABLISHED" for name in ("first", "second")
    ]
    assert 'served: "GET /second HTTP/1.1" 200 -' in lines


def test_congestion_control(output_of: Callable[..., str]) -> None:
    """Virtual time: the same figures on every machine."""
    found = re.findall(r"^(\w+) +([\d.]+) s", output_of("congestion_control"), re.MULTILINE)
    assert [name for name, _ in found] == ["reno", "cubic", "stubborn"]
    reno, cubic, stubborn = (float(taken) for _, taken in found)
    assert reno > cubic > stubborn > 2_000_000 * 8 / 20_000_000


def test_fault(output_of: Callable[..., str]) -> None:
    found = re.findall(r"^connected after ([\d.]+) s, (\d+) bytes of 100: 'a ", output_of("fault"), re.MULTILINE)
    assert [float(taken) for taken, _ in found] == [2.0, 2.0, 2.0], "the first SYN, and the first SYN-ACK"
    assert len({int(size) for _, size in found} - {100}) > 1


def test_handshake(output_of: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "trace.pcapng"
    lines = output_of("handshake", str(path)).splitlines()
    packets = [re.sub(" +", " ", line.strip()) for line in lines if "---" in line]
    assert packets[0] == "0.000 s SYN_SENT --- SYN seq 0 --> syn queue 0, accept queue 0"
    assert "syn queue 1" in lines[1], "it waits for the ACK of a SYN-ACK that is lost"
    assert packets[1].startswith("1.000 s SYN_SENT --- SYN seq 0 -->")
    assert packets[2].startswith("1.020 s SYN_SENT <-- SYN+ACK seq 0 ack 1 ---")
    assert packets[-2:] == [
        "1.050 s LAST_ACK --- FIN+ACK seq 6 ack 7 --> FIN_WAIT_1 syn queue 0, accept queue 0",
        "1.070 s LAST_ACK <-- ACK seq 7 ack 7 --- TIME_WAIT syn queue 0, accept queue 0",
    ]
    assert lines[-1].split() == ["CLOSED", "TIME_WAIT"]
    found = scapy_reads(path.read_bytes(), tmp_path)
    assert len(found) == len(packets) and bytes(IP(found[-4][0])[TCP].payload) == b"HELLO"


def test_network(output_of: Callable[..., str]) -> None:
    lines = output_of("network").splitlines()
    assert sorted(re.sub(r"port \d+", "port N", line) for line in lines) == [
        "client: HELLO", "server: descriptor 2 leads to 198.18.0.1 port N", "server: the client has closed",
    ]  # fmt: skip
