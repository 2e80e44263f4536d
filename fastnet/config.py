"""Settings under Linux's sysctl names, with Linux's defaults where not said otherwise."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

Ranges = tuple[tuple[int, int], ...]
"""Ports: the first and last of each range."""


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """A line that says that there is none of that name, and which was probably meant; where nothing is near, all that there are."""
    from difflib import get_close_matches

    names = list(known)
    near = get_close_matches(name, names)
    return f"no {what} {name!r}; " + (f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}")


class SettingError(ValueError):
    """A setting that does not exist, or a value that it cannot take."""


@dataclass
class Settings:
    """What a stack does where RFCs and kernels leave a choice.

    Read when a listener or a connection is made, except where a method says that it takes effect at once.
    """

    somaxconn: int = 4096
    """Upper bound of a listener's backlog."""
    tcp_max_syn_backlog: int = 4096
    """Requests a listener may hold where tcp_syncookies is 0; the last quarter stays empty, as in Linux's tcp_conn_request()."""
    tcp_syncookies: int = 1
    """SYN cookies (RFC 4987): 0 never, 1 when the syn queue is full, 2 always."""
    tcp_synack_retries: int = 5
    """Retransmissions of a SYN-ACK before the request is dropped: after 1, 3, 7, 15, 31 s; dropped at 63 s."""
    tcp_abort_on_overflow: int = 0
    """1: answer the final ACK with a RST when the accept queue is full, instead of dropping it."""
    tcp_defer_accept: int = 0
    """Seconds that a request waits for data before its handshake is complete, as with Linux's TCP_DEFER_ACCEPT; counted in retransmissions
    of the SYN-ACK, which are not sent while the peer has answered."""
    fastnet_young_request_rule: int = 0
    """1: as Linux 3.10, a full accept queue refuses SYNs only while more than one request is young (never timed out)."""
    fastnet_source_requests: int = 0
    """Requests that one source may have in a listener's syn queue; 0: no limit."""
    fastnet_source_connections: int = 0
    """Connections that one source may have with a listener, accepted or not, TIME-WAIT left out; 0: no limit."""
    fastnet_source_prefix: int = 32
    """Bits of an IPv4 address that say which source it is: 32 each address for itself, 24 a network of 256. IPv6: 32 more, a /64 each."""
    fastnet_source_table: int = 65536
    """Sources that a listener counts at once; beyond it, new ones are let in without a limit."""
    fastnet_policy_waiting: int = 1024
    """SYNs that may wait for a listener's policy (delayed or deferred) at once."""
    tcp_timestamps: int = 1
    """RFC 7323 timestamps, if the peer offers them."""
    tcp_window_scaling: int = 1
    """RFC 7323 window scale, if the peer offers it."""
    tcp_sack: int = 1
    """RFC 2018: answer SACK-permitted, if the peer offers it."""
    tcp_ecn: int = 2
    """Explicit Congestion Notification (RFC 3168): 0 never, 1 ask for it and accept it, 2 accept it."""
    tcp_ecn_fallback: int = 1
    """1: a SYN that asks for ECN and is not answered is sent again without (RFC 3168 section 6.1.1.1)."""
    tcp_fin_timeout: int = 60
    """Seconds that a closed connection stays in FIN-WAIT-2."""
    tcp_max_tw_buckets: int = 262144
    """Connections in TIME-WAIT at once; beyond it they are closed without (TCPTimeWaitOverflow)."""
    tcp_rfc1337: int = 0
    """1: a RST does not end TIME-WAIT (RFC 1337)."""
    tcp_dsack: int = 1
    """RFC 2883: report data that came twice."""
    tcp_syn_retries: int = 6
    """Retransmissions of a SYN before an active open fails: after 1, 3, 7, 15, 31, 63 s; failed at 127 s. RFC 9293 asks for three minutes
    (MUST-23), which 7 gives; the default is Linux's, which programs are written around."""
    tcp_retries1: int = 3
    """Retransmissions after which the owner of a connection is told (R1 of RFC 9293)."""
    tcp_retries2: int = 15
    """When a connection is given up whose data or FIN is not acknowledged (R2 of RFC 9293): after the time that so many timeouts take
    from 200 ms on, doubled up to two minutes, 924.6 s for 15, however long its own are. Probes of a shut window: after so many without
    an answer."""
    tcp_orphan_retries: int = 0
    """The same for a connection that the program has closed, and for probes of its window, answered or not; 0 stands for 8."""
    tcp_max_orphans: int = 262144
    """Connections that the program has closed and that are not over, TIME-WAIT left out; one more is reset (TCPAbortOnMemory)."""
    tcp_mem: tuple[int, int, int] = (98304, 131072, 196608)
    """Memory of all buffers together: no limits below the first, pressure above the second, no more above the third; pages of 4096
    bytes. Linux computes it from the machine's memory; these are its numbers for 8 GiB: 384, 512 and 768 MiB."""
    tcp_challenge_ack_limit: int = 0x7FFFFFFF
    """Challenge ACKs (RFC 5961) of the whole stack in a second, about; the default is no limit, as on Linux."""
    tcp_invalid_ratelimit: int = 500
    """Milliseconds between two ACKs of one connection, request or TIME-WAIT that answer what should not have come. Takes effect at once."""
    tcp_fastopen: int = 1
    """TCP Fast Open (RFC 7413), bits: 1 for clients that ask for it, 2 for listeners with TCP_FASTOPEN; 4: clients send data without a
    cookie, 0x200: listeners take it without one, 0x400: every listener has it. Takes effect at once, but for 0x400."""
    tcp_fastopen_key: str = ""
    """Key of Fast Open cookies, as Linux writes it: 01234567-89abcdef-01234567-89abcdef, and behind a comma the key before, whose cookies
    are still good. Empty: drawn, and drawn again after an hour. Takes effect at once."""
    tcp_fastopen_blackhole_timeout_sec: int = 0
    """Seconds without Fast Open after a connection with it had three timeouts in a row, and twice as long each time; 0: no such rule."""
    tcp_frto: int = 2
    """RFC 5682: find out whether a timeout was spurious. 0 switches it off."""
    tcp_slow_start_after_idle: int = 1
    """1: begin slowly again after a pause of a retransmission timeout (RFC 5681 section 4.1)."""
    tcp_congestion_control: str = "cubic"
    """Congestion control of new connections: cubic, bbr, dctcp, reno or none, or one that a program has added (docs/congestion.md)."""
    min_pmtu: int = 552
    """Smallest path MTU that ICMP is believed, bytes. Packets for a path that takes less have this size and no DF bit."""
    mtu_expires: int = 600
    """Seconds that a path MTU is remembered for a destination; then larger packets are tried again (RFC 1191 section 6.3)."""
    tcp_mtu_probing: int = 1
    """Probing of the path MTU (RFC 4821, RFC 8899): 0 never, 1 once packets vanish without a word from a router, 2 from the start. Linux
    begins with 0: a connection over such a path stands still for ever."""
    tcp_base_mss: int = 1024
    """Segments that probing begins with, bytes of data and options."""
    tcp_mtu_probe_floor: int = 48
    """Segments that probing goes down to at least where these vanish too, bytes of data and options."""
    tcp_probe_interval: int = 600
    """Seconds from the beginning of a search for the path MTU to the next."""
    tcp_probe_threshold: int = 8
    """A search is over when what gets there and what does not are fewer bytes apart."""
    tcp_pacing_ss_ratio: int = 200
    """Per cent of a CWND for each round trip that a connection which paces sends in slow start. Takes effect at once."""
    tcp_pacing_ca_ratio: int = 120
    """The same after slow start. Takes effect at once."""
    fastnet_pacing: int = 0
    """1: every connection paces, as under Linux's fq; 0: those whose congestion control paces, or that have SO_MAX_PACING_RATE."""
    fastnet_abe: int = 0
    """1: to ECN marks, CUBIC and NewReno respond less than to loss: CWND to 0.85 and 0.8 instead of 0.7 and 0.5 (RFC 8511). Takes effect
    at once."""
    tcp_min_snd_mss: int = 48
    """Smallest segment that a path may bring a connection down to, bytes of data and options."""
    tcp_keepalive_time: int = 7200
    """Seconds of silence before the first keep-alive probe, where a connection has SO_KEEPALIVE."""
    tcp_keepalive_intvl: int = 75
    """Seconds between keep-alive probes."""
    tcp_keepalive_probes: int = 9
    """Keep-alive probes without an answer before a connection is given up."""
    ip_local_port_range: tuple[int, int] = (32768, 60999)
    """Lowest and highest local port of connections and sockets that name none."""
    ip_local_reserved_ports: tuple[tuple[int, int], ...] = ()
    """Ports that only programs which name them get: ``8080,9000-9010``. Takes effect at once."""
    tcp_tw_reuse: int = 2
    """Active opens may take over a port in TIME-WAIT when no other is free, if its connection had timestamps: 0 never, 1 always, 2 to and
    from 127.0.0.0/8, and over a device that loops back. Takes effect at once."""
    tcp_tw_reuse_delay: int = 1000
    """Milliseconds that a TIME-WAIT must have lasted before (tcp_tw_reuse). Takes effect at once."""
    tcp_rmem: tuple[int, int, int] = (4096, 131072, 6291456)
    """Receive buffer: smallest, default, largest; bytes."""
    tcp_wmem: tuple[int, int, int] = (4096, 16384, 4194304)
    """Send buffer: smallest, default, largest; bytes. It begins with the default, and 128 KiB at least, and grows to two CWNDs where a
    program fills it; the largest is a bound."""
    rmem_max: int = 4194304
    """What SO_RCVBUF may ask for at most, bytes."""
    wmem_max: int = 4194304
    """What SO_SNDBUF may ask for at most, bytes."""
    tcp_notsent_lowat: int = 131072
    """Bytes that a connection takes in beyond what it has sent (TCP_NOTSENT_LOWAT of one connection). Linux sets no bound (4294967295);
    with one, what a program writes is still in the cache when it leaves."""
    ip_default_ttl: int = 64
    """Time to live of the packets that the stack sends."""
    icmp_echo_ignore_all: int = 0
    """1: do not answer ping."""

    def __post_init__(self) -> None:
        for field in fields(self):
            check(field.name, getattr(self, field.name))

    def set(self, name: str, value: "str | int | tuple[int, ...] | Ranges") -> None:
        """Set one setting by its Linux name; a string is parsed as ``sysctl`` does.

        :raises SettingError: no such setting, or not a value for it
        """
        if name not in BOUNDS and name not in WORDS:
            raise SettingError(no_such("setting", name, sorted((*BOUNDS, *WORDS))))
        parsed: int | str | tuple[int, ...] | Ranges
        if name in RANGES and isinstance(value, (str, int)):
            parsed = ranges(name, str(value))
        elif isinstance(value, str) and name not in WORDS:
            try:
                numbers = tuple(int(word) for word in value.replace(",", " ").split())
            except ValueError:
                raise SettingError(f"{name} takes whole numbers, not {value!r}") from None
            if not numbers:
                raise SettingError(f"{name} takes whole numbers, not {value!r}")
            parsed = numbers if isinstance(getattr(self, name), tuple) or len(numbers) != 1 else numbers[0]
        else:
            parsed = value
        check(name, parsed)
        setattr(self, name, parsed)

    @classmethod
    def of(cls, settings: "Settings | Mapping[str, Any] | None") -> "Settings":
        """Settings from a mapping of names, from settings (taken as they are), or the defaults.

        :raises SettingError: no such setting, or not a value for it
        """
        if isinstance(settings, Settings):
            return settings
        result = cls()
        for name, value in (settings or {}).items():
            result.set(name, value)
        return result


