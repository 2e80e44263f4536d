"""TCP_INFO: what is known of a connection, laid out as Linux's ``struct tcp_info`` (include/uapi/linux/tcp.h, 6.18)."""

import struct
from dataclasses import dataclass, fields
from typing import Annotated, Any, cast

from fastnet.tcp.connection import Connection
from fastnet.tcp.fastaccept import EarlyConnection
from fastnet.tcp.fastconnect import FastConnection
from fastnet.tcp.listener import Listener
from fastnet.tcp.numbers import DEFAULT_SEND_MSS, HALF, MASK, MICROSECOND, MILLISECOND, SECOND
from fastnet.tcp.opening import ActiveConnection
from fastnet.tcp.sender import Sender
from fastnet.tcp.states import State

U8 = Annotated[int, "B"]
U16 = Annotated[int, "H"]
U32 = Annotated[int, "I"]
U64 = Annotated[int, "Q"]


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """``struct tcp_info`` of Linux 6.18, field by field: Linux's names without their ``tcpi_``, in its order.

    Sizes are in bytes and counts in segments where nothing else is said. ``of`` reads what ``getsockopt`` gives for TCP_INFO, the kernel's
    too; a field that an older kernel does not have is 0.
    """

    state: U8 = 0
    """A ``State``."""
    ca_state: U8 = 0
    """0 open, 1 disorder (something arrived ahead), 2 CWR (an ECN mark brought CWND down), 3 recovery, 4 loss."""
    retransmits: U8 = 0
    """Timeouts in a row."""
    probes: U8 = 0
    """Keep-alive probes without an answer."""
    backoff: U8 = 0
    """How often the timeout was doubled."""
    options: U8 = 0
    """Bits: 1 timestamps, 2 SACK, 4 window scale, 8 ECN, 16 a packet with an ECN codepoint came, 32 data of the SYN was taken."""
    wscale: U8 = 0
    """The peer's window scale in the lower four bits (``snd_wscale``), ours in the upper (``rcv_wscale``)."""
    flags: U8 = 0
    """Bit 0: the program held the sender back when the delivery rate was measured. Bits 1 and 2 (``fastopen_client_fail``): why data did
    not go, or did not arrive, with a SYN with Fast Open: 1 there was no cookie, 2 it was not acknowledged, 3 the SYN was sent again."""
    rto: U32 = 0
    """The retransmission timeout, us."""
    ato: U32 = 0
    """How long an ACK may wait, us."""
    snd_mss: U32 = 0
    """Data bytes of a full segment that is sent."""
    rcv_mss: U32 = 0
    """Data bytes of the largest segment that came."""
    unacked: U32 = 0
    """Segments on their way; of a listener: connections that wait to be accepted."""
    sacked: U32 = 0
    """Of those, reported as arrived; of a listener: its backlog."""
    lost: U32 = 0
    """Of those, taken for lost."""
    retrans: U32 = 0
    """Of those, sent again and on their way."""
    fackets: U32 = 0
    """0, as on Linux."""
    last_data_sent: U32 = 0
    """Time since data was sent, ms."""
    last_ack_sent: U32 = 0
    """0, as on Linux."""
    last_data_recv: U32 = 0
    """Time since data came, ms."""
    last_ack_recv: U32 = 0
    """Time since anything acceptable came, ms."""
    pmtu: U32 = 0
    """Bytes of a packet that the path takes."""
    rcv_ssthresh: U32 = 0
    """The largest window to offer for now."""
    rtt: U32 = 0
    """The smoothed round-trip time, us."""
    rttvar: U32 = 0
    """Its mean deviation, us."""
    snd_ssthresh: U32 = 0
    """The slow start threshold, segments; 0x7FFFFFFF: none yet."""
    snd_cwnd: U32 = 0
    """The congestion window, segments."""
    advmss: U32 = 0
    """The MSS that the peer was told, options off."""
    reordering: U32 = 0
    """Segments by which something may be late before it counts as lost: 3."""
    rcv_rtt: U32 = 0
    """The round-trip time as the receiver sees it, us."""
    rcv_space: U32 = 0
    """Bytes that the receive buffer takes."""
    total_retrans: U32 = 0
    """Segments sent again since the connection began."""
    pacing_rate: U64 = 0
    """Bytes in a second at which the sender paces; 0: it does not."""
    max_pacing_rate: U64 = 0
    """The most that SO_MAX_PACING_RATE allows; all bits: no bound."""
    bytes_acked: U64 = 0
    """Sequence numbers acknowledged since the connection began; a client's SYN is one, and so is a FIN."""
    bytes_received: U64 = 0
    """Sequence numbers received in order behind the SYN; a FIN is one."""
    segs_out: U32 = 0
    """Segments sent, a client's SYN among them and a server's SYN-ACK not, modulo 2^32."""
    segs_in: U32 = 0
    """Segments received, the SYN among them, modulo 2^32."""
    notsent_bytes: U32 = 0
    """Bytes queued and never sent."""
    min_rtt: U32 = 0
    """The smallest round-trip time, us."""
    data_segs_in: U32 = 0
    """Segments with data received."""
    data_segs_out: U32 = 0
    """Segments with data sent, also again."""
    delivery_rate: U64 = 0
    """Bytes in a second that arrived lately."""
    busy_time: U64 = 0
    """Time with something queued or on its way, us, in steps of 1 ms."""
    rwnd_limited: U64 = 0
    """Of that, with the peer's window as what held the sender back, us."""
    sndbuf_limited: U64 = 0
    """Of that, with everything sent and the program waiting for room, us."""
    delivered: U32 = 0
    """Segments that arrived, the SYN among them."""
    delivered_ce: U32 = 0
    """Segments that arrived as ACKs with ECE say."""
    bytes_sent: U64 = 0
    """Bytes of data sent, also again."""
    bytes_retrans: U64 = 0
    """Of those, again."""
    dsack_dups: U32 = 0
    """D-SACKs received: what was sent came twice."""
    reord_seen: U32 = 0
    """Times that something arrived after what had been sent later."""
    rcv_ooopack: U32 = 0
    """Segments that came out of order and were kept; 65535 at most."""
    snd_wnd: U32 = 0
    """The window that the peer offers."""
    rcv_wnd: U32 = 0
    """The window that the peer was offered, from what it has been told to here."""
    rehash: U32 = 0
    """0: there is one path."""
    total_rto: U16 = 0
    """Timeouts since the connection began, those of SYNs among them."""
    total_rto_recoveries: U16 = 0
    """Of those, the first of several in a row."""
    total_rto_time: U32 = 0
    """From each of those until the peer answered, all together, ms."""
    received_ce: U32 = 0
    """This and what follows: 0, there is no Accurate ECN."""
    delivered_e1_bytes: U32 = 0
    delivered_e0_bytes: U32 = 0
    delivered_ce_bytes: U32 = 0
    received_e1_bytes: U32 = 0
    received_e0_bytes: U32 = 0
    received_ce_bytes: U32 = 0
    accecn_fail_mode: U16 = 0
    accecn_opt_seen: U16 = 0

    @classmethod
    def of(cls, raw: bytes) -> "TcpInfo":
        """From the bytes of ``getsockopt``; what is missing at their end is 0."""
        return cls(*LAYOUT.unpack(raw[: LAYOUT.size].ljust(LAYOUT.size, b"\0")))

    @property
    def snd_wscale(self) -> int:
        """The peer's window scale."""
        return self.wscale & 0x0F

    @property
    def rcv_wscale(self) -> int:
        """Our window scale."""
        return self.wscale >> 4

    @property
    def fastopen_client_fail(self) -> int:
        """Linux's ``enum tcp_fastopen_client_fail``: as ``flags`` says."""
        return self.flags >> FASTOPEN_CLIENT_FAIL_SHIFT & 3


