"""Cells whose result is known: by arithmetic, by theory, or because it was there before."""

from __future__ import annotations

import pickle
from math import sqrt

import pytest

from fastnet.sweep import Cell, Result, jain, measure
from fastnet.sweep.experiment import Run
from fastnet.sweep.trace import Line
from fastnet.tcp.congestion.newreno import NewReno

PAYLOAD = 1448 / 1500
"""The part of a full packet that is data, with timestamps."""


class Mine(NewReno):
    """What a program might bring."""


def test_without_loss_the_link_is_full() -> None:
    result = measure(Cell(warmup=2))
    assert result.utilisation > 0.99
    assert result.goodput == pytest.approx(result.utilisation * 10e6 * PAYLOAD, rel=0.02)
    assert result.needless == 0 == result.lost == result.failed
    assert 0 < result.queue_p50 <= result.queue_p95 <= result.queue_p99 <= 0.05, "never more than the queue holds"


def test_a_window_that_is_smaller_than_the_path() -> None:
    """32 KiB in 100 ms, whatever the rate; a window is not a whole number of segments."""
    result = measure(Cell(rate=1e9, rtt=0.1, warmup=2, settings={"tcp_rmem": (4096, 32768, 32768)}))
    assert 0.85 < result.goodput / (32768 * 8 / 0.1) <= 1
    assert result.retransmitted == 0 and result.queue_p50 < 0.001


@pytest.mark.parametrize("cell", [
    Cell(loss=0.02), Cell(flows=3, cross=0.3, discipline="red", ecn=True, seed=7),
    Cell(ack_loss=0.1, discipline="codel", blackout=1, blackout_at=3),
], ids=["loss", "red", "blackout"])  # fmt: skip
def test_a_seed_repeats_a_cell_exactly(cell: Cell) -> None:
    assert measure(cell) == measure(cell)


def test_another_seed_is_another_run() -> None:
    assert measure(Cell(loss=0.02)).goodput != measure(Cell(loss=0.02, seed=1)).goodput


@pytest.mark.parametrize("control", ["reno", "cubic"])
@pytest.mark.parametrize("loss", [0.003, 0.01])
def test_random_loss_gives_what_theory_says(control: str, loss: float) -> None:
    """sqrt(3 / 2p) segments in a round trip (RFC 9438 section 5.1; Mathis et al. 1997), where CUBIC is in its Reno-friendly region."""
    seeds = range(2)
    rates = [measure(Cell(loss=loss, rate=100e6, control=control, duration=40, warmup=5, seed=seed)).goodput for seed in seeds]
    theory = sqrt(1.5 / loss) * 1448 * 8 / 0.05
    assert sum(rates) / len(seeds) == pytest.approx(theory, rel=0.25)


def test_every_loss_is_sent_again_once() -> None:
    result = measure(Cell(loss=0.01, duration=30))
    assert result.lost > 50
    assert result.lost + result.dropped - 15 <= result.retransmitted <= result.lost + result.dropped
    assert result.needless == 0 == result.timeouts


def test_what_came_twice_is_counted() -> None:
    """Nine ACKs of ten are lost, and no data: a timeout sends again what has arrived."""
    results = [measure(Cell(ack_loss=0.9, seed=seed)) for seed in range(6)]
    assert sum(result.needless for result in results) > 0
    for result in results:
        assert result.lost == 0 and result.needless <= result.retransmitted
        assert 0 <= result.needless_bytes <= result.needless * 1448


# ---- several flows ----


def test_the_delays_are_the_queues() -> None:
    """p50, p95 and p99 are those: of a queue that fills and empties each has its own value."""
    run = Run(Cell(loss=0.01), None)
    result = run.go()
    percentile = run.bottleneck.delays.percentile
    assert (result.queue_p50, result.queue_p95, result.queue_p99) == (percentile(50) / 1e6, percentile(95) / 1e6, percentile(99) / 1e6)
    assert percentile(50) < percentile(94) < percentile(95) < percentile(96) < percentile(98) < percentile(99) < percentile(100)


def test_jain() -> None:
    assert jain([5.0] * 7) == pytest.approx(1)
    assert jain([1.0, 0, 0, 0]) == 0.25
    assert jain([0.0, 0.0]) == 0


@pytest.mark.parametrize("control", ["reno", "cubic"])
def test_equal_flows_share(control: str) -> None:
    result = measure(Cell(flows=4, control=control, duration=30, warmup=10))
    assert result.jain > 0.9 and result.utilisation > 0.97
    assert sum(result.flow_goodputs) == pytest.approx(result.goodput)


def test_flows_come_and_go() -> None:
    """Three that overlap in pairs: each has the link to itself for a second, and half of it for two."""
    result = measure(Cell(flows=3, spacing=3, hold=4, duration=10, control="reno"))
    assert result.failed == 0 and len(result.flow_goodputs) == 3
    assert all(3e6 < goodput < 10e6 for goodput in result.flow_goodputs)


def test_a_flow_that_has_gone_sends_nothing_more() -> None:
    """Not even what its program had written before."""
    result = measure(Cell(hold=2, rate=1e6))
    assert result.failed == 0
    assert 0.7 * 2e5 < result.goodput < 1.02 * 2e5 * PAYLOAD, "two seconds of ten"
    assert result.flow_goodputs[0] == pytest.approx(result.goodput * 5)


def test_a_flow_that_was_gone_before_is_not_measured() -> None:
    assert len(measure(Cell(flows=2, spacing=4, hold=2, warmup=4, duration=8)).flow_goodputs) == 1


