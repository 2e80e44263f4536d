from collections.abc import Callable
from typing import final

from fastnet._buffer import ByteRing
from fastnet._flow import FourTuple
from fastnet._headers import Segment
from fastnet._path import Path
from fastnet._ring import PacketRing

@final
class SegmentWriter:
    ring: PacketRing
    ipv4: Path
    ipv6: Path
    ipv6_packets: int
    def __init__(self, ring: PacketRing, flush: Callable[[], object], ttl: int = 64, offload: bool = False, mtu: int = 1500) -> None: ...
    def path_of(self, flow: FourTuple) -> Path: ...
    def control(
        self,
        flow: FourTuple,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        timestamps: bool = False,
        ts_val: int = 0,
        ts_ecr: int = 0,
        blocks: list[tuple[int, int]] | None = None,
        urgent: int = 0,
        path: Path | None = None,
    ) -> int: ...
    def synack(
        self,
        flow: FourTuple,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        mss: int,
        wscale: int,
        sack_permitted: bool,
        timestamps: bool,
        ts_val: int,
        ts_ecr: int,
        path: Path | None = None,
    ) -> int: ...
    def verbatim(self, flow: FourTuple, seq: int, ack: int, flags: int, window: int, options: bytes, path: Path | None = None) -> int: ...
    def syn_data(
        self,
        flow: FourTuple,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        options: bytes,
        source: ByteRing,
        size: int,
        path: Path | None = None,
    ) -> int: ...
    def data(
        self,
        flow: FourTuple,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        timestamps: bool,
        ts_val: int,
        ts_ecr: int,
        source: ByteRing,
        offset: int,
        size: int,
        blocks: list[tuple[int, int]] | None = None,
        urgent: int = 0,
        segment_size: int = 0,
        path: Path | None = None,
    ) -> int: ...
    def icmp(self, flow: FourTuple, request: Segment, type_: int, code: int) -> int: ...
    def repeat(self, flow: FourTuple, times: int, source: ByteRing | None = None, size: int = 0) -> None: ...
