"""A peer that keeps a state: its window stays shut until it opens it, its SACK blocks lie about whole segments, and it knows the numbers.

What packets drawn one by one miss is the rare combination. Here each case switches kinds of misbehaviour on and off (a "swarm"), so
that those which are on meet each other often.
"""

from __future__ import annotations

from random import Random

from tests.fuzz.drawing import Drawing
from tests.fuzz.packets import ACK, FIN, HOUR, PSH, RST, SECOND, SYN, URG, Step

MSS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 47, 48, 49, 60, 64, 88, 100, 216, 536, 1000, 1460, 1460, 1460, 8960, 65535)
MTUS = (68, 69, 72, 76, 79, 80, 84, 88, 100, 120, 128, 296, 576, 1280, 1500, 1500, 1500, 9000, 65535)
KINDS = (
    "acknowledge", "acknowledge", "sack", "sack", "renege", "divide", "duplicates", "shut", "open", "silence", "write", "read", "text",
    "ahead", "urgent", "option", "narrow", "finish", "reset", "strange", "again", "call", "close", "syn", "long", "tune",
)  # fmt: skip


class Hostile(Drawing):
    """The steps of one peer, and of the program that it meets."""

    def __init__(self, random: Random, mtu: int, offload: bool) -> None:
        super().__init__(random)
        self.room = min(60000 if offload else mtu - 40, 60000)
        self.mss = self.pick(*MSS) if random.random() < 0.7 else self.pick(1460, 536)
        self.stamped = random.random() < 0.5
        self.sacked = random.random() < 0.85
        self.wscale = self.pick(None, 0, 1, 7, 14)
        self.strange = self.pick(0.0, 0.02, 0.1)
        self.window = 64240
        self.flow = random.randrange(64)
        self.eager = self.pick(0.3, 0.7, 1.0)
        # A few kinds more often than the rest, and some never.
        self.weights = [self.pick(0, 0, 1, 1, 3, 10) for _ in KINDS]
        if not any(self.weights):
            self.weights[0] = 1

    # ---- numbers ----

    def blocks(self) -> list[Step]:
        """SACK blocks: edges as [base, bytes, segments]."""
        random = self.random
        edges: list[Step] = []
        for _ in range(self.pick(1, 1, 1, 2, 3, 4)):
            kind = random.random()
            if kind < 0.25:
                # All but the first segments.
                edges += [["U", 0, self.pick(1, 1, 2, 3)], ["N", 0]]
            elif kind < 0.35:
                # From SND.UNA on, which nobody may have.
                edges += [["U", 0], self.pick(["N", 0], ["U", 0, self.pick(1, 2, 5)], ["U", 1])]
            elif kind < 0.65:
                left = random.randrange(12)
                edges += [["U", 0, left], ["U", 0, left + self.pick(1, 1, 2, 5)]]
            elif kind < 0.72:
                # The last ones.
                edges += [["N", 0, -self.pick(1, 1, 2, 4)], ["N", self.pick(0, 0, 0, -1, 1)]]
            elif kind < 0.80:
                # Single bytes, and what is not whole segments.
                left = random.randrange(0, 5)
                edges += [["U", self.pick(0, 1, -1, 7), left], ["U", self.pick(1, 2, 8), left + self.pick(0, 0, 1, 3)]]
            elif kind < 0.88:
                # A D-SACK.
                edges += [["U", 0, -self.pick(1, 2)], ["U", 0, self.pick(0, 0, 1)]]
            else:
                edges += [[self.pick("U", "N", "I"), self.offset()], [self.pick("U", "N", "z"), self.offset()]]
        return [["sack", edges[:8]]] if self.sacked or random.random() < 0.05 else []

    def stamps(self) -> list[Step]:
        if not self.stamped or self.random.random() < 0.01:
            return []
        if self.random.random() < self.strange:
            return [["ts", [self.offset(), self.offset()]]]
        return [["ts", [self.pick(0, 0, 1, 10), self.pick(0, 0, 0, -1, -1000)]]]

    def part(self) -> Step:
        """What an ACK acknowledges."""
        some = ["U", 0, self.random.randrange(8)]
        return self.pick(["U", 0], ["U", 0], ["U", 0, 1], ["U", 0, 1], ["U", 0, 2], some, ["N", 0], ["U", 1], ["N", -1], ["U", -1])

    def windows(self) -> int:
        return self.pick(0, 0, 1, 2, self.mss // 2, self.mss - 1, self.mss, self.mss + 1, 2 * self.mss, 1000, 64240, 65535) & 0xFFFF

    def ack(
        self, part: Step, blocks: list[Step] | None = None, size: int = 0, flags: int = ACK, copies: int = 1, seq: Step | None = None
    ) -> Step:
        size = max(0, min(size, self.room - 12))
        return ["segment", -1, flags, seq or ["n", 0], part, self.window, [*self.stamps(), *(blocks or [])], size, 0, copies]

    # ---- steps ----

    def syn(self) -> list[Step]:
        """A new connection, by either side."""
        random = self.random
        options: list[Step] = []
        if random.random() < 0.95:
            options.append(["mss", self.mss])
        if self.wscale is not None:
            options.append(["wscale", self.wscale])
        if self.sacked:
            options.append(["sackok", 0])
        if self.stamped:
            options.append(["ts", [1, 0]])
        self.window = self.pick(64240, 64240, self.windows())
        opened = [self.option() for _ in range(self.pick(0, 0, 0, 1, 2, 4))]
        if random.random() < 0.5:
            self.flow += 1
            flow = self.flow % 64
            first = ["segment", flow, SYN, ["z", random.getrandbits(32)], [], self.window, options, 0, 0, 1]
            last = ["segment", flow, ACK, ["n", 0], ["N", 0], self.window, self.stamps(), self.pick(0, 0, 0, 1, 20), 0, 1]
            return [first, ["poll"], last, ["poll"], ["accept", 0], *(["option", -1, *option] for option in opened)]
        if random.random() < 0.3:
            opened.append(["mss", self.pick(88, 536, 1400)])
        return [
            ["connect", self.pick("198.18.0.1", "198.18.7.7"), 40000, 0, opened], ["poll"],
            ["segment", -1, SYN | ACK, ["z", random.getrandbits(32)], ["N", 0], self.window, options, 0, 0, 1], ["poll"],
        ]  # fmt: skip

    def write(self) -> list[Step]:
        size = self.pick(1, 10, 1, 100, self.mss, self.mss, 3 * self.mss, 10 * self.mss, 30 * self.mss, 20000, 200_000)
        return [["send", -1, max(1, min(size, 300_000)), False], ["poll"]]

    def acknowledge(self) -> list[Step]:
        return [self.ack(self.part(), self.blocks() if self.random.random() < 0.3 else None)]

    def sack(self) -> list[Step]:
        return [self.ack(self.pick(["U", 0], ["U", 0], self.part()), self.blocks())]

    def renege(self) -> list[Step]:
        """Much is SACKed, and then it never was."""
        steps: list[Step] = [self.ack(["U", 0], self.blocks())]
        if self.random.random() < 0.6:
            steps.append(["poll"])
        if self.random.random() < 0.5:
            self.window = self.windows()
        steps.append(self.ack(self.pick(["U", 0, 1], ["U", 0, 1], ["U", 0], self.part())))
        if self.random.random() < 0.5:
            steps += [["poll"], *self.silence()]
        return steps

    def divide(self) -> list[Step]:
        """An ACK for each few bytes (Savage 1999)."""
        step = self.pick(1, 1, 2, max(1, self.mss // 10))
        steps: list[Step] = []
        for _ in range(self.pick(3, 10, 30)):
            steps.append(self.ack(["U", step]))
            if self.random.random() < 0.3:
                steps.append(["poll"])
        return steps

    def duplicates(self) -> list[Step]:
        blocks = self.blocks() if self.random.random() < 0.2 else None
        return [self.ack(self.pick(["U", 0], ["U", 0], ["N", 0]), blocks, copies=self.pick(2, 3, 4, 10))]

    def shut(self) -> list[Step]:
        self.window = self.pick(0, 0, 0, 1, self.windows())
        return [self.ack(self.pick(["N", 0], ["N", 0], ["U", 0], self.part()))]

    def open(self) -> list[Step]:
        self.window = self.pick(64240, 65535, self.windows())
        return [self.ack(self.pick(["N", 0], ["U", 0], self.part()))]

    def silence(self) -> list[Step]:
        return [self.pick(["timer", 1], ["timer", 1], ["timer", 2], ["timer", 5], ["timer", 20], ["wait", self.span()])]

    def long(self) -> list[Step]:
        return [self.pick(["wait", 100 * SECOND], ["wait", 700 * SECOND], ["wait", HOUR], ["wait", 26 * HOUR], ["timer", 50])]

    def read(self) -> list[Step]:
        return [["receive", -1, self.pick(1, 10, 1000, 1 << 30, 1 << 30)]]

    def text(self) -> list[Step]:
        """Data in order: one segment or several."""
        size = self.pick(1, 10, 500, 1400, 9000, 60000)
        return [self.ack(self.part(), size=size, flags=ACK | self.pick(0, PSH)) for _ in range(self.pick(1, 1, 2, 5))]

    def ahead(self) -> list[Step]:
        """Data out of order, before, across and behind what is there."""
        size = self.pick(1, 2, 10, 100, 500, 1400)
        steps: list[Step] = []
        for _ in range(self.pick(1, 2, 5, 12)):
            hole = ["n", self.random.randrange(1, 12) * size]
            where = self.pick(hole, hole, ["n", -size], ["n", -1], ["n", 1], ["a", -1], ["a", 0], ["a", -size])
            steps.append(self.ack(self.part(), size=size, seq=where))
        return steps

    def urgent(self) -> list[Step]:
        if self.random.random() < 0.5:
            return [["send", -1, self.pick(1, 100, 3000), True], ["poll"]]
        step = self.ack(self.part(), size=self.pick(0, 1, 100), flags=ACK | URG)
        step[8] = self.pick(0, 1, 2, 5000, 65535)
        return [step]

    def option(self) -> Step:
        if self.random.random() < 0.9:
            return super().option()
        return ["reading", self.pick(1, 1024, 5000)]

    def narrow(self) -> list[Step]:
        """A router says that it takes less."""
        mtu = self.pick(0, 1, 67, 68, 69, 88, 100, 300, 576, 1400, 65535)
        return [["icmp", -1, 3, 4, mtu, self.pick(["U", 0], ["U", 0, 1]), self.pick(28, 28, 60), 0]]

    def finish(self) -> list[Step]:
        seq = self.pick(["n", 0], ["n", 0], ["n", 100], ["a", 0], ["n", -1])
        return [self.ack(self.part(), size=self.pick(0, 0, 10), flags=ACK | FIN, seq=seq)]

    def reset(self) -> list[Step]:
        return [self.ack(self.part(), flags=self.pick(RST, RST | ACK), seq=self.pick(["n", 0], ["n", 1], ["a", 0]))]

    def odd(self) -> list[Step]:
        flags = self.random.getrandbits(8) if self.random.random() < 0.3 else ACK | self.pick(0, 0, SYN, FIN, PSH)
        step = self.segment(-1, flags)
        step[7] = max(0, min(step[7], self.room - 12))
        return [step]

    def repeat(self) -> list[Step]:
        changes = [[self.random.randrange(60), self.random.getrandbits(8)] for _ in range(self.pick(0, 0, 0, 1, 3))]
        return [["again", self.random.randrange(64), changes, 0, True, self.random.random() < 0.3]]

    def program(self) -> list[Step]:
        return [self.call(self.pick("198.18.0.1", "198.18.7.7"), (40000, 40001))]

    def close(self) -> list[Step]:
        return [self.pick(["shutdown", -1], ["close", -1], ["close", -1], ["abort", -1])]

    def turn(self) -> list[Step]:
        """One thing that a peer or the program does."""
        kind = self.random.choices(KINDS, self.weights)[0]
        if kind == "tune":
            return [self.tuning()]
        if kind == "option":
            return [["option", -1, *self.option()]]
        methods = {
            "acknowledge": self.acknowledge, "sack": self.sack, "renege": self.renege, "divide": self.divide,
            "duplicates": self.duplicates, "shut": self.shut, "open": self.open, "silence": self.silence, "write": self.write,
            "read": self.read, "text": self.text, "ahead": self.ahead, "urgent": self.urgent, "narrow": self.narrow,
            "finish": self.finish, "reset": self.reset, "strange": self.odd, "again": self.repeat, "call": self.program,
            "close": self.close, "syn": self.syn, "long": self.long,
        }  # fmt: skip
        return methods[kind]()

    def life(self) -> list[Step]:
        """A connection, and what comes to it."""
        steps = [*self.syn(), *self.write()]
        for _ in range(self.pick(3, 10, 30)):
            steps += self.turn()
            if self.random.random() < self.eager:
                steps.append(["poll"])
            if self.random.random() < 0.15:
                steps += self.write()
        return steps
