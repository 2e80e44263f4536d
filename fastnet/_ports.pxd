from libc.stdint cimport uint16_t, uint32_t, uint64_t

from fastnet._demux cimport Demux
from fastnet._flow cimport FourTuple
from fastnet._pairs cimport PairCounts


cdef class PortMap:
    cdef int low
    cdef int high
    cdef Py_ssize_t base
    cdef uint64_t *bits
    cdef uint16_t *following
    cdef uint16_t *preceding
    cdef int first
    cdef int last
    cdef Py_ssize_t used
    # How many were taken when it was made.
    cdef Py_ssize_t made

    cdef void _take(self, int port) noexcept nogil
    cdef void _free(self, int port) noexcept nogil
    cdef int _wait(self, int port) except -1
    cdef void _unlink(self, int port) noexcept nogil


cdef class LocalPorts:
    cdef Demux demux
    cdef readonly bint apart
    # For each port: connections; those of IPv6 among them; holders of any kind; those that took the port for themselves; of those, on any
    # address.
    cdef uint32_t *connections
    cdef uint32_t *connections_v6
    cdef uint32_t *held
    cdef uint32_t *owned
    cdef uint32_t *wild
    cdef uint64_t busy[1024]
    cdef uint64_t closed[1024]
    cdef uint64_t blocked[1024]
    cdef uint64_t reserved[1024]
    cdef PairCounts connected
    cdef PairCounts holders
    cdef dict maps
    cdef int low
    cdef int high
    cdef FourTuple scratch

    cdef bint _within(self, int port) noexcept nogil
    cdef PortMap _map_of(self, FourTuple flow, bint local)
    cdef void _look_at(self, int low, int high) noexcept
    cdef void _mark(self, FourTuple flow, bint local, bint take) noexcept
    cdef void _show(self, int port) noexcept nogil
    cdef bint _is_free(self, FourTuple flow, int port) noexcept nogil
    cpdef void attach(self, FourTuple flow) noexcept
    cpdef void detach(self, FourTuple flow) noexcept
    cpdef void wait(self, FourTuple flow) noexcept
    cpdef int hold(self, str address, uint16_t port, bint owned) except -1
    cpdef int release(self, str address, uint16_t port, bint owned) except -1
    cpdef bint has_connection(self, str address, uint16_t port) except -1
    cpdef int choose(self, FourTuple flow, uint32_t start, int low, int high) except -3
    cpdef list make_map(self, FourTuple flow, int low, int high, bint tell)
    cpdef int oldest_waiting(self, FourTuple flow) except -2
    cpdef int choose_to_bind(self, str address, uint32_t start, int low, int high) except -2
