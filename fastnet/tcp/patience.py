"""How long to believe in a silent peer: keep-alive (RFC 9293 section 3.8.4) and the user timeout (RFC 5482)."""

from fastnet.config import Settings
from fastnet.tcp.numbers import MILLISECOND, SECOND


class Patience:
    """Made for the connections that ask for either. Times in ns.

    :ivar keepalive: SO_KEEPALIVE; off unless the program says so (MUST-25)
    :ivar idle: silence before the first probe; ``interval``: between probes; ``count``: probes without an answer before the end
    :ivar probes: probes without an answer so far
    :ivar user_timeout: TCP_USER_TIMEOUT: how long data may stay unacknowledged; 0 for tcp_retries2 to decide
    """

    __slots__ = ("count", "idle", "interval", "keepalive", "probes", "user_timeout")

    def __init__(self, settings: Settings) -> None:
        self.keepalive = False
        self.idle = settings.tcp_keepalive_time * SECOND
        self.interval = settings.tcp_keepalive_intvl * SECOND
        self.count = settings.tcp_keepalive_probes
        self.probes = 0
        self.user_timeout = 0

    def set_user_timeout(self, milliseconds: int) -> None:
        """TCP_USER_TIMEOUT, in its own unit."""
        self.user_timeout = milliseconds * MILLISECOND

    def next_look(self, heard_at: int) -> int:
        """When to look whether the peer still lives, ns; 0 for never."""
        if not self.keepalive:
            return 0
        return heard_at + self.idle + self.probes * self.interval

    def is_over(self, heard_at: int, now: int) -> bool:
        """Has the peer missed too many probes (tcp_keepalive_timer())?"""
        if self.user_timeout:
            return self.probes > 0 and now - heard_at >= self.user_timeout
        return self.probes >= self.count
