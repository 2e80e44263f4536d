"""Cases of the sequence fuzzer: drawn from a seed, run step by step with every invariant checked, and made smaller when one fails.

A case is plain JSON: a mode, settings and steps. Steps name connections, listeners and sequence numbers relative to what is there when they
run, so that a case stays a case when steps are dropped.
"""

from __future__ import annotations

import hashlib
import json
import signal
import struct
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import dpkt

from fastnet._flow import FourTuple
from fastnet.clock import ManualClock
from fastnet.devices import Impairment, MemoryDevice
from fastnet.stack import NEVER, Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.opening import ActiveConnection
from fastnet.tcp.states import State
from fastnet.tcp.timewait import TimeWait
from fastnet.twins import Twins
from tests.pair import check

Case = dict[str, Any]
Step = list[Any]

HOME = "198.18.0.2"
PEERS = ("198.18.0.1", "198.18.7.7")
PORTS = (80, 81, 8080)
SECOND = 1_000_000_000
MILLISECOND = 1_000_000
HOUR = 3600 * SECOND
M = 0xFFFFFFFF
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
CORPUS = Path(__file__).parent / "corpus"
LIMIT = 10
"""Seconds that a case may run; most are over after some milliseconds."""
UNSYNCHRONIZED = (State.SYN_SENT, State.SYN_RECEIVED)


# ---- Packets ----


def address(text: str) -> bytes:
    return bytes(int(word) for word in text.split("."))


def ip_packet(source: str, target: str, protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0, address(source), address(target))
    return header[:10] + struct.pack(">H", dpkt.in_cksum(header)) + header[12:] + payload


def mend(packet: bytearray) -> None:
    """Good checksums, where the lengths allow it."""
    size = (packet[0] & 15) * 4
    if len(packet) < 20 or size < 20 or size > len(packet):
        return
    packet[10:12] = b"\0\0"
    packet[10:12] = struct.pack(">H", dpkt.in_cksum(bytes(packet[:size])))
    end = min(len(packet), struct.unpack(">H", packet[2:4])[0])
    where = {6: 16, 1: 2}.get(packet[9])
    if where is None or end < size + where + 2:
        return
    packet[size + where : size + where + 2] = b"\0\0"
    body = bytes(packet[size:end])
    pseudo = bytes(packet[12:20]) + struct.pack(">HH", 6, len(body)) if packet[9] == 6 else b""
    packet[size + where : size + where + 2] = struct.pack(">H", dpkt.in_cksum(pseudo + body))


def tcp_packet(
    ends: tuple[str, int, str, int], seq: int, ack: int, flags: int, window: int, options: bytes, data: bytes, urg: int
) -> bytes:
    """A segment from ends[:2] to ends[2:]."""
    options = options[:40]
    options += bytes(-len(options) % 4)
    offset = 5 + len(options) // 4
    segment = struct.pack(">HHIIBBHHH", ends[1], ends[3], seq & M, ack & M, offset << 4, flags, window & 0xFFFF, 0, urg) + options + data
    packet = bytearray(ip_packet(ends[0], ends[2], 6, segment))
    mend(packet)
    return bytes(packet)


def flow_and_flags(packet: bytes) -> tuple[tuple[str, int, str, int], int] | None:
    """Whom a packet is for (remote first), and its flags; None where that cannot be told."""
    size = (packet[0] & 15) * 4 if packet else 0
    if len(packet) < size + 20 or size < 20 or packet[9] != 6:
        return None
    sport, dport = struct.unpack(">HH", packet[size : size + 4])
    return (".".join(map(str, packet[12:16])), sport, ".".join(map(str, packet[16:20])), dport), packet[size + 13]


