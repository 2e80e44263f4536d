"""Grids, axes as text, executors, and what is written."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

from fastnet.sweep import Cell, Grid, measure, sweep
from fastnet.sweep.axes import PART, RATE, TIME, number, values, whole
from fastnet.sweep.report import SCHEMA, as_dict, shown, write_csv, write_json

QUICK = {"duration": 0.5, "rate": 1e6, "rtt": 0.02}


def test_a_grid_is_all_combinations() -> None:
    grid = Grid(loss=[0, 0.01], seed=range(3), rtt=0.02)
    assert len(grid) == 6 and grid.varied() == ["loss", "seed"]
    assert [(cell.loss, cell.seed, cell.rtt) for cell in grid] == [(loss, seed, 0.02) for loss in (0, 0.01) for seed in range(3)]
    assert list(Grid()) == [Cell()]
    assert [dict(cell.settings) for cell in Grid(settings=[{}, {"tcp_sack": 0}])] == [{}, {"tcp_sack": 0}]


def test_wrong_grids() -> None:
    with pytest.raises(TypeError, match="no 'los'; it has: loss, rtt"):
        Grid(los=1)
    with pytest.raises(ValueError, match="loss: no value"):
        Grid(loss=[])


@pytest.mark.parametrize(("text", "units", "value"), [
    ("50ms", TIME, 0.05), ("1s", TIME, 1), ("300us", TIME, 0.0003), ("0", TIME, 0), ("10M", RATE, 10e6), ("1.5G", RATE, 1.5e9),
    ("9600", RATE, 9600),
    ("0.1%", PART, 0.001), ("0.25", PART, 0.25), (".5%", PART, 0.005),
])  # fmt: skip
def test_numbers_with_units(text: str, units: dict[str, float], value: float) -> None:
    assert number(text, units) == value


@pytest.mark.parametrize("text", ["50", "ms", "", "1 h", "1e3ms", "0x1"])
def test_no_such_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no number such as 1us, 1ms, 1s"):
        number(text, TIME)


@pytest.mark.parametrize(("text", "expected"), [
    ("1", [1]), ("1,5,3", [1, 5, 3]), ("0..3", [0, 1, 2, 3]), ("1..8*2", [1, 2, 4, 8]), ("0..10:5,7", [0, 5, 10, 7]), ("3..3", [3]),
    ("-2..0", [-2, -1, 0]),
])  # fmt: skip
def test_lists_and_ranges_of_counts(text: str, expected: list[int]) -> None:
    found = values(text, whole)
    assert found == expected and all(type(value) is int for value in found)


def test_lists_and_ranges_of_others() -> None:
    assert values("0,0.1%..0.3%:0.1%", lambda text: number(text, PART)) == [0, 0.001, 0.002, 0.003]
    assert values("1M..1G*10", lambda text: number(text, RATE)) == [1e6, 1e7, 1e8, 1e9]
    assert values("10ms..50ms:20ms", lambda text: number(text, TIME)) == [0.01, 0.03, 0.05]
    assert values("cubic,reno", str) == ["cubic", "reno"]


@pytest.mark.parametrize(("text", "says"), [
    ("3..1", "does not rise"), ("1..3:0", "does not rise"), ("1..3*1", "does not rise"), ("0..3*2", "does not rise"),
    ("1.5", "whole number"),
    ("0..9999999", "more than 1000000"), ("1,,2", "no number"),
])  # fmt: skip
def test_wrong_ranges(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        values(text, whole)


def test_words_have_no_ranges() -> None:
    with pytest.raises(ValueError, match="no ranges"):
        values("cubic..reno", str)


@pytest.mark.parametrize(("name", "value", "text"), [
    ("loss", 0.001, "0.1%"), ("rate", 10e6, "10M"), ("rate", 500, "500"), ("rtt", 0.05, "50ms"), ("duration", 10.0, "10s"),
    ("control", "reno", "reno"),
    ("settings", (("tcp_sack", 0),), "tcp_sack=0"),
])  # fmt: skip
def test_values_for_people(name: str, value: Any, text: str) -> None:
    assert shown(name, value) == text


# ---- executors ----


def test_a_pool_gives_what_one_process_gives() -> None:
    grid = Grid(loss=[0, 0.05], seed=range(2), **QUICK)
    assert list(sweep(grid, jobs=2)) == list(sweep(grid, jobs=1)) == [measure(cell) for cell in grid]


def test_any_executor() -> None:
    grid = Grid(seed=range(4), **QUICK)
    with ThreadPoolExecutor(2) as executor:
        assert list(sweep(grid, executor)) == [measure(cell) for cell in grid]


class Slow(Executor):
    """Does a cell when its turn has come, the latest first."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Any, Any]] = []
        self.most = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, fn, args))
        self.most = max(self.most, len(self.waiting))
        if len(self.waiting) == 3:
            while self.waiting:
                done, function, given = self.waiting.pop()
                if done.set_running_or_notify_cancel():
                    done.set_result(function(*given))
        return future


