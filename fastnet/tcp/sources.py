"""Who holds how much of a listener: requests and connections for each address, or each network of addresses.

An entry lives while there is something to count, so a table is never larger than what it counts; beyond its bound, new sources are let
in uncounted. A limit is for a few who take all; against many who take little there are cookies.
"""

from fastnet._flow import FourTuple


class Source:
    """One network, with what it holds.

    :ivar requests: its entries in the syn queue; ``connections``: its connections that are not over (TIME-WAIT is)
    """

    __slots__ = ("connections", "network", "requests", "table")

    def __init__(self, table: "SourceTable", network: int) -> None:
        self.table = table
        self.network = network
        self.requests = 0
        self.connections = 0

    def request_over(self) -> None:
        """One request less."""
        self.requests -= 1
        if self.requests == 0 and self.connections == 0:
            self.table.forget(self)

    def connection_over(self) -> None:
        """One connection less."""
        self.connections -= 1
        if self.requests == 0 and self.connections == 0:
            self.table.forget(self)


class SourceTable:
    """The sources of one listener.

    :param prefix: bits of an address that name its network; 32: every IPv4 address is one of its own
    :param largest: sources at once
    :ivar uncounted: requests that were let in because the table was full
    """

    __slots__ = ("largest", "prefix", "sources", "uncounted")

    def __init__(self, prefix: int, largest: int) -> None:
        self.prefix = prefix
        self.largest = largest
        self.sources: dict[int, Source] = {}
        self.uncounted = 0

    def find(self, flow: FourTuple) -> Source | None:
        """The peer's source, None when it holds nothing."""
        return self.sources.get(flow.remote_network(self.prefix))

    def take(self, flow: FourTuple) -> Source | None:
        """The peer's source, made when it holds nothing yet; None when the table is full."""
        network = flow.remote_network(self.prefix)
        source = self.sources.get(network)
        if source is None:
            if len(self.sources) >= self.largest:
                self.uncounted += 1
                return None
            source = Source(self, network)
            self.sources[network] = source
        return source

    def forget(self, source: Source) -> None:
        """It holds nothing any more."""
        self.sources.pop(source.network, None)
