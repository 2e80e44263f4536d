from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static inline uint64_t fn_add64(uint64_t acc, uint64_t word) { acc += word; return acc + (acc < word); }

    /* For what fits a header: halves of 64-bit words in two sums that cannot overflow; longer input goes to the vector kernel. */
    static inline uint64_t fn_sum_short(const uint8_t *p, size_t n, uint64_t acc) {
        uint64_t word, low = 0, high = 0;
        uint32_t half;
        uint16_t pair;
        while (n >= 8) { memcpy(&word, p, 8); low += (uint32_t)word; high += word >> 32; p += 8; n -= 8; }
        if (n & 4) { memcpy(&half, p, 4); low += half; p += 4; }
        if (n & 2) { memcpy(&pair, p, 2); high += pair; p += 2; }
        if (n & 1) { uint8_t last[2] = {*p, 0}; memcpy(&pair, last, 2); low += pair; }
        return fn_add64(acc, low + high);
    }

    static inline uint16_t fn_fold(uint64_t acc) {
        acc = (acc >> 32) + (acc & 0xffffffffu);
        acc = (acc >> 32) + (acc & 0xffffffffu);
        acc = (acc >> 16) + (acc & 0xffffu);
        acc = (acc >> 16) + (acc & 0xffffu);
        return (uint16_t)((acc >> 16) + (acc & 0xffffu));
    }
    """
    uint64_t _sum_short "fn_sum_short"(const uint8_t *p, size_t n, uint64_t acc) noexcept nogil
    uint64_t _add64 "fn_add64"(uint64_t acc, uint64_t word) noexcept nogil
    # The one's-complement sum of an accumulator in 16 bits: native byte order, not complemented.
    uint16_t checksum_fold "fn_fold"(uint64_t acc) noexcept nogil


cdef enum:
    SHORT = 96

cdef uint64_t checksum_long(const uint8_t *p, size_t n, uint64_t acc) noexcept nogil


cdef inline uint64_t checksum_add(const uint8_t *p, size_t n, uint64_t acc) noexcept nogil:
    """Add bytes to an accumulator in native byte order (RFC 1071 section 2B); an odd n only for the last piece."""
    if n <= SHORT:
        return _sum_short(p, n, acc)
    return checksum_long(p, n, acc)


cdef inline uint16_t checksum_update16(uint16_t check, uint16_t old, uint16_t new) noexcept nogil:
    """RFC 1624 equation 3, HC' = ~(~HC + ~m + m'): any byte order, as long as all three have the same."""
    return <uint16_t>~checksum_fold(<uint64_t>(<uint16_t>~check) + <uint16_t>~old + new)


cdef inline uint16_t checksum_update32(uint16_t check, uint32_t old, uint32_t new) noexcept nogil:
    """RFC 1624 equation 3 for a field of 32 bits."""
    return <uint16_t>~checksum_fold(<uint64_t>(<uint16_t>~check) + <uint32_t>~old + new)
