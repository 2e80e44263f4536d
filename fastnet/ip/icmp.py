"""ICMP (RFC 792): echo requests are answered, so that ping works; everything else is counted."""

from fastnet._headers import Segment, SegmentWriter
from fastnet.counters import Counters

ECHO_REPLY = 0
ECHO_REQUEST = 8


def message_arrives(seg: Segment, counters: Counters, writer: SegmentWriter, answer: bool) -> None:
    """An ICMP message with a good checksum.

    :param answer: False to stay silent (icmp_echo_ignore_all)
    """
    counters.IcmpInMsgs += 1
    if seg.icmp_type != ECHO_REQUEST:
        return
    counters.IcmpInEchos += 1
    if answer and writer.ring.capacity >= seg.packet_length:
        writer.icmp(seg.flow, seg, ECHO_REPLY, 0)
        counters.IcmpOutEchoReps += 1
