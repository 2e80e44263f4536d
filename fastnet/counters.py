"""Counters under Linux's names.

Names with a group prefix (Ip, Icmp, Tcp) are those of ``nstat`` for the MIB-II groups; names without are Linux's TcpExt and
IpExt. Those that Linux does not have are in ``OWN``.
"""

from types import GetSetDescriptorType


class Counters:
    """What happened since the stack was made; each attribute counts events and starts at zero.

    ``TcpCurrEstab`` alone is a gauge: connections in ESTABLISHED or CLOSE-WAIT now.
    """

    IpInReceives: int
    """Packets of IPv4, and of no version, that the device gave."""
    IpInHdrErrors: int
    """Not IPv4, or its header's lengths or options are wrong, or an option is a source route."""
    InTruncatedPkts: int
    """Shorter than the header says."""
    InCsumErrors: int
    """Bad checksum of the IPv4 header."""
    IpInAddrErrors: int
    """To an address that is not the stack's, or from one that nobody may have."""
    FragmentDrops: int
    """IPv4 fragments: reassembly is not there yet."""
    IpInUnknownProtos: int
    """Neither TCP nor ICMP."""
    Ip6InDiscards: int
    """IPv6 packets to a group (multicast), and all of them where the device's MTU is below 1,280 bytes."""
    Ip6InReceives: int
    """Packets of IPv6 that the device gave; IpInReceives counts those of IPv4."""
    Ip6InHdrErrors: int
    """Headers that are too short, extension headers that are wrong or too many, a route that leads elsewhere."""
    Ip6InTruncatedPkts: int
    """Shorter than the header says."""
    Ip6InAddrErrors: int
    """To an address that is not the stack's, or from one that nobody may have, an IPv4-mapped one among them."""
    Ip6FragmentDrops: int
    """IPv6 fragments: reassembly is not there yet."""
    Ip6InUnknownProtos: int
    """Neither TCP nor ICMPv6."""
    Ip6OutRequests: int
    """Packets of IPv6 handed to the device; IpOutRequests counts those of IPv4."""
    Icmp6InMsgs: int
    """ICMPv6 messages with a good checksum."""
    Icmp6InErrors: int
    """ICMPv6 messages that are too short, and errors about nobody's segment."""
    Icmp6InCsumErrors: int
    """ICMPv6 messages with a bad checksum."""
    Icmp6InEchos: int
    """Echo requests of ICMPv6."""
    Icmp6OutEchoReplies: int
    """Echo replies of ICMPv6 sent."""
    Icmp6InDestUnreachs: int
    """ICMPv6 "destination unreachable", whatever it is about."""
    Icmp6InPktTooBigs: int
    """ICMPv6 "packet too big", whatever it is about."""
    InNoECTPkts: int
    """Packets without an ECN codepoint (RFC 3168)."""
    InECT1Pkts: int
    """Packets with ECT(1)."""
    InECT0Pkts: int
    """Packets with ECT(0): a router may mark them."""
    InCEPkts: int
    """Packets that a router has marked: it is congested."""
    IpOutRequests: int
    """Packets of IPv4 handed to the device."""
    DeviceTxErrors: int
    """Packets of either family that the device did not take."""
    IcmpInMsgs: int
    """ICMP messages with a good checksum."""
    IcmpInErrors: int
    """ICMP messages that are too short."""
    IcmpInCsumErrors: int
    """ICMP messages with a bad checksum."""
    IcmpInEchos: int
    """Echo requests."""
    IcmpOutEchoReps: int
    """Echo replies sent."""
    TcpInSegs: int
    """Segments with a good checksum."""
    TcpInErrs: int
    """Segments with wrong lengths."""
    TcpInCsumErrors: int
    """Segments with a bad checksum."""
    IcmpInDestUnreachs: int
    """ICMP "destination unreachable", whatever it is about."""
    OutOfWindowIcmps: int
    """ICMP errors about segments that were not on their way (RFC 5927): not believed."""
    TcpOutRsts: int
    """RSTs sent."""
    TcpRetransSegs: int
    """Segments sent again."""
    TcpActiveOpens: int
    """SYNs sent for a program."""
    TcpPassiveOpens: int
    """Handshakes completed by a listener."""
    TcpAttemptFails: int
    """Requests and active opens that were refused or timed out."""
    TcpEstabResets: int
    """Connections that ended with a RST, an abort or a timeout."""
    TcpCurrEstab: int
    """Connections in ESTABLISHED or CLOSE-WAIT now."""
    TcpInNoListener: int
    """Segments for a port where nobody listens."""
    TcpInNoFlags: int
    """Segments without the flag that the state asks for, dropped."""
    TCPInvalidSequence: int
    """RSTs and empty segments outside the window, and RSTs for a request that are not at RCV.NXT (drop reason TCP_INVALID_SEQUENCE)."""
    BeyondWindow: int
    """Segments whose text or FIN begins beyond the window, dropped."""
    DelayedACKLost: int
    """Segments with nothing but text, or a FIN, that had come already, dropped: the peer may have missed the ACK."""
    TcpInAfterFin: int
    """Segments with text, or a FIN, after the peer's own FIN, dropped."""
    TcpInStrayRsts: int
    """RSTs that reset nothing: for a listener, to a SYN without acknowledging it, in TIME-WAIT with tcp_rfc1337."""
    TcpInNoTimestamp: int
    """Segments without the timestamp that the handshake agreed on, dropped (RFC 7323 section 3.2)."""
    ListenOverflows: int
    """SYNs and final ACKs that found the accept queue full."""
    ListenDrops: int
    """SYNs and final ACKs that were dropped, whatever was full."""
    TCPReqQFullDrop: int
    """SYNs that found the syn queue full, and were dropped."""
    TCPReqQFullDoCookies: int
    """SYNs that found the syn queue full, or tcp_syncookies at 2: answered with a cookie, if the accept queue has room."""
    SyncookiesSent: int
    """SYNs answered with a cookie."""
    SyncookiesRecv: int
    """Final ACKs whose cookie was good."""
    SyncookiesFailed: int
    """Final ACKs whose cookie was not ours, too old, or had come before."""
    TCPDeferAcceptDrop: int
    """Final ACKs without data, put off by tcp_defer_accept."""
    EmbryonicRsts: int
    """Requests reset."""
    TCPSynRetrans: int
    """SYNs and SYN-ACKs sent again."""
    TCPMTUPSuccess: int
    """Probes of the path MTU that arrived (RFC 4821)."""
    TCPMTUPFail: int
    """Probes of the path MTU that were lost."""
    TCPTimeouts: int
    """Retransmission timers that fired; not those that probe a shut window."""
    TCPFastOpenActive: int
    """Active opens whose SYN brought data that the SYN-ACK acknowledged (RFC 7413)."""
    TCPFastOpenActiveFail: int
    """Active opens whose SYN brought data that the SYN-ACK did not acknowledge, or not all of it: it was sent again."""
    TCPFastOpenPassive: int
    """SYNs with a good Fast Open cookie: connections made before their handshake was over."""
    TCPFastOpenPassiveFail: int
    """SYNs with a Fast Open cookie that is not good."""
    TCPFastOpenListenOverflow: int
    """SYNs that found too many Fast Open connections waiting for their final ACK: answered as usual."""
    TCPFastOpenCookieReqd: int
    """SYNs that asked for a Fast Open cookie."""
    TCPFastOpenBlackhole: int
    """Times that Fast Open was given up for a while (tcp_fastopen_blackhole_timeout_sec)."""
    TCPFastOpenPassiveAltKey: int
    """SYNs whose cookie was good under the key before."""
    TCPAbortOnData: int
    """Connections reset because data came after close."""
    TCPAbortOnClose: int
    """Connections reset because close left data unread."""
    TCPAbortOnTimeout: int
    """Connections given up after tcp_retries2, or tcp_orphan_retries."""
    TCPAbortOnLinger: int
    """Closed connections reset because the program would not wait for the peer's FIN (TCP_LINGER2 below 0)."""
    TCPAbortOnMemory: int
    """Connections that the program had closed, reset because there were too many (tcp_max_orphans) or memory was used up (tcp_mem)."""
    TCPChallengeACK: int
    """Challenge ACKs (RFC 5961)."""
    TCPSYNChallenge: int
    """SYNs in a synchronized state, wherever they lay."""
    TCPACKSkippedChallenge: int
    """Challenge ACKs not sent: within tcp_invalid_ratelimit of the last, or to an empty segment that was answered already."""
    TCPACKSkippedSeq: int
    """ACKs not sent for empty segments outside the window: within tcp_invalid_ratelimit of the last, or answered already."""
    TCPACKSkippedPAWS: int
    """The same for segments with an old timestamp."""
    TCPACKSkippedSynRecv: int
    """Answers not sent to a request's SYN that came again, or to what lay outside its window, within tcp_invalid_ratelimit of the last."""
    TCPACKSkippedTimeWait: int
    """ACKs not sent from TIME-WAIT for empty segments: within tcp_invalid_ratelimit of the last, or answered already."""
    TCPOrigDataSent: int
    """Segments of new data sent. Here and in what follows, a packet that the device cuts is as many segments (tcp_skb_pcount())."""
    TCPFastRetrans: int
    """Segments sent again in fast recovery."""
    TCPSlowStartRetrans: int
    """Segments sent again after a timeout."""
    TCPLostRetransmit: int
    """Segments sent again that were lost too."""
    TCPSackRecovery: int
    """Fast recoveries begun, with SACK."""
    TCPRenoRecovery: int
    """Fast recoveries begun, without SACK."""
    TCPFullUndo: int
    """Fast recoveries undone because timestamps showed that nothing was lost."""
    TCPLossUndo: int
    """Timeouts undone because timestamps, or F-RTO, showed that nothing was lost."""
    TCPDSACKUndo: int
    """Reductions undone because D-SACKs showed that nothing was lost."""
    TCPSpuriousRTOs: int
    """Timeouts that F-RTO found spurious."""
    TCPLossProbes: int
    """Tail loss probes sent."""
    TCPLossProbeRecovery: int
    """Of those, that repaired a loss."""
    TCPSACKReneging: int
    """Peers that took back what their SACKs had said."""
    TCPSACKDiscard: int
    """SACK blocks of what was never sent."""
    TCPWqueueTooBig: int
    """SACK blocks not believed in full because too many packets are on their way to take one apart."""
    TCPDSACKRecv: int
    """D-SACKs received about data that had been acknowledged: it came twice."""
    TCPDSACKOfoRecv: int
    """D-SACKs received about data that had been reported by SACK."""
    TCPDSACKOldSent: int
    """D-SACKs sent for data behind RCV.NXT."""
    TCPDSACKOfoSent: int
    """D-SACKs sent for data ahead of it."""
    DelayedACKs: int
    """ACKs that a timer sent."""
    TCPWinProbe: int
    """Probes of a shut window."""
    TCPToZeroWindowAdv: int
    """Times the window was shut: a segment said so, and the one before it did not."""
    TCPFromZeroWindowAdv: int
    """Times it was opened again: a segment said so, and the one before it had said that it is shut."""
    TCPKeepAlive: int
    """Keep-alive probes sent."""
    TCPOFOQueue: int
    """Segments that came out of order and were kept."""
    TCPOFODrop: int
    """Segments that came out of order and were dropped, because too many pieces were kept, or memory was short."""
    OfoPruned: int
    """Times that what had come out of order was forgotten, because memory was short."""
    PAWSActive: int
    """SYN-ACKs refused because they echo a timestamp that was not sent."""
    PAWSEstab: int
    """Segments refused for an old timestamp (RFC 7323)."""
    TW: int
    """TIME-WAITs begun; Linux, too, counts them when they begin."""
    TWRecycled: int
    """TIME-WAITs that made way for a new connection: for the peer's SYN, or for an active open (tcp_tw_reuse)."""
    TCPTimeWaitOverflow: int
    """TIME-WAITs not kept, beyond tcp_max_tw_buckets."""
    TCPZeroWindowDrop: int
    """Segments whose data found the window shut."""
    TCPRcvQDrop: int
    """Segments in order that were dropped because memory was short."""
    PruneCalled: int
    """Times that a connection was to make do with less memory."""
    RcvPruned: int
    """Of those, without success."""
    TCPMemoryPressures: int
    """Times that memory became short (tcp_mem)."""
    EndpointFailures: int
    """Times that what runs for one endpoint raised: a connection was reset, or what came for a listener dropped (docs/defence.md)."""

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


# Compiled, the class has a descriptor for each field of its .pxd; uncompiled, it has the annotations above.
NAMES: tuple[str, ...] = tuple(vars(Counters).get("__annotations__", ())) or tuple(
    name for name, value in vars(Counters).items() if isinstance(value, GetSetDescriptorType)
)

OWN = ("FragmentDrops", "Ip6FragmentDrops", "DeviceTxErrors", "EndpointFailures", "TcpInNoListener", "TcpInNoFlags", "TcpInNoTimestamp",
       "TCPInvalidSequence", "TcpInAfterFin", "TcpInStrayRsts")  # fmt: skip
"""Names that Linux does not have."""
