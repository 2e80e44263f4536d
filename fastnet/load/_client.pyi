from fastnet._tun import Tun

class HandshakeClient:
    started: int
    completed: int
    refused: int
    timed_out: int
    retransmitted: int
    strays: int
    invalid: int
    unsent: int
    seconds: float
    cpu: float
    def __init__(
        self,
        tun: Tun,
        target: int,
        port: int,
        first_source: int,
        sources: int = 4096,
        in_flight: int = 128,
        ending: str = "server",
        seed: int = 0,
    ) -> None: ...
    def run(self, duration: float, count: int = 0) -> int: ...
    def percentile(self, share: float) -> float: ...
