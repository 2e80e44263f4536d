"""What is to be measured: a cell, and a grid of cells."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from itertools import product
from math import ceil, isfinite, prod
from typing import Any

from fastnet.config import Settings
from fastnet.sweep.aqm import KINDS
from fastnet.tcp.congestion import algorithm
from fastnet.tcp.congestion.base import CongestionControl

QUEUE = re.compile(r"(\d+(?:\.\d+)?)(bdp|ms|p|kB)")
FRACTIONS = ("loss", "ack_loss", "cross")
MOST_FLOWS = 10_000
SMALLEST_MTU = 576
LARGEST_BUFFER = 1 << 30
"""Bytes: no setting takes more."""


@dataclass(frozen=True)
class Cell:
    """One run: flows from one stack to another over a bottleneck. Times are seconds of virtual time.

    :param loss: probability that a packet with data is lost behind the bottleneck, 0 to 1; ``ack_loss``: one on the way back
    :param rtt: of the empty path, seconds
    :param rate: of the bottleneck, bits of IP packets per second
    :param queue: its queue: "1bdp" (rate x rtt), "20ms" (of the rate), "100p" (packets of the MTU) or "64kB"; a packet at least
    :param control: congestion control: a name, or "module:class"; "cubic+reno": the flows have them in turns
    :param seed: of everything that is left to chance. The same cell and seed give the same result to the last digit
    :param flows: bulk flows from the first stack to the second
    :param spacing: each begins so many seconds after the one before; ``hold``: and ends after so many, 0: not before the end
    :param discipline: "droptail", "red" or "codel"
    :param ecn: both stacks use ECN, so that the discipline marks where it would drop
    :param cross: cross traffic at the bottleneck, as a part of its rate, 0 to 1
    :param policer: bits/s that a policer lets into the bottleneck, 0: none; ``bucket``: bytes that it lets through at once
    :param blackout: for so many seconds nothing arrives, either way; ``blackout_at``: from this second on
    :param duration: of the run, seconds; ``warmup``: of those, at the beginning, that are not measured
    :param mtu: bytes
    :param settings: of both stacks, Linux's names to values. tcp_rmem and tcp_wmem, where not set, are what the path needs
    :raises ValueError: out of range, and what would be in range
    """

    loss: float = 0.0
    rtt: float = 0.05
    rate: float = 10e6
    queue: str = "1bdp"
    control: str = "cubic"
    seed: int = 0
    flows: int = 1
    spacing: float = 0.0
    hold: float = 0.0
    discipline: str = "droptail"
    ecn: bool = False
    ack_loss: float = 0.0
    cross: float = 0.0
    policer: float = 0.0
    bucket: int = 16000
    blackout: float = 0.0
    blackout_at: float = 0.0
    duration: float = 10.0
    warmup: float = 0.0
    mtu: int = 1500
    settings: Mapping[str, Any] | tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.type in (float, int)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or (value < 0 and name != "seed"):
                raise ValueError(f"{name} is a number, 0 or more, not {value!r}")
        for name in FRACTIONS:
            if getattr(self, name) > 1:
                raise ValueError(f"{name} is 0 to 1, not {getattr(self, name)}")
        for name in ("seed", "flows", "bucket", "mtu"):
            if not isinstance(getattr(self, name), int):
                raise ValueError(f"{name} is a whole number, not {getattr(self, name)!r}")
        if not 1 <= self.flows <= MOST_FLOWS:
            raise ValueError(f"flows are 1 to {MOST_FLOWS}, not {self.flows}")
        if self.rate < 1:
            raise ValueError(f"rate is bits/s, 1 or more, not {self.rate}")
        if self.policer and self.policer < 1:
            raise ValueError(f"policer is bits/s, 1 or more, not {self.policer}")
        if self.policer and self.bucket < self.mtu:
            raise ValueError(f"bucket is a packet at least, {self.mtu} bytes, not {self.bucket}")
        if not SMALLEST_MTU <= self.mtu <= 65535:
            raise ValueError(f"mtu is {SMALLEST_MTU} to 65535, not {self.mtu}")
        if self.warmup >= self.duration:
            raise ValueError(f"warmup is shorter than duration, {self.duration} s, not {self.warmup}")
        if self.spacing * (self.flows - 1) >= self.duration:
            raise ValueError(f"with flows {self.spacing} s apart, flow {self.flows} would begin after the end of the run")
        if self.discipline not in KINDS:
            raise ValueError(f"discipline is one of {', '.join(KINDS)}, not {self.discipline!r}")
        if not isinstance(self.queue, str) or QUEUE.fullmatch(self.queue) is None:
            raise ValueError(f"queue is such as 1bdp, 20ms, 100p or 64kB, not {self.queue!r}")
        # A mapping could be changed later, and has no hash.
        object.__setattr__(self, "settings", tuple(sorted(dict(self.settings).items())))
        Settings.of(dict(self.settings))
        self.controls()

    def queue_bytes(self) -> int:
        """Bytes that may wait at the bottleneck."""
        match = QUEUE.fullmatch(self.queue)
        assert match is not None
        number = float(match[1])
        size = {"bdp": self.rate * self.rtt / 8, "ms": self.rate / 8000, "p": self.mtu, "kB": 1000}[match[2]]
        return max(self.mtu, ceil(number * size))

    def stack_settings(self) -> dict[str, Any]:
        """Settings of both stacks: those of the cell, and buffers that fill the path and its queue, where Linux's default is less.

        Half of a buffer may be filled again before the other half is acknowledged, so it takes twice what can be on its way.
        """
        needed = min(2 * (ceil(self.rate * self.rtt / 8) + self.queue_bytes()), LARGEST_BUFFER)
        settings: dict[str, Any] = {"tcp_ecn": 1 if self.ecn else 0}
        for name in ("tcp_rmem", "tcp_wmem"):
            smallest, default, largest = getattr(Settings, name)
            settings[name] = (smallest, default, max(largest, needed))
        return settings | dict(self.settings)

    def controls(self) -> list[type[CongestionControl]]:
        """The congestion control of each flow, in turns.

        :raises ValueError: no such name
        """
        return [_control(name) for name in self.control.split("+")]

    def capacity(self) -> float:
        """Bits/s that the path lets through at most."""
        return min(self.rate, self.policer) if self.policer else self.rate

    def as_dict(self) -> dict[str, Any]:
        """For JSON and CSV."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {"settings": dict(self.settings)}


