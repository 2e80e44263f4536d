"""Axes as text: "0,0.1%,1%", "10ms..200ms:10ms", "1..5", "1M..1G*10"."""

import re
from collections.abc import Callable
from typing import Any

NUMBER = re.compile(r"(-?\d+(?:\.\d*)?|-?\.\d+)([a-zA-Z%]*)")
RANGE = re.compile(r"(.+?)\.\.([^:*]+)(?:([:*])(.+))?")
MOST = 1_000_000
"""Values of a range."""

TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
RATE = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
PART = {"": 1.0, "%": 0.01}
COUNT = {"": 1.0}


def number(text: str, units: dict[str, float]) -> float:
    """A number with a unit. Zero needs none.

    :raises ValueError: it is not one
    """
    match = NUMBER.fullmatch(text.strip())
    if match is None or (match[2] not in units and float(match[1])):
        known = ", ".join(f"1{unit}" for unit in units)
        raise ValueError(f"{text!r} is no number such as {known}")
    # 0.1 % is 0.001, and not 0.001 and a bit.
    return round(float(match[1]) * units.get(match[2], 1.0), 12)


def whole(text: str) -> int:
    """A whole number.

    :raises ValueError: it is not one
    """
    value = number(text, COUNT)
    if value != int(value):
        raise ValueError(f"{text!r} is no whole number")
    return int(value)


def values(text: str, one: Callable[[str], Any]) -> list[Any]:
    """A list with commas, of values and ranges: A..B goes up in steps of 1, A..B:STEP in steps, A..B*FACTOR by a factor; B is part of it.

    :param one: makes a value of its text
    :raises ValueError: not values, a range that does not rise, a million values or more
    """
    found: list[Any] = []
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if match is None:
            found.append(one(part.strip()))
        else:
            found.extend(_range(part, one(match[1]), one(match[2]), match[3] == "*", match[4], one))
    return found


def _range(text: str, first: float, last: float, factor: bool, step: str | None, one: Callable[[str], Any]) -> list[float]:
    if not isinstance(first, (int, float)):
        raise ValueError(f"{text!r}: there are no ranges of these")
    by = 1 if step is None else number(step, COUNT) if factor else one(step)
    if last < first or by <= (1 if factor else 0) or (factor and first <= 0):
        raise ValueError(f"{text!r} does not rise")
    found: list[float] = []
    whole_numbers = isinstance(first, int) and isinstance(by, int) or (isinstance(first, int) and factor and by == int(by))
    # A value a billionth beyond the end is the end.
    value: float = first
    while value <= last * (1 + 1e-9):
        if len(found) == MOST:
            raise ValueError(f"{text!r} has more than {MOST} values")
        found.append(int(value) if whole_numbers else round(value, 12))
        # Not added up, so that the error does not grow.
        value = value * by if factor else first + len(found) * by
    return found


def shown(name: str, value: Any) -> str:
    """A value of an axis, with its unit."""
    if name in ("loss", "ack_loss", "cross"):
        return f"{value * 100:g}%"
    if name in ("rate", "policer"):
        for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
            if value >= factor:
                return f"{value / factor:g}{unit}"
        return f"{value:g}"
    if name in ("rtt", "spacing", "hold", "blackout", "blackout_at", "duration", "warmup"):
        return f"{value * 1000:g}ms" if value < 1 else f"{value:g}s"
    if name == "settings":
        return " ".join(f"{setting}={number}" for setting, number in value)
    return str(value)
