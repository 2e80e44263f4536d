"""One endpoint's failure is that endpoint's: what becomes of one whose code raises, and of all when the device fails.

Code of others runs for an endpoint: a congestion control, a policy, a connection kind, a door. When it raises, or memory is full, nobody
knows how far it came. So a connection ends, with a RST to the peer and ECONNABORTED for its owner; of a listener, only what had just
come is dropped. Nothing here calls a method that a program can have overridden.
"""

import errno
from typing import Any

from fastnet._flow import FourTuple
from fastnet._headers import ACK, RST
from fastnet.tcp.calls import UserCalls
from fastnet.tcp.context import Context, Endpoint, Timed
from fastnet.tcp.fastaccept import EarlyConnection
from fastnet.tcp.gate import Gate
from fastnet.tcp.listener import Listener
from fastnet.tcp.policy import Deferred
from fastnet.tcp.request import Request
from fastnet.tcp.states import State
from fastnet.tcp.timewait import TimeWait

ESTABLISHED = int(State.ESTABLISHED)
CLOSE_WAIT = int(State.CLOSE_WAIT)
SYN_SENT = int(State.SYN_SENT)
SYN_RECEIVED = int(State.SYN_RECEIVED)
TIME_WAIT = int(State.TIME_WAIT)
CLOSED = int(State.CLOSED)


def contain(context: Context, timed: Timed | None, flow: FourTuple | None, error: BaseException, now: int) -> None:
    """Something raised on behalf of an endpoint: end what it ran for, and note it for the log. It never raises.

    :param timed: whose code was called, None if that is not known
    :param flow: of the segment that was being delivered, None where it was none
    :param error: what was raised
    """
    try:
        # What the endpoint may have left half done: a SYN handed on by a TIME-WAIT.
        context.last_seq = -1
        culprit = timed
        if flow is not None:
            # A listener or a TIME-WAIT may have handed the segment on.
            number = context.demux.find(flow)
            if number < 0 and not isinstance(timed, UserCalls):
                number = context.demux.find_listener(flow)
            if number >= 0:
                culprit = context.endpoints[number]
        context.failures.note(f"{describe(culprit, flow)}", error, now)
        end(context, culprit, flow, errno.ECONNABORTED, True)
    except BaseException as second:
        # Ending it in good order failed too.
        give_up(context, timed, second, now)


def describe(timed: Timed | None, flow: FourTuple | None) -> str:
    """Whose failure it was, and what became of it, for the log."""
    if isinstance(timed, UserCalls):
        connection = timed
        return f"{names(connection.handshake.flow)}: the connection is reset, as its code failed"
    if isinstance(timed, Listener):
        listener = timed
        what = f"a segment from {flow.remote_address} port {flow.remote_port} is dropped" if flow is not None else "its owner was not told"
        return f"{listener.address} port {listener.port}: {what}, as the listener's code failed"
    if isinstance(timed, Request):
        request = timed
        return f"{names(request.flow)}: the handshake is dropped, as its code failed"
    if isinstance(timed, (TimeWait, Deferred)) or flow is None:
        return f"{type(timed).__name__} is dropped, as its code failed"
    return f"{names(flow)}: a packet is dropped, as what it was for failed"


def names(flow: FourTuple) -> str:
    """A 4-tuple for people."""
    return f"{flow.local_address} port {flow.local_port}, peer {flow.remote_address} port {flow.remote_port}"


def end(context: Context, timed: Timed | None, flow: FourTuple | None, error: int, reset: bool) -> None:
    """End an endpoint, or a handshake, that nothing more can be expected of.

    :param flow: of what was just being delivered: all that a listener loses
    :param error: errno for the owner
    :param reset: tell the peer
    """
    if isinstance(timed, UserCalls):
        end_connection(context, timed, error, reset)
    elif isinstance(timed, TimeWait):
        time_wait = timed
        if time_wait.id >= 0:
            context.time_wait_count -= 1
            context.detach(time_wait.handshake.flow, time_wait)
    elif isinstance(timed, Listener):
        listener = timed
        if flow is not None:
            abandon(listener, flow)
    elif isinstance(timed, Request):
        request = timed
        abandon(request.listener, request.flow)
    elif isinstance(timed, Deferred):
        drop(timed)
    elif timed is not None and timed.timer >= 0:
        context.disarm(timed)


