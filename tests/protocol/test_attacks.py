"""What somebody who is not on the path can do to a connection: nothing. He knows the 4-tuple and not the numbers, and sends what he likes.

RFC 5961 (RST, SYN, data), RFC 5927 (ICMP), RFC 6528 (sequence numbers), RFC 4987 (handshakes), RFC 7323 section 5 (timestamps).
What the peer itself can do is at the end. docs/defence.md has the list.
"""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
import zlib
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.packet import Packet, Raw

from fastnet._flow import FourTuple
from fastnet.tcp.challenges import ChallengeBudget
from fastnet.tcp.connection import Connection
from fastnet.tcp.isn import IsnGenerator
from fastnet.tcp.states import State
from fastnet.tcp.timewait import TimeWait
from tests.fuzz.packets import ACK, FIN, PSH, RST, SYN, ip_packet, mend, tcp_packet
from tests.peer import MILLISECOND, PEER, SECOND, STACK, M, Peer, Wire, icmp

ENDS = (PEER, 40000, STACK, 80)
TIMESTAMPS = [("Timestamp", (5000, 0))]
PROBES = 5000


def stamp(value: int, echo: int = 0) -> bytes:
    return struct.pack(">BBBBII", 1, 1, 8, 10, value & M, echo & M)


class Blind:
    """An attacker who knows who talks to whom, and guesses the rest."""

    def __init__(self, wire: Wire, ends: tuple[str, int, str, int] = ENDS) -> None:
        self.wire = wire
        self.ends = ends
        self.random = Random("blind")

    def guess(self) -> int:
        return self.random.getrandbits(32)

    def send(self, flags: int, seq: int, ack: int = 0, options: bytes = b"", data: bytes = b"", pause: int = 0) -> list[bytes]:
        """One probe; what the stack says to it, which goes to the peer and not to him."""
        self.wire.device.inject(tcp_packet(self.ends, seq, ack, flags, 64240, options, data, 0))
        self.wire.now += pause
        self.wire.stack.poll(self.wire.now)
        return self.wire.device.drain()


def victim(wire: Wire, iss: int = 0x12345678, options: list[Any] | None = None) -> tuple[Peer, Connection]:
    """A connection between two who mean no harm."""
    peer = Peer(wire, iss=iss)
    peer.options = TIMESTAMPS if options is None else options
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), peer.options)
    return peer, connection


def untouched(peer: Peer, connection: Connection) -> None:
    """It is as it was: nothing was delivered or acknowledged, and data still flows both ways."""
    assert connection.state == State.ESTABLISHED and connection.error == connection.soft_error == 0
    assert connection.readable() == 0 and connection.rcv_nxt == (peer.iss + 1) & M and connection.snd_una == (peer.irs + 1) & M
    assert connection.receiver is None or not connection.receiver.pieces
    peer.options = [("Timestamp", (6000, 0))] if connection.handshake.timestamps else []
    peer.put("A", 1, 1, data=b"honest")
    assert connection.receive(100) == b"honest"
    connection.send(b"answer")
    assert b"answer" in [peer.relative(packet)[3] for packet in peer.wire.sent()]


# ---- RST, SYN and data (RFC 5961) ----


@pytest.mark.parametrize("flags", [RST, RST | ACK, SYN, SYN | ACK, FIN, FIN | ACK, PSH | ACK, 0, 0xFF])
def test_guessed_sequence_numbers(flags: int) -> None:
    """Whatever the flags; a window of 64 KB is hit once in 65,536 guesses, and that is not enough."""
    wire = Wire()
    peer, connection = victim(wire)
    blind = Blind(wire)
    answers = 0
    for _ in range(PROBES):
        data = b"evil" if flags & PSH else b""
        answers += len(blind.send(flags, blind.guess(), blind.guess(), stamp(blind.guess()), data, MILLISECOND))
    if not data and not flags & FIN:
        assert answers <= PROBES / 500 + 1, "at most two ACKs a second"
    assert wire.counter("TcpOutRsts") == 0
    untouched(peer, connection)


