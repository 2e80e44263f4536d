"""Where the stack and the kernel may answer differently, and the comparison. docs/differences.md says why, under the same names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.fuzz.differential import StackSocket, play_kernel
from tests.fuzz.packets import ACK, FIN, RST, SYN, Case, Step

Said = dict[str, Any]
BATCH = 200
"""Cases that are played at once."""


@dataclass
class Difference:
    """One step to which the two answered differently.

    :ivar name: which of ``DIFFERENCES`` it is, "" for one that nobody expects
    """

    case: Case
    number: int
    kernel: Said
    stack: Said
    name: str = ""

    def __str__(self) -> str:
        lines = [f"seed {self.case['seed']}: {self.case['role']}, {self.case['program']}"]
        lines += [f"  {i}: {step}" for i, step in enumerate(self.case["steps"][: self.number])]
        return "\n".join([*lines, f"  kernel: {self.kernel}", f"  stack:  {self.stack}"])


def earlier(case: Case, number: int) -> list[Step]:
    """The steps before an answer."""
    steps: list[Step] = case["steps"][:number]
    return steps


def flags_of(step: Step) -> int:
    return int(step[1]) if step[0] == "segment" else 0


def has_closed(case: Case, number: int) -> bool:
    """Has the program let go?"""
    return ["program", "close"] in earlier(case, number)


def is_finished(case: Case, number: int) -> bool:
    """Has the peer sent a FIN, in order or not?"""
    return any(flags_of(step) & FIN for step in earlier(case, number))


def same_but(kernel: Said, stack: Said, *names: str) -> bool:
    return {name: value for name, value in kernel.items() if name not in names} == {
        name: value for name, value in stack.items() if name not in names
    }


def fin_in_sack(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    return is_finished(case, number) and same_but(kernel, stack, "sack")


def rst_with_ack(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    return same_but(kernel, stack, "rst") and kernel.get("rst", (0, 0)) == (stack.get("rst", (1,))[0], None)


def orphan_in_fin_wait_2(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    if not has_closed(case, number) or "rst" in stack:
        return False
    if flags_of(case["steps"][number - 1]) & RST:
        return kernel.keys() <= {"ack", "shut"} and stack.keys() <= {"ack", "shut", "sack"}
    return kernel == {} or "rst" in kernel or same_but(kernel, stack, "sack")


def text_after_fin(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    step = case["steps"][number - 1]
    return is_finished(case, number - 1) and step[0] == "segment" and bool(step[4]) and "rst" in kernel and "rst" not in stack


def text_beyond_fin(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    return is_finished(case, number) and kernel.get("ack", 0) < stack.get("ack", 0)


def rst_before_fin(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    resets = any(flags_of(step) & RST and step[2] == -1 for step in earlier(case, number))
    return is_finished(case, number) and resets and "rst" in kernel and "rst" not in stack


def rst_at_sack(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    return flags_of(case["steps"][number - 1]) & RST != 0 and kernel == {} and "sack" in stack


def dsack_after_coalescing(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    return same_but(kernel, stack, "sack") and stack.get("sack", [])[2:] == kernel.get("sack", [])[: len(stack.get("sack", [])) - 2]


def old_ack_in_the_fast_path(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    step = case["steps"][number - 1]
    return step[0] == "segment" and step[3] is not None and step[3] < -1000 and kernel.get("ack", 0) > stack.get("ack", 0)


def old_pure_ack(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    step = case["steps"][number - 1]
    stamped = step[0] == "segment" and any(kind == "ts" and value[0] < 0 for kind, *value in step[5])
    return stamped and step[1] == ACK and not step[4] and kernel == {}


def no_ack_flag(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    return kernel == {} and stack != {} and not flags_of(case["steps"][number - 1]) & (ACK | RST | SYN)


def missing_timestamp(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    step = case["steps"][number - 1]
    syns = [first for first in case["steps"][:number] if first[0] == "segment" and first[1] & SYN]
    agreed = any(kind == "ts" for syn in syns for kind, *_ in syn[5])
    return agreed and step[0] == "segment" and not step[1] & (RST | SYN) and all(kind != "ts" for kind, *_ in step[5])


def ack_of_the_syn(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    step = case["steps"][number - 1]
    return case["role"] == "connect" and flags_of(step) & ACK != 0 and step[3] == -1 and kernel == {}


def right_edge(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    step = case["steps"][number - 1]
    return step[0] == "segment" and not step[4] and step[2] >= 0xFFFF


def simultaneous_open(case: Case, number: int, kernel: Said, stack: Said) -> bool:
    return case["role"] == "connect" and flags_of(case["steps"][0]) & (SYN | ACK) == SYN


DIFFERENCES: dict[str, Callable[[Case, int, Said, Said], bool]] = {
    "fin-in-sack": fin_in_sack,
    "rst-with-ack": rst_with_ack,
    "orphan-in-fin-wait-2": orphan_in_fin_wait_2,
    "text-after-fin": text_after_fin,
    "text-beyond-fin": text_beyond_fin,
    "rst-before-fin": rst_before_fin,
    "rst-at-sack": rst_at_sack,
    "dsack-after-coalescing": dsack_after_coalescing,
    "old-ack-in-the-fast-path": old_ack_in_the_fast_path,
    "old-pure-ack": old_pure_ack,
    "no-ack-flag": no_ack_flag,
    "missing-timestamp": missing_timestamp,
    "ack-of-the-syn": ack_of_the_syn,
    "simultaneous-open": simultaneous_open,
    "right-edge": right_edge,
}


def compare(cases: list[Case]) -> list[Difference]:
    """Play the cases; of each, the first difference, if there is one."""
    kernel, times = play_kernel(cases)
    found = []
    for i, case in enumerate(cases):
        stack = StackSocket(case, i).play(times)
        for number, (expected, said) in enumerate(zip(kernel[i], stack, strict=True)):
            if expected != said:
                name = next((name for name, is_it in DIFFERENCES.items() if is_it(case, number, expected, said)), "")
                found.append(Difference(case, number, expected, said, name))
                break
    return found
