"""ICMP errors about segments of ours (RFC 9293 section 3.9.2.2, RFC 5927): who hears of them, and what they are believed."""

import errno

from fastnet._headers import Segment
from fastnet.ip.icmp import PROTOCOL_ICMPV6
from fastnet.tcp.context import Context
from fastnet.tcp.numbers import HALF, MASK
from fastnet.tcp.tcb import Tcb

UNREACHABLE = 3
UNREACHABLE_V6 = 1
PACKET_TOO_BIG = 2
TIME_EXCEEDED_V6 = 3
PARAMETER_PROBLEM = 12

FRAGMENTATION_NEEDED = 4
CODES: dict[int, tuple[int, bool]] = {
    0: (errno.ENETUNREACH, False),
    1: (errno.EHOSTUNREACH, False),
    2: (errno.ENOPROTOOPT, True),
    3: (errno.ECONNREFUSED, True),
    5: (errno.EOPNOTSUPP, False),
    6: (errno.ENETUNREACH, True),
    7: (errno.EHOSTDOWN, True),
    8: (errno.ENONET, True),
    9: (errno.ENETUNREACH, True),
    10: (errno.EHOSTUNREACH, True),
    11: (errno.ENETUNREACH, False),
    12: (errno.EHOSTUNREACH, False),
    13: (errno.EHOSTUNREACH, True),
    14: (errno.EHOSTUNREACH, True),
    15: (errno.EHOSTUNREACH, True),
}
"""Code of "destination unreachable" -> what the program hears, and whether it is final (Linux's icmp_err_convert)."""
CODES_V6: dict[int, tuple[int, bool]] = {
    0: (errno.ENETUNREACH, False),
    1: (errno.EACCES, True),
    2: (errno.EHOSTUNREACH, False),
    3: (errno.EHOSTUNREACH, False),
    4: (errno.ECONNREFUSED, True),
    5: (errno.EACCES, True),
    6: (errno.EACCES, True),
}
"""The same of ICMPv6 (RFC 4443 section 3.1, Linux's tab_unreach)."""


def error_arrives(seg: Segment, context: Context, now: int) -> None:
    """An error about a segment of ours. It is believed only if that segment is on its way (RFC 5927 section 4.1)."""
    number = context.demux.find(seg.flow)
    endpoint = context.endpoints[number] if number >= 0 else None
    if not isinstance(endpoint, Tcb):
        if seg.protocol == PROTOCOL_ICMPV6:
            context.counters.Icmp6InErrors += 1
        else:
            context.counters.IcmpInErrors += 1
        return
    if (seg.seq - endpoint.snd_una & MASK) >= HALF or (endpoint.snd_nxt - seg.seq & MASK) >= HALF or seg.seq == endpoint.snd_nxt:
        context.counters.OutOfWindowIcmps += 1
        return
    if seg.protocol == PROTOCOL_ICMPV6:
        error_of_ipv6(endpoint, seg, now)
    elif seg.icmp_type == UNREACHABLE:
        if seg.icmp_code == FRAGMENTATION_NEEDED:
            endpoint.path_narrowed(seg.icmp_mtu, now)
        elif seg.icmp_code in CODES:
            # A code that nobody has defined says nothing (NR_ICMP_UNREACH).
            error, hard = CODES[seg.icmp_code]
            endpoint.unreachable(error, hard, now)
    else:
        # Time exceeded, parameter problem: soft, whatever they say (MUST-56).
        endpoint.unreachable(errno.EPROTO if seg.icmp_type == PARAMETER_PROBLEM else errno.EHOSTUNREACH, False, now)


def error_of_ipv6(endpoint: Tcb, seg: Segment, now: int) -> None:
    """The same of ICMPv6 (RFC 4443)."""
    if seg.icmp_type == PACKET_TOO_BIG:
        endpoint.path_narrowed(seg.icmp_mtu, now)
    elif seg.icmp_type == UNREACHABLE_V6:
        if seg.icmp_code in CODES_V6:
            error, hard = CODES_V6[seg.icmp_code]
            endpoint.unreachable(error, hard, now)
    else:
        endpoint.unreachable(errno.EHOSTUNREACH if seg.icmp_type == TIME_EXCEEDED_V6 else errno.EPROTO, False, now)
