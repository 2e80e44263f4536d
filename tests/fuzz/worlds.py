"""Where the steps of a case run: one stack with a test for the rest of the network, or two with a bad link between them.

Steps name connections, listeners and sequence numbers relative to what is there when they run, so that a case stays a case when steps
are dropped.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import dpkt

from fastnet._flow import FourTuple
from fastnet.clock import ManualClock
from fastnet.devices import Impairment, MemoryDevice
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.opening import ActiveConnection
from fastnet.twins import Twins
from tests.fuzz.invariants import check_empty, check_stack
from tests.fuzz.packets import (
    ACK,
    FIN,
    HOME,
    HOUR,
    PEERS,
    PORTS,
    RST,
    SECOND,
    SYN,
    Case,
    M,
    Step,
    flow_and_flags,
    ip_packet,
    mend,
    tcp_packet,
    valid,
)  # fmt: skip


class Door:
    """An owner: it only wants to hear."""


class User:
    """User calls of one stack, from steps; what they may raise is caught, and nothing else."""

    def __init__(self, stack: Stack, clock: Callable[[], int]) -> None:
        self.stack = stack
        # What raises for one endpoint is contained, and kept here instead of the log.
        stack.context.failures.held = True
        self.clock = clock
        self.listeners: list[Listener] = []
        self.connections: list[Connection] = []
        self.receive_limits: dict[int, int] = {}
        self.highest: dict[int, int] = {}
        self.written: dict[int, bytearray] = {}
        self.read: dict[int, bytearray] = {}
        self.seed = 0

    def check(self) -> None:
        for what, error in self.stack.context.failures.waiting:
            raise AssertionError(what) from error
        check_stack(self.stack, self.receive_limits, self.highest)

    def adopt(self, connection: Connection) -> None:
        self.connections.append(connection)
        self.written[id(connection)] = bytearray()
        self.read[id(connection)] = bytearray()
        connection.owner = Door()

    def connection(self, index: int) -> Connection | None:
        return self.connections[index % len(self.connections)] if self.connections else None

    def listener(self, index: int) -> Listener | None:
        return self.listeners[index % len(self.listeners)] if self.listeners else None

    def do(self, step: Step) -> bool:
        """A user call, if the step is one."""
        method = getattr(self, "do_" + step[0], None)
        if method is None:
            return False
        method(*step[1:])
        return True

    def do_listen(self, port: int, backlog: int, wildcard: bool) -> None:
        try:
            listener = self.stack.listen("0.0.0.0" if wildcard else self.stack.addresses[0], port, backlog)
        except OSError:
            return
        listener.owner = Door()
        self.listeners.append(listener)
        self.highest[id(listener)] = listener.backlog

    def do_backlog(self, index: int, backlog: int) -> None:
        if listener := self.listener(index):
            listener.set_backlog(backlog)
            self.highest[id(listener)] = max(self.highest[id(listener)], listener.backlog)

    def do_unlisten(self, index: int) -> None:
        if listener := self.listener(index):
            listener.close(self.clock())

    def do_accept(self, index: int) -> None:
        if (listener := self.listener(index)) and (connection := listener.accept()) is not None:
            self.adopt(connection)

    def do_connect(self, peer: str, port: int, local_port: int, options: list[Step]) -> None:
        def prepare(connection: ActiveConnection) -> None:
            self.adopt(connection)
            for option in options:
                self.set_option(connection, *option)

        try:
            self.stack.connect(peer, port, local_port=local_port, prepare=prepare)
        except OSError:
            return

    def do_send(self, index: int, size: int, urgent: bool) -> None:
        if connection := self.connection(index):
            self.seed += 1
            data = Random(self.seed).randbytes(size)
            try:
                taken = connection.send_urgent(data) if urgent else connection.send(data)
            except OSError:
                return
            assert 0 <= taken <= size
            self.written[id(connection)] += data[:taken]

    def do_receive(self, index: int, size: int) -> None:
        if connection := self.connection(index):
            data = connection.receive(size)
            assert len(data) <= size
            self.read[id(connection)] += data

    def do_shutdown(self, index: int) -> None:
        if connection := self.connection(index):
            connection.shutdown()

    def do_close(self, index: int) -> None:
        if connection := self.connection(index):
            connection.close(self.clock())

    def do_abort(self, index: int) -> None:
        if connection := self.connection(index):
            connection.abort(self.clock())

    def do_option(self, index: int, name: str, value: Any) -> None:
        if connection := self.connection(index):
            self.set_option(connection, name, value)

    def set_option(self, connection: Connection, name: str, value: Any) -> None:
        if name == "nodelay":
            connection.nodelay = bool(value)
            connection.send_soon()
        elif name == "cork":
            connection.set_cork(bool(value))
        elif name == "sndbuf":
            connection.limit_sending(value)
        elif name == "rcvbuf":
            receiver = connection.receiver
            held = connection.receive_limit or self.stack.settings.tcp_rmem[2]
            before = self.receive_limits.get(id(connection), 0)
            connection.limit_receiving(value)
            self.receive_limits[id(connection)] = max(before, value, held if receiver is not None or connection.id >= 0 else 0)
        elif name == "keepalive":
            patience = connection.need_patience()
            patience.keepalive = bool(value)
            patience.idle = patience.interval = max(value, 1) * SECOND
            connection.watch()
        elif name == "user_timeout":
            connection.need_patience().set_user_timeout(value)
            connection.watch()
        elif name == "congestion":
            connection.set_congestion_control(value)
        elif name == "ttl":
            connection.ttl, connection.tos = value, value & 0xFC
        elif name == "mss":
            connection.user_mss = value
        else:
            raise ValueError(name)

    def do_ready(self) -> None:
        for endpoint in self.stack.take_ready():
            assert not endpoint.notified
            if isinstance(endpoint, Connection):
                assert endpoint.readable() >= 0 and endpoint.writable() >= 0 and endpoint.urgent_left() >= 0

    def let_go(self) -> None:
        """The program ends: everything is accepted, read and closed."""
        now = self.clock()
        for listener in self.listeners:
            listener.close(now)
        for connection in self.connections:
            self.read[id(connection)] += connection.receive(1 << 30)
            connection.close(now)


class WireWorld:
    """One stack, and a test for the rest of the network."""

    def __init__(self, case: Case) -> None:
        self.clock = ManualClock(SECOND)
        self.device = MemoryDevice(case.get("mtu", 1500), 1 << 20)
        random = Random(1)
        settings = {name: tuple(value) if isinstance(value, list) else value for name, value in case["settings"].items()}
        self.stack = Stack(self.device, (HOME,), settings, self.clock, random.randbytes, case.get("slots", 64))
        self.user = User(self.stack, self.clock)
        self.injected: list[bytes] = []
        self.sent: list[bytes] = []
        self.digest = hashlib.sha256()
        self.last: dict[tuple[str, int, str, int], tuple[int, int, int]] = {}
        self.budget = 0
        self.calls = True
        self.waiting = 0
        self.resettable: set[Any] = set()

    def run(self, steps: list[Step]) -> None:
        for step in steps:
            if self.user.do(step):
                self.calls = True
                self.budget += 4
            else:
                getattr(self, "do_" + step[0])(*step[1:])
            self.user.check()
        self.do_poll()
        self.user.check()
        self.user.let_go()
        self.calls = True
        self.budget += 4 * (len(self.user.connections) + 1000)
        self.do_wait(30 * HOUR)
        self.user.check()
        check_empty(self.stack)

    # ---- time ----

    def do_poll(self) -> int:
        context = self.stack.context
        now = self.clock()
        timed = context.timers.next_deadline() <= now
        arrived = min(self.waiting, self.stack.received.slots)
        self.waiting -= arrived
        credit = self.budget + 4 * arrived + (4 * len(context.timers) if timed else 0)
        queued = sum(e.sender.buffer.length for e in context.endpoints if isinstance(e, Connection) and e.sender is not None)
        deadline = self.stack.poll(now)
        control = data = 0
        for packet in self.device.drain():
            ip = valid(packet, self.device.mtu)
            self.sent.append(packet)
            self.digest.update(packet)
            if ip.p != 6:
                control += 1
                continue
            tcp = ip.data
            control += not tcp.data
            data += len(tcp.data)
            ends = (".".join(map(str, ip.dst)), tcp.dport, ".".join(map(str, ip.src)), tcp.sport)
            if tcp.flags & RST:
                assert self.calls or timed or None in self.resettable or ends in self.resettable, "a RST for a RST"
            stamp = next((struct.unpack(">I", value[:4])[0] for kind, value in dpkt.tcp.parse_opts(tcp.opts) if kind == 8), 0)
            self.last[ends] = (tcp.seq + len(tcp.data) + bool(tcp.flags & SYN) + bool(tcp.flags & FIN) & M, tcp.ack, stamp)
        assert control <= credit, f"{control} packets without data for {arrived}"
        assert data <= 2 * queued + 4 * arrived * 1500 + 4096, f"{data} bytes sent of {queued} queued"
        self.budget = 0
        del self.sent[:-64]
        if not self.waiting:
            self.calls = False
            self.resettable.clear()
        return deadline

    def do_flush(self) -> None:
        self.stack.flush(self.clock())

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
        self.device.inject(packet)
        self.waiting += 1
        found = flow_and_flags(packet)
        if found is None:
            self.resettable.add(None)
        elif not found[1] & RST:
            self.resettable.add(found[0])

    def ends(self, target: int) -> tuple[str, int, str, int]:
        """Remote and local address and port: of a connection of the program's (below 0), or any."""
        if target < 0 and self.user.connections:
            flow = self.user.connections[target % len(self.user.connections)].handshake.flow
            return flow.remote_address, flow.remote_port, flow.local_address, flow.local_port
        target = abs(target)
        return PEERS[target % 2], 40000 + target // 2 % 64, HOME, PORTS[target // 128 % 3]

    def numbers(self, ends: tuple[str, int, str, int]) -> dict[str, int]:
        """What the stack expects of a peer."""
        seq, ack, stamp = self.last.get(ends, (0, 0, 0))
        known = {"z": 0, "n": ack, "a": ack, "i": ack - 1, "N": seq, "U": seq, "I": seq - 1, "t": 1000, "e": stamp}
        flow = FourTuple(ends[2], ends[3], ends[0], ends[1])
        number = self.stack.context.demux.find(flow)
        endpoint: Any = self.stack.context.endpoints[number] if number >= 0 else None
        if endpoint is not None:
            known |= {"n": endpoint.rcv_nxt, "N": endpoint.snd_nxt, "t": endpoint.ts_recent}
            known |= {"i": endpoint.handshake.irs, "I": endpoint.handshake.iss}
            if isinstance(endpoint, Connection):
                known |= {"a": endpoint.rcv_adv, "U": endpoint.snd_una}
            return known
        for listener in self.user.listeners:
            request = listener.syn_queue.get(flow)
            if request is not None:
                return known | {"n": request.irs + 1, "i": request.irs, "N": request.iss + 1, "I": request.iss, "U": request.iss + 1}
        return known

    def do_segment(
        self, target: int, flags: int, seq: Step, ack: Step, window: int, options: list[Step], size: int, urgent: int, copies: int,
        codepoint: int = 0,
    ) -> None:
        ends = self.ends(target)
        known = self.numbers(ends)
        raw = b""
        for kind, value in options:
            if kind == "mss":
                raw += struct.pack(">BBH", 2, 4, value)
            elif kind == "wscale":
                raw += bytes((1, 3, 3, value))
            elif kind == "sackok":
                raw += bytes((1, 1, 4, 2))
            elif kind == "ts":
                raw += struct.pack(">BBBBII", 1, 1, 8, 10, known["t"] + value[0] & M, known["e"] + value[1] & M)
            elif kind == "sack":
                edges = [known[base] + offset & M for base, offset in value]
                raw += struct.pack(f">BBBB{len(edges)}I", 1, 1, 5, 2 + 4 * len(edges), *edges)
            else:
                raw += bytes.fromhex(value)
        data = bytes(size)
        packet = tcp_packet(ends, known[seq[0]] + seq[1], known[ack[0]] + ack[1] if ack else 0, flags, window, raw, data, urgent)
        if codepoint:
            changed = bytearray(packet)
            changed[1] = codepoint
            mend(changed)
            packet = bytes(changed)
        for _ in range(copies):
            self.inject(packet)

    def do_icmp(self, target: int, kind: int, code: int, rest: int, seq: Step, quoted: int, source: int) -> None:
        ends = self.ends(target)
        known = self.numbers(ends)
        about = tcp_packet((*ends[2:], *ends[:2]), known[seq[0]] + seq[1], 0, ACK, 100, b"", b"quoted data", 0)[:quoted]
        body = struct.pack(">BBHI", kind, code, 0, rest) + about
        packet = bytearray(ip_packet(("198.18.0.254", ends[0])[source], HOME, 1, body))
        mend(packet)
        self.inject(bytes(packet))

    def do_raw(self, text: str) -> None:
        self.inject(bytes.fromhex(text))

    def do_again(self, which: int, changes: list[tuple[int, int]], cut: int, mended: bool, mirrored: bool) -> None:
        """A packet that was there before: as it was, changed, cut, or one of the stack's own sent back to it."""
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
        self.users = (User(self.twins.a, self.twins.clock), User(self.twins.b, self.twins.clock))
        self.users[1].seed = 1 << 32

    def check(self) -> None:
        for user, other in (self.users, self.users[::-1]):
            user.check()
            for connection in user.connections:
                data = user.read[id(connection)]
                if not data:
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
        self.do_wait(30 * HOUR)
        self.check()
        for user in self.users:
            check_empty(user.stack)

    def do_wait(self, ns: int) -> None:
        self.twins.pass_time(ns / SECOND)

    def do_link(self, direction: int, fields: dict[str, Any]) -> None:
        link = self.twins.link.back if direction else self.twins.link.forth
        link.impairment = Impairment(**fields)
