"""The same packets to the kernel and to the stack (tests/fuzz/differential.py): fixed seeds, some seconds of them."""

import re
from pathlib import Path

from fastnet.netns import isolated
from tests.fuzz.differences import DIFFERENCES, Difference, compare
from tests.fuzz.differential import draw

DOCS = Path(__file__).parents[2] / "docs" / "differences.md"
SEEDS = range(1, 401)


def differences(seeds: range) -> list[Difference]:
    """Those without a name. On a machine that does something else for a tenth of a second a timer fires elsewhere: it must be so twice."""
    first = [difference for difference in compare([draw(seed) for seed in seeds]) if not difference.name]
    if not first:
        return []
    return [difference for difference in compare([difference.case for difference in first]) if not difference.name]


def test_the_kernel_answers_the_same() -> None:
    def main() -> int:
        found = differences(SEEDS)
        for difference in found:
            print(difference)
        return len(found) > 0

    assert isolated(main) == 0


def test_every_named_difference_has_a_reason() -> None:
    assert re.findall(r"^### `([a-z0-9-]+)`$", DOCS.read_text(), re.MULTILINE) == list(DIFFERENCES)
