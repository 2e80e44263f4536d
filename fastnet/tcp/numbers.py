"""Numbers that every module of the protocol uses.

Not compiled: a compiled module copies them into C variables when it is imported (its ``.pxd`` gives them a type).
"""

from typing import Final

MASK: Final = 0xFFFFFFFF
"""Sequence numbers and timestamps count modulo 2**32. ``(a - b) & MASK`` is right for Python's integers and for C's."""
HALF: Final = 0x80000000
"""``(a - b) & MASK < HALF`` says that a is b or comes after it (RFC 1982, RFC 9293 section 3.4)."""
MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000
"""Time is in nanoseconds of a monotonic clock."""
DEFAULT_SEND_MSS: Final = 536
"""RFC 9293 MUST-15: what to send to a peer that names no MSS."""
MIN_SEND_MSS: Final = 48
"""A peer that names less gets this (Linux's TCP_MIN_SND_MSS): below it, headers would outweigh data without end."""
MAX_PIECES: Final = 128
"""Pieces out of order that a connection keeps; more are dropped, and come again. Their bytes are bounded by the window."""
BYTES_A_FLIGHT: Final = 512
MIN_FLIGHTS: Final = 1024
"""Packets on their way at once: one for so many bytes of the send buffer's limit, but so many at least."""
PAGE: Final = 4096
"""What tcp_mem counts in, bytes."""
ECT_0: Final = 2
"""The ECN codepoint (RFC 3168 section 5) of a packet that may be marked."""
CE: Final = 3
"""Congestion experienced: a router has marked it."""
CODEPOINT: Final = 3
"""The two bits of the IP header's second byte where these stand."""
REOPENED_GAP: Final = 65537
"""How far behind the last connection's numbers those of one that reopens it begin, in bytes, where the clock has not come so far."""
DONT: Final = -1
WANT: Final = 0
IGNORING: Final = 2
"""Values of ``UserCalls.pmtudisc``: IP_PMTUDISC_DONT, _WANT, and _PROBE with what lies above. A new object has WANT, as Linux's sockets."""
OPEN: Final = 0
RECOVERY: Final = 1
LOSS: Final = 2
"""Values of ``Recovery.state``: nothing is missing; fast recovery; after a timeout (TCP_CA_Open, TCP_CA_Recovery, TCP_CA_Loss)."""
