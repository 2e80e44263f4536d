"""Experiments in virtual time: a grid of cells over a bottleneck, on one core, all of them, or a cluster (docs/sweep.md)."""

from fastnet.sweep.experiment import Result, jain, measure
from fastnet.sweep.grid import Cell, Grid
from fastnet.sweep.runner import dask_executor, sweep

__all__ = ["Cell", "Grid", "Result", "dask_executor", "jain", "measure", "sweep"]
