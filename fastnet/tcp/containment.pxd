cimport cython

from fastnet._flow cimport FourTuple
from fastnet.tcp.calls cimport UserCalls
from fastnet.tcp.context cimport Context, Endpoint, Timed
from fastnet.tcp.fastaccept cimport EarlyConnection
from fastnet.tcp.listener cimport Listener
from fastnet.tcp.request cimport Request
from fastnet.tcp.sources cimport Source
from fastnet.tcp.timewait cimport TimeWait

cdef int ACK, RST, ESTABLISHED, CLOSE_WAIT, SYN_SENT, SYN_RECEIVED, TIME_WAIT, CLOSED


@cython.locals(culprit=Timed, number=cython.Py_ssize_t)
cpdef contain(Context context, Timed timed, FourTuple flow, error, long long now)


@cython.locals(connection=UserCalls, listener=Listener, request=Request)
cpdef str describe(Timed timed, FourTuple flow)


@cython.locals(time_wait=TimeWait, listener=Listener, request=Request)
cpdef end(Context context, Timed timed, FourTuple flow, int error, bint reset)


@cython.locals(state=cython.int, flow=FourTuple, source=Source)
cpdef end_connection(Context context, UserCalls connection, int error, bint reset)


@cython.locals(request=Request)
cdef abandon(Listener listener, FourTuple flow)


@cython.locals(endpoint=Endpoint, number=cython.Py_ssize_t)
cpdef give_up(Context context, Timed timed, error, long long now)


cpdef contain_door(Context context, Endpoint endpoint, error, long long now)


@cython.locals(endpoint=Endpoint, listener=Listener, request=Request)
cpdef end_all(Context context, int error, long long now)
