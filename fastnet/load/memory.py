"""Handshakes in memory: a raw client made of numpy that plays thousands of peers against one stack, without a kernel.

It is the stack's device: a batch of its packets is in the receive ring before the clock starts, and what the stack sends is looked
at after the clock stopped. So the time it reports is the stack's alone.
"""

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastnet._ring import HEADROOM, PacketRing
from fastnet.config import Settings
from fastnet.devices.base import BaseDevice
from fastnet.load._flood import Flood
from fastnet.stack import Stack

ACK = 0x10
RST = 0x04
SYN = 0x02
IP, IPV6 = 20, 40
"""Bytes of a header."""
SYN_OPTIONS = bytes.fromhex("020405b40402080a000000010000000001030307")
ACK_OPTIONS = bytes.fromhex("0101080a0000000200000000")
STEP = 1_000_000
"""Simulated time between two batches, ns."""


@dataclass
class Cycles:
    """What a run measured.

    :ivar cycles: handshakes that were completed, accepted and reset
    :ivar seconds: the stack's own time
    """

    cycles: int
    seconds: float

    @property
    def rate(self) -> float:
        """Cycles per second of the stack's own time."""
        return self.cycles / self.seconds


class MemoryClient(BaseDevice):
    """Plays full cycles: SYN with options, SYN-ACK, ACK, accept, RST by the client.

    Every handshake has a 4-tuple that is not used again before 2**32 others were: the source address and port count upwards.

    :param flows: handshakes under way at once; at most a ring's slots go in one batch
    :param target: the stack's address, of either family; ``port``: its listener's
    """

    def __init__(
        self, flows: int = 128, target: str = "198.18.0.2", port: int = 80, settings: Settings | Mapping[str, int] | None = None
    ) -> None:
        super().__init__()
        self.flows = flows
        self.now = 0
        self.device_time = 0
        self.sent: list[npt.NDArray[np.uint8]] = []
        self.waiting = 0
        self.next_flow = 0
        self.stack = Stack(
            self, (target,), settings, clock=lambda: 0, random=lambda n: bytes(i & 255 for i in range(n)), slots=min(flows, 256)
        )
        self.listener = self.stack.listen("::" if ":" in target else "0.0.0.0", port, flows)
        self.target = np.frombuffer(ipaddress.ip_address(target).packed, np.uint8)
        self.head = IP if len(self.target) == 4 else IPV6
        self.port = port

    # ---- the device's side ----

    def receive(self, ring: PacketRing) -> int:
        """The batch is in the ring already."""
        return self.waiting

    def transmit(self, ring: PacketRing) -> int:
        """Keep a copy of what the stack sent; the time that takes is not the stack's."""
        started = time.perf_counter_ns()
        count = ring.count
        self.sent.append(ring.memory[:count, HEADROOM : HEADROOM + self.head + 40].copy())
        ring.clear()
        self.device_time += time.perf_counter_ns() - started
        return count

    # ---- the client's side ----

    def batch(
        self,
        flows: npt.NDArray[np.uint32],
        seq: npt.NDArray[np.uint32] | int,
        ack: npt.NDArray[np.uint32] | int,
        flags: int,
        options: bytes,
    ) -> npt.NDArray[np.uint8]:
        """Packets for some flows: an array of shape (len(flows), bytes of a packet), checksums filled in."""
        head = self.head
        size = head + 20 + len(options)
        packets = np.zeros((len(flows), size), np.uint8)
        words = packets.view(">u2")
        # 2**16 ports of 198.18.128.0/17 and on into 198.19.0.0/16, then round again; of IPv6, in the lower half of an address.
        source = (0xC6128000 + (flows >> 15)).astype(np.uint32)
        if head == IP:
            packets[:, 0] = 0x45
            words[:, 1] = size
            packets[:, 8] = 64
            packets[:, 9] = 6
            packets[:, 16:20] = self.target
            addresses = slice(6, 10)
        else:
            packets[:, 0] = 0x60
            words[:, 2] = size - head
            packets[:, 6] = 6
            packets[:, 7] = 64
            packets[:, 8:16] = self.target[:8]
            packets[:, 24:40] = self.target
            addresses = slice(4, 20)
        last = addresses.stop - (len(self.target) // 2) - 2
        words[:, last] = source >> 16
        words[:, last + 1] = source & 0xFFFF
        tcp = head // 2
        words[:, tcp] = 1024 + (flows & 0x7FFF)
        words[:, tcp + 1] = self.port
        seq = np.broadcast_to(np.asarray(seq, np.uint32), len(flows))
        ack = np.broadcast_to(np.asarray(ack, np.uint32), len(flows))
        words[:, tcp + 2] = seq >> 16
        words[:, tcp + 3] = seq & 0xFFFF
        words[:, tcp + 4] = ack >> 16
        words[:, tcp + 5] = ack & 0xFFFF
        packets[:, head + 12] = (20 + len(options)) << 2
        packets[:, head + 13] = flags
        words[:, tcp + 7] = 64240
        packets[:, head + 20 :] = np.frombuffer(options, np.uint8)
        if head == IP:
            words[:, 5] = _checksum(words[:, :tcp])
        pseudo = words[:, addresses].sum(axis=1, dtype=np.uint64) + 6 + size - head
        words[:, tcp + 8] = _checksum(words[:, tcp:], pseudo)
        return packets

    def play(self, packets: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint8], int]:
        """Hand packets to the stack in batches; what it sent, and its own time in ns."""
        ring = self.stack.received
        spent = 0
        for first in range(0, len(packets), ring.slots):
            part = packets[first : first + ring.slots]
            ring.memory[: len(part), HEADROOM : HEADROOM + part.shape[1]] = part
            ring.lengths[: len(part)] = part.shape[1]
            self.waiting = len(part)
            ring.hold(len(part))
            self.now += STEP
            device_time = self.device_time
            started = time.perf_counter_ns()
            self.stack.poll(self.now)
            spent += time.perf_counter_ns() - started - (self.device_time - device_time)
        self.waiting = 0
        sent = np.concatenate(self.sent) if self.sent else np.zeros((0, self.head + 40), np.uint8)
        self.sent.clear()
        return sent, spent

    def open(self, count: int) -> tuple[npt.NDArray[np.uint32], int]:
        """Complete and accept ``count`` handshakes at once; the flows' numbers, and the stack's time in ns.

        :raises RuntimeError: the stack did not answer or accept every one
        """
        flows = np.arange(self.next_flow, self.next_flow + count, dtype=np.uint32)
        self.next_flow = (self.next_flow + count) & 0xFFFFFFFF
        seq = flows * np.uint32(7919)
        answers, spent = self.play(self.batch(flows, seq, 0, SYN, SYN_OPTIONS))
        if len(answers) != count:
            raise RuntimeError(f"{len(answers)} SYN-ACKs to {count} SYNs")
        iss = np.ascontiguousarray(answers[:, self.head + 4 : self.head + 8]).view(">u4")[:, 0].astype(np.uint32)
        _, time_of_acks = self.play(self.batch(flows, seq + np.uint32(1), iss + np.uint32(1), ACK, ACK_OPTIONS))
        started = time.perf_counter_ns()
        accepted = 0
        accept = self.listener.accept
        while accept() is not None:
            accepted += 1
        spent += time_of_acks + time.perf_counter_ns() - started
        if accepted != count:
            raise RuntimeError(f"{accepted} of {count} handshakes were accepted")
        return flows, spent

    def reset(self, flows: npt.NDArray[np.uint32]) -> int:
        """Reset connections from the client's side; the stack's time in ns."""
        _, spent = self.play(self.batch(flows, flows * np.uint32(7919) + np.uint32(1), 0, RST, b""))
        return spent

    def run(self, rounds: int) -> Cycles:
        """``rounds`` times: as many full cycles as there are flows."""
        spent = 0
        for _ in range(rounds):
            flows, time_of_open = self.open(self.flows)
            spent += time_of_open + self.reset(flows)
        return Cycles(rounds * self.flows, spent / 1e9)

    def hold(self, connections: int) -> None:
        """Open connections that stay open."""
        for first in range(0, connections, self.flows):
            self.open(min(self.flows, connections - first))


