"""The state machine of TCP as one table (RFC 9293 section 3.3.2, figure 5).

Code moves between states through ``next_state`` alone; the diagram in the docs is drawn from ``TRANSITIONS``.
"""

from enum import IntEnum


class State(IntEnum):
    """RFC 9293's states, numbered as Linux's ``enum tcp_states`` so that tools agree."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    FIN_WAIT_1 = 4
    FIN_WAIT_2 = 5
    TIME_WAIT = 6
    CLOSED = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


class Event(IntEnum):
    """What moves a connection from state to state."""

    PASSIVE_OPEN = 0
    RCV_SYN = 1
    RCV_ACK_OF_SYN = 2
    CLOSE = 3
    RCV_FIN = 4
    RCV_ACK_OF_FIN = 5
    RCV_RST = 6
    ABORT = 7
    TIMEOUT = 8
    ACTIVE_OPEN = 9
    RCV_SYN_ACK = 10
    REFUSED = 11
    """An active open failed: a RST, no answer in time, or nobody there."""


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.CLOSED, Event.PASSIVE_OPEN): State.LISTEN,
    (State.CLOSED, Event.ACTIVE_OPEN): State.SYN_SENT,
    (State.LISTEN, Event.RCV_SYN): State.SYN_RECEIVED,
    (State.LISTEN, Event.CLOSE): State.CLOSED,
    (State.SYN_SENT, Event.RCV_SYN_ACK): State.ESTABLISHED,
    (State.SYN_SENT, Event.RCV_SYN): State.SYN_RECEIVED,
    (State.SYN_SENT, Event.CLOSE): State.CLOSED,
    (State.SYN_SENT, Event.REFUSED): State.CLOSED,
    (State.SYN_RECEIVED, Event.REFUSED): State.CLOSED,
    (State.SYN_RECEIVED, Event.RCV_ACK_OF_SYN): State.ESTABLISHED,
    (State.SYN_RECEIVED, Event.RCV_RST): State.LISTEN,
    (State.SYN_RECEIVED, Event.TIMEOUT): State.LISTEN,
    (State.SYN_RECEIVED, Event.ABORT): State.CLOSED,
    (State.ESTABLISHED, Event.CLOSE): State.FIN_WAIT_1,
    (State.ESTABLISHED, Event.RCV_FIN): State.CLOSE_WAIT,
    (State.FIN_WAIT_1, Event.RCV_ACK_OF_FIN): State.FIN_WAIT_2,
    (State.FIN_WAIT_1, Event.RCV_FIN): State.CLOSING,
    (State.FIN_WAIT_2, Event.RCV_FIN): State.TIME_WAIT,
    (State.CLOSE_WAIT, Event.CLOSE): State.LAST_ACK,
    (State.CLOSING, Event.RCV_ACK_OF_FIN): State.TIME_WAIT,
    (State.LAST_ACK, Event.RCV_ACK_OF_FIN): State.CLOSED,
    (State.TIME_WAIT, Event.TIMEOUT): State.CLOSED,
    (State.TIME_WAIT, Event.RCV_RST): State.CLOSED,
    (State.TIME_WAIT, Event.RCV_SYN): State.SYN_RECEIVED,
}
# Every synchronized state but TIME-WAIT ends at once on a RST, an ABORT or when the peer stays silent too long.
TRANSITIONS |= {
    (state, event): State.CLOSED
    for state in (
        State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK,
    )
    for event in (Event.RCV_RST, Event.ABORT, Event.TIMEOUT)
}  # fmt: skip

EVENTS = len(Event)
TABLE = bytes(
    int(TRANSITIONS[State(state), event]) if state and (State(state), event) in TRANSITIONS else 0
    for state in range(len(State) + 1)
    for event in Event
)
"""The same table for look-up by number: row state, column event; 0 where there is no transition."""


def next_state(state: int, event: int) -> int:
    """The state after an event.

    :raises RuntimeError: the table has no such transition: a defect of the caller, never something a peer can cause
    """
    after = TABLE[state * EVENTS + event]
    if after == 0:
        raise RuntimeError(f"no transition from {State(state).name} on {Event(event).name}")
    return after