@pytest.mark.parametrize("flags", [RST, RST | ACK])
def test_a_reset_in_the_window_is_challenged(flags: int) -> None:
    """RFC 5961 section 3.2: every place in the window but one, so it takes 2**32 probes and not 2**32 / window."""
    wire = Wire()
    peer, connection = victim(wire)
    blind = Blind(wire)
    answers = [blind.send(flags, connection.rcv_nxt + off, blind.guess(), pause=SECOND) for off in (1, 2, 1000, 30_000, 65_534)]
    assert [len(said) for said in answers] == [1] * 5 and wire.counter("TCPChallengeACK") == 5
    for said in answers:
        assert said[0][33] == ACK and said[0][28:32] == (connection.rcv_nxt & M).to_bytes(4, "big"), "it tells the peer, who would know"
    assert blind.send(flags, connection.rcv_nxt - 1) == blind.send(flags, connection.rcv_nxt + 65_536) == []
    untouched(peer, connection)
    blind.send(flags, connection.rcv_nxt)
    assert connection.state == State.CLOSED, "the peer's own"


@pytest.mark.parametrize("off", [0, 1, -1, 1000, 100_000, 0x80000000])
def test_a_syn_is_challenged_wherever_it_lies(off: int) -> None:
    """RFC 5961 section 4.2."""
    wire = Wire()
    peer, connection = victim(wire)
    (answer,) = Blind(wire).send(SYN, connection.rcv_nxt + off)
    assert answer[33] == ACK and wire.counter("TCPSYNChallenge") == wire.counter("TCPChallengeACK") == 1
    untouched(peer, connection)


def test_data_with_a_guessed_acknowledgment() -> None:
    """RFC 5961 section 5.2: even at the very place, SEG.ACK has to lie within MAX.SND.WND of SND.UNA; RFC 793 took half of all numbers."""
    wire = Wire()
    peer, connection = victim(wire, options=[])
    blind = Blind(wire)
    for i in range(1, 256):
        blind.send(PSH | ACK, connection.rcv_nxt, connection.snd_una + (i << 24), data=b"evil")
        blind.send(FIN | ACK, connection.rcv_nxt, connection.snd_una + (i << 24))
    for off in (1, 2, -connection.max_snd_wnd - 1):
        blind.send(PSH | ACK, connection.rcv_nxt, connection.snd_una + off, data=b"evil")
    untouched(peer, connection)


def test_challenges_are_few() -> None:
    """tcp_invalid_ratelimit: the stack is no amplifier, and nobody's ACKs count against somebody else's."""
    wire = Wire()
    _, connection = victim(wire)
    blind = Blind(wire)
    sent = sum(len(blind.send(RST, connection.rcv_nxt + 1 + i, pause=MILLISECOND)) for i in range(2000))
    assert sent == 4 and wire.counter("TCPACKSkippedChallenge") == 1996
    wire.stack.settings.set("tcp_invalid_ratelimit", 0)
    assert sum(len(blind.send(RST, connection.rcv_nxt + 1 + i)) for i in range(10)) == 10, "0: no limit"


def crowd(wire: Wire, count: int) -> list[tuple[int, Connection]]:
    """The attacker's own connections."""
    listener = wire.stack.listen("0.0.0.0", 81)
    mine = []
    for i in range(count):
        ends = ("198.18.0.66", 20_000 + i, STACK, 81)
        for flags, seq, ack in ((SYN, 0, 0), (ACK, 1, 1)):
            irs = int.from_bytes(wire.device.drain()[0][24:28], "big") if flags == ACK else 0
            wire.device.inject(tcp_packet(ends, 7 + seq, irs + ack, flags, 64240, b"", b"", 0))
            wire.stack.poll(wire.now)
        connection = listener.accept()
        assert connection is not None
        mine.append((20_000 + i, connection))
    return mine


def challenges_seen(wire: Wire, mine: list[tuple[int, Connection]], hit: bool, other: Connection) -> int:
    """A second of CVE-2016-5696: a probe of the other connection, then as many of his own as he has; how many challenge ACKs he gets."""
    wire.now += SECOND
    Blind(wire).send(SYN if hit else ACK, other.rcv_nxt + 1000, other.snd_una)
    for port, connection in mine:
        wire.device.inject(tcp_packet(("198.18.0.66", port, STACK, 81), connection.rcv_nxt + 1, 0, RST, 0, b"", b"", 0))
    wire.stack.poll(wire.now)
    return sum(packet[16:20] == bytes((198, 18, 0, 66)) for packet in wire.device.drain())