# Smallest and largest value of each setting (of each number in it).
BOUNDS: dict[str, tuple[int, int]] = {
    "somaxconn": (0, 1 << 24),
    "tcp_max_syn_backlog": (1, 1 << 24),
    "tcp_syncookies": (0, 2),
    "tcp_synack_retries": (0, 255),
    "tcp_abort_on_overflow": (0, 1),
    "tcp_defer_accept": (0, 86400),
    "fastnet_young_request_rule": (0, 1),
    "fastnet_source_requests": (0, 1 << 24),
    "fastnet_source_connections": (0, 1 << 24),
    "fastnet_source_prefix": (0, 32),
    "fastnet_source_table": (1, 1 << 24),
    "fastnet_policy_waiting": (0, 1 << 20),
    "tcp_timestamps": (0, 1),
    "tcp_window_scaling": (0, 1),
    "tcp_sack": (0, 1),
    "tcp_ecn": (0, 2),
    "tcp_ecn_fallback": (0, 1),
    "tcp_fin_timeout": (0, 3600),
    "tcp_max_tw_buckets": (0, 1 << 24),
    "tcp_rfc1337": (0, 1),
    "tcp_dsack": (0, 1),
    "tcp_syn_retries": (0, 255),
    "tcp_retries1": (0, 255),
    "tcp_retries2": (0, 255),
    "tcp_orphan_retries": (0, 255),
    "tcp_max_orphans": (0, 1 << 24),
    "tcp_mem": (0, 1 << 38),
    "tcp_challenge_ack_limit": (0, 0x7FFFFFFF),
    "tcp_invalid_ratelimit": (0, 1 << 30),
    "tcp_fastopen": (0, 0xFFFF),
    "tcp_fastopen_blackhole_timeout_sec": (0, 1 << 30),
    "tcp_frto": (0, 2),
    "tcp_slow_start_after_idle": (0, 1),
    "min_pmtu": (68, 65535),
    "mtu_expires": (1, 1 << 24),
    "tcp_mtu_probing": (0, 2),
    "tcp_base_mss": (48, 65535),
    "tcp_mtu_probe_floor": (48, 65535),
    "tcp_probe_interval": (0, 1 << 24),
    "tcp_probe_threshold": (0, 65535),
    "tcp_pacing_ss_ratio": (0, 1000),
    "tcp_pacing_ca_ratio": (0, 1000),
    "fastnet_pacing": (0, 1),
    "fastnet_abe": (0, 1),
    "tcp_min_snd_mss": (48, 65535),
    "tcp_keepalive_time": (1, 32767),
    "tcp_keepalive_intvl": (1, 32767),
    "tcp_keepalive_probes": (1, 127),
    "ip_local_port_range": (1, 65535),
    "ip_local_reserved_ports": (1, 65535),
    "tcp_tw_reuse": (0, 2),
    "tcp_tw_reuse_delay": (1, 1 << 30),
    "tcp_rmem": (1024, 1 << 30),
    "tcp_wmem": (1024, 1 << 30),
    "rmem_max": (2304, 1 << 30),
    "wmem_max": (4608, 1 << 30),
    "tcp_notsent_lowat": (1, (1 << 32) - 1),
    "ip_default_ttl": (1, 255),
    "icmp_echo_ignore_all": (0, 1),
}

