"""Counters under Linux's names.

Names with a group prefix (Ip, Icmp, Tcp) are those of ``nstat`` for the MIB-II groups; names without are Linux's TcpExt and IpExt.
Those that Linux does not have say so in ``OWN``.
"""

OWN = {
    "FragmentDrops": "IPv4 fragments; reassembly is not there yet",
    "Ip6InDiscards": "IPv6 packets; IPv6 is not there yet",
    "TcpInNoListener": "segments for a port where nobody listens, answered with a RST",
    "TcpInNoFlags": "segments to a listener with neither SYN, ACK nor RST",
    "DeviceTxErrors": "packets that the device did not take",
}

NAMES: tuple[str, ...] = (
    "IpInReceives", "IpInHdrErrors", "InTruncatedPkts", "InCsumErrors", "IpInAddrErrors", "FragmentDrops",
    "IpInUnknownProtos", "Ip6InDiscards", "IpOutRequests", "DeviceTxErrors",
    "IcmpInMsgs", "IcmpInErrors", "IcmpInCsumErrors", "IcmpInEchos", "IcmpOutEchoReps",
    "TcpInSegs", "TcpInErrs", "TcpInCsumErrors", "TcpOutSegs", "TcpOutRsts", "TcpRetransSegs",
    "TcpPassiveOpens", "TcpAttemptFails", "TcpEstabResets", "TcpCurrEstab",
    "TcpInNoListener", "TcpInNoFlags",
    "ListenOverflows", "ListenDrops", "TCPReqQFullDrop", "EmbryonicRsts", "TCPSynRetrans", "TCPTimeouts",
    "TCPAbortOnData", "TCPAbortOnClose", "TCPAbortOnTimeout", "TCPChallengeACK", "TCPOFODrop", "TCPRcvQDrop",
    "PAWSEstab", "TW", "TCPTimeWaitOverflow", "TCPZeroWindowDrop", "TCPFromZeroWindowAdv", "TCPToZeroWindowAdv",
    "TCPACKSkippedSynRecv", "TWRecycled",
)  # fmt: skip


class Counters:
    """What happened since the stack was made; each attribute counts events and starts at zero.

    ``TcpCurrEstab`` alone is a gauge: connections in ESTABLISHED or CLOSE-WAIT now.
    """

    __slots__ = NAMES

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Set every counter to zero."""
        for name in NAMES:
            setattr(self, name, 0)

    def as_dict(self) -> dict[str, int]:
        """Name -> value, every counter."""
        return {name: getattr(self, name) for name in NAMES}

    def count(self, name: str) -> None:
        """Add one to a counter given by name (the parser's causes)."""
        setattr(self, name, getattr(self, name) + 1)
