cimport cython

from fastnet._demux cimport Demux
from fastnet._flow cimport FourTuple
from fastnet._headers cimport Segment
from fastnet._ports cimport LocalPorts
from fastnet._timer cimport TimerWheel
from fastnet._writer cimport SegmentWriter
from fastnet.counters cimport Counters
from fastnet.tcp.congestion.base cimport Acknowledgment
from fastnet.tcp.failures cimport Failures
from fastnet.tcp.isn cimport IsnGenerator
from fastnet.tcp.memory cimport Memory

cdef int ACK, CWR, ECE, RST, SYN, CODEPOINT, ECT_0
cdef long long HALF, MASK


cdef class Timed:
    cdef public int timer

    cpdef timer_fires(self, long long now)


# What owns one may be another, and so on: they are taken apart without recursion.
@cython.trashcan(True)
cdef class Endpoint(Timed):
    cdef public int id
    cdef public unsigned char notified
    cdef public unsigned char queued
    cdef public object owner

    cpdef segment_arrives(self, Segment seg, long long now)
    cpdef send_pending(self, long long now)


@cython.final
cdef class Context:
    cdef readonly object settings
    cdef readonly Counters counters
    cdef readonly Failures failures
    cdef readonly TimerWheel timers
    cdef readonly SegmentWriter writer
    cdef readonly IsnGenerator isn
    cdef readonly object cookies
    cdef public object challenges
    cdef public object fast_open
    cdef readonly Memory memory
    cdef readonly Demux demux
    cdef readonly LocalPorts ports
    cdef readonly list endpoints
    cdef readonly list outbox
    cdef readonly list ready
    cdef readonly Acknowledgment ack
    cdef readonly object paths
    cdef public long long path_changes
    cdef public long long last_seq
    cdef public long long time_wait_count
    cdef public long long orphans
    cdef public bint attached
    cdef public bint forked

    @cython.locals(number=cython.Py_ssize_t)
    cpdef attach(self, FourTuple flow, Endpoint endpoint)
    cdef place(self, Py_ssize_t number, Endpoint endpoint)
    cpdef detach(self, FourTuple flow, Endpoint endpoint)
    cpdef arm(self, Timed endpoint, long long deadline)
    cpdef disarm(self, Timed endpoint)
    cpdef int ecn_of(self, Segment seg, bint needed) except -1
    cpdef notify(self, Endpoint endpoint)
    cpdef check(self)
    cpdef count_outside(self, Segment seg, unsigned int rcv_nxt)
    cpdef send_reset(self, Segment seg)
    cpdef send_ack(
        self, Segment seg, unsigned int snd_nxt, unsigned int rcv_nxt, unsigned int window, long long ts_val,
        unsigned int ts_recent
    )
