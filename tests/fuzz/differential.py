"""The differential mode: the same packets to the kernel, over a TUN in a namespace, and to a stack in memory; what they answer is compared.

A case is a socket (one that listens or one that connects, with a small program behind it) and the segments that a peer sends to it. The
kernel plays first, many cases at once, in real time; then the stack plays each, with a clock that shows what the kernel's showed. What
may differ is left out of what is compared: initial sequence numbers, the values of timestamps, the size of windows, when an ACK goes
out and with what, retransmissions. What differs all the same must be one of ``DIFFERENCES``.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import dpkt

from fastnet._ring import PacketRing
from fastnet.clock import ManualClock
from fastnet.devices import MemoryDevice
from fastnet.netns import Namespace, sysctl
from fastnet.stack import Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.states import State
from tests.fuzz.packets import ACK, FIN, MILLISECOND, PSH, RST, SECOND, SYN, URG, Case, M, Step, tcp_packet

KERNEL = "198.18.0.1"
PEER = "198.18.0.2"
ISS = 100_000
GAP = 0.3
"""Seconds between two steps: longer than any ACK is delayed, and two of them longer than tcp_invalid_ratelimit."""
PORTS = {"echo": 7001, "sink": 7002, "mute": 7003, "source": 7004, "nobody": 7009}
"""Programs: one sends back what it reads, one reads, one does neither, one sends 5,000 bytes; and a port where nobody listens."""
SOURCE = bytes(i % 251 for i in range(5000))
WINDOW = 64240
HALF = 1 << 31


# ---- Drawing ----


def draw(seed: int) -> Case:
    """The case that a seed stands for."""
    random = Random(f"differential {seed}")
    pick = random.choice
    stamped, sacked, scaled = (random.random() < 0.5 for _ in range(3))
    options: list[Step] = [["mss", pick((1460, 1460, 536, 1000))]]
    options += [["sackok"]] * sacked + [["ts", 0]] * stamped + [["wscale", pick((0, 7))]] * scaled
    usual: list[Step] = [["ts", 0]] if stamped else []
    program = pick(("echo", "echo", "echo", "sink", "mute", "source", "nobody"))
    case: Case = {"seed": seed, "role": pick(("listen", "listen", "connect")), "program": program, "usual": usual, "steps": []}
    steps: list[Step] = case["steps"]

    def segment(flags: int, seq: int = 0, ack: int | None = 0, size: int = 0, chosen: list[Step] | None = None, urg: int = 0) -> Step:
        """``seq``: from what the peer would send next; ``ack``: from all that it has seen, None without."""
        return ["segment", flags, seq, ack, size, usual if chosen is None else chosen, urg]

    if case["role"] == "listen":
        steps.append(segment(SYN, 0, None, pick((0, 0, 0, 0, 100)), options))
        if random.random() < 0.2:
            steps.append(strange_in_syn_received(random, segment, options))
        steps.append(segment(ACK | pick((0, 0, 0, FIN)), 0, 0, pick((0, 0, 0, 200))))
    else:
        case["program"] = program = "sink" if program == "nobody" else program
        if random.random() < 0.3:
            steps.append(strange_in_syn_sent(random, segment, options))
        steps.append(segment(SYN | ACK, 0, 0, 0, options))
    steps.extend(random_step(random, segment, stamped) for _ in range(random.randrange(4, 10)))
    return case


def strange_in_syn_received(random: Random, segment: Callable[..., Step], options: list[Step]) -> Step:
    return random.choice((
        segment(SYN, -1, None, 0, options), segment(ACK, 0, random.choice((-1, 1, 1000))), segment(RST, 0, None), segment(RST, 50, None),
        segment(RST, -5, None), segment(SYN | ACK, -1, 0, 0, options), segment(ACK, 1_000_000, 0), segment(0, 0, None),
        segment(FIN, 0, None), segment(SYN, 300, None, 0, options), segment(RST | ACK, 0, 5), segment(ACK, 20, 0, 10),
    ))  # fmt: skip


def strange_in_syn_sent(random: Random, segment: Callable[..., Step], options: list[Step]) -> Step:
    return random.choice((
        segment(SYN | ACK, 0, 1, 0, options), segment(RST, 0, None), segment(RST | ACK, 0, 0), segment(RST | ACK, 0, 7), segment(ACK, 0, 0),
        segment(ACK, 0, 9), segment(FIN, 0, None), segment(0, 0, None), segment(SYN, 0, None, 0, options),
    ))  # fmt: skip


def random_step(random: Random, segment: Callable[..., Step], stamped: bool) -> Step:
    pick = random.choice
    kind = random.random()
    size = pick((1, 10, 100, 500, 1000))
    if kind < 0.28:
        return segment(ACK | pick((0, PSH)), 0, 0, size)
    if kind < 0.38:
        return segment(ACK, pick((1, 100, 500, 1000, 3000)), 0, size)
    if kind < 0.46:
        return segment(ACK, pick((-1, -10, -100, -1000)), 0, size)
    if kind < 0.52:
        return segment(ACK, 0, pick((0, 0, -1, -100)))
    if kind < 0.57:
        return segment(ACK, pick((0, 0, -1, 10)), pick((1, 1000, 70_000, -70_000, HALF)), pick((0, 0, 20)))
    if kind < 0.65:
        return segment(FIN | ACK, pick((0, 0, 0, 200)), 0, pick((0, 0, 50)))
    if kind < 0.70:
        return segment(pick((RST, RST | ACK)), pick((0, 1, 500, -1, 2_000_000)), 0)
    if kind < 0.75:
        return segment(pick((SYN, SYN, SYN | ACK)), pick((0, 1, -1, 500, 2_000_000)), 0)
    if kind < 0.79:
        return segment(ACK, pick((2_000_000, -2_000_000)), 0, pick((0, 1, 100)))
    if kind < 0.82:
        return segment(pick((0, PSH, FIN, URG)), 0, None, pick((0, 10)))
    if kind < 0.85 and stamped:
        return segment(ACK, 0, 0, pick((0, 10)), [["ts", pick((-10_000, -1_000_000))]])
    if kind < 0.87 and stamped:
        return segment(ACK, 0, 0, pick((0, 10)), [])
    if kind < 0.97:
        return ["program", pick(("send", "send", "shutdown", "close", "abort"))]
    return ["wait"]


# ---- What a peer sees ----


@dataclass
class Side:
    """The peer of one socket, the kernel's or the stack's: what it has seen, and the segments that it sends.

    :ivar irs: the socket's initial sequence number; ``seen``: the end of all that came in order, counted from there
    :ivar sent: what the peer would send next, counted from its own; ``highest``: the end of all that it sent
    :ivar finished: it has sent a FIN in order
    :ivar opened: it has sent the last segment of the handshake; ``answered``: it has seen an answer to its SYN
    :ivar acknowledged: what it has acknowledged of ``seen``
    """

    case: Case
    home: tuple[str, int]
    peer: tuple[str, int]
    irs: int = 0
    seen: int = 0
    sent: int = 0
    highest: int = 0
    finished: bool = False
    opened: bool = False
    answered: bool = False
    acknowledged: int = 0
    stamp: int = 0
    found: dict[str, Any] = field(default_factory=dict)

    def build(self, step: Step, now_ms: int) -> bytes:
        """The packet of a step."""
        _, flags, seq, ack, size, options, urg = step
        raw = b""
        for kind, *value in options:
            if kind == "mss":
                raw += struct.pack(">BBH", 2, 4, value[0])
            elif kind == "wscale":
                raw += bytes((1, 3, 3, value[0]))
            elif kind == "sackok":
                raw += bytes((1, 1, 4, 2))
            else:
                raw += struct.pack(">BBBBII", 1, 1, 8, 10, 1_000_000_000 + now_ms + value[0] & M, self.stamp if flags & ACK else 0)
        begin = self.sent + seq
        data = bytes((begin + i) % 241 for i in range(size))
        number = self.irs + self.seen + ack if ack is not None else 0
        end = begin + size + bool(flags & SYN) + bool(flags & FIN)
        if abs(seq) < 5000 and not flags & (SYN | RST):
            self.highest = max(self.highest, end)
        self.opened = self.opened or flags & (RST | ACK) == ACK and seq == ack == 0
        if seq <= 0 and not flags & RST and end > self.sent and (ack == 0 or flags & SYN) and end - self.sent < 3000:
            # In order, and with an ACK that will be taken: the peer goes on from there.
            self.sent = end
            self.highest = max(self.highest, end)
            self.finished = self.finished or flags & FIN != 0
        return tcp_packet((*self.peer, *self.home), ISS + begin, number, flags | (ACK if ack is not None else 0), WINDOW, raw, data, urg)

    def arrived(self, packet: bytes, now_ms: int) -> bytes | None:
        """A packet of the socket's. New data is acknowledged at once, or what the two do would soon depend on how they retransmit."""
        self.look(dpkt.ip.IP(packet).data)
        if self.seen <= self.acknowledged or not self.sent:
            return None
        self.acknowledged = self.seen
        return self.build(["segment", ACK, self.highest - self.sent, 0, 0, self.case["usual"], 0], now_ms)

    def summary(self) -> dict[str, Any]:
        """What came since the last call, without what may differ."""
        found, self.found = self.found, {}
        return found

    def look(self, tcp: dpkt.tcp.TCP) -> None:
        """Note what a segment says."""
        found = self.found
        options = dict(dpkt.tcp.parse_opts(tcp.opts))
        if 8 in options and (self.opened or tcp.flags & SYN):
            self.stamp = struct.unpack(">I", options[8][:4])[0]
        ack = (tcp.ack - ISS) & M
        if tcp.flags & SYN:
            if tcp.seq == self.irs and (self.answered or not tcp.flags & ACK):
                return
            self.answered = self.case["role"] == "connect" and tcp.flags & ACK != 0
            if tcp.seq != self.irs:
                self.irs, self.seen, self.acknowledged = tcp.seq, 1, 1
            mss = struct.unpack(">H", options[2])[0] if 2 in options else 0
            found["syn-ack" if tcp.flags & ACK else "syn"] = (mss, 3 in options, 4 in options, 8 in options, ack if tcp.flags & ACK else 0)
            return
        begin = tcp.seq - self.irs & M
        if tcp.flags & RST:
            # Without a connection its number is nought (RFC 9293 section 3.10.7.1).
            found["rst"] = (begin if tcp.seq else 0, ack if tcp.flags & ACK else None)
            return
        new = bytes(tcp.data)[self.seen - begin :]
        if begin > self.seen or begin < self.seen and not new:
            # A probe, or what is sent again: no news.
            return
        if new:
            size, checksum = found.get("data", (0, 0))
            found["data"] = (size + len(new), zlib.crc32(new, checksum))
            self.seen += len(new)
        if tcp.flags & FIN and begin + len(tcp.data) == self.seen:
            found["fin"] = self.seen
            self.seen += 1
        found["ack"] = ack
        if 5 in options:
            edges = struct.unpack(f">{len(options[5]) // 4}I", options[5])
            found.setdefault("sack", [(edge - ISS) & M for edge in edges])
        found["shut"] = tcp.win == 0 and not self.finished


