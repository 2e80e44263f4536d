"""State x segment: what RFC 9293 section 3.10.7 and RFC 5961 have sent, and the next state, for every kind of segment in every state."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from scapy.layers.inet import TCP

from fastnet.tcp.connection import Connection
from fastnet.tcp.states import EVENTS, TRANSITIONS, Event, State, next_state
from fastnet.tcp.timewait import TimeWait
from tests.peer import PEER, Peer, Wire

# A cell is what is sent, and behind ">" the state afterwards if it is another:
#
#   -    nothing
#   A    an ACK: SEQ=SND.NXT, ACK=RCV.NXT as before, no data
#   A+   an ACK of all that the segment brings: SEQ=SND.NXT, ACK=SEG.SEQ+SEG.LEN
#   SA   the SYN-ACK: SEQ=ISS, ACK=IRS+1
#   R    a RST where the segment had an ACK: SEQ=SEG.ACK
#   RA   a RST where it had none: SEQ=0, ACK=SEG.SEQ+SEG.LEN
#
# SYN-R came from LISTEN (passive open), SYN-R2 from SYN-S (simultaneous open). In the columns from ESTAB on the peer had sent ten
# bytes, which the program has read. An "=" behind a row's name: the note below it says where Linux differs from the RFC, and the code
# follows Linux.
TABLE = """
                    LISTEN   SYN-S     SYN-R      SYN-R2     ESTAB      FIN-W1     FIN-W2    CLOSE-W  CLOSING  LAST-A   TIME-W   CLOSED
