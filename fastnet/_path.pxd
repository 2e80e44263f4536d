from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    # Bytes without options (RFC 791 section 3.1, RFC 8200 section 3, RFC 9293 section 3.1).
    IPV4_HEADER = 20
    IPV6_HEADER = 40
    TCP_HEADER = 20
    # The ECN field of ToS and traffic class (RFC 3168 section 5).
    ECN_FIELD = 3
    ECN_CAPABLE = 2


cdef class Path:
    cdef readonly uint8_t version
    cdef readonly uint8_t header
    cdef readonly uint8_t ttl
    cdef readonly uint8_t tos
    cdef readonly bint fragment
    cdef readonly uint32_t mtu
    cdef readonly uint32_t mss
    cdef readonly uint32_t default_mss
    cdef readonly uint32_t largest
    # The words of the header that are the same in every packet, as numbers, and their sum.
    cdef uint32_t first
    cdef uint32_t third
    cdef uint64_t constant
    # The same path for packets with other ECN fields, made when they are needed.
    cdef Path unmarked
    cdef Path capable

    cpdef Path without_ecn(self)
    cpdef Path with_ecn(self)
    cpdef Py_ssize_t burst(self, Py_ssize_t mss) noexcept
