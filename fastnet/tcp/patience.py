"""How long to believe in a silent peer: keep-alive (RFC 9293 section 3.8.4), the user timeout (RFC 5482), SYNs."""

from fastnet.config import Settings
from fastnet.tcp.numbers import MILLISECOND, SECOND


class Patience:
    """Made for the connections that ask for one of them. Times in ns.

    :ivar keepalive: SO_KEEPALIVE; off unless the program says so (MUST-25)
    :ivar idle: silence before the first probe; ``interval``: between probes; ``count``: probes without an answer before the end
    :ivar probes: probes without an answer so far; ``probed_at``: when the last went out, ns; ``silent_since``: when the peer had been
        heard before the first
    :ivar user_timeout: TCP_USER_TIMEOUT: how long data may stay unacknowledged; 0 for tcp_retries2 to decide
    :ivar fin_wait: TCP_LINGER2: how long to wait for the peer's FIN once nobody reads; 0 for tcp_fin_timeout to decide, -1: not at all
    :ivar syn_retries: TCP_SYNCNT: retransmissions of our SYN; 0 for tcp_syn_retries to decide
    """

    __slots__ = ("count", "fin_wait", "idle", "interval", "keepalive", "probed_at", "probes", "silent_since", "syn_retries", "user_timeout")

    def __init__(self, settings: Settings) -> None:
        self.keepalive = False
        self.idle = settings.tcp_keepalive_time * SECOND
        self.interval = settings.tcp_keepalive_intvl * SECOND
        self.count = settings.tcp_keepalive_probes
        self.probes = 0
        self.probed_at = 0
        self.silent_since = 0
        self.user_timeout = 0
        self.fin_wait = 0
        self.syn_retries = 0

    def set_user_timeout(self, milliseconds: int) -> None:
        """TCP_USER_TIMEOUT, in its own unit."""
        self.user_timeout = milliseconds * MILLISECOND

    def next_look(self, heard_at: int) -> int:
        """When to look whether the peer still lives, ns; 0 for never."""
        if not self.keepalive:
            return 0
        if self.probes and heard_at == self.silent_since:
            return self.probed_at + self.interval
        return heard_at + self.idle

    def probe(self, heard_at: int, now: int) -> None:
        """A probe goes out. What was heard since the one before begins the count anew (MUST-29)."""
        if heard_at != self.silent_since:
            self.probes = 0
            self.silent_since = heard_at
        self.probes += 1
        self.probed_at = now

    def is_over(self, heard_at: int, now: int) -> bool:
        """Has the peer missed too many probes (tcp_keepalive_timer())?"""
        if heard_at != self.silent_since:
            return False
        if self.user_timeout:
            return self.probes > 0 and now - heard_at >= self.user_timeout
        return self.probes >= self.count
