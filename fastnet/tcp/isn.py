"""Initial sequence numbers (RFC 6528) and timestamp offsets: unpredictable from outside, rising for the same 4-tuple."""

from fastnet._flow import FourTuple
from fastnet.tcp.numbers import MICROSECOND

FOUR_MICROSECONDS = 4 * MICROSECOND
MASK64 = 0xFFFFFFFFFFFFFFFF


class IsnGenerator:
    """ISN = M + F(4-tuple, secret), with F = SipHash-2-4 and M a clock of 4 microseconds (RFC 9293 section 3.4.1).

    :param secret: 16 random bytes, from the stack's random source
    :raises ValueError: the secret is not 16 bytes
    """

    __slots__ = ("key0", "key1")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 16:
            raise ValueError(f"the secret has 16 bytes, not {len(secret)}")
        self.key0 = int.from_bytes(secret[:8], "little")
        self.key1 = int.from_bytes(secret[8:], "little")

    def base(self, flow: FourTuple) -> int:
        """F of 64 bits: what ``draw`` adds the clock to."""
        return flow.prf(self.key0, self.key1)

    def draw(self, flow: FourTuple, now: int) -> int:
        """64 bits for a connection: the ISN in the lower 32, the offset of its timestamp clock in the upper 32.

        A carry out of the ISN, once in five hours, moves the offset by a millisecond: nobody can tell.
        """
        return flow.prf(self.key0, self.key1) + now // FOUR_MICROSECONDS & MASK64
