"""The 4-tuple that names a connection, with its keyed hash.

One ``FourTuple`` serves IPv4 and IPv6: an address is two 64-bit words, and IPv4 is held as the IPv4-mapped IPv6 address
(RFC 4291 section 2.5.5.2). The hash is SipHash-1-3 under a key drawn once per process, as Linux's ``inet_ehash_secret``,
so that nobody outside can choose collisions (in the demux, in a syn queue, or in any other dict that it keys).
"""

import os
import socket

cimport cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t


def _draw_key() -> None:
    global flow_key0, flow_key1
    flow_key0 = int.from_bytes(os.urandom(8), "little")
    flow_key1 = int.from_bytes(os.urandom(8), "little")


_draw_key()


cdef uint64_t flow_hash_v4(uint32_t local, uint32_t remote, uint16_t local_port, uint16_t remote_port) noexcept nogil:
    return flow_hash(
        flow_key0, flow_key1, 0, (<uint64_t>V4_PREFIX << 32) | local, 0, (<uint64_t>V4_PREFIX << 32) | remote, local_port, remote_port
    )


cdef tuple _words(str address):
    """The two 64-bit words of a textual IPv4 or IPv6 address."""
    cdef bytes raw
    if ":" in address:
        raw = socket.inet_pton(socket.AF_INET6, address)
    else:
        raw = bytes(10) + b"\xff\xff" + socket.inet_pton(socket.AF_INET, address)
    return int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big")


cdef str _text(uint64_t hi, uint64_t lo):
    cdef bytes raw = int(hi).to_bytes(8, "big") + int(lo).to_bytes(8, "big")
    if is_v4(hi, lo):
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)


@cython.final
@cython.freelist(1024)
cdef class FourTuple:
    """Local and remote address and port: the name of a connection.

    Hashable and comparable, so it keys a dict. The one inside a ``Segment`` is overwritten by the next batch: ``copy()``
    what you keep.

    :param local: the local address, textual IPv4 or IPv6
    :param local_port: 0 to 65535
    :param remote: the remote address
    :ivar version: 4 or 6
    :param remote_port: 0 to 65535
    :raises OSError: an address is not one
    :raises OverflowError: a port is out of range
    :raises TypeError: ``__init__`` of one that has been made
    """

    def __init__(self, str local, uint16_t local_port, str remote, uint16_t remote_port):
        cdef uint64_t local_hi, local_lo, remote_hi, remote_lo
        # Tables have it under its hash: it never changes. (The hash of what ``__new__`` alone made is 0.)
        if self.hash:
            raise TypeError("a FourTuple does not change")
        local_hi, local_lo = _words(local)
        remote_hi, remote_lo = _words(remote)
        self.set(local_hi, local_lo, remote_hi, remote_lo, local_port, remote_port)

    cdef void set(
        self, uint64_t local_hi, uint64_t local_lo, uint64_t remote_hi, uint64_t remote_lo,
        uint16_t local_port, uint16_t remote_port,
    ) noexcept nogil:
        self.local_hi = local_hi
        self.local_lo = local_lo
        self.remote_hi = remote_hi
        self.remote_lo = remote_lo
        self.local_port = local_port
        self.remote_port = remote_port
        self.version = 4 if is_v4(remote_hi, remote_lo) else 6
        self.hash = flow_hash(
            flow_key0, flow_key1, local_hi, local_lo, remote_hi, remote_lo, local_port, remote_port
        )

    cpdef FourTuple copy(self):
        """A copy that the next batch will not overwrite."""
        cdef FourTuple other = FourTuple.__new__(FourTuple)
        other.local_hi = self.local_hi
        other.local_lo = self.local_lo
        other.remote_hi = self.remote_hi
        other.remote_lo = self.remote_lo
        other.hash = self.hash
        other.local_port = self.local_port
        other.remote_port = self.remote_port
        other.version = self.version
        return other

    cpdef uint64_t prf(self, uint64_t key0, uint64_t key1) noexcept:
        """SipHash-2-4 of the 4-tuple under a secret of 128 bits: for sequence numbers (RFC 6528) and cookies."""
        cdef SipState s
        sip_init(&s, key0, key1)
        sip_word(&s, self.local_hi, 2)
        sip_word(&s, self.local_lo, 2)
        sip_word(&s, self.remote_hi, 2)
        sip_word(&s, self.remote_lo, 2)
        sip_word(&s, (<uint64_t>36 << 56) | (<uint64_t>self.local_port << 16) | self.remote_port, 2)
        return sip_final(&s, 4)

    cpdef uint64_t mac(self, uint64_t key0, uint64_t key1, uint32_t number) noexcept:
        """SipHash-2-4 of the 4-tuple and a number, under a secret that is used for nothing else: all inputs have the same length."""
        cdef SipState s
        sip_init(&s, key0, key1)
        sip_word(&s, self.local_hi, 2)
        sip_word(&s, self.local_lo, 2)
        sip_word(&s, self.remote_hi, 2)
        sip_word(&s, self.remote_lo, 2)
        sip_word(&s, (<uint64_t>number << 32) | (<uint64_t>self.local_port << 16) | self.remote_port, 2)
        return sip_final(&s, 4)

    def address_prf(self, uint64_t key0, uint64_t key1) -> int:
        """SipHash-2-4 of the remote and the local address under a secret: a Fast Open cookie as Linux makes it."""
        cdef SipState s
        cdef bytes raw
        sip_init(&s, key0, key1)
        if is_v4(self.remote_hi, self.remote_lo):
            raw = int(self.remote_lo & 0xffffffffU).to_bytes(4, "big") + int(self.local_lo & 0xffffffffU).to_bytes(4, "big")
            sip_word(&s, <uint64_t>int.from_bytes(raw, "little"), 2)
            sip_word(&s, <uint64_t>8 << 56, 2)
        else:
            for word in (self.remote_hi, self.remote_lo, self.local_hi, self.local_lo):
                sip_word(&s, <uint64_t>int.from_bytes(int(word).to_bytes(8, "big"), "little"), 2)
            sip_word(&s, <uint64_t>32 << 56, 2)
        return sip_final(&s, 4)

    cpdef uint64_t remote_network(self, int bits) noexcept:
        """The first bits of the remote address as a number: 0 to 32 of IPv4, and 32 more of IPv6, whose sites have a /64 each at least.

        More count as the most; 0 is 0 of either.
        """
        cdef int rest = 32 - min(bits, 32)
        if bits <= 0:
            return 0
        return (self.remote_lo & 0xffffffffU if is_v4(self.remote_hi, self.remote_lo) else self.remote_hi) >> rest

    @property
    def remote_number(self) -> int:
        """The remote address as a number of 128 bits; IPv4 as its IPv4-mapped address."""
        return int(self.remote_hi) << 64 | self.remote_lo

    @property
    def local_address(self) -> str:
        """The local address as text."""
        return _text(self.local_hi, self.local_lo)

    @property
    def remote_address(self) -> str:
        """The remote address as text."""
        return _text(self.remote_hi, self.remote_lo)

    def __hash__(self):
        return <Py_ssize_t>(self.hash >> 1)

    def __eq__(self, other):
        return isinstance(other, FourTuple) and same_flow(self, <FourTuple>other)

    def __repr__(self):
        return (
            f"FourTuple({self.local_address!r}, {self.local_port}, {self.remote_address!r}, {self.remote_port})"
        )
