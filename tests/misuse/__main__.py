"""``python -m tests.misuse [SHARE [SEED]]``: the whole surface and what was thought of; exits with 1 when something crashed."""

from __future__ import annotations

import sys

from tests.misuse.engine import run

share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
failed = False
for which in ("byhand", "surface"):
    outcome = run(which, share, seed)
    print(f"{which}: {outcome.tried} misuses, {len(outcome.failures)} that crash or never end", flush=True)
    for failure in outcome.failures:
        print("  " + failure)
    failed = failed or bool(outcome.failures)
sys.exit(failed)
