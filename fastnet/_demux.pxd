from libc.stdint cimport int32_t, uint16_t, uint32_t, uint64_t

from fastnet._flow cimport FourTuple


cdef struct Entry:
    uint64_t local_hi
    uint64_t local_lo
    uint64_t remote_hi
    uint64_t remote_lo
    uint64_t hash
    uint16_t local_port
    uint16_t remote_port
    int32_t next


cdef struct Slot:
    # The lower half of the hash (its lowest bits are the slot's home), and the entry's number plus one: zero is an empty slot.
    uint32_t tag
    uint32_t entry


cdef class Demux:
    cdef Slot *slots
    cdef uint64_t mask
    cdef Slot *old
    cdef uint64_t old_mask
    cdef uint64_t migrated
    cdef Entry **chunks
    cdef Py_ssize_t chunk_count
    cdef int32_t free
    cdef int32_t limbo
    cdef int32_t limbo_tail
    cdef Py_ssize_t used
    cdef Py_ssize_t count
    cdef int32_t *ports

    cdef Entry *_entry(self, uint32_t number) noexcept nogil
    cdef bint _matches(self, uint32_t number, FourTuple flow) noexcept nogil
    cdef Py_ssize_t _probe(self, Slot *slots, uint64_t mask, FourTuple flow) noexcept nogil
    cdef void _put(self, uint32_t tag, uint32_t entry) noexcept nogil
    cdef void _delete(self, uint64_t at) noexcept nogil
    cdef void _migrate(self, int steps) noexcept nogil
    cdef int _grow(self) except -1
    cdef int32_t _take_entry(self) except -1
    cdef Py_ssize_t _find(self, FourTuple flow) noexcept nogil
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
