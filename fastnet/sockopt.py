"""Socket options: a table with a row for each, and the values that one socket has.

What a row accepts, refuses and answers is what Linux does (net/core/sock.c, net/ipv4/tcp.c, net/ipv4/ip_sockglue.c,
net/ipv6/ipv6_sockglue.c). What has no row raises ENOPROTOOPT. On a socket of AF_INET6 the options of level IPPROTO_IP count for its IPv4
packets, those of level IPPROTO_IPV6 for its IPv6 packets; a socket of AF_INET has no level IPPROTO_IPV6.
"""

import errno
import os
import socket as stdlib
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from fastnet.config import Settings
from fastnet.tcp.congestion import algorithm, needs_ecn
from fastnet.tcp.connection import Connection
from fastnet.tcp.fastopen import FastOpenQueue
from fastnet.tcp.listener import Listener
from fastnet.tcp.numbers import DEFAULT_SEND_MSS, SECOND
from fastnet.tcp.request import window_shift
from fastnet.tcp.states import State
from fastnet.tcp.tuning import seconds_within, timeouts_within

SO_RCVBUF_MIN = 2304
SO_SNDBUF_MIN = 4608
"""Linux's SOCK_MIN_RCVBUF and SOCK_MIN_SNDBUF on a 64-bit machine."""
SO_MAX_PACING_RATE = 47
"""Linux's, which ``socket`` does not name."""
TCP_NOTSENT_LOWAT = 25
"""Linux's; ``socket`` has the name only where the C library that Python was built with has it."""
FIN_WAIT_MAX = 120
"""Linux's TCP_FIN_TIMEOUT_MAX, seconds."""
UNLIMITED_RATE = (1 << 64) - 1
NAME_MAX = 16
"""Linux's TCP_CA_NAME_MAX."""
ECN_MASK = 3
IP_BIND_ADDRESS_NO_PORT = 24
"""Linux's; ``socket`` has the name from Python 3.12 on."""
IP_MTU_DISCOVER = 10
IP_PMTUDISC_WANT = 1
IP_PMTUDISC_DO = 2
IP_PMTUDISC_PROBE = 3
IP_PMTUDISC_OMIT = 5
IP_MTU = 14
"""Linux's; ``socket`` has no names for them."""

IPV6_MTU_DISCOVER = 23
IPV6_MTU = 24
"""Linux's; ``socket`` has no names for them. The rules are those of IP_MTU_DISCOVER."""
IPV6_MIN_MTU = 1280

TCP_FASTOPEN = 23
TCP_FASTOPEN_CONNECT = 30
TCP_FASTOPEN_KEY = 33
TCP_FASTOPEN_NO_COOKIE = 34
"""Linux's; ``socket`` has the first name only."""

Key = tuple[int, int]
"""Level and option."""


def fail(number: int) -> NoReturn:
    """Raise the ``OSError`` of an errno, with its text."""
    raise OSError(number, os.strerror(number))


# ---- what a program gives, as the bytes that a kernel would see ----


def integer(raw: bytes) -> int:
    """A C int, of which more bytes may follow."""
    if len(raw) < 4:
        fail(errno.EINVAL)
    return int.from_bytes(raw[:4], sys.byteorder, signed=True)


def flag(raw: bytes, settings: Settings) -> int:
    """0 or 1."""
    return int(integer(raw) != 0)


def whole_timeouts(raw: bytes, settings: Settings) -> int:
    """Seconds, up to the end of the timeout of a SYN-ACK that they fall into."""
    return whole_seconds(integer(raw))


def whole_seconds(seconds: int) -> int:
    """The same."""
    return seconds_within(timeouts_within(seconds))


def small_flag(raw: bytes, settings: Settings) -> int:
    """0 or 1. A single byte will do."""
    return int((integer(raw) if len(raw) >= 4 else raw[0] if raw else 0) != 0)


def between(low: int, high: int, *others: int) -> Callable[[bytes, Settings], int]:
    """A number from ``low`` to ``high``, or one of the others."""

    def take(raw: bytes, settings: Settings) -> int:
        number = integer(raw)
        if not low <= number <= high and number not in others:
            fail(errno.EINVAL)
        return number

    return take


