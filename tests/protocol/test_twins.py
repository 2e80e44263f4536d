"""Two stacks back to back over every kind of bad link: what arrives is what was sent, both come to an end, and nothing is left over."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet.devices import Impairment
from fastnet.tcp.states import State
from fastnet.twins import Twins
from tests.pair import MILLISECOND, Pair, Program, near_the_wrap

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
