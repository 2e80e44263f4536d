from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from fastnet._flow cimport FourTuple


cdef struct Key:
    uint64_t local_hi
    uint64_t local_lo
    uint64_t remote_hi
    uint64_t remote_lo


cdef struct Slot:
    # IPv4: both addresses, and both ports: the whole 4-tuple. IPv6: the hash, and both ports; the addresses are in a Key.
    uint64_t name
    uint32_t ports
    # The number plus one, with IS_V6 for IPv6; zero is an empty slot.
    uint32_t entry


cdef struct Port:
    # The number of whoever listens on any IPv4 address, plus one.
    int32_t anywhere
    # How many listen on one address, or on any IPv6 address.
    uint32_t places


cdef class Demux:
    cdef Slot *slots
    cdef uint64_t mask
    cdef Slot *old
    cdef uint64_t old_mask
    cdef uint64_t migrated
    cdef Key **chunks
    cdef int32_t *links
    cdef Py_ssize_t allocated
    cdef int32_t free
    cdef int32_t limbo
    cdef int32_t limbo_tail
    cdef Py_ssize_t used
    cdef Py_ssize_t count
    cdef Port *ports
    # Numbers of those listeners, plus one; the Key has the port where a flow's has the remote address.
    cdef int32_t *places
    cdef uint64_t places_mask
    cdef Py_ssize_t places_count

    cdef Key *_key(self, uint32_t number) noexcept nogil
    cdef Key *_make_key(self, uint32_t number) except NULL
    cdef uint64_t _hash_of(self, Slot *slot) noexcept nogil
    cdef Py_ssize_t _probe(self, Slot *slots, uint64_t mask, FourTuple flow) noexcept nogil
    cdef void _put(self, uint64_t hash, Slot slot) noexcept nogil
    cdef void _delete(self, uint64_t at) noexcept nogil
    cdef void _migrate(self, int steps) noexcept nogil
    cdef int _grow(self) except -1
    cdef int32_t _take_number(self) except -1
    cdef Py_ssize_t _find(self, FourTuple flow) noexcept nogil
    cdef Py_ssize_t _probe_place(self, uint64_t hi, uint64_t lo, uint16_t port) noexcept nogil
    cdef void _put_place(self, int32_t entry) noexcept nogil
    cdef void _delete_place(self, uint64_t at) noexcept nogil
    cdef int _room_for_a_place(self) except -1
    cdef Py_ssize_t _find_listener(self, FourTuple flow) noexcept nogil
    cdef void _let_go(self, int32_t number) noexcept nogil
    cdef void prefetch(self, const uint64_t *hashes, Py_ssize_t n) noexcept nogil
    cpdef void settle(self) noexcept
    cpdef Py_ssize_t find(self, FourTuple flow) noexcept
    cpdef Py_ssize_t insert(self, FourTuple flow) except -1
    cpdef Py_ssize_t remove(self, FourTuple flow) noexcept
    cpdef Py_ssize_t listen(self, str address, uint16_t port) except -1
    cpdef Py_ssize_t unlisten(self, str address, uint16_t port) except -1
    cpdef Py_ssize_t find_listener(self, FourTuple flow) noexcept
