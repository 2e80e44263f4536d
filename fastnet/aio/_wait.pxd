cpdef int wait_for(int first, int second, long long timeout) except -1