KINDS: dict[str, str] = {field.name: cast("Any", field.type).__metadata__[0] for field in fields(TcpInfo)}
NAMES = tuple(KINDS)
LAYOUT = struct.Struct("=" + "".join(KINDS.values()))
BOUNDS = {name: (1 << 8 * struct.calcsize("=" + kind)) - 1 for name, kind in KINDS.items()}
"""The largest number of each field."""

# Constants of compiled modules cannot be imported; these are theirs.
CA_STATES = (0, 3, 4)
"""Linux's TCP_CA_Open, TCP_CA_Recovery and TCP_CA_Loss for OPEN, RECOVERY and LOSS of tcp/recovery.py."""
DISORDER = 1
REDUCING = 2
"""Linux's TCP_CA_Disorder and TCP_CA_CWR: OPEN, but something arrived ahead; or a mark has brought CWND down in this round trip."""
NETWORK, WINDOW, PROGRAM = 1, 2, 3
"""Values of ``Sender.held_by``."""
ACK_DELAY = 40 * MILLISECOND
MICROSECONDS = MILLISECOND // MICROSECOND
NO_THRESHOLD = 0x7FFFFFFF
NO_BOUND = (1 << 64) - 1
TIMESTAMPS_SIZE = 12

OPTION_TIMESTAMPS = 1
OPTION_SACK = 2
OPTION_WSCALE = 4
OPTION_ECN = 8
OPTION_ECN_SEEN = 16
OPTION_SYN_DATA = 32
DELIVERY_RATE_APP_LIMITED = 1
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
    known.setdefault("max_pacing_rate", NO_BOUND)
    return LAYOUT.pack(*(min(known.get(name, 0), BOUNDS[name]) for name in NAMES))


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
        "rcv_mss": connection.path.default_mss,
        "unacked": segments(in_flight),
        "segs_in": connection.segs_in,
        "segs_out": connection.segs_out,
        "delivered": 0 if opening else 1,
        "bytes_received": received(connection),
        "bytes_acked": 0 if opening else acknowledged(connection),
        "last_ack_recv": since(connection.heard_at),
        "pmtu": connection.path_mtu(),
        "rcv_ssthresh": handshake.rcv_wnd,
        "rtt": handshake.rtt // MICROSECOND,
        "rttvar": handshake.rtt // 2 // MICROSECOND,
        "snd_ssthresh": NO_THRESHOLD,
        "snd_cwnd": 10,
        "advmss": connection.mss_to_offer() - headers,
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
            "rcv_mss": receiver.largest_segment or connection.path.default_mss,
            "last_data_recv": since(receiver.data_at),
            "data_segs_in": receiver.data_segs,
            "rcv_ooopack": receiver.ooo,
            "rcv_ssthresh": receiver.limit,
            "rcv_space": receiver.limit,
            "rcv_rtt": receiver.rtt * (MILLISECOND // MICROSECOND),
        }
    sender = connection.sender
    if sender is not None and not opening:
        known |= describe_sender(connection, sender, now)
        rates = sender.recovery.rates
        if rates is not None and rates.delivery_rate_app_limited:
            known["flags"] |= DELIVERY_RATE_APP_LIMITED
    if isinstance(connection, FastConnection):
        known["data_segs_out"] = known.get("data_segs_out", 0) + (connection.syn_data > 0)
        known["bytes_sent"] = known.get("bytes_sent", 0) + connection.syn_data
    # What was sent again outlives the sender, which goes with the connection's end.
    known["total_retrans"] = handshake.retries + (sender.resent if sender is not None else 0)
    if isinstance(connection, ActiveConnection) and handshake.retries:
        known["total_rto"] = known.get("total_rto", 0) + handshake.retries
        known["total_rto_recoveries"] = known.get("total_rto_recoveries", 0) + 1
    return known