def buffer_size(largest: str, smallest: int) -> Callable[[bytes, Settings], int]:
    """Bytes up to a setting, doubled: Linux counts its own overhead in, and tells so (socket(7))."""

    def take(raw: bytes, settings: Settings) -> int:
        return max(2 * min(integer(raw) & 0xFFFFFFFF, int(getattr(settings, largest))), smallest)

    return take


def time_to_live(raw: bytes, settings: Settings) -> int:
    """1 to 255; -1: the stack's. A single byte will do."""
    if not raw:
        fail(errno.EINVAL)
    number = integer(raw) if len(raw) >= 4 else raw[0]
    if number != -1 and not 1 <= number <= 255:
        fail(errno.EINVAL)
    return number


def fin_wait(raw: bytes, settings: Settings) -> int:
    """TCP_LINGER2: seconds, two minutes at most; below 0: none at all, 0: as tcp_fin_timeout says."""
    return max(min(integer(raw), FIN_WAIT_MAX), -1)


def fin_wait_told(value: int | None, connection: Connection | None, settings: Settings) -> int:
    """What was set, else what there is."""
    return value or settings.tcp_fin_timeout


def type_of_service(raw: bytes, settings: Settings) -> int:
    """The DS field; its ECN bits are TCP's own. A single byte will do."""
    number = integer(raw) if len(raw) >= 4 else raw[0] if raw else 0
    return number & 0xFF & ~ECN_MASK


def path_discovery(raw: bytes, settings: Settings) -> int:
    """IP_PMTUDISC_DONT to IP_PMTUDISC_OMIT. A single byte will do."""
    number = integer(raw) if len(raw) >= 4 else raw[0] if raw else 0
    if not 0 <= number <= IP_PMTUDISC_OMIT:
        fail(errno.EINVAL)
    return number


def hop_limit(raw: bytes, settings: Settings) -> int:
    """IPV6_UNICAST_HOPS: 1 to 255; -1: the stack's. Linux takes 0 too, and sends packets that nobody may take."""
    number = integer(raw)
    if not 1 <= number <= 255 and number != -1:
        fail(errno.EINVAL)
    return number


def traffic_class(raw: bytes, settings: Settings) -> int:
    """IPV6_TCLASS: the DS field; its ECN bits are TCP's own. -1 is 0."""
    number = integer(raw)
    if not -1 <= number <= 255:
        fail(errno.EINVAL)
    return max(number, 0) & ~ECN_MASK


def path_discovery_v6(raw: bytes, settings: Settings) -> int:
    """IPV6_PMTUDISC_DONT to IPV6_PMTUDISC_OMIT."""
    number = integer(raw)
    if not 0 <= number <= IP_PMTUDISC_OMIT:
        fail(errno.EINVAL)
    return number


def fragment_size(raw: bytes, settings: Settings) -> int:
    """IPV6_MTU: bytes of the fragments of a datagram, which TCP has none of; 0, or at least what every link takes."""
    number = integer(raw)
    if number and number < IPV6_MIN_MTU:
        fail(errno.EINVAL)
    return number


def read_only(raw: bytes, settings: Settings) -> int:
    """Nothing."""
    fail(errno.ENOPROTOOPT)


def lingering(raw: bytes, settings: Settings) -> tuple[int, int]:
    """``struct linger``: on or off, and seconds."""
    if len(raw) < 8:
        fail(errno.EINVAL)
    on, seconds = struct.unpack("ii", raw[:8])
    return int(on != 0), seconds


def congestion_control(raw: bytes, settings: Settings) -> str:
    """The name of a congestion control."""
    if not raw:
        fail(errno.EINVAL)
    name = raw[: NAME_MAX - 1].partition(b"\0")[0].decode("latin-1")
    try:
        algorithm(name)
    except ValueError:
        fail(errno.ENOENT)
    return name


