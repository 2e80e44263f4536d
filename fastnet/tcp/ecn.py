"""Explicit Congestion Notification of one connection (RFC 3168): routers mark packets that they would otherwise drop.

What a router writes into the IP header (CE) the receiver sends back (ECE), until the sender says that it has slowed down (CWR). Where the
congestion control needs the share of packets that were marked (RFC 8257, DCTCP), ECE says instead whether the last one was.
"""

from fastnet._headers import CWR, Segment
from fastnet.tcp.numbers import CE, CODEPOINT, HALF, MASK


class Ecn:
    """A connection has one when both ends have agreed on it.

    :param snd_nxt: SND.NXT
    :ivar echo: congestion was seen: ECE goes with every ACK, until the peer's CWR (Linux's TCP_ECN_DEMAND_CWR); under DCTCP, DCTCP.CE
    :ivar cwr_due: CWND was reduced: CWR goes with the next new data (TCP_ECN_QUEUE_CWR)
    :ivar reducing: CWND was reduced for what is still on its way; ``recover``: SND.NXT when it was
    :ivar delivered_ce: segments that arrived as the peer says, in ACKs with ECE, modulo 2^32
    :ivar seen: a packet with a codepoint came (TCP_ECN_SEEN)
    """

    __slots__ = ("cwr_due", "delivered_ce", "echo", "recover", "reducing", "seen")

    def __init__(self, snd_nxt: int) -> None:
        self.echo = False
        self.delivered_ce = 0
        self.cwr_due = False
        self.reducing = False
        self.recover = snd_nxt
        self.seen = False

    def data_arrives(self, seg: Segment) -> bool:
        """Note the marks of a segment with data (section 6.1.3); True when it should be acknowledged at once.

        That is for news of congestion, and for a peer that says CWR, whose CWND may be down to this segment (tcp_ecn_accept_cwr()).
        """
        codepoint = seg.tos & CODEPOINT
        if codepoint:
            self.seen = True
        reduced = seg.flags & CWR != 0
        if reduced:
            self.echo = False
        if codepoint == CE and not self.echo:
            self.echo = True
            return True
        return reduced

    def data_arrives_under_dctcp(self, seg: Segment) -> bool:
        """The same for RFC 8257 section 3.2: ECE follows CE, and each change of it is acknowledged at once. CWR changes nothing."""
        codepoint = seg.tos & CODEPOINT
        if codepoint:
            self.seen = True
        marked = codepoint == CE
        news = marked != self.echo
        self.echo = marked
        return news or seg.flags & CWR != 0

    def reduced(self, snd_nxt: int) -> None:
        """CWND was reduced, for whatever reason: the peer is told, and what is on its way brings no second reduction (section 6.1.2)."""
        self.cwr_due = True
        self.reducing = True
        self.recover = snd_nxt

    def undone(self) -> None:
        """The last reduction was for nothing: nobody is told of it, and the next is not too early (tcp_ecn_withdraw_cwr())."""
        self.cwr_due = False
        self.reducing = False

    def is_reducing(self, snd_una: int) -> bool:
        """Is there still something on its way that was sent before the last reduction?"""
        if self.reducing and (snd_una - self.recover & MASK) < HALF:
            self.reducing = False
        return self.reducing