# ---- The kernel ----


class KernelSocket:
    """One case's socket in the kernel, and the program behind it."""

    def __init__(self, case: Case, index: int) -> None:
        self.program = case["program"]
        self.sock: socket.socket | None = None
        self.pending = b""
        self.closed = False
        self.peer = (PEER, 20_000 + index)
        if case["role"] == "listen":
            self.side = Side(case, (KERNEL, PORTS[self.program]), self.peer)
            return
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        sock.bind((KERNEL, 0))
        assert sock.connect_ex(self.peer) == errno.EINPROGRESS
        self.side = Side(case, sock.getsockname(), self.peer)
        self.start(sock)

    def start(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.program == "source":
            self.pending = SOURCE

    def work(self) -> None:
        """The program's turn."""
        if self.sock is None or self.closed:
            return
        try:
            if self.program != "mute":
                while data := self.sock.recv(65536):
                    if self.program == "echo":
                        self.pending += data
        except BlockingIOError:
            pass
        except OSError:
            self.pending = b""
            return
        try:
            while self.pending:
                self.pending = self.pending[self.sock.send(self.pending) :]
        except BlockingIOError:
            pass
        except OSError:
            self.pending = b""

    def do(self, what: str) -> None:
        if self.sock is None or self.closed:
            return
        if what == "send":
            self.pending += b"x" * 700
        elif what == "shutdown":
            # When it is over, there is nothing to shut down.
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)
        else:
            if what == "abort":
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.closed = True
            self.sock.close()


