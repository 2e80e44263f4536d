"""The kernel's stack at its quickest: accept4 and close in C, many at a time."""

from cpython.exc cimport PyErr_SetFromErrno

cdef extern from *:
    """
    #include <errno.h>
    #include <poll.h>
    #include <sys/socket.h>
    #include <unistd.h>

    /* Accept and close until nobody waits: how many, or -1 with errno. */
    static int fn_accept_all(int fd, int ms) {
        struct pollfd p = {fd, POLLIN, 0};
        int n = 0, connection;
        if (poll(&p, 1, ms) < 0 && errno != EINTR) return -1;
        while (n < 4096) {
            connection = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (connection < 0) {
                if (errno == EAGAIN) break;
                if (errno == EINTR || errno == ECONNABORTED) continue;
                return -1;
            }
            close(connection);
            n++;
        }
        return n;
    }
    """
    int _accept_all "fn_accept_all"(int fd, int ms) nogil


def accept_all(int fd, int milliseconds) -> int:
    """Wait for connections of a non-blocking listening socket, then accept and close all that wait.

    What close does is the listening socket's choice: its SO_LINGER is inherited.

    :param milliseconds: how long to wait at most
    :returns: connections accepted
    :raises OSError: accept failed
    """
    cdef int n
    with nogil:
        n = _accept_all(fd, milliseconds)
    if n < 0:
        PyErr_SetFromErrno(OSError)
    return n
