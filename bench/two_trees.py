"""Full cycles in memory of two built trees, in turns, so that what else the machine does meets both.

    python bench/two_trees.py OTHER_TREE [ROUNDS]

Prints the best and the median rate of this tree and of the other, and their ratio.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent.parent
PROGRAM = """
from fastnet.load.memory import MemoryClient
client = MemoryClient(128)
client.run(50)
print(max(client.run(400).rate for _ in range(4)))
"""


def rate(tree: Path) -> float:
    """Cycles/s of the stack's own time, best of four."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    result = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tree, env=environment, capture_output=True, text=True, check=True)
    return float(result.stdout)


def main() -> None:
    """Measure, and print."""
    other, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 7
    rates: dict[Path, list[float]] = {HERE: [], other: []}
    for _ in range(rounds):
        for tree, found in rates.items():
            found.append(rate(tree))
    for tree, found in rates.items():
        print(f"{max(found):12,.0f} cycles/s best  {statistics.median(found):12,.0f} median  {tree}")
    best, median = (how(rates[HERE]) / how(rates[other]) for how in (max, statistics.median))
    print(f"{best:.3f} x best, {median:.3f} x median")


if __name__ == "__main__":
    main()
