cimport cython

from fastnet.tcp.context cimport Endpoint
from fastnet.tcp.sources cimport SourceTable


cdef class Tuned(Endpoint):
    cdef public long long backlog
    cdef public long long somaxconn
    cdef public long long cookie_at
    cdef public long long syn_queue_limit
    cdef public int defer_timeouts
    cdef readonly SourceTable sources
    cdef public long long tcp_max_syn_backlog
    cdef public int tcp_syncookies
    cdef public int tcp_synack_retries
    cdef public int tcp_abort_on_overflow
    cdef public int tcp_defer_accept
    cdef public int fastnet_young_request_rule
    cdef public int fastnet_source_prefix
    cdef public long long fastnet_source_requests
    cdef public long long fastnet_source_connections
    cdef public long long fastnet_source_table
    cdef public long long fastnet_policy_waiting

    cpdef begin(self, object settings, long long backlog)
    cpdef set_backlog(self, long long backlog)
    cpdef changed(self, str name)
    cpdef limits_changed(self, str name)


@cython.locals(count=cython.int, timeout=cython.longlong, period=cython.longlong)
cpdef int timeouts_within(long long seconds) except? -1
