cimport cython


@cython.final
cdef class Refusals:
    cdef public long long accept_queue_full
    cdef public long long accept_queue_full_ack
    cdef public long long cookie_failed
    cdef public long long last_quarter
    cdef public long long policy_drop
    cdef public long long policy_expired
    cdef public long long policy_failed
    cdef public long long policy_full
    cdef public long long policy_reset
    cdef public long long reset
    cdef public long long source_connections
    cdef public long long source_requests
    cdef public long long syn_queue_full
    cdef public long long unanswered