def test_results_come_in_order_and_no_more_is_under_way_than_may_be() -> None:
    executor = Slow()
    found = list(sweep(Grid(seed=range(9), **QUICK), executor, ahead=3))
    assert [result.cell.seed for result in found] == list(range(9))
    assert executor.most == 3


def test_who_stops_reading_cancels_the_rest() -> None:
    class Never(Slow):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            future = super().submit(lambda *_: None)
            if len(self.waiting) == 1:
                self.waiting[0][0].set_result(measure(*args))
            return future

    executor = Never()
    results = sweep(Grid(seed=range(2), **QUICK), executor)
    assert next(iter(results)).cell.seed == 0
    results.close()  # type: ignore[attr-defined]
    assert executor.waiting[1][0].cancelled()


def test_who_stops_reading_a_pool_does_not_wait_for_it() -> None:
    """Cells of a virtual week beside a short one: they would run for hours."""
    grid = [Cell(duration=0.1), *(Cell(duration=604_800, seed=seed) for seed in range(3))]
    before = set(multiprocessing.active_children())
    results = sweep(grid, jobs=2)
    assert next(iter(results)).cell.duration == 0.1
    results.close()  # type: ignore[attr-defined]
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"ahead": 0}])
def test_at_least_one(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        sweep(Grid(), **wrong)  # type: ignore[arg-type]


def test_a_cell_out_of_range_is_heard_of() -> None:
    with pytest.raises(ValueError, match="loss is 0 to 1"):
        list(sweep(Grid(loss=[0, 2], **QUICK), jobs=1))


# ---- what is written ----

FIELDS = {
    "cell", "goodput", "flow_goodputs", "utilisation", "jain", "queue_p50", "queue_p95", "queue_p99", "segments", "retransmitted",
    "needless", "needless_bytes", "timeouts", "dropped", "policed", "early", "lost", "marked", "failed",
}  # fmt: skip


def test_the_json_of_this_schema() -> None:
    """A field that goes, or means something else, is a new SCHEMA."""
    results = [measure(Cell(**QUICK, settings={"tcp_rmem": (4096, 8192, 8192)}))]
    out = io.StringIO()
    write_json(results, out)
    read = json.loads(out.getvalue())
    assert read == json.loads(json.dumps(as_dict(results)))
    assert (read["schema"], read["sweep"]) == (SCHEMA, True) == (1, True)
    assert set(read["cells"][0]) == FIELDS
    assert read["cells"][0]["cell"]["settings"] == {"tcp_rmem": [4096, 8192, 8192]}
    cell = read["cells"][0]["cell"]
    assert Cell(**(cell | {"settings": {"tcp_rmem": (4096, 8192, 8192)}})) == results[0].cell, "a cell can be run again"


def test_csv() -> None:
    results = [measure(Cell(**QUICK, flows=2, seed=seed)) for seed in range(2)]
    out = io.StringIO()
    write_csv(results, out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert set(rows[0]) == FIELDS - {"cell"} | set(results[0].cell.as_dict())
    for row, result in zip(rows, results, strict=True):
        assert float(row["goodput"]) == result.goodput
        assert tuple(map(float, row["flow_goodputs"].split())) == result.flow_goodputs


def test_nothing_at_all_is_json_too() -> None:
    out = io.StringIO()
    write_json([], out)
    assert json.loads(out.getvalue())["cells"] == []
