"""TCP_INFO: what is known of a connection, laid out as Linux's ``struct tcp_info`` (include/uapi/linux/tcp.h, 6.x)."""

import struct

from fastnet.tcp.connection import Connection
from fastnet.tcp.fastaccept import EarlyConnection
from fastnet.tcp.fastconnect import FastConnection
from fastnet.tcp.listener import Listener
from fastnet.tcp.numbers import DEFAULT_SEND_MSS, MASK, MICROSECOND, MILLISECOND, SECOND
from fastnet.tcp.states import State

FIELDS = (
    ("B", "state ca_state retransmits probes backoff options wscale flags"),
    ("I", "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets"),
    ("I", "last_data_sent last_ack_sent last_data_recv last_ack_recv"),
    ("I", "pmtu rcv_ssthresh rtt rttvar snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space total_retrans"),
    ("Q", "pacing_rate max_pacing_rate bytes_acked bytes_received"),
    ("I", "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out"),
    ("Q", "delivery_rate busy_time rwnd_limited sndbuf_limited"),
    ("I", "delivered delivered_ce"),
    ("Q", "bytes_sent bytes_retrans"),
    ("I", "dsack_dups reord_seen rcv_ooopack snd_wnd rcv_wnd rehash"),
)
"""Type and names of the fields in order, Linux's without their ``tcpi_``; ``wscale`` and ``flags`` are its two bytes of bit fields."""
NAMES = tuple(name for _, names in FIELDS for name in names.split())
LAYOUT = struct.Struct("=" + "".join(kind * len(names.split()) for kind, names in FIELDS))

# Constants of compiled modules cannot be imported; these are theirs.
CA_STATES = (0, 3, 4)
"""Linux's TCP_CA_Open, TCP_CA_Recovery and TCP_CA_Loss for OPEN, RECOVERY and LOSS of tcp/recovery.py."""
ACK_DELAY = 40 * MILLISECOND
NO_THRESHOLD = 0x7FFFFFFF
TIMESTAMPS_SIZE = 12

OPTION_TIMESTAMPS = 1
OPTION_SACK = 2
OPTION_WSCALE = 4
OPTION_ECN = 8
OPTION_ECN_SEEN = 16
OPTION_SYN_DATA = 32
FASTOPEN_CLIENT_FAIL_SHIFT = 1
"""Where the two bits of ``tcpi_fastopen_client_fail`` lie in ``flags``, behind ``tcpi_delivery_rate_app_limited``."""
REORDERING = 3
"""Linux's tcp_reordering: duplicate ACKs that stand for a loss."""


