"""Two stacks back to back over every kind of bad link: what arrives is what was sent, both come to an end, and nothing is left over."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet.devices import Impairment
from fastnet.tcp.states import State
from fastnet.twins import Twins
from tests.pair import MILLISECOND, Pair, Program, after, check, near_the_wrap
from tests.peer import Peer, Wire

PATIENT = {"tcp_syn_retries": 255, "tcp_synack_retries": 255, "tcp_retries2": 255, "tcp_orphan_retries": 255}
"""A link that loses a third of everything is to be borne, however long it takes."""

PROBABILITIES = st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.15, 0.3])
IMPAIRMENTS = st.builds(
    Impairment,
    loss=PROBABILITIES,
    duplicate=PROBABILITIES,
    reorder=PROBABILITIES,
    corrupt=st.sampled_from([0.0, 0.0, 0.02, 0.1]),
    delay=st.sampled_from([0, 1, 20, 300]).map(lambda ms: ms * MILLISECOND),
    jitter=st.sampled_from([0, 0, 1, 50, 1000]).map(lambda ms: ms * MILLISECOND),
    rate=st.sampled_from([0, 0, 50_000, 1_000_000, 20_000_000]),
    queue=st.sampled_from([2, 10, 1000]),
    depth=st.sampled_from([1, 3, 20]),
    hold=st.sampled_from([1, 10, 300]).map(lambda ms: ms * MILLISECOND),
)
BUFFERS = st.sampled_from([(4096, 131072, 6291456), (2048, 2048, 2048), (4096, 8192, 8192), (4096, 32768, 32768), (4096, 8192, 262144)])
SETTINGS = st.fixed_dictionaries(
    {
        "tcp_sack": st.sampled_from([1, 1, 0]),
        "tcp_dsack": st.sampled_from([1, 0]),
        "tcp_timestamps": st.sampled_from([1, 0]),
        "tcp_window_scaling": st.sampled_from([1, 0]),
        "tcp_frto": st.sampled_from([2, 0]),
        "tcp_slow_start_after_idle": st.sampled_from([1, 0]),
        "tcp_congestion_control": st.sampled_from(["cubic", "reno", "none"]),
        "tcp_rmem": BUFFERS,
        "tcp_wmem": BUFFERS,
    }
).map(lambda chosen: {**PATIENT, **chosen})
SIZES = st.one_of(st.integers(0, 3000), st.integers(0, 100_000))


def transfer(
    forth: Impairment, back: Impairment, seed: int, of_a: dict[str, Any], of_b: dict[str, Any], sizes: tuple[int, int], *,
    mtu: int = 1500, slots: int = 256, reads: tuple[int, int] = (1 << 30, 1 << 30), wrap: tuple[str, int] | None = None,
    simultaneous: bool = False,
) -> Pair:
    """A connection with data both ways, half-close and all; every step is checked."""
    random = Random(seed)
    twins = Twins(forth, back, seed, of_a, of_b, mtu, slots)
    if wrap is not None:
        near_the_wrap(twins, *wrap)
    a, b = (Program(random.randbytes(size), step) for size, step in zip(sizes, reads, strict=True))
    pair = Pair(twins, a, b, simultaneous)
    pair.finish()
    assert b.received == a.data and a.received == b.data
    for program in (a, b):
        assert program.connection is not None
        if program.connection.error:
            # The last ACK may have been lost for as long as TIME-WAIT lasted; everything had arrived by then.
            assert program.connection.fin_received and program.finished and program.connection.state == State.CLOSED
    pair.assert_nothing_left()
    return pair


@settings(max_examples=1000, deadline=None)
@given(
    forth=IMPAIRMENTS, back=IMPAIRMENTS, seed=st.integers(0, 1 << 32), of_a=SETTINGS, of_b=SETTINGS, sizes=st.tuples(SIZES, SIZES),
    mtu=st.sampled_from([1500, 576, 9000]), slots=st.sampled_from([256, 4]),
    reads=st.tuples(*[st.sampled_from([1 << 30, 100, 3000])] * 2),
    wrap=st.one_of(st.none(), st.tuples(st.sampled_from("ab"), st.integers(0, 60_000))),
    simultaneous=st.sampled_from([False, False, True]),
)  # fmt: skip
def test_what_arrives_is_what_was_sent(forth, back, seed, of_a, of_b, sizes, mtu, slots, reads, wrap, simultaneous) -> None:
    transfer(forth, back, seed, of_a, of_b, sizes, mtu=mtu, slots=slots, reads=reads, wrap=wrap, simultaneous=simultaneous)


NUMBERS = st.one_of(st.integers(0, 12_000), st.integers(-3, 12).map(lambda n: 1 + 1000 * n), st.integers(-70_000, 70_000))
STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 9000)),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 5, 25, 100, 203, 700, 3000])),
    st.tuples(st.just("ack"), NUMBERS, st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3), st.sampled_from([64240, 64240, 0, 1, 700, 3000])),
    st.tuples(st.just("further"), st.integers(1, 5000), st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3), st.just(64240)),
    st.tuples(st.just("data"), NUMBERS, st.integers(1, 2000)),
    st.tuples(st.just("narrow"), st.sampled_from([68, 576, 900])),
    st.tuples(st.just("shutdown")),
)


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(STEPS, max_size=40), sack=st.booleans(), control=st.sampled_from(["cubic", "reno", "none"]), nodelay=st.booleans(),
    iss=st.sampled_from([1000, 0xFFFFFFFF - 3000]),
)  # fmt: skip
def test_a_peer_that_says_anything(steps, sack, control, nodelay, iss) -> None:
    """Any ACKs, SACK blocks, windows and data, in any order: the books stay right, and an honest ACK of everything still ends it."""
    wire = Wire(tcp_congestion_control=control, tcp_rmem=(4096, 8192, 8192))
    peer = Peer(wire, iss=iss)
    connection = peer.open(wire.stack.listen("0.0.0.0", 80), [("MSS", 1000), *([("SAckOK", b"")] if sack else [])])
    connection.nodelay = nodelay
    for step in steps:
        if connection.state == State.CLOSED:
            break
        if step[0] == "send":
            if connection.state == State.ESTABLISHED:
                connection.send(bytes(step[1]))
        elif step[0] == "wait":
            wire.wait(step[1] / 1000)
        elif step[0] == "data":
            wire.put(peer.packet("A", step[1], after(connection.snd_una, peer.irs), bytes(step[2])))
            connection.receive(3000)
        elif step[0] == "narrow":
            connection.path_narrowed(step[1], wire.now)
        elif step[0] == "shutdown":
            connection.shutdown()
        else:
            ack = step[1] if step[0] == "ack" else after(connection.snd_una, peer.irs) + step[1]
            edges = [(peer.irs + edge) & 0xFFFFFFFF for block in step[2] for edge in block]
            options = [("NOP", None), ("NOP", None), ("SAck", tuple(edges))] if edges else []
            wire.put(peer.packet("A", after(connection.rcv_nxt, iss), ack, window=step[3], options=options))
        check(connection)
        wire.poll()
        check(connection)
    for _ in range(300):
        if connection.state in (State.CLOSED, State.FIN_WAIT_2) or connection.sender is None or not connection.sender.buffer.length:
            break
        wire.put(peer.packet("A", after(connection.rcv_nxt, iss), after(connection.snd_nxt, peer.irs), window=64240))
        wire.wait(0.3)
        check(connection)
    else:
        raise AssertionError("it never came to an end")
