"""ICMP (RFC 792): echo requests are answered, so that ping works; errors about segments of ours are for TCP; the rest is counted."""

from fastnet._headers import Segment
from fastnet._writer import SegmentWriter
from fastnet.counters import Counters

ECHO_REPLY = 0
ECHO_REQUEST = 8
UNREACHABLE = 3
SOURCE_QUENCH = 4


def message_arrives(seg: Segment, counters: Counters, writer: SegmentWriter, answer: bool) -> bool:
    """An ICMP message with a good checksum. True when it is an error that TCP should hear of.

    :param answer: False to stay silent (icmp_echo_ignore_all)
    """
    counters.IcmpInMsgs += 1
    kind = seg.icmp_type
    if kind == ECHO_REQUEST:
        counters.IcmpInEchos += 1
        if answer and writer.ring.capacity >= seg.packet_length:
            writer.icmp(seg.flow, seg, ECHO_REPLY, 0)
            counters.IcmpOutEchoReps += 1
    elif kind == UNREACHABLE:
        counters.IcmpInDestUnreachs += 1
    # A source quench is to be ignored (RFC 6633, RFC 9293 MUST-55).
    return seg.quotes and kind != SOURCE_QUENCH