def fast_open_queue(raw: bytes, settings: Settings) -> int:
    """TCP_FASTOPEN: a length, bounded by somaxconn."""
    length = integer(raw)
    if length < 0:
        fail(errno.EINVAL)
    return min(length, settings.somaxconn)


def fast_open_connect(raw: bytes, settings: Settings) -> int:
    """TCP_FASTOPEN_CONNECT: 0 or 1, where tcp_fastopen lets clients have it."""
    number = integer(raw)
    if number not in (0, 1):
        fail(errno.EINVAL)
    if not settings.tcp_fastopen & 1:
        fail(errno.EOPNOTSUPP)
    return number


def fast_open_key(raw: bytes, settings: Settings) -> bytes:
    """TCP_FASTOPEN_KEY: the key, and perhaps the one before it, of 16 bytes each."""
    if len(raw) not in (16, 32):
        fail(errno.EINVAL)
    return raw


def always(raw: bytes, settings: Settings) -> int:
    """1 and nothing else."""
    if not integer(raw):
        fail(errno.ENOPROTOOPT)
    return 1


# ---- what that does to a connection ----


def set_keepalive(connection: Connection, on: int) -> None:
    """SO_KEEPALIVE."""
    if on or connection.patience is not None:
        connection.need_patience().keepalive = bool(on)
        connection.watch()


def set_idle(connection: Connection, seconds: int) -> None:
    """TCP_KEEPIDLE."""
    connection.need_patience().idle = seconds * SECOND
    connection.watch()


def set_interval(connection: Connection, seconds: int) -> None:
    """TCP_KEEPINTVL."""
    connection.need_patience().interval = seconds * SECOND
    connection.watch()


def set_count(connection: Connection, count: int) -> None:
    """TCP_KEEPCNT."""
    connection.need_patience().count = count


def set_user_timeout(connection: Connection, milliseconds: int) -> None:
    """TCP_USER_TIMEOUT."""
    connection.need_patience().set_user_timeout(milliseconds)


def set_fin_wait(connection: Connection, seconds: int) -> None:
    """TCP_LINGER2."""
    connection.need_patience().fin_wait = seconds * SECOND if seconds > 0 else min(seconds, 0)


def set_cork(connection: Connection, on: int) -> None:
    """TCP_CORK."""
    if on or connection.sender is not None:
        connection.set_cork(bool(on))


def set_nodelay(connection: Connection, on: int) -> None:
    """TCP_NODELAY: also what waits already goes."""
    connection.nodelay = bool(on)
    if on:
        connection.send_soon()