def test_the_limit_says_nothing_about_other_connections() -> None:
    """CVE-2016-5696. Without a limit of the whole stack's, which is the default, there is nothing to look at."""
    wire = Wire()
    _, connection = victim(wire)
    mine = crowd(wire, 120)
    assert [challenges_seen(wire, mine, i % 2 == 0, connection) for i in range(10)] == [120] * 10


def test_with_a_limit_it_is_lost_in_the_noise() -> None:
    """Each second's amount is drawn, from 50 to 149; the one ACK that he looks for is not to be seen in it."""
    wire = Wire(tcp_challenge_ack_limit=100)
    wire.stack.context.challenges = ChallengeBudget(Random(1).randbytes)
    _, connection = victim(wire)
    mine = crowd(wire, 160)
    seen = [challenges_seen(wire, mine, i % 2 == 0, connection) for i in range(200)]
    hits, misses = seen[::2], seen[1::2]
    for counts in (hits, misses):
        assert 49 <= min(counts) < 65 and 135 < max(counts) <= 149 and len(set(counts)) > 40
    assert abs(sum(hits) - sum(misses)) / 100 < 12, "a difference of 1 is drowned by a deviation of 29 each second"
    wire.stack.settings.set("tcp_challenge_ack_limit", 0)
    assert challenges_seen(wire, mine, True, connection) == 0


# ---- Timestamps (RFC 7323 section 5) ----


def test_a_timestamp_from_the_future_does_not_poison() -> None:
    """Taken in, it would have PAWS refuse all that the peer sends for 24 days. It takes all three numbers, not one."""
    wire = Wire()
    peer, connection = victim(wire)
    blind = Blind(wire)
    future = 5000 + 0x7FFFFFF0
    for _ in range(PROBES):
        blind.send(ACK, blind.guess(), blind.guess(), stamp(future), pause=MILLISECOND)
    assert connection.ts_recent == 5000
    # He has the sequence number, and not the acknowledgment number.
    for i in range(1, 256):
        blind.send(PSH | ACK, connection.rcv_nxt - 100, connection.snd_una + (i << 24), stamp(future), bytes(200))
        blind.send(ACK, connection.rcv_nxt, connection.snd_una + (i << 24), stamp(future))
    assert connection.ts_recent == 5000 and wire.counter("PAWSEstab") == 0
    untouched(peer, connection)


def time_wait(wire: Wire, options: list[Any]) -> tuple[Peer, TimeWait]:
    peer, connection = victim(wire, options=options)
    connection.close(wire.now)
    wire.sent()
    peer.options = options
    peer.put("FA", 1, 2)
    (found,) = [endpoint for endpoint in wire.stack.context.endpoints if isinstance(endpoint, TimeWait)]
    return peer, found


def test_time_wait_is_not_poisoned_nor_ended() -> None:
    """A timestamp counts only at RCV.NXT (tcp_timewait_state_process()); what does not has one answer in half a second."""
    wire = Wire()
    _, waiting = time_wait(wire, TIMESTAMPS)
    blind = Blind(wire)
    answers = sum(len(blind.send(ACK, blind.guess(), blind.guess(), stamp(0x7FFFFFF0), pause=MILLISECOND)) for _ in range(PROBES))
    answers += sum(len(blind.send(RST, blind.guess(), blind.guess(), pause=MILLISECOND)) for _ in range(PROBES))
    assert waiting.ts_recent == 5000 and waiting.id >= 0
    assert answers <= PROBES / 500 + 1 and wire.counter("TCPACKSkippedTimeWait") == PROBES - answers
    (answer,) = blind.send(FIN | ACK, waiting.rcv_nxt - 1, waiting.snd_nxt, stamp(5000))
    assert answer[33] == ACK, "its FIN again is always answered"


# ---- ICMP (RFC 5927) ----


