from libc.stdint cimport int32_t, int64_t, uint64_t

cdef enum:
    LEVELS = 11
    SLOTS = 64
    SLOT_BITS = 6


cdef struct Timer:
    int64_t tick
    int32_t next
    int32_t previous
    int32_t slot


cdef class TimerWheel:
    cdef Timer *timers
    cdef Py_ssize_t allocated
    cdef list owners
    cdef int32_t free
    cdef int32_t heads[LEVELS * SLOTS + 1]
    cdef int32_t tails[LEVELS * SLOTS + 1]
    cdef uint64_t occupied[LEVELS]
    cdef int64_t tick
    cdef readonly int64_t resolution
    cdef Py_ssize_t count

    cdef int _grow(self) except -1
    cdef void _link(self, int32_t handle) noexcept nogil
    cdef void _unlink(self, int32_t handle) noexcept nogil
    cdef void _advance(self, int64_t tick) noexcept nogil
    cdef int64_t _next_tick(self) noexcept nogil
    cdef int64_t _tick_of(self, int64_t deadline) noexcept nogil
    cpdef int add(self, object owner, int64_t deadline) except -1
    cpdef int move(self, int handle, int64_t deadline) except -1
    cpdef int remove(self, int handle) except -1
    cpdef object expire(self, int64_t now)
    cpdef int64_t next_deadline(self) noexcept
