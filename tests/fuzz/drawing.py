"""The generator: the case that a seed stands for."""

from __future__ import annotations

from random import Random
from typing import Any

from fastnet.tcp.tuning import NAMES
from tests.fuzz.packets import ACK, CWR, ECE, FIN, HOUR, MILLISECOND, PORTS, PSH, RST, SECOND, SYN, URG, Step
from tests.fuzz.settings import values_of


class Drawing:
    """Steps of one case."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.flows = random.choice((1, 2, 6, 300))
        self.strange = random.choice((0.02, 0.1, 0.4))
        self.stamped = random.random() < 0.5
        self.sacked = random.random() < 0.7
        self.mss = random.choice((1460, 1460, 536, 100))
        self.wscale = random.choice((None, 0, 7, 14))
        self.focus = -1
        self.loyalty = random.choice((0.3, 0.8, 0.95))

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def size(self) -> int:
        return self.pick(0, 1, 1, 10, 100, self.mss, self.mss, 1000, 3000, self.random.randrange(20000), 100_000)

    def offset(self) -> int:
        random = self.random
        near, far = random.randrange(-3000, 3000), random.randrange(-70000, 70000)
        return self.pick(0, -1, 1, 2, self.mss, -self.mss, near, far, random.getrandbits(32))

    def span(self) -> int:
        return self.pick(0, 0, 0, 1, 1000, 40 * MILLISECOND, 203 * MILLISECOND, SECOND, 3 * SECOND, 20 * SECOND, 61 * SECOND, 700 * SECOND)

    def which(self) -> int:
        """A connection of the program's: for a while the same, so that something comes of it."""
        if self.random.random() > self.loyalty:
            self.focus = -self.random.randrange(1, 9)
        return self.focus

    def target(self) -> int:
        if self.random.random() < 0.5:
            return self.which()
        if self.random.random() < 0.6:
            return -self.random.randrange(1, 9)
        return self.random.randrange(self.flows) * self.pick(1, 1, 1, 128, 7)

    def time(self) -> Step:
        random = self.random.random()
        if random < 0.6:
            return ["poll"]
        if random < 0.65:
            return ["flush"]
        if random < 0.98:
            return ["wait", self.span()]
        return ["wait", self.random.randrange(3 * HOUR)]

    def options(self, syn: bool) -> list[Step]:
        random = self.random
        options: list[Step] = []
        if syn:
            if random.random() < 0.9:
                options.append(["mss", self.mss if random.random() < 0.9 else self.pick(0, 1, 47, 65535)])
            if self.wscale is not None:
                options.append(["wscale", self.wscale])
            if self.sacked:
                options.append(["sackok", 0])
        if self.stamped and random.random() < 0.95:
            options.append(["ts", [self.pick(0, 0, 1, 5), 0]] if random.random() > self.strange else ["ts", [self.offset(), self.offset()]])
        if not syn and self.sacked and random.random() < 0.3:
            edges: list[Step] = []
            for _ in range(random.randrange(1, 4)):
                left = self.offset() if random.random() < self.strange else random.randrange(0, 8) * self.mss
                right = left + self.pick(self.mss, self.mss, 2 * self.mss, random.randrange(1, 5000), self.offset())
                edges += [["U", left], ["U", right]]
            options.append(["sack", edges])
        if random.random() < self.strange / 4:
            options.append(["raw", random.randbytes(random.randrange(12)).hex()])
        return options

    def segment(self, target: int, flags: int, size: int | None = None) -> Step:
        random = self.random
        odd = random.random() < self.strange
        seq = [self.pick("n", "n", "a", "i", "z"), self.offset()] if odd else ["n", 0]
        ack = [self.pick("N", "U", "I", "z"), self.offset()] if random.random() < self.strange else [self.pick("N", "N", "U"), 0]
        if not odd and size and random.random() < 0.3:
            # Out of order.
            seq[1] = random.randrange(-2, 6) * size
        elif not odd and random.random() < 0.2:
            # What is on its way is acknowledged in part.
            ack = ["U", random.randrange(0, 4) * self.mss]
        if flags & (SYN | ACK) == SYN:
            seq = [self.pick("z", "n", "i"), random.getrandbits(32) if random.random() < 0.7 else self.offset()]
        window = self.pick(0, 1, 700, 64240, 64240, 64240, 65535) if random.random() < 0.5 else 64240
        if size is None:
            size = self.pick(0, 0, 0, 1, self.mss, self.mss, random.randrange(1, 1400))
        urgent = 0
        if random.random() < self.strange / 3:
            flags |= URG
            urgent = self.pick(0, 1, 2, 5000, 65535)
        copies = self.pick(2, 3, 8) if random.random() < 0.08 else 1
        options = self.options(bool(flags & SYN))
        codepoint = []
        if random.random() < 0.3:
            # ECN (RFC 3168): a SYN that asks, a SYN-ACK that agrees, and after that anything.
            flags |= self.pick(ECE, CWR, ECE | CWR) if not flags & SYN else ECE if flags & ACK else ECE | CWR
            codepoint = [self.pick(0, 0, 1, 2, 3)] if not flags & SYN else []
        return ["segment", target, flags, seq, ack if flags & ACK else [], window, options, min(size, 1400), urgent, copies, *codepoint]

    def honest(self, target: int, flags: int = ACK, ack: Step | None = None, options: list[Step] | None = None, size: int = 0) -> Step:
        stamp: list[Step] = [["ts", [0, 0]]] if self.stamped else []
        return ["segment", target, flags, ["n", 0], ack or ["N", 0], 64240, [*stamp, *(options or [])], size, 0, 1]

    def ending(self, which: int) -> list[Step]:
        """Both sides close, in some order, with something strange in between at times."""
        random = self.random
        steps = [
            ["receive", which, 1 << 30],
            [self.pick("shutdown", "close"), which],
            self.pick(["poll"], ["flush"]),
            self.honest(which),
            self.honest(which, ACK | FIN, self.pick(["N", 0], ["N", 0], ["U", 0]), size=self.pick(0, 0, 5)),
            ["poll"],
            self.honest(which),
        ]
        if random.random() < 0.5:
            at = random.randrange(len(steps))
            steps.insert(random.randrange(len(steps)), steps.pop(at))
        if random.random() < 0.3:
            del steps[random.randrange(len(steps))]
        if random.random() < 0.5:
            flags = self.pick(SYN, ACK, ACK | FIN, RST, SYN | ACK)
            steps.insert(random.randrange(len(steps) + 1), self.segment(which, flags, 0))
        if random.random() < 0.5:
            # A new connection over what is left of this one.
            steps += [["poll"], ["segment", which, SYN, ["n", self.pick(1, 1, 0, -1, 100_000)], [], 64240, self.options(True), 0, 0, 1]]
            steps += [["poll"], self.honest(which)]
        return steps

    def transfer(self, which: int) -> list[Step]:
        """Data that is acknowledged in pieces."""
        random = self.random
        steps: list[Step] = [["send", which, self.pick(3, 30, 300) * self.mss, False], ["poll"]]
        for _ in range(random.randrange(1, 8)):
            edges: list[Step] = []
            for _ in range(random.randrange(0, 4)):
                left = random.randrange(0, 12)
                edges += [["U", left * self.mss], ["U", (left + random.randrange(1, 4)) * self.mss]]
            part = ["U", random.choice((0, 0, 1, 2, 5)) * self.mss]
            steps.append(self.honest(which, ACK, part, [["sack", edges]] if edges and self.sacked else []))
            steps[-1][-1] = random.choice((1, 1, 3))
            if random.random() < 0.7:
                steps.append(["poll"])
            if random.random() < 0.2:
                steps.append(["wait", self.span()])
        if random.random() < 0.7:
            steps += [self.honest(which), ["poll"]]
        return steps

    def arrival(self) -> list[Step]:
        random = self.random
        target = self.target()
        kind = random.random()
        if kind < 0.18:
            steps = [self.segment(abs(target), SYN, 0)]
            if random.random() < 0.85:
                steps.append(["poll"])
                steps.append(self.segment(abs(target), ACK | self.pick(0, 0, 0, PSH, FIN)))
                if random.random() < 0.8:
                    steps += [["poll"], ["accept", random.randrange(3)]]
            return steps
        if kind < 0.24:
            return [self.segment(target, SYN | ACK, 0)]
        if kind < 0.28:
            return self.ending(self.which())
        if kind < 0.36:
            return self.transfer(self.which())
        if kind < 0.70:
            return [self.segment(target, ACK | self.pick(0, 0, PSH)) for _ in range(self.pick(1, 1, 1, 2, 5))]
        if kind < 0.76:
            return [self.segment(target, ACK | FIN)]
        if kind < 0.79:
            return [self.segment(target, RST | self.pick(0, ACK), 0)]
        if kind < 0.84:
            return [self.segment(target, random.getrandbits(9) & 0xFF)]
        if kind < 0.90:
            kind_of = self.pick(3, 3, 3, 3, 11, 12, 4, 8, random.getrandbits(8))
            code = self.pick(4, 4, random.randrange(17))
            rest = self.pick(0, 68, 500, 576, 1000, 1400, 65535, random.getrandbits(32))
            seq = [self.pick("U", "U", "I", "N"), self.pick(0, 0, self.offset())]
            return [["icmp", target, kind_of, code, rest, seq, self.pick(28, 28, 40, random.randrange(60)), random.randrange(2)]]
        if kind < 0.92:
            return [["raw", random.randbytes(random.randrange(100)).hex()]]
        changes = [[random.randrange(60), random.getrandbits(8)] for _ in range(self.pick(0, 0, 1, 2, 5))]
        if random.random() < 0.1:
            # A fragment.
            changes += [[6, self.pick(0, 0x20)], [7, random.randrange(3)]]
        cut = random.randrange(1, 1500) if random.random() < 0.1 else 0
        return [["again", random.randrange(64), changes, cut, random.random() < 0.8, random.random() < 0.4]]

    def option(self) -> Step:
        name = self.pick("nodelay", "cork", "sndbuf", "rcvbuf", "keepalive", "user_timeout", "congestion", "ttl", "pacing", "unsent")
        values: dict[str, tuple[Any, ...]] = {
            "nodelay": (0, 1), "cork": (0, 1), "sndbuf": (4608, 20000, 1 << 20), "rcvbuf": (2304, 20000, 1 << 20), "keepalive": (0, 1, 30),
            "user_timeout": (0, 1, 1000, 90_000), "congestion": ("cubic", "bbr", "reno", "none", "dctcp"), "ttl": (0, 1, 255),
            "pacing": (0, 10_000, 1_000_000, 1 << 40), "unsent": (0, 1, 5000, 1 << 30),
        }  # fmt: skip
        return [name, self.pick(*values[name])]

    def call(self, peer: str, ports: tuple[int, ...]) -> Step:
        random = self.random
        which = self.which()
        kind = random.random()
        if kind < 0.06:
            return ["listen", self.pick(*PORTS), self.pick(0, 1, 2, 5, 100), random.random() < 0.5]
        if kind < 0.18:
            return ["accept", random.randrange(3)]
        if kind < 0.30:
            options = [self.option() for _ in range(self.pick(0, 0, 0, 1, 2))]
            if random.random() < 0.1:
                options.append(["mss", self.pick(88, 536, 1400)])
            return ["connect", peer, self.pick(*ports), self.pick(0, 0, 40000, *PORTS), options]
        if kind < 0.55:
            return ["send", which, self.size(), random.random() < 0.1]
        if kind < 0.72:
            return ["receive", which, self.pick(1, 100, 3000, 1 << 30)]
        if kind < 0.76:
            return ["shutdown", which]
        if kind < 0.82:
            return ["close", which]
        if kind < 0.84:
            return ["abort", which]
        if kind < 0.93:
            return ["option", which, *self.option()]
        if kind < 0.95:
            return self.tuning()
        if kind < 0.97:
            return ["backlog", random.randrange(3), self.pick(0, 1, 4, 100)]
        if kind < 0.98:
            return ["unlisten", random.randrange(3)]
        return ["ready"]

    def tuning(self) -> Step:
        """Something about a listener that runs."""
        index = self.random.randrange(3)
        kind = self.random.random()
        if kind < 0.4:
            name = self.pick(*NAMES)
            return ["tune", index, name, self.pick(*values_of(name))]
        if kind < 0.5:
            return ["ttl", index, self.pick(0, 1, 255), self.pick(0, 4, 252)]
        if kind < 0.8:
            return ["policy", index, self.random.choice((0, self.random.getrandbits(30)))]
        return ["decide", self.random.randrange(8), self.random.random() < 0.7]

    def impairment(self) -> dict[str, Any]:
        chance = (0.0, 0.0, 0.01, 0.1, 0.3)
        return {
            "loss": self.pick(*chance, 1.0), "mark": self.pick(*chance),
            "duplicate": self.pick(*chance), "reorder": self.pick(*chance), "corrupt": self.pick(*chance),
            "delay": self.pick(0, MILLISECOND, 20 * MILLISECOND, 300 * MILLISECOND), "jitter": self.pick(0, 0, MILLISECOND, SECOND),
            "rate": self.pick(0, 0, 50_000, 1_000_000), "queue": self.pick(2, 10, 1000),
        }  # fmt: skip
