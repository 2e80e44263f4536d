from collections.abc import Sequence

from fastnet._ring import PacketRing
from fastnet._tun import Tun

KINDS: tuple[str, ...]

class Flood:
    sent: int
    unsent: int
    seconds: float
    cpu: float
    def __init__(
        self, tun: Tun | None, target: int, port: int, first_source: int, sources: int = 65536, seed: int = 0
    ) -> None: ...
    def run(self, kind: str, packets: int, rate: float = 0, flows: Sequence[tuple[int, int]] = ()) -> int: ...
    def fill(self, ring: PacketRing, kind: str, flows: Sequence[tuple[int, int]] = ()) -> int: ...
