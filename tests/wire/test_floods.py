"""Floods over TUN, with the kernel's clients in them: everybody who means it is served."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest

import fastnet.tcp.connection
from fastnet.load import flood
from fastnet.load.flood import Sample

COMPILED = not str(fastnet.tcp.connection.__file__).endswith(".py")
RATE = 40_000 if COMPILED else 8_000
"""Packets a second: what a slow machine that does other things besides can bear."""
SYNS = 100_000 if COMPILED else 16_000
PACKETS = 50_000 if COMPILED else 8_000


def bear(kind: str, packets: int, clients: int, rows: tuple[str, ...] = ("fastnet",), **options: Any) -> dict[str, Sample]:
    """One round; the row of each server."""
    options = {"rate": RATE, **options}
    result = flood.run(kind, packets, clients=clients, rounds=1, rows=rows, **options)
    assert tuple(result.rows) == rows
    return {name: samples[0] for name, samples in result.rows.items()}


def assert_all_served(sample: Sample, clients: int) -> None:
    assert (sample.ok, sample.failed) == (clients, 0), sample.errors
    assert 0 < sample.handshake_p50 <= sample.handshake_p99 <= sample.exchange_p99
    assert sample.exchange_p50 <= sample.exchange_p99


def test_a_flood_of_syns_keeps_nobody_out() -> None:
    """And the same flood and the same clients come to the kernel and to the floor."""
    rows = bear("syn", SYNS, 100, flood.ROWS)
    fastnet, kernel, floor = rows.values()
    assert_all_served(fastnet, 100)
    assert_all_served(kernel, 100)
    assert (floor.ok, floor.failed) == (0, 0)
    assert fastnet.sent == kernel.sent == floor.sent == SYNS
    # All but those that fill the syn queue, and what the device may have lost, get a cookie; the clients, too.
    for row in (fastnet, kernel):
        assert row.cookies_sent > SYNS // 2 and row.cookies_received > 50
        assert min(row.cpu, floor.cpu) > 0
    counters = fastnet.counters
    assert not any(counters.get(name) for name in ("ListenDrops", "ListenOverflows", "TCPReqQFullDrop", "SyncookiesFailed"))
    assert fastnet.growth < 16 << 20


@pytest.mark.parametrize("kind", ["ack", "rst", "fin", "fragment"])
def test_a_flood_of_other_packets_keeps_nobody_out(kind: str) -> None:
    sample = bear(kind, PACKETS, 50)["fastnet"]
    assert_all_served(sample, 50)
    assert sample.counters["TcpPassiveOpens"] == 50
    assert sample.counters["IpInReceives"] > PACKETS // 2
    assert sample.growth < 8 << 20


def test_bad_segments_at_live_connections() -> None:
    """Text, FINs, RSTs and SYNs with any numbers, at four connections that go on all the time: what comes back is what was sent."""
    sample = bear("data", PACKETS, 50)["fastnet"]
    assert_all_served(sample, 50)
    assert sample.live == flood.LIVE
    assert sample.counters["TcpPassiveOpens"] == 50 + flood.LIVE
    assert sample.counters["TCPSYNChallenge"] > PACKETS // 16
    # A challenge each half second, for each connection, at most.
    seconds = sample.sent / sample.rate
    assert 1 <= sample.counters["TCPChallengeACK"] <= flood.LIVE * (2 * seconds + 10)


def test_slowloris() -> None:
    """Connections that never send a whole request hold their own place and nobody else's."""
    sample = bear("slowloris", 3_000, 50, backlog=16)["fastnet"]
    assert_all_served(sample, 50)
    assert sample.sent >= 500
    assert sample.growth < 32 << 20


def test_an_accept_loop_that_sleeps() -> None:
    """Two seconds under a flood; handshakes go on, requests wait, and then everybody is served."""
    sample = bear("asleep", 2 * RATE, 100, asleep=2.0)["fastnet"]
    assert_all_served(sample, 100)
    assert "ListenOverflows" not in sample.counters
    assert sample.handshake_p50 < sample.exchange_p50 and sample.exchange_p99 > 0.5


def test_an_accept_loop_that_sleeps_behind_a_short_queue() -> None:
    """Seventeen fit; the others' SYNs are dropped, and served when they come again."""
    sample = bear("asleep", 2 * RATE, 60, asleep=2.0, backlog=16)["fastnet"]
    assert_all_served(sample, 60)
    assert sample.counters["ListenOverflows"] > 0


def test_an_accept_loop_that_sleeps_with_resets() -> None:
    """tcp_abort_on_overflow: whoever completes a handshake that finds no place is told at once, and nobody is left waiting."""
    settings = {"tcp_abort_on_overflow": 1}
    sample = bear("asleep", 2 * RATE, 60, asleep=2.0, backlog=16, settings=settings)["fastnet"]
    assert sample.ok + sample.failed == 60 and sample.ok >= 17
    assert set(sample.errors) <= {"ECONNRESET", "EPIPE"}


def test_medians_and_ratios() -> None:
    def sample(cpu: float) -> Sample:
        return Sample(sent=1000, rate=1e5, cpu=cpu, ok=10, cookies_sent=900)

    result = flood.Floods("syn", 1000, 0, 10, 3, {"fastnet": [sample(3), sample(4), sample(8)], "floor": [sample(2), sample(4), sample(2)]})
    assert result.median("fastnet", "cpu") == 4 and result.total("fastnet", "ok") == 30
    assert result.ratio("fastnet", "cpu", "floor") == 1.5 and result.ratio("fastnet", "cpu", "kernel") is None
    assert math.isclose(flood.percentile([0.1, 0.4, 0.2, 0.3], 0.99), 0.4) and flood.percentile([], 0.5) == 0
    as_dict = result.as_dict()
    assert as_dict["schema"] == flood.SCHEMA and as_dict["rows"]["fastnet"]["cookies_sent"] == 2700


def test_floods_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="no flood 'rain'; there are: syn"):
        flood.run("rain")
    with pytest.raises(ValueError, match="no row windows"):
        flood.run(rows=["windows"])


# ---- the command ----

FASTNET = [sys.executable, "-c", "from fastnet.cli.main import main; main()", "compare"]


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FASTNET, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_the_command_prints_json() -> None:
    done = compare("--flood", "--packets", "10000", "--rate", str(RATE), "--clients", "10", "--rounds", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["schema"] == flood.SCHEMA and result["flood"] == "syn" and set(result["rows"]) == set(flood.ROWS)
    for name in ("fastnet", "kernel"):
        assert result["rows"][name]["ok"] == 10 and result["rows"][name]["failed"] == 0


def test_the_command_prints_a_table() -> None:
    done = compare("--flood", "rst", "--packets", "5000", "--rate", str(RATE), "--clients", "10", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert "Flood: rst, 5,000 packets" in done.stdout and "10 honest clients" in done.stdout and "…" not in done.stdout
    for name in flood.ROWS:
        assert f"\n {name} " in done.stdout


@pytest.mark.parametrize("arguments", ["--flood rain", "--flood syn --memory", "--bulk --flood", "--flood --packets 1"])
def test_wrong_options(arguments: str) -> None:
    assert compare(*arguments.split()).returncode == 2
