"""A comparison of handshakes, without a wire: what is measured of a row, and what becomes of the rows."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, Self

import pytest

from fastnet.load import compare
from fastnet.load.kinds import ROWS

NOTHING = (0, 0, 0, 0)


class Client:
    """Stands for the handshake client: each run adds one of ``runs``, of completed, refused, timed out and retransmitted handshakes."""

    runs: list[tuple[int, int, int, int]]
    seconds = 4.0
    """How long the last run took."""
    cpu = 0.5

    def __init__(self, *_: object) -> None:
        self.completed = self.refused = self.timed_out = self.retransmitted = 0
        self.ran: list[float] = []

    def run(self, seconds: float) -> int:
        self.ran.append(seconds)
        completed, refused, timed_out, retransmitted = self.runs.pop(0) if self.runs else NOTHING
        self.completed += completed
        self.refused += refused
        self.timed_out += timed_out
        self.retransmitted += retransmitted
        return completed

    def percentile(self, share: float) -> float:
        return share / 1000


class Server:
    """Stands for the process of a server that takes 2 s of CPU between one question and the next."""

    def __init__(self, *_: object) -> None:
        self.taken = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def cpu(self) -> float:
        self.taken += 2
        return self.taken


def measured(monkeypatch: pytest.MonkeyPatch, *runs: tuple[int, int, int, int], in_kernel: bool = False) -> compare.Sample:
    """A measurement of 4 s with such runs."""
    monkeypatch.setattr(Client, "runs", list(runs), raising=False)
    monkeypatch.setattr(compare, "HandshakeClient", Client)
    monkeypatch.setattr(compare, "ServerProcess", Server)
    both = iter((100.0, 106.0))
    monkeypatch.setattr(compare, "busy", lambda: next(both))
    tun: Any = None
    return compare.measure(tun, lambda _: None, 0, "198.18.1.2", 16, "server", 4.0, 1, in_kernel)


def test_what_is_measured_is_of_the_measured_time_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither failures nor handshakes of the warm-up count. A handshake fails that is refused, and one that is never answered."""
    sample = measured(monkeypatch, (0, 7, 5, 3), (10, 20, 40, 80), (100, 3, 4, 8))
    assert sample.completed == 100 and sample.rate == 100 / 4
    assert sample.failures == 3 + 4 and sample.retransmissions == 8
    assert sample.cpu == 2 / 100 and sample.client_cpu == 0.5 / 100
    assert (sample.p50, sample.p99) == (0.5 / 1000, 0.99 / 1000)


def test_the_kernel_costs_what_all_cores_were_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(monkeypatch, (1, 0, 0, 0), (100, 0, 0, 0), in_kernel=True).cpu == 6 / 100


def test_a_row_that_completes_nothing_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how its handshakes failed, also where none came to an end in the warm-up."""
    with pytest.raises(RuntimeError, match=r"refused 9, timed out 3"):
        measured(monkeypatch, (1, 0, 0, 0), (0, 9, 3, 0))
    with pytest.raises(RuntimeError, match=r"refused 4, timed out 0"):
        measured(monkeypatch, (0, 1, 0, 0), (0, 3, 0, 0))


class Recorded:
    """Stands for the namespace and for ``measure``. All rows cost the same; those in the kernel are measured with the client's part."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.seeds: list[int] = []
        self.affinities: list[set[int]] = []
        self.fails = False
        monkeypatch.setattr(compare, "measure", self.measure)
        monkeypatch.setattr(compare, "prepare_kernel", lambda: None)
        monkeypatch.setattr(compare, "Namespace", lambda: self)

    def __enter__(self) -> SimpleNamespace:
        return SimpleNamespace(add_tun=lambda *_: None, route=lambda *_: None)

    def __exit__(self, *_: object) -> None: ...

    def measure(
        self, _tun: Any, _serve: Any, _core: int, target: str, _flows: int, _ending: str, _duration: float, seed: int, in_kernel: bool
    ) -> compare.Sample:
        if self.fails:
            raise RuntimeError("no handshake")
        assert (target == "198.18.1.1") == in_kernel
        self.seeds.append(seed)
        self.affinities.append(os.sched_getaffinity(0))
        return compare.Sample(1000.0, 0.005 if in_kernel else 0.003, 0.002, 10, 0, 0, 0.0, 0.0)


def test_rows_are_measured_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every round begins with another row, each measurement has a seed of its own, and the client's part is taken off the kernel's rows."""
    recorded = Recorded(monkeypatch)
    affinity = os.sched_getaffinity(0)
    said: list[str] = []
    result = compare.run(ROWS, 3, 0.5, 16, progress=said.append)
    assert os.sched_getaffinity(0) == affinity
    assert all(len(cores) == 1 for cores in recorded.affinities)
    turns = [[line.partition(": ")[2] for line in said if line.startswith(f"round {number} of 3: ")] for number in (1, 2, 3)]
    assert [sorted(names) for names in turns] == [sorted(ROWS)] * 3 and len({names[0] for names in turns}) == 3
    assert len(set(recorded.seeds)) == len(recorded.seeds)
    for row in result.rows.values():
        assert len(row.samples) == 3
        assert [sample.cpu for sample in row.samples] == pytest.approx([0.003] * 3)


def test_the_floor_is_shown_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured for the kernel's rows, which need it; without them it is not measured."""
    Recorded(monkeypatch)
    said: list[str] = []
    result = compare.run(["kernel"], 1, 0.5, 16, progress=said.append)
    assert list(result.rows) == ["kernel"]
    assert sorted(said) == ["round 1 of 1: floor", "round 1 of 1: kernel"]
    assert result.rows["kernel"].median("cpu") == pytest.approx(0.003)
    said.clear()
    assert list(compare.run(["fastnet"], 1, 0.5, 16, progress=said.append).rows) == ["fastnet"]
    assert said == ["round 1 of 1: fastnet"]
    with pytest.raises(ValueError, match="no row nobody"):
        compare.run(["nobody", "fastnet"])


def test_a_row_that_fails_leaves_the_thread_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    affinity = os.sched_getaffinity(0)
    Recorded(monkeypatch).fails = True
    with pytest.raises(RuntimeError, match="no handshake"):
        compare.run(["fastnet"], 1)
    assert os.sched_getaffinity(0) == affinity


def test_busy_counts_work_and_no_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Of /proc/stat's columns (proc_stat(5)) not idle, iowait and steal; and not the guests', which user and nice contain already."""
    stat = tmp_path / "stat"
    stat.write_text("cpu  1 20 300 4000 50000 600000 7000000 80000000 9 9\ncpu0 1 2 3 4 5 6 7 8 9 9\n")
    monkeypatch.setattr(compare, "open", lambda _: stat.open(), raising=False)
    assert compare.busy() * os.sysconf("SC_CLK_TCK") == pytest.approx(7600321)
