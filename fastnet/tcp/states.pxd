cdef bytes _TABLE
cdef int _EVENTS

cpdef int next_state(int state, int event) except -1
