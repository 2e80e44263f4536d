"""Socket options of a socket that nothing has happened to, of one that is connected, and what Linux refuses; in memory."""

from __future__ import annotations

import errno
import os
import re
import socket as stdlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fastnet.config import Settings
from fastnet.sockopt import (
    IP_MTU,
    IP_MTU_DISCOVER,
    IPV6_MTU,
    IPV6_MTU_DISCOVER,
    OPTIONS,
    SO_MAX_PACING_RATE,
    TCP_FASTOPEN,
    TCP_FASTOPEN_CONNECT,
    TCP_FASTOPEN_KEY,
    TCP_FASTOPEN_NO_COOKIE,
    TCP_NOTSENT_LOWAT,
    Options,
)
from fastnet.tcp.connection import Connection
from tests.peer import PEER, Peer, Wire

SOL, TCP, IP, IPV6 = stdlib.SOL_SOCKET, stdlib.IPPROTO_TCP, stdlib.IPPROTO_IP, stdlib.IPPROTO_IPV6
DEFAULTS = {
    (SOL, stdlib.SO_REUSEADDR): 0, (SOL, stdlib.SO_REUSEPORT): 0, (SOL, stdlib.SO_KEEPALIVE): 0, (SOL, stdlib.SO_RCVBUF): 131072,
    (SOL, stdlib.SO_SNDBUF): 16384, (SOL, stdlib.SO_OOBINLINE): 1, (TCP, stdlib.TCP_NODELAY): 0, (TCP, stdlib.TCP_CORK): 0,
    (TCP, stdlib.TCP_KEEPIDLE): 7200, (TCP, stdlib.TCP_KEEPINTVL): 75, (TCP, stdlib.TCP_KEEPCNT): 9, (TCP, stdlib.TCP_USER_TIMEOUT): 0,
    (TCP, stdlib.TCP_SYNCNT): 6, (TCP, stdlib.TCP_QUICKACK): 1, (TCP, stdlib.TCP_DEFER_ACCEPT): 0, (TCP, stdlib.TCP_MAXSEG): 536,
    (TCP, stdlib.TCP_LINGER2): 60, (TCP, TCP_FASTOPEN): 0, (TCP, TCP_FASTOPEN_CONNECT): 0, (TCP, TCP_FASTOPEN_NO_COOKIE): 0,
    (TCP, TCP_NOTSENT_LOWAT): 0, (SOL, SO_MAX_PACING_RATE): -1,
    (IP, stdlib.IP_TTL): 64, (IP, stdlib.IP_TOS): 0, (IP, 24): 0, (IP, IP_MTU_DISCOVER): 1,
    (IPV6, stdlib.IPV6_UNICAST_HOPS): 64, (IPV6, stdlib.IPV6_TCLASS): 0, (IPV6, stdlib.IPV6_V6ONLY): 0, (IPV6, IPV6_MTU_DISCOVER): 1,
}  # fmt: skip
"""What tcp(7), socket(7), ip(7) and ipv6(7) say of a new socket."""


def number(options: Options, key: tuple[int, int], connection: Connection | None = None) -> int:
    return int(struct.unpack("i", options.get(*key, connection))[0])


def connection_of(wire: Wire) -> tuple[Peer, Connection]:
    peer = Peer(wire)
    return peer, peer.open(wire.stack.listen("0.0.0.0", 80), [("MSS", 1000)])


@contextmanager
def refuses(number: int) -> Iterator[None]:
    """What is called raises ``OSError`` with an errno."""
    with pytest.raises(OSError, match=re.escape(os.strerror(number))) as raised:
        yield
    assert raised.value.errno == number


def test_a_new_socket_has_linux_defaults() -> None:
    options = Options(Settings(), stdlib.AF_INET6)
    assert {key: number(options, key) for key in DEFAULTS} == DEFAULTS
    assert options.get(SOL, stdlib.SO_LINGER, None) == struct.pack("ii", 0, 0)
    assert options.get(TCP, stdlib.TCP_CONGESTION, None) == b"cubic".ljust(16, b"\0")
    assert options.get(TCP, TCP_FASTOPEN_KEY, None) == b""
    for mtu in ((IP, IP_MTU), (IPV6, IPV6_MTU)):
        with refuses(errno.ENOTCONN):
            options.get(*mtu, None)
    others = {(SOL, stdlib.SO_LINGER), (TCP, stdlib.TCP_CONGESTION), (TCP, TCP_FASTOPEN_KEY), (IP, IP_MTU), (IPV6, IPV6_MTU)}
    assert {*DEFAULTS, *others} == set(OPTIONS), "each has a default here"


