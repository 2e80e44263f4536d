"""Many cells, over an executor: the cores of this machine, or a cluster."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import Any

from fastnet.sweep.experiment import Result, measure
from fastnet.sweep.grid import Cell

AHEAD = 1000
"""Cells that are handed over and not done, at most: a grid of millions is not in memory at once."""


def sweep(cells: Iterable[Cell], executor: Executor | None = None, jobs: int | None = None, ahead: int = AHEAD) -> Iterator[Result]:
    """Measure cells; the results in the order of the cells, each as soon as it and all before it are there.

    :param cells: a ``Grid``, or any other
    :param executor: where they run: any one of ``concurrent.futures``'s kind whose workers can import fastnet. None: a pool of processes of
        its own, or this process when one job is enough
    :param jobs: processes of that pool; None: one for each core
    :param ahead: cells that are under way or done and not yet given out, at most
    :raises ValueError: a cell out of range; ``jobs`` or ``ahead`` below 1
    """
    if jobs is not None and jobs < 1 or ahead < 1:
        raise ValueError("jobs and ahead are 1 or more")
    return _sweep(cells, executor, jobs or cores(), ahead)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _sweep(cells: Iterable[Cell], executor: Executor | None, jobs: int, ahead: int) -> Iterator[Result]:
    remaining = iter(cells)
    if executor is not None:
        yield from _over(executor, remaining, ahead)
        return
    first = list(islice(remaining, 2))
    if jobs == 1 or len(first) < 2:
        yield from map(measure, first)
        yield from map(measure, remaining)
        return
    pool = ProcessPoolExecutor(jobs)
    try:
        yield from _over(pool, _chain(first, remaining), ahead)
    except BaseException:
        # Nobody wants the cells that run now: who stops reading, or is interrupted, does not wait for them. SIGTERM may have a handler.
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _chain(first: Iterable[Cell], rest: Iterator[Cell]) -> Iterator[Cell]:
    yield from first
    yield from rest


def _over(executor: Executor, cells: Iterator[Cell], ahead: int) -> Iterator[Result]:
    under_way: dict[int, Future[Result]] = {}
    submitted = given = 0
    try:
        while True:
            for cell in islice(cells, ahead - len(under_way)):
                under_way[submitted] = executor.submit(measure, cell)
                submitted += 1
            if not under_way:
                return
            wait([under_way[given]], return_when=FIRST_COMPLETED)
            while given in under_way and under_way[given].done():
                result = under_way.pop(given).result()
                given += 1
                yield result
    finally:
        for future in under_way.values():
            future.cancel()


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """An executor on a dask cluster, for ``sweep``; the workers need fastnet.

    :param address: of its scheduler, such as tcp://198.18.0.1:8786
    :raises ModuleNotFoundError: dask.distributed is not installed (the extra ``dask``)
    :raises OSError: no scheduler answers there
    """
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise ModuleNotFoundError("a dask cluster takes dask.distributed: pip install 'fastnet-tcp[dask]'") from None
    client: Any = Client
    with client(address) as connected:
        # pure: the cluster would remember results by their cells, whatever version of fastnet they came from.
        yield connected.get_executor(pure=False)
