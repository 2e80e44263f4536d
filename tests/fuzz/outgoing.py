"""What a stack sends, read by nobody's code but the fuzzer's, and what must hold of every packet.

``Wire`` remembers what each connection has said so far: the same bytes under the same numbers, nothing beyond the peer's window, no
segment larger than peer and path take, no window taken back.
"""

from __future__ import annotations

import struct

from fastnet._flow import FourTuple
from fastnet.tcp.congestion.base import CongestionControl
from fastnet.tcp.connection import Connection
from fastnet.tcp.numbers import ECT_0
from fastnet.tcp.recovery import Recovery
from tests.fuzz.device import Left
from tests.fuzz.invariants import UNSYNCHRONIZED
from tests.fuzz.packets import ACK, CWR, ECE, FIN, RST, SYN, M, good_sum
from tests.translate import four

Ends = tuple[str, int, str, int]
"""Remote address and port, local address and port."""
HALF = 1 << 31
ICMP, TCP = 1, 6
FIXED = struct.Struct(">BBHHHBBH4s4sHHIIBBHHH")
MSS, WSCALE, SACK_OK, SACK, STAMPS = 2, 3, 4, 5, 8
SIZES = {MSS: (4,), WSCALE: (3,), SACK_OK: (2,), SACK: (10, 18, 26, 34), STAMPS: (10,)}


NO_THRESHOLD = 0x7FFFFFFF
"""SSTHRESH before the first loss."""
RECOVERY = 1
"""Of ``Recovery.state``."""
MAXIMUM = 65535
SMALLEST = 48
"""A peer that names less gets this."""
MOST_OF_COOKIES = 1460
"""A cookie knows the peer's MSS by its place in a table (Linux's msstab), and one that is a little wrong names another place."""


class Sent:
    """One segment that left, its header in numbers.

    :ivar options: kind -> its bytes without kind and length; ``room``: bytes of all options
    :ivar size: bytes of data in the largest segment that it becomes on the wire
    """

    __slots__ = ("ack", "data", "ends", "flags", "options", "room", "seq", "size", "tos", "window")

    ends: Ends
    seq: int
    ack: int
    flags: int
    window: int
    tos: int
    options: dict[int, bytes]
    room: int
    data: bytes
    size: int