@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 2), (3, 3), (3, 4), (3, 13), (4, 0), (11, 0), (12, 0)])
def test_icmp_with_guessed_sequence_numbers(kind: int, code: int) -> None:
    """Section 4.1: it must be of a segment that is on its way."""
    wire = Wire()
    _, connection = victim(wire)
    connection.send(b"on its way")
    wire.sent()
    blind = Blind(wire)
    mss, cwnd = connection.send_mss(), connection.sender.recovery.congestion.cwnd
    for i in range(PROBES):
        quoted = tcp_packet((STACK, 80, PEER, 40000), blind.guess(), 0, ACK, 0, b"", b"", 0)[:28]
        message = bytearray(ip_packet("198.18.0.254", STACK, 1, struct.pack(">BBHI", kind, code, 0, (0, 68, 576, 1400)[i % 4]) + quoted))
        mend(message)
        wire.device.inject(bytes(message))
        if i % 64 == 0:
            wire.stack.poll(wire.now)
    wire.stack.poll(wire.now)
    assert connection.send_mss() == mss and connection.sender.recovery.congestion.cwnd == cwnd
    assert connection.state == State.ESTABLISHED and connection.soft_error == 0 and wire.device.drain() == []
    assert wire.counter("OutOfWindowIcmps") == (0 if kind == 4 else PROBES)


@pytest.mark.parametrize("mtu", [0, 1, 20, 67, 68, 69, 100, 1500, 65535])
def test_icmp_of_one_on_the_path(mtu: int) -> None:
    """Who sees the numbers can narrow the path, to no less than tcp_min_snd_mss, and never widen it; and end nothing (section 4)."""
    wire = Wire()
    _, connection = victim(wire)
    connection.send(bytes(1000))
    (packet,) = wire.sent()
    before = connection.send_mss()
    for _ in range(3):
        wire.put(icmp(packet, 3, 4, nexthopmtu=mtu))
    assert 48 - 12 <= connection.send_mss() <= before and connection.state == State.ESTABLISHED
    for kind, code in ((3, 2), (3, 3), (3, 10), (11, 0), (12, 0)):
        wire.put(icmp(packet, kind, code))
    assert connection.state == State.ESTABLISHED


# ---- Handshakes ----


