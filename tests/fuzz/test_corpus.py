"""Cases that once failed, and a few that the fuzzer draws first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.drawing import draw
from tests.fuzz.engine import CORPUS, run


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    run(json.loads(path.read_text()))


@pytest.mark.parametrize("mode", ["wire", "twins"])
def test_first_seeds(mode: str) -> None:
    for seed in range(40):
        run(draw(seed, mode))


def test_compiled_and_uncompiled_send_the_same() -> None:
    program = [sys.executable, "-m", "tests.fuzz", "--digest", "--mode", "wire", "--seed", "1000", "--cases", "100"]
    said = [
        subprocess.run(program, capture_output=True, text=True, check=True, env={**os.environ, "FASTNET_PURE": pure}).stdout
        for pure in "01"
    ]
    assert said[0] == said[1] and said[0].count("\n") == 100