def valid(packet: bytes, mtu: int) -> dpkt.ip.IP:
    """What the stack sent, as dpkt reads it; it must be in order."""
    assert len(packet) <= mtu, "longer than the device takes"
    ip = dpkt.ip.IP(packet)
    assert ip.len == len(packet), "the IP header's length"
    assert dpkt.in_cksum(packet[: 4 * ip.hl]) == 0, "the IP header's checksum"
    body = packet[4 * ip.hl :]
    if ip.p == 6:
        assert dpkt.in_cksum(packet[12:20] + struct.pack(">HH", 6, len(body)) + body) == 0, "the TCP checksum"
        tcp = ip.data
        assert isinstance(tcp, dpkt.tcp.TCP)
        dpkt.tcp.parse_opts(tcp.opts)
        flags = tcp.flags
        assert not (flags & SYN and flags & (FIN | RST)), "a SYN with FIN or RST"
        assert flags & (SYN | ACK | RST), "neither SYN nor ACK nor RST"
        assert not (flags & RST and tcp.data), "a RST with data"
        assert not (ip.tos & 3 and not tcp.data) and ip.tos & 3 != 3, "ECN: only data may be marked, and not by us"
        assert not (flags & RST and flags & (ECE | CWR)) and not (flags & CWR and not tcp.data and not flags & SYN), "ECN flags"
    else:
        assert ip.p == 1 and dpkt.in_cksum(body) == 0, "the ICMP checksum"
    return ip


# ---- What holds between any two steps ----


def check_stack(stack: Stack, receive_limits: dict[int, int], highest: dict[int, int]) -> None:
    """The tables of a stack agree with each other, and every bound is kept.

    :param receive_limits: id() of a connection -> the largest receive buffer it ever had; ``highest``: of a listener -> backlog
    """
    context = stack.context
    flows = established = waiting = 0
    handles: list[int] = []
    for number, endpoint in enumerate(context.endpoints):
        if endpoint is None:
            continue
        assert endpoint.id == number, "an endpoint knows its place"
        if endpoint.timer >= 0:
            handles.append(endpoint.timer)
        if isinstance(endpoint, Listener):
            assert not endpoint.closed
            check_listener(endpoint, highest.get(id(endpoint), endpoint.backlog), handles)
            continue
        flows += 1
        assert context.demux.find(endpoint.handshake.flow) == number, "the demux has it under its 4-tuple"
        assert endpoint.timer >= 0 or not isinstance(endpoint, TimeWait), "TIME-WAIT ends"
        if isinstance(endpoint, TimeWait):
            waiting += 1
            continue
        established += endpoint.state in (State.ESTABLISHED, State.CLOSE_WAIT)
        assert endpoint.state not in (State.CLOSED, State.LISTEN, State.TIME_WAIT), "what is over is nowhere"
        check(endpoint, receive_limits.get(id(endpoint), 0))
        check_end(endpoint)
    assert len(context.demux) == flows, "every 4-tuple of the demux has an endpoint"
    assert context.time_wait_count == waiting <= stack.settings.tcp_max_tw_buckets, "TIME-WAIT, recounted"
    assert stack.counters.TcpCurrEstab == established, "TcpCurrEstab, recounted"
    assert len(set(handles)) == len(handles) == len(context.timers), "every timer has one owner that is there"
    assert all(endpoint.notified for endpoint in context.ready) and len({*map(id, context.ready)}) == len(context.ready)
    assert len({*map(id, context.outbox)}) == len(context.outbox), "nobody waits twice to send"


def check_listener(listener: Listener, highest: int, handles: list[int]) -> None:
    assert len(listener.accept_queue) <= highest + 1, "accept queue"
    assert len(listener.syn_queue) <= highest + 1, "syn queue"
    assert listener.young == sum(request.timeouts == 0 for request in listener.syn_queue.values()), "young, recounted"
    for flow, request in listener.syn_queue.items():
        assert request.flow == flow and request.timer >= 0, "a request ends"
        handles.append(request.timer)


def check_end(connection: Connection) -> None:
    """What must come to an end has a timer for it."""
    if connection.state in UNSYNCHRONIZED or connection.state == State.FIN_WAIT_2 and connection.orphan:
        assert connection.state_deadline and connection.timer >= 0, "a state that ends has a deadline"
    if connection.state in (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK):
        assert connection.sender is not None
        assert connection.queued or connection.timer >= 0 and connection.sender.deadline, "a FIN is sent until it arrives"
    patience = connection.patience
    if patience is not None and patience.keepalive and connection.state not in UNSYNCHRONIZED:
        assert connection.queued or connection.timer >= 0, "keep-alive has a timer"


