"""Results as JSON, CSV and a table."""

import csv
import json
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from fastnet.sweep.axes import shown
from fastnet.sweep.experiment import FIGURES, Result
from fastnet.sweep.grid import NAMES

SCHEMA = 1
"""Of the JSON; a field more is no new schema, one less or with another meaning is."""
COLUMNS = (
    "goodput Mbit/s", "used %", "Jain", "queue p50 ms", "p95", "p99", "sent again", "needless", "timeouts", "dropped", "lost", "marked",
)  # fmt: skip


def as_dict(results: Iterable[Result]) -> dict[str, Any]:
    """For JSON. There is no time of day and no name of a machine in it: the same cells give the same text."""
    return {"schema": SCHEMA, "sweep": True, "cells": [result.as_dict() for result in results]}


def write_json(results: Iterable[Result], file: TextIO) -> None:
    """One JSON object, a line for each cell, written while they come."""
    file.write(f'{{"schema": {SCHEMA}, "sweep": true, "cells": [')
    comma = ""
    for result in results:
        file.write(f"{comma}\n{json.dumps(result.as_dict())}")
        comma = ","
    file.write("\n]}\n")


def write_csv(results: Iterable[Result], file: TextIO) -> None:
    """One line for each cell: its fields, its figures, and the goodputs of its flows between spaces."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*NAMES, *FIGURES, "flow_goodputs"))
    for result in results:
        values = result.cell.as_dict()
        values["settings"] = " ".join(f"{name}={value}" for name, value in values["settings"].items())
        figures = (getattr(result, name) for name in FIGURES)
        writer.writerow((*(values[name] for name in NAMES), *figures, " ".join(map(str, result.flow_goodputs))))


def row(result: Result, varied: Sequence[str]) -> tuple[str, ...]:
    """A line of a table for people: what tells the cell from the others, and ``COLUMNS``."""
    return (
        *(shown(name, getattr(result.cell, name)) for name in varied),
        f"{result.goodput / 1e6:.3f}",
        f"{result.utilisation * 100:.1f}",
        f"{result.jain:.3f}",
        *(f"{delay * 1000:.1f}" for delay in (result.queue_p50, result.queue_p95, result.queue_p99)),
        *(f"{getattr(result, name):,}" for name in ("retransmitted", "needless", "timeouts", "dropped", "lost", "marked")),
    )
