"""No misuse from Python crashes the interpreter, or never ends."""

from __future__ import annotations

import os
import time

from tests.misuse.engine import run


def test_what_was_thought_of() -> None:
    outcome = run("byhand")
    assert outcome.failures == []


def test_a_share_of_the_whole_surface() -> None:
    """A hundredth or so, another one each day; ``make misuse`` tries all of it."""
    seed = int(os.environ.get("FASTNET_MISUSE_SEED", time.time() // 86400))
    outcome = run("surface", 0.02, seed)
    print(f"seed {seed}: {outcome.tried} misuses")
    assert outcome.failures == [], f"FASTNET_MISUSE_SEED={seed}"