def test_buffers_are_told_as_they_are() -> None:
    """Before the first data the defaults; then what tuning has made of them; and what was set, doubled (socket(7))."""
    wire = Wire(tcp_rmem=(4096, 8000, 1 << 20))
    options = Options(wire.stack.settings)
    key = SOL, stdlib.SO_RCVBUF
    _, connection = connection_of(wire)
    assert number(options, key) == number(options, key, connection) == 8000
    assert number(options, (SOL, stdlib.SO_SNDBUF), connection) == connection.first_send_limit()
    receiver = connection.need_receiver(wire.now)
    receiver.limit = 20_000
    assert number(options, key, connection) == 20_000 and number(options, key) == 8000
    options.set(*key, struct.pack("i", 30_000), connection, None)
    assert number(options, key, connection) == number(options, key) == 60_000 and receiver.limit == 30_000
    for size, told in ((0, 2304), (-1, 2 * wire.stack.settings.rmem_max), (1152, 2304), (1153, 2306)):
        options.set(*key, struct.pack("i", size), None, None)
        assert number(options, key) == told
    options.set(SOL, stdlib.SO_SNDBUF, struct.pack("i", 0), connection, None)
    assert number(options, (SOL, stdlib.SO_SNDBUF), connection) == 4608
    assert connection.send(bytes(10_000)) == 2304


def test_the_largest_segment() -> None:
    """TCP_MAXSEG tells what was agreed as soon as something was."""
    wire = Wire()
    options = Options(wire.stack.settings)
    key = TCP, stdlib.TCP_MAXSEG
    calling = wire.stack.connect(PEER, 80)
    wire.sent()
    assert number(options, key, calling) == 536
    options.set(*key, struct.pack("i", 700), calling, None)
    assert number(options, key, calling) == number(options, key) == 700
    _, connection = connection_of(wire)
    assert number(options, key, connection) == 1000
    connection.abort(wire.now)
    assert number(options, key, connection) == 700
    for size in (87, 32768, 1):
        with refuses(errno.EINVAL):
            options.set(*key, struct.pack("i", size), None, None)
    for size in (0, 88, 32767):
        options.set(*key, struct.pack("i", size), None, None)


def test_quick_acks_are_told_as_they_are() -> None:
    wire = Wire()
    options = Options(wire.stack.settings)
    key = TCP, stdlib.TCP_QUICKACK
    _, connection = connection_of(wire)
    options.set(*key, struct.pack("i", 0), None, None)
    assert number(options, key) == number(options, key, connection) == 0
    options.set(*key, struct.pack("i", 5), connection, None)
    assert number(options, key) == number(options, key, connection) == 1
    options.set(*key, struct.pack("i", 0), connection, None)
    assert number(options, key, connection) == 0
    receiver = connection.receiver
    assert receiver is not None
    receiver.pingpong = False
    assert number(options, key, connection) == 1


@pytest.mark.parametrize(("key", "good", "bad"), [
    ((TCP, stdlib.TCP_KEEPIDLE), (1, 32767), (0, -1, 32768)),
    ((TCP, stdlib.TCP_KEEPINTVL), (1, 32767), (0, -1, 32768)),
    ((TCP, stdlib.TCP_KEEPCNT), (1, 127), (0, -1, 128)),
    ((TCP, stdlib.TCP_SYNCNT), (1, 127), (0, -1, 128)),
    ((TCP, stdlib.TCP_USER_TIMEOUT), (0, 1, 0x7FFFFFFF), (-1,)),
    ((IP, stdlib.IP_TTL), (-1, 1, 255), (0, -2, 256)),
])  # fmt: skip
def test_bounds(key: tuple[int, int], good: tuple[int, ...], bad: tuple[int, ...]) -> None:
    """net/ipv4/tcp.c, net/ipv4/ip_sockglue.c."""
    options = Options(Settings())
    for value in bad:
        with refuses(errno.EINVAL):
            options.set(*key, struct.pack("i", value), None, None)
    for value in good:
        options.set(*key, struct.pack("i", value), None, None)
        assert number(options, key) == (value if value != -1 else 64)


