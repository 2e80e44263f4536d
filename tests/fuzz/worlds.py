"""Where the steps of a case run: one stack with a test for the rest of the network, or two with a bad link between them.

Steps name connections, listeners and sequence numbers relative to what is there when they run, so that a case stays a case when steps
are dropped.
"""

from __future__ import annotations

import hashlib
import struct
from random import Random
from typing import Any

from fastnet._headers import CAUSES
from fastnet.clock import ManualClock
from fastnet.devices import Impairment
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.twins import Twins
from tests.fuzz.device import Tap, Watched
from tests.fuzz.forge import Forger, expected_text
from tests.fuzz.invariants import check_empty, check_info, check_memory
from tests.fuzz.outgoing import STAMPS, Ends, Wire, ends_of, read
from tests.fuzz.packets import (
    FIN,
    HOME,
    HOUR,
    RST,
    SECOND,
    SYN,
    Case,
    M,
    Step,
    flow_and_flags,
    mend,
)  # fmt: skip
from tests.fuzz.user import User
from tests.peer import SixStack
from tests.translate import six

TIME = ("poll", "flush", "wait", "timer")
"""Steps in which a stack does something."""


class WireWorld:
    """One stack, and a test for the rest of the network."""

    def __init__(self, case: Case) -> None:
        self.clock = ManualClock(SECOND)
        family = case.get("family", 4)
        self.device = Tap(case.get("mtu", 1500), case.get("offload", False), family)
        random = Random(1)
        settings = {name: tuple(value) if isinstance(value, list) else value for name, value in case["settings"].items()}
        kind, home = (SixStack, six(HOME)) if family == 6 else (Stack, HOME)
        self.stack = kind(self.device, (home,), settings, self.clock, random.randbytes, case.get("slots", 64))
        self.stacks = [self.stack]
        self.user = User(self.stack, self.clock)
        self.injected: list[bytes] = []
        self.sent: list[bytes] = []
        self.digest = hashlib.sha256()
        self.forger = Forger(self.stack, self.user)
        self.wire = Wire(self.forger.announced)
        self.budget = 0
        self.calls = True
        self.waiting = 0
        self.resettable: set[Any] = set()
        self.packets = 0
        self.turn = 0
        self.chosen = any(step[0] == "policy" for step in case["steps"])
        self.dctcp = "dctcp" in repr(case)
        if not any(step[0] in ("again", "raw") for step in case["steps"]):
            # Packets that are changed at random may be good, and carry anything.
            self.user.expected = expected_text

    def run(self, steps: list[Step]) -> None:
        for step in steps:
            if self.user.do(step):
                self.calls = True
                self.budget += 4
            else:
                getattr(self, "do_" + step[0])(*step[1:])
                if step[0] not in TIME:
                    # The stack has not seen it yet.
                    continue
            self.user.check()
        self.do_poll()
        self.user.check()
        self.user.let_go()
        self.calls = True
        self.budget += 4 * (len(self.user.connections) + 1000)
        self.do_wait(30 * HOUR)
        self.user.check()
        check_empty(self.stack)
        self.wire.forget()
        self.user.forget()
        check_memory(self.stack)

    # ---- time ----

    def do_poll(self) -> int:
        context = self.stack.context
        now = self.clock()
        timed = context.timers.next_deadline() <= now
        arrived = min(self.waiting, self.stack.received.slots)
        self.waiting -= arrived
        credit = self.budget + 4 * arrived + (4 * len(context.timers) if timed else 0)
        connections = [endpoint for endpoint in context.endpoints if isinstance(endpoint, Connection)]
        queued = sum(connection.sender.buffer.length for connection in connections if connection.sender is not None)
        self.wire.look(connections)
        before = {id(connection): self.wire.situation(connection) for connection in connections}
        deadline = self.stack.poll(now)
        control = data = 0
        packets = self.device.drain()
        flows: dict[Ends, Connection] = {}
        if packets:
            now_there = [endpoint for endpoint in context.endpoints if isinstance(endpoint, Connection)]
            self.wire.look(now_there)
            # Who has gone in the meantime may have said a last word, before somebody else had its ends.
            flows = {ends_of(connection.handshake.flow): connection for connection in (*connections, *now_there)}
        for left in packets:
            sent = read(left, self.device.mtu, self.chosen, self.dctcp)
            self.sent.append(left.packet)
            self.digest.update(left.packet)
            if sent is None:
                control += 1
                continue
            control += not sent.data
            data += len(sent.data)
            if sent.flags & RST:
                assert self.calls or timed or None in self.resettable or sent.ends in self.resettable, "a RST for a RST"
            stamp = struct.unpack(">I", sent.options[STAMPS][:4])[0] if STAMPS in sent.options else 0
            length = len(sent.data) + bool(sent.flags & SYN) + bool(sent.flags & FIN)
            self.forger.last[sent.ends] = (sent.seq + length & M, sent.ack, stamp)
            connection = flows.get(sent.ends)
            if connection is not None and sent.flags & SYN and connection not in now_there:
                # Somebody else has its ends now, who may be gone as well before the batch is over.
                del flows[sent.ends]
                connection = None
            if connection is not None:
                number = id(connection)
                self.wire.check(sent, connection, before.get(number, (0, 0)), self.user.written.get(number))
        assert not context.outbox, "whatever was noted has been sent"
        self.check_counted()
        assert control <= credit, f"{control} packets without data for {arrived}"
        assert data <= 2 * queued + 4 * arrived * max(1500, self.stack.received.capacity) + 4096, f"{data} bytes sent of {queued} queued"
        self.budget = 0
        del self.sent[:-64]
        if not self.waiting:
            self.calls = False
            self.resettable.clear()
        return deadline

    def check_counted(self) -> None:
        """Each packet that came is counted once: handed to its protocol, or dropped under a name."""
        counters = self.stack.counters
        refused = sum(getattr(counters, name) for name in CAUSES[1:])
        came = counters.IpInReceives + counters.Ip6InReceives
        assert came == self.packets - self.device.dropped - self.waiting, "packets that came"
        # A message that quotes too little of a packet is an IcmpInMsgs and an IcmpInErrors, as Linux counts it.
        twice = counters.TcpInSegs + counters.IcmpInMsgs + counters.Icmp6InMsgs + refused - came
        assert 0 <= twice <= counters.IcmpInErrors + counters.Icmp6InErrors, "packets that came, by what became of them"
        if self.user.connections:
            self.turn += 1
            if self.turn % 4 == 0:
                check_info(self.user.connections[self.turn // 4 % len(self.user.connections)], self.clock())

    def do_flush(self) -> None:
        self.stack.flush(self.clock())

    def do_timer(self, times: int) -> None:
        """Let time pass until timers have fired so often."""
        for _ in range(times):
            deadline = self.do_poll()
            if deadline > self.clock() + 30 * HOUR:
                break
            self.clock.set(max(deadline, self.clock()))
            self.do_poll()
            self.user.check()

    def do_wait(self, ns: int) -> None:
        end = self.clock() + ns
        still = 0
        while True:
            deadline = self.do_poll()
            if deadline > end:
                break
            still = still + 1 if deadline <= self.clock() else 0
            assert still < 100 + len(self.injected), "time does not pass"
            self.clock.set(max(deadline, self.clock()))
        self.clock.set(end)

    # ---- packets ----

    def inject(self, packet: bytes) -> None:
        self.injected.append(packet)
        del self.injected[:-64]
        dropped = self.device.dropped
        self.device.inject(packet)
        self.waiting += self.device.dropped == dropped
        self.packets += 1
        found = flow_and_flags(packet)
        if found is None:
            self.resettable.add(None)
        elif not found[1] & RST:
            self.resettable.add(found[0])

    def do_segment(self, *fields: Any) -> None:
        for packet in self.forger.segment(*fields):
            self.inject(packet)

    def do_icmp(self, *fields: Any) -> None:
        self.inject(self.forger.icmp(*fields))

    def do_raw(self, text: str) -> None:
        self.inject(bytes.fromhex(text))

    def do_again(self, which: int, changes: list[tuple[int, int]], cut: int, mended: bool, mirrored: bool) -> None:
        """A packet that was there before: as it was, changed, cut, or one of the stack's own sent back to it."""
        self.wire.knows = False
        packets = self.sent if mirrored else self.injected
        if not packets:
            return
        packet = bytearray(packets[which % len(packets)])
        if mirrored and len(packet) >= 24:
            packet[12:20] = packet[16:20] + packet[12:16]
            packet[20:24] = packet[22:24] + packet[20:22]
        for place, value in changes:
            if packet:
                packet[place % len(packet)] = value
        if cut:
            del packet[cut % (len(packet) + 1) :]
        if mended and packet:
            mend(packet)
        self.inject(bytes(packet))


class TwinsWorld:
    """Two stacks and a bad link between them; what one reads is a beginning of what the other wrote."""

    def __init__(self, case: Case) -> None:
        settings = [
            {name: tuple(value) if isinstance(value, list) else value for name, value in case[which].items()}
            for which in ("settings", "settings_b")
        ]
        self.twins = Twins(Impairment(), None, case.get("seed", 0), *settings, case.get("mtu", 1500), case.get("slots", 64))
        self.stacks = [self.twins.a, self.twins.b]
        self.watched = [Watched(stack.device, 500, self.look) for stack in self.stacks]
        self.twins.a.device, self.twins.b.device = self.watched
        self.users = (User(self.twins.a, self.twins.clock), User(self.twins.b, self.twins.clock))
        self.users[1].seed = 1 << 32
        self.packets = 0
        self.chosen = any(step[:1] == ["on"] and step[2][0] == "policy" for step in case["steps"])
        self.dctcp = "dctcp" in repr(case)
        self.quiet = 0
        self.before: tuple[int, ...] = ()
        self.most_quiet = 10_000
        self.forgers = [Forger(stack, user) for stack, user in zip(self.stacks, self.users, strict=True)]
        # Who hears somebody else beside its peer may read anything.
        self.honest = not any(step[0] in ("forge", "icmp") for step in case["steps"])

    def do_forge(self, side: int, fields: list[Any]) -> None:
        """A segment to one of the two from somebody who is not the other."""
        for packet in self.forgers[side].segment(*fields):
            self.watched[side].inject(packet)

    def do_icmp(self, side: int, fields: list[Any]) -> None:
        self.watched[side].inject(self.forgers[side].icmp(*fields))

    def check(self) -> None:
        for user, other in (self.users, self.users[::-1]):
            user.check()
            for connection in user.connections:
                data = user.read[id(connection)]
                if not data or not self.honest:
                    continue
                mine = connection.handshake
                wrote = [
                    other.written[id(partner)]
                    for partner in other.connections
                    if partner.handshake.iss == mine.irs and partner.handshake.flow.remote_port == mine.flow.local_port
                ]
                # Who is reset before accept() has written nothing.
                assert any(text.startswith(data) for text in wrote), "what is read is the beginning of what was written"

    def run(self, steps: list[Step]) -> None:
        for step in steps:
            if step[0] == "on":
                self.users[step[1]].do(step[2])
            else:
                getattr(self, "do_" + step[0])(*step[1:])
            self.check()
        for user in self.users:
            user.let_go()
        self.quiet = 0
        self.do_wait(30 * HOUR)
        self.check()
        for user in self.users:
            check_empty(user.stack)
            user.forget()
            check_memory(user.stack)

    def situation(self) -> tuple[int, ...]:
        """What changes when packets lead to anything, or when it was a timer that sent them."""
        numbers: list[int] = []
        for user in self.users:
            counters = user.stack.counters
            numbers += (counters.TCPTimeouts, counters.TCPWinProbe, counters.TCPKeepAlive, counters.TCPLossProbes, counters.TCPSynRetrans)
            for endpoint in user.stack.context.endpoints:
                if isinstance(endpoint, Connection):
                    numbers += (endpoint.state, endpoint.snd_una, endpoint.snd_nxt, endpoint.rcv_nxt, endpoint.rcv_adv, endpoint.snd_wnd)
                else:
                    numbers.append(0)
        return tuple(numbers)

    def do_wait(self, ns: int) -> None:
        """Let time pass."""
        twins = self.twins
        end = twins.clock() + ns
        while twins.step(end):
            self.look()
        twins.clock.set(end)

    def look(self) -> None:
        """Read what left, and see whether anything came of it."""
        moved = 0
        for watched in self.watched:
            moved += len(watched.left)
            for left in watched.left:
                read(left, watched.mtu, self.chosen, self.dctcp)
            watched.left.clear()
        now = self.situation()
        self.quiet = self.quiet + moved if now == self.before else 0
        self.before = now
        self.packets += moved
        assert self.quiet < self.most_quiet, "packets go to and fro, and nothing comes of it"

    def do_link(self, direction: int, fields: dict[str, Any]) -> None:
        link = self.twins.link.back if direction else self.twins.link.forth
        link.impairment = Impairment(**fields)
