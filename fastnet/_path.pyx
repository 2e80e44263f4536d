"""Where the packets of a flow go, and what a packet to there looks like.

A stack has one path for each family, which all its flows share. A flow that differs (its program set a time to live, its route takes
smaller packets) has a copy. A path never changes, so whoever shares one needs no care. Linux: dst_entry; gVisor: Route.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t


@cython.final
cdef class Path:
    """What all packets of a flow have in common below TCP.

    :param version: 4 or 6
    :param mtu: bytes of the largest packet that gets there
    :param ttl: time to live (hop limit), 1 to 255
    :param tos: the DS field and the ECN field: ToS, or traffic class; 0 to 255
    :param fragment: routers may fragment its packets (IPv4: without DF)
    :param largest: bytes of data that the device takes in one packet and cuts into segments itself; 0 where it does not
    :raises ValueError: another version; an MTU that leaves no room for data; a time to live of 0
    :raises OverflowError: a number that its field cannot take
    :ivar header: bytes of its IP header
    :ivar mss: bytes of TCP options and data in the largest packet (RFC 9293 section 3.7.1)
    :ivar default_mss: what a peer takes that does not say (RFC 9293 section 3.7.1, MUST-15)
    """

    def __init__(
        self, int version, uint32_t mtu, uint8_t ttl=64, uint8_t tos=0, bint fragment=False, uint32_t largest=0
    ):
        if self.version:
            raise TypeError("a Path does not change")
        if version not in (4, 6):
            raise ValueError(f"IP version 4 or 6, not {version}")
        if ttl == 0:
            raise ValueError("a time to live of 0 leads nowhere")
        header = IPV4_HEADER if version == 4 else IPV6_HEADER
        if mtu <= header + TCP_HEADER:
            raise ValueError(f"an MTU of {mtu} bytes has no room for data")
        self.header = header
        self.ttl = ttl
        self.tos = tos
        self.fragment = fragment
        self.mtu = mtu
        self.mss = mtu - header - TCP_HEADER
        self.default_mss = 536 if version == 4 else 1220
        self.largest = largest
        if version == 4:
            self.first = 0x45000000U | (<uint32_t>tos << 16)
            self.third = <uint32_t>ttl << 24
        else:
            self.first = 0x60000000U | (<uint32_t>tos << 20)
            self.third = ttl
        self.version = version

    def copy(self, *, ttl=None, tos=None, mtu=None, fragment=None) -> Path:
        """The same path but for what is given; itself where nothing differs. Parameters and errors as the constructor's."""
        ttl = self.ttl if ttl is None else ttl
        tos = self.tos if tos is None else tos
        mtu = self.mtu if mtu is None else mtu
        fragment = self.fragment if fragment is None else bool(fragment)
        if (ttl, tos, mtu, fragment) == (self.ttl, self.tos, self.mtu, self.fragment):
            return self
        return Path(self.version, mtu, ttl, tos, fragment, self.largest)

    cpdef Path without_ecn(self):
        """The same path with an ECN field of zero: for what must not be marked (RFC 3168 section 6.1.4)."""
        if not self.tos & ECN_FIELD:
            return self
        if self.unmarked is None:
            self.unmarked = self.copy(tos=self.tos & ~ECN_FIELD)
        return self.unmarked

    cpdef Path with_ecn(self):
        """The same path for packets that routers may mark: ECT(0)."""
        if self.tos & ECN_FIELD == ECN_CAPABLE:
            return self
        if self.capable is None:
            self.capable = self.copy(tos=self.tos & ~ECN_FIELD | ECN_CAPABLE)
        return self.capable

    cpdef Py_ssize_t burst(self, Py_ssize_t mss) noexcept:
        """Bytes of data that may go in one packet: a segment, or whole segments where the device cuts them (TSO).

        :param mss: bytes of data in a segment; 0 and below come back as they are
        """
        return self.largest // mss * mss if 0 < mss < self.largest else mss

    def __repr__(self):
        return f"Path({self.version}, mtu={self.mtu}, ttl={self.ttl}, tos={self.tos}, fragment={bool(self.fragment)})"
