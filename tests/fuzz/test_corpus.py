"""Cases that once failed, and a few that the fuzzer draws first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fuzz.engine import CORPUS, draw, run


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    run(json.loads(path.read_text()))


@pytest.mark.parametrize("mode", ["wire", "twins"])
def test_first_seeds(mode: str) -> None:
    for seed in range(40):
        run(draw(seed, mode))
