"""Pictures of a run: time-sequence, windows, queue. The extra ``plot`` (matplotlib)."""

from typing import Any

from fastnet.sweep.axes import shown
from fastnet.sweep.experiment import Result
from fastnet.sweep.trace import Line


def figure(result: Result) -> Any:
    """A ``matplotlib.figure.Figure`` of the first flow of a run.

    :raises ValueError: the run was measured without a trace
    :raises ModuleNotFoundError: matplotlib is not installed (the extra ``plot``)
    """
    trace = result.trace
    if trace is None:
        raise ValueError("there is no trace: measure(cell, trace=True)")
    try:
        # Not pyplot, which would want a display and keep what it has drawn.
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError("pictures take matplotlib: pip install 'fastnet-tcp[plot]'") from None
    drawing = Figure(figsize=(10, 10), layout="constrained")
    sequence, windows, queue = drawing.subplots(3, 1, sharex=True)

    sequence.plot(*columns(trace.sent, 2, 1e-6), ".", markersize=2, label="sent")
    sequence.plot(*columns(trace.sent_again, 2, 1e-6), "r.", markersize=4, label="sent again")
    sequence.set_ylabel("stream, MB")

    times, cwnd, ssthresh, in_flight = columns(trace.windows, 4, 1e-3)
    windows.step(times, cwnd, where="post", label="CWND")
    windows.step(times, [value or float("nan") for value in ssthresh], where="post", linestyle="--", label="SSTHRESH")
    windows.step(times, in_flight, where="post", linewidth=0.7, label="in flight")
    windows.set_ylabel("kB")

    queue.step(*columns(trace.queue, 2, 1e-3), where="post", linewidth=0.7, label="queue")
    queue.axhline(result.cell.queue_bytes() / 1e3, color="grey", linestyle=":", label="full")
    queue.set_ylabel("kB")
    queue.set_xlabel("virtual time, s")
    for panel in (sequence, windows, queue):
        panel.legend(loc="upper right", fontsize="small")
        panel.grid(alpha=0.3)
    cell = result.cell
    what = (f"{name} {shown(name, getattr(cell, name))}" for name in ("control", "rate", "rtt", "queue", "loss", "discipline", "seed"))
    drawing.suptitle(", ".join(what) + f": {result.goodput / 1e6:.2f} Mbit/s", fontsize="medium")
    return drawing


def plot(result: Result, path: str) -> None:
    """Draw a run into a file; its name's ending says the format: .png, .svg, .pdf.

    :raises ValueError: no trace, or no such format
    :raises ModuleNotFoundError: matplotlib is not installed
    :raises OSError: the file cannot be written
    """
    figure(result).savefig(path, dpi=120)


def columns(line: Line, width: int, scale: float) -> tuple[list[float], ...]:
    """Points as lists: the times, and the values in another unit."""
    if not line.points:
        return tuple([] for _ in range(width))
    times, *rest = (list(column) for column in zip(*line.points, strict=True))
    return (times, *([value * scale for value in column] for column in rest))
