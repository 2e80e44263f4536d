"""Where a sweep's cells are measured: processes are made where there is something to share out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import fastnet.sweep.runner
from fastnet.sweep import Grid, sweep
from tests.sweep.test_grid import QUICK


class Pools:
    """Stands for ``ProcessPoolExecutor``: threads, and how many were asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        monkeypatch.setattr(fastnet.sweep.runner, "ProcessPoolExecutor", self)

    def __call__(self, jobs: int) -> ThreadPoolExecutor:
        self.sizes.append(jobs)
        # One at a time: a stack's cells share nothing, but threads share the interpreter.
        return ThreadPoolExecutor(1)


@pytest.mark.parametrize(("cells", "jobs", "sizes"), [(3, 1, []), (1, 2, []), (0, 2, []), (2, 2, [2]), (3, 5, [5])])
def test_processes_only_where_they_help(cells: int, jobs: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    pools = Pools(monkeypatch)
    results = list(sweep([*Grid(seed=range(cells), **QUICK)] if cells else [], jobs=jobs))
    assert [result.cell.seed for result in results] == list(range(cells)) and pools.sizes == sizes


def test_as_many_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = Pools(monkeypatch)
    monkeypatch.setattr(fastnet.sweep.runner, "cores", lambda: 7)
    assert len(list(sweep(Grid(seed=range(2), **QUICK)))) == 2 and pools.sizes == [7]


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"jobs": -1}, {"ahead": 0}])
def test_numbers_below_one(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="jobs and ahead are 1 or more"):
        sweep([], **wrong)
    assert list(sweep([], jobs=1, ahead=1)) == []