def read_options(raw: bytes) -> dict[int, bytes]:
    """TCP options; nothing that is sent may be malformed."""
    found = {}
    at = 0
    while at < len(raw):
        kind = raw[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        size = raw[at + 1]
        assert size in SIZES[kind] and at + size <= len(raw), "an option's length"
        assert kind not in found, "an option twice"
        found[kind] = raw[at + 2 : at + size]
        at += size
    return found


def read(left: Left, mtu: int, chosen: bool = False, dctcp: bool = False) -> Sent | None:
    """A packet that left; None when it is not TCP. It must be in order.

    :param chosen: a policy may have chosen the options of a SYN-ACK, byte by byte
    :param dctcp: some connection may have DCTCP, whose every packet may be marked
    """
    packet = left.packet
    assert packet[0] == 0x45, "an IPv4 header without options"
    # Without DF, where the path takes less than min_pmtu, packets are told apart.
    assert packet[4:8] == b"\0\0\x40\0" or packet[6:8] == b"\0\0", "never fragmented"
    assert struct.unpack_from(">H", packet, 2)[0] == len(packet), "the IP header's length"
    assert packet[8], "a time to live"
    assert good_sum(packet[:20]), "the IP header's checksum"
    if packet[9] == ICMP:
        assert good_sum(packet[20:]), "the ICMP checksum"
        assert len(packet) <= mtu, "longer than the device takes"
        return None
    values = FIXED.unpack_from(packet)
    offset = (values[14] >> 4) * 4
    assert packet[9] == TCP and 20 <= offset <= len(packet) - 20, "a TCP header"
    sent = Sent()
    sent.ends = (".".join(map(str, packet[16:20])), values[11], ".".join(map(str, packet[12:16])), values[10])
    sent.tos, sent.seq, sent.ack, sent.flags, sent.window = values[1], values[12], values[13], values[15], values[16]
    sent.room = offset - 20
    sent.options = {} if chosen and sent.flags & SYN else read_options(packet[40 : 20 + offset])
    sent.data = packet[20 + offset :]
    sent.size = min(len(sent.data), left.segment_size or len(sent.data))
    assert 20 + offset + sent.size <= mtu, "longer than the device takes"
    if not left.is_checked:
        assert good_sum(packet[12:20] + struct.pack(">HH", TCP, len(packet) - 20) + packet[20:]), "the TCP checksum"
    check_flags(sent, dctcp)
    return sent


def check_flags(sent: Sent, dctcp: bool) -> None:
    flags = sent.flags
    assert not (flags & SYN and flags & (FIN | RST)), "a SYN with FIN or RST"
    assert flags & (SYN | ACK | RST), "neither SYN nor ACK nor RST"
    assert not (flags & RST and sent.data), "a RST with data"
    assert sent.tos & 3 == 0 or sent.tos & 3 == ECT_0 and (sent.data or dctcp), "ECN: only data may be marked, and not by us"
    assert not (flags & RST and flags & (ECE | CWR)) and not (flags & CWR and not sent.data and not flags & SYN), "ECN flags"
    assert flags & SYN or not {MSS, WSCALE, SACK_OK} & sent.options.keys(), "options that only a SYN has"


class Said:
    """What one connection has said and heard so far; places in a stream are counted from its first byte.

    :ivar connection: it, kept alive, as its id() names it
    :ivar edge: how far the peer's window ever reached; ``mss``: the largest segment at the last look, options included
    :ivar acked, offered: RCV.NXT and the right edge of our window as last sent; -1 before
    :ivar congestion: its congestion control at the last look; ``highest``: the highest CWND; ``delivered``: as the scoreboard has it
    :ivar announced: the MSS that the peer may have named, -1 before the handshake is over
    """

    __slots__ = (
        "acked", "announced", "congestion", "connection", "delivered", "edge", "highest", "mss", "offered", "una",
    )  # fmt: skip

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.edge = -1
        self.mss = 0
        self.una = 0
        self.acked = -1
        self.offered = -1
        self.announced = -1
        self.congestion: CongestionControl | None = None
        self.highest = self.delivered = 0

    def check_growth(self, recovery: Recovery, outstanding: int) -> None:
        """CWND grows by what has arrived, however many ACKs said so, or goes back to where it was.

        In recovery it is what is on its way, which it follows down.
        """
        congestion = recovery.congestion
        delivered = recovery.board.delivered
        if congestion is self.congestion:
            most = self.highest + delivered - self.delivered + 2 * congestion.mss
            if recovery.state == RECOVERY:
                most = max(most, outstanding + 2 * congestion.mss)
            # What was reached in the middle of a batch is not seen here, and an undo may go back to it: it is no more than this.
            most = max(most, congestion.initial_window() + delivered + 2 * congestion.mss)
            assert congestion.cwnd <= most, "CWND grew by more than was acknowledged"
            self.highest = max(self.highest, congestion.cwnd)
        else:
            self.congestion = congestion
            # In a recovery it comes to the SSTHRESH that the one before it had.
            self.highest = max(congestion.cwnd, congestion.ssthresh if congestion.ssthresh < NO_THRESHOLD else 0)
        self.delivered = delivered


class Wire:
    """What the connections of one stack send, packet by packet.

    :param announced: of each pair of ends, the largest MSS that a SYN of the peer's named
    :ivar knows: so it is for all of them
    """

    def __init__(self, announced: dict[Ends, int]) -> None:
        self.said: dict[int, Said] = {}
        self.announced = announced
        self.knows = True

    def forget(self) -> None:
        self.said.clear()

    def look(self, connections: list[Connection]) -> None:
        """Note how far the window of each reaches now."""
        for connection in connections:
            said = self.said.get(id(connection))
            if said is None:
                said = self.said[id(connection)] = Said(connection)
            first = connection.handshake.iss + 1
            una = connection.snd_una - first & M
            said.una = una if una < HALF else 0
            said.edge = max(said.edge, said.una + connection.snd_wnd)
            said.mss = min(connection.handshake.mss, connection.path.mss)
            if connection.sender is not None:
                if connection.sender.recovery.path is not None:
                    # A probe of the path may be as large as the peer takes.
                    said.mss = connection.handshake.mss
                said.check_growth(connection.sender.recovery, connection.snd_nxt - connection.snd_una & M)
            if said.announced < 0 and connection.state not in UNSYNCHRONIZED:
                said.announced = self.announced.get(ends_of(connection.handshake.flow), MAXIMUM) if self.knows else MAXIMUM
                least = MOST_OF_COOKIES if connection.context.counters.SyncookiesRecv else SMALLEST
                assert said.mss <= max(said.announced, least), "a larger MSS than the peer's"

    def situation(self, connection: Connection) -> tuple[int, int]:
        """Where SND.UNA was at the last look, and the largest segment."""
        said = self.said[id(connection)]
        return said.una, said.mss

    def check(self, sent: Sent, connection: Connection, before: tuple[int, int], written: bytearray | None) -> None:
        """A segment of a connection.

        :param before: of the connection, before what led to it: where SND.UNA was, and the largest segment
        :param written: what the program has written, None where nobody knows
        """
        said = self.said[id(connection)]
        handshake = connection.handshake
        if sent.flags & (SYN | RST):
            return
        first = handshake.iss + 1
        start = sent.seq - first & M
        if sent.data:
            self.check_data(sent, said, start, before, written)
            assert (connection.snd_nxt - sent.seq & M) >= len(sent.data) + bool(sent.flags & FIN), "beyond SND.NXT"
        self.check_window(sent, said)

    def check_data(self, sent: Sent, said: Said, start: int, before: tuple[int, int], written: bytearray | None) -> None:
        end = start + len(sent.data)
        assert end <= said.edge, "data beyond the window that the peer offered"
        assert sent.size + sent.room <= max(said.mss, before[1]), "a segment larger than the peer's MSS"
        if written is not None:
            assert sent.data == written[start:end], "other bytes than the program wrote there"

    def check_window(self, sent: Sent, said: Said) -> None:
        """What an ACK acknowledges and offers."""
        handshake = said.connection.handshake
        first = handshake.irs + 1
        acked = sent.ack - first & M
        assert (said.connection.rcv_nxt - sent.ack & M) < HALF, "an ACK of what has not come"
        assert acked >= said.acked, "an ACK that goes back"
        shift = handshake.rcv_shift
        offered = acked + (sent.window << shift)
        # Who is in TIME-WAIT has no window.
        assert offered + (1 << shift) > said.offered or said.connection.id < 0, "a window that was offered is taken back"
        said.acked = acked
        said.offered = max(said.offered, offered)
        if block := sent.options.get(SACK):
            edges = struct.unpack(f">{len(block) // 4}I", block)
            assert handshake.sack, "SACK that was not agreed"
            for left, right in zip(edges[::2], edges[1::2], strict=True):
                assert 0 < (right - left & M) < HALF, "a SACK block"
            for left in edges[2::2]:
                assert 0 < (left - sent.ack & M) < HALF, "only the first block may be a D-SACK"
        assert (STAMPS in sent.options) == bool(handshake.timestamps), "timestamps as agreed"


def ends_of(flow: FourTuple) -> Ends:
    """As IPv4: that is how the fuzzer builds and reads packets of both families."""
    return four(flow.remote_address), flow.remote_port, four(flow.local_address), flow.local_port