def play_kernel(cases: list[Case]) -> tuple[list[list[dict[str, Any]]], list[int]]:
    """All cases at once: of each its summaries, step by step; and when the steps were, ms."""
    rounds = max(len(case["steps"]) for case in cases) + 1
    with Namespace() as namespace:
        for name, value in (("tcp_fastopen", 0), ("tcp_ecn", 0), ("tcp_max_syn_backlog", 4096), ("tcp_abort_on_overflow", 0)):
            sysctl(f"net.ipv4.{name}", value)
        tun = namespace.add_tun(f"{KERNEL}/24")
        listeners = {}
        for program, port in PORTS.items():
            if program != "nobody":
                listeners[program] = socket.create_server((KERNEL, port), backlog=1000)
                listeners[program].setblocking(False)
                listeners[program].setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        ring = PacketRing(256, 2048)
        out = PacketRing(256, 2048)
        selector = selectors.DefaultSelector()
        selector.register(tun.fileno(), selectors.EVENT_READ)
        for listener in listeners.values():
            selector.register(listener, selectors.EVENT_READ)
        sockets = [KernelSocket(case, i) for i, case in enumerate(cases)]
        by_peer = {entry.peer[1]: entry for entry in sockets}

        started = time.monotonic()

        def turn() -> None:
            for listener in listeners.values():
                try:
                    while True:
                        sock, address = listener.accept()
                        by_peer[address[1]].start(sock)
                except BlockingIOError:
                    pass
            for entry in sockets:
                entry.work()
            while tun.receive(ring):
                for slot in range(ring.count):
                    packet = ring.packet(slot).tobytes()
                    if packet[9] == 6:
                        side = by_peer[int.from_bytes(packet[22:24], "big")].side
                        if (answer := side.arrived(packet, round((time.monotonic() - started) * 1000))) is not None:
                            out.append(answer)
                ring.clear()
                tun.transmit(out)

        summaries: list[list[dict[str, Any]]] = [[] for _ in cases]
        times = []
        last = started
        for number in range(rounds):
            # From when the last step was in fact: two of them are never nearer to each other than that.
            end = last + GAP
            while (left := end - time.monotonic()) > 0:
                selector.select(min(left, 0.02))
                turn()
            turn()
            for entry, said in zip(sockets, summaries, strict=True):
                said.append(entry.side.summary())
            now = time.monotonic()
            times.append(round((now - started) * 1000))
            for entry, case in zip(sockets, cases, strict=True):
                if number < len(case["steps"]):
                    step = case["steps"][number]
                    if step[0] == "segment":
                        out.append(entry.side.build(step, times[-1]))
                        if out.count >= 64:
                            # The device's queue of answers is no longer than 500.
                            tun.transmit(out)
                            turn()
                    elif step[0] == "program":
                        entry.do(step[1])
            tun.transmit(out)
            last = time.monotonic()
        while time.monotonic() < last + GAP:
            selector.select(0.02)
            turn()
        for entry, said in zip(sockets, summaries, strict=True):
            said.append(entry.side.summary())
            if entry.sock is not None:
                entry.sock.close()
        for listener in listeners.values():
            listener.close()
        selector.close()
    return summaries, times


