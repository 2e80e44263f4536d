"""Settings: what docs/settings.md promises of each, and what is said of a value that is none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fastnet.config import BOUNDS, LENGTHS, WORDS, SettingError, Settings

ROWS = re.findall(r"^\| `(\w+)` \| (.*?) \| (\d*) \| (\d*) \|", Path(__file__).parents[2].joinpath("docs/settings.md").read_text(), re.M)
NUMBERS = [(name, default, int(low), int(high)) for name, default, low, high in ROWS if low and name != "ip_local_reserved_ports"]


def test_each_setting_is_documented() -> None:
    assert {row[0] for row in ROWS} == {*BOUNDS, *WORDS} and len(NUMBERS) == len(BOUNDS) - 1


@pytest.mark.parametrize(("name", "default", "low", "high"), NUMBERS)
def test_defaults_and_bounds_are_those_of_the_docs(name: str, default: str, low: int, high: int) -> None:
    settings = Settings()
    count = len(default.split())
    told = getattr(settings, name)
    assert (" ".join(map(str, told)) if isinstance(told, tuple) else str(told)) == default
    for value in (low, high):
        text = " ".join([str(value)] * count)
        settings.set(name, text)
        assert getattr(settings, name) == ((value,) * count if count > 1 else value)
    for value in (low - 1, high + 1):
        with pytest.raises(SettingError, match=f"^{name} takes {low} to {high}, not {value}"):
            settings.set(name, " ".join([str(value)] * count))
    with pytest.raises(SettingError, match=f"^{name} takes"):
        settings.set(name, " ".join([str(high)] * (count + 1)))


@pytest.mark.parametrize("name", sorted(LENGTHS))
def test_several_numbers_rise(name: str) -> None:
    settings = Settings()
    low, _ = BOUNDS[name]
    count = 2 if name == "ip_local_port_range" else 3
    rising = tuple(low + i for i in range(count))
    settings.set(name, rising)
    settings.set(name, ",".join(map(str, rising)))
    assert getattr(settings, name) == rising
    with pytest.raises(SettingError, match="in rising order"):
        settings.set(name, rising[::-1])
    for wrong in (rising[1:], (*rising, low + 9), low):
        with pytest.raises(SettingError, match=r"takes (two|three) numbers"):
            settings.set(name, wrong)


@pytest.mark.parametrize("value", ["", " ", "five", "5.5", 5.5, None, b"5", "5 6", (5, 6), ()])
def test_what_is_no_number(value: Any) -> None:
    settings = Settings()
    with pytest.raises(SettingError, match=r"^somaxconn takes"):
        settings.set("somaxconn", value)
    assert settings.somaxconn == 4096


def test_ranges_of_ports() -> None:
    settings = Settings()
    for given, ports in (
        ("8080,9000-9010", ((8080, 8080), (9000, 9010))), ("1 65535", ((1, 1), (65535, 65535))), ("", ()), (80, ((80, 80),)),
        (((5, 7),), ((5, 7),)), ("7-7", ((7, 7),)),
    ):  # fmt: skip
        settings.set("ip_local_reserved_ports", given)  # type: ignore[arg-type]
        assert settings.ip_local_reserved_ports == ports
    for wrong in ("0", "65536", "9-8", "1-2-3", "http", "5-", ((5,),), ((1, 2, 3),), (5, 6), (("1", "2"),), [(1, 2)]):
        with pytest.raises(SettingError, match=r"^ip_local_reserved_ports takes ports and ranges of ports"):
            settings.set("ip_local_reserved_ports", wrong)  # type: ignore[arg-type]


def test_names() -> None:
    """Of settings, and of what a setting names."""
    settings = Settings()
    settings.set("tcp_congestion_control", "reno")
    assert settings.tcp_congestion_control == "reno"
    for wrong in ("", 5, None):
        with pytest.raises(SettingError, match="takes a name"):
            settings.set("tcp_congestion_control", wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="tcp_sack"):
        settings.set("tcp_sak", 1)
    with pytest.raises(SettingError, match=r"^tcp_sack takes 0 to 1, not 2"):
        Settings(tcp_sack=2)
    assert Settings.of(None) == Settings() and Settings.of({"tcp_sack": "0"}).tcp_sack == 0
    assert Settings.of(settings) is settings
    with pytest.raises(SettingError):
        Settings.of({"nothing": 1})
