"""``fastnet serve --capture``: what curl and the server said to each other is in the file, whatever offload has left out."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastnet.devices.capture import INBOUND, OUTBOUND
from tests.devices.test_capture import dpkt_reads, scapy_reads
from tests.peer import IP, TCP, checked

PROGRAM = [sys.executable, "-c", "from fastnet.cli.main import main; main()", "serve", "http"]
CURL = ["--", "curl", "-s", "-o", "/dev/null", "-w", "%{size_download}", "http://198.18.0.2:8080/"]


def serve(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PROGRAM, *options, *CURL], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("offload", ["--offload", "--no-offload"])
def test_a_served_page_as_scapy_reads_it(offload: str, tmp_path: Path) -> None:
    path = tmp_path / "page.pcapng"
    before = time.time_ns()
    done = serve("--body-size", "300000", offload, "--capture", str(path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "300000", 1) and "1 connections" in done.stderr
    found = scapy_reads(path.read_bytes(), tmp_path)
    assert dpkt_reads(path.read_bytes()) == [raw for raw, _, _ in found]
    times = [at for _, at, _ in found]
    assert times == sorted(times) and before < times[0] < times[-1] < time.time_ns()
    # All checksums are right, those too that the kernel or the stack did not compute.
    packets = [(checked(raw), direction) for raw, _, direction in found if raw[9] == 6]
    assert all((packet[IP].src == "198.18.0.2") == (direction == OUTBOUND) for packet, direction in packets)
    assert [str(packet[TCP].flags) for packet, _ in packets[:3]] == ["S", "SA", "A"]
    sent: dict[int, bytes] = {}
    for packet, direction in packets:
        if direction == OUTBOUND and packet[TCP].payload:
            sent[packet[TCP].seq] = bytes(packet[TCP].payload)
    page = b"".join(sent[seq] for seq in sorted(sent, key=lambda seq: seq - packets[1][0][TCP].seq & 0xFFFFFFFF))
    assert page.partition(b"\r\n\r\n")[2] == (b"fastnet " * 40000)[:300000]
    assert any(len(raw) > 1500 for raw, _, _ in found) == (offload == "--offload")
    assert any(b"GET / HTTP/1.1" in raw for raw, _, direction in found if direction == INBOUND)


def test_a_full_capture_ends_and_the_server_does_not(tmp_path: Path) -> None:
    path = tmp_path / "page.pcapng"
    done = serve("--body-size", "3000000", "--capture", str(path), "--capture-limit", "1")
    assert (done.returncode, done.stdout) == (0, "3000000")
    assert "page.pcapng is full: " in done.stderr and "--capture-limit" in done.stderr
    assert 900_000 < path.stat().st_size <= 1 << 20
    assert scapy_reads(path.read_bytes(), tmp_path)


def test_a_capture_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    done = serve("--capture", str(tmp_path / "none" / "page.pcapng"))
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "page.pcapng: No such file or directory" in done.stderr
    done = serve("--capture", "/dev/full")
    assert (done.returncode, done.stdout) == (0, "19")
    assert done.stderr.splitlines()[1:] == ["fastnet: /dev/full is not complete: No space left on device"]