def drop(deferred: Deferred) -> None:
    """A SYN that waited for a policy is answered no more."""
    gate: Gate = deferred.gate
    request = deferred.request
    if request is not None:
        gate.release(deferred)
        abandon(gate.listener, request.flow)
    gate.listener.refused.policy_failed += 1


def end_connection(context: Context, connection: UserCalls, error: int, reset: bool) -> None:
    """CLOSED at once, whatever state it is in, without its sender and its receiver; the owner hears of it."""
    state = connection.state
    connection.state = CLOSED
    connection.sender = None
    if reset:
        # After a failure nobody knows whether they are right; after the device's they can still be read.
        connection.receiver = None
    if state != CLOSED and state != TIME_WAIT:
        connection.error = error
        if state in (ESTABLISHED, CLOSE_WAIT):
            context.counters.TcpCurrEstab -= 1
            context.counters.TcpEstabResets += 1
        elif state in (SYN_SENT, SYN_RECEIVED):
            context.counters.TcpAttemptFails += 1
    if connection.id >= 0:
        # Not true of what was over already: all of this is done once.
        flow = connection.handshake.flow
        context.detach(flow, connection)
        if connection.orphan:
            context.orphans -= 1
        if isinstance(connection, EarlyConnection):
            connection.leave(False, 0)
        source = connection.handshake.source
        if source is not None:
            connection.handshake.source = None
            source.connection_over()
        if reset and state != SYN_SENT and state != CLOSED and state != TIME_WAIT:
            context.writer.control(flow, connection.snd_nxt, connection.rcv_nxt, RST | ACK, 0)
            context.counters.TcpOutRsts += 1
    elif connection.timer >= 0:
        context.disarm(connection)
    context.notify(connection)


def abandon(listener: Listener, flow: FourTuple) -> None:
    """Forget the handshake of a 4-tuple, if there is one."""
    request = listener.syn_queue.get(flow)
    if request is not None:
        listener.forget(request)
    request = listener.completing
    if request is not None:
        # The handshake was over, and the connection's place with its source taken; a connection that had it has given it back.
        listener.completing = None
        if request.source is not None:
            request.source.connection_over()
            request.source = None
    listener.context.counters.ListenDrops += 1


def give_up(context: Context, timed: Timed | None, error: BaseException, now: int) -> None:
    """An endpoint could not even be ended: have nothing lead to it any more. What it holds goes with it."""
    try:
        context.failures.note(f"{type(timed).__name__}: ending it failed too", error, now)
        if isinstance(timed, Endpoint) and not isinstance(timed, Listener):
            endpoint = timed
            endpoint.owner = None
            number = endpoint.id
            endpoint.id = -1
            if number >= 0 and context.endpoints[number] is endpoint:
                context.endpoints[number] = None
                forget_flow(context, endpoint)
            if endpoint.timer >= 0:
                context.disarm(endpoint)
    except BaseException as third:
        if isinstance(third, (KeyboardInterrupt, SystemExit)):
            context.failures.due = True
            context.failures.interruption = third


def forget_flow(context: Context, endpoint: Any) -> None:
    """Nobody has the 4-tuple of a connection or a TIME-WAIT any more."""
    handshake = getattr(endpoint, "handshake", None)
    if handshake is not None:
        context.demux.remove(handshake.flow)
        context.ports.detach(handshake.flow)


def contain_door(context: Context, endpoint: Endpoint, error: BaseException, now: int) -> None:
    """What an endpoint's owner does with its news raised: the endpoint ends. It is told of that once, and then no more."""
    if endpoint.id < 0:
        endpoint.owner = None
    contain(context, endpoint, None, error, now)


def end_all(context: Context, error: int, now: int) -> None:
    """No packet will ever come or go again: every connection ends with an error, every handshake is dropped, listeners' owners are told."""
    for endpoint in list(context.endpoints):
        if endpoint is None:
            continue
        try:
            if isinstance(endpoint, Listener):
                listener = endpoint
                if listener.gate is not None:
                    listener.gate.close()
                for request in list(listener.syn_queue.values()):
                    listener.forget(request)
                listener.accept_queue.clear()
                context.notify(listener)
            else:
                end(context, endpoint, None, error, False)
        except BaseException as failure:
            give_up(context, endpoint, failure, now)
    context.outbox = []
    context.demux.settle()
