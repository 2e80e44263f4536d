"""Why a listener refused: one number for each cause. Linux has the same causes under fewer names, and for all listeners together."""


class Refusals:
    """What one listener turned away since it was made; each attribute counts SYNs, final ACKs or requests.

    :ivar syn_queue_full: SYNs that found the syn queue full, without cookies
    :ivar last_quarter: SYNs that found tcp_max_syn_backlog three quarters full, without cookies
    :ivar accept_queue_full: SYNs that found the accept queue full
    :ivar accept_queue_full_ack: final ACKs that did
    :ivar source_requests: SYNs of a source that has all the requests it may have
    :ivar source_connections: SYNs and final ACKs of a source that has all the connections it may have
    :ivar cookie_failed: final ACKs whose cookie was not good
    :ivar unanswered: requests given up after all retries
    :ivar reset: requests that ended with a RST, the peer's or ours
    :ivar policy_drop: SYNs that the policy dropped; ``policy_reset``: that it answered with a RST
    :ivar policy_failed: SYNs dropped because the policy raised, or gave what is no verdict
    :ivar policy_full: SYNs dropped because too many waited for the policy already
    :ivar policy_expired: SYNs dropped because nobody decided in time
    """

    __slots__ = (
        "accept_queue_full", "accept_queue_full_ack", "cookie_failed", "last_quarter", "policy_drop", "policy_expired",
        "policy_failed", "policy_full", "policy_reset", "reset", "source_connections", "source_requests", "syn_queue_full",
        "unanswered",
    )  # fmt: skip

    syn_queue_full: int
    last_quarter: int
    accept_queue_full: int
    accept_queue_full_ack: int
    source_requests: int
    source_connections: int
    cookie_failed: int
    unanswered: int
    reset: int
    policy_drop: int
    policy_reset: int
    policy_failed: int
    policy_full: int
    policy_expired: int

    def __init__(self) -> None:
        for name in CAUSES:
            setattr(self, name, 0)

    def as_dict(self) -> dict[str, int]:
        """Cause -> how often, every cause."""
        return {name: getattr(self, name) for name in CAUSES}


CAUSES = (
    "syn_queue_full", "last_quarter", "accept_queue_full", "accept_queue_full_ack", "source_requests", "source_connections",
    "cookie_failed", "unanswered", "reset", "policy_drop", "policy_reset", "policy_failed", "policy_full", "policy_expired",
)  # fmt: skip