def check_empty(stack: Stack) -> None:
    """Everything has been closed, and hours have passed."""
    context = stack.context
    left = [endpoint for endpoint in context.endpoints if endpoint is not None]
    assert not left, f"still there: {[type(e).__name__ + ' ' + str(getattr(e, 'state', '')) for e in left]}"
    assert len(context.demux) == len(context.timers) == context.time_wait_count == stack.counters.TcpCurrEstab == 0
    assert not context.outbox and context.timers.next_deadline() == NEVER
    context.demux.settle()
    numbers = {context.demux.insert(FourTuple("10.0.0.1", 1, "10.0.0.2", i + 1)) for i in range(len(context.endpoints))}
    assert numbers == set(range(len(context.endpoints))), "every number is free again"


class Door:
    """An owner: it only wants to hear."""


class User:
    """User calls of one stack, from steps; what they may raise is caught, and nothing else."""

    def __init__(self, stack: Stack, clock: Callable[[], int]) -> None:
        self.stack = stack
        self.clock = clock
        self.listeners: list[Listener] = []
        self.connections: list[Connection] = []
        self.receive_limits: dict[int, int] = {}
        self.highest: dict[int, int] = {}
        self.written: dict[int, bytearray] = {}
        self.read: dict[int, bytearray] = {}
        self.seed = 0

    def check(self) -> None:
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


# ---- Drawing cases ----


def draw_settings(random: Random) -> dict[str, Any]:
    """Settings; most stay as they are."""
    buffers = ([4096, 131072, 6291456], [2048, 2048, 2048], [1024, 1024, 1024], [4096, 8192, 8192], [4096, 8192, 262144])
    choices: dict[str, tuple[Any, ...]] = {
        "tcp_syncookies": (0, 1, 2),
        "tcp_max_syn_backlog": (1, 4, 16),
        "somaxconn": (0, 1, 3, 64),
        "tcp_synack_retries": (0, 1, 2),
        "tcp_abort_on_overflow": (0, 1),
        "fastnet_young_request_rule": (0, 1),
        "tcp_timestamps": (0, 1),
        "tcp_window_scaling": (0, 1),
        "tcp_sack": (0, 1),
        "tcp_dsack": (0, 1),
        "tcp_ecn": (0, 1, 2),
        "tcp_ecn_fallback": (0, 1),
        "tcp_fin_timeout": (0, 1, 60),
        "tcp_max_tw_buckets": (0, 1, 4),
        "tcp_rfc1337": (0, 1),
        "tcp_syn_retries": (0, 1, 3),
        "tcp_retries1": (0, 1),
        "tcp_retries2": (0, 1, 3),
        "tcp_orphan_retries": (1, 2),
        "tcp_frto": (0, 2),
        "tcp_slow_start_after_idle": (0, 1),
        "tcp_congestion_control": ("cubic", "reno", "none"),
        "tcp_min_snd_mss": (48, 500),
        "tcp_notsent_lowat": (1, 4000, 1 << 30),
        "ip_local_port_range": ([40000, 40003], [32768, 60999]),
        "tcp_rmem": buffers,
        "tcp_wmem": buffers,
    }
    chance = random.choice((0.1, 0.3, 0.6))
    return {name: random.choice(values) for name, values in choices.items() if random.random() < chance}


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
        name = self.pick("nodelay", "cork", "sndbuf", "rcvbuf", "keepalive", "user_timeout", "congestion", "ttl")
        values: dict[str, tuple[Any, ...]] = {
            "nodelay": (0, 1), "cork": (0, 1), "sndbuf": (4608, 20000, 1 << 20), "rcvbuf": (2304, 20000, 1 << 20), "keepalive": (0, 1, 30),
            "user_timeout": (0, 1, 1000, 90_000), "congestion": ("cubic", "reno", "none"), "ttl": (0, 1, 255),
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
        if kind < 0.95:
            return ["option", which, *self.option()]
        if kind < 0.97:
            return ["backlog", random.randrange(3), self.pick(0, 1, 4, 100)]
        if kind < 0.98:
            return ["unlisten", random.randrange(3)]
        return ["ready"]

    def impairment(self) -> dict[str, Any]:
        chance = (0.0, 0.0, 0.01, 0.1, 0.3)
        return {
            "loss": self.pick(*chance, 1.0), "mark": self.pick(*chance),
            "duplicate": self.pick(*chance), "reorder": self.pick(*chance), "corrupt": self.pick(*chance),
            "delay": self.pick(0, MILLISECOND, 20 * MILLISECOND, 300 * MILLISECOND), "jitter": self.pick(0, 0, MILLISECOND, SECOND),
            "rate": self.pick(0, 0, 50_000, 1_000_000), "queue": self.pick(2, 10, 1000),
        }  # fmt: skip


def draw(seed: int, mode: str | None = None) -> Case:
    """The case that a seed stands for."""
    random = Random(f"fastnet {seed}")
    drawing = Drawing(random)
    mode = mode or random.choice(("wire", "wire", "wire", "twins"))
    case: Case = {"mode": mode, "seed": seed, "settings": draw_settings(random), "steps": []}
    case["mtu"] = random.choice((1500, 1500, 576, 9000))
    case["slots"] = random.choice((64, 64, 2))
    steps: list[Step] = case["steps"]
    length = random.choice((10, 40, 120, 300))
    if mode == "twins":
        case["settings_b"] = draw_settings(random)
        steps.append(["on", 1, ["listen", 80, random.choice((0, 2, 100)), True]])
        while len(steps) < length // 2:
            kind = random.random()
            if kind < 0.1:
                steps.append(["link", random.randrange(2), drawing.impairment()])
            elif kind < 0.45:
                steps.append(["wait", drawing.span()])
            elif kind < 0.50:
                steps += [["on", 0, ["connect", HOME, 80, 0, []]], ["wait", SECOND], ["on", 1, ["accept", 0]]]
            else:
                side = random.randrange(2)
                steps.append(["on", side, drawing.call(HOME if side == 0 else PEERS[0], (80, 80, 40000))])
        return case
    steps.append(["listen", 80, random.choice((0, 1, 5, 100)), True])
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
    return case


# ---- Running, and making smaller ----


def too_long(number: int, frame: object) -> None:
    raise TimeoutError(f"not over after {LIMIT} s")


def run(case: Case) -> None:
    """Replay a case; an exception is a failure, and so is one that does not come to an end."""
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT)
    try:
        world = TwinsWorld(case) if case["mode"] == "twins" else WireWorld(case)
        world.run(case["steps"])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def digest(case: Case) -> str:
    """A hash of all that a wire case's stack sends: the same compiled and uncompiled."""
    world = WireWorld(case)
    world.run(case["steps"])
    return world.digest.hexdigest()


