"""Local ports for who names none: which one an active open gets, and which one a bind() to port 0.

For active opens: the double-hash selection of RFC 6056 section 3.3.4, as Linux has it (__inet_hash_connect()), and what may be taken over
from a TIME-WAIT (tcp_twsk_unique()). Which ports are free, ``fastnet._ports`` knows.
"""

import errno
from collections.abc import Callable

from fastnet._flow import FourTuple
from fastnet._ports import NEEDS_MAP
from fastnet.tcp.context import Context
from fastnet.tcp.numbers import HALF, MASK, MILLISECOND
from fastnet.tcp.timewait import TimeWait

TABLE_SIZE = 256
SMALL = 64
"""Ports of a range that needs no map, as ``fastnet._ports`` has it."""
LOOPBACK = "127."
"""How an address in 127.0.0.0/8 begins."""


class PortChooser:
    """Where the search for a port begins depends on both addresses and the remote port under a secret; then it counts.

    So a peer sees ports that it cannot foretell, and the same port does not come again soon.

    :param context: the stack's, whose ports these are
    :param secret: 16 random bytes
    :param random: n -> n random bytes
    :param loops: the stack's device loops back
    """

    __slots__ = ("context", "key0", "key1", "loops", "random", "reserved", "table")

    def __init__(self, context: Context, secret: bytes, random: Callable[[int], bytes], loops: bool) -> None:
        self.context = context
        self.key0 = int.from_bytes(secret[:8], "little")
        self.key1 = int.from_bytes(secret[8:], "little")
        self.random = random
        self.loops = loops
        # What ``context.ports`` was told last.
        self.reserved: tuple[tuple[int, int], ...] = ()
        noise = random(2 * TABLE_SIZE)
        self.table = [int.from_bytes(noise[2 * i : 2 * i + 2], "little") for i in range(TABLE_SIZE)]

    def choose(self, local: str, remote: str, remote_port: int, now: int) -> tuple[FourTuple, TimeWait | None]:
        """A 4-tuple for an active open whose local port no program has taken, and the TIME-WAIT that makes way for it, if there is one.

        Connections get the ports that are even as the lowest of ip_local_port_range first: the others are left for bind() to port 0, as
        Linux does. A TIME-WAIT is taken over (tcp_tw_reuse) only when no port is free, the oldest first.

        :raises OSError: EADDRNOTAVAIL, when all are in use
        """
        low, high = self.range()
        ports = self.context.ports
        flow = FourTuple(local, 0, remote, remote_port)
        hashed = flow.prf(self.key0, self.key1)
        index = hashed % TABLE_SIZE
        start = (hashed >> 8) + self.table[index] & 0xFFFFFFFF
        port = ports.choose(flow, start, low, high)
        if port == NEEDS_MAP:
            self.make_map(flow, low, high, now)
            port = ports.choose(flow, start, low, high)
        if port >= 0:
            count = high - low + 1
            self.table[index] = self.table[index] + (port - low - start % count) % count + 2 & 0xFFFFFFFF
            return flow, None
        last = self.to_take_over(flow, low, high, now)
        if last is None:
            raise OSError(errno.EADDRNOTAVAIL, f"every port from {low} to {high} is in use towards {remote} port {remote_port}")
        return last.handshake.flow, last

    def choose_to_bind(self, address: str) -> int:
        """A port for a program that binds to port 0, at random; -1 when none is free (inet_csk_find_open_port()).

        :param address: a local address, or "0.0.0.0" for any
        """
        low, high = self.range()
        return self.context.ports.choose_to_bind(address, int.from_bytes(self.random(4), "little"), low, high)

    def range(self) -> tuple[int, int]:
        """ip_local_port_range, and ip_local_reserved_ports taken out of it."""
        settings = self.context.settings
        reserved = settings.ip_local_reserved_ports
        if reserved is not self.reserved:
            self.context.ports.reserve(list(reserved))
            self.reserved = reserved
        low, high = settings.ip_local_port_range
        return low, high

    def make_map(self, flow: FourTuple, low: int, high: int, now: int) -> None:
        """Most ports to a destination are taken: from now on there is a map of them, with the TIME-WAITs in their order."""
        context = self.context
        numbers = context.ports.make_map(flow, low, high, context.time_wait_count > 0)
        endpoints = [context.endpoints[number] for number in numbers]
        waiting = [endpoint for endpoint in endpoints if isinstance(endpoint, TimeWait) and endpoint.handshake.timestamps]
        clock = now // MILLISECOND
        waiting.sort(key=lambda last: clock - last.entered & MASK, reverse=True)
        for last in waiting:
            context.ports.wait(last.handshake.flow)

    def may_take_over(self, flow: FourTuple) -> bool:
        """Does tcp_tw_reuse let an active open have a port in TIME-WAIT? Only where timestamps will tell old segments from new."""
        settings = self.context.settings
        if not settings.tcp_tw_reuse or not settings.tcp_timestamps:
            return False
        return (
            settings.tcp_tw_reuse == 1 or self.loops or flow.local_address.startswith(LOOPBACK) or flow.remote_address.startswith(LOOPBACK)
        )

    def to_take_over(self, flow: FourTuple, low: int, high: int, now: int) -> TimeWait | None:
        """The oldest TIME-WAIT of a destination, if it is older than tcp_tw_reuse_delay; None otherwise."""
        if not self.may_take_over(flow):
            return None
        context = self.context
        local, remote, remote_port = flow.local_address, flow.remote_address, flow.remote_port
        oldest: TimeWait | None = None
        if high - low >= SMALL:
            port = context.ports.oldest_waiting(flow)
            if port >= 0:
                oldest = self.time_wait_of(FourTuple(local, port, remote, remote_port))
        else:
            # The range is too small for a map: all of it is looked at.
            for port in range(low, high + 1):
                last = None if context.ports.is_owned(port) else self.time_wait_of(FourTuple(local, port, remote, remote_port))
                if last is not None and (oldest is None or (last.entered - oldest.entered & MASK) >= HALF):
                    oldest = last
        if oldest is None:
            return None
        age = now // MILLISECOND - oldest.entered & MASK
        return oldest if context.settings.tcp_tw_reuse_delay < age < HALF else None

    def time_wait_of(self, flow: FourTuple) -> TimeWait | None:
        """The TIME-WAIT of a 4-tuple whose connection had timestamps."""
        number = self.context.demux.find(flow)
        endpoint = self.context.endpoints[number] if number >= 0 else None
        return endpoint if isinstance(endpoint, TimeWait) and endpoint.handshake.timestamps else None
