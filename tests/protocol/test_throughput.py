"""How fast 10 MiB get through a link with losses, to the byte per second, and how flows share a link.

The figures are in docs/throughput.tsv and repeat exactly.
After a change that is meant to move them: python -m tests.protocol.test_throughput
"""

from __future__ import annotations

from pathlib import Path

import pytest

import fastnet
from fastnet.devices import Impairment
from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from fastnet.twins import Twins
from tests.pair import MILLISECOND, SECOND, B

SNAPSHOT = Path(fastnet.__file__).parent.parent / "docs" / "throughput.tsv"
SIZE = 10 << 20
BUFFERS = (4096, 32768, 32768)
LOSSES = (0, 1, 5, 10, 20, 30)
"""Percent, each way."""
SMOLTCP = (322_945, 219_671, 76_626, 37_775, 6_079, 1_156)
"""Bytes per second of smoltcp, which by default has no congestion control, over the same link with the same buffers."""
CONTROLS = ("cubic", "reno", "none")


def transfer(control: str, percent: int, seed: int = 0) -> tuple[int, int, int]:
    """10 MiB over 50 ms each way; bytes per second from ``connect`` to the last byte received, segments sent again, timeouts."""
    settings = {
        "tcp_rmem": BUFFERS, "tcp_wmem": BUFFERS, "tcp_congestion_control": control,
        # Where a third is lost, even a long silence is nothing to give up for.
        "tcp_retries2": 255, "tcp_syn_retries": 255, "tcp_synack_retries": 255,
    }  # fmt: skip
    twins = Twins(Impairment(delay=50 * MILLISECOND, loss=percent / 100), seed=seed, settings_a=settings, settings_b=settings)
    listener = twins.b.listen("0.0.0.0", 80)
    data = memoryview(bytes(SIZE))
    start = twins.clock()
    client = twins.a.connect(B, 80)
    server: Connection | None = None
    sent = received = 0
    while True:
        if client.state == State.ESTABLISHED and sent < SIZE:
            sent += client.send(data[sent:])
        server = server or listener.accept()
        if server is not None:
            received += len(server.receive(SIZE))
        if received == SIZE:
            break
        assert twins.step()
    counters = twins.a.counters
    return SIZE * SECOND // (twins.clock() - start), counters.TcpRetransSegs, counters.TCPTimeouts


def measure() -> str:
    lines = ["congestion control\tloss %\tbytes/s\tsegments sent again\ttimeouts"]
    for control in CONTROLS:
        for percent in LOSSES:
            rate, again, timeouts = transfer(control, percent)
            lines.append(f"{control}\t{percent}\t{rate}\t{again}\t{timeouts}")
    return "\n".join(lines) + "\n"


def snapshot() -> dict[tuple[str, int], list[int]]:
    rows = [line.split("\t") for line in SNAPSHOT.read_text().splitlines()[1:]]
    return {(row[0], int(row[1])): [int(word) for word in row[2:]] for row in rows}


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("percent", LOSSES)
def test_the_snapshot_is_reproduced(control: str, percent: int) -> None:
    assert list(transfer(control, percent)) == snapshot()[control, percent]


def test_like_with_like_is_faster_than_smoltcp() -> None:
    """Without congestion control, as smoltcp has none, at every rate of loss."""
    figures = snapshot()
    for percent, other in zip(LOSSES, SMOLTCP, strict=True):
        assert figures["none", percent][0] > other, percent


@pytest.mark.parametrize("percent", [0, 10, 20, 30])
def test_cubic_is_faster_than_smoltcp(percent: int) -> None:
    """At 1 % and 5 % the window that CUBIC must keep to (RFC 9438 section 5.1) is what it gets, and that is less."""
    assert snapshot()["cubic", percent][0] > SMOLTCP[LOSSES.index(percent)]


# ---- flows that share a link ----


def shares(controls: list[str], seconds: float = 60.0, seed: int = 0) -> list[int]:
    """Bytes that each flow gets through 10 Mbit/s, 40 ms, a queue of a bandwidth-delay product; the first third does not count."""
    wire = Impairment(delay=20 * MILLISECOND, jitter=MILLISECOND, rate=10_000_000, queue=35)
    twins = Twins(wire, Impairment(delay=20 * MILLISECOND), seed)
    listener = twins.b.listen("0.0.0.0", 80)
    clients = []
    for control in controls:
        client = twins.a.connect(B, 80, local_port=40000 + len(clients))
        client.set_congestion_control(control)
        clients.append(client)
    chunk = bytes(1 << 16)
    received = dict.fromkeys(range(len(controls)), 0)
    servers: list[Connection] = []
    start = twins.clock()
    while twins.clock() < start + round(seconds * SECOND):
        for client in clients:
            if client.state == State.ESTABLISHED and client.writable():
                client.send(chunk)
        while (server := listener.accept()) is not None:
            servers.append(server)
        for server in servers:
            count = len(server.receive(1 << 20))
            if twins.clock() > start + round(seconds * SECOND / 3):
                received[server.handshake.flow.remote_port - 40000] += count
        assert twins.step()
    return list(received.values())


def jain(values: list[int]) -> float:
    """Jain's index: 1 where all get the same, 1/n where one gets all."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


@pytest.mark.parametrize("controls", [["cubic"] * 4, ["reno"] * 4, ["cubic", "reno"], ["cubic", "cubic", "reno", "reno"]])
def test_flows_share_a_link(controls: list[str]) -> None:
    got = shares(controls)
    assert jain(got) > 0.8, got
    assert sum(got) * 8 / 40 > 0.85 * 10_000_000, "and use it"


if __name__ == "__main__":
    SNAPSHOT.write_text(measure())
