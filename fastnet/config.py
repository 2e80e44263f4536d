"""Settings under Linux's sysctl names, with Linux's defaults where not said otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


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
    """Requests a listener may hold. Without cookies, its last quarter stays empty, as in Linux's tcp_conn_request()."""
    tcp_syncookies: int = 0
    """0 only: cookies are not there yet, so the default is not Linux's 1."""
    tcp_synack_retries: int = 5
    """Retransmissions of a SYN-ACK before the request is dropped: after 1, 3, 7, 15, 31 s; dropped at 63 s."""
    tcp_abort_on_overflow: int = 0
    """1: answer the final ACK with a RST when the accept queue is full, instead of dropping it."""
    fastnet_young_request_rule: int = 0
    """1: as Linux 3.10, a full accept queue refuses SYNs only while more than one request is young (never timed out)."""
    tcp_timestamps: int = 1
    """RFC 7323 timestamps, if the peer offers them."""
    tcp_window_scaling: int = 1
    """RFC 7323 window scale, if the peer offers it."""
    tcp_sack: int = 1
    """RFC 2018: answer SACK-permitted, if the peer offers it."""
    tcp_fin_timeout: int = 60
    """Seconds that a closed connection stays in FIN-WAIT-2."""
    tcp_max_tw_buckets: int = 262144
    """Connections in TIME-WAIT at once; beyond it they are closed without (TCPTimeWaitOverflow)."""
    tcp_rfc1337: int = 0
    """1: a RST does not end TIME-WAIT (RFC 1337)."""
    tcp_retries2: int = 15
    """Retransmissions of data or FIN before a connection is given up (R2 of RFC 9293)."""
    tcp_rmem: tuple[int, int, int] = (4096, 131072, 6291456)
    """Receive buffer: smallest, default, largest; bytes."""
    tcp_wmem: tuple[int, int, int] = (4096, 16384, 4194304)
    """Send buffer: smallest, default, largest; bytes. The largest bounds what ``send`` takes in."""
    ip_default_ttl: int = 64
    """Time to live of the packets that the stack sends."""
    icmp_echo_ignore_all: int = 0
    """1: do not answer ping."""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))

    def set(self, name: str, value: str | int | tuple[int, ...]) -> None:
        """Set one setting by its Linux name; a string is parsed as ``sysctl`` does.

        :raises SettingError: no such setting, or not a value for it
        """
        if name not in BOUNDS:
            raise SettingError(f"no setting {name!r}; there are: {', '.join(sorted(BOUNDS))}")
        parsed: int | tuple[int, ...]
        if isinstance(value, str):
            try:
                numbers = tuple(int(word) for word in value.replace(",", " ").split())
            except ValueError:
                raise SettingError(f"{name} takes whole numbers, not {value!r}") from None
            if not numbers:
                raise SettingError(f"{name} takes whole numbers, not {value!r}")
            parsed = numbers if isinstance(getattr(self, name), tuple) or len(numbers) != 1 else numbers[0]
        else:
            parsed = value
        _check(name, parsed)
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
    "tcp_syncookies": (0, 0),
    "tcp_synack_retries": (0, 255),
    "tcp_abort_on_overflow": (0, 1),
    "fastnet_young_request_rule": (0, 1),
    "tcp_timestamps": (0, 1),
    "tcp_window_scaling": (0, 1),
    "tcp_sack": (0, 1),
    "tcp_fin_timeout": (0, 3600),
    "tcp_max_tw_buckets": (0, 1 << 24),
    "tcp_rfc1337": (0, 1),
    "tcp_retries2": (0, 255),
    "tcp_rmem": (1024, 1 << 30),
    "tcp_wmem": (1024, 1 << 30),
    "ip_default_ttl": (1, 255),
    "icmp_echo_ignore_all": (0, 1),
}


def _check(name: str, value: object) -> None:
    low, high = BOUNDS[name]
    triple = name in ("tcp_rmem", "tcp_wmem")
    numbers = value if isinstance(value, tuple) else (value,)
    if triple and len(numbers) != 3:
        raise SettingError(f"{name} takes three numbers (smallest, default, largest), not {value!r}")
    if not triple and len(numbers) != 1:
        raise SettingError(f"{name} takes one number, not {value!r}")
    for number in numbers:
        if not isinstance(number, int) or not low <= number <= high:
            raise SettingError(f"{name} takes {low} to {high}, not {number!r}")
    if triple and list(numbers) != sorted(numbers):
        raise SettingError(f"{name} takes three numbers in rising order, not {value!r}")
