"""Cases that once failed, and a few that the fuzzer draws first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from random import Random

import pytest

from fastnet.config import Settings
from tests.fuzz.cases import STYLES, draw
from tests.fuzz.engine import CORPUS, run
from tests.fuzz.settings import draw_settings


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    run(json.loads(path.read_text()))


@pytest.mark.parametrize("style", STYLES)
def test_first_seeds(style: str) -> None:
    for seed in range(40):
        run(draw(seed, style))


@pytest.mark.parametrize("style", ["wire", "hostile"])
def test_compiled_and_uncompiled_send_the_same(style: str) -> None:
    program = [sys.executable, "-m", "tests.fuzz", "--digest", "--mode", style, "--seed", "1000", "--cases", "100"]
    said = [
        subprocess.run(program, capture_output=True, text=True, check=True, env={**os.environ, "FASTNET_PURE": pure}).stdout
        for pure in "01"
    ]
    assert said[0] == said[1] and said[0].count("\n") == 100


def test_every_setting_is_drawn() -> None:
    """One that is added gets its bounds and its default, and what lies beside them."""
    drawn: dict[str, set[str]] = {}
    for seed in range(300):
        for name, value in draw_settings(Random(seed)).items():
            drawn.setdefault(name, set()).add(repr(value))
    assert drawn.keys() == {field.name for field in fields(Settings)}
    assert all(len(values) > 1 for name, values in drawn.items()), "each with several values"