# ---- The stack ----


class StackSocket:
    """One case's socket in a stack of its own, and the program behind it."""

    def __init__(self, case: Case, index: int) -> None:
        self.case = case
        self.program = case["program"]
        self.clock = ManualClock(SECOND)
        self.device = MemoryDevice(1500)
        self.stack = Stack(self.device, (KERNEL,), {}, self.clock, Random(index).randbytes)
        self.connection: Connection | None = None
        self.listener = None
        self.pending = b""
        peer = (PEER, 20_000 + index)
        if case["role"] == "listen":
            if self.program != "nobody":
                self.listener = self.stack.listen(KERNEL, PORTS[self.program], 1000)
            self.side = Side(case, (KERNEL, PORTS[self.program]), peer)
        else:
            self.start(self.stack.connect(*peer))
            assert self.connection is not None
            self.side = Side(case, (KERNEL, self.connection.handshake.flow.local_port), peer)

    def start(self, connection: Connection) -> None:
        self.connection = connection
        connection.nodelay = True
        if self.program == "source":
            self.pending = SOURCE

    def work(self) -> None:
        """The program's turn, and the stack's."""
        if self.listener is not None and self.connection is None and (connection := self.listener.accept()) is not None:
            self.start(connection)
        connection = self.connection
        if connection is not None and not connection.orphan and connection.state != State.SYN_SENT:
            if self.program != "mute":
                data = connection.receive(1 << 20)
                if self.program == "echo":
                    self.pending += data
            try:
                while self.pending and (taken := connection.send(self.pending)):
                    self.pending = self.pending[taken:]
            except OSError:
                self.pending = b""
        self.stack.flush(self.clock())
        for packet in self.device.drain():
            answer = self.side.arrived(packet, (self.clock() - SECOND) // MILLISECOND) if packet[9] == 6 else None
            if answer is not None:
                self.device.inject(answer)

    def do(self, what: str) -> None:
        connection = self.connection
        if connection is None or connection.orphan:
            return
        if what == "send":
            self.pending += b"x" * 700
        elif what == "shutdown":
            connection.shutdown()
        else:
            if what == "abort":
                connection.abort(self.clock())
            connection.orphan or connection.close(self.clock())

    def pass_time(self, until: int) -> None:
        while True:
            deadline = self.stack.poll(self.clock())
            self.work()
            if self.device.wait(0):
                continue
            if deadline > until:
                break
            self.clock.set(max(deadline, self.clock()))
        self.clock.set(until)

    def play(self, times: list[int]) -> list[dict[str, Any]]:
        """Its summaries, step by step."""
        said = []
        for number, when in enumerate(times):
            self.pass_time(SECOND + when * MILLISECOND)
            said.append(self.side.summary())
            if number < len(self.case["steps"]):
                step = self.case["steps"][number]
                if step[0] == "segment":
                    self.device.inject(self.side.build(step, when))
                elif step[0] == "program":
                    self.do(step[1])
        self.pass_time(self.clock() + round(GAP * SECOND))
        said.append(self.side.summary())
        return said