SYN               = SA>SYN-R SA>SYN-R2 RA>LISTEN  A          A          A          A         A        A        A        SA>SYN-R RA
SYN, the first    . SA>SYN-R SA>SYN-R2 SA         SA         A          A          A         A        A        A        A        RA
SYN+ACK           = R        A>ESTAB   R>LISTEN   A          A          A          A         A        A        A        A        R
SYN+ACK, first    . R        A>ESTAB   A          A>ESTAB    A          A          A         A        A        A        A        R
SYN+FIN           = -        SA>SYN-R2 RA>LISTEN  A          A          A          A         A        A        A        A        RA
ACK               = R        -         ->ESTAB    ->ESTAB    -          ->FIN-W2   -         -        ->TIME-W ->CLOSED -        R
ACK, old          = R        R         R          R          A          -          -         A        -        -        -        R
ACK, too old      = R        R         R          R          A          A          A         A        A        A        -        R
ACK, future       = R        R         R          R          A          A          A         A        A        A        -        R
data              . R        -         A+>ESTAB   A+>ESTAB   A+         A+         A+        -        -        -        A        R
data, overlapping . R        -         A+>ESTAB   A+>ESTAB   A+         A+         A+        -        -        -        A        R
data, old         . R        -         A          A          A          A          A         A        A        A        A        R
data, ahead       . R        -         A>ESTAB    A>ESTAB    A          A          A         -        -        -        A        R
data, beyond      . R        -         A          A          A          A          A         A        A        A        A        R
FIN               . R        -         A+>CLOSE-W A+>CLOSE-W A+>CLOSE-W A+>CLOSING A+>TIME-W -        -        -        A        R
FIN, ahead        . R        -         A>ESTAB    A>ESTAB    A          A          A         -        -        -        A        R
FIN, again        . R        -         A          A          A          A          A         A        A        A        A        R
RST, exact        = -        ->CLOSED  ->LISTEN   ->CLOSED   ->CLOSED   ->CLOSED   ->CLOSED  ->CLOSED ->CLOSED ->CLOSED ->CLOSED -
RST, in window    = -        ->CLOSED  A          A          A          A          A         A        A        A        A        -
RST, outside      . -        ->CLOSED  -          -          -          -          -         -        -        -        -        -
RST, no ACK       . -        -         ->LISTEN   ->CLOSED   ->CLOSED   ->CLOSED   ->CLOSED  ->CLOSED ->CLOSED ->CLOSED ->CLOSED -
no flags          . -        -         -          -          -          -          -         -        -        -        -        RA
"""

NOTES = {
    "SYN": "SYN-R: the RFC returns to LISTEN in silence; Linux says so with a RST (tcp_check_req(), embryonic_reset)",
    "SYN+ACK": "SYN-R: as SYN",
    "SYN+FIN": "LISTEN: the RFC would take the FIN later; Linux drops it (tcp_rcv_state_process()). SYN-R: as SYN",
    "ACK": "TIME-W: the RFC has nothing but a FIN arrive there; Linux ignores an ACK that is in order (tcp_timewait_state_process())",
    "ACK, old": "ESTAB, CLOSE-W: nothing has been sent, and of what never was Linux takes no ACK (tcp_ack()); the RFC ignores it",
    "ACK, too old": "TIME-W: as ACK. Elsewhere RFC 5961 section 5.2",
    "ACK, future": "TIME-W: as ACK",
    "RST, exact": "TIME-W: tcp_rfc1337 = 0, the RFC's own behaviour",
    "RST, in window": "TIME-W: RFC 5961 section 3.2; Linux drops it there (tcp_timewait_state_process())",
}

NAMES = {
    "LISTEN": State.LISTEN, "SYN-S": State.SYN_SENT, "SYN-R": State.SYN_RECEIVED, "SYN-R2": State.SYN_RECEIVED,
    "ESTAB": State.ESTABLISHED, "FIN-W1": State.FIN_WAIT_1, "FIN-W2": State.FIN_WAIT_2, "CLOSE-W": State.CLOSE_WAIT,
    "CLOSING": State.CLOSING, "LAST-A": State.LAST_ACK, "TIME-W": State.TIME_WAIT, "CLOSED": State.CLOSED,
}  # fmt: skip
LOCAL = 40000


@dataclass
class Scene:
    """An endpoint in a state. Numbers are relative: to the peer's ISS, to the stack's."""

    wire: Wire
    peer: Peer
    rcv_nxt: int = 0
    snd_una: int = 0
    snd_nxt: int = 0
    window: int = 65535
    state: Callable[[], State] = field(default=lambda: State.CLOSED)


def passive() -> Scene:
    """A listener, and how the table sees it: with a connection, its state; with a request, SYN-RECEIVED."""
    wire = Wire()
    listener = wire.stack.listen("0.0.0.0", 80)
    wire.wait(100)
    peer = Peer(wire)

    def state() -> State:
        if listener.accept_queue:
            return State(listener.accept_queue[0].state)
        return State.SYN_RECEIVED if listener.syn_queue else State.LISTEN

    return Scene(wire, peer, state=state)


def active() -> Scene:
    """A connection of our own, whose SYN was sent."""
    wire = Wire()
    connection = wire.stack.connect(PEER, 80, local_port=LOCAL)
    peer = Peer(wire, port=LOCAL, sport=80)
    (syn,) = wire.sent()
    peer.irs = syn[TCP].seq
    return Scene(wire, peer, 0, 0, 1, state=lambda: State(connection.state))


def connected() -> tuple[Scene, Connection]:
    """A connection whose peer has sent ten bytes."""
    scene = passive()
    listener = scene.wire.stack.context.endpoints[0]
    connection = scene.peer.open(listener)
    scene.peer.put("PA", 1, 1, bytes(10))
    assert connection.receive(100) == bytes(10)
    scene.rcv_nxt, scene.snd_una, scene.snd_nxt = 11, 1, 1

    def state() -> State:
        endpoint = scene.wire.stack.context.endpoints[connection.id] if connection.id >= 0 else None
        if connection.state != State.TIME_WAIT:
            assert (connection.state == State.CLOSED) == (endpoint is None)
            return State(connection.state)
        if any(isinstance(endpoint, TimeWait) for endpoint in scene.wire.stack.context.endpoints):
            return State.TIME_WAIT
        return State.SYN_RECEIVED if listener.syn_queue else State.CLOSED

    scene.state = state
    return scene, connection


def scene_of(column: str) -> Scene:
    """The state of a column, reached by segments and calls as it would be."""
    if column == "LISTEN":
        return passive()
    if column == "CLOSED":
        return Scene(wire := Wire(), Peer(wire))
    if column == "SYN-S":
        return active()
    if column == "SYN-R":
        scene = passive()
        scene.peer.syn()
        scene.rcv_nxt, scene.snd_una, scene.snd_nxt = 1, 0, 1
        return scene
    if column == "SYN-R2":
        scene = active()
        assert [str(p[TCP].flags) for p in scene.peer.put("S", 0)] == ["SA"]
        scene.rcv_nxt = 1
        return scene
    scene, connection = connected()
    peer = scene.peer
    if column in ("CLOSE-W", "LAST-A"):
        peer.put("FA", 11, 1)
        scene.rcv_nxt = 12
    if column in ("FIN-W1", "FIN-W2", "CLOSING", "LAST-A", "TIME-W"):
        connection.shutdown()
        assert [str(p[TCP].flags) for p in scene.wire.sent()] == ["FA"]
        scene.snd_nxt = 2
    if column in ("FIN-W2", "TIME-W"):
        peer.put("A", 11, 2)
        scene.snd_una = 2
    if column in ("CLOSING", "TIME-W"):
        peer.put("FA", 11, scene.snd_una)
        scene.rcv_nxt = 12
    scene.window = 1 << 17
    # So that no challenge ACK is held back by one before.
    scene.wire.now += 600_000_000
    return scene


def segment(row: str, column: str, scene: Scene) -> tuple[str, int, int, bytes]:
    """Flags, sequence and acknowledgment number, data."""
    here, window = scene.rcv_nxt, scene.window
    # An ACK of nothing new; before the handshake is over, the one that it waits for.
    ack = scene.snd_nxt if column in ("SYN-S", "SYN-R", "SYN-R2") else scene.snd_una
    ten = b"0123456789"
    return {
        "SYN": ("S", here + 1000, 0, b""),
        "SYN, the first": ("S", 0, 0, b""),
        "SYN+ACK": ("SA", here + 1000, ack, b""),
        "SYN+ACK, first": ("SA", 0, ack, b""),
        "SYN+FIN": ("SF", here + 1000, 0, b""),
        "ACK": ("A", here, scene.snd_nxt, b""),
        "ACK, old": ("A", here, scene.snd_nxt - 1, b""),
        "ACK, too old": ("A", here, scene.snd_nxt - 100_000, b""),
        "ACK, future": ("A", here, scene.snd_nxt + 1000, b""),
        "data": ("PA", here, ack, ten),
        "data, overlapping": ("PA", here - 5, ack, ten),
        "data, old": ("PA", here - 10, ack, ten),
        "data, ahead": ("PA", here + 10, ack, ten),
        "data, beyond": ("PA", here + window, ack, ten),
        "FIN": ("FA", here, ack, b""),
        "FIN, ahead": ("FA", here + 10, ack, b""),
        "FIN, again": ("FA", here - 1, ack, b""),
        "RST, exact": ("RA", here, ack, b""),
        "RST, in window": ("RA", here + 1, ack, b""),
        "RST, outside": ("RA", here + window + 1, ack, b""),
        "RST, no ACK": ("R", here, 0, b""),
        "no flags": ("", here, 0, b""),
    }[row]


def cells() -> list[tuple[str, str, str]]:
    header, *lines = [line for line in TABLE.splitlines() if line]
    columns = header.split()
    result = []
    for line in lines:
        row, cells = line[:18].strip(), line[19:].split()
        assert len(cells) == len(columns), row
        assert (line[18] == "=") == (row in NOTES), row
        result += [(row, column, cell) for column, cell in zip(columns, cells, strict=True)]
    return result


@pytest.mark.parametrize(("row", "column", "cell"), cells(), ids=lambda value: str(value).replace(" ", ""))
def test_cell(row: str, column: str, cell: str) -> None:
    reply, _, after = cell.partition(">")
    scene = scene_of(column)
    assert scene.state() == NAMES[column]
    flags, seq, ack, data = segment(row, column, scene)
    peer = scene.peer
    answers = [(str(p[TCP].flags), (p[TCP].seq, p[TCP].ack, bytes(p[TCP].payload))) for p in peer.put(flags, seq, ack, data)]
    end = seq + len(data) + flags.count("S") + flags.count("F")
    # A SYN-ACK from a listener has an ISS of its own.
    iss = answers[0][1][0] if reply == "SA" and column in ("LISTEN", "TIME-W") else peer.irs
    assert iss != peer.irs or column not in ("LISTEN", "TIME-W") or reply != "SA"
    irs = seq if reply == "SA" or column == "SYN-S" else 0
    rcv_nxt = irs + 1 if column == "SYN-S" else scene.rcv_nxt
    expected = {
        "-": [],
        "A": [("A", peer.irs + scene.snd_nxt, peer.iss + rcv_nxt)],
        "A+": [("A", peer.irs + scene.snd_nxt, peer.iss + end)],
        "SA": [("SA", iss, peer.iss + irs + 1)],
        "R": [("R", peer.irs + ack, 0)],
        "RA": [("RA", 0, peer.iss + end)],
    }[reply]
    assert answers == [(f, (s & 0xFFFFFFFF, a & 0xFFFFFFFF, b"")) for f, s, a in expected]
    assert scene.state() == (NAMES[after] if after else NAMES[column])


ARRIVALS = ("IpInReceives", "TcpInSegs", "InNoECTPkts", "IpOutRequests")
"""What counts a segment and its answer, whatever becomes of it."""


def drops() -> list[tuple[str, str]]:
    """Cells in which a segment is dropped: not those that have it taken, remembered, or answered with the SYN-ACK, nor ACKs in order."""
    found = []
    for row, column, cell in cells():
        taken = ">" in cell or cell in ("A+", "SA") or row == "ACK" or row.startswith("ACK") and cell == "-"
        remembered = row == "FIN, ahead" and column in ("ESTAB", "FIN-W1", "FIN-W2")
        if not taken and not remembered:
            found.append((row, column))
    return found


@pytest.mark.parametrize(("row", "column"), drops())
def test_what_is_dropped_is_counted_under_its_cause(row: str, column: str) -> None:
    """Every segment that is dropped, whatever is answered to it."""
    scene = scene_of(column)
    before = scene.wire.stack.counters.as_dict()
    scene.peer.put(*segment(row, column, scene))
    after = scene.wire.stack.counters.as_dict()
    causes = {name: after[name] - before[name] for name in after if after[name] != before[name] and name not in ARRIVALS}
    assert causes, "dropped without a word"


DROPS = [
    ("ESTAB", "RST, outside", "TCPInvalidSequence"), ("SYN-R", "RST, outside", "TCPInvalidSequence"),
    ("SYN-R2", "RST, outside", "TCPInvalidSequence"), ("TIME-W", "RST, outside", "TCPInvalidSequence"),
    ("CLOSE-W", "data", "TcpInAfterFin"), ("CLOSING", "data", "TcpInAfterFin"), ("LAST-A", "data", "TcpInAfterFin"),
    ("TIME-W", "data", "TcpInAfterFin"), ("CLOSE-W", "FIN", "TcpInAfterFin"), ("ESTAB", "data, old", "DelayedACKLost"),
    ("CLOSE-W", "FIN, again", "DelayedACKLost"), ("TIME-W", "FIN, again", "DelayedACKLost"),
    ("ESTAB", "data, beyond", "BeyondWindow"), ("SYN-R", "data, beyond", "BeyondWindow"), ("LISTEN", "RST, exact", "TcpInStrayRsts"),
    ("LISTEN", "RST, no ACK", "TcpInStrayRsts"), ("SYN-S", "RST, no ACK", "TcpInStrayRsts"), ("TIME-W", "no flags", "TcpInNoFlags"),
    ("CLOSED", "RST, exact", "TcpInNoListener"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "row", "counter"), DROPS)
def test_which_counter_a_drop_is_under(column: str, row: str, counter: str) -> None:
    scene = scene_of(column)
    before = scene.wire.counter(counter)
    scene.peer.put(*segment(row, column, scene))
    assert scene.wire.counter(counter) == before + 1


def test_a_segment_of_old_text_is_one_drop() -> None:
    """Text that came already, in a segment that reaches RCV.NXT with its FIN alone: the FIN counts, and the text is dropped."""
    scene = scene_of("ESTAB")
    scene.peer.put("PA", 1, 1, bytes(10))
    assert scene.wire.counter("DelayedACKLost") == 1
    scene.peer.put("FPA", 1, 1, bytes(10))
    assert scene.wire.counter("DelayedACKLost") == 2 and scene.state() == State.CLOSE_WAIT


SYNCHRONIZED = ["ESTAB", "FIN-W1", "FIN-W2", "CLOSE-W", "CLOSING", "LAST-A"]


def connection_of(scene: Scene) -> Connection:
    (connection,) = [each for each in scene.wire.stack.context.endpoints if isinstance(each, Connection)]
    return connection


@pytest.mark.parametrize("column", SYNCHRONIZED)
def test_abort(column: str) -> None:
    """RFC 9293 section 3.10.5: a RST, and CLOSED."""
    scene = scene_of(column)
    connection = connection_of(scene)
    connection.abort(scene.wire.now)
    (rst,) = scene.wire.sent()
    assert scene.peer.relative(rst)[:3] == ("RA", scene.snd_nxt, scene.rcv_nxt)
    assert scene.state() == State.CLOSED and connection.error == errno.ECONNABORTED


@pytest.mark.parametrize("column", SYNCHRONIZED)
def test_timeout(column: str) -> None:
    """RFC 9293 section 3.8.3 and 3.10.8: data or a FIN that nobody acknowledges for R2, or FIN-WAIT-2 after close() for tcp_fin_timeout."""
    scene = scene_of(column)
    connection = connection_of(scene)
    if column in ("ESTAB", "CLOSE-W"):
        connection.send(b"data")
    if column == "FIN-W2":
        connection.close(scene.wire.now)
    scene.wire.wait(2000)
    assert scene.state() == State.CLOSED
    assert connection.error == (0 if column == "FIN-W2" else errno.ETIMEDOUT)


def test_every_state_and_every_kind_of_segment() -> None:
    columns = {column for _, column, _ in cells()}
    assert columns == set(NAMES) and {NAMES[column] for column in columns} == set(State)
    assert len(cells()) == 22 * 12


def test_the_table_by_number_says_what_the_table_by_name_says() -> None:
    """RFC 9293 section 3.3.2, figure 5: each transition is found, and there is none where there is none."""
    assert len({int(event) for event in Event}) == len(Event.__members__) == EVENTS
    assert len({int(state) for state in State}) == len(State.__members__)
    for state in State:
        for event in Event:
            if (state, event) in TRANSITIONS:
                assert next_state(state, event) == TRANSITIONS[state, event]
            else:
                with pytest.raises(RuntimeError, match=f"from {state.name} on {event.name}"):
                    next_state(state, event)
