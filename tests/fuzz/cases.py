"""The case that a seed stands for: its world, its settings and its steps."""

from __future__ import annotations

from random import Random

from tests.fuzz.drawing import Drawing
from tests.fuzz.hostile import MTUS, Hostile
from tests.fuzz.packets import ACK, HOME, PEERS, SECOND, SYN, Case, Step
from tests.fuzz.settings import draw_settings
from tests.translate import LONGER

STYLES = ("wire", "hostile", "twins")
"""Packets drawn one by one; a peer that keeps a state; two stacks."""


def draw(seed: int, style: str | None = None) -> Case:
    """The case that a seed stands for."""
    random = Random(f"fastnet {seed}")
    style = style or random.choice(("wire", "hostile", "hostile", "hostile", "twins"))
    case: Case = {"mode": "twins" if style == "twins" else "wire", "style": style, "seed": seed, "settings": draw_settings(random)}
    case["mtu"] = random.choice(MTUS)
    case["slots"] = random.choice((64, 64, 2))
    if style != "twins" and case["mtu"] + LONGER >= 1280 and Random(f"family {seed}").random() < 0.5:
        case["family"] = 6
    if style == "twins":
        # What two that are set alike do to each other would be rare if both were drawn.
        case["settings_b"] = draw_settings(random) if random.random() < 0.4 else dict(case["settings"])
        case["steps"] = draw_twins(random, case["mtu"])
    elif style == "wire":
        case["steps"] = draw_wire(random)
    else:
        case["offload"] = random.random() < 0.3
        case["steps"] = draw_hostile(random, case["mtu"], case["offload"])
    return case


def draw_twins(random: Random, mtu: int) -> list[Step]:
    """Calls at both ends, time, a link that gets better and worse; in some cases also somebody who sends what neither did."""
    drawing = Hostile(random, mtu, False)
    length = random.choice((10, 40, 120))
    third = random.choice((0.0, 0.1, 0.3))
    bad = random.choice((0.0, 0.1, 0.3))
    steps: list[Step] = [["on", 1, ["listen", 80, random.choice((0, 2, 100)), True]]]
    while len(steps) < length:
        kind = random.random()
        side = random.randrange(2)
        if random.random() < third:
            steps += forged(drawing, side)
        elif random.random() < bad:
            steps.append(["link", side, drawing.impairment()])
        elif kind < 0.40:
            steps.append(["wait", drawing.span()])
        elif kind < 0.50:
            steps += [["on", 0, ["connect", HOME, 80, 0, []]], ["wait", SECOND], ["on", 1, ["accept", 0]]]
        else:
            steps.append(["on", side, drawing.call(HOME if side == 0 else PEERS[0], (80, 80, 40000))])
    return steps


def forged(drawing: Hostile, side: int) -> list[Step]:
    """Something that a stack takes for its peer's, and that leaves the two ends with different ideas of their numbers."""
    kinds = (drawing.text, drawing.text, drawing.acknowledge, drawing.sack, drawing.finish, drawing.reset, drawing.narrow, drawing.odd)
    return [["icmp" if step[0] == "icmp" else "forge", side, step[1:]] for step in drawing.pick(*kinds)()]


def draw_wire(random: Random) -> list[Step]:
    drawing = Drawing(random)
    length = random.choice((10, 40, 120, 300))
    steps: list[Step] = [["listen", 80, random.choice((0, 1, 5, 100)), True]]
    calls = random.choice((0.2, 0.4, 0.6))
    while len(steps) < length:
        kind = random.random()
        if kind < 0.3:
            steps.append(drawing.time())
        elif kind < 0.3 + 0.7 * calls:
            steps.append(drawing.call(random.choice(PEERS), (40000, 40001)))
            if steps[-1][0] == "connect" and random.random() < 0.7:
                steps += [["poll"], drawing.segment(-1, SYN | ACK, 0), ["poll"]]
        else:
            steps += drawing.arrival()
    return steps


def draw_hostile(random: Random, mtu: int, offload: bool) -> list[Step]:
    """One life after another of a peer, and sometimes two at once."""
    drawing = Hostile(random, mtu, offload)
    steps: list[Step] = [["listen", 80, random.choice((0, 5, 100)), True]]
    for _ in range(random.choice((1, 1, 2, 4))):
        steps += drawing.life()
    return steps
