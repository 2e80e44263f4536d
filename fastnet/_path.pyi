from typing import final

@final
class Path:
    version: int
    header: int
    ttl: int
    tos: int
    fragment: bool
    mtu: int
    mss: int
    default_mss: int
    largest: int
    def __init__(self, version: int, mtu: int, ttl: int = 64, tos: int = 0, fragment: bool = False, largest: int = 0) -> None: ...
    def copy(
        self, *, ttl: int | None = None, tos: int | None = None, mtu: int | None = None, fragment: bool | None = None
    ) -> Path: ...
    def without_ecn(self) -> Path: ...
    def with_ecn(self) -> Path: ...
    def burst(self, mss: int) -> int: ...
