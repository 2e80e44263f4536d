"""Local ports for who names none.

For active opens: the double-hash selection of RFC 6056 section 3.3.4, as Linux has it (__inet_hash_connect())."""

import errno
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain

from fastnet._demux import Demux
from fastnet._flow import FourTuple

TABLE_SIZE = 256


class PortChooser:
    """Where the search for a port begins depends on both addresses and the remote port under a secret; then it counts.

    So a peer sees ports that it cannot foretell, and the same port does not come again soon.

    :param secret: 16 random bytes
    :param random: n -> n random bytes
    :ivar bound: ports that programs have bound, and how often: no active open gets one that it did not ask for
    """

    __slots__ = ("bound", "key0", "key1", "random", "table")

    def __init__(self, secret: bytes, random: Callable[[int], bytes]) -> None:
        self.key0 = int.from_bytes(secret[:8], "little")
        self.key1 = int.from_bytes(secret[8:], "little")
        self.random = random
        self.bound: Counter[int] = Counter()
        noise = random(2 * TABLE_SIZE)
        self.table = [int.from_bytes(noise[2 * i : 2 * i + 2], "little") for i in range(TABLE_SIZE)]

    def choose(self, local: str, remote: str, remote_port: int, ports: tuple[int, int], demux: Demux) -> FourTuple:
        """A 4-tuple that nobody has, whose local port nobody listens on.

        :param ports: lowest and highest (ip_local_port_range)
        :raises OSError: EADDRNOTAVAIL, when all are in use
        """
        low, high = ports
        count = high - low + 1
        hashed = FourTuple(local, 0, remote, remote_port).prf(self.key0, self.key1)
        index = hashed % TABLE_SIZE
        start = (hashed >> 8) + self.table[index]
        # Connections get the even ports of the first half of the search: odd ones are left for bind() to port 0, as Linux does.
        for step in chain(range(0, count, 2), range(1, count, 2)):
            port = low + ((start & ~1) + step) % count
            flow = FourTuple(local, port, remote, remote_port)
            if port not in self.bound and demux.find(flow) < 0 and demux.find_listener(flow) < 0:
                self.table[index] = self.table[index] + step + 2 & 0xFFFFFFFF
                return flow
        raise OSError(errno.EADDRNOTAVAIL, f"every port from {low} to {high} is in use towards {remote} port {remote_port}")

    def to_bind(self, ports: tuple[int, int]) -> Iterator[int]:
        """Ports to try for a program that binds to port 0, from a random place on: those first that connections get last.

        :param ports: lowest and highest (ip_local_port_range)
        """
        low, high = ports
        count = high - low + 1
        # Linux's inet_csk_find_open_port() has the same order.
        start = int.from_bytes(self.random(4), "little") % count | 1
        for step in chain(range(0, count, 2), range(-1, count - 1, 2)):
            yield low + (start + step) % count
