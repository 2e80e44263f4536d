"""Cases one after another, in one process or several, until there were enough: what was found, and how quick it was."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import queue
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fastnet.tcp import connection as protocol
from tests.fuzz.cases import draw
from tests.fuzz.engine import failure, reduce, save
from tests.fuzz.packets import Case
from tests.fuzz.worlds import WireWorld

REPORT = 60
"""Seconds between two lines that say how far it is."""
STUCK = 600
"""Seconds after which a case that neither ends nor hears its signal, compiled code in an endless loop, is ended with a traceback."""
SAMPLED = 50
"""One case of so many runs again with the other build, which has to send the same."""
UNCOMPILED = protocol.__file__.endswith(".py")
FORK = multiprocessing.get_context("fork")


def what_runs() -> str:
    """Compiled or not, and which commit."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return f"{'uncompiled' if UNCOMPILED else 'compiled'}, commit {said.stdout.strip() or 'unknown'}"


class Search:
    """A run over the seeds from ``first`` on.

    :param style: of the cases, None: any
    :param out: where failing cases go
    :param failures: different ones, to stop after
    :param jobs: processes; the n-th has every ``jobs``-th seed from the n-th on
    """

    def __init__(self, first: int, style: str | None, out: Path, failures: int, jobs: int) -> None:
        self.first, self.style, self.out, self.failures, self.jobs = first, style, out, failures, jobs
        # Of each process, where it is. Shared, so that one that dies leaves word of its seed.
        self.seeds = FORK.Array("q", [first + job for job in range(jobs)], lock=False)
        self.packets = FORK.Array("q", jobs, lock=False)
        self.stop = FORK.Value("b", 0, lock=False)
        self.found: dict[str, int] = {}
        self.counters: Counter[str] = Counter()
        self.digests: dict[int, str] = {}

    # ---- in a process of its own ----

    def work(self, job: int, cases: int | None, results: Any) -> None:
        """Case after case; what is found, and at last what was counted, goes to ``results``."""
        faulthandler.enable()
        found: set[str] = set()
        counters: Counter[str] = Counter()
        digests: dict[int, str] = {}
        seed = self.first + job
        parent = os.getppid()
        # Nobody wants to know when the one that started it has gone.
        while not self.stop.value and os.getppid() == parent and (cases is None or seed < self.first + cases):
            self.seeds[job] = seed
            faulthandler.dump_traceback_later(STUCK, exit=True)
            case = draw(seed, self.style)
            wrong, world = failure(case)
            for stack in world.stacks:
                self.packets[job] += stack.counters.IpInReceives + stack.counters.Ip6InReceives
                counters.update(stack.counters.as_dict())
            if wrong is not None and wrong not in found:
                found.add(wrong)
                faulthandler.cancel_dump_traceback_later()
                results.put((seed, wrong, case))
                results.put((seed, wrong, reduce(case, wrong)))
            elif seed % SAMPLED == 0 and isinstance(world, WireWorld):
                digests[seed] = world.digest.hexdigest()
            seed += self.jobs
        self.seeds[job] = seed
        faulthandler.cancel_dump_traceback_later()
        results.put((seed, None, (dict(counters), digests)))

    # ---- in the process that was started ----

    def run(self, seconds: float | None, packets: int | None, cases: int | None) -> int:
        """Search until any of these bounds is reached; how many different failures there were."""
        results = FORK.Queue()
        workers = [FORK.Process(target=self.work, args=(job, cases, results), daemon=True) for job in range(self.jobs)]
        started = time.monotonic()
        for worker in workers:
            worker.start()
        reported = started
        left = set(range(self.jobs))
        while left:
            try:
                seed, wrong, what = results.get(timeout=0.2)
            except queue.Empty:
                for job in sorted(left):
                    if not workers[job].is_alive() and results.empty():
                        left.discard(job)
                        if workers[job].exitcode:
                            self.died(self.seeds[job], workers[job].exitcode)
            else:
                if wrong is None:
                    left.discard((seed - self.first) % self.jobs)
                    self.counters.update(what[0])
                    self.digests.update(what[1])
                else:
                    self.failed(seed, wrong, what)
            now = time.monotonic()
            over = seconds is not None and now - started >= seconds or packets is not None and sum(self.packets) >= packets
            if over or len(self.found) >= self.failures:
                self.stop.value = 1
            if now - reported >= REPORT:
                reported = now
                print(self.state(now - started), flush=True)
        seconds_taken = time.monotonic() - started
        self.compare()
        print(self.state(seconds_taken) + f"; {what_runs()}", flush=True)
        return len(self.found)

    def compare(self) -> None:
        """Run some of the cases again uncompiled, or compiled where this is not: they send the same to the byte."""
        environment = {**os.environ, "FASTNET_PURE": "0" if UNCOMPILED else "1"}
        asked = "\n".join(map(str, self.digests))
        command = [sys.executable, "-m", "tests.fuzz", "--digest-of-stdin", *(["--mode", self.style] if self.style else [])]
        said = subprocess.run(command, capture_output=True, text=True, input=asked, env=environment)
        other = dict(line.split() for line in said.stdout.splitlines())
        if said.returncode or len(other) != len(self.digests):
            self.failed(self.first, f"the other build failed: {said.stderr[-300:]}", draw(self.first, self.style))
        for seed, digest in self.digests.items():
            if other.get(str(seed), digest) != digest:
                self.failed(seed, "compiled and uncompiled send different packets", draw(seed, self.style))
        print(f"{len(other)} cases sent the same compiled and uncompiled" if other else "no case was run by both builds", flush=True)

    def state(self, seconds: float) -> str:
        packets = sum(self.packets)
        cases = sum(seed - self.first for seed in self.seeds) // self.jobs
        return (
            f"fuzz: {packets:,} packets in {cases:,} cases from seed {self.first} on, {len(self.found)} kinds of failure; "
            f"{seconds:,.0f} s, {packets / max(seconds, 0.001):,.0f} packets/s"
        )

    def failed(self, seed: int, wrong: str, case: Case) -> None:
        """A case failed; ``case``: all of it, and later what is left of it."""
        if self.found.setdefault(wrong, seed) != seed:
            return
        path = self.out / f"{case['style']}-{seed}.json"
        save(case, path)
        print(f"seed {seed}: {wrong}; {len(case['steps'])} steps: {path}", flush=True)

    def died(self, seed: int, code: int | None) -> None:
        """A process ended in the middle of a case."""
        self.failed(seed, f"the interpreter died with {code}", draw(seed, self.style))

    def print_counters(self) -> None:
        """What the stacks counted."""
        for name, value in sorted(self.counters.items()):
            if value:
                print(f"{value:12,} {name}")
        print("never:", ", ".join(sorted(name for name, value in self.counters.items() if not value)) or "-", file=sys.stdout)