WORDS = ("tcp_congestion_control", "tcp_fastopen_key")
"""Settings that are words."""
RANGES = ("ip_local_reserved_ports",)
"""Settings that are ranges."""
LENGTHS = {"tcp_rmem": "three numbers (smallest, default, largest)", "tcp_wmem": "three numbers (smallest, default, largest)"}
LENGTHS["tcp_mem"] = "three numbers (low, pressure, high)"
LENGTHS["ip_local_port_range"] = "two numbers (lowest, highest)"


def check(name: str, value: object) -> None:
    """Is it a value for that setting?

    :raises SettingError: it is not, and the message says what would be
    """
    if name == "tcp_fastopen_key":
        fast_open_keys(value)
        return
    if name in WORDS:
        if not isinstance(value, str) or not value:
            raise SettingError(f"{name} takes a name, not {value!r}")
        return
    low, high = BOUNDS[name]
    if name in RANGES:
        for pair in value if isinstance(value, tuple) else (None,):
            good = isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(number, int) for number in pair)
            if not good or not low <= pair[0] <= pair[1] <= high:
                raise SettingError(f"{name} takes ports and ranges of ports from {low} to {high}, as 8080,9000-9010, not {value!r}")
        return
    several = LENGTHS.get(name)
    numbers = value if isinstance(value, tuple) else (value,)
    if len(numbers) != (int(several.startswith("three")) + 2 if several else 1):
        raise SettingError(f"{name} takes {several or 'one number'}, not {value!r}")
    for number in numbers:
        if not isinstance(number, int) or not low <= number <= high:
            raise SettingError(f"{name} takes {low} to {high}, not {number!r}")
    if several and list(numbers) != sorted(numbers):
        raise SettingError(f"{name} takes {several} in rising order, not {value!r}")


