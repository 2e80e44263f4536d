"""What arguments faults take: their bounds, and one beyond on either side."""

from __future__ import annotations

import pytest

from fastnet.server.faults import FAULTS, read
from fastnet.tcp.policy import Accept

BOUNDS: dict[str, tuple[float, float]] = {
    "lose-synack": (1, 100), "wrong-seq": (1, 1 << 30), "wrong-ack": (1, 1 << 30), "delay-synack": (0, 60), "reset-after": (0, 1 << 30),
    "fin-after": (0, 1 << 30), "half-open": (0, 1 << 30), "zero-window": (0, 65535), "delay-ack": (0.001, 0.5), "small-mss": (1, 65535),
    "tiny-window": (1, 65535), "duplicate": (0, 1), "reorder": (0, 1), "corrupt": (0, 1),
}  # fmt: skip
DEFAULTS = {
    "lose-synack": 1, "wrong-seq": 100_000, "wrong-ack": 100_000, "delay-synack": 0.5, "reset-after": 1000, "fin-after": 1000,
    "half-open": 0, "zero-window": 1000, "delay-ack": 0.5, "small-mss": 64, "tiny-window": 1, "duplicate": 0.1, "reorder": 0.1,
    "corrupt": 0.1,
}  # fmt: skip


def test_these_are_all_with_a_number() -> None:
    assert {name for name, kind in FAULTS.items() if kind.argument} == {*BOUNDS, "trickle"}
    assert {name: read(name)[0].value for name in BOUNDS} == DEFAULTS


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds(name: str) -> None:
    low, high = BOUNDS[name]
    for value in (low, high):
        assert read(f"{name}:{value}")[0].value == value
    step = 1 if FAULTS[name].whole else 0.0001
    for value in (low - step, high + step):
        with pytest.raises(ValueError, match=f"^{name} takes .*, {low} to {high}, not "):
            read(f"{name}:{value}")
    with pytest.raises(ValueError, match=f"^{name} takes .* number"):
        read(f"{name}:many")


@pytest.mark.parametrize("name", ["small-mss", "tiny-window", "zero-window"])
def test_the_largest_fits_its_field(name: str) -> None:
    """16 bits: whatever a fault takes, a SYN-ACK can say."""
    Accept(**read(f"{name}:65535")[0].options())


@pytest.mark.parametrize(("text", "good"), [
    ("1/0.001", True), ("1048576/3600", True), ("0/1", False), ("1048577/1", False), ("1/0.0009", False), ("1/3601", False),
    ("1.5/1", False), ("10", False), ("/", False), ("ten/1", False),
])  # fmt: skip
def test_trickle(text: str, good: bool) -> None:
    if good:
        assert str(read(f"trickle:{text}")[0]) == f"trickle:{text}"
    else:
        with pytest.raises(ValueError, match=r"^trickle takes BYTES/SECONDS, 1 to 1048576 and 0\.001 to 3600, not "):
            read(f"trickle:{text}")


@pytest.mark.parametrize("odds", ["-0.1", "1.1", "often", ""])
def test_probabilities(odds: str) -> None:
    assert read("silence@0")[1] == 0 and read("silence@1")[1] == 1 == read("silence")[1]
    with pytest.raises(ValueError, match="a probability is 0 to 1"):
        read(f"silence@{odds}")
    with pytest.raises(ValueError, match="silence takes no argument"):
        read("silence:3")
