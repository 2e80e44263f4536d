from libc.stdint cimport int32_t, uint8_t


cdef class Pool:
    cdef readonly Py_ssize_t allocated
    cdef public bint thrifty


cdef class ByteRing:
    cdef uint8_t *data
    cdef Pool pool
    cdef readonly int32_t allocated
    cdef int32_t start
    cdef readonly Py_ssize_t length
    cdef int32_t reach

    cpdef Py_ssize_t block_for(self, Py_ssize_t wanted) except -1
    cdef int _grow(self, Py_ssize_t wanted) except -1
    cdef void store(self, Py_ssize_t offset, const uint8_t *source, Py_ssize_t n) noexcept nogil
    cdef void load(self, Py_ssize_t offset, uint8_t *target, Py_ssize_t n) noexcept nogil
    cdef int write(self, const uint8_t *source, Py_ssize_t n) except -1
    cdef int place(self, Py_ssize_t offset, const uint8_t *source, Py_ssize_t n) except -1
    cpdef int commit(self, Py_ssize_t n) except -1
    cpdef int trim(self) except -1
    cpdef int append(self, const uint8_t[::1] source) except -1
    cpdef bytes peek(self, Py_ssize_t offset, Py_ssize_t n)
    cpdef bytes take(self, Py_ssize_t n)
    cpdef Py_ssize_t take_into(self, uint8_t[::1] target) except -1
    cpdef int discard(self, Py_ssize_t n) except -1
    cpdef int release(self) except -1
