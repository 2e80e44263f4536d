"""ICMP (RFC 792) and ICMPv6 (RFC 4443): echo requests are answered, so that ping works; errors about segments of ours are for TCP; the
rest is counted.
"""

from fastnet._headers import Segment
from fastnet._writer import SegmentWriter
from fastnet.counters import Counters

PROTOCOL_ICMPV6 = 58
ECHO_REPLY = 0
ECHO_REQUEST = 8
UNREACHABLE = 3
SOURCE_QUENCH = 4
UNREACHABLE_V6 = 1
PACKET_TOO_BIG = 2
ECHO_REQUEST_V6 = 128
ECHO_REPLY_V6 = 129


def message_arrives(seg: Segment, counters: Counters, writer: SegmentWriter, answer: bool) -> bool:
    """An ICMP message with a good checksum. True when it is an error that TCP should hear of.

    :param answer: False to stay silent (icmp_echo_ignore_all)
    """
    if seg.protocol == PROTOCOL_ICMPV6:
        return message_of_ipv6_arrives(seg, counters, writer, answer)
    counters.IcmpInMsgs += 1
    kind = seg.icmp_type
    if kind == ECHO_REQUEST:
        counters.IcmpInEchos += 1
        if answer and fits(seg, writer):
            writer.icmp(seg.flow, seg, ECHO_REPLY, 0)
            counters.IcmpOutEchoReps += 1
    elif kind == UNREACHABLE:
        counters.IcmpInDestUnreachs += 1
    # A source quench is to be ignored (RFC 6633, RFC 9293 MUST-55).
    return seg.quotes and kind != SOURCE_QUENCH


def message_of_ipv6_arrives(seg: Segment, counters: Counters, writer: SegmentWriter, answer: bool) -> bool:
    """The same of ICMPv6. There are no neighbours to be found on a TUN: what asks for them is counted, and that is all."""
    counters.Icmp6InMsgs += 1
    kind = seg.icmp_type
    if kind == ECHO_REQUEST_V6:
        counters.Icmp6InEchos += 1
        if answer and fits(seg, writer):
            writer.icmp(seg.flow, seg, ECHO_REPLY_V6, 0)
            counters.Icmp6OutEchoReplies += 1
    elif kind == UNREACHABLE_V6:
        counters.Icmp6InDestUnreachs += 1
    elif kind == PACKET_TOO_BIG:
        counters.Icmp6InPktTooBigs += 1
    return seg.quotes


def fits(seg: Segment, writer: SegmentWriter) -> bool:
    """Has a slot of the transmit ring room for an answer of the same size?"""
    return writer.ring.capacity >= writer.path_of(seg.flow).header + seg.payload_length
