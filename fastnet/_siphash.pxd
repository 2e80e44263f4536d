"""SipHash over 64-bit words, inline for the other leaves (Aumasson and Bernstein, "SipHash", 2012).

Tables use SipHash-1-3, sequence numbers and cookies SipHash-2-4. The caller packs its input into words and ends with
the length word, so that inputs of different lengths never collide by construction.
"""

from libc.stdint cimport uint64_t


cdef struct SipState:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3


cdef inline uint64_t _rotl(uint64_t x, int b) noexcept nogil:
    return (x << b) | (x >> (64 - b))


cdef inline void sip_init(SipState *s, uint64_t k0, uint64_t k1) noexcept nogil:
    s.v0 = k0 ^ 0x736f6d6570736575ULL
    s.v1 = k1 ^ 0x646f72616e646f6dULL
    s.v2 = k0 ^ 0x6c7967656e657261ULL
    s.v3 = k1 ^ 0x7465646279746573ULL


cdef inline void sip_round(SipState *s) noexcept nogil:
    s.v0 += s.v1
    s.v1 = _rotl(s.v1, 13)
    s.v1 ^= s.v0
    s.v0 = _rotl(s.v0, 32)
    s.v2 += s.v3
    s.v3 = _rotl(s.v3, 16)
    s.v3 ^= s.v2
    s.v0 += s.v3
    s.v3 = _rotl(s.v3, 21)
    s.v3 ^= s.v0
    s.v2 += s.v1
    s.v1 = _rotl(s.v1, 17)
    s.v1 ^= s.v2
    s.v2 = _rotl(s.v2, 32)


cdef inline void sip_word(SipState *s, uint64_t word, int c_rounds) noexcept nogil:
    cdef int _round
    s.v3 ^= word
    for _round in range(c_rounds):
        sip_round(s)
    s.v0 ^= word


cdef inline uint64_t sip_final(SipState *s, int d_rounds) noexcept nogil:
    cdef int _round
    s.v2 ^= 0xff
    for _round in range(d_rounds):
        sip_round(s)
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
