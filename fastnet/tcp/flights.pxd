cimport cython

from fastnet.tcp.rack cimport Rack

cdef long long MASK, HALF
cdef Py_ssize_t SLACK


@cython.final
cdef class Flight:
    cdef public unsigned int seq
    cdef public unsigned int end
    cdef public long long sent_at
    cdef public unsigned int before
    cdef public unsigned char sacked
    cdef public unsigned char lost
    cdef public unsigned char retransmitted
    cdef public unsigned char over

    cpdef bint is_on_its_way(self) except -1


@cython.final
cdef class LostFlights:
    cdef readonly list heap

    @cython.locals(heap=list, i=cython.Py_ssize_t, above=Flight)
    cpdef push(self, Flight flight)
    @cython.locals(heap=list, flight=Flight)
    cpdef Flight first(self)
    @cython.locals(
        heap=list, last=Flight, size=cython.Py_ssize_t, i=cython.Py_ssize_t, child=cython.Py_ssize_t, below=Flight, other=Flight
    )
    cpdef pop(self)


@cython.final
cdef class SendOrder:
    cdef readonly list queue
    cdef public Py_ssize_t oldest
    cdef public Py_ssize_t passed
    cdef public Py_ssize_t limit

    cpdef append(self, Flight flight)
    @cython.locals(queue=list, low=cython.Py_ssize_t, high=cython.Py_ssize_t, middle=cython.Py_ssize_t, other=Flight)
    cpdef insert(self, Flight flight)
    @cython.locals(kept=list, i=cython.Py_ssize_t, flight=Flight)
    cpdef clean(self)
    @cython.locals(queue=list, i=cython.Py_ssize_t, flight=Flight)
    cpdef Flight first(self)
    @cython.locals(queue=list, i=cython.Py_ssize_t, last=cython.Py_ssize_t, flight=Flight)
    cpdef Flight last_before(self, Rack rack)
