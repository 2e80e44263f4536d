"""What a listener says of itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Statistics:
    """A listener at one moment: depths, how deep they ever were, and what it did since it was made.

    :ivar syn_queue: requests; ``young``: of those, whose timer never fired
    :ivar accept_queue: connections that nobody accepted yet
    :ivar waiting: SYNs that wait for the policy
    :ivar sources: networks that hold something, where there are limits for each
    :ivar syn_queue_high, accept_queue_high: the most that there ever were at once, or since ``reset_high_water``
    :ivar requests: SYNs that became a request; ``cookies_sent``: that were answered with a cookie
    :ivar completed: handshakes that became a connection; ``cookies_redeemed``: of those, by a cookie
    :ivar refused: cause -> how often (the attributes of ``Refusals``)
    """

    syn_queue: int
    young: int
    accept_queue: int
    waiting: int
    sources: int
    syn_queue_high: int
    accept_queue_high: int
    requests: int
    cookies_sent: int
    completed: int
    cookies_redeemed: int
    refused: dict[str, int]
