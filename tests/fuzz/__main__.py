"""``python -m tests.fuzz``: draw and run cases for some time, or so many packets; a failing one is made smaller and written to the corpus.

``--differential`` plays them to the kernel as well, as root or in a user namespace, and lists where the two answer differently.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from fastnet.netns import isolated
from tests.fuzz.cases import STYLES, draw
from tests.fuzz.differences import BATCH, DIFFERENCES, compare
from tests.fuzz.differential import draw as draw_differential
from tests.fuzz.engine import CORPUS, digest
from tests.fuzz.search import Search


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
    parser.add_argument("--seconds", type=float, default=None, help="how long at most; 60 where nothing else ends the run")
    parser.add_argument("--packets", type=int, default=None, help="how many packets stacks are to receive, about")
    parser.add_argument("--cases", type=int, default=None, help="how many cases at most")
    parser.add_argument("--seed", type=int, default=None, help="of the first case; the next has the next number")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side")
    parser.add_argument("--mode", choices=STYLES)
    parser.add_argument("--out", type=Path, default=CORPUS, help="where failing cases are written to")
    parser.add_argument("--digest", action="store_true", help="do not judge, but print what each case sends, as a hash")
    parser.add_argument("--digest-of-stdin", action="store_true", help="the same, for the seeds that stand in standard input")
    parser.add_argument("--failures", type=int, default=1, help="different ones, to stop after")
    parser.add_argument("--counters", action="store_true", help="print what the stacks counted, and which counters stayed at 0")
    parser.add_argument("--differential", action="store_true", help="compare with the kernel")
    chosen = parser.parse_args()
    first = chosen.seed if chosen.seed is not None else time.time_ns() // 1000
    if chosen.seconds is None and (chosen.packets is None and chosen.cases is None or chosen.differential):
        chosen.seconds = 60
    if chosen.differential:
        return isolated(lambda: differential(first, chosen.seconds, chosen.cases))
    if chosen.digest_of_stdin:
        for line in sys.stdin:
            print(int(line), digest(draw(int(line), chosen.mode)), flush=True)
        return 0
    if chosen.digest:
        for seed in range(first, first + (chosen.cases or 1)):
            print(seed, digest(draw(seed, chosen.mode)), flush=True)
        return 0
    search = Search(first, chosen.mode, chosen.out, chosen.failures, chosen.jobs)
    found = search.run(chosen.seconds, chosen.packets, chosen.cases)
    if chosen.counters:
        search.print_counters()
    return 1 if found else 0


sys.exit(main())
