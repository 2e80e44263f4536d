from collections.abc import Callable, Sequence
from typing import final

from typing_extensions import Buffer

from fastnet._buffer import ByteRing
from fastnet._demux import Demux
from fastnet._flow import FourTuple
from fastnet._ring import PacketRing

FIN: int
SYN: int
RST: int
PSH: int
ACK: int
URG: int
ECE: int
CWR: int
OPTION_MSS: int
OPTION_WSCALE: int
OPTION_SACK_PERMITTED: int
OPTION_TIMESTAMPS: int
OPTION_SACK: int
MAX_SACK_BLOCKS: int
CAUSES: tuple[str, ...]

@final
class Segment:
    flow: FourTuple
    packet_length: int
    header_length: int
    payload_length: int
    length: int
    seq: int
    ack: int
    end: int
    ts_val: int
    ts_ecr: int
    window: int
    urgent: int
    mss: int
    flags: int
    options: int
    wscale: int
    sack_count: int
    number: int
    cause: int
    protocol: int
    ttl: int
    tos: int
    quotes: bool
    def __init__(self) -> None: ...
    @property
    def icmp_type(self) -> int: ...
    @property
    def icmp_code(self) -> int: ...
    @property
    def icmp_mtu(self) -> int: ...
    @property
    def is_parsed(self) -> bool: ...
    def payload(self) -> bytes: ...
    def deliver(self, target: ByteRing, skip: int, size: int) -> int: ...
    def place(self, target: ByteRing, offset: int, size: int) -> int: ...
    def sack_edge(self, i: int) -> int: ...
    def sack_blocks(self) -> list[tuple[int, int]]: ...
    def read(self, packet: Buffer) -> None: ...

@final
class SegmentBatch:
    ring: PacketRing
    segments: list[Segment]
    count: int
    others: int
    def __init__(self, ring: PacketRing, addresses: Sequence[str] = (), loops: bool = False) -> None: ...
    def parse(self) -> int: ...
    def look_up(self, demux: Demux) -> None: ...

@final
class SegmentWriter:
    ring: PacketRing
    ttl: int
    tos: int
    def __init__(self, ring: PacketRing, flush: Callable[[], object], ttl: int = 64, offload: bool = False) -> None: ...
    def dress(self, ttl: int, tos: int) -> int: ...
    def undress(self) -> int: ...
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
    ) -> int: ...
    def verbatim(self, flow: FourTuple, seq: int, ack: int, flags: int, window: int, options: bytes) -> int: ...
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
    ) -> int: ...
    def icmp(self, flow: FourTuple, request: Segment, type_: int, code: int) -> int: ...
    def repeat(self, flow: FourTuple, times: int, source: ByteRing | None = None, size: int = 0) -> None: ...