class MemoryFlood(MemoryClient):
    """A client that can also flood its stack: what the stack answers to that is thrown away.

    :param sources: addresses that the flood comes from (10.0.0.0 and on: nothing of it leaves the memory), a power of two
    :ivar sent_packets: how many packets the stack has sent in answer
    """

    def __init__(
        self,
        flows: int = 128,
        target: str = "198.18.0.2",
        port: int = 80,
        settings: Settings | Mapping[str, int] | None = None,
        sources: int = 1 << 24,
        seed: int = 0,
    ) -> None:
        super().__init__(flows, target, port, settings)
        address = int.from_bytes(self.target.tobytes(), "big")
        self.flood = Flood(None, address, port, 0x0A000000, sources, seed)
        self.flooding = False
        self.sent_packets = 0

    def transmit(self, ring: PacketRing) -> int:
        """As the client's, but answers to a flood are only counted."""
        if not self.flooding:
            return super().transmit(ring)
        count = ring.count
        self.sent_packets += count
        ring.clear()
        return count

    def bear(self, kind: str, packets: int, flows: npt.NDArray[np.uint32] | None = None, step: int = STEP) -> float:
        """Hand so many packets of a kind to the stack, in whole batches; the stack's own time, seconds.

        :param flows: numbers of open connections at which a flood of data is aimed
        :param step: simulated time between two batches, ns
        """
        targets = [] if flows is None else [(0xC6128000 + int(flow >> 15), 1024 + int(flow & 0x7FFF)) for flow in flows]
        ring = self.stack.received
        spent = 0
        self.flooding = True
        for _ in range(-(-packets // ring.slots)):
            self.waiting = self.flood.fill(ring, kind, targets)
            self.now += step
            started = time.perf_counter_ns()
            self.stack.poll(self.now)
            spent += time.perf_counter_ns() - started
        self.waiting = 0
        self.flooding = False
        return spent / 1e9


def _checksum(words: npt.NDArray[np.uint16], pseudo: npt.NDArray[np.uint64] | int = 0) -> npt.NDArray[np.uint16]:
    total = words.sum(axis=1, dtype=np.uint64) + np.asarray(pseudo, np.uint64)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    checksums: npt.NDArray[np.uint16] = (~total & 0xFFFF).astype(np.uint16)
    return checksums
