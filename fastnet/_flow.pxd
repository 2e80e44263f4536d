from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastnet._siphash cimport SipState, sip_final, sip_init, sip_word

# The upper word of an IPv4-mapped address (::ffff:a.b.c.d, RFC 4291 section 2.5.5.2): how a FourTuple holds IPv4.
cdef enum:
    V4_PREFIX = 0xffff

cdef uint64_t flow_key0
cdef uint64_t flow_key1

# The hash of an IPv4 4-tuple given as numbers.
cdef uint64_t flow_hash_v4(uint32_t local, uint32_t remote, uint16_t local_port, uint16_t remote_port) noexcept nogil


cdef inline bint is_v4(uint64_t hi, uint64_t lo) noexcept nogil:
    return hi == 0 and (lo >> 32) == V4_PREFIX


cdef inline uint64_t flow_hash(
    uint64_t k0, uint64_t k1,
    uint64_t local_hi, uint64_t local_lo, uint64_t remote_hi, uint64_t remote_lo,
    uint16_t local_port, uint16_t remote_port,
) noexcept nogil:
    """SipHash-1-3 of a 4-tuple: two words for IPv4, five for IPv6; the length is in the last word."""
    cdef SipState s
    cdef uint64_t ports = (<uint64_t>local_port << 16) | remote_port
    sip_init(&s, k0, k1)
    if is_v4(local_hi, local_lo) and is_v4(remote_hi, remote_lo):
        sip_word(&s, (local_lo << 32) | (remote_lo & 0xffffffffU), 1)
        sip_word(&s, (<uint64_t>12 << 56) | ports, 1)
    else:
        sip_word(&s, local_hi, 1)
        sip_word(&s, local_lo, 1)
        sip_word(&s, remote_hi, 1)
        sip_word(&s, remote_lo, 1)
        sip_word(&s, (<uint64_t>36 << 56) | ports, 1)
    return sip_final(&s, 3)


cdef class FourTuple:
    cdef uint64_t local_hi, local_lo, remote_hi, remote_lo
    cdef uint64_t hash
    cdef readonly uint16_t local_port
    cdef readonly uint16_t remote_port
    cdef readonly uint8_t version

    cdef void set(
        self, uint64_t local_hi, uint64_t local_lo, uint64_t remote_hi, uint64_t remote_lo,
        uint16_t local_port, uint16_t remote_port,
    ) noexcept nogil
    cpdef FourTuple copy(self)
    cpdef uint64_t prf(self, uint64_t key0, uint64_t key1) noexcept
    cpdef uint64_t mac(self, uint64_t key0, uint64_t key1, uint32_t number) noexcept
    cpdef uint64_t remote_network(self, int bits) noexcept


cdef inline bint same_flow(FourTuple a, FourTuple b) noexcept:
    return (
        a.hash == b.hash
        and a.remote_lo == b.remote_lo and a.remote_port == b.remote_port
        and a.local_lo == b.local_lo and a.local_port == b.local_port
        and a.remote_hi == b.remote_hi and a.local_hi == b.local_hi
    )