def fast_open_keys(text: object) -> tuple[tuple[int, int], ...]:
    """The keys that tcp_fastopen_key names, none to two; each the two numbers that SipHash takes.

    :raises SettingError: not keys
    """
    if text == "":
        return ()
    keys: list[tuple[int, int]] = []
    for word in text.split(",") if isinstance(text, str) else ("",):
        parts = word.strip().split("-")
        try:
            numbers = [int(part, 16) for part in parts]
        except ValueError:
            numbers = []
        if len(numbers) != 4 or any(not 0 <= number < 1 << 32 for number in numbers) or len(keys) == 2:
            raise SettingError(f"tcp_fastopen_key takes one or two keys, as 01234567-89abcdef-01234567-89abcdef, not {text!r}")
        keys.append((numbers[0] | numbers[1] << 32, numbers[2] | numbers[3] << 32))
    return tuple(keys)


def ranges(name: str, text: str) -> Ranges:
    """Ports and ranges of ports as ``sysctl`` takes them: 8080,9000-9010.

    :raises SettingError: not that
    """
    try:
        pairs = [[int(number) for number in word.split("-")] for word in text.replace(",", " ").split()]
    except ValueError:
        raise SettingError(f"{name} takes ports and ranges of ports, as 8080,9000-9010, not {text!r}") from None
    if any(len(pair) > 2 for pair in pairs):
        raise SettingError(f"{name} takes ports and ranges of ports, as 8080,9000-9010, not {text!r}")
    return tuple((pair[0], pair[-1]) for pair in pairs)