def failure(case: Case) -> str | None:
    """What is wrong with a case: where and what, without the numbers; None when nothing is."""
    try:
        run(case)
    except Exception as error:
        if isinstance(error, TimeoutError):
            return str(error)
        frames = traceback.extract_tb(error.__traceback__)
        frames = [frame for frame in frames if frame.filename != __file__ or frame.name.startswith("check")]
        where = f"{Path(frames[-1].filename).name} {frames[-1].name}" if frames else "engine"
        text = "".join("#" if letter.isdigit() else letter for letter in str(error).partition("\n")[0][:100])
        return f"{type(error).__name__} in {where}: {text}"
    return None


def reduce(case: Case, wanted: str) -> Case:
    """The same failure with fewer steps and settings."""
    case = json.loads(json.dumps(case))
    size = len(case["steps"]) // 2
    while size:
        at = 0
        while at < len(case["steps"]):
            fewer = {**case, "steps": case["steps"][:at] + case["steps"][at + size :]}
            if failure(fewer) == wanted:
                case = fewer
            else:
                at += size
        size //= 2
    for group in ("settings", "settings_b"):
        for name in list(case.get(group, ())):
            fewer = {**case, group: {key: value for key, value in case[group].items() if key != name}}
            if failure(fewer) == wanted:
                case = fewer
    return case


def save(case: Case, path: Path) -> None:
    """Write a case down, a step a line."""
    head = {key: value for key, value in case.items() if key != "steps"}
    steps = ",\n".join(" " + json.dumps(step) for step in case["steps"])
    path.write_text(json.dumps(head)[:-1] + ', "steps": [\n' + steps + "\n]}\n")