def test_a_guessed_acknowledgment_completes_no_handshake() -> None:
    """In SYN-RECEIVED; the request stays, and the peer's own ACK completes it."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    blind = Blind(wire)
    for _ in range(PROBES):
        blind.send(ACK, peer.iss + 1, blind.guess())
        blind.send(RST, blind.guess())
    assert listener.accept() is None and len(listener.syn_queue) == 1
    peer.put("A", 1, 1)
    assert listener.accept() is not None


def test_a_guessed_cookie_is_none() -> None:
    """One number in 2**29 is good."""
    wire = Wire(tcp_syncookies=2)
    listener = wire.stack.listen("0.0.0.0", 80)
    Peer(wire).syn()
    blind = Blind(wire)
    for _ in range(4 * PROBES):
        blind.send(ACK, blind.guess(), blind.guess())
    assert listener.accept() is None and wire.counter("SyncookiesFailed") == 4 * PROBES


def test_a_cookie_is_good_for_its_own_4_tuple_and_number() -> None:
    wire = Wire(tcp_syncookies=2)
    listener = wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    for ends, seq in (((PEER, 40001, STACK, 80), 1), (("198.18.0.9", 40000, STACK, 80), 1), (ENDS, 2), (ENDS, 0)):
        Blind(wire, ends).send(ACK, peer.iss + seq, peer.irs + 1)
    assert listener.accept() is None
    Blind(wire).send(ACK, peer.iss + 1, peer.irs + 1)
    assert listener.accept() is not None
    Blind(wire).send(ACK, peer.iss + 1, peer.irs + 1)
    assert listener.accept() is None, "nor a second time"


def test_a_request_is_no_amplifier() -> None:
    """The same SYN again, and what lies outside the window: one answer in half a second, to whoever's address it was."""
    wire = Wire()
    wire.stack.listen("0.0.0.0", 80)
    peer = Peer(wire)
    peer.syn()
    blind = Blind(wire)
    again = sum(len(blind.send(SYN, peer.iss, pause=MILLISECOND // 2)) for _ in range(1000))
    assert again == 1 and wire.counter("TCPACKSkippedSynRecv") == 999
    outside = sum(len(blind.send(ACK, peer.iss + 1_000_000 + i, peer.irs + 1)) for i in range(100))
    assert outside <= 1


# ---- Sequence numbers (RFC 6528) ----


def isns(count: int, secret: bytes = bytes(range(16)), now: int = SECOND) -> list[int]:
    """Of 4-tuples that are neighbours: what an attacker can ask for."""
    generator = IsnGenerator(secret)
    return [generator.draw(FourTuple(STACK, 80, f"198.18.{i >> 14}.7", 1024 + (i & 0x3FFF)), now) & M for i in range(count)]


def chi_square(values: list[int], cells: int) -> float:
    counts = Counter(values)
    expected = len(values) / cells
    return sum((counts[cell] - expected) ** 2 / expected for cell in range(cells))


def test_isns_of_different_4_tuples_have_nothing_to_do_with_each_other() -> None:
    """10,000 of them, and the differences between neighbours: every byte is uniform, and nothing compresses."""
    numbers = isns(10_000)
    steps = [(b - a) & M for a, b in pairwise(numbers)]
    for values in (numbers, steps):
        for shift in (0, 8, 16, 24):
            # 255 degrees of freedom: mean 255, deviation 22.6.
            assert 170 < chi_square([value >> shift & 0xFF for value in values], 256) < 340
        packed = struct.pack(f">{len(values)}I", *values)
        assert len(zlib.compress(packed, 9)) > len(packed)
        assert len(set(values)) > 9_980, "no more doubles than chance has"
    bits = [sum(number >> bit & 1 for number in numbers) for bit in range(32)]
    assert all(4_800 < ones < 5_200 for ones in bits)


def test_another_secret_gives_other_numbers() -> None:
    """So it does not help to have looked at another stack, or at this one before it was started again."""
    one, other = isns(2000), isns(2000, bytes(range(1, 17)))
    assert 170 < chi_square([(b - a & M) >> 24 for a, b in zip(one, other, strict=True)], 256) < 340


def test_the_same_client_gets_rising_numbers() -> None:
    """By one in four microseconds (RFC 9293 section 3.4.1): so an old segment does not fit a new connection."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    before = None
    for _ in range(20):
        peer = Peer(wire)
        peer.open(listener).abort(wire.now)
        wire.sent()
        if before is not None:
            assert (peer.irs - before) & M == 250_000 * 3 // 10
        before = peer.irs
        wire.now += 300 * MILLISECOND


def test_as_nmap_judges_it() -> None:
    """Its SEQ test: six SYNs from six ports, 110 ms apart. GCD 1 is best; SP is 8 * log2 of the deviation, above 230 is 'good luck'."""
    wire = Wire()
    wire.stack.listen("0.0.0.0", 80)
    worst, gcds = 1000.0, []
    for turn in range(20):
        numbers = []
        for i in range(6):
            peer = Peer(wire, sport=30_000 + 10 * turn + i)
            peer.syn()
            numbers.append(peer.irs)
            peer.put("R", 1)
            wire.now += 110 * MILLISECOND
        steps = [min(b - a & M, a - b & M) for a, b in pairwise(numbers)]
        gcds.append(math.gcd(*steps))
        rates = [step / 0.11 for step in steps]
        mean = sum(rates) / 5
        worst = min(worst, 8 * math.log2(math.sqrt(sum((rate - mean) ** 2 for rate in rates) / 4)))
    assert max(gcds) < 10 and Counter(gcds)[1] > 14 and worst > 230


# ---- Tables ----

PATTERNS = {
    "ports": lambda i: ("198.18.0.1", 1024 + i % 60_000),
    "addresses": lambda i: (f"198.18.{i >> 8 & 255}.{i & 255}", 40000),
    "high-byte": lambda i: (f"{1 + i % 200}.{i // 200 % 250}.0.0", 40000),
    "xor": lambda i: (f"198.18.{i >> 8 & 255}.{i & 255}", (i ^ 0x5555) & 0xFFFF),
    "steps-of-1024": lambda i: (f"198.18.{i >> 6 & 255}.{i & 3}", i * 1024 & 0xFFFF),
}
HASHES = """
import json, sys
from fastnet._flow import FourTuple
print(json.dumps([hash(FourTuple("198.18.0.2", 80, remote, port)) & 1023 for remote, port in json.load(sys.stdin)]))
"""


def homes(tuples: list[tuple[str, int]]) -> list[int]:
    """Where a fresh process, with a key of its own, puts them in a table of 1,024."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    result = subprocess.run([sys.executable, "-c", HASHES], input=json.dumps(tuples), capture_output=True, text=True, check=True,
                            env=environment)  # fmt: skip
    found: list[int] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_of_4_tuples_spread_evenly(pattern: str) -> None:
    """What an attacker can vary cheaply: demux, syn queue and every other dict by 4-tuple use this hash."""
    tuples = sorted({PATTERNS[pattern](i) for i in range(20_000)})
    places = [hash(FourTuple(STACK, 80, *remote)) & 1023 for remote in tuples]
    # 1,023 degrees of freedom: mean 1,023, deviation 45. The key is drawn: six deviations.
    assert 750 < chi_square(places, 1024) < 1300


def test_collisions_in_one_process_are_none_in_another() -> None:
    """SipHash under a key that is drawn when the process starts: 4-tuples that collide here spread over there."""
    here = [remote for i in range(150_000) if hash(FourTuple(STACK, 80, *(remote := PATTERNS["ports"](i)))) & 1023 == 7]
    here += [remote for i in range(60_000) if hash(FourTuple(STACK, 80, *(remote := PATTERNS["addresses"](i)))) & 1023 == 7]
    chosen = sorted(set(here))
    assert len(chosen) > 60
    there, elsewhere = homes(chosen), homes(chosen)
    assert there != elsewhere and max(Counter(there).values()) <= 5 and max(Counter(elsewhere).values()) <= 5


# ---- IP ----


@pytest.mark.parametrize("options", [
    "8307046312000a00", "8907046312000a00", "0183070463120001", "8303040000000000", "83000000", "83010000", "83ff0000", "07030400",
    "44000000", "01010183", "0701", "94050000",
])  # fmt: skip
def test_ip_options_of_ill_will(options: str) -> None:
    """Source routes, lengths of nought, one and more than there is: dropped, as Linux drops them."""
    raw = bytes.fromhex(options)
    raw += bytes(-len(raw) % 4)
    wire = Wire()
    wire.stack.listen("0.0.0.0", 80)
    syn = tcp_packet(ENDS, 1, 0, SYN, 64240, b"", b"", 0)
    packet = bytearray(syn[:20] + raw + syn[20:])
    packet[0] = 0x40 | 5 + len(raw) // 4
    packet[2:4] = len(packet).to_bytes(2, "big")
    mend(packet)
    answers = wire.put(bytes(packet))
    if options in ("07030400", "8303040000000000"):
        # A record route of nothing is in order; a loose route never is.
        assert len(answers) == (options == "07030400")
    else:
        assert answers == [] and wire.counter("IpInHdrErrors") == 1


def test_fragments_are_dropped_and_cost_nothing() -> None:
    """Tiny ones that cut the TCP header, overlapping ones, those that would end beyond 65,535 bytes, and ten thousand first ones."""
    wire = Wire()
    wire.stack.listen("0.0.0.0", 80)
    syn = bytes(TCP(sport=40000, dport=80, flags="S"))
    tiny = [(0x2000, syn[:8]), (1, syn[8:])]
    overlapping = [(0x2000, syn[:16]), (1, syn[8:]), (0, syn)]
    death = [(0x2000, b"\x08\x00" + bytes(1000)), (0x1FFF, bytes(1000)), (0x1FF0, bytes(1480))]
    flood = [(0x2000, bytes([i & 255]) * 16) for i in range(10_000)]
    answers = []
    dropped = 0
    for offset, body in [*tiny, *overlapping[:2], *death, *flood]:
        wire.device.inject(ip_packet(PEER, STACK, 1 if offset in (0x1FFF, 0x1FF0) else 6, body, offset))
        dropped += 1
        if dropped % 200 == 0:
            answers += wire.poll()
    assert answers + wire.poll() == [] and wire.counter("FragmentDrops") == dropped
    assert wire.stack.context.memory.pool.allocated == 0 and len(wire.stack.context.timers) == 0


def test_a_large_ping_is_answered_by_no_more_than_it_is() -> None:
    wire = Wire()
    (answer,) = wire.put(IP(src=PEER, dst=STACK) / ICMP() / Raw(bytes(1400)))
    assert len(answer) == 1428
    assert wire.put(IP(src=PEER, dst=STACK, len=65535) / ICMP() / Raw(bytes(100))) == [] and wire.counter("InTruncatedPkts") == 1


# ---- The peer itself ----


def sending(wire: Wire, options: list[Any] | None = None, size: int = 100_000) -> tuple[Peer, Connection, list[Packet]]:
    peer, connection = victim(wire, options=options if options is not None else [("MSS", 1000), ("SAckOK", b"")])
    connection.send(bytes(size))
    return peer, connection, wire.sent()


def test_an_acknowledgment_of_what_was_not_sent() -> None:
    """Optimistic ACKs: they bring nothing, and are answered with what is true (RFC 9293 section 3.10.7.4)."""
    wire = Wire()
    peer, connection, sent = sending(wire)
    congestion = connection.sender.recovery.congestion
    cwnd, una = congestion.cwnd, connection.snd_una
    for i in range(1, 100):
        for packet in peer.put("A", 1, 1 + 1000 * len(sent) + i * 997):
            assert peer.relative(packet)[3] == b""
    assert congestion.cwnd == cwnd and connection.snd_una == una and connection.sender.buffer.length == 100_000


def test_an_acknowledgment_in_pieces_is_worth_no_more() -> None:
    """ACK division (Savage et al. 1999): CWND grows by what is acknowledged, not by how often (RFC 3465)."""
    wire = Wire()
    peer, connection, _ = sending(wire)
    cwnd = connection.sender.recovery.congestion.cwnd
    for i in range(1, 1001, 10):
        peer.put("A", 1, 1 + i)
    assert connection.sender.recovery.congestion.cwnd <= cwnd + 1000


def test_sack_blocks_of_what_was_not_sent() -> None:
    wire = Wire()
    peer, connection, sent = sending(wire)
    end = peer.irs + 1 + 1000 * len(sent)
    for left, right in ((end, end + 1000), (end - 500, end + 1), (end + 10_000, end + 20_000), (end, peer.irs)):
        peer.put("A", 1, 1, options=[("SAck", (left & M, right & M))])
    assert connection.sender.recovery.board.sacked == 0 and wire.counter("TCPSACKDiscard") >= 3


def test_what_has_arrived_is_one_flight() -> None:
    """So the next block, of which four go in an ACK, does not have to look at each segment of a window again."""
    wire = Wire()
    peer, connection, sent = sending(wire)
    board = connection.sender.recovery.board
    first = peer.irs + 1
    for i in (3, 5, 4, 7, 2, 8, 6):
        peer.put("A", 1, 1, options=[("SAck", (first + 1000 * i & M, first + 1000 * (i + 1) & M))])
    assert board.sacked == 7000
    assert [(flight.seq - first & M, flight.end - first & M) for flight in board.flights if flight.sacked] == [(2000, 9000)]
    assert len(sent) == 10


def test_blocks_of_single_bytes_take_no_flight_apart() -> None:
    """CVE-2019-11478: whole segments only (tcp_match_skb_to_sack())."""
    wire = Wire()
    peer, connection, sent = sending(wire)
    board = connection.sender.recovery.board
    first = peer.irs + 1
    for i in range(1, 9000, 3):
        peer.put("A", 1, 1, options=[("SAck", (first + i & M, first + i + 1 & M))])
    assert board.sacked == 0 and len(board.flights) == len(sent)


def test_too_many_flights_to_take_one_apart() -> None:
    """A path that has become narrow leaves flights of several segments; there is a bound on how many they may become."""
    wire = Wire()
    peer, connection, sent = sending(wire)
    board = connection.sender.recovery.board
    connection.sender.recovery.congestion.mss = 200
    board.most = len(sent) + 1
    first = peer.irs + 1
    peer.put("A", 1, 1, options=[("SAck", (first + 8000 & M, first + 8399 & M))])
    assert wire.counter("TCPWqueueTooBig") == 0 and board.sacked == 200, "one may become two"
    peer.put("A", 1, 1, options=[("SAck", (first + 6200 & M, first + 6400 & M))])
    assert wire.counter("TCPWqueueTooBig") == 1 and board.sacked == 200