def test_flows_have_the_controls_in_turns() -> None:
    cell = Cell(control="cubic+reno+tests.sweep.test_cells:Mine", flows=4)
    assert [kind.__name__ for kind in cell.controls()] == ["Cubic", "NewReno", "Mine"]
    assert measure(cell).failed == 0


# ---- what else there is on a path ----


def test_cross_traffic_takes_its_part() -> None:
    result = measure(Cell(cross=0.5, warmup=2, duration=20))
    assert result.utilisation > 0.9
    assert result.goodput < 0.6 * 10e6


def test_codel_keeps_the_queue_short() -> None:
    tail, codel = (
        measure(Cell(queue="500ms", duration=20, warmup=5, discipline=discipline, settings={"tcp_rmem": (4096, 2 << 20, 6 << 20)}))
        for discipline in ("droptail", "codel")
    )
    assert tail.queue_p50 > 0.1 > 0.03 > codel.queue_p50
    assert codel.early > 0 == tail.early


@pytest.mark.parametrize("discipline", ["red", "codel", "step"])
def test_with_ecn_a_discipline_marks_and_drops_nothing(discipline: str) -> None:
    result = measure(Cell(discipline=discipline, ecn=True, duration=20, warmup=10, queue="4bdp"))
    assert result.marked > 0 == result.early == result.dropped == result.retransmitted


def test_a_policer() -> None:
    result = measure(Cell(rate=100e6, policer=10e6, warmup=2))
    assert 0.1 < result.utilisation <= 1.0, "of what the policer lets through"
    assert result.policed == result.dropped > 0
    assert result.queue_p99 < 0.002


def test_a_blackout_and_after_it() -> None:
    result = measure(Cell(blackout=2, blackout_at=4))
    whole = measure(Cell())
    assert 0 < result.timeouts <= 6
    assert 0.5 * whole.goodput < result.goodput < 0.85 * whole.goodput


def test_a_path_that_is_dead() -> None:
    result = measure(Cell(loss=1))
    assert (result.goodput, result.utilisation < 0.01, result.jain, result.failed) == (0, True, 0, 0)
    gave_up = measure(Cell(loss=1, settings={"tcp_syn_retries": 1}))
    assert gave_up.failed == 1


def test_memory_is_bounded() -> None:
    """What a result holds does not grow with the run."""
    line = Line()
    for time in range(1_000_000):
        line.add(float(time), 1.0)
    assert 5_000 < len(line.points) <= 20_000
    gaps = {after[0] - before[0] for before, after in zip(line.points, line.points[1:], strict=False)}
    assert gaps == {64.0}, "thinned evenly"
    assert line.points[-1][0] > 999_900


def test_a_trace_changes_nothing_and_says_what_happened() -> None:
    plain, traced = measure(Cell(loss=0.01)), measure(Cell(loss=0.01), trace=True)
    assert plain == traced and plain.trace is None and traced.trace is not None
    assert len(traced.trace.sent_again.points) == traced.retransmitted
    times = [point[0] for point in traced.trace.sent.points]
    assert times == sorted(times)
    ends = [point[1] for point in traced.trace.sent.points]
    assert ends == sorted(ends) and ends[-1] * 8 / 10 == pytest.approx(traced.goodput, rel=0.05)
    assert all(waiting <= traced.cell.queue_bytes() for _, waiting in traced.trace.queue.points)
    assert all(cwnd >= 1448 for _, cwnd, _, _ in traced.trace.windows.points)


# ---- cells themselves ----


@pytest.mark.parametrize(("field", "value", "says"), [
    ("loss", 1.5, "loss is 0 to 1"), ("loss", -0.1, "loss is a number, 0 or more"), ("rtt", float("nan"), "rtt is a number"),
    ("rate", 0, "rate is bits/s"), ("queue", "12", "1bdp, 20ms"), ("control", "vegas", "no congestion control 'vegas'"),
    ("control", "no.such:Thing", "no congestion control"), ("control", "fastnet.sweep:Cell", "no subclass"), ("seed", 0.5, "whole number"),
    ("flows", 0, "1 to 10000"), ("warmup", 10, "shorter than duration"), ("discipline", "fifo", "droptail"), ("mtu", 100, "576 to"),
    ("settings", {"tcp_nonsense": 1}, "no setting"), ("rtt", "50ms", "rtt is a number"), ("policer", 0.5, "policer is bits/s"),
    ("flows", True, "flows is a number"),
])  # fmt: skip
def test_a_wrong_value_says_so(field: str, value: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Cell(**{field: value})  # type: ignore[arg-type]


def test_values_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="bucket is a packet at least"):
        Cell(policer=1e6, bucket=1000)
    with pytest.raises(ValueError, match="would begin after the end"):
        Cell(flows=11, spacing=1)


@pytest.mark.parametrize(("queue", "size"), [
    ("1bdp", 62_500), ("0.5bdp", 31_250), ("20ms", 25_000), ("100p", 150_000), ("64kB", 64_000), ("0p", 1500),
])  # fmt: skip
def test_queues(queue: str, size: int) -> None:
    assert Cell(queue=queue).queue_bytes() == size


def test_cells_are_keys_and_travel() -> None:
    cell = Cell(settings={"tcp_sack": 0})
    assert pickle.loads(pickle.dumps(cell)) == cell
    assert {cell: 1}[Cell(settings={"tcp_sack": 0})] == 1
    result = measure(Cell(duration=1))
    assert isinstance(result, Result) and pickle.loads(pickle.dumps(result)) == result
