"""What holds of a stack between any two steps, and at last when everything is over."""

from __future__ import annotations

import gc

from fastnet._flow import FourTuple
from fastnet.stack import NEVER, Stack
from fastnet.tcp.connection import Connection
from fastnet.tcp.listener import Listener
from fastnet.tcp.states import State
from fastnet.tcp.timewait import TimeWait
from fastnet.tcpinfo import LAYOUT, NAMES, tcp_info
from tests.pair import check

UNSYNCHRONIZED = (State.SYN_SENT, State.SYN_RECEIVED)


def check_stack(stack: Stack, receive_limits: dict[int, int], highest: dict[int, int], most: int) -> None:
    """The tables of a stack agree with each other, and every bound is kept.

    :param receive_limits: id() of a connection -> the largest receive buffer it ever had; ``highest``: of a listener -> backlog
    :param most: packets that a connection may have on its way
    """
    context = stack.context
    flows = established = waiting = orphans = allocated = 0
    guaranteed = 2 * max(4096, stack.settings.tcp_rmem[0], stack.settings.tcp_wmem[0], context.writer.ipv4.mss)
    handles: list[int] = []
    for number, endpoint in enumerate(context.endpoints):
        if endpoint is None:
            continue
        if isinstance(endpoint, Listener) and len(endpoint.places) == 2 and endpoint.id != number:
            # Its other place: it hears both families.
            continue
        assert endpoint.id == number, "an endpoint knows its place"
        if endpoint.timer >= 0:
            handles.append(endpoint.timer)
        if isinstance(endpoint, Listener):
            assert not endpoint.closed
            check_listener(endpoint, highest.get(id(endpoint), endpoint.backlog), handles)
            continue
        flows += 1
        assert context.demux.find(endpoint.handshake.flow) == number, "the demux has it under its 4-tuple"
        assert endpoint.timer >= 0 or not isinstance(endpoint, TimeWait), "TIME-WAIT ends"
        if isinstance(endpoint, TimeWait):
            waiting += 1
            continue
        established += endpoint.state in (State.ESTABLISHED, State.CLOSE_WAIT)
        assert endpoint.state not in (State.CLOSED, State.LISTEN, State.TIME_WAIT), "what is over is nowhere"
        orphans += endpoint.orphan
        held = receive_limits.get(id(endpoint), 0)
        if endpoint.handshake.choice is not None:
            # A policy may offer more than tcp_rmem.
            held = max(held, endpoint.handshake.rcv_wnd)
        sender, receiver = endpoint.sender, endpoint.receiver
        if receiver is not None:
            allocated += receiver.buffer.allocated
            if stack.counters.PruneCalled:
                # What was offered before memory became short stays offered.
                held = max(held, receiver.largest)
        if sender is not None:
            allocated += sender.buffer.allocated
            board = sender.recovery.board
            # SACK blocks may cut a retransmission in two, and take no more than half of it.
            assert len(board.flights) - board.head <= 2 * most + 2, "packets on their way"
        check(endpoint, held)
        check_end(endpoint)
    assert len(context.demux) == flows, "every 4-tuple of the demux has an endpoint"
    assert context.orphans == orphans <= stack.settings.tcp_max_orphans, "orphans, recounted"
    memory = context.memory
    assert allocated <= memory.pool.allocated <= memory.high + 2 * guaranteed * (flows + len(receive_limits) + 64), "memory"
    assert context.time_wait_count == waiting <= stack.settings.tcp_max_tw_buckets, "TIME-WAIT, recounted"
    assert stack.counters.TcpCurrEstab == established, "TcpCurrEstab, recounted"
    assert len(set(handles)) == len(handles) == len(context.timers), "every timer has one owner that is there"
    assert all(endpoint.notified for endpoint in context.ready) and len({*map(id, context.ready)}) == len(context.ready)
    assert len({*map(id, context.outbox)}) == len(context.outbox), "nobody waits twice to send"


def check_listener(listener: Listener, highest: int, handles: list[int]) -> None:
    assert len(listener.accept_queue) <= highest + 1, "accept queue"
    assert len(listener.syn_queue) <= highest + 1, "syn queue"
    assert listener.young == sum(request.timeouts == 0 for request in listener.syn_queue.values()), "young, recounted"
    if listener.gate is not None:
        handles += [deferred.timer for deferred in listener.gate.waiting.values() if deferred.timer >= 0]
    for flow, request in listener.syn_queue.items():
        assert request.flow == flow and request.timer >= 0, "a request ends"
        handles.append(request.timer)


def check_end(connection: Connection) -> None:
    """What must come to an end has a timer for it."""
    if connection.state in UNSYNCHRONIZED or connection.state == State.FIN_WAIT_2 and connection.orphan:
        assert connection.state_deadline and connection.timer >= 0, "a state that ends has a deadline"
    if connection.state in (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK):
        assert connection.sender is not None
        assert connection.queued or connection.timer >= 0 and connection.sender.deadline, "a FIN is sent until it arrives"
    patience = connection.patience
    if patience is not None and patience.keepalive and connection.state not in UNSYNCHRONIZED:
        assert connection.queued or connection.timer >= 0, "keep-alive has a timer"


def check_memory(stack: Stack) -> None:
    """Nobody holds a connection any more."""
    context = stack.context
    context.ready.clear()
    pool = context.memory.pool
    if pool.allocated:
        gc.collect()
    assert pool.allocated == 0, "memory that is never given back"


def check_info(connection: Connection, now: int) -> None:
    """TCP_INFO agrees with itself and with the connection."""
    info = dict(zip(NAMES, LAYOUT.unpack(tcp_info(connection, None, now)), strict=True))
    assert info["state"] == connection.state
    assert info["snd_mss"] > 0 and info["snd_cwnd"] > 0 and info["rto"] > 0 and info["advmss"] > 0, "what is never 0"
    in_flight = connection.snd_nxt - connection.snd_una & 0xFFFFFFFF
    assert info["unacked"] * info["snd_mss"] >= in_flight, "what is not acknowledged"
    assert info["sacked"] <= info["unacked"] and info["lost"] <= info["unacked"], "no more than is on its way"
    assert info["bytes_retrans"] <= info["bytes_sent"] and info["data_segs_out"] <= info["segs_out"], "a part is no more than the whole"
    assert info["data_segs_in"] <= info["segs_in"] + 1 and info["rcv_ooopack"] <= info["data_segs_in"]
    assert info["rwnd_limited"] + info["sndbuf_limited"] <= info["busy_time"] and info["total_rto_recoveries"] <= info["total_rto"]
    sender = connection.sender
    if sender is not None and connection.state not in UNSYNCHRONIZED:
        assert info["notsent_bytes"] == max(0, sender.buffer.length - in_flight)
        assert info["total_retrans"] == connection.handshake.retries + sender.resent
        assert info["rto"] <= 120_000_000, "no RTO is longer than two minutes"


def check_empty(stack: Stack) -> None:
    """Everything has been closed, and hours have passed."""
    context = stack.context
    left = [endpoint for endpoint in context.endpoints if endpoint is not None]
    assert not left, f"still there: {[type(e).__name__ + ' ' + str(getattr(e, 'state', '')) for e in left]}"
    assert len(context.demux) == len(context.timers) == context.time_wait_count == stack.counters.TcpCurrEstab == context.orphans == 0
    assert not context.outbox and context.timers.next_deadline() == NEVER
    context.demux.settle()
    numbers = {context.demux.insert(FourTuple("10.0.0.1", 1, "10.0.0.2", i + 1)) for i in range(len(context.endpoints))}
    assert numbers == set(range(len(context.endpoints))), "every number is free again"
