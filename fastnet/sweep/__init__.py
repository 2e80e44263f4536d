"""Experiments in virtual time: a grid of cells over a bottleneck, on one core, all of them, or a cluster (docs/sweep.md)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnet.sweep.experiment import Result, jain, measure
    from fastnet.sweep.grid import Cell, Grid
    from fastnet.sweep.runner import dask_executor, sweep

__all__ = ["Cell", "Grid", "Result", "dask_executor", "jain", "measure", "sweep"]

_HOMES = {"Cell": "grid", "Grid": "grid", "Result": "experiment", "jain": "experiment", "measure": "experiment"}


def __getattr__(name: str) -> Any:
    # Imported when it is used: the help of the command needs none of it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'runner')}"), name)
