"""Running a case with every invariant checked, and making it smaller when one fails."""

from __future__ import annotations

import json
import signal
import time
import traceback
from pathlib import Path

from tests.fuzz.packets import Case
from tests.fuzz.worlds import TwinsWorld, WireWorld

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
LIMIT = 10
"""Seconds of CPU time that a case may take; most are over after some milliseconds."""

PATIENCE = 120
"""Seconds of CPU time that making a case smaller may take."""


def too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"not over after {LIMIT} s")


def world_of(case: Case) -> TwinsWorld | WireWorld:
    return TwinsWorld(case) if case["mode"] == "twins" else WireWorld(case)


def run(case: Case) -> None:
    """Replay a case; an exception is a failure, and so is one that does not come to an end."""
    run_in(world_of(case), case)


def run_in(world: TwinsWorld | WireWorld, case: Case) -> None:
    # CPU time, as other programs may have the machine.
    before = signal.signal(signal.SIGVTALRM, too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
    try:
        world.run(case["steps"])
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def digest(case: Case) -> str:
    """A hash of all that a wire case's stack sends: the same compiled and uncompiled."""
    world = WireWorld(case)
    world.run(case["steps"])
    return world.digest.hexdigest()


def failure(case: Case) -> tuple[str | None, TwinsWorld | WireWorld]:
    """What is wrong with a case: where and what, without the numbers, None when nothing is; and where it ran."""
    world = world_of(case)
    try:
        run_in(world, case)
    except Exception as error:
        if isinstance(error, TimeoutError):
            return str(error), world
        frames = traceback.extract_tb(error.__traceback__)
        frames = [frame for frame in frames if Path(frame.filename).parent != HERE or frame.name.startswith("check")]
        where = f"{Path(frames[-1].filename).name} {frames[-1].name}" if frames else "engine"
        text = "".join("#" if letter.isdigit() else letter for letter in str(error).partition("\n")[0][:100])
        return f"{type(error).__name__} in {where}: {text}", world
    return None, world


def reduce(case: Case, wanted: str) -> Case:
    """The same failure with fewer steps and settings, as far as PATIENCE lasts."""
    case = json.loads(json.dumps(case))
    end = time.process_time() + PATIENCE

    def fails(fewer: Case) -> bool:
        return time.process_time() < end and failure(fewer)[0] == wanted

    again = True
    while again:
        again = False
        size = max(1, len(case["steps"]) // 2)
        while size:
            at = 0
            while at < len(case["steps"]):
                fewer = {**case, "steps": case["steps"][:at] + case["steps"][at + size :]}
                if fails(fewer):
                    case = fewer
                    # Without these, others may be needless that were not.
                    again = True
                else:
                    at += size
            size //= 2
    for group in ("settings", "settings_b"):
        for name in list(case.get(group, ())):
            fewer = {**case, group: {key: value for key, value in case[group].items() if key != name}}
            if fails(fewer):
                case = fewer
    return case


def save(case: Case, path: Path) -> None:
    """Write a case down, a step a line."""
    head = {key: value for key, value in case.items() if key != "steps"}
    steps = ",\n".join(" " + json.dumps(step) for step in case["steps"])
    path.write_text(json.dumps(head)[:-1] + ', "steps": [\n' + steps + "\n]}\n")