NAMES = tuple(field.name for field in fields(Cell))


def _control(name: str) -> type[CongestionControl]:
    module, colon, attribute = name.partition(":")
    if not colon:
        return algorithm(name)
    try:
        kind = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"no congestion control {name!r}: {error}") from None
    if not isinstance(kind, type) or not issubclass(kind, CongestionControl):
        raise ValueError(f"{name} is no subclass of CongestionControl")
    return kind


class Grid:
    """All combinations of values, as cells; the last axis given varies the fastest.

    :param axes: a field of ``Cell`` to a value, or to a list, tuple, set or range of values; ``settings`` to a mapping, or a list of those
    :raises TypeError: no such field
    :raises ValueError: an axis without values; a value out of range, from the iteration
    """

    def __init__(self, **axes: Any) -> None:
        unknown = sorted(set(axes) - set(NAMES))
        if unknown:
            raise TypeError(f"a cell has no {unknown[0]!r}; it has: {', '.join(NAMES)}")
        self.axes: dict[str, list[Any]] = {}
        for name, values in axes.items():
            several = isinstance(values, (list, tuple, set, frozenset, range))
            self.axes[name] = (sorted(values) if isinstance(values, (set, frozenset)) else list(values)) if several else [values]
            if not self.axes[name]:
                raise ValueError(f"{name}: no value")

    def __len__(self) -> int:
        return prod(len(values) for values in self.axes.values())

    def __iter__(self) -> Iterator[Cell]:
        for values in product(*self.axes.values()):
            yield Cell(**dict(zip(self.axes, values, strict=True)))

    def varied(self) -> list[str]:
        """The axes with more than one value."""
        return [name for name, values in self.axes.items() if len(values) > 1]
