"""What a program may set for one listener while it runs. Each setting begins with the stack's, and takes effect with the next segment."""

from fastnet.config import SettingError, Settings, check
from fastnet.tcp.context import Endpoint
from fastnet.tcp.sources import SourceTable

NAMES = (
    "tcp_max_syn_backlog", "tcp_syncookies", "tcp_synack_retries", "tcp_abort_on_overflow", "tcp_defer_accept",
    "fastnet_young_request_rule", "fastnet_source_prefix", "fastnet_source_requests", "fastnet_source_connections",
    "fastnet_source_table", "fastnet_policy_waiting",
)  # fmt: skip
"""Settings of the stack that each listener has for itself, beside ``backlog``."""

FIRST_TIMEOUT = 1
MAX_TIMEOUT = 120
"""Seconds: Linux's TCP_TIMEOUT_INIT and TCP_RTO_MAX."""
DOUBLINGS = 7
"""Timeouts that are shorter than the largest."""


class Tuned(Endpoint):
    """A listener's settings, each an attribute under its name; ``set`` changes them.

    :ivar backlog: length of the accept queue and of the syn queue; one more fits, as in Linux
    :ivar syn_queue_limit: three quarters of tcp_max_syn_backlog, which count where there are no cookies
    :ivar defer_timeouts: tcp_defer_accept as Linux keeps it: how often a request's timer fires in that time
    :ivar cookie_at: when a SYN was last answered with a cookie, ns; -1 before the first
    :ivar sources: who holds what, None without limits for each source
    """

    __slots__ = (
        "backlog", "cookie_at", "defer_timeouts", "fastnet_policy_waiting", "fastnet_source_connections", "fastnet_source_prefix",
        "fastnet_source_requests", "fastnet_source_table", "fastnet_young_request_rule", "somaxconn", "sources", "syn_queue_limit",
        "tcp_abort_on_overflow", "tcp_defer_accept", "tcp_max_syn_backlog", "tcp_synack_retries", "tcp_syncookies",
    )  # fmt: skip

    tcp_max_syn_backlog: int
    tcp_syncookies: int
    tcp_synack_retries: int
    tcp_abort_on_overflow: int
    tcp_defer_accept: int
    fastnet_young_request_rule: int
    fastnet_source_prefix: int
    fastnet_source_requests: int
    fastnet_source_connections: int
    fastnet_source_table: int
    fastnet_policy_waiting: int

    def begin(self, settings: Settings, backlog: int) -> None:
        """Take the stack's settings."""
        self.somaxconn = settings.somaxconn
        self.cookie_at = -1
        self.sources: SourceTable | None = None
        for name in NAMES:
            setattr(self, name, getattr(settings, name))
        self.set_backlog(backlog)
        self.changed("fastnet_source_prefix")
        self.changed("tcp_defer_accept")
        self.changed("tcp_max_syn_backlog")

    def set_backlog(self, backlog: int) -> None:
        """LISTEN again with another backlog; takes effect at once (inet_listen())."""
        self.backlog = min(max(backlog, 0), self.somaxconn)

    def set(self, name: str, value: int) -> None:
        """Set one of ``NAMES``, or "backlog".

        :raises SettingError: no such setting of a listener, or not a value for it
        """
        if name == "backlog":
            self.set_backlog(value)
            return
        if name not in NAMES:
            raise SettingError(f"a listener has no setting {name!r}; it has: {', '.join(sorted(('backlog', *NAMES)))}")
        check(name, value)
        setattr(self, name, value)
        self.changed(name)

    def settings(self) -> dict[str, int]:
        """Name -> value, every setting of the listener."""
        return {"backlog": self.backlog, **{name: getattr(self, name) for name in NAMES}}

    def changed(self, name: str) -> None:
        """Follow what was set."""
        if name == "tcp_max_syn_backlog":
            # tcp_conn_request(): without cookies, the last quarter is kept free.
            self.syn_queue_limit = self.tcp_max_syn_backlog - (self.tcp_max_syn_backlog >> 2)
        elif name == "tcp_defer_accept":
            self.defer_timeouts = timeouts_within(self.tcp_defer_accept)
        elif name == "tcp_syncookies" and not self.tcp_syncookies:
            self.cookie_at = -1
        elif name.startswith("fastnet_source_"):
            self.limits_changed(name)

    def limits_changed(self, name: str) -> None:
        """A table while there are limits; with another prefix a new one, which knows nothing of what the old one counted."""
        if not self.fastnet_source_requests and not self.fastnet_source_connections:
            self.sources = None
        elif self.sources is None or name == "fastnet_source_prefix":
            self.sources = SourceTable(self.fastnet_source_prefix, self.fastnet_source_table)
        else:
            self.sources.largest = self.fastnet_source_table


def timeouts_within(seconds: int) -> int:
    """How often a request's timer fires in a time (secs_to_retrans()); 255 at most."""
    if seconds <= 0:
        return 0
    count = 1
    timeout = period = FIRST_TIMEOUT
    while seconds > period and count < 255:
        count += 1
        timeout = min(timeout * 2, MAX_TIMEOUT)
        period += timeout
    return count


def seconds_within(count: int) -> int:
    """How long so many timeouts take together (retrans_to_secs())."""
    doubled = sum(min(FIRST_TIMEOUT << i, MAX_TIMEOUT) for i in range(min(max(count, 0), DOUBLINGS)))
    return doubled + max(count - DOUBLINGS, 0) * MAX_TIMEOUT