def test_fewer_bytes_than_an_int() -> None:
    """A byte will do for what ip(7) takes as one; nothing else takes less than an int, and more than one is the same as one."""
    options = Options(Settings(), stdlib.AF_INET6)
    options.set(IP, stdlib.IP_TTL, b"\x09", None, None)
    options.set(IP, stdlib.IP_TOS, b"\xff", None, None)
    options.set(IP, 24, b"\x01", None, None)
    assert [number(options, (IP, each)) for each in (stdlib.IP_TTL, stdlib.IP_TOS, 24)] == [9, 0xFC, 1]
    options.set(IP, stdlib.IP_TOS, b"", None, None)
    options.set(IP, 24, b"", None, None)
    assert [number(options, (IP, each)) for each in (stdlib.IP_TOS, 24)] == [0, 0]
    options.set(IP, stdlib.IP_TOS, struct.pack("i", 0x1B7), None, None)
    assert number(options, (IP, stdlib.IP_TOS)) == 0xB4, "its ECN bits are TCP's own"
    short = {(IP, stdlib.IP_TTL): b"", (SOL, stdlib.SO_LINGER): bytes(7), (TCP, stdlib.TCP_CONGESTION): b""}
    short |= {key: bytes(3) for key in DEFAULTS if key[0] != IP}
    for key, raw in short.items():
        with refuses(errno.EINVAL):
            options.set(*key, raw, None, None)
    options.set(TCP, stdlib.TCP_NODELAY, struct.pack("ii", 7, 0), None, None)
    assert number(options, (TCP, stdlib.TCP_NODELAY)) == 1
    options.set(SOL, stdlib.SO_LINGER, struct.pack("iii", 7, 9, 1), None, None)
    assert options.get(SOL, stdlib.SO_LINGER, None) == struct.pack("ii", 1, 9)


def test_names_of_congestion_controls() -> None:
    """Up to 15 characters, or to a zero byte; ENOENT for one that there is not."""
    options = Options(Settings())
    options.set(TCP, stdlib.TCP_CONGESTION, b"reno\0 and more", None, None)
    assert options.get(TCP, stdlib.TCP_CONGESTION, None) == b"reno".ljust(16, b"\0")
    with refuses(errno.ENOENT):
        options.set(TCP, stdlib.TCP_CONGESTION, b"none such", None, None)
    with refuses(errno.ENOPROTOOPT):
        options.set(SOL, stdlib.SO_OOBINLINE, struct.pack("i", 0), None, None)
    for call in (lambda: options.set(TCP, 9999, bytes(4), None, None), lambda: options.get(TCP, 9999, None)):
        with refuses(errno.ENOPROTOOPT):
            call()


def test_an_accepted_socket_has_what_its_listener_had() -> None:
    """And goes its own way from then on."""
    wire = Wire()
    options = Options(wire.stack.settings)
    for key, value in (((SOL, stdlib.SO_KEEPALIVE), 1), ((TCP, stdlib.TCP_KEEPIDLE), 20), ((TCP, stdlib.TCP_MAXSEG), 800),
                       ((TCP, stdlib.TCP_NODELAY), 1), ((IP, stdlib.IP_TTL), 9), ((IP, stdlib.IP_TOS), 8)):  # fmt: skip
        options.set(*key, struct.pack("i", value), None, None)
    accepted = options.inherited()
    options.set(TCP, stdlib.TCP_KEEPIDLE, struct.pack("i", 30), None, None)
    assert number(accepted, (TCP, stdlib.TCP_KEEPIDLE)) == 20
    peer, connection = connection_of(wire)
    accepted.apply_to_accepted(connection)
    assert connection.nodelay and connection.send_mss() == 800 and number(accepted, (TCP, stdlib.TCP_MAXSEG), connection) == 800
    connection.send(bytes(900))
    assert [(p.ttl, p.tos, len(p["TCP"].payload)) for p in wire.sent()] == [(9, 8, 800), (9, 8, 100)]
    peer.put("A", 1, 901)
    probes = wire.wait(21)
    assert [round(at) for at, _ in probes] == [20]
