from collections.abc import Sequence
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
OPTION_FAST_OPEN: int
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
    segment_size: int
    flags: int
    options: int
    wscale: int
    sack_count: int
    number: int
    cause: int
    protocol: int
    ttl: int
    tos: int
    version: int
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
    def fast_open_cookie(self) -> bytes: ...
    def read(self, packet: Buffer) -> None: ...

@final
class SegmentBatch:
    ring: PacketRing
    segments: tuple[Segment, ...]
    count: int
    others: int
    codepoints: int
    ipv6: int
    def __init__(self, ring: PacketRing, addresses: Sequence[str] = (), loops: bool = False, has_ipv6: bool = True) -> None: ...
    def parse(self) -> int: ...
    def look_up(self, demux: Demux) -> int: ...
