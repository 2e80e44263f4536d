"""``python -m tests.fuzz``: draw and run cases for some time; a failing one is made smaller and written to the corpus.

``--differential`` plays them to the kernel as well, as root or in a user namespace, and lists where the two answer differently.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
import time
from collections import Counter
from pathlib import Path

from fastnet.netns import isolated
from tests.fuzz.differences import BATCH, DIFFERENCES, compare
from tests.fuzz.differential import draw as draw_differential
from tests.fuzz.drawing import draw
from tests.fuzz.engine import CORPUS, LIMIT, digest, failure, reduce, save


def differential(first: int, seconds: float, cases: int | None) -> int:
    """Batches of cases until the time is over; 1 when something differs that has no name."""
    end = time.monotonic() + seconds
    seed = first
    named: Counter[str] = Counter()
    unnamed = 0
    while time.monotonic() < end and (cases is None or seed < first + cases):
        count = min(BATCH, first + cases - seed) if cases is not None else BATCH
        for difference in compare([draw_differential(number) for number in range(seed, seed + count)]):
            if difference.name:
                named[difference.name] += 1
            else:
                unnamed += 1
                print(difference, flush=True)
        seed += count
    for name in DIFFERENCES:
        print(f"{named[name]:8} {name}")
    print(f"{seed - first} cases from seed {first} on: {named.total()} differ as docs/differences.md says, {unnamed} otherwise")
    return 1 if unnamed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="of the first case; the next has the next number")
    parser.add_argument("--cases", type=int, default=None, help="how many at most")
    parser.add_argument("--mode", choices=("wire", "twins"))
    parser.add_argument("--out", type=Path, default=CORPUS)
    parser.add_argument("--digest", action="store_true", help="do not judge, but print what each case sends, as a hash")
    parser.add_argument("--failures", type=int, default=1, help="different ones, to stop after")
    parser.add_argument("--differential", action="store_true", help="compare with the kernel")
    chosen = parser.parse_args()
    first = chosen.seed if chosen.seed is not None else time.time_ns() // 1000
    if chosen.differential:
        return isolated(lambda: differential(first, chosen.seconds, chosen.cases))
    seed = first
    end = time.monotonic() + chosen.seconds
    found: dict[str, int] = {}
    while time.monotonic() < end and (chosen.cases is None or seed < first + chosen.cases):
        case = draw(seed, chosen.mode)
        if chosen.digest:
            print(seed, digest(case), flush=True)
            seed += 1
            continue
        # Compiled code that never returns hears no signal: what was printed last says where it was.
        if sys.stderr.isatty() or (seed - first) % 1000 == 0:
            print(f"\rseed {seed} ", end="", file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(3 * LIMIT, exit=True)
        wrong = failure(case)
        if wrong is not None and wrong not in found:
            found[wrong] = seed
            print(f"seed {seed}: {wrong}", flush=True)
            path = chosen.out / f"{case['mode']}-{seed}.json"
            faulthandler.cancel_dump_traceback_later()
            smaller = reduce(case, wrong)
            save(smaller, path)
            print(f"  {len(smaller['steps'])} steps of {len(case['steps'])}: {path}", flush=True)
            if len(found) >= chosen.failures:
                break
        seed += 1
    faulthandler.cancel_dump_traceback_later()
    if chosen.digest:
        return 0
    print(f"\n{seed - first} cases from seed {first} on, {len(found)} kinds of failure")
    return 1 if found else 0


sys.exit(main())
