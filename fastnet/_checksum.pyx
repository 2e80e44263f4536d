"""The Internet checksum (RFC 1071), its incremental update (RFC 1624), and pseudo-headers for IPv4 and IPv6.

For other leaves: ``checksum_add`` and ``checksum_fold``, which work in native byte order, since the sum of swapped bytes is the swapped
sum (RFC 1071 section 2B). For Python: numbers as the wire has them, big-endian.
"""

import socket

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from *:
    """
    #if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
    #define FN_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
    #else
    #define FN_CLONES
    #endif

    /* The halves of 64-bit words, in two sums that do not overflow below 16 GiB; the compiler makes vectors of it. */
    FN_CLONES static uint64_t fn_sum_words(const uint8_t *p, size_t words) {
        uint64_t low = 0, high = 0;
        size_t i;
        for (i = 0; i < words; i++) {
            uint64_t word;
            memcpy(&word, p + 8 * i, 8);
            low += (uint32_t)word;
            high += word >> 32;
        }
        return fn_add64(low, high);
    }
    """
    uint64_t _sum_words "fn_sum_words"(const uint8_t *p, size_t words) noexcept nogil


cdef uint64_t checksum_long(const uint8_t *p, size_t n, uint64_t acc) noexcept nogil:
    cdef size_t words = n // 8
    return _sum_short(p + 8 * words, n - 8 * words, _add64(acc, _sum_words(p, words)))


cdef inline uint16_t _swap(uint16_t value) noexcept nogil:
    """Between native and network byte order; on a big-endian machine they are the same."""
    cdef uint8_t *p = <uint8_t *>&value
    return <uint16_t>((p[0] << 8) | p[1])


cdef uint64_t _accumulate(const uint8_t[::1] buffer, Py_ssize_t offset, Py_ssize_t length, uint16_t initial) except? 0:
    if length < 0:
        length = buffer.shape[0] - offset
    if offset < 0 or length < 0 or offset > buffer.shape[0] or length > buffer.shape[0] - offset:
        raise ValueError(f"{length} bytes at {offset} of a buffer of {buffer.shape[0]}")
    if length == 0:
        return _swap(initial)
    return checksum_add(&buffer[offset], length, _swap(initial))


def checksum(const uint8_t[::1] buffer, Py_ssize_t offset=0, Py_ssize_t length=-1, uint16_t initial=0) -> int:
    """The checksum to put into a header: the complement of the one's-complement sum (RFC 1071).

    :param buffer: contiguous bytes
    :param offset: where to begin
    :param length: how many bytes; -1 for all from ``offset`` on; an odd last byte is padded with a zero
    :param initial: a sum to go on from, such as ``pseudo_header``'s
    :raises ValueError: not within the buffer
    """
    return _swap(<uint16_t>~checksum_fold(_accumulate(buffer, offset, length, initial)))


def verify(const uint8_t[::1] buffer, Py_ssize_t offset=0, Py_ssize_t length=-1, uint16_t initial=0) -> bool:
    """Is the sum of bytes that hold their own checksum all ones? Parameters and errors as ``checksum``'s."""
    return checksum_fold(_accumulate(buffer, offset, length, initial)) == 0xffff


def pseudo_header(str source, str target, uint8_t protocol, uint32_t length) -> int:
    """The sum of a pseudo-header (RFC 9293 section 3.1 for IPv4, RFC 8200 section 8.1 for IPv6), for ``initial``.

    :param source: textual address; ``target``: one of the same family
    :param length: bytes of the upper-layer packet, header and data
    :raises ValueError: the addresses are of different families
    :raises OSError: one is no address
    """
    cdef bytes packed
    cdef const uint8_t *p
    if (":" in source) != (":" in target):
        raise ValueError(f"{source} and {target} are of different families")
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    packed = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    packed += length.to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    p = packed
    return _swap(checksum_fold(checksum_add(p, len(packed), 0)))


def update16(uint16_t check, uint16_t old, uint16_t new) -> int:
    """The checksum after a 16-bit field changed (RFC 1624 equation 3)."""
    return checksum_update16(check, old, new)


def update32(uint16_t check, uint32_t old, uint32_t new) -> int:
    """The checksum after an aligned 32-bit field changed (RFC 1624 equation 3)."""
    return checksum_update32(check, old, new)


def repeat(const uint8_t[::1] buffer, Py_ssize_t length, Py_ssize_t times) -> int:
    """For benchmarks: sum the first ``length`` bytes ``times`` times without leaving C; each time is changed by the one before."""
    cdef Py_ssize_t _turn
    cdef uint64_t acc = 0
    if length > buffer.shape[0] or length < 1:
        raise ValueError(f"{length} bytes of a buffer of {buffer.shape[0]}")
    with nogil:
        for _turn in range(times):
            acc = checksum_fold(checksum_add(&buffer[0], length, acc))
    return acc