def tcp_info(connection: Connection | None, listener: Listener | None, now: int) -> bytes:
    """The structure, for a socket's connection or listener, or neither. What fastnet does not count is 0.

    :param now: ns
    """
    known: dict[str, int] = {"state": State.CLOSED, "snd_mss": DEFAULT_SEND_MSS, "rto": SECOND // MICROSECOND}
    if listener is not None:
        # As Linux: connections that wait to be accepted, and how many may.
        known = {"state": State.LISTEN, "unacked": len(listener.accept_queue), "sacked": listener.backlog}
    elif connection is not None:
        known = describe(connection, now)
    return LAYOUT.pack(*(min(known.get(name, 0), MASK) for name in NAMES))


def describe(connection: Connection, now: int) -> dict[str, int]:
    """The fields that are known: sizes in bytes, what Linux counts in segments in segments, times in us (``last_*``: ms)."""
    handshake = connection.handshake
    mss = connection.send_mss()

    def segments(size: int) -> int:
        return -(-size // mss)

    def since(then: int) -> int:
        return (now - then) // MILLISECOND if then else 0

    # With TCP Fast Open all is agreed before the handshake is over.
    opening = connection.state in (State.SYN_SENT, State.SYN_RECEIVED) and not isinstance(connection, EarlyConnection)
    options = OPTION_TIMESTAMPS if handshake.timestamps else 0
    options |= OPTION_SACK if handshake.sack else 0
    options |= OPTION_WSCALE if handshake.wscale else 0
    if connection.ecn is not None:
        options |= OPTION_ECN | (OPTION_ECN_SEEN if connection.ecn.seen else 0)
    failure = 0
    if isinstance(connection, FastConnection):
        options |= OPTION_SYN_DATA if connection.taken else 0
        failure = connection.failure
    elif isinstance(connection, EarlyConnection):
        options |= OPTION_SYN_DATA if connection.syn_data else 0
    headers = TIMESTAMPS_SIZE if handshake.timestamps else 0
    in_flight = connection.snd_nxt - connection.snd_una & MASK
    known = {
        "state": connection.state,
        "options": 0 if opening else options,
        "flags": failure << FASTOPEN_CLIENT_FAIL_SHIFT,
        "wscale": 0 if opening else handshake.snd_shift | handshake.rcv_shift << 4,
        "retransmits": min(handshake.retries, 255) if opening else 0,
        "rto": SECOND // MICROSECOND,
        "snd_mss": mss,
        "rcv_mss": DEFAULT_SEND_MSS,
        "unacked": segments(in_flight),
        "last_ack_recv": since(connection.heard_at),
        "pmtu": connection.path_mtu(),
        "rcv_ssthresh": handshake.rcv_wnd,
        "rtt": handshake.rtt // MICROSECOND,
        "rttvar": handshake.rtt // 2 // MICROSECOND,
        "snd_ssthresh": NO_THRESHOLD,
        "snd_cwnd": 10,
        "advmss": (min(connection.user_mss, connection.context.mss) if connection.user_mss else connection.context.mss) - headers,
        "reordering": REORDERING,
        "min_rtt": handshake.rtt // MICROSECOND,
        "snd_wnd": connection.snd_wnd,
        "rcv_wnd": connection.rcv_adv - connection.rcv_nxt & MASK,
    }
    if connection.patience is not None:
        known["probes"] = connection.patience.probes
    receiver = connection.receiver
    if receiver is not None:
        known |= {
            "ato": ACK_DELAY // MICROSECOND,
            "rcv_mss": receiver.largest_segment or DEFAULT_SEND_MSS,
            "last_data_recv": since(receiver.data_at),
            "rcv_ssthresh": receiver.limit,
            "rcv_space": receiver.limit,
            "rcv_rtt": receiver.rtt * (MILLISECOND // MICROSECOND),
        }
    sender = connection.sender
    if sender is not None and not opening:
        recovery = sender.recovery
        board = recovery.board
        rates = recovery.rates
        on_its_way = board.flights[board.head :]
        known |= {
            "ca_state": CA_STATES[recovery.state],
            "retransmits": min(sender.unanswered, 255),
            "backoff": min(sender.probes or sender.rtt.backoff, 255),
            "rto": sender.rtt.backed_off(sender.probes) // MICROSECOND,
            "sacked": segments(board.sacked),
            "lost": segments(board.lost),
            "retrans": sum(flight.retransmitted and not flight.lost and not flight.sacked for flight in on_its_way),
            "last_data_sent": since(sender.sent_at),
            "rtt": sender.rtt.srtt // MICROSECOND,
            "rttvar": sender.rtt.rttvar // MICROSECOND,
            "snd_ssthresh": ssthresh if (ssthresh := recovery.congestion.ssthresh) == NO_THRESHOLD else segments(ssthresh),
            "snd_cwnd": segments(recovery.congestion.cwnd),
            "pacing_rate": 0 if rates is None else rates.pacing_rate,
            "max_pacing_rate": 0 if rates is None else rates.max_pacing_rate,
            "delivery_rate": 0 if rates is None else rates.delivery_rate,
            "notsent_bytes": max(0, sender.buffer.length - in_flight),
            "min_rtt": (recovery.board.rack.min_rtt or handshake.rtt) // MICROSECOND,
        }
    # What was sent again outlives the sender, which goes with the connection's end.
    known["total_retrans"] = handshake.retries + (sender.resent if sender is not None else 0)
    return known