def describe_sender(connection: Connection, sender: Sender, now: int) -> dict[str, int]:
    """The fields of a connection that sends."""
    mss = connection.send_mss()

    def segments(size: int) -> int:
        return -(-size // mss)

    def since(then: int) -> int:
        return (now - then) // MILLISECOND if then else 0

    recovery = sender.recovery
    rates = recovery.rates
    board = recovery.board
    rack = board.rack
    in_flight = connection.snd_nxt - connection.snd_una & MASK
    on_its_way = [(flight, segments(flight.end - flight.seq & MASK)) for flight in board.flights[board.head :]]
    sacked = sum(count for flight, count in on_its_way if flight.sacked)
    # A sender that was made after the end, for an option, knows nothing of what was on its way.
    unacked = sum(count for _, count in on_its_way) or segments(in_flight)
    state = CA_STATES[recovery.state]
    if state == 0 and (board.sacked or recovery.duplicates):
        state = DISORDER
    elif state == 0 and connection.ecn is not None and connection.ecn.is_reducing(connection.snd_una):
        state = REDUCING
    # How long it has waited for what it waits for now.
    waited = (now // MILLISECOND - sender.held_since) & MASK
    waits = {
        NETWORK: sender.network_time,
        WINDOW: sender.window_time,
        PROGRAM: sender.program_time,
    }
    if sender.held_by in waits:
        waits[sender.held_by] += waited
    ssthresh = recovery.congestion.ssthresh
    return {
        "ca_state": state,
        "retransmits": min(sender.unanswered, 255),
        "backoff": min(sender.probes or sender.rtt.backoff, 255),
        "rto": sender.rtt.backed_off(sender.probes) // MICROSECOND,
        "unacked": unacked,
        "sacked": sacked,
        "lost": sum(count for flight, count in on_its_way if flight.lost),
        "retrans": sum(flight.retransmitted and not flight.lost and not flight.sacked for flight, _ in on_its_way),
        "last_data_sent": since(sender.sent_at),
        "rtt": sender.rtt.srtt // MICROSECOND,
        "rttvar": sender.rtt.rttvar // MICROSECOND,
        "snd_ssthresh": ssthresh if ssthresh == NO_THRESHOLD else segments(ssthresh),
        "snd_cwnd": segments(recovery.congestion.cwnd),
        "pacing_rate": 0 if rates is None else rates.pacing_rate,
        "max_pacing_rate": NO_BOUND if rates is None else rates.max_pacing_rate or NO_BOUND,
        "delivery_rate": 0 if rates is None else rates.delivery_rate,
        "notsent_bytes": max(0, sender.buffer.length - in_flight),
        "min_rtt": (rack.min_rtt or connection.handshake.rtt) // MICROSECOND,
        "data_segs_out": sender.data_segs,
        "busy_time": sum(waits.values()) * MICROSECONDS,
        "rwnd_limited": waits[WINDOW] * MICROSECONDS,
        "sndbuf_limited": waits[PROGRAM] * MICROSECONDS,
        # The SYN; and of what went out for the first time, what is not on its way any more. A FIN without data is no segment of data.
        "delivered": 1 + max(0, sender.data_segs - sender.resent - (unacked - sacked) + (sender.fin_sent and in_flight > 0)),
        "delivered_ce": connection.ecn.delivered_ce if connection.ecn is not None else 0,
        "bytes_sent": board.delivered - board.sacked + in_flight - sender.fin_sent + sender.resent_bytes,
        "bytes_retrans": sender.resent_bytes,
        "dsack_dups": rack.dsack_dups,
        "reord_seen": rack.reord_seen,
        "total_rto": sender.timeouts,
        "total_rto_recoveries": sender.episodes,
        "total_rto_time": sender.timeout_time,
    }


def acknowledged(connection: Connection) -> int:
    """Sequence numbers that the peer has acknowledged, as Linux counts them: a client's SYN is one of them, a server's is not."""
    first = 1 if isinstance(connection, ActiveConnection) else 0
    sender = connection.sender
    if sender is None or connection.state == State.CLOSED:
        return first + (connection.snd_una - connection.handshake.iss - 1 & MASK)
    taken = connection.taken if isinstance(connection, FastConnection) else 0
    return first + taken + sender.recovery.board.delivered - sender.recovery.board.sacked


def received(connection: Connection) -> int:
    """Sequence numbers that came in order behind the SYN; a FIN is one."""
    first = connection.handshake.irs + 1
    size = connection.rcv_nxt - first & MASK
    receiver = connection.receiver
    if receiver is None:
        return 0 if connection.state == State.SYN_SENT else size
    edge = receiver.rtt_edge - first & MASK
    # The edge runs ahead of RCV.NXT, and may have gone round once more.
    wraps = receiver.wraps - (edge < size and size - edge >= HALF)
    return (max(wraps, 0) << 32) + size