def set_receive_buffer(connection: Connection, size: int) -> None:
    """SO_RCVBUF."""
    connection.limit_receiving(size // 2)


def set_send_buffer(connection: Connection, size: int) -> None:
    """SO_SNDBUF."""
    connection.limit_sending(size // 2)


def set_unsent(connection: Connection, size: int) -> None:
    """TCP_NOTSENT_LOWAT; a C int, of which -1 is no bound."""
    connection.limit_unsent(size & 0xFFFFFFFF)


def pacing_rate(raw: bytes, settings: Settings) -> int:
    """Bytes/s: 32 bits of which all set are no bound, or 64 bits; as the number that a kernel keeps."""
    if len(raw) >= 8:
        return int.from_bytes(raw[:8], sys.byteorder)
    rate = integer(raw) & 0xFFFFFFFF
    return UNLIMITED_RATE if rate == 0xFFFFFFFF else rate


def set_pacing_rate(connection: Connection, rate: int) -> None:
    """SO_MAX_PACING_RATE."""
    connection.limit_pacing(0 if rate == UNLIMITED_RATE else min(rate, 1 << 40))


def set_largest_segment(connection: Connection, size: int) -> None:
    """TCP_MAXSEG: for a SYN that is still to come; what a handshake has agreed stays, as on Linux."""
    connection.handshake.user_mss = size


def set_congestion_control(connection: Connection, name: str) -> None:
    """TCP_CONGESTION."""
    connection.set_congestion_control(name)


def set_time_to_live(connection: Connection, ttl: int) -> None:
    """IP_TTL."""
    if connection.handshake.flow.version == 4:
        connection.change_path(ttl=ttl if ttl > 0 else connection.context.settings.ip_default_ttl)


def set_hop_limit(connection: Connection, hops: int) -> None:
    """IPV6_UNICAST_HOPS."""
    if connection.handshake.flow.version == 6:
        connection.change_path(ttl=hops if hops >= 0 else connection.context.settings.ip_default_ttl)


def set_type_of_service(connection: Connection, tos: int) -> None:
    """IP_TOS."""
    if connection.handshake.flow.version == 4:
        connection.change_path(tos=tos)


def set_traffic_class(connection: Connection, number: int) -> None:
    """IPV6_TCLASS."""
    if connection.handshake.flow.version == 6:
        connection.change_path(tos=number)


def set_path_discovery(connection: Connection, rule: int) -> None:
    """IP_MTU_DISCOVER."""
    if connection.handshake.flow.version == 4:
        connection.set_path_discovery(rule - IP_PMTUDISC_WANT)


def set_path_discovery_v6(connection: Connection, rule: int) -> None:
    """IPV6_MTU_DISCOVER. No router fragments, so segments follow the path also with IPV6_PMTUDISC_DONT."""
    if connection.handshake.flow.version == 6:
        connection.set_path_discovery(max(rule - IP_PMTUDISC_WANT, 0))


def set_syn_retries(connection: Connection, count: int) -> None:
    """TCP_SYNCNT."""
    connection.need_patience().syn_retries = count


def set_quick_acks(connection: Connection, on: int) -> None:
    """TCP_QUICKACK: what waits goes; as on Linux it lasts until the program's sends say otherwise."""
    receiver = connection.need_receiver(connection.heard_at)
    receiver.pingpong = not on
    if on and receiver.ack_at:
        connection.acknowledge_soon()


# ---- what that does to a listener ----


def offer_window(listener: Listener, size: int) -> None:
    """SO_RCVBUF: the window that a SYN-ACK offers follows it."""
    listener.rcv_wnd = min(size // 2, 0xFFFF)
    listener.rcv_shift = window_shift(size // 2)


def offer_largest_segment(listener: Listener, size: int) -> None:
    """TCP_MAXSEG: what a SYN-ACK says."""
    listener.user_mss = size


def answer_with_time_to_live(listener: Listener, ttl: int) -> None:
    """IP_TTL of a SYN-ACK."""
    listener.change_path(ttl=ttl if ttl > 0 else listener.context.settings.ip_default_ttl, version=4)


def answer_with_hop_limit(listener: Listener, hops: int) -> None:
    """IPV6_UNICAST_HOPS of a SYN-ACK."""
    listener.change_path(ttl=hops if hops >= 0 else listener.context.settings.ip_default_ttl, version=6)


def answer_with_type_of_service(listener: Listener, tos: int) -> None:
    """IP_TOS of a SYN-ACK."""
    listener.change_path(tos=tos, version=4)


def answer_with_traffic_class(listener: Listener, number: int) -> None:
    """IPV6_TCLASS of a SYN-ACK."""
    listener.change_path(tos=number, version=6)


def answer_with_ecn(listener: Listener, name: str) -> None:
    """TCP_CONGESTION: does that congestion control need ECN?"""
    listener.needs_ecn = needs_ecn(name)


def answer_with_fragment(listener: Listener, rule: int) -> None:
    """IP_MTU_DISCOVER: has a SYN-ACK a DF bit?"""
    listener.change_path(fragment=rule not in (IP_PMTUDISC_WANT, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE), version=4)


def defer_accept(listener: Listener, seconds: int) -> None:
    """TCP_DEFER_ACCEPT."""
    listener.set("tcp_defer_accept", seconds)


def set_fast_open_queue(listener: Listener, length: int) -> None:
    """TCP_FASTOPEN."""
    listener.set_fast_open(length)


def set_fast_open_keys(listener: Listener, raw: bytes) -> None:
    """TCP_FASTOPEN_KEY."""
    need_fast_open(listener).keys = tuple(struct.unpack("<QQ", raw[at : at + 16]) for at in range(0, len(raw), 16))


def set_fast_open_cookieless(listener: Listener, on: int) -> None:
    """TCP_FASTOPEN_NO_COOKIE."""
    need_fast_open(listener).cookieless = bool(on)


def need_fast_open(listener: Listener) -> FastOpenQueue:
    """What a listener needs for Fast Open, with no room yet."""
    if listener.fast_open is None:
        listener.set_fast_open(0)
    assert listener.fast_open is not None
    return listener.fast_open


# ---- what a program is told ----


def packed(value: Any) -> bytes:
    """A C int."""
    return struct.pack("i", value)


def receive_buffer(value: int | None, connection: Connection | None, settings: Settings) -> int:
    """What was set, else what there is."""
    if value is not None:
        return value
    return connection.receiver.limit if connection is not None and connection.receiver is not None else settings.tcp_rmem[1]


def send_buffer(value: int | None, connection: Connection | None, settings: Settings) -> int:
    """What was set, else what there is."""
    if value is not None:
        return value
    if connection is None:
        return settings.tcp_wmem[1]
    return connection.sender.limit if connection.sender is not None else connection.first_send_limit()


def largest_segment(value: int | None, connection: Connection | None, settings: Settings) -> int:
    """Of a connection, what it sends; else what was set."""
    if connection is not None and connection.state not in (State.SYN_SENT, State.CLOSED):
        return connection.send_mss()
    return value or DEFAULT_SEND_MSS


def path_mtu(value: int | None, connection: Connection | None, settings: Settings) -> int:
    """Of a connection, the largest packet that is known to get to the peer; ENOTCONN for any other socket."""
    if connection is None or connection.state == State.CLOSED:
        fail(errno.ENOTCONN)
    return connection.path_mtu()


def quick_acks(value: int | None, connection: Connection | None, settings: Settings) -> int:
    """Of a connection, whether it does; else what was set."""
    if connection is not None and connection.receiver is not None:
        return not connection.receiver.pingpong
    return 1 if value is None else value


@dataclass(frozen=True)
class Option:
    """One row.

    :param decode: bytes as a program gives them -> the value; raises what Linux raises
    :param default: the value before a program says otherwise
    :param apply: lets a connection have the value, while the driver's lock is held
    :param encode: the value -> bytes as ``getsockopt`` gives them
    :param listening: lets a listener have the value
    :param read: where what is told is not what was set: what was set (None: nothing), the connection, the settings -> the value
    """

    decode: Callable[[bytes, Settings], Any]
    default: Callable[[Settings], Any]
    apply: Callable[[Connection, Any], None] | None = None
    encode: Callable[[Any], bytes] = packed
    read: Callable[[Any, Connection | None, Settings], Any] | None = None
    listening: Callable[[Listener, Any], None] | None = None


def off(settings: Settings) -> int:
    """Not set."""
    return 0


OPTIONS: dict[Key, Option] = {
    (stdlib.SOL_SOCKET, stdlib.SO_REUSEADDR): Option(flag, off),
    # Kept and told; one name still has one listener, as each stack has one thread.
    (stdlib.SOL_SOCKET, stdlib.SO_REUSEPORT): Option(flag, off),
    (stdlib.SOL_SOCKET, stdlib.SO_KEEPALIVE): Option(flag, off, set_keepalive),
    (stdlib.SOL_SOCKET, stdlib.SO_LINGER): Option(lingering, lambda s: (0, 0), None, lambda value: struct.pack("ii", *value)),
    (stdlib.SOL_SOCKET, stdlib.SO_RCVBUF): Option(
        buffer_size("rmem_max", SO_RCVBUF_MIN), lambda s: s.tcp_rmem[1], set_receive_buffer, packed, receive_buffer, offer_window
    ),
    (stdlib.SOL_SOCKET, stdlib.SO_SNDBUF): Option(
        buffer_size("wmem_max", SO_SNDBUF_MIN), lambda s: s.tcp_wmem[1], set_send_buffer, packed, send_buffer
    ),
    (stdlib.SOL_SOCKET, SO_MAX_PACING_RATE): Option(
        pacing_rate, lambda s: UNLIMITED_RATE, set_pacing_rate, lambda value: struct.pack("I", min(value, 0xFFFFFFFF))
    ),
    # Urgent bytes stay in the stream: RFC 6093 section 4 has it so, since middleboxes move or clear urgent pointers.
    (stdlib.SOL_SOCKET, stdlib.SO_OOBINLINE): Option(always, lambda s: 1),
    (stdlib.IPPROTO_TCP, stdlib.TCP_NODELAY): Option(flag, off, set_nodelay),
    (stdlib.IPPROTO_TCP, stdlib.TCP_CORK): Option(flag, off, set_cork),
    (stdlib.IPPROTO_TCP, stdlib.TCP_KEEPIDLE): Option(between(1, 32767), lambda s: s.tcp_keepalive_time, set_idle),
    (stdlib.IPPROTO_TCP, stdlib.TCP_KEEPINTVL): Option(between(1, 32767), lambda s: s.tcp_keepalive_intvl, set_interval),
    (stdlib.IPPROTO_TCP, stdlib.TCP_KEEPCNT): Option(between(1, 127), lambda s: s.tcp_keepalive_probes, set_count),
    (stdlib.IPPROTO_TCP, stdlib.TCP_USER_TIMEOUT): Option(between(0, 0x7FFFFFFF), off, set_user_timeout),
    (stdlib.IPPROTO_TCP, stdlib.TCP_SYNCNT): Option(between(1, 127), lambda s: s.tcp_syn_retries, set_syn_retries),
    (stdlib.IPPROTO_TCP, stdlib.TCP_QUICKACK): Option(flag, lambda s: 1, set_quick_acks, packed, quick_acks),
    (stdlib.IPPROTO_TCP, stdlib.TCP_DEFER_ACCEPT): Option(
        whole_timeouts, lambda s: whole_seconds(s.tcp_defer_accept), None, packed, None, defer_accept
    ),
    (stdlib.IPPROTO_TCP, TCP_NOTSENT_LOWAT): Option(lambda raw, settings: integer(raw), off, set_unsent),
    (stdlib.IPPROTO_TCP, stdlib.TCP_MAXSEG): Option(
        between(88, 32767, 0), off, set_largest_segment, packed, largest_segment, offer_largest_segment
    ),
    (stdlib.IPPROTO_TCP, stdlib.TCP_LINGER2): Option(fin_wait, off, set_fin_wait, packed, fin_wait_told),
    (stdlib.IPPROTO_TCP, TCP_FASTOPEN): Option(fast_open_queue, off, None, packed, None, set_fast_open_queue),
    (stdlib.IPPROTO_TCP, TCP_FASTOPEN_CONNECT): Option(fast_open_connect, off),
    (stdlib.IPPROTO_TCP, TCP_FASTOPEN_KEY): Option(fast_open_key, lambda s: b"", None, bytes, None, set_fast_open_keys),
    (stdlib.IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE): Option(between(0, 1), off, None, packed, None, set_fast_open_cookieless),
    (stdlib.IPPROTO_TCP, stdlib.TCP_CONGESTION): Option(
        congestion_control, lambda s: s.tcp_congestion_control, set_congestion_control, lambda name: name.encode().ljust(NAME_MAX, b"\0"),
        None, answer_with_ecn,
    ),
    (stdlib.IPPROTO_IP, stdlib.IP_TTL): Option(
        time_to_live, lambda s: -1, set_time_to_live, packed, lambda value, c, s: value if (value or -1) > 0 else s.ip_default_ttl,
        answer_with_time_to_live,
    ),
    (stdlib.IPPROTO_IP, stdlib.IP_TOS): Option(
        type_of_service, off, set_type_of_service, packed, None, answer_with_type_of_service
    ),
    (stdlib.IPPROTO_IP, IP_MTU_DISCOVER): Option(
        path_discovery, lambda s: IP_PMTUDISC_WANT, set_path_discovery, packed, None, answer_with_fragment
    ),
    (stdlib.IPPROTO_IP, IP_MTU): Option(read_only, off, None, packed, path_mtu),
    (stdlib.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT): Option(small_flag, off),
    (stdlib.IPPROTO_IPV6, stdlib.IPV6_V6ONLY): Option(flag, off),
    (stdlib.IPPROTO_IPV6, stdlib.IPV6_UNICAST_HOPS): Option(
        hop_limit, lambda s: -1, set_hop_limit, packed, lambda value, c, s: s.ip_default_ttl if value in (None, -1) else value,
        answer_with_hop_limit,
    ),
    (stdlib.IPPROTO_IPV6, stdlib.IPV6_TCLASS): Option(traffic_class, off, set_traffic_class, packed, None, answer_with_traffic_class),
    (stdlib.IPPROTO_IPV6, IPV6_MTU_DISCOVER): Option(path_discovery_v6, lambda s: IP_PMTUDISC_WANT, set_path_discovery_v6),
    (stdlib.IPPROTO_IPV6, IPV6_MTU): Option(fragment_size, off, None, packed, path_mtu),
}


class Options:
    """The values of one socket.

    :param settings: where defaults and bounds come from
    :ivar family: AF_INET or AF_INET6
    """

    def __init__(self, settings: Settings, family: int = stdlib.AF_INET) -> None:
        self._settings = settings
        self.family = family
        self._values: dict[Key, Any] = {}

    def inherited(self) -> "Options":
        """Those of a socket that is accepted: on Linux it has all that its listener has."""
        options = Options(self._settings, self.family)
        options._values = dict(self._values)
        return options

    def set(self, level: int, option: int, raw: bytes, connection: Connection | None, listener: Listener | None) -> None:
        """Set one, on the connection or the listener too, if there is one.

        :raises OSError: ENOPROTOOPT, EINVAL, ENOENT
        """
        row = self._row(level, option)
        value = row.decode(raw, self._settings)
        self._values[level, option] = value
        if row.apply is not None and connection is not None:
            row.apply(connection, value)
        if row.listening is not None and listener is not None:
            row.listening(listener, value)

    def get(self, level: int, option: int, connection: Connection | None) -> bytes:
        """One, as the bytes that a kernel would give.

        :raises OSError: ENOPROTOOPT; EOPNOTSUPP (level IPPROTO_IPV6 of a socket of AF_INET)
        """
        if not self._has_level(level):
            fail(errno.EOPNOTSUPP)
        row = self._row(level, option)
        if row.read is not None:
            return row.encode(row.read(self._values.get((level, option)), connection, self._settings))
        return row.encode(self.value(level, option))

    def put(self, level: int, option: int, value: Any) -> None:
        """Note a value that another call has set."""
        self._values[level, option] = value

    def value(self, level: int, option: int) -> Any:
        """What was set, or the default."""
        if (level, option) in self._values:
            return self._values[level, option]
        return OPTIONS[level, option].default(self._settings)

    def apply(self, connection: Connection) -> None:
        """Let a connection have all that was set."""
        for key, value in self._values.items():
            apply = OPTIONS[key].apply
            if apply is not None:
                apply(connection, value)

    def apply_to_accepted(self, connection: Connection) -> None:
        """The same for one whose handshake is over already."""
        if self._values:
            self.apply(connection)
            handshake = connection.handshake
            if handshake.user_mss:
                handshake.mss = min(handshake.mss, handshake.user_mss)

    def apply_to_listener(self, listener: Listener) -> None:
        """Let a listener have all that was set."""
        for key, value in self._values.items():
            listening = OPTIONS[key].listening
            if listening is not None:
                listening(listener, value)

    def _row(self, level: int, option: int) -> Option:
        row = OPTIONS.get((level, option))
        if row is None or not self._has_level(level):
            fail(errno.ENOPROTOOPT)
        return row

    def _has_level(self, level: int) -> bool:
        return level != stdlib.IPPROTO_IPV6 or self.family == stdlib.AF_INET6
