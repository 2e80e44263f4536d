from typing import final

import numpy as np
import numpy.typing as npt

HEADROOM: int
OWN: int

@final
class PacketRing:
    memory: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.uint32]
    checked: npt.NDArray[np.uint8]
    segment_sizes: npt.NDArray[np.uint16]
    slots: int
    stride: int
    capacity: int
    count: int
    def __init__(self, slots: int = 256, capacity: int = 2048) -> None: ...
    def __len__(self) -> int: ...
    def packet(self, slot: int) -> npt.NDArray[np.uint8]: ...
    def clear(self) -> None: ...
    def append(self, packet: bytes | bytearray | memoryview | npt.NDArray[np.uint8]) -> bool: ...
