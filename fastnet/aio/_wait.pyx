"""Sleep until one of two descriptors has something to read: the stack's device, and the epoll that has all others."""

import os

from libc.errno cimport errno


cdef extern from *:
    """
    #include <errno.h>
    #include <poll.h>
    #include <time.h>

    /* Bit 0 for the first, bit 1 for the second, 0 when time is up or a signal came, -1 with errno. */
    static int fn_wait_for(int first, int second, long long ns) {
        struct pollfd fds[2] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
        struct timespec timeout = {ns / 1000000000, ns % 1000000000};
        int n = ppoll(fds, 2, ns < 0 ? NULL : &timeout, NULL);
        if (n < 0) return errno == EINTR ? 0 : -1;
        return (fds[0].revents ? 1 : 0) | (fds[1].revents ? 2 : 0);
    }
    """
    int _wait_for "fn_wait_for"(int first, int second, long long ns) nogil


cpdef int wait_for(int first, int second, long long timeout) except -1:
    """Sleep until one can be read, at most ``timeout`` ns (below 0: for ever); a descriptor below 0 is left out.

    :returns: bit 0 for the first, bit 1 for the second; 0 when time is up, or a signal came
    :raises OSError: as ppoll(2)
    :raises ValueError: neither a descriptor nor an end
    """
    cdef int ready
    if first < 0 and second < 0 and timeout < 0:
        raise ValueError("there is nothing to wait for")
    with nogil:
        ready = _wait_for(first, second, timeout)
    if ready < 0:
        raise OSError(errno, os.strerror(errno))
    return ready
