"""How many challenge ACKs (RFC 5961 section 7) a stack sends in a second, where tcp_challenge_ack_limit bounds them."""

from collections.abc import Callable

from fastnet.tcp.numbers import SECOND

UNLIMITED = 0x7FFFFFFF
"""As on Linux, the default: what bounds challenge ACKs is tcp_invalid_ratelimit, for each connection."""


class ChallengeBudget:
    """One stack's.

    All connections draw on it, so whoever knew how much there is could spend it on a connection of his own, and learn from what is left
    of somebody else's (CVE-2016-5696). Each second's amount is therefore drawn anew, from half the limit to half more than it
    (tcp_send_challenge_ack()).

    :param random: n -> n random bytes
    :ivar second: the one that ``left`` is for
    """

    __slots__ = ("left", "random", "second")

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self.random = random
        self.second = -1
        self.left = 0

    def take(self, limit: int, now: int) -> bool:
        """May one more be sent? ``limit`` is of one second."""
        if limit >= UNLIMITED:
            return True
        if limit == 0:
            return False
        second = now // SECOND
        if second != self.second:
            self.second = second
            self.left = (limit + 1) // 2 + int.from_bytes(self.random(8), "little") % limit
        if self.left == 0:
            return False
        self.left -= 1
        return True
